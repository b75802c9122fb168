"""Virtual machines from exports of VMware, Proxmox, libvirt, Google and Azure."""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from assess.reading import refuse_many
from assess.sources.base import Asked, Call, Row, Rows, Source
from assess.sources.csv_records import header_of, lookup, read_records, vocabulary
from assess.sources.dumps import (
    MAX_BYTES,
    DumpError,
    each_dump,
    read_bytes,
    read_json,
    read_text,
)
from assess.sources.hosts.rows import seen, to_batch
from assess.sources.listing import lose
from assess.sources.values import Texts, dicts
from assess.sources.vms.machines import (
    Machine,
    fields_of,
    of_form,
    of_rvtools,
    reader_of,
    whole,
)
from assess.sources.vms.xml import read_workbook, read_xml

_EMPTY = "it lists no machine"
_NO_EXPORT = "no list of machines is in it; `assess sources vms` names the commands"
_TEMPLATES = "templates and placeholders are no machines: they were left out"
_TAB = "vInfo"
_TOP = 20  # rows in which the heads are looked for
_NEEDED = ("name", "power")  # fields without which a row is no head
_DECLARATION = re.compile(r"<\?xml[^>]{0,200}\?>")
_LISTED = re.compile(r"^\s*(?:-|\d+)\s+(\S.{0,200}?)\s{2,}([a-z][a-z ]{2,30})\s*$")


@dataclass
class _Found:
    """Machines of all files; libvirt has the sizes in one, the states in another."""

    machines: list[Machine] = field(default_factory=list)
    domains: list[tuple[Row, str]] = field(default_factory=list)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def entries_n(self) -> int:
        """Number of entries that were read."""
        return len(self.machines) + len(self.domains) + len(self.states)


class VmsSource(Source):
    """Reads lists of machines; which services they run, other sources say."""

    type = "vms"

    def fill(self, asked: Asked) -> None:
        """Read the machines of all files."""
        batch = asked.batch
        found = _Found()
        for file, call in each_dump(asked, (), empty=_EMPTY):
            with call:
                asked.deadline.check()
                before = len(found.machines)
                _read(file, call, found)
                if templates_n := sum(m.is_template for m in found.machines[before:]):
                    row = batch.cover(call.row["scope"], "templates", "ok")
                    row |= {"rows": templates_n, "hint": _TEMPLATES}
        known = {row.get("name") for row, _ in found.domains}
        for name, (state, place) in found.states.items():
            if name not in known:
                found.domains.append(({"name": name}, place))
            for row, _ in found.domains:
                if row.get("name") == name:
                    row["state"] = state
        made = (of_form("libvirt", row, place) for row, place in found.domains)
        found.machines += filter(None, made)
        hosts = to_batch([m.host for m in found.machines if not m.is_template])
        batch.add("hosts", *hosts.rows["hosts"])


def _read(file: Path, call: Call, found: _Found) -> None:
    place = str(call.row["scope"])
    head = read_bytes(file, call.row)[:512].lstrip(b"\xef\xbb\xbf \r\n\t")
    before_n = found.entries_n
    before = len(found.machines)
    if head.startswith(b"PK"):
        # other tabs of RVTools have rows for disks and so on
        tables = dict(read_workbook(file))
        table = tables.get(_TAB) or next(iter(tables.values()), [])
        _of_table(table, place, call, found)
    elif head.startswith(b"<"):
        _of_libvirt(file, place, found)
    elif head[:1] in (b"[", b"{"):
        _of_json(file, place, call, found)
    elif b"," in head or b";" in head or b"\t" in head:
        heads, records = read_records(read_bytes(file, call.row))
        table = [heads, *([record[name] for name in heads] for record in records)]
        _of_table(table, place, call, found)
    else:
        _of_listing(file, place, call, found)
    call.count(rows=found.entries_n - before_n)
    written = seen(file.stat().st_mtime)
    for machine in found.machines[before:]:
        machine.host.facts |= written


def _of_table(table: list[list[str]], place: str, call: Call, found: _Found) -> None:
    """Read rows below their heads, above which merged cells may have titles."""
    tops = [fields_of([header_of(cell) for cell in row]) for row in table[:_TOP]]
    at_top = [n for n, heads in enumerate(tops) if all(key in heads for key in _NEEDED)]
    if not at_top:
        raise DumpError(f"no row has the heads VM and Powerstate, as the tab {_TAB} has")
    first = at_top[0]
    heads = tops[first]
    below = [row for row in table[first + 1 :] if any(row)]
    refuse_many(len(below), what="machines")
    lost = []
    for number, row in enumerate(below, start=first + 2):
        there = {key: at for key, at in heads.items() if at < len(row)}
        cells = {key: row[at].strip() for key, at in there.items()}
        if cells.get("name"):
            found.machines.append(of_rvtools(cells, place))
        else:
            lost.append(f"row {number} has no name")
        for key in ("vcpus", "memory_mib"):
            if cells.get(key) and whole(cells[key]) is None:
                lost.append(f"{key} of row {number} is no whole number")
    lose(call, lost)


def _of_json(file: Path, place: str, call: Call, found: _Found) -> None:
    values = read_json(file, call.row)
    entries = []
    for value in dicts(values):
        lists = (dicts(value, key) for key in vocabulary("vms", "lists"))
        entries += next(filter(None, lists), [value])
    refuse_many(len(entries), what="machines")
    lost = []
    for number, entry in enumerate(entries):
        read = reader_of(entry)
        if not read:
            lost.append(f"entry {number} is no machine")
        elif one := read(entry, place):
            found.machines.append(one)
    if values and len(lost) == len(entries):
        raise DumpError(_NO_EXPORT)
    lose(call, lost)


def _of_listing(file: Path, place: str, call: Call, found: _Found) -> None:
    text = read_text(file, call.row)
    if text is None:
        return
    listed = [*filter(None, map(_LISTED.match, text.splitlines()))]
    if not listed and text.split()[:3] != ["Id", "Name", "State"]:
        raise DumpError(_NO_EXPORT)
    for match in listed:
        found.states[match[1]] = (match[2], place)


def _of_libvirt(file: Path, place: str, found: _Found) -> None:
    """Read the domains in a file, which may hold the output of several commands."""
    # every byte is a character of Latin-1 and back
    text = read_bytes(file, {}, MAX_BYTES).decode("latin-1")
    raw = _DECLARATION.sub("", text).encode("latin-1")
    path: list[str] = []
    domains: Rows = []
    attributes: Texts = {}

    def start(name: str, given: Texts) -> None:
        path.append(name)
        attributes.clear()
        attributes.update(given)
        if path[1:] == ["domain"]:
            domains.append({"state": "running"} if "id" in given else {})
        elif name == "os" and "id" in given and domains:
            domains[-1]["os"] = " ".join(given["id"].split("/")[-2:])  # debian/12
        elif path[2:] == ["os", "type"]:
            domains[-1]["arch"] = given.get("arch")

    def end(name: str, text: str) -> None:
        if path[1:] == ["domain", "name"]:
            domains[-1]["name"] = text.strip()
        elif path[1:] == ["domain", "vcpu"]:
            domains[-1]["vcpus"] = whole(text)
        elif path[1:] == ["domain", "memory"]:
            size = whole(text)
            units = lookup("byte_units", "unit", "bytes")
            unit = int(units.get(attributes.get("unit", "KiB").lower(), 0))
            domains[-1]["memory"] = size * unit if size and unit else None
        path.pop()

    read_xml(io.BytesIO(b"<all>" + raw.strip() + b"</all>"), start, end)
    named = [domain for domain in domains if domain.get("name")]
    if not named:
        raise DumpError(_NO_EXPORT)
    refuse_many(len(named), what="machines")
    found.domains += [(domain, place) for domain in named]
