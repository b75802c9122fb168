"""From the lists of one Kubernetes cluster to rows."""

import re
from collections import ChainMap, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assess import frames
from assess.image_ref import last_part, parse_image
from assess.inventory import ENDED
from assess.sources.base import Batch, Row
from assess.sources.csv_records import vocabulary
from assess.sources.kubernetes.config import Material, to_material
from assess.sources.kubernetes.controllers import (
    JOBS,
    Controller,
    Key,
    Owners,
    attach,
    owner_of,
    place,
)
from assess.sources.kubernetes.kinds import api_version, applied_version
from assess.sources.kubernetes.needs import to_dependencies
from assess.sources.kubernetes.nodes import (
    control_plane_settings,
    given_flags,
    kubelet_flags,
    mapped_settings,
    node_hosts,
    to_engines,
    to_host,
)
from assess.sources.kubernetes.pods import (
    UNSEEN,
    complete_store,
    containers_of,
    docker_id,
    known_as,
    main_container,
    sees_engine_socket,
    store_unit,
    to_life,
    to_unit,
)
from assess.sources.listing import Found
from assess.sources.replica import declared_rows, replica_rows
from assess.sources.unit import Unit, any_of, merge_services, service_row, unread_note
from assess.sources.values import (
    Texts,
    dicts,
    dig,
    healthy,
    integer,
    joined,
    moment,
    number,
    parts_of_cell,
    percent,
    table,
    text,
)

_SHIPPERS = re.compile("|".join(vocabulary("kubernetes", "log shippers")))
_OF_ALL_NODES = {"kubernetes.io/os", "beta.kubernetes.io/os"}
_REVISION = "deployment.kubernetes.io/revision"
About = Mapping[tuple[str, str, str], list[Controller]]  # by list, namespace and name


@dataclass(frozen=True)
class Cluster:
    """Facts of a cluster that the rows of its pods need."""

    name: str
    hosts: Texts  # host_id by name of the node
    material: Material


def to_batch(lists: Found, cluster: str) -> Batch:
    """Turn the lists of one cluster into rows of all frames."""
    lists = defaultdict(list, lists)
    batch = Batch()
    # where nobody lists nodes, pods say on which one they run
    names = {text(pod, "spec", "nodeName") for pod in lists["pods"]}
    named = [{"metadata": {"name": name}} for name in sorted(names)]
    nodes = [node for node in lists["nodes"] or named if place(node)[1]]
    hosts = node_hosts(nodes, cluster)
    flags = kubelet_flags(lists, mapped_settings(batch, cluster, lists, "kubelet"))
    for node in nodes:
        host_id = hosts[place(node)[1]]
        batch.add("hosts", to_host(node, host_id))
        known = joined([flags, given_flags(node)])
        engines = to_engines(node, host_id)
        batch.add("engines", *(row | {"kubelet_flags": known} for row in engines))
    owners = Owners(lists)
    about = attach(owners.controllers, lists)
    for controller in owners.controllers.values():
        if controller.made_by:
            complete_store(controller)
    material = to_material(lists, owners.controllers.values())
    units = {c: _unit_of(c, material) for c in owners.controllers.values() if c.pod}
    _add_workloads(batch, owners, units, Cluster(cluster, hosts, material))
    # A tree of manifests may lack the Service of a workload; a cluster lists all.
    is_cluster = bool(hosts) or any(pod.get("status") for pod, _ in owners.pods)
    has_services = bool(lists["services"]) and is_cluster
    ships_logs = _ships_logs(lists)
    services = [
        to_service(controller, unit, has_services=has_services, ships_logs=ships_logs)
        for controller, unit in units.items()
    ]
    batch.add("services", *merge_services(services))
    batch.add("dependencies", *to_dependencies(lists, owners, units))
    batch.add("activities", *to_activities(lists, owners, cluster))
    batch.add("objects", *_to_objects(lists, owners, about, cluster))
    for config in filter(None, mapped_settings(batch, cluster, lists, "kubeadm")):
        batch.add("objects", _to_kubeadm_object(config, cluster))
        _add_settings(batch, control_plane_settings(config))
    if note := unread_note(units.values()):
        batch.cover(cluster, "references", **note)
    return batch


def _add_workloads(
    batch: Batch, owners: Owners, units: dict[Controller, Unit], cluster: Cluster
) -> None:
    """Add the pods that were seen, and the replicas that a controller without any declares."""
    for pod, controller in owners.pods:
        _add_pod(batch, pod, controller, cluster)
    seen = {controller for _, controller in owners.pods}
    for controller, unit in units.items():
        if controller not in seen:
            _add_declared(batch, controller, unit, cluster)
    _share(batch)


def _add_settings(batch: Batch, kept: Mapping[str, list[str]]) -> None:
    """Add what kubeadm keeps to the settings of a control plane."""
    # its upgrade writes the manifests of these programs anew, whatever is in them now
    for workload in batch.rows["workloads"]:
        own = parts_of_cell(workload["settings"])
        if workload["namespace"] == "kube-system" and own:
            workload["settings"] = joined([*own, *kept.get(own[0], ())])


def _add_pod(batch: Batch, pod: Row, controller: Controller, cluster: Cluster) -> None:
    """Add the rows of a pod: a workload for each container, and their mounts."""
    namespace, name = place(pod)
    spec = table(pod, "spec")
    node = text(spec, "nodeName")
    parts = containers_of(spec, controller.annotations, controller.name)
    noted = table(pod, "metadata", "annotations")
    unit = to_unit(spec, parts, namespace, cluster.material, noted)
    main, _ = parts[0]
    workload_id = f"{cluster.name}/{namespace}/{name}"
    if container_id := docker_id(pod, main):
        workload_id = f"{cluster.hosts.get(node, node)}/{container_id}"
    # old clusters list one address only
    addresses = [text(entry, "ip") for entry in dicts(pod, "status", "podIPs")]
    addresses = addresses or [text(pod, "status", "podIP")]
    replica = _shared(controller, cluster) | {
        "workload_id": workload_id,
        "host_id": cluster.hosts.get(node),
        "name": name,
        "inspect_status": "ok" if main else "list",
        "addresses": None if unit.host_network else joined(addresses),
    }
    workloads, mounts = replica_rows(unit, replica, host=node)
    workloads[0]["docker_sock_mounted"] |= sees_engine_socket(spec)
    for part, workload in zip(parts, workloads, strict=True):
        workload.update(to_life(pod, part[0]))
        if workload["state"] == "declared":
            workload["inspect_status"] = "declared"
        batch.container_ids[workload["workload_id"]] = known_as(pod, part)
    batch.place(workloads, mounts)


def _add_declared(
    batch: Batch, controller: Controller, unit: Unit, cluster: Cluster
) -> None:
    """Add the declared replicas of a controller without a pod."""
    shared = _shared(controller, cluster) | {"name": controller.name}
    where = (cluster.name, controller.namespace, controller.kind, controller.name)
    key = "/".join(where)
    # What is scaled to zero still says of what it is made.
    workloads, mounts = declared_rows(unit, key, max(controller.replicas, 1), shared)
    for workload in workloads:
        workload["state"] = controller.state
        workload.update(UNSEEN if controller.store else {})
    templates = dicts(controller.spec, "volumeClaimTemplates")
    own = {place(template)[1] for template in templates}
    for mount in mounts:
        if mount["volume_name"] in own:  # a claim is made for each replica
            mount["shared_with_n"] = 0
    batch.place(workloads, mounts)


def _shared(controller: Controller, cluster: Cluster) -> Row:
    """Return the columns that all containers of a controller's pods have in common."""
    return {
        "names": controller.names,
        "cluster": cluster.name,
        "namespace": controller.namespace or None,
        "source_kind": controller.kind,
        "api_version": controller.api_version,
    }


def _share(batch: Batch) -> None:
    """Count the other pods that mount the same claim, or the same path of the same node."""
    states = {w["workload_id"]: w["state"] for w in batch.rows["workloads"]}
    mounts = batch.rows["mounts"]
    users: dict[str, set[str]] = defaultdict(set)
    for mount in mounts:
        if states[mount["workload_id"]] not in ENDED:
            users[mount["_source"]].add(_replica_of(mount, states))
    for mount in mounts:
        source = mount.pop("_source")
        if mount["source_class"] in ("empty-dir", "tmpfs"):  # goes with its pod
            mount["shared_with_n"] = 0
        elif source and not source.endswith("@None"):  # of a node that nobody knows
            mount["shared_with_n"] = len(users[source] - {_replica_of(mount, states)})


def _replica_of(mount: Row, states: Mapping[str, Any]) -> str:
    """Return the main workload of the pod of a mount."""
    workload_id: str = mount["workload_id"]
    above = workload_id.rpartition("/")[0]
    return above if above in states else workload_id


def _unit_of(controller: Controller, material: Material) -> Unit:
    if controller.store:
        return store_unit(controller)
    home = controller.namespace
    templates = dicts(controller.spec, "volumeClaimTemplates")
    made = {(home, place(template)[1]): template for template in templates}
    pod = controller.pod
    parts = containers_of(pod, controller.annotations, controller.name)
    claims = ChainMap(made, dict(material.claims)) if made else material.claims
    own = replace(material, claims=claims)
    unit = to_unit(pod, parts, home, own, controller.annotations)
    is_job = controller.kind in JOBS
    return replace(
        unit,
        names=controller.names,
        stateful=True if controller.kind == "statefulset" else None,
        min_healthy_pct=min_healthy(controller),
        health_checked=unit.health_checked or (None if is_job else False),
        config_external=any_of([u.config_external for u in unit.containers], True),
    )


def to_service(
    controller: Controller, unit: Unit, *, has_services: bool, ships_logs: bool | None
) -> Row:
    """Return the row of the services frame."""
    row = service_row(unit)
    limits = controller.scaler
    if controller.store:
        row["secrets_in_image"] = None
    others = containers_of(controller.pod, {})[1:]
    has_shipper = any(role == "sidecar" and _is_shipper(c) for c, role in others)
    return row | {
        "kind": _kind(controller, unit, stateful=row["stateful"]),
        "asg_min": integer(limits.get("minReplicas", 1)) if limits else None,
        "asg_max": integer(limits, "maxReplicas"),
        "public": is_public(controller, has_services=has_services),
        "addresses": joined(sorted(a for s in controller.selected for a in s.addresses)),
        "logs_exported": ships_logs or has_shipper or None,
    }


def _kind(controller: Controller, unit: Unit, *, stateful: bool | None) -> str | None:
    """Return the kind of service of a controller without state, where it is known."""
    if controller.namespace == "kube-system":
        return "infra"
    if controller.kind in JOBS:
        return "job"
    if stateful is not False:
        return None
    # Knative calls each of its services on some port
    if unit.ports or controller.selected or controller.kind == "kservice":
        return "web"
    return None if unit.host_network else "worker"


def _ships_logs(lists: Found) -> bool | None:
    """Return whether logs of all pods leave their nodes: a log shipper is ready on each node."""
    for item in lists["daemonsets"]:
        pod = table(item, "spec", "template", "spec")
        if not any(map(_is_shipper, dicts(pod, "containers"))):
            continue
        desired = integer(item, "status", "desiredNumberScheduled") or 0
        ready = integer(item, "status", "numberReady") or 0
        if ready and ready >= max(desired, len(lists["nodes"])):
            return True
        # A manifest: it is declared for all nodes.
        chosen = table(pod, "nodeSelector").keys() - _OF_ALL_NODES
        is_everywhere = not chosen and not pod.get("affinity")
        if "status" not in item and is_everywhere:
            return True
    return None


def _is_shipper(container: Row) -> bool:
    image = last_part(parse_image(text(container, "image")).repository)
    return _SHIPPERS.search(image) is not None


def min_healthy(controller: Controller) -> float | None:
    """Return the share of replicas that it needs [percent]: its disruption budget, else its rollout."""
    # Without either, and for what runs once per node, nothing is declared.
    spec = controller.spec
    if not controller.is_scaled or not spec:
        return None
    replicas = number(spec.get("replicas", 1))  # the default of Kubernetes
    for budget in controller.budgets:
        if "minAvailable" in budget:
            kept = _percent(budget["minAvailable"], replicas)
            return None if kept is None else healthy(100 - kept)
        if (lost := _percent(budget.get("maxUnavailable"), replicas)) is not None:
            return healthy(lost)
    strategy = table(spec, "strategy")
    if controller.kind != "deployment" or text(strategy, "type") != "RollingUpdate":
        return None
    return healthy(_percent(dig(strategy, "rollingUpdate", "maxUnavailable"), replicas))


def _percent(value: Any, replicas: float | None) -> float | None:
    """Read ``50%``, or a number of replicas, as percent."""
    if isinstance(value, str) and value.endswith("%"):
        return percent(number(value[:-1]), 100)
    return percent(number(value), replicas)


def is_public(controller: Controller, *, has_services: bool) -> bool | None:
    """Return whether customers reach it by a load balancer or an ingress."""
    # False only where no Service selects it and it opens no port of its node.
    if any(selected.is_public for selected in controller.selected):
        return True
    containers = dicts(controller.pod, "containers")
    ports = (port for container in containers for port in dicts(container, "ports"))
    is_open = controller.pod.get("hostNetwork") is True
    is_open |= any(port.get("hostPort") for port in ports)
    is_closed = has_services and not controller.selected and not is_open
    return False if is_closed else None


def to_activities(lists: Found, owners: Owners, cluster: str) -> Iterator[Row]:
    """List deployments: each ReplicaSet that a Deployment keeps is one, with its images."""
    history: dict[Key, list[tuple[int, Row]]] = defaultdict(list)
    for item in lists["replicasets"]:
        owner = owner_of(item)
        revision = integer(item, "metadata", "annotations", _REVISION)
        is_deployed = owner in owners.controllers and owner[0] == "deployment"
        if owner and is_deployed and revision is not None:
            history[owner].append((revision, item))
    for owner, revisions in history.items():
        before = None
        for _, item in sorted(revisions, key=lambda pair: pair[0]):
            version = _version(item)
            if started := moment(item, "metadata", "creationTimestamp"):
                yield {
                    "activity_id": "/".join([cluster, *place(item)]),
                    "names": owners.controllers[owner].names,
                    "kind": "deploy",
                    "started_at": started,
                    "from_version": before,
                    "to_version": version,
                }
            before = version


def _version(item: Row) -> str | None:
    main = main_container(table(item, "spec", "template", "spec"), {})
    image = parse_image(text(main, "image"))
    return image.tag or image.digest


def _to_objects(
    lists: Found, owners: Owners, about: About, cluster: str
) -> Iterator[Row]:
    """List the objects of API groups, but those that a controller made."""
    # The core of the API has had one version from the start.
    for listed, items in sorted(lists.items()):
        for item in items:
            served = api_version(item)
            applied = applied_version(item)
            is_grouped = "/" in f"{served}{applied}"
            if is_grouped and not owner_of(item) and place(item)[1]:
                names = _names_of_object(item, listed, owners, about)
                yield _to_object(item, served, applied, cluster) | names


def _to_kubeadm_object(config: Row, cluster: str) -> Row:
    """Return the configuration that kubeadm keeps, as applied in the version that it is in."""
    version = api_version(config)
    meta = {"namespace": "kube-system", "name": "kubeadm-config"}
    return _to_object(config | {"metadata": meta}, version, version, cluster)


def _to_object(item: Row, served: str | None, applied: str | None, cluster: str) -> Row:
    namespace, name = place(item)
    kind = text(item, "kind")
    # Two API groups may have kinds of the same name.
    group = (served or applied or "").partition("/")[0]
    return frames.row(
        "objects",
        object_id=f"{cluster}/{namespace}/{group}/{kind}/{name}",
        cluster=cluster,
        namespace=namespace or None,
        kind=kind or None,
        name=name,
        api_version=served,
        last_applied_api_version=applied,
    )


def _names_of_object(item: Row, listed: str, owners: Owners, about: About) -> Row:
    """Return the names of the service that an object is about, where it is one."""
    key = (listed.removesuffix("s"), *place(item))
    controller = owners.controllers.get(key)
    found = [controller] if controller else about.get((listed, *place(item)), [])
    if len({controller.names[0] for controller in found}) != 1:
        return {}
    return {"names": found[0].names}
