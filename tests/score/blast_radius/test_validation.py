"""Predictions held to failures that they have not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from failing_fleet import failing_fleet

from assess.policy.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.learning import observed_failures
from assess.score.blast_radius.topology import build_topology
from assess.score.blast_radius.uncertain import Sampling
from assess.score.blast_radius.validation import (
    chances,
    compare,
    leave_one_out,
)

POLICY = load_policy()
SAMPLING = Sampling.of(POLICY)


@pytest.fixture(scope="module")
def fleet_and_failures():
    inventory, _ = failing_fleet(3, services=12, times=2)
    fleet = build_topology(inventory, POLICY)
    return fleet, observed_failures(inventory, fleet)


def test_what_is_left_out_does_not_teach(fleet_and_failures):
    fleet, failures = fleet_and_failures
    which = max(range(len(failures)), key=lambda i: failures[i].down.sum())
    other = replace(
        failures[which], down=fleet.services.isin([failures[which].element[1]])
    )
    _, before = leave_one_out(fleet, failures, SAMPLING)
    _, after = leave_one_out(
        fleet, [*failures[:which], other, *failures[which + 1 :]], SAMPLING
    )
    changed = [
        bool(np.abs(a - b).max() > 1e-6) for a, b in zip(before, after, strict=True)
    ]
    assert not changed[which]  # its own outcome has no say in its prediction
    assert any(changed)  # in others it has


def test_one_failure_teaches_nothing_about_itself(fleet_and_failures):
    fleet, failures = fleet_and_failures
    base, learned = leave_one_out(fleet, failures[:1], SAMPLING)
    assert learned[0].tolist() == base[0].tolist()


def test_chances_are_those_of_the_element(fleet_and_failures):
    fleet, _ = fleet_and_failures
    initial = fleet.initially_down([("service", "s00"), ("service", "s11")], "point")
    found = chances(fleet.graph("point"), initial, SAMPLING)
    assert [p[0] for p in found] == [1, 0]
    assert found[1][-1] == 1


def test_squared_errors_by_hand(fleet_and_failures):
    _, failures = fleet_and_failures
    right = [t.down.astype(float) for t in failures]
    half = [np.full(len(t.down), 0.5) for t in failures]
    table = compare(failures, half, right, seed=1, level=0.9).set_index("rule")
    assert table["brier"].to_dict() == {"policy": 0.25, "learned": 0.0}
    assert table.loc["learned", ["gain_lo", "gain", "gain_hi"]].tolist() == [0.25] * 3


def test_learning_beats_all_transitive_callers_at_the_same_recall():
    means = {"call": 0.9, "cache": 0.05}
    inventory, _ = failing_fleet(1, services=30, times=4, means=means)
    result = score_blast_radius(inventory, POLICY, detail=False)
    table = result.details["precision"].set_index("rule")
    closure = table.loc["all transitive callers"]
    same = table.loc["learned, left out, at the recall of all transitive callers"]
    assert same["recall"] >= closure["recall"]
    assert same["precision"] > closure["precision"] + 0.02
    assert table.loc["learned, left out", "precision"] > closure["precision_hi"]
    assert "predicted better" in result.details["learned_judged"]["verdict"].iloc[0]


def test_where_the_policy_is_right_learning_does_not_help():
    inventory, _ = failing_fleet(1, services=10, times=1, means={"call": 1 - 1e-9})
    result = score_blast_radius(inventory, POLICY, detail=False)
    assert "do not help" in result.details["learned_judged"]["verdict"].iloc[0]
