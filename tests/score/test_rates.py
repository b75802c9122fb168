from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assess.score.rates import jeffreys_interval, shrunk_rates


def test_proportion_by_hand():
    found = jeffreys_interval(2, 10)
    assert found.point == pytest.approx(2.5 / 11)
    assert found.lo == pytest.approx(stats.beta.ppf(0.05, 2.5, 8.5))
    assert found.hi == pytest.approx(stats.beta.ppf(0.95, 2.5, 8.5))
    assert jeffreys_interval(0, 4).lo == 0.0
    assert jeffreys_interval(4, 4).hi == 1.0
    assert jeffreys_interval(0, 0) == (0.5, 0.0, 1.0)


def fleet(rng, services, mean, shape):
    rates = rng.gamma(shape, mean / shape, services)
    years = rng.choice([0.5, 1.0, 2.0], services)
    return rates, pd.Series(rng.poisson(rates * years)), pd.Series(years)


@pytest.mark.parametrize(
    ("services", "mean", "shape"), [(10, 3.0, 1.0), (10, 0.5, 2.0), (40, 0.5, 0.5), (200, 1.0, 2.0)]
)
def test_shrunk_intervals_cover(services, mean, shape):
    rng = np.random.default_rng(2026)
    covered = []
    for _ in range(60):
        rates, events, years = fleet(rng, services, mean, shape)
        found = shrunk_rates(events, years, level=0.9)
        covered.append(found["rate_lo"].le(rates) & found["rate_hi"].ge(rates))
    assert 0.84 <= np.mean(covered) <= 0.98


def test_shrinking_beats_the_raw_rate():
    rng = np.random.default_rng(7)
    rates, events, years = fleet(rng, 300, 0.8, 1.5)
    shrunk = shrunk_rates(events, years)["rate"]
    assert ((shrunk - rates) ** 2).mean() < 0.7 * ((events / years - rates) ** 2).mean()


def test_a_fleet_of_equals_is_pooled_and_a_loud_service_stands_out():
    years = pd.Series(1.0, index=list("abcdefgh"))
    equal = shrunk_rates(pd.Series(4, index=years.index), years)
    assert equal["rate"].eq(equal["rate"].iloc[0]).all()
    assert equal["rate"].iloc[0] == pytest.approx(4, rel=0.1)
    loud = shrunk_rates(pd.Series([20, 0, 0, 0, 0, 0, 0, 0], index=years.index), years)
    assert loud["rate"].idxmax() == "a"
    assert loud.loc["a", "rate_lo"] > loud.loc["b", "rate_hi"]


def test_a_service_that_nobody_watched_has_the_spread_of_the_fleet():
    events = pd.Series([3, 1, 0, 4, pd.NA], index=list("abcde"), dtype="Int64")
    years = pd.Series([1.0, 1.0, 1.0, 1.0, np.nan], index=list("abcde"))
    found = shrunk_rates(events, years)
    width = found["rate_hi"] - found["rate_lo"]
    assert width["e"] > width["c"]
    assert found.loc["c", "rate"] < found.loc["e", "rate"] < found.loc["d", "rate"]


def test_a_fleet_that_nobody_watched_is_unknown():
    found = shrunk_rates(pd.Series([0, 2]), pd.Series([0.0, np.nan]))
    assert found["rate"].isna().all()
    assert found["rate_lo"].eq(0).all()
    assert np.isinf(found["rate_hi"]).all()
    assert shrunk_rates(pd.Series(dtype="Int64"), pd.Series(dtype=float)).empty


def test_one_service_and_no_event_still_leaves_room_for_one():
    found = shrunk_rates(pd.Series([0], index=["only"]), pd.Series([0.5], index=["only"]))
    assert 0 < found.loc["only", "rate"] < 3
    assert found.loc["only", "rate_hi"] > 1


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 40), st.floats(0.01, 20)), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
def test_row_order_is_irrelevant_and_intervals_hold_their_point(counts, seed):
    events = pd.Series([n for n, _ in counts])
    years = pd.Series([t for _, t in counts])
    found = shrunk_rates(events, years)
    assert (found["rate_lo"] <= found["rate"]).all()
    assert (found["rate"] <= found["rate_hi"]).all()
    order = np.random.default_rng(seed).permutation(len(counts))
    pd.testing.assert_frame_equal(
        shrunk_rates(events.iloc[order], years).sort_index(), found, check_exact=True
    )
