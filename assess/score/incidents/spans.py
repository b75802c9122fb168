"""Spans of time that was watched: gaps between them count for nothing."""

from typing import TypeAlias

import numpy as np
from pandas import Series, Timedelta, Timestamp

Span: TypeAlias = tuple[Timestamp, Timestamp]
Spans: TypeAlias = tuple[Span, ...]  # in order, and apart

DAY = Timedelta(days=1)


def united(*spans: Span) -> Spans:
    """Unite spans of time: those that touch are one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            first, last = merged[-1]
            merged[-1] = (first, max(last, end))
        else:
            merged.append((start, end))
    return tuple(merged)


def clipped(spans: Spans, start: Timestamp, end: Timestamp) -> Spans:
    """Return the parts of spans between two moments."""
    inside = ((max(first, start), min(last, end)) for first, last in spans)
    return tuple((first, last) for first, last in inside if first < last)


def holds(spans: Spans, inner: Span) -> bool:
    """Return whether one of these spans covers another."""
    return any(start <= inner[0] and inner[1] <= end for start, end in spans)


def days_in(spans: Spans) -> float:
    """Add up spans of time [days]."""
    return float(sum((end - start) / DAY for start, end in spans))


def days_until(spans: Spans, moments: Series) -> Series:
    """Return the days of the spans before each moment."""
    if not spans:
        return Series(0.0, moments.index)
    origin = spans[0][0]
    ends = Series([moment for span in spans for moment in span])
    lengths = [(end - start) / DAY for start, end in spans]
    # time stands still in a gap: its two ends have the same number of days before them
    total = np.repeat(np.cumsum([0.0, *lengths]), 2)[1:-1]
    days = np.interp((moments - origin) / DAY, (ends - origin) / DAY, total)
    return Series(days, moments.index)


def are_inside(spans: Spans, moments: Series) -> Series:
    """Return whether each moment is inside one of the spans, their ends included."""
    inside = Series(False, moments.index)
    for span in spans:
        inside |= moments.between(*span)
    return inside
