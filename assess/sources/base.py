"""Shared by all sources: their protocol, rows, names, and calls with coverage."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from assess.config import packaged
from assess.sources import csv_records
from assess.sources.deadline import Deadline
from assess.sources.failure import BUGS, HINTS, MORE_PAGES, failure
from assess.sources.redact import strip_credentials
from assess.sources.values import Texts, Words, as_list, number

MAX_HOURS = 1e5
TRACED = "trace"  # rule of a name under which a service reported spans of its own
Row = dict[str, Any]
Rows = list[Row]
Keyed = dict[str, Row]  # by an id or a name
FrameRow = tuple[str, Row]  # the name of a frame, and a row of it
FrameRows = list[FrameRow]
Lists = dict[str, Rows]  # rows by their frame, or by what else they have in common
Listed = TypeVar("Listed", bound=Sized)


@dataclass(frozen=True)
class Name:
    """A name that a source uses for a service, before identity resolves it."""

    name: str  # as the source writes it
    rule: str  # that found it, such as ``compose-service``
    confidence: float  # in that rule [share, 0-1]
    namespace: str = ""  # project or namespace that qualifies it where two share a name


Names = tuple[Name, ...]  # of one service, best first


class Requests(Protocol):
    """A client that counts its requests and its retries."""

    requests_n: int
    retries_n: int


class Call:
    """One question to a system, and its coverage row; `Batch.call` shows how to use it.

    As a context manager it may be entered once for each part of an answer: times and counts add
    up, the first failure is kept, and a failure beside a sound part makes the whole ``partial``.
    Without a failure the status is what `status` was called with, else it follows from the counts.

    ``client`` counts requests and retries; once ``deadline`` has passed every error is a
    ``timeout``; ``empty`` is the hint for an answer without rows; ``classify`` turns an error into
    the columns ``status``, ``error_class`` and ``hint``.
    """

    def __init__(
        self,
        row: Row,
        *,
        client: Requests | None = None,
        deadline: Deadline | None = None,
        empty: str | None = None,
        classify: Callable[[Exception], Row] = failure,
    ) -> None:
        self.row = row
        self._client = client
        self._deadline = deadline
        self._empty_hint = empty
        self._classify = classify
        self._failures: Rows = []
        self._sound_n = 0  # parts without a failure, or with rows before it
        self._is_settled = False  # by what the answer itself says
        self._is_derived = False  # whether the hint is one for want of rows
        self._start = 0.0
        self._before: Row = {}  # counts when this part began

    @property
    def outcome(self) -> str:
        """Status of the coverage row: ``timeout`` until the call ends, as a deadline may cut it."""
        return str(self.row["status"])

    @property
    def is_open(self) -> bool:
        """Whether the status is still undecided: the call has not ended and no status was set."""
        return not self._is_settled and self.outcome == "timeout"

    @property
    def has_answer(self) -> bool:
        """Whether the call ended with an answer, even an empty or an incomplete one."""
        return self.outcome in ("ok", "empty", "partial")

    @property
    def failed(self) -> str | None:
        """Status of the failure of the latest part; None if it succeeded."""
        has_failed = len(self._failures) > self._before.get("failures", 0)
        return str(self._failures[-1]["status"]) if has_failed else None

    def take(self, rows: Listed) -> Listed:
        """Count rows of the answer, and return them."""
        self.count(rows=len(rows))
        return rows

    def count(self, **counts: int) -> None:
        """Add to counts of the coverage row, such as ``requests``, ``redacted_n`` or ``rows``."""
        for column, count in counts.items():
            self.row[column] = (self.row.get(column) or 0) + count

    def note(self, **values: Any) -> None:
        """Write other columns of the coverage row, such as ``expected`` or ``window_start``."""
        self.row |= values

    def status(self, status: str, hint: str | None = None) -> None:
        """Set the status from the answer itself, such as ``unsupported``."""
        self._is_settled = True
        self.row["status"] = status
        if hint is not None:
            self.row["hint"] = hint

    def skip(self, cause: Row) -> None:
        """Take over the failure of another call, without which this one cannot be made."""
        self.row |= {name: cause.get(name) for name in ("status", "error_class", "hint")}
        self.row["requests"] = 0

    def hint(self, text: str) -> None:
        """Write what to do about the outcome."""
        self.row["hint"] = text

    def fail(self, error: Exception) -> str:
        """Record an error that does not end the call, and return its coverage status."""
        # an error after the deadline is most often its effect, such as a closed socket
        if self._deadline and not self._deadline.left:
            error = TimeoutError("no answer in time")
        self._failures.append(self._classify(error))
        return str(self._failures[-1]["status"])

    def watch(self, client: Requests) -> None:
        """Count the requests of a client that was opened inside the call."""
        self._client = client
        self._before |= {"requests": client.requests_n, "retries": client.retries_n}

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._before = {"failures": len(self._failures), "rows": self.row.get("rows", 0)}
        if self._client:
            self.watch(self._client)
        if not self._is_settled:
            self.row["status"] = "timeout"
        if self._is_derived:
            del self.row["hint"]
        self._is_derived = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        seconds = self.row.get("seconds", 0.0) + time.monotonic() - self._start
        self.row["seconds"] = round(seconds, 3)
        if self._client:
            self.count(
                requests=self._client.requests_n - self._before["requests"],
                retries=self._client.retries_n - self._before["retries"],
            )
        if error is not None:
            # our own bugs, and Ctrl-C, must not hide in a coverage row
            if isinstance(error, BUGS) or not isinstance(error, Exception):
                return False
            self.fail(error)
        # a part that failed after some rows still counts as an answer
        is_sound = len(self._failures) == self._before["failures"]
        self._sound_n += is_sound or self.row.get("rows", 0) > self._before["rows"]
        self._settle()
        return True

    def _settle(self) -> None:
        """Write the status that follows from the failures, rows and counts."""
        row = self.row
        rows = row.get("rows")
        expected = row.get("expected")
        if expected and rows is not None:
            row["ratio"] = round(rows / expected, 4)
        if self._failures:
            # the first failure explains the later ones
            row |= self._failures[0]
            # the first part of some calls only tells what to ask
            if self._sound_n and rows is not None:
                row["status"] = "partial"
        elif not self.is_open:
            pass
        # something was there and none of it could be read: not "empty"
        elif rows == 0 and row.get("unmapped_n"):
            self._derive("parse_error", HINTS["parse_error"])
        elif expected and rows is not None and rows < expected:
            self._derive("partial", None)
        elif rows == 0:
            self._derive("empty", self._empty_hint)
        else:
            row["status"] = "ok"
        if self.has_answer and MORE_PAGES in str(row.get("hint")):
            row["status"] = "partial"

    def _derive(self, status: str, hint: str | None) -> None:
        """Write a status derived from counts; its hint is removed when another part is read."""
        self.row["status"] = status
        if hint and "hint" not in self.row:
            self.row["hint"] = hint
            self._is_derived = True


@dataclass
class Batch:
    """Rows by frame that one source found, and its coverage rows.

    A row has columns of its frame, and in place of ids, until rows are joined: ``names`` of its
    service, a tuple of `Name`, best first, instead of ``service_id``; of a dependency ``src, dst``,
    each a `Name` (or ``ext:<host>`` for ``dst``); ``affected`` and ``observed``, tuples of `Name`;
    ``struck``, the `Name` that an experiment failed; of a build the ``file`` that a Compose file
    names; of an image ``image``, ``findings`` and ``serial``, by which VEX documents find it; of a
    finding the keys of the images or containers that it is ``about``.
    """

    rows: Lists = field(default_factory=lambda: defaultdict(list))
    coverage: Rows = field(default_factory=list)  # without ``run_id`` and ``source``
    # Of an engine: the id of a container's task, as its labels say.
    tasks: Texts = field(default_factory=dict)
    # Of an orchestrator: by workload_id, the ids by which engines know the task's containers.
    container_ids: dict[str, Words] = field(default_factory=dict)
    # What VEX documents state of vulnerabilities, until it is applied to images.
    statements: list[Any] = field(default_factory=list)
    # Samples of what containers use, until it is known whose they are.
    usage: list[Any] = field(default_factory=list)

    def add(self, frame: str, *rows: Row) -> None:
        """Add rows to a frame."""
        self.rows[frame].extend(rows)

    def place(self, workloads: Rows, mounts: Rows) -> None:
        """Add the workloads of a replica, and their mounts."""
        self.add("workloads", *workloads)
        self.add("mounts", *mounts)

    def at(self, scope: str) -> Batch:
        """Return a batch whose rows name the scope that they are from."""
        return self.map(lambda _, row: {"source_ref": scope, **row})

    def map(self, change: Callable[[str, Row], Row]) -> Batch:
        """Return a batch of the rows that ``change`` makes of a frame's name and a row."""
        rows = {
            frame: [change(frame, row) for row in rows]
            for frame, rows in self.rows.items()
        }
        return replace(self, rows=defaultdict(list, rows))

    def call(self, scope: str, name: str, **settings: Any) -> Call:
        """Open a call about ``scope`` (a host, a file, an account), with one coverage row.

        ``settings`` are those of `Call`. An error ends in the coverage row and the source goes on;
        only bugs (`AssertionError`, `NameError`) and interrupts pass.

        Examples
        --------
        Pages of a list; what came before a failure is kept, and the row is ``partial``::

            with batch.call(web.scope, "jobs", client=web) as call:
                for page in pages(web):
                    jobs += call.take(page)

        One question for each entry of a list::

            call = batch.call(web.scope, "job", client=web)
            call.note(expected=len(stubs))
            for stub in stubs:
                with call:
                    jobs += call.take([web.json(stub["ID"])])
                if call.failed in ("unreachable", "timeout"):
                    break
        """
        return Call(self.cover(scope, name, "timeout"), **settings)

    def cover(self, scope: str, call: str, status: str, **values: Any) -> Row:
        """Add a coverage row about something that was not asked, or is not a call."""
        # somebody may give the address of a dump, with a password, as its path
        place = {"scope": strip_credentials(scope), "call": strip_credentials(call)}
        row = {**place, "status": status, **values}
        self.coverage.append(row)
        return row

    def merge(self, other: Batch) -> None:
        """Take over the rows of another batch."""
        for frame, rows in other.rows.items():
            self.rows[frame].extend(rows)
        self.coverage.extend(other.coverage)
        self.tasks |= other.tasks
        self.container_ids |= other.container_ids
        self.statements += other.statements
        self.usage += other.usage


@dataclass
class Asked:
    """A ``[[source]]`` table while it is read: options, base path, deadline, rows so far."""

    options: Row
    base: Path  # of its relative paths
    deadline: Deadline
    batch: Batch = field(default_factory=Batch)
    others: Lists = field(default_factory=dict)  # rows of the sources before it, by frame
    is_probe: bool = False  # whether a few cheap calls are enough

    def file(self, option: str) -> Path | None:
        """Return the file that an option names; None without the option."""
        name = self.options.get(option)
        return self.base / name if name else None

    @property
    def scope(self) -> str:
        """Scope of coverage rows about the whole table: its dumps, or its endpoint."""
        if "path" in self.options:
            return ", ".join(paths_of(self.options))
        return strip_credentials(str(self.options.get("endpoint", ""))).rstrip("/")


# By label, such as ``docker#2`` for the second of its type.
Batches = list[tuple[str, Batch]]


def rows_of(batches: Batches, *frames: str) -> Iterator[Row]:
    """Yield the rows of some frames of all batches."""
    for _, batch in batches:
        for frame in frames:
            yield from batch.rows.get(frame, ())


def belonging(scope: str, call: str, known_n: int, expected: int, hint: str) -> Row:
    """Return a coverage row about how many rows of a frame have a known owner."""
    row: Row = {"scope": scope, "call": call, "status": "ok"}
    row |= {"rows": known_n, "expected": expected}
    if known_n < expected:
        row |= {"status": "partial", "hint": hint, "unmapped_n": expected - known_n}
    return row


def type_of(label: str) -> str:
    """Return the type of a source."""
    return label.partition("#")[0]


def built_in() -> Keyed:
    """Return what `types.toml` says about each type of source of this package."""
    return packaged("sources/types.toml")


def is_texts(value: Any) -> bool:
    """Return whether a value is a list of nothing but texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


# Checks of options, by their type in `option_forms.csv`.
_IS_OF_TYPE: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "texts": is_texts,
    "text or texts": lambda value: is_texts(value) or is_texts([value]),
    "switch": lambda value: isinstance(value, bool),
    "hours": lambda value: 0 < (number(value) or 0) < MAX_HOURS,
}


def has_form(option: str, value: Any) -> bool:
    """Return whether the value of an option has the form of the option."""
    kind, pattern = (_of_options(column)[option] for column in ("type", "pattern"))
    is_right = _IS_OF_TYPE[kind](value)
    if not pattern or not is_right:
        return is_right
    return all(re.fullmatch(pattern, text) for text in as_list(value))


def _of_options(column: str) -> Texts:
    return csv_records.lookup("option_forms", "option", column)


def option_problems(source: Source, options: Row) -> list[str]:
    """List the options of a table whose values do not have the expected form."""
    forms = _of_options("form")
    return [
        f"{name} is not {forms[name]}"
        for name in source.options
        if name in options and name in forms and not has_form(name, options[name])
    ]


class Source:
    """Base of all sources: each inventories part of a fleet, and only ever reads it.

    A source is made without arguments, for one ``[[source]]`` table at a time. Relative paths in
    the options of the table start from ``base``. What fails becomes a coverage row (`Batch.call`).
    A class of this package has its options, fills, needs and dump from `types.toml`.
    """

    type = ""  # name in ``[[source]] type``
    options: Words = ()  # of the table, beside ``deadline``
    fills: Words = ()  # frames
    needs = ""  # permissions, in a sentence
    dump = ""  # commands whose output it reads from files, in a line
    formats: Collection[str] = ()  # that it can be told to read
    follows = False  # whether it runs after the others, by `follow`

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if described := built_in().get(cls.__dict__.get("type", "")):
            cls.options = tuple(described["options"])
            cls.fills = tuple(described["fills"])
            cls.needs = described["needs"]
            cls.dump = described["dump"]

    @property
    def forms(self) -> Texts:
        """Forms of the lists in its payloads whose entries become rows, as `spoiled` takes them."""
        listed = csv_records.rows("forms")
        return {row["list"]: row["form"] for row in listed if row["source"] == self.type}

    def check(self, options: Row) -> list[str]:
        """List the problems of a table, before anything is asked."""
        problems = option_problems(self, options)
        kind = options.get("format")
        if self.formats and kind not in (None, *self.formats):
            problems.append(f"format {kind!r} is not one of {', '.join(self.formats)}")
        if "path" not in self.options:
            return problems
        is_served = "endpoint" in self.options
        return [*place_problems(options, is_served=is_served), *problems]

    def fill(self, asked: Asked) -> None:
        """Add all rows that the source has to the batch; of a probe only the coverage is used."""
        # a source of another package may have `collect` alone
        asked.batch.merge(self.collect(asked.options, asked.base, asked.deadline))

    def collect(self, options: Row, base: Path, deadline: Deadline) -> Batch:
        """Return all rows that the source has."""
        return self._filled(Asked(options, base, deadline))

    def probe(self, options: Row, base: Path, deadline: Deadline) -> Batch:
        """Make a few cheap calls; only their coverage rows are used."""
        filled = self._filled(Asked(options, base, deadline, is_probe=True))
        return Batch(coverage=filled.coverage)

    def follow(self, options: Row, base: Path, deadline: Deadline, rows: Lists) -> Batch:
        """Return all rows of a source that runs after the others; ``rows`` are theirs, by frame."""
        return self._filled(Asked(options, base, deadline, others=rows))

    def _filled(self, asked: Asked) -> Batch:
        self.fill(asked)
        return asked.batch


def paths_of(options: Row) -> list[str]:
    """Return the paths of a ``[[source]]`` table; an empty list if any is not a text."""
    paths = as_list(options, "path")
    return paths if all(path and isinstance(path, str) for path in paths) else []


def place_problems(options: Row, *, is_served: bool) -> list[str]:
    """List the problems of a table that names dumps (``path``) or, if served, an ``endpoint``."""
    has_path = "path" in options
    is_live = "endpoint" in options
    endpoint = str(options.get("endpoint", "http://"))
    is_address = endpoint.startswith(("http://", "https://"))
    has_access = "token_file" in options or "ca" in options
    is_read = has_path or not is_served
    is_nowhere = not has_path and not is_live
    wrong = {
        "give a path or an endpoint, not both": is_served and is_live and has_path,
        "path names no file: give a path or an endpoint": is_served and is_nowhere,
        "path names no file and no directory": is_read and not paths_of(options),
        "endpoint starts with http:// or https://": is_served and not is_address,
        "token_file and ca go with an endpoint": is_served and has_access and not is_live,
    }
    return [problem for problem, is_wrong in wrong.items() if is_wrong]
