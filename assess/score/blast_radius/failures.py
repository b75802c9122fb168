"""What incidents and experiments took down, against what the blast radius predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.score.blast_radius.bitset import Booleans, Floats, Integers
from assess.score.blast_radius.topology import Topology
from assess.score.incidents.exposure import CONTAINER, HOST, Exposure, counted_incidents
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
TRANSITIVE = "all transitive callers"
BASELINES = ("self", "direct callers", TRANSITIVE)
RESAMPLES = 1000  # of the events, for intervals
Element = tuple[str, str]  # kind and name


def events(inventory: Inventory) -> pd.DataFrame:
    """List incidents and experiments of which it is known what they took down.

    Columns ``event, event_id, element_kind, element, affected_services, observed_services``. An
    incident by a cause of its host is a failure of that host where the host is named, else one of
    its service, which is affected itself.
    """
    incidents = counted_incidents(inventory).dropna(subset=["affected_services"])
    # a host that fails takes all its services down: the service that reported it is no cause
    on_host = incidents["cause"].isin(HOST_CAUSES) & incidents["host_id"].notna()
    first = pd.DataFrame(
        {
            "event": "incident",
            "event_id": incidents["incident_id"],
            "element_kind": on_host.map({True: "host", False: "service"}).astype("str"),
            "element": incidents["host_id"].where(on_host, incidents["service_id"]),
            "affected_services": incidents["affected_services"]
            + ";"
            + incidents["service_id"],
            "observed_services": pd.NA,
        }
    )
    experiments = inventory["experiments"].dropna(subset=["affected_services"])
    second = experiments.rename(columns={"experiment_id": "event_id"})
    second = second.assign(event="experiment")[first.columns]
    table = pd.concat([first, second], ignore_index=True).astype("object")
    return table.sort_values(["event", "event_id"], ignore_index=True)


@dataclass(frozen=True, eq=False)
class Failure:
    """One observed failure of an element; by service, whether it had data, and went down."""

    event: str
    event_id: str
    element: Element
    seen: Booleans
    down: Booleans


def observed_failures(inventory: Inventory, topology: Topology) -> list[Failure]:
    """List the failures of elements of the fleet, by event and id.

    What failed itself counts as seen, whoever else had data.
    """
    services = topology.services
    failures = []
    for row in events(inventory).itertuples():
        element = (str(row.element_kind), str(row.element))
        if element not in topology.elements:
            continue
        own = [element[1]] if element[0] == "service" else []
        down = services.isin([*_ids(row.affected_services), *own])
        seen = np.ones(len(services), dtype=bool)
        if not pd.isna(row.observed_services):
            seen = services.isin([*_ids(row.observed_services), *own])
        failure = Failure(str(row.event), str(row.event_id), element, seen, down & seen)
        failures.append(failure)
    return failures


def calibrate(
    failures: list[Failure], affected: pd.DataFrame, weight: pd.Series
) -> pd.DataFrame:
    """Compare what failures took down with the prediction for the element that failed.

    One row per event: shares of the criticality of the services that had data, and their number.
    """
    predicted = predictions(affected, weight.index, {f.element for f in failures})
    values = weight.to_numpy()
    rows = []
    for failure in failures:
        seen = failure.seen
        total = values[seen].sum()
        if not total:  # nobody who weighs anything had data: there is no share
            continue
        shares = (values[seen] * predicted[failure.element][:, seen]).sum(axis=1) / total
        observed = values[failure.down].sum() / total
        event = (failure.event, failure.event_id, *failure.element)
        rows.append((*event, observed, *shares, int(seen.sum())))
    return pd.DataFrame(rows, columns=COLUMNS)


def predictions(
    affected: pd.DataFrame, services: pd.Index, elements: set[Element]
) -> dict[Element, Floats]:
    """Return, by element that fails, the chances of every service: rows point, lo, hi."""
    chances = {element: np.zeros((3, len(services))) for element in elements}
    rows = affected[affected["element"].isin([name for _, name in elements])]
    codes = services.get_indexer(pd.Index(rows["service_id"]))
    p = rows[["p_down", "p_lo", "p_hi"]].to_numpy("float64")
    keys = [rows["element_kind"].astype("str"), rows["element"].astype("str")]
    for (kind, name), places in rows.groupby(keys).indices.items():
        if (str(kind), str(name)) in chances:
            chances[str(kind), str(name)][:, codes[places]] = p[places].T
    return chances


def baselines(topology: Topology, elements: Sequence[Element]) -> dict[str, Booleans]:
    """Return, by rule, who fails with each element: shape (elements, services)."""
    calls = topology.matrix()
    own = topology.initially_down(elements, "point")
    direct = own | (own @ calls > 0)
    down = direct
    # whole rounds of callers at once, until nobody new is reached
    more = direct @ calls > 0
    while (more & ~down).any():
        down = down | more
        more = down @ calls > 0
    rules = zip(BASELINES, (own, direct, down), strict=True)
    return {rule: flags[:, : len(topology.services)] for rule, flags in rules}


def precision(
    topology: Topology,
    failures: list[Failure],
    scores: dict[str, list[Floats]],
    *,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Compare predicted with observed failures, by rule, over services that had data.

    ``scores`` holds, by name, the chances of every service in each failure. One row per baseline,
    then two per score: at one half, and at the highest threshold that finds as many as all
    transitive callers do. Intervals are a bootstrap over the failures.
    """
    observed = [f.down[f.seen] for f in failures]
    rows: dict[str, tuple[float, list[Booleans]]] = {}
    for rule, flags in baselines(topology, [f.element for f in failures]).items():
        seen = [row[f.seen] for row, f in zip(flags, failures, strict=True)]
        rows[rule] = (np.nan, seen)
    pairs = zip(rows[TRANSITIVE][1], observed, strict=True)
    goal = sum(int((predicted & down).sum()) for predicted, down in pairs)
    down = np.concatenate([np.empty(0, bool), *observed])
    for name, chances in scores.items():
        own = _seen(chances, failures)
        rows[name] = (0.5, [p >= 0.5 for p in own])
        ranked = np.sort(np.concatenate([np.empty(0), *own])[down])[::-1]
        threshold = float(ranked[goal - 1]) if goal else 0.0
        if threshold > 0:  # else the score finds fewer at any threshold
            same = f"{name}, at the recall of {TRANSITIVE}"
            rows[same] = (threshold, [p >= threshold for p in own])
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, max(len(failures), 1), (RESAMPLES, len(failures)))
    table = [
        {"rule": rule, "threshold": threshold, **_shares(flags, observed, draws, level)}
        for rule, (threshold, flags) in rows.items()
    ]
    return pd.DataFrame(table)


def _seen(chances: list[Floats], failures: list[Failure]) -> list[Floats]:
    """Return the chances of the services that had data, failure by failure."""
    return [p[f.seen] for p, f in zip(chances, failures, strict=True)]


def _shares(
    predicted: list[Booleans], observed: list[Booleans], draws: Integers, level: float
) -> dict[str, float]:
    """Return precision with its interval, recall, and the counts of both."""
    counts = np.array(
        [
            (int((said & down).sum()), int(said.sum()), int(down.sum()))
            for said, down in zip(predicted, observed, strict=True)
        ]
    ).reshape(-1, 3)
    right, predicted_n, observed_n = counts.sum(axis=0)
    ends = [np.nan, np.nan]
    if len(counts):
        drawn = counts[draws].sum(axis=1)
        shares = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
        tail = (1 - level) / 2
        ends = np.quantile(shares, [tail, 1 - tail])
    return {
        "precision": right / predicted_n if predicted_n else np.nan,
        "precision_lo": ends[0],
        "precision_hi": ends[1],
        "recall": right / observed_n if observed_n else np.nan,
        "said_n": predicted_n,
        "fell_n": observed_n,
    }


def curve(failures: list[Failure], scores: dict[str, list[Floats]]) -> pd.DataFrame:
    """Return ``rule, threshold, precision, recall`` at every threshold, highest first."""
    columns = ["rule", "threshold", "precision", "recall"]
    down = np.concatenate([np.empty(0, bool), *(f.down[f.seen] for f in failures)])
    parts = [pd.DataFrame(columns=columns)]
    for name, chances in scores.items():
        p = np.concatenate([np.empty(0), *_seen(chances, failures)])
        order = np.argsort(-p, kind="stable")
        right = np.cumsum(down[order])
        predicted_n = np.arange(1, len(p) + 1)
        last = np.flatnonzero((np.diff(p[order], append=-1) != 0) & (p[order] > 0))
        part = pd.DataFrame(
            {
                "rule": name,
                "threshold": p[order][last],
                "precision": right[last] / predicted_n[last],
                "recall": right[last] / max(down.sum(), 1),
            }
        )
        if len(part):
            parts.append(part)
    return pd.concat(parts)[columns]


def measures(
    exposure: Exposure, calibration: pd.DataFrame, *, seed: int, level: float
) -> pd.DataFrame:
    """Return ``measure, value, lo, hi, n``: how well predictions and containment did.

    These are the ratio of observed to predicted shares, with a bootstrap interval over the events,
    and the chance that an incident touches at most one service, on containers and on hosts.
    """
    both = calibration[["observed", "predicted"]].to_numpy("float64").reshape(-1, 2)
    ratio = (np.nan, np.nan, np.nan)
    if len(both) and both[:, 1].sum():
        rng = np.random.default_rng(seed)
        drawn = both[rng.integers(0, len(both), (RESAMPLES, len(both)))]
        observed, predicted = drawn.sum(axis=1).T
        shares = observed[predicted > 0] / predicted[predicted > 0]
        tail = (1 - level) / 2
        ends = np.quantile(shares, [tail, 1 - tail])
        ratio = (both[:, 0].sum() / both[:, 1].sum(), *map(float, ends))
    rows = [("observed to predicted", *ratio, len(both))]
    incidents = exposure.sound.dropna(subset=["service_id", "affected_services"])
    listed = incidents["affected_services"] + ";" + incidents["service_id"]
    touched = listed.map(lambda text: len(set(_ids(text))))
    for name, side in (("containers", CONTAINER), ("hosts", HOST)):
        own = touched[incidents["side"].eq(side).fillna(value=False)]
        share = jeffreys_interval(int((own <= 1).sum()), len(own), level=level)
        rows.append((f"at most one service touched, {name}", *share, len(own)))
    return pd.DataFrame(rows, columns=["measure", "value", "lo", "hi", "n"])


def _ids(joined: object) -> list[str]:
    return [name.strip() for name in str(joined).split(";") if name.strip()]
