"""CSV files: exports of any separator, header and encoding; vocabularies of this package."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from fnmatch import translate
from functools import cache
from importlib.resources import files

Cells = dict[str, str]


def read_records(data: bytes) -> tuple[list[str], list[Cells]]:
    """Read a file: its headers, in lower case with underscores, and its cells by header.

    Of a header that occurs twice, the first cell that is filled counts; what else its cells say
    is under the header with ``.1``, ``.2`` and so on.
    """
    text = _decoded(data).replace("\0", "")
    first = text.lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(
        max(csv.field_size_limit(), len(text) + 1)
    )  # postmortems are long
    rows = [
        row
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        if row
    ]
    if not rows:
        raise ValueError("the file is empty")
    header = [_header(name) for name in rows[0]]
    places: dict[str, list[int]] = {}
    for column, name in enumerate(header):
        places.setdefault(name, []).append(column)
    records = [_cells(row, places) for row in rows[1:]]
    return header, [cells for cells in records if any(cells.values())]


def repeats(cells: Cells, name: str) -> list[str]:
    """List the texts of all cells under one header."""
    texts = [cells.get(name, "")]
    while (following := f"{name}.{len(texts)}") in cells:
        texts.append(cells[following])
    return [text for text in texts if text]


def _cells(row: list[str], places: dict[str, list[int]]) -> Cells:
    """Map headers to the cells of a row."""
    cells: Cells = {}
    for name, columns in places.items():
        texts = [row[column].strip() for column in columns if column < len(row)]
        different = list(dict.fromkeys(filter(None, texts)))
        cells[name] = different[0] if different else ""
        for number, text in enumerate(different[1:], start=1):
            cells[f"{name}.{number}"] = text
    return cells


def _decoded(data: bytes) -> str:
    """Text in UTF-8, in UTF-16 with its mark, or in what Excel writes in the west."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _header(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


@cache
def rows(name: str) -> list[dict[str, str]]:
    """Read the rows of a vocabulary, a CSV file beside this one."""
    with (files("assess.sources") / f"{name}.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Compile patterns of a shell into one expression; ``*`` stands for anything."""
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)
