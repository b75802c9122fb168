"""What falls when something fails: exact where every arc on the way is certain, or they are few.

Scenarios without an uncertain arc on the way are lanes of one computation. Where arcs are
uncertain, the lanes are the outcomes of those arcs: all of them where they are few, else draws.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assess.policy import Policy
from assess.score.falls import Fallen, Loads, chosen
from assess.score.lanes import Booleans, Bytes, Floats, Integers, Parts, condense
from assess.score.scenarios import Groups, Lanes, Scenarios
from assess.score.uncertain import Dice, Open, decide

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

    @cached_property
    def members(self) -> Groups:
        """Nodes by the certain part that holds them."""
        return Groups.of(self.certain.part, len(self.certain.heads))

    @cached_property
    def arriving(self) -> Groups:
        """Arcs by the node that they lead to."""
        return Groups.of(self.head, self.nodes)

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
    compiled : bool, optional
        Whether lanes are compiled; see `falls.chosen`.
    """

    seed: int
    draws: int
    enumerate_up_to: int
    block_mib: float
    felled_from: float = 0.5
    compiled: bool | None = None


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
        self.graph, self.lanes, self.dice = graph, lanes, Dice(graph, sampling)
        self.felled_from = sampling.felled_from
        self.fall = chosen(graph.nodes, compiled=sampling.compiled)
        self.loads = {p: Loads.of(p, graph.weight) for p in {graph.certain, graph.possible}}
        n = len(lanes.times)
        self.loss, self.se, self.exact = np.zeros(n), np.zeros(n), np.ones(n, bool)
        self.reached_n = np.zeros(n, np.int64)
        self.felled_n = np.zeros(graph.nodes, np.int64)
        self.pairs = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        self.known: dict[bytes, Open] = {}  # by what falls for certain: the rest follows from it

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
            down = _by_lane(fallen, graph.certain)
            reach = _by_lane(reached, graph.possible)
            for lane in doubtful.tolist():
                self._decide(start + lane, _column(down, lane), _column(reach, lane))

    def _fall(self, parts: Parts, start: int, width: int) -> Fallen:
        return self.fall(parts, self.loads[parts], self.lanes, start=start, width=width)

    def _count(self, fallen: Fallen, start: int, width: int) -> None:
        """Count the scenarios that take each node down, and list who falls with what."""
        here, part = slice(start, start + width), self.graph.certain.part
        self.felled_n += fallen.felled(self.lanes.times[here] * (fallen.n > 0))[part]
        fell, lane = fallen.members(self.lanes.listed[here])
        at, node = self.graph.members.members(fell)
        self.pairs.append((lane[at] + start, node, np.ones(len(node))))

    def _decide(self, lane: int, fallen: Booleans, reached: Booleans) -> None:
        """Add what uncertain arcs do in one lane."""
        key = np.packbits(fallen).tobytes()
        if key not in self.known:
            self.known[key] = decide(self.graph, fallen, reached, self.dice)
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
        which, at = Groups.of(lane, len(self.loss)).members(of[chosen])
        scenario, node, p = chosen[which], node[at], p[at]
        order = np.lexsort((node, scenario))
        return Spread(self.loss[of], self.se[of], self.exact[of], self.reached_n[of],
                      self.felled_n, scenario[order], node[order], p[order])  # fmt: skip


def _by_lane(fallen: Fallen, parts: Parts) -> Bytes:
    """Rows by eight lanes, a column by node."""
    return np.ascontiguousarray(fallen.packed()[parts.part].T)


def _column(packed: Bytes, lane: int) -> Booleans:
    """By node, whether it is down in one lane."""
    return (packed[lane >> 3] >> (lane & 7) & 1).astype(bool)
