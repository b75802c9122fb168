"""From the payloads of one Docker engine to rows: workloads, services, dependencies."""

import re
from collections.abc import Iterator
from dataclasses import replace

from assess.image_ref import parse_image
from assess.inventory import ENDED
from assess.sources.base import Batch, Name, Row, Rows
from assess.sources.docker.engine import ImageIndex, to_engine, to_host, to_images
from assess.sources.docker.names import (
    COMPOSE,
    UNIT,
    compose_dependencies,
    compose_name,
    container_names,
    is_replica,
    namespace_of,
    platform_of,
)
from assess.sources.docker.payload import (
    SHORT_ID,
    Container,
    EngineData,
    Payload,
    containers_of,
)
from assess.sources.edges import (
    declared_call,
    dependency_row,
    distinct,
    needs,
    start_order,
)
from assess.sources.edges.address import Callee, Siblings
from assess.sources.routing import routed_calls
from assess.sources.unit import (
    Unit,
    merge_services,
    mount_rows,
    service_row,
    share,
    workload_row,
)
from assess.sources.values import (
    Texts,
    dicts,
    dig,
    joined,
    leaf,
    moment,
    picked,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount

_EVERY_IP = re.compile(r"^(0\.0\.0\.0|\[::\]|::)?:")


def to_batch(payloads: EngineData, host_id: str) -> Batch:
    """Turn the payloads of one engine into rows of all frames."""
    batch = Batch()
    batch.add("hosts", to_host(payloads, host_id))
    batch.add("engines", to_engine(payloads, host_id))
    containers = containers_of(payloads)
    batch.add("images", *to_images(payloads, containers, host_id))
    index = ImageIndex(payloads.images or [])
    replicas = [c for c in containers if is_replica(c.labels)]
    networks = {n["Name"]: n["asks"] or "" for n in payloads.networks or []}
    units = [to_unit(container, index, networks) for container in replicas]
    services = []
    for container, unit in zip(replicas, units, strict=True):
        status = "ok" if container.inspected else "list"
        workload = to_workload(container, unit, index) | {
            "workload_id": f"{host_id}/{container.identifier}",
            "host_id": host_id,
            "inspect_status": payloads.inspect_status.get(container.identifier, status),
        }
        key = workload["workload_id"]
        batch.place([workload], mount_rows(unit.mounts, key, host_id))
        # the task, pod or allocation that it belongs to
        if task := leaf(picked(container.labels, "container task"), "task"):
            batch.tasks[container.identifier] = task
        services.append(to_service(container, unit))
    batch.add("services", *merge_services(services))
    share(batch.rows["mounts"], payloads.volumes)
    batch.add("dependencies", *to_dependencies(replicas, units))
    return batch


def to_unit(container: Container, index: ImageIndex, networks: Texts) -> Unit:
    """Read the declaration of a container, and what its networks ask of the engine."""
    inspected = container.inspected
    labels = container.labels
    host = table(inspected, "HostConfig")
    image = container.declared_image
    if parse_image(image).repository is None:  # started by the id of an image
        image = index.named(container.image_id or image)
    ports = tuple(to_ports(container))
    state = container.state or _state_of(text(container.listing, "Status"))
    platform = platform_of(labels, container.kept)
    is_checked = inspected.get("health_checked")
    if platform != "docker" or state != "running":
        # No check is certain only for what Docker itself runs now.
        is_checked = is_checked or None
    network = dig(inspected or container.listing, "HostConfig", "NetworkMode")
    kind: str | None = "web" if ports else "worker"
    if kind == "worker" and network == "host":  # any port may be open
        kind = None
    unit = Unit(
        names=container_names(
            labels, container.kept, parse_image(image), container.name or "unnamed"
        ),
        platform=platform,
        image=image,
        environment=tuple(container.kept.items()),
        ports=ports,
        mounts=tuple(map(to_mount, container.mounts or [])),
        host_network=_is_host(network),
        kind=kind,
        health_checked=is_checked,
    )
    if not inspected:
        return unit
    memory = host.get("Memory")
    # an orchestrator, or systemd, decides itself what starts again
    policy = dig(host, "RestartPolicy", "Name") or "no"
    joined_to = table(inspected, "NetworkSettings", "Networks")
    asks = [inspected["settings"], *map(networks.get, joined_to)]
    # --cpus sets NanoCpus, older clients a quota of a period of 100 ms by default [us].
    cpus = (host.get("NanoCpus") or 0) / 1e9
    quota = (host.get("CpuQuota") or 0) / (host.get("CpuPeriod") or 100_000)
    return replace(
        unit,
        # The engine copies the user of the image: none means root.
        user=text(inspected, "Config", "User") or "0",
        memory_unlimited=None if memory is None else memory == 0,
        cpu_limit=cpus or max(quota, 0) or None,
        **picked(inspected, "docker inspection"),
        host_pid=_is_host(host.get("PidMode")),
        host_ipc=_is_host(host.get("IpcMode")),
        proxies=inspected["proxies"],
        devices_n=len(host.get("Devices") or []),
        restart_policy=policy if platform == "docker" and UNIT not in labels else None,
        asks=asks,
    )


def _is_host(mode: str | None) -> bool | None:
    return None if mode is None else mode == "host"


def to_workload(container: Container, unit: Unit, index: ImageIndex) -> Row:
    """Return the row of the workloads frame, without the columns that the host adds."""
    env = container.inspected.get("Env", {})
    image = unit.image_ref
    image_id = container.image_id or container.declared_image
    row = workload_row(unit) | {
        "names": unit.names,
        "cluster": container.labels.get("com.amazonaws.ecs.cluster"),
        "namespace": namespace_of(container.labels) or None,
        "name": container.name,
        "source_kind": "container",
        "addresses": joined(to_addresses(container)),
        "image_ref": container.declared_image or None,
        "image_digest": image.digest or index.digest(image_id, image),
        "env_names_n": len(env["names"]) if env else None,
        "secret_like_env_n": env.get("secret_like"),
        "secret_env_names": env.get("secret_names"),
        **_life(container),
    }
    if container.mounts is None:
        row["docker_sock_mounted"] = None
    return row


def _life(container: Container) -> Row:
    """Read state and times; a list has them in words, such as ``Exited (137) 2 days ago``."""
    inspected = container.inspected
    words = container.listing.get("Status") or ""
    status = container.state or _state_of(words)
    code = re.match(r"Exited \((-?\d+)\)", words)
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", words)
    row: Row = {
        "state": status,
        "exit_code": int(code[1]) if code else None,
        "health": health[1] if health else None,
        "created_at": moment(
            inspected.get("Created") or container.listing.get("Created")
        ),
    }
    if inspected:
        row |= {
            **picked(inspected, "docker state"),
            "health": dig(inspected, "State", "Health", "Status") or "none",
        }
    if status not in ENDED:  # an engine writes 0 for a container that runs
        row["exit_code"] = None
    return row


def _state_of(words: str) -> str | None:
    """Read the state of engines that list only words (before API 1.23)."""
    first = words.partition(" ")[0].lower()
    if first == "up":
        return "paused" if "(Paused)" in words else "running"
    return first if first in ("exited", "created", "restarting", "dead") else None


def to_mount(payload: Payload) -> Mount:
    """Read a mount that an engine lists."""
    own = picked(payload, "docker mount")
    usual = "volume" if own["volume"] else "bind"
    return Mount(**own | {"type": own["type"] or usual})


def to_ports(container: Container) -> set[str]:
    """Return the ports: ``8080->80/tcp`` for published ones, ``80/tcp`` for others."""
    ports = set()
    inspected = container.inspected
    bindings = {
        **table(inspected, "Config", "ExposedPorts"),
        **table(inspected, "HostConfig", "PortBindings"),
        **table(inspected, "NetworkSettings", "Ports"),
    }
    for inner, bound in bindings.items():
        for binding in [*dicts(bound)] or [{}]:
            public = binding.get("HostPort")
            ports.add(_port(binding.get("HostIp"), public, inner))
    listed = container.listing.get("Ports")
    for port in dicts(listed):
        inner = f"{port.get('PrivatePort')}/{port.get('Type') or 'tcp'}"
        public = port.get("PublicPort")
        ports.add(_port(port.get("IP"), public, inner))
    if isinstance(listed, str):  # by the command line
        ports.update(filter(None, listed.split(", ")))
    return {_EVERY_IP.sub("", port) for port in ports}


def to_addresses(container: Container) -> list[str]:
    """List the addresses of a container on networks of its own."""
    found = set()
    for payload in (container.inspected, container.listing):
        settings = table(payload, "NetworkSettings")
        for network in (settings, *table(settings, "Networks").values()):
            found |= {text(network, "IPAddress"), text(network, "GlobalIPv6Address")}
    return sorted(found - {""})


def _port(ip: object, public: object, inner: str) -> str:
    return f"{ip or ''}:{public}->{inner}" if public else inner


def to_service(container: Container, unit: Unit) -> Row:
    """Return the row of the service of one container; facts that it does not show are unknown."""
    is_complete = bool(container.inspected) and container.mounts is not None
    row = service_row(unit, is_complete=is_complete)
    secrets_n = dig(container.inspected, "Env", "secret_like")
    row["secrets_in_image"] = None if secrets_n is None else secrets_n > 0
    if unit.platform == "docker":  # elsewhere its machine is no place that others reach
        row["public"] = unit.is_opened
    if row["stateful"] is not False:
        row["kind"] = None
    return row


def to_dependencies(replicas: list[Container], units: list[Unit]) -> Rows:
    """Read the dependencies: start orders of Compose, links, proxies, and addresses."""
    siblings = Siblings()
    pairs = [*zip(replicas, units, strict=True)]
    for container, unit in pairs:
        space = namespace_of(container.labels)
        callee = unit.callee
        service = container.labels.get(COMPOSE + "service", "")
        siblings.add(callee, service, space=space)
        siblings.add(callee, container.name or "", space=space)
        siblings.add(callee, container.identifier)
        siblings.add(callee, *_entries(container, "Aliases"), space=space, is_alias=True)
        siblings.publish(callee, unit.ports)
    rows = []
    for container, unit in pairs:
        space = namespace_of(container.labels)
        src = unit.names[0]
        for name, condition in compose_dependencies(container.labels):
            missing = Callee(compose_name(name, space))
            needed = siblings.find(name, space) or missing
            more = {"condition": condition, "address_basis": "label"}
            rows.append(start_order(src, needed, "compose-label", service=name, **more))
        within = replace(siblings, links=_links(container, siblings, space))
        rows += _declared(container, src, within)
        found = container.inspected.get("mentions", ())
        rows += needs(unit.callee, found, within, space=space)
    return distinct([*rows, *routed_calls(units, "docker-labels")])


def _declared(container: Container, src: Name, siblings: Siblings) -> Iterator[Row]:
    """Yield what a container links to, and whose namespaces it lives in."""
    for callee in siblings.links.values():
        yield declared_call(src, callee, "docker-link", address_basis="config")
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        mode = text(container.inspected, "HostConfig", key)
        _, _, other = mode.partition("container:")
        if found := siblings.find(other[:SHORT_ID]):
            yield dependency_row(src, found.name, "declared", "docker-mode")


def _entries(container: Container, key: str) -> list[str]:
    """List the names that its networks have for it, or that it has for others there."""
    networks = table(container.inspected, "NetworkSettings", "Networks")
    return [entry for network in networks.values() for entry in texts(network, key)]


def _links(container: Container, siblings: Siblings, space: str) -> dict[str, Callee]:
    """Return the containers that it is linked to, by the names that only it has for them."""
    links = {}
    # /db:/web/store on the default network, db:store on others
    listed = texts(container.inspected, "HostConfig", "Links")
    for link in listed + _entries(container, "Links"):
        name, _, alias = link.partition(":")
        if callee := siblings.find(name.lstrip("/"), space):
            links[alias.rpartition("/")[2].lower()] = callee
    return links
