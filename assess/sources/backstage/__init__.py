"""Backstage: services and owners in the software catalog, from its files or its API.

A catalog says what somebody wrote down. It fills owners, stages, tiers and other names of services,
and edges that traces may not have seen; that something runs, it cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from assess.linear import Linear
from assess.sources.base import Asked, Call, Name, Row, Rows, Source
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    DumpError,
    each_dump,
    read_documents,
)
from assess.sources.http import Web, open_web
from assess.sources.listing import lose
from assess.sources.values import (
    TextLists,
    Texts,
    Words,
    as_list,
    dicts,
    dig,
    integer,
    leaf,
    listed,
    number,
    table,
    text,
    without_none,
)

RULE = "backstage"
NAMED = 0.95
ALSO_NAMED = 0.8
CONFIDENCE = 0.7  # of an edge
TIER_KEYS = ("tier", "criticality", "opslevel.com/tier")
KINDS = ("component", "api", "resource", "system")
# Annotations by which other systems know it; of a path, the last part is its name.
ALIASES = vocabulary("backstage", "aliases")
_ORPHAN = "backstage.io/orphan"
_LIBRARIES = vocabulary("backstage", "libraries")
_SERVICE_KINDS = vocabulary("backstage", "kinds of services")
_TIERS = vocabulary("backstage", "tiers")
_PAGE = 500
_PAGES_MAX = 1000
# Kinds of dependency by the type of the resource that is needed; others are declared.
_RESOURCES = vocabulary("backstage", "kinds of resources")
# Annotations of other systems that name the team on call, as a team or as organisation/team.
_TEAMS = ("opsgenie.com/team", "github.com/team-slug", "gitlab.com/group-slug")
_RUNBOOK = Linear(r"run[ _-]?books?\b|play[ _-]?books?\b", ignore_case=True)
_REFERENCES = ("dependsOn", "dependencyOf", "providesApis", "consumesApis")
_NO_ENTITIES = "it holds no Component, API, Resource or System of Backstage"
_NAME = re.compile(r"[\w.-]{1,63}")
_WORDS = re.compile(r"[\w .,&()/+-]{1,80}")  # what may pass as a title or a team
_REF = re.compile(r"(?:(?P<kind>[^:/]+):)?(?:(?P<namespace>[^:/]+)/)?(?P<name>[^:/]+)")
Edge = tuple[str, str, str]  # who needs it, what it needs (references), kind


class BackstageSource(Source):
    """Reads catalog files, or the entities of the catalog's API."""

    type = "backstage"

    def fill(self, asked: Asked) -> None:
        """Read the entities of files and directories, or ask for them; a probe reads one page."""
        options = asked.options
        batch = asked.batch
        entities: dict[str, Entity] = {}
        if "endpoint" in options:
            with (
                batch.call(asked.scope, "entities", empty=_NO_ENTITIES) as call,
                open_web(asked, call=call) as web,
            ):
                call.take(())
                for page in get_entities(web, 1 if asked.is_probe else _PAGES_MAX):
                    _take(page, entities, call)
        else:
            suffixes = (*YAML_SUFFIXES, *JSON_SUFFIXES)
            dumps = each_dump(asked, suffixes, name="entities", empty=_NO_ENTITIES)
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


def get_entities(web: Web, pages: int) -> Iterator[Rows]:
    """Follow the pages of the catalog: by its links, else by offset while they bring new ones."""
    # Of a link only the cursor counts: catalogs write its path without what they are
    # mounted at.
    path = "entities" if web.scope.endswith("/api/catalog") else "api/catalog/entities"
    params: Row = {"filter": [f"kind={kind}" for kind in KINDS], "limit": _PAGE}
    offset = 0
    last = ""
    for _ in range(pages):
        answer = web.get(path, params=params)
        page = answer.json()
        page = page.get("items") if isinstance(page, dict) else page
        if not isinstance(page, list):
            raise DumpError("this is no list of entities: is the endpoint Backstage's?")
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
        params = params | more


def _take(values: list[Any], entities: dict[str, Entity], call: Call) -> None:
    """Add the entities that are not there yet, and count them."""
    listed, lost = entities_in(values)
    orphans = [entity for entity in listed if entity.is_orphan]
    for entity in call.take([entity for entity in listed if not entity.is_orphan]):
        entities.setdefault(entity.ref, entity)
    lose(call, lost)
    if orphans:
        names = ", ".join(entity.ref for entity in orphans[:3])
        what = "orphaned in the catalog, and left out"
        call.hint(f"{what}: {len(orphans)}, such as {names}")


@dataclass
class Kept:
    """Keys that may hold the tier and the criticality, and the entities that were left out."""

    tier_keys: Words
    criticality_keys: Words = ()
    redacted: int = 0  # annotations, labels, links, descriptions and people
    unmapped: int = 0  # values that mean no tier or criticality


@dataclass(frozen=True)
class Entity:
    """One entity, checked as far as its name and kind go."""

    kind: str  # in lower case
    namespace: str
    title: str  # its ``metadata.name``, as written
    raw: Row

    @property
    def ref(self) -> str:
        """``kind:namespace/name`` in lower case; the ``uid`` changes with every registration."""
        return f"{self.kind}:{self.namespace}/{self.title}".lower()

    @property
    def type(self) -> str:
        """The type of its kind, such as service or library."""
        return text(self.raw, "spec", "type").lower()

    @property
    def is_library(self) -> bool:
        """Whether it is code or text that does not run by itself."""
        return self.kind == "component" and self.type in _LIBRARIES

    @property
    def is_service(self) -> bool:
        """Whether it is something that runs."""
        return self.kind == "component" and not self.is_library

    @property
    def is_orphan(self) -> bool:
        """Whether nothing in the catalog points to it any more."""
        return str(dig(self.raw, "metadata", "annotations", _ORPHAN)).lower() == "true"

    @property
    def name(self) -> Name:
        """Its name for other sources; in the default namespace it needs no qualification."""
        namespace = "" if self.namespace.lower() == "default" else self.namespace
        return Name(self.title, RULE, NAMED, namespace)

    @classmethod
    def named(cls, ref: str) -> Name:
        """Return the name of an entity that is not in the catalog."""
        kind, _, rest = ref.partition(":")
        namespace, _, name = rest.partition("/")
        return cls(kind, namespace, name, {}).name

    def related(self, relation: str, key: str, kind: str) -> list[str]:
        """List the references of a relation, as the API has it, else as the file declares it."""
        # References without a kind are of ``kind``; those without a namespace are of its
        # own.
        if relations := dicts(self.raw, "relations"):
            texts = [_target(r) for r in relations if r.get("type") == relation]
        else:
            texts = as_list(self.raw, "spec", key)
        refs = [to_ref(text, kind, self.namespace) for text in texts]
        return [ref for ref in dict.fromkeys(refs) if ref]


def _target(relation: Any) -> Any:
    """Return the target of a relation as a reference; older catalogs have it in parts."""
    parts = [dig(relation, "target", key) for key in ("kind", "namespace", "name")]
    if all(isinstance(part, str) for part in parts):
        return f"{parts[0]}:{parts[1]}/{parts[2]}"
    return dig(relation, "targetRef")


def to_ref(text: Any, kind: str, namespace: str = "default") -> str:
    """Write a reference ``[kind:][namespace/]name`` in full and in lower case; empty if none."""
    parts = _REF.fullmatch(text.strip()) if isinstance(text, str) else None
    if not parts or not _NAME.fullmatch(parts["name"]):
        return ""
    place = f"{parts['kind'] or kind}:{parts['namespace'] or namespace}"
    return f"{place}/{parts['name']}".lower()


def entities_in(values: Iterable[Any]) -> tuple[list[Entity], list[str]]:
    """Return the entities of documents and pages, and the entries that are not usable."""
    entities = []
    lost = []
    for value in values:
        page = dig(value, "items")
        for n, raw in enumerate(page if isinstance(page, list) else [value]):
            kind = dig(raw, "kind")
            version = dig(raw, "apiVersion")
            if not isinstance(kind, str) or not isinstance(version, str):
                lost.append(f"entity {n} has no kind and apiVersion")
                continue
            is_of_backstage = version.startswith("backstage.io/")
            if not is_of_backstage or kind.lower() not in KINDS:
                continue
            name = dig(raw, "metadata", "name")
            namespace = dig(raw, "metadata", "namespace") or "default"
            if all(isinstance(t, str) and _NAME.fullmatch(t) for t in (name, namespace)):
                entities.append(Entity(kind.lower(), namespace, name, raw))
                lost += [f"{entities[-1].ref} {text}" for text in _lost_refs(raw)]
            else:
                lost.append(f"{kind.lower()} {n} has no proper name")
    return entities, lost


def _lost_refs(raw: Row) -> list[str]:
    """List the references of an entity that refer to nothing, by their place."""
    found = {key: listed(raw, "spec", key) for key in _REFERENCES}
    found["relations"] = [_target(relation) for relation in listed(raw, "relations")]
    return [
        f"{key}[{n}] is no reference"
        for key, texts in found.items()
        for n, text in enumerate(texts)
        if not to_ref(text, "component")
    ]


def to_service(entity: Entity, kept: Kept) -> Row:
    """Convert a component to a row of services; missing facts stay unknown."""
    notes = _notes(entity)
    stage = dig(entity.raw, "spec", "lifecycle")
    teams = filter(_NAME.fullmatch, (leaf(notes.get(key, "")) for key in _TEAMS))
    row = {
        "owner": _owner(entity, kept) or next(teams, None),
        "tier": _read_first(notes, kept.tier_keys, to_tier, kept),
        "criticality": _read_first(notes, kept.criticality_keys, _weight, kept),
        "runbook": _has_runbook(entity, notes) or None,
        "lifecycle": stage if isinstance(stage, str) and _NAME.fullmatch(stage) else None,
        "kind": _SERVICE_KINDS.get(entity.type),
    }
    used = {*ALIASES, *_TEAMS, *kept.tier_keys, *kept.criticality_keys}
    kept.redacted += len(notes.keys() - used)
    kept.redacted += bool(dig(entity.raw, "metadata", "description"))
    kept.redacted += len(listed(entity.raw, "metadata", "links"))
    return {"names": (entity.name, *_aliases(entity, notes)), **without_none(row)}


def _read_first(
    notes: Texts, keys: Words, read: Callable[[str], float | None], kept: Kept
) -> float | None:
    """Return the first value that can be read; one that cannot is counted if none can."""
    texts = [notes[key] for key in keys if key in notes]
    values = [value for text in texts if (value := read(text)) is not None]
    kept.unmapped += bool(texts) and not values
    return values[0] if values else None


def to_tier(text: str) -> int | None:
    """Read a tier: a digit, with or without the word, or a word; None for anything else."""
    word = re.sub(r"[\s_]+", "-", text.strip().lower())
    if digit := re.fullmatch(r"(?:tier|t)?-?([0-4])", word):
        return max(int(digit[1]), 1)
    return integer(_TIERS, word)


def _weight(text: str) -> float | None:
    """Read a criticality, a number of any unit."""
    weight = number(text)
    return weight if weight is not None and weight < 1e15 else None


def _notes(entity: Entity) -> Texts:
    """Join labels and annotations; labels first, as people choose them."""
    notes: Texts = {}
    for part in ("annotations", "labels"):
        items = table(entity.raw, "metadata", part).items()
        notes |= {str(k): str(v) for k, v in items if isinstance(v, str | int | float)}
    return notes


def _aliases(entity: Entity, notes: Texts) -> list[Name]:
    title = dig(entity.raw, "metadata", "title")
    written = [title] if isinstance(title, str) and _WORDS.fullmatch(title) else []
    paths = [leaf(notes.get(key, "").rstrip("/")) for key in ALIASES]
    written += filter(_NAME.fullmatch, paths)
    others = [text for text in dict.fromkeys(written) if text != entity.title]
    rule = f"{RULE}-alias"
    return [Name(text, rule, ALSO_NAMED, entity.name.namespace) for text in others]


def _owner(entity: Entity, kept: Kept) -> str | None:
    """Return the team that owns it; a person is left out."""
    owner = dig(entity.raw, "spec", "owner")
    refs = entity.related("ownedBy", "owner", "group")
    ref = refs[0] if refs else to_ref(owner, "group", entity.namespace)
    if not ref or ref.startswith("user:"):
        kept.redacted += bool(ref or owner)
        return None
    return leaf(ref)


def _has_runbook(entity: Entity, notes: Texts) -> bool:
    """Return whether a link or an annotation is a runbook; documentation alone need not be one."""
    # A runbook may exist without a link: unknown, not False.
    links = dicts(entity.raw, "metadata", "links")
    words = [str(link.get(key)) for link in links for key in ("type", "title", "url")]
    words += [key for key, value in notes.items() if value.strip()]
    words += [value for key, value in notes.items() if "techdocs" in key]
    return any(_RUNBOOK.search(word[:200]) for word in words)


def to_dependencies(entities: dict[str, Entity]) -> Rows:
    """Convert declared needs to edges; a library counts as part of the services that use it."""
    edges = dict.fromkeys([*_needs(entities.values()), *_calls(entities.values())])
    rows = []
    for src, dst, declared in edges:
        caller = entities.get(src)
        callee = entities.get(dst)
        if not caller or not caller.is_service or src == dst:
            continue
        if callee and callee.is_library:
            continue
        kind = declared
        if callee and callee.kind == "resource" and declared == "declared":
            kind = _RESOURCES.get(callee.type, declared)
        row: Row = {
            "src": caller.name,
            "dst": callee.name if callee else Entity.named(dst),
        }
        row |= {"kind": kind, "evidence": RULE, "confidence": CONFIDENCE}
        rows.append(row)
    return rows


def _needs(entities: Iterable[Entity]) -> Iterator[Edge]:
    """List declared needs in either direction; the kind of a subcomponent is unknown."""
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
    """Join consumers of an interface with its providers; without one, by the interface's name."""
    providers: TextLists = {}
    consumers = []
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
