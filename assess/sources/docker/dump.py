"""Dumps of a Docker engine: what its command line, or its API, wrote into files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from assess.sources.base import Batch, Row, timed
from assess.sources.docker.payload import Payload, Payloads, dicts, short
from assess.sources.dumps import broken, decode_values, read_text

# Calls by the names that their dumps start with, in the order in which they are read.
STEMS = {
    "version": ("version", "docker-version"),
    "info": ("info", "docker-info", "system-info"),
    "containers": ("ps", "containers", "docker-ps"),
    "inspect": ("inspect", "docker-inspect", "container-inspect"),
    "images": ("images", "docker-images", "image-ls"),
    "volumes": ("volumes", "volume", "docker-volumes"),
    "df": ("system-df", "df", "docker-system-df"),
}
OPTIONAL = ("df",)  # whose absence nobody has to be told
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt")
OLD_CLI = "this command line is older than 23.0: dump with --format '{{json .}}'"
NO_ENGINE = "the command reached no engine when it was dumped"
_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def find_dumps(paths: list[Path]) -> dict[Path, dict[str, list[Path]]]:
    """Find the dumps of every host: files by call, by the directory that they are in.

    A path is that of a file, of a directory of dumps, or of one that has a directory per host.
    """
    hosts: dict[Path, dict[str, list[Path]]] = {}
    for path in paths:
        for file in (
            [path] if path.is_file() else sorted([*path.glob("*"), *path.glob("*/*")])
        ):
            stem = re.sub(r"[-_.]?\d+$", "", file.stem.lower()).replace("_", "-")
            call = next((call for call, stems in STEMS.items() if stem in stems), None)
            if call and file.suffix.lower() in SUFFIXES and file.is_file():
                hosts.setdefault(file.parent, {}).setdefault(call, []).append(file)
    return hosts


def read_dumps(files: dict[str, list[Path]], scope: str, batch: Batch) -> Payloads:
    """Read the dumps of one host; what cannot be read becomes a coverage row."""
    payloads = Payloads()
    for call, (stem, *_) in STEMS.items():
        if call not in files and call in OPTIONAL:
            continue
        if call not in files:
            batch.cover(
                scope, call, "not_configured", hint=f"no dump of it; write {stem}.json"
            )
            continue
        row = batch.cover(scope, call, "ok")
        with timed(row):
            values = _read_all(files[call], row)
            if call == "containers":
                values = [
                    from_cli_container(v) if isinstance(v, dict) else v for v in values
                ]
            elif call == "images":
                values = merge_cli_images(values)
            elif call == "df":
                values = [from_cli_disk(v) if isinstance(v, dict) else v for v in values]
            listed = payloads.containers if call == "inspect" else None
            payloads.take(call, values, row, None if listed is None else len(listed))
        if call in ("version", "info") and row["status"] == "ok" and not row["rows"]:
            row |= {"status": "unreachable", "hint": NO_ENGINE}
    # the command line cuts the ids of images; an inspection tells them
    whole = {short(i.get("Image")): i.get("Image") for i in payloads.inspected.values()}
    for image in payloads.images or []:
        image["Id"] = whole.get(image["Id"]) or image["Id"]
    return payloads


def _read_all(files: list[Path], row: Row) -> list[Any]:
    """Values of all files of a call; the coverage row says what was wrong with them."""
    values: list[Any] = []
    for file in files:
        text = read_text(file, row)
        if text is None:
            continue
        found, rest = decode_values(text)
        values += found
        if rest:
            row |= broken(rest) | {"status": "parse_error"}
            if re.match(r"json\s*(\n|$)", rest):
                row["hint"] = OLD_CLI
    return values


def from_cli_container(raw: Payload) -> Payload:
    """Give a line of ``docker ps`` the names and types of the API.

    Mounts are left out, for the command line cuts their names off.
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
    """Take apart ``name=value,name=value``; a piece without ``=`` belongs to the value before."""
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
    """Give ``docker system df -v`` the form of the API; it does not tell the sum of the layers."""
    if "LayersSize" in raw or "Images" not in raw:
        return raw
    images: list[Payload] = []
    for image in dicts(raw["Images"]):
        # rounded, each part apart: their sum is truer than the size of the whole
        shared, own = cli_size(image.get("SharedSize")), cli_size(image.get("UniqueSize"))
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
    """Give lines of ``docker images``, one per tag, the form of the API: one entry per image."""
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
