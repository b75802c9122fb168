"""What falls when something fails: exact where every arc on the way is certain, or they are few.

Scenarios without an uncertain arc on the way are lanes of one computation. Where arcs are
uncertain, the lanes are the outcomes of those arcs: all of them where they are few, else draws.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assess.policy import Policy
from assess.score.lanes import (
    Arcs,
    Booleans,
    Bytes,
    Floats,
    Integers,
    Parts,
    Scales,
    condense,
    fixpoint,
    pack,
    sweep,
    to_bytes,
    unpack,
)
from assess.score.scenarios import Lanes, Scenarios, members

LANES_MOST = 1 << 15  # an integer of 4 KiB stays in the nearest cache


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
    return Sampling(policy.seed, draws, settings["enumerate_up_to"],
                    settings["block_mib"], settings["exposed_from"])  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """What falls in each scenario.

    Attributes
    ----------
    loss : ndarray of float
        Expected weight lost, by scenario.
    se : ndarray of float
        Standard error of it; 0 where exact.
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


@dataclass
class _Dice:
    """Draws of the arcs: one mask per arc, shared by all scenarios (common random numbers)."""

    graph: Graph
    sampling: Sampling
    masks: dict[int, int] = field(default_factory=dict)

    def mask(self, arc: int) -> int:
        """Draw an arc by a Latin hypercube; a higher p fails in all the lanes of a lower one."""
        if arc not in self.masks:
            draws = self.sampling.draws
            rng = np.random.default_rng([self.sampling.seed, int(self.graph.keys[arc])])
            uniform = (rng.permutation(draws) + 0.5) / draws
            self.masks[arc] = pack(uniform < self.graph.p[arc])
        return self.masks[arc]


def _outcomes(p: Floats) -> tuple[list[int], Floats]:
    """Every outcome of some arcs: the lanes in which each fails, and each lane's probability."""
    width = 1 << len(p)
    full = (1 << width) - 1
    masks = [full // ((1 << (1 << i)) + 1) << (1 << i) for i in range(len(p))]
    chance = np.ones(1)
    for each in p:
        chance = np.concatenate([chance * (1 - each), chance * each])
    return masks, chance


@dataclass(frozen=True)
class _Open:
    """What uncertain arcs decide in one scenario: probability by node, loss and its error."""

    node: Integers
    p: Floats
    loss: float
    se: float
    exact: bool


def _decide(graph: Graph, certain: Booleans, possible: Booleans, dice: _Dice) -> _Open:
    """Fail the nodes that are possibly, but not certainly down, lane by outcome or draw."""
    undecided = possible & ~certain
    node = np.flatnonzero(undecided)
    way = np.flatnonzero((graph.p > 0) & undecided[graph.head] & possible[graph.tail])
    doubtful = way[graph.p[way] < 1]
    exact = len(doubtful) <= dice.sampling.enumerate_up_to
    if exact:
        drawn, chance = _outcomes(graph.p[doubtful])
        masks = dict(zip(doubtful.tolist(), drawn, strict=True))
    else:
        chance = np.full(dice.sampling.draws, 1 / dice.sampling.draws)
        masks = {arc: dice.mask(arc) for arc in doubtful.tolist()}
    width = len(chance)
    local = dict(zip(node.tolist(), range(len(node)), strict=True))
    arcs: Arcs = [[] for _ in local]
    down = [0] * len(local)
    ends = zip(way.tolist(), graph.tail[way].tolist(), graph.head[way].tolist(), strict=True)
    for arc, tail, head in ends:
        if tail in local:
            arcs[local[tail]].append((local[head], masks.get(arc)))
        else:
            down[local[head]] |= masks[arc]
    fixpoint(down, arcs)
    weights = graph.weight[node]
    if exact:
        p = np.array([unpack(lanes, width) @ chance for lanes in down])
        return _Open(node, p, float(weights @ p), 0.0, exact=True)
    p = np.array([lanes.bit_count() / width for lanes in down])
    scales = Scales(weights)
    for each, lanes in enumerate(down):
        scales.put(each, lanes)
    losses = scales.read(width)
    se = float(losses.std(ddof=1) / math.sqrt(width)) if width > 1 else math.inf
    return _Open(node, p, float(losses.mean()), se, exact=False)


def spread(graph: Graph, scenarios: Scenarios, *, sampling: Sampling) -> Spread:
    """Work out what falls when some nodes fail, in many scenarios.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    scenarios : Scenarios
        What fails by itself.
    sampling : Sampling
        How uncertain arcs are dealt with.

    Returns
    -------
    Spread
        Losses by scenario, and what can fall in it: the same for any size of the blocks.
    """
    lanes = Lanes.make(graph.certain, scenarios)
    found = _Found(graph, lanes, sampling)
    room = int(sampling.block_mib * 2**23 / max(graph.nodes, 1))
    width = max(8, min(LANES_MOST, room))
    for start in range(0, len(lanes.times), width):
        found.block(start, min(width, len(lanes.times) - start))
    return found.told(scenarios.shown)


class _Found:
    """What falls, lane by lane."""

    def __init__(self, graph: Graph, lanes: Lanes, sampling: Sampling) -> None:
        self.graph, self.lanes, self.dice = graph, lanes, _Dice(graph, sampling)
        self.felled_from = sampling.felled_from
        self.scales = {
            parts: (Scales(np.bincount(parts.part, graph.weight)), Scales(np.bincount(parts.part)))
            for parts in {graph.certain, graph.possible}
        }
        n = len(lanes.times)
        self.loss, self.se, self.exact = np.zeros(n), np.zeros(n), np.ones(n, bool)
        self.reached_n = np.zeros(n, np.int64)
        self.felled_n = np.zeros(graph.nodes, np.int64)
        self.pairs = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        self.known: dict[bytes, _Open] = {}  # by what falls for certain: the rest follows from it

    def block(self, start: int, width: int) -> None:
        """Fail the nodes of some lanes."""
        graph, here = self.graph, slice(start, start + width)
        fallen = self._fall(graph.certain, start, width)
        self.loss[here], self.reached_n[here] = fallen.weight, fallen.n
        self._count(fallen, start, width)
        if not graph.uncertain:
            return
        reached = self._fall(graph.possible, start, width)
        self.reached_n[here] = reached.n
        doubtful = np.flatnonzero(reached.n > fallen.n)
        if len(doubtful):
            down, reach = fallen.packed(width), reached.packed(width)
            for lane in doubtful.tolist():
                self._decide(start + lane, _column(down, lane), _column(reach, lane))

    def _fall(self, parts: Parts, start: int, width: int) -> _Fallen:
        weight, count = self.scales[parts]
        rows = {}
        for part, lanes in sweep(parts, self.lanes.seeds(parts, start, width)):
            weight.put(part, lanes)
            count.put(part, lanes)
            rows[part] = lanes
        return _Fallen(parts, rows, weight.read(width), count.read(width).astype(np.int64))

    def _count(self, fallen: _Fallen, start: int, width: int) -> None:
        """Count the scenarios that take each node down, and list who falls with what."""
        times = self.lanes.times[start : start + width] * (fallen.n > 0)
        digits = [pack((times >> d & 1).astype(bool)) for d in range(int(times.max()).bit_length())]
        wanted = pack(self.lanes.listed[start : start + width])
        felled = np.zeros(len(fallen.parts.heads), np.int64)
        part, lane = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for each, lanes in fallen.rows.items():
            felled[each] = sum((lanes & m).bit_count() << d for d, m in enumerate(digits))
            if lanes & wanted:
                lane.append(np.flatnonzero(unpack(lanes & wanted, width)))
                part.append(np.full(len(lane[-1]), each))
        self.felled_n += felled[fallen.parts.part]
        at, node = members(fallen.parts.part, np.concatenate(part), len(felled))
        self.pairs.append((np.concatenate(lane)[at] + start, node, np.ones(len(node))))

    def _decide(self, lane: int, fallen: Booleans, reached: Booleans) -> None:
        """Add what uncertain arcs do in one lane."""
        key = np.packbits(fallen).tobytes()
        if key not in self.known:
            self.known[key] = _decide(self.graph, fallen, reached, self.dice)
        fate = self.known[key]
        self.loss[lane] += fate.loss
        self.se[lane], self.exact[lane] = fate.se, fate.exact
        self.felled_n[fate.node[fate.p >= self.felled_from]] += self.lanes.times[lane]
        if self.lanes.listed[lane]:
            self.pairs.append((np.full(len(fate.node), lane), fate.node, fate.p))

    def told(self, listed: Booleans) -> Spread:
        """Give each scenario what its lane has."""
        of = self.lanes.of
        lane, node, p = (np.concatenate(column) for column in zip(*self.pairs, strict=True))
        chosen = np.flatnonzero(listed)
        at, which = members(of[chosen], lane, len(self.loss))
        scenario, node, p = chosen[which], node[at], p[at]
        order = np.lexsort((node, scenario))
        return Spread(self.loss[of], self.se[of], self.exact[of], self.reached_n[of],
                      self.felled_n, scenario[order], node[order], p[order])  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Fallen:
    """The parts that fall in some lanes, and by lane the weight lost and the nodes that fall."""

    parts: Parts
    rows: dict[int, int]
    weight: Floats
    n: Integers

    def packed(self, width: int) -> Bytes:
        """Rows by node, in memory."""
        rows = [self.rows.get(part, 0) for part in range(len(self.parts.heads))]
        return to_bytes(rows, width)[self.parts.part]


def _column(packed: Bytes, lane: int) -> Booleans:
    """By node, whether it is down in one lane."""
    return (packed[:, lane >> 3] >> (lane & 7) & 1).astype(bool)
