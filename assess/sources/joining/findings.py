"""Assign findings about images and containers to the services that run them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from assess.sources.answers.vex import settle_images
from assess.sources.base import Batch, Batches, Names, Row, belonging, rows_of
from assess.sources.joining.identity import leaf, slug

FRAMES = ("answers", "services")
_UNLISTED = "findings about images or containers that no other source lists"
Key = tuple[str, ...]
_Index = dict[Key, dict[Names, None]]


def name_findings(batches: Batches) -> Batches:
    """Return batches in which rows ``about`` an image or container name the services that run it."""
    # A row about several services becomes several rows. One that fits nothing in the
    # fleet is left out, and counted in a coverage row. Images get their keys first, then
    # VEX is applied.
    batches = settle_images(batches)
    if not any("about" in row for row in rows_of(batches, *FRAMES)):
        return batches
    index = _index_of(batches)
    return [(label, _named(batch, index)) for label, batch in batches]


def _named(batch: Batch, index: _Index) -> Batch:
    for frame in FRAMES:
        rows = batch.rows.get(frame, [])
        findings = [row for row in rows if "about" in row]
        if not findings:
            continue
        named = [row for row in rows if "about" not in row]
        known_n = 0
        for finding in findings:
            row = dict(finding)
            keys = map(_plain, row.pop("about"))
            names = next((index[key] for key in keys if key in index), {})
            known_n += bool(names)
            named += [row | {"names": each} for each in names]
        note = belonging(frame, "belongs to", known_n, len(findings), _UNLISTED)
        note["ratio"] = round(known_n / len(findings), 4)
        batch = replace(
            batch,
            rows=defaultdict(list, batch.rows | {frame: named}),
            coverage=[*batch.coverage, note],
        )
    return batch


def _plain(key: Key) -> Key:
    return ("name", slug(key[1])) if key[0] == "name" else key


def _index_of(batches: Batches) -> _Index:
    """Index the names of workloads and services by every key that a finding may use."""
    index: _Index = defaultdict(dict)
    for row in rows_of(batches, "workloads", "services"):
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
