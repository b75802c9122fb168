"""Services of Compose files in canonical form, and how two of them are merged."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assess.sources.base import Row
from assess.sources.csv_records import vocabulary
from assess.sources.settings import checked_by
from assess.sources.unit import port_text
from assess.sources.values import Texts, as_list, dig, is_true, picked, text
from assess.sources.volumes import COLON

_SOCKET = "/var/run/docker.sock:/var/run/docker.sock"

Service = Row


@dataclass(frozen=True)
class Replaced:
    """Value tagged ``!override`` or ``!reset``: it replaces the earlier value."""

    value: Any


def canonical(raw: Mapping[str, Any], directory: Path) -> Service:
    """Return a service in long forms, with what an inventory needs; values may be `Replaced`."""
    forms: dict[str, Callable[[Any], Any]] = {
        "mapping": as_mapping,
        "texts": lambda value: list(map(str, as_list(value))),
        "value": lambda value: value,
        "build": lambda value: _build(value, directory),
        "command": _command,
        "hosts": _extra_hosts,
        "configs": lambda value: [str(dig(i, "source") or i) for i in as_list(value)],
        "needs": lambda value: {n: as_mapping(o) for n, o in as_mapping(value).items()},
        "files": lambda value: [_env_file(item, directory) for item in as_list(value)],
        "ports": lambda value: list(filter(None, map(port_text, as_list(value)))),
        "volumes": lambda value: dict(map(mount, as_list(value))),
        "tmpfs": lambda value: {str(i).partition(":")[0]: TMPFS for i in as_list(value)},
        "socket": lambda value: dict([mount(_SOCKET)] * is_true(value)),
        "check": _healthcheck,
    }
    if net := raw.get("net"):  # of the first version
        raw = {"network_mode": str(net).replace("container:", "service:"), **raw}
    service = {}
    for key, form in vocabulary("compose", "forms").items():
        if isinstance(value := raw.get(key), Replaced):
            service[key] = Replaced(forms[form](value.value))
        elif value is not None:
            service[key] = forms[form](value)
    return service


def _build(value: Any, directory: Path) -> Row:
    """Return the file of a build, or its text, and its arguments; a remote context has neither."""
    declared = value if isinstance(value, dict) else {"context": value}
    context = str(declared.get("context") or ".")
    arguments = as_mapping(declared, "args")
    file = directory / context / str(declared.get("dockerfile") or "Dockerfile")
    is_remote = "://" in context or context.startswith(("git@", "github.com/"))
    return {
        "file": None if is_remote else file,
        "text": text(declared, "dockerfile_inline"),
        "args": {n: str(v) for n, v in arguments.items() if v is not None},
    }


TMPFS = {"type": "tmpfs", "source": "", "read_only": False}


def _command(value: Any) -> str:
    """Return a command line as one text; one that overrides another takes its place."""
    return " ".join(map(str, as_list(value)))


def _extra_hosts(value: Any) -> Texts:
    """Return addresses by host name, of ``name:address`` or ``name=address``."""
    if isinstance(value, dict):
        return {str(name): str(address) for name, address in value.items()}
    pairs = (re.split(r"[:=]", str(item), maxsplit=1) for item in as_list(value))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _env_file(item: Any, directory: Path) -> tuple[Path, bool]:
    options = item if isinstance(item, dict) else {"path": item}
    return directory / str(options.get("path")), is_true(options.get("required", "true"))


def _healthcheck(value: Any) -> Row:
    check = as_mapping(value)
    words = as_list(check, "test")
    first = next(iter(words), None)
    return check | {"first": first, "asks": checked_by(words)}


def mount(item: Any) -> tuple[str, Row]:
    """Return the target of ``data:/var/lib/x:ro``, and its type, source, read_only."""
    if isinstance(item, dict):
        own = picked(item, "mount option")
        target = own["target"]
        source = own["source"] or ""
        kind = str(item.get("type") or "volume")
        read_only = is_true(item.get("read_only"))
    else:
        first, *rest = COLON.split(str(item))
        source, target = (first, rest[0]) if rest else ("", first)
        kind = "bind" if re.match(r"[./~$\\]|[A-Za-z]:", source) else "volume"
        read_only = "ro" in (rest[1].split(",") if len(rest) > 1 else ())
    return str(target or ""), {"type": kind, "source": source, "read_only": read_only}


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Row:
    """Merge as Compose does: mappings key by key, lists one after the other, the rest replaced."""
    result: Row = dict(under)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(value, Replaced):
            result.pop(key, None)
            if value.value is not None:
                result[key] = value.value
        elif isinstance(value, dict):
            result[key] = merged(known if isinstance(known, dict) else {}, value)
        elif isinstance(value, list):
            items = [*(known if isinstance(known, list) else []), *value]
            result[key] = list({repr(item): item for item in items}.values())
        elif value is not None or key not in result:
            result[key] = value
    return result


def as_mapping(value: Any, *path: str) -> Row:
    """Return a mapping as it is, and a list of ``NAME=value`` or of names as a mapping."""
    value = dig(value, *path)
    if isinstance(value, dict):
        return value
    texts = [str(item) for item in as_list(value) if not isinstance(item, dict)]
    pairs = (text.partition("=") for text in texts)
    return {name: rest if equals else None for name, equals, rest in pairs}
