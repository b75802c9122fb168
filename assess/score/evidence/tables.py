"""Evidence tables: one per frame, by service, in three-valued types.

Text and vocabularies become nullable (`string`), the word "unknown" becomes NA, and the reference
facts stand beside what the sources saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from assess import frames, reference
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.evidence.answers import Evidence, View, found
from assess.score.incidents.exposure import (
    CONTAINER,
    HOST,
    Exposure,
    exposure,
    replicas_in_containers,
)

LOWER_TIERS = (2, 3, 4)
# the first that a host has counts
RUNTIMES = ("docker", "podman", "cri-o", "containerd", "other", "none")

# a port that a container listens on, as in 5432/tcp and 15432->5432/tcp
_PORT = r"(?<![\d.])(?:{})(?:/\w+)?\s*(?:[;,]|$)"


def gather(inventory: Inventory, policy: Policy) -> Evidence:
    """Lay out what is known of every service.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        Its ``[evidence]``, ``[registries]`` and ``[target]`` are used.

    Returns
    -------
    Evidence
        With the views of `rules.TABLES`.
    """
    at = inventory.snapshot_at
    target = reference.target_engine(policy["target"])
    engines = _engines(nullable(inventory["engines"], "engines"), at, target)
    hosts = _hosts(nullable(inventory["hosts"], "hosts"), at, target)
    services = nullable(inventory["services"], "services").sort_values("service_id")
    services = services.reset_index(drop=True)
    exposed = exposure(inventory, policy)
    workloads = _workloads(inventory, services, engines, policy, exposed)
    units = _is(workloads["contained"], value=False)
    everywhere = pd.Index(services["service_id"].astype("str"))
    bare = _bare(exposed, workloads, is_known=inventory.has("workloads"))
    inside = _only(workloads[units], workloads[~units]) | bare
    mounts, none, na = _mounts(inventory, workloads, bare)
    on_units = set(workloads.loc[units, "service_id"])
    unmounted = workloads[~workloads["workload_id"].isin(mounts["workload_id"])]
    calls = nullable(inventory["dependencies"], "dependencies")
    calls = calls.assign(service_id=calls["src_id"])[calls["src_id"].isin(everywhere)]
    views = {
        "workloads": View.of(everywhere, workloads, na=bare),
        "mounts": View.of(
            everywhere, mounts, none=none, na=na, partly=set(unmounted["service_id"])
        ),
        "hosts": View.of(
            everywhere, _joined(_distinct(workloads, ["host_id"]), hosts, "host_id")
        ),
        "engines": View.of(
            everywhere,
            _joined(_distinct(workloads[~units], ["host_id"]), engines, "host_id"),
            na=inside,
            partly=on_units,
        ),
        "images": View.of(
            everywhere, _images(inventory, workloads[~units]), na=inside, partly=on_units
        ),
        "dependencies": View.of(everywhere, calls),
    }
    table = _services(services, views, exposed, policy)
    views["services"] = View.of(everywhere, table)
    return Evidence(everywhere, views, at)


def nullable(table: pd.DataFrame, frame: str) -> pd.DataFrame:
    """Return a frame in which a comparison with an unknown cell is unknown.

    Text and vocabularies become `string`; empty text and the word "unknown" of a vocabulary are NA.
    """
    changed = {}
    for name, column in frames.columns(frame).items():
        if column.dtype in ("str", "category"):
            text = table[name].astype("string")
            blank = text.isin(["", "unknown"] if "unknown" in column.vocabulary else [""])
            changed[name] = text.mask(blank) if blank.any() else text
    return table.assign(**changed)


def _workloads(
    inventory: Inventory,
    services: pd.DataFrame,
    engines: pd.DataFrame,
    policy: Policy,
    exposed: Exposure,
) -> pd.DataFrame:
    """Live workloads: what has ended counts only where nothing of the service runs.

    What may have ended, or may be all that is left, stays as a row that is not ``sure``.
    """
    words = policy["evidence"]
    registries = policy["registries"]
    table = nullable(inventory["workloads"], "workloads")
    running = table["state"].eq("running")
    runs = table["service_id"].isin(table.loc[running.fillna(value=False), "service_id"])
    vague = table["service_id"].isin(table.loc[running.isna(), "service_id"])
    table["sure"] = running.fillna(value=False) | ~vague
    table = table[~(runs & ~running.fillna(value=True))].reset_index(drop=True)
    declared = services.set_index("service_id")["stateful"]
    declared = declared.reindex(table["service_id"]).set_axis(table.index)
    contained = exposed.side.eq(CONTAINER).reindex(table["service_id"])
    by_service = contained.set_axis(table.index)
    table["contained"] = replicas_in_containers(table, policy).fillna(by_service)
    stateless = _is(declared, value=False)
    ports = "|".join(map(str, words["store_ports"]))
    listens = table["ports"].str.contains(_PORT.format(ports)).astype("boolean")
    table["store_port"] = listens.mask(stateless, other=False)
    is_set = table["source_kind"].str.lower().eq("statefulset").astype("boolean")
    table["stateful_set"] = is_set.mask(stateless, other=False)
    unit = _is(table["contained"], value=False)
    kinds = _image_kind(table["repository"], words["store_names"])
    table["image_kind"] = kinds.mask(unit, other="none")
    mirrors = engines.set_index("host_id")["mirrors_n"].reindex(table["host_id"])
    through = _in(table["registry"], registries["hub"]) & (mirrors > 0).set_axis(
        table.index
    )
    public = _in(table["registry"], registries["public"]) & ~through
    table["public_unmirrored"] = public.mask(unit, other=False)
    return table


def _image_kind(repositories: pd.Series, patterns: Sequence[str]) -> pd.Series:
    """Return the kind of store of each image, by the reference facts and by its name."""
    own = [re.compile(pattern) for pattern in patterns]

    def kind(repository: str) -> str:
        named = "database" if any(name.search(repository) for name in own) else "none"
        return reference.stateful_kind(repository) or named

    kinds = {
        repository: kind(repository) for repository in repositories.dropna().unique()
    }
    return repositories.map(kinds).astype("string")


def _joined(left: pd.DataFrame, right: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the rows of the left with the columns of the right; NA where there is no match."""
    return left.merge(right.dropna(subset=[key]), on=key, how="left")


def _distinct(workloads: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Return the distinct keys of the workloads of each service; sure where any of them is."""
    by = ["service_id", *key]
    return workloads.groupby(by, as_index=False, sort=False, dropna=False)["sure"].max()


def _engines(table: pd.DataFrame, at: pd.Timestamp, target: str) -> pd.DataFrame:
    """Return one engine per host, with the reference facts about it."""
    table = table.assign(rank=table["runtime"].map(RUNTIMES.index)).sort_values(
        ["host_id", "rank"]
    )
    table = table.drop_duplicates("host_id").drop(columns="rank")
    versions = table["version"].where(_is(table["runtime"], value="docker"))
    table["engine_supported"] = _known(
        versions, lambda version: _supported(reference.engine_support(version, at))
    )
    table["driver_runs_on_target"] = _known(
        table["storage_driver"], lambda driver: reference.driver_runs(driver, target)
    )
    return table


def _hosts(table: pd.DataFrame, at: pd.Timestamp, target: str) -> pd.DataFrame:
    """Return the hosts, with the reference facts about their kernel and operating system."""
    systems = pd.Series(
        list(zip(table["os_name"], table["os_version"], strict=True)),
        table.index,
        dtype=object,
    ).where(table["os_name"].notna() & table["os_version"].notna())
    table["os_supported"] = _known(
        systems, lambda system: _supported(reference.os_support(*system, at))
    )
    table["kernel_runs_on_target"] = _known(
        table["kernel"], lambda kernel: reference.kernel_runs(kernel, target)
    )
    return table


def _known(cells: pd.Series, fact: Callable[[Any], bool | None]) -> pd.Series:
    """Look each known cell up once."""
    facts = {cell: fact(cell) for cell in cells.dropna().unique()}
    return pd.Series(
        [facts.get(cell) if cell is not pd.NA else None for cell in cells],
        index=cells.index,
        dtype="boolean",
    )


def _supported(support: reference.Support) -> bool | None:
    return {"supported": True, "ended": False}.get(support.state)


def _only(these: pd.DataFrame, others: pd.DataFrame) -> set[str]:
    """Return the services of these rows that have none of the others."""
    return set(these["service_id"]) - set(others["service_id"])


def _bare(exposed: Exposure, workloads: pd.DataFrame, *, is_known: bool) -> set[str]:
    """Return the services on plain hosts without workloads: there is no container to look at."""
    if not is_known:
        return set()
    on_host = exposed.side.index[_is(exposed.side, value=HOST)]
    return set(on_host) - set(workloads["service_id"])


def _mounts(
    inventory: Inventory, workloads: pd.DataFrame, bare: set[str]
) -> tuple[pd.DataFrame, set[str], set[str]]:
    """Return mounts of live workloads, the services without any, and those that mounts do not apply to.

    A row of NA stands for a workload whose mounts were not seen. A unit on a plain host without
    mounts on record has none.
    """
    table = nullable(inventory["mounts"], "mounts")
    own = ["workload_id", "service_id", "sure"]
    mounted = workloads[own].merge(table, on="workload_id")
    rest = workloads[~workloads["workload_id"].isin(mounted["workload_id"])]
    looked = _is(rest["inspect_status"], value="ok")
    unit = _is(rest["contained"], value=False)
    settled = (looked | unit) & inventory.has("mounts")
    unseen = rest.loc[~settled, own]
    rows = pd.concat([mounted, unseen], ignore_index=True)
    none = _only(rest[settled & looked], rows)
    return rows, none, (_only(rest[settled & unit], rows) | bare) - none


def _images(inventory: Inventory, workloads: pd.DataFrame) -> pd.DataFrame:
    """Return the images that live containers run, with the first known fact of any copy."""
    key = ["registry", "repository", "digest"]
    table = nullable(inventory["images"], "images").sort_values([*key, "host_id"])
    used = _distinct(workloads.rename(columns={"image_digest": "digest"}), key)
    return used.merge(_first_known(table, key), on=key, how="left")


def _first_known(table: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Return one row per key, with the first known cell of each column."""
    table = table.dropna(subset=key)
    group = table.groupby(key, sort=False).ngroup().to_numpy()
    places = np.arange(len(table))[::-1]
    filled = {}
    for name in table:
        known = places[table[name].notna().to_numpy()[::-1]]
        first = np.full(group.max(initial=-1) + 1, -1)
        first[group[known]] = known  # the last written is the first known
        filled[name] = table[name].array.take(first, allow_fill=True)
    return pd.DataFrame(filled)


def _services(
    services: pd.DataFrame,
    views: Mapping[str, View],
    exposed: Exposure,
    policy: Policy,
) -> pd.DataFrame:
    """Services, with what their rows elsewhere add up to."""
    words = policy["evidence"]
    live = views["workloads"]
    workloads = live.table
    calls = views["dependencies"].table
    where = views["hosts"].table[["service_id", "host_id", "az", "asg_name"]]
    located = workloads[["service_id", "host_id"]].merge(
        where, on=["service_id", "host_id"], how="left"
    )
    table = services.copy()
    table["replicas_n"] = _running(live, workloads["workload_id"])
    table["hosts_n"] = _running(live, workloads["host_id"])
    table["azs_n"] = _running(live, located["az"])
    called = calls.groupby("service_id")["dst_id"].nunique()
    table["dependencies_n"] = services["service_id"].map(called).astype("Float64")
    table["redundant"] = found(table["replicas_n"] >= 2, table["asg_min"] >= 2)
    restarts = workloads["restart_policy"].str.lower()
    grouped = located["asg_name"].notna().astype("boolean")
    table["heals_itself"] = found(
        _in(table["platform"], words["orchestrators"]),
        table["asg_min"] >= 1,
        _seen(live, grouped.mask(~grouped)),
        _seen(live, _in(restarts, words["healing_restarts"])),
    )
    health = workloads["health"].str.lower()
    table["health_found"] = found(
        table["health_checked"], _seen(live, health.ne("none").astype("boolean"))
    )
    exported = _in(workloads["log_driver"].str.lower(), words["exporting_log_drivers"])
    table["logs_found"] = found(
        table["logs_exported"], _seen(live, exported.mask(~exported))
    )
    months = exposed.clean_months(side=CONTAINER, tiers=LOWER_TIERS)
    table["lower_tier_months"] = pd.array([months] * len(table), dtype="Float64")
    return table


def _running(live: View, values: pd.Series) -> pd.Series:
    """Count distinct values among the running workloads of each service; NA where not certain."""
    n = len(live.none)
    running = live.table["state"].eq("running")
    counted = running.fillna(value=True).to_numpy(dtype=bool)
    words, _ = pd.factorize(values)
    vague = running.isna().to_numpy(dtype=bool) | (counted & (words < 0))
    pairs = np.unique(np.stack([live.codes, words])[:, counted & (words >= 0)], axis=1)
    rows = np.bincount(live.codes, minlength=n)
    unsure = np.bincount(live.codes[vague], minlength=n)
    count = np.bincount(pairs[0], minlength=n).astype(float)
    return pd.Series(pd.arrays.FloatingArray(count, (rows == 0) | (unsure > 0)))


def _seen(live: View, signs: pd.Series) -> pd.Series:
    """Return by service whether any live workload shows a good sign; NA where none could.

    A workload that may have ended counts against the sign only if all others do too.
    """
    n = len(live.none)
    shown = signs.to_numpy(dtype=float, na_value=np.nan)
    rows = np.bincount(live.codes, minlength=n)
    bad = np.bincount(live.codes[shown == 0], minlength=n)
    counts = live.sure | (bad == rows)[live.codes]
    good = np.bincount(live.codes[counts & (shown == 1)], minlength=n) > 0
    known = np.bincount(live.codes[counts & ~np.isnan(shown)], minlength=n) > 0
    return pd.Series(pd.arrays.BooleanArray(good, ~known))


def _is(cells: pd.Series, *, value: object) -> pd.Series:
    """Return whether cells are known to be a value, as plain booleans."""
    return cells.eq(value).fillna(value=False).astype(bool)


def _in(cells: pd.Series, words: Sequence[str]) -> pd.Series:
    """Return whether cells are among the words; unknown where the cell is."""
    return cells.isin(words).astype("boolean").mask(cells.isna())
