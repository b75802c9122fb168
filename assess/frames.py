"""The frames: every table, column, type, vocabulary and unit, from the data dictionary.

The data dictionary is `frames.csv`, beside this file. Its `rule` is a vocabulary (``a|b|c``),
a range (``0..1``, ``>=0``) or a reference to a key (``->hosts.host_id``).
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.errors import DataError, counted, did_you_mean
from assess.reading import refuse_many
from assess.untrusted import encodable, unguarded

SCHEMA_VERSION = 1
SHARED_COLUMNS = ("source", "source_ref")
EXTERNAL = "ext:"
MOST_ROWS = 20_000_000  # of a Parquet file

# Frames are small and many: a call on text in Arrow's memory takes half as long again as on
# Python's own texts. Large fleets gain too, in time and in memory.
pd.set_option("mode.string_storage", "python")

DTYPES = {
    "str": "str",
    "bool": "boolean",
    "int": "Int64",
    "float": "Float64",
    "time": "datetime64[us, UTC]",
}
PROBLEM_COLUMNS = ["table", "row", "column", "value", "rule", "hint"]
_NO_PROBLEMS = DataFrame(columns=PROBLEM_COLUMNS)
_BOOLEANS = {"true": True, "false": False}
# a date alone is a moment too; a number alone is not, although pandas reads -1 as a year
_ISO_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


@dataclass(frozen=True)
class Column:
    """One column of the data dictionary."""

    frame: str
    name: str
    dtype: str
    role: str
    rule: str
    unit: str
    doc: str

    @property
    def is_key(self) -> bool:
        """Whether the column is part of the key."""
        return self.role == "key"

    @property
    def is_required(self) -> bool:
        """Whether the column may never be NA."""
        # of an image that no host holds, host_id is the empty text
        return self.role != "" and (self.frame, self.name) != ("images", "host_id")

    @cached_property
    def vocabulary(self) -> list[str]:
        """Values that the column admits; empty where it admits any."""
        return self.rule.split("|") if "|" in self.rule else []

    @property
    def reference(self) -> tuple[str, str] | None:
        """Frame and key column that the values must exist in."""
        frame, _, key = self.rule.removeprefix("->").partition(".")
        return (frame, key) if self.rule.startswith("->") else None

    @cached_property
    def bounds(self) -> tuple[float, float] | None:
        """Smallest and largest value."""
        if self.rule.startswith(">="):
            return float(self.rule[2:]), np.inf
        if ".." in self.rule:
            low, _, high = self.rule.partition("..")
            return float(low), float(high)
        return None

    @cached_property
    def pandas_dtype(self) -> str | pd.CategoricalDtype:
        """Type that the column has in memory."""
        if self.dtype == "category":
            return pd.CategoricalDtype(self.vocabulary)
        return DTYPES[self.dtype]

    @property
    def expectation(self) -> str:
        """Rule in words, for a message."""
        if self.vocabulary:
            return f"one of {self.rule}"
        if self.reference:
            return f"a known {self.rule[2:]}"
        kind = {
            "bool": "true or false",
            "int": "a whole number",
            "float": "a number",
            "time": "an ISO-8601 time with Z",
        }.get(self.dtype, "text")
        return f"{kind}, {self.rule}" if self.bounds else kind


@cache
def dictionary() -> DataFrame:
    """Return the data dictionary."""
    with (files("assess") / "frames.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle, dtype=str, keep_default_na=False)


@cache
def columns(frame: str) -> dict[str, Column]:
    """Return the columns of a frame, in order."""
    rows = dictionary().loc[dictionary()["frame"] == frame].itertuples(index=False)
    known = {row.column: Column(*row) for row in rows}
    for name in SHARED_COLUMNS:
        shared = Column(frame, name, "str", "", "", "", "Where the row came from")
        known.setdefault(name, shared)
    return known


@cache
def names() -> tuple[str, ...]:
    """Return the names of all frames."""
    return tuple(dictionary()["frame"].unique())


def key(frame: str) -> list[str]:
    """Return the key of a frame."""
    return [name for name, column in columns(frame).items() if column.is_key]


def empty(frame: str) -> DataFrame:
    """Return a frame without rows."""
    return _empty(frame).copy(deep=False)


@cache
def _empty(frame: str) -> DataFrame:
    return conform(frame, DataFrame())[0]


def read_table(file: Path, most_rows: int = MOST_ROWS) -> DataFrame:
    """Read one frame as it is, by today's names; CSV as text, with empty cells as NA.

    A row shorter or longer than the header is an error: a half-written file must not pass for one
    with unknown cells.
    """
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows_n = pq.read_metadata(file).num_rows
        refuse_many(rows_n, most_rows, "rows")  # a footer can promise any number
        return pd.read_parquet(file)
    # spreadsheets write a byte-order mark before UTF-8
    with file.open(newline="", encoding="utf-8-sig") as handle:
        try:
            # the reader returns an empty list for a blank line
            rows = list(filter(None, csv.reader(handle, strict=True)))
        except csv.Error as error:
            raise ValueError(str(error)) from error
    if not rows:
        raise ValueError("it is empty")
    header = rows.pop(0)
    if len(set(header)) < len(header):
        raise ValueError("a column occurs twice")
    refuse_many(len(rows), most_rows, "rows")
    ragged = [
        f"row {number} has {counted(len(row), 'cell')}"
        for number, row in enumerate(rows, start=1)
        if len(row) != len(header)
    ]
    if ragged:
        raise ValueError(f"{', '.join(ragged[:9])}, its header {len(header)}")
    # `to_csv` puts an apostrophe before a formula; here it is taken off again. Equal cells share
    # one text, without which a large fleet takes a third more memory.
    texts: dict[str, str | None] = {"": None}
    known = [
        # a look for the apostrophe takes a tenth of the time of the pattern
        [texts.setdefault(cell, unguarded(cell) if "'" in cell else cell) for cell in row]
        for row in rows
    ]
    return DataFrame(known, columns=header, dtype="str")


def conform(frame: str, raw: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return a table with the columns and types of a frame, and the cells that cannot be read.

    Absent columns and cells that cannot be read are NA; unknown columns are left out.
    """
    typed: dict[str, Series] = {}
    absent: dict[str, Series] = {}
    problems = []
    raw = raw.reset_index(drop=True)
    for name, column in columns(frame).items():
        if name not in raw:
            dtype = column.pandas_dtype
            # one column of NA per type is shared: wide frames have many absent columns
            if str(dtype) not in absent or column.dtype == "category":
                absent[str(dtype)] = Series(pd.NA, index=range(len(raw)), dtype=dtype)
            typed[name] = absent[str(dtype)]
            continue
        cells = raw[name]
        typed[name], bad = cast_cells(cells, column)
        if bad.any():
            hints = [did_you_mean(str(cell), column.vocabulary) for cell in cells[bad]]
            misread = _problems(column, cells[bad], column.expectation)
            problems.append(misread.assign(hint=hints))
    if frame == "images":
        # the column is part of the key, and a key is never NA
        typed["host_id"] = typed["host_id"].fillna("")
    return DataFrame(typed), join_problems(problems)


def cast_cells(cells: Series, column: Column) -> tuple[Series, np.ndarray]:
    """Return the cells as their column's type; the mask marks known cells that cannot be read."""
    # floats are cast again: NaN and infinity have to become NA; so are texts, for UTF-8
    is_typed = cells.dtype == column.pandas_dtype
    if is_typed and column.dtype not in ("float", "str"):
        return cells, np.zeros(len(cells), bool)
    known = cells.notna().to_numpy()
    if column.dtype == "category":
        # a word outside the vocabulary has code -1, which is NA
        codes = pd.Index(column.vocabulary).get_indexer(_text(cells))
        values = pd.Categorical.from_codes(codes, dtype=column.pandas_dtype)
        cast = Series(values, index=cells.index)
    elif column.dtype == "str":
        cast = _text(cells)
        if cells.dtype != "str":
            # the text of a list would pass for a name
            cast = cast.mask(cells.astype(object).map(pd.api.types.is_list_like))
    elif column.dtype == "bool":
        words = [str(cell).strip().lower() for cell in cells.tolist()]
        flags = list(map(_BOOLEANS.get, words))
        cast = Series(flags, index=cells.index, dtype="boolean")
    elif column.dtype == "time":
        if not isinstance(cells.dtype, pd.DatetimeTZDtype):
            text = _text(cells)
            # a text that is no ISO time becomes NA, so `known & cast.isna()` finds it
            text = text.where(text.str.fullmatch(_ISO_TIME.pattern))
            # without an offset they are UTC
            cells = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
        cast = cells.dt.tz_convert("UTC").dt.as_unit("us")
    else:
        cast = _as_numbers(cells, is_whole=column.dtype == "int")
    return cast, known & cast.isna().to_numpy()


Row = dict[str, Any]
Frames = Mapping[str, DataFrame]  # by name


def _as_numbers(cells: Series, *, is_whole: bool) -> Series:
    """Return cells as numbers; NaN, infinity, and fractions of what is whole become NA."""
    cells = _without_booleans(cells)
    if not pd.api.types.is_numeric_dtype(cells.dtype):
        if cells.dtype != "str":
            cells = cells.astype(object).where(cells.notna(), None)
        cells = pd.to_numeric(cells, errors="coerce")
    values = cells.to_numpy(float)
    unread = ~np.isfinite(values)
    # the remainder below must not see NaN or infinity
    values = np.where(unread, 0.0, values)
    if not is_whole:
        return Series(pd.arrays.FloatingArray(values, unread), index=cells.index)
    # 2**63 is the first float that does not fit into int64
    unread |= (values % 1 != 0) | (np.abs(values) >= 2**63)
    whole = np.where(unread, 0, values).astype("int64")
    return Series(pd.arrays.IntegerArray(whole, unread), index=cells.index)


def _without_booleans(cells: Series) -> Series:
    """Return cells without those of yes and no, which pandas would read as 1 and 0."""
    if pd.api.types.is_bool_dtype(cells.dtype):
        return cells.astype(object).mask(cells.notna())
    if cells.dtype == object:
        return cells.mask(cells.map(pd.api.types.is_bool))
    return cells


def row(frame: str, /, **values: Any) -> Row:
    """Return a row of a frame; raise DataError for a name that is not a column of the frame."""
    if frame not in names() or not values.keys() <= columns(frame).keys():
        problems = unknown_columns(frame, values)
        raise DataError("a row has columns that its frame does not have", problems)
    return values


def unknown_columns(frame: str, given: Iterable[str]) -> DataFrame:
    """List the names that are not columns of a frame, each with the nearest column."""
    if frame not in names():
        rule = f"one of {', '.join(names())}"
        return problem(frame, frame, rule, did_you_mean(frame, names()))
    known = columns(frame)
    rule = f"a column of {frame}"
    problems = [
        problem(frame, "", rule, did_you_mean(name, known), column=name)
        for name in given
        if name not in known
    ]
    return join_problems(problems)


def problem(
    table: str, value: str, rule: str, hint: str = "", *, column: str = ""
) -> DataFrame:
    """Return one problem of a whole table or column, with the columns of `PROBLEM_COLUMNS`."""
    cells = [table, pd.NA, column, value, rule, hint]
    return DataFrame([cells], columns=PROBLEM_COLUMNS)


def _text(cells: Series) -> Series:
    """Return cells as text that UTF-8 can hold: JSON may have halves of surrogate pairs."""
    if cells.dtype == float:
        # in a column with gaps, pandas reads whole numbers as floats: 2 is no "2.0"
        cells = cells.convert_dtypes()
    texts = cells
    if cells.dtype != "str":
        known = cells.astype(object).where(cells.notna(), None)
        texts = known.map(str, na_action="ignore").astype("str")
    # one look at all: hardly any column has a half
    whole = "".join(texts.dropna().to_numpy())
    is_sound = encodable(whole) == whole
    return texts if is_sound else texts.map(encodable, na_action="ignore").astype("str")


def _problems(column: Column, bad: Series, rule: str, hint: str = "") -> DataFrame:
    """Return one row per bad cell; rows count from 1, as in the file."""
    return DataFrame(
        {
            "table": column.frame,
            "row": bad.index + 1,
            "column": column.name,
            "value": _text(bad).fillna(""),
            "rule": rule,
            "hint": hint,
        }
    )


def join_problems(problems: list[DataFrame]) -> DataFrame:
    """Join lists of problems."""
    some = [p for p in problems if len(p)]
    if not some:
        return _NO_PROBLEMS.copy(deep=False)
    return pd.concat(some, ignore_index=True)


def check(frame: str, table: DataFrame, raw: DataFrame | None = None) -> DataFrame:
    """List keys that occur twice, empty required cells and numbers out of range in a typed table.

    A required column that the table it was made of lacks is listed once, not for every row.
    """
    given = table if raw is None else raw
    problems = [_duplicates(frame, table[key(frame)])]
    for name, column in columns(frame).items():
        cells = table[name]
        if column.is_required and name in given:
            problems += _absent(column, cells)
        elif column.is_required and len(table):
            hint = "the table has no such column"
            problems.append(problem(frame, "", "required", hint, column=name))
        if column.bounds:
            # an unknown cell breaks no range: NaN is neither below nor above
            numbers = cells.to_numpy(float, na_value=np.nan)
            outside = (numbers < column.bounds[0]) | (numbers > column.bounds[1])
            if outside.any():
                problems.append(_problems(column, cells[outside], column.expectation))
    return join_problems(problems)


def _absent(column: Column, cells: Series) -> list[DataFrame]:
    """List required cells that are unknown, and keys that are an empty text."""
    unknown = cells.isna()
    hints = {"unknown (an empty cell of a CSV file): may not be empty": unknown}
    # A CSV file cannot tell the two apart: an empty text is read back as unknown. The
    # reader of any other column decides about empty texts: a waiver without an owner does
    # not count.
    if column.is_key:
        why = "an empty text, which a CSV file cannot tell from unknown: name it"
        hints[why] = is_absent(cells) & ~unknown
    return [
        _problems(column, cells[rows], "required", hint)
        for hint, rows in hints.items()
        if rows.any()
    ]


def is_absent(cells: Series) -> Series:
    """Return which cells are unknown, or a text of nothing but spaces."""
    absent = cells.isna()
    return absent | (cells.str.strip() == "") if cells.dtype == "str" else absent


def _duplicates(frame: str, keys: DataFrame) -> DataFrame:
    twice = keys[keys.duplicated(keep=False)].dropna()
    if twice.empty:
        return _NO_PROBLEMS
    column = Column(frame, ", ".join(keys.columns), "str", "key", "", "", "")
    return _problems(column, key_texts(twice), "a key occurs once", "duplicate key")


def key_texts(keys: DataFrame) -> Series:
    """Return the key of each row as one text, its parts joined by a slash."""
    return keys.astype(object).agg(lambda row: "/".join(map(str, row)), axis=1)


def surely(flags: Series) -> Series:
    """Return flags as plain booleans: an unknown flag does not hold."""
    return flags.fillna(value=False).astype(bool)


def objects(table: DataFrame) -> np.ndarray:
    """Return the cells as objects, None where unknown, because NA has no truth value."""
    return table.to_numpy(object, na_value=None)


def check_references(tables: dict[str, DataFrame]) -> DataFrame:
    """List references to keys that do not exist, between the given frames."""
    problems = []
    for frame, table in tables.items():
        for name, column in columns(frame).items():
            if column.reference is None or column.reference[0] not in tables:
                continue
            target, target_key = column.reference
            keys = tables[target][target_key]
            values = table[name]
            is_dangling = values.notna() & ~values.isin(keys)
            # a key without any value is a problem of its own, not of each reference to it
            is_dangling &= keys.empty or keys.notna().any()
            if not column.is_required:
                is_dangling &= values != ""  # as good as unknown
            dangling = values[is_dangling]
            if (frame, name) == ("dependencies", "dst_id"):
                # a dependency may end outside the fleet, at a name with this prefix
                dangling = dangling[~dangling.str.startswith(EXTERNAL)]
            hint = "dangling reference"
            if len(dangling):
                problems.append(_problems(column, dangling, column.expectation, hint))
    return join_problems(problems)
