"""Storage drivers, kernels and API versions of each engine."""

import re
from collections.abc import Mapping
from typing import Any

from assess.errors import PolicyError
from assess.reference.support import ENGINE, newest_line
from assess.reference.tables import cached, rows
from assess.reference.versions import (
    Version,
    engine_line,
    is_known,
    numbers_of,
    parse_version,
    release_of,
)

# Back-port of the overlay2 feature in RHEL and CentOS 7 (storage_drivers, kernel_note).
_BACKPORT = re.compile(r"3\.10\.0-(\d++).*\.el7")
_BACKPORT_BUILD = 514


def target_engine(target: Mapping[str, Any]) -> str:
    """Return the engine version of the policy's ``[target]``, by default the newest line, if any."""
    named = str(target.get("engine", "") or "")
    if named and parse_version(named) is None:
        raise PolicyError(
            f"target.engine is {named!r}", hint="a version or a line, such as 29"
        )
    return named or newest_line(str(target.get("runtime") or ENGINE)) or ""


def target_docker(target: Mapping[str, Any]) -> str:
    """Return the docker version to check drivers and kernels against: the target's or the newest."""
    is_docker = target.get("runtime", ENGINE) == ENGINE
    return target_engine(target if is_docker else {})


@cached
def driver_runs(driver: str | None, engine_version: str | None) -> bool | None:
    """Return whether an engine supports a storage driver; None if either is unknown."""
    # A line counts as its newest release. A removed driver stays removed.
    engine = release_of(engine_version)
    known = [row for row in rows("storage_drivers") if row["driver"] == driver]
    if engine is None or not known:
        return None
    # False also for a newer engine: removed drivers do not come back
    if not any(_holds(row, engine) for row in known):
        return False
    # a release after the facts may have removed the driver
    return True if is_known(engine_version) else None


@cached
def drivers_gone(engine_version: str | None) -> dict[str, str]:
    """Return the storage drivers that an engine no longer has, with the release that removed each."""
    engine = release_of(engine_version) or (0,)
    known = ((row["driver"], row["removed_in"]) for row in rows("storage_drivers"))
    return {driver: end for driver, end in known if end and engine >= numbers_of(end)}


@cached
def kernel_floor(engine_version: str | None) -> str | None:
    """Return the oldest kernel on which an engine starts with a storage driver for general use.

    Empty if it has no lower limit; None if the facts do not know the engine.
    """
    engine = release_of(engine_version)
    if engine is None or not is_known(engine_version):
        return None
    starts = [
        row["kernel_min"]
        for row in rows("engine_kernel")
        if (row["feature"], row["severity"]) == ("start", "fatal")
        and numbers_of(row["engine_from"]) <= engine <= numbers_of(row["engine_to"])
    ]
    usual = [
        row["kernel_min"]
        for row in rows("storage_drivers")
        if (row["default_from"] or row["recommended_from"])
        # a driver of Windows has no kernel of Linux
        and "Windows" not in row["backing_fs"]
        and _holds(row, engine)
    ]
    # every fatal requirement must hold, but one usable driver is enough
    return max([*starts, min(usual, key=numbers_of, default="")], key=numbers_of)


@cached
def kernel_runs(kernel: str | None, engine_version: str | None) -> bool | None:
    """Return whether an engine runs on a kernel; None if either version is unknown."""
    numbers = parse_version(kernel)
    floor = kernel_floor(engine_version)
    # a release after the facts carries no older kernel than the newest line does
    newest = newest_line(ENGINE)
    is_later = (release_of(engine_version) or (0,)) > (release_of(newest) or (0,))
    is_newer = floor is None and is_later
    if is_newer:
        floor = kernel_floor(newest)
    if numbers is None or kernel is None or floor is None:
        return None
    # Distributions back-port features that a driver needs to older kernels.
    backport = _BACKPORT.match(kernel)
    is_ported = backport is not None and int(backport[1]) >= _BACKPORT_BUILD
    if numbers < numbers_of(floor) and not is_ported:
        return False
    return None if is_newer else True


def _holds(driver: Mapping[str, str], engine: Version) -> bool:
    removed = driver["removed_in"]
    is_gone = removed != "" and engine >= numbers_of(removed)
    return numbers_of(driver["introduced_in"]) <= engine and not is_gone


@cached
def api_range(version: str | None) -> tuple[str | None, str | None]:
    """Return the oldest and newest API version that an engine answers by default."""
    # If the release itself is not on record, the last release before it in its line
    # counts.
    release = release_of(version)
    line = engine_line(version)
    if release is None or not is_known(version):
        return None, None
    known = {
        numbers_of(row["version"]): row
        for row in rows("engine_releases")
        if row["api_version_max"] and row["release_line"] == line
    }
    last = max((number for number in known if number <= release), default=())
    row = known.get(last, {})
    return row.get("api_version_min") or None, row.get("api_version_max")
