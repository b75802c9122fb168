"""A read-only connection to one Docker engine, through the SDK's low-level API and its hooks."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from assess.collect.base import HINTS, Deadline, Row, status_of, words_of
from assess.collect.redact import strip_userinfo

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
LOCAL_THREADS, REMOTE_THREADS = 2, 8
OLDEST_API = "1.24"  # below it the SDK refuses; and engines do from 29 on below 1.44

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

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


def connector(endpoint: str, tls: Row, deadline: Deadline) -> Callable[[str], Any]:
    """Give a function from an API version to an ``APIClient`` over one and the same transport.

    It connects to the endpoint named and to no other: proxies, contexts and certificate bundles of
    the environment do not reach it.
    """
    from docker import APIClient
    from docker.tls import TLSConfig
    from requests.adapters import HTTPAdapter

    parts, pair, config = urlsplit(endpoint), (tls.get("tls_cert"), tls.get("tls_key")), None
    if parts.scheme == "tcp" and tls:
        config = TLSConfig(pair if any(pair) else None, tls.get("tls_ca"), verify=True)
    if parts.scheme == "ssh":
        adapter, address = _ssh_adapter(endpoint, deadline), "unix:///ssh"
    else:
        adapter = _unix_adapter(parts.path) if parts.scheme == "unix" else HTTPAdapter()
        address = strip_userinfo(endpoint)

    def connect(version: str) -> Any:
        api = APIClient(address, version=version, tls=config)  # asks nothing yet
        api.trust_env = False
        api.auth = (parts.username, parts.password or "") if parts.username else None
        api.mount(api.base_url.partition("//")[0] + "//", adapter)
        return api

    return connect


def _unix_adapter(path: str) -> Any:
    """One pool for all addresses: the SDK's own opens a connection for each."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool

    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            try:
                self.sock.connect(path)
            except OSError:
                self.close()
                raise

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class Adapter(HTTPAdapter):
        pool = Pool("localhost", maxsize=LOCAL_THREADS)

        def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
            return self.pool

        def request_url(self, request: Any, _proxies: Any) -> str:
            return str(request.path_url)

        def close(self) -> None:
            self.pool.close()

    return Adapter()


def _ssh_adapter(endpoint: str, deadline: Deadline) -> Any:
    from docker.transport import SSHHTTPAdapter

    class Adapter(SSHHTTPAdapter):  # type: ignore[misc]
        """One pool for all addresses, and a login that ends."""

        def _create_paramiko_client(self, base_url: str) -> None:
            super()._create_paramiko_client(base_url)
            deadline.check()
            waits = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
            self.ssh_params |= dict.fromkeys(waits, min(CONNECT_SECONDS, deadline.left))
            self.ssh_params["port"] = self.ssh_params["port"] or 22

        def get_connection(self, _url: str, proxies: Any = None) -> Any:
            return super().get_connection("http+docker://ssh", proxies)

    return Adapter(endpoint, timeout=CALL_SECONDS)


def inspector(api: Any) -> Callable[[str, tuple[float, float]], Any]:
    """Give a function that inspects a container, at a third of the price of the SDK's own.

    Its requests go straight to the pool of the connection, for what the SDK and requests do around
    them costs more than the answer.
    """
    from requests import Request
    from urllib3 import Timeout

    request = api.prepare_request(Request("GET", api.base_url))
    pool = api.get_adapter(api.base_url).get_connection_with_tls_context(
        request, api.verify, cert=api.cert
    )

    def inspect(identifier: str, timeout: tuple[float, float]) -> Any:
        path = f"/v{api.api_version}/containers/{identifier}/json"
        answer = pool.urlopen(
            "GET", path, headers=request.headers, timeout=Timeout(*timeout), retries=False
        )
        if answer.status != HTTPStatus.OK:
            raise StatusError(answer.status)
        return json.loads(answer.data)

    return inspect


def failure(error: Exception) -> Row:
    """Put an error into the words of a coverage row, without any secret."""
    words = words_of(error)
    status, hint = next((_KNOWN[w] for w in _KNOWN if w in words), (None, None))
    if getattr(error, "status_code", None) is not None or not status:
        status = status_of(error)
    return {"status": status, "error_class": type(error).__name__,
            "hint": hint or HINTS.get(status)}  # fmt: skip
