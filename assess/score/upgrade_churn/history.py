"""Upgrade history: past changes in snapshots, and the time over which they would be visible.

A snapshot is a history by itself, and histories of snapshots that follow each other add up: the
last snapshot of one is compared with the first of the other. So a series may be read with one
inventory in memory at a time, or in parallel, with the same result.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import NamedTuple, Self

import pandas as pd
from pandas import Timestamp

from assess import reference
from assess.errors import AssessError, first_line
from assess.execution import each
from assess.inventory import Inventory, UnknownColumnWarning
from assess.policy import Policy
from assess.score import frozen
from assess.score.evidence.facts import NO_RUNTIME
from assess.score.incidents import (
    Span,
    Spans,
    sound_incidents,
    united,
    watched_spans,
)
from assess.score.upgrade_churn.sights import (
    Hosts,
    Image,
    Images,
    Sight,
    Step,
    Versions,
    cells,
    changed_images,
    engine_move,
    host_engines,
    hosts_of,
    is_pinned,
    is_read,
    line_name,
    sight_of,
    text_of,
)
from assess.snapshot import load

NOWHERE = ""  # on a host that nobody knows
FRAMES = (
    "services",
    "hosts",
    "engines",
    "workloads",
    "activities",
    "incidents",
    "coverage",
)
ROLLBACK = "rollback"


class UnsoundSnapshotWarning(UserWarning):
    """A snapshot of a series cannot be read: the fleet is unknown at that time."""


class Move(NamedTuple):
    """A change of an engine, and the time span in which it came."""

    host_id: str
    after: Timestamp
    before: Timestamp  # the same moment where it was recorded
    status: str
    step: Step

    @property
    def span(self) -> Span:
        """The time within which it came."""
        return self.after, self.before


class ImageMove(NamedTuple):
    """A change, or possible change, of a service's image between two snapshots."""

    service_id: str
    after: Timestamp
    before: Timestamp
    was: Image
    now: Image
    change: str  # as `assess.reference.image_change` has it

    @property
    def span(self) -> Span:
        """The time within which it came."""
        return self.after, self.before


@frozen
class History:
    """Changes over some snapshots, and the time over which they would be visible.

    ``first, last``: what the first and the last of them saw. ``recorded``: changes of engines that
    a source recorded, by host and moment; ``seen``: those between two snapshots that follow each
    other; ``moved``: changes of images, likewise. ``hosts, services``: when the engine of a host,
    and all images of a service, were watched. ``incidents``: hosts (`NOWHERE`: nobody knows),
    moments, and whether the host surely had it; ``looked``: when incidents were looked for.
    """

    first: Sight | None = None
    last: Sight | None = None
    recorded: Mapping[tuple[str, Timestamp], Move] = field(default_factory=dict)
    seen: tuple[Move, ...] = ()
    moved: tuple[ImageMove, ...] = ()
    hosts: Mapping[str, Spans] = field(default_factory=dict)
    services: Mapping[str, Spans] = field(default_factory=dict)
    incidents: frozenset[tuple[str, Timestamp, bool]] = frozenset()
    looked: Spans = ()

    @classmethod
    def of(cls, inventory: Inventory, policy: Policy) -> Self:
        """Read the history in one snapshot: the changes that sources recorded up to then."""
        sight = sight_of(inventory)
        hosts = hosts_of(inventory)
        recorded = {
            (move.host_id, move.after): move for move in _recorded(inventory, hosts)
        }
        return cls(
            first=sight,
            last=sight,
            recorded=recorded,
            hosts=_watched_hosts(inventory, recorded),
            incidents=frozenset(_incidents(inventory, hosts)),
            # as far as coverage says so
            looked=(inventory.has("incidents") and watched_spans(inventory, policy))
            or (),
        )

    def __add__(self, later: History) -> History:
        """Append a later history; where both record a change, the later one counts."""
        if self.last is None:
            return later
        if later.first is None:
            return self
        if later.first.at <= self.last.at:
            days = f"{later.first.at:%Y-%m-%d} after {self.last.at:%Y-%m-%d}"
            raise AssessError(
                f"snapshots out of order: {days}", hint="give the oldest first"
            )
        span = (self.last.at, later.first.at)
        moves, hosts = _engines_between(self.last.engines, later.first.engines, span)
        moved, services = _images_between(self.last.images, later.first.images, span)
        return History(
            first=self.first,
            last=later.last,
            recorded={**self.recorded, **later.recorded},
            seen=self.seen + moves + later.seen,
            moved=self.moved + moved + later.moved,
            hosts=_merged(self.hosts, hosts, later.hosts),
            services=_merged(self.services, services, later.services),
            incidents=self.incidents | later.incidents,
            looked=united(*self.looked, *later.looked),
        )

    @property
    def moves(self) -> list[Move]:
        """Changes of engines, each once: recorded ones, then those seen between two snapshots."""
        recorded = defaultdict(list)
        for host, moment in self.recorded:
            recorded[host].append(moment)
        moves = list(self.recorded.values())
        for move in self.seen:
            moments = recorded[move.host_id]
            if not any(move.after <= moment <= move.before for moment in moments):
                moves.append(move)
        return moves

    def __repr__(self) -> str:
        """Return the span and the counts, without address or clock."""
        if self.first is None or self.last is None:
            return "<History of nothing>"
        days = f"{self.first.at:%Y-%m-%d} to {self.last.at:%Y-%m-%d}"
        return f"<History {days}: {len(self.moves)} engines, {len(self.moved)} images changed>"


def upgrade_history(
    snapshots: Iterable[Inventory | str | Path], policy: Policy
) -> History:
    """Read the upgrades in a series of snapshots.

    Parameters
    ----------
    snapshots : iterable of Inventory, str or Path
        Oldest first, a path being the directory of one snapshot; one that is not later than the
        one before adds nothing. Of an iterator one is in memory at a time; a sequence, such as
        `assess.earlier` returns, is read by all workers (`assess.working`).
    policy : Policy
        Names the calls that look for incidents.

    Returns
    -------
    History
        What `score_upgrade_churn` and `judge_claims` take.

    Warns
    -----
    UnsoundSnapshotWarning
        Of a path that cannot be read: the periods before and after it become one.

    Examples
    --------
    >>> assess.upgrade_history([*assess.earlier("sample"), inventory], policy)
    <History 2026-06-30 to 2026-09-30: 7 engines, 9 images changed>
    """
    parts: Iterable[History | str]
    if isinstance(snapshots, Sequence):
        parts = each(_part, policy, snapshots, what="history")
    else:
        parts = (_part(policy, snapshot) for snapshot in snapshots)
    return joined(map(_sound, parts))


def known_history(
    inventory: Inventory,
    policy: Policy,
    *,
    history: History | None = None,
    previous: Inventory | None = None,
) -> History:
    """Append a snapshot to the history before it.

    ``history`` covers earlier snapshots, perhaps up to this one; ``previous`` is one more
    snapshot behind those. What is not later than the part before it adds nothing, nor does what
    is later than the snapshot.
    """
    at = inventory.snapshot_at
    if history and history.last and history.last.at == at:
        return history
    before = History.of(previous, policy) if previous else None
    parts = (history, before)
    earlier = [part for part in parts if part and part.last and part.last.at < at]
    return joined(earlier) + History.of(inventory, policy)


def joined(parts: Iterable[History | None]) -> History:
    """Add up histories; skip those that are not later than the one before."""
    whole = History()
    for part in parts:
        if part and part.first and (whole.last is None or part.first.at > whole.last.at):
            whole = whole + part
    return whole


def _part(policy: Policy, snapshot: Inventory | str | Path) -> History | str:
    """Return the history of one snapshot, from its frames alone, or the reason why not."""
    if isinstance(snapshot, Inventory):
        return History.of(snapshot, policy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownColumnWarning)
            return History.of(load(snapshot, only=FRAMES), policy)
    except (AssessError, OSError) as error:
        return first_line(error)


def _sound(part: History | str) -> History | None:
    if isinstance(part, History):
        return part
    warnings.warn(f"no part of the history: {part}", UnsoundSnapshotWarning, stacklevel=4)
    return None


def _recorded(inventory: Inventory, hosts: Hosts) -> Iterator[Move]:
    """Yield every recorded change of an engine; without a host, on all hosts of the service."""
    # without either it may have been on any host, and of any line
    table = inventory["activities"]
    is_past = table["started_at"] <= inventory.snapshot_at
    # what is of unknown kind and has a version may have been an upgrade, of any host
    may_be = table["kind"].isna() & table["to_version"].notna()
    table = table[is_past & (table["kind"].eq("engine_upgrade") | may_be)]
    table = table.assign(host_id=table["host_id"].mask(may_be, NOWHERE))
    runtimes = {
        host: engine.runtime
        for host, engine in host_engines(inventory).items()
        if engine.runtime != NO_RUNTIME
    }
    columns = ["host_id", "service_id", "started_at"]
    texts = ["status", "from_version", "to_version"]
    for host, service, at, *words in cells(table, *columns, *texts):
        status, was, now = map(text_of, words)
        places = [host]
        if not isinstance(host, str):
            places = sorted(hosts.get(service, ())) or [NOWHERE]
        for place in places:
            runtime = runtimes.get(place, reference.ENGINE)
            change = reference.engine_change((runtime, was), (runtime, now))
            line = line_name(runtime, now or was) if place else None
            step = Step(line, change, runtime, was, now)
            yield Move(place, at, at, status or "", step)


def _watched_hosts(
    inventory: Inventory, recorded: Iterable[tuple[str, Timestamp]]
) -> dict[str, Spans]:
    """Return the time in which upgrades of each host were recorded: since its launch, if younger."""
    # A launch after an upgrade belongs to a later machine of the same name. Hosts without
    # any source of history are left out.
    begun = _history_start(inventory)
    if pd.isna(begun):
        return {}
    at = inventory.snapshot_at
    launched = dict(cells(inventory["hosts"], "host_id", "launched_at"))
    first = dict(sorted(recorded, reverse=True))
    spans: dict[str, Spans] = {}
    for host in inventory["engines"]["host_id"].unique():
        launch = launched.get(host, pd.NaT)
        is_younger = begun < launch <= first.get(host, at)
        spans[host] = ((launch if is_younger else begun, at),)
    return spans


def _history_start(inventory: Inventory) -> Timestamp:
    """Return the start of the record of upgrades; NaT if no source has ever recorded one."""
    table = inventory["activities"]
    coverage = inventory["coverage"]
    # a source that lists deployments may not see upgrades
    sources = table["source"][table["kind"].eq("engine_upgrade")]
    table = table[table["source"].isin(sources)]
    past = table["started_at"][table["started_at"] <= inventory.snapshot_at]
    asked = coverage["source"].isin(table["source"].dropna())
    return pd.concat([past, coverage["window_start"][asked]]).min()


def _incidents(
    inventory: Inventory, hosts: Hosts
) -> Iterator[tuple[str, Timestamp, bool]]:
    """List host and moment of the incidents, and if it surely was there; unknown: `NOWHERE`."""
    columns = ["host_id", "opened_at", "service_id", "affected_services"]
    for host, moment, *texts in cells(sound_incidents(inventory), *columns):
        if isinstance(host, str):
            yield host, moment, True
            continue
        services = ";".join(filter(None, map(text_of, texts))).split(";")
        homes = [hosts.get(name, set()) for name in services]
        sure = set().union(*(home for home in homes if len(home) == 1))
        for place in set().union(*homes) or {NOWHERE}:
            yield place, moment, place in sure


def _engines_between(
    was: Mapping[str, Versions], now: Mapping[str, Versions], span: Span
) -> tuple[tuple[Move, ...], dict[str, Spans]]:
    """Compare the engines of two snapshots; a host missing in one of them was not watched."""
    # A host with an unreadable version was not watched either.
    both = sorted(was.keys() & now.keys())
    steps = {host: engine_move(was[host], now[host]) for host in both}
    moves = tuple(Move(host, *span, "", step) for host, step in steps.items() if step)
    watched = [host for host in both if is_read(was[host]) and is_read(now[host])]
    return moves, dict.fromkeys(watched, (span,))


def _images_between(
    was: Images, now: Images, span: Span
) -> tuple[tuple[ImageMove, ...], dict[str, Spans]]:
    """Compare the images of two snapshots; images that may move unseen are not watched."""
    both = sorted(was.keys() & now.keys())
    moves = tuple(
        ImageMove(service, *span, before, after, change)
        for service in both
        for before, after, change in changed_images(was[service], now[service])
    )
    watched = [name for name in both if all(map(is_pinned, was[name] | now[name]))]
    return moves, dict.fromkeys(watched, (span,))


def _merged(*parts: Mapping[str, Spans]) -> dict[str, Spans]:
    by_name: dict[str, Spans] = {}
    for part in parts:
        for name, spans in part.items():
            by_name[name] = united(*by_name.get(name, ()), *spans)
    return by_name
