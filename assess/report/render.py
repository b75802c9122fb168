"""Render a report as HTML, Markdown, a summary and CSV: the only module that uses templates."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from assess.errors import counted
from assess.figures import Band, short
from assess.report import explorer
from assess.report.model import Card, Cell, Column, Item, Picture, Section, Table, Track
from assess.score.claims import Claims
from assess.score.result import Provenance, Result
from assess.untrusted import clean, clean_lines, markdown_text
from assess.words import UNKNOWN, Grid, csv_of
from assess.writing import write_together

TEMPLATES = Path(__file__).parent / "templates"
NAME_LENGTH = 80
NUMBER = ' class="number"'
SERVICE = "service-"  # how the anchor of the card of a service begins
# the tables of the summary, and their columns
SUMMARY_ROWS = 8
SUMMARY = {
    "short-list": ("label", "service_id", "p_top", "wave", "owner"),
    "label-changes": ("service_id", "before", "after", "because"),
    "unknown-facts": ("fact", "services_n", "decides_n"),
}
DETAILS = {
    "gates": "gates",
    "atoms": "checks",
    "dimensions": "dimensions",
    "clocks": "clocks",
}
CLOSED = ("pass", "na")
# what is itself in an address between double quotes
_PLAIN = " !$'()*+,-./:;<=>?@[]^_`{|}~"


@cache
def environment(*, html: bool) -> Environment:
    """Return the Jinja environment; HTML is escaped automatically, Markdown by the filter ``md``."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        auto_reload=False,  # else each of ten thousand records asks whether its template changed
    )
    env.filters |= {
        "md": markdown_text,
        "clean": clean,
        "clean_lines": clean_lines,
        "brief": brief,
        "data_uri": data_uri,
    }
    write_table = table if html else markdown_table
    env.globals |= {"badge": badge, "card": card, "table": write_table}
    env.tests |= {
        "table": lambda part: isinstance(part, Table),
        "picture": lambda part: isinstance(part, Picture),
    }
    return env


def markdown_table(table: Table) -> str:
    """Write a table as Markdown; a label carries the symbol of its band."""
    numbers = [column.is_number for column in table.columns]
    rows = [
        [f"{cell.band.symbol} {cell.text}" if cell.band else cell.text for cell in cells]
        for cells in table.rows()
    ]
    return Grid([column.title for column in table.columns], numbers, rows).markdown()


def data_uri(svg: str) -> Markup:
    """Write a drawing as a ``data:`` URI, as text: a third shorter than base64."""
    lines = re.sub(r"^<\?xml.*?\?>|(?<=>)\n+", "", svg.strip())
    short = re.sub(r"<[^>']+>", lambda tag: tag[0].replace('"', "'"), lines)
    return Markup(f"data:image/svg+xml,{quote(short, safe=_PLAIN)}")


def page(values: Mapping[str, Any]) -> str:
    """Render a self-contained page; its CSP allows only its own script, by hash."""
    script = (TEMPLATES / "page.js").read_text("utf-8")
    style = ""
    place = values.get("explorer", "")
    if place:
        script += explorer.script()
        style = explorer.style()
    own = {
        "explorer": place,
        "script": Markup(script),
        "script_hash": Markup(explorer.hash_of(script)),
    }
    return render_page("page.html", {**values, **own}, style)


def render_page(template: str, values: Mapping[str, Any], style: str = "") -> str:
    """Render an HTML template with the common style and additional styles."""
    whole = (TEMPLATES / "style.css").read_text("utf-8") + style
    writer = environment(html=True).get_template(template)
    return writer.render(**values, style=Markup(whole))


def document(template: str, values: Mapping[str, Any]) -> str:
    """Render a Markdown template, with single blank lines."""
    text = environment(html=False).get_template(template).render(**values)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"


def tables_of(sections: Iterable[Section]) -> list[Table]:
    """List the tables of sections, in the order of the page."""
    return [part for section in sections for part in section.of(Table)]


def summary(values: Mapping[str, Any], claims: Claims, provenance: Provenance) -> str:
    """Write a summary that fits into a comment: decision, changes, unknowns, limits."""
    sections = {section.id: section for section in values["sections"]}
    tables = {table.id: table for table in tables_of(sections.values())}
    short = [
        _narrow(tables[name], keys) for name, keys in SUMMARY.items() if name in tables
    ]
    verdicts = claims.frame["verdict"].value_counts()
    counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    lines = [
        f"Claims of the argument on this fleet: {counts}.",
        *sections["coverage"].warnings,
        *sections["backtest"].text[:1],
    ]
    origin = f"{provenance.quarter}, policy {provenance.policy_hash}"
    footer = (
        f"{origin}, assess {provenance.version}. "
        "Full report: index.html, report.md, report.json."
    )
    return document(
        "summary.md",
        {
            **values,
            "facts": sections["decision"].facts,
            "tables": short,
            "lines": lines,
            "footer": footer,
        },
    )


def _narrow(table: Table, keys: Sequence[str]) -> Table:
    columns = [column for column in table.columns if column.key in keys]
    return replace(table, columns=columns, limit=SUMMARY_ROWS, note="")


def csv_tables(
    sections: Iterable[Section], results: Iterable[Result]
) -> dict[str, pd.DataFrame]:
    """List tables of the page, frames of scores and contents of cards, unrounded, by file."""
    tables = {table.id: table.shown for table in tables_of(sections)}
    for result in results:
        tables[f"score-{result.name.replace('_', '-')}"] = result.frame.reset_index()
        for name, word in DETAILS.items():
            if name in result.details:
                detail = result.details[name]
                if "state" in detail:
                    detail = detail[~detail["state"].isin(CLOSED)]
                tables[f"service-{word}"] = detail
    return tables


def write_csv(tables: Mapping[str, pd.DataFrame], directory: Path) -> None:
    """Write tables as CSV files by name; an empty cell is unknown."""
    write_together(
        (directory / f"{name}.csv", csv_of(table, is_spreadsheet=True))
        for name, table in tables.items()
    )


# ---- tables and cards of the page: so many that templates would be slow ----


def isolated(text: object) -> str:
    """Escape any text; text that may be right-to-left is isolated from its surroundings."""
    line = clean(text)
    safe = str(escape(line))
    return safe if line.isascii() else f"<bdi>{safe}</bdi>"


def brief(name: object) -> str:
    """Shorten a name to one line that fits into a table."""
    return short(name, NAME_LENGTH)


def badge(label: object, band: Band) -> Markup:
    """Write a label with colour and symbol, which the style sheet draws from the band."""
    return Markup(f'<span class="badge {band.word}">{isolated(label)}</span>')


def table(
    part: Table,
    anchors: Collection[str] = (),
    *,
    is_beside: bool = False,
) -> Markup:
    """Write a table; names link to their cards, the table to its file, if present."""
    caption = escape(part.caption)
    if not len(part.frame):
        body = f'<tbody><tr><td class="empty">{escape(part.empty)}</td></tr></tbody>'
        whole = f"<table><caption>{caption}</caption>{body}</table>"
        return Markup(f'<div class="table" id="{part.id}">\n{whole}{_notes(part)}</div>')
    heads = "".join(
        f'<th scope="col"{NUMBER if column.is_number else ""}>{escape(column.title)}</th>'
        for column in part.columns
    )
    rows = "\n".join(
        _row(cells, part.columns, anchors, is_paper=at < part.paper or not part.paper)
        for at, cells in enumerate(part.rows())
    )
    count = f'<span class="line">{counted(len(part.frame), "row")}</span>'
    whole = (
        f'<table class="data">\n<caption><span>{caption}</span></caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>{_notes(part)}"
    )
    if is_beside:
        file = f"tables/{part.id}.csv"
        whole += f'<p class="note beside"><a href="{file}">All rows as CSV</a></p>'
    if part.is_folded:
        summary = f"<summary>{caption} {count}</summary>"
        paper = " paper" if part.paper else ""
        whole = f'<details class="fold{paper}">{summary}\n{whole}</details>'
    return Markup(f'<div class="table" id="{part.id}">\n{whole}</div>')


def _notes(part: Table) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in part.notes)
    if not 0 < part.paper < len(part.frame):
        return notes
    words = f"On paper: the first {part.paper} of {len(part.frame)} rows."
    return f'{notes}<p class="note paper-note">{words}</p>'


def _row(
    cells: list[Cell],
    columns: Collection[Column],
    anchors: Collection[str],
    *,
    is_paper: bool,
) -> str:
    parts = []  # the ends of cells and items may be left out, and a page has thousands
    for cell, column in zip(cells, columns, strict=True):
        is_told = cell.sort in (None, cell.text)  # the page sorts by the text then
        sort = "" if is_told else f' data-sort="{escape(cell.sort)}"'
        kind = _class(cell, column)
        parts.append(f"<td{sort}{kind}>{_cell(cell, column, anchors)}")
    kind = "" if is_paper else ' class="screen"'
    return f"<tr{kind}>{''.join(parts)}</tr>"


def _class(cell: Cell, column: Column) -> str:
    if column.is_number:
        return NUMBER
    if cell.is_long:
        return ' class="long"'
    return ' class="name"' if column.kind in ("name", "code") else ""


def _cell(cell: Cell, column: Column, anchors: Collection[str]) -> str:
    if cell.band:
        return badge(cell.text, cell.band)
    if cell.text == UNKNOWN:
        return f'<span class="open">{UNKNOWN}</span>'
    if column.kind == "name":
        name = isolated(brief(cell.text))
        return f'<a href="#{cell.link}">{name}</a>' if cell.link in anchors else name
    return isolated(cell.text) + (_track(cell.track) if cell.track else "")


def _track(track: Track) -> str:
    lo, hi, point = track
    return f'<i class="track" style="--l:{lo};--h:{hi};--p:{point}"></i>'


def card(part: Card, *, is_beside: bool = False) -> Markup:
    """Write a folded card; the card of a service links to its decision record, if present."""
    lines = "".join(f'<span class="line">{isolated(words)}</span>' for words in part.line)
    name = f"<strong>{isolated(brief(part.name))}</strong>"
    lists = "\n".join(_list(head, items) for head, items in part.lists.items() if items)
    summary = f"<summary>{badge(part.label, part.band)} {name}{lines}</summary>"
    if is_beside and part.id.startswith(SERVICE):
        file = f"decisions/{part.id.removeprefix(SERVICE)}.html"
        lists += f'\n<p class="beside"><a href="{file}">Decision record</a></p>'
    return Markup(f'<details class="card" id="{part.id}">{summary}\n{lists}\n</details>')


def _list(head: str, items: Collection[Item]) -> str:
    drawn = any(item.track for item in items)
    title = f"<h3>{escape(head)}</h3>" if head else ""
    rows = "".join(f"<li>{_item(item)}" for item in items)
    return f"{title}<ul{' class=tracks' if drawn else ''}>{rows}</ul>"


def _item(item: Item) -> str:
    if item.track:
        return (
            f"<span>{isolated(item.lead)}</span>{_track(item.track)}{isolated(item.text)}"
        )
    lead = f"{badge(item.lead, item.band)} " if item.band else ""
    return f"{lead}{isolated(item.text)}"
