"""One card per service: its label, the reason, the unknowns, and what would change it."""

import pandas as pd

from assess.errors import counted
from assess.figures import band_of
from assess.frames import Row
from assess.report.model import (
    Card,
    Column,
    Item,
    Part,
    Section,
    anchor,
    cell,
    in_words,
    picture_of,
)
from assess.score.assessment import Assessment

FULL = 200  # services with a full card; the cards of the others have only the reason
MOST = 1000  # services with a card; a browser would open ten thousand slowly
HEADINGS = {
    "fail": "Checks that fail",
    "partial": "Checks that pass in part",
    "unknown": "Checks that are unknown",
    "conflict": "Checks that are disputed",
}
STOPS = ("fail", "unknown")
LISTED = 6  # the explorer lists all
FULL_POINTS = 99.5  # is shown as 100


def cards(scores: Assessment) -> Section:
    """Return the section with a card for every service."""
    services = scores.services.reset_index()
    rows = services.head(MOST).to_dict("records")
    made = [card(row, scores, is_full=at < FULL) for at, row in enumerate(rows)]
    bar = scores.policy["what_next"]["ready_points"]
    text = (
        f"A service is ready when the lower bound of its interval reaches {bar} points and every "
        "gate passes. One failed gate is enough to stop a move, whatever the points."
    )
    if len(rows) > FULL:
        text += (
            f" The first {FULL} services of the ranking have full cards, the others one sentence; "
            "see `assess explain` for any of them."
        )
    if len(services) > MOST:
        text += (
            f" The page has cards of the first {MOST} of {len(services)} services; the explorer "
            "finds every service, and tables/ranking-table.csv lists them all."
        )
    many = counted(len(made), "service")
    deck = f"Cards of {many}: gates, checks, and what would change the label"
    parts: list[Part] = [picture_of("readiness", scores), *made]
    return Section("services", "Readiness by service", [text], parts, deck=deck)


def card(row: Row, scores: Assessment, *, is_full: bool = True) -> Card:
    """Return the card of one service."""
    service_id = row["service_id"]
    label = row["label"]
    line = [f"{in_words(row, 'readiness')} points", in_words(row, "owner")]
    lists = {"": [Item(row["why"])]}
    if is_full:
        reason, _, *others = facts(row, scores)
        barred, passed = _gates(service_id, scores)
        others += [
            f"With {' and '.join(flip['checks'])} fixed, it is {flip['label']}."
            for flip in scores.rows_of("flips", service_id)
        ]
        sentences = others if barred else [reason, *others]
        lists = {
            "": [Item(sentence) for sentence in sentences],
            f"Gates that do not pass ({passed} others pass)": barred,
            "Readiness by dimension, in points (the others: 100)": _dimensions(
                service_id, scores
            ),
            **_checks(service_id, scores),
        }
    band = band_of(label)
    return Card(anchor(service_id), service_id, label, band, line, lists, row["why"])


def _gates(service_id: str, scores: Assessment) -> tuple[list[Item], int]:
    """List gates that do not pass, with the reason or the fact to find out; count the others."""
    rows = scores.rows_of("gates", service_id)
    open_ = [gate for gate in rows if gate["state"] != "pass"]
    items = []
    for gate in open_:
        state = gate["state"]
        evidence = gate["evidence"]
        texts = {"unknown": f"find out {gate['fact']}", "waived": f"waived; {evidence}"}
        text = texts.get(state, f"{gate['label']}: {evidence}")
        items.append(Item(text, gate["gate"], band_of(state)))
    return items, len(rows) - len(open_)


def _dimensions(service_id: str, scores: Assessment) -> list[Item]:
    items = []
    for row in scores.rows_of("dimensions", service_id):
        if row["lo"] >= FULL_POINTS:
            continue
        ends = {"p": row["point"], "p_lo": row["lo"], "p_hi": row["hi"]}
        drawn = cell(ends, _POINTS)
        name = row["dimension"].replace("_", " ")
        items.append(Item(drawn.text, name, track=drawn.track))
    return items


_POINTS = Column("p", "Points", "interval", top=100)


def _checks(service_id: str, scores: Assessment) -> dict[str, list[Item]]:
    """List open checks by state: one heading per state instead of a word per check."""
    atoms = scores.rows_of("atoms", service_id)
    text_of = questions(scores)
    groups: dict[str, list[Item]] = {}
    for atom in atoms[:LISTED]:
        check = atom["check"]
        items = groups.setdefault(HEADINGS[atom["state"]], [])
        items.append(Item(f"{text_of[check]} ({check})"))
    rest = len(atoms) - LISTED
    if rest > 0:
        more = Item(f"and {rest} more: the explorer and `assess explain` list all")
        groups[list(groups)[-1]].append(more)
    return groups


def facts(row: Row, scores: Assessment) -> list[str]:
    """Describe the scores of a service in sentences."""
    settings = scores.policy["what_next"]
    sentences = [
        _reason(row, scores),
        f"Readiness {in_words(row, 'readiness')} of 100; the threshold is {settings['ready_points']}.",
    ]
    if not pd.isna(row["p_top"]):
        sentences.append(
            f"In the top {scores.what_next.k} in {in_words(row, 'p_top')} of weightings (worst "
            f"case), {in_words(row, 'p_top_neutral')} (neutral case)."
        )
    return [
        *sentences,
        f"A failure takes down {in_words(row, 'blast_impact')} of the fleet's criticality. "
        f"Single points of failure seen: {in_words(row, 'blast_exposure_n')} "
        f"(at most {in_words(row, 'blast_exposure_hi')}).",
        f"Upgrades cost {in_words(row, 'churn_hours_per_year')} hours per year.",
    ]


def _reason(row: Row, scores: Assessment) -> str:
    """Return the reason of the label; the table of gates has the reasons of gates."""
    gates = scores.rows_of("gates", row["service_id"])
    barring = [gate["gate"] for gate in gates if gate["state"] in STOPS]
    if barring:
        return f"Gates that do not pass: {', '.join(barring)}."
    return row["why"]


def questions(scores: Assessment) -> dict[str, str]:
    """Return the question of each check by its id."""
    return {
        check["id"]: check.get("question", check["id"])
        for check in scores.policy["check"]
    }
