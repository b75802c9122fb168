"""The topology of a fleet: elements that can fail, placement of services, dependencies."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas import DataFrame, Index, MultiIndex, Series

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import Booleans, Floats, Integers, Positions, Words, frozen
from assess.score.blast_radius.bitset import (
    Csr,
    Parts,
    blocks,
    condense,
    flow_depth,
    sparse,
)
from assess.score.blast_radius.placement import (
    INFRASTRUCTURE,
    is_running,
    topology_fields,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEVELS = ("lo", "point", "hi")
OBSERVING = ("traces",)  # evidence that saw calls; the rest is what somebody declared
KINDLESS = ("declared", "start_order", "unknown")  # kinds that leave the need open
START_ORDER = "start_order"
KEY = ["src", "dst", "kind"]
PAIR = ["src", "dst"]
EXPONENT_MAX = 300  # of two
FAR = 1 << 30  # steps to what no failure leads to
Element = tuple[str, str]  # kind and name


def edges(dependencies: DataFrame, policy: Policy) -> DataFrame:
    """Return one row per pair, sorted: ``src, dst, kinds`` and ``lo, point, hi`` [0-1].

    ``src`` fails when ``dst`` fails. A row with its own ``p`` is an edge. Rows of one pair and kind
    without one are one edge that several sources saw, at the policy's p, unless a row with its own
    p covers that kind. The edges of a pair are independent: ``1 - prod(1 - p)``. An edge that is
    only possible counts in ``hi`` alone.
    """
    rows = _distinct(_named(dependencies))
    rows = rows.join(_usual(rows, policy))
    given = rows["given"].astype("float64")
    for level in LEVELS:
        rows[level] = given.fillna(rows[level])
    # the edge may not exist, so only the upper level has it
    rows.loc[rows["possible"], ["lo", "point"]] = 0.0
    rows = rows.sort_values([*KEY, *LEVELS])
    return _by_pair(rows)


def _named(dependencies: DataFrame) -> DataFrame:
    """Return rows ``src, dst, kind, given, possible``, self-loops left out."""
    rows = dependencies[["src_id", "dst_id", "kind", "p", "possible"]]
    rows = rows.set_axis([*KEY, "given", "possible"], axis=1)
    rows = rows[rows["src"] != rows["dst"]]
    rows = rows.astype({"kind": "str", "possible": "boolean"})
    rows = rows.fillna({"kind": "unknown", "possible": False})
    return rows.astype({"possible": "bool"})


def _any_of(rows: DataFrame, marked: Series, key: list[str]) -> Series:
    """Mark the rows of groups in which any row is marked."""
    return marked.groupby([rows[name] for name in key]).transform("any")


def _distinct(rows: DataFrame) -> DataFrame:
    """Drop rows that another row of their pair covers."""
    is_known = ~rows["possible"]
    # a known edge covers a possible one of the same pair and kind
    rows = rows[is_known | ~_any_of(rows, is_known, KEY)]
    # a probability that somebody gave or learned overrides the policy's for that kind
    is_given = rows["given"].notna()
    is_covered = _any_of(rows, is_given, KEY)
    is_first = ~rows.duplicated(KEY)
    rows = rows[is_given | (~is_covered & is_first)]
    # start order counts as a need at run time only if no other edge describes the pair
    says_how = ~rows["kind"].isin([START_ORDER, "unknown"]) & ~rows["possible"]
    is_order = rows["kind"].eq(START_ORDER) & rows["given"].isna()
    rows = rows[~is_order | ~_any_of(rows, says_how, PAIR)]
    return rows.reset_index(drop=True)


def _usual(rows: DataFrame, policy: Policy) -> DataFrame:
    """Return the policy's ``lo, point, hi`` by row.

    ``point = p / d**a``, with d the number of distinct hard dependencies of the caller: a caller of
    many services depends less on each of them. Kinds with a > 0 are hard.
    """
    table = DataFrame(policy["edges"]).T.astype("float64")
    usual = table.reindex(rows["kind"]).reset_index(drop=True)
    is_hard = (usual["a"] > 0) & ~rows["possible"]
    hard_n = rows[is_hard].groupby("src")["dst"].nunique()
    d = rows["src"].map(hard_n).fillna(1.0).astype("float64")
    shared = usual["p"] / d ** usual["a"]
    # a policy's 1 says "always", however many services the caller needs
    point = shared.mask(usual["p"] >= 1, usual["p"])
    lo = np.minimum(usual["lo"], point)
    return DataFrame({"lo": lo, "point": point, "hi": usual["hi"]})


def _by_pair(rows: DataFrame) -> DataFrame:
    """Join the edges of each pair, taken as independent."""
    levels = list(LEVELS)
    pairs = rows.groupby(PAIR)
    # the caller survives only if it survives each of its edges
    survive = rows[PAIR].join(1 - rows[levels])
    joint = 1 - survive.groupby(PAIR).prod()
    single = pairs.size() == 1  # where there is nothing to round
    table = pairs[levels].first().where(single, joint)
    kinds = rows.drop_duplicates(KEY)
    # most pairs have one kind: only the others are joined, one by one
    many = kinds.duplicated(PAIR, keep=False)
    joined = kinds[many].groupby(PAIR)["kind"].agg(",".join)
    table["kinds"] = joined.reindex(table.index).fillna(pairs["kind"].first())
    return table.reset_index()[[*PAIR, "kinds", *levels]]


def edge_evidence(inventory: Inventory) -> DataFrame:
    """List the evidence of each edge, and the services that no trace has seen.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, dependencies``.

    Returns
    -------
    DataFrame
        One row per pair, sorted: ``src_id, dst_id``, ``known_by`` (``declaration``, ``traces`` or
        ``both``), ``kinds`` and ``evidence`` (joined by a comma), ``conflict`` (whether two sources
        name kinds for the pair and agree on none), ``calls`` [count]. Then one row, with ``known_by
        = "nobody"`` and no ``dst_id``, per service that no trace names at either end: edges of it
        may be missing.

    Notes
    -----
    An edge that only a declaration knows may be dead or rare; one that only traces know is missing
    from the declarations. Both count in full in `edges`: what is known twice is one edge.

    Examples
    --------
    >>> assess.edge_evidence(inventory)["known_by"].value_counts().to_dict()
    {'traces': 71, 'declaration': 19, 'nobody': 5}
    """
    columns = ["src_id", "dst_id", "known_by", "kinds", "evidence", "conflict", "calls"]
    pair = ["src_id", "dst_id"]
    rows = inventory["dependencies"].query("src_id != dst_id").astype({"kind": "str"})
    rows = rows.fillna({"kind": "unknown"})
    is_seen = rows["evidence"].isin(OBSERVING) | rows["calls"].notna()
    groups = rows.assign(is_seen=is_seen).groupby(pair)
    seen = groups["is_seen"]
    specific = rows[~rows["kind"].isin(KINDLESS)]
    sources_n = specific.groupby(pair)["evidence"].nunique()
    agreeing_n = specific.groupby([*pair, "kind"])["evidence"].nunique()
    # the sources that name a kind name different ones
    conflict = agreeing_n.groupby(pair).max() < sources_n

    def joined(words: Series) -> str:
        return ",".join(sorted(set(words)))

    known_by = np.select([seen.all(), seen.any()], ["traces", "both"], "declaration")
    table = groups.agg(kinds=("kind", joined), evidence=("evidence", joined))
    table = table.assign(
        known_by=known_by,
        conflict=conflict.reindex(table.index, fill_value=False).astype(bool),
        calls=groups["calls"].sum(min_count=1),
    )
    # a trace with a service at either end shows that the service is traced
    traced = set(rows.loc[is_seen, pair].to_numpy().ravel())
    untraced = sorted(set(inventory["services"]["service_id"]) - traced)
    unseen = DataFrame({"src_id": untraced}).assign(known_by="nobody")
    full = pd.concat([table.reset_index(), unseen], ignore_index=True)
    text = dict.fromkeys(columns[:5], "str")
    return full[columns].astype({**text, "conflict": "boolean", "calls": "Int64"})


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


@frozen
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


@frozen
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
        """Services with a known running replica."""
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
        keys = map(arc_key, self.edges["dst"], self.edges["src"])
        return np.array([*keys], dtype=np.uint64)

    @cached_property
    def placeless(self) -> Integers:
        """Services, by node, without a known running replica: they may be anywhere."""
        return np.flatnonzero(~self.services.isin(self.placed))

    @cached_property
    def anywhere(self) -> dict[str, Integers]:
        """By kind, services, by node, that each element of the kind takes down at worst."""
        rows = self.direct["hi"].query("element.isna()")
        node = self.nodes.get_indexer(rows["service_id"])
        of_kind = [node[rows["element_kind"] == kind] for kind in INFRASTRUCTURE]
        # unknown is never safe: every element may be the place of what has none
        nodes = [np.union1d(known, self.placeless) for known in of_kind]
        return {kind: n for kind, n in zip(INFRASTRUCTURE, nodes, strict=True) if len(n)}

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

    @property
    def is_uncertain(self) -> bool:
        """Whether an arc is neither certain nor impossible at any level."""
        return any(graph.uncertain for graph in self.graphs.values())

    def graph(self, level: str, places: str) -> Graph:
        """Return the arcs at a level, for what fails directly at the level of ``places``."""
        # At ``hi``, an extra node stands for the services anywhere: pairs would be too many.
        p = self.edges[level].to_numpy("float64")
        n = len(self.nodes)
        graph = Graph(n, self.callee, self.caller, p, self._keys, self.weight)
        for services in self.anywhere.values() if places == "hi" else ():
            graph = graph.joined(np.empty(0, np.int64), services)
        return graph

    @cached_property
    def initial_failures(self) -> dict[str, Positions]:
        """By level, pairs of element and node of `graphs` that it takes down directly."""
        return {level: self._initial_of(level) for level in self.direct}

    @cached_property
    def _initial(self) -> dict[str, csr_array]:
        # the last row is of elements that are not there
        shape = (len(self.elements) + 1, len(self.nodes) + len(self.anywhere))
        return {k: sparse(shape, *ends) for k, ends in self.initial_failures.items()}

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
        element, node = self.positions(self.direct[level].dropna())
        if level == "hi":
            extra = Index([*self.anywhere]).get_indexer(kinds)
            element = np.append(element, np.flatnonzero(extra >= 0))
            node = np.append(node, len(self.nodes) + extra[extra >= 0])
        return np.append(itself, element), np.append(own_node, node)

    def initially_down(self, elements: Sequence[Element], level: str) -> Booleans:
        """Return, by given element and node, whether the element takes it down directly."""
        failed = self.elements.get_indexer(list(elements))
        down = self._initial[level][failed].astype(bool).toarray()
        # the last columns are the extra nodes of `graphs`
        n = len(self.nodes)
        for extra, services in enumerate(self.anywhere.values(), n):
            down[np.ix_(down[:, extra], services)] = True
        return down[:, :n]

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
