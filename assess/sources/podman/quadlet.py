"""Quadlets: the files by which systemd starts containers, pods and volumes of Podman."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import PurePath, PurePosixPath

from assess.sources.base import Batch, Row
from assess.sources.csv_records import vocabulary
from assess.sources.docker.names import UNIT_RULE
from assess.sources.edges import command_line, dependency_row, distinct, start_order
from assess.sources.edges.address import Siblings
from assess.sources.listing import labelled, names_of
from assess.sources.replica import declared_rows
from assess.sources.routing import routed_calls, routers_of
from assess.sources.unit import Unit, is_checked, port_text, service_row, share
from assess.sources.values import Words, as_list, memory_size, picked
from assess.sources.volumes import Mount, mount_of, nfs_export, split_volume

SUFFIX = ".container"
KUBE = ".kube"
Section = dict[str, list[str]]  # values by key
Options = dict[str, Section]  # values by section and key
Others = Mapping[str, Options]  # the quadlets of a host, by the names of their files

# where a quadlet says the name of what it makes
_NAMES = vocabulary("podman", "names of quadlets")
SUFFIXES = (KUBE, *_NAMES)
DROP_IN = ".conf"  # in a directory named after what it adds to
_MADE = (".image", ".build")  # objects without a usual name

_ORDERS = ("After", "Wants", "Requires", "Requisite", "BindsTo")
_JOINED = "container:"  # before the container whose network another one is in
_ALIAS = re.compile(r"(?:alias|ip6?)=([^,']+)")
_CONTINUED = re.compile(r"\\\r?\n")
_RESTARTS = vocabulary("podman", "restarts")


def is_drop_in(file: PurePath) -> bool:
    """Return whether a file adds to quadlets: ``web.container.d/10-memory.conf``."""
    directory = file.parent.name
    kind = PurePath(f"x.{directory.removesuffix('.d')}").suffix
    return file.suffix == DROP_IN and directory.endswith(".d") and kind in SUFFIXES


def drop_ins(file: str, found: Mapping[PurePath, str]) -> list[str]:
    """Return the texts that add to a quadlet, in order."""
    # podman-systemd.unit(5): of files of the same name, that in the most specific
    # directory counts.
    stem, dot, kind = file.rpartition(".")
    words = stem.split("-")
    starts = ["-".join(words[:n]) + "-" for n in range(1, len(words))]
    template, at, _ = stem.partition("@")
    starts += [template + at] if at else []
    directories = [kind, *(start + dot + kind for start in starts), file]
    texts = {}
    for directory in directories:
        for path, text in found.items():
            if path.parent.name == f"{directory}.d":
                texts[path.name] = text
    return [texts[name] for name in sorted(texts)]


def options_of(*texts: str) -> Options:
    """Read a unit file of systemd and its drop-ins; an empty value resets earlier ones."""
    sections: Options = {}
    for text in texts:
        _read_into(sections, text)
    return sections


def _read_into(sections: Options, text: str) -> None:
    section = {}
    for raw in _CONTINUED.sub(" ", text).splitlines():
        line = raw.strip()
        key, sign, value = line.partition("=")
        if line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], {})
        elif sign and value.strip():
            section.setdefault(key.strip(), []).append(value.strip())
        elif sign:
            section.pop(key.strip(), None)


def name_of(file: str, others: Others) -> str:
    """Return the name of the object of a file; a word that is not a file is a name already."""
    path = PurePosixPath(file)
    if path.suffix not in _NAMES:
        return file
    section, key = _NAMES[path.suffix].split()
    usual = "" if path.suffix in _MADE else f"systemd-{path.stem}"
    return _last(others.get(file, {}), key, section) or usual


def _network_of(value: str, others: Others) -> str:
    """Return the name of a network, or of the container whose network is joined."""
    if value.startswith(_JOINED):
        return value
    name = value.partition(":")[0]
    return _JOINED * name.endswith(SUFFIX) + name_of(name, others)


class Quadlet:
    """One quadlet of a container, with the quadlets that it refers to."""

    def __init__(self, stem: str, options: Options, others: Others | None = None) -> None:
        self.stem = stem
        self.options = options
        self.others = others or {}
        self.container = options.get("Container", {})

    @property
    def name(self) -> str:
        """Name of its container."""
        return _last(self.options, "ContainerName") or f"systemd-{self.stem}"

    @cached_property
    def pod(self) -> Section:
        """What the pod that it joins declares; the containers of a pod share a network."""
        return self.others.get(_last(self.options, "Pod"), {}).get("Pod", {})

    @property
    def networks(self) -> list[str]:
        """Names of the networks that it is in, as Podman knows them."""
        flags = dict(_flag_list(self.lines("PodmanArgs")))
        networks = [*self.lines("Network"), flags.get("network") or flags.get("net", "")]
        return [_network_of(network, self.others) for network in networks if network]

    def lines(self, key: str) -> list[str]:
        """Return what it and its pod say under a key."""
        return [*as_list(self.container, key), *as_list(self.pod, key)]

    @property
    def ports(self) -> list[str]:
        """Ports that it publishes; of those of its pod only where it is alone there."""
        exposed = (f":{port}" for port in as_list(self.container, "ExposeHostPort"))
        own = [*as_list(self.container, "PublishPort"), *exposed]
        pod = _last(self.options, "Pod")
        mates = [o for o in self.others.values() if _last(o, "Pod") == pod]
        return [*own, *as_list(self.pod, "PublishPort")] if len(mates) == 1 else own

    @cached_property
    def unit(self) -> Unit:
        """Its declaration, with the names of its service."""
        unit = _to_unit(self)
        labels = dict(_pairs(self.options, "Label"))
        proxies = routers_of(labels, dict(unit.environment))
        # of a template, web@.container, each instance is a replica
        stem = self.stem.partition("@")[0]
        names = names_of(labelled(labels), (stem, *UNIT_RULE), *unit.inner_names)
        return replace(unit, names=names, proxies=proxies)


def to_rows(
    quadlets: list[Quadlet], seen: Collection[str], place: str, host_id: str | None
) -> Batch:
    """Return the rows of quadlets whose containers were not seen; their host may be None."""
    batch = Batch()
    siblings = Siblings()
    for quadlet in quadlets:
        callee = quadlet.unit.callee
        aliases = _ALIAS.findall(str(quadlet.lines("Network")))
        aliases += as_list(quadlet.container, "NetworkAlias")
        for network in quadlet.networks:  # in which names lead to containers
            siblings.add(callee, quadlet.name, *aliases, space=network)
        siblings.publish(callee, quadlet.unit.ports)
    for quadlet in quadlets:
        if quadlet.name in seen:
            continue
        unit = quadlet.unit
        shared = {"name": quadlet.name, "source_kind": "quadlet", "host_id": host_id}
        workloads, mounts = declared_rows(unit, f"{place}/{quadlet.stem}", 1, shared)
        share(mounts)
        batch.place(workloads, mounts)
        batch.add("services", service_row(unit) | {"public": unit.is_opened})
        space = next(iter(quadlet.networks), "")
        found = [*_ordered(quadlet, quadlets), *unit.needs(siblings, space)]
        batch.add("dependencies", *distinct(found))
    units = [quadlet.unit for quadlet in quadlets]
    batch.add("dependencies", *routed_calls(units, "quadlet-labels"))
    return batch


def _ordered(quadlet: Quadlet, quadlets: list[Quadlet]) -> Iterator[Row]:
    """Yield the units that systemd starts before this one or with it, and whose network it is in."""
    lines = [line for key in _ORDERS for line in as_list(quadlet.options, "Unit", key)]
    named = {PurePosixPath(word) for word in " ".join(lines).split()}
    wanted = {unit.stem for unit in named if unit.suffix in (".service", SUFFIX)}
    own = quadlet.unit.names[0]
    for other in quadlets:
        if f"{_JOINED}{other.name}" in quadlet.networks:
            yield dependency_row(own, other.unit.names[0], "declared", "quadlet")
        elif other.stem in wanted:
            yield start_order(own, other.unit.callee, "quadlet", address_basis="config")


def _to_unit(quadlet: Quadlet) -> Unit:
    options = quadlet.options
    container = quadlet.container
    flags = dict(_flag_list(as_list(container, "PodmanArgs")))
    given = flags | {key: values[-1] for key, values in container.items()}
    memory = given.get("Memory") or given.get("memory") or given.get("m")
    memory = memory or _last(options, "MemoryMax", "Service")  # of its control group
    image = name_of(_last(options, "Image"), quadlet.others)
    check = _last(options, "HealthCmd")
    return Unit(
        platform="docker",
        image=image,
        environment=(*_pairs(options, "Environment"), *_secrets(container)),
        texts=command_line(
            {key: _words(_last(options, key)) for key in ("Entrypoint", "Exec")},
            "Entrypoint",
            "Exec",
        ),
        unread=tuple(as_list(container, "EnvironmentFile")),
        ports=tuple(map(port_text, quadlet.ports)),
        mounts=tuple(_mounts(quadlet)),
        memory_limit_bytes=memory_size(memory),
        memory_unlimited=_is_unlimited(memory),
        **picked(given, "quadlet container"),
        privileged="privileged" in flags,
        host_network="host" in quadlet.networks,
        caps_added=_listed(container, "AddCapability", "cap-add"),
        devices_n=len(_listed(container, "AddDevice", "device")),
        restart_policy=_RESTARTS.get(_last(options, "Restart", "Service") or "no"),
        health_checked=is_checked(image, check != "none" if check else None),
    )


def _last(options: Options, key: str, section: str = "Container") -> str:
    values = options.get(section, {}).get(key, [])
    return values[-1] if values else ""


def _words(text: str) -> list[str]:
    """Split a line as systemd does; one that ends within a quote is split at spaces."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _pairs(options: Options, key: str) -> Iterator[tuple[str, str]]:
    for line in options["Container"].get(key, []):
        for word in _words(line):
            name, sign, value = word.partition("=")
            if sign:
                yield name, value


def _secrets(container: Section) -> Iterator[tuple[str, str]]:
    """Yield the variables that hold secrets of Podman; their values are elsewhere."""
    for line in as_list(container, "Secret"):
        name, _, rest = line.partition(",")
        options = dict(part.partition("=")[::2] for part in rest.split(","))
        if options.get("type") == "env":
            yield options.get("target") or name, ""


def _listed(container: Section, key: str, flag: str) -> Words:
    """Return the words of a key, and the values of a flag that may stand several times."""
    words = _words(" ".join(container.get(key, [])))
    handed = _flag_list(as_list(container, "PodmanArgs"))
    return (*words, *(value for name, value in handed if name == flag))


def _flag_list(lines: list[str]) -> list[tuple[str, str]]:
    """Return the flags that are handed to ``podman run``; one without a value is empty."""
    flags = []
    for word in _words(" ".join(lines)):
        if word.startswith("-"):
            name, _, value = word.lstrip("-").partition("=")
            flags.append((name, value))
        elif flags and not flags[-1][1]:
            flags[-1] = (flags[-1][0], word)
    return flags


def _is_unlimited(memory: str) -> bool | None:
    """Return whether memory has no limit; None where the limit cannot be read."""
    if memory:
        return None if memory_size(memory) is None else False
    return True


def _mounts(quadlet: Quadlet) -> Iterator[Mount]:
    container = quadlet.container
    for value in [*as_list(container, "Volume"), *as_list(quadlet.pod, "Volume")]:
        mount = split_volume(value if ":" in value else f":{value}")
        if mount:
            yield _with_volume(mount, quadlet.others)
    for value in as_list(container, "Tmpfs"):
        yield Mount(target=value.partition(":")[0], type="tmpfs")
    for value in as_list(container, "Mount"):
        parts = dict(part.partition("=")[::2] for part in value.split(","))
        mount = mount_of(parts, is_writable=not {"ro", "readonly"} & parts.keys())
        yield _with_volume(mount, quadlet.others)


def _with_volume(mount: Mount, others: Others) -> Mount:
    file = mount.volume or ""
    options = others.get(file, {})
    declared = {
        "type": _last(options, "Type", "Volume"),
        "device": _last(options, "Device", "Volume"),
        "o": _last(options, "Options", "Volume"),
    }
    named = replace(
        mount,
        volume=name_of(file, others) or None,
        driver=_last(options, "Driver", "Volume") or mount.driver,
    )
    if export := nfs_export(declared):
        return replace(named, driver="nfs", shared_as=export, is_remote=True)
    if declared["type"] == "tmpfs":
        return replace(named, type="tmpfs", volume=None)
    is_bound = declared["type"] in {"bind", "none"} or "bind" in declared["o"].split(",")
    if is_bound and declared["device"].startswith("/"):
        return replace(named, type="bind", source=declared["device"], volume=None)
    return named
