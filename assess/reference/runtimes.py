"""Engines and runtimes of hosts: their drivers, kernels, API versions and support calendars.

Every runtime has its own release lines. On a managed cluster, the provider's calendar
decides. Where the provider patches hosts and runtime, the host counts as managed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pandas import Timestamp

from assess.errors import PolicyError
from assess.reference.support import (
    ENGINE,
    Support,
    line_names,
    line_of,
    newest_line,
    os_support,
    product_support,
    system_of,
)
from assess.reference.tables import Row, cached, lookup, rows
from assess.reference.versions import (
    Version,
    engine_line,
    is_known,
    lowered,
    numbers_of,
    parse_version,
    release_of,
)

# Back-port of the overlay2 feature in RHEL and CentOS 7 (storage_drivers, kernel_note).
_BACKPORT = re.compile(r"3\.10\.0-(\d++).*\.el7")
_BACKPORT_BUILD = 514
MANAGED = "managed: its provider patches hosts and runtime"
PROVIDER = "provider"
NO_DOCKERSHIM = (1, 24)  # from here on a kubelet has no way of its own to docker
OPENSHIFT = "red-hat-openshift"  # it numbers its clusters by itself
EKS = "amazon-eks"
DISTRIBUTION = "distribution"  # of Kubernetes, which its users run themselves
_BADNESS = ("ended", "unknown", "supported")
_FIRST_NUMBER = re.compile(r"\d++(?:\.\d++)*+")


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


class Node(NamedTuple):
    """Facts of a runtime and its host, as a source read them; None is unknown."""

    runtime: str | None = None
    version: str | None = None
    kubelet: str | None = None
    provider: str | None = None
    provider_version: str | None = None
    managed_by: str | None = None
    os_name: str | None = None
    os_version: str | None = None


class Platform(NamedTuple):
    """A cluster or platform that a provider runs; ``kind`` is ``cluster`` or ``managed``."""

    product: str
    version: str | None
    kind: str


@cached
def platform_of(node: Node) -> Platform | None:
    """Return the provider's cluster or platform of a node; None if none is known."""
    distro, rest = system_of(node.os_name)
    if distro == "rhcos":
        line = line_of(distro, node.os_version or rest or None)
        return Platform(OPENSHIFT, line, "cluster")
    found = _first_named(node.provider_version, node.kubelet, node.provider)
    if not found or found["kind"] == DISTRIBUTION:
        return None
    version = _number(node.provider_version) or _number(node.kubelet)
    # on EKS, Fargate runs nodes of the cluster's version
    is_eks = "-eks-" in f"{node.provider_version} {node.kubelet}"
    return Platform(EKS if is_eks else found["product"], version, found["kind"])


def cluster_product(
    kubelet: str | None, provider: str | None, version: str | None
) -> str | None:
    """Return the product that the cluster of a node is, such as amazon-eks or k3s."""
    return _first_named(version, kubelet, provider).get("product")


def _first_named(*texts: str | None) -> Row:
    """Return the platform that the first of several texts names, if any does."""
    return next(filter(None, map(_named, texts)), {})


def _named(text: str | None) -> Row | None:
    """Return the first platform whose word occurs in a text."""
    # whole words only: "gke" must not be found in a longer name
    words = f" {' '.join(re.split(r'[^a-z0-9]+', lowered(text)))} "
    for row in rows("platforms"):
        if f" {row['word']} " in words:
            return row
    return None


def _number(text: str | None) -> str | None:
    found = _FIRST_NUMBER.search(text) if isinstance(text, str) else None
    return found[0] if found else None


@cached
def is_managed(node: Node) -> bool:
    """Return whether a provider is known to patch the host of a node."""
    # A provider alone is not enough: on a platform that the facts do not know, nobody can
    # look up what it patches, and until when.
    platform = platform_of(node)
    if platform is None:
        return False
    return platform.kind == "managed" or node.managed_by == PROVIDER


def platform_kind(product: str | None) -> str | None:
    """Return what a provider's product is: a cluster or a managed platform; None for another."""
    return lookup("platforms", "product", "kind").get(product or "")


@cached
def runtime_line(node: Node) -> tuple[str | None, str | None]:
    """Return the product and version whose calendar applies to a node's runtime."""
    platform = platform_of(node)
    if platform is None:
        return node.runtime, node.version
    # the provider moves an unversioned platform to its newest line itself
    if platform.kind == "managed" and platform.version is None:
        return platform.product, newest_line(platform.product)
    return platform.product, platform.version


@cached
def runtime_support(node: Node, at: Timestamp) -> Support:
    """Return the support of a node's runtime; of several calendars, the worst counts."""
    platform = platform_of(node)
    product, version = runtime_line(node)
    own = product_support(product, version, at)
    if platform is None:
        return min(filter(None, (own, _own_kubelet(node, at))), key=_order)
    if platform.kind == "managed":
        # a serverless platform has no lines that could end
        if newest_line(platform.product) is None:
            return Support("supported", None, None, None, f"{MANAGED}, without a version")
        return own._replace(basis=f"{MANAGED}; {own.basis}")
    of_node = _kubelet(node, platform, own.line, at)
    return min(filter(None, (own, of_node)), key=_order)


def _own_kubelet(node: Node, at: Timestamp) -> Support | None:
    """Return the support of a self-managed cluster's Kubernetes; None without a kubelet."""
    numbers = parse_version(node.kubelet)
    if numbers is None:
        return None
    support = product_support("kubelet", node.kubelet, at)
    has_shim = node.runtime == ENGINE and numbers < NO_DOCKERSHIM
    part = "dockershim of kubelet" if has_shim else "kubelet"
    return support._replace(basis=f"{part} {node.kubelet}: {support.basis}")


def _kubelet(
    node: Node, platform: Platform, line: str | None, at: Timestamp
) -> Support | None:
    """Return the support of a node by its kubelet, if its line differs from its cluster's line."""
    numbers = parse_version(node.kubelet)
    if numbers is None or platform.product == OPENSHIFT:
        return None
    support = product_support(platform.product, node.kubelet, at)
    if support.line == line:
        return None
    named = f"cluster {line or 'unknown'}, node {support.line}"
    return support._replace(basis=f"{named}: {support.basis}")


def worst_node(nodes: Sequence[Node], at: Timestamp) -> Node:
    """Return the node with the worst support of its runtime, or the earliest end."""
    return min(nodes, key=lambda node: _order(runtime_support(node, at)))


@cached
def lines_behind(product: str | None, version: str | None) -> int | None:
    """Count the lines of a product that are newer than the line of a version; None if unknown."""
    lines = line_names(product)
    line = line_of(product, version)
    if line not in lines:
        return None
    return sum(numbers_of(name) > numbers_of(line) for name in lines)


def _order(support: Support) -> tuple[int, Timestamp]:
    """Return the place of a support among others: the worse first, then what ends first."""
    # no announced end sorts after every announced one
    never = Timestamp.max.tz_localize("UTC")
    return _BADNESS.index(support.state), support.eol_date or never


@cached
def node_system_support(node: Node, at: Timestamp) -> Support:
    """Return the support of the system of a node, by its own calendar or that of its cluster."""
    if is_managed(node):
        return Support("supported", None, None, None, MANAGED)
    own = os_support(node.os_name, node.os_version, at)
    distro, _ = system_of(node.os_name)
    platform = platform_of(node)
    if own.state != "unknown" or platform is None:
        return own
    # systems without dates of their own follow their cluster
    followed = {r["product"]: r["follows"] for r in rows("calendars") if r["needs"]}
    if followed.get(distro or "") != platform.product:
        return own
    cluster = runtime_support(node, at)
    return cluster._replace(basis=f"{distro} follows its cluster: {cluster.basis}")


@cached
def node_driver_runs(node: Node, driver: str | None, target: str) -> bool | None:
    """Return whether a node's storage driver is in its runtime's newest line; docker's is ``target``."""
    if is_managed(node):
        return True
    if node.runtime in (None, ENGINE):
        return driver_runs(driver, target)
    known = [row for row in rows("runtime_drivers") if row["runtime"] == node.runtime]
    ends = {row["driver"]: row["removed_in"] for row in known}
    if driver not in ends:
        return None
    newest = newest_line(node.runtime)
    return not ends[driver] or numbers_of(newest or "") < numbers_of(ends[driver])
