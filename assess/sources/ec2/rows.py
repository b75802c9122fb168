"""From the payloads of one region of EC2 to rows: hosts, replicas, services, activities."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assess.sources.aws.source import (
    env_of,
    is_cluster_node,
    is_naming,
    names_of,
    tags_of,
)
from assess.sources.base import Batch, Name, Row
from assess.sources.docker.payload import moment
from assess.sources.dumps import dicts, dig
from assess.sources.ec2.balancers import Balancers, Behind, Fronts
from assess.sources.ec2.scaling import to_activities
from assess.sources.hosts.rows import count_of, system_of, text_of

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
class Payloads:
    """What one region of one account told."""

    instances: list[Row] = field(
        default_factory=list
    )  # each with the account that owns it
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


@dataclass
class _Service:
    """What belongs to one service."""

    names: Names
    tags: dict[str, str]
    instances: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)


def to_batch(payloads: Payloads) -> tuple[Batch, int]:
    """Turn the payloads into rows, and count the activities that are no launch or termination."""
    batch, fronts = Batch(), Fronts(payloads.balancers)
    types = {text_of(kind.get("InstanceType")): kind for kind in payloads.types}
    groups = {
        text_of(group.get("AutoScalingGroupName")): group for group in payloads.groups
    }
    groups.pop("", None)
    members = _members(payloads, groups)
    clustered = {m.group for m in members if is_for_cluster(m.tags, m.image)}
    services: dict[Name, _Service] = {}
    names: dict[str, Names] = {}  # by group
    for name, group in groups.items():
        tags = tags_of(group.get("Tags")) | {GROUP_TAG: name}
        names[name] = () if name in clustered else names_of(tags)
        if names[name]:
            found = services.setdefault(names[name][0], _Service(names[name], tags))
            found.groups.append(group)
    for member in members:
        instance = member.instance
        host = to_host(
            instance, member.image, types.get(text_of(instance.get("InstanceType")), {})
        )
        batch.add("hosts", _of_place(host, payloads) | {"asg_name": member.group or None})
        own = () if is_for_cluster(member.tags, member.image) else names_of(member.tags)
        if own:
            services.setdefault(own[0], _Service(own, member.tags)).instances.append(
                instance
            )
            batch.add("workloads", to_workload(instance, own, fronts.of([instance], [])))
    batch.add("services", *(to_service(service, fronts) for service in services.values()))
    activities, others_n = to_activities(payloads.activities, names)
    batch.add("activities", *activities)
    return batch, others_n


def _members(payloads: Payloads, groups: dict[str, Row]) -> list[_Member]:
    """List the instances that exist, each once; AWS lists terminated ones for an hour more."""
    images = {text_of(image.get("ImageId")): image for image in payloads.images}
    joined = {
        text_of(member.get("InstanceId")): name
        for name, group in groups.items()
        for member in dicts(group.get("Instances"))
    }
    members: dict[str, _Member] = {}
    for instance in payloads.instances:
        identifier = text_of(instance.get("InstanceId"))
        if not identifier or dig(instance, "State", "Name") in _GONE:
            continue
        own = tags_of(instance.get("Tags"))
        group = own.get(GROUP_TAG) or joined.get(identifier, "")
        tags = (
            tags_of(dig(groups, group, "Tags"))
            | own
            | ({GROUP_TAG: group} if group else {})
        )
        image = images.get(text_of(instance.get("ImageId")), {})
        members[identifier] = _Member(
            instance | {"InstanceId": identifier}, image, group, tags
        )
    return list(members.values())


def is_for_cluster(tags: dict[str, str], image: Row) -> bool:
    """Return whether an instance is a node of a cluster, whose containers are the services."""
    return is_cluster_node(tags) or bool(
        _CLUSTER_IMAGE.search(text_of(image.get("Name")))
    )


def to_host(instance: Row, image: Row, kind: Row) -> Row:
    """Return the row of the hosts frame, without the columns that the place adds."""
    az = text_of(dig(instance, "Placement", "AvailabilityZone"))
    cores, threads = (
        count_of(dig(instance, "CpuOptions", k)) for k in ("CoreCount", "ThreadsPerCore")
    )
    memory = count_of(dig(kind, "MemoryInfo", "SizeInMiB"))
    vcpus = (
        cores * threads
        if cores and threads
        else count_of(dig(kind, "VCpuInfo", "DefaultVCpus"))
    )
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


def _of_place(host: Row, payloads: Payloads) -> Row:
    """Add what the place knows, where the instance does not say it."""
    host["account"] = host["account"] or payloads.account
    host["region"] = host["region"] or payloads.region or None
    return host | (
        {"last_seen_at": payloads.seen_at} if host["state"] == "running" else {}
    )


def _system(instance: Row, image: Row) -> Row:
    """Name the operating system by its image, else by what it is billed as; else unknown."""
    name = text_of(image.get("Name")).rpartition("/")[2]
    for pattern, system, version in _SYSTEMS:
        if found := re.search(pattern, name):
            return system_of(system, version or found[1])
    billed = text_of(instance.get("PlatformDetails"))
    return (
        {}
        if billed in ("", "Linux/UNIX")
        else system_of(re.sub(r" with .*", "", billed), "")
    )


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
    """Add up a size over the groups of a service; None where one does not tell it."""
    sizes = [count_of(group.get(key)) for group in groups]
    known: list[Any] = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def _is_public(front: Behind, instances: list[Row], *, is_complete: bool) -> bool | None:
    """Return whether a load balancer is public; False only where no other way in is open."""
    if True in front.public:
        return True
    has_address = any(instance.get("PublicIpAddress") for instance in instances)
    is_inside = (
        front.public and None not in front.public and instances and not has_address
    )
    return False if is_inside and is_complete else None


def withheld_n(payloads: Payloads) -> int:
    """Count the tags that name neither a service nor an environment, and are not kept."""
    return sum(
        not is_naming(key)
        for thing in (*payloads.instances, *payloads.groups)
        for key in tags_of(thing.get("Tags"))
    )
