"""Systems Manager: engines, systems and kernels of machines whose socket nobody can reach."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from assess.sources.aws.source import AwsSource, Place
from assess.sources.base import Row
from assess.sources.docker.payload import moment
from assess.sources.dumps import dicts, dig
from assess.sources.hosts.rows import (
    Package,
    PlainHost,
    count_of,
    is_of_interest,
    seen,
    system_of,
    text_of,
    to_batch,
)

APPLICATIONS, DETAILS = "AWS:Application", "AWS:InstanceDetailedInformation"
_NODES = {"PageSize": 50}  # as many as AWS takes
_RPM = (
    "amazon",
    "red hat",
    "rhel",
    "centos",
    "rocky",
    "alma",
    "oracle",
    "suse",
    "sles",
    "fedora",
)
_KERNEL = re.compile(r"kernel(?:-default|-uek|\d[\d.]*)?|linux-image-(?:unsigned-)?\d\S*")
_IMAGE = re.compile(r"linux-image-(?:unsigned-)?")


class SsmSource(AwsSource):
    """Reads what the agents of Systems Manager reported of their machines."""

    type = "ssm"
    fills = ("hosts", "engines")
    dump = (
        "aws ssm describe-instance-information > describe-instance-information.json; aws ssm "
        "get-inventory --result-attributes TypeName=AWS:Application > get-inventory.json; the same "
        "of AWS:InstanceDetailedInformation > get-inventory-details.json"
    )

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        nodes = place.ask(
            "ssm",
            "describe_instance_information",
            "InstanceInformationList",
            PaginationConfig=_NODES,
        )
        entities: list[Row] = []
        for kind in (APPLICATIONS, DETAILS):
            wanted = [{"TypeName": kind}]
            entities += (
                place.ask("ssm", "get_inventory", "Entities", ResultAttributes=wanted)
                or []
            )
        hosts, withheld_n = to_hosts(nodes or [], entities, place)
        for frame, rows in to_batch(hosts).rows.items():
            place.add(frame, *rows)
        row = place.row("ssm", "get_inventory")
        if entities:
            row |= {"rows": sum(bool(h.packages is not None) for h in hosts)}
            row |= {"redacted_n": withheld_n}
        if nodes and entities and not place.is_probe:
            _expect(row, len(hosts))


def _expect(row: Row, nodes_n: int) -> None:
    """Compare the machines that have an inventory with those that an agent reports for."""
    row |= {"expected": nodes_n, "ratio": round(row["rows"] / nodes_n, 4)}
    if row["status"] == "ok" and row["rows"] < nodes_n:
        hint = "some machines have no inventory: associate AWS-GatherSoftwareInventory with them"
        row |= {"status": "partial", "hint": hint}


def to_hosts(
    nodes: Iterable[Row], entities: Iterable[Row], place: Place
) -> tuple[list[PlainHost], int]:
    """Return the machines that agents report for, and the number of packages not kept."""
    hosts: dict[str, PlainHost] = {}
    withheld_n, now = 0, datetime.now(UTC)
    for node in nodes:
        if identifier := text_of(node.get("InstanceId")):
            name = text_of(node.get("ComputerName")) or identifier
            host = PlainHost(name, place.scope, _facts(node, place), cloud_id=identifier)
            hosts.setdefault(identifier, host)
    for entity in entities:
        told_of = hosts.get(text_of(entity.get("Id"))) or _unlisted(entity, place)
        if not told_of:
            continue
        host = told_of
        hosts[host.cloud_id] = host
        told = dig(entity, "Data", APPLICATIONS)
        applications = list(dicts(dig(told, "Content")))
        if applications:
            host.packages = to_packages(applications, host.facts)
            host.facts |= _kernel(applications)
            host.facts |= seen(dig(told, "CaptureTime"), None, now)
            withheld_n += len(applications) - len(host.packages)
        for detail in dicts(dig(entity, "Data", DETAILS, "Content")):
            kernel = text_of(detail.get("KernelVersion"))
            host.facts |= {"kernel": kernel} if kernel else {}
            host.facts |= {"vcpus": n} if (n := count_of(detail.get("CPUs"))) else {}
    return list(hosts.values()), withheld_n


def _unlisted(entity: Row, place: Place) -> PlainHost | None:
    """Return a machine that is in the inventory alone; None for one that was terminated."""
    identifier = text_of(entity.get("Id"))
    about = next(dicts(dig(entity, "Data", "AWS:InstanceInformation", "Content")), {})
    if not identifier or text_of(about.get("InstanceStatus")).lower() in (
        "terminated",
        "stopped",
    ):
        return None
    name = text_of(about.get("ComputerName")) or identifier
    return PlainHost(name, place.scope, _facts(about, place), cloud_id=identifier)


def _facts(node: Row, place: Place) -> Row:
    """Columns of the hosts frame that an agent tells."""
    identifier = text_of(node.get("InstanceId"))
    ping = moment(node.get("LastPingDateTime"))
    is_online = text_of(node.get("PingStatus")) == "Online"
    facts: Row = {
        "hostname": text_of(node.get("ComputerName")) or None,
        "provider": "aws"
        if identifier.startswith("i-")
        else None,  # else a machine of one's own
        "account": place.account,
        "region": place.region or None,
        "state": "running" if is_online else None,
        **system_of(node.get("PlatformName"), node.get("PlatformVersion")),
    }
    return facts | ({"last_seen_at": ping} if ping else {})


def to_packages(applications: Iterable[Row], facts: Row) -> dict[str, Package]:
    """Keep the packages of engines and stores."""
    system = text_of(facts.get("os_name")).replace("-", " ")
    manager = "rpm" if system.startswith(_RPM) else "apt"
    found = {}
    for application in applications:
        name = text_of(application.get("Name"))
        if name and is_of_interest(name):
            is_rpm = text_of(application.get("PackageId")).endswith(".rpm")
            version = text_of(application.get("Version"))
            found[name] = Package(version, "rpm" if is_rpm else manager)
    return found


def _kernel(applications: list[Row]) -> Row:
    """Return the kernel of a machine with only one; of several, the one that runs is unknown."""
    found = {
        _IMAGE.sub("", name) if _IMAGE.match(name) else _release(application)
        for application in applications
        if _KERNEL.fullmatch(name := text_of(application.get("Name")))
    }
    return {"kernel": found.pop()} if len(found) == 1 and "" not in found else {}


def _release(application: Row) -> str:
    """Return the release of a kernel as ``uname -r`` does: 5.10.184-175.731.amzn2.x86_64."""
    parts = (text_of(application.get(part)) for part in ("Version", "Release"))
    text = "-".join(part for part in parts if part)
    arch = text_of(application.get("Architecture"))
    return f"{text}.{arch}" if text and arch else text
