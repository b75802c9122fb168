"""The one output grammar: every listing as text, JSON, CSV or Markdown, to stdout or a file."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli.messages import note

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("text", "json", "csv", "markdown")
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".md": "markdown"}
UNKNOWN = "unknown"
REMARKS = ("error_class", "hint")  # where they are missing, nothing is to be said
GAP = "  "
MARKDOWN_MARKS = "\\|`*[]<"


@dataclass(frozen=True)
class Output:
    """Where a listing goes, and how it is written.

    Attributes
    ----------
    format : str
        One of `FORMATS`.
    file : Path or None
        File; stdout where it is None.
    """

    format: str
    file: Path | None

    def table(
        self,
        table: pd.DataFrame,
        document: Mapping[str, Any] | None = None,
        *,
        empty: str = "no rows",
    ) -> None:
        """Write one table.

        Parameters
        ----------
        table : DataFrame
            Columns to show; a named index is shown too.
        document : mapping, optional
            What JSON holds; ``{"rows": …}`` of the table where it is left out.
        empty : str, default "no rows"
            What to tell the user about a table without rows.
        """
        self.tables({"": table}, document)
        if table.empty:
            note(empty)

    def tables(
        self,
        tables: Mapping[str, pd.DataFrame],
        document: Mapping[str, Any] | None = None,
    ) -> None:
        """Write tables under headings.

        Parameters
        ----------
        tables : mapping of str to DataFrame
            By heading; CSV takes just one.
        document : mapping, optional
            What JSON holds; the rows of the tables where it is left out.

        Raises
        ------
        UsageError
            Where CSV is asked to hold several tables.
        """
        flat = {title: _flat(table) for title, table in tables.items()}
        if self.format == "json":
            held = {title or "rows": records(table) for title, table in flat.items()}
            self.text(to_json(document or held))
        elif self.format == "csv":
            if len(flat) > 1:
                raise click.UsageError("CSV holds one table; use --format json")
            self.text("".join(map(to_csv, flat.values())))
        elif self.format == "markdown":
            self.text(
                "\n".join(_titled(t, to_markdown(x), "## ") for t, x in flat.items())
            )
        else:
            width = None if self.file else _terminal_width()
            self.text(
                "\n".join(_titled(t, to_text(x, width), "") for t, x in flat.items())
            )

    def text(self, text: str) -> None:
        """Write text as it is.

        Parameters
        ----------
        text : str
            With its last newline.
        """
        if self.file is None:
            _write(text)
        else:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(text, encoding="utf-8", newline="\n")
            note(f"wrote {self.file}")


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--format``, ``--json`` and ``-o``, as its argument ``out``.

    Parameters
    ----------
    command : callable
        Takes ``out``, an `Output`.

    Returns
    -------
    callable
        With the options.
    """

    @functools.wraps(command)
    def wrapped(
        *args: Any, format: str | None, as_json: bool, file: Path | None, **rest: Any
    ) -> Any:
        named = (
            "json"
            if as_json
            else format or (_BY_SUFFIX.get(file.suffix) if file else None)
        )
        to_file = None if file == Path("-") else file
        return command(*args, out=Output(named or "text", to_file), **rest)

    for option in (
        click.option(
            "-o",
            "--output",
            "file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File to write; its suffix names the format where --format does not.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
        click.option(
            "--format",
            type=click.Choice(FORMATS),
            envvar="ASSESS_FORMAT",
            show_envvar=True,
            help="How to write it; text where nothing says otherwise.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _write(text: str) -> None:
    """Write to stdout; a reader that has read enough, such as `head`, is no error."""
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    return table.reset_index() if any(table.index.names) else table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table as plain JSON types.

    Parameters
    ----------
    table : DataFrame
        Any table.

    Returns
    -------
    list of dict
        One per row; NA is None.
    """
    from assess.score.result import plain

    rows: list[dict[str, Any]] = plain(table.astype(object).to_dict("records"))
    return rows


def to_json(document: Mapping[str, Any]) -> str:
    """Give a document as JSON.

    Parameters
    ----------
    document : mapping
        Nested values; ``schema_version`` is put first where it is missing.

    Returns
    -------
    str
        Indented; NA is null.
    """
    from assess.score.result import JSON_VERSION, encode, plain

    held = plain({"schema_version": JSON_VERSION, **document})
    return encode(held) + "\n"


def to_csv(table: pd.DataFrame) -> str:
    """Give a table as CSV, as snapshots are written.

    Parameters
    ----------
    table : DataFrame
        Any table.

    Returns
    -------
    str
        NA is an empty cell, times are ISO-8601 with Z, booleans are true and false.
    """
    return _cells(table, "").to_csv(index=False, lineterminator="\n")


def to_markdown(table: pd.DataFrame) -> str:
    """Give a table as Markdown.

    Parameters
    ----------
    table : DataFrame
        Any table.

    Returns
    -------
    str
        Bars and line breaks in the cells are escaped.
    """
    numeric = _numeric(table)
    rule = ["--:" if number else "---" for number in numeric]
    cells = _cells(table, UNKNOWN, rounded=True).map(escaped)
    rows = [[escaped(str(c)) for c in table.columns], rule, *cells.to_numpy().tolist()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def escaped(cell: str) -> str:
    """Take its meaning from what Markdown would read as a mark.

    Parameters
    ----------
    cell : str
        Text of a cell.

    Returns
    -------
    str
        One line of Markdown.
    """
    marked = "".join(f"\\{c}" if c in MARKDOWN_MARKS else c for c in cell)
    return " ".join(marked.splitlines())


def to_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Give a table as aligned text.

    Parameters
    ----------
    table : DataFrame
        Any table; what in its cells could steer a terminal is made visible.
    width : int, optional
        Columns of the terminal; what does not fit is left out, and a note says so.

    Returns
    -------
    str
        A header, and a line per row.
    """
    cells = _cells(table, UNKNOWN, rounded=True).map(
        lambda cell: visible(cell).replace("\n", "\\n")
    )
    lists = [[str(name), *cells[name]] for name in cells]
    widths = [max(map(len, column)) for column in lists]
    shown = len(lists) if width is None else _fitting(widths, width)
    if shown < len(lists):
        note(f"{len(lists) - shown} columns do not fit; --format csv shows all")
    numeric = _numeric(table)
    padded = [
        [text.rjust(size) if number else text.ljust(size) for text in column]
        for column, size, number in zip(lists[:shown], widths, numeric, strict=False)
    ]
    return "".join(GAP.join(line).rstrip() + "\n" for line in zip(*padded, strict=True))


def _fitting(widths: Iterable[int], width: int) -> int:
    """Count the first columns that fit, at least one."""
    used, count = 0, 0
    for size in widths:
        used += size + len(GAP) * (count > 0)
        if used > width:
            break
        count += 1
    return max(count, 1)


def visible(text: str) -> str:
    """Make visible what could steer a terminal; line breaks stay.

    Parameters
    ----------
    text : str
        Any text, as hostile as the names of a fleet can be.

    Returns
    -------
    str
        Other control characters are written as escapes.
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode()
        for c in text
    )


def _terminal_width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _titled(title: str, body: str, mark: str) -> str:
    return f"{mark}{title}\n\n{body}" if title else body


def _numeric(table: pd.DataFrame) -> list[bool]:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return [is_numeric_dtype(t) and not is_bool_dtype(t) for t in table.dtypes]


def _cells(table: pd.DataFrame, missing: str, *, rounded: bool = False) -> pd.DataFrame:
    """Give every cell as text."""
    from assess.score.result import plain

    def text(value: Any) -> str:
        value = plain(value)
        if value is None:
            return missing
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return f"{value:.6g}" if rounded else repr(value)
        if isinstance(value, list | dict):
            return json.dumps(value, ensure_ascii=False)
        return str(value)

    cells = table.astype(object).map(text)
    remarks = [name for name in REMARKS if name in table]
    cells[remarks] = cells[remarks].where(table[remarks].notna(), "")
    return cells
