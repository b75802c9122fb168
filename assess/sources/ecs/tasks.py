"""Task definitions of ECS, without any value that may be secret, and the tasks that run them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from assess.image_ref import parse_image
from assess.sources.base import Name, Row
from assess.sources.edges.rows import Mention, Text, mentions, variables
from assess.sources.redact import is_secret, keep_env, keep_labels
from assess.sources.unit import Mount, Unit, mount_rows, workload_row
from assess.sources.values import dicts, dig, integer, moment, table, text, texts

MIB = 2**20
_SHARED_FILES = {
    "efsVolumeConfiguration": ("efs", "fileSystemId"),
    "fsxWindowsFileServerVolumeConfiguration": ("fsx", "fileSystemId"),
    "s3filesVolumeConfiguration": ("s3files", "fileSystemArn"),
}
_ARN = re.compile(r"arn:[\w-]*:[\w-]*:(?P<region>[\w-]*):(?P<account>\d*):(?P<rest>.+)")
_STATES = {
    "RUNNING": "running",
    "STOPPED": "stopped",
    "PROVISIONING": "pending",
    "PENDING": "pending",
    "ACTIVATING": "pending",
    "DEACTIVATING": "stopping",
    "STOPPING": "stopping",
    "DEPROVISIONING": "stopping",
    "DELETED": "stopped",
}
_CAUSES = {
    "EssentialContainerExited": "health",
    "InfrastructureHealth": "health",
    "UserInitiated": "manual",
    "SpotInterruption": "spot",
}
_REASONS = (  # words of AWS, before its codes
    (re.compile(r"health check", re.IGNORECASE), "health"),
    (re.compile(r"^scaling activity", re.IGNORECASE), "scale"),
    (re.compile(r"\bspot\b", re.IGNORECASE), "spot"),
)
_OOM = re.compile(r"OutOfMemory|out of memory", re.IGNORECASE)
_KILLED = 137  # by SIGKILL, which the kernel also sends where memory runs out


def parts_of(arn: Any) -> dict[str, str]:
    """Split an ARN into region, account and rest; where it is none, all of it is the rest."""
    if parts := _ARN.fullmatch(text(arn)):
        return parts.groupdict()
    return {"region": "", "account": "", "rest": text(arn)}


def last_of(arn: Any) -> str:
    """Return the last part of an ARN, which is the name or id itself."""
    return parts_of(arn)["rest"].rpartition("/")[2]


# ---- definitions ----


@dataclass(frozen=True)
class Definition:
    """One task definition, redacted."""

    family: str
    version: str  # ``family:revision``
    main: str  # name of the first essential container, for which the others are there
    # Without names; values of variables only where they name a service.
    unit: Unit
    labels: dict[str, str]  # of the main container, those that may pass
    env_names: frozenset[str]
    secret_like_n: int
    needs: tuple[tuple[str, str, str], ...]  # container, evidence, condition
    mentions: tuple[Mention, ...]
    redacted_n: int


def to_definition(raw: Row) -> Definition:
    """Read a task definition; of secrets only names pass, of addresses only hosts and ports."""
    containers = dicts(raw, "containerDefinitions")
    essential = [c for c in containers if c.get("essential") is not False]
    main = next(iter(essential or containers), {})
    kept = keep_env(environment_of(main))
    secrets = {text(s, "name") for s in dicts(main, "secrets")}
    family = text(raw, "family")
    revision = integer(raw, "revision")
    return Definition(
        family=family,
        version=family if revision is None else f"{family}:{revision}",
        main=text(main, "name"),
        unit=_to_unit(raw, containers, main),
        labels=keep_labels(main.get("dockerLabels"))[0],
        env_names=frozenset(kept["names"]) | (secrets - {""}),
        secret_like_n=kept["secret_like"],
        needs=tuple(_needs(containers, text(main, "name"))),
        mentions=tuple(mentions(_texts_of(containers))),
        redacted_n=sum(map(_withheld_n, containers)) - len(kept["naming"]),
    )


def _texts_of(containers: list[Row]) -> Iterator[Text]:
    """List the texts in which containers may name other services."""
    for container in containers:
        yield from variables(environment_of(container))
        command = [*texts(container, "entryPoint"), *texts(container, "command")]
        yield Text(" ".join(command), "command")


def environment_of(container: Row) -> dict[str, str]:
    """Return names and values of an environment, for use inside the source only."""
    pairs = dicts(container, "environment")
    values = {text(pair, "name"): text(pair, "value") for pair in pairs}
    values.pop("", None)
    return values


def withheld_of_overrides(task: Row) -> int:
    """Count the values that the overrides of a task hold: variables and arguments."""
    overrides = dicts(task, "overrides", "containerOverrides")
    return sum(
        len(environment_of(o)) + len(texts(o, "command")) + _len(o, "environmentFiles")
        for o in overrides
    )


def _len(payload: Row, *path: str) -> int:
    value = dig(payload, *path)
    return len(value) if isinstance(value, list | dict) else 0


def _withheld_n(container: Row) -> int:
    """Count what of a container does not pass."""
    lists = ("command", "entryPoint", "environmentFiles", "secrets")
    withheld_n = sum(_len(container, key) for key in lists)
    withheld_n += _len(container, "logConfiguration", "options")
    withheld_n += _len(container, "logConfiguration", "secretOptions")
    # The first word of a check is CMD, CMD-SHELL or NONE.
    withheld_n += max(0, _len(container, "healthCheck", "command") - 1)
    withheld_n += bool(container.get("repositoryCredentials"))
    withheld_n += keep_labels(container.get("dockerLabels"))[1]
    return withheld_n + len(environment_of(container))


def _to_unit(raw: Row, containers: list[Row], main: Row) -> Unit:
    """Read what a definition declares; what raises the risk counts of any container of a task."""
    memory = integer(main, "memory") or integer(raw, "memory")
    cpu = integer(raw, "cpu")
    caps = (dig(c, "linuxParameters", "capabilities", "add") for c in containers)
    volumes = {text(v, "name"): v for v in dicts(raw, "volumes")}
    others = [container for container in containers if container is not main]
    mounts = [m for c in (main, *others) for m in _mounts(c, volumes)]
    restarts = dig(main, "restartPolicy", "enabled")
    policies = {True: "always", False: "no"}
    return Unit(
        names=(),
        platform="ecs",
        image=text(main, "image"),
        environment=tuple(keep_env(environment_of(main))["naming"].items()),
        ports=tuple(ports_of(dicts(main, "portMappings"))),
        user=text(main, "user"),
        mounts=tuple(mounts),
        memory_limit_bytes=memory * MIB if memory else None,
        memory_unlimited=not memory,
        cpu_limit=cpu / 1024 if cpu else None,  # that of a container is a share, no limit
        privileged=any(c.get("privileged") is True for c in containers),
        host_network=raw.get("networkMode") == "host",
        host_pid=raw.get("pidMode") == "host",
        readonly_root=main.get("readonlyRootFilesystem") is True,
        caps_added_n=len({cap for added in caps for cap in texts(added)}),
        restart_policy=policies[restarts] if isinstance(restarts, bool) else None,
        log_driver=text(main, "logConfiguration", "logDriver") or None,
        stop_timeout_s=integer(main, "stopTimeout"),
        health_checked=any(map(_is_checked, containers)),
    )


def _is_checked(container: Row) -> bool:
    command = texts(container, "healthCheck", "command")
    return bool(command) and command[0] != "NONE"


def ports_of(bindings: Iterable[Row]) -> Iterator[str]:
    """List ``8080->80/tcp`` for ports of the host, and ``80/tcp`` for others."""
    for binding in bindings:
        inner = integer(binding, "containerPort")
        outer = integer(binding, "hostPort")
        if inner:
            published = f"{outer}->" if outer else ""
            yield f"{published}{inner}/{text(binding, 'protocol') or 'tcp'}"


def _mounts(container: Row, volumes: dict[str, Row]) -> Iterator[Mount]:
    for point in dicts(container, "mountPoints"):
        volume = volumes.get(text(point, "sourceVolume"), {})
        yield replace(
            _source(volume),
            target=text(point, "containerPath"),
            is_writable=point.get("readOnly") is not True,
        )
    for tmpfs in dicts(container, "linuxParameters", "tmpfs"):
        yield Mount(target=text(tmpfs, "containerPath"), type="tmpfs")


def _source(volume: Row) -> Mount:
    """Read what is behind a volume; it has a name only where it outlives the task."""
    name = text(volume, "name")
    for key, (driver, identity) in _SHARED_FILES.items():
        if isinstance(volume.get(key), dict):
            system = last_of(dig(volume, key, identity)) or name
            return Mount("", "volume", volume=system, driver=driver, is_remote=True)
    if volume.get("configuredAtLaunch") is True:
        return Mount("", "volume", volume=name, driver="ebs")
    if path := text(volume, "host", "sourcePath"):
        return Mount("", "bind", source=path)
    docker = table(volume, "dockerVolumeConfiguration")
    shared = name if docker.get("scope") == "shared" else None
    driver = text(docker, "driver")
    return Mount("", "volume", volume=shared or None, driver=driver or None)


def _needs(containers: list[Row], main: str) -> Iterator[tuple[str, str, str]]:
    """List the containers that start before others, by ``dependsOn`` and ``links``."""
    for container in containers:
        for need in dicts(container, "dependsOn"):
            name = text(need, "containerName")
            if name not in ("", main):
                yield name, "ecs-depends-on", text(need, "condition")
        for link in texts(container, "links"):
            name = link.partition(":")[0]
            if name not in ("", main):
                yield name, "ecs-link", ""


# ---- tasks ----


def to_workload(task: Row, names: tuple[Name, ...], definition: Definition | None) -> Row:
    """Return the row of one replica: a task, by its first essential container."""
    containers = dicts(task, "containers")
    wanted = definition.main if definition else ""
    named = (c for c in containers if c.get("name") == wanted)
    main = next(named, containers[0] if containers else {})
    cluster = last_of(task.get("clusterArn"))
    image = text(main, "image") or (definition.unit.image if definition else "")
    ref = parse_image(image)
    row: Row = workload_row(replace(definition.unit, image=image)) if definition else {}
    row |= {
        "workload_id": f"ecs:{cluster}/{last_of(task.get('taskArn'))}",
        "names": names,
        "cluster": cluster or None,
        "name": text(main, "name") or None,
        "source_kind": "task",
        "image_ref": image or None,
        **ref.columns(),
        "image_digest": ref.digest or text(main, "imageDigest") or None,
        **_life(task, containers, main, definition),
        "inspect_status": "ok" if definition else "list",
    }
    if bindings := [b for c in containers for b in dicts(c, "networkBindings")]:
        row["ports"] = ";".join(sorted(set(ports_of(bindings)))) or None
    if definition:
        overrides = dicts(task, "overrides", "containerOverrides")
        overridden = (o for o in overrides if o.get("name") == text(main, "name"))
        environment = environment_of(next(overridden, {}))
        row["env_names_n"] = len(definition.env_names | set(environment))
        secrets_n = sum(is_secret(name, value) for name, value in environment.items())
        row["secret_like_env_n"] = max(definition.secret_like_n, secrets_n)
    return row


def known_as(task: Row) -> tuple[str, ...]:
    """Return the ids by which the engine of an instance knows the task and its containers."""
    containers = (text(c, "runtimeId") for c in dicts(task, "containers"))
    return tuple(filter(None, (last_of(task.get("taskArn")), *containers)))


def _life(
    task: Row, containers: list[Row], main: Row, definition: Definition | None
) -> Row:
    """Return state, exit code, health and times of a task."""
    state = _STATES.get(text(task, "lastStatus"))
    code = main.get("exitCode")
    if not isinstance(code, int) or isinstance(code, bool):
        code = None
    reasons = [task.get("stoppedReason"), *(c.get("reason") for c in containers)]
    oom = True if _OOM.search(" ".join(map(text, reasons))) else None
    if oom is None and (state == "running" or code not in (None, _KILLED)):
        oom = False
    health: str | None = text(task, "healthStatus").lower()
    if health not in ("healthy", "unhealthy"):
        health = None
        if definition:
            health = "starting" if definition.unit.health_checked else "none"
    return {
        "state": state,
        "exit_code": code,
        "oom_killed": oom,
        "health": health,
        "created_at": moment(task, "createdAt"),
        "started_at": moment(task, "startedAt"),
        "finished_at": moment(task, "stoppedAt"),
    }


def to_task_mounts(workload: Row, definition: Definition | None) -> list[Row]:
    """Return the mounts of a task; Fargate shares nothing among tasks but file systems."""
    key = workload["workload_id"]
    mounts = definition.unit.mounts if definition else ()
    return mount_rows(mounts, key, workload["host_id"] or key)


# ---- what happened to them ----


def span_of(payload: Row, start: str, end: str) -> Row:
    """Return the columns of an activity that say when it was."""
    begun = moment(payload, start)
    ended = moment(payload, end)
    duration = None
    if begun and ended and ended >= begun:
        duration = (ended - begun).total_seconds()
    return {"started_at": begun, "ended_at": ended, "duration_s": duration}


def to_task_activities(task: Row, workload: Row) -> Iterator[Row]:
    """Return what happened to a task: pull of its images, start, end.

    They have no group: a task does not replace one of another service.
    """
    is_up = moment(task, "startedAt") is not None
    pulled = "failed" if workload["state"] == "stopped" else "pending"
    if is_up or moment(task, "pullStoppedAt"):
        pulled = "successful"
    pull = {"status": pulled, "registry": workload["registry"]}
    for kind, begun, ended, more in (
        ("image_pull", "pullStartedAt", "pullStoppedAt", pull),
        ("launch", "createdAt" if is_up else "", "startedAt", {"status": "successful"}),
        ("terminate", _first_sign(task), "stoppedAt", {"cause": _cause(task)}),
    ):
        span = span_of(task, begun, ended)
        if span["started_at"]:
            yield {
                "activity_id": f"{workload['workload_id']}/{kind}",
                "names": workload["names"],
                "host_id": workload["host_id"],
                "to_version": last_of(task.get("taskDefinitionArn")) or None,
                "kind": kind,
                **span,
                **more,
            }


def _first_sign(task: Row) -> str:
    """Return the field with the earliest sign that a task ends."""
    fields = ("executionStoppedAt", "stoppingAt", "stoppedAt")
    times = {field: at for field in fields if (at := moment(task, field))}
    return min(times, key=lambda field: times[field], default="")


def _cause(task: Row) -> str:
    """Return why a task ended: by words of its reason, else by its code.

    A task of no service is mostly a job, which ends in good health; and a task that never
    started leaves nothing to replace.
    """
    code = text(task, "stopCode")
    is_replica = text(task, "group").startswith("service:")
    has_ended_well = code == "EssentialContainerExited" and not is_replica
    if code == "TaskFailedToStart" or has_ended_well:
        return "unknown"
    reason = text(task, "stoppedReason")
    by_words = (cause for pattern, cause in _REASONS if pattern.search(reason))
    return next(by_words, _CAUSES.get(code, "unknown"))
