"""What containers and the like tell of their service, on any platform."""

from __future__ import annotations

import re
from collections.abc import Iterable

from assess.image_ref import last_part
from assess.sources.addresses import Address, kind_of
from assess.sources.base import Name, Row

LOG_SHIPPERS = (
    "awslogs",
    "etwlogs",
    "fluentd",
    "gcplogs",
    "gelf",
    "logentries",
    "splunk",
)
_STORE_KINDS = (
    "data",
    "cache",
    "queue",
    "discovery",
)  # of an address whose host keeps state
_STORE_WORDS = re.compile(
    r"aerospike|arango|couchbase|dgraph|hazelcast|ignite|influx|keydb|meilisearch|milvus|orientdb"
    r"|percona|prometheus|qdrant|questdb|registry|rethink|scylla|solr|sqlite|tikv|typesense|vault"
    r"|victoria|weaviate|yugabyte"
)


def keeps_data(
    mounts: Iterable[Row],
    repository: str | None,
    ports: str | None,
    *,
    is_told: bool = True,
) -> bool | None:
    """Say whether there is data of record.

    False only where all is told, and neither mounts nor image nor ports look like those of a store.
    """
    data = {mount["data_like"] for mount in mounts}
    if True in data:
        return True
    is_open = not is_told or None in data or not repository
    return None if is_open or may_be_store(repository, ports) else False


def may_be_store(repository: str | None, ports: str | None) -> bool:
    """Say whether an image keeps data by its name, or by the ports that it listens on."""
    found = re.findall(r"(\d+)(?=[/;]|$)", ports or "")
    image = last_part(repository)
    words = [Address(image), *(Address("", int(port)) for port in found)]
    return bool(_STORE_WORDS.search(image)) or any(
        kind_of(a) in _STORE_KINDS for a in words
    )


def merge_services(rows: list[Row]) -> list[Row]:
    """Make one row of the containers that name the same service.

    It is stateful, has secrets, exports logs or serves the web where any container does, and is
    health-checked where all that tell it are; where one does not tell the rest, it is unknown.
    """
    groups: dict[Name, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["names"][0], []).append(row)
    merged = []
    for group in groups.values():
        row = dict(group[0])
        for column, decisive in _DECISIVE.items():
            values = [r[column] for r in group]
            row[column] = (
                decisive if decisive in values else None if None in values else values[0]
            )
        checked = {r["health_checked"] for r in group} - {None}
        row["health_checked"] = all(checked) if checked else None
        platforms = {r["platform"] for r in group}
        row["platform"] = platforms.pop() if len(platforms) == 1 else "mixed"
        row["kind"] = row["kind"] if row["stateful"] is False else None
        merged.append(row)
    return merged


_DECISIVE = {
    "kind": "web",
    "stateful": True,
    "logs_exported": True,
    "secrets_in_image": True,
}
