"""Predictions checked against the failures of another system: edges, faults, and what failed."""

from __future__ import annotations

import pandas as pd

from assess.inventory import from_frames
from assess.policy.policy import Policy
from assess.score.blast_radius.blast_radius import score_blast_radius

TABLES = ("precision", "precision_curve", "learned_judged")


def judge_outside(
    dependencies: pd.DataFrame, experiments: pd.DataFrame, policy: Policy
) -> dict[str, pd.DataFrame]:
    """Compare predictions with simpler rules on data from outside.

    Parameters
    ----------
    dependencies : DataFrame
        ``src_id, dst_id``, perhaps ``kind`` (else call), ``evidence``, ``p``.
    experiments : DataFrame
        ``element`` (a service) and ``affected_services`` (joined by ";"), perhaps
        ``observed_services`` and ``experiment_id``.
    policy : Policy
        The policy.

    Returns
    -------
    dict of str to DataFrame
        ``precision``: precision and recall of self, direct callers, all transitive callers, of
        ``p_down``, and of learned probabilities, each failure left out; ``precision_curve``; and
        ``learned_judged`` with its verdict. All services weigh the same.
    """
    usual = {"kind": "call", "evidence": "outside"}
    edges = dependencies.combine_first(pd.DataFrame(usual, index=dependencies.index))
    defaults = {
        "experiment_id": [f"x{number:06}" for number in range(len(experiments))],
        "element_kind": "service",
        "started_at": "2000-01-01",
    }
    faults = experiments.combine_first(pd.DataFrame(defaults, index=experiments.index))
    lists = faults.reindex(columns=["affected_services", "observed_services"])
    named = lists.melt()["value"].dropna().astype("str").str.split(";").explode()
    ids = pd.concat(
        [edges["src_id"], edges["dst_id"], faults["element"], named.str.strip()]
    )
    ids = ids[(ids != "") & ~ids.str.startswith("ext:")].drop_duplicates()
    services = pd.DataFrame({"service_id": sorted(ids), "criticality": 1.0})
    frames = {"services": services, "dependencies": edges, "experiments": faults}
    inventory = from_frames(frames, snapshot_at="2000-01-02")
    details = score_blast_radius(inventory, policy, detail=False).details
    return {name: details[name] for name in TABLES}
