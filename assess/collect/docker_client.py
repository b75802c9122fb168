"""A read-only connection to one Docker engine, through the SDK's low-level API and its hooks."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from assess.collect.base import HINTS, Deadline, Row, status_of
from assess.collect.redact import scrub
from assess.errors import ConfigError

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
LOCAL_THREADS, REMOTE_THREADS = 2, 8
OLDEST_API = "1.24"  # below it the SDK refuses; and engines do from 29 on below 1.44
_LIMIT = re.compile(r"(?:maximum|minimum) supported api version is (\d+\.\d+)", re.IGNORECASE)
_TLS_HINTS = {
    "certificate required": "the engine wants a client certificate: set tls_cert and tls_key",
    "bad certificate": "the engine refuses this client certificate: set tls_cert and tls_key",
    "unknown ca": "another authority signed this client certificate: set tls_cert and tls_key",
    "http request to an https server": "the engine speaks TLS: set tls_ca, tls_cert and tls_key",
    "certificate_verify_failed": "tls_ca did not sign the engine's certificate for this address",
    "wrong_version_number": "nothing speaks TLS there: leave tls_ca out, or mend the port",
    "record layer failure": "nothing speaks TLS there: leave tls_ca out, or mend the port",
    "not found in known_hosts": "add the host's key to ~/.ssh/known_hosts",
    "no such file or directory": "no such socket: check the path, and that the engine runs",
    "connection refused": "nothing listens there: check the address, and that the engine runs",
}
_DENIED_WORDS = ("unknown ca", "not found in known_hosts", "authentication failed")

Item = TypeVar("Item", bound=Hashable)


class TooOldError(Exception):
    """An engine that the SDK does not speak to."""


def connect(endpoint: str, options: Row, deadline: Deadline) -> Any:
    """Open a connection; it is made to the endpoint named, and to no other.

    Parameters
    ----------
    endpoint : str
        ``unix://``, ``tcp://`` or ``ssh://``.
    options : dict
        ``tls_ca``, ``tls_cert``, ``tls_key``: paths.
    deadline : Deadline
        When to stop.

    Returns
    -------
    docker.APIClient
        Of the oldest API version, until `negotiate`; proxies and certificate bundles in the
        environment do not reach it.
    """
    return _client(OLDEST_API, *_transport(endpoint, options, deadline))


def _transport(endpoint: str, options: Row, deadline: Deadline) -> tuple[str, Any, Any]:
    """Give base URL, adapter and TLS configuration of an endpoint."""
    from docker.tls import TLSConfig
    from requests.adapters import HTTPAdapter

    parts = urlsplit(endpoint)
    if parts.scheme == "unix":
        return "http+docker://localhost", _unix_adapter(parts.path), None
    if parts.scheme == "ssh":
        return "http+docker://ssh", _ssh_adapter(endpoint, deadline), None
    if parts.scheme != "tcp" or not parts.hostname:
        raise ConfigError("an endpoint starts with unix://, tcp:// or ssh://")
    pair = (options.get("tls_cert"), options.get("tls_key"))
    if not options.get("tls_ca") and not any(pair):
        return f"http://{parts.netloc}", HTTPAdapter(), None
    missing = [p for p in (options.get("tls_ca"), *pair) if p and not Path(p).is_file()]
    if missing:
        raise ConfigError("tls_ca, tls_cert and tls_key have to name files that exist")
    tls = TLSConfig(
        client_cert=pair if all(pair) else None, ca_cert=options.get("tls_ca"), verify=True
    )
    return f"https://{parts.netloc}", HTTPAdapter(), tls


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
            left = min(CONNECT_SECONDS, deadline.left)
            self.ssh_params |= {"timeout": left, "banner_timeout": left, "auth_timeout": left}
            self.ssh_params["port"] = self.ssh_params["port"] or 22

        def get_connection(self, _url: str, proxies: Any = None) -> Any:
            return super().get_connection("http+docker://ssh", proxies)

    return Adapter(endpoint, timeout=CALL_SECONDS)


def _client(version: str, base_url: str, adapter: Any, tls: Any) -> Any:
    from docker import APIClient

    api = APIClient(base_url="tcp://localhost:2375", version=version)  # asks nothing yet
    api.trust_env = False
    api.base_url = base_url
    api.mount(base_url.partition("//")[0] + "//", adapter)
    if tls:
        tls.configure_client(api)
    return api


def negotiate(api: Any, version: str) -> Any:
    """Give the same connection another API version.

    Parameters
    ----------
    api : docker.APIClient
        A connection.
    version : str
        The engine's newest API version.

    Returns
    -------
    docker.APIClient
        Over the same transport.

    Raises
    ------
    TooOldError
        Where the SDK does not speak it any more.
    """
    if tuple(map(int, version.split("."))) < tuple(map(int, OLDEST_API.split("."))):
        raise TooOldError(f"API {version} is too old: the SDK starts at {OLDEST_API}")
    other = _client(version, api.base_url, api.get_adapter(api.base_url), None)
    other.verify, other.cert = api.verify, api.cert
    return other


class StatusError(Exception):
    """An answer that is no success."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


def inspector(api: Any) -> Callable[[str], Any]:
    """Give a function that inspects a container, at a third of the price of the SDK's own.

    Parameters
    ----------
    api : docker.APIClient
        A negotiated connection.

    Returns
    -------
    callable
        Takes a container id and gives its payload; the requests go straight to the pool of the
        connection, for what the SDK and requests do around them costs more than the answer.
    """
    from requests import Request
    from urllib3 import Timeout

    pool = api.get_adapter(api.base_url).get_connection_with_tls_context(
        Request("GET", api.base_url).prepare(), api.verify, cert=api.cert
    )
    timeout = Timeout(*api.timeout)

    def inspect(identifier: str) -> Any:
        path = f"/v{api.api_version}/containers/{identifier}/json"
        answer = pool.urlopen("GET", path, timeout=timeout, retries=False)
        if answer.status != HTTPStatus.OK:
            raise StatusError(answer.status)
        return json.loads(answer.data)

    return inspect


def version_wanted(error: Exception) -> str | None:
    """Read from a refusal which API version the engine wants.

    Parameters
    ----------
    error : Exception
        Such as "client version 1.53 is too new. Maximum supported API version is 1.45".

    Returns
    -------
    str or None
        That version; None for any other error.
    """
    found = _LIMIT.search(str(error))
    return found[1] if found else None


def gather(
    call: Callable[[Item], Any], items: Iterable[Item], *, threads: int, deadline: Deadline
) -> tuple[dict[Item, Any], dict[Item, Exception]]:
    """Call for each item, and never wait beyond the deadline, whatever a call waits for.

    Parameters
    ----------
    call : callable
        Takes an item.
    items : iterable
        Distinct items.
    threads : int
        Calls at a time. [count]
    deadline : Deadline
        When to give up; calls still under way are left behind.

    Returns
    -------
    results : dict
        By item.
    errors : dict
        What the calls raised, and ``TimeoutError`` for those that had no answer.
    """
    waiting = deque(items)
    missing = dict.fromkeys(waiting)
    results: dict[Item, Any] = {}
    errors: dict[Item, Exception] = {}

    def work() -> None:
        while waiting:
            try:
                item = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                results[item] = call(item)
            except Exception as error:
                errors[item] = error

    workers = [
        threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(missing)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(deadline.left)
    waiting.clear()
    found, failed = dict(results), dict(errors)
    late = TimeoutError("no answer before the deadline")
    return found, failed | {i: late for i in missing if i not in found and i not in failed}


def failure(error: BaseException) -> Row:
    """Put an error into the words of a coverage row.

    Parameters
    ----------
    error : BaseException
        What a call raised.

    Returns
    -------
    dict
        status, error_class, hint: without any secret.
    """
    words = _words(error)
    code = getattr(error, "status_code", None)
    status = status_of(error)
    if code is not None:
        by_code = {401: "denied", 403: "denied", 404: "unsupported", 429: "throttled"}
        status = by_code.get(code, "unsupported" if code == 501 else "unreachable")
    elif isinstance(error, ConfigError | TooOldError):
        status = "not_configured" if isinstance(error, ConfigError) else "unsupported"
    elif any(word in words for word in _DENIED_WORDS):
        status = "denied"
    advice = next((hint for word, hint in _TLS_HINTS.items() if word in words), None)
    said = scrub(str(error)) if isinstance(error, ConfigError | TooOldError) else None
    hint = advice or said or HINTS.get(status)
    return {"status": status, "error_class": type(error).__name__, "hint": hint}


def _words(error: BaseException) -> str:
    """All messages of a chain of causes, in lower case."""
    words: list[str] = []
    link: BaseException | None = error
    while link is not None and len(words) < 10:
        words.append(f"{type(link).__name__} {link}")
        link = link.__cause__ or link.__context__
    return " ".join(words).lower()
