"""From payloads of ECS to rows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from assess import frames
from assess.frames import EXTERNAL
from assess.sources.aws import GROUP_TAG, LOGICAL_TAG, env_of, names_of, span_of, tags_of
from assess.sources.base import Batch, Name, Names, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.docker.names import ECS, container_names
from assess.sources.ecs.tasks import (
    Definition,
    environment_of,
    fargate_host,
    is_fargate,
    known_as,
    last_of,
    parts_of,
    to_definition,
    to_task_activities,
    to_workloads,
    wanted_host,
    withheld_of_overrides,
)
from assess.sources.ecs.template import stem_of
from assess.sources.edges import NOWHERE, dependency_row, distinct
from assess.sources.edges.address import Siblings
from assess.sources.replica import declared_rows
from assess.sources.unit import service_row, share, unread_note
from assess.sources.values import (
    Texts,
    by_name,
    dicts,
    integer,
    moment,
    number,
    picked,
    text,
)

_ROLLBACK = re.compile(r"roll(ed|ing)? ?back", re.IGNORECASE)
# What starts jobs, as the tasks say.
_SCHEDULERS = tuple(vocabulary("ecs", "schedulers"))
# Tags that name an application are left out: an application has many services.
_NAMING_TAGS = ("assess.service", "service", "Service")
_MIN_HEALTHY_DEFAULT = 100
RULE = "ecs-service"
CONFIDENCE = 0.98

ServiceKey = tuple[str, str]  # cluster, name


@dataclass
class Payloads:
    """The answers of ECS for one account and region, as its API lists them."""

    services: Rows = field(default_factory=list)
    tasks: Rows = field(default_factory=list)
    instances: Rows = field(default_factory=list)
    definitions: Rows = field(default_factory=list)
    since: datetime | None = None  # from when on it tells what happened to tasks


@dataclass
class _Known:
    """Entities of one account and region that rows refer to."""

    definitions: dict[str, Definition]  # by ARN, else by family
    hosts: Texts = field(default_factory=dict)  # by ARN of the instance
    services: dict[ServiceKey, Names] = field(default_factory=dict)
    siblings: Siblings = field(default_factory=lambda: Siblings(has_private_domains=True))

    def definition(self, arn: object) -> Definition | None:
        """Return a definition, where it was described; one that is not registered has no ARN."""
        name = last_of(arn)
        keys = (text(arn), name, name.partition(":")[0])
        return next((self.definitions[k] for k in keys if k in self.definitions), None)

    def listen(self, names: Names, arn: object, space: str, *hosts: str) -> None:
        """Note the hosts of a service; a network over all hosts knows its containers, too."""
        definition = self.definition(arn) or to_definition({})
        callee = replace(definition.unit, names=names).callee
        self.siblings.add(callee, *hosts, space=space)
        inner = {definition.family, *(c.container for c in definition.unit.containers)}
        self.siblings.add(callee, *sorted(inner), space=space, is_alias=True)


def _arn_of(user: Row) -> Any:
    """Return the definition that a service or a task runs."""
    return user.get("taskDefinition") or user.get("taskDefinitionArn")


def to_batch(payloads: Payloads) -> Batch:
    """Turn the payloads of one account and region into rows of all frames."""
    batch = Batch()
    described = unique(payloads.services, "serviceArn")
    services = [s for s in described if s.get("status") != "INACTIVE"]
    definitions = unique(payloads.definitions, "taskDefinitionArn")
    known = _Known({d["taskDefinitionArn"]: to_definition(d) for d in definitions})
    for instance in unique(payloads.instances, "containerInstanceArn"):
        host, engine = to_host(instance)
        known.hosts[instance["containerInstanceArn"]] = host["host_id"]
        batch.add("hosts", host)
        batch.add("engines", engine)
    for service in services:
        definition = known.definition(service.get("taskDefinition"))
        names = _names(_key(service), tags_of(service, "tags"), definition)
        known.services[_key(service)] = names
        known.listen(names, _arn_of(service), _key(service)[0], *_hosts(service))
        batch.add("services", _to_service(service, names, definition))
        batch.add("activities", *_to_deployments(service, names))
    for service in services:
        key = _key(service)
        needed = _to_dependencies(service, known.services[key], key[0], known)
        batch.add("dependencies", *needed)
    tasks = unique(payloads.tasks, "taskArn")
    placed = _add_tasks(batch, tasks, known, payloads.since)
    _add_declared(batch, services, placed, known)
    _add_lone(batch, [*services, *tasks], known)
    share(batch.rows["mounts"])
    if note := unread_note(d.unit for d in known.definitions.values()):
        batch.cover("", "references", **note)
    return batch


def unique(rows: Rows | None, key: str) -> Rows:
    """Return the entities that have an identity, each once."""
    return list(by_name(rows, key=key).values())


def to_host(instance: Row) -> tuple[Row, Row]:
    """Return the rows of the host and the engine of a container instance."""
    arn = parts_of(instance, "containerInstanceArn")
    attributes = environment_of(instance, "attributes")
    resources = dicts(instance, "registeredResources")
    units = {text(r, "name"): r.get("integerValue") for r in resources}
    cpu = integer(units, "CPU")  # 1,024 units a vCPU
    host_id = text(instance, "ec2InstanceId") or last_of(arn["rest"])
    host = frames.row(
        "hosts",
        host_id=host_id,
        # mi-: a machine of one's own
        provider="aws" if host_id.startswith("i-") else None,
        **picked(arn, "arn"),
        **picked(attributes, "ecs attributes"),
        vcpus=cpu // 1024 if cpu else None,
        asg_name=tags_of(instance, "tags").get(GROUP_TAG),
        state="running" if instance.get("agentConnected") is True else None,
    )
    version = text(instance, "versionInfo", "dockerVersion")
    engine = frames.row(
        "engines",
        host_id=host_id,
        runtime="docker",
        version=version.replace("DockerVersion:", "").strip() or None,
        **picked(instance, "ecs engine"),
    )
    return host, engine


def _key(payload: Row, name: str = "") -> ServiceKey:
    arn = text(payload, "serviceArn")
    name = name or text(payload, "serviceName") or last_of(arn) or arn
    return last_of(payload, "clusterArn"), name


def _names(key: ServiceKey, tags: Texts, definition: Definition | None) -> Names:
    """List the names of what runs a definition, best first; the key may lack a service."""
    cluster, service = key
    logical = tags.get(LOGICAL_TAG, "")
    if logical and f"-{logical}-" in service:  # a name that CloudFormation made up
        family = definition.family if definition else ""
        service = stem_of(logical, "Service") or family or service
    names = [Name(service, RULE, CONFIDENCE, cluster)] if service else []
    names += names_of({tag: tags[tag] for tag in _NAMING_TAGS if tag in tags})
    if definition:
        labels = definition.labels | {f"{ECS}task-definition-family": definition.family}
        unit = definition.unit
        names += container_names(labels, unit.kept, unit.image_ref, definition.main)
    # Of equal confidence, what is nearer to ECS stays first.
    return tuple(sorted(names, key=lambda name: -name.confidence))


def _to_service(service: Row, names: Names, definition: Definition | None) -> Row:
    kept = picked(service, "ecs deployment")["kept"]
    # 100% while deploying is the default, and shows nothing of the service's needs.
    if kept is not None and kept >= _MIN_HEALTHY_DEFAULT:
        kept = None
    is_balanced = bool(dicts(service, "loadBalancers"))
    return {
        "name": _key(service)[1],
        "env": env_of(tags_of(service, "tags")),
        "min_healthy_pct": kept,
        **picked(service, "ecs service"),
        "health_checked": True if is_balanced else None,
        **_of_definition(names, definition, is_balanced=is_balanced),
    }


def _of_definition(
    names: Names, definition: Definition | None, *, is_balanced: bool = False
) -> Row:
    """Return the columns of the services frame that a definition decides."""
    own: Row = {"names": names, "platform": "ecs"}
    if not definition:
        return own
    row = service_row(definition.unit)
    kind = "web" if definition.unit.ports or is_balanced else "worker"
    return own | {
        "kind": kind if row["stateful"] is False else None,
        "stateful": row["stateful"],
        "health_checked": definition.unit.health_checked or is_balanced,
        "logs_exported": row["logs_exported"],
        "config_external": any(p.environment for p in definition.unit.containers) or None,
        "secrets_in_image": row["secrets_in_image"],
    }


def _to_deployments(service: Row, names: Names) -> Iterator[Row]:
    """Return the deployments that a service still lists: the newest, and those under way."""
    listed = dicts(service, "deployments")
    dated = [(at, d) for d in listed if (at := moment(d, "createdAt"))]
    before: str | None = None
    for _, deployment in sorted(dated, key=lambda pair: pair[0]):
        state = text(deployment, "rolloutState")
        end = "updatedAt" if state == "COMPLETED" else ""
        went_back = _ROLLBACK.search(text(deployment, "rolloutStateReason"))
        version = last_of(deployment, "taskDefinition") or None
        service_arn = text(service, "serviceArn")
        yield {
            "activity_id": f"ecs:{service_arn}/{text(deployment, 'id')}",
            "names": names,
            "group": _key(service)[0],
            "kind": "rollback" if went_back else "deploy",
            **span_of(deployment, "createdAt", end),
            "status": state.lower() or None,
            "from_version": before,
            "to_version": version,
        }
        before = version


def _hosts(service: Row) -> list[str]:
    """List the host names that a service is reached by within its cluster."""
    hosts = {_key(service)[1]}
    for deployment in dicts(service, "deployments"):
        for endpoint in dicts(deployment, "serviceConnectConfiguration", "services"):
            hosts.add(text(endpoint, "discoveryName"))
            aliases = dicts(endpoint, "clientAliases")
            hosts |= {text(alias, "dnsName") for alias in aliases}
    return sorted(hosts)


def _to_dependencies(user: Row, names: Names, space: str, known: _Known) -> Rows:
    """Return what a service or a task needs: start orders, called addresses, load balancers."""
    src = names[0]
    rows = []
    if definition := known.definition(_arn_of(user)):
        for container, evidence, condition in definition.needs:
            # A container of the same task is no service, even if a service has its name.
            dst = f"{EXTERNAL}{src.name}/{container}"
            row = dependency_row(src, dst, "start_order", evidence)
            rows.append(row | {"condition": condition or None})
        rows += replace(definition.unit, names=names).needs(known.siblings, space)
    for balancer in dicts(user, "loadBalancers"):
        group = parts_of(balancer, "targetGroupArn")["rest"].split("/")
        dst = group[1] if len(group) > 1 else text(balancer, "loadBalancerName")
        if dst:
            target = f"{EXTERNAL}elb/{dst}"
            rows.append(dependency_row(src, target, "discovery", "ecs-load-balancer"))
    return distinct(rows)


def _add_tasks(
    batch: Batch, tasks: Rows, known: _Known, since: datetime | None
) -> set[ServiceKey]:
    """Add replicas with mounts and activities, and services that only tasks show; return those seen."""
    alone: dict[Name, Row] = {}
    placed: set[ServiceKey] = set()
    for task in tasks:
        definition = known.definition(task.get("taskDefinitionArn"))
        kind, _, group = text(task, "group").partition(":")
        key = _key(task, group if kind == "service" else "")
        names = known.services.get(key) or _names(key, tags_of(task, "tags"), definition)
        if not names:
            family = last_of(task, "taskDefinitionArn").rpartition(":")[0]
            name = family or text(task, "group") or last_of(task, "taskArn")
            names = (Name(name, "ecs-family", 0.9),)
        if key not in known.services:
            row = _of_definition(names, definition)
            if text(task, "startedBy").startswith(_SCHEDULERS):
                row["kind"] = "job"
            if alone.setdefault(names[0], row) is row:
                needed = _to_dependencies(task, names, key[0], known)
                batch.add("dependencies", *needed)
        placed.add(key)
        host_id = known.hosts.get(text(task, "containerInstanceArn"))
        if host := fargate_host(task):
            host_id = host["host_id"]
            batch.add("hosts", host)
        workloads, mounts = to_workloads(task, names, definition, host_id)
        batch.place(workloads, mounts)
        batch.container_ids |= known_as(task, workloads)
        happened = to_task_activities(task, workloads[0]) if since else ()
        batch.add("activities", *(a for a in happened if a["started_at"] >= since))
    batch.add("services", *alone.values())
    return placed


def _add_declared(
    batch: Batch, services: Rows, placed: set[ServiceKey], known: _Known
) -> None:
    """Add the replicas that services want, where no task of them is known."""
    for service in services:
        definition = known.definition(service.get("taskDefinition"))
        cluster, name = key = _key(service)
        if not definition or key in placed:
            continue
        unit = replace(definition.unit, names=known.services[key])
        place = {"cluster": cluster or None, "name": name, "source_kind": "task"}
        if is_fargate(service) or definition.is_fargate:
            host = wanted_host(cluster, service)
            place["host_id"] = host["host_id"]
            batch.add("hosts", host)
        count = number(service, "desiredCount")
        replicas = declared_rows(unit, f"ecs:{cluster}/service/{name}", count, place)
        batch.place(*replicas)


def _add_lone(batch: Batch, users: Rows, known: _Known) -> None:
    """Add one replica of the newest of each definition that neither service nor task uses."""
    used = [*map(_arn_of, users)]
    families = {"", *(last_of(name).partition(":")[0] for name in used)}
    families |= {d.family for d in map(known.definition, used) if d}
    every = sorted(known.definitions.items(), key=lambda pair: pair[1].revision)
    active = [(arn, d) for arn, d in every if d.is_active and d.family not in families]
    newest = {d.family: arn for arn, d in active}
    named = {}
    for arn in newest.values():
        named[arn] = _names(("", ""), {}, known.definitions[arn])
        known.listen(named[arn], arn, NOWHERE)
    for arn, names in named.items():
        definition = known.definitions[arn]
        needed = _to_dependencies({"taskDefinition": arn}, names, NOWHERE, known)
        batch.add("dependencies", *needed)
        batch.add("services", _of_definition(names, definition))
        unit = replace(definition.unit, names=names)
        place = {"name": definition.family, "source_kind": "task"}
        key = f"ecs:family/{definition.family}"
        batch.place(*declared_rows(unit, key, 1, place))


def redacted_n(payloads: Payloads) -> int:
    """Count the values in the payloads that pass into no row."""
    definitions = unique(payloads.definitions, "taskDefinitionArn")
    tasks = unique(payloads.tasks, "taskArn")
    of_definitions = sum(to_definition(d).redacted_n for d in definitions)
    return of_definitions + sum(map(withheld_of_overrides, tasks))
