"""Tables of plain hosts and of their Docker engines, as ``osqueryi --json`` writes them."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from assess.sources.base import Asked, Batch, Lists, Row, Rows, Source, paths_of
from assess.sources.csv_records import rows, vocabulary
from assess.sources.docker.payload import EngineData
from assess.sources.docker.payload import short as short_id
from assess.sources.docker.rows import to_batch as to_docker_batch
from assess.sources.dumps import cover_others, files_below, read_json
from assess.sources.failure import HINTS
from assess.sources.hosts import (
    Package,
    PlainHost,
    SystemUnit,
    filled,
    is_of_interest,
    seen,
    system_of,
    to_batch,
)
from assess.sources.listing import lose
from assess.sources.settings import of_command
from assess.sources.values import (
    as_list,
    cell,
    dicts,
    dig,
    first_known,
    joined,
    leaf,
    picked,
    text,
    whole,
)

Files = dict[str, Path]  # of a host, by table
# Of each: columns without which a row says nothing, and those of whole numbers.
TABLES = {row["table"]: row for row in rows("hosts/osquery_tables")}
# never read: commands and environments of containers, proxies
WITHHELD = vocabulary("hosts", "withheld columns")
MAY_BE_EMPTY = "osquery shows an empty table where it may not look: run it as root"
_STATES = {"active/running": "running", "failed/failed": "failed"}
_PSEUDO = vocabulary("hosts", "pseudo file systems")  # without data of their own

# Columns of engines, by the program on whose command line their settings stand.
_SETTINGS = {"dockerd": "daemon_flags", "kubelet": "kubelet_flags"}

Tables = Lists


class OsquerySource(Source):
    """Reads results of osquery, in a directory per host."""

    type = "osquery"

    def fill(self, asked: Asked) -> None:
        """Read the tables of all hosts."""
        batch = asked.batch
        found = []
        for path in paths_of(asked.options):
            for directory, files in _directories(path, asked).items():
                scope = str(Path(path) / directory.relative_to(asked.base / path))
                if not asked.deadline.left:
                    batch.cover(scope, "read", "timeout", hint=HINTS["timeout"])
                    break
                tables, written = read_tables(files, scope, batch)
                name = directory.name or directory.resolve().name
                host = to_host(tables, name, str(Path(scope).parent), written)
                found.append((host, tables))
        batch.merge(to_batch([host for host, _ in found]))
        for host, tables in found:
            batch.merge(to_engine_batch(tables, host))


def _directories(path: str, asked: Asked) -> dict[Path, Files]:
    """Find the directories of hosts, each with its tables; without any there is a coverage row."""
    directories: dict[Path, Files] = defaultdict(dict)
    names = {f"{table}.json" for table in TABLES}
    with asked.batch.call(path, "read") as call:
        for _, file in files_below(path, asked, lambda file: file.name in names) or ():
            directories[file.parent][file.stem] = file
        cover_others(path, asked, TABLES, names)
        hint = "there is no such directory, or no <table>.json in it, such as os_version.json"
        call.status("unreachable", hint)
    if directories:
        asked.batch.coverage.remove(call.row)
    return directories


def read_tables(files: Files, scope: str, batch: Batch) -> tuple[Tables, float | None]:
    """Read the tables of one host, and when the newest of them was written."""
    tables = Tables()
    written = []
    for table in TABLES:
        file = files.get(table)
        if not file:
            if TABLES[table]["wanted"]:
                hint = f"no dump of it: osqueryi --json 'select * from {table}' > {table}.json"
                batch.cover(scope, table, "not_configured", hint=hint)
            continue
        with batch.call(scope, table, empty=MAY_BE_EMPTY) as call:
            read = read_json(file, call.row)
            # the log of a scheduled query has all rows in one
            found = [first_known(dig(value, "snapshot"), [value]) for value in read]
            values = [row for value in found for row in as_list(value)]
            lost = lost_of(table, values) + strays_of(table, values, tables)
            lose(call, lost + misread_of(table, values))
            call.note(expected=len(values))
            rows = call.take(dicts(values))
            call.count(redacted_n=sum(bool(r.get(w)) for r in rows for w in WITHHELD))
            # Where nothing, or only the end, is lost.
            if call.outcome in ("timeout", "partial"):
                written.append(file.stat().st_mtime)
                tables[table] = rows
            if call.is_open and 0 < len(lost) < len(values):
                call.status("partial")
    return tables, max(written, default=None)


def lost_of(table: str, values: list[Any]) -> list[str]:
    """List the rows of a table that are not objects, or lack a needed value."""
    keys = TABLES[table]["needed"].split()
    lost = []
    for n, row in enumerate(values):
        missing = [key for key in keys if not cell(row, key)]
        if not isinstance(row, dict) or not row:
            lost.append(f"{table}[{n}] is no row")
        elif missing:
            lost.append(f"{table}[{n}] has no {missing[0]}")
    return lost


def strays_of(table: str, values: list[Any], tables: Tables) -> list[str]:
    """List the rows about a container that the table of containers does not have."""
    if not table.startswith("docker_container_") or "docker_containers" not in tables:
        return []
    listed = {cell(container, "id") for container in tables["docker_containers"]}
    return [
        f"{table}[{n}] is of no listed container"
        for n, row in enumerate(values)
        if (of := cell(row, "id")) and of not in listed
    ]


def misread_of(table: str, values: list[Any]) -> list[str]:
    """List the cells that should be whole numbers and are not; their rows stay."""
    return [
        f"{table}[{n}].{column} is no number"
        for n, row in enumerate(values)
        for column in TABLES[table]["whole"].split()
        if dig(row, column) not in (None, "") and whole(row, column) is None
    ]


def to_host(tables: Tables, name: str, place: str, written: float | None) -> PlainHost:
    """Return one host from its tables, whose values are all text."""
    release = dig(tables, "os_version", 0) or {}
    return PlainHost(
        name=name,
        place=place,
        facts=filled(
            **picked(tables, "osquery host"),
            **system_of(release.get("name"), release.get("version")),
            **seen(written),
        ),
        cloud_id=cell(tables, "ec2_instance_metadata", 0, "instance_id"),
        settings=to_settings(tables),
        units=to_units(tables),
        packages=to_packages(tables),
        mounted=to_mounted(tables),
    )


def to_settings(tables: Tables) -> Row:
    """Return the settings on the command lines of the engine and the kubelet, by column."""
    # A host shows the processes in its containers too: of two engines, what both set counts.
    found: dict[str, set[str]] = {}
    for row in tables.get("daemons", ()):
        program, *names = (of_command(text(row, "cmdline")) or "=").split(";")
        column = _SETTINGS.get(program.partition("=")[2])
        if column:
            found[column] = found.get(column, set(names)) & set(names)
    return {column: joined(sorted(names)) for column, names in found.items()}


def to_units(tables: Tables) -> list[SystemUnit] | None:
    """List the units that run or failed; None where the table was not read, or is empty."""
    units = []
    for unit in tables.get("systemd_units", []):
        name = cell(unit, "id")
        state = _STATES.get(f"{unit.get('active_state')}/{unit.get('sub_state')}")
        if state and name.endswith(".service"):
            units.append(SystemUnit(name, state, user=cell(unit, "user")))
    return units if tables.get("systemd_units") else None


def to_packages(tables: Tables) -> dict[str, Package] | None:
    """Return the installed packages; None where no table lists any."""
    packages = {}
    listed_n = 0
    for table, manager in (("deb_packages", "apt"), ("rpm_packages", "rpm")):
        for package in tables.get(table, []):
            name = cell(package, "name")
            listed_n += bool(name)
            if is_of_interest(name):
                packages[name] = Package(cell(package, "version"), manager)
    return packages if listed_n else None


def to_mounted(tables: Tables) -> Rows:
    """Return the file systems on disks."""
    return [
        named | {"size": _used(disk), "read_only": _is_read_only(disk)}
        for disk in tables.get("mounts", [])
        if (named := picked(disk, "osquery disk"))["path"]
        and named["type"] not in _PSEUDO
    ]


def _is_read_only(disk: Row) -> bool | None:
    """Return whether a file system is mounted read-only; None where no flag says it."""
    named = {"ro", "rw"}.intersection(cell(disk, "flags").split(","))
    return named == {"ro"} if named else None


def _used(disk: Row) -> int | None:
    blocks = whole(disk, "blocks")
    free = whole(disk, "blocks_free")
    size = whole(disk, "blocks_size")
    if blocks is None or free is None or not size:
        return None
    return max(0, blocks - free) * size


def to_engine_batch(tables: Tables, host: PlainHost) -> Batch:
    """Turn Docker's tables into rows, through the payloads of Docker's own API."""
    data = EngineData()
    if version := dig(tables, "docker_version", 0):
        data.take("version", picked(version, "osquery version"))
    if info := dig(tables, "docker_info", 0):
        data.take("info", picked(info, "osquery info"))
    # An empty table is no list where nothing else shows an engine.
    if "docker_containers" in tables and (data.version or tables["docker_containers"]):
        data.take("containers", to_containers(tables))
    if images := tables.get("docker_images"):
        data.take("images", [to_image(image) for image in images])
    if not (data.version or data.info or data.containers):
        return Batch()
    batch = to_docker_batch(data, host.host_id)
    batch.rows.pop("hosts", None)
    listed = {short_id(c, "id"): c for c in tables.get("docker_containers", [])}
    for workload in batch.rows["workloads"]:
        container = listed.get(leaf(workload, "workload_id"), {})
        workload.update(picked(container, "osquery rights"))
    return batch.at(host.place)


def to_containers(tables: Tables) -> Rows:
    """Convert containers, with labels, mounts and ports, to the form of the API."""
    labels = _by_container(tables, "docker_container_labels")
    ports = _by_container(tables, "docker_container_ports")
    mounts = _by_container(tables, "docker_container_mounts")
    has_mounts = "docker_container_mounts" in tables
    containers = []
    for row in tables.get("docker_containers", []):
        identifier = cell(row, "id")
        if not identifier:
            continue
        container: Row = {
            **picked(row, "osquery container"),
            "Names": [cell(row, "name")],
            "Labels": {
                cell(label, "key"): str(label.get("value"))
                for label in labels[identifier]
            },
            "Ports": [picked(port, "osquery port") for port in ports[identifier]],
        }
        if has_mounts:
            container["Mounts"] = [picked(m, "osquery mount") for m in mounts[identifier]]
        containers.append(container)
    return containers


def _by_container(tables: Tables, table: str) -> Lists:
    by_id: Lists = defaultdict(list)
    for row in tables.get(table, []):
        by_id[cell(row, "id")].append(row)
    return by_id


def to_image(row: Row) -> Row:
    """Convert an image to the form of the API."""
    tags = [tag for tag in cell(row, "tags").split(",") if tag]
    return picked(row, "osquery image") | {"RepoTags": tags}
