"""What a move to the policy's target does to containment, for every service at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy import Policy
from assess.reference import parse_version, target_engine
from assess.score.graph import LEVELS, Fleet, is_running, needed
from assess.score.lanes import Floats
from assess.score.scenarios import Scenarios
from assess.score.spread import Graph, Sampling, spread

LEFT = ("host", "az", "engine", "base_image", "cluster")  # its own image moves along
KEY = ["element_kind", "element", "service_id"]


def landing(fleet: Fleet, target: Mapping[str, Any]) -> dict[str, str]:
    """Name the shared elements that a service comes to stand on.

    Parameters
    ----------
    fleet : Fleet
        The fleet as it is.
    target : mapping
        The policy's ``[target]``.

    Returns
    -------
    dict of str to str
        By kind: the engine (a line is the newest version of it in the fleet), the base image
        where the target names one, and the fleet's largest cluster where it lands on a cluster.
    """
    runtime, version = str(target["runtime"]), target_engine(target)
    elements = fleet.elements.to_frame(index=False)
    engines = elements.loc[elements["element_kind"] == "engine", "element"]
    line = f"{runtime} {version}."
    found = [e.removeprefix(f"{runtime} ") for e in engines if e.startswith(line)]
    newest = max(found, key=lambda v: (parse_version(v) or (), v), default=version)
    named = {"engine": f"{runtime} {newest}"}
    if target["base_image"]:
        named["base_image"] = str(target["base_image"])
    if target["landing"] == "cluster":
        used = fleet.stands.loc[fleet.stands["element_kind"] == "cluster", "element"]
        sizes = used.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        named["cluster"] = str(sizes.index[0]) if len(sizes) else "new cluster"
    return named


def spread_replicas(
    replicas: int, min_healthy_pct: float, hosts_n: int, zones: list[str]
) -> tuple[int, list[str]]:
    """Lay replicas on new hosts in turn, and the hosts over zones in turn.

    Parameters
    ----------
    replicas : int
        Replicas after the move. [count]
    min_healthy_pct : float
        Share of them that the service needs; NaN where unknown. [percent]
    hosts_n : int
        New hosts. [count]
    zones : list of str
        Zones of the fleet.

    Returns
    -------
    hosts : int
        New hosts whose failure takes the service down. [count]
    zones : list of str
        Zones whose failure does.
    """
    spare = replicas - needed(np.array([float(replicas)]), np.array([min_healthy_pct]))[0]
    held = Counter(i % hosts_n for i in range(replicas))
    in_zone: Counter[str] = Counter()
    for host, n in held.items():
        if zones:
            in_zone[zones[host % len(zones)]] += n
    return sum(n > spare for n in held.values()), sorted(z for z, n in in_zone.items() if n > spare)


def replicas_of(inventory: Inventory, fleet: Fleet) -> pd.DataFrame:
    """Count the replicas of each service.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads``.
    fleet : Fleet
        The fleet as it is.

    Returns
    -------
    DataFrame
        Index ``service_id``, sorted: ``replicas`` that run [count] and ``min_healthy_pct``.
    """
    replicas = inventory["workloads"]
    counts = (
        replicas.loc[is_running(replicas), "service_id"]
        .value_counts()
        .reindex(fleet.services, fill_value=0)
    )
    share = inventory["services"].set_index("service_id")["min_healthy_pct"]
    return pd.DataFrame({"replicas": counts, "min_healthy_pct": share.reindex(fleet.services)})


def exchanges(
    inventory: Inventory, fleet: Fleet, target: Mapping[str, Any]
) -> tuple[pd.DataFrame, Floats]:
    """List the elements that a move adds to what takes a service down, and those it removes.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads``.
    fleet : Fleet
        The fleet as it is.
    target : mapping
        The policy's ``[target]``.

    Returns
    -------
    changes : DataFrame
        ``element_kind, element, service_id, sign``: 1 for added, -1 for removed.
    new_hosts : ndarray
        By service, new hosts whose failure alone takes it down. [count]
    """
    shared = landing(fleet, target)
    zones = sorted(element for kind, element in fleet.elements if kind == "az")
    kept = {"base_image", "cluster"} if target["orchestrator"] else {"base_image"}
    before = fleet.down["point"]
    before = before.loc[before["element_kind"].isin(LEFT), KEY]
    stays = before[before["element_kind"].isin(kept - set(shared))]
    added, new_hosts = [], []
    for row in replicas_of(inventory, fleet).itertuples():
        replicas = max(int(row.replicas), int(target["replicas"]), 1)
        share = np.nan if pd.isna(row.min_healthy_pct) else float(row.min_healthy_pct)
        hosts, lost = spread_replicas(replicas, share, max(1, int(target["hosts_n"])), zones)
        new_hosts.append(hosts)
        added += [(kind, element, row.Index) for kind, element in shared.items()]
        added += [("az", zone, row.Index) for zone in lost]
    after = pd.concat([stays, pd.DataFrame(added, columns=KEY, dtype="str")]).drop_duplicates()
    both = before.merge(after, how="outer", indicator="said").query("said != 'both'")
    both = both.assign(sign=np.where(both["said"] == "right_only", 1.0, -1.0))
    return both[[*KEY, "sign"]].sort_values(KEY, ignore_index=True), np.array(new_hosts, float)


def _scenarios(fleet: Fleet, changes: pd.DataFrame) -> tuple[Scenarios, pd.DataFrame]:
    """Make scenarios: each service alone; each changed element with and without the service."""
    end = len(fleet.services)
    scenario, node = [np.arange(end)], [np.arange(end)]
    down = fleet.down["point"].groupby(["element_kind", "element"])["service_id"]
    members = {key: fleet.nodes.get_indexer(pd.Index(ids)) for key, ids in down}
    found = []
    for key, rows in changes.groupby(["element_kind", "element"], sort=True):
        others = members.get(key, np.empty(0, np.int64))
        services = fleet.nodes.get_indexer(pd.Index(rows["service_id"]))
        lanes = np.arange(end + 1, end + 1 + len(services))  # ``end`` is the fleet as it is
        apart = np.repeat(lanes, len(others)), np.tile(others, len(services))
        kept = apart[1] != np.repeat(services, len(others))
        leaves = np.isin(services, others)
        scenario += [np.full(len(others), end), apart[0][kept], lanes[~leaves]]
        node += [others, apart[1][kept], services[~leaves]]
        pair = np.where(
            leaves, [np.full(len(lanes), end), lanes], [lanes, np.full(len(lanes), end)]
        )
        found.append(np.stack([services, *pair, rows["sign"].to_numpy()], axis=1))
        end += len(rows) + 1
    terms = np.concatenate([np.empty((0, 4)), *found])
    table = pd.DataFrame(terms, columns=["service", "together", "without", "sign"])
    table = table.astype(dict.fromkeys(["service", "together", "without"], "int64"))
    unlisted = np.zeros(end, bool)
    return Scenarios(np.concatenate(scenario), np.concatenate(node), end, unlisted), table


def containment(
    inventory: Inventory,
    policy: Policy,
    fleet: Fleet,
    *,
    graphs: Mapping[str, Graph],
    sampling: Sampling,
) -> pd.DataFrame:
    """Work out what the move of each service, by itself, does to containment.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads``.
    policy : Policy
        Its ``[target]`` says where a service moves to.
    fleet : Fleet
        The fleet as it is.
    graphs : mapping of str to Graph
        Who fails with whom, by level.
    sampling : Sampling
        How uncertain edges are dealt with.

    Returns
    -------
    DataFrame
        Index ``service_id``: ``delta, delta_lo, delta_hi``. [shares of the fleet's criticality]
        A service that runs nowhere known has no point, and every kind of element in its interval.

    Notes
    -----
    ``delta = sum over x of impact after - impact before``, over hosts, zones, engines, base images
    and clusters, each failing once: negative is containment gained. Only the elements that take
    the service down before or after the move differ, and each by what the service adds to what
    falls anyway: ``impact({service} + others) - impact(others)``, where others is what x takes
    down besides. So leaving a host helps nothing while a dependency stays on it, and joining an
    engine costs less where that engine takes the service down already. Replicas are laid in turn
    on ``hosts_n`` new hosts, the hosts in turn over the fleet's zones; a service never moves to
    fewer replicas than it has. Its own image moves along and counts on neither side. A registry
    takes nothing down. The interval spans the levels of the uncertain edges.
    """
    changes, new_hosts = exchanges(inventory, fleet, policy["target"])
    scenarios, terms = _scenarios(fleet, changes)
    total = float(fleet.weight.sum()) or 1.0
    n = len(fleet.services)
    deltas: list[Floats] = []
    known: dict[bytes, Floats] = {}
    for graph in (graphs[level] for level in LEVELS):
        same = graph.p.tobytes()  # levels that do not differ are computed once
        if same not in known:
            found = spread(graph, scenarios, sampling=sampling)
            known[same] = found.loss / total
        loss = known[same]
        gap = np.maximum(loss[terms["together"]] - loss[terms["without"]], 0) * terms["sign"]
        deltas.append(np.bincount(terms["service"], gap, n) + new_hosts * loss[:n])
    lo, hi = np.min(deltas, axis=0), np.max(deltas, axis=0)
    kinds = fleet.elements.get_level_values(0).unique().intersection(LEFT)
    nowhere = replicas_of(inventory, fleet)["replicas"].to_numpy() == 0
    lo = np.where(nowhere, lo - len(kinds) * loss[:n], lo)  # loss is that of hi, the last level
    table = pd.DataFrame({"delta": deltas[1], "delta_lo": lo, "delta_hi": hi}, index=fleet.services)
    table = table.astype("Float64")
    table.loc[nowhere, "delta"] = pd.NA
    return table
