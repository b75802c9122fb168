"""SMAA-2: how often each alternative takes each rank, over all possible weights.

Lahdelma, R. and Salminen, P. (2001). SMAA-2: Stochastic multicriteria acceptability analysis
for group decision making. Operations Research 49(3), 444-454.

Values and weights are rounded to a grid on which their sums are exact: the result has the
same bytes whatever the order of adding, the size of a block or the machine, and equals are
exactly equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# steps of a value and of a weight; a sum of products then fits into a float
GRID = 2.0**20
# of a matrix product; OpenBLAS starts threads on larger ones, which costs several times the CPU
PRODUCTS = 2**18
ROWS = 64  # draws at once where alternatives are many
BLOCK_BYTES = 2**20  # totals at once, so that they stay in the cache
POOL = 2**18  # uniform numbers that measurements are drawn from
RANKED = 2000  # alternatives up to which every rank is counted by default
# what a 64-bit key holds beside a total, which takes twice the 20 bits of the grid
KEY_BITS = 22


@dataclass(frozen=True)
class Acceptability:
    """What the draws showed.

    Attributes
    ----------
    p_first, p_top : ndarray, shape (n,)
        Share of the draws in which the alternative is first, and among the first k. [0-1]
    rank_expected : ndarray, shape (n,)
        Mean rank; 1 is best; NaN where no ranks were counted. [rank]
    by_rank : ndarray, shape (n, ranks)
        Share of the draws at each of the first ranks. [0-1]
    central_weights : ndarray, shape (n, c)
        Mean of the weights that put the alternative first; NaN where none does. [0-1]
    """

    p_first: Floats
    p_top: Floats
    rank_expected: Floats
    by_rank: Floats
    central_weights: Floats


def on_grid(shares: Floats) -> Floats:
    """Round values or weights to multiples of 2^-20, so that sums of products are exact."""
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
        Bounds of every measurement, high is better; drawn uniformly between them. [0-1]
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    k : int
        Length of the short list; longer than the list means everyone. [count]
    rng : Generator
        Source of the measurements and of the order among equals.
    ranks : int, optional
        How many ranks to count; 0 finds only the first and the first k, which is several
        times faster. By default all, or none above `RANKED` alternatives. [count]

    Returns
    -------
    Acceptability
        Equals share their ranks evenly, in ``p_first`` and ``p_top`` exactly.
    """
    n = len(lo)
    draws = len(weights)
    if ranks is None:
        ranks = n if n <= RANKED else 0
    counted = min(n, ranks)
    if n == 0 or draws == 0:
        none = np.zeros(n)
        return Acceptability(none, none, none, np.zeros((n, counted)), np.zeros_like(lo))
    field = _Field.of(lo, hi, weights, min(k, n), rng)
    first, top, weight_sums = _leaders(field)
    wins = first[:, None]
    central = np.full_like(weight_sums, np.nan)
    np.divide(weight_sums, wins, out=central, where=wins > 0)
    mean_rank = np.full(n, np.nan)
    by_rank = np.zeros((n, 0))
    if counted:
        mean_rank, by_rank = _ranks(field, counted, rng)
    return Acceptability(first / draws, top / draws, mean_rank, by_rank, central)


def totals_at(values: Floats, weights: Floats, ranks: Sequence[int]) -> Floats:
    """Return the totals at some ranks, shape (ranks, draws); -inf where fewer compete."""
    n = len(values)
    by_rank = np.full((len(ranks), len(weights)), -np.inf)
    if not by_rank.size or not n:
        return by_rank
    last = min(max(ranks), n)
    field = _Field.of(values, values, weights, last, np.random.default_rng(0))
    for rows in field.blocks():
        _, _, total, start = _best(field, rows)
        for at, rank in enumerate(ranks):
            if rank <= n:
                by_rank[at, rows] = total[start + rank - 1]
    return by_rank


def totals(values: Floats, weights: Floats) -> Floats:
    """Sum the values of one alternative, shape (c,), by draw; exact on the grid."""
    summed: Floats = np.einsum("dc,c->d", on_grid(weights), on_grid(values))
    return summed


@dataclass(frozen=True)
class _Field:
    """Alternatives in tiles; those that are strong on average are in the first tile.

    Attributes
    ----------
    lo, span : ndarray, shape (tiles, c, width)
        Lower bounds of the measurements and their widths; padding is below everything.
    order : ndarray, shape (n,)
        The alternative at each place.
    weights : ndarray, shape (draws, c)
        One row of weights per draw.
    k : int
        Length of the short list.
    pool : ndarray
        Uniform numbers; a draw reads on from a random place, anew for each criterion.
    entries : ndarray, shape (draws, c)
        These places.
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
        """Sort the alternatives by their average and cut them into tiles."""
        lo = on_grid(lo)
        hi = on_grid(hi)
        weights = on_grid(weights)
        n, c = lo.shape
        order = np.argsort(-((lo + hi) @ on_grid(weights.mean(axis=0))), kind="stable")
        width = min(n, max(k, PRODUCTS // (ROWS * c)))
        width = -(-n // (n // width))  # tiles of one size
        tiles = -(-n // width)
        shape = (tiles, width, c)
        padding = tiles * width - n
        rest = ((0, padding), (0, 0))
        low = np.pad(lo[order], rest, constant_values=-1.0).reshape(shape)
        span = np.pad((hi - lo)[order].astype(np.float32), rest).reshape(shape)
        pool = np.zeros(0, np.float32)
        entries = np.zeros((0, c), np.int64)
        if span.any():
            pool = np.pad(rng.random(POOL + n, dtype=np.float32), (0, padding))
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
        """Return slices of draws, each as long as one product of a tile may hold."""
        _, c, width = self.lo.shape
        step = max(1, PRODUCTS // (c * width))
        return (slice(at, at + step) for at in range(0, len(self.weights), step))

    def totals(self, rows: slice, tiles: slice) -> Floats:
        """Return weighted sums by tile, draw and place in the tile."""
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
    """Count who is first and who is among the first k; sum the weights of the first."""
    n = len(field.order)
    first = np.zeros(n)
    top = np.zeros(n)
    weight_sums = np.zeros((n, field.weights.shape[1]))
    for rows in field.blocks():
        draw, place, total, start = _best(field, rows)
        at, share = _shares(draw, total, total[start + field.k - 1], field.k)
        top += np.bincount(place[at], share, minlength=n)
        at, share = _shares(draw, total, total[start], 1)
        first += np.bincount(place[at], share, minlength=n)
        np.add.at(weight_sums, place[at], field.weights[rows][draw[at]] * share[:, None])
    back = np.argsort(field.order)
    return first[back], top[back], weight_sums[back]


def _best(field: _Field, rows: slice) -> tuple[Ints, Ints, Floats, Ints]:
    """Return draw, place and total of what reaches the k-th best of the first tile.

    They are sorted by draw, the best first; the fourth array is where each draw starts.
    """
    tiles, _, width = field.lo.shape
    totals = field.totals(rows, slice(1))
    bar = np.partition(totals, width - field.k, axis=2)[:, :, width - field.k, None]
    step = max(1, BLOCK_BYTES // totals.nbytes)
    parts = []
    for tile in range(0, tiles, step):
        if tiles > 1:
            totals = field.totals(rows, slice(tile, tile + step))
        at = np.flatnonzero(totals >= bar)
        strip, place = np.divmod(at, width)
        on, draw = np.divmod(strip, totals.shape[1])
        parts.append((draw, (tile + on) * width + place, totals.ravel()[at]))
    draws, places, reached = map(np.concatenate, zip(*parts, strict=True))
    falling = np.argsort(2 * draws - reached)  # exact, as a total is at most about 1
    draws = draws[falling]
    start = np.searchsorted(draws, np.arange(totals.shape[1]))
    return draws, places[falling], reached[falling], start


def _shares(draw: Ints, total: Floats, bar: Floats, k: int) -> tuple[Ints, Floats]:
    """Return positions of the first k of each draw, and the share of a place of each."""
    at = np.flatnonzero(total >= bar[draw])
    draw = draw[at]
    above = total[at] > bar[draw]
    surely = np.bincount(draw, above)
    equal = np.bincount(draw) - surely  # these share the places that are left
    return at, np.where(above, 1.0, ((k - surely) / equal)[draw])


def _ranks(
    field: _Field, counted: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the mean rank, and the share of the draws at each of the first ranks.

    A total, random bits for the order among equals and the place are packed into one
    integer: sorting such keys is several times faster than `argsort`.
    """
    n = len(field.order)
    draws = len(field.weights)
    place = np.arange(n)
    mask = 2 ** int(n - 1).bit_length() - 1
    ticket = rng.integers(2**63, size=n)
    turn = rng.integers(2**63, size=(draws, 1))
    at_rank = np.zeros(n * counted, dtype=np.int64)
    sums = np.zeros(n)
    for rows in field.blocks():
        totals = field.totals(rows, slice(None)).transpose(1, 0, 2)
        steps = totals.reshape(len(totals), -1)[:, :n] * -(GRID**2)
        key = steps.astype(np.int64) << KEY_BITS
        luck = ticket * (turn[rows] | 1) >> 64 - KEY_BITS & 2**KEY_BITS - 1
        key |= luck & ~mask | place
        key.sort(axis=1)
        best = key & mask
        np.add.at(at_rank, (best[:, :counted] + n * place[:counted]).ravel(), 1)
        sums += np.bincount(best.ravel(), np.tile(place, len(best)), minlength=n)
    back = np.argsort(field.order)
    by_rank: Floats = at_rank.reshape(counted, n).T[back] / draws
    return 1 + sums[back] / draws, by_rank
