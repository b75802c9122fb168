"""Predict left-out failures from the other failures alone."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from assess.execution import tell
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans, Floats, Integers, adjacency
from assess.score.blast_radius.learning import (
    Evidence,
    Learned,
    at_fault,
    fit,
    flat_p,
    with_history,
)
from assess.score.blast_radius.topology import FAR, Graph, steps
from assess.score.blast_radius.uncertain import (
    Sampling,
    decide,
    drawn_chances,
    first_draws,
)
from assess.score.blast_radius.undecided import Undecided
from assess.score.validation.callers import (
    Opinion,
    Reach,
    learn,
    pair_strength,
    together,
    trust,
)

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

    def chances(self, p: Sequence[Floats], initially: Booleans) -> Floats:
        """Return by row and node the probability that it is down.

        ``p`` holds the chances of all arcs by row, ``initially`` marks the nodes that fail first.
        """
        keys = [
            hashlib.blake2b(each.tobytes() + down.tobytes()).digest()
            for each, down in zip(p, initially, strict=True)
        ]
        new = {key: row for row, key in enumerate(keys) if key not in self.known}
        rows = list(new.values())
        if rows:
            found = self._computed(np.array([p[row] for row in rows]), initially[rows])
            self.known |= zip(new, found, strict=True)
        return np.array([self.known[key] for key in keys])

    def _computed(self, p: Floats, initially: Booleans) -> Floats:
        calls = adjacency(self.graph.nodes, self.graph.tail, self.graph.head)
        reach = steps(calls, initially, np.ones_like(initially)) < FAR
        found = initially.astype(float)
        draws = np.zeros(len(p), np.int64)
        for row, each in enumerate(p):
            graph = self.graph.with_chances(each)
            undecided = Undecided.of(graph, initially[[row]], reach[[row]])
            draws[row] = first_draws(graph, undecided, self.sampling)[0]
            if not draws[row]:
                decided = decide(graph, undecided, self.sampling)
                found[row, undecided.node] = decided.p
        for n in np.unique(draws[draws > 0]).tolist():
            some = draws == n
            found[some] = drawn_chances(
                self.graph, initially[some], p[some], self.sampling, n
            )
        return found


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What is learned for the prediction of one failure from those that are kept."""

    kept: Booleans
    known: Learned
    opinion: Opinion
    strength: float
    flat: float


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
        lessons: dict[int, _Lesson] = {}
        for rows, kept in _folds(evidence, judged, scheme):
            done += len(rows)
            tell(WHAT, done, total)
            opinion = learn(reach, kept)
            lesson = _Lesson(
                kept=kept,
                known=fit(evidence, kept, settings),
                opinion=opinion,
                strength=pair_strength(reach, opinion, kept, least),
                flat=round(flat_p(evidence, kept) * GRID) / GRID,
            )
            lessons |= dict.fromkeys(rows.tolist(), lesson)
        every = [lessons[row] for row in range(len(judged))]
        faults = [evidence.failures[position].fault for position in judged]
        by_edges = simulator.chances(
            [
                at_fault(each.known, fault)
                for each, fault in zip(every, faults, strict=True)
            ],
            initial,
        )
        by_policy = simulator.chances([each.known.start for each in every], initial)
        flat = [np.full(len(each.known.p), each.flat) for each in every]
        chances[FLAT, scheme][:] = simulator.chances(flat, initial)[:, :services_n]
        for row, each in enumerate(every):
            voices = (by_policy[row, :services_n], by_edges[row, :services_n])
            trusted = trust(evidence, each.known.tries)
            either = together(reach, each.opinion, int(judged[row]), voices, trusted)
            # a service also falls by what no edge explains: independent causes
            beside = 1 - (1 - either) * (1 - each.known.floor)
            element = elements[row]
            full = with_history(evidence, each.kept, element, beside, each.strength)
            # what the failure takes down by itself is no prediction
            full[initial[row, :services_n]] = 1.0
            chances[LEARNED, scheme][row] = full
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
