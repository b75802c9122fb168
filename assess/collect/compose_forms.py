"""Services of Compose files in canonical form, and how two of them are merged."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAPPINGS = ("environment", "labels", "networks")
_LISTS = ("links", "external_links", "volumes_from", "cap_add", "profiles", "expose")
_SCALARS = (
    "image", "container_name", "hostname", "restart", "privileged", "network_mode", "pid", "ipc",
    "user", "read_only", "scale", "mem_limit", "cpus", "pids_limit", "stop_grace_period",
)  # fmt: skip

Service = dict[str, Any]


@dataclass(frozen=True)
class Replaced:
    """Value tagged ``!override`` or ``!reset``: it takes the place of what was there."""

    value: Any


def canonical(raw: Mapping[str, Any], directory: Path) -> Service:
    """Write a service without short forms, and only with what an inventory needs.

    Parameters
    ----------
    raw : mapping
        Service as written, interpolated.
    directory : Path
        Directory that relative paths start from.

    Returns
    -------
    dict
        Its keys that matter; values may be `Replaced`.
    """
    forms: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(_MAPPINGS, as_mapping),
        **dict.fromkeys(_LISTS, lambda value: [str(item) for item in as_list(value)]),
        **dict.fromkeys(_SCALARS, lambda value: value),
        "depends_on": lambda value: {k: as_mapping(v) for k, v in as_mapping(value).items()},
        "env_file": lambda value: [_env_file(item, directory) for item in as_list(value)],
        "ports": lambda value: [port for item in as_list(value) if (port := port_text(item))],
        "volumes": lambda value: dict(mount(item) for item in as_list(value)),
        "tmpfs": lambda value: dict(mount({"type": "tmpfs", "target": t}) for t in as_list(value)),
        "deploy": as_mapping,
        "logging": lambda value: {"driver": as_mapping(value).get("driver")},
        "healthcheck": _healthcheck,
    }
    service: Service = {}
    for key, form in forms.items():
        if isinstance(value := raw.get(key), Replaced):
            service[key] = Replaced(form(value.value))
        elif value is not None:
            service[key] = form(value)
    if log_driver := raw.get("log_driver"):  # files of the first version
        service["logging"] = {"driver": log_driver}
    return service


def _healthcheck(value: Any) -> dict[str, Any]:
    check = as_mapping(value)
    test = check.get("test")
    first = test[0] if isinstance(test, list) and test else test
    kept = {"first": first, "disable": check.get("disable")}
    return {key: item for key, item in kept.items() if item is not None}


def _env_file(item: Any, directory: Path) -> tuple[Path, bool]:
    options = item if isinstance(item, dict) else {"path": item}
    return directory / str(options.get("path")), is_true(options.get("required", "true"))


def port_text(item: Any) -> str:
    """Write a port as ``8080->80/tcp``, or ``80/tcp`` where it is published nowhere in particular.

    Parameters
    ----------
    item : Any
        Short form such as ``127.0.0.1:8080:80/udp``, or long form.

    Returns
    -------
    str
        Empty where there is no port in it.
    """
    if isinstance(item, dict):
        target, host, published = (item.get(k) for k in ("target", "host_ip", "published"))
        protocol = item.get("protocol")
    else:
        body, _, protocol = str(item).partition("/")
        rest, _, target = body.rpartition(":")
        host, _, published = rest.rpartition(":")
    if not target:
        return ""
    address = str(host or "").strip("[]")
    prefix = "" if address in ("", "0.0.0.0", "::") else f"{address}:"
    inner = f"{target}/{protocol or 'tcp'}"
    return f"{prefix}{published}->{inner}" if published else inner


def mount(item: Any) -> tuple[str, dict[str, Any]]:
    """Take a volume of a service apart.

    Parameters
    ----------
    item : Any
        Short form such as ``data:/var/lib/x:ro``, or long form.

    Returns
    -------
    target : str
        Path inside the container.
    mount : dict
        type, source, read_only.
    """
    if isinstance(item, dict):
        kind = str(item.get("type") or "volume")
        read_only = is_true(item.get("read_only"))
        source = str(item.get("source") or item.get("src") or "")
        target = str(item.get("target") or item.get("dst") or item.get("destination") or "")
        return target, {"type": kind, "source": source, "read_only": read_only}
    parts = str(item).split(":")
    if re.fullmatch("[A-Za-z]", parts[0]) and len(parts) > 1 and parts[1][:1] in ("\\", "/"):
        parts[:2] = [":".join(parts[:2])]
    source, target = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
    read_only = "ro" in (parts[2].split(",") if len(parts) > 2 else ())
    kind = "bind" if re.match(r"[./~\\]|[A-Za-z]:", source) else "volume"
    return target, {"type": kind, "source": source, "read_only": read_only}


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as Compose does: mappings key by key, lists one after the other, the rest replaced.

    Parameters
    ----------
    under, over : mapping
        Canonical values; those of ``over`` win.

    Returns
    -------
    dict
        Both, without any `Replaced`.
    """
    result: dict[str, Any] = dict(under)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(value, Replaced):
            result.pop(key, None)
            if value.value is not None:
                result[key] = value.value
        elif isinstance(value, dict):
            result[key] = merged(known if isinstance(known, dict) else {}, value)
        elif isinstance(value, list):
            result[key] = _unique([*(known if isinstance(known, list) else []), *value])
        elif value is not None or key not in result:
            result[key] = value
    return result


def _unique(values: list[Any]) -> list[Any]:
    return [value for n, value in enumerate(values) if value not in values[:n]]


def as_list(value: Any) -> list[Any]:
    """Give a list as it is, and anything else as a list of itself.

    Parameters
    ----------
    value : Any
        None for an empty list.

    Returns
    -------
    list
        The items.
    """
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def as_mapping(value: Any) -> dict[str, Any]:
    """Give a mapping as it is, and a list of ``NAME=value`` or of names as a mapping.

    Parameters
    ----------
    value : Any
        Either form.

    Returns
    -------
    dict
        A name without a value has None.
    """
    if isinstance(value, dict):
        return value
    pairs = (str(item).partition("=") for item in as_list(value) if not isinstance(item, dict))
    return {name: text if equals else None for name, equals, text in pairs}


def is_true(value: Any) -> bool:
    """Read a switch.

    Parameters
    ----------
    value : Any
        Text, or None.

    Returns
    -------
    bool
        Whether it is on.
    """
    return str(value).strip().lower() in ("true", "yes", "on", "1", "y")
