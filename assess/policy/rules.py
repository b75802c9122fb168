"""The rule language of the policy: conditions of checks and gates on each row of a table.

A rule is an expression over the columns of a table: ``and``, ``or``, ``not``, comparisons, ``in``
a list, ``+ - *``, numbers, text, ``True``, ``False`` and ``days_since(column)``. Its logic is
Kleene's three-valued logic: what depends on an unknown cell is NA, neither true nor false.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, reduce
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas import DataFrame, Series, Timestamp

from assess import frames
from assess.config import packaged
from assess.errors import with_nearest

DTYPES = {
    "text": "string",
    "boolean": "boolean",
    "number": "Float64",
    "time": "datetime64[us, UTC]",
}
# of the types of pandas, of the dictionary and of Python; every other is a time
_KINDS = {dtype: kind for kind, dtype in DTYPES.items()} | {
    "str": "text",
    "category": "text",
    "bool": "boolean",
    "int": "number",
    "Int64": "number",
    "float": "number",
    "list": "list",
}
# Columns that the evidence adds to the frames (see `assess.score.evidence`).
DERIVED: Mapping[str, Mapping[str, str]] = packaged("policy/shapes.toml")["derived"]
TABLES = tuple(DERIVED)

_LONGEST = 500
_LARGEST = 1e15  # whole numbers up to here are exact as floats
_Operators: TypeAlias = Mapping[type, Callable[[Any, Any], Any]]
_EQUAL: _Operators = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_ORDER: _Operators = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: _Operators = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


class RuleError(ValueError):
    """A rule cannot be read, or does not fit its table."""


@cache
def columns(table: str) -> dict[str, str]:
    """Return the columns that a rule over a table may name, with their kind."""
    dtypes = {name: column.dtype for name, column in frames.columns(table).items()}
    kinds = {name: _KINDS.get(dtype, "time") for name, dtype in dtypes.items()}
    return {"service_id": "text", **kinds, **DERIVED[table]}


@cache
def problem(rule: str, table: str) -> str:
    """Return the error of a rule on an empty table; empty text if the rule is valid."""
    try:
        evaluate(rule, _empty(table), at=Timestamp(0, tz="UTC"))
    except RuleError as error:
        return str(error)
    return ""


@cache
def _empty(table: str) -> DataFrame:
    kinds = columns(table).items()
    return DataFrame({name: Series(dtype=DTYPES[kind]) for name, kind in kinds})


def evaluate(rule: str, table: DataFrame, *, at: Timestamp) -> Series:
    """Evaluate a rule on every row; return nullable booleans, NA where a needed cell is unknown.

    The columns are string, boolean, Int64 or Float64, or UTC times; ``days_since`` counts up to
    ``at``. A rule that cannot be read, names an unknown column or compares unlike kinds raises
    `RuleError`; what follows a part that no row meets is checked where there are no rows only.
    """
    return Series(_truth(_value(_parsed(rule), table, at)), table.index)


@cache
def _parsed(rule: str) -> ast.expr:
    if len(rule) > _LONGEST:
        raise RuleError(f"a rule has at most {_LONGEST} characters")
    try:
        return ast.parse(rule.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RuleError(f"{rule!r} is not an expression") from error


def _value(node: ast.expr, table: DataFrame, at: Timestamp) -> Any:
    """Return the value of a part of a rule: a column, a constant or a list of constants."""
    match node:
        # an allow-list: whatever is not matched below raises, so a policy cannot run code
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            if not isinstance(constant, str) and abs(constant) > _LARGEST:
                raise RuleError(f"a number is at most {_LARGEST:g}")
            return constant
        case ast.Name(id=name):
            return _column(name, table)
        case ast.List(elts=items) | ast.Tuple(elts=items) if items:
            return [_value(item, table, at) for item in items]
        case ast.BoolOp(op=ast.And(), values=parts):
            return _all(parts, table, at)
        case ast.BoolOp(values=parts):
            return reduce(
                operator.or_, (_truth(_value(part, table, at)) for part in parts)
            )
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return ~_truth(_value(part, table, at))
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_number(_value(part, table, at))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            pair = [_number(_value(part, table, at)) for part in (left, right)]
            return _ARITHMETIC[type(op)](*pair)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            values = [_value(part, table, at) for part in (left, *rest)]
            # 0 <= a < b is (0 <= a) and (a < b)
            steps = zip(ops, pairwise(values), strict=True)
            holds = (_compare(op, a, b) for op, (a, b) in steps)
            return reduce(operator.and_, holds)
        case ast.Call(
            func=ast.Name(id="days_since"), args=[ast.Name(id=name)], keywords=[]
        ):
            return _days_since(name, _column(name, table), at)
    raise RuleError(f"{ast.unparse(node)!r} is not part of the rule language")


def _all(parts: list[ast.expr], table: DataFrame, at: Timestamp) -> Any:
    """Return where all parts hold; what follows is not evaluated once no row can hold."""
    found = _truth(_value(parts[0], table, at))
    for part in parts[1:]:
        # an empty table checks the whole rule
        if len(found) and not found.to_numpy(bool, na_value=True).any():
            break
        found = found & _truth(_value(part, table, at))
    return found


def _column(name: str, table: DataFrame) -> Any:
    if name not in table:
        message = f"unknown column {name!r}"
        raise RuleError(with_nearest(message, name, table.columns))
    # arrays, since a series takes a multiple of their time where rows are few
    return table[name].array


def _days_since(name: str, times: Any, at: Timestamp) -> Any:
    """Return ages [days]; the age of a time after the snapshot is unknown."""
    if _kind(times) != "time":
        raise RuleError(f"days_since({name}) needs a time")
    days = (at - times).total_seconds() / 86400
    return pd.array(np.where(days >= 0, days, np.nan), dtype="Float64")


def _compare(op: ast.cmpop, left: Any, right: Any) -> Any:
    if isinstance(op, ast.In | ast.NotIn):
        return _membership(left, right, wanted=isinstance(op, ast.In))
    kinds = {_kind(left), _kind(right)}
    if kinds == {"time", "text"}:
        left = _moment(left)
        right = _moment(right)
        kinds = {"time"}
    compare = _EQUAL.get(type(op))
    if kinds in ({"number"}, {"time"}):
        compare = compare or _ORDER.get(type(op))
    # text and booleans have no order; unlike kinds would compare as never equal
    if compare is None or len(kinds) > 1 or "list" in kinds:
        raise RuleError(f"cannot compare {' with '.join(sorted(kinds))} this way")
    if not (_is_column(left) or _is_column(right)):
        raise RuleError("a comparison needs a column")
    missing = [value.isna() for value in (left, right) if _is_column(value)]
    # a comparison of times is False, not NA, where pandas misses one of them
    return _unless(reduce(operator.or_, missing), compare(left, right))


def _moment(value: Any) -> Any:
    """Return a time: a column of times as it is, text as ISO 8601, by default in UTC."""
    if _is_column(value):
        if _kind(value) != "time":
            raise RuleError("cannot compare a column of text with a time")
        return value
    try:
        # not pandas' own reader, for which "now" is a time and "nan" is none
        moment = Timestamp(datetime.fromisoformat(value))
        return moment.tz_localize("UTC") if moment.tzinfo is None else moment
    except (ValueError, OverflowError) as error:
        raise RuleError(
            f"{value!r} is not a time such as 2026-09-30T12:00:00Z"
        ) from error


def _membership(left: Any, right: Any, *, wanted: bool) -> Any:
    """Return membership; NA for an unknown cell, where `isin` of pandas would return False."""
    items = right if isinstance(right, list) else []
    kinds = {_kind(item) for item in items}
    if not _is_column(left) or kinds != {_kind(left)} or any(map(_is_column, items)):
        raise RuleError("`in` needs a column, and a list of constants of its kind")
    return _unless(left.isna(), left.isin(items) == wanted)


def _unless(missing: Any, answers: Any) -> Any:
    """Return the answers as nullable booleans, NA where a cell is missing."""
    if not isinstance(answers, np.ndarray):
        answers = answers.to_numpy(bool, na_value=False)
    return pd.arrays.BooleanArray(answers, missing)


def _is_column(value: Any) -> bool:
    return hasattr(value, "dtype")


def _truth(value: Any) -> Any:
    if not _is_column(value) or _kind(value) != "boolean":
        raise RuleError("a rule, and each part of and, or, not, is a yes-or-no question")
    return value


def _number(value: Any) -> Any:
    if _kind(value) != "number":
        raise RuleError("arithmetic needs numbers")
    return value


def _kind(value: Any) -> str:
    name = str(value.dtype) if _is_column(value) else type(value).__name__
    return _KINDS.get(name, "time")
