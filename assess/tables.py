"""Tables for people in a notebook: words to the left, numbers in line, the unknown in words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import pandas as pd
from pandas.api import types

UNKNOWN = "unknown"
# what an empty cell of a result means, where it does not mean that nobody knows
ABSENT = {
    "label_gates": "clear",
    "p_first": "-",
    "p_top": "-",
    "p_top_neutral": "-",
    "needs": "-",
}
ROWS_SHOWN = 20
DECIMALS = 2
STYLE = (
    "<style>.assess td,.assess th{text-align:right;vertical-align:top;max-width:36em}"
    ".assess .t{text-align:left!important}</style>"
)


def clean(text: object) -> str:
    """Make text from the fleet safe to show: names are not ours and may hold anything.

    Parameters
    ----------
    text : object
        Any text.

    Returns
    -------
    str
        One line without control, direction or unpaired characters.
    """
    line = str(text)
    if not (
        line.isascii() and line.isprintable()
    ):  # most names need no look at each character
        line = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in line)
    return " ".join(line.split())


def to_html(table: pd.DataFrame, *, rows: int = ROWS_SHOWN) -> str:
    """Give a table as HTML, for a notebook.

    Parameters
    ----------
    table : DataFrame
        Any table; an index without a name that only counts is left out.
    rows : int, default 20
        Rows to show; of the others their number is said. [count]

    Returns
    -------
    str
        One element, preceded by its style, with everything escaped.
    """
    flat, heads = _flat(table)
    shown = flat.head(rows)
    marks = [
        "" if _is_number(shown.iloc[:, i]) else ' class="t"'
        for i in range(shown.shape[1])
    ]
    titles = [
        " · ".join(map(clean, n)) if isinstance(n, tuple) else clean(n) for n in flat
    ]
    lines = ["<tr>", *_cells("th", titles, marks), "</tr>"]
    columns = [_texts(shown.iloc[:, i], titles[i]) for i in range(shown.shape[1])]
    body = []
    for row in zip(*columns, strict=True):
        cells = [
            *_cells("th", row[:heads], marks),
            *_cells("td", row[heads:], marks[heads:]),
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    if len(flat) > rows:
        body.append(
            f'<tr><td class="t" colspan="{len(titles)}">and {len(flat) - rows} more</td></tr>'
        )
    if not len(flat):
        body.append(f'<tr><td class="t" colspan="{len(titles)}">no rows</td></tr>')
    inner = "\n".join([f"<thead>{''.join(lines)}</thead><tbody>", *body, "</tbody>"])
    return f'{STYLE}<table class="assess">{inner}</table>'


def together(items: Sequence[Any]) -> str | None:
    """Give a list of things that show themselves as HTML, one below the other.

    Parameters
    ----------
    items : sequence
        Any list.

    Returns
    -------
    str or None
        None where one of them has no HTML of its own, or there is none.
    """
    if not items or not all(hasattr(item, "_repr_html_") for item in items):
        return None
    return "\n".join(item._repr_html_() for item in items)


def _flat(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Turn an index that says something into columns; give also how many these are."""
    names = list(table.index.names)
    if names == [None] and types.is_integer_dtype(table.index.dtype):
        return table, 0
    flat = table.reset_index(names=[name or "" for name in names], allow_duplicates=True)
    if table.columns.nlevels == 1 and table.columns.name is not None:
        flat = flat.set_axis(
            [f"{names[-1] or ''} / {table.columns.name}", *flat.columns[1:]], axis=1
        )
    return flat, len(names)


def _cells(kind: str, texts: Sequence[str], marks: Sequence[str]) -> list[str]:
    marked = zip(texts, marks, strict=False)
    return [f"<{kind}{mark}>{escape(text)}</{kind}>" for text, mark in marked]


def _is_number(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _texts(column: pd.Series, title: str) -> list[str]:
    missing = ABSENT.get(title, UNKNOWN)
    form = _form(column, title)
    return [missing if _is_missing(value) else form(value) for value in column]


def _is_missing(value: Any) -> bool:
    return bool(types.is_scalar(value) and pd.isna(value))


def _form(column: pd.Series, title: str) -> Callable[[Any], str]:
    """Choose how the values of a column are written: all of them alike."""
    if not _is_number(column):
        return _word
    if title.endswith("share"):
        return "{:.0%}".format
    if types.is_float_dtype(column.dtype) and (column.dropna() % 1 != 0).any():
        return f"{{:,.{DECIMALS}f}}".format
    return "{:,.0f}".format


def _word(value: Any) -> str:
    if types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp):
        return (
            f"{value:%Y-%m-%d}"
            if value == value.normalize()
            else f"{value:%Y-%m-%d %H:%M}"
        )
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_word, value)) or "-"
    return clean(value)
