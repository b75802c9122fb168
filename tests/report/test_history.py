"""The page of all quarters."""

import json

import pandas as pd
import pytest
from fleets import HOSTILE, PLAIN, SCRIPT

from assess.report.changes import history, of_report, of_scores
from assess.report.model import Table


@pytest.fixture(scope="module")
def past(hostile):
    oldest = of_scores(hostile.scores.earlier).drop(index="gone")
    return {
        "2026Q1": oldest,
        "2026Q2": of_scores(hostile.scores.earlier),
        "2026Q3": of_scores(hostile.scores),
    }


def test_every_service_has_its_label_in_every_quarter_and_a_dash_where_it_was_not(
    past, hostile
):
    tables = {table.id: table for table in history(past).of(Table)}
    labels = tables["labels-by-quarter"].frame.set_index("service_id")
    assert set(labels.index) == {*HOSTILE, *PLAIN, "gone"}
    assert labels.index[-1] == "gone"
    assert (
        labels.loc["web", "2026Q3"] == hostile.scores.what_next.frame.loc["web", "label"]
    )
    rows = {
        cells[0].text: [c.text for c in cells[1:]]
        for cells in tables["labels-by-quarter"].rows()
    }
    assert rows["gone"] == ["–", labels.loc["gone", "2026Q2"], "–"]
    points = tables["readiness-by-quarter"].frame.set_index("service_id")
    assert (
        points.loc["web", "2026Q3_lo"]
        == hostile.scores.what_next.frame.loc["web", "readiness_lo"]
    )
    counts = tables["labels-counted"].frame.set_index("label")
    assert counts.sum().tolist() == [len(own) for own in past.values()]


def test_its_page_is_as_safe_as_the_report(past, hostile, tmp_path):
    hostile.save_history(tmp_path, past)
    told = (tmp_path / "history.html").read_text("utf-8")
    assert told.count("<script") == 1
    assert SCRIPT not in told
    for harmless in ("http-equiv", "http://www.w3.org/"):  # a drawing names its language
        told = told.replace(harmless, "")
    assert "http" not in told
    assert (tmp_path / "tables" / "labels-by-quarter.csv").is_file()


def test_a_report_counts_only_where_it_was_told_by_the_same_measures(plain):
    told = json.loads(json.dumps(plain.to_dict()))
    again = of_report(told, plain.scores)
    pd.testing.assert_frame_equal(again, of_scores(plain.scores), check_dtype=False)
    assert of_report({**told, "policy_hash": "another"}, plain.scores) is None
    assert of_report(None, plain.scores) is None
