"""Simulated systems whose edges fail by known probabilities, of several families.

Nothing here is tuned to the model: a family says what decides the probability of an edge, and only
one of them is what the policy expects.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import assess
from assess.inventory import from_frames
from assess.score.validation.skill import average_precision

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


def later(seed, family, *, services, taught):
    """Judge what is published of failures that come after the ``taught`` ones, by what is used.

    By the policy's ``learned_edges``: average precision for who else went down, and the share of
    failures inside ``next_lo, next_hi``.
    """
    edges, faults, _ = world(seed, family, services=services, times=12)
    order = np.random.default_rng(seed).permutation(len(faults))
    days = pd.date_range("2026-01-01", periods=taught, tz="UTC")
    experiments = faults.iloc[order[:taught]].assign(
        experiment_id=[f"x{number}" for number in range(taught)],
        element_kind="service",
        started_at=days,
        ended_at=days + pd.Timedelta(hours=1),
    )
    names = faults["observed_services"].iloc[0].split(";")
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": 1.0}),
        "dependencies": edges.assign(kind="call", evidence="known"),
        "experiments": experiments,
    }
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    known = faults.iloc[order[taught:]]
    down = np.array(
        [[name in row.split(";") for name in names] for row in known["affected_services"]]
    )
    other = known["element"].to_numpy()[:, None] != np.array(names)
    found = {}
    for use in ("off", "use"):
        policy = assess.load_policy().replace(blast_radius={"learned_edges": use})
        blast = assess.score_blast_radius(inventory, policy, detail=False)
        pairs = blast.details["affected"].astype({"element": "str", "service_id": "str"})
        table = pairs.pivot(index="element", columns="service_id", values="p_down")
        p = table.reindex(index=known["element"], columns=names).fillna(0).to_numpy()
        ends = blast.frame.loc["service"].loc[known["element"]]
        share = down.mean(axis=1)
        inside = (share >= ends["next_lo"] - 1e-9) & (share <= ends["next_hi"] + 1e-9)
        found[use] = average_precision(p[other], down[other])
        found[f"inside, {use}"] = inside.mean()
    return found


def held_by_intervals(seed, family, *, services, noise=0.0, taught=0, times=40):
    """By element: how many services it can reach, the share of failures inside, and widths.

    Chances of edges are given. So many failures ``taught`` are in the inventory. ``best`` is the
    width of the narrowest interval that holds at least as many of the same failures.
    """
    rng = np.random.default_rng(seed)
    names = np.array([f"s{i:03}" for i in range(services)])
    pairs = calls(rng, services)
    p = expit(chance_of(rng, family, pairs, services))
    weight = rng.lognormal(0, 1, services)
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": weight}),
        "dependencies": pd.DataFrame(
            {
                "src_id": names[pairs[:, 0]],
                "dst_id": names[pairs[:, 1]],
                "kind": "call",
                "evidence": "known",
                "p": p,
            }
        ),
    }
    if taught:
        lessons = []
        for number, element in enumerate(rng.integers(0, services, taught)):
            down = fallen(rng, pairs, p, element, services, noise=noise)
            lessons.append(
                {
                    "experiment_id": f"x{number}",
                    "element_kind": "service",
                    "element": names[element],
                    "started_at": "2026-09-01",
                    "affected_services": ";".join(names[down]),
                    "observed_services": ";".join(names),
                }
            )
        frames["experiments"] = pd.DataFrame(lessons)
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    policy = assess.load_policy().replace(blast_radius={"learned_edges": "off"})
    frame = assess.score_blast_radius(inventory, policy, detail=False).frame
    rows = []
    for element, ends in enumerate(frame.loc["service"].loc[names].itertuples()):
        shares = np.array(
            [
                weight[fallen(rng, pairs, p, element, services, noise=noise)].sum()
                for _ in range(times)
            ]
        )
        shares = np.sort(shares / weight.sum())
        inside = (shares >= ends.next_lo - 1e-9) & (shares <= ends.next_hi + 1e-9)
        rows.append(
            {
                "reach": ends.services_down_n,
                "inside": inside.mean(),
                "width": ends.next_hi - ends.next_lo,
                "best": narrowest(shares, int(inside.sum())),
            }
        )
    return pd.DataFrame(rows)


def narrowest(values, n):
    """Return the width of the narrowest interval that holds ``n`` of the sorted values."""
    if n < 1:
        return 0.0
    return float((values[n - 1 :] - values[: len(values) - n + 1]).min())
