"""Names that a container has for its service, and other facts in its labels."""

import re

from assess import reference
from assess.image_ref import ImageRef, last_part
from assess.sources.base import Name, Names
from assess.sources.csv_records import lookup, rows, vocabulary
from assess.sources.listing import names_of
from assess.sources.values import Texts

COMPOSE = "com.docker.compose."
ECS = "com.amazonaws.ecs."
KUBERNETES = "io.kubernetes."
NOMAD = "com.hashicorp.nomad."
SWARM_SERVICE = "com.docker.swarm.service.name"
SWARM_STACK = "com.docker.stack.namespace"
COMPOSE_RULE = "compose-service"
_TRUST = lookup("docker/names", "rule", "trust")
COMPOSE_CONFIDENCE = float(_TRUST[COMPOSE_RULE])
# Of Podman: the unit of systemd that runs a container, by the name that its quadlet has.
UNIT = "PODMAN_SYSTEMD_UNIT"
UNIT_RULE = ("systemd-unit", float(_TRUST["systemd-unit"]))

# best first: the label or variable that holds a name, its rule, and how far to trust it
_RULES = [(row["key"], row["rule"], float(row["trust"])) for row in rows("docker/names")]
POD_HASHES = re.compile(r"(-[0-9a-f]{6,10})?-[a-z0-9]{5}$|-\d+$")
_UNIT_PARTS = re.compile(r"^container-|@.*|\.service$")
# By an engine or an orchestrator, and the number of a replica.
_GENERATED = re.compile(r"[a-z]+_[a-z]+\d*|.*[0-9a-f]{8}.*")
_NUMBER = re.compile(r"[-_.]\d+$")
_ALLOCATION = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_NAMESPACES = vocabulary("docker", "namespaces")
_PLATFORMS = vocabulary("docker", "platforms")  # by a label of theirs


def container_names(labels: Texts, env: Texts, image: ImageRef, name: str) -> Names:
    """List the names of its service, best first; that of the container itself is the last."""
    given = env | labels
    stack = labels.get(SWARM_STACK, "") + "_"
    allocated = _ALLOCATION.sub("", name) if NOMAD + "alloc_id" in labels else ""
    pod = labels.get(KUBERNETES + "pod.name", "")
    made = {
        "swarm-service": labels.get(SWARM_SERVICE, "").removeprefix(stack),
        "marathon-app": env.get("MARATHON_APP_ID", "").strip("/"),
        "kubernetes-pod": POD_HASHES.sub("", pod),
        "nomad-task": allocated,
        "systemd-unit": _UNIT_PARTS.sub("", labels.get(UNIT, "")),
        "given-name": _given_name(name, image),
        "image-source": last_part(labels.get("org.opencontainers.image.source")),
        "image-repository": last_part(image.repository),
        "container-name": name,
    }
    candidates = [
        (made.get(rule) or given.get(key), rule, trust) for key, rule, trust in _RULES
    ]
    return names_of(*candidates, namespace=namespace_of(labels))


def _given_name(name: str, image: ImageRef) -> str:
    """Return the name that a person gave a container of a product; empty for any other."""
    # Two containers of postgres:16 are two services: their image only says what they run.
    is_product = image.is_official or reference.stateful_kind(image.repository)
    is_given = is_product and not _GENERATED.fullmatch(name)
    return _NUMBER.sub("", name) if is_given else ""


def compose_name(service: str, project: str) -> Name:
    """Return the name of a service of a Compose project."""
    return Name(service, COMPOSE_RULE, COMPOSE_CONFIDENCE, project)


def namespace_of(labels: Texts) -> str:
    """Return the project or namespace of a container; empty where it has none."""
    return next((labels[name] for name in _NAMESPACES if labels.get(name)), "")


def platform_of(labels: Texts, env: Texts) -> str:
    """Return the orchestrator that placed a container, by its labels; else ``docker``."""
    if "MARATHON_APP_ID" in env:
        return "marathon"
    return next((p for label, p in _PLATFORMS.items() if label in labels), "docker")


def is_replica(labels: Texts) -> bool:
    """Return whether it is a replica of a service, not a pause container or a one-off."""
    is_pause = (
        labels.get(KUBERNETES + "container.name") == "POD"
        or labels.get(KUBERNETES + "docker.type") == "podsandbox"
    )
    return not is_pause and labels.get(COMPOSE + "oneoff", "").lower() != "true"


def compose_dependencies(labels: Texts) -> list[tuple[str, str | None]]:
    """List what Compose starts before it: services and conditions (db, service_healthy)."""
    listed = labels.get(COMPOSE + "depends_on", "")
    entries = [entry.split(":") for entry in listed.split(",")]
    return [
        (name.strip(), (rest or [""])[0] or None)
        for name, *rest in entries
        if name.strip()
    ]
