"""Findings about images and containers: the workloads of other sources name their services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from assess.sources.base import Batch, Batches, Name, Row
from assess.sources.joining.identity import leaf, slug

FRAMES = ("answers", "services")
Key = tuple[str, ...]
Names = tuple[Name, ...]
_Index = dict[Key, dict[Names, None]]


def name_findings(batches: Batches) -> Batches:
    """Return batches in which rows ``about`` an image or container name the services that run it.

    A row about several services becomes several rows. One that fits nothing in the fleet is left
    out, and counted in a coverage row.
    """
    if not any(_has(batch, frame) for _, batch in batches for frame in FRAMES):
        return batches
    index = _index_of(batches)
    return [(label, _named(batch, index)) for label, batch in batches]


def _has(batch: Batch, frame: str) -> bool:
    return any("about" in row for row in batch.rows.get(frame, ()))


def _named(batch: Batch, index: _Index) -> Batch:
    for frame in FRAMES:
        if not _has(batch, frame):
            continue
        rows: list[Row] = []
        names_of_findings: list[dict[Names, None]] = []
        for row in batch.rows[frame]:
            if "about" not in row:
                rows.append(row)
                continue
            finding = dict(row)
            keys = map(_plain, finding.pop("about"))
            names = next((index[key] for key in keys if key in index), {})
            names_of_findings.append(names)
            rows += [finding | {"names": each} for each in names]
        batch = replace(batch, rows=defaultdict(list, batch.rows | {frame: rows}))
        coverage = _coverage(frame, list(map(bool, names_of_findings)))
        batch = replace(batch, coverage=[*batch.coverage, coverage])
    return batch


def _coverage(frame: str, is_named: list[bool]) -> Row:
    """Make the coverage row about the findings of a frame."""
    row = {
        "scope": frame,
        "call": "belongs to",
        "status": "ok",
        "rows": sum(is_named),
        "expected": len(is_named),
        "ratio": round(sum(is_named) / len(is_named), 4),
    }
    if not all(is_named):
        row |= {
            "status": "partial",
            "unmapped_n": len(is_named) - sum(is_named),
            "hint": "findings about images or containers that no other source lists",
        }
    return row


def _plain(key: Key) -> Key:
    return ("name", slug(key[1])) if key[0] == "name" else key


def _index_of(batches: Batches) -> _Index:
    """Index the names of workloads and services by all that a finding may know of them."""
    index: _Index = defaultdict(dict)
    for _, batch in batches:
        for row in [*batch.rows.get("workloads", ()), *batch.rows.get("services", ())]:
            names = row.get("names")
            if not names:
                continue
            for name in names:
                index["name", slug(leaf(name))][names] = None
            for key in _keys(row):
                index[key][names] = None
    return index


def _keys(row: Row) -> Iterator[Key]:
    if row.get("image_digest"):
        yield "digest", str(row["image_digest"])
    if row.get("repository"):
        image = (str(row.get("registry")), str(row["repository"]))
        yield ("image", *image, str(row.get("tag") or "latest"))
    if row.get("host_id") and row.get("name"):
        yield "container", str(row["host_id"]), str(row["name"])
