"""From the cells of an incident, whatever tool they come from, to a row of the incidents frame."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

from assess import frames
from assess.policy.policy import Policy, load_policy
from assess.sources.base import Name, Row
from assess.sources.csv_records import Cells, repeats
from assess.sources.incidents import words
from assess.sources.redact import strip_userinfo

NAMED = 0.9  # confidence in the name that an incident has for its service
_YEARS = (1990, 2200)  # outside of them a date means never, or is a slip of the pen
_LONGEST = 200  # characters of a name; more is no name
# Forms in which the tools write local times, and no other reading is possible.
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


@dataclass(frozen=True)
class Vocabulary:
    """What the policy says that words mean."""

    severities: dict[str, int]
    causes: dict[str, str]
    platforms: dict[str, str]
    titles: tuple[tuple[re.Pattern[str], str], ...]  # and the causes that they tell
    containers: re.Pattern[str]


def vocabulary_of(policy: Policy) -> Vocabulary:
    """Take the words of incidents from a policy."""
    table = policy["incidents"]
    return Vocabulary(
        {word.lower(): int(severity) for word, severity in table["severity"].items()},
        {_slug(word): cause for word, cause in table["cause"].items()},
        {_slug(word): platform for word, platform in table["platform"].items()},
        tuple(
            (re.compile(p, re.IGNORECASE), cause)
            for p, cause in table["cause_text"].items()
        ),
        re.compile(
            rf"\b(?:{'|'.join(table['container_words']) or '(?!)'})\b", re.IGNORECASE
        ),
    )


@cache
def default_vocabulary() -> Vocabulary:
    """Give the words of the policy that comes with assess."""
    return vocabulary_of(load_policy())


class Reader:
    """Turns records into rows, and counts what it could not read.

    Times without an offset are those of ``zone``, where one is given; without one, ISO-8601 is
    taken as UTC, and local forms cannot be read.
    """

    def __init__(
        self, vocabulary: Vocabulary | None = None, zone: tzinfo | None = None
    ) -> None:
        self.unmapped = 0  # values without a mapping
        self.bad_times: Counter[str] = Counter()  # by column
        self.local_times = 0  # of those, how many only lack the time zone
        self._words, self._zone = vocabulary or default_vocabulary(), zone

    def incident(self, cells: Cells, affected: Iterable[str] = ()) -> Row | None:
        """Make a row, with names in place of ids; None where nothing says when it opened."""
        opened = self._time(cells, "opened_at")[0]
        if opened is None:
            return None
        exact, service = (
            _first(cells, column)[0] for column in ("service_id", "service")
        )
        cause, cause_basis = self._cause(cells)
        is_change = self._boolean(cells, "change_related")
        if is_change is None and cause in ("deploy", "change"):
            is_change = True
        platform = self._word(cells, "platform_at_time", self._words.platforms)[0]
        return {
            "incident_id": _first(cells, "incident_id")[0] or _derived_id(cells),
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
            "affected": _names([*affected, *_affected(cells)]) or None,  # it does not say
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
        """Say when somebody took it up, by a time or by seconds since it opened."""
        when = self._time(cells, "acked_at")[0]
        seconds = _number(cells.get("seconds_to_first_ack", ""))
        return opened + timedelta(seconds=seconds) if when is None and seconds else when

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
        basis = cells.get("resolved_basis") or header
        return {
            "resolved_at": resolved,
            "resolved_basis": basis,
            "bad_time": is_bad,
            "ttr_s": ttr,
        }

    def _seconds(self, cells: Cells) -> tuple[float | None, str]:
        text, header = _first(cells, "duration")
        number = _number(text)
        self.unmapped += bool(text) and number is None
        seconds = number * words.DURATIONS[header] if number is not None else -1
        return (seconds, header) if 0 <= seconds < 1e9 else (None, "")

    def _severity(self, cells: Cells) -> int | None:
        headers = words.COLUMNS["severity"]
        texts = (cells.get(header, "").lower() for header in headers)
        text = next((t for t in texts if t == "none" or t not in words.MISSING), "")
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
        """Say what caused it: by a field, else by what its title fits."""
        cause, header = self._word(cells, "cause", self._words.causes)
        if cause not in (None, "unknown") or header:
            return cause, header
        for title in words.TITLES:
            for pattern, meant in self._words.titles:
                if pattern.search(cells.get(title, "")):
                    return meant, f"words of the {title}"
        return None, ""

    def _word(
        self, cells: Cells, column: str, known: dict[str, str]
    ) -> tuple[str | None, str]:
        text, header = _first(cells, column)
        word = _slug(text)
        found = _meant(column).get(word, known.get(word))
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
        texts = {
            basis: " ".join(text for header in headers for text in repeats(cells, header))
            for basis, headers in said.items()
        }
        for basis, text in texts.items():
            if self._words.containers.search(text):
                return basis
        if platform not in (None, "host", "unknown", "mixed"):
            return "platform"
        return (
            "none"
            if platform == "host" or any(t.strip() for t in texts.values())
            else None
        )


def read_time(text: str, zone: tzinfo | None = None) -> datetime | None:
    """Read ISO-8601 or (milli)seconds since 1970; None for what may be several moments.

    Without an offset it is of the time zone, and of UTC where none is given; local forms such as
    ``23/Nov/26 9:04 PM`` are only read with one.
    """
    text = re.sub(r"\s*(?:UTC|GMT)$", "Z", text.strip())
    try:
        if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
            when = datetime.fromtimestamp(float(text), UTC)
        elif re.fullmatch(r"\d{12,13}", text):
            when = datetime.fromtimestamp(float(text) / 1000, UTC)
        elif zone and (local := _local(text)):
            when = local
        else:
            when = datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d\d:?\d\d$)", "", text))
        when = (when if when.tzinfo else when.replace(tzinfo=zone or UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return when if _YEARS[0] <= when.year <= _YEARS[1] else None


def _local(text: str) -> datetime | None:
    """Read a local time in one of the forms that the tools write."""
    if not re.search(r"[A-Za-z]{3}", text):
        return None
    for form in _LOCAL_FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def join_rows(rows: Iterable[Row]) -> list[Row]:
    """Make one row of an incident that an export lists once per service; all are ``affected``."""
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
    """Give a text or a number of a payload as a cell; empty for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    return (
        str(value).replace("\0", "").strip()
        if isinstance(value, str | int | float)
        else ""
    )


def _first(cells: Cells, column: str) -> tuple[str, str]:
    """Give the first filled cell under any header of a column, and its header."""
    filled = ((cells.get(header, ""), header) for header in words.COLUMNS[column])
    text, found = next(
        ((t, h) for t, h in filled if t.lower() not in words.MISSING), ("", "")
    )
    return strip_userinfo(text), found


def _affected(cells: Cells) -> list[str]:
    """Services that it lists in one cell, or in the cells of a header that is there several times.

    The main service alone is no list.
    """
    listed = re.split(r"\s*[;,|]\s*", _first(cells, "affected")[0])
    header = _first(cells, "service")[1]
    repeated = repeats(cells, header)
    return [*listed, *map(strip_userinfo, repeated if len(repeated) > 1 else [])]


def _names(services: Iterable[str]) -> tuple[Name, ...]:
    kept = [name for name in dict.fromkeys(services) if name and len(name) <= _LONGEST]
    return tuple(Name(name, "incident", NAMED) for name in kept)


@cache
def _meant(column: str) -> dict[str, str]:
    """Values of a column, by how they may be written."""
    return {
        _slug(value): value for value in frames.columns("incidents")[column].vocabulary
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _number(text: str) -> float | None:
    """Read a number; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


def _derived_id(cells: Cells) -> str:
    """Give an id that the same record always gets; it tells nothing of what the record says."""
    content = "\x1f".join(f"{name}={cells[name]}" for name in sorted(cells))
    return f"csv-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
