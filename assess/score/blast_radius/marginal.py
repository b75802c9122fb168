"""What one service more takes down beside others that fail: bounds, for many moves at once.

Bit i of an integer stands for term i: one service, and what an element takes down besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from assess.score.blast_radius.bitset import (
    Booleans,
    Csr,
    Floats,
    Integers,
    Parts,
    Weights,
    Words,
    lanes,
    spread_to_nodes,
    swept,
)
from assess.score.blast_radius.placement import PAIR
from assess.score.blast_radius.topology import Graph, Topology

WIDTH = 1 << 13  # terms of a block: an integer of 1 KiB


@dataclass(frozen=True, eq=False)
class Terms:
    """Services that move to or from elements, sorted by element.

    By term ``service`` [node] and ``element``; ``members`` holds the nodes that each element takes
    down today. Services are the first ``services_n`` nodes.
    """

    services_n: int
    service: Integers
    element: Integers
    members: list[list[int]]

    @classmethod
    def of(cls, topology: Topology, changes: pd.DataFrame) -> Terms:
        """Find the services and elements of the changes."""
        names = pd.MultiIndex.from_frame(changes[PAIR[:2]])
        element, elements = pd.factorize(names)
        direct = topology.direct["point"]
        row = elements.get_indexer(pd.MultiIndex.from_frame(direct[PAIR[:2]]))
        node = topology.nodes.get_indexer(pd.Index(direct["service_id"]))
        known = row >= 0
        order = Csr.of(row[known], len(elements))
        lists = np.split(node[known][order.indices], order.indptr[1:-1])
        service = topology.nodes.get_indexer(pd.Index(changes["service_id"]))
        return cls(
            len(topology.services),
            service,
            element.astype(np.int64),
            [part.tolist() for part in lists],
        )

    def initial_failures(
        self,
        start: int,
        width: int,
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Return by node the terms of a block in which it is the service, or is down besides."""
        block = slice(start, start + width)
        own: dict[int, int] = {}
        for bit, node in enumerate(self.service[block].tolist()):
            own[node] = own.get(node, 0) | 1 << bit
        others: dict[int, int] = {}
        element = self.element[block]
        first = np.flatnonzero(np.diff(element, prepend=-1))
        last = np.append(first[1:], len(element))
        for low, high in zip(first.tolist(), last.tolist(), strict=True):
            whole = (1 << high) - (1 << low)
            for node in self.members[element[low]]:
                others[node] = others.get(node, 0) | whole
        for node in own.keys() & others.keys():
            others[node] &= ~own[node]
        return own, others


def marginal_losses(
    graph: Graph,
    terms: Terms,
    least: Floats,
    most: Floats,
) -> tuple[Floats, Floats]:
    """Bound by term the expected weight that is lost by the service alone, beside the others.

    ``least`` and ``most`` are what each service loses when nothing else fails.

    Notes
    -----
    Expected losses are submodular: one service more never adds more than it loses alone, nor more
    than it can reach and the others do not certainly take down. It adds at least what it takes
    down for certain and the others cannot reach; and all that it loses alone, where it reaches
    nothing that the others reach.
    """
    n = len(terms.service)
    little = np.zeros(n)
    much = np.zeros(n)
    apart = np.zeros(n, bool)
    weights = Weights.of(graph.weight)
    for start in range(0, n, WIDTH):
        width = min(WIDTH, n - start)
        block = slice(start, start + width)
        bounds = _block(graph, weights, terms, start, width)
        little[block], much[block], apart[block] = bounds
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
    can = _down(graph.possible, own, width)
    does = _down(graph.certain, own, width)
    others_can = _down(graph.possible, others, width)
    others_do = _down(graph.certain, others, width)
    every = np.arange(graph.nodes)
    low = weights.totals(every, does & ~others_can, width)
    high = weights.totals(every, can & ~others_do, width)
    shared = np.bitwise_or.reduce(can & others_can, axis=0, keepdims=True)
    return low, high, lanes(shared, width)[0] == 0


def _down(parts: Parts, initial: dict[int, int], width: int) -> Words:
    """Return by node the terms in which it goes down when some nodes do."""
    by_part: dict[int, int] = {}
    for node, bits in initial.items():
        part = int(parts.part[node])
        by_part[part] = by_part.get(part, 0) | bits
    return spread_to_nodes(parts, *swept(parts, by_part, width))
