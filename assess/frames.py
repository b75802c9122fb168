"""The frames: every table, column, type, vocabulary and unit, as pandera schemas.

The data dictionary is `frames.csv`, beside this file. Its `rule` is a vocabulary (``a|b|c``),
a range (``0..1``, ``>=0``) or a reference to a key (``->hosts.host_id``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pandera.pandas as pa

SCHEMA_VERSION = 1
SHARED_COLUMNS = ("source", "source_ref")
EXTERNAL = "ext:"

DTYPES = {
    "str": "str",
    "bool": "boolean",
    "int": "Int64",
    "float": "Float64",
    "time": "datetime64[us, UTC]",
}
PROBLEM_COLUMNS = ["table", "row", "column", "value", "rule", "hint"]
_BOOLEANS = {"true": True, "false": False}


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
        return self.role != "" and (self.frame, self.name) != ("images", "host_id")

    @property
    def vocabulary(self) -> list[str]:
        """Values that the column admits; empty where it admits any."""
        return self.rule.split("|") if "|" in self.rule else []

    @property
    def reference(self) -> tuple[str, str] | None:
        """Frame and key column that the values must exist in."""
        frame, _, key = self.rule.removeprefix("->").partition(".")
        return (frame, key) if self.rule.startswith("->") else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Smallest and largest value."""
        if self.rule.startswith(">="):
            return float(self.rule[2:]), np.inf
        if ".." in self.rule:
            low, _, high = self.rule.partition("..")
            return float(low), float(high)
        return None

    @property
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
        if self.bounds:
            return f"within {self.rule}"
        return {
            "bool": "true or false",
            "int": "a whole number",
            "float": "a number",
            "time": "an ISO-8601 time with Z",
        }.get(self.dtype, "text")


@cache
def dictionary() -> pd.DataFrame:
    """Give the data dictionary."""
    with (files("assess") / "frames.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle, dtype=str, keep_default_na=False)


@cache
def columns(frame: str) -> dict[str, Column]:
    """Give the columns of a frame, in order."""
    told = [
        Column(*row) for row in dictionary().itertuples(index=False) if row[0] == frame
    ]
    found = {column.name: column for column in told}
    for name in SHARED_COLUMNS:
        found.setdefault(
            name, Column(frame, name, "str", "", "", "", "Where the row came from")
        )
    return found


@cache
def names() -> tuple[str, ...]:
    """Give the names of all frames."""
    return tuple(dictionary()["frame"].unique())


def key(frame: str) -> list[str]:
    """Give the key of a frame."""
    return [name for name, column in columns(frame).items() if column.is_key]


@cache
def schema(frame: str) -> pa.DataFrameSchema:
    """Give the pandera schema of a frame."""
    import pandera.pandas as pa

    fields = {}
    for name, column in columns(frame).items():
        checks = []
        if column.bounds and column.dtype in ("int", "float"):
            checks.append(pa.Check.in_range(*column.bounds, error=column.expectation))
        fields[name] = pa.Column(
            column.pandas_dtype,
            checks,
            nullable=not column.is_required,
            description=column.doc,
            metadata={"unit": column.unit, "rule": column.rule},
        )
    return pa.DataFrameSchema(fields, unique=key(frame), strict=True, name=frame)


def empty(frame: str) -> pd.DataFrame:
    """Make a frame without rows."""
    return _empty(frame).copy(deep=False)


@cache
def _empty(frame: str) -> pd.DataFrame:
    return conform(frame, pd.DataFrame())[0]


def conform(frame: str, raw: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give a table the columns and types of a frame; also list the cells that cannot be read.

    What was absent or cannot be read is NA; columns that nobody knows are left out.
    """
    typed: dict[str, pd.Series] = {}
    absent: dict[str, pd.Series] = {}
    problems = []
    for name, column in columns(frame).items():
        if name not in raw:
            dtype = column.pandas_dtype
            if str(dtype) not in absent or column.dtype == "category":
                absent[str(dtype)] = pd.Series(pd.NA, index=range(len(raw)), dtype=dtype)
            typed[name] = absent[str(dtype)]
            continue
        cells = raw[name].reset_index(drop=True)
        typed[name], bad = _cast(cells, column)
        if bad.any():
            problems.append(_problems(column, cells[bad], column.expectation))
    if frame == "images":
        typed["host_id"] = typed["host_id"].fillna("")
    return pd.DataFrame(typed), join_problems(problems)


def _cast(cells: pd.Series, column: Column) -> tuple[pd.Series, pd.Series]:
    """Cast cells; the mask marks what is there, but not readable."""
    if cells.dtype == column.pandas_dtype and column.dtype != "float":
        return cells, pd.Series(False, index=cells.index)
    known = cells.notna()
    if column.dtype == "category":
        codes = pd.Index(column.vocabulary).get_indexer(_text(cells))
        values = pd.Categorical.from_codes(codes, dtype=column.pandas_dtype)
        cast = pd.Series(values, index=cells.index)
    elif column.dtype == "str":
        cast = _text(cells)
    elif column.dtype == "bool":
        flags = [_BOOLEANS.get(str(cell).strip().lower()) for cell in cells]
        cast = pd.Series(flags, index=cells.index, dtype="boolean")
    elif column.dtype == "time":
        if not isinstance(
            cells.dtype, pd.DatetimeTZDtype
        ):  # without an offset they are UTC
            cells = pd.to_datetime(
                _text(cells), utc=True, format="ISO8601", errors="coerce"
            )
        cast = cells.dt.tz_convert("UTC").dt.as_unit("us")
    else:
        if cells.dtype == "str":
            cells = pd.to_numeric(cells, errors="coerce")
        elif not pd.api.types.is_numeric_dtype(cells.dtype):
            cells = pd.to_numeric(
                cells.astype(object).where(known, None), errors="coerce"
            )
        values = cells.to_numpy("float64", na_value=np.nan)
        unread = ~np.isfinite(values)
        values = np.where(unread, 0.0, values)
        if column.dtype == "int":
            unread |= (values % 1 != 0) | (np.abs(values) >= 2**63)
            whole = np.where(unread, 0, values).astype("int64")
            cast = pd.Series(pd.arrays.IntegerArray(whole, unread), index=cells.index)
        else:
            cast = pd.Series(pd.arrays.FloatingArray(values, unread), index=cells.index)
    return cast, known & cast.isna()


def _text(cells: pd.Series) -> pd.Series:
    if cells.dtype == "str":
        return cells
    known = cells.notna()
    return (
        cells.astype(object).where(known, None).map(str, na_action="ignore").astype("str")
    )


def _problems(column: Column, bad: pd.Series, rule: str, hint: str = "") -> pd.DataFrame:
    """One row per bad cell; rows are counted from 1, as a reader of the file counts them."""
    return pd.DataFrame(
        {
            "table": column.frame,
            "row": bad.index + 1,
            "column": column.name,
            "value": _text(bad).fillna(""),
            "rule": rule,
            "hint": hint,
        }
    )


def join_problems(problems: list[pd.DataFrame]) -> pd.DataFrame:
    """Put lists of problems together."""
    found = [p for p in problems if len(p)]
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=PROBLEM_COLUMNS)
    )


def check(frame: str, table: pd.DataFrame) -> pd.DataFrame:
    """List what breaks the schema of a frame: ranges, keys, missing required cells."""
    if is_sound(
        frame, table
    ):  # pandera tells what is wrong, but takes long where nothing is
        return join_problems([])
    from pandera.errors import SchemaErrors

    try:
        schema(frame).validate(table, lazy=True)
    except SchemaErrors as errors:
        return _from_failure_cases(frame, table, errors.failure_cases)
    return join_problems([])


def is_sound(frame: str, table: pd.DataFrame) -> bool:
    """Say whether a frame fits its schema."""
    told = columns(frame)
    if list(table.columns) != list(told):
        return False
    for name, column in told.items():
        cells = table[name]
        if cells.dtype != column.pandas_dtype or (column.is_required and cells.hasnans):
            return False
        if column.bounds and column.dtype in ("int", "float"):
            low, high = column.bounds
            if not cells.between(low, high).fillna(value=True).all():
                return False
    return not table.duplicated(key(frame)).any()


def _from_failure_cases(
    frame: str, table: pd.DataFrame, cases: pd.DataFrame
) -> pd.DataFrame:
    problems = []
    is_duplicate = cases["check"] == "multiple_fields_uniqueness"
    if is_duplicate.any():
        keys = table[key(frame)]
        twice = keys.duplicated(keep=False) & keys.notna().all(axis=1)
        shown = keys[twice].apply(lambda row: "/".join(map(str, row)), axis=1)
        column = Column(frame, ", ".join(key(frame)), "str", "key", "", "", "")
        problems.append(_problems(column, shown, "a key occurs once", "duplicate key"))
    for name, found in cases[~is_duplicate].groupby("column", sort=False):
        column = columns(frame)[str(name)]
        bad = pd.Series(
            found["failure_case"].to_numpy(), index=found["index"].astype(int)
        )
        missing = found["check"].eq("not_nullable").to_numpy()
        problems += [
            _problems(column, bad[missing], "required", "may not be empty"),
            _problems(column, bad[~missing], column.expectation),
        ]
    return join_problems(problems)


def check_references(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """List references that lead nowhere, between the frames that are at hand."""
    problems = []
    for frame, table in tables.items():
        for name, column in columns(frame).items():
            if column.reference is None or column.reference[0] not in tables:
                continue
            target, target_key = column.reference
            values = table[name]
            dangling = (
                values.notna() & (values != "") & ~values.isin(tables[target][target_key])
            )
            if (frame, name) == ("dependencies", "dst_id"):
                dangling &= ~values.str.startswith(EXTERNAL, na=False)
            problems.append(
                _problems(
                    column, values[dangling], column.expectation, "dangling reference"
                )
            )
    return join_problems(problems)
