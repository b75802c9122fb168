"""Runtimes of hosts, and the support calendar that applies to each.

Every runtime has its own release lines. On a managed cluster, the provider's calendar
decides. Where the provider patches hosts and runtime, the host counts as managed.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pandas import Timestamp

from assess.reference.engines import driver_runs
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
from assess.reference.versions import lowered, numbers_of, parse_version

MANAGED = "managed: its provider patches hosts and runtime"
PROVIDER = "provider"
NO_DOCKERSHIM = (1, 24)  # from here on a kubelet has no way of its own to docker
OPENSHIFT = "red-hat-openshift"  # it numbers its clusters by itself
EKS = "amazon-eks"
DISTRIBUTION = "distribution"  # of Kubernetes, which its users run themselves
_BADNESS = ("ended", "unknown", "supported")
_FIRST_NUMBER = re.compile(r"\d++(?:\.\d++)*+")


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
