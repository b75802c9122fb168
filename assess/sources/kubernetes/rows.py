"""From the lists of one Kubernetes cluster to rows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

from assess import frames
from assess.image_ref import last_part, parse_image
from assess.sources.base import Batch, Row
from assess.sources.docker.engine import to_os
from assess.sources.edges.rows import distinct, needs
from assess.sources.edges.siblings import Callee, Siblings
from assess.sources.kubernetes.controllers import (
    JOBS,
    Controller,
    Key,
    Owners,
    Selected,
    attach,
    owner_of,
    place,
)
from assess.sources.kubernetes.pods import (
    Claims,
    docker_id,
    known_as,
    main_container,
    quantity,
    sees_engine_socket,
    to_life,
    to_unit,
)
from assess.sources.listing import ENDED, Found, host_ids
from assess.sources.unit import (
    Unit,
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
_RUNTIMES = ("docker", "containerd", "cri-o")
_AWS_INSTANCE = re.compile(r"aws:///.*/(i-[0-9a-f]+)")  # aws:///eu-west-1a/i-0abc
_NODE_STATES = {"True": "running", "False": "not-ready", "Unknown": "not-ready"}
_NODE_LABELS = {  # newest first
    "region": (
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
    ),
    "az": ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    "instance_type": (
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
    ),
}


def to_batch(lists: Found, cluster: str) -> Batch:
    """Turn the lists of one cluster into rows of all frames."""
    batch = Batch()
    nodes = [node for node in lists.get("nodes", ()) if place(node)[1]]
    hosts = _hosts(nodes, cluster)
    for node in nodes:
        host_id = hosts[place(node)[1]]
        batch.add("hosts", to_host(node, host_id))
        batch.add("engines", *to_engines(node, host_id))
    owners = Owners(lists)
    attach(owners.controllers, lists)
    claims = {place(claim): claim for claim in lists.get("persistentvolumeclaims", ())}
    for pod, controller in owners.pods:
        workload, mounts = to_workload(pod, controller, hosts, cluster, claims)
        batch.add("workloads", workload)
        batch.add("mounts", *mounts)
        batch.container_ids[workload["workload_id"]] = known_as(pod)
    ended = {w["workload_id"] for w in batch.rows["workloads"] if w["state"] in ENDED}
    _share(batch.rows["mounts"], ended)
    units = {c: _unit_of(c, claims) for c in owners.controllers.values() if c.pod}
    has_services = bool(lists.get("services"))
    ships_logs = _ships_logs(lists)
    services = [
        to_service(controller, unit, has_services=has_services, ships_logs=ships_logs)
        for controller, unit in units.items()
    ]
    batch.add("services", *merge_services(services))
    batch.add("dependencies", *to_dependencies(owners, units))
    batch.add("activities", *to_activities(lists, owners, cluster))
    return batch


# ---- nodes ----


def _hosts(nodes: list[Row], cluster: str) -> dict[str, str]:
    """Return the host_id of every node by its name: its cloud instance, else its name."""
    names = [place(node)[1] for node in nodes]
    hosts = host_ids(((name, name) for name in names), cluster)
    for name, node in zip(names, nodes, strict=True):
        provider_id = text(node, "spec", "providerID")
        if instance := _AWS_INSTANCE.fullmatch(provider_id):
            hosts[name] = instance[1]
    return hosts


def to_host(node: Row, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    status = table(node, "status")
    info = table(status, "nodeInfo")
    labels = table(node, "metadata", "labels")
    hostname = text(labels, "kubernetes.io/hostname") or place(node)[1]
    os_name, os_version = to_os(text(info, "osImage"))
    conditions = dicts(status, "conditions")
    ready = next((c for c in conditions if c.get("type") == "Ready"), {})
    provider = text(node, "spec", "providerID").partition("://")[0]
    places = {
        column: next(filter(None, (text(labels, key) for key in keys)), None)
        for column, keys in _NODE_LABELS.items()
    }
    return frames.row(
        "hosts",
        host_id=host_id,
        hostname=hostname,
        provider=provider or None,
        **places,
        os_name=os_name,
        os_version=os_version,
        kernel=text(info, "kernelVersion") or None,
        arch=text(info, "architecture") or None,
        vcpus=integer(quantity(status, "capacity", "cpu")),
        memory_bytes=integer(quantity(status, "capacity", "memory")),
        state=_NODE_STATES.get(text(ready, "status")),
        last_seen_at=moment(ready, "lastHeartbeatTime"),
    )


def to_engines(node: Row, host_id: str) -> list[Row]:
    """Return the row of the engines frame; none where the runtime of a node is not known."""
    info = table(node, "status", "nodeInfo")
    runtime, _, version = text(info, "containerRuntimeVersion").partition("://")
    if runtime not in _RUNTIMES:
        return []
    engine = frames.row(
        "engines",
        host_id=host_id,
        runtime=runtime,
        version=version or None,
        kubelet_version=text(info, "kubeletVersion").removeprefix("v") or None,
    )
    return [engine]


# ---- what runs ----


def to_workload(
    pod: Row,
    controller: Controller,
    hosts: dict[str, str],
    cluster: str,
    claims: Claims,
) -> tuple[Row, list[Row]]:
    """Return the rows of a pod: one workload, and its mounts."""
    namespace, name = place(pod)
    spec = table(pod, "spec")
    node = text(spec, "nodeName")
    main = main_container(spec, controller.annotations, controller.name)
    workload_id = f"{cluster}/{namespace}/{name}"
    if container_id := docker_id(pod, main):
        workload_id = f"{hosts.get(node, node)}/{container_id}"
    unit = to_unit(spec, main, namespace, claims)
    workload = workload_row(unit) | {
        "workload_id": workload_id,
        "names": controller.names,
        "host_id": hosts.get(node),
        "cluster": cluster,
        "namespace": namespace or None,
        "name": name,
        "source_kind": controller.kind,
        "docker_sock_mounted": sees_engine_socket(spec),
        **to_life(pod, main),
        "inspect_status": "ok" if main else "list",
    }
    return workload, mount_rows(unit.mounts, workload_id, node)


def _share(mounts: list[Row], ended: set[str]) -> None:
    """Count who else mounts the same claim, or the same path of the same node."""
    users = Counter(m["_source"] for m in mounts if m["workload_id"] not in ended)
    for mount in mounts:
        source = mount.pop("_source")
        if mount["source_class"] in ("empty-dir", "tmpfs"):  # goes with its pod
            mount["shared_with_n"] = 0
        elif source:
            mount["shared_with_n"] = users[source] - (mount["workload_id"] not in ended)


def _unit_of(controller: Controller, claims: Claims) -> Unit:
    """Read what a controller declares for its pods."""
    main = main_container(controller.pod, controller.annotations, controller.name)
    unit = to_unit(controller.pod, main, controller.namespace, claims)
    is_job = controller.kind in JOBS
    return replace(
        unit,
        names=controller.names,
        stateful=True if controller.kind == "statefulset" else None,
        min_healthy_pct=min_healthy(controller),
        health_checked=unit.health_checked or (None if is_job else False),
    )


def to_service(
    controller: Controller, unit: Unit, *, has_services: bool, ships_logs: bool | None
) -> Row:
    """Return the row of the services frame."""
    row = service_row(unit)
    limits = controller.scaler
    return row | {
        "kind": _kind(controller, unit, stateful=row["stateful"]),
        "asg_min": integer(limits.get("minReplicas", 1)) if limits else None,
        "asg_max": integer(limits, "maxReplicas"),
        "public": is_public(controller, has_services=has_services),
        "logs_exported": ships_logs,
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


def _ships_logs(lists: Found) -> bool | None:
    """Return whether logs of all pods leave their nodes: a log shipper is ready on each node."""
    for item in lists.get("daemonsets", ()):
        containers = dicts(item, "spec", "template", "spec", "containers")
        images = (last_part(parse_image(text(c, "image")).repository) for c in containers)
        is_shipper = any(map(_SHIPPERS.search, images))
        desired = integer(item, "status", "desiredNumberScheduled") or 0
        ready = integer(item, "status", "numberReady") or 0
        if is_shipper and ready and ready >= max(desired, len(lists.get("nodes", ()))):
            return True
    return None


def min_healthy(controller: Controller) -> float | None:
    """Return the share of replicas that it needs [percent]: its disruption budget, else its rollout.

    Without either, and for what runs once per node, nothing is declared.
    """
    spec = controller.spec
    is_scaled = controller.kind in ("deployment", "statefulset", "replicaset")
    if not is_scaled or not spec:
        return None
    replicas = number(spec.get("replicas", 1))  # the default of Kubernetes
    for budget in controller.budgets:
        if "minAvailable" in budget:
            kept = _part(budget["minAvailable"], replicas)
            return None if kept is None else healthy(100 - kept)
        if (lost := _part(budget.get("maxUnavailable"), replicas)) is not None:
            return healthy(lost)
    strategy = table(spec, "strategy")
    if controller.kind != "deployment" or text(strategy, "type") != "RollingUpdate":
        return None
    return healthy(_part(dig(strategy, "rollingUpdate", "maxUnavailable"), replicas))


def _part(value: Any, replicas: float | None) -> float | None:
    """Read ``50%``, or a number of replicas, as percent."""
    if isinstance(value, str) and value.endswith("%"):
        return percent(number(value[:-1]), 100)
    return percent(number(value), replicas)


# ---- who reaches it, and whom it calls ----


def is_public(controller: Controller, *, has_services: bool) -> bool | None:
    """Return whether customers reach it by a load balancer or an ingress.

    False only where no Service selects it and it opens no port of its node.
    """
    if any(selected.is_public for selected in controller.selected):
        return True
    containers = dicts(controller.pod, "containers")
    ports = (port for container in containers for port in dicts(container, "ports"))
    is_open = controller.pod.get("hostNetwork") is True
    is_open |= any(port.get("hostPort") for port in ports)
    is_closed = has_services and not controller.selected and not is_open
    return False if is_closed else None


def to_dependencies(owners: Owners, units: dict[Controller, Unit]) -> list[Row]:
    """Return calls of Services whose addresses are written in the environment."""
    first: dict[Selected, Controller] = {}
    for controller in owners.controllers.values():
        for selected in controller.selected:
            first.setdefault(selected, controller)
    siblings = Siblings()
    for service, controller in first.items():
        unit = units.get(controller)
        callee = unit.callee if unit else Callee(controller.names[0])
        siblings.add(callee, *service.names, space=service.namespace)
    rows: list[Row] = []
    for controller, unit in units.items():
        src = controller.names[0]
        rows += needs(src, unit.mentions, siblings, space=controller.namespace)
    return distinct(rows)


# ---- what happened ----


def to_activities(lists: Found, owners: Owners, cluster: str) -> list[Row]:
    """Return deployments: each ReplicaSet that a Deployment keeps is one, with its images."""
    history: dict[Key, list[tuple[int, Row]]] = defaultdict(list)
    for item in lists.get("replicasets", ()):
        owner = owner_of(item)
        revision = integer(item, "metadata", "annotations", _REVISION)
        if (
            owner in owners.controllers
            and owner[0] == "deployment"
            and revision is not None
        ):
            history[owner].append((revision, item))
    rows = []
    for owner, revisions in history.items():
        revisions.sort(key=lambda pair: pair[0])
        versions = [None, *(_version(item) for _, item in revisions)]
        for (_, item), (before, version) in zip(
            revisions, pairwise(versions), strict=True
        ):
            if started := moment(item, "metadata", "creationTimestamp"):
                row = {
                    "activity_id": "/".join([cluster, *place(item)]),
                    "names": owners.controllers[owner].names,
                    "kind": "deploy",
                    "started_at": started,
                    "from_version": before,
                    "to_version": version,
                }
                rows.append(row)
    return rows


def _version(item: Row) -> str | None:
    spec = table(item, "spec", "template", "spec")
    image = parse_image(text(main_container(spec, {}).get("image")))
    return image.tag or image.digest
