"""From the cells of an incident, of any tool, to a row of the incidents frame.

`headers.csv` lists the headers of exports by the column that they fill; the first filled one
counts. The policy defines what severities, causes and platforms are called.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from assess import frames
from assess.policy.policy import Policy, load_policy
from assess.sources.base import Name, Row
from assess.sources.csv_records import Cells, rows
from assess.sources.redact import strip_credentials

# Columns whose words are mapped, and the table of the policy that has further ones.
_WORDS = {"cause": "cause", "platform_at_time": "platform", "container_evidence": ""}
NAMED = 0.9  # confidence in the service name of an incident
_YEARS = (1990, 2200)  # a date outside is a placeholder or a typing error
_LONGEST = 200  # characters; a longer text is not a name
# Local times of the tools that have only one reading; 03/04/26 would have two.
_LOCAL_FORMS = (
    "%d/%b/%y %I:%M %p",
    "%d/%b/%Y %I:%M %p",
    "%d/%b/%y %H:%M",
    "%d/%b/%Y %H:%M",
    "%d/%b/%y",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y %H:%M",
    "%b %d, %Y %I:%M %p",
    "%b %d, %Y, %I:%M %p",
)


HEADERS = {
    column: tuple(row["header"] for row in group)
    for column, group in groupby(rows("incidents/headers"), itemgetter("column"))
}
_DURATIONS = {  # seconds of a unit, by header
    row["header"]: int(row["seconds"])
    for row in rows("incidents/headers")
    if row["column"] == "duration"
}
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "no", "n", "0"), False),
}
_MISSING = frozenset(("", "null", "none", "n/a", "na", "nan", "-", "unknown"))


@dataclass(frozen=True)
class Vocabulary:
    """The meaning of words, from the policy."""

    severities: dict[str, int]
    words: dict[str, dict[str, str]]  # values by word, by column
    titles: dict[re.Pattern[str], str]  # causes by pattern
    containers: re.Pattern[str]


def vocabulary_of(policy: Policy) -> Vocabulary:
    """Return the vocabulary of incidents of a policy."""
    table = policy["incidents"]
    columns = frames.columns("incidents")
    words: dict[str, dict[str, str]] = {}
    for column, key in _WORDS.items():
        of_policy = {_slug(word): value for word, value in table.get(key, {}).items()}
        words[column] = of_policy | {_slug(v): v for v in columns[column].vocabulary}
    containers = "|".join(table["container_words"]) or "(?!)"
    titles = table["cause_text"].items()
    return Vocabulary(
        {word.lower(): int(severity) for word, severity in table["severity"].items()},
        words,
        {re.compile(pattern, re.IGNORECASE): cause for pattern, cause in titles},
        re.compile(rf"\b(?:{containers})\b", re.IGNORECASE),
    )


@cache
def default_vocabulary() -> Vocabulary:
    """Return the vocabulary of the default policy."""
    return vocabulary_of(load_policy())


class Reader:
    """Turns records into rows, and counts unreadable values.

    A time without an offset is in ``zone``. Without a zone, ISO-8601 is UTC, and local forms
    are unreadable.
    """

    def __init__(
        self, vocabulary: Vocabulary | None = None, zone: tzinfo | None = None
    ) -> None:
        self.unmapped = 0  # values without a mapping
        self.lost: list[str] = []  # ids of incidents without a time
        self.bad_times: Counter[str] = Counter()  # by column
        self.local_times = 0  # bad times that only lack the time zone
        self._words = vocabulary or default_vocabulary()
        self._zone = zone

    def incident(self, cells: Cells, affected: Iterable[str] = ()) -> Row | None:
        """Return a row with service names in place of ids; None without an opening time."""
        opened = self._time(cells, "opened_at")[0]
        incident_id = _first(cells, "incident_id")[0] or _derived_id(cells)
        if opened is None:
            self.lost.append(incident_id)
            return None
        exact = _first(cells, "service_id")[0]
        service = _first(cells, "service")[0]
        cause, cause_basis = self._cause(cells)
        is_change = self._boolean(cells, "change_related")
        if is_change is None and cause in ("deploy", "change"):
            is_change = True
        platform = self._word(cells, "platform_at_time")[0]
        return {
            "incident_id": incident_id,
            "service_raw": service or None,
            "names": _names([exact, service]),
            "opened_at": opened,
            "acked_at": self._acked(cells, opened),
            "severity": self._severity(cells),
            "cause": cause,
            "cause_basis": cause_basis if cause else None,
            "change_related": is_change,
            "customer_facing": self._boolean(cells, "customer_facing"),
            "platform_at_time": platform,
            "container_evidence": self._container_evidence(cells, platform),
            "affected": _names([*affected, *_affected(cells)]) or None,  # NA: not listed
            "host_id": _first(cells, "host_id")[0] or None,
            "duplicate_of": _first(cells, "duplicate_of")[0] or None,
            **self._end(cells, opened),
        }

    def _time(self, cells: Cells, column: str) -> tuple[datetime | None, str]:
        text, header = _first(cells, column)
        when = read_time(text, self._zone)
        if when is None and (text or column == "opened_at"):
            self.bad_times[column] += 1
            self.local_times += read_time(text, UTC) is not None
        return when, header

    def _acked(self, cells: Cells, opened: datetime) -> datetime | None:
        """Return the time of acknowledgement, from a time or from seconds since the opening."""
        when = self._time(cells, "acked_at")[0]
        seconds = _number(cells.get("seconds_to_first_ack", ""))
        return opened + timedelta(seconds=seconds) if when is None and seconds else when

    def _end(self, cells: Cells, opened: datetime) -> Row:
        """Return the end, the time to resolve, and the field that they come from."""
        resolved, header = self._time(cells, "resolved_at")
        seconds, duration = self._seconds(cells)
        if resolved is None and seconds is not None:
            resolved = opened + timedelta(seconds=seconds)
            header = duration
        if resolved is None:
            return {}
        is_bad = resolved < opened
        if seconds is None:
            seconds = (resolved - opened).total_seconds()
        return {
            "resolved_at": resolved,
            "resolved_basis": cells.get("resolved_basis") or header,
            "bad_time": is_bad,
            "ttr_s": None if is_bad else seconds,
        }

    def _seconds(self, cells: Cells) -> tuple[float | None, str]:
        text, header = _first(cells, "duration")
        number = _number(text)
        self.unmapped += bool(text) and number is None
        seconds = number * _DURATIONS[header] if number is not None else -1
        return (seconds, header) if 0 <= seconds < 1e9 else (None, "")

    def _severity(self, cells: Cells) -> int | None:
        texts = (cells.get(header, "").lower() for header in HEADERS["severity"])
        text = next((t for t in texts if t == "none" or t not in _MISSING), "")
        if digit := re.match(r"(?:p|s|sev|severity|priority|level)?[\s_-]*(\d)\b", text):
            severity = max(1, int(digit[1])) if int(digit[1]) <= 5 else None
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

    def _word(self, cells: Cells, column: str) -> tuple[str | None, str]:
        text, header = _first(cells, column)
        value = self._words.words[column].get(_slug(text))
        self.unmapped += bool(text) and value is None
        return value, header

    def _boolean(self, cells: Cells, column: str) -> bool | None:
        text = _first(cells, column)[0].lower()
        self.unmapped += bool(text) and text not in _BOOLEANS
        return _BOOLEANS.get(text)

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


def read_time(text: str, zone: tzinfo | None = None) -> datetime | None:
    """Parse ISO-8601 or (milli)seconds since 1970; None for an ambiguous time.

    A time without an offset is in the zone, or in UTC without a zone. Local forms such as
    ``23/Nov/26 9:04 PM`` need a zone.
    """
    text = re.sub(r"(?<!\s)\s*(?:UTC|GMT)$", "Z", text.strip())
    try:
        if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
            when = datetime.fromtimestamp(float(text), UTC)
        elif re.fullmatch(r"\d{12,13}", text):
            when = datetime.fromtimestamp(float(text) / 1000, UTC)
        elif zone and (local := _local(text)):
            when = local
        else:
            when = datetime.fromisoformat(
                re.sub(r"(?<!\s)\s+(?=[+-]\d\d:?\d\d$)", "", text)
            )
        when = (when if when.tzinfo else when.replace(tzinfo=zone or UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return when if _YEARS[0] <= when.year <= _YEARS[1] else None


def _local(text: str) -> datetime | None:
    """Parse a local time in a form of the tools."""
    if not re.search(r"[A-Za-z]{3}", text):
        return None
    for form in _LOCAL_FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def join_rows(rows: Iterable[Row]) -> list[Row]:
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
        first |= {
            k: v for k, v in row.items() if first.get(k) is None or first.get(k) == ()
        }
    return list(joined.values())


def as_text(value: Any) -> str:
    """Return a text or number of a payload as a cell; an empty text for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return ""
    return str(value).replace("\0", "").strip()


def _first(cells: Cells, column: str) -> tuple[str, str]:
    """Return the first filled cell of a column, and its header."""
    for header in HEADERS[column]:
        text = cells.get(header, "")
        if text.lower() not in _MISSING:
            return strip_credentials(text), header
    return "", ""


def _affected(cells: Cells) -> list[str]:
    """Return the services listed in one cell, or in several cells under one repeated header."""
    parts = re.split(r"[;,|]", _first(cells, "affected")[0])
    listed = [part.strip() for part in parts]
    header = _first(cells, "service")[1]
    repeated = repeats(cells, header)
    return [*listed, *map(strip_credentials, repeated if len(repeated) > 1 else [])]


def _names(services: Iterable[str]) -> tuple[Name, ...]:
    kept = [name for name in dict.fromkeys(services) if name and len(name) <= _LONGEST]
    return tuple(Name(name, "incident", NAMED) for name in kept)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _number(text: str) -> float | None:
    """Parse a number; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


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
