"""Package sources of builds: what each build would fetch its packages from."""

from __future__ import annotations

from functools import cache

import pandas as pd

from assess import reference

NOTHING = "none"  # the build was read, and fetches nothing
UNREAD = "unknown"  # a list of sources that nobody read
DISTROS = ("debian", "ubuntu")  # whose suites have names
COLUMNS = {
    "package_host": "text",
    "package_suite": "text",
    "package_os": "text",
    "reads": "boolean",
    "base_os": "text",
    "repository": "text",
}
_KEPT = ["service_id", "workload_id", "host_id", "base_os", "repository"]


def packages_of(workloads: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each package source of each build.

    ``package_host`` is NA for the sources that come with the base. ``reads`` is NA where a list
    that nobody read may stand in their place.
    """
    built = workloads[workloads["is_build"].fillna(value=False).astype(bool)]
    tools = built["package_tools"].astype("string")
    sources = built["package_sources"].astype("string").str.split(";")
    listed = built[_KEPT].assign(entry=sources).explode("entry").dropna(subset="entry")
    listed = listed[listed["entry"] != UNREAD]
    entries = [entry.partition(" ") for entry in listed["entry"]]
    listed = listed.assign(
        package_host=[host for host, _, _ in entries],
        package_suite=[suite for _, _, suite in entries],
        package_os=[_system_of(suite) for _, _, suite in entries],
        reads=True,
    )
    own = built[_KEPT].assign(package_host=pd.NA, package_os=built["base_os"], reads=True)
    is_archived = [
        any(_keeps(host, os) for host in found)
        for found, os in zip(_lists(sources), built["base_os"], strict=True)
    ]
    is_hidden = [UNREAD in found for found in _lists(sources)]
    own["reads"] = pd.array([None if hidden else True for hidden in is_hidden], "boolean")
    fetches = tools.ne(NOTHING).fillna(value=True).astype(bool)
    fetches &= ~pd.Series(is_archived, built.index, dtype=bool)
    table = pd.concat([own[fetches], listed], ignore_index=True)
    # a base that names no system is none of the ended ones, as far as anybody can see
    return table.assign(version=pd.NA, package_os=table["package_os"].fillna(""))


def _lists(sources: pd.Series) -> list[list[str]]:
    """Return the hosts of each row."""
    return [
        [entry.partition(" ")[0] for entry in found] if isinstance(found, list) else []
        for found in sources
    ]


def _system_of(suite: str) -> str | None:
    """Return the system of a suite, such as buster."""
    name = suite.partition("-")[0]  # of buster-backports
    named = ((distro, reference.line_of(distro, name)) for distro in DISTROS if name)
    return next((f"{distro} {line}" for distro, line in named if line), None)


def _keeps(host: str, system: object) -> bool:
    """Return whether a host keeps the packages of ended releases of a system."""
    distro = _archives().get(host)
    return distro is not None and isinstance(system, str) and system.startswith(distro)


@cache
def _archives() -> dict[str, str]:
    return {row["host"]: row["distro"] for row in reference.rows("package_archives")}
