"""The parts of a page that are many: tables and cards as HTML, every text of them escaped."""

from __future__ import annotations

from collections.abc import Collection

from markupsafe import Markup, escape

from assess.figures import Band, short
from assess.report.model import Card, Cell, Column, Item, Table
from assess.words import UNKNOWN, clean

NAME_LENGTH = 80
Track = tuple[int, int, int]


def isolated(text: object) -> str:
    """Escape any text; what can change the direction of reading stays by itself."""
    line = clean(text)
    safe = str(escape(line))
    return safe if line.isascii() else f"<bdi>{safe}</bdi>"


def brief(name: object) -> str:
    """Shorten a name to what a table can hold, on one line."""
    return short(name, NAME_LENGTH)


def badge(label: object, band: Band) -> Markup:
    """Give a label its colour and its symbol, which the style sheet draws by the band's word."""
    return Markup(f'<span class="badge {band.word}">{isolated(label)}</span>')


def table(told: Table, anchors: Collection[str] = ()) -> Markup:
    """Write a table; names lead to the cards that are there."""
    caption = escape(told.caption)
    if not len(told.frame):
        body = f'<tbody><tr><td class="empty">{escape(told.empty)}</td></tr></tbody>'
        whole = f"<table><caption>{caption}</caption>{body}</table>"
        return Markup(f'<div class="table" id="{told.id}">\n{whole}{_notes(told)}</div>')
    heads = "".join(
        f'<th scope="col"{_NUMBER if column.is_number else ""}>{escape(column.title)}</th>'
        for column in told.columns
    )
    rows = "\n".join(_row(cells, told.columns, anchors) for cells in told.rows())
    count = f'<span class="line">{len(told.frame)} rows</span>'
    whole = (
        f'<table class="data">\n<caption><span>{caption}</span></caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>{_notes(told)}"
    )
    if told.is_folded:
        summary = f"<summary>{caption} {count}</summary>"
        whole = f'<details class="fold">{summary}\n{whole}</details>'
    return Markup(f'<div class="table" id="{told.id}">\n{whole}</div>')


_NUMBER = ' class="number"'


def _notes(told: Table) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>' for note in told.notes)


def _row(cells: list[Cell], columns: Collection[Column], anchors: Collection[str]) -> str:
    told = []
    for cell, column in zip(cells, columns, strict=True):
        sort = "" if cell.sort is None else f' data-sort="{escape(cell.sort)}"'
        kind = _NUMBER if column.is_number else ' class="long"' if cell.is_long else ""
        told.append(f"<td{sort}{kind}>{_cell(cell, column, anchors)}</td>")
    return f"<tr>{''.join(told)}</tr>"


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


def card(told: Card) -> Markup:
    """Write a card, shut."""
    lines = "".join(f'<span class="line">{isolated(part)}</span>' for part in told.line)
    name = f"<strong>{isolated(brief(told.name))}</strong>"
    lists = "\n".join(_list(head, items) for head, items in told.lists.items() if items)
    summary = f"<summary>{badge(told.label, told.band)} {name}{lines}</summary>"
    return Markup(f'<details id="{told.id}">{summary}\n{lists}\n</details>')


def _list(head: str, items: Collection[Item]) -> str:
    drawn = any(item.track for item in items)
    title = f"<h3>{escape(head)}</h3>" if head else ""
    rows = "".join(f"<li>{_item(item)}</li>" for item in items)
    return f"{title}<ul{' class=tracks' if drawn else ''}>{rows}</ul>"


def _item(item: Item) -> str:
    if item.track:
        return (
            f"<span>{isolated(item.lead)}</span>{_track(item.track)}{isolated(item.text)}"
        )
    lead = f"{badge(item.lead, item.band)} " if item.band else ""
    return f"{lead}{isolated(item.text)}"
