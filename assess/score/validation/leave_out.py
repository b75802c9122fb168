"""Predict left-out failures from the other failures alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from assess.execution import tell
from assess.policy.policy import Policy
from assess.score.arrays import Booleans, Floats, Integers
from assess.score.blast_radius.bitset import sparse
from assess.score.blast_radius.failures import sample
from assess.score.blast_radius.learning import (
    Failures,
    Learned,
    at_fault,
    fit,
    flat_p,
    with_history,
)
from assess.score.blast_radius.topology import FAR, Graph, steps
from assess.score.blast_radius.uncertain import Sampling, decide
from assess.score.blast_radius.undecided import Undecided
from assess.score.validation.callers import (
    Opinion,
    Reach,
    codes,
    learn,
    pair_strength,
    together,
    trust,
)
from assess.score.validation.skill import Rule

WHAT = "checks against observed failures"
EVENT = "event"
ELEMENT = "element"
SCHEMES = (EVENT, ELEMENT)
LEARNED = "learned"
FLAT = "flat p"
GRID = 50  # flat probabilities are rounded to this part


def chances_in(
    graph: Graph, p: Floats, initially: Booleans, sampling: Sampling
) -> Floats:
    """Return by row and node the probability that it is down.

    ``p`` is by row and arc, ``initially`` marks by row the nodes that fail first.
    """
    calls = sparse(initially.shape[1:] * 2, graph.tail, graph.head)
    reach = steps(calls, initially) < FAR
    found = initially.astype(float)
    for row, each in enumerate(p):
        own = graph.with_chances(each)
        undecided = Undecided.of(own, initially[[row]], reach[[row]])
        found[row, undecided.node] = decide(own, undecided, sampling).p
    return found


def judged(evidence: Failures, policy: Policy) -> Integers:
    """Return the positions of the failures to predict: all, or a sample drawn with the seed."""
    most = int(policy["blast_radius"]["judged_most"])
    return sample(len(evidence.failures), most, policy.seed)


def left_out(
    evidence: Failures, policy: Policy, judged: Integers, sampling: Sampling
) -> tuple[dict[Rule, Floats], Reach]:
    """Predict the judged failures by rule and scheme: chances by failure and service.

    Rules are what is learned from the rest, and one flat p fitted on the rest. A scheme leaves out
    the failure alone, or every failure of its element. Also returns what the regression learned from.
    """
    topology = evidence.topology
    elements = [evidence.failures[position].element for position in judged]
    initial = topology.initially_down(elements, "point")
    sampling = replace(sampling, spread=False)
    graph = topology.graphs["point"]
    services_n = len(topology.services)
    keys = [(rule, scheme) for rule in (LEARNED, FLAT) for scheme in SCHEMES]
    chances = {key: np.zeros((len(judged), services_n)) for key in keys}
    reach = Reach.of(evidence, policy.seed)
    settings = policy["blast_radius"]
    least = settings["pair_strength"]
    total = len(SCHEMES) * len(judged)
    done = 0
    for scheme in SCHEMES:
        fitted: dict[int, tuple[Booleans, Learned, Opinion, float]] = {}
        flat = np.zeros((len(judged), 1))
        for rows, kept in _folds(evidence, judged, scheme):
            done += len(rows)
            tell(WHAT, done, total)
            opinion = learn(reach, kept)
            strength = pair_strength(reach, opinion, kept, least)
            fold = (kept, fit(evidence, kept, settings), opinion, strength)
            fitted |= dict.fromkeys(rows.tolist(), fold)
            flat[rows] = round(flat_p(evidence, kept) * GRID) / GRID
        every = [fitted[row] for row in range(len(judged))]
        p = [
            at_fault(known, evidence.failures[position].fault)
            for (_, known, *_), position in zip(every, judged, strict=True)
        ]
        start = [known.start for _, known, *_ in every]
        by_one_p = flat.repeat(len(p[0]), axis=1)
        by_rule = (np.array(start), np.array(p), by_one_p)
        *voices, by_flat = (
            chances_in(graph, each, initial, sampling)[:, :services_n] for each in by_rule
        )
        chances[FLAT, scheme] = by_flat
        for row, (kept, known, opinion, strength) in enumerate(every):
            trusted = trust(evidence, known.tries)
            own = [voice[row] for voice in voices]
            either = together(reach, opinion, int(judged[row]), own, trusted)
            # a service also falls by what no edge explains: independent causes
            beside = 1 - (1 - either) * (1 - known.floor)
            full = with_history(evidence, kept, elements[row], beside, strength)
            # what goes down directly with the element needs no prediction
            full[initial[row, :services_n]] = 1.0
            chances[LEARNED, scheme][row] = full
    return chances, reach


def _folds(
    evidence: Failures, judged: Integers, scheme: str
) -> Iterator[tuple[Integers, Booleans]]:
    """Yield rows of the judged failures that are left out together, and the failures kept."""
    label = np.arange(len(evidence.failures))
    if scheme == ELEMENT:
        label = codes([f.element for f in evidence.failures])
    for each in np.unique(label[judged]):
        yield np.flatnonzero(label[judged] == each), label != each
