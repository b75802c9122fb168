"""What the services of a Compose project need: start orders, links, volumes, addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from assess.collect.addresses import addresses, kind_of
from assess.collect.base import Name, Row
from assess.collect.compose_file import Project
from assess.collect.compose_forms import Service, is_true
from assess.collect.image_ref import parse_image
from assess.frames import EXTERNAL

DECLARED = "compose-file"
SHARED_VOLUME = 0.5  # two services that write to one volume: which needs the other is not said
_NEVER_HOSTS = ("", "default", "none", "host", "bridge")


def to_dependencies(
    project: Project, names: Mapping[str, Name], envs: Mapping[str, Mapping[str, str]]
) -> list[Row]:
    """Read what services need.

    Parameters
    ----------
    project : Project
        Services in canonical form.
    names : mapping of str to Name
        Best name of each enabled service.
    envs : mapping of str to mapping
        Environment of each, by service.

    Returns
    -------
    list of dict
        Rows of the dependencies frame, with ``src`` and ``dst`` in place of ids.
    """
    rows: dict[tuple[str, str, str, str], Row] = {}
    hosts = _hosts(project, names)

    def need(src: str, dst: str, kind: str, evidence: str, **values: str | float | None) -> None:
        if src != dst:
            target: Name | str = dst
            if not dst.startswith(EXTERNAL):
                target = names.get(dst) or Name(dst, "compose-service", 0.85, project.name)
            row = {"src": names[src], "dst": target, "kind": kind, "evidence": evidence, **values}
            rows.setdefault((src, dst, kind, evidence), row)

    for service_name in names:
        service = project.services[service_name]
        for dst, options in service.get("depends_on", {}).items():
            if dst in names or is_true(options.get("required") or "true"):
                condition = options.get("condition") or "service_started"
                need(service_name, dst, "start_order", DECLARED, condition=str(condition))
        for dst, kind in _declared(service):
            need(service_name, dst, kind, DECLARED)
        for variable, address in addresses(envs[service_name]):
            dst = hosts.get(address.host) or f"{EXTERNAL}{address.host}"
            kind = kind_of(address, _image_word(project.services.get(dst)), variable)
            need(service_name, dst, kind, "environment")
    for src, dst in _volume_sharers(project, names):
        need(src, dst, "data", "shared-volume", confidence=SHARED_VOLUME)
    return list(rows.values())


def _hosts(project: Project, names: Mapping[str, Name]) -> dict[str, str]:
    """Services by every host name that the others reach them by."""
    found: dict[str, str] = {}
    for name in names:
        service = project.services[name]
        others = [service.get("container_name"), service.get("hostname")]
        for network in service.get("networks", {}).values():
            others += network.get("aliases") or [] if isinstance(network, dict) else []
        for link in service.get("links", []):
            target, _, alias = link.partition(":")
            found.setdefault(alias.lower(), target)
        for other in others:
            found.setdefault(str(other or "").lower(), name)
    found |= {name.lower(): name for name in names}
    return {host: name for host, name in found.items() if host and name in names}


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


def _volume_sharers(project: Project, names: Mapping[str, Name]) -> Iterator[tuple[str, str]]:
    """Pairs in which the first reads what the second may write."""
    users: dict[str, dict[str, bool]] = defaultdict(dict)
    for name in names:
        for volume in project.services[name].get("volumes", {}).values():
            if volume["type"] == "volume" and volume["source"]:
                writes = not volume["read_only"]
                known = users[volume["source"]]
                known[name] = known.get(name, False) or writes
    for _, sharers in sorted(users.items()):
        for writer in (name for name, writes in sharers.items() if writes):
            yield from ((name, writer) for name in sharers if name != writer)


def _image_word(service: Service | None) -> str:
    repository = parse_image(str((service or {}).get("image") or "")).repository
    return (repository or "").rpartition("/")[2]
