"""The frames of all snapshots of a store, added up."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assess import frames, history, store
from assess.errors import AssessError, DataError
from assess.inventory import from_frames
from assess.snapshot import BrokenSnapshotWarning


@pytest.fixture
def small():
    def make(snapshot_at="2026-09-30", **columns):
        services = pd.DataFrame({"service_id": ["a", "b"], **columns})
        return from_frames({"services": services}, snapshot_at=snapshot_at)

    return make


@pytest.fixture
def three(small, tmp_path):
    for quarter, when in [
        ("2026Q1", "2026-03-31"),
        ("2026Q2", "2026-06-30T18:00:00Z"),
        ("2026Q3", "2026-09-30"),
    ]:
        store.write_snapshot(small(when), tmp_path / quarter)
    return tmp_path


def test_a_frame_of_another_name_is_refused(three):
    with pytest.raises(AssessError, match="no frame"):
        history.roll_up(three, "nonsense", ["env"])


def test_unsound_frames_are_refused(three):
    (three / "2026Q2" / "services.parquet").unlink()
    (three / "2026Q2" / "snapshot.toml").write_text('snapshot_at = "2026-06-30"\n')
    (three / "2026Q2" / "services.csv").write_text("service_id,tier\na,9\n")
    with pytest.raises(DataError, match="tier"):
        history.roll_up(three, "services", ["env"])


def test_a_table_that_cannot_be_read_is_named_and_left_out(three):
    (three / "2026Q2" / "services.parquet").unlink()
    (three / "2026Q2" / "snapshot.toml").write_text('snapshot_at = "2026-06-30"\n')
    (three / "2026Q2" / "services.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.warns(BrokenSnapshotWarning, match="2026Q2.services.csv"):
        assert len(history.roll_up(three, "services", ["env"])) == 2


CELLS = {
    "az": st.sampled_from(["a", "b", "ä", "", None]),
    "arch": st.sampled_from(["amd64", "arm64", None]),
    "vcpus": st.none() | st.integers(0, 2**40),
    "memory_bytes": st.none() | st.integers(0, 2**40),
    "uptime_s": st.none() | st.integers(0, 2**30),
}


@st.composite
def hosts(draw):
    rows = draw(st.integers(0, 12))
    cells = {
        name: draw(st.lists(values, min_size=rows, max_size=rows))
        for name, values in CELLS.items()
        if name in frames.columns("hosts")
    }
    return pd.DataFrame(
        {"host_id": [f"h{n}" for n in range(rows)], **cells}, dtype=object
    )


def added_up(table, by, value):
    """Work it out row by row."""
    groups = {}
    for row in table[[*by, value]].astype(object).where(table.notna(), None).to_numpy():
        *key, number = row
        groups.setdefault(tuple(key), []).append(number)
    found = {}
    for key, numbers in groups.items():
        known = [number for number in numbers if number is not None]
        ends = (min(known), max(known)) if known else (None, None)
        total = sum(known) if known else None
        found[key] = (len(numbers), len(known), total, *ends)
    return found


@given(table=hosts(), batch=st.sampled_from([1, 3, 100]), is_sealed=st.booleans())
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_sums_are_those_of_the_rows(
    tmp_path_factory, monkeypatch, table, batch, is_sealed
):
    monkeypatch.setattr(history, "BATCH_ROWS", batch)
    inventory = from_frames({"hosts": table}, snapshot_at="2026-09-30")
    base = tmp_path_factory.mktemp("sums")
    path = store.write_snapshot(inventory, base / "2026Q3")
    if not is_sealed:  # made by hand: it is read and checked whole
        (path / "snapshot.toml").write_text('snapshot_at = "2026-09-30"\n')
    by = ["az", "arch"]
    rolled = history.roll_up(base, "hosts", by, values=["vcpus"])
    rows = rolled.astype(object).where(rolled.notna(), None).to_numpy()
    assert {(row[1], row[2]): tuple(row[3:]) for row in rows} == added_up(
        inventory["hosts"], by, "vcpus"
    )
    assert rolled["n"].sum() == len(table)


def test_only_the_asked_columns_of_a_file_are_read(three, monkeypatch):
    asked = []
    read = pq.ParquetFile.iter_batches

    def spy(self, size, columns):
        asked.append(columns)
        return read(self, size, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    rolled = history.roll_up(three, "services", ["env"])
    assert rolled["n"].tolist() == [2, 2, 2]
    assert asked == [["env"]] * 3


def test_a_file_that_was_changed_is_checked_whole_again(three):
    file = three / "2026Q2" / "services.parquet"
    table = pd.read_parquet(file)
    table["tier"] = 9
    table.to_parquet(file)
    with pytest.raises(DataError, match="tier"):
        history.roll_up(three, "services", ["env"])


def test_snapshots_outside_of_the_days_are_not_opened(three):
    for quarter in ("2026Q1", "2026Q3"):
        (three / quarter / "services.parquet").write_bytes(b"PAR1 no longer")
    days = ("2026-06-30", "2026-09-30")
    rolled = history.roll_up(three, "services", ["env"], between=days)
    assert rolled["snapshot_at"].dt.strftime("%m-%d").tolist() == ["06-30"]


def test_one_corrupt_file_among_good_ones_is_named_and_the_others_are_read(three):
    (three / "2026Q2" / "services.parquet").write_bytes(b"PAR1 no longer")
    with pytest.warns(BrokenSnapshotWarning, match="2026Q2.services.parquet"):
        rolled = history.roll_up(three, "services", ["env"])
    assert rolled["snapshot_at"].dt.strftime("%m-%d").tolist() == ["03-31", "09-30"]
