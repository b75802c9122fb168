"""Names that a container has for its service, best first."""

from __future__ import annotations

import re
from collections.abc import Mapping

from assess.collect.base import Name
from assess.collect.image_ref import ImageRef

COMPOSE = "com.docker.compose."
ECS = "com.amazonaws.ecs."
KUBERNETES = "io.kubernetes."
NOMAD = "com.hashicorp.nomad."
SWARM_SERVICE = "com.docker.swarm.service.name"
SWARM_STACK = "com.docker.stack.namespace"
COMPOSE_RULE, COMPOSE_CONFIDENCE = "compose-service", 0.85

_POD_HASHES = re.compile(r"(-[0-9a-f]{6,10})?-[a-z0-9]{5}$|-\d+$")
_ALLOCATION = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_PLATFORM_LABELS = {
    ECS + "task-definition-family": "ecs",
    KUBERNETES + "pod.name": "kubernetes",
    NOMAD + "alloc_id": "nomad",
    SWARM_SERVICE: "swarm",
}


def container_names(
    labels: Mapping[str, str], env: Mapping[str, str], image: ImageRef, name: str
) -> tuple[Name, ...]:
    """List the names that a container has for its service.

    Parameters
    ----------
    labels : mapping of str to str
        Labels on the allowlist.
    env : mapping of str to str
        Variables that name services.
    image : ImageRef
        Its image.
    name : str
        Name of the container.

    Returns
    -------
    tuple of Name
        Best first, never empty: the name of the container itself is the last resort.
    """
    namespace = namespace_of(labels)
    candidates = (
        *_orchestrated(labels, env, name),
        (labels.get("assess.service"), "label", 1.0),
        (labels.get(COMPOSE + "service"), COMPOSE_RULE, COMPOSE_CONFIDENCE),
        *((env.get(n), "telemetry-env", 0.8) for n in _TELEMETRY),
        (labels.get("org.opencontainers.image.title"), "image-title", 0.6),
        (_last_part(labels.get("org.opencontainers.image.source")), "image-source", 0.6),
        (_last_part(image.repository), "image-repository", 0.6),
        (name, "container-name", 0.3),
    )
    found = [
        Name(text, rule, trust, "" if rule == "label" else namespace)  # a label says it all
        for text, rule, trust in candidates
        if text
    ]
    return tuple(sorted(found, key=lambda n: -n.confidence))


_TELEMETRY = ("OTEL_SERVICE_NAME", "DD_SERVICE", "SERVICE_NAME")


def _orchestrated(
    labels: Mapping[str, str], env: Mapping[str, str], name: str
) -> list[tuple[str | None, str, float]]:
    stack = labels.get(SWARM_STACK, "")
    pod = labels.get(KUBERNETES + "pod.name", "")
    task = _ALLOCATION.sub("", name) if NOMAD + "alloc_id" in labels else None
    return [
        (labels.get(SWARM_SERVICE, "").removeprefix(f"{stack}_"), "swarm-service", 0.98),
        (env.get("MARATHON_APP_ID", "").strip("/"), "marathon-app", 0.98),
        (labels.get("app.kubernetes.io/name"), "kubernetes-name", 0.95),
        (labels.get(NOMAD + "job_name"), "nomad-job", 0.95),
        (labels.get(ECS + "task-definition-family"), "ecs-family", 0.9),
        (labels.get("tags.datadoghq.com/service"), "datadog-label", 0.8),
        (_POD_HASHES.sub("", pod), "kubernetes-pod", 0.75),
        (task, "nomad-task", 0.75),
    ]


_NAMESPACES = (KUBERNETES + "pod.namespace", SWARM_STACK, NOMAD + "namespace", COMPOSE + "project")


def namespace_of(labels: Mapping[str, str]) -> str:
    """Give the project or namespace of a container.

    Parameters
    ----------
    labels : mapping of str to str
        Labels on the allowlist.

    Returns
    -------
    str
        Empty where it has none.
    """
    return next((labels[name] for name in _NAMESPACES if labels.get(name)), "")


def platform_of(labels: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Say what placed a container.

    Parameters
    ----------
    labels : mapping of str to str
        Labels on the allowlist.
    env : mapping of str to str
        Variables that name services.

    Returns
    -------
    str
        Platform of the services frame; ``docker`` where no orchestrator left a mark.
    """
    if "MARATHON_APP_ID" in env:
        return "marathon"
    return next((p for label, p in _PLATFORM_LABELS.items() if label in labels), "docker")


def is_replica(labels: Mapping[str, str]) -> bool:
    """Say whether a container is a replica of a service.

    Parameters
    ----------
    labels : mapping of str to str
        Labels on the allowlist.

    Returns
    -------
    bool
        False for the pause containers of pods and for one-off runs of Compose.
    """
    is_pause = (
        labels.get(KUBERNETES + "container.name") == "POD"
        or labels.get(KUBERNETES + "docker.type") == "podsandbox"
    )
    return not is_pause and labels.get(COMPOSE + "oneoff", "").lower() != "true"


def compose_dependencies(labels: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Read what Compose starts before a container.

    Parameters
    ----------
    labels : mapping of str to str
        Labels on the allowlist.

    Returns
    -------
    list of tuple of str
        Compose service and condition, such as ``("db", "service_healthy")``.
    """
    entries = [e.split(":") for e in labels.get(COMPOSE + "depends_on", "").split(",") if e]
    return [(e[0].strip(), e[1] if len(e) > 1 and e[1] else None) for e in entries if e[0].strip()]


def _last_part(path: str | None) -> str | None:
    return path.rstrip("/").rpartition("/")[2].removesuffix(".git") if path else None
