"""Weights that a board could have: all of them, those of its order, or those of its intervals.

Every draw is exact, uniform over what the board leaves open; no chain has to converge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assess.errors import PolicyError
from assess.policy.weights import SLACK, problems

Floats = NDArray[np.float64]
ROUNDS = 500  # of rejection, each as long as what is asked for


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


def ordered_weights(
    order: Sequence[int], draws: int, criteria_n: int, rng: np.random.Generator
) -> Floats:
    """Draw weights of which some are said to fall in an order.

    Parameters
    ----------
    order : sequence of int
        Criteria, the weightiest first; those left out weigh no more than the last of them.
    draws, criteria_n : int
        As in `simplex_weights`. [count]
    rng : Generator
        Source of the draws.

    Returns
    -------
    ndarray, shape (draws, criteria_n)
        Uniform over the weights in that order: a uniform point sorted, its smallest parts dealt to
        the others at random. The mean is the centroid of the order. [share 0-1]
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
    """Draw weights within intervals.

    Parameters
    ----------
    lo, hi : ndarray, shape (criteria_n,)
        Ends of the weight of every criterion. [share 0-1]
    draws : int
        Number of draws. [count]
    rng : Generator
        Source of the draws.

    Returns
    -------
    ndarray, shape (draws, criteria_n)
        Uniform over the part of the simplex between them. [share 0-1]

    Raises
    ------
    PolicyError
        Where no weights, or next to none, lie between them.

    Notes
    -----
    What lies above the lower ends is a smaller simplex, as is what lies below the upper ends. The
    smaller of the two is drawn from, and what breaks the other ends is rejected.
    """
    low, high = lo.sum(), hi.sum()
    if (lo > hi).any() or low > 1 + SLACK or high < 1 - SLACK:
        raise PolicyError(
            f"no weights lie between these ends: the lower ones sum to {low:.3g}, the upper ones "
            f"to {high:.3g}, and 1 has to lie between them"
        )
    room_up, room_down = max(1 - low, 0.0), max(high - 1, 0.0)
    found: list[Floats] = []
    missing = draws
    for _ in range(ROUNDS):
        share = simplex_weights(max(draws, 1), len(lo), rng)
        drawn = lo + room_up * share if room_up <= room_down else hi - room_down * share
        kept = drawn[((drawn >= lo - SLACK) & (drawn <= hi + SLACK)).all(axis=1)][
            :missing
        ]
        found.append(kept)
        missing -= len(kept)
        if missing == 0:
            return np.concatenate(found)
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
    """Draw the weights of a board.

    Parameters
    ----------
    board : mapping
        Its ``order`` (names, the weightiest first), ``intervals`` (name: [lo, hi]) or ``weights``
        (name: number; what is left out weighs nothing); with none of them, any weights.
    criteria : sequence of str
        Names of the criteria, in the order of the columns.
    draws : int
        Number of draws. [count]
    rng : Generator
        Source of the draws.

    Returns
    -------
    ndarray, shape (draws, criteria_n)
        Each row sums to 1. [share 0-1]

    Raises
    ------
    PolicyError
        Where no weights fit what the board says.
    """
    wrong = list(problems(board, criteria))
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
