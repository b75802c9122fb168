"""Virtual machines from exports of VMware, Proxmox, libvirt, Google and Azure."""

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

from assess.reading import refuse_many
from assess.sources.base import Asked, Call, Row, Source
from assess.sources.csv_records import header_of, lookup, read_records, vocabulary
from assess.sources.dumps import (
    MAX_BYTES,
    DumpError,
    each_dump,
    read_bytes,
    read_json,
    read_text,
)
from assess.sources.hosts import PlainHost, seen, to_batch
from assess.sources.listing import lose
from assess.sources.values import dicts
from assess.sources.vms.machines import (
    READERS,
    fields_of,
    of_form,
    of_rvtools,
    whole,
)

_EMPTY = "it lists no machine"
_NO_EXPORT = "no list of machines is in it; `assess sources vms` names the commands"
_TEMPLATES = "templates and placeholders are no machines: they were left out"
_TAB = "vInfo"
_TOP = 20  # rows in which the heads are looked for
_NEEDED = ("name", "power")  # fields without which a row is no head
_DECLARATION = re.compile(rb"<\?xml[^>]{0,200}\?>")
_LISTED = re.compile(r"^\s*(?:-|\d+)\s+(\S.{0,200}?)\s{2,}([a-z][a-z ]{2,30})\s*$")
MAX_UNPACKED = 256 << 20  # bytes of one part of a workbook
MAX_CELLS = 5_000_000
# what a cell shows whose formula cannot be computed
ERRORS = vocabulary("vms", "errors of cells")


@dataclass
class _Found:
    """Machines of all files; libvirt has the sizes in one, the states in another."""

    machines: list[PlainHost] = field(default_factory=list)
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
        hosts = to_batch([m for m in found.machines if not m.is_template])
        batch.add("hosts", *hosts.rows["hosts"])


def _read(file: Path, call: Call, found: _Found) -> None:
    place = str(call.row["scope"])
    head = read_bytes(file, call.row)[:512].lstrip(b"\xef\xbb\xbf \r\n\t")
    before_n = found.entries_n
    before = len(found.machines)
    if head.startswith(b"PK"):
        _of_table(read_workbook(file), place, call, found)
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
        machine.facts |= written


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
        read = next((read for key, read in READERS if key in entry), None)
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
    raw = _DECLARATION.sub(b"", read_bytes(file, {}, MAX_BYTES))
    # entities can make gigabytes of some lines, or read other files
    if b"<!DOCTYPE" in raw:
        raise ValueError("it declares a document type, which is not read")
    try:
        domains = list(_domains(b"<all>" + raw.strip() + b"</all>"))
    except ElementTree.ParseError as error:
        line, _ = error.position
        raise ValueError(f"it is no sound XML near line {line}") from error
    if not domains:
        raise DumpError(_NO_EXPORT)
    refuse_many(len(domains), what="machines")
    found.domains += [(domain, place) for domain in domains]


def _domains(xml: bytes) -> Iterator[Row]:
    """Yield the domains that have a name; of each element no more is kept."""
    depth = 0
    for event, element in ElementTree.iterparse(io.BytesIO(xml), ("start", "end")):
        depth += 1 if event == "start" else -1
        if event == "end" and depth == 1:
            name = element.findtext("name", "").strip()
            if element.tag == "domain" and name:
                yield {"name": name, **_facts_of(element)}
            element.clear()


def _facts_of(domain: ElementTree.Element) -> Row:
    units = lookup("byte_units", "unit", "bytes")
    unit = int(units.get(_attribute(domain, "memory", "unit", "KiB").lower(), 0))
    size = whole(domain.findtext("memory", ""))
    system = _attribute(domain, ".//{*}os[@id]", "id")
    most = domain.findtext("vcpu", "")
    return {
        "state": "running" if "id" in domain.attrib else None,
        "os": " ".join(system.split("/")[-2:]),  # debian/12
        "arch": _attribute(domain, "os/type", "arch"),
        "vcpus": whole(_attribute(domain, "vcpu", "current", most)),
        "memory": size * unit if size and unit else None,
    }


def _attribute(
    element: ElementTree.Element, path: str, name: str, usual: str = ""
) -> str:
    found = element.find(path)
    return usual if found is None else found.get(name, usual)


def read_workbook(file: Path) -> list[list[str]]:
    """Return the texts of the cells of a workbook, by row."""
    rows = []
    cells_n = 0
    for row in _rows_of(file):
        cells_n += len(row)
        if cells_n > MAX_CELLS:
            raise ValueError(f"it has more cells than the limit of {MAX_CELLS:,}")
        known = ("" if cell is None else str(cell) for cell in row)
        rows.append(["" if cell in ERRORS else cell for cell in known])
    return rows


def _rows_of(file: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the tab of RVTools, whose other tabs list disks and so on; else of the first."""
    from openpyxl import load_workbook

    with suppress(BadZipFile), ZipFile(file) as packed:
        if any(part.file_size > MAX_UNPACKED for part in packed.infolist()):
            raise ValueError(f"it is beyond the limit of {MAX_UNPACKED >> 20} MB")
    # by its content, whatever its name is; whatever stumbles over it, it is no sound workbook
    with suppress(Exception), file.open("rb") as stream:
        book = load_workbook(stream, read_only=True, data_only=True)
        sheet = book[_TAB] if _TAB in book.sheetnames else book.worksheets[0]
        sheet.reset_dimensions()  # as written they may be wrong
        yield from sheet.iter_rows(values_only=True)
        return
    raise ValueError("it is no workbook (xlsx), or is damaged or locked")
