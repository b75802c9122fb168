"""Sizes of tasks: as the API has them, and as people register them."""

from __future__ import annotations

import re
from typing import Any

from assess.sources.values import number

MIB = 2**20
CPU_UNITS = 1024  # of one vCPU
_VCPU = re.compile(r"\s*(\d{0,9}\.?\d{1,9})\s*vcpus?\s*", re.IGNORECASE)
_GB = re.compile(r"\s*(\d{0,9}\.?\d{1,9})\s*gb\s*", re.IGNORECASE)


def cpu_of(value: Any) -> float | None:
    """Read the CPU of a task [cores]: in units, or as people register it, ``.5 vCPU``."""
    amount = _VCPU.fullmatch(value) if isinstance(value, str) else None
    if amount:
        return number(amount[1]) or None
    units = number(value)
    return units / CPU_UNITS if units else None


def memory_of(value: Any) -> int | None:
    """Read the memory of a task [bytes]: in MiB, or as people register it, ``1 GB``."""
    amount = _GB.fullmatch(value) if isinstance(value, str) else None
    mib = (number(amount[1]) or 0) * 1024 if amount else number(value)
    return round(mib * MIB) if mib else None
