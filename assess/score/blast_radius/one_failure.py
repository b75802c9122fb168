"""Loss of one failure: an interval with the stated coverage, as far as discrete losses allow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assess.score import Booleans, Ends, Floats, Integers
from assess.score.blast_radius.topology import total_weight

SAME = 1e-9  # losses that differ by less are one step; sums of chances round as well
POINTS = 1000  # equally likely losses that stand for a distribution
EQUAL = np.full((1, POINTS), 1 / POINTS)
ROWS = 1000  # distributions computed together
SHARES = 100  # steps of the share that nothing unexplained can hit


@dataclass(frozen=True, eq=False)
class Besides:
    """By failure and service: ``had`` data and no known cause, and whether it ``fell`` nevertheless."""

    had: Booleans
    fell: Booleans

    @cached_property
    def n(self) -> tuple[Integers, Integers]:
        """Count by service the failures of either."""
        return self.had.sum(axis=0), self.fell.sum(axis=0)

    def floor(self, kept: Booleans, strength: float) -> Floats:
        """Return by service the chance to go down without a known cause, shrunk to the fleet's."""
        # few failures are left out: subtract them instead of adding up all others
        n = self.n[0] - self.had[~kept].sum(axis=0)
        k = self.n[1] - self.fell[~kept].sum(axis=0)
        fleet = (k.sum() + 0.5) / (n.sum() + 1)
        # without data the estimate would be 1/2, far too high for a floor
        fleet = fleet if n.sum() else 0.0
        return (k + strength * fleet) / (n + strength)


@dataclass(frozen=True, eq=False)
class Unexplained:
    """Equally likely ``losses`` that no edge explains, smallest first; the fleet weighs ``total``."""

    losses: Floats
    total: float

    @classmethod
    def of(cls, floor: Floats, weight: Floats, seed: int) -> Unexplained:
        """Draw the services that go down without a known cause, each with its own probability."""
        rng = np.random.default_rng(seed)
        # services come by name: draws in the order of their values do not depend on names
        order = np.lexsort([weight, floor])
        falls = rng.random((POINTS, len(floor))) < floor[order]
        return cls(np.sort(falls @ weight[order]), total_weight(weight))

    def besides(self, reached: Floats) -> Floats:
        """Return by row equally likely losses of services outside the ``reached`` weight."""
        # drop a loss as a whole, with the chance that it hits reached services; never shrink it
        share = (reached / self.total)[:, None]
        hit = np.arange(POINTS) < POINTS * share
        return np.where(hit[:, _shuffled(1)], 0.0, self.losses)

    def ends(self, reached: Floats, level: float) -> Ends:
        """Return by row the interval of the unexplained losses alone."""
        shares = np.linspace(0, self.total, SHARES + 1)
        lo, hi = middle(self.besides(shares), EQUAL, level)
        at = np.minimum((reached / self.total * SHARES).astype(np.int64), SHARES)
        return lo[at], hi[at]

    def middle(
        self, losses: Floats, chance: Floats, reached: Floats, level: float
    ) -> Ends:
        """Return by row the interval of explained and unexplained losses together."""
        every = np.broadcast_to(chance, losses.shape)
        ends = np.empty((2, len(losses)))
        for start in range(0, len(losses), ROWS):
            rows = slice(start, start + ROWS)
            known = _equally_likely(losses[rows], every[rows])
            both = known[:, _shuffled(0)] + self.besides(reached[rows])
            ends[:, rows] = middle(both, EQUAL, level)
        return ends[0], ends[1]


def _shuffled(seed: int) -> Integers:
    """Return a fixed random order of points, so that joined distributions are independent."""
    return np.random.default_rng(seed).permutation(POINTS)


def _equally_likely(losses: Floats, chance: Floats) -> Floats:
    """Return by row `POINTS` equally likely losses, smallest first."""
    n, width = losses.shape
    order = np.argsort(losses, axis=1, kind="stable")
    each = np.take_along_axis(chance, order, 1)
    upto = np.minimum(np.cumsum(each, axis=1), 1)
    # shift each row by 2, beyond the values of the row before: one search serves all rows
    line = 2.0 * np.arange(n)[:, None]
    points = (np.arange(POINTS) + 0.5) / POINTS
    at = np.searchsorted((line + upto).ravel(), (line + points).ravel())
    starts = width * np.arange(n)[:, None]
    at = at.reshape(n, POINTS) - starts
    place = np.take_along_axis(order, np.minimum(at, width - 1), 1)
    return np.take_along_axis(losses, place, 1)


def middle(losses: Floats, chance: Floats, level: float) -> Ends:
    """Return by row the ends of the middle share ``level`` of its losses.

    A loss comes in steps, and a step is inside or outside as a whole. One tail is cut as near to
    ``(1 - level) / 2`` as steps allow, and the other as near to what is then still to be cut; of
    both orders the one counts that ends nearer to ``level``. Quantiles alone hold 95%
    of what starts with a large step.
    """
    order = np.argsort(losses, axis=1, kind="stable")
    value = np.take_along_axis(losses, order, 1)
    below, above = _tails(value, np.broadcast_to(chance, losses.shape), order)
    lo, hi, error = _cut(below, above, 1 - level)
    other_hi, other_lo, other_error = _cut(above, below, 1 - level)
    # discrete losses rarely meet the level exactly: the nearer of two intervals is taken
    is_other = other_error < error - SAME
    lo = np.where(is_other, other_lo, lo)
    hi = np.where(is_other, other_hi, hi)
    row = np.arange(len(value))
    return value[row, lo], value[row, np.maximum(hi, lo)]


def _tails(value: Floats, chance: Floats, order: Integers) -> Ends:
    """Return by sorted value the probability of less, and of more."""
    each = np.take_along_axis(chance, order, 1)
    upto = np.cumsum(each, axis=1)
    step = np.diff(value, axis=1) > SAME
    edge = np.ones((len(value), 1), bool)
    starts = np.hstack([edge, step])
    ends = np.hstack([step, edge])
    below = np.maximum.accumulate(np.where(starts, upto - each, 0.0), axis=1)
    through = np.where(ends, upto, np.inf)[:, ::-1]
    up_to_here = np.minimum.accumulate(through, axis=1)[:, ::-1]
    above = 1 - up_to_here
    return below, above


def _cut(
    first: Floats, second: Floats, share: float
) -> tuple[Integers, Integers, Floats]:
    """Return by row where half of a share ends one tail, where the rest ends the other, the error."""
    row = np.arange(len(first))
    wanted = np.full(len(first), share)
    one = _nearest(first, wanted / 2)
    other = _nearest(second, wanted - first[row, one])
    cut = first[row, one] + second[row, other]
    return one, other, np.abs(cut - share)


def _nearest(tail: Floats, wanted: Floats) -> Integers:
    """Return by row the position where its tail is nearest to ``wanted``."""
    return np.abs(tail - wanted[:, None]).argmin(axis=1)
