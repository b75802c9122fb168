"""Rivals: what total a service has to beat, draw by draw, to be on the short list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assess.score.what_next.smaa import on_grid, totals

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rival:
    """What it takes to be among the first k, for one service.

    Attributes
    ----------
    base : ndarray, shape (draws,)
        Its total without readiness.
    weight : ndarray, shape (draws,)
        Weight of readiness.
    bar : ndarray, shape (draws,)
        Total that it has to beat.
    """

    base: Floats
    weight: Floats
    bar: Floats

    def chances(self, readiness_lo: Floats) -> Floats:
        """Give the pessimistic chance of the short list for each of some readinesses [points]."""
        gap = self.bar - self.base
        always = (self.weight == 0) & (gap == 0)  # it ties, whatever its readiness
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(self.weight > 0, gap / self.weight, np.sign(gap) * np.inf)
        needed = np.sort(np.where(always, np.inf, needed))
        own = on_grid(np.clip(readiness_lo / 100, 0, 1))
        beaten = np.searchsorted(needed, own, side="left")
        tied = np.searchsorted(needed, own, side="right") - beaten
        share: Floats = (beaten + (tied + always.sum()) / 2) / len(needed)
        return share


def rival_of(
    own: Floats,
    readiness: int,
    weights: Floats,
    over: tuple[Floats, Floats],
    *,
    competes: bool,
) -> Rival:
    """Say what a service competes with.

    Parameters
    ----------
    own : ndarray, shape (c,)
        Worst end of each of its criteria. [share 0-1]
    readiness : int
        Which criterion is readiness.
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    over : tuple of ndarray
        As `smaa.bars` gives them.
    competes : bool
        Whether it is among those that the bars were found on: it does not compete with itself.

    Returns
    -------
    Rival
        See there.
    """
    kth, after = over
    total, weight = totals(own, weights), on_grid(weights[:, readiness])
    bar = np.where(total >= kth, after, kth) if competes else kth
    return Rival(total - weight * on_grid(own[readiness]), weight, bar)
