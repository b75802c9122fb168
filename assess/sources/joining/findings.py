"""Findings and samples: assign what is about images and containers to who runs them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from assess.inventory import BESIDE
from assess.sources.answers.vex import settle_images
from assess.sources.base import Batch, Batches, Names, Row, belonging, rows_of
from assess.sources.joining.hosts import ID_LENGTH
from assess.sources.joining.identity import leaf, slug
from assess.sources.usage import About, Sample, columns_of
from assess.sources.values import only, text, without_none

FRAMES = ("answers", "services")
_UNLISTED = "findings about images or containers that no other source lists"
_UNMEASURED = "use of containers that no other source lists: they have ended, or are of another host"
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


class _Workloads:
    """Workloads by every key that a sample may use."""

    def __init__(self, batches: Batches) -> None:
        self.rows: dict[str, Row] = {}
        self._ids: dict[Key, dict[str, None]] = defaultdict(dict)
        for _, batch in batches:
            for row in batch.rows.get("workloads", ()):
                self.rows.setdefault(row["workload_id"], row)
                for key in _sample_keys(row, batch):
                    self._ids[key][row["workload_id"]] = None
        self._has_beside = {
            above
            for workload_id, row in self.rows.items()
            if row.get("container_role") == "sidecar"
            and (above := workload_id.rpartition("/")[0]) in self.rows
        }

    def find(self, about: About) -> str | None:
        """Return the workload of the first key that fits exactly one."""
        for key in about:
            if found := only(self._ids.get(key[:3], ())):
                return self._container(found, key[3:])
        return None

    def _container(self, main: str, named: Key) -> str | None:
        """Return the container of a pod; None for the total of a pod with several containers."""
        container = named[0] if named else ""
        if f"{main}/{container}" in self.rows:
            return f"{main}/{container}"
        is_whole = named == ("",) and main in self._has_beside
        return None if is_whole else main


def _sample_keys(row: Row, batch: Batch) -> Iterator[Key]:
    workload_id = row["workload_id"]
    yield "id", workload_id.rpartition("/")[2]
    for identifier in batch.container_ids.get(workload_id, ()):
        yield "id", identifier[:ID_LENGTH]
    name = row.get("name")
    if name and row.get("container_role") not in BESIDE:
        yield "name", str(name)
        yield "pod", text(row, "namespace"), str(name)
        yield "pod", "", str(name)  # a list of one namespace does not name it


def settle_usage(batches: Batches) -> Batches:
    """Return batches in which samples are columns of the workloads that they measure."""
    if not any(batch.usage for _, batch in batches):
        return batches
    index = _Workloads(batches)
    by_workload: dict[str, list[Sample]] = defaultdict(list)
    settled = []
    for label, batch in batches:
        own = {}
        for sample in batch.usage:
            own[sample.about] = found = index.find(sample.about)
            if found is not None:
                by_workload[found].append(sample)
        known_n = sum(found is not None for found in own.values())
        note = belonging("workloads", "use belongs to", known_n, len(own), _UNMEASURED)
        covered = [*batch.coverage, note] if own else batch.coverage
        settled.append((label, replace(batch, coverage=covered, usage=[])))
    columns = {
        workload_id: without_none(columns_of(samples))
        for workload_id, samples in by_workload.items()
    }

    def fill(frame: str, row: Row) -> Row:
        return row | columns.get(row["workload_id"], {}) if frame == "workloads" else row

    return [(label, batch.map(fill)) for label, batch in settled]
