"""Samples of the CPU and memory use of containers, and their summary."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from assess import frames
from assess.sources.base import Row

Key = tuple[str, ...]
CPU = "cpu"  # [cores]
MEMORY = "memory"  # [bytes]
P95 = "p95"
PEAK = "peak"
_SHARE = 0.95
_HOUR_S = 3600
_DIGITS = 6


class Sample(NamedTuple):
    """One number about one container."""

    about: tuple[Key, ...]  # what it is known by, the surest first
    what: str  # CPU or MEMORY
    value: float
    at: float | None = None  # when it was taken [seconds since 1970]
    span_s: float = 0.0  # over which it holds
    summary: str = ""  # P95 or PEAK where it sums up a window


def columns_of(samples: Iterable[Sample]) -> Row:
    """Return the columns of the workloads frame that the samples of one container fill."""
    # Of CPU and memory the shorter window counts.
    by_kind: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_kind[sample.what].append(sample)
    cpu = by_kind.get(CPU, [])
    memory = by_kind.get(MEMORY, [])
    windows = [window for part in (cpu, memory) if (window := _window(part)) is not None]
    return frames.row(
        "workloads",
        cpu_p95=_summary(cpu, P95),
        cpu_peak=_summary(cpu, PEAK),
        memory_p95_bytes=_whole(_summary(memory, P95)),
        memory_peak_bytes=_whole(_summary(memory, PEAK)),
        usage_window_hours=min(windows) if windows else None,
    )


def _summary(samples: list[Sample], kind: str) -> float | None:
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


def _window(samples: list[Sample]) -> float | None:
    """Return the time from the first sample to the last [hours]; None where it is not known."""
    if not samples or any(sample.at is None for sample in samples):
        return None
    spans = [sample.span_s for sample in samples]
    times = [sample.at for sample in samples if sample.at is not None]
    return round((max(times) - min(times) + max(spans)) / _HOUR_S, 4)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
