"""Docker engines: live through their API, or from dumps of the same payloads."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Semaphore
from typing import Any
from urllib.parse import urlsplit

from assess.sources.base import Batch, Deadline, Row, timed
from assess.sources.docker.client import (
    TLS,
    Connection,
    StatusError,
    connect,
    endpoint_of,
    failure,
    problems_of,
)
from assess.sources.docker.dump import find_dumps, read_dumps
from assess.sources.docker.payload import Payloads, moment, short
from assess.sources.docker.rows import to_batch
from assess.sources.redact import strip_userinfo

INSPECT = ("all", "none")
# An engine on this machine answers faster than two threads can read; a remote one is waited for.
LOCAL_THREADS = 2
REMOTE_THREADS = 8
_WANTED = re.compile(
    r"(?:maximum|minimum) supported api version is (\d+\.\d+)", re.IGNORECASE
)
_GONE = (404, 409)
_COMMON_LANES = Semaphore(
    32
)  # beyond them threads wait for the interpreter, not for engines
_PATHS = {
    "version": "/version",
    "info": "/info",
    "containers": "/containers/json?all=1",
    "images": "/images/json?all=1",
    "volumes": "/volumes",
    "df": "/system/df",
}


class DockerSource:
    """Docker engine: one per ``[[source]]`` when live, any number from dumps."""

    type = "docker"
    options = ("endpoint", "path", "host_id", "inspect", "disk", *TLS)
    fills = (
        "hosts",
        "engines",
        "images",
        "workloads",
        "mounts",
        "services",
        "dependencies",
    )
    needs = (
        "GET on /version /info /containers/json /containers/ID/json /images/json /volumes, with "
        "disk = true on /system/df, which walks the disk; who may use the socket is root on the "
        "host, so a proxy that allows only these, or dumps, is better"
    )
    dump = (
        "docker version|info|ps -a|images|volume ls --format json > version|info|ps|images|"
        "volumes.json; docker inspect $(docker ps -aq) > inspect.json; "
        "docker system df -v --format json > system-df.json"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """Say what is wrong with options, before anything is asked."""
        wrong = {
            f"inspect is one of {', '.join(INSPECT)}": options.get("inspect", "all")
            not in INSPECT,
            "disk is true or false": not isinstance(options.get("disk", False), bool),
        }
        return problems_of(options) + [
            problem for problem, is_wrong in wrong.items() if is_wrong
        ]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Give what one engine, or the dumps of several, hold."""
        batch = Batch()
        if "path" in options:
            _read_hosts(options, base, batch)
        else:
            _ask_host(options, base, deadline, batch)
        return batch

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Say what the calls that list things would give."""
        return self.collect({**options, "inspect": "none"}, base, deadline)


def _read_hosts(options: Row, base: Path, batch: Batch) -> None:
    """Read the dumps of hosts."""
    named = options["path"] if isinstance(options["path"], list) else [options["path"]]
    written = {base / str(name): str(name) for name in named}
    for path, name in written.items():
        if not find_dumps([path]):
            hint = "no dumps there; `assess sources` names the commands and the files"
            batch.cover(name, "files", "unreachable", hint=hint)
    hosts = find_dumps(list(written))
    for directory, files in hosts.items():
        scope = _scope_of(directory, written)
        payloads = read_dumps(files, scope, batch)
        found = (payloads.version, payloads.info, payloads.inspected, payloads.containers)
        if any(found) or payloads.containers == []:
            own = options.get("host_id") if len(hosts) == 1 else None
            name = own or payloads.info.get("Name") or directory.resolve().name
            _add(batch, payloads, str(name), scope)


def _scope_of(directory: Path, written: dict[Path, str]) -> str:
    """Name a directory as the configuration does."""
    for path, name in written.items():
        if directory == path:
            return name
        if directory == path.parent and path.is_file():
            return str(Path(name).parent)
        if directory.parent == path:
            return str(Path(name) / directory.name)
    return directory.name


def _ask_host(options: Row, base: Path, deadline: Deadline, batch: Batch) -> None:
    """Ask one engine; without a connection there is one coverage row."""
    endpoint = endpoint_of(options)
    scope = strip_userinfo(endpoint)
    row = batch.cover(scope, "connect", "ok")
    with timed(row):
        try:
            engine = _Engine(scope, batch, connect(options, base, deadline))
        except Exception as error:
            row |= failure(error if deadline.left else TimeoutError("no answer in time"))
            return
    batch.coverage.remove(row)  # nothing was asked yet
    try:
        engine.ask(
            is_inspecting=options.get("inspect") != "none",
            is_sizing=options.get("disk") is True,
        )
    finally:
        engine.api.close()
    payloads = engine.payloads
    if payloads.version or payloads.info:
        address = urlsplit(endpoint).hostname or platform.node()
        name = options.get("host_id") or payloads.info.get("Name") or address
        _add(batch, payloads, str(name), scope)


def _add(batch: Batch, payloads: Payloads, host_id: str, scope: str) -> None:
    rows = to_batch(payloads, host_id)
    for row in (row for rows_of_frame in rows.rows.values() for row in rows_of_frame):
        row["source_ref"] = scope
    batch.merge(rows)


@contextmanager
def _lanes(wanted: int) -> Iterator[int]:
    """Give a number of threads for a host: one is its own, the others are common to all hosts."""
    more = sum(_COMMON_LANES.acquire(blocking=False) for _ in range(wanted - 1))
    try:
        yield 1 + more
    finally:
        for _ in range(more):
            _COMMON_LANES.release()


class _Engine:
    """One engine that is being asked: every call leaves a coverage row."""

    def __init__(self, scope: str, batch: Batch, api: Connection) -> None:
        self.scope, self.batch, self.api = scope, batch, api
        self.payloads = Payloads()

    def ask(self, *, is_inspecting: bool, is_sizing: bool) -> None:
        """Ask all that it is asked, unless the first answers say that there is no use."""
        row = self._call("version")
        has_answered = row.get("error_class") in (None, StatusError.__name__)
        if not has_answered or row["status"] == "unreachable":
            return
        if newest := self.payloads.version.get("ApiVersion"):
            try:
                self.api.negotiate(newest)
            except ValueError as error:
                row |= failure(error)
        self._ask_info()
        if self.api.is_too_old:
            return
        self._call("containers")
        self._call("images")
        self._call("volumes")
        if is_sizing:
            self._call("df")
        if is_inspecting and self.payloads.containers:
            self._inspect([c["Id"] for c in self.payloads.containers])

    def _ask_info(self) -> None:
        """Ask for the host and its clock."""
        sent = datetime.now(UTC)
        self._call("info")
        received = self.payloads.seen_at = datetime.now(UTC)
        if clock := moment(self.payloads.info.get("SystemTime")):
            skew = (clock - (sent + (received - sent) / 2)).total_seconds()
            self.payloads.clock_skew_s = round(skew, 3)

    def _inspect(self, ids: list[str]) -> None:
        """Inspect containers; one that vanished in the meantime keeps what the list said."""
        found: list[Any] = []
        errors: dict[str, Exception] = {}

        def work(part: list[str]) -> None:
            for identifier in part:
                try:
                    found.append(self.api.get(f"/containers/{identifier}/json"))
                except Exception as error:
                    errors[identifier] = error

        row = self.batch.cover(self.scope, "inspect", "ok", requests=len(ids))
        wanted = LOCAL_THREADS if self.scope.startswith("unix://") else REMOTE_THREADS
        with timed(row), _lanes(wanted) as lanes_n, ThreadPoolExecutor(lanes_n) as pool:
            list(pool.map(work, (ids[n::lanes_n] for n in range(lanes_n))))
        failed = {
            identifier: failure(errors[identifier])
            for identifier in ids
            if identifier in errors
            and getattr(errors[identifier], "status_code", None) not in _GONE
        }
        self.payloads.inspect_status = {
            short(i): failed[i]["status"] if i in failed else "vanished" for i in errors
        }
        self.payloads.take("inspect", found, row, len(ids) - len(errors) + len(failed))
        if failed:
            first = next(iter(failed.values()))
            row |= first | ({"status": "partial"} if found else {})

    def _call(self, call: str) -> Row:
        """Make one call and keep its answer, if there is any."""
        row = self.batch.cover(self.scope, call, "ok", requests=1)
        with timed(row):
            try:
                self.payloads.take(call, self._answer(call, row), row)
            except Exception as error:
                row |= failure(error)
        return row

    def _answer(self, call: str, row: Row) -> Any:
        """Ask, and where the engine wants another API version, ask again."""
        try:
            return self.api.get(_PATHS[call], is_versioned=call != "version")
        except StatusError as error:
            wanted = _WANTED.search(str(error))
            if not wanted or "retries" in row:
                raise
        row["retries"] = 1
        self.api.negotiate(wanted[1])
        return self._answer(call, row)
