"""Ansible: facts of plain hosts, from its fact cache or its ``setup`` module."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assess.sources.base import Asked, Batch, Call, Row, Rows, Source, paths_of
from assess.sources.csv_records import vocabulary
from assess.sources.docker.engine import MODULES
from assess.sources.dumps import (
    Files,
    broken,
    cover_others,
    decode_values,
    files_below,
    is_hidden,
    read_text,
)
from assess.sources.hosts import (
    Package,
    PlainHost,
    SystemUnit,
    filled,
    is_of_interest,
    seen,
    system_of,
    to_batch,
)
from assess.sources.joining.hosts import is_local
from assess.sources.listing import lose
from assess.sources.values import (
    cell,
    dicts,
    dig,
    joined,
    listed,
    picked,
    table,
    texts,
    whole,
)

PARTS = vocabulary("hosts", "parts of facts")
# never read: environments, boot options and facts of one's own hold secrets, keys identify hosts
WITHHELD = vocabulary("hosts", "withheld facts")
_PREFIX = "ansible_"
_SYSTEM = ("distribution", "distribution_version", "distribution_release")
_NAMED = vocabulary("hosts", "marks of facts")
_BESIDE = vocabulary("hosts", "beside facts")  # what a module says
_SCHEMA = re.compile(r"^s\d+_")  # before the names of hosts, since ansible-core 2.19
_DENIED = re.compile(
    r"permission denied|password|sudo|authentication|denied", re.IGNORECASE
)
_REFUSALS = (  # words of Ansible, the status that they mean, and a hint
    ("unreachable", "unreachable", "Ansible did not get in"),
    ("failed", "unsupported", "run it with become = true"),
)
_NEEDS_ROOT = "service_facts did not see every unit: run it with become = true"
_GONE = ("not-found", "masked")  # names that systemd knows, but that are not there
_STATES = vocabulary("hosts", "states of units")
_LOGS = tuple(f".{part}" for part in PARTS)  # of our script, beside what it writes
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class AnsibleSource(Source):
    """Reads fact caches, and what ``ansible --tree`` writes."""

    type = "ansible"

    def fill(self, asked: Asked) -> None:
        """Read the hosts of all files."""
        options = asked.options
        batch = asked.batch
        hosts = _Hosts()
        for path in paths_of(options):
            failures = []
            with batch.call(path, "read") as call:
                call.take(())
                files = find_files(path, asked)
                call.note(expected=len(files))
                if not files:
                    call.status("unreachable", "it holds no files")
                for scope, file in files:
                    asked.deadline.check()
                    outcome = _read_file(file, scope, options, hosts, call)
                    call.count(rows=int(outcome["status"] == "ok"))
                    if outcome["status"] != "ok":
                        failures.append(outcome)
                        if scope == path:
                            call.note(**outcome)
                        else:
                            batch.cover(scope, "read file", **outcome)
                lose(call, hosts.lost)
                hosts.lost = []
                if hosts.needs_root:
                    hints = [call.row.get("hint"), _NEEDS_ROOT]
                    call.hint("; ".join(filter(None, hints)))
                if failures:
                    status = "partial" if call.row["rows"] else failures[0]["status"]
                    hint = "some files are not facts of a host: see their rows"
                    call.status(status, call.row.get("hint", hint))
        if hosts.all:
            _cover_parts(asked.scope, hosts.all, batch)
            batch.merge(to_batch(hosts.all))


def find_files(path: str, asked: Asked) -> Files:
    """Find the files of a directory, whose names are those of hosts, with any ending or none."""
    # Each comes with its scope: the path as the configuration has it, and the way from
    # there.
    cover_others(path, asked, (), _LOGS)
    files = files_below(path, asked, lambda file: not is_hidden(file, asked.base / path))
    return [(path, asked.base / path)] if files is None else files


def _read_file(file: Path, scope: str, options: Row, hosts: _Hosts, call: Call) -> Row:
    """Read the hosts of a file; return the columns of its coverage row, should it need one."""
    row: Row = {"status": "ok"}
    named = list(documents(file, row, options.get("prefix", "")))
    age = max(call.row.get("age_hours", 0.0), row.get("age_hours", 0.0))
    call.note(age_hours=age)
    if row["status"] == "ok" and not named:
        row |= {"status": "parse_error", "hint": "there are no facts of a host in it"}
    for name, document in named:
        if failed := failure_of(document):
            row |= failed
            continue
        place = str(Path(scope).parent)
        host, lost = to_host(document, name, place, file.stat().st_mtime)
        call.count(redacted_n=withheld_n(document))
        hosts.lost += lost
        if host.units is not None and "privileges" in str(document.get("msg") or ""):
            hosts.needs_root = True
        hosts.add(host)
    return row


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
                inner = json.loads(payload, object_hook=untagged)
            except (ValueError, RecursionError):
                hint = "the facts in this cache are cut off"
                row |= {"status": "parse_error", "hint": hint}
                continue
            if isinstance(inner, dict):
                yield _SCHEMA.sub("", name), inner
        elif isinstance(value.get("plays"), list):  # the callback `json`
            yield from _of_plays(value)
        elif any(key in _NAMED or key.startswith(_PREFIX) for key in value) or failure_of(
            value
        ):
            yield name, _facts_of(value)


def _of_plays(value: Row) -> Iterator[tuple[str, Row]]:
    """Return the facts in the output of the callback ``json``."""
    for play in dicts(value, "plays"):
        for task in dicts(play, "tasks"):
            for name, result in table(task, "hosts").items():
                is_of_use = isinstance(dig(result, "ansible_facts"), dict)
                if is_of_use or (isinstance(result, dict) and failure_of(result)):
                    yield str(name), _facts_of(result)


def _facts_of(result: Row) -> Row:
    """Return the facts in a module's result, and its other keys."""
    inner = result.get("ansible_facts")
    if not isinstance(inner, dict):
        return result
    return inner | {key: result[key] for key in _BESIDE if key in result}


def failure_of(document: Row) -> Row:
    """Return why a host has no facts, without its message."""
    is_denied = _DENIED.search(str(document.get("msg") or ""))
    for key, status, hint in _REFUSALS:
        if document.get(key) is True:
            reason = "denied" if is_denied else status
            return {"status": reason, "error_class": key, "hint": hint}
    return {}


class _Hosts:
    """The hosts of all files; facts of one host from several files are put together."""

    def __init__(self) -> None:
        self.all: list[PlainHost] = []
        self.lost: list[str] = []  # what of a path's files cannot be read
        self.needs_root = False
        self._by_name: dict[str, list[PlainHost]] = {}

    def add(self, host: PlainHost) -> None:
        """Add a host, or its facts to those that are here already."""
        # The same host: equal name, and no mark that differs. A name that every machine
        # has needs a mark in common, or a directory beside the other's with other facts
        # in it.
        namesakes = self._by_name.setdefault(host.name, [])
        for other in namesakes:
            if _is_same(other, host):
                _complete(other, host)
                return
        namesakes.append(host)
        self.all.append(host)


def _complete(other: PlainHost, host: PlainHost) -> None:
    """Add to a host what other facts of it say; the newer ones win."""
    is_newer = _when(host) > _when(other)
    newer, older = (host, other) if is_newer else (other, host)
    # When the facts were gathered is when `setup` ran.
    base, more = (newer, older) if "setup" in _parts(newer) else (older, newer)
    other.facts = more.facts | base.facts
    other.units = older.units if newer.units is None else newer.units
    other.packages = older.packages if newer.packages is None else newer.packages
    other.mounted = newer.mounted or older.mounted
    other.cloud_id = newer.cloud_id or older.cloud_id
    marks = zip(newer.marks, older.marks, strict=True)
    other.marks = tuple(new or old for new, old in marks)


def _when(host: PlainHost) -> datetime:
    return host.facts.get("last_seen_at", _LONG_AGO)


def _is_same(one: PlainHost, other: PlainHost) -> bool:
    marks = zip(one.marks, other.marks, strict=True)
    known = [(a, b) for a, b in marks if a and b]
    if any(a != b for a, b in known):
        return False
    if known or not is_local(one.name):
        return True
    beside = Path(one.place).parent == Path(other.place).parent
    return beside and not _parts(one) & _parts(other)


def _parts(host: PlainHost) -> set[str]:
    known = {"services": host.units, "packages": host.packages}
    parts = {part for part, listed in known.items() if listed is not None}
    is_empty = host.facts.keys() <= {"last_seen_at", "facts_age_hours"}
    return parts if is_empty else parts | {"setup"}


def _cover_parts(path: str, hosts: list[PlainHost], batch: Batch) -> None:
    counts = Counter(part for host in hosts for part in _parts(host))
    for part, command in PARTS.items():
        count = counts[part]
        row = batch.cover(path, part, "ok", rows=count, expected=len(hosts))
        row["ratio"] = round(count / len(hosts), 4)
        if count < len(hosts):
            row["status"] = "partial" if count else "not_configured"
            row["hint"] = f"hosts without it: run {command} --tree on them"


def untagged(value: Row) -> Any:
    """Take a value out of the wrapping that ansible-core 2.19 writes into its caches."""
    if "__ansible_vault" in value:
        return None
    if "__ansible_type" in value and "value" in value:
        return value["value"]
    return value.get("__ansible_unsafe", value)


def plain(facts: Row) -> Row:
    """Return facts without the prefix that Ansible adds, and without their wrapping."""
    added = {
        name.removeprefix(_PREFIX): value
        for name, value in facts.items()
        if name.startswith(_PREFIX)
    }
    return {
        name: untagged(value) if isinstance(value, dict) else value
        for name, value in (facts | added).items()
    }


def to_host(
    facts: Row, name: str, place: str, file_time: float | None
) -> tuple[PlainHost, list[str]]:
    """Return one host, and its unreadable facts."""
    known = plain(facts)
    clock = dig(known, "date_time", "epoch") or dig(known, "date_time", "iso8601")
    lost: list[str] = []
    host = PlainHost(
        name=cell(name) or "unnamed",
        place=place,
        facts=filled(
            **picked(known, "ansible host"),
            addresses=_addresses(known),
            security_modules=_security_modules(known),
            **system_of(*map(known.get, _SYSTEM)),
            **seen(clock, file_time),
        ),
        cloud_id=cell(known, "ec2_instance_id"),
        marks=tuple(picked(known, "ansible mark").values()),
        units=to_units(known, lost),
        packages=to_packages(known, lost),
        mounted=to_mounted(known, lost),
    )
    return host, lost


def _addresses(facts: Row) -> str | None:
    """Return the addresses of a host, without those of its own loopback."""
    listed = texts(facts, "all_ipv4_addresses") + texts(facts, "all_ipv6_addresses")
    listed = listed or [cell(facts, "default_ipv4", "address")]
    return joined(cell(a) for a in listed if not is_local(a))


def _security_modules(facts: Row) -> str | None:
    """Return the security modules that are on; None where that is not known of all."""
    states = {name: cell(facts, name, "status") for name in MODULES}
    if set(states.values()) == {"disabled"}:
        return "none"
    return joined(name for name, state in states.items() if state == "enabled")


def withheld_n(facts: Row) -> int:
    """Count the values that are never read."""
    parts = map(plain(facts).get, WITHHELD)
    counts = [len(p) if isinstance(p, dict) else int(p is not None) for p in parts]
    return sum(counts) + sum("ssh_host_key" in key for key in facts)


def to_units(facts: Row, lost: list[str]) -> list[SystemUnit] | None:
    """Return the units that run or failed; None where ``service_facts`` was not asked."""
    # What systemd lists is not repeated as of sysv.
    listed = _listed(facts, "services", lost)
    if listed is None:
        return None
    units = []
    for key, raw in sorted(listed.items()):
        entry = untagged(raw) if isinstance(raw, dict) else raw
        if not isinstance(entry, dict):
            lost.append(f"service {cell(key)} is no object")
            continue
        name = cell(entry, "name") or cell(key)
        is_template = name.endswith("@.service")  # it runs nothing itself
        is_gone = entry.get("status") in _GONE
        if is_gone or is_template or f"{name}.service" in listed:
            continue
        word = cell(entry, "state").lower()
        state = "failed" if "failed" in (word, entry.get("status")) else _STATES.get(word)
        manager = cell(entry, "source") or "systemd"
        if state in ("running", "failed"):
            units.append(SystemUnit(name, state, manager))
        elif state is None:
            lost.append(f"service {name} is in no known state")
    return units


def _listed(facts: Row, name: str, lost: list[str]) -> Row | None:
    """Return a fact that is a table; None without one."""
    if name in facts and not isinstance(facts[name], dict):
        lost.append(f"{name} are no table")
        return None
    return facts.get(name)


def to_packages(facts: Row, lost: list[str]) -> dict[str, Package] | None:
    """Return the installed packages; None where ``package_facts`` did not run, or saw none."""
    listed = _listed(facts, "packages", lost)
    if not listed:
        return None
    packages = {}
    for name in filter(is_of_interest, listed):
        if versions := dicts(listed[name]):
            version = cell(versions[0].get("version"))
            manager = cell(versions[0].get("source"))
            packages[cell(name)] = Package(version, manager)
        else:
            lost.append(f"package {cell(name)} has no version")
    return packages


def to_mounted(facts: Row, lost: list[str]) -> Rows:
    """List the file systems of a host: path, type, bytes in use, and whether read-only."""
    mounted = []
    for n, disk in enumerate(listed(facts, "mounts")):
        named = picked(disk, "ansible mount")
        if not named["path"]:
            lost.append(f"mounts[{n}] has no path")
            continue
        total = whole(disk, "size_total")
        free = whole(disk, "size_available")
        options = cell(disk, "options").split(",")
        used = None if total is None or free is None else max(0, total - free)
        read_only = "ro" in options if disk.get("options") else None
        mounted.append(named | {"size": used, "read_only": read_only})
    return mounted
