"""Read values of payloads: each reader returns its type or nothing, and never raises.

All readers follow keys and positions first: ``text(pod, "metadata", "name")``.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, TypeVar

from assess.sources.csv_records import lookup, rows, vocabulary

T = TypeVar("T")
Step = str | int  # a key of an object, or a position in a list
Object = dict[str, Any]  # of a payload
Words = tuple[str, ...]
Texts = dict[str, str]  # by name, such as labels, tags and variables
TextLists = dict[str, list[str]]  # by name
MIB = 2**20
MAX_CELL = 200  # characters of a name or a version; more is no name
_NANO = 1e9
_LAST_S = 1e11  # in the year 5138; a larger number of 13 digits counts milliseconds
NEVER_BEFORE = 2000  # year; engines write 0001 and 1970 for "never"
_MEMORY = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([bkmgt]?)i?b?", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|[smhdw])")
_QUANTITY = re.compile(r"\s*([0-9.]+(?:[eE][+-]?\d{1,2})?)([a-zA-Z]*)\s*")
# ``+0200`` and the name of a zone, as the command lines of engines print times.
_ZONE = re.compile(r" ?([+-]\d\d):?(\d\d)( [\w+-]+)?$")


def dig(value: Any, *path: Step) -> Any:
    """Follow keys and positions into a payload; None where it has another shape."""
    for step in path:
        if isinstance(step, int):
            is_there = isinstance(value, list) and -len(value) <= step < len(value)
        else:
            is_there = isinstance(value, dict) and step in value
        if not is_there:
            return None
        value = value[step]
    return value


def listed(value: Any, *path: Step) -> list[Any]:
    """Return a list; an empty one for any other value."""
    value = dig(value, *path)
    return value if isinstance(value, list) else []


def dicts(value: Any, *path: Step) -> list[Object]:
    """List the objects of a list; none where it has another shape."""
    return [item for item in listed(value, *path) if isinstance(item, dict)]


def texts(value: Any, *path: Step) -> list[str]:
    """List the texts of a list; none where it has another shape."""
    return [item for item in listed(value, *path) if isinstance(item, str)]


def text(value: Any, *path: Step) -> str:
    """Return a text without NUL; empty for any other value."""
    value = dig(value, *path)
    return value.replace("\0", "") if isinstance(value, str) else ""


def leaf(value: Any, *path: Step) -> str:
    """Return the last part of a path in a payload, such as a name or an id."""
    return text(value, *path).rpartition("/")[2]


def table(value: Any, *path: Step) -> Object:
    """Return an object; an empty one for any other value."""
    value = dig(value, *path)
    return value if isinstance(value, dict) else {}


def number(value: Any, *path: Step) -> float | None:
    """Read a number of zero or more, also from a text; None for any other value."""
    value = dig(value, *path)
    # True is an int in Python, and would be read as 1
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) and read >= 0 else None


def integer(value: Any, *path: Step) -> int | None:
    """Read a count that fits into a 64-bit column."""
    count = number(value, *path)
    return int(count) if count is not None and count < 2**63 else None


def int_of(value: Any, *path: Step) -> int | None:
    """Return a whole number of any sign as it is; None for any other value, a switch too."""
    value = dig(value, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_of(value: Any, *path: Step) -> str:
    """Return an id as text, which tools write as a text or a whole number."""
    number = int_of(value, *path)
    return text(value, *path) if number is None else str(number)


def cell(value: Any, *path: Step) -> str:
    """Return a text, or a number as text, without characters that no name has; else nothing."""
    value = dig(value, *path)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return " ".join(str(value).replace("\0", "").split())[:MAX_CELL]


def whole(value: Any, *path: Step) -> int | None:
    """Return a whole number of a cell that is not negative; None for anything else."""
    digits = cell(value, *path)
    return int(digits) if re.fullmatch(r"\d{1,18}", digits) else None


def first_known(*values: Any) -> Any:
    """Return the first value that is not None; None without any."""
    return next((value for value in values if value is not None), None)


def only(found: Collection[T]) -> T | None:
    """Return the only one; None where there is another, or none."""
    return next(iter(found)) if len(found) == 1 else None


def is_true(value: Any) -> bool:
    """Read a switch as people write it, off by default."""
    return str(value).strip().lower() in ("true", "yes", "on", "1", "y")


def memory_size(value: Any) -> int | None:
    """Read an amount of memory as engines take it, such as ``512m`` or ``1.5gb`` [bytes]."""
    size = _MEMORY.fullmatch(str(value or "").strip())
    if not size:
        return None
    factor = 1024 ** "bkmgt".find(size[2].lower())
    return integer(float(size[1]) * factor)


def quantity(value: Any, *path: Step) -> float | None:
    """Read an amount of Kubernetes, such as ``500m``, ``128Mi`` or ``1e3``."""
    value = dig(value, *path)
    if not isinstance(value, str):
        return number(value)
    units = vocabulary("kubernetes", "units")
    parts = _QUANTITY.fullmatch(value)
    if not parts or parts[2] not in units:
        return None
    amount = number(parts[1])
    return None if amount is None else amount * float(units[parts[2]])


def duration(value: Any, *path: Step) -> float | None:
    """Read a length of time such as ``30.2s``, ``1m0s`` or ``7d`` [s]; None for anything else."""
    span = cell(value, *path)
    parts = _SPAN.findall(span)
    if not parts or "".join(map("".join, parts)) != span:
        return None
    units = lookup("time_units", "unit", "seconds")
    return sum(float(amount) * float(units[unit]) for amount, unit in parts)


def percent(part: float | None, of: float | None) -> float | None:
    """Return a share [percent]; None where the whole is zero or unknown."""
    return None if part is None or not of else min(max(100 * part / of, 0.0), 100.0)


def without_none(row: Mapping[str, Any]) -> Object:
    """Return the columns of a row that are known."""
    return {name: value for name, value in row.items() if value is not None}


def by_name(value: Any, *path: Step, key: str = "name") -> dict[str, Object]:
    """Index the objects of a list that have a name by it; of equal names the last one counts."""
    found = {text(item, key): item for item in dicts(value, *path)}
    found.pop("", None)
    return found


def joined(texts: Iterable[str | None]) -> str | None:
    """Join the texts of a cell by semicolons, each once; None without any."""
    return ";".join(dict.fromkeys(filter(None, texts))) or None


def parts_of_cell(cell: object) -> list[str]:
    """Return the texts that a cell joins by semicolons."""
    return [part for part in str(cell or "").split(";") if part]


def as_list(value: Any, *path: str) -> list[Any]:
    """Return a list as it is, None as an empty list, and anything else as a list of itself."""
    value = dig(value, *path)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def total(sizes: Iterable[Any]) -> Any:
    """Add up sizes; None where one of them is unknown, or without any."""
    known = list(sizes)
    return sum(known) if known and None not in known else None


def healthy(lost: float | None) -> float | None:
    """Return the share that must stay healthy, from the share that may be lost [percent]."""
    # Rounded down: rounded up, two of three replicas would be three.
    return None if lost is None else math.floor((100 - lost) * 100 + 1e-6) / 100


def spoiled(payload: Any, forms: Texts) -> list[str]:
    """List the entries of lists that do not have the form of their list, in words.

    ``forms`` has a regular expression for the entries of each list of texts, by its name; an empty
    one stands for objects with at least one key.
    """
    found = []
    waiting = [payload]
    for value in waiting:  # the list grows: inner values come after the outer ones
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            for name in forms.keys() & value.keys():
                for n, entry in enumerate(listed(value, name)):
                    if not _has_form(entry, forms[name]):
                        found.append(f"{name}[{n}] is {_form_of(entry)}")
    return found


def _has_form(entry: Any, form: str) -> bool:
    if form:
        return isinstance(entry, str) and re.fullmatch(form, entry) is not None
    return isinstance(entry, dict) and bool(entry)


def _form_of(value: Any) -> str:
    """Name the kind of a value; the value itself may be a secret."""
    if value is None:
        return "null"
    kinds = {
        bool: "true or false",
        str: "another text",
        list: "a list",
        dict: "another object",
    }
    return kinds.get(type(value), "a number")


def moment(value: Any, *path: Step) -> datetime | None:
    """Read ISO-8601, (milli)seconds since 1970, ``2026-11-23 23:33:14 +0200 CEST``; None for zero."""
    value = dig(value, *path)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float | str | datetime):
        return None
    try:
        if isinstance(value, datetime):  # as an SDK reads it
            time = value
        elif isinstance(value, str):
            time = datetime.fromisoformat(_ZONE.sub(r"\1:\2", value.strip()))
        else:
            has_millis = _LAST_S < value < 100 * _LAST_S
            time = datetime.fromtimestamp(value / (1000 if has_millis else 1), UTC)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.year >= NEVER_BEFORE else None


def mebibytes(value: Any, *path: Step) -> int | None:
    """Read an amount of memory in MiB [bytes]; None for zero, which is no limit."""
    return integer((number(value, *path) or 0) * MIB) or None


def billionths(value: Any, *path: Step) -> float | None:
    """Read a number of billionths, in which engines count seconds and CPUs."""
    count = number(value, *path)
    return None if count is None else count / _NANO


_FLAGS = {"1": True, "0": False, "true": True, "false": False}

# readers of values, by their word in `columns.csv`; an empty text is unknown, except for a word
_READ: dict[str, Callable[..., Any]] = {
    "any": dig,
    "cell": lambda value, *path: cell(value, *path) or None,
    "count": integer,
    "flag": lambda value, *path: _FLAGS.get(cell(value, *path).lower()),
    "host": lambda value, *path: dig(value, *path) == "host",
    "leaf": leaf,
    # zero is no limit
    "limit": lambda value, *path: integer(value, *path) or None,
    "list": lambda value, *path: tuple(texts(value, *path)),
    "mib": mebibytes,
    "nano": billionths,
    "nano limit": lambda value, *path: billionths(value, *path) or None,
    "number": number,
    "quantity": quantity,
    "on": lambda value, *path: dig(value, *path) is True,
    # that a page ends before the last of all, by where it starts and how much it may hold
    "rest": lambda page, end, *parts: (
        0 < sum(integer(page, n) or 0 for n in parts) < (integer(page, end) or 0) or None
    ),
    "switch": lambda value, *path: is_true(dig(value, *path)),
    "text": lambda value, *path: text(value, *path) or None,
    "texts": texts,
    "time": moment,
    "whole": whole,
    "whole quantity": lambda value, *path: integer(quantity(value, *path)),
    "word": text,
}


def _reader(kind: str) -> Callable[..., Any]:
    """Return the reader of a kind; ``nomad/states`` stands for the words of that vocabulary."""
    source, is_listed, listed = kind.partition("/")
    if not is_listed:
        return _READ[kind]
    words = vocabulary(source, listed)
    return lambda value, *path: words.get(str(dig(value, *path)))


@cache
def _cells_of(form: str) -> list[tuple[str, Callable[..., Any], list[Step]]]:
    return [
        (
            row["column"],
            _reader(row["kind"]),
            [int(s) if s.isdigit() else s.replace("+", " ") for s in row["path"].split()],
        )
        for row in rows("columns")
        if row["form"] == form
    ]


def picked(payload: Any, form: str) -> Object:
    """Return what a form of payload fills by `columns.csv`: of several paths the first with a value."""
    found: Object = {}
    for column, read, path in _cells_of(form):
        if found.get(column) is None:
            found[column] = read(payload, *path)
    return found
