"""SMAA-2: how often each alternative takes each rank, over all weights that a board could have.

Lahdelma, R. and Salminen, P. (2001). SMAA-2: Stochastic multicriteria acceptability analysis for
group decision making. Operations Research 49(3), 444-454.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK_BYTES = 2 * 2**20  # totals of a block of draws; what stays in the cache is read once
ROWS_LEAST = 32  # draws of a block, so that many alternatives are not read anew for each draw
RANKED = 2000  # alternatives up to which every rank is counted by default
PART = 64  # alternatives whose best stands for them
JITTER = 1e-9
EQUAL = 1e-9  # totals closer than this are equal


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
        Mean rank; 1 is best; NaN where no ranks were counted. [rank]
    by_rank : ndarray, shape (n, ranks)
        Share of the draws at each of the first ranks. [share 0-1]
    central_weights : ndarray, shape (n, c)
        Mean of the weights that put the alternative first; NaN where none does. [share 0-1]
    """

    p_first: Floats
    p_top: Floats
    rank_expected: Floats
    by_rank: Floats
    central_weights: Floats


def acceptability(  # noqa: PLR0913
    lo: Floats,
    hi: Floats,
    weights: Floats,
    *,
    k: int,
    rng: np.random.Generator,
    ranks: int | None = None,
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
    ranks : int, optional
        How many ranks to count; 0 finds only the first and the first k, which is several times
        faster. Without it all, or none above `RANKED` alternatives. [count]

    Returns
    -------
    Acceptability
        Shares of the draws; equals share their ranks evenly.
    """
    n, draws = len(lo), len(weights)
    counted = min(n, ranks if ranks is not None else n if n <= RANKED else 0)
    k = min(k, n)
    first, top, sums = np.zeros(n), np.zeros(n), np.zeros(n)
    at_rank, central = np.zeros((n, counted)), np.zeros_like(lo)
    if n == 0 or draws == 0:
        return Acceptability(first, top, sums, at_rank, central)
    for part, totals in _blocks(lo, hi, weights, rng):
        if counted:
            order = np.argsort(-totals, axis=1)
            place = np.empty_like(order)
            np.put_along_axis(place, order, np.arange(n)[None, :], axis=1)
            sums += place.sum(axis=0)
            best, leaders = order[:, 0], order[:, :counted]
            cells = leaders * counted + np.arange(counted)
            at_rank += np.bincount(cells.ravel(), minlength=n * counted).reshape(n, counted)
            top += np.bincount(order[:, :k].ravel(), minlength=n)
        else:
            best = totals.argmax(axis=1)
            bar = _kth_best(totals, k)[:, None]
            at = np.flatnonzero(totals >= bar) % n
            top += np.bincount(at, minlength=n)
        first += np.bincount(best, minlength=n)
        np.add.at(central, best, part)
    seen = first[:, None]
    means = np.divide(central, seen, out=np.full_like(central, np.nan), where=seen > 0)
    mean_rank = 1 + sums / draws if counted else np.full(n, np.nan)
    return Acceptability(first / draws, top / draws, mean_rank, at_rank / draws, means)


def _kth_best(totals: Floats, k: int) -> Floats:
    """Give the k-th best of each row: one of the best of its parts, so most are never looked at."""
    n = totals.shape[1]
    if n <= PART * k:
        best: Floats = np.partition(totals, n - k, axis=1)[:, n - k]
        return best
    cut = n // PART * PART
    most = totals[:, :cut].reshape(len(totals), -1, PART).max(axis=2)
    least = np.partition(most, most.shape[1] - k, axis=1)[:, most.shape[1] - k]
    return np.array([np.partition(r := row[row >= bar], len(r) - k)[len(r) - k]
                     for row, bar in zip(totals, least, strict=True)])  # fmt: skip


def bars(values: Floats, weights: Floats, k: int) -> tuple[Floats, Floats]:
    """Say what total it takes to be among the first k, draw by draw.

    Parameters
    ----------
    values : ndarray, shape (n, c)
        The alternatives that compete.
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    k : int
        Length of the short list. [count]

    Returns
    -------
    tuple of ndarray, shape (draws,)
        The k-th best total, and the one after it; below everything where so few compete.
    """
    n, draws = len(values), len(weights)
    found = [np.full(draws, -np.inf), np.full(draws, -np.inf)]
    wanted = [n - rank for rank in (k, k + 1) if n - rank >= 0]
    step = max(ROWS_LEAST, BLOCK_BYTES // (8 * max(n, 1)))
    for start in range(0, draws if wanted else 0, step):
        rows = slice(start, start + step)
        totals = np.partition(weights[rows] @ values.T, wanted, axis=1)
        for bar, place in zip(found, wanted, strict=False):
            bar[rows] = totals[:, place]
    return found[0], found[1]


def chance_of_top(
    own: Floats, weights: Floats, over: tuple[Floats, Floats], *, competes: Floats | None
) -> float:
    """Say how often one alternative would be among the first k, were it different.

    Parameters
    ----------
    own : ndarray, shape (c,)
        What it would be.
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    over : tuple of ndarray
        As `bars` gives them.
    competes : ndarray, shape (c,), optional
        What it is, where it is among those that the bars were found on.

    Returns
    -------
    float
        Share of the draws; half of those in which it ties count. [share 0-1]
    """
    kth, after = over
    bar = kth
    if competes is not None:  # it does not compete with itself
        bar = np.where(weights @ competes >= kth - EQUAL, after, kth)
    gap = weights @ own - bar
    return float(np.mean(gap > EQUAL) + 0.5 * np.mean(np.abs(gap) <= EQUAL))


def _blocks(
    lo: Floats, hi: Floats, weights: Floats, rng: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    """Weighted sums by blocks of draws, with a jitter far below any difference that matters."""
    n, wide = len(lo), np.flatnonzero((hi > lo).any(axis=0))
    width = (hi - lo).astype(np.float32)
    step = max(ROWS_LEAST, BLOCK_BYTES // (8 * n))
    for start in range(0, len(weights), step):
        part = weights[start : start + step]
        totals = part @ lo.T
        drawn = part.astype(np.float32)
        for c in wide:
            share = _uniform((len(part), n), rng)
            share *= width[:, c]
            share *= drawn[:, [c]]
            totals += share
        totals += JITTER * _uniform(totals.shape, rng)
        yield part, totals


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Uniform numbers in steps of 2^-16, at a quarter of the cost of full ones."""
    raw = np.frombuffer(rng.bytes(2 * shape[0] * shape[1]), dtype=np.uint16).reshape(shape)
    share = raw.astype(np.float32)
    share += np.float32(0.5)
    share *= np.float32(2**-16)
    return share
