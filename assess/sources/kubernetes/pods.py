"""Pods, and the templates of pods in controllers: to units, and rows of workloads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from assess.sources.base import Row
from assess.sources.docker.payload import SHORT_ID
from assess.sources.unit import Mount, Unit, is_engine_socket
from assess.sources.values import dicts, dig, integer, moment, number, table, text

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_SIDECARS = re.compile(
    r"istio|envoy|linkerd|proxyv2|sidecar|vault-agent|vault-env|cloud-?sql-proxy|fluent|filebeat"
    r"|datadog|jaeger-agent|otel|opentelemetry|consul-dataplane|kube-rbac-proxy|oauth2-proxy"
)
NO_CLAIMS: dict[tuple[str, str], Row] = {}
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_CONFIG_VOLUMES = ("configMap", "secret", "projected", "downwardAPI", "gitRepo", "image")
_SCRATCH_VOLUMES = ("emptyDir", "ephemeral")
_POLICIES = {"Always": "always", "OnFailure": "on-failure", "Never": "no"}
_PHASES = {
    "Pending": "created",
    "Running": "running",
    "Succeeded": "exited",
    "Failed": "exited",
}
_UNITS = {
    "": 1,
    "m": 1e-3,
    "u": 1e-6,
    "n": 1e-9,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}


def quantity(value: Any) -> float | None:
    """Read an amount such as ``500m``, ``128Mi`` or ``1e3``."""
    if not isinstance(value, str):
        return number(value)
    parts = re.fullmatch(
        r"\s*([0-9.]+(?:[eE][+-]?\d{1,2})?)([mun]|[KMGTPE]i|[kMGTPE])?\s*", value
    )
    amount = number(parts[1]) if parts else None
    return None if amount is None or not parts else amount * _UNITS[parts[2] or ""]


def containers(spec: Row) -> list[Row]:
    """Return the containers of a pod, without its init containers."""
    return list(dicts(spec.get("containers")))


def main_container(spec: Row, annotations: Row, names: tuple[str, ...] = ()) -> Row:
    """Return the container that does the work of a pod; sidecars do not.

    It is the one that an annotation names, else one of the controller's name, else the first that
    is no known sidecar.
    """
    every = containers(spec)
    wanted = [text(annotations.get(DEFAULT_CONTAINER)), *names]
    named = {text(c.get("name")): c for c in reversed(every)}
    if found := next((named[name] for name in wanted if name and name in named), None):
        return found
    own = [c for c in every if not _SIDECARS.search(f"{c.get('name')} {c.get('image')}")]
    return next(iter(own or every), {})


Place = tuple[str, str]  # namespace, name
Claims = Mapping[Place, Row]


def to_unit(
    spec: Row, main: Row, namespace: str = "", claims: Claims = NO_CLAIMS
) -> Unit:
    """Read what a pod, or its template, declares; sidecars count where they raise the risk."""
    every = containers(spec)
    limits = table(dig(main, "resources", "limits"))
    memory = quantity(limits.get("memory"))
    environment = tuple(_environment(every))
    return Unit(
        names=(),
        platform="kubernetes",
        image=text(main.get("image")),
        environment=environment,
        ports=tuple(_ports(every)),
        user=_user({**_security(spec), **_security(main)}),
        mounts=tuple(_mounts(spec, namespace, claims)),
        memory_limit_bytes=integer(memory),
        memory_unlimited=memory is None,
        cpu_limit=quantity(limits.get("cpu")),
        privileged=any(_security(c).get("privileged") is True for c in every),
        host_network=spec.get("hostNetwork") is True,
        host_pid=spec.get("hostPID") is True,
        readonly_root=_security(main).get("readOnlyRootFilesystem") is True,
        caps_added_n=sum(len(_added(c)) for c in every),
        restart_policy=_POLICIES.get(text(spec.get("restartPolicy"))),
        stop_timeout_s=number(spec.get("terminationGracePeriodSeconds")),
        health_checked=True if is_checked(spec) else None,
        config_external=True if has_config_outside(spec) else None,
    )


def _security(part: Row) -> Row:
    return table(part.get("securityContext"))


def _added(container: Row) -> list[Any]:
    added = dig(_security(container), "capabilities", "add")
    return added if isinstance(added, list) else []


def _user(security: Row) -> str:
    """Return the user; empty where the image decides, and any name for "not root"."""
    user = security.get("runAsUser")
    if isinstance(user, int) and not isinstance(user, bool):
        return str(user)
    return "non-root" if security.get("runAsNonRoot") is True else ""


def sees_engine_socket(spec: Row) -> bool:
    """Return whether a volume of a pod leads to the socket of an engine; any container counts.

    A container that starts the pod up may mount it, which no mount of the others shows.
    """
    volumes = dicts(spec.get("volumes"))
    return any(is_engine_socket(text(dig(v, "hostPath", "path"))) for v in volumes)


def _environment(every: list[Row]) -> Iterator[tuple[str, str]]:
    """List variables and their values; a reference to a secret has none."""
    for entry in (e for c in every for e in dicts(c.get("env"))):
        yield text(entry.get("name")), text(entry.get("value"))


def has_config_outside(spec: Row) -> bool:
    """Return whether a pod is configured from outside its image."""
    has_env = any(c.get("env") or c.get("envFrom") for c in containers(spec))
    volumes = (
        v
        for v in dicts(spec.get("volumes"))
        if not text(v.get("name")).startswith("kube-")
    )
    return has_env or any(v.get("configMap") or v.get("secret") for v in volumes)


def is_checked(spec: Row) -> bool:
    """Return whether anything checks the health of a pod."""
    probes = ("readinessProbe", "livenessProbe", "startupProbe")
    return any(c.get(probe) for c in containers(spec) for probe in probes)


def _ports(every: list[Row]) -> Iterator[str]:
    for port in (p for c in every for p in dicts(c.get("ports"))):
        inner, outer = integer(port.get("containerPort")), integer(port.get("hostPort"))
        own = f"{inner}/{(text(port.get('protocol')) or 'tcp').lower()}"
        if inner:
            yield f"{outer}->{own}" if outer else own


def to_life(pod: Row, main: Row) -> Row:
    """Return state, health and times of a pod."""
    meta, status = table(pod.get("metadata")), table(pod.get("status"))
    every = list(dicts(status.get("containerStatuses")))
    container = next((s for s in every if s.get("name") == main.get("name")), {})
    current = table(container.get("state"))
    before = table(dig(container, "lastState", "terminated"))
    ended = table(current.get("terminated")) or before
    state = _PHASES.get(text(status.get("phase")))
    if state == "running" and "running" not in current and container:
        state = "restarting" if "waiting" in current else "exited"
    killed = [
        table(s.get(part)).get("terminated")
        for s in every
        for part in ("state", "lastState")
    ]
    reasons = {text(table(k).get("reason")) for k in killed}
    _, _, digest = text(container.get("imageID")).rpartition("@")
    row: Row = {
        "state": state,
        "health": _health(container, main) if state == "running" else None,
        "exit_code": _code(table(current.get("terminated")))
        if state == "exited"
        else None,
        "oom_killed": "OOMKilled" in reasons if every else None,
        "restarts_n": sum(integer(s.get("restartCount")) or 0 for s in every)
        if every
        else None,
        "created_at": moment(meta.get("creationTimestamp")),
        "started_at": moment(table(current.get("running") or ended).get("startedAt")),
        "finished_at": moment(ended.get("finishedAt")),
    }
    return row | ({"image_digest": digest} if digest.startswith("sha256:") else {})


def _health(status: Row, main: Row) -> str | None:
    if not is_checked({"containers": [main]}):
        return "none"
    if status.get("started") is False:
        return "starting"
    ready = status.get("ready")
    return None if not isinstance(ready, bool) else "healthy" if ready else "unhealthy"


def _code(ended: Row) -> int | None:
    code = ended.get("exitCode")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def docker_id(pod: Row, main: Row) -> str | None:
    """Return the short id of the main container where a Docker engine runs it.

    The docker source lists the same container on that engine, so both rows become one.
    """
    statuses = dicts(dig(pod, "status", "containerStatuses"))
    status = next((s for s in statuses if s.get("name") == main.get("name")), {})
    scheme, _, identifier = text(status.get("containerID")).partition("://")
    return identifier[:SHORT_ID] if scheme == "docker" and identifier else None


def known_as(pod: Row) -> tuple[str, ...]:
    """Return the ids by which the engine of a node knows the pod and its containers."""
    statuses = dicts(dig(pod, "status", "containerStatuses"))
    containers = (text(s.get("containerID")).rpartition("/")[2] for s in statuses)
    return tuple(i for i in (text(dig(pod, "metadata", "uid")), *containers) if i)


def _mounts(spec: Row, namespace: str, claims: Claims) -> Iterator[Mount]:
    volumes = {text(v.get("name")): v for v in dicts(spec.get("volumes"))}
    for entry in (m for c in containers(spec) for m in dicts(c.get("volumeMounts"))):
        target = text(entry.get("mountPath"))
        if target.rstrip("/") != _SERVICE_ACCOUNT:
            volume = volumes.get(text(entry.get("name")), {})
            mount = Mount(target, "", is_writable=entry.get("readOnly") is not True)
            yield _with_volume(mount, volume, namespace, claims)


def _with_volume(mount: Mount, volume: Row, namespace: str, claims: Claims) -> Mount:
    """Add what is behind a mount."""
    kind = next((name for name in volume if name != "name"), "persistentVolumeClaim")
    source = table(volume.get(kind))
    driver = text(source.get("driver"))
    if kind in _CONFIG_VOLUMES or "secrets-store" in driver:
        return replace(mount, type="config", source_class="config", is_writable=False)
    if kind in _SCRATCH_VOLUMES:
        form = "tmpfs" if source.get("medium") == "Memory" else "empty-dir"
        return replace(mount, type=form, source_class=form)
    if kind == "hostPath":
        return replace(mount, type="bind", source=text(source.get("path")))
    # A claim, also one that a StatefulSet makes for each replica; or storage named in the pod.
    claim = text(source.get("claimName"))
    known = claims.get((namespace, claim), {})
    is_claim = kind == "persistentVolumeClaim"
    storage = text(dig(known, "spec", "storageClassName")) or driver
    return replace(
        mount,
        type="volume",
        source_class="named-volume",
        volume=claim or text(volume.get("name")) or None,
        driver=storage or (None if is_claim else kind),
        is_writable=mount.is_writable and source.get("readOnly") is not True,
        is_remote=True,
        shared_as=f"{namespace}/{claim}" if claim else "",
        size_bytes=integer(quantity(dig(known, "status", "capacity", "storage"))),
    )
