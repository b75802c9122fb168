"""Why a service falls: the most probable chain from the element that fails."""

from __future__ import annotations

import heapq
import math

import pandas as pd

from assess.score.graph import Fleet

COLUMNS = ["service_id", "because", "kinds", "p"]


def chain(fleet: Fleet, element: tuple[str, str], service: str) -> pd.DataFrame:
    """Find the most probable chain from an element to a service.

    Parameters
    ----------
    fleet : Fleet
        The fleet.
    element : tuple of str
        Kind and name of what fails.
    service : str
        The service.

    Returns
    -------
    DataFrame
        ``service_id, because, kinds, p``, first step first, over what is known (the point), else
        over what is possible (the upper end); empty where there is no chain.
    """
    for level in ("point", "hi"):
        steps = _steps(fleet, element, service, level)
        if steps:
            return pd.DataFrame(steps, columns=COLUMNS)
    return pd.DataFrame(columns=COLUMNS)


def _steps(
    fleet: Fleet, element: tuple[str, str], service: str, level: str
) -> list[tuple[str, str, str, float]]:
    kind, name = element
    down = fleet.down[level]
    hit = down[(down["element_kind"] == kind) & (down["element"] == name)]
    first = [name] if kind in ("service", "ext") else list(hit["service_id"])
    links = fleet.edges[fleet.edges[level] > 0]
    callers = dict(iter(links.groupby("dst")))
    cost = dict.fromkeys(first, 0.0)
    came: dict[str, tuple[str, str, str, float]] = {}
    queue = [(0.0, node) for node in sorted(first)]
    while queue:
        spent, node = heapq.heappop(queue)
        if node == service or spent > cost[node]:
            if node == service:
                break
            continue
        for row in callers.get(node, links.iloc[:0]).itertuples():
            total = spent - math.log(getattr(row, level)) + 1e-9  # of equal chains the shortest
            if total < cost.get(row.src, math.inf):
                cost[row.src] = total
                came[row.src] = (row.src, node, row.kinds, float(getattr(row, level)))
                heapq.heappush(queue, (total, row.src))
    if service not in cost:
        return []
    steps = []
    node = service
    while node in came:
        steps.append(came[node])
        node = came[node][1]
    if kind not in ("service", "ext"):
        steps.append((node, f"{kind} {name}", "replicas", 1.0))
    return steps[::-1]


def because(steps: pd.DataFrame) -> str:
    """Say a chain in words.

    Parameters
    ----------
    steps : DataFrame
        What `chain` gives.

    Returns
    -------
    str
        Such as ``host h1 -> database -> shop``.
    """
    if steps.empty:
        return ""
    return " -> ".join([str(steps["because"].iloc[0]), *map(str, steps["service_id"])])
