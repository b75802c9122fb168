"""What the command line prints, for people or as JSON, in the form of the API.

The layout changed with the years: 1.12 indents nothing, 19.03 put all under ``Server:``, and who
pastes it loses the indentation. So a line counts by its label; a line that is absent is unknown.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from assess.sources.csv_records import lookup, rows
from assess.sources.docker.payload import Payload, short
from assess.sources.values import Texts, dicts, picked, text, without_none

_LINE = re.compile(r"( *)([^:\s][^:\n]{0,60}?): *(.*)")
_ITEM = re.compile(r"( *)(\S+(?: \S+)*)")
_WARNING = re.compile(r"\s*WARNING: (.*)")
_NETWORK = re.compile(r"[0-9a-fA-F.:]+/\d{1,3}")
_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*")
_MINIMUM = re.compile(r"minimum version (\d+\.\d+)")
_MIRRORS_SINCE = 17  # older command lines print no mirrors, so no line is no answer
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kKMGT]i?)?B)")


class _Line(NamedTuple):
    depth: int
    label: str  # empty for an item of a list
    value: str


def is_text(text: str) -> bool:
    """Return whether a dump is what the command line prints for people."""
    return bool(text.strip()) and text.lstrip()[0] not in "{[<"


def cli_size(text: Any) -> int | None:
    """Read a size as the command line rounds it, such as ``1.98MB`` or ``7.76GiB``."""
    size = _SIZE.fullmatch(str(text or ""))
    if not size:
        return None
    units = lookup("byte_units", "unit", "bytes")
    return round(float(size[1]) * int(units[size[2].lower()]))


def info_of(text: str) -> Payload:
    """Read ``docker info``; empty where it reached no engine."""
    lines = list(_lines(text))
    values: Texts = {}
    for line in lines:
        values.setdefault(line.label, line.value)
    info = without_none(dict(_fields(values)))
    if "Driver" in info:
        keys = [key for key in rows("docker/info_keys") if key["kind"] == "driver"]
        labels = [key["label"] for key in keys if key["label"] in values]
        info["DriverStatus"] = [[label, values[label]] for label in labels]
    if swarm := values.get("Swarm"):
        info["Swarm"] = {"LocalNodeState": swarm}
    info |= _securities(lines, values)
    info |= _registries(lines, values)
    found = map(_WARNING.match, text.splitlines())
    warnings = [warning[1] for warning in found if warning]
    if warnings:  # they are printed apart, so none here is not none
        info["Warnings"] = warnings
    return info


def version_of(text: str) -> Payload:
    """Read ``docker version``; empty where it reached no engine."""
    version: Payload = {}
    components = []
    part = "Engine"
    for line in _lines(text):
        label = line.label.removeprefix("Server ").lower()
        if not line.value:
            part = line.label
        elif label == "version" and part == "Engine":
            version.setdefault("Version", line.value)
        elif label == "version":
            components.append({"Name": part, "Version": line.value.removeprefix("v")})
        elif label == "api version" and (number := _VERSION.match(line.value)):
            version["ApiVersion"] = number[0]
            if minimum := _MINIMUM.search(line.value):
                version["MinAPIVersion"] = minimum[1]
        elif label == "os/arch":
            version["Arch"] = line.value.rpartition("/")[2]
    if components:
        version["Components"] = components
    return version


def _lines(text: str) -> Iterator[_Line]:
    """List the lines about the engine: those of its section, or all where there are no sections."""
    has_client = re.search(r"^\s*Client:", text, re.MULTILINE)
    is_inside = not has_client
    for raw in text.expandtabs(1).splitlines():
        if _WARNING.match(raw):
            continue
        found = _LINE.fullmatch(raw.rstrip())
        if found and found[2] in ("Client", "Server"):
            is_inside = found[2] == "Server"
        elif found and is_inside:
            yield _Line(len(found[1]), found[2], found[3].strip())
        elif is_inside and (item := _ITEM.fullmatch(raw.rstrip())):
            yield _Line(len(item[1]), "", item[2])


def _fields(values: Texts) -> Iterator[tuple[str, Any]]:
    """Read the labelled values, each by its kind; None for one that cannot be read."""
    for key in rows("docker/info_keys"):
        if read := _KINDS.get(key["kind"]):
            yield key["field"], read(values.get(key["label"], ""))


_KINDS: dict[str, Callable[[str], Any]] = {
    "text": lambda value: value or None,
    "count": lambda value: int(value) if value.isdecimal() else None,
    "flag": lambda value: {"true": True, "false": False}.get(value.lower()),
    "bytes": cli_size,
}


def _items(lines: list[_Line], label: str) -> list[_Line]:
    """List the lines below a label: without a label of their own, or deeper than it."""
    labels = [line.label for line in lines]
    if label not in labels:
        return []
    start = labels.index(label)
    found = []
    for line in lines[start + 1 :]:
        if line.label and line.depth <= lines[start].depth:
            break
        found.append(line)
    return found


def _securities(lines: list[_Line], values: Texts) -> Payload:
    """Return the security options as the API writes them: ``name=seccomp,profile=builtin``."""
    label = "Security Options"
    if label not in values:
        return {}
    options = [f"name={word}" for word in values[label].split()]
    for line in _items(lines, label):
        if not line.label:
            options.append(f"name={line.value}")
        elif line.label == "Profile" and options:
            options[-1] += f",profile={line.value}"
    return {"SecurityOptions": options}


def _registries(lines: list[_Line], values: Texts) -> Payload:
    """Return registries that are mirrors or insecure, as far as this command line prints them."""
    if "Insecure Registries" not in values:
        return {}
    insecure = [_address(line) for line in _items(lines, "Insecure Registries")]
    mirrors = [_address(line) for line in _items(lines, "Registry Mirrors")]
    networks = [name for name in insecure if _NETWORK.fullmatch(name)]
    hosts = {name: {"Secure": False} for name in insecure if name not in networks}
    config: Payload = {"InsecureRegistryCIDRs": networks, "IndexConfigs": hosts}
    major = re.match(r"\d+", values.get("Server Version", ""))
    if mirrors or (major and int(major[0]) >= _MIRRORS_SINCE):
        config["Mirrors"] = mirrors
    return {"RegistryConfig": config}


def _address(line: _Line) -> str:
    """Return an address of a list: its colon made it look like a label and a value."""
    return f"{line.label}:{line.value}" if line.label else line.value


# ---- what the command line prints, in the form of the API ----


def from_cli_container(raw: Any) -> Any:
    """Convert a line of ``docker ps`` to the form of the API."""
    # Mounts are left out: the command line cuts their names off.
    if not isinstance(raw, dict) or "Id" in raw:
        return raw
    return picked(raw, "cli container") | {
        "Names": [n for n in text(raw, "Names").split(",") if "/" not in n],
        "Labels": without_none(picked(raw, "cli labels")) | cli_labels(raw.get("Labels")),
    }


def cli_labels(text: Any) -> Texts:
    """Split ``name=value,name=value``; a piece without ``=`` belongs to the value before."""
    labels = {}
    last = None
    for piece in str(text or "").split(","):
        name, sign, value = piece.partition("=")
        if sign:
            last = name
            labels[name] = value
        elif last is not None:
            labels[last] += f",{piece}"
    return labels


def from_cli_disk(raw: Any) -> Any:
    """Convert ``docker system df -v`` to the form of the API; it has no sum of the layers."""
    if not isinstance(raw, dict) or "LayersSize" in raw or "Images" not in raw:
        return raw
    images = []
    for image in dicts(raw, "Images"):
        # Each number is rounded: the sum of the parts is closer than the size of the whole.
        shared = cli_size(image.get("SharedSize"))
        unique = cli_size(image.get("UniqueSize"))
        whole = None if shared is None or unique is None else shared + unique
        images.append({"Id": image.get("ID"), "SharedSize": shared, "Size": whole})
    volumes = [
        volume | {"UsageData": {"Size": cli_size(volume.get("Size"))}}
        for volume in dicts(raw, "Volumes")
    ]
    return {"Images": images, "Volumes": volumes}


def merge_cli_images(raw: list[Any]) -> list[Any]:
    """Convert lines of ``docker images``, one per tag, to the form of the API, one per image."""
    images: dict[str, Payload] = {}
    others = []
    for line in raw:
        if not isinstance(line, dict) or "Id" in line:
            others.append(line)
            continue
        image = images.setdefault(
            str(line.get("ID")),
            {
                **picked(line, "cli image"),
                "Size": cli_size(line.get("Size")),
                "RepoTags": [],
                "RepoDigests": [],
            },
        )
        image["RepoTags"].append(f"{line.get('Repository')}:{line.get('Tag')}")
        if line.get("Digest"):
            image["RepoDigests"].append(f"{line.get('Repository')}@{line['Digest']}")
    whole: dict[str, Payload] = {}
    for image in [*images.values(), *dicts(others)]:  # a list, and what inspections add
        key = short(image, "Id")
        known = {name: value for name, value in image.items() if value}
        whole[key] = whole.get(key, {}) | known
    broken_n = len(others) - len(dicts(others))
    return [*whole.values(), *[None] * broken_n]
