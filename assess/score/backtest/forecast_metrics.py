"""Forecast metrics: AUC, Brier score and Kendall's tau, with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from assess.score.incidents.rates import jeffreys_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ends = tuple[float, float]
LEVEL = 0.95
Z = 1.959963984540054
TAU_MOST = 1000  # services; of more, so many are drawn for the interval of tau
TAU_DRAWS = 300
CHUNK = 4_000_000  # cells of a table of draws held at once


def auc(score: Floats, hit: Bools) -> float:
    """Return the probability that a hit has a higher score than a miss, a tie counting half."""
    return float(_weighted_auc(score, hit, np.ones((1, len(hit))))[0])


def brier(chance: Floats, hit: Bools) -> float:
    """Return the mean squared distance of the probabilities from what happened."""
    return float(((chance - hit) ** 2).mean())


def tau(score: Floats, outcome: Floats) -> float:
    """Return Kendall's tau-b of two rankings; 0 where one of them ranks nothing."""
    if len(set(score)) < 2 or len(set(outcome)) < 2:
        return 0.0
    from scipy.stats import kendalltau

    return float(kendalltau(score, outcome).statistic)


def resample(n: int, draws: int, seed: int) -> Floats:
    """Draw with replacement: how often each of ``n`` is in each draw, one draw a row."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def delong(score: Floats, hit: Bools) -> Ends:
    """Return the interval of the AUC by DeLong's variance on the logit scale.

    Covers 95 % from 20 on (DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595). Where the
    two kinds are told apart without a miss there is no variance: then each of the rarer kind counts
    as one success of Jeffreys' interval.
    """
    yes = score[hit]
    no = score[~hit]
    wins = np.sign(yes[:, None] - no[None, :]) / 2 + 0.5
    value = float(wins.mean())
    variance = _spread(wins.mean(axis=1)) + _spread(wins.mean(axis=0))
    if value in (0.0, 1.0) or variance == 0:
        n = min(wins.shape)
        return jeffreys_interval(value * n, n, level=LEVEL)[1:]
    middle = math.log(value / (1 - value))
    half = Z * math.sqrt(variance) / (value * (1 - value))
    lo, hi = (1 / (1 + math.exp(-(middle + side))) for side in (-half, half))
    return lo, hi


def _spread(means: Floats) -> float:
    return float(means.var(ddof=1) / len(means)) if len(means) > 1 else 0.0


def _weighted_auc(score: Floats, hit: Bools, draws: Floats) -> Floats:
    """Return the AUC in each draw; NaN where a draw holds one kind only."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    values = np.empty(len(draws))
    step = max(CHUNK // max(len(hit), 1), 1)
    for first in range(0, len(draws), step):
        rows = draws[first : first + step, order]
        yes, no = (
            np.add.reduceat(rows * kind, starts, axis=1)
            for kind in (hit[order], ~hit[order])
        )
        wins = (yes * (np.cumsum(no, axis=1) - no / 2)).sum(axis=1)
        pairs = yes.sum(axis=1) * no.sum(axis=1)
        values[first : first + step] = np.divide(
            wins, pairs, out=np.full(len(rows), np.nan), where=pairs > 0
        )
    return values


def _weighted_tau(score: Floats, outcome: Floats, draws: Floats) -> Floats:
    """Return Kendall's tau-b in each draw."""
    first, second = (np.sign(x[:, None] - x[None, :]) for x in (score, outcome))

    def total(table: Floats) -> Floats:
        sums: Floats = ((draws @ table) * draws).sum(axis=1)
        return sums

    scale = np.sqrt(total(first**2) * total(second**2))
    return np.divide(
        total(first * second), scale, out=np.zeros(len(draws)), where=scale > 0
    )


def ends_of(values: Floats) -> Ends:
    """Return the middle 95 % of the draws."""
    lo, hi = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lo), float(hi)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Every metric of a forecast and of its baselines in the same draws, so that they compare.

    ``ours`` and ``theirs`` are probabilities, by the score and by history alone; ``lack`` is the
    lack of readiness, ``base`` the share that was hit.
    """

    ours: Floats
    theirs: Floats
    lack: Floats
    hit: Bools
    minutes: Floats
    draws: Floats
    base: float

    def ends(self) -> dict[str, Ends]:
        """Return the interval of each metric."""
        return {name: ends_of(values[0]) for name, values in self._draws.items()}

    def better(self) -> dict[str, tuple[bool, bool]]:
        """Return whether each metric is better than chance, and than history, by its interval."""
        return {
            name: (ends_of(gain)[0] > 0, ends_of(paired)[0] > 0)
            for name, (_, gain, paired) in self._draws.items()
        }

    @cached_property
    def _draws(self) -> dict[str, tuple[Floats, Floats, Floats]]:
        """By metric: its value, its gain over chance, and over history, in each draw."""
        auc_ours = _weighted_auc(self.ours, self.hit, self.draws)
        auc_history = _weighted_auc(self.theirs, self.hit, self.draws)
        auc_lack = _weighted_auc(self.lack, self.hit, self.draws)
        n = len(self.hit)
        brier_ours, brier_history, brier_base = (
            self.draws @ (chance - self.hit) ** 2 / n
            for chance in (self.ours, self.theirs, np.full(n, self.base))
        )
        # tau compares pairs: of a large fleet every k-th service and fewer draws are enough
        places = np.arange(n)[:: max(math.ceil(n / TAU_MOST), 1)]
        rows = self.draws[:TAU_DRAWS, places] if n > TAU_MOST else self.draws[:, places]
        gain = auc_ours - auc_history
        tau_ours, tau_history = (
            _weighted_tau(score[places], self.minutes[places], rows)
            for score in (self.ours, self.theirs)
        )
        return {
            "auc": (auc_ours, auc_ours - 0.5, gain),
            "auc_gain": (gain, auc_ours - 0.5, gain),
            "brier": (brier_ours, brier_base - brier_ours, brier_history - brier_ours),
            "kendall_tau": (tau_ours, tau_ours, tau_ours - tau_history),
            "auc_readiness": (auc_lack, auc_lack - 0.5, auc_lack - auc_history),
        }
