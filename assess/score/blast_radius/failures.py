"""Observed failures: the element that failed, services with data, services that went down."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, MultiIndex

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import Booleans, Floats, Integers, Positions, frozen
from assess.score.blast_radius.bitset import Csr, pairs_of
from assess.score.blast_radius.topology import Element, Topology
from assess.score.incidents import sound_incidents

HOST_CAUSES = ("host", "kernel", "storage", "disk-full", "engine")
UNKNOWN = "unknown"  # kind of fault


def events(inventory: Inventory) -> DataFrame:
    """List incidents and experiments whose affected services are known.

    Columns ``event, event_id, element_kind, element, fault, started, ended, affected_services,
    observed_services``. An incident by a cause of its host is a failure of that host where the host
    is named, else of its service, which counts as affected. An experiment that names observed
    services but no affected ones took no service down.
    """
    incidents = sound_incidents(inventory)
    # a host that fails takes all its services down: the service that reported it is no cause
    on_host = incidents["cause"].isin(HOST_CAUSES) & incidents["host_id"].notna()
    affected = incidents["affected_services"] + ";" + incidents["service_id"]
    first = DataFrame(
        {
            "event": "incident",
            "event_id": incidents["incident_id"],
            "element_kind": np.where(on_host, "host", "service"),
            "element": incidents["host_id"].where(on_host, incidents["service_id"]),
            "fault": incidents["fault"],
            "started": incidents["opened_at"],
            "ended": incidents["resolved_at"],
            "affected_services": affected,
            "observed_services": pd.NA,
        }
    ).dropna(subset=["affected_services"])
    experiments = inventory["experiments"]
    # one that is only planned has spared nobody yet
    is_planned = experiments["started_at"] > inventory.snapshot_at
    observed = experiments["observed_services"].mask(is_planned)
    is_known = experiments["affected_services"].notna() | observed.notna()
    second = experiments[is_known].fillna({"affected_services": ""})
    names = {"experiment_id": "event_id", "started_at": "started", "ended_at": "ended"}
    second = second.rename(columns=names).assign(event="experiment")[first.columns]
    table = pd.concat([first, second], ignore_index=True).astype("object")
    return table.sort_values(["event", "event_id"], ignore_index=True)


@frozen
class Failure:
    """One observed failure of an element; by service, whether it was observed and went down.

    ``beside`` names the failures of other elements at the same time, and the same one in other tools.
    """

    event: str
    event_id: str
    element: Element
    seen: Booleans
    down: Booleans
    fault: str = UNKNOWN
    beside: tuple[str, ...] = ()


@frozen
class Past:
    """Past failures of one element: by failure and service, who was ``seen`` and went ``down``."""

    seen: Booleans
    down: Booleans

    def chances(self, p: Floats, strength: float) -> Floats:
        """Return by service ``(k + s p) / (n + s)``: of n failures with data, k took it down."""
        k = self.down.sum(axis=0)
        n = self.seen.sum(axis=0)
        return (k + strength * p) / (n + strength)

    def update(self, p: Floats, floor: Floats, strength: float) -> Floats:
        """Return the chances of what can go down or did; ``floor`` where no call leads."""
        can = (p > 0) | self.down.any(axis=0)
        least = np.maximum(p, floor)
        updated = self.chances(least, strength)
        # what is certain stays
        return np.where(p < 1, updated * can, p)

    def ends(
        self, ends: tuple[float, float], losses: Floats, strength: float, level: float
    ) -> Floats:
        """Return the interval of one more failure: of past losses, and of the prediction's ends.

        The prediction counts as ``strength`` failures here, too: half of them at each end.
        """
        times = max(round(strength / 2), 1)
        expected = np.repeat(ends, times)
        both = np.append(losses, expected)
        # by Weibull's quantiles k values lie below the k-th with the chance k / (n + 1)
        cut = (1 - level) / 2
        return np.quantile(both, [cut, 1 - cut], method="weibull")

    def losses(self, p: Floats, weight: Floats) -> Floats:
        """Return by failure the lost weight; without data, what is expected at ``p``."""
        return np.where(self.seen, self.down, p) @ weight


def observed_failures(
    inventory: Inventory, topology: Topology, policy: Policy
) -> tuple[list[Failure], int]:
    """Return the failures of the fleet's elements, by event and id, and the count of all."""
    # At most the policy's ``failures_most`` are drawn. The failed service counts as
    # observed, whatever others were. Aliases count as the service. Overlapping incidents
    # of one element are one failure. A service counts as unobserved if another failure at
    # the same time reaches it, too: the cause is unclear.
    names = _other_names(inventory, topology.services)
    table = events(inventory)
    kind = table["element_kind"]
    renamed = table["element"].map(lambda name: names.get(name, name))
    element = table["element"].mask(kind.eq("service"), renamed)
    table["key"] = MultiIndex.from_arrays([kind, element]).to_flat_index()
    table = _merge_overlapping(table[table["key"].isin(topology.elements)])
    known_n = len(table)
    most = int(policy["blast_radius"]["failures_most"])
    chosen = sample(known_n, most, policy.seed)
    failures = [
        _failure(row, topology.services, names) for row in table.iloc[chosen].itertuples()
    ]
    return _mark_ambiguous(failures, table, chosen, topology), known_n


def sample(n: int, most: int, seed: int) -> Integers:
    """Return the positions of n things, or of at most so many drawn with the seed, in order."""
    if n <= most:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n, most, replace=False))


def _merge_overlapping(table: DataFrame) -> DataFrame:
    """Join overlapping incidents of one element: one failure that several tools report."""
    rows = table.sort_values(["started", "event_id"])
    is_incident = rows["event"].eq("incident")
    ended = pd.to_datetime(rows["ended"], utc=True)
    # the latest end so far, not the last one: a long incident may hold short ones
    latest = ended.where(is_incident).groupby(rows["key"]).cummax()
    before = latest.groupby(rows["key"]).shift()
    started = pd.to_datetime(rows["started"], utc=True)
    is_same = is_incident & (started < before)
    number = (~is_same).groupby(rows["key"]).cumsum()
    rows = rows.assign(ended=ended, same=rows["event_id"])
    first = dict.fromkeys(rows.columns.drop(["key", "same"]), "first")
    joined = {**first, "affected_services": ";".join, "ended": "max", "same": tuple}
    once = rows.groupby([rows["key"], number], sort=False).agg(joined)
    once = once.reset_index(level=0)
    return once.sort_values(["event", "event_id"], ignore_index=True)


def _mark_ambiguous(
    failures: list[Failure], table: DataFrame, chosen: Integers, topology: Topology
) -> list[Failure]:
    """Mark services unobserved in a failure if another one at the same time may have hit them."""
    element, elements = pd.factorize(table["key"].to_numpy())
    failure, other = _simultaneous(table, chosen, element)
    hit, service = _hit_by_others(
        failures, failure, element[other], topology, list(elements)
    )
    others = Csr.of(failure, len(failures))
    hits = Csr.of(hit, len(failures))
    apart = []
    for at, found in enumerate(failures):
        place = chosen[at]
        beside = table["event_id"].to_numpy()[other[others.row(at)]]
        clear = np.ones_like(found.down)
        clear[service[hits.row(at)]] = False
        apart.append(
            replace(
                found,
                seen=found.seen & clear,
                down=found.down & clear,
                beside=(*table["same"].iloc[place][1:], *beside),
            )
        )
    return apart


def _simultaneous(table: DataFrame, chosen: Integers, element: Integers) -> Positions:
    """List pairs of a chosen failure and a simultaneous one of another element, by position."""
    start, end = (
        pd.to_datetime(table[name], utc=True).dt.tz_convert(None).to_numpy()
        for name in ("started", "ended")
    )
    others = []
    for place in chosen:
        # failures with an unknown end do not overlap: no comparison with NA is true
        overlaps = (start < end[place]) & (end > start[place])
        others.append(np.flatnonzero(overlaps & (element != element[place])))
    return pairs_of(others)


def _hit_by_others(
    failures: list[Failure],
    failure: Integers,
    element: Integers,
    topology: Topology,
    elements: list[Element],
) -> Positions:
    """List pairs of a failure and a service down in it that a simultaneous failure reaches."""
    # few services go down, so only these are looked at
    row, fell = pairs_of([np.flatnonzero(found.down) for found in failures])
    itself = topology.services.get_indexer([found.element[1] for found in failures])
    pair, at = Csr.of(row, len(failures)).members(failure)
    service = fell[at]
    hit = topology.reaches(elements, element[pair], service)
    hit &= service != itself[failure[pair]]
    return failure[pair[hit]], service[hit]


def _failure(row: Any, services: pd.Index, names: Mapping[str, str]) -> Failure:
    """Return one failure; without a list of observed services, everybody was observed."""
    itself = [row.key[1]] if row.key[0] == "service" else []
    down = _among(services, [*ids(row.affected_services, names), *itself])
    seen = np.ones(len(services), bool)
    if not pd.isna(row.observed_services):
        seen = _among(services, [*ids(row.observed_services, names), *itself])
    return Failure(
        event=row.event,
        event_id=row.event_id,
        element=row.key,
        seen=seen,
        down=down & seen,
        fault=UNKNOWN if pd.isna(row.fault) else row.fault,
    )


def _among(services: pd.Index, named: list[str]) -> Booleans:
    """Return which services are named."""
    # `isin` would look at every service of the fleet for each failure
    found = np.zeros(len(services), bool)
    found[np.setdiff1d(services.get_indexer(named), -1)] = True
    return found


def _other_names(inventory: Inventory, services: pd.Index) -> dict[str, str]:
    """Return services by alias; aliases that several services share are left out."""
    aliases = inventory["service_aliases"]
    pairs = aliases[["alias", "service_id"]].drop_duplicates()
    # the name of a service is no alias of another
    is_free = ~pairs["alias"].isin(services) & ~pairs["alias"].duplicated(keep=False)
    own = pairs[is_free & pairs["service_id"].isin(services)]
    return dict(own.astype("str").itertuples(index=False))


def ids(joined: object, names: Mapping[str, str] | None = None) -> list[str]:
    """Return the ids of a text that joins them by a semicolon; other names become ids."""
    known = names or {}
    parts = [name.strip() for name in str(joined).split(";")]
    return [known.get(name, name) for name in parts if name]
