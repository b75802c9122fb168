"""From the cells of an incident, of any tool, to a row of the incidents frame.

`headers.csv` lists the headers of exports by the column that they fill; the first filled one
counts. The policy defines what severities, causes and platforms are called.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from operator import itemgetter
from typing import Any

from pandas import Timedelta

from assess import frames
from assess.linear import Linear, any_of
from assess.policy import Policy, load_policy
from assess.sources.base import Name, Names, Row, Rows
from assess.sources.csv_records import Cells, header_of, headers, lookup, rows, vocabulary
from assess.sources.incidents.times import (
    is_ambiguous,
    is_plausible,
    order_of,
    parse_time,
)
from assess.sources.redact import strip_credentials
from assess.sources.values import Texts, dig, number, only

# Columns whose words are mapped, and the table of the policy that has further ones.
_WORDS = {
    "cause": "cause",
    "fault": "fault",
    "platform_at_time": "platform",
    "container_evidence": "",
}
NAMED = 0.9  # confidence in the service name of an incident
_MOST_S = 1e9  # of a duration
_LONGEST = 200  # characters; a longer text is not a name
Record = tuple[Cells, list[str]]  # an incident, and all services that it lists

HEADERS = headers("incidents")
_DURATIONS = {  # seconds of a unit, by header; 0 where the cell says its unit
    row["header"]: float(row["seconds"] or 0)
    for row in rows("incidents/headers")
    if row["seconds"] or row["column"] == "duration"
}
_TIMES = ("opened_at", "acked_at", "resolved_at", "closed_at", "changed_at")
BY_TIMER = " by timer"  # ends the basis of a time at which a timer closed the ticket
_FLAGS = vocabulary("incidents", "flags")  # nothing stands for false
_PARTS = Linear(r"\s[/|>:-]+\s")  # of a category, the most special last
_LABEL = Linear(r"([A-Za-z][\w-]*)[:=/]+\s?([\w.-]+)")
_INCIDENT = Linear(r"(?i)\b(incident|outage|sev-?\d)\b")
_MISSING = frozenset(row["text"] for row in rows("incidents/missing")) | {""}


@dataclass(frozen=True)
class Vocabulary:
    """The meaning of words, from the policy."""

    severities: dict[str, int]
    words: dict[str, Texts]  # values by word, by column
    titles: dict[Linear, str]  # causes by pattern
    faults: dict[Linear, str]  # faults by pattern
    containers: Linear
    timers: Row  # what shows that a timer closes tickets


def vocabulary_of(policy: Policy) -> Vocabulary:
    """Return the vocabulary of incidents of a policy."""
    table = policy["incidents"]
    columns = frames.columns("incidents")
    words = {}
    for column, key in _WORDS.items():
        own = table.get(key, {})
        of_policy = {_slug(word): value for word, value in own.items()}
        words[column] = of_policy | {_slug(v): v for v in columns[column].vocabulary}
    return Vocabulary(
        {word.lower(): int(severity) for word, severity in table["severity"].items()},
        words,
        _patterns(table["cause_text"]),
        _patterns(table["fault_text"]),
        any_of(table["container_words"], around=r"\b"),
        {key: table[key] for key in ("closing_fields", "timer_share", "timer_n")},
    )


def _patterns(table: Texts) -> dict[Linear, str]:
    return {Linear(text, ignore_case=True): value for text, value in table.items()}


@cache
def default_vocabulary() -> Vocabulary:
    """Return the vocabulary of the default policy."""
    return vocabulary_of(load_policy())


_EMPTY = "empty"
_UNREADABLE = "unreadable"
_AMBIGUOUS = "with two readings"  # without an order of its parts
_LOCAL = "without a time zone"
_IMPOSSIBLE = "in an impossible year"
_FAULTS = (_EMPTY, _UNREADABLE, _AMBIGUOUS, _LOCAL, _IMPOSSIBLE)  # of cells of times
_ADVICE = {
    _AMBIGUOUS: 'name the order of dates: date_order = "dmy", "mdy" or "ymd"',
    _LOCAL: 'name their time zone: timezone = "Europe/Berlin"',
    _UNREADABLE: "export times in ISO-8601 and UTC",
}


class BadTimes(Counter[tuple[str, str]]):
    """Number of cells of times that give no time, by fault and column."""

    def of(self, column: str) -> int:
        """Return how many cells of a column give no time."""
        return sum(self[fault, column] for fault in _FAULTS)

    def add(self, column: str, text: str) -> None:
        """Count a cell by its missing part."""
        fault = _UNREADABLE
        if not text:
            fault = _EMPTY
        elif is_ambiguous(text):
            fault = _AMBIGUOUS
        elif parse_time(text, UTC) is not None:
            fault = _LOCAL
        self[fault, column] += 1

    def hint(self) -> str:
        """Describe the cells without a time, and how to mend them."""
        found = [
            f"{n} {column} {fault}"
            for fault in _FAULTS
            for (kind, column), n in self.items()
            if kind == fault
        ]
        faults = {fault for fault, _ in self}
        helps = [text for fault, text in _ADVICE.items() if fault in faults]
        return "; ".join([f"times that are not used: {', '.join(found)}", *helps])


class Reader:
    """Turns records into rows, and counts unreadable values.

    A time without an offset is in ``zone``. Without a zone, ISO-8601 and dates of numbers are
    UTC, and months in letters are unreadable. ``orders`` has the order of day and month by header.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None = None,
        zone: tzinfo | None = None,
        orders: Mapping[str, str | None] | None = None,
    ) -> None:
        self.unmapped = 0  # values without a mapping
        self.lost: list[str] = []  # ids of incidents without a time
        self.bad_times = BadTimes()
        # days from the resolution to the closing of tickets that have both
        self.lags: list[float] = []
        self._words = vocabulary or default_vocabulary()
        self._zone = zone
        self._orders = orders or {}

    def incident(self, cells: Cells, affected: Iterable[str] = ()) -> Row | None:
        """Return a row with service names in place of ids; None without an opening time."""
        opened = self._time(cells, "opened_at")[0]
        incident_id = first(cells, "incident_id")[0] or _derived_id(cells)
        if not opened:
            self.lost.append(incident_id)
            return None
        cells = _labelled(cells) | cells
        listed = [*affected, *_affected(cells)]
        exact = first(cells, "service_id")[0]
        service = first(cells, "service")[0] or only({*listed})
        cause, cause_basis = self._cause(cells)
        end = self._end(cells, opened)
        if not is_plausible(opened):
            end["bad_time"] = True
        named = first(cells, "change")[0].lower()
        is_change = named not in ("", *_FLAGS) or self._boolean(cells, "change_related")
        if is_change is None and cause in ("deploy", "change"):
            is_change = True
        platform = self._word(cells, "platform_at_time")[0]
        return {
            "incident_id": incident_id,
            "service_raw": service or None,
            "names": _names([exact, service or ""]),
            "opened_at": opened,
            "acked_at": self._acked(cells, opened),
            "severity": self._severity(cells),
            "cause": cause,
            "cause_basis": cause_basis if cause else None,
            "fault": self._fault(cells, cause),
            "change_related": is_change,
            "customer_facing": self._boolean(cells, "customer_facing"),
            "platform_at_time": platform,
            "container_evidence": self._container_evidence(cells, platform),
            "affected": _names(listed) or None,  # NA: not listed
            "host_id": first(cells, "host_id")[0] or None,
            "duplicate_of": first(cells, "duplicate_of")[0] or None,
            **end,
        }

    def moment(self, header: str, text: str) -> datetime | None:
        """Parse a cell under a header; None where it is missing or unreadable."""
        return parse_time(text, self._zone, self._orders.get(header))

    def _time(self, cells: Cells, column: str) -> tuple[datetime | None, str]:
        text, header = first(cells, column)
        when = self.moment(header, text)
        if not when and (text or column == "opened_at"):
            self.bad_times.add(column, text)
        elif when and not is_plausible(when):
            self.bad_times[_IMPOSSIBLE, column] += 1
        return when, header

    def _acked(self, cells: Cells, opened: datetime) -> datetime | None:
        """Return the time of acknowledgement, from a time or from seconds since the opening."""
        when = self._time(cells, "acked_at")[0]
        seconds = self._seconds(cells, "acked_after")[0]
        if when is None and seconds:
            return opened + timedelta(seconds=seconds)
        return when

    def _end(self, cells: Cells, opened: datetime) -> Row:
        """Return the end, the time to resolve, and the field that they come from."""
        resolved, header = self._time(cells, "resolved_at")
        seconds, duration = self._seconds(cells, "duration")
        if not resolved and seconds is not None:
            resolved = opened + timedelta(seconds=seconds)
            header = duration
        # a time in a record that is open is of an earlier end, or only expected
        if not resolved or phase_of(cells) == "open":
            return {}
        self._note_lag(cells, resolved, header)
        are_plausible = is_plausible(opened) and is_plausible(resolved)
        is_bad = resolved < opened or not are_plausible
        basis = cells.get("resolved_basis") or header
        if seconds is None:
            seconds = (resolved - opened).total_seconds()
        return {
            "resolved_at": resolved,
            "resolved_basis": basis,
            "bad_time": is_bad,
            "ttr_s": None if is_bad else seconds,
        }

    def _note_lag(self, cells: Cells, resolved: datetime, header: str) -> None:
        text, closing = first(cells, "closed_at")
        closed = self.moment(closing, text)
        if closed and closing != header:
            self.lags.append((closed - resolved) / timedelta(days=1))

    def _seconds(self, cells: Cells, column: str) -> tuple[float | None, str]:
        text, header = first(cells, column)
        unit = _DURATIONS.get(header, 0)
        amount = number(text) if unit else read_duration(text)
        self.unmapped += bool(text) and amount is None
        seconds = amount * (unit or 1) if amount is not None else -1
        return (seconds, header) if 0 <= seconds < _MOST_S else (None, "")

    def _severity(self, cells: Cells) -> int | None:
        texts = (cells.get(header, "").lower() for header in HEADERS["severity"])
        text = next((t for t in texts if t == "none" or t not in _MISSING), "")
        if digit := re.match(r"(?:p|s|sev|severity|priority|level)?[\s_-]*(\d)\b", text):
            level = int(digit[1])
            severity = max(1, level) if level <= 5 else None
        else:
            known = self._words.severities
            severity = known.get(text) or min(
                (known[w] for w in re.split(r"[\W_]+", text) if w in known), default=None
            )
        self.unmapped += bool(text) and severity is None
        return severity

    def _cause(self, cells: Cells) -> tuple[str | None, str]:
        """Return the cause and its basis: a field, else a pattern that the title matches."""
        cause, header = self._word(cells, "cause")
        if header:
            return cause, header
        for title in HEADERS["title"]:
            for pattern, implied in self._words.titles.items():
                if pattern.search(cells.get(title, "")):
                    return implied, f"words of the {title}"
        return None, ""

    def _fault(self, cells: Cells, cause: str | None) -> str | None:
        """Return the kind of fault: of a field, else of words of the title, else of the cause."""
        given, header = self._word(cells, "fault")
        if header:
            return given
        title = " ".join(cells.get(header, "") for header in HEADERS["title"])
        for pattern, implied in self._words.faults.items():
            if pattern.search(title):
                return implied
        words = self._words.words["fault"]
        written = _slug(first(cells, "cause")[0])
        return words.get(written) or words.get(_slug(cause or ""))

    def _word(self, cells: Cells, column: str) -> tuple[str | None, str]:
        text, header = first(cells, column)
        known = self._words.words[column]
        parts = [text, *reversed(_PARTS.split(text))]
        value = next((known[slug] for slug in map(_slug, parts) if slug in known), None)
        self.unmapped += bool(text) and value is None
        return value, header

    def _boolean(self, cells: Cells, column: str) -> bool | None:
        text = first(cells, column)[0].lower()
        self.unmapped += bool(text) and text not in _FLAGS
        return bool(_FLAGS[text]) if text in _FLAGS else None

    def _container_evidence(self, cells: Cells, platform: str | None) -> str | None:
        """Return the evidence that containers were involved; NA without any text to search."""
        if given := self._word(cells, "container_evidence")[0]:
            return given
        was_searched = False
        for basis, column in (("label", "labels"), ("keyword", "free_text")):
            texts = [text for name in HEADERS[column] for text in repeats(cells, name)]
            if self._words.containers.search(" ".join(texts)):
                return basis
            was_searched |= any(text.strip() for text in texts)
        if platform not in (None, "host", "unknown", "mixed"):
            return "platform"
        return "none" if platform == "host" or was_searched else None


def read_duration(text: str) -> float | None:
    """Read a duration that says its units, such as ``1h 30m``, ``01:30:00`` or ``PT2H`` [s]."""
    if not re.search(r"[A-Za-z:]", text[:_LONGEST]):
        return None
    try:
        seconds = Timedelta(text[:_LONGEST].strip()).total_seconds()
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def orders_of(records: list[Cells], order: str | None) -> dict[str, str | None]:
    """Return the order of day and month by header: as the option says, else as its cells show."""
    headers = {name for column in _TIMES for name in HEADERS[column]}
    return {
        header: order or order_of({cells[header] for cells in records if header in cells})
        for header in headers
    }


def only_incidents(records: list[Record]) -> list[Record]:
    """Leave out what was cancelled or a drill, and, if types name some incidents, the others."""
    kept = [r for r in records if "void" not in (phase_of(r[0]), phase_of(r[0], "mode"))]
    return [r for r in kept if _INCIDENT.search(first(r[0], "type")[0])] or kept


def phase_of(cells: Cells, column: str = "state") -> str:
    """Return open, over or void; empty for a word that says none of them."""
    word = first(cells, column)[0].strip().lower()
    return lookup("incidents/states", "word", "phase").get(word, "")


def mark_timers(incidents: Iterable[Row], lags: list[float], timers: Row) -> None:
    """Mark incidents whose only end is a closing that trails the resolution by a timer."""
    # Where most tickets of an export close the same number of days after their
    # resolution, a closing alone says nothing of the time to repair.
    days = Counter(round(lag) for lag in lags)
    common, common_n = max(days.items(), key=itemgetter(1), default=(0, 0))
    is_timer = common >= 1 and common_n >= timers["timer_share"] * len(lags)
    if not is_timer or len(lags) < timers["timer_n"]:
        return
    for row in incidents:
        if row.get("resolved_basis") in timers["closing_fields"]:
            row["resolved_basis"] += BY_TIMER
            row["ttr_s"] = None


def join_rows(rows: Iterable[Row]) -> Rows:
    """Join the rows of an incident that an export lists once per service."""
    joined: dict[str, Row] = {}
    for row in rows:
        first = joined.setdefault(row["incident_id"], row)
        if first is row:
            continue
        parts = (first["affected"], first["names"], row["names"], row["affected"])
        services = [name for part in parts for name in part or ()]
        if len(set(services)) > 1:
            first["affected"] = tuple(dict.fromkeys(services))
        for column, value in row.items():
            if first.get(column) in (None, ()):
                first[column] = value
    return list(joined.values())


def as_text(value: Any, *path: str) -> str:
    """Return a text or number of a payload as a cell; an empty text for anything else."""
    value = dig(value, *path)
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return ""
    return str(value).replace("\0", "").strip()


def first(cells: Cells, column: str) -> tuple[str, str]:
    """Return the first filled cell of a column, and its header."""
    for header in HEADERS[column]:
        text = cells.get(header, "")
        if not is_missing(text):
            return strip_credentials(text), header
    return "", ""


def is_missing(text: str) -> bool:
    """Return whether a cell says that nothing is known, such as ``?`` or ``n/a``."""
    return text.strip().lower() in _MISSING


def _affected(cells: Cells) -> list[str]:
    """Return the services listed in one cell, or in several cells under one repeated header."""
    parts = re.split(r"[;,|]", first(cells, "affected")[0])
    listed = [part.strip() for part in parts]
    header = first(cells, "service")[1]
    repeated = repeats(cells, header)
    if len(repeated) > 1:
        listed += map(strip_credentials, repeated)
    return listed


def _labelled(cells: Cells) -> Cells:
    """Return what labels such as ``severity/1`` and ``service::cart`` say, by header."""
    labels = " ".join(cells.get(name, "") for name in HEADERS["labels"])
    pairs = _LABEL.findall(labels)
    by_header = {header_of(key): value for key, value in pairs}
    columns = vocabulary("incidents", "labels")
    known = {name for column in columns for name in HEADERS[column]}
    return {name: value for name, value in by_header.items() if name in known}


def _names(services: Iterable[str]) -> Names:
    kept = [name for name in dict.fromkeys(services) if name and len(name) <= _LONGEST]
    return tuple(Name(name, "incident", NAMED) for name in kept)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _derived_id(cells: Cells) -> str:
    """Return a stable id of a record that reveals nothing of its content."""
    content = "\x1f".join(f"{name}={cells[name]}" for name in sorted(cells))
    return f"csv-{hashlib.sha256(content.encode(errors='replace')).hexdigest()[:16]}"


def repeats(cells: Cells, name: str) -> list[str]:
    """List the texts of all cells under one header."""
    texts = [cells.get(name, "")]
    while (following := f"{name}.{len(texts)}") in cells:
        texts.append(cells[following])
    return [text for text in texts if text]
