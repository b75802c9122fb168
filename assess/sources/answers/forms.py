"""Answers of people: tables in CSV, and assessments of applications by Konveyor.

`answer_checks.csv` maps questions and findings to checks and columns. Every question of Konveyor
brings its answers, each with the risk that the questionnaire gives it; only the selected ones
count. The hub's own totals (risk, confidence) are not taken over.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assess import frames
from assess.linear import Linear
from assess.reading import refuse_many
from assess.sources.base import Call, FrameRow, Lists, Name, Row, Rows
from assess.sources.csv_records import (
    fill,
    headers,
    read_records,
    rows,
    rows_of,
    vocabulary,
)
from assess.sources.redact import scrub
from assess.sources.values import Texts, dicts, dig, id_of, moment, text

RISKS = ("red", "yellow", "green", "unknown")  # the worst first
_RISK_WORDS = vocabulary("answers", "risks")
_VERDICTS = vocabulary("answers", "verdicts")
_FLAGS = {word: verdict == "green" for word, verdict in _VERDICTS.items()}
_CHECK_ID = re.compile(r"[a-z_]+\.[a-z_]+")
_COLUMNS = headers("answers")


_KINDS = vocabulary("answers", "lists of Konveyor")
_COPIED = ("copiedFrom", "fromAssessmentId", "copied")  # marks of a copied assessment
_PEOPLE = vocabulary("answers", "people")


@dataclass(frozen=True)
class Rule:
    """One row of `answer_checks.csv`: maps a result of a tool to a check or a column."""

    match: Linear
    target: str  # id of a check, or a column such as ``engines.live_restore``
    values: Texts  # result of the tool -> risk, or cell of that column

    def of_number(self, number: float) -> str | None:
        """Map a number to the risk of the highest threshold it reaches (8=green 0=red)."""
        bounds = {float(bound): value for bound, value in self.values.items()}
        reached = [bound for bound in bounds if number >= bound]
        return bounds[max(reached)] if reached else None


@dataclass
class Context:
    """Rules, times and host for reading a form, and its counts."""

    rules: list[Rule]
    answered_at: datetime | None = None  # for answers without a date
    file_time: datetime | None = None
    host_id: str = ""
    unmapped: int = 0
    redacted: int = 0

    def count(self, call: Call) -> None:
        """Write what was counted since the last time into a coverage row."""
        call.count(unmapped_n=self.unmapped, redacted_n=self.redacted)
        self.unmapped = 0
        self.redacted = 0

    def rule(self, text: str) -> Rule | None:
        """Return the first rule about a question or a check of a tool."""
        return next((rule for rule in self.rules if rule.match.search(text)), None)


def checks(tool: str, own: Path | None = None) -> list[Rule]:
    """Read the table for one tool: the rows of people's own file come before the packaged ones."""
    listed = rows_of(own) if own else []
    checked = []
    for row in [*listed, *rows("answers/answer_checks")]:
        if text(row, "tool").strip() != tool:
            continue
        match = text(row, "match").strip()
        target = text(row, "target").strip()
        if not match or not target:
            raise ValueError("every row needs a tool, a match and a target")
        pairs = (pair.partition("=") for pair in text(row, "values").split())
        values = {word: value for word, _, value in pairs}
        try:
            checked.append(Rule(Linear(match, ignore_case=True), target, values))
        except ValueError as error:
            raise ValueError(f"{match!r} is no regular expression: {error}") from error
    return checked


def moment_of(value: Any, *path: str) -> datetime | None:
    """Read a time; None for one before 2000, or one that is still to come."""
    when = moment(value, *path)
    return when if when and when <= datetime.now(UTC) + timedelta(days=1) else None


def risk_of(text: Any) -> str | None:
    """Translate a risk to the words of the answers frame."""
    word = str(text or "").strip().lower()
    return word if word in RISKS else _RISK_WORDS.get(word)


def words_of(text: Any) -> str | None:
    """Return the text of an answer, without what may be secret."""
    is_text = isinstance(text, str | int)
    return scrub(str(text).replace("\0", "")) or None if is_text else None


def worst(answers: Iterable[Row]) -> Rows:
    """Keep the riskiest of several answers of one questionnaire to the same check."""
    kept: dict[tuple[Any, ...], Row] = {}
    for row in answers:
        about = tuple(row.get("about", ()))
        key = (row.get("names"), about, row["question"], row["source"])
        first = kept.setdefault(key, row)
        if RISKS.index(row["risk"]) < RISKS.index(first["risk"]):
            kept[key] = row
    return list(kept.values())


def of_csv(data: bytes, context: Context) -> tuple[Rows, int]:
    """Return the rows of a table of answers, and the number of its records."""
    header, records = read_records(data)
    for column in ("service", "question"):
        if not {*_COLUMNS[column], "service_id"} & set(header):
            raise ValueError(f"no column names the {column}; call it {column}")
    answers = [_of_cells(cells, context) for cells in records]
    return worst(row for row in answers if row), len(records)


def _of_cells(cells: Texts, context: Context) -> Row:
    """Return an answer; empty without a service, a question or an answer."""
    # A question is the id of a check, or any text; yes and no are green and red where it
    # is an id and no risk is given.
    given = fill(cells, _COLUMNS)
    exact = cells.get("service_id", "")
    if not (exact or given["service"]) or not given["question"]:
        context.unmapped += 1
        return {}
    if not (given["answer"] or given["risk"]):
        return {}  # nobody has answered yet
    rule = context.rule(given["question"])
    question = rule.target if rule else given["question"]
    risk = risk_of(given["risk"])
    if not given["risk"] and _CHECK_ID.fullmatch(question):
        risk = _VERDICTS.get(given["answer"].lower())
    context.unmapped += bool(given["risk"]) and risk is None
    when = moment_of(given, "answered_at")
    context.unmapped += bool(given["answered_at"]) and when is None
    return {
        "names": (_stated(exact, 1.0) if exact else _stated(given["service"]),),
        "question": words_of(question),
        "source": words_of(given["source"]) or "csv",
        "answer": words_of(given["answer"]),
        "risk": risk or "unknown",
        "answered_at": when or context.answered_at,
        "answered_by_role": words_of(given["answered_by_role"]),
    }


def placed(row: Row) -> FrameRow:
    """Return the frame that an answer fills: a question such as `services.tier` is a column."""
    frame, _, column = str(row["question"]).partition(".")
    if frame != "services" or column not in frames.columns(frame) or not row["answer"]:
        return "answers", row
    answer = row["answer"]
    if frames.columns(frame)[column].dtype == "bool":
        answer = _FLAGS.get(answer.lower(), answer)
    return frame, {"names": row["names"], column: answer, "source_ref": row["source"]}


def _stated(name: str, confidence: float = 0.8) -> Name:
    return Name(name, "questionnaire", confidence)


def resources(values: Iterable[Any]) -> Rows:
    """List the resources of a file: alone, in a list, or under their kind."""
    entries: Rows = []
    for value in values:
        if isinstance(value, list):
            entries += (v for v in value if _kind(v))
        elif isinstance(value, dict) and not _kind(value):
            entries += (v for kind in _KINDS for v in dicts(value, kind) if _kind(v))
        elif isinstance(value, dict):
            entries.append(value)
    return entries


def _kind(value: Any) -> str:
    if isinstance(dig(value, "sections"), list):
        return "assessment" if "questionnaire" in value else "questionnaire"
    if not isinstance(dig(value, "name"), str) or "id" not in value:
        return ""
    is_archetype = "criteria" in value or "applications" in value
    return "archetype" if is_archetype else "application"


def to_answers(documents: Rows, context: Context) -> tuple[Rows, int]:
    """Return the answers about every application, and the number of questions."""
    # An archetype's assessment is about its applications, as far as they have none of
    # their own.
    context.redacted += sum(bool(d.get(field)) for d in documents for field in _PEOPLE)
    by_kind: Lists = defaultdict(list)
    for document in documents:
        by_kind[_kind(document)].append(document)
    known = {
        id_of(a, "id"): str(a["name"]) for a in by_kind["application"] if id_of(a, "id")
    }
    members = _members(by_kind["application"], by_kind["archetype"])
    assessments = by_kind["assessment"]
    answered = {(_name(a, known), _form(a)) for a in assessments}
    rows: Rows = []
    asked_n = 0
    for assessment in assessments:
        names = [_name(assessment, known)]
        archetype = id_of(assessment, "archetype", "id")
        if archetype:
            names = [known.get(app, "") for app in sorted(members[archetype])]
            names = [n for n in names if (n, _form(assessment)) not in answered]
        for name in filter(None, names):
            questions = list(_questions(assessment))
            asked_n += len(questions)
            refuse_many(asked_n)  # an archetype's are asked of each application of it
            rows += _answered(assessment, questions, name, context)
    return worst(rows), asked_n


def _answered(
    assessment: Row, questions: list[tuple[Row, str]], name: str, context: Context
) -> Iterator[Row]:
    """Return the answers of one assessment about one application."""
    times = [moment_of(assessment, key) for key in ("updateTime", "createTime")]
    shared = {
        "names": (_stated(name),),
        "source": _source_of(assessment),
        # a hub has only when it was begun
        "answered_at": next(filter(None, times), context.answered_at),
        "answered_by_role": _texts_of(assessment.get("stakeholderGroups"), "name"),
    }
    for question, asked in questions:
        answers = dicts(question, "answers")
        selected = [answer for answer in answers if answer.get("selected") is True]
        if not selected:
            continue
        rule = context.rule(asked)
        context.unmapped += rule is None
        risks = [risk_of(answer.get("risk")) or "unknown" for answer in selected]
        yield {
            **shared,
            "question": rule.target if rule else words_of(asked),
            "source_ref": words_of(asked),
            "answer": _texts_of(selected, "text"),
            "risk": min(risks, key=RISKS.index),
        }


def _source_of(assessment: Row) -> str:
    source = f"konveyor: {_form(assessment) or 'assessment'}"
    archetype = assessment.get("archetype")
    if id_of(archetype, "id"):
        name = words_of(dig(archetype, "name")) or id_of(archetype, "id")
        return f"{source}, copied from archetype {name}"
    origin = next((key for key in _COPIED if assessment.get(key)), None)
    return f"{source}, copied" if origin else source


def _texts_of(entries: Any, key: str) -> str | None:
    texts = [words_of(entry.get(key)) for entry in dicts(entries)]
    return "; ".join(filter(None, texts)) or None


def _questions(assessment: Row) -> Iterator[tuple[Row, str]]:
    for section in dicts(assessment, "sections"):
        for question in dicts(section, "questions"):
            if (asked := text(question, "text")).strip():
                yield question, asked


def _members(applications: Rows, archetypes: Rows) -> dict[str, set[str]]:
    """List the applications of every archetype, as either end links them."""
    members: dict[str, set[str]] = defaultdict(set)
    links = [(a, of) for of in applications for a in dicts(of, "archetypes")]
    links += [(a, of) for a in archetypes for of in dicts(a, "applications")]
    for archetype, application in links:
        members[id_of(archetype, "id")].add(id_of(application, "id"))
    return members


def _name(assessment: Row, known: Texts) -> str:
    application = assessment.get("application")
    name = dig(application, "name") or known.get(id_of(application, "id"))
    return name if isinstance(name, str) else ""


def _form(assessment: Row) -> str:
    return words_of(dig(assessment, "questionnaire", "name")) or ""
