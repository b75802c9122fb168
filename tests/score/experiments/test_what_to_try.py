"""Which failure to try next: what it is worth, what it reaches, where it is safest."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from trying import experiments_needed

import assess
from assess.inventory import from_frames
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.learning import Failures, fit
from assess.score.blast_radius.topology import build_topology
from assess.score.experiments import (
    Doubt,
    Worth,
    chances,
    label_parts,
    ranking_parts,
    safest,
    sensitivity,
    trials,
)

AT = "2026-09-30"
POLICY = assess.load_policy().replace(simulation={"draws": 200})
COLUMNS = ["value", "label_value", "ranking_value", "trials_n", "edge", "decides"]
COLUMNS += [
    "safest",
    "safest_reach_n",
    "impact",
    "impact_hi",
    "next_hi",
    "reach_n",
    "why",
]


def fleet(pairs, *experiments, services=(), **tables):
    """A fleet by its edges (src, dst, kind or p), and experiments (element, who fell)."""
    names = sorted({name for pair in pairs for name in pair[:2]} | {*services})
    edges = []
    for src, dst, how in pairs:
        edge = {"src_id": src, "dst_id": dst, "kind": "call", "evidence": "e"}
        edge |= {"kind": how} if isinstance(how, str) else {"p": how}
        edges.append(edge)
    rows = [
        {
            "experiment_id": f"e{i}",
            "element_kind": "service",
            "element": element,
            "started_at": AT,
            "affected_services": ";".join(fell),
            "observed_services": ";".join(names),
        }
        for i, (element, fell) in enumerate(experiments)
    ]
    inside = [name for name in names if not name.startswith("ext:")]
    frames = {
        "services": [{"service_id": s, "criticality": 1.0} for s in inside],
        "dependencies": edges,
        "experiments": rows,
        **tables,
    }
    made = {name: pd.DataFrame(table) for name, table in frames.items() if table}
    return from_frames(made, snapshot_at=AT)


def parts(inventory):
    topology = build_topology(inventory, POLICY)
    failures, _ = observed_failures(inventory, topology, POLICY)
    every = np.ones(len(failures), bool)
    learned = fit(Failures.of(topology, failures), every, POLICY["blast_radius"])
    blast = score_blast_radius(inventory, POLICY, detail=False)
    return topology, chances(topology, blast.details["affected"]), learned


DIAMOND = [("b", "a", 0.6), ("c", "a", 0.3), ("d", "b", 0.9), ("d", "c", 0.2)]


def impact(failed, chances_of):
    """Return the impact of a service of the diamond by all outcomes of its edges."""
    total = 0.0
    for outcome in itertools.product([False, True], repeat=len(DIAMOND)):
        down = {failed}
        for _ in DIAMOND:
            live = zip(DIAMOND, outcome, strict=True)
            down |= {src for (src, dst, _), on in live if on and dst in down}
        odds = [q if on else 1 - q for q, on in zip(chances_of, outcome, strict=True)]
        total += np.prod(odds) * len(down) / 4
    return total


def test_sensitivity_is_the_derivative_of_the_impact():
    topology, down, _ = parts(fleet(DIAMOND))
    p = topology.edges["point"].to_numpy("float64")
    found = sensitivity(topology, down, p, np.arange(4)).toarray()
    step = 1e-4
    before = [impact(name, [q for _, _, q in DIAMOND]) for name in "abcd"]
    for edge, (src, dst, _) in enumerate(DIAMOND):
        moved = [q + step * (at == edge) for at, (_, _, q) in enumerate(DIAMOND)]
        after = [impact(name, moved) for name in "abcd"]
        slope = (np.array(after) - before) / step
        pairs = topology.edges[["src", "dst"]].to_numpy().tolist()
        at = pairs.index([src, dst])
        assert found[:, at] == pytest.approx(slope, abs=1e-6)


def test_a_trial_is_worth_less_where_another_cause_is_possible():
    topology, down, _ = parts(fleet(DIAMOND))
    p = topology.edges["point"].to_numpy("float64")
    names = [*map("".join, topology.edges[["src", "dst"]].to_numpy())]
    told = pd.DataFrame(
        trials(topology, down, p, np.arange(4)).toarray(),
        index=topology.elements.get_level_values(1),
        columns=names,
    )
    # b fails by itself: what needs it is tried, it itself is not
    assert told.loc["b", "db"] == pytest.approx(1)
    assert told.loc["b", "ba"] == 0
    # with a, b is down in .6 of the cases; c took d down with .3 * .2 of its own
    assert told.loc["a", "db"] == pytest.approx(0.6 * (1 - 0.3 * 0.2))
    # where draws had d down less often than its edge alone does, a trial is still one trial
    drawn = down.toarray()
    drawn[1, 3] = 0.8
    told = trials(topology, csr_array(drawn), p, np.arange(4)).toarray()
    assert told[1, names.index("db")] == pytest.approx(1)


def test_doubt_falls_with_trials_and_what_somebody_gave_is_not_in_doubt():
    pairs = [("b", "a", "call"), ("c", "a", 0.5)]
    topology, _, fresh = parts(fleet(pairs))
    _, _, tried = parts(fleet(pairs, *[("a", "ab")] * 6))
    before = Doubt.of(topology, fresh)
    after = Doubt.of(topology, tried)
    # Beta of mean .8 and strength 2: .16 / 3, of which one trial takes a third
    assert before.variance == pytest.approx([0.16 / 3, 0])
    assert before.narrowed == pytest.approx([0.16 / 9, 0])
    assert after.variance[0] < before.variance[0] / 4


def test_an_edge_that_the_policy_leaves_open_is_in_doubt():
    topology, _, fresh = parts(fleet([("b", "a", "telemetry")]))
    assert Doubt.of(topology, fresh).variance == pytest.approx([(0.3 / 4) ** 2])


def test_the_order_of_two_hangs_on_both_and_most_where_they_are_close():
    moved = np.array([[1.0, 0.0], [0.0, 1.0]])
    variance = np.array([0.03, 0.04]) ** 2
    near, loss = ranking_parts(np.array([0.1, 0.1]), moved, variance)
    far, less = ranking_parts(np.array([0.1, 0.4]), moved, variance)
    # s phi(0) and phi(0) / (2 s), with s = .05; each edge moves one of the two
    assert loss == pytest.approx(0.05 * 0.39894, rel=1e-4)
    assert near.sum(axis=0) == pytest.approx([0.39894 / 0.1] * 2, rel=1e-4)
    assert far.max() < near.min() / 1000
    assert less < loss / 1000


def test_an_edge_that_moves_two_alike_does_not_blur_their_order():
    alike = np.array([[1.0, 0.0], [1.0, 0.5]])
    parts, loss = ranking_parts(np.array([0.1, 0.1]), alike, np.array([0.01, 0.0004]))
    assert parts[:, 0].tolist() == pytest.approx([0, 0])
    assert loss == pytest.approx(0.01 * 0.39894, rel=1e-4)


def test_a_settled_label_wants_few_experiments():
    moved = np.eye(2)
    parts, whole = label_parts(np.array([1.0, 0.0]), moved, np.array([0.01, 0.01]))
    assert parts.tolist() == [pytest.approx([5, 0]), pytest.approx([0, 0.5])]
    assert whole == pytest.approx(0.11)


def test_the_safest_place_teaches_half_and_reaches_least():
    told = csr_array(np.array([[1.0, 1.0], [0.0, 0.9], [0.2, 0.0]]))
    value = Worth(None, np.zeros(3), told, np.array([1.0, 2.0]), told)
    order = np.array([2, 1, 0])  # by reach
    tried = value.trials[order].tocsc()
    assert safest(value, 0, order, tried, 0.5) == 1
    assert safest(value, 0, order, tried, 0.9) == 0
    assert safest(value, 2, order, tried, 0.5) == 2


def test_the_headline_names_an_element_as_people_do():
    result = assess.score_experiments(fleet([("a", "ext:mail.example", "call")]), POLICY)
    assert result.headline.startswith("Try next: fail outside mail.example. ")


def test_what_was_tried_often_makes_room_for_what_was_not():
    pairs = [("b", "a", "call"), ("d", "c", "call")]
    first = assess.score_experiments(fleet(pairs), POLICY).frame
    assert set(first.index[:2]) == {("service", "a"), ("service", "c")}
    assert set(first.columns) == {*COLUMNS}
    again = assess.score_experiments(fleet(pairs, *[("a", "ab")] * 8), POLICY)
    assert again.frame.index[0] == ("service", "c")
    assert "nobody has tried yet" in again.frame["why"].iloc[0]
    assert "fail service c" in again.headline
    other = again.frame.loc[("service", "a")]
    assert "8 failures have tried" in other["why"]
    assert other["value"] < again.frame["value"].iloc[0] / 2


def test_a_host_is_tried_more_safely_by_its_service():
    pairs = [("b", "a", "call"), ("d", "c", 0.9)]
    replicas = [
        {"workload_id": s, "service_id": s, "host_id": "h", "state": "running"}
        for s in "ac"
    ]
    others = [
        {"workload_id": s, "service_id": s, "host_id": "k", "state": "running"}
        for s in "bd"
    ]
    hosts = [{"host_id": "h"}, {"host_id": "k"}]
    inventory = fleet(pairs, workloads=[*replicas, *others], hosts=hosts)
    result = assess.score_experiments(inventory, POLICY)
    row = result.frame.loc[("host", "h")]
    assert row["safest"] == "service a"
    assert row["safest_reach_n"] < row["reach_n"]
    assert "Safer, with at least half of the lesson: service a" in row["why"]
    assert not result.frame.index.isin([("host", "k")]).any()  # it tries nothing


def test_an_impact_that_is_certain_takes_no_place_of_one_in_doubt():
    given = [(name, "certain", 1.0) for name in "pqr"]  # falls with more than a does
    few = POLICY.replace(blast_radius={"decided_most": 1})
    result = assess.score_experiments(fleet([("b", "a", "call"), *given]), few)
    assert result.frame.index.tolist() == [("service", "a")]


def test_contributions_add_up_and_explain_a_service():
    result = assess.score_experiments(
        fleet([(*pair[:2], "call") for pair in DIAMOND]), POLICY
    )
    sums = result.contributions.groupby(["element_kind", "element"])["contribution"].sum()
    value = result.frame["value"]
    assert sums.reindex(value.index).to_numpy() == pytest.approx(value.to_numpy())
    assert value.between(0, 1).all()
    assert value.is_monotonic_decreasing
    assert "goes down with" in result.explain("a").text
    with pytest.raises(assess.AssessError, match="no service 'aa'"):
        result.explain("aa")
    rows = result.to_dict()["rows"]
    assert isinstance(rows[0]["decides"], list)


def test_contributions_add_up_where_one_failure_would_decide_all():
    chain = fleet([("b", "a", "call"), ("c", "b", "call")])
    weights = chain["services"].assign(criticality=[5.0, 3.0, 3.0])
    result = assess.score_experiments(chain.replace(services=weights), POLICY)
    first = result.frame.iloc[0]
    assert first["ranking_value"] == 1.0  # more than all cannot be decided
    sums = result.contributions.groupby(["element_kind", "element"])["contribution"].sum()
    assert sums[first.name] == pytest.approx(first["value"])


@pytest.mark.parametrize(
    "inventory",
    [fleet([], services="ab"), fleet([("b", "a", 1.0)]), fleet([("b", "a", 0.0)])],
    ids=["no edge", "certain", "impossible"],
)
def test_without_doubt_there_is_nothing_to_try(inventory):
    result = assess.score_experiments(inventory, POLICY)
    assert result.frame.empty
    assert "No experiment would decide anything" in result.headline
    assert "No listed experiment" in result.explain("a").text
    result.plot()


def test_what_lies_outside_can_be_cut_off():
    result = assess.score_experiments(fleet([("b", "ext:pay", "call")]), POLICY)
    assert ("ext", "ext:pay") in result.frame.index


def test_weak_edges_are_found_sooner_than_in_random_order_or_by_blast():
    needed = {
        order: sum(experiments_needed(seed, order, services=12)[0] for seed in range(6))
        for order in ("assess", "random", "largest blast first")
    }
    assert needed["assess"] < 0.7 * needed["random"], needed
    assert needed["assess"] < 0.7 * needed["largest blast first"], needed
