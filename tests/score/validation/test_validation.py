"""Predictions held to failures that they have not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from failing_fleet import failing_fleet

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score import validation
from assess.score.assessment import what_next
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.learning import Failures
from assess.score.blast_radius.topology import FAR, build_topology, steps
from assess.score.blast_radius.uncertain import Sampling, decide
from assess.score.blast_radius.undecided import Undecided
from assess.score.incidents import exposure
from assess.score.validation import (
    ELEMENT,
    EVENT,
    FLAT,
    HELD,
    LEARNED,
    callers,
    chances_in,
    failures_to_judge,
    measures,
    predict_left_out,
    verdict,
)

POLICY = load_policy()
SAMPLING = replace(Sampling.of(POLICY), draws=500)


@pytest.fixture(scope="module")
def fleet_and_failures():
    inventory, _ = failing_fleet(3, services=12, times=2)
    fleet = build_topology(inventory, POLICY)
    return fleet, observed_failures(inventory, fleet, POLICY)[0]


def predictions(fleet, failures):
    every = np.arange(len(failures))
    return predict_left_out(Failures.of(fleet, failures), POLICY, every, SAMPLING)[0]


def test_what_is_left_out_does_not_teach(fleet_and_failures):
    fleet, failures = fleet_and_failures
    which = max(range(len(failures)), key=lambda i: failures[i].down.sum())
    element = failures[which].element
    alone = fleet.services.isin([element[1]])
    before = predictions(fleet, failures)
    other = [*failures]
    other[which] = replace(failures[which], down=alone)
    after = predictions(fleet, other)
    same = [i for i, f in enumerate(failures) if f.element == element]
    assert len(same) == 2
    for rule in (LEARNED, FLAT):
        change = {
            scheme: np.abs(before[rule, scheme] - after[rule, scheme]).max(axis=1) > 1e-6
            for scheme in (EVENT, ELEMENT)
        }
        assert not change[EVENT][which]  # its own outcome has no say in its prediction
        assert not change[ELEMENT][same].any()  # nor in one of the same element
    again = np.setdiff1d(same, [which])
    assert (before[LEARNED, EVENT][again] != after[LEARNED, EVENT][again]).any()


def test_one_failure_teaches_nothing_about_itself(fleet_and_failures):
    fleet, failures = fleet_and_failures
    alone = predictions(fleet, failures[:1])
    graph = fleet.graphs["point"]
    initial = fleet.initially_down([failures[0].element], "point")
    policy = chances_in(
        graph, fleet.edges[["point"]].to_numpy("float64").T, initial, SAMPLING
    )[0]
    for scheme in (EVENT, ELEMENT):
        found = alone[LEARNED, scheme][0]
        assert found == pytest.approx(policy[: len(found)], abs=1e-6)


def test_chances_are_those_of_the_element(fleet_and_failures):
    fleet, _ = fleet_and_failures
    initial = fleet.initially_down([("service", "s00"), ("service", "s11")], "point")
    graph = fleet.graphs["point"]
    p = fleet.edges["point"].to_numpy("float64")
    found = chances_in(graph, np.array([p, p]), initial, SAMPLING)
    assert [each[0] for each in found] == [1, 0]
    assert found[1][-1] == 1
    sure = chances_in(graph, np.ones((1, len(p))), initial[:1], SAMPLING)[0]
    assert set(sure) <= {0.0, 1.0}


def test_chances_together_are_those_of_each_alone(fleet_and_failures):
    fleet, _ = fleet_and_failures
    graph = fleet.graphs["point"]
    initial = fleet.initially_down([*fleet.elements[:6]], "point")
    p = np.random.default_rng(1).uniform(0, 1, (len(initial), len(graph.p)))
    p[3, 0] = 1.0
    p[4] = 0.0
    sampling = replace(SAMPLING, enumerate_up_to=3, draws_least=70)
    found = chances_in(graph, p, initial, sampling)
    for each, down, alone in zip(p, initial, found, strict=True):
        asked = graph.with_chances(each)
        near = steps(fleet.matrix(), down[None], np.ones_like(down[None]))
        undecided = Undecided.of(asked, down[None], near < FAR)
        want = down.astype(float)
        want[undecided.node] = decide(undecided, sampling).p
        assert alone.tolist() == want.tolist()
    assert np.unique(found).size > 10


def test_learning_beats_simpler_rules_on_failures_and_elements_left_out():
    means = {"call": 0.9, "cache": 0.05}
    inventory, _ = failing_fleet(1, services=30, times=3, means=means)
    details = score_blast_radius(inventory, POLICY, detail=False).details
    table = details["precision"].set_index("rule")
    closure = table.loc["all transitive callers"]
    skill = details["skill"].set_index(["rule", "left_out"])["average_precision"]
    gains = details["comparisons"].query("measure == 'average_precision'")
    gains = gains.set_index(["rule", "left_out", "baseline"])["gain_lo"]
    for scheme in ("event left out", "element left out"):
        same = table.loc[f"learned, {scheme}, at the recall of all transitive callers"]
        assert same["recall"] >= closure["recall"]
        assert same["precision"] > closure["precision"] + 0.02
        assert skill["learned", scheme] > skill["flat p", scheme]
        assert skill["learned", scheme] > skill["all transitive callers", ""]
        # paired by element, so that the failures themselves do not blur it
        assert gains["learned", scheme, f"flat p, {scheme}"] > 0
        assert gains["learned", scheme, "all transitive callers"] > 0
    texts = details["learned_judged"]["verdict"]
    assert texts.str.contains("probabilities did better").all()
    assert texts.str.contains("Each of 50 failures, drawn at random from 90,").all()
    assert texts.str.contains("predicted from all others").any()
    assert texts.str.contains("predicted from those of other elements").any()


def test_where_the_policy_is_right_learning_does_not_help():
    sure = POLICY.replace(edges={"call": {"p": 1.0, "lo": 1.0}})
    inventory, _ = failing_fleet(1, services=10, times=1, means={"call": 1 - 1e-9})
    details = score_blast_radius(inventory, sure, detail=False).details
    assert "do not help" in details["learned_judged"]["verdict"].iloc[0]


def test_a_sample_of_many_failures_is_named_and_follows_the_seed(fleet_and_failures):
    fleet, failures = fleet_and_failures
    few = POLICY.replace(blast_radius={"judged_most": 5})
    evidence = Failures.of(fleet, failures)
    picked = failures_to_judge(evidence, few)
    assert len(set(picked)) == 5
    assert picked.tolist() == failures_to_judge(evidence, few).tolist()
    other = few.replace(simulation={"seed": 1})
    assert picked.tolist() != failures_to_judge(evidence, other).tolist()
    text = verdict("event left out", (0.1, 0.05, 0.2), 5, len(failures))
    assert "Each of 5 failures, drawn at random from 24, was predicted" in text


def test_of_very_many_failures_a_sample_is_used_and_named(monkeypatch):
    inventory, _ = failing_fleet(1, services=10, times=3)
    whole = score_blast_radius(inventory, POLICY, detail=False).details
    all_n = len(whole["calibration"])
    few = POLICY.replace(blast_radius={"failures_most": 12})
    monkeypatch.setattr(callers, "PAIRS_MOST", 10)
    part = score_blast_radius(inventory, few, detail=False).details
    again = score_blast_radius(inventory, few, detail=False).details
    used = part["calibration"]["event_id"]
    assert len(used) == 12 < all_n
    assert set(used) < set(whole["calibration"]["event_id"])
    pd.testing.assert_frame_equal(part["calibration"], again["calibration"])
    named = part["calibration_measures"].set_index("measure")
    row = named.loc[f"failures used, drawn by the seed {POLICY.seed}"]
    assert row["n"] == all_n
    assert row["value"] == 12 / all_n
    texts = part["learned_judged"]["verdict"]
    assert texts.str.contains(f"12 failures, drawn at random from {all_n},").all()
    pairs = named.loc[
        f"pairs of failure and service used, drawn by the seed {POLICY.seed}"
    ]
    assert pairs["n"] > 10
    assert pairs["value"] * pairs["n"] == pytest.approx(10)
    # nothing was drawn of the whole
    assert not whole["calibration_measures"]["measure"].str.contains("drawn").any()


def test_the_verdict_is_honest():
    def said(*gain):
        return verdict("event left out", gain, 9, 9)

    assert "Too few elements" in said(0.03, np.nan, np.nan)
    assert "did better" in said(0.03, 0.01, 0.05)
    unsure = said(0.03, -0.01, 0.05)
    worse = said(-0.03, -0.05, -0.01)
    assert "not shown to be better" in unsure
    assert "did worse" in worse
    assert all("They do not help on this fleet yet." in text for text in (unsure, worse))


@pytest.mark.parametrize(("failed_n", "are_few"), [(1, True), (4, True), (5, False)])
def test_failures_of_few_elements_prove_nothing(failed_n, are_few):
    names = ["a", "b", "c", *[f"s{i}" for i in range(failed_n)]]
    pairs = [(caller, callee) for caller in "abc" for callee in names[3:]]
    calls = pd.DataFrame(pairs, columns=["src_id", "dst_id"])
    failed = [*names[3:], *names[3:]]
    experiments = pd.DataFrame({"experiment_id": range(2 * failed_n), "element": failed})
    experiments["started_at"] = pd.date_range("2026-01-01", periods=2 * failed_n)
    frames = {
        "services": pd.DataFrame({"service_id": names}),
        "dependencies": calls.assign(kind="call", evidence="x"),
        "experiments": experiments.assign(element_kind="service", affected_services="a"),
    }
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    found = score_blast_radius(inventory, POLICY, detail=False).details
    ends = ["gain_lo", "gain_hi"]
    assert found["comparisons"][ends].isna().all(axis=None) == are_few
    assert found["precision"]["precision_lo"].isna().all() == are_few
    assert found["calibration_measures"]["lo"].isna().iloc[0] == are_few
    said = found["learned_judged"]["verdict"]
    assert said.str.startswith("Too few elements").all() == are_few


def test_what_is_in_sample_says_so():
    use = POLICY.replace(blast_radius={"learned_edges": "use"})
    inventory, _ = failing_fleet(1, services=10, times=2)
    for policy, named in ((use, "in sample"), (POLICY, "")):
        skill = score_blast_radius(inventory, policy, detail=False).details["skill"]
        own = skill[skill["rule"] == "p_down"]
        assert own["left_out"].tolist() == [named]


def test_the_interval_of_one_failure_is_judged_by_kind_of_element():
    services = pd.DataFrame({"service_id": ["a"]})
    inventory = from_frames({"services": services}, snapshot_at="2026-09-30")
    events = pd.DataFrame(
        {
            "element_kind": ["host", "host", "service", "service"],
            "element": ["h1", "h2", "a", "a"],
            "observed": [0.5, 0.1, 0.2, 0.3],
            "predicted": [0.1, 0.1, 0.2, 0.2],
            "inside": pd.array([False, True, True, None], "boolean"),
        }
    )
    watched = exposure(inventory, POLICY)
    found = measures(watched, events, seed=1, level=0.9).set_index("measure")
    assert found.loc[HELD, "n"] == 3
    assert found.loc[f"{HELD}: host", ["value", "n"]].tolist() == [0.5, 2]
    assert found.loc[f"{HELD}: service", "n"] == 1


def test_labels_wait_for_no_check_of_predictions(monkeypatch):
    inventory, _ = failing_fleet(3, services=12, times=2)
    blast = score_blast_radius(inventory, POLICY)
    with monkeypatch.context() as no_skill:
        no_skill.setattr(validation, "calibrate", None)
        what_next(inventory, POLICY, blast=blast)
        with pytest.raises(TypeError):
            blast.details["calibration"]
    made = validation.CHECKS
    assert set(made) <= set(blast.details)
    assert [name for name in made if blast.details[name] is None] == []
