"""Read untrusted files within limits: no file costs more than 1 GiB of memory."""

import re
import stat
from pathlib import Path

MAX_TABLE_BYTES = 64 << 20
MAX_MAP_BYTES = 4 << 20  # of what people write by hand
MAX_RECORDS = 100_000  # of a file that becomes a row for each
MAX_MEMORY = 850 << 20  # of one file or answer, as text and as values
VALUE_COST = 150  # of a value, in bytes: "[[],[],…" takes 30 times its size
CELL_COST = 300  # of a table, and of each of its rows


def read_limited(file: Path, limit: int) -> bytes:
    """Read a regular file; never hold more of it in memory than the limit."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe never ends, nor does /dev/zero
        raise ValueError("it is no regular file, and only such are read")
    raw = b""
    if found.st_size <= limit:
        with file.open("rb") as stream:
            raw = stream.read(limit + 1)  # it may grow
    if max(found.st_size, len(raw)) > limit:
        raise ValueError(f"one file is beyond the limit of {limit >> 20} MB, split it")
    return raw


def refuse_costly(raw: bytes, signs: bytes = b",[{", cost: int = VALUE_COST) -> None:
    """Raise ValueError where a text, and the values parsed from it, would take too much memory."""
    # bytes a character of Python's text: 1 if ASCII, 4 if any needs four bytes of UTF-8
    width = 1 if raw.isascii() else 4 if re.search(rb"[\xf0-\xff]", raw) else 2
    values_n = sum(raw.count(sign) for sign in signs)
    if len(raw) * (1 + width) + values_n * cost > MAX_MEMORY:
        raise ValueError(f"{values_n:,} values: the limit is {MAX_MEMORY >> 20} MB")


def refuse_many(found_n: int, limit: int = MAX_RECORDS, what: str = "records") -> None:
    """Raise ValueError where something holds more records than the limit."""
    if found_n > limit:
        raise ValueError(f"it holds more {what} than the limit of {limit:,}, split it")
