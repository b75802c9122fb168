"""Mounts of containers: where they come from, and whether they hold data of record."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from assess.sources.base import Row
from assess.sources.docker.payload import Payload, dig

DATA_PATHS = re.compile(
    r"/(data|var/lib/(?!docker|kubelet)[^/]+|bitnami/[^/]+|opt/couchdb/data|var/opt/mssql"
    r"|usr/share/(elasticsearch|opensearch)/data|var/jenkins_home|prometheus)(/|$)"
)
DATA_FILES = re.compile(r"\.(sqlite3?|db3?|duckdb|fdb|rdb)$")  # of embedded databases
CONFIG_PATHS = re.compile(
    r"^/(etc|run/secrets|usr/local/etc|usr/share/zoneinfo)(/|$)"
    r"|\.(conf|cfg|ini|ya?ml|toml|json|env|properties|crt|pem|key)$"
)
ANONYMOUS = re.compile(r"[0-9a-f]{64}")


def to_mounts(workload_id: str, mounts: list[Payload]) -> list[Row]:
    """Give rows of the mounts frame; ``_source`` tells shared ones, until `share` takes it out."""
    rows = {}
    for mount in mounts:
        where, writable = str(mount.get("Destination") or ""), mount.get("RW")
        kind = source_class(mount)
        rows[where] = {
            "workload_id": workload_id,
            "destination": where,
            "type": mount.get("Type") or ("volume" if mount.get("Name") else "bind"),
            "source_class": kind,
            "volume_name": mount.get("Name") or None,
            "driver": mount.get("Driver") or None,
            "read_only": None if writable is None else not writable,
            "data_like": is_data(kind, where, writable),
            "_source": str(mount.get("Name") or mount.get("Source") or ""),
        }
    return [row for where, row in rows.items() if where]


def source_class(mount: Payload) -> str:
    """Classify the source of a mount, in the words of the mounts frame."""
    name, source = mount.get("Name"), str(mount.get("Source") or "")
    if mount.get("Type") == "tmpfs":
        return "tmpfs"
    if source.endswith(".sock"):
        return "socket"
    target = str(mount.get("Destination") or "")
    if CONFIG_PATHS.search(target) or (not name and CONFIG_PATHS.search(source)):
        return "config"
    if name:
        return "anonymous-volume" if ANONYMOUS.fullmatch(str(name)) else "named-volume"
    return "host-path"


def is_data(kind: str, destination: str, writable: Any) -> bool | None:
    """Say whether a mount looks like data of record; None where only a person can tell."""
    if kind in ("tmpfs", "socket", "config") or writable is False:
        return False
    is_known = DATA_PATHS.match(destination) or DATA_FILES.search(destination)
    return True if writable and (is_known or kind == "named-volume") else None


def share(mounts: list[Row], volumes: list[Payload] | None) -> None:
    """Count who shares a source, and add what the list of volumes tells."""
    by_name = {v.get("Name"): v for v in volumes or []}
    users = Counter(m["_source"] for m in mounts)
    for mount in mounts:
        source = mount.pop("_source")
        mount["shared_with_n"] = users[source] - 1 if source else 0
        volume = by_name.get(mount["volume_name"], {})
        mount["driver"] = mount["driver"] or volume.get("Driver")
        size = dig(volume, "UsageData", "Size")
        mount["size_bytes"] = size if isinstance(size, int) and size >= 0 else None
