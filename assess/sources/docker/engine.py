"""From the payloads of a Docker engine to rows of the hosts and engines frames."""

from __future__ import annotations

import re

from assess.sources.base import Row
from assess.sources.docker.payload import EngineData, containers_of
from assess.sources.values import dicts, dig, moment, texts

# Words of an engine, the name in the reference facts, and the parts of a version they go by.
DISTRIBUTIONS = (
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


def to_host(data: EngineData, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    info = data.info
    os_name, os_version = to_os(info.get("OperatingSystem"), info.get("OSVersion"))
    return {
        "host_id": host_id,
        "hostname": info.get("Name"),
        "os_name": os_name,
        "os_version": os_version,
        "kernel": info.get("KernelVersion") or data.version.get("KernelVersion"),
        "arch": info.get("Architecture") or data.version.get("Arch"),
        "vcpus": info.get("NCPU"),
        "memory_bytes": info.get("MemTotal"),
        "cgroup_version": info.get("CgroupVersion"),
        "state": "running" if data.seen_at else None,
        "last_seen_at": data.seen_at or moment(info.get("SystemTime")),
    }


def to_os(text: str | None, version: str | None = None) -> tuple[str | None, str | None]:
    """Name an operating system and its version as the reference facts do.

    An engine says ``Debian GNU/Linux 12 (bookworm)``; another system keeps its own words.
    """
    if not text:
        return None, None
    number = re.search(r"\d+(\.\d+)*", text)
    own = version or (number[0] if number else "")
    for words, name, parts_n in DISTRIBUTIONS:
        if words in text.lower():
            return name, ".".join(own.split(".")[:parts_n]) or None
    return re.sub(r"\s+\(.*", "", text).strip().lower(), own or None


def to_engine(data: EngineData, host_id: str) -> Row:
    """Return the row of the engines frame."""
    info = data.info
    version = data.version
    parts = {
        str(c.get("Name")): c.get("Version") for c in dicts(version.get("Components"))
    }
    pairs = [
        p for p in info.get("DriverStatus", []) if isinstance(p, list) and len(p) == 2
    ]
    driver = {str(name): value for name, value in pairs}
    d_type = driver.get("Supports d_type")
    number = version.get("Version") or info.get("ServerVersion")
    is_of_distribution = re.search(r"[+~-](dfsg|0ubuntu)", number or "")
    security = None
    if "SecurityOptions" in info:
        security = " ".join(texts(info["SecurityOptions"]))
    return {
        "host_id": host_id,
        "runtime": "podman" if "Podman Engine" in parts else "docker",
        "version": number,
        "api_version": version.get("ApiVersion"),
        "min_api_version": version.get("MinAPIVersion"),
        "build_at": moment(version.get("BuildTime")),
        "distro_package": "docker.io" if is_of_distribution else None,
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
        "layers_bytes": data.disk.get("layers_bytes"),
        **to_waste(data),
        "warnings_n": info.get("warnings_n"),
        "clock_skew_s": data.clock_skew_s,
        "reachable": True,
    }


def to_waste(data: EngineData) -> Row:
    """Count what a clean-up would look at: stopped containers, and volumes without a mount."""
    row: Row = dict.fromkeys(
        ("stopped_n", "never_started_n", "dangling_volumes_n", "dangling_volumes_bytes")
    )
    containers = containers_of(data)
    states = [container.state for container in containers]
    mounts = [container.mounts for container in containers]
    if data.containers is None:
        return row
    if None not in states:
        row["stopped_n"] = sum(state in ("exited", "dead") for state in states)
        row["never_started_n"] = states.count("created")
    # The command line cuts the names of mounts, so its list alone does not have them.
    if data.volumes is not None and None not in mounts:
        mounted = {mount.get("Name") for listed in mounts for mount in listed or []}
        volumes = {v.get("Name"): v.get("UsageData") or {} for v in data.volumes}
        sizes = [u.get("Size", -1) for name, u in volumes.items() if name not in mounted]
        row["dangling_volumes_n"] = len(sizes)
        if min(sizes, default=0) >= 0:  # -1: the engine did not count
            row["dangling_volumes_bytes"] = sum(sizes)
    return row


def _has(option: str, security: str | None) -> bool | None:
    return None if security is None else re.search(option, security) is not None
