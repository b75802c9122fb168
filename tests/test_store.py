"""Snapshots: whole or not at all, never over one another, and the same in CSV and Parquet."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assess
from assess import frames, store
from assess.config import data_path
from assess.errors import AssessError
from assess.inventory import UnknownColumnWarning, from_frames
from assess.sample import write_sample
from assess.snapshot import BrokenSnapshotWarning

SAMPLE = data_path("sample") / "2026Q3"


@pytest.fixture(scope="module")
def sample():
    return assess.load(SAMPLE)


@pytest.fixture
def small():
    def make(snapshot_at="2026-09-30", **columns):
        services = pd.DataFrame({"service_id": ["a", "b"], **columns})
        return from_frames({"services": services}, snapshot_at=snapshot_at)

    return make


def assert_same(left, right):
    assert left.present == right.present
    assert (left.snapshot_at, left.quarter) == (right.snapshot_at, right.quarter)
    for name in left:
        pd.testing.assert_frame_equal(left[name], right[name], check_exact=True)


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_the_sample_comes_back_as_it_was(sample, tmp_path, format):
    path = store.write_snapshot(sample, tmp_path / "s" / "2026Q3", format=format)
    assert_same(sample, assess.load(path))
    assert {f.suffix for f in path.iterdir()} == {f".{format}", ".toml"}
    assert [f.name for f in path.parent.iterdir()] == ["2026Q3"]
    assert store.verify(path) == []


def test_parquet_is_zstd_and_keeps_categories(sample, tmp_path):
    import pyarrow.parquet as pq

    path = store.write_snapshot(sample, tmp_path / "x")
    file = pq.ParquetFile(path / "incidents.parquet")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert str(file.schema_arrow.field("cause").type).startswith("dictionary")


def test_csv_follows_the_rules(small, tmp_path):
    inventory = small(
        public=[True, None],
        restore_tested_at=["2026-09-01T10:00:00.5Z", "2026-08-01T10:20:30+02:00"],
        criticality=[0.1, None],
        asg_min=[10, None],
        owner=["x, y", 'say "hi"\nthere'],
    )
    path = store.write_snapshot(inventory, tmp_path / "c", format="csv")
    assert (path / "services.csv").read_bytes() == (
        b"service_id,owner,criticality,asg_min,public,restore_tested_at\n"
        b'a,"x, y",0.1,10,true,2026-09-01T10:00:00.5Z\n'
        b'b,"say ""hi""\nthere",,,,2026-08-01T08:20:30Z\n'
    )


def test_only_what_is_present_is_written(small, tmp_path):
    path = store.write_snapshot(small(), tmp_path / "p")
    assert sorted(f.name for f in path.iterdir()) == ["services.parquet", "snapshot.toml"]
    assert assess.load(path).present == {"services"}


def test_a_frame_that_was_looked_at_and_is_empty_stays_present(tmp_path):
    inventory = from_frames({"waivers": pd.DataFrame()}, snapshot_at="2026-09-30")
    for format in ("csv", "parquet"):
        path = store.write_snapshot(inventory, tmp_path / format, format=format)
        assert assess.load(path).has("waivers")


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_columns_kept_aside_are_written_too(tmp_path, format):
    services = pd.DataFrame({"service_id": ["a", "b"], "colour": ["red", None]})
    with pytest.warns(UnknownColumnWarning, match="colour"):
        inventory = from_frames({"services": services}, snapshot_at="2026-09-30")
    path = store.write_snapshot(inventory, tmp_path / "e", format=format)
    with pytest.warns(UnknownColumnWarning, match="colour"):
        again = assess.load(path)
    assert again.extras["services"]["colour"].fillna("").tolist() == ["red", ""]


def test_same_inventory_gives_the_same_bytes(sample, tmp_path):
    one, two = (store.write_snapshot(sample, tmp_path / n) for n in ("1", "2"))
    assert {f.name: f.read_bytes() for f in one.iterdir()} == {
        f.name: f.read_bytes() for f in two.iterdir()
    }


def test_a_snapshot_is_never_written_over(small, tmp_path):
    path = store.write_snapshot(small(), tmp_path / "2026Q3")
    before = (path / "services.parquet").read_bytes()
    with pytest.raises(AssessError, match="never written over") as caught:
        store.write_snapshot(small(owner=["x", "y"]), path)
    assert caught.value.hint
    assert (path / "services.parquet").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["2026Q3"]


def test_an_empty_directory_may_be_filled_and_a_file_may_not(small, tmp_path):
    (tmp_path / "made").mkdir()
    assert assess.load(store.write_snapshot(small(), tmp_path / "made")).has("services")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AssessError):
        store.write_snapshot(small(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_write_leaves_nothing(small, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AssessError, match="No space left"):
        store.write_snapshot(small(), tmp_path / "s" / "x")
    assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_only_the_owner_may_read_a_snapshot(small, tmp_path, format, mask):
    before = os.umask(mask)
    try:
        path = store.write_snapshot(small(), tmp_path / "s", format=format)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}


def test_an_unknown_format_is_refused(small, tmp_path):
    with pytest.raises(AssessError, match="feather"):
        store.write_snapshot(small(), tmp_path / "x", format="feather")


WRITER = """
import sys
from pathlib import Path
import assess
from assess import store
inventory = assess.load(sys.argv[1])
print("ready", flush=True)
for k in range(1000):
    store.write_snapshot(inventory, Path(sys.argv[2]) / f"s{k:04}")
"""


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.11, 0.2])
def test_a_killed_writer_leaves_whole_snapshots_only(sample, tmp_path, delay):
    kept = store.write_snapshot(sample, tmp_path / "earlier")
    command = [sys.executable, "-c", WRITER, str(SAMPLE), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    listed = store.snapshots(tmp_path)
    assert kept in list(listed["path"])
    for path in listed["path"]:
        assert store.verify(path) == []
        assert_same(sample, assess.load(path))
    seen = {p.name for p in listed["path"]}
    rest = [p.name for p in tmp_path.iterdir() if p.name not in seen]
    assert all(name.startswith(".") and name.endswith(".partial") for name in rest)
    again = f"s{len(seen) - 1:04}"
    assert store.write_snapshot(sample, tmp_path / again).is_dir()


def test_snapshots_are_listed_oldest_first_and_broken_ones_reported(small, tmp_path):
    store.write_snapshot(small("2026-09-30"), tmp_path / "b")
    store.write_snapshot(small("2026-06-30"), tmp_path / "z")
    store.write_snapshot(small("2026-03-31"), tmp_path / "m")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README").write_text("mine")
    (tmp_path / "m" / "services.parquet").unlink()
    with pytest.warns(BrokenSnapshotWarning) as caught:
        listed = store.snapshots(tmp_path)
    assert [p.name for p in listed["path"]] == ["z", "b"]
    assert list(listed.columns) == ["path", "snapshot_at", "quarter"]
    assert listed["quarter"].tolist() == ["2026Q2", "2026Q3"]
    told = " ".join(str(w.message) for w in caught)
    assert "has lost services.parquet" in told
    assert "holds no frames" in told


@pytest.mark.parametrize("key", ["snapshotat", "snapshot_at_", "snapshot"])
def test_a_misspelt_key_of_a_manifest_is_an_error(small, tmp_path, key):
    store.write_snapshot(small("2026-06-30"), tmp_path / "a")
    file = tmp_path / "a" / "snapshot.toml"
    text = file.read_text()
    file.write_text(text.replace("snapshot_at", key).replace("quarter", "Quarter"))
    with pytest.raises(AssessError, match=f"unknown key '{key}'") as caught:
        assess.load(tmp_path / "a")
    assert "unknown key 'Quarter': did you mean 'quarter'?" in str(caught.value)


def test_a_manifest_may_hold_notes_of_people(small, tmp_path):
    store.write_snapshot(small("2026-06-30"), tmp_path / "a")
    file = tmp_path / "a" / "snapshot.toml"
    file.write_text('note = "before the freeze"\nsnapshot_id = 4\n' + file.read_text())
    assert assess.load(tmp_path / "a").quarter == "2026Q2"


def test_a_snapshot_made_by_hand_needs_no_manifest(small, tmp_path):
    store.write_snapshot(small("2026-06-30"), tmp_path / "a")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "incidents.csv").write_text(
        "incident_id,opened_at\ni1,2026-09-29T00:00:00Z\n"
    )
    assert store.snapshots(tmp_path)["quarter"].tolist() == ["2026Q2", "2026Q3"]


def test_no_store(tmp_path):
    for call in (store.snapshots, store.latest):
        with pytest.raises(AssessError, match="there is no store"):
            call(tmp_path / "none")
    assert store.snapshots(tmp_path).empty
    with pytest.raises(AssessError, match="holds no snapshot"):
        store.latest(tmp_path)


def test_verify_names_what_was_changed(small, tmp_path):
    path = store.write_snapshot(small(), tmp_path / "v", format="csv")
    (path / "services.csv").write_text("service_id\nother\n")
    assert store.verify(path) == ["services.csv"]
    (path / "services.csv").unlink()
    assert store.verify(path) == ["services.csv"]


@pytest.fixture
def three(small, tmp_path):
    for quarter, when in [
        ("2026Q1", "2026-03-31"),
        ("2026Q2", "2026-06-30T18:00:00Z"),
        ("2026Q3", "2026-09-30"),
    ]:
        store.write_snapshot(small(when), tmp_path / quarter)
    return tmp_path


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("@2026-09-30", "2026Q3"),
        ("@2026-09-29", "2026Q2"),
        ("@2026-06-30", "2026Q2"),
        ("@2026-06-30T17:59:59Z", "2026Q1"),
        ("@2026-06-30T18:00:00Z", "2026Q2"),
        ("@2026-06-30T20:00:00+02:00", "2026Q2"),
        ("@2030-01-01", "2026Q3"),
        ("@2026Q1", "2026Q1"),
        ("", "2026Q3"),
        ("/2026Q2", "2026Q2"),
    ],
)
def test_references(three, moment, found):
    assert store.resolve(f"{three}{moment}") == three / found


@pytest.mark.parametrize(
    "moment", ["@2026-03-30", "@2025Q4", "@yesterday-ish", "@", "/2027Q1"]
)
def test_references_that_lead_nowhere(three, moment):
    with pytest.raises(AssessError) as caught:
        store.resolve(f"{three}{moment}")
    assert caught.value.hint


def test_a_directory_with_an_at_in_its_name(small, tmp_path):
    path = store.write_snapshot(small(), tmp_path / "me@2026")
    assert store.resolve(str(path)) == path


def test_latest_and_previous(three, monkeypatch):
    assert store.latest(three) == three / "2026Q3"
    assert store.previous(three / "2026Q3") == three / "2026Q2"
    assert store.previous(three / "2026Q1") is None
    monkeypatch.chdir(three)
    assert store.previous("2026Q2") == Path("2026Q1")
    assert store.previous(SAMPLE).name == "2026Q2"


def test_earlier_lists_what_is_older_here_and_elsewhere(three, small, monkeypatch):
    (three / "notes").mkdir()
    (three / "notes" / "a.csv").write_text("a,b\n1,2\n")
    assert store.earlier(three / "2026Q3") == [three / "2026Q1", three / "2026Q2"]
    # as a notebook of one's own project asks
    assert store.earlier(three) == [three / "2026Q1", three / "2026Q2"]
    assert store.earlier(f"{three}@2026Q2") == [three / "2026Q1"]
    assert store.earlier(three / "2026Q1", three / "2026Q3") == []
    other = store.write_snapshot(small("2026-05-01"), three.parent / "other")
    assert store.earlier(three / "2026Q3", other) == [
        three / "2026Q1",
        other,
        three / "2026Q2",
    ]
    monkeypatch.chdir(three)
    assert store.earlier("2026Q2") == [Path("2026Q1")]


def test_only_the_frames_that_are_asked_for_are_read(sample, tmp_path):
    path = store.write_snapshot(sample, tmp_path / "whole")
    (path / "mounts.parquet").write_text("broken")
    part = assess.load(path, only=["services", "engines"])
    assert part.present == {"services", "engines"}
    pd.testing.assert_frame_equal(part["engines"], sample["engines"])
    assert part.snapshot_at == sample.snapshot_at


def test_the_quarter_before_is_not_the_day_before(tmp_path):
    days = ["2026-03-31", "2026-06-01", "2026-06-30", "2026-07-01", "2026-09-30"]
    for day in days:
        services = pd.DataFrame({"service_id": ["a"]})
        inventory = from_frames({"services": services}, snapshot_at=day)
        store.write_snapshot(inventory, tmp_path / day)
    assert store.previous(tmp_path / "2026-09-30").name == "2026-06-30"
    assert store.previous(tmp_path / "2026-06-30").name == "2026-03-31"
    shutil.rmtree(tmp_path / "2026-03-31")
    assert store.previous(tmp_path / "2026-06-30").name == "2026-06-01"


TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)
VALUES = {
    "str": TEXT,
    "bool": st.booleans(),
    "int": st.integers(0, 2**53),
    "float": st.floats(0, 1e12),
    "time": st.datetimes(pd.Timestamp("1970-01-01"), pd.Timestamp("2100-01-01")),
}


@st.composite
def services_frames(draw):
    rows = draw(st.integers(0, 6))
    table = {"service_id": [f"s{k}" for k in range(rows)]}
    for name, column in frames.columns("services").items():
        if column.is_key or draw(st.booleans()):
            continue
        values = VALUES.get(column.dtype, st.sampled_from(column.vocabulary or ["x"]))
        if column.bounds and column.bounds[1] < 1e12:
            low, high = column.bounds
            whole = column.dtype == "int"
            values = st.integers(int(low), int(high)) if whole else st.floats(low, high)
        table[name] = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
    return pd.DataFrame(table, dtype=object)


@given(services_frames())
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_csv_and_parquet_agree(tmp_path_factory, table):
    inventory = from_frames(
        {"services": table}, snapshot_at="2026-09-30T01:02:03.000004Z"
    )
    base = tmp_path_factory.mktemp("round")
    for format in ("csv", "parquet"):
        path = store.write_snapshot(inventory, base / format, format=format)
        assert_same(inventory, assess.load(path))


def test_a_large_sample_is_stored_and_read(tmp_path):
    path = write_sample(tmp_path, services=200, quarters=("2026Q3",))[0]
    large = assess.load(path)
    assert_same(large, assess.load(store.write_snapshot(large, tmp_path / "copy")))


def test_a_snapshot_is_replaced_only_when_asked_and_only_by_a_whole_one(
    small, tmp_path, monkeypatch
):
    place = tmp_path / "2026Q3"
    store.write_snapshot(small(), place)
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    with pytest.raises(AssessError, match="never written over"):
        store.write_snapshot(small(), place, format="csv")
    with monkeypatch.context() as patch:
        patch.setattr(
            store, "_fill", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(AssessError, match="full"):
            store.write_snapshot(small(), place, format="csv", is_replacing=True)
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
    store.write_snapshot(small(), place, format="csv", is_replacing=True)
    assert {file.suffix for file in place.iterdir()} == {".csv", ".toml"}
    assert [path.name for path in tmp_path.iterdir()] == ["2026Q3"]


def test_what_is_no_snapshot_is_never_replaced(small, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AssessError, match="never written over"):
        store.write_snapshot(small(), tmp_path, is_replacing=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
