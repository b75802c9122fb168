"""Ends of support of components under each service, announced events, and the work by team."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
from pandas import DataFrame, Series, Timestamp

from assess import reference
from assess.inventory import Inventory
from assess.score.evidence.facts import nodes
from assess.score.upgrade_churn.breaking import MAY, WILL, grouped, joined, of_world
from assess.score.upgrade_churn.pace import PROSPECTIVE, Place
from assess.score.upgrade_churn.sights import Engines, cells, text_of

CLOCK_KEY = ["service_id", "component", "name", "version"]
CLOCK_COLUMNS = [*CLOCK_KEY, "eol_date", "days_to_eol", "basis"]

PLATFORMS = {  # what schedules there, where no host tells its version
    "kubernetes": "kubernetes",
    "marathon": "apache-mesos",
    "nomad": "nomad",
}

Clock = tuple[Any, ...]
DAYS = 365  # four quarters
END = "support ends"
EVENT = "announced event"
COLUMNS = [
    "quarter",
    "day",
    "kind",
    "what",
    "certainty",
    "services_n",
    "services",
    "remedy",
    "source",
]
_WORK = ["remedy", "certainty", "moment", "change", "what", "source"]


def clocks(
    inventory: Inventory,
    placed: list[Place],
    engines: Engines,
    bases: dict[str, list[str]],
) -> DataFrame:
    """List the clocks of every service, each once; NA where no end is announced or known."""
    at = inventory.snapshot_at
    runtimes = nodes(inventory)
    none = [reference.Node()]
    on_host = {
        row.host_id: list(_of_host(row, runtimes.get(row.host_id, none)[0], at))
        for row in inventory["hosts"].itertuples()
    }
    on_engine = {
        host: [*_of_runtimes(runtimes.get(host, ()), at), *_of_engine(engine, at)]
        for host, engine in (dict.fromkeys(runtimes) | engines).items()
    }
    rows: list[Clock] = []
    for service, host, basis, *_ in placed:
        rows += [(service, *clock) for clock in on_host.get(host, [])]
        if basis != PROSPECTIVE:
            rows += [(service, *clock) for clock in on_engine.get(host, [])]
    scheduled = {row[0] for row in rows if row[1] == "orchestrator"}
    # there the provider schedules, by its own calendar
    provided = {
        host for host, found in runtimes.items() if all(map(reference.is_managed, found))
    }
    scheduled |= {service for service, host, *_ in placed if host in provided}
    for service, platform in cells(inventory["services"], "service_id", "platform"):
        if platform in PLATFORMS and service not in scheduled:
            product = PLATFORMS[platform]
            end = reference.product_support(product, None, at)
            rows.append((service, *_clock("orchestrator", product, None, end)))
    for service, images in bases.items():
        for base in filter(None, images):
            name, version = reference.base_system(base)
            end = reference.os_support(name, version, at)
            rows.append((service, *_clock("base image", name or base, version, end)))
    kinds = dict.fromkeys(CLOCK_COLUMNS, "str")
    kinds |= {"eol_date": "datetime64[us, UTC]", "days_to_eol": "Int64"}
    # each once, in the order of the first
    table = DataFrame(list(dict.fromkeys(rows)), columns=CLOCK_COLUMNS).astype(kinds)
    return table.sort_values(CLOCK_KEY, ignore_index=True)


def nearest_end(times: DataFrame, unread: set[str]) -> Series:
    """Return by service the days to the nearest end of support; ``unread`` have none."""
    nearest = times.groupby("service_id")["days_to_eol"].min()
    is_vague = times["component"].eq("os") & times[CLOCK_KEY].isna().any(axis=1)
    # support of an unread system may end before the nearest known end
    return nearest.drop(unread.union(times.loc[is_vague, "service_id"]), errors="ignore")


def _clock(
    component: str, name: str, version: str | None, end: reference.Support
) -> Clock:
    return component, name, version, end.eol_date, end.days_to_eol, end.basis


def _of_host(host: Any, node: reference.Node, at: Timestamp) -> Iterator[Clock]:
    if reference.is_managed(node):
        return
    name = host.os_name
    version = host.os_version
    node = node._replace(os_name=text_of(name), os_version=text_of(version))
    yield _clock("os", name, version, reference.node_system_support(node, at))
    if isinstance(host.kernel, str):
        end = reference.kernel_support(host.kernel, at, os_name=name, os_version=version)
        yield _clock("kernel", "linux", host.kernel, end)


def _of_runtimes(runtimes: Iterable[reference.Node], at: Timestamp) -> Iterator[Clock]:
    """Yield the clocks of the runtimes of a host, or of the cluster that decides instead."""
    for node in runtimes:
        platform = reference.platform_of(node)
        product, version = reference.runtime_line(node)
        if product is None:
            continue
        component = "engine" if platform is None else platform.kind
        end = reference.product_support(product, version, at)
        yield _clock(component, product, version, end)
        if end.extended_date is not None:
            days = (end.extended_date - at.normalize()).days
            basis = "extended support, which costs extra"
            extended = f"{component}, extended"
            yield extended, product, version, end.extended_date, days, basis


def _of_engine(engine: Any, at: Timestamp) -> Iterator[Clock]:
    if engine is None:
        return
    parts = [
        ("containerd", "containerd", engine.containerd_version),
        ("orchestrator", "kubernetes", engine.kubelet_version),
        ("orchestrator", "ecs-agent", engine.ecs_agent_version),
    ]
    for component, product, version in parts:
        if isinstance(version, str):
            end = reference.product_support(product, version, at)
            yield _clock(component, product, version, end)


def calendar(inventory: Inventory, clocks: DataFrame) -> DataFrame:
    """List by day which support ends and what the world announced, for the next four quarters."""
    start = inventory.snapshot_at
    until = start + pd.Timedelta(days=DAYS)
    rows = pd.concat([_ends(clocks, start, until), _events(inventory, start, until)])
    key = [name for name in COLUMNS if not name.startswith(("services", "quarter"))]
    table = grouped(rows, key)
    table = table.sort_values(["day", "kind", "what"], ignore_index=True)
    days = table["day"].dt.tz_localize(None)
    table["quarter"] = days.dt.to_period("Q").astype("str")
    table["day"] = days.dt.strftime("%Y-%m-%d").astype("str")
    return table[COLUMNS]


def by_remedy(breaks: DataFrame, services: DataFrame) -> DataFrame:
    """Group breaking changes by remedy, most workloads first, with counts, services and teams."""
    owners = services.set_index("service_id")["owner"]
    rows = breaks.assign(team=breaks["service_id"].map(owners))
    table = grouped(
        rows,
        _WORK,
        workloads_n=("workload_id", "nunique"),
        hosts_n=("host_id", "nunique"),
        teams=("team", joined),
    )
    order = ["certainty", "workloads_n", *_WORK]
    # "will" comes before "may"
    ascending = [False, False, *[True] * len(_WORK)]
    return table.sort_values(order, ascending=ascending, ignore_index=True)


def _ends(clocks: DataFrame, start: Timestamp, until: Timestamp) -> DataFrame:
    found = clocks[clocks["eol_date"].gt(start) & clocks["eol_date"].le(until)]
    named = found["component"] + " " + found["name"] + " " + found["version"].fillna("")
    return found.assign(
        day=found["eol_date"],
        kind=END,
        what=named.str.strip(),
        certainty=WILL,
        remedy="move to a line that is still supported",
        source="support windows of the reference facts",
    )


def _events(inventory: Inventory, start: Timestamp, until: Timestamp) -> DataFrame:
    found = of_world(inventory, until)
    found = found[found["certainty"].isin([WILL, MAY]) & found["day"].gt(start)]
    columns = ["service_id", "day", "what", "certainty", "remedy", "source"]
    return found[columns].assign(kind=EVENT)
