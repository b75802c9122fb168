"""Dependencies of services: their kind, and one row for each pair that a text names."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from assess import frames, reference
from assess.frames import EXTERNAL
from assess.sources.base import Name, Row, Rows
from assess.sources.csv_records import rows, vocabulary
from assess.sources.edges.address import (
    ENGINE_HOST,
    LISTS,
    OWN_HOST,
    Address,
    Callee,
    Siblings,
    inner_name,
    of_text,
    of_variable,
    words_of,
)
from assess.sources.values import Texts, as_list, leaf

CALL = "call"
STORES = ("data", "cache", "queue", "discovery")  # whose hosts keep state
UNRESOLVED = 0.6  # confidence in a name that no service of the platform has [share]
RULE = "address"
# A space that no service is in: such a name never means one of any other space.
NOWHERE = "-"
_EVIDENCE = {"env": "environment", "command": "command", "config": "config-file"}
START_ORDER = "start_order"
ENDED = "service_completed_successfully"  # condition of Compose
WATCHERS = ("telemetry", "log")


@dataclass(frozen=True)
class Kind:
    """Kind of a dependency, its protocol, and whether there is evidence for it."""

    kind: str = CALL
    protocol: str = ""
    is_known: bool = True


def _index(column: str) -> dict[str, Kind]:
    return {
        word: Kind(row["kind"], row["protocol"])
        for row in rows("address_kinds")
        for word in row[column].split()
    }


_BY_WORD = _index("words")
_BY_LAST_WORD = _index("last_words")  # of a host: what it is, whatever is behind it
_BY_PORT = _index("ports")
_BY_HTTP_PORT = _index("http_ports")
_BY_SUFFIX = {
    row["suffix"]: Kind(row["kind"], row["protocol"]) for row in rows("address_hosts")
}
# kinds of dependency, by the kind of state that the callee keeps; others are calls
_OF_STATE = vocabulary("edges", "kinds of state")
_SOFT_STATES = ("time-series", "log-store")  # which may hold what is only watched
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_SEPARATOR = re.compile(r"[\W_\d]+")


@lru_cache(10_000)
def kind_of_image(repository: str) -> Kind | None:
    """Return the kind of dependency on an image; None for a program that is only called."""
    # A store wins over telemetry: ``zipkin-mysql`` keeps data. ``kafka-ui`` is called.
    path = repository.lower().split("/")
    words = [*filter(None, _SEPARATOR.split(path[-1]))]
    known = [*filter(None, map(_BY_WORD.get, words))]
    soft = list(filter(_is_soft, known))
    state = reference.stateful_kind(repository) or ""
    if kind := _OF_STATE.get(state):
        is_soft = state in _SOFT_STATES and soft
        same = [word for word in known if word.kind == kind]
        return next(iter(soft if is_soft else same), Kind(kind))
    if known and len(words) == 1:  # pgbouncer, which is used as the store behind it
        return known[0]
    if reference.is_tool(repository) and not soft:
        return None
    publisher = filter(None, map(_BY_WORD.get, path[-2:-1]))
    return next(iter([*soft, *filter(_is_soft, publisher)]), None)


def _is_soft(kind: Kind) -> bool:
    return kind.kind not in ("data", "cache", "queue")


def kind_of_name(name: str) -> Kind | None:
    """Return the kind that the name of a host or a service implies."""
    if kind := kind_of_image(name):
        return kind
    words = [*filter(None, _SEPARATOR.split(name.lower()))]
    is_bare = not words or reference.is_tool(name)
    return None if is_bare else _BY_LAST_WORD.get(words[-1])


def kind_of(address: Address, image: str = "", variable: str = "") -> Kind:
    """Return the kind of dependency behind an address."""
    # The protocol decides, then the image, then names, then the port: it never makes a
    # call over HTTP one for logs, telemetry or flags.
    protocols = [*filter(None, re.split(r"[+.-]", address.scheme))]
    spoken = next(filter(None, map(_BY_WORD.get, protocols)), None)
    if spoken:
        return spoken
    if kind := kind_of_image(image):
        return kind
    is_http = any(protocol in LISTS["http"] for protocol in protocols)
    if kind := _by_host(address.host, is_http=is_http):
        return kind
    ports = _BY_HTTP_PORT if is_http else _BY_PORT
    if kind := ports.get(str(address.port)):
        return kind
    if not image and (kind := kind_of_variable(variable)):
        return kind
    named = [protocol for protocol in protocols if protocol not in LISTS["plain"]]
    return Kind(CALL, "".join(named[:1]), is_known=bool(named))


def _by_host(host: str, *, is_http: bool) -> Kind | None:
    """Return the kind of a host: by a provider's domain, or by its first label."""
    # Regions stand within the names of the large providers: x.rds.eu-west-1.amazonaws.com.
    labels = [label for label in host.split(".") if not _REGION.fullmatch(label)]
    # the longest known suffix wins
    for n in range(1, len(labels)):
        if kind := _BY_SUFFIX.get(".".join(labels[n:])):
            return kind
    kind = kind_of_name(labels[0])
    is_vague = kind and not kind.protocol
    # over HTTP, a name without a protocol, such as "cache", does not show a store
    return None if is_vague and is_http else kind


def kind_of_variable(name: str) -> Kind | None:
    """Return the kind that the words of a variable mean, such as ``OTEL`` or ``ELASTICSEARCH``."""
    words = [*name.lower().split("_"), *_SEPARATOR.split(name.lower())]
    is_api = "api" in words
    known = filter(None, map(_BY_WORD.get, words))
    return None if is_api else next(known, None)


@dataclass(frozen=True)
class Text:
    """A text in which a service may name others; it never leaves the source that read it."""

    value: str
    basis: str = "env"  # env, command or config
    name: str = ""  # of the variable or the file
    is_possible: bool = False  # it cannot be told whether the service reads it
    is_wait: bool = False  # it only waits, before the service starts


@dataclass(frozen=True)
class Mention:
    """An address found in a text; the text's value is not kept."""

    address: Address
    text: Text


def variables(environment: Texts) -> list[Text]:
    """Return the texts of an environment."""
    return [Text(value, name=name) for name, value in sorted(environment.items())]


def command_line(item: Row, *keys: str) -> tuple[Text, ...]:
    """Return the command line of a container, from the keys that make it up."""
    parts = [part for key in keys for part in as_list(item, key)]
    words = [part for part in parts if isinstance(part, str)]
    return (Text(" ".join(words), "command"),) if words else ()


def mentions(texts: Iterable[Text]) -> list[Mention]:
    """List the addresses in texts."""
    found: dict[Mention, None] = {}
    for text in texts:
        is_variable = text.basis == "env"
        addresses = (
            of_variable(text.name, text.value) if is_variable else of_text(text.value)
        )
        origin = replace(text, value="")
        found |= dict.fromkeys(Mention(address, origin) for address in addresses)
    return list(found)


def needs(
    caller: Callee, found: Iterable[Mention], siblings: Siblings, *, space: str = ""
) -> Rows:
    """Return rows for the dependencies of a service, from the addresses in its texts."""
    # A host outside is ``ext:<host>``. A name without a sibling is a name that the
    # joining may resolve. A caller whose image watches others does not depend on them.
    own_kind = kind_of_image(caller.image)
    # the words by which the service and its image are named
    own = {*words_of(caller.called), *words_of(leaf(caller.image))}
    watches = own_kind and own_kind.kind in WATCHERS
    rows = []
    for mention in found:
        address = mention.address
        if address.host == OWN_HOST and not caller.on_host:
            continue
        callee = siblings.behind(address, space)
        if not callee and address.is_sure:
            callee = _outside_callee(address, space)
        if not callee or (mention.text.is_possible and _is_stranger(callee)):
            continue
        row = _row(caller.name, callee, mention)
        is_call = row["kind"] == CALL
        is_stranger = _is_stranger(callee)
        if is_call and is_stranger and is_own(mention.text.name, own):
            continue
        if own_kind and _is_for_others(mention.text, row, own_kind):
            continue
        if is_call and address.host == ENGINE_HOST:  # browsers are told such addresses
            row["possible"] = True
        if is_call and own_kind and watches and not is_stranger:
            row["kind"] = own_kind.kind
        rows.append(row)
    return rows


def _is_for_others(text: Text, row: Row, own: Kind) -> bool:
    """Return whether a variable of a store is meant for other services of its shared env file."""
    # Images of plain stores read only variables of their own product.
    if text.basis != "env" or own.protocol not in LISTS["alone"]:
        return False
    named = kind_of_variable(text.name)
    is_own_name = named and named.protocol == own.protocol
    return not is_own_name and row["protocol"] != own.protocol


def is_own(variable: str, own: set[str]) -> bool:
    """Return whether a variable is named like its service: ``WIKI_URL`` is that of the wiki."""
    subject = {word for word in words_of(variable) if word not in LISTS["host"]}
    return bool(subject) and subject <= own | LISTS["site"]


def _outside_callee(address: Address, space: str) -> Callee:
    """Return the callee for a host that is not a sibling."""
    inside = inner_name(address.host)
    if not inside and address.is_outside:
        return Callee(f"{EXTERNAL}{address.host}")
    name, space = inside or (address.host, space)
    return Callee(Name(name, RULE, UNRESOLVED, space or NOWHERE))


def _is_stranger(callee: Callee) -> bool:
    return isinstance(callee.name, str) or callee.name.rule == RULE


def _row(src: Name | str, callee: Callee, mention: Mention) -> Row:
    variable = mention.text.name if mention.text.basis == "env" else ""
    found = kind_of(mention.address, callee.image, variable)
    kind = found.kind
    if mention.text.is_wait and kind not in STORES:
        kind = START_ORDER
    return dependency_row(
        src,
        callee.name,
        kind,
        _EVIDENCE[mention.text.basis],
        protocol=found.protocol or None,
        address_basis=mention.text.basis,
        possible=mention.text.is_possible,
        _is_known=found.is_known,
    )


def start_order(
    src: Name, callee: Callee, evidence: str, *, service: str = "", **more: Any
) -> Row:
    """Return the row of a service that is started after another one."""
    # Where its image, or without one its name, is that of a store or a broker, it is used
    # as one; what has to end first is a job, whatever its image is.
    known = _kind_of(callee, service)
    is_job = more.get("condition") == ENDED
    if not known or known.kind not in STORES or is_job:
        known = Kind(START_ORDER)
    more["protocol"] = known.protocol or None
    return dependency_row(src, callee.name, known.kind, evidence, **more)


def _kind_of(callee: Callee, service: str = "") -> Kind | None:
    """Return the kind of a service by its image, else by its name if a store is named so."""
    if kind := kind_of_image(callee.image):
        return kind
    is_store = reference.is_store_name(callee.called)
    if callee.image and not (is_store and not reference.is_tool(callee.image)):
        return None
    return kind_of_name(service or callee.called)


def declared_call(src: Name, callee: Callee, evidence: str, **more: Any) -> Row:
    """Return the row of a declared link to another service, with the kind of the callee."""
    known = _kind_of(callee) or Kind(is_known=False)
    more = {"protocol": known.protocol or None, "_is_known": known.is_known, **more}
    return dependency_row(src, callee.name, known.kind, evidence, **more)


def dependency_row(
    src: Name | str, dst: Name | str, kind: str, evidence: str, **more: Any
) -> Row:
    """Return a row of the dependencies frame, with names in place of ids."""
    known = more.pop("_is_known", True)
    columns = frames.row("dependencies", kind=kind, evidence=evidence, **more)
    return {"src": src, "dst": dst, **columns, "_is_known": known}


# What a pair is to each other, the strongest first.
_RANKS = ("data", "queue", "cache", "discovery", "declared", "flags", "telemetry", "log")


def distinct(rows: Iterable[Row]) -> Rows:
    """Return one row for each pair of services, without those of a service on itself."""
    # A start order is dropped where the pair has another kind, but its condition is kept.
    # A Redis that is the only store of its caller counts as data, not as a cache.
    pairs: dict[tuple[Name | str, Name | str], Rows] = defaultdict(list)
    for row in rows:
        src = _without_rule(row["src"])
        dst = _without_rule(row["dst"])
        if src != dst:
            pairs[src, dst].append(row)
    kept = []
    for group in pairs.values():
        best = min(group, key=_weakness)
        conditions = [row["condition"] for row in group if row.get("condition")]
        kept.append(best | ({"condition": conditions[0]} if conditions else {}))
        kept[-1].pop("_is_known", None)
    return [*_promoted(kept)]


def _weakness(row: Row) -> tuple[bool, bool, bool, int, bool]:
    kind = row["kind"]
    rank = _RANKS.index(kind) if kind in _RANKS else len(_RANKS)
    is_known = row.get("_is_known", True)
    is_address = row["evidence"] in _EVIDENCE.values()
    return (
        bool(row.get("possible")),
        kind == START_ORDER,
        not is_known,
        rank,
        not is_address,
    )


def _promoted(rows: Rows) -> Iterator[Row]:
    """Turn the kind of Redis from cache to data for callers without another store."""
    stores: dict[Name, set[str]] = defaultdict(set)
    for row in rows:
        stores[row["src"]].add(row["kind"])
    for row in rows:
        is_only = row["kind"] == "cache" and "data" not in stores[row["src"]]
        yield row | {"kind": "data"} if is_only and row["protocol"] == "redis" else row


def _without_rule(name: Name | str) -> Name | str:
    return replace(name, rule="", confidence=0.0) if isinstance(name, Name) else name
