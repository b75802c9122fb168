"""Many sources on several processes: the same as on threads of one."""

import socket

import pandas as pd
import pytest
from test_collect import FIXTURES, INCIDENTS, NOW, SHOP, Plugin, config

from assess.sources import collect, workers
from assess.sources.docker.source import DockerSource
from assess.sources.run import side_by_side
from assess.sources.tasks import Task

DUMPS = ("docker", {"path": "docker/cli"})


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr(workers, "MANY", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def task(label: str, source, **options) -> Task:
    return Task(label, source, options, FIXTURES, 5)


def frames_of(inventory) -> dict[str, pd.DataFrame]:
    tables = {
        name: inventory[name].copy() for name in ("services", "workloads", "incidents")
    }
    return tables | {"coverage": inventory["coverage"].drop(columns="seconds")}


def test_a_worker_gives_what_threads_give(monkeypatch, two_processes):
    there = collect(config(SHOP, DUMPS, INCIDENTS), now=NOW)
    monkeypatch.setattr(workers, "MANY", 100)
    here = collect(config(SHOP, DUMPS, INCIDENTS), now=NOW)
    for name, table in frames_of(here).items():
        pd.testing.assert_frame_equal(table, frames_of(there)[name])


def test_an_engine_that_hangs_costs_its_own_deadline_in_a_worker_too(two_processes):
    told = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        tables = (
            SHOP,
            ("docker", {"endpoint": address, "deadline": 1}),
            DUMPS,
            INCIDENTS,
        )
        inventory = collect(
            config(*tables), progress=lambda *done: told.append(done), now=NOW
        )
    coverage = inventory["coverage"].set_index(["source", "scope"])
    assert coverage.loc[("docker", address), "status"] == "timeout"
    assert len(inventory["incidents"]) == 6 and len(inventory["engines"]) == 1
    assert told[-1] == ("docker", 4, 4)  # the others did not wait for it


def test_a_worker_that_dies_costs_its_own_sources(tmp_path, monkeypatch, two_processes):
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom assess.sources.base import Batch\n"
        "def work(task, deadline):\n"
        "    os._exit(9) if task.options['do'] == 'die' else None\n"
        "    return Batch(coverage=[{'scope': 'x', 'call': 'y', 'status': 'ok'}])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import deadly

    tasks = [task(str(n), DockerSource(), do=do) for n, do in enumerate(("live", "die"))]
    batches = side_by_side(tasks, deadly.work)
    (kept,), (lost,) = (batch.coverage for _, batch in batches)
    assert kept["status"] == "ok"
    assert (lost["status"], lost["error_class"]) == ("unreachable", "EOFError")


def test_sources_of_other_packages_stay_where_they_were_loaded(monkeypatch):
    monkeypatch.setattr(workers, "MANY", 2)
    ours = [task(f"ours#{n}", DockerSource()) for n in range(4)]
    theirs = [task(f"theirs#{n}", Plugin()) for n in range(3)]
    here, elsewhere = workers.shares([*ours, *theirs], 8)
    assert [[t.label for t in part] for part in elsewhere] == [["ours#1"], ["ours#2"]]
    assert [t.label for t in here] == [
        "theirs#0",
        "theirs#1",
        "theirs#2",
        "ours#0",
        "ours#3",
    ]
    assert workers.shares(ours[:3], 8) == (ours[:3], [])
    assert workers.shares(ours, 1) == (ours, [])
