"""Which hosts that several sources know are one machine, and which only share a name.

A name joins hosts of different sources where no source has two hosts of that name, and nothing
else that is known of them contradicts. Services are never joined by the name of a host.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from assess.sources.base import Batch, Row
from assess.sources.joining.hostnames import is_address, is_local

Batches = list[tuple[str, Batch]]
_Host = tuple[str, str]  # type of the source, and host_id
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv8": "arm64"}
_COMPARED = ("arch", "cloud_id", "vcpus")


def settle_hosts(batches: Batches) -> list[Row]:
    """Tell hosts apart and join them, in place; gives a coverage row where any were joined."""
    tell_hosts_apart(batch for label, batch in batches if _type(label) == "docker")
    facts, owners = _known_hosts(batches)
    same = _same_machines(facts, owners)
    for label, batch in batches:
        for row in (row for rows in batch.rows.values() for row in rows):
            if row.get("host_id"):
                row["host_id"] = same.get((_type(label), row["host_id"]), row["host_id"])
    _name_hosts(
        batches, {n: {same.get(h, h[1]) for h in found} for n, found in owners.items()}
    )
    if not same:
        return []
    joined = (
        f"{len(same)} hosts are known by another name to another source, and were joined"
    )
    return [
        {
            "source": "identity",
            "scope": "hosts",
            "call": "join",
            "status": "ok",
            "rows": len(same),
            "hint": joined,
        }
    ]


def spellings(row: Row) -> Iterator[str]:
    """Give the names of a host that may be its alone: as written, then without the domain."""
    names = [
        str(row[c]).lower().rstrip(".") for c in ("host_id", "hostname") if row.get(c)
    ]
    for name in names:
        if not is_local(name):
            yield name
    for name in names:
        first = name.partition(".")[0]
        if first != name and not is_local(first) and not is_address(name):
            yield first


def _known_hosts(
    batches: Batches,
) -> tuple[dict[_Host, Row], dict[str, dict[_Host, None]]]:
    """Give what is known of every host, and the hosts that have a name."""
    facts: dict[_Host, Row] = defaultdict(dict)
    owners: dict[str, dict[_Host, None]] = defaultdict(dict)
    for label, batch in batches:
        for row in batch.rows.get("hosts", ()):
            host = (_type(label), row["host_id"])
            facts[host] |= {k: v for k, v in row.items() if v is not None} | _cloud_id(
                row
            )
            for name in spellings(row):
                owners[name][host] = None
    return facts, owners


def _same_machines(
    facts: dict[_Host, Row], owners: dict[str, dict[_Host, None]]
) -> dict[_Host, str]:
    """Give the host_id that each host of another source takes on."""
    head: dict[_Host, _Host] = {}

    def root(host: _Host) -> _Host:
        return root(head[host]) if host in head else host

    for hosts in owners.values():
        if len({kind for kind, _ in hosts}) < len(hosts):
            continue  # a source has two of that name
        for one, other in combinations(hosts, 2):
            here, there = root(one), root(other)
            if here == there or _contradict(facts[here], facts[there]):
                continue
            if "cloud_id" in facts[there] and "cloud_id" not in facts[here]:
                here, there = there, here
            facts[here] = {**facts[there], **facts[here]}
            head[there] = here
    ids = {host: root(host)[1] for host in head}
    return {host: found for host, found in ids.items() if found != host[1]}


def _cloud_id(row: Row) -> Row:
    return {"cloud_id": row["host_id"]} if str(row["host_id"]).startswith("i-") else {}


def _contradict(one: Row, other: Row) -> bool:
    """Say whether two hosts differ in what a machine has only once."""
    return any(
        column in one and column in other and _plain(one[column]) != _plain(other[column])
        for column in _COMPARED
    )


def _plain(value: object) -> str:
    text = str(value).lower().removesuffix(".0")
    return _ARCHITECTURES.get(text, text)


def _name_hosts(batches: Batches, ids: dict[str, set[str]]) -> None:
    """Put ids in place of the names that incidents and activities have for hosts."""
    for _, batch in batches:
        for frame in ("incidents", "activities"):
            for row in batch.rows.get(frame, ()):
                found = ids.get(str(row.get("host_id")).lower(), set())
                if len(found) == 1:
                    row["host_id"] = min(found)


def _type(label: str) -> str:
    return label.partition("#")[0]


def tell_hosts_apart(batches: Iterable[Batch]) -> None:
    """Rename hosts that several engines call their own, in place.

    Cloned machines and engines in one machine's network namespaces give the same name; without
    this, all but one would be lost. Engines that share containers are one engine, seen twice.
    """
    batches = list(batches)
    engines: dict[str, dict[str, set[str]]] = defaultdict(
        dict
    )  # containers by host and source
    for batch in batches:
        for row in batch.rows.get("engines", ()):
            engines[row["host_id"]].setdefault(row["source_ref"], set())
        for row in batch.rows.get("workloads", ()):
            containers = engines[row["host_id"]].setdefault(row["source_ref"], set())
            containers.add(row["workload_id"].rpartition("/")[2])
    doubled = {
        host
        for host, sources in engines.items()
        if any(not (one & other) for one, other in combinations(sources.values(), 2))
    }
    for row in (row for batch in batches for rows in batch.rows.values() for row in rows):
        own, _, container = row.get("workload_id", "").rpartition("/")
        host = row.get("host_id") or own
        if host not in doubled:
            continue
        new = f"{host}@{row['source_ref'].partition('://')[2] or row['source_ref']}"
        if "host_id" in row:
            row["host_id"] = new
        if container:
            row["workload_id"] = f"{new}/{container}"
