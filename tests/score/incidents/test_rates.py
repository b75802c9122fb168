from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assess.score.incidents.rates import (
    SHAPES,
    Dispersion,
    dispersion,
    jeffreys_interval,
    jeffreys_rate,
    rate_ratio,
    shrunk_rates,
    wider_level,
)


def test_proportion_by_hand():
    found = jeffreys_interval(2, 10)
    assert found.point == pytest.approx(2.5 / 11)
    assert found.lo == pytest.approx(stats.beta.ppf(0.05, 2.5, 8.5))
    assert found.hi == pytest.approx(stats.beta.ppf(0.95, 2.5, 8.5))
    one = jeffreys_interval(1, 4)
    assert one.lo == pytest.approx(stats.beta.ppf(0.05, 1.5, 3.5))
    all_but_one = jeffreys_interval(3, 4)
    assert all_but_one.hi == pytest.approx(stats.beta.ppf(0.95, 3.5, 1.5))
    assert jeffreys_interval(0, 4).lo == 0.0
    assert jeffreys_interval(4, 4).hi == 1.0
    assert jeffreys_interval(0, 0) == (0.5, 0.0, 1.0)


def fleet(rng, services, mean, shape):
    rates = rng.gamma(shape, mean / shape, services)
    years = rng.choice([0.5, 1.0, 2.0], services)
    return rates, pd.Series(rng.poisson(rates * years)), pd.Series(years)


@pytest.mark.parametrize(
    ("services", "mean", "shape"),
    [(10, 3.0, 1.0), (10, 0.5, 2.0), (40, 0.5, 0.5), (200, 1.0, 2.0)],
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
    assert loud.loc["b", "rate_lo"] == 0  # of no event no rate is too low


def test_the_rate_of_one_service_is_as_uncertain_as_by_jeffreys_prior():
    (found,) = shrunk_rates(pd.Series([4]), pd.Series([1.0])).itertuples()
    # the same prior of the mean, and no fleet to learn from
    alone = jeffreys_rate(4, 1.0)
    assert found.rate_lo == pytest.approx(alone.lo, rel=0.08)
    assert found.rate_hi == pytest.approx(alone.hi, rel=0.08)


def test_more_services_alike_say_more_about_each():
    """Pooled over 64 equals, a rate is known about as well as from 64 times the events."""

    def width(services):
        found = shrunk_rates(pd.Series([4.0] * services), pd.Series([1.0] * services))
        return (found["rate_hi"] - found["rate_lo"]).iloc[0]

    assert width(64) < 0.6 * width(2)


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


@settings(max_examples=25)
@given(
    counts=st.lists(
        st.tuples(st.integers(0, 40), st.floats(0.01, 20)), min_size=1, max_size=12
    ),
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


def test_rate_by_hand():
    found = jeffreys_rate(3, 2.0, level=0.95)
    assert found.point == pytest.approx(3.5 / 2)
    assert found.lo == pytest.approx(stats.gamma.ppf(0.025, 3.5, scale=0.5))
    assert found.hi == pytest.approx(stats.gamma.ppf(0.975, 3.5, scale=0.5))
    one = jeffreys_rate(1, 2.0)
    assert one.lo == pytest.approx(stats.gamma.ppf(0.05, 1.5, scale=0.5))
    assert jeffreys_rate(0, 4.0).lo == 0.0
    assert np.isnan(jeffreys_rate(0, 0.0).point)
    assert jeffreys_rate(0, 0.0)[1:] == (0.0, np.inf)


def test_ratio_of_one_stratum_is_that_of_the_proportion():
    """5 events in 10 years against 10 in 10: of 15, 5 here, by Beta(5.5, 10.5)."""
    found = rate_ratio([5], [10], [10], [10])
    assert found.point == pytest.approx(0.5)
    ends = stats.beta.ppf([0.025, 0.975], 5.5, 10.5)
    assert found[1:] == pytest.approx(tuple(ends / (1 - ends)), rel=1e-5)
    longer = rate_ratio([5], [40], [10], [10])
    assert longer[1:] == pytest.approx(tuple(ends / (1 - ends) / 4), rel=1e-5)


PRIORS = {"uniform": (1.0, 1.0), "Jeffreys": (0.5, 0.5)}


def covered_shares(n, prior, interval):
    """How often an interval holds a proportion of a Beta prior, over all outcomes, exactly."""
    a, b = prior
    return sum(
        stats.betabinom.pmf(k, n, a, b)
        * np.diff(stats.beta.cdf(interval(k, n), k + a, n - k + b))[0]
        for k in range(n + 1)
    )


def as_share(k, n):
    """The ends of the ratio of two rates that were watched alike, as shares of all events."""
    found = rate_ratio([k], [1.0], [n - k], [1.0], level=0.9)
    return found.lo / (1 + found.lo), found.hi / (
        1 + found.hi
    ) if found.hi < np.inf else 1


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("n", [1, 3, 10])
@pytest.mark.parametrize(
    "interval",
    [lambda k, n: jeffreys_interval(k, n, level=0.9)[1:], as_share],
    ids=["proportion", "ratio"],
)
def test_few_observations_cover_what_they_say(n, prior, interval):
    assert covered_shares(n, PRIORS[prior], interval) == pytest.approx(
        0.9, abs=0.02 + 1e-4
    )


def covered_rates(expected, interval, *, shape=1.0):
    """The same of a rate with a Gamma prior, by how many events are expected."""
    scale = expected / shape
    counts = np.arange(int(20 * expected) + 60)
    chances = stats.nbinom.pmf(counts, shape, 1 / (1 + scale))
    return sum(
        p * np.diff(stats.gamma.cdf(interval(k), k + shape, scale=scale / (1 + scale)))[0]
        for k, p in zip(counts, chances, strict=True)
        if p > 1e-12
    )


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("expected", [1, 3, 10])
def test_few_events_cover_what_they_say(expected, shape):
    found = covered_rates(expected, lambda k: jeffreys_rate(k, 1.0)[1:], shape=shape)
    # half an event where most fleets have none: 0 is always inside
    slack = 0.03 if shape < 1 and expected == 1 else 0.02
    assert found == pytest.approx(0.9, abs=slack)


def test_nothing_seen_leaves_everything_open_and_an_exact_interval_would_be_wider():
    assert jeffreys_interval(0, 0)[1:] == (0.0, 1.0)
    assert jeffreys_rate(0, 0.0)[1:] == (0.0, np.inf)
    for n in (1, 3, 10):
        exact = stats.beta.ppf(0.95, 1, n)  # Clopper and Pearson
        best = stats.beta.ppf(0.9, 0.5, n + 0.5)  # the shortest of Jeffreys' posterior
        assert best <= jeffreys_interval(0, n).hi < exact
        assert jeffreys_interval(0, n).hi < 1.15 * best
    assert jeffreys_rate(0, 1.0).hi < stats.gamma.ppf(0.95, 1)  # Garwood
    assert jeffreys_rate(0, 1.0).hi < 1.2 * stats.gamma.ppf(0.9, 0.5)


def test_ratio_over_strata_is_mantel_and_haenszels():
    a, t1, b, t0 = [4, 3], [30.0, 48.0], [17, 14], [42.0, 48.0]
    found = rate_ratio(a, t1, b, t0)
    here = 4 * 42 / 72 + 3 * 48 / 96
    there = 17 * 30 / 72 + 14 * 48 / 96
    assert found.point == pytest.approx(here / there)
    assert found.lo < found.point < found.hi
    # a stratum with one side only compares nothing
    assert rate_ratio([*a, 0], [*t1, 0.0], [*b, 25], [*t0, 42.0]) == found


def test_ratio_says_what_it_cannot_know():
    assert rate_ratio([0], [5], [3], [5])[:2] == (0.0, 0.0)
    assert rate_ratio([3], [5], [0], [5]).hi == np.inf
    assert np.isnan(rate_ratio([0], [5], [0], [5]).point)
    assert rate_ratio([0], [0], [7], [5])[1:] == (0.0, np.inf)
    assert rate_ratio([], [], [], [])[1:] == (0.0, np.inf)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_ratios_cover_the_truth(ratio):
    rng = np.random.default_rng(2026)
    base = np.array([3.0, 2.0, 1.0, 0.5])
    ours, theirs = np.array([2.0, 4.0, 6.0, 3.0]), np.array([6.0, 8.0, 4.0, 2.0])
    covered = []
    for _ in range(800):
        a, b = rng.poisson(ratio * base * ours), rng.poisson(base * theirs)
        found = rate_ratio(a, ours, b, theirs)
        covered.append(found.lo <= ratio <= found.hi)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_rates_and_shares_cover_the_truth():
    """Over truths drawn at random: at a single one a count that is whole cannot cover evenly."""
    rng = np.random.default_rng(11)
    rates, chances = rng.uniform(0.5, 15, 3000), rng.uniform(0.02, 0.98, 3000)
    found = [jeffreys_rate(rng.poisson(2 * r), 2.0, level=0.95) for r in rates]
    assert (
        0.93
        <= np.mean([i.lo <= r <= i.hi for i, r in zip(found, rates, strict=True)])
        <= 0.97
    )
    found = [jeffreys_interval(rng.binomial(25, p), 25, level=0.95) for p in chances]
    assert (
        0.93
        <= np.mean([i.lo <= p <= i.hi for i, p in zip(found, chances, strict=True)])
        <= 0.97
    )


@pytest.mark.parametrize(
    ("services", "mean", "shape", "runs"),
    [
        (5, 2, 1, 300),
        (20, 1, 2, 100),
        (40, 0.5, 0.5, 100),
        (40, 2, 4, 100),
        (200, 1, 2, 30),
    ],
)
def test_shrunk_intervals_cover_95_in_100(services, mean, shape, runs):
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(runs):
        rates, events, years = fleet(rng, services, mean, shape)
        found = shrunk_rates(events, years, level=0.95)
        covered += list(found["rate_lo"].le(rates) & found["rate_hi"].ge(rates))
    assert 0.93 <= np.mean(covered) <= 0.97  # of 1,500 to 6,000 truths


def test_dispersion_by_hand():
    """4 and 0 where 2 and 2 are expected, each with half the time; 3 and 3 as expected."""
    events, years = (
        pd.Series([4, 0, 3, 3, 9, 7]),
        pd.Series([1.0, 1.0, 2.0, 2.0, 1.0, 1.0]),
    )
    group = pd.Series(["a", "a", "b", "b", None, "alone"])
    assert dispersion(events, years, group) == ((4 / 0.5 + 4 / 0.5) / (4 + 6), 2)
    assert dispersion(events * 0, years, group) == (1, 0)
    assert dispersion(events[:1], years[:1], group[:1]) == (1, 0)
    assert wider_level(0.95, Dispersion(1, 7)) == 0.95
    wide = 2 * stats.norm.cdf(2 * stats.t.ppf(0.975, 7)) - 1
    assert wider_level(0.95, Dispersion(4, 7)) == pytest.approx(wide)


@pytest.mark.parametrize(
    ("ratio", "shape", "here", "there"),
    [(2, 4, 5, 8), (0.5, 1, 5, 8), (1, 2, 5, 8), (1, 2, 2, 3)],
)
def test_ratios_cover_the_truth_where_services_of_a_tier_are_unlike(
    ratio, shape, here, there
):
    rng = np.random.default_rng(1)
    n = 3 * (here + there)
    ours, tier = np.arange(n) < 3 * here, np.arange(n) % 3 + 1
    base = np.array([4.0, 2.0, 1.0])[tier - 1] * np.where(ours, ratio, 1.0)
    years = np.full(n, 0.5)
    group = pd.Series(tier.astype(str) + ours.astype(str))
    covered = []
    for _ in range(250):
        events = rng.poisson(base * years * rng.gamma(shape, 1 / shape, n))
        spread = dispersion(pd.Series(events), pd.Series(years), group)
        strata = [
            [cells[held & (tier == t)].sum() for t in (1, 2, 3)]
            for held in (ours, ~ours)
            for cells in (events, years)
        ]
        both = (
            rate_ratio(*strata, level=level)
            for level in (0.95, wider_level(0.95, spread))
        )
        covered.append([i.lo <= ratio <= i.hi for i in both])
    alike, wider = np.mean(covered, axis=0)
    assert alike < 0.93  # as if they were alike
    assert 0.92 <= wider <= 0.97


def integrated(events, years, level, steps=60):
    """The same posterior by brute force: both unknowns of the fleet on a wide, fine grid."""
    from scipy.optimize import brentq

    crude = np.log((sum(events) + 0.5) / sum(years))
    shapes = np.exp(np.linspace(*np.log(SHAPES), steps))[:, None]
    means = np.exp(np.linspace(crude - 15, crude + 6, 5 * steps))[None, :]
    logs = np.log(means) / 2 + 0 * shapes
    for n, t in zip(events, years, strict=True):
        chance = shapes / means / (shapes / means + t)
        logs = logs + stats.nbinom.logpmf(n, shapes, chance)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    for n, t in zip(events, years, strict=True):
        rates = stats.gamma(shapes + n, scale=1 / (shapes / means + t))

        def beyond(log, share, rates=rates):
            return (weights * rates.cdf(np.exp(log))).sum() - share

        tails = ((1 - level) / 2, (1 + level) / 2)
        ends = [brentq(beyond, -40, 9, args=(share,)) for share in tails]
        yield (
            (weights * rates.mean()).sum(),
            np.exp(ends[0]) if n else 0.0,
            np.exp(ends[1]),
        )


@pytest.mark.parametrize(
    ("events", "years", "level", "apart"),
    [
        ([20, 0, 0, 0, 0], [1.0, 2.0, 0.5, 1.0, 1.0], 0.9, 0.015),
        ([9, 2, 14, 6, 30, 11, 4, 8], [1, 0.5, 1, 2, 2, 1, 1, 1], 0.95, 0.015),
        # without events the mean of the fleet is anything but lognormal
        ([0] * 12, [0.25] * 12, 0.9, 0.05),
    ],
)
def test_rates_are_what_both_unknowns_of_the_fleet_leave(events, years, level, apart):
    found = shrunk_rates(pd.Series(events), pd.Series(years), level=level)
    wanted = list(integrated(events, years, level))
    np.testing.assert_allclose(found.to_numpy(), wanted, rtol=apart)
