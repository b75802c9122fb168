"""SMAA-2 against values worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assess.score.what_next.smaa import (
    CutOff,
    acceptability,
    on_grid,
    simplex_weights,
    totals,
)

DRAWS = 4000


def run(lo, hi=None, k=1, seed=7):
    rng = np.random.default_rng(seed)
    lo = np.asarray(lo, dtype=float)
    hi = lo if hi is None else np.asarray(hi, dtype=float)
    weights = simplex_weights(DRAWS, lo.shape[1], rng)
    return acceptability(lo, hi, weights, k=k, rng=rng, ranks=len(lo))


def test_weights_are_uniform_on_the_simplex():
    weights = simplex_weights(20_000, 3, np.random.default_rng(1))
    assert weights.sum(axis=1) == pytest.approx(1)
    # a coordinate of the uniform simplex in three dimensions has P(w > 1/2) = (1/2)^2
    assert (weights[:, 0] > 0.5).mean() == pytest.approx(0.25, abs=0.01)


def test_one_criterion_each_splits_the_weights_in_half():
    found = run([[1, 0], [0, 1]])
    assert found.p_first == pytest.approx([0.5, 0.5], abs=0.03)
    assert found.central_weights[0] == pytest.approx([0.75, 0.25], abs=0.02)


def test_the_dominant_one_is_always_first():
    found = run([[0.9, 0.9], [0.5, 0.8], [0.1, 0.2]], k=2)
    assert found.p_first.tolist() == [1, 0, 0]
    assert found.p_top.tolist() == [1, 1, 0]
    assert found.rank_expected == pytest.approx([1, 2, 3])
    assert np.isnan(found.central_weights[2]).all()


def test_equals_share_their_ranks():
    found = run([[0.5, 0.5]] * 4, k=2)
    assert found.p_first == pytest.approx([0.25] * 4)
    assert found.p_top == pytest.approx([0.5] * 4)
    assert found.by_rank == pytest.approx(np.full((4, 4), 0.25), abs=0.04)


@settings(max_examples=25)
@given(
    arrays(float, (4, 3), elements=st.sampled_from([0, 0.25, 0.5, 1])),
    st.lists(st.integers(1, 5), min_size=4, max_size=4),
    st.integers(1, 12),
)
def test_copies_of_an_alternative_share_what_each_alone_would_win(lo, copies, k):
    rows = np.repeat(lo, copies, axis=0)
    weights = on_grid(simplex_weights(100, 3, np.random.default_rng(1)))
    args = {"k": k, "rng": np.random.default_rng(0)}
    found = acceptability(rows, rows, weights, ranks=0, **args)
    total = weights @ rows.T
    least = min(k, len(rows))
    for place, chances in ((1, found.p_first), (least, found.p_top)):
        bar = -np.sort(-total, axis=1)[:, place - 1, None]
        above = (total > bar).sum(axis=1, keepdims=True)
        equal = total == bar
        share = (place - above) / equal.sum(axis=1, keepdims=True)
        plain = (total > bar) + equal * share
        assert chances == pytest.approx(plain.mean(axis=0))
        if place == 1:
            wins = plain.sum(axis=0)[:, None]
            won = wins[:, 0] > 0
            expected = (plain.T @ weights)[won] / wins[won]
            assert found.central_weights[won] == pytest.approx(expected)
    if k < len(rows):
        cut_off = CutOff.of(rows, weights, k)
        ordered = -np.sort(-total, axis=1)
        np.testing.assert_array_equal(cut_off, ordered[:, [k - 1, k]].T)


def test_a_wide_interval_is_drawn_from_evenly():
    found = run([[0.0], [0.75]], [[1.0], [0.75]])
    assert found.p_first == pytest.approx([0.25, 0.75], abs=0.03)


def test_no_alternative_and_long_short_list():
    assert run(np.zeros((0, 2))).p_top.shape == (0,)
    assert run([[0.2], [0.3]], k=9).p_top.tolist() == [1, 1]


@pytest.mark.parametrize("n", [40, 700])
def test_the_quick_way_finds_the_same_first_and_the_same_short_list(n):
    rng = np.random.default_rng(3)
    lo = rng.random((n, 5)) / 2
    for hi in (lo, lo + 0.2):
        weights = simplex_weights(1500, 5, np.random.default_rng(4))
        full, quick = (
            acceptability(lo, hi, weights, k=4, rng=np.random.default_rng(5), ranks=ranks)
            for ranks in (n, 0)
        )
        np.testing.assert_array_equal(full.p_first, quick.p_first)
        np.testing.assert_array_equal(full.p_top, quick.p_top)
        np.testing.assert_allclose(full.by_rank[:, :4].sum(axis=1), full.p_top)
        np.testing.assert_array_equal(full.central_weights, quick.central_weights)
        assert np.isnan(quick.rank_expected).all() and quick.by_rank.shape == (n, 0)


@pytest.mark.parametrize("width", [0.0, 0.2])
def test_the_size_of_a_block_changes_nothing_but_the_memory(monkeypatch, width):
    rng = np.random.default_rng(3)
    lo = np.repeat(rng.random((25, 4)) / 2, 2, axis=0)  # with equals
    weights = simplex_weights(500, 4, rng)
    args = {"k": 3, "ranks": 50}
    once = acceptability(lo, lo + width, weights, rng=np.random.default_rng(1), **args)
    for products, block in ((1, 1), (64, 500), (3000, 2**20)):
        monkeypatch.setattr("assess.score.what_next.smaa.PRODUCTS", products)
        monkeypatch.setattr("assess.score.what_next.smaa.BLOCK_BYTES", block)
        again = acceptability(
            lo, lo + width, weights, rng=np.random.default_rng(1), **args
        )
        for name, values in vars(once).items():
            np.testing.assert_array_equal(values, getattr(again, name), err_msg=name)


def test_sums_on_the_grid_are_exact_in_any_order():
    rng = np.random.default_rng(2)
    own, weights = rng.random(20), on_grid(simplex_weights(300, 20, rng))
    turned = rng.permutation(20)
    once, again = totals(own, weights), totals(own[turned], weights[:, turned])
    np.testing.assert_array_equal(once, again)
    assert once == pytest.approx(weights @ own, abs=1e-5)


values = arrays(float, (4, 3), elements=st.floats(0, 1))


@settings(max_examples=25)
@given(values, st.integers(0, 2), st.floats(0, 1))
def test_a_lower_value_never_raises_the_chance(lo, criterion, share):
    worse = lo.copy()
    worse[0, criterion] *= share
    assert run(worse, k=2).p_top[0] <= run(lo, k=2).p_top[0] + 1e-12


@settings(max_examples=25)
@given(values)
def test_ranks_are_a_doubly_stochastic_matrix(lo):
    by_rank = run(lo).by_rank
    assert by_rank.sum(axis=0) == pytest.approx(1)
    assert by_rank.sum(axis=1) == pytest.approx(1)
