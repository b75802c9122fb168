"""Frames that people bring themselves: a snapshot directory of CSV or Parquet files."""

import tomllib
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from assess import frames
from assess.frames import EXTERNAL
from assess.inventory import MANIFEST
from assess.reading import (
    CELL_COST,
    MAX_RECORDS,
    MAX_TABLE_BYTES,
    read_limited,
    refuse_costly,
)
from assess.sources.base import Asked, Batch, Call, Name, Row, Rows, Source
from assess.sources.dumps import DumpError, files_below
from assess.sources.redact import scrub
from assess.sources.values import number

FILLED = {
    "dependencies": "evidence",
    "answers": "source",
}  # keys that a list may leave out
NOTED = 5  # problems of a file
SHOWN = 3  # rows that a problem names
_NAMING = {"service_id", "src_id", "dst_id", "affected_services"}


class FramesSource(Source):
    """Reads the frames of a snapshot directory; their service ids are exact names."""

    type = "frames"

    def check(self, options: Row) -> list[str]:
        """List what is wrong with the options."""
        return [] if isinstance(options.get("path"), str) else ["path names no directory"]

    def fill(self, asked: Asked) -> None:
        """Read the frames, with a coverage row per file."""
        batch = asked.batch
        scope = asked.options["path"]
        directory = asked.base / scope
        if not directory.is_dir():
            batch.cover(scope, "read", "unreachable", hint="there is no such directory")
            return
        age = _age_hours(directory)

        def wanted(file: Path) -> bool:
            return file.parent == directory and file.suffix in (".csv", ".parquet")

        files = files_below(scope, asked, wanted)
        for _, file in files or ():
            asked.deadline.check()
            with batch.call(scope, file.name) as call:
                call.note(age_hours=age)
                _read(file, call, batch)
        if not files:
            hint = "it holds no <frame>.csv or <frame>.parquet"
            batch.cover(scope, "read", "unreachable", hint=hint)


def _read(file: Path, call: Call, batch: Batch) -> None:
    """Read one file; all its rows are added, also those with cells that do not fit."""
    frame = file.stem
    if frame not in frames.names():
        call.status("unsupported", f"{frame} is no frame")
        return
    refuse_costly(read_limited(file, MAX_TABLE_BYTES), b",\n\r", CELL_COST)
    table = frames.read_table(file, MAX_RECORDS)
    if not {*table.columns} & {*frames.columns(frame)}:
        raise DumpError(f"no column of it is one of {frame}: see `assess frames`")
    call.count(rows=len(table))
    if key := FILLED.get(frame):
        # the list is all that shows it
        known = table.reindex(columns=[key], fill_value=FramesSource.type)
        table[key] = known[key].fillna(FramesSource.type)
    _check(frame, table, call)
    add_table(batch, frame, table)


def _check(frame: str, table: pd.DataFrame, call: Call) -> None:
    """Write into the coverage row what does not fit the data dictionary."""
    typed, unreadable = frames.conform(frame, table)
    problems = frames.join_problems([unreadable, frames.check(frame, typed, table)])
    unknown = frames.unknown_columns(frame, table.columns)
    names = [f"{row.column}, {row.hint}".rstrip(", ") for row in unknown.itertuples()]
    notes = [f"unknown columns: {'; '.join(names)}"] if names else []
    alike = problems.groupby(["column", "value", "hint", "rule"], sort=False)["row"]
    notes += [_note(rows, *problem) for problem, rows in islice(alike, NOTED)]
    if notes:
        call.hint(scrub("; ".join(notes)))
    if len(problems):
        call.count(unmapped_n=len(problems))
    # a column with a name of its own is kept aside; a misspelt one leaves a fact unknown
    if len(problems) or unknown["hint"].any():
        call.status("partial")


def _note(rows: pd.Series, column: str, value: str, hint: str, rule: str) -> str:
    """Return one problem of a column, and the rows that have it; a missing column has none."""
    where = column
    if rows.notna().all():
        first = ", ".join(map(str, rows.head(SHOWN)))
        rest = len(rows) - SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        where = f"row {first}{more} {column}={value!r}"
    return f"{where}: {', '.join(filter(None, (hint, rule)))}"


def add_table(batch: Batch, frame: str, table: pd.DataFrame) -> None:
    """Put the rows of a table into the batch, with names in place of ids."""
    known = table.filter([*frames.columns(frame)]).astype(object)
    records: Rows = [
        {column: value for column, value in record.items() if pd.notna(value)}
        for record in known.to_dict("records")
    ]
    if frame == "coverage":
        batch.coverage += [r for r in records if {*frames.key("coverage")} <= r.keys()]
        return
    batch.add(frame)
    for record in records:
        row = {column: value for column, value in record.items() if column not in _NAMING}
        if text := record.get("affected_services"):
            row["affected"] = tuple(_name(part) for part in str(text).split(";") if part)
        if frame == "dependencies":
            target = str(record.get("dst_id", ""))
            row["src"] = _name(record.get("src_id", ""))
            row["dst"] = target if target.startswith(EXTERNAL) else _name(target)
        elif "service_id" in record:
            row["names"] = (_name(record["service_id"]),)
        if frame == "service_aliases" and str(record.get("ambiguous")).lower() != "true":
            trust = number(record, "confidence")
            alias = _name(record.get("alias", ""), 1.0 if trust is None else trust)
            batch.add("services", {"names": (*row.get("names", ()), alias)})
        batch.add(frame, row)


def _name(text: Any, confidence: float = 1.0) -> Name:
    return Name(str(text), "frames", confidence)


def _age_hours(directory: Path) -> float | None:
    """Age of the snapshot, where it says when it was taken."""
    try:
        manifest = tomllib.loads(read_limited(directory / MANIFEST, 1 << 20).decode())
        taken = pd.Timestamp(manifest["snapshot_at"])
        taken = taken.tz_localize("UTC") if taken.tzinfo is None else taken
    except (OSError, ValueError, KeyError, TypeError):
        return None
    hours = (pd.Timestamp(datetime.now(UTC)) - taken).total_seconds() / 3600
    return round(max(0.0, hours), 1)
