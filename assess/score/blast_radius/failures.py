"""What incidents and experiments took down, against what the blast radius said they would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.score.blast_radius.bitset import Booleans, Floats
from assess.score.blast_radius.topology import Fleet
from assess.score.incidents.exposure import (
    CONTAINER,
    HOST,
    Exposure,
    counted_incidents,
)
from assess.score.incidents.rates import jeffreys_interval

HOST_CAUSES = ("host", "kernel", "storage", "disk-full", "engine")
COLUMNS = [
    "event",
    "event_id",
    "element_kind",
    "element",
    "observed",
    "predicted",
    "predicted_lo",
    "predicted_hi",
    "services_n",
]
METHODS = ("self", "direct callers", "all transitive callers")
RESAMPLES = 1000  # of the events, for intervals


def events(inventory: Inventory) -> pd.DataFrame:
    """List failures of which it is known what they took down.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, experiments``.

    Returns
    -------
    DataFrame
        Columns ``event, event_id, element_kind, element, affected_services, observed_services``. An
        incident by a cause of its host is a failure of that host where the host is named, else one
        of its service, which is affected itself.
    """
    incidents = counted_incidents(inventory).dropna(subset=["affected_services"])
    on_host = incidents["cause"].isin(HOST_CAUSES) & incidents["host_id"].notna()
    listed = incidents["affected_services"] + ";" + incidents["service_id"]
    first = pd.DataFrame(
        {
            "event": "incident",
            "event_id": incidents["incident_id"],
            "element_kind": on_host.map({True: "host", False: "service"}).astype("str"),
            "element": incidents["host_id"].where(on_host, incidents["service_id"]),
            "affected_services": listed,
            "observed_services": pd.NA,
        }
    )
    experiments = inventory["experiments"].dropna(subset=["affected_services"])
    second = experiments.rename(columns={"experiment_id": "event_id"}).assign(
        event="experiment"
    )
    table = pd.concat([first, second[first.columns]], ignore_index=True).astype("object")
    return table.sort_values(["event", "event_id"], ignore_index=True)


@dataclass(frozen=True, eq=False)
class Trial:
    """One failure of an element of the fleet.

    Attributes
    ----------
    event, event_id : str
        Incident or experiment, and which.
    element : tuple of str
        Kind and name of what failed.
    seen, hit : ndarray of bool
        By service, whether it had data, and whether it went down.
    """

    event: str
    event_id: str
    element: tuple[str, str]
    seen: Booleans
    hit: Booleans


def trials(
    inventory: Inventory, services: pd.Index, elements: pd.MultiIndex
) -> list[Trial]:
    """Give the failures of elements of the fleet.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, experiments``.
    services : Index
        Ids, in the order of the arrays.
    elements : MultiIndex
        ``element_kind, element`` of the fleet; failures of others are left out.

    Returns
    -------
    list of Trial
        By event and id. What failed itself was seen, whoever else had data.
    """
    found = []
    for row in events(inventory).itertuples():
        element = (str(row.element_kind), str(row.element))
        if element not in elements:
            continue
        own = [element[1]] if element[0] == "service" else []
        hit = services.isin([*_ids(row.affected_services), *own])
        seen = np.ones(len(services), dtype=bool)
        if not pd.isna(row.observed_services):
            seen = services.isin([*_ids(row.observed_services), *own])
        found.append(Trial(str(row.event), str(row.event_id), element, seen, hit & seen))
    return found


def calibrate(
    trials: list[Trial], affected: pd.DataFrame, weight: pd.Series
) -> pd.DataFrame:
    """Compare what failures took down with what was predicted for the element that failed.

    Parameters
    ----------
    trials : list of Trial
        What `trials` gives.
    affected : DataFrame
        ``element_kind, element, service_id, p_down, p_lo, p_hi``.
    weight : Series
        Index ``service_id``: criticality.

    Returns
    -------
    DataFrame
        One row per event: ``event, event_id, element_kind, element``, ``observed``, ``predicted``,
        ``predicted_lo``, ``predicted_hi`` [share of the criticality of the services that had data],
        ``services_n`` [count of those].
    """
    said = predictions(affected, weight.index, {t.element for t in trials})
    values, found = weight.to_numpy(), []
    for t in trials:
        total = values[t.seen].sum()
        if not total:
            continue
        shares = (values[t.seen] * said[t.element][:, t.seen]).sum(axis=1) / total
        found.append(
            (
                t.event,
                t.event_id,
                *t.element,
                values[t.hit].sum() / total,
                *shares,
                int(t.seen.sum()),
            )
        )
    return pd.DataFrame(found, columns=COLUMNS)


def predictions(
    affected: pd.DataFrame, services: pd.Index, elements: set[tuple[str, str]]
) -> dict[tuple[str, str], Floats]:
    """Give the chances of every service to be down, by the element that fails.

    Parameters
    ----------
    affected : DataFrame
        ``element_kind, element, service_id, p_down, p_lo, p_hi``.
    services : Index
        Ids, in the order of the columns.
    elements : set of tuple of str
        Kinds and names of the elements that are asked for.

    Returns
    -------
    dict of tuple of str to ndarray
        Three rows each: point, lo, hi. [probability, 0-1]
    """
    found = {element: np.zeros((3, len(services))) for element in elements}
    rows = affected[affected["element"].isin([name for _, name in elements])]
    codes = services.get_indexer(pd.Index(rows["service_id"]))
    chances = rows[["p_down", "p_lo", "p_hi"]].to_numpy("float64")
    keys = [rows["element_kind"].astype("str"), rows["element"].astype("str")]
    for (kind, element), places in rows.groupby(keys).indices.items():
        if (str(kind), str(element)) in found:
            found[str(kind), str(element)][:, codes[places]] = chances[places].T
    return found


def baselines(fleet: Fleet, elements: Sequence[tuple[str, str]]) -> dict[str, Booleans]:
    """Say who falls by simpler rules.

    Parameters
    ----------
    fleet : Fleet
        The graph.
    elements : sequence of tuple of str
        Kind and name of what fails.

    Returns
    -------
    dict of str to ndarray of bool, shape (elements, services)
        By rule: self, direct callers, all transitive callers.
    """
    from scipy.sparse import coo_array

    ends = [
        fleet.nodes.get_indexer(pd.Index(fleet.edges[name])) for name in ("dst", "src")
    ]
    size = len(fleet.nodes), len(fleet.nodes)
    calls = coo_array((np.ones(len(fleet.edges)), tuple(ends)), shape=size).tocsr()
    own = fleet.struck(elements, "point")
    direct = own | (own @ calls > 0)
    fallen, more = direct, direct @ calls > 0
    while (more & ~fallen).any():
        fallen = fallen | more
        more = fallen @ calls > 0
    found = zip(METHODS, (own, direct, fallen), strict=True)
    return {method: flags[:, : len(fleet.services)] for method, flags in found}


def precision(
    fleet: Fleet,
    trials: list[Trial],
    scores: dict[str, list[Floats]],
    *,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Compare who was said to fall with who fell, by rule.

    Parameters
    ----------
    fleet : Fleet
        The graph.
    trials : list of Trial
        What happened.
    scores : dict of str to list of ndarray
        By name, the chances of every service to be down in each trial. [probability, 0-1]
    seed : int
        Seed of the resampling.
    level : float
        Coverage of the intervals. [share, 0-1]

    Returns
    -------
    DataFrame
        One row per rule, then two per score: at one half, and at the highest threshold that finds
        as many as all transitive callers do. ``rule, threshold, precision, precision_lo,
        precision_hi, recall, said_n, fell_n``, over services that had data; what failed counts.
    """
    fell = [t.hit[t.seen] for t in trials]
    said = baselines(fleet, [t.element for t in trials])
    rows = {
        method: (np.nan, [f[t.seen] for f, t in zip(flags, trials, strict=True)])
        for method, flags in said.items()
    }
    goal = sum(
        int((s & f).sum()) for s, f in zip(rows[METHODS[-1]][1], fell, strict=True)
    )
    hit = np.concatenate([np.empty(0, bool), *fell])
    for name, chances in scores.items():
        own = [c[t.seen] for c, t in zip(chances, trials, strict=True)]
        rows[name] = (0.5, [c >= 0.5 for c in own])
        found = np.sort(np.concatenate([np.empty(0), *own])[hit])[::-1]
        reached = float(found[goal - 1]) if goal else 0.0
        if reached > 0:
            same = f"{name}, at the recall of {METHODS[-1]}"
            rows[same] = (reached, [c >= reached for c in own])
    rng, tail = np.random.default_rng(seed), (1 - level) / 2
    draws = rng.integers(0, max(len(trials), 1), (RESAMPLES, len(trials)))
    table = []
    for rule, (threshold, flags) in rows.items():
        counts = np.array(
            [
                (int((s & f).sum()), int(s.sum()), int(f.sum()))
                for s, f in zip(flags, fell, strict=True)
            ]
        ).reshape(-1, 3)
        right, told, there = counts.sum(axis=0)
        drawn = counts[draws].sum(axis=1)
        shares = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
        ends = np.quantile(shares, [tail, 1 - tail]) if len(trials) else [np.nan, np.nan]
        table.append(
            (
                rule,
                threshold,
                right / told if told else np.nan,
                *ends,
                right / there if there else np.nan,
                told,
                there,
            )
        )
    names = [
        "rule",
        "threshold",
        "precision",
        "precision_lo",
        "precision_hi",
        "recall",
        "said_n",
        "fell_n",
    ]
    return pd.DataFrame(table, columns=names)


def curve(trials: list[Trial], scores: dict[str, list[Floats]]) -> pd.DataFrame:
    """Give precision and recall at every threshold.

    Parameters
    ----------
    trials : list of Trial
        What happened.
    scores : dict of str to list of ndarray
        By name, the chances of every service to be down in each trial. [probability, 0-1]

    Returns
    -------
    DataFrame
        ``rule, threshold, precision, recall``; highest threshold first.
    """
    fell = np.concatenate([np.empty(0, bool), *(t.hit[t.seen] for t in trials)])
    parts = []
    for name, chances in scores.items():
        own = [c[t.seen] for c, t in zip(chances, trials, strict=True)]
        p = np.concatenate([np.empty(0), *own])
        order = np.argsort(-p, kind="stable")
        right, told = np.cumsum(fell[order]), np.arange(1, len(p) + 1)
        last = np.flatnonzero((np.diff(p[order], append=-1) != 0) & (p[order] > 0))
        parts.append(
            pd.DataFrame(
                {
                    "rule": name,
                    "threshold": p[order][last],
                    "precision": right[last] / told[last],
                    "recall": right[last] / max(fell.sum(), 1),
                }
            )
        )
    columns = ["rule", "threshold", "precision", "recall"]
    return pd.concat([pd.DataFrame(columns=columns), *[p for p in parts if len(p)]])[
        columns
    ]


def measures(
    exposure: Exposure, calibration: pd.DataFrame, *, seed: int, level: float
) -> pd.DataFrame:
    """Sum up how well predictions held.

    Parameters
    ----------
    exposure : Exposure
        The sound incidents, each with the side that it happened on.
    calibration : DataFrame
        What `calibrate` gives.
    seed : int
        Seed of the resampling.
    level : float
        Coverage of the intervals. [share, 0-1]

    Returns
    -------
    DataFrame
        ``measure, value, lo, hi, n``: the ratio of what was observed to what was predicted, with a
        bootstrap interval over the events, and the chance that an incident touches at most one
        service, for services in containers and on plain hosts [share, 0-1].
    """
    both = calibration[["observed", "predicted"]].to_numpy("float64").reshape(-1, 2)
    ratio = (np.nan, np.nan, np.nan)
    if len(both) and both[:, 1].sum():
        drawn = both[
            np.random.default_rng(seed).integers(0, len(both), (RESAMPLES, len(both)))
        ]
        seen, said = drawn.sum(axis=1).T
        tail = (1 - level) / 2
        ends = np.quantile(seen[said > 0] / said[said > 0], [tail, 1 - tail])
        ratio = (both[:, 0].sum() / both[:, 1].sum(), *map(float, ends))
    rows = [("observed to predicted", *ratio, len(both))]
    incidents = exposure.sound.dropna(subset=["service_id", "affected_services"])
    touched = (incidents["affected_services"] + ";" + incidents["service_id"]).map(
        lambda text: len(set(_ids(text)))
    )
    for name, side in (("containers", CONTAINER), ("hosts", HOST)):
        own = touched[incidents["side"].eq(side).fillna(value=False)]
        share = jeffreys_interval(int((own <= 1).sum()), len(own), level=level)
        rows.append((f"at most one service touched, {name}", *share, len(own)))
    return pd.DataFrame(rows, columns=["measure", "value", "lo", "hi", "n"])


def _ids(joined: object) -> list[str]:
    return [name.strip() for name in str(joined).split(";") if name.strip()]
