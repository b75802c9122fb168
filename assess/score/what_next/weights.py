"""Weights that preferences allow: all of them, those in an order, or those in intervals.

Every draw is exact and uniform over what the preferences leave open; no Markov chain has to
converge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assess.errors import PolicyError
from assess.policy.problems import SLACK, board_problems

Floats = NDArray[np.float64]
ROUNDS = 500  # of rejection; beyond, the intervals leave next to no room


def simplex_weights(draws: int, criteria_n: int, rng: np.random.Generator) -> Floats:
    """Draw weights uniformly from the simplex, shape (draws, criteria_n) [share 0-1].

    Notes
    -----
    Exponential variables divided by their sum are uniform on the simplex: Rubinstein, R.
    (1982). Generating random vectors uniformly distributed inside and on the surface of
    different regions. European Journal of Operational Research 10(2), 205-209.
    """
    # exact, and one pass: no rejection, no Markov chain
    raw = rng.exponential(size=(draws, criteria_n))
    weights: Floats = raw / raw.sum(axis=1, keepdims=True)
    return weights


def ordered_weights(
    order: Sequence[int], draws: int, criteria_n: int, rng: np.random.Generator
) -> Floats:
    """Draw weights that fall in an order of criteria, the weightiest first.

    Criteria left out weigh no more than the last of the order.

    Notes
    -----
    A uniform point is sorted, and its smallest parts go to the others at random. The mean is
    the centroid of the order (rank-order centroid).
    """
    falling = -np.sort(-simplex_weights(draws, criteria_n, rng), axis=1)
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

    Notes
    -----
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

    Parameters
    ----------
    board : mapping
        Its ``order`` (names, the weightiest first), ``intervals`` (name: [lo, hi]) or
        ``weights`` (name: number; what is left out weighs nothing); with none of them, any
        weights. PolicyError where no weights fit.
    criteria : sequence of str
        Names of the criteria, in the order of the columns.
    draws : int
        Number of draws. [count]
    rng : Generator
        Source of the draws.
    """
    wrong = list(board_problems(board, criteria))
    if wrong:
        raise PolicyError(f"board {board.get('id', '?')} " + "; ".join(wrong))
    n = len(criteria)
    if board.get("order"):
        return ordered_weights([criteria.index(c) for c in board["order"]], draws, n, rng)
    if board.get("intervals"):
        ends = np.array(
            [board["intervals"].get(c, (0.0, 1.0)) for c in criteria], dtype=float
        )
        return interval_weights(ends[:, 0], ends[:, 1], draws, rng)
    if board.get("weights"):
        fixed = np.array([board["weights"].get(c, 0.0) for c in criteria], dtype=float)
        return np.tile(fixed / fixed.sum(), (draws, 1))
    return simplex_weights(draws, n, rng)
