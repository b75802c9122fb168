"""A read-only connection to one Docker engine, as lean as it can be."""

from __future__ import annotations

import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from assess.sources.base import HINTS, Deadline, Row, status_of, words_of
from assess.sources.docker.wire import Wire
from assess.sources.redact import scrub

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
LOCAL_THREADS, REMOTE_THREADS = 2, 8
OLDEST_API = "1.24"  # below it lists tell less; and engines refuse from 29 on below 1.44

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
SCHEMES = ("unix://", "tcp://", "ssh://")
TLS = ("tls_ca", "tls_cert", "tls_key")

_CERTIFICATE = "set tls_cert and tls_key"
_NO_TLS = "nothing speaks TLS there: leave tls_ca out, or mend the port"
_KNOWN = {  # status and hint by what the messages say; None: told by their classes
    "tlsparametererror": (
        "not_configured",
        "tls_ca, tls_cert and tls_key name files that exist",
    ),
    "certificate required": (
        "denied",
        f"the engine wants a client certificate: {_CERTIFICATE}",
    ),
    "bad certificate": (
        "denied",
        f"the engine refuses this client certificate: {_CERTIFICATE}",
    ),
    "unknown ca": (
        "denied",
        f"another authority signed this client certificate: {_CERTIFICATE}",
    ),
    "http request to an https server": (
        None,
        f"the engine speaks TLS: {_CERTIFICATE} and tls_ca",
    ),
    "certificate_verify_failed": (
        None,
        "tls_ca did not sign the engine's certificate for this address",
    ),
    "wrong_version_number": (None, _NO_TLS),
    "record layer failure": (None, _NO_TLS),
    "not found in known_hosts": ("denied", "add the host's key to ~/.ssh/known_hosts"),
    "authentication failed": ("denied", HINTS["denied"]),
    "ssh protocol banner": (None, "nothing speaks ssh there, or not in time"),
    "no such file or directory": (
        None,
        "no such socket: check the path, and that the engine runs",
    ),
    "connection refused": (
        None,
        "nothing listens there: check the address, and that the engine runs",
    ),
}


class StatusError(Exception):
    """An answer that is no success."""

    def __init__(self, status_code: int, told: str) -> None:
        super().__init__(scrub(f"status {status_code}: {told}"))
        self.status_code = status_code


class Connection:
    """Reads what one engine tells, from the endpoint named and from no other.

    Proxies, contexts and certificate bundles of the environment do not reach it.
    """

    def __init__(
        self,
        opened: Callable[[float], HTTPConnection],
        deadline: Deadline,
        *,
        host: str = "localhost",
        root: str = "",
        headers: str = "",
    ) -> None:
        self._wire, self._deadline, self._root = Wire(opened), deadline, root
        self._headers = f"Host: {host}\r\nUser-Agent: assess\r\n{headers}\r\n"
        self._prefix = f"/v{OLDEST_API}"

    def negotiate(self, version: str) -> None:
        """Go on in another version of the API; below the oldest there is only what has none."""
        self._prefix = ""
        if tuple(map(int, version.split("."))) < tuple(map(int, OLDEST_API.split("."))):
            raise ValueError(f"API {version} is too old")
        self._prefix = f"/v{version}"

    @property
    def is_too_old(self) -> bool:
        """Whether the engine speaks no version of the API that is known here."""
        return not self._prefix

    def get(self, path: str, *, is_versioned: bool = True) -> Any:
        """Give the JSON at a path."""
        self._deadline.check()
        left = self._deadline.left
        path = self._root + self._prefix * is_versioned + path
        if not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError("the engine named something that can be no address")
        head = f"GET {path} HTTP/1.1\r\n{self._headers}"
        waits = min(CONNECT_SECONDS, left), min(CALL_SECONDS, left)
        status, body = self._wire.get(head.encode(), *waits)
        if status != HTTPStatus.OK:
            raise StatusError(status, body.decode(errors="replace"))
        return json.loads(body)

    def close(self) -> None:
        """Close what is open."""
        self._wire.close()


def problems_of(options: Row) -> list[str]:
    """Say what is wrong with the options of an engine."""
    endpoint = str(options.get("endpoint", DEFAULT_ENDPOINT))
    wrong = {
        "path and endpoint exclude each other": "path" in options
        and "endpoint" in options,
        f"endpoint starts with one of {', '.join(SCHEMES)}": not endpoint.startswith(
            SCHEMES
        ),
        "endpoint names no host": endpoint.partition("://")[2].strip("/") == "",
        "tls_cert and tls_key go together": ("tls_cert" in options)
        != ("tls_key" in options),
    }
    return [problem for problem, is_wrong in wrong.items() if is_wrong]


def endpoint_of(options: Row) -> str:
    """Give the address of an engine, as the configuration has it."""
    return str(options.get("endpoint") or DEFAULT_ENDPOINT)


def connect(options: Row, base: Path, deadline: Deadline) -> Connection:
    """Prepare the connections to an engine; nothing is asked yet."""
    endpoint = endpoint_of(options)
    tls = {name: str(base / options[name]) for name in TLS if options.get(name)}
    parts = urlsplit(endpoint)
    if parts.scheme == "ssh":
        return _OverSsh(endpoint, deadline)
    if parts.scheme == "unix":
        return Connection(partial(_UnixConnection, parts.path), deadline)
    host, port, headers = (
        parts.hostname or "localhost",
        parts.port or (2376 if tls else 2375),
        "",
    )
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = f"Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
    opened = partial(HTTPConnection, host, port)
    if tls:
        opened = partial(HTTPSConnection, host, port, context=_context(tls))
    place, root = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
    return Connection(
        lambda s: opened(timeout=s), deadline, host=place, root=root, headers=headers
    )


def _context(tls: Row) -> ssl.SSLContext:
    """Trust the authority named, else those of the system; show a certificate where one is."""
    from docker.tls import TLSConfig

    pair = tls.get("tls_cert"), tls.get("tls_key")
    config = TLSConfig(pair if any(pair) else None, tls.get("tls_ca"), verify=True)
    context = ssl.create_default_context(cafile=config.ca_cert)
    if config.cert:
        context.load_cert_chain(*config.cert)
    return context


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _OverSsh(Connection):
    """Through the ssh of the SDK, with a login that ends."""

    def __init__(self, endpoint: str, deadline: Deadline) -> None:
        from docker.transport import SSHHTTPAdapter
        from docker.transport.sshconn import SSHConnection

        class Adapter(SSHHTTPAdapter):  # type: ignore[misc]
            def _create_paramiko_client(self, base_url: str) -> None:
                super()._create_paramiko_client(base_url)
                deadline.check()
                waits = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
                self.ssh_params |= dict.fromkeys(
                    waits, min(CONNECT_SECONDS, deadline.left)
                )
                self.ssh_params["port"] = self.ssh_params["port"] or 22

        self._adapter = Adapter(endpoint, timeout=CALL_SECONDS)
        transport = self._adapter.ssh_client.get_transport()
        super().__init__(partial(SSHConnection, transport), deadline)

    def close(self) -> None:
        super().close()
        self._adapter.close()


def failure(error: Exception) -> Row:
    """Put an error into the words of a coverage row, without any secret."""
    words = words_of(error)
    status, hint = next((_KNOWN[w] for w in _KNOWN if w in words), (None, None))
    if getattr(error, "status_code", None) is not None or not status:
        status = status_of(error)
    return {
        "status": status,
        "error_class": type(error).__name__,
        "hint": hint or HINTS.get(status),
    }
