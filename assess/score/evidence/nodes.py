"""Nodes: the runtimes that may run the containers of each host, and who patches it."""

from assess import reference
from assess.frames import Row
from assess.inventory import Inventory
from assess.score.result import records_by
from assess.words import plain_cells

NO_RUNTIME = "none"
BACKEND = "containerd"  # also what docker itself runs containers with
_OF_ENGINE = ["runtime", "version", "kubelet_version", "containers_total_n"]
_OF_HOST = ["provider", "provider_version", "managed_by", "os_name", "os_version"]


def nodes(inventory: Inventory) -> dict[str, list[reference.Node]]:
    """Return the runtimes of each host as nodes; a host managed by its provider has at least one."""
    # If a host has several, any of them may run its containers.
    hosts = records_by(inventory["hosts"][["host_id", *_OF_HOST]], "host_id", plain_cells)
    rows = inventory["engines"].sort_values("runtime")
    engines = records_by(rows[["host_id", *_OF_ENGINE]], "host_id", plain_cells)
    found = {}
    # a snapshot may hold engines and no hosts
    for host in sorted({*hosts, *engines}):
        [whole] = hosts.get(host, [{}])
        running = _running(engines.get(host, []))
        if running:
            found[host] = [_node(row, whole) for row in running]
        elif host not in engines and reference.is_managed(_node({}, whole)):
            found[host] = [_node({}, whole)]
    return found


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
    return [row for row in engines if row["containers_total_n"] != 0] or engines


def _node(engine: Row, host: Row) -> reference.Node:
    return reference.Node(
        engine.get("runtime"),
        engine.get("version"),
        engine.get("kubelet_version"),
        *(host.get(name) for name in _OF_HOST),
    )
