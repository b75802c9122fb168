"""Why a service fails, in words: the most probable path from the element that fails."""

from __future__ import annotations

import difflib
import itertools

import numpy as np
import pandas as pd

from assess.errors import AssessError
from assess.score.blast_radius.topology import KINDS, Topology
from assess.words import number

COLUMNS = ["service_id", "because", "kinds", "p"]
NAMED_MOST = 8  # names in a sentence; the rest is a number


def most_probable_path(
    topology: Topology, element: tuple[str, str], service: str
) -> pd.DataFrame:
    """Return the path from an element to a service: ``service_id, because, kinds, p`` by step.

    It is found over the edges' point, else over what is possible; empty where there is none.
    """
    for level in ("point", "hi"):
        steps = _steps(topology, element, service, level)
        if steps:
            return pd.DataFrame(steps, columns=COLUMNS)
    return pd.DataFrame(columns=COLUMNS)


def _steps(
    topology: Topology, element: tuple[str, str], service: str, level: str
) -> list[tuple[str, str, str, float]]:
    from scipy.sparse.csgraph import dijkstra

    kind, name = element
    start = np.flatnonzero(topology.initially_down([element], level)[0])
    if not len(start):
        return []
    p = topology.edges[level].to_numpy()
    with np.errstate(divide="ignore"):  # an impossible edge costs without end
        # the small cost of a step makes the shortest of equal paths win
        costs = topology.matrix(-np.log(p) + 1e-9)
    _, before, _ = dijkstra(costs, indices=start, return_predecessors=True, min_only=True)
    path = [int(topology.nodes.get_loc(service))]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    if path[-1] not in start:
        return []
    path.reverse()
    edges = zip(topology.callee.tolist(), topology.caller.tolist(), strict=True)
    by_pair = {pair: at for at, pair in enumerate(edges)}
    steps = []
    if kind not in ("service", "ext"):
        steps.append((str(topology.nodes[path[0]]), f"{kind} {name}", "replicas", 1.0))
    for callee, caller in itertools.pairwise(path):
        at = by_pair[callee, caller]
        edge = topology.edges.iloc[at]
        steps.append((edge["src"], edge["dst"], edge["kinds"], float(p[at])))
    return steps


def check_element(topology: Topology, kind: str, name: str) -> None:
    """Raise `AssessError` with the nearest names where the fleet has no such element."""
    if (kind, name) in topology.elements:
        return
    names = [f"{k}:{n}" for k, n in topology.elements]
    near = difflib.get_close_matches(f"{kind}:{name}", names, n=3)
    hint = f"a kind is one of {', '.join(KINDS)}"
    if near:
        hint = f"did you mean {', '.join(near)}?"
    raise AssessError(f"there is no element {kind}:{name} in this result", hint=hint)


def reach_text(steps: pd.DataFrame, pair: pd.DataFrame, service: str) -> str:
    """Describe how a failure reaches a service; ``pair`` is its row in ``affected``, or empty."""
    if pair.empty:
        return f"No path: {service} stays up, by all that is known."
    p, lo, hi = (float(pair[name].iloc[0]) for name in ("p_down", "p_lo", "p_hi"))
    chance = f"{service} goes down with probability {p:.2f} ({lo:.2f} to {hi:.2f})"
    if steps.empty:
        return f"{chance}: it is what fails."
    return f"{chance}, most probably so: {path_text(steps)}."


def path_text(steps: pd.DataFrame) -> str:
    """Return a path such as ``host h1 -> database -> shop``."""
    if steps.empty:
        return ""
    return " -> ".join([str(steps["because"].iloc[0]), *map(str, steps["service_id"])])


def percent(row: pd.Series, name: str, *, sign: str = "") -> str:
    """Return a share and its interval in percent, such as ``12 (10 to 20)``, or "unknown"."""
    values = [row[name], row[f"{name}_lo"], row[f"{name}_hi"]]
    point, lo, hi = (number(100 * v, signed=bool(sign)) for v in values)
    return f"{point} ({lo} to {hi})"


def sentences(
    service_id: str, row: pd.Series, takes_down: pd.DataFrame, taken_down_by: pd.DataFrame
) -> list[str]:
    """Describe what a service takes down, what takes it down, and what a move does.

    ``row`` is that of the result's ``services``; the frames are rows of ``affected``.
    """
    reach = takes_down.loc[takes_down["p_down"] > 0, "service_id"].astype("str")
    share = f"{percent(row, 'impact')} % of the fleet's criticality"
    text = [
        f"When {service_id} fails, {share} is lost; it can reach "
        f"{_names(list(reach)) or 'no other service that is known'}."
    ]
    if pd.isna(row["exposure_n"]):
        text.append(
            "Where it runs is unknown: any host, zone or engine may take it down."
        )
    single = [
        f"{e.element_kind.replace('_', ' ')} {e.element}"
        for e in taken_down_by[taken_down_by["p_down"] > 0].itertuples()
    ]
    if single:
        text.append(f"Each of these can take it down alone: {_names(single)}.")
    if not row["dependencies_observed"]:
        text.append(
            "Nobody observed what it depends on: none declared is unknown, not safe."
        )
    text.append(_recovery(row))
    if pd.notna(row["delta_lo"]):
        text.append(
            f"The move to the target changes what infrastructure can take down through it by "
            f"{percent(row, 'delta', sign='+')} % (negative is containment gained)."
        )
    return text


def _names(names: list[str]) -> str:
    rest = len(names) - NAMED_MOST
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(names[:NAMED_MOST]) + more


def _recovery(row: pd.Series) -> str:
    """Describe how long a service takes to recover and how often it fails."""
    heal = (
        f"It takes {row['minutes']:.0f} minutes to heal, "
        f"95th percentile {row['minutes_p95']:.0f} ({row['minutes_basis']})"
    )
    if pd.isna(row["rate_per_year"]):
        return f"{heal}; how often it breaks is unknown, as no incidents were looked at."
    often = f"{row['rate_per_year']:.1f} incidents a year"
    return f"{heal}; at {often} that is {row['expected_minutes_per_year']:.0f} minutes."
