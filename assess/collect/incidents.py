"""Incidents: exports of the systems that people are paged by."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assess import frames
from assess.collect import incident_words as words
from assess.collect.base import Batch, Deadline, Name, Row, file_failure, paths_of
from assess.collect.csv_records import Cells, read_records

FORMATS = ("csv", "pagerduty", "opsgenie", "jira", "servicenow", "statuspage")
NAMED = 0.9  # confidence in the name that an incident has for its service
_YEARS = (1990, 2200)  # outside of them a date means never, or is a slip of the pen


class IncidentsSource:
    """Reads incidents; what people wrote into them never leaves this module."""

    type = "incidents"
    options: tuple[str, ...] = ("path", "format")
    fills: tuple[str, ...] = ("incidents",)
    needs = "read access to the files"
    dump = "a CSV export with times as ISO-8601 in UTC; `assess frames incidents` names the columns"

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        problems = [] if paths_of(options) else ["path names no file"]
        if (kind := options.get("format", "csv")) not in FORMATS:
            problems.append(f"format {kind!r} is not one of {', '.join(FORMATS)}")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the incidents of files and of directories of them."""
        batch, kind = Batch(), options.get("format", "csv")
        if kind != "csv":
            hint = f"export {kind} as CSV, and read it with format = 'csv'"
            batch.cover(", ".join(paths_of(options)), "read", "unsupported", hint=hint)
            return batch
        for path in paths_of(options):
            deadline.check()
            place = base / path
            files = sorted(place.glob("*.csv")) if place.is_dir() else [place]
            for file in files:
                scope = f"{path}/{file.name}" if place.is_dir() else path
                _read_file(file, batch, batch.cover(scope, "read", "ok"))
            if not files:
                batch.cover(path, "read", "empty", hint="it holds no .csv file")
        return batch


def _read_file(file: Path, batch: Batch, row: Row) -> None:
    opened = words.COLUMNS["opened_at"]
    try:
        header, records = read_records(file.read_bytes())
        if not set(opened) & set(header):
            raise ValueError(f"no column says when; call it one of {', '.join(opened[:5])}")
    except (OSError, ValueError, csv.Error) as error:
        row |= file_failure(error)
        return
    reader = Reader()
    found = join_rows([i for i in map(reader.incident, records) if i is not None])
    batch.add("incidents", *found)
    row |= {"rows": len(found), "expected": len(records), "unmapped_n": reader.unmapped}
    row["redacted_n"] = sum(bool(r.get(name)) for r in records for name in words.FREE_TEXT)
    if times := [incident["opened_at"] for incident in found]:
        row |= {"window_start": min(times), "window_end": max(times)}
    if not records:
        row["status"] = "empty"
    elif bad := reader.bad_times:
        lost = bad["opened_at"]
        row["status"] = "parse_error" if lost == len(records) else "partial"
        row["ratio"] = 1 - lost / len(records)
        counts = ", ".join(f"{n} {column}" for column, n in bad.items())
        row["hint"] = f"times that are not ISO-8601 were left out: {counts}; export them in UTC"


class Reader:
    """Turns records into rows, and counts what it could not read."""

    def __init__(self) -> None:
        self.unmapped = 0  # values without a mapping
        self.bad_times: Counter[str] = Counter()  # by column

    def incident(self, cells: Cells) -> Row | None:
        """Make a row, with names in place of ids; None where nothing says when it opened."""
        opened = self._time(cells, "opened_at")[0]
        if opened is None:
            return None
        exact, service = (_first(cells, column)[0] for column in ("service_id", "service"))
        cause, cause_basis = self._word(cells, "cause", words.CAUSES)
        affected = re.split(r"\s*[;,|]\s*", _first(cells, "affected")[0])
        is_change = self._boolean(cells, "change_related")
        if is_change is None and cause in ("deploy", "change"):
            is_change = True
        platform = self._word(cells, "platform_at_time", words.PLATFORMS)[0]
        return {
            "incident_id": _first(cells, "incident_id")[0] or _derived_id(cells),
            "service_raw": service or None,
            "names": _names([exact, service]),
            "opened_at": opened,
            "acked_at": self._time(cells, "acked_at")[0],
            "severity": self._severity(cells),
            "cause": cause,
            "cause_basis": cause_basis if cause else None,
            "change_related": is_change,
            "customer_facing": self._boolean(cells, "customer_facing"),
            "platform_at_time": platform,
            "container_evidence": self._container_evidence(cells, platform),
            "affected": _names(affected),
            "host_id": _first(cells, "host_id")[0] or None,
            "duplicate_of": _first(cells, "duplicate_of")[0] or None,
            **self._end(cells, opened),
        }

    def _time(self, cells: Cells, column: str) -> tuple[datetime | None, str]:
        text, header = _first(cells, column)
        when = read_time(text)
        if when is None and (text or column == "opened_at"):
            self.bad_times[column] += 1
        return when, header

    def _end(self, cells: Cells, opened: datetime) -> Row:
        """Say when it ended, how long it took, and which field told."""
        resolved, header = self._time(cells, "resolved_at")
        seconds, duration = self._seconds(cells)
        if resolved is None and seconds is not None:
            resolved, header = opened + timedelta(seconds=seconds), duration
        if resolved is None:
            return {}
        is_bad = resolved < opened
        if seconds is None:
            seconds = (resolved - opened).total_seconds()
        ttr = None if is_bad else seconds
        return {
            "resolved_at": resolved, "resolved_basis": header, "bad_time": is_bad, "ttr_s": ttr,
        }  # fmt: skip

    def _seconds(self, cells: Cells) -> tuple[float | None, str]:
        text, header = _first(cells, "duration")
        try:
            seconds = float(text) * words.DURATIONS[header] if text else None
        except ValueError:
            self.unmapped += 1
            return None, ""
        return (seconds, header) if seconds is not None and 0 <= seconds < 1e9 else (None, "")

    def _severity(self, cells: Cells) -> int | None:
        headers = words.COLUMNS["severity"]
        texts = (cells.get(header, "").lower() for header in headers)
        text = next((t for t in texts if t == "none" or t not in words.MISSING), "")
        if digit := re.match(r"(?:p|s|sev|severity|priority|level)?[\s_-]*(\d)\b", text):
            severity = max(1, int(digit[1])) if int(digit[1]) <= 5 else None
        else:
            known = words.SEVERITIES
            severity = min(
                (known[w] for w in re.split(r"[\W_]+", text) if w in known), default=None
            )
        self.unmapped += bool(text) and severity is None
        return severity

    def _word(self, cells: Cells, column: str, known: dict[str, str]) -> tuple[str | None, str]:
        text, header = _first(cells, column)
        word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
        vocabulary = {
            v.replace("-", "_"): v for v in frames.columns("incidents")[column].vocabulary
        }
        found = vocabulary.get(word, known.get(word))
        self.unmapped += bool(text) and found is None
        return found, header

    def _boolean(self, cells: Cells, column: str) -> bool | None:
        text = _first(cells, column)[0].lower()
        self.unmapped += bool(text) and text not in words.BOOLEANS
        return words.BOOLEANS.get(text)

    def _container_evidence(self, cells: Cells, platform: str | None) -> str | None:
        """Say why it counts as an incident of a container; NA where nothing could tell."""
        if given := self._word(cells, "container_evidence", {})[0]:
            return given
        said = {"label": words.LABELS, "keyword": words.FREE_TEXT}
        texts = {basis: " ".join(cells.get(h, "") for h in hs) for basis, hs in said.items()}
        for basis, text in texts.items():
            if words.CONTAINER_WORDS.search(text):
                return basis
        if platform not in (None, "host", "unknown", "mixed"):
            return "platform"
        return "none" if platform == "host" or any(t.strip() for t in texts.values()) else None


def read_time(text: str) -> datetime | None:
    """Read ISO-8601 or (milli)seconds since 1970, UTC without an offset; None for local forms."""
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
    """Make one row of an incident that an export lists once per service; all are ``affected``."""
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


def _first(cells: Cells, column: str) -> tuple[str, str]:
    """Give the first filled cell under any header of a column, and its header."""
    filled = ((cells.get(header, ""), header) for header in words.COLUMNS[column])
    return next(((t, h) for t, h in filled if t.lower() not in words.MISSING), ("", ""))


def _names(services: Iterable[str]) -> tuple[Name, ...]:
    return tuple(Name(name, "incident", NAMED) for name in dict.fromkeys(services) if name)


def _derived_id(cells: Cells) -> str:
    """Give an id that the same record always gets; it tells nothing of what the record says."""
    content = "\x1f".join(f"{name}={cells[name]}" for name in sorted(cells))
    return f"csv-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
