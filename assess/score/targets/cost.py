"""Cost of a service at a target: money per month, and hours of upgrade work per year."""

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series

from assess import reference
from assess.frames import surely
from assess.inventory import Inventory
from assess.policy import Table
from assess.policy.policy import Policy
from assess.policy.targets import PRICES
from assess.score.incidents.exposure import is_replica
from assess.score.incidents.rates import Interval
from assess.score.result import ENDS, with_ends
from assess.score.targets.place import calendars, is_provided, system_of
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.history import History

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
    mains = live[~live["container_role"].isin(["sidecar"])]
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
    rows = []
    for service in services:
        systems = map(reference.base_system, bases.get(service, [""]))
        rates = (pace.system_rate(*system, since) for system in systems)
        rows.append(pace.fastest(*rates))
    base = np.array(rows, float).reshape(-1, len(ENDS))
    # one upgrade may serve both clocks (point, lo), or one each (hi)
    events = np.maximum(base, host)
    tenants_n = max(len(services), 1)
    events[:, 1] = np.maximum(base[:, 1], host[1] / tenants_n)
    events[:, 2] = base[:, 2] + host[2]
    columns = with_ends("hours_per_year")
    return DataFrame(events * cost, services, columns, dtype="Float64")
