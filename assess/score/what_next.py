"""What next: which services to containerise, by every weighting that a board could have."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.blast_radius import score_blast_radius
from assess.score.criteria import criteria_table
from assess.score.fixes import smallest_fixes
from assess.score.readiness import score_readiness
from assess.score.result import Explanation, Provenance, Result
from assess.score.smaa import Acceptability, acceptability
from assess.score.upgrade_churn import score_upgrade_churn
from assess.score.waves import (
    CONTAINER_PLATFORMS,
    container_experience,
    cycle_groups,
    exposure_budget,
    waves,
)
from assess.score.weights import simplex_weights

LABELS = (
    "MOVE NOW", "PILOT", "PREPARE", "HOLD", "NEVER", "NOT DECIDABLE", "KEEP", "FIX", "PULL BACK",
)  # fmt: skip
GATED_INSIDE = {"NEVER": "PULL BACK", "NOT DECIDABLE": "NOT DECIDABLE"}
DAYS_PER_MONTH = 365.25 / 12


class WhatNext(Result):
    """Services, best candidate first, with the label that the evidence supports."""

    name: ClassVar[str] = "what_next"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "label", "p_first", "p_top", "p_top_neutral", "readiness", "readiness_lo", "readiness_hi",
        "owner",
    )  # fmt: skip

    @property
    def headline(self) -> str:
        """Say how often the first is first, in a sentence."""
        ranked = self.frame[self.frame["p_first"] > 0]
        if ranked.empty:
            return "No service can be ranked yet: every candidate stands behind a gate."
        first = ranked["p_first"].idxmax()
        share = ranked.loc[first, "p_first"]
        return f"{first} comes first in {share:.0%} of all weightings of the criteria."

    def explain(self, service_id: str) -> Explanation:
        """Say why a service has its label, and what is missing.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Explanation
            Text; the table holds its criteria with their intervals.
        """
        row = self.row(service_id)
        lines = [f"Label: {row['label']}. {row['why']}"]
        facts = self._of("missing", service_id)["fact"].tolist()
        if facts:
            lines.append("To find out: " + "; ".join(facts[:5]) + ".")
        fixes = self._of("flips", service_id)["checks"].tolist()
        if fixes:
            lines.append("Would change it: " + "; or ".join(" and ".join(f) for f in fixes) + ".")
        table = self._of("criteria", service_id).set_index("criterion")[["point", "lo", "hi"]]
        return Explanation(f"{service_id}: what next", "\n".join(lines), table.round(2))

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per service, best first.

        Returns
        -------
        list of dict
            Columns of the frame, ``missing`` and ``flips``.
        """
        records = self.frame.reset_index().to_dict("records")
        missing = self.details["missing"].groupby("service_id")["fact"].agg(list)
        flips = self.details["flips"].groupby("service_id")["checks"].agg(list)
        return [
            {
                **record,
                "missing": missing.get(record["service_id"], []),
                "flips": flips.get(record["service_id"], []),
            }
            for record in records
        ]

    def _of(self, detail: str, service_id: str) -> pd.DataFrame:
        table = self.details[detail]
        return table[table["service_id"] == service_id]


def what_next(
    inventory: Inventory,
    policy: Policy,
    *,
    readiness: Result | None = None,
    blast: Result | None = None,
    churn: Result | None = None,
) -> WhatNext:
    """Rank the candidates for a move over all weightings, and label every service.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        Criteria, thresholds, draws and seed.
    readiness, blast, churn : Result, optional
        The three scores; those not handed in are computed.

    Returns
    -------
    WhatNext
        Index ``service_id``, best first. ``p_first``, ``p_top`` [share 0-1] come from the
        pessimistic run (every unknown at its worst, only services with clear gates compete),
        ``p_top_neutral`` from measurements drawn from their intervals, gates left aside except
        NEVER. Services that already run in containers do not compete: theirs are NA.

    Notes
    -----
    SMAA-2 with weights uniform on the simplex; see `assess.score.smaa`.
    """
    readiness = readiness or score_readiness(inventory, policy)
    blast = blast or score_blast_radius(inventory, policy)
    churn = churn or score_upgrade_churn(inventory, policy)
    services = inventory["services"].set_index("service_id").sort_index()
    criteria = criteria_table(services, readiness, blast, churn, policy)
    frame = readiness.frame.reindex(services.index)[
        ["readiness", "readiness_lo", "readiness_hi", "label_gates"]
    ]
    frame = frame.assign(owner=services["owner"], platform=_platform(inventory, services))
    inside = frame["platform"].isin(CONTAINER_PLATFORMS)
    ranked, by_rank = _pessimistic(
        frame.index[~inside & frame["label_gates"].isna()], criteria, policy
    )
    neutral = _neutral(frame.index[~inside & frame["label_gates"].ne("NEVER")], criteria, policy)
    frame = frame.join(ranked).join(neutral)
    chances = ["p_first", "p_top", "p_top_neutral"]
    frame[chances] = frame[chances].fillna(0.0).mask(inside).astype("Float64")
    gates = readiness.details["gates"]
    _put_labels(frame, gates, inside, policy["what_next"])
    frame["group"] = cycle_groups(frame.index, inventory["dependencies"])
    frame["wave"] = waves(frame, budget=budget(inventory, policy))
    details = {
        "criteria": criteria,
        "acceptability": by_rank,
        "missing": _missing(readiness),
        "flips": _flips(frame, readiness, policy),
    }
    columns = [
        "label", "p_first", "p_top", "p_top_neutral", "rank_expected", "wave", "group", "why",
        "readiness", "readiness_lo", "readiness_hi", "owner", "platform",
    ]  # fmt: skip
    contributions = criteria.assign(
        contribution=criteria["point"] / criteria["criterion"].nunique()
    )
    return WhatNext(
        frame.loc[_order(frame), columns],
        contributions[["service_id", "criterion", "contribution"]],
        Provenance.of(inventory, policy),
        details,
    )


def _matrix(criteria: pd.DataFrame, ids: pd.Index, end: str) -> np.ndarray:
    wide = criteria.pivot(index="service_id", columns="criterion", values=end)
    return wide.reindex(ids).to_numpy(dtype=float)


def _pessimistic(
    ids: pd.Index, criteria: pd.DataFrame, policy: Policy
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank with every measurement at its worst end; also the acceptability of every rank."""
    worst = _matrix(criteria, ids, "lo")
    found = _simulate(worst, worst, policy)
    frame = pd.DataFrame(
        {
            "p_first": found.p_first,
            "p_top": found.p_top,
            "rank_expected": np.round(found.rank_expected, 2),
        },
        index=ids,
    )
    rank = pd.DataFrame(found.by_rank, index=ids, columns=range(1, len(ids) + 1))
    tidy = rank.rename_axis("service_id").reset_index().melt("service_id", var_name="rank")
    tidy = tidy.rename(columns={"value": "probability"})
    return frame, tidy.sort_values(["service_id", "rank"], kind="stable", ignore_index=True)


def _neutral(ids: pd.Index, criteria: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Rank with measurements drawn from their intervals."""
    found = _simulate(_matrix(criteria, ids, "lo"), _matrix(criteria, ids, "hi"), policy)
    return pd.DataFrame({"p_top_neutral": found.p_top}, index=ids)


def _simulate(lo: np.ndarray, hi: np.ndarray, policy: Policy) -> Acceptability:
    rng = np.random.default_rng(policy.seed)
    weights = simplex_weights(policy.draws, lo.shape[1], rng)
    return acceptability(lo, hi, weights, k=policy["what_next"]["k"], rng=rng)


def _platform(inventory: Inventory, services: pd.DataFrame) -> pd.Series:
    """Platform of each service; where nobody says, an image shows a container."""
    workloads = inventory["workloads"]
    with_image = workloads.loc[workloads["image_ref"].notna(), "service_id"]
    told = services["platform"].astype("str").where(services["platform"].ne("unknown"))
    shown = pd.Series(services.index.isin(with_image), index=services.index)
    return told.mask(told.isna() & shown, "docker").fillna("unknown")


def _put_labels(
    frame: pd.DataFrame, gates: pd.DataFrame, inside: pd.Series, settings: dict[str, Any]
) -> None:
    """Write ``label`` and ``why``; where a gate decides, its evidence is the reason."""
    given = gates["service_id"].map(frame["label_gates"])
    failed = gates["state"].eq("fail") & given.notna()
    undecided = gates["state"].eq("unknown") & given.eq("NOT DECIDABLE")
    stops = gates[failed | undecided]
    said = (stops["gate"] + ": " + stops["evidence"]).groupby(stops["service_id"]).agg("; ".join)
    decided = [
        (label_inside if inside[row.Index] else label_candidate)(row, settings)
        for row in frame.itertuples()
    ]
    frame["label"] = [label for label, _ in decided]
    frame["why"] = said.reindex(frame.index).fillna(
        pd.Series([why for _, why in decided], index=frame.index)
    )


def label_candidate(row: Any, settings: dict[str, Any]) -> tuple[str, str]:
    """Label a service that is not in containers.

    Parameters
    ----------
    row : namedtuple
        ``label_gates, p_top, readiness_lo, readiness_hi``.
    settings : dict
        ``move_p``, ``pilot_p`` [share 0-1], ``ready_points`` [points 0-100], ``k``.

    Returns
    -------
    label : str
        One of the labels for candidates.
    why : str
        The reason, in a sentence; empty where the gates are the reason.
    """
    bar, k = settings["ready_points"], settings["k"]
    if isinstance(row.label_gates, str):
        return row.label_gates, ""
    chance = f"in the top {k} in {row.p_top:.0%} of weightings"
    if row.p_top >= settings["move_p"] and row.readiness_lo >= bar:
        return "MOVE NOW", f"All gates clear, ready even at worst, and {chance}."
    if row.readiness_lo < bar <= row.readiness_hi:
        return "PILOT", f"Gates clear and {chance}, but readiness may lie below {bar}."
    if settings["pilot_p"] <= row.p_top < settings["move_p"]:
        return "PILOT", f"Gates clear, but only {chance}."
    if row.readiness_hi < bar:
        return "PREPARE", f"Readiness lies below {bar} even at best."
    return "HOLD", f"Ready, but others come first: {chance}."


def label_inside(row: Any, settings: dict[str, Any]) -> tuple[str, str]:
    """Label a service that already runs in containers.

    Parameters
    ----------
    row : namedtuple
        ``label_gates, readiness_lo``.
    settings : dict
        ``ready_points`` [points 0-100].

    Returns
    -------
    label : str
        KEEP, FIX, PULL BACK or NOT DECIDABLE.
    why : str
        The reason, in a sentence; empty where the gates are the reason.
    """
    if isinstance(row.label_gates, str):
        return GATED_INSIDE.get(row.label_gates, "FIX"), ""
    if row.readiness_lo < settings["ready_points"]:
        return "FIX", f"Readiness may lie below {settings['ready_points']}."
    return "KEEP", "All gates clear, and ready even at worst."


def budget(inventory: Inventory, policy: Policy) -> int:
    """Give the number of services that may move at once, from the fleet's own incidents.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        ``what_next.appetite`` [incidents] and ``what_next.months`` [months].

    Returns
    -------
    int
        Services; 0 without container experience or without an incident source.
    """
    incidents = inventory["incidents"]
    if not inventory.has("incidents"):
        return 0
    opened = incidents["opened_at"].min()
    days = (inventory.snapshot_at - opened).days if pd.notna(opened) else 0
    found, service_months = container_experience(
        inventory["services"], incidents, window_months=max(days, 0) / DAYS_PER_MONTH
    )
    settings = policy["what_next"]
    return exposure_budget(
        found, service_months, appetite=settings["appetite"], months=settings["months"]
    )


def _order(frame: pd.DataFrame) -> pd.Index:
    """Best first: by label, then chance, then readiness, then name."""
    label = frame["label"].map({name: i for i, name in enumerate(LABELS)})
    keys = pd.DataFrame(
        {"label": label, "p": -frame["p_top"].fillna(0), "r": -frame["readiness_lo"]}
    )
    return keys.assign(name=keys.index).sort_values(["label", "p", "r", "name"]).index


def _missing(readiness: Result) -> pd.DataFrame:
    """Facts to find out: those of the gates first."""
    gates = readiness.details["gates"]
    asked = gates.loc[gates["state"].eq("unknown"), ["service_id", "fact"]]
    both = pd.concat([asked, readiness.details["unknown"][["service_id", "fact"]]])
    return both.drop_duplicates(ignore_index=True)


def _flips(frame: pd.DataFrame, readiness: Result, policy: Policy) -> pd.DataFrame:
    """Smallest sets of checks that lift the lower bound of readiness over the bar."""
    bar = policy["what_next"]["ready_points"]
    stuck = frame.index[frame["label_gates"].isna() & (frame["readiness_lo"] < bar)]
    atoms = readiness.details["atoms"]
    atoms = atoms[atoms["service_id"].isin(stuck) & atoms["state"].ne("na")]
    rows = []
    for service_id, own in atoms.groupby("service_id", sort=True):
        rows += [
            {"service_id": service_id, "checks": list(fixes)}
            for fixes in smallest_fixes(own, policy["dimensions"], bar)
        ]
    return pd.DataFrame(rows, columns=["service_id", "checks"])
