"""The short twins: a summary for chat, and a CSV of every table."""

import csv
import re

import pandas as pd
import pytest
from fleets import HOSTILE, PLAIN, SCRIPT, fleet

import assess
from assess.report.model import Column, Section, Table
from assess.untrusted import markdown_text


@pytest.fixture(scope="module")
def tables(hostile, tmp_path_factory):
    place = tmp_path_factory.mktemp("csv")
    hostile.save_csv(place)
    return place


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_table_of_the_page_and_every_score_has_a_file(hostile, tables):
    names = {file.stem for file in tables.iterdir()}
    assert {table.id for table in hostile.tables()} <= names
    assert {"score-readiness", "score-claims", "service-gates", "service-checks"} <= names


def test_a_file_holds_every_row_unrounded_and_the_unknown_as_nothing(hostile, tables):
    frame = hostile.scores.what_next.frame
    rows = {row["service_id"]: row for row in rows_of(tables / "ranking-table.csv")}
    assert {name.removeprefix("'") for name in rows} == {*HOSTILE, *PLAIN}
    assert float(rows["web"]["readiness_lo"]) == frame.loc["web", "readiness_lo"]
    costs = {row["service_id"]: row for row in rows_of(tables / "service-blast.csv")}
    unknown = hostile.scores.blast_radius.services["delta"].isna()
    assert sum(not row["delta"] for row in costs.values()) == unknown.sum()


def test_a_table_that_is_cut_on_the_page_is_whole_in_its_file(hostile, tmp_path):
    frame = pd.DataFrame({"service_id": [f"s{n}" for n in range(500)]})
    table = Table(
        "long", "Long", [Column("service_id", "Service", "name")], frame, limit=3
    )
    assert table.notes == ["All 500 rows are in tables/long.csv."]
    told = assess.Report(
        hostile.scores,
        hostile.claims,
        hostile.backtest,
        "h",
        (Section("s", "S", parts=[table]),),
    )
    told.save_csv(tmp_path)
    assert len(rows_of(tmp_path / "long.csv")) == 500


def test_no_cell_is_a_formula_to_a_spreadsheet(policy, tmp_path):
    names = ["=1+1", "@SUM(A1)", "+1", "-1", "plain"]
    assess.build_report(fleet(names), policy).save_csv(tmp_path)
    told = [row["service_id"] for row in rows_of(tmp_path / "ranking-table.csv")]
    assert set(told) == {"'=1+1", "'@SUM(A1)", "'+1", "'-1", "plain"}


def test_the_summary_fits_into_a_comment_and_says_the_decision_first(hostile):
    told = hostile.to_summary()
    assert told.startswith("## ")
    assert len(told.splitlines()) < 80
    assert len(told) < 20_000
    assert "**The short list, best first**" in told or "**Facts to find out**" in told
    assert "There is no back-test" in told
    assert SCRIPT not in told
    assert not re.search(r"\bnan\b|<NA>", told)


def test_the_card_of_a_service_behind_a_gate_has_its_reason(hostile):
    reasons = hostile.scores.what_next.frame["why"]
    cards = [line for line in hostile.to_markdown().splitlines() if line[:2] == "- "]
    gated = reasons[reasons.str.startswith("G")]
    assert len(gated)
    for why in gated:
        assert any(markdown_text(why) in card for card in cards)
