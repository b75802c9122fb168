"""The posterior of edges: against closed forms and against integration over a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from assess.score.blast_radius.learning import (
    A,
    B,
    EdgeCounts,
    _draw_causes,
    edge_intervals,
    edge_posterior,
)


def counts_of(held, causes, *, prior=0.5):
    """Edges of one kind; a fall is a list of edges that can have caused it."""
    n = len(held)
    rows = np.full((len(causes), max(map(len, causes), default=0)), n)
    for row, edges in zip(rows, causes, strict=True):
        row[: len(edges)] = edges
    return EdgeCounts(np.array(held, float), rows, [np.arange(n)], np.array([prior]))


def hyper(known):
    """Weights of the grid by the prior alone."""
    weight = np.exp(known.prior_logs()[0])
    return weight / weight.sum()


def test_what_was_never_tried_has_the_prior():
    known = counts_of([0, 0], [])
    p, falls = edge_posterior(known, np.array([0.5, 0.5]))
    assert p == pytest.approx([0.5, 0.5])  # symmetrical about one half
    assert falls.tolist() == [0, 0]


def test_one_edge_is_a_mixture_of_betas():
    known = counts_of([3], [[0]] * 2, prior=0.3)
    from scipy.special import betaln

    weight = hyper(known) * np.exp(betaln(A + 2, B + 3) - betaln(A, B))
    weight /= weight.sum()
    p, falls = edge_posterior(known, np.array([0.3]))
    assert falls.tolist() == [2]
    assert p == pytest.approx([weight @ ((A + 2) / (A + B + 5))])
    lo, hi = edge_intervals(known, 0.9, seed=1)
    below = [weight @ beta.cdf(end, A + 2, B + 3) for end in (lo[0], hi[0])]
    assert below == pytest.approx([0.05, 0.95], abs=0.02)


def test_a_fall_with_two_causes_is_shared_and_each_may_be_innocent():
    known = counts_of([0, 0], [[0, 1]])
    p, falls = edge_posterior(known, np.array([0.5, 0.5]))
    assert p[0] == p[1]
    assert falls == pytest.approx(p / (1 - (1 - p) ** 2), abs=1e-3)
    assert known.tries.tolist() == [1, 1]  # who did not cause it held


def test_the_interval_is_that_of_the_joint_posterior():
    known = counts_of([4, 1], [[0, 1]] * 3 + [[0], [1]])
    at = (np.arange(120) + 0.5) / 120
    density = np.zeros((120, 120))
    for a, b, weight in zip(A, B, hyper(known), strict=True):
        each = np.diff(beta.cdf(np.linspace(0, 1, 121), a, b))
        density += weight * np.outer(each, each)
    one, two = np.meshgrid(at, at, indexing="ij")
    density *= (1 - one) ** 4 * (1 - two) * (1 - (1 - one) * (1 - two)) ** 3 * one * two
    density /= density.sum()
    lo, hi = edge_intervals(known, 0.9, seed=1)
    for edge, margin in enumerate((density.sum(axis=1), density.sum(axis=0))):
        below = np.interp([lo[edge], hi[edge]], at + 1 / 240, margin.cumsum())
        assert below == pytest.approx([0.05, 0.95], abs=0.02)


def test_causes_are_drawn_given_that_there_was_one():
    p = np.tile([0.5, 0.5, 0.0], (30_000, 1))
    caused = _draw_causes(p, np.random.default_rng(1))
    assert not caused[:, 2].any()
    which, n = np.unique(caused[:, :2], axis=0, return_counts=True)
    assert which.tolist() == [[0, 1], [1, 0], [1, 1]]  # never none
    assert n / len(p) == pytest.approx([1 / 3] * 3, abs=0.012)


def test_the_same_seed_gives_the_same_interval():
    known = counts_of([4, 1], [[0, 1]] * 3)
    assert [e.tolist() for e in edge_intervals(known, 0.9, 1)] == [
        e.tolist() for e in edge_intervals(known, 0.9, 1)
    ]
