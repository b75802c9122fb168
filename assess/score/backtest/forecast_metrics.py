"""How good forecasts are: AUC, Brier score and Kendall's tau, with their intervals."""

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
    """Probability that a hit has a higher score than a miss, a tie counting half."""
    return float(_weighted_auc(score, hit, np.ones((1, len(hit))))[0])


def brier(chance: Floats, hit: Bools) -> float:
    """Mean squared distance of the probabilities from what happened."""
    return float(((chance - hit) ** 2).mean())


def tau(score: Floats, outcome: Floats) -> float:
    """Kendall's tau-b of two rankings; 0 where one of them ranks nothing."""
    if len(set(score)) < 2 or len(set(outcome)) < 2:
        return 0.0
    if len(score) <= TAU_MOST:  # pair by pair is quicker than to load a library
        return float(_weighted_tau(score, outcome, np.ones((1, len(score))))[0])
    from scipy.stats import kendalltau

    return float(kendalltau(score, outcome).statistic)


def resample(n: int, draws: int, seed: int) -> Floats:
    """Draw with replacement: how often each of ``n`` is in each draw, one draw a row."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def delong(score: Floats, hit: Bools) -> Ends:
    """Interval of the AUC by DeLong's variance on the logit scale.

    Covers 95 % from 20 on (DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595). Where the
    two kinds are told apart without a miss there is no variance: then each of the rarer kind counts
    as one success of Jeffreys' interval.
    """
    yes, no = score[hit], score[~hit]
    wins = np.sign(yes[:, None] - no[None, :]) / 2 + 0.5
    found = float(wins.mean())
    variance = _spread(wins.mean(axis=1)) + _spread(wins.mean(axis=0))
    if found in (0.0, 1.0) or variance == 0:
        n = min(wins.shape)
        return jeffreys_interval(found * n, n, level=LEVEL)[1:]
    middle = math.log(found / (1 - found))
    half = Z * math.sqrt(variance) / (found * (1 - found))
    lo, hi = (1 / (1 + math.exp(-(middle + side))) for side in (-half, half))
    return lo, hi


def _spread(means: Floats) -> float:
    return float(means.var(ddof=1) / len(means)) if len(means) > 1 else 0.0


def _weighted_auc(score: Floats, hit: Bools, draws: Floats) -> Floats:
    """AUC in each draw; NaN where a draw holds one kind only."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    found = np.empty(len(draws))
    step = max(CHUNK // max(len(hit), 1), 1)
    for first in range(0, len(draws), step):
        rows = draws[first : first + step, order]
        yes, no = (
            np.add.reduceat(rows * kind, starts, axis=1)
            for kind in (hit[order], ~hit[order])
        )
        wins = (yes * (np.cumsum(no, axis=1) - no / 2)).sum(axis=1)
        pairs = yes.sum(axis=1) * no.sum(axis=1)
        found[first : first + step] = np.divide(
            wins, pairs, out=np.full(len(rows), np.nan), where=pairs > 0
        )
    return found


def _weighted_tau(score: Floats, outcome: Floats, draws: Floats) -> Floats:
    """Kendall's tau-b in each draw."""
    first, second = (np.sign(x[:, None] - x[None, :]) for x in (score, outcome))

    def total(table: Floats) -> Floats:
        sums: Floats = ((draws @ table) * draws).sum(axis=1)
        return sums

    scale = np.sqrt(total(first**2) * total(second**2))
    return np.divide(
        total(first * second), scale, out=np.zeros(len(draws)), where=scale > 0
    )


def ends_of(values: Floats) -> Ends:
    """Take the middle 95 % of the draws."""
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
        """Interval of each metric."""
        return {name: ends_of(values[0]) for name, values in self._draws.items()}

    def better(self) -> dict[str, tuple[bool, bool]]:
        """Whether each metric is better than chance, and than history alone, by its interval."""
        return {
            name: (ends_of(gain)[0] > 0, ends_of(paired)[0] > 0)
            for name, (_, gain, paired) in self._draws.items()
        }

    @cached_property
    def _draws(self) -> dict[str, tuple[Floats, Floats, Floats]]:
        """By metric: its value, its gain over chance, and over history, in each draw."""
        one, two, three = (
            _weighted_auc(score, self.hit, self.draws)
            for score in (self.ours, self.theirs, self.lack)
        )
        n = len(self.hit)
        off, off_history, off_base = (
            self.draws @ (chance - self.hit) ** 2 / n
            for chance in (self.ours, self.theirs, np.full(n, self.base))
        )
        places = np.arange(n)[:: max(math.ceil(n / TAU_MOST), 1)]
        rows = self.draws[:TAU_DRAWS, places] if n > TAU_MOST else self.draws[:, places]
        rank, rank_history = (
            _weighted_tau(score[places], self.minutes[places], rows)
            for score in (self.ours, self.theirs)
        )
        return {
            "auc": (one, one - 0.5, one - two),
            "auc_gain": (one - two, one - 0.5, one - two),
            "brier": (off, off_base - off, off_history - off),
            "kendall_tau": (rank, rank, rank - rank_history),
            "auc_readiness": (three, three - 0.5, three - two),
        }
