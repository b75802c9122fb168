"""What falls when something fails: exact where every arc on the way is certain, or they are few.

Scenarios without an uncertain arc on the way are lanes of one computation. Where arcs are
uncertain, the lanes are the outcomes of those arcs: all of them where they are few, else draws.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt

from assess.score.lanes import (
    Arcs,
    Booleans,
    Bytes,
    Floats,
    Integers,
    closure,
    fixpoint,
    pack,
    to_bytes,
    unpack,
    weigh,
)


@dataclass(frozen=True)
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
    lanes : int
        Scenarios computed together. [count]
    """

    seed: int
    draws: int
    enumerate_up_to: int
    lanes: int


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
    scenario, node : ndarray of int
        What can fall where, by scenario and then node.
    p : ndarray of float
        Probability of that. [0-1]
    """

    loss: Floats
    se: Floats
    exact: Booleans
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
    losses = weigh(down, weights, width)
    se = float(losses.std(ddof=1) / math.sqrt(width)) if width > 1 else math.inf
    return _Open(node, p, float(losses.mean()), se, exact=False)


def seeds_of(nodes: int, scenario: Integers, node: Integers, scenarios: int) -> list[int]:
    """Make seeds of pairs.

    Parameters
    ----------
    nodes : int
        Number of nodes. [count]
    scenario, node : ndarray of int
        In which scenario which node fails by itself.
    scenarios : int
        Number of scenarios. [count]

    Returns
    -------
    list of int
        By node, the scenarios in which it fails by itself, one bit each.
    """
    order = np.argsort(node, kind="stable")
    ends = np.searchsorted(node[order], np.arange(nodes + 1))
    lanes = scenario[order]
    seeds = [0] * nodes
    for each in np.flatnonzero(np.diff(ends)).tolist():
        flags = np.zeros(scenarios, bool)
        flags[lanes[ends[each] : ends[each + 1]]] = True
        seeds[each] = pack(flags)
    return seeds


def spread(
    graph: Graph, seeds: list[int], scenarios: int, *, sampling: Sampling, pairs: bool = True
) -> Spread:
    """Work out what falls when some nodes fail, in many scenarios.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    seeds : list of int
        By node, the scenarios in which it fails by itself, one bit each.
    scenarios : int
        Number of scenarios. [count]
    sampling : Sampling
        How uncertain arcs are dealt with.
    pairs : bool, default True
        Whether to list what can fall where; without it only losses are given.

    Returns
    -------
    Spread
        Losses by scenario, and what can fall in it.
    """
    dice = _Dice(graph, sampling)
    parts = []
    for start in range(0, max(scenarios, 1), sampling.lanes):
        width = min(sampling.lanes, scenarios - start)
        inside = (1 << width) - 1
        chunk = [lanes >> start & inside for lanes in seeds]
        part = _chunk(graph, chunk, width, dice, pairs=pairs)
        parts.append(replace(part, scenario=part.scenario + start))
    names = [each.name for each in fields(Spread)]
    return Spread(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _chunk(graph: Graph, seeds: list[int], width: int, dice: _Dice, *, pairs: bool) -> Spread:
    sure, live = graph.p >= 1, graph.p > 0
    certain = closure(graph.nodes, graph.tail[sure], graph.head[sure], seeds)
    loss = weigh(certain, graph.weight, width)
    se, exact = np.zeros(width), np.ones(width, bool)
    down = to_bytes(certain, width)
    found = [_pairs(down if pairs else down[:0], width)]
    if (live & ~sure).any():
        possible = closure(graph.nodes, graph.tail[live], graph.head[live], seeds)
        reach = to_bytes(possible, width)
        undecided = np.bitwise_or.reduce(reach & ~down, axis=0)
        known: dict[bytes, _Open] = {}  # what follows depends on the certain failures alone
        for each in np.flatnonzero(np.unpackbits(undecided, bitorder="little")).tolist():
            fallen, reached = _column(down, each), _column(reach, each)
            key = np.packbits(fallen).tobytes()
            if key not in known:
                known[key] = _decide(graph, fallen, reached, dice)
            fate = known[key]
            loss[each] += fate.loss
            se[each], exact[each] = fate.se, fate.exact
            if pairs:
                found.append((np.full(len(fate.node), each), fate.node, fate.p))
    lane, where, p = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((where, lane))
    return Spread(loss, se, exact, lane[order], where[order], p[order])


def _column(packed: Bytes, lane: int) -> Booleans:
    """By node, whether it is down in one lane."""
    return (packed[:, lane >> 3] >> (lane & 7) & 1).astype(bool)


def _pairs(packed: Bytes, width: int) -> tuple[Integers, Integers, Floats]:
    """Lanes and nodes that are down in them, for certain."""
    lanes = [np.flatnonzero(np.unpackbits(r, count=width, bitorder="little")) for r in packed]
    node = np.repeat(np.arange(len(packed)), [len(each) for each in lanes])
    lane = np.concatenate([np.empty(0, np.int64), *lanes])
    return lane, node, np.ones(len(lane))
