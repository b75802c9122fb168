"""Probabilities of edges learned from failures: who was tried, and whether intervals cover."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from failing_fleet import AT, failing_fleet

from assess.inventory import from_frames
from assess.policy.policy import load_policy
from assess.score.blast_radius.learning import (
    edge_trials,
    estimate,
    learn,
    observed_failures,
    with_learned,
)
from assess.score.blast_radius.topology import build_topology
from assess.score.blast_radius.validation import verdict

POLICY = load_policy()


def told(ids, pairs, *experiments, **tables):
    """A fleet by its edges, and the experiments (element, who fell, who had data)."""
    edges = [{"src_id": s, "dst_id": d, "kind": k, "evidence": "e"} for s, d, k in pairs]
    rows = [
        {
            "experiment_id": f"e{i}",
            "element_kind": element[0],
            "element": element[1],
            "started_at": AT,
            "affected_services": ";".join(fell),
            "observed_services": ";".join(seen) if seen else None,
        }
        for i, (element, fell, seen) in enumerate(experiments)
    ]
    frames = {
        "services": [{"service_id": s, "criticality": 1.0} for s in ids],
        "dependencies": edges,
        "experiments": rows,
        **tables,
    }
    inventory = from_frames(
        {k: pd.DataFrame(v) for k, v in frames.items()}, snapshot_at=AT
    )
    fleet = build_topology(inventory, POLICY)
    return fleet, observed_failures(inventory, fleet)


def tried(fleet, failures):
    """By trial, which edges were tried and whether the caller fell."""
    table, edges = edge_trials(fleet, failures), fleet.edges
    return {
        (int(r.failure), edges["src"][r.edge] + edges["dst"][r.edge]): bool(r.failed)
        for r in table.itertuples()
    }


CHAIN = [("b", "a", "call"), ("c", "b", "call")]


def test_an_edge_is_tried_when_what_is_needed_was_down():
    fleet, failures = told(
        "abc", CHAIN, (("service", "a"), "ab", None), (("service", "b"), "b", "")
    )
    assert tried(fleet, failures) == {(0, "ba"): True, (0, "cb"): False, (1, "cb"): False}


def test_a_caller_without_data_says_nothing():
    fleet, failures = told("abc", CHAIN, (("service", "a"), "a", "ac"))
    assert tried(fleet, failures) == {}


def test_a_caller_that_the_failure_itself_took_down_says_nothing():
    replicas = [
        {"workload_id": s, "service_id": s, "host_id": "h", "state": "running"}
        for s in "ab"
    ]
    fleet, failures = told(
        "abc",
        CHAIN,
        (("host", "h"), "abc", None),
        hosts=[{"host_id": "h"}],
        workloads=replicas,
    )
    assert tried(fleet, failures) == {}  # c has no known place: the host may be its own


def test_what_lies_outside_can_fail_too():
    fleet, failures = told(
        "ab",
        [("a", "ext:x", "call"), ("b", "ext:y", "call")],
        (("ext", "ext:x"), "a", None),
    )
    assert tried(fleet, failures) == {(0, "aext:x"): True}


def test_on_a_cycle_nobody_falls_because_of_whom_it_felled():
    pairs = [("b", "a", "call"), ("c", "b", "call"), ("b", "c", "call")]
    fleet, failures = told("abc", pairs, (("service", "a"), "abc", None))
    assert tried(fleet, failures) == {(0, "ba"): True, (0, "cb"): True}
    both = [*pairs, ("c", "a", "call")]
    fleet, failures = told("abc", both, (("service", "a"), "abc", None))
    assert len(tried(fleet, failures)) == 4  # now each may have felled the other


def test_kinds_that_were_never_tried_keep_the_policys():
    pairs = [("b", "a", "call"), ("c", "a", "cache")]
    fleet, failures = told("abc", pairs, (("service", "a"), "a", "ab"))
    known = with_learned(
        fleet, learn(fleet, edge_trials(fleet, failures), level=0.9, seed=1)
    ).edges
    call, cache = known.set_index("src").loc["b"], known.set_index("src").loc["c"]
    assert call["lo"] <= call["point"] <= call["hi"] < 1
    assert cache["point"] == POLICY["edges"]["cache"]["p"]


def test_no_trial_is_no_evidence():
    fleet, failures = told("ab", [("b", "a", "call")], (("service", "b"), "b", None))
    known = edge_trials(fleet, failures)
    table = learn(fleet, known, level=0.9, seed=1)
    assert table["tries_n"].tolist() == [0]
    assert (table["lo"] < 0.2).all()
    assert (table["hi"] > 0.9).all()
    assert estimate(fleet, known).tolist() == [POLICY["edges"]["call"]["p"]]


@pytest.mark.parametrize("times", [3, 4])
def test_intervals_cover_what_they_say(times):
    inside, errors = [], []
    for seed in range(10):
        inventory, truth = failing_fleet(seed, times=times)
        fleet = build_topology(inventory, POLICY)
        known = edge_trials(fleet, observed_failures(inventory, fleet))
        table = learn(fleet, known, level=0.9, seed=1).set_index(["src", "dst"])
        p = truth[table.index]
        inside.append(((table["lo"] <= p) & (p <= table["hi"])).mean())
        errors.append([((table[name] - p) ** 2).mean() for name in ("point", "prior")])
    assert 0.88 <= np.mean(inside) <= 0.92
    learned, policy = np.mean(errors, axis=0)
    assert learned < policy / 2


def brier(gain, lo, hi):
    return pd.DataFrame(
        {
            "rule": ["policy", "learned"],
            "gain": [0, gain],
            "gain_lo": [0, lo],
            "gain_hi": [0, hi],
        }
    )


def test_the_verdict_is_honest():
    assert "Too few failures" in verdict(brier(1, 1, 1), 1)
    assert "Too few failures" in verdict(pd.DataFrame(), 0)
    assert "predicted better" in verdict(brier(0.03, 0.01, 0.05), 9)
    unsure, worse = (
        verdict(brier(0.03, -0.01, 0.05), 9),
        verdict(brier(-0.03, -0.05, -0.01), 9),
    )
    assert "not shown to be better" in unsure
    assert "predicted worse" in worse
    assert all("They do not help on this fleet yet." in text for text in (unsure, worse))
