"""What uncertain arcs decide in one scenario: every outcome where they are few, else draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from assess.score.lanes import (
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
    from assess.score.spread import Graph, Sampling


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


def decide(graph: Graph, certain: Booleans, possible: Booleans, dice: Dice) -> Open:
    """Fail the nodes that are possibly, but not certainly down, lane by outcome or draw."""
    undecided = possible & ~certain
    node = np.flatnonzero(undecided)
    way = np.sort(graph.arriving.members(node)[1])
    way = way[(graph.p[way] > 0) & possible[graph.tail[way]]]
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
        return Open(node, p, float(weights @ p), 0.0, exact=True)
    p = np.array([lanes.bit_count() / width for lanes in down])
    scales = Scales(Weights.of(weights))
    for each, lanes in enumerate(down):
        scales.put(each, lanes)
    losses = scales.read(width)
    se = float(losses.std(ddof=1) / math.sqrt(width)) if width > 1 else math.inf
    return Open(node, p, float(losses.mean()), se, exact=False)
