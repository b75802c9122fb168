"""Proper scores and paired differences, by hand and against plain resampling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.score.validation.skill import (
    Judged,
    _Counts,
    average_precision,
    compare,
    losses,
    precision,
    reliability,
    scores,
)

REACH = ("all transitive callers", "")
RULE = ("learned", "event left out")


def judged(seed=1, *, failures=8, services=12):
    rng = np.random.default_rng(seed)
    chance = rng.random((failures, services))
    down = rng.random(chance.shape) < chance
    itself = np.zeros(chance.shape, bool)
    itself[np.arange(failures), np.arange(failures)] = True
    rules = {REACH: np.ones(chance.shape), RULE: np.round(chance, 1)}
    element = np.arange(failures) % 6
    return Judged(np.ones(chance.shape, bool), down | itself, itself, element, rules)


def test_average_precision_by_hand():
    p = np.array([0.9, 0.8, 0.8, 0.1])
    down = np.array([True, False, True, True])
    # thresholds .9, .8, .1 find 1, 2 and 3 of 3, with precision 1, 2/3 and 3/4
    assert average_precision(p, down) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert np.isnan(average_precision(p, np.zeros(4, bool)))


def test_losses_by_hand():
    p = np.array([0.5, 0.0, 1.0, 0.2])
    brier, surprise = losses(p, np.array([True, True, True, False]))
    assert brier == pytest.approx([0.25, 1.0, 0.0, 0.04])
    inside = np.array([0.5, 1e-3, 1 - 1e-3, 0.8])
    assert surprise == pytest.approx(-np.log(inside))


def test_scores_leave_out_what_failed_itself():
    case = judged()
    table = scores(case).set_index(["rule", "left_out"])
    keep = ~case.itself
    p, down = case.rules[RULE], case.down
    row = table.loc[RULE]
    assert row["brier"] == pytest.approx(((p - down) ** 2).mean())
    assert row["brier_others"] == pytest.approx(((p - down)[keep] ** 2).mean())
    want = average_precision(p[keep], down[keep])
    assert row["average_precision_others"] == pytest.approx(want)
    assert row["log_loss"] == pytest.approx(losses(p, down)[1].mean())


def test_a_bootstrap_is_that_of_whole_elements():
    case = judged()
    table = compare(case, [(RULE, REACH)], seed=3, level=0.9)
    table = table.set_index("measure")
    p, down = case.rules[RULE], case.down
    want = average_precision(p.ravel(), down.ravel()) - down.mean()
    assert table.loc["average_precision", "gain"] == pytest.approx(want)
    n = 6
    drawn = np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), 1000)
    gains = []
    for times in drawn:
        rows = np.concatenate(
            [np.flatnonzero(case.element == e) for e in np.repeat(np.arange(n), times)]
        )
        own = average_precision(p[rows].ravel(), down[rows].ravel())
        gains.append(own - down[rows].mean())
    ends = table.loc["average_precision", ["gain_lo", "gain_hi"]]
    assert ends.tolist() == pytest.approx(np.quantile(gains, [0.05, 0.95]))


def test_reliability_sets_what_was_said_beside_what_was_seen():
    table = reliability(judged()).set_index(["rule", "lo"]).loc["learned"]
    assert table["n"].sum() == 8 * 12 - 8
    assert (table.index - 1e-9 <= table["predicted"]).all()
    assert (table["predicted"] <= table["hi"] + 1e-9).all()


def test_a_prediction_at_the_edge_of_a_bin_is_the_least_in_it():
    edges = [0.0, 0.01, 0.05, *(n / 10 for n in range(1, 11))]
    p = np.array([edges])
    flags = np.ones(p.shape, bool)
    case = Judged(flags, flags, ~flags, np.zeros(1, int), {RULE: p})
    table = reliability(case)
    assert table["lo"].tolist() == edges[:-1]
    assert table["hi"].tolist() == edges[1:]
    # what is certain shares the last bin
    assert table["n"].tolist() == [1] * 11 + [2]


def test_no_failure_is_no_number():
    none = np.zeros((0, 3))
    flags = none.astype(bool)
    case = Judged(flags, flags, flags, np.empty(0, int), {REACH: none, RULE: none})
    assert scores(case)["average_precision"].isna().all()
    assert reliability(case).empty
    table = compare(case, [(RULE, REACH)], seed=1, level=0.9)
    assert (table["gain"] == 0).all()


def test_the_highest_threshold_that_finds_enough_counts():
    said = np.array([[1.0, 4.0, 8.0]])
    right = np.array([[1.0, 2.0, 4.0]])
    counts = _Counts(said, right)
    found = {goal: counts.precision_at(np.array([goal]))[0] for goal in (0.5, 1, 2, 3, 9)}
    # goals that are met exactly are met; where none is, the lowest threshold counts
    assert found == {0.5: 1.0, 1: 1.0, 2: 0.5, 3: 0.5, 9: 0.5}


def test_precision_at_one_half_and_at_the_lowest_threshold_that_finds_all():
    case = judged()
    table = precision(case, seed=1, level=0.9).set_index("rule")
    p, down = case.rules[RULE], case.down
    half, same = (table.loc[name] for name in table.index if name.startswith("learned"))
    found = [half["threshold"], half["precision"], half["recall"], half["said_n"]]
    said = p >= 0.5
    share = (said & down).sum() / down.sum()
    assert found == pytest.approx([0.5, down[said].mean(), share, said.sum()])
    # who says yes to all finds all, and so does the lowest prediction for what fell
    assert pd.isna(table.loc[REACH[0], "threshold"])
    found = [same["threshold"], same["precision"], same["recall"]]
    least = p[down].min()
    assert found == pytest.approx([least, down[p >= least].mean(), 1])
