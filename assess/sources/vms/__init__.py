"""Virtual machines from exports of VMware, Proxmox, libvirt, Google and Azure."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

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
from assess.sources.hosts import seen, to_batch
from assess.sources.listing import lose
from assess.sources.values import Texts, dicts
from assess.sources.vms.machines import (
    READERS,
    Machine,
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
_DECLARATION = re.compile(r"<\?xml[^>]{0,200}\?>")
_LISTED = re.compile(r"^\s*(?:-|\d+)\s+(\S.{0,200}?)\s{2,}([a-z][a-z ]{2,30})\s*$")
MAX_UNPACKED = 256 << 20  # bytes of one part of a workbook
MAX_CELLS = 5_000_000
MAX_COLUMNS = 16_384  # of a sheet, as Excel has it
_CHUNK = 1 << 16
_LETTERS = re.compile(r"[A-Z]{1,3}")

Start = Callable[[str, Texts], None]
End = Callable[[str, str], None]


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


def read_xml(stream: IO[bytes], start: Start, end: End) -> None:
    """Call a function at the start of each element, and one with its text at its end."""
    # A document type is refused: entities can make gigabytes of some lines, or read other
    # files.
    parser = expat.ParserCreate(namespace_separator=" ")
    texts: list[str] = []

    def refuse(*_: Any) -> None:
        raise ValueError("it declares a document type, which is not read")

    def begin(name: str, attributes: Texts) -> None:
        texts.clear()
        start(name.rpartition(" ")[2], attributes)

    def finish(name: str) -> None:
        end(name.rpartition(" ")[2], "".join(texts))
        texts.clear()

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = finish
    parser.CharacterDataHandler = texts.append
    read_n = 0
    try:
        while chunk := stream.read(_CHUNK):
            read_n += len(chunk)
            if read_n > MAX_UNPACKED:
                raise ValueError(f"it is beyond the limit of {MAX_UNPACKED >> 20} MB")
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise ValueError(f"it is no sound XML near line {error.lineno}") from error


def read_workbook(file: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """List the sheets of a workbook, each with the texts of its cells by row."""
    try:
        with ZipFile(file) as book:
            shared = _shared_texts(book)
            for name, part in _sheets(book):
                with book.open(part) as stream:
                    yield name, _rows(stream, shared)
    except (BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError("it is no workbook (xlsx), or is damaged or locked") from error


def _sheets(book: ZipFile) -> list[tuple[str, str]]:
    """List the sheets of a workbook with the names of their parts."""
    targets = {}
    sheets = []

    def relation(name: str, found: Texts) -> None:
        if name == "Relationship":
            target = found.get("Target", "").removeprefix("/xl/")
            targets[found.get("Id", "")] = target

    def sheet(name: str, found: Texts) -> None:
        if name == "sheet":
            ids = (value for key, value in found.items() if key.endswith(" id"))
            sheets.append((found.get("name", ""), next(ids, "")))

    for part, start in (("_rels/workbook.xml.rels", relation), ("workbook.xml", sheet)):
        with book.open(f"xl/{part}") as stream:
            read_xml(stream, start, lambda *_: None)
    return [(name, f"xl/{targets[key]}") for name, key in sheets if key in targets]


def _shared_texts(book: ZipFile) -> list[str]:
    """List the texts that cells refer to; each may be in several runs."""
    texts = []
    runs = []

    def end(name: str, text: str) -> None:
        if name == "t":
            runs.append(text)
        elif name == "rPh":  # how to pronounce it
            runs.clear()
        elif name == "si":
            texts.append("".join(runs))
            runs.clear()

    if "xl/sharedStrings.xml" in book.namelist():
        with book.open("xl/sharedStrings.xml") as stream:
            read_xml(stream, lambda *_: None, end)
    return texts


class _Sheet:
    """Cells of a sheet as they come."""

    def __init__(self, shared: list[str]) -> None:
        self.rows: list[list[str]] = []
        self._shared = shared
        self._type = ""
        self._column = 0
        self._value = ""
        self._cells_n = 0

    def start(self, name: str, attributes: Texts) -> None:
        """Begin a row or a cell."""
        if name == "row":
            self.rows.append([])
        elif name == "c":
            self._type = attributes.get("t", "n")
            self._value = ""
            place = _LETTERS.match(attributes.get("r", ""))
            if place:
                self._column = _column(place[0])
            elif self.rows:
                self._column = len(self.rows[-1])

    def end(self, name: str, text: str) -> None:
        """Take the value of a cell; cells that are empty or merged are not written."""
        if name in ("v", "t"):
            self._value += text
        elif name == "c" and self.rows and self._column < MAX_COLUMNS:
            row = self.rows[-1]
            missing_n = self._column + 1 - len(row)
            self._cells_n += max(missing_n, 1)
            if self._cells_n > MAX_CELLS:
                raise ValueError(f"it has more cells than the limit of {MAX_CELLS:,}")
            row += [""] * missing_n
            row[self._column] = self._text()

    def _text(self) -> str:
        if self._type == "s" and self._value.isdigit():
            number = int(self._value)
            return self._shared[number] if number < len(self._shared) else ""
        if self._type == "b":
            return "true" if self._value == "1" else "false"
        return "" if self._type == "e" else self._value


def _rows(stream: IO[bytes], shared: list[str]) -> list[list[str]]:
    sheet = _Sheet(shared)
    read_xml(stream, sheet.start, sheet.end)
    return sheet.rows


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
