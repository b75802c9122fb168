"""Effect of a move to a target on containment, for every service at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, MultiIndex

from assess.frames import Frames, surely
from assess.inventory import Inventory
from assess.policy import Policy, Table
from assess.reference import parse_version, target_engine
from assess.score import Booleans, Ends, Floats, Integers, Words, frozen
from assess.score.blast_radius.bitset import (
    Bits,
    Csr,
    Parts,
    Weights,
    bits_of,
    pairs_of,
    spread_to_nodes,
    swept,
)
from assess.score.blast_radius.placement import PAIR, is_running, needed
from assess.score.blast_radius.propagation import Scenarios, propagate, reached
from assess.score.blast_radius.topology import LEVELS, Graph, Topology, total_weight
from assess.score.blast_radius.uncertain import Sampling
from assess.score.incidents import is_replica

LEAST = 1e-9  # growth below it is noise of sums
WIDTH = 1 << 13  # terms of a block: an integer of 1 KiB
LEFT = ("host", "az", "engine", "base_image", "cluster")  # its own image moves along


def landing(topology: Topology, target: Table) -> dict[str, str]:
    """Return engine, named base image and largest cluster under a moved service, by kind."""
    runtime = target["runtime"]
    line = f"{runtime} {target_engine(target)}".strip()
    engines = [name for kind, name in topology.elements if kind == "engine"]
    same = [name for name in engines if name.startswith(f"{line}.")]
    newest = max(same, key=lambda v: (parse_version(v) or (), v), default=line)
    named = {"engine": newest}
    if target["base_image"]:
        named["base_image"] = target["base_image"]
    if target["landing"] == "cluster":
        placed = topology.placement
        clusters = placed.loc[placed["element_kind"] == "cluster", "element"]
        # the first by name of the largest ones
        named["cluster"] = next(iter(clusters.mode()), "new cluster")
    return named


def spread_replicas(
    replicas: int, min_healthy_pct: float, hosts_n: int, zones: list[str]
) -> tuple[int, list[str]]:
    """Return how many new hosts, and which zones, take a service down when they fail."""
    [needed_n] = needed(np.array([float(replicas)]), np.array([min_healthy_pct]))
    spare = replicas - needed_n
    hosts = np.arange(replicas) % hosts_n
    fatal_hosts = (np.bincount(hosts) > spare).sum()
    if not zones:
        return fatal_hosts, []
    in_zone = np.bincount(hosts % len(zones))
    return fatal_hosts, sorted(zones[zone] for zone in np.flatnonzero(in_zone > spare))


def element_changes(
    inventory: Inventory, topology: Topology, target: Table
) -> tuple[DataFrame, DataFrame]:
    """List fatal elements that a move adds (1) or removes (-1).

    Also count by service the new ``hosts`` that take it down, the new ``zones`` without a name that
    may, and the places without one that may ``today``.
    """
    shared = landing(topology, target)
    zones = sorted(element for kind, element in topology.elements if kind == "az")
    # a target without an orchestrator leaves the cluster behind
    kept = {"base_image", "cluster"} if target["orchestrator"] else {"base_image"}
    left = {*LEFT} - kept | {*shared}
    before = topology.direct["point"]
    before = before.loc[before["element_kind"].isin(left), PAIR]
    hosts_n = max(1, int(target["hosts_n"]))
    layout = _replicas(inventory, topology, target)
    hosts = inventory["hosts"]
    today = np.bincount(topology.unnamed(left), minlength=len(layout))
    alone = topology.placeless
    today[alone] = today[alone].clip(len(LEFT))  # one of every kind, seen or not
    counts = DataFrame({"hosts": 0, "zones": 0, "today": today}, layout.index)
    added = []
    for (n, most, healthy), alike in layout.groupby(["n", "most", "share"], dropna=False):
        fatal_hosts, fatal_zones = spread_replicas(n, healthy, hosts_n, zones)
        ends = np.array([fatal_hosts, 0, 0])
        if hosts.empty or hosts["az"].isna().any():
            # at worst the replicas lie in as many zones as can each take too many of them
            widest = max(spread_replicas(n, healthy, k, [])[0] for k in range(1, n + 1))
            # at best none of those with a name
            ends += [0, max(widest - len(fatal_zones), 0), len(fatal_zones)]
        if most > n:
            # each of those that may run has a host and a zone of its own, or none runs
            ends += [0, 2 * most, fatal_hosts + len(fatal_zones)]
        counts.loc[alike.index] += ends
        places = [*shared.items(), *(("az", zone) for zone in fatal_zones)]
        added += [(*place, service) for place in places for service in alike.index]
    moved = DataFrame(added, columns=PAIR, dtype="str")
    both = pd.concat([before.assign(sign=-1.0), moved.assign(sign=1.0)])
    # what is there before and after does not change
    changes = both.drop_duplicates(PAIR, keep=False)
    return changes.sort_values(PAIR, ignore_index=True), counts


def _replicas(inventory: Inventory, topology: Topology, target: Table) -> DataFrame:
    """Return by service its replicas at a target, ``n`` to ``most``, and the ``share`` it needs."""
    workloads = inventory["workloads"]
    replicas = workloads[is_replica(workloads)]
    runs = is_running(replicas)
    ends = {"n": runs, "most": runs | replicas["state"].isna()}
    layout = DataFrame(ends).groupby(replicas["service_id"]).sum()
    least = max(target["replicas"], 1)
    # a service never moves to fewer replicas than it has
    layout = layout.reindex(topology.services, fill_value=0).clip(least)
    return layout.assign(share=inventory.by_service["min_healthy_pct"].astype("float64"))


@frozen
class Terms:
    """Services that move to or from elements.

    By term ``service`` [node], ``element`` and ``anywhere``, which stands for any element of its kind;
    ``members`` holds the nodes that each of these takes down today. Services are the first
    ``services_n`` nodes.
    """

    services_n: int
    service: Integers
    element: Integers
    anywhere: Integers
    members: list[list[int]]

    @classmethod
    def of(cls, topology: Topology, changes: DataFrame, level: str = "point") -> Terms:
        """Find the services and elements of the changes, and what fails at a level."""
        names = changes[PAIR[:2]]
        # what runs on a place without a name may run on any of its kind, and on a new one
        named = pd.concat([names, names.assign(element=pd.NA)])
        position, elements = pd.factorize(MultiIndex.from_frame(named))
        element, anywhere = np.split(position, 2)
        direct = topology.direct[level]
        row = elements.get_indexer(MultiIndex.from_frame(direct[PAIR[:2]]))
        node = topology.nodes.get_indexer(direct["service_id"])
        members = Csr.of(row, len(elements))
        return cls(
            len(topology.services),
            topology.nodes.get_indexer(changes["service_id"]),
            element,
            anywhere,
            [node[members.row(at)].tolist() for at in range(len(elements))],
        )

    def count(self, marked: Booleans) -> Integers:
        """Count by term the nodes that are marked among those that its element takes down."""
        count = np.array([marked[nodes].sum() for nodes in self.members], np.int64)
        return count[self.element] + count[self.anywhere]

    def initial_failures(self, start: int, width: int) -> tuple[Bits, Bits]:
        """Return by node the terms in which it is the moved service, or fails beside it."""
        block = slice(start, start + width)
        own: Bits = defaultdict(int)
        of_element: Bits = defaultdict(int)
        terms = (self.service[block].tolist(), self.element[block], self.anywhere[block])
        for bit, (node, element, anywhere) in enumerate(zip(*terms, strict=True)):
            own[node] |= 1 << bit
            of_element[element] |= 1 << bit
            of_element[anywhere] |= 1 << bit
        others: Bits = defaultdict(int)
        for element, bits in of_element.items():
            for node in self.members[element]:
                others[node] |= bits
        for node in own.keys() & others.keys():
            others[node] &= ~own[node]
        return own, others


def move_scenarios(terms: Terms, drawn: Booleans) -> Scenarios:
    """Return scenarios: each service alone, then two a term, with the service and without."""
    # those of a service that is not ``drawn`` are not drawn either
    failing = [[node] for node in range(terms.services_n)]
    for service, element in zip(terms.service.tolist(), terms.element, strict=True):
        others = [node for node in terms.members[element] if node != service]
        failing += [[*others, service], others]
    n = len(failing)
    simulated = np.append(drawn, drawn[terms.service].repeat(2))
    return Scenarios(*pairs_of(failing), n, np.zeros(n, bool), simulated)


def containment(
    inventory: Inventory,
    policy: Policy,
    topology: Topology,
    *,
    services: DataFrame,
    sampling: Sampling,
) -> tuple[DataFrame, DataFrame]:
    """Return the changes of elements, and of containment, by the move of each service alone.

    The first are those of `element_changes`. The second has columns ``delta, delta_lo, delta_hi`` by
    ``service_id`` [shares of the fleet's criticality].
    ``delta = sum over x of impact after - impact before``, over hosts, zones, engines, base images and
    clusters, each failing once: negative is containment gained. Only the elements that take the
    service down before or after the move differ, each by what the service adds to what fails anyway:
    ``impact({service} + others) - impact(others)``. So leaving a host helps nothing while a dependency
    stays on it. Replicas are laid in turn on ``hosts_n`` new hosts, the hosts in turn over the zones.
    Its own image moves along and counts on neither side. A registry takes nothing down.
    ``services`` has ``impact_hi, callers_seen``: calls that nobody saw count in ``delta_hi`` alone;
    and ``is_drawn`` where uncertain edges are drawn if they are many. A service that runs
    nowhere known has no point, and every kind of element in its interval; nor has one that was not
    drawn: its interval holds all it can be.
    """
    changes = element_changes(inventory, topology, policy["target"])
    # in fleets with more services than ``moves_compared_most``, nothing is drawn
    is_small = len(topology.services) <= policy["blast_radius"]["moves_compared_most"]
    some = services["is_drawn"].to_numpy(bool) if is_small else None
    moved = _moved(topology, {"": changes}, services, sampling, some)
    return changes[0], moved[""]


def move_deltas(
    inventory: Inventory,
    policy: Policy,
    topology: Topology,
    services: DataFrame,
    targets: Mapping[str, Table],
) -> Frames:
    """Return ``delta, delta_lo, delta_hi`` of a move of every service to each target, by its name."""
    # ``services`` as in `containment`. In fleets with more services than
    # ``moves_drawn_most``, or of more pairs than are drawn, the bounds alone are computed.
    sampling = Sampling.of(policy)
    is_small = len(topology.services) <= policy["blast_radius"]["moves_drawn_most"]
    drawn = np.ones(len(topology.services), bool) if is_small else None
    changes = {
        name: element_changes(inventory, topology, target)
        for name, target in targets.items()
    }
    return _moved(topology, changes, services, sampling, drawn)


def _moved(
    topology: Topology,
    changes: Mapping[str, tuple[DataFrame, DataFrame]],
    services: DataFrame,
    sampling: Sampling,
    drawn: Booleans | None,
) -> Frames:
    """Return the change by moves to each target; changes shared by targets are computed once."""
    # Without ``drawn`` every change is bounded.
    every = pd.concat([rows for rows, _ in changes.values()]).drop_duplicates()
    every = every.sort_values(PAIR, ignore_index=True)
    sampling = replace(sampling, spread=False)  # a move has no interval of one failure
    fewest, changed, most = (Terms.of(topology, every, level) for level in LEVELS)
    losses = partial(_bounded_losses, changed, sampling)
    graphs = topology.graphs
    if drawn is not None:
        failing = move_scenarios(changed, drawn)
        # in one large cycle each reaches the whole fleet
        if (
            not topology.is_uncertain
            or reached(graphs["hi"], failing, sampling).reached_n.sum()
            <= sampling.pairs_most
        ):
            losses = partial(_compared_losses, changed.services_n, failing, sampling)
    levels = {level: losses(graphs[level]) for level in LEVELS}
    # the sets of the levels contain each other: as many are the same
    everybody = np.ones(len(topology.nodes), bool)
    is_open = fewest.count(everybody) < most.count(everybody)
    # nobody knows what else fails there: a service loses least where most does, and at most as alone
    for level, known in [*levels.items()] if is_open.any() else ():
        ends = _bounded_losses(most, sampling, graphs[level])
        little = np.where(is_open, ends.little, known.little)
        much = np.where(is_open, known.most_alone[changed.service], known.much)
        levels[f"{level}, others open"] = known._replace(little=little, much=much)
    # what each may take down beside by calls that nobody saw
    growth = services["impact_hi"].to_numpy(float) - levels["hi"].most_alone
    growth = growth.clip(0) * (not surely(services["callers_seen"]).all())
    grows = growth > LEAST
    # leaving an element may change nothing: perhaps it takes no service down today, or the
    # service may call another one there unseen
    is_beside = most.count(grows) > grows[changed.service]
    every = every.merge(topology.direct["lo"][PAIR], how="left", indicator="certain")
    perhaps = every["certain"].ne("both") | is_beside
    every = every.assign(node=changed.service, perhaps=perhaps, term=every.index)
    return {
        name: _table(topology, levels, rows.merge(every), counts, growth)
        for name, (rows, counts) in changes.items()
    }


def _table(
    topology: Topology,
    levels: Mapping[str, _Losses],
    own: DataFrame,
    counts: DataFrame,
    growth: Floats,
) -> DataFrame:
    """Add up the terms of a target, ``own``, by service: ``delta, delta_lo, delta_hi``."""
    n = len(topology.services)
    service = own["node"].to_numpy()
    hosts, zones, today = counts.to_numpy().T
    added = own["sign"].to_numpy() > 0
    perhaps = own["perhaps"] & ~added
    places_n = np.bincount(service[added], minlength=n) + hosts + zones
    low = {}
    high = {}
    worst = []
    for level, losses in levels.items():
        little = losses.little[own["term"]]
        much = losses.much[own["term"]]
        least = np.bincount(service, np.where(added, little, -much), n)
        most = np.bincount(service, np.where(added, much, -little), n)
        low[level] = least + hosts * losses.least_alone
        high[level] = most + hosts * losses.most_alone
        more = np.bincount(service, little * perhaps, n) + zones * losses.most_alone
        worst.append(high[level] + more + growth * places_n)
    lo = np.min(list(low.values()), axis=0) - today * levels["hi"].most_alone
    hi = np.max(worst, axis=0)
    columns = {"delta": low["point"], "delta_lo": lo, "delta_hi": hi}
    table = DataFrame(columns, topology.services, dtype="Float64")
    table.loc[low["point"] < high["point"], "delta"] = pd.NA
    table.iloc[topology.placeless, 0] = pd.NA
    return table


class _Losses(NamedTuple):
    """Least and most loss by term of a move, and by service alone."""

    little: Floats
    much: Floats
    least_alone: Floats
    most_alone: Floats


def _bounded_losses(terms: Terms, sampling: Sampling, graph: Graph) -> _Losses:
    """Bound the terms at one level of the edges by what each service reaches."""
    total = total_weight(graph.weight)
    every = np.arange(terms.services_n)
    alone = Scenarios.unasked(every, every, terms.services_n)
    least, most = _ends_of(graph, alone, sampling)
    little, much = marginal_losses(graph, terms, least, most)
    return _Losses(*(loss / total for loss in (little, much, least, most)))


def _compared_losses(
    n: int,
    failing: Scenarios,
    sampling: Sampling,
    graph: Graph,
) -> _Losses:
    """Compute the terms at one level of the edges; both ends meet where every scenario was drawn.

    ``failing`` are the scenarios of `move_scenarios`, of ``n`` services.
    """
    total = total_weight(graph.weight)
    least, most = (loss / total for loss in _ends_of(graph, failing, sampling))
    # one service more never saves another: a negative difference is noise of the draws
    little = np.maximum(least[n::2] - most[n + 1 :: 2], 0)
    much = np.maximum(most[n::2] - least[n + 1 :: 2], 0)
    return _Losses(little, much, least[:n], most[:n])


def _ends_of(
    graph: Graph,
    failing: Scenarios,
    sampling: Sampling,
) -> Ends:
    """Return the least and most loss by scenario; equal where nothing is bounded."""
    impact = propagate(graph, failing, sampling=sampling)
    is_open = np.isnan(impact.se)
    n = is_open.sum()
    if not n:
        return impact.loss, impact.loss
    # what was drawn has no second end: it is not drawn again
    kept = is_open[failing.scenario]
    scenario = (np.cumsum(is_open) - 1)[failing.scenario[kept]]
    rest = Scenarios.unasked(scenario, failing.node[kept], n)
    most = impact.loss.copy()
    most[is_open] = propagate(graph, rest, sampling=sampling, most=True).loss
    return impact.loss, most


def marginal_losses(
    graph: Graph,
    terms: Terms,
    least: Floats,
    most: Floats,
) -> Ends:
    """Bound by term the expected weight that the service loses in addition to the others.

    ``least`` and ``most`` are what each service loses when nothing else fails.

    Expected losses are submodular: one service more never adds more than it loses alone, nor more
    than it can reach and the others do not certainly take down. It adds at least what it takes
    down for certain and the others cannot reach; and all that it loses alone, where it reaches
    nothing that the others reach.
    """
    n = len(terms.service)
    weights = Weights.of(graph.weight)
    blocks = [
        _block(graph, weights, terms, start, min(WIDTH, n - start))
        for start in range(0, max(n, 1), WIDTH)
    ]
    little, much, apart = map(np.concatenate, zip(*blocks, strict=True))
    own_least = least[terms.service]
    own_most = most[terms.service]
    little = np.where(apart, own_least, np.minimum(little, own_least))
    return little, np.where(apart, own_most, np.minimum(much, own_most))


def _block(
    graph: Graph,
    weights: Weights,
    terms: Terms,
    start: int,
    width: int,
) -> tuple[Floats, Floats, Booleans]:
    """Return the least and the most weight by term, and where the service shares nothing."""
    own, others = terms.initial_failures(start, width)
    # what no service of the block can reach changes no term
    part, _ = _swept(graph.possible, own, width)
    nodes = np.flatnonzero(np.isin(graph.possible.part, part))

    def down(parts: Parts, initial: Bits) -> Words:
        found = _swept(parts, initial, width)
        return spread_to_nodes(replace(parts, part=parts.part[nodes]), *found)

    can = down(graph.possible, own)
    others_can = down(graph.possible, others)
    low = weights.totals(nodes, down(graph.certain, own) & ~others_can, width)
    high = weights.totals(nodes, can & ~down(graph.certain, others), width)
    shared = np.bitwise_or.reduce(can & others_can, axis=0, keepdims=True)
    return low, high, bits_of(shared, width)[0] == 0


def _swept(parts: Parts, initial: Bits, width: int) -> tuple[Integers, Words]:
    by_part: Bits = defaultdict(int)
    for node, bits in initial.items():
        by_part[int(parts.part[node])] |= bits
    return swept(parts, by_part, width)
