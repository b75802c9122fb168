"""How much to risk at once, and in which order: exposure budget, move-together groups, waves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaincinv

from assess.errors import AssessError

MOVABLE = ("MOVE NOW", "PILOT")


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
    graph = coo_array(
        (ones, (source[inside], target[inside])), shape=(len(ids), len(ids))
    )
    _, label = connected_components(graph.tocsr(), directed=True, connection="strong")
    groups = pd.Series(ids, index=ids, dtype="str")
    return groups.groupby(label).transform("min").reindex(services)


def waves(  # noqa: PLR0913
    frame: pd.DataFrame,
    dependencies: pd.DataFrame,
    *,
    budget: int,
    capacity_hours: float,
    hours_unknown: float,
    waves_max: int,
) -> pd.DataFrame:
    """Plan quarter by quarter what moves, within the exposure budget and the hours there are.

    Parameters
    ----------
    frame : DataFrame, index service_id
        Columns ``label, p_top, group, hours``; a group moves together or not at all.
    dependencies : DataFrame
        Columns ``src_id, dst_id``: what is called moves no later than its caller, where both move.
    budget : int
        Services at once. [count, 0 moves none]
    capacity_hours : float
        Work that a quarter has room for. [hours]
    hours_unknown : float
        Work of a service that nobody estimated. [hours]
    waves_max : int
        Quarters to plan ahead. [count]

    Returns
    -------
    DataFrame, index group
        ``wave`` (from 1, NA for what fits into none), ``services_n``, ``hours``, and ``why`` it
        stands there. Only groups with a service to move or to pilot.

    Notes
    -----
    Each wave is the best that fits once those before it are settled: a mixed-integer program that
    takes as much chance of the short list as the two limits and the dependencies allow, equals by
    name. The plan for the next quarter is never made worse for the sake of a later one.
    """
    movable = frame["label"].isin(MOVABLE)
    held = frame[frame["group"].isin(frame.loc[movable, "group"])]
    groups = held.assign(
        movable=movable, hours=held["hours"].astype("Float64").fillna(hours_unknown), n=1
    ).groupby("group")
    plan = groups.agg(
        services_n=("n", "sum"),
        hours=("hours", "sum"),
        all_move=("movable", "all"),
        p=("p_top", "max"),
    )
    plan["hours"], plan["p"] = (
        plan["hours"].astype(float),
        plan["p"].fillna(0).astype(float),
    )
    plan["why"] = [_obstacle(row, budget, capacity_hours) for row in plan.itertuples()]
    plan["wave"] = pd.array([pd.NA] * len(plan), dtype="Int64")
    order = (
        plan.assign(name=plan.index)
        .sort_values(["p", "name"], ascending=[False, True])
        .index
    )
    plan = plan.loc[order]
    left = plan.index[plan["why"] == ""]
    needs = _needs(frame["group"], dependencies, left)
    for wave in range(1, waves_max + 1):
        if not len(left):
            break
        taken = left[_best_wave(plan.loc[left], needs, budget, capacity_hours)]
        plan.loc[taken, ["wave", "why"]] = wave, f"fits into wave {wave}"
        left = left.difference(taken, sort=False)
    plan.loc[left, "why"] = f"fits into none of the next {waves_max} waves"
    return plan[["wave", "services_n", "hours", "why"]]


def _obstacle(row: Any, budget: int, capacity_hours: float) -> str:
    """Say why no wave at all can take a group; empty where one can."""
    if not row.all_move:
        return "moves together with a service that may not move"
    if row.services_n > budget:
        return (
            f"infeasible: {row.services_n} at once, the exposure budget allows {budget}"
        )
    if row.hours > capacity_hours:
        return f"infeasible: {row.hours:.0f} hours, a quarter has {capacity_hours:.0f}"
    return ""


def _needs(
    group: pd.Series, dependencies: pd.DataFrame, groups: pd.Index
) -> list[tuple[Any, Any]]:
    """Pairs of groups of which the first calls the second."""
    ends = [dependencies[column].map(group) for column in ("src_id", "dst_id")]
    pairs = pd.DataFrame({"src": ends[0], "dst": ends[1]}).dropna().drop_duplicates()
    both = (
        pairs["src"].isin(groups)
        & pairs["dst"].isin(groups)
        & (pairs["src"] != pairs["dst"])
    )
    return sorted(pairs[both].itertuples(index=False, name=None))


def _best_wave(
    plan: pd.DataFrame, needs: list[tuple[Any, Any]], budget: int, capacity_hours: float
) -> np.ndarray:
    """Choose the groups of one wave; `plan` holds those that are left, best first."""
    places = {name: place for place, name in enumerate(plan.index)}
    waits = [(places[a], places[b]) for a, b in needs if a in places and b in places]
    plain = _first_ones(plan, waits, budget, capacity_hours)
    if plain is not None:
        return plain
    from scipy.optimize import Bounds, LinearConstraint, milp

    n = len(plan)
    # a chance counts in steps of 1e-4; a millionth less for every place by which a group is later
    worth = np.round(plan["p"].to_numpy() * 1e4) + 1 - 1e-2 * np.arange(n) / n
    limits = np.vstack(
        [plan["services_n"].to_numpy(dtype=float), plan["hours"].to_numpy()]
    )
    constraints = [LinearConstraint(limits, ub=[budget, capacity_hours + 1e-6])]
    if waits:
        rows = np.arange(len(waits))
        first, second = np.array(waits).T
        order = coo_array(
            (
                np.repeat([1.0, -1.0], len(waits)),
                (np.tile(rows, 2), np.append(first, second)),
            ),
            shape=(len(waits), n),
        )
        constraints.append(LinearConstraint(order.tocsr(), ub=0))
    found = milp(
        -worth,
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0},
    )
    if found.x is None:  # nothing at all is always feasible: the solver itself has failed
        raise AssessError(f"the plan of waves found no answer: {found.message}")
    chosen: np.ndarray = found.x > 0.5
    return chosen


def _first_ones(
    plan: pd.DataFrame, waits: list[tuple[int, int]], budget: int, capacity_hours: float
) -> np.ndarray | None:
    """Take the best that the budget has room for, where nothing else stands in the way.

    Then no program has to be solved, and the solver, slow to load, stays out.
    """
    sizes, hours = plan["services_n"].to_numpy(), plan["hours"].to_numpy()
    taken: np.ndarray = sizes.cumsum() <= budget
    alike = taken.all() or (sizes == 1).all()
    in_order = all(taken[second] or not taken[first] for first, second in waits)
    return taken if alike and in_order and hours[taken].sum() <= capacity_hours else None
