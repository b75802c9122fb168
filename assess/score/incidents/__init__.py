"""Exposure: where each service runs, the watched time, and the incidents that count."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
import pandas as pd
from pandas import DataFrame, Series, Timedelta, Timestamp

from assess.frames import surely
from assess.inventory import BESIDE, LOOKED, Inventory
from assess.policy import Policy
from assess.score import frozen
from assess.score.incidents.rates import shrunk_rates
from assess.score.result import with_ends

Span: TypeAlias = tuple[Timestamp, Timestamp]
Spans: TypeAlias = tuple[Span, ...]  # in order, and apart

DAY = Timedelta(days=1)
HOST = "host"
CONTAINER = "container"
ANY_CONTAINER = "docker"  # platform of a service of which only containers were seen
MIXED = "mixed"
UNCLEAR = ("unknown", MIXED)  # of neither side: nobody knows, or it runs on both
YEAR = 365.25 * DAY
MONTH = YEAR / 12
MONTH_DAYS = MONTH / DAY
FIRST = Timestamp("1900-01-01", tz="UTC")  # what opened before is a typing error
SPELL = [
    *("service_id", "tier", "kind", "side", "platform"),
    *("months", "incidents", "clean_months"),
]


def united(*spans: Span) -> Spans:
    """Unite spans of time: those that touch are one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            first, last = merged[-1]
            merged[-1] = (first, max(last, end))
        else:
            merged.append((start, end))
    return tuple(merged)


def clipped(spans: Spans, start: Timestamp, end: Timestamp) -> Spans:
    """Return the parts of spans between two moments."""
    inside = ((max(first, start), min(last, end)) for first, last in spans)
    return tuple((first, last) for first, last in inside if first < last)


def holds(spans: Spans, inner: Span) -> bool:
    """Return whether one of these spans covers another."""
    return any(start <= inner[0] and inner[1] <= end for start, end in spans)


def days_in(spans: Spans) -> float:
    """Add up spans of time [days]."""
    return float(sum((end - start) / DAY for start, end in spans))


def days_until(spans: Spans, moments: Series) -> Series:
    """Return the days of the spans before each moment."""
    if not spans:
        return Series(0.0, moments.index)
    origin = spans[0][0]
    ends = Series([moment for span in spans for moment in span])
    lengths = [(end - start) / DAY for start, end in spans]
    # time stands still in a gap: its two ends have the same number of days before them
    total = np.repeat(np.cumsum([0.0, *lengths]), 2)[1:-1]
    days = np.interp((moments - origin) / DAY, (ends - origin) / DAY, total)
    return Series(days, moments.index)


def are_inside(spans: Spans, moments: Series) -> Series:
    """Return whether each moment is inside one of the spans, their ends included."""
    inside = Series(False, moments.index)
    for span in spans:
        inside |= moments.between(*span)
    return inside


@frozen
class Exposure:
    """Watched time and sound incidents per service, by side.

    ``services`` holds ``tier, kind`` by ``service_id``; ``platform``, likewise, where it runs: as
    declared, else by its replicas; ``mixed`` where these differ, NA if unknown. ``is_named`` says
    whether it is declared.
    ``watched`` are the spans in which incidents were watched, up to the snapshot at most;
    ``is_covered`` says whether they come from coverage, and not from the incidents themselves.
    ``sound`` holds the incidents that happened, once each, with ``platform`` and ``side`` at that
    time, else now. ``earlier`` shows where services ran up to ``earlier_until``.
    """

    services: DataFrame
    platform: Series
    is_named: Series
    watched: Spans
    is_covered: bool
    sound: DataFrame
    earlier: Exposure | None = None
    earlier_until: Timestamp | None = None

    @cached_property
    def side(self) -> Series:
        """Side of each service, index ``service_id``: container, host, or NA where unknown."""
        return side_of(self.platform)

    @property
    def window(self) -> Span | None:
        """Start and end of the watched time, which may have gaps; None without any."""
        if not self.watched:
            return None
        return self.watched[0][0], self.watched[-1][1]

    @property
    def years(self) -> float:
        """Watched time [years]."""
        return days_in(self.watched) * DAY / YEAR

    @cached_property
    def incidents(self) -> DataFrame:
        """Rows of ``sound`` in the watched time, including those without a known service."""
        return self.sound[are_inside(self.watched, self.sound["opened_at"])]

    @cached_property
    def spells(self) -> DataFrame:
        """Spells of services on one platform, in the watched time.

        ``service_id, tier, kind, side, platform, months`` [service-months], ``incidents`` [count]
        and ``clean_months`` [months since the last of these incidents]. Platform and side are NA
        where nobody knows them, and where a service is known to have moved at an unknown time.
        """
        if self.window is None:
            return DataFrame(columns=SPELL)
        spells = self._spans(*self.window)
        spells = spells[spells["start"] < spells["end"]].reset_index(drop=True)
        rows = spells.reset_index(names="spell").drop(columns="platform")
        moments = self.incidents[["incident_id", "service_id", "opened_at"]]
        opened = rows.merge(moments, on="service_id")
        opened = opened[opened["opened_at"].between(opened["start"], opened["end"])]
        # an incident at the border of two spells counts for the earlier one
        opened = opened.drop_duplicates("incident_id")
        by_spell = opened.groupby("spell")["opened_at"]
        last = by_spell.max().reindex(spells.index).fillna(spells["start"])
        spells["incidents"] = by_spell.size().reindex(spells.index, fill_value=0)
        until = days_until(self.watched, spells["end"])
        since = days_until(self.watched, spells["start"])
        spells["months"] = (until - since) / MONTH_DAYS
        spells["clean_months"] = (until - days_until(self.watched, last)) / MONTH_DAYS
        spells["side"] = side_of(spells["platform"])
        spells = spells.join(self.services, on="service_id")
        return spells[SPELL].sort_values(["service_id", "platform"], ignore_index=True)

    def _spans(self, start: Timestamp, end: Timestamp) -> DataFrame:
        """List the time of each service on a platform: ``service_id, platform, start, end``."""
        now = self.incidents["service_id"].map(self.side)
        elsewhere = surely(self.incidents["side"].ne(now))
        moved = self.platform.index.isin(self.incidents.loc[elsewhere, "service_id"])
        here = self.platform.mask(moved).to_frame().assign(start=start, end=end)
        if self.earlier is None or self.earlier_until is None:
            return here.rename_axis("service_id").reset_index()
        then = self.earlier.platform.reindex(self.platform.index)
        side = side_of(then)
        # of containers whose platform one snapshot alone names, nobody knows whether they moved
        is_vague = self.is_named != self.earlier.is_named.reindex(then.index)
        may_have_moved = surely(side.eq(self.side) & side.eq(CONTAINER) & is_vague)
        has_moved = surely(side.notna() & self.side.notna() & then.ne(self.platform))
        before = then[has_moved | may_have_moved]
        until = min(self.earlier_until, end)
        there = DataFrame({"platform": before, "start": start, "end": until})
        # it moved at an unknown time between the snapshots: that time counts for neither platform
        unsure = then[may_have_moved].index
        between = DataFrame({"platform": pd.NA, "start": until, "end": end}, index=unsure)
        stayed = here[~here.index.isin(before.index)]
        spans = pd.concat([stayed, there, between])
        return spans.rename_axis("service_id").reset_index()

    def total(self, *, side: str | None = None) -> tuple[int, float]:
        """Count incidents and service-months of a side; a service may be unknown.

        An incident counts for the side on which it happened, a month for the side of its spell. So
        an incident that shows a move removes months, and never an incident.
        """
        months = _on_side(self.spells, side)["months"]
        return len(_on_side(self.incidents, side)), float(months.sum())

    @property
    def in_containers(self) -> tuple[int, float]:
        """Incidents and service-months in containers; an incident of unknown side counts."""
        incidents_n, months = self.total(side=CONTAINER)
        return incidents_n + int(self.incidents["side"].isna().sum()), months

    def clean_months(self, *, side: str, tiers: Collection[int]) -> float | None:
        """Sum the months since each service's last incident; None if no coverage says who watched."""
        # A window that starts at the first incident would grow with an older one.
        if not (self.is_covered and self.watched):
            return None
        spells = _on_side(self.spells, side)
        months = spells.loc[spells["tier"].isin(list(tiers)), "clean_months"]
        loose_n = self.incidents["service_id"].isna().sum()
        # incidents of unknown services may have hit each of these
        return None if 0 < len(months) <= loose_n else float(months.sum())


def _on_side(table: DataFrame, side: str | None) -> DataFrame:
    """Return the rows of a side; None selects all."""
    return table if side is None else table[surely(table["side"].eq(side))]


def exposure(
    inventory: Inventory, policy: Policy, previous: Inventory | None = None
) -> Exposure:
    """Return where services run and their watched time; computed once per inventory and policy.

    With ``previous``, a service that has moved since counts for its old platform up to then.
    """
    present = _exposure(inventory, policy)
    if previous is None:
        return present
    until = previous.snapshot_at
    return replace(present, earlier=exposure(previous, policy), earlier_until=until)


@lru_cache(maxsize=4)  # two quarters, each with and without builds
def _exposure(inventory: Inventory, policy: Policy) -> Exposure:
    services = inventory.by_service
    named = side_of(services["platform"]).sort_index()
    platform = _platforms(inventory, policy)
    sound = sound_incidents(inventory)
    at_time = sound["platform_at_time"].astype("object")
    at_time = at_time.mask(at_time.eq("unknown"))
    at_time = at_time.fillna(sound["service_id"].map(platform))
    watched = watched_spans(inventory, policy)
    is_covered = watched is not None
    if watched is None:
        # nobody knows that the time before the first incident was watched
        start = sound["opened_at"].min()
        end = inventory.snapshot_at
        watched = ((start, end),) if start < end else ()
    return Exposure(
        services=services[["tier", "kind"]],
        platform=platform,
        is_named=named.notna(),
        watched=watched,
        is_covered=is_covered,
        sound=sound.assign(platform=at_time, side=side_of(at_time)),
    )


def side_of(platform: Series) -> Series:
    """Return the side of each platform: container, host, or NA where it is unknown or mixed."""
    known = platform.notna() & ~platform.isin(UNCLEAR)
    sides = np.where(surely(platform.eq(HOST)), HOST, CONTAINER)
    return Series(sides, platform.index, dtype="string").where(known)


def in_containers(platform: Series) -> Series:
    """Return whether a platform is known to run containers, at least in part."""
    return surely(side_of(platform).eq(CONTAINER) | platform.eq(MIXED))


def on_docker(platform: Series) -> Series:
    """Return whether a platform is known to run on Docker's engine."""
    return platform.isin([ANY_CONTAINER, "swarm"])


def is_replica(workloads: DataFrame) -> Series:
    """Return by row whether it is a replica; sidecars and init containers belong to another row."""
    return ~workloads["container_role"].isin(BESIDE)


def replicas_in_containers(workloads: DataFrame, policy: Policy) -> Series:
    """Return whether each replica is a container, by its kind or else by its image; else NA."""
    kind = workloads["source_kind"].str.lower()
    by_kind = ~kind.isin(policy["evidence"]["host_kinds"]).astype("boolean")
    has_image = workloads["image_ref"].notna() | workloads["repository"].notna()
    by_image = has_image.astype("boolean").where(has_image)
    return by_kind.mask(kind.isna()).fillna(by_image)


def on_engine(workloads: DataFrame, policy: Policy) -> Series:
    """Return whether each replica runs on the engine of its host; NA where it may be no container."""
    is_beside = workloads["source_kind"].isin(policy["blast_radius"]["off_engine"])
    is_known = replicas_in_containers(workloads, policy).notna()
    return (~is_beside).astype("boolean").where(is_known)


def _platforms(inventory: Inventory, policy: Policy) -> Series:
    """Return the platform of each service: as declared, else from all its replicas."""
    declared = inventory.by_service["platform"].astype("object")
    workloads = inventory["workloads"]
    contained = replicas_in_containers(workloads, policy).groupby(workloads["service_id"])
    # a replica of unknown kind may be of either side
    some = contained.any(skipna=False)
    every = contained.all(skipna=False)
    shown = every.map({True: ANY_CONTAINER, False: MIXED})
    shown = shown.where(some.notna()).mask(surely(~some), HOST)
    shown = shown.reindex(declared.index)
    # an orchestrator also runs what is no container
    is_bare = shown.eq(HOST) & declared.isin(policy["evidence"]["orchestrators"])
    platform = declared.mask(declared.isin(UNCLEAR) | is_bare).fillna(shown)
    platform = platform.fillna(declared.where(declared.eq(MIXED)))
    return platform.astype("string").sort_index().rename("platform")


def watched_spans(inventory: Inventory, policy: Policy) -> Spans | None:
    """Return the spans in which sources of incidents looked; None where no coverage says."""
    asked = coverage_of(inventory, policy, "incident_calls", "incidents")
    # what one of several trackers would have shown is missing in all of the time
    is_blind = inventory.unheard["source"].isin(asked["source"]).any()
    windows = asked[["window_start", "window_end"]].dropna()
    if is_blind or windows.empty:
        return None
    spans = united(*windows.itertuples(index=False, name=None))
    # nothing is known of the time after the snapshot, whatever a window says
    return clipped(spans, spans[0][0], inventory.snapshot_at)


def sound_incidents(inventory: Inventory) -> DataFrame:
    """Return the incidents up to the snapshot, without duplicates and with plausible times."""
    table = inventory["incidents"]
    bad = surely(table["bad_time"])
    bad |= table["resolved_at"] < table["opened_at"]
    bad |= ~table["opened_at"].between(FIRST, inventory.snapshot_at)
    return table[table["duplicate_of"].isna() & ~bad]


def coverage_of(inventory: Inventory, policy: Policy, key: str, frame: str) -> DataFrame:
    """Return the coverage of successful calls whose name or source has one of the policy's words.

    A call that found rows, of which none is in its frame, tells nothing: they were left out.
    """
    words = policy["blast_radius"][key]
    table = inventory["coverage"]
    text = (table["source"] + " " + table["call"]).str.lower()
    named = text.map(lambda call: any(word in call for word in words)).astype(bool)
    is_lost = surely(table["rows"].gt(0)) & inventory[frame].empty
    return table[named & table["status"].isin(LOOKED) & ~is_lost]


def incident_rates(inventory: Inventory, policy: Policy) -> DataFrame:
    """Estimate the incident rate of each service, shrunk to the fleet's.

    Index ``service_id``; ``rate_per_year, rate_per_year_lo, rate_per_year_hi`` [per year], NA
    where nobody watched. An incident of an unknown service may be of any, at the upper end. Where
    no coverage says who watched, the rate counts from the first incident, 0 is its lower end, and it
    has no upper end. ``simulation.level`` is the coverage of the intervals.
    """
    known = exposure(inventory, policy)
    index = pd.Index(sorted(known.services.index), name="service_id", dtype="str")
    service = known.incidents["service_id"]
    events = service.value_counts().reindex(index, fill_value=0).astype("float64")
    years = Series(known.years, index)
    loose_n = int(service.isna().sum())
    rates = shrunk_rates(events, years, level=policy.level, loose_n=loose_n)
    # person-time that nobody knows bounds no rate: one old incident would make all look rare
    if not known.is_covered:
        rates = rates.assign(rate_lo=0.0, rate_hi=np.nan)
    rates.loc[rates["rate"].isna()] = np.nan
    return rates.set_axis(with_ends("rate_per_year"), axis=1).astype("Float64")
