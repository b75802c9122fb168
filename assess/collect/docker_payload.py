"""What one Docker engine told, cut down to what may be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from assess.collect.base import Row
from assess.collect.redact import keep_env, keep_labels, strip_userinfo

Payload = dict[str, Any]
SHORT_ID = 12
NEVER_BEFORE = 2000  # the year 1 means never; 1970 and 1980 are what reproducible builds write

# Only what is listed here passes the border.
_VERSION = (
    "Version", "ApiVersion", "MinAPIVersion", "BuildTime", "Os", "Arch", "KernelVersion",
)  # fmt: skip
_INFO = (
    "ID", "Name", "ServerVersion", "Driver", "DriverStatus", "KernelVersion", "OperatingSystem",
    "OSVersion", "Architecture", "CgroupDriver", "CgroupVersion", "LoggingDriver",
    "LiveRestoreEnabled", "SecurityOptions", "NCPU", "MemTotal", "Containers", "Images",
    "SystemTime", "DockerRootDir",
)  # fmt: skip
_LISTED = ("Id", "Names", "Image", "ImageID", "Created", "Ports", "State", "Status")
_INSPECTED = ("Id", "Name", "Image", "Created", "RestartCount")
_STATE = ("Status", "StartedAt", "FinishedAt", "ExitCode", "OOMKilled")
_CONFIG = ("Image", "User", "StopTimeout", "ExposedPorts")
_HOST = (
    "RestartPolicy", "Privileged", "NetworkMode", "PidMode", "CapAdd", "ReadonlyRootfs", "Memory",
    "NanoCpus", "CpuQuota", "CpuPeriod", "PidsLimit", "PortBindings", "Links",
)  # fmt: skip
_MOUNT = ("Type", "Name", "Source", "Destination", "Driver", "RW")
_IMAGE = ("Id", "ParentId", "RepoTags", "RepoDigests", "Created", "Size")
_VOLUME = ("Name", "Driver", "UsageData")


@dataclass
class Payloads:
    """Payloads of one engine, redacted; None is what it did not tell.

    Attributes
    ----------
    version, info : dict
        Empty where unknown.
    containers, images, volumes : list of dict or None
        As the API lists them.
    inspected : dict of str to dict
        By short container id.
    inspect_status : dict of str to str
        Why a container was not inspected, by short id.
    seen_at : datetime or None
        When it was asked.
    clock_skew_s : float or None
        Clock of the engine minus ours. [s]
    """

    version: Payload = field(default_factory=dict)
    info: Payload = field(default_factory=dict)
    containers: list[Payload] | None = None
    images: list[Payload] | None = None
    volumes: list[Payload] | None = None
    inspected: dict[str, Payload] = field(default_factory=dict)
    inspect_status: dict[str, str] = field(default_factory=dict)
    seen_at: datetime | None = None
    clock_skew_s: float | None = None


def dig(payload: Any, *path: str) -> Any:
    """Follow keys into a payload.

    Parameters
    ----------
    payload : Any
        A decoded document.
    *path : str
        Keys.

    Returns
    -------
    Any
        The value; None where any key is absent.
    """
    for key in path:
        payload = payload.get(key) if isinstance(payload, Mapping) else None
    return payload


def dicts(values: Any) -> list[Payload]:
    """Give the dicts of a list; a null list has none.

    Parameters
    ----------
    values : Any
        A decoded list.

    Returns
    -------
    list of dict
        Without anything else.
    """
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def texts(values: Any) -> list[str]:
    """Give the texts of a list; a null list has none.

    Parameters
    ----------
    values : Any
        A decoded list.

    Returns
    -------
    list of str
        Without anything else.
    """
    return [v for v in values if isinstance(v, str)] if isinstance(values, list) else []


def short(identifier: Any) -> str:
    """Shorten an id as the command line does.

    Parameters
    ----------
    identifier : Any
        Id of a container or image, with or without ``sha256:``.

    Returns
    -------
    str
        Its first 12 digits; empty where there is none.
    """
    return str(identifier or "").removeprefix("sha256:")[:SHORT_ID]


def moment(value: Any) -> datetime | None:
    """Read a time of the engine or of its command line.

    Parameters
    ----------
    value : Any
        Seconds since 1970, ISO-8601, or ``2026-11-23 23:33:14 +0200 CEST``.

    Returns
    -------
    datetime or None
        UTC; None where the engine says that it never happened.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if isinstance(value, int | float):
            found = datetime.fromtimestamp(value, UTC)
        else:
            text = re.sub(r" ?([+-]\d\d):?(\d\d)( \w+)?$", r"\1:\2", value.strip())
            found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found if found.year >= NEVER_BEFORE else None


def keep_version(raw: Any) -> Payload:
    """Keep what is wanted of ``/version``, or of ``docker version``.

    Parameters
    ----------
    raw : Any
        Payload.

    Returns
    -------
    dict
        Of the engine; empty where the payload is only of a client.
    """
    if isinstance(raw, Mapping) and ("Client" in raw or "Server" in raw):
        raw = raw.get("Server")
    components = [
        {"Name": c.get("Name"), "Version": c.get("Version")} for c in dicts(dig(raw, "Components"))
    ]
    return {**_pick(raw, _VERSION), "Components": components} if dig(raw, "Version") else {}


def keep_info(raw: Any) -> Payload:
    """Keep what is wanted of ``/info``.

    Parameters
    ----------
    raw : Any
        Payload.

    Returns
    -------
    dict
        Without proxies, labels and plug-ins; registries and warnings only as counts.
    """
    kept = _pick(raw, _INFO)
    if not kept:
        return {}
    registries = dig(raw, "RegistryConfig")
    if isinstance(registries, Mapping):
        networks = set(texts(registries.get("InsecureRegistryCIDRs"))) - {"127.0.0.0/8", "::1/128"}
        hosts = registries.get("IndexConfigs")
        hosts = hosts.values() if isinstance(hosts, Mapping) else []
        insecure = [h for h in hosts if isinstance(h, Mapping) and h.get("Secure") is False]
        kept["mirrors_n"] = len(texts(registries.get("Mirrors")))
        kept["insecure_n"] = len(networks) + len(insecure)
    if "Warnings" in raw:
        kept["warnings_n"] = len(texts(raw["Warnings"]))
    kept["swarm"] = dig(raw, "Swarm", "LocalNodeState")
    return kept


def keep_container(raw: Payload) -> tuple[Payload, int]:
    """Keep what is wanted of one entry of the list of containers.

    Parameters
    ----------
    raw : dict
        Entry.

    Returns
    -------
    kept : dict
        Without the command and without labels that are not on the list.
    redacted : int
        Values left out. [count]
    """
    labels, dropped = keep_labels(raw.get("Labels"))
    kept = _pick(raw, _LISTED) | {"Labels": labels}
    if isinstance(raw.get("Mounts"), list):
        kept["Mounts"] = _mounts(raw)
    kept["NetworkMode"] = dig(raw, "HostConfig", "NetworkMode")
    return kept, dropped + bool(raw.get("Command"))


def keep_inspected(raw: Payload) -> tuple[Payload, int]:
    """Keep what is wanted of one inspected container.

    Parameters
    ----------
    raw : dict
        Payload.

    Returns
    -------
    kept : dict
        Environment as `redact.keep_env` gives it; no arguments, health output or log options.
    redacted : int
        Values left out. [count]
    """
    labels, dropped = keep_labels(dig(raw, "Config", "Labels"))
    env = keep_env(dig(raw, "Config", "Env"))
    tests = texts(dig(raw, "Config", "Healthcheck", "Test"))
    log = dig(raw, "HostConfig", "LogConfig")
    kept = _pick(raw, _INSPECTED) | {
        "Labels": labels,
        "Env": env,
        "Mounts": _mounts(raw),
        "State": _pick(raw.get("State"), _STATE),
        "Health": dig(raw, "State", "Health", "Status"),
        "Config": _pick(raw.get("Config"), _CONFIG),
        "HostConfig": _pick(raw.get("HostConfig"), _HOST),
        "health_checked": bool(tests) and tests[0] != "NONE",
        "log_driver": dig(log, "Type"),
        "Ports": dig(raw, "NetworkSettings", "Ports"),
    }
    arguments = len(texts(raw.get("Args"))) + len(tests[1:])
    options = dig(log, "Config")
    options_n = len(options) if isinstance(options, Mapping) else 0
    outputs = len(dicts(dig(raw, "State", "Health", "Log")))
    withheld = len(env["names"]) - len(env["naming"])
    return kept, dropped + arguments + options_n + outputs + withheld


def keep_image(raw: Payload) -> tuple[Payload, int]:
    """Keep what is wanted of one entry of the list of images.

    Parameters
    ----------
    raw : dict
        Entry.

    Returns
    -------
    kept : dict
        Without labels that are not on the list.
    redacted : int
        Values left out. [count]
    """
    labels, dropped = keep_labels(raw.get("Labels"))
    return _pick(raw, _IMAGE) | {"Labels": labels}, dropped


def keep_volume(raw: Payload) -> tuple[Payload, int]:
    """Keep what is wanted of one volume.

    Parameters
    ----------
    raw : dict
        Entry.

    Returns
    -------
    kept : dict
        Without its options, which hold the passwords of network shares.
    redacted : int
        Values left out. [count]
    """
    options = raw.get("Options")
    return _pick(raw, _VOLUME), len(options) if isinstance(options, Mapping) else 0


def keep_all(raw: Iterable[Payload], keep: Any, row: Row) -> list[Payload]:
    """Redact a list, and count into its coverage row what was left out.

    Parameters
    ----------
    raw : iterable of dict
        Entries.
    keep : callable
        One of the `keep_*` functions of this module that give a count.
    row : dict
        Coverage row; ``redacted_n`` grows. [count]

    Returns
    -------
    list of dict
        What is kept of each.
    """
    kept = []
    for entry in raw:
        cut, redacted = keep(entry)
        kept.append(cut)
        row["redacted_n"] = row.get("redacted_n", 0) + redacted
    return kept


def _pick(raw: Any, names: tuple[str, ...]) -> Payload:
    if not isinstance(raw, Mapping):
        return {}
    return {
        name: strip_userinfo(raw[name]) if isinstance(raw[name], str) else raw[name]
        for name in names
        if name in raw
    }


def _mounts(raw: Payload) -> list[Payload]:
    return [_pick(mount, _MOUNT) for mount in dicts(raw.get("Mounts"))]
