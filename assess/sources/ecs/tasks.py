"""Task definitions of ECS, without any value that may be secret, and the tasks that run them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from assess import frames
from assess.image_ref import parse_image
from assess.sources.base import Name, Row
from assess.sources.ecs.sizes import CPU_UNITS, MIB, cpu_of, memory_of
from assess.sources.edges.address import may_be_address
from assess.sources.edges.rows import command_line
from assess.sources.redact import keep_env, keep_labels
from assess.sources.replica import Replicas, replica_rows
from assess.sources.unit import Mount, Unit
from assess.sources.values import dicts, dig, integer, moment, table, text, texts

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


@dataclass(frozen=True)
class Definition:
    """One task definition, redacted."""

    family: str
    version: str  # ``family:revision``
    main: str  # name of the first essential container, for which the others are there
    unit: Unit  # without names
    labels: dict[str, str]  # of the main container, those that may pass
    needs: tuple[tuple[str, str, str], ...]  # container, evidence, condition
    revision: int
    is_active: bool
    is_fargate: bool  # whether it can run nowhere else
    redacted_n: int


def to_definition(raw: Row) -> Definition:
    """Read a task definition; of secrets only names pass, of addresses only hosts and ports."""
    containers = dicts(raw, "containerDefinitions")
    essential = [c for c in containers if c.get("essential") is not False]
    main = next(iter(essential or containers), {})
    kept = keep_env(environment_of(main))
    family = text(raw, "family")
    revision = integer(raw, "revision")
    return Definition(
        family=family,
        version=family if revision is None else f"{family}:{revision}",
        main=text(main, "name"),
        unit=_to_unit(raw, containers, main),
        labels=keep_labels(main.get("dockerLabels"))[0],
        needs=tuple(_needs(containers, text(main, "name"))),
        revision=revision or 0,
        is_active=text(raw, "status") in ("", "ACTIVE"),
        is_fargate=texts(raw, "requiresCompatibilities") == ["FARGATE"],
        redacted_n=sum(map(_withheld_n, containers)) - len(kept["naming"]),
    )


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
    """Read what a definition declares: its main container, and the others beside it."""
    others = [container for container in containers if container is not main]
    caps = (dig(c, "linuxParameters", "capabilities", "add") for c in containers)
    ended = {
        text(need, "containerName")
        for container in containers
        for need in dicts(container, "dependsOn")
        if text(need, "condition") in ("COMPLETE", "SUCCESS")
    }
    beside = []
    for container in others:
        unit = _of_container(raw, container)
        role = "init" if unit.container in ended else "sidecar"
        beside.append(replace(unit, role=role))
    unit = _of_container(raw, main)
    cpu = cpu_of(raw.get("cpu"))  # of a task: of all of its containers together
    memory = memory_of(raw.get("memory"))
    if cpu:
        unit, beside = _shared(unit, beside, "cpu_request", cpu)
    if memory:
        unit, beside = _shared(unit, beside, "memory_request_bytes", memory)
    return replace(
        unit,
        role="main" if others else None,
        beside=tuple(beside),
        memory_limit_bytes=unit.memory_limit_bytes or memory,
        cpu_limit=cpu,
        caps_added_n=len({cap for added in caps for cap in texts(added)}),
        health_checked=any(map(_is_checked, containers)),
    )


def _shared(
    main: Unit, beside: list[Unit], column: str, whole: Any
) -> tuple[Unit, list[Unit]]:
    """Share the size of a task among its containers: what the others reserve is not the main's."""
    own = [getattr(part, column) or 0 for part in beside]
    pairs = zip(beside, own, strict=True)
    rest = max(whole - sum(n for part, n in pairs if part.role != "init"), 0)
    changes: list[Row] = [{column: size} for size in (rest, *own)]
    parts = zip((main, *beside), changes, strict=True)
    first, *others = (replace(part, **change) for part, change in parts)
    return first, others


def _of_container(raw: Row, container: Row) -> Unit:
    """Read what a definition declares of one container."""
    limit = integer(container, "memory")
    reserved = integer(container, "memoryReservation") or limit
    cpu = integer(container, "cpu")  # a share, which is no limit
    volumes = {text(v, "name"): v for v in dicts(raw, "volumes")}
    added = texts(container, "linuxParameters", "capabilities", "add")
    restarts = dig(container, "restartPolicy", "enabled")
    policies = {True: "always", False: "no"}
    # A reference to a secret counts as a variable without a value.
    secrets = {text(secret, "name"): "" for secret in dicts(container, "secrets")}
    secrets.pop("", None)
    return Unit(
        names=(),
        platform="ecs",
        container=text(container, "name"),
        image=text(container, "image"),
        environment=tuple({**secrets, **environment_of(container)}.items()),
        texts=command_line(container, "entryPoint", "command"),
        unread=(
            *(f"variable {secret}" for secret in secrets if may_be_address(secret)),
            *["environment files"] * bool(_len(container, "environmentFiles")),
        ),
        ports=tuple(ports_of(dicts(container, "portMappings"))),
        user=text(container, "user"),
        mounts=tuple(_mounts(container, volumes)),
        memory_limit_bytes=limit * MIB if limit else None,
        memory_request_bytes=reserved * MIB if reserved else None,
        memory_unlimited=not (limit or memory_of(raw.get("memory"))),
        cpu_request=cpu / CPU_UNITS if cpu else None,
        privileged=container.get("privileged") is True,
        host_network=raw.get("networkMode") == "host",
        host_pid=raw.get("pidMode") == "host",
        readonly_root=container.get("readonlyRootFilesystem") is True,
        caps_added_n=len(set(added)),
        restart_policy=policies[restarts] if isinstance(restarts, bool) else None,
        log_driver=text(container, "logConfiguration", "logDriver") or None,
        stop_timeout_s=integer(container, "stopTimeout"),
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


def _addresses(containers: Iterable[Row]) -> str | None:
    """Return the addresses of a task on a network of its own (awsvpc)."""
    interfaces = [i for c in containers for i in dicts(c, "networkInterfaces")]
    found = {text(interface, "privateIpv4Address") for interface in interfaces}
    return ";".join(sorted(found - {""})) or None


def to_workloads(
    task: Row,
    names: tuple[Name, ...],
    definition: Definition | None,
    host_id: str | None,
) -> Replicas:
    """Return the rows of one replica, a task, and those of the mounts of its containers."""
    containers = {text(c, "name"): c for c in dicts(task, "containers")}
    first = next(iter(containers), "")
    main = definition.main if definition and definition.main in containers else first
    own = _life(task, list(containers.values()), containers.get(main, {}), definition)
    cluster = last_of(task.get("clusterArn"))
    bindings = [b for c in containers.values() for b in dicts(c, "networkBindings")]
    if bindings:
        own["ports"] = ";".join(sorted(set(ports_of(bindings)))) or None
    own["addresses"] = _addresses(containers.values())
    key = f"ecs:{cluster}/{last_of(task.get('taskArn'))}"
    replica = {
        "workload_id": key,
        "names": names,
        "host_id": host_id,
        "cluster": cluster or None,
        "source_kind": "task",
        "state": own.pop("state"),
        "inspect_status": "ok" if definition else "list",
    }
    if definition is None:
        image = text(containers, main, "image")
        row = {**replica, **own, "name": main or None, "image_ref": image or None}
        return [row | parse_image(image).columns() | _digest(containers, main)], []
    unit = _as_it_runs(definition.unit, task, containers, main)
    # Fargate shares nothing among tasks but file systems.
    workloads, mounts = replica_rows(unit, replica | {"host_id": host_id or key}, own)
    workloads[0]["name"] = main or None
    for row in workloads:
        row |= {"host_id": host_id, **_digest(containers, row["name"])}
    return workloads, mounts


def _digest(containers: Row, name: Any) -> Row:
    """Return the digest that a container runs, where its task says so."""
    digest = text(containers, name, "imageDigest")
    return {"image_digest": digest} if digest else {}


def _as_it_runs(unit: Unit, task: Row, containers: Row, main: str) -> Unit:
    """Return what is declared, with the images and variables of a task in their places."""
    overrides = dicts(task, "overrides", "containerOverrides")
    changed = {text(o, "name"): environment_of(o) for o in overrides}

    def one(part: Unit, name: str) -> Unit:
        return replace(
            part,
            image=text(containers, name, "image") or part.image,
            environment=(*part.environment, *changed.get(name, {}).items()),
        )

    beside = tuple(one(part, part.container) for part in unit.beside)
    return replace(one(unit, main), beside=beside)


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


# ---- Fargate: a machine of the provider for each task ----


def is_fargate(payload: Row) -> bool:
    """Return whether a service or a task runs on Fargate."""
    strategy = dicts(payload, "capacityProviderStrategy")
    providers = [text(part, "capacityProvider") for part in strategy]
    providers += [text(payload, "capacityProviderName"), text(payload, "launchType")]
    return any(provider.startswith("FARGATE") for provider in providers)


def fargate_host(task: Row) -> Row | None:
    """Return the host of a task on Fargate; None for a task that ended, or is elsewhere."""
    if not is_fargate(task) or task.get("lastStatus") == "STOPPED":
        return None
    cluster = last_of(task.get("clusterArn"))
    attributes = {text(a, "name"): text(a, "value") for a in dicts(task, "attributes")}
    cpu = cpu_of(task.get("cpu"))
    return _provided(f"fargate:{cluster}/{last_of(task.get('taskArn'))}", task) | {
        "az": text(task, "availabilityZone") or None,
        "arch": attributes.get("ecs.cpu-architecture") or None,
        "vcpus": int(cpu) if cpu and cpu >= 1 else None,
        "memory_bytes": memory_of(task.get("memory")),
        "state": "running" if task.get("lastStatus") == "RUNNING" else None,
    }


def wanted_host(cluster: str, service: Row) -> Row:
    """Return the host that stands for those which Fargate would provide for a service."""
    name = text(service, "serviceName") or last_of(service.get("serviceArn"))
    return _provided(f"fargate:{cluster}/service/{name}", service)


def _provided(host_id: str, payload: Row) -> Row:
    """Return what is known of any host that the provider runs."""
    arn = parts_of(payload.get("taskArn") or payload.get("serviceArn"))
    version = text(payload, "platformVersion")
    family = text(payload, "platformFamily").lower()
    return frames.row(
        "hosts",
        host_id=host_id,
        provider="aws",
        account=arn["account"] or None,
        region=arn["region"] or None,
        managed_by="provider",
        # without a number Fargate takes its newest platform version
        provider_version=f"fargate {version}".removesuffix("LATEST").strip(),
        os_family="windows" if family.startswith("windows") else "linux",
    )


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
