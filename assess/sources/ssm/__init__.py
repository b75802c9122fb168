"""Systems Manager: engines, systems and kernels of machines without a reachable socket."""

import re
from collections.abc import Iterable

from assess.sources.aws import AwsSource, Place
from assess.sources.aws.place import expect
from assess.sources.base import Row, Rows
from assess.sources.hosts import (
    Package,
    PlainHost,
    is_of_interest,
    seen,
    system_of,
    to_batch,
)
from assess.sources.values import dicts, dig, integer, picked, table, text

APPLICATIONS = "AWS:Application"
DETAILS = "AWS:InstanceDetailedInformation"
_NODES = {"PageSize": 50}  # as many as AWS takes
# Systems with rpm; the inventory does not always say which manager a package is of.
_RPM = re.compile(r"amazon|red hat|rhel|centos|rocky|alma|oracle|suse|sles|fedora")
_KERNEL = re.compile(r"kernel(?:-default|-uek|\d[\d.]*)?|linux-image-(?:unsigned-)?\d\S*")
_IMAGE = re.compile(r"linux-image-(?:unsigned-)?")
_NO_INVENTORY = (
    "some machines have no inventory: associate AWS-GatherSoftwareInventory with them"
)


class SsmSource(AwsSource):
    """Reads what the agents of Systems Manager reported of their machines."""

    type = "ssm"

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        call = ("ssm", "describe_instance_information", "InstanceInformationList")
        nodes = place.ask(*call, PaginationConfig=_NODES) or []
        entities = get_inventory(place)
        hosts, withheld_n = to_hosts(nodes, entities, place)
        place.add(to_batch(hosts))
        inventory = place.call("ssm", "get_inventory")
        if entities:
            listed = [host for host in hosts if host.packages is not None]
            inventory.note(rows=len(listed), redacted_n=withheld_n)
        if nodes and entities and not place.is_probe:
            expect(inventory, len(hosts), _NO_INVENTORY)


def get_inventory(place: Place) -> Rows:
    """List the packages and the systems that agents found."""
    entities = []
    for kind in (APPLICATIONS, DETAILS):
        attributes = [{"TypeName": kind}]
        answer = place.ask(
            "ssm", "get_inventory", "Entities", ResultAttributes=attributes
        )
        entities += answer or []
    return entities


def to_hosts(
    nodes: Iterable[Row], entities: Iterable[Row], place: Place
) -> tuple[list[PlainHost], int]:
    """Return the machines that agents report for, and the number of packages not kept."""
    hosts: dict[str, PlainHost] = {}
    withheld_n = 0
    for node in nodes:
        if identifier := text(node, "InstanceId"):
            hosts.setdefault(identifier, _to_host(identifier, node, place))
    for entity in entities:
        # The inventory keeps machines whose agent no longer reports.
        host = hosts.get(text(entity, "Id")) or _unlisted(entity, place)
        if not host:
            continue
        hosts[host.cloud_id] = host
        inventory = dig(entity, "Data", APPLICATIONS)
        applications = dicts(inventory, "Content")
        if applications:
            host.packages = to_packages(applications, host.facts)
            host.facts |= _kernel(applications)
            host.facts |= seen(dig(inventory, "CaptureTime"))
            withheld_n += len(applications) - len(host.packages)
        for detail in dicts(entity, "Data", DETAILS, "Content"):
            if kernel := text(detail, "KernelVersion"):
                host.facts["kernel"] = kernel
            if vcpus := integer(detail, "CPUs"):
                host.facts["vcpus"] = vcpus
    return list(hosts.values()), withheld_n


def _to_host(identifier: str, node: Row, place: Place) -> PlainHost:
    name = text(node, "ComputerName") or identifier
    facts = {
        **picked(node, "ssm machine"),
        # mi-…: a machine elsewhere that is registered with Systems Manager
        "provider": "aws" if text(node, "InstanceId").startswith("i-") else None,
        "account": place.account,
        "region": place.region or None,
        **system_of(node.get("PlatformName"), node.get("PlatformVersion")),
    }
    return PlainHost(name, place.scope, facts, cloud_id=identifier)


def _unlisted(entity: Row, place: Place) -> PlainHost | None:
    """Return a machine that is in the inventory alone; None for one that was terminated."""
    identifier = text(entity, "Id")
    node = table(entity, "Data", "AWS:InstanceInformation", "Content", 0)
    is_gone = text(node, "InstanceStatus").lower() in ("terminated", "stopped")
    return None if is_gone or not identifier else _to_host(identifier, node, place)


def to_packages(applications: Iterable[Row], facts: Row) -> dict[str, Package]:
    """Keep the packages of engines and stores."""
    system = text(facts, "os_name").replace("-", " ")
    manager = "rpm" if _RPM.match(system) else "apt"
    packages = {}
    for application in applications:
        name = text(application, "Name")
        if name and is_of_interest(name):
            is_rpm = text(application, "PackageId").endswith(".rpm")
            version = text(application, "Version")
            packages[name] = Package(version, "rpm" if is_rpm else manager)
    return packages


def _kernel(applications: Rows) -> Row:
    """Return the kernel of a machine with only one; of several, the one that runs is unknown."""
    kernels = {
        _IMAGE.sub("", name) if _IMAGE.match(name) else _release(application)
        for application in applications
        if _KERNEL.fullmatch(name := text(application, "Name"))
    }
    is_one = len(kernels) == 1 and "" not in kernels
    return {"kernel": kernels.pop()} if is_one else {}


def _release(application: Row) -> str:
    """Return the release of a kernel as ``uname -r`` does: 5.10.184-175.731.amzn2.x86_64."""
    parts = (text(application, part) for part in ("Version", "Release"))
    release = "-".join(filter(None, parts))
    arch = text(application, "Architecture")
    return f"{release}.{arch}" if release and arch else release
