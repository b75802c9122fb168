"""SMAA-2: how often each alternative takes each rank, over all weights that preferences allow.

Lahdelma, R. and Salminen, P. (2001). SMAA-2: Stochastic multicriteria acceptability analysis
for group decision making. Operations Research 49(3), 444-454.

Values and weights are rounded to a grid on which their sums are exact: the result has the same bytes
whatever the order of adding, the size of a block or the machine, and equals are exactly equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from assess.errors import PolicyError
from assess.policy.problems import SLACK, board_problems
from assess.score import Floats, Integers, frozen

# steps of a value and of a weight; a sum of products then fits into a float
GRID = 2.0**20
# of a matrix product; OpenBLAS starts threads on larger ones, which costs several times the CPU
PRODUCTS = 2**18
ROWS = 64  # draws at once where alternatives are many
BLOCK_BYTES = 2**20  # totals at once, so that they stay in the cache
POOL = 2**18  # uniform numbers that measurements are drawn from
# what a 64-bit key holds beside a total, which takes twice the 20 bits of the grid
KEY_BITS = 22
ROUNDS = 500  # of rejection; beyond, the intervals leave next to no room


# ---- weights: every draw is exact and uniform, no Markov chain has to converge ----


def simplex_weights(draws: int, criteria_n: int, rng: np.random.Generator) -> Floats:
    """Draw weights uniformly from the simplex, shape (draws, criteria_n) [share 0-1].

    Exponential variables divided by their sum are uniform on the simplex: Rubinstein, R.
    (1982). Generating random vectors uniformly distributed inside and on the surface of
    different regions. European Journal of Operational Research 10(2), 205-209.
    """
    # exact, and one pass: no rejection, no Markov chain
    raw = rng.exponential(size=(draws, criteria_n))
    return raw / raw.sum(axis=1, keepdims=True)


def ordered_weights(
    order: Sequence[int], draws: int, criteria_n: int, rng: np.random.Generator
) -> Floats:
    """Draw weights that fall in an order of criteria, the weightiest first.

    Criteria left out weigh no more than the last of the order.

    A uniform point is sorted, and its smallest parts go to the others at random. The mean is
    the centroid of the order (rank-order centroid).
    """
    falling = -np.sort(-simplex_weights(draws, criteria_n, rng), axis=1)
    # criteria that are not ordered share the smaller weights at random
    others = [c for c in range(criteria_n) if c not in set(order)]
    weights = np.empty_like(falling)
    weights[:, list(order)] = falling[:, : len(order)]
    weights[:, others] = rng.permuted(falling[:, len(order) :], axis=1)
    return weights


def interval_weights(
    lo: Floats, hi: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """Draw weights uniformly from the simplex between `lo` and `hi`, shape (criteria_n,).

    Raises PolicyError where no weights, or next to none, lie between them.

    What lies above the lower ends is a smaller simplex, and so is what lies below the upper
    ends. The smaller of the two is drawn from, and what breaks the other ends is rejected.
    """
    low = lo.sum()
    high = hi.sum()
    if (lo > hi).any() or low > 1 + SLACK or high < 1 - SLACK:
        raise PolicyError(
            f"no weights lie between these ends: the lower ones sum to {low:.3g}, the upper "
            f"ones to {high:.3g}, and 1 has to lie between them"
        )
    room_up = max(1 - low, 0.0)
    room_down = max(high - 1, 0.0)
    parts: list[Floats] = []
    missing = draws
    for _ in range(ROUNDS):
        share = simplex_weights(max(draws, 1), len(lo), rng)
        # the smaller simplex around the region: fewer draws are rejected
        drawn = lo + room_up * share if room_up <= room_down else hi - room_down * share
        fits = ((drawn >= lo - SLACK) & (drawn <= hi + SLACK)).all(axis=1)
        accepted = drawn[fits][:missing]
        parts.append(accepted)
        missing -= len(accepted)
        if missing == 0:
            return np.concatenate(parts)
    raise PolicyError(
        f"of {ROUNDS * draws:,} weights drawn only {draws - missing} lie between these ends",
        hint="widen the intervals, or give the board fixed weights",
    )


def draw(
    board: Mapping[str, Any],
    criteria: Sequence[str],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Draw the weights that a board allows, shape (draws, criteria) [share 0-1].

    The board has an ``order`` (names, the weightiest first), ``intervals`` (name: [lo, hi]) or
    ``weights`` (name: number; what is left out weighs nothing); with none of them any weights are
    allowed. Raises PolicyError where no weights fit.
    """
    wrong = list(board_problems(board, criteria))
    if wrong:
        raise PolicyError(f"board {board.get('id', '?')} " + "; ".join(wrong))
    n = len(criteria)
    if board.get("order"):
        return ordered_weights([criteria.index(c) for c in board["order"]], draws, n, rng)
    if intervals := board.get("intervals"):
        ends = np.array([intervals.get(c, (0.0, 1.0)) for c in criteria], dtype=float)
        return interval_weights(ends[:, 0], ends[:, 1], draws, rng)
    if weights := board.get("weights"):
        fixed = np.array([weights.get(c, 0.0) for c in criteria], dtype=float)
        return np.tile(fixed / fixed.sum(), (draws, 1))
    return simplex_weights(draws, n, rng)


@frozen
class Acceptability:
    """Result of the draws for n alternatives and c criteria.

    ``p_first, p_top`` (n): share of the draws in which the alternative is first, and among the
    first k. ``rank_expected`` (n): mean rank, 1 is best, NaN where no ranks were counted.
    ``by_rank`` (n, ranks): share of the draws at each of the first ranks. ``central_weights``
    (n, c): mean of the weights that put the alternative first, NaN where none does.
    """

    p_first: Floats
    p_top: Floats
    rank_expected: Floats
    by_rank: Floats
    central_weights: Floats


def on_grid(shares: Floats) -> Floats:
    """Round values or weights to multiples of 2^-20, so that sums of products are exact."""
    return np.rint(np.asarray(shares) * GRID) / GRID


def acceptability(  # noqa: PLR0913
    lo: Floats,
    hi: Floats,
    weights: Floats,
    *,
    k: int,
    rng: np.random.Generator,
    ranks: int,
) -> Acceptability:
    """Rank n alternatives once per row of ``weights``, shape (draws, c).

    Measurements are drawn uniformly between ``lo`` and ``hi``, shape (n, c), high is better [0-1];
    `rng` draws them and the order among equals. Equals share their ranks evenly, in ``p_first`` and
    ``p_top`` exactly. A short list of `k` that is longer than the list means everyone. ``ranks``
    counts the first ranks; 0 finds only the first and the first k, which is several times faster.
    """
    n = len(lo)
    k = min(k, n)
    draws = len(weights)
    counted = min(n, ranks)
    if n == 0 or draws == 0:
        none = np.zeros(n)
        return Acceptability(none, none, none, np.zeros((n, counted)), np.zeros_like(lo))
    field, copies, kind = _merged(lo, hi, weights, k, rng)
    first, top, weight_sums = (sums[kind] for sums in _leaders(field, copies, k))
    wins = first[:, None]
    central = np.full_like(weight_sums, np.nan)
    np.divide(weight_sums, wins, out=central, where=wins > 0)
    mean_rank = np.full(n, np.nan)
    by_rank = np.zeros((n, 0))
    if counted:
        # tied alternatives take turns at the ranks
        if not len(field.wide):
            field = _Field.of(lo, hi, weights, k, rng)
        mean_rank, by_rank = _ranks(field, counted, rng)
    return Acceptability(
        p_first=first / draws,
        p_top=top / draws,
        rank_expected=mean_rank,
        by_rank=by_rank,
        central_weights=central,
    )


class CutOff(NamedTuple):
    """The k-th best total and the next one, by draw; -inf where fewer compete."""

    kth: Floats
    after: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats, k: int) -> Self:
        """Find the cut-off among competing alternatives, shape (n, c), over (draws, c)."""
        found = np.full((2, len(weights)), -np.inf)
        if not len(weights) or len(values) < k:
            return cls(*found)
        rng = np.random.default_rng(0)  # of no effect: nothing is left to draw
        field, copies, _ = _merged(values, values, weights, k + 1, rng)
        for rows in field.blocks():
            draw, place, total = _best(field, rows)
            above, equal = _standing(draw, total, copies[place])
            for ends, n in zip(found, (k, k + 1), strict=True):
                is_nth = (above < n) & (above + equal >= n)
                ends[rows][draw[is_nth]] = total[is_nth]
        return cls(*found)


def totals(values: Floats, weights: Floats) -> Floats:
    """Sum the values of one alternative, shape (c,), by draw; weights are on the grid: exact."""
    return np.einsum("dc,c->d", weights, on_grid(values))


@frozen
class _Field:
    """Alternatives in tiles; alternatives with a high average are in the first tile.

    ``lo, span``, shape (tiles, c, width): lower bounds of the measurements and their widths; padding
    is below everything. ``order`` (n): the alternative at each place. ``weights``, shape (draws, c).
    ``pool``: uniform numbers, of which a draw reads on from the places ``entries``, shape (draws, c).
    """

    lo: Floats
    span: NDArray[np.float32]
    order: Integers
    weights: Floats
    k: int
    pool: NDArray[np.float32]
    entries: Integers

    @classmethod
    def of(
        cls, lo: Floats, hi: Floats, weights: Floats, k: int, rng: np.random.Generator
    ) -> _Field:
        """Sort the alternatives by their average and cut them into tiles."""
        lo = on_grid(lo)
        hi = on_grid(hi)
        weights = on_grid(weights)
        n, c = lo.shape
        # the k-th best of a strong first tile excludes nearly all of the others
        mean_weights = on_grid(weights.mean(axis=0))
        averages = (lo + hi) @ mean_weights
        order = np.argsort(-averages, kind="stable")
        width = min(n, max(k, PRODUCTS // (ROWS * c)))
        width = -(-n // (n // width))  # tiles of one size
        tiles = -(-n // width)
        padding = tiles * width - n
        rest = ((0, padding), (0, 0))
        low = np.pad(lo[order], rest, constant_values=-1.0)
        span = np.pad((hi - lo)[order].astype(np.float32), rest)
        pool = np.zeros(0, np.float32)
        entries = np.zeros((0, c), np.int64)
        if span.any():
            numbers = rng.random(POOL + n, dtype=np.float32)
            pool = np.pad(numbers, (0, padding))
            entries = rng.integers(POOL, size=weights.shape)
        shape = (tiles, width, c)
        return cls(
            lo=low.reshape(shape).transpose(0, 2, 1).copy(),
            span=span.reshape(shape).transpose(0, 2, 1).copy(),
            order=order,
            weights=weights,
            k=k,
            pool=pool,
            entries=entries,
        )

    @cached_property
    def wide(self) -> Integers:
        """Criteria with uncertain measurements."""
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
        return np.rint(totals * GRID**2) / GRID**2


def _merged(
    lo: Floats, hi: Floats, weights: Floats, k: int, rng: np.random.Generator
) -> tuple[_Field, Integers, Integers]:
    """Return a field without equals, the copies of each place, and by alternative its kind."""
    one = kind = np.arange(len(lo))
    # where measurements are drawn, each alternative has its own
    if not (lo < hi).any():
        _, one, kind = np.unique(
            on_grid(lo), axis=0, return_index=True, return_inverse=True
        )
    most = min(k, len(one))
    field = _Field.of(lo[one], hi[one], weights, most, rng)
    return field, np.bincount(kind)[field.order], kind


def _leaders(field: _Field, copies: Integers, k: int) -> tuple[Floats, Floats, Floats]:
    """Count first and first k places of one of ``copies`` equals each; sum the winners' weights."""
    n = len(field.order)
    first = np.zeros(n)
    top = np.zeros(n)
    weight_sums = np.zeros((n, field.weights.shape[1]))
    for rows in field.blocks():
        draw, place, total = _best(field, rows)
        above, equal = _standing(draw, total, copies[place])
        # equals share the places that are left
        share = np.clip((k - above) / equal, 0, 1)
        top += np.bincount(place, share, minlength=n)
        wins = above == 0
        share = 1 / equal[wins]
        weights = field.weights[rows][draw[wins]] * share[:, None]
        first += np.bincount(place[wins], share, minlength=n)
        np.add.at(weight_sums, place[wins], weights)
    back = np.argsort(field.order)
    return first[back], top[back], weight_sums[back]


def _best(field: _Field, rows: slice) -> tuple[Integers, Integers, Floats]:
    """Return draw, place and total of what reaches the k-th best of the first tile, in any order."""
    tiles, _, width = field.lo.shape
    totals = field.totals(rows, slice(1))
    kth = width - field.k
    bar = np.partition(totals, kth, axis=2)[:, :, kth, None]
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
    return draws, places, reached


def _standing(
    draw: Integers, total: Floats, copies: Integers
) -> tuple[Integers, Integers]:
    """Count by alternative those above it in its draw, and those equal to it, itself included."""
    # draw and total in one integer, which is sorted several times faster than two
    steps = (total * GRID**2).astype(np.int64)
    key = (draw << 2 * KEY_BITS) - steps
    _, kind = np.unique(key, return_inverse=True)
    equal = np.bincount(kind, copies)
    # those of earlier draws come before, but are not above
    before = np.cumsum(equal) - equal
    n = np.bincount(draw, copies)
    earlier = np.cumsum(n) - n
    above = before[kind] - earlier[draw]
    return above, equal[kind]


def _ranks(
    field: _Field, counted: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    # A total, random bits for the order among equals and the place are packed into one
    # integer: sorting such keys is several times faster than `argsort`.
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
        flat = totals.reshape(len(totals), -1)[:, :n]
        steps = flat * -(GRID**2)
        key = steps.astype(np.int64) << KEY_BITS
        mixed = ticket * (turn[rows] | 1)
        luck = mixed >> 64 - KEY_BITS & 2**KEY_BITS - 1
        key |= luck & ~mask | place
        key.sort(axis=1)
        best = key & mask
        cell = best[:, :counted] + n * place[:counted]
        np.add.at(at_rank, cell.ravel(), 1)
        places = np.tile(place, len(best))
        sums += np.bincount(best.ravel(), places, minlength=n)
    back = np.argsort(field.order)
    by_rank: Floats = at_rank.reshape(counted, n).T[back] / draws
    return 1 + sums[back] / draws, by_rank
