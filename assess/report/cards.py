"""One card per service: its label, why, what is unknown, and what would change it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from assess.figures import BANDS, band_of
from assess.report.model import Card, Column, Item, Section, anchor, cell
from assess.report.pictures import Pictures
from assess.score.assessment import Assessment

READINESS = Column("readiness", "Readiness", "interval")
IMPACT = Column("blast_impact", "Blast radius", "interval", scale=100)
HOURS = Column("churn_hours_per_year", "Hours per year", "interval", 1)


FULL = 200  # services whose card has everything; the cards of others have their reason
WORDS = {
    "fail": "fails",
    "unknown": "unknown",
    "conflict": "disputed",
    "partial": "in part",
}
BAND_OF_STATE = {"fail": "blocked", "partial": "conditional", "waived": "conditional"}
STOPS = ("fail", "unknown")
LISTED = 15
FULL_POINTS = 99.5  # what is shown as 100


def cards(scores: Assessment, drawn: Pictures) -> Section:
    """Make a card for every service."""
    services = scores.services.reset_index()
    picture = drawn(
        "readiness",
        "Bar: from every unknown failed to every unknown passed. Point: unknowns as the rest of "
        "the fleet answers them. Dotted: the bar for ready.",
    )
    rows = services.to_dict("records")
    made = [card(row, scores, is_full=at < FULL) for at, row in enumerate(rows)]
    bar = scores.policy["what_next"]["ready_points"]
    text = (
        f"A service is ready when even the lower end of its interval reaches {bar} points and no "
        "gate stands in the way. One hard no is enough: no average buys it off."
    )
    if len(made) > FULL:
        text += (
            f" The first {FULL} of the ranking are told in full, the others in a sentence; "
            "`assess explain` tells of any."
        )
    return Section("services", "Readiness, service by service", [text], [picture, *made])


def card(row: dict[str, Any], scores: Assessment, *, is_full: bool = True) -> Card:
    """Make the card of one service."""
    service_id, label = str(row["service_id"]), str(row["label"])
    line = [
        f"{cell(row, READINESS).text} points",
        cell(row, Column("owner", "", absent="owner unknown")).text,
    ]
    lists = {"": [Item(str(row["why"]))]}
    if is_full:
        told = facts(row, scores)
        barred, passed = _gates(service_id, scores)
        lists = {
            "": [Item(fact) for fact in ([] if barred else told[:1]) + told[2:]],
            f"Gates that do not pass (the other {passed} do)": barred,
            "Readiness by dimension, in points (the others: 100)": _dimensions(
                service_id, scores
            ),
            "Checks that fail or are open": _checks(service_id, scores),
        }
    return Card(anchor(service_id), service_id, label, band_of(label), line, lists)


def _gates(service_id: str, scores: Assessment) -> tuple[list[Item], int]:
    """Say of the gates that do not pass why, or what to find out; count those that do."""
    rows = scores.rows_of("gates", service_id)
    open_ = [gate for gate in rows if gate["state"] != "pass"]
    items = []
    for gate in open_:
        state, evidence = gate["state"], gate["evidence"]
        told = {"unknown": f"find out {gate['fact']}", "waived": f"waived; {evidence}"}
        text = told.get(state, f"{gate['label']}: {evidence}")
        items.append(Item(text, gate["gate"], BANDS[BAND_OF_STATE.get(state, "unknown")]))
    return items, len(rows) - len(open_)


def _dimensions(service_id: str, scores: Assessment) -> list[Item]:
    items = []
    for row in scores.rows_of("dimensions", service_id):
        if row["lo"] >= FULL_POINTS:
            continue
        drawn = cell({"p": row["point"], "p_lo": row["lo"], "p_hi": row["hi"]}, _POINTS)
        items.append(
            Item(drawn.text, str(row["dimension"]).replace("_", " "), track=drawn.track)
        )
    return items


_POINTS = Column("p", "Points", "interval", top=100)


def _checks(service_id: str, scores: Assessment) -> list[Item]:
    atoms, said = scores.rows_of("atoms", service_id), questions(scores)
    items = []
    for atom in atoms[:LISTED]:
        check, state = atom["check"], atom["state"]
        band = BANDS[BAND_OF_STATE.get(state, "unknown")]
        items.append(Item(f"{said[check]} ({check})", WORDS[state], band))
    rest = len(atoms) - LISTED
    return [
        *items,
        *([Item(f"and {rest} more: `assess explain` lists all")] if rest > 0 else []),
    ]


def facts(row: dict[str, Any], scores: Assessment) -> list[str]:
    """Say in sentences what the scores say of a service."""
    service_id = str(row["service_id"])
    settings = scores.policy["what_next"]
    told = [
        _reason(row, scores),
        f"Readiness {cell(row, READINESS).text} of 100; the bar is {settings['ready_points']}.",
    ]
    chance = Column("p_top", "", "share"), Column("p_top_neutral", "", "share")
    worst, neutral = (cell(row, column).text for column in chance)
    if not pd.isna(row["p_top"]):
        told.append(
            f"In the top {settings['k']} in {worst} of all weightings with every unknown at its "
            f"worst, in {neutral} by the neutral run."
        )
    exposed = cell(row, Column("blast_exposure_n", "", "number")).text
    told.append(
        f"Takes down {cell(row, IMPACT).text} % of the fleet's criticality when it fails; "
        f"elements that can take it down alone: {exposed}."
    )
    told.append(f"Upgrades cost {cell(row, HOURS).text} hours per year.")
    flips = scores.rows_of("flips", service_id)
    if flips:
        ways = "; or ".join(" and ".join(map(str, flip["checks"])) for flip in flips)
        told.append(f"Would lift it over the bar: {ways}.")
    return told


def _reason(row: dict[str, Any], scores: Assessment) -> str:
    """Say why the label; what bars a gate is told once, in the table of gates."""
    gates = scores.rows_of("gates", str(row["service_id"]))
    barring = [gate["gate"] for gate in gates if gate["state"] in STOPS]
    if barring:
        return f"Gates in the way: {', '.join(barring)}."
    return str(row["why"])


def questions(scores: Assessment) -> dict[str, str]:
    """Give the question of each check by its id."""
    return {
        check["id"]: check.get("question", check["id"])
        for check in scores.policy["check"]
    }
