"""`assess store`: nothing goes without being shown first."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from assess import store
from assess.inventory import from_frames

DAYS = [
    "2026-03-01",
    "2026-03-31",
    "2026-06-15",
    "2026-06-30",
    "2026-07-07",
    "2026-07-14",
]


@pytest.fixture
def weekly(tmp_path):
    for day in DAYS:
        services = pd.DataFrame({"service_id": ["a"]})
        inventory = from_frames({"services": services}, snapshot_at=day)
        store.write_snapshot(inventory, tmp_path / "s" / day)
    return tmp_path / "s"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_ls_shows_what_is_there_and_what_is_wrong(weekly, call):
    (weekly / "2026-06-15" / "services.parquet").write_bytes(b"no longer")
    (weekly / "notes").mkdir()
    rows = json.loads(call("store", "ls", str(weekly), "--json").stdout)["rows"]
    assert [row["snapshot"] for row in rows] == [*DAYS, "notes"]
    wrong = {row["snapshot"]: row["problem"] for row in rows if row["problem"]}
    assert "changed since it was written: services.parquet" in wrong["2026-06-15"]
    assert "holds no frames" in wrong["notes"]
    assert rows[0]["quarter"] == "2026Q1"
    assert rows[0]["bytes"] > 0


def test_ls_lists_a_directory_that_may_not_be_read(weekly, monkeypatch):
    (weekly / "locked").mkdir()
    look = Path.iterdir

    def refuse(path):  # root, who runs the tests in a container, may read anything
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    listed = store.listing(weekly).set_index("snapshot")
    assert "Permission denied" in listed.loc["locked", "problem"]
    assert listed.loc["locked", ["files", "bytes"]].isna().all()
    assert listed.loc[DAYS, "problem"].eq("").all()


def test_verify_exits_with_1_when_a_snapshot_was_changed(weekly, call):
    call("store", "verify", str(weekly))
    (weekly / "2026-06-15" / "services.parquet").unlink()
    done = call("store", "verify", str(weekly), code=1)
    assert "2026-06-15" in done.stdout


def test_verify_looks_into_a_single_snapshot(weekly, call):
    one = weekly / "2026-06-15"
    assert "as they were written: 1" in call("store", "verify", str(one)).stderr
    (one / "services.parquet").write_bytes(b"no longer")
    done = call("store", "verify", str(one), code=1)
    assert "changed since it was written" in done.stdout
    call("store", "prune", str(one), "--older-than", "0", "--yes")
    assert one.exists()  # the newest of its quarter


def test_an_export_beside_snapshots_is_no_snapshot(weekly, call):
    (weekly / "incidents.csv").write_text("id,service\n1,web\n", encoding="utf-8")
    assert call("store", "verify", str(weekly)).stderr.count("as they were written") == 1
    assert store.resolve(weekly).name == DAYS[-1]


def test_verify_passes_nothing_that_is_not_there(tmp_path, call):
    done = call("store", "verify", str(tmp_path), code=1)
    assert "holds no snapshot" in done.stderr
    (tmp_path / "notebooks").mkdir()
    done = call("store", "verify", str(tmp_path), code=1)
    assert "notebooks holds no frames" in done.stdout


def test_prune_shows_and_removes_only_when_told_to(weekly, call):
    shown = call("store", "prune", str(weekly), "--older-than", "10")
    assert "2026-03-01" in shown.stdout
    assert "nothing was removed" in shown.stderr
    assert names(weekly) == DAYS
    call("store", "prune", str(weekly), "--older-than", "10", "--yes")
    # the newest of each quarter stays, and so does what is young
    assert names(weekly) == ["2026-03-31", "2026-06-30", "2026-07-07", "2026-07-14"]
    assert "nothing to remove" in call("store", "prune", str(weekly), "--yes").stderr


def test_a_store_that_is_not_there(tmp_path, call):
    done = call("store", "ls", str(tmp_path / "none"), code=1)
    assert "there is no store" in done.stderr
