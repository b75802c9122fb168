"""Frames that people bring themselves: a snapshot directory of CSV or Parquet files."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from assess import frames
from assess.collect.base import Batch, Deadline, Name, Row
from assess.collect.redact import scrub
from assess.frames import EXTERNAL
from assess.inventory import MANIFEST, read_table

_NAMING = {
    "identity_rule", "identity_confidence", "service_id", "src_id", "dst_id", "affected_services",
}  # fmt: skip


class FramesSource:
    """Reads the frames of a snapshot directory; their service ids are exact names."""

    type = "frames"
    options: tuple[str, ...] = ("path",)
    fills: tuple[str, ...] = frames.names()
    needs = "read access to the directory"
    dump = "files named <frame>.csv or <frame>.parquet, as `assess frames` describes them"

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options.

        Parameters
        ----------
        options : dict
            Options of the table.

        Returns
        -------
        list of str
            Problems.
        """
        return [] if isinstance(options.get("path"), str) else ["path names no directory"]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the frames.

        Parameters
        ----------
        options : dict
            ``path`` of a snapshot directory.
        base : Path
            Directory that a relative path starts from.
        deadline : Deadline
            When to stop.

        Returns
        -------
        Batch
            Their rows, and a coverage row per file.
        """
        batch, directory = Batch(), base / options["path"]
        scope = str(options["path"])
        if not directory.is_dir():
            hint = "there is no such directory"
            batch.cover(scope, "read", "unreachable", hint=hint)
            return batch
        age = _age_hours(directory)
        files = [f for f in sorted(directory.iterdir()) if f.suffix in (".csv", ".parquet")]
        for file in files:
            deadline.check()
            row = batch.cover(scope, file.name, "ok", age_hours=age)
            if file.stem not in frames.names():
                row |= {"status": "unsupported", "hint": f"{file.stem} is no frame"}
                continue
            try:
                table = read_table(file)
            except (ValueError, OSError) as error:
                reason = scrub(str(error).partition("\n")[0])
                row |= {"status": "parse_error", "error_class": type(error).__name__}
                row["hint"] = reason
                continue
            row |= {"status": "ok" if len(table) else "empty", "rows": len(table)}
            _describe_problems(file.stem, table, row)
            _add(batch, file.stem, table)
        if not files:
            batch.cover(scope, "read", "empty", hint="it holds no <frame>.csv or <frame>.parquet")
        return batch


def _describe_problems(frame: str, table: pd.DataFrame, row: Row) -> None:
    """Say in the coverage row what does not fit the data dictionary."""
    typed, unreadable = frames.conform(frame, table)
    problems = frames.join_problems([unreadable, frames.check(frame, typed)])
    unknown = table.columns.difference(list(frames.columns(frame)), sort=False)
    notes = [f"row {p.row} {p.column}={p.value!r}: {p.rule}" for p in problems.head(5).itertuples()]
    if len(problems) > len(notes):
        notes.append(f"and {len(problems) - len(notes)} more")
    if len(unknown):
        notes.append(f"unknown columns: {', '.join(map(str, unknown))}")
    if len(problems):
        row |= {"status": "partial", "unmapped_n": len(problems)}
    if notes:
        row["hint"] = scrub("; ".join(notes))


def _add(batch: Batch, frame: str, table: pd.DataFrame) -> None:
    """Put the rows of a table into the batch, with names in place of ids."""
    known = table[[c for c in table.columns if c in frames.columns(frame)]].astype(object)
    records: list[Row] = [
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
            row["src"] = _name(record.get("src_id"))
            row["dst"] = target if target.startswith(EXTERNAL) else _name(target)
        elif "service_id" in record:
            row["names"] = (_name(record["service_id"]),)
        if frame == "service_aliases" and not _is_true(record.get("ambiguous")):
            alias = Name(str(record.get("alias", "")), "frames", _share(record.get("confidence")))
            batch.add("services", {"names": (*row.get("names", ()), alias)})
        batch.add(frame, row)


def _name(service_id: Any) -> Name:
    return Name(str(service_id or ""), "frames", 1.0)


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


def _share(value: Any) -> float:
    number = pd.to_numeric(value, errors="coerce")
    return float(number) if pd.notna(number) else 1.0


def _age_hours(directory: Path) -> float | None:
    """Age of the snapshot, where it says when it was taken."""
    try:
        manifest = tomllib.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        taken = pd.Timestamp(manifest["snapshot_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    taken = taken.tz_localize("UTC") if taken.tzinfo is None else taken
    hours = (pd.Timestamp(datetime.now(UTC)) - taken).total_seconds() / 3600
    return round(max(0.0, hours), 1)
