"""Task definitions of ECS: what they tell of containers, without any value that may be secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from assess.sources.addresses import Address, addresses
from assess.sources.base import Row
from assess.sources.docker.mounts import to_mounts
from assess.sources.docker.payload import Payload, texts
from assess.sources.dumps import dicts, dig
from assess.sources.redact import keep_env, keep_labels

MIB = 2**20
SOCKETS = ("docker.sock", "podman.sock")
SOCKET_DIRS = ("/", "/run", "/var/run")
_SHARED_FILES = {
    "efsVolumeConfiguration": ("efs", "fileSystemId"),
    "fsxWindowsFileServerVolumeConfiguration": ("fsx", "fileSystemId"),
    "s3filesVolumeConfiguration": ("s3files", "fileSystemArn"),
}
SHARED_DRIVERS = tuple(driver for driver, _ in _SHARED_FILES.values())
_ARN = re.compile(
    r"arn:[\w-]*:(?P<service>[\w-]*):(?P<region>[\w-]*):(?P<account>\d*):(?P<rest>.+)"
)


def parts_of(arn: Any) -> dict[str, str]:
    """Take an ARN apart: service, region, account, rest; empty texts where it is none."""
    found = _ARN.fullmatch(arn) if isinstance(arn, str) else None
    return (
        found.groupdict()
        if found
        else dict.fromkeys(("service", "region", "account"), "")
        | {"rest": arn if isinstance(arn, str) else ""}
    )


def last_of(arn: Any) -> str:
    """Give the last part of an ARN, which is the name or id itself."""
    return parts_of(arn)["rest"].rpartition("/")[2]


def text_of(value: Any) -> str:
    """Give a text; empty for anything else."""
    return value if isinstance(value, str) else ""


def count_of(value: Any) -> int | None:
    """Read a whole number that is not negative, or a text of one; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    is_count = (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    )
    return value if is_count else None


@dataclass(frozen=True)
class Definition:
    """One task definition, redacted."""

    family: str
    version: str  # ``family:revision``
    main: str  # name of the first essential container, for which the others are there
    columns: Row  # of the workloads frame, all but what a task tells
    labels: dict[str, str]  # of the main container, those that may pass
    naming: dict[str, str]  # variables that name the service
    env_names: frozenset[str]
    secret_like_n: int
    mounts: tuple[Row, ...]  # without the workload
    health_checked: bool
    needs: tuple[tuple[str, str, str], ...]  # container, evidence, condition
    addresses: tuple[tuple[str, Address], ...]
    redacted_n: int


def to_definition(raw: Payload) -> Definition:
    """Read a task definition; of secrets only names pass, of addresses only hosts and ports."""
    containers = list(dicts(raw.get("containerDefinitions")))
    essential = (c for c in containers if c.get("essential") is not False)
    main = next(essential, containers[0] if containers else {})
    env = environment_of(main)
    kept, labels = keep_env(env), keep_labels(main.get("dockerLabels"))[0]
    secrets = {text_of(s.get("name")) for s in dicts(main.get("secrets"))}
    family = text_of(raw.get("family"))
    revision = count_of(raw.get("revision"))
    volumes = {text_of(v.get("name")): v for v in dicts(raw.get("volumes"))}
    found: dict[str, Row] = {}
    for container in [main, *(c for c in containers if c is not main)]:
        for mount in to_mounts("", list(_mounts(container, volumes))):
            found.setdefault(mount["destination"], _with_class(mount))
    return Definition(
        family=family,
        version=family if revision is None else f"{family}:{revision}",
        main=text_of(main.get("name")),
        columns=_columns(raw, containers, main),
        labels=labels,
        naming=kept["naming"],
        env_names=frozenset(kept["names"]) | (secrets - {""}),
        secret_like_n=kept["secret_like"],
        mounts=tuple(found.values()),
        health_checked=any(map(_is_checked, containers)),
        needs=tuple(_needs(containers, text_of(main.get("name")))),
        addresses=tuple(a for c in containers for a in addresses(environment_of(c))),
        redacted_n=sum(_withheld(c) for c in containers) - len(kept["naming"]),
    )


def environment_of(container: Payload) -> dict[str, str]:
    """Give names and values of an environment, for use inside the source only."""
    pairs = dicts(container.get("environment"))
    return {
        text_of(p["name"]): text_of(p.get("value"))
        for p in pairs
        if text_of(p.get("name"))
    }


def withheld_of_overrides(overrides: Any) -> int:
    """Count the values that the overrides of a task hold: variables and arguments."""
    return sum(
        len(environment_of(o))
        + len(texts(o.get("command")))
        + len(_list(o, "environmentFiles"))
        for o in dicts(dig(overrides, "containerOverrides"))
    )


def _list(payload: Payload, key: str) -> list[Any]:
    value = payload.get(key)
    return value if isinstance(value, list) else []


def _withheld(container: Payload) -> int:
    """Count what of a container does not pass."""
    options = dig(container, "logConfiguration", "options")
    lists = ("command", "entryPoint", "environmentFiles", "secrets")
    listed = sum(len(_list(container, key)) for key in lists)
    listed += len(_list(dig(container, "logConfiguration") or {}, "secretOptions"))
    checked = dig(container, "healthCheck", "command")
    return (
        len(environment_of(container))
        + listed
        + (len(options) if isinstance(options, dict) else 0)
        + (len(checked) - 1 if isinstance(checked, list) and checked else 0)
        + bool(container.get("repositoryCredentials"))
        + keep_labels(container.get("dockerLabels"))[1]
    )


def _columns(raw: Payload, containers: list[Payload], main: Payload) -> Row:
    """Columns of the workloads frame; what raises the risk counts of any container of the task."""
    limits = [count_of(main.get("memory")), count_of(raw.get("memory"))]
    memory = next((limit for limit in limits if limit), None)
    cpu = count_of(raw.get("cpu"))
    added = [texts(dig(c, "linuxParameters", "capabilities", "add")) for c in containers]
    sources = [text_of(dig(v, "host", "sourcePath")) for v in dicts(raw.get("volumes"))]
    restarts = dig(main, "restartPolicy", "enabled")
    user = text_of(main.get("user")).partition(":")[0]
    return {
        "image_ref": text_of(main.get("image")) or None,
        "restart_policy": ("always" if restarts else "no")
        if isinstance(restarts, bool)
        else None,
        "privileged": any(c.get("privileged") is True for c in containers),
        "host_network": raw.get("networkMode") == "host",
        "host_pid": raw.get("pidMode") == "host",
        "docker_sock_mounted": any(map(_is_socket, sources)),
        "readonly_root": main.get("readonlyRootFilesystem") is True,
        "user_root": user in ("0", "root") if user else None,  # else the image decides
        "caps_added_n": len({cap for caps in added for cap in caps}),
        "memory_limit_bytes": memory * MIB if memory else None,
        "memory_unlimited": memory is None,
        "cpu_limit": cpu / 1024
        if cpu
        else None,  # that of a container is a share, no limit
        "log_driver": text_of(dig(main, "logConfiguration", "logDriver")) or None,
        "stop_timeout_s": count_of(main.get("stopTimeout")),
        "ports": ports_text(dicts(main.get("portMappings"))),
    }


def _is_socket(source: str) -> bool:
    return source != "" and (
        (source.rstrip("/") or "/") in SOCKET_DIRS or source.endswith(SOCKETS)
    )


def _is_checked(container: Payload) -> bool:
    command = texts(dig(container, "healthCheck", "command"))
    return bool(command) and command[0] != "NONE"


def ports_text(bindings: Iterable[Payload]) -> str | None:
    """Give ``8080->80/tcp`` for ports of the host and ``80/tcp`` for others, joined."""
    found = set()
    for binding in bindings:
        inside, outside = (
            count_of(binding.get("containerPort")),
            count_of(binding.get("hostPort")),
        )
        if inside:
            port = f"{inside}/{text_of(binding.get('protocol')) or 'tcp'}"
            found.add(f"{outside}->{port}" if outside else port)
    return ";".join(sorted(found)) or None


def _mounts(container: Payload, volumes: dict[str, Payload]) -> Iterator[Payload]:
    """Give the mounts of a container in the form of an engine's payload."""
    for point in dicts(container.get("mountPoints")):
        volume = volumes.get(text_of(point.get("sourceVolume")), {})
        yield {
            **_source(volume),
            "Destination": text_of(point.get("containerPath")),
            "RW": point.get("readOnly") is not True,
        }
    for tmpfs in dicts(dig(container, "linuxParameters", "tmpfs")):
        yield {
            "Type": "tmpfs",
            "Destination": text_of(tmpfs.get("containerPath")),
            "RW": True,
        }


def _source(volume: Payload) -> Payload:
    """Say what is behind a volume; a name only for what outlives the task."""
    for key, (shared, identity) in _SHARED_FILES.items():
        if isinstance(volume.get(key), dict):
            name = last_of(dig(volume, key, identity)) or text_of(volume.get("name"))
            return {"Type": "volume", "Name": name, "Driver": shared}
    if volume.get("configuredAtLaunch") is True:
        return {"Type": "volume", "Name": text_of(volume.get("name")), "Driver": "ebs"}
    if path := text_of(dig(volume, "host", "sourcePath")):
        return {"Type": "bind", "Source": path}
    docker = dig(volume, "dockerVolumeConfiguration")
    driver = text_of(dig(docker, "driver")) or None
    if dig(docker, "scope") == "shared":
        return {"Type": "volume", "Name": text_of(volume.get("name")), "Driver": driver}
    return {"Type": "volume", "Driver": driver}


def _with_class(mount: Row) -> Row:
    """Mend the class of a volume that has no name, for it ends with the task."""
    if mount["type"] == "volume" and not mount["volume_name"]:
        return mount | {"source_class": "anonymous-volume"}
    return mount


def _needs(containers: list[Payload], main: str) -> Iterator[tuple[str, str, str]]:
    """Give the containers that start first, by ``dependsOn`` and ``links``, beside the main one."""
    for container in containers:
        for need in dicts(container.get("dependsOn")):
            name = text_of(need.get("containerName"))
            if name not in ("", main):
                yield name, "ecs-depends-on", text_of(need.get("condition"))
        for link in texts(container.get("links")):
            name = link.partition(":")[0]
            if name not in ("", main):
                yield name, "ecs-link", ""
