"""Entries: package sources of builds, and settings of engines and kubelets, a row each for the rules."""

from collections.abc import Iterator

import pandas as pd
from pandas import DataFrame, Series

from assess import reference
from assess.frames import Row, surely
from assess.score.upgrade_churn.sights import cells

NOTHING = "none"  # the build was read, and fetches nothing
UNREAD = "unknown"  # a list of sources that nobody read
UNNAMED = "unnamed"  # the system of a base whose name does not tell it
_MIRRORS = ("debian", "ubuntu", "mirror", "ftp")  # in the names of hosts
# a suite behind a host, a list that nobody read, and words in the names of hosts of packages
_LISTS = (
    r" |(?:^|;)unknown(?:;|$)|(?:^|[;.-])(?:apk|apt|archive|deb|dl|dnf|download|ftp|mirrors?"
    r"|packages?|pkgs?|ppa|repos?|repository|rpm|snapshot|yum)[0-9]*[.-]"
)
_FOUND = ("package_host", "package_suite", "package_os", "reads", "from_base")
IDS = ["service_id", "workload_id", "host_id"]
_KEPT = [*IDS, "base_os", "repository", "tag_version", "package_tools", "pinned"]
GATE = "feature-gates."
# a setting may be a label with its domain, its value an option with its own, or have a family
_PAIR = (
    r"(?s)^(?P<flag>(?P<label_domain>[^=/]*)[^=]*)=?"
    r"(?=(?P<family>.*?)(?:\.[^.]*)?$)(?P<value>(?P<option>[^=]*).*)$"
)
POD = "pod"  # whose settings are those that it asks of its cluster
_OWN = [*_KEPT, "version", "host_network", "tag", "package_sources", "is_base_seen"]


def packages_of(built: DataFrame) -> DataFrame:
    """Return a row for each package source of each build; that of its base names no host."""
    builds = built[[*_KEPT, "tag", "package_sources"]]
    builds = builds.astype(object).where(builds.notna(), None)
    rows = [row for build in builds.to_dict("records") for row in _sources_of(build)]
    return DataFrame(rows, columns=[*_KEPT, *_FOUND]).assign(version=pd.NA)


def reads_base_alone(sources: Series) -> Series:
    """Return which builds read the lists of their base alone; unknown where they name others."""
    is_alone = ~surely(sources.astype("string").str.contains(_LISTS))
    return is_alone.astype("boolean").where(is_alone)


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


def flags_of(workloads: DataFrame, column: str, target: str) -> DataFrame:
    """Return a row for each setting in a column, and for each that a workload has of its own."""
    component = "kubelet" if column == "kubelet_flags" else "engine"
    of_host = workloads[_OWN].assign(component=component, setting=workloads[column])
    own = workloads["settings"].astype("string")
    program = value_of(own, "program").fillna(POD)
    of_workload = workloads[_OWN].assign(component=program, setting=own)
    table = pd.concat([of_host, of_workload], ignore_index=True)
    keeps = "featureGates.DisableCloudProviders=false"
    tolerates = "toleration.nodeRole.kubernetes.io/controlPlane"
    table["keeps_cloud"] = has_setting(table["setting"], keeps)
    table["tolerates_control_plane"] = has_setting(table["setting"], tolerates)
    table["setting"] = table["setting"].astype("string").str.split(";")
    table = table.explode("setting").dropna(subset="setting")
    table = table.assign(**table["setting"].str.strip().str.extract(_PAIR))
    return table.assign(
        gate=[_fate_of(target, *pair) for pair in cells(table, "flag", "value")],
    )


def has_setting(settings: Series, setting: str) -> Series:
    """Return which rows have a setting; False where the settings of the host are unknown."""
    # a file says failCgroupV1, a command line fail-cgroupv1: ``setting`` has no hyphen
    named = "-?".join(setting)
    return surely(settings.astype("string").str.contains(f"(?i)(?:^|;){named}(?:;|$)"))


def value_of(settings: Series, flag: str) -> Series:
    """Return the value of a setting by row; NA if unknown."""
    padded = ";" + settings.astype("string") + ";"
    return padded.str.extract(f";{flag}=([^;]*);")[0]


def _fate_of(target: str, flag: str, value: str) -> str:
    """Return whether a target lacks a feature gate (gone) or holds it at another value (held)."""
    gate = flag.removeprefix(GATE)
    there = (reference.parse_version(target) or ())[:2]
    facts = (
        reference.lookup("feature_gates", "gate", name)
        for name in ("last", "locked", "held")
    )
    last, locked, locked_at = (column.get(gate) for column in facts)
    if last and there > reference.numbers_of(last):
        return "gone"
    is_held = locked and there >= reference.numbers_of(locked)
    return "held" if is_held and value.lower() != locked_at else ""
