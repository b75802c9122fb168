"""What every source shares: its protocol, its batch of rows, deadlines and coverage rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from assess.sources.redact import scrub

Row = dict[str, Any]


@dataclass(frozen=True)
class Name:
    """A name that a source has for a service, before identity decides."""

    name: str  # as the source writes it
    rule: str  # that gave it, such as ``compose-service``
    confidence: float  # in that rule [share, 0-1]
    namespace: str = ""  # project or namespace that qualifies it where two share a name


@dataclass
class Batch:
    """Rows by frame that one source gave, and its coverage rows.

    A row that belongs to a service carries ``names``, a tuple of `Name`, best first, in place of
    ``service_id``; a dependency carries ``src`` and ``dst``, each a `Name` (or ``ext:<host>`` for
    ``dst``); an incident's ``affected`` is a tuple of `Name`. Identity replaces them. Keys that
    start with an underscore serve the joining of sources, and are no columns.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    coverage: list[Row] = field(default_factory=list)  # without ``run_id`` and ``source``

    def add(self, frame: str, *rows: Row) -> None:
        """Add rows to a frame."""
        self.rows[frame].extend(rows)

    def cover(self, scope: str, call: str, status: str, **values: Any) -> Row:
        """Record what came of a call; the row is open to later counts."""
        row = {"scope": scope, "call": call, "status": status, **values}
        self.coverage.append(row)
        return row

    def merge(self, other: Batch) -> None:
        """Take over the rows of another batch."""
        for frame, rows in other.rows.items():
            self.rows[frame].extend(rows)
        self.coverage.extend(other.coverage)


class Deadline:
    """Seconds that a source has, from now."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise TimeoutError where no time is left."""
        if self.left <= 0:
            raise TimeoutError("the deadline of the source has passed")


class Source(Protocol):
    """Something that inventories part of a fleet, and only ever reads it.

    It may also have ``check(options) -> list of str``, the problems of its ``[[source]]`` table,
    and ``probe``, with the arguments of ``collect``: a few cheap calls, of which only the coverage
    rows are kept. With ``follow(options, base, deadline, rows)`` it runs when the others are done,
    with the rows by frame that they found; it is called in place of ``collect``.
    """

    type: str  # name in ``[[source]] type``
    options: tuple[str, ...]  # that it understands, beside ``deadline``
    fills: tuple[str, ...]  # frames
    needs: str  # permissions, in a sentence
    dump: str  # commands whose output it reads from files, in a line

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Give what the source holds; a failure becomes a coverage row, not an exception.

        Relative paths in the options start from ``base``.
        """
        ...


HINTS = {
    "denied": "grant the read permissions that `assess sources` lists",
    "timeout": "raise the deadline, or hand over dumps of this source",
    "unreachable": "check the address, and that something listens there",
    "unsupported": "hand over dumps of this source",
    "throttled": "run again later, or less often",
    "parse_error": "dump it again; `assess sources` names the commands",
}
STATUS_OF_CODE = {
    401: "denied",
    403: "denied",
    404: "unsupported",
    429: "throttled",
    501: "unsupported",
}
_WORDS = {
    "timeout": ("timeout", "timed out", "deadline"),
    "denied": (
        "permission",
        "denied",
        "forbidden",
        "unauthorized",
        "401",
        "403",
        "certificate required",
        "bad certificate",
        "authenticationexception",
    ),
    "throttled": ("throttl", "too many requests", "429"),
    "unsupported": ("too new", "too old", "not supported", "invalidversion"),
    "parse_error": ("jsondecodeerror", "unicodedecodeerror"),
}


def chain_of(error: BaseException) -> list[BaseException]:
    """Give an error and its causes."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def words_of(error: BaseException) -> str:
    """Give the classes and messages of an error and its causes, in lower case."""
    return " ".join(f"{type(e).__name__} {e}" for e in chain_of(error)).lower()


def status_of(error: BaseException) -> str:
    """Classify a failure as a coverage status, by its code, else by its causes and words."""
    code = next(
        (c for e in chain_of(error) if (c := getattr(e, "status_code", None))), None
    )
    if isinstance(code, int):
        return STATUS_OF_CODE.get(code, "unreachable")
    text = words_of(error)
    for status, words in _WORDS.items():
        if any(word in text for word in words):
            return status
    system = (e for e in chain_of(error) if isinstance(e, OSError))
    if any(not isinstance(e, FileNotFoundError) for e in system):
        return "unreachable"
    return (
        "parse_error"
        if isinstance(error, ValueError | KeyError | TypeError)
        else "unreachable"
    )


def failure(error: Exception) -> Row:
    """Put an error into the words of a coverage row, without any secret."""
    status = status_of(error)
    told = scrub(str(error)) if isinstance(error, ValueError) else None
    return {
        "status": status,
        "error_class": type(error).__name__,
        "hint": told or HINTS.get(status),
    }


def file_failure(error: Exception) -> Row:
    """Give the columns of a coverage row that say why a file could not be read."""
    status, hint = "parse_error", str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.strerror:  # of the system, not of a format
        status, hint = status_of(error), error.strerror
    if isinstance(error, FileNotFoundError):
        hint = "there is no such file"
    return {"status": status, "error_class": type(error).__name__, "hint": scrub(hint)}


def paths_of(options: dict[str, Any]) -> list[str]:
    """Give the paths of a ``[[source]]`` table: one, or a list of them; empty if they are none."""
    path = options.get("path")
    paths: list[Any] = path if isinstance(path, list) else [path]
    return paths if all(path and isinstance(path, str) for path in paths) else []


@contextmanager
def timed(row: Row) -> Iterator[Row]:
    """Write the seconds that a block took into a coverage row."""
    start = time.monotonic()
    try:
        yield row
    finally:
        row["seconds"] = round(time.monotonic() - start, 3)
