"""Nodes of a Kubernetes cluster: to rows of hosts and engines."""

from __future__ import annotations

import re

from assess import frames
from assess.sources.base import Row
from assess.sources.docker.engine import to_os
from assess.sources.kubernetes.pods import quantity
from assess.sources.listing import host_ids
from assess.sources.values import dicts, dig, integer, moment, table, text

_TOPOLOGY = {
    "region": (
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
    ),
    "az": ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    "instance_type": (
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
    ),
}
_RUNTIMES = ("docker", "containerd", "cri-o")


def place(item: Row) -> tuple[str, str]:
    """Return the namespace and the name of an object."""
    meta = table(item.get("metadata"))
    return text(meta.get("namespace")), text(meta.get("name"))


def ids_of(nodes: list[Row], cluster: str) -> dict[str, str]:
    """Return the host_id of every node by its name: its cloud instance, else its name."""
    names = [place(node)[1] for node in nodes]
    ids = host_ids(((name, name) for name in names), cluster)
    for node in nodes:
        instance = re.fullmatch(
            r"aws:///.*/(i-[0-9a-f]+)", text(dig(node, "spec", "providerID"))
        )
        if instance:
            ids[place(node)[1]] = instance[1]
    return ids


def to_host(node: Row, hosts: dict[str, str]) -> Row:
    """Return the row of the hosts frame."""
    name, status = place(node)[1], table(node.get("status"))
    labels, info = table(dig(node, "metadata", "labels")), table(status.get("nodeInfo"))
    os_name, os_version = to_os(text(info.get("osImage")))
    ready = next(
        (c for c in dicts(status.get("conditions")) if c.get("type") == "Ready"), {}
    )
    provider = text(dig(node, "spec", "providerID")).partition("://")[0]
    places = {
        column: next((text(labels[key]) for key in keys if text(labels.get(key))), None)
        for column, keys in _TOPOLOGY.items()
    }
    return frames.row(
        "hosts",
        host_id=hosts.get(name, name),
        hostname=text(labels.get("kubernetes.io/hostname")) or name or None,
        provider=provider or None,
        **places,
        os_name=os_name,
        os_version=os_version,
        kernel=text(info.get("kernelVersion")) or None,
        arch=text(info.get("architecture")) or None,
        vcpus=integer(quantity(dig(status, "capacity", "cpu"))),
        memory_bytes=integer(quantity(dig(status, "capacity", "memory"))),
        state={"True": "running", "False": "not-ready", "Unknown": "not-ready"}.get(
            text(ready.get("status"))
        ),
        last_seen_at=moment(ready.get("lastHeartbeatTime")),
    )


def to_engine(node: Row, hosts: dict[str, str]) -> Row | None:
    """Return the row of the engines frame; None where the runtime of a node is not known."""
    info, name = table(dig(node, "status", "nodeInfo")), place(node)[1]
    runtime, _, version = text(info.get("containerRuntimeVersion")).partition("://")
    if runtime not in _RUNTIMES:
        return None
    return frames.row(
        "engines",
        host_id=hosts.get(name, name),
        runtime=runtime,
        version=version or None,
        kubelet_version=text(info.get("kubeletVersion")).removeprefix("v") or None,
    )
