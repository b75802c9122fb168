"""The smallest sets of fixes that change a decision."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

MAX_FIXES = 3


def smallest_fixes(
    atoms: pd.DataFrame, weights: dict[str, float], bar: float
) -> list[tuple[str, ...]]:
    """Find the smallest sets of checks that, once passed, lift the lower bound over a bar.

    Parameters
    ----------
    atoms : DataFrame
        Of one service: ``check, dimension, state, value, weight``; na left out.
    weights : dict of str to float
        Weight of each dimension. [share]
    bar : float
        Readiness to reach. [points 0-100]

    Returns
    -------
    list of tuple of str
        Sets of at most three checks, all of the smallest size that works, at most three of them.
    """
    value = (
        atoms["value"].where(atoms["state"].isin(["pass", "partial", "fail"]), 0.0).astype(float)
    )
    known = value.fillna(0.0).to_numpy()
    weight = atoms["weight"].to_numpy(dtype=float)
    codes, names = pd.factorize(atoms["dimension"])
    total = np.bincount(codes, weight, minlength=len(names))
    dimension_weight = np.array([weights[name] for name in names], dtype=float)
    have = np.bincount(codes, weight * known, minlength=len(names))
    gain = weight * (1 - known)
    open_checks = np.flatnonzero(gain > 0)
    for size in range(1, MAX_FIXES + 1):
        sets = np.array(list(combinations(open_checks, size)), dtype=int).reshape(-1, size)
        lifted = np.tile(have, (len(sets), 1))
        for column in sets.T:
            np.add.at(lifted, (np.arange(len(sets)), codes[column]), gain[column])
        points = np.maximum(100 * lifted / total, 1.0)
        overall = np.exp(np.log(points) @ dimension_weight / dimension_weight.sum())
        enough = np.flatnonzero(overall >= bar)
        if len(enough):
            best = enough[np.argsort(-overall[enough], kind="stable")][:MAX_FIXES]
            return [tuple(atoms["check"].iloc[sets[i]]) for i in best]
    return []
