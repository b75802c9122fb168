"""How much to risk at once, and in which order: exposure budget, move-together groups, waves."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaincinv

CONTAINER_PLATFORMS = ("docker", "swarm", "ecs", "kubernetes", "nomad", "marathon", "mixed")


def exposure_budget(
    incidents_n: int, service_months: float, *, appetite: float, months: float
) -> int:
    """Largest number of services to move at once.

    Parameters
    ----------
    incidents_n : int
        Incidents of container services. [count]
    service_months : float
        Container service-months in which they were counted. [months]
    appetite : float
        Incidents that the organisation would accept in the period. [count]
    months : float
        Length of the period. [months]

    Returns
    -------
    int
        Largest K with ``K * upper95 * months <= appetite``; 0 without experience.

    Notes
    -----
    ``upper95`` is the 95 % quantile of Gamma(incidents + 1/2, service_months), the posterior of
    the rate per container service-month under Jeffreys' prior.
    """
    if service_months <= 0:
        return 0
    upper = float(gammaincinv(incidents_n + 0.5, 0.95)) / service_months
    return math.floor(appetite / (upper * months) + 1e-9)


def container_experience(
    services: pd.DataFrame, incidents: pd.DataFrame, *, window_months: float
) -> tuple[int, float]:
    """Count incidents and service-months of the services that run in containers.

    Parameters
    ----------
    services : DataFrame
        Columns ``service_id, platform``.
    incidents : DataFrame
        Columns ``service_id, platform_at_time, bad_time, duplicate_of``.
    window_months : float
        Time over which incidents were observed. [months]

    Returns
    -------
    incidents_n : int
        Incidents of container services; what was on a host at that time is left out. [count]
    service_months : float
        Service-months. [months]
    """
    inside = services.loc[services["platform"].isin(CONTAINER_PLATFORMS), "service_id"]
    counted = incidents[
        incidents["duplicate_of"].isna() & ~incidents["bad_time"].fillna(value=False)
    ]
    platform = counted["platform_at_time"].astype("str")
    was_container = platform.isin(CONTAINER_PLATFORMS)
    mine = counted["service_id"].isin(inside) & (was_container | platform.isna())
    return int((mine | was_container).sum()), len(inside) * window_months


def cycle_groups(services: pd.Index, dependencies: pd.DataFrame) -> pd.Series:
    """Put services that need each other into one group: they move together.

    Parameters
    ----------
    services : Index
        Service ids.
    dependencies : DataFrame
        Columns ``src_id, dst_id``.

    Returns
    -------
    Series, index service_id
        Smallest id of the group; a service on its own is its own group.
    """
    ids = services.sort_values()
    source, target = (ids.get_indexer(dependencies[c]) for c in ("src_id", "dst_id"))
    inside = (source >= 0) & (target >= 0)
    ones = np.ones(int(inside.sum()), dtype=np.int8)
    graph = coo_array((ones, (source[inside], target[inside])), shape=(len(ids), len(ids)))
    _, label = connected_components(graph.tocsr(), directed=True, connection="strong")
    groups = pd.Series(ids, index=ids, dtype="str")
    return groups.groupby(label).transform("min").reindex(services)


def waves(frame: pd.DataFrame, *, budget: int) -> pd.Series:
    """Fill one wave after the other, best first, within the exposure budget.

    Parameters
    ----------
    frame : DataFrame, index service_id
        Columns ``label, p_top, group``; a group with a member that may not move waits.
    budget : int
        Services at once; a group larger than that has a wave of its own. [count, 0 moves none]

    Returns
    -------
    Series, index service_id
        Number of the wave, from 1; NA for what does not move.
    """
    movable = frame["label"].isin(["MOVE NOW", "PILOT"])
    movable &= budget > 0
    whole = movable.groupby(frame["group"]).transform("all")
    ready = frame[movable & whole]
    ranked = ready.groupby("group")["p_top"].max().reset_index()
    ranked = ranked.sort_values(["p_top", "group"], ascending=[False, True], kind="stable")
    sizes = ready.groupby("group").size()
    number, room, assigned = 0, 0, {}
    for group in ranked["group"]:
        if sizes[group] > room:
            number, room = number + 1, budget
        room -= sizes[group]
        assigned[group] = number
    return frame["group"].map(assigned).where(movable & whole).astype("Int64")
