"""Breaking changes: which changes on the way to a target hit something that is in use here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.score.upgrade_churn.history import NOWHERE
from assess.score.upgrade_churn.pace import MEASURED, PROSPECTIVE, Place
from assess.score.upgrade_churn.sights import Engines

COLUMNS = ["service_id", "host_id", "fact", "value", "version", "change_id", "why"]
IDLE = ""  # the service of a host that runs none that is known
ENGINE_FACTS = {
    "storage_driver": "storage_driver",
    "backing_fs": "backing_fs",
    "d_type": "d_type",
    "live_restore": "live_restore",
    "log_driver": "logging_driver",  # of containers that name none
}
HOST_FACTS = ["kernel", "cgroup_version"]
REPLICA_FACTS = ["client_api_version", "log_driver"]
OVERLAYS = ("overlay", "overlay2")  # the drivers that need d_type


class Fit(NamedTuple):
    """A table of what runs where, asked where no single change is to blame, and the reason."""

    table: str
    runs: Callable[[str, str], bool | None]
    why: str


FITS = {
    "kernel": Fit(
        "engine_kernel",
        reference.kernel_runs,
        "kernel {} carries none of the usual storage drivers of {}",
    ),
    "storage_driver": Fit(
        "storage_drivers",
        reference.driver_runs,
        "storage driver {} does not exist in {}",
    ),
}


class Fact(NamedTuple):
    """Something in use: what, its value (None: nobody knows), and the image that has it."""

    name: str
    value: str | None
    image: str = ""


class Hit(NamedTuple):
    """A change that hits: the release that brings it, its id or the table that says so, and why."""

    version: str | None
    change_id: str | None
    why: str


Facts = dict[Any, set[Fact]]


def breaks(
    inventory: Inventory, placed: list[Place], engines: Engines, target: str
) -> pd.DataFrame:
    """List changes between the current and the target version that break something in use.

    Facts that decide and are unknown are listed too.

    ``service_id`` (NA: no known one on this host), ``host_id`` (NA: on a host that nobody knows),
    ``fact`` and ``value`` in use, ``version`` (the release that breaks it), ``change_id`` (NA:
    whether it breaks is unknown, since the fact is) and ``why``. An engine that no service is known
    to use counts too.
    """
    rows = set()
    by_host = _host_facts(inventory, engines)
    by_replica = _replica_facts(inventory)
    used = {place.host_id for place in placed}
    idle = [
        Place(IDLE, host, MEASURED, engine.runtime, engine.version)
        for host, engine in engines.items()
        if host not in used
    ]
    for service, host, basis, product, version in placed + idle:
        if basis == PROSPECTIVE or product == "none":
            continue
        if product != reference.ENGINE or not reference.is_known(version):
            named = ""
            why = "nobody knows its engine"
            if pd.notna(version):
                named = f"{product} {version}"
                why = f"the facts do not know {named}"
            rows.add((service, host, "version", named, *Hit(None, None, why)))
            continue
        for fact in by_host[host] | by_replica[service, host]:
            if hit := hit_of(fact, version, target):
                value = ": ".join(filter(None, (fact.value, fact.image)))
                rows.add((service, host, fact.name, value, *hit))
    table = pd.DataFrame(sorted(rows, key=str), columns=COLUMNS, dtype="str")
    return table.replace({"service_id": IDLE, "host_id": NOWHERE, "value": ""}, pd.NA)


def on_hosts(table: pd.DataFrame) -> pd.DataFrame:
    """Group the rows of `breaks` by host, each with the services that use it.

    ``host_id, fact, value, version, change_id, why`` and ``services``, joined by a semicolon.
    """
    key = [name for name in COLUMNS if name != "service_id"]
    rows = table.fillna({"service_id": IDLE}).sort_values("service_id", kind="stable")
    groups = rows.groupby(key, dropna=False, sort=True)["service_id"]
    services = groups.agg(lambda names: "; ".join(filter(None, names)))
    return services.rename("services").reset_index()


def _host_facts(inventory: Inventory, engines: Engines) -> Facts:
    """List facts of the engine, kernel and system of each host."""
    hosts = {row.host_id: row for row in inventory["hosts"].itertuples()}
    by_host = {}
    for host, engine in engines.items():
        record = hosts.get(host)
        facts = {name: getattr(engine, column) for name, column in ENGINE_FACTS.items()}
        if engine.storage_driver not in OVERLAYS:
            del facts["d_type"]
        facts |= {name: getattr(record, name, None) for name in HOST_FACTS}
        distro = reference.distro_of(getattr(record, "os_name", None))
        line = reference.line_of(distro, getattr(record, "os_version", None))
        facts["os"] = line and f"{distro} {line}"
        by_host[host] = {Fact(name, _text(value)) for name, value in facts.items()}
    return by_host


def _replica_facts(inventory: Inventory) -> Facts:
    """List API of the clients, logging drivers and oldest image schemas by service and host."""
    images = inventory["images"].dropna(subset="schema").astype({"schema": "str"})
    by_image = images.groupby(["registry", "repository", "digest"])
    oldest = by_image["schema"].min().to_dict()
    by_replica: Facts = defaultdict(set)
    for row in inventory["workloads"].itertuples():
        schema = oldest.get((row.registry, row.repository, row.image_digest))
        image = "" if pd.isna(row.repository) else str(row.repository)
        facts = {Fact(name, _text(getattr(row, name))) for name in REPLICA_FACTS}
        facts.add(Fact("image_schema", schema, image))
        by_replica[row.service_id, row.host_id] |= facts
    return by_replica


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value).lower()


@lru_cache(maxsize=8192)
def hit_of(fact: Fact, version: str, target: str) -> Hit | None:
    """Return what hits a fact on the way from one engine to another, or that the fact is unknown."""
    if fact.value is not None:
        return broken_by(fact.name, fact.value, version, target)
    if not is_asked(fact.name, version, target):
        return None
    name = fact.name.replace("_", " ")
    return Hit(None, None, f"nobody knows its {name}, which may break")


@lru_cache(maxsize=8192)
def broken_by(fact: str, value: str, version: str, target: str) -> Hit | None:
    """Return the last change between two engines that hits a fact: the one to live with."""
    for rule in reversed(_on_the_way(fact, version, target)):
        if _holds(rule, value, target):
            why = rule["why"].format(value=value)
            return Hit(rule["version"], rule["change_id"], why)
    if fact not in FITS or not _is_ahead(version, target):
        return None
    fit = FITS[fact]
    if fit.runs(value, target) is not False:
        return None
    releases = [row["version"] for row in reference.rows("engine_releases")]
    ahead = [release for release in releases if _is_ahead(version, release)]
    refusing = [release for release in ahead if fit.runs(value, release) is False]
    first = min(refusing, key=reference.numbers_of, default=target)
    return Hit(first, fit.table, fit.why.format(value, target))


@lru_cache(maxsize=8192)
def is_asked(fact: str, version: str, target: str) -> bool:
    """Return whether a change between two engines depends on a fact; not where none lies ahead."""
    is_fit = fact in FITS and _is_ahead(version, target)
    return is_fit or bool(_on_the_way(fact, version, target))


def _is_ahead(version: str, target: str) -> bool:
    return (reference.release_of(version) or ()) < (reference.release_of(target) or ())


@lru_cache(maxsize=8192)
def _on_the_way(fact: str, version: str, target: str) -> list[dict[str, str]]:
    """List the changes ahead that can be checked against a fact, oldest first."""
    rules = [rule for rule in reference.rows("change_hits") if rule["fact"] == fact]
    return [
        rule | {"version": change["version"]}
        for change in reference.changes_between(version, target)
        for rule in rules
        if rule["change_id"] == change["change_id"]
    ]


def _holds(rule: dict[str, str], value: str, target: str) -> bool:
    until = reference.numbers_of(rule["until"])
    if rule["until"] and (reference.release_of(target) or ()) >= until:
        return False
    if rule["equals"]:
        return value in rule["equals"].split("|")
    lowest = reference.numbers_of(rule["from"])
    below = reference.numbers_of(rule["below"])
    numbers = reference.parse_version(value)
    return numbers is not None and lowest <= numbers < below
