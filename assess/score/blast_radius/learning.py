"""Learn from failures: how often services go down with what they call, and how often without.

Needs experiments or incidents with known affected services. An edge is tried whenever its callee was
down and its caller was observed; a caller that the failure took down directly shows nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
from pandas import DataFrame, Index

from assess.policy import Policy, Table
from assess.score import Booleans, Floats, Integers, frozen
from assess.score.blast_radius.bitset import blocks
from assess.score.blast_radius.failures import UNKNOWN, Failure, Past
from assess.score.blast_radius.topology import FAR, Element, Topology, steps
from assess.score.blast_radius.uncertain import Unexplained

ROUNDS = 6  # of sharing failures among the edges that can have caused them
PASSES = 2  # over all groups of edges in each of them
FAULT = "fault"
CERTAIN = 1e-4  # a probability that can be learned keeps this far from 0 and 1
APART = (1.0, 0.5, 0.0)  # shares of the policy's differences between edges
SURELY = 2.0  # nats by which a smaller share must be likelier
HALF = 0.5  # expected failures by an edge from which on it probably caused one
MOST = 500.0  # log odds beyond which a chance does not change


def edge_trials(topology: Topology, failures: list[Failure]) -> DataFrame:
    """List when each edge was tried: ``failure, edge, caller`` [position], ``failed``.

    ``failed`` says whether the caller went down, with this edge among the possible causes.
    """
    from scipy.sparse.csgraph import connected_components

    src = topology.caller
    dst = topology.callee
    calls = topology.matrix()
    _, loop = connected_components(calls, connection="strong")
    on_cycle = loop[src] == loop[dst]
    parts = [np.empty((3, 0), np.int64)]
    for rows in blocks(len(failures), len(topology.nodes) + len(src)):
        some = failures[rows]
        initial = topology.initially_down([f.element for f in some], "hi")
        fell = np.array([f.down for f in some])
        seen = np.array([f.seen for f in some])
        down = initial.copy()
        down[:, : len(topology.services)] |= fell
        live = down[:, dst] & seen[:, src] & ~initial[:, src]
        failure, edge = np.nonzero(live)
        failed = fell[failure, src[edge]]
        away = steps(calls, initial, down)
        # on a cycle, a service farther from the failed element did not take the nearer one down
        is_later = away[failure, dst[edge]] > away[failure, src[edge]]
        counts = ~(failed & on_cycle[edge] & is_later)
        parts.append(np.array([failure + rows.start, edge, failed])[:, counts])
    table = DataFrame(
        np.concatenate(parts, axis=1).T, columns=["failure", "edge", "failed"]
    )
    failed = table["failed"].astype(bool)
    return table.assign(failed=failed, caller=src[table["edge"]])


@frozen
class Trials:
    """Trials of edges: positions of failure and edge, whether the caller went down.

    ``case`` numbers the pairs of failure and caller: of a case that went down, at least one edge is
    the cause.
    """

    failure: Integers
    edge: Integers
    failed: Booleans
    case: Integers

    @classmethod
    def of(cls, table: DataFrame) -> Trials:
        """Return the trials of the frame of `edge_trials`, with their cases."""
        case = table.groupby(["failure", "caller"], sort=False).ngroup()
        columns = (table["failure"], table["edge"], table["failed"], case)
        return cls(*(column.to_numpy() for column in columns))

    def where(self, flags: Booleans) -> Trials:
        """Return some of the trials."""
        return Trials(*(column[flags] for column in vars(self).values()))

    def log_likelihood(self, p: Floats) -> float:
        """Return the log-likelihood of the outcomes of all cases, for edge probabilities ``p``."""
        survived = np.bincount(self.case, np.log1p(-p[self.edge]))
        tried = np.bincount(self.case) > 0
        fell = np.bincount(self.case, self.failed) > 0
        some = np.log(np.maximum(1 - np.exp(survived), CERTAIN))
        return np.where(fell, some, survived)[tried].sum()

    def shared(self, p: Floats) -> Floats:
        """Return by trial the probability that its edge is a cause, for probabilities ``p``."""
        survived = np.bincount(self.case, np.log1p(-p))[self.case]
        some = np.maximum(1 - np.exp(survived), CERTAIN)
        return np.where(self.failed, p / some, 0.0)


@frozen
class Besides:
    """By failure and service: ``had`` data and no known cause, and whether it went ``down``."""

    had: Booleans
    down: Booleans  # of all failures: one table for all that is beside them

    @cached_property
    def n(self) -> tuple[Integers, Integers]:
        """Count by service the failures with data, and those of them in which it went down."""
        return self.had.sum(axis=0), (self.had & self.down).sum(axis=0)

    def floor(self, kept: Booleans, strength: float) -> Floats:
        """Return by service the chance to go down without a known cause, shrunk to the fleet's."""
        # few failures are left out: subtract them instead of adding up all others
        had = self.had[~kept]
        n = self.n[0] - had.sum(axis=0)
        k = self.n[1] - (had & self.down[~kept]).sum(axis=0)
        fleet = (k.sum() + 0.5) / (n.sum() + 1)
        # without data the estimate would be 1/2, far too high for a floor
        fleet = fleet if n.sum() else 0.0
        return (k + strength * fleet) / (n + strength)


@frozen
class Failures:
    """The evidence of all failures, stored so that any failure can be left out.

    By failure and service: who was ``seen`` and who went ``down``. ``fault`` is by failure; ``quiet``
    is of those who called nothing that was down.
    """

    topology: Topology
    failures: list[Failure]
    seen: Booleans
    down: Booleans
    trials: Trials
    fault: Integers
    faults: Index
    quiet: Besides

    @property
    def every(self) -> Booleans:
        """The choice of all failures."""
        return np.ones(len(self.failures), bool)

    @cached_property
    def of_element(self) -> dict[Element, list[int]]:
        """The positions of the failures of each element."""
        own: dict[Element, list[int]] = {}
        for position, failure in enumerate(self.failures):
            own.setdefault(failure.element, []).append(position)
        return own

    def past(self, element: Element, kept: Booleans) -> Past:
        """Return the kept failures of an element."""
        own = np.array(self.of_element[element])
        own = own[kept[own]]
        return Past(self.seen[own], self.down[own])

    @cached_property
    def outside(self) -> Besides:
        """Return the part of ``quiet`` that no chain of calls connects with what failed.

        The failure may have reached the others through services that went down unnoticed.
        """
        topology = self.topology
        calls = topology.matrix()
        elements = [f.element for f in self.failures]
        beyond = np.zeros_like(self.quiet.had)
        for rows in blocks(len(elements), len(topology.nodes)):
            initial = topology.initially_down(elements[rows], "hi")
            away = steps(calls, initial)
            beyond[rows] = away[:, : beyond.shape[1]] == FAR
        return Besides(self.quiet.had & beyond, self.down)

    @classmethod
    def of(cls, topology: Topology, failures: list[Failure]) -> Failures:
        """Find the trials of all edges, and who was beside them."""
        table = edge_trials(topology, failures)
        services_n = len(topology.services)
        shape = (len(failures), services_n)
        seen = np.array([f.seen for f in failures], bool).reshape(shape)
        down = np.array([f.down for f in failures], bool).reshape(shape)
        initial = topology.initially_down([f.element for f in failures], "hi")
        quiet = seen & ~initial[:, :services_n]
        quiet[table["failure"], table["caller"]] = False
        fault, faults = pd.factorize(np.array([f.fault for f in failures], object))
        # an edge that a person is certain of neither needs evidence nor is evidence
        given = is_given(topology.edges)
        trials = Trials.of(table[~given[table["edge"]]])
        return cls(
            topology=topology,
            failures=failures,
            seen=seen,
            down=down,
            trials=trials,
            fault=fault,
            faults=Index(faults),
            quiet=Besides(quiet, down),
        )


@frozen
class Learned:
    """Edge probabilities and other effects learned from some failures.

    By edge: ``p`` at the fleet's mix of faults [0-1], ``start``, the policy's as far apart as
    failures show, ``tries`` and ``caused`` [count], and ``weight``, the strength of its Beta
    distribution. ``shift`` is the effect of each kind of fault
    on the log odds; ``floor`` by service its chance to go down where no call leads.
    """

    p: Floats
    start: Floats
    tries: Floats
    caused: Floats
    weight: Floats
    shift: dict[str, float]
    floor: Floats

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """Return by edge the central interval of its Beta distribution."""
        from scipy.special import betaincinv

        inside = np.clip(self.p, CERTAIN, 1 - CERTAIN)
        a = inside * self.weight
        b = (1 - inside) * self.weight
        return betaincinv(a, b, (1 - level) / 2), betaincinv(a, b, (1 + level) / 2)


def fit(evidence: Failures, kept: Booleans, settings: Table) -> Learned:
    """Learn from the kept failures.

    An edge starts at the policy's ``q / d**a``. Its log odds are moved to ``m`` by effects of its
    kind, of who calls and of who is called, which all failures teach together (`_Effects`). The
    edge itself is then the Beta posterior with mean ``(k + 2 m) / (n + 2)`` over its n trials. A
    failure with several possible causes counts for each with ``p / (1 - prod(1 - p))``, in turn
    with p (expectation maximisation).
    """
    edges = evidence.topology.edges
    trials = evidence.trials.where(kept[evidence.trials.failure])
    edge = trials.edge
    policy = edges["point"].to_numpy("float64")
    base = logit(policy)
    effects = _Effects.of(evidence, trials, settings)
    tries: Floats = np.bincount(edge, minlength=len(edges)).astype("float64")
    strength = settings["edge_strength"]
    share: Floats = trials.failed.astype("float64")
    p = expit(base)
    caused: Floats = np.zeros(len(edges))
    strengths: Floats = tries + strength
    for _ in range(ROUNDS):
        effects.learn(base[edge], share)
        m = expit(base + effects.by_edge(base[edge], share))
        caused = np.asarray(np.bincount(edge, share, len(edges)), float)
        p = (caused + strength * m) / strengths
        of_fault = effects.known[FAULT][effects.of_trial[FAULT]]
        each = expit(logit(p[edge]) + of_fault)
        share = trials.shared(each)
    variance = share * (1 - share)
    doubt = np.asarray(np.bincount(edge, variance, len(edges)), float)
    weight = _weight(p, strengths, doubt)
    given = is_given(edges)
    p[given] = policy[given]
    return Learned(
        p=p,
        start=np.where(given, policy, expit(_start(base, trials))),
        tries=tries,
        caused=caused,
        weight=weight,
        shift=dict(zip(evidence.faults, effects.known[FAULT].tolist(), strict=True)),
        floor=evidence.outside.floor(kept, settings["floor_strength"]),
    )


def _start(policy: Floats, trials: Trials) -> Floats:
    """Return by edge the policy's log odds, shrunk to their mean as far as failures demand.

    ``mean + w (policy - mean)``, the mean over the edges that were tried, with the likeliest w of
    ``APART``: at 1 they are the policy's, and at 0 all edges are alike.
    """
    if not len(trials.edge):
        return policy
    mean = policy[np.unique(trials.edge)].mean()
    candidates = [mean + w * (policy - mean) for w in APART]
    likely = np.array([trials.log_likelihood(expit(each)) for each in candidates])
    likely[0] += SURELY
    return candidates[np.argmax(likely)]


@frozen
class _Effects:
    """Effects on the log odds of edges, by group: of a kind, a fault, a caller, a callee, an edge.

    ``of_edge`` and ``of_trial`` number the members of a group, ``known`` holds their effects, and
    ``precision`` is that of the normal prior of each.
    """

    of_edge: dict[str, Integers]
    of_trial: dict[str, Integers]
    known: dict[str, Floats]
    precision: dict[str, float]
    edges_n: int

    @classmethod
    def of(cls, evidence: Failures, trials: Trials, settings: Table) -> _Effects:
        """Return effects of zero."""
        topology = evidence.topology
        edges_n = len(topology.edges)
        of_edge = {
            "kind": pd.factorize(topology.edges["kinds"])[0],
            "caller": topology.caller,
            "callee": topology.callee,
        }
        of_trial = {name: member[trials.edge] for name, member in of_edge.items()}
        of_trial[FAULT] = evidence.fault[trials.failure]
        of_trial["edge"] = trials.edge
        n = max(len(topology.nodes), edges_n)
        known = {name: np.zeros(n) for name in of_trial}
        known[FAULT] = np.zeros(len(evidence.faults))
        sds = {name: settings[f"{name}_sd"] for name in of_trial}
        precision = {name: max(sd, CERTAIN) ** -2 for name, sd in sds.items()}
        return cls(of_edge, of_trial, known, precision, edges_n)

    def learn(self, base: Floats, share: Floats) -> None:
        """Move the effects, group by group, to what explains the ``share`` of trials that failed.

        A logistic regression with normal priors. Each step takes the largest curvature that there
        can be, so that none goes too far (Böhning and Lindsay, Monotonicity of Quadratic
        Approximation Algorithms, AISM 40, 1988).
        """
        odds = self._odds(base)
        for name in list(self.of_trial) * PASSES:
            member = self.of_trial[name]
            effect = self.known[name]
            precision = self.precision[name]
            rest = np.bincount(member, share - expit(odds), len(effect))
            tries = np.bincount(member, minlength=len(effect))
            step = (rest - precision * effect) / (tries / 4 + precision)
            effect += step
            odds = odds + step[member]

    def _odds(self, base: Floats) -> Floats:
        """Return by trial its log odds with all effects."""
        effects = [self.known[name][each] for name, each in self.of_trial.items()]
        return base + sum(effects)

    def by_edge(self, base: Floats, share: Floats) -> Floats:
        """Return by edge the effects of its groups, as the other edges of a group teach them.

        Where effects are the likeliest, each is the sum of what its trials leave unexplained, times
        the variance of its prior. The edge's own part is taken off, so that it counts only once.
        """
        edge = self.of_trial["edge"]
        rest = np.bincount(edge, share - expit(self._odds(base)), self.edges_n)
        total = np.zeros(self.edges_n)
        for name, member in self.of_edge.items():
            others = np.bincount(member, rest)[member] - rest
            total += others / self.precision[name]
        return total


def _weight(p: Floats, strength: Floats, doubt: Floats) -> Floats:
    """Return the strength of each Beta distribution, reduced by doubt about causes.

    ``doubt`` is the variance of the failures that the edge caused; information is lost with it
    (Louis, Finding the Observed Information Matrix when Using the EM Algorithm, JRSS B 44, 1982).
    """
    variance = np.maximum(p * (1 - p), CERTAIN)
    return np.maximum(strength - doubt / variance, np.minimum(strength, 2.0))


def expit(x: Floats) -> Floats:
    """Return the chance of log odds."""
    return 1 / (1 + np.exp(-np.clip(x, -MOST, MOST)))


def logit(p: Floats) -> Floats:
    """Return the log odds of chances, which are kept off 0 and 1."""
    inside = np.clip(p, CERTAIN, 1 - CERTAIN)
    return np.log(inside) - np.log1p(-inside)


def at_fault(learned: Learned, fault: str) -> Floats:
    """Return by edge its probability for a kind of fault; for the fleet's mix if unknown."""
    shift = learned.shift.get(fault, 0.0)
    if fault == UNKNOWN or not shift:
        return learned.p
    return expit(logit(learned.p) + shift)


def flat_p(evidence: Failures, kept: Booleans) -> float:
    """Return the one probability of all edges that fits the kept failures; 1/2 without a trial."""
    trials = evidence.trials.where(kept[evidence.trials.failure])
    n = len(trials.edge)
    p = 0.5
    for _ in range(ROUNDS):
        caused = trials.shared(np.full(n, p)).sum()
        p = (caused + 0.5) / (n + 1)
    return p


def learns(policy: Policy, failures: list[Failure]) -> bool:
    """Return whether edges are learned: the policy allows it, and there are failures."""
    return policy["blast_radius"]["learned_edges"] != "off" and bool(failures)


def uses(policy: Policy) -> bool:
    """Return whether predictions use what failures taught."""
    return policy["blast_radius"]["learned_edges"] == "use"


def unexplained(policy: Policy, evidence: Failures) -> Unexplained | None:
    """Return the unexplained losses of one failure; None without observed failures."""
    if not evidence.failures:
        return None
    strength = policy["blast_radius"]["floor_strength"]
    floor = evidence.quiet.floor(evidence.every, strength)
    weight = evidence.topology.weight[: len(floor)]
    return Unexplained.of(floor, weight, policy.seed)


def learned_edges(policy: Policy, evidence: Failures) -> DataFrame:
    """Return the learned edges; no rows where edges are not learned.

    Columns ``src, dst, kinds, prior, tries_n, falls_n`` and ``lo, point, hi`` [0-1]. ``falls_n`` is
    the expected number of failures that the edge caused.
    """
    topology = evidence.topology
    if not learns(policy, evidence.failures):
        return topology.edges.iloc[:0]
    known = fit(evidence, evidence.every, policy["blast_radius"])
    lo, hi = known.interval(policy.level)
    p = known.p
    given = is_given(topology.edges)
    table = topology.edges[["src", "dst", "kinds"]]
    return table.assign(
        prior=topology.edges["point"],
        tries_n=known.tries,
        falls_n=known.caused,
        lo=np.where(given, p, np.minimum(lo, p)),
        point=p,
        hi=np.where(given, p, np.maximum(hi, p)),
    )


def with_lessons(topology: Topology, policy: Policy, learned: DataFrame) -> Topology:
    """Return the topology that expects what was learned, if the policy uses it."""
    if not uses(policy) or learned.empty:
        return topology
    edges = topology.edges
    # kinds of edges that were never tried keep the policy's probabilities
    known = learned["kinds"].isin(learned.loc[learned["tries_n"] > 0, "kinds"])
    # and so does an edge that breaks nothing, until it probably did
    known &= (edges["point"] > 0) | (learned["falls_n"] > HALF)
    known &= ~is_given(edges)
    point = learned["point"].where(known, edges["point"])
    # the upper end stays: that a failure spared a service does not put it out of reach
    lo = edges["lo"].clip(upper=learned["lo"].where(known))
    return replace(topology, edges=edges.assign(lo=lo, point=point))


def is_given(edges: DataFrame) -> Booleans:
    """Mark edges declared impossible or certain: failures do not change them."""
    is_certain = edges["point"].isin([0.0, 1.0])
    return (edges["lo"].eq(edges["hi"]) & is_certain).to_numpy()
