"""Recovery: durations of incidents, and of replacements of instances."""

from collections import deque
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

import pandas as pd
from pandas import DataFrame, Series, Timedelta, Timestamp

from assess.frames import surely
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.incidents import exposure, sound_incidents

NEVER_UP = ("failed", "cancelled")  # launches that replace nothing
BY_TIMER = "by timer"  # ends the basis of an end that a timer set
TIES = 1e-12


def heal_table(rows: DataFrame, key: Series) -> DataFrame:
    """Return by key ``median, p95`` [minutes], ``n`` and ``open_n`` [incidents; open is censored].

    Times to heal are estimated by Kaplan and Meier. Where the curve does not come down that far, it
    is the longest time seen, which is too short.

    Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452: what is still open is censored, not
    dropped, or the median would come out a fifth to a third too short.
    """
    is_open = ~rows["closed"].astype(bool)
    table = rows[["minutes"]].astype(float).assign(key=key, open=is_open)
    table = table.dropna().sort_values(["minutes", "open"])
    groups = table.groupby("key", sort=True)
    # Kaplan-Meier: incidents that had not ended before this one
    at_risk = groups["open"].transform("size") - groups.cumcount()
    survive = 1 - ~table["open"] / at_risk
    still_open = survive.groupby(table["key"]).cumprod()
    longest = groups["minutes"].last()
    quantiles = {}
    for name, share in (("median", 0.5), ("p95", 0.95)):
        reached = table[still_open <= 1 - share + TIES]
        found = reached.groupby("key")["minutes"].first()
        # a curve that never falls so far is censored: the longest time is a lower bound
        quantiles[name] = found.reindex(longest.index).fillna(longest)
    counts = groups["open"].agg(n="size", open_n="sum")
    return DataFrame(quantiles).join(counts)


def incident_minutes(inventory: Inventory, policy: Policy) -> DataFrame:
    """Return ``service_id, minutes, closed`` of each counted incident, by its row in the inventory."""
    # An open incident has lasted up to the snapshot. If a timer closed it, its true
    # duration is unknown: NaN minutes.
    table = sound_incidents(inventory)
    recorded = table["ttr_s"].astype("float64") / 60
    lasted = (table["resolved_at"] - table["opened_at"]).dt.total_seconds() / 60
    so_far = (inventory.snapshot_at - table["opened_at"]).dt.total_seconds() / 60
    healed = recorded.fillna(lasted)
    # a time to resolve that ends after the snapshot is an announcement, or an error
    closed = healed <= so_far
    minutes = healed.where(closed, so_far).mask(closed_by_timer(table, policy))
    return table[["service_id"]].assign(minutes=minutes, closed=closed)


def closed_by_timer(table: DataFrame, policy: Policy) -> Series:
    """Return which incidents were closed by a field that a timer may set days after the repair."""
    # Either the basis of the end says so, or most closings of a source come the same
    # number of days after the opening (``[incidents]`` of the policy). All closings of
    # such a source count: those that came early alone would make repairs look short.
    settings = policy["incidents"]
    basis = table["resolved_basis"].fillna("")
    is_closing = basis.isin(settings["closing_fields"])
    source = table["source"].fillna("")
    days = (table["resolved_at"] - table["opened_at"]).dt.days
    with_timer = []
    for name, lags in days[is_closing].dropna().groupby(source):
        common_n = lags[lags >= 1].value_counts().max()
        is_common = common_n >= settings["timer_share"] * len(lags)
        if is_common and len(lags) >= settings["timer_n"]:
            with_timer.append(name)
    return (is_closing & source.isin(with_timer)) | basis.str.endswith(BY_TIMER)


def time_to_heal(inventory: Inventory, policy: Policy) -> DataFrame:
    """Return the time from the opening of an incident to its end by ``side``; see `heal_table`."""
    minutes = incident_minutes(inventory, policy).dropna(subset="service_id")
    side = exposure(inventory, policy).sound["side"].reindex(minutes.index)
    return heal_table(minutes, side).rename_axis("side").reset_index()


def replacements(inventory: Inventory, policy: Policy) -> DataFrame:
    """Pair each instance that ended for ill health with the launch that took its place.

    ``place`` (group, else service), ``ended_at`` of the old and ``healed_at`` of the new instance;
    NaT where none came within ``blast_radius.pair_within_minutes``. Where ``is_timed`` is False,
    nobody knows how long the launch took, and it healed at its start at the earliest.
    """
    table = inventory["activities"]
    table = table[table["kind"].isin(["terminate", "launch"])]
    never_up = table["status"].str.lower().isin(NEVER_UP)
    is_lost = table["kind"].eq("launch") & never_up
    table = table[~surely(is_lost) & (table["started_at"] <= inventory.snapshot_at)]
    table = table.sort_values(["started_at", "activity_id"])
    started = table["started_at"]
    so_far = (inventory.snapshot_at - started).dt.total_seconds()
    lasted = table["duration_s"].astype("float64").fillna(0.0)
    seconds = lasted.clip(upper=so_far + 1)
    ended = started + pd.to_timedelta(seconds, unit="s").dt.as_unit("us")
    ended = table["ended_at"].fillna(ended)
    # what ended before it began ended at once; what ends after the snapshot has not ended yet
    ended = ended.where(ended >= started, started)
    ended = ended.where(ended <= inventory.snapshot_at)
    is_timed = table["ended_at"].notna() | table["duration_s"].notna()
    table = table.assign(ended=ended, is_timed=is_timed)
    table["place"] = table["group"].fillna(table["service_id"])
    longest = Timedelta(minutes=policy["blast_radius"]["pair_within_minutes"])
    # sorted in time already; one pass over all rows, for there are as many places as services
    placed = table.dropna(subset=["place"]).sort_values("place", kind="stable")
    columns = placed[["place", "kind", "cause", "started_at", "ended", "is_timed"]]
    pairs = [
        (place, *pair)
        for place, rows in groupby(columns.itertuples(), attrgetter("place"))
        for pair in _pair(rows, longest)
    ]
    paired = DataFrame(pairs, columns=["place", "ended_at", "healed_at", "is_timed"])
    # a column of NaT alone has no time zone, which `astype` would refuse to give it
    for name in ("ended_at", "healed_at"):
        paired[name] = pd.to_datetime(paired[name], utc=True).dt.as_unit("us")
    return paired.astype({"place": "str", "is_timed": bool})


def _pair(
    rows: Iterator[Any], longest: Timedelta
) -> list[tuple[Timestamp, Timestamp, bool]]:
    """Pair terminations for ill health with the first later launch that no other has taken."""
    waiting: deque[Timestamp] = deque()
    pairs = []
    for row in rows:
        heals = pd.isna(row.cause) or row.cause in ("health", "unknown")
        if row.kind == "terminate" and row.cause == "health":
            waiting.append(row.started_at)
        elif row.kind == "launch" and heals:
            # a launch much later replaces something else
            while waiting and row.started_at - waiting[0] > longest:
                pairs.append((waiting.popleft(), pd.NaT, True))
            if waiting:
                pairs.append((waiting.popleft(), row.ended, row.is_timed))
    return pairs + [(down, pd.NaT, True) for down in waiting]


def self_healing(inventory: Inventory, policy: Policy, *, seconds: float) -> DataFrame:
    """Count the instances that were replaced in time [seconds], by group.

    ``group, yes`` (replaced in time), ``no, unknown`` (ended less than that before the snapshot
    and not replaced yet, or for an unknown reason, or an activity there may be the launch, or nobody
    knows how long that took) [count], ``median_s, longest_s`` [seconds, of those replaced].
    """
    pairs = replacements(inventory, policy)
    took = (pairs["healed_at"] - pairs["ended_at"]).dt.total_seconds()
    too_soon = (inventory.snapshot_at - pairs["ended_at"]).dt.total_seconds() < seconds
    activities = inventory["activities"]
    unnamed = activities[activities["kind"].isna()]
    vague = unnamed["group"].fillna(unnamed["service_id"])
    is_there = pairs["place"].isin(vague.dropna())
    may_be_launched = is_there | vague.isna().any()
    came_in_time = took <= seconds
    is_in_time = came_in_time & pairs["is_timed"]
    is_open = came_in_time | may_be_launched | (took.isna() & too_soon)
    is_unknown = is_open & ~is_in_time
    is_late = ~is_open & ~is_in_time
    counts = DataFrame({"yes": is_in_time, "no": is_late, "unknown": is_unknown})
    group = pairs["place"].rename("group")
    spread = took.groupby(group).agg(median_s="median", longest_s="max")
    # one that ended for a reason that nobody knows may have been ill
    is_vague = activities["kind"].eq("terminate") & activities["cause"].isna()
    ended = activities[is_vague]
    perhaps = ended["group"].fillna(ended["service_id"]).to_frame("group")
    perhaps = perhaps.assign(yes=False, no=False, unknown=True)
    every = pd.concat([counts.assign(group=group), perhaps])
    table = every.groupby("group").sum()
    return table.join(spread).reset_index()


def heal_times(inventory: Inventory, policy: Policy) -> DataFrame:
    """Estimate how long each service takes to heal.

    Index ``service_id``: ``minutes`` (median), ``minutes_p95`` and ``minutes_basis``: activities
    (an unhealthy instance of its group and its replacement), else incidents, else policy
    (``blast_radius.heal_minutes, heal_minutes_p95``).
    """
    settings = policy["blast_radius"]
    names = sorted(inventory["services"]["service_id"])
    table = DataFrame(
        {
            "minutes": float(settings["heal_minutes"]),
            "minutes_p95": float(settings["heal_minutes_p95"]),
            "minutes_basis": "policy",
        },
        index=pd.Index(names, name="service_id", dtype="str"),
    )
    healed = replacements(inventory, policy).dropna(subset=["healed_at"])
    minutes = (healed["healed_at"] - healed["ended_at"]).dt.total_seconds() / 60
    replaced = healed.assign(minutes=minutes, closed=healed["is_timed"])
    # where no launch was timed, nothing was measured
    is_measured = replaced.groupby("place")["closed"].transform("any")
    bases = {
        "incidents": incident_minutes(inventory, policy),
        "activities": replaced[is_measured].merge(_places(inventory), on="place"),
    }
    # the last basis that knows a service wins
    for basis, rows in bases.items():
        measured = heal_table(rows, rows["service_id"])[["median", "p95"]]
        table.update(measured.set_axis(["minutes", "minutes_p95"], axis=1))
        table.loc[table.index.isin(measured.index), "minutes_basis"] = basis
    types = {"minutes": "Float64", "minutes_p95": "Float64", "minutes_basis": "str"}
    return table.astype(types)


def _places(inventory: Inventory) -> DataFrame:
    """List services by auto-scaling group or cluster, and by their own name: ``place, service_id``."""
    groups = inventory["hosts"][["host_id", "asg_name"]]
    replicas = inventory["workloads"].merge(groups, how="left")
    services = inventory["services"][["service_id"]]
    parts = [
        replicas.assign(place=replicas["asg_name"]),
        replicas.assign(place=replicas["cluster"]),
        services.assign(place=services["service_id"]),
    ]
    return pd.concat(parts)[["place", "service_id"]].dropna().drop_duplicates()
