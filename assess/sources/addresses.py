"""Addresses in the environment of a service: what it calls, and the kind of dependency."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from assess.sources.csv_records import rows
from assess.sources.linear import Linear

_NAMED = re.compile(
    r"(?:^|_)(?:URLS?|URI|HOSTS?|ADDR|ADDRESS|ENDPOINT|DSN|SERVERS?|BROKERS?)$"
)
_OWN = re.compile(
    r"(?:^|_)(?:VIRTUAL|LETSENCRYPT|ALLOWED|TRUSTED|BIND|LISTEN(?:ER)?|ADVERTISED?|PUBLIC|SITE)_"
)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
_SCHEME = re.compile(
    r"^(?:jdbc:)?(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)$", re.IGNORECASE
)
_GO_DSN = Linear(r"@(?:tcp|udp)\((?P<address>[^)]*)\)")
_KEYWORD_DSN = Linear(
    r"(?:^|[\s;])(?:host|server|data source)\s*=\s*(?P<host>[^\s;,]+)", ignore_case=True
)
_KEYWORD_PORT = Linear(r"(?:^|[\s;])port\s*=\s*(?P<port>\d+)", ignore_case=True)
_HERE = re.compile(
    r"localhost|127\.[\d.]+|0\.0\.0\.0|host\.docker\.internal", re.IGNORECASE
)
_NO_HOST = frozenset(("true", "false", "yes", "no", "on", "off", "none", "null"))

# Words of schemes, host names and images, and ports, by the kind of dependency.
_KIND_OF = {
    int(mark) if mark.isdigit() else mark: row["kind"]
    for row in rows("address_kinds")
    for mark in row["marks"].split()
}
_GENERIC = frozenset(("database", "db", "cache", "queue", "broker"))
_SPEAK_ANYTHING = frozenset(("http", "https", "ws", "wss", "grpc"))


@dataclass(frozen=True)
class Address:
    """An address without anything secret; the host is in lower case."""

    host: str
    port: int | None = None
    scheme: str = ""


def addresses(env: Mapping[str, str]) -> Iterator[tuple[str, Address]]:
    """List variables named ``*_URL``, ``*_HOST``, ``*_DSN`` …, and the addresses in them.

    Addresses of the own host are left out.
    """
    for name, value in sorted(env.items()):
        if _NAMED.search(name.upper()) and not _OWN.search(name.upper()):
            is_bare_ok = not re.search(r"(?:URLS?|URI|DSN)$", name.upper())
            for address in _of_value(value.strip(), is_bare_ok=is_bare_ok):
                if not _HERE.fullmatch(address.host):
                    yield name, address


def _of_value(value: str, *, is_bare_ok: bool) -> Iterator[Address]:
    scheme = ""
    rest = value
    if found := _SCHEME.match(value):
        scheme = found["scheme"].lower()
        rest = found["rest"]
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if "@" in rest and "@" not in authority:
            return  # a password with a slash in it: nothing before the @ is a host for sure
        rest = authority.rpartition("@")[2]
    elif found := _GO_DSN.search(value):
        rest = found["address"]
    elif found := _KEYWORD_DSN.search(value):
        port = _KEYWORD_PORT.search(value)
        rest = found["host"] + (f":{port['port']}" if port else "")
    elif not is_bare_ok or re.search(r"[@/\s=]", value):
        return
    for part in rest.split(","):
        if address := _host_and_port(part, scheme):
            yield address


def _host_and_port(text: str, scheme: str) -> Address | None:
    plain = _SCHEME.sub(r"\g<rest>", text.strip())
    try:
        parts = urlsplit(f"//{plain}")
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return None
    if not _HOST.fullmatch(host) or host.isdigit() or host in _NO_HOST:
        return None
    return Address(host, port, scheme)


def kind_of(address: Address, image: str = "", variable: str = "") -> str:
    """Return the kind of dependency behind an address; ``call`` where nothing says more.

    The image is the last part of the repository behind the address, where that is known.
    """
    protocol = re.split(r"[+.-]", address.scheme)[0]
    marks: list[str | int | None] = [protocol, address.port, image.lower(), address.host]
    if protocol not in _SPEAK_ANYTHING:
        parts = re.split(r"[\W_\d]+", f"{variable} {address.host}".lower())
        marks += sorted(parts, key=lambda part: part in _GENERIC)
    return next((_KIND_OF[mark] for mark in marks if mark in _KIND_OF), "call")
