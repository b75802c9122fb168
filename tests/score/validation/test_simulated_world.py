"""Predictions on simulated systems, of which it is known how likely every edge fails."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_world import average_precisions, calls, expit, fallen

from assess.inventory import from_frames
from assess.policy.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius

POLICY = load_policy()


def test_learning_beats_simpler_rules_for_seen_and_unseen_elements():
    # families whose edges differ: by nothing but themselves, by who calls, and by fault
    table = pd.DataFrame(
        average_precisions(seed, family, services=services)
        for family in ("mixed", "callers", "faults")
        for seed, services in ((0, 40), (1, 12))
    ).mean()
    for left_out in ("event left out", "element left out"):
        learned = table[f"learned, {left_out}"]
        assert learned > table["all transitive callers"] + 0.1
        assert learned > table[f"flat p, {left_out}"]
        assert learned > table["direct callers"]


@pytest.mark.parametrize("seed", [1, 2])
def test_one_failure_falls_into_its_interval(seed):
    rng = np.random.default_rng(seed)
    n = 60
    names = np.array([f"s{i:02}" for i in range(n)])
    pairs = calls(rng, n)
    p = expit(rng.normal(0, 1.5, len(pairs)))
    weight = rng.lognormal(0, 1, n)
    edges = {
        "src_id": names[pairs[:, 0]],
        "dst_id": names[pairs[:, 1]],
        "kind": "call",
        "evidence": "known",
        "p": p,
    }
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": weight}),
        "dependencies": pd.DataFrame(edges),
    }
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    table = score_blast_radius(inventory, POLICY, detail=False).frame.loc["service"]
    inside = []
    for element in np.flatnonzero(table.loc[names, "services_down_n"] > 20):
        ends = table.loc[names[element]]
        for _ in range(40):
            down = fallen(rng, pairs, p, element, n, noise=0)
            share = weight[down].sum() / weight.sum()
            inside.append(ends["next_lo"] - 1e-9 <= share <= ends["next_hi"] + 1e-9)
    assert len(inside) > 400
    # quantiles of what comes in steps hold a little more than they say
    assert 0.88 <= np.mean(inside) <= 0.96
    assert (table["impact_lo"] <= table["impact"]).all()
    assert (table["next_lo"] <= table["next_hi"]).all()
