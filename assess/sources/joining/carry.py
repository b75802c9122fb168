"""Carry forward rows of an earlier snapshot, as stale, for scopes that this run could not read."""

from collections import defaultdict
from datetime import datetime

import pandas as pd

from assess.inventory import ANSWERED, Inventory
from assess.sources.base import Batch, Batches, type_of
from assess.sources.deploys.measured import STATED
from assess.sources.frames import add_table

LOST = {"denied", "timeout", "unreachable", "throttled", "parse_error", "unsupported"}
_NEVER = {"coverage", "service_aliases"}
Scope = tuple[str, str]  # type of the source, and what it was asked about


def carry_forward(previous: Inventory, batches: Batches, moment: datetime) -> Batches:
    """Return batches with rows of an earlier snapshot for the scopes that this run lost."""
    # A scope that did not answer at all is carried whole. If it answered in part, a frame
    # is carried if it now has no row of it, unless one of its calls was empty: then it is
    # unclear which rows are gone and which were not seen, and gone rows must not come back.
    # A source of which no scope answered is carried whole.
    statuses: dict[Scope, set[str]] = defaultdict(set)
    frames_now: dict[Scope, set[str]] = defaultdict(set)
    for label, batch in batches:
        source = type_of(label)
        for row in batch.coverage:
            statuses[source, row["scope"]].add(row["status"])
        for frame, rows in batch.rows.items():
            for row in rows:
                frames_now[source, row.get("source_ref", "")].add(frame)
    seeing = {
        source for (source, _), calls in statuses.items() if calls.intersection(ANSWERED)
    }
    whole: set[str] = set()  # sources that were carried whole
    carried = []
    for (source, scope), calls in statuses.items():
        if not calls & LOST or source in whole:
            continue
        tables = _rows_of(previous, source, scope if source in seeing else None)
        if source not in seeing:
            whole.add(source)
        if calls.intersection(ANSWERED):
            now = frames_now[source, scope]
            tables = {frame: tables[frame] for frame in tables if frame not in now}
        if tables and "empty" not in calls:
            age = _age(previous, source, scope, moment)
            carried.append((source, _batch(previous, tables, scope, age)))
    return carried


def _rows_of(
    previous: Inventory, source: str, scope: str | None
) -> dict[str, pd.DataFrame]:
    """Select the rows of a scope, or of the whole source, in an earlier snapshot, by frame."""
    rows = {}
    for frame in previous.present - _NEVER:
        table = previous[frame]
        is_of_scope = _is_from(source, frame, table["source"])
        if scope is not None:
            is_of_scope &= table["source_ref"].eq(scope)
        if is_of_scope.any():
            # where a service runs follows from its workloads, of now or carried
            rows[frame] = table[is_of_scope].drop(columns="platform", errors="ignore")
    return rows


def _is_from(source: str, frame: str, sources: pd.Series) -> pd.Series:
    """Return which rows of a frame came from a type of source."""
    if frame == source == "answers":
        # their column names the tool or the person behind an answer
        return sources.ne(STATED)
    # a merged row names all its sources; the first one won
    names = sources.fillna("").str.split(";")
    return names.map(lambda them: source in (them if frame == "services" else them[:1]))


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
        if "service_id" in table and frame != "services":
            ids.update(table["service_id"].dropna())
    services = previous["services"]
    add_table(batch, "services", services[services["service_id"].isin(ids)])
    return batch


def _age(previous: Inventory, source: str, scope: str, moment: datetime) -> float:
    """Return the hours since the scope was read; rows already stale then are older [h]."""
    hours = (pd.Timestamp(moment) - previous.snapshot_at).total_seconds() / 3600
    coverage = previous["coverage"]
    is_stale = coverage["status"].eq("stale")
    is_of_scope = coverage["source"].eq(source) & coverage["scope"].eq(scope)
    before = coverage.loc[is_of_scope & is_stale, "age_hours"].max()
    return round(hours + (0.0 if pd.isna(before) else float(before)), 1)
