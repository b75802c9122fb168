"""What Docker engines say of themselves and of their hosts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from assess.collect.base import Batch, Row
from assess.collect.docker_payload import Payloads, dicts, dig, moment, texts

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
    """Give the row of the hosts frame."""
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
    """Give the row of the engines frame."""
    info, version = payloads.info, payloads.version
    parts = {str(c.get("Name")): c.get("Version") for c in dicts(version.get("Components"))}
    status = [d for d in info.get("DriverStatus", []) if isinstance(d, list) and len(d) == 2]
    driver = {str(name): value for name, value in status}
    d_type = driver.get("Supports d_type")
    number = version.get("Version") or info.get("ServerVersion")
    security = " ".join(texts(info["SecurityOptions"])) if "SecurityOptions" in info else None
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
        "seccomp": _has(r"name=seccomp(?!\S*unconfined)", security),
        "userns": _has("name=userns", security),
        "rootless": _has("name=rootless", security),
        "swarm": dig(info, "Swarm", "LocalNodeState"),
        "mirrors_n": info.get("mirrors_n"),
        "insecure_registries_n": info.get("insecure_n"),
        "containers_total_n": info.get("Containers"),
        "images_n": info.get("Images"),
        "warnings_n": info.get("warnings_n"),
        "clock_skew_s": payloads.clock_skew_s,
        "reachable": True,
    }


def _has(option: str, security: str | None) -> bool | None:
    return None if security is None else re.search(option, security) is not None


def tell_hosts_apart(batches: Iterable[Batch]) -> None:
    """Rename hosts that several engines call their own, in place.

    Cloned machines and engines in one machine's network namespaces give the same name; without
    this, all but one would be lost. Engines that share containers are one engine, seen twice.
    """
    batches = list(batches)
    engines: dict[str, dict[str, set[str]]] = defaultdict(dict)  # containers by host and source
    for batch in batches:
        for row in batch.rows.get("engines", ()):
            engines[row["host_id"]].setdefault(row["source_ref"], set())
        for row in batch.rows.get("workloads", ()):
            containers = engines[row["host_id"]].setdefault(row["source_ref"], set())
            containers.add(row["workload_id"].rpartition("/")[2])
    doubled = {
        host
        for host, sources in engines.items()
        if any(not (one & other) for one, other in combinations(sources.values(), 2))
    }
    for row in (row for batch in batches for rows in batch.rows.values() for row in rows):
        own, _, container = row.get("workload_id", "").rpartition("/")
        host = row.get("host_id") or own
        if host not in doubled:
            continue
        new = f"{host}@{row['source_ref'].partition('://')[2] or row['source_ref']}"
        if "host_id" in row:
            row["host_id"] = new
        if container:
            row["workload_id"] = f"{new}/{container}"
