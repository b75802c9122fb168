"""A read-only connection to one Docker engine, as lean as it can be."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from assess.collect.base import HINTS, Deadline, Row, status_of, words_of
from assess.collect.redact import scrub, strip_userinfo

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
LOCAL_THREADS, REMOTE_THREADS = 2, 8
OLDEST_API = "1.24"  # below it lists tell less; and engines refuse from 29 on below 1.44

_CERTIFICATE = "set tls_cert and tls_key"
_NO_TLS = "nothing speaks TLS there: leave tls_ca out, or mend the port"
_KNOWN = {  # status and hint by what the messages say; None: told by their classes
    "tlsparametererror": ("not_configured", "tls_ca, tls_cert and tls_key name files that exist"),
    "certificate required": ("denied", f"the engine wants a client certificate: {_CERTIFICATE}"),
    "bad certificate": ("denied", f"the engine refuses this client certificate: {_CERTIFICATE}"),
    "unknown ca": ("denied", f"another authority signed this client certificate: {_CERTIFICATE}"),
    "http request to an https server": (None, f"the engine speaks TLS: {_CERTIFICATE} and tls_ca"),
    "certificate_verify_failed": (
        None, "tls_ca did not sign the engine's certificate for this address"),
    "wrong_version_number": (None, _NO_TLS),
    "record layer failure": (None, _NO_TLS),
    "not found in known_hosts": ("denied", "add the host's key to ~/.ssh/known_hosts"),
    "authentication failed": ("denied", HINTS["denied"]),
    "ssh protocol banner": (None, "nothing speaks ssh there, or not in time"),
    "no such file or directory": (None, "no such socket: check the path, and that the engine runs"),
    "connection refused": (
        None, "nothing listens there: check the address, and that the engine runs"),
}  # fmt: skip


class StatusError(Exception):
    """An answer that is no success."""

    def __init__(self, status_code: int, told: str) -> None:
        super().__init__(scrub(f"status {status_code}: {told}"))
        self.status_code = status_code


class Connection:
    """Reads what one engine tells, straight from a pool of connections to the endpoint named.

    Proxies, contexts and certificate bundles of the environment do not reach it. What the SDK and
    requests do around a request costs more than the answer.
    """

    def __init__(self, pool: Any, deadline: Deadline, headers: dict[str, str]) -> None:
        self._pool, self._deadline, self._headers = pool, deadline, headers
        self._prefix = f"/v{OLDEST_API}"
        self.close: Callable[[], None] = pool.close

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
        from urllib3 import Timeout

        self._deadline.check()
        left = self._deadline.left
        answer = self._pool.urlopen(
            "GET",
            self._prefix * is_versioned + path,
            headers=self._headers,
            timeout=Timeout(min(CONNECT_SECONDS, left), min(CALL_SECONDS, left)),
            retries=False,
        )
        if answer.status != HTTPStatus.OK:
            raise StatusError(answer.status, answer.data.decode(errors="replace"))
        return json.loads(answer.data)


def connect(endpoint: str, tls: Row, deadline: Deadline) -> Connection:
    """Connect to an engine, through what the SDK knows of addresses, certificates and ssh."""
    from docker.tls import TLSConfig
    from docker.utils import parse_host
    from urllib3 import connection_from_url, make_headers

    parts, headers = urlsplit(endpoint), {"User-Agent": "assess"}
    if parts.scheme == "ssh":
        return _over_ssh(endpoint, deadline, headers)
    if parts.scheme == "unix":
        return Connection(_unix_pool(parts.path), deadline, headers)
    pair = tls.get("tls_cert"), tls.get("tls_key")
    config = TLSConfig(pair if any(pair) else None, tls.get("tls_ca"), verify=True) if tls else None
    if parts.username:
        headers |= make_headers(basic_auth=f"{parts.username}:{parts.password or ''}")
    certificates: dict[str, Any] = {}
    if config:
        certificates = {"cert_reqs": "CERT_REQUIRED", "ca_certs": config.ca_cert}
        certificates |= zip(("cert_file", "key_file"), config.cert or (), strict=False)
    address = parse_host(strip_userinfo(endpoint), tls=config is not None)
    pool = connection_from_url(address, maxsize=REMOTE_THREADS, **certificates)
    return Connection(pool, deadline, headers)


def _unix_pool(path: str) -> Any:
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool

    class UnixConnection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            try:
                self.sock.connect(path)
            except OSError:
                self.close()
                raise

    class UnixPool(HTTPConnectionPool):
        ConnectionCls = UnixConnection

    return UnixPool("localhost", maxsize=LOCAL_THREADS)


def _over_ssh(endpoint: str, deadline: Deadline, headers: dict[str, str]) -> Connection:
    from docker.transport import SSHHTTPAdapter

    class Adapter(SSHHTTPAdapter):  # type: ignore[misc]
        """A login that ends."""

        def _create_paramiko_client(self, base_url: str) -> None:
            super()._create_paramiko_client(base_url)
            deadline.check()
            waits = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
            self.ssh_params |= dict.fromkeys(waits, min(CONNECT_SECONDS, deadline.left))
            self.ssh_params["port"] = self.ssh_params["port"] or 22

    adapter = Adapter(endpoint, timeout=CALL_SECONDS)
    connection = Connection(adapter.get_connection(endpoint), deadline, headers)
    connection.close = adapter.close
    return connection


def failure(error: Exception) -> Row:
    """Put an error into the words of a coverage row, without any secret."""
    words = words_of(error)
    status, hint = next((_KNOWN[w] for w in _KNOWN if w in words), (None, None))
    if getattr(error, "status_code", None) is not None or not status:
        status = status_of(error)
    return {"status": status, "error_class": type(error).__name__,
            "hint": hint or HINTS.get(status)}  # fmt: skip
