"""Probabilities of edges learned from failures: who was tried, and whether intervals cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from failing_fleet import AT, failing_fleet
from scipy.optimize import brentq
from scipy.stats import beta

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.learning import (
    Failures,
    at_fault,
    edge_trials,
    expit,
    fit,
    flat_p,
    learned_edges,
    logit,
    with_lessons,
)
from assess.score.blast_radius.topology import build_topology

POLICY = load_policy()
LEARNING = POLICY.replace(blast_radius={"learned_edges": "use"})


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
    return fleet, observed_failures(inventory, fleet, POLICY)[0]


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


def learned_of(fleet, failures):
    return learned_edges(POLICY, Failures.of(fleet, failures)).set_index(["src", "dst"])


def fitted(fleet, failures, **settings):
    """What failures teach, without effects of groups unless they are asked for."""
    none = dict.fromkeys(("kind_sd", "fault_sd", "caller_sd", "callee_sd"), 0.0)
    values = {**POLICY["blast_radius"], **none, **settings}
    return fit(Failures.of(fleet, failures), np.ones(len(failures), bool), values)


def test_an_edge_is_the_posterior_of_its_trials():
    fleet, failures = told(
        "ab",
        [("b", "a", "call")],
        *[(("service", "a"), "ab", None)] * 3,
        *[(("service", "a"), "a", "ab")] * 2,
    )
    known = fitted(fleet, failures)
    # three of five, and two trials' worth of the policy's .8
    assert known.p == pytest.approx([(3 + 2 * 0.8) / (5 + 2)])
    assert known.weight.tolist() == pytest.approx([7])
    lo, hi = known.interval(0.9)
    a, b = 7 * known.p[0], 7 * (1 - known.p[0])
    assert beta.cdf([lo[0], hi[0]], a, b) == pytest.approx([0.05, 0.95])


def test_a_failure_with_two_causes_is_shared():
    pairs = [("c", "a", "call"), ("c", "b", "call"), ("b", "a", "call")]
    fleet, failures = told("abc", pairs, (("service", "a"), "abc", None))
    known = fitted(fleet, failures)
    p = dict(zip(fleet.edges["src"] + fleet.edges["dst"], known.p, strict=True))
    m = 0.8 / 2**0.35
    share = p["ca"] / (1 - (1 - p["ca"]) ** 2)
    assert p["ca"] == pytest.approx((share + 2 * m) / 3, abs=1e-3)
    assert p["cb"] == pytest.approx(p["ca"])
    assert p["ba"] == pytest.approx((1 + 2 * 0.8) / 3)
    # which of the two it was is doubtful, and widens both
    assert known.weight[0] == pytest.approx(3)
    assert known.weight[1] < 3


@pytest.mark.parametrize(
    ("group", "pairs"),
    [
        ("kind", [("b", "a", "call"), ("d", "c", "call")]),
        ("caller", [("b", "a", "call"), ("b", "c", "cache")]),
        ("callee", [("b", "a", "call"), ("d", "a", "cache")]),
    ],
)
def test_a_group_moves_as_far_as_its_trials_say(group, pairs):
    # d had no data, and nobody ever failed c: the second edge learns from the first alone
    fleet, failures = told("abcd", pairs, *[(("service", "a"), "a", "ab")] * 6)
    known = fitted(fleet, failures, **{f"{group}_sd": 1.5, "edge_sd": 2.0})
    base = logit(fleet.edges["point"].to_numpy("float64"))

    def unexplained(rest):
        return -6 * expit(base[0] + rest * (1.5**2 + 2.0**2)) - rest

    rest = brentq(unexplained, -6, 0)
    assert known.p[1] == pytest.approx(expit(base[1] + rest * 1.5**2), abs=0.002)
    # its own trials count once, as those of an edge
    assert known.p[0] == pytest.approx((0 + 2 * expit(base[0])) / (6 + 2))


def test_kinds_that_were_never_tried_keep_the_policys():
    pairs = [("b", "a", "call"), ("c", "a", "cache")]
    fleet, failures = told("abc", pairs, (("service", "a"), "a", "ab"))
    learned = learned_edges(POLICY, Failures.of(fleet, failures))
    known = with_lessons(fleet, LEARNING, learned).edges
    call, cache = known.set_index("src").loc["b"], known.set_index("src").loc["c"]
    assert call["lo"] < 0.3 < call["point"] < 0.8
    assert call["hi"] == 1  # that a failure spared it does not put it out of reach
    assert (cache["lo"], cache["hi"]) == (0, 1)
    assert cache["point"] == POLICY["edges"]["cache"]["p"]


def test_no_trial_is_no_evidence():
    fleet, failures = told("ab", [("b", "a", "call")], (("service", "b"), "b", None))
    table = learned_of(fleet, failures)
    assert table["tries_n"].tolist() == [0]
    assert (table["lo"] < 0.4).all()
    assert (table["hi"] > 0.98).all()
    assert table["point"].tolist() == pytest.approx([POLICY["edges"]["call"]["p"]])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certainty_that_somebody_gave_is_not_learned_away(p):
    edge = {"src_id": "b", "dst_id": "a", "kind": "call", "evidence": "e", "p": p}
    fleet, failures = told(
        "ab",
        [],
        *[(("service", "a"), "a", "ab"), (("service", "a"), "ab", None)],
        dependencies=[edge],
    )
    known = learned_of(fleet, failures)
    assert known[["lo", "point", "hi"]].to_numpy().tolist() == [[p] * 3]
    learned = learned_edges(POLICY, Failures.of(fleet, failures))
    after = with_lessons(fleet, LEARNING, learned).edges
    assert after[["lo", "point", "hi"]].to_numpy().tolist() == [[p] * 3]


def test_who_calls_nothing_that_failed_has_a_floor():
    fleet, failures = told(
        "abc", [("b", "a", "call")], *[(("service", "a"), "ac", None)] * 4
    )
    known = fitted(fleet, failures)
    fleet_rate = (4 + 0.5) / (4 + 1)
    by_service = dict(zip(fleet.services, known.floor, strict=True))
    assert by_service["c"] == pytest.approx((4 + 10 * fleet_rate) / (4 + 10))
    assert by_service["b"] == pytest.approx(fleet_rate)  # it was never beside a failure


def test_who_falls_behind_a_fall_that_nobody_noticed_is_not_outside():
    calls = [("b", "a", "call"), ("c", "b", "call")]
    fleet, failures = told("abcd", calls, *[(("service", "a"), "ac", None)] * 4)
    known = fitted(fleet, failures)
    # c is reached by way of b, which nobody saw go down; d alone is outside
    fleet_rate = 0.5 / (4 + 1)
    assert known.floor[3] == pytest.approx(10 * fleet_rate / (4 + 10))
    assert known.floor[2] == pytest.approx(fleet_rate)


def test_a_pair_shrinks_to_its_own_history():
    fleet, failures = told(
        "ab",
        [("b", "a", "call")],
        *[(("service", "a"), "ab", None)] * 3,
        (("service", "a"), "a", "a"),
    )
    evidence = Failures.of(fleet, failures)
    kept = np.array([False, True, True, True])
    before = np.array([1.0, 0.5])
    p = evidence.past(("service", "a"), kept).chances(before, 2.0)
    assert p[1] == pytest.approx((2 + 2 * 0.5) / (2 + 2))  # one of the three was left out
    none = evidence.past(("service", "a"), kept & False)
    assert none.chances(before, 2.0) == pytest.approx(before)


def test_kinds_of_fault_differ_and_the_mix_stands_where_none_is_known():
    crash = [(("service", "a"), "ab", None)] * 6
    slow = [(("service", "a"), "a", "ab")] * 6
    fleet, failures = told("ab", [("b", "a", "call")], *crash, *slow)
    failures = [
        replace(f, fault="crash" if f.down.all() else "latency") for f in failures
    ]
    known = fitted(fleet, failures, fault_sd=1.5)
    assert at_fault(known, "crash")[0] > 0.7
    assert at_fault(known, "latency")[0] < 0.35
    assert at_fault(known, "unknown")[0] == known.p[0]
    assert at_fault(known, "cpu")[0] == known.p[0]


def test_one_flat_probability_by_hand():
    fleet, failures = told(
        "abc",
        [("b", "a", "call"), ("c", "a", "call")],
        (("service", "a"), "ab", None),
        (("service", "a"), "ab", None),
    )
    evidence = Failures.of(fleet, failures)
    assert flat_p(evidence, np.ones(2, bool)) == pytest.approx((2 + 0.5) / (4 + 1))
    assert flat_p(evidence, np.zeros(2, bool)) == pytest.approx(0.5)


@pytest.mark.parametrize("times", [3, 4])
def test_intervals_cover_what_they_say(times):
    inside, errors = [], []
    for seed in range(10):
        inventory, truth = failing_fleet(seed, times=times)
        fleet = build_topology(inventory, POLICY)
        table = learned_of(fleet, observed_failures(inventory, fleet, POLICY)[0])
        p = truth[table.index]
        inside.append(((table["lo"] <= p) & (p <= table["hi"])).mean())
        errors.append([((table[name] - p) ** 2).mean() for name in ("point", "prior")])
    assert 0.88 <= np.mean(inside) <= 0.92
    learned, policy = np.mean(errors, axis=0)
    assert learned < policy / 2


@pytest.mark.parametrize("alike", [True, False])
def test_edges_that_are_alike_lose_the_differences_of_the_policy(alike):
    rng = np.random.default_rng(2)
    # a calls one, b calls seven: by the policy its edges are weaker
    services = "abcdefghi"
    edges = [("a", "c", "call"), *(("b", each, "call") for each in "cdefghi")]
    failures = []
    for number in range(60):
        element = "c" if number % 2 else "defghi"[number // 2 % 6]
        p_b = 0.7 if alike else 0.3
        down = element + "a" * (element == "c" and rng.random() < 0.7)
        down += "b" * (rng.random() < p_b)
        failures.append((("service", element), down, None))
    fleet, observed = told(services, edges, *failures)
    learned = fit(Failures.of(fleet, observed), np.ones(60, bool), POLICY["blast_radius"])
    usual = fleet.edges["point"].to_numpy("float64")
    if alike:
        assert np.ptp(learned.start) < np.ptp(usual) * 0.6
    else:
        assert learned.start == pytest.approx(usual)
