"""Rows of a replica: the containers that are placed, started and ended together."""

from assess.sources.base import Row, Rows
from assess.sources.unit import Unit, any_of, mount_rows, workload_row

Replicas = tuple[Rows, Rows]  # rows of workloads, and of their mounts

# What raises the risk of all containers that run together.
RISKS = ("privileged", "docker_sock_mounted", "host_network", "host_pid")


MAX_DECLARED = 1000  # replicas of a service; more than that is a slip of the pen


def replica_rows(
    unit: Unit, replica: Row, own_of_main: Row | None = None, host: str | None = None
) -> Replicas:
    """Return the workloads of a replica, one for each container, and their mounts.

    ``replica`` has what the containers share; its ``workload_id`` is the main container's. The
    row of the main one stands for the replica: it has the risks of all containers.
    ``host`` names its host where it has no ``host_id``.
    """
    key = replica["workload_id"]
    host = host or replica.get("host_id")
    rows = [workload_row(part) for part in unit.containers]
    for risk in RISKS:
        rows[0][risk] = any_of([row[risk] for row in rows], decisive=True)
    place = (host, replica.get("cluster"))
    mounts = mount_rows(unit.mounts, key, *place)
    workloads = [rows[0] | replica | (own_of_main or {})]
    for part, row in zip(unit.beside, rows[1:], strict=True):
        own = {"workload_id": f"{key}/{part.container}", "name": part.container}
        workloads.append(row | replica | own)
        mounts += mount_rows(part.mounts, own["workload_id"], *place)
    return workloads, mounts


def declared_rows(
    unit: Unit, key: str, count: float | None, shared: Row, host: str | None = None
) -> Replicas:
    """Return the workloads and mounts of replicas that are declared and were not seen running."""
    # Without a count, one replica is assumed.
    wanted = 1 if count is None else int(min(count, MAX_DECLARED))
    workloads = []
    mounts = []
    for number in range(1, wanted + 1):
        replica = {
            "names": unit.names,
            **shared,
            "workload_id": f"{key}/{number}",
            "state": "declared",
            "inspect_status": "declared",
        }
        rows, more = replica_rows(unit, replica, host=host)
        workloads += rows
        mounts += more
    return workloads, mounts
