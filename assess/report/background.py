"""The sections behind the decision: unknowns, coverage, and method with policy, data and limits."""

from __future__ import annotations

import pandas as pd

from assess import reference
from assess.reference import STALE_DAYS
from assess.report.cards import questions
from assess.report.model import Column, Part, Section, Table
from assess.report.pictures import Pictures
from assess.score.assessment import Assessment

LIMITS = (
    "Reachability is an upper bound: not every caller of a failed service fails with it.",
    "A chance of being in the top is a share of weightings, not a probability of success.",
    "What no source saw is unknown. It widens intervals and never improves a place.",
    "The weights and bars are a policy, made by people; every result carries its hash.",
)


def unknowns(scores: Assessment) -> Section:
    """List what to find out before the meeting, what decides most first."""
    missing = scores.what_next.details["missing"]
    frame = scores.what_next.frame
    stuck = set(frame.index[frame["label"] == "NOT DECIDABLE"])
    owners = frame["owner"].dropna().to_dict()
    asked = missing.assign(
        owner=[owners.get(name, "owner unknown") for name in missing["service_id"]],
        decides=missing["service_id"].isin(stuck),
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
        services=("service_id", lambda ids: _some(sorted(ids))),
        owners=("owner", lambda names: _some(sorted(set(names)))),
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
        Column("turns_n", "Labels it can turn", "number"),
        Column("owners", "Ask"),
        Column("services", "For"),
    ]
    text = (
        "First what keeps services from being decided at all, then what alone can turn a label, "
        "then what most services lack."
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


def _turning(scores: Assessment) -> pd.Series:
    """Count by fact the services whose label hangs on it alone."""
    worth = scores.what_next.details["information"]
    turns = worth[worth["decides"].astype("boolean").fillna(False)]
    return turns.groupby("fact")["service_id"].nunique()


def _some(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def coverage(scores: Assessment, drawn: Pictures) -> Section:
    """Say what each source was asked for, what it gave, and how old it is."""
    inventory = scores.inventory
    calls = inventory["coverage"]
    gaps = calls[~calls["status"].isin(["ok", "empty"])].sort_values(
        ["source", "scope", "call"], kind="stable"
    )
    columns = [
        Column("source", "Source"),
        Column("scope", "Asked of"),
        Column("call", "Call"),
        Column("status", "Outcome"),
        Column("ratio", "Of what was expected", "share"),
        Column("hint", "What to do"),
    ]
    gaps = gaps.assign(hint=gaps["hint"].astype(object).fillna("–"))
    missing = [name for name in inventory if name not in inventory.present]
    warnings = (
        [f"Not supplied at all, and so unknown: {', '.join(missing)}."] if missing else []
    )
    parts: list[Part] = [
        drawn("coverage", "Denied, late and absent are all shown."),
        Table(
            "gaps",
            "Calls that did not give all",
            columns,
            gaps,
            limit=40,
            empty="Every recorded call gave all it was asked for.",
        ),
    ]
    text = "What was not seen is not empty. These are the places where the collection came back short."
    return Section(
        "coverage", "Coverage by source", [text], parts, [*warnings, *stale(scores)]
    )


def stale(scores: Assessment) -> list[str]:
    """Say which facts are too old to lean on."""
    at, told = scores.inventory.snapshot_at, []
    if aged := reference.outdated(at):
        told.append(
            f"The reference facts date from {reference.compiled_on(*aged)}, more than "
            f"{STALE_DAYS} days before the snapshot: what is newer is missing in "
            f"{'all tables' if len(aged) == len(reference.tables()) else ', '.join(aged)}."
        )
    hosts = scores.inventory["hosts"]
    old = hosts[(hosts["facts_age_hours"] > 24 * STALE_DAYS).fillna(False)]
    if len(old):
        told.append(
            f"The facts of {len(old)} of {len(hosts)} hosts are older than {STALE_DAYS} days."
        )
    atoms = scores.readiness.details["atoms"]
    aged = atoms[((at - atoms["observed_at"]).dt.days > STALE_DAYS).fillna(False)]
    if len(aged):
        told.append(
            f"{len(aged)} answers to checks were observed more than {STALE_DAYS} days ago."
        )
    return told


def method(scores: Assessment) -> Section:
    """Say how the numbers came about, by which policy, on which data, and where they end."""
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
    data["supplied"] = data["supplied"].map({True: "yes", False: "no"})
    said = questions(scores)
    text = [
        "Gates are asked before any score. Readiness is the weighted geometric mean of its "
        f"dimensions, from {len(said)} checks; its ends take every unknown as failed and as "
        "passed. Blast radius fails one element at a time and follows the dependencies. "
        "Upgrade churn multiplies how often a line ends by what an upgrade costs here.",
        f"The ranking draws {policy.draws:,} weightings uniformly (seed {policy.seed}) and counts.",
        *LIMITS,
    ]
    parts: list[Part] = [
        Table("weights", "Weights of readiness", weights[0], weights[1], is_folded=True),
        Table(
            "gates",
            "Gates, in the order in which they are asked",
            _GATES,
            gates,
            is_folded=True,
        ),
        Table(
            "edges",
            "Probability that a caller goes down with what it calls",
            _EDGES,
            edges,
            is_folded=True,
        ),
        Table("data", "What the snapshot holds", _DATA, data, is_folded=True),
    ]
    return Section("method", "Method, policy, data, limits", text, parts)


_GATES = [
    Column("id", "Gate"),
    Column("title", "Stops"),
    Column("label", "Gives", "label"),
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
