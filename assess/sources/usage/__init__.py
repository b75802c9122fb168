"""Observed use of CPU and memory: from what engines, metrics-server and Prometheus print."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assess import frames
from assess.sources.base import Asked, Call, Row, Source
from assess.sources.csv_records import vocabulary
from assess.sources.docker.text import cli_size
from assess.sources.dumps import JSON_SUFFIXES, decoded, each_dump, read_text
from assess.sources.values import (
    Texts,
    dicts,
    dig,
    duration,
    listed,
    moment,
    number,
    picked,
    table,
    text,
)

Key = tuple[str, ...]
About = tuple[Key, ...]  # what a container is known by, the surest first
CPU = "cpu"  # [cores]
MEMORY = "memory"  # [bytes]
P95 = "p95"
PEAK = "peak"
_SHARE = 0.95
_HOUR_S = 3600
_DIGITS = 6
SHORT = 12  # characters of an id
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PERCENT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%\s*")
_WORDS = re.compile(r"[-_. %/]")
_STATS = re.compile(r"\s*CONTAINER\b.*CPU %")  # the heads of a table for people
_COLUMNS = re.compile(r"\s{2,}")
# what ``kubectl top pods`` prints
_TOP = re.compile(r"^\s*(?:NAMESPACE\s+)?(?:POD|NAME)\s.*CPU\(cores\)", re.MULTILINE)
_METRICS = vocabulary("usage", "metrics")
_NAMED = vocabulary("usage", "words")
_SUMMARIES = vocabulary("usage", "summaries")
_COUNTER = "container_cpu_usage_seconds_total"
_PAUSE = ("POD", "pause")  # it only holds a pod together
_PER_CPU = "cpu"  # label of a series that is one processor of several


class Sample(NamedTuple):
    """One number about one container."""

    about: About
    what: str  # CPU or MEMORY
    value: float
    at: float | None = None  # when it was taken [seconds since 1970]
    span_s: float = 0.0  # over which it holds
    summary: str = ""  # P95 or PEAK where it sums up a window


Samples = list[Sample]
Read = tuple[Samples, int]  # samples, and how many entries are none
Point = tuple[float, float]  # time [s], value
Series = dict[
    tuple[About, str], list[list[Point]]
]  # by container and by what is measured


def of_top(content: str, at: float) -> Read:
    """Read the output of ``kubectl top pods``: the present use of each container."""
    lines = [line.split() for line in content.splitlines() if line.strip()]
    heads = next(line for line in lines if "CPU(cores)" in line)
    found = []
    unread_n = 0
    for line in lines:
        if line == heads:
            continue
        cells = dict(zip(heads, line, strict=False))
        pod = cells.get("POD", "")
        name = cells.get("NAME", "")
        # without --containers NAME is that of the pod
        about = _pod(cells.get("NAMESPACE", ""), pod or name, name if pod else "")
        sizes = picked(cells, "kubectl top")
        unread_n += None in sizes.values() or not about
        found += _each(about, sizes, at)
    return found, unread_n


def of_table(content: str) -> list[Texts]:
    """Return the entries of the table that ``docker stats`` prints for people."""
    lines = [
        _COLUMNS.split(line.strip()) for line in content.splitlines() if line.strip()
    ]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]


def of_documents(values: list[Any], stem: str, at: float) -> Read:
    """Read JSON of any form; ``stem`` is the name of its file, ``at`` when it was written."""
    found = []
    unread_n = 0
    for value in values:
        samples = next((read for f in _FORMS if (read := f(value, stem, at))), [])
        found += samples
        # an answer of a known form may list nothing
        is_empty = dig(value, "items") == [] or dig(value, "data", "result") == []
        unread_n += not samples and not is_empty
    return found, unread_n


def _each(about: About, sizes: dict[str, float | None], at: float) -> Samples:
    return [
        Sample(about, what, value, at)
        for what, value in sizes.items()
        if about and value is not None
    ]


def _pod(namespace: str, pod: str, container: str) -> About:
    return (("pod", namespace, pod, container),) if pod else ()


def _container(identifier: str, name: str) -> About:
    """Return the key of a container: its id, else its name."""
    keys = [("id", identifier[:SHORT])] if len(identifier) >= SHORT else []
    return (*keys, *([("name", name)] if name else []))


def _of_stats(value: Any, stem: str, at: float) -> Samples:
    """Read an entry of ``stats`` of docker, nerdctl or podman; 100% is one processor."""
    entry = {_WORDS.sub("", name).lower(): cell for name, cell in table(value).items()}
    own = picked(entry, "engine stats")
    memory = (own["memory"] or "").partition("/")[0].strip()
    percent = _PERCENT.fullmatch(own["cpu"] or "")
    # nothing that runs has no memory: 0 B stands for what could not be counted
    size = cli_size(memory) or None
    is_counted = percent and (size or float(percent[1]))
    sizes = {
        CPU: float(percent[1]) / 100 if percent and is_counted else None,
        MEMORY: None if size is None else float(size),
    }
    return _each(_container(own["id"] or "", text(entry, "name")), sizes, at)


def _of_crictl(value: Any, stem: str, at: float) -> Samples:
    found = []
    for entry in dicts(value, "stats"):
        about = _container(text(entry, "attributes", "id"), "")
        found += _each(about, picked(entry, "crictl stats"), at)
    return found


def _of_metrics(value: Any, stem: str, at: float) -> Samples:
    if text(value, "kind") not in ("PodMetricsList", "PodMetrics"):
        return []
    found = []
    for pod in dicts(value, "items") or [value]:
        meta = table(pod, "metadata")
        taken = moment(pod, "timestamp")
        span = duration(pod, "window") or 0.0
        for container in dicts(pod, "containers"):
            name = text(container, "name")
            about = _pod(text(meta, "namespace"), text(meta, "name"), name)
            sizes = picked(container, "container metrics")
            when = taken.timestamp() if taken else at
            found += [s._replace(span_s=span) for s in _each(about, sizes, when)]
    return found


def _of_prometheus(value: Any, stem: str, at: float) -> Samples:
    """Read an answer of Prometheus: one value for each series, or many."""
    # What was asked for is in the name of the metric, else in that of the file.
    words = _WORDS.split(stem.lower())
    by_name = next((_NAMED[word] for word in words if word in _NAMED), "")
    summary = next((_SUMMARIES[word] for word in words if word in _SUMMARIES), "")
    span = max(filter(None, map(duration, words)), default=0.0)
    series: Series = defaultdict(list)
    parts: Series = defaultdict(list)
    for one in dicts(value, "data", "result"):
        labels = table(one, "metric")
        about = _labelled(labels)
        metric = text(labels, "__name__")
        what = _METRICS.get(metric) or by_name
        points = [*_points(one)]
        if metric == _COUNTER:
            points = [*_rates(points)]
        if about and what and points:
            is_part = text(labels, _PER_CPU).startswith("cpu")
            (parts if is_part else series)[about, what].append(points)
    for key, several in parts.items():
        if key not in series:
            series[key] = [_summed(several)]
    # of a container that several scrapers saw, each sample counts
    return [
        Sample(about, what, size, when, span if summary else 0.0, summary)
        for (about, what), several in series.items()
        for points in several
        for when, size in points
    ]


def _labelled(labels: Row) -> About:
    """Return the container of a series; nothing for a pause container or a whole cgroup."""
    container, pod = (name or "" for name in picked(labels, "series labels").values())
    found = _ID.findall(text(labels, "id"))
    if container in _PAUSE or (pod and not container):
        return ()
    keys = _container(found[-1] if found else "", "" if pod else text(labels, "name"))
    return (*keys, *_pod(text(labels, "namespace"), pod, container))


def _points(one: Row) -> Iterator[Point]:
    """List the values of a series that are numbers of zero or more."""
    for pair in [*listed(one, "values"), one.get("value")]:
        when = number(pair, 0)
        size = number(pair, 1)
        if when is not None and size is not None:
            yield when, size


def _rates(points: list[Point]) -> Iterator[Point]:
    """Return the rates of a counter; a reset gives no rate."""
    for (start, before), (end, after) in pairwise(points):
        if end > start and after >= before:
            yield end, (after - before) / (end - start)


def _summed(listed: list[list[Point]]) -> list[Point]:
    """Add up series that are each one processor."""
    sums: dict[float, float] = defaultdict(float)
    for points in listed:
        for when, size in points:
            sums[when] += size
    return sorted(sums.items())


_FORMS: tuple[Callable[[Any, str, float], Samples], ...] = (
    _of_stats,
    _of_crictl,
    _of_metrics,
    _of_prometheus,
)


def columns_of(samples: Iterable[Sample]) -> Row:
    """Return the columns of the workloads frame that the samples of one container fill."""
    # Of CPU and memory the shorter window counts.
    by_kind: dict[str, Samples] = defaultdict(list)
    for sample in samples:
        by_kind[sample.what].append(sample)
    cpu = by_kind[CPU]
    memory = by_kind[MEMORY]
    windows = [window for window in map(_window, (cpu, memory)) if window is not None]
    return frames.row(
        "workloads",
        cpu_p95=_summary(cpu, P95),
        cpu_peak=_summary(cpu, PEAK),
        memory_p95_bytes=_whole(_summary(memory, P95)),
        memory_peak_bytes=_whole(_summary(memory, PEAK)),
        usage_window_hours=min(windows, default=None),
    )


def _summary(samples: Samples, kind: str) -> float | None:
    """Return the 95th percentile or the peak: as it was asked for, else of all single samples."""
    asked = [sample.value for sample in samples if sample.summary == kind]
    if asked:
        return max(asked)
    single = [sample.value for sample in samples if not sample.summary]
    if not single:
        return None
    share = 1.0 if kind == PEAK else _SHARE
    # of few samples it is the largest, never a value in between
    value = np.quantile(single, share, method="higher")
    return round(float(value), _DIGITS)


def _window(samples: Samples) -> float | None:
    """Return the time from the first sample to the last [hours]; None where it is not known."""
    spans = [sample.span_s for sample in samples]
    times = [sample.at for sample in samples if sample.at is not None]
    if not times or len(times) < len(samples):
        return None
    return round((max(times) - min(times) + max(spans)) / _HOUR_S, 4)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


_SUFFIXES = (*JSON_SUFFIXES, ".txt")
_NOTHING = (
    "no use of CPU or memory is in it; `assess sources usage` names the commands, and the file "
    "of a Prometheus answer says what was asked: memory-7d.json, cpu-p95-7d.json"
)


class UsageSource(Source):
    """Reads samples of containers that other sources list."""

    type = "usage"

    def fill(self, asked: Asked) -> None:
        """Read the samples of all files; joining finds whose they are."""
        for file, call in each_dump(asked, _SUFFIXES):
            with call:
                asked.batch.usage += read_samples(file, call)


def read_samples(file: Path, call: Call) -> Samples:
    """Read the samples in a file, and cover them."""
    text = read_text(file, call.row)
    if text is None:
        return []
    at = file.stat().st_mtime
    if _TOP.search(text[:2000]):
        found, unread_n = of_top(text, at)
    else:
        values = of_table(text) if _STATS.match(text) else decoded(text, call.row)
        found, unread_n = of_documents(values, file.stem, at)
    call.take(found)
    if unread_n:
        call.count(unmapped_n=unread_n)
        call.row.setdefault("hint", _NOTHING)
    return found
