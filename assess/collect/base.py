"""What every source shares: its protocol, its batch of rows, deadlines and coverage rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]


@dataclass(frozen=True)
class Name:
    """A name that a source has for a service, before identity decides.

    Attributes
    ----------
    name : str
        As the source writes it.
    rule : str
        Rule that gave it, such as ``compose-service``.
    confidence : float
        Confidence of that rule. [share, 0-1]
    namespace : str
        Project or namespace that qualifies it where two share a name.
    """

    name: str
    rule: str
    confidence: float
    namespace: str = ""


@dataclass
class Batch:
    """Rows that one source gave.

    Attributes
    ----------
    rows : dict of str to list of dict
        By frame. A row that belongs to a service carries ``names``, a tuple of `Name`, best first,
        in place of ``service_id``; a dependency carries ``src`` and ``dst``, each a `Name` (or
        ``ext:<host>`` for ``dst``). Identity replaces them.
    coverage : list of dict
        Rows of the coverage frame, without ``run_id`` and ``source``.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    coverage: list[Row] = field(default_factory=list)

    def add(self, frame: str, *rows: Row) -> None:
        """Add rows to a frame.

        Parameters
        ----------
        frame : str
            Name of the frame.
        *rows : dict
            Rows.
        """
        self.rows[frame].extend(rows)

    def cover(self, scope: str, call: str, status: str, **values: Any) -> Row:
        """Record what came of a call.

        Parameters
        ----------
        scope : str
            What was asked: a host, a file, an account.
        call : str
            The call.
        status : str
            Status of the coverage frame.
        **values
            Further columns of the coverage frame.

        Returns
        -------
        dict
            The row, open to later counts.
        """
        row = {"scope": scope, "call": call, "status": status, **values}
        self.coverage.append(row)
        return row

    def merge(self, other: Batch) -> None:
        """Take over the rows of another batch.

        Parameters
        ----------
        other : Batch
            The other one.
        """
        for frame, rows in other.rows.items():
            self.rows[frame].extend(rows)
        self.coverage.extend(other.coverage)


class Deadline:
    """Seconds that a source has, from now.

    Parameters
    ----------
    seconds : float
        Wall-clock time. [s]
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Time left, never below zero, in seconds."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Stop where no time is left.

        Raises
        ------
        TimeoutError
            Past the deadline.
        """
        if self.left <= 0:
            raise TimeoutError("the deadline of the source has passed")


class Source(Protocol):
    """Something that inventories part of a fleet, and only ever reads it.

    Attributes
    ----------
    type : str
        Name in ``[[source]] type``.
    options : tuple of str
        Options that it understands, beside ``deadline``.
    fills : tuple of str
        Frames that it fills.
    needs : str
        Permissions that it needs, in a sentence.
    dump : str
        Commands whose output it reads from files, in a line.
    """

    type: str
    options: tuple[str, ...]
    fills: tuple[str, ...]
    needs: str
    dump: str

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Give what the source holds; a failure becomes a coverage row, not an exception.

        Parameters
        ----------
        options : dict
            Options of the ``[[source]]`` table.
        base : Path
            Directory that relative paths start from.
        deadline : Deadline
            When to stop.
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


def status_of(error: BaseException) -> str:
    """Classify a failure.

    Parameters
    ----------
    error : BaseException
        What a call raised; SDK exceptions are told by their causes and words.

    Returns
    -------
    str
        denied, timeout, unreachable, throttled, unsupported or parse_error.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    text = " ".join(f"{type(e).__name__} {e}" for e in chain).lower()
    for status, words in _WORDS.items():
        if any(word in text for word in words):
            return status
    if any(isinstance(e, OSError) and not isinstance(e, FileNotFoundError) for e in chain):
        return "unreachable"
    return "parse_error" if isinstance(error, ValueError | KeyError | TypeError) else "unreachable"


_WORDS = {
    "timeout": ("timeout", "timed out", "deadline"),
    "denied": (
        "permission", "denied", "forbidden", "unauthorized", "401", "403",
        "certificate required", "bad certificate", "authenticationexception",
    ),
    "throttled": ("throttl", "too many requests", "429"),
    "unsupported": ("too new", "too old", "not supported", "invalidversion"),
    "parse_error": ("jsondecodeerror", "unicodedecodeerror"),
}  # fmt: skip


@contextmanager
def timed(row: Row) -> Iterator[Row]:
    """Write the time that a block took into a coverage row.

    Parameters
    ----------
    row : dict
        The row; ``seconds`` is set. [s]

    Yields
    ------
    dict
        The same row.
    """
    start = time.monotonic()
    try:
        yield row
    finally:
        row["seconds"] = round(time.monotonic() - start, 3)
