"""How often upgrades come, and how often they fail: from published windows and from history."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.healing import sound_incidents
from assess.score.rates import Interval, jeffreys_interval, shrunk_rates

MEASURED, UNKNOWN, PROSPECTIVE = "measured on hosts", "unknown", "prospective from target"
POOL = ""  # all upgrades of the fleet, whatever their line
NOWHERE = ""  # on a host that nobody knows
YEAR_DAYS = 365.0

Engines = dict[str, Any]  # rows of the frame, by host
Hosts = dict[str, set[str]]  # by service
Tally = tuple[int, int, int]  # upgrades, those that failed, those that may have failed


class Place(NamedTuple):
    """A service on a host, or nowhere known, and the engine there or aimed at."""

    service_id: str
    host_id: str
    basis: str
    product: str
    version: str | None


class Upgrade(NamedTuple):
    """An engine upgrade of the past: between when it came, and the line gone to, else from."""

    host_id: str
    after: pd.Timestamp
    before: pd.Timestamp  # the same moment where it was recorded
    status: str
    line: str | None


def host_engines(inventory: Inventory) -> Engines:
    """Give the engine of each host: of several runtimes the one that stands before the others."""
    table = inventory["engines"].sort_values(["host_id", "runtime"], kind="stable")
    return {row.host_id: row for row in table.drop_duplicates("host_id").itertuples()}


def places(inventory: Inventory, policy: Policy, goal: str = "") -> list[Place]:
    """List which service runs on which host, in order; every service at least once."""
    engines = host_engines(inventory)
    off, on_engine = policy["blast_radius"]["off_engine"], dict[tuple[str, str], bool]()
    columns = ["service_id", "host_id", "source_kind", "state"]
    for service, host, kind, state in inventory["workloads"][columns].itertuples(index=False):
        if isinstance(host, str) and (state == "running" or pd.isna(state)):
            on_engine[service, host] = kind not in off or on_engine.get((service, host), False)
    services = inventory["services"][["service_id", "platform"]].itertuples(index=False)
    platform = dict(map(tuple, services))
    homeless = set(platform).difference(service for service, _ in on_engine)
    on_engine |= {(service, NOWHERE): True for service in homeless}
    found = []
    for (service, host), has_engine in sorted(on_engine.items()):
        engine = engines.get(host)
        own: tuple[str, str, Any] = (UNKNOWN, reference.ENGINE, None)
        if not has_engine or (engine.runtime == "none" if engine else platform[service] == "host"):
            own = (PROSPECTIVE, str(policy["target"]["runtime"]), goal)
        elif engine:
            own = (MEASURED, engine.runtime, engine.version)
        found.append(Place(service, host, *own))
    return found


def fastest(*rates: Interval) -> Interval:
    """Take the fastest of some paces, end by end."""
    return Interval(*map(max, zip(*rates, strict=True)))


def together(first: Interval, second: Interval) -> Interval:
    """Put two clocks together: one upgrade may serve both (point, lo), or one each (hi)."""
    return fastest(first, second)._replace(hi=first.hi + second.hi)


@cache
def forced_rate(product: str | None, line: str | None, since: str) -> Interval:
    """Say how often a year the end of a line forces an upgrade: ``365 / support window``.

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
    return Interval(*(YEAR_DAYS / window for window in (days.median(), days.max(), days.min())))


@cache
def system_rate(name: str | None, version: str | None, since: str) -> Interval:
    """Say how often an operating system ends; one whose end is unknown counts only above."""
    distro = reference.distro_of(name)
    rate = forced_rate(distro, reference.line_of(distro, version), since)
    return rate if rate.lo == rate.hi else Interval(0.0, 0.0, rate.hi)


@cache
def releases_per_year(product: str, line: str | None, since: str) -> float:
    """Say how often a line of the engine is released; one whose pace is unknown, at the fastest."""
    lines = reference.engine_lines()
    paces = lines["releases_per_year"]
    if product == reference.ENGINE and paces.get(line or "", 0) > 0:
        return float(paces[line])
    return float(paces[lines["first_release"] >= pd.Timestamp(since, tz="UTC")].max())


def engine_rate(product: str, line: str | None, own: Interval, since: str) -> Interval:
    """Take the faster of the forced and the own pace; nobody upgrades more often than releases."""
    hi = max(min(own.hi, releases_per_year(product, line, since)), own.point)
    return fastest(forced_rate(product, line, since), own._replace(hi=hi))


def hosts_of(held: list[Place]) -> Hosts:
    """Give the hosts of every service."""
    found: Hosts = defaultdict(set)
    for place in held:
        found[place.service_id] |= {place.host_id} - {NOWHERE}
    return found


def upgrades(
    inventory: Inventory, hosts: Hosts, previous: Inventory | None = None
) -> list[Upgrade]:
    """List the engine upgrades of the past; one without a host counts for its service's hosts.

    A version that is higher than in an earlier inventory is an upgrade, recorded or not. A lower
    one is a rollback and none.
    """
    found = []
    for row, own in _recorded(inventory, hosts):
        if _rise(row.from_version, row.to_version) >= 0:
            version = row.to_version if isinstance(row.to_version, str) else row.from_version
            line, status = reference.engine_line(version), "" if pd.isna(row.status) else row.status
            found += [Upgrade(host, row.started_at, row.started_at, status, line) for host in own]
    if previous is None:
        return found
    start, at = previous.snapshot_at, inventory.snapshot_at
    known = {upgrade.host_id for upgrade in found if upgrade.after >= start}
    was = host_engines(previous)
    for host, engine in host_engines(inventory).items() if start < at else ():
        before = was[host].version if host in was and host not in known else None
        is_known = isinstance(before, str) and isinstance(engine.version, str)
        if is_known and _rise(before, engine.version) > 0:
            found.append(Upgrade(host, start, at, "", reference.engine_line(engine.version)))
    return found


def _recorded(inventory: Inventory, hosts: Hosts) -> Iterator[tuple[Any, set[str]]]:
    """Give every recorded change of an engine, with the hosts that it was on."""
    table = inventory["activities"]
    is_past = table["started_at"] <= inventory.snapshot_at
    for row in table[is_past & table["kind"].eq("engine_upgrade")].itertuples():
        own = {row.host_id} if isinstance(row.host_id, str) else hosts.get(row.service_id, set())
        yield row, own


def _rise(before: Any, after: Any) -> int:
    """Say whether a version rose (1), fell (-1) or stayed; one that cannot be read has risen."""
    was, now = reference.parse_version(before), reference.parse_version(after)
    if was is None or now is None:
        return int(before != after)
    return (now > was) - (now < was)


def own_rates(
    inventory: Inventory, policy: Policy, done: list[Upgrade], previous: Inventory | None
) -> dict[str, Interval]:
    """Say how often a year the engine of each host was upgraded, its ends shrunk to the fleet.

    Hosts of which no source of history was looked at are left out.
    """
    at, begun, moments = inventory.snapshot_at, _history_start(inventory), defaultdict(list)
    for upgrade in done:
        moments[upgrade.host_id].append(upgrade.after)
    launched = inventory["hosts"].set_index("host_id")["launched_at"].to_dict()
    was = host_engines(previous) if previous else {}
    counts, years = {}, {}
    for host in host_engines(inventory):
        count, start, first = len(moments[host]), begun, min(moments[host], default=at)
        if previous and host in was and isinstance(was[host].version, str):
            start = min(previous.snapshot_at, at if pd.isna(start) else start)
        if start < launched.get(host, pd.NaT) <= first:
            start = launched[host]
        if pd.notna(start):
            days = max((at - start) / pd.Timedelta(days=1), policy["churn"]["history_days_min"])
            counts[host], years[host] = float(count), days / 365.25
    n, t = pd.Series(counts, dtype=float), pd.Series(years, dtype=float)
    shrunk = shrunk_rates(n, t.round(2), level=float(policy["simulation"]["level"]))
    rows = zip(n.index, n / t, shrunk["rate_lo"], shrunk["rate_hi"], strict=True)
    return {host: Interval(own, min(own, lo), max(own, hi)) for host, own, lo, hi in rows}


def _history_start(inventory: Inventory) -> pd.Timestamp:
    """When the history of upgrades begins; NaT where no source has ever told of one."""
    table, coverage = inventory["activities"], inventory["coverage"]
    tellers = table["source"][table["kind"].eq("engine_upgrade")]
    table = table[table["source"].isin(tellers)]  # who lists deployments may not see upgrades
    past = table["started_at"][table["started_at"] <= inventory.snapshot_at]
    asked = coverage["source"].isin(table["source"].dropna())
    return pd.concat([past, coverage["window_start"][asked]]).min()


def upgrade_failures(
    inventory: Inventory, policy: Policy, done: list[Upgrade], hosts: Hosts
) -> dict[str, Tally]:
    """Count by line, and over the fleet, which upgrades failed.

    One failed that says so, or that an incident or a rollback on the same host followed. Where
    nobody placed the incident, or nobody saw the moment of the upgrade, it only may have failed.
    An upgrade whose window is not over counts once it has failed.
    """
    window = pd.Timedelta(days=policy["churn"]["failure_window_days"])
    words = re.compile("|".join(policy["churn"]["failed_words"]), re.IGNORECASE)
    moments, found = incident_moments(inventory, hosts), dict[str, Tally]()
    for row, own in _recorded(inventory, hosts):
        for host in own if _rise(row.from_version, row.to_version) < 0 else ():
            insort(moments[host], row.started_at)
    for host, begun, latest, status, line in done:
        end, is_seen = latest + window, begun == latest
        own_hit, vague = (_any_between(moments.get(key, []), begun, end) for key in (host, NOWHERE))
        failed = (own_hit and is_seen) or bool(words.search(status))
        is_over = end <= inventory.snapshot_at or not is_seen
        if failed or (is_over and inventory.has("incidents")):
            for name in {POOL, line or POOL}:
                n, k, most = found.get(name, (0, 0, 0))
                found[name] = (n + 1, k + failed, most + (failed or own_hit or vague))
    return found


def _any_between(moments: list[pd.Timestamp], begun: pd.Timestamp, end: pd.Timestamp) -> bool:
    first = bisect_left(moments, begun)
    return first < len(moments) and moments[first] <= end


def incident_moments(inventory: Inventory, hosts: Hosts) -> dict[str, list[pd.Timestamp]]:
    """Moments of the incidents by host, in order; and of those that nobody placed."""
    found = defaultdict(list)
    for row in sound_incidents(inventory).sort_values("opened_at").itertuples():
        texts = (row.service_id, row.affected_services)
        names = [name for text in texts if isinstance(text, str) for name in text.split(";")]
        own = {host for name in names for host in hosts.get(name, ())}
        for host in {row.host_id} if isinstance(row.host_id, str) else own or {NOWHERE}:
            found[host].append(row.opened_at)
    return found


@cache
def failure_chance(tally: Tally, level: float) -> Interval:
    """Say how likely an upgrade fails: Beta(k + 1/2, n - k + 1/2), what nobody placed in ``hi``."""
    n, k, most = tally
    highest = jeffreys_interval(most, n, level=level)
    return jeffreys_interval(k, n, level=level)._replace(hi=highest.hi)
