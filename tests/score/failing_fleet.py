"""A fleet that fails by probabilities that are known, for tests of what failures teach."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assess.inventory import from_frames

AT = "2026-09-30"
MEANS = {"call": 0.75, "cache": 0.3}  # probability of the average edge of a kind
STRENGTH = 3.0  # how alike its edges are


def failing_fleet(seed, *, services=60, times=4, means=None):
    """Fail every service some times; give the inventory, and the probability of each edge."""
    rng, means = np.random.default_rng(seed), means or MEANS
    names = np.array([f"s{i:02}" for i in range(services)])
    pairs = [
        (src, int(dst))
        for src in range(1, services)
        for dst in np.sort(rng.choice(src, min(src, rng.integers(1, 4)), replace=False))
    ]
    src, dst = np.array(pairs).T
    kind = rng.choice(list(means), len(pairs))
    mean = np.array([means[k] for k in kind])
    p = rng.beta(mean * STRENGTH, (1 - mean) * STRENGTH)
    trials = []
    for number in range(times * services):
        down = np.arange(services) == number % services
        live = rng.random(len(pairs)) < p
        for caller in range(services):  # whom it calls has a smaller number
            down[caller] |= down[dst[live & (src == caller)]].any()
        trials.append(
            {
                "experiment_id": f"e{number:04}",
                "element_kind": "service",
                "element": names[number % services],
                "started_at": AT,
                "affected_services": ";".join(names[down]),
            }
        )
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": 1.0}),
        "dependencies": pd.DataFrame(
            {
                "src_id": names[src],
                "dst_id": names[dst],
                "kind": kind,
                "evidence": "board",
            }
        ),
        "experiments": pd.DataFrame(trials),
    }
    truth = pd.Series(p, index=pd.MultiIndex.from_arrays([names[src], names[dst]]))
    return from_frames(frames, snapshot_at=AT), truth
