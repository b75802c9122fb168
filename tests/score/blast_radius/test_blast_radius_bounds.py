"""Fleets with too many uncertain edges to simulate everything: bounds, and what is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius

POLICY = load_policy().replace(
    blast_radius={"enumerate_up_to": 2}, edges={"cache": {"lo": 0.2, "p": 0.3, "hi": 0.6}}
)
N = 14


@pytest.fixture(scope="module")
def inventory():
    rng = np.random.default_rng(8)
    names = [f"s{i:02}" for i in range(N)]
    pairs = np.unique(rng.integers(0, N, (3 * N, 2)), axis=0)
    edges = pd.DataFrame(
        {
            "src_id": np.array(names)[pairs[:, 0]],
            "dst_id": np.array(names)[pairs[:, 1]],
            "kind": rng.choice(["cache", "cache", "call"], len(pairs)),
            "evidence": "traces",
        }
    )
    services = pd.DataFrame(
        {"service_id": names, "criticality": rng.integers(1, 9, N) * 1.0}
    )
    frames = {"services": services, "dependencies": edges.query("src_id != dst_id")}
    return from_frames(frames, snapshot_at="2026-09-30")


@pytest.fixture(scope="module")
def simulated(inventory):
    return score_blast_radius(inventory, POLICY, detail=False)


@pytest.fixture
def bounded(inventory):
    policy = POLICY.replace(blast_radius={"drawn_most": 3})
    return score_blast_radius(inventory, policy, detail=False, asked=[("service", "s05")])


def test_bounds_hold_what_the_simulation_says(simulated, bounded):
    assert set(simulated.how) == {"exact", "draws"}
    assert "how" not in simulated.summary()
    is_bound = bounded.how == "lower bound"
    assert is_bound.any()
    assert list(bounded.summary()["how"]) == list(bounded.how)
    assert bounded.frame.loc[is_bound, "se"].isna().all()
    assert not bounded.frame.loc[is_bound, "exact"].any()
    full = simulated.frame.loc[bounded.frame.index]
    error = 4 * full["se"] + 1e-9
    assert (bounded.frame["impact"] <= full["impact"] + error).all()
    assert (bounded.frame["impact_lo"] <= full["impact_lo"] + error).all()
    assert (bounded.frame["impact_hi"] >= full["impact_hi"] - error).all()
    same = bounded.frame.index[~is_bound]
    pd.testing.assert_frame_equal(bounded.frame.loc[same], full.loc[same])


def test_what_loses_most_and_what_is_asked_for_is_simulated(
    inventory, simulated, bounded
):
    assert bounded.how[("service", "s05")] != "lower bound"
    assert bounded.how[bounded.frame["impact"].idxmax()] != "lower bound"
    assert (bounded.how == "draws").sum() <= 4
    policy = POLICY.replace(blast_radius={"drawn_most": 0})
    least = score_blast_radius(inventory, policy, detail=False).frame["impact"]
    drawn = {*bounded.how.index[bounded.how == "draws"]} - {("service", "s05")}
    assert drawn
    assert drawn <= {*least.nlargest(3).index}
    order = simulated.frame.index
    both = (
        simulated.frame["impact"].rank().corr(bounded.frame["impact"].loc[order].rank())
    )
    assert both > 0.9


def test_people_are_told_of_the_bound(bounded):
    name = bounded.how.index[bounded.how == "lower bound"][0][1]
    assert "a lower bound" in bounded.explain(name).text
    assert "a lower bound" not in bounded.explain("s05").text
    pairs = bounded.details["affected"]
    own = pairs[(pairs["element"] == name) & (pairs["service_id"] != name)]
    assert ((own["p_lo"] <= own["p_down"]) & (own["p_down"] <= own["p_hi"])).all()
    assert (own["p_lo"] > 0).all()


def test_what_reaches_too_much_is_not_drawn(inventory):
    policy = POLICY.replace(blast_radius={"drawn_most": 3, "drawn_pairs_max": 0})
    result = score_blast_radius(inventory, policy, detail=False)
    assert not (result.how == "draws").any()
    assert (result.frame["impact"] <= result.frame["impact_hi"]).all()


def test_the_lower_end_is_drawn_in_a_fleet_that_is_just_small_enough(
    inventory, simulated
):
    elements_n = len(simulated.frame)
    small, large = (
        score_blast_radius(
            inventory, POLICY.replace(blast_radius={"drawn_lo_most": most}), detail=False
        ).frame
        for most in (elements_n, elements_n - 1)
    )
    pd.testing.assert_frame_equal(small, simulated.frame)
    assert (large["impact_lo"] <= small["impact_lo"]).all()
    assert (large["impact_lo"] < small["impact_lo"]).any()


def test_what_a_draw_can_reach_is_reached_in_full():
    names = list("abcde")
    pairs = [("b", "a"), ("c", "a"), ("d", "b"), ("d", "c"), ("e", "d")]
    edges = pd.DataFrame(pairs, columns=["src_id", "dst_id"])
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": 1.0}),
        "dependencies": edges.assign(kind="call", evidence="traces", p=0.5),
    }
    fleet = from_frames(frames, snapshot_at="2026-09-30")
    result = score_blast_radius(fleet, POLICY)
    row = result.frame.loc[("service", "a")]
    assert result.how[("service", "a")] == "draws"
    # a, each of b and c at 1/2, d at 1 - (3/4)**2, e at half of that: of five
    assert row["impact"] == pytest.approx((1 + 1 + 7 / 16 + 7 / 32) / 5, abs=0.02)
    assert row["impact_hi"] == 1
    pairs = result.details["affected"].query("element == 'a'")
    assert pairs["p_hi"].eq(1).all()


def test_where_much_is_drawn_only_what_is_imprecise_is_drawn_more_often(inventory):
    def drawn(**settings):
        policy = POLICY.replace(blast_radius={"drawn_pairs_full": 0, **settings})
        result = score_blast_radius(inventory, policy, detail=False)
        return result.frame[result.how == "draws"], result.details["affected"]

    few, affected = drawn(draws_least=1200)
    everything, _ = drawn(drawn_pairs_full=10**6)
    assert (few["se"] <= 0.01).all()
    error = 4 * few["se"] + 1e-9
    usual = everything.loc[few.index]
    assert ((few["impact"] - usual["impact"]).abs() <= error).all()
    elements = few.index.get_level_values("element")
    p = affected.loc[affected["element"].isin(elements), "p_down"]
    is_few = np.isclose(p * 1200, np.round(p * 1200))
    assert is_few.mean() > 0.5
    # where few draws do not hold the error, there are more
    strict, _ = drawn(draws_least=20, se_max=0.01)
    assert (strict["se"] <= 0.01).all()
    assert strict["se"].tolist() != few["se"].tolist()
