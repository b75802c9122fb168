"""Package sources of builds: the servers that each build fetches its packages from."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from pandas import DataFrame, Series

from assess import reference

NOTHING = "none"  # the build was read, and fetches nothing
UNREAD = "unknown"  # a list of sources that nobody read
UNNAMED = "unnamed"  # the system of a base whose name does not tell it
_MIRRORS = ("debian", "ubuntu", "mirror", "ftp")  # in the names of hosts
# a suite behind a host, a list that nobody read, and words in the names of hosts of packages
_LISTS = (
    r" |(?:^|;)unknown(?:;|$)|(?:^|[;.-])(?:apk|apt|archive|deb|dl|dnf|download|ftp|mirrors?"
    r"|packages?|pkgs?|ppa|repos?|repository|rpm|snapshot|yum)[0-9]*[.-]"
)
Row = dict[str, Any]
_FOUND = ("package_host", "package_suite", "package_os", "reads", "from_base")
IDS = ["service_id", "workload_id", "host_id"]
_KEPT = [*IDS, "base_os", "repository", "tag_version", "package_tools", "pinned"]


def packages_of(workloads: DataFrame) -> DataFrame:
    """Return a row for each package source of each build; that of its base names no host."""
    built = workloads[workloads["is_build"].eq(True)]
    builds = built[[*_KEPT, "tag", "package_sources"]]
    builds = builds.astype(object).where(builds.notna(), None)
    rows = [row for build in builds.to_dict("records") for row in _sources_of(build)]
    return DataFrame(rows, columns=[*_KEPT, *_FOUND]).assign(version=pd.NA)


def reads_base_alone(sources: Series) -> Series:
    """Return which builds read the lists of their base alone; unknown where they name others."""
    has_others = sources.astype("string").str.contains(_LISTS).fillna(value=False)
    return Series(data=True, index=sources.index, dtype="boolean").mask(has_others)


def _sources_of(build: Row) -> Iterator[Row]:
    """Yield the package sources of a build: of its base system, its own, and its base image's."""
    system = build["base_os"]
    tools = build["package_tools"]
    entries = (build["package_sources"] or "").split(";")
    hosts = [entry.partition(" ")[0] for entry in entries]
    own = {name: build[name] for name in _KEPT}
    if tools != NOTHING and not any(_keeps(host, system) for host in hosts):
        # a base image of unknown system is not counted among those that have ended
        reads = None if UNREAD in entries else True
        yield own | {"package_os": system or UNNAMED, "reads": reads}
    for entry in entries:
        if entry not in ("", UNREAD):
            yield own | _entry(entry)
    # a list of the base is asked by the tool that reads it
    if tools is None or "apt" in tools:
        for entry in reference.base_lists(build["repository"], build["tag"]):
            yield own | _entry(entry) | {"from_base": True}


def _entry(entry: str) -> Row:
    """Read one entry of package sources: a host and its suite."""
    host, _, suite = entry.partition(" ")
    return {
        "package_host": host,
        "package_suite": suite,
        "package_os": _system_of(host, suite) or "",
        "reads": True,
        "from_base": False,
    }


def _system_of(host: str, suite: str) -> str | None:
    """Return the system whose packages a mirror serves; None for an archive or a third party."""
    distro, line = reference.system_in(suite.partition("-")[0]) or (None, None)
    is_mirror = any(word in host for word in _MIRRORS)
    named = f"{distro} {line}" if line and is_mirror else None
    return None if _keeps(host, named) else named


def _keeps(host: str, system: str | None) -> bool:
    """Return whether a host keeps the packages of ended releases of a system."""
    distro = reference.lookup("package_archives", "host", "distro").get(host)
    return distro is not None and system is not None and system.startswith(distro)
