"""Value of an experiment: how much it narrows uncertainty that decides a label or a ranking.

Uncertainty of an edge becomes uncertainty of the impact of every service that fails along it.
A failure tries the edges to what goes down, and each trial narrows its edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pandas import DataFrame
from scipy.sparse import csc_array, csr_array
from scipy.special import ndtr

from assess.score.arrays import Floats, Integers
from assess.score.blast_radius.learning import Learned
from assess.score.blast_radius.topology import Topology, total_weight

LEAST = 1e-9  # of a divisor; a difference of chances below it is rounding noise
SPREADS = 4.0  # standard deviations between the ends of an interval, by a rule of thumb
SETTLED = 0.1  # what a settled label counts: another quarter may open it
ROOT_TAU = (2 * np.pi) ** 0.5


@dataclass(frozen=True, eq=False)
class Doubt:
    """By edge: its probability ``p`` [0-1], its ``variance``, and how much of it one trial takes."""

    p: Floats
    variance: Floats
    narrowed: Floats

    @classmethod
    def of(cls, topology: Topology, learned: Learned) -> Doubt:
        """Return the doubt that is left after what failures have taught.

        A Beta distribution of mean m and strength s has the variance ``m (1 - m) / (s + 1)``, and
        one more trial takes ``1 / (s + 1)`` of it on average. An edge that nobody tried keeps the
        doubt of the policy's interval. Given probabilities are not in doubt.
        """
        edges = topology.edges
        strength = learned.weight
        variance = learned.p * (1 - learned.p) / (strength + 1)
        lo = edges["lo"].to_numpy("float64")
        hi = edges["hi"].to_numpy("float64")
        declared = ((hi - lo) / SPREADS) ** 2
        variance = np.where(learned.tries > 0, variance, np.maximum(variance, declared))
        # an edge without width is given, not measured: no trial changes it
        variance = np.where(lo == hi, 0.0, variance)
        return cls(learned.p, variance, variance / (strength + 1))


def chances(topology: Topology, affected: DataFrame) -> csr_array:
    """Return by element and node the probability that it goes down, where listed."""
    row, node = topology.positions(affected)
    p = affected["p_down"].to_numpy("float64")
    itself, own = topology.initial_failures["point"]
    # what fails by itself is certain, whether it is listed or not
    rows = np.append(row, itself)
    nodes = np.append(node, own)
    values = np.append(p, np.ones(len(itself)))
    shape = (len(topology.elements), len(topology.nodes))
    table = csr_array((values, (rows, nodes)), shape=shape)
    table.sum_duplicates()
    table.data = np.minimum(table.data, 1.0)
    table.eliminate_zeros()
    return table


def sensitivity(
    topology: Topology, down: csr_array, p: Floats, services: Integers
) -> csr_array:
    """Return by given service and edge the derivative of the service's impact by the edge.

    The derivative of ``sum_j c_j P(j down | i failed)`` by the edge from s to d, with ways to j
    that do not share an edge taken as independent: ``P(d | i) sum_j c_j P(j | s) (1 - P(j | i)) /
    (1 - P(d | i) p P(j | s))``. Exact on a tree, and on ways that are apart.
    """
    total = total_weight(topology.weight)
    callee = topology.callee
    caller = topology.caller
    columns: list[Integers] = []
    values: list[Floats] = []
    for service in services:
        own = down[[service]].toarray()[0]
        edge = np.flatnonzero((own[callee] > 0) & (own[caller] < 1))
        ways = down[caller[edge]].tocoo()
        way, node = ways.coords
        arrives = own[callee[edge]]
        alone = 1 - (arrives * p[edge])[way] * ways.data
        # chance that no other way takes the node down
        kept = (1 - own[node]) / np.maximum(alone, LEAST)
        gained = topology.weight[node] * ways.data * np.minimum(kept, 1.0)
        lost = np.bincount(way, gained, len(edge))
        columns.append(edge)
        values.append(arrives * lost / total)
    rows = np.repeat(np.arange(len(services)), [len(each) for each in columns])
    none = np.empty(0, np.int64)
    places = (rows, np.concatenate([none, *columns]))
    shape = (len(services), len(p))
    # of floats, also where there is no service
    moves = np.concatenate([np.empty(0), *values])
    return csr_array((moves, places), shape=shape)


def trials(topology: Topology, down: csr_array, p: Floats, edges: Integers) -> csr_array:
    """Return by element and given edge the expected number of trials in its failure."""
    # A trial happens where what is needed goes down. Where the caller goes down by
    # another way too, nobody can say which it was, and the trial says as much less.
    caller = topology.caller[edges]
    tried = down[:, topology.callee[edges]].tocoo()
    if not tried.nnz:
        return csr_array(tried.shape)
    row, edge = tried.coords
    falls = np.asarray(down[row, caller[edge]]).ravel()
    alone = np.maximum(1 - tried.data * p[edges][edge], LEAST)
    expected = tried.data * np.minimum((1 - falls) / alone, 1.0)
    kept = expected > LEAST
    places = (row[kept], edge[kept])
    return csr_array((expected[kept], places), shape=tried.shape)


def ranking_parts(
    impact: Floats, moved: Floats, variance: Floats
) -> tuple[Floats, float]:
    """Return by impact and edge the uncertainty of the ranking due to the edge, and the total.

    ``moved`` is by impact and edge. A part times the fall of the edge's variance is the fall of the
    whole.

    The expected loss of calling the larger of two the larger is ``s (phi(z) - z Phi(-z))`` with
    ``z = d / s``, d their distance and s the standard deviation of their difference; its derivative
    by the variance is ``phi(z) / (2 s)`` (the linear loss of Raiffa and Schlaifer 1961). Each of
    the two has half of it.
    """
    shared = (moved * variance) @ moved.T
    own = np.diag(shared)
    # variance of each difference of two impacts
    together = np.maximum(own[:, None] + own[None, :] - 2 * shared, 0.0)
    s = np.sqrt(together)
    apart = s > LEAST
    s = np.where(apart, s, 1.0)
    z = np.abs(impact[:, None] - impact[None, :]) / s
    density = np.where(apart, np.exp(-(z**2) / 2) / ROOT_TAU, 0.0)
    # expected loss by a wrong order: the unit normal loss integral
    loss = s * (density - apart * z * ndtr(-z))
    slope = density / (2 * s)
    # sum over the others of slope (m - other)^2, written out
    parts = slope.sum(axis=1)[:, None] * moved**2
    parts += slope @ moved**2 - 2 * moved * (slope @ moved)
    return np.maximum(parts, 0.0) / 2, loss.sum() / 2


def label_parts(is_open: Floats, moved: Floats, variance: Floats) -> tuple[Floats, float]:
    """Return by impact and edge the uncertainty of open labels due to the edge, and the total.

    ``is_open`` is 1 for a label as good as a coin, and 0 for one that is settled [0-1]. What
    matters is the standard deviation of the impact. No label is settled for good.
    """
    spread = np.sqrt(moved**2 @ variance)
    counts = np.maximum(is_open, SETTLED)
    slope = counts / (2 * np.maximum(spread, LEAST))
    return slope[:, None] * moved**2, float(counts @ spread)


@dataclass(frozen=True, eq=False)
class Worth:
    """By element, the share of uncertainty that its failure is expected to remove.

    ``labels`` and ``ranking`` [0-1; ``labels`` None where no label is open], ``trials`` by element
    and edge, ``by_edge`` the doubt that one trial takes, ``by_service`` that by service and edge.
    """

    labels: Floats | None
    ranking: Floats
    trials: csr_array
    by_edge: Floats
    by_service: csr_array

    @property
    def value(self) -> Floats:
        """Mean of both shares."""
        if self.labels is None:
            return self.ranking
        return (self.labels + self.ranking) / 2


def worth(
    topology: Topology, down: csr_array, doubt: Doubt, services: Integers, is_open: Floats
) -> Worth:
    """Return the value of the failure of each element for the services to decide."""
    moved = sensitivity(topology, down, doubt.p, services).toarray()
    lost = np.asarray(down[services] @ topology.weight)
    impact = lost / total_weight(topology.weight)
    parts = [
        label_parts(is_open, moved, doubt.variance),
        ranking_parts(impact, moved, doubt.variance),
    ]
    tries = trials(topology, down, doubt.p, np.arange(len(doubt.p)))
    by_service: Floats = np.zeros_like(moved)
    shares = []
    for each, whole in parts:
        scale = 1 / whole if whole > LEAST else 0.0
        part = each * doubt.narrowed * scale
        by_service += part
        shares.append(np.minimum(tries @ part.sum(axis=0), 1.0))
    return Worth(
        labels=shares[0] if parts[0][1] > LEAST else None,
        ranking=shares[1],
        trials=tries,
        by_edge=by_service.sum(axis=0),
        by_service=csr_array(by_service),
    )


def safest(
    value: Worth, row: int, order: Integers, tried: csc_array, share: float
) -> int:
    """Return the first element in ``order`` that tries enough of the edges that ``row`` tries.

    ``tried`` has the trials of the elements in this order.
    """
    own = value.trials[[row]]
    edge = own.indices
    weight = value.by_edge[edge]
    others = tried[:, edge]
    n = np.diff(others.indptr)
    both = np.minimum(others.data, np.repeat(own.data, n)) * np.repeat(weight, n)
    found = np.bincount(others.indices, both, len(order))
    enough = found >= share * (own.data @ weight) - LEAST
    return order[enough.argmax()] if enough.any() else row
