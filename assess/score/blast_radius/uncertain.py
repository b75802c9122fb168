"""What uncertain arcs decide in one scenario: every outcome where they are few, else draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from assess.score.blast_radius.bitset import (
    Arcs,
    Booleans,
    Floats,
    Integers,
    Scales,
    Weights,
    fixpoint,
    pack,
    unpack,
)

if TYPE_CHECKING:
    from assess.score.blast_radius.propagation import Graph, Sampling


@dataclass
class Dice:
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
class Open:
    """What uncertain arcs decide in one scenario: probability by node, loss and its error."""

    node: Integers
    p: Floats
    loss: float
    se: float
    exact: bool


def undecided(
    graph: Graph, certain: Booleans, possible: Booleans
) -> tuple[Integers, Integers]:
    """Find what is possibly, but not certainly down, and the arcs that decide it.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    certain, possible : ndarray of bool
        By node, whether it certainly and whether it possibly falls.

    Returns
    -------
    node, way : ndarray of int
        Nodes, and arcs that lead to them from what possibly falls; both in order.
    """
    node = np.flatnonzero(possible & ~certain)
    way = np.sort(graph.arriving.members(node)[1])
    return node, way[(graph.p[way] > 0) & possible[graph.tail[way]]]


def decide(graph: Graph, node: Integers, way: Integers, dice: Dice) -> Open:
    """Fail what is undecided, lane by outcome or draw.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    node, way : ndarray of int
        As `undecided` gives them.
    dice : Dice
        Draws of the arcs.

    Returns
    -------
    Open
        The same for the same nodes and arcs, whatever falls besides.
    """
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
    ends = zip(
        way.tolist(), graph.tail[way].tolist(), graph.head[way].tolist(), strict=True
    )
    for arc, tail, head in ends:
        if tail in local:
            arcs[local[tail]].append((local[head], masks.get(arc)))
        else:
            down[local[head]] |= masks[arc]
    fixpoint(down, arcs)
    weights = graph.weight[node]
    if exact:
        p = np.array([unpack(lanes, width) @ chance for lanes in down])
        return Open(node, p, float(weights @ p), 0.0, exact=True)
    p = np.array([lanes.bit_count() / width for lanes in down])
    scales = Scales(Weights.of(weights))
    for each, lanes in enumerate(down):
        scales.put(each, lanes)
    losses = scales.read(width)
    se = float(losses.std(ddof=1) / math.sqrt(width)) if width > 1 else math.inf
    return Open(node, p, float(losses.mean()), se, exact=False)


def best_paths(graph: Graph, down: Booleans) -> Floats:
    """Bound from below how likely each node falls, by the most probable way to it alone.

    Parameters
    ----------
    graph : Graph
        Who fails with whom.
    down : ndarray of bool, shape (nodes, lanes)
        What fails by itself or for certain.

    Returns
    -------
    ndarray of float, shape (nodes, lanes)
        The highest product of probabilities along a way; 0 where there is none. [0-1]

    Notes
    -----
    Nodes are swept in the order in which failures flow, all lanes at once and only those that
    changed: one pass where there is no cycle. A rounded product never grows, so that the result is
    the same in any order.
    """
    best = down.astype(np.float64)
    order = np.argsort(graph.possible.part, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    dirty = bytearray(np.logical_or.reduce(down, axis=1)[order].tobytes())
    here = dirty.find(1)
    while here >= 0:
        dirty[here] = 0
        arcs = graph.leaving.members(order[here : here + 1])[1]
        arcs = arcs[graph.p[arcs] > 0]
        heads = graph.head[arcs]
        new: Floats = graph.p[arcs, None] * best[order[here]]
        risen = (new > best[heads]).any(axis=1)
        best[heads[risen]] = np.maximum(best[heads[risen]], new[risen])
        for head in place[heads[risen]].tolist():
            dirty[head] = 1
        after = dirty.find(1, here + 1)
        here = after if after >= 0 else dirty.find(1)
    return best
