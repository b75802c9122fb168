"""Incidents: exports of the systems that people are paged by."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assess import frames
from assess.collect.base import Batch, Deadline, Name, Row
from assess.collect.csv_records import Cells, decoded, read_records
from assess.collect.incident_words import (
    BOOLEANS,
    CAUSES,
    COLUMNS,
    CONTAINER_WORDS,
    DURATIONS,
    FREE_TEXT,
    LABELS,
    PLATFORMS,
    SEVERITIES,
)
from assess.collect.redact import scrub

FORMATS = ("csv", "pagerduty", "opsgenie", "jira", "servicenow", "statuspage")
NAMED = 0.9  # confidence in the name that an incident has for its service
_YEARS = (1990, 2200)  # outside of them a date means never, or is a slip of the pen

_MISSING = frozenset(("", "null", "none", "n/a", "na", "nan", "-", "unknown"))


class IncidentsSource:
    """Reads incidents; what people wrote into them never leaves this module."""

    type = "incidents"
    options: tuple[str, ...] = ("path", "format")
    fills: tuple[str, ...] = ("incidents",)
    needs = "read access to the files"
    dump = "a CSV export with times as ISO-8601 in UTC; `assess frames incidents` names the columns"

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
        path, kind = options.get("path"), options.get("format", "csv")
        problems = [] if path and isinstance(path, str | list) else ["path names no file"]
        known = f"format {kind!r} is not one of {', '.join(FORMATS)}"
        return problems + ([] if kind in FORMATS else [known])

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the incidents.

        Parameters
        ----------
        options : dict
            ``path`` of a file, of a directory of them, or a list; ``format``, by default csv.
        base : Path
            Directory that relative paths start from.
        deadline : Deadline
            When to stop.

        Returns
        -------
        Batch
            incidents, and a coverage row per file.
        """
        batch = Batch()
        paths = options["path"] if isinstance(options["path"], list) else [options["path"]]
        kind = options.get("format", "csv")
        if kind != "csv":
            hint = f"export {kind} as CSV, and read it with format = 'csv'"
            batch.cover(", ".join(map(str, paths)), "read", "unsupported", hint=hint)
            return batch
        for path in paths:
            deadline.check()
            place = base / str(path)
            files = sorted(place.glob("*.csv")) if place.is_dir() else [place]
            for file in files:
                scope = f"{path}/{file.name}" if place.is_dir() else str(path)
                _read_file(batch, file, scope)
            if not files:
                batch.cover(str(path), "read", "empty", hint="it holds no .csv file")
        return batch


def _read_file(batch: Batch, file: Path, scope: str) -> None:
    row = batch.cover(scope, "read", "ok")
    try:
        header, records = read_records(decoded(file.read_bytes()))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        hint = "there is no such file" if missing else scrub(str(error.strerror))
        row |= {"status": "unreachable" if missing else "denied", "hint": hint}
        return
    except (ValueError, csv.Error) as error:
        row |= {"status": "parse_error", "error_class": type(error).__name__}
        row["hint"] = scrub(str(error))
        return
    if not any(name in COLUMNS["opened_at"] for name in header):
        row |= {"status": "parse_error", "expected": len(records)}
        row["hint"] = f"no column says when; call it one of {', '.join(COLUMNS['opened_at'][:5])}"
        return
    reader = Reader()
    found = join_rows([i for i in map(reader.incident, records) if i is not None])
    batch.add("incidents", *found)
    row |= {"rows": len(found), "expected": len(records), "unmapped_n": reader.unmapped}
    row["redacted_n"] = sum(bool(r.get(name)) for r in records for name in FREE_TEXT)
    times = [incident["opened_at"] for incident in found]
    if times:
        row |= {"window_start": min(times), "window_end": max(times)}
    row |= reader.verdict(len(records))


class Reader:
    """Turns records into rows, and counts what it could not read.

    Attributes
    ----------
    unmapped : int
        Values without a mapping. [count]
    bad_dates : list of str
        Columns of the times that could not be read, one per cell.
    """

    def __init__(self) -> None:
        self.unmapped = 0
        self.bad_dates: list[str] = []

    def incident(self, cells: Cells) -> Row | None:
        """Make a row of the incidents frame of a record.

        Parameters
        ----------
        cells : dict of str to str
            Cells by header.

        Returns
        -------
        dict or None
            With ``names`` in place of ``service_id``; None where nothing says when it opened.
        """
        opened = self._time(cells, "opened_at")[0]
        if opened is None:
            return None
        service = _first(cells, COLUMNS["service"])[0]
        exact = _first(cells, ("service_id",))[0]
        cause, cause_basis = self._word(cells, "cause", CAUSES)
        affected = re.split(r"\s*[;,|]\s*", _first(cells, COLUMNS["affected"])[0])
        row: Row = {
            "incident_id": _first(cells, COLUMNS["incident_id"])[0] or _derived_id(cells),
            "service_raw": service or None,
            "names": tuple(_name(n) for n in dict.fromkeys([exact, service]) if n),
            "opened_at": opened,
            "acked_at": self._time(cells, "acked_at")[0],
            "severity": self._severity(cells),
            "cause": cause,
            "cause_basis": cause_basis if cause else None,
            "change_related": self._boolean(cells, "change_related"),
            "customer_facing": self._boolean(cells, "customer_facing"),
            "platform_at_time": self._word(cells, "platform_at_time", PLATFORMS)[0],
            "affected": tuple(_name(part) for part in affected if part),
            "host_id": _first(cells, COLUMNS["host_id"])[0] or None,
            "duplicate_of": _first(cells, COLUMNS["duplicate_of"])[0] or None,
        }
        if row["change_related"] is None and cause in ("deploy", "change"):
            row["change_related"] = True
        row["container_evidence"] = self._container_evidence(cells, row["platform_at_time"])
        return row | self._end(cells, opened)

    def verdict(self, expected: int) -> Row:
        """Give status and hint of what was read.

        Parameters
        ----------
        expected : int
            Records in the file. [count]

        Returns
        -------
        dict
            Columns of the coverage frame.
        """
        if not expected:
            return {"status": "empty"}
        if not self.bad_dates:
            return {"status": "ok"}
        lost = self.bad_dates.count("opened_at")
        counts = ", ".join(f"{self.bad_dates.count(c)} {c}" for c in dict.fromkeys(self.bad_dates))
        return {
            "status": "parse_error" if lost == expected else "partial",
            "ratio": 1 - lost / expected,
            "hint": f"times that are not ISO-8601 were left out: {counts}; export them in UTC",
        }

    def _time(self, cells: Cells, column: str) -> tuple[datetime | None, str]:
        text, header = _first(cells, COLUMNS[column])
        when = read_time(text)
        if when is None and (text or column == "opened_at"):
            self.bad_dates.append(column)
        return when, header

    def _end(self, cells: Cells, opened: datetime) -> Row:
        """Say when it ended, how long it took, and which field told."""
        resolved, header = self._time(cells, "resolved_at")
        seconds, duration = self._seconds(cells)
        if resolved is None and seconds is not None:
            resolved, header = opened + timedelta(seconds=seconds), duration
        if resolved is None:
            return {}
        bad_time = resolved < opened
        if seconds is None:
            seconds = (resolved - opened).total_seconds()
        return {
            "resolved_at": resolved,
            "resolved_basis": header,
            "bad_time": bad_time,
            "ttr_s": None if bad_time else seconds,
        }

    def _seconds(self, cells: Cells) -> tuple[float | None, str]:
        text, header = _first(cells, DURATIONS)
        try:
            seconds = float(text) * DURATIONS[header] if text else None
        except ValueError:
            self.unmapped += 1
            return None, ""
        return (seconds, header) if seconds is not None and 0 <= seconds < 1e9 else (None, "")

    def _severity(self, cells: Cells) -> int | None:
        for header in COLUMNS["severity"]:
            text = cells.get(header, "").lower()
            if text in _MISSING - {"none"}:
                continue
            if digit := re.match(r"(?:p|s|sev|severity|priority|level)?[\s_-]*(\d)\b", text):
                number = max(1, int(digit[1]))
                severity = number if number <= 5 else None
            else:
                words = [SEVERITIES[w] for w in re.split(r"[\W_]+", text) if w in SEVERITIES]
                severity = min(words, default=None)
            self.unmapped += severity is None
            return severity
        return None

    def _word(self, cells: Cells, column: str, words: dict[str, str]) -> tuple[str | None, str]:
        text, header = _first(cells, COLUMNS[column])
        word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
        vocabulary = frames.columns("incidents")[column].vocabulary
        found = next((v for v in vocabulary if v.replace("-", "_") == word), words.get(word))
        self.unmapped += bool(text) and found is None
        return found, header

    def _boolean(self, cells: Cells, column: str) -> bool | None:
        text, _ = _first(cells, COLUMNS[column])
        self.unmapped += bool(text) and text.lower() not in BOOLEANS
        return BOOLEANS.get(text.lower())

    def _container_evidence(self, cells: Cells, platform: str | None) -> str | None:
        """Say why it counts as an incident of a container; NA where nothing could tell."""
        given, _ = self._word(cells, "container_evidence", {})
        if given:
            return given
        texts = {"label": LABELS, "keyword": FREE_TEXT}
        found = {basis: " ".join(cells.get(h, "") for h in hs) for basis, hs in texts.items()}
        for basis, text in found.items():
            if CONTAINER_WORDS.search(text):
                return basis
        if platform not in (None, "host", "unknown", "mixed"):
            return "platform"
        return "none" if platform == "host" or any(t.strip() for t in found.values()) else None


def read_time(text: str) -> datetime | None:
    """Read a time that can mean only one moment.

    Parameters
    ----------
    text : str
        ISO-8601, or (milli)seconds since 1970; without an offset it is UTC.

    Returns
    -------
    datetime or None
        UTC; None for local forms, such as ``03/04/26``, and for years that mean never.
    """
    text = re.sub(r"\s*(?:UTC|GMT)$", "Z", text.strip())
    try:
        if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
            when = datetime.fromtimestamp(float(text), UTC)
        elif re.fullmatch(r"\d{12,13}", text):
            when = datetime.fromtimestamp(float(text) / 1000, UTC)
        else:
            when = datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d\d:?\d\d$)", "", text))
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return when if _YEARS[0] <= when.year <= _YEARS[1] else None


def join_rows(rows: Iterable[Row]) -> list[Row]:
    """Make one row of an incident that an export lists once per service.

    Parameters
    ----------
    rows : iterable of dict
        Rows of incidents.

    Returns
    -------
    list of dict
        The first row of each incident, with the services of all of them as ``affected``.
    """
    joined: dict[str, Row] = {}
    for row in rows:
        first = joined.setdefault(row["incident_id"], row)
        if first is row:
            continue
        services = [*first["affected"], *first["names"], *row["names"], *row["affected"]]
        if len(set(services)) > 1:
            first["affected"] = tuple(dict.fromkeys(services))
        first |= {k: v for k, v in row.items() if first.get(k) is None or first.get(k) == ()}
    return list(joined.values())


def _first(cells: Cells, headers: Iterable[str]) -> tuple[str, str]:
    """Give the first filled cell under any of these headers, and its header."""
    for header in headers:
        if (text := cells.get(header, "")).lower() not in _MISSING:
            return text, header
    return "", ""


def _name(service: str) -> Name:
    return Name(service, "incident", NAMED)


def _derived_id(cells: Cells) -> str:
    """Give an id that the same record always gets; it tells nothing of what the record says."""
    content = "\x1f".join(f"{name}={cells[name]}" for name in sorted(cells))
    return f"csv-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
