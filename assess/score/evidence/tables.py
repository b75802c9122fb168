"""Evidence tables: one per frame, by service, in three-valued types.

Text and vocabularies become nullable (`string`), the word "unknown" becomes NA, and reference
facts are joined to the observed rows.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series, Timestamp

from assess import frames, reference
from assess.frames import surely
from assess.inventory import Inventory
from assess.linear import Linear
from assess.policy import Policy, Table
from assess.score.evidence import PERHAPS, Evidence, View, any_sign, facts
from assess.score.evidence.facts import Nodes, nodes
from assess.score.incidents import (
    ANY_CONTAINER,
    CONTAINER,
    HOST,
    Exposure,
    exposure,
    is_replica,
    replicas_in_containers,
)

LOWER_TIERS = (2, 3, 4)
TARGET = "target of the policy"  # in place of a host

# a port that a container listens on, as in 5432/tcp and 15432->5432/tcp
PORT = r"(?<![\d.])(?:{})(?:/\w+)?\s*(?:[;,]|$)"


def gather(inventory: Inventory, policy: Policy) -> Evidence:
    """Return the evidence of every service, with one view per table of `rules.TABLES`."""
    at = inventory.snapshot_at
    target = reference.target_docker(policy["target"])
    runtimes = {**nodes(inventory), **_poor_goal(policy["target"], at)}
    engines = _engines(nullable(inventory["engines"], "engines"), runtimes, at, target)
    hosts = _hosts(nullable(inventory["hosts"], "hosts"), runtimes, at, target)
    services = nullable(inventory["services"], "services")
    services = services.sort_values("service_id", ignore_index=True)
    everywhere = Index(services["service_id"].astype("str"))
    exposed = exposure(inventory, policy)
    workloads = _workloads(inventory, services, engines, policy, exposed)
    workloads = _with_facts(workloads, inventory, policy)
    is_unit = surely(workloads["contained"].eq(False))
    units = workloads[is_unit]
    containers = workloads[~is_unit]
    # services without containers, and services with other replicas beside them
    outside = _only(units, containers)
    partly = set(units["service_id"])
    calls = nullable(inventory["dependencies"], "dependencies")
    calls = calls[calls["src_id"].isin(everywhere)]
    calls = calls.assign(service_id=calls["src_id"])
    images = _images(inventory, containers)
    image_view = View.of(everywhere, images, na=outside, partly=partly)
    if TARGET in runtimes:
        # judge units as containers on the target: a poor target is as bad as a poor engine
        there = Series(TARGET, units.index, "string")
        containers = pd.concat([containers, units.assign(host_id=there)])
        outside = set()
    on_engines = _by_host(containers, engines)
    # of several runtimes of a host nobody knows which one runs the container
    on_engines["sure"] &= ~surely(on_engines["only"].eq(False))
    views = {
        "workloads": View.of(everywhere, workloads),
        "mounts": _mounts(inventory, workloads, everywhere),
        "hosts": View.of(everywhere, _by_host(workloads, hosts)),
        "engines": View.of(everywhere, on_engines, na=outside, partly=partly),
        "images": image_view,
        "dependencies": View.of(everywhere, calls),
    }
    table = _services(services, views, exposed, policy)
    views["services"] = View.of(everywhere, table)
    return Evidence(everywhere, views, at)


def _poor_goal(target: Table, at: Timestamp) -> Nodes:
    """Return the line of the target as the node of a host, unless it is supported."""
    version = reference.target_engine(target)
    goal = reference.Node(target["runtime"], version)
    # a platform without versions has no line that could end
    is_sound = not version or reference.runtime_support(goal, at).is_given
    return {} if is_sound else {TARGET: [goal]}


def nullable(table: DataFrame, frame: str) -> DataFrame:
    """Return a frame in which a comparison with an unknown cell is unknown.

    Text and vocabularies become `string`; empty text and the word "unknown" of a vocabulary are NA.
    """
    changed = {}
    for name, column in frames.columns(frame).items():
        if column.dtype in ("str", "category"):
            text = table[name].astype("string")
            blanks = ["", "unknown"] if "unknown" in column.vocabulary else [""]
            is_blank = text.isin(blanks)
            changed[name] = text.mask(is_blank) if is_blank.any() else text
    return table.assign(**changed)


def _among(cells: Series, words: Sequence[str]) -> Series:
    """Return whether cells are among the words; NA for an unknown cell."""
    return cells.isin(words).astype("boolean").mask(cells.isna())


def _only(these: DataFrame, others: DataFrame) -> set[str]:
    """Return the services of these rows that have none of the others."""
    return set(these["service_id"]) - set(others["service_id"])


def _distinct(workloads: DataFrame, key: list[str]) -> DataFrame:
    """Return the distinct keys of each service's workloads; ``sure`` if any workload is."""
    by = ["service_id", *key]
    groups = workloads.groupby(by, as_index=False, sort=False, dropna=False)
    return groups["sure"].max()


def _by_host(workloads: DataFrame, facts: DataFrame) -> DataFrame:
    """Return the facts of the hosts of each service's workloads."""
    known = facts.dropna(subset="host_id")
    hosts = _distinct(workloads, ["host_id"])
    return hosts.merge(known, on="host_id", how="left")


def _workloads(
    inventory: Inventory,
    services: DataFrame,
    engines: DataFrame,
    policy: Policy,
    exposed: Exposure,
) -> DataFrame:
    """Return live workloads, with what their kind, names and registries show."""
    registries = policy["registries"]
    table = _live(inventory, services, exposed)
    side = table["service_id"].map(exposed.side).eq(CONTAINER)
    table["contained"] = replicas_in_containers(table, policy).fillna(side)
    is_unit = surely(table["contained"].eq(False))
    table = table.assign(**_store_signs(table, services, policy["evidence"]))
    # one engine without a mirror is enough; one unknown engine leaves it unknown
    settings = engines.groupby("host_id")[["mirrors_n", "rootless"]].min(skipna=False)
    settings = settings.reindex(table["host_id"]).set_axis(table.index)
    # a mirror of an engine serves images of Docker Hub alone
    on_hub = _among(table["registry"], registries["hub"])
    is_mirrored = on_hub & (settings["mirrors_n"] > 0)
    on_public = _among(table["registry"], registries["public"])
    unmirrored = on_public & ~is_mirrored
    table["public_unmirrored"] = unmirrored.mask(is_unit, other=False)
    # few engines are: only what all engines of a host say lifts a finding
    table["rootless"] = surely(settings["rootless"]).astype("boolean")
    return table


def _live(inventory: Inventory, services: DataFrame, exposed: Exposure) -> DataFrame:
    """Return live workloads; ended ones count only if nothing of the service runs."""
    # A workload that may have ended, or may be the last one, stays as a row that is not
    # ``sure``.
    table = nullable(inventory["workloads"], "workloads")
    if inventory.has("workloads"):
        # a service on plain hosts without a workload row runs as a unit that no source saw
        side = services["service_id"].map(exposed.side)
        on_host = services.loc[surely(side.eq(HOST)), ["service_id"]]
        table = table.merge(on_host, how="outer")
    running = table["state"].eq("running")
    runs = surely(running)
    service = table["service_id"]
    some_run = service.isin(service[runs])
    some_may_run = service.isin(service[running.isna()])
    table["sure"] = runs | ~some_may_run
    source = table["source"].str.replace(";.*", "", regex=True)
    table["unheard"] = source.isin(inventory.silent)
    table["inspect_status"] = table["inspect_status"].mask(table["unheard"])
    has_ended = some_run & ~running.fillna(value=True)
    return table[~has_ended].reset_index(drop=True)


def _store_signs(
    table: DataFrame, services: DataFrame, words: Table
) -> dict[str, Series]:
    """Return the signs of a data store by workload: port, name, kind of set, kind of image."""
    service = table["service_id"]
    declared = service.map(services.set_index("service_id")["stateful"])
    stateless = surely(declared.eq(False))
    ports = "|".join(map(str, words["store_ports"]))
    listens = table["ports"].str.contains(PORT.format(ports)).astype("boolean")
    is_init = surely(table["container_role"].eq("init"))
    # a tool for a store, which may listen on the store's port
    tool = table["repository"].map(cache(reference.is_tool), na_action="ignore")
    is_tool = surely(tool.astype("boolean"))
    is_named = service.map(cache(reference.is_store_name)).astype("boolean")
    is_set = table["source_kind"].str.lower().eq("statefulset").astype("boolean")
    kinds = _image_kind(table["repository"], words["store_names"])
    is_quiet = stateless | is_tool | is_init
    is_unit = surely(table["contained"].eq(False))
    return {
        "store_port": listens.mask(is_quiet, other=False),
        "store_name": is_named.mask(is_quiet, other=False),
        "stateful_set": is_set.mask(stateless, other=False),
        # an image of a store that only prepares the others keeps nothing
        "image_kind": kinds.mask(is_unit | is_init, other="none"),
    }


def _with_facts(workloads: DataFrame, inventory: Inventory, policy: Policy) -> DataFrame:
    """Return workloads with columns derived from their mounts, images and hosts."""
    mounts = nullable(inventory["mounts"], "mounts")
    images = nullable(inventory["images"], "images")
    hosts = nullable(inventory["hosts"], "hosts")
    arch = policy["target"].get("arch", "")
    return workloads.assign(
        data_volume=facts.keeps_on_volume(
            workloads,
            mounts,
            frozenset(policy["evidence"]["settings_directories"]),
            is_listed=inventory.has("mounts"),
        ),
        arch_runs=facts.runs_on_arch(workloads, images, hosts, arch),
        one_version=facts.one_version(inventory, workloads),
        strong_capability=facts.has_strong_capability(
            workloads, policy["evidence"]["harmless_capabilities"]
        ),
    )


def _image_kind(repositories: Series, patterns: Sequence[str]) -> Series:
    own = [Linear(pattern) for pattern in patterns]

    def kind_of(repository: str) -> str:
        named = "database" if any(p.search(repository) for p in own) else "none"
        return reference.stateful_kind(repository) or named

    found = repositories.map(cache(kind_of), na_action="ignore").astype("string")
    return found.mask(found == reference.VAGUE)


def _mounts(inventory: Inventory, workloads: DataFrame, services: Index) -> View:
    """Return the mounts of live workloads."""
    # A row of NA stands for a workload with unknown mounts. A unit on a plain host
    # without mounts on record has none, unless nobody saw the unit itself.
    table = nullable(inventory["mounts"], "mounts")
    key = ["workload_id", "service_id", "sure"]
    mounted = workloads[key].merge(table, on="workload_id")
    rest = workloads[~workloads["workload_id"].isin(mounted["workload_id"])]
    has_mounts = inventory.has("mounts")
    looked = surely(rest["inspect_status"].eq("ok")) & has_mounts
    is_unit = surely(rest["contained"].eq(False)) & has_mounts & ~rest["unheard"]
    # what may have ended says nothing for a unit beside it that was not looked at
    not_looked = rest["service_id"].isin(rest.loc[is_unit & ~looked, "service_id"])
    may_be_gone = looked & ~rest["sure"] & not_looked
    is_open = may_be_gone & ~is_unit
    is_vague = is_open | rest["workload_id"].isna()
    unseen = rest.loc[~(looked | is_unit) | is_vague, key]
    rows = pd.concat([mounted, unseen], ignore_index=True)
    none = _only(rest[looked & ~may_be_gone], rows)
    na = _only(rest[is_unit], rows) - none
    has_none = ~workloads["workload_id"].isin(rows["workload_id"])
    partly = set(workloads.loc[has_none, "service_id"])
    return View.of(services, rows, none=none, na=na, partly=partly)


def _images(inventory: Inventory, workloads: DataFrame) -> DataFrame:
    key = ["registry", "repository", "digest"]
    table = nullable(inventory["images"], "images").sort_values([*key, "host_id"])
    known = table.groupby(key, sort=False).first().reset_index()
    used = _distinct(workloads.rename(columns={"image_digest": "digest"}), key)
    return used.merge(known, on=key, how="left")


def _engines(
    table: DataFrame,
    on_host: Nodes,
    at: Timestamp,
    target: str,
) -> DataFrame:
    """Return the engines of hosts with reference facts; ``only`` is False where a host has several."""
    rows = [
        {
            "host_id": host,
            "runtime": node.runtime,
            "only": len(runtimes) == 1,
            "managed": reference.is_managed(node),
            "engine_supported": reference.runtime_support(node, at).is_given,
            "line": _line_words(node, at),
            "node": node,
        }
        for host, runtimes in on_host.items()
        for node in runtimes
    ]
    kinds = dict.fromkeys(["host_id", "runtime", "line"], "string")
    kinds |= dict.fromkeys(["only", "managed", "engine_supported"], "boolean")
    found = DataFrame(rows, columns=[*kinds, "node"])
    table = found.astype(kinds).merge(table, on=["host_id", "runtime"], how="left")
    # a platform without engines of one's own has no place for a mirror either
    has_none = table["managed"] & table["runtime"].isna()
    table["mirrors_n"] = table["mirrors_n"].mask(has_none, 0)
    runs = [
        reference.node_driver_runs(node, driver, target)
        for node, driver in frames.objects(table[["node", "storage_driver"]])
    ]
    table["driver_runs_on_target"] = Series(runs, table.index, dtype="boolean")
    return table.drop(columns="node")


def _line_words(node: reference.Node, at: Timestamp) -> str | None:
    """Return the runtime or cluster of a node with its end of support, or else the basis."""
    product, version = reference.runtime_line(node)
    named = " ".join(filter(None, (product, version)))
    if not named:
        return None
    support = reference.runtime_support(node, at)
    if support.eol_date is None:
        return f"{named}: {support.basis}"
    tense = "ended" if support.eol_date <= at else "supported until"
    why = support.basis.rpartition(": ")[0]  # by what else it was judged, if at all
    ends = f"{tense} {support.eol_date:%Y-%m-%d}"
    return ", ".join(filter(None, (named, ends, why)))


def _hosts(
    table: DataFrame,
    on_host: Nodes,
    at: Timestamp,
    target: str,
) -> DataFrame:
    columns = ["host_id", "os_name", "os_version", "os_family", "kernel"]
    answers = []
    for host, name, version, family, kernel in frames.objects(table[columns]):
        alone = [reference.Node(os_name=name, os_version=version)]
        node = on_host.get(host, alone)[0]
        managed = reference.is_managed(node)
        supported = reference.node_system_support(node, at).is_given
        runs = True if managed else reference.kernel_runs(kernel, target)
        # an engine for Linux containers needs a Linux kernel, whatever its version
        is_linux = family in (None, reference.LINUX)
        answers.append((supported, runs if is_linux else False, managed))
    names = ["os_supported", "kernel_runs_on_target", "managed"]
    return table.join(DataFrame(answers, table.index, names, dtype="boolean"))


def _services(
    services: DataFrame,
    views: Mapping[str, View],
    exposed: Exposure,
    policy: Policy,
) -> DataFrame:
    words = policy["evidence"]
    live = views["workloads"]
    workloads = live.table
    calls = views["dependencies"].table
    hosts = views["hosts"].table[["service_id", "host_id", "az", "asg_name"]]
    located = workloads[["service_id", "host_id"]].merge(hosts, how="left")
    table = services.copy()
    table["replicas_n"] = _running_n(live, workloads["workload_id"])
    table["hosts_n"] = _running_n(live, workloads["host_id"])
    table["azs_n"] = _running_n(live, located["az"])
    called = calls.groupby("service_id")["dst_id"].nunique()
    table["dependencies_n"] = services["service_id"].map(called).astype("Float64")
    undeclared = facts.undeclared(calls, live, words)
    table["undeclared_n"] = services["service_id"].map(undeclared).astype("Float64")
    several = (table["replicas_n"] >= 2).astype("Float64").fillna(PERHAPS)
    several = several.mask(live.count(slice(None)) == 0)
    table["redundant"] = any_sign(several, table["asg_min"] >= 2)
    restarts = workloads["restart_policy"].str.lower()
    # a sign that is absent (no group, no log driver that exports) proves nothing, nor does an
    # engine without an orchestrator, whose restart policies decide
    platform = table["platform"]
    grouped = located["asg_name"].notna().astype("boolean")
    table["heals_itself"] = any_sign(
        _among(platform, words["orchestrators"]).mask(platform.eq(ANY_CONTAINER)),
        table["asg_min"] >= 1,
        _seen(live, grouped.mask(~grouped)),
        _seen(live, _among(restarts, words["healing_restarts"])),
    )
    health = workloads["health"].str.lower()
    table["health_found"] = any_sign(
        table["health_checked"], _seen(live, health.ne("none").astype("boolean"))
    )
    drivers = workloads["log_driver"].str.lower()
    exported = _among(drivers, words["exporting_log_drivers"])
    table["logs_found"] = any_sign(
        table["logs_exported"], _seen(live, exported.mask(~exported))
    )
    named = workloads.groupby("service_id")["secret_env_names"].first()
    table["secret_names"] = services["service_id"].map(named).astype("string")
    months = exposed.clean_months(side=CONTAINER, tiers=LOWER_TIERS)
    table["lower_tier_months"] = pd.array([months] * len(table), dtype="Float64")
    return table


def _running_n(live: View, values: Series) -> Series:
    """Count distinct values among the running workloads of each service; NA if uncertain."""
    state = live.table["state"]
    running = state.eq("running").mask(state.eq("declared"))  # nobody saw it
    running = running.where(is_replica(live.table), other=False)
    may_run = running.fillna(value=True).to_numpy(bool)
    codes, _ = pd.factorize(values)
    is_unknown = codes < 0
    # one replica of unknown state or place makes the whole count unknown
    vague = running.isna().to_numpy(bool) | (may_run & is_unknown)
    pairs = DataFrame({"service": live.codes, "value": codes})
    distinct = pairs[may_run & ~is_unknown].drop_duplicates()
    count = live.count(distinct.index).astype(float)
    has_none = live.count(slice(None)) == 0
    is_unsure = has_none | (live.count(vague) > 0)
    return Series(pd.arrays.FloatingArray(count, is_unsure))


def _seen(live: View, signs: Series) -> Series:
    """Return by service whether any live workload shows a good sign; see `any_sign`."""
    # A workload that may have ended counts for the sign only beside others that show it, and one
    # of which nobody knows it may show it.
    shown = signs.to_numpy(float)
    good = live.count(live.sure & (shown == 1)) > 0
    perhaps = live.count(shown != 0) > 0
    looked = live.count(~np.isnan(shown)) > 0
    value = np.where(good, 1.0, perhaps * PERHAPS)
    return Series(pd.arrays.FloatingArray(value, ~looked))
