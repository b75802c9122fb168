"""The docker source on real engines, against the table in `application.py`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import application
import docker
import engines as real
import pandas as pd
import pytest
from sshd import SSHD, ssh_server

from assess import frames
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.docker.client import Connection
from assess.sources.docker.source import DockerSource

pytestmark = pytest.mark.engine
REPLICAS = {c.name: c for c in application.CONTAINERS if c.service}


def collect(endpoint: str, *, seconds: float = 60, **options) -> Batch:
    options = {"endpoint": endpoint, **options}
    return DockerSource().collect(options, Path("/"), Deadline(seconds))


def table(batch: Batch, name: str) -> pd.DataFrame:
    raw = pd.DataFrame(batch.rows[name])
    typed, problems = frames.conform(name, raw)
    assert problems.empty, problems
    columns = {column for column in raw if not column.startswith("_")}
    assert columns - {"names", "src", "dst"} <= set(frames.columns(name))
    return typed


def statuses(batch: Batch) -> dict[str, str]:
    return {row["call"]: row["status"] for row in batch.coverage}


@pytest.fixture(scope="module")
def batches(engines) -> list[Batch]:
    _wait_until_healthy(engines)
    return [collect(engine.endpoint, host_id=engine.version) for engine in engines]


def _wait_until_healthy(engines) -> None:
    wanted = sum(c.healthy for c in application.CONTAINERS)
    for engine in engines:
        api = docker.APIClient(base_url=engine.endpoint)
        for _ in range(100):
            if len(api.containers(filters={"health": "healthy"})) == wanted:
                break
            time.sleep(0.1)
        api.close()


def test_the_two_engines_differ(engines):
    assert len({e.version for e in engines}) == 2


def test_each_container_is_the_service_that_the_table_says(batches):
    for batch in batches:
        rows = {row["name"]: row for row in batch.rows["workloads"]}
        assert {n: row["names"][0].name for n, row in rows.items()} == {
            n: c.service for n, c in REPLICAS.items()
        }
        assert {n: rows[n]["state"] for n in rows if n != "shop-crash-1"} == {
            n: c.state for n, c in REPLICAS.items() if n != "shop-crash-1"
        }


def test_workloads_are_told_as_they_were_made(batches):
    for batch in batches:
        workloads = table(batch, "workloads").set_index("name")
        assert workloads["inspect_status"].eq("ok").all()
        web = workloads.loc["shop-web-1"]
        assert (web["registry"], web["repository"], web["tag"]) == (
            "registry.example.com",
            "shop/web",
            "1.4.2",
        )
        assert web["memory_limit_bytes"] == 64 * 2**20 and not web["memory_unlimited"]
        assert (web["cpu_limit"], web["pids_limit"]) == (0.5, 100)
        assert (web["health"], web["restart_policy"], web["ports"]) == (
            "healthy",
            "always",
            "8080/tcp",
        )
        api = workloads.loc["shop-api-1"]
        assert not api["user_root"] and api["readonly_root"]
        assert (api["env_names_n"], api["secret_like_env_n"]) == (4, 2)
        assert workloads.loc["shop-backup-1", "exit_code"] == 0
        assert pd.isna(workloads.loc["shop-migrate-1", "exit_code"])
        agent = workloads.loc["agent"]
        assert agent["privileged"] and agent["host_pid"] and agent["caps_added_n"] == 1
        assert agent["caps_added"] == "NET_ADMIN" and not agent["host_ipc"]
        assert workloads["devices_n"].eq(0).all()
        proxy = workloads.loc["edge-proxy-1"]
        assert (
            proxy["docker_sock_mounted"]
            and proxy["host_network"]
            and proxy["tag_floating"]
        )
        assert workloads["docker_sock_mounted"].sum() == 1
        assert workloads.loc["shipper", "log_driver"] == "splunk"


def test_images_in_use_are_asked_for_their_processor(batches):
    for batch in batches:
        images = table(batch, "images")
        used = images[images["containers_n"].gt(0).fillna(value=False)]
        assert len(used) and used["arch"].eq("amd64").all()
        assert statuses(batch)["image inspect"] == "ok"


def test_what_never_happened_has_no_time(batches):
    for batch in batches:
        workloads = table(batch, "workloads").set_index("name")
        never = workloads[workloads["state"] == "created"]
        assert len(never) == 6
        assert never[["started_at", "finished_at"]].isna().all(axis=None)
        assert workloads["created_at"].dt.year.min() > 2000


def test_data_of_record_is_seen(batches):
    for batch in batches:
        mounts = table(batch, "mounts")
        names = table(batch, "workloads").set_index("workload_id")["name"]
        data = mounts[mounts["data_like"].fillna(value=False)]
        assert set(names[data["workload_id"]]) == {"shop-postgres-1", "billing-7"}
        pgdata = mounts[mounts["volume_name"].eq("shop_pgdata").fillna(value=False)]
        assert pgdata["shared_with_n"].tolist() == [1, 1]
        assert sorted(pgdata["read_only"]) == [False, True]
        assert Counter(mounts["source_class"]) == {
            "named-volume": 2,
            "anonymous-volume": 1,
            "host-path": 1,
            "socket": 1,
        }


def test_services_and_what_they_need(batches):
    for batch in batches:
        services = {row["names"][0].name: row for row in batch.rows["services"]}
        assert {n for n, row in services.items() if row["stateful"]} == {
            "postgres",
            "billing",
        }
        assert {n for n, row in services.items() if row["health_checked"]} == {
            "web",
            "api",
            "postgres",
        }
        assert {n for n, row in services.items() if row["secrets_in_image"]} == {
            "api",
            "postgres",
        }
        assert {n for n, row in services.items() if row["logs_exported"]} == {"shipper"}
        assert services["mail"]["platform"] == "swarm"
        edges = {
            (row["src"].name, row["dst"].name, row["kind"], row.get("condition"))
            for row in batch.rows["dependencies"]
        }
        assert edges == {
            ("web", "api", "start_order", "service_healthy"),
            ("api", "postgres", "data", "service_healthy"),
            ("api", "cache", "cache", "service_started"),
            # the one store of a service holds its data
            ("worker", "cache", "data", "service_started"),
            ("migrate", "postgres", "data", "service_healthy"),
        }


def test_engine_and_host(engines, batches):
    for engine, batch in zip(engines, batches, strict=True):
        host, row = table(batch, "hosts").iloc[0], table(batch, "engines").iloc[0]
        assert host["host_id"] == row["host_id"] == row["version"] == engine.version
        assert host["os_name"] == "debian" and host["os_version"] == "12"
        assert host["kernel"] == os.uname().release and host["vcpus"] == os.cpu_count()
        assert row["storage_driver"] == "overlay2" and row["d_type"] and row["seccomp"]
        assert (row["mirrors_n"], row["insecure_registries_n"]) == (1, 0)
        assert abs(row["clock_skew_s"]) < 2
        assert row["containers_total_n"] == len(application.CONTAINERS)
    assert {b.rows["engines"][0]["min_api_version"] for b in batches} == {"1.12", "1.24"}


def test_images_know_their_containers(batches):
    for batch in batches:
        images = table(batch, "images").set_index("repository")
        used = Counter(c.image.partition(":")[0] for c in application.CONTAINERS)
        assert images.loc["shop/api", "containers_n"] == 3
        assert images.loc["library/postgres", "tags"] == "16"
        assert len(images) == len(used) and not images["dangling"].any()
        assert not images["reclaimable"].any()  # too young for docker-gc


def test_coverage_counts_what_the_engine_says_that_it_has(batches, engines):
    for engine, batch in zip(engines, batches, strict=True):
        rows = {row["call"]: row for row in batch.coverage}
        assert list(rows) == [
            "version",
            "info",
            "containers",
            "networks",
            "images",
            "volumes",
            "inspect",
            "image inspect",
        ]
        assert set(statuses(batch).values()) == {"ok"}
        containers = len(application.CONTAINERS)
        assert rows["containers"]["expected"] == rows["containers"]["rows"] == containers
        assert rows["inspect"]["ratio"] == rows["images"]["ratio"] == 1.0
        assert {row["scope"] for row in rows.values()} == {engine.endpoint}
        assert rows["volumes"]["redacted_n"] == 3  # options of the network share


def test_the_canary_is_nowhere(batches, tmp_path):
    for batch in batches:
        assert application.CANARY not in repr(batch)
        for name in batch.rows:
            table(batch, name).to_csv(tmp_path / "x.csv")
            assert application.CANARY not in (tmp_path / "x.csv").read_text()


def test_a_list_alone_gives_all_but_the_inside(engine):
    batch = collect(engine.endpoint, inspect="none")
    workloads = table(batch, "workloads").set_index("name")
    assert (
        len(workloads) == len(REPLICAS) and workloads["inspect_status"].eq("list").all()
    )
    assert (
        workloads["privileged"].isna().all()
        and workloads["secret_like_env_n"].isna().all()
    )
    assert workloads.loc["shop-backup-1", "exit_code"] == 0
    assert workloads.loc["edge-proxy-1", "docker_sock_mounted"]
    assert "inspect" not in statuses(batch)


def test_a_container_that_vanishes_keeps_what_the_list_said(engine, monkeypatch):
    api = docker.APIClient(base_url=engine.endpoint)
    spare = api.create_container("example/report:9", ["true"], name="spare")["Id"]
    get = Connection.get

    def racing(self, path, **options):
        told = get(self, path, **options)
        if path.startswith("/containers/json"):
            api.remove_container(spare)
        return told

    monkeypatch.setattr(Connection, "get", racing)
    batch = collect(engine.endpoint)
    api.close()
    rows = {row["name"]: row for row in batch.rows["workloads"]}
    assert (
        rows["spare"]["inspect_status"] == "vanished"
        and rows["spare"]["state"] == "created"
    )
    assert Counter(row["inspect_status"] for row in rows.values()) == {
        "ok": len(REPLICAS),
        "vanished": 1,
    }
    assert statuses(batch)["inspect"] == "ok"


def test_mutual_tls_gives_the_same_as_the_socket(engine, batches, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    batch = collect(engine.tcp, host_id=engine.version, **engine.tls)
    pd.testing.assert_frame_equal(
        table(batch, "workloads").drop(columns="source_ref"),
        table(batches[-1], "workloads").drop(columns="source_ref"),
    )


@pytest.mark.parametrize(
    ("options", "status", "hint"),
    [
        (("tls_ca",), "denied", "the engine wants a client certificate"),
        ((), "unreachable", "the engine speaks TLS"),
        (("tls_cert", "tls_key"), "denied", "tls_ca did not sign"),
    ],
)
def test_failures_of_tls_are_told_apart(engine, options, status, hint):
    tls = {name: engine.tls[name] for name in options}
    if options and "tls_ca" not in options:
        tls["tls_ca"] = engine.tls["tls_cert"]
    batch = collect(engine.tcp, **tls)
    (row,) = batch.coverage
    assert (row["call"], row["status"]) == ("version", status)
    assert row["hint"].startswith(hint)
    assert not batch.rows


def test_ssh_gives_the_same_as_the_socket(engine, batches, tmp_path, monkeypatch):
    if not SSHD.exists() or not shutil.which("docker"):
        pytest.skip("no ssh server or docker command here")
    monkeypatch.setenv("HOME", str(tmp_path))
    with ssh_server(engine.endpoint, tmp_path) as endpoint:
        batch = collect(endpoint, host_id=engine.version)
        assert set(statuses(batch).values()) == {"ok"}, batch.coverage
        assert {row["scope"] for row in batch.coverage} == {endpoint.replace("root@", "")}
        assert table(batch, "workloads")["name"].tolist() == (
            table(batches[-1], "workloads")["name"].tolist()
        )
        (tmp_path / ".ssh/known_hosts").write_text("")
        (row,) = collect(endpoint).coverage
        assert (row["call"], row["status"]) == ("connect", "denied")
        assert "known_hosts" in row["hint"]


@pytest.mark.parametrize("scheme", ["unix", "tcp", "ssh"])
def test_what_hangs_costs_its_deadline_and_no_more(scheme, tmp_path):
    family = socket.AF_UNIX if scheme == "unix" else socket.AF_INET
    with socket.socket(family) as server:
        server.bind(str(tmp_path / "s") if scheme == "unix" else ("127.0.0.1", 0))
        server.listen()
        where = server.getsockname()
        address = where if scheme == "unix" else f"127.0.0.1:{where[1]}"
        start = time.monotonic()
        batch = collect(f"{scheme}://{address}", seconds=0.5)
        assert time.monotonic() - start < 5
    (row,) = batch.coverage
    assert row["status"] == "timeout" and 0.3 < row["seconds"] < 5


def test_a_dead_socket_and_one_that_refuses(engine, tmp_path):
    (row,) = collect(f"unix://{tmp_path}/none").coverage
    assert row["status"] == "unreachable" and row["hint"].startswith("no such socket")
    (row,) = collect(f"tcp://127.0.0.1:{real.free_port()}").coverage
    assert row["status"] == "unreachable" and row["hint"].startswith("nothing listens")
    engine.root.parent.chmod(0o711)
    os.seteuid(65534)
    try:
        (row,) = collect(engine.endpoint).coverage
    finally:
        os.seteuid(0)
    assert row["status"] == "denied"


def test_dumps_of_the_command_line_say_the_same(engine, batches, tmp_path):
    def asked(*arguments: str) -> str:
        command = ["docker", "-H", engine.endpoint, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def dump(name: str, *arguments: str) -> None:
        (tmp_path / name).write_text(asked(*arguments))

    shape = ("--format", "{{json .}}")
    for name, call in (
        ("version", ["version"]),
        ("info", ["info"]),
        ("ps", ["ps", "-a"]),
        ("images", ["images"]),
        ("volumes", ["volume", "ls"]),
    ):
        dump(f"{name}.json", *call, *shape)
    dump("inspect.json", "inspect", *asked("ps", "-aq").split())
    networks = asked("network", "ls", "-q").split()
    dump("networks.json", "network", "inspect", *networks)
    batch = DockerSource().collect(
        {"path": tmp_path.name, "host_id": engine.version}, tmp_path.parent, Deadline(60)
    )
    assert set(statuses(batch).values()) == {"ok"}
    for name in ("workloads", "mounts"):
        order = frames.key(name)
        dumped, live = (
            table(b, name)
            .drop(columns="source_ref")
            .sort_values(order, ignore_index=True)
            for b in (batch, batches[-1])
        )
        pd.testing.assert_frame_equal(dumped, live)
