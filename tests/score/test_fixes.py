"""The smallest sets of fixes."""

import pandas as pd

from assess.score.fixes import smallest_fixes

WEIGHTS = {"state": 0.5, "team": 0.5}


def atoms(*rows):
    return pd.DataFrame(rows, columns=["check", "dimension", "state", "value", "weight"])


def test_one_fix_is_enough():
    own = atoms(
        ("state.a", "state", "fail", 0.0, 1.0),
        ("state.b", "state", "pass", 1.0, 1.0),
        ("team.a", "team", "unknown", None, 1.0),
        ("team.b", "team", "pass", 1.0, 3.0),
    )
    # sqrt(50 * 75) = 61.2; fixing state.a gives sqrt(100 * 75) = 86.6
    assert smallest_fixes(own, WEIGHTS, 80) == [("state.a",)]
    # fixing team.a alone gives sqrt(50 * 100) = 70.7: both work for a bar of 70
    assert smallest_fixes(own, WEIGHTS, 70) == [("state.a",), ("team.a",)]


def test_a_pair_where_no_single_fix_suffices():
    own = atoms(("state.a", "state", "fail", 0.0, 1.0), ("team.a", "team", "unknown", None, 1.0))
    assert smallest_fixes(own, WEIGHTS, 60) == [("state.a", "team.a")]


def test_nothing_within_three_fixes():
    own = atoms(*[(f"state.{i}", "state", "fail", 0.0, 1.0) for i in range(8)])
    assert smallest_fixes(own, WEIGHTS, 90) == []


def test_a_partial_value_counts_for_its_share():
    own = atoms(("state.a", "state", "partial", 0.9, 1.0), ("state.b", "state", "fail", 0.0, 1.0))
    assert smallest_fixes(own, {"state": 1.0}, 90) == [("state.b",)]
