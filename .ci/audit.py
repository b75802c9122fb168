# ruff: noqa: T201
"""Does constraints.txt pin a version with a known weakness? Without network, from a file.

    python .ci/audit.py ADVISORIES [CONSTRAINTS]

``ADVISORIES`` holds records of the OSV schema (https://ossf.github.io/osv-schema/): a JSON file with
one record or a list, a directory of such files, or a zip archive of them, as OSV offers it for all
of PyPI. Prints a line for each weakness, and exits with 1 where there is one, with 2 where something
cannot be read. What a record leaves open counts as a weakness: unknown is never zero.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

Record = dict[str, Any]

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
ECOSYSTEM = "PyPI"
ALWAYS = "0"  # an event of the schema: before every version


def texts(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file with records."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield str(file), file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".json"):
                    yield f"{path}:{name}", archive.read(name)
    else:
        yield str(path), path.read_bytes()


def advisories(path: Path) -> Iterator[Record]:
    """Yield the records; a file without one is an error."""
    for name, text in texts(path):
        try:
            read = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        records = read if isinstance(read, list) else [read]
        for record in records:
            if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                raise ValueError(f"{name}: not a record of the OSV schema (no id)")
            yield record


def _is_within(version: Version, events: list[dict[str, str]]) -> bool:
    """Return whether a version lies between the events of a range, or one cannot be read."""
    moments = []
    for event in events:
        for kind, value in event.items():
            is_always = value == ALWAYS
            if not _is_version(value):
                return True
            moments.append((not is_always, Version(value), kind))
    is_hit = False
    # where a version is mended and touched anew, "introduced" comes last by its name
    for is_later, moment, kind in sorted(moments):
        if kind == "introduced":
            is_hit |= not is_later or version >= moment
        else:
            is_last = kind == "last_affected"
            is_hit &= version <= moment if is_last else version < moment
    return is_hit


def is_affected(version: str, entry: Record) -> bool:
    """Return whether an entry of a record is about a version, or leaves that open."""
    own = Version(version)
    listed = entry.get("versions") or []
    ranges = [each for each in entry.get("ranges") or [] if each.get("type") != "GIT"]
    same = {
        one
        for one in listed
        if one == version or (_is_version(one) and Version(one) == own)
    }
    says = [each["events"] for each in ranges if each.get("events")]
    is_open = not says and not listed
    return is_open or bool(same) or any(_is_within(own, events) for events in says)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except ValueError:
        return False
    return True


def audit(path: Path, constraints: Path) -> tuple[list[str], int, int]:
    """Return the weaknesses in words, the number of pins and that of records."""
    pins = defaultdict(list)
    for name, version in PIN.findall(constraints.read_text(encoding="utf-8")):
        pins[canonicalize_name(name)].append(version)
    found = []
    records_n = 0
    for record in advisories(path):
        records_n += 1
        if record.get("withdrawn"):
            continue
        for entry in record.get("affected") or []:
            package = entry.get("package") or {}
            if str(package.get("ecosystem")).partition(":")[0] != ECOSYSTEM:
                continue
            name = canonicalize_name(str(package.get("name")))
            hits = [
                version for version in pins.get(name, []) if is_affected(version, entry)
            ]
            found += [_words(name, version, record, entry) for version in hits]
    pins_n = sum(map(len, pins.values()))
    return list(dict.fromkeys(found)), pins_n, records_n


def _words(name: str, version: str, record: Record, entry: Record) -> str:
    events = [
        event for each in entry.get("ranges") or [] for event in each.get("events") or []
    ]
    mended = ", ".join(event["fixed"] for event in events if "fixed" in event)
    names = ", ".join([record["id"], *(record.get("aliases") or [])])
    text = f"{name} {version}: {names}; mended in {mended or 'no version'}; {record.get('summary', '')}"
    # a record is a stranger's text: no escape sequence reaches a terminal
    return "".join(letter if letter.isprintable() else " " for letter in text)


def main(advisories_at: str, constraints: str = "constraints.txt") -> int:
    """Print the weaknesses, and return what the command ends with."""
    try:
        found, pins_n, records_n = audit(Path(advisories_at), Path(constraints))
    except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    if not records_n or not pins_n:
        print("audit: no record or no pinned version was read", file=sys.stderr)
        return 2
    print(
        *found,
        f"audit: {pins_n} versions, {records_n} records, {len(found)} known",
        sep="\n",
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
