"""Docker engines: live through their API, or from dumps of the same payloads."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assess.collect.base import Batch, Deadline, Row, timed
from assess.collect.docker_cache import InspectionCache, clock
from assess.collect.docker_client import (
    CALL_SECONDS,
    CONNECT_SECONDS,
    LOCAL_THREADS,
    REMOTE_THREADS,
    TooOldError,
    connect,
    failure,
    gather,
    inspector,
    negotiate,
    version_wanted,
)
from assess.collect.docker_dump import expect, find_dumps, is_of_engine, read_dumps
from assess.collect.docker_payload import (
    Payload,
    Payloads,
    dicts,
    keep_all,
    keep_container,
    keep_image,
    keep_info,
    keep_inspected,
    keep_version,
    keep_volume,
    moment,
    short,
)
from assess.collect.docker_rows import to_batch
from assess.collect.redact import strip_userinfo

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
SCHEMES = ("unix://", "tcp://", "ssh://")
INSPECT = ("all", "changed", "none")


class DockerSource:
    """Docker engine: one per ``[[source]]`` when live, any number from dumps.

    Attributes
    ----------
    type, options, fills, needs, dump
        See `assess.collect.base.Source`.
    """

    type = "docker"
    options = ("endpoint", "path", "host_id", "inspect", "cache", "tls_ca", "tls_cert", "tls_key")
    fills = (
        "hosts", "engines", "images", "workloads", "mounts", "services", "dependencies",
    )  # fmt: skip
    needs = (
        "GET on /version /info /containers/json /containers/ID/json /images/json /volumes; who may "
        "use the socket is root on the host, so a proxy that allows only these, or dumps, is better"
    )
    dump = (
        "docker version|info|ps -a|images|volume ls --format json > version|info|ps|images|"
        "volumes.json; docker inspect $(docker ps -aq) > inspect.json"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """Say what is wrong with options, before anything is asked.

        Parameters
        ----------
        options : dict
            As written.

        Returns
        -------
        list of str
            Problems; empty where there are none.
        """
        problems = []
        if "path" in options and "endpoint" in options:
            problems.append("path and endpoint exclude each other")
        if options.get("inspect", "all") not in INSPECT:
            problems.append(f"inspect is one of {', '.join(INSPECT)}")
        if options.get("inspect") == "changed" and "cache" not in options:
            problems.append("inspect = 'changed' needs cache, a file to remember inspections in")
        if not str(options.get("endpoint", DEFAULT_ENDPOINT)).startswith(SCHEMES):
            problems.append(f"endpoint starts with one of {', '.join(SCHEMES)}")
        if bool(options.get("tls_cert")) != bool(options.get("tls_key")):
            problems.append("tls_cert and tls_key go together")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Give what one engine, or the dumps of several, hold.

        Parameters
        ----------
        options : dict
            ``endpoint`` (with ``tls_ca tls_cert tls_key``) or ``path``; ``host_id``; ``inspect``
            all, none, or changed, which remembers inspections in the file ``cache``.
        base : Path
            Directory that relative paths start from.
        deadline : Deadline
            When to stop.

        Returns
        -------
        Batch
            Rows and coverage; a failure is a coverage row.
        """
        if "path" in options:
            return read_hosts(options, base)
        return get_host(options, base, deadline)


def read_hosts(options: Row, base: Path) -> Batch:
    """Read the dumps of hosts.

    Parameters
    ----------
    options : dict
        ``path`` (text or list), ``host_id``.
    base : Path
        Directory that relative paths start from.

    Returns
    -------
    Batch
        Rows and coverage.
    """
    batch = Batch()
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
        if is_of_engine(payloads):
            own = options.get("host_id") if len(hosts) == 1 else None
            name = own or payloads.info.get("Name") or directory.resolve().name
            _add(batch, payloads, str(name), scope)
    return batch


def _scope_of(directory: Path, written: dict[Path, str]) -> str:
    """Name a directory as the configuration does."""
    for path, name in written.items():
        if directory == path or (path.is_file() and directory == path.parent):
            return name if directory == path else str(Path(name).parent)
        if directory.parent == path:
            return str(Path(name) / directory.name)
    return directory.name


def get_host(options: Row, base: Path, deadline: Deadline) -> Batch:
    """Ask one engine.

    Parameters
    ----------
    options : dict
        See `DockerSource.collect`.
    base : Path
        Directory that relative paths start from.
    deadline : Deadline
        When to stop.

    Returns
    -------
    Batch
        Rows and coverage.
    """
    batch = Batch()
    endpoint = str(options.get("endpoint") or DEFAULT_ENDPOINT)
    tls = {k: str(base / options[k]) for k in ("tls_ca", "tls_cert", "tls_key") if options.get(k)}
    which = str(options.get("inspect", "all"))
    cache = base / str(options["cache"]) if options.get("cache") else None
    engine = _Engine(strip_userinfo(endpoint), batch, deadline)
    if not engine.open(endpoint, tls):
        return batch
    payloads = engine.payloads
    try:
        engine.get_version()
        if not engine.is_lost:
            engine.get_info()
        if not (engine.is_lost or engine.is_too_old):
            engine.get_lists()
            engine.get_inspected(which, InspectionCache(cache))
    finally:
        engine.api.close()
    if payloads.version or payloads.info:
        name = options.get("host_id") or payloads.info.get("Name") or _address_of(endpoint)
        _add(batch, payloads, str(name), engine.scope)
    return batch


def _address_of(endpoint: str) -> str:
    return urlsplit(endpoint).hostname or platform.node()


def _add(batch: Batch, payloads: Payloads, host_id: str, scope: str) -> None:
    rows = to_batch(payloads, host_id)
    for row in (row for rows_of_frame in rows.rows.values() for row in rows_of_frame):
        row["source_ref"] = scope
    batch.merge(rows)


class _Engine:
    """One engine that is being asked: every call leaves a coverage row."""

    def __init__(self, scope: str, batch: Batch, deadline: Deadline) -> None:
        self.scope, self.batch, self.deadline = scope, batch, deadline
        self.payloads = Payloads()
        self.is_too_old = False
        self.is_lost = False
        self.api: Any = None
        is_local = scope.startswith("unix://")
        self.threads = LOCAL_THREADS if is_local else REMOTE_THREADS

    def open(self, endpoint: str, tls: Row) -> bool:
        """Connect; without a connection there is one coverage row."""
        row = self.batch.cover(self.scope, "connect", "ok")
        with timed(row):
            self.api = self._ask(row, lambda: connect(endpoint, tls, self.deadline))
        if self.api is not None:
            self.batch.coverage.remove(row)  # nothing was asked yet
        return self.api is not None

    def get_version(self) -> None:
        """Ask for the version, and agree on an API version."""
        row, raw = self._call("version", lambda: self.api.version(api_version=False))
        self.payloads.version = keep_version(raw)
        newest = self.payloads.version.get("ApiVersion")
        if raw is None:
            answered = row["error_class"] in ("APIError", "NotFound")
            self.is_lost = not answered or row["status"] == "unreachable"
            return
        try:
            row["rows"] = int(bool(self.payloads.version))
            if newest:
                self.api = negotiate(self.api, newest)
        except (TooOldError, ValueError) as error:
            self.is_too_old = True
            row |= failure(error)

    def get_info(self) -> None:
        """Ask for the host; an engine that is too old for the SDK is asked without a version."""
        sent = datetime.now(UTC)
        row, raw = self._call("info", self._get_info)
        received = datetime.now(UTC)
        self.payloads.seen_at = received
        if raw is None:
            return
        self.payloads.info = keep_info(raw)
        row["rows"] = int(bool(self.payloads.info))
        clock = moment(self.payloads.info.get("SystemTime"))
        if clock:
            skew = (clock - (sent + (received - sent) / 2)).total_seconds()
            self.payloads.clock_skew_s = round(skew, 3)

    def _get_info(self) -> Any:
        if not self.is_too_old:
            return self.api.info()
        response = self.api.get(f"{self.api.base_url}/info", timeout=self._timeout())
        response.raise_for_status()
        return response.json()

    def get_lists(self) -> None:
        """Ask for containers, images and volumes: one request each."""
        info = self.payloads.info
        self.payloads.containers = self._list(
            "containers", lambda: self.api.containers(all=True), keep_container,
            info.get("Containers"),
        )  # fmt: skip
        self.payloads.images = self._list(
            "images", lambda: self.api.images(all=True), keep_image, info.get("Images")
        )
        self.payloads.volumes = self._list(
            "volumes", lambda: self.api.volumes()["Volumes"] or [], keep_volume, None
        )

    def get_inspected(self, which: str, cache: InspectionCache) -> None:
        """Inspect containers; one that vanished in the meantime keeps what the list said."""
        payloads, listed = self.payloads, self.payloads.containers or []
        if which == "none" or not listed:
            return
        now = clock(payloads.info.get("SystemTime"))
        payloads.inspected = cache.unchanged(listed, now) if which == "changed" else {}
        ids = [c["Id"] for c in listed if short(c["Id"]) not in payloads.inspected]
        row = self.batch.cover(self.scope, "inspect", "ok", requests=len(ids))
        with timed(row):
            self.api.timeout = self._timeout()
            inspect = inspector(self.api)
            found, errors = gather(
                lambda identifier: keep_inspected(inspect(identifier)),
                ids,
                threads=self.threads,
                deadline=self.deadline,
            )
        row["redacted_n"] = sum(redacted for _, redacted in found.values())
        payloads.inspected |= {short(i): kept for i, (kept, _) in found.items()}
        failed = {i: failure(e) for i, e in errors.items() if not _is_gone(e)}
        statuses = {i: failed[i]["status"] if i in failed else "vanished" for i in errors}
        payloads.inspect_status = {short(i): status for i, status in statuses.items()}
        row["rows"] = len(payloads.inspected)
        expect(row, len(listed) - (len(errors) - len(failed)))
        if failed:
            first = next(iter(failed.values()))
            row |= first | {"status": "partial" if payloads.inspected else first["status"]}
        if which == "changed":
            cache.store(payloads.inspected, {short(i) for i in found}, now)

    def _list(
        self,
        call: str,
        ask: Callable[[], Any],
        keep: Callable[[Payload], tuple[Payload, int]],
        expected: int | None,
    ) -> list[Payload] | None:
        row, raw = self._call(call, ask)
        if raw is None:
            return None
        kept = keep_all(dicts(raw), keep, row)
        row["rows"] = len(kept)
        if not kept:
            row["status"] = "empty"
        expect(row, expected)
        return kept

    def _call(self, call: str, ask: Callable[[], Any]) -> tuple[Row, Any]:
        """Make one call; None is its answer where it failed."""
        row = self.batch.cover(self.scope, call, "ok", requests=1)
        with timed(row):
            return row, self._ask(row, ask)

    def _ask(self, row: Row, ask: Callable[[], Any], *, retry: bool = True) -> Any:
        if self.api is not None:
            self.api.timeout = self._timeout()
        answer, errors = gather(lambda _: ask(), [0], threads=1, deadline=self.deadline)
        if not errors:
            return answer[0]
        wanted = version_wanted(errors[0])
        if wanted and retry and self.api is not None:
            try:
                self.api = negotiate(self.api, wanted)
            except TooOldError as error:
                self.is_too_old = True
                row |= failure(error)
                return None
            row["retries"] = 1
            return self._ask(row, ask, retry=False)
        row |= failure(errors[0])
        return None

    def _timeout(self) -> tuple[float, float]:
        left = max(self.deadline.left, 0.001)
        return min(CONNECT_SECONDS, left), min(CALL_SECONDS, left)


def _is_gone(error: Exception) -> bool:
    return getattr(error, "status_code", None) in (404, 409)
