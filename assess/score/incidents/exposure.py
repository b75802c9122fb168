"""What containers and hosts have shown so far: incidents by platform, healing, upgrades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.incidents.rates import (
    Interval,
    jeffreys_interval,
    jeffreys_rate,
    rate_ratio,
)
from assess.score.incidents.recovery import (
    counted_incidents,
    heal_quantiles,
    incident_minutes,
    replacements,
    sound_incidents,
    watched,
)
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.history import History

MONTH = pd.Timedelta(days=365.25 / 12)
HOST, CONTAINER = "host", "container"
RECORD = ["service_id", "tier", "kind", "platform", "side", "incidents", "service_months"]


def platforms(inventory: Inventory, policy: Policy) -> pd.Series:
    """Say where each service runs: as declared, else by the kinds of its replicas.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads``.
    policy : Policy
        Its ``evidence.host_kinds`` are replicas that are no container.

    Returns
    -------
    Series
        Index ``service_id``; NA where nobody knows, or where it runs on both.
    """
    declared = inventory["services"].set_index("service_id")["platform"].astype("object")
    declared = declared.mask(declared.isin(["unknown", "mixed"]))
    replicas = inventory["workloads"].dropna(subset=["source_kind"])
    on_host = replicas["source_kind"].str.lower().isin(policy["evidence"]["host_kinds"])
    seen = on_host.groupby(replicas["service_id"]).agg(["all", "any"])
    guessed = pd.Series(pd.NA, index=seen.index, dtype="object")
    guessed[seen["all"]], guessed[~seen["any"]] = HOST, "docker"
    return (
        declared.fillna(guessed.reindex(declared.index))
        .astype("string")
        .sort_index()
        .rename("platform")
    )


def window(
    inventory: Inventory, policy: Policy
) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Give the time over which incidents were watched, up to the snapshot at most."""
    found = watched(inventory, policy) if inventory.has("incidents") else None
    if found is None:
        return None
    start, end = found[0], min(found[1], inventory.snapshot_at)
    return (start, end) if start < end else None


def watched_incidents(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Give the sound incidents of the time watched, with a ``platform``: as it was, else as it is.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, services, workloads, coverage``.
    policy : Policy
        Names the calls that look for incidents.

    Returns
    -------
    DataFrame
        Rows of `sound_incidents`, those without a service included; ``platform`` is NA where nobody
        knows it.
    """
    held, table = window(inventory, policy), sound_incidents(inventory)
    here = table["service_id"].map(platforms(inventory, policy))
    table = table.assign(platform=table["platform_at_time"].astype("object").fillna(here))
    return table[table["opened_at"].between(*held)] if held else table.iloc[:0]


def side_of(platform: pd.Series) -> pd.Series:
    """Say of each platform whether it is a host, a container, or unknown."""
    known = platform.notna() & ~platform.isin(["unknown", "mixed"])
    sides = np.where(platform.eq(HOST).fillna(False), HOST, CONTAINER)
    return pd.Series(sides, platform.index, dtype="string").where(known, pd.NA)


def track_record(
    inventory: Inventory, policy: Policy, *, previous: Inventory | None = None
) -> pd.DataFrame:
    """Count the incidents and the time watched of each service on its platform.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads, incidents, coverage``.
    policy : Policy
        Names the calls that look for incidents.
    previous : Inventory, optional
        An earlier inventory: a service that has moved since counts for its old platform up to then.

    Returns
    -------
    DataFrame
        ``service_id, tier, kind, platform, side`` (host or container), ``incidents`` [count],
        ``service_months``. Without rows where no incidents were watched. Platform and side are NA
        where nobody knows them, and where a service is known to have moved within the time, and
        nobody can say when.
    """
    held = window(inventory, policy)
    now = platforms(inventory, policy)
    if held is None or now.empty:
        return pd.DataFrame(columns=RECORD)
    table = counted_incidents(inventory)
    table = table[table["opened_at"].between(*held)]
    then = side_of(table["platform_at_time"].astype("object"))
    elsewhere = then.notna() & then.ne(side_of(table["service_id"].map(now)))
    moved = now.index.isin(set(table.loc[elsewhere.fillna(False), "service_id"]))
    rows = [pd.DataFrame({"platform": now.mask(moved), "start": held[0], "end": held[1]})]
    if previous is not None:
        was = platforms(previous, policy).dropna()
        was = was[was.index.isin(now.dropna().index)]
        gone = was[was != now[was.index]]
        cut = min(previous.snapshot_at, held[1])
        rows[0] = rows[0][~rows[0].index.isin(gone.index)]
        rows.append(pd.DataFrame({"platform": gone, "start": held[0], "end": cut}))
    spells = pd.concat(rows).rename_axis("service_id").reset_index()
    spells = spells[spells["start"] < spells["end"]]
    events = spells.merge(table[["service_id", "opened_at"]], on="service_id")
    inside = events["opened_at"].between(events["start"], events["end"])
    counts = events[inside].groupby("service_id").size()
    spells["incidents"] = spells["service_id"].map(counts).fillna(0).astype("int64")
    spells["service_months"] = ((spells["end"] - spells["start"]) / MONTH).astype(float)
    spells["side"] = side_of(spells["platform"])
    about = inventory["services"][["service_id", "tier", "kind"]]
    found = spells.merge(about, on="service_id", how="left")
    return found[RECORD].sort_values(["service_id", "platform"], ignore_index=True)


def rates_by(record: pd.DataFrame, by: str, *, level: float) -> pd.DataFrame:
    """Give the incident rate of each group of a track record.

    Parameters
    ----------
    record : DataFrame
        As `track_record` gives it.
    by : str
        Column to group by.
    level : float
        Coverage of the intervals. [share, 0-1]

    Returns
    -------
    DataFrame
        ``by``, ``services`` [count], ``incidents`` [count], ``service_months``, and ``rate,
        rate_lo, rate_hi`` [per service and year].
    """
    groups = record.groupby(by, sort=True, observed=True)
    table = groups.agg(
        services=("service_id", "nunique"),
        incidents=("incidents", "sum"),
        service_months=("service_months", "sum"),
    ).reset_index()
    ends = [
        jeffreys_rate(n, months / 12, level=level)
        for n, months in zip(table["incidents"], table["service_months"], strict=True)
    ]
    columns = ["rate", "rate_lo", "rate_hi"]
    return table.join(pd.DataFrame(ends, columns=columns, index=table.index, dtype=float))


def compare(record: pd.DataFrame, ours: pd.Series) -> pd.DataFrame:
    """Put two groups of a track record beside each other, tier by tier.

    Parameters
    ----------
    record : DataFrame
        As `track_record` gives it.
    ours : Series of bool
        Rows of the one group, and of the other; NA where a row may be of either.

    Returns
    -------
    DataFrame
        ``tier`` (0: unknown), ``incidents, months, other_incidents, other_months``: what
        `rate_ratio` takes; and ``unplaced_incidents, unplaced_months``.
    """
    tier = record["tier"].astype("Float64").fillna(0).astype(int)
    side = ours.astype("boolean").map({True: "", False: "other_"}).fillna("unplaced_")
    both = pd.DataFrame(index=pd.Index(sorted(set(tier)), name="tier"))
    counted = record[["incidents", "service_months"]].set_axis(
        ["incidents", "months"], axis=1
    )
    for prefix in ("", "other_", "unplaced_"):
        own = counted[side.eq(prefix)].groupby(tier).sum()
        both = both.join(own.add_prefix(prefix))
    both = both.fillna(0)
    counts = [name for name in both if name.endswith("incidents")]
    return both.astype(dict.fromkeys(counts, "int64")).reset_index()


def ratio_of(table: pd.DataFrame, *, level: float) -> Interval:
    """Give the rate ratio of a table as `compare` makes it."""
    return rate_ratio(*(table[name] for name in table.columns[1:5]), level=level)


def time_to_heal(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Give the time from the opening of an incident to its end, by platform.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads, incidents``.
    policy : Policy
        As `platforms` takes it.

    Returns
    -------
    DataFrame
        ``side``, ``median``, ``p95`` [minutes], ``n`` [incidents], ``open_n`` [those still open,
        censored at the snapshot].
    """
    rows = incident_minutes(inventory)
    here = rows["service_id"].map(platforms(inventory, policy))
    then = inventory["incidents"]["platform_at_time"].reindex(rows.index).astype("object")
    rows = rows.assign(side=side_of(then.fillna(here)))
    found = [
        (
            name,
            *heal_quantiles(own["minutes"].to_numpy(float), own["closed"].to_numpy(bool)),
            len(own),
            int((~own["closed"]).sum()),
        )
        for name, own in rows.groupby("side", sort=True)
    ]
    return pd.DataFrame(found, columns=["side", "median", "p95", "n", "open_n"])


def self_healing(inventory: Inventory, policy: Policy, *, seconds: float) -> pd.DataFrame:
    """Count the instances that were replaced in time, by group.

    Parameters
    ----------
    inventory : Inventory
        Frame ``activities``.
    policy : Policy
        As `replacements` takes it.
    seconds : float
        What counts as in time. [seconds]

    Returns
    -------
    DataFrame
        ``group``, ``yes`` (replaced in time), ``no``, ``unknown`` (ended less than that before the
        snapshot, and not replaced yet) [count], ``median_s``, ``longest_s`` [seconds, of those
        replaced].
    """
    pairs = replacements(inventory, policy)
    took = (pairs["healed_at"] - pairs["ended_at"]).dt.total_seconds()
    too_soon = (inventory.snapshot_at - pairs["ended_at"]).dt.total_seconds() < seconds
    rows = pd.DataFrame(
        {
            "group": pairs["place"],
            "yes": took <= seconds,
            "no": (took > seconds) | (took.isna() & ~too_soon),
            "unknown": took.isna() & too_soon,
        }
    )
    groups = rows.groupby("group", sort=True)[["yes", "no", "unknown"]].sum()
    spread = took.groupby(rows["group"]).agg(median_s="median", longest_s="max")
    return groups.join(spread).reset_index()


def self_heal_share(table: pd.DataFrame, *, level: float) -> Interval:
    """Share of the instances that were replaced in time; what is not over yet counts as neither."""
    yes, no = int(table["yes"].sum()), int(table["no"].sum())
    return jeffreys_interval(yes, yes + no, level=level)


def around_upgrades(
    inventory: Inventory, policy: Policy, history: History | None = None
) -> pd.DataFrame:
    """Count the incidents on hosts within some days before and after their engine was upgraded.

    Parameters
    ----------
    inventory : Inventory
        Frames ``activities, incidents, services, workloads, hosts, engines``.
    policy : Policy
        ``churn.failure_window_days`` on either side.
    history : History, optional
        Up to this snapshot; that of the snapshot alone where it is left out.

    Returns
    -------
    DataFrame
        One row: ``tier`` (0, so that `ratio_of` takes it), ``after`` [incidents], ``days_after``,
        ``before`` [incidents], ``days_before`` [host-days that were watched], and the ``ratio`` of
        the two rates with ``ratio_lo, ratio_hi`` (NaN where there is no upper end).
    """
    held = window(inventory, policy)
    past = history or History.of(inventory, policy)
    moments = pace.incident_moments(past)
    span = pd.Timedelta(days=policy["churn"]["failure_window_days"])
    sums = np.zeros(4)
    if held:
        for upgrade in pace.recorded_upgrades(past):
            own, at = moments.get(upgrade.host_id, []), upgrade.after
            sums += [
                *_within(own, at, at + span, held),
                *_within(own, at - span, at, held),
            ]
    after, days_after, before, days_before = sums
    row = (0, int(after), days_after, int(before), days_before)
    table = pd.DataFrame(
        [row], columns=["tier", "after", "days_after", "before", "days_before"]
    )
    ratio = ratio_of(table, level=float(policy["claims"]["level"]))
    ends = {"ratio": ratio.point, "ratio_lo": ratio.lo, "ratio_hi": ratio.hi}
    return table.assign(
        **{name: end if np.isfinite(end) else np.nan for name, end in ends.items()}
    )


def _within(
    moments: Sequence[pd.Timestamp],
    start: pd.Timestamp,
    end: pd.Timestamp,
    held: tuple[pd.Timestamp, pd.Timestamp],
) -> tuple[int, float]:
    """Count the moments of a span that was watched, and its days."""
    start, end = max(start, held[0]), min(end, held[1])
    days = max((end - start) / pd.Timedelta(days=1), 0.0)
    return sum(start < moment <= end for moment in moments), days
