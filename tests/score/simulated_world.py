"""Simulated systems whose edges fail by known probabilities, of several families.

Nothing here is tuned to the model: a family says what decides the probability of an edge, and only
one of them is what the policy expects.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import assess

FAMILIES = ("alike", "mixed", "callers", "callees", "many", "faults", "shown")
FAULTS = {"crash": 1.5, "latency": 0.3, "cpu": -0.8, "network": 0.0}  # shift of log odds
NOISE = 0.01  # chance that a service falls without any reason


def expit(x):
    return 1 / (1 + np.exp(-x))


def calls(rng, services):
    """Who calls whom, from the front to the stores: some call many, some stores are shared."""
    pairs = []
    for caller in range(services - 1):
        below = np.arange(caller + 1, services)
        n = min(
            len(below), 1 + rng.poisson(1.0) + (rng.random() < 0.1) * rng.integers(2, 9)
        )
        weight = 1 / (1 + 0.3 * (below - caller))
        weight = np.where(below > 0.8 * services, weight + 0.3, weight)
        chosen = rng.choice(below, n, replace=False, p=weight / weight.sum())
        pairs += [(caller, int(callee)) for callee in chosen]
    # a few call back
    back = rng.integers(1, services, (services // 15, 2))
    pairs += [(int(max(p)), int(min(p))) for p in back if p[0] != p[1]]
    return np.array(sorted(set(pairs)))


def chance_of(rng, family, pairs, services):
    """Log odds of each edge, as the family has it."""
    caller, callee = pairs.T
    n = len(pairs)
    noise = rng.normal(0, 0.5, n)
    if family == "alike":
        return np.full(n, rng.normal(0.3, 0.5))
    if family == "callers":
        return rng.normal(0, 1.5, services)[caller] + noise
    if family == "callees":
        return rng.normal(0, 1.5, services)[callee] + noise
    if family == "many":
        d = np.bincount(caller, minlength=services)[caller]
        p = np.clip(rng.uniform(0.6, 0.95) / d ** rng.uniform(0.2, 0.6), 0.02, 0.98)
        return np.log(p / (1 - p)) + noise
    return rng.normal(0, 1.5, n)


def world(seed, family, *, services=40, elements=None, times=6):
    """Return dependencies, experiments and the log odds of each edge."""
    rng = np.random.default_rng(seed)
    pairs = calls(rng, services)
    log_odds = chance_of(rng, family, pairs, services)
    names = np.array([f"s{i:04}" for i in range(services)])
    failing = rng.permutation(services)[: elements or services // 2]
    tastes = rng.normal(0, 1.3, services)
    rows = []
    for element in np.repeat(failing, times):
        fault = str(rng.choice(list(FAULTS)))
        shift = FAULTS[fault] if family in ("faults", "shown") else 0.0
        if family == "shown":
            down = showing(rng, pairs, tastes + shift, int(element), services)
        else:
            down = fallen(rng, pairs, expit(log_odds + shift), int(element), services)
        rows.append(
            {
                "element": names[element],
                "fault": fault,
                "affected_services": ";".join(names[down]),
            }
        )
    edges = pd.DataFrame({"src_id": names[pairs[:, 0]], "dst_id": names[pairs[:, 1]]})
    faults = pd.DataFrame(rows)
    faults["observed_services"] = ";".join(names)
    return edges, faults, log_odds


def showing(rng, pairs, tastes, element, services):
    """Fail one service: who shows it, by taste and distance, whoever stands between."""
    steps = np.full(services, np.inf)
    steps[element] = 0
    for _ in range(services):
        near = steps[pairs[:, 1]] + 1
        np.minimum.at(steps, pairs[:, 0], near)
    p = expit(0.8 - 0.7 * (np.minimum(steps, 9) - 1) + tastes)
    down = rng.random(services) < np.where(np.isfinite(steps), p, NOISE)
    down[element] = True
    return down


def fallen(rng, pairs, p, element, services, *, noise=NOISE):
    """Fail one service: who goes down with it."""
    live = pairs[rng.random(len(pairs)) < p]
    down = np.arange(services) == element
    before = -1
    while down.sum() != before:
        before = down.sum()
        down[live[down[live[:, 1]], 0]] = True
    return down | (rng.random(services) < noise)


def average_precisions(seed, family, *, services, policy=None):
    """By rule, its average precision for who else went down."""
    edges, faults, _ = world(seed, family, services=services, times=240 // services)
    skill = assess.judge_outside(edges, faults, policy or assess.load_policy())["skill"]
    names = [
        ", ".join(filter(None, pair)) for pair in skill[["rule", "left_out"]].to_numpy()
    ]
    return dict(zip(names, skill["average_precision_others"], strict=True))
