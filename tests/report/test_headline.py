"""The headline: why nothing moves, when nothing moves."""

import base64
import json
import re
import zlib

import numpy as np
import pandas as pd
import pytest
from fleets import fleet

import assess
from assess.report.sections import nothing_moves


@pytest.mark.parametrize(
    ("outside", "inside", "words"),
    [
        ([], [], "Nothing is left to move"),
        ([], ["KEEP", "FIX", "NOT DECIDABLE"], "Nothing is left to move: every service"),
        (
            [],
            ["KEEP", "PULL BACK"],
            "Nothing is left to move: every service runs in containers; pull back s1.",
        ),
        ([], ["NOT DECIDABLE"] * 2, "in containers; find out about 2 services."),
        ([], ["NOT DECIDABLE", "PULL BACK"], "pull back s1; find out about 1 service."),
        (["NEVER", "NEVER"], ["KEEP"], "No candidates: none of the 2 services"),
        (["NOT DECIDABLE", "NEVER"], ["KEEP"], "too little is known"),
        (["HOLD", "NOT DECIDABLE"], [], "block every candidate"),
        (["PREPARE", "NEVER"], ["NOT DECIDABLE"], "block every candidate"),
    ],
)
def test_it_tells_apart_why_nothing_moves(outside, inside, words):
    chances = [0.0] * len(outside) + [pd.NA] * len(inside)
    frame = pd.DataFrame(
        {
            "label": pd.Series([*outside, *inside], dtype="str"),
            "p_top": pd.array(chances, "Float64"),
        }
    )
    assert words in nothing_moves(frame.set_index("s" + frame.index.astype("str")))


def test_a_host_that_nobody_looked_into_may_hold_what_could_move(policy, tmp_path):
    inside = fleet(["web", "api"])
    services = inside["services"].assign(platform="docker")
    machines = pd.DataFrame({"host_id": ["vm-1", "vm-2"]})
    hosts = pd.concat([inside["hosts"], machines])
    tables = {"services": services, "hosts": hosts, "workloads": inside["workloads"]}
    report = assess.build_report(
        assess.from_frames(tables, snapshot_at="2026-09-30"), policy
    )
    assert report.headline.startswith("Nothing is left to move: every known service")
    text = report.to_markdown()
    assert "No source says what runs on 2 hosts: vm-1 and vm-2." in text
    assert "No source says what runs on 2 hosts, nor what goes down there." in text
    sections = report.to_dict()["sections"]
    blast = next(section for section in sections if section["id"] == "blast-radius")
    tables = {table["id"]: table["rows"] for table in blast["tables"]}
    for column in ("impact", "next_lo", "next_hi", "services_down_n"):
        unknown = {row["label"] for row in tables["elements"] if row[column] is None}
        assert unknown == {"host vm-1", "host vm-2"}
    report.save_csv(tmp_path)
    table = pd.read_csv(tmp_path / "score-blast-radius.csv", index_col="element")
    assert set(table.index[table["impact"].isna()]) == {"vm-1", "vm-2"}
    (figure,) = (one for one in report.pictures() if one.id == "blast-elements")
    assert figure.drawn.svg.count("unknown") >= 2
    # nobody saw a failure: what a prior says was not observed
    assert tables["predictions-held"] == []
    packed = re.search(r'data-packed="([^"]+)"', report.to_html())[1]
    data = json.loads(zlib.decompress(base64.b64decode(packed)))
    drawn = data["blast"]
    names = [data["texts"][at] for at in drawn["elements"]]
    impacts = np.reshape(drawn["impact"], (-1, 3))
    unknown = {name for name, ends in zip(names, impacts, strict=True) if None in ends}
    assert unknown == {"vm-1", "vm-2"}


def test_a_table_of_hosts_without_rows_is_no_fleet_without_hosts(policy):
    tables = {**fleet(["web"]).tables, "hosts": pd.DataFrame({"host_id": []})}
    tables = {name: table for name, table in tables.items() if name != "coverage"}
    tables["workloads"] = tables["workloads"].drop(columns="host_id")
    report = assess.build_report(
        assess.from_frames(tables, snapshot_at="2026-09-30"), policy
    )
    assert "host" not in report.fleet


def test_what_is_empty_says_why_and_explains_nothing_that_is_not_there(policy):
    inside = fleet(["web", "api"])
    services = inside["services"].assign(platform="docker")
    tables = {"services": services, "workloads": inside["workloads"]}
    report = assess.build_report(
        assess.from_frames(tables, snapshot_at="2026-09-30"), policy
    )
    text = report.to_markdown()
    page = report.to_html()
    for reason in (
        "No candidate is ready or can be prepared",
        "No service competes: none is outside of containers.",
        "No failure was observed yet: nothing shows how well they hold.",
        "Nothing whose version is known has an announced date",
    ):
        assert reason in text
        assert reason in page
    for note in (
        "In the top 5”",
        "Hollow: neutral case",
        "These calls were",
        "![How often",
    ):
        assert note not in text
        assert note not in page


def test_the_largest_failure_is_the_largest_of_all_that_can_fail(policy):
    inventory = fleet(["web", "api"])
    tables = {name: inventory[name] for name in ("services", "dependencies")}
    report = assess.build_report(
        assess.from_frames(tables, snapshot_at="2026-09-30"), policy
    )
    assert "The largest single failure is service api: " in report.to_markdown()


def test_a_call_with_gaps_in_its_answer_was_not_answered_in_full(policy):
    tables = dict(fleet(["web"]).tables)
    call = {"run_id": "r", "source": "ecs", "scope": "a", "call": "references"}
    tables["coverage"] = pd.DataFrame([{**call, "status": "partial", "ratio": 1.0}])
    report = assess.build_report(
        assess.from_frames(tables, snapshot_at="2026-09-30"), policy
    )
    gaps = next(table for table in report.tables() if table.id == "gaps")
    (cells,) = gaps.rows()
    texts = [cell.text for cell in cells]
    assert texts == ["ecs", "a", "references", "partial", "unknown", "–"]


def test_a_ratio_of_events_on_one_side_only_shows_its_lower_end(policy):
    tables = fleet([f"s{n}" for n in range(8)])
    platform = ["docker"] * 4 + ["host"] * 4
    services = tables["services"].assign(platform=platform)
    opened = pd.date_range("2026-07-01", "2026-09-20", 8, tz="UTC")
    incidents = pd.DataFrame(
        {"incident_id": map(str, range(8)), "opened_at": opened, "service_id": "s0"}
    )
    known = {"services": services, "workloads": tables["workloads"]}
    inventory = assess.from_frames(
        {**known, "incidents": incidents}, snapshot_at="2026-09-30"
    )
    report = assess.build_report(inventory, policy)
    claims = next(table for table in report.tables() if table.id == "claims-table")
    measured = {row[0].text: row[3].text for row in claims.rows()}
    assert re.match(r"unknown \([.\d]+ to no upper end\) times", measured["C14"]), (
        measured
    )
    assert measured["C7"] == "unknown"


def test_tables_of_services_say_that_there_are_none(policy):
    none = assess.from_frames({}, snapshot_at="2026-09-30")
    text = assess.build_report(none, policy).to_markdown()
    for title in ("All services, best first", "Services, worst first", "Every target"):
        told = text.split(f"**{title}**\n\n")[1]
        assert told.startswith("The snapshot has no services.")
