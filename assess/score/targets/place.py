"""A service at a target: its evidence there, and its cost in money and in hours of upgrade work."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series, Timestamp

from assess import reference
from assess.frames import surely
from assess.inventory import Inventory
from assess.policy import Policy, Table
from assess.policy.targets import PRICES, platforms
from assess.score.evidence import Evidence, View
from assess.score.incidents import is_replica
from assess.score.incidents.rates import Interval
from assess.score.result import ENDS, with_ends
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.history import History

GOOD_DRIVER = "overlay2"  # what new hosts store images with

_LINES = re.compile(r"\b(?:line|provider_version)\b")
HOURS = 730.5  # of a mean month
GIB = 2**30
# what the size of a replica is read from, the best first; a limit is an upper end
CPU = ("cpu_p95", "cpu_request", "cpu_limit")
MEMORY = ("memory_p95_bytes", "memory_request_bytes", "memory_limit_bytes")
LIMIT = 2  # its place
PEAKS = {"cpu_p95": "cpu_peak", "memory_p95_bytes": "memory_peak_bytes"}
FULL_HOURS = 24  # nights and days differ
FACTS = {
    "cpu": "its CPU (workloads.cpu_request, cpu_p95 or cpu_limit)",
    "memory": "its memory (workloads.memory_request_bytes, memory_p95_bytes or memory_limit_bytes)",
}


def calendars(target: Table) -> list[tuple[str, str | None]]:
    """Return product and version of every component at a target with a support calendar."""
    own = platforms()[target["platform"]]["calendars"]
    found = []
    for product in own:
        is_runtime = product == target["runtime"]
        version = target["version"] if is_runtime else target["cluster_version"]
        found.append((product, version or reference.newest_line(product)))
    return found


def is_provided(target: Table) -> bool:
    """Return whether a provider patches hosts and runtime of a target."""
    return bool(target["patched_by"] == "provider")


def is_supported(target: Table, at: Timestamp) -> bool | None:
    """Return whether all runtimes and clusters of a target are supported; None if unknown."""
    answers = []
    for product, version in calendars(target):
        # a platform without versions has none that could end
        is_endless = is_provided(target) and reference.newest_line(product) is None
        support = reference.product_support(product, version, at)
        answers.append(True if is_endless else support.is_given)
    if False in answers:
        return False
    return None if None in answers or not answers else True


def system_of(target: Table) -> tuple[str | None, str | None]:
    """Return the operating system of a target, by default its newest line."""
    name = reference.distro_of(target["os"] or None)
    return name, target["os_version"] or reference.newest_line(name)


def runs_linux(target: Table) -> bool:
    """Return whether the system of a target runs Linux containers, as far as is known."""
    return reference.os_family(target["os"]) in (None, reference.LINUX)


def host_facts(target: Table, at: Timestamp, docker: str) -> dict[str, bool | None]:
    """Return facts of the hosts of a target; a provider's hosts count as managed."""
    if is_provided(target):
        return {"os_supported": True, "kernel_runs_on_target": True, "managed": True}
    name, version = system_of(target)
    supported = reference.os_support(name, version, at).is_given
    kernel = reference.shipped(name, version, "default_kernel")
    runs = reference.kernel_runs(kernel, docker)
    if not runs_linux(target):
        runs = False
    return {"os_supported": supported, "kernel_runs_on_target": runs, "managed": False}


class Place(NamedTuple):
    """The facts that a target gives every service; targets with equal facts are one place."""

    engine: tuple[tuple[str, Any], ...]
    host: tuple[tuple[str, Any], ...]
    replicas: int
    hosts_n: int
    zones: int
    self_heal: bool
    mirrored: bool


def place_of(target: Table, at: Timestamp, policy: Policy) -> Place:
    """Return the place of a target; its line is left out if no result can show it."""
    docker = reference.target_docker(policy["target"])
    products = calendars(target)
    line = "; ".join(" ".join(filter(None, product)) for product in products)
    engine = {
        "engine_supported": is_supported(target, at),
        "driver_runs_on_target": True,
        "storage_driver": GOOD_DRIVER,
        "d_type": True,
        "managed": is_provided(target),
    }
    host = {**host_facts(target, at, docker), "cgroup_version": "2"}
    sound = (engine["engine_supported"], host["os_supported"])
    is_told = sound != (True, True) or not host["kernel_runs_on_target"]
    if is_told or is_provided(target) or _reads_lines(policy):
        engine["line"] = line
        host["provider_version"] = line
    if host["os_supported"] is None:
        host["os_name"], host["os_version"] = system_of(target)
    return Place(
        tuple(engine.items()),
        tuple(host.items()),
        target["replicas"],
        target["hosts_n"],
        target["zones"],
        target["self_heal"],
        bool(target["mirrored"] or target["registry"]),
    )


def _reads_lines(policy: Policy) -> bool:
    """Return whether a rule of the policy reads the line of an engine or of a platform."""
    asked = [*policy["check"]]
    for gate in policy["gate"]:
        asked += [*gate["reasons"], *gate.get("notes", ())]
    return any(_LINES.search(f"{row['rule']} {row.get('applies', '')}") for row in asked)


def at_place(evidence: Evidence, place: Place) -> Evidence:
    """Return the evidence of a fleet as if every service had moved to a place."""
    views = dict(evidence.views)
    views["engines"] = _one_row_each(evidence, "engines", dict(place.engine))
    views["hosts"] = _one_row_each(evidence, "hosts", dict(place.host))
    views["services"] = _spread(evidence, place)
    changed = {}
    workloads = views["workloads"]
    if place.mirrored:
        changed["public_unmirrored"] = False
    if workloads.table["rootless"].any():
        changed["rootless"] = False
    if changed:
        table = _assigned(workloads.table, changed)
        views["workloads"] = replace(workloads, table=table, answers={})
    return Evidence(evidence.services, views, evidence.at)


def _one_row_each(evidence: Evidence, table: str, facts: Table) -> View:
    """Return a view of one row per service, with these facts and nothing else."""
    old = evidence.views[table].table
    services = Series(evidence.services.astype("string"))
    blank = old.iloc[:0].reindex(services.index)
    known = {name: fact for name, fact in facts.items() if name in blank}
    rows = _assigned(blank, known).assign(service_id=services, sure=True)
    return View.of(evidence.services, rows)


def _spread(evidence: Evidence, place: Place) -> View:
    """Return the view of services with the replicas at a target."""
    table = evidence.views["services"].table
    # a service never moves to fewer replicas than it has
    replicas = table["replicas_n"].fillna(0).clip(lower=place.replicas)
    changed = table.assign(
        replicas_n=replicas,
        redundant=(replicas >= 2).astype("boolean"),
        heals_itself=Series(place.self_heal, table.index, dtype="boolean"),
        hosts_n=Series(float(place.hosts_n), table.index, dtype="Float64"),
        azs_n=Series(float(place.zones), table.index, dtype="Float64"),
    )
    return View.of(evidence.services, changed)


def _assigned(table: DataFrame, values: Table) -> DataFrame:
    """Return a table with one value in each of some columns, of the column's type."""
    columns = {
        name: Series(value, table.index, dtype=table[name].dtype)
        for name, value in values.items()
    }
    return table.assign(**columns)


class Cost(NamedTuple):
    """Cost per month with ends, in the currency of the prices; and the missing facts."""

    frame: DataFrame
    missing: Series


def sizes(inventory: Inventory) -> DataFrame:
    """Return by service the size of one replica: ``cpu`` [cores], ``memory`` [GiB], with ends."""
    # Containers of one replica add up. NA where a container has none of the sizes.
    live = _live(inventory)
    found = {}
    for name, columns, unit in (("cpu", CPU, 1), ("memory", MEMORY, GIB)):
        values = [cells / unit for cells in _measures(live, columns)]
        first = reduce(Series.fillna, values)
        numbers = np.array([cells.to_numpy(float) for cells in values])
        most = np.fmax.reduce(numbers)
        # a limit is no lower end: a replica with only a limit may use almost nothing
        least = np.fmin.reduce(np.delete(numbers, LIMIT, axis=0))
        ends = (first, np.where(np.isnan(least), 0 * most, least), most)
        for column, cells in zip(with_ends(name), ends, strict=True):
            found[column] = Series(cells, live.index, dtype="Float64")
    rows = DataFrame(found).assign(service_id=live["service_id"])
    # a limit that is there, and that nobody knows, has no upper end
    is_limited = surely(~live["memory_unlimited"]) & is_replica(live)
    rows["memory_hi"] = rows["memory_hi"].mask(is_limited & live[MEMORY[LIMIT]].isna())
    grouped = rows.groupby("service_id")
    # one unknown container makes the size of the replica unknown
    whole = grouped.sum(min_count=1)
    unknown = rows.set_index("service_id").isna().groupby(level=0).any()
    known = whole.mask(unknown).div(_replicas(live), axis=0)
    # small ones of unknown state may not run, and then the others are larger than the mean
    may_run = live["state"].isna().groupby(live["service_id"])
    largest = grouped.max().where(may_run.any())
    for name in ("cpu_hi", "memory_hi"):
        known[name] = known[name].clip(lower=largest[name])
    return known.astype("Float64")


def replicas_of(inventory: Inventory, services: Index) -> DataFrame:
    """Return the number of replicas by service: ``replicas``, with ends; at least one."""
    live = _live(inventory)
    most = _replicas(live)
    least = _replicas(live[surely(live["state"].eq("running"))])
    # one that is only declared, or whose state nobody saw, may or may not run
    ends = {"replicas": most, "replicas_lo": least, "replicas_hi": most}
    counts = DataFrame(ends).reindex(services).fillna(1)
    return counts.clip(lower=1).astype("Float64")


def _live(inventory: Inventory) -> DataFrame:
    """Return the containers that run or may run, without those that only start others."""
    table = inventory["workloads"]
    may_run = table["state"].isin(["running", "declared"]) | table["state"].isna()
    live = table[may_run]
    return live[~live["container_role"].isin(["init"])]


def _measures(live: DataFrame, columns: tuple[str, ...]) -> list[Series]:
    """Return the measurements of a size, best first; observations below a day come last."""
    observed, *asked = [live[column].astype("Float64") for column in columns]
    is_brief = surely(live["usage_window_hours"].lt(FULL_HOURS))
    peak = live[PEAKS[columns[0]]].astype("Float64")
    return [observed.mask(is_brief), *asked, observed.where(is_brief), peak]


def _replicas(live: DataFrame) -> Series:
    """Count the replicas of each service; sidecars do not count."""
    mains = live[is_replica(live)]
    counts = mains.groupby("service_id").size()
    return counts.reindex(live["service_id"].unique()).fillna(1).astype(float)


def cost(target: Table, size: DataFrame, replicas: DataFrame) -> Cost:
    """Return the cost per month of every service at a target; NA if a size or price is missing."""
    prices = target["prices"]
    columns = with_ends("cost_per_month")
    frame = DataFrame(pd.NA, replicas.index, columns, dtype="Float64")
    # a price of 0 is free; one that is left out is unknown
    left_out = [name for name in PRICES if name not in prices]
    if left_out:
        words = f"prices of the target (policy target.prices: {', '.join(left_out)})"
        return Cost(frame, Series(words, replicas.index))
    by_size = {"cpu": prices["vcpu_hour"], "memory": prices["gib_hour"]}
    priced = {name: price * HOURS for name, price in by_size.items() if price}
    size = size.reindex(replicas.index)
    for end in ENDS:
        each = sum(size[f"{name}{end}"] * price for name, price in priced.items())
        month = each * replicas[f"replicas{end}"] + prices["service_month"]
        frame[f"cost_per_month{end}"] = month.round(2)
    missing = Series("", replicas.index)
    for name in priced:
        missing = missing.mask(size[name].isna(), missing + "; " + FACTS[name])
    return Cost(frame, missing.str.removeprefix("; "))


class Past(NamedTuple):
    """The fleet's own history: rate of engine upgrades, and chance that one fails."""

    own: Interval
    failure: Interval


def past_of(inventory: Inventory, policy: Policy, history: History) -> Past:
    """Return the rate of upgrades of an unwatched engine, and the chance that one fails."""
    rates = pace.own_rates(inventory, policy, history)
    chance = pace.failure_chances(history, policy)[pace.POOL]
    return Past(pace.unwatched(rates), chance)


def host_rate(target: Table, policy: Policy, own: Interval) -> Interval:
    """Return our upgrades per year of the hosts of a target."""
    settings = policy["churn"]
    since = settings["forced_since"]
    most = settings["managed_per_year_max"]
    lines = [
        (product, reference.line_of(product, version))
        for product, version in calendars(target)
    ]
    if is_provided(target):
        return pace.fastest(*(pace.managed_rate(*line, most) for line in lines))
    rates = [pace.engine_rate(*line, own, since) for line in lines]
    return reduce(pace.together, [*rates, pace.system_rate(*system_of(target), since)])


def upgrade_hours(
    target: Table,
    policy: Policy,
    bases: Mapping[str, list[str]],
    services: Index,
    past: Past,
) -> DataFrame:
    """Return ``hours_per_year`` with ends, by service [hours]."""
    # A service's base image moves along. A host is shared by nobody (point, ``hi``) or by
    # all (``lo``).
    settings = policy["churn"]
    since = settings["forced_since"]
    rate = np.array(host_rate(target, policy, past.own))
    host = rate * int(target["hosts_n"])
    cost = settings["hours_upgrade"] + np.array(past.failure) * settings["hours_fix"]
    rows = [pace.base_rate(bases.get(service, [""]), since) for service in services]
    base = np.array(rows, float).reshape(-1, len(ENDS))
    # one upgrade may serve both clocks (point, lo), or one each (hi)
    events = np.maximum(base, host)
    tenants_n = max(len(services), 1)
    events[:, 1] = np.maximum(base[:, 1], host[1] / tenants_n)
    events[:, 2] = base[:, 2] + host[2]
    columns = with_ends("hours_per_year")
    return DataFrame(events * cost, services, columns, dtype="Float64")
