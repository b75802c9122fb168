"""From the payloads of a Docker engine to rows of the hosts and engines frames."""

from __future__ import annotations

import re

from assess.sources.base import Row
from assess.sources.docker.payload import (
    Payloads,
    containers_of,
    dicts,
    dig,
    moment,
    texts,
)

DISTRIBUTIONS = (  # as the reference facts name them, and the parts of a version that they tell
    ("debian", "debian", 1),
    ("ubuntu", "ubuntu", 2),
    ("alpine", "alpine-linux", 2),
    ("amazon", "amazon-linux", 2),
    ("red hat enterprise", "rhel", 1),
    ("centos stream", "centos-stream", 1),
    ("centos", "centos", 1),
    ("rocky", "rocky-linux", 1),
    ("alma", "almalinux", 1),
    ("fedora", "fedora", 1),
    ("suse linux enterprise", "sles", 2),
)


def to_host(payloads: Payloads, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    info = payloads.info
    os_name, os_version = to_os(info.get("OperatingSystem"), info.get("OSVersion"))
    return {
        "host_id": host_id,
        "hostname": info.get("Name"),
        "os_name": os_name,
        "os_version": os_version,
        "kernel": info.get("KernelVersion") or payloads.version.get("KernelVersion"),
        "arch": info.get("Architecture") or payloads.version.get("Arch"),
        "vcpus": info.get("NCPU"),
        "memory_bytes": info.get("MemTotal"),
        "cgroup_version": info.get("CgroupVersion"),
        "state": "running" if payloads.seen_at else None,
        "last_seen_at": payloads.seen_at or moment(info.get("SystemTime")),
    }


def to_os(text: str | None, version: str | None = None) -> tuple[str | None, str | None]:
    """Name an operating system and its version as the reference facts do.

    An engine says ``Debian GNU/Linux 12 (bookworm)``; another system keeps its own words.
    """
    if not text:
        return None, None
    found = re.search(r"\d+(\.\d+)*", text)
    own = version or (found[0] if found else "")
    for words, name, parts_n in DISTRIBUTIONS:
        if words in text.lower():
            return name, ".".join(own.split(".")[:parts_n]) or None
    return re.sub(r"\s+\(.*", "", text).strip().lower(), own or None


def to_engine(payloads: Payloads, host_id: str) -> Row:
    """Return the row of the engines frame."""
    info, version = payloads.info, payloads.version
    parts = {
        str(c.get("Name")): c.get("Version") for c in dicts(version.get("Components"))
    }
    status = [
        d for d in info.get("DriverStatus", []) if isinstance(d, list) and len(d) == 2
    ]
    driver = {str(name): value for name, value in status}
    d_type = driver.get("Supports d_type")
    number = version.get("Version") or info.get("ServerVersion")
    security = (
        " ".join(texts(info["SecurityOptions"])) if "SecurityOptions" in info else None
    )
    return {
        "host_id": host_id,
        "runtime": "podman" if "Podman Engine" in parts else "docker",
        "version": number,
        "api_version": version.get("ApiVersion"),
        "min_api_version": version.get("MinAPIVersion"),
        "build_at": moment(version.get("BuildTime")),
        "distro_package": "docker.io"
        if re.search(r"[+~-](dfsg|0ubuntu)", number or "")
        else None,
        "containerd_version": parts.get("containerd"),
        "runc_version": parts.get("runc"),
        "storage_driver": info.get("Driver"),
        "backing_fs": driver.get("Backing Filesystem"),
        "d_type": None if d_type is None else d_type == "true",
        "cgroup_driver": info.get("CgroupDriver"),
        "logging_driver": info.get("LoggingDriver"),
        "live_restore": info.get("LiveRestoreEnabled"),
        "seccomp": _has(r"name=seccomp(?!\S*unconfined)", security),
        "userns": _has("name=userns", security),
        "rootless": _has("name=rootless", security),
        "swarm": dig(info, "Swarm", "LocalNodeState"),
        "mirrors_n": info.get("mirrors_n"),
        "insecure_registries_n": info.get("insecure_n"),
        "containers_total_n": info.get("Containers"),
        "images_n": info.get("Images"),
        "layers_bytes": payloads.disk.get("layers_bytes"),
        **to_waste(payloads),
        "warnings_n": info.get("warnings_n"),
        "clock_skew_s": payloads.clock_skew_s,
        "reachable": True,
    }


def to_waste(payloads: Payloads) -> Row:
    """Count what a clean-up would look at: stopped containers, and volumes without a mount."""
    containers = containers_of(payloads)
    states = [c.state for c in containers]
    volumes = {v.get("Name"): v.get("UsageData") or {} for v in payloads.volumes or []}
    mounts = [c.mounts for c in containers]
    # a list tells the mounts too, but one by the command line, which cuts names, does not
    free = [
        u
        for n, u in volumes.items()
        if n not in {m.get("Name") for x in mounts for m in x or []}
    ]
    sizes = [usage.get("Size", -1) for usage in free]
    is_listed = payloads.containers is not None and None not in states
    is_told = (
        payloads.volumes is not None
        and payloads.containers is not None
        and None not in mounts
    )
    return {
        "stopped_n": sum(s in ("exited", "dead") for s in states) if is_listed else None,
        "never_started_n": states.count("created") if is_listed else None,
        "dangling_volumes_n": len(free) if is_told else None,
        "dangling_volumes_bytes": sum(sizes)
        if is_told and min(sizes, default=0) >= 0
        else None,
    }


def _has(option: str, security: str | None) -> bool | None:
    return None if security is None else re.search(option, security) is not None
