"""Labels, from the gates, the chance of the short list and the lower bound of readiness.

No label depends on a point or on an upper bound: these rise when failing evidence is hidden.
"""

from typing import Any

import numpy as np
import pandas as pd

from assess.policy import Table
from assess.score import Objects
from assess.words import share

# a closed gate of what runs in containers already; any other means FIX
GATED_INSIDE = {"NEVER": "PULL BACK", "NOT DECIDABLE": "NOT DECIDABLE"}
# 0 is best; NEVER and NOT DECIDABLE are equal, because a service moves with neither
SEVERITY = {
    "MOVE NOW": 0,
    "PILOT": 1,
    "LATER": 2,
    "PREPARE": 3,
    "HOLD": 4,
    "NEVER": 5,
    "NOT DECIDABLE": 5,
    "KEEP": 0,
    "FIX": 1,
    "PULL BACK": 5,
}
LABELS = tuple(SEVERITY)


def labels(
    gates: Any, p_top: Any, readiness_lo: Any, inside: Any, settings: Table
) -> Objects:
    """Label services.

    MOVE NOW needs clear gates, a pessimistic chance of the first k (``p_top``, 0-1) of ``move_p``
    and a lower bound of readiness of ``ready_points``; PILOT a chance of ``pilot_p`` and
    ``pilot_points``; LATER is ready, but others come first; PREPARE is not ready. ``gates`` are NA
    where every gate passes; ``inside`` is what runs in containers already.

    An interval that crosses ``ready_points`` is judged by its lower bound alone: if the upper one
    counted, hiding what a service fails would help it.
    """
    gate_labels = np.array(list(gates), dtype=object)
    is_gated = ~pd.isna(gate_labels)
    is_inside = np.asarray(inside, bool)
    chance = np.array([None if p is pd.NA else p for p in p_top], float)
    chance[np.isnan(chance)] = 0.0
    ready = np.asarray(readiness_lo, float)
    is_likely = chance >= settings["pilot_p"]
    is_ready = ready >= settings["ready_points"]
    result = np.full(len(gate_labels), "PREPARE", dtype=object)
    # weakest label first: a later line overrides an earlier one
    result[is_ready] = "LATER"
    result[is_likely & (ready >= settings["pilot_points"])] = "PILOT"
    result[(chance >= settings["move_p"]) & is_ready] = "MOVE NOW"
    result[is_inside] = np.where(is_ready, "KEEP", "FIX")[is_inside]
    result[is_gated] = gate_labels[is_gated]
    both = is_gated & is_inside
    result[both] = [GATED_INSIDE.get(label, "FIX") for label in gate_labels[both]]
    return result


def reason(row: Any, settings: Table, k: int, candidates_n: int) -> str:
    """Return a sentence with the reason for the label of a service whose gates pass.

    ``row`` has ``label, p_top, readiness_lo, readiness_hi``; ``candidates_n`` services compete for
    ``k`` places.
    """
    needed = settings["ready_points"]
    is_ready = row.readiness_lo >= needed
    if row.label == "KEEP":
        return "All gates clear; ready even in the worst case."
    if row.label == "FIX":
        return f"All gates clear, but {_shortfall(row, needed)}."
    chance = f"in the top {k} in {share(row.p_top)} of weightings"
    if candidates_n <= k:
        chance = "on the short list, which has room for every candidate"
    if row.label == "MOVE NOW":
        return f"All gates clear; ready even in the worst case, and {chance}."
    if row.label == "PILOT" and is_ready:
        bar = f"MOVE NOW needs {share(settings['move_p'])}"
        return f"All gates clear; ready even in the worst case; {chance}, and {bar}."
    if row.label == "PILOT":
        return f"All gates clear; {chance}, but {_shortfall(row, needed)}."
    if row.label == "PREPARE":
        is_pilot = row.readiness_lo >= settings["pilot_points"]
        short = _shortfall(row, needed if is_pilot else settings["pilot_points"])
        return f"All gates clear; {chance}, but {short}."
    return (
        f"All gates clear; ready even in the worst case, but others come first: {chance}."
    )


def _shortfall(row: Any, needed: float) -> str:
    verb = "is" if row.readiness_hi < needed else "may be"
    return f"readiness {verb} below {needed}"
