"""The topology of a fleet: elements that can fail, placement of services, dependencies."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pandas import DataFrame, Index, MultiIndex, Series

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score import Booleans, Floats, Integers, Positions, Words
from assess.score.blast_radius.bitset import (
    Csr,
    Parts,
    blocks,
    condense,
    flow_depth,
    sparse,
)
from assess.score.blast_radius.edges import LEVELS, edges
from assess.score.blast_radius.placement import (
    INFRASTRUCTURE,
    is_running,
    topology_fields,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

EXPONENT_MAX = 300  # of two
FAR = 1 << 30  # steps to what no failure leads to
Element = tuple[str, str]  # kind and name


def criticality(services: DataFrame, policy: Policy) -> Series:
    """Return by ``service_id`` its own criticality, else its tier's, else the policy's default."""
    weights = policy["criticality"]
    by_tier = {
        int(key.removeprefix("tier_")): weight
        for key, weight in weights.items()
        if key != "unknown"
    }
    # nullable floats: an unknown criticality must stay NA until its tier is asked
    rows = services.set_index("service_id")
    own = rows["criticality"].astype("Float64")
    tier = rows["tier"].map(by_tier).astype("Float64")
    weight = own.fillna(tier).fillna(weights["unknown"]).astype("float64")
    # any unit will do, and only ratios count: far from 1, sums would end in infinity or 0
    exponent = np.frexp(weight.max())[1] if len(weight) else 0
    return np.ldexp(weight, -exponent) if abs(exponent) > EXPONENT_MAX else weight


def total_weight(weight: Floats) -> float:
    """Return the weight of a fleet; 1 where nothing weighs, so that its losses are 0."""
    return weight.sum() or 1.0


@dataclass(frozen=True, eq=False)
class Graph:
    """Arcs between nodes: ``head`` fails when ``tail`` fails, with probability ``p``.

    No two arcs join the same pair. ``keys`` seed the draws of the arcs, the same in any graph;
    ``weight`` is by node. [>= 0]
    """

    nodes: int
    tail: Integers
    head: Integers
    p: Floats
    keys: Words
    weight: Floats

    @cached_property
    def certain(self) -> Parts:
        """Components and arcs over certain arcs only."""
        is_certain = self.p >= 1
        return condense(self.nodes, self.tail[is_certain], self.head[is_certain])

    @cached_property
    def possible(self) -> Parts:
        """Components and arcs over all possible arcs."""
        if not self.uncertain:  # one condensation serves both
            return self.certain
        is_possible = self.p > 0
        return condense(self.nodes, self.tail[is_possible], self.head[is_possible])

    @cached_property
    def members(self) -> Csr:
        """Nodes by the certain part that holds them."""
        return Csr.of(self.certain.part, len(self.certain.heads))

    @cached_property
    def arriving(self) -> Csr:
        """Arcs by the node that they lead to."""
        return Csr.of(self.head, self.nodes)

    @cached_property
    def depth(self) -> Integers:
        """By node, the longest path to it over arcs that follow the order of flow."""
        return flow_depth(self.nodes, self.tail, self.head)

    def with_chances(self, p: Floats) -> Graph:
        """Return the same arcs with other probabilities; cached indexes are kept."""
        graph = replace(self, p=p)
        for name in ("arriving", "depth"):
            vars(graph)[name] = getattr(self, name)
        return graph

    def joined(self, tails: Integers, heads: Integers) -> Graph:
        """Add a node without weight that fails with any of the tails and takes all heads down."""
        arcs_n = len(tails) + len(heads)
        into = np.full(len(tails), self.nodes)
        out_of = np.full(len(heads), self.nodes)
        return Graph(
            nodes=self.nodes + 1,
            tail=np.concatenate([self.tail, tails, out_of]),
            head=np.concatenate([self.head, into, heads]),
            p=np.append(self.p, np.ones(arcs_n)),
            keys=np.append(self.keys, np.zeros(arcs_n, np.uint64)),
            weight=np.append(self.weight, 0.0),
        )

    @property
    def uncertain(self) -> bool:
        """Whether an arc is neither certain nor impossible."""
        return bool(((self.p > 0) & (self.p < 1)).any())


def arc_key(tail: str, head: str) -> int:
    """Return a number that is the same for the same names, in any fleet."""
    text = f"{tail}\0{head}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@dataclass(frozen=True, eq=False)
class Topology:
    """Elements, placement and edges of a fleet; positions are those in ``elements`` and ``nodes``.

    ``nodes`` are the services, sorted, then what lies outside the fleet and weighs 0. ``elements``
    is a MultiIndex ``element_kind, element``, the services first. ``edges, placement, frozen`` and,
    by level, ``direct`` are the frames of the functions of these names. What runs on ``unlooked``
    elements no source says.
    """

    services: Index
    nodes: Index
    weight: Floats
    edges: DataFrame
    elements: MultiIndex
    placement: DataFrame
    direct: dict[str, DataFrame]
    frozen: DataFrame
    unlooked: list[Element]

    @property
    def placed(self) -> Index:
        """Services of which a running replica is known."""
        running = self.placement[is_running(self.placement)]
        return Index(running["service_id"].unique())

    @property
    def service_weight(self) -> Series:
        """Criticality by service."""
        return Series(self.weight[: len(self.services)], index=self.services)

    @cached_property
    def callee(self) -> Integers:
        """By edge, the node that is needed."""
        return self.nodes.get_indexer(self.edges["dst"])

    @cached_property
    def caller(self) -> Integers:
        """By edge, the node that needs it: a service."""
        return self.nodes.get_indexer(self.edges["src"])

    def matrix(self, value: Floats | None = None) -> csr_array:
        """Return the edges as a sparse matrix, callee by caller."""
        n = len(self.nodes)
        return sparse((n, n), self.callee, self.caller, value)

    @cached_property
    def _keys(self) -> Words:
        pairs = zip(self.edges["dst"], self.edges["src"], strict=True)
        return np.array([arc_key(dst, src) for dst, src in pairs], dtype=np.uint64)

    @cached_property
    def placeless(self) -> Integers:
        """Services, by node, of which no running replica is known: they may be anywhere."""
        return np.flatnonzero(~self.services.isin(self.placed))

    def unnamed(self, kinds: Collection[str] = INFRASTRUCTURE) -> Integers:
        """Return services, by node, once for each place that is not sure to take them down or not."""
        # at worst every replica has a place of its own, and what runs nowhere known one of each kind
        rows = self.placement[self.placement["element_kind"].isin(kinds)]
        is_loose = rows["element"].isna() & is_running(rows) | rows["state"].isna()
        loose = rows.loc[is_loose, "service_id"]
        somewhere = self.services.get_indexer(loose)
        return np.append(somewhere, self.placeless.repeat(len(kinds)))

    @cached_property
    def graphs(self) -> dict[str, Graph]:
        """Arcs between nodes by level (lo, point, hi)."""
        return {level: self.graph(level, level) for level in LEVELS}

    def graph(self, level: str, places: str) -> Graph:
        """Return the arcs at a level, for what fails directly at the level of ``places``."""
        # At ``hi``, one extra node stands for services of unknown place: pairs would be
        # too many.
        p = self.edges[level].to_numpy("float64")
        n = len(self.nodes)
        graph = Graph(n, self.callee, self.caller, p, self._keys, self.weight)
        if places == "hi" and len(self.placeless):
            return graph.joined(np.empty(0, np.int64), self.placeless)
        return graph

    @cached_property
    def initial_failures(self) -> dict[str, Positions]:
        """By level, pairs of element and node of `graphs` that it takes down directly."""
        return {level: self._initial_of(level) for level in self.direct}

    @cached_property
    def _initial(self) -> dict[str, csr_array]:
        # the last row is of elements that are not there
        shape = (len(self.elements) + 1, len(self.nodes) + 1)
        pairs = self.initial_failures.items()
        return {level: sparse(shape, *ends) for level, ends in pairs}

    def positions(self, rows: DataFrame) -> Positions:
        """Return element and node of rows of ``element_kind, element, service_id``; -1: not there."""
        names = rows[["element_kind", "element", "service_id"]].astype("str")
        element = MultiIndex.from_frame(names.drop(columns="service_id"))
        service = self.nodes.get_indexer(names["service_id"])
        return self.elements.get_indexer(element), service

    def _initial_of(self, level: str) -> Positions:
        kinds = self.elements.get_level_values(0)
        itself = np.flatnonzero(kinds.isin(["service", "ext"]))
        own_node = self.nodes.get_indexer(self.elements.get_level_values(1)[itself])
        element, node = self.positions(self.direct[level])
        if level == "hi" and len(self.placeless):
            # unknown is never safe: every element of infrastructure may be their place
            anywhere = np.flatnonzero(kinds.isin(INFRASTRUCTURE))
            element = np.append(element, anywhere)
            node = np.append(node, np.full(len(anywhere), len(self.nodes)))
        return np.append(itself, element), np.append(own_node, node)

    def initially_down(self, elements: Sequence[Element], level: str) -> Booleans:
        """Return, by given element and node, whether the element takes it down directly."""
        failed = self.elements.get_indexer(list(elements))
        down = self._initial[level][failed].toarray() > 0
        # the last column is the extra node of `graphs`
        down[:, self.placeless] |= down[:, -1:]
        return down[:, :-1]

    def reaches(
        self, elements: Sequence[Element], element: Integers, node: Integers
    ) -> Booleans:
        """Return by pair whether the failure of an element, by position, can reach a node."""
        found = np.zeros(len(element), bool)
        calls = self.matrix((self.edges["hi"] > 0).to_numpy("float64"))
        asked, row = np.unique(element, return_inverse=True)
        pairs = Csr.of(row, len(asked))
        for rows in blocks(len(asked), len(self.nodes)):
            some = [elements[each] for each in asked[rows]]
            away = steps(calls, self.initially_down(some, "hi"))
            at, pair = pairs.members(np.arange(rows.start, rows.stop))
            found[pair] = away[at, node[pair]] < FAR
        return found


def steps(
    calls: csr_array, initial: Booleans, within: Booleans | None = None
) -> npt.NDArray[np.int32]:
    """Count by row and node the steps from what is down; `FAR` where no steps lead."""
    # only over nodes that are ``within``, if that is given
    count = np.where(initial, np.int32(0), np.int32(FAR))
    row, node = np.nonzero(initial)
    front = sparse(initial.shape, row, node)
    step = 0
    while front.nnz:
        step += 1
        row, node = (front @ calls).nonzero()
        is_new = count[row, node] == FAR
        if within is not None:
            is_new &= within[row, node]
        row = row[is_new]
        node = node[is_new]
        count[row, node] = step
        front = sparse(initial.shape, row, node)
    return count


@lru_cache(maxsize=2)  # of two quarters; blast radius and experiments ask for each
def build_topology(inventory: Inventory, policy: Policy) -> Topology:
    """Build the topology of a fleet: the same for the same rows in any order."""
    weight = criticality(inventory["services"], policy).sort_index()
    links = edges(inventory["dependencies"], policy)
    # what lies outside the fleet can fail, but has no criticality to lose
    others = set(links["dst"]) - set(weight.index)
    outside = Index(sorted(others), dtype="str")
    return Topology(
        services=weight.index,
        nodes=weight.index.append(outside),
        weight=np.concatenate([weight.to_numpy(), np.zeros(len(outside))]),
        edges=links,
        **topology_fields(inventory, policy, weight.index, outside),
    )
