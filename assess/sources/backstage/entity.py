"""An entity of Backstage's catalog: its reference, its names, and what it says of a service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from assess.sources.base import Name, Row
from assess.sources.values import dicts, dig

RULE, NAMED, ALSO_NAMED = "backstage", 0.95, 0.8
# Annotations by which other systems know it; of a path, the last part is its name.
ALIASES = (
    "backstage.io/kubernetes-id",
    "jaegertracing.io/service",
    "pagerduty.com/service-id",
    "github.com/project-slug",
    "gitlab.com/project-slug",
    "bitbucket.org/project-slug",
)
_ORPHAN = "backstage.io/orphan"
_LIBRARIES = ("library", "documentation", "docs", "package", "sdk", "storybook")
_SERVICE_KINDS = {
    "website": "web",
    "frontend": "web",
    "worker": "worker",
    "job": "job",
    "cronjob": "job",
    "database": "database",
    "cache": "cache",
    "queue": "queue",
}
_TIERS = {"critical": 1, "mission-critical": 1, "high": 2, "medium": 3, "low": 4}
_NAME = re.compile(r"[\w.-]{1,63}")
_WORDS = re.compile(r"[\w .,&()/+-]{1,80}")  # what may pass as a title or a team
_REF = re.compile(r"(?:(?P<kind>[^:/]+):)?(?:(?P<namespace>[^:/]+)/)?(?P<name>[^:/]+)")


@dataclass
class Kept:
    """Which keys may tell the tier and the criticality, and what was left out."""

    tier_keys: tuple[str, ...]
    criticality_keys: tuple[str, ...] = ()
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
        return str(dig(self.raw, "spec", "type") or "").lower()

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
        """List the references of a relation, as the API has it, else as the file declares it.

        References without a kind are of ``kind``; those without a namespace are of its own.
        """
        relations = list(dicts(self.raw.get("relations")))
        if relations:
            found = [_target(r) for r in relations if r.get("type") == relation]
        else:
            said = dig(self.raw, "spec", key)
            found = (
                [said]
                if isinstance(said, str)
                else said
                if isinstance(said, list)
                else []
            )
        refs = (to_ref(text, kind, self.namespace) for text in found)
        return [ref for ref in dict.fromkeys(refs) if ref]


def _target(relation: Row) -> Any:
    """Return the target of a relation as a reference; older catalogs have it in parts."""
    parts = [dig(relation, "target", key) for key in ("kind", "namespace", "name")]
    if all(isinstance(part, str) for part in parts):
        return f"{parts[0]}:{parts[1]}/{parts[2]}"
    return relation.get("targetRef")


def to_ref(text: Any, kind: str, namespace: str = "default") -> str:
    """Write a reference ``[kind:][namespace/]name`` in full and in lower case; empty if none."""
    found = _REF.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or not _NAME.fullmatch(found["name"]):
        return ""
    return f"{found['kind'] or kind}:{found['namespace'] or namespace}/{found['name']}".lower()


def entities_in(values: Iterable[Any]) -> tuple[list[Entity], int]:
    """Find the entities of documents and of pages; also count those that have no proper name."""
    found, unmapped = [], 0
    for value in values:
        page = dig(value, "items")
        for raw in dicts(page) if isinstance(page, list) else dicts([value]):
            kind, version = raw.get("kind"), raw.get("apiVersion")
            if not isinstance(kind, str) or not str(version).startswith("backstage.io/"):
                continue
            if kind.lower() not in ("component", "api", "resource", "system"):
                continue
            name = dig(raw, "metadata", "name")
            namespace = dig(raw, "metadata", "namespace") or "default"
            if all(isinstance(t, str) and _NAME.fullmatch(t) for t in (name, namespace)):
                found.append(Entity(kind.lower(), namespace, name, raw))
            else:
                unmapped += 1
    return found, unmapped


def to_service(entity: Entity, kept: Kept) -> Row:
    """Make a row of services of a component; what it does not say, the row leaves out."""
    notes = _notes(entity)
    tiers = [(key, notes[key]) for key in kept.tier_keys if key in notes]
    weights = [notes[key] for key in kept.criticality_keys if key in notes]
    tier = next((t for _, text in tiers if (t := to_tier(text)) is not None), None)
    weight = next((w for text in weights if (w := _weight(text)) is not None), None)
    kept.unmapped += (bool(tiers) and tier is None) + (bool(weights) and weight is None)
    names = (entity.name, *_aliases(entity, notes))
    used = sum(
        key in notes for key in (*ALIASES, *kept.tier_keys, *kept.criticality_keys)
    )
    links = dig(entity.raw, "metadata", "links")
    kept.redacted += max(len(notes) - used, 0) + bool(
        dig(entity.raw, "metadata", "description")
    )
    kept.redacted += len(links) if isinstance(links, list) else 0
    owner = _owner(entity, kept)
    stage = dig(entity.raw, "spec", "lifecycle")
    row = {
        "owner": owner,
        "tier": tier,
        "criticality": weight,
        "lifecycle": stage if isinstance(stage, str) and _NAME.fullmatch(stage) else None,
        "kind": _SERVICE_KINDS.get(entity.type),
    }
    return {"names": names} | {
        key: value for key, value in row.items() if value is not None
    }


def to_tier(text: str) -> int | None:
    """Read a tier: a digit, with or without the word, or a word; None for anything else."""
    word = re.sub(r"[\s_]+", "-", text.strip().lower())
    if digit := re.fullmatch(r"(?:tier|t)?-?([0-4])", word):
        return max(int(digit[1]), 1)
    return _TIERS.get(word)


def _weight(text: str) -> float | None:
    """Read a criticality, a number of any unit."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None


def _notes(entity: Entity) -> dict[str, str]:
    """Join labels and annotations; labels first, as people choose them."""
    notes: dict[str, str] = {}
    for part in ("annotations", "labels"):
        table = dig(entity.raw, "metadata", part)
        items = table.items() if isinstance(table, dict) else ()
        notes |= {str(k): str(v) for k, v in items if isinstance(v, str | int | float)}
    return notes


def _aliases(entity: Entity, notes: dict[str, str]) -> list[Name]:
    """List the other names that people and other systems use."""
    namespace = entity.name.namespace
    title = dig(entity.raw, "metadata", "title")
    found = [title if isinstance(title, str) and _WORDS.fullmatch(title) else ""]
    found += [notes.get(key, "").rstrip("/").rpartition("/")[2] for key in ALIASES]
    aliases = [text for text in found[:1] if text]
    aliases += [text for text in found[1:] if _NAME.fullmatch(text)]
    others = [text for text in dict.fromkeys(aliases) if text != entity.title]
    return [Name(text, f"{RULE}-alias", ALSO_NAMED, namespace) for text in others]


def _owner(entity: Entity, kept: Kept) -> str | None:
    """Return the team that owns it; a person is left out."""
    refs = entity.related("ownedBy", "owner", "group") or [
        to_ref(dig(entity.raw, "spec", "owner"), "group", entity.namespace)
    ]
    if not refs[0]:
        kept.redacted += bool(dig(entity.raw, "spec", "owner"))
        return None
    if refs[0].startswith("user:"):
        kept.redacted += 1
        return None
    return refs[0].rpartition("/")[2]
