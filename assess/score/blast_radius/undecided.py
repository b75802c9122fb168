"""Undecided nodes in many scenarios at once: a cell per scenario and node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from assess.score import Booleans, Floats, Integers, frozen
from assess.score.blast_radius.bitset import Csr
from assess.score.blast_radius.topology import Graph

DEEP = 256  # levels: longer ways are followed arc by arc
WAYS_AN_ARC = 32  # scenarios that share an arc, from which on they follow it together …
SHARE = 0.25  # … where they are such a share of all
# how a value passes an arc, and how the values that arrive are joined
Rule = tuple[np.ufunc, np.ufunc]


@frozen
class Undecided:
    """Nodes of a graph that may fail in ``n`` scenarios or not, and the arcs that decide it.

    By cell, sorted: ``scenario, node``. By way, sorted by its head: ``arc``, and the cells ``tail``
    and ``head`` that it joins; a tail of -1 is down for certain.
    """

    graph: Graph
    n: int
    scenario: Integers
    node: Integers
    arc: Integers
    tail: Integers
    head: Integers

    @classmethod
    def of(
        cls,
        graph: Graph,
        certain: Booleans,
        possible: Booleans,
        nodes: Integers | None = None,
    ) -> Undecided:
        """Find cells and ways; what fails is of shape (scenarios, nodes).

        Where some ``nodes`` are given, nothing else can fail.
        """
        every = np.arange(graph.nodes) if nodes is None else nodes
        column = np.full(graph.nodes, -1)
        column[every] = np.arange(len(every))
        is_open = possible & ~certain
        scenario, open_column = np.nonzero(is_open)
        head, arc = graph.arriving.members(every[open_column])
        tail = column[graph.tail[arc]]
        counts = (graph.p[arc] > 0) & (tail >= 0)
        counts &= possible[scenario[head], tail]
        head = head[counts]
        arc = arc[counts]
        cell = np.full(is_open.shape, -1, np.int32)
        cell[scenario, open_column] = np.arange(len(scenario))
        tail = cell[scenario[head], tail[counts]].astype(np.int64)
        return cls(
            graph,
            n=len(certain),
            scenario=scenario,
            node=every[open_column],
            arc=arc,
            tail=tail,
            head=head,
        )

    @property
    def cells(self) -> Integers:
        """Number of cells by scenario."""
        return np.bincount(self.scenario, minlength=self.n)

    @cached_property
    def uncertain_n(self) -> Integers:
        """Number of uncertain arcs by scenario."""
        uncertain = self.head[self.graph.p[self.arc] < 1]
        return np.bincount(self.scenario[uncertain], minlength=self.n)

    def weight(self, p: Floats | float = 1.0) -> Floats:
        """Return by scenario the weight of its cells, each times ``p``; added up in order."""
        weighed = self.graph.weight[self.node] * p
        return np.asarray(np.bincount(self.scenario, weighed, self.n), float)

    def select(self, wanted: Integers) -> tuple[Undecided, Integers]:
        """Return some scenarios, numbered anew in their order, and the positions of their cells."""
        if np.array_equal(wanted, np.arange(self.n)):
            return self, np.arange(len(self.node))
        rank = np.full(self.n, -1)
        rank[wanted] = np.arange(len(wanted))
        place = np.flatnonzero(rank[self.scenario] >= 0)
        # one extra number stands for what is down for certain
        cell = np.full(len(self.node) + 1, -1)
        cell[place] = np.arange(len(place))
        ways = cell[self.head] >= 0
        part = replace(
            self,
            n=len(wanted),
            scenario=rank[self.scenario[place]],
            node=self.node[place],
            arc=self.arc[ways],
            tail=cell[self.tail[ways]],
            head=cell[self.head[ways]],
        )
        return part, place

    def chunks(self, wanted: Integers, room: int) -> Iterator[Integers]:
        """Yield the wanted scenarios some at a time, of at most ``room`` cells or one scenario."""
        chunk = np.cumsum(self.cells[wanted]) // max(room, 1)
        ends = np.flatnonzero(np.diff(chunk)) + 1
        yield from (part for part in np.split(wanted, ends) if len(part))

    def sweep(
        self, value: np.ndarray, gate: np.ndarray, row: Integers, rule: Rule
    ) -> np.ndarray:
        """Raise the values of the cells along the arcs until nothing changes.

        ``value`` is by cell; its last row is that of certainly failed nodes. ``row`` is by arc
        the row of its ``gate``. A value that arrives twice counts once, whatever
        the ``rule``. The least fixpoint is exact.
        """
        passes, joins = rule
        depth = self.graph.depth[self.node]
        is_long = depth.max(initial=0) > DEEP
        if len(self.arc) and (self.is_shared or is_long):
            arcs, number = self.arcs
            of_arc = np.zeros(len(arcs), np.int64)
            of_arc[number] = row
            # where arcs are enumerated, each scenario numbers them for itself
            if np.array_equal(of_arc[number], row):
                found = self._side_by_side(value[-1:].ravel(), gate[of_arc], rule)
                return found.reshape(value[:-1].shape)
        order = np.argsort(depth[self.head], kind="stable")
        back = depth[self.tail] >= depth[self.head]
        back &= self.tail >= 0
        while len(order):
            self._pass(value, gate, row, rule, order, depth)
            # arcs against the order of flow close cycles: again where they raise a value
            against = order[back[order]]
            old = value[self.head[against]]
            arrived = passes(value[self.tail[against]], gate[row[against]])
            new = joins(old, arrived)
            is_raised = (new != old).any(axis=tuple(range(1, new.ndim)))
            again = np.zeros(self.n, bool)
            again[self.scenario[self.head[against[is_raised]]]] = True
            order = order[again[self.scenario[self.head[order]]]]
        return value[:-1]

    @cached_property
    def is_shared(self) -> bool:
        """Whether most scenarios follow the same arcs, as in a dense graph."""
        arcs_n = max(len(self.arcs[0]), 1)
        return len(self.arc) >= arcs_n * max(WAYS_AN_ARC, SHARE * self.n)

    @cached_property
    def arcs(self) -> tuple[Integers, Integers]:
        """List the arcs of all ways, and by way the number of its arc."""
        found = np.zeros(int(self.arc.max(initial=-1)) + 1, bool)
        found[self.arc] = True
        return np.flatnonzero(found), (np.cumsum(found) - 1)[self.arc]

    def _side_by_side(
        self, certain: np.ndarray, gate: np.ndarray, rule: Rule
    ) -> np.ndarray:
        """Follow each arc once for all scenarios; ``certain`` is the value of what fails."""
        graph = self.graph
        arcs = self.arcs[0]
        # to some cells only closed arcs lead
        tails = graph.tail[arcs]
        heads = graph.head[arcs]
        nodes = np.unique(np.hstack([tails, heads, self.node]))
        value = np.zeros((len(nodes), len(certain), self.n), certain.dtype)
        sure = self.tail < 0
        node = np.searchsorted(nodes, graph.tail[self.arc[sure]])
        value[node, :, self.scenario[self.head[sure]]] = certain
        flow = np.argsort(graph.depth[nodes], kind="stable")
        tail = np.searchsorted(nodes, tails)
        head = np.searchsorted(nodes, heads)
        raise_rows(value, tail, head, gate.reshape(len(arcs), -1, 1), flow, rule)
        return value[np.searchsorted(nodes, self.node), :, self.scenario]

    def _pass(  # noqa: PLR0913, PLR0917 - what one sweep reads, as arrays
        self,
        value: np.ndarray,
        gate: np.ndarray,
        row: Integers,
        rule: Rule,
        order: Integers,
        depth: Integers,
    ) -> None:
        """Follow every arc once, level by level in the order of flow."""
        passes, joins = rule
        head = self.head[order]
        tail = self.tail[order]
        row = row[order]
        first = np.flatnonzero(np.diff(head, prepend=-1))
        target = head[first]
        ends = np.append(first[1:], len(head))
        level = np.flatnonzero(np.diff(depth[target], prepend=-1, append=-1))
        for start, stop in pairwise(level.tolist()):
            ways = slice(first[start], ends[stop - 1])
            arrived = passes(value[tail[ways]], gate[row[ways]])
            joined = joins.reduceat(arrived, first[start:stop] - first[start])
            cells = target[start:stop]
            value[cells] = joins(value[cells], joined)


def raise_rows(  # noqa: PLR0913, PLR0917 - arcs, and what flows along them
    value: np.ndarray,
    tail: Integers,
    head: Integers,
    gate: np.ndarray,
    flow: Integers,
    rule: Rule,
) -> None:
    """Raise the values of nodes, a row each, along the arcs until nothing changes.

    ``flow`` is the order of the nodes, ``gate`` is by arc and fits a row.
    """
    passes, joins = rule
    arriving = Csr.of(head, len(value))
    arcs = [arriving.row(node).tolist() for node in range(len(value))]
    source = tail.tolist()
    # when a row last rose, and when a node last looked at those that it needs
    rose = value.any(axis=(1, 2)).astype(int).tolist()
    looked = [0] * len(value)
    spare = np.empty_like(value[0])
    old = np.empty_like(value[0])
    now = 1
    before = 0
    while before < max(rose):
        before = max(rose)
        for node in flow.tolist():
            some = [arc for arc in arcs[node] if rose[source[arc]] > looked[node]]
            now += 1
            looked[node] = now
            if not some:
                continue
            row = value[node]
            old[:] = row
            for arc in some:
                passes(value[source[arc]], gate[arc], out=spare)
                joins(row, spare, out=row)
            if (row != old).any():
                rose[node] = now
