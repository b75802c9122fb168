"""Dumps of a Docker engine: files that its command line, or its API, wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from assess.sources.base import Batch, Call, Row
from assess.sources.docker.payload import EngineData, Payload, short
from assess.sources.dumps import broken, decode_values, read_text
from assess.sources.values import dicts

# Names that the files of a call start with, in the order of reading.
STEMS = {
    "version": ("version", "docker-version"),
    "info": ("info", "docker-info", "system-info"),
    "containers": ("ps", "containers", "docker-ps"),
    "inspect": ("inspect", "docker-inspect", "container-inspect"),
    "images": ("images", "docker-images", "image-ls"),
    "volumes": ("volumes", "volume", "docker-volumes"),
    "df": ("system-df", "df", "docker-system-df"),
}
OPTIONAL = ("df",)  # no gap where it is absent
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt")
OLD_CLI = "this command line is older than 23.0: dump with --format '{{json .}}'"
NO_ENGINE = "the command reached no engine when it was dumped"
_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def find_dumps(paths: list[Path]) -> dict[Path, dict[str, list[Path]]]:
    """Find the dumps of every host: files by call, by their directory.

    A path is a file, a directory of dumps, or a directory that has one for each host.
    """
    calls = {stem: call for call, stems in STEMS.items() for stem in stems}
    hosts: dict[Path, dict[str, list[Path]]] = {}
    for path in paths:
        files = sorted([*path.glob("*"), *path.glob("*/*")])
        for file in [path] if path.is_file() else files:
            # Several commands fill several files: inspect-1.json, inspect-2.json
            stem = re.sub(r"[-_.]?\d+$", "", file.stem.lower()).replace("_", "-")
            call = calls.get(stem)
            if call and file.suffix.lower() in SUFFIXES and file.is_file():
                hosts.setdefault(file.parent, {}).setdefault(call, []).append(file)
    return hosts


def read_dumps(files: dict[str, list[Path]], scope: str, batch: Batch) -> EngineData:
    """Read the dumps of one host; what cannot be read becomes a coverage row."""
    payloads = EngineData()
    for name, (stem, *_) in STEMS.items():
        if name in files:
            with batch.call(scope, name) as call:
                _read_call(name, files[name], payloads, call)
        elif name not in OPTIONAL:
            hint = f"no dump of it; write {stem}.json"
            batch.cover(scope, name, "not_configured", hint=hint)
    # The command line cuts the ids of images; an inspection has them whole.
    whole = {short(i.get("Image")): i.get("Image") for i in payloads.inspected.values()}
    for image in payloads.images or []:
        image["Id"] = whole.get(image["Id"]) or image["Id"]
    return payloads


def _read_call(name: str, files: list[Path], payloads: EngineData, call: Call) -> None:
    """Keep the answers to a call in its files, as the API would give them."""
    values = _read_all(files, call.row)
    if name == "containers":
        values = [from_cli_container(v) if isinstance(v, dict) else v for v in values]
    elif name == "images":
        values = merge_cli_images(values)
    elif name == "df":
        values = [from_cli_disk(v) if isinstance(v, dict) else v for v in values]
    is_counted = name == "inspect" and payloads.containers is not None
    payloads.take(
        name, values, call, len(payloads.containers or ()) if is_counted else None
    )
    is_client = name in ("version", "info") and not call.row["rows"]
    if is_client and call.outcome == "timeout":  # nothing else is wrong with the file
        call.status("unreachable", NO_ENGINE)


def _read_all(files: list[Path], row: Row) -> list[Any]:
    """Read the values of all files of a call; the coverage row says what was wrong with them."""
    values: list[Any] = []
    for file in files:
        text = read_text(file, row)
        if text is None:
            continue
        whole, rest = decode_values(text)
        values += whole
        if rest:
            row |= broken(rest) | {"status": "parse_error"}
            if re.match(r"json\s*(\n|$)", rest):  # it printed the word of `--format json`
                row["hint"] = OLD_CLI
    return values


def from_cli_container(raw: Payload) -> Payload:
    """Convert a line of ``docker ps`` to the form of the API.

    Mounts are left out: the command line cuts their names off.
    """
    if "Id" in raw:
        return raw
    same = {
        name: raw.get(name) for name in ("Image", "Ports", "State", "Status", "Command")
    }
    return same | {
        "Id": raw.get("ID"),
        "Names": [n for n in str(raw.get("Names") or "").split(",") if "/" not in n],
        "Created": raw.get("CreatedAt"),
        "Labels": cli_labels(raw.get("Labels")),
    }


def cli_labels(text: Any) -> dict[str, str]:
    """Split ``name=value,name=value``; a piece without ``=`` belongs to the value before."""
    labels: dict[str, str] = {}
    last = None
    for piece in str(text or "").split(","):
        name, sign, value = piece.partition("=")
        if sign:
            last = name
            labels[name] = value
        elif last is not None:
            labels[last] += f",{piece}"
    return labels


def cli_size(text: Any) -> int | None:
    """Read a size as the command line rounds it, such as ``1.98MB``."""
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?B)", str(text or ""))
    return round(float(size[1]) * _UNITS[size[2]]) if size else None


def from_cli_disk(raw: Payload) -> Payload:
    """Convert ``docker system df -v`` to the form of the API; it has no sum of the layers."""
    if "LayersSize" in raw or "Images" not in raw:
        return raw
    images: list[Payload] = []
    for image in dicts(raw["Images"]):
        # Each number is rounded: the sum of the parts is closer than the size of the whole.
        shared = cli_size(image.get("SharedSize"))
        own = cli_size(image.get("UniqueSize"))
        whole = None if shared is None or own is None else shared + own
        images.append({"Id": image.get("ID"), "SharedSize": shared, "Size": whole})
    volumes = [
        {
            "Name": v.get("Name"),
            "Driver": v.get("Driver"),
            "UsageData": {"Size": cli_size(v.get("Size"))},
        }
        for v in dicts(raw.get("Volumes"))
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
                "Id": line.get("ID"),
                "Created": line.get("CreatedAt"),
                "Size": cli_size(line.get("Size")),
                "RepoTags": [],
                "RepoDigests": [],
            },
        )
        image["RepoTags"].append(f"{line.get('Repository')}:{line.get('Tag')}")
        if line.get("Digest"):
            image["RepoDigests"].append(f"{line.get('Repository')}@{line['Digest']}")
    return [*images.values(), *others]
