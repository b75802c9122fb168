"""Convert apps of Marathon, and agents and tasks of Mesos, to rows."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from assess import frames
from assess.image_ref import as_declared, parse_image
from assess.sources.base import Batch, Name, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.edges import command_line, dependency_row, distinct
from assess.sources.edges.address import Siblings
from assess.sources.listing import Found, complete, host_ids, labelled, names_of
from assess.sources.marathon.pods import kept_of, pod_unit, sizes, unread_of
from assess.sources.replica import Replicas, declared_rows, replica_rows
from assess.sources.routing import routed_calls, routers_of
from assess.sources.unit import Unit, service_row
from assess.sources.values import (
    Texts,
    Words,
    by_name,
    dicts,
    integer,
    moment,
    number,
    picked,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount, split_volume

MARATHON = "marathon-app"
# Names that Mesos-DNS and DC/OS give an app, or a virtual address of it.
_DOMAINS = vocabulary("marathon", "domains")


class App:
    """One app of Marathon, or one pod of it: apps whose containers are placed together."""

    def __init__(self, item: Row) -> None:
        self.item = item
        self.path = text(item, "id").strip("/")
        self.container = table(item, "container")
        self.docker = table(self.container, "docker")
        self.labels = table(item, "labels")
        self.parameters = dicts(self.docker, "parameters")
        # Options of `docker run`; one that is given twice keeps its last value.
        self.options = {text(p, "key"): text(p, "value") for p in self.parameters}
        self.ports = [
            *dicts(self.docker, "portMappings"),
            *dicts(self.container, "portMappings"),
            *dicts(item, "portDefinitions"),
            *(e for c in dicts(item, "containers") for e in dicts(c, "endpoints")),
        ]
        is_pod = "containers" in item
        unit = pod_unit(item, tuple(_ports(self))) if is_pod else _to_unit(self)
        own = (self.path, MARATHON, 0.98)
        self.names = names_of(labelled(self.labels), own, *unit.inner_names)
        proxies = routers_of(self.labels, dict(unit.environment))
        self.unit = replace(unit, names=self.names, proxies=proxies)

    @property
    def place(self) -> Row:
        """Columns of workloads that say what and where it is."""
        return {
            "namespace": self.path.rpartition("/")[0] or None,
            "source_kind": "process" if self.unit.is_process else "task",
        }

    @property
    def virtual_addresses(self) -> Iterator[str]:
        """Hosts of its virtual addresses; that of ``/shop/web:80`` is ``shopweb``."""
        for port in self.ports:
            for label, value in table(port, "labels").items():
                if label.startswith("VIP_"):
                    host = text(value).rpartition(":")[0].replace("/", "")
                    yield host.lower()


Apps = dict[str, App]  # by path


def to_batch(lists: Found, cluster: str) -> Batch:
    """Turn what was listed into rows of all frames."""
    lists = defaultdict(list, lists)
    batch = Batch()
    listed = (App(item) for item in lists["apps"])
    apps = {app.path: app for app in listed if app.path}
    tasks = list(_tasks(lists, apps))
    names = _hostnames(lists, tasks)
    hosts = host_ids(names.items(), cluster)
    slaves = by_name(lists, "slaves", key="id")
    for agent, host in hosts.items():
        batch.add("hosts", to_host(slaves.get(agent, {}), host, names[agent]))
    for path, task in tasks:
        batch.place(*to_workloads(task, apps.get(path), hosts, cluster))
    for path in sorted(apps.keys() - {path for path, _ in tasks}):
        batch.place(*to_declared(apps[path], cluster))
    units = [app.unit for app in apps.values()]
    services = [*map(to_service, apps.values())]
    complete(batch, cluster, units, services, to_dependencies(apps))
    for app in apps.values():
        batch.add("activities", *to_activities(app, cluster))
    batch.add("activities", *_deployments(lists, apps, cluster))
    return batch


def _tasks(lists: Found, apps: Apps) -> Iterator[tuple[str, Row]]:
    """List tasks once each, by the path of their app; Marathon knows more of them than Mesos."""
    seen: set[str] = set()
    listed = [t for app in apps.values() for t in dicts(app.item, "tasks")]
    for task in (*listed, *lists["tasks"]):
        identifier = text(task, "id")
        if identifier and identifier not in seen:
            seen.add(identifier)
            # Mesos has ``web.shop`` for /shop/web
            named = "/".join(reversed(text(task, "name").split(".")))
            yield (text(task, "appId") or named).strip("/"), task


def _hostnames(lists: Found, tasks: list[tuple[str, Row]]) -> Texts:
    """Index host names by agent; a task may name an agent that no list has."""
    names = {text(s, "id"): text(s, "hostname") for s in lists["slaves"]}
    for _, task in tasks:
        names.setdefault(_agent(task), text(task, "host"))
    names.pop("", None)
    return names


def _agent(task: Row) -> str:
    """Return the id of the agent of a task, else the name of its host."""
    return picked(task, "agent of a task")["agent"] or ""


def to_host(slave: Row, host_id: str, name: str) -> Row:
    """Return the row of the hosts frame, of an agent or of the name that a task has for one."""
    return frames.row(
        "hosts",
        host_id=host_id,
        hostname=name or None,
        **picked(slave, "mesos agent"),
    )


def _to_unit(app: App) -> Unit:
    item = app.item
    env = table(item, "env")
    # A reference to a secret is a table; it counts as a variable without a value.
    pairs = tuple((name, text(value)) for name, value in env.items())
    image = text(app.docker, "image")
    ports = tuple(_ports(app))
    size = sizes(item, table(item, "resourceLimits"))
    checks = item.get("healthChecks")
    unit = Unit(
        platform="marathon",
        image=image,
        environment=pairs,
        texts=command_line(item, "cmd", "args"),
        unread=tuple(unread_of(env)),
        ports=ports,
        # `user` is that of the executor: only without an image is it that of the app.
        user=text(app.options.get("user") if image else item.get("user")),
        mounts=tuple(_mounts(app)),
        is_process=not image,
        cpu_request=size["cpu_request"],
        memory_request_bytes=size["memory_request_bytes"],
        restart_policy="always",  # Marathon starts a task again, whatever ended it
        log_driver=app.options.get("log-driver"),
        stop_timeout_s=number(item, "taskKillGracePeriodSeconds"),
        kind="web" if ports else "worker",
        stateful=True if item.get("residency") else None,
        min_healthy_pct=kept_of(item, "upgradeStrategy"),
        health_checked=bool(checks) if isinstance(checks, list) else None,
        config_external=True if env else None,
    )
    if not image:
        return unit
    return replace(  # by what only holds of a container
        unit,
        **size,
        privileged=app.docker.get("privileged") is True,
        host_network=_is_on_host(app),
        **picked(app.options, "marathon parameters"),
        readonly_root=app.options.get("read-only") == "true",
        caps_added=_added(app, "cap-add"),
        devices_n=len(_added(app, "device")),
    )


def _added(app: App, key: str) -> Words:
    """Return the values of a parameter that may stand several times."""
    return tuple(text(p, "value") for p in app.parameters if p.get("key") == key)


def _is_on_host(app: App) -> bool | None:
    """Return whether an app is on the network of its host, where ports cannot be mapped."""
    modes = [text(n, "mode") for n in dicts(app.item, "networks")]
    network = text(app.docker, "network").lower() or text(modes, 0)
    if network:
        return network == "host"
    mapped = dicts(app.docker, "portMappings") + dicts(app.container, "portMappings")
    return False if mapped else None


def _ports(app: App) -> Iterator[str]:
    for port in app.ports:
        inner = integer(port, "containerPort")
        outer = integer(port, "hostPort")
        protocols = [text(port, "protocol"), *texts(port, "protocol"), "tcp"]
        protocol = next(filter(None, protocols))
        if inner:
            published = f"{outer}->" if outer else ""
            yield f"{published}{inner}/{protocol.partition(',')[0]}"
        elif outer:  # of a pod on the network of its host
            yield f"{outer}->{outer}/{protocol}"
        elif defined := integer(port, "port"):
            yield f"{defined}/{protocol}"


def _mounts(app: App) -> Iterator[Mount]:
    volumes = dicts(app.container, "volumes")
    used = {text(volume, "hostPath") for volume in volumes}
    persistent = {text(v, "containerPath") for v in volumes if v.get("persistent")}
    for volume in volumes:
        external = table(volume, "external")
        target = text(volume, "containerPath")
        source = text(volume, "hostPath")
        if target in persistent & used:  # another entry mounts this volume at its place
            continue
        is_volume = bool(external or target in persistent or source in persistent)
        name = text(external, "name") or source or target
        driver = text(external, "provider") or None
        yield Mount(
            target,
            "volume" if is_volume else "bind",
            source="" if is_volume else source,
            volume=name if is_volume else None,
            driver=driver,
            is_writable=text(volume, "mode").upper() != "RO",
            is_remote=driver is not None,
            # A persistent volume is of one task, whatever others call theirs.
            shared_as="" if {target, source} & persistent else None,
        )
    options = (p for p in app.parameters if p.get("key") == "volume")
    yield from filter(None, (split_volume(text(p, "value")) for p in options))


def to_service(app: App) -> Row:
    """Return the row of the services frame."""
    is_published = app.labels.get("HAPROXY_GROUP") == "external"  # by marathon-lb
    is_published |= "slave_public" in texts(app.item, "acceptedResourceRoles")
    # a group of marathon-lb may be an internal one
    is_published |= bool({*app.unit.proxies} - {"marathon-lb"})
    return service_row(app.unit) | {"public": True if is_published else None}


def to_workloads(task: Row, app: App | None, hosts: Texts, cluster: str) -> Replicas:
    """Return the rows of a task; one without app is that of a framework beside Marathon."""
    identifier = text(task, "id")
    statuses = dicts(task, "statuses")
    first = next((s for s in statuses if s.get("state") == "TASK_RUNNING"), {})
    own = picked(task | {"running": first}, "mesos task")
    own["state"] = own["state"] or ("running" if task.get("startedAt") else None)
    replica = {
        "workload_id": f"{cluster}/{identifier}",
        "names": app.names if app else (Name(text(task, "name"), "mesos-task", 0.6),),
        "host_id": hosts.get(_agent(task)),
        "cluster": cluster,
        "name": identifier,
        **own,
        "inspect_status": "ok" if app else "list",
    }
    if app:
        health = {"health": _health(task, app)}
        return replica_rows(app.unit, replica | app.place, health)
    image = text(task, "container", "docker", "image")
    row = {
        **replica,
        "source_kind": "task" if image else None,
        "image_ref": as_declared(image),
        **parse_image(image).columns(),
    }
    return [row], []


def to_declared(app: App, cluster: str) -> Replicas:
    """Return the rows of the instances that an app declares and that have no known task."""
    count = number(app.item, "instances")
    if count is None:
        count = number(app.item, "scaling", "instances")
    place = {"cluster": cluster, "name": app.path, **app.place}
    return declared_rows(app.unit, f"{cluster}/{app.path}", count, place)


def _health(task: Row, app: App) -> str | None:
    if not app.item.get("healthChecks"):
        return "none"
    results = [r.get("alive") for r in dicts(task, "healthCheckResults")]
    if not results:
        return None
    return "healthy" if all(alive is True for alive in results) else "unhealthy"


def to_dependencies(apps: Apps) -> Rows:
    """Return the declared dependencies of apps, and the apps in their environment."""
    by_host: Apps = {}
    for app in apps.values():
        parts = app.path.lower().split("/")[::-1]
        for host in (".".join(parts), "-".join(parts), *app.virtual_addresses):
            by_host.setdefault(host, app)
    siblings = Siblings()
    for host, app in by_host.items():
        callee = app.unit.callee
        siblings.add(callee, host, *(host + domain for domain in _DOMAINS))
    rows: Rows = []
    for app in apps.values():
        rows += _declared(app, apps)
        rows += app.unit.needs(siblings)
    units = [app.unit for app in apps.values()]
    return distinct([*rows, *routed_calls(units, "marathon-labels")])


def _declared(app: App, apps: Apps) -> Iterator[Row]:
    """Return the apps, or groups of them, that an app declares as its dependencies."""
    group = app.path.rpartition("/")[0]
    for path in texts(app.item, "dependencies"):
        # Within a group it starts from there; alone, from the app itself.
        readings = [absolute(path, base) for base in (group, app.path)]
        places = list(filter(None, readings))
        found = (_at_or_below(place, apps) for place in places)
        called = next(filter(None, found), [])
        missing = [Name(place, MARATHON, 0.98) for place in places[:1]]
        for dst in [other.names[0] for other in called] or missing:
            yield dependency_row(app.names[0], dst, "declared", "marathon-dependencies")


def _at_or_below(path: str, apps: Apps) -> list[App]:
    """List the app of a path, or those of a group."""
    if path in apps:
        return [apps[path]]
    return [other for key, other in apps.items() if key.startswith(f"{path}/")]


def absolute(path: str, base: str) -> str:
    """Return a path without ``..`` and outer slashes; a relative one starts from the base."""
    parts = [] if path.startswith("/") else base.strip("/").split("/")
    for part in path.strip("/").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts = [*parts, part]
    return "/".join(filter(None, parts))


def to_activities(app: App, cluster: str) -> Iterator[Row]:
    """Return the last change of an app and the last task of it that failed."""
    place = f"{cluster}/{app.path}"
    if changed := moment(app.item, "versionInfo", "lastConfigChangeAt"):
        yield {
            "activity_id": f"{place}/{changed:%Y%m%dT%H%M%S}",
            "names": app.names,
            "kind": "deploy",
            "started_at": changed,
            "to_version": app.unit.image_ref.tag,
        }
    failure = table(app.item, "lastTaskFailure")
    failed_at = moment(failure, "timestamp")
    if not failed_at:
        return
    identifier = f"{place}/{text(failure, 'taskId')}"
    shared = {"names": app.names, "cause": "health"}
    yield shared | {
        "activity_id": identifier,
        "kind": "terminate",
        "started_at": failed_at,
        "status": text(failure, "state") or None,
    }
    starts = (moment(t, "startedAt") for t in dicts(app.item, "tasks"))
    if later := sorted(start for start in starts if start and start >= failed_at):
        yield shared | {
            "activity_id": f"{identifier}/launch",
            "kind": "launch",
            "started_at": later[0],
        }


def _deployments(lists: Found, apps: Apps, cluster: str) -> Iterator[Row]:
    for item in lists["deployments"]:
        started = moment(item, "version")
        for path in texts(item, "affectedApps") if started else ():
            if app := apps.get(path.strip("/")):
                yield {
                    "activity_id": f"{cluster}/{text(item, 'id')}/{app.path}",
                    "names": app.names,
                    "kind": "deploy",
                    "started_at": started,
                    "status": "running",
                }
