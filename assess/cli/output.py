"""The one output grammar: every listing as text, JSON, CSV or Markdown, to stdout or a file."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli.messages import note

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("text", "json", "csv", "markdown")
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".md": "markdown"}


@dataclass(frozen=True)
class Output:
    """Where a listing goes, and in which format; ``file`` is None for stdout."""

    format: str
    file: Path | None

    def table(
        self,
        table: pd.DataFrame,
        document: Mapping[str, Any] | None = None,
        *,
        empty: str = "no rows",
    ) -> None:
        """Write one table; ``document`` is its JSON, ``empty`` the note when it has no rows."""
        self.tables({"": table}, document)
        if table.empty:
            note(empty)

    def tables(
        self,
        tables: Mapping[str, pd.DataFrame],
        document: Mapping[str, Any] | None = None,
    ) -> None:
        """Write tables under headings; CSV holds just one."""
        if self.format == "json":
            rows = {title or "rows": records(table) for title, table in tables.items()}
            self.text(to_json(document or rows))
            return
        if self.format == "csv":
            if len(tables) > 1:
                raise click.UsageError("CSV holds one table; use --format json")
            tables = {"": next(iter(tables.values()))}
        mark = "## " if self.format == "markdown" else ""
        bodies = [(title, self.body(table)) for title, table in tables.items()]
        self.text("\n".join(f"{mark}{t}\n\n{body}" if t else body for t, body in bodies))

    def body(self, table: pd.DataFrame) -> str:
        """Write the rows of one table as text, CSV or Markdown."""
        from assess.words import Grid, to_csv

        if self.format == "csv":
            return to_csv(_with_index(table))
        if self.format == "markdown":
            return Grid.of(table).markdown()
        is_watched = self.file is None and sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_watched else None
        text, hidden_n = Grid.of(table).text(width)
        if hidden_n:
            note(f"{hidden_n} columns do not fit; --format csv shows all")
        return text

    def text(self, text: str) -> None:
        """Write text as it is."""
        if self.file is None:
            _write(text)
        else:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(text, encoding="utf-8", newline="\n")
            note(f"wrote {self.file}")


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format``, ``--json`` and ``-o`` to a command, as its argument ``out``."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, format: str | None, as_json: bool, file: Path | None, **rest: Any
    ) -> Any:
        by_suffix = _BY_SUFFIX.get(file.suffix) if file else None
        chosen = "json" if as_json else format or by_suffix or "text"
        to_file = None if file == Path("-") else file
        return command(*args, out=Output(chosen, to_file), **rest)

    for option in (
        click.option(
            "-o",
            "--output",
            "file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File to write. Its suffix sets the format unless --format does.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
        click.option(
            "--format",
            type=click.Choice(FORMATS),
            envvar="ASSESS_FORMAT",
            show_envvar=True,
            help="Output format; the default is text.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _write(text: str) -> None:
    """Write to stdout; a reader that stops early, such as `head`, is no error."""
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush once more at its end, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    return table.reset_index() if any(table.index.names) else table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert a table to plain JSON types, a dict per row; a named index is included."""
    from assess.words import plain

    rows: list[dict[str, Any]] = plain(
        _with_index(table).astype(object).to_dict("records")
    )
    return rows


def to_json(document: Mapping[str, Any]) -> str:
    """Write a document as JSON, with ``schema_version`` first; NA is null."""
    from assess.score.result import JSON_VERSION, encode
    from assess.words import plain

    return encode(plain({"schema_version": JSON_VERSION, **document})) + "\n"
