"""From the apps of Marathon, and what Mesos says of its agents and tasks, to rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assess.image_ref import last_part, parse_image
from assess.sources.base import Batch, Name, Row
from assess.sources.docker.mounts import to_mounts
from assess.sources.docker.payload import moment
from assess.sources.dumps import dicts, dig
from assess.sources.listing import (
    Found,
    healthy,
    host_ids,
    integer,
    names_of,
    number,
    percent,
    share_live,
    table,
    text,
)
from assess.sources.redact import keep_env
from assess.sources.unit import LOG_SHIPPERS, keeps_data, merge_services

MARATHON = "marathon-app"
_STATES = {
    "TASK_RUNNING": "running",
    "TASK_STAGING": "created",
    "TASK_STARTING": "created",
    "TASK_CREATED": "created",
    "TASK_KILLING": "removing",
    "TASK_FINISHED": "exited",
    "TASK_FAILED": "exited",
    "TASK_KILLED": "exited",
    "TASK_ERROR": "exited",
    "TASK_LOST": "dead",
    "TASK_GONE": "dead",
    "TASK_DROPPED": "dead",
    "TASK_UNREACHABLE": "dead",
}
_MB = 2**20


class App:
    """One app, and the names that it has."""

    def __init__(self, item: Row) -> None:
        self.item, self.path = item, text(item.get("id")).strip("/")
        container = table(item.get("container"))
        self.container, self.docker = container, table(container.get("docker"))
        self.image = text(self.docker.get("image"))
        self.labels = table(item.get("labels"))
        values = table(item.get("env"))
        self.values = {
            name: value for name, value in values.items() if isinstance(value, str)
        }
        self.env_n = len(values)
        self.env = keep_env(self.values)
        naming = self.env["naming"]
        self.names = names_of(
            (self.labels.get("assess.service"), "label", 1.0),
            (self.path, MARATHON, 0.98),
            *(
                (naming.get(n), "telemetry-env", 0.8)
                for n in ("OTEL_SERVICE_NAME", "DD_SERVICE")
            ),
            (last_part(parse_image(self.image).repository), "image-repository", 0.6),
        )

    @property
    def parameters(self) -> dict[str, str]:
        """Options of ``docker run`` by their names; a name given twice keeps its last value."""
        found = dicts(self.docker.get("parameters"))
        return {text(p.get("key")): text(p.get("value")) for p in found}


def to_batch(found: Found, cluster: str) -> Batch:
    """Turn what was listed into rows of all frames that it tells of."""
    batch = Batch()
    apps = {app.path: app for item in found.get("apps", ()) if (app := App(item)).path}
    tasks = list(_tasks(found, apps))
    names = _hostnames(found, tasks)
    hosts = host_ids(names.items(), cluster)
    slaves = {text(s.get("id")): s for s in found.get("slaves", ())}
    batch.add(
        "hosts",
        *(to_host(slaves.get(own, {}), h, names[own]) for own, h in hosts.items()),
    )
    for path, task in tasks:
        workload = to_workload(task, apps.get(path), hosts, cluster)
        batch.add("workloads", workload)
        if path in apps:
            batch.add("mounts", *_mounts(apps[path], workload))
    share_live(batch)
    batch.add("services", *merge_services([to_service(app) for app in apps.values()]))
    for app in apps.values():
        batch.add("dependencies", *to_dependencies(app, apps))
        batch.add("activities", *to_activities(app, cluster))
    batch.add("activities", *_deployments(found, apps, cluster))
    return batch


def _tasks(found: Found, apps: dict[str, App]) -> Iterator[tuple[str, Row]]:
    """Tasks by the path of their app, once each; Marathon tells more of them than Mesos."""
    seen: set[str] = set()
    listed = [t for app in apps.values() for t in dicts(app.item.get("tasks"))]
    for task in (*listed, *found.get("tasks", ())):
        identifier = text(task.get("id"))
        if identifier and identifier not in seen:
            seen.add(identifier)
            yield _path_of(task), task


def _path_of(task: Row) -> str:
    """Path of the app of a task: Mesos knows it as a name, such as ``web.shop`` for /shop/web."""
    if told := text(task.get("appId")):
        return told.strip("/")
    return "/".join(reversed(text(task.get("name")).split(".")))


# -- agents --------------------------------------------------------------------------------------


def _hostnames(found: Found, tasks: list[tuple[str, Row]]) -> dict[str, str]:
    """Names of hosts by the ids of their agents; a task may know of an agent that no list has."""
    names = {text(s.get("id")): text(s.get("hostname")) for s in found.get("slaves", ())}
    for _, task in tasks:
        names.setdefault(_agent(task), text(task.get("host")))
    return {own: name for own, name in names.items() if own}


def _agent(task: Row) -> str:
    """Id of the agent of a task, else the name of its host."""
    return (
        text(task.get("slaveId")) or text(task.get("slave_id")) or text(task.get("host"))
    )


def to_host(slave: Row, host_id: str, name: str) -> Row:
    """Give the row of the hosts frame, of an agent or of the name that a task has for one."""
    resources, domain = (
        table(slave.get("resources")),
        dig(slave, "domain", "fault_domain"),
    )
    megabytes, active = integer(resources.get("mem")), slave.get("active")
    return {
        "host_id": host_id,
        "hostname": name or None,
        "region": text(dig(domain, "region", "name")) or None,
        "az": text(dig(domain, "zone", "name")) or None,
        "vcpus": integer(resources.get("cpus")),
        "memory_bytes": megabytes * _MB if megabytes else None,
        "state": None
        if not isinstance(active, bool)
        else "running"
        if active
        else "inactive",
        "last_seen_at": moment(
            slave.get("reregistered_time") or slave.get("registered_time")
        ),
    }


# -- what runs -----------------------------------------------------------------------------------


def to_workload(task: Row, app: App | None, hosts: dict[str, str], cluster: str) -> Row:
    """Give the row of a task; without its app, as that of a framework beside Marathon."""
    identifier, state = text(task.get("id")), text(task.get("state"))
    image = app.image if app else text(dig(task, "container", "docker", "image"))
    names = app.names if app else (Name(text(task.get("name")), "mesos-task", 0.6),)
    row: Row = {
        "workload_id": f"{cluster}/{identifier}",
        "names": names,
        "host_id": hosts.get(_agent(task)),
        "cluster": cluster,
        "namespace": app.path.rpartition("/")[0] or None if app else None,
        "name": identifier,
        "source_kind": "task" if image else "process" if app else None,
        "image_ref": image or None,
        **parse_image(image).columns(),
        "state": _STATES.get(state) or ("running" if task.get("startedAt") else None),
        "created_at": moment(task.get("stagedAt")),
        "started_at": moment(task.get("startedAt")) or _first_running(task),
        "health": _health(task, app),
        "inspect_status": "ok" if app else "list",
    }
    return row | (_declared(app) if app else {})


def _first_running(task: Row) -> Any:
    running = [s for s in dicts(task.get("statuses")) if s.get("state") == "TASK_RUNNING"]
    return moment(running[0].get("timestamp")) if running else None


def _health(task: Row, app: App | None) -> str | None:
    results = [r.get("alive") for r in dicts(task.get("healthCheckResults"))]
    if not app or not app.item.get("healthChecks"):
        return "none" if app else None
    return (
        None
        if not results
        else "healthy"
        if all(r is True for r in results)
        else "unhealthy"
    )


def _declared(app: App) -> Row:
    item, docker, options = app.item, app.docker, app.parameters
    memory, user = number(item.get("mem")), text(item.get("user"))
    row: Row = {
        "restart_policy": "always",  # Marathon starts a task again, whatever ended it
        "ports": ";".join(sorted({*_ports(app)})) or None,
        "env_names_n": app.env_n,
        "secret_like_env_n": app.env["secret_like"],
        "log_driver": options.get("log-driver"),
        "stop_timeout_s": number(item.get("taskKillGracePeriodSeconds")),
        "user_root": user in ("root", "0") if user and not app.image else None,
    }
    if not app.image:
        return row
    modes = [text(n.get("mode")) for n in dicts(item.get("networks"))]
    network = text(docker.get("network")).lower() or next(iter(modes), "")
    paths = [text(v.get("hostPath")) for v in dicts(app.container.get("volumes"))]
    return row | {
        "memory_limit_bytes": integer(memory * _MB) if memory else None,
        "memory_unlimited": False if memory else None,  # the engine gets it as a limit
        "privileged": docker.get("privileged") is True,
        "host_network": network == "host" if network else None,
        "docker_sock_mounted": any(path.endswith(".sock") for path in paths),
    }


def _ports(app: App) -> Iterator[str]:
    mappings = (app.docker.get("portMappings"), app.container.get("portMappings"))
    for port in (p for found in mappings for p in dicts(found)):
        inner, outer = integer(port.get("containerPort")), integer(port.get("hostPort"))
        protocol = text(port.get("protocol")).partition(",")[0] or "tcp"
        if inner:
            yield f"{outer}->{inner}/{protocol}" if outer else f"{inner}/{protocol}"
    for port in dicts(app.item.get("portDefinitions")):
        if number_ := integer(port.get("port")):
            yield f"{number_}/{text(port.get('protocol')) or 'tcp'}"


def _mounts(app: App, workload: Row) -> list[Row]:
    """Give rows of the mounts frame."""
    payloads, volumes = [], list(dicts(app.container.get("volumes")))
    used = {text(volume.get("hostPath")) for volume in volumes}
    kept = {
        text(volume.get("containerPath"))
        for volume in volumes
        if volume.get("persistent")
    }
    for volume in volumes:
        outside = table(volume.get("external"))
        target, source = text(volume.get("containerPath")), text(volume.get("hostPath"))
        if target in kept & used:  # a volume that another entry puts in its place
            continue
        is_volume = bool(outside or target in kept or source in kept)
        payloads.append(
            {
                "Type": "volume" if is_volume else "bind",
                "Name": text(outside.get("name")) or source or target
                if is_volume
                else None,
                "Source": source,
                "Destination": target,
                "Driver": text(outside.get("provider")) or None,
                "RW": text(volume.get("mode")).upper() != "RO",
            }
        )
    rows = to_mounts(workload.get("workload_id", ""), payloads)
    for row in rows:
        if row["_source"] and not row["driver"]:  # of one agent
            row["_source"] += f"@{workload.get('host_id')}"
    return rows


def to_service(app: App) -> Row:
    """Say what an app tells of its service; what it cannot tell is left unknown."""
    mounts, ports = _mounts(app, {}), ";".join(sorted({*_ports(app)})) or None
    stateful = keeps_data(mounts, parse_image(app.image).repository, ports)
    checks = app.item.get("healthChecks")
    return {
        "names": app.names,
        "platform": "marathon",
        "kind": "web" if ports else "worker",
        "stateful": True if app.item.get("residency") else stateful,
        "min_healthy_pct": min_healthy(app),
        "health_checked": bool(checks) if isinstance(checks, list) else None,
        "public": True if _is_published(app) else None,
        "logs_exported": True
        if app.parameters.get("log-driver") in LOG_SHIPPERS
        else None,
        "config_external": True if app.env_n else None,
        "secrets_in_image": app.env["secret_like"] > 0,
    }


def min_healthy(app: App) -> float | None:
    """Give the share of tasks that an upgrade keeps healthy."""
    kept = number(dig(app.item, "upgradeStrategy", "minimumHealthCapacity"))
    lost = None if kept is None else percent(max(1 - kept, 0), 1)
    return healthy(lost)


def _is_published(app: App) -> bool:
    """Say whether marathon-lb shows an app to the outside."""
    return app.labels.get("HAPROXY_GROUP") == "external"


def to_dependencies(app: App, apps: dict[str, App]) -> list[Row]:
    """Give what an app says that it needs: apps, or groups of them."""
    needed = app.item.get("dependencies")
    rows = []
    for path in needed if isinstance(needed, list) else ():
        name = _absolute(text(path), app.path)
        inside = [other for key, other in apps.items() if key.startswith(f"{name}/")]
        found = [apps[name]] if name in apps else inside
        for dst in [other.names[0] for other in found] or [Name(name, MARATHON, 0.98)]:
            if name and dst != app.names[0]:
                rows.append(
                    {
                        "src": app.names[0],
                        "dst": dst,
                        "kind": "declared",
                        "evidence": "marathon-dependencies",
                    }
                )
    return rows


def _absolute(path: str, own: str) -> str:
    """Give a path without ``..``: a relative one starts from the group of the app."""
    parts = [] if path.startswith("/") else own.split("/")[:-1]
    for part in path.strip("/").split("/"):
        parts = (
            parts[:-1] if part == ".." else parts if part in (".", "") else [*parts, part]
        )
    return "/".join(parts)


# -- what happened -------------------------------------------------------------------------------


def to_activities(app: App, cluster: str) -> Iterator[Row]:
    """Give the last change of an app and the last task of it that failed."""
    place, shared = f"{cluster}/{app.path}", {"names": app.names}
    if changed := moment(dig(app.item, "versionInfo", "lastConfigChangeAt")):
        yield shared | {
            "activity_id": f"{place}/{changed:%Y%m%dT%H%M%S}",
            "kind": "deploy",
            "started_at": changed,
            "to_version": parse_image(app.image).tag,
        }
    failed = table(app.item.get("lastTaskFailure"))
    if at := moment(failed.get("timestamp")):
        yield shared | {
            "activity_id": f"{place}/{text(failed.get('taskId'))}",
            "kind": "terminate",
            "started_at": at,
            "cause": "health",
            "status": text(failed.get("state")) or None,
        }
        after = (moment(t.get("startedAt")) for t in dicts(app.item.get("tasks")))
        if later := sorted(started for started in after if started and started >= at):
            yield shared | {
                "activity_id": f"{place}/{text(failed.get('taskId'))}/launch",
                "kind": "launch",
                "started_at": later[0],
                "cause": "health",
            }


def _deployments(found: Found, apps: dict[str, App], cluster: str) -> Iterator[Row]:
    """Give the deployments that are under way."""
    for item in found.get("deployments", ()):
        started, affected = moment(item.get("version")), item.get("affectedApps")
        for path in affected if isinstance(affected, list) and started else ():
            app = apps.get(text(path).strip("/"))
            if app:
                yield {
                    "activity_id": f"{cluster}/{text(item.get('id'))}/{app.path}",
                    "names": app.names,
                    "kind": "deploy",
                    "started_at": started,
                    "status": "running",
                }
