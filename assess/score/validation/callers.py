"""A regression on services that go down more often than their edges predict.

A front page, or a service that retries, shows this with every element that reaches it, and
so for an element that never failed before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from assess.score import Booleans, Floats, Integers, frozen
from assess.score.blast_radius.bitset import blocks
from assess.score.blast_radius.failures import sample
from assess.score.blast_radius.learning import CERTAIN, Failures, expit, logit
from assess.score.blast_radius.topology import FAR, Element, Topology, steps
from assess.score.blast_radius.uncertain import bounded
from assess.score.blast_radius.undecided import Undecided

ROUNDS = 6  # of Newton's method, each from the last answer
SPREADS = (0.05, 0.15, 0.3, 0.6, 1.2)  # standard deviations of services: the likeliest
MEANS = (0.0, 1.0, 0.0)  # level, weight of the policy's log odds, effect of one more step
SDS = (0.3, 0.2, 0.2)
FAULT_SD = 0.3
PAIRS_MOST = 10_000  # pairs of failure and service; of more, a sample by the seed
STEPS_MOST = 9
SLACK = 2.0  # nats: of strengths nearly as likely, the greatest counts
# of what is predicted for a pair, in failures of its element
STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1024.0)
POLICY = 2.0  # what the policy says counts twice: it is the same whatever is left out
TRIALS = 5.0  # of each edge of a caller, that make the learned edges count twice


@frozen
class Reach:
    """By failure and service: whether it can be reached, and in how few steps."""

    evidence: Failures
    steps: npt.NDArray[np.int8]
    can: Booleans
    failure: Integers
    service: Integers
    log_odds: Floats
    fell: Booleans
    pair: Integers
    pairs_n: int

    @classmethod
    def of(cls, evidence: Failures, seed: int) -> Reach:
        """Find the best paths of all failures, some failures at a time."""
        topology = evidence.topology
        elements = [f.element for f in evidence.failures]
        n = len(topology.services)
        near = np.zeros((len(elements), n), np.int8)
        can = np.zeros((len(elements), n), bool)
        taught = [np.empty((2, 0), np.int64)]
        for rows in blocks(len(elements), len(topology.nodes)):
            initial = topology.initially_down(elements[rows], "point")
            away = _steps(topology, initial)
            near[rows] = np.minimum(away, STEPS_MOST)[:, :n]
            can[rows] = (away < FAR)[:, :n] & ~initial[:, :n]
            failure, service = np.nonzero(can[rows] & evidence.seen[rows])
            taught.append(np.array([failure + rows.start, service]))
        failure, service = np.concatenate(taught, axis=1)
        pairs_n = len(failure)
        kept = sample(pairs_n, PAIRS_MOST, seed)
        failure = failure[kept]
        service = service[kept]
        _, pair = np.unique(codes(elements)[failure] * n + service, return_inverse=True)
        fell = evidence.down[failure, service]
        log_odds = _expected(evidence, failure, service)
        pairs = (failure, service, log_odds, fell, pair)
        return cls(evidence, near, can, *pairs, pairs_n=pairs_n)

    def terms(self, failure: Integers, service: Integers, log_odds: Floats) -> Floats:
        """Return the terms of the regression by pair, without that of the service."""
        faults = np.eye(len(self.evidence.faults))[self.evidence.fault[failure]]
        columns = [
            np.ones(len(failure)),
            log_odds,
            self.steps[failure, service] - 1.0,
            *faults.T,
        ]
        return np.column_stack(columns)


def codes(elements: Sequence[Element]) -> Integers:
    """Return the number of each element, by its first place among them."""
    return np.asarray(pd.factorize(pd.Series(elements, dtype="object"))[0])


def _expected(evidence: Failures, failure: Integers, service: Integers) -> Floats:
    """Return by pair the log odds of the best way; pairs come sorted by failure."""
    topology = evidence.topology
    graph = topology.graphs["point"]
    p = np.zeros(len(failure))
    asked, row = np.unique(failure, return_inverse=True)
    elements = [evidence.failures[each].element for each in asked]
    for rows in blocks(len(asked), graph.nodes):
        initial = topology.initially_down(elements[rows], "point")
        ways = Undecided.of(graph, initial, _steps(topology, initial) < FAR)
        chances = initial.astype("float64")
        chances[ways.scenario, ways.node] = bounded(ways, most=False).p
        pairs = slice(*np.searchsorted(row, [rows.start, rows.stop]))
        p[pairs] = chances[row[pairs] - rows.start, service[pairs]]
    return logit(p)


def _steps(topology: Topology, initial: Booleans) -> npt.NDArray[np.int32]:
    """Count by failure and node the steps from what failed by itself, over calls that matter."""
    matters = (topology.edges["point"] > 0).to_numpy("float64")
    return steps(topology.matrix(matters), initial)


@frozen
class Opinion:
    """The fitted regression: coefficients by term, and effects by service."""

    terms: Floats
    service: Floats

    def log_odds(self, reach: Reach, failure: int, by_policy: Floats) -> Floats:
        """Return by service its log odds to go down in a failure; untrained, they are ``by_policy``."""
        every = np.arange(len(self.service))
        terms = reach.terms(np.full(len(every), failure), every, by_policy)
        return terms @ self.terms + self.service


def learn(reach: Reach, kept: Booleans) -> Opinion:
    """Learn from the kept failures."""
    taught = kept[reach.failure]
    failure = reach.failure[taught]
    service = reach.service[taught]
    fell = reach.fell[taught]
    terms = reach.terms(failure, service, reach.log_odds[taught])
    faults_n = terms.shape[1] - len(MEANS)
    weights = np.append(MEANS, np.zeros(faults_n))
    start = Opinion(weights, np.zeros(reach.can.shape[1]))
    if not len(failure):
        return start
    sds = np.append(SDS, np.full(faults_n, FAULT_SD))
    case = _Case(terms, service, fell.astype("float64"), start.terms, sds**-2)
    best = start
    best_evidence = -np.inf
    answer = start
    for spread in SPREADS:
        answer, evidence = case.solve(answer, spread**-2)
        if evidence > best_evidence:
            best = answer
            best_evidence = evidence
    return best


def pair_strength(reach: Reach, opinion: Opinion, kept: Booleans, least: float) -> float:
    """Return the weight of a pair's prediction, in failures of its element, at least `least`.

    The likeliest of ``STRENGTHS``, where every kept failure is predicted by the other failures of
    its element, ``(k + s p) / (n + s)``, with p by the opinion.
    """
    taught = kept[reach.failure]
    pair = reach.pair[taught]
    fell = reach.fell[taught].astype("float64")
    # leave the failure itself out: each is predicted from the others of its pair
    n = np.bincount(pair)[pair] - 1.0
    k = np.bincount(pair, fell)[pair] - fell
    again = n > 0
    if not again.any():
        return least
    failure = reach.failure[taught][again]
    service = reach.service[taught][again]
    terms = reach.terms(failure, service, reach.log_odds[taught][again])
    p = expit(terms @ opinion.terms + opinion.service[service])
    losses = []
    for strength in STRENGTHS:
        mixed = (k[again] + strength * p) / (n[again] + strength)
        likely = np.where(fell[again] > 0, mixed, 1 - mixed)
        losses.append(-np.log(np.maximum(likely, CERTAIN)).sum())
    good = np.array(losses) <= min(losses) + SLACK
    return max(least, STRENGTHS[np.flatnonzero(good)[-1]])


@frozen
class _Case:
    """Pairs with their terms, outcomes, and the priors of the terms."""

    terms: Floats
    service: Integers
    fell: Floats
    mean: Floats
    precision: Floats

    def _by_service(self, values: Floats, n: int) -> Floats:
        return np.asarray(np.bincount(self.service, values, n), float)

    def solve(self, start: Opinion, precision: float) -> tuple[Opinion, float]:
        """Return the most probable answer, and its log evidence."""
        # Services are a diagonal block of the second derivatives: they are eliminated
        # first.
        n = len(start.service)
        theta = start.terms
        own = start.service
        for _ in range(ROUNDS):
            p = expit(self.terms @ theta + own[self.service])
            rest = self.fell - p
            weight = p * (1 - p)
            weighed = self.terms * weight[:, None]
            down = self.terms.T @ rest - self.precision * (theta - self.mean)
            down_own = self._by_service(rest, n) - precision * own
            square = self.terms.T @ weighed + np.diag(self.precision)
            cross = np.array([self._by_service(column, n) for column in weighed.T])
            diagonal = self._by_service(weight, n) + precision
            # Schur complement: terms are few, services are many
            left = square - (cross / diagonal) @ cross.T
            step = np.linalg.solve(left, down - (cross / diagonal) @ down_own)
            own = own + (down_own - cross.T @ step) / diagonal
            theta = theta + step
        odds = self.terms @ theta + own[self.service]
        p = np.clip(expit(odds), 1e-9, 1 - 1e-9)
        chance = np.where(self.fell > 0, p, 1 - p)
        likelihood = np.log(chance).sum()
        squares = (theta - self.mean) ** 2
        penalty = self.precision @ squares + precision * own @ own
        # Laplace's approximation of the evidence, by the width of the posterior
        width = np.linalg.slogdet(left)[1] + np.log(diagonal / precision).sum()
        return Opinion(theta, own), likelihood - (penalty + width) / 2


def trust(evidence: Failures, tries: Floats) -> Floats:
    """Return by service the weight of the learned edges: more where its edges were tried often."""
    topology = evidence.topology
    n = len(topology.services)
    edges_n = np.maximum(np.bincount(topology.caller, minlength=n)[:n], 1)
    tried = np.bincount(topology.caller, tries, n)[:n]
    return 1 + tried / edges_n / TRIALS


def together(
    reach: Reach,
    opinion: Opinion,
    failure: int,
    voices: Sequence[Floats],
    trusted: Floats,
) -> Floats:
    """Return by service its chance to go down: the average of several predictions in log odds.

    The mean of the log odds of ``voices``, which are chances by the policy and by learned edges, and
    of the regression; fixed weights are hard to beat (Bates and Granger 1969). Learned edges weigh
    more the more often they were tried. What cannot be reached keeps their chance.
    """
    by_policy, by_edges = map(logit, voices)
    whatever = opinion.log_odds(reach, failure, by_policy)
    total = POLICY * by_policy + trusted * by_edges + whatever
    mean = total / (POLICY + trusted + 1)
    return np.where(reach.can[failure], expit(mean), voices[-1])
