"""Labels: what the gates, the chance of the short list and the lower end of readiness add up to.

No label is read off a point or off an upper end: these rise when failing evidence is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.words import share

CANDIDATES = ("MOVE NOW", "PILOT", "PREPARE", "HOLD", "NEVER", "NOT DECIDABLE")
INSIDE = ("KEEP", "FIX", "PULL BACK")
LABELS = (*CANDIDATES, *INSIDE)
GATED_INSIDE = {"NEVER": "PULL BACK", "NOT DECIDABLE": "NOT DECIDABLE"}
# from good to bad; with neither of the last two does a service move, so neither is the better
STANDING = {
    "MOVE NOW": 0,
    "PILOT": 1,
    "PREPARE": 2,
    "HOLD": 3,
    "NEVER": 4,
    "NOT DECIDABLE": 4,
    "KEEP": 0,
    "FIX": 1,
    "PULL BACK": 4,
}


def labels(
    gates: Any, p_top: Any, readiness_lo: Any, inside: Any, settings: Mapping[str, Any]
) -> NDArray[np.object_]:
    """Label services.

    Parameters
    ----------
    gates : array_like of str
        Label of the gates of each; NA where every gate passes.
    p_top : array_like of float
        Pessimistic chance of being among the first k. [share 0-1]
    readiness_lo : array_like of float
        Lower end of readiness. [points 0-100]
    inside : array_like of bool
        Whether it runs in containers already.
    settings : mapping
        ``move_p, pilot_p`` [share 0-1], ``ready_points, pilot_points`` [points 0-100].

    Returns
    -------
    ndarray of str
        One label each. MOVE NOW: clear gates, a chance of ``move_p``, ready. PILOT: a chance of
        ``pilot_p``, and from ``pilot_points`` on. PREPARE: that chance, but less ready. HOLD:
        others come first.

    Notes
    -----
    An interval that crosses ``ready_points`` is judged by its lower end alone: were a service the
    better for the upper one, then hiding what it fails would help it.
    """
    told = np.array(list(gates), dtype=object)
    gated, within = ~pd.isna(told), np.asarray(inside, dtype=bool)
    chance = np.nan_to_num(
        np.array([None if p is pd.NA else p for p in p_top], dtype=float)
    )
    ready = np.asarray(readiness_lo, dtype=float)
    likely, is_ready = chance >= settings["pilot_p"], ready >= settings["ready_points"]
    given = np.full(len(told), "HOLD", dtype=object)
    given[likely] = "PREPARE"
    given[likely & (ready >= settings["pilot_points"])] = "PILOT"
    given[(chance >= settings["move_p"]) & is_ready] = "MOVE NOW"
    given[within] = np.where(is_ready, "KEEP", "FIX")[within]
    given[gated] = told[gated]
    inner = gated & within
    given[inner] = [GATED_INSIDE.get(label, "FIX") for label in told[inner]]
    return given


def reason(row: Any, settings: Mapping[str, Any], candidates_n: int) -> str:
    """Say why a service whose gates are clear has its label.

    Parameters
    ----------
    row : namedtuple
        ``label, p_top, readiness_lo, readiness_hi``.
    settings : mapping
        As in `labels`, and ``k``.
    candidates_n : int
        Services that compete. [count]

    Returns
    -------
    str
        A sentence.
    """
    bar, k = settings["ready_points"], settings["k"]
    if row.label == "KEEP":
        return "All gates clear, and ready even at worst."
    if row.label == "FIX":
        return f"Readiness may lie below {bar}."
    chance = f"in the top {k} in {share(row.p_top)} of weightings"
    if candidates_n <= k:
        chance = f"on a short list with room for all {candidates_n} candidates"
    below = "lies below" if row.readiness_hi < bar else "may lie below"
    short = row.readiness_lo < bar
    if row.label == "MOVE NOW":
        return f"All gates clear, ready even at worst, and {chance}."
    if row.label == "PILOT":
        ready = f", but readiness {below} {bar}" if short else ", and ready even at worst"
        likely = "" if row.p_top >= settings["move_p"] else "only "
        return f"Gates clear, {likely}{chance}{ready}."
    if row.label == "PREPARE":
        least = settings["pilot_points"]
        below = "lies below" if row.readiness_hi < least else "may lie below"
        return f"Gates clear and {chance}, but readiness {below} {least}."
    ready = f"readiness {below} {bar}" if short else "ready"
    return f"Gates clear and {ready}, but others come first: {chance}."
