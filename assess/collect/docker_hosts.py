"""Engines whose hosts have one name: told apart, where they are not one engine seen twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from assess.collect.base import Batch

Engine = tuple[str, str]  # host and scope


def tell_hosts_apart(batches: Iterable[Batch]) -> None:
    """Rename hosts that several engines call their own, in place.

    Cloned machines and engines in one machine's network namespaces give the same name; without
    this, all but one would be lost. Engines that share containers are one engine, seen twice.

    Parameters
    ----------
    batches : iterable of Batch
        Of docker sources; each row has its endpoint or directory as ``source_ref``.
    """
    batches = list(batches)
    containers: dict[Engine, set[str]] = {}
    for batch in batches:
        for row in batch.rows.get("engines", ()):
            containers.setdefault((row["host_id"], row["source_ref"]), set())
        for row in batch.rows.get("workloads", ()):
            if (engine := (row["host_id"], row["source_ref"])) in containers:
                containers[engine].add(row["workload_id"].rpartition("/")[2])
    engines: dict[str, list[Engine]] = defaultdict(list)
    for engine in containers:
        engines[engine[0]].append(engine)
    names = {
        engine: f"{host}@{engine[1].partition('://')[2] or engine[1]}"
        for host, found in engines.items()
        if _differ([containers[e] for e in found])
        for engine in found
    }
    for batch in batches if names else ():
        _rename(batch, names)


def _differ(containers: list[set[str]]) -> bool:
    """Say whether any two have no container in common."""
    return any(
        not (one & other) for n, one in enumerate(containers) for other in containers[n + 1 :]
    )


def _rename(batch: Batch, names: dict[Engine, str]) -> None:
    for row in (row for rows in batch.rows.values() for row in rows):
        host = row.get("host_id") or row.get("workload_id", "").rpartition("/")[0]
        new = names.get((host, row.get("source_ref", "")))
        if new is None:
            continue
        if "host_id" in row:
            row["host_id"] = new
        if "workload_id" in row:
            row["workload_id"] = f"{new}/{row['workload_id'].rpartition('/')[2]}"
