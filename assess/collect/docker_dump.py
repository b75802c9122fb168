"""Dumps of a Docker engine: what its command line, or its API, wrote into files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assess.collect.base import HINTS, Batch, Row, timed
from assess.collect.docker_payload import (
    Payload,
    Payloads,
    dicts,
    dig,
    keep_all,
    keep_container,
    keep_image,
    keep_info,
    keep_inspected,
    keep_version,
    keep_volume,
    short,
)

# Calls by the names that their dumps start with, in the order in which they are read.
STEMS = {
    "version": ("version", "docker-version"),
    "info": ("info", "docker-info", "system-info"),
    "containers": ("ps", "containers", "docker-ps"),
    "inspect": ("inspect", "docker-inspect", "container-inspect"),
    "images": ("images", "docker-images", "image-ls"),
    "volumes": ("volumes", "volume", "docker-volumes"),
}
SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt")
OLD_CLI = "this command line is older than 23.0: dump with --format '{{json .}}'"
_UNITS = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}


def find_dumps(paths: list[Path]) -> dict[Path, dict[str, list[Path]]]:
    """Find the dumps of every host.

    Parameters
    ----------
    paths : list of Path
        Files, directories of dumps, or directories that hold one directory per host.

    Returns
    -------
    dict of Path to dict
        By directory of the host: files by call.
    """
    hosts: dict[Path, dict[str, list[Path]]] = {}
    for path in paths:
        files = [path] if path.is_file() else sorted([*path.glob("*"), *path.glob("*/*")])
        for file in files:
            call = call_of(file)
            if call and file.is_file():
                hosts.setdefault(file.parent, {}).setdefault(call, []).append(file)
    return hosts


def call_of(file: Path) -> str | None:
    """Say of which call a file is a dump.

    Parameters
    ----------
    file : Path
        Named after the call, such as ``ps.json`` or ``inspect-2.json``.

    Returns
    -------
    str or None
        None for any other file.
    """
    stem = re.sub(r"[-_.]?\d+$", "", file.stem.lower()).replace("_", "-")
    if file.suffix.lower() not in SUFFIXES:
        return None
    return next((call for call, stems in STEMS.items() if stem in stems), None)


def read_dumps(files: dict[str, list[Path]], scope: str, batch: Batch) -> Payloads:
    """Read the dumps of one host; what cannot be read becomes a coverage row.

    Parameters
    ----------
    files : dict of str to list of Path
        Files by call.
    scope : str
        How coverage names the host.
    batch : Batch
        Takes the coverage rows.

    Returns
    -------
    Payloads
        Redacted.
    """
    payloads = Payloads()
    for call in STEMS:
        if call not in files:
            hint = f"no dump of it; write {STEMS[call][0]}.json"
            batch.cover(scope, call, "not_configured", hint=hint)
            continue
        row = batch.cover(scope, call, "ok")
        with timed(row):
            values = _read_all(files[call], row)
            _TAKE[call](payloads, values, row)
            if row["status"] == "ok" and not row.get("rows"):
                row["status"] = "empty"
    _lengthen(payloads)
    return payloads


def _lengthen(payloads: Payloads) -> None:
    """Write out the image ids that the command line cut, where an inspection tells them."""
    whole = {short(i.get("Image")): i.get("Image") for i in payloads.inspected.values()}
    for image in payloads.images or []:
        if image.get("Id") == short(image.get("Id")):
            image["Id"] = whole.get(image["Id"]) or image["Id"]


def _read_all(files: list[Path], row: Row) -> list[Any]:
    """Values of all files of a call; the coverage row says what was wrong with them."""
    values: list[Any] = []
    for file in files:
        try:
            text = decode(file.read_bytes())
            age = time.time() - file.stat().st_mtime
            row["age_hours"] = round(max(age, row.get("age_hours", 0) * 3600, 0) / 3600, 2)
        except (OSError, UnicodeDecodeError) as error:
            denied = isinstance(error, PermissionError)
            row |= {
                "status": "denied" if denied else "parse_error",
                "error_class": type(error).__name__,
                "hint": HINTS["denied" if denied else "parse_error"],
            }
            continue
        found, rest = decode_values(text)
        values += found
        if rest:
            old = bool(re.match(r"json\s*(\n|$)", rest))
            hint = OLD_CLI if old else HINTS["parse_error"]
            row |= {"status": "parse_error", "error_class": "JSONDecodeError", "hint": hint}
    return values


def decode(raw: bytes) -> str:
    """Decode a file, whatever shell wrote it.

    Parameters
    ----------
    raw : bytes
        Content.

    Returns
    -------
    str
        Text; UTF-16 (as PowerShell redirects write it) is told by its mark.

    Raises
    ------
    UnicodeDecodeError
        Where it is no text.
    """
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    return raw.decode("utf-16" if wide else "utf-8-sig")


def decode_values(text: str) -> tuple[list[Any], str]:
    """Read JSON values that follow each other, on lines or in an array, as far as they are whole.

    Parameters
    ----------
    text : str
        One document, one document per line, or a half-written one.

    Returns
    -------
    values : list
        Entries of arrays are listed one by one.
    rest : str
        Start of what could not be read; empty where all was.
    """
    try:
        whole = json.loads(text)
        return (whole if isinstance(whole, list) else [whole]), ""
    except ValueError:
        pass
    values: list[Any] = []
    decoder, at = json.JSONDecoder(), 0
    gap = re.compile(r"[\s,\[\]]*")
    while (at := gap.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            following = text.find("\n{", at)
            if not text.startswith("{", at) or following < 0:
                return values, text[at : at + 200]
            broken = text[at : at + 200]
            more, _ = decode_values(text[following:])
            return values + more, broken
        values.append(value)
    return values, "" if text.strip() and not text.strip().startswith("[") else text[:200] or " "


def _take_version(payloads: Payloads, values: list[Any], row: Row) -> None:
    payloads.version = keep_version(values[0]) if values else {}
    _engine_row(payloads.version, row)


def _take_info(payloads: Payloads, values: list[Any], row: Row) -> None:
    kept = keep_info(values[0]) if values else {}
    payloads.info = kept if kept.get("Name") or kept.get("ServerVersion") else {}
    _engine_row(payloads.info, row)


def _engine_row(kept: Payload, row: Row) -> None:
    row["rows"] = int(bool(kept))
    if not kept and row["status"] == "ok":
        row |= {"status": "unreachable", "hint": "the command reached no engine when it was dumped"}


def _take_containers(payloads: Payloads, values: list[Any], row: Row) -> None:
    entries = [from_cli_container(v) for v in dicts(values)]
    payloads.containers = keep_all(entries, keep_container, row)
    _count(payloads.containers, values, row)
    _expect(row, payloads.info.get("Containers"))


def _take_inspected(payloads: Payloads, values: list[Any], row: Row) -> None:
    entries = [v for v in dicts(values) if isinstance(v.get("Config"), dict)]
    kept = keep_all(entries, keep_inspected, row)
    payloads.inspected = {short(k["Id"]): k for k in kept}
    _count(kept, values, row)
    _expect(row, None if payloads.containers is None else len(payloads.containers))


def _take_images(payloads: Payloads, values: list[Any], row: Row) -> None:
    entries = merge_cli_images(dicts(values))
    payloads.images = keep_all(entries, keep_image, row)
    _count(payloads.images, values if len(entries) == len(values) else entries, row)
    _expect(row, payloads.info.get("Images"))


def _take_volumes(payloads: Payloads, values: list[Any], row: Row) -> None:
    if len(values) == 1 and isinstance(values[0], dict) and "Volumes" in values[0]:
        values = values[0]["Volumes"] if isinstance(values[0]["Volumes"], list) else []
    payloads.volumes = keep_all(dicts(values), keep_volume, row)
    _count(payloads.volumes, values, row)


_TAKE: dict[str, Callable[[Payloads, list[Any], Row], None]] = {
    "version": _take_version,
    "info": _take_info,
    "containers": _take_containers,
    "inspect": _take_inspected,
    "images": _take_images,
    "volumes": _take_volumes,
}


def _count(kept: list[Payload], values: list[Any], row: Row) -> None:
    row["rows"] = len(kept)
    if len(kept) < len(values) and row["status"] == "ok":
        row |= {"status": "parse_error", "hint": HINTS["parse_error"]}


def _expect(row: Row, expected: Any) -> None:
    expect(row, expected if isinstance(expected, int) else None)


def expect(row: Row, expected: int | None) -> None:
    """Compare what a call gave with what the engine said that it has.

    Parameters
    ----------
    row : dict
        Coverage row with its ``rows``.
    expected : int or None
        Rows that it should have given. [count; None: unknown]
    """
    if expected is None:
        return
    row["expected"] = expected
    row["ratio"] = round(row["rows"] / expected, 4) if expected else 1.0
    if row["status"] == "ok" and row["rows"] < expected:
        row["status"] = "partial"


def from_cli_container(raw: Payload) -> Payload:
    """Give a line of ``docker ps`` the names and types of the API.

    Parameters
    ----------
    raw : dict
        A line, or an entry as the API lists it.

    Returns
    -------
    dict
        As the API lists it; mounts are left out, for the command line cuts their names off.
    """
    if "Id" in raw:
        return raw
    return {
        "Id": raw.get("ID"),
        "Names": [n for n in str(raw.get("Names") or "").split(",") if "/" not in n],
        "Image": raw.get("Image"),
        "Created": raw.get("CreatedAt"),
        "Ports": raw.get("Ports"),
        "State": raw.get("State"),
        "Status": raw.get("Status"),
        "Command": raw.get("Command"),
        "Labels": cli_labels(raw.get("Labels")),
    }


def cli_labels(text: Any) -> dict[str, str]:
    """Take apart the labels of ``docker ps``, whose values may hold commas themselves.

    Parameters
    ----------
    text : Any
        ``name=value,name=value``.

    Returns
    -------
    dict of str to str
        A piece without ``=`` belongs to the value before it.
    """
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


def merge_cli_images(raw: list[Payload]) -> list[Payload]:
    """Give lines of ``docker images`` the names and types of the API, one entry per image.

    Parameters
    ----------
    raw : list of dict
        Lines, one per tag, or entries as the API lists them.

    Returns
    -------
    list of dict
        As the API lists them.
    """
    images: dict[str, Payload] = {}
    for line in raw:
        if "Id" in line:
            images[str(line["Id"])] = line
            continue
        repository, tag = line.get("Repository"), line.get("Tag")
        image = images.setdefault(
            str(line.get("ID")),
            {
                "Id": line.get("ID"),
                "Created": line.get("CreatedAt"),
                "Size": _bytes(line.get("Size")),
                "RepoTags": [],
                "RepoDigests": [],
            },
        )
        image["RepoTags"].append(f"{repository}:{tag}")
        if line.get("Digest"):
            image["RepoDigests"].append(f"{repository}@{line['Digest']}")
    return list(images.values())


def _bytes(text: Any) -> int | None:
    """Size that the command line rounds to three digits, such as 1.98MB."""
    found = re.fullmatch(r"([\d.]+)\s*([kMGT]?B)", str(text or ""))
    return round(float(found[1]) * _UNITS[found[2].lower()]) if found else None


def is_of_engine(payloads: Payloads) -> bool:
    """Say whether dumps tell anything of an engine.

    Parameters
    ----------
    payloads : Payloads
        Of one host.

    Returns
    -------
    bool
        False where no file could be used.
    """
    found = (payloads.version, payloads.info, payloads.inspected)
    return any(found) or dig(payloads.__dict__, "containers") is not None
