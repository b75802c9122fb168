"""Pods, and the templates of them that controllers hold: to rows of workloads and mounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from assess.image_ref import parse_image
from assess.sources.base import Row
from assess.sources.docker.mounts import is_data, source_class
from assess.sources.docker.payload import SHORT_ID, moment
from assess.sources.dumps import dicts, dig
from assess.sources.listing import integer, number, table, text
from assess.sources.redact import is_secret

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_SIDECARS = re.compile(
    r"istio|envoy|linkerd|proxyv2|sidecar|vault-agent|vault-env|cloud-?sql-proxy|fluent|filebeat"
    r"|datadog|jaeger-agent|otel|opentelemetry|consul-dataplane|kube-rbac-proxy|oauth2-proxy"
)
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
_SOCKETS = re.compile(r"(docker|podman|containerd|crio)\.sock$")


def quantity(value: Any) -> float | None:
    """Read an amount such as ``500m``, ``128Mi`` or ``1e3``."""
    if not isinstance(value, str):
        return number(value)
    found = re.fullmatch(
        r"\s*([0-9.]+(?:[eE][+-]?\d{1,2})?)([mun]|[KMGTPE]i|[kMGTPE])?\s*", value
    )
    amount = number(found[1]) if found else None
    return None if amount is None or not found else amount * _UNITS[found[2] or ""]


def containers(spec: Row) -> list[Row]:
    """Give the containers of a pod: those that start it up and end before it runs are left out."""
    return list(dicts(spec.get("containers")))


def main_container(spec: Row, annotations: Row, names: tuple[str, ...] = ()) -> Row:
    """Give the container that does the pod's work; sidecars do not.

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


def to_pod(spec: Row, main: Row) -> Row:
    """Give what a pod, or its template, declares: columns of the workloads frame."""
    every, limits = containers(spec), table(dig(main, "resources", "limits"))
    memory, own, shared = quantity(limits.get("memory")), _security(main), _security(spec)
    env = list(_environment(every))
    image = text(main.get("image"))
    return {
        "image_ref": image or None,
        **parse_image(image).columns(),
        "restart_policy": _POLICIES.get(text(spec.get("restartPolicy"))),
        "privileged": any(_security(c).get("privileged") is True for c in every),
        "host_network": spec.get("hostNetwork") is True,
        "host_pid": spec.get("hostPID") is True,
        "docker_sock_mounted": any(_sees_socket(v) for v in dicts(spec.get("volumes"))),
        "readonly_root": own.get("readOnlyRootFilesystem") is True,
        "user_root": _is_root({**shared, **own}),
        "caps_added_n": sum(len(_added(c)) for c in every),
        "memory_limit_bytes": integer(memory),
        "memory_unlimited": memory is None,
        "cpu_limit": quantity(limits.get("cpu")),
        "stop_timeout_s": number(spec.get("terminationGracePeriodSeconds")),
        "ports": ";".join(sorted({*_ports(every)})) or None,
        "env_names_n": len(env),
        "secret_like_env_n": sum(is_secret(name, value) for name, value in env),
    }


def _security(part: Row) -> Row:
    return table(part.get("securityContext"))


def _added(container: Row) -> list[Any]:
    added = dig(_security(container), "capabilities", "add")
    return added if isinstance(added, list) else []


def _is_root(security: Row) -> bool | None:
    """Say whether a pod runs as root; None where its image decides that."""
    user = security.get("runAsUser")
    if isinstance(user, int) and not isinstance(user, bool):
        return user == 0
    return False if security.get("runAsNonRoot") is True else None


def _sees_socket(volume: Row) -> bool:
    path = text(dig(volume, "hostPath", "path"))
    return (
        path.rstrip("/") in ("/run", "/var/run")
        or path == "/"
        or bool(_SOCKETS.search(path))
    )


def _environment(every: list[Row]) -> Iterator[tuple[str, str]]:
    """Variables and what is written for them; a reference to a secret has no value here."""
    for entry in (e for c in every for e in dicts(c.get("env"))):
        yield text(entry.get("name")), text(entry.get("value"))


def environment(spec: Row) -> dict[str, str]:
    """Give the variables of all containers, for use inside the sources only."""
    return dict(_environment(containers(spec)))


def has_config_outside(spec: Row) -> bool:
    """Say whether a pod is configured from outside its image."""
    has_env = any(c.get("env") or c.get("envFrom") for c in containers(spec))
    volumes = (
        v
        for v in dicts(spec.get("volumes"))
        if not text(v.get("name")).startswith("kube-")
    )
    return has_env or any(v.get("configMap") or v.get("secret") for v in volumes)


def is_checked(spec: Row) -> bool:
    """Say whether anything checks the health of a pod."""
    probes = ("readinessProbe", "livenessProbe", "startupProbe")
    return any(c.get(probe) for c in containers(spec) for probe in probes)


def _ports(every: list[Row]) -> Iterator[str]:
    for port in (p for c in every for p in dicts(c.get("ports"))):
        inner, outer = integer(port.get("containerPort")), integer(port.get("hostPort"))
        own = f"{inner}/{(text(port.get('protocol')) or 'tcp').lower()}"
        if inner:
            yield f"{outer}->{own}" if outer else own


def to_life(pod: Row, main: Row) -> Row:
    """Give state, health and times of a pod."""
    meta, status = table(pod.get("metadata")), table(pod.get("status"))
    every = list(dicts(status.get("containerStatuses")))
    own = next((s for s in every if s.get("name") == main.get("name")), {})
    now, before = table(own.get("state")), table(dig(own, "lastState", "terminated"))
    ended = table(now.get("terminated")) or before
    state = _PHASES.get(text(status.get("phase")))
    if state == "running" and "running" not in now and own:
        state = "restarting" if "waiting" in now else "exited"
    killed = [
        table(s.get(part)).get("terminated")
        for s in every
        for part in ("state", "lastState")
    ]
    reasons = {text(table(k).get("reason")) for k in killed}
    _, _, digest = text(own.get("imageID")).rpartition("@")
    row: Row = {
        "state": state,
        "health": _health(own, main) if state == "running" else None,
        "exit_code": _code(table(now.get("terminated"))) if state == "exited" else None,
        "oom_killed": "OOMKilled" in reasons if every else None,
        "restarts_n": sum(integer(s.get("restartCount")) or 0 for s in every)
        if every
        else None,
        "created_at": moment(meta.get("creationTimestamp")),
        "started_at": moment(table(now.get("running") or ended).get("startedAt")),
        "finished_at": moment(ended.get("finishedAt")),
    }
    return row | ({"image_digest": digest} if digest.startswith("sha256:") else {})


def _health(own: Row, main: Row) -> str | None:
    if not is_checked({"containers": [main]}):
        return "none"
    if own.get("started") is False:
        return "starting"
    ready = own.get("ready")
    return None if not isinstance(ready, bool) else "healthy" if ready else "unhealthy"


def _code(ended: Row) -> int | None:
    code = ended.get("exitCode")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def docker_id(pod: Row, main: Row) -> str | None:
    """Give the short id of the main container where a Docker engine runs it.

    That engine, asked itself, tells of the same container: its rows and this one become one.
    """
    statuses = dicts(dig(pod, "status", "containerStatuses"))
    own = next((s for s in statuses if s.get("name") == main.get("name")), {})
    scheme, _, identifier = text(own.get("containerID")).partition("://")
    return identifier[:SHORT_ID] if scheme == "docker" and identifier else None


def known_as(pod: Row) -> tuple[str, ...]:
    """Give the ids by which the engine of a node knows the pod and its containers."""
    statuses = dicts(dig(pod, "status", "containerStatuses"))
    containers = (text(s.get("containerID")).rpartition("/")[2] for s in statuses)
    return tuple(i for i in (text(dig(pod, "metadata", "uid")), *containers) if i)


def to_mounts(spec: Row, namespace: str, claims: dict[tuple[str, str], Row]) -> list[Row]:
    """Give rows of the mounts frame, but for the workload; ``_source`` tells shared ones."""
    volumes = {text(v.get("name")): v for v in dicts(spec.get("volumes"))}
    rows: dict[str, Row] = {}
    for mount in (m for c in containers(spec) for m in dicts(c.get("volumeMounts"))):
        where, volume = text(mount.get("mountPath")), volumes.get(text(mount.get("name")))
        if where and where.rstrip("/") != _SERVICE_ACCOUNT:
            is_writable = mount.get("readOnly") is not True
            row = _to_mount(
                volume or {}, where, namespace, claims, is_writable=is_writable
            )
            rows.setdefault(where, {"destination": where, **row})
    return list(rows.values())


def _to_mount(
    volume: Row,
    where: str,
    namespace: str,
    claims: dict[tuple[str, str], Row],
    *,
    is_writable: bool,
) -> Row:
    kind = next((name for name in volume if name != "name"), "persistentVolumeClaim")
    inside = table(volume.get(kind))
    driver = text(inside.get("driver"))
    if kind in _CONFIG_VOLUMES or "secrets-store" in driver:
        return {
            "type": "config",
            "source_class": "config",
            "read_only": True,
            "data_like": False,
        }
    if kind in _SCRATCH_VOLUMES:
        in_memory = inside.get("medium") == "Memory"
        name = "tmpfs" if in_memory else "empty-dir"
        return {
            "type": name,
            "source_class": name,
            "read_only": not is_writable,
            "data_like": False,
        }
    if kind == "hostPath":
        path = text(inside.get("path"))
        form = source_class({"Type": "bind", "Source": path, "Destination": where})
        data = is_data(form, where, is_writable)
        return {
            "type": "bind",
            "source_class": form,
            "read_only": not is_writable,
            "data_like": data,
            "_source": f"host:{path}",
        }
    # a claim, also one that a StatefulSet makes for each replica; or storage named in the pod
    claim = text(inside.get("claimName"))
    known = claims.get((namespace, claim), {})
    size = quantity(dig(known, "status", "capacity", "storage"))
    is_writable = is_writable and inside.get("readOnly") is not True
    return {
        "type": "volume",
        "source_class": "named-volume",
        "volume_name": claim or text(volume.get("name")) or None,
        "driver": text(dig(known, "spec", "storageClassName"))
        or driver
        or (kind if kind != "persistentVolumeClaim" else None),
        "read_only": not is_writable,
        "size_bytes": integer(size),
        "data_like": is_data("named-volume", where, is_writable),
        "_source": f"{namespace}/{claim}" if claim else "",
    }
