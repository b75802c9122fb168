"""Backstage: what the software catalog declares, from its files or from its API.

A catalog says what somebody wrote down. It fills owners, stages, tiers and other names of services,
and edges that traces may not have seen; that something runs, it cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from assess.sources.backstage.entity import Entity, Kept, entities_in, to_service
from assess.sources.base import Batch, Call, Deadline, Row, Source, paths_of
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    DumpError,
    each_dump,
    read_documents,
)
from assess.sources.http import Web, open_web
from assess.sources.redact import strip_userinfo
from assess.sources.values import dicts

TIER_KEYS = ("tier", "criticality", "opslevel.com/tier")
EVIDENCE, CONFIDENCE = "backstage", 0.7
KINDS = ("Component", "API", "Resource", "System")
_PAGE, _PAGES_MAX = 500, 1000
# Kinds of dependency by the type of the resource that is needed; others are declared.
_RESOURCES = {
    **dict.fromkeys(
        ("database", "db", "bucket", "s3-bucket", "object-store", "storage"), "data"
    ),
    **dict.fromkeys(("cache", "redis", "memcached"), "cache"),
    **dict.fromkeys(
        ("queue", "topic", "stream", "message-queue", "kafka-topic"), "queue"
    ),
}
_NO_ENTITIES = "it holds no Component, API, Resource or System of Backstage"
Edge = tuple[str, str, str]  # who needs it, what it needs (references), kind


class BackstageSource(Source):
    """Reads catalog files, or the entities of the catalog's API."""

    type = "backstage"
    options: tuple[str, ...] = (
        "path",
        "endpoint",
        "token_file",
        "ca",
        "tier_keys",
        "criticality_keys",
    )
    fills: tuple[str, ...] = ("services", "dependencies")
    needs = "read access to the files, or a token that may read the catalog"
    dump = (
        "the catalog-info.yaml files, or `curl -H 'Authorization: Bearer …' "
        "'BACKSTAGE/api/catalog/entities?filter=kind=component&filter=kind=api"
        "&filter=kind=resource&filter=kind=system' > entities.json`"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        problems = []
        if "endpoint" in options and "path" in options:
            problems.append("give a path or an endpoint, not both")
        elif "endpoint" not in options and not paths_of(options):
            problems.append("path names no file")
        for option in ("tier_keys", "criticality_keys"):
            keys = options.get(option, [])
            if not isinstance(keys, list) or not all(
                isinstance(key, str) for key in keys
            ):
                problems.append(f"{option} is no list of labels or annotations")
        texts = ("endpoint", "token_file", "ca")
        return problems + [
            f"{k} is no text" for k in texts if not isinstance(options.get(k, ""), str)
        ]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the entities of files and directories, or ask for them."""
        return self._collect(options, base, deadline, pages=_PAGES_MAX)

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the files, or ask for the first page."""
        return self._collect(options, base, deadline, pages=1)

    def _collect(
        self, options: Row, base: Path, deadline: Deadline, *, pages: int
    ) -> Batch:
        batch = Batch()
        entities: dict[str, Entity] = {}
        if "endpoint" in options:
            scope = strip_userinfo(str(options["endpoint"]))
            with (
                batch.call(scope, "entities", empty=_NO_ENTITIES) as call,
                open_web(options, base, deadline, call=call) as web,
            ):
                call.take(())
                for page in get_entities(web, pages):
                    _take(page, entities, call)
        else:
            suffixes = (*YAML_SUFFIXES, *JSON_SUFFIXES)
            dumps = each_dump(
                options,
                base,
                deadline,
                batch,
                suffixes,
                name="entities",
                empty=_NO_ENTITIES,
            )
            for file, call in dumps:
                with call:
                    _take(read_documents(file, call.row), entities, call)
        kept = Kept(
            tuple(options.get("tier_keys", TIER_KEYS)),
            tuple(options.get("criticality_keys", ())),
        )
        services = [entity for entity in entities.values() if entity.is_service]
        batch.add("services", *(to_service(entity, kept) for entity in services))
        batch.add("dependencies", *to_dependencies(entities))
        if batch.coverage:
            row = batch.coverage[-1]
            row["redacted_n"] = row.get("redacted_n", 0) + kept.redacted
            row["unmapped_n"] = row.get("unmapped_n", 0) + kept.unmapped
        return batch


def get_entities(web: Web, pages: int) -> Iterator[list[Row]]:
    """Follow the pages of the catalog: by its links, else by offset while they bring new ones.

    Of a link only the cursor counts: catalogs write its path without what they are mounted at.
    """
    path = "entities" if web.scope.endswith("/api/catalog") else "api/catalog/entities"
    params: Row = {"filter": [f"kind={kind.lower()}" for kind in KINDS], "limit": _PAGE}
    offset = 0
    last = ""
    for _ in range(pages):
        answer = web.get(path, params=params)
        page = answer.json()
        page = page.get("items") if isinstance(page, dict) else page
        if not isinstance(page, list):
            raise DumpError(
                "this is no list of entities: is the endpoint that of Backstage?"
            )
        if not page or str(page[0]) == last:
            return
        yield list(dicts(page))
        offset += len(page)
        last = str(page[0])
        link = urlsplit(answer.next_url or "").query
        more: Row = {k: v for k, v in parse_qsl(link) if k in ("after", "offset")}
        if not more and len(page) >= _PAGE:
            more = {"offset": offset}
        if not more:
            return
        params = {**params, **more}


def _take(values: list[Any], entities: dict[str, Entity], call: Call) -> None:
    """Add the entities that are not there yet, and count them."""
    listed, unmapped_n = entities_in(values)
    orphans = [entity for entity in listed if entity.is_orphan]
    for entity in call.take([entity for entity in listed if not entity.is_orphan]):
        entities.setdefault(entity.ref, entity)
    call.count(unmapped_n=unmapped_n)
    if orphans:
        names = ", ".join(entity.ref for entity in orphans[:3])
        what = "orphaned in the catalog, and left out"
        call.hint(f"{what}: {len(orphans)}, such as {names}")


def to_dependencies(entities: dict[str, Entity]) -> list[Row]:
    """Make edges of what components declare to need; a library is part of what it is built into."""
    edges = dict.fromkeys([*_needs(entities.values()), *_calls(entities.values())])
    rows = []
    for src, dst, declared in edges:
        caller = entities.get(src)
        callee = entities.get(dst)
        if caller is None or not caller.is_service or src == dst:
            continue
        if callee is not None and callee.is_library:
            continue
        kind = declared
        if callee is not None and callee.kind == "resource" and declared == "declared":
            kind = _RESOURCES.get(callee.type, declared)
        rows.append(
            {
                "src": caller.name,
                "dst": callee.name if callee else Entity.named(dst),
                "kind": kind,
                "evidence": EVIDENCE,
                "confidence": CONFIDENCE,
            }
        )
    return rows


def _needs(entities: Iterable[Entity]) -> Iterator[Edge]:
    """List what entities declare to need, or to be needed by; a part of one has an unknown kind."""
    for entity in entities:
        for ref in entity.related("dependsOn", "dependsOn", "component"):
            yield entity.ref, ref, "declared"
        for ref in entity.related("dependencyOf", "dependencyOf", "component"):
            yield ref, entity.ref, "declared"
        if entity.kind == "component":
            for ref in entity.related("partOf", "subcomponentOf", "component"):
                if ref.startswith("component:"):
                    yield ref, entity.ref, "unknown"


def _calls(entities: Iterable[Entity]) -> Iterator[Edge]:
    """Join who consumes an interface with who provides it; without one, it is needed by name."""
    providers: dict[str, list[str]] = {}
    consumers: list[tuple[str, str]] = []
    for entity in entities:
        for ref in entity.related("providesApi", "providesApis", "api"):
            providers.setdefault(ref, []).append(entity.ref)
        for ref in entity.related("apiProvidedBy", "", "component"):
            providers.setdefault(entity.ref, []).append(ref)
        consumers += [
            (entity.ref, r) for r in entity.related("consumesApi", "consumesApis", "api")
        ]
        consumers += [
            (r, entity.ref) for r in entity.related("apiConsumedBy", "", "component")
        ]
    for consumer, interface in consumers:
        for provider in dict.fromkeys(providers.get(interface, [interface])):
            yield consumer, provider, "call"
