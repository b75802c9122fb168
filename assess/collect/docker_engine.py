"""What a Docker engine says of itself and of its host."""

from __future__ import annotations

import re
from typing import Any

from assess.collect.base import Row
from assess.collect.docker_payload import Payloads, dicts, moment, texts

DISTRIBUTIONS = (  # as the reference facts name them; versions by major number where True
    ("debian", "debian", True),
    ("ubuntu", "ubuntu", False),
    ("alpine", "alpine-linux", False),
    ("amazon", "amazon-linux", False),
    ("red hat enterprise", "rhel", True),
    ("centos stream", "centos-stream", True),
    ("centos", "centos", True),
    ("rocky", "rocky-linux", True),
    ("alma", "almalinux", True),
    ("fedora", "fedora", True),
    ("suse linux enterprise", "sles", False),
)


def to_host(payloads: Payloads, host_id: str) -> Row:
    """Say what an engine knows of its host.

    Parameters
    ----------
    payloads : Payloads
        Redacted payloads.
    host_id : str
        Name of the host.

    Returns
    -------
    dict
        Row of the hosts frame.
    """
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


def to_os(text: Any, version: Any = None) -> tuple[str | None, str | None]:
    """Name an operating system as the reference facts do.

    Parameters
    ----------
    text : Any
        Such as ``Debian GNU/Linux 12 (bookworm)``.
    version : Any, optional
        Its version, where a source says it apart.

    Returns
    -------
    name : str or None
        Such as ``debian``; another system keeps its own words.
    version : str or None
        Such as ``12``.
    """
    if not isinstance(text, str) or not text.strip():
        return None, None
    found = re.search(r"\d+(\.\d+)*", text)
    own = str(version or "") or (found[0] if found else "")
    for words, name, major_only in DISTRIBUTIONS:
        if words in text.lower():
            parts = own.split(".")[: 1 if major_only else 2]
            return name, ".".join(parts) or None
    return re.sub(r"\s+\(.*", "", text).strip().lower(), own or None


def to_engine(payloads: Payloads, host_id: str) -> Row:
    """Describe an engine.

    Parameters
    ----------
    payloads : Payloads
        Redacted payloads.
    host_id : str
        Name of the host.

    Returns
    -------
    dict
        Row of the engines frame.
    """
    info, version = payloads.info, payloads.version
    parts = {str(c.get("Name")): c.get("Version") for c in dicts(version.get("Components"))}
    status = [d for d in info.get("DriverStatus", []) if isinstance(d, list) and len(d) == 2]
    driver = {str(name): value for name, value in status}
    d_type = driver.get("Supports d_type")
    number = version.get("Version") or info.get("ServerVersion")
    security = texts(info.get("SecurityOptions")) if "SecurityOptions" in info else None
    return {
        "host_id": host_id,
        "runtime": "podman" if "Podman Engine" in parts else "docker",
        "version": number,
        "api_version": version.get("ApiVersion"),
        "min_api_version": version.get("MinAPIVersion"),
        "build_at": moment(version.get("BuildTime")),
        "distro_package": "docker.io" if re.search(r"[+~-](dfsg|0ubuntu)", number or "") else None,
        "containerd_version": parts.get("containerd"),
        "runc_version": parts.get("runc"),
        "storage_driver": info.get("Driver"),
        "backing_fs": driver.get("Backing Filesystem"),
        "d_type": None if d_type is None else d_type == "true",
        "cgroup_driver": info.get("CgroupDriver"),
        "logging_driver": info.get("LoggingDriver"),
        "live_restore": info.get("LiveRestoreEnabled"),
        **_security(security),
        "swarm": info.get("swarm"),
        "mirrors_n": info.get("mirrors_n"),
        "insecure_registries_n": info.get("insecure_n"),
        "containers_total_n": info.get("Containers"),
        "images_n": info.get("Images"),
        "warnings_n": info.get("warnings_n"),
        "clock_skew_s": payloads.clock_skew_s,
        "reachable": True,
    }


def _security(options: list[str] | None) -> Row:
    """Read ``name=seccomp,profile=builtin`` and its like; without any option list: unknown."""
    if options is None:
        return {}
    by_name = {o.partition(",")[0].removeprefix("name="): o for o in options}
    return {
        "seccomp": "seccomp" in by_name and "unconfined" not in by_name["seccomp"],
        "userns": "userns" in by_name,
        "rootless": "rootless" in by_name,
    }
