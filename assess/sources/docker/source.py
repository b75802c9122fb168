"""Docker engines: live through their API, or from dumps of the same payloads."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any
from urllib.parse import urlsplit

from assess.sources.base import Batch, Call, Deadline, Row, Source
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
from assess.sources.docker.payload import EngineData, short
from assess.sources.docker.rows import to_batch
from assess.sources.redact import strip_userinfo
from assess.sources.values import moment

INSPECT = ("all", "none")
# An engine on this machine answers faster than two threads can read; a remote one is waited for.
LOCAL_THREADS = 2
REMOTE_THREADS = 8
# Beyond these, over all hosts, threads wait for the interpreter and not for engines.
_SHARED_THREADS = Semaphore(32)
_WANTED = re.compile(
    r"(?:maximum|minimum) supported api version is (\d+\.\d+)", re.IGNORECASE
)
_VANISHED = (404, 409)  # 409: the engine is removing the container
_PATHS = {
    "version": "/version",
    "info": "/info",
    "containers": "/containers/json?all=1",
    "images": "/images/json?all=1",
    "volumes": "/volumes",
    "df": "/system/df",
}


class DockerSource(Source):
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
        """List what is wrong with the options."""
        problems = problems_of(options)
        if options.get("inspect", "all") not in INSPECT:
            problems.append(f"inspect is one of {', '.join(INSPECT)}")
        if not isinstance(options.get("disk", False), bool):
            problems.append("disk is true or false")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read one engine, or the dumps of several."""
        batch = Batch()
        if "path" in options:
            _read_hosts(options, base, batch)
        else:
            _ask_host(options, base, deadline, batch)
        return batch

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Make the calls that list things."""
        return self.collect({**options, "inspect": "none"}, base, deadline)


def _read_hosts(options: Row, base: Path, batch: Batch) -> None:
    """Read the dumps of hosts."""
    paths = options["path"] if isinstance(options["path"], list) else [options["path"]]
    names = {base / str(path): str(path) for path in paths}
    for path, name in names.items():
        if not find_dumps([path]):
            hint = "no dumps there; `assess sources` names the commands and the files"
            batch.cover(name, "files", "unreachable", hint=hint)
    hosts = find_dumps(list(names))
    for directory, files in hosts.items():
        scope = _scope_of(directory, names)
        payloads = read_dumps(files, scope, batch)
        is_host = payloads.version or payloads.info or payloads.inspected
        if is_host or payloads.containers is not None:
            own = options.get("host_id") if len(hosts) == 1 else None
            host_id = own or payloads.info.get("Name") or directory.resolve().name
            _add(batch, payloads, str(host_id), scope)


def _scope_of(directory: Path, names: dict[Path, str]) -> str:
    """Name a directory as the configuration does."""
    for path, name in names.items():
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
    api = None
    with batch.call(scope, "connect", deadline=deadline, classify=failure) as call:
        api = connect(options, base, deadline)
    if api is None:
        return
    batch.coverage.remove(call.row)  # nothing was asked yet
    engine = _Engine(scope, batch, api)
    try:
        is_inspected = options.get("inspect") != "none"
        engine.ask(is_inspected=is_inspected, is_sized=options.get("disk") is True)
    finally:
        api.close()
    payloads = engine.payloads
    if payloads.version or payloads.info:
        address = urlsplit(endpoint).hostname or platform.node()
        host_id = options.get("host_id") or payloads.info.get("Name") or address
        _add(batch, payloads, str(host_id), scope)


def _add(batch: Batch, payloads: EngineData, host_id: str, scope: str) -> None:
    """Add the rows of one engine, with the scope they come from."""
    host = to_batch(payloads, host_id)
    for rows in host.rows.values():
        for row in rows:
            row["source_ref"] = scope
    batch.merge(host)


@contextmanager
def _threads(wanted: int) -> Iterator[int]:
    """Reserve threads for a host: one is its own, all hosts share the others."""
    shared = sum(_SHARED_THREADS.acquire(blocking=False) for _ in range(wanted - 1))
    try:
        yield 1 + shared
    finally:
        for _ in range(shared):
            _SHARED_THREADS.release()


class _Engine:
    """One engine that is asked; every call leaves a coverage row."""

    def __init__(self, scope: str, batch: Batch, api: Connection) -> None:
        self.api = api
        self.payloads = EngineData()
        self._scope = scope
        self._call = partial(batch.call, scope, classify=failure)

    def ask(self, *, is_inspected: bool, is_sized: bool) -> None:
        """Make all calls, unless the first answers show that the others would fail."""
        version = self._ask("version")
        has_answered = version.row.get("error_class") in (None, StatusError.__name__)
        if not has_answered or version.outcome == "unreachable":
            return
        if newest := self.payloads.version.get("ApiVersion"):
            try:
                self.api.negotiate(newest)
            except ValueError as error:
                version.note(**failure(error))
        self._ask_info()
        if self.api.is_too_old:
            return
        for name in ("containers", "images", "volumes"):
            self._ask(name)
        if is_sized:
            self._ask("df")
        if is_inspected and self.payloads.containers:
            self._inspect([c["Id"] for c in self.payloads.containers])

    def _ask_info(self) -> None:
        """Ask for the host, and compare its clock with ours at the middle of the call."""
        sent = datetime.now(UTC)
        self._ask("info")
        received = datetime.now(UTC)
        self.payloads.seen_at = received
        if clock := moment(self.payloads.info.get("SystemTime")):
            skew = clock - (sent + (received - sent) / 2)
            self.payloads.clock_skew_s = round(skew.total_seconds(), 3)

    def _inspect(self, ids: list[str]) -> None:
        """Inspect containers; one that vanished in the meantime keeps what the list says."""
        inspected: list[Any] = []
        errors: dict[str, Exception] = {}

        def work(part: list[str]) -> None:
            for identifier in part:
                try:
                    inspected.append(self.api.get(f"/containers/{identifier}/json"))
                except Exception as error:
                    errors[identifier] = error

        wanted = LOCAL_THREADS if self._scope.startswith("unix://") else REMOTE_THREADS
        with self._call("inspect") as call:
            call.count(requests=len(ids))
            with _threads(wanted) as count, ThreadPoolExecutor(count) as pool:
                list(pool.map(work, (ids[start::count] for start in range(count))))
            vanished_n = 0
            for identifier in filter(errors.__contains__, ids):
                error = errors[identifier]
                is_gone = getattr(error, "status_code", None) in _VANISHED
                vanished_n += is_gone
                status = "vanished" if is_gone else call.fail(error)
                self.payloads.inspect_status[short(identifier)] = status
            self.payloads.take("inspect", inspected, call, len(ids) - vanished_n)

    def _ask(self, name: str) -> Call:
        """Make one call and keep its answer."""
        with self._call(name) as call:
            self.payloads.take(name, self._answer(name, call), call)
        return call

    def _answer(self, name: str, call: Call) -> Any:
        """Ask, and once more where the engine wants another version of the API."""
        call.count(requests=1)
        try:
            return self.api.get(_PATHS[name], is_versioned=name != "version")
        except StatusError as error:
            wanted = _WANTED.search(str(error))
            if not wanted or "retries" in call.row:
                raise
        call.count(retries=1)
        self.api.negotiate(wanted[1])
        return self._answer(name, call)
