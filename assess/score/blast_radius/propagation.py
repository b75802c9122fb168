"""Propagate failures: exact if all arcs on the way are certain, or few are uncertain.

Scenarios without an uncertain arc on the way are bits of one computation. Where arcs are
uncertain, the bits are the outcomes of those arcs: all of them where they are few, else draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from assess import execution
from assess.policy import Policy
from assess.score import Booleans, Bytes, Floats, Integers, Words, frozen
from assess.score.blast_radius.bitset import (
    Bits,
    Csr,
    Parts,
    Weights,
    blocks,
    set_bits,
    spread_to_nodes,
    swept,
    to_words,
)
from assess.score.blast_radius.topology import Graph, Topology
from assess.score.blast_radius.uncertain import (
    AMOUNTS,
    LOSSES,
    Outcome,
    Sampling,
    bounded,
    certain_losses,
    decide,
)
from assess.score.blast_radius.undecided import Undecided

WHAT = "blast radius"
WIDTH_MOST = 1 << 12  # scenarios of a block: their words stay in a cache
UNCERTAIN_CELLS = 1 << 20  # nodes times scenarios whose arcs are decided together
SHARED_CELLS = 1 << 20  # of one that is worth to be sent to another process
Pairs = tuple[Integers, Integers, Floats]  # scenario, node and probability


@frozen
class Scenarios:
    """Initial failures: pairs of scenario and node, among ``n`` scenarios.

    ``listed`` marks the scenarios whose failed nodes are listed, ``drawn`` those whose uncertain
    arcs are drawn where they are many; None means all.
    """

    scenario: Integers
    node: Integers
    n: int
    listed: Booleans | None = None
    drawn: Booleans | None = None

    @classmethod
    def unasked(cls, scenario: Integers, node: Integers, n: int) -> Scenarios:
        """Return scenarios that are neither listed nor drawn."""
        none = np.zeros(n, bool)
        return cls(scenario, node, n, none, none)


@frozen
class DistinctScenarios:
    """Distinct scenarios, sorted by their first part: neighbours share many failed nodes.

    ``position`` leads from a given scenario to its distinct one; ``scenario, node`` are the pairs
    of what fails by itself, sorted by scenario; ``times`` counts the scenarios that each stands
    for; ``listed`` and ``drawn`` are as in `Scenarios`.
    """

    position: Integers
    scenario: Integers
    node: Integers
    times: Integers
    listed: Booleans
    drawn: Booleans

    @classmethod
    def of(cls, parts: Parts, given: Scenarios) -> DistinctScenarios:
        """Merge the scenarios in which the same parts fail."""
        n = len(parts.heads)
        pairs, at = np.unique(
            given.scenario * n + parts.part[given.node], return_index=True
        )
        scenario = pairs // n
        part = pairs % n
        node = given.node[at]
        # sums of random marks wrap around; equal sums are equal sets, without comparing sets
        rng = np.random.default_rng(0)
        marks = rng.integers(0, 1 << 63, n, dtype=np.uint64)
        sums = np.zeros(given.n, np.uint64)
        np.add.at(sums, scenario, marks[part])
        first = np.full(given.n, n)
        np.minimum.at(first, scenario, part)
        _, example, alike = np.unique(sums, return_index=True, return_inverse=True)
        rank = np.empty(len(example), np.int64)
        # neighbours share what fails, so that fewer parts are touched in a block
        rank[np.argsort(first[example], kind="stable")] = np.arange(len(example))
        position = rank[alike]
        # one example of each set is enough: the others differ in nothing
        kept = np.isin(scenario, example)
        distinct = position[scenario[kept]]
        order = np.argsort(distinct, kind="stable")

        def any_of(marked: Booleans | None) -> Booleans:
            return np.bincount(position, marked, len(rank)) > 0

        return cls(
            position,
            distinct[order],
            node[kept][order],
            times=np.bincount(position, minlength=len(rank)),
            listed=any_of(given.listed),
            drawn=any_of(given.drawn),
        )

    def initial_failures(self, parts: Parts, start: int, width: int) -> Bits:
        """Return, by part, the scenarios of a block in which it fails by itself, as bits."""
        first, last = np.searchsorted(self.scenario, [start, start + width])
        part = parts.part[self.node[first:last]].tolist()
        bit = self.scenario[first:last] - start
        failing = dict.fromkeys(part, 0)
        for one, place in zip(part, bit.tolist(), strict=True):
            failing[one] |= 1 << place
        return failing


@frozen
class Impact:
    """What fails in each scenario.

    By scenario: ``loss`` (expected weight lost, or a bound of it), ``se`` (its standard error; 0 where
    exact, NaN for a bound), ``exact``, ``reached_n`` (nodes that can fail), ``next_lo, next_hi`` (the
    interval of the loss of one failure). By node: ``exposure_n``, the scenarios that take it down;
    see `Sampling`. By pair, sorted: ``scenario, node, p`` [probability, 0-1].
    """

    loss: Floats
    se: Floats
    exact: Booleans
    reached_n: Integers
    next_lo: Floats
    next_hi: Floats
    exposure_n: Integers
    scenario: Integers
    node: Integers
    p: Floats

    def chances(self, scenario: int) -> Floats:
        """Return by node the probability that it is down in a scenario."""
        part = slice(*np.searchsorted(self.scenario, [scenario, scenario + 1]))
        found = np.zeros(len(self.exposure_n))
        found[self.node[part]] = self.p[part]
        return found


def _failing(topology: Topology, level: str) -> Scenarios:
    """Return the failure of each element as a scenario; none of them is listed or drawn."""
    pairs = topology.initial_failures[level]
    return Scenarios.unasked(*pairs, len(topology.elements))


def _with_unnamed(topology: Topology) -> Scenarios:
    """Return the failure of each element at worst, then of each place without a name."""
    element, node = topology.initial_failures["hi"]
    unnamed = topology.unnamed()
    first = len(topology.elements)
    n = first + len(unnamed)
    scenario = np.append(element, np.arange(first, n))
    return Scenarios.unasked(scenario, np.append(node, unnamed), n)


def choose(
    topology: Topology, policy: Policy, settings: Sampling, wanted: Booleans
) -> tuple[Sampling, Booleans, dict[str, Booleans]]:
    """Return how one failure is sampled, and mark the elements that are listed, and by level drawn.

    The ``wanted`` ones are both; then come those that lose most, within the limits of the policy.
    """
    limits = policy["blast_radius"]
    quick = replace(settings, spread=False)
    reach = reached(topology.graphs["hi"], _failing(topology, "hi"), quick)
    # by lost weight, not by the number of services: a meeting asks about the largest losses
    listed = wanted | _largest(reach, int(limits["pairs_max"]), len(wanted))
    drawn = wanted | _worst_loss(topology, quick, int(limits["drawn_most"]))
    pairs_n = reach.reached_n[drawn].sum()
    sampling = replace(settings, is_frugal=bool(pairs_n > limits["drawn_pairs_full"]))
    # the upper level needs no draws; the lower level of a large fleet is a bound
    is_small = len(drawn) <= limits["drawn_lo_most"]
    none = np.zeros_like(drawn)
    return sampling, listed, {"lo": drawn & is_small, "point": drawn, "hi": none}


def _worst_loss(topology: Topology, sampling: Sampling, most: int) -> Booleans:
    """Mark the elements with the largest lower bound of loss, within the limits for draws."""
    n = len(topology.elements)
    if n <= most or not topology.is_uncertain:
        return np.ones(n, bool)
    graph = topology.graphs["point"]
    impact = propagate(graph, _failing(topology, "point"), sampling=sampling)
    return _largest(impact, sampling.pairs_most, most)


def _largest(impact: Impact, pairs_most: int, most: int) -> Booleans:
    """Mark at most so many elements with the largest losses, within a number of pairs."""
    worst = np.argsort(-impact.loss, kind="stable")[:most]
    pairs_n = np.cumsum(impact.reached_n[worst])
    marked = np.zeros(len(impact.loss), bool)
    marked[worst[pairs_n <= pairs_most]] = True
    return marked


def by_level(
    topology: Topology,
    unseen: Graph,
    sampling: Sampling,
    *,
    listed: Booleans,
    drawn: Mapping[str, Booleans],
) -> dict[str, Impact]:
    """Propagate the failure of every element at each level, and along all ``unseen`` calls.

    Along these, places without a name fail after the elements. Elements are ``listed``, and
    ``drawn`` by level, as in `choose`.
    """
    impacts = {}
    for level, graph in topology.graphs.items():
        failing = replace(_failing(topology, level), listed=listed, drawn=drawn[level])
        # only the point has an interval of one failure
        how = replace(sampling, spread=level == "point")
        impacts[level] = propagate(graph, failing, sampling=how, most=level == "hi")
    impacts["point"] = _widened(topology, impacts["point"], sampling, drawn["point"])
    # nothing is drawn, so only the losses and the number of causes are needed
    failing = _with_unnamed(topology)
    impacts["unseen"] = propagate(unseen, failing, sampling=how, most=True)
    return impacts


def _widened(
    topology: Topology, point: Impact, sampling: Sampling, drawn: Booleans
) -> Impact:
    """Widen the interval of one failure by what may stand on each element."""
    placed = topology.initial_failures
    n = len(topology.nodes)
    # the sets contain each other: as many are the same. An extra node may stand for any other.
    least, usual, most = (
        np.bincount(element, np.where(node < n, 1, n), len(drawn))
        for element, node in placed.values()
    )
    element, node = placed["hi"]
    is_wider = most > usual
    kept = is_wider[element]
    failing = Scenarios(
        element[kept], node[kept], len(drawn), np.zeros_like(drawn), drawn
    )
    worst = propagate(topology.graph("point", "hi"), failing, sampling=sampling)
    return replace(
        point,
        next_lo=np.where(least < usual, 0.0, point.next_lo),
        next_hi=np.maximum(point.next_hi, worst.next_hi * is_wider),
    )


def propagate(
    graph: Graph,
    scenarios: Scenarios,
    *,
    sampling: Sampling,
    most: bool = False,
) -> Impact:
    """Compute what fails in many scenarios; the size of the blocks changes no number.

    Scenarios with many uncertain arcs that are not drawn are bounded (`uncertain.bounded`): by
    their most probable paths, or if ``most`` by all that can be reached.
    """
    # scenarios that differ in nothing are computed once
    distinct = DistinctScenarios.of(graph.certain, scenarios)
    work = _Work.of(graph, distinct, sampling, most)
    none = np.empty(0, np.int64)
    parts = [np.empty(0, LOSSES)]
    pairs: list[Pairs] = [(none, none, np.empty(0))]
    exposure_n = np.zeros(graph.nodes, np.int64)
    spans = work.spans()
    for losses, some, counts in execution.each(_Work.block, work, spans, what=WHAT):
        parts.append(losses)
        pairs += some
        exposure_n += counts
    rows = np.concatenate(parts)[distinct.position]
    row, node, p = (np.concatenate(column) for column in zip(*pairs, strict=True))
    listed = np.arange(scenarios.n)
    if scenarios.listed is not None:
        listed = listed[scenarios.listed]
    pairs_of = Csr.of(row, len(distinct.times))
    which, at = pairs_of.members(distinct.position[listed])
    scenario = listed[which]
    order = np.lexsort((node[at], scenario))
    return Impact(
        **{name: rows[name].copy() for name in LOSSES.names or ()},
        exposure_n=exposure_n,
        scenario=scenario[order],
        node=node[at][order],
        p=p[at][order],
    )


def reached(graph: Graph, scenarios: Scenarios, sampling: Sampling) -> Impact:
    """Compute everything that can fail: one pass, no draws, and no list of pairs."""
    reachable = replace(graph, p=(graph.p > 0).astype("float64"))
    failing = replace(scenarios, listed=np.zeros(scenarios.n, bool))
    return propagate(reachable, failing, sampling=sampling)


@frozen
class _Down:
    """What fails along certain arcs in a block: weight and nodes by scenario.

    ``part`` lists what fails at all, and ``words`` the scenarios in which each does.
    """

    parts: Parts
    part: Integers
    words: Words
    weight: Floats
    n: Integers

    def count(self, times: Integers) -> Integers:
        """Count by part the scenarios in which it is down, each as often as ``times`` says."""
        counts = np.zeros(len(self.parts.heads), np.int64)
        # bit by bit of ``times``, so that a population count replaces a loop over scenarios
        for digit in range(int(times.max()).bit_length()):
            mask = to_words(times[None] >> digit & 1 > 0)[0]
            # few scenarios stand for many others, so most words of a high digit are empty
            some = np.flatnonzero(mask)
            n = np.bitwise_count(self.words[:, some] & mask[some])
            counts[self.part] += n.sum(axis=1, dtype=np.int64) << digit
        return counts

    def members(self, wanted: Booleans) -> tuple[Integers, Integers]:
        """List pairs of part and scenario, by part, in the scenarios that are wanted."""
        mask = to_words(wanted[None])
        pairs = [np.empty((2, 0), np.int64)]
        for rows in blocks(len(self.part), len(wanted)):
            row, scenario = set_bits(self.words[rows] & mask)
            pairs.append(np.array([self.part[rows][row], scenario]))
        part, scenario = np.concatenate(pairs, axis=1)
        return part, scenario

    def by_node(self) -> Bytes:
        """Return by node the scenarios in which it is down, as bits."""
        return spread_to_nodes(self.parts, self.part, self.words).view(np.uint8)


@frozen
class _Work:
    """The input that all blocks share, and the computation of one block."""

    graph: Graph
    scenarios: DistinctScenarios
    sampling: Sampling
    most: bool
    weights: dict[Parts, Weights]  # of criticality, and of nodes

    @classmethod
    def of(
        cls, graph: Graph, scenarios: DistinctScenarios, sampling: Sampling, most: bool
    ) -> _Work:
        """Weigh the parts once."""
        weights = {}
        for parts in {graph.certain, graph.possible}:
            n = len(parts.heads)
            total = np.bincount(parts.part, graph.weight, n)
            size = np.bincount(parts.part, minlength=n)
            weights[parts] = Weights.of(np.array([total, size]))
        return cls(graph, scenarios, sampling, most, weights)

    def spans(self) -> list[tuple[int, int]]:
        """List start and width of each block, within memory and enough blocks for all workers."""
        n = len(self.scenarios.times)
        nodes = max(self.graph.nodes, 1)
        workers = execution.current().workers.n
        width = min(WIDTH_MOST, int(self.sampling.block_mib * 2**23 / nodes))
        if workers > 1:
            width = min(width, max(-(-n // (4 * workers)), SHARED_CELLS // nodes))
        width = max(8, width)
        return [(start, min(width, n - start)) for start in range(0, n, width)]

    def block(self, span: tuple[int, int]) -> tuple[np.ndarray, list[Pairs], Integers]:
        """Return losses and pairs of some scenarios, and by node those that take it down [count]."""
        graph = self.graph
        start, width = span
        listed = self.scenarios.listed[start : start + width]
        times = self.scenarios.times[start : start + width]
        certain = self._sweep(graph.certain, start, width)
        losses = self._certain_losses(certain)
        part, row = certain.members(listed)
        at, node = graph.members.members(part)
        pairs = [(row[at] + start, node, np.ones(len(node)))]
        exposure_n = certain.count(times)[graph.certain.part]
        if not graph.uncertain:
            return losses, pairs, exposure_n
        possible = self._sweep(graph.possible, start, width)
        wide = self._wide(certain, possible, start)
        losses["exact"][wide] = False
        losses["se"][wide] = np.nan
        losses["reached_n"][wide] = possible.n[wide]
        losses["next_hi"][wide] = possible.weight[wide]
        if self.most:
            losses["loss"][wide] = possible.weight[wide]
            exposure_n += possible.count(times * wide)[graph.possible.part]
            exposure_n -= certain.count(times * wide)[graph.certain.part]
        for some, undecided, outcome in self._outcomes(certain, possible, start, wide):
            for name in AMOUNTS:
                outcome.losses[name] += certain.weight[some]
            outcome.losses["reached_n"] += certain.n[some]
            losses[some] = outcome.losses
            scenario = some[undecided.scenario]
            exposed = outcome.p >= self.sampling.exposed_from
            np.add.at(exposure_n, undecided.node[exposed], times[scenario[exposed]])
            wanted = listed[scenario]
            places = (scenario[wanted] + start, undecided.node[wanted])
            pairs.append((*places, outcome.p[wanted]))
        return losses, pairs, exposure_n

    def _certain_losses(self, certain: _Down) -> np.ndarray:
        """Return the losses by certain arcs; only unexplained ones make one failure uncertain."""
        losses = certain_losses(certain.weight, certain.n)
        besides = self.sampling.unexplained
        if besides is not None and self.sampling.spread:
            lo, hi = besides.ends(certain.weight, self.sampling.level)
            losses["next_lo"] += lo
            losses["next_hi"] += hi
        return losses

    def _sweep(self, parts: Parts, start: int, width: int) -> _Down:
        initial = self.scenarios.initial_failures(parts, start, width)
        part, words = swept(parts, initial, width)
        weight, size = self.weights[parts].totals(part, words, width)
        return _Down(parts, part, words, weight, size.astype(np.int64))

    def _outcomes(
        self, certain: _Down, possible: _Down, start: int, wide: Booleans
    ) -> Iterator[tuple[Integers, Undecided, Outcome]]:
        """Yield the outcomes of uncertain arcs in a block; some scenarios are only bounded."""
        does = certain.by_node()
        can = possible.by_node() & to_words(~wide[None]).view(np.uint8)
        for first, width, nodes in _spans(can, 0, len(possible.n)):
            undecided = Undecided.of(
                self.graph,
                _by_scenario(does[nodes], first, width),
                _by_scenario(can[nodes], first, width),
                nodes,
            )
            for chosen, how in self._choices(undecided, start + first):
                part, _ = undecided.select(chosen)
                yield first + chosen, part, how(part)

    def _wide(self, certain: _Down, possible: _Down, start: int) -> Booleans:
        """Mark scenarios with so many undecided nodes that even paths are not followed."""
        # The loss lies between that of certain failures and that of all reachable nodes.
        block = slice(start, start + len(possible.n))
        is_asked = self.scenarios.drawn[block] | self.scenarios.listed[block]
        return (possible.n - certain.n > self.sampling.ways_most) & ~is_asked

    def _choices(
        self, undecided: Undecided, start: int
    ) -> Iterator[tuple[Integers, Callable[[Undecided], Outcome]]]:
        """Yield scenarios with undecided cells, and the function that decides them."""
        some = np.flatnonzero(undecided.cells)
        few = undecided.uncertain_n[some] <= self.sampling.enumerate_up_to
        decided = few | self.scenarios.drawn[start + some]
        decider = partial(decide, sampling=self.sampling)
        bounder = partial(bounded, most=self.most)
        for chosen, how in ((some[decided], decider), (some[~decided], bounder)):
            if len(chosen):
                yield chosen, how


def _spans(can: Bytes, first: int, width: int) -> Iterator[tuple[int, int, Integers]]:
    """Yield parts of a block of scenarios, each with the nodes that can fail in it."""
    columns = can[:, first // 8 : (first + width + 7) // 8]
    nodes = np.flatnonzero(columns.any(axis=1))
    if width <= 8 or len(nodes) * width <= UNCERTAIN_CELLS:
        yield first, width, nodes
        return
    half = (width // 2 + 7) // 8 * 8  # whole bytes
    yield from _spans(can, first, half)
    yield from _spans(can, first + half, width - half)


def _by_scenario(rows: Bytes, first: int, width: int) -> Booleans:
    columns = rows[:, first // 8 : (first + width + 7) // 8]
    flags = np.unpackbits(columns, axis=1, count=width, bitorder="little")
    return np.ascontiguousarray(flags.view(bool).T)
