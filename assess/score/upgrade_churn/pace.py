"""Pace of upgrades: how often they come and how often they fail, by support windows and history."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.incidents.exposure import HOST, exposure
from assess.score.incidents.rates import Interval, jeffreys_interval, shrunk_rates
from assess.score.upgrade_churn.history import (
    NOWHERE,
    ROLLBACK,
    History,
    Move,
    Span,
    days_in,
    holds,
    host_engines,
)

MEASURED, UNKNOWN, PROSPECTIVE = "measured on hosts", "unknown", "prospective from target"
POOL = ""  # all upgrades of the fleet, whatever their line
YEAR_DAYS = 365.0

Tally = tuple[int, int, int]  # upgrades, those that failed, those that may have failed


class Place(NamedTuple):
    """A service on a host, or nowhere known, and the engine there or the target's."""

    service_id: str
    host_id: str
    basis: str
    product: str
    version: str | None


def places(inventory: Inventory, policy: Policy, goal: str = "") -> list[Place]:
    """List which service runs on which host, in order; every service at least once."""
    engines = host_engines(inventory)
    off, on_engine = policy["blast_radius"]["off_engine"], dict[tuple[str, str], bool]()
    columns = ["service_id", "host_id", "source_kind", "state"]
    for service, host, kind, state in inventory["workloads"][columns].itertuples(
        index=False
    ):
        if isinstance(host, str) and (state == "running" or pd.isna(state)):
            on_engine[service, host] = kind not in off or on_engine.get(
                (service, host), False
            )
    on_host = exposure(inventory, policy).side.eq(HOST).fillna(value=False).to_dict()
    homeless = set(on_host).difference(service for service, _ in on_engine)
    on_engine |= {(service, NOWHERE): True for service in homeless}
    placed = []
    for (service, host), has_engine in sorted(on_engine.items()):
        engine = engines.get(host)
        engine_there: tuple[str, str, Any] = (UNKNOWN, reference.ENGINE, None)
        if not has_engine or (engine.runtime == "none" if engine else on_host[service]):
            engine_there = (PROSPECTIVE, str(policy["target"]["runtime"]), goal)
        elif engine:
            engine_there = (MEASURED, engine.runtime, engine.version)
        placed.append(Place(service, host, *engine_there))
    return placed


def fastest(*rates: Interval) -> Interval:
    """Return the fastest of some paces, end by end."""
    return Interval(*map(max, zip(*rates, strict=True)))


def together(first: Interval, second: Interval) -> Interval:
    """Combine two clocks: one upgrade may serve both (point, lo), or one each (hi)."""
    return fastest(first, second)._replace(hi=first.hi + second.hi)


@cache
def forced_rate(product: str | None, line: str | None, since: str) -> Interval:
    """Return how often a year the end of a line forces an upgrade: ``365 / support window``.

    Where the end is unknown: median and whole range over the lines that came out since a day, of
    the product, else of the engine; without a product, of all operating systems.
    """
    products = (product,) if product else ()
    known = reference.support_windows(*products).dropna()
    if line is not None and known.get(line, 0) > 0:
        return Interval(*[YEAR_DAYS / float(known[line])] * 3)
    products = products if len(known) else (reference.ENGINE,)
    recent = reference.support_windows(*products, since=since).dropna()
    days = (recent if len(recent) else known).astype(float)
    return Interval(
        *(YEAR_DAYS / window for window in (days.median(), days.max(), days.min()))
    )


@cache
def system_rate(name: str | None, version: str | None, since: str) -> Interval:
    """Return how often an operating system ends; one whose end is unknown counts only above."""
    distro = reference.distro_of(name)
    rate = forced_rate(distro, reference.line_of(distro, version), since)
    return rate if rate.lo == rate.hi else Interval(0.0, 0.0, rate.hi)


@cache
def releases_per_year(product: str, line: str | None, since: str) -> float:
    """Return how often a line of the engine is released; the fastest where unknown."""
    lines = reference.engine_lines()
    paces = lines["releases_per_year"]
    if product == reference.ENGINE and paces.get(line or "", 0) > 0:
        return float(paces[line])
    return float(paces[lines["first_release"] >= pd.Timestamp(since, tz="UTC")].max())


def engine_rate(product: str, line: str | None, own: Interval, since: str) -> Interval:
    """Return the faster of the forced and the own pace; releases bound the own pace."""
    hi = max(min(own.hi, releases_per_year(product, line, since)), own.point)
    return fastest(forced_rate(product, line, since), own._replace(hi=hi))


def upgrades(history: History) -> list[Move]:
    """List the engine upgrades of the past; a rollback is none."""
    return [move for move in history.moves if move.change != ROLLBACK]


def recorded_upgrades(history: History) -> list[Move]:
    """List the upgrades whose moment a source recorded."""
    return [move for move in history.recorded.values() if move.change != ROLLBACK]


def own_rates(
    inventory: Inventory, policy: Policy, history: History
) -> dict[str, Interval]:
    """Return how often a year the engine of each host was upgraded, its ends shrunk to the fleet.

    Hosts that neither a source of history nor two snapshots that follow each other saw are left
    out, and so is what changed while nobody could have seen it stand.
    """
    spans = history.hosts
    seen = (
        m
        for m in upgrades(history)
        if holds(spans.get(m.host_id, ()), (m.after, m.before))
    )
    counts = Counter(move.host_id for move in seen)
    here = set(inventory["engines"]["host_id"].tolist())
    hosts = sorted(host for host in here if spans.get(host))
    least = policy["churn"]["history_days_min"]
    days = {host: max(days_in(spans[host]), least) for host in hosts}
    n = pd.Series({host: float(counts[host]) for host in hosts}, dtype=float)
    t = pd.Series(days, dtype=float) / 365.25
    shrunk = shrunk_rates(n, t.round(2), level=float(policy["simulation"]["level"]))
    rows = zip(n.index, n / t, shrunk["rate_lo"], shrunk["rate_hi"], strict=True)
    return {
        host: Interval(rate, min(rate, lo), max(rate, hi)) for host, rate, lo, hi in rows
    }


def upgrade_failures(history: History, policy: Policy) -> dict[str, Tally]:
    """Count by line, and over the fleet, which upgrades failed.

    One failed that says so, or that an incident or a rollback on the same host followed. Where
    nobody placed the incident, or nobody saw the moments well enough to say that it came within
    the window, the upgrade only may have failed. One of which the window, from the first moment
    that it may have come, is not over or was not watched counts once it has failed.
    """
    window = pd.Timedelta(days=policy["churn"]["failure_window_days"])
    words = re.compile("|".join(policy["churn"]["failed_words"]), re.IGNORECASE)
    moments = incident_moments(history)
    backs = defaultdict(list)
    tallies: dict[str, Tally] = {}
    for move in history.moves:
        if move.change == ROLLBACK:
            backs[move.host_id].append((move.after, move.before))
    for host, first, last, status, line, _ in upgrades(history):
        near, sure = (first, last + window), (last, first + window)
        known, vague = moments.get(host, []), moments.get(NOWHERE, [])
        failed = _any_in(known, sure) or any(holds((sure,), back) for back in backs[host])
        failed |= bool(words.search(status))
        may = (
            _any_in(known, near)
            or _any_in(vague, near)
            or any(_touch(near, b) for b in backs[host])
        )
        if failed or holds(history.looked, (first, first + window)):
            for name in {POOL, line or POOL}:
                n, k, most = tallies.get(name, (0, 0, 0))
                tallies[name] = (n + 1, k + failed, most + (failed or may))
    return tallies


def _any_in(moments: list[pd.Timestamp], span: Span) -> bool:
    at = bisect_left(moments, span[0])
    return at < len(moments) and moments[at] <= span[1]


def _touch(span: Span, other: Span) -> bool:
    return span[0] <= other[1] and other[0] <= span[1]


def incident_moments(history: History) -> dict[str, list[pd.Timestamp]]:
    """Return the moments of the incidents by host, in order; an unknown host is `NOWHERE`."""
    by_host = defaultdict(list)
    for host, moment in sorted(history.incidents):
        by_host[host].append(moment)
    return by_host


@cache
def failure_chance(tally: Tally, level: float) -> Interval:
    """Return the chance that an upgrade fails: Beta(k + 1/2, n - k + 1/2), unplaced ones in ``hi``."""
    n, k, most = tally
    highest = jeffreys_interval(most, n, level=level)
    return jeffreys_interval(k, n, level=level)._replace(hi=highest.hi)
