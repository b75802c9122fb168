"""EC2: instances and their images, auto-scaling groups and what they did, load balancers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from assess import frames
from assess.sources.aws import (
    GROUP_TAG,
    AwsSource,
    LivePlace,
    Place,
    env_of,
    is_cluster_node,
    is_naming,
    names_of,
    span_of,
    tags_of,
)
from assess.sources.base import Batch, Keyed, Name, Names, Row, Rows
from assess.sources.csv_records import rows, vocabulary
from assess.sources.hosts import system_of
from assess.sources.values import (
    TextLists,
    Texts,
    by_name,
    dicts,
    dig,
    integer,
    joined,
    leaf,
    moment,
    picked,
    text,
    texts,
    total,
)

# Instances in one answer; without it AWS may take too long over one, and times out.
_PAGE = {"PageSize": 1000}
_IMAGES_AT_ONCE = 200  # values of a filter that AWS takes
_TYPES_AT_ONCE = 100
KEPT = timedelta(weeks=6)  # for so long AWS keeps activities of auto-scaling groups
_GONE = ("terminated", "shutting-down")
_CLUSTER_IMAGE = re.compile(r"-ecs-|eks-node|^bottlerocket-", re.IGNORECASE)
_HEALTH = vocabulary("ec2", "health")
_WORST_FIRST = ("unhealthy", "starting", "healthy")
_KINDS = {"launching": "launch", "terminating": "terminate"}
_INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b")


class Ec2Source(AwsSource):
    """Reads the machines of an account, their auto-scaling groups and load balancers."""

    type = "ec2"

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        answers = get_all(place)
        batch, others_n = to_batch(answers)
        place.add(batch)
        if answers.instances:
            call = place.call("ec2", "describe_instances")
            call.note(rows=len(answers.instances), redacted_n=withheld_n(answers))
        call = place.call("autoscaling", "describe_scaling_activities")
        if others_n:
            call.count(unmapped_n=others_n)
        if answers.seen_at and call.has_answer:
            call.note(window_start=answers.seen_at - KEPT, window_end=answers.seen_at)


def get_all(place: Place) -> Answers:
    """Ask for all that a region has; images and types only of the instances there are."""
    reservations = place.ask(
        "ec2", "describe_instances", "Reservations", PaginationConfig=_PAGE
    )
    instances = [
        {"OwnerId": reservation.get("OwnerId"), **instance}
        for reservation in reservations or ()
        for instance in dicts(reservation, "Instances")
    ]
    groups = place.ask("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups")
    activities = place.ask("autoscaling", "describe_scaling_activities", "Activities")
    kinds = ("describe_instance_types", "InstanceTypes", "InstanceTypes")
    images = get_images(place, _distinct(instances, "ImageId"))
    names = _distinct(instances, "InstanceType")
    types = place.ask_each("ec2", *kinds, names, size=_TYPES_AT_ONCE) or []
    target_groups = place.ask("elbv2", "describe_target_groups", "TargetGroups")
    classic = place.ask("elb", "describe_load_balancers", "LoadBalancerDescriptions")
    health = ("describe_target_health", "TargetHealthDescriptions", "TargetGroupArn")
    states = ("describe_instance_health", "InstanceStates", "LoadBalancerName")
    return Answers(
        instances=instances,
        images=images,
        types=types,
        groups=groups or [],
        activities=activities or [],
        balancers=place.ask("elbv2", "describe_load_balancers", "LoadBalancers"),
        target_groups=target_groups,
        targets=place.ask_each("elbv2", *health, _distinct(target_groups, health[-1])),
        classic=classic,
        states=place.ask_each("elb", *states, _distinct(classic, states[-1])),
        account=place.account,
        region=place.region,
        seen_at=datetime.now(UTC) if isinstance(place, LivePlace) else None,
    )


def _distinct(objects: Rows | None, key: str) -> list[str]:
    """List the texts of objects under a key, each once."""
    return sorted({text(item, key) for item in objects or ()} - {""})


def get_images(place: Place, ids: list[str]) -> Rows:
    """Describe images by a filter: asked by their ids, one that is gone would fail the call."""
    images = []
    for start in range(0, len(ids), _IMAGES_AT_ONCE):
        chunk = ids[start : start + _IMAGES_AT_ONCE]
        filters = [{"Name": "image-id", "Values": chunk}]
        images += place.ask("ec2", "describe_images", "Images", Filters=filters) or []
        if place.is_probe:
            break
    return images


@dataclass
class Answers:
    """Objects from the calls of one region; None for calls without an answer."""

    instances: Rows = field(default_factory=list)  # with the account that owns each
    images: Rows = field(default_factory=list)
    types: Rows = field(default_factory=list)
    groups: Rows = field(default_factory=list)  # auto-scaling groups
    activities: Rows = field(default_factory=list)
    balancers: Rows | None = None  # of the second generation
    target_groups: Rows | None = None
    targets: Rows | None = None  # with ``TargetGroupArn``, unless dumped
    classic: Rows | None = None  # load balancers of the first generation
    states: Rows | None = None  # of the instances behind those
    account: str | None = None
    region: str = ""
    seen_at: datetime | None = None  # when it was asked


@dataclass
class _Member:
    """One instance, with its image, its auto-scaling group and the tags of both."""

    instance: Row
    image: Row
    group: str
    tags: Texts

    @property
    def names(self) -> Names:
        """Names of its service; none for a node of a cluster, whose containers are services."""
        return () if self.is_node else names_of(self.tags)

    @property
    def is_node(self) -> bool:
        """Whether it is a node of a cluster."""
        is_by_image = _CLUSTER_IMAGE.search(text(self.image, "Name"))
        return is_cluster_node(self.tags) or bool(is_by_image)


@dataclass
class _Service:
    """The parts of one service."""

    names: Names
    tags: Texts
    instances: Rows = field(default_factory=list)
    groups: Rows = field(default_factory=list)


def to_batch(answers: Answers) -> tuple[Batch, int]:
    """Turn answers into rows, and count the activities that are neither launch nor termination."""
    batch = Batch()
    fronts = Fronts(answers)
    types = by_name(answers.types, key="InstanceType")
    groups = by_name(answers.groups, key="AutoScalingGroupName")
    members = _members(answers, groups)
    nodes = {member.group for member in members if member.is_node}
    shared: dict[str, Texts] = {}  # by group; a launch template tags instances only
    for member in members:
        tags = shared.get(member.group, member.tags)
        shared[member.group] = dict(tags.items() & member.tags.items())
    services: dict[Name, _Service] = {}
    names = {}  # by group
    for group_name, group in groups.items():
        tags = shared.get(group_name, {}) | tags_of(group, "Tags")
        tags[GROUP_TAG] = group_name
        names[group_name] = () if group_name in nodes else names_of(tags)
        for first in names[group_name][:1]:
            service = services.setdefault(first, _Service(names[group_name], tags))
            service.groups.append(group)
    for member in members:
        instance = member.instance
        kind = types.get(text(instance, "InstanceType"), {})
        host = to_host(instance, member.image, kind, answers)
        batch.add("hosts", host | {"asg_name": member.group or None})
        for first in member.names[:1]:
            service = services.setdefault(first, _Service(member.names, member.tags))
            service.instances.append(instance)
            front = fronts.of([instance], [])
            batch.add("workloads", to_workload(instance, member.names, front))
    batch.add("services", *(to_service(service, fronts) for service in services.values()))
    activities, others_n = to_activities(answers.activities, names)
    batch.add("activities", *activities)
    return batch, others_n


def _members(answers: Answers, groups: Keyed) -> list[_Member]:
    """List the instances that exist, each once; AWS lists terminated ones for an hour more."""
    images = by_name(answers.images, key="ImageId")
    group_of_instance = {
        text(member, "InstanceId"): name
        for name, group in groups.items()
        for member in dicts(group, "Instances")
    }
    members = {}
    for instance in answers.instances:
        identifier = text(instance, "InstanceId")
        if not identifier or dig(instance, "State", "Name") in _GONE:
            continue
        own_tags = tags_of(instance, "Tags")
        group = own_tags.get(GROUP_TAG) or group_of_instance.get(identifier, "")
        # A group passes its tags on only where each says so; they describe its instances anyway.
        tags = tags_of(groups, group, "Tags") | own_tags
        if group:
            tags[GROUP_TAG] = group
        image = images.get(text(instance, "ImageId"), {})
        cleaned = {**instance, "InstanceId": identifier}
        members[identifier] = _Member(cleaned, image, group, tags)
    return list(members.values())


def to_host(instance: Row, image: Row, kind: Row, answers: Answers) -> Row:
    """Return the row of the hosts frame; the place adds facts that the instance lacks."""
    own = picked(instance, "ec2 instance") | picked(kind, "ec2 type")
    cores = integer(instance, "CpuOptions", "CoreCount")
    threads = integer(instance, "CpuOptions", "ThreadsPerCore")
    # An instance may have fewer vCPUs than its type, where its owner pays licences by core.
    if cores and threads:
        own["vcpus"] = cores * threads
    own["account"] = own["account"] or answers.account
    return frames.row(
        "hosts",
        host_id=instance["InstanceId"],
        **own,
        provider="aws",
        region=re.sub(r"(?<=\d)[a-z]$", "", own["az"] or "") or answers.region or None,
        image_created_at=moment(image, "CreationDate"),
        **_system(instance, image),
        addresses=_addresses(instance),
        last_seen_at=answers.seen_at if own["state"] == "running" else None,
    )


def _addresses(instance: Row) -> str | None:
    every = [instance, {"PrivateIpAddress": instance.get("PublicIpAddress")}]
    for interface in dicts(instance, "NetworkInterfaces"):
        every += dicts(interface, "PrivateIpAddresses")
    return joined(text(address, "PrivateIpAddress") for address in every)


def _system(instance: Row, image: Row) -> Row:
    """Return the operating system: by the name of the image, else by what is billed."""
    name = leaf(image, "Name")
    for row in rows("ec2/systems"):  # by the names that their makers give to images
        if match := re.search(row["image"], name):
            return system_of(row["system"], row["version"] or match[1])
    billed = text(instance, "PlatformDetails")
    if billed in ("", "Linux/UNIX"):  # any Linux without a licence
        return {}
    return system_of(re.sub(r" with .*", "", billed), "")


def to_workload(instance: Row, names: Names, front: Behind) -> Row:
    """Return the row of the workloads frame of an instance that a service runs on."""
    host_id = instance["InstanceId"]
    return {
        "names": names,
        "workload_id": host_id,
        "host_id": host_id,
        "name": names[0].name,
        "source_kind": "instance",
        "health": front.health,
        **picked(instance, "ec2 workload"),
        "inspect_status": "ok",
    }


def to_service(service: _Service, fronts: Fronts) -> Row:
    """Return the row of a service, from its groups and load balancers."""
    front = fronts.of(service.instances, service.groups)
    checks = [text(group, "HealthCheckType").upper() for group in service.groups]
    is_checked = front.checked or any("ELB" in check for check in checks)
    return {
        "names": service.names,
        "platform": "host",
        "env": env_of(service.tags),
        "kind": "web" if front.serves_http else None,
        "asg_min": total(integer(group, "MinSize") for group in service.groups),
        "asg_max": total(integer(group, "MaxSize") for group in service.groups),
        "health_checked": is_checked or None,
        "addresses": joined(front.addresses),
        "public": _is_public(front, service.instances, is_complete=fronts.is_complete),
    }


def _is_public(front: Behind, instances: Rows, *, is_complete: bool) -> bool | None:
    """Return whether a load balancer is public; False only where no other way in is open."""
    if True in front.public:
        return True
    has_address = any(instance.get("PublicIpAddress") for instance in instances)
    is_internal = bool(front.public) and None not in front.public
    is_closed = is_internal and instances and not has_address and is_complete
    return False if is_closed else None


def withheld_n(answers: Answers) -> int:
    """Count the tags that name neither a service nor an environment, and are not kept."""
    things = answers.instances + answers.groups
    tags = [tag for thing in things for tag in tags_of(thing, "Tags")]
    return sum(not is_naming(tag) for tag in tags)


@dataclass
class Behind:
    """The load balancers before an instance, or before a group."""

    checked: bool = False  # whether any of them checks its health
    public: list[bool | None] = field(default_factory=list)  # of each; None where unknown
    serves_http: bool = False
    states: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)  # names, and those of its zones

    @property
    def health(self) -> str | None:
        """The worst state that any of them sees."""
        return next((state for state in _WORST_FIRST if state in self.states), None)


class Fronts:
    """Index load balancers by the instances, IPs and target groups behind them."""

    def __init__(self, answers: Answers) -> None:
        self.is_complete = answers.balancers is not None and answers.classic is not None
        self._fronts: dict[str, Behind] = {}  # by target group, or name of a classic one
        self._members: TextLists = defaultdict(list)  # their keys, by instance
        self._states: TextLists = defaultdict(list)  # by instance or address
        by_arn = by_name(answers.balancers, key="LoadBalancerArn")
        for arn, group in by_name(answers.target_groups, key="TargetGroupArn").items():
            balancers = [by_arn.get(name) for name in texts(group, "LoadBalancerArns")]
            self._fronts[arn] = Behind(
                checked=group.get("HealthCheckEnabled") is not False,
                public=[_is_facing(balancer) for balancer in balancers],
                serves_http=any(dig(b, "Type") == "application" for b in balancers),
                addresses=[a for b in balancers for a in _addresses_of(b)],
            )
        for target in answers.targets or ():
            address = text(target, "Target", "Id")
            self._note(address, dig(target, "TargetHealth", "State"))
            self._members[address].append(text(target, "TargetGroupArn"))
        for name, balancer in by_name(answers.classic, key="LoadBalancerName").items():
            self._fronts[name] = Behind(
                checked=isinstance(balancer.get("HealthCheck"), dict),
                public=[_is_facing(balancer)],
                addresses=_addresses_of(balancer),
            )
            for instance in dicts(balancer, "Instances"):
                self._members[text(instance, "InstanceId")].append(name)
        for state in answers.states or ():
            self._note(text(state, "InstanceId"), state.get("State"))

    def of(self, instances: Iterable[Row], groups: Iterable[Row]) -> Behind:
        """Join the load balancers before some instances and auto-scaling groups."""
        behind = Behind()
        keys: list[str] = []
        for instance in instances:
            addresses = (instance.get("InstanceId"), instance.get("PrivateIpAddress"))
            for address in filter(None, map(text, addresses)):
                keys += self._members.get(address, ())
                behind.states += self._states.get(address, ())
        for group in groups:
            sources = dicts(group, "TrafficSources")
            keys += texts(group, "TargetGroupARNs")
            keys += texts(group, "LoadBalancerNames")
            keys += [text(source, "Identifier") for source in sources]
        for key in dict.fromkeys(keys):
            if front := self._fronts.get(key):
                behind.checked |= front.checked
                behind.public += front.public
                behind.serves_http |= front.serves_http
                behind.addresses += front.addresses
        return behind

    def _note(self, address: str, state: object) -> None:
        if known := _HEALTH.get(text(state).lower()):
            self._states[address].append(known)


def _addresses_of(balancer: Row | None) -> list[str]:
    """List the name of a load balancer, and the addresses that it has in its zones."""
    found = [text(balancer, "DNSName")]
    for zone in dicts(balancer, "AvailabilityZones"):
        for address in dicts(zone, "LoadBalancerAddresses"):
            found += [text(address, "IpAddress"), text(address, "PrivateIPv4Address")]
    return list(filter(None, found))


def _is_facing(balancer: Row | None) -> bool | None:
    scheme = text(balancer, "Scheme")
    return scheme == "internet-facing" if scheme else None


def to_activities(
    activities: Iterable[Row], names: Mapping[str, Names]
) -> tuple[Rows, int]:
    """Return launches and terminations, with the names of their groups, and the number of others."""
    rows: Keyed = {}
    others_n = 0
    for activity in activities:
        identifier = text(activity, "ActivityId")
        arn = text(activity, "AutoScalingGroupARN")
        group = text(activity, "AutoScalingGroupName") or arn.rpartition("/")[2]
        description = text(activity, "Description")
        kind = _KINDS.get(description.partition(" ")[0].lower())
        span = span_of(activity, "StartTime", "EndTime")
        if not identifier or not kind or not span["started_at"]:
            others_n += 1
            continue
        instance = _INSTANCE.search(description)
        rows[identifier] = {
            "activity_id": identifier,
            "names": names.get(group, ()),
            "host_id": instance[0] if instance else None,
            "group": group or None,
            "kind": kind,
            **span,
            "status": text(activity, "StatusCode") or None,
            "cause": cause_of(activity.get("Cause")),
        }
    return list(rows.values()), others_n


def cause_of(reason: object) -> str:
    """Classify the cause of a launch or termination; the text may name people and is not kept."""
    # ``At 2026-07-01T10:00:00Z an instance was taken out of service in response to an ELB
    # system health check failure.`` is of health.
    words = text(reason).lower()
    # The first that fits; a difference from the desired capacity alone is no cause.
    found = (row["cause"] for row in rows("ec2/causes") if re.search(row["words"], words))
    return next(found, "unknown")
