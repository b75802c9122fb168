"""The short forms of a report: a summary for chat and pull requests, and a CSV per table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from assess.report.model import Section, Table
from assess.report.render import document
from assess.score.claims import Claims
from assess.score.result import Provenance, Result
from assess.words import to_csv

ROWS = 8
SHOWN = {
    "short-list": ("label", "service_id", "p_top", "wave", "owner"),
    "label-changes": ("service_id", "before", "after", "because"),
    "unknown-facts": ("fact", "services_n", "decides_n"),
}
DETAILS = {
    "gates": "gates",
    "atoms": "checks",
    "dimensions": "dimensions",
    "clocks": "clocks",
}
CLOSED = ("pass", "na")


def tables_of(sections: Iterable[Section]) -> list[Table]:
    """List the tables of sections, in the order of the page."""
    return [part for section in sections for part in section.of(Table)]


def summary(values: Mapping[str, Any], claims: Claims, provenance: Provenance) -> str:
    """Write a summary that fits into a comment: decision, changes, unknowns, limits."""
    sections = {section.id: section for section in values["sections"]}
    tables = {table.id: table for table in tables_of(sections.values())}
    short = [
        _narrow(tables[name], keys) for name, keys in SHOWN.items() if name in tables
    ]
    verdicts = claims.frame["verdict"].value_counts()
    counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    lines = [
        f"Claims of the argument on this fleet: {counts}.",
        *sections["coverage"].warnings,
        *sections["backtest"].text[:1],
    ]
    origin = f"{provenance.quarter}, policy {provenance.policy_hash}"
    footer = (
        f"{origin}, assess {provenance.version}. "
        "Full report: index.html, report.md, report.json."
    )
    return document(
        "summary.md", {**values, "tables": short, "lines": lines, "footer": footer}
    )


def _narrow(table: Table, keys: Sequence[str]) -> Table:
    columns = [column for column in table.columns if column.key in keys]
    return replace(table, columns=columns, limit=ROWS, note="")


def csv_tables(
    sections: Iterable[Section], results: Iterable[Result]
) -> dict[str, pd.DataFrame]:
    """List the tables of a report, whole and unrounded, by the name of their file.

    These are the tables of the page, the frames of the scores (``score-…``), and the contents of
    the cards of services (``service-…``: gates and checks that do not pass, dimensions, clocks).
    """
    tables = {table.id: table.shown for table in tables_of(sections)}
    for result in results:
        tables[f"score-{result.name.replace('_', '-')}"] = result.frame.reset_index()
        for name, word in DETAILS.items():
            if name in result.details:
                tables[f"service-{word}"] = _open(result.details[name])
    return tables


def _open(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows that pass or do not apply."""
    return table[~table["state"].isin(CLOSED)] if "state" in table else table


def write_csv(tables: Mapping[str, pd.DataFrame], directory: Path) -> None:
    """Write tables as CSV files by name; an empty cell is unknown."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        text = to_csv(table, is_spreadsheet=True)
        (directory / f"{name}.csv").write_text(text, encoding="utf-8", newline="\n")
