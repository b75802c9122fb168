"""Labels: read off gates, the pessimistic chance and the lower end of readiness alone."""

from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assess.policy import load_policy
from assess.score.what_next.labels import LABELS, SEVERITY, labels, reason

SETTINGS = load_policy()["what_next"]  # move .7, pilot .3, ready 60, pilot 50
GATES = [None, "PREPARE", "HOLD", "NOT DECIDABLE", "NEVER"]


def label(gate=None, p_top=1.0, ready=100.0, inside=False):
    return labels([gate], [p_top], [ready], [inside], SETTINGS)[0]


@pytest.mark.parametrize(
    ("p_top", "ready", "expected"),
    [
        (0.7, 60, "MOVE NOW"),
        (0.69, 60, "PILOT"),
        (0.7, 59.9, "PILOT"),
        (0.3, 50, "PILOT"),
        (0.3, 49.9, "PREPARE"),
        (1.0, 0, "PREPARE"),
        (0.29, 100, "LATER"),
        (0.29, 60, "LATER"),
        (0.29, 59.9, "PREPARE"),
        (pd.NA, 100, "LATER"),
    ],
)
def test_a_candidate_with_clear_gates(p_top, ready, expected):
    assert label(None, p_top, ready) == expected
    assert label(pd.NA, p_top, ready) == expected


@pytest.mark.parametrize("gate", GATES[1:])
def test_a_gate_is_the_label_of_a_candidate(gate):
    assert label(gate) == gate


def test_what_runs_in_containers_is_kept_fixed_or_pulled_back():
    assert label(None, pd.NA, 60, True) == "KEEP"
    assert label(None, pd.NA, 59.9, True) == "FIX"
    found = [label(gate, pd.NA, 100, True) for gate in GATES[1:]]
    assert found == ["FIX", "FIX", "NOT DECIDABLE", "PULL BACK"]


def test_thresholds_of_zero_behave():
    open_ = {**SETTINGS, "move_p": 0, "pilot_p": 0, "ready_points": 0, "pilot_points": 0}
    assert labels([None, "HOLD"], [0, 0], [0, 0], [False] * 2, open_).tolist() == [
        "MOVE NOW",
        "HOLD",
    ]
    assert labels([], [], [], [], SETTINGS).shape == (0,)


shares, points = st.floats(0, 1), st.floats(0, 100)


@given(
    st.sampled_from(GATES),
    st.tuples(shares, shares),
    st.tuples(points, points),
    st.booleans(),
)
def test_less_is_never_better_and_a_closed_gate_never_moves(gate, p, ready, inside):
    now, worse = (label(gate, end(p), end(ready), inside) for end in (max, min))
    assert {now, worse} <= set(LABELS)
    assert SEVERITY[worse] >= SEVERITY[now]
    if gate:
        assert now not in ("MOVE NOW", "PILOT", "KEEP")


@pytest.mark.parametrize(
    ("told", "p_top", "lo", "hi", "words"),
    [
        ("KEEP", None, 80, 90, "ready even in the worst case"),
        ("FIX", None, 40, 90, "may be below 60"),
        ("MOVE NOW", 0.9, 80, 90, "in the top 5 in 90% of weightings"),
        (
            "PILOT",
            0.4,
            80,
            90,
            "in the top 5 in 40% of weightings, and MOVE NOW needs 70%",
        ),
        ("PILOT", 0.9, 55, 90, "readiness may be below 60"),
        ("PREPARE", 0.9, 30, 40, "readiness is below 50"),
        ("LATER", 0.1, 80, 90, "others come first: in the top 5 in 10%"),
        ("PREPARE", 0.1, 30, 40, "readiness is below 50"),
        ("PREPARE", 0.1, 55, 58, "readiness is below 60"),
    ],
)
def test_the_reason_of_a_label_names_what_decides(told, p_top, lo, hi, words):
    row = SimpleNamespace(label=told, p_top=p_top, readiness_lo=lo, readiness_hi=hi)
    assert words in reason(row, SETTINGS, 5, 9)
    if p_top:
        assert "room for every candidate" in reason(row, SETTINGS, 5, 4)


def the_reason(told, p_top, lo, hi, candidates_n=9):
    row = SimpleNamespace(label=told, p_top=p_top, readiness_lo=lo, readiness_hi=hi)
    return reason(row, SETTINGS, 5, candidates_n)


def test_the_reason_at_a_threshold_is_that_of_what_reaches_it():
    assert the_reason("PILOT", 0.69, 60, 90) == (
        "All gates clear; ready even in the worst case; in the top 5 in 69% of weightings, "
        "and MOVE NOW needs 70%."
    )
    assert the_reason("PILOT", 0.69, 59.9, 60) == (
        "All gates clear; in the top 5 in 69% of weightings, but readiness may be below 60."
    )
    assert "ready even" in the_reason("PILOT", 0.9, 60, 60)
    assert "readiness is below 60" in the_reason("FIX", None, 40, 59.9)
    assert "readiness may be below 60" in the_reason("FIX", None, 40, 60)
    assert "room for every candidate" in the_reason("MOVE NOW", 1.0, 60, 90, 5)
    assert "in the top 5 in 100%" in the_reason("MOVE NOW", 1.0, 60, 90, 6)


def test_severity_orders_what_a_flip_may_lead_to():
    assert sorted(LABELS, key=SEVERITY.get)[:2] == ["MOVE NOW", "KEEP"]
    rising = ("MOVE NOW", "PILOT", "LATER", "PREPARE", "HOLD", "NEVER")
    assert [SEVERITY[name] for name in rising] == [0, 1, 2, 3, 4, 5]
    assert SEVERITY["NOT DECIDABLE"] == SEVERITY["PULL BACK"] == SEVERITY["NEVER"]


def test_neither_never_nor_not_decidable_is_the_better_one():
    assert SEVERITY["NEVER"] == SEVERITY["NOT DECIDABLE"] == max(SEVERITY.values())
    order = ["MOVE NOW", "PILOT", "LATER", "PREPARE", "HOLD", "NEVER"]
    assert sorted(order, key=SEVERITY.get) == order
    assert sorted(["PULL BACK", "FIX", "KEEP"], key=SEVERITY.get) == [
        "KEEP",
        "FIX",
        "PULL BACK",
    ]
