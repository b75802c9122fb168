"""Konveyor's own figures by its published formula, and ours, on the same answers."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.config import data_path
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.readiness import score_readiness
from assess.score.readiness.konveyor import compare, confidence, risk
from assess.snapshot import load
from assess.sources.answers import AnswersSource
from assess.sources.deadline import Deadline
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parents[2] / "fixtures" / "answers"
POLICY = load_policy()


def counts(red=0, yellow=0, green=0, unknown=0):
    return {"red": red, "yellow": yellow, "green": green, "unknown": unknown}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (counts(), 0),
        (counts(green=7), 100),
        (counts(red=7), 0),  # 7 of 100 points each, halved seven times
        (counts(unknown=7), 70),  # who answers nothing is trusted to 70 %
        (counts(yellow=2), 74),  # .98^2 (80 .95 + 80) / 2 = 74.9, cut off
        # adjuster .5 * .98 = .49; .49 * .95 + 80 * .49 + 300 * .49 = 186.67 of 500
        (counts(red=1, yellow=1, green=3), 37),
        # the same with the red answer hidden: (80 + 300 + 70) * .98 = 441 of 500
        (counts(yellow=1, green=3, unknown=1), 88),
    ],
)
def test_confidence_by_hand(told, expected):
    assert confidence(told) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (counts(), "unknown"),
        (counts(red=1, green=19), "red"),  # 5 % are enough
        (counts(red=1, green=20), "green"),
        (counts(yellow=3, green=7), "yellow"),
        (counts(yellow=2, green=8), "green"),
        (counts(unknown=1, green=9), "unknown"),
        (counts(yellow=3, unknown=7), "yellow"),  # yellow is asked before unknown
    ],
)
def test_risk_by_hand(told, expected):
    assert risk(told) == expected


@given(st.integers(1, 12), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_to_hide_a_red_answer_raises_its_confidence(red, yellow, green, unknown):
    told = confidence(counts(red, yellow, green, unknown))
    assert confidence(counts(red - 1, yellow, green, unknown + 1)) >= told


def test_an_export_loads_and_is_compared_question_by_question():
    said = AnswersSource().collect(
        {"path": "konveyor", "format": "konveyor"}, FIXTURES, Deadline(10)
    )
    tables, _ = to_tables([("answers", said)], [])
    names = pd.DataFrame({"service_id": tables["answers"]["service_id"].unique()})
    inventory = from_frames(
        {"answers": tables["answers"], "services": names}, snapshot_at="2026-09-30"
    )
    atoms = score_readiness(inventory, POLICY).details["atoms"]
    found = compare(atoms[atoms["source"] == "answers"], POLICY["dimensions"])
    assert found.loc["invoicing", "risk"] == "red"
    assert (
        found.loc["invoicing", "confidence_hidden"] > found.loc["invoicing", "confidence"]
    )
    raw = json.loads((FIXTURES / "konveyor" / "assessments.json").read_text())
    first = [q for section in raw[0]["sections"] for q in section["questions"]]
    colours = Counter(
        next((a["risk"] for a in q["answers"] if a.get("selected")), "unknown")
        for q in first
    )
    assert colours == Counter(red=1, yellow=1, green=3)
    assert (risk(colours), confidence(colours)) == ("red", 37)


def test_on_the_sample_hiding_raises_its_figure_and_never_ours():
    atoms = score_readiness(load(data_path("sample/2026Q3")), POLICY).details["atoms"]
    found = compare(atoms, POLICY["dimensions"])
    failing = atoms.loc[atoms["state"].eq("fail"), "service_id"].unique()
    assert len(failing) > 20
    own = found.loc[failing]
    assert (own["confidence_hidden"] > own["confidence"]).all()
    assert (found["readiness_lo_hidden"] == found["readiness_lo"]).all()
    assert (own["coverage_hidden"] < own["coverage"]).all()


STATES = {"pass": 1, "fail": 0, "partial": 0.5, "unknown": None, "na": None}


@settings(max_examples=30)
@given(st.lists(st.sampled_from(list(STATES)), min_size=1, max_size=9))
def test_the_lower_end_of_readiness_is_the_same_whoever_hides(states):
    rows = [("s", f"a.{n}", "a", s, STATES[s], 1.0) for n, s in enumerate(states)]
    columns = ["service_id", "check", "dimension", "state", "value", "weight"]
    atoms = pd.DataFrame(rows, columns=columns).astype({"value": "Float64"})
    found = compare(atoms, {"a": 1.0})
    assert (found["readiness_lo_hidden"] <= found["readiness_lo"] + 1e-9).all()
    assert len(found) == (set(states) != {"na"})
