"""Rates and proportions from few observations, with honest intervals."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike
from pandas import DataFrame, Series

from assess.score import Floats

# Grid over the logarithms of the fleet's mean and shape. For every shape a few quantiles of the mean
# then stand for it (Gauss-Hermite, carried to its distribution), which keeps the mixture small.
GRID = 24
SHAPES = (0.1, 20.0)
NODES = 5
DEVIATIONS = (-6, 4)  # of the mean's grid: few events leave open how low it is
HALVINGS = 17  # of a factor e^18: quantiles to 2e-4
LOG_RATIO = 100.0  # no ratio of rates lies beyond that
# of a grid of logarithms: its ends are 45 standard deviations from its middle
STRETCH = 4.5
STEPS = 8001
# Share of what an interval leaves out that is at its one end, where the other is the bound. So 90%
# are 88 to 92% for 1, 3 and 10 trials, by the uniform prior as by Jeffreys'.
AT_BOUND = 0.8
LEVEL_MAX = 1 - 1e-9  # of an interval; further out numbers do not tell what is left

Prior = tuple[Floats, Floats, Floats]


class Interval(NamedTuple):
    """A number and the interval around it."""

    point: float
    lo: float
    hi: float


NOTHING = Interval(math.nan, 0.0, math.inf)  # of which nothing is known


def jeffreys_interval(successes: float, trials: float, *, level: float = 0.9) -> Interval:
    """Return a proportion from few observations: posterior mean and equal-tailed interval.

    Of a Beta(1/2, 1/2) prior: quantiles of Beta(k + 1/2, n - k + 1/2); ``lo`` is 0 when k = 0 and
    ``hi`` is 1 when k = n (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286). Then most of
    what is left out is at the other end, so that few observations cover about what they say.
    """
    from scipy.special import betaincinv

    yes = successes + 0.5
    no = trials - successes + 0.5
    is_least = successes <= 0
    is_most = successes >= trials
    tail = _tail(level, is_bound=is_least or is_most)
    lo = 0.0 if is_least else float(betaincinv(yes, no, tail))
    hi = 1.0 if is_most else float(betaincinv(yes, no, 1 - tail))
    return Interval(yes / (yes + no), lo, hi)


def _tail(level: float, *, is_bound: bool) -> float:
    """Return the probability outside one end; if the other end is a bound, this one has most."""
    # With a half of it there, few observations cover 95% instead of 90; with all of it
    # 87%, where every proportion is as likely. See `AT_BOUND`.
    share = AT_BOUND if is_bound else 0.5
    return share * (1 - level)


def jeffreys_rate(events: float, exposure: float, *, level: float = 0.9) -> Interval:
    """Return a rate from few events: posterior mean and equal-tailed interval, per exposure.

    Of a Gamma(1/2, 0) prior: quantiles of Gamma(n + 1/2, exposure); ``lo`` is 0 when n = 0, and most
    of what is left out is above. Without exposure nothing is known: (NaN, 0, inf).
    """
    from scipy.special import gammaincinv

    if not exposure > 0:
        return NOTHING
    shape = events + 0.5
    is_least = events <= 0
    tail = _tail(level, is_bound=is_least)
    lo = 0.0 if is_least else float(gammaincinv(shape, tail)) / exposure
    hi = float(gammaincinv(shape, 1 - tail)) / exposure
    return Interval(shape / exposure, lo, hi)


class Dispersion(NamedTuple):
    """Variance of counts relative to Poisson counts, at least 1, and degrees of freedom."""

    spread: float
    freedom: int


def dispersion(events: Series, exposure: Series, group: Series) -> Dispersion:
    """Return how much more the members of groups scatter than by chance alone."""
    # Variance of the members' counts over that of Poisson's, each summed, so that a group
    # weighs as much as it does in a sum; groups without an event are left out, and
    # members without a group.
    rows = DataFrame({"n": events, "t": exposure, "group": group})
    rows = rows[rows["t"] > 0].dropna()
    codes, _ = pd.factorize(rows["group"])
    n, t = rows[["n", "t"]].to_numpy(float).T
    n_sum, t_sum = (np.bincount(codes, cells)[codes] for cells in (n, t))
    counted = (n_sum > 0) & (t_sum > t)
    freedom = int(counted.sum()) - len(np.unique(codes[counted]))
    if freedom < 1:
        return Dispersion(1.0, 0)
    part = (t / t_sum)[counted]
    expected = n_sum[counted] * part
    squares = (n[counted] - expected) ** 2
    ratio = (squares / (1 - part)).sum() / expected.sum()
    return Dispersion(max(float(ratio), 1.0), freedom)


def wider_level(level: float, scatter: Dispersion) -> float:
    """Return the level at which a normal interval is wide enough for overdispersed counts.

    By the square root of the spread, and Student's quantile, since the spread is itself estimated
    (quasi-likelihood; McCullagh and Nelder, Generalized Linear Models, section 9.2).
    """
    from scipy.special import ndtr, stdtrit

    if scatter.spread <= 1:
        return level
    width = stdtrit(scatter.freedom, (1 + level) / 2) * math.sqrt(scatter.spread)
    return min(float(2 * ndtr(width) - 1), LEVEL_MAX)


def rate_ratio(
    events: ArrayLike,
    exposure: ArrayLike,
    other_events: ArrayLike,
    other_exposure: ArrayLike,
    *,
    level: float = 0.95,
) -> Interval:
    """Return the ratio of two rates that is the same in every stratum.

    ``events, exposure`` [count; any unit of time] are those of the one group by stratum,
    ``other_events, other_exposure`` those of the group that it is compared with. ``lo`` is 0
    without an event here, ``hi`` infinite without one there, and all is unknown, (NaN, 0, inf),
    where no stratum has both exposures and an event.

    Point: Mantel and Haenszel's, ``sum(a * t0 / t) / sum(b * t1 / t)`` (Rothman and Greenland,
    Modern Epidemiology, chapter 15). Interval: conditional on the events of each stratum, of which
    those here are binomial with chance ``r * t1 / (r * t1 + t0)``, by Jeffreys' prior of r: of one
    stratum it is that of the proportion. An exact one would cover too much where events are few.
    """
    a, t1, b, t0 = (
        np.atleast_1d(np.asarray(cells, dtype=float))
        for cells in (events, exposure, other_events, other_exposure)
    )
    compared = (t1 > 0) & (t0 > 0) & (a + b > 0)
    a, t1, b, t0 = (cells[compared] for cells in (a, t1, b, t0))
    if not compared.any():
        return NOTHING
    ours = (a * t0 / (t1 + t0)).sum()
    theirs = (b * t1 / (t1 + t0)).sum()
    logs, below = _log_ratio(a.sum(), a + b, t1 / t0)
    tail = _tail(min(level, LEVEL_MAX), is_bound=ours <= 0 or theirs <= 0)
    point = math.inf
    lo = 0.0
    hi = math.inf
    if theirs:
        point = float(ours / theirs)
        hi = math.exp(np.interp(1 - tail, below, logs))
    if ours:
        lo = math.exp(np.interp(tail, below, logs))
    return Interval(point, lo, hi)


def _log_ratio(at: float, m: Floats, odds: Floats) -> tuple[Floats, Floats]:
    """Return log ratios, and the probability of less than each, given ``at`` of ``m`` events."""
    from scipy.integrate import cumulative_simpson
    from scipy.optimize import brentq
    from scipy.special import expit

    # all events on one side would put the maximum at infinity
    goal = np.clip(at, 0.5, m.sum() - 0.5)
    log_odds = np.log(odds)

    def excess(log_ratio: float) -> float:
        return float((m * expit(log_ratio + log_odds)).sum() - goal)

    near = brentq(excess, -LOG_RATIO, LOG_RATIO, xtol=1e-12)
    p = expit(near + log_odds)
    width = 1 / math.sqrt((m * p * (1 - p)).sum())
    # close steps in the middle, and ends so far out that nothing is left
    logs = near + width * np.sinh(np.linspace(-STRETCH, STRETCH, STEPS))
    each = logs[:, None] + log_odds
    information = (m * expit(each) * expit(-each)).sum(axis=1)
    likelihood = at * logs - np.logaddexp(0, each) @ m
    density = likelihood + np.log(information) / 2
    below = cumulative_simpson(np.exp(density - density.max()), x=logs, initial=0)
    return logs, np.maximum.accumulate(below / below[-1])


def shrunk_rates(
    events: Series, exposure_years: Series, *, level: float = 0.9, loose_n: int = 0
) -> DataFrame:
    """Return the rate of each service, shrunk towards the fleet's where it has little exposure.

    ``events`` [count] and ``exposure_years`` [years] by service; NA or 0 if not watched. Index
    of ``events``; ``rate, rate_lo, rate_hi`` [per year]. An unwatched service has the
    spread of the fleet; an unwatched fleet has (NaN, 0, inf). ``loose_n`` more events are of services
    that nobody knows: each may be of any, so they raise every upper end.

    Counts are Poisson and rates of services Gamma with the fleet's mean and shape, so that a
    service's posterior is Gamma(shape + n, shape / mean + exposure). Mean and shape are integrated
    over a grid around their moments estimate (Marshall 1991, doi:10.2307/2347593): plugging the
    estimate in gives intervals that are too narrow wherever the fleet has seen few events.
    """
    counts = events.sort_index().astype("float64")
    years = exposure_years.reindex(counts.index).astype("float64")
    is_seen = ((counts >= 0) & (years > 0)).to_numpy()
    n = counts.where(is_seen, 0).to_numpy()
    t = years.where(is_seen, 0).to_numpy()
    unknown = {"rate": np.nan, "rate_lo": 0.0, "rate_hi": np.inf}
    rates = DataFrame(unknown, index=counts.index)
    if is_seen.any():
        prior = _fleet_prior(n[is_seen], t[is_seen])
        # services of equal counts and years have equal rates: computed once
        both = np.column_stack([n, t])
        alike, which = np.unique(both, axis=0, return_inverse=True)
        posterior = _posterior(alike[:, 0], alike[:, 1], prior, level)
        rates[:] = posterior[which]
    if loose_n:
        # all may be of this service, which then says nothing of the others
        pairs = zip(n + loose_n, t, strict=True)
        own = [jeffreys_rate(*pair, level=level).hi for pair in pairs]
        rates["rate_hi"] = np.maximum(rates["rate_hi"], own)
    return rates.reindex(events.index)


def _posterior(n: Floats, t: Floats, prior: Prior, level: float) -> Floats:
    """Return mean, lower and upper end of the posterior rates: a mixture of Gammas."""
    from scipy.special import gammainc

    means, shapes, weights = prior
    shape = shapes[:, None] + n
    per_year = (shapes / means)[:, None] + t
    mean = weights @ (shape / per_year)
    columns = [mean]
    for share in ((1 - level) / 2, (1 + level) / 2):
        # a mixture of Gammas has no quantile in closed form: bisection of its logarithm
        # from e^-14 to e^4 times the mean: see `HALVINGS`
        low = np.log(mean) - 14
        high = np.log(mean) + 4
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            is_below = weights @ gammainc(shape, per_year * np.exp(middle)) < share
            low = np.where(is_below, middle, low)
            high = np.where(is_below, high, middle)
        columns.append(np.exp((low + high) / 2))
    columns[1][n == 0] = 0.0  # where nothing has happened, no rate is too low
    return np.column_stack(columns)


def _fleet_prior(n: Floats, t: Floats) -> Prior:
    """Return the fleet's distribution of rates: a mixture of Gammas by mean and shape."""
    from scipy.special import ndtr

    total = n.sum()
    crude = (total + 0.5) / t.sum()
    # variance between services beyond Poisson's own
    between = (t * (n / t - crude) ** 2).sum()
    excess = between / t.sum() - crude * len(t) / t.sum()
    shape = np.clip(crude**2 / max(excess, 1e-12), *SHAPES)
    # of the logarithm of the mean: by the count, and by the differences between services
    variance = 1 / (total + 0.5) + 1 / (len(n) * shape)
    log_means = np.log(crude) + np.sqrt(variance) * np.linspace(*DEVIATIONS, GRID)
    low, high = np.log(SHAPES)
    shapes = np.exp(np.linspace(low, high, GRID))
    log_weights = _log_evidence(n, t, np.exp(log_means)[:, None], shapes)
    # prior of the mean: its square root, as Jeffreys' for a Poisson rate on a log scale
    log_weights += log_means[:, None] / 2
    weights = np.exp(log_weights - log_weights.max())
    by_shape = weights.sum(axis=0) / weights.sum()
    # shapes that hardly count are left out: the posterior is a sum over all that stay
    is_likely = by_shape > 1e-4
    weights = weights[:, is_likely]
    by_shape = by_shape[is_likely]
    shapes = shapes[is_likely]
    weights = weights / weights.sum(axis=0)
    # without events the mean is far from lognormal: its quantiles, not its deviations
    below = weights.cumsum(axis=0) - weights / 2
    nodes, by_node = hermegauss(NODES)
    quantiles = [np.interp(ndtr(nodes), each, log_means) for each in below.T]
    means = np.exp(np.transpose(quantiles)).ravel()
    joint = np.multiply.outer(by_node, by_shape).ravel()
    return means, np.tile(shapes, NODES), joint / joint.sum()


def _log_evidence(n: Floats, t: Floats, means: Floats, shapes: Floats) -> Floats:
    """Return log probabilities of the counts: negative binomial; equal services count together."""
    from scipy.special import gammaln

    pairs = np.column_stack([n, t])
    alike, times = np.unique(pairs, axis=0, return_counts=True)
    logs = np.zeros(np.broadcast_shapes(means.shape, shapes.shape))
    per_year = shapes / means
    for (count, years), k in zip(alike, times, strict=True):
        both = per_year + years
        gain = gammaln(count + shapes) - gammaln(shapes)
        gain = gain + shapes * np.log(per_year / both)
        logs += k * (gain + count * np.log(years / both))
    return logs
