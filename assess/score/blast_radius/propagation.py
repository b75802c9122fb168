"""What falls when something fails: exact where every arc on the way is certain, or they are few.

Scenarios without an uncertain arc on the way are lanes of one computation. Where arcs are
uncertain, the lanes are the outcomes of those arcs: all of them where they are few, else draws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from assess.execution import current, each
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import (
    Booleans,
    Bytes,
    Floats,
    Integers,
    Parts,
    condense,
)
from assess.score.blast_radius.impact import Fallen, Loads, fall
from assess.score.blast_radius.scenarios import Groups, Lanes, Scenarios
from assess.score.blast_radius.uncertain import Dice, Open, best_paths, decide, undecided

WHAT = "blast radius"
LANES_MOST = 1 << 15  # an integer of 4 KiB stays in the nearest cache
UNCERTAIN_CELLS = 1 << 20  # nodes times lanes of a block whose arcs are uncertain
SHARED_CELLS = 1 << 20  # of one that is worth to be sent to somebody else


@dataclass(frozen=True, eq=False)
class Graph:
    """Who fails with whom.

    Attributes
    ----------
    nodes : int
        Number of nodes. [count]
    tail, head : ndarray of int
        Arcs: ``head`` fails when ``tail`` fails; no two arcs join the same pair.
    p : ndarray of float
        Probability that it does. [0-1]
    keys : ndarray of int
        What tells the arcs apart, whatever else the graph holds: seeds their draws.
    weight : ndarray of float
        Weight of each node. [>= 0]
    """

    nodes: int
    tail: Integers
    head: Integers
    p: Floats
    keys: npt.NDArray[np.uint64]
    weight: Floats

    @cached_property
    def certain(self) -> Parts:
        """What certainly fails with what."""
        return condense(self.nodes, self.tail[self.p >= 1], self.head[self.p >= 1])

    @cached_property
    def possible(self) -> Parts:
        """What possibly fails with what."""
        if not self.uncertain:
            return self.certain
        return condense(self.nodes, self.tail[self.p > 0], self.head[self.p > 0])

    @cached_property
    def members(self) -> Groups:
        """Nodes by the certain part that holds them."""
        return Groups.of(self.certain.part, len(self.certain.heads))

    @cached_property
    def arriving(self) -> Groups:
        """Arcs by the node that they lead to."""
        return Groups.of(self.head, self.nodes)

    @cached_property
    def leaving(self) -> Groups:
        """Arcs by the node that they come from."""
        return Groups.of(self.tail, self.nodes)

    @property
    def uncertain(self) -> bool:
        """Whether an arc is neither certain nor impossible."""
        return bool(((self.p > 0) & (self.p < 1)).any())


@dataclass(frozen=True)
class Sampling:
    """How uncertain arcs are dealt with.

    Attributes
    ----------
    seed : int
        Seed of the draws.
    draws : int
        Draws per scenario. [count]
    enumerate_up_to : int
        Uncertain arcs of which every outcome is computed. [count]
    block_mib : float
        Memory of the scenarios computed together. [MiB]
    felled_from : float, default 0.5
        A scenario counts as one that takes a node down from this probability on. [0-1]
    """

    seed: int
    draws: int
    enumerate_up_to: int
    block_mib: float
    felled_from: float = 0.5


def fewest_draws(policy: Policy) -> int:
    """Give the draws that keep the standard error of a share within ``blast_radius.se_max``.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    int
        The deviation of a share is at most one half. [count]
    """
    return math.ceil((0.5 / float(policy["blast_radius"]["se_max"])) ** 2) + 1


def sampling_of(policy: Policy) -> Sampling:
    """Say how uncertain edges are dealt with.

    Parameters
    ----------
    policy : Policy
        Tables ``simulation`` and ``blast_radius``.

    Returns
    -------
    Sampling
        With as many draws as the policy asks for, and at least `fewest_draws`.
    """
    settings = policy["blast_radius"]
    draws = max(policy.draws, fewest_draws(policy))
    return Sampling(
        policy.seed,
        draws,
        settings["enumerate_up_to"],
        settings["block_mib"],
        settings["exposed_from"],
    )


@dataclass(frozen=True)
class Spread:
    """What falls in each scenario.

    Attributes
    ----------
    loss : ndarray of float
        Expected weight lost, by scenario; a bound of it where it was not drawn.
    se : ndarray of float
        Standard error of it; 0 where exact, NaN where it is a bound.
    exact : ndarray of bool
        Whether it is exact.
    reached_n : ndarray of int
        Nodes that can fall, by scenario. [count]
    felled_n : ndarray of int
        Scenarios that take it down, by node; see `Sampling`. [count]
    scenario, node : ndarray of int
        What can fall where, by scenario and then node.
    p : ndarray of float
        Probability of that. [0-1]
    """

    loss: Floats
    se: Floats
    exact: Booleans
    reached_n: Integers
    felled_n: Integers
    scenario: Integers
    node: Integers
    p: Floats


def arc_key(tail: str, head: str) -> int:
    """Give an arc a number by the names of its ends.

    Parameters
    ----------
    tail, head : str
        The names.

    Returns
    -------
    int
        The same for the same names, in any fleet.
    """
    text = f"{tail}\0{head}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def spread(
    graph: Graph,
    scenarios: Scenarios,
    *,
    sampling: Sampling,
    bound: Literal["least", "most"] = "least",
) -> Spread:
    """Work out what falls when some nodes fail, in many scenarios.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    scenarios : Scenarios
        What fails by itself.
    sampling : Sampling
        How uncertain arcs are dealt with.
    bound : str, default "least"
        What stands for scenarios with many uncertain arcs that are not to be drawn: what falls at
        least (see `uncertain.best_paths`), or all that can be reached.

    Returns
    -------
    Spread
        Losses by scenario, and what can fall in it: the same for any size of the blocks.
    """
    lanes = Lanes.make(graph.certain, scenarios)
    work = _Work.of(graph, lanes, sampling, bound)
    blocks, felled_n = [_Block.empty()], np.zeros(graph.nodes, np.int64)
    for block, felled in each(_Work.block, work, work.spans(), what=WHAT):
        blocks.append(block)
        felled_n += felled
    loss, se, exact, reached_n = (
        np.concatenate([getattr(block, name) for block in blocks])
        for name in ("loss", "se", "exact", "reached_n")
    )
    lane, node, p = (
        np.concatenate(column)
        for column in zip(
            *(pairs for block in blocks for pairs in block.pairs), strict=True
        )
    )
    shown = np.flatnonzero(scenarios.shown)
    which, at = Groups.of(lane, len(loss)).members(lanes.of[shown])
    scenario, node, p = shown[which], node[at], p[at]
    order, of = np.lexsort((node, scenario)), lanes.of
    return Spread(
        loss[of],
        se[of],
        exact[of],
        reached_n[of],
        felled_n,
        scenario[order],
        node[order],
        p[order],
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """What falls in some lanes: see `Spread`; pairs are of lane, node and probability."""

    loss: Floats
    se: Floats
    exact: Booleans
    reached_n: Integers
    pairs: list[tuple[Integers, Integers, Floats]]

    @classmethod
    def empty(cls, lanes: int = 0) -> _Block:
        """Nothing falls."""
        none = np.empty(0, np.int64)
        return cls(
            np.zeros(lanes),
            np.zeros(lanes),
            np.ones(lanes, bool),
            np.zeros(lanes, np.int64),
            [(none, none, np.empty(0))],
        )


@dataclass(frozen=True, eq=False)
class _Work:
    """What all blocks share, and how one of them is worked out."""

    graph: Graph
    lanes: Lanes
    sampling: Sampling
    bound: str
    loads: dict[Parts, Loads]
    dice: Dice
    known: dict[bytes, Open]  # by what is undecided, and the arcs that decide it

    @classmethod
    def of(cls, graph: Graph, lanes: Lanes, sampling: Sampling, bound: str) -> _Work:
        """Weigh the parts once."""
        loads = {p: Loads.of(p, graph.weight) for p in {graph.certain, graph.possible}}
        return cls(graph, lanes, sampling, bound, loads, Dice(graph, sampling), {})

    def spans(self) -> list[tuple[int, int]]:
        """Give first lane and width of each block: the memory, and enough for all hands."""
        lanes, nodes, hands = (
            len(self.lanes.times),
            max(self.graph.nodes, 1),
            current().workers.n,
        )
        width = min(LANES_MOST, int(self.sampling.block_mib * 2**23 / nodes))
        if (
            self.graph.uncertain
        ):  # where a lane may take long: so many that one sees it go on
            width = min(width, max(UNCERTAIN_CELLS // nodes, 1))
        if hands > 1:
            width = min(width, max(-(-lanes // (4 * hands)), SHARED_CELLS // nodes))
        width = max(8, width)
        return [(start, min(width, lanes - start)) for start in range(0, lanes, width)]

    def block(self, span: tuple[int, int]) -> tuple[_Block, Integers]:
        """Fail the nodes of some lanes; count by node the scenarios that take it down."""
        graph, (start, width) = self.graph, span
        fallen = self._fall(graph.certain, start, width)
        found = _Block.empty(width)
        found.loss[:], found.reached_n[:] = fallen.weight, fallen.n
        found.pairs.append(self._listed(fallen, start, width))
        times = self.lanes.times[start : start + width] * (fallen.n > 0)
        felled_n = fallen.felled(times)[graph.certain.part]
        if not graph.uncertain:
            return found, felled_n
        reached = self._fall(graph.possible, start, width)
        found.reached_n[:] = reached.n
        doubtful = np.flatnonzero(reached.n > fallen.n)
        if len(doubtful):
            down = _by_lane(fallen, graph.certain)
            reach = _by_lane(reached, graph.possible)
            for lane, fate in self._fates(doubtful, down, reach, start):
                felled_n[fate.node[fate.p >= self.sampling.felled_from]] += times[lane]
                self._add(fate, start, lane, found)
        return found, felled_n

    def _fates(
        self, doubtful: Integers, down: Bytes, reach: Bytes, start: int
    ) -> Iterator[tuple[int, Open]]:
        """Say what uncertain arcs do in each of some lanes; those not to be drawn are bounded."""
        bounded = []
        for lane in doubtful.tolist():
            node, way = undecided(self.graph, _column(down, lane), _column(reach, lane))
            few = np.count_nonzero(self.graph.p[way] < 1) <= self.sampling.enumerate_up_to
            if few or self.lanes.drawn[start + lane]:
                yield lane, self._decide(node, way)
            else:
                bounded.append(lane)
        room = max(int(self.sampling.block_mib * 2**20 / 32 / self.graph.nodes), 1)
        for at in range(0, len(bounded), room):
            yield from self._bounds(bounded[at : at + room], down, reach)

    def _bounds(
        self, lanes: list[int], down: Bytes, reach: Bytes
    ) -> Iterator[tuple[int, Open]]:
        """Bound what uncertain arcs do, in some lanes at once."""
        certain = np.stack([_column(down, lane) for lane in lanes], axis=1)
        possible = np.stack([_column(reach, lane) for lane in lanes], axis=1)
        p = possible * 1.0 if self.bound == "most" else best_paths(self.graph, certain)
        open_p = np.where(possible & ~certain, p, 0.0)
        losses = np.add.accumulate(open_p * self.graph.weight[:, None])[
            -1
        ]  # in order: no size
        for at, lane in enumerate(lanes):  # of a block changes a digit
            node = np.flatnonzero(possible[:, at] & ~certain[:, at])
            yield lane, Open(node, p[node, at], float(losses[at]), math.nan, exact=False)

    def _fall(self, parts: Parts, start: int, width: int) -> Fallen:
        return fall(parts, self.loads[parts], self.lanes, start=start, width=width)

    def _listed(
        self, fallen: Fallen, start: int, width: int
    ) -> tuple[Integers, Integers, Floats]:
        """List who falls with what for certain."""
        fell, lane = fallen.members(self.lanes.listed[start : start + width])
        at, node = self.graph.members.members(fell)
        return lane[at] + start, node, np.ones(len(node))

    def _decide(self, node: Integers, way: Integers) -> Open:
        key = node.tobytes() + b"/" + way.tobytes()
        if len(self.known) * self.graph.nodes * 32 > self.sampling.block_mib * 2**20:
            self.known.clear()
        if key not in self.known:
            self.known[key] = decide(self.graph, node, way, self.dice)
        return self.known[key]

    def _add(self, fate: Open, start: int, lane: int, found: _Block) -> None:
        """Add what uncertain arcs do in one lane."""
        found.loss[lane] += fate.loss
        found.se[lane], found.exact[lane] = fate.se, fate.exact
        if self.lanes.listed[start + lane]:
            found.pairs.append((np.full(len(fate.node), start + lane), fate.node, fate.p))


def _by_lane(fallen: Fallen, parts: Parts) -> Bytes:
    """Rows by eight lanes, a column by node."""
    return np.ascontiguousarray(fallen.packed()[parts.part].T)


def _column(packed: Bytes, lane: int) -> Booleans:
    """By node, whether it is down in one lane."""
    return (packed[lane >> 3] >> (lane & 7) & 1).astype(bool)
