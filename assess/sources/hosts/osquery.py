"""Tables of plain hosts and of their Docker engines, as ``osqueryi --json`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assess.sources.base import (
    HINTS,
    Batch,
    Deadline,
    Row,
    Source,
    file_failure,
    paths_of,
)
from assess.sources.docker.payload import EngineData
from assess.sources.docker.payload import short as short_id
from assess.sources.docker.rows import to_batch as to_docker_batch
from assess.sources.dumps import files_below, read_json
from assess.sources.hosts.rows import (
    Package,
    PlainHost,
    SystemUnit,
    count_of,
    is_of_interest,
    now_utc,
    seen,
    system_of,
    tell_apart,
    text_of,
    to_batch,
)
from assess.sources.values import dicts

TABLES = (
    "os_version",
    "kernel_info",
    "system_info",
    "deb_packages",
    "rpm_packages",
    "systemd_units",
    "mounts",
    "ec2_instance_metadata",
    "docker_version",
    "docker_info",
    "docker_containers",
    "docker_container_labels",
    "docker_container_mounts",
    "docker_container_ports",
    "docker_images",
)
WANTED = ("os_version", "kernel_info", "system_info", "systemd_units")
# never read: commands and environments of containers, proxies
WITHHELD = ("command", "config_entrypoint", "env_variables", "http_proxy", "https_proxy")
MAY_BE_EMPTY = "osquery shows an empty table where it may not look: run it as root"
_STATES = {"active/running": "running", "failed/failed": "failed"}
_PSEUDO = (
    "proc",
    "sysfs",
    "tmpfs",
    "devtmpfs",
    "cgroup",
    "cgroup2",
    "overlay",
    "squashfs",
)

_OF_MOUNTS = ("type", "name", "source", "destination", "driver")

Table = list[Row]
Tables = dict[str, Table]


class OsquerySource(Source):
    """Reads results of osquery, in a directory per host."""

    type = "osquery"
    options: tuple[str, ...] = ("path",)
    fills: tuple[str, ...] = (
        "hosts",
        "engines",
        "services",
        "workloads",
        "mounts",
        "images",
        "dependencies",
    )
    needs = "read access to the files; osquery ran as root, or Docker's tables are empty"
    dump = (
        "for t in os_version kernel_info system_info systemd_units deb_packages rpm_packages "
        "mounts docker_version docker_info docker_containers docker_container_labels "
        'docker_container_mounts docker_images; do osqueryi --json "select * from $t" > '
        "$HOST/$t.json; done"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        return [] if paths_of(options) else ["path names no directory"]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the tables of all hosts."""
        batch = Batch()
        hosts: list[tuple[PlainHost, Tables]] = []
        for path in paths_of(options):
            for directory in _directories(path, base, batch):
                scope = str(Path(path) / directory.relative_to(base / path))
                if not deadline.left:
                    batch.cover(scope, "read", "timeout", hint=HINTS["timeout"])
                    break
                tables, written = read_tables(directory, scope, batch)
                name = directory.name or directory.resolve().name
                host = to_host(tables, name, str(Path(scope).parent), written)
                hosts.append((host, tables))
        tell_apart(host for host, _ in hosts)
        batch.merge(to_batch([host for host, _ in hosts]))
        for host, tables in hosts:
            batch.merge(to_engine_batch(tables, host))
        return batch


def _directories(path: str, base: Path, batch: Batch) -> list[Path]:
    """List the directories of hosts below a path; without any there is a coverage row."""
    try:
        directories = find_hosts(base / path)
    except OSError as error:
        batch.cover(path, "read", **file_failure(error))
        return []
    if not (base / path).exists():
        batch.cover(path, "read", "unreachable", hint="there is no such directory")
    elif not directories:
        hint = "it holds no <table>.json, such as os_version.json"
        batch.cover(path, "read", "empty", hint=hint)
    return directories


def find_hosts(place: Path) -> list[Path]:
    """Find the directories of hosts: the place itself, or those below it."""
    known = {f"{table}.json" for table in TABLES}
    files = files_below(place) or ()
    return sorted({file.parent for file in files if file.name in known})


def read_tables(directory: Path, scope: str, batch: Batch) -> tuple[Tables, float | None]:
    """Read the tables of one host, and when the newest of them was written."""
    tables = Tables()
    written: list[float] = []
    for table in TABLES:
        file = directory / f"{table}.json"
        if not file.exists():
            if table in WANTED:
                hint = f"no dump of it: osqueryi --json 'select * from {table}' > {table}.json"
                batch.cover(scope, table, "not_configured", hint=hint)
            continue
        with batch.call(scope, table, empty=MAY_BE_EMPTY) as call:
            values = read_json(file, call.row)
            rows = call.take(list(dicts(values)))
            call.count(redacted_n=sum(bool(r.get(w)) for r in rows for w in WITHHELD))
            if call.outcome in (
                "timeout",
                "partial",
            ):  # nothing, or only its end, is lost
                written.append(file.stat().st_mtime)
                tables[table] = rows
                if len(rows) < len(values):
                    call.status("parse_error", HINTS["parse_error"])
    return tables, max(written, default=None)


def to_host(tables: Tables, name: str, place: str, written: float | None) -> PlainHost:
    """Return one host from its tables, whose values are all text."""
    system, kernel, release, cloud = (
        next(iter(tables.get(table, [])), {})
        for table in ("system_info", "kernel_info", "os_version", "ec2_instance_metadata")
    )
    facts = {
        "hostname": text_of(system.get("hostname")) or None,
        "kernel": text_of(kernel.get("version")) or None,
        "arch": text_of(cloud.get("architecture") or release.get("arch")) or None,
        "vcpus": count_of(system.get("cpu_logical_cores")),
        "memory_bytes": count_of(system.get("physical_memory")),
        "instance_type": text_of(cloud.get("instance_type")) or None,
        "image_ref": text_of(cloud.get("ami_id")) or None,
        "region": text_of(cloud.get("region")) or None,
        "az": text_of(cloud.get("availability_zone")) or None,
        **system_of(release.get("name"), release.get("version")),
    }
    return PlainHost(
        name=name,
        place=place,
        facts={k: v for k, v in facts.items() if v is not None}
        | seen(None, written, now_utc()),
        cloud_id=text_of(cloud.get("instance_id")),
        units=to_units(tables),
        packages=to_packages(tables),
        mounted=to_mounted(tables),
    )


def to_units(tables: Tables) -> list[SystemUnit] | None:
    """List the units that run or failed; None where the table was not read, or is empty."""
    units = []
    for unit in tables.get("systemd_units", []):
        name = text_of(unit.get("id"))
        state = _STATES.get(f"{unit.get('active_state')}/{unit.get('sub_state')}")
        if state and name.endswith(".service"):
            units.append(SystemUnit(name, state, user=text_of(unit.get("user"))))
    return units if tables.get("systemd_units") else None


def to_packages(tables: Tables) -> dict[str, Package] | None:
    """Return the installed packages; None where no table lists any."""
    packages: dict[str, Package] = {}
    listed_n = 0
    for table, manager in (("deb_packages", "apt"), ("rpm_packages", "rpm")):
        for package in tables.get(table, []):
            name = text_of(package.get("name"))
            listed_n += bool(name)
            if is_of_interest(name):
                packages[name] = Package(text_of(package.get("version")), manager)
    return packages if listed_n else None


def to_mounted(tables: Tables) -> list[Row]:
    """Return the file systems on disks."""
    return [
        {
            "path": path,
            "type": text_of(disk.get("type")) or None,
            "size": _used(disk),
            "read_only": "ro" in text_of(disk.get("flags")).split(","),
        }
        for disk in tables.get("mounts", [])
        if (path := text_of(disk.get("path"))) and disk.get("type") not in _PSEUDO
    ]


def _used(disk: Row) -> int | None:
    """Return the bytes in use on a file system."""
    blocks = count_of(disk.get("blocks"))
    free = count_of(disk.get("blocks_free"))
    size = count_of(disk.get("blocks_size"))
    if blocks is None or free is None or not size:
        return None
    return max(0, blocks - free) * size


def to_engine_batch(tables: Tables, host: PlainHost) -> Batch:
    """Turn Docker's tables into rows, through the payloads of Docker's own API."""
    data = EngineData()
    if tables.get("docker_version"):
        data.take("version", to_version(tables["docker_version"][0]))
    if tables.get("docker_info"):
        data.take("info", to_info(tables["docker_info"][0]))
    # An empty table is no list where nothing else shows an engine.
    if "docker_containers" in tables and (data.version or tables["docker_containers"]):
        data.take("containers", to_containers(tables))
    if tables.get("docker_images"):
        data.take("images", [to_image(image) for image in tables["docker_images"]])
    if not (data.version or data.info or data.containers):
        return Batch()
    batch = to_docker_batch(data, host.host_id)
    batch.rows.pop("hosts", None)
    listed = {short_id(c.get("id")): c for c in tables.get("docker_containers", [])}
    for workload in batch.rows["workloads"]:
        container = listed.get(workload["workload_id"].rpartition("/")[2], {})
        workload["privileged"] = _flag(container.get("privileged"))
        workload["readonly_root"] = _flag(container.get("readonly_rootfs"))
    for row in (row for rows in batch.rows.values() for row in rows):
        row["source_ref"] = host.place
    return batch


def to_version(row: Row) -> Row:
    """Convert the version of an engine to the form of its API."""
    return _renamed(
        row,
        Version="version",
        ApiVersion="api_version",
        MinAPIVersion="min_api_version",
        BuildTime="build_time",
        Arch="arch",
        KernelVersion="kernel_version",
    )


def to_info(row: Row) -> Row:
    """Convert the description of an engine to the form of its API, without proxies."""
    counts = {
        "Containers": count_of(row.get("containers")),
        "Images": count_of(row.get("images")),
    }
    return counts | _renamed(
        row,
        Name="name",
        ServerVersion="server_version",
        Driver="storage_driver",
        LoggingDriver="logging_driver",
        CgroupDriver="cgroup_driver",
    )


def _renamed(row: Row, **columns: str) -> Row:
    return {name: text_of(row.get(column)) for name, column in columns.items()}


def to_containers(tables: Tables) -> list[Row]:
    """Convert containers, with labels, mounts and ports, to the form of the API."""
    has_mounts = "docker_container_mounts" in tables
    return [
        {
            **_renamed(
                container,
                Image="image",
                ImageID="image_id",
                State="state",
                Status="status",
            ),
            "Id": identifier,
            "Names": [text_of(container.get("name"))],
            "Created": count_of(container.get("created")),
            "Labels": {
                text_of(label.get("key")): str(label.get("value"))
                for label in _of(tables, "docker_container_labels", identifier)
            },
            "Ports": [
                {
                    "IP": text_of(port.get("host_ip")),
                    "PublicPort": count_of(port.get("host_port")),
                    "PrivatePort": count_of(port.get("port")),
                    "Type": text_of(port.get("type")),
                }
                for port in _of(tables, "docker_container_ports", identifier)
            ],
        }
        | ({"Mounts": _mounts(tables, identifier)} if has_mounts else {})
        for container in tables.get("docker_containers", [])
        if (identifier := text_of(container.get("id")))
    ]


def _mounts(tables: Tables, identifier: str) -> list[Row]:
    return [
        {
            **{n.title(): text_of(mount.get(n)) for n in _OF_MOUNTS},
            "RW": _flag(mount.get("rw")),
        }
        for mount in _of(tables, "docker_container_mounts", identifier)
    ]


def to_image(row: Row) -> Row:
    """Convert an image to the form of the API."""
    tags = [tag for tag in text_of(row.get("tags")).split(",") if tag]
    size, created = count_of(row.get("size_bytes")), count_of(row.get("created"))
    return {
        "Id": text_of(row.get("id")),
        "Created": created,
        "Size": size,
        "RepoTags": tags,
    }


def _of(tables: Tables, table: str, identifier: str) -> Table:
    return [row for row in tables.get(table, []) if row.get("id") == identifier]


def _flag(value: Any) -> bool | None:
    return {"1": True, "0": False, "true": True, "false": False}.get(str(value).lower())
