"""XML and workbooks of strangers: read as a stream, without entities, within limits."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from assess.sources.values import Texts

MAX_UNPACKED = 256 << 20  # bytes of one part of a workbook
MAX_CELLS = 5_000_000
MAX_COLUMNS = 16_384  # of a sheet, as Excel has it
_CHUNK = 1 << 16
_LETTERS = re.compile(r"[A-Z]{1,3}")

Start = Callable[[str, Texts], None]
End = Callable[[str, str], None]


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
