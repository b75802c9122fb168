"""The sections that a meeting goes through: decision, ranking, blast radius, churn."""

from __future__ import annotations

import pandas as pd

from assess import figures
from assess.report.model import Column, Part, Section, Table
from assess.report.pictures import Pictures, kinds_shown
from assess.score.assessment import Assessment
from assess.words import sentence_list, share

NAME = Column("service_id", "Service", "name")
LABEL = Column("label", "Label", "label")
OWNER = Column("owner", "Owner")
IMPACT = Column("impact", "Blast radius (% of criticality)", "interval", 0, 100, 100)
READINESS = Column("readiness", "Readiness (points)", "interval", top=100)


def decision(scores: Assessment) -> Section:
    """Say which services come next, one line each."""
    frame = scores.what_next.frame.reset_index()
    settings = scores.policy["what_next"]
    k = settings["k"]
    competing = frame[frame["p_top"].notna()]
    listed = competing[competing["label"].isin(["MOVE NOW", "PILOT", "PREPARE"])]
    inside = frame[frame["label"].isin(["FIX", "PULL BACK"])]
    columns = [
        LABEL,
        NAME,
        Column("p_top", f"In the top {k}, at worst", "share"),
        Column("p_top_neutral", "Neutral", "share"),
        Column("wave", "Wave", "number", absent="–"),
        OWNER,
        Column("why", "Why"),
    ]
    tables = [
        Table(
            "short-list",
            "The short list, best first",
            columns,
            listed,
            f"“In the top {k}, at worst” is the share of all weightings of the criteria in which "
            f"the service is among the best {k} although every unknown counts at its worst and "
            "every open gate bars it. “Neutral” draws measurements from their intervals and leaves "
            "gates aside, except NEVER. “Wave” is the order that dependencies and the exposure "
            "budget allow; a dash fits into none yet.",
            "No candidate is fit to move, to pilot or to prepare; the ranking says what bars each.",
        )
    ]
    if len(inside):
        tables.append(
            Table(
                "already-inside",
                "Already in containers, and in need of work",
                [LABEL, NAME, READINESS, OWNER, Column("why", "Why")],
                inside,
            )
        )
    return Section("decision", "Decision", _verdict(scores, competing), tables)


def _verdict(scores: Assessment, competing: pd.DataFrame) -> list[str]:
    """Word the answer, and how far it can be trusted."""
    if scores.what_next.frame.empty:
        return ["A snapshot needs at least the services, or workloads that name them."]
    settings = scores.policy["what_next"]
    told = [
        f"{row.service_id} is among the best {settings['k']} in {share(row.p_top)} of all weightings "
        "of the criteria, with every unknown at its worst."
        for row in competing.head(1).itertuples()
        if row.p_top > 0
    ]
    period = f"{settings['appetite']:g} incidents in {settings['months']} months"
    room = scores.what_next.budget
    told += [
        scores.what_next.headline,
        f"Exposure budget: {room} {'service' if room == 1 else 'services'} at once, by the "
        f"incidents of what runs in containers already and an appetite for {period}.",
    ]
    open_n = int((competing["label"] == "NOT DECIDABLE").sum())
    if open_n:
        told.append(
            f"{open_n} of {len(competing)} candidates cannot be decided on what was collected: "
            "an unknown gate never passes. “Unknowns” below lists what to find out."
        )
    return told


def headline(scores: Assessment) -> str:
    """Give the one sentence that a meeting starts with."""
    frame = scores.what_next.frame
    if frame.empty:
        return "Nothing to decide: the snapshot holds no services."
    first = frame[(frame["wave"] == 1).fillna(False)]
    movers, pilots = (
        first.index[first["label"] == label] for label in ("MOVE NOW", "PILOT")
    )
    waiting = frame.index[frame["label"].isin(["MOVE NOW", "PILOT"])]
    if len(movers):
        return f"Move {_listing(movers)} next."
    if len(pilots):
        return f"Move nothing yet; pilot {_listing(pilots)}."
    if len(waiting):
        return (
            f"Move nothing yet: the exposure budget has no room for {_listing(waiting)}."
        )
    return "Move nothing this quarter: no candidate stands the test."


def _listing(names: pd.Index) -> str:
    return sentence_list(map(figures.short, names), most=3)


def ranking(scores: Assessment, drawn: Pictures) -> Section:
    """Rank all services."""
    settings, frame = scores.policy["what_next"], scores.what_next.frame.reset_index()
    k, draws = settings["k"], scores.policy.draws
    caption = (
        "Filled: every unknown counts at its worst, and only services with clear gates compete. "
        "Hollow: neutral, measurements drawn from their intervals, all but NEVER compete. Between "
        "them lies what better evidence and open gates decide. Dotted: the bars for PILOT and "
        f"MOVE NOW. {draws:,} weightings, seed {scores.policy.seed}."
    )
    columns = [
        NAME,
        LABEL,
        Column("p_first", "First", "share", absent="–"),
        Column("p_top", f"Top {k}, at worst", "share", absent="–"),
        Column("p_top_neutral", f"Top {k}, neutral", "share", absent="–"),
        Column("rank_expected", "Mean rank", "number", 1, absent="–"),
        READINESS,
        Column("platform", "Runs on"),
        OWNER,
    ]
    text = (
        "No weighting of the criteria is the right one, so all of them are tried: the share of "
        "weightings in which a service comes out on top says how robust its place is. What runs "
        "in containers already does not compete."
    )
    parts: list[Part] = [
        drawn("what-next", caption),
        Table("ranking-table", "All services, best first", columns, frame),
        drawn(
            "acceptability",
            "How often each candidate takes each rank, with every unknown at its worst. One dark "
            "field in a row: no debate about weights moves that service. A long pale row: only the "
            "weights decide.",
        ),
        *_boards(scores),
    ]
    return Section("ranking", "Ranking", [text], parts)


def _boards(scores: Assessment) -> list[Part]:
    """Rank once more for each board that the policy names: who decides, and what it changes."""
    boards = {
        board["id"]: board.get("title", board["id"]) for board in scores.policy["board"]
    }
    told, frame = scores.what_next.details["boards"], scores.what_next.frame
    if not boards or told.empty:
        return []
    labels = told.pivot(index="service_id", columns="board", values="label")
    labels = frame[["label"]].rename(columns={"label": "any"}).join(labels)
    differ = labels.ne(labels["any"], axis=0).any(axis=1)
    columns = [NAME, Column("any", "By all weightings", "label")]
    columns += [Column(board, title, "label") for board, title in boards.items()]
    return [
        Table(
            "boards",
            "Services whose label hangs on who decides",
            columns,
            labels[differ].rename_axis("service_id").reset_index(),
            f"Each board weighs as the policy says. The other {int((~differ).sum())} services have "
            "the same label for every board.",
            "Every board comes to the same label for every service.",
            is_folded=True,
        )
    ]


def blast_radius(scores: Assessment, drawn: Pictures) -> Section:
    """Say what goes down with what."""
    blast = scores.blast_radius
    elements = figures.blast_radius_data(blast)[
        ["element_kind", "element", "label"]
    ].merge(blast.frame.reset_index(), on=["element_kind", "element"], how="left")
    elements = elements[elements["element_kind"].isin(kinds_shown(scores))]
    services = blast.details["services"].rename_axis("service_id").reset_index()
    order = figures.blast_services_data(blast)["service_id"]
    services = services.set_index("service_id").reindex(order).reset_index()
    unseen = int(
        (~services["dependencies_observed"].astype("boolean").fillna(False)).sum()
    )
    warnings = []
    if unseen:
        warnings.append(
            f"No source ever observed the dependencies of {unseen} of {len(services)} services. "
            "That is unknown, not safe: their upper ends are widened."
        )
    text = (
        "Share of the fleet's criticality that can be reached when an element fails. It is an "
        "upper bound on what is hit: a caller that copes without is counted as down."
    )
    reading = (
        "Bar: lowest to highest over every uncertain dependency. Point: the policy's own."
    )
    hollow = f"{reading} Hollow: no source ever observed its dependencies."
    parts: list[Part] = [
        drawn("blast-elements", reading),
        Table(
            "elements",
            "Elements, worst first",
            _ELEMENTS,
            elements,
            limit=60,
            is_folded=True,
        ),
        drawn("blast-services", hollow),
        Table(
            "service-blast",
            "Services, worst first",
            _SERVICES,
            services,
            _SERVICES_NOTE,
            limit=60,
            is_folded=True,
        ),
    ]
    return Section("blast-radius", "Blast radius", [text], parts, warnings)


_ELEMENTS = [
    Column("label", "Element"),
    IMPACT,
    Column("services_down_n", "Services down", "number"),
    Column("frozen_n", "Services frozen", "number"),
]
_SERVICES = [
    NAME,
    IMPACT,
    Column("exposure_n", "Single points of failure", "number"),
    Column("minutes", "Minutes to heal", "number"),
    Column("minutes_basis", "From"),
    Column("expected_minutes_per_year", "Minutes of outage per year", "interval"),
    Column("delta", "Change by the move (% points)", "interval", 1, 100, is_signed=True),
]
_SERVICES_NOTE = (
    "Change by the move: blast radius of the service and its hosts after the move less before; "
    "below zero is containment gained."
)


def upgrade_churn(scores: Assessment, drawn: Pictures) -> Section:
    """Say what upgrades cost, and how long what runs is supported."""
    churn = scores.upgrade_churn
    order = figures.upgrade_churn_data(churn)["service_id"]
    frame = churn.frame.reindex(order).reset_index()
    breaking = churn.details["breaking"]
    text = (
        "Work that upgrades force, whether wanted or not: how often a line ends, how often an "
        "upgrade of this fleet failed within a week, and what either costs in hours."
    )
    parts: list[Part] = [
        drawn("upgrade-churn", "Bar: interval. Point: expected."),
        Table(
            "churn-table",
            "Services, most work first",
            _CHURN,
            frame,
            limit=60,
            is_folded=True,
        ),
        drawn("clocks", "Hatched: no announced end, which is unknown."),
        Table(
            "breaking",
            "Changes on the way to the target that hit something in use",
            _BREAKING,
            breaking,
            empty="No change on the way to the target hits anything that was seen in use.",
            limit=60,
            is_folded=True,
        ),
    ]
    return Section("upgrade-churn", "Upgrade churn and clocks", [text], parts)


_BREAKING = [
    NAME,
    Column("host_id", "Host"),
    Column("change_id", "Change"),
    Column("version", "From engine"),
    Column("why", "Why"),
]
_CHURN = [
    NAME,
    Column("hours_per_year", "Hours per year", "interval", 1),
    Column("hours_undivided", "Undivided hours", "number", 1),
    Column("events_per_year", "Upgrades per year", "interval", 1),
    Column("failures_per_year", "Failures per year", "interval", 2),
    Column("days_to_eol", "Days to the next end of life", "number"),
    Column("breaking_n", "Breaking changes", "number"),
]
