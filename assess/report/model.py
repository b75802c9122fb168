"""What a report is made of; HTML, Markdown and JSON are three tellings of the same parts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pandas as pd

from assess.figures import BANDS, Band, band_of
from assess.score.what_next.labels import LABELS
from assess.words import UNKNOWN, is_unknown, number, plain, share

LONG_WORD = 24


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    key : str
        Column of the frame; for an interval also ``<key>_lo`` and ``<key>_hi``.
    title : str
        Heading, with the unit.
    kind : str
        text, name (of a service), label, number, share or interval.
    digits : int
        Digits after the point of values below 10. [count]
    scale : float
        What a value is multiplied by before it is shown.
    top : float
        End of the scale of an interval's drawing; 0 draws none.
    absent : str
        What NA is called: unknown, unless the value does not apply.
    is_signed : bool
        Whether a gain shows its plus.
    bands : mapping of str to str
        Bands of the words of a label, where these are not the labels of a service.
    """

    key: str
    title: str
    kind: str = "text"
    digits: int = 0
    scale: float = 1.0
    top: float = 0.0
    absent: str = UNKNOWN
    is_signed: bool = False
    bands: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        """Whether the column is set flush right."""
        return self.kind in ("number", "share", "interval")


@dataclass(frozen=True)
class Cell:
    """One cell, ready to be told.

    Attributes
    ----------
    text : str
        What it says.
    sort : str or None
        What it sorts by; empty where unknown, which is always last; None for its text.
    band : Band or None
        Look of a label.
    link : str
        Anchor that a name leads to.
    track : tuple of int, optional
        Start, end and point of a drawn interval. [percent of its scale]
    """

    text: str
    sort: str | None = None
    band: Band | None = None
    link: str = ""
    track: tuple[int, int, int] | None = None

    @property
    def is_long(self) -> bool:
        """Whether a word is so long that it may be broken anywhere."""
        return any(len(word) > LONG_WORD for word in self.text.split())


@dataclass(frozen=True, eq=False)
class Table:
    """A frame with headings.

    Attributes
    ----------
    id : str
        Anchor.
    caption : str
        What it shows.
    columns : sequence of Column
        From left to right.
    frame : DataFrame
        The values, unrounded.
    note : str
        What to know when reading it.
    empty : str
        What to say when it has no rows.
    limit : int
        Rows that are told at most; CSV and JSON have all. [count]
    is_folded : bool
        Whether the page shows it only when asked.
    """

    id: str
    caption: str
    columns: Sequence[Column]
    frame: pd.DataFrame
    note: str = ""
    empty: str = "Nothing to list."
    limit: int = 200
    is_folded: bool = False

    @property
    def notes(self) -> list[str]:
        """What to know when reading it, and how many rows are left out."""
        rest = len(self.frame) - self.limit
        more = [f"And {rest} more, in tables/{self.id}.csv."] if rest > 0 else []
        return [*([self.note] if self.note else []), *more]

    def rows(self) -> Iterator[list[Cell]]:
        """Give the cells, row by row."""
        for row in self.frame.head(self.limit).to_dict("records"):
            yield [cell(row, column) for column in self.columns]

    @property
    def told(self) -> pd.DataFrame:
        """The columns that it shows, unrounded, with both ends of intervals."""
        ends = [
            f"{c.key}{end}" for c in self.columns if c.kind == "interval" for end in _ENDS
        ]
        keys = dict.fromkeys([*(c.key for c in self.columns), *ends])
        return self.frame[[key for key in keys if key in self.frame]]

    def to_dict(self) -> dict[str, Any]:
        """Give the table as plain JSON types."""
        rows = plain(self.told.to_dict("records"))
        return {"id": self.id, "caption": self.caption, "note": self.note, "rows": rows}


_ENDS = ("_lo", "_hi")


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes
    ----------
    id : str
        Anchor and file name.
    caption : str
        How to read it.
    drawing : callable
        Gives the drawing, and what it shows in a sentence.
    """

    id: str
    caption: str
    drawing: Callable[[], tuple[str, str]]

    @property
    def svg(self) -> str:
        """The drawing."""
        return self.drawing()[0]

    @property
    def alt(self) -> str:
        """What it shows, in a sentence."""
        return self.drawing()[1]


@dataclass(frozen=True)
class Item:
    """A line of a card.

    Attributes
    ----------
    text : str
        What it says.
    lead : str
        Word before it, with a band's look.
    band : Band or None
        That look.
    track : tuple of int, optional
        Start, end and point of a drawn interval. [percent of its scale]
    """

    text: str
    lead: str = ""
    band: Band | None = None
    track: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Card:
    """What there is to know about one service, or about one claim.

    Attributes
    ----------
    id : str
        Anchor.
    name : str
        What it is about.
    label : str
        Its label.
    band : Band
        Look of the label.
    line : sequence of str
        What to read when it is shut, such as readiness and who answers for it.
    lists : mapping of str to sequence of Item
        What to read when it is open, by heading; the first has none.
    """

    id: str
    name: str
    label: str
    band: Band
    line: Sequence[str]
    lists: Mapping[str, Sequence[Item]]

    @property
    def first(self) -> str:
        """The sentence to read where there is room for one."""
        return next((item.text for items in self.lists.values() for item in items), "")


@dataclass(frozen=True)
class Appendix:
    """A piece of a page that is HTML already.

    Attributes
    ----------
    id : str
        Anchor.
    title, html : str
        Heading and what follows it: trusted, and told as it stands.
    """

    id: str
    title: str
    html: str


Part: TypeAlias = Table | Picture | Card


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    id : str
        Anchor.
    title : str
        Heading.
    text : sequence of str
        Paragraphs before the parts.
    parts : sequence of Table, Picture or Card
        In the order to read.
    warnings : sequence of str
        What weakens the section, told before anything else.
    """

    id: str
    title: str
    text: Sequence[str] = ()
    parts: Sequence[Part] = ()
    warnings: Sequence[str] = ()

    def of(self, kind: type[Any]) -> list[Any]:
        """Give the parts of one kind."""
        return [part for part in self.parts if isinstance(part, kind)]


def cell(row: dict[str, Any], column: Column) -> Cell:
    """Word one value of a row; NA is the word unknown, never a number."""
    value: Any = row.get(column.key)
    if column.kind == "interval":
        return _interval(row, column)
    if is_unknown(value):
        return Cell(column.absent, "")
    text = str(value)
    if column.kind == "label":
        return _label(text, column)
    if column.kind == "name":
        return Cell(text, link=anchor(text))
    if column.kind in ("number", "share"):
        return Cell(_number(value, column), f"{float(value):.6g}")
    return Cell(text)


def _label(text: str, column: Column) -> Cell:
    """Give a label its look; labels of services sort from the best to the worst."""
    if column.bands:
        return Cell(text, band=BANDS[column.bands.get(text, UNKNOWN)])
    return Cell(
        text, str(LABELS.index(text)) if text in LABELS else "", band=band_of(text)
    )


def _number(value: Any, column: Column) -> str:
    if column.kind == "share":
        return share(value)
    scaled = column.scale * float(value)
    digits = column.digits if abs(scaled) < 10 else 0
    return number(scaled, digits, signed=column.is_signed).replace("-", "−")


def _interval(row: dict[str, Any], column: Column) -> Cell:
    values: list[Any] = [row.get(f"{column.key}{end}") for end in ("", *_ENDS)]
    texts = [
        column.absent if is_unknown(value) else _number(value, column) for value in values
    ]
    point, lo, hi = (None if is_unknown(v) else column.scale * float(v) for v in values)
    is_plain = len(set(texts)) == 1 or (lo is None and hi is None)
    text = texts[0] if is_plain else f"{texts[0]} ({texts[1]} to {texts[2]})"
    track = None
    if column.top and lo is not None and hi is not None:
        ends = (lo, hi, lo if point is None else point)
        start, end, middle = (
            round(100 * min(max(x / column.top, 0.0), 1.0)) for x in ends
        )
        track = (start, end, middle)
    return Cell(text, "" if point is None else f"{point:.6g}", track=track)


def slug(name: str) -> str:
    """Turn any name into a safe file name: itself where it is one, else a part and a hash."""
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", name) and ".." not in name:
        return name
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept}-{digest}".lstrip("-")


def anchor(service_id: str) -> str:
    """Give the anchor of a service's card."""
    return f"service-{slug(service_id)}"
