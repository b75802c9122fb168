"""Ansible: what its fact cache, or its ``setup`` module, knows of plain hosts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from assess.sources.base import (
    HINTS,
    Batch,
    Deadline,
    Row,
    Source,
    file_failure,
    paths_of,
    timed,
)
from assess.sources.dumps import broken, decode_values, files_below, read_text
from assess.sources.hosts import ansible_facts as facts
from assess.sources.hosts.rows import PlainHost, now_utc, to_batch
from assess.sources.joining.hosts import is_local
from assess.sources.values import dicts, dig

PARTS = {
    "setup": "ansible -m setup",
    "services": "ansible -m service_facts",
    "packages": "ansible -m package_facts",
}
_SCHEMA = re.compile(r"^s\d+_")  # before the names of hosts, since ansible-core 2.19
_DENIED = re.compile(
    r"permission denied|password|sudo|authentication|denied", re.IGNORECASE
)


class AnsibleSource(Source):
    """Reads fact caches, and what ``ansible --tree`` writes."""

    type = "ansible"
    options: tuple[str, ...] = ("path", "prefix")
    fills: tuple[str, ...] = ("hosts", "engines", "services", "workloads", "mounts")
    needs = "read access to the files; they hold environments and local facts, of which nothing is kept"
    dump = (
        "ansible all -m setup|service_facts|package_facts --tree facts/setup|services|packages, or "
        "the directory of fact_caching = jsonfile"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        problems = [] if paths_of(options) else ["path names no file and no directory"]
        if not isinstance(options.get("prefix", ""), str):
            problems.append("prefix is no text, such as that of fact_caching_prefix")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the hosts of all files."""
        batch, hosts, paths = Batch(), list[PlainHost](), paths_of(options)
        for path in paths:
            total = batch.cover(path, "read", "ok", rows=0)
            with timed(total):
                failed = _read_path(path, options, base, deadline, hosts, total)
            batch.coverage += failed
        if hosts:
            _cover_parts(", ".join(paths), hosts, batch)
            batch.merge(to_batch(hosts))
        return batch


def find_files(path: str, base: Path) -> list[tuple[str, Path]]:
    """Find the files of a directory, whose names are those of hosts, with any ending or none.

    Each comes with its scope: the path as the configuration has it, and the way from there.
    """
    place = base / path
    files = files_below(place)
    if files is None:
        return [(path, place)]
    inside = [file.relative_to(place) for file in files]
    shown = [f for f in inside if not any(part.startswith(".") for part in f.parts)]
    return [(str(Path(path) / f), place / f) for f in shown]


def _read_path(  # noqa: PLR0913, PLR0917
    path: str,
    options: Row,
    base: Path,
    deadline: Deadline,
    hosts: list[PlainHost],
    total: Row,
) -> list[Row]:
    """Read all files of a path into the hosts; give coverage rows of those that are of no use."""
    failed: list[Row] = []
    try:
        files = find_files(path, base)
    except OSError as error:
        total |= file_failure(error)
        return failed
    for scope, file in files:
        if not deadline.left:
            total |= {"status": "timeout", "hint": HINTS["timeout"]}
            break
        row = _read_file(file, scope, options.get("prefix", ""), hosts, total)
        if row["status"] == "ok":
            total["rows"] += 1
        elif scope == path:
            total |= row
        else:
            failed.append({"scope": scope, "call": "read file", **row})
    if not files:
        total |= {"status": "empty", "hint": "it holds no files"}
    elif failed and total["status"] == "ok":
        total["status"] = "partial" if total["rows"] else failed[0]["status"]
        total.setdefault("hint", "some files are not facts of a host: see their rows")
    total |= {
        "expected": len(files),
        "ratio": round(total["rows"] / max(1, len(files)), 4),
    }
    return failed


def _read_file(
    file: Path, scope: str, prefix: str, hosts: list[PlainHost], total: Row
) -> Row:
    """Read one file into the hosts; give what its coverage row would say."""
    row: Row = {"status": "ok"}
    named = list(documents(file, row, prefix))
    total["age_hours"] = max(total.get("age_hours", 0.0), row.get("age_hours", 0.0))
    if row["status"] == "ok" and not named:
        row |= {"status": "parse_error", "hint": "there are no facts of a host in it"}
    for name, document in named:
        if failed := failure_of(document):
            row |= failed
            continue
        place = str(Path(scope).parent)
        host, counts = facts.to_host(document, name, place, file_time(file), now_utc())
        for count in ("redacted_n", "unmapped_n"):
            total[count] = total.get(count, 0) + counts[count]
        if counts.get("hint"):
            total["hint"] = counts["hint"]
        join(host, hosts)
    return row


def file_time(file: Path) -> float | None:
    """Return when a file was written; None where the system does not record it."""
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def documents(file: Path, row: Row, prefix: str = "") -> Iterator[tuple[str, Row]]:
    """List the facts in a file, each with the name of its host in the inventory."""
    text = read_text(file, row)
    if text is None:
        return
    values, rest = decode_values(text)
    if rest:
        row |= broken(rest, is_some=bool(values))
        if re.search(r"\{\{|\{%", text):
            row["hint"] = "this is a template or a playbook, not the facts of a host"
    name = file.name.removesuffix(".json").removeprefix(prefix)
    for value in dicts(values):
        payload = value.get("__payload__")
        if isinstance(payload, str):  # the cache of ansible-core 2.19 and later
            try:
                inner = json.loads(payload, object_hook=facts.untagged)
            except (ValueError, RecursionError):
                row |= {
                    "status": "parse_error",
                    "hint": "the facts in this cache are cut off",
                }
                continue
            if isinstance(inner, dict):
                yield _SCHEMA.sub("", name), inner
        elif isinstance(value.get("plays"), list):  # the callback `json`
            yield from _of_plays(value)
        elif facts.are_facts(value) or failure_of(value):
            inner = value.get("ansible_facts")
            yield name, (inner | _told(value)) if isinstance(inner, dict) else value


def _told(value: Row) -> Row:
    """Keep what a module said beside the facts: whether it failed, and whether it saw all."""
    return {
        k: value[k] for k in ("msg", "failed", "unreachable", "warnings") if k in value
    }


def _of_plays(value: Row) -> Iterator[tuple[str, Row]]:
    """Return the facts in the output of the callback ``json``."""
    for play in dicts(value.get("plays")):
        for task in dicts(play.get("tasks")):
            results = task.get("hosts")
            for name, result in results.items() if isinstance(results, dict) else ():
                inner = dig(result, "ansible_facts")
                if isinstance(inner, dict):
                    yield str(name), inner | _told(result)
                elif isinstance(result, dict) and failure_of(result):
                    yield str(name), result


def failure_of(document: Row) -> Row:
    """Return why a host has no facts, without its message."""
    words = str(document.get("msg") or "")
    if document.get("unreachable") is True:
        status = "denied" if _DENIED.search(words) else "unreachable"
        return {
            "status": status,
            "error_class": "unreachable",
            "hint": "Ansible did not get in",
        }
    if document.get("failed") is True:
        status = "denied" if _DENIED.search(words) else "unsupported"
        return {
            "status": status,
            "error_class": "failed",
            "hint": "run it with become = true",
        }
    return {}


def join(host: PlainHost, hosts: list[PlainHost]) -> None:
    """Add what a file told of a host to what others told of it, the newest first.

    One name is one host of an inventory; unless two files contradict each other about the machine,
    or it is a name that every machine has and nothing says that they are one.
    """
    for other in hosts:
        if other.name != host.name or not _is_same(other, host):
            continue
        newer, older = (host, other) if _when(host) > _when(other) else (other, host)
        own, more = (newer, older) if "setup" in _parts(newer) else (older, newer)
        other.facts = {**more.facts, **own.facts}
        other.units = older.units if newer.units is None else newer.units
        other.packages = older.packages if newer.packages is None else newer.packages
        other.mounted = newer.mounted or older.mounted
        other.cloud_id = newer.cloud_id or older.cloud_id
        other.marks = tuple(a or b for a, b in zip(newer.marks, older.marks, strict=True))
        return
    hosts.append(host)


def _when(host: PlainHost) -> datetime:
    moment = host.facts.get("last_seen_at")
    return (
        moment
        if isinstance(moment, datetime)
        else datetime.min.replace(tzinfo=now_utc().tzinfo)
    )


def _is_same(one: PlainHost, other: PlainHost) -> bool:
    known = [(a, b) for a, b in zip(one.marks, other.marks, strict=True) if a and b]
    if any(a != b for a, b in known):
        return False
    if known or not is_local(one.name):
        return True
    beside = Path(one.place).parent == Path(other.place).parent
    return beside and not _parts(one) & _parts(other)


def _parts(host: PlainHost) -> set[str]:
    """List which of the `PARTS` were gathered."""
    known = {
        "setup": not host.facts.keys() <= {"last_seen_at", "facts_age_hours"},
        "services": host.units is not None,
        "packages": host.packages is not None,
    }
    return {part for part, is_known in known.items() if is_known}


def _cover_parts(path: str, hosts: list[PlainHost], batch: Batch) -> None:
    """Count the hosts with facts, units and packages."""
    counts = Counter(part for host in hosts for part in _parts(host))
    for part, command in PARTS.items():
        count = counts[part]
        row = batch.cover(path, part, "ok", rows=count, expected=len(hosts))
        row["ratio"] = round(count / len(hosts), 4)
        if count < len(hosts):
            row["status"] = "partial" if count else "not_configured"
            row["hint"] = f"hosts without it: run {command} --tree on them"
