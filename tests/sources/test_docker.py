"""The docker source on dumps recorded from real engines, and on engines that misbehave."""

import json
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from batches import coverage, table
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.docker.payload import Container
from assess.sources.docker.source import DockerSource
from assess.sources.dumps import decode_values

FIXTURES = Path(__file__).parents[1] / "fixtures/docker"
CANARY = "hunter2"
STATUSES = frames.columns("coverage")["status"].vocabulary


def collect(base: Path, **options) -> Batch:
    return DockerSource().collect(options, base, Deadline(20))


def container(listing: dict, inspected: dict | None = None) -> Container:
    return Container("c", listing, inspected or {}, {}, {})


@pytest.fixture
def dumps(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / "cli", tmp_path / "web-01"))


# -- dumps ---------------------------------------------------------------------------------------


def test_the_fixtures_hold_the_canary_and_no_frame_does():
    assert CANARY in (FIXTURES / "cli/inspect.json").read_text()
    assert CANARY in (FIXTURES / "cli/info.json").read_text()
    batch = collect(FIXTURES.parent, path="docker")
    assert CANARY not in repr(batch)
    assert coverage(batch)["inspect"]["redacted_n"] > 0


def test_dumps_of_the_command_line():
    batch = collect(FIXTURES, path="cli")
    (host,), (engine,) = batch.rows["hosts"], batch.rows["engines"]
    assert (host["host_id"], host["os_name"], host["os_version"]) == (
        "web-01",
        "debian",
        "12",
    )
    assert (engine["version"], engine["api_version"]) == ("26.1.5+dfsg1", "1.45")
    assert {
        call: row["status"] for call, row in coverage(batch).items()
    } == dict.fromkeys(
        ["version", "info", "containers", "inspect", "images", "volumes"], "ok"
    )
    assert all(row["scope"] == "cli" for row in batch.coverage)
    names = {row["name"]: row["names"][0].name for row in batch.rows["workloads"]}
    assert names == {
        "shop-web-1": "web",
        "shop-api-1": "api",
        "shop-postgres-1": "postgres",
        "shop-backup-1": "backup",
        "shop-migrate-1": "migrate",
        "edge-proxy-1": "proxy",
        "shipper": "shipper",
    }


def test_dumps_of_the_api_without_inspections():
    batch = collect(FIXTURES, path="api")
    workloads = table(batch, "workloads").set_index("name")
    assert coverage(batch)["inspect"]["status"] == "not_configured"
    assert workloads["inspect_status"].eq("list").all()
    assert workloads.loc["shop-postgres-1", "health"] == "healthy"
    assert workloads["restarts_n"].isna().all()
    services = {row["names"][0].name: row for row in batch.rows["services"]}
    assert services["postgres"]["stateful"] is True
    assert services["postgres"]["secrets_in_image"] is None


def test_one_directory_per_host_and_one_list_of_directories():
    for path in (".", ["cli", "api"]):
        batch = collect(FIXTURES, path=path)
        assert [row["host_id"] for row in batch.rows["hosts"]] == ["web-02", "web-01"][
            :: 1 if path == "." else -1
        ]
        assert len(batch.rows["engines"]) == 2


def test_inspections_alone_are_enough(dumps):
    for file in dumps.iterdir():
        if file.name != "inspect.json":
            file.unlink()
    batch = collect(dumps, path="inspect.json")
    assert len(batch.rows["workloads"]) == 7
    assert batch.rows["workloads"][0]["host_id"] == "web-01"
    assert table(batch, "engines")["version"].isna().all()


@pytest.mark.parametrize(
    ("content", "status", "kept"),
    [
        (lambda raw: raw[: len(raw) // 2], "parse_error", True),
        (lambda raw: b"<html><body>502 Bad Gateway</body></html>", "parse_error", False),
        (lambda raw: b"\0" * 100, "parse_error", False),
        (lambda raw: b"\xff\xff\xff", "parse_error", False),
        (lambda raw: b"", "parse_error", False),
        (lambda raw: b"json\njson\n", "parse_error", False),
        (lambda raw: b"[]", "partial", False),
        (lambda raw: raw.decode().encode("utf-16"), "ok", True),
        (lambda raw: b"\xef\xbb\xbf" + raw, "ok", True),
    ],
)
@pytest.mark.parametrize("name", ["ps", "inspect"])
def test_a_damaged_file_is_told_and_the_rest_kept(dumps, name, content, status, kept):
    file = dumps / f"{name}.json"
    file.write_bytes(content(file.read_bytes()))
    batch = collect(dumps.parent, path="web-01")
    row = coverage(batch)["containers" if name == "ps" else name]
    assert row["status"] == status
    assert bool(row.get("rows")) == kept
    assert (
        batch.rows["hosts"] and batch.rows["images"] and len(batch.rows["workloads"]) == 7
    )
    assert not set(table(batch, "workloads")["inspect_status"]) - {"ok", "list"}


def test_a_line_in_the_middle_that_is_cut_costs_only_itself():
    values, rest = decode_values('{"a": 1}\n{"b": \n{"c": 3}\n')
    assert values == [{"a": 1}, {"c": 3}] and rest
    assert decode_values('[{"a": 1}, {"b"')[0] == [{"a": 1}]
    assert decode_values('{"a": 1}\n{"b": 2}\n') == ([{"a": 1}, {"b": 2}], "")


def test_an_old_command_line_is_told():
    hint = coverage_of_text("json\n")["hint"]
    assert "older than 23.0" in hint


def coverage_of_text(text: str) -> dict:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ps.json").write_text(text)
        return coverage(collect(Path(directory), path="."))["containers"]


def test_a_client_that_reached_no_engine(dumps):
    (dumps / "version.json").write_text(
        '{"Client": {"Version": "28.2.2"}, "Server": null}'
    )
    (dumps / "info.json").write_text(
        '{"ServerErrors": ["cannot connect"], "ClientInfo": {}}'
    )
    rows = coverage(collect(dumps.parent, path="web-01"))
    assert rows["version"]["status"] == rows["info"]["status"] == "unreachable"


def test_nothing_there_is_a_coverage_row(tmp_path):
    batch = collect(tmp_path, path="absent")
    assert [row["status"] for row in batch.coverage] == ["unreachable"]
    assert not batch.rows


JUNK = [
    None,
    True,
    0,
    -1,
    1e300,
    "",
    "\0",
    [],
    {},
    [1],
    [[]],
    [None],
    {"a": 1},
    10**30,
    "a:b:c",
]


def spoil(value, chance: random.Random):
    if chance.random() < 0.03:
        return chance.choice(JUNK)
    if isinstance(value, dict):
        return {k: spoil(v, chance) for k, v in value.items()}
    return [spoil(v, chance) for v in value] if isinstance(value, list) else value


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_no_payload_stops_the_rest(tmp_path_factory, seed):
    chance, directory = random.Random(seed), tmp_path_factory.mktemp("host")
    for name in ("ps", "images", "volumes", "version", "info", "inspect"):
        file = FIXTURES / ("cli" if name == "inspect" else "api") / f"{name}.json"
        payload = json.loads(file.read_text())
        (directory / file.name).write_text(json.dumps(spoil(payload, chance)))
    batch = collect(directory, path=".")
    assert {row["status"] for row in batch.coverage} <= set(STATUSES)
    if batch.rows:
        frames.conform("workloads", pd.DataFrame(batch.rows["workloads"]))


def test_inspections_of_images_tell_their_architecture(dumps):
    def images(batch):
        keys = ("registry", "repository", "digest", "tags", "size_bytes")
        return [tuple(row.get(key) for key in keys) for row in batch.rows["images"]]

    before = collect(dumps, path=".")
    assert not any(row["arch"] for row in before.rows["images"])
    seen = before.rows["images"][0]["image_id"]
    found = [{"Id": seen, "Architecture": "arm64", "Config": {"Labels": {"a": "b"}}}]
    (dumps / "image-inspect.json").write_text(json.dumps(found))
    after = collect(dumps, path=".")
    assert images(after) == images(before)
    archs = {row["image_id"]: row["arch"] for row in after.rows["images"]}
    assert archs.pop(seen) == "arm64"
    assert set(archs.values()) == {None}
    assert coverage(after)["images"]["status"] == coverage(before)["images"]["status"]


def test_a_container_tells_the_architecture_of_its_image(dumps):
    file = dumps / "inspect.json"
    inspected = json.loads(file.read_text())
    platform = {"architecture": "arm64", "os": "linux"}
    inspected[0]["ImageManifestDescriptor"] = {"platform": platform}
    file.write_text(json.dumps(inspected))
    rows = collect(dumps, path=".").rows["images"]
    (told,) = {row["image_id"] for row in rows if row["arch"]}
    assert told == inspected[0]["Image"]


INSPECTED = {
    "Id": "7" * 64,
    "Name": "/till",
    "RestartCount": 0,
    "State": {"Status": "running"},
    "Config": {"Image": "registry.example.net/shop/till:3.1"},
    "HostConfig": {},
}


@pytest.mark.parametrize("cut", [(), ("RestartCount", "State")])
def test_the_content_of_a_dump_tells_what_no_name_tells(tmp_path, cut):
    inspected = {key: value for key, value in INSPECTED.items() if key not in cut}
    (tmp_path / "till-01.json").write_text(json.dumps([inspected]))
    (tmp_path / "engine.json").write_text('{"ServerVersion": "27.1.1", "Name": "s1"}')
    (tmp_path / "package.json").write_text('{"name": "till"}')
    for path in (".", "till-01.json"):
        batch = DockerSource().collect({"path": path}, tmp_path, Deadline(10))
        [row] = batch.rows["workloads"]
        assert row["image_ref"] == "registry.example.net/shop/till:3.1"
        statuses = {row["call"]: row["status"] for row in batch.coverage}
        assert statuses["inspect"] == "ok"


def test_inspections_of_two_hosts_are_not_taken_for_one(tmp_path):
    for host in ("till-01", "till-02"):
        (tmp_path / f"{host}.json").write_text(json.dumps([INSPECTED]))
    batch = DockerSource().collect({"path": "."}, tmp_path, Deadline(10))
    assert not any(batch.rows.values())
    assert coverage(batch)["files"]["status"] == "unreachable"


def test_a_file_that_is_no_dump_of_a_command_is_told(dumps):
    for name in ("notes.md", "dump.toml"):
        (dumps / name).write_text("")
    assert "other files" not in coverage(collect(dumps.parent, path="web-01"))
    (dumps / "more").mkdir()
    for name in ("scan.json", "more/processes.txt"):
        (dumps / name).write_text("{}")
    row = coverage(collect(dumps.parent, path="web-01"))["other files"]
    assert row["status"] == "not_configured"
    assert row["expected"] == 2
    assert "such as more/processes.txt" in row["hint"]


def test_a_link_is_not_read_to_see_what_it_is(tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps([INSPECTED]))
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "till.json").symlink_to(outside)
    batch = DockerSource().collect({"path": "dumps"}, tmp_path, Deadline(10))
    assert not any(batch.rows.values())
