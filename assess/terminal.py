"""Text in columns: of any width in a file, and readable in a terminal, however narrow."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from statistics import median
from unicodedata import east_asian_width

FILLER = "\0"  # no cell holds it
GAP = "  "
MARGIN = "    "  # of the further lines of a text beneath its row
TIGHT = (
    60  # columns of a terminal; in fewer, names have two lines beside other cells at most
)
NARROW = 8  # characters of a column of text that wraps
# a value and its bounds: where a table has to be narrow, the bounds need not repeat its name
BOUNDS = re.compile(r"\b(\w+)\t\1_lo\t\1_hi\b")
UNBROKEN = 20  # characters of a name or a day that stay on one line; a digest may break
JOINTS = r"\-._/:@+=,;|"  # a word that is too long breaks behind one of these
PIECE = re.compile(rf"(?:[^\s{JOINTS}]|(?<=\d)[-.](?=\d))*[{JOINTS}]?")  # days stay whole
CELL = re.compile(".+")
NUMBER = re.compile(r"\S+(?: ->)?")  # one that changed may have two lines
# a gap, and the pieces that stay whole up to a length
Layout = tuple[str, re.Pattern[str], int]
WHOLE: tuple[Layout, ...] = ((GAP, CELL, 24), (" ", CELL, 24))
BROKEN: tuple[Layout, ...] = (*WHOLE, (" ", PIECE, UNBROKEN), (" ", PIECE, 10))
# columns of longer texts stand beneath their row; each step where those before do not fit
STEPS = ((math.inf, WHOLE), (UNBROKEN, BROKEN), (0, BROKEN))


@dataclass(frozen=True, eq=False)
class Column:
    """A column of text: its heading, then its cells."""

    cells: Sequence[str]
    is_number: bool

    @cached_property
    def size(self) -> int:
        """Length of the longest cell."""
        return max(map(len, self.cells))

    @cached_property
    def typical(self) -> float:
        """Median length of the cells that are not empty."""
        lengths = [len(cell) for cell in self.cells[1:] if cell]
        return median(lengths or [0])

    def least(self, piece: re.Pattern[str], unbroken: int) -> int:
        """Return the least width in which no piece up to a length breaks."""
        head, *cells = self.cells
        # numbers never break: half a number is another number
        kind = NUMBER if self.is_number else piece
        longest = max(map(len, kind.findall("\n".join(cells))), default=0)
        if not self.is_number:
            # beside others, a typical text has two lines at most
            kept = max(unbroken, int(self.typical) // 2) if piece is CELL else unbroken
            longest = min(max(longest, NARROW), kept)
        return max(longest, *map(len, PIECE.findall(head)))


def in_columns(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[bool],
    width: int | None,
) -> str:
    """Align cells in columns; in a terminal, long ones wrap or stand beneath their row."""
    heads, *rows = [list(map(_filled, row)) for row in (heads, *rows)]
    if width:
        heads = BOUNDS.sub(r"\1\tlo\thi", "\t".join(heads)).split("\t")
    columns = list(map(Column, zip(heads, *rows, strict=True), numbers))
    return _laid_out(columns, width).replace(FILLER, "")


def _filled(text: str) -> str:
    """Fill up letters that take two columns of a terminal, so that lengths are columns."""
    if text.isascii():
        return text
    return "".join(x + FILLER * (east_asian_width(x) in "WF") for x in text)


def _laid_out(columns: list[Column], width: int | None) -> str:
    if width is None:
        return _table(columns, GAP, [column.size for column in columns])
    for longest, layouts in STEPS:
        beside = [
            column
            for at, column in enumerate(columns)
            # the first two name the row
            if at < 2 or column.is_number or column.typical <= longest
        ]
        gap, widths = _fitted(beside, width, layouts)
        if widths and (width >= TIGHT or columns[0].size <= 2 * widths[0]):
            break
    else:
        beside = columns[:1]
        widths = [width]
    beneath = [column for column in columns if column not in beside]
    return _table(beside, gap, widths, beneath, width - len(MARGIN))


def _fitted(
    columns: Sequence[Column], width: int, layouts: Iterable[Layout]
) -> tuple[str, list[int]]:
    """Return the gap and the width of each column; no width where even wrapped cells do not fit."""
    for gap, piece, unbroken in layouts:
        room = width - len(gap) * (len(columns) - 1)
        least = [column.least(piece, unbroken) for column in columns]
        # the widest columns lose the least to wrapping
        for most in range(width, 0, -1):
            widths = [
                min(column.size, max(most, low))
                for column, low in zip(columns, least, strict=True)
            ]
            if sum(widths) <= room:
                return gap, widths
    return GAP, []


def _table(
    beside: Sequence[Column],
    gap: str,
    widths: Sequence[int],
    beneath: Sequence[Column] = (),
    room: int = 0,
) -> str:
    """Write the rows, each with its texts beneath it, which have lines of a width."""
    numbers = [column.is_number for column in beside]
    text = ""
    for row in range(len(beside[0].cells)):
        cells = [column.cells[row] for column in beside]
        for line in zip_longest(*map(_wrapped, cells, widths), fillvalue=""):
            aligned = map(_aligned, line, widths, numbers)
            text += gap.join(aligned).rstrip() + "\n"
        for column in beneath:
            cell = column.cells[row]
            if row and cell:
                lines = _wrapped(f"{column.cells[0]}: {cell}", room)
                text += GAP + f"\n{MARGIN}".join(lines) + "\n"
    return text


def _aligned(cell: str, size: int, is_number: bool) -> str:
    return cell.rjust(size) if is_number else cell.ljust(size)


def _wrapped(cell: str, size: int) -> list[str]:
    """Break a cell into lines: at spaces, else behind punctuation, else anywhere."""
    if len(cell) <= size:
        return [cell]
    most = max(size - (FILLER in cell), 1)  # a break may part a letter from its filler
    word = rf"\S{{1,{most}}}"
    part = rf"[^\s{JOINTS}]{{0,{most - 1}}}[{JOINTS}]"
    lines = [""]
    for piece in re.findall(rf"{word}(?!\S)\s*|{part}|{word}", cell):
        if len(lines[-1]) + len(piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]
