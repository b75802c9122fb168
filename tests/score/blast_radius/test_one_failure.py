"""The interval of one failure: cut where steps allow, and with what no edge explains."""

from __future__ import annotations

import numpy as np
import pytest

from assess.score.blast_radius.one_failure import POINTS, Unexplained, middle


def ends_of(losses, chance, level=0.9):
    lo, hi = middle(np.array([losses], float), np.array([chance], float), level)
    return lo.tolist(), hi.tolist()


def test_fine_steps_are_cut_like_quantiles():
    lo, hi = ends_of(range(100), np.full(100, 0.01))
    assert (lo, hi) == ([5.0], [94.0])


@pytest.mark.parametrize(
    ("losses", "chance", "held"),
    [
        ([1, 2, 3], [0.5, 0.4, 0.1], (1, 2)),  # nothing to cut below: all above
        ([1, 2, 3], [0.1, 0.4, 0.5], (2, 3)),  # and the other way round
        ([1, 2], [0.5, 0.5], (1, 2)),  # half of it would be far from nine tenths
        ([1, 2], [0.88, 0.12], (1, 1)),
        ([2, 1, 2, 1], [0.06, 0.44, 0.06, 0.44], (1, 1)),  # in any order, in parts
        ([7], [1.0], (7, 7)),
    ],
)
def test_a_step_is_inside_or_outside_as_a_whole(losses, chance, held):
    lo, hi = ends_of(losses, chance)
    assert (lo[0], hi[0]) == held


def test_what_falls_besides_widens_and_keeps_its_steps():
    floor = np.array([0.0, 0.4])
    besides = Unexplained.of(floor, np.array([3.0, 1.0]), seed=1)
    assert set(besides.losses) == {0.0, 1.0}
    assert np.mean(besides.losses) == pytest.approx(0.4, abs=0.05)
    lo, hi = besides.ends(np.array([0.0, 3.8]), 0.9)
    assert lo.tolist() == [0.0, 0.0]
    assert hi.tolist() == [1.0, 0.0]  # nearly all is reached: it is counted already
    once = besides.middle(np.array([[2.0]]), np.ones((1, 1)), np.zeros(1), 0.9)
    assert [end.tolist() for end in once] == [[2.0], [3.0]]


def test_losses_with_unequal_chances_are_joined_with_what_falls_besides():
    besides = Unexplained(np.repeat([0.0, 10.0], POINTS // 2), 100.0)
    lo, hi = besides.middle(
        np.array([[5.0, 1.0]]), np.array([[0.3, 0.7]]), np.zeros(1), 0.98
    )
    assert (lo[0], hi[0]) == (1.0, 15.0)
