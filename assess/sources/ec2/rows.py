"""From the payloads of one region of EC2 to rows: hosts, replicas, services, activities."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from assess.sources.aws.source import (
    env_of,
    is_cluster_node,
    is_naming,
    names_of,
    tags_of,
)
from assess.sources.base import Batch, Name, Row
from assess.sources.ec2.balancers import Balancers, Behind, Fronts
from assess.sources.ec2.scaling import to_activities
from assess.sources.hosts.rows import count_of, system_of, text_of
from assess.sources.values import dicts, dig, moment

GROUP_TAG = "aws:autoscaling:groupName"
_GONE = ("terminated", "shutting-down")
_CLUSTER_IMAGE = re.compile(r"-ecs-|eks-node|^bottlerocket-", re.IGNORECASE)
_SYSTEMS = (  # systems by the names that their makers give to images
    (r"^(?:amzn2|amazon-eks-node)-(?!.*al2023)", "amazon linux", "2"),
    (r"al2023", "amazon linux", "2023"),
    (r"^amzn-ami.*?-(20\d\d\.\d\d)", "amazon linux", ""),
    (r"ubuntu.*?-(\d\d\.(?:04|10))", "ubuntu", ""),
    (r"^debian-(\d+)", "debian", ""),
    (r"^RHEL-(\d+(?:\.\d+)?)", "rhel", ""),
)
Names = tuple[Name, ...]


@dataclass
class Answers:
    """Objects that the calls of one region list."""

    instances: list[Row] = field(default_factory=list)  # with the account that owns each
    images: list[Row] = field(default_factory=list)
    types: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)  # auto-scaling groups
    activities: list[Row] = field(default_factory=list)
    balancers: Balancers = field(default_factory=Balancers)
    account: str | None = None
    region: str = ""
    seen_at: datetime | None = None  # when it was asked


@dataclass
class _Member:
    """One instance, with its image, its auto-scaling group and the tags of both."""

    instance: Row
    image: Row
    group: str
    tags: dict[str, str]

    @property
    def names(self) -> Names:
        """Names of its service; none for a node of a cluster, whose containers are services."""
        return () if self.is_node else names_of(self.tags)

    @property
    def is_node(self) -> bool:
        """Whether it is a node of a cluster."""
        is_by_image = _CLUSTER_IMAGE.search(text_of(self.image.get("Name")))
        return is_cluster_node(self.tags) or bool(is_by_image)


@dataclass
class _Service:
    """The parts of one service."""

    names: Names
    tags: dict[str, str]
    instances: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)


def to_batch(answers: Answers) -> tuple[Batch, int]:
    """Turn answers into rows, and count the activities that are no launch or termination."""
    batch = Batch()
    fronts = Fronts(answers.balancers)
    types = {text_of(kind.get("InstanceType")): kind for kind in answers.types}
    groups = {
        text_of(group.get("AutoScalingGroupName")): group for group in answers.groups
    }
    groups.pop("", None)
    members = _members(answers, groups)
    nodes = {member.group for member in members if member.is_node}
    services: dict[Name, _Service] = {}
    names: dict[str, Names] = {}  # by group
    for name, group in groups.items():
        tags = tags_of(group.get("Tags")) | {GROUP_TAG: name}
        names[name] = () if name in nodes else names_of(tags)
        if own := names[name]:
            services.setdefault(own[0], _Service(own, tags)).groups.append(group)
    for member in members:
        instance = member.instance
        kind = types.get(text_of(instance.get("InstanceType")), {})
        host = to_host(instance, member.image, kind)
        batch.add("hosts", _of_place(host, answers) | {"asg_name": member.group or None})
        if own := member.names:
            service = services.setdefault(own[0], _Service(own, member.tags))
            service.instances.append(instance)
            batch.add("workloads", to_workload(instance, own, fronts.of([instance], [])))
    batch.add("services", *(to_service(service, fronts) for service in services.values()))
    activities, others_n = to_activities(answers.activities, names)
    batch.add("activities", *activities)
    return batch, others_n


def _members(answers: Answers, groups: dict[str, Row]) -> list[_Member]:
    """List the instances that exist, each once; AWS lists terminated ones for an hour more."""
    images = {text_of(image.get("ImageId")): image for image in answers.images}
    joined = {
        text_of(member.get("InstanceId")): name
        for name, group in groups.items()
        for member in dicts(group.get("Instances"))
    }
    members: dict[str, _Member] = {}
    for instance in answers.instances:
        identifier = text_of(instance.get("InstanceId"))
        if not identifier or dig(instance, "State", "Name") in _GONE:
            continue
        own = tags_of(instance.get("Tags"))
        group = own.get(GROUP_TAG) or joined.get(identifier, "")
        # A group passes its tags on only where each says so; they describe its instances anyway.
        tags = tags_of(dig(groups, group, "Tags")) | own
        if group:
            tags[GROUP_TAG] = group
        image = images.get(text_of(instance.get("ImageId")), {})
        cleaned = {**instance, "InstanceId": identifier}
        members[identifier] = _Member(cleaned, image, group, tags)
    return list(members.values())


def to_host(instance: Row, image: Row, kind: Row) -> Row:
    """Return the row of the hosts frame, without the columns that the place adds."""
    az = text_of(dig(instance, "Placement", "AvailabilityZone"))
    cores = count_of(dig(instance, "CpuOptions", "CoreCount"))
    threads = count_of(dig(instance, "CpuOptions", "ThreadsPerCore"))
    memory = count_of(dig(kind, "MemoryInfo", "SizeInMiB"))
    # An instance may have fewer vCPUs than its type, where its owner pays licences by core.
    vcpus = count_of(dig(kind, "VCpuInfo", "DefaultVCpus"))
    if cores and threads:
        vcpus = cores * threads
    return {
        "host_id": instance["InstanceId"],
        "hostname": text_of(instance.get("PrivateDnsName")) or None,
        "provider": "aws",
        "account": text_of(instance.get("OwnerId")) or None,
        "region": re.sub(r"(?<=\d)[a-z]$", "", az) or None,
        "az": az or None,
        "instance_type": text_of(instance.get("InstanceType")) or None,
        "image_ref": text_of(instance.get("ImageId")) or None,
        "image_created_at": moment(image.get("CreationDate")),
        "launched_at": moment(instance.get("LaunchTime")),
        **_system(instance, image),
        "arch": text_of(instance.get("Architecture")) or None,
        "vcpus": vcpus,
        "memory_bytes": memory * 2**20 if memory else None,
        "state": text_of(dig(instance, "State", "Name")) or None,
    }


def _of_place(host: Row, answers: Answers) -> Row:
    """Add what the place knows, where the instance does not have it."""
    host["account"] = host["account"] or answers.account
    host["region"] = host["region"] or answers.region or None
    if host["state"] == "running":
        host["last_seen_at"] = answers.seen_at
    return host


def _system(instance: Row, image: Row) -> Row:
    """Return the operating system: by the name of the image, else by what is billed."""
    name = text_of(image.get("Name")).rpartition("/")[2]
    for pattern, system, version in _SYSTEMS:
        if match := re.search(pattern, name):
            return system_of(system, version or match[1])
    billed = text_of(instance.get("PlatformDetails"))
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
        "state": text_of(dig(instance, "State", "Name")) or None,
        "health": front.health,
        "started_at": moment(instance.get("LaunchTime")),
        "inspect_status": "ok",
    }


def to_service(service: _Service, fronts: Fronts) -> Row:
    """Return the row of a service, as far as its groups and load balancers describe it."""
    front = fronts.of(service.instances, service.groups)
    checked = front.checked or any("ELB" in _checks(group) for group in service.groups)
    return {
        "names": service.names,
        "platform": "host",
        "env": env_of(service.tags),
        "kind": "web" if front.serves_http else None,
        "asg_min": _total(service.groups, "MinSize"),
        "asg_max": _total(service.groups, "MaxSize"),
        "health_checked": checked or None,
        "public": _is_public(front, service.instances, is_complete=fronts.is_complete),
    }


def _checks(group: Row) -> str:
    return text_of(group.get("HealthCheckType")).upper()


def _total(groups: list[Row], key: str) -> int | None:
    """Add up a size over the groups of a service; None where one does not have it."""
    sizes = [count_of(group.get(key)) for group in groups]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def _is_public(front: Behind, instances: list[Row], *, is_complete: bool) -> bool | None:
    """Return whether a load balancer is public; False only where no other way in is open."""
    if True in front.public:
        return True
    has_address = any(instance.get("PublicIpAddress") for instance in instances)
    is_internal = bool(front.public) and None not in front.public
    is_closed = is_internal and instances and not has_address and is_complete
    return False if is_closed else None


def withheld_n(answers: Answers) -> int:
    """Count the tags that name neither a service nor an environment, and are not kept."""
    return sum(
        not is_naming(key)
        for thing in (*answers.instances, *answers.groups)
        for key in tags_of(thing.get("Tags"))
    )
