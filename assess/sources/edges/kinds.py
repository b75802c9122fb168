"""Kinds of dependencies, by protocol, image, names and port of the callee."""

import re
from dataclasses import dataclass
from functools import lru_cache

from assess import reference
from assess.sources.csv_records import rows, vocabulary
from assess.sources.edges.address import LISTS, Address

CALL = "call"
STORES = ("data", "cache", "queue", "discovery")  # whose hosts keep state


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
# What kinds of state an image keeps are to who calls it; other kinds are called.
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
