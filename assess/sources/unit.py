"""Unit: a platform's declaration of a service, and the rows that follow from it.

Each reader of a platform fills a `Unit`; what its fields mean for the frames is decided here, so
the same declaration has the same answer on every platform.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any

from assess import frames, reference
from assess.image_ref import ImageRef, as_declared, last_part, parse_image
from assess.inventory import NO_DATA
from assess.sources.base import Name, Names, Row, Rows
from assess.sources.edges import (
    STORES,
    Mention,
    Text,
    kind_of,
    mentions,
    needs,
    variables,
)
from assess.sources.edges.address import Address, Callee, Siblings
from assess.sources.redact import is_secret, kept_env, scrub, secret_names, tells_secret
from assess.sources.settings import setting_text
from assess.sources.values import Texts, Words, dig, integer, joined, only, text
from assess.sources.volumes import (
    Mount,
    host_path_class,
    is_engine_socket,
    shown_path,
    volume_id,
)


@dataclass(frozen=True)
class Unit:
    """A platform's declaration of a service; None where it declares nothing."""

    names: Names = ()  # best first; none until all of its material is read
    platform: str = ""
    image: str = ""
    # For use inside the sources only: variables, and commands and files that may name others.
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    texts: tuple[Text, ...] = field(default=(), repr=False)
    unread: Words = ()  # what it refers to and nobody read, in words
    config_secrets_n: int = 0  # variables with a secret in plain configuration
    ports: Words = ()  # 8080->80/tcp, or 80/tcp where it is not published
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    memory_limit_bytes: int | None = None
    memory_unlimited: bool | None = None
    cpu_limit: float | None = None
    memory_request_bytes: int | None = None
    cpu_request: float | None = None
    pids_limit: int | None = None
    privileged: bool | None = None
    host_network: bool | None = None
    host_pid: bool | None = None
    host_ipc: bool | None = None
    readonly_root: bool | None = None
    caps_added: Words | None = None
    devices_n: int | None = None  # of the host
    restart_policy: str | None = None
    log_driver: str | None = None
    stop_timeout_s: float | None = None
    kind: str | None = None
    stateful: bool | None = None  # where the platform itself says so
    min_healthy_pct: float | None = None
    health_checked: bool | None = None
    config_external: bool | None = None
    container: str = ""  # its name within the pod, task or group
    role: str | None = None  # main, sidecar or init; None where it is alone
    is_process: bool = False  # of its host, in no container
    asks: Iterable[str | None] = ()  # settings of its platform that it asks for
    proxies: Collection[str] = ()  # that route to it
    beside: tuple[Unit, ...] = ()  # the other containers of the same replica

    @property
    def containers(self) -> tuple[Unit, ...]:
        """All containers of a replica, the main one first."""
        return (self, *self.beside)

    @cached_property
    def image_ref(self) -> ImageRef:
        """Parts of its image."""
        return parse_image(self.image)

    @property
    def image_name(self) -> str:
        """Last part of the repository of its image."""
        return last_part(self.image_ref.repository)

    @property
    def ports_text(self) -> str | None:
        """Ports, joined by semicolons."""
        return joined(sorted(self.ports))

    @property
    def is_opened(self) -> bool | None:
        """Whether a proxy or a port of its machine opens it to others; None where nobody knows."""
        return True if self.proxies or any(map(is_published, self.ports)) else None

    @property
    def kept(self) -> Texts:
        """Variables whose values may reach a row."""
        return kept_env(dict(self.environment))

    @property
    def callee(self) -> Callee:
        """The callee that addresses of this unit lead to."""
        image = self.image_ref.repository or ""
        return Callee(self.names[0], image, on_host=self.host_network is True)

    @property
    def mentions(self) -> list[Mention]:
        """Addresses in the environments, commands and files of all its containers."""
        return [found for part in self.containers for found in mentions(part.all_texts)]

    def needs(self, siblings: Siblings, space: str = "") -> Rows:
        """Return rows for the dependencies that the texts of its containers name."""
        return needs(self.callee, self.mentions, siblings, space=space)

    @property
    def all_texts(self) -> list[Text]:
        """Texts of this container; texts of an init container count as waits."""
        texts = [*variables(dict(self.environment)), *self.texts]
        is_wait = self.role == "init"
        return [replace(text, is_wait=True) for text in texts] if is_wait else texts

    @property
    def inner_names(self) -> tuple[tuple[str | None, str, float], ...]:
        """Candidates for the name of the service from its variables and its image."""
        image = (self.image_name, "image-repository", 0.6)
        return (*telemetry_names(self.kept), image)

    @property
    def commands(self) -> list[str]:
        """Its command lines."""
        return [text.value for text in self.texts if text.basis == "command"]

    @cached_property
    def secret_like_n(self) -> int:
        """Number of variables that hold a secret."""
        return sum(is_secret(*pair) for pair in self.environment) + self.config_secrets_n


def telemetry_names(kept: Texts) -> list[tuple[str | None, str, float]]:
    """Return the names by which a service reports to a telemetry backend, as candidates."""
    variables = ("OTEL_SERVICE_NAME", "DD_SERVICE")
    return [(kept.get(name), "telemetry-env", 0.8) for name in variables]


def is_checked(image: str, declared: bool | None) -> bool | None:
    """Return whether the health of a container is checked: as declared, else by its image."""
    # github.com/docker-library/faq: official images define no check; of others only an
    # engine knows.
    is_bare = declared is None and parse_image(image).is_official
    return False if is_bare else declared


_CAPABILITY = re.compile(r"[A-Z][A-Z_]{1,30}")


@cache
def _fields_of(frame: str) -> list[str]:
    """List the fields of a unit that are columns of a frame."""
    return [f.name for f in fields(Unit) if f.name in frames.columns(frame)]


def workload_row(unit: Unit) -> Row:
    """Return the columns of the workloads frame that a declaration decides."""
    columns = {name: getattr(unit, name) for name in _fields_of("workloads")}
    columns |= _capabilities(unit.caps_added)
    columns["ports"] = unit.ports_text
    image = unit.image_ref
    line = " ".join(unit.commands)
    return frames.row(
        "workloads",
        container_role=unit.role,
        image_ref=as_declared(unit.image),
        **image.columns(),
        # A process sees all of its host.
        docker_sock_mounted=None if unit.is_process else sees_engine_socket(unit.mounts),
        user_root=runs_as_root(unit.user),
        settings=setting_text(line, unit.image_name, dict(unit.environment), unit.asks),
        client_api_version=reference.fixed_api(image.repository, image.tag, unit.kept),
        env_names_n=len(unit.environment),
        secret_like_env_n=unit.secret_like_n,
        secret_env_names=secret_names(unit.environment),
        **columns,
    )


def _capabilities(added: Words | None) -> Row:
    if added is None:
        return {"caps_added_n": None}
    names = sorted({name.upper().removeprefix("CAP_") for name in added})
    is_read = all(map(_CAPABILITY.fullmatch, names))
    joined = ";".join(names) or "none"
    return {"caps_added_n": len(names), "caps_added": joined if is_read else None}


def service_row(unit: Unit, *, is_complete: bool = True) -> Row:
    """Return the row of the services frame; ``is_complete`` means that all mounts are known."""
    stateful = unit.stateful
    if stateful is None:
        found = [
            keeps_data(
                mount_rows(part.mounts),
                part.image_ref.repository,
                part.ports_text,
                is_complete=is_complete,
            )
            for part in unit.containers
            if part.role != "init"
        ]
        stateful = any_of(found, decisive=True)
        # A name of a store leaves it open, unless its image only speaks to one.
        is_tool = reference.is_tool(unit.image_ref.repository)
        is_named = any(reference.is_store_name(name.name) for name in unit.names[:1])
        stateful = None if not stateful and is_named and not is_tool else stateful
    secrets_n = sum(part.secret_like_n for part in unit.containers)
    commands = [line for part in unit.containers for line in part.commands]
    row = frames.row(
        "services",
        logs_exported=ships_logs(unit.log_driver),
        secrets_in_image=secrets_n > 0 or any(map(tells_secret, commands)),
        **{name: getattr(unit, name) for name in _fields_of("services")},
    )
    return row | {"stateful": stateful, "names": unit.names}


def mount_rows(
    mounts: Iterable[Mount],
    workload_id: str = "",
    host: str | None = "",
    cluster: str | None = None,
) -> Rows:
    """Return rows of the mounts frame; `share` removes ``_source``, which finds shared ones."""
    # Local storage is qualified by its host, shared storage by its cluster.
    rows: dict[str, Row] = {}
    for mount in mounts:
        if not mount.target:
            continue
        kind = source_class(mount)
        name = mount.volume if mount.shared_as is None else mount.shared_as
        path = "" if mount.shared_as == "" else mount.source
        place = (cluster or "") if mount.is_remote else host
        source: str | None = name or path
        # An allocation's own directory and scratch space end with their workload.
        if kind in _EPHEMERAL:
            source = ""
        elif source and not mount.is_remote:
            source = None if host is None else f"{source}@{host}"
        row = frames.row(
            "mounts",
            workload_id=workload_id,
            destination=mount.target,
            type=mount.type,
            source_class=kind,
            volume_name=mount.volume,
            driver=mount.driver,
            read_only=None if mount.is_writable is None else not mount.is_writable,
            size_bytes=mount.size_bytes,
            data_like=is_data(kind, mount.target, mount.is_writable),
            **_host_path(mount),
            volume_id=volume_id(kind, name=name, path=path, place=place),
        )
        # one row per target: the key of the frame
        rows.setdefault(mount.target, row | {"_source": source})
    return list(rows.values())


def _host_path(mount: Mount) -> Row:
    """Return the columns of the host path that may be shown; none for a volume."""
    is_path = mount.source and not mount.volume and mount.type not in ("volume", "tmpfs")
    if not is_path or mount.source_class in _EPHEMERAL:
        return {}
    return {
        "host_path_class": host_path_class(mount.source),
        "host_path": shown_path(mount.source),
    }


def share(mounts: Rows, volumes: Rows | None = None) -> None:
    """Count the sharers of each source, and add columns from the engine's list of volumes."""
    by_name = {volume.get("Name"): volume for volume in volumes or []}
    users = Counter(mount["_source"] for mount in mounts)
    for mount in mounts:
        source = mount.pop("_source")
        # On a host that nobody knows it may be anybody's.
        alone = None if source is None else 0
        mount["shared_with_n"] = users[source] - 1 if source else alone
        volume = by_name.get(mount["volume_name"], {})
        mount["driver"] = mount["driver"] or volume.get("Driver")
        mount["volume_id"] = volume.get("export") or mount["volume_id"]
        size = dig(volume, "UsageData", "Size")
        if isinstance(size, int) and size >= 0:
            mount["size_bytes"] = size


def unread_note(units: Iterable[Unit]) -> Row:
    """Return columns of a coverage row about references that were not read."""
    unread = sorted({w for u in units for part in u.containers for w in part.unread})
    if not unread:
        return {}
    hint = f"not read, so the dependencies in it are unknown: {', '.join(unread)}"
    note = {"status": "partial", "unmapped_n": len(unread)}
    return note | {"hint": scrub(hint)}


def merge_services(rows: Rows) -> Rows:
    """Merge the rows of containers that name the same service."""
    # The service is stateful, has secrets, exports logs or serves the web where any
    # container does, and is health-checked where all that declare it are; else one
    # unknown makes it unknown.
    groups: dict[Name, Rows] = {}
    for row in rows:
        groups.setdefault(row["names"][0], []).append(row)
    return [_merged(group) for group in groups.values()]


def _merged(group: Rows) -> Row:
    row = dict(group[0])
    for column, decisive in _DECISIVE.items():
        row[column] = any_of([member.get(column) for member in group], decisive)
    checked = {member["health_checked"] for member in group} - {None}
    row["health_checked"] = all(checked) if checked else None
    platforms = {member["platform"] for member in group}
    row["platform"] = only(platforms) or "mixed"
    # ports make the kind "web", and a store has ports, too
    row["kind"] = row["kind"] if row["stateful"] is False else None
    return row


def any_of(values: list[Any], decisive: Any) -> Any:
    """Return the decisive value if any value is; else None if any is unknown."""
    if decisive in values:
        return decisive
    return None if None in values else values[0]


_DECISIVE = {
    "kind": "web",
    "public": True,
    "stateful": True,
    "logs_exported": True,
    "secrets_in_image": True,
}


def ports_of(
    bindings: Iterable[Row], inside: str = "containerPort", outside: str = "hostPort"
) -> Iterator[str]:
    """Yield ``8080->80/tcp`` for ports of the host, and ``80/tcp`` for others."""
    for binding in bindings:
        inner = integer(binding, inside)
        outer = integer(binding, outside)
        if inner:
            published = f"{outer}->" if outer else ""
            yield f"{published}{inner}/{text(binding, 'protocol').lower() or 'tcp'}"


def port_text(item: Any) -> str:
    """Return a port as ``8080->80/tcp``, or ``80/tcp`` where it is not published; else empty."""
    if isinstance(item, dict):
        target = item.get("target")
        host = item.get("host_ip")
        published = item.get("published")
        protocol = item.get("protocol")
    else:
        body, _, protocol = str(item).partition("/")
        rest, _, target = body.rpartition(":")
        host, _, published = rest.rpartition(":")
    if not target:
        return ""
    address = str(host or "").strip("[]")
    prefix = "" if address in ("", "0.0.0.0", "::") else f"{address}:"
    inner = f"{target}/{protocol or 'tcp'}"
    return f"{prefix}{published}->{inner}" if published else inner


def is_published(port: str) -> bool:
    """Return whether a port is published on an address that other machines reach."""
    outer, arrow, _ = port.rpartition("->")
    return bool(arrow) and not outer.startswith(("127.", "localhost:", "::1:"))


def runs_as_root(user: str) -> bool | None:
    """Return whether ``user`` or ``user:group`` is root; None where the image decides."""
    name = user.partition(":")[0].strip()
    if not name:
        return None
    return name == "root" or not name.strip("0")


def sees_engine_socket(mounts: Iterable[Mount]) -> bool:
    """Return whether a mount leads to the socket of a container engine."""
    # A read-only mount counts, too: the socket still takes requests. A named volume never
    # counts.
    binds = (m for m in mounts if not m.volume and m.source_class not in _EPHEMERAL)
    return any(is_engine_socket(mount.source) for mount in binds)


DATA_PATHS = re.compile(
    r"/(data|var/lib/(?!docker|kubelet)[^/]+|bitnami/[^/]+|opt/couchdb/data|var/opt/mssql"
    r"|usr/share/(elasticsearch|opensearch)/data|var/jenkins_home|prometheus)(/|$)"
    r"|.*/(data|databases?|uploads?|media|storage|attachments|backups?)/?$"  # of an application
    r"|.*\.(sqlite3?|db3?|duckdb|fdb|rdb)$"  # of an embedded database
)
_SCRATCH_PATHS = re.compile(r"/(tmp|run|logs?|\.?cache)(/|$)")  # which may be lost
CONFIG_PATHS = re.compile(
    r"^/(etc|run/secrets|usr/local/etc|usr/share/zoneinfo)(/|$)"
    r"|\.(conf|cfg|ini|ya?ml|toml|json|env|properties|crt|pem|key)$"
)
ANONYMOUS = re.compile(r"[0-9a-f]{64}")  # the name that an engine gives such a volume
_EPHEMERAL = ("alloc-dir", "empty-dir")


def source_class(mount: Mount) -> str:
    """Return the class of a mount's source, in the words of the mounts frame."""
    if mount.source_class:
        return mount.source_class
    if mount.type == "tmpfs":
        return "tmpfs"
    if mount.type == "npipe" or mount.source.rstrip("/").endswith(".sock"):
        return "socket"
    is_config = mount.type == "image" or CONFIG_PATHS.search(mount.target)
    if is_config or (not mount.volume and CONFIG_PATHS.search(mount.source)):
        return "config"
    if mount.volume:
        is_anonymous = ANONYMOUS.fullmatch(mount.volume)
        return "anonymous-volume" if is_anonymous else "named-volume"
    # An engine lists the directory of a volume without a name as its source.
    is_nameless = mount.type == "volume" and not mount.source
    return "anonymous-volume" if is_nameless else "host-path"


def is_data(kind: str, target: str, is_writable: bool | None) -> bool | None:
    """Return whether a mount looks like data of record; None where only a person can say."""
    if kind in NO_DATA or is_writable is False:
        return False
    is_kept = kind == "named-volume" and not _SCRATCH_PATHS.search(target)
    return True if is_writable and (is_kept or DATA_PATHS.match(target)) else None


def keeps_data(
    mounts: Iterable[Mapping[str, Any]],
    repository: str | None,
    ports: str | None,
    *,
    is_complete: bool,
) -> bool | None:
    """Return whether a container keeps data of record."""
    # False only if all mounts are known, and no mount, image or port belongs to a store.
    data = {mount["data_like"] for mount in mounts}
    kept = reference.holds_record(reference.stateful_kind(repository))
    if True in data or kept:
        return True
    if not is_complete or None in data or not repository or kept is None:
        return None
    is_tool = reference.is_tool(repository)
    return False if is_tool or not has_store_port(ports) else None


def has_store_port(ports: str | None) -> bool:
    """Return whether a container listens on a usual port of a store."""
    inner = re.findall(r"(?<!\d)(\d+)(?=[/;]|$)", ports or "")
    return any(kind_of(Address("", int(port))).kind in STORES for port in inner)


# Drivers of an engine that send logs to another host; awsfirelens is that of ECS. The driver
# syslog is none: without an address it writes to the host's own.
_LOG_SHIPPERS = re.compile(
    r"awsfirelens|awslogs|fluentd|gcplogs|gelf|logentries|loki|splunk"
)


def ships_logs(driver: str | None) -> bool | None:
    """Return whether a log driver exports logs; None where a sidecar or agent may do it."""
    return True if _LOG_SHIPPERS.fullmatch(driver or "") else None
