"""SMAA-2: how often each alternative takes each rank, over all weights that a board could have.

Lahdelma, R. and Salminen, P. (2001). SMAA-2: Stochastic multicriteria acceptability analysis for
group decision making. Operations Research 49(3), 444-454.

Values and weights are rounded to a grid on which their sums are exact: the same bytes whatever the
order of adding, the size of a block or the machine, and equals are exactly equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
GRID = (
    2.0**20
)  # steps of a value and of a weight; a sum of products then fits into a float
PRODUCTS = (
    2**18
)  # of a matrix product; OpenBLAS sets threads on larger ones, at a multiple of CPU
ROWS = 64  # draws at once where alternatives are many
BLOCK_BYTES = 2**20  # totals at once; what stays in the cache is read once
POOL = 2**18  # uniform numbers that measurements are taken from
RANKED = 2000  # alternatives up to which every rank is counted by default
KEY_BITS = 22  # what a 64-bit key holds beside a total


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


def on_grid(shares: Floats) -> Floats:
    """Round values or weights so that sums of their products are exact.

    Parameters
    ----------
    shares : ndarray
        Values or weights. [share 0-1]

    Returns
    -------
    ndarray
        Multiples of 2^-20. [share 0-1]
    """
    rounded: Floats = np.rint(np.asarray(shares) * GRID) / GRID
    return rounded


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
        Shares of the draws; equals share their ranks evenly, in ``p_first`` and ``p_top`` exactly.
    """
    n, draws = len(lo), len(weights)
    counted = min(n, ranks if ranks is not None else n if n <= RANKED else 0)
    if n == 0 or draws == 0:
        none = np.zeros(n)
        return Acceptability(none, none, none, np.zeros((n, counted)), np.zeros_like(lo))
    field = _Field.of(lo, hi, weights, min(k, n), rng)
    first, top, central = _leaders(field)
    seen = first[:, None]
    means = np.divide(central, seen, out=np.full_like(central, np.nan), where=seen > 0)
    mean_rank, at_rank = np.full(n, np.nan), np.zeros((n, 0))
    if counted:
        mean_rank, at_rank = _ranks(field, counted, rng)
    return Acceptability(first / draws, top / draws, mean_rank, at_rank, means)


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
    kth, after = np.full((2, draws), -np.inf)
    if n < k or not draws:
        return kth, after
    field = _Field.of(values, values, weights, min(k + 1, n), np.random.default_rng(0))
    for rows in field.blocks():
        _, _, total, start = _best(field, rows)
        kth[rows] = total[start + k - 1]
        if n > k:
            after[rows] = total[start + k]
    return kth, after


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
        bar = np.where(totals(competes, weights) >= kth, after, kth)
    gap = totals(own, weights) - bar
    return float(np.mean(gap > 0) + 0.5 * np.mean(gap == 0))


def totals(own: Floats, weights: Floats) -> Floats:
    """Sum the values of one alternative up, draw by draw.

    Parameters
    ----------
    own : ndarray, shape (c,)
        Its values. [share 0-1]
    weights : ndarray, shape (draws, c)
        One row of weights per draw.

    Returns
    -------
    ndarray, shape (draws,)
        Exact on the grid.
    """
    summed: Floats = np.einsum("dc,c->d", on_grid(weights), on_grid(own))
    return summed


@dataclass(frozen=True)
class _Field:
    """Alternatives in tiles, those that are strong on the average in the first.

    Attributes
    ----------
    lo, span : ndarray, shape (tiles, c, width)
        Lower ends of the measurements and their widths; below everything beyond the last.
    order : ndarray, shape (n,)
        Which alternative stands at each place.
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    k : int
        Length of the short list.
    pool : ndarray
        Uniform numbers; a draw reads on from a random place, anew for each criterion.
    entries : ndarray, shape (draws, c)
        Where.
    """

    lo: Floats
    span: NDArray[np.float32]
    order: Ints
    weights: Floats
    k: int
    pool: NDArray[np.float32]
    entries: Ints

    @classmethod
    def of(
        cls, lo: Floats, hi: Floats, weights: Floats, k: int, rng: np.random.Generator
    ) -> _Field:
        """Lay the alternatives out."""
        lo, hi, weights = on_grid(lo), on_grid(hi), on_grid(weights)
        n, c = lo.shape
        order = np.argsort(-((lo + hi) @ on_grid(weights.mean(axis=0))), kind="stable")
        width = min(n, max(k, PRODUCTS // (ROWS * c)))
        width = -(-n // (n // width))  # tiles of one size
        tiles = -(-n // width)
        shape, rest = (tiles, width, c), ((0, tiles * width - n), (0, 0))
        low = np.pad(lo[order], rest, constant_values=-1.0).reshape(shape)
        span = np.pad((hi - lo)[order].astype(np.float32), rest).reshape(shape)
        pool, entries = np.zeros(0, np.float32), np.zeros((0, c), np.int64)
        if span.any():
            pool = np.pad(rng.random(POOL + n, dtype=np.float32), (0, tiles * width - n))
            entries = rng.integers(POOL, size=weights.shape)
        low, span = (
            np.ascontiguousarray(part.transpose(0, 2, 1)) for part in (low, span)
        )
        return cls(low, span, order, weights, k, pool, entries)

    @cached_property
    def wide(self) -> Ints:
        """Criteria in which a measurement is uncertain."""
        return np.flatnonzero(self.span.any(axis=(0, 2)))

    def blocks(self) -> Iterator[slice]:
        """Draws at once: as many as one product of a tile may hold."""
        _, c, width = self.lo.shape
        step = max(1, PRODUCTS // (c * width))
        return (slice(at, at + step) for at in range(0, len(self.weights), step))

    def totals(self, rows: slice, tiles: slice) -> Floats:
        """Weighted sums, by tile, draw and place in the tile."""
        weights = self.weights[rows]
        totals: Floats = np.matmul(weights, self.lo[tiles])
        if not len(self.wide):
            return totals
        width = self.lo.shape[2]
        window = sliding_window_view(self.pool, width)
        starts = width * np.arange(len(self.lo))[tiles, None]
        for c in self.wide:
            share = window[starts + self.entries[rows, c]]
            share *= self.span[tiles, c, None, :]
            share *= weights[:, c, None].astype(np.float32)
            totals += share
        exact: Floats = np.rint(totals * GRID**2) / GRID**2
        return exact


def _leaders(field: _Field) -> tuple[Floats, Floats, Floats]:
    """Count who comes first, who is among the first k, and sum the weights that put them first."""
    n, c = len(field.order), field.weights.shape[1]
    first, top, central = np.zeros(n), np.zeros(n), np.zeros((n, c))
    for rows in field.blocks():
        draw, place, total, start = _best(field, rows)
        at, share = _shares(draw, total, total[start + field.k - 1], field.k)
        top += np.bincount(place[at], share, minlength=n)
        at, share = _shares(draw, total, total[start], 1)
        first += np.bincount(place[at], share, minlength=n)
        np.add.at(central, place[at], field.weights[rows][draw[at]] * share[:, None])
    back = np.argsort(field.order)
    return first[back], top[back], central[back]


def _best(field: _Field, rows: slice) -> tuple[Ints, Ints, Floats, Ints]:
    """Draw, place and total of whatever reaches the k-th best of the first tile.

    Draw by draw, the best first; and where each draw starts.
    """
    tiles, _, width = field.lo.shape
    totals = field.totals(rows, slice(1))
    bar = np.partition(totals, width - field.k, axis=2)[:, :, width - field.k, None]
    step = max(1, BLOCK_BYTES // totals.nbytes)
    found = []
    for tile in range(0, tiles, step):
        if tiles > 1:
            totals = field.totals(rows, slice(tile, tile + step))
        at = np.flatnonzero(totals >= bar)
        strip, place = np.divmod(at, width)
        on, draw = np.divmod(strip, totals.shape[1])
        found.append((draw, (tile + on) * width + place, totals.ravel()[at]))
    draws, places, reached = map(np.concatenate, zip(*found, strict=True))
    falling = np.argsort(2 * draws - reached)  # exact, as a total is at most about 1
    draws = draws[falling]
    start = np.searchsorted(draws, np.arange(totals.shape[1]))
    return draws, places[falling], reached[falling], start


def _shares(draw: Ints, total: Floats, bar: Floats, k: int) -> tuple[Ints, Floats]:
    """Positions of the first k of each draw, and their shares of a place: equals share evenly."""
    at = np.flatnonzero(total >= bar[draw])
    draw, above = draw[at], total[at] > bar[draw[at]]
    surely = np.bincount(draw, above)
    equal = np.bincount(draw) - surely
    return at, np.where(above, 1.0, ((k - surely) / equal)[draw])


def _ranks(
    field: _Field, counted: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Give the mean rank, and the share of the draws at each of the first ranks.

    A total, random bits for the order among equals and the place are packed into one integer: to
    sort such keys is several times faster than to find an order.
    """
    n, draws = len(field.order), len(field.weights)
    place, mask = np.arange(n), 2 ** int(n - 1).bit_length() - 1
    ticket, turn = (rng.integers(2**63, size=size) for size in (n, (draws, 1)))
    at_rank, sums = np.zeros(n * counted, dtype=np.int64), np.zeros(n)
    for rows in field.blocks():
        totals = field.totals(rows, slice(None)).transpose(1, 0, 2)
        key = (totals.reshape(len(totals), -1)[:, :n] * -(GRID**2)).astype(
            np.int64
        ) << KEY_BITS
        luck = ticket * (turn[rows] | 1) >> 64 - KEY_BITS & 2**KEY_BITS - 1
        key |= luck & ~mask | place
        key.sort(axis=1)
        best = key & mask
        np.add.at(at_rank, (best[:, :counted] + n * place[:counted]).ravel(), 1)
        sums += np.bincount(best.ravel(), np.tile(place, len(best)), minlength=n)
    back = np.argsort(field.order)
    by_rank: Floats = at_rank.reshape(counted, n).T[back] / draws
    return 1 + sums[back] / draws, by_rank
