"""A registry: its name and address, tokens and passwords, and its limit of pulls."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from assess.image_ref import DEFAULT_REGISTRY, parse_image
from assess.sources.base import Deadline, Row
from assess.sources.http import Answer, HttpError, Web
from assess.sources.redact import strip_userinfo
from assess.sources.values import dig

HUB_ENDPOINT = "https://registry-1.docker.io"
_CHALLENGE = re.compile(r'\b(\w+)="([^"]*)"')


class Registry:
    """One registry: its name, the credentials, and the limits that its answers carry."""

    def __init__(self, options: Row, base: Path, deadline: Deadline) -> None:
        endpoint = str(options["endpoint"])
        parts = urlsplit(endpoint)
        named = parse_image(
            f"{options.get('name') or parts.netloc.rpartition('@')[2]}/x/y"
        )
        self.name = named.registry or str(parts.hostname)
        self.is_hub = self.name == DEFAULT_REGISTRY
        is_alias = (
            self.is_hub and parse_image(f"{parts.hostname}/x/y").registry == self.name
        )
        self.endpoint = HUB_ENDPOINT if is_alias else strip_userinfo(endpoint)
        self.scope = strip_userinfo(endpoint).rstrip("/")
        self.deadline = deadline
        self.ca = base / options["ca"] if options.get("ca") else None
        self.basic: str | None = None
        self.token: str | None = None
        if parts.username:
            self.basic = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        if file := options.get("token_file"):
            secret = (base / file).read_text(encoding="utf-8").strip()
            if ":" in secret:
                self.basic = secret
            else:
                self.token = secret
        self.left: int | None = None  # pulls that the registry still allows
        self.limit: tuple[int, str] | None = None  # of how many, and in which window
        self.has_referrers = True

    def open(self, endpoint: str = "", authorization: str | None = None) -> Web:
        """Open a connection with this authorization, or with the token that was given."""
        if self.token and not endpoint and not authorization:
            authorization = f"Bearer {self.token}"
        headers = {"Authorization": authorization} if authorization else None
        return Web(endpoint or self.endpoint, self.deadline, headers=headers, ca=self.ca)

    @property
    def basic_header(self) -> str | None:
        """User and password, as a header."""
        if not self.basic:
            return None
        return f"Basic {base64.b64encode(self.basic.encode()).decode()}"

    def note(self, answer: Answer) -> None:
        """Remember the limit of pulls in the headers of an answer, such as ``76;w=21600``."""
        limit = re.match(
            r"(\d{1,9})(?:;w=(\d{1,9}))?", answer.headers.get("ratelimit-limit") or ""
        )
        left = re.match(r"\d{1,9}", answer.headers.get("ratelimit-remaining") or "")
        if limit:
            hours = f" per {int(limit[2]) / 3600:g} h" if limit[2] else ""
            self.limit = (int(limit[1]), hours)
        if left:
            self.left = int(left[0])

    @property
    def is_spent(self) -> bool:
        """Whether to leave the last pulls, a tenth and at least one, to those who deploy."""
        if self.left is None:
            return False
        reserve = self.limit[0] // 10 if self.limit else 1
        return self.left <= max(1, reserve)

    @property
    def quota(self) -> str | None:
        """The limit of pulls in words."""
        if self.left is None:
            return None
        if self.limit is None:
            return f"{self.left} pulls left"
        return f"{self.left} of {self.limit[0]} pulls left{self.limit[1]}"


class Session:
    """A connection to one registry, for one of its repositories."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = name
        self.web = registry.open()

    def ask(
        self, path: str, method: str = "GET", accept: str = "application/json"
    ) -> Answer:
        """Ask the registry; where it wants a token, fetch one and ask again."""
        headers = {"Accept": accept}
        try:
            answer = self.web.get(path, method=method, headers=headers)
        except HttpError as error:
            challenge = error.headers.get("WWW-Authenticate") or ""
            if error.status_code != 401 or not self._authorize(challenge):
                raise
            answer = self.web.get(path, method=method, headers=headers)
        self.registry.note(answer)
        return answer

    def _authorize(self, challenge: str) -> bool:
        """Answer the challenge of a registry; False where that is not possible."""
        kind, _, rest = challenge.partition(" ")
        fields = dict(_CHALLENGE.findall(rest))
        if kind.lower() == "basic" and self.registry.basic_header:
            self.web.authorize(self.registry.basic_header)
            return True
        realm = urlsplit(fields.get("realm", ""))
        if kind.lower() != "bearer" or realm.scheme not in ("http", "https"):
            return False
        # A registry with TLS may not send the password over a realm without it.
        is_safe = realm.scheme == "https" or self.registry.endpoint.startswith("http://")
        basic = self.registry.basic_header if is_safe else None
        web = self.registry.open(f"{realm.scheme}://{realm.netloc}", basic or "")
        wanted = fields.get("scope") or (
            f"repository:{self.name}:pull" if self.name else None
        )
        asked = {"service": fields.get("service"), "scope": wanted}
        try:
            answer = web.json(realm.path, params={k: v for k, v in asked.items() if v})
        finally:
            self.web.requests_n += web.requests_n
            web.close()
        token = dig(answer, "token") or dig(answer, "access_token")
        if isinstance(token, str):
            self.web.authorize(f"Bearer {token}")
        return isinstance(token, str)
