"""Update the packaged facts with newer support dates from endoflife.date.

Only dates and new lines are taken over. A known date is never replaced by an unknown one. Of the
engine's lines, only lines without an announced end change: the facts of the others are
the vendor's own statements.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from assess.errors import AssessError
from assess.reference.tables import INDEX, lookup, read, rows, table
from assess.reference.versions import numbers_of
from assess.writing import write_beside

PUBLISHER = "endoflife.date"
ADDRESS = f"https://{PUBLISHER}/api/v1/products"
# our columns, each with the names that API v1 and the older one have for it
_COLUMNS = {
    "release_date": ("releaseDate",),
    "eoas_date": ("eoasFrom", "support"),
    "eol_date": ("eolFrom", "eol"),
    "extended_eol_date": ("eoesFrom", "extendedSupport"),
    "latest_date": ("latestReleaseDate",),
}
# cells of a new line, in tables that have the column
_NEW = {
    "eol_basis": "stated",
    "release_basis": "read",
    "basis": "read",
    "eol_status": "open",
}

Cycle = dict[str, str]  # line of a product in our columns; an empty text is unknown
# place of a row, old or new, its line, and its new cells
_Changes = Iterator[tuple[int, str, Cycle]]


def products() -> dict[str, tuple[str, str]]:
    """Return table and product of each published product, by the publisher's name."""
    return {row["slug"]: (row["table"], row["product"]) for row in rows("published")}


def to_cycles(payload: Any) -> list[Cycle]:
    """Read the answer for one product, from API v1 or the older API; raise if it lists no line."""
    result = payload.get("result", payload) if isinstance(payload, Mapping) else payload
    listed = result.get("releases") if isinstance(result, Mapping) else result
    entries = listed if isinstance(listed, list) else []
    cycles = [_cycle(entry) for entry in entries if isinstance(entry, Mapping)]
    cycles = [cycle for cycle in cycles if re.match(r"v?\d", cycle["line"])]
    if not cycles:
        raise AssessError(
            f"this is no answer of {PUBLISHER}: it lists no line",
            hint=f"{ADDRESS}/debian is one",
        )
    return cycles


def _cycle(entry: Mapping[str, Any]) -> Cycle:
    name = str(entry.get("name") or entry.get("cycle") or "").strip()
    days = {
        column: next(filter(None, map(_day, map(entry.get, names))), "")
        for column, names in _COLUMNS.items()
    }
    latest = entry.get("latest") or ""
    if isinstance(latest, Mapping):
        days["latest_date"] = _day(latest.get("date")) or days["latest_date"]
        latest = latest.get("name") or ""
    return {
        # Container-Optimized OS writes its name before the number
        "line": name.removeprefix("cos-"),
        "latest": str(latest),
        "codename": str(entry.get("codename") or ""),
        **days,
    }


def _day(value: Any) -> str:
    """Return a valid day; empty for true, false and anything else."""
    try:
        return date.fromisoformat(value).isoformat() if isinstance(value, str) else ""
    except ValueError:
        return ""


def refreshed(
    answers: Mapping[str, list[Cycle]], today: date
) -> tuple[dict[str, DataFrame], DataFrame]:
    """Merge published lines into the tables of facts.

    Returns the tables that were looked through, whole, and what changed in them: ``table, product,
    line, column, before, after``.
    """
    made: dict[str, DataFrame] = {}
    changes: list[tuple[str, ...]] = []
    for slug, (name, product) in products().items():
        if slug not in answers:
            continue
        # several products share one table: each adds to what the last one made
        facts = made[name] if name in made else table(name).astype(object)
        work = _engine_changes if name == "engine_releases" else _line_changes
        for place, line, values in work(facts, name, product, answers[slug]):
            changes += _write(facts, place, values, (name, product, line))
            facts.loc[place, "source"] = f"{PUBLISHER}: {slug}, {today}"
        made[name] = facts
    columns = ["table", "product", "line", "column", "before", "after"]
    return made, DataFrame(changes, columns=columns, dtype="str")


def _line_changes(
    facts: DataFrame, name: str, product: str, cycles: list[Cycle]
) -> _Changes:
    *owner, which = lookup(INDEX, "table", "key")[name].split("+")
    mine = facts[facts[owner[0]].eq(product)] if owner else facts
    places = dict(zip(mine[which], mine.index, strict=True))
    for cycle in cycles:
        dated = {name: cell for name, cell in cycle.items() if name in facts and cell}
        line = cycle["line"]
        place = places.get(line)
        if place is None:
            usual = {name: word for name, word in _NEW.items() if name in facts}
            own = {which: line} | dict.fromkeys(owner, product)
            yield len(facts), line, usual | dated | own
        elif any(facts.loc[place, name] != cell for name, cell in dated.items()):
            yield place, line, dated | {which: line}


def _engine_changes(
    facts: DataFrame, _name: str, _product: str, cycles: list[Cycle]
) -> _Changes:
    """Yield newest releases that the facts lack, and newly announced ends of lines."""
    known = {numbers_of(version) for version in facts["version"]}
    for cycle in cycles:
        line = cycle["line"]
        end = {"release_line": line, "line_eol_date": cycle["eol_date"]}
        end["line_eol_basis"] = "stated" if cycle["eol_date"] else ""
        if cycle["latest"] and numbers_of(cycle["latest"]) not in known:
            release = {
                "version": cycle["latest"],
                "channel": "stable",
                "is_line_first": str(line not in set(facts["release_line"])),
                "release_date": cycle["latest_date"],
                "release_date_basis": PUBLISHER,
                "notes_status": "not_read",
            }
            yield len(facts), line, release | end
        undated = facts[["line_eol_date", "policy_eol_date"]].isna().all(axis=1)
        if cycle["eol_date"]:
            for place in facts.index[undated & facts["release_line"].eq(line)]:
                yield place, line, end


def _write(
    facts: DataFrame, place: int, values: dict[str, str], where: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    for column, value in values.items():
        before = facts.loc[place, column] if place in facts.index else None
        if value and before != value:
            facts.loc[place, column] = value
            yield (*where, column, "" if pd.isna(before) else str(before), value)


def write(directory: Path, made: Mapping[str, DataFrame], today: date) -> None:
    """Write tables into a directory; the index comes last, because it says which tables count."""
    index = read(INDEX).set_index("table")
    index.loc[list(made), "compiled_on"] = today.isoformat()
    for name, facts in {**made, INDEX: index.reset_index()}.items():
        text = facts.to_csv(index=False, lineterminator="\n")
        write_beside(directory / f"{name}.csv", text)
