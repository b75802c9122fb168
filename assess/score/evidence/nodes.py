"""Nodes: the runtimes that may run the containers of each host, and who patches it."""

from pandas import DataFrame

from assess import reference
from assess.frames import objects, surely
from assess.inventory import Inventory

NO_RUNTIME = "none"
BACKEND = "containerd"  # also what docker itself runs containers with
_OF_ENGINE = ["runtime", "version", "kubelet_version"]
_OF_HOST = ["provider", "provider_version", "managed_by", "os_name", "os_version"]


def nodes(inventory: Inventory) -> dict[str, list[reference.Node]]:
    """Return the runtimes of each host as nodes; a host managed by its provider has at least one."""
    engines = inventory["engines"]
    running = _running(engines).sort_values("runtime")
    hosts = inventory["hosts"][["host_id", *_OF_HOST]]
    facts_of = {host: facts for host, *facts in objects(hosts)}
    found: dict[str, list[reference.Node]] = {}
    # if a host has several runtimes, any of them may run its containers
    for host, *engine in objects(running[["host_id", *_OF_ENGINE]]):
        # a snapshot may hold engines and no hosts
        node = reference.Node(*engine, *facts_of.get(host, ()))
        found.setdefault(host, []).append(node)
    for host in facts_of.keys() - set(engines["host_id"]):
        node = reference.Node(None, None, None, *facts_of[host])
        if reference.is_managed(node):
            found[host] = [node]
    return dict(sorted(found.items()))


def _running(engines: DataFrame) -> DataFrame:
    """Leave out runtimes without containers of their own: none, idle, the backend of docker."""
    engines = engines[engines["runtime"].ne(NO_RUNTIME)]
    on_docker = engines.loc[engines["runtime"].eq(reference.ENGINE), "host_id"]
    is_backend = engines["runtime"].eq(BACKEND) & engines["host_id"].isin(on_docker)
    # the containerd of a kubelet runs containers beside docker
    engines = engines[~is_backend | engines["kubelet_version"].notna()]
    is_idle = surely(engines["containers_total_n"].eq(0))
    # where all are idle, any of them may run the next container
    has_busy = engines["host_id"].isin(engines.loc[~is_idle, "host_id"])
    return engines[~is_idle | ~has_busy]
