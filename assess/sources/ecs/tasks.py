"""Task definitions and tasks of ECS, without any value that may be secret."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from assess import frames
from assess.image_ref import as_declared, parse_image
from assess.sources.aws import span_of
from assess.sources.base import Names, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.edges import command_line
from assess.sources.edges.address import may_be_address
from assess.sources.redact import keep_labels, kept_env
from assess.sources.replica import Replicas, replica_rows
from assess.sources.unit import Unit, ports_of
from assess.sources.values import (
    MIB,
    Texts,
    Words,
    by_name,
    dicts,
    dig,
    int_of,
    integer,
    joined,
    moment,
    number,
    picked,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount

CPU_UNITS = 1024  # of one vCPU
_VCPU = re.compile(r"\s*(\d{0,9}\.?\d{1,9})\s*vcpus?\s*", re.IGNORECASE)
_GB = re.compile(r"\s*(\d{0,9}\.?\d{1,9})\s*gb\s*", re.IGNORECASE)
_SHARED_FILES = vocabulary("ecs", "shared files")  # driver, and where its id is
_ARN = re.compile(r"arn:[\w-]*:[\w-]*:(?P<region>[\w-]*):(?P<account>\d*):(?P<rest>.+)")

_CAUSES = vocabulary("ecs", "causes")
_REASONS = vocabulary("ecs", "reasons")  # patterns of words of AWS, before its codes
_OOM = re.compile(r"OutOfMemory|out of memory", re.IGNORECASE)
_KILLED = 137  # by SIGKILL, which the kernel also sends where memory runs out


# ---- sizes: as the API has them, and as people register them ----


def cpu_of(task: Row) -> float | None:
    """Read the CPU of a task [cores]: in units, or as people register it, ``.5 vCPU``."""
    if amount := _VCPU.fullmatch(text(task, "cpu")):
        return number(amount[1]) or None
    units = number(task, "cpu")
    return units / CPU_UNITS if units else None


def memory_of(task: Row) -> int | None:
    """Read the memory of a task [bytes]: in MiB, or as people register it, ``1 GB``."""
    amount = _GB.fullmatch(text(task, "memory"))
    mib = (number(amount[1]) or 0) * 1024 if amount else number(task, "memory")
    return round(mib * MIB) if mib else None


def parts_of(arn: Any, *path: str) -> Texts:
    """Split an ARN into region, account and rest; any other text is all rest."""
    written = text(arn, *path)
    if parts := _ARN.fullmatch(written):
        return parts.groupdict()
    return {"region": "", "account": "", "rest": written}


def last_of(arn: Any, *path: str) -> str:
    """Return the last part of an ARN, which is the name or id itself."""
    return parts_of(arn, *path)["rest"].rpartition("/")[2]


@dataclass(frozen=True)
class Definition:
    """One task definition, redacted."""

    family: str
    main: str  # name of the first essential container, for which the others are there
    unit: Unit  # without names
    labels: Texts  # of the main container, those that may pass
    needs: tuple[tuple[str, str, str], ...]  # container, evidence, condition
    revision: int
    is_active: bool
    is_fargate: bool  # whether it can run nowhere else
    redacted_n: int


def to_definition(raw: Row) -> Definition:
    """Read a task definition; of secrets only names pass, of addresses only hosts and ports."""
    containers = dicts(raw, "containerDefinitions")
    essential = [c for c in containers if c.get("essential") is not False]
    main = table(essential or containers, 0)
    return Definition(
        family=text(raw, "family"),
        main=text(main, "name"),
        unit=_to_unit(raw, containers, main),
        labels=keep_labels(main.get("dockerLabels"))[0],
        needs=tuple(_needs(containers, text(main, "name"))),
        revision=integer(raw, "revision") or 0,
        is_active=text(raw, "status") in ("", "ACTIVE"),
        is_fargate=texts(raw, "requiresCompatibilities") == ["FARGATE"],
        redacted_n=sum(map(_withheld_n, containers))
        - len(kept_env(environment_of(main))),
    )


def environment_of(container: Row, key: str = "environment") -> Texts:
    """Return names and values of an environment, for use inside the source only."""
    pairs = dicts(container, key)
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
    lists = ("command", "entryPoint", "environmentFiles", "secrets")
    withheld_n = sum(_len(container, key) for key in lists)
    withheld_n += _len(container, "logConfiguration", "options")
    withheld_n += _len(container, "logConfiguration", "secretOptions")
    # The first word of a check is CMD, CMD-SHELL or NONE.
    withheld_n += max(0, _len(container, "healthCheck", "command") - 1)
    withheld_n += bool(container.get("repositoryCredentials"))
    withheld_n += keep_labels(container.get("dockerLabels"))[1]
    return withheld_n + len(environment_of(container))


def _to_unit(raw: Row, containers: Rows, main: Row) -> Unit:
    """Read a definition: its main container, and the others beside it."""
    others = [container for container in containers if container is not main]
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
    cpu = cpu_of(raw)  # of a task: of all of its containers together
    memory = memory_of(raw)
    if cpu:
        unit, beside = _shared(unit, beside, "cpu_request", cpu)
    if memory:
        unit, beside = _shared(unit, beside, "memory_request_bytes", memory)
    checks = (texts(c, "healthCheck", "command")[:1] for c in containers)
    return replace(
        unit,
        role="main" if others else None,
        beside=tuple(beside),
        memory_limit_bytes=unit.memory_limit_bytes or memory,
        cpu_limit=cpu,
        caps_added=tuple(
            {cap for part in (unit, *beside) for cap in part.caps_added or ()}
        ),
        health_checked=any(first not in ([], ["NONE"]) for first in checks),
    )


def _shared(
    main: Unit, beside: list[Unit], column: str, whole: Any
) -> tuple[Unit, list[Unit]]:
    """Share the size of a task among its containers: what the others reserve is not the main's."""
    changes: Rows = [{column: getattr(part, column) or 0} for part in beside]
    others = [replace(p, **change) for p, change in zip(beside, changes, strict=True)]
    reserved = sum(getattr(part, column) for part in others if part.role != "init")
    rest: Row = {column: max(whole - reserved, 0)}
    return replace(main, **rest), others


def _of_container(raw: Row, container: Row) -> Unit:
    cpu = integer(container, "cpu")  # a share, which is no limit
    volumes = by_name(raw, "volumes")
    linux = table(container, "linuxParameters")
    required = dicts(container, "resourceRequirements")
    cards = [entry for entry in required if text(entry, "type") == "GPU"]
    # A reference to a secret counts as a variable without a value.
    secrets = {text(secret, "name"): "" for secret in dicts(container, "secrets")}
    secrets.pop("", None)
    own = picked(container, "ecs container")
    return Unit(
        platform="ecs",
        **picked(raw, "ecs definition"),
        **own,
        environment=tuple((secrets | environment_of(container)).items()),
        texts=command_line(container, "entryPoint", "command"),
        unread=(
            *(f"variable {secret}" for secret in secrets if may_be_address(secret)),
            *["environment files"] * bool(_len(container, "environmentFiles")),
        ),
        ports=tuple(ports_of(dicts(container, "portMappings"))),
        mounts=tuple(_mounts(container, volumes)),
        memory_unlimited=not (own["memory_limit_bytes"] or memory_of(raw)),
        cpu_request=cpu / CPU_UNITS if cpu else None,
        devices_n=len(dicts(linux, "devices")) + len(cards),
    )


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
    for key, words in _SHARED_FILES.items():
        if isinstance(volume.get(key), dict):
            driver, identity = words.split()
            system = last_of(volume, key, identity) or name
            return Mount("", "volume", volume=system, driver=driver, is_remote=True)
    if volume.get("configuredAtLaunch") is True:
        # each task has one of its own
        return Mount("", "volume", volume=name, driver="ebs", shared_as="")
    if path := text(volume, "host", "sourcePath"):
        return Mount("", "bind", source=path)
    docker = table(volume, "dockerVolumeConfiguration")
    shared = name if docker.get("scope") == "shared" else None
    driver = text(docker, "driver")
    return Mount("", "volume", volume=shared or None, driver=driver or None)


def _needs(containers: Rows, main: str) -> Iterator[tuple[str, str, str]]:
    for container in containers:
        names = [link.partition(":")[0] for link in texts(container, "links")]
        found = [(name, "ecs-link", "") for name in names]
        for need in dicts(container, "dependsOn"):
            name = text(need, "containerName")
            found.append((name, "ecs-depends-on", text(need, "condition")))
        yield from (need for need in found if need[0] not in ("", main))


def to_workloads(
    task: Row, names: Names, definition: Definition | None, host_id: str | None
) -> Replicas:
    """Return the rows of one replica, a task, and those of the mounts of its containers."""
    containers = by_name(task, "containers")
    first = next(iter(containers), "")
    main = definition.main if definition and definition.main in containers else first
    own = _life(task, list(containers.values()), containers.get(main, {}), definition)
    cluster = last_of(task, "clusterArn")
    bindings = [b for c in containers.values() for b in dicts(c, "networkBindings")]
    if bindings:
        own["ports"] = joined(sorted(ports_of(bindings)))
    interfaces = [i for c in containers.values() for i in dicts(c, "networkInterfaces")]
    own["addresses"] = joined(sorted(text(i, "privateIpv4Address") for i in interfaces))
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
    if not definition:
        image = text(containers, main, "image")
        row = {**replica, **own, "name": main or None, "image_ref": as_declared(image)}
        return [row | parse_image(image).columns() | _digest(containers, main)], []
    unit = _as_it_runs(definition.unit, task, containers, main)
    # Fargate shares nothing among tasks but file systems.
    workloads, mounts = replica_rows(unit, replica | {"host_id": host_id or key}, own)
    workloads[0]["name"] = main or None
    for row in workloads:
        row |= {"host_id": host_id, **_end_of(containers, row["name"])}
    return workloads, mounts


def _digest(containers: Row, name: Any) -> Row:
    digest = text(containers, name, "imageDigest")
    return {"image_digest": digest} if digest else {}


def _end_of(containers: Row, name: Any) -> Row:
    """Return the digest of one container, and its end: the others may run on."""
    container = table(containers, name)
    if text(container, "lastStatus") != "STOPPED":
        return _digest(containers, name)
    end = {"state": "stopped", "exit_code": int_of(container, "exitCode")}
    return end | _digest(containers, name)


def _as_it_runs(unit: Unit, task: Row, containers: Row, main: str) -> Unit:
    """Return the declaration with the images and variables of a task."""
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


def known_as(task: Row, workloads: Rows) -> dict[str, Words]:
    """Return by workload the ids that an engine has for it; the main one has those of no other."""
    ids = {n: text(c, "runtimeId") for n, c in by_name(task, "containers").items()}
    known = {row["workload_id"]: [ids.pop(row["name"], "")] for row in workloads[1:]}
    known[workloads[0]["workload_id"]] = [last_of(task, "taskArn"), *ids.values()]
    return {key: tuple(filter(None, own)) for key, own in known.items()}


def _life(task: Row, containers: Rows, main: Row, definition: Definition | None) -> Row:
    own = picked(task, "ecs task")
    code = int_of(main, "exitCode")
    reasons = [task.get("stoppedReason"), *(c.get("reason") for c in containers)]
    oom = True if _OOM.search(" ".join(map(text, reasons))) else None
    if oom is None and (own["state"] == "running" or code not in (None, _KILLED)):
        oom = False
    health: str | None = text(task, "healthStatus").lower()
    if health not in ("healthy", "unhealthy"):
        health = None
        if definition:
            health = "starting" if definition.unit.health_checked else "none"
    return {
        **own,
        "exit_code": code,
        "oom_killed": oom,
        "health": health,
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
    cluster = last_of(task, "clusterArn")
    attributes = environment_of(task, "attributes")
    cpu = cpu_of(task)
    return _provided(f"fargate:{cluster}/{last_of(task.get('taskArn'))}", task) | {
        "az": text(task, "availabilityZone") or None,
        "arch": attributes.get("ecs.cpu-architecture") or None,
        "vcpus": int(cpu) if cpu and cpu >= 1 else None,
        "memory_bytes": memory_of(task),
        "state": "running" if task.get("lastStatus") == "RUNNING" else None,
    }


def wanted_host(cluster: str, service: Row) -> Row:
    """Return one host that stands for the hosts that Fargate would provide for a service."""
    name = text(service, "serviceName") or last_of(service, "serviceArn")
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


def to_task_activities(task: Row, workload: Row) -> Iterator[Row]:
    """Return the activities of a task: pull of its images, start, end."""
    # Activities of tasks have no group: a task never replaces one of another service.
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
                "to_version": last_of(task, "taskDefinitionArn") or None,
                "kind": kind,
                **span,
                **more,
            }


def _first_sign(task: Row) -> str:
    fields = ("executionStoppedAt", "stoppingAt", "stoppedAt")
    times = {field: at for field in fields if (at := moment(task, field))}
    return min(times, key=lambda field: times[field], default="")


def _cause(task: Row) -> str:
    """Return why a task ended: by words of its reason, else by its code."""
    # A task of no service is mostly a job, which ends in good health; and a task that
    # never started leaves nothing to replace.
    code = text(task, "stopCode")
    is_replica = text(task, "group").startswith("service:")
    has_ended_well = code == "EssentialContainerExited" and not is_replica
    if code == "TaskFailedToStart" or has_ended_well:
        return "unknown"
    reason = text(task, "stoppedReason").lower()
    by_words = (cause for words, cause in _REASONS.items() if re.search(words, reason))
    return next(by_words, _CAUSES.get(code, "unknown"))
