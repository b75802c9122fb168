from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.readiness import score_readiness
from assess.sources.deadline import Deadline
from assess.sources.hosts import ansible, to_batch, upstream
from assess.sources.hosts.ansible import AnsibleSource
from assess.sources.joining.hosts import service_of
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ansible"
NOW = datetime(2026, 10, 1, tzinfo=UTC)
CANARY = "hunter2"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = [
    "ansible_distribution",
    "ansible_distribution_version",
    "ansible_kernel",
    "ansible_memtotal_mb",
    "ansible_mounts",
    "ansible_date_time",
    "ansible_default_ipv4",
    "ansible_env",
    "ansible_local",
    "services",
    "packages",
    "ansible_machine_id",
    "ansible_ec2_instance_id",
    "ansible_fqdn",
    "msg",
]


def read(path, base=FIXTURES, **options):
    return AnsibleSource().collect({"path": path, **options}, base, Deadline(20))


def by(batch, frame, key):
    return {row[key]: row for row in batch.rows[frame]}


def coverage(batch):
    return {(row["scope"], row["call"]): row for row in batch.coverage}


def written(tmp_path, **files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(".", tmp_path)


@pytest.fixture(scope="module")
def cache():
    return read("cache")


@pytest.fixture(scope="module")
def tree():
    return read("tree")


def test_hosts_of_both_forms_of_the_cache(cache):
    hosts = by(cache, "hosts", "host_id")
    assert set(hosts) == {
        "web-01.prod.example.com",
        "db-1.prod.example.com",
        "i-0aa11bb22cc33dd44",
    }
    web, db = hosts["web-01.prod.example.com"], hosts["db-1.prod.example.com"]
    assert (web["os_name"], web["os_version"]) == ("debian", "12.5")
    assert (web["kernel"], web["arch"], web["vcpus"]) == ("6.1.0-18-amd64", "x86_64", 4)
    assert web["memory_bytes"] == 7953 * 2**20
    assert (db["os_name"], db["os_version"]) == ("rhel", "9.3")
    cloud = hosts["i-0aa11bb22cc33dd44"]
    assert (cloud["az"], cloud["os_name"]) == ("eu-west-1b", "amazon-linux")


def test_facts_are_as_old_as_they_say_not_as_their_file(cache):
    host = by(cache, "hosts", "host_id")["web-01.prod.example.com"]
    assert host["last_seen_at"] == datetime(2026, 9, 30, 8, tzinfo=UTC)
    age = (datetime.now(UTC) - host["last_seen_at"]).total_seconds() / 3600
    assert host["facts_age_hours"] == pytest.approx(max(age, 0), abs=0.5)


def test_engines_of_hosts_that_nobody_can_reach(cache, tree):
    engines = by(cache, "engines", "host_id")
    docker = engines["web-01.prod.example.com"]
    assert (docker["runtime"], docker["version"]) == ("docker", "20.10.24")
    assert (docker["distro_package"], docker["containerd_version"]) == (
        "docker-ce",
        "1.6.20",
    )
    assert "reachable" not in docker
    assert engines["db-1.prod.example.com"]["runtime"] == "none"
    # no packages were read there: nobody knows
    assert "i-0aa11bb22cc33dd44" not in engines
    # no package, but a unit that runs it
    snap = by(tree, "engines", "host_id")["jobs-3"]
    assert (snap["runtime"], snap["version"]) == ("docker", None)


def test_a_package_called_docker_is_an_engine_only_where_it_is_one():
    def engines(manager):
        packages = {"docker": [{"name": "docker", "version": "1.5-2", "source": manager}]}
        host, _ = ansible.to_host({"packages": packages}, "a", "p", None)
        return [row["runtime"] for row in to_batch([host]).rows["engines"]]

    assert engines("apt") == ["none"]  # a tray for windows
    assert engines("rpm") == ["docker"]


def test_units_are_workloads_and_those_of_the_distribution_are_not(cache):
    workloads = by(cache, "workloads", "workload_id")
    host = "web-01.prod.example.com/"
    names = {key.removeprefix(host) for key in workloads if key.startswith(host)}
    assert names == {
        "checkout.service",
        "worker@1.service",
        "worker@2.service",
        "nginx.service",
        "gift-cards.service",
        "legacy-mailer",
    }
    checkout = workloads[host + "checkout.service"]
    assert (checkout["source_kind"], checkout["state"]) == ("unit", "running")
    assert workloads[host + "gift-cards.service"]["state"] == "failed"
    assert [(n.name, n.rule, n.confidence) for n in checkout["names"]] == [
        ("checkout", "unit", 0.5),
        ("web", "hostname", 0.3),
    ]
    assert workloads[host + "worker@2.service"]["names"][0].name == "worker"
    services = by(cache, "services", "name")
    assert services["checkout"]["platform"] == "host"
    assert "unit checkout.service on web-01" in services["checkout"]["source_ref"]


def test_stores_are_known_by_unit_and_package(cache):
    services = by(cache, "services", "name")
    store = services["postgresql-14"]
    assert (store["kind"], store["stateful"]) == ("database", True)
    assert "package postgresql14-server 14.11" in store["source_ref"]
    assert (services["redis"]["kind"], services["redis"]["stateful"]) == ("cache", None)
    assert "kind" not in services["checkout"]
    [mount] = cache.rows["mounts"]
    assert (mount["destination"], mount["data_like"]) == ("/var/lib/pgsql", True)
    assert (mount["size_bytes"], mount["read_only"]) == (42949672960, False)


def test_a_directory_per_module_is_one_host(tree):
    [host] = tree.rows["hosts"]
    assert (host["host_id"], host["os_name"]) == ("jobs-3", "ubuntu")
    assert {row["name"] for row in tree.rows["workloads"]} == {"invoicing", "mysql"}
    told = coverage(tree)
    assert told["tree/setup/jobs-4", "read file"]["status"] == "unreachable"
    assert told["tree/setup/jobs-5", "read file"]["status"] == "denied"
    assert told["tree", "read"]["status"] == "partial"
    assert (told["tree", "read"]["rows"], told["tree", "read"]["expected"]) == (3, 5)
    assert "become" in told["tree", "read"]["hint"]  # services that it could not see


def test_what_nobody_gathered_is_said(cache):
    told = coverage(cache)
    assert told["cache", "setup"]["status"] == "ok"
    assert told["cache", "services"]["status"] == "partial"
    assert "service_facts" in told["cache", "services"]["hint"]
    assert (told["cache", "packages"]["rows"], told["cache", "packages"]["expected"]) == (
        2,
        3,
    )


def test_no_secret_passes(cache, tree):
    for directory, batch in (("cache", cache), ("tree", tree)):
        files = (FIXTURES / directory).rglob("*")
        assert any(CANARY in f.read_text(encoding="utf-8") for f in files if f.is_file())
        assert CANARY not in repr(batch)
    assert coverage(cache)["cache", "read"]["redacted_n"] > 0


def test_seven_hosts_called_localhost_stay_apart(tmp_path):
    one = {"ansible_distribution": "Debian", "ansible_distribution_version": "12"}
    unit = {
        "app.service": {"name": "app.service", "state": "running", "source": "systemd"}
    }
    files = {f"site{n}/localhost": {**one, "services": unit} for n in range(7)}
    batch = written(tmp_path, **files)
    ids = [row["host_id"] for row in batch.rows["hosts"]]
    assert len(set(ids)) == 7
    assert all(name.startswith("localhost@") for name in ids)
    tables, _ = to_tables([("ansible", batch)], [])
    assert len(tables["hosts"]) == 7
    assert tables["workloads"]["host_id"].nunique() == 7


def test_one_name_in_two_inventories_is_one_host_only_where_nothing_contradicts(tmp_path):
    machines = {
        "a/db1": {"ansible_machine_id": "aa"},
        "b/db1": {"ansible_machine_id": "bb"},
    }
    batch = written(tmp_path, **machines)
    assert {row["host_id"] for row in batch.rows["hosts"]} == {"db1@a", "db1@b"}
    same = {"c/db2": {"ansible_kernel": "5.4", "ansible_machine_id": "cc"}}
    same["d/db2"] = {"services": {}}
    assert "db2" in {row["host_id"] for row in written(tmp_path, **same).rows["hosts"]}


def test_the_callback_json_and_a_prefix(tmp_path):
    facts = {"ansible_facts": {"ansible_kernel": "5.10"}, "changed": False}
    plays = {
        "plays": [{"tasks": [{"hosts": {"web1": facts, "web2": {"unreachable": True}}}]}]
    }
    batch = written(tmp_path, **{"run.json": plays})
    assert [row["host_id"] for row in batch.rows["hosts"]] == ["web1"]
    assert coverage(batch)["run.json", "read file"]["status"] == "unreachable"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "af_s1_web3").write_text(
        json.dumps({"__payload__": json.dumps({"ansible_kernel": "5.10"})})
    )
    found = read("own", tmp_path, prefix="af_")
    assert [row["host_id"] for row in found.rows["hosts"]] == ["web3"]


BAD = {
    "html": ("<!DOCTYPE html><html>login</html>", "parse_error", "web page"),
    "cut": ('{"ansible_kernel": "5.1', "parse_error", ""),
    "template": ("{{ hostvars[item] | to_nice_json }}", "parse_error", "template"),
    "binary": (b"\xff\xfe\x00\xd8\x00", "parse_error", ""),
    "nothing": ("", "parse_error", ""),
    "other": ('{"a": 1}', "parse_error", "no facts"),
    "payload": ('{"__payload__": "{\\"a\\": "}', "parse_error", "cut off"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_coverage_rows(tmp_path, name):
    content, status, hint = BAD[name]
    good = {"ansible_kernel": "5.10"}
    batch = written(tmp_path, bad=content, good=good)
    row = coverage(batch)["bad", "read file"]
    assert row["status"] == status
    assert hint in (row.get("hint") or "")
    assert len(batch.rows["hosts"]) == 1  # the others go on


def test_missing_and_empty_paths():
    missing = read("nowhere").coverage[0]
    assert (missing["status"], missing["rows"]) == ("unreachable", 0)
    with tempfile.TemporaryDirectory() as directory:
        empty = read(".", Path(directory)).coverage[0]
    assert empty["status"] == "unreachable"
    assert AnsibleSource().check({}) == ["path names no file and no directory"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user"
)
def test_a_file_that_may_not_be_read_is_denied_and_the_rest_goes_on():
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        (directory / "a").write_text('{"ansible_kernel": "5.10"}')
        (directory / "b").write_text('{"ansible_kernel": "5.10"}')
        (directory / "b").chmod(0o600)
        os.seteuid(65534)
        try:
            batch = read(".", directory)
        finally:
            os.seteuid(0)
    finally:
        shutil.rmtree(directory)
    assert coverage(batch)["b", "read file"]["status"] == "denied"
    assert coverage(batch)[".", "read"]["status"] == "partial"
    assert [row["host_id"] for row in batch.rows["hosts"]] == ["a"]


def test_nul_bytes_html_and_impossible_dates(tmp_path):
    facts = {
        "ansible_fqdn": "<script>alert(1)</script>\u0000x",
        "ansible_date_time": {"epoch": "-10790000000", "iso8601": "1628-08-10T16:20:00Z"},
        "ansible_memtotal_mb": -5,
        "ansible_processor_vcpus": "many",
        "services": {"app.service": {"name": "app\u0000.service", "state": "running"}},
    }
    batch = written(tmp_path, host=facts)
    [host] = batch.rows["hosts"]
    assert "\0" not in repr(batch.rows)
    assert host["last_seen_at"].year >= 2026  # when the file was written
    assert "memory_bytes" not in host
    assert "vcpus" not in host
    os.utime(tmp_path / "host", (-10790000000, -10790000000))
    [host] = read(".", tmp_path).rows["hosts"]
    assert "last_seen_at" not in host
    assert "facts_age_hours" not in host


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8), JSON)
def test_facts_of_any_shape(facts, clock):
    facts["ansible_date_time"] = {"epoch": clock}
    host, lost = ansible.to_host(facts, "host", "place", 1e30)
    batch = to_batch([host])
    assert all(isinstance(text, str) for text in lost)
    assert len(batch.rows["hosts"]) == 1
    to_tables([("ansible", batch)], [])


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("5:24.0.7-1~ubuntu.22.04~jammy", "24.0.7"),
        ("20.10.24+dfsg1-1+deb12u1", "20.10.24+dfsg1"),
        ("17.05.0~ce-0~ubuntu-xenial", "17.05.0-ce"),
        ("1.13.1-103.git7f2769b.el7.centos", "1.13.1"),
        ("rolling", None),
    ],
)
def test_versions_of_packages(package, version):
    assert upstream(package) == version


@pytest.mark.parametrize(
    ("hostname", "service"),
    [
        ("web-01.prod.example.com", "web"),
        ("prod-checkout-api-03", "checkout-api"),
        ("kafka-prod-use1-12", "kafka"),
        ("db01a", "db"),
        ("redis6", "redis"),
        ("ip-10-0-3-17.ec2.internal", ""),
        ("localhost", ""),
        ("10.0.3.40", ""),
    ],
)
def test_what_a_host_name_tells(hostname, service):
    assert service_of(hostname) == service


def test_a_service_on_a_plain_host_is_a_candidate_with_evidence(cache):
    tables, _ = to_tables([("ansible", cache)], [])
    inventory = from_frames(tables, snapshot_at=NOW.isoformat())
    readiness = score_readiness(inventory, load_policy())
    frame = readiness.frame
    assert {"checkout", "worker", "postgresql-14"} <= set(frame.index)
    assert frame.loc["postgresql-14", "label_gates"] == "NEVER"
    atoms = readiness.details["atoms"].set_index(["service_id", "check"])["state"]
    assert atoms["checkout", "fit.kernel"] == "pass"
    assert atoms["checkout", "build.pinned"] == "na"  # there is no image yet


@pytest.mark.parametrize(
    ("name", "version", "system"),
    [
        ("RedHat", "8.6", ("rhel", "8.6")),
        ("Rocky", "9", ("rocky-linux", "9")),
        ("CentOS", "7.9.2009", ("centos", "7.9")),
        ("Ubuntu", "22.04", ("ubuntu", "22.04")),
    ],
)
def test_minor_versions_of_systems_are_kept(name, version, system):
    facts = {"ansible_distribution": name, "ansible_distribution_version": version}
    host, _ = ansible.to_host(facts, "web", "", None)
    assert (host.facts["os_name"], host.facts["os_version"]) == system


@pytest.mark.parametrize(
    ("facts", "modules"),
    [
        ({"apparmor": {"status": "enabled"}, "selinux": False}, "apparmor"),
        (
            {"apparmor": {"status": "disabled"}, "selinux": {"status": "enabled"}},
            "selinux",
        ),
        ({"apparmor": {"status": "disabled"}, "selinux": {"status": "disabled"}}, "none"),
        # nothing is said of the other one
        ({"selinux": {"status": "disabled"}}, None),
        ({"apparmor": {"status": "disabled"}, "selinux": {"status": "Missing"}}, None),
        ({}, None),
    ],
)
def test_security_modules_are_on_where_the_facts_say_so(facts, modules):
    named = {f"ansible_{name}": value for name, value in facts.items()}
    host, lost = ansible.to_host(named, "h", "p", None)
    assert (host.facts.get("security_modules"), lost) == (modules, [])


def test_hidden_files_are_told_and_logs_of_our_script_are_not(tmp_path):
    (tmp_path / "web-1").write_text(json.dumps({"ansible_facts": {"kernel": "6.1"}}))
    (tmp_path / ".setup").write_text("web-1 | SUCCESS")
    ansible = AnsibleSource()
    assert not hidden(ansible.collect({"path": "."}, tmp_path, Deadline(9)))
    (tmp_path / ".web-2").write_text(json.dumps({"ansible_facts": {"kernel": "6.1"}}))
    (row,) = hidden(ansible.collect({"path": "."}, tmp_path, Deadline(9)))
    assert row["status"] == "partial" and ".web-2" in row["hint"]


def hidden(batch):
    return [row for row in batch.coverage if row["call"] == "hidden files"]
