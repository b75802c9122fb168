"""Reading JSON over HTTP: GET and HEAD only, within a deadline, polite where a server says wait."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from assess.sources.base import Call, Deadline, Row, failure, timed
from assess.sources.dumps import MAX_BYTES, DumpError, broken, decode_values
from assess.sources.redact import strip_userinfo

CONNECT_SECONDS, CALL_SECONDS = 10.0, 30.0
MAX_RETRIES, MAX_REDIRECTS = 3, 5
_BUSY = (429, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16


class HttpError(OSError):
    """An answer that is no success; it says neither the address nor the body."""

    def __init__(self, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the server answered {status_code}")
        self.status_code, self.headers = status_code, headers


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status_code: int
    headers: Mapping[str, str]  # names in any case
    body: bytes
    url: str

    def json(self) -> Any:
        """Decode the body; an error says what it is instead."""
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
    """One server, asked through one pool of connections.

    Parameters
    ----------
    endpoint : str
        Address that paths are added to; user and password in it become basic authentication.
    deadline : Deadline
        Time that all calls together have.
    headers : mapping, optional
        Headers of every call to this server, such as its token; others never see them.
    ca : Path, optional
        Bundle of authorities to trust instead of the system's.

    Attributes
    ----------
    scope : str
        The endpoint without its user and password, for coverage rows.
    requests_n, retries_n : int
        Calls made, and how many of them were repeats.
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
        self.scope = strip_userinfo(endpoint).rstrip("/")
        self.requests_n = self.retries_n = 0
        self._deadline, self._headers = deadline, dict(headers or {})
        self._verify: bool | str = str(ca) if ca else True
        self._auth = (parts.username, parts.password or "") if parts.username else None
        self._session = requests.Session()

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

    def get(self, path: str, *, method: str = "GET", **options: Any) -> Answer:
        """Ask for a path, or an address, with ``params`` and ``headers``; follow redirects.

        Raises
        ------
        HttpError
            Where the answer is no success, after waiting where the server asks for it.
        TimeoutError
            Where the deadline has passed, or would before the server wants to be asked again.
        """
        address = path if "://" in path else f"{self.scope}/{path.lstrip('/')}"
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._patient(method, address, options)
            if answer.status_code not in _REDIRECTS:
                break
            address = urljoin(address, answer.headers.get("Location", ""))
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
            if wait >= self._deadline.left:
                break
            self.retries_n += 1
            time.sleep(wait)
        return answer

    def _once(self, method: str, address: str, options: Row) -> Answer:
        self._deadline.check()
        own = self._is_own(address)
        self.requests_n += 1
        with self._session.request(
            method,
            address,
            params=options.get("params"),
            headers={**(self._headers if own else {}), **options.get("headers", {})},
            auth=self._auth if own else None,
            verify=self._verify,
            timeout=(
                min(CONNECT_SECONDS, self._deadline.left),
                min(CALL_SECONDS, self._deadline.left),
            ),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                self._deadline.check()
                if len(body) > MAX_BYTES:
                    raise DumpError(f"the answer is larger than {MAX_BYTES >> 20} MB")
            return Answer(response.status_code, response.headers, bytes(body), address)

    def _is_own(self, address: str) -> bool:
        """Whether an address is of this server; no other server sees its credentials."""
        mine, asked = urlsplit(self.scope), urlsplit(address)
        return (mine.scheme, mine.netloc) == (asked.scheme, asked.netloc)


def open_web(
    options: Row,
    base: Path,
    deadline: Deadline,
    token: str = "Bearer {}",
    *,
    call: Call | None = None,
) -> Web:
    """Open the ``endpoint`` of a ``[[source]]`` table, with its ``token_file`` and ``ca``.

    ``token`` is the form of the header ``Authorization``, or ``Name: {}`` for another header. Where
    a bearer token is expected, a file with ``user:password`` means basic authentication. A ``call``
    counts the requests.
    """
    headers = {}
    if name := options.get("token_file"):
        secret = _read_secret(base / name)
        if (
            not secret.isprintable() or " " in secret
        ):  # an error about the header would tell it
            raise DumpError("the token_file holds more than a token")
        if ":" in secret and token == "Bearer {}":
            secret, token = base64.b64encode(secret.encode()).decode(), "Basic {}"
        header, colon, form = token.partition(": ")
        headers = (
            {header: form.format(secret)}
            if colon
            else {"Authorization": token.format(secret)}
        )
    ca = base / options["ca"] if options.get("ca") else None
    web = Web(str(options["endpoint"]), deadline, headers=headers, ca=ca)
    if call is not None:
        call.watch(web)
    return web


def _read_secret(file: Path) -> str:
    """Read a token; an error says which option names the file."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        error.add_note("token_file: there is no such file")
        raise


def ask(  # noqa: PLR0913
    row: Row,
    options: Row,
    base: Path,
    deadline: Deadline,
    *,
    work: Callable[[Web], None],
    token: str = "Bearer {}",
) -> None:
    """Open the endpoint and let ``work`` ask it; the coverage row says what came of it.

    What ``work`` counted in ``rows`` before a failure makes it partial.
    """
    web = None
    with timed(row):
        try:
            web = open_web(options, base, deadline, token)
            work(web)
        except (OSError, ValueError) as error:
            row |= failure(error)
            if row.get("rows"):
                row["status"] = "partial"
    if web is not None:
        row |= {"requests": web.requests_n, "retries": web.retries_n}
        web.close()


def _wait_of(answer: Answer, attempt: int) -> float:
    """Seconds to wait: as the server says, else ever longer [s]."""
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "")))
    except ValueError:
        return 0.5 * 2**attempt
