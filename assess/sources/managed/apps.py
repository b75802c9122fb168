"""Apps on a provider's platform, and the rows that follow from them.

Nobody sees the hosts of a platform. Each replica has one that its provider patches, as a task on
Fargate has; replicas that are only declared share one, since nothing shows that they are apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from assess import frames
from assess.frames import EXTERNAL
from assess.sources.base import Batch, Name, Row, Rows
from assess.sources.edges import command_line, dependency_row, distinct
from assess.sources.edges.address import Siblings, may_be_address
from assess.sources.listing import names_of
from assess.sources.replica import MAX_DECLARED, Replicas, declared_rows, replica_rows
from assess.sources.unit import Unit, merge_services, service_row, share, unread_note
from assess.sources.values import Texts, Words, dicts, joined, picked, text, total

EVIDENCE = "platform-store"
STOPPED = "stopped"


@dataclass(frozen=True)
class Deploy:
    """One revision of an app."""

    version: str
    at: datetime
    status: str | None = None


@dataclass(frozen=True)
class App:
    """One service or job of a platform, in one region."""

    name: str
    platform: str  # as the reference facts know it
    provider: str
    account: str = ""  # project or subscription
    region: str = ""
    space: str = ""  # in which its name is an address: an environment
    unit: Unit = field(default_factory=lambda: Unit(platform="unknown"))
    least: int | None = None  # replicas that are always kept
    most: int | None = None
    running_n: int = 0  # replicas that something shows
    is_stopped: bool = False
    is_job: bool = False
    is_public: bool | None = None
    ships_logs: bool | None = None
    hosts: Words = ()  # names by which others reach it
    stores: Words = ()  # managed ones that it mounts
    created_at: datetime | None = None
    deploys: tuple[Deploy, ...] = ()
    digests: Texts = field(default_factory=dict)  # by container
    # of its workloads, beside those of the unit
    columns: Row = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where it is, and its name."""
        parts = filter(None, (self.region, self.space, self.name))
        return f"{self.platform.replace(' ', '-')}:{'/'.join(parts)}"


# ---- what the platforms describe in the same words ----


def to_unit(
    container: Row,
    platform: str,
    refers: Words,
    *,
    cpu: Any,
    memory: Any,
    **own: Any,
) -> Unit:
    """Read one container; an entry of its environment with a key of ``refers`` has no value."""
    entries = dicts(container, "env")
    pairs = [(text(e, "name"), e) for e in entries if text(e, "name")]
    secret = [name for name, entry in pairs if any(entry.get(key) for key in refers)]
    return Unit(
        platform=platform,
        **picked(container, "managed container"),
        environment=tuple((name, text(entry, "value")) for name, entry in pairs),
        texts=command_line(container, "command", "args"),
        unread=tuple(f"variable {name}" for name in secret if may_be_address(name)),
        memory_limit_bytes=memory,
        memory_request_bytes=memory,
        memory_unlimited=False,
        cpu_limit=cpu,
        cpu_request=cpu,
        # the platforms offer none of these
        privileged=False,
        host_network=False,
        host_pid=False,
        host_ipc=False,
        readonly_root=False,
        caps_added=(),
        devices_n=0,
        config_external=True if pairs else None,
        **own,
    )


def to_replica(
    main: Unit,
    beside: list[Unit],
    *,
    is_job: bool,
    is_web: bool,
    retries: int | None,
    **own: Any,
) -> Unit:
    """Return the main container of a replica with those beside it; only a job ever ends."""
    kind = "web" if is_web else "worker"
    restarts = "no" if retries == 0 else "on-failure"
    return replace(
        main,
        role="main" if beside else None,
        beside=tuple(beside),
        restart_policy=restarts if is_job else "always",
        kind="job" if is_job else kind,
        **own,
    )


def to_rows(apps: Iterable[App], rule: str, scope: str) -> Batch:
    """Return the rows of all apps of a platform; the same name in two regions is one service."""
    batch = Batch()
    siblings = Siblings()
    named = [replace(app, unit=_with_names(app, rule)) for app in apps]
    services = []
    for app in named:
        siblings.add(app.unit.callee, *app.hosts)
        siblings.add(app.unit.callee, app.name, space=app.space or app.region)
        services.append(_service(app))
        _add_replicas(batch, app)
    batch.add("services", *_merged(services))
    for app in named:
        batch.add("dependencies", *_needs(app, siblings))
        batch.add("activities", *_deploys(app))
    share(batch.rows["mounts"])
    if note := unread_note(app.unit for app in named):
        batch.cover(scope, "references", **note)
    return batch


def _with_names(app: App, rule: str) -> Unit:
    own = Name(app.name, f"{rule}-name", 0.95, app.account)
    inner = names_of(*app.unit.inner_names)
    return replace(app.unit, names=(*app.unit.names, own, *inner))


def _service(app: App) -> Row:
    row = service_row(app.unit)
    if app.ships_logs is not None:
        row["logs_exported"] = app.ships_logs
    if not app.is_job:
        row |= {"asg_min": app.least, "asg_max": app.most}
    return row | {"public": app.is_public, "addresses": joined(app.hosts)}


def _merged(services: Rows) -> Rows:
    """Merge the rows of an app in several regions; numbers of replicas add up."""
    merged = merge_services(services)
    for row in merged:
        group = [other for other in services if other["names"][0] == row["names"][0]]
        for column in ("asg_min", "asg_max"):
            row[column] = total(other.get(column) for other in group)
        row["addresses"] = joined(o["addresses"] for o in group)
        if any(other["public"] for other in group):
            row["public"] = True
    return merged


def _add_replicas(batch: Batch, app: App) -> None:
    """Add replicas that run, else those that are declared, each with the host that it needs."""
    running_n = min(app.running_n, MAX_DECLARED)
    for number in range(1, running_n + 1):
        host = _host(app, str(number))
        replica = {
            "names": app.unit.names,
            "workload_id": f"{app.key}/{number}",
            "state": "running",
            **_shared(app, host),
        }
        _add(batch, app, host, replica_rows(app.unit, replica))
    if not running_n:
        host = _host(app, "declared")
        # an app that is scaled to zero still declares its containers
        wanted = max(app.least or 0, 1)
        found = declared_rows(app.unit, app.key, wanted, _shared(app, host))
        _add(batch, app, host, found, {"state": STOPPED} if app.is_stopped else {})


def _add(
    batch: Batch, app: App, host: Row, replica: Replicas, own: Row | None = None
) -> None:
    workloads, mounts = replica
    for row in workloads:
        # it is deployed as it is described
        row |= {"inspect_status": "ok", **(own or {})}
        digest = app.digests.get(row["name"]) or app.digests.get("")
        if digest and (row["name"] in app.digests or row["container_role"] != "sidecar"):
            row["image_digest"] = digest
    batch.add("hosts", host)
    batch.place(workloads, mounts)


def _shared(app: App, host: Row) -> Row:
    return {
        "host_id": host["host_id"],
        "cluster": app.space or None,
        "namespace": app.account or None,
        "name": app.unit.container or app.name,
        "source_kind": "task",
        "created_at": app.created_at,
        **app.columns,
    }


def _host(app: App, part: str) -> Row:
    parts = [part for part in app.unit.containers if part.role != "init"]
    cpu = total(part.cpu_limit for part in parts)
    return frames.row(
        "hosts",
        host_id=f"{app.key}/{part}",
        provider=app.provider,
        account=app.account or None,
        region=app.region or None,
        managed_by="provider",
        provider_version=app.platform,
        os_family="linux",
        vcpus=int(cpu) if cpu and cpu >= 1 else None,
        memory_bytes=total(part.memory_limit_bytes for part in parts) or None,
        state="running" if app.running_n else None,
    )


def _needs(app: App, siblings: Siblings) -> Rows:
    rows: Rows = [
        dependency_row(app.unit.names[0], f"{EXTERNAL}{store}", "data", EVIDENCE)
        for store in app.stores
    ]
    rows += app.unit.needs(siblings, app.space or app.region)
    return distinct(rows)


def _deploys(app: App) -> Rows:
    before: Any = None
    rows = []
    for deploy in sorted(app.deploys, key=lambda deploy: deploy.at):
        row = frames.row(
            "activities",
            activity_id=f"{app.key}/{deploy.version}",
            group=app.space or None,
            kind="deploy",
            started_at=deploy.at,
            status=deploy.status,
            from_version=before,
            to_version=deploy.version,
        )
        rows.append(row | {"names": app.unit.names})
        before = deploy.version
    return rows
