"""Konveyor: assessments of applications, as its hub exports them.

Every question brings its answers, each with the risk that the questionnaire gives it; only the
selected ones count. The hub's own totals (risk, confidence) are not taken over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from assess.sources.answers.forms import (
    RISKS,
    STATED,
    STATED_CONFIDENCE,
    Context,
    moment_of,
    risk_of,
    words_of,
    worst,
)
from assess.sources.base import Name, Row
from assess.sources.values import dicts, dig

_KINDS = ("assessments", "applications", "archetypes", "questionnaires", "items")
_PEOPLE = (
    "createUser",
    "updateUser",
    "stakeholders",
    "owner",
    "contributors",
    "comments",
)


def resources(values: Iterable[Any]) -> list[Row]:
    """List the resources of a file: alone, in a list, or under their kind."""
    entries: list[Row] = []
    for value in values:
        if isinstance(value, list):
            entries += (v for v in value if _kind(v))
        elif isinstance(value, dict) and not _kind(value):
            entries += (v for kind in _KINDS for v in dicts(value.get(kind)) if _kind(v))
        elif isinstance(value, dict):
            entries.append(value)
    return entries


def _kind(value: Any) -> str:
    """Return the kind of a resource; empty for none."""
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("sections"), list):
        return "assessment" if "questionnaire" in value else "questionnaire"
    if isinstance(value.get("name"), str) and "id" in value:
        return (
            "archetype"
            if "criteria" in value or "applications" in value
            else "application"
        )
    return ""


def to_answers(documents: list[Row], context: Context) -> tuple[list[Row], int]:
    """Return the answers about every application, and the number of questions.

    An archetype's assessment is about its applications, as far as they have none of their own.
    """
    context.redacted += sum(bool(d.get(field)) for d in documents for field in _PEOPLE)
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for document in documents:
        by_kind[_kind(document)].append(document)
    known = {_id(a): str(a["name"]) for a in by_kind["application"] if _id(a)}
    members = _members(by_kind["application"], by_kind["archetype"])
    rows, asked_n = [], 0
    own = {(_name(a, known), _form(a)) for a in by_kind["assessment"] if _name(a, known)}
    for assessment in by_kind["assessment"]:
        names = [name] if (name := _name(assessment, known)) else []
        if archetype := _id(assessment.get("archetype")):
            theirs = (known.get(app, "") for app in sorted(members[archetype]))
            names = [n for n in theirs if n and (n, _form(assessment)) not in own]
        for application in names:
            found, asked = _answered(assessment, application, context)
            rows += found
            asked_n += asked
    return worst(rows), asked_n


def _answered(
    assessment: Row, application: str, context: Context
) -> tuple[list[Row], int]:
    """Return the answers of one assessment, and the number of its questions."""
    asked = list(_questions(assessment))
    groups = [
        words_of(group.get("name"))
        for group in dicts(assessment.get("stakeholderGroups"))
    ]
    rows = []
    for question, text in asked:
        selected = [
            a for a in dicts(question.get("answers")) if a.get("selected") is True
        ]
        if not selected:
            continue
        rule = context.rule(text)
        context.unmapped += rule is None
        risks = [risk_of(answer.get("risk")) or "unknown" for answer in selected]
        said = "; ".join(
            filter(None, (words_of(answer.get("text")) for answer in selected))
        )
        rows.append(
            {
                "names": (Name(application, STATED, STATED_CONFIDENCE),),
                "question": rule.target if rule else words_of(text),
                "source": f"konveyor: {_form(assessment) or 'assessment'}",
                "source_ref": words_of(text),
                "answer": said or None,
                "risk": min(risks, key=RISKS.index),
                "answered_at": _when(assessment) or context.answered_at,
                "answered_by_role": "; ".join(filter(None, groups)) or None,
            }
        )
    return rows, len(asked)


def _questions(assessment: Row) -> Iterator[tuple[Row, str]]:
    """List all questions that have a text."""
    for section in dicts(assessment.get("sections")):
        for question in dicts(section.get("questions")):
            if isinstance(text := question.get("text"), str) and text.strip():
                yield question, text


def _when(assessment: Row) -> Any:
    """Return when it was answered; a hub has only when it was begun."""
    times = (moment_of(assessment.get(field)) for field in ("updateTime", "createTime"))
    return next((time for time in times if time), None)


def _members(applications: list[Row], archetypes: list[Row]) -> dict[str, set[str]]:
    """List the applications of every archetype, as either end links them."""
    found: dict[str, set[str]] = defaultdict(set)
    for application in applications:
        for archetype in dicts(application.get("archetypes")):
            found[_id(archetype)].add(_id(application))
    for archetype in archetypes:
        for application in dicts(archetype.get("applications")):
            found[_id(archetype)].add(_id(application))
    return found


def _id(value: Any) -> str:
    identifier = dig(value, "id")
    is_id = isinstance(identifier, int | str) and not isinstance(identifier, bool)
    return str(identifier) if is_id else ""


def _name(assessment: Row, known: dict[str, str]) -> str:
    """Name the application that an assessment is about."""
    application = assessment.get("application")
    name = dig(application, "name") or known.get(_id(application))
    return name if isinstance(name, str) else ""


def _form(assessment: Row) -> str:
    """Name the questionnaire."""
    return words_of(dig(assessment.get("questionnaire"), "name")) or ""
