"""Deploys: deployments of each service, from exports of delivery tools."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

from assess.linear import Linear
from assess.reading import MAX_TABLE_BYTES, refuse_many
from assess.sources.base import Asked, Batch, Call, Row, Source, format_problems, paths_of
from assess.sources.csv_records import Cells, read_records
from assess.sources.deploys.formats import (
    FORMATS,
    format_of,
    of_devlake,
    records_in,
)
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
)
from assess.sources.values import moment

_WORKFLOW = r"deploy|release|rollout|publish"
_TABLES = (".csv", ".tsv")
_NO_ROWS = "some records have no id, no name or no time"


class DeploysSource(Source):
    """Reads deployments to production, and when their first commit was made."""

    type = "deploys"

    def check(self, options: Row) -> list[str]:
        """List the problems of the options."""
        problems = super().check(options)
        problems += format_problems(options, ("devlake", *FORMATS))
        if _pattern(options) is None:
            problems.append("workflow is no regular expression")
        days = [key for key in ("since", "until") if key in options]
        return problems + [f"{k} is not a date" for k in days if not _day(options[k])]

    def fill(self, asked: Asked) -> None:
        """Read the deployments of all files; tables of DevLake belong together."""
        options = asked.options
        batch = asked.batch
        tables = []
        suffixes = (*_TABLES, *JSON_SUFFIXES, *YAML_SUFFIXES)
        for file, call in each_dump(asked, suffixes, name="deploys"):
            with call:
                if file.suffix.lower() in _TABLES:
                    tables += _read_table(file, call)
                else:
                    _add(batch, call, _of_json(file, call, options), options)
        if tables:
            scope = ", ".join(paths_of(options))
            with batch.call(scope, "deploys") as call:
                _add(batch, call, list(of_devlake(tables)), options)


def _read_table(file: Path, call: Call) -> list[Cells]:
    header, records = read_records(read_bytes(file, call.row, MAX_TABLE_BYTES))
    if not {"id", "row_id"} & set(header):
        raise ValueError("this is no table of DevLake: it has no column id")
    return call.take(records)


def _of_json(file: Path, call: Call, options: Row) -> list[Row | None]:
    """Return the deployments of one file; None for each record that lacks what a row needs."""
    records = records_in(read_documents(file, call.row))
    refuse_many(len(records))
    workflow = _pattern(options) or Linear(_WORKFLOW)
    found: list[Row | None] = []
    unknown_n = 0
    for record in records:
        kind = options.get("format") or format_of(record)
        if kind not in FORMATS:
            unknown_n += 1
            continue
        found += FORMATS[kind](record, file.stem, workflow)
    call.count(unmapped_n=unknown_n)
    if records and unknown_n == len(records):
        call.status("parse_error", "it holds no deployments of a known tool")
    return found


def _add(batch: Batch, call: Call, found: list[Row | None], options: Row) -> None:
    since = _day(options.get("since"))
    until = _day(options.get("until"))
    known = [row for row in found if row is not None]
    times = [row["started_at"] for row in known]
    start = since or min(times, default=None)
    end = until or max(times, default=None)
    listed = [row for row in known if start <= row["started_at"] <= end]
    scope = call.row["scope"]
    batch.add("activities", *(row | {"source_ref": scope} for row in call.take(listed)))
    call.note(window_start=start, window_end=end)
    lost_n = len(found) - len(known)
    call.count(unmapped_n=lost_n)
    if lost_n and call.is_open:
        call.status("partial", _NO_ROWS)


def _pattern(options: Row) -> Linear | None:
    try:
        return Linear(str(options.get("workflow", _WORKFLOW)), ignore_case=True)
    except ValueError:
        return None


def _day(value: Any) -> datetime | None:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    return moment(value)
