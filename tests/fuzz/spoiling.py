"""Spoil files as transfer, editors and attackers do: bytes, JSON values, and cells of a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

TOKENS = (
    b"\0",
    b"\r",
    b"\xed\xa0\x80",  # a lone surrogate, as bytes that are no UTF-8
    b"\\ud800",  # and as JSON writes it
    b"\x1b[2J",
    "\u202e".encode(),
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"'",
    b"{{ .Values.x }}",
    b"<<: *b",
    b"&b [*b]",
    b"${A:-${A}}",
    b"=cmd()",
    b"://" + b":" * 200,
    b"[" * 2000,
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:59Z",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "\ud800",
    "\u202e",
    "\x1b[2J",
    "a" * 3000,
    "x://" + ":" * 3000,
    "9" * 400,
    "50%",
    "-5",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    [],
    {},
    [[]],
    [None, 3, "x", {}],
    {"": {"": []}},
)

TOML_VALUES = (
    "true",
    "-1",
    "0",
    "1.5",
    "inf",
    "nan",
    "9223372036854775807",
    '""',
    '"\\u0000"',
    '"nobody"',
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "[]",
    "[1]",
    '["a"]',
    "[[]]",
    "{}",
    "{ a = 1 }",
)


def spoil_bytes(data: bytes, random: Random) -> bytes:
    """Change up to four places: drop, repeat or overwrite bytes, or write a token there."""
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((1, 8, 64, 4096)))
        piece = random.choice(
            (
                b"",
                data[start:end] * 2,
                random.randbytes(end - start),
                random.choice(TOKENS),
            )
        )
        data = data[:start] + piece + data[end:]
    return data


def spoil_json(data: bytes, random: Random) -> bytes:
    """Replace one to three values of a JSON document, wherever they are."""
    tree = json.loads(data)
    for _ in range(random.randint(1, 3)):
        places = list(_places(tree))
        if not places:
            break
        holder, key = random.choice(places)
        holder[key] = random.choice(VALUES)
    return json.dumps(tree).encode()


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """List the holder and the key of every value below a value."""
    places = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return places


def spoil_cells(data: bytes, random: Random) -> bytes:
    """Replace one to three cells of a CSV table, its head included."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(random.randint(1, 3)):
        row = random.choice(rows)
        if row:
            row[random.randrange(len(row))] = str(random.choice(VALUES))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogatepass")


def spoil_toml(data: bytes, random: Random) -> bytes:
    """Give one to three keys of a TOML file another value."""
    text = data.decode()
    for _ in range(random.randint(1, 3)):
        found = random.choice([*re.finditer(r"(?m)^[\w.-]+ = (.+)$", text)])
        value = random.choice(TOML_VALUES)
        text = text[: found.start(1)] + value + text[found.end(1) :]
    return text.encode()


def spoil(name: str, data: bytes, random: Random) -> bytes:
    """Spoil the content of a file, by its structure as often as by its bytes."""
    structural: dict[str, Callable[[bytes, Random], bytes]] = {
        "json": spoil_json,
        "csv": spoil_cells,
        "toml": spoil_toml,
    }
    by_structure = structural.get(name.rpartition(".")[2])
    if by_structure is not None and random.random() < 0.5:
        try:
            return by_structure(data, random)
        except (ValueError, TypeError):  # a seed that is broken on purpose
            return spoil_bytes(data, random)
    return spoil_bytes(data, random)
