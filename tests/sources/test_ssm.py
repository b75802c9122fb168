"""The ssm source: recorded payloads, and written answers; moto has no inventory."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aws_server import ACCOUNT, REGION, Answers
from wild import mutated, whatever_comes

from assess import frames
from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.joining.merge import to_tables
from assess.sources.ssm import APPLICATIONS, DETAILS, SsmSource

FIXTURES = Path(__file__).parents[1] / "fixtures/ssm"
HERE = f"{ACCOUNT}-{REGION}"
CANARY = "hunter2"
SHOP, DEBIAN, NODE, PODMAN, LEFT, GONE = (
    f"i-0c4e550000000000{n}" for n in (1, 3, 5, 7, 8, 9)
)
OWN = "mi-0c4e55000000000aa"  # a machine outside of AWS


@pytest.fixture
def dumps(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))


def collect(dumps: Path) -> Batch:
    return SsmSource().collect({"path": dumps.name}, dumps.parent, Deadline(20))


def coverage(batch: Batch) -> dict[str, dict]:
    return {row["call"].removeprefix("ssm "): row for row in batch.coverage}


def engines(batch: Batch) -> dict[str, tuple]:
    columns = (
        "runtime",
        "version",
        "distro_package",
        "containerd_version",
        "ecs_agent_version",
    )
    return {
        row["host_id"]: tuple(row.get(c) for c in columns)
        for row in batch.rows["engines"]
    }


# -- recorded ------------------------------------------------------------------------------------


def test_every_frame_fits_the_data_dictionary(dumps):
    assert homes()["ssm"].load() is SsmSource
    batch = collect(dumps)
    tables, notes = to_tables([("ssm", batch)], [])
    assert not [note for note in notes if note["call"].startswith("check:")]
    for frame in SsmSource.fills:
        assert frames.check(frame, frames.conform(frame, tables[frame])[0]).empty, frame


def test_engines_of_machines_whose_socket_nobody_can_reach(dumps):
    assert engines(collect(dumps)) == {
        SHOP: ("docker", "20.10.24", "docker-ce", "1.6.21", None),
        # Debian's package docker is a tray for windows
        DEBIAN: ("none", None, None, None, None),
        NODE: ("docker", "20.10.25", "docker", "1.7.2", "1.75.0"),
        PODMAN: ("podman", "4.2.0", "podman", None, None),
        LEFT: ("docker", "20.10.21", "docker.io", None, None),
    }


def test_hosts_systems_and_kernels(dumps):
    hosts = {row["host_id"]: row for row in collect(dumps).rows["hosts"]}
    told = {h: (r["os_name"], r["os_version"], r.get("kernel")) for h, r in hosts.items()}
    assert told == {
        # two are installed, and nobody says which one runs
        SHOP: ("ubuntu", "22.04", None),
        DEBIAN: ("debian", "12", "6.1.0-18-cloud-amd64"),
        NODE: ("amazon-linux", "2", "4.14.322-246.539.amzn2.x86_64"),
        OWN: ("rhel", "7.9", None),
        PODMAN: ("rhel", "8.6", None),
        # of its last inventory: no agent reports any more
        LEFT: ("ubuntu", "18.04", None),
    }
    assert GONE not in hosts  # it was terminated
    assert hosts[NODE]["vcpus"] == 4
    assert {h: r["state"] for h, r in hosts.items()} == {
        SHOP: "running",
        DEBIAN: "running",
        NODE: "running",
        PODMAN: "running",
        OWN: None,
        LEFT: None,
    }
    assert hosts[OWN]["provider"] is None and hosts[SHOP]["provider"] == "aws"


def test_facts_are_of_the_moment_of_the_inventory_not_of_the_ping(dumps):
    hosts = {row["host_id"]: row for row in collect(dumps).rows["hosts"]}
    assert hosts[SHOP]["last_seen_at"] == datetime(2026, 9, 29, 22, 30, tzinfo=UTC)
    assert hosts[OWN]["last_seen_at"] == datetime(
        2026, 9, 29, 22, 58, 13, 401000, tzinfo=UTC
    )
    assert "facts_age_hours" not in hosts[OWN]


def test_two_machines_called_localhost_stay_two(dumps):
    hosts = [
        row for row in collect(dumps).rows["hosts"] if row["hostname"] == "localhost"
    ]
    assert {row["host_id"] for row in hosts} == {OWN, PODMAN}


def test_the_canary_is_in_the_payloads_and_nowhere_in_the_rows(dumps):
    assert "".join(file.read_text() for file in dumps.iterdir()).count(CANARY) > 3
    assert CANARY not in repr(collect(dumps))


def test_machines_without_an_inventory_are_counted(dumps):
    row = coverage(collect(dumps))["get-inventory"]
    assert (row["status"], row["rows"], row["expected"], row["ratio"]) == (
        "partial",
        5,
        6,
        0.8333,
    )
    assert row["redacted_n"] == 6  # packages of no engine and no store
    assert "AWS-GatherSoftwareInventory" in row["hint"]


@pytest.mark.parametrize("lost", ["describe-instance-information", "get-inventory"])
def test_half_of_what_is_asked_for_is_kept(dumps, lost):
    for file in dumps.glob(f"{lost}*"):
        file.unlink()
    batch = collect(dumps)
    assert coverage(batch)[lost]["status"] == "not_configured"
    hosts = {row["host_id"] for row in batch.rows["hosts"]}
    if lost == "get-inventory":
        assert hosts == {SHOP, DEBIAN, NODE, PODMAN, OWN} and not batch.rows["engines"]
    else:
        assert (
            hosts == {SHOP, DEBIAN, NODE, PODMAN, LEFT}
            and len(batch.rows["engines"]) == 5
        )


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "parse_error"),
        (b"\0\0\0", "parse_error"),
        (b'{"InstanceInformationList": []}', "empty"),
        (b'{"InstanceInformationList": [{"InstanceId": "i-1"}]}{"Inst', "partial"),
    ],
)
def test_damaged_dumps(dumps, content, status):
    (dumps / "describe-instance-information.json").write_bytes(content)
    batch = collect(dumps)
    assert coverage(batch)["describe-instance-information"]["status"] == status
    assert len(batch.rows["engines"]) == 5


@whatever_comes
def test_no_payload_crashes_and_rows_fit_or_are_left_out(tmp_path_factory, seeds):
    place = tmp_path_factory.mktemp("wild")
    to_tables([("ssm", changed(place, seed)) for seed in seeds], [])


def changed(place, seed):
    for number, file in enumerate(sorted((FIXTURES / HERE).iterdir())):
        found = mutated(json.loads(file.read_text()), seed + number)
        (place / file.name).write_text(json.dumps(found))
    batch = collect(place)
    # where a failure that nobody thought of is noted
    assert "read" not in coverage(batch)
    return batch


# -- written answers -----------------------------------------------------------------------------


def node(identifier: str) -> dict:
    return {"InstanceId": identifier, "PingStatus": "Online", "PlatformName": "Ubuntu"}


def entity(identifier: str, version: str) -> dict:
    content = [{"Name": "docker.io", "Version": version}]
    return {
        "Id": identifier,
        "Data": {APPLICATIONS: {"TypeName": "x", "Content": content}},
    }


def test_all_pages_and_both_kinds_of_inventory():
    answers = Answers()
    answers.give(
        "DescribeInstanceInformation",
        {"InstanceInformationList": [node("i-1")], "NextToken": "t"},
        {"InstanceInformationList": [node("i-2")]},
    )
    answers.give(
        "GetInventory",
        {"Entities": [entity("i-1", "20.10.21")], "NextToken": "t"},
        {"Entities": [entity("i-2", "24.0.7")]},
    )
    batch = answers.read(SsmSource())
    versions = {host: version for host, (_, version, *_) in engines(batch).items()}
    assert versions == {"i-1": "20.10.21", "i-2": "24.0.7"}
    rows = coverage(batch)
    assert rows["describe-instance-information"]["requests"] == 2
    assert rows["get-inventory"]["status"] == "ok" and rows["get-inventory"]["ratio"] == 1
    kinds = [a["ResultAttributes"][0]["TypeName"] for a in answers.asked["GetInventory"]]
    assert kinds == [APPLICATIONS, APPLICATIONS, DETAILS]
    sizes = {
        asked["MaxResults"] for asked in answers.asked["DescribeInstanceInformation"]
    }
    assert sizes == {50}


def test_half_an_inventory_then_an_error_is_partial():
    answers = Answers()
    found = {"InstanceInformationList": [node("i-1"), node("i-2")]}
    answers.give("DescribeInstanceInformation", found)
    page = {"Entities": [entity("i-1", "20.10.21")], "NextToken": "t"}
    answers.give("GetInventory", page, "ThrottlingException")
    batch = answers.read(SsmSource())
    row = coverage(batch)["get-inventory"]
    assert (row["status"], row["error_class"]) == ("partial", "ThrottlingException")
    assert (row["rows"], row["expected"]) == (1, 2)
    assert len(batch.rows["engines"]) == 1  # of the other nobody knows whether it has one


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDeniedException", "denied"),
        ("ExpiredTokenException", "denied"),
        ("ThrottlingException", "throttled"),
        ("InternalServerError", "unreachable"),
    ],
)
@pytest.mark.parametrize("operation", ["DescribeInstanceInformation", "GetInventory"])
def test_what_is_refused_is_told_and_costs_nothing_else(operation, code, status):
    answers = Answers(
        always={
            "DescribeInstanceInformation": {"InstanceInformationList": [node("i-1")]},
            "GetInventory": {"Entities": [entity("i-1", "24.0.7")]},
        }
    )
    answers.give(operation, code, *[code] * (operation == "GetInventory"))
    batch = answers.read(SsmSource())
    call = {"GetInventory": "get-inventory"}.get(
        operation, "describe-instance-information"
    )
    assert coverage(batch)[call]["status"] == status
    assert len(batch.rows["hosts"]) == 1
    assert len(batch.rows["engines"]) == (operation != "GetInventory")
    assert CANARY not in repr(batch)


def test_an_account_without_managed_machines_is_empty():
    batch = Answers().read(SsmSource())
    assert {row["status"] for row in batch.coverage} == {"empty"}
    assert not any(batch.rows.values())


def test_a_probe_reads_one_page_of_each():
    answers = Answers()
    found = {"InstanceInformationList": [node("i-1")], "NextToken": "t"}
    answers.give("DescribeInstanceInformation", found)
    batch = answers.read(SsmSource(), is_probe=True)
    assert coverage(batch)["describe-instance-information"]["requests"] == 1
    assert "ratio" not in coverage(batch)["get-inventory"]
