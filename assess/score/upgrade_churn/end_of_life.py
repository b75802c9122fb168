"""Ends of support of the components under each service."""

from collections.abc import Iterable, Iterator
from typing import Any

from pandas import DataFrame, Series, Timestamp

from assess import reference
from assess.inventory import Inventory
from assess.score.evidence.nodes import nodes
from assess.score.upgrade_churn.pace import PROSPECTIVE, Place
from assess.score.upgrade_churn.sights import Engines, cells, text_of

KEY = ["service_id", "component", "name", "version"]
COLUMNS = [*KEY, "eol_date", "days_to_eol", "basis"]

PLATFORMS = {  # what schedules there, where no host tells its version
    "kubernetes": "kubernetes",
    "marathon": "apache-mesos",
    "nomad": "nomad",
}

Clock = tuple[Any, ...]


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
    kinds = dict.fromkeys(COLUMNS, "str")
    kinds |= {"eol_date": "datetime64[us, UTC]", "days_to_eol": "Int64"}
    # each once, in the order of the first
    table = DataFrame(list(dict.fromkeys(rows)), columns=COLUMNS).astype(kinds)
    return table.sort_values(KEY, ignore_index=True)


def nearest_end(times: DataFrame, unread: set[str]) -> Series:
    """Return by service the days to the nearest end of support; ``unread`` have none."""
    nearest = times.groupby("service_id")["days_to_eol"].min()
    is_vague = times["component"].eq("os") & times[KEY].isna().any(axis=1)
    # what nobody read may end before what is known
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
