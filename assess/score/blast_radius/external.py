"""Predictions judged by the failures of somebody else's system: edges, faults, and who fell."""

from __future__ import annotations

import pandas as pd

from assess.inventory import from_frames
from assess.policy.policy import Policy
from assess.score.blast_radius.blast_radius import score_blast_radius


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
    edges = pd.DataFrame(
        {"kind": "call", "evidence": "outside"}, index=dependencies.index
    )
    edges = dependencies.combine_first(edges)
    numbers = [f"x{number:06}" for number in range(len(experiments))]
    given = {
        "experiment_id": numbers,
        "element_kind": "service",
        "started_at": "2000-01-01",
    }
    faults = experiments.combine_first(pd.DataFrame(given, index=experiments.index))
    lists = (
        faults.reindex(columns=["affected_services", "observed_services"])
        .melt()["value"]
        .dropna()
    )
    told = lists.astype("str").str.split(";").explode().str.strip()
    ids = pd.concat([edges["src_id"], edges["dst_id"], faults["element"], told])
    ids = ids[(ids != "") & ~ids.str.startswith("ext:")].drop_duplicates()
    services = pd.DataFrame({"service_id": sorted(ids), "criticality": 1.0})
    frames = {"services": services, "dependencies": edges, "experiments": faults}
    details = score_blast_radius(
        from_frames(frames, snapshot_at="2000-01-02"), policy, detail=False
    ).details
    return {
        name: details[name] for name in ("precision", "precision_curve", "learned_judged")
    }
