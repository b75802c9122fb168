"""Rates and proportions from few observations, with honest intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Below this many services, or events in all, the fleet's own mean and spread are uncertain enough
# to be integrated over; above, their estimates are as good.
PLUG_IN_FROM = 50
GRID = 24
SHAPES = (0.05, 50.0)
POOLED_SHAPE = 1e4

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A number and the interval around it."""

    point: float
    lo: float
    hi: float


def rate_posterior(events_n: float, exposure_years: float, *, level: float = 0.9) -> Interval:
    """Rate of events from a count.

    Parameters
    ----------
    events_n : float
        Events seen. [count, >= 0]
    exposure_years : float
        Time watched. [years, >= 0; 0 or NA gives (NaN, 0, inf)]
    level : float, default 0.9
        Coverage of the interval. [share, 0-1]

    Returns
    -------
    Interval
        Posterior mean and equal-tailed interval; ``lo`` is 0 where nothing was seen. [per year]

    Notes
    -----
    A Gamma(1/2, 0) prior, Jeffreys' for a Poisson rate, gives Gamma(n + 1/2, exposure).
    """
    from scipy.special import gammaincinv

    if pd.isna(events_n) or pd.isna(exposure_years) or exposure_years <= 0 or events_n < 0:
        return Interval(np.nan, 0.0, np.inf)
    shape, tail = events_n + 0.5, (1 - level) / 2
    lo = 0.0 if events_n == 0 else float(gammaincinv(shape, tail)) / exposure_years
    hi = float(gammaincinv(shape, 1 - tail)) / exposure_years
    return Interval(shape / exposure_years, lo, hi)


def jeffreys_interval(successes: float, trials: float, *, level: float = 0.9) -> Interval:
    """Proportion from few observations.

    Parameters
    ----------
    successes : float
        Times that it happened. [count, 0 … trials]
    trials : float
        Times that it could have. [count, >= 0; 0 gives (0.5, 0, 1)]
    level : float, default 0.9
        Coverage of the interval. [share, 0-1]

    Returns
    -------
    Interval
        Posterior mean and equal-tailed interval. [share, 0-1]

    Notes
    -----
    Posterior of a Beta(1/2, 1/2) prior: quantiles of Beta(k + 1/2, n - k + 1/2); ``lo`` is 0 when
    k = 0 and ``hi`` is 1 when k = n (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286).
    """
    from scipy.special import betaincinv

    yes, no, tail = successes + 0.5, trials - successes + 0.5, (1 - level) / 2
    lo = 0.0 if successes <= 0 else float(betaincinv(yes, no, tail))
    hi = 1.0 if successes >= trials else float(betaincinv(yes, no, 1 - tail))
    return Interval(yes / (yes + no), lo, hi)


def shrunk_rates(
    events: pd.Series, exposure_years: pd.Series, *, level: float = 0.9
) -> pd.DataFrame:
    """Rate of each service, shrunk towards the fleet by what little it has shown itself.

    Parameters
    ----------
    events : Series
        Events by service; NA where nobody looked. [count]
    exposure_years : Series
        Time watched, on the same index; NA or 0 where nobody looked. [years]
    level : float, default 0.9
        Coverage of the intervals. [share, 0-1]

    Returns
    -------
    DataFrame
        Index of ``events``; ``rate``, ``rate_lo``, ``rate_hi`` [per year]. A service that nobody
        watched has the spread of the fleet; a fleet that nobody watched has (NaN, 0, inf).

    Notes
    -----
    Counts are Poisson, rates of services are Gamma with the fleet's mean and shape; posterior
    Gamma(shape + n, shape / mean + exposure). Mean and shape by moments (Marshall 1991,
    doi:10.2307/2347593); in small fleets integrated over a grid of 24 x 24 values of their
    logarithms, the mixture then held as the Gamma of the same mean and variance.
    """
    from scipy.special import gammaincinv

    counts = pd.to_numeric(events.sort_index(), errors="coerce").astype("float64")
    years = pd.to_numeric(exposure_years.reindex(counts.index), errors="coerce").astype("float64")
    is_seen = ((counts >= 0) & (years > 0)).to_numpy()
    n, t = counts.where(is_seen, 0).to_numpy(), years.where(is_seen, 0).to_numpy()
    found = pd.DataFrame({"rate": np.nan, "rate_lo": 0.0, "rate_hi": np.inf}, index=counts.index)
    if is_seen.any():
        mean, variance = _posterior_moments(n, t, is_seen)
        shape, tail = mean**2 / variance, (1 - level) / 2
        found["rate"] = mean
        found["rate_lo"] = gammaincinv(shape, tail) * variance / mean
        found["rate_hi"] = gammaincinv(shape, 1 - tail) * variance / mean
    return found.reindex(events.index)


def _posterior_moments(n: Floats, t: Floats, is_seen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean and variance of the rate of every service."""
    means, shapes, weights = fleet_prior(n[is_seen], t[is_seen])
    mean, square = np.zeros_like(n), np.zeros_like(n)
    for m, a, w in zip(means, shapes, weights, strict=True):
        shape, per_year = a + n, a / m + t
        mean += w * shape / per_year
        square += w * shape * (shape + 1) / per_year**2
    return mean, square - mean**2


def fleet_prior(n: Floats, t: Floats) -> tuple[Floats, Floats, Floats]:
    """How rates are spread over the fleet.

    Parameters
    ----------
    n : ndarray
        Events by service. [count]
    t : ndarray
        Time watched, by service. [years, > 0]

    Returns
    -------
    means, shapes, weights : ndarray
        Gamma distributions of rates by mean [per year] and shape, and their probabilities; one in
        a large fleet, a grid in a small one.
    """
    total, years = n.sum(), t.sum()
    crude = (total + 0.5) / years
    excess = (t * (n / t - crude) ** 2).sum() / years - crude * len(t) / years
    shape = np.clip(crude**2 / excess, SHAPES[0], POOLED_SHAPE) if excess > 0 else POOLED_SHAPE
    if len(n) >= PLUG_IN_FROM and total >= PLUG_IN_FROM:
        return np.array([crude]), np.array([shape]), np.array([1.0])
    spread = 4 * np.sqrt(1 / (total + 0.5) + 1 / (len(n) * np.clip(shape, 0.5, None)))
    log_means = np.log(crude) + np.linspace(-spread, spread, GRID)
    log_shapes = np.linspace(*np.log(SHAPES), GRID)
    means, shapes = (g.ravel() for g in np.meshgrid(np.exp(log_means), np.exp(log_shapes)))
    log_weights = _log_evidence(n, t, means, shapes) + 0.5 * np.log(means)
    weights = np.exp(log_weights - log_weights.max())
    is_held = weights > 1e-4
    means, shapes, weights = means[is_held], shapes[is_held], weights[is_held]
    return means, shapes, weights / weights.sum()


def _log_evidence(n: Floats, t: Floats, means: Floats, shapes: Floats) -> Floats:
    """Log probability of the counts: negative binomial; services that look alike count together."""
    from scipy.special import gammaln

    pairs, times = np.unique(np.column_stack([n, t]), axis=0, return_counts=True)
    found = np.zeros_like(means)
    for (count, years), k in zip(pairs, times, strict=True):
        per_year = shapes / means
        gain = gammaln(count + shapes) - gammaln(shapes) - gammaln(count + 1)
        gain += shapes * np.log(per_year / (per_year + years))
        gain += count * np.log(years / (per_year + years))
        found += k * gain
    return found
