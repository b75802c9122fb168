"""Who goes down whatever fails: the regression, and what it adds for elements that never failed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from failing_fleet import failing_fleet
from scipy.optimize import minimize
from simulated_world import average_precisions

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.learning import Failures, expit, logit
from assess.score.blast_radius.topology import build_topology
from assess.score.validation import callers
from assess.score.validation.callers import (
    Opinion,
    Reach,
    learn,
    pair_strength,
    together,
    trust,
)

POLICY = load_policy()


@pytest.fixture(scope="module")
def evidence():
    inventory, _ = failing_fleet(3, services=12, times=2)
    fleet = build_topology(inventory, POLICY)
    return Failures.of(fleet, observed_failures(inventory, fleet, POLICY)[0])


def test_it_is_the_likeliest_answer(evidence, monkeypatch):
    monkeypatch.setattr(callers, "SPREADS", (1.2,))
    monkeypatch.setattr(callers, "ROUNDS", 30)
    reach = Reach.of(evidence, 1)
    found = learn(reach, np.ones(len(evidence.failures), bool))
    terms = reach.terms(reach.failure, reach.service, reach.log_odds)
    down = np.array([f.down for f in evidence.failures])[reach.failure, reach.service]
    k = terms.shape[1]
    mean = np.append([0.0, 1.0, 0.0], np.zeros(k - 3))
    sd = np.append(callers.SDS, np.full(k - 3, callers.FAULT_SD))

    def surprise(x):
        odds = terms @ x[:k] + x[k:][reach.service]
        prior = (((x[:k] - mean) / sd) ** 2).sum() + (x[k:] ** 2).sum() / 1.2**2
        return (np.logaddexp(0, odds) - down * odds).sum() + prior / 2

    start = np.append(mean, np.zeros(12))
    want = minimize(surprise, start, tol=1e-9).x
    assert found.terms == pytest.approx(want[:k], abs=1e-3)
    assert found.service == pytest.approx(want[k:], abs=1e-3)


def test_without_a_lesson_it_is_what_the_policy_says(evidence):
    reach = Reach.of(evidence, 1)
    n = len(evidence.failures)
    nothing = learn(reach, np.zeros(n, bool))
    p = np.linspace(0.1, 0.9, 12)
    trusted = trust(evidence, np.zeros(len(evidence.topology.edges)))
    assert together(reach, nothing, 0, (p, p), trusted) == pytest.approx(p)


def test_edges_count_more_the_more_often_they_were_tried(evidence):
    edges = evidence.topology.edges
    tries = np.full(len(edges), 10.0)
    trusted = trust(evidence, tries)
    calls = np.bincount(evidence.topology.caller, minlength=12) > 0
    assert trusted[calls] == pytest.approx(1 + 10 / 5)
    reach = Reach.of(evidence, 1)
    nothing = learn(reach, np.zeros(len(evidence.failures), bool))
    policy = np.full(12, 0.5)
    edge = np.full(12, 0.9)
    can = reach.can[0] & calls
    found = together(reach, nothing, 0, (policy, edge), trusted)[can]
    assert found == pytest.approx(expit(np.array([3 * logit(edge)[0] / 6]))[0])


def test_a_sample_of_many_pairs_follows_the_seed(evidence, monkeypatch):
    monkeypatch.setattr(callers, "PAIRS_MOST", 20)
    first, again, other = (Reach.of(evidence, seed).service for seed in (1, 1, 2))
    assert len(first) == 20
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_who_shows_everything_is_known_for_elements_that_never_failed():
    found = [
        average_precisions(seed, "shown", services=n) for seed, n in ((1, 14), (2, 30))
    ]
    for left_out in ("event left out", "element left out"):
        learned, flat, reach = (
            np.mean([each[name] for each in found])
            for name in (
                f"learned, {left_out}",
                f"flat p, {left_out}",
                "all transitive callers",
            )
        )
        assert learned > flat + 0.05
        assert learned > reach + 0.05


def again(seed, *, same):
    """Return the opinion's reach of systems whose failures repeat, or do not."""
    rng = np.random.default_rng(seed)
    names = [f"s{i:02}" for i in range(20)]
    edges = pd.DataFrame({"src_id": names[1:], "dst_id": names[0], "kind": "call"})
    taste = rng.random(19) < 0.5
    rows = []
    for number in range(8):
        down = taste if same else rng.random(19) < 0.5
        rows.append(
            {
                "experiment_id": f"x{number}",
                "element_kind": "service",
                "element": names[0],
                "started_at": "2026-09-01",
                "affected_services": ";".join(np.array(names[1:])[down]),
                "observed_services": ";".join(names),
            }
        )
    frames = {
        "services": pd.DataFrame({"service_id": names}),
        "dependencies": edges.assign(evidence="e"),
        "experiments": pd.DataFrame(rows),
    }
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    fleet = build_topology(inventory, POLICY)
    return Reach.of(Failures.of(fleet, observed_failures(inventory, fleet, POLICY)[0]), 1)


def test_history_counts_as_much_as_failures_of_one_element_repeat():
    every = np.ones(8, bool)
    found = []
    for same in (True, False):
        reach = again(1, same=same)
        flat = Opinion(np.array([0.0, 0, 0, 0]), np.zeros(20))
        found.append(pair_strength(reach, flat, every, 2.0))
    assert found[0] == 2.0  # the policy's is the least
    assert found[1] == callers.STRENGTHS[-1]  # of those nearly as likely, the greatest
    reach = again(1, same=False)
    once = np.arange(8) < 1
    assert pair_strength(reach, flat, once, 2.0) == 2.0  # nothing failed again
