"""What a board may say of its weights: an order, intervals or fixed weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assess.errors import did_you_mean

KINDS = ("order", "intervals", "weights")
SLACK = 1e-9  # of sums that should be 1


def problems(board: Mapping[str, Any], criteria: Sequence[str]) -> Iterator[str]:
    """List what is wrong with the ``order``, ``intervals`` or ``weights`` of a board."""
    given = [kind for kind in KINDS if board.get(kind)]
    if len(given) > 1:
        yield f"has {' and '.join(given)}: one of {', '.join(KINDS)} is enough"
    for kind in given:
        for name in board[kind]:
            if name not in criteria:
                near = did_you_mean(str(name), criteria)
                unknown = f"{kind}: unknown criterion {name}"
                yield f"{unknown}, {near}" if near else unknown
    yield from _order_problems([str(name) for name in board.get("order", [])])
    yield from _interval_problems(board.get("intervals", {}), criteria)
    yield from _weight_problems(board.get("weights", {}))


def _order_problems(order: list[str]) -> Iterator[str]:
    for name in sorted({name for name in order if order.count(name) > 1}):
        yield f"order: impossible, {name} would have to weigh more than itself"


def _interval_problems(
    intervals: Mapping[str, Any], criteria: Sequence[str]
) -> Iterator[str]:
    wrong = [name for name, pair in intervals.items() if not _is_interval(pair)]
    for name in wrong:
        yield f"intervals.{name}: needs [lo, hi] with 0 <= lo <= hi <= 1"
    if wrong or not intervals:
        return
    low = sum(pair[0] for pair in intervals.values())
    high = sum(intervals.get(name, (0, 1))[1] for name in criteria)
    if low > 1 + SLACK or high < 1 - SLACK:
        yield (
            f"intervals: impossible, the lower ends sum to {low:.3g} and the upper ends to "
            f"{high:.3g}; 1 has to lie between"
        )


def _weight_problems(weights: Mapping[str, Any]) -> Iterator[str]:
    wrong = [
        name
        for name, weight in weights.items()
        if not _is_number(weight) or not 0 <= weight < float("inf")
    ]
    for name in wrong:
        yield f"weights.{name}: a number >= 0 is expected"
    if weights and not wrong and sum(weights.values()) == 0:
        yield "weights: they sum to 0"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_interval(pair: object) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(map(_is_number, pair))
        and 0 <= pair[0] <= pair[1] <= 1
    )
