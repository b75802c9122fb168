"""The tables of facts, as they are on disk."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

from assess.errors import AssessError

INDEX = "index"


@cache
def _read(name: str) -> pd.DataFrame:
    with (files("assess.reference") / f"{name}.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle, dtype=str, keep_default_na=False, na_values=[""])


def tables() -> pd.DataFrame:
    """List the tables of facts: index ``table``; ``rows``, ``key``, ``compiled_on``, ``doc``."""
    listed = _read(INDEX).set_index("table")
    listed.insert(0, "rows", [len(_read(name)) for name in listed.index])
    return listed


def table(name: str) -> pd.DataFrame:
    """Give one table, every cell as text, so that 20.10 keeps its zero; an empty cell is NA."""
    known = _read(INDEX)["table"]
    if name not in set(known):
        raise AssessError(f"there is no table {name!r}", hint=f"tables: {', '.join(known)}")
    return _read(name).copy()


@cache
def rows(name: str) -> list[dict[str, str]]:
    """Give the rows of one table, an empty cell as empty text."""
    return [dict(row) for row in _read(name).fillna("").to_dict("records")]


@cache
def compiled_on() -> str:
    """Give the day on which the oldest of the tables was compiled, as ``YYYY-MM-DD``."""
    return str(_read(INDEX)["compiled_on"].min())
