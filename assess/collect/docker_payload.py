"""What one Docker engine told, cut down to what may be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from assess.collect.base import Row
from assess.collect.docker_names import namespace_of
from assess.collect.redact import keep_env, keep_labels, strip_userinfo

Payload = dict[str, Any]
SHORT_ID = 12
NEVER_BEFORE = 2000  # the year 1 means never; 1970 and 1980 are what reproducible builds write

# Only what is listed here, and of that type, passes the border.
Shape = dict[str, type | tuple[type, ...]]


def _shape(text: str = "", number: str = "", flag: str = "", **others: Any) -> Shape:
    kinds: tuple[tuple[str, Any], ...] = ((text, str), (number, (int, float)), (flag, bool))
    return {name: kind for names, kind in kinds for name in names.split()} | others


_VERSION = _shape("Version ApiVersion MinAPIVersion BuildTime Os Arch KernelVersion")
_COMPONENT = _shape("Name Version")
_INFO = _shape(
    "ID Name ServerVersion Driver KernelVersion OperatingSystem OSVersion Architecture "
    "CgroupDriver CgroupVersion LoggingDriver SystemTime",
    "NCPU MemTotal Containers Images",
    "LiveRestoreEnabled",
    DriverStatus=list,
    SecurityOptions=list,
)
_LISTED = _shape(
    "Id Image ImageID State Status", Names=list, Created=(int, float, str), Ports=(list, str)
)
_INSPECTED = _shape("Id Name Image Created", "RestartCount")
_STATE = _shape("Status StartedAt FinishedAt", "ExitCode", "OOMKilled")
_CONFIG = _shape("Image User", "StopTimeout", ExposedPorts=dict)
_HOST = _shape(
    "NetworkMode PidMode",
    "Memory NanoCpus CpuQuota CpuPeriod PidsLimit",
    "Privileged ReadonlyRootfs",
    RestartPolicy=dict,
    PortBindings=dict,
    CapAdd=list,
)
_MOUNT = _shape("Type Name Source Destination Driver", flag="RW")
_IMAGE = _shape("Id ParentId", "Size", RepoTags=list, RepoDigests=list, Created=(int, float, str))
_VOLUME = _shape("Name Driver", UsageData=dict)
_NETWORK = _shape("NetworkMode")
_FOUND = _shape("health log_driver", ports=dict)


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


@dataclass(slots=True)
class Container:
    """One container, as far as it was listed and inspected.

    Attributes
    ----------
    identifier : str
        Short id.
    listing, inspected : dict
        Empty where it was not listed, or not inspected.
    labels, naming : dict of str to str
        Labels, and variables that name services.
    namespace : str
        Project or namespace.
    """

    identifier: str
    listing: Payload
    inspected: Payload
    labels: dict[str, str]
    naming: dict[str, str]
    namespace: str

    @property
    def image_id(self) -> str | None:
        """Id of its image."""
        return self.inspected.get("Image") or self.listing.get("ImageID")

    @property
    def mounts(self) -> list[Payload] | None:
        """Mounts; None where neither payload tells them."""
        return (self.inspected or self.listing).get("Mounts")

    @property
    def state(self) -> str | None:
        """State; None where neither payload tells it."""
        return dig(self.inspected, "State", "Status") or self.listing.get("State")


def containers_of(payloads: Payloads) -> list[Container]:
    """Put together what the list and the inspections tell of each container.

    Parameters
    ----------
    payloads : Payloads
        Redacted payloads.

    Returns
    -------
    list of Container
        In the order of the list.
    """
    listed = {short(c.get("Id")): c for c in payloads.containers or []}
    found = []
    for identifier in listed | payloads.inspected:
        listing = listed.get(identifier, {})
        inspected = payloads.inspected.get(identifier, {})
        labels = inspected.get("Labels") or listing.get("Labels") or {}
        naming = inspected["Env"]["naming"] if inspected else {}
        space = namespace_of(labels)
        found.append(Container(identifier, listing, inspected, labels, naming, space))
    return found


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
        payload = payload.get(key) if isinstance(payload, dict) else None
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
            if not value.endswith("Z"):
                value = re.sub(r" ?([+-]\d\d):?(\d\d)( \w+)?$", r"\1:\2", value.strip())
            found = datetime.fromisoformat(value)
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
    if isinstance(raw, dict) and ("Client" in raw or "Server" in raw):
        raw = raw.get("Server")
    kept = _pick(raw, _VERSION)
    components = [_pick(c, _COMPONENT) for c in dicts(dig(raw, "Components"))]
    return {**kept, "Components": components} if kept.get("Version") else {}


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
    if isinstance(registries, dict):
        networks = set(texts(registries.get("InsecureRegistryCIDRs"))) - {"127.0.0.0/8", "::1/128"}
        hosts = registries.get("IndexConfigs")
        hosts = hosts.values() if isinstance(hosts, dict) else []
        insecure = [h for h in hosts if isinstance(h, dict) and h.get("Secure") is False]
        kept["mirrors_n"] = len(texts(registries.get("Mirrors")))
        kept["insecure_n"] = len(networks) + len(insecure)
    if "Warnings" in raw:
        kept["warnings_n"] = len(texts(raw["Warnings"]))
    state = dig(raw, "Swarm", "LocalNodeState")
    kept["swarm"] = state if isinstance(state, str) else None
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
    kept |= _pick(raw.get("HostConfig"), _NETWORK)
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
        "Config": _pick(raw.get("Config"), _CONFIG),
        "HostConfig": _pick(raw.get("HostConfig"), _HOST),
        "health_checked": bool(tests) and tests[0] != "NONE",
    }
    found = {
        "health": dig(raw, "State", "Health", "Status"),
        "log_driver": dig(log, "Type"),
        "ports": dig(raw, "NetworkSettings", "Ports"),
    }
    kept |= _pick(found, _FOUND)
    arguments = len(texts(raw.get("Args"))) + len(tests[1:])
    options = dig(log, "Config")
    options_n = len(options) if isinstance(options, dict) else 0
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
    return _pick(raw, _VOLUME), len(options) if isinstance(options, dict) else 0


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
        What is kept of each; entries without an identity are left out.
    """
    kept = []
    identity = "Name" if keep is keep_volume else "Id"
    for entry in raw:
        cut, redacted = keep(entry)
        if cut.get(identity):
            kept.append(cut)
        row["redacted_n"] = row.get("redacted_n", 0) + redacted
    return kept


def _pick(raw: Any, shape: Shape) -> Payload:
    if not isinstance(raw, dict):
        return {}
    kept = {}
    for name, kind in shape.items():
        value = raw.get(name)
        if isinstance(value, str) and kind is not bool:
            value = strip_userinfo(value)
        if isinstance(value, kind) and (not isinstance(value, bool) or kind is bool):
            kept[name] = value
    return kept


def _mounts(raw: Payload) -> list[Payload]:
    return [_pick(mount, _MOUNT) for mount in dicts(raw.get("Mounts"))]
