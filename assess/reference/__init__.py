"""Reference facts: what the world publishes about engines, kernels, systems and registries.

The facts are the CSV tables beside this file; its README says what they are and where they end.
A version that the facts do not know is unknown: never supported, never fit.
"""

from __future__ import annotations

from assess.reference.engines import (
    api_range,
    changes_between,
    driver_runs,
    drivers_gone,
    kernel_floor,
    kernel_runs,
    stateful_kind,
    target_engine,
)
from assess.reference.images import (
    engine_change,
    image_change,
    is_fixed,
    is_fork,
    tag_version,
)
from assess.reference.lines import engine_lines, outages
from assess.reference.support import (
    ENGINE,
    Support,
    distro_of,
    engine_support,
    kernel_support,
    line_of,
    os_support,
    product_support,
    support_windows,
)
from assess.reference.tables import STALE_DAYS, compiled_on, outdated, rows, table, tables
from assess.reference.versions import (
    engine_line,
    is_known,
    numbers_of,
    parse_version,
    release_of,
    versions_behind,
)

__all__ = [
    "ENGINE",
    "STALE_DAYS",
    "Support",
    "api_range",
    "changes_between",
    "compiled_on",
    "distro_of",
    "driver_runs",
    "drivers_gone",
    "engine_change",
    "engine_line",
    "engine_lines",
    "engine_support",
    "image_change",
    "is_fixed",
    "is_fork",
    "is_known",
    "kernel_floor",
    "kernel_runs",
    "kernel_support",
    "line_of",
    "numbers_of",
    "os_support",
    "outages",
    "outdated",
    "parse_version",
    "product_support",
    "release_of",
    "rows",
    "stateful_kind",
    "support_windows",
    "table",
    "tables",
    "tag_version",
    "target_engine",
    "versions_behind",
]
