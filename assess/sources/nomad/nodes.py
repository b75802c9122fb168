"""Nodes of a Nomad cluster: to rows of hosts and engines."""

from __future__ import annotations

from collections.abc import Iterator

from assess import frames
from assess.sources.base import Row
from assess.sources.docker.engine import to_os
from assess.sources.values import dig, integer, table, text

AWS = "platform.aws."


def attribute(node: Row, name: str) -> str:
    """Return what a client detected about its node; empty where it did not."""
    return text(table(node.get("Attributes")).get(name))


def to_host(node: Row, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    os_name, os_version = to_os(
        f"{attribute(node, 'os.name')} {attribute(node, 'os.version')}"
    )
    status, zone = (
        text(node.get("Status")),
        attribute(node, f"{AWS}placement.availability-zone"),
    )
    memory = integer(attribute(node, "memory.totalbytes"))
    megabytes = integer(dig(node, "NodeResources", "Memory", "MemoryMB"))
    version = attribute(node, "unique.cgroup.version") or attribute(
        node, "os.cgroups.version"
    )
    return frames.row(
        "hosts",
        host_id=host_id,
        hostname=attribute(node, "unique.hostname") or text(node.get("Name")) or None,
        provider="aws" if zone else None,
        region=zone[:-1] or None,
        az=zone or text(node.get("Datacenter")) or None,
        instance_type=attribute(node, f"{AWS}instance-type") or None,
        os_name=os_name if attribute(node, "os.name") else None,
        os_version=os_version if attribute(node, "os.name") else None,
        kernel=attribute(node, "kernel.version") or None,
        arch=attribute(node, "cpu.arch") or None,
        vcpus=integer(attribute(node, "cpu.numcores")),
        memory_bytes=memory or (megabytes * 2**20 if megabytes else None),
        cgroup_version=version.removeprefix("v") or None,
        state="running" if status == "ready" else status or None,
    )


def to_engines(node: Row, host_id: str) -> Iterator[Row]:
    """Return the rows of the engines frame, from the drivers of the node."""
    drivers = table(node.get("Drivers"))
    detected = [
        name for name in ("docker", "podman") if dig(drivers, name, "Detected") is True
    ]
    detected += [
        n for n in ("docker", "podman") if attribute(node, f"driver.{n}.version")
    ]
    for name in dict.fromkeys(detected):
        key = f"driver.{name}.version"
        version = text(table(dig(drivers, name, "Attributes")).get(key)) or attribute(
            node, key
        )
        is_well = dig(drivers, name, "Healthy")
        yield frames.row(
            "engines",
            host_id=host_id,
            runtime=name,
            version=version or None,
            reachable=is_well if isinstance(is_well, bool) else None,
        )
    if "docker" in drivers and not detected:
        yield {"host_id": host_id, "runtime": "none"}
