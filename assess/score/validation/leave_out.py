"""Predict left-out failures from the other failures alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from assess.execution import tell
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans, Floats, Integers, adjacency
from assess.score.blast_radius.learning import (
    Evidence,
    at_fault,
    fit,
    flat_p,
    with_history,
)
from assess.score.blast_radius.topology import FAR, Graph, steps
from assess.score.blast_radius.uncertain import Sampling, decide
from assess.score.blast_radius.undecided import Undecided
from assess.score.validation.callers import Reach, learn, pair_strength, together, trust

WHAT = "checks against observed failures"
EVENT = "event"
ELEMENT = "element"
SCHEMES = (EVENT, ELEMENT)
LEARNED = "learned"
FLAT = "flat p"
GRID = 50  # flat probabilities are rounded to this part, so that many share their draws


@dataclass(eq=False)
class Simulator:
    """Probabilities of all services in a failure, for graphs that differ only in arc chances."""

    graph: Graph
    sampling: Sampling
    known: dict[bytes, Floats] = field(default_factory=dict)

    def cached(self, p: Floats, initially: Booleans) -> Floats:
        """Return `chances` from a cache."""
        key = p.tobytes() + initially.tobytes()
        if key not in self.known:
            self.known[key] = self.chances(p, initially)
        return self.known[key]

    def chances(self, p: Floats, initially: Booleans) -> Floats:
        """Return by node the probability that it is down, given the initially failed nodes."""
        graph = self.graph.with_chances(p)
        calls = adjacency(graph.nodes, graph.tail, graph.head)
        reach = steps(calls, initially[None], np.ones((1, len(initially)), bool))
        undecided = Undecided.of(graph, initially[None], reach < FAR)
        chances = initially.astype(float)
        chances[undecided.node] = decide(graph, undecided, self.sampling).p
        return chances


def judged(evidence: Evidence, policy: Policy) -> Integers:
    """Return the positions of the failures to predict: all, or a sample drawn with the seed."""
    n = len(evidence.failures)
    most = int(policy["blast_radius"]["judged_most"])
    if n <= most:
        return np.arange(n)
    rng = np.random.default_rng(policy.seed)
    return np.sort(rng.choice(n, most, replace=False))


def left_out(
    evidence: Evidence, policy: Policy, judged: Integers, sampling: Sampling
) -> tuple[dict[tuple[str, str], Floats], Reach]:
    """Predict the judged failures by rule and scheme: chances by failure and service.

    Rules are what is learned from the rest, and one flat probability of all edges fitted on the
    rest. A scheme leaves out the failure alone, or every failure of its element. Also returns
    the pairs that the regression learned from.
    """
    topology = evidence.topology
    elements = [evidence.failures[position].element for position in judged]
    initial = topology.initially_down(elements, "point")
    sampling = replace(sampling, spread=False)
    simulator = Simulator(topology.graph("point"), sampling)
    services_n = len(topology.services)
    keys = [(rule, scheme) for rule in (LEARNED, FLAT) for scheme in SCHEMES]
    chances = {key: np.zeros((len(judged), services_n)) for key in keys}
    reach = Reach.of(evidence, policy.seed)
    settings = policy["blast_radius"]
    least = float(settings["pair_strength"])
    total = len(SCHEMES) * len(judged)
    done = 0
    for scheme in SCHEMES:
        for rows, kept in _folds(evidence, judged, scheme):
            done += len(rows)
            tell(WHAT, done, total)
            known = fit(evidence, kept, settings)
            opinion = learn(reach, kept)
            strength = pair_strength(reach, opinion, kept, least)
            trusted = trust(evidence, known.tries)
            same = round(flat_p(evidence, kept) * GRID) / GRID
            for row in rows:
                failure = evidence.failures[judged[row]]
                p = at_fault(known, failure.fault)
                by_edges = simulator.chances(p, initial[row])[:services_n]
                by_policy = simulator.cached(known.start, initial[row])[:services_n]
                voices = (by_policy, by_edges)
                either = together(reach, opinion, int(judged[row]), voices, trusted)
                # a service also falls by what no edge explains: independent causes
                beside = 1 - (1 - either) * (1 - known.floor)
                element = failure.element
                full = with_history(evidence, kept, element, beside, strength)
                # what the failure takes down by itself is no prediction
                full[initial[row, :services_n]] = 1.0
                chances[LEARNED, scheme][row] = full
                every = np.full(len(p), same)
                by_flat = simulator.cached(every, initial[row])[:services_n]
                chances[FLAT, scheme][row] = by_flat
    return chances, reach


def _folds(
    evidence: Evidence, judged: Integers, scheme: str
) -> Iterator[tuple[Integers, Booleans]]:
    """Yield rows of the judged failures that are left out together, and the failures kept."""
    n = len(evidence.failures)
    names = [f.element for f in evidence.failures]
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    element = np.array([order[name] for name in names], np.int64)
    if scheme == EVENT:
        for row, position in enumerate(judged):
            kept = np.ones(n, bool)
            kept[position] = False
            yield np.array([row]), kept
        return
    for each in np.unique(element[judged]):
        yield np.flatnonzero(element[judged] == each), element != each
