"""What trials say of the probability of each edge, edges of a kind being alike.

Edges of a kind are spread as Beta(mean * strength, (1 - mean) * strength), and mean and strength
are themselves unknown: both have a prior on a grid. A fall with several possible causes says that
at least one of these edges failed, not which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assess.score.blast_radius.bitset import Booleans, Floats, Integers

MEANS = np.linspace(0.02, 0.98, 25)  # grid over the mean of a kind …
STRENGTHS = np.geomspace(0.5, 64.0, 10)  # … and over how alike its edges are
PRIOR_N = 2.0  # weight of the policy's probability of a kind [edges]
CHANCES = (
    0.05,
    0.95,
)  # most that the policy's probability says, and where the sharing starts
ROUNDS = 30  # of sharing falls out among the edges that can have caused them
ENOUGH = 1e-3  # change of a probability at which the sharing has settled
SETTLING, DRAWS = 100, 1000  # draws left out, and kept

A, B = (grid.ravel() for grid in np.meshgrid(MEANS, STRENGTHS))
A, B = A * B, (1 - A) * B


@dataclass(frozen=True, eq=False)
class Evidence:
    """What trials say of some edges.

    Attributes
    ----------
    held : ndarray of float
        Times that the caller stayed up, by edge. [count]
    causes : ndarray of int, shape (falls, k)
        By fall of a caller the edges of which at least one caused it; rows are filled up with the
        number of edges.
    kinds : list of ndarray of int
        Edges of each kind.
    prior : ndarray of float
        Probability of each kind by the policy. [0-1]
    """

    held: Floats
    causes: Integers
    kinds: list[Integers]
    prior: Floats

    def shared(self, weight: Floats) -> Floats:
        """Add up weights of possible causes, shape (falls, k), by edge."""
        n = len(self.held)
        return np.asarray(
            np.bincount(self.causes.ravel(), weight.ravel(), n + 1)[:n], float
        )

    @cached_property
    def tries(self) -> Floats:
        """Times that each edge was tried [count]."""
        return self.held + self.shared(np.ones(self.causes.shape))

    @cached_property
    def kind(self) -> Integers:
        """Position in `kinds` by edge."""
        kind = np.zeros(len(self.held), np.int64)
        for position, own in enumerate(self.kinds):
            kind[own] = position
        return kind

    @property
    def is_known(self) -> Booleans:
        """By edge, whether one of its kind was ever tried."""
        tried = np.array([self.tries[own].any() for own in self.kinds], bool)
        return np.asarray(tried[self.kind])

    def prior_logs(self) -> Floats:
        """Give the log density of the prior, by kind and point of the grid."""
        mean, centre = A / (A + B), np.clip(self.prior, *CHANCES)[:, None]
        return PRIOR_N * (centre * np.log(mean) + (1 - centre) * np.log1p(-mean))


def points(evidence: Evidence, start: Floats) -> tuple[Floats, Floats]:
    """Give the probability of each edge, and the falls that it caused.

    Parameters
    ----------
    evidence : Evidence
        What trials say.
    start : ndarray of float
        Probabilities to start from. [0-1]

    Returns
    -------
    p, falls : ndarray of float
        Posterior mean [0-1]; falls, of those with several possible causes the expected number.
        [count]

    Notes
    -----
    Expectation maximisation: given the probabilities, an edge caused a fall with ``p / (1 -
    prod(1 - p))`` over its possible causes; given the falls, the posterior of an edge is the
    mixture over the grid of Beta(a + falls, b + tries - falls).
    """
    p, tries = np.clip(start, *CHANCES), evidence.tries
    falls = np.zeros(len(p))
    for _ in range(ROUNDS):
        each = np.append(p, 0.0)[evidence.causes]
        falls = evidence.shared(each / _any(each))
        old, p = p, _means(evidence, falls, tries - falls)
        if not len(each) or np.abs(p - old).max() < ENOUGH:
            break
    return p, falls


def _any(p: Floats) -> Floats:
    """Chance that at least one of each row happens, shape (rows, 1)."""
    return np.asarray(1 - np.prod(1 - p, axis=1, keepdims=True))


def _means(evidence: Evidence, falls: Floats, held: Floats) -> Floats:
    from scipy.special import betaln

    p, logs, empty = np.zeros(len(falls)), evidence.prior_logs(), betaln(A, B)
    pairs = falls + 1j * held  # edges that are alike need no work of their own
    for own, log in zip(evidence.kinds, logs, strict=True):
        alike, which, times = np.unique(
            pairs[own], return_inverse=True, return_counts=True
        )
        f, h = alike.real[:, None], alike.imag[:, None]
        weight = _normed(log + times @ (betaln(A + f, B + h) - empty))
        p[own] = ((A + f) / (A + B + f + h) @ weight)[which]
    return p


def _normed(logs: Floats) -> Floats:
    weight = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def ends(evidence: Evidence, level: float, seed: int) -> tuple[Floats, Floats]:
    """Give an interval of the probability of each edge.

    Parameters
    ----------
    evidence : Evidence
        What trials say.
    level : float
        Coverage. [share, 0-1]
    seed : int
        Seed of the draws.

    Returns
    -------
    lo, hi : ndarray of float
        Ends by edge. [probability, 0-1]

    Notes
    -----
    Data augmentation [1]_: in turn, which edges caused each fall is drawn given the probabilities,
    then mean and strength of each kind given who fell, and the probabilities given both. So the
    doubt about who caused a fall is part of the interval. An edge that was never tried has the
    spread of its kind.

    References
    ----------
    .. [1] Tanner, Wong, The Calculation of Posterior Distributions by Data Augmentation, JASA 82
       (1987).
    """
    from scipy.special import gammaln

    rng, tries = np.random.default_rng(seed), evidence.tries.astype(int)
    counts = np.arange(tries.max(initial=0) + 1)[:, None]
    fell, held, both = (gammaln(x + counts) - gammaln(x) for x in (A, B, A + B))
    shape = len(evidence.kinds), len(counts)
    kind = evidence.kind

    def tallied(n: Integers) -> Integers:
        return np.bincount(kind * shape[1] + n, minlength=shape[0] * shape[1]).reshape(
            shape
        )

    logs = evidence.prior_logs() - tallied(tries) @ both
    p, drawn = np.full(len(tries), 0.5), np.empty((DRAWS, len(tries)))
    for turn in range(-SETTLING, DRAWS):
        caused = _caused(np.append(p, 0.0)[evidence.causes], rng)
        falls = evidence.shared(caused).astype(int)
        weight = _normed(logs + tallied(falls) @ fell + tallied(tries - falls) @ held)
        at = (np.cumsum(weight, axis=1) < rng.random((shape[0], 1))).sum(axis=1)
        at = np.minimum(at, len(A) - 1)[kind]  # sums round
        p = rng.beta(A[at] + falls, B[at] + tries - falls)
        drawn[max(turn, 0)] = p
    lo, hi = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lo, hi


def _caused(p: Floats, rng: np.random.Generator) -> Floats:
    """Draw which of the possible causes of each fall it were, given that at least one was."""
    caused, some = np.zeros(p.shape), np.zeros(len(p), bool)
    rest = (
        1 - np.cumprod((1 - p)[:, ::-1], axis=1)[:, ::-1]
    )  # that this one or a later one is
    for k, u in enumerate(rng.random(p.shape[::-1])):
        hit = u * np.where(some, 1.0, rest[:, k]) < p[:, k]
        caused[hit, k] = 1.0
        some |= hit
    return caused
