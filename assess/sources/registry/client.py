"""A registry: its name and address, tokens and passwords, and its limit of pulls."""

import base64
import re
from functools import partial
from urllib.parse import unquote, urlsplit

from assess.image_ref import DEFAULT_REGISTRY, parse_image
from assess.sources.base import Asked
from assess.sources.http import Answer, HttpError, Web, read_secret
from assess.sources.values import text

# The distribution spec lets registries refuse manifests above 4 MB; eight are read at a time.
MAX_ANSWER_BYTES = 8 << 20
HUB_ENDPOINT = "https://registry-1.docker.io"
_CHALLENGE = re.compile(r'\b(\w+)="([^"]*)"')


class Registry:
    """One registry: its name, the credentials, and the limits that its answers carry."""

    def __init__(self, asked: Asked) -> None:
        options = asked.options
        endpoint = str(options["endpoint"])
        parts = urlsplit(endpoint)
        host = parts.netloc.rpartition("@")[2]
        named = parse_image(f"{options.get('name') or host}/x/y")
        self.name = named.registry or str(parts.hostname)
        self.is_hub = self.name == DEFAULT_REGISTRY
        # Docker Hub answers to several names, but not at all of them.
        at_host = parse_image(f"{parts.hostname}/x/y").registry
        is_hub_host = self.is_hub and at_host == DEFAULT_REGISTRY
        self.endpoint = HUB_ENDPOINT if is_hub_host else asked.scope
        self.scope = asked.scope
        self.deadline = asked.deadline
        self.ca = asked.base / options["ca"] if options.get("ca") else None
        self.token: str | None = None
        login = ""
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        if file := options.get("token_file"):
            secret = read_secret(asked.base / file)
            if ":" in secret:
                login = secret
            else:
                self.token = secret
        # User and password, as a header.
        encoded = base64.b64encode(login.encode()).decode()
        self.basic = f"Basic {encoded}" if login else None
        self.left: int | None = None  # pulls that the registry still allows
        self.limit: tuple[int, str] | None = None  # of how many, and in which window
        self.has_referrers = True

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


class Session(Web):
    """A connection to one registry, for one of its repositories."""

    def __init__(self, registry: Registry, name: str) -> None:
        super().__init__(registry.endpoint, registry.deadline, ca=registry.ca)
        self.registry = registry
        self.name = name
        self._max_bytes = MAX_ANSWER_BYTES
        if registry.token:
            self.authorize(f"Bearer {registry.token}")

    def ask(
        self, path: str, method: str = "GET", accept: str = "application/json"
    ) -> Answer:
        """Ask the registry; where it wants a token, fetch one and ask again."""
        # Only blobs may lie elsewhere: registries keep them in the storage of a cloud.
        headers = {"Accept": accept}
        get = partial(self.get, path, method=method, elsewhere="/blobs/" in path)
        try:
            answer = get(headers=headers)
        except HttpError as error:
            challenge = error.headers.get("WWW-Authenticate") or ""
            if error.status_code != 401 or not self._answer(challenge):
                raise
            answer = get(headers=headers)
        self.registry.note(answer)
        return answer

    def _answer(self, challenge: str) -> bool:
        """Answer the challenge of a registry; False where that is not possible."""
        registry = self.registry
        kind, _, rest = challenge.partition(" ")
        fields = dict(_CHALLENGE.findall(rest))
        if kind.lower() == "basic" and registry.basic:
            self.authorize(registry.basic)
            return True
        realm = urlsplit(fields.get("realm", ""))
        if kind.lower() != "bearer" or realm.scheme not in ("http", "https"):
            return False
        if self.name:
            fields.setdefault("scope", f"repository:{self.name}:pull")
        params = {key: fields[key] for key in ("service", "scope") if fields.get(key)}
        with Web(
            f"{realm.scheme}://{realm.netloc}", registry.deadline, ca=registry.ca
        ) as web:
            # A registry with TLS may not send the password over a realm without it.
            is_safe = realm.scheme == "https" or registry.endpoint.startswith("http://")
            if registry.basic and is_safe:
                web.authorize(registry.basic)
            try:
                answer = web.json(realm.path, params=params)
            finally:
                self.requests_n += web.requests_n
        token = text(answer, "token") or text(answer, "access_token")
        if token:
            self.authorize(f"Bearer {token}")
        return bool(token)
