"""The swarm source on a real swarm: two engines on one machine, so two hosts of one name."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import application
import docker
import engines as real
import pytest
import swarms
from batches import table

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource
from assess.sources.swarm import SwarmSource

pytestmark = pytest.mark.engine
RUNNING = {"shop_web": 2, "shop_db": 1, "shop_agent": 2, "shop_legacy": 0}


def collect(options: dict, base: Path = Path("/"), *, method: str = "collect") -> Batch:
    return getattr(SwarmSource(), method)(options, base, Deadline(30))


@pytest.fixture(scope="module")
def swarm():
    """Engines of a swarm, the manager first."""
    with ExitStack() as stack:
        try:
            directories = real.engine_directories()
            base = Path(tempfile.mkdtemp(prefix="assess-"))
            stack.callback(shutil.rmtree, base, ignore_errors=True)
            started = []
            for number, directory in enumerate(directories):
                started.append(real.start(directory, base / f"s{number}"))
            stack.callback(_stop, started)
            for engine in started:
                real.wait(engine)
        except real.NoEngineError as error:
            if os.environ.get("CI"):
                pytest.fail(f"no real engines: {error}")
            pytest.skip(f"no real engines: {error}")
        for engine in started:
            api = docker.APIClient(base_url=engine.endpoint)
            application.load_images(api, [application.WEB])
            api.close()
        alone = collect({"endpoint": started[0].endpoint})
        swarms.form(started)
        swarms.deploy(started[0].endpoint)
        swarms.wait(started[0].endpoint, RUNNING)
        yield started, alone
        for engine in started[::-1]:  # or engines wait long for each other when they stop
            swarms.run(engine.endpoint, "swarm", "leave", "--force")


def _stop(started: list[real.Engine]) -> None:
    with ThreadPoolExecutor(len(started) or 1) as pool:
        list(pool.map(lambda engine: engine.stop(), started))


@pytest.fixture(scope="module")
def batch(swarm) -> Batch:
    return collect({"endpoint": swarm[0][0].endpoint})


def test_every_call_is_covered(batch):
    calls = {row["call"]: (row["status"], row["rows"]) for row in batch.coverage}
    assert calls == {
        "info": ("ok", 1),
        "nodes": ("ok", 2),
        "services": ("ok", 4),
        "tasks": ("ok", 5),
    }
    for name in ("hosts", "engines", "workloads", "services", "mounts", "dependencies"):
        assert len(table(batch, name))


def test_services_and_their_tasks(batch):
    services = {row["names"][0].name: row for row in batch.rows["services"]}
    assert {n: (s["platform"], s["stateful"]) for n, s in services.items()} == {
        "web": ("swarm", False),
        "db": ("swarm", True),
        "agent": ("swarm", False),
        "legacy": ("swarm", True),
    }
    web = services["web"]
    assert (web["min_healthy_pct"], web["health_checked"]) == (50.0, True)
    assert web["secrets_in_image"] and web["names"][0].namespace == "shop"
    workloads = table(batch, "workloads").assign(
        service=[row["names"][0].name for row in batch.rows["workloads"]]
    )
    assert (
        workloads["state"].eq("running").all() and workloads["started_at"].notna().all()
    )
    assert workloads["service"].value_counts().to_dict() == {
        "web": 2,
        "agent": 2,
        "db": 1,
    }
    one = workloads[workloads["service"] == "web"].iloc[0]
    assert (one["memory_limit_bytes"], one["cpu_limit"]) == (64 * 2**20, 0.5)
    assert one["host_network"] and one["readonly_root"] and not one["user_root"]
    assert (one["log_driver"], one["tag"], one["source_kind"]) == (
        "json-file",
        "1.4.2",
        "task",
    )
    (edge,) = batch.rows["dependencies"]
    assert (edge["src"].name, edge["dst"].name, edge["kind"]) == ("web", "db", "data")


def test_hosts_of_one_name_stay_apart(swarm, batch):
    hosts, engines = table(batch, "hosts"), table(batch, "engines")
    assert len(set(hosts["hostname"])) == 1 and hosts["host_id"].nunique() == 2
    assert set(engines["version"]) == {engine.version for engine in swarm[0]}
    assert engines["reachable"].all()
    agents = [w for w in batch.rows["workloads"] if w["names"][0].name == "agent"]
    assert {w["host_id"] for w in agents} == set(hosts["host_id"])


def test_the_canary_is_in_the_swarm_and_in_no_row(swarm, batch):
    api = docker.APIClient(base_url=swarm[0][0].endpoint)
    assert repr(api.services()).count(application.CANARY) >= 8
    api.close()
    assert application.CANARY not in repr(batch)
    assert {row["call"]: row.get("redacted_n", 0) > 3 for row in batch.coverage}[
        "services"
    ]


def test_only_a_manager_can_tell(swarm):
    (_, worker), alone = swarm
    (row,) = alone.coverage
    assert (row["status"], row["hint"]) == ("unsupported", "this engine is in no swarm")
    (row,) = collect({"endpoint": worker.endpoint}).coverage
    assert (row["status"], row["hint"]) == ("unsupported", "name the engine of a manager")


def test_mutual_tls_and_none(swarm):
    manager = swarm[0][0]
    batch = collect({"endpoint": manager.tcp, **manager.tls})
    assert [row["status"] for row in batch.coverage] == ["ok"] * 4
    (row,) = collect({"endpoint": manager.tcp}).coverage
    assert row["status"] != "ok" and not row.get("rows")


def test_a_probe_gives_coverage_alone(swarm):
    found = collect({"endpoint": swarm[0][0].endpoint}, method="probe")
    assert not found.rows and {row["status"] for row in found.coverage} == {"ok"}
    (row,) = collect({"endpoint": "unix:///nowhere/sock"}, method="probe").coverage
    assert row["status"] == "unreachable"


@pytest.mark.parametrize("form", ["inspect", "lines"])
def test_dumps_of_the_command_line_tell_the_same(swarm, batch, tmp_path, form):
    endpoint = swarm[0][0].endpoint

    def docker_(*arguments):
        return swarms.run(endpoint, *arguments)

    services, nodes = (
        docker_("service", "ls", "-q").split(),
        docker_("node", "ls", "-q").split(),
    )
    if form == "inspect":
        tasks = docker_("service", "ps", "-q", *services).split()
        (tmp_path / "nodes.json").write_text(docker_("node", "inspect", *nodes))
        (tmp_path / "services.json").write_text(docker_("service", "inspect", *services))
        (tmp_path / "tasks.json").write_text(docker_("inspect", "--type", "task", *tasks))
    else:
        line = ("--format", "{{json .}}")
        (tmp_path / "nodes.json").write_text(docker_("node", "ls", *line))
        (tmp_path / "services.json").write_text(docker_("service", "ls", *line))
        (tmp_path / "tasks.json").write_text(docker_("service", "ps", *line, *services))
    dumped = collect({"path": "."}, tmp_path)
    assert {row["status"] for row in dumped.coverage} == {"ok"}
    assert application.CANARY not in repr(dumped)
    for frame, column in (
        ("hosts", "host_id"),
        ("engines", "version"),
        ("workloads", "name"),
    ):
        assert sorted(table(dumped, frame)[column]) == sorted(table(batch, frame)[column])
    names = [
        {row["names"][0].name for row in b.rows["services"]} for b in (dumped, batch)
    ]
    if form == "lines":  # which cannot tell of labels, so the stack's name stays
        names[0] = {name.removeprefix("shop_") for name in names[0]}
    assert names[0] == names[1]


def test_the_engines_themselves_tell_of_the_same_containers(swarm, batch):
    ids = {row["workload_id"].rpartition("/")[2] for row in batch.rows["workloads"]}
    own = set()
    for engine in swarm[0]:
        found = DockerSource().collect(
            {"endpoint": engine.endpoint}, Path("/"), Deadline(30)
        )
        own |= {row["workload_id"].rpartition("/")[2] for row in found.rows["workloads"]}
        names = {row["names"][0] for row in found.rows["workloads"]}
        assert names <= {row["names"][0] for row in batch.rows["services"]}
    assert ids == own


def test_a_killed_container_is_healed_and_a_deployment_is_told(swarm):
    endpoint = swarm[0][0].endpoint
    for engine in swarm[0]:
        api = docker.APIClient(base_url=engine.endpoint)
        label = "com.docker.swarm.service.name=shop_db"
        for container in api.containers(filters={"label": label}):
            api.kill(container["Id"])
        api.close()
    swarms.run(
        endpoint,
        "service",
        "update",
        "--detach",
        "--no-resolve-image",
        "--env-add",
        "LEVEL=info",
        "--update-delay",
        "0s",
        "shop_web",
    )
    end, heal = time.monotonic() + 60, []
    while time.monotonic() < end:
        found = collect({"endpoint": endpoint})
        heal = [row for row in found.rows["activities"] if row["names"][0].name == "db"]
        done = [
            row for row in found.rows["activities"] if row.get("status") == "completed"
        ]
        if len(heal) == 2 and done:
            break
        time.sleep(0.5)
    activities = table(found, "activities")
    assert [row["kind"] for row in heal] == ["terminate", "launch"]
    assert 0 < (heal[1]["ended_at"] - heal[0]["started_at"]).total_seconds() < 60
    (deploy,) = activities[activities["kind"] == "deploy"].itertuples()
    assert (deploy.status, deploy.to_version) == ("completed", "1.4.2")
    assert deploy.ended_at >= deploy.started_at
    old = [row for row in found.rows["workloads"] if row["state"] == "exited"]
    # one killed, two replaced
    assert len(old) >= 3 and all(row["finished_at"] for row in old)
    assert application.CANARY not in json.dumps(found.rows, default=str)
