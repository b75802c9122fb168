"""Why a service falls, in words: the most probable chain from the element that fails."""

from __future__ import annotations

import difflib
import itertools

import numpy as np
import pandas as pd

from assess.errors import AssessError
from assess.score.blast_radius.topology import KINDS, Fleet
from assess.words import number

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
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    kind, name = element
    down = fleet.down[level]
    hit = down[(down["element_kind"] == kind) & (down["element"] == name)]
    first = [name] if kind in ("service", "ext") else list(hit["service_id"])
    start = fleet.nodes.get_indexer(pd.Index(sorted(first)))
    goal = int(fleet.nodes.get_loc(service))
    if not len(start) or (start < 0).any():
        return []
    links = fleet.edges[fleet.edges[level] > 0]
    ends = tuple(fleet.nodes.get_indexer(pd.Index(links[e])) for e in ("dst", "src"))
    n = len(fleet.nodes)
    # the small cost of a step makes the shortest of equal chains win
    costs = csr_array((-np.log(links[level].to_numpy()) + 1e-9, ends), shape=(n, n))
    _, came, _ = dijkstra(costs, indices=start, return_predecessors=True, min_only=True)
    nodes = [goal]
    while came[nodes[-1]] >= 0:
        nodes.append(int(came[nodes[-1]]))
    if nodes[-1] not in start:
        return []
    names = fleet.nodes[nodes[::-1]]
    by_pair = links.set_index(["dst", "src"])
    steps = [(str(names[0]), f"{kind} {name}", "replicas", 1.0)]
    for needed, caller in itertools.pairwise(names):
        row = by_pair.loc[(needed, caller)]
        steps.append((caller, needed, row["kinds"], float(row[level])))
    return steps[kind in ("service", "ext") :]


def known_element(fleet: Fleet, kind: str, name: str) -> tuple[str, str]:
    """Give kind and name of an element that the fleet has.

    Parameters
    ----------
    fleet : Fleet
        The fleet.
    kind, name : str
        What is asked for.

    Returns
    -------
    tuple of str
        The same.

    Raises
    ------
    AssessError
        Where there is none; the hint names the nearest.
    """
    if (kind, name) not in fleet.elements:
        said = [f"{k}:{n}" for k, n in fleet.elements]
        near = difflib.get_close_matches(f"{kind}:{name}", said, n=3)
        hint = (
            f"did you mean {', '.join(near)}?"
            if near
            else f"a kind is one of {', '.join(KINDS)}"
        )
        raise AssessError(f"there is no element {kind}:{name} in this result", hint=hint)
    return kind, name


def reached(steps: pd.DataFrame, hit: pd.DataFrame, service: str) -> str:
    """Say in a sentence how a failure reaches a service.

    Parameters
    ----------
    steps : DataFrame
        What `chain` gives.
    hit : DataFrame
        The pair's row in ``affected``; empty where nothing is reached.
    service : str
        The service.

    Returns
    -------
    str
        With the chance and its ends; without a path it says so.
    """
    if hit.empty:
        return f"No path: {service} stays up, by all that is known."
    p, lo, hi = (float(hit[name].iloc[0]) for name in ("p_down", "p_lo", "p_hi"))
    said = f"{service} goes down with probability {p:.2f} ({lo:.2f} to {hi:.2f})"
    if steps.empty:
        return f"{said}: it is what fails."
    return f"{said}, most probably so: {because(steps)}."


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


def percent(row: pd.Series, name: str, *, sign: str = "") -> str:
    """Say a share and its interval in percent.

    Parameters
    ----------
    row : Series
        With ``name``, ``name_lo``, ``name_hi``. [share]
    name : str
        Name of the share.
    sign : str, default ""
        Format of the sign, such as ``+``.

    Returns
    -------
    str
        Such as ``12 (10 to 20)``; "unknown" where it is.
    """
    values = [row[name], row[f"{name}_lo"], row[f"{name}_hi"]]
    point, lo, hi = (number(100 * v, signed=bool(sign)) for v in values)
    return f"{point} ({lo} to {hi})"


def sentences(
    service_id: str, row: pd.Series, falls: pd.DataFrame, fells: pd.DataFrame
) -> list[str]:
    """Say in words what a service takes down, what takes it down, and what a move does.

    Parameters
    ----------
    service_id : str
        The service.
    row : Series
        Its row in the result's ``services``.
    falls, fells : DataFrame
        Rows of ``affected``: what falls with it, and what it falls with, most probable first.

    Returns
    -------
    list of str
        Plain sentences.
    """
    reach = falls.loc[falls["p_down"] > 0, "service_id"].astype("str")
    named = ", ".join(reach[:8]) + (
        f" and {len(reach) - 8} more" if len(reach) > 8 else ""
    )
    share = f"{percent(row, 'impact')} % of the fleet's criticality"
    text = [
        f"When {service_id} fails, {share} is lost; it can reach "
        f"{named or 'no other service that is known'}."
    ]
    sure = fells[fells["p_down"] > 0]
    single = [
        f"{e.element_kind.replace('_', ' ')} {e.element}" for e in sure[:8].itertuples()
    ]
    rest = f" and {len(sure) - 8} more" if len(sure) > 8 else ""
    if pd.isna(row["exposure_n"]):
        text.append(
            "Where it runs is unknown: any host, zone or engine may take it down."
        )
    if single:
        text.append(f"Each of these can take it down alone: {', '.join(single)}{rest}.")
    if not row["dependencies_observed"]:
        text.append(
            "Nobody observed what it depends on: none declared is unknown, not safe."
        )
    heal = f"It takes {row['minutes']:.0f} minutes to heal, {row['minutes_p95']:.0f} at the worst"
    heal += f" of twenty times ({row['minutes_basis']})"
    if pd.isna(row["rate_per_year"]):
        text.append(
            f"{heal}; how often it breaks is unknown, as no incidents were looked at."
        )
    else:
        often = f"{row['rate_per_year']:.1f} incidents a year"
        text.append(
            f"{heal}; at {often} that is {row['expected_minutes_per_year']:.0f} minutes."
        )
    if pd.notna(row["delta_lo"]):
        text.append(
            f"The move to the target changes what infrastructure can take down through it by "
            f"{percent(row, 'delta', sign='+')} % (negative is containment gained)."
        )
    return text
