"""Data from outside: two tables are enough to judge predictions."""

from __future__ import annotations

import pandas as pd
import pytest
from failing_fleet import failing_fleet

from assess import judge_outside
from assess.policy import load_policy

POLICY = load_policy()
EDGES = pd.DataFrame({"src_id": ["b", "c"], "dst_id": ["a", "b"]})


def test_two_tables_are_enough():
    faults = pd.DataFrame({"element": ["a", "b"], "affected_services": ["a;b", "b"]})
    table = judge_outside(EDGES, faults, POLICY)["precision"].set_index("rule")
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
    tables = judge_outside(known["dependencies"], known["experiments"], POLICY)
    rules = set(tables["precision_curve"]["rule"])
    assert {"learned, event left out", "learned, element left out"} <= rules
    assert "20 failures" in tables["learned_judged"]["verdict"].iloc[0]
    used = tables["used"].set_index("table")
    assert used.loc["experiments"].tolist() == [20, 20]
    predicted = tables["predicted"]
    assert len(predicted) == 20 * 10
    assert predicted["learned, element left out"].between(0, 1).all()


def test_nobody_affected_is_an_answer_where_somebody_was_observed():
    faults = pd.DataFrame(
        {
            "element": ["a", "a", "b"],
            "affected_services": [None, "b", ""],
            "observed_services": ["a;b;c", "a;b;c", None],
        }
    )
    tables = judge_outside(EDGES, faults, POLICY)
    # of the third, nobody knows what happened
    assert tables["used"].set_index("table").loc["experiments"].tolist() == [3, 2]
    down = tables["predicted"].groupby("event_id")["down"].sum()
    assert down.to_dict() == {"x000000": 1, "x000001": 2}


def test_other_names_stand_for_their_service():
    faults = pd.DataFrame({"element": ["svc-a"], "affected_services": ["svc-a;b-v2"]})
    names = {"svc-a": "a", "b-v2": "b"}
    predicted = judge_outside(EDGES, faults, POLICY, aliases=names)["predicted"]
    assert set(predicted["service_id"]) == {"a", "b", "c"}
    assert predicted.set_index("service_id")["down"].to_dict() == {
        "a": True,
        "b": True,
        "c": False,
    }


@pytest.mark.parametrize("fault", ["delay", "CPU", "mem", "something else", None])
def test_faults_come_by_many_names(fault):
    faults = pd.DataFrame(
        {"element": ["a", "b"], "affected_services": ["a;b", "b"], "fault": fault}
    )
    assert len(judge_outside(EDGES, faults, POLICY)["skill"]) == 8


def test_a_table_may_say_the_same_edge_twice():
    faults = pd.DataFrame({"element": ["a"], "affected_services": ["a;b"]})
    twice = pd.concat([EDGES, EDGES])
    used = judge_outside(twice, faults, POLICY)["used"].set_index("table")
    assert used.loc["dependencies"].tolist() == [4, 2]
