"""Engines whose hosts have one name: told apart, where they are not one engine seen twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from assess.collect.base import Batch


def tell_hosts_apart(batches: Iterable[Batch]) -> None:
    """Rename hosts that several engines call their own, in place.

    Cloned machines and engines in one machine's network namespaces give the same name; without
    this, all but one would be lost. Engines that share containers are one engine, seen twice.
    """
    batches = list(batches)
    engines: dict[str, dict[str, set[str]]] = defaultdict(dict)  # containers by host and source
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
