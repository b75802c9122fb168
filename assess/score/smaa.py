"""SMAA-2: how often each alternative takes each rank, over all weights that a board could have.

Lahdelma, R. and Salminen, P. (2001). SMAA-2: Stochastic multicriteria acceptability analysis for
group decision making. Operations Research 49(3), 444-454.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK_BYTES = 64 * 2**20
JITTER = 1e-9


@dataclass(frozen=True)
class Acceptability:
    """What the draws gave.

    Attributes
    ----------
    p_first : ndarray, shape (n,)
        Share of the draws in which the alternative comes first. [share 0-1]
    p_top : ndarray, shape (n,)
        Share of the draws in which it is among the first k. [share 0-1]
    rank_expected : ndarray, shape (n,)
        Mean rank; 1 is best. [rank]
    by_rank : ndarray, shape (n, n)
        Share of the draws at each rank. [share 0-1]
    central_weights : ndarray, shape (n, c)
        Mean of the weights that put the alternative first; NaN where none does. [share 0-1]
    """

    p_first: Floats
    p_top: Floats
    rank_expected: Floats
    by_rank: Floats
    central_weights: Floats


def simplex_weights(draws: int, criteria_n: int, rng: np.random.Generator) -> Floats:
    """Draw weights uniformly from the simplex.

    Parameters
    ----------
    draws : int
        Number of draws. [count]
    criteria_n : int
        Number of criteria. [count]
    rng : Generator
        Source of the draws.

    Returns
    -------
    ndarray, shape (draws, criteria_n)
        Each row sums to 1. [share 0-1]
    """
    raw = rng.exponential(size=(draws, criteria_n))
    weights: Floats = raw / raw.sum(axis=1, keepdims=True)
    return weights


def acceptability(
    lo: Floats, hi: Floats, weights: Floats, *, k: int, rng: np.random.Generator
) -> Acceptability:
    """Rank the alternatives once per draw.

    Parameters
    ----------
    lo, hi : ndarray, shape (n, c)
        Ends of every measurement, high is better; drawn uniformly where they differ. [share 0-1]
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    k : int
        Length of the short list; longer than the list means everyone. [count]
    rng : Generator
        Source of the measurements and of the order among equals.

    Returns
    -------
    Acceptability
        Shares of the draws; equals share their ranks evenly.
    """
    n, criteria_n = lo.shape
    draws = len(weights)
    counts = np.zeros((n, n))
    central = np.zeros((n, criteria_n))
    if n == 0 or draws == 0:
        empty = np.zeros(n)
        return Acceptability(empty, empty, empty, counts, central)
    block = max(1, BLOCK_BYTES // (8 * n * (criteria_n + 2)))
    for start in range(0, draws, block):
        part = weights[start : start + block]
        totals = _totals(lo, hi, part, rng)
        order = np.argsort(-totals, axis=1)
        positions = order + n * np.arange(n)
        counts += np.bincount(positions.ravel(), minlength=n * n).reshape(n, n).T
        np.add.at(central, order[:, 0], part)
    by_rank = counts / draws
    firsts = counts[:, [0]]
    means = np.divide(central, firsts, out=np.full_like(central, np.nan), where=firsts > 0)
    return Acceptability(
        by_rank[:, 0], by_rank[:, :k].sum(axis=1), by_rank @ np.arange(1, n + 1), by_rank, means
    )


def _totals(lo: Floats, hi: Floats, weights: Floats, rng: np.random.Generator) -> Floats:
    """Weighted sums, shape (draws, n), with a jitter far below any difference that matters."""
    n = len(lo)
    width = hi - lo
    if width.any():
        values = lo + width * rng.random((len(weights), *lo.shape))
        totals = np.einsum("dnc,dc->dn", values, weights)
    else:
        totals = weights @ lo.T
    jittered: Floats = totals + JITTER * rng.random((len(weights), n))
    return jittered
