"""How often a service breaks, and how long it takes to heal."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.incidents.rates import shrunk_rates

Floats = npt.NDArray[np.float64]
LOOKED = ("ok", "empty")
_NEVER_UP = ("failed", "cancelled")  # launches that replace nothing
YEAR = pd.Timedelta(days=365.25)


def heal_quantiles(minutes: Floats, closed: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Median and 95th percentile of the time to heal.

    Parameters
    ----------
    minutes : ndarray
        Time to heal, or time that it has been open so far. [minutes]
    closed : ndarray of bool
        Whether it healed.

    Returns
    -------
    tuple of float
        Median and 95th percentile; where the curve does not come down that far, the longest time
        seen, which is then too short. [minutes]

    Notes
    -----
    Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452: what is still open is censored, not
    dropped, or the median would come out a fifth to a third too short.
    """
    order = np.lexsort((~closed, minutes))
    at_risk = np.arange(len(minutes), 0, -1)
    alive = np.cumprod(1 - closed[order] / at_risk)
    times = minutes[order]
    places = [np.flatnonzero(alive <= 1 - share + 1e-12) for share in (0.5, 0.95)]
    median, p95 = (float(times[p[0]] if len(p) else times[-1]) for p in places)
    return median, p95


def sound_incidents(inventory: Inventory) -> pd.DataFrame:
    """Give the incidents that happened: once each, with sound times.

    Parameters
    ----------
    inventory : Inventory
        Frame ``incidents``.

    Returns
    -------
    DataFrame
        Rows of it that repeat no other, were not resolved before they opened and did not open after
        the snapshot.
    """
    table = inventory["incidents"]
    bad = table["bad_time"].fillna(value=False).astype(bool)
    bad |= table["resolved_at"] < table["opened_at"]
    bad |= table["opened_at"] > inventory.snapshot_at
    return table[table["duplicate_of"].isna() & ~bad]


def counted_incidents(inventory: Inventory) -> pd.DataFrame:
    """Give the sound incidents that a service is known to have had.

    Parameters
    ----------
    inventory : Inventory
        Frame ``incidents``.

    Returns
    -------
    DataFrame
        Rows of `sound_incidents` with a service.
    """
    return sound_incidents(inventory).dropna(subset=["service_id"])


def incident_minutes(inventory: Inventory) -> pd.DataFrame:
    """Say how long each incident took to heal; what is still open is so up to the snapshot.

    Parameters
    ----------
    inventory : Inventory
        Frame ``incidents``.

    Returns
    -------
    DataFrame
        Rows of `counted_incidents`, in place: ``service_id``, ``minutes`` [minutes] and ``closed``.
    """
    table = counted_incidents(inventory)
    told = table["ttr_s"].astype("float64") / 60
    spans = (table["resolved_at"] - table["opened_at"]).dt.total_seconds() / 60
    so_far = (inventory.snapshot_at - table["opened_at"]).dt.total_seconds() / 60
    healed = told.fillna(spans)
    rows = pd.DataFrame(
        {
            "service_id": table["service_id"],
            "minutes": healed.fillna(so_far).astype("float64"),
            "closed": healed.notna(),
        }
    )
    return rows[rows["minutes"] >= 0]


def replacements(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Pair each instance that ended for ill health with the launch that took its place.

    Parameters
    ----------
    inventory : Inventory
        Frame ``activities``.
    policy : Policy
        Its ``blast_radius.pair_within_minutes`` bounds how much later a launch may come.

    Returns
    -------
    DataFrame
        ``place`` (group, else service), ``ended_at`` of the old, ``healed_at`` of the new instance;
        NaT where none came.
    """
    table = inventory["activities"]
    table = table[table["kind"].isin(["terminate", "launch"])]
    is_lost = table["kind"].eq("launch") & table["status"].str.lower().isin(_NEVER_UP)
    table = table[~is_lost.fillna(value=False)]
    table = table[table["started_at"] <= inventory.snapshot_at]
    table = table.sort_values(["started_at", "activity_id"], kind="stable")
    ended = table["started_at"] + pd.to_timedelta(
        table["duration_s"].astype("float64"), unit="s"
    ).dt.as_unit("us")
    table = table.assign(
        ended=table["ended_at"].fillna(ended).fillna(table["started_at"])
    )
    longest = pd.Timedelta(minutes=policy["blast_radius"]["pair_within_minutes"])
    table = table.assign(place=table["group"].fillna(table["service_id"]))
    table = table[["place", "kind", "cause", "started_at", "ended"]]
    pairs = [
        (place, down, up)
        for place, rows in table.dropna(subset=["place"]).groupby("place", sort=True)
        for down, up in _pair(rows, longest)
    ]
    found = pd.DataFrame(pairs, columns=["place", "ended_at", "healed_at"])
    times = dict.fromkeys(("ended_at", "healed_at"), "datetime64[us, UTC]")
    return found.astype({"place": "str", **times})


def _activity_minutes(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Minutes from the end of an unhealthy instance to its replacement, by service."""
    found = replacements(inventory, policy).dropna(subset=["healed_at"])
    found["minutes"] = (found["healed_at"] - found["ended_at"]).dt.total_seconds() / 60
    rows = found.merge(_places(inventory), on="place")
    return rows[["service_id", "minutes"]].assign(closed=True)


def _pair(rows: pd.DataFrame, longest: pd.Timedelta) -> list[tuple[pd.Timestamp, Any]]:
    """Terminations for ill health, each with the first later launch that no other has taken."""
    waiting: deque[pd.Timestamp] = deque()
    pairs: list[tuple[pd.Timestamp, Any]] = []
    for row in rows.itertuples():
        if row.kind == "terminate" and row.cause == "health":
            waiting.append(row.started_at)
        elif row.kind == "launch" and (
            pd.isna(row.cause) or row.cause in ("health", "unknown")
        ):
            while waiting and row.started_at - waiting[0] > longest:
                pairs.append((waiting.popleft(), pd.NaT))
            if waiting:
                pairs.append((waiting.popleft(), row.ended))
    return pairs + [(down, pd.NaT) for down in waiting]


def _places(inventory: Inventory) -> pd.DataFrame:
    """Services by auto-scaling group or cluster, and by their own name."""
    replicas = inventory["workloads"].merge(
        inventory["hosts"][["host_id", "asg_name"]], how="left"
    )
    own = inventory["services"]["service_id"]
    parts = [
        replicas[["asg_name", "service_id"]].set_axis(["place", "service_id"], axis=1),
        replicas[["cluster", "service_id"]].set_axis(["place", "service_id"], axis=1),
        pd.DataFrame({"place": own, "service_id": own}),
    ]
    return pd.concat(parts).dropna().drop_duplicates()


def heal_times(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Estimate how long each service takes to heal.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, activities, incidents, workloads, hosts``.
    policy : Policy
        Its ``blast_radius.heal_minutes`` and ``heal_minutes_p95`` stand in.

    Returns
    -------
    DataFrame
        Index ``service_id``: ``minutes`` (median), ``minutes_p95``, ``minutes_basis``: activities
        (an unhealthy instance of its group and its replacement), else incidents, else policy.
    """
    sources = {
        "activities": _activity_minutes(inventory, policy),
        "incidents": incident_minutes(inventory),
    }
    settings = policy["blast_radius"]
    default = (
        float(settings["heal_minutes"]),
        float(settings["heal_minutes_p95"]),
        "policy",
    )
    found: dict[str, tuple[float, float, str]] = {}
    for basis, rows in reversed(sources.items()):
        for service, own in rows.groupby("service_id", sort=True):
            spans = heal_quantiles(
                own["minutes"].to_numpy("float64"), own["closed"].to_numpy(bool)
            )
            found[str(service)] = (*spans, basis)
    index = pd.Index(
        sorted(inventory["services"]["service_id"]), name="service_id", dtype="str"
    )
    rows = [found.get(str(service), default) for service in index]
    table = pd.DataFrame(
        rows, index=index, columns=["minutes", "minutes_p95", "minutes_basis"]
    )
    return table.astype(
        {"minutes": "Float64", "minutes_p95": "Float64", "minutes_basis": "str"}
    )


def coverage_of(inventory: Inventory, words: list[str]) -> pd.DataFrame:
    """Give the coverage rows of calls that looked for something, and could look.

    Parameters
    ----------
    inventory : Inventory
        Frame ``coverage``.
    words : list of str
        Parts of the names of such calls, or of their sources.

    Returns
    -------
    DataFrame
        Rows whose status is ok or empty.
    """
    table = inventory["coverage"]
    text = (table["source"] + " " + table["call"]).str.lower()
    named = pd.Series(False, index=table.index)
    for word in words:
        named |= text.str.contains(word, regex=False, na=False)
    return table[named & table["status"].isin(LOOKED)]


def watched(
    inventory: Inventory, policy: Policy
) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Give the window over which incidents were watched.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, coverage``.
    policy : Policy
        Its ``blast_radius.incident_calls`` names the calls that look for incidents.

    Returns
    -------
    tuple of Timestamp or None
        From the first to the last window that a source of incidents was asked for, else from the
        first incident to the snapshot; None where nobody looked.
    """
    asked = coverage_of(inventory, policy["blast_radius"]["incident_calls"])
    windows = asked.dropna(subset=["window_start", "window_end"])
    if len(windows):
        start, end = windows["window_start"].min(), windows["window_end"].max()
    else:
        start, end = sound_incidents(inventory)["opened_at"].min(), inventory.snapshot_at
    return (start, end) if pd.notna(start) and start < end else None


def incident_rates(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Estimate how often each service breaks.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, incidents, coverage``.
    policy : Policy
        Its ``simulation.level`` is the coverage of the intervals.

    Returns
    -------
    DataFrame
        Index ``service_id``: ``rate_per_year``, ``rate_per_year_lo``, ``rate_per_year_hi``, shrunk
        to the fleet; NA where no source of incidents was looked at.
    """
    index = pd.Index(
        sorted(inventory["services"]["service_id"]), name="service_id", dtype="str"
    )
    names = ["rate_per_year", "rate_per_year_lo", "rate_per_year_hi"]
    window = watched(inventory, policy)
    if window is None or not len(index):
        return pd.DataFrame(np.nan, index=index, columns=names).astype("Float64")
    incidents = counted_incidents(inventory)
    inside = incidents[incidents["opened_at"].between(*window)]
    events = (
        inside["service_id"].value_counts().reindex(index, fill_value=0).astype("float64")
    )
    years = pd.Series((window[1] - window[0]) / YEAR, index=index)
    rates = shrunk_rates(events, years, level=float(policy["simulation"]["level"]))
    return rates[["rate", "rate_lo", "rate_hi"]].set_axis(names, axis=1).astype("Float64")
