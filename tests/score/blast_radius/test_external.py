"""Data from outside: two tables are enough to judge predictions."""

from __future__ import annotations

import pandas as pd
import pytest
from failing_fleet import failing_fleet

from assess.policy.policy import load_policy
from assess.score.blast_radius.blast_radius import judge_outside


def test_two_tables_are_enough():
    edges = pd.DataFrame({"src_id": ["b", "c"], "dst_id": ["a", "b"]})
    faults = pd.DataFrame({"element": ["a", "b"], "affected_services": ["a;b", "b"]})
    table = judge_outside(edges, faults, load_policy())["precision"].set_index("rule")
    closure = table.loc["all transitive callers"]
    assert closure[["precision", "recall"]].tolist() == pytest.approx([3 / 5, 1])
    assert table.loc["self", ["precision", "recall"]].tolist() == pytest.approx(
        [1, 2 / 3]
    )


def test_it_is_the_judgement_of_the_fleet():
    inventory, _ = failing_fleet(1, services=10, times=2)
    known = {
        name: inventory[name].dropna(axis=1, how="all")
        for name in ("dependencies", "experiments")
    }
    tables = judge_outside(known["dependencies"], known["experiments"], load_policy())
    assert "learned, left out" in set(tables["precision_curve"]["rule"])
    assert "20 failures" in tables["learned_judged"]["verdict"].iloc[0]
