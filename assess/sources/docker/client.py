"""A read-only connection to the API of one Docker engine."""

import json
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Timer
from typing import Any
from urllib.parse import unquote, urlsplit

from assess.sources.base import Row, Source, option_problems, paths_of
from assess.sources.csv_records import rows
from assess.sources.deadline import Deadline
from assess.sources.failure import hint_of, status_of, words_of
from assess.sources.redact import scrub

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
# Engines before API 1.24 list less than is read here; from engine 29 on, they refuse 1.24.
OLDEST_API = (1, 24)

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
SCHEMES = ("unix://", "tcp://", "ssh://")
TLS = ("tls_ca", "tls_cert", "tls_key")
PORT = 2375
TLS_PORT = 2376

MAX_ANSWER_BYTES = 64 << 20  # a list of 20,000 containers has about half of that


class StatusError(Exception):
    """An answer other than success."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(scrub(f"status {status_code}: {message}"))
        self.status_code = status_code


class Connection:
    """GET requests to one engine, over connections that stay open and that threads share.

    Only the named endpoint is asked: proxies, contexts and certificate bundles of the
    environment do not apply. At the deadline every connection is cut, so that an engine
    that answers a byte at a time cannot outlast it.
    """

    def __init__(
        self,
        new: Callable[[], HTTPConnection],
        deadline: Deadline,
        *,
        root: str = "",
        headers: Row | None = None,
    ) -> None:
        self._new = new
        self._deadline = deadline
        self._root = root
        self._headers = {"User-Agent": "assess", **(headers or {})}
        self._version = "/v{}.{}".format(*OLDEST_API)
        self._all: list[HTTPConnection] = []
        self._idle: SimpleQueue[HTTPConnection] = SimpleQueue()
        self._end = Timer(deadline.left, self._cut)
        self._end.daemon = True
        self._end.start()
        deadline.when_cut.append(self._cut)

    def negotiate(self, version: str) -> None:
        """Use this version of the API from now on; one that is too old raises ValueError."""
        self._version = ""
        parts = re.fullmatch(r"(\d+)\.(\d+)", version, re.ASCII)
        if not parts or (int(parts[1]), int(parts[2])) < OLDEST_API:
            raise ValueError(f"API {version} is too old")
        self._version = f"/v{version}"

    def get(self, path: str, *, is_versioned: bool = True) -> Any:
        """Return the JSON at a path."""
        version = self._version if is_versioned else ""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._new()
            self._all.append(connection)
        try:
            status, body = self._exchange(connection, f"{self._root}{version}{path}")
        except Exception:
            self._deadline.check()  # a connection that was cut is a timeout
            raise
        finally:
            self._idle.put(connection)
        if status != HTTPStatus.OK:
            raise StatusError(status, body.decode(errors="replace"))
        return json.loads(body)

    def close(self) -> None:
        """Close all connections."""
        self._end.cancel()
        for connection in self._all:
            connection.close()

    def _exchange(self, connection: HTTPConnection, path: str) -> tuple[int, bytes]:
        is_reused = connection.sock is not None
        try:
            return self._send(connection, path)
        except ConnectionError:  # also how an idle connection ends that the engine closed
            if not is_reused:
                raise
            return self._send(connection, path)

    def _send(self, connection: HTTPConnection, path: str) -> tuple[int, bytes]:
        self._deadline.check()
        try:
            if connection.sock is None:
                connection.timeout = min(CONNECT_SECONDS, self._deadline.left)
                connection.connect()
            connection.sock.settimeout(min(CALL_SECONDS, self._deadline.left))
            # An engine that hangs up has often said why, as where it wants a certificate.
            with suppress(ssl.SSLEOFError, ConnectionError):
                connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            return answer.status, _read(answer)
        except BaseException:
            connection.close()
            raise

    def _cut(self) -> None:
        for connection in self._all:
            with suppress(OSError, AttributeError):  # it is closed already
                connection.sock.shutdown(socket.SHUT_RDWR)


def _read(answer: HTTPResponse) -> bytes:
    """Return the body of an answer; one that is too large raises ValueError."""
    # With a limit, a body that ends before its length would pass for whole.
    limit = MAX_ANSWER_BYTES + 1 if answer.length is None else None
    if (answer.length or 0) <= MAX_ANSWER_BYTES:
        body = answer.read(limit)
        if len(body) <= MAX_ANSWER_BYTES:
            return body
    raise ValueError(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MB")


def problems_of(source: Source, options: Row) -> list[str]:
    """List what is wrong with the options of a source that asks an engine."""
    endpoint = endpoint_of(options)
    is_pair = ("tls_cert" in options) == ("tls_key" in options)
    problems = []
    if "path" in options and "endpoint" in options:
        problems.append("path and endpoint exclude each other")
    if "path" in options and not paths_of(options):
        problems.append("path names no file")
    if not endpoint.startswith(SCHEMES):
        problems.append(f"endpoint starts with one of {', '.join(SCHEMES)}")
    if not endpoint.partition("://")[2].strip("/"):
        problems.append("endpoint names no host")
    if not is_pair:
        problems.append("tls_cert and tls_key go together")
    return problems + option_problems(source, options)


def endpoint_of(options: Row) -> str:
    """Return the address of an engine, as the configuration writes it."""
    return str(options.get("endpoint", DEFAULT_ENDPOINT))


def connect(options: Row, base: Path, deadline: Deadline) -> Connection:
    """Prepare the connection to an engine; only ssh logs in at once."""
    endpoint = endpoint_of(options)
    parts = urlsplit(endpoint)
    if parts.scheme == "ssh":
        return _SshConnection(endpoint, deadline)
    if parts.scheme == "unix":
        return Connection(partial(_Dialled, partial(_dial_unix, parts.path)), deadline)
    tls = {name: str(base / options[name]) for name in TLS if options.get(name)}
    port = parts.port or (TLS_PORT if tls else PORT)
    new = partial(HTTPConnection, parts.hostname or "localhost", port)
    if tls:
        new = partial(HTTPSConnection, *new.args, context=_context(tls))
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Connection(new, deadline, root=parts.path.rstrip("/"), headers=headers)


def _context(tls: Row) -> ssl.SSLContext:
    """Trust the named authority, else the system's; show a client certificate if there is one."""
    from docker.tls import TLSConfig

    pair = (tls.get("tls_cert"), tls.get("tls_key"))
    config = TLSConfig(pair if any(pair) else None, tls.get("tls_ca"), verify=True)
    context = ssl.create_default_context(cafile=config.ca_cert)
    if config.cert:
        context.load_cert_chain(*config.cert)
    return context


class _Dialled(HTTPConnection):
    """HTTP over something else than TCP, that ``dial`` opens within some seconds."""

    def __init__(self, dial: Callable[[float | None], Any]) -> None:
        super().__init__("localhost")
        self._dial = dial

    def connect(self) -> None:
        self.sock = self._dial(self.timeout)


def _dial_unix(path: str, seconds: float | None) -> socket.socket:
    dialled = socket.socket(socket.AF_UNIX)
    dialled.settimeout(seconds)
    try:
        dialled.connect(path)
    except BaseException:
        dialled.close()
        raise
    return dialled


class _SshConnection(Connection):
    """A connection through one ssh login of the SDK, with a channel for each request at a time."""

    def __init__(self, endpoint: str, deadline: Deadline) -> None:
        try:
            from docker.transport import SSHHTTPAdapter
        except ImportError as error:
            error.add_note("ssh needs an extra: pip install 'assess[ssh]'")
            raise

        class Adapter(SSHHTTPAdapter):  # type: ignore[misc]
            # The SDK sets no timeouts of the login, and passes no port where none is named.
            def _create_paramiko_client(self, base_url: str) -> None:
                super()._create_paramiko_client(base_url)
                deadline.check()
                seconds = min(CONNECT_SECONDS, deadline.left)
                waits = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
                self.ssh_params |= dict.fromkeys(waits, seconds)
                self.ssh_params["port"] = self.ssh_params["port"] or 22

        self._adapter = Adapter(endpoint, timeout=CALL_SECONDS)
        super().__init__(partial(_Dialled, self._dial), deadline)

    def _dial(self, seconds: float | None) -> Any:
        channel = self._adapter.ssh_client.get_transport().open_session(timeout=seconds)
        channel.settimeout(seconds)
        channel.exec_command("docker system dial-stdio")
        return channel

    def close(self) -> None:
        super().close()
        self._adapter.close()


def failure(error: Exception) -> Row:
    """Return the columns of a coverage row that describe an error, without any secret."""
    words = words_of(error)
    known = [row for row in rows("docker/failures") if re.search(row["words"], words)]
    status = status_of(error)
    if not isinstance(error, StatusError):  # whose code says more than words
        statuses = filter(None, (row["status"] for row in known))
        status = next(statuses, status)
    hints = filter(None, (row["hint"] for row in known))
    hint = next(hints, hint_of(error, status))
    return {"status": status, "error_class": type(error).__name__, "hint": hint}
