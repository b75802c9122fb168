"""Metrics of forecasts: by hand, against scipy, and their coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assess.score import backtest as metrics

SCORE = np.array([0.1, 0.4, 0.35, 0.8, 0.4])
HIT = np.array([False, False, True, True, True])


def auc(score, hit):
    return metrics._weighted_auc(score, hit, np.ones((1, len(hit))))[0]


def test_auc_by_hand():
    """Pairs of hit and miss: .35 beats .1 only, .8 beats both, .4 beats .1 and ties with .4."""
    assert auc(SCORE, HIT) == pytest.approx((1 + 2 + 1.5) / 6)


def test_auc_is_the_statistic_of_mann_and_whitney():
    rng = np.random.default_rng(1)
    score, hit = rng.integers(0, 9, 80).astype(float), rng.random(80) < 0.4
    u = stats.mannwhitneyu(score[hit], score[~hit]).statistic
    assert auc(score, hit) == pytest.approx(u / (hit.sum() * (~hit).sum()))


def test_tau():
    minutes = np.array([0.0, 5, 3, 30, 0])
    assert metrics.tau(SCORE, minutes) == pytest.approx(
        stats.kendalltau(SCORE, minutes).statistic
    )
    assert metrics.tau(np.ones(5), minutes) == 0.0


def test_draws_are_what_copying_the_drawn_rows_gives():
    draws = metrics.resample(5, 40, 7)
    assert (draws.sum(axis=1) == 5).all()
    assert (draws == metrics.resample(5, 40, 7)).all()
    minutes = np.array([0.0, 5, 3, 30, 0])
    weighted = metrics._weighted_auc(SCORE, HIT, draws)
    taus = metrics._weighted_tau(SCORE, minutes, draws)
    for row, drawn, tau in zip(draws.astype(int), weighted, taus, strict=True):
        score, hit = np.repeat(SCORE, row), np.repeat(HIT, row)
        if 0 < hit.sum() < len(hit):
            assert drawn == pytest.approx(auc(score, hit))
        else:
            assert np.isnan(drawn)
        assert tau == pytest.approx(
            metrics.tau(score, np.repeat(minutes, row)), abs=1e-12
        )


@pytest.mark.parametrize(("services", "shift"), [(24, 0.0), (40, 0.8), (80, 1.2)])
def test_delong_covers_the_truth(services, shift):
    rng, covered = np.random.default_rng(3), []
    truth = stats.norm.cdf(shift / np.sqrt(2))
    for _ in range(500):
        hit = np.arange(services) < services // 3
        lo, hi = metrics.delong(rng.normal(shift * hit), hit)
        covered.append(lo <= truth <= hi)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_delong_leaves_room_where_nothing_was_missed():
    hit = np.arange(24) < 8
    lo, hi = metrics.delong(hit.astype(float), hit)
    assert (lo, hi) == (pytest.approx(stats.beta.ppf(0.04, 8.5, 0.5)), 1.0)
    lo, hi = metrics.delong(-hit.astype(float), hit)
    assert (lo, hi) == (0.0, pytest.approx(stats.beta.ppf(0.96, 0.5, 8.5)))


def test_a_gain_is_paired_by_service():
    """Where history errs by the same on every service, the gain has no spread, unlike the scores."""
    rng = np.random.default_rng(3)
    hit = rng.random(60) < 0.4
    score = np.where(hit, 0.6, 0.3)
    history = np.where(hit, 1 - np.sqrt(0.16 + 0.05), np.sqrt(0.09 + 0.05))
    forecast = metrics.Forecast(score, history, -score, hit, hit * 5.0)
    drawn = metrics._measured(forecast, metrics.resample(60, 50, 1))
    gain, by_history, _ = drawn["brier_gain"]
    assert gain == pytest.approx(np.full(50, 0.05))
    assert (by_history == 0).all()
    assert drawn["brier"][0].std() > 0.003
    assert (drawn["log_loss_gain"][0] > 0).all()
