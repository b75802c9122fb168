"""Sections behind the decision: unknowns, coverage, and method with policy, data and limits."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from assess import reference
from assess.reference import STALE_DAYS
from assess.report.cards import questions
from assess.report.model import Column, Part, Section, Table
from assess.report.pictures import Pictures
from assess.score.assessment import Assessment
from assess.words import sentence_list, word

NAMED = 4
LIMITS = (
    "Blast radius is an upper bound: not every caller of a failed service fails with it.",
    "A share of weightings is not a probability of success.",
    "What no source saw is unknown. It widens intervals and never improves a rank.",
    "People set the weights and thresholds in a policy; every result carries its hash.",
)


def unknowns(scores: Assessment) -> Section:
    """List the facts to find out before the meeting, the most decisive first."""
    missing = scores.what_next.details["missing"]
    frame = scores.what_next.frame
    undecidable = set(frame.index[frame["label"] == "NOT DECIDABLE"])
    owners = frame["owner"].dropna().to_dict()
    asked = missing.assign(
        owner=[owners.get(name, "owner unknown") for name in missing["service_id"]],
        decides=missing["service_id"].isin(undecidable),
    )
    gated = scores.readiness.details["gates"].query("state == 'unknown'")
    pairs = pd.MultiIndex.from_frame(gated[["service_id", "fact"]])
    asked["decides"] &= pd.MultiIndex.from_frame(asked[["service_id", "fact"]]).isin(
        pairs
    )
    grouped = asked.groupby("fact", sort=True)
    table = grouped.agg(
        services_n=("service_id", "nunique"),
        decides_n=("decides", "sum"),
        services=("service_id", _cell_list),
        owners=("owner", lambda names: _cell_list(set(names))),
    ).reset_index()
    table["turns_n"] = table["fact"].map(_turning(scores)).fillna(0).astype("Int64")
    table = table.sort_values(
        ["decides_n", "turns_n", "services_n", "fact"],
        ascending=[False, False, False, True],
        kind="stable",
    )
    columns = [
        Column("fact", "Fact to find out"),
        Column("services_n", "Services", "number"),
        Column("decides_n", "Not decidable without it", "number"),
        Column("turns_n", "Labels it can change", "number"),
        Column("owners", "Ask"),
        Column("services", "For"),
    ]
    text = (
        "In this order: facts without which a service cannot be decided, facts that can change a "
        "label on their own, facts that most services lack."
    )
    shown = Table(
        "unknown-facts",
        "Facts to find out",
        columns,
        table,
        empty="Everything is known.",
        limit=20,
    )
    return Section(
        "unknowns", "Unknowns: what to find out before the meeting", [text], [shown]
    )


def _cell_list(names: Iterable[str]) -> str:
    """Write the first names for a cell, where commas are enough."""
    return sentence_list(sorted(names), most=NAMED, last=", ")


def _turning(scores: Assessment) -> pd.Series:
    """Count by fact the services whose label it can change on its own."""
    worth = scores.what_next.details["information"]
    turns = worth[worth["decides"].astype("boolean").fillna(False)]
    return turns.groupby("fact")["service_id"].nunique()


def coverage(scores: Assessment, pictures: Pictures) -> Section:
    """Show the outcome of each call to a source, and the age of the answers."""
    inventory = scores.inventory
    calls = inventory["coverage"]
    gaps = calls[~calls["status"].isin(["ok", "empty"])].sort_values(
        ["source", "scope", "call"], kind="stable"
    )
    columns = [
        Column("source", "Source"),
        Column("scope", "Scope"),
        Column("call", "Call"),
        Column("status", "Outcome"),
        Column("ratio", "Answered", "share"),
        Column("hint", "What to do"),
    ]
    gaps = gaps.assign(hint=gaps["hint"].astype(object).fillna("–"))
    missing = [name for name in inventory if name not in inventory.present]
    warnings = (
        [f"Not supplied at all, and so unknown: {', '.join(missing)}."] if missing else []
    )
    parts: list[Part] = [
        pictures("coverage", "Denied, timed-out and absent calls are shown too."),
        Table(
            "gaps",
            "Incomplete calls",
            columns,
            gaps,
            limit=40,
            empty="Every recorded call was answered in full.",
        ),
    ]
    text = "A call that failed does not mean that there is nothing. These calls were incomplete."
    return Section(
        "coverage", "Coverage by source", [text], parts, [*warnings, *stale(scores)]
    )


def stale(scores: Assessment) -> list[str]:
    """List the facts that are too old to rely on."""
    at = scores.inventory.snapshot_at
    warnings = []
    if aged := reference.outdated(at):
        warnings.append(
            f"The reference facts date from {reference.compiled_on(*aged)}, more than "
            f"{STALE_DAYS} days before the snapshot. Newer facts are missing in "
            f"{'all tables' if len(aged) == len(reference.tables()) else ', '.join(aged)}."
        )
    hosts = scores.inventory["hosts"]
    old = hosts[(hosts["facts_age_hours"] > 24 * STALE_DAYS).fillna(False)]
    if len(old):
        warnings.append(
            f"The facts of {len(old)} of {len(hosts)} hosts are older than {STALE_DAYS} days."
        )
    atoms = scores.readiness.details["atoms"]
    aged = atoms[((at - atoms["observed_at"]).dt.days > STALE_DAYS).fillna(False)]
    if len(aged):
        warnings.append(
            f"{len(aged)} answers to checks are more than {STALE_DAYS} days old."
        )
    return warnings


def method(scores: Assessment) -> Section:
    """Describe the method, the policy, the data, and their limits."""
    policy = scores.policy
    weights = _records(policy["dimensions"], "Dimension of readiness")
    edges = pd.DataFrame(
        [
            {"kind": kind, "p": edge["p"], "p_lo": edge["lo"], "p_hi": edge["hi"]}
            for kind, edge in policy["edges"].items()
        ]
    )
    gates = pd.DataFrame(policy["gate"]).reindex(
        columns=["id", "title", "label", "remedy"]
    )
    data = scores.inventory.summary().reset_index()
    data["supplied"] = data["supplied"].map(word)
    text = [
        "Gates are checked before any score. Readiness is the weighted geometric mean of its "
        f"dimensions, from {len(questions(scores))} checks; its bounds count every unknown as "
        "failed and as passed. Blast radius fails one element at a time and follows the "
        "dependencies. Upgrade churn multiplies the upgrades per year by their cost in hours.",
        f"The ranking uses {policy.draws:,} weightings drawn uniformly (seed {policy.seed}).",
        *LIMITS,
    ]
    parts: list[Part] = [
        Table("weights", "Weights of readiness", weights[0], weights[1], is_folded=True),
        Table(
            "gates",
            "Gates, in order",
            _GATES,
            gates,
            is_folded=True,
        ),
        Table(
            "edges",
            "Probability that a caller fails with the service that it calls",
            _EDGES,
            edges,
            is_folded=True,
        ),
        Table("data", "Contents of the snapshot", _DATA, data, is_folded=True),
    ]
    return Section("method", "Method, policy, data, limits", text, parts)


_GATES = [
    Column("id", "Gate"),
    Column("title", "Checks"),
    Column("label", "Label", "label"),
    Column("remedy", "Remedy"),
]
_EDGES = [Column("kind", "Kind of dependency"), Column("p", "Probability", "interval", 1)]
_DATA = [
    Column("frame", "Frame"),
    Column("rows", "Rows", "number"),
    Column("known_share", "Known cells", "share"),
    Column("supplied", "Supplied"),
]


def _records(values: dict[str, float], title: str) -> tuple[list[Column], pd.DataFrame]:
    columns = [Column("name", title), Column("value", "Weight", "number", 2)]
    return columns, pd.DataFrame(list(values.items()), columns=["name", "value"])
