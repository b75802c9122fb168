"""Weights of boards: uniform over what a board leaves open, and clear where it leaves nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import PolicyError
from assess.policy.problems import board_problems
from assess.score.what_next.smaa import (
    draw,
    interval_weights,
    ordered_weights,
    simplex_weights,
)

NAMES = ["readiness", "containment", "low_churn"]


def rng():
    return np.random.default_rng(11)


def test_an_order_has_the_centroid_of_its_part_of_the_simplex():
    weights = ordered_weights([2, 0, 1], 40_000, 3, rng())
    assert (np.diff(weights[:, [2, 0, 1]], axis=1) <= 0).all()
    # rank order centroid of three: (1 + 1/2 + 1/3) / 3, (1/2 + 1/3) / 3, 1/9
    assert weights.mean(axis=0) == pytest.approx([5 / 18, 1 / 9, 11 / 18], abs=0.003)


def test_what_an_order_leaves_out_weighs_less_and_is_alike():
    weights = ordered_weights([1], 20_000, 3, rng())
    assert (weights[:, 1] >= weights.max(axis=1)).all()
    assert weights[:, 0].mean() == pytest.approx(weights[:, 2].mean(), abs=0.005)


@settings(max_examples=20)
@given(st.permutations(range(4)), st.integers(1, 4), st.integers(0, 99))
def test_an_order_is_the_simplex_cut_to_it(order, said, seed):
    """Rejecting from the whole simplex gives the same distribution."""
    order = order[:said]
    weights = ordered_weights(order, 4000, 4, np.random.default_rng(seed))
    every = simplex_weights(60_000, 4, np.random.default_rng(seed + 100))
    rest = [c for c in range(4) if c not in order]
    fits = (np.diff(every[:, order], axis=1) <= 0).all(axis=1)
    if rest:
        fits &= every[:, order[-1]] >= every[:, rest].max(axis=1)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert weights.mean(axis=0) == pytest.approx(every[fits].mean(axis=0), abs=0.03)
    assert weights.std(axis=0) == pytest.approx(every[fits].std(axis=0), abs=0.03)


@pytest.mark.parametrize(
    ("lo", "hi"),
    [
        ([0.2, 0.0, 0.0], [0.5, 1.0, 1.0]),  # room above is the smaller simplex
        ([0.0, 0.0, 0.0], [0.4, 0.5, 0.3]),  # room below is
        ([0.3, 0.1, 0.1], [0.6, 0.4, 0.5]),
    ],
)
def test_intervals_are_the_simplex_cut_to_them(lo, hi):
    lo, hi = np.array(lo), np.array(hi)
    weights = interval_weights(lo, hi, 20_000, rng())
    assert weights.shape == (20_000, 3)
    assert (weights >= lo - 1e-9).all() and (weights <= hi + 1e-9).all()
    every = simplex_weights(400_000, 3, np.random.default_rng(5))
    fits = ((every >= lo) & (every <= hi)).all(axis=1)
    assert weights.mean(axis=0) == pytest.approx(every[fits].mean(axis=0), abs=0.006)
    assert weights.std(axis=0) == pytest.approx(every[fits].std(axis=0), abs=0.006)


def test_intervals_that_leave_one_point_or_next_to_nothing():
    point = np.array([0.5, 0.3, 0.2])
    assert interval_weights(point, np.ones(3), 5, rng()) == pytest.approx(
        np.tile(point, (5, 1))
    )
    assert interval_weights(np.zeros(3), point, 5, rng()) == pytest.approx(
        np.tile(point, (5, 1))
    )
    # 40 criteria of which each end cuts off nearly all: found out, not waited for
    lo, hi = np.zeros(40), np.full(40, 0.0500001)
    lo[:10] = 0.0499
    with pytest.raises(PolicyError, match="lie between these ends"):
        interval_weights(lo, hi, 2, rng())


@pytest.mark.parametrize(
    ("lo", "hi"),
    [
        ([0.6, 0.6, 0], [1, 1, 1]),
        ([0, 0, 0], [0.3, 0.3, 0.3]),
        ([0.5, 0, 0], [0.4, 1, 1]),
    ],
)
def test_impossible_intervals_say_so(lo, hi):
    with pytest.raises(PolicyError, match="1 has to lie between them"):
        interval_weights(np.array(lo, float), np.array(hi, float), 5, rng())


def test_a_board_draws_what_it_says():
    fixed = draw({"weights": {"readiness": 3, "low_churn": 1}}, NAMES, 2, rng())
    assert fixed.tolist() == [[0.75, 0, 0.25]] * 2
    ordered = draw({"order": ["low_churn"]}, NAMES, 50, rng())
    assert (ordered.argmax(axis=1) == 2).all()
    within = draw({"intervals": {"containment": [0.4, 0.5]}}, NAMES, 50, rng())
    assert ((within[:, 1] >= 0.4) & (within[:, 1] <= 0.5)).all()
    np.testing.assert_array_equal(draw({}, NAMES, 9, rng()), simplex_weights(9, 3, rng()))


@pytest.mark.parametrize(
    ("board", "part"),
    [
        (
            {"order": ["readiness", "low_churn", "readiness"]},
            "readiness would have to weigh more",
        ),
        (
            {"order": ["readyness"]},
            "unknown criterion readyness, did you mean 'readiness'?",
        ),
        (
            {"intervals": {"readiness": [0.7, 1], "low_churn": [0.6, 1]}},
            "the lower ends sum to 1.3",
        ),
        ({"intervals": {name: [0, 0.2] for name in NAMES}}, "the upper ends to 0.6"),
        (
            {"intervals": {"readiness": [0.7, 0.2]}},
            "needs [lo, hi] with 0 <= lo <= hi <= 1",
        ),
        ({"intervals": {"readiness": 0.7}}, "needs [lo, hi]"),
        ({"weights": dict.fromkeys(NAMES, 0)}, "they sum to 0"),
        ({"weights": {"readiness": -1}}, "weights.readiness: a number >= 0 is expected"),
        (
            {"weights": {"readiness": True}},
            "weights.readiness: a number >= 0 is expected",
        ),
        ({"order": ["readiness"], "weights": {"readiness": 1}}, "has order and weights"),
    ],
)
def test_an_impossible_board_says_why(board, part):
    assert any(part in problem for problem in board_problems(board, NAMES))
    with pytest.raises(PolicyError, match="board finance"):
        draw({"id": "finance", **board}, NAMES, 5, rng())
