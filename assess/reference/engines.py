"""What an engine runs with: drivers, kernels, API versions; and what runs in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import pandas as pd

from assess.errors import PolicyError
from assess.reference.tables import table
from assess.reference.versions import Version, is_known, lines, parse_version, release_of

# Back-port of the overlay2 feature in RHEL and CentOS 7 (storage_drivers, kernel_note).
_BACKPORT = re.compile(r"3\.10\.0-(\d+).*\.el7")
_BACKPORT_BUILD = 514


def target_engine(target: Mapping[str, Any]) -> str:
    """Give the engine that a move goes to.

    Parameters
    ----------
    target : mapping
        Table ``[target]`` of the policy.

    Returns
    -------
    str
        Its ``engine``; where that is empty, the newest line that the facts know.

    Raises
    ------
    PolicyError
        Where ``engine`` is not a version.
    """
    named = str(target.get("engine", "") or "")
    if not named:
        return lines()[max(lines())]
    if parse_version(named) is None:
        raise PolicyError(f"target.engine is {named!r}", hint="a version or a line, such as 29")
    return named


@lru_cache(maxsize=4096)
def driver_runs(driver: str | None, engine_version: str | None) -> bool | None:
    """Say whether an engine has a storage driver.

    Parameters
    ----------
    driver : str or None
        Storage driver or snapshotter.
    engine_version : str or None
        Version of the engine, or a line, whose newest release it then is.

    Returns
    -------
    bool or None
        None where the driver or the version is not known; what was removed stays removed.
    """
    numbers = release_of(engine_version)
    known = table("storage_drivers")
    rows = known[known["driver"] == driver] if isinstance(driver, str) else known.iloc[:0]
    if numbers is None or rows.empty:
        return None
    if any(_within(numbers, low, high) for low, high in _spans(rows)):
        return True if is_known(engine_version) else None
    return False


@lru_cache(maxsize=4096)
def kernel_runs(kernel: str | None, engine_version: str | None) -> bool | None:
    """Say whether an engine runs on a kernel.

    Parameters
    ----------
    kernel : str or None
        Kernel release, such as ``3.10.0-1160.el7.x86_64``.
    engine_version : str or None
        Version of the engine, or a line, whose newest release it then is.

    Returns
    -------
    bool or None
        False where the engine refuses to start, or none of its storage drivers for general use runs
        on that kernel; None where either version is not known.
    """
    numbers, engine = parse_version(kernel), release_of(engine_version)
    if numbers is None or kernel is None or engine is None or not is_known(engine_version):
        return None
    rows = table("engine_kernel")
    start = rows[(rows["feature"] == "start") & (rows["severity"] == "fatal")]
    spans = zip(start["engine_from"], start["engine_to"], start["kernel_min"], strict=True)
    for low, high, kernel_min in spans:
        if _floor(low) <= engine <= _floor(high) and numbers < _floor(kernel_min):
            return False
    drivers = _general_drivers()
    present = drivers[[_within(engine, low, high) for low, high in _spans(drivers)]]
    floors = [_floor(text) for text in present["kernel_min"].fillna("0")]
    backport = _BACKPORT.match(kernel)
    has_backport = backport is not None and int(backport[1]) >= _BACKPORT_BUILD
    return has_backport or any(numbers >= floor for floor in floors)


@cache
def _general_drivers() -> pd.DataFrame:
    """Storage drivers of Linux that were once the default or recommended."""
    known = table("storage_drivers")
    general = known["default_from"].notna() | known["recommended_from"].notna()
    return known[general & ~known["backing_fs"].str.contains("Windows", na=False)]


def _floor(text: object) -> Version:
    return parse_version(str(text)) or (0,)


def _spans(rows: pd.DataFrame) -> list[tuple[object, object]]:
    return list(zip(rows["introduced_in"], rows["removed_in"], strict=True))


def _within(numbers: Version, introduced: object, removed: object) -> bool:
    begun = not isinstance(introduced, str) or numbers >= _floor(introduced)
    return begun and not (isinstance(removed, str) and numbers >= _floor(removed))


@lru_cache(maxsize=4096)
def api_range(version: str | None) -> tuple[str | None, str | None]:
    """Give the API versions that an engine answers by default.

    Parameters
    ----------
    version : str or None
        Version of the engine, or a line, whose newest release it then is.

    Returns
    -------
    oldest, newest : str or None
        Of that release, else of the last one before it in its line whose range is known.
    """
    numbers = release_of(version)
    if numbers is None or not is_known(version):
        return None, None
    ranges = _api_ranges()
    line = ranges[ranges["release_line"] == _line_of(numbers)]
    held = line[[v <= numbers for v in line["numbers"]]]
    if held.empty:
        return None, None
    last = held.iloc[-1]
    oldest = last["api_version_min"]
    return (oldest if isinstance(oldest, str) else None), str(last["api_version_max"])


def _line_of(numbers: Version) -> str:
    return lines().get(numbers[:2]) or lines()[numbers[:1]]


@cache
def _api_ranges() -> pd.DataFrame:
    known = table("engine_releases").dropna(subset=["api_version_max"])
    known["numbers"] = known["version"].map(parse_version)
    return known.sort_values("numbers", kind="stable")


@lru_cache(maxsize=4096)
def stateful_kind(repository: str | None) -> str | None:
    """Say what kind of state an image is known to hold.

    Parameters
    ----------
    repository : str or None
        Repository, without registry and tag.

    Returns
    -------
    str or None
        ``database``, ``cache``, ``search``, ``queue``, ``coordination``, ``object-store`` or
        ``stateful-app``; None where the name is not known to hold state.
    """
    if not isinstance(repository, str):
        return None
    for pattern, kind in _stateful():
        if pattern.search(repository):
            return kind
    return None


@cache
def _stateful() -> list[tuple[re.Pattern[str], str]]:
    known = table("database_images")
    pairs = zip(known["pattern"], known["kind"], strict=True)
    return [(re.compile(pattern), str(kind)) for pattern, kind in pairs]


@cache
def line_statistics() -> pd.DataFrame:
    """Count releases and changes per line of the engine.

    Returns
    -------
    DataFrame
        Index ``release_line``; ``releases_public`` (dated, with notes of their own),
        ``releases_all``, counts per kind of change [count]; ``active_days`` from the first to the
        last public release, ``support_window_days`` and the stated ``policy_window_days`` [days];
        ``releases_per_year`` [per year, NA below 60 active days].
    """
    known = table("engine_releases")
    known["day"] = pd.to_datetime(known["release_date"])
    public = known[(known["channel"] != "source_tag") & known["day"].notna()]
    lines_of = public.groupby("release_line", sort=False)
    found = pd.DataFrame({"releases_public": lines_of.size()})
    found["releases_all"] = known.groupby("release_line").size()
    first, last = lines_of["day"].min(), lines_of["day"].max()
    found["active_days"] = (last - first).dt.days
    for column, source in (("support", "line_eol_date"), ("policy", "policy_eol_date")):
        end = pd.to_datetime(known.groupby("release_line")[source].first())
        found[f"{column}_window_days"] = (end - first).dt.days.astype("Int64")
    rate = found["releases_public"] / (found["active_days"] / 365.25).where(lambda y: y > 0)
    found["releases_per_year"] = rate.where(found["active_days"] >= 60)
    changes = table("engine_changes")
    kinds = pd.crosstab(changes["release_line"], changes["kind"]).reindex(found.index, fill_value=0)
    return found.join(kinds)
