"""Registries of images: the distribution API, the dialect of Docker Hub, and dumps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from assess.sources.base import (
    HINTS,
    Batch,
    Deadline,
    Row,
    Source,
    failure,
    file_failure,
    paths_of,
    timed,
)
from assess.sources.docker.payload import texts
from assess.sources.dumps import (
    dicts,
    dig,
    each_file,
    find_files,
    read_json,
)
from assess.sources.http import HttpError, Web
from assess.sources.redact import strip_userinfo
from assess.sources.registry.client import Registry, Session
from assess.sources.registry.rows import (
    ACCEPT,
    INDEX_OCI,
    Repository,
    all_digests,
    documents_of,
    is_image_tag,
    is_ref,
    is_signed,
    keep_config,
    keep_hub_tag,
    keep_manifest,
    signature_tag,
    to_dumped,
    to_images,
    type_of,
    used_refs,
)

HUB_API = "https://hub.docker.com"
PARALLEL = 8  # repositories that are asked at a time
MAX_CONFIG_BYTES = 4 << 20
NOT_THERE = "the registry has no such repository, or does not show it"
WANTS_LOGIN = "set token_file to a file with user:password, or with a token for pulls"
TAGS = ("all", "used")
_REPOSITORY = re.compile(r"[a-z0-9]+([._/-]+[a-z0-9]+)*")
_ABSENT = (400, 404, 405, 501)  # what registries say that do not know a call


class RegistrySource(Source):
    """Registry of images, live or from dumps; it runs after the sources that tell what is used."""

    type = "registry"
    options = ("endpoint", "path", "name", "repositories", "tags", "token_file", "ca")
    fills = ("images",)
    follows = True
    needs = (
        "pull of the repositories (scope repository:NAME:pull): HEAD and GET on /v2/NAME/tags, "
        "manifests, blobs of configurations and referrers"
    )
    dump = "skopeo inspect docker://REF > NAME.json, or docker manifest inspect -v REF > NAME.json"

    def check(self, options: dict[str, Any]) -> list[str]:
        """Say what is wrong with options, before anything is asked."""
        is_dump, names = "path" in options, options.get("repositories", [])
        names = names if isinstance(names, list) else [None]
        wrong = {
            "name an endpoint, or the path of dumps": is_dump == ("endpoint" in options),
            "path names a file or a directory, or a list of them": is_dump
            and not paths_of(options),
            "endpoint starts with http:// or https://": not is_dump
            and not str(options.get("endpoint")).startswith(("http://", "https://")),
            "repositories is a list of names, such as team/app": not all(
                map(_is_name, names)
            ),
            f"tags is one of {', '.join(TAGS)}": options.get("tags", "all") not in TAGS,
        }
        return [problem for problem, is_wrong in wrong.items() if is_wrong]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Give the images of the repositories that the options name, or of dumps."""
        return self.follow(options, base, deadline, {})

    def follow(
        self, options: Row, base: Path, deadline: Deadline, rows: dict[str, list[Row]]
    ) -> Batch:
        """Give the images of repositories, by default those that the fleet's images name."""
        batch = Batch()
        if "path" in options:
            _read(options, base, deadline, batch)
            return batch
        registry = _opened(options, base, deadline, batch)
        if not registry:
            return batch
        used = used_refs(rows, registry.name)
        wanted = options.get("repositories") or [
            name for name in sorted(used) if _is_name(name)
        ]
        if not wanted:
            hint = "nothing that was found before names its images; list repositories"
            batch.cover(registry.scope, "repositories", "not_configured", hint=hint)
        is_hub_only = registry.is_hub and "repositories" not in options
        mode = options.get("tags") or ("used" if is_hub_only else "all")
        with ThreadPoolExecutor(PARALLEL) as pool:
            for part in pool.map(
                lambda name: _Walk(registry, name, used.get(name, set())).go(mode), wanted
            ):
                batch.merge(part)
        return batch

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Say what would be seen: one call for each repository that the options name."""
        batch = Batch()
        if "path" in options:
            for name, file in find_files(options, base, batch):
                row = batch.cover(name, "read", "ok")
                try:
                    file.stat()
                except OSError as error:
                    row |= file_failure(error)
        elif registry := _opened(options, base, deadline, batch):
            for name in options.get("repositories") or [""]:
                _Walk(registry, name, set(), batch).probe()
        return batch


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _REPOSITORY.fullmatch(name) is not None


def _opened(
    options: Row, base: Path, deadline: Deadline, batch: Batch
) -> Registry | None:
    try:
        return Registry(options, base, deadline)
    except (OSError, ValueError) as error:
        scope = strip_userinfo(str(options.get("endpoint")))
        batch.cover(scope, "token_file", **file_failure(error))
        return None


class _Walk:
    """One repository that is being asked: every kind of call leaves a coverage row."""

    def __init__(
        self, registry: Registry, name: str, used: set[str], batch: Batch | None = None
    ) -> None:
        self.registry, self.name, self.used = registry, name, used
        self.batch = Batch() if batch is None else batch
        self.scope = f"{registry.scope}/{name}"
        self.found = Repository(registry.name, name)
        self.session = Session(registry, name)
        self.web = self.session.web
        self.listed: list[str] = []  # tags, as far as they were
        self.lost_n = self.redacted_n = 0

    def go(self, mode: str) -> Batch:
        """Ask for all that is wanted of the repository, and give its rows."""
        try:
            is_there = mode == "used" or self._cover("tags", self._list_tags)
            if is_there:
                refs = list(
                    dict.fromkeys(
                        [*sorted(self.used), *filter(is_image_tag, self.listed)]
                    )
                )
                self._cover("manifests", lambda row: self._read_all(refs, row))
                self._cover("signatures", self._find_signatures)
                if self.registry.is_hub:
                    self._cover("hub", lambda row: self._ask_hub(mode, row))
        finally:
            self.web.close()
        rows = to_images(self.found)
        for row in rows:
            row["source_ref"] = self.scope
        self.batch.add("images", *rows)
        return self.batch

    def probe(self) -> None:
        """Make the cheapest call that tells whether the repository, or any, can be read."""

        def ask(row: Row) -> None:
            self.session.ask(f"v2/{self.name}/tags/list?n=1" if self.name else "v2/")
            row["rows"] = 1

        self._cover("tags" if self.name else "ping", ask)
        self.web.close()

    def _cover(self, call: str, work: Callable[[Row], None]) -> bool:
        """Do a kind of call; what fails after some rows came leaves them, and is partial."""
        row = self.batch.cover(self.scope, call, "ok", rows=0)
        before, again = self.web.requests_n, self.web.retries_n
        with timed(row):
            try:
                work(row)
            except Exception as error:
                row |= failure(error)
                code = getattr(error, "status_code", None)
                if code == 401:
                    row["hint"] = WANTS_LOGIN
                elif code == 404:
                    row |= {"status": "empty", "hint": NOT_THERE}
                row["status"] = "partial" if row["rows"] else row["status"]
        row |= {
            "requests": self.web.requests_n - before,
            "retries": self.web.retries_n - again,
        }
        if row["status"] == "ok" and not row["rows"]:
            row["status"] = "empty"
        return row["status"] in ("ok", "partial")

    def _list_tags(self, row: Row) -> None:
        """List the tags, page by page, until one brings nothing new."""
        url, tags = f"{self.web.scope}/v2/{self.name}/tags/list", dict[str, None]()
        following: str | None = f"{url}?n=1000"
        while following:
            answer = self.session.ask(following)
            new = [t for t in texts(dig(answer.json(), "tags")) if is_ref(t)]
            is_known = tags.keys() >= set(new)
            tags |= dict.fromkeys(new)
            self.listed, row["rows"] = [*tags], len(tags)
            is_own = not answer.next_url or answer.next_url.startswith(url)
            following = None if is_known or not is_own else answer.next_url
        self.found.tags = self.listed  # all of them

    def _read_all(self, refs: list[str], row: Row) -> None:
        """Read what the references stand for: digests by HEAD, then each manifest once."""
        row["expected"] = len(refs)
        for ref in refs:
            if digest := self._digest_of(ref):
                self.found.heads[ref] = digest
                row["rows"] += 1
        digests = list(dict.fromkeys(self.found.heads.values()))
        n = sum(self._read(digest) for digest in digests)
        children = all_digests(self.found.manifests.values())
        n += sum(self._read(child) for child in children if child not in digests)
        row |= {"hint": self.registry.quota, "redacted_n": self.redacted_n}
        row["expected"] -= self.lost_n
        if self.lost_n:
            row["hint"] = f"{self.lost_n} of the images asked for are no longer there"
        wanted = len({*digests, *children})
        if n < wanted:  # the digests are known by HEAD, which does not count as a pull
            row["status"] = "partial" if n else "throttled"
            row["ratio"] = round(n / wanted, 4)
            row["hint"] = (
                f"stopped before the pulls ran out: {self.registry.quota}; run again later"
            )

    def _digest_of(self, ref: str) -> str | None:
        """Give the digest of a reference, by HEAD; None where it is no longer there."""
        path = f"v2/{self.name}/manifests/{ref}"
        try:
            try:
                answer = self.session.ask(path, "HEAD", ACCEPT)
            except HttpError as error:
                if error.status_code not in (400, 405, 501):
                    raise
                answer = self.session.ask(path, accept=ACCEPT)
        except HttpError as error:
            if error.status_code != 404:
                raise
            self.lost_n += 1
            return None
        digest = answer.headers.get("Docker-Content-Digest") or ref
        if ":" not in digest or not is_ref(digest):
            body = answer.body or self.session.ask(path, accept=ACCEPT).body
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.found.types[digest] = type_of(answer.headers.get("Content-Type"), None)
        return digest

    def _read(self, digest: str) -> bool:
        """Read a manifest and the configuration of its image; False where that is left to others.

        An image that an index names and that is not there is no failure: mirrors hold only some.
        """
        if self.registry.is_spent:
            return False
        try:
            answer = self.session.ask(f"v2/{self.name}/manifests/{digest}", accept=ACCEPT)
        except HttpError as error:
            if error.status_code != 404:
                raise
            return True
        kept = keep_manifest(answer.json(), answer.headers.get("Content-Type"))
        self.found.manifests[digest] = kept
        config, size = kept.get("config"), kept.get("config_bytes") or 0
        if config and kept.get("is_image") and size <= MAX_CONFIG_BYTES:
            raw = self.session.ask(f"v2/{self.name}/blobs/{config}", accept="*/*").json()
            self.found.configs[digest], redacted_n = keep_config(raw)
            self.redacted_n += redacted_n
        return True

    def _find_signatures(self, row: Row) -> None:
        """Look for signatures: as referrers, else under the tags that cosign writes."""
        digests = list(dict.fromkeys(self.found.heads.values()))
        row["expected"] = len(digests)
        for digest in digests:
            # without referrers nobody looked where another tool might have put one: unknown
            signed = self._has_signature_tag(digest) or self._has_signing_referrer(digest)
            if signed is not None:
                self.found.signed[digest] = signed
                row["rows"] += 1
        if digests and not self.registry.has_referrers:
            row |= {"status": "unsupported", "ratio": row["rows"] / len(digests)}
            row["hint"] = "no referrers API: without a cosign tag, a signature is unknown"

    def _has_signature_tag(self, digest: str) -> bool:
        if self.found.tags is not None:
            return signature_tag(digest) in self.found.tags
        try:
            self.session.ask(
                f"v2/{self.name}/manifests/{signature_tag(digest)}", "HEAD", ACCEPT
            )
        except HttpError as error:
            if error.status_code != 404:
                raise
            return False
        return True

    def _has_signing_referrer(self, digest: str) -> bool | None:
        if not self.registry.has_referrers:
            return None
        try:
            answer = self.session.ask(
                f"v2/{self.name}/referrers/{digest}", accept=INDEX_OCI
            )
        except HttpError as error:
            if error.status_code not in _ABSENT:
                raise
            self.registry.has_referrers = False
            return None
        listed = answer.json()
        if not isinstance(dig(listed, "manifests"), list):
            return None
        return is_signed(listed)

    def _ask_hub(self, mode: str, row: Row) -> None:
        """Ask Docker Hub's own API when tags were pushed and pulled; no token is sent to it."""
        web = self.registry.open(HUB_API, "")
        try:
            for tag in self._hub_tags(web, mode):
                if isinstance(name := tag.get("name"), str):
                    self.found.hub[name] = keep_hub_tag(tag)
                    row["rows"] = len(self.found.hub)
        finally:
            self.web.requests_n += web.requests_n
            web.close()

    def _hub_tags(self, web: Web, mode: str) -> Iterator[Row]:
        place = f"v2/repositories/{self.name}/tags"
        if mode == "used":
            for tag in sorted(ref for ref in self.found.heads if ":" not in ref):
                yield from dicts([web.json(f"{place}/{tag}")])
            return
        following, seen = f"{HUB_API}/{place}?page_size=100", set[str]()
        while following.startswith(HUB_API) and following not in seen:
            seen.add(following)
            page = web.json(following)
            yield from dicts(dig(page, "results"))
            following = str(dig(page, "next"))


def _read(options: Row, base: Path, deadline: Deadline, batch: Batch) -> None:
    """Read dumps."""
    for name, file, row in each_file(options, base, deadline, batch):
        found = [to_dumped(value) for value in documents_of(read_json(file, row))]
        rows = [r | {"source_ref": name} for part in found for r in part]
        row |= {"rows": len(rows), "expected": len(found)}
        if row["status"] == "ok" and not all(found):
            row |= {
                "status": "partial" if rows else "parse_error",
                "hint": HINTS["parse_error"],
            }
        batch.add("images", *rows)
