"""How often upgrades come, and how often they fail: per host, from facts and from history."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.rates import Interval, jeffreys_interval, shrunk_rates

YEAR_DAYS = 365.0
ENDS = ("", "_lo", "_hi")
RUNNING = "running"
DOCKER = "engine"  # what the reference facts call the engine whose releases they list
POOL = ""  # all upgrades of the fleet, whatever their line


def places(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Say which service runs on which host.

    Parameters
    ----------
    inventory : Inventory
        Frame ``workloads``; replicas that are known not to run are left out.
    policy : Policy
        Its ``blast_radius.off_engine`` names the kinds of replica that no engine runs.

    Returns
    -------
    DataFrame
        One row per pair, sorted: ``service_id, host_id, on_engine``.
    """
    replicas = inventory["workloads"]
    lives = replicas["state"].isna() | replicas["state"].eq(RUNNING)
    held = replicas[lives & replicas["host_id"].notna()]
    off = held["source_kind"].isin(policy["blast_radius"]["off_engine"])
    pairs = held[["service_id", "host_id"]].assign(on_engine=~off)
    return pairs.groupby(["service_id", "host_id"], as_index=False)["on_engine"].any()


def host_engines(inventory: Inventory) -> pd.DataFrame:
    """Give the engine of each host, and what the facts call it.

    Parameters
    ----------
    inventory : Inventory
        Frame ``engines``.

    Returns
    -------
    DataFrame
        Index ``host_id``; the columns of the frame, ``product`` and release ``line``. Of several
        runtimes the first counts: an engine stands before what runs beneath it.
    """
    engines = inventory["engines"].sort_values(["host_id", "runtime"], kind="stable")
    engines = engines.drop_duplicates("host_id").set_index("host_id")
    runtime = engines["runtime"].astype("str")
    engines["product"] = runtime.where(runtime != "docker", DOCKER)
    pairs = zip(engines["product"], engines["version"], strict=True)
    lines = [product_line(product, version) for product, version in pairs]
    return engines.assign(line=pd.Series(lines, index=engines.index, dtype="str"))


def product_line(product: str, version: str | None) -> str | None:
    """Give the release line of a runtime.

    Parameters
    ----------
    product : str
        ``engine``, ``containerd``, ``podman`` …
    version : str or None
        Its version.

    Returns
    -------
    str or None
        None where there is no version.
    """
    if product == DOCKER:
        return reference.engine_line(version)
    return reference.runtime_support(product, version, pd.Timestamp(0, tz="UTC")).line


@cache
def forced_rate(product: str, line: str | None, since: str) -> Interval:
    """Say how often the end of a line forces an upgrade.

    Parameters
    ----------
    product : str
        ``engine``, a runtime or an operating system, as the reference facts name it; empty for any
        operating system.
    line : str or None
        Its line.
    since : str
        Where the end is unknown, the range over lines that came out on or after this day.

    Returns
    -------
    Interval
        ``365 / support window``; for an unknown end the median and the whole range. [per year]
    """
    known = reference.support_windows(product)["window_days"] if product else pd.Series(dtype=float)
    window = known.get(line) if line is not None else None
    if window is not None and pd.notna(window) and window > 0:
        return Interval(*[YEAR_DAYS / float(window)] * 3)
    products = [product] if known.notna().any() else _systems() if not product else [DOCKER]
    windows = pd.concat(
        [reference.support_windows(p, since=since)["window_days"] for p in products]
    )
    windows = windows.dropna() if windows.notna().any() else known.dropna()
    rates = YEAR_DAYS / windows.astype(float)
    return Interval(YEAR_DAYS / float(windows.median()), float(rates.min()), float(rates.max()))


@cache
def _systems() -> list[str]:
    return sorted(reference.table("distro_releases")["distro"].unique())


@cache
def releases_per_year(line: str | None, since: str) -> float:
    """Say how often a line of the engine is released: nobody can upgrade it more often.

    Parameters
    ----------
    line : str or None
        The line.
    since : str
        For a line whose pace is unknown, the fastest of those that came out on or after this day.

    Returns
    -------
    float
        Releases. [per year]
    """
    paces = reference.line_statistics()["releases_per_year"]
    own = paces.get(line) if line is not None else None
    if own is not None and pd.notna(own):
        return float(own)
    return float(paces.reindex(reference.support_windows(DOCKER, since=since).index).max())


def upgrades(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """List the engine upgrades that the fleet has been through.

    Parameters
    ----------
    inventory : Inventory
        Frames ``activities, workloads``; one without a host counts for the hosts of its service.
    policy : Policy
        Its ``blast_radius.off_engine``.

    Returns
    -------
    DataFrame
        ``activity_id, host_id, started_at, status, line`` (the one that was gone to, else from).
    """
    table = inventory["activities"]
    is_past = table["started_at"] <= inventory.snapshot_at
    table = table[table["kind"].eq("engine_upgrade").fillna(value=False).astype(bool) & is_past]
    hosts = places(inventory, policy)[["service_id", "host_id"]]
    named = table[table["host_id"].notna()]
    found = table[table["host_id"].isna()].drop(columns="host_id").merge(hosts, on="service_id")
    table = pd.concat([named, found], ignore_index=True)
    versions = table["to_version"].fillna(table["from_version"])
    lines = [reference.engine_line(version) for version in versions]
    table["line"] = pd.Series(lines, index=table.index, dtype="str")
    return table[["activity_id", "host_id", "started_at", "status", "line"]]


def own_rates(
    inventory: Inventory, policy: Policy, engines: pd.DataFrame, previous: Inventory | None
) -> pd.DataFrame:
    """Say how often the engine of each host was upgraded.

    Parameters
    ----------
    inventory : Inventory
        Frames ``activities, hosts, coverage``.
    policy : Policy
        ``[churn]``: the shortest history that counts.
    engines : DataFrame
        Engines by host, of `host_engines`.
    previous : Inventory, optional
        An earlier inventory: a version that changed since then is an upgrade.

    Returns
    -------
    DataFrame
        Index of ``engines``; ``own``: upgrades by time watched; ``own_lo``, ``own_hi`` shrunk to
        the fleet [per year]. NA where no source of history was looked at.
    """
    seen = upgrades(inventory, policy)
    counts = seen["host_id"].value_counts().reindex(engines.index, fill_value=0).astype("float64")
    start = pd.Series(_history_start(inventory), index=engines.index, dtype="datetime64[us, UTC]")
    if previous is not None:
        was = host_engines(previous)["version"].reindex(engines.index)
        is_recorded = seen["started_at"].between(previous.snapshot_at, inventory.snapshot_at)
        is_new = was.notna() & engines["version"].notna() & (was != engines["version"])
        is_new &= ~engines.index.isin(seen.loc[is_recorded, "host_id"])
        is_earlier = start.isna() | (start > previous.snapshot_at)
        start = start.mask(was.notna() & is_earlier, previous.snapshot_at)
        counts += is_new.astype("float64")
    launched = inventory["hosts"].set_index("host_id")["launched_at"].reindex(engines.index)
    first = seen.groupby("host_id")["started_at"].min().reindex(engines.index)
    is_later = (launched > start) & (launched <= inventory.snapshot_at) & ~(first < launched)
    days = (inventory.snapshot_at - start.mask(is_later, launched)).dt.total_seconds() / 86400
    years = days.clip(lower=policy["churn"]["history_days_min"]) / 365.25
    level = float(policy["simulation"]["level"])
    rates = shrunk_rates(counts.where(years.notna()), years.round(2), level=level)
    own = (counts / years).rename("own")
    lo = np.minimum(rates["rate_lo"], own).where(own.notna())
    hi = np.maximum(rates["rate_hi"], own).where(own.notna())
    return pd.DataFrame({"own": own, "own_lo": lo, "own_hi": hi})


def _history_start(inventory: Inventory) -> pd.Timestamp | None:
    """When the history of activities begins; NA where nobody looked."""
    table, coverage = inventory["activities"], inventory["coverage"]
    past = table["started_at"][table["started_at"] <= inventory.snapshot_at]
    asked = coverage["source"].isin(table["source"].dropna()) & coverage["window_start"].notna()
    return pd.concat([past, coverage.loc[asked, "window_start"]]).min()


def upgrade_failures(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Count which upgrades of the fleet were followed by an incident on the same host.

    Parameters
    ----------
    inventory : Inventory
        Frames ``activities, incidents, workloads``.
    policy : Policy
        ``[churn]``: the window, and the words of a failed status.

    Returns
    -------
    DataFrame
        Index ``line`` ("" for the whole fleet); ``upgrades_n``, ``failed_n``, and
        ``failed_hi_n``, which counts those followed only by an incident nobody placed. An upgrade
        whose window is not over counts once it has failed.
    """
    trials = upgrades(inventory, policy)
    window = pd.Timedelta(days=policy["churn"]["failure_window_days"])
    hurt, unplaced = _incident_hosts(inventory, policy)
    joined = trials.reset_index().merge(hurt, on="host_id")
    after = joined["opened_at"] - joined["started_at"]
    hits = joined.loc[(after >= pd.Timedelta(0)) & (after <= window), "index"]
    words = "|".join(policy["churn"]["failed_words"])
    failed = trials.index.isin(hits)
    failed |= trials["status"].str.contains(words, case=False, na=False).to_numpy(bool)
    moments = np.sort(unplaced.to_numpy())
    begun = trials["started_at"]
    first = np.searchsorted(moments, begun.to_numpy(), side="left")
    last = np.searchsorted(moments, (begun + window).to_numpy(), side="right")
    over = (begun + window <= inventory.snapshot_at).to_numpy()
    told = inventory.has("incidents") | failed
    trials = trials.assign(failed_n=failed, failed_hi_n=failed | (last > first))
    trials = trials[(over | failed) & told].assign(upgrades_n=1)
    pool = trials.assign(line=POOL)
    both = pd.concat([pool, trials.dropna(subset="line")])
    columns = ["upgrades_n", "failed_n", "failed_hi_n"]
    return both.groupby("line")[columns].sum().astype("int64")


def _incident_hosts(inventory: Inventory, policy: Policy) -> tuple[pd.DataFrame, pd.Series]:
    """Incidents by host, and the moments of those that nobody placed."""
    table = inventory["incidents"]
    is_bad = table["bad_time"].fillna(value=False).astype(bool)
    is_bad |= (table["resolved_at"] < table["opened_at"]).astype(bool)
    table = table[~is_bad & (table["opened_at"] <= inventory.snapshot_at)]
    named = table.loc[table["host_id"].notna(), ["incident_id", "host_id", "opened_at"]]
    rest = table[table["host_id"].isna()]
    text = rest["service_id"].fillna("") + ";" + rest["affected_services"].fillna("")
    rest = rest.assign(service_id=text.str.split(";")).explode("service_id")
    hosts = places(inventory, policy)[["service_id", "host_id"]]
    placed = rest.drop(columns="host_id").merge(hosts, on="service_id")
    placed = placed[["incident_id", "host_id", "opened_at"]]
    found = pd.concat([named, placed], ignore_index=True).drop_duplicates()
    return found, table.loc[~table["incident_id"].isin(found["incident_id"]), "opened_at"]


def failure_chance(counts: pd.DataFrame, line: str | None, settings: Mapping[str, Any]) -> Interval:
    """Say how likely an upgrade of a line fails.

    Parameters
    ----------
    counts : DataFrame
        Of `upgrade_failures`.
    line : str or None
        The line; where the fleet never upgraded to it, all its upgrades count.
    settings : mapping
        Table ``[simulation]`` of the policy: ``level``.

    Returns
    -------
    Interval
        Mean and interval of Beta(k + 1/2, n - k + 1/2); its upper end takes what nobody placed for
        failures. [probability, 0-1]
    """
    if line not in counts.index:
        line = POOL
    if line not in counts.index:
        return jeffreys_interval(0, 0)
    n, k, k_hi = (int(value) for value in counts.loc[line])
    level = float(settings["level"])
    found = jeffreys_interval(k, n, level=level)
    return found._replace(hi=jeffreys_interval(k_hi, n, level=level).hi)
