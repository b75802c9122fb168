"""Evidence of a service at a target: today's evidence, with the facts that the move replaces."""

import re
from dataclasses import replace
from typing import Any, NamedTuple

from pandas import DataFrame, Series, Timestamp

from assess import reference
from assess.policy import Table
from assess.policy.policy import Policy
from assess.policy.targets import platforms
from assess.score.evidence import Evidence, View

GOOD_DRIVER = "overlay2"  # what new hosts store images with

_LINES = re.compile(r"\b(?:line|provider_version)\b")


def calendars(target: Table) -> list[tuple[str, str | None]]:
    """Return product and version of every component at a target with a support calendar."""
    own = platforms()[target["platform"]]["calendars"]
    found = []
    for product in own:
        is_runtime = product == target["runtime"]
        version = target["version"] if is_runtime else target["cluster_version"]
        found.append((product, version or reference.newest_line(product)))
    return found


def is_provided(target: Table) -> bool:
    """Return whether a provider patches hosts and runtime of a target."""
    return bool(target["patched_by"] == "provider")


def is_supported(target: Table, at: Timestamp) -> bool | None:
    """Return whether all runtimes and clusters of a target are supported; None if unknown."""
    answers = []
    for product, version in calendars(target):
        # a platform without versions has none that could end
        is_endless = is_provided(target) and reference.newest_line(product) is None
        support = reference.product_support(product, version, at)
        answers.append(True if is_endless else support.is_given)
    if False in answers:
        return False
    return None if None in answers or not answers else True


def system_of(target: Table) -> tuple[str | None, str | None]:
    """Return the operating system of a target, by default its newest line."""
    name = reference.distro_of(target["os"] or None)
    return name, target["os_version"] or reference.newest_line(name)


def runs_linux(target: Table) -> bool:
    """Return whether the system of a target runs Linux containers, as far as is known."""
    return reference.os_family(target["os"]) in (None, reference.LINUX)


def host_facts(target: Table, at: Timestamp, docker: str) -> dict[str, bool | None]:
    """Return facts of the hosts of a target; a provider's hosts count as managed."""
    if is_provided(target):
        return {"os_supported": True, "kernel_runs_on_target": True, "managed": True}
    name, version = system_of(target)
    supported = reference.os_support(name, version, at).is_given
    kernel = reference.shipped(name, version, "default_kernel")
    runs = reference.kernel_runs(kernel, docker)
    if not runs_linux(target):
        runs = False
    return {"os_supported": supported, "kernel_runs_on_target": runs, "managed": False}


class Place(NamedTuple):
    """The facts that a target gives every service; targets with equal facts are one place."""

    engine: tuple[tuple[str, Any], ...]
    host: tuple[tuple[str, Any], ...]
    replicas: int
    hosts_n: int
    zones: int
    self_heal: bool
    mirrored: bool


def place_of(target: Table, at: Timestamp, policy: Policy) -> Place:
    """Return the place of a target; its line is left out if no result can show it."""
    docker = reference.target_docker(policy["target"])
    products = calendars(target)
    line = "; ".join(" ".join(filter(None, product)) for product in products)
    engine = {
        "engine_supported": is_supported(target, at),
        "driver_runs_on_target": True,
        "storage_driver": GOOD_DRIVER,
        "d_type": True,
        "managed": is_provided(target),
    }
    host = {**host_facts(target, at, docker), "cgroup_version": "2"}
    sound = (engine["engine_supported"], host["os_supported"])
    is_told = sound != (True, True) or not host["kernel_runs_on_target"]
    if is_told or is_provided(target) or _reads_lines(policy):
        engine["line"] = line
        host["provider_version"] = line
    if host["os_supported"] is None:
        host["os_name"], host["os_version"] = system_of(target)
    return Place(
        tuple(engine.items()),
        tuple(host.items()),
        target["replicas"],
        target["hosts_n"],
        target["zones"],
        target["self_heal"],
        bool(target["mirrored"] or target["registry"]),
    )


def _reads_lines(policy: Policy) -> bool:
    """Return whether a rule of the policy reads the line of an engine or of a platform."""
    asked = [*policy["check"]]
    for gate in policy["gate"]:
        asked += [*gate["reasons"], *gate.get("notes", ())]
    return any(_LINES.search(f"{row['rule']} {row.get('applies', '')}") for row in asked)


def at_place(evidence: Evidence, place: Place) -> Evidence:
    """Return the evidence of a fleet as if every service had moved to a place."""
    views = dict(evidence.views)
    views["engines"] = _one_row_each(evidence, "engines", dict(place.engine))
    views["hosts"] = _one_row_each(evidence, "hosts", dict(place.host))
    views["services"] = _spread(evidence, place)
    changed = {}
    workloads = views["workloads"]
    if place.mirrored:
        changed["public_unmirrored"] = False
    if workloads.table["rootless"].any():
        changed["rootless"] = False
    if changed:
        table = _assigned(workloads.table, changed)
        views["workloads"] = replace(workloads, table=table, answers={})
    return Evidence(evidence.services, views, evidence.at)


def _one_row_each(evidence: Evidence, table: str, facts: Table) -> View:
    """Return a view of one row per service, with these facts and nothing else."""
    old = evidence.views[table].table
    services = Series(evidence.services.astype("string"))
    blank = old.iloc[:0].reindex(services.index)
    known = {name: fact for name, fact in facts.items() if name in blank}
    rows = _assigned(blank, known).assign(service_id=services, sure=True)
    return View.of(evidence.services, rows)


def _spread(evidence: Evidence, place: Place) -> View:
    """Return the view of services with the replicas at a target."""
    table = evidence.views["services"].table
    # a service never moves to fewer replicas than it has
    replicas = table["replicas_n"].fillna(0).clip(lower=place.replicas)
    changed = table.assign(
        replicas_n=replicas,
        redundant=(replicas >= 2).astype("boolean"),
        heals_itself=Series(place.self_heal, table.index, dtype="boolean"),
        hosts_n=Series(float(place.hosts_n), table.index, dtype="Float64"),
        azs_n=Series(float(place.zones), table.index, dtype="Float64"),
    )
    return View.of(evidence.services, changed)


def _assigned(table: DataFrame, values: Table) -> DataFrame:
    """Return a table with one value in each of some columns, of the column's type."""
    columns = {
        name: Series(value, table.index, dtype=table[name].dtype)
        for name, value in values.items()
    }
    return table.assign(**columns)
