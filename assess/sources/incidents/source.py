"""Incidents from exports of paging and ticket tools, or from the APIs of these tools."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from assess.errors import PolicyError
from assess.policy.policy import load_policy
from assess.sources.base import Batch, Deadline, Row, Source, file_failure, paths_of
from assess.sources.csv_records import read_records
from assess.sources.dumps import JSON_SUFFIXES, each_file, read_bytes, read_json
from assess.sources.http import Web, ask
from assess.sources.incidents import words
from assess.sources.incidents.api import Request
from assess.sources.incidents.pagerduty import to_activities, to_dependencies
from assess.sources.incidents.reader import (
    Reader,
    Vocabulary,
    default_vocabulary,
    join_rows,
    read_time,
    vocabulary_of,
)
from assess.sources.incidents.tools import TOOLS, Names, Record, incidents_in, names_in
from assess.sources.redact import scrub, strip_userinfo
from assess.sources.values import dig

__all__ = ["IncidentsSource", "Reader", "read_time"]

FORMATS = ("csv", *TOOLS)
WINDOW = timedelta(days=180)  # default window of a live request
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Asked:
    """The parsed options of a ``[[source]]`` table."""

    options: Row
    base: Path
    deadline: Deadline
    pages: int | None  # at most
    vocabulary: Vocabulary
    since: datetime | None
    until: datetime | None

    @property
    def kind(self) -> str:
        """Format of the export: csv, or the name of a tool."""
        return str(self.options.get("format", "csv"))

    def reader(self, *, is_local: bool) -> Reader:
        """Return a reader; only exports for people have local times."""
        zone = _zone(self.options.get("timezone")) if is_local else None
        return Reader(self.vocabulary, zone)

    def contains(self, row: Row) -> bool:
        """Return whether an incident opened in the window."""
        opened = row["opened_at"]
        is_late = self.until is not None and opened >= self.until
        return not is_late and (self.since is None or opened >= self.since)


class IncidentsSource(Source):
    """Reads incidents. Free text of people never leaves this module."""

    type = "incidents"
    options: tuple[str, ...] = (
        "path",
        "format",
        "endpoint",
        "token_file",
        "ca",
        "since",
        "until",
        "timezone",
        "policy",
        "page",
        "jql",
    )
    fills: tuple[str, ...] = ("incidents", "dependencies", "activities")
    needs = (
        "read access to the files, or a read-only API token (PagerDuty incidents.read, Opsgenie "
        "Read, Jira browse projects, ServiceNow read on incident, Statuspage)"
    )
    dump = (
        "a CSV export with times as ISO-8601 in UTC (`assess frames incidents` names the columns), "
        "or the tool's JSON, e.g. `curl -H 'Authorization: Token token=…' "
        "'https://api.pagerduty.com/incidents?since=…&until=…&time_zone=UTC&limit=100&offset=0'`"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """List the problems of the options."""
        problems = []
        if (kind := options.get("format", "csv")) not in FORMATS:
            problems.append(f"format {kind!r} is not one of {', '.join(FORMATS)}")
        if "endpoint" in options and "path" in options:
            problems.append("name a path or an endpoint, not both")
        elif "endpoint" in options and kind == "csv":
            problems.append(f"an endpoint needs a format: one of {', '.join(TOOLS)}")
        elif "endpoint" not in options and not paths_of(options):
            problems.append("path names no file")
        times = {
            key: _moment(options[key]) for key in ("since", "until") if key in options
        }
        problems += [
            f"{key} is not a date" for key, moment in times.items() if moment is None
        ]
        since, until = times.get("since"), times.get("until")
        if since and until and since >= until:
            problems.append("since is not before until")
        if "timezone" in options and _zone(options["timezone"]) is None:
            problems.append(
                "timezone is not the name of a time zone, such as Europe/Berlin"
            )
        texts = ("endpoint", "token_file", "ca", "policy", "page", "jql")
        return problems + [
            f"{k} is not a text" for k in texts if not isinstance(options.get(k, ""), str)
        ]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read incidents from files and directories, or from the API."""
        return self._collect(options, base, deadline, pages=None)

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the files, or the first page of the API."""
        return self._collect(options, base, deadline, pages=1)

    def _collect(
        self, options: Row, base: Path, deadline: Deadline, *, pages: int | None
    ) -> Batch:
        batch = Batch()
        try:
            path = options.get("policy")
            vocabulary = (
                vocabulary_of(load_policy(base / path)) if path else default_vocabulary()
            )
        except PolicyError as error:
            batch.cover(
                str(options["policy"]), "read", "parse_error", hint=scrub(str(error))
            )
            return batch
        since, until = (_moment(options.get(key)) for key in ("since", "until"))
        asked = _Asked(options, base, deadline, pages, vocabulary, since, until)
        (_ask if "endpoint" in options else _read)(asked, batch)
        return batch


def _read(asked: _Asked, batch: Batch) -> None:
    """Read CSV and JSON files; JSON incidents need the service names of all files first."""
    is_csv = asked.kind == "csv"
    suffixes = (".csv",) if is_csv else (*JSON_SUFFIXES, ".csv")
    payloads: list[tuple[Row, list[Any]]] = []
    for _, file, row in each_file(
        asked.options, asked.base, asked.deadline, batch, suffixes
    ):
        if is_csv or file.suffix.lower() not in JSON_SUFFIXES:
            _read_csv(asked, file, batch, row)
        else:
            payloads.append((row, read_json(file, row)))
    values = [value for _, found in payloads for value in found]
    names = names_in(values)
    for row, found in payloads:
        _to_rows(asked, found, names, batch, row)


def _read_csv(asked: _Asked, file: Path, batch: Batch, row: Row) -> None:
    opened = words.COLUMNS["opened_at"]
    try:
        header, cells = read_records(read_bytes(file, row))
        if not set(opened) & set(header):
            raise ValueError(
                f"no column holds the time; name it one of {', '.join(opened[:5])}"
            )
    except (OSError, ValueError, csv.Error) as error:
        row |= file_failure(error)
        return
    _add(
        asked, [(record, []) for record in cells], asked.reader(is_local=True), batch, row
    )


def _to_rows(
    asked: _Asked, values: list[Any], names: Names, batch: Batch, row: Row
) -> None:
    """Turn the JSON of a tool into rows."""
    tool = TOOLS[asked.kind]
    status = row["status"]
    raw = incidents_in(tool, values)
    records = [record for r in raw if (record := tool.to_record(r, names)) is not None]
    _add(asked, records, asked.reader(is_local=False), batch, row)
    others = 0 if raw else len(names_in(values))
    if asked.kind == "pagerduty":
        edges = to_dependencies(values, names)
        changes = to_activities(values, names)
        batch.add("dependencies", *edges)
        batch.add("activities", *changes)
        others += len(edges) + len(changes)
    if others and not records:
        row |= {"status": "ok", "rows": others, "expected": others}
    elif values and not raw and not _pages_in(values):
        hint = f"it holds no incidents as {asked.kind} writes them"
        row |= {"status": "parse_error", "hint": hint}
    if status != "ok":  # the file was unreadable in part, whatever the rest gave
        row["status"] = status


def _pages_in(values: list[Any]) -> bool:
    """Return whether the values hold a list of a tool, even an empty one."""
    known = {key for tool in TOOLS.values() for key in tool.lists}
    return any(isinstance(dig(value, key), list) for value in values for key in known)


def _add(
    asked: _Asked, records: list[Record], reader: Reader, batch: Batch, row: Row
) -> None:
    """Add the incidents of records, and describe them in the coverage row."""
    made = (reader.incident(cells, affected) for cells, affected in records)
    every = join_rows(incident for incident in made if incident is not None)
    incidents = [incident for incident in every if asked.contains(incident)]
    outside = len(every) - len(incidents)
    batch.add("incidents", *incidents)
    row |= {"rows": len(incidents), "expected": len(records) - outside}
    row["unmapped_n"] = reader.unmapped
    row["redacted_n"] = sum(
        bool(cells.get(name)) for cells, _ in records for name in words.FREE_TEXT
    )
    times = [incident["opened_at"] for incident in incidents]
    if start := asked.since or min(times, default=None):
        row["window_start"] = start
    if end := asked.until or max(times, default=None):
        row["window_end"] = end
    bad = reader.bad_times
    if not records or not (incidents or bad):
        row["status"] = "empty"
    elif bad:
        lost = bad["opened_at"]
        row["status"] = "parse_error" if lost == len(records) else "partial"
        row["ratio"] = 1 - lost / len(records)
        counts = ", ".join(f"{n} {column}" for column, n in bad.items())
        row["hint"] = f"times not in ISO-8601 were dropped: {counts}; export them in UTC"
        if reader.local_times:
            row["hint"] += ', or name their time zone: timezone = "Europe/Berlin"'


def _ask(asked: _Asked, batch: Batch) -> None:
    """Read the incidents of a window from a tool; a failure keeps the pages before it."""
    tool = TOOLS[asked.kind]
    until = asked.until or datetime.now(UTC)
    asked = replace(asked, since=asked.since or until - WINDOW, until=until)
    scope = strip_userinfo(str(asked.options["endpoint"]))
    names: Names = {}
    if tool.get_services is not None and asked.pages is None:
        services = _fetched(
            asked, tool.get_services, batch.cover(scope, "services", "ok")
        )
        names = names_in([{"services": services}])
    row = batch.cover(scope, "incidents", "ok")
    raw = _fetched(asked, tool.get, row)
    outcome: Row = {key: row[key] for key in ("status", "hint") if key in row}
    if (
        outcome["status"] == "ok"
        and row.get("expected", 0) > len(raw)
        and asked.pages is None
    ):
        outcome = {"status": "partial", "hint": "the account cannot read all of them"}
    if outcome["status"] != "ok":
        outcome["expected"] = row.get("expected")
    _to_rows(asked, raw, names, batch, row)
    row |= {"window_start": asked.since, "window_end": asked.until}
    if outcome["status"] != "ok":
        row |= outcome


def _fetched(
    asked: _Asked, get: Callable[[Request], Iterator[list[Row]]], row: Row
) -> list[Row]:
    """Read pages, and count their rows in the coverage row as they arrive."""
    fetched: list[Row] = []
    since = asked.since or _NEVER
    until = asked.until or _NEVER

    def work(web: Web) -> None:
        for page in islice(
            get(Request(web, since, until, asked.options, row)), asked.pages
        ):
            fetched.extend(page)
            row["rows"] = len(fetched)

    token = TOOLS[asked.kind].token
    ask(row, asked.options, asked.base, asked.deadline, work=work, token=token)
    return fetched


def _moment(value: Any) -> datetime | None:
    """Parse a date or time of a table, in UTC unless it has an offset; None if it is neither."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return read_time(value) if isinstance(value, str) else None


def _zone(name: Any) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if isinstance(name, str) and name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
