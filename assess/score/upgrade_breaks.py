"""Which changes on the way to a target hit something that is in use here."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.score.upgrade_pace import DOCKER

HIT_COLUMNS = ["service_id", "host_id", "change_id", "why"]
ENGINE_FACTS = ["storage_driver", "backing_fs", "d_type", "live_restore"]
HOST_FACTS = ["kernel", "cgroup_version"]
OVERLAYS = ("overlay", "overlay2")  # the drivers that need d_type


class Hit(NamedTuple):
    """A change that hits: its id, or the table of facts that says so, and why."""

    change_id: str
    why: str


def breaks(
    inventory: Inventory, pairs: pd.DataFrame, engines: pd.DataFrame, target: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List what the way to a target breaks.

    Parameters
    ----------
    inventory : Inventory
        Frames ``hosts, workloads, images``.
    pairs : DataFrame
        ``service_id, host_id`` of what runs on an engine.
    engines : DataFrame
        Engines by host, of `upgrade_pace.host_engines`.
    target : str
        Engine to go to.

    Returns
    -------
    hits : DataFrame
        ``service_id, host_id, change_id, why``, sorted; where the facts list no single change,
        ``change_id`` names the table that says so.
    unknown : DataFrame
        ``service_id, host_id, fact``: what a change on the way asks for and nobody knows;
        ``version`` where it is the engine itself.
    """
    held = pairs[["service_id", "host_id"]].join(engines[["product", "version"]], on="host_id")
    known = [reference.is_known(v) for v in held["version"]]
    is_known = held["product"].eq(DOCKER) & pd.Series(known, index=held.index, dtype=bool)
    used = facts_in_use(inventory, held[is_known].drop(columns="product"), engines)
    asked = [is_asked(*key, target) for key in zip(used["fact"], used["version"], strict=True)]
    used = used[np.array(asked, dtype=bool)]
    missing = used.loc[used["value"].isna(), ["service_id", "host_id", "fact"]].drop_duplicates()
    unseen = held.loc[~is_known, ["service_id", "host_id"]].assign(fact="version")
    used = used.dropna(subset="value").drop_duplicates()
    cells = zip(used["fact"], used["value"], used["version"], strict=True)
    found = used.assign(hit=[broken_by(*cell, target) for cell in cells]).dropna(subset="hit")
    change = pd.Series([h.change_id for h in found["hit"]], index=found.index, dtype="str")
    why = pd.Series([h.why for h in found["hit"]], index=found.index, dtype="str")
    hits = found.assign(change_id=change, why=why)[HIT_COLUMNS].drop_duplicates()
    unknown = pd.concat([unseen, missing], ignore_index=True)
    return hits.sort_values(HIT_COLUMNS, ignore_index=True), unknown


def facts_in_use(inventory: Inventory, held: pd.DataFrame, engines: pd.DataFrame) -> pd.DataFrame:
    """List what services use of the engines beneath them, as text.

    Parameters
    ----------
    inventory : Inventory
        Frames ``hosts, workloads, images``.
    held : DataFrame
        ``service_id, host_id, version`` of the engine.
    engines : DataFrame
        Engines by host.

    Returns
    -------
    DataFrame
        ``service_id, host_id, version, fact, value``; NA where nobody knows.
    """
    own = engines[ENGINE_FACTS].astype("str")
    own["d_type"] = own["d_type"].where(own["storage_driver"].isin(OVERLAYS), "not needed")
    hosts = inventory["hosts"].set_index("host_id")
    names = zip(hosts["os_name"], hosts["os_version"], strict=True)
    systems = hosts[HOST_FACTS].assign(
        os=pd.Series([system_name(*name) for name in names], index=hosts.index, dtype="str")
    )
    per_host = own.join(systems, how="left").rename_axis("host_id").reset_index()
    wide = per_host.melt("host_id", var_name="fact", value_name="value")
    replicas = _replica_facts(inventory).merge(held, on=["service_id", "host_id"])
    order = ["service_id", "host_id", "version", "fact", "value"]
    found = pd.concat([held.merge(wide, on="host_id")[order], replicas[order]], ignore_index=True)
    return found.assign(value=found["value"].astype("str").str.lower()).drop_duplicates()


def system_name(os_name: str | None, os_version: str | None) -> str | None:
    """Name an operating system with its line, as the facts do.

    Parameters
    ----------
    os_name, os_version : str or None
        As hosts name them.

    Returns
    -------
    str or None
        Such as ``ubuntu 20.04``; None where either is unknown.
    """
    line = reference.os_support(os_name, os_version, pd.Timestamp(0, tz="UTC")).line
    return None if line is None else f"{reference.distro_of(os_name)} {line}"


def _replica_facts(inventory: Inventory) -> pd.DataFrame:
    """List API of the clients, logging drivers and image schemas of replicas."""
    replicas = inventory["workloads"]
    keys = ["registry", "repository", "image_digest"]
    images = inventory["images"].rename(columns={"digest": "image_digest"})
    oldest = images.dropna(subset="schema").astype({"schema": "str"})
    oldest = oldest.groupby(keys, as_index=False)["schema"].min()
    table = replicas.merge(oldest, on=keys, how="left")
    table = table.rename(columns={"schema": "image_schema"})
    facts = ["client_api_version", "log_driver", "image_schema"]
    return table[["service_id", "host_id", *facts]].melt(
        ["service_id", "host_id"], var_name="fact", value_name="value"
    )


@lru_cache(maxsize=4096)
def broken_by(fact: str, value: str, version: str, target: str) -> Hit | None:
    """Say which change between two engines hits a fact.

    Parameters
    ----------
    fact, value : str
        What is in use.
    version, target : str
        Engine now, engine to go to.

    Returns
    -------
    Hit or None
        The last change that hits, since it is the one to live with.
    """
    rules = [rule for rule in _on_the_way(fact, version, target) if _holds(rule, value, target)]
    if rules:
        return Hit(str(rules[-1]["change_id"]), str(rules[-1]["why"]).format(value=value))
    if fact == "kernel" and reference.kernel_runs(value, target) is False:
        return Hit(
            "engine_kernel", f"kernel {value} carries none of the usual storage drivers of {target}"
        )
    if fact == "storage_driver" and reference.driver_runs(value, target) is False:
        return Hit("storage_drivers", f"storage driver {value} does not exist in {target}")
    return None


@lru_cache(maxsize=4096)
def is_asked(fact: str, version: str, target: str) -> bool:
    """Say whether a change between two engines depends on a fact.

    Parameters
    ----------
    fact : str
        The fact.
    version, target : str
        Engine now, engine to go to.

    Returns
    -------
    bool
        False where the target is not ahead, too.
    """
    now, then = reference.release_of(version), reference.release_of(target)
    if now is None or then is None or now >= then:
        return False
    return fact in ("kernel", "storage_driver") or bool(_on_the_way(fact, version, target))


@lru_cache(maxsize=4096)
def _on_the_way(fact: str, version: str, target: str) -> list[dict[str, str]]:
    now, then = reference.release_of(version), reference.release_of(target)
    rules = _rules()
    return [r for r in rules if r["fact"] == fact and now < _numbers(r["version"]) <= then]  # type: ignore[operator]


def _holds(rule: dict[str, str], value: str, target: str) -> bool:
    if rule["until"] and reference.release_of(target) >= _numbers(rule["until"]):  # type: ignore[operator]
        return False
    if rule["equals"]:
        return value in rule["equals"].split("|")
    numbers = reference.parse_version(value)
    if numbers is None:
        return False
    return _numbers(rule["from"] or "0") <= numbers < _numbers(rule["below"])


@cache
def _rules() -> list[dict[str, str]]:
    """List the changes that can be checked, oldest first."""
    known = reference.table("engine_changes")[["change_id", "version"]]
    rules = reference.table("change_hits").merge(known, on="change_id").fillna("")
    rows = rules.to_dict("records")
    return sorted(rows, key=lambda row: (_numbers(row["version"]), row["change_id"]))


def _numbers(text: str) -> tuple[int, ...]:
    return reference.parse_version(text) or (0,)
