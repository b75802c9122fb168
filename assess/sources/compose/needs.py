"""What the services of a Compose project need: texts that name others, links and start order."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from assess.frames import EXTERNAL
from assess.sources.base import Name, Row, Rows
from assess.sources.compose.forms import Service
from assess.sources.compose.project import MAX_LISTED, Project
from assess.sources.docker.names import compose_name
from assess.sources.edges import (
    START_ORDER,
    Text,
    declared_call,
    dependency_row,
    distinct,
    start_order,
)
from assess.sources.edges.address import (
    ENGINE_HOSTS,
    LISTS,
    Callee,
    Siblings,
    may_be_address,
)
from assess.sources.routing import routed_calls
from assess.sources.unit import CONFIG_PATHS, Unit
from assess.sources.values import as_list, is_true, table, text

EVIDENCE = "compose-file"


def to_texts(project: Project, service: Service) -> tuple[list[Text], list[str]]:
    """Return command lines and configurations of a service, and the references not read."""
    commands = [service.get("entrypoint"), service.get("command")]
    variables = service.get("environment", {})
    spec = str([*commands, variables])
    texts = [Text(str(command), "command") for command in commands if command]
    unset = {name for name, value in variables.items() if value is None}
    unread = [f"variable {n}" for n in unset - project.env.keys() if may_be_address(n)]
    # Compose sets the addresses of models when it starts them.
    unread += [f"model {name}" for name in service.get("models", ())]
    for name in as_list(service, "configs"):
        content = _content(project, name)
        texts.append(Text(content or "", "config", name))
        unread += [f"config {name}"] * (content is None)
    for target, volume in service.get("volumes", {}).items():
        if volume["type"] == "bind":
            read, is_whole = _mounted(project, volume["source"], target.rstrip("/"), spec)
            texts += [Text(content, "config", target) for content in read]
            unread += [f"mount {target}"] * (not is_whole)
    return texts, unread


def _content(project: Project, name: str) -> str | None:
    """Return the text of a configuration; None where it is not in the material."""
    config = table(project.configs, name)
    if content := text(config, "content"):
        return content
    if variable := text(config, "environment"):
        return project.env.get(variable)
    return _file_content(project, project.directory / text(config, "file"))


def _mounted(
    project: Project, source: str, target: str, spec: str
) -> tuple[list[str], bool]:
    """Return the configurations at a path that a service reads, and whether these are all."""
    # Of data, and of a directory that others mount too, it reads the files that it names.
    path = project.directory / source
    offered = project.limits.list(path) if source.strip("/") else []
    length = len(str(path))
    named = [file for file in offered if target + str(file)[length:] in spec]
    is_config = CONFIG_PATHS.search(target)
    endings = LISTS["settings"]
    configs = [f for f in offered if is_config or f.name.rpartition(".")[2] in endings]
    is_own = is_config or target.endswith("/config")
    is_shared = named and project.mounted[source] > 1
    files = (configs if is_own and not is_shared else named)[:MAX_LISTED]
    contents = {file: _file_content(project, file) for file in files}
    is_whole = None not in map(contents.get, (*configs, *files))
    if is_own and not offered:  # certificates and facts of the machine name no service
        is_whole = not LISTS["inert"].isdisjoint(target.replace(".", "/").split("/"))
    return [*filter(None, contents.values())], is_whole


def _file_content(project: Project, file: Path) -> str | None:
    """Return the text of a file; None where it cannot be read."""
    try:
        return project.limits.read(file)
    except (OSError, ValueError):
        return None


def to_dependencies(project: Project, units: Mapping[str, Unit]) -> Rows:
    """Return the dependencies of the named services, with ``src`` and ``dst`` in place of ids."""
    siblings = _siblings(project, units)
    rows: Rows = []
    for name, unit in units.items():
        src = unit.names[0]
        service = project.services[name]
        within = replace(siblings, links=_links(project, service, siblings))
        rows += _ordered(project, src, service, siblings)
        rows += _declared(project, src, service, within)
        rows += unit.needs(within, project.name)
    return distinct([*rows, *routed_calls([*units.values()], EVIDENCE)])


def _callee(project: Project, name: str, siblings: Siblings) -> Callee:
    return siblings.find(name, project.name) or Callee(compose_name(name, project.name))


def _ordered(
    project: Project, src: Name, service: Service, siblings: Siblings
) -> Iterator[Row]:
    for needed, options in service.get("depends_on", {}).items():
        is_required = is_true(options.get("required") or "true")
        if siblings.find(needed, project.name) or is_required:
            callee = _callee(project, needed, siblings)
            condition = str(options.get("condition") or "service_started")
            more = {"service": needed, "condition": condition}
            yield start_order(src, callee, EVIDENCE, **more)
    for source in as_list(service, "volumes_from"):  # which Compose starts before, too
        kind, _, rest = source.partition(":")
        if kind != "container":
            needed = rest.partition(":")[0] if kind == "service" else kind
            callee = _callee(project, needed, siblings)
            yield dependency_row(src, callee.name, START_ORDER, EVIDENCE)


def _declared(
    project: Project, src: Name, service: Service, siblings: Siblings
) -> Iterator[Row]:
    """Return what a service links to, and whose namespaces it lives in."""
    for callee in dict.fromkeys(siblings.links.values()):
        yield declared_call(src, callee, EVIDENCE, address_basis="config")
    for key in ("network_mode", "pid", "ipc"):
        kind, _, name = str(service.get(key) or "").partition(":")
        if kind == "service" and name:
            callee = _callee(project, name, siblings)
            yield dependency_row(src, callee.name, "declared", EVIDENCE)


def _links(project: Project, service: Service, siblings: Siblings) -> dict[str, Callee]:
    """Return the names that only this service has for others."""
    links = {}
    for key in ("links", "external_links"):
        for link in as_list(service, key):
            target, _, alias = link.partition(":")
            inner = _callee(project, target, siblings)
            outer = Callee(f"{EXTERNAL}{target}")
            links[(alias or target).lower()] = inner if key == "links" else outer
    for host, address in service.get("extra_hosts", {}).items():
        # The containers' own machine is no service.
        if host in ENGINE_HOSTS or address.startswith(("host-gateway", "127.", "::1")):
            continue
        known = siblings.find(address, project.name)
        outside = f"{EXTERNAL}{host.lower() if '.' in host else address}"
        links[host.lower()] = known or Callee(outside)
    return links


def _siblings(project: Project, units: Mapping[str, Unit]) -> Siblings:
    """Index services by every host name that others reach them by."""
    siblings = Siblings()
    space = project.name
    for name, unit in units.items():
        service = project.services[name]
        callee = unit.callee
        siblings.add(callee, name, space=space)
        siblings.publish(callee, unit.ports)
        aliases = [service.get("container_name"), service.get("hostname")]
        aliases += [f"{space}-{name}-1", f"{space}_{name}_1", f"{space}_{name}"]
        for network in service.get("networks", {}).values():
            options = table(network)
            aliases += options.get("aliases") or []
            aliases += [options.get("ipv4_address"), options.get("ipv6_address")]
        hosts = [str(alias) for alias in aliases if alias]
        siblings.add(callee, *hosts, space=space, is_alias=True)
    return siblings
