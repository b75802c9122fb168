"""Read the tables of facts: the packaged ones, overridden by newer ones on disk."""

import os
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from assess.errors import no_such

Row = dict[str, str]  # cells by column; what is unknown is empty text

INDEX = "index"
PACKAGED = files("assess.reference")
STALE_DAYS = 180  # facts that are older say nothing of what is newest
# texts of the fleet are looked up again and again, and there is no end to them
cached = lru_cache(maxsize=4096)
PLACE = "ASSESS_FACTS"  # directory of newer tables; empty for only those that came along


def newer() -> Path:
    """Return the directory of updated tables, which may not exist."""
    named = os.environ.get(PLACE)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data, "assess", "facts") if named is None else Path(named or os.devnull)


def _csv(home: Traversable | Path, name: str) -> DataFrame:
    with (home / f"{name}.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle, dtype=str, keep_default_na=False, na_values=[""])


@cache
def _days() -> dict[str, str]:
    """Return the days of updated tables that are newer than the packaged ones."""
    if not (newer() / f"{INDEX}.csv").is_file():
        return {}
    days = _compiled(newer())
    own = _compiled(PACKAGED)
    # "9999": a table that did not come along is never read
    return {table: day for table, day in days.items() if day > own.get(table, "9999")}


def _compiled(home: Traversable | Path) -> dict[str, str]:
    """Return the day on which each table of a directory was compiled."""
    return _csv(home, INDEX).set_index("table")["compiled_on"].to_dict()


@cache
def read(name: str) -> DataFrame:
    """Read a table, every cell as text; it is shared and must not be changed."""
    days = _days()
    if name == INDEX:
        index = _csv(PACKAGED, INDEX)
        return index.assign(compiled_on=index["table"].map(_compiled(PACKAGED) | days))
    return _csv(newer() if name in days else PACKAGED, name)


def tables() -> DataFrame:
    """List the tables of facts: index ``table``; ``rows, key, compiled_on, doc, origin``."""
    listed = read(INDEX).set_index("table")
    listed["origin"] = [
        "updated" if name in _days() else "packaged" for name in listed.index
    ]
    listed.insert(0, "rows", [len(read(name)) for name in listed.index])
    return listed


def table(name: str) -> DataFrame:
    """Return one table, every cell as text, so that 20.10 keeps its zero; an empty cell is NA."""
    known = read(INDEX)["table"]
    if name not in set(known):
        raise no_such("table", name, known)
    return read(name).copy()


@cache
def rows(name: str) -> list[Row]:
    """Return the rows of one table; an empty cell is empty text."""
    return [dict(row) for row in read(name).fillna("").to_dict("records")]


@cache
def lookup(name: str, key: str, value: str) -> dict[str, str]:
    """Return one column of a table by the cells of another."""
    return {row[key]: row[value] for row in rows(name)}


@cache
def compiled_on(*names: str) -> str:
    """Return the day when the oldest of these tables, or of all, was compiled (``YYYY-MM-DD``)."""
    index = read(INDEX)
    days = index[index["table"].isin(names)] if names else index
    return str(days["compiled_on"].min())


@cache
def outdated(at: pd.Timestamp) -> list[str]:
    """List the tables that were compiled more than 180 days before a moment."""
    index = read(INDEX)
    ages = at - pd.to_datetime(index["compiled_on"], utc=True)
    return index.loc[ages > pd.Timedelta(days=STALE_DAYS), "table"].tolist()
