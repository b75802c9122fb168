"""How often upgrades reach a service: by every host beneath it, and by its base image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import graph
from assess.score.clocks import base_system
from assess.score.upgrade_pace import (
    DOCKER,
    ENDS,
    failure_chance,
    forced_rate,
    host_engines,
    own_rates,
    places,
    product_line,
    releases_per_year,
)

MEASURED, PROSPECTIVE, UNKNOWN = "measured on hosts", "prospective from target", "unknown"


@dataclass(frozen=True, eq=False)
class Ground:
    """What services stand on.

    Attributes
    ----------
    pairs : DataFrame
        ``service_id, host_id`` (NA where unknown), ``on_engine``, ``basis``, ``tenants_n``.
    engines : DataFrame
        Index ``host_id``: engines, their product and line, and their own pace.
    bases : DataFrame
        ``service_id, base`` images.
    """

    pairs: pd.DataFrame
    engines: pd.DataFrame
    bases: pd.DataFrame


def ground_of(inventory: Inventory, policy: Policy, *, previous: Inventory | None) -> Ground:
    """Find out what services stand on.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads, engines, images, activities``.
    policy : Policy
        ``[churn]`` and ``blast_radius.off_engine``.
    previous : Inventory or None
        An earlier inventory.

    Returns
    -------
    Ground
        Every service has at least one pair; its host may be unknown.
    """
    engines = host_engines(inventory)
    engines = engines.join(own_rates(inventory, policy, engines, previous))
    stands = graph.standing(inventory, policy)
    stands = stands[stands["element_kind"] == "base_image"]
    bases = stands.rename(columns={"element": "base"})[["service_id", "base"]].drop_duplicates()
    bases = bases.sort_values(["service_id", "base"], ignore_index=True)
    return Ground(_pairs(inventory, policy, engines), engines, bases)


def _pairs(inventory: Inventory, policy: Policy, engines: pd.DataFrame) -> pd.DataFrame:
    """Say for every service and host whether an engine is beneath it."""
    services = inventory["services"].set_index("service_id")
    pairs = places(inventory, policy)
    homeless = services.index.difference(pairs["service_id"], sort=False)
    pairs = pd.concat([pairs, pd.DataFrame({"service_id": homeless})], ignore_index=True)
    pairs = pairs.astype({"service_id": "str", "host_id": "str", "on_engine": "boolean"})
    product = pairs["host_id"].map(engines["product"]).astype("str")
    platform = pairs["service_id"].map(services["platform"].astype("str"))
    is_plain = product.eq("none") | ~pairs["on_engine"].fillna(value=True).astype(bool)
    is_plain |= product.isna() & platform.eq("host")
    pairs["basis"] = np.select([is_plain, product.isna()], [PROSPECTIVE, UNKNOWN], MEASURED)
    pairs["on_engine"] = ~is_plain
    tenants = pairs.groupby("host_id")["service_id"].nunique()
    pairs["tenants_n"] = pairs["host_id"].map(tenants).astype("Int64")
    return pairs.sort_values(["service_id", "host_id"], kind="stable", ignore_index=True)


def paces(
    inventory: Inventory, policy: Policy, ground: Ground, failures: pd.DataFrame, goal: str
) -> pd.DataFrame:
    """Say how often upgrades come and fail, for every service and host.

    Parameters
    ----------
    inventory : Inventory
        Frame ``hosts``.
    policy : Policy
        ``[churn]``, ``[target]`` and ``[simulation]``.
    ground : Ground
        What services stand on.
    failures : DataFrame
        Upgrades and failures by line, of `upgrade_pace.upgrade_failures`.
    goal : str
        Engine to go to, on which what has no engine is taken to be.

    Returns
    -------
    DataFrame
        The pairs with ``host`` (what a host's engine and system ask for), ``events`` (with the base
        image) and ``today`` (a plain host's system alone) [per year], ``chance`` that an upgrade
        fails [probability]; each but ``today`` with ``_lo, _hi``.
    """
    since = str(policy["churn"]["forced_since"])
    table = ground.pairs.join(ground.engines[["product", "line"]], on="host_id")
    is_measured, is_plain = (table["basis"].eq(basis) for basis in (MEASURED, PROSPECTIVE))
    runtime = str(policy["target"]["runtime"])
    aim = DOCKER if runtime == "docker" else runtime
    product = table["product"].where(is_measured, DOCKER).mask(is_plain, aim)
    line = table["line"].where(is_measured).mask(is_plain, product_line(aim, goal))
    engine = _faster(_forced(product, line, since), _history(table, ground.engines), line, since)
    system = _systems(inventory, table["host_id"], since)
    host = _together(engine, system)
    pair = _together(host, _base_rates(table, ground.bases, since))
    lines = [None if pd.isna(x) else str(x) for x in line]
    chances = {x: failure_chance(failures, x, policy["simulation"]) for x in set(lines)}
    chance = pd.DataFrame([chances[x] for x in lines], columns=list(ENDS), index=table.index)
    for name, part in (("host", host), ("events", pair), ("chance", chance)):
        table[[f"{name}{end}" for end in ENDS]] = part[list(ENDS)].to_numpy()
    table["today"] = system[""].fillna(system["_mid"]).where(is_plain, table["events"])
    return table


def _history(table: pd.DataFrame, engines: pd.DataFrame) -> pd.DataFrame:
    """Own pace of each host; a host that nobody watched may be upgraded as often as any."""
    own = table[["host_id"]].join(engines[["own", "own_lo", "own_hi"]], on="host_id")
    own = own.drop(columns="host_id").where(table["basis"].eq(MEASURED)).astype("float64")
    own["own_hi"] = own["own_hi"].fillna(engines["own_hi"].max())
    return own.set_axis(list(ENDS), axis=1)


def _forced(product: pd.Series, line: pd.Series, since: str) -> pd.DataFrame:
    lines = [None if pd.isna(x) else str(x) for x in line]
    rates = [forced_rate(str(p), x, since) for p, x in zip(product, lines, strict=True)]
    return pd.DataFrame(rates, columns=list(ENDS), index=product.index, dtype="float64")


def _faster(forced: pd.DataFrame, own: pd.DataFrame, line: pd.Series, since: str) -> pd.DataFrame:
    """Take the faster of the forced and the own pace; nobody upgrades more often than releases."""
    lines = [None if pd.isna(x) else str(x) for x in line]
    most = pd.Series([releases_per_year(x, since) for x in lines], index=forced.index, dtype=float)
    own_hi = np.maximum(np.minimum(own["_hi"].fillna(np.inf), most), own[""].fillna(0))
    return pd.DataFrame(
        {
            "": np.fmax(forced[""], own[""]),
            "_lo": np.fmax(forced["_lo"], own["_lo"]),
            "_hi": np.fmax(forced["_hi"], own_hi),
        }
    )


def _together(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Put two clocks together: one upgrade may serve both, or neither the other."""
    return pd.DataFrame(
        {
            "": np.fmax(first[""], second[""]),
            "_lo": np.fmax(first["_lo"], second["_lo"]),
            "_hi": first["_hi"] + second["_hi"],
        }
    )


def _system_rate(name: str | None, line: str | None, since: str) -> tuple[float, ...]:
    """Pace of an operating system; what is unknown has no point, and counts only above."""
    rate = forced_rate(name or "", line, since)
    is_known = rate.lo == rate.hi
    return (rate.point if is_known else np.nan, rate.lo if is_known else 0.0, rate.hi, rate.point)


def _systems(inventory: Inventory, host_ids: pd.Series, since: str) -> pd.DataFrame:
    hosts = inventory["hosts"]
    rates = {}
    columns = ["host_id", "os_name", "os_version"]
    for host, name, version in hosts[columns].itertuples(index=False):
        line = reference.os_support(name, version, inventory.snapshot_at).line
        rates[host] = _system_rate(reference.distro_of(name), line, since)
    unknown = _system_rate(None, None, since)
    rows = [rates.get(host, unknown) for host in host_ids]
    return pd.DataFrame(rows, columns=[*ENDS, "_mid"], index=host_ids.index, dtype="float64")


def _base_rates(table: pd.DataFrame, bases: pd.DataFrame, since: str) -> pd.DataFrame:
    """Pace of the base images of each service: the fastest."""
    rates: dict[str, tuple[float, ...]] = {}
    at = pd.Timestamp(0, tz="UTC")
    for service, base in bases[["service_id", "base"]].itertuples(index=False):
        name, version = base_system(base)
        line = reference.os_support(name, version, at).line
        rate = _system_rate(reference.distro_of(name), line, since)
        rates[service] = tuple(np.fmax(rate, rates.get(service, rate)))
    unknown = _system_rate(None, None, since)
    rows = [rates.get(service, unknown) for service in table["service_id"]]
    return pd.DataFrame(rows, columns=[*ENDS, "_mid"], index=table.index, dtype="float64")
