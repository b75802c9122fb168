"""The first screen: moves, reasons, risks, changes, and unknown facts."""

from collections.abc import Iterator

import pandas as pd

from assess import figures
from assess.errors import AssessError
from assess.frames import surely
from assess.report import cards
from assess.report.background import incomplete, unknown_facts, unsupplied
from assess.report.changes import crossed, label_changes
from assess.report.model import Column, Fact, cell, kinds_shown
from assess.score.assessment import Assessment
from assess.score.what_next.labels import INSIDE
from assess.words import element_labels, sentence_list, share

MOVES = ("MOVE NOW", "PILOT")
NAMED = 3  # services named in a sentence
_FAILURES = Column("churn_failures_per_year", "", "interval", 1)
_DELTA = Column("blast_delta", "", "interval", 1, 100, is_signed=True)
_IMPACT = Column("blast_impact", "", "interval", 1, 100)
_LOST = Column("impact", "", "interval", 0, 100)


def headline(scores: Assessment) -> str:
    """Return the decision in one sentence."""
    frame = scores.what_next.frame
    if frame.empty:
        return "Nothing to decide: the snapshot has no services."
    first = _first_wave(frame)
    movers = first.index[first["label"] == "MOVE NOW"]
    if len(movers):
        return f"Move {_listing(movers)} next."
    if len(first):
        return f"Move nothing yet; pilot {_listing(first.index)}."
    waiting = frame.index[frame["label"].isin(MOVES)]
    if len(waiting):
        return (
            f"Move nothing yet: the exposure budget has no room for {_listing(waiting)}."
        )
    return nothing_moves(frame["label"])


def nothing_moves(labels: pd.Series) -> str:
    """Return the reason why nothing moves: one of four, each with other work to do."""
    candidates = labels[~labels.isin(INSIDE)]
    if candidates.empty:
        return "Nothing is left to move: every service runs in containers."
    if candidates.eq("NEVER").all():
        return f"No candidates: none of the {len(candidates)} services outside containers may move."
    if candidates.isin(["NOT DECIDABLE", "NEVER"]).all():
        return "Move nothing yet: too little is known about every candidate."
    return "Move nothing this quarter: gates or low readiness block every candidate."


def answers(scores: Assessment, earlier: Assessment | None) -> list[Fact]:
    """Return the answers to the questions of a decision meeting."""
    if scores.what_next.frame.empty:
        nothing = "The snapshot needs a services frame, or workloads that name services."
        return [Fact("Why", nothing, "coverage")]
    since = f"Changed since {earlier.provenance.quarter}" if earlier else "Changed"
    return [
        Fact("Why", " ".join(_reasons(scores)), "ranking"),
        Fact("What could go wrong", " ".join(_risks(scores)), "blast-radius"),
        Fact(since, " ".join(_changes(scores, earlier)), "changes"),
        Fact("What nobody knows", " ".join(_gaps(scores)), "unknowns"),
    ]


def _first_wave(frame: pd.DataFrame) -> pd.DataFrame:
    in_wave = surely(frame["wave"] == 1)
    return frame[in_wave & frame["label"].isin(MOVES)]


def _listing(names: pd.Index) -> str:
    return sentence_list(map(figures.short, names), most=NAMED)


def _reasons(scores: Assessment) -> Iterator[str]:
    """Yield why these services come first, and how many may move at a time."""
    ranked = scores.what_next
    for row in _first_wave(ranked.frame).head(NAMED).itertuples():
        yield (
            f"{figures.short(row.Index)} is among the best {ranked.k} in {share(row.p_top)} of "
            "all weightings of the criteria, with every unknown counted against it."
        )
    yield _most_often_first(scores)
    settings = scores.policy["what_next"]
    period = f"{settings['appetite']:g} incidents in {settings['months']} months"
    noun = "service" if ranked.budget == 1 else "services"
    yield (
        f"Exposure budget: {ranked.budget} {noun} at a time, from the incidents of services in "
        f"containers and a risk appetite of {period}."
    )


def _most_often_first(scores: Assessment) -> str:
    """Name the service that most weightings rank first, and its wave if that is a later one."""
    ranked = scores.what_next
    frame = ranked.frame[ranked.frame["p_first"] > 0]
    if frame.empty:
        return ranked.headline
    wave = frame.loc[frame["p_first"].idxmax(), "wave"]
    if pd.isna(wave) or wave == 1:
        return ranked.headline
    return f"{ranked.headline.rstrip('.')}; its turn is wave {wave}."


def _risks(scores: Assessment) -> Iterator[str]:
    first = _first_wave(scores.what_next.frame).head(1)
    rows = scores.services.loc[first.index].reset_index().to_dict("records")
    for row in rows:
        name = figures.short(row["service_id"])
        yield (
            f"If {name} fails, {cell(row, _IMPACT).text}% of the fleet's criticality goes down; "
            f"the move changes that by {cell(row, _DELTA).text} percentage points."
        )
        yield (
            f"Its upgrades take {cell(row, cards.HOURS).text} hours and fail "
            f"{cell(row, _FAILURES).text} times a year."
        )
    kinds = kinds_shown(scores)
    elements = scores.blast_radius.frame.loc[kinds] if kinds else pd.DataFrame()
    if len(elements):
        worst = elements.sort_values("impact", ascending=False, kind="stable").head(1)
        row = worst.reset_index()
        (name,) = element_labels(row["element_kind"], row["element"])
        lost = cell(row.iloc[0].to_dict(), _LOST).text
        yield f"The largest single failure: {figures.short(name)}, {lost}%."


def _changes(scores: Assessment, earlier: Assessment | None) -> Iterator[str]:
    if earlier is None:
        yield "There is only one snapshot. Add --previous to see what changed."
        return
    moved = crossed(scores, earlier)
    for way, names in moved.items():
        yield f"{way} containers: {_listing(names) or 'no service'}."
    table = label_changes(scores, earlier)
    new_n = int(table["before"].eq("not there").sum())
    gone_n = int(table["after"].eq("gone").sum())
    counts = {
        "labels changed": len(table) - new_n - gone_n,
        "services are new": new_n,
        "are gone": gone_n,
    }
    told = [f"{n} {words}" for words, n in counts.items() if n]
    yield f"{', '.join(told) or 'No label changed'}."


def _gaps(scores: Assessment) -> Iterator[str]:
    frame = scores.what_next.frame
    competing = frame[frame["p_top"].notna()]
    open_n = int((competing["label"] == "NOT DECIDABLE").sum())
    if open_n:
        yield f"{open_n} of {len(competing)} candidates cannot be decided: a gate is unknown."
    for row in unknown_facts(scores).head(1).itertuples():
        noun = "service" if row.services_n == 1 else "services"
        yield f"Find out first: {row.fact}, for {row.services_n} {noun}."
    missing = unsupplied(scores)
    if missing:
        yield f"Not supplied at all: {', '.join(missing)}."
    calls_n = len(incomplete(scores))
    if calls_n:
        yield f"{calls_n} calls to sources were not answered in full."
    try:
        yield scores.backtest.headline.split(":")[0] + "."
    except AssessError:
        yield "No forecast of an earlier quarter was checked."
