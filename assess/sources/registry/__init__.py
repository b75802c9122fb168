"""Registries of images: the distribution API, the dialect of Docker Hub, and dumps."""

import base64
import hashlib
import re
from collections.abc import Iterator
from functools import partial
from urllib.parse import unquote, urlsplit

from assess.image_ref import DEFAULT_REGISTRY, parse_image
from assess.sources.base import Asked, Batch, Call, Row, Source, has_form
from assess.sources.deadline import in_threads
from assess.sources.dumps import each_dump, read_json
from assess.sources.failure import HINTS, failure
from assess.sources.http import Answer, HttpError, Web, read_secret
from assess.sources.registry.rows import (
    ACCEPT,
    BESIDE,
    Repository,
    all_digests,
    documents_of,
    is_ref,
    is_signed,
    keep_config,
    keep_manifest,
    to_dumped,
    to_images,
    type_of,
    used_refs,
)
from assess.sources.values import dicts, dig, picked, text, texts

# The distribution spec lets registries refuse manifests above 4 MB; eight are read at a time.
MAX_ANSWER_BYTES = 8 << 20
HUB_ENDPOINT = "https://registry-1.docker.io"
_CHALLENGE = re.compile(r'\b(\w+)="([^"]*)"')
HUB_API = "https://hub.docker.com"
HUB_PAGE = 100  # tags
MAX_TAGS = 100_000  # of a repository; a list without an end would fill the memory
PARALLEL = 8  # repositories that are asked at a time
MAX_CONFIG_BYTES = 4 << 20  # that of an image has some KB; more is no configuration
NOT_THERE = "the registry has no such repository, or does not show it"
WANTS_LOGIN = "set token_file to a file with user:password, or with a token for pulls"
_UNKNOWN_METHOD = (400, 405, 501)
_UNKNOWN_CALL = (404, *_UNKNOWN_METHOD)


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
        self.ca = asked.file("ca")
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


class RegistrySource(Source):
    """Registry of images, live or from dumps; runs after the sources that list used images."""

    type = "registry"
    follows = True

    def fill(self, asked: Asked) -> None:
        """Read the images of repositories, by default those that the fleet's images name."""
        if "path" in asked.options:
            _read_dumps(asked)
            return
        try:
            registry = Registry(asked)
        except (OSError, ValueError) as error:  # of the file of credentials
            asked.batch.cover(asked.scope, "token_file", **failure(error))
            return
        ask = _probe if asked.is_probe else _ask
        ask(registry, asked)


def _ask(registry: Registry, asked: Asked) -> None:
    options = asked.options
    used = used_refs(asked.others, registry.name)
    wanted = options.get("repositories") or sorted(
        name for name in used if has_form("repositories", [name])
    )
    if not wanted:
        hint = "nothing that was found before names its images; list repositories"
        asked.batch.cover(registry.scope, "repositories", "not_configured", hint=hint)
    # Repositories of Docker Hub have thousands of tags of which a fleet uses a few.
    is_hub_only = registry.is_hub and "repositories" not in options
    mode = options.get("tags") or ("used" if is_hub_only else "all")

    def read(name: str) -> Batch:
        return _Repository(registry, name).read(mode, used.get(name, set()))

    for part in in_threads(read, wanted, PARALLEL):
        asked.batch.merge(part)


def _probe(registry: Registry, asked: Asked) -> None:
    """Make one call for each repository that the options name."""
    for name in asked.options.get("repositories") or [""]:
        asked.batch.merge(_Repository(registry, name).probe())


def _failure(error: Exception) -> Row:
    code = getattr(error, "status_code", None)
    row = failure(error)
    if code == 401:
        row["hint"] = WANTS_LOGIN
    elif code == 404:
        row |= {"status": "empty", "hint": NOT_THERE}
    return row


class _Repository:
    """One repository that is asked; every kind of call leaves a coverage row."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = name
        self.batch = Batch()
        self.scope = f"{registry.scope}/{name}"
        self.content = Repository(registry.name, name)
        self.web = Session(registry, name)

    def read(self, mode: str, used: set[str]) -> Batch:
        """Read all tags of the repository, or those that are used, as rows."""
        refs = sorted(used)
        try:
            is_there = True
            if mode != "used":
                tags, is_there = self._list_tags()
                refs += [tag for tag in tags if not BESIDE.fullmatch(tag)]
            if is_there:
                self._read_manifests(list(dict.fromkeys(refs)))
                self._find_signatures()
                if self.registry.is_hub:
                    self._ask_hub(mode)
        finally:
            self.web.close()
        for row in to_images(self.content):
            self.batch.add("images", row | {"source_ref": self.scope})
        return self.batch

    def probe(self) -> Batch:
        """Make the cheapest call that shows whether the repository, or any, can be read."""
        with self._call("tags" if self.name else "ping") as call:
            self.web.ask(f"v2/{self.name}/tags/list?n=1" if self.name else "v2/")
            call.count(rows=1)
        self.web.close()
        return self.batch

    def _call(self, name: str) -> Call:
        call = self.batch.call(self.scope, name, client=self.web, classify=_failure)
        call.count(rows=0)
        return call

    def _list_tags(self) -> tuple[list[str], bool]:
        """List the tags, page by page; and whether there is a repository to read."""
        url = f"{self.web.scope}/v2/{self.name}/tags/list"
        tags: dict[str, None] = {}
        with self._call("tags") as call:
            following: str | None = f"{url}?n=1000"
            while following:
                answer = self.web.ask(following)
                page = dict.fromkeys(filter(is_ref, texts(answer.json(), "tags")))
                new = [tag for tag in page if tag not in tags]
                tags |= dict.fromkeys(call.take(new))
                if len(tags) > MAX_TAGS:
                    raise ValueError(f"it lists more than {MAX_TAGS:,} tags")
                following = answer.next_url
                # Some registries link to the same page for ever, or to another place.
                if not new or not (following or "").startswith(f"{url}?"):
                    following = None
            self.content.tags = list(tags)
        return list(tags), call.outcome in ("ok", "partial")

    def _read_manifests(self, refs: list[str]) -> None:
        """Resolve references: digests by HEAD, then each manifest once."""
        is_read = []
        with self._call("manifests") as call:
            call.note(expected=len(refs))
            heads = self.content.heads
            for ref in refs:
                if digest := self._digest_of(ref):
                    heads[ref] = digest
                    call.count(rows=1)
            digests = dict.fromkeys(heads.values())
            is_read += [self._read_manifest(digest, call) for digest in digests]
            children = all_digests(self.content.manifests.values())
            others = [child for child in children if child not in digests]
            is_read += [self._read_manifest(child, call) for child in others]
            call.note(expected=len(heads), hint=self.registry.quota)
            if lost_n := len(refs) - len(heads):
                call.hint(f"{lost_n} of the images asked for are no longer there")
        if not call.failed and not all(is_read):
            # Digests are known by HEAD, which does not count as a pull.
            hint = f"stopped before the pulls ran out: {self.registry.quota}; run again later"
            call.status("partial" if any(is_read) else "throttled", hint)
            call.note(ratio=round(sum(is_read) / len(is_read), 4))

    def _ask(
        self, path: str, method: str = "GET", absent: tuple[int, ...] = (404,)
    ) -> Answer | None:
        """Ask for a manifest; None where the registry answers that it has none."""
        try:
            return self.web.ask(f"v2/{self.name}/{path}", method, ACCEPT)
        except HttpError as error:
            if method == "HEAD" and error.status_code in _UNKNOWN_METHOD:
                return self._ask(path)
            if error.status_code not in absent:
                raise
            return None

    def _digest_of(self, ref: str) -> str | None:
        """Return the digest of a reference; None where it is no longer there."""
        path = f"manifests/{ref}"
        answer = self._ask(path, "HEAD")  # which costs no pull
        if not answer:
            return None
        digest = answer.headers.get("Docker-Content-Digest") or ref
        if ":" not in digest or not is_ref(digest):
            # Without a digest in the headers: it is the hash of the text.
            whole = answer if answer.body else self._ask(path)
            body = whole.body if whole else b""
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.content.types[digest] = type_of(answer.headers.get("Content-Type"), None)
        return digest

    def _read_manifest(self, digest: str, call: Call) -> bool:
        """Read a manifest and the configuration of its image; False to save the last pulls."""
        # An image that an index names and that is not there is no failure: mirrors hold
        # only some.
        if self.registry.is_spent:
            return False
        if answer := self._ask(f"manifests/{digest}"):
            kept = keep_manifest(answer.json(), answer.headers.get("Content-Type"))
            self.content.manifests[digest] = kept
            config = kept.get("config")
            is_small = (kept.get("config_bytes") or 0) <= MAX_CONFIG_BYTES
            if config and kept.get("is_image") and is_small:
                raw = self.web.ask(f"v2/{self.name}/blobs/{config}", accept="*/*").json()
                self.content.configs[digest], redacted_n = keep_config(raw)
                call.count(redacted_n=redacted_n)
        return True

    def _find_signatures(self) -> None:
        """Look for signatures: as referrers, else under the tags that cosign writes."""
        digests = list(dict.fromkeys(self.content.heads.values()))
        with self._call("signatures") as call:
            call.note(expected=len(digests))
            for digest in digests:
                # Without referrers, a signature of another tool than cosign would be missed.
                signed = self._has_signature_tag(digest) or self._is_referred_to(digest)
                if signed is not None:
                    self.content.signed[digest] = signed
                    call.count(rows=1)
            if digests and not self.registry.has_referrers:
                hint = "no referrers API: without a cosign tag, a signature is unknown"
                call.status("unsupported", hint)

    def _has_signature_tag(self, digest: str) -> bool:
        tag = digest.replace(":", "-") + ".sig"  # where cosign keeps signatures
        if self.content.tags is not None:
            return tag in self.content.tags
        return self._ask(f"manifests/{tag}", "HEAD") is not None

    def _is_referred_to(self, digest: str) -> bool | None:
        """Return whether a signature refers to an image; None where the registry cannot tell."""
        if not self.registry.has_referrers:
            return None
        answer = self._ask(f"referrers/{digest}", absent=_UNKNOWN_CALL)
        if not answer:
            self.registry.has_referrers = False
            return None
        referrers = answer.json()
        is_index = isinstance(dig(referrers, "manifests"), list)
        return is_signed(referrers) if is_index else None

    def _ask_hub(self, mode: str) -> None:
        """Ask Docker Hub's own API when tags were pushed and pulled; no token is sent to it."""
        with Web(HUB_API, self.registry.deadline, ca=self.registry.ca) as web:
            call = self._call("hub")
            call.watch(web)
            with call:
                for tag in self._hub_tags(web, mode):
                    name = tag.get("name")
                    if isinstance(name, str) and name not in self.content.hub:
                        # its times, not who pushed it
                        self.content.hub[name] = picked(tag, "hub tag")
                        call.count(rows=1)

    def _hub_tags(self, web: Web, mode: str) -> Iterator[Row]:
        place = f"v2/repositories/{self.name}/tags"
        if mode == "used":
            for tag in sorted(ref for ref in self.content.heads if ":" not in ref):
                yield from dicts([web.json(f"{place}/{tag}")])
            return
        url = f"{HUB_API}/{place}"
        following = f"{url}?page_size={HUB_PAGE}"
        asked: set[str] = set()
        # A hub that names another host or place for its next page is not followed.
        while following.startswith((f"{url}?", f"{url}/?")) and following not in asked:
            if len(asked) * HUB_PAGE > MAX_TAGS:
                raise ValueError(f"it lists more than {MAX_TAGS:,} tags")
            asked.add(following)
            page = web.json(following)
            yield from dicts(page, "results")
            following = str(dig(page, "next"))


def _read_dumps(asked: Asked) -> None:
    for file, call in each_dump(asked):
        with call:
            documents = documents_of(read_json(file, call.row))
            call.note(expected=len(documents))
            is_all = True
            for rows in map(to_dumped, documents):
                is_all &= bool(rows)
                source = {"source_ref": call.row["scope"]}
                asked.batch.add("images", *(row | source for row in call.take(rows)))
            if call.is_open and not is_all:
                status = "partial" if call.row["rows"] else "parse_error"
                call.status(status, HINTS["parse_error"])
