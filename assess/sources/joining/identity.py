"""Identity: find out which names of the sources mean the same service.

A row of services, workloads, answers or waivers creates a service; dependencies, incidents and
activities only refer to one. Names join where they are equal, written alike, or equal without
environment and ``-service``, unless one source uses two of them. Names that are merely
similar are suggested in service_aliases, never merged.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import chain, count
from pathlib import Path

from assess.errors import ConfigError
from assess.linear import Linear
from assess.sources.base import Name, Names, Row, Rows, type_of
from assess.sources.csv_records import rows_of, vocabulary
from assess.sources.values import only, text

SURE = 0.8  # from here on a second name joins services, and a match counts as resolved
ALONE = 0.5  # up to here a name never joins the rows of two sources ...
WEAK = 0.5  # ... and below it bears no service at all: a pattern in a host name
_NAMELESS = vocabulary("joining", "no names")

SIMILAR = 0.85  # from here on names are suggested [ratio of difflib]
_NEAREST = 3  # suggestions per name, at most
_COMPARED = 2 * _NEAREST  # names that are compared letter by letter, at most
_LOOKED_UP = 256  # entries of the index of letter triples that are counted per name
_LONGEST = 80  # letters of a name that are compared
ENV_WORDS = vocabulary("joining", "environments")
_SUFFIXES = frozenset(["svc", "service", "srv"])

Claim = tuple[str, Names]  # source, and the names that a row has, best first


Rules = list[tuple[Linear, str]]
Spelling = Callable[[str], str]


@cache
def slug(name: str) -> str:
    """Write a name in lower case, with dashes for all but letters and digits."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-") or name.lower()


@cache
def short(name: str) -> str:
    """Return the slug of a name without environment and without a suffix such as ``-svc``."""
    kept = [word for word in slug(name).split("-") if word not in ENV_WORDS]
    while len(kept) > 1 and kept[-1] in _SUFFIXES:
        kept.pop()
    return "-".join(kept) or slug(name)


SPELLINGS: tuple[Spelling, ...] = (str, slug, short)  # from exact to loose


def leaf(name: Name) -> str:
    """Return a name without its namespace."""
    return name.name.rpartition("/")[2] or name.name


def space(name: Name) -> str:
    """Return the slug of a name's namespace; empty without one and for ``default``."""
    written = name.namespace or name.name.rpartition("/")[0]
    return "" if written in ("", "default") else slug(written)


@dataclass(frozen=True)
class Match:
    """The service of a name; ``service_id`` is None if no service, or several, have the name."""

    service_id: str | None = None
    confidence: float = 0.0  # the smaller of the name's and the service's [share, 0-1]
    ambiguous: bool = False  # more than one service has the name


@dataclass(eq=False)
class Service:
    """A service, and its names in all sources."""

    # by source and name: whether rows of that source bear the service by it
    names: dict[tuple[str, Name], bool] = field(default_factory=dict)
    service_id: str = ""  # once all services are known
    joined: Service | None = None  # what this one turned out to be

    @property
    def root(self) -> Service:
        """The service itself, or the service that it was joined to."""
        service = self
        while service.joined:
            service = service.joined
        return service

    @property
    def bearing(self) -> list[tuple[str, Name]]:
        """Sources that bear it, and the names by which they do."""
        return [named for named, bears in self.names.items() if bears]

    @property
    def sources(self) -> set[str]:
        """Sources that bear it."""
        return {source for source, _ in self.bearing}

    @cached_property
    def best(self) -> Name:
        """Most trusted name that creates it, once all are known; the earlier source wins ties."""
        return max((name for _, name in self.bearing), key=lambda name: name.confidence)

    def bears(self, name: Name) -> bool:
        """Whether rows bear the service by a name of the same spelling."""
        return slug(leaf(name)) in {slug(leaf(other)) for _, other in self.bearing}


class Identity:
    """Services, found from the names in every row that creates one."""

    def __init__(self, born: Iterable[Claim], *, rules: Rules | None = None) -> None:
        self._rules = rules or []
        self._matches: dict[Names, Match] = {}
        self._bearers: dict[tuple[str, Name], Service] = {}
        order: dict[str, int] = {}
        claims: dict[Claim, None] = {}
        for source, names in dict.fromkeys(born):
            order.setdefault(source, len(order))
            if usable := self._usable(names):
                claims[source, usable] = None
        ranked = sorted(claims, key=lambda claim: (order[claim[0]], _sort_key(claim[1])))
        self._create_services(ranked)
        self._join_second_names()
        self.services = list(dict.fromkeys(s.root for s in self._bearers.values()))
        self._index = _index(self.services)
        _give_ids(self.services)

    def bearer(self, source: str, names: Names) -> Match:
        """Return the service that a row creates; an empty match if no name is trusted enough."""
        if not (usable := self._usable(names)):
            return Match()
        service = self._bearers[source, usable[0]].root
        return Match(service.service_id, service.best.confidence)

    def match(self, names: Names) -> Match:
        """Return the service that a row refers to, by its first name that fits only one."""
        if names not in self._matches:
            found = [self._match_one(name) for name in self._decided(names)]
            self._matches[names] = next(
                (m for m in found if m.service_id),
                Match(ambiguous=any(m.ambiguous for m in found)),
            )
        return self._matches[names]

    def aliases(self) -> Rows:
        """List the other names of every service: the audit trail of the joins."""
        return [
            _alias(service, name.name, source, name.rule, name.confidence)
            for service in self.services
            for source, name in service.names
            if name.name != service.service_id
        ]

    def suggestions(self, unresolved: Iterable[tuple[str, Name]]) -> Rows:
        """Suggest similar services of other sources, as ambiguous aliases; a person decides."""
        named: dict[str, list[Service]] = defaultdict(list)
        for service in self.services:
            named[leaf(service.best)].append(service)
        nearest = Nearest(named)
        asked: list[tuple[str, str, str, set[str]]] = [
            (source, name.name, leaf(name), set())
            for source, name in dict.fromkeys(unresolved)
        ]
        asked += [
            (min(s.sources), s.service_id, leaf(s.best), s.sources) for s in self.services
        ]
        return [
            _alias(service, alias, source, "similar", ratio) | {"ambiguous": True}
            for source, alias, seen, sources in asked
            for near, ratio in nearest(seen)
            for service in named[near][:_COMPARED]
            if not service.sources & sources
        ]

    def _decided(self, names: Names) -> Names:
        """Put the name from the identity map first, if there is one."""
        name = mapped(names, self._rules)
        return (name, *names) if name else names

    def _usable(self, names: Names) -> Names:
        """Return the name that creates a service, then further names trusted enough to join it."""
        decided = self._decided(names)
        strong = [n for n in decided if n.confidence >= WEAK and not _is_nameless(n)]
        sure = [name for name in strong[1:] if name.confidence >= SURE]
        return (*strong[:1], *sure)

    def _create_services(self, claims: list[Claim]) -> None:
        """Make services of the first names; join spellings unless one source uses two of them."""
        alike: dict[str, list[tuple[str, Name]]] = defaultdict(list)
        for source, names in claims:
            first = names[0]
            alike[short(leaf(first))].append((source, first))
        for firsts in alike.values():
            spell = next(
                (s for s in SPELLINGS[::-1] if not _has_two_names_of(firsts, s)),
                SPELLINGS[0],
            )
            spaces = {space(name) for _, name in firsts if name.confidence > ALONE} - {""}
            # a source that writes both "web" and "shop/web" means two
            forms = {(source, "/" in name.name) for source, name in firsts}
            is_one = len(spaces) == 1 and len(dict(forms)) == len(forms)
            only = min(spaces) if is_one else ""
            made: dict[tuple[str, str, str], Service] = defaultdict(Service)
            for source, name in firsts:
                alone = type_of(source) if name.confidence <= ALONE else ""
                where = space(name) or ("" if alone else only)
                service = made[spell(leaf(name)), where, alone]
                service.names[source, name] = True
                self._bearers[source, name] = service
        for source, names in claims:
            for name in names[1:]:
                self._bearers[source, names[0]].names.setdefault((source, name), False)

    def _join_second_names(self) -> None:
        """Join two services where a second name of one is the first name of the other."""
        services = list(dict.fromkeys(self._bearers.values()))
        index = _index(services)
        for service in services:
            for name in [name for (_, name), bears in service.names.items() if not bears]:
                here = service.root
                owners = {owner.root for owner in _owners(index, name, SPELLINGS[:2])}
                owners.discard(here)
                other = only(owners)
                # two services of one source are two, whatever else calls them alike
                if other and other.bears(name) and not other.sources & here.sources:
                    here.names = other.names | here.names
                    other.joined = here

    def _match_one(self, name: Name) -> Match:
        if _is_nameless(name):
            return Match()
        owners = _owners(self._index, name, SPELLINGS)
        bearers = [owner for owner in owners if owner.bears(name)]
        service = only(bearers) or only(owners)
        if not service:
            return Match(ambiguous=bool(owners))
        return Match(service.service_id, min(name.confidence, service.best.confidence))


_Index = dict[tuple[str | None, str], dict[Service, None]]


def _index(services: list[Service]) -> _Index:
    """Index services by namespace and spelling; namespace None means any."""
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
    # the exact spelling first: a looser one must not take over an exact match
    for spell in spellings:
        for namespace in (where, "") if where else ("", None):
            if owners := index.get((namespace, spell(leaf(name)))):
                return list(owners)
    return []


def _has_two_names_of(firsts: list[tuple[str, Name]], spell: Spelling) -> bool:
    """Return whether one source has two names that a spelling makes equal."""
    written = {(source, space(name), leaf(name)) for source, name in firsts}
    spelled = {(source, where, spell(name)) for source, where, name in written}
    return len(spelled) < len(written)


def _give_ids(services: list[Service]) -> None:
    """Name services as written; add the namespace only where two would get the same name."""
    alike: dict[str, list[Service]] = defaultdict(list)
    for service in services:
        alike[service.best.name].append(service)
    for name, group in alike.items():
        joinable = [service for service in group if service.best.confidence > ALONE]
        if plain := only(group) or only(joinable):
            plain.service_id = name
    taken = {service.service_id for service in services}
    for service in services:
        if not service.service_id:
            wanted = _qualified(service)
            numbered = (f"{wanted}~{n}" for n in count(2))
            free = (name for name in chain([wanted], numbered) if name not in taken)
            service.service_id = next(free)
            taken.add(service.service_id)


def _qualified(service: Service) -> str:
    best = service.best
    prefix = best.namespace
    if not prefix and best.confidence <= ALONE:
        prefix = type_of(min(service.sources))
    return f"{prefix}/{best.name}" if prefix and "/" not in best.name else best.name


def _is_nameless(name: Name) -> bool:
    """Return whether a name identifies nothing; names that people chose always count."""
    return not name.name or (name.confidence < 1 and slug(leaf(name)) in _NAMELESS)


def _sort_key(names: Names) -> list[tuple[float, str, str, str]]:
    return [(-name.confidence, name.name, name.namespace, name.rule) for name in names]


def _alias(
    service: Service, alias: str, source: str, rule: str, confidence: float
) -> Row:
    return {
        "service_id": service.service_id,
        "alias": alias,
        "alias_source": type_of(source),
        "rule": rule,
        "confidence": confidence,
        "ambiguous": False,
    }


def read_map(path: Path) -> Rules:
    """Read the CSV file in which people decided names: ``pattern`` (a regex), ``service_id``."""
    try:
        rows = rows_of(path)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"the identity map {path.name} cannot be read: {error}"
        ) from error
    rules = []
    problems = []
    for line, row in enumerate(rows, start=2):
        pattern, service = (
            text(row, column).strip() for column in ("pattern", "service_id")
        )
        if not pattern or not service:
            problems.append(f"line {line} needs a pattern and a service_id")
            continue
        try:
            rule = Linear(pattern, ignore_case=True)
            rule.check_template(service)
            rules.append((rule, service))
        except ValueError as error:
            problems.append(f"line {line}: {pattern!r} is no regular expression: {error}")
    if problems:
        message = f"the identity map {path.name}: " + "; ".join(problems)
        raise ConfigError(message, hint="its columns are pattern,service_id")
    return rules


def mapped(names: Iterable[Name], rules: Rules) -> Name | None:
    """Return the service of the first name that a rule matches in full, by its first rule."""
    for name in names:
        for whole in (f"{name.namespace}/{name.name}", name.name):
            for pattern, service in rules:
                if found := pattern.fullmatch(whole):
                    return Name(pattern.expand(service, found), "map", 1.0)
    return None


class Nearest:
    """Finds similar names; only those that share rare letter triples are compared.

    The work for one name is bounded: what all names have in common, such as ``service-``, says
    nothing about a pair of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_triple: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            for triple in _triples(_compared(name)):
                self._by_triple[triple].append(name)

    def __call__(self, name: str) -> list[tuple[str, float]]:
        """List the most similar names and their similarity, `SIMILAR` to 1."""
        text = _compared(name)
        shared = Counter[str]()
        looked_up = 0
        listed = (self._by_triple.get(triple, []) for triple in sorted(_triples(text)))
        for names in sorted(listed, key=len):
            looked_up += len(names)
            if looked_up > _LOOKED_UP:
                break
            shared.update(names)
        likely = sorted(shared, key=lambda n: (-shared[n], n))[:_COMPARED]
        matcher = difflib.SequenceMatcher(b=text)
        similar = []
        for other in likely:
            matcher.set_seq1(_compared(other))
            # The upper bounds are cheaper than the ratio.
            is_far = (
                matcher.real_quick_ratio() < SIMILAR or matcher.quick_ratio() < SIMILAR
            )
            ratio = 0.0 if is_far else matcher.ratio()
            if ratio >= SIMILAR:
                similar.append((other, round(ratio, 2)))
        return sorted(similar, key=lambda pair: (-pair[1], pair[0]))[:_NEAREST]


def _compared(name: str) -> str:
    return slug(name)[:_LONGEST]


def _triples(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
