"""What the services of a Compose project need: start orders, links, volumes, addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from assess.frames import EXTERNAL
from assess.sources.addresses import Address, addresses
from assess.sources.base import Name, Row
from assess.sources.compose.file import Project
from assess.sources.compose.forms import Service, is_true
from assess.sources.docker.names import COMPOSE_CONFIDENCE, COMPOSE_RULE
from assess.sources.unit import (
    Callee,
    Unit,
    dependency_row,
    distinct,
    environment_rows,
)

SHARED_VOLUME = (
    0.5  # two services that write to one volume: which needs the other is not said
)

Need = tuple[str, str, str, Row]  # service or ext:<host>, kind, evidence, further columns


def to_dependencies(project: Project, units: Mapping[str, Unit]) -> list[Row]:
    """Return what the named services need, with ``src`` and ``dst`` in place of ids."""
    rows: list[Row] = []
    hosts = _hosts(project, units)

    def named(dst: str) -> Name | str:
        if dst in units:
            return units[dst].names[0]
        if dst.startswith(EXTERNAL):
            return dst
        return Name(dst, COMPOSE_RULE, COMPOSE_CONFIDENCE, project.name)

    def find(address: Address) -> Callee:
        called = hosts.get(address.host)
        if called is None:
            return f"{EXTERNAL}{address.host}", ""
        return units[called].names[0], units[called].image_name

    for name, unit in units.items():
        src = unit.names[0]
        for dst, kind, evidence, more in _needs(project, hosts, name):
            rows.append(dependency_row(src, named(dst), kind, evidence, **more))
        rows += environment_rows(src, addresses(dict(unit.environment)), find)
        for dst, kind, evidence, more in _shared(project, units, name):
            rows.append(dependency_row(src, named(dst), kind, evidence, **more))
    return distinct(rows)


def _needs(project: Project, hosts: Mapping[str, str], src: str) -> Iterator[Need]:
    service = project.services[src]
    for dst, options in service.get("depends_on", {}).items():
        if dst.lower() in hosts or is_true(options.get("required") or "true"):
            condition = str(options.get("condition") or "service_started")
            yield dst, "start_order", "compose-file", {"condition": condition}
    for dst, kind in _declared(service):
        yield dst, kind, "compose-file", {}


def _declared(service: Service) -> Iterator[tuple[str, str]]:
    for link in service.get("links", []):
        yield link.partition(":")[0], "call"
    for link in service.get("external_links", []):
        yield f"{EXTERNAL}{link.partition(':')[0]}", "call"
    for source in service.get("volumes_from", []):
        kind, _, rest = source.partition(":")
        if kind == "container":
            yield f"{EXTERNAL}{rest.partition(':')[0]}", "data"
        else:
            yield (rest if kind == "service" else source).partition(":")[0], "data"
    for key in ("network_mode", "pid", "ipc"):
        kind, _, target = str(service.get(key) or "").partition(":")
        if kind == "service" and target:
            yield target, "declared"


def _hosts(project: Project, names: Mapping[str, Unit]) -> dict[str, str]:
    """Services by every host name that the others reach them by."""
    found: dict[str, str] = {}
    for name in names:
        service = project.services[name]
        for link in service.get("links", []):
            target, _, alias = link.partition(":")
            found.setdefault(alias.lower(), target)
        own = [service.get("container_name"), service.get("hostname")]
        for network in service.get("networks", {}).values():
            own += network.get("aliases") or [] if isinstance(network, dict) else []
        for host in own:
            found.setdefault(str(host or "").lower(), name)
    found |= {name.lower(): name for name in names}
    return {host: name for host, name in found.items() if host and name in names}


def _shared(project: Project, names: Mapping[str, Unit], reader: str) -> Iterator[Need]:
    """Give the services that may write to a named volume of this one."""
    users: dict[str, dict[str, bool]] = defaultdict(lambda: defaultdict(bool))
    for name in names:
        for volume in project.services[name].get("volumes", {}).values():
            if volume["type"] == "volume" and volume["source"]:
                users[volume["source"]][name] |= not volume["read_only"]
    for found in users.values():
        for name, writes in found.items():
            if reader in found and writes:
                yield name, "data", "shared-volume", {"confidence": SHARED_VOLUME}
