"""Identity: which of the names that the sources use mean the same service.

A service is born from a row of services, workloads, answers or waivers; dependencies, incidents and
activities only refer to one. Names join where they are equal, written alike, or equal without
environment and ``-service``, as long as no source holds two of them apart. Names that are merely
similar are suggested in service_aliases, never merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count

from assess.sources.base import Name, Row
from assess.sources.joining.names import (
    SPELLINGS,
    Nearest,
    Rules,
    Spelling,
    leaf,
    mapped,
    slug,
    space,
)

SURE = 0.8  # from here on a second name joins services, and a match counts as resolved
ALONE = 0.5  # up to here a name never joins the rows of two sources ...
WEAK = 0.5  # ... and below it bears no service at all: a pattern in a host name
_NAMELESS = frozenset(("localhost", "unknown", "none", "null"))

Claim = tuple[str, tuple[Name, ...]]  # source, and the names that a row has, best first


@dataclass(frozen=True)
class Match:
    """Whose name it is: no service_id where no service, or more than one, has it."""

    service_id: str | None = None
    confidence: float = 0.0  # the smaller of the name's and the service's [share, 0-1]
    ambiguous: bool = False  # more than one service has the name


@dataclass(eq=False)
class Service:
    """A service, and the names that the sources have for it."""

    # by source and name: whether rows of that source bear the service by it
    names: dict[tuple[str, Name], bool] = field(default_factory=dict)
    service_id: str = ""  # once all services are known
    joined: Service | None = None  # what this one turned out to be

    @property
    def root(self) -> Service:
        """The service itself, or what it turned out to be."""
        return self.joined.root if self.joined else self

    @property
    def sources(self) -> set[str]:
        """Sources that bear it."""
        return {source for (source, _), bears in self.names.items() if bears}

    @cached_property
    def best(self) -> Name:
        """Most trusted name that bears it, once all are known; the earlier source wins."""
        bearing = [name for (_, name), bears in self.names.items() if bears]
        return max(bearing, key=lambda name: name.confidence)

    def bears(self, name: Name) -> bool:
        """Whether rows bear the service by a name of the same spelling."""
        return any(
            b and slug(leaf(n)) == slug(leaf(name)) for (_, n), b in self.names.items()
        )


class Identity:
    """Services, found from the names that every row that bears one has for it."""

    def __init__(self, born: Iterable[Claim], *, rules: Rules | None = None) -> None:
        self._rules = rules or []
        self._matches: dict[tuple[Name, ...], Match] = {}
        self._bearers: dict[tuple[str, Name], Service] = {}
        order: dict[str, int] = {}
        claims: dict[Claim, None] = {}
        for source, names in dict.fromkeys(born):
            order.setdefault(source, len(order))
            if usable := self._usable(names):
                claims[source, usable] = None
        self._bear(
            sorted(claims, key=lambda c: (order[c[0]], [_sort_key(n) for n in c[1]]))
        )
        self._join_second_names()
        self.services = list(dict.fromkeys(s.root for s in self._bearers.values()))
        self._index = _index(self.services)
        _give_ids(self.services)

    def bearer(self, source: str, names: tuple[Name, ...]) -> Match:
        """Return the service that a row bears; none where no name is sure enough."""
        if not (usable := self._usable(names)):
            return Match()
        service = self._bearers[source, usable[0]].root
        return Match(service.service_id, service.best.confidence)

    def match(self, names: tuple[Name, ...]) -> Match:
        """Return the service that a row refers to: by the first name that exactly one service has."""
        if names not in self._matches:
            found = [self._match_one(name) for name in self._decided(names)]
            self._matches[names] = next(
                (m for m in found if m.service_id),
                Match(ambiguous=any(m.ambiguous for m in found)),
            )
        return self._matches[names]

    def aliases(self) -> list[Row]:
        """List the other names of every service, the audit trail of the joins."""
        return [
            _alias(service, name.name, source, name.rule, name.confidence)
            for service in self.services
            for source, name in service.names
            if name.name != service.service_id
        ]

    def suggestions(self, unresolved: Iterable[tuple[str, Name]]) -> list[Row]:
        """Suggest similar services of other sources, as ambiguous aliases; a person decides."""
        named: dict[str, list[Service]] = defaultdict(list)
        for service in self.services:
            named[leaf(service.best)].append(service)
        nearest = Nearest(named)
        nobody: set[str] = set()
        asked = [(s, n.name, leaf(n), nobody) for s, n in dict.fromkeys(unresolved)]
        asked += [
            (min(s.sources), s.service_id, leaf(s.best), s.sources) for s in self.services
        ]
        return [
            _alias(service, alias, source, "similar", ratio) | {"ambiguous": True}
            for source, alias, text, own in asked
            for near, ratio in nearest(text)
            for service in named[near]
            if not service.sources & own
        ]

    def _decided(self, names: tuple[Name, ...]) -> tuple[Name, ...]:
        """Put the name that people decided first."""
        name = mapped(names, self._rules)
        return (name, *names) if name else names

    def _usable(self, names: tuple[Name, ...]) -> tuple[Name, ...]:
        """Name that may bear a service, and further ones, sure enough to join it with others."""
        decided = self._decided(names)
        strong = [n for n in decided if n.confidence >= WEAK and not _is_nameless(n)]
        return (*strong[:1], *(name for name in strong[1:] if name.confidence >= SURE))

    def _bear(self, claims: list[Claim]) -> None:
        """Make services of the first names, as far as no source holds them apart."""
        alike: dict[str, list[tuple[str, Name]]] = defaultdict(list)
        for source, names in claims:
            alike[SPELLINGS[-1](leaf(names[0]))].append((source, names[0]))
        for firsts in alike.values():
            spell = next(
                (s for s in SPELLINGS[::-1] if not _held_apart(firsts, s)), SPELLINGS[0]
            )
            spaces = {space(name) for _, name in firsts if name.confidence > ALONE} - {""}
            only = min(spaces) if len(spaces) == 1 else ""
            made: dict[tuple[str, str, str], Service] = defaultdict(Service)
            for source, name in firsts:
                alone = _type(source) if name.confidence <= ALONE else ""
                where = space(name) or ("" if alone else only)
                service = made[spell(leaf(name)), where, alone]
                service.names[source, name] = True
                self._bearers[source, name] = service
        for source, names in claims:
            for name in names[1:]:
                self._bearers[source, names[0]].names.setdefault((source, name), False)

    def _join_second_names(self) -> None:
        """Join services where another source bears one by a second name of the other."""
        services = list(dict.fromkeys(self._bearers.values()))
        index = _index(services)
        for service in services:
            for name in [name for (_, name), bears in service.names.items() if not bears]:
                here = service.root
                owners = {
                    owner.root: None for owner in _owners(index, name, SPELLINGS[:2])
                }
                others = [owner for owner in owners if owner is not here]
                if len(others) != 1 or others[0].sources & here.sources:
                    continue
                if others[0].bears(name):
                    here.names = {**others[0].names, **here.names}
                    others[0].joined = here

    def _match_one(self, name: Name) -> Match:
        if _is_nameless(name):
            return Match()
        owners = _owners(self._index, name, SPELLINGS)
        bearers = [owner for owner in owners if owner.bears(name)]
        owners = bearers if len(bearers) == 1 else owners
        if len(owners) != 1:
            return Match(ambiguous=bool(owners))
        return Match(
            owners[0].service_id, min(name.confidence, owners[0].best.confidence)
        )


_Index = dict[tuple[str | None, str], dict[Service, None]]


def _index(services: list[Service]) -> _Index:
    """Services by namespace and spelling; namespace None stands for any."""
    index: _Index = defaultdict(dict)
    for service in services:
        for _, name in service.names:
            for spell in SPELLINGS:
                index[space(name), spell(leaf(name))][service] = None
                index[None, spell(leaf(name))][service] = None
    return index


def _owners(index: _Index, name: Name, spellings: tuple[Spelling, ...]) -> list[Service]:
    """Services that have a name, by the most exact spelling that any has."""
    where = space(name)
    for spell in spellings:
        for namespace in (where, "") if where else ("", None):
            if owners := index.get((namespace, spell(leaf(name)))):
                return list(owners)
    return []


def _held_apart(firsts: list[tuple[str, Name]], spell: Spelling) -> bool:
    """Whether one source has two names that a spelling makes equal."""
    seen: dict[tuple[str, str, str], str] = {}
    return any(
        seen.setdefault((source, space(name), spell(leaf(name))), leaf(name))
        != leaf(name)
        for source, name in firsts
    )


def _give_ids(services: list[Service]) -> None:
    """Name services as written; with the namespace only where two would be named alike."""
    alike: dict[str, list[Service]] = defaultdict(list)
    for service in services:
        alike[service.best.name].append(service)
    for name, group in alike.items():
        joinable = [service for service in group if service.best.confidence > ALONE]
        plain = group if len(group) == 1 else joinable
        if len(plain) == 1:
            plain[0].service_id = name
    taken = {service.service_id for service in services}
    for service in services:
        if not service.service_id:
            wanted = _qualified(service)
            tried = chain([wanted], (f"{wanted}~{number}" for number in count(2)))
            service.service_id = next(text for text in tried if text not in taken)
            taken.add(service.service_id)


def _qualified(service: Service) -> str:
    best = service.best
    prefix = best.namespace or (
        "" if best.confidence > ALONE else _type(min(service.sources))
    )
    return f"{prefix}/{best.name}" if prefix and "/" not in best.name else best.name


def _is_nameless(name: Name) -> bool:
    """Whether a name identifies nothing; names that people chose always count."""
    return not name.name or (name.confidence < 1 and slug(leaf(name)) in _NAMELESS)


def _sort_key(name: Name) -> tuple[float, str, str, str]:
    return -name.confidence, name.name, name.namespace, name.rule


def _type(source: str) -> str:
    """Type of a source; ``docker#2`` is the second of its type."""
    return source.partition("#")[0]


def _alias(
    service: Service, alias: str, source: str, rule: str, confidence: float
) -> Row:
    return {
        "service_id": service.service_id,
        "alias": alias,
        "alias_source": _type(source),
        "rule": rule,
        "confidence": confidence,
        "ambiguous": False,
    }
