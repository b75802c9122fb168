from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assess
from assess.sources.deadline import Deadline
from assess.sources.frames import FramesSource
from assess.sources.hosts import to_batch
from assess.sources.hosts.osquery import (
    TABLES,
    OsquerySource,
    to_engine_batch,
    to_host,
    to_mounted,
)
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parent.parent / "fixtures"
CELL = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.lists(st.text())
)
COLUMNS = [
    "id",
    "name",
    "version",
    "state",
    "hostname",
    "active_state",
    "sub_state",
    "user",
    "rw",
    "key",
    "value",
    "path",
    "type",
    "tags",
    "image",
    "created",
    "blocks",
    "blocks_free",
    "blocks_size",
    "instance_id",
    "platform",
]


def read(path="osquery", base=FIXTURES):
    return OsquerySource().collect({"path": path}, base, Deadline(20))


def coverage(batch):
    return {(row["scope"], row["call"]): row for row in batch.coverage}


@pytest.fixture(scope="module")
def fleet():
    return read()


def test_hosts_are_named_by_their_directories_though_both_call_themselves_localhost(
    fleet,
):
    hosts = {row["host_id"]: row for row in fleet.rows["hosts"]}
    assert set(hosts) == {"web-02", "db-02"}
    assert {row["hostname"] for row in hosts.values()} == {"localhost"}
    assert (hosts["web-02"]["os_name"], hosts["web-02"]["os_version"]) == (
        "ubuntu",
        "22.04",
    )
    assert (hosts["db-02"]["os_name"], hosts["db-02"]["os_version"]) == ("centos", "7.9")
    assert (hosts["web-02"]["vcpus"], hosts["web-02"]["memory_bytes"]) == (8, 16595038208)


def test_units_and_containers_of_one_host(fleet):
    workloads = {row["workload_id"]: row for row in fleet.rows["workloads"]}
    unit = workloads["web-02/checkout.service"]
    assert (unit["source_kind"], unit["user_root"]) == ("unit", False)
    assert workloads["web-02/reports.service"]["state"] == "failed"
    assert "web-02/cron.service" not in workloads
    cart = workloads["web-02/" + "9f" * 6]
    assert (cart["source_kind"], cart["state"]) == ("container", "running")
    assert (cart["names"][0].name, cart["names"][0].namespace) == ("cart", "shop")
    assert (cart["privileged"], cart["readonly_root"]) == (False, True)
    assert cart["started_at"] == pd.Timestamp("2026-09-27T08:00:00Z")
    assert cart["finished_at"] is None


def test_engines_from_tables_and_from_packages(fleet):
    tables, notes = to_tables([("osquery", fleet)], [])
    engines = tables["engines"].set_index("host_id")
    web = engines.loc["web-02"]
    assert (web["version"], web["containerd_version"]) == ("24.0.5", "1.7.2")
    assert (web["storage_driver"], web["distro_package"]) == ("overlay2", "docker.io")
    assert bool(web["reachable"])
    assert engines.loc["db-02", "runtime"] == "podman"
    assert not [note for note in notes if note["source"] == "merge"]


def test_data_of_a_store_and_of_a_volume(fleet):
    mounts = {row["destination"]: row for row in fleet.rows["mounts"]}
    assert mounts["/var/lib/mysql"]["size_bytes"] == 600 * 4096
    assert mounts["/data"]["data_like"] is True
    services = {row["names"][0].name: row for row in fleet.rows["services"]}
    assert services["mariadb"]["kind"] == "database"


@pytest.mark.parametrize("listed", [None, []])
def test_a_store_of_a_host_whose_file_systems_nobody_listed_may_have_its_own(
    tmp_path, listed
):
    shutil.copytree(FIXTURES / "osquery" / "db-02", tmp_path / "db-02")
    file = tmp_path / "db-02" / "mounts.json"
    file.unlink() if listed is None else file.write_text("[]")
    config = tmp_path / "assess.toml"
    config.write_text(f'[[source]]\ntype = "osquery"\npath = "{tmp_path}"\n')
    inventory = assess.collect(config, sources=["osquery"])
    (mount,) = inventory["mounts"].to_dict("records")
    assert (mount["destination"], mount["workload_id"]) == (
        "/var/lib/mysql",
        "db-02/mariadb.service",
    )
    assert pd.isna(mount["data_like"]) and pd.isna(mount["read_only"])
    gates = assess.score_readiness(inventory, assess.load_policy()).details["gates"]
    state = gates.set_index(["service_id", "gate"])["state"]
    assert state["mariadb", "G7"] == "unknown"


@pytest.mark.parametrize("is_logged", [False, True])
def test_the_log_of_a_scheduled_query_has_its_rows_in_one(tmp_path, is_logged):
    host = tmp_path / "h1"
    host.mkdir()
    rows = [{"id": f"{n}" * 64, "name": f"/till-{n}", "state": "running"} for n in (1, 2)]
    logged = {"snapshot": rows, "action": "snapshot", "hostIdentifier": "h1"}
    (host / "docker_containers.json").write_text(
        json.dumps(logged if is_logged else rows)
    )
    batch = read("h1", tmp_path)
    assert [row["state"] for row in batch.rows["workloads"]] == ["running"] * 2
    (row,) = [r for r in batch.coverage if r["call"] == "docker_containers"]
    assert (row["status"], row["rows"], row["expected"]) == ("ok", 2, 2)


def test_an_empty_table_is_not_taken_for_none(fleet):
    row = coverage(fleet)["osquery/db-02", "docker_version"]
    assert (row["status"], row["rows"]) == ("empty", 0)
    assert "root" in row["hint"]
    assert OsquerySource().check({}) == ["path names no file and no directory"]


def test_settings_of_engine_and_kubelet_are_on_their_command_lines(tmp_path):
    tables = {
        "os_version": [{"name": "Debian", "version": "11"}],
        "deb_packages": [
            {"name": "docker-ce", "version": "5:18.09.9~3-0~debian-stretch"},
            {"name": "kubelet", "version": "1.23.4-00"},
        ],
        "daemons": [
            {"cmdline": "/usr/bin/dockerd -H fd:// --cluster-store=consul://u:hunter2@c"},
            # an engine in a container: what both set counts
            {"cmdline": "dockerd --cluster-store consul://c --debug"},
            {
                "cmdline": "/usr/bin/kubelet --network-plugin=cni --container-runtime=remote"
            },
            {"cmdline": "kubelet-exporter --port 1"},
            {"cmdline": ""},
        ],
    }
    (tmp_path / "web-1").mkdir()
    for name, rows in tables.items():
        (tmp_path / "web-1" / f"{name}.json").write_text(json.dumps(rows))
    batch = read(".", tmp_path)
    engine = next(row for row in batch.rows["engines"] if row["runtime"] == "docker")
    assert engine["daemon_flags"] == "cluster-store"
    assert engine["kubelet_flags"] == "container-runtime=remote;network-plugin"
    assert "hunter2" not in str(batch.rows)
    read_call = next(row for row in batch.coverage if row["call"] == "daemons")
    assert read_call["unmapped_n"] == 1


def test_without_packages_nobody_knows_whether_there_is_an_engine(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deb_packages.json").write_text("[]")
    (tmp_path / "a" / "system_info.json").write_text('[{"hostname": "a"}]')
    batch = read(".", tmp_path)
    assert not batch.rows["engines"]
    assert not batch.rows["workloads"]
    assert coverage(batch)["a", "systemd_units"]["status"] == "not_configured"


def test_facts_of_a_host_that_only_its_engine_tells(tmp_path):
    (tmp_path / "a").mkdir()
    told = {"cpus": "4", "memory": "8589934592", "kernel_version": "5.4.0"}
    told |= {"server_version": "20.10.7", "architecture": "x86_64"}
    (tmp_path / "a" / "docker_info.json").write_text(json.dumps([told]))
    (host,) = read(".", tmp_path).rows["hosts"]
    assert (host["vcpus"], host["memory_bytes"]) == (4, 8 << 30)
    assert (host["kernel"], host["arch"]) == ("5.4.0", "x86_64")


def test_no_secret_passes(fleet):
    assert sum("hunter2" in f.read_text() for f in FIXTURES.glob("osquery/*/*.json")) >= 4
    assert "hunter2" not in repr(fleet)
    assert coverage(fleet)["osquery/web-02", "docker_containers"]["redacted_n"] == 3


def test_bad_files(tmp_path):
    host = tmp_path / "h"
    host.mkdir()
    (host / "system_info.json").write_text("<html>login</html>")
    (host / "os_version.json").write_bytes(b'[{"name": "Debian\x00", "version": "12"}]')
    (host / "systemd_units.json").write_text('[{"id": "a.service", "active_state": "act')
    (host / "kernel_info.json").write_text('{{ include "kernel" . }}')
    batch = read(".", tmp_path)
    told = coverage(batch)
    assert told["h", "system_info"]["status"] == "parse_error"
    assert told["h", "systemd_units"]["status"] == "parse_error"
    assert "template" in told["h", "kernel_info"]["hint"]
    [row] = batch.rows["hosts"]
    assert (row["host_id"], row["os_name"]) == ("h", "debian")
    assert not batch.rows["workloads"]
    assert read("nowhere", tmp_path).coverage[0]["status"] == "unreachable"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user"
)
def test_a_directory_that_may_not_be_listed_is_denied_not_empty():
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o700)
        for place in (".", "host"):
            os.seteuid(65534)
            try:
                batch = read(place, directory)
            finally:
                os.seteuid(0)
            assert batch.coverage[0]["status"] == "denied"
    finally:
        shutil.rmtree(directory)


def test_seven_directories_called_localhost(tmp_path):
    for number in range(7):
        directory = tmp_path / f"rack{number}" / "localhost"
        directory.mkdir(parents=True)
        (directory / "system_info.json").write_text(
            '[{"hostname": "localhost", "uuid": "same"}]'
        )
    ids = {row["host_id"] for row in read(".", tmp_path).rows["hosts"]}
    assert len(ids) == 7


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from(list(TABLES)),
        st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELL, max_size=5), max_size=3),
        max_size=6,
    )
)
def test_tables_of_any_shape(tables):
    host = to_host(tables, "host", "place", None)
    batch = to_batch([host])
    batch.merge(to_engine_batch(tables, host))
    to_tables([("osquery", batch)], [])


def test_a_plain_list_of_hosts_comes_through_frames(tmp_path):
    (tmp_path / "hosts.csv").write_text(
        "host_id,hostname,os_name,os_version,kernel\n"
        "rack3-07,localhost,debian,11,5.10.0-28-amd64\nrack3-08,localhost,debian,11,\n"
    )
    (tmp_path / "workloads.csv").write_text(
        "workload_id,service_id,host_id,source_kind,state\n"
        "rack3-07/billing,billing,rack3-07,unit,running\n"
    )
    batch = FramesSource().collect({"path": "."}, tmp_path, Deadline(10))
    tables, notes = to_tables([("frames", batch)], [])
    assert list(tables["hosts"]["host_id"]) == ["rack3-07", "rack3-08"]
    assert tables["hosts"]["kernel"].isna().tolist() == [False, True]
    assert tables["workloads"].loc[0, "service_id"] == "billing"
    assert json.dumps([note for note in notes if note["status"] != "ok"]) == "[]"


def test_what_cannot_be_read_of_mounts_and_containers_is_counted(tmp_path):
    host = tmp_path / "h"
    host.mkdir()
    tables = {
        "mounts": [
            {"path": "/", "type": "xfs", "blocks": "many", "flags": "rw,relatime"},
            {"path": "/srv", "type": "xfs", "blocks": "-1", "blocks_free": [1]},
            {"path": "/boot", "type": "ext4", "blocks": "", "flags": "ro"},
            {"type": "xfs"},
        ],
        "docker_containers": [{"id": "a1", "name": "/web", "state": "running"}],
        "docker_container_mounts": [
            {"id": "a1", "destination": "/data", "type": "bind", "source": "/srv"},
            {"id": "b2", "destination": "/lost", "type": "bind", "source": "/x"},
        ],
    }
    for name, rows in tables.items():
        (host / f"{name}.json").write_text(json.dumps(rows))
    told = coverage(read(".", tmp_path))
    assert told["h", "mounts"]["unmapped_n"] == 4
    assert told["h", "mounts"]["status"] == "partial"
    strays = told["h", "docker_container_mounts"]
    assert (strays["unmapped_n"], strays["status"]) == (1, "partial")
    assert "docker_container_mounts[1] is of no listed container" in strays["hint"]


@pytest.mark.parametrize(
    ("flags", "is_read_only"),
    [("ro,noatime", True), ("rw", False), ("", None), ("noatime", None), (7, None)],
)
def test_a_file_system_without_flags_is_not_taken_for_writable(flags, is_read_only):
    (mounted,) = to_mounted({"mounts": [{"path": "/x", "type": "xfs", "flags": flags}]})
    assert mounted["read_only"] is is_read_only
