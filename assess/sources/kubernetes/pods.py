"""Pods, and what makes them: templates of controllers, and stores of operators; to units and rows."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

from assess.sources.base import Row
from assess.sources.csv_records import vocabulary
from assess.sources.docker.payload import SHORT_ID
from assess.sources.edges import command_line
from assess.sources.kubernetes.config import Material, config_texts, expanded
from assess.sources.kubernetes.controllers import Controller, Selected
from assess.sources.kubernetes.kinds import is_placeholder, store_facts
from assess.sources.settings import checked_by, of_pod
from assess.sources.unit import Unit, ports_of
from assess.sources.values import (
    Texts,
    Words,
    dicts,
    dig,
    int_of,
    integer,
    leaf,
    moment,
    number,
    picked,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount, export_id, is_engine_socket, volume_mounts

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_SIDECARS = re.compile("|".join(vocabulary("kubernetes", "sidecars")))
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUMES = vocabulary("kubernetes", "volumes")  # that hold no data
_GRACE_S = 30  # the default of Kubernetes
_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
RESTARTS = vocabulary("kubernetes", "restarts")
_PHASES = vocabulary("kubernetes", "phases")

Part = tuple[Row, str]  # a container of a pod, and its role
# Columns that only the pods themselves can fill.
UNSEEN = dict.fromkeys(("env_names_n", "secret_like_env_n", "docker_sock_mounted"))


def main_container(spec: Row, annotations: Row, name: str = "") -> Row:
    """Return the container that does the work of a pod; sidecars do not."""
    # The main one is named by an annotation, or like the controller, else it is the
    # first that is no known sidecar.
    containers = dicts(spec, "containers")
    for wanted in (text(annotations, DEFAULT_CONTAINER), name):
        named = (c for c in containers if wanted and text(c, "name") == wanted)
        if container := next(named, None):
            return container
    for container in containers:
        if not _SIDECARS.search(f"{container.get('name')} {container.get('image')}"):
            return container
    return table(containers, 0)


def containers_of(spec: Row, annotations: Row, name: str = "") -> list[Part]:
    """List the containers of a pod with their roles, the main one first."""
    # Of those that start the pod up, one that is always restarted runs beside the others.
    main = main_container(spec, annotations, name)
    beside = [c for c in dicts(spec, "containers") if c is not main]
    parts = [(main, "main"), *((container, "sidecar") for container in beside)]
    for container in dicts(spec, "initContainers"):
        stays = text(container, "restartPolicy") == "Always"
        parts.append((container, "sidecar" if stays else "init"))
    return parts


def to_unit(
    spec: Row,
    parts: list[Part],
    namespace: str,
    material: Material,
    annotations: Iterable[str] = (),
) -> Unit:
    """Read the declaration of a pod or its template."""
    main, *beside = [_to_unit(spec, part, namespace, material) for part in parts]
    # without a key all taints are tolerated
    taints = [text(entry, "key") for entry in dicts(spec, "tolerations")]
    asks = of_pod(annotations, table(spec, "nodeSelector"), taints)
    return replace(main, beside=tuple(beside), asks=[*main.asks, *asks])


def _to_unit(spec: Row, part: Part, namespace: str, material: Material) -> Unit:
    container, role = part
    limits = table(container, "resources", "limits")
    image = text(container, "image")
    config, unread, secrets_n = config_texts(spec, container, namespace, material)
    # a reference to a secret has no value
    entries = dicts(container, "env")
    environment = [(text(entry, "name"), text(entry, "value")) for entry in entries]
    variables = [(c.name, c.value) for c in config if c.basis == "env"]
    known = dict(variables + environment)
    commands = [
        replace(line, value=expanded(line.value, known))
        for line in command_line(container, "command", "args")
    ]
    policy = text(spec, "restartPolicy") or "Always"  # the default of Kubernetes
    grace = number(spec.get("terminationGracePeriodSeconds", _GRACE_S))
    own = picked(container | {"pod": spec}, "kubernetes container")
    probes = [texts(container, probe, "exec", "command") for probe in _PROBES]
    return Unit(
        platform="kubernetes",
        image="" if is_placeholder(image) else image,
        environment=tuple((name, expanded(v, known)) for name, v in environment),
        texts=(*commands, *config),
        unread=tuple(unread),
        config_secrets_n=secrets_n,
        ports=tuple(ports_of(dicts(container, "ports"))),
        user=_user(table(spec, "securityContext") | table(container, "securityContext")),
        mounts=tuple(_mounts(spec, container, namespace, material)),
        memory_unlimited=own["memory_limit_bytes"] is None,
        **picked(spec, "kubernetes pod"),
        # where only a limit is declared, as much is reserved
        **own,
        devices_n=len(dicts(container, "volumeDevices"))
        + len(dicts(container, "resources", "claims"))
        + sum("gpu" in name for name in limits),
        restart_policy=RESTARTS.get(policy) if container else None,
        stop_timeout_s=grace if container else None,
        health_checked=any(map(container.get, _PROBES)) or None,
        config_external=True if _has_config_outside(spec, container) else None,
        role=role,
        asks=checked_by(word for words in probes for word in (";", *words)),
    )


def _user(security: Row) -> str:
    """Return the user; empty where the image decides, and any name for "not root"."""
    user = int_of(security, "runAsUser")
    if user is not None:
        return str(user)
    return "non-root" if security.get("runAsNonRoot") is True else ""


def sees_engine_socket(spec: Row) -> bool:
    """Return whether a volume of a pod leads to the socket of an engine; any container counts."""
    # A container that starts the pod up may mount it, which no mount of the others shows.
    volumes = dicts(spec, "volumes")
    return any(is_engine_socket(text(v, "hostPath", "path")) for v in volumes)


def _has_config_outside(spec: Row, container: Row) -> bool:
    if container.get("env") or container.get("envFrom"):
        return True
    # The cluster itself mounts kube-api-access-… and kube-root-ca into every pod.
    volumes = dicts(spec, "volumes")
    declared = (v for v in volumes if not text(v, "name").startswith("kube-"))
    return any(v.get("configMap") or v.get("secret") for v in declared)


def to_life(pod: Row, main: Row) -> Row:
    """Return state, health and times of a container of a pod."""
    status = table(pod, "status")
    container = _status_of(main, pod)
    current = table(container, "state")
    terminated = table(current, "terminated")
    ended = terminated or table(container, "lastState", "terminated")
    phase = text(status, "phase")
    state = _PHASES.get(phase) if phase else "declared"
    # The phase stays Running while a container waits for its next start, or has ended.
    if state == "running" and "running" not in current and container:
        state = "restarting" if "waiting" in current else "exited"
    ends = [dig(container, part, "terminated") for part in ("state", "lastState")]
    is_killed = any(dig(end, "reason") == "OOMKilled" for end in ends)
    life = {
        "state": state,
        "health": _health(container, main) if state == "running" else None,
        "exit_code": int_of(terminated, "exitCode") if state == "exited" else None,
        "oom_killed": is_killed if container else None,
        "restarts_n": (integer(container, "restartCount") or 0) if container else None,
        "created_at": moment(pod, "metadata", "creationTimestamp"),
        "started_at": moment(current.get("running") or ended, "startedAt"),
        "finished_at": moment(ended, "finishedAt"),
    }
    digest = text(container, "imageID").rpartition("@")[2]
    if digest.startswith("sha256:"):
        life["image_digest"] = digest
    return life


def _status_of(container: Row, pod: Row) -> Row:
    status = table(pod, "status")
    lists = ("containerStatuses", "initContainerStatuses")
    statuses = (s for name in lists for s in dicts(status, name))
    wanted = container.get("name")
    return next((s for s in statuses if s.get("name") == wanted), {})


def _health(status: Row, main: Row) -> str | None:
    if not any(main.get(probe) for probe in _PROBES):
        return "none"
    if status.get("started") is False:
        return "starting"
    ready = status.get("ready")
    if not isinstance(ready, bool):
        return None
    return "healthy" if ready else "unhealthy"


def docker_id(pod: Row, container: Row) -> str:
    """Return the short id of a container where a Docker engine runs it, else nothing."""
    # The docker source lists the same container on that engine, so both rows become one.
    written = text(_status_of(container, pod), "containerID")
    scheme, _, identifier = written.partition("://")
    return identifier[:SHORT_ID] if scheme == "docker" else ""


def known_as(pod: Row, part: Part) -> Words:
    """Return the ids by which the engine of a node knows a container; the main one is the pod."""
    container, role = part
    container_id = leaf(_status_of(container, pod), "containerID")
    pod_id = text(pod, "metadata", "uid") if role == "main" else ""
    return tuple(filter(None, (pod_id, container_id)))


def _mounts(
    spec: Row, container: Row, namespace: str, material: Material
) -> Iterator[Mount]:
    for mount, volume in volume_mounts(spec, container):
        if mount.target.rstrip("/") != _SERVICE_ACCOUNT:
            yield _with_volume(mount, volume, namespace, material)


def _with_volume(mount: Mount, volume: Row, namespace: str, material: Material) -> Mount:
    kind = next((name for name in volume if name != "name"), "persistentVolumeClaim")
    source = table(volume, kind)
    driver = text(source, "driver")
    form = "config" if "secrets-store" in driver else _VOLUMES.get(kind)
    if form:
        form = "tmpfs" if source.get("medium") == "Memory" else form
        is_writable = mount.is_writable and form != "config"
        shown = kind if kind == "gitRepo" else form  # a release drops it
        return replace(mount, type=shown, source_class=form, is_writable=is_writable)
    if kind == "hostPath":
        return replace(mount, type="bind", source=text(source, "path"))
    # A claim, also one that a StatefulSet makes for each replica; or storage named in the pod.
    if kind != "persistentVolumeClaim":
        driver = driver if kind == "csi" else kind
    claim_name = text(source, "claimName")
    shared_as = f"{namespace}/{claim_name}" if claim_name else ""
    if kind == "nfs":
        shared_as = export_id(text(source, "server"), text(source, "path"))
    claim = material.claims.get((namespace, claim_name or text(volume, "name")))
    own = picked(claim, "kubernetes claim")
    return replace(
        mount,
        type="volume",
        source_class="named-volume",
        volume=claim_name or text(volume, "name") or None,
        driver=own["driver"] or driver or None,
        is_writable=mount.is_writable and source.get("readOnly") is not True,
        is_remote=True,
        shared_as=shared_as,
        size_bytes=own["size_bytes"],  # as it was given, else as it was asked for
    )


def store_unit(controller: Controller) -> Unit:
    """Read the declaration of a store in a custom resource of its operator."""
    facts = store_facts(controller.made_by)
    spec = _spec(controller)
    paths = facts["resources"].split()  # of the versions of its API, the newest first
    found = (r for path in paths for r in _at(spec, path) if isinstance(r, dict) and r)
    resources: Row = next(found, {})
    return Unit(
        names=controller.names,
        platform="kubernetes",
        image=_image(spec, facts["image"]),
        ports=(f"{facts['port']}/tcp",),
        mounts=_store_mounts(spec, facts),
        **picked(resources, "kubernetes store"),
        stateful=True,
    )


def complete_store(controller: Controller) -> None:
    """Add to the controller of a store its replicas, and the Services that its operator makes."""
    facts = store_facts(controller.made_by)
    spec = _spec(controller)
    counts = (_count(spec, path) for path in facts["replicas"].split())
    controller.store = facts["store"]
    controller.spec = {"replicas": next(filter(None, counts), 1)}
    words = {
        "clusterName": text(spec, "clusterName").lower(),
        "datacenter": next(_at(spec, "cassandra.datacenters.metadata.name"), "dc1"),
    }
    made = facts["services"].split()
    names = tuple(name.format(controller.name, **words) for name in made)
    controller.selected.append(Selected(controller.namespace, names, is_public=False))


def _spec(controller: Controller) -> Row:
    """Return the spec of the custom resource, with those of its further parts as `parts`."""
    return table(controller.made_by, "spec") | {"parts": controller.parts}


def _image(spec: Row, path: str) -> str:
    """Return the image at a path; of two paths, the repository and the tag."""
    parts = (list(_at(spec, part)) for part in path.split(":"))
    found = [next(iter(texts(values)), "") for values in parts]
    return ":".join(found) if all(found) else ""


def _count(spec: Row, path: str) -> int:
    """Add up the numbers at a path; factors such as shards and replicas are multiplied."""
    above, _, factors = path.rpartition(".")
    names = [name for name in factors.split("*") if not name.isdigit()]
    times = prod(int(number) for number in factors.split("*") if number.isdigit())
    counts = []
    for owner in _at(spec, above):
        numbers = [integer(owner, name) for name in names if isinstance(owner, dict)]
        known = [number for number in numbers if number is not None]
        counts += [prod(known)] if known else []
    return times * sum(counts)


def _store_mounts(spec: Row, facts: Texts) -> tuple[Mount, ...]:
    """Return the data volume; none where the resource asks for no storage that outlives a pod."""
    asked = facts["storage"].split()
    is_asked = not asked or any(value for path in asked for value in _at(spec, path))
    paths = facts["ephemeral"].split()
    kinds = (str(kind).lower() for path in paths for kind in _at(spec, path))
    if not is_asked or "ephemeral" in kinds:
        return ()
    return (Mount(facts["data"], "volume", source_class="named-volume"),)


def _at(value: Any, path: str) -> Iterator[Any]:
    """List the values at a path of names; each element of a list on the way counts."""
    name, _, rest = path.partition(".")
    if isinstance(value, list) and value:
        for element in value:
            yield from _at(element, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and name in value:
        yield from _at(value[name], rest)
