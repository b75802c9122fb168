"""From the lists of one Kubernetes cluster to rows; pods are in `pods`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from assess.image_ref import last_part, parse_image
from assess.sources.addresses import Address, addresses
from assess.sources.base import Batch, Row
from assess.sources.kubernetes.nodes import ids_of, place, to_engine, to_host
from assess.sources.kubernetes.owners import JOBS, Controller, Owners, Selected, owner_of
from assess.sources.kubernetes.pods import (
    docker_id,
    known_as,
    main_container,
    sees_engine_socket,
    to_life,
    to_unit,
)
from assess.sources.kubernetes.selectors import attach
from assess.sources.listing import ENDED, Found
from assess.sources.unit import (
    Callee,
    Unit,
    distinct,
    environment_rows,
    merge_services,
    mount_rows,
    service_row,
    workload_row,
)
from assess.sources.values import (
    dicts,
    dig,
    healthy,
    integer,
    moment,
    number,
    percent,
    table,
    text,
)

_SHIPPERS = re.compile(
    r"fluentd|fluent-bit|filebeat|promtail|vector|logstash|splunk|logspout|alloy|cloudwatch-agent"
)
_REVISION = "deployment.kubernetes.io/revision"
Place = tuple[str, str]  # namespace, name


@dataclass(frozen=True)
class Around:
    """What the lists say of controllers, indexed: a cluster has thousands of each."""

    claims: dict[Place, Row]
    scalers: dict[
        tuple[str, str, str], Row
    ]  # by kind, namespace, name of what they scale
    has_services: bool  # whether they were listed, and there are any
    ships_logs: bool | None


def around(found: Found) -> Around:
    """Index the lists of a cluster."""
    scalers: dict[tuple[str, str, str], Row] = {}
    for scaler in found.get("horizontalpodautoscalers", ()):
        spec = table(scaler.get("spec"))
        target = table(spec.get("scaleTargetRef"))
        named = (
            text(target.get("kind")).lower(),
            place(scaler)[0],
            text(target.get("name")),
        )
        scalers.setdefault(named, spec)
    return Around(
        claims={place(claim): claim for claim in found.get("persistentvolumeclaims", ())},
        scalers=scalers,
        has_services=bool(found.get("services")),
        ships_logs=_ships_logs(found),
    )


def to_batch(found: Found, cluster: str) -> Batch:
    """Turn the lists of one cluster into rows of all frames."""
    batch, owners = Batch(), Owners(found)
    nodes = [node for node in found.get("nodes", ()) if place(node)[1]]
    hosts = ids_of(nodes, cluster)
    batch.add("hosts", *(to_host(node, hosts) for node in nodes))
    batch.add("engines", *filter(None, (to_engine(node, hosts) for node in nodes)))
    attach(owners.controllers.values(), found)
    lists = around(found)
    for pod, controller in owners.pods:
        workload, mounts = to_workload(pod, controller, hosts, cluster, lists.claims)
        batch.add("workloads", workload)
        batch.add("mounts", *mounts)
        batch.container_ids[workload["workload_id"]] = known_as(pod)
    ended = {w["workload_id"] for w in batch.rows["workloads"] if w["state"] in ENDED}
    _share(batch.rows["mounts"], ended)
    units = {c: _unit_of(c, lists) for c in owners.controllers.values() if c.pod}
    services = [to_service(controller, unit, lists) for controller, unit in units.items()]
    batch.add("services", *merge_services(services))
    batch.add("dependencies", *to_dependencies(owners, units))
    batch.add("activities", *to_activities(found, owners, cluster))
    return batch


# ---- what runs ----


def to_workload(
    pod: Row,
    controller: Controller,
    hosts: dict[str, str],
    cluster: str,
    claims: dict[Place, Row],
) -> tuple[Row, list[Row]]:
    """Return the rows of a pod: one workload, and its mounts."""
    (namespace, name), spec = place(pod), table(pod.get("spec"))
    node = text(spec.get("nodeName"))
    main = main_container(spec, controller.annotations, (controller.name,))
    own = docker_id(pod, main)
    identifier = (
        f"{hosts.get(node, node)}/{own}" if own else f"{cluster}/{namespace}/{name}"
    )
    unit = to_unit(spec, main, namespace, claims)
    workload = workload_row(unit) | {
        "workload_id": identifier,
        "names": controller.names,
        "host_id": hosts.get(node),
        "cluster": cluster,
        "namespace": namespace or None,
        "name": name or None,
        "source_kind": controller.kind,
        "docker_sock_mounted": sees_engine_socket(spec),
        **to_life(pod, main),
        "inspect_status": "ok" if main else "list",
    }
    return workload, mount_rows(unit.mounts, identifier, node)


def _share(mounts: list[Row], ended: set[str]) -> None:
    """Count who else mounts the same claim, or the same path of the same node."""
    users = Counter(m["_source"] for m in mounts if m["workload_id"] not in ended)
    for mount in mounts:
        source = mount.pop("_source")
        if mount["source_class"] in ("empty-dir", "tmpfs"):  # goes with its pod
            mount["shared_with_n"] = 0
        elif source:
            mount["shared_with_n"] = users[source] - (mount["workload_id"] not in ended)


def _unit_of(controller: Controller, lists: Around) -> Unit:
    """Read what a controller declares for its pods."""
    main = main_container(controller.pod, controller.annotations, (controller.name,))
    unit = to_unit(controller.pod, main, controller.namespace, lists.claims)
    is_job = controller.kind in JOBS
    return replace(
        unit,
        names=controller.names,
        stateful=True if controller.kind == "statefulset" else None,
        min_healthy_pct=min_healthy(controller),
        health_checked=unit.health_checked or (None if is_job else False),
    )


def to_service(controller: Controller, unit: Unit, lists: Around) -> Row:
    """Return the row of the services frame."""
    row = service_row(unit)
    scaled = (controller.kind, controller.namespace, controller.name)
    limits = lists.scalers.get(scaled, {})
    return row | {
        "kind": _kind(controller, unit, stateful=row["stateful"]),
        "asg_min": integer(limits.get("minReplicas", 1)) if limits else None,
        "asg_max": integer(limits.get("maxReplicas")),
        "public": is_public(controller, lists),
        "logs_exported": lists.ships_logs,
    }


def _kind(controller: Controller, unit: Unit, *, stateful: bool | None) -> str | None:
    """Return what a controller is for, where that can be known of something without state."""
    if controller.namespace == "kube-system":
        return "infra"
    if controller.kind in JOBS:
        return "job"
    if stateful is not False:
        return None
    if unit.ports or controller.selected:
        return "web"
    return None if unit.host_network else "worker"


def _ships_logs(found: Found) -> bool | None:
    """Return whether logs of all pods leave their nodes: a log shipper is ready on each node."""
    for item in found.get("daemonsets", ()):
        images = [
            text(c.get("image"))
            for c in dicts(dig(item, "spec", "template", "spec", "containers"))
        ]
        wanted = integer(dig(item, "status", "desiredNumberScheduled")) or 0
        ready = integer(dig(item, "status", "numberReady")) or 0
        is_shipper = any(
            _SHIPPERS.search(last_part(parse_image(i).repository)) for i in images
        )
        if is_shipper and ready and ready >= max(wanted, len(found.get("nodes", ()))):
            return True
    return None


def min_healthy(controller: Controller) -> float | None:
    """Return the share of replicas that it needs [percent]: its disruption budget, else its rollout.

    Without either, and for what runs once per node, nothing is declared.
    """
    replicas = number(controller.spec.get("replicas", 1))
    if (
        controller.kind not in ("deployment", "statefulset", "replicaset")
        or not controller.spec
    ):
        return None
    for budget in controller.budgets:
        if "minAvailable" in budget:
            kept = _part(budget["minAvailable"], replicas)
            return None if kept is None else healthy(100 - kept)
        if (lost := _part(budget.get("maxUnavailable"), replicas)) is not None:
            return healthy(lost)
    strategy = table(controller.spec.get("strategy"))
    if controller.kind != "deployment" or text(strategy.get("type")) != "RollingUpdate":
        return None
    return healthy(_part(dig(strategy, "rollingUpdate", "maxUnavailable"), replicas))


def _part(value: Any, replicas: float | None) -> float | None:
    """Read ``50%``, or a number of replicas, as percent."""
    if isinstance(value, str) and value.endswith("%"):
        return percent(number(value[:-1]), 100)
    return percent(number(value), replicas)


# ---- who reaches it, and whom it calls ----


def is_public(controller: Controller, lists: Around) -> bool | None:
    """Return whether customers reach it by a load balancer or an ingress.

    False only where no Service selects it and it opens no port of its node.
    """
    if any(selected.is_public for selected in controller.selected):
        return True
    outside = controller.pod.get("hostNetwork") is True or any(
        port.get("hostPort")
        for container in dicts(controller.pod.get("containers"))
        for port in dicts(container.get("ports"))
    )
    return None if controller.selected or outside or not lists.has_services else False


def to_dependencies(owners: Owners, units: dict[Controller, Unit]) -> list[Row]:
    """Return calls of Services whose addresses are written in the environment."""
    first: dict[Selected, Controller] = {}
    for controller in owners.controllers.values():
        for selected in controller.selected:
            first.setdefault(selected, controller)
    known = {(s.namespace, name): c for s, c in first.items() for name in s.names}
    rows: list[Row] = []
    for controller, unit in units.items():

        def find(address: Address, own: str = controller.namespace) -> Callee | None:
            name, _, rest = address.host.partition(".")
            namespace, _, domain = rest.partition(".")
            called = known.get((namespace or own, name))
            # A host of the outside may begin like a Service: shop.example.com.
            is_outside = domain and not domain.startswith("svc")
            if called is None or is_outside:
                return None
            return called.names[0], units[called].image_name if called in units else ""

        env = addresses(dict(unit.environment))
        rows += environment_rows(controller.names[0], env, find)
    return distinct(rows)


# ---- what happened ----


def to_activities(found: Found, owners: Owners, cluster: str) -> list[Row]:
    """Return deployments: each ReplicaSet that a Deployment keeps is one, with its images."""
    history: dict[tuple[str, str, str], list[tuple[int, Row]]] = defaultdict(list)
    for item in found.get("replicasets", ()):
        owner = owner_of(item)
        revision = integer(dig(item, "metadata", "annotations", _REVISION))
        if owner and owner[0] == "deployment" and revision is not None:
            history[owner].append((revision, item))
    rows = []
    for key, kept in history.items():
        controller = owners.controllers.get(key)
        ordered = [item for _, item in sorted(kept, key=lambda pair: pair[0])]
        for before, item in pairwise([{}, *ordered]):
            started = moment(dig(item, "metadata", "creationTimestamp"))
            if controller and started:
                rows.append(
                    {
                        "activity_id": "/".join([cluster, *place(item)]),
                        "names": controller.names,
                        "kind": "deploy",
                        "started_at": started,
                        "from_version": _version(before),
                        "to_version": _version(item),
                    }
                )
    return rows


def _version(item: Row) -> str | None:
    spec = table(dig(item, "spec", "template", "spec"))
    image = parse_image(text(main_container(spec, {}).get("image")))
    return image.tag or image.digest
