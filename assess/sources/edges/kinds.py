"""Kinds: what sort of dependency leads to a host, by protocol, image, names and port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from assess.sources.csv_records import rows
from assess.sources.edges.address import Address

CALL = "call"
STORES = ("data", "cache", "queue", "discovery")  # whose hosts keep state


@dataclass(frozen=True)
class Kind:
    """Kind of a dependency, its protocol, and whether something says so."""

    kind: str = CALL
    protocol: str = ""
    is_known: bool = True


_ROWS = rows("address_kinds")
_BY_WORD = {
    word: Kind(row["kind"], row["protocol"])
    for row in _ROWS
    for word in row["words"].split()
}
_BY_PORT = {
    int(port): Kind(row["kind"], row["protocol"])
    for row in _ROWS
    for port in row["ports"].split()
}
_BY_HTTP_PORT = {
    int(port): Kind(row["kind"], row["protocol"])
    for row in _ROWS
    for port in row["http_ports"].split()
}
_BY_SUFFIX = {
    row["suffix"]: Kind(row["kind"], row["protocol"]) for row in rows("address_hosts")
}
# Last words of a name that say what it is, whatever is behind it.
_LAST = {
    "db": Kind("data", "database"),
    "database": Kind("data", "database"),
    "cache": Kind("cache", "cache"),
    "queue": Kind("queue", "broker"),
    "broker": Kind("queue", "broker"),
    "mq": Kind("queue", "broker"),
}
# What goes with a store and is none: its tools, and programs that only speak to it.
_TOOLS = re.compile(
    r"exporter|operator|ui|web|express|commander|insight|admin\d?|pgadmin\d?|phpmyadmin|adminer"
    r"|client|cli|backup|dump|restore|migrat\w*|init|setup|seed\w*|proxy|reaper|connect|manager"
    r"|browser|hq|head|curator|dashboard\w*|monitor|rest|registry|bridge|sidecar|agent|shell"
    r"|schema|mirror\w*|loader|job|test\w*|gui|console|consumer|producer|worker|kibana|cerebro"
)
_EMPTY = frozenset(
    ("server", "all", "in", "one", "free", "enterprise", "edge", "main", "image")
)
_HTTP = frozenset(("http", "https", "ws", "wss", "grpc", "grpcs", "lb", "h2c"))
_PLAIN = frozenset(("", "tcp", "udp", "tls", "ssl", "dns", "srv", "inproc"))


@lru_cache(10_000)
def kind_of_name(name: str) -> Kind | None:
    """Return what the name of an image or a host says; a store wins over telemetry.

    ``zipkin-mysql`` keeps data; ``postgres-exporter`` and ``kafka-ui`` are called.
    """
    words = [word for word in re.split(r"[\W_\d]+", name.lower()) if word]
    if any(_TOOLS.fullmatch(word) for word in words):
        soft = [_BY_WORD[w] for w in words if w in _BY_WORD and _is_soft(_BY_WORD[w])]
        return next(iter(soft), None)
    known = [_BY_WORD[word] for word in words if word in _BY_WORD]
    stores = [kind for kind in known if not _is_soft(kind)]
    last = [_LAST[word] for word in words[-1:] if word in _LAST]
    return next(iter([*stores, *last, *known]), None)


def _is_soft(kind: Kind) -> bool:
    return kind.kind not in STORES


@lru_cache(10_000)
def kind_of_image(repository: str) -> Kind | None:
    """Return what the last part of a repository says, else the part before it."""
    parts = repository.lower().split("/")
    last = parts[-1]
    if kind := kind_of_name(last):
        return kind
    is_empty = {*re.split(r"[\W_\d]+", last)} <= {
        *_EMPTY,
        "agent",
        "collector",
        "database",
        "",
    }
    return kind_of_name(parts[-2]) if is_empty and len(parts) > 1 else None


def kind_of(address: Address, image: str = "", variable: str = "") -> Kind:
    """Return the kind of dependency behind an address.

    The protocol decides, then the image, then names, then the port: it never makes a call over
    HTTP one for logs, telemetry or flags.
    """
    protocols = [part for part in re.split(r"[+.-]", address.scheme) if part]
    spoken = next((_BY_WORD[p] for p in protocols if p in _BY_WORD), None)
    if spoken and spoken.protocol != "store":
        return spoken
    if kind := kind_of_image(image):
        return kind
    scheme = address.scheme
    is_http = any(protocol in _HTTP for protocol in protocols)
    if kind := _by_host(address.host, is_plain=not is_http):
        return kind
    if is_http:
        port = _BY_HTTP_PORT.get(address.port or 0)
        named = _of_variable(variable) if not image else None
        return port or named or Kind(CALL, protocols[0])
    if kind := _BY_PORT.get(address.port or 0):
        return kind
    if not image and (kind := _of_variable(variable)):
        return kind
    return Kind(CALL, "" if scheme in _PLAIN else scheme, is_known=scheme not in _PLAIN)


def _by_host(host: str, *, is_plain: bool) -> Kind | None:
    """Return what a host is: a service of a provider, or a name that says it."""
    labels = host.split(".")
    for n in range(1, len(labels)):
        if kind := _BY_SUFFIX.get(".".join(labels[n:])):
            return kind
    # Regions stand within the names of the large providers: x.rds.eu-west-1.amazonaws.com.
    plain = [
        label for label in labels if not re.fullmatch(r"[a-z]{2}(?:-[a-z]+)+-\d", label)
    ]
    for n in range(len(plain)):
        if kind := _BY_SUFFIX.get(".".join(plain[n:])):
            return kind
    kind = kind_of_name(labels[0])
    is_generic = kind is not None and kind.protocol in ("database", "cache", "broker")
    return None if is_generic and not is_plain else kind


def _of_variable(name: str) -> Kind | None:
    """Return what the words of a variable say, such as ``OTEL`` or ``ELASTICSEARCH``."""
    words = re.split(r"[\W_\d]+", name.lower())
    is_api = "api" in words
    known = (_BY_WORD[word] for word in words if word in _BY_WORD)
    return None if is_api else next(known, None)
