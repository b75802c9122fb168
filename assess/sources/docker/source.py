"""Docker engines: live through their API, or from dumps of the same payloads."""

import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any
from urllib.parse import urlsplit

from assess.sources.base import Asked, Batch, Call, Source, paths_of
from assess.sources.csv_records import lookup, rows
from assess.sources.deadline import in_threads
from assess.sources.docker.client import (
    Connection,
    StatusError,
    connect,
    endpoint_of,
    failure,
    problems_of,
)
from assess.sources.docker.dumps import USAGE, id_of_host
from assess.sources.docker.payload import EngineData, containers_of, short
from assess.sources.docker.rows import to_batch
from assess.sources.docker.text import (
    from_cli_container,
    from_cli_disk,
    info_of,
    is_text,
    merge_cli_images,
    version_of,
)
from assess.sources.dumps import (
    broken,
    cover_others,
    decode_values,
    files_below,
    read_text,
)
from assess.sources.redact import strip_credentials
from assess.sources.usage import read_samples
from assess.sources.values import dicts, dig, moment, text, texts

# An engine on this machine answers faster than two threads can read; a remote one is waited for.
LOCAL_THREADS = 2
REMOTE_THREADS = 8
# Beyond these, over all hosts, threads wait for the interpreter and not for engines.
_SHARED_THREADS = Semaphore(32)
_CLOCK_SET = timedelta(seconds=1)  # by more than clocks drift in a call
_WANTED = re.compile(
    r"(?:maximum|minimum) supported api version is (\d+\.\d+)", re.IGNORECASE
)
# An id becomes part of a path: with a slash or a question mark it would be another request.
_ID = re.compile(r"[0-9A-Za-z][\w.-]*", re.ASCII)
# messages of the command line in place of an answer, or beside its own version
_REFUSED = re.compile(
    r"^\s*(client( version)?:|error:|cannot connect|got permission denied|permission denied)",
    re.IGNORECASE | re.MULTILINE,
)
_PODMAN = "Podman Engine"  # among the components of a version
_HEAD = 1 << 16  # bytes of a file that show what it is
_VANISHED = (404, 409)  # 409: the engine is removing the container
# In the order of reading: paths of the API, names that files start with, commands that write them.
CALLS = {row["call"]: row for row in rows("docker/calls")}
_NUMBER = re.compile(r"(?:[-_.]|(?<!\d))\d+$")  # of one of several files
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt")
OLD_CLI = "this command line is older than 23.0: dump with --format '{{json .}}'"
NO_ENGINE = "the command reached no engine when it was dumped"


class DockerSource(Source):
    """Docker engine: one per ``[[source]]`` when live, any number from dumps."""

    type = "docker"
    check = problems_of

    def fill(self, asked: Asked) -> None:
        """Read one engine, or the dumps of several; a probe makes the calls that list things."""
        if "path" in asked.options:
            _read_hosts(asked)
        else:
            _ask_host(asked)


def _read_hosts(asked: Asked) -> None:
    """Read dumps: files, directories of them, or directories with one of them for each host."""
    batch = asked.batch
    # directories, each as it is and as the configuration names it
    hosts: dict[tuple[Path, str], dict[str, list[Path]]] = {}
    for name in paths_of(asked.options):
        place = asked.base / name
        # where the name of no file tells its command, the contents have to
        for call_of in (_call_of, _shown_by):
            alone = [(name, place)] * bool(call_of(place) and place.exists())
            if found := files_below(name, asked, call_of) or alone:
                break
        shown = {(file.parent, call_of(file)) for _, file in found}
        if call_of is _shown_by and len(shown) < len(found):
            found = []  # two of one command may be of two hosts
        for scope, file in found:
            files = hosts.setdefault((file.parent, str(Path(scope).parent)), {})
            files.setdefault(call_of(file), []).append(file)
        cover_others(name, asked, known={file.name for _, file in found})
        if not found:
            hint = "no dumps there: `assess sources docker --script` names commands and files"
            batch.cover(name, "files", "unreachable", hint=hint)
    for (directory, scope), dumps in hosts.items():
        payloads = read_dumps(dumps, scope, batch)
        is_host = payloads.version or payloads.info or payloads.inspected
        if is_host or payloads.containers is not None:
            host_id = id_of_host(asked, hosts, payloads, directory)
            batch.merge(to_batch(payloads, host_id).at(scope))


def _call_of(file: Path) -> str:
    """Return the call whose answer a file holds, by its name; empty for another file."""
    # Several commands fill several files: inspect-1.json, inspect-2.json
    stem = _NUMBER.sub("", file.stem.lower()).replace("_", "-")
    named = (call for call, row in CALLS.items() if stem in row["files"].split())
    return next(named, "") if file.suffix.lower() in SUFFIXES else ""


def _shown_by(file: Path) -> str:
    """Return the call whose answer a file holds, by a key near its start; empty for another."""
    is_dump = file.suffix.lower() in SUFFIXES and file.is_file()
    if not is_dump or file.is_symlink():  # which may lead anywhere
        return ""
    with file.open("rb") as stream:
        head = stream.read(_HEAD).decode(errors="replace")
    signs = lookup("docker/signs", "key", "call")
    return next((call for key, call in signs.items() if f'"{key}"' in head), "")


def read_dumps(files: dict[str, list[Path]], scope: str, batch: Batch) -> EngineData:
    """Read the dumps of one host; what cannot be read becomes a coverage row."""
    payloads = EngineData()
    for name, row in CALLS.items():
        if name == USAGE:
            for file in files.get(name, ()):
                with batch.call(scope, name) as call:
                    batch.usage += read_samples(file, call)
        elif name in files:
            with batch.call(scope, name) as call:
                _read_call(name, files[name], payloads, call)
        elif not row["is_optional"]:
            hint = f"no dump of it: {row['command']}"
            batch.cover(scope, name, "not_configured", hint=hint)
    # The command line cuts the ids of images; an inspection has them whole.
    named = [entry.get("Image") for entry in payloads.inspected.values()]
    whole = {short(identifier): identifier for identifier in named}
    for image in payloads.images or []:
        image["Id"] = whole.get(image["Id"]) or image["Id"]
    return payloads


def _read_call(name: str, files: list[Path], payloads: EngineData, call: Call) -> None:
    values = [value for file in files for value in _read_file(name, file, call)]
    expected = None
    if name == "images":
        values = merge_cli_images(values)
    elif convert := _FROM_CLI.get(name):
        values = [convert(value) for value in values]
    elif name == "inspect" and payloads.containers is not None:
        expected = len(payloads.containers)
    payloads.take(name, values, call, expected)
    is_client = name in ("version", "info") and not call.row["rows"]
    if is_client and call.is_open:  # nothing else is wrong with the file
        call.status("unreachable", f"{NO_ENGINE}; once it runs: {CALLS[name]['command']}")


def _read_file(name: str, file: Path, call: Call) -> list[Any]:
    """Return the values of a file; its coverage row says what is wrong with it."""
    content = read_text(file, call.row)
    if content is None:
        return []
    read = _FROM_TEXT.get(name)
    if read and is_text(content):
        found = read(content)
        if found or _REFUSED.search(content):
            return [found]
    values, rest = decode_values(content)
    if rest:
        call.note(**broken(rest) | {"status": "parse_error"})
        if re.match(r"json\s*(\n|$)", rest):  # it printed the word of `--format json`
            call.hint(OLD_CLI)
        call.hint(f"{call.row['hint']}: {CALLS[name]['command']}")
    return values


def _ask_host(asked: Asked) -> None:
    """Ask one engine; without a connection there is one coverage row."""
    options = asked.options
    batch = asked.batch
    endpoint = endpoint_of(options)
    scope = strip_credentials(endpoint)
    api = None
    with batch.call(scope, "connect", deadline=asked.deadline, classify=failure) as call:
        api = connect(options, asked.base, asked.deadline)
    if not api:
        return
    batch.coverage.remove(call.row)  # nothing was asked yet
    engine = _Engine(scope, batch, api)
    try:
        is_inspected = options.get("inspect") != "none" and not asked.is_probe
        engine.ask(is_inspected=is_inspected, is_sized=options.get("disk") is True)
    finally:
        api.close()
    payloads = engine.payloads
    if payloads.version or payloads.info:
        address = urlsplit(endpoint).hostname or platform.node()
        host_id = options.get("host_id") or payloads.info.get("Name") or address
        batch.merge(to_batch(payloads, str(host_id)).at(scope))


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
        is_too_old = False
        if newest := self.payloads.version.get("ApiVersion"):
            try:
                self.api.negotiate(newest)
            except ValueError as error:
                is_too_old = True
                version.note(**failure(error))
        self._ask_info()
        self._ask_podman()
        if is_too_old:
            return
        containers = self._ask("containers")
        sizes = ("df",) if is_sized else ()
        for name in ("networks", "images", "volumes", *sizes):
            self._ask(name)
        if is_inspected and containers.failed:
            self._call("inspect").skip(containers.row)
        elif is_inspected and self.payloads.containers:
            self._inspect([c["Id"] for c in self.payloads.containers])
            # an engine that has gone is not asked for more
            if {*self.payloads.inspect_status.values()} <= {"vanished"}:
                self._ask_images()

    def _ask_info(self) -> None:
        """Ask for the host, and compare its clock with ours at the middle of the call."""
        # Where ours was set while we waited, nothing is known about the other.
        sent = datetime.now(UTC)
        start = time.monotonic()
        self._ask("info")
        waited = timedelta(seconds=time.monotonic() - start)
        received = datetime.now(UTC)
        self.payloads.seen_at = received
        is_set = abs(received - sent - waited) > _CLOCK_SET
        clock = moment(self.payloads.info.get("SystemTime"))
        if clock and not is_set:
            skew = clock - (sent + waited / 2)
            self.payloads.clock_skew_s = round(skew.total_seconds(), 3)

    def _ask_podman(self) -> None:
        """Ask Podman for its networks, and whether it is rootless, which Docker's API hides."""
        parts = dicts(self.payloads.version, "Components")
        versions = [text(p, "Version") for p in parts if text(p, "Name") == _PODMAN]
        if not versions or not _ID.fullmatch(versions[0]):
            return
        with self._call("libpod info") as call:
            call.count(requests=1)
            path = f"/v{versions[0]}/libpod/info"
            found = self.api.get(path, is_versioned=False)
            backend = text(found, "host", "networkBackend")
            info = self.payloads.info
            if backend:
                info["NetworkBackend"] = backend
            if dig(found, "host", "security", "rootless") is True:
                # the API of 4.3 leaves it out of its options
                info["SecurityOptions"] = [
                    *texts(info, "SecurityOptions"),
                    "name=rootless",
                ]
            call.count(rows=int(bool(backend)))

    def _inspect(self, ids: list[str]) -> None:
        """Inspect containers; one that vanished in the meantime keeps what the list says."""
        with self._call("inspect") as call:
            inspected, errors = self._get_each("containers", ids, call)
            for identifier in filter(errors.__contains__, ids):
                error = errors[identifier]
                is_gone = getattr(error, "status_code", None) in _VANISHED
                status = "vanished" if is_gone else call.fail(error)
                self.payloads.inspect_status[short(identifier)] = status
            gone_n = [*self.payloads.inspect_status.values()].count("vanished")
            self.payloads.take("inspect", inspected, call, len(ids) - gone_n)

    def _ask_images(self) -> None:
        """Ask for the processor of images in use; the lists of older engines do not have it."""
        containers = containers_of(self.payloads)
        described = "ImageManifestDescriptor"
        used = {short(c.image_id) for c in containers if described not in c.inspected}
        images = {
            str(image["Id"]).removeprefix("sha256:"): image
            for image in self.payloads.images or []
            if "Architecture" not in image and short(image["Id"]) in used
        }
        if not images:
            return
        with self._call("image inspect") as call:
            found, errors = self._get_each("images", list(images), call)
            for answer in call.take(dicts(found)):
                identifier = text(answer, "Id").removeprefix("sha256:")
                image = images.get(identifier, {})
                image["Architecture"] = text(answer, "Architecture")
            for error in errors.values():
                if getattr(error, "status_code", None) not in _VANISHED:
                    call.fail(error)

    def _get_each(
        self, kind: str, ids: list[str], call: Call
    ) -> tuple[list[Any], dict[str, Exception]]:
        """Ask for things by their ids, in threads; return the answers, and errors by id."""
        found = []
        errors = {}

        def work(part: list[str]) -> None:
            for identifier in part:
                try:
                    if not _ID.fullmatch(identifier):
                        raise ValueError("the engine lists something that is no id")
                    found.append(self.api.get(f"/{kind}/{identifier}/json"))
                except Exception as error:
                    errors[identifier] = error

        wanted = LOCAL_THREADS if self._scope.startswith("unix://") else REMOTE_THREADS
        call.count(requests=len(ids))
        with _threads(wanted) as count:
            in_threads(work, [ids[start::count] for start in range(count)], count)
        return found, errors

    def _ask(self, name: str) -> Call:
        with self._call(name) as call:
            self.payloads.take(name, self._answer(name, call), call)
        return call

    def _answer(self, name: str, call: Call) -> Any:
        """Ask, and once more where the engine wants another version of the API."""
        call.count(requests=1)
        try:
            return self.api.get(CALLS[name]["path"], is_versioned=name != "version")
        except StatusError as error:
            wanted = _WANTED.search(str(error))
            if not wanted or "retries" in call.row:
                raise
        call.count(retries=1)
        self.api.negotiate(wanted[1])
        return self._answer(name, call)


_FROM_TEXT = {"info": info_of, "version": version_of}
_FROM_CLI = {"containers": from_cli_container, "df": from_cli_disk}
