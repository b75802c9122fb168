"""Tell a report as HTML or Markdown: the only place that knows templates."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from assess.report import markup
from assess.report.model import Cell, Picture, Table
from assess.words import Grid, clean, markdown_text

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment(*, html: bool) -> Environment:
    """Give the templates' environment: HTML is escaped by itself, Markdown by the filter ``md``."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters |= {"md": markdown_text, "clean": clean, "data_uri": data_uri}
    write_table = markup.table if html else markdown_table
    made.globals |= {"badge": markup.badge, "card": markup.card, "table": write_table}
    made.tests |= {
        "table": lambda part: isinstance(part, Table),
        "picture": lambda part: isinstance(part, Picture),
    }
    return made


def markdown_table(table: Table) -> str:
    """Write a table as Markdown; a label carries the symbol of its band."""
    numbers = [column.is_number for column in table.columns]
    rows = [[_with_symbol(cell) for cell in cells] for cells in table.rows()]
    return Grid([column.title for column in table.columns], numbers, rows).markdown()


def _with_symbol(cell: Cell) -> str:
    return f"{cell.band.symbol} {cell.text}" if cell.band else cell.text


def data_uri(svg: str) -> str:
    """Turn a drawing into a ``data:`` address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def page(values: Mapping[str, Any]) -> str:
    """Tell a report as one page that needs nothing else; it admits only its own script, by hash."""
    script, style = (
        (TEMPLATES / name).read_text("utf-8") for name in ("page.js", "style.css")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment(html=True)
        .get_template("page.html")
        .render(
            **values,
            script=Markup(script),
            style=Markup(style),
            script_hash=f"sha256-{digest}",
        )
    )


def document(template: str, values: Mapping[str, Any]) -> str:
    """Tell something as Markdown, with single blank lines."""
    told = environment(html=False).get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", told).strip() + "\n"
