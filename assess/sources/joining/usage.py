"""Observed use: assign samples to the containers that they measure."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from assess.sources.base import Batch, Batches, Row, belonging
from assess.sources.joining.hosts import ID_LENGTH
from assess.sources.usage import About, Key, Sample, columns_of
from assess.sources.values import text, without_none

BESIDE = ("sidecar", "init")
_UNKNOWN = "use of containers that no other source lists: they have ended, or are of another host"


class _Index:
    """Workloads by every key that a sample may use."""

    def __init__(self, batches: Batches) -> None:
        self.rows: dict[str, Row] = {}
        self._ids: dict[Key, dict[str, None]] = defaultdict(dict)
        for _, batch in batches:
            for row in batch.rows.get("workloads", ()):
                self.rows.setdefault(row["workload_id"], row)
                for key in _keys(row, batch):
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
            found = self._ids.get(key[:3], {})
            if len(found) == 1:
                return self._container(next(iter(found)), key[3:])
        return None

    def _container(self, main: str, named: Key) -> str | None:
        """Return the container of a pod; None for the total of a pod with several containers."""
        container = named[0] if named else ""
        if f"{main}/{container}" in self.rows:
            return f"{main}/{container}"
        is_whole = named == ("",) and main in self._has_beside
        return None if is_whole else main


def _keys(row: Row, batch: Batch) -> Iterator[Key]:
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
    index = _Index(batches)
    by_workload: dict[str, list[Sample]] = defaultdict(list)
    settled = []
    for label, batch in batches:
        own = {}
        for sample in batch.usage:
            own[sample.about] = found = index.find(sample.about)
            if found is not None:
                by_workload[found].append(sample)
        known_n = sum(found is not None for found in own.values())
        note = belonging("workloads", "use belongs to", known_n, len(own), _UNKNOWN)
        covered = [*batch.coverage, note] if own else batch.coverage
        settled.append((label, replace(batch, coverage=covered, usage=[])))
    columns = {
        workload_id: without_none(columns_of(samples))
        for workload_id, samples in by_workload.items()
    }

    def fill(frame: str, row: Row) -> Row:
        return row | columns.get(row["workload_id"], {}) if frame == "workloads" else row

    return [(label, batch.map(fill)) for label, batch in settled]
