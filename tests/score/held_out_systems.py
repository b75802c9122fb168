"""Simulated systems as fleets see them: few failures, of which much goes unnoticed.

Each seed draws its family, its size, how often it failed, how much was not noticed, and how far
failures of one element differ in their severity. What is chosen is chosen on the seeds of `TUNED`;
what is reported comes from those of `UNTOUCHED`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from simulated_world import (
    FAMILIES,
    FAULTS,
    NOISE,
    calls,
    chance_of,
    expit,
    fallen,
    showing,
)

import assess

TUNED = range(1000, 1030)
UNTOUCHED = range(5000, 5030)
KINDS = (*FAMILIES, "both ends", "hard or soft")
UNNOTICED = 0.3  # at most, of what fell
UNOBSERVED = 0.2  # at most, of the services


def system(seed):
    """Return dependencies, experiments and the family of a system."""
    rng = np.random.default_rng(seed)
    family = KINDS[seed % len(KINDS)]
    services = int(rng.integers(8, 41))
    failures = int(rng.integers(10, 61))
    pairs = calls(rng, services)
    log_odds = chances(rng, family, pairs, services)
    tastes = rng.normal(0, 1.3, services)
    names = np.array([f"s{i:03}" for i in range(services)])
    failing = rng.permutation(services)[: rng.integers(3, services // 2 + 1)]
    spread = rng.uniform(0, 1)
    unnoticed = rng.uniform(0, UNNOTICED)
    unobserved = rng.uniform(0, UNOBSERVED)
    rows = []
    for element in rng.choice(failing, failures):
        fault = str(rng.choice(list(FAULTS)))
        shift = rng.normal(0, spread)
        if family in ("faults", "shown"):
            shift += FAULTS[fault]
        if family == "shown":
            down = showing(rng, pairs, tastes + shift, int(element), services)
        else:
            p = expit(log_odds + shift)
            down = fallen(rng, pairs, p, int(element), services, noise=NOISE)
        down &= rng.random(services) >= unnoticed
        seen = rng.random(services) >= unobserved
        rows.append(
            {
                "element": names[element],
                "fault": fault,
                "affected_services": ";".join(names[down]),
                "observed_services": ";".join(names[seen]),
            }
        )
    edges = pd.DataFrame({"src_id": names[pairs[:, 0]], "dst_id": names[pairs[:, 1]]})
    return edges, pd.DataFrame(rows), family


def chances(rng, family, pairs, services):
    """Return the log odds of each edge, as the family has it."""
    caller, callee = pairs.T
    if family == "both ends":
        ends = rng.normal(0, 1, (2, services))
        return ends[0, caller] + ends[1, callee]
    if family == "hard or soft":
        return np.where(rng.random(len(pairs)) < 0.5, 2.0, -2.5)
    return chance_of(rng, family, pairs, services)


def judged(seed, policy=None):
    """Return by rule its average precision for who else went down, and the family."""
    edges, faults, family = system(seed)
    skill = assess.judge_outside(edges, faults, policy or assess.load_policy())["skill"]
    names = skill["rule"].str.cat(skill["left_out"], sep=", ").str.removesuffix(", ")
    found = dict(zip(names, skill["average_precision_others"], strict=True))
    return {"seed": seed, "family": family, **found}
