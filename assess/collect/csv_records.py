"""CSV exports as people have them: any separator, repeated headers, encodings of Excel."""

from __future__ import annotations

import csv
import io
import re

Cells = dict[str, str]


def decoded(data: bytes) -> str:
    """Give the text of an export: UTF-8, UTF-16 with its mark, or what Excel writes in the west.

    Parameters
    ----------
    data : bytes
        Content of the file.

    Returns
    -------
    str
        Without NUL characters.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16").replace("\0", "")
    try:
        return data.decode("utf-8-sig").replace("\0", "")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace").replace("\0", "")


def read_records(text: str) -> tuple[list[str], list[Cells]]:
    """Read a CSV text.

    Parameters
    ----------
    text : str
        With a header; separated by commas, semicolons or tabs.

    Returns
    -------
    header : list of str
        Headers, written alike: lower case, underscores.
    records : list of dict of str to str
        Cells by header; of a header that occurs twice, the first cell that is filled.

    Raises
    ------
    ValueError
        Where there is no header.
    """
    first = text.lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # postmortems are long
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    if not rows:
        raise ValueError("the file is empty")
    header = [_header(name) for name in rows[0]]
    records = []
    for row in rows[1:]:
        cells: Cells = {}
        for name, cell in zip(header, row, strict=False):
            cells[name] = cells.get(name) or cell.strip()
        if any(cells.values()):
            records.append(cells)
    return header, records


def _header(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
