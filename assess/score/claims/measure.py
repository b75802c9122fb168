"""The shapes that a measured claim can have: a share, a ratio, a mean, an amount."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from assess.score.incidents.rates import (
    Interval,
    jeffreys_interval,
    jeffreys_rate,
    rate_ratio,
)

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
TALLY = ["yes", "no", "unknown"]
MOST = 1e7  # what would take more than that is not decided by more of the same
NOTHING = Interval(math.nan, 0.0, math.inf)


class Finding(NamedTuple):
    """What was measured for a claim.

    ``interval`` leaves open what nobody knows and ``sampled`` takes it to be like the rest;
    ``n`` counts what was seen and ``unknown_n`` what was there and not seen; ``table`` is what the
    numbers are computed from; ``more`` says how many more of the same would decide against a bound,
    and ``gap`` says what is missing where that is no question of number.
    """

    interval: Interval
    sampled: Interval
    n: int
    table: pd.DataFrame
    unknown_n: int = 0
    more: Callable[[float], float] = lambda bound: math.inf
    gap: str = ""


def verdict(interval: Interval, bound: float, *, above: bool) -> str:
    """Judge by an interval: only one that excludes the bound decides.

    Parameters
    ----------
    interval : Interval
        The measurement.
    bound : float
        What it is held against. [its unit]
    above : bool
        Whether the claim is supported above the bound, and not below.

    Returns
    -------
    str
        ``supported``, ``refuted`` or ``undecided``.
    """
    if interval.lo > bound:
        return SUPPORTED if above else REFUTED
    if interval.hi < bound:
        return REFUTED if above else SUPPORTED
    return UNDECIDED


def share(table: pd.DataFrame, *, level: float) -> Finding:
    """Measure a share: of what is known ``yes``; ``unknown`` may be either.

    Parameters
    ----------
    table : DataFrame
        Columns ``yes, no, unknown``. [count]
    level : float
        Coverage of the interval. [share, 0-1]

    Returns
    -------
    Finding
        Share of the known, in Jeffreys' interval: its lower end counts what is unknown as no, its
        upper end as yes.
    """
    yes, no, unknown = (int(table[name].sum()) for name in TALLY)
    n = yes + no
    point = yes / n if n else math.nan
    low = jeffreys_interval(yes, n + unknown, level=level).lo
    high = jeffreys_interval(yes + unknown, n + unknown, level=level).hi
    sampled = jeffreys_interval(yes, n, level=level)._replace(point=point)

    def more(bound: float) -> float:
        chance = (yes + 0.5) / (n + 1)

        def decides(m: float) -> bool:
            ahead = jeffreys_interval(chance * (n + m), n + m, level=level)
            return not ahead.lo <= bound <= ahead.hi

        return _smallest(decides)

    return Finding(Interval(point, low, high), sampled, n, table, unknown, more)


def ratio(
    table: pd.DataFrame, *others: pd.DataFrame, level: float, unknown_n: int = 0
) -> Finding:
    """Measure a ratio of rates over strata: only those with both sides compare anything.

    Parameters
    ----------
    table : DataFrame
        Stratum, events, exposure, other events, other exposure, in this order. [count; time] More
        columns say what nobody can place.
    *others : DataFrame
        The same, with that put on the one side, or on the other.
    level : float
        Coverage of the interval. [share, 0-1]
    unknown_n : int, default 0
        What belongs to one of the sides, and nobody knows to which. [count]

    Returns
    -------
    Finding
        `rates.rate_ratio` of the first table, in an interval that holds those of all of them; ``n``
        counts the events of strata with both sides.
    """
    a, t1, b, t0 = (table[name].to_numpy(dtype=float) for name in table.columns[1:5])
    both = (t1 > 0) & (t0 > 0)
    n = int((a + b)[both].sum())
    found = ratio_of(table, level=level)
    whole = _hull(found, *(ratio_of(other, level=level) for other in others))
    gap = (
        ""
        if n or not both.any()
        else "nothing has happened on either side so far: keep counting"
    )

    def more(bound: float) -> float:
        from scipy.special import ndtri

        ours, theirs = a[both].sum() + 0.5, b[both].sum() + 0.5
        point = found.point
        if not 0 < point < math.inf:
            point = (ours / t1[both].sum()) / (theirs / t0[both].sum())
        distance = abs(math.log(point / bound)) if bound > 0 else math.inf
        error = float(ndtri((1 + level) / 2)) * math.sqrt(1 / ours + 1 / theirs)
        times = (error / distance) ** 2 if distance else math.inf
        return max(times - 1, 0.0) * float(t1[both].sum())

    return Finding(whole, found, n, table, unknown_n, more, gap)


def mean(table: pd.DataFrame, *, level: float) -> Finding:
    """Measure a mean over alike things, each known, or known to lie within a range.

    Parameters
    ----------
    table : DataFrame
        ``n`` [count] things that have ``point``, between ``lo`` and ``hi``, each.
    level : float
        Coverage of the interval. [share, 0-1]

    Returns
    -------
    Finding
        Mean of the points; Student's interval below the mean of the lower ends and above that of
        the upper ends.
    """
    from scipy.special import stdtrit

    times = table["n"].to_numpy(dtype=int)
    n = int(times.sum())
    vague = int(times[(table["lo"] != table["hi"]).to_numpy()].sum())
    if n < 2:
        point = float(table["point"].iloc[0]) if n else math.nan
        gap = "a single one has no spread: connect more" if n else ""
        return Finding(NOTHING._replace(point=point), NOTHING, n, table, vague, gap=gap)
    t = float(stdtrit(n - 1, (1 + level) / 2))

    def around(column: str) -> Interval:
        values = np.repeat(table[column].to_numpy(dtype=float), times)
        half = t * values.std(ddof=1) / math.sqrt(n)
        return Interval(
            values.mean(), max(values.mean() - half, 0.0), values.mean() + half
        )

    sampled = around("point")

    def more(bound: float) -> float:
        distance = abs(sampled.point - bound)
        half = sampled.hi - sampled.point
        return n * ((half / distance) ** 2 - 1) if distance else math.inf

    interval = Interval(sampled.point, around("lo").lo, around("hi").hi)
    return Finding(interval, sampled, n, table, vague, more)


def amount(
    table: pd.DataFrame,
    whole: pd.DataFrame,
    *,
    factor: float,
    level: float,
    unknown_n: int = 0,
) -> Finding:
    """Measure an amount to expect: so many times the rate of events in some exposure.

    Parameters
    ----------
    table : DataFrame
        ``incidents`` [count] and ``service_months`` in which they were counted.
    whole : DataFrame
        The same, with what nobody can place put there too.
    factor : float
        Service-months to expect them in. [months]
    level : float
        Coverage of the interval. [share, 0-1]
    unknown_n : int, default 0
        What nobody can place. [count]

    Returns
    -------
    Finding
        Gamma's interval by Jeffreys' prior; ``n`` counts the service-months.
    """

    def expected(part: pd.DataFrame) -> Interval:
        rate = jeffreys_rate(*part[["incidents", "service_months"]].sum(), level=level)
        return Interval(*(factor * end for end in rate))

    events, months = int(table["incidents"].sum()), float(table["service_months"].sum())
    found = expected(table)

    def more(bound: float) -> float:
        rate = (events + 0.5) / months if months else math.inf

        def decides(m: float) -> bool:
            ahead = jeffreys_rate(rate * (months + m), months + m, level=level)
            return not ahead.lo * factor <= bound <= ahead.hi * factor

        return _smallest(decides) if months else math.inf

    interval = _hull(found, expected(whole))
    return Finding(interval, found, math.floor(months), whole, unknown_n, more)


def seen(finding: Finding, gap: str, *, looked: bool) -> Finding:
    """Say of what was looked for and not found that there is none, instead of what to connect."""
    is_none = looked and not finding.n and not finding.unknown_n
    return finding._replace(gap=gap) if is_none else finding


def added(table: pd.DataFrame, more: Mapping[str, str]) -> pd.DataFrame:
    """Add to columns, by name, what others hold."""
    return table.assign(
        **{name: table[name] + table[other] for name, other in more.items()}
    )


def _hull(found: Interval, *others: Interval) -> Interval:
    """Widen an interval until it holds the others."""
    every = (found, *others)
    return found._replace(lo=min(i.lo for i in every), hi=max(i.hi for i in every))


def _smallest(decides: Callable[[float], bool]) -> float:
    """Find the smallest whole number that decides; infinite where none within reason does."""
    high = 1.0
    while not decides(high):
        high *= 2
        if high > MOST:
            return math.inf
    low = high / 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def rates_by(spells: pd.DataFrame, by: str, *, level: float) -> pd.DataFrame:
    """Return the incident rate of each group of spells (`Exposure.spells`).

    ``by, services`` [count], ``incidents`` [count], ``service_months``, and ``rate, rate_lo,
    rate_hi`` [per service and year].
    """
    groups = spells.groupby(by, sort=True, observed=True)
    table = groups.agg(
        services=("service_id", "nunique"),
        incidents=("incidents", "sum"),
        service_months=("months", "sum"),
    ).reset_index()
    rates = [
        jeffreys_rate(n, months / 12, level=level)
        for n, months in zip(table["incidents"], table["service_months"], strict=True)
    ]
    columns = ["rate", "rate_lo", "rate_hi"]
    return table.join(
        pd.DataFrame(rates, columns=columns, index=table.index, dtype=float)
    )


def compare(spells: pd.DataFrame, first: pd.Series) -> pd.DataFrame:
    """Put two groups of spells beside each other, tier by tier.

    ``first`` is whether a spell is of the one group; NA where it may be of either. Columns:
    ``tier`` (0: unknown), ``incidents, months, other_incidents, other_months``, which
    `rate_ratio` takes, and ``unplaced_incidents, unplaced_months``.
    """
    tier = spells["tier"].astype("Float64").fillna(0).astype(int)
    group = first.astype("boolean").map({True: "", False: "other_"}).fillna("unplaced_")
    table = pd.DataFrame(index=pd.Index(sorted(set(tier)), name="tier"))
    for prefix in ("", "other_", "unplaced_"):
        rows = spells.loc[group.eq(prefix), ["incidents", "months"]]
        table = table.join(rows.groupby(tier).sum().add_prefix(prefix))
    table = table.fillna(0)
    counts = [name for name in table if name.endswith("incidents")]
    return table.astype(dict.fromkeys(counts, "int64")).reset_index()


def ratio_of(table: pd.DataFrame, *, level: float) -> Interval:
    """Return the rate ratio of a table as `compare` makes it."""
    return rate_ratio(*(table[name] for name in table.columns[1:5]), level=level)
