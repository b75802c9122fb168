"""Waves: the plan of moves, quarter by quarter.

Three limits: an exposure budget from the fleet's own incidents, dependency cycles that move
together, and the hours of a quarter.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series
from scipy.sparse import coo_array
from scipy.special import gammaincinv

from assess.errors import AssessError
from assess.policy import Table
from assess.score.blast_radius.bitset import condense

MOVABLE = ("MOVE NOW", "PILOT", "LATER")


def exposure_budget(
    incidents_n: int, service_months: float, *, appetite: float, months: float
) -> int:
    """Return the largest number of services to move at once; 0 without experience.

    ``appetite`` is the number of incidents that the organisation would accept in ``months``.

    The largest K with ``K * upper95 * months <= appetite``. ``upper95`` is the 95% quantile
    of Gamma(incidents + 1/2, service_months), the posterior of the rate per container
    service-month under Jeffreys' prior.
    """
    if service_months <= 0:
        return 0
    # upper end of the rate: Jeffreys' prior, 95%
    upper = float(gammaincinv(incidents_n + 0.5, 0.95)) / service_months
    # a whole number that floating point puts just below itself counts
    return math.floor(appetite / (upper * months) + 1e-9)


def cycle_groups(services: Index, dependencies: DataFrame) -> Series:
    """Return the group of each service: services that depend on each other move together."""
    # A group is named by its smallest id; ``dependencies`` has ``src_id, dst_id``.
    ids = services.sort_values()
    source, target = (ids.get_indexer(dependencies[c]) for c in ("src_id", "dst_id"))
    known = (source >= 0) & (target >= 0)
    cycles = condense(len(ids), source[known], target[known])
    groups = Series(ids, index=ids, dtype="str")
    return groups.groupby(cycles.part).transform("min").reindex(services)


def waves(
    frame: DataFrame, dependencies: DataFrame, settings: Table, *, budget: int
) -> DataFrame:
    """Plan quarter by quarter what moves, within the exposure budget and the hours of a quarter.

    ``frame`` by service_id has ``label, p_top, group, hours``; a group moves together or not at all,
    and what is called (``dependencies``: ``src_id, dst_id``) moves no later than its caller, where
    both move. ``settings``: ``capacity_hours`` of a quarter, ``effort_hours_max`` (counts where the
    effort is unknown), ``waves_max``. Returns by group with a service to move or to pilot: ``wave``
    (from 1, NA for what fits into none), ``services_n``, ``hours`` and ``why``.

    Each wave is the best that fits once those before it are settled: a mixed-integer program
    that takes the highest sum of chances that the limits and the dependencies allow, equals
    by name. The next quarter is never made worse for the sake of a later one.
    """
    capacity_hours = settings["capacity_hours"]
    waves_max = int(settings["waves_max"])
    plan = _groups(frame, settings["effort_hours_max"])
    plan["why"] = [_obstacle(row, budget, capacity_hours) for row in plan.itertuples()]
    plan["wave"] = pd.array([pd.NA] * len(plan), dtype="Int64")
    left = plan.index[plan["why"] == ""]
    needs = _needs(frame["group"], dependencies, left)
    for wave in range(1, waves_max + 1):
        if not len(left):
            break
        taken = left[_best_wave(plan.loc[left], needs, budget, capacity_hours)]
        plan.loc[taken, "wave"] = wave
        plan.loc[taken, "why"] = f"fits into wave {wave}"
        left = left.difference(taken, sort=False)
    plan.loc[left, "why"] = f"does not fit into the next {waves_max} waves"
    return plan[["wave", "services_n", "hours", "why"]]


def _groups(frame: DataFrame, hours_unknown: float) -> DataFrame:
    movable = frame["label"].isin(MOVABLE)
    members = frame[frame["group"].isin(frame.loc[movable, "group"])]
    # unknown effort counts as the largest, not as none
    hours = members["hours"].astype("Float64").fillna(hours_unknown)
    groups = members.assign(movable=movable, hours=hours).groupby("group")
    plan = groups.agg(
        services_n=("movable", "size"),
        hours=("hours", "sum"),
        all_move=("movable", "all"),
        p=("p_top", "max"),
    )
    plan = plan.fillna({"p": 0}).astype({"hours": float, "p": float})
    # groupby has sorted by name, and a stable sort keeps that among equals
    return plan.sort_values("p", ascending=False, kind="stable")


def _obstacle(row: Any, budget: int, capacity_hours: float) -> str:
    """Return why no wave can take a group; empty if one can."""
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
    group: Series, dependencies: DataFrame, groups: Index
) -> list[tuple[Any, Any]]:
    """List pairs of groups: the first calls the second."""
    ends = {end: dependencies[f"{end}_id"].map(group) for end in ("src", "dst")}
    pairs = DataFrame(ends).dropna().drop_duplicates()
    both_move = pairs["src"].isin(groups) & pairs["dst"].isin(groups)
    differ = pairs["src"] != pairs["dst"]
    return sorted(pairs[both_move & differ].itertuples(index=False, name=None))


def _best_wave(
    plan: DataFrame, needs: list[tuple[Any, Any]], budget: int, capacity_hours: float
) -> np.ndarray:
    """Choose the groups of one wave; `plan` holds the remaining groups, best first."""
    places = {name: place for place, name in enumerate(plan.index)}
    both_wait = [pair for pair in needs if places.keys() >= {*pair}]
    waits = [(places[src], places[dst]) for src, dst in both_wait]
    first = _first_ones(plan, waits, budget, capacity_hours)
    if first is not None:
        return first
    from scipy.optimize import Bounds, LinearConstraint, milp

    n = len(plan)
    # a chance counts in steps of 1e-4; among equals, less for each later place, so that the
    # solver has one best answer on every machine
    steps = np.round(plan["p"].to_numpy() * 1e4)
    worth = steps + 1 - 1e-2 * np.arange(n) / n
    limits = plan[["services_n", "hours"]].to_numpy(float).T
    constraints = [LinearConstraint(limits, ub=[budget, capacity_hours + 1e-6])]
    if waits:
        # caller - called <= 0: a caller is taken only with what it calls
        rows = np.tile(np.arange(len(waits)), 2)
        columns = np.array(waits).T.ravel()
        signs = np.repeat([1.0, -1.0], len(waits))
        order = coo_array((signs, (rows, columns)), shape=(len(waits), n))
        constraints.append(LinearConstraint(order.tocsr(), ub=0))
    solution = milp(
        -worth,
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0},
    )
    if solution.x is None:
        # the empty wave is always feasible: the solver itself has failed
        raise AssessError(f"the solver found no plan of waves: {solution.message}")
    return solution.x > 0.5


def _first_ones(
    plan: DataFrame, waits: list[tuple[int, int]], budget: int, capacity_hours: float
) -> np.ndarray | None:
    """Return the best groups within the budget if no other limit binds; else None."""
    # No program has to be solved then, and scipy's solver, slow to load, is not loaded.
    sizes = plan["services_n"].to_numpy()
    hours = plan["hours"].to_numpy()
    taken: np.ndarray = sizes.cumsum() <= budget
    alike = taken.all() or (sizes == 1).all()
    in_order = all(taken[second] or not taken[first] for first, second in waits)
    fits = hours[taken].sum() <= capacity_hours
    return taken if alike and in_order and fits else None
