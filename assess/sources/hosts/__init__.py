"""Hosts without an orchestrator: their systems, packages and units, from any tool."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from functools import cache, lru_cache
from typing import Any

from assess.sources.base import Batch, Names, Row, Rows
from assess.sources.csv_records import rows, vocabulary
from assess.sources.docker.engine import to_os
from assess.sources.joining.hosts import is_local, service_of
from assess.sources.listing import names_of
from assess.sources.unit import runs_as_root
from assess.sources.values import Texts, Words, cell, moment, text

UNIT = "unit"
UNIT_CONFIDENCE = 0.5
HOSTNAME_CONFIDENCE = 0.3
_SYSTEMS = vocabulary("hosts", "systems")
# Engines by the unit that runs them: a static binary or a snap has no package.
_ENGINE_UNITS = vocabulary("hosts", "units of engines")
_VERSION = re.compile(r"(?:\d+:)?v?(\d[\d.]*\d(?:\+dfsg\d*)?|\d+)(?:[~.-](ce|ee)\b)?")
_INSTANCE = re.compile(r"@(\d.*)?$")


@dataclass(frozen=True)
class SystemUnit:
    """One unit of an init system, running or failed."""

    name: str  # whole, such as ``worker@2.service``
    state: str
    manager: str = "systemd"
    user: str = ""  # that it is declared to run as

    @property
    def stem(self) -> str:
        """Name without its type."""
        return self.name.removesuffix(".service")

    @property
    def service(self) -> str:
        """Name of the service: ``worker`` for ``worker@2``, and app-shop for ``app@shop``."""
        return _INSTANCE.sub("", self.stem).replace("@", "-") or self.stem


@dataclass
class Package:
    """One installed package."""

    version: str
    manager: str  # apt, rpm …


@dataclass
class PlainHost:
    """Facts of one host; None for tables that were not listed."""

    name: str  # as the inventory, or the directory, has it
    place: str  # where it was read, to tell hosts of one name apart
    facts: Row = field(default_factory=dict)  # columns of the hosts frame
    cloud_id: str = ""  # id of the instance
    settings: Row = field(default_factory=dict)  # columns of the engines frame
    marks: Words = ()  # machine id, serial, address; empty where unknown
    units: list[SystemUnit] | None = None
    packages: dict[str, Package] | None = None  # those `is_of_interest`
    # file systems: path, type, size, read-only; empty where not listed, as every host has one
    mounted: Rows = field(default_factory=list)
    host_id: str = ""
    is_template: bool = False  # only a pattern for others


def to_batch(hosts: list[PlainHost]) -> Batch:
    """Return the rows of hosts, their engines, and the services that run beside them."""
    tell_apart(hosts)
    batch = Batch()
    for host in hosts:
        row = {"host_id": host.host_id, **host.facts, "source_ref": host.place}
        _, seccomp = _engine_parts(host).get("libseccomp", ("", None))
        row["libseccomp_version"] = seccomp
        batch.add("hosts", row)
        batch.add("engines", *to_engines(host))
        for unit in host.units or ():
            if not is_of_distribution(unit.stem):
                batch.add("workloads", to_workload(host, unit))
                batch.add("services", to_service(host, unit))
                batch.add("mounts", *to_mounts(host, unit))
    return batch


def tell_apart(hosts: list[PlainHost]) -> None:
    """Set the id of every host: its cloud id, its name, or its name with the place of reading."""
    # Seven hosts called ``localhost`` stay seven.
    often = Counter(host.name for host in hosts)
    taken: Counter[str] = Counter()
    for host in hosts:
        is_plain = often[host.name] == 1 and not is_local(host.name)
        wanted = host.cloud_id or (host.name if is_plain else f"{host.name}@{host.place}")
        taken[wanted] += 1
        host.host_id = f"{wanted}~{n}" if (n := taken[wanted]) > 1 else wanted


def unit_names(host: PlainHost, unit: SystemUnit) -> Names:
    """Return the names of the service of a unit; that of its host is last and weakest."""
    guess = service_of(host.name) or service_of(text(host.facts, "hostname"))
    return names_of(
        (unit.service, UNIT, UNIT_CONFIDENCE), (guess, "hostname", HOSTNAME_CONFIDENCE)
    )


def to_workload(host: PlainHost, unit: SystemUnit) -> Row:
    """Return the row of the workloads frame of one unit."""
    return {
        "names": unit_names(host, unit),
        "workload_id": f"{host.host_id}/{unit.name}",
        "host_id": host.host_id,
        "name": unit.stem,
        "source_kind": UNIT,
        "state": unit.state,
        "user_root": False if runs_as_root(unit.user) is False else None,
        "inspect_status": "list",
        "source_ref": f"{unit.manager} unit {unit.name}",
    }


def to_service(host: PlainHost, unit: SystemUnit) -> Row:
    """Return the row of the service of a unit; for a known store, with its kind."""
    row: Row = {
        "names": unit_names(host, unit),
        "name": unit.service,
        "platform": "host",
        "source_ref": f"unit {unit.name} on {host.host_id}",
    }
    stores = stores_of(unit)
    if not stores:
        return row
    row["kind"] = stores[0]["kind"]
    row["stateful"] = stores[0]["stateful"] == "true" or None
    of_store = any_of(store["package"] for store in stores if store["package"])
    packages = host.packages or {}
    for name in sorted(filter(of_store.fullmatch, packages))[:1]:
        row["source_ref"] += f", package {name} {packages[name].version}"
    return row


def stores_of(unit: SystemUnit) -> list[Texts]:
    """List the rows of the vocabulary of stores for a unit: one per data directory."""
    stores = [
        store
        for store, pattern in _by_pattern("hosts/store_units", "unit")
        if pattern.fullmatch(unit.stem)
    ]
    return [store for store in stores if store["unit"] == stores[0]["unit"]]


def to_mounts(host: PlainHost, unit: SystemUnit) -> Rows:
    """Return the mounts: file systems of their own that hold the data of a store."""
    paths = [path for store in stores_of(unit) if (path := store["data_path"])]
    return [
        {
            "workload_id": f"{host.host_id}/{unit.name}",
            "destination": disk["path"],
            "type": disk.get("type"),
            "source_class": "host-path",
            "read_only": disk.get("read_only"),
            "size_bytes": disk.get("size"),
            "data_like": bool(host.mounted) or None,
        }
        # of a host whose file systems nobody listed, each directory may be one
        for disk in host.mounted or [{"path": path} for path in paths]
        if any(_holds(disk["path"], path) for path in paths)
    ]


def _holds(mounted: str, path: str) -> bool:
    """Return whether a file system holds a data directory, or a part of it."""
    # No more than one directory above: /var holds much else.
    is_near = mounted.count("/") > 2 and path.startswith(f"{mounted}/")
    return mounted == path or mounted.startswith(f"{path}/") or is_near


def to_engines(host: PlainHost) -> Rows:
    """Return the installed engines; runtime none where packages were read and show none."""
    parts = _engine_parts(host)
    running = {unit.stem for unit in host.units or [] if unit.state == "running"}
    for unit, part in _ENGINE_UNITS.items():
        if unit in running:
            parts.setdefault(part, ("", None))
    beneath = {
        f"{part.replace('-', '_')}_version": parts.get(part, ("", None))[1]
        for part in ("containerd", "runc", "kubelet", "ecs-agent")
    }
    beneath["kubelet_flags"] = host.settings.get("kubelet_flags")
    runtimes: list[str] = [p for p in ("docker", "podman", "cri-o") if p in parts]
    if not runtimes and "containerd" in parts:
        runtimes = ["containerd"]
    engines: Rows = [
        {
            "runtime": part,
            "version": parts[part][1],
            "distro_package": parts[part][0] or None,
            **beneath,
        }
        for part in runtimes
    ]
    if not engines and host.packages is not None:
        engines = [{"runtime": "none"}]
    where = {"host_id": host.host_id, "source_ref": host.place}
    for engine in engines:
        if engine["runtime"] == "docker":
            engine["daemon_flags"] = host.settings.get("daemon_flags")
    return [engine | where for engine in engines]


def _engine_parts(host: PlainHost) -> dict[str, tuple[str, str | None]]:
    parts: dict[str, tuple[str, str | None]] = {}
    for known, pattern in _by_pattern("hosts/engine_packages", "package"):
        for name, package in (host.packages or {}).items():
            if pattern.fullmatch(name) and known["manager"] in ("", package.manager):
                parts.setdefault(known["part"], (name, upstream(package.version)))
    return parts


def upstream(version: str) -> str | None:
    """Return the version of the software in a package: without epoch and revision."""
    match = _VERSION.match(version.strip())
    return "-".join(part for part in match.groups() if part) if match else None


def system_of(name: Any, version: Any, release: Any = None) -> Row:
    """Name an operating system as the reference facts do."""
    written = cell(name)
    number = cell(version)
    if match := re.search(r"\d+(\.\d+)*", number):  # CentOS Linux release 7.9.2009 (Core)
        number = match[0]
    if not written:
        return {}
    known = _SYSTEMS.get(written.lower(), written)
    if written.lower() == "centos" and "stream" in str(release).lower():
        known = "centos stream"
    os_name, line = to_os(known, number)
    minor = ".".join(number.split(".")[:2])  # 8.6 of line 8
    is_known = line and number.startswith(line) and number != line
    return {"os_name": os_name, "os_version": minor if is_known else line}


def seen(gathered_at: Any, file_time: float | None = None) -> Row:
    """Return when the facts were gathered, and their age: by themselves, else by their file."""
    # Clocks may be wrong: a time in 1628 or in the future is ignored.
    if isinstance(gathered_at, str) and re.fullmatch(r"\d{9,11}", gathered_at):
        gathered_at = int(gathered_at)
    now = datetime.now(UTC)
    for value in (gathered_at, file_time):
        when = moment(value)
        if when and when <= now + timedelta(days=1):
            age = max(0.0, (now - when).total_seconds() / 3600)
            return {"last_seen_at": when, "facts_age_hours": round(age, 2)}
    return {}


def filled(**columns: Any) -> Row:
    """Return the columns that are known."""
    return {name: value for name, value in columns.items() if value not in (None, "")}


@lru_cache(maxsize=1 << 16)
def is_of_distribution(unit: str) -> bool:
    """Return whether a unit belongs to the distribution, an engine or an agent."""
    return _known("pattern", "distribution_units").fullmatch(unit) is not None


@lru_cache(maxsize=1 << 16)  # hosts have their packages in common
def is_of_interest(package: str) -> bool:
    """Return whether a package is an engine's or a store's; the others are not kept."""
    known = _known("package", "engine_packages", "store_units")
    return known.fullmatch(package) is not None


@cache
def _known(column: str, *names: str) -> re.Pattern[str]:
    """Compile a column of vocabularies into one expression."""
    cells = (row[column] for name in names for row in rows(f"hosts/{name}"))
    return any_of(filter(None, cells))


@cache
def _by_pattern(name: str, column: str) -> list[tuple[Texts, re.Pattern[str]]]:
    return [(row, any_of([row[column]])) for row in rows(name)]


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Compile shell patterns into one expression; ``*`` matches anything."""
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)
