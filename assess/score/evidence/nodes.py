"""Nodes: the runtimes that may run the containers of each host, and who patches it."""

from collections import defaultdict

import pandas as pd

from assess import reference
from assess.frames import Row, objects
from assess.inventory import Inventory

NO_RUNTIME = "none"
BACKEND = "containerd"  # also what docker itself runs containers with
_OF_ENGINE = ["runtime", "version", "kubelet_version", "containers_total_n"]
_OF_HOST = ["provider", "provider_version", "managed_by", "os_name", "os_version"]


def nodes(inventory: Inventory) -> dict[str, list[reference.Node]]:
    """Return the runtimes of each host as nodes; a host managed by its provider has at least one."""
    # If a host has several, any of them may run its containers.
    hosts = {row["host_id"]: row for row in _cells(inventory["hosts"], _OF_HOST)}
    engines = defaultdict(list)
    rows = inventory["engines"].sort_values(["host_id", "runtime"])
    for row in _cells(rows, _OF_ENGINE):
        engines[row["host_id"]].append(row)
    found = {}
    # a snapshot may hold engines and no hosts
    for host in sorted(hosts.keys() | engines.keys()):
        whole = hosts.get(host, {})
        running = _running(engines[host])
        if running:
            found[host] = [_node(row, whole) for row in running]
        elif not engines[host] and reference.is_managed(_node({}, whole)):
            found[host] = [_node({}, whole)]
    return found


def _cells(table: pd.DataFrame, columns: list[str]) -> list[Row]:
    table = table[["host_id", *columns]]
    return [dict(zip(table, row, strict=True)) for row in objects(table)]


def _running(rows: list[Row]) -> list[Row]:
    """Leave out runtimes without containers of their own: none, idle, the backend of docker."""
    engines = [row for row in rows if row["runtime"] != NO_RUNTIME]
    runtimes = {row["runtime"] for row in engines}
    if reference.ENGINE in runtimes:
        engines = [
            row
            for row in engines
            # the containerd of a kubelet runs containers beside docker
            if row["runtime"] != BACKEND or row["kubelet_version"] is not None
        ]
    busy = [row for row in engines if row["containers_total_n"] != 0]
    return busy or engines


def _node(engine: Row, host: Row) -> reference.Node:
    return reference.Node(
        engine.get("runtime"),
        engine.get("version"),
        engine.get("kubelet_version"),
        *(host.get(name) for name in _OF_HOST),
    )
