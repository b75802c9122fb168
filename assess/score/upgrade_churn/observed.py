"""What a snapshot saw itself: without what it carries forward from an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from assess.inventory import Inventory

ANSWERED = ("ok", "empty", "partial")


def observed(inventory: Inventory, frame: str) -> pd.DataFrame:
    """Leave out the rows that were carried forward: an earlier snapshot saw them, not this one."""
    table, coverage = inventory[frame], inventory["coverage"]
    carried = coverage[
        coverage["call"].eq(f"carried:{frame}") & coverage["status"].eq("stale")
    ]
    if carried.empty:
        return table
    answered = set(coverage.loc[coverage["status"].isin(ANSWERED), "source"])
    source = table["source"].str.split(";").str[0]
    is_old = pd.Series(False, index=table.index)
    for name, scope in carried[["source", "scope"]].itertuples(index=False):
        own = source.eq(name).fillna(False)
        is_old |= (
            own & table["source_ref"].eq(scope).fillna(False) if name in answered else own
        )
    return table[~is_old]


def cells(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Go through the rows of some columns; quicker than a frame of them for a small table."""
    return zip(*(table[name].tolist() for name in columns), strict=True)
