"""Probabilities of edges, learned from failures: how often a caller went down with what it calls.

Needs experiments (or incidents) of which it is known who went down. An edge is tried whenever what
is needed was down and the caller had data; a caller that the failure took down by itself shows
nothing. Edges of a kind are spread as Beta(mean * strength, (1 - mean) * strength); mean and
strength are unknown, with a prior on a grid. So an edge that was never tried has the spread of its
kind. A failure with several possible causes shows that at least one of these edges failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans, Floats, Integers, adjacency
from assess.score.blast_radius.edges import LEVELS
from assess.score.blast_radius.topology import Topology
from assess.score.incidents.exposure import counted_incidents

MEANS = np.linspace(0.02, 0.98, 25)  # grid over the mean of a kind …
STRENGTHS = np.geomspace(0.5, 64.0, 10)  # … and over how alike its edges are
PRIOR_N = 2.0  # weight of the policy's probability of a kind [edges]
CHANCES = (0.05, 0.95)  # ends of the prior's mean, and of the start of the sharing
ROUNDS = 30  # of sharing failures among the edges that can have caused them
ENOUGH = 1e-3  # change of a probability at which the sharing has settled
SETTLING = 100  # draws left out
DRAWS = 1000  # draws kept

HOST_CAUSES = ("host", "kernel", "storage", "disk-full", "engine")
Element = tuple[str, str]  # kind and name

# parameters of the Beta distribution at each point of the grid
A = np.outer(STRENGTHS, MEANS).ravel()
B = np.outer(STRENGTHS, 1 - MEANS).ravel()


def events(inventory: Inventory) -> pd.DataFrame:
    """List incidents and experiments of which it is known what they took down.

    Columns ``event, event_id, element_kind, element, affected_services, observed_services``. An
    incident by a cause of its host is a failure of that host where the host is named, else one of
    its service, which is affected itself.
    """
    incidents = counted_incidents(inventory).dropna(subset=["affected_services"])
    # a host that fails takes all its services down: the service that reported it is no cause
    on_host = incidents["cause"].isin(HOST_CAUSES) & incidents["host_id"].notna()
    affected = incidents["affected_services"] + ";" + incidents["service_id"]
    first = pd.DataFrame(
        {
            "event": "incident",
            "event_id": incidents["incident_id"],
            "element_kind": np.where(on_host, "host", "service"),
            "element": incidents["host_id"].where(on_host, incidents["service_id"]),
            "affected_services": affected,
            "observed_services": pd.NA,
        }
    )
    experiments = inventory["experiments"].dropna(subset=["affected_services"])
    second = experiments.rename(columns={"experiment_id": "event_id"})
    second = second.assign(event="experiment")[first.columns]
    table = pd.concat([first, second], ignore_index=True).astype("object")
    return table.sort_values(["event", "event_id"], ignore_index=True)


@dataclass(frozen=True, eq=False)
class Failure:
    """One observed failure of an element; by service, whether it had data, and went down."""

    event: str
    event_id: str
    element: Element
    seen: Booleans
    down: Booleans


def observed_failures(inventory: Inventory, topology: Topology) -> list[Failure]:
    """List the failures of elements of the fleet, by event and id.

    What failed itself counts as seen, whoever else had data.
    """
    services = topology.services
    failures = []
    for row in events(inventory).itertuples():
        element = (str(row.element_kind), str(row.element))
        if element not in topology.elements:
            continue
        itself = [element[1]] if element[0] == "service" else []
        down = services.isin([*ids(row.affected_services), *itself])
        seen = np.ones(len(services), dtype=bool)
        if not pd.isna(row.observed_services):
            seen = services.isin([*ids(row.observed_services), *itself])
        failure = Failure(str(row.event), str(row.event_id), element, seen, down & seen)
        failures.append(failure)
    return failures


def ids(joined: object) -> list[str]:
    """Return the ids of a text that joins them by a semicolon."""
    return [name.strip() for name in str(joined).split(";") if name.strip()]


def edge_trials(topology: Topology, failures: list[Failure]) -> pd.DataFrame:
    """List when each edge was tried: ``failure, edge, caller`` [position], ``failed``.

    ``failed`` says whether the caller went down, with this edge among the possible causes.
    """
    src = topology.caller
    dst = topology.callee
    initial = topology.initially_down([f.element for f in failures], "hi")
    parts = []
    for position, failure in enumerate(failures):
        initially = initial[position]
        down = initially.copy()
        down[: len(topology.services)] = failure.down
        live = np.flatnonzero(down[dst] & failure.seen[src] & ~initially[src])
        failed = failure.down[src[live]]
        counts = ~failed | _can_cause(src[live], dst[live], initially)
        trials = {
            "failure": position,
            "edge": live,
            "caller": src[live],
            "failed": failed,
        }
        parts.append(pd.DataFrame(trials)[counts])
    return pd.concat(parts, ignore_index=True)


def _can_cause(
    src: Integers,
    dst: Integers,
    initially: Booleans,
) -> Booleans:
    """Mark live edges that can have caused a failure: not those whose end the caller took down.

    On a cycle the caller may be the only way from what failed first to what it calls.
    """
    from scipy.sparse.csgraph import connected_components

    calls = adjacency(len(initially), dst, src)
    _, loop = connected_components(calls, connection="strong")
    can_cause = np.ones(len(src), bool)
    for edge in np.flatnonzero((loop[src] == loop[dst]) & ~initially[dst]):
        down = initially.copy()
        # without this caller: is what it calls still reached?
        others = src != src[edge]
        before = -1
        while (now := down.sum()) != before:
            before = now
            down[src[others & down[dst]]] = True
        can_cause[edge] = down[dst[edge]]
    return can_cause


@dataclass(frozen=True, eq=False)
class EdgeCounts:
    """What failures show of some edges.

    ``survived`` counts, by edge, the times that the caller stayed up. ``causes``, shape (failed
    callers, k), lists the edges of which at least one is the cause, filled up with the number of
    edges. ``kinds`` lists the edges of each kind, ``prior`` the policy's probability of each.
    """

    survived: Floats
    causes: Integers
    kinds: list[Integers]
    prior: Floats

    @classmethod
    def of(
        cls,
        topology: Topology,
        trials: pd.DataFrame,
    ) -> EdgeCounts:
        """Count the trials of each edge; kinds in alphabetical order."""
        n = len(topology.edges)
        survived = trials.loc[~trials["failed"], "edge"]
        # a failed caller is a row; the edges that can have caused it fill its columns
        callers = trials[trials["failed"]].groupby(["failure", "caller"])
        row = callers.ngroup()
        column = callers.cumcount()
        causes = np.full((callers.ngroups, column.max() + 1 if len(column) else 0), n)
        causes[row, column] = callers.obj["edge"]
        code, names = pd.factorize(topology.edges["kinds"], sort=True)
        kinds = [np.flatnonzero(code == kind) for kind in range(len(names))]
        point = topology.edges["point"].to_numpy("float64")
        return cls(
            survived=np.bincount(survived, minlength=n).astype(float),
            causes=causes,
            kinds=kinds,
            prior=np.array([point[edges].mean() for edges in kinds]),
        )

    def shared(self, weight: Floats) -> Floats:
        """Add up the weights of possible causes, of the shape of ``causes``, by edge."""
        n = len(self.survived)
        total = np.bincount(self.causes.ravel(), weight.ravel(), n + 1)
        return np.asarray(total[:n], float)

    @cached_property
    def tries(self) -> Floats:
        """Times that each edge was tried [count]."""
        return self.survived + self.shared(np.ones(self.causes.shape))

    @cached_property
    def kind(self) -> Integers:
        """Position in ``kinds``, by edge."""
        kind = np.zeros(len(self.survived), np.int64)
        for position, edges in enumerate(self.kinds):
            kind[edges] = position
        return kind

    @property
    def is_known(self) -> Booleans:
        """By edge, whether one of its kind was ever tried."""
        tried = np.array([self.tries[edges].any() for edges in self.kinds], bool)
        return np.asarray(tried[self.kind])

    def prior_logs(self) -> Floats:
        """Return the log density of the prior, by kind and point of the grid."""
        mean = A / (A + B)
        centre = np.clip(self.prior, *CHANCES)[:, None]
        return PRIOR_N * (centre * np.log(mean) + (1 - centre) * np.log1p(-mean))


def edge_posterior(counts: EdgeCounts, start: Floats) -> tuple[Floats, Floats]:
    """Return by edge the posterior mean [0-1] and the expected failures that it caused [count].

    Notes
    -----
    Expectation maximisation: given the probabilities, an edge caused a failure with
    ``p / (1 - prod(1 - p))`` over its possible causes; given the failures, the posterior of an edge
    is the mixture over the grid of ``Beta(a + failures, b + tries - failures)``.
    """
    p = np.clip(start, *CHANCES)
    caused = np.zeros(len(p))
    for _ in range(ROUNDS):
        each = np.append(p, 0.0)[counts.causes]
        at_least_one = 1 - np.prod(1 - each, axis=1, keepdims=True)
        caused = counts.shared(each / at_least_one)
        old = p
        p = _means(counts, caused, counts.tries - caused)
        if not len(each) or np.abs(p - old).max() < ENOUGH:
            break
    return p, caused


def _means(
    counts: EdgeCounts,
    caused: Floats,
    survived: Floats,
) -> Floats:
    """Return the posterior mean of each edge, given the failures that it caused."""
    from scipy.special import betaln

    p = np.zeros(len(caused))
    empty = betaln(A, B)
    pairs = caused + 1j * survived  # edges that are alike need no work of their own
    for edges, log in zip(counts.kinds, counts.prior_logs(), strict=True):
        alike, which = np.unique(pairs[edges], return_inverse=True)
        times = np.bincount(which)
        f = alike.real[:, None]
        s = alike.imag[:, None]
        weight = _normed(log + times @ (betaln(A + f, B + s) - empty))
        means = (A + f) / (A + B + f + s)
        p[edges] = (means @ weight)[which]
    return p


def _normed(logs: Floats) -> Floats:
    weight = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def edge_intervals(
    counts: EdgeCounts,
    level: float,
    seed: int,
) -> tuple[Floats, Floats]:
    """Return by edge the ends of an interval of its probability.

    Notes
    -----
    Data augmentation [1]_: in turn, which edges caused each failure is drawn given the
    probabilities, then mean and strength of each kind given who failed, and the probabilities
    given both. So the doubt about causes is part of the interval. An edge that was never tried has
    the spread of its kind.

    References
    ----------
    .. [1] Tanner, Wong, The Calculation of Posterior Distributions by Data Augmentation, JASA 82
       (1987).
    """
    from scipy.special import gammaln

    rng = np.random.default_rng(seed)
    tries = counts.tries.astype(int)
    kind = counts.kind
    upto = np.arange(tries.max(initial=0) + 1)[:, None]
    failed, survived, both = (gammaln(x + upto) - gammaln(x) for x in (A, B, A + B))
    shape = (len(counts.kinds), len(upto))

    def tallied(n: Integers) -> Integers:
        cells = np.bincount(kind * shape[1] + n, minlength=shape[0] * shape[1])
        return cells.reshape(shape)

    logs = counts.prior_logs() - tallied(tries) @ both
    p = np.full(len(tries), 0.5)
    drawn = np.empty((DRAWS, len(tries)))
    for turn in range(-SETTLING, DRAWS):
        causes = _draw_causes(np.append(p, 0.0)[counts.causes], rng)
        caused = counts.shared(causes).astype(int)
        fit = tallied(caused) @ failed + tallied(tries - caused) @ survived
        weight = _normed(logs + fit)
        at = (np.cumsum(weight, axis=1) < rng.random((shape[0], 1))).sum(axis=1)
        at = np.minimum(at, len(A) - 1)[kind]  # sums round
        p = rng.beta(A[at] + caused, B[at] + tries - caused)
        drawn[max(turn, 0)] = p
    lo, hi = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lo, hi


def _draw_causes(p: Floats, rng: np.random.Generator) -> Floats:
    """Draw which possible causes of each failure were causes, given that at least one was."""
    caused = np.zeros(p.shape)
    some = np.zeros(len(p), bool)
    # chance that this one or a later one is a cause
    rest = 1 - np.cumprod((1 - p)[:, ::-1], axis=1)[:, ::-1]
    for k, u in enumerate(rng.random(p.shape[::-1])):
        hit = u * np.where(some, 1.0, rest[:, k]) < p[:, k]
        caused[hit, k] = 1.0
        some |= hit
    return caused


def estimate(topology: Topology, trials: pd.DataFrame) -> Floats:
    """Return the probability of every edge; of a kind that was never tried, the policy's."""
    prior = topology.edges["point"].to_numpy("float64")
    counts = EdgeCounts.of(topology, trials)
    point, _ = edge_posterior(counts, prior)
    return np.where(counts.is_known, point, prior)


def learn(
    topology: Topology,
    trials: pd.DataFrame,
    *,
    level: float,
    seed: int,
) -> pd.DataFrame:
    """Return, by edge, ``src, dst, kinds, prior, tries_n, falls_n`` and ``lo, point, hi`` [0-1].

    ``falls_n`` is the expected number of failures that the edge caused.
    """
    table = topology.edges[["src", "dst", "kinds"]].assign(prior=topology.edges["point"])
    counts = EdgeCounts.of(topology, trials)
    point, caused = edge_posterior(counts, table["prior"].to_numpy("float64"))
    lo, hi = edge_intervals(counts, level, seed)
    return table.assign(
        tries_n=counts.tries,
        falls_n=caused,
        lo=np.minimum(lo, point),  # of another method than the point: it must contain it
        point=point,
        hi=np.maximum(hi, point),
    )


def learns(policy: Policy, failures: list[Failure]) -> bool:
    """Return whether edges are learned: where the policy allows it, and something failed."""
    return policy["blast_radius"]["learned_edges"] != "off" and bool(failures)


def learned_edges(
    policy: Policy,
    topology: Topology,
    failures: list[Failure],
) -> pd.DataFrame:
    """Return the frame of `learn`; without a row where edges are not learned."""
    if not learns(policy, failures):
        return topology.edges.iloc[:0]
    level = float(policy["simulation"]["level"])
    trials = edge_trials(topology, failures)
    return learn(topology, trials, level=level, seed=policy.seed)


def with_learned(topology: Topology, learned: pd.DataFrame) -> Topology:
    """Return the topology with learned probabilities, and the policy's for kinds never tried."""
    columns = list(LEVELS)
    # a kind that was never tried has learned nothing but the prior's spread
    known = learned["kinds"].isin(learned.loc[learned["tries_n"] > 0, "kinds"])
    edges = topology.edges.copy()
    edges[columns] = learned[columns].where(known, edges[columns])
    return replace(topology, edges=edges)
