"""The parts of a report and its figures, common to HTML, Markdown and JSON."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pandas as pd
from pandas import DataFrame
from pandas.api.types import is_bool

from assess import figures
from assess.figures import Band, band_of
from assess.frames import Row
from assess.score.assessment import Assessment
from assess.score.result import Result, records_by, with_ends
from assess.score.what_next.labels import LABELS
from assess.words import UNKNOWN, Json, is_unknown, number, records, share, word

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Axis: TypeAlias = "Callable[[], Axes]"
LONG_WORD = 24
# start, end and point of a drawn interval [percent]
Track: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Column:
    """One column of a table, and how its values are written."""

    key: str  # column of the frame; an interval also reads <key>_lo and <key>_hi
    title: str  # heading, with the unit
    # text, code (on one line), name (of a service), label, verdict, number, share, interval
    kind: str = "text"
    digits: int = 0  # decimals of values below 10
    scale: float = 1.0  # factor before a value is shown
    top: float = 0.0  # end of the drawn scale of an interval; 0 draws none
    absent: str = UNKNOWN  # the word for NA, where the value does not apply
    is_signed: bool = False  # whether a gain shows its plus
    unit: str = ""  # behind each number, where no heading names it

    @property
    def is_number(self) -> bool:
        """Whether the column is set flush right."""
        return self.kind in ("number", "share", "interval")


@cache
def _rows(file: str) -> dict[str, list[Row]]:
    """Return the rows of a file beside this module, by their first column."""
    with files("assess.report").joinpath(file).open(encoding="utf-8") as opened:
        table = pd.read_csv(opened, keep_default_na=False)
    return records_by(table, table.columns[0])


def described(file: str, name: str, **words: object) -> list[Row]:
    """Return the rows of a file about a table or a figure; words fill in their texts."""
    return [
        {
            key: cell.format(**words) if isinstance(cell, str) else cell
            for key, cell in row.items()
        }
        for row in _rows(file)[name]
    ]


def columns_of(table: str, **words: object) -> list[Column]:
    """Return the columns of a table of the report."""
    return [Column(**row) for row in described("columns.csv", table, **words)]


class Cell(NamedTuple):
    """One cell in words."""

    text: str
    sort: str | None = None  # "" if unknown (always last), None for the text itself
    band: Band | None = None  # look of a label
    link: str = ""  # anchor that a name leads to
    track: Track | None = None

    @property
    def is_long(self) -> bool:
        """Whether it has a word so long that it may be broken anywhere."""
        return any(len(word) > LONG_WORD for word in self.text.split())


@dataclass(frozen=True, eq=False)
class Table:
    """A frame, or records, with headings."""

    id: str
    caption: str
    columns: Sequence[Column]
    frame: DataFrame | list[Row]  # unrounded
    note: str = ""
    empty: str = "Nothing to list."
    limit: int = 200  # rows on the page; CSV and JSON have all
    is_folded: bool = False
    paper: int = 0  # rows that paper shows while it is folded

    @property
    def notes(self) -> list[str]:
        """The note, and where all rows are if the page leaves some out; none without rows."""
        n = len(self.frame)
        more = f"All {n} rows are in tables/{self.id}.csv." if n > self.limit else ""
        return list(filter(None, [self.note, more])) if n else []

    def rows(self) -> Iterator[list[Cell]]:
        """Write the cells, row by row."""
        first = self.frame[: self.limit]
        for row in first if isinstance(first, list) else first.to_dict("records"):
            yield [cell(row, column) for column in self.columns]

    @property
    def shown(self) -> DataFrame:
        """The columns that it shows, unrounded, with both bounds of intervals."""
        bounds = [
            name
            for column in self.columns
            if column.kind == "interval"
            for name in with_ends(column.key)
        ]
        keys = dict.fromkeys([*(column.key for column in self.columns), *bounds])
        frame = DataFrame(self.frame)
        return frame[[key for key in keys if key in frame]]

    def to_dict(self) -> Json:
        """Convert the table to plain JSON types."""
        rows = records(self.shown)
        return {"id": self.id, "caption": self.caption, "note": self.note, "rows": rows}


def table_of(
    name: str,
    frame: DataFrame | list[Row],
    columns: Sequence[Column] = (),
    **words: object,
) -> Table:
    """Return a table as the files describe it, or with other columns."""
    [about] = described("tables.csv", name, **words)
    columns = columns or columns_of(name, **words)
    return Table(name, columns=columns, frame=frame, **about)


class Drawn(NamedTuple):
    """What a figure shows."""

    svg: str
    alt: str  # a sentence that describes it
    empty: str  # why it shows nothing; "" if it shows something


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure."""

    id: str  # anchor and file name
    caption: str  # how to read it
    axes: Axis  # draws it
    fold: str = ""  # heading while it is folded; "" leaves it open
    is_printed: bool = True  # whether paper shows it while it is folded

    @cached_property
    def drawn(self) -> Drawn:
        """The drawing, made when it is first asked for."""
        ax = self.axes()
        empty = "" if ax.axison else ax.texts[0].get_text()
        description = figures.describe(ax)  # before `svg` closes the figure
        return Drawn(figures.svg(ax), description, empty)


@dataclass(frozen=True)
class Item:
    """A line of a card."""

    text: str
    lead: str = ""  # word before the text, in the look of the band
    band: Band | None = None
    track: Track | None = None


@dataclass(frozen=True)
class Card:
    """The facts on one service, or on one claim."""

    id: str
    name: str
    label: str
    band: Band
    line: Sequence[str]  # shown while the card is folded, such as readiness and owner
    lists: Mapping[str, Sequence[Item]]  # by heading; the first has none
    first: str  # the reason, for places with room for one sentence


@dataclass(frozen=True)
class Appendix:
    """A part of a page that is HTML already: title and content are trusted, not escaped."""

    id: str
    title: str
    html: str


Part: TypeAlias = Table | Picture | Card


@dataclass(frozen=True)
class Fact:
    """One answer of the first screen."""

    term: str
    text: str
    link: str = ""  # section that has the details


@dataclass(frozen=True)
class Section:
    """A section of the report."""

    id: str
    title: str
    text: Sequence[str] = ()
    parts: Sequence[Part] = ()
    warnings: Sequence[str] = ()  # limits of the evidence, shown first
    facts: Sequence[Fact] = ()
    deck: str = ""  # heading of its folded cards

    @property
    def cards(self) -> list[Card]:
        """Its cards, which stand together in one fold."""
        return self.of(Card)

    @property
    def open_parts(self) -> list[Table | Picture]:
        """Its tables and figures."""
        return [part for part in self.parts if not isinstance(part, Card)]

    def of(self, kind: type[Any]) -> list[Any]:
        """List the parts of one kind."""
        return [part for part in self.parts if isinstance(part, kind)]


def cell(row: Mapping[str, Any], column: Column) -> Cell:
    """Write one value of a row in words; NA is the word unknown, never a number."""
    value: Any = row.get(column.key)
    if column.kind == "interval":
        return _interval(row, column)
    if is_unknown(value):
        return Cell(column.absent, "")
    text = word(value) if is_bool(value) else str(value)
    if column.kind == "label":
        # labels of services sort from best to worst
        sort = str(LABELS.index(text)) if text in LABELS else ""
        return Cell(text, sort, band_of(text))
    if column.kind == "verdict":
        return Cell(text, band=band_of(text))
    if column.kind == "name":
        return Cell(text, link=anchor(text))
    if column.kind in ("number", "share"):
        return Cell(_number(value, column), f"{float(value):.6g}")
    return Cell(text)


def in_words(row: Mapping[str, Any], key: str, place: str = "sentences") -> str:
    """Return a value of a row in words, as sentences have it."""
    return cell(row, _spoken(place)[key]).text


@cache
def _spoken(place: str) -> dict[str, Column]:
    return {column.key: column for column in columns_of(place)}


def _number(value: Any, column: Column) -> str:
    if is_unknown(value):
        return column.absent
    if column.kind == "share":
        return share(value)
    # the factor leaves noise behind the ninth digit, which must not decide where a half goes
    scaled = round(column.scale * float(value), 9)
    digits = column.digits if abs(scaled) < 10 else 0
    # a page has the true minus sign; files and terminals have the one of the keyboard
    shown = number(scaled, digits, signed=column.is_signed).replace("-", "−")
    return f"{shown}{column.unit}"


def _interval(row: Mapping[str, Any], column: Column) -> Cell:
    values: list[Any] = [row.get(name) for name in with_ends(column.key)]
    texts = [_number(value, column) for value in values]
    point, lo, hi = (None if is_unknown(v) else column.scale * float(v) for v in values)
    is_single = len(set(texts)) == 1 or (lo is None and hi is None)
    between = f"{texts[1]} to {texts[2]}"
    text = between if point is None else f"{texts[0]} ({between})"
    track = None
    if column.top and lo is not None and hi is not None:
        middle = lo if point is None else point
        track = _percents(lo, hi, middle, top=column.top)
    sort = "" if point is None else f"{point:.6g}"
    return Cell(texts[0] if is_single else text, sort, track=track)


def _percents(lo: float, hi: float, point: float, *, top: float) -> Track:
    shares = [min(max(x / top, 0), 1) for x in (lo, hi, point)]
    start, end, middle = (round(100 * share) for share in shares)
    return start, end, middle


def slug(name: str) -> str:
    """Turn any name into a safe file name: itself if it is one, else a part of it and a hash."""
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", name) and ".." not in name:
        return name
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    readable = words[:40].strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}".lstrip("-")


def anchor(service_id: str) -> str:
    """Return the anchor of the card of a service."""
    return f"service-{slug(service_id)}"


def picture_of(
    name: str, scores: Assessment, *others: Result, **words: object
) -> Picture:
    """Return a figure of a score, and of others, with its texts."""
    [about] = described("drawn.csv", name)

    def axes() -> Any:
        # what is drawn is computed only when the figure is asked for
        draw = getattr(figures, about["figure"])
        return draw(getattr(scores, about["score"]), *others)

    return picture(name, axes, **words)


def picture(
    name: str,
    axes: Axis,
    **words: object,
) -> Picture:
    """Return a figure with its texts."""
    [about] = described("pictures.csv", name, **words)
    return Picture(name, axes=axes, **about)


def kinds_shown(scores: Assessment) -> list[str]:
    """Name the kinds of element that the report shows: services have a figure of their own."""
    kinds = scores.blast_radius.frame.index.get_level_values("element_kind")
    return sorted({*kinds} - {"service"})


def unlooked_hosts(scores: Assessment) -> list[str]:
    """Name the hosts whose services no source lists."""
    unlooked = scores.blast_radius.topology.unlooked
    return [name for kind, name in unlooked if kind == "host"]
