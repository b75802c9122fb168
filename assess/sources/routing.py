"""Routing: which services a proxy opens to the outside because their labels tell it to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from assess.image_ref import last_part
from assess.linear import Linear
from assess.sources.csv_records import rows
from assess.sources.unit import Unit

_WORDS = re.compile(r"[\W_]+")
_NOBODY = ""  # proxy of a row that says that none routes it


def routers_of(labels: Mapping[str, Any], unit: Unit) -> set[str]:
    """Return the proxies that labels and variables of a service tell to route to it."""
    given = {"label": labels, "variable": dict(unit.environment)}
    found = {
        row["proxy"]
        for row in rows("routing")
        for name, value in given[row["what"]].items()
        if _fits(row["pattern"], name) and _fits(row["value"], value)
    }
    return set() if _NOBODY in found else found


def is_router(unit: Unit, proxy: str) -> bool:
    """Return whether an image is that of a proxy."""
    name = last_part(unit.image_ref.repository)
    return name == proxy or proxy in _WORDS.split(name)


def _fits(pattern: str, value: Any) -> bool:
    return _pattern(pattern).fullmatch(str(value)) is not None


@cache
def _pattern(text: str) -> Linear:
    return Linear(text, ignore_case=True)
