"""Whether predictions deserve trust: they are checked against failures they were not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans, Floats, Integers
from assess.score.blast_radius.learning import (
    Element,
    Failure,
    edge_trials,
    estimate,
    ids,
    learns,
)
from assess.score.blast_radius.propagation import Scenarios, propagate
from assess.score.blast_radius.topology import Graph, Topology
from assess.score.blast_radius.uncertain import Sampling
from assess.score.incidents.exposure import CONTAINER, HOST, Exposure, exposure
from assess.score.incidents.rates import jeffreys_interval

TRANSITIVE = "all transitive callers"
BASELINES = ("self", "direct callers", TRANSITIVE)
RESAMPLES = 1000  # of the events, for intervals
FOLDS_MOST = 50  # above, several events are left out together


def validate(  # noqa: PLR0913
    inventory: Inventory,
    policy: Policy,
    topology: Topology,
    failures: list[Failure],
    *,
    affected: pd.DataFrame,
    sampling: Sampling,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Check predictions (``affected``) against the failures that were observed.

    ``topology`` has the policy's probabilities. ``calibration, precision, precision_curve`` and
    ``calibration_measures`` are the frames of the functions below; beside them is that of `compare`
    with its verdict, empty where nothing was learned.
    """
    level = float(policy["simulation"]["level"])
    seed = policy.seed
    calibration = calibrate(failures, affected, topology.service_weight)
    known = predictions(affected, topology.services, {f.element for f in failures})
    scores = {"p_down": [known[f.element][0] for f in failures]}
    judged = pd.DataFrame(columns=["verdict"])
    if learns(policy, failures):
        base, left_out = leave_one_out(topology, failures, sampling)
        scores["learned, left out"] = left_out
        judged = compare(failures, base, left_out, seed=seed, level=level)
        judged = judged.assign(verdict=verdict(judged, len(failures)))
    watched = exposure(inventory, policy)
    checks = {
        "calibration": calibration,
        "precision": precision(topology, failures, scores, seed=seed, level=level),
        "precision_curve": curve(failures, scores),
        "calibration_measures": measures(watched, calibration, seed=seed, level=level),
    }
    return checks, judged


def leave_one_out(
    topology: Topology,
    failures: list[Failure],
    sampling: Sampling,
) -> tuple[list[Floats], list[Floats]]:
    """Predict every failure by the policy, and by what is learned from the other failures.

    Both lists hold, by failure, the chance of every service to be down. [probability, 0-1]
    """
    folds = np.arange(len(failures)) % max(min(len(failures), FOLDS_MOST), 1)
    graph = topology.graph("point")
    trials = edge_trials(topology, failures)
    initial = topology.initially_down([f.element for f in failures], "point")
    base = chances(graph, initial, sampling)
    learned = base.copy()
    # a single failure has no others to learn from
    for fold in np.unique(folds) if folds.any() else []:
        others = trials[folds[trials["failure"]] != fold]
        places = np.flatnonzero(folds == fold)
        trained = replace(graph, p=estimate(topology, others))
        learned[places] = chances(trained, initial[places], sampling)
    n = len(topology.services)
    return list(base[:, :n]), list(learned[:, :n])


def chances(
    graph: Graph,
    initial: Booleans,
    sampling: Sampling,
) -> Floats:
    """Return the chance of every node to be down, in each of some failures; shaped alike."""
    scenario, node = np.nonzero(initial)
    failing = Scenarios(scenario, node, len(initial))
    impact = propagate(graph, failing, sampling=sampling)
    p = np.zeros(initial.shape)
    p[impact.scenario, impact.node] = impact.p
    return p


def compare(
    failures: list[Failure],
    base: list[Floats],
    learned: list[Floats],
    *,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Compare two predictions of the same failures by their squared error (Brier score).

    Columns ``rule`` (policy, learned), ``brier`` (mean over the failures; low is good), ``gain``
    over the policy with ``gain_lo, gain_hi`` (paired bootstrap over the failures).
    """
    errors = []
    for failure, *pair in zip(failures, base, learned, strict=True):
        seen = failure.seen
        if seen.any():
            down = failure.down[seen]
            errors.append([float(((p[seen] - down) ** 2).mean()) for p in pair])
    if not errors:
        return pd.DataFrame(columns=["rule", "brier", "gain", "gain_lo", "gain_hi"])
    table = np.array(errors)
    # paired: both rules predict the same failures, which differ more than the rules do
    gain = table[:, 0] - table[:, 1]
    ends = _middle(gain[_resamples(len(gain), seed)].mean(axis=1), level)
    return pd.DataFrame(
        {
            "rule": ["policy", "learned"],
            "brier": table.mean(axis=0),
            "gain": [0.0, gain.mean()],
            "gain_lo": [0.0, ends[0]],
            "gain_hi": [0.0, ends[1]],
        }
    )


def _resamples(n: int, seed: int) -> Integers:
    """Draw positions of ``n`` events with replacement (bootstrap), one resample a row."""
    return np.random.default_rng(seed).integers(0, max(n, 1), (RESAMPLES, n))


def _middle(values: Floats, level: float) -> Floats:
    """Return the ends of the middle share ``level`` of values."""
    tail = (1 - level) / 2
    return np.quantile(values, [tail, 1 - tail])


def verdict(brier: pd.DataFrame, failures_n: int) -> str:
    """Return a sentence on whether learned probabilities predict better than the policy's."""
    if failures_n < 2 or brier.empty:
        return (
            "Too few failures are recorded to judge learned probabilities: "
            "at least two are needed."
        )
    row = brier.set_index("rule").loc["learned"]
    gain = f"{row['gain']:+.3f} ({row['gain_lo']:+.3f} to {row['gain_hi']:+.3f})"
    better = "not shown to be better"
    end = " They do not help on this fleet yet."
    if row["gain_lo"] > 0:
        better = "better"
        end = ""
    elif row["gain_hi"] < 0:
        better = "worse"
    return (
        f"Left out one by one, {failures_n} failures were predicted {better} with learned "
        f"probabilities than with the policy's: squared error lower by {gain}.{end}"
    )


def calibrate(
    failures: list[Failure],
    affected: pd.DataFrame,
    weight: pd.Series,
) -> pd.DataFrame:
    """Compare what failures took down with the prediction for the element that failed.

    ``event, event_id, element_kind, element``, then shares of the criticality of the services that
    had data: ``observed, predicted, predicted_lo, predicted_hi`` [0-1], and their number ``services_n``.
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
    names = ["event", "event_id", "element_kind", "element", "observed"]
    names += ["predicted", "predicted_lo", "predicted_hi", "services_n"]
    return pd.DataFrame(rows, columns=names)


def predictions(
    affected: pd.DataFrame,
    services: pd.Index,
    elements: set[Element],
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
    itself = topology.initially_down(elements, "point")
    direct = itself | (itself @ calls > 0)
    down = direct
    # whole rounds of callers at once, until nobody new is reached
    more = direct @ calls > 0
    while (more & ~down).any():
        down = down | more
        more = down @ calls > 0
    rules = zip(BASELINES, (itself, direct, down), strict=True)
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
    seen, down = _observed(failures, len(topology.services))
    rows = {
        rule: (np.nan, flags & seen)
        for rule, flags in baselines(topology, [f.element for f in failures]).items()
    }
    goal = int((rows[TRANSITIVE][1] & down).sum())
    for name, chances in scores.items():
        p = np.where(seen, np.reshape(chances, seen.shape), 0.0)
        rows[name] = (0.5, p >= 0.5)
        ranked = np.sort(p[down])[::-1]
        threshold = float(ranked[goal - 1]) if goal else 0.0
        if threshold > 0:  # else the score finds fewer at any threshold
            same = f"{name}, at the recall of {TRANSITIVE}"
            rows[same] = (threshold, p >= threshold)
    draws = _resamples(len(failures), seed)
    table = [
        {"rule": rule, "threshold": threshold, **_shares(flags, down, draws, level)}
        for rule, (threshold, flags) in rows.items()
    ]
    return pd.DataFrame(table)


def _observed(failures: list[Failure], services_n: int) -> tuple[Booleans, Booleans]:
    """Return, by failure and service, whether it had data, and whether it was seen to go down."""
    shape = (len(failures), services_n)
    seen = np.reshape([f.seen for f in failures], shape).astype(bool)
    down = np.reshape([f.down for f in failures], shape).astype(bool)
    return seen, seen & down


def _shares(
    predicted: Booleans,
    down: Booleans,
    draws: Integers,
    level: float,
) -> dict[str, float]:
    """Return precision with its interval, recall, and the counts of both; shape (failures, services)."""
    right = (predicted & down).sum(axis=1)
    predicted_n = predicted.sum(axis=1)
    ends = np.full(2, np.nan)
    if len(draws.T):
        shares = right[draws].sum(axis=1) / np.maximum(predicted_n[draws].sum(axis=1), 1)
        ends = _middle(shares, level)
    return {
        "precision": _ratio(right.sum(), predicted_n.sum()),
        "precision_lo": ends[0],
        "precision_hi": ends[1],
        "recall": _ratio(right.sum(), down.sum()),
        "said_n": predicted_n.sum(),
        "fell_n": down.sum(),
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def curve(failures: list[Failure], scores: dict[str, list[Floats]]) -> pd.DataFrame:
    """Return ``rule, threshold, precision, recall`` at every threshold, highest first."""
    down = np.concatenate([np.empty(0, bool), *(f.down[f.seen] for f in failures)])
    parts = []
    for name, chances in scores.items():
        seen_p = [p[f.seen] for p, f in zip(chances, failures, strict=True)]
        p = np.concatenate([np.empty(0), *seen_p])
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
        parts.append(part)
    return pd.concat(parts)


def measures(
    exposure: Exposure,
    calibration: pd.DataFrame,
    *,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Return ``measure, value, lo, hi, n``: how well predictions and containment did.

    These are the ratio of observed to predicted shares, with a bootstrap interval over the events,
    and the chance that an incident touches at most one service, on containers and on hosts.
    """
    both = calibration[["observed", "predicted"]].to_numpy("float64")
    ratio = (np.nan, np.nan, np.nan)
    if both[:, 1].sum():
        observed, predicted = both[_resamples(len(both), seed)].sum(axis=1).T
        shares = observed[predicted > 0] / predicted[predicted > 0]
        point = both[:, 0].sum() / both[:, 1].sum()
        ratio = (point, *_middle(shares, level))
    rows = [("observed to predicted", *ratio, len(both))]
    incidents = exposure.sound.dropna(subset=["service_id", "affected_services"])
    listed = incidents["affected_services"] + ";" + incidents["service_id"]
    touched = listed.map(lambda text: len(set(ids(text))))
    for name, side in (("containers", CONTAINER), ("hosts", HOST)):
        on_side = touched[incidents["side"].eq(side).fillna(value=False)]
        share = jeffreys_interval(int((on_side <= 1).sum()), len(on_side), level=level)
        rows.append((f"at most one service touched, {name}", *share, len(on_side)))
    return pd.DataFrame(rows, columns=["measure", "value", "lo", "hi", "n"])
