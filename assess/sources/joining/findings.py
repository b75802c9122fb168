"""Findings about images and containers: which services they concern, other sources tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from assess.sources.base import Batch, Name, Row
from assess.sources.joining.names import leaf, slug

FRAMES = ("answers", "services")
Key = tuple[str, ...]
Names = tuple[Name, ...]


def settle(batches: list[tuple[str, Batch]]) -> None:
    """Put the names of the workloads that a finding is ``about`` in its place, in place.

    A finding that nothing in the fleet fits is left out, and counted in a coverage row.
    """
    concerned = [
        (batch, frame) for _, batch in batches for frame in FRAMES if _has(batch, frame)
    ]
    if not concerned:
        return
    index = _index(batch for _, batch in batches)
    for batch, frame in concerned:
        rows, lost_n, found_n = list[Row](), 0, 0
        for row in batch.rows[frame]:
            if "about" not in row:
                rows.append(row)
                continue
            about = row.pop("about")
            names = next((index[key] for key in map(_plain, about) if key in index), {})
            rows += [row | {"names": name} for name in names]
            lost_n, found_n = lost_n + (not names), found_n + bool(names)
        batch.rows[frame][:] = rows
        total = lost_n + found_n
        note = batch.cover(frame, "belongs to", "ok", rows=found_n, expected=total)
        note["ratio"] = round(found_n / total, 4)
        if lost_n:
            note |= {"status": "partial", "unmapped_n": lost_n}
            note["hint"] = (
                "findings about images or containers that no other source lists"
            )


def _has(batch: Batch, frame: str) -> bool:
    return any("about" in row for row in batch.rows.get(frame, ()))


def _plain(key: Key) -> Key:
    return ("name", slug(key[1])) if key[0] == "name" else key


def _index(batches: Iterator[Batch]) -> dict[Key, dict[Names, None]]:
    """Names of the services of workloads, by all that a finding may know of them."""
    index: dict[Key, dict[Names, None]] = defaultdict(dict)
    for batch in batches:
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
