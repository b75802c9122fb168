"""Which experiment next, tried on simulated systems: how soon every weak edge is found."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from simulated_world import calls, expit, fallen

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.failures import Failure
from assess.score.blast_radius.learning import Failures, fit
from assess.score.blast_radius.topology import build_topology
from assess.score.blast_radius.uncertain import Sampling
from assess.score.experiments import Doubt, worth
from assess.score.validation import chances_in

POLICY = load_policy()
SAMPLING = replace(Sampling.of(POLICY), draws=200, draws_least=200)
WEAK = 0.7  # an edge along which a failure mostly spreads
FOUND = 0.9  # times that it was seen to do so, causes shared
ORDERS = ("assess", "random", "largest blast first")


@cache
def system(seed, services):
    """A system whose edges fail by probabilities that only the test knows; once for all orders."""
    rng = np.random.default_rng(seed)
    pairs = calls(rng, services)
    p = expit(rng.normal(0, 1.5, len(pairs)))
    names = np.array([f"s{i:03}" for i in range(services)])
    edges = {
        "src_id": names[pairs[:, 0]],
        "dst_id": names[pairs[:, 1]],
        "kind": "call",
        "evidence": "known",
    }
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": 1.0}),
        "dependencies": pd.DataFrame(edges),
    }
    fleet = build_topology(from_frames(frames, snapshot_at="2026-09-30"), POLICY)
    return fleet, pairs, p


def found(fleet, failures):
    """What failures teach, and by edge how often it was seen to spread a failure."""
    every = np.ones(len(failures), bool)
    return fit(Failures.of(fleet, failures), every, POLICY["blast_radius"])


@cache
def first_down(fleet):
    """By element what is down when it fails, before anything spreads."""
    return fleet.initially_down(list(fleet.elements), "point")


def down_with(fleet, p):
    """By element and node its chance to go down."""
    graph = fleet.graphs["point"]
    first = first_down(fleet)
    return csr_array(chances_in(graph, np.tile(p, (len(first), 1)), first, SAMPLING))


def chosen(fleet, known):
    """The experiment that is worth most."""
    n = len(fleet.services)
    down = down_with(fleet, known.p)
    doubt = Doubt.of(fleet, known)
    return int(worth(fleet, down, doubt, np.arange(n), np.zeros(n)).value.argmax())


def experiments_needed(seed, order, *, services=20, most=400):
    """Fail one service after another until every weak edge is found; also what went down."""
    fleet, pairs, p = system(seed, services)
    rng = np.random.default_rng([seed, services])
    weak = p >= WEAK
    failures, lost = [], 0
    known = found(fleet, failures)
    impact = down_with(fleet, known.p).sum(axis=1)
    largest = np.argsort(-impact, kind="stable")
    shuffled = rng.permutation(services)
    while (known.caused[weak] < FOUND).any() and len(failures) < most:
        turn = len(failures) % services
        if order == "assess":
            element = chosen(fleet, known)
        elif order == "random":
            if not turn:
                shuffled = rng.permutation(services)
            element = int(shuffled[turn])
        else:
            element = int(largest[turn])
        down = fallen(rng, pairs, p, element, services, noise=0)
        name = ("service", str(fleet.services[element]))
        seen = np.ones(services, bool)
        failures.append(Failure("experiment", f"{len(failures)}", name, seen, down))
        lost += int(down.sum())
        known = found(fleet, failures)
    return len(failures), lost
