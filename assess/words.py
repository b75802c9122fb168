"""A value in words, once: for notebooks, reports, the command line and files.

Text, Markdown and HTML are small writers over the same cells. CSV and JSON keep exact values.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series, Timestamp
from pandas.api import types

from assess.terminal import UNBROKEN, in_columns
from assess.untrusted import clean, csv_lines, guarded, markdown_text, printable

Json = dict[str, Any]  # of plain types
UNKNOWN = "unknown"
NONE = "-"
# columns in which an empty cell does not mean that nobody knows, and what it is in words
_FILE = Path(__file__).with_name("absent.csv")
ABSENT = dict(pd.read_csv(_FILE, index_col=0, keep_default_na=False)["word"])
# columns with no value in rows where another column has such a word, which is the reason
ABSENT_WHERE = {"versions_behind": ("basis", ["prospective from target"])}
ABSENT_WHERE |= dict.fromkeys(
    ["column", "before", "after"], ("change", ["added", "removed"])
)
ROWS_SHOWN = 20
# of kinds of elements, and patterns in the names of elements and components
ELEMENT_KINDS = {"az": "zone", "base_image": "base image", "ext": "outside"}
SHORTER = {
    r"@sha256:([0-9a-f]{8})[0-9a-f]+": r"@\1",
    r"^docker\.io/(library/)?": "",
    r"^ext:": "",
}
DECIMALS = 2
MOST_DECIMALS = 6
DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")  # and its part that people see
# the style of a table, and of the cells of words: JupyterLab drops the first from outputs that
# it does not trust, such as those of a notebook that nobody ran here
STYLE = (
    "<style>.assess td,.assess th{text-align:right;vertical-align:top;max-width:36em;"
    "overflow-wrap:break-word}.assess td{white-space:nowrap}</style>"
)
SHORT = ' style="text-align:left;white-space:nowrap"'
LONG = ' style="text-align:left;white-space:normal"'


# One value


def is_unknown(value: Any) -> bool:
    """Return whether a single value is unknown; a collection never is."""
    # nearly all values are of these types; to ask pandas takes ten times as long
    if type(value) in _PLAIN:
        return value is None
    if isinstance(value, float):
        return math.isnan(value)
    return bool(types.is_scalar(value) and pd.isna(value))


def share(value: Any) -> str:
    """Write a share [0-1] as percent; a small share is never written as zero."""
    if is_unknown(value):
        return UNKNOWN
    # below 0.5% the format would print 0%, which reads as "never"
    return "< 1%" if 0 < value < 0.005 else f"{value:.0%}"


def number(value: Any, digits: int = 0, *, signed: bool = False) -> str:
    """Write a number with thousands separators; a rounded zero has no minus."""
    if is_unknown(value):
        return UNKNOWN
    sign = "+" if signed else ""
    if digits == 0 and isinstance(value, (int, np.integer)):
        # formatted as a float, a large identifier would become another one
        return f"{int(value):{sign},}"
    # adding 0.0 turns -0.0 into 0.0
    return f"{round(value, digits) + 0.0:{sign},.{digits}f}"


def moment(value: Timestamp) -> str:
    """Write a time as a day, with the time of day where it is not midnight."""
    return f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(":00").removesuffix(" 00:00")


def word(value: Any) -> str:
    """Write any single value."""
    if is_unknown(value):
        return UNKNOWN
    if types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, _digits([value]))
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(word, value)) or NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {word(item)}" for key, item in value.items()) or NONE
    return moment(value) if isinstance(value, Timestamp) else clean(value)


def sentence_list(
    names: Iterable[object], most: int | None = None, *, last: str = " and "
) -> str:
    """Write a list as in a sentence: ``a, b and c``, or ``a, b and 3 more``."""
    listed = list(map(str, names))
    # with most=None the slice keeps all names
    shown = listed[:most]
    if len(shown) < len(listed):
        return f"{', '.join(shown)} and {len(listed) - len(shown)} more"
    parts = [", ".join(shown[:-1]), *shown[-1:]]
    return last.join(filter(None, parts))


# most cells are one of these, and a tree of them has millions
_PLAIN = frozenset({str, int, bool, type(None)})


def plain(value: Any) -> Any:
    """Convert a value, nested or not, to plain JSON types; NA is None, times are ISO-8601 with Z."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, Timestamp):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_unknown(value):
        return None
    if isinstance(value, bool | int | str):
        return value
    return str(value)


# A table


def plain_cells(column: Series) -> list[Any]:
    """Return the cells of a column as plain JSON types; see `plain`."""
    # whole columns at once: a report has millions of cells
    kind = column.dtype.kind
    if kind == "f":
        values = column.to_numpy(float, na_value=math.nan)
        cells = values.astype(object)
        cells[~np.isfinite(values)] = None
        return list(cells)
    if kind in "biu" or isinstance(column.dtype, pd.StringDtype):
        return list(column.to_numpy(object, na_value=None))
    return list(map(plain, column.tolist()))


def records(
    table: DataFrame, cells: Callable[[Series], list[Any]] = plain_cells
) -> list[Json]:
    """Return the rows of a table as dictionaries of plain JSON types, or of other ``cells``."""
    columns = [cells(table.iloc[:, at]) for at in range(table.shape[1])]
    names = list(map(str, table))
    rows = zip(*columns, strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


@dataclass(frozen=True)
class Grid:
    """A table in words: its headings and cells."""

    heads: list[str]
    numbers: list[bool]  # which columns hold numbers, and so are set flush right
    rows: Sequence[Sequence[str]]
    labels_n: int = 0  # leading columns that name a row

    @classmethod
    def of(cls, table: DataFrame) -> Grid:
        """Write every cell of a table in words; all numbers of a column alike."""
        flat, labels_n = _flat(table)
        columns = [flat.iloc[:, i] for i in range(flat.shape[1])]
        heads = [_head(name) for name in flat]
        cells = [
            _cells(column, head, _absent(head, flat))
            for column, head in zip(columns, heads, strict=True)
        ]
        rows = list(zip(*cells, strict=True))
        return cls(heads, list(map(_is_number, columns)), rows, labels_n)

    @classmethod
    def of_changes(cls, table: DataFrame) -> Grid:
        """Write each column and its ``<column>_before`` as one: ``before -> now`` where they differ."""
        names = [name for name in table if f"{name}_before" in table]
        befores = [f"{name}_before" for name in names]
        grid = cls.of(table.drop(columns=befores))
        was = table[befores].set_axis(names, axis=1)
        # together, so that both have as many decimals
        both = pd.concat([was, table[names]], ignore_index=True)
        cells = cls.of(both).rows
        rows = [list(row) for row in grid.rows]
        for row, before, now in zip(rows, cells, cells[len(rows) :], strict=False):
            row[-len(names) :] = map(_change, before, now)
        return cls(grid.heads, grid.numbers, rows, grid.labels_n)

    def text(self, width: int | None = None) -> str:
        """Align the columns as text, in a terminal of a width; see `in_columns`."""
        if not self.heads:
            return ""
        return in_columns(self.heads, self.rows, self.numbers, width)

    def markdown(self) -> str:
        """Write a Markdown table."""
        rule = ["---:" if is_number else "---" for is_number in self.numbers]
        head, *rows = (map(markdown_text, row) for row in (self.heads, *self.rows))
        lines = map(" | ".join, (head, rule, *rows))
        return "".join(f"| {line} |\n" for line in lines)

    def html(self, most: int = ROWS_SHOWN) -> str:
        """Write an HTML table of the first rows, with its style; everything is escaped."""
        columns = zip(self.heads, *self.rows[:most], strict=True)
        marks = list(map(_mark, self.numbers, columns))
        n = self.labels_n
        body = [
            f"<tr>{_tags('th', row[:n], marks)}{_tags('td', row[n:], marks[n:])}</tr>"
            for row in self.rows[:most]
        ]
        rest = len(self.rows) - most
        remark = f"and {rest} more" if rest > 0 else "no rows"
        if rest > 0 or not self.rows:
            body.append(f'<tr><td{LONG} colspan="{len(marks)}">{remark}</td></tr>')
        head = f"<thead><tr>{_tags('th', self.heads, marks)}</tr></thead>"
        inner = "\n".join([f"{head}<tbody>", *body, "</tbody>"])
        return f'{STYLE}<table class="assess">{inner}</table>'


def to_html(table: DataFrame, *, rows: int = ROWS_SHOWN) -> str:
    """Write the first rows of a table as HTML for a notebook, everything escaped."""
    return Grid.of(table).html(rows)


def together(items: Sequence[Any]) -> str | None:
    """Join the HTML of several objects; None if one of them has no HTML."""
    if not items or not all(hasattr(item, "_repr_html_") for item in items):
        return None
    return "\n".join(item._repr_html_() for item in items)


def paragraphs(text: str) -> str:
    """Write lines of text as paragraphs of HTML, which wrap between words."""
    lines = filter(None, printable(text).split("\n"))
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def to_csv(table: DataFrame) -> str:
    """Return a table as CSV; see `csv_of`."""
    return "".join(csv_of(table))


def csv_of(table: DataFrame, *, is_spreadsheet: bool = False) -> Iterator[str]:
    """Yield lines of CSV: NA empty, times ISO-8601, formulas guarded, lists as JSON or words."""
    write = partial(_csv_cell, is_spreadsheet=is_spreadsheet)
    columns = [_csv_column(table.iloc[:, i], write) for i in range(table.shape[1])]
    head = map(guarded, map(str, table))
    return csv_lines(head, zip(*columns, strict=True))


def _change(before: str, now: str) -> str:
    return now if before == now else f"{before} -> {now}"


def _csv_column(column: Series, write: Callable[[Any], str]) -> list[str]:
    if column.dtype.kind in "fiu":
        return ["" if cell is None else str(cell) for cell in plain_cells(column)]
    if not isinstance(column.dtype, pd.StringDtype):
        return [write(cell) for cell in column.tolist()]
    # a text that stands in many rows is written once
    codes, texts = pd.factorize(column)
    cells = [*map(write, texts), write(None)]
    return [cells[code] for code in codes.tolist()]


def _csv_cell(value: Any, *, is_spreadsheet: bool) -> str:
    exact = plain(value)
    if exact is None:
        return ""
    if isinstance(exact, bool):
        return str(exact).lower()
    if isinstance(exact, list) and is_spreadsheet:
        exact = " ".join(map(str, exact))
    if isinstance(exact, list | dict):
        return json.dumps(exact, ensure_ascii=False)
    return guarded(exact) if isinstance(exact, str) else str(exact)


def _flat(table: DataFrame) -> tuple[DataFrame, int]:
    """Turn an index that carries information into columns, and count them."""
    names = list(table.index.names)
    # an unnamed integer index only counts the rows
    if names == [None] and types.is_integer_dtype(table.index.dtype):
        return table, 0
    if table.columns.nlevels == 1 and table.columns.name is not None:
        names[-1] = f"{names[-1] or ''} / {table.columns.name}"
    labels = [name or "" for name in names]
    return table.reset_index(names=labels, allow_duplicates=True), len(names)


def _head(name: Any) -> str:
    return " · ".join(map(word, name)) if isinstance(name, tuple) else word(name)


def _absent(head: str, table: DataFrame) -> Iterable[str]:
    """Return by row what an empty cell of a column means."""
    word = ABSENT.get(head, UNKNOWN)
    other, reasons = ABSENT_WHERE.get(head, ("", []))
    if other not in table:
        return repeat(word, len(table))
    return [NONE if value in reasons else word for value in table[other]]


def _cells(column: Series, head: str, absent: Iterable[str]) -> list[str]:
    write: Callable[[Any], str] = word
    if _is_number(column):
        as_number = partial(number, digits=_digits(column.dropna()))
        write = share if head.endswith("share") else as_number
    pairs = zip(column, absent, strict=True)
    return [none if is_unknown(value) else write(value) for value, none in pairs]


def _digits(values: Iterable[Any]) -> int:
    """Count the decimals that show the smallest fraction with one digit; 0 for whole numbers."""
    # whole numbers need no decimals
    sizes = [abs(value) for value in values if math.isfinite(value) and value % 1]
    if not sizes:
        return 0
    needed = math.ceil(-math.log10(min(sizes)))
    return min(max(needed, DECIMALS), MOST_DECIMALS)


def _is_number(column: Series) -> bool:
    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _mark(is_number: bool, texts: Sequence[str]) -> str:
    """Return the style of a column: numbers have none, long texts wrap, short ones do not."""
    if is_number:
        return ""
    return SHORT if max(map(len, texts)) <= UNBROKEN else LONG


def _tags(kind: str, texts: Sequence[str], marks: Sequence[str]) -> str:
    shown = (DIGEST.sub(r"\1…", text) for text in texts)
    marked = zip(shown, marks, strict=False)
    row = "".join(f"<{kind}{mark}>{escape(text)}</{kind}>" for text, mark in marked)
    # may break behind "_": the long name of a column would widen all its numbers
    return re.sub(r"_(?=\w\w)", "_<wbr>", row)


def element_name(name: str) -> str:
    """Return the name of an element as people read it, such as ``mail.example``."""
    for pattern, shown in SHORTER.items():
        name = re.sub(pattern, shown, name)
    return name


def element_label(kind: str, name: str) -> str:
    """Return an element in words, such as ``zone eu-west-1c``."""
    return f"{ELEMENT_KINDS.get(kind, kind)} {element_name(name)}"


def element_labels(kinds: Series, names: Series) -> Series:
    """Return elements in words, by row."""
    return Series(list(map(element_label, kinds, names)), names.index, dtype="str")
