"""From payloads of ECS to rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from assess import frames
from assess.frames import EXTERNAL
from assess.image_ref import last_part
from assess.sources.addresses import Address
from assess.sources.aws.source import env_of, names_of, tags_of
from assess.sources.base import Batch, Name, Row
from assess.sources.docker.names import ECS, container_names
from assess.sources.docker.payload import Payload
from assess.sources.ecs.definition import (
    Definition,
    count_of,
    last_of,
    parts_of,
    text_of,
    to_definition,
    withheld_of_overrides,
)
from assess.sources.ecs.tasks import (
    known_as,
    span_of,
    to_task_activities,
    to_task_mounts,
    to_workload,
)
from assess.sources.unit import (
    Callee,
    dependency_row,
    distinct,
    environment_rows,
    service_row,
    share,
)
from assess.sources.values import dicts, dig, moment

_ROLLBACK = re.compile(r"roll(ed|ing)? ?back", re.IGNORECASE)
_PRIVATE_HOST = re.compile(r"(?P<first>[a-z0-9_-]+)(\.[a-z0-9_-]+)*\.(local|internal)")
_SCHEDULERS = (
    "events-rule/",
    "chronos-schedule/",
    "ecs-scheduler/",
    "AWS Step Functions",
)
# Tags that name an application are left out: an application has many services.
_NAMING_TAGS = ("assess.service", "service", "Service")
_MIN_HEALTHY_DEFAULT = 100
RULE, CONFIDENCE = "ecs-service", 0.98


@dataclass
class Payloads:
    """The answers of ECS for one account and region, as its API lists them."""

    services: list[Payload] = field(default_factory=list)
    tasks: list[Payload] = field(default_factory=list)
    instances: list[Payload] = field(default_factory=list)
    definitions: list[Payload] = field(default_factory=list)
    since: datetime | None = None  # from when on it tells what happened to tasks


@dataclass
class _Known:
    """What the rows of one account and region refer to."""

    definitions: dict[str, Definition]  # by ARN
    # By ARN of the container instance.
    hosts: dict[str, str] = field(default_factory=dict)
    services: dict[tuple[str, str], tuple[Name, ...]] = field(default_factory=dict)
    # Host names that services listen on, by cluster and name.
    own_hosts: dict[tuple[str, str], Name] = field(default_factory=dict)


def to_batch(payloads: Payloads) -> Batch:
    """Turn the payloads of one account and region into rows of all frames."""
    batch = Batch()
    services = [
        s
        for s in unique(payloads.services, "serviceArn")
        if s.get("status") != "INACTIVE"
    ]
    tasks = unique(payloads.tasks, "taskArn")
    definitions = unique(payloads.definitions, "taskDefinitionArn")
    known = _Known({d["taskDefinitionArn"]: to_definition(d) for d in definitions})
    for instance in unique(payloads.instances, "containerInstanceArn"):
        host, engine = to_host(instance)
        known.hosts[instance["containerInstanceArn"]] = host["host_id"]
        batch.add("hosts", host)
        batch.add("engines", engine)
    for service in services:
        names = _names_of_service(service, known)
        known.services[_key(service)] = names
        batch.add("services", _to_service(service, names, known))
        batch.add("activities", *_to_deployments(service, names))
    _listen(services, known)
    for service in services:
        batch.add("dependencies", *_to_dependencies(service, known))
    _add_tasks(batch, tasks, known, payloads.since)
    return batch


def unique(rows: Iterable[Payload], key: str) -> list[Payload]:
    """Return the entities that have an identity, each once."""
    return list(
        {text_of(row[key]): row for row in rows if text_of(row.get(key))}.values()
    )


def to_host(instance: Payload) -> tuple[Row, Row]:
    """Return the rows of the host and the engine of a container instance."""
    arn = parts_of(instance.get("containerInstanceArn"))
    attributes = {
        text_of(a.get("name")): text_of(a.get("value"))
        for a in dicts(instance.get("attributes"))
    }
    units = {
        text_of(r.get("name")): r for r in dicts(instance.get("registeredResources"))
    }
    cpu = count_of(dig(units.get("CPU"), "integerValue"))
    host_id = text_of(instance.get("ec2InstanceId")) or last_of(arn["rest"])
    versions = dig(instance, "versionInfo")
    host = frames.row(
        "hosts",
        host_id=host_id,
        provider="aws"
        if host_id.startswith("i-")
        else None,  # else a machine of one's own
        account=arn["account"] or None,
        region=arn["region"] or None,
        az=attributes.get("ecs.availability-zone") or None,
        instance_type=attributes.get("ecs.instance-type") or None,
        image_ref=attributes.get("ecs.ami-id") or None,
        arch=attributes.get("ecs.cpu-architecture") or None,
        vcpus=cpu // 1024 if cpu else None,
        asg_name=tags_of(instance.get("tags")).get("aws:autoscaling:groupName"),
        state="running" if instance.get("agentConnected") is True else None,
    )
    version = (
        text_of(dig(versions, "dockerVersion")).replace("DockerVersion:", "").strip()
    )
    engine = frames.row(
        "engines",
        host_id=host_id,
        runtime="docker",
        version=version or None,
        ecs_agent_version=text_of(dig(versions, "agentVersion")) or None,
    )
    return host, engine


def _key(payload: Payload, name: str = "") -> tuple[str, str]:
    """Identify a service by cluster and name."""
    arn = text_of(payload.get("serviceArn"))
    own = text_of(payload.get("serviceName")) or last_of(arn) or arn
    return last_of(payload.get("clusterArn")), name or own


def _names_of_service(service: Payload, known: _Known) -> tuple[Name, ...]:
    definition = known.definitions.get(text_of(service.get("taskDefinition")))
    return _names(_key(service), tags_of(service.get("tags")), definition)


def _names(
    key: tuple[str, str], tags: dict[str, str], definition: Definition | None
) -> tuple[Name, ...]:
    """List the names of what runs a definition, best first; the key may lack a service."""
    cluster, service = key
    found = [Name(service, RULE, CONFIDENCE, cluster)] if service else []
    found += names_of({tag: tags[tag] for tag in _NAMING_TAGS if tag in tags})
    if definition:
        labels = definition.labels | {ECS + "task-definition-family": definition.family}
        unit = definition.unit
        found += container_names(labels, unit.naming, unit.image_ref, definition.main)
    return tuple(sorted(found, key=lambda name: -name.confidence))


def _to_service(service: Payload, names: tuple[Name, ...], known: _Known) -> Row:
    """Return the row of a service, whether or not any task of it runs."""
    definition = known.definitions.get(text_of(service.get("taskDefinition")))
    share_needed = count_of(
        dig(service, "deploymentConfiguration", "minimumHealthyPercent")
    )
    # That no task may be missing while it deploys is the default, and tells nothing of its needs.
    if share_needed is not None and share_needed >= _MIN_HEALTHY_DEFAULT:
        share_needed = None
    balanced = bool(dicts(service.get("loadBalancers")))
    row = {
        "names": names,
        "name": _key(service)[1],
        "env": env_of(tags_of(service.get("tags"))),
        "platform": "ecs",
        "min_healthy_pct": share_needed,
        "health_checked": True if balanced else None,
    }
    return row | (_of_definition(definition, is_balanced=balanced) if definition else {})


def _of_definition(definition: Definition, *, is_balanced: bool) -> Row:
    """Return the columns of the services frame that a definition decides."""
    row = service_row(definition.unit)
    kind = "web" if definition.unit.ports or is_balanced else "worker"
    return {
        "kind": kind if row["stateful"] is False else None,
        "stateful": row["stateful"],
        "health_checked": definition.unit.health_checked or is_balanced,
        "logs_exported": row["logs_exported"],
        "secrets_in_image": definition.secret_like_n > 0,
    }


def _to_deployments(service: Payload, names: tuple[Name, ...]) -> Iterator[Row]:
    """Return the deployments that a service still lists: the newest, and those under way."""
    deployments = sorted(
        (d for d in dicts(service.get("deployments")) if moment(d.get("createdAt"))),
        key=lambda d: moment(d.get("createdAt")) or datetime.min,
    )
    before: str | None = None
    for deployment in deployments:
        state = text_of(deployment.get("rolloutState"))
        version = last_of(deployment.get("taskDefinition")) or None
        went_back = _ROLLBACK.search(text_of(deployment.get("rolloutStateReason")))
        yield {
            "activity_id": f"ecs:{text_of(service.get('serviceArn'))}/"
            f"{text_of(deployment.get('id'))}",
            "names": names,
            "group": _key(service)[0],
            "kind": "rollback" if went_back else "deploy",
            **span_of(
                deployment, "createdAt", "updatedAt" if state == "COMPLETED" else ""
            ),
            "status": state.lower() or None,
            "from_version": before,
            "to_version": version,
        }
        before = version


def _listen(services: list[Payload], known: _Known) -> None:
    """Note the host names that services are reached by within their cluster."""
    for service in services:
        cluster, name = _key(service)
        first = known.services[cluster, name][0]
        hosts = {name}
        for deployment in dicts(service.get("deployments")):
            connected = dig(deployment, "serviceConnectConfiguration", "services")
            for endpoint in dicts(connected):
                hosts.add(text_of(endpoint.get("discoveryName")))
                aliases = dicts(endpoint.get("clientAliases"))
                hosts |= {text_of(alias.get("dnsName")) for alias in aliases}
        for host in hosts - {""}:
            known.own_hosts.setdefault((cluster, host.lower()), first)


def _to_dependencies(service: Payload, known: _Known) -> list[Row]:
    """Return what a service needs: start orders, addresses that it calls, its load balancers."""
    cluster, name = _key(service)
    src = known.services[cluster, name][0]
    definition = known.definitions.get(text_of(service.get("taskDefinition")))
    rows: list[Row] = []
    if definition:
        rows = _declared_needs(src, cluster, definition, known)
    for balancer in dicts(service.get("loadBalancers")):
        group = parts_of(balancer.get("targetGroupArn"))["rest"].split("/")
        dst = group[1] if len(group) > 1 else text_of(balancer.get("loadBalancerName"))
        if dst:
            target = f"{EXTERNAL}elb/{dst}"
            rows.append(dependency_row(src, target, "discovery", "ecs-load-balancer"))
    return distinct(rows)


def _declared_needs(
    src: Name, cluster: str, definition: Definition, known: _Known
) -> list[Row]:
    """Read start orders and addresses out of a definition."""
    rows: list[Row] = []
    for container, evidence, condition in definition.needs:
        # It starts within the same task, so it is no service, whoever else is called so.
        dst = f"{EXTERNAL}{src.name}/{container}"
        row = dependency_row(src, dst, "start_order", evidence)
        rows.append(row | {"condition": condition or None})

    def find(address: Address) -> Callee:
        private = _PRIVATE_HOST.fullmatch(address.host)
        hosts = (address.host, private["first"] if private else "")
        called = (known.own_hosts.get((cluster, host)) for host in hosts)
        if name := next(filter(None, called), None):
            return name, last_part(name.name)
        return f"{EXTERNAL}{address.host}", ""

    return rows + environment_rows(src, definition.addresses, find)


def _add_tasks(
    batch: Batch, tasks: list[Payload], known: _Known, since: datetime | None
) -> None:
    """Add replicas, their mounts and activities, and services that only tasks show."""
    alone: dict[Name, Row] = {}
    for task in tasks:
        definition = known.definitions.get(text_of(task.get("taskDefinitionArn")))
        kind, _, name = text_of(task.get("group")).partition(":")
        key = _key(task, name if kind == "service" else "")
        names = known.services.get(key) or _names(
            key, tags_of(task.get("tags")), definition
        )
        if not names:
            names = (Name(_family_of(task), "ecs-family", 0.9),)
        if key not in known.services:
            row: Row = {"names": names, "platform": "ecs"}
            row |= _of_definition(definition, is_balanced=False) if definition else {}
            is_job = text_of(task.get("startedBy")).startswith(_SCHEDULERS)
            alone.setdefault(names[0], row | ({"kind": "job"} if is_job else {}))
        workload = to_workload(task, names, definition)
        workload["host_id"] = known.hosts.get(text_of(task.get("containerInstanceArn")))
        batch.add("workloads", workload)
        batch.container_ids[workload["workload_id"]] = known_as(task)
        batch.add("mounts", *to_task_mounts(workload, definition))
        happened = to_task_activities(task, workload)
        batch.add(
            "activities", *(a for a in happened if since and a["started_at"] >= since)
        )
    batch.add("services", *alone.values())
    share(batch.rows["mounts"])


def _family_of(task: Payload) -> str:
    """Return the family of a task, else its group or id."""
    family = last_of(task.get("taskDefinitionArn")).rpartition(":")[0]
    return family or text_of(task.get("group")) or last_of(task.get("taskArn"))


def redacted_n(payloads: Payloads) -> int:
    """Count the values in the payloads that pass into no row."""
    return sum(
        to_definition(d).redacted_n
        for d in unique(payloads.definitions, "taskDefinitionArn")
    ) + sum(
        withheld_of_overrides(t.get("overrides"))
        for t in unique(payloads.tasks, "taskArn")
    )
