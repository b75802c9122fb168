"""Whether predictions deserve trust: judged by failures that they have not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius import failures as cal
from assess.score.blast_radius.bitset import Booleans, Floats
from assess.score.blast_radius.learning import estimate, learn, says, tries, with_learned
from assess.score.blast_radius.propagation import Graph, Sampling, arc_key, spread
from assess.score.blast_radius.scenarios import Scenarios
from assess.score.blast_radius.topology import Fleet
from assess.score.incidents.exposure import exposure

FOLDS_MOST = 50  # above, several events are left out together


@dataclass(frozen=True, eq=False)
class Judged:
    """What failures say of predictions.

    Attributes
    ----------
    calibration, precision, curve, measures, learned : DataFrame
        What `calibrate`, `precision`, `curve`, `measures` and `learn` give.
    brier : DataFrame
        What `judge` gives; empty where nothing was learned.
    verdict : str
        A sentence on the learned probabilities; empty where nothing was learned.
    """

    calibration: pd.DataFrame
    precision: pd.DataFrame
    curve: pd.DataFrame
    measures: pd.DataFrame
    learned: pd.DataFrame
    brier: pd.DataFrame
    verdict: str

    def details(self) -> dict[str, pd.DataFrame]:
        """Give the tables by name, as a result holds them.

        Returns
        -------
        dict of str to DataFrame
            The verdict is a column of ``learned_judged``.
        """
        return {
            "calibration": self.calibration,
            "precision": self.precision,
            "precision_curve": self.curve,
            "calibration_measures": self.measures,
            "learned_edges": self.learned,
            "learned_judged": self.brier.assign(verdict=self.verdict),
        }


def judged(
    inventory: Inventory,
    policy: Policy,
    fleet: Fleet,
    affected: pd.DataFrame,
    sampling: Sampling,
) -> Judged:
    """Hold predictions to the failures that are known.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, experiments``.
    policy : Policy
        Tables ``simulation`` and ``blast_radius``.
    fleet : Fleet
        The graph, with the policy's probabilities.
    affected : DataFrame
        Predictions: ``element_kind, element, service_id, p_down, p_lo, p_hi``.
    sampling : Sampling
        How uncertain edges are dealt with.

    Returns
    -------
    Judged
        All tables; edges are learned where ``blast_radius.learned_edges`` is not ``off``.
    """
    level, seed = float(policy["simulation"]["level"]), policy.seed
    weight = pd.Series(fleet.weight[: len(fleet.services)], index=fleet.services)
    trials = cal.trials(inventory, fleet.services, fleet.elements)
    compared = cal.calibrate(trials, affected, weight)
    said = cal.predictions(affected, fleet.services, {t.element for t in trials})
    scores = {"p_down": [said[t.element][0] for t in trials]}
    learned, brier, verdict = fleet.edges.iloc[:0], pd.DataFrame(), ""
    if policy["blast_radius"]["learned_edges"] != "off" and trials:
        learned = learn(fleet, tries(fleet, trials), level=level, seed=seed)
        base, left_out = leave_one_out(fleet, trials, sampling)
        scores["learned, left out"] = left_out
        brier = judge(trials, base, left_out, seed=seed, level=level)
        verdict = says(brier, len(trials))
    table = cal.precision(fleet, trials, scores, seed=seed, level=level)
    totals = cal.measures(exposure(inventory, policy), compared, seed=seed, level=level)
    return Judged(
        compared, table, cal.curve(trials, scores), totals, learned, brier, verdict
    )


def leave_one_out(
    fleet: Fleet, trials: list[cal.Trial], sampling: Sampling
) -> tuple[list[Floats], list[Floats]]:
    """Predict every failure by the policy, and by what the other failures teach.

    Parameters
    ----------
    fleet : Fleet
        The graph, with the policy's probabilities.
    trials : list of Trial
        What happened.
    sampling : Sampling
        How uncertain edges are dealt with.

    Returns
    -------
    policy, learned : list of ndarray
        By trial, the chance of every service to be down. [probability, 0-1]
    """
    folds = np.arange(len(trials)) % max(min(len(trials), FOLDS_MOST), 1)
    graph, every = failure_graph(fleet, "point"), tries(fleet, trials)
    struck = fleet.struck([trial.element for trial in trials], "point")
    base = chances(graph, struck, sampling)
    found = base.copy()
    for fold in np.unique(folds) if folds.any() else []:
        others = every[folds[every["trial"]] != fold]
        places = np.flatnonzero(folds == fold)
        taught = replace(graph, p=estimate(fleet, others))
        found[places] = chances(taught, struck[places], sampling)
    n = len(fleet.services)
    return list(base[:, :n]), list(found[:, :n])


def chances(graph: Graph, struck: Booleans, sampling: Sampling) -> Floats:
    """Give the chance of every node to be down, in each of some failures.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    struck : ndarray of bool, shape (failures, nodes)
        What each takes down by itself.
    sampling : Sampling
        How uncertain edges are dealt with.

    Returns
    -------
    ndarray of float, shape (failures, nodes)
        [probability, 0-1]
    """
    lane, node = np.nonzero(struck)
    found = spread(graph, Scenarios(lane, node, len(struck)), sampling=sampling)
    p = np.zeros(struck.shape)
    p[found.scenario, found.node] = found.p
    return p


def failure_graph(fleet: Fleet, level: str) -> Graph:
    """Give who fails with whom.

    Parameters
    ----------
    fleet : Fleet
        The fleet.
    level : str
        lo, point or hi: which probabilities.

    Returns
    -------
    Graph
        Arcs from what is needed to what needs it.
    """
    links = fleet.edges
    keys = [
        arc_key(dst, src) for dst, src in zip(links["dst"], links["src"], strict=True)
    ]
    return Graph(
        nodes=len(fleet.nodes),
        tail=fleet.nodes.get_indexer(pd.Index(links["dst"])),
        head=fleet.nodes.get_indexer(pd.Index(links["src"])),
        p=links[level].to_numpy("float64"),
        keys=np.array(keys, dtype=np.uint64),
        weight=fleet.weight,
    )


def judge(
    trials: list[cal.Trial],
    base: list[Floats],
    learned: list[Floats],
    *,
    seed: int,
    level: float,
) -> pd.DataFrame:
    """Compare two predictions of the same failures by their squared error.

    Parameters
    ----------
    trials : list of Trial
        What happened.
    base, learned : list of ndarray
        By trial, the chance of every service to be down. [probability, 0-1]
    seed : int
        Seed of the resampling.
    level : float
        Coverage of the intervals. [share, 0-1]

    Returns
    -------
    DataFrame
        ``rule`` (policy, learned), ``brier`` (mean over the failures; low is good), ``gain`` over
        the policy with ``gain_lo, gain_hi`` (paired bootstrap over the failures).
    """
    errors = np.array(
        [
            [float(((p[t.seen] - t.hit[t.seen]) ** 2).mean()) for p in pair]
            for t, *pair in zip(trials, base, learned, strict=True)
            if t.seen.any()
        ]
    ).reshape(-1, 2)
    if not len(errors):
        return pd.DataFrame(columns=["rule", "brier", "gain", "gain_lo", "gain_hi"])
    gain = errors[:, 0] - errors[:, 1]
    draws = np.random.default_rng(seed).integers(0, len(gain), (cal.RESAMPLES, len(gain)))
    ends = np.quantile(gain[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return pd.DataFrame(
        {
            "rule": ["policy", "learned"],
            "brier": errors.mean(axis=0),
            "gain": [0.0, float(gain.mean())],
            "gain_lo": [0.0, float(ends[0])],
            "gain_hi": [0.0, float(ends[1])],
        }
    )


def taught(inventory: Inventory, policy: Policy, fleet: Fleet) -> Fleet:
    """Give the graph that counts: with learned probabilities where the policy says so.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, experiments``.
    policy : Policy
        Its ``blast_radius.learned_edges``.
    fleet : Fleet
        The graph, with the policy's probabilities.

    Returns
    -------
    Fleet
        The same, unless ``learned_edges`` is ``use`` and there are failures to learn from.
    """
    if policy["blast_radius"]["learned_edges"] != "use":
        return fleet
    trials = cal.trials(inventory, fleet.services, fleet.elements)
    level = float(policy["simulation"]["level"])
    if not trials:
        return fleet
    return with_learned(
        fleet, learn(fleet, tries(fleet, trials), level=level, seed=policy.seed)
    )
