"""Read JSON over HTTP: GET and HEAD only, within a deadline; retry when a server asks to wait."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin, urlsplit

from assess.reading import MAX_MAP_BYTES, read_limited, refuse_costly
from assess.sources.base import Asked, Call, Row
from assess.sources.deadline import Deadline
from assess.sources.dumps import DumpError, broken, decode_values
from assess.sources.failure import chain_of
from assess.sources.redact import scrub, strip_credentials
from assess.sources.values import number

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0  # of silence, at most
MAX_RETRIES = 3
MAX_REDIRECTS = 5
MAX_BYTES = 64 << 20  # of one answer, uncompressed: lists come in pages
_BUSY = (429, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16


class HttpError(OSError):
    """An unsuccessful answer; its message contains neither the address nor the body."""

    def __init__(self, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the server answered {status_code}")
        self.status_code = status_code
        self.headers = headers


class OtherServerError(OSError):
    """A redirect to a server that is not configured."""

    def __init__(self, address: str) -> None:
        super().__init__("the server sends its readers to another one")
        parts = urlsplit(address)
        place = scrub(f"{parts.scheme}://{parts.netloc}")
        self.add_note(f"it leads to {place}, which is not asked: name that one instead")


@dataclass(frozen=True)
class Answer:
    """The answer of a server."""

    status_code: int
    headers: Mapping[str, str]  # names in any case
    body: bytes
    url: str

    def json(self) -> Any:
        """Decode the body; an error names its real form."""
        refuse_costly(self.body)
        text = self.body.decode("utf-8-sig", errors="replace").replace("\0", "")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            rest = decode_values(text)[1] or text[:200]
            raise DumpError(broken(rest)["hint"]) from error

    @property
    def next_url(self) -> str | None:
        """Address of the next page, by the header ``Link``."""
        from requests.utils import parse_header_links

        links = parse_header_links(self.headers.get("Link") or "")
        found = next((link["url"] for link in links if link.get("rel") == "next"), None)
        return urljoin(self.url, found) if found else None


class Web:
    """One server, asked through one pool of connections, by `open_web` or in a ``with``.

    User and password in the endpoint become basic authentication. ``headers`` go with every call
    to this server, such as its token. Redirects are followed on this server only: its credentials
    never reach another one, and no server chooses what else is asked from here.
    ``ca`` is a bundle of authorities to trust instead of the system's.
    """

    def __init__(
        self,
        endpoint: str,
        deadline: Deadline,
        *,
        headers: Mapping[str, str] | None = None,
        ca: Path | None = None,
    ) -> None:
        import requests

        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an endpoint starts with http:// or https://")
        self.scope = strip_credentials(endpoint).rstrip("/")  # in coverage rows
        self.requests_n = 0
        self.retries_n = 0  # of the requests
        self._deadline = deadline
        self._max_bytes = MAX_BYTES
        self._headers = dict(headers or {})
        self._verify: bool | str = str(ca) if ca else True
        self._auth = (parts.username, parts.password or "") if parts.username else _as_is
        self._session = requests.Session()
        self._silence: OSError | None = None  # once nothing answers there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def authorize(self, value: str) -> None:
        """Send this as ``Authorization`` from now on, to this server only."""
        self._headers["Authorization"] = value

    def get(
        self, path: str, *, method: str = "GET", elsewhere: bool = False, **options: Any
    ) -> Answer:
        """Request a path, or an address, with ``params`` and ``headers``; follow redirects.

        With ``elsewhere`` they may lead to another server, which sees no credentials; else
        that raises OtherServerError. Raises HttpError if the answer is no success after the
        waits that the server asks for, TimeoutError where the deadline ends before them.
        """
        address = path if "://" in path else f"{self.scope}/{path.lstrip('/')}"
        for _ in range(MAX_REDIRECTS + 1):
            if not (elsewhere or self._is_own(address)):
                raise OtherServerError(address)
            answer = self._patient(method, address, options)
            if answer.status_code not in _REDIRECTS:
                break
            address = urljoin(address, answer.headers.get("Location", ""))
            # the address of a redirect has its own query
            options.pop("params", None)
        if not 200 <= answer.status_code < 300:
            raise HttpError(answer.status_code, answer.headers)
        return answer

    def json(self, path: str, **options: Any) -> Any:
        """Ask for a path and decode the answer."""
        return self.get(path, **options).json()

    def _patient(self, method: str, address: str, options: Row) -> Answer:
        for attempt in range(MAX_RETRIES + 1):
            answer = self._once(method, address, options)
            if answer.status_code not in _BUSY or attempt == MAX_RETRIES:
                break
            wait = _wait_of(answer, attempt)
            # waiting past the deadline would lose the answer's real status
            if wait >= self._deadline.left:
                break
            self.retries_n += 1
            time.sleep(wait)
        return answer

    def _once(self, method: str, address: str, options: Row) -> Answer:
        """Send one request, unless the server fell silent before; it ends at the deadline."""
        if self._silence:
            raise self._silence
        self.requests_n += 1
        try:
            return self._deadline.run(partial(self._exchange, method, address, options))
        except OSError as error:
            # a reset ends one connection only, and blobs may lie on another server
            is_reset = any(isinstance(e, ConnectionResetError) for e in chain_of(error))
            if self._is_own(address) and not is_reset:
                self._silence = error
            raise

    def _exchange(self, method: str, address: str, options: Row) -> Answer:
        is_own = self._is_own(address)
        left = max(self._deadline.left, 0.001)  # zero is no timeout that sockets take
        headers = {"Accept-Encoding": "gzip", **options.get("headers", {})}
        with self._session.request(
            method,
            address,
            params=options.get("params"),
            headers={**self._headers, **headers} if is_own else headers,
            auth=self._auth if is_own else _as_is,
            verify=self._verify,
            timeout=(min(CONNECT_SECONDS, left), min(CALL_SECONDS, left)),
            # `get` follows them itself, to keep credentials on this server
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            for piece in _received(response, self._deadline):
                body += piece
                if len(body) > self._max_bytes:
                    limit = f"{self._max_bytes >> 20} MB"
                    raise DumpError(f"the answer is larger than {limit}")
            return Answer(response.status_code, response.headers, bytes(body), address)

    def _is_own(self, address: str) -> bool:
        """Whether an address belongs to this server; others never receive its credentials."""
        mine = urlsplit(self.scope)
        asked = urlsplit(address)
        return (mine.scheme, mine.netloc) == (asked.scheme, asked.netloc)


def _as_is(request: PreparedRequest) -> PreparedRequest:
    """Return a request unchanged: without this, requests puts what ~/.netrc holds in its header."""
    return request


def _received(response: Response, deadline: Deadline) -> Iterator[bytes]:
    """Yield a body as it arrives; pieces are bounded, so a zip bomb cannot fill the memory."""
    from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise DumpError("the answer is compressed in a way that was not asked for")
    try:
        while piece := response.raw.read1(_CHUNK, decode_content=True):
            yield piece
            # after every piece, even of one byte
            deadline.check()
    except DecodeError as error:
        raise DumpError("the answer says that it is gzip and is not") from error
    except ReadTimeoutError as error:
        raise TimeoutError("the server stopped in the middle of an answer") from error
    except HTTPError as error:
        raise ConnectionResetError("the answer broke off") from error


def open_web(asked: Asked, token: str = "Bearer {}", *, call: Call | None = None) -> Web:
    """Open the ``endpoint`` of a ``[[source]]`` table, with its ``token_file`` and ``ca``.

    ``token`` is the form of the header ``Authorization``, or ``Name: {}`` for another header. Where
    a bearer token is expected, a file with ``user:password`` means basic authentication. A ``call``
    counts the requests.
    """
    headers = {}
    options = asked.options
    if name := options.get("token_file"):
        secret = read_secret(asked.base / name)
        # An error about the header would show it.
        if not secret.isprintable() or " " in secret:
            raise DumpError("the token_file holds more than a token")
        if ":" in secret and token == "Bearer {}":
            # "user:password" is the form of basic authentication
            secret = base64.b64encode(secret.encode()).decode()
            token = "Basic {}"
        if ": " not in token:
            token = f"Authorization: {token}"
        header, _, form = token.partition(": ")
        headers[header] = form.format(secret)
    address = str(options["endpoint"])
    web = Web(address, asked.deadline, headers=headers, ca=asked.file("ca"))
    if call:
        call.watch(web)
    return web


def read_secret(file: Path) -> str:
    """Read a token; an error says which option names the file."""
    try:
        return read_limited(file, MAX_MAP_BYTES).decode().strip()
    except FileNotFoundError as error:
        error.add_note("token_file: there is no such file")
        raise


def _wait_of(answer: Answer, attempt: int) -> float:
    """Return the seconds to wait: ``Retry-After``, else exponential backoff [s]."""
    asked = number(answer.headers.get("Retry-After"))
    return 0.5 * 2**attempt if asked is None else asked
