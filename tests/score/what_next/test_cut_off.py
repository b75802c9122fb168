"""Rivals: the chance read off the bars is the one counted draw by draw, ties and all."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.score.what_next.cut_off import rival_of
from assess.score.what_next.smaa import bars

QUARTERS = st.integers(0, 4).map(
    lambda n: n / 4
)  # sums of their products are exact, ties many
CRITERIA = 3


def rows(least, most):
    row = st.lists(QUARTERS, min_size=CRITERIA, max_size=CRITERIA)
    return st.lists(row, min_size=least, max_size=most).map(np.array)


def simplex(most):
    """Weights that sum to one; some are zero."""
    cuts = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)
    draw = cuts.map(lambda cut: np.diff([0, *cut, 4]) / 4)
    return st.lists(draw, min_size=1, max_size=most).map(np.array)


def counted(own, others, weights, k):
    """Share of the draws in which it is among the first k; of a tie for the last place half."""
    share = 0.0
    for draw in weights:
        kth = sorted((float(draw @ other) for other in others), reverse=True)[k - 1 : k]
        gap = float(draw @ own) - (kth[0] if kth else -np.inf)
        share += 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0
    return share / len(weights)


@settings(max_examples=100, deadline=None)
@given(rows(1, 6), simplex(12), st.integers(0, 2), st.integers(1, 4), st.data())
def test_the_chance_is_that_of_the_draws(values, weights, readiness, k, data):
    competes = data.draw(st.booleans())
    at = data.draw(st.integers(0, len(values) - 1))
    others = np.delete(values, at, axis=0)
    field = values if competes else others
    over = bars(field.reshape(-1, CRITERIA), weights, k)
    rival = rival_of(values[at], readiness, weights, over, competes=competes)
    points = np.array([0.0, 25.0, 50.0, 100.0])
    want = []
    for ready in points / 100:
        own = values[at].copy()
        own[readiness] = ready
        want.append(counted(own, others, weights, k))
    got = rival.chances(points)
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert (np.diff(got) >= 0).all()  # more readiness never costs
