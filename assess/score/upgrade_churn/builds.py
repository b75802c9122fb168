"""Package sources of builds: what each build would fetch its packages from."""

from __future__ import annotations

from functools import cache

import pandas as pd

from assess import reference

NOTHING = "none"  # the build was read, and fetches nothing
UNREAD = "unknown"  # a list of sources that nobody read
# marks of a host that mirrors a distribution, and the suites that this makes of a release
_MIRRORS = ("debian", "ubuntu", "mirror", "ftp", "archive")
_POCKETS = ("", "updates", "security", "backports", "backports-sloppy", "proposed")
_KEPT = ["service_id", "workload_id", "host_id", "base_os", "repository"]


def packages_of(workloads: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each package source of each build.

    ``package_host`` is NA for the sources that come with the base. ``reads`` is NA where a list
    that nobody read may stand in their place.
    """
    built = workloads[workloads["is_build"].fillna(value=False).astype(bool)]
    tools = built["package_tools"].astype("string")
    sources = built["package_sources"].astype("string").str.split(";")
    listed = _listed(built, sources)
    brought = [
        list(reference.base_lists(*image))
        for image in zip(built["repository"], built["tag"], strict=True)
    ]
    # a list of the base is asked by the tool that reads it
    is_asked = tools.str.contains("apt").fillna(value=True).astype(bool)
    brought = _listed(built, pd.Series(brought, built.index, dtype=object)[is_asked])
    own = built[_KEPT].assign(package_os=built["base_os"], reads=True)
    is_archived = [
        any(_keeps(host, os) for host in found)
        for found, os in zip(_lists(sources), built["base_os"], strict=True)
    ]
    is_hidden = [UNREAD in found for found in _lists(sources)]
    own["reads"] = pd.array([None if hidden else True for hidden in is_hidden], "boolean")
    fetches = tools.ne(NOTHING).fillna(value=True).astype(bool)
    fetches &= ~pd.Series(is_archived, built.index, dtype=bool)
    parts = [own[fetches], listed, brought.assign(from_base=True)]
    table = pd.concat(parts, ignore_index=True)
    # a base that names no system is none of the ended ones, as far as anybody can see
    return table.assign(version=pd.NA, package_os=table["package_os"].fillna(""))


def _listed(built: pd.DataFrame, sources: pd.Series) -> pd.DataFrame:
    """Return a row for each entry of package sources, a host and its suite."""
    found = built[_KEPT].assign(entry=sources).explode("entry").dropna(subset="entry")
    found = found[found["entry"] != UNREAD]
    entries = [entry.partition(" ") for entry in found["entry"]]
    return found.assign(
        package_host=[host for host, _, _ in entries],
        package_suite=[suite for _, _, suite in entries],
        package_os=[_system_of(host, suite) for host, _, suite in entries],
        reads=True,
        from_base=False,
    )


def _lists(sources: pd.Series) -> list[list[str]]:
    """Return the hosts of each row."""
    return [
        [entry.partition(" ")[0] for entry in found] if isinstance(found, list) else []
        for found in sources
    ]


def _system_of(host: str, suite: str) -> str | None:
    """Return the system whose own packages a mirror offers; None for an archive, or another's list."""
    name, _, pocket = suite.partition("-")
    distro, line = reference.system_in(name) or (None, None)
    is_mirror = any(word in host for word in _MIRRORS) and pocket in _POCKETS
    named = f"{distro} {line}" if line and is_mirror else None
    return None if _keeps(host, named) else named


def _keeps(host: str, system: object) -> bool:
    """Return whether a host keeps the packages of ended releases of a system."""
    distro = _archives().get(host)
    return distro is not None and isinstance(system, str) and system.startswith(distro)


@cache
def _archives() -> dict[str, str]:
    return {row["host"]: row["distro"] for row in reference.rows("package_archives")}
