"""What a run could not see, as an earlier snapshot knew it: carried forward, and called stale."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from assess.sources.base import Batch
from assess.sources.frames.source import add_table

if TYPE_CHECKING:
    from assess.inventory import Inventory

LOST = ("denied", "timeout", "unreachable", "throttled", "parse_error", "unsupported")
SEEN = ("ok", "empty", "partial")
_NEVER = (
    "coverage",
    "service_aliases",
    "services",
)  # services follow the rows that name them
Scope = tuple[str, str]  # type of the source, and what it was asked about


def carry_forward(
    previous: Inventory, batches: list[tuple[str, Batch]], moment: datetime
) -> list[tuple[str, Batch]]:
    """Give batches with what an earlier snapshot knew of the scopes that this run lost.

    A scope that did not answer at all is carried whole. Of one that answered in part, a frame is
    carried of which it now gives no row, unless one of its calls found nothing: then nobody can
    tell what is gone from what was not seen, and what is gone must not come back. A source of which
    no scope answered is carried whole.
    """
    given = _given(batches)
    carried: list[tuple[str, Batch]] = []
    for source, scopes in _calls(batches).items():
        is_blind = not any(statuses & {*SEEN} for statuses in scopes.values())
        for scope, statuses in scopes.items():
            if not statuses & {*LOST}:
                continue
            rows = _rows_of(previous, source, None if is_blind else scope)
            if statuses & {*SEEN}:
                now = given[source, scope]
                rows = {
                    f: t
                    for f, t in rows.items()
                    if f not in now and "empty" not in statuses
                }
            if rows:
                age = _age(previous, source, scope, moment)
                carried.append((source, _batch(previous, rows, scope, age)))
            if is_blind:
                break  # one scope stands for all of them
    return carried


def _calls(batches: list[tuple[str, Batch]]) -> dict[str, dict[str, set[str]]]:
    """Statuses of the calls of every scope, by source."""
    calls: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for label, batch in batches:
        for row in batch.coverage:
            calls[label.partition("#")[0]][row["scope"]].add(row["status"])
    return calls


def _given(batches: list[tuple[str, Batch]]) -> dict[Scope, set[str]]:
    """Frames of which every scope gave rows."""
    given: dict[Scope, set[str]] = defaultdict(set)
    for label, batch in batches:
        for frame, rows in batch.rows.items():
            for scope in {row.get("source_ref", "") for row in rows}:
                given[label.partition("#")[0], scope].add(frame)
    return given


def _rows_of(
    previous: Inventory, source: str, scope: str | None
) -> dict[str, pd.DataFrame]:
    """Rows that a scope, or the whole source, gave to an earlier snapshot, by frame."""
    found = {}
    for frame in previous.present - {*_NEVER}:
        table = previous[frame]
        mine = table["source"].str.split(";").str[0].eq(source)
        if scope is not None:
            mine &= table["source_ref"].eq(scope)
        if mine.any():
            found[frame] = table[mine]
    return found


def _batch(
    previous: Inventory, rows: dict[str, pd.DataFrame], scope: str, age: float
) -> Batch:
    batch = Batch()
    since = f"as of {previous.snapshot_at:%Y-%m-%d}, for it could not be seen now"
    for frame, table in rows.items():
        add_table(batch, frame, table)
        call = f"carried:{frame}"
        batch.cover(scope, call, "stale", rows=len(table), age_hours=age, hint=since)
    ids = {
        i for t in rows.values() if "service_id" in t for i in t["service_id"].dropna()
    }
    services = previous["services"]
    add_table(batch, "services", services[services["service_id"].isin(ids)])
    return batch


def _age(previous: Inventory, source: str, scope: str, moment: datetime) -> float:
    """Hours since it was seen; what was stale then is older [h]."""
    hours = (pd.Timestamp(moment) - previous.snapshot_at).total_seconds() / 3600
    then = previous["coverage"]
    stale = then[
        then["source"].eq(source) & then["scope"].eq(scope) & then["status"].eq("stale")
    ]
    older = stale["age_hours"].max()
    return round(hours + (0.0 if pd.isna(older) else float(older)), 1)
