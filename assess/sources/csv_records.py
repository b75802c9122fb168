"""Read CSV files: exports with any separator, header and encoding; vocabularies of this package."""

import csv
import re
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from unicodedata import normalize

from assess.config import packaged_rows
from assess.reading import (
    CELL_COST,
    MAX_MAP_BYTES,
    read_limited,
    refuse_costly,
    refuse_many,
)

Cells = dict[str, str]
MAX_FIELD = 8 << 20  # characters of a cell: postmortems are long
_SEPARATOR = re.compile(r"(?i)\Asep=.\r?\n")  # a line above the header, for Excel alone
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


def read_records(data: bytes) -> tuple[list[str], list[Cells]]:
    """Read a file: its headers, in lower case with underscores, and its cells by header.

    If a header occurs twice, its first non-empty cell counts; other values of its cells
    are stored under the header with ``.1``, ``.2`` and so on.
    """
    refuse_costly(data, b",;\t|\n\r", CELL_COST)
    text = _SEPARATOR.sub("", _decoded(data).replace("\0", ""))
    first = text.lstrip("\ufeff\r\n")[:MAX_FIELD].partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    csv.field_size_limit(MAX_FIELD)
    # `splitlines` would also cut at form feeds and U+2028 inside a cell
    lines = (line[0] for line in _LINE.finditer(text))
    rows = filter(None, csv.reader(lines, delimiter=delimiter))
    header = [header_of(name) for name in next(rows, [])]
    if not header:
        raise ValueError("the file is empty")
    places: dict[str, list[int]] = {}
    for column, name in enumerate(header):
        places.setdefault(name, []).append(column)
    records = []
    for row in rows:
        cells = _cells(row, places)
        records += [cells] if any(cells.values()) else []
        refuse_many(len(records) * (1 + len(places) // 25))  # a wide one costs more
    return header, records


def _cells(row: list[str], places: dict[str, list[int]]) -> Cells:
    cells = {}
    for name, columns in places.items():
        texts = [row[column].strip() for column in columns if column < len(row)]
        different = list(dict.fromkeys(filter(None, texts)))
        for number, text in enumerate(different or [""]):
            cells[f"{name}.{number}" if number else name] = text
    return cells


def _decoded(data: bytes) -> str:
    """Decode text: UTF-16 with a byte-order mark, UTF-8, or else cp1252 as Excel writes it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def header_of(name: str) -> str:
    """Return a header in lower case with underscores, and without accents."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    plain = re.sub(r"[\u0300-\u036f]", "", normalize("NFKD", spaced.lower()))
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def rows_of(path: Path) -> list[Cells]:
    """Read the rows of a table that people wrote by hand."""
    content = read_limited(path, MAX_MAP_BYTES).decode("utf-8-sig")
    return list(csv.DictReader(content.splitlines(keepends=True)))


def rows(name: str) -> list[Cells]:
    """Return the rows of a vocabulary, a CSV file beside this one."""
    return packaged_rows(f"sources/{name}.csv")


@cache
def vocabulary(source: str, listed: str) -> Cells:
    """Return what the words of a list mean, as the source's `vocabulary.csv` has it."""
    found = [row for row in rows(f"{source}/vocabulary") if row["list"] == listed]
    return {row["word"]: row["meaning"] for row in found}


@cache
def headers(source: str) -> dict[str, tuple[str, ...]]:
    """Return the headers that may fill each column, as the source's `headers.csv` lists them."""
    groups = groupby(rows(f"{source}/headers"), itemgetter("column"))
    return {column: tuple(row["header"] for row in group) for column, group in groups}


def fill(cells: Cells, columns: dict[str, tuple[str, ...]]) -> Cells:
    """Return the first filled cell of each column; empty without one."""
    return {
        column: next((cells[name] for name in names if cells.get(name)), "")
        for column, names in columns.items()
    }


@cache
def lookup(name: str, key: str, value: str) -> Cells:
    """Return one column of a vocabulary by the cells of another."""
    return {row[key]: row[value] for row in rows(name)}
