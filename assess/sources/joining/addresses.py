"""Addresses that one source declares and another one knows: of a host, or in front of a service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from assess.frames import EXTERNAL
from assess.sources.base import Batches, Name, Row
from assess.sources.joining.hosts import spellings

KNOWN = 0.7  # confidence in the only service of a host [share]
_DECLARED = ("env", "command", "config")  # texts: traffic is joined where it was seen
_Services = dict[str, dict[Name, None]]  # by host or address


def follow_addresses(batches: Batches) -> Batches:
    """Return batches in which declared addresses lead to the service that is there.

    An address of a host leads to a service only where it is the only one there.
    """
    services = _services(batches)

    def follow(_: str, row: Row) -> Row:
        if row.get("address_basis") not in _DECLARED:
            return row
        found = services.get(_host_of(row["dst"]), {})
        if len(found) != 1:
            return row
        return row | {"dst": next(iter(found)), "confidence": KNOWN}

    return [
        (label, batch.map(follow) if batch.rows.get("dependencies") else batch)
        for label, batch in batches
    ]


def _host_of(dst: Name | str) -> str:
    """Return the address that no service of its own platform has; empty for a service."""
    if isinstance(dst, str):
        return dst.removeprefix(EXTERNAL).lower()
    return dst.name.lower() if dst.rule == "address" else ""


def _services(batches: Batches) -> _Services:
    """Index the services by their addresses, and by the names and addresses of their hosts."""
    at: _Services = defaultdict(dict)
    on: _Services = defaultdict(dict)
    for _, batch in batches:
        for row in _named(batch.rows.get("workloads", ())):
            name = row["names"][0]
            for address in _addresses(row):
                at[address][name] = None
            if host := row.get("host_id"):
                on[host][name] = None
        for row in _named(batch.rows.get("services", ())):
            for address in _addresses(row):
                at[address][row["names"][0]] = None
    for _, batch in batches:
        for row in batch.rows.get("hosts", ()):
            for address in {*spellings(row), *_addresses(row)}:
                at[address] |= on.get(row["host_id"], {})
    return at


def _named(rows: list[Row] | tuple[()]) -> Iterator[Row]:
    return (row for row in rows if row.get("names"))


def _addresses(row: Row) -> list[str]:
    return [part.lower() for part in str(row.get("addresses") or "").split(";") if part]
