"""The decision record of one service: one page for an architecture review meeting."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from assess.figures import band_of
from assess.report import cards
from assess.report.changes import changed_checks
from assess.report.model import Column, Table, cell
from assess.report.render import document
from assess.report.scores import Scores

_KEPT = re.compile(r"<!-- keep: ([a-z-]+) -->\n.*?<!-- end: \1 -->", re.DOTALL)
SHOWN = 12


def decision_record(
    service_id: str, scores: Scores, *, earlier: Scores | None = None, existing: str = ""
) -> str:
    """Write the decision record of a service; what people wrote into the existing one is kept."""
    scores.ranking.row(service_id)
    row = {**scores.services.loc[service_id].to_dict(), "service_id": service_id}
    at = scores.provenance
    gates = cards.gates(service_id, scores)
    told = document(
        "record.md",
        {
            "service_id": service_id,
            "quarter": at.quarter,
            "origin": f"policy {at.policy_hash}, reference facts of {at.reference_date}",
            "label": row["label"],
            "band": band_of(row["label"]),
            "before_waivers": _before_waivers(service_id, scores),
            "context": _context(row, scores),
            "gates_note": gates.note,
            "gates": gates,
            "criteria": _criteria(service_id, scores),
            "dimensions": cards.dimensions(service_id, scores),
            "options": _options(row, scores),
            "why": row["why"],
            "consequences": _consequences(row, scores),
            "unknown": _unknown(service_id, scores),
            "changes": _changes(service_id, scores),
            "before": earlier.provenance.quarter if earlier else "",
            "since": _since(service_id, scores, earlier) if earlier else [],
        },
    )
    return keep(told, existing)


def keep(told: str, existing: str) -> str:
    """Carry over what people wrote into an earlier record; what has no place now comes last."""
    blocks = {match[1]: match[0] for match in _KEPT.finditer(existing)}
    merged = _KEPT.sub(lambda match: blocks.pop(match[1], match[0]), told)
    return "\n".join([merged, *(f"{block}\n" for block in blocks.values())])


def _before_waivers(service_id: str, scores: Scores) -> str:
    """Say what the gates give without the waivers, where that differs."""
    frame = scores.readiness.frame.loc[service_id]
    before, after = (frame.get(name) for name in ("label_before_waivers", "label_gates"))
    if not isinstance(before, str) or before == after:
        return ""
    return f", by a waiver; without it the gates say {before}"


def _context(row: dict[str, Any], scores: Scores) -> list[str]:
    services = scores.inventory["services"]
    told = services[services["service_id"] == row["service_id"]].iloc[0]
    words = ("kind", "env", "tier", "platform", "owner", "lifecycle")
    known = [f"{w} {'unknown' if pd.isna(told[w]) else told[w]}" for w in words]
    return [f"What it is: {', '.join(known)}.", *cards.facts(row, scores)[1:5]]


def _criteria(service_id: str, scores: Scores) -> Table:
    frame = scores.own("criteria", service_id)
    frame = frame.rename(columns={"lo": "point_lo", "hi": "point_hi"})
    frame = frame.assign(criterion=frame["criterion"].str.replace("_", " "))
    columns = [Column("criterion", "Criterion"), Column("point", "Points", "interval", scale=100)]
    return Table("criteria", "Criteria of the ranking", columns, frame)


def _options(row: dict[str, Any], scores: Scores) -> list[tuple[str, str]]:
    target = scores.policy["target"]
    engine = f"{target['runtime']} {target['engine'] or '(newest known line)'}"
    moved = cell(row, _DELTA).text
    pain = cell(row, _MINUTES).text
    days = cell(row, Column("churn_days_to_eol", "", "number", absent="an unknown number of")).text
    return [
        (
            "Move it now.",
            f"To {engine} under {target['orchestrator']}, on {target['landing']}, with at least "
            f"{target['replicas']} replicas; blast radius changes by {moved} percentage points.",
        ),
        ("Prepare first.", "Close the gates and checks named below, then decide again."),
        (
            "Leave it where it is.",
            f"Expected outage {pain} minutes per year; next end of life in {days} days.",
        ),
    ]


_DELTA = Column("blast_delta", "", "interval", 1, 100, is_signed=True)
_MINUTES = Column("blast_expected_minutes_per_year", "", "interval")
_FAILURES = Column("churn_failures_per_year", "", "interval", 2)


def _consequences(row: dict[str, Any], scores: Scores) -> list[str]:
    breaking = scores.own("breaking", row["service_id"])
    hits = breaking[["change_id", "why"]].drop_duplicates().head(SHOWN)
    return [
        f"Blast radius of the service changes by {cell(row, _DELTA).text} percentage points; below "
        "zero is containment gained.",
        f"Upgrades: {cell(row, cards.HOURS).text} hours and {cell(row, _FAILURES).text} failures "
        "per year.",
        *(f"Breaks on the way there: {hit.change_id}, {hit.why}." for hit in hits.itertuples()),
    ]  # fmt: skip


def _unknown(service_id: str, scores: Scores) -> list[str]:
    facts = [str(fact) for fact in scores.own("missing", service_id)["fact"]]
    rest = len(facts) - SHOWN
    return [*facts[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])]


def _changes(service_id: str, scores: Scores) -> list[str]:
    """Give remedies of the gates that stand in the way, then the smallest sets of checks."""
    told = scores.own("gates", service_id)
    stops = told[told["state"].isin(["fail", "unknown"])]
    remedies = {gate["id"]: gate.get("remedy", "") for gate in scores.policy["gate"]}
    checks = {check["id"]: check.get("remedy", check["id"]) for check in scores.policy["check"]}
    lines = [
        f"{gate.gate}: "
        + (remedies[gate.gate] if gate.state == "fail" else f"find out {gate.fact}.")
        for gate in stops.itertuples()
    ]
    for fixes in scores.own("flips", service_id)["checks"]:
        steps = " ".join(f"{checks.get(check, check)} ({check})" for check in fixes)
        lines.append(f"Enough together: {steps}")
    return lines


def _since(service_id: str, scores: Scores, earlier: Scores) -> list[str]:
    if service_id not in earlier.ranking.frame.index:
        return ["New in the inventory."]
    before, after = (s.ranking.frame.loc[service_id, "label"] for s in (earlier, scores))
    changed = changed_checks(scores, earlier)
    changed = changed[changed["service_id"] == service_id]
    label = f"Label: {before}, and still." if before == after else f"Label: {before}, now {after}."
    lines = [f"{c.check}: {c.before}, now {c.after} ({c.kind})." for c in changed.itertuples()]
    return [label, *(lines or ["No answer to a check changed."])]
