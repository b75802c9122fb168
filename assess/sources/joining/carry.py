"""Rows of an earlier snapshot about what this run could not see, carried forward as stale."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from assess.sources.base import Batch, Batches, type_of
from assess.sources.frames import add_table

if TYPE_CHECKING:
    from assess.inventory import Inventory

LOST = {"denied", "timeout", "unreachable", "throttled", "parse_error", "unsupported"}
SEEN = {"ok", "empty", "partial"}
_NEVER = {"coverage", "service_aliases", "services"}  # services follow their rows
Scope = tuple[str, str]  # type of the source, and what it was asked about


def carry_forward(previous: Inventory, batches: Batches, moment: datetime) -> Batches:
    """Return batches with the rows of an earlier snapshot about the scopes that this run lost.

    A scope that did not answer at all is carried whole. Of one that answered in part, a frame is
    carried of which it now has no row, unless one of its calls was empty: then nobody can tell
    what is gone from what was not seen, and what is gone must not come back. A source of which no
    scope answered is carried whole.
    """
    frames_now = _frames_now(batches)
    carried: Batches = []
    for source, scopes in _calls(batches).items():
        is_blind = not any(statuses & SEEN for statuses in scopes.values())
        for scope, statuses in scopes.items():
            if not statuses & LOST:
                continue
            rows = _rows_of(previous, source, None if is_blind else scope)
            if "empty" in statuses:
                rows = {}
            elif statuses & SEEN:
                now = frames_now[source, scope]
                rows = {frame: rows[frame] for frame in rows if frame not in now}
            if rows:
                age = _age(previous, source, scope, moment)
                carried.append((source, _batch(previous, rows, scope, age)))
            if is_blind:
                break  # one scope stands for all of them
    return carried


def _calls(batches: Batches) -> dict[str, dict[str, set[str]]]:
    """Collect the statuses of the calls of every scope, by source."""
    calls: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for label, batch in batches:
        for row in batch.coverage:
            calls[type_of(label)][row["scope"]].add(row["status"])
    return calls


def _frames_now(batches: Batches) -> dict[Scope, set[str]]:
    """Collect the frames of which every scope has rows in this run."""
    now: dict[Scope, set[str]] = defaultdict(set)
    for label, batch in batches:
        for frame, rows in batch.rows.items():
            for scope in {row.get("source_ref", "") for row in rows}:
                now[type_of(label), scope].add(frame)
    return now


def _rows_of(
    previous: Inventory, source: str, scope: str | None
) -> dict[str, pd.DataFrame]:
    """Select the rows of a scope, or of the whole source, in an earlier snapshot, by frame."""
    rows = {}
    for frame in previous.present - _NEVER:
        table = previous[frame]
        is_of_scope = table["source"].str.split(";").str[0].eq(source)
        if scope is not None:
            is_of_scope &= table["source_ref"].eq(scope)
        if is_of_scope.any():
            rows[frame] = table[is_of_scope]
    return rows


def _batch(
    previous: Inventory, rows: dict[str, pd.DataFrame], scope: str, age: float
) -> Batch:
    batch = Batch()
    hint = f"as of {previous.snapshot_at:%Y-%m-%d}, for it could not be seen now"
    ids: set[str] = set()
    for frame, table in rows.items():
        add_table(batch, frame, table)
        call = f"carried:{frame}"
        batch.cover(scope, call, "stale", rows=len(table), age_hours=age, hint=hint)
        if "service_id" in table:
            ids.update(table["service_id"].dropna())
    services = previous["services"]
    add_table(batch, "services", services[services["service_id"].isin(ids)])
    return batch


def _age(previous: Inventory, source: str, scope: str, moment: datetime) -> float:
    """Return the hours since the scope was seen; what was stale in the snapshot is older [h]."""
    hours = (pd.Timestamp(moment) - previous.snapshot_at).total_seconds() / 3600
    coverage = previous["coverage"]
    is_stale = coverage["status"].eq("stale")
    is_of_scope = coverage["source"].eq(source) & coverage["scope"].eq(scope)
    before = coverage.loc[is_of_scope & is_stale, "age_hours"].max()
    return round(hours + (0.0 if pd.isna(before) else float(before)), 1)
