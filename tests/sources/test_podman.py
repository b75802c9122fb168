"""Podman from dumps and quadlets, and its API through the docker source."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from assess.sources.deadline import Deadline
from assess.sources.docker.engine import to_engine
from assess.sources.docker.payload import EngineData
from assess.sources.podman import PodmanSource

FIXTURES = Path(__file__).parents[1] / "fixtures" / "podman"


def collect(base=FIXTURES):
    return PodmanSource().collect({"path": "."}, base, Deadline(20))


@pytest.fixture
def batch():
    return collect()


def workload(batch, name):
    return next(row for row in batch.rows["workloads"] if row["name"] == name)


def test_the_host_and_its_engine(batch):
    host = batch.rows["hosts"][0]
    told = ("host_id", "os_name", "os_version", "cgroup_version", "vcpus", "kernel")
    assert [host[name] for name in told] == [
        "forge-1",
        "debian",
        "12",
        "2",
        8,
        "6.1.0-18-amd64",
    ]
    engine = batch.rows["engines"][0]
    assert engine["api_version"] is None  # that of Docker, which these do not tell
    told = ("runtime", "version", "rootless", "seccomp", "cgroup_driver", "d_type")
    assert [engine[name] for name in told] == [
        "podman",
        "4.9.3",
        True,
        True,
        "systemd",
        True,
    ]


def test_a_container_with_its_limits(batch):
    row = workload(batch, "systemd-wiki")
    expected = {
        "state": "running",
        "health": "healthy",
        "memory_limit_bytes": 536870912,
        "cpu_limit": 1.5,
        "pids_limit": 2048,
        "privileged": False,
        "host_network": False,
        "readonly_root": True,
        "user_root": False,
        "caps_added_n": 1,
        "restart_policy": None,  # as systemd has it
        "ports": "8080->3000/tcp",
        "addresses": "10.88.0.7",
        "image_digest": "sha256:" + "b2" * 32,
        "secret_like_env_n": 2,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_listed_container_is_no_more_than_listed_and_infra_is_none(batch):
    row = workload(batch, "backup")
    assert (row["state"], row["inspect_status"]) == ("created", "list")
    assert row["memory_unlimited"] is None
    assert "8a-infra" not in {row["name"] for row in batch.rows["workloads"]}
    ps = next(row for row in batch.coverage if row["call"] == "ps")
    assert (ps["status"], ps["rows"], ps["expected"]) == ("ok", 3, 3)


def test_a_quadlet_is_a_declared_workload(batch):
    row = workload(batch, "systemd-board")
    expected = {
        "state": "declared",
        "host_id": "forge-1",
        "source_kind": "quadlet",
        "memory_limit_bytes": 512 << 20,
        "cpu_limit": 1.5,
        "pids_limit": 300,
        "readonly_root": True,
        "user_root": False,
        "caps_added_n": 2,
        "docker_sock_mounted": True,
        "restart_policy": "on-failure",
        "ports": "127.0.0.1:9090->3000/tcp;3001/tcp",
        "env_names_n": 3,
        "secret_like_env_n": 2,
    }
    assert {name: row[name] for name in expected} == expected
    mounts = {m["destination"]: m for m in batch.rows["mounts"]}
    assert workload(batch, "systemd-board")["workload_id"] == "forge-1/board/1"
    assert mounts["/tmp"]["type"] == "tmpfs"
    names = {m["volume_name"] for m in batch.rows["mounts"]}
    # a volume of a quadlet has the name that Podman gives it
    assert names >= {"systemd-board-data", "wiki-data"}


def test_a_quadlet_whose_container_was_seen_counts_once(batch):
    names = [row["name"] for row in batch.rows["workloads"]]
    assert names.count("systemd-wiki") == 1


def test_a_quadlet_alone_has_no_host_and_an_image_of_another_is_unknown(batch):
    row = workload(batch, "systemd-mirror")
    told = ("host_id", "image_ref", "memory_unlimited", "host_network", "user_root")
    assert [row[name] for name in told] == [None, None, False, True, None]
    assert {host["host_id"] for host in batch.rows["hosts"]} == {"forge-1"}


def test_a_file_of_variables_that_nobody_read_is_told(batch):
    row = next(row for row in batch.coverage if row["call"] == "board")
    assert (row["status"], row["unmapped_n"]) == ("partial", 1)
    assert "/etc/board.env" in row["hint"]


def test_a_remote_client_is_not_the_engine(tmp_path):
    shutil.copytree(FIXTURES / "forge-1", tmp_path / "forge-1")
    file = tmp_path / "forge-1" / "version.json"
    versions = json.loads(file.read_text())
    versions["Server"] = versions["Client"] | {"Version": "5.2.1"}
    file.write_text(json.dumps(versions))
    assert collect(tmp_path).rows["engines"][0]["version"] == "5.2.1"


def test_the_information_as_podman_prints_it_for_people(tmp_path):
    shutil.copytree(FIXTURES / "forge-1", tmp_path / "forge-1")
    file = tmp_path / "forge-1" / "info.json"
    info = json.loads(file.read_text())
    file.unlink()
    file.with_suffix(".yaml").write_text(yaml.safe_dump(info))
    engine = collect(tmp_path).rows["engines"][0]
    assert (engine["rootless"], engine["version"]) == (True, "4.9.3")


def test_its_api_is_that_of_podman_and_tells_that_it_is_rootless():
    data = EngineData()
    version = {
        "Version": "4.9.3",
        "Components": [{"Name": "Podman Engine", "Version": "4.9.3"}],
    }
    data.take("version", version)
    security = ["name=seccomp,profile=default", "name=rootless"]
    data.take("info", {"Name": "forge-1", "SecurityOptions": security})
    engine = to_engine(data, "forge-1")
    assert (engine["runtime"], engine["rootless"]) == ("podman", True)
