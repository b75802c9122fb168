"""What a service would stand on at a target: the evidence of today, with what the move replaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from assess import reference
from assess.policy.policy import Policy
from assess.policy.targets import platforms
from assess.score.evidence import Evidence, View

# columns that a move replaces, by table; a check that names one is asked anew
REPLACED = {
    "services": (
        "redundant",
        "heals_itself",
        "replicas_n",
        "hosts_n",
        "azs_n",
        "coverage",  # with the checks that read those
        "coverage_lowest",
    ),
    "workloads": ("public_unmirrored", "rootless"),
}
WHOLE = ("hosts", "engines")  # tables that it replaces as a whole
GOOD_DRIVER = "overlay2"  # what new hosts store images with

Row = Mapping[str, Any]


def calendars(target: Row) -> list[tuple[str, str | None]]:
    """Return product and version of everything at a target whose support ends."""
    own = platforms()[target["platform"]]["calendars"]
    found = []
    for product in own:
        is_runtime = product == target["runtime"]
        version = target["version"] if is_runtime else target["cluster_version"]
        found.append((product, version or reference.newest_line(product)))
    return found


def is_provided(target: Row) -> bool:
    """Return whether a provider patches hosts and runtime of a target."""
    return bool(target["patched_by"] == "provider")


def is_supported(
    target: Row,
    at: pd.Timestamp,
) -> bool | None:
    """Return whether all that runs containers at a target is supported; None where unknown."""
    states = []
    for product, version in calendars(target):
        if is_provided(target) and reference.newest_line(product) is None:
            states.append("supported")  # a platform without versions
        else:
            states.append(reference.product_support(product, version, at).state)
    if "ended" in states:
        return False
    return None if "unknown" in states or not states else True


def system_of(target: Row) -> tuple[str | None, str | None]:
    """Return the operating system of a target, by default its newest line."""
    name = reference.distro_of(target["os"] or None)
    return name, target["os_version"] or reference.newest_line(name)


def host_facts(
    target: Row,
    at: pd.Timestamp,
    docker: str,
) -> dict[str, bool | None]:
    """Return what the hosts of a target are fit for; a provider's are passed as managed."""
    if is_provided(target):
        return {
            "os_supported": True,
            "kernel_runs_on_target": True,
            "managed": True,
        }
    name, version = system_of(target)
    support = reference.os_support(name, version, at)
    supported = {"supported": True, "ended": False}.get(support.state)
    kernel = reference.default_kernel(name, version)
    runs = reference.kernel_runs(kernel, docker)
    return {
        "os_supported": supported,
        "kernel_runs_on_target": runs,
        "managed": False,
    }


def at_target(
    evidence: Evidence,
    target: Row,
    policy: Policy,
) -> Evidence:
    """Return the evidence of a fleet as if every service had moved to a target."""
    services = evidence.services
    docker = reference.target_docker(policy["target"])
    products = calendars(target)
    line = "; ".join(" ".join(filter(None, product)) for product in products)
    engine = {
        "engine_supported": is_supported(target, evidence.at),
        "driver_runs_on_target": True,
        "storage_driver": GOOD_DRIVER,
        "d_type": True,
        "managed": is_provided(target),
        "line": line,
    }
    host = {**host_facts(target, evidence.at, docker), "cgroup_version": "2"}
    views = dict(evidence.views)
    views["engines"] = _one_row_each(evidence, "engines", engine)
    views["hosts"] = _one_row_each(evidence, "hosts", {**host, "provider_version": line})
    views["services"] = _spread(evidence, target)
    changed = {"rootless": False}
    if target["mirrored"] or target["registry"]:
        changed["public_unmirrored"] = False
    views["workloads"] = _with(evidence.views["workloads"], **changed)
    return Evidence(services, views, evidence.at)


def _one_row_each(
    evidence: Evidence,
    table: str,
    facts: Row,
) -> View:
    """Return a view of one row per service, with these facts and nothing else."""
    old = evidence.views[table].table
    rows = pd.DataFrame({"service_id": evidence.services.astype("string")})
    for name, dtype in old.dtypes.items():
        if name in facts:
            rows[name] = pd.Series(facts[str(name)], rows.index, dtype=dtype)
        elif name != "service_id":
            rows[name] = pd.Series(pd.NA, rows.index, dtype=dtype)
    rows["sure"] = True
    return View.of(evidence.services, rows)


def _spread(
    evidence: Evidence,
    target: Row,
) -> View:
    """Return the services with the replicas that they would have at a target."""
    table = evidence.views["services"].table
    # a service never moves to fewer replicas than it has
    replicas = table["replicas_n"].fillna(0).clip(lower=target["replicas"])
    changed = table.assign(
        replicas_n=replicas,
        redundant=(replicas >= 2).astype("boolean"),
        heals_itself=pd.Series(target["self_heal"], table.index, dtype="boolean"),
        hosts_n=pd.Series(float(target["hosts_n"]), table.index, dtype="Float64"),
        azs_n=pd.Series(float(target["zones"]), table.index, dtype="Float64"),
    )
    return View.of(evidence.services, changed)


def _with(
    view: View,
    **columns: Any,
) -> View:
    """Return a view with other values in some of its columns."""
    table = view.table
    changed = {
        name: pd.Series(value, table.index, dtype=table[name].dtype)
        for name, value in columns.items()
    }
    rows = table.assign(**changed)
    return View(rows, view.codes, view.none, view.na, view.sure, view.whole)


def is_replaced(
    table: str,
    rule: str,
) -> bool:
    """Return whether a rule over a table reads something that a move replaces."""
    names = REPLACED.get(table, ())
    is_named = any(re.search(rf"\b{name}\b", rule) for name in names)
    return table in WHOLE or is_named
