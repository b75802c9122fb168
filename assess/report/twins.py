"""The short twins of a report: a summary for chat and pull requests, and a CSV of every table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from assess.report.model import Table
from assess.report.render import document
from assess.words import to_csv

if TYPE_CHECKING:
    from assess.report.report import Report

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


def summary(report: Report) -> str:
    """Tell what fits into a comment: decision, changes, unknowns, and how far to trust it."""
    tables = {table.id: table for table in report.tables()}
    kept = [_narrow(tables[name], keys) for name, keys in SHOWN.items() if name in tables]
    verdicts = report.claims.frame["verdict"].value_counts()
    told = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    sections = {section.id: section for section in report.sections}
    lines = [
        f"Claims of the argument on this fleet: {told}.",
        *sections["coverage"].warnings,
        *sections["backtest"].text[:1],
    ]
    at = report.scores.provenance
    return document(
        "summary.md",
        {
            "headline": report.headline,
            "fleet": report.fleet,
            "tally": report.tally,
            "tables": kept,
            "lines": lines,
            "footer": f"{at.quarter}, policy {at.policy_hash}, assess {at.version}. "
            "The whole report: index.html, report.md, report.json.",
        },
    )


def _narrow(table: Table, keys: tuple[str, ...]) -> Table:
    columns = [column for column in table.columns if column.key in keys]
    return replace(table, columns=columns, limit=ROWS, note="")


def csv_tables(report: Report) -> Mapping[str, pd.DataFrame]:
    """Give every table of a report, whole and unrounded, by name of its file.

    Parameters
    ----------
    report : Report
        A report.

    Returns
    -------
    mapping of str to DataFrame
        The tables of the page, the frames of the scores (``score-…``), and what the cards of the
        services tell (``service-…``: gates and checks that do not pass, dimensions, clocks).
    """
    found = {table.id: table.told for table in report.tables()}
    for result in report.results:
        found[f"score-{result.name.replace('_', '-')}"] = result.frame.reset_index()
        for name, word in DETAILS.items():
            if name in result.details:
                found[f"service-{word}"] = _open(result.details[name])
    return found


def _open(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out what passes or does not apply."""
    return table[~table["state"].isin(CLOSED)] if "state" in table else table


def save_csv(report: Report, directory: Path) -> None:
    """Write every table of a report as CSV."""
    write_csv(csv_tables(report), directory)


def write_csv(tables: Mapping[str, pd.DataFrame], directory: Path) -> None:
    """Write tables as CSV, by name of their file; an empty cell is unknown."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        text = to_csv(table, is_spreadsheet=True)
        (directory / f"{name}.csv").write_text(text, encoding="utf-8", newline="\n")
