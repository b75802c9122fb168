"""The swarm source on dumps recorded from a real swarm of two engines."""

import json
from pathlib import Path

import pytest
from batches import coverage, table
from wild import fit, mutated, whatever_comes

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.swarm import SwarmSource
from assess.sources.swarm.rows import Service, min_healthy
from assess.sources.values import dicts

FIXTURES = Path(__file__).parents[1] / "fixtures/swarm"
CANARY = "hunter2"
INSPECTED = {
    f.stem: json.loads(f.read_text()) for f in (FIXTURES / "inspect").glob("*.json")
}


def collect(base: Path = FIXTURES, **options) -> Batch:
    return SwarmSource().collect(options, base, Deadline(20))


@pytest.fixture(scope="module")
def dumped() -> Batch:
    return collect(path="inspect")


def test_every_frame_fits_and_no_secret_is_in_any(dumped):
    for name in SwarmSource.fills:
        assert len(table(dumped, name))
    assert json.dumps(INSPECTED).count(CANARY) > 20
    assert CANARY not in repr(dumped)
    assert coverage(dumped)["services"]["redacted_n"] > 10


def test_services(dumped):
    columns = ("stateful", "min_healthy_pct", "health_checked", "secrets_in_image")
    found = {
        r["names"][0].name: tuple(r[c] for c in columns) for r in dumped.rows["services"]
    }
    assert found == {
        "web": (False, 50.0, True, True),
        "db": (True, 0.0, None, False),
        "agent": (False, None, None, False),
        "legacy": (True, None, None, False),  # without replicas
    }
    assert {r["names"][0].namespace for r in dumped.rows["services"]} == {"shop"}
    assert {r["kind"] for r in dumped.rows["services"]} == {None}  # none has a port


def test_tasks_and_what_became_of_them(dumped):
    rows = table(dumped, "workloads")
    states = rows["state"].astype(str).value_counts().to_dict()
    assert states == {"running": 5, "exited": 3}
    assert sorted(rows["exit_code"].dropna()) == [137, 143, 143]
    assert set(rows["host_id"]) == {"shop-sw-1", "shop-sw-2"}
    shared = {m["workload_id"]: m["shared_with_n"] for m in dumped.rows["mounts"]}
    assert set(shared.values()) == {0}  # what has ended shares nothing with what runs
    kinds = {r["kind"]: r for r in dumped.rows["activities"]}
    assert (kinds["deploy"]["from_version"], kinds["deploy"]["to_version"]) == (
        "1.4.2",
        "1.5.0",
    )
    heal = kinds["launch"]["ended_at"] - kinds["terminate"]["started_at"]
    assert 0 < heal.total_seconds() < 10


def test_lines_of_the_command_line(dumped):
    batch = collect(path="cli")
    assert sorted(table(batch, "workloads")["name"]) == sorted(
        table(dumped, "workloads")["name"]
    )
    assert table(batch, "engines")["version"].tolist() == [
        "20.10.24+dfsg1",
        "26.1.5+dfsg1",
    ]
    assert {r["stateful"] for r in batch.rows["services"]} == {None}
    assert {w["inspect_status"] for w in batch.rows["workloads"]} == {"list"}


def test_lists_and_inspections_together_are_one(dumped):
    both = collect(path=["cli", "inspect"], cluster="inspect")
    for frame in ("hosts", "engines", "workloads", "services"):
        assert len(both.rows[frame]) == len(dumped.rows[frame])
    assert {r["names"][0].name for r in both.rows["services"]} == {
        "web",
        "db",
        "agent",
        "legacy",
    }


def test_a_task_that_a_lost_node_calls_running_does_not_run():
    tasks = json.loads(json.dumps(INSPECTED["tasks"]))
    for task in tasks:
        if task["Status"]["State"] == "running":
            task["DesiredState"] = "shutdown"
    found = {**INSPECTED, "tasks": tasks}
    rows = SwarmSource().to_batch(found, "c").rows["workloads"]
    assert {r["state"] for r in rows} == {"removing", "exited"}


@pytest.mark.parametrize(
    ("update", "replicas", "share"),
    [
        ({"Parallelism": 1}, 3, 66.66),
        ({"Parallelism": 0}, 3, 0.0),
        ({"Parallelism": 9}, 3, 0.0),
        ({"Parallelism": 1, "Order": "start-first"}, 3, 100.0),
        ({}, 3, None),
        ({"Parallelism": 1}, 0, None),
        ({"Parallelism": 1}, None, None),
    ],
)
def test_what_an_update_leaves_running(update, replicas, share):
    spec = {
        "Name": "x",
        "UpdateConfig": update,
        "Mode": {"Replicated": {"Replicas": replicas}},
    }
    assert min_healthy(Service({"Spec": spec})) == share


@pytest.mark.parametrize("content", ['{"Id": 1}', "<html>", "", "[1, 2]", "table\n"])
def test_what_is_no_dump_is_told(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    batch = collect(tmp_path, path="x.json")
    assert [row["status"] for row in batch.coverage] == [
        "parse_error"
    ] and batch.coverage[0]["hint"]


@whatever_comes
def test_no_payload_breaks_it(seeds):
    fit([changed(seed) for seed in seeds])


def changed(seed):
    lines = [
        json.loads(line)
        for f in (FIXTURES / "cli").glob("*.json")
        for line in f.read_text().splitlines()
    ]
    source, found = SwarmSource(), {}
    every = [*(d for dump in INSPECTED.values() for d in dump), *lines]
    for document in dicts([mutated(d, seed + n) for n, d in enumerate(every)]):
        for kind, items in source.sort(document):
            found.setdefault(kind, []).extend(i for i in items if isinstance(i, dict))
    return source.to_batch(found, "c")


def test_options():
    check = SwarmSource().check
    assert (
        not check({})
        and not check({"endpoint": "ssh://web-1"})
        and not check({"path": "a"})
    )
    assert check({"endpoint": "https://x"}) and check({"path": 3})
    assert check({"path": "a", "endpoint": "tcp://b"}) and check({"tls_cert": "a"})


def test_services_without_tasks_are_declared(tmp_path):
    template = {
        "ContainerSpec": {"Image": "shop/api:1.4.2"},
        "Resources": {
            "Limits": {"NanoCPUs": 10**9},
            "Reservations": {"NanoCPUs": 250_000_000, "MemoryBytes": 64 * 2**20},
        },
    }
    spec = {
        "Name": "shop_api",
        "TaskTemplate": template,
        "Mode": {"Replicated": {"Replicas": 2}},
    }
    ports = {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080}]}
    service = {"ID": "s" * 25, "Version": {"Index": 1}, "Spec": spec, "Endpoint": ports}
    (tmp_path / "services.json").write_text(json.dumps([service]))
    batch = collect(tmp_path, path="services.json", cluster="c")
    rows = table(batch, "workloads")
    assert rows["workload_id"].tolist() == ["c/shop_api/1", "c/shop_api/2"]
    assert set(rows["state"]) == {"declared"} and set(rows["restart_policy"]) == {
        "always"
    }
    sizes = rows.loc[0, ["cpu_request", "cpu_limit", "memory_request_bytes"]].tolist()
    assert sizes == [0.25, 1.0, 64 * 2**20]
    assert [r["public"] for r in batch.rows["services"]] == [True]


def test_labels_tell_a_proxy_to_open_a_service(tmp_path):
    def service(name, image, **labels):
        task = {"ContainerSpec": {"Image": image}}
        spec = {"Name": name, "Labels": labels, "TaskTemplate": task}
        return {"ID": name, "Version": {"Index": 1}, "Spec": spec}

    rule = {"traefik.http.routers.a.rule": "Host(`a.example`)"}
    off = rule | {"traefik.enable": "false"}
    services = [
        service("edge", "traefik:v3.1"),
        service("shop", "acme/shop:1", **rule),
        service("off", "acme/off:1", **off),
    ]
    (tmp_path / "services.json").write_text(json.dumps(services))
    batch = collect(tmp_path, path=".")
    public = {row["names"][0].name: row["public"] for row in batch.rows["services"]}
    assert public == {"edge": None, "shop": True, "off": None}
    calls = [(r["src"].name, r["dst"].name) for r in batch.rows["dependencies"]]
    assert calls == [("edge", "shop")]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [({}, False), ({"Networks": [{"Target": "k3vj"}]}, None)],  # which may be `host`
)
def test_a_service_without_networks_is_not_on_that_of_its_host(networks, expected):
    task = {"ContainerSpec": {"Image": "acme/web:1"}, **networks}
    spec = {"Name": "web", "TaskTemplate": task, "Mode": {"Global": {}}}
    assert Service({"Version": {"Index": 1}, "Spec": spec}).unit.host_network is expected
