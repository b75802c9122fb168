"""Which rows decided a check: the mount, the image, the host, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from assess.policy import rules
from assess.score.evidence import Evidence

NAMED_BY = {  # the column that people know a row by
    "workloads": "workload_id",
    "mounts": "destination",
    "hosts": "host_id",
    "engines": "host_id",
    "images": "repository",
    "dependencies": "dst_id",
}
SHOWN_ROWS = 3


def with_rows(
    atoms: pd.DataFrame, evidence: Evidence, checks: list[Mapping[str, Any]]
) -> pd.DataFrame:
    """Return atoms with a column ``evidence``: what decided those that fail; empty for the others."""
    parts = [_against(check, evidence) for check in checks]
    texts = pd.concat(parts) if parts else pd.Series(dtype="str")
    keys = pd.MultiIndex.from_frame(atoms[["check", "service_id"]])
    found = texts.reindex(keys).fillna("").to_numpy()
    is_against = atoms["state"].isin(["fail", "partial"])
    return atoms.assign(
        evidence=pd.Series(found, atoms.index, dtype="str").where(is_against, "")
    )


def _against(check: Mapping[str, Any], evidence: Evidence) -> pd.Series:
    """Return by check and service the rows for which a check does not hold, in words."""
    table = evidence.views[check["table"]].table
    label = NAMED_BY.get(check["table"], "")
    shown = check.get("shows", [])
    columns = [name for name in (label, *shown) if name]
    if not columns:
        return pd.Series(dtype="str", index=pd.MultiIndex.from_arrays([[], []]))
    is_against = ~rules.evaluate(check["rule"], table, at=evidence.at)
    if "applies" in check:
        is_against &= rules.evaluate(check["applies"], table, at=evidence.at)
    rows = table.loc[is_against.fillna(value=False).astype(bool)]
    rows = rows.sort_values(columns, kind="stable")
    first = rows.groupby("service_id").head(SHOWN_ROWS)
    words = pd.Series(
        [_row(row, label, shown) for row in first[columns].to_dict("records")]
    )
    by_service = words.groupby(first["service_id"].to_numpy()).agg(_joined)
    more = rows.groupby("service_id").size().gt(SHOWN_ROWS).reindex(by_service.index)
    by_service = by_service.where(~more, by_service + " …")
    return pd.concat({check["id"]: by_service})


def _joined(words: pd.Series) -> str:
    return "; ".join(dict.fromkeys(words))


def _row(row: Mapping[str, Any], label: str, shown: list[str]) -> str:
    """Return a row as people know it, with the values that decide."""
    values = [f"{name} {word(row[name])}" for name in shown if pd.notna(row[name])]
    named = word(row[label]) if label and pd.notna(row[label]) else ""
    inside = ", ".join(values)
    if not named:
        return inside
    return f"{named} ({inside})" if inside else named


def word(value: object) -> str:
    """Return a value as a word of a sentence."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
