"""Spans of watched time: whole days counted one by one say the same."""

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assess.score.incidents import (
    are_inside,
    clipped,
    days_in,
    days_until,
    holds,
    united,
)

FIRST = pd.Timestamp("2026-01-01", tz="UTC")


def day(number):
    return FIRST + pd.Timedelta(days=number)


def spans(*pairs):
    return tuple((day(first), day(last)) for first, last in pairs)


def test_spans_that_touch_are_one_and_others_stay_apart():
    assert united() == ()
    assert united(*spans((5, 7), (0, 2), (2, 3))) == spans((0, 3), (5, 7))
    assert united(*spans((0, 9), (1, 2))) == spans((0, 9))
    assert united(*spans((0, 2), (1, 4))) == spans((0, 4))


def test_a_part_without_length_is_none():
    both = spans((0, 2), (4, 6))
    assert clipped(both, day(1), day(5)) == spans((1, 2), (4, 5))
    assert clipped(both, day(2), day(4)) == ()
    assert clipped(both, day(0), day(6)) == both


def test_a_span_holds_its_own_ends_and_no_gap():
    both = spans((0, 2), (4, 6))
    assert holds(both, *spans((0, 2)))
    assert holds(both, *spans((5, 5)))
    assert not holds(both, *spans((1, 5)))
    assert not holds(both, *spans((0, 3)))
    assert not holds((), *spans((0, 1)))


PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=6)


@given(PAIRS, st.lists(st.integers(-2, 42), max_size=5))
def test_days_are_those_that_somebody_watched(pairs, asked):
    pairs = [(first, first + length) for first, length in pairs]
    watched = {n for first, last in pairs for n in range(first, last)}
    together = united(*spans(*pairs))
    assert days_in(together) == len(watched)
    assert all(last < then for (_, last), (then, _) in pairwise(together))
    moments = pd.Series([day(n) for n in asked], index=range(5, 5 + len(asked)))
    moments = pd.to_datetime(moments, utc=True)
    before = days_until(together, moments)
    assert before.tolist() == pytest.approx([sum(d < n for d in watched) for n in asked])
    assert before.index.equals(moments.index)
    inside = are_inside(together, moments).tolist()
    assert inside == [n in watched or n - 1 in watched for n in asked]
