"""Task groups of Nomad jobs: what they declare, and the names of their services."""

import re
from collections.abc import Iterator
from dataclasses import replace

from assess.linear import Linear
from assess.sources.base import Names, Row, Rows
from assess.sources.edges import Text, command_line
from assess.sources.listing import labelled, names_of
from assess.sources.routing import routers_of
from assess.sources.unit import Unit
from assess.sources.values import (
    Texts,
    dicts,
    dig,
    healthy,
    integer,
    number,
    percent,
    picked,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount, mount_of, split_volume

# Of a template: values that are only known where it is rendered.
_FETCH = Linear(r"\b(?:key|keyOrDefault|ls|safeTree|tree|nomadVar|nomadVarList)\s+[\"`]")
GroupKey = tuple[str, str, str]  # namespace, job, group


class Group:
    """One task group of a job: what is placed together, and scales together."""

    def __init__(self, job: Row, group: Row, key: GroupKey, *, is_alone: bool) -> None:
        self.job = job
        self.group = group
        self.key = key
        self.tasks = dicts(group, "Tasks")
        self.task = _main_task(self.tasks)
        self.services = [self._named(s, "") for s in dicts(group, "Services")]
        for task in self.tasks:
            of_task = dicts(task, "Services")
            self.services += [self._named(s, text(task, "Name")) for s in of_task]
        self.templates = [t for task in self.tasks for t in dicts(task, "Templates")]
        self.is_known = bool(self.task)  # whether its declaration was read
        self.is_job = text(job, "Type") in ("batch", "sysbatch")  # ends by itself
        unit = _to_unit(self)
        self.names = self._names(unit, is_alone=is_alone)
        proxies = routers_of(self.labels, dict(unit.environment))
        self.unit = replace(unit, names=self.names, proxies=proxies)

    @property
    def labels(self) -> Texts:
        """What proxies read: tags of its services, as ``name=value``, and labels of its containers."""
        tags = [tag for service in self.services for tag in texts(service, "Tags")]
        pairs = [tag.partition("=") for tag in tags]
        labels = {name: value for name, _, value in pairs}
        config = table(self.task, "Config")
        # a block that may be repeated is a list
        for block in dicts(config, "labels") or [table(config, "labels")]:
            labels |= {name: str(value) for name, value in block.items()}
        return labels

    def _named(self, service: Row, task: str) -> Row:
        """Return a service with the variables in its name filled from the job."""
        _, job, group = self.key
        parts = {"JOB": job, "TASKGROUP": group, "TASK": task}
        parts["BASE"] = "-".join(filter(None, parts.values()))
        name = text(service, "Name")
        for variable, value in parts.items():
            name = name.replace(f"${{{variable}}}", value)
        return {**service, "Name": name}

    def _names(self, unit: Unit, *, is_alone: bool) -> Names:
        namespace, job, group = self.key
        meta = table(self.job, "Meta") | table(self.group, "Meta")
        meta |= table(self.task, "Meta")  # what is nearest to the work counts
        name = (job, "nomad-job", 0.95)
        if not is_alone:
            name = (f"{job}-{group}", "nomad-group", 0.95)
        # A name with a variable is another one in every allocation.
        services = [text(s, "Name") for s in self.services]
        return names_of(
            labelled(meta),
            name,
            *((name, "nomad-service", 0.8) for name in services if "$" not in name),
            *unit.inner_names,
            namespace=namespace,
        )


def _main_task(tasks: Rows) -> Row:
    """Return the task that does the work: the leader, else the first that is no sidecar."""
    working = [
        task
        for task in tasks
        if not task.get("Lifecycle") and "connect-" not in text(task, "Kind")
    ]
    leaders = [task for task in working if task.get("Leader") is True]
    return table(leaders or working or tasks, 0)


def _role(task: Row) -> str:
    """Return what a task does beside the main one: most with a lifecycle end by themselves."""
    hook = text(task, "Lifecycle", "Hook")
    is_sidecar = dig(task, "Lifecycle", "Sidecar") is True
    return "init" if hook and not is_sidecar else "sidecar"


def _to_unit(group: Group) -> Unit:
    others = [task for task in group.tasks if task is not group.task]
    ports = tuple(_ports(group))
    is_checked = any(service.get("Checks") for service in group.services)
    is_open = group.is_job or not group.is_known
    kind = "web" if ports else "worker"
    has_env = any(table(task, "Env") for task in group.tasks)
    return replace(
        _of_task(group, group.task),
        ports=ports,
        role="main" if others else None,
        beside=tuple(replace(_of_task(group, t), role=_role(t)) for t in others),
        restart_policy=_restarts(group),
        kind="job" if group.is_job else kind,
        min_healthy_pct=min_healthy(group),
        health_checked=is_checked or (None if is_open else False),
        config_external=True if group.templates or has_env else None,
    )


def _of_task(group: Group, task: Row) -> Unit:
    name = text(task, "Name")
    config = table(task, "Config")
    templates = dicts(task, "Templates")
    # shares are in MHz, which are no cores
    cores = number(task, "Resources", "Cores") or None
    env = table(task, "Env").items()
    unit = Unit(
        platform="nomad",
        **picked(task, "nomad task"),
        environment=tuple((n, v) for n, v in env if isinstance(v, str)),
        texts=(
            *command_line(config, "entrypoint", "command", "args"),
            *(Text(text(t, "EmbeddedTmpl"), "config") for t in templates),
        ),
        unread=tuple(
            f"what a template of task {name} fetches"
            for template in templates
            if _FETCH.search(text(template, "EmbeddedTmpl"))
        ),
        mounts=tuple(_mounts(group, task)),
        cpu_limit=cores,
        cpu_request=cores,
        is_process=not text(config, "image"),
    )
    if unit.is_process:
        return unit
    return replace(  # by what only holds of a container
        unit,
        memory_unlimited=False if unit.memory_limit_bytes else None,
        **picked(config, "nomad container"),
        devices_n=len(dicts(config, "devices")),
    )


def _restarts(group: Group) -> str | None:
    policy = table(group.group, "RestartPolicy")
    if not policy:  # the default starts it again, here and then elsewhere
        return "on-failure" if group.is_known else None
    if policy.get("Mode") == "delay":
        return "always"
    return "on-failure" if policy.get("Attempts") else "no"


def _ports(group: Group) -> Iterator[str]:
    networks = dicts(group.group, "Networks")
    for network in networks + dicts(group.task, "Resources", "Networks"):
        reserved = dicts(network, "ReservedPorts")
        for port in reserved + dicts(network, "DynamicPorts"):
            inner = integer(port, "To")
            outer = integer(port, "Value")
            if outer:
                yield f"{outer}->{inner or outer}/tcp"
            elif inner:
                yield f"{inner}/tcp"


def _mounts(group: Group, task: Row) -> Iterator[Mount]:
    config = table(task, "Config")
    for option in texts(config, "volumes"):
        if mount := split_volume(option):
            yield _within_allocation(mount)
    for entry in dicts(config, "mounts") + dicts(config, "mount"):
        is_writable = entry.get("readonly") is not True
        yield _within_allocation(mount_of(entry, is_writable=is_writable))
    volumes = table(group.group, "Volumes")
    for entry in dicts(task, "VolumeMounts"):
        name = text(entry, "Volume")
        volume = table(volumes, name)
        is_fixed = entry.get("ReadOnly") is True or volume.get("ReadOnly") is True
        driver = text(volume, "Type")
        yield Mount(
            text(entry, "Destination"),
            "volume",
            volume=text(volume, "Source") or name or None,
            driver=driver or None,
            is_writable=not is_fixed,
            is_remote=driver == "csi",
        )


def _within_allocation(mount: Mount) -> Mount:
    """Mark a bind with a relative source: it is removed with the allocation's directory."""
    is_absolute = re.match(r"[/\\]|[A-Za-z]:", mount.source)
    if mount.type == "bind" and not is_absolute:
        return replace(mount, source_class="alloc-dir")
    return mount


def min_healthy(group: Group) -> float | None:
    """Return the share that an update leaves running [percent]."""
    update = table(group.group.get("Update") or group.job.get("Update"))
    count = number(group.group, "Count")
    parallel = number(update, "MaxParallel")
    if group.is_job or parallel is None:
        return None
    return healthy(percent(parallel or count, count))  # 0 is all at once
