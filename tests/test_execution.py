"""Work in a loop, in processes and on a real Dask cluster: the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from datetime import UTC, datetime

import distributed
import numpy as np
import pandas as pd
import pytest

import assess
from assess import execution, history, store
from assess.errors import AssessError
from assess.execution import beside, each, working
from assess.inventory import from_frames
from assess.score import evidence
from assess.score.assessment import Assessment
from assess.score.blast_radius.propagation import Scenarios, propagate
from assess.score.blast_radius.topology import Graph
from assess.score.blast_radius.uncertain import Sampling
from assess.score.upgrade_churn import breaking
from assess.sources import run
from assess.sources.base import Batch, Source
from assess.writing import write_beside


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    ) as local:
        yield local.scheduler_address


@pytest.fixture(params=["processes", "cluster"])
def hands(request):
    if request.param == "processes":
        return {"processes": 2}
    return {"scheduler": request.getfixturevalue("cluster")}


def whose(shared, item):
    return shared + item, os.getpid()


def test_work_is_done_elsewhere_and_comes_back_in_order(hands):
    told = []
    with working(**hands, tell=lambda *words: told.append(words)):
        found = list(each(whose, 10, range(20), what="sums"))
    assert [result for result, _ in found] == list(range(10, 30))
    assert os.getpid() not in {pid for _, pid in found}
    assert told == [("sums", done, 20) for done in range(1, 21)]
    assert list(each(whose, 1, [1], what="sums")) == [(2, os.getpid())]


@pytest.fixture
def alone(monkeypatch):
    """This process as the command line has it: one thread, on a machine of two processors."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(execution, "processors", lambda: 2)


def pid_and_steps(n):
    found = [result for result, _ in each(whose, 0, range(n), what="sums")]
    return os.getpid(), sum(found)


def test_work_beside_is_done_by_a_copy_that_tells_nobody(alone):
    told = []
    with (
        working(tell=lambda *words: told.append(words)),
        beside(pid_and_steps, 10) as wait,
    ):
        pid, total = wait()
    assert total == 45
    assert pid != os.getpid()
    assert told == []


@pytest.mark.parametrize("threads_n, processors_n", [(2, 2), (1, 1)])
def test_work_beside_is_done_here_where_a_copy_is_unsafe_or_gains_nothing(
    monkeypatch, threads_n, processors_n
):
    monkeypatch.setattr(threading, "active_count", lambda: threads_n)
    monkeypatch.setattr(execution, "processors", lambda: processors_n)
    with beside(pid_and_steps, 10) as wait:
        assert wait() == (os.getpid(), 45)


def killed_unless(pid):
    if os.getpid() != pid:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done here"


def test_what_a_killed_copy_leaves_is_done_here(alone):
    with beside(killed_unless, os.getpid()) as wait:
        assert wait() == "done here"


def refused(where):
    raise AssessError(f"{where} is full", hint="make room")


def test_an_error_of_a_copy_is_the_error_here(alone):
    with beside(refused, "the disk") as wait, pytest.raises(AssessError) as caught:
        wait()
    assert (str(caught.value), caught.value.hint) == ("the disk is full", "make room")


def endless(place):
    def parts():
        (place / "begun").touch()
        while True:
            yield "part\n"
            time.sleep(0.01)

    write_beside(place / "large", parts())


def test_an_interrupt_ends_a_copy_at_once_and_leaves_nothing_half(alone, tmp_path):
    others = set(multiprocessing.active_children())  # workers of a cluster
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), beside(endless, tmp_path):
        while not (tmp_path / "begun").exists():
            assert time.monotonic() - begun < 30
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]
    assert set(multiprocessing.active_children()) == others


def test_a_cluster_has_several_processes(cluster):
    with distributed.Client(cluster) as client:
        assert len(set(client.run(os.getpid).values())) == 2


def islands(n):
    """Pairs of nodes that fall together by chance, and what hangs on both."""
    rng = np.random.default_rng(4)
    arcs = np.unique(rng.integers(0, n, (3 * n, 2)), axis=0)
    arcs = arcs[arcs[:, 0] != arcs[:, 1]]
    p = rng.choice([0.2, 1.0], len(arcs), p=[0.8, 0.2])
    return Graph(n, *arcs.T, p, np.arange(len(arcs), dtype=np.uint64), rng.random(n))


def test_the_spread_of_failures_is_the_same_everywhere(hands):
    graph, every = islands(60), np.arange(60)
    failing, sampling = Scenarios(every, every, 60), Sampling(1, 200, 3, block_mib=1e-9)
    alone = propagate(graph, failing, sampling=sampling)
    assert not alone.exact.all()
    with working(**hands):
        shared = propagate(graph, failing, sampling=sampling)
    assert pickle.dumps(shared) == pickle.dumps(alone)


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    place = tmp_path_factory.mktemp("history") / "store"
    for day in range(1, 4):
        rows = [
            {"host_id": f"h{i}", "az": "z" if i else None, "vcpus": i * day or None}
            for i in range(4)
        ]
        at = f"2026-09-0{day}"
        store.write_snapshot(
            from_frames({"hosts": pd.DataFrame(rows)}, snapshot_at=at), place / at
        )
    return place


def test_history_is_rolled_up_to_the_same_parts(years, hands):
    alone = history.roll_up(years, "hosts", ["az"], values=["vcpus"])
    with working(**hands):
        shared = history.roll_up(years, "hosts", ["az"], values=["vcpus"])
    pd.testing.assert_frame_equal(shared, alone, check_exact=True)
    zone = alone[alone["az"] == "z"]
    assert zone["snapshot_at"].dt.day.tolist() == [1, 2, 3]
    assert zone[
        ["n", "vcpus_n", "vcpus_sum", "vcpus_min", "vcpus_max"]
    ].to_numpy().tolist() == [[3, 3, 6 * day, day, 3 * day] for day in (1, 2, 3)]
    nowhere = alone[alone["az"].isna()]
    assert nowhere["n"].tolist() == [1, 1, 1]
    assert nowhere["vcpus_n"].tolist() == [0, 0, 0]
    assert nowhere[["vcpus_sum", "vcpus_min", "vcpus_max"]].isna().all(axis=None)


def test_rolling_up_says_what_is_not_there(years, tmp_path):
    with pytest.raises(AssessError, match="az cannot be added up"):
        history.roll_up(years, "hosts", ["arch"], values=["az"])
    with pytest.raises(AssessError, match="no column fqdn"):
        history.roll_up(years, "hosts", ["fqdn"])
    (tmp_path / "empty").mkdir()
    empty = history.roll_up(tmp_path / "empty", "hosts", ["az"], values=["vcpus"])
    assert empty.empty
    assert list(empty) == [
        "snapshot_at",
        "az",
        "n",
        *(f"vcpus_{h}" for h in ("n", "sum", "min", "max")),
    ]


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("assess.execution.PATIENCE", 1.0)
    with (
        pytest.raises(
            AssessError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"
        ),
        working(scheduler="tcp://127.0.0.1:9"),
    ):
        raise AssertionError("nobody can work there")


@pytest.fixture(scope="module")
def fleet():
    inventory = assess.load("sample")
    return Assessment(inventory, assess.load_policy())


def test_scores_by_blocks_of_services_are_the_same_everywhere(fleet, hands, monkeypatch):
    names = ("readiness", "upgrade_churn", "targets")
    given = {"blast_radius": fleet.blast_radius}
    alone = [getattr(fleet, name) for name in names]
    monkeypatch.setattr(evidence, "BLOCK", 15)
    monkeypatch.setattr(breaking, "BLOCK", 20)
    told = set()
    again = Assessment(fleet.inventory, fleet.policy).take(given)
    with working(**hands, tell=lambda what, done, total: told.add((what, done, total))):
        shared = [getattr(again, name) for name in names]
    for one, other in zip(alone, shared, strict=True):
        assert_same(one.frame, other.frame)
        for name in one.details:
            assert_same(one.details[name], other.details[name])
    blocks = len(again.evidence.blocks())
    assert blocks > 2
    for what in ("answers to checks", "rows behind answers", "gates"):
        assert (what, blocks, blocks) in told
    assert any(what == "changes of docker" and total > 1 for what, _, total in told)
    assert ("targets", len(again.targets.details["targets"]), 9) in told


def assert_same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_reading_a_snapshot_is_told_file_by_file(years):
    told = []
    with working(tell=lambda *words: told.append(words)):
        assess.load(years / "2026-09-01")
    files = len(list((years / "2026-09-01").iterdir()))
    what = "files of the snapshot"
    assert told == [(what, done, files) for done in range(1, files + 1)]


class Where(Source):
    """Says which process it was read in."""

    type = "where"
    options = ("path",)

    def collect(self, options, base, deadline):
        batch = Batch()
        assert 0 < deadline.left <= 20
        batch.add("hosts", {"host_id": str(os.getpid())})
        return batch


def test_files_are_collected_by_the_cluster_and_sockets_here(cluster, tmp_path):
    given = {"file": {"path": "a.json"}, "socket": {}}
    tasks = [run.Task(n, Where(), o, tmp_path, 20.0) for n, o in given.items()]
    with working(scheduler=cluster):
        batches = dict(run.side_by_side(tasks, run.collecting))
    (of_file,) = batches["file"].rows["hosts"]
    (of_socket,) = batches["socket"].rows["hosts"]
    assert of_file["host_id"] != str(os.getpid()) == of_socket["host_id"]


def test_a_collection_by_a_cluster_gives_the_same_rows(cluster, tmp_path):
    config = ""
    for name in ("shop", "pay", "gone"):
        services = f"services:\n  {name}:\n    image: {name}:1.2\n    depends_on: [db]\n"
        (tmp_path / f"{name}.yml").write_text(
            f"{services}  db:\n    image: postgres:16\n"
        )
        config += f'[[source]]\ntype = "compose"\npath = "{name}.yml"\n'
    (tmp_path / "gone.yml").unlink()
    (tmp_path / "assess.toml").write_text(config)
    now = datetime(2026, 9, 30, tzinfo=UTC)
    alone = assess.collect(tmp_path / "assess.toml", now=now)
    with working(scheduler=cluster):
        shared = assess.collect(tmp_path / "assess.toml", now=now)
    assert len(alone["workloads"]) == 3
    assert "gone" in " ".join(alone["coverage"]["scope"])
    for name in alone.tables:
        kept = [column for column in alone[name] if column != "seconds"]
        assert_same(alone[name][kept], shared[name][kept])
