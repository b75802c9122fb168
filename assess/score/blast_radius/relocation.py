"""What a move to the policy's target does to containment, for every service at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.reference import parse_version, target_engine
from assess.score.blast_radius.bitset import Booleans, Floats, Integers
from assess.score.blast_radius.direct_impact import is_running, needed
from assess.score.blast_radius.propagation import Graph, Sampling, spread
from assess.score.blast_radius.scenarios import Scenarios
from assess.score.blast_radius.topology import LEVELS, Fleet

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
        sizes = (
            used.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        )
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
    return sum(n > spare for n in held.values()), sorted(
        z for z, n in in_zone.items() if n > spare
    )


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
    return pd.DataFrame(
        {"replicas": counts, "min_healthy_pct": share.reindex(fleet.services)}
    )


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
        hosts, lost = spread_replicas(
            replicas, share, max(1, int(target["hosts_n"])), zones
        )
        new_hosts.append(hosts)
        added += [(kind, element, row.Index) for kind, element in shared.items()]
        added += [("az", zone, row.Index) for zone in lost]
    after = pd.concat(
        [stays, pd.DataFrame(added, columns=KEY, dtype="str")]
    ).drop_duplicates()
    both = before.merge(after, how="outer", indicator="said").query("said != 'both'")
    both = both.assign(sign=np.where(both["said"] == "right_only", 1.0, -1.0))
    return both[[*KEY, "sign"]].sort_values(KEY, ignore_index=True), np.array(
        new_hosts, float
    )


class _Tree:
    """Some nodes as the leaves of a tree, whose inner nodes are new nodes of the graph.

    Who fails an inner node fails all leaves below it. So "all but one" are as many nodes as the
    tree is high, and no list of all others.
    """

    def __init__(self, leaves: Integers, first: int) -> None:
        self.n = len(leaves)
        self.inner = np.arange(1, max(self.n, 1))
        self.node = np.concatenate([[-1], first + self.inner - 1, leaves])  # root: 1

    @property
    def root(self) -> Integers:
        """What fails all leaves; nothing where there are none."""
        return self.node[1:2]

    @property
    def arcs(self) -> tuple[Integers, Integers]:
        """From each inner node to the two below it."""
        below = np.concatenate([2 * self.inner, 2 * self.inner + 1])
        return np.tile(self.node[self.inner], 2), self.node[below]

    def without(self, leaf: Integers) -> tuple[Integers, Integers]:
        """Give what fails all leaves but one: position in ``leaf``, and node."""
        at, place = np.arange(len(leaf)), leaf + self.n
        wish, node = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while len(at):
            at, place = at[place > 1], place[place > 1]
            wish.append(at)
            node.append(self.node[place ^ 1])
            place = place >> 1
        return np.concatenate(wish), np.concatenate(node)


@dataclass(frozen=True, eq=False)
class _Trials:
    """Scenarios that tell what each change is worth.

    Attributes
    ----------
    tail, head : ndarray of int
        Arcs that the graph gets besides, all of them certain.
    added : int
        New nodes, which weigh nothing. [count]
    scenario, node : ndarray of int
        In which scenario which node fails by itself; the first are each service alone.
    terms : DataFrame
        ``service, together, without`` (scenarios, with the service and without it), ``sign``.
    n : int
        Number of scenarios. [count]
    """

    tail: Integers
    head: Integers
    added: int
    scenario: Integers
    node: Integers
    terms: pd.DataFrame
    n: int

    def on(self, graph: Graph) -> Graph:
        """Give a graph the new nodes and arcs."""
        arcs = len(self.tail)
        return Graph(
            nodes=graph.nodes + self.added,
            tail=np.concatenate([graph.tail, self.tail]),
            head=np.concatenate([graph.head, self.head]),
            p=np.concatenate([graph.p, np.ones(arcs)]),
            keys=np.concatenate([graph.keys, np.zeros(arcs, np.uint64)]),
            weight=np.concatenate([graph.weight, np.zeros(self.added)]),
        )

    def scenarios(self, drawn: Booleans) -> Scenarios:
        """Give the scenarios; those of a service that is not drawn are not drawn either."""
        simulated = np.zeros(self.n, bool)
        simulated[: len(drawn)] = drawn
        own = self.terms[drawn[self.terms["service"]]]
        simulated[own["together"]] = simulated[own["without"]] = True
        return Scenarios(
            self.scenario, self.node, self.n, np.zeros(self.n, bool), simulated
        )


def trials_of(fleet: Fleet, changes: pd.DataFrame) -> _Trials:
    """Make scenarios: each service alone; each changed element with and without the service.

    Parameters
    ----------
    fleet : Fleet
        The fleet as it is.
    changes : DataFrame
        As `exchanges` gives them.

    Returns
    -------
    _Trials
        Of a size that grows with the changes, not with what an element takes down besides.
    """
    end, first = len(fleet.services), len(fleet.nodes)
    nothing = np.empty(0, np.int64)
    seeds, arcs = [(np.arange(end), np.arange(end))], [(nothing, nothing)]
    down = fleet.down["point"].groupby(["element_kind", "element"])["service_id"]
    members = {key: fleet.nodes.get_indexer(pd.Index(ids)) for key, ids in down}
    found = [np.empty((4, 0))]
    for key, rows in changes.groupby(["element_kind", "element"], sort=True):
        others = np.sort(members.get(key, nothing))
        tree = _Tree(others, first)
        services = fleet.nodes.get_indexer(pd.Index(rows["service_id"]))
        lanes = np.arange(
            end + 1, end + 1 + len(services)
        )  # ``end`` is the fleet as it is
        leaves = np.isin(services, others)
        wish, node = tree.without(np.searchsorted(others, services[leaves]))
        joins = np.repeat(lanes[~leaves], len(tree.root))
        seeds += [
            (np.repeat(end, len(tree.root)), tree.root),
            (lanes[leaves][wish], node),
            (joins, np.tile(tree.root, (~leaves).sum())),
            (lanes[~leaves], services[~leaves]),
        ]
        arcs.append(tree.arcs)
        as_is = np.full(len(lanes), end)
        pair = np.where(leaves, [as_is, lanes], [lanes, as_is])
        found.append(np.stack([services, *pair, rows["sign"].to_numpy()]))
        first += len(tree.inner)
        end += len(rows) + 1
    scenario, node = (np.concatenate(column) for column in zip(*seeds, strict=True))
    tail, head = (np.concatenate(column) for column in zip(*arcs, strict=True))
    names = ["service", "together", "without", "sign"]
    terms = pd.DataFrame(dict(zip(names, np.concatenate(found, axis=1), strict=True)))
    terms = terms.astype(dict.fromkeys(names[:3], "int64"))
    return _Trials(tail, head, first - len(fleet.nodes), scenario, node, terms, end)


def containment(  # noqa: PLR0913
    inventory: Inventory,
    policy: Policy,
    fleet: Fleet,
    *,
    graphs: Mapping[str, Graph],
    sampling: Sampling,
    drawn: Booleans | None = None,
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
    drawn : ndarray of bool, optional
        By service, whether to draw uncertain edges where they are many; all where left out.

    Returns
    -------
    DataFrame
        Index ``service_id``: ``delta, delta_lo, delta_hi``. [shares of the fleet's criticality]
        A service that runs nowhere known has no point, and every kind of element in its interval.
        One that was to be drawn and is not has no point either: its interval holds all it can be.

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
    trials = trials_of(fleet, changes)
    n, kinds = len(fleet.services), fleet.elements.get_level_values(0).unique()
    failing = trials.scenarios(np.ones(n, bool) if drawn is None else drawn)
    known: dict[bytes, tuple[Floats, Floats, Floats]] = {}
    for graph in graphs.values():
        same = graph.p.tobytes()  # levels that do not differ are computed once
        if same not in known:
            wider = trials.on(graph)
            known[same] = _ends(
                wider, failing, trials, new_hosts=new_hosts, sampling=sampling
            )
    levels = [known[graphs[level].p.tobytes()] for level in LEVELS]
    lo = np.min([low for low, _, _ in levels], axis=0)
    hi = np.max([high for _, high, _ in levels], axis=0)
    nowhere = replicas_of(inventory, fleet)["replicas"].to_numpy() == 0
    at_worst = len(kinds.intersection(LEFT)) * levels[-1][2]
    lo = np.where(nowhere, lo - at_worst, lo)
    low, high, _ = levels[1]
    table = pd.DataFrame({"delta": low, "delta_lo": lo, "delta_hi": hi}, fleet.services)
    table = table.astype("Float64")
    table.loc[nowhere | (low < high), "delta"] = pd.NA
    return table


def _ends(
    graph: Graph,
    failing: Scenarios,
    trials: _Trials,
    *,
    new_hosts: Floats,
    sampling: Sampling,
) -> tuple[Floats, Floats, Floats]:
    """Give by service the least and the most that its move adds, and what it loses at most."""
    terms, n, total = trials.terms, len(new_hosts), float(graph.weight.sum()) or 1.0
    found = spread(graph, failing, sampling=sampling)
    least = most = found.loss / total
    if np.isnan(found.se).any():
        most = spread(graph, failing, sampling=sampling, bound="most").loss / total
    with_it, without = terms["together"], terms["without"]
    little = np.maximum(least[with_it] - most[without], 0)
    much = np.maximum(most[with_it] - least[without], 0)
    added = terms["sign"].to_numpy() > 0
    low = (
        np.bincount(terms["service"], np.where(added, little, -much), n)
        + new_hosts * least[:n]
    )
    high = (
        np.bincount(terms["service"], np.where(added, much, -little), n)
        + new_hosts * most[:n]
    )
    return low, high, most[:n]
