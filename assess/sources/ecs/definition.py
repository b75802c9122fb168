"""Task definitions of ECS: what they declare, without any value that may be secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from assess.sources.addresses import Address, addresses
from assess.sources.docker.payload import Payload
from assess.sources.redact import keep_env, keep_labels
from assess.sources.unit import Mount, Unit
from assess.sources.values import dicts, dig, texts

MIB = 2**20
_SHARED_FILES = {
    "efsVolumeConfiguration": ("efs", "fileSystemId"),
    "fsxWindowsFileServerVolumeConfiguration": ("fsx", "fileSystemId"),
    "s3filesVolumeConfiguration": ("s3files", "fileSystemArn"),
}
_RESTARTS = {True: "always", False: "no"}
_ARN = re.compile(
    r"arn:[\w-]*:(?P<service>[\w-]*):(?P<region>[\w-]*):(?P<account>\d*):(?P<rest>.+)"
)


def parts_of(arn: Any) -> dict[str, str]:
    """Split an ARN into service, region, account and rest; empty texts where it is none."""
    parts = _ARN.fullmatch(arn) if isinstance(arn, str) else None
    return (
        parts.groupdict()
        if parts
        else dict.fromkeys(("service", "region", "account"), "")
        | {"rest": arn if isinstance(arn, str) else ""}
    )


def last_of(arn: Any) -> str:
    """Return the last part of an ARN, which is the name or id itself."""
    return parts_of(arn)["rest"].rpartition("/")[2]


def text_of(value: Any) -> str:
    """Return a text; empty for anything else."""
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
    unit: (
        Unit  # without names, and with values of variables only where they are no secret
    )
    labels: dict[str, str]  # of the main container, those that may pass
    env_names: frozenset[str]
    secret_like_n: int
    needs: tuple[tuple[str, str, str], ...]  # container, evidence, condition
    addresses: tuple[tuple[str, Address], ...]
    redacted_n: int


def to_definition(raw: Payload) -> Definition:
    """Read a task definition; of secrets only names pass, of addresses only hosts and ports."""
    containers = list(dicts(raw.get("containerDefinitions")))
    essential = (c for c in containers if c.get("essential") is not False)
    main = next(essential, containers[0] if containers else {})
    kept = keep_env(environment_of(main))
    secrets = {text_of(s.get("name")) for s in dicts(main.get("secrets"))}
    family = text_of(raw.get("family"))
    revision = count_of(raw.get("revision"))
    return Definition(
        family=family,
        version=family if revision is None else f"{family}:{revision}",
        main=text_of(main.get("name")),
        unit=_to_unit(raw, containers, main),
        labels=keep_labels(main.get("dockerLabels"))[0],
        env_names=frozenset(kept["names"]) | (secrets - {""}),
        secret_like_n=kept["secret_like"],
        needs=tuple(_needs(containers, text_of(main.get("name")))),
        addresses=tuple(a for c in containers for a in addresses(environment_of(c))),
        redacted_n=sum(_withheld(c) for c in containers) - len(kept["naming"]),
    )


def environment_of(container: Payload) -> dict[str, str]:
    """Return names and values of an environment, for use inside the source only."""
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


def _to_unit(raw: Payload, containers: list[Payload], main: Payload) -> Unit:
    """Read what a definition declares; what raises the risk counts of any container of a task."""
    limits = [count_of(main.get("memory")), count_of(raw.get("memory"))]
    memory = next((limit for limit in limits if limit), None)
    cpu = count_of(raw.get("cpu"))
    added = [texts(dig(c, "linuxParameters", "capabilities", "add")) for c in containers]
    volumes = {text_of(v.get("name")): v for v in dicts(raw.get("volumes"))}
    others = [container for container in containers if container is not main]
    mounts = [m for c in (main, *others) for m in _mounts(c, volumes)]
    restarts = dig(main, "restartPolicy", "enabled")
    return Unit(
        names=(),
        platform="ecs",
        image=text_of(main.get("image")),
        environment=tuple(keep_env(environment_of(main))["naming"].items()),
        ports=tuple(ports_of(dicts(main.get("portMappings")))),
        user=text_of(main.get("user")),
        mounts=tuple(mounts),
        memory_limit_bytes=memory * MIB if memory else None,
        memory_unlimited=memory is None,
        cpu_limit=cpu / 1024 if cpu else None,  # that of a container is a share, no limit
        privileged=any(c.get("privileged") is True for c in containers),
        host_network=raw.get("networkMode") == "host",
        host_pid=raw.get("pidMode") == "host",
        readonly_root=main.get("readonlyRootFilesystem") is True,
        caps_added_n=len({cap for caps in added for cap in caps}),
        restart_policy=_RESTARTS.get(restarts) if isinstance(restarts, bool) else None,
        log_driver=text_of(dig(main, "logConfiguration", "logDriver")) or None,
        stop_timeout_s=count_of(main.get("stopTimeout")),
        health_checked=any(map(_is_checked, containers)),
    )


def _is_checked(container: Payload) -> bool:
    command = texts(dig(container, "healthCheck", "command"))
    return bool(command) and command[0] != "NONE"


def ports_of(bindings: Iterable[Payload]) -> Iterator[str]:
    """List ``8080->80/tcp`` for ports of the host, and ``80/tcp`` for others."""
    for binding in bindings:
        inner = count_of(binding.get("containerPort"))
        outer = count_of(binding.get("hostPort"))
        if inner:
            port = f"{inner}/{text_of(binding.get('protocol')) or 'tcp'}"
            yield f"{outer}->{port}" if outer else port


def _mounts(container: Payload, volumes: dict[str, Payload]) -> Iterator[Mount]:
    """Read the mounts of a container."""
    for point in dicts(container.get("mountPoints")):
        volume = volumes.get(text_of(point.get("sourceVolume")), {})
        yield replace(
            _source(volume),
            target=text_of(point.get("containerPath")),
            is_writable=point.get("readOnly") is not True,
        )
    for tmpfs in dicts(dig(container, "linuxParameters", "tmpfs")):
        yield Mount(target=text_of(tmpfs.get("containerPath")), type="tmpfs")


def _source(volume: Payload) -> Mount:
    """Read what is behind a volume; it has a name only where it outlives the task."""
    own = text_of(volume.get("name"))
    for key, (driver, identity) in _SHARED_FILES.items():
        if isinstance(volume.get(key), dict):
            name = last_of(dig(volume, key, identity)) or own
            return Mount("", "volume", volume=name, driver=driver, is_remote=True)
    if volume.get("configuredAtLaunch") is True:
        return Mount("", "volume", volume=own, driver="ebs")
    if path := text_of(dig(volume, "host", "sourcePath")):
        return Mount("", "bind", source=path)
    docker = dig(volume, "dockerVolumeConfiguration")
    name = own if dig(docker, "scope") == "shared" else ""
    driver = text_of(dig(docker, "driver"))
    return Mount("", "volume", volume=name or None, driver=driver or None)


def _needs(containers: list[Payload], main: str) -> Iterator[tuple[str, str, str]]:
    """List the containers that start before others, by ``dependsOn`` and ``links``."""
    for container in containers:
        for need in dicts(container.get("dependsOn")):
            name = text_of(need.get("containerName"))
            if name not in ("", main):
                yield name, "ecs-depends-on", text_of(need.get("condition"))
        for link in texts(container.get("links")):
            name = link.partition(":")[0]
            if name not in ("", main):
                yield name, "ecs-link", ""
