"""What uncertain arcs decide in one scenario: every outcome where they are few, else draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import (
    Arcs,
    BitSums,
    Booleans,
    Floats,
    Integers,
    Weights,
    fixpoint,
    pack,
    unpack,
)
from assess.score.blast_radius.topology import Graph


@dataclass(frozen=True)
class Sampling:
    """How uncertain arcs are dealt with.

    Up to ``enumerate_up_to`` of them are enumerated, more are drawn ``draws`` times. Scenarios are
    computed together as far as ``block_mib`` of memory go [MiB]. A node counts as taken down by a
    scenario from the probability ``exposed_from`` on. ``level`` is the coverage of the interval of
    one failure.
    """

    seed: int
    draws: int
    enumerate_up_to: int
    block_mib: float
    exposed_from: float = 0.5
    level: float = 0.9
    draws_least: int = 600
    se_max: float = 0.01

    @classmethod
    def of(cls, policy: Policy) -> Sampling:
        """Read the tables ``simulation`` and ``blast_radius``; draw `fewest_draws` at most."""
        settings = policy["blast_radius"]
        return cls(
            seed=policy.seed,
            draws=fewest_draws(policy),
            draws_least=int(settings["draws_least"]),
            se_max=float(settings["se_max"]),
            enumerate_up_to=settings["enumerate_up_to"],
            block_mib=settings["block_mib"],
            exposed_from=settings["exposed_from"],
            level=float(policy["simulation"]["level"]),
        )


def fewest_draws(policy: Policy) -> int:
    """Return the draws that keep the standard error of any share within ``se_max``."""
    # the standard deviation of a share is at most one half
    return math.ceil((0.5 / float(policy["blast_radius"]["se_max"])) ** 2) + 1


@dataclass
class EdgeSampler:
    """Draws of the arcs: one mask each, shared by all scenarios (common random numbers)."""

    graph: Graph
    sampling: Sampling
    masks: dict[int, int] = field(default_factory=dict)
    ranks: dict[int, np.ndarray] = field(default_factory=dict)  # by arc, of its draws

    def mask(self, arc: int) -> int:
        """Sample one arc (Latin hypercube); draws are nested: raising p removes no failure."""
        if arc not in self.masks:
            # one draw in each of `draws` equal strata: less noise than independent draws
            uniform = (self._rank(arc) + 0.5) / self.sampling.draws
            self.masks[arc] = pack(uniform < self.graph.p[arc])
        return self.masks[arc]

    def _rank(self, arc: int) -> np.ndarray:
        """Return the order of the draws of an arc, the same for each of its probabilities."""
        if arc not in self.ranks:
            # seeded by the arc's name: another edge of the fleet changes no draw of this one
            rng = np.random.default_rng([self.sampling.seed, int(self.graph.keys[arc])])
            least = min(self.sampling.draws_least, self.sampling.draws)
            self.ranks[arc] = _order(rng, self.sampling.draws, least)
        return self.ranks[arc]


def _order(rng: np.random.Generator, draws: int, least: int) -> np.ndarray:
    """Return the strata of some draws in random order; the first draws alone cover all as well."""
    ends = np.linspace(0, draws, least + 1).astype(np.int64)
    first = ends[:-1] + (rng.random(least) * np.diff(ends)).astype(np.int64)
    is_rest = np.ones(draws, bool)
    is_rest[first] = False
    rest = rng.permutation(np.flatnonzero(is_rest))
    return np.concatenate([rng.permutation(first), rest]).astype(np.int32)


@dataclass(frozen=True)
class Outcome:
    """What uncertain arcs decide in one scenario: probability by node, loss and its error.

    ``ends`` hold all but the tails of what one failure loses.
    """

    node: Integers
    p: Floats
    loss: float
    se: float
    exact: bool
    ends: tuple[float, float]


def _enumerate(p: Floats) -> tuple[list[int], Floats]:
    """List every outcome of some arcs: the outcomes in which each fails, and their chances."""
    width = 1 << len(p)
    full = (1 << width) - 1
    # mask i repeats 2**i zeros and 2**i ones: bit k of it is bit i of k
    masks = [full // ((1 << (1 << i)) + 1) << (1 << i) for i in range(len(p))]
    chance = np.ones(1)
    for each in p:
        chance = np.concatenate([chance * (1 - each), chance * each])
    return masks, chance


def undecided(
    graph: Graph,
    certain: Booleans,
    possible: Booleans,
) -> tuple[Integers, Integers]:
    """List nodes that possibly but not certainly fail, and the arcs that decide it, in order."""
    node = np.flatnonzero(possible & ~certain)
    way = np.sort(graph.arriving.members(node)[1])
    return node, way[(graph.p[way] > 0) & possible[graph.tail[way]]]


def decide(
    graph: Graph,
    node: Integers,
    way: Integers,
    sampler: EdgeSampler,
) -> Outcome:
    """Fail undecided nodes: one bit per outcome of the arcs where they are few, else per draw."""
    doubtful = way[graph.p[way] < 1]
    exact = len(doubtful) <= sampler.sampling.enumerate_up_to
    if exact:
        outcomes, chance = _enumerate(graph.p[doubtful])
        masks = dict(zip(doubtful.tolist(), outcomes, strict=True))
    else:
        draws = _draws(graph, node, sampler.sampling)
        chance = np.full(draws, 1 / draws)
        first = (1 << draws) - 1
        masks = {arc: sampler.mask(arc) & first for arc in doubtful.tolist()}
    width = len(chance)
    down = _reach(graph, node, way, masks, width)
    losses = _losses(graph.weight[node], down, width)
    ends = _middle(losses, chance, sampler.sampling.level)
    if exact:
        p = np.array([unpack(bits, width) @ chance for bits in down])
        loss = float(graph.weight[node] @ p)
        return Outcome(node, p, loss, se=0.0, exact=True, ends=ends)
    p = np.array([bits.bit_count() / width for bits in down])
    se = float(losses.std(ddof=1) / math.sqrt(width))
    return Outcome(node, p, float(losses.mean()), se, exact=False, ends=ends)


def _draws(graph: Graph, node: Integers, sampling: Sampling) -> int:
    """Return the draws that keep the standard error small: few where little can be reached."""
    total = float(graph.weight.sum()) or 1.0
    share = float(graph.weight[node].sum()) / total
    # the standard deviation of a share is at most half of what can be reached
    enough = math.ceil((share / 2 / sampling.se_max) ** 2) + 1
    is_little = enough <= sampling.draws_least
    return min(sampling.draws, sampling.draws_least) if is_little else sampling.draws


def _losses(
    weights: Floats,
    down: list[int],
    width: int,
) -> Floats:
    """Return the weight lost in each outcome: nodes that fail in one depend on each other."""
    sums = BitSums(Weights.of(weights))
    for each, bits in enumerate(down):
        sums.add(each, bits)
    return sums.totals(width)


def _middle(
    losses: Floats,
    chance: Floats,
    level: float,
) -> tuple[float, float]:
    """Return the quantiles of the losses between which the middle share ``level`` lies."""
    order = np.argsort(losses, kind="stable")
    upto = np.cumsum(chance[order])
    tails = [(1 - level) / 2, (1 + level) / 2]
    # the chances of many draws add up to 1 but for their rounding
    at = np.searchsorted(upto, np.array(tails) - 1e-9)
    lo, hi = losses[order[np.minimum(at, len(losses) - 1)]]
    return float(lo), float(hi)


def _reach(
    graph: Graph,
    node: Integers,
    way: Integers,
    masks: dict[int, int],
    width: int,
) -> list[int]:
    """Return the bits of each undecided node; arcs without a mask are certain."""
    every = (1 << width) - 1
    place = {each: at for at, each in enumerate(node.tolist())}
    arcs: Arcs = [[] for _ in place]
    down = [0] * len(place)
    tails = graph.tail[way].tolist()
    heads = graph.head[way].tolist()
    for arc, tail, head in zip(way.tolist(), tails, heads, strict=True):
        if tail in place:
            arcs[place[tail]].append((place[head], masks.get(arc)))
        else:  # its tail is down for certain
            down[place[head]] |= masks.get(arc, every)
    return fixpoint(down, arcs)


def best_paths(graph: Graph, down: Booleans) -> Floats:
    """Bound from below how likely each node fails, by its most probable path alone.

    ``down`` is of shape (nodes, scenarios): what fails by itself or for certain. The result has
    the same shape: the highest product of probabilities along a path. [0-1]
    """
    best = down.astype(np.float64)
    order = np.argsort(graph.possible.part, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    # in the order in which failures flow: one pass where there is no cycle. A rounded product
    # never grows, so that any order gives the same bytes.
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
