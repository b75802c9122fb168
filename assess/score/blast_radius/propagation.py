"""What fails when something fails: exact where every arc on the way is certain, or they are few.

Scenarios without an uncertain arc on the way are bits of one computation. Where arcs are
uncertain, the bits are the outcomes of those arcs: all of them where they are few, else draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from assess.execution import current, each
from assess.score.blast_radius.bitset import (
    BitSums,
    Booleans,
    Bytes,
    Csr,
    Floats,
    Integers,
    Parts,
    Weights,
    pack,
    sweep,
    to_bytes,
    unpack,
)
from assess.score.blast_radius.scenarios import DistinctScenarios, Scenarios
from assess.score.blast_radius.topology import Graph
from assess.score.blast_radius.uncertain import (
    EdgeSampler,
    Outcome,
    Sampling,
    best_paths,
    decide,
    undecided,
)

WHAT = "blast radius"
WIDTH_MOST = 1 << 15  # an integer of 4 KiB stays in the nearest cache
UNCERTAIN_CELLS = 1 << 20  # nodes times scenarios of a block whose arcs are uncertain
SHARED_CELLS = 1 << 20  # of one that is worth to be sent to another process


@dataclass(frozen=True)
class Impact:
    """What fails in each scenario.

    By scenario: ``loss`` (expected weight lost, or a bound of it), ``se`` (its standard error; 0
    where exact, NaN for a bound), ``exact``, ``reached_n`` (nodes that can fail). By node:
    ``exposure_n``, the scenarios that take it down; see `Sampling`. By pair, sorted: ``scenario,
    node, p`` [probability, 0-1].
    """

    loss: Floats
    se: Floats
    exact: Booleans
    reached_n: Integers
    exposure_n: Integers
    scenario: Integers
    node: Integers
    p: Floats


def propagate(
    graph: Graph,
    scenarios: Scenarios,
    *,
    sampling: Sampling,
    bound: Literal["least", "most"] = "least",
) -> Impact:
    """Compute what fails in many scenarios; the size of the blocks changes no number.

    ``bound`` says what stands for scenarios with many uncertain arcs that are not drawn: their
    most probable paths (`uncertain.best_paths`), or all that can be reached.
    """
    # scenarios that differ in nothing are computed once
    distinct = DistinctScenarios.of(graph.certain, scenarios)
    work = _Work.of(graph, distinct, sampling, bound)
    blocks = [_Block.empty()]
    exposure_n = np.zeros(graph.nodes, np.int64)
    for block, counts in each(_Work.block, work, work.spans(), what=WHAT):
        blocks.append(block)
        exposure_n += counts

    position = distinct.position

    def by_scenario(name: str) -> np.ndarray:
        return np.concatenate([getattr(block, name) for block in blocks])[position]

    pairs = zip(*(pair for block in blocks for pair in block.pairs), strict=True)
    row, node, p = (np.concatenate(column) for column in pairs)
    listed = np.flatnonzero(scenarios.is_listed)
    which, at = Csr.of(row, len(distinct.times)).members(position[listed])
    scenario = listed[which]
    order = np.lexsort((node[at], scenario))
    return Impact(
        by_scenario("loss"),
        by_scenario("se"),
        by_scenario("exact"),
        by_scenario("reached_n"),
        exposure_n,
        scenario[order],
        node[at][order],
        p[at][order],
    )


@dataclass(frozen=True, eq=False)
class _Down:
    """What fails along certain arcs in a block: bits by part, weight and nodes by scenario."""

    parts: Parts
    rows: dict[int, int]
    weight: Floats
    n: Integers

    def count(self, times: Integers) -> Integers:
        """Count by part the scenarios in which it is down, each as often as ``times`` says."""
        # bit by bit of ``times``, so that a population count replaces a loop over scenarios
        digits = [
            pack((times >> d & 1).astype(bool))
            for d in range(int(times.max()).bit_length())
        ]
        counts = np.zeros(len(self.parts.heads), np.int64)
        for part, bits in self.rows.items():
            counts[part] = sum((bits & m).bit_count() << d for d, m in enumerate(digits))
        return counts

    def members(self, wanted: Booleans) -> tuple[Integers, Integers]:
        """List pairs of part and scenario, by part, in the scenarios that are wanted."""
        mask = pack(wanted)
        part = [np.empty(0, np.int64)]
        scenario = [np.empty(0, np.int64)]
        for row, bits in self.rows.items():
            if bits & mask:
                scenario.append(np.flatnonzero(unpack(bits & mask, len(wanted))))
                part.append(np.full(len(scenario[-1]), row))
        return np.concatenate(part), np.concatenate(scenario)

    def by_scenario(self) -> Bytes:
        """Return a row per eight scenarios and a column per node; see `_column`."""
        rows = [self.rows.get(part, 0) for part in range(len(self.parts.heads))]
        return np.ascontiguousarray(to_bytes(rows, len(self.n))[self.parts.part].T)


def _column(packed: Bytes, scenario: int) -> Booleans:
    """Return by node whether it is down in one scenario."""
    return (packed[scenario >> 3] >> (scenario & 7) & 1).astype(bool)


@dataclass(frozen=True, eq=False)
class _Block:
    """The impact of some distinct scenarios; pairs are of scenario, node and probability."""

    loss: Floats
    se: Floats
    exact: Booleans
    reached_n: Integers
    pairs: list[tuple[Integers, Integers, Floats]]

    @classmethod
    def empty(cls, width: int = 0) -> _Block:
        """Return a block in which nothing fails."""
        none = np.empty(0, np.int64)
        return cls(
            np.zeros(width),
            np.zeros(width),
            np.ones(width, bool),
            np.zeros(width, np.int64),
            [(none, none, np.empty(0))],
        )


@dataclass(frozen=True, eq=False)
class _Work:
    """What all blocks share, and how one of them is computed."""

    graph: Graph
    scenarios: DistinctScenarios
    sampling: Sampling
    bound: str
    weights: dict[Parts, tuple[Weights, Weights]]  # of criticality, and of nodes
    sampler: EdgeSampler
    outcomes: dict[bytes, Outcome]  # by the undecided nodes and the arcs that decide them

    @classmethod
    def of(
        cls, graph: Graph, scenarios: DistinctScenarios, sampling: Sampling, bound: str
    ) -> _Work:
        """Weigh the parts once."""
        weights = {}
        for parts in {graph.certain, graph.possible}:
            n = len(parts.heads)
            total = np.bincount(parts.part, graph.weight, n)
            size = np.bincount(parts.part, minlength=n)
            weights[parts] = (Weights.of(total), Weights.of(size))
        sampler = EdgeSampler(graph, sampling)
        return cls(graph, scenarios, sampling, bound, weights, sampler, {})

    def spans(self) -> list[tuple[int, int]]:
        """List start and width of each block: as memory allows, and enough for all workers."""
        n = len(self.scenarios.times)
        nodes = max(self.graph.nodes, 1)
        workers = current().workers.n
        width = min(WIDTH_MOST, int(self.sampling.block_mib * 2**23 / nodes))
        if self.graph.uncertain:
            # a scenario may take long: small blocks, so that progress is seen
            width = min(width, max(UNCERTAIN_CELLS // nodes, 1))
        if workers > 1:
            width = min(width, max(-(-n // (4 * workers)), SHARED_CELLS // nodes))
        width = max(8, width)
        return [(start, min(width, n - start)) for start in range(0, n, width)]

    def block(self, span: tuple[int, int]) -> tuple[_Block, Integers]:
        """Return the impact of some scenarios, and by node how many of them take it down."""
        graph = self.graph
        start, width = span
        certain = self._sweep(graph.certain, start, width)
        block = _Block.empty(width)
        block.loss[:] = certain.weight
        block.reached_n[:] = certain.n
        block.pairs.append(self._listed(certain, start, width))
        # a scenario in which nothing fails takes nothing down
        times = self.scenarios.times[start : start + width] * (certain.n > 0)
        exposure_n = certain.count(times)[graph.certain.part]
        if not graph.uncertain:
            return block, exposure_n
        possible = self._sweep(graph.possible, start, width)
        block.reached_n[:] = possible.n
        doubtful = np.flatnonzero(possible.n > certain.n)
        if len(doubtful):
            down = certain.by_scenario()
            reach = possible.by_scenario()
            for scenario, outcome in self._outcomes(doubtful, down, reach, start):
                exposed = outcome.node[outcome.p >= self.sampling.exposed_from]
                exposure_n[exposed] += times[scenario]
                self._add(outcome, start, scenario, block)
        return block, exposure_n

    def _sweep(self, parts: Parts, start: int, width: int) -> _Down:
        weights, sizes = self.weights[parts]
        weight = BitSums(weights)
        size = BitSums(sizes)
        rows = {}
        initial = self.scenarios.initial_failures(parts, start, width)
        for part, bits in sweep(parts, initial):
            weight.add(part, bits)
            size.add(part, bits)
            rows[part] = bits
        n = size.totals(width).astype(np.int64)
        return _Down(parts, rows, weight.totals(width), n)

    def _listed(
        self, down: _Down, start: int, width: int
    ) -> tuple[Integers, Integers, Floats]:
        """List what certainly fails."""
        part, scenario = down.members(self.scenarios.listed[start : start + width])
        at, node = self.graph.members.members(part)
        return scenario[at] + start, node, np.ones(len(node))

    def _outcomes(
        self, doubtful: Integers, down: Bytes, reach: Bytes, start: int
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield what uncertain arcs decide in some scenarios; those not drawn are bounded."""
        bounded = []
        for scenario in doubtful.tolist():
            node, way = undecided(
                self.graph, _column(down, scenario), _column(reach, scenario)
            )
            few = np.count_nonzero(self.graph.p[way] < 1) <= self.sampling.enumerate_up_to
            if few or self.scenarios.drawn[start + scenario]:
                yield scenario, self._decide(node, way)
            else:
                bounded.append(scenario)
        room = max(int(self.sampling.block_mib * 2**20 / 32 / self.graph.nodes), 1)
        for at in range(0, len(bounded), room):
            yield from self._bounds(bounded[at : at + room], down, reach)

    def _bounds(
        self, scenarios: list[int], down: Bytes, reach: Bytes
    ) -> Iterator[tuple[int, Outcome]]:
        """Bound what uncertain arcs decide, in some scenarios at once."""
        certain = np.stack([_column(down, each) for each in scenarios], axis=1)
        possible = np.stack([_column(reach, each) for each in scenarios], axis=1)
        p = possible * 1.0 if self.bound == "most" else best_paths(self.graph, certain)
        p = np.where(possible & ~certain, p, 0.0)
        # added up in order: the size of a block changes no digit
        losses = np.add.accumulate(p * self.graph.weight[:, None])[-1]
        for at, scenario in enumerate(scenarios):
            node = np.flatnonzero(possible[:, at] & ~certain[:, at])
            loss = float(losses[at])
            yield scenario, Outcome(node, p[node, at], loss, math.nan, exact=False)

    def _decide(self, node: Integers, way: Integers) -> Outcome:
        # many scenarios differ in certain failures only, and share what is undecided
        key = node.tobytes() + b"/" + way.tobytes()
        if len(self.outcomes) * self.graph.nodes * 32 > self.sampling.block_mib * 2**20:
            self.outcomes.clear()
        if key not in self.outcomes:
            self.outcomes[key] = decide(self.graph, node, way, self.sampler)
        return self.outcomes[key]

    def _add(self, outcome: Outcome, start: int, scenario: int, block: _Block) -> None:
        """Add what uncertain arcs decide in one scenario."""
        block.loss[scenario] += outcome.loss
        block.se[scenario] = outcome.se
        block.exact[scenario] = outcome.exact
        if self.scenarios.listed[start + scenario]:
            row = np.full(len(outcome.node), start + scenario)
            block.pairs.append((row, outcome.node, outcome.p))
