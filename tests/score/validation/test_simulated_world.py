"""Predictions on simulated systems, of which it is known how likely every edge fails."""

from __future__ import annotations

import pandas as pd
import pytest
from simulated_world import average_precisions, held_by_intervals, later


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


def test_what_is_published_predicts_later_failures_better_than_the_policy():
    table = pd.DataFrame(
        later(seed, family, services=24, taught=taught)
        for seed, family in ((4, "mixed"), (5, "callers"), (6, "shown"))
        for taught in (20, 100)
    )
    gain = table["use"] - table["off"]
    assert gain.mean() > 0.05
    assert gain.min() > -0.02
    assert table["inside, use"].mean() > 0.85


@pytest.mark.parametrize(
    ("noise", "taught"), [(0.0, 0), (0.01, 150)], ids=["known", "besides"]
)
def test_one_failure_falls_into_its_interval(noise, taught):
    table = pd.concat(
        held_by_intervals(7, family, services=n, noise=noise, taught=taught, times=30)
        for family, n in (("mixed", 70), ("callers", 40), ("many", 25))
    )
    # of what nothing else calls, all failures take the same
    open_ = table[table["reach"] > 1] if not noise else table
    assert 0.88 <= open_["inside"].mean() <= 0.92
    many = table[table["reach"] > 8]
    assert 0.88 <= many["inside"].mean() <= 0.92
    assert many["width"].mean() < 1.3 * many["best"].mean()
