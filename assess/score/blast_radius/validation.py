"""Whether predictions deserve trust: they are checked against failures they were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans, Floats
from assess.score.blast_radius.failures import (
    RESAMPLES,
    Failure,
    calibrate,
    curve,
    measures,
    observed_failures,
    precision,
    predictions,
)
from assess.score.blast_radius.learning import edge_trials, estimate, learn
from assess.score.blast_radius.propagation import propagate
from assess.score.blast_radius.scenarios import Scenarios
from assess.score.blast_radius.topology import Graph, Topology
from assess.score.blast_radius.uncertain import Sampling
from assess.score.incidents.exposure import exposure

FOLDS_MOST = 50  # above, several events are left out together


@dataclass(frozen=True, eq=False)
class Validation:
    """What failures show of predictions: frames of the functions of these names.

    ``brier`` (of `compare`) and ``verdict`` are empty where nothing was learned.
    """

    calibration: pd.DataFrame
    precision: pd.DataFrame
    curve: pd.DataFrame
    measures: pd.DataFrame
    learned: pd.DataFrame
    brier: pd.DataFrame
    verdict: str

    def details(self) -> dict[str, pd.DataFrame]:
        """Return the frames by the names that a result has for them."""
        return {
            "calibration": self.calibration,
            "precision": self.precision,
            "precision_curve": self.curve,
            "calibration_measures": self.measures,
            "learned_edges": self.learned,
            "learned_judged": self.brier.assign(verdict=self.verdict),
        }


def validate(
    inventory: Inventory,
    policy: Policy,
    topology: Topology,
    affected: pd.DataFrame,
    sampling: Sampling,
) -> Validation:
    """Check predictions (``affected``) against the failures that were observed.

    ``topology`` has the policy's probabilities; edges are learned where the policy's
    ``blast_radius.learned_edges`` is not ``off``.
    """
    level = float(policy["simulation"]["level"])
    seed = policy.seed
    failures = observed_failures(inventory, topology)
    calibration = calibrate(failures, affected, topology.service_weight)
    known = predictions(affected, topology.services, {f.element for f in failures})
    scores = {"p_down": [known[f.element][0] for f in failures]}
    learned = topology.edges.iloc[:0]
    brier = pd.DataFrame()
    text = ""
    if policy["blast_radius"]["learned_edges"] != "off" and failures:
        trials = edge_trials(topology, failures)
        learned = learn(topology, trials, level=level, seed=seed)
        base, left_out = leave_one_out(topology, failures, sampling)
        scores["learned, left out"] = left_out
        brier = compare(failures, base, left_out, seed=seed, level=level)
        text = verdict(brier, len(failures))
    return Validation(
        calibration,
        precision(topology, failures, scores, seed=seed, level=level),
        curve(failures, scores),
        measures(exposure(inventory, policy), calibration, seed=seed, level=level),
        learned,
        brier,
        text,
    )


def leave_one_out(
    topology: Topology, failures: list[Failure], sampling: Sampling
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


def chances(graph: Graph, initial: Booleans, sampling: Sampling) -> Floats:
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
    errors = np.array(
        [
            [float(((p[f.seen] - f.down[f.seen]) ** 2).mean()) for p in pair]
            for f, *pair in zip(failures, base, learned, strict=True)
            if f.seen.any()
        ]
    ).reshape(-1, 2)
    if not len(errors):
        return pd.DataFrame(columns=["rule", "brier", "gain", "gain_lo", "gain_hi"])
    # paired: both rules predict the same failures, which differ more than the rules do
    gain = errors[:, 0] - errors[:, 1]
    draws = np.random.default_rng(seed).integers(0, len(gain), (RESAMPLES, len(gain)))
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


def verdict(brier: pd.DataFrame, failures_n: int) -> str:
    """Return a sentence on whether learned probabilities predict better than the policy's."""
    if failures_n < 2 or brier.empty:
        return "Too few failures are recorded to judge learned probabilities: at least two are needed."
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
