"""Which changes on the way to a target hit something that is in use here."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.score.upgrade_pace import PROSPECTIVE, Engines, Place

HIT_COLUMNS = ["service_id", "host_id", "change_id", "why"]
ENGINE_FACTS = ["storage_driver", "backing_fs", "d_type", "live_restore"]
HOST_FACTS = ["kernel", "cgroup_version"]
REPLICA_FACTS = ["client_api_version", "log_driver"]
OVERLAYS = ("overlay", "overlay2")  # the drivers that need d_type
FITS = {  # where no single change is to blame: the table that says so, and how
    "kernel": ("engine_kernel", "kernel {} carries none of the usual storage drivers of {}"),
    "storage_driver": ("storage_drivers", "storage driver {} does not exist in {}"),
}

Facts = dict[Any, set[tuple[str, str | None]]]


class Hit(NamedTuple):
    """A change that hits: its id, or the table of facts that says so, and why."""

    change_id: str
    why: str


def breaks(
    inventory: Inventory, held: list[Place], engines: Engines, target: str
) -> tuple[pd.DataFrame, set[tuple[str, str]]]:
    """List what the way to a target breaks, and by service the facts for it that nobody knows.

    The unknown fact is ``version`` where it is the engine itself.
    """
    hits, unseen = set(), set()
    by_host, by_replica = _host_facts(inventory, engines), _replica_facts(inventory)
    for service, host, basis, product, version in held:
        if basis == PROSPECTIVE:
            continue
        if product != reference.ENGINE or not reference.is_known(version):
            unseen.add((service, "version"))
            continue
        for fact, value in by_host[host] | by_replica[service, host]:
            if value is None and is_asked(fact, version, target):
                unseen.add((service, fact))
            elif value is not None and (hit := broken_by(fact, value, version, target)):
                hits.add((service, host, *hit))
    return pd.DataFrame(sorted(hits), columns=HIT_COLUMNS, dtype="str"), unseen


def _host_facts(inventory: Inventory, engines: Engines) -> Facts:
    """List facts of the engine, kernel and system of each host."""
    hosts = {row.host_id: row for row in inventory["hosts"].itertuples()}
    found = {}
    for host, engine in engines.items():
        own = hosts.get(host)
        facts = {name: getattr(engine, name) for name in ENGINE_FACTS}
        if engine.storage_driver not in OVERLAYS:
            del facts["d_type"]
        facts |= {name: getattr(own, name, None) for name in HOST_FACTS}
        distro = reference.distro_of(getattr(own, "os_name", None))
        line = reference.line_of(distro, getattr(own, "os_version", None))
        facts["os"] = line and f"{distro} {line}"
        found[host] = {(name, _text(value)) for name, value in facts.items()}
    return found


def _replica_facts(inventory: Inventory) -> Facts:
    """List API of the clients, logging drivers and oldest image schemas by service and host."""
    images = inventory["images"].dropna(subset="schema").astype({"schema": "str"})
    oldest = images.groupby(["registry", "repository", "digest"])["schema"].min().to_dict()
    found: Facts = defaultdict(set)
    for row in inventory["workloads"].itertuples():
        schema = oldest.get((row.registry, row.repository, row.image_digest))
        facts = {(name, _text(getattr(row, name))) for name in REPLICA_FACTS}
        found[row.service_id, row.host_id] |= facts | {("image_schema", schema)}
    return found


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value).lower()


@lru_cache(maxsize=4096)
def broken_by(fact: str, value: str, version: str, target: str) -> Hit | None:
    """Say which change between two engines hits a fact: the last, since one has to live with it."""
    for rule in reversed(_on_the_way(fact, version, target)):
        if _holds(rule, value, target):
            return Hit(rule["change_id"], rule["why"].format(value=value))
    runs = {"kernel": reference.kernel_runs, "storage_driver": reference.driver_runs}.get(fact)
    if runs and is_asked(fact, version, target) and runs(value, target) is False:
        table, why = FITS[fact]
        return Hit(table, why.format(value, target))
    return None


@lru_cache(maxsize=4096)
def is_asked(fact: str, version: str, target: str) -> bool:
    """Say whether a change between two engines depends on a fact; not where none lies ahead."""
    is_ahead = (reference.release_of(version) or ()) < (reference.release_of(target) or ())
    return is_ahead and (fact in FITS or bool(_on_the_way(fact, version, target)))


@lru_cache(maxsize=4096)
def _on_the_way(fact: str, version: str, target: str) -> list[dict[str, str]]:
    ahead = {row["change_id"]: row for row in reference.changes_between(version, target)}
    rules = [rule for rule in reference.rows("change_hits") if rule["fact"] == fact]
    held = [
        rule | {"version": ahead[i]["version"]}
        for rule in rules
        if (i := rule["change_id"]) in ahead
    ]
    return sorted(held, key=lambda rule: list(ahead).index(rule["change_id"]))


def _holds(rule: dict[str, str], value: str, target: str) -> bool:
    until, from_, below = (reference.numbers_of(rule[key]) for key in ("until", "from", "below"))
    if rule["until"] and (reference.release_of(target) or ()) >= until:
        return False
    if rule["equals"]:
        return value in rule["equals"].split("|")
    numbers = reference.parse_version(value)
    return numbers is not None and from_ <= numbers < below
