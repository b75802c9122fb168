"""What all forms of answers share: the table that maps them to checks, times, and the CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assess.sources.base import Call, Name, Row
from assess.sources.csv_records import read_records, rows
from assess.sources.redact import scrub
from assess.sources.values import moment

FrameRow = tuple[str, Row]  # the name of a frame, and a row of it
RISKS = ("red", "yellow", "green", "unknown")  # the worst first
STATED, STATED_CONFIDENCE = "questionnaire", 0.8
_RISK_WORDS = {
    "high": "red",
    "medium": "yellow",
    "low": "green",
    "amber": "yellow",
    "orange": "yellow",
    "rot": "red",
    "gelb": "yellow",
    "gruen": "green",
}
_VERDICTS = {"yes": "green", "true": "green", "no": "red", "false": "red"}
_CHECK_ID = re.compile(r"[a-z_]+\.[a-z_]+")
_COLUMNS = {
    "service": ("service", "service_name", "application", "app", "name"),
    "question": ("question", "check", "check_id", "question_id"),
    "answer": ("answer", "response", "value", "comment"),
    "risk": ("risk", "rating", "level"),
    "answered_at": ("answered_at", "date", "answered", "updated_at", "created_at"),
    "answered_by_role": ("answered_by_role", "role"),
    "source": ("source", "questionnaire", "survey"),
}


@dataclass(frozen=True)
class Rule:
    """One row of `answer_checks.csv`: which result of a tool is about what of ours."""

    match: re.Pattern[str]
    target: str  # id of a check, or a column such as ``engines.live_restore``
    values: dict[str, str]  # result of the tool -> risk, or cell of that column

    @property
    def is_column(self) -> bool:
        """Whether it fills a column, in place of answering a check."""
        return self.target.startswith(("engines.", "images.", "services."))

    def of_number(self, number: float) -> str | None:
        """Map a number to the risk of the highest threshold it reaches (8=green 0=red)."""
        bounds = {float(bound): value for bound, value in self.values.items()}
        reached = [bound for bound in bounds if number >= bound]
        return bounds[max(reached)] if reached else None


@dataclass
class Context:
    """What reading a form needs beside it, and what it counts."""

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
    listed: list[dict[str, str]] = []
    if own:
        with own.open(encoding="utf-8-sig", newline="") as handle:
            listed = list(csv.DictReader(handle))
    checked = []
    for row in [*listed, *rows("answers/answer_checks")]:
        if (row.get("tool") or "").strip() != tool:
            continue
        match = (row.get("match") or "").strip()
        target = (row.get("target") or "").strip()
        if not match or not target:
            raise ValueError("every row needs a tool, a match and a target")
        values = dict(v.partition("=")[::2] for v in (row.get("values") or "").split())
        try:
            checked.append(Rule(re.compile(match, re.IGNORECASE), target, values))
        except re.error as error:
            raise ValueError(f"{match!r} is no regular expression: {error}") from error
    return checked


def moment_of(value: Any) -> datetime | None:
    """Read a time; None for one before 2000, or one that is still to come."""
    if hasattr(value, "isoformat"):  # a date of TOML or YAML
        value = value.isoformat()
    when = moment(value)
    return when if when and when <= datetime.now(UTC) + timedelta(days=1) else None


def risk_of(text: Any) -> str | None:
    """Translate a risk to the words of the answers frame."""
    word = str(text or "").strip().lower()
    return word if word in RISKS else _RISK_WORDS.get(word)


def words_of(text: Any) -> str | None:
    """Return the text of an answer, without what may be secret."""
    return (
        (scrub(str(text).replace("\0", "")) or None)
        if isinstance(text, str | int)
        else None
    )


def worst(answers: Iterable[Row]) -> list[Row]:
    """Keep the riskiest answer where several of one questionnaire are about one check."""
    kept: dict[tuple[Any, ...], Row] = {}
    for row in answers:
        key = (
            row.get("names"),
            tuple(row.get("about", ())),
            row["question"],
            row["source"],
        )
        first = kept.setdefault(key, row)
        if RISKS.index(row["risk"]) < RISKS.index(first["risk"]):
            kept[key] = row
    return list(kept.values())


def of_csv(data: bytes, context: Context) -> tuple[list[Row], int]:
    """Return the rows of a table of answers, and the number of its records.

    A question is the id of a check, or any text; yes and no are green and red where it is an id
    and no risk is given.
    """
    header, records = read_records(data)
    for column in ("service", "question"):
        if not {*_COLUMNS[column], "service_id"} & set(header):
            raise ValueError(f"no column names the {column}; call it {column}")
    found = []
    for cells in records:
        given = {name: _first(cells, headers) for name, headers in _COLUMNS.items()}
        exact = cells.get("service_id", "")
        if not (exact or given["service"]) or not given["question"]:
            context.unmapped += 1
            continue
        name = Name(exact, STATED, 1.0) if exact else _stated(given["service"])
        rule = context.rule(given["question"])
        question = rule.target if rule else given["question"]
        risk = risk_of(given["risk"])
        if risk is None and not given["risk"] and _CHECK_ID.fullmatch(question):
            risk = _VERDICTS.get(given["answer"].lower())
        context.unmapped += bool(given["risk"]) and risk is None
        found.append(
            {
                "names": (name,),
                "question": words_of(question),
                "source": words_of(given["source"]) or "csv",
                "answer": words_of(given["answer"]),
                "risk": risk or "unknown",
                "answered_at": moment_of(given["answered_at"]) or context.answered_at,
                "answered_by_role": words_of(given["answered_by_role"]),
            }
        )
    return worst(found), len(records)


def _stated(name: str) -> Name:
    return Name(name, STATED, STATED_CONFIDENCE)


def _first(cells: dict[str, str], headers: tuple[str, ...]) -> str:
    return next((cells[h] for h in headers if cells.get(h)), "")
