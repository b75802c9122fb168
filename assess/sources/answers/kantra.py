"""Kantra: changes before a move that Konveyor's static code analysis demands.

Only counts and the ids of rules are kept, never code. Rules that failed to run leave the counts
open: what they would have found is unknown.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assess.sources.answers.forms import Context, FrameRow, words_of
from assess.sources.base import Row
from assess.sources.values import as_list, dicts, number, table, text

MANDATORY = "mandatory"
_STEMS = ("output", "analysis", "results")  # names of files that name no application
_NAMED = 5  # rules in an answer


def documents_of(values: list[Any], file: Path) -> list[Row]:
    """Return the analysis that a file holds, with the application that its path names."""
    rulesets: list[Row] = []
    for value in values:
        rulesets += dicts(as_list(value))
    if not rulesets:
        raise ValueError("it holds no rulesets: name the output.yaml of kantra")
    stem = file.stem
    name = file.parent.name if stem in _STEMS else stem
    return [{"application": name, "rulesets": rulesets}]


def of_kantra(report: Row, context: Context) -> list[FrameRow]:
    """Return the demanded changes, and the mandatory ones, by the ids of the rules."""
    rulesets = [entry for entry in dicts(report, "rulesets") if _is_ruleset(entry)]
    if not rulesets:
        return []
    found = [violation for ruleset in rulesets for violation in _violations(ruleset)]
    mandatory = {name: n for name, category, n, _ in found if category == MANDATORY}
    mandatory_n = sum(mandatory.values())
    effort = sum(n * points for _, _, n, points in found)
    failed_n = sum(len(table(ruleset, "errors")) for ruleset in rulesets)
    context.unmapped += failed_n
    about = (("name", text(report, "application")),)
    service: Row = {"about": about}
    if mandatory_n or not failed_n:
        service["code_mandatory_n"] = mandatory_n
    if not failed_n:
        service["code_effort"] = float(effort)
    answer: Row = {
        "about": about,
        "question": "fit.code",
        "risk": _risk(mandatory_n, failed_n),
        "answer": _summary(mandatory, len(found), effort, failed_n),
        "answered_at": context.file_time,
        "source": "kantra",
    }
    return [("services", service), ("answers", answer)]


def _is_ruleset(entry: Row) -> bool:
    """Return whether rules ran: a ruleset of tags alone says nothing of the code."""
    ran = ("violations", "unmatched", "errors")
    return isinstance(entry.get("name"), str) and any(entry.get(key) for key in ran)


def _violations(ruleset: Row) -> Iterator[tuple[str, str, int, float]]:
    for rule, violation in table(ruleset, "violations").items():
        places_n = max(len(dicts(violation, "incidents")), 1)
        category = text(violation, "category").lower()
        name = f"{text(ruleset, 'name')}/{rule}"
        yield name, category, places_n, number(violation, "effort") or 0.0


def _risk(mandatory_n: int, failed_n: int) -> str:
    if mandatory_n:
        return "red"
    return "unknown" if failed_n else "green"


def _summary(
    mandatory: dict[str, int], rules_n: int, effort: float, failed_n: int
) -> str | None:
    named = ", ".join(sorted(mandatory)[:_NAMED])
    parts = [
        f"{sum(mandatory.values())} mandatory places",
        f"{rules_n} rules in all",
        f"effort {effort:g}",
    ]
    if failed_n:
        parts.append(f"{failed_n} rules failed to run")
    if named:
        parts.append(named)
    return words_of("; ".join(parts))
