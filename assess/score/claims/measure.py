"""The kinds of measurements of a claim: a share, a ratio, a mean, an amount."""

import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from pandas import DataFrame, Index, Series

from assess.frames import surely
from assess.score import Floats
from assess.score.incidents.rates import (
    NOTHING,
    Interval,
    dispersion,
    jeffreys_interval,
    jeffreys_rate,
    rate_ratio,
    wider_level,
)

SUPPORTED = "supported"
REFUTED = "refuted"
UNDECIDED = "undecided"
CUTS = (0.2, 0.4, 0.6, 0.8, 1.0)  # shares of those that may be of either side
UNPLACED = ("incidents", "months")
TALLY = ["yes", "no", "unknown"]
MOST = 1e7  # what would take more than that is not decided by more of the same


class Measurement(NamedTuple):
    """The measurement of a claim.

    ``interval`` allows for all unknown cases and ``sampled`` takes them to be like the rest;
    ``n`` counts what was seen and ``unknown_n`` what was there and not seen; ``table`` is what the
    numbers are computed from; ``more`` returns how many more of the same would decide against a
    bound, and ``gap`` names what is missing where numbers would not help.
    """

    interval: Interval
    sampled: Interval
    n: int
    table: DataFrame
    unknown_n: int = 0
    more: Callable[[float], float] = lambda bound: math.inf
    gap: str = ""


def verdict(interval: Interval, bound: float, *, above: bool) -> str:
    """Judge a claim, supported ``above`` the bound or else below it."""
    # only an interval that excludes the bound decides
    if interval.lo > bound:
        return SUPPORTED if above else REFUTED
    if interval.hi < bound:
        return REFUTED if above else SUPPORTED
    return UNDECIDED


def share(table: DataFrame, *, level: float, is_whole: bool = True) -> Measurement:
    """Measure the share of ``yes`` in a table of ``yes, no, unknown`` [count].

    The share is that of the known, in Jeffreys' interval: its lower end counts what is unknown as
    no, its upper end as yes; unless the table ``is_whole``, there may be any number of those. Where
    a table says which share of the yes is ever ``found``, the upper end is divided by it.
    """
    yes, no, unknown = (int(table[name].sum()) for name in TALLY)
    n = yes + no
    point = yes / n if n else math.nan
    # unknown is never zero: all no for the lower end, all yes for the upper
    low = jeffreys_interval(yes, n + unknown, level=level).lo
    high = jeffreys_interval(yes + unknown, n + unknown, level=level).hi
    if "found" in table and len(table):
        high = min(high / float(table["found"].iloc[0]), 1.0)
    if not is_whole:
        low, high = 0.0, 1.0
    sampled = jeffreys_interval(yes, n, level=level)._replace(point=point)

    def more(bound: float) -> float:
        chance = (yes + 0.5) / (n + 1)

        def decides(m: float) -> bool:
            ahead = jeffreys_interval(chance * (n + m), n + m, level=level)
            return not ahead.lo <= bound <= ahead.hi

        return _smallest(decides)

    return Measurement(Interval(point, low, high), sampled, n, table, unknown, more)


def ratio(
    table: DataFrame, *others: DataFrame, level: float, unknown_n: int = 0
) -> Measurement:
    """Measure a ratio of rates over strata; only strata with both sides compare anything.

    ``table`` holds stratum, events, exposure, other events, other exposure, in this order;
    ``others`` are the same with the unplaced events put on the one side, or on the other. The
    interval holds those of all tables; ``n`` counts the events of strata with both sides.
    """
    a, t1, b, t0 = table.iloc[:, 1:5].to_numpy(float).T
    both = (t1 > 0) & (t0 > 0)
    n = int((a + b)[both].sum())
    sampled = ratio_of(table, level=level)
    whole = hull(sampled, *(ratio_of(other, level=level) for other in others))
    gap = ""
    if both.any() and not n:
        gap = "nothing has happened on either side so far: keep counting"

    def more(bound: float) -> float:
        from scipy.special import ndtri

        ours = a[both].sum() + 0.5
        theirs = b[both].sum() + 0.5
        point = sampled.point
        if not 0 < point < math.inf:
            here = ours / t1[both].sum()
            there = theirs / t0[both].sum()
            point = here / there
        # the log of a ratio is about normal, so its error shrinks with the root of the exposure
        distance = abs(math.log(point / bound)) if bound > 0 else math.inf
        quantile = float(ndtri((1 + level) / 2))
        error = quantile * math.sqrt(1 / ours + 1 / theirs)
        times = (error / distance) ** 2 if distance else math.inf
        return max(times - 1, 0.0) * float(t1[both].sum())

    return Measurement(whole, sampled, n, table, unknown_n, more, gap)


def mean(table: DataFrame, *, level: float) -> Measurement:
    """Measure a mean over ``n`` [count] things that have ``point``, between ``lo`` and ``hi``.

    Student's interval around the mean of the points, which holds that of any values in between.
    """
    from scipy.special import stdtrit

    ends = table.loc[table.index.repeat(table["n"]), ["point", "lo", "hi"]]
    n = len(ends)
    points, low, high = ends.to_numpy(float).T
    vague = int((low != high).sum())
    if n < 2:
        point = float(points[0]) if n else math.nan
        gap = "a single one has no spread: connect more" if n else ""
        alone = NOTHING._replace(point=point)
        return Measurement(alone, NOTHING, n, table, vague, gap=gap)
    t = float(stdtrit(n - 1, (1 + level) / 2))

    def around(values: Floats) -> Interval:
        half = t * values.std(ddof=1) / math.sqrt(n)
        middle = values.mean()
        return Interval(middle, max(middle - half, 0.0), middle + half)

    sampled = around(points)

    def more(bound: float) -> float:
        distance = abs(sampled.point - bound)
        half = sampled.hi - sampled.point
        return n * ((half / distance) ** 2 - 1) if distance else math.inf

    # values scatter most at their ends
    rank = np.lexsort((-low - high, low == high)).argsort()
    worst = (around(np.where(rank < k, high, low)) for k in range(vague + 1))
    return Measurement(hull(sampled, *worst), sampled, n, table, vague, more)


def amount(
    table: DataFrame,
    whole: DataFrame,
    *,
    factor: float,
    level: float,
    unknown_n: int = 0,
) -> Measurement:
    """Measure an amount to expect: ``factor`` [service-months] times a rate of incidents.

    ``table`` holds ``incidents`` [count] and ``service_months``; ``whole`` also those of
    unknown place: incidents of unknown services have no months. Gamma's interval by Jeffreys' prior;
    ``n`` counts the service-months.
    """

    def expected(part: DataFrame) -> Interval:
        rate = jeffreys_rate(*part[["incidents", "service_months"]].sum(), level=level)
        return Interval(*(factor * end for end in rate))

    events = int(table["incidents"].sum())
    months = float(table["service_months"].sum())
    sampled = expected(table)

    def more(bound: float) -> float:
        rate = (events + 0.5) / months if months else math.inf

        def decides(m: float) -> bool:
            ahead = jeffreys_rate(rate * (months + m), months + m, level=level)
            return not ahead.lo * factor <= bound <= ahead.hi * factor

        return _smallest(decides) if months else math.inf

    watched = whole[whole["service_months"] > 0]
    interval = hull(sampled, expected(watched), expected(whole))
    return Measurement(interval, sampled, math.floor(months), whole, unknown_n, more)


def seen(measured: Measurement, gap: str, *, looked: bool) -> Measurement:
    """Set the gap to "none found so far" if a source looked and found nothing."""
    is_none = looked and not measured.n and not measured.unknown_n
    return measured._replace(gap=gap) if is_none else measured


def added(table: DataFrame, more: Mapping[str, str]) -> DataFrame:
    """Add other columns to columns, by name."""
    sums = {name: table[name] + table[other] for name, other in more.items()}
    return table.assign(**sums)


def worst_pulls(counts: DataFrame, worse: str, better: str) -> DataFrame:
    """Return the counts with every unknown pull against one registry and for the other."""
    against = counts[[f"{worse}_unknown", "either_failed", "either_unknown"]].sum(axis=1)
    spare = counts[f"{better}_unknown"] + counts["either_fine"]
    more = {
        f"{worse}_failed": "against",
        f"{worse}_pulls": "against",
        f"{better}_pulls": "spare",
    }
    counts = counts.assign(against=against, spare=spare)
    return added(counts, more)


def hull(first: Interval, *others: Interval) -> Interval:
    """Widen an interval until it holds the others."""
    every = (first, *others)
    lo = min(interval.lo for interval in every)
    hi = max(interval.hi for interval in every)
    return first._replace(lo=lo, hi=hi)


def _smallest(decides: Callable[[float], bool]) -> float:
    """Return the smallest whole number that decides; infinite above `MOST`."""
    # double until it decides, then halve the range: O(log n) intervals
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


def rates_by(spells: DataFrame, by: str, *, level: float, loose_n: int = 0) -> DataFrame:
    """Return incidents, service-months and rates [per service and year] of groups of spells.

    A spell that is not ``sure`` may be of any group, and so may one without a group and
    ``loose_n`` incidents of unknown services.
    """
    groups = spells.groupby(by, sort=True, observed=True)
    table = groups.agg(
        services=("service_id", "nunique"),
        incidents=("incidents", "sum"),
        service_months=("months", "sum"),
    )
    sums = spells[["incidents", "months"]]
    is_sure = spells["sure"] & spells[by].notna()
    kept = sums.mul(is_sure, axis=0)
    sure = kept.groupby(spells[by]).sum()
    vague = sums[~is_sure].sum()
    most = sure["incidents"] + vague["incidents"] + loose_n

    def rates(events: Series, months: Series) -> DataFrame:
        pairs = zip(events, months / 12, strict=True)
        found = [jeffreys_rate(*pair, level=level) for pair in pairs]
        return DataFrame(found, events.index, Interval._fields)

    ends = {
        "rate": rates(table["incidents"], table["service_months"])["point"],
        "rate_lo": rates(sure["incidents"], sure["months"] + vague["months"])["lo"],
        "rate_hi": rates(most, sure["months"])["hi"],
    }
    return table.assign(**ends).reset_index()


def compare(spells: DataFrame, first: Series) -> DataFrame:
    """Compare two groups of spells, tier by tier.

    ``first`` is whether a spell is of the one group; NA where it may be of either. Columns:
    ``tier`` (0: unknown), ``incidents, months, other_incidents, other_months``, which
    `rate_ratio` takes, and ``unplaced_incidents, unplaced_months``.
    """
    tier = spells["tier"].astype("Float64").fillna(0).astype(int)
    group = first.astype("boolean").map({True: "", False: "other_"}).fillna("unplaced_")
    table = DataFrame(index=Index(sorted(set(tier)), name="tier"))
    for prefix in ("", "other_", "unplaced_"):
        rows = spells.loc[group.eq(prefix), ["incidents", "months"]]
        table = table.join(rows.groupby(tier).sum().add_prefix(prefix))
    table = table.fillna(0)
    counts = [name for name in table if name.endswith("incidents")]
    return table.astype(dict.fromkeys(counts, "int64")).reset_index()


def ratio_of(table: DataFrame, *, level: float) -> Interval:
    """Return the rate ratio of a table as `compare` makes it."""
    return rate_ratio(*(table[name] for name in table.columns[1:5]), level=level)


def compared(
    spells: DataFrame, first: Series, *, level: float, unassigned_n: int = 0
) -> Measurement:
    """Compare the incident rates of two groups of spells; spells without a side may be in either.

    ``first`` is whether a spell is of the one group. The interval is wider where services of one
    side and tier differ by more than chance (``spread, freedom``). Incidents of unknown services,
    ``unassigned_n``, may all be of either group.
    """
    first = first.astype("boolean").mask(spells["side"].isna())
    tier = spells["tier"]
    # services of unknown tier are a stratum of their own, and may all be of any tier in use
    guesses = tier.dropna().unique() if tier.isna().any() else []
    sides = (first, first.fillna(True), first.fillna(False))
    tiers = (tier, *(tier.fillna(guess) for guess in guesses))
    wider = [widened(spells.assign(tier=t), *sides, level=level) for t in tiers]
    level, spread = max(wider, key=itemgetter(0))
    table = compare(spells, first)
    # the tier that both were watched longest in stands for those of unknown services
    shared = table[["months", "other_months"]].min(axis=1)
    is_longest = shared.rank(method="first").eq(len(shared))
    table["unplaced_incidents"] += unassigned_n * is_longest
    tables = [table]
    for guess in guesses:
        strata = table["tier"].replace(0, int(guess))
        tables.append(table.groupby(strata).sum().drop(columns="tier").reset_index())
    # the sides differ most if, of the services of unknown side, one has the higher rates
    rates = spells["incidents"] / spells["months"]
    for cut in rates[first.isna()].quantile(CUTS).unique():
        is_high = rates.ge(cut)
        tables += [compare(spells, first.fillna(high)) for high in (is_high, ~is_high)]
    # all unplaced on the one side, then all on the other
    either = [
        added(one, {f"{side}{name}": f"unplaced_{name}" for name in UNPLACED})
        for one in tables
        for side in ("", "other_")
    ]
    unplaced = int(spells.loc[first.isna(), "service_id"].nunique())
    table = table.assign(**spread)
    return ratio(table, *tables[1:], *either, level=level, unknown_n=unplaced)


def widened(
    spells: DataFrame, *sides: Series, level: float
) -> tuple[float, dict[str, float]]:
    """Return a wider level that allows for overdispersion within side and tier.

    ``sides`` holds the side of each spell, in every way that it may be; the widest level counts.
    Its ``spread`` and ``freedom`` come from `rates.dispersion`.
    """
    tier = spells["tier"].astype("string").fillna("unknown") + " "
    counts = spells[["incidents", "months"]]
    spreads = []
    for side in sides:
        group = (tier + side.astype("string")).rename("group")
        # a service is one member of its group, however many spells it has there
        by_member = counts.groupby([spells["service_id"], group], sort=False)
        members = by_member.sum().reset_index("group")
        spreads.append(
            dispersion(members["incidents"], members["months"], members["group"])
        )
    wider, widest = max((wider_level(level, spread), spread) for spread in spreads)
    return wider, widest._asdict()


def tally(group: Series, yes: Series) -> DataFrame:
    """Count ``yes, no, unknown`` by ``group``, where NA is the group "unknown"."""
    answer = yes.astype("boolean")
    rows = DataFrame(
        {
            "group": group.astype("object").where(group.notna(), "unknown").astype("str"),
            "yes": surely(answer).astype(int),
            "no": surely(~answer).astype(int),
            "unknown": answer.isna().astype(int),
        }
    )
    return rows.groupby("group", sort=True).sum().reset_index()
