"""Pace: rates of changes of engines and images, and of failed upgrades.

Sources are support windows and history. Third-party images change by themselves.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from pandas import DataFrame, Series, Timestamp

from assess import reference
from assess.frames import surely
from assess.inventory import Inventory
from assess.linear import any_of
from assess.policy import Policy
from assess.policy.targets import RUNTIMES
from assess.score import Floats
from assess.score.evidence.facts import nodes
from assess.score.incidents import (
    HOST,
    Span,
    Spans,
    days_in,
    exposure,
    holds,
    on_engine,
)
from assess.score.incidents.rates import (
    Interval,
    jeffreys_interval,
    jeffreys_rate,
    shrunk_rates,
)
from assess.score.result import with_ends
from assess.score.upgrade_churn.history import NOWHERE, ROLLBACK, History, ImageMove, Move
from assess.score.upgrade_churn.sights import (
    cells,
    host_engines,
    is_third_party,
    line_name,
    placed_replicas,
    written,
)

MEASURED = "measured on hosts"
MANAGED = "managed by provider"
UNKNOWN = "unknown"
PROSPECTIVE = "prospective from target"
UNNAMED = "platform"  # of a provider that nobody named
NO_SYSTEM = (None, None)  # name and version
NO_WORK = Interval(0.0, 0.0, 0.0)
POOL = ""  # all upgrades of the fleet, whatever their line
OTHER = "other"  # a line that nobody saw an upgrade of
YEAR_DAYS = 365.0  # of a support window
MEAN_YEAR_DAYS = 365.25  # of watched time
PARTIES = ("third", "first")
CHANGES = ["service_id", "before", "after", "change", "third_party"]
MOVES = ["component", "name", "change", "after_at", "before_at"]
PACE = [
    "component",
    "changes_n",
    "rollbacks_n",
    "watched_years",
    *with_ends("per_year"),
]

Tally = tuple[int, int, int]  # upgrades, those that failed, those that may have failed
AnyMove = TypeVar("AnyMove", Move, ImageMove)


class Place(NamedTuple):
    """A service on a host, known or not, and the engine there or the target's."""

    service_id: str
    host_id: str
    basis: str
    product: str
    version: str | None


# some service on some host, whose range holds that of any other place
ANYWHERE = Place("", NOWHERE, UNKNOWN, reference.ENGINE, None)


def places(inventory: Inventory, policy: Policy, goal: str = "") -> list[Place]:
    """List services by host, in order; every service occurs at least once."""
    engines = host_engines(inventory)
    runtimes = nodes(inventory)
    replicas = placed_replicas(inventory)
    is_inside = on_engine(replicas, policy).fillna(value=True)
    by_place = is_inside.groupby([replicas["service_id"], replicas["host_id"]])
    inside = by_place.any().to_dict()
    on_host = surely(exposure(inventory, policy).side.eq(HOST)).to_dict()
    homeless = on_host.keys() - {service for service, _ in inside}
    inside |= {(service, NOWHERE): True for service in homeless}
    placed = []
    for service, host in sorted(inside):
        engine = engines.get(host)
        is_bare = engine.runtime == "none" if engine else on_host.get(service, False)
        if is_bare or not inside[service, host]:
            runtime = policy["target"]["runtime"]
            placed.append(Place(service, host, PROSPECTIVE, runtime, goal))
        elif host in runtimes:
            node = reference.worst_node(runtimes[host], inventory.snapshot_at)
            basis = MANAGED if reference.is_managed(node) else MEASURED
            product, version = reference.runtime_line(node)
            placed.append(Place(service, host, basis, product or UNNAMED, version))
        else:
            placed.append(ANYWHERE._replace(service_id=service, host_id=host))
    return placed


def paces(
    inventory: Inventory,
    policy: Policy,
    placed: list[Place],
    bases: dict[str, list[str]],
    past: History,
) -> Floats:
    """Return by place: host's pace, pace with base image [per year], chance of failure."""
    since = policy["churn"]["forced_since"]
    rates = own_rates(inventory, policy, past)
    unknown = unwatched(rates)
    chances = failure_chances(past, policy)
    # upgrades of a version that nobody knows may fail like those of any line
    widest = fastest(*chances.values())._replace(point=chances[POOL].point, lo=0.0)
    most = policy["churn"]["managed_per_year_max"]
    rows = cells(inventory["hosts"], "host_id", "os_name", "os_version")
    systems = {host: system for host, *system in rows}
    fastest_line = max(forced_rate(name, None, since).hi for name in RUNTIMES)

    found = []
    for service, host, basis, product, version in placed:
        own_rate = rates.get(host, unknown) if basis == MEASURED else unknown
        line = reference.line_of(product, version)
        engine = engine_rate(product, line, own_rate, since)
        system = system_rate(*systems.get(host, NO_SYSTEM), since)
        name = line_name(product, version) or OTHER
        chance = chances.get(name, chances[OTHER])
        if basis == MANAGED or reference.platform_kind(product) == "managed":
            engine = managed_rate(product, line, most)
            system = NO_WORK
        elif line is None:
            chance = widest
        # nobody knows who patches what nobody saw, nor which runtime it is
        if basis == UNKNOWN:
            engine = engine._replace(lo=0.0, hi=max(engine.hi, fastest_line))
        base = base_rate(bases.get(service, [""]), since)
        of_host = together(engine, system)
        found.append((of_host, together(of_host, base), chance))
    by_place = np.array(found, float).reshape(-1, 3, 3)
    return by_place.transpose(1, 0, 2)


def fastest(*rates: Interval) -> Interval:
    """Return the maximum of some rates: of points, lower ends and upper ends."""
    return Interval(*map(max, zip(*rates, strict=True)))


def together(first: Interval, second: Interval) -> Interval:
    """Combine two clocks: one upgrade may serve both (point, lo), or each needs its own (hi)."""
    return fastest(first, second)._replace(hi=first.hi + second.hi)


@cache
def forced_rate(product: str | None, line: str | None, since: str) -> Interval:
    """Return the forced upgrades per year by the end of a line: ``365 / support window``."""
    # Where the end is unknown: median and whole range over the lines that came out since
    # a day, of the product, else of the engine; without a product, of all operating
    # systems. A line that nobody knows may have come out before.
    products = (product,) if product else ()
    days = reference.support_windows(*products).dropna().astype(float)
    if days.empty:
        # the line is not one of the engine, but its length may be known
        return forced_rate(reference.ENGINE, line and product, since)
    lines = reference.support_windows(*products, since=since).dropna().index
    recent = days[lines] if len(lines) else days
    possible = days if line is None else recent
    if line in days:
        recent = possible = days[[line]]
    per_year = YEAR_DAYS / possible
    return Interval(YEAR_DAYS / recent.median(), per_year.min(), per_year.max())


@cache
def system_rate(name: str | None, version: str | None, since: str) -> Interval:
    """Return the forced upgrades per year of a system; an unknown end counts only in ``hi``."""
    distro = reference.distro_of(name)
    rate = forced_rate(distro, reference.line_of(distro, version), since)
    return rate if rate.lo == rate.hi else Interval(0.0, 0.0, rate.hi)


def base_rate(images: Iterable[str], since: str) -> Interval:
    """Return the forced upgrades per year of a service by its base images: the fastest counts."""
    systems = map(reference.base_system, images)
    return fastest(*(system_rate(*system, since) for system in systems))


@cache
def releases_per_year(product: str, line: str | None, since: str) -> float:
    """Return the releases per year of a line of the engine; the fastest line's if unknown."""
    lines = reference.engine_lines()
    paces = lines["releases_per_year"]
    if product == reference.ENGINE and paces.get(line or "", 0) > 0:
        return float(paces[line])
    is_recent = lines["first_release"] >= Timestamp(since, tz="UTC")
    return float(paces[is_recent].max())


def managed_rate(product: str, line: str | None, most: float) -> Interval:
    """Return the forced upgrades per year of a managed platform; ``most`` is the upper end."""
    # If its lines have an end, the support window of the line counts.
    windows = reference.support_windows(product).dropna()
    if windows.empty:
        return Interval(0.0, 0.0, most)
    return forced_rate(product, line, "")


def engine_rate(product: str, line: str | None, own: Interval, since: str) -> Interval:
    """Return the faster of the forced and the own pace; releases bound the own pace."""
    hi = max(min(own.hi, releases_per_year(product, line, since)), own.point)
    return fastest(forced_rate(product, line, since), own._replace(hi=hi))


def upgrades(moves: Iterable[Move]) -> list[Move]:
    """List the engine upgrades among moves, without rollbacks."""
    return [move for move in moves if move.step.change != ROLLBACK]


def own_rates(
    inventory: Inventory, policy: Policy, history: History
) -> dict[str, Interval]:
    """Return the upgrades per year of each host's engine, with ends shrunk to the fleet's."""
    # Hosts that are neither in a source of history nor in two consecutive snapshots are
    # left out, and so are changes outside the watched time. One on an unknown host may have
    # been on any.
    spans = history.hosts
    counts = Counter(m.host_id for m in _watched(upgrades(history.moves), spans))
    loose_n = sum(move.host_id == NOWHERE for move in upgrades(history.moves))
    here = set(inventory["engines"]["host_id"])
    hosts = sorted(host for host in here if spans.get(host))
    least = policy["churn"]["history_days_min"]
    days = {host: max(days_in(spans[host]), least) for host in hosts}
    count = Series({host: float(counts[host]) for host in hosts}, dtype=float)
    years = Series(days, dtype=float) / MEAN_YEAR_DAYS
    shrunk = shrunk_rates(count, years.round(2), level=policy.level, loose_n=loose_n)
    own = shrunk.assign(rate=count / years)
    return {
        host: Interval(rate, min(rate, lo), max(rate, hi))
        for host, rate, lo, hi in own.itertuples()
    }


def unwatched(rates: Mapping[str, Interval]) -> Interval:
    """Return the rate of a host that no source watched: from 0 to the highest rate of any host."""
    highest = max((rate.hi for rate in rates.values()), default=math.inf)
    return Interval(0.0, 0.0, highest)


def upgrade_failures(
    history: History, policy: Policy, broke: Set[Move] = frozenset()
) -> dict[str, Tally]:
    """Count upgrades and failed upgrades, by line and over the fleet; those in ``broke`` failed."""
    # An upgrade failed if its status says so, or an incident or rollback on its host
    # followed. Where its host or that of the incident is unknown, or the moments are too
    # vague to be surely within the window, or no coverage says who looked for incidents, the
    # upgrade only may have failed. An upgrade whose window, from its earliest moment, is not
    # over or was not watched counts only if it failed.
    window = pd.Timedelta(days=policy["churn"]["failure_window_days"])
    words = any_of(policy["churn"]["failed_words"])
    moments = incident_moments(history)
    rollbacks = defaultdict(list)
    for move in history.moves:
        if move.step.change == ROLLBACK:
            rollbacks[move.host_id].append(move.span)
    looked = history.looked
    last = history.last
    if not looked and history.incidents and last:
        looked = ((pd.Timestamp(0, tz="UTC"), last.at),)
    tallies: dict[str, Tally] = {}
    for move in upgrades(history.moves):
        incidents = moments[move.host_id, True]
        unplaced = moments[move.host_id, False], moments[NOWHERE, False]
        backs = rollbacks[move.host_id]
        # one on an unknown host may have been here
        near = [*backs, *rollbacks[NOWHERE]]
        surely = (move.before, move.after + window)
        perhaps = (move.after, move.before + window)
        failed = (
            move in broke
            or bool(words.search(move.status))
            or _any_in(incidents, surely)
            or any(holds((surely,), back) for back in backs)
        )
        may_have_failed = (
            failed
            or not history.looked
            or move.host_id == NOWHERE
            or _any_in(incidents, perhaps)
            or any(_any_in(those, perhaps) for those in unplaced)
            or any(back[0] <= perhaps[1] and perhaps[0] <= back[1] for back in near)
        )
        if failed or holds(looked, (move.after, move.after + window)):
            # of an unknown version nobody knows the line
            line = move.step.line if move.step.now else POOL
            for name in {POOL, line or POOL}:
                n, k, most = tallies.get(name, (0, 0, 0))
                tallies[name] = (n + 1, k + failed, most + may_have_failed)
    return tallies


def _any_in(moments: list[Timestamp], span: Span) -> bool:
    return bisect_left(moments, span[0]) < bisect_right(moments, span[1])


def incident_moments(history: History) -> dict[tuple[str, bool], list[Timestamp]]:
    """Return the moments of incidents, in order, by host and whether it surely had them."""
    by_host = defaultdict(list)
    for host, moment, is_sure in sorted(history.incidents):
        by_host[host, is_sure].append(moment)
    return by_host


@cache
def failure_chance(tally: Tally, level: float, more_n: int = 0) -> Interval:
    """Return the chance that an upgrade fails: Beta(k + 1/2, n - k + 1/2)."""
    # the upper end counts all that may have failed, and ``more_n`` that others may have
    n, k, most = tally
    highest = jeffreys_interval(most + more_n, n + more_n, level=level)
    return jeffreys_interval(k, n, level=level)._replace(hi=highest.hi)


def failure_chances(history: History, policy: Policy) -> dict[str, Interval]:
    """Return the chance that an upgrade fails, by line, of other lines, and of the fleet, `POOL`."""
    level = policy.level
    tallies = upgrade_failures(history, policy)
    pool = tallies.pop(POOL, (0, 0, 0))
    # what may have failed of a line that nobody knows may have been of any
    loose_n = pool[2] - sum(most for _, _, most in tallies.values())
    chances = {line: failure_chance(t, level, loose_n) for line, t in tallies.items()}
    pooled = failure_chance(pool, level)
    other = pooled._replace(hi=1.0) if loose_n else pooled
    return chances | {POOL: pooled, OTHER: other}


def image_changes(history: History, policy: Policy) -> DataFrame:
    """List the distinct changes of images by service over a history.

    ``service_id, before, after`` (references as written), ``change`` as
    `assess.reference.image_change` has it, ``third_party``. A service that only one of two
    neighbouring snapshots saw was not compared.
    """
    rows = []
    for move in sorted(history.moved, key=lambda move: (move.service_id, move.after)):
        is_third = is_third_party(move.now, policy)
        was = written(move.was)
        rows.append((move.service_id, was, written(move.now), move.change, is_third))
    kinds = dict.fromkeys(CHANGES, "str") | {"third_party": "boolean"}
    table = DataFrame(rows, columns=CHANGES).astype(kinds)
    return table.drop_duplicates(ignore_index=True)


def image_rates(history: History, services: pd.Index, policy: Policy) -> DataFrame:
    """Return the changes per year of every service's images, by maker.

    Index ``services``; ``third_party_changes_n`` and ``first_party_changes_n`` [count], and
    ``…_changes_per_year`` with ``_lo, _hi`` [per year]: changes over the time between snapshots
    that both saw the images, Jeffreys' interval. NA where no time was watched: a floating tag
    without a digest may move unseen.
    """
    moves = _watched(history.moved, history.services)
    counts = Counter((m.service_id, _component(m, policy)) for m in moves)
    watched = history.services
    years = {n: days_in(watched.get(n, ())) / MEAN_YEAR_DAYS for n in services}
    parts = []
    for party in PARTIES:
        image = f"{party}-party image"
        rows = {
            name: (n := counts[name, image], *observed_rate(n, time, policy.level))
            for name, time in years.items()
            if time
        }
        prefix = f"{party}_party_changes_"
        columns = [f"{prefix}n", *with_ends(f"{prefix}per_year")]
        table = DataFrame.from_dict(rows, "index", columns=columns).reindex(services)
        parts.append(table.astype("Float64").astype({f"{prefix}n": "Int64"}))
    return pd.concat(parts, axis=1)


def observed_rate(count: int, years: float, level: float) -> Interval:
    """Return the observed rate with Jeffreys' interval [per year]; NaN without watched time."""
    if not years:
        return Interval(*[math.nan] * 3)
    _, lo, hi = jeffreys_rate(count, years, level=level)
    return Interval(count / years, lo, hi)


def moves(history: History, policy: Policy) -> DataFrame:
    """List every change of the history.

    ``component`` (engine, third-party image, first-party image), ``name`` (host or service),
    ``change``, ``after_at, before_at`` [UTC; the same where the moment was recorded].
    """
    rows = [("engine", m.host_id, m.step.change, *m.span) for m in history.moves]
    for move in history.moved:
        component = _component(move, policy)
        rows.append((component, move.service_id, move.change, *move.span))
    kinds = dict.fromkeys(MOVES, "str")
    kinds |= dict.fromkeys(["after_at", "before_at"], "datetime64[us, UTC]")
    table = DataFrame(rows, columns=MOVES).astype(kinds)
    order = ["component", "after_at", "name"]
    return table.sort_values(order, ignore_index=True)


def fleet_pace(history: History, policy: Policy) -> DataFrame:
    """Return the changes per year of engines and images over the whole fleet.

    A row per component as `moves` names them: ``changes_n`` without and ``rollbacks_n`` [count],
    ``watched_years`` [host-years of engines, service-years of images], ``per_year`` with ``_lo,
    _hi`` [changes per host or service and year; NaN where nobody watched].
    """
    engines = _watched(history.moves, history.hosts)
    counts = Counter(("engine", move.step.change == ROLLBACK) for move in engines)
    for move in _watched(history.moved, history.services):
        counts[_component(move, policy), move.change == ROLLBACK] += 1
    watched = {"engine": history.hosts}
    watched |= {f"{party}-party image": history.services for party in PARTIES}
    rows = []
    for component, by_name in watched.items():
        count = counts[component, False]
        # exact, so that the order of the spans does not matter
        years = math.fsum(map(days_in, by_name.values())) / MEAN_YEAR_DAYS
        rate = observed_rate(count, years, policy.level)
        rows.append((component, count, counts[component, True], years, *rate))
    return DataFrame(rows, columns=PACE)


def _watched(moves: Iterable[AnyMove], spans: Mapping[str, Spans]) -> list[AnyMove]:
    return [move for move in moves if holds(spans.get(move[0], ()), move.span)]


def _component(move: ImageMove, policy: Policy) -> str:
    party = "third" if is_third_party(move.now, policy) else "first"
    return f"{party}-party image"
