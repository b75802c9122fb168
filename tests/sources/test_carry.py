"""What an earlier snapshot knew stays known, and is called stale."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from assess.config import Config, SourceConfig
from assess.inventory import from_frames
from assess.sources import collect, probe
from assess.sources.base import Batch, Name
from assess.sources.joining.carry import carry_forward

DUMPS = Path(__file__).parent.parent / "fixtures" / "docker"
DAY = datetime(2026, 9, 28, 12, tzinfo=UTC)


def config(directory, *paths):
    sources = tuple(SourceConfig("docker", {"path": path}) for path in paths)
    return Config(sources, {}, directory, "assess.toml")


@pytest.fixture
def dumps(tmp_path):
    for name in ("one", "two"):
        source = next(p for p in sorted(DUMPS.iterdir()) if (p / "info.json").exists())
        shutil.copytree(source, tmp_path / name)
        info = (tmp_path / name / "info.json").read_text()
        host = Path(tmp_path / name / "info.json")
        host.write_text(
            info.replace('"Name"', '"OldName"').replace("{", f'{{"Name": "{name}",', 1)
        )
    return tmp_path


def keys(inventory, frame, source_ref):
    table = inventory[frame]
    mine = table[table["source_ref"].eq(source_ref)]
    return set(mine.iloc[:, 0])


def test_a_lost_scope_is_carried_whole_and_grows_older(dumps):
    whole = collect(config(dumps, "one", "two"), now=DAY)
    assert keys(whole, "workloads", "two")
    shutil.rmtree(dumps / "two")
    later = config(dumps, "one", "two")
    second = collect(later, now=DAY + timedelta(days=1), previous=whole)
    for frame in ("hosts", "engines", "workloads", "images"):
        assert keys(second, frame, "two") == keys(whole, frame, "two"), frame
        assert keys(second, frame, "one") == keys(whole, frame, "one"), frame
    assert set(second["services"]["service_id"]) == set(whole["services"]["service_id"])
    third = collect(later, now=DAY + timedelta(days=3), previous=second)
    for inventory, hours in ((second, 24), (third, 72)):
        stale = inventory["coverage"].query("status == 'stale'")
        assert set(stale["scope"]) == {"two"}
        assert set(stale["age_hours"]) == {hours}
        assert "carried:workloads" in set(stale["call"])
    assert keys(third, "workloads", "two") == keys(whole, "workloads", "two")
    fresh = collect(later, now=DAY)
    assert not keys(fresh, "workloads", "two")


def test_a_carried_name_is_as_sure_as_it_was(dumps):
    told = ["service_id", "identity_rule", "identity_confidence"]
    whole = collect(config(dumps, "one", "two"), now=DAY)
    shutil.rmtree(dumps / "two")
    later = collect(config(dumps, "two"), now=DAY, previous=whole)
    before, after = (each["services"][told] for each in (whole, later))
    assert (before["identity_confidence"] < 1).any()
    pd.testing.assert_frame_equal(after, before)


def row(service, workload):
    return {
        "names": (Name(service, "label", 1.0),),
        "workload_id": workload,
        "source_ref": "a",
    }


def earlier():
    tables = {
        "services": [{"service_id": "web"}],
        "workloads": [
            {
                "workload_id": "w1",
                "service_id": "web",
                "source": "docker",
                "source_ref": "a",
            }
        ],
        "hosts": [{"host_id": "h1", "source": "docker", "source_ref": "a"}],
    }
    import pandas as pd

    return from_frames(
        {k: pd.DataFrame(v) for k, v in tables.items()}, snapshot_at="2026-09-28"
    )


def frames_carried(*statuses, rows=()):
    batch = Batch()
    for number, status in enumerate(statuses):
        batch.cover("a", f"call{number}", status)
    batch.add("workloads", *rows)
    if not rows:
        del batch.rows["workloads"]
    carried = carry_forward(earlier(), [("docker", batch)], DAY)
    return {frame for _, b in carried for frame, rows in b.rows.items() if rows}


def test_only_what_was_lost_is_carried():
    assert frames_carried("ok") == set()
    assert frames_carried("empty") == set()
    assert frames_carried("denied") == {"services", "workloads", "hosts"}
    # seen in part: what is given now is not doubled, the rest is carried
    assert frames_carried("ok", "timeout", rows=[row("web", "w2")]) == {"hosts"}
    # a call found nothing: what is gone must not come back
    assert frames_carried("empty", "denied") == set()


def test_a_source_of_which_nothing_answered_is_carried_whole():
    batch = Batch()
    batch.cover("another place", "read", "unreachable")
    (label, carried), *rest = carry_forward(earlier(), [("docker", batch)], DAY)
    assert (label, rest) == ("docker", [])
    assert set(carried.rows) == {"services", "workloads", "hosts"}


def carried_of(tables, label):
    """Rows that are carried where nothing of a source answered."""
    batch = Batch()
    batch.cover("here", "read", "unreachable")
    known = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    known = from_frames(known, snapshot_at="2026-09-28")
    batches = carry_forward(known, [(label, batch)], DAY)
    return [each.rows for _, each in batches]


def test_answers_are_carried_although_they_name_a_tool_or_a_person():
    answers = [
        {"service_id": "web", "question": "q", "source": source, "risk": "red"}
        for source in ("csv", "stated")
    ]
    (rows,) = carried_of({"answers": answers}, "answers")
    # what a measurement replaced is measured anew
    assert [row["source"] for row in rows["answers"]] == ["csv"]


def test_one_lost_file_of_several_is_carried(tmp_path):
    tables = {
        "incidents": "id,service,opened_at\n{0},{0},2026-09-01T00:00:00Z\n",
        "answers": "service,question,answer,risk\n{0},stateful?,no,red\n",
    }
    for name, text in tables.items():
        (tmp_path / name).mkdir()
        for part in ("one", "two"):
            (tmp_path / name / f"{part}.csv").write_text(text.format(part))
    sources = tuple(SourceConfig(name, {"path": name}) for name in tables)
    both = Config(sources, {}, tmp_path, "assess.toml")
    whole = collect(both, now=DAY)
    for name in tables:
        (tmp_path / name / "two.csv").write_bytes(b"\xff\xfe\x00")
    later = collect(both, now=DAY + timedelta(days=1), previous=whole)
    for name in tables:
        assert later[name]["service_id"].tolist() == ["one", "two"], name
    stale = later["coverage"].query("status == 'stale'")
    assert stale["scope"].tolist() == ["answers/two.csv", "incidents/two.csv"]


def test_what_only_a_lost_catalog_knew_of_a_service_is_carried():
    service = {"service_id": "web", "owner": "red", "platform": "host"}
    service["source"] = "compose;backstage"
    (rows,) = carried_of({"services": [service]}, "backstage")
    (web,) = rows["services"]
    assert web["owner"] == "red"
    assert "platform" not in web  # its workloads tell, of now or carried
    assert carried_of({"services": [service]}, "nomad") == []


def test_rows_that_name_no_source_are_carried_for_none():
    frames = {"hosts": pd.DataFrame([{"host_id": "h1"}])}
    batch = Batch()
    batch.cover("here", "read", "unreachable")
    unnamed = from_frames(frames, snapshot_at=DAY)
    assert carry_forward(unnamed, [("docker", batch)], DAY) == []


def test_probe_tells_what_is_there_and_collects_nothing(tmp_path):
    (tmp_path / "there.csv").write_text("id,opened_at\n1,2026-09-01T00:00:00Z\n")
    tables = ({"path": "there.csv"}, {"path": "gone.csv"})
    sources = tuple(SourceConfig("incidents", options) for options in tables)
    found = probe(Config(sources, {}, tmp_path, "assess.toml"))
    assert dict(zip(found["scope"], found["status"], strict=True)) == {
        "there.csv": "ok",
        "gone.csv": "unreachable",
    }
