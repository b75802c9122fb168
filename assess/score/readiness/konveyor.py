"""Konveyor's risk and confidence, from the same answers, beside readiness.

The formulas are those of konveyor/tackle2-hub, ``assessment/assessment.go`` (``Risk`` and
``Confidence``, the latter "a reimplementation of the calculation done by Pathfinder"), kept as they
are: an unanswered question earns 70 of 100, and every red answer halves what all others earn.
"""

from collections.abc import Mapping

import pandas as pd
from pandas import DataFrame

from assess.score import readiness

# percent of the questions; those of Konveyor's questionnaire "Pathfinder"
THRESHOLDS = {"red": 5, "yellow": 30, "unknown": 5}
_ADJUSTER = {"red": 0.5, "yellow": 0.98}
_MULTIPLIER = {"red": 0.6, "yellow": 0.95}
_WEIGHT = {"red": 1, "yellow": 80, "green": 100, "unknown": 70}
COLOURS = {"pass": "green", "partial": "yellow", "fail": "red"}


def risk(counts: Mapping[str, int]) -> str:
    """Return the first of red, yellow and unknown whose share reaches its threshold [percent]."""
    # ``counts`` are questions by colour; it is green where no threshold is reached.
    total = sum(counts.values())
    if total == 0:
        return "unknown"
    for colour, least in THRESHOLDS.items():
        if counts.get(colour, 0) / total >= least / 100:
            return colour
    return "green"


def confidence(counts: Mapping[str, int]) -> int:
    """Return the confidence of an assessment, 0 to 100; fractions are cut off."""
    total = sum(counts.values())
    if total == 0:
        return 0
    adjuster = 1.0
    for colour, factor in _ADJUSTER.items():
        adjuster *= factor ** counts.get(colour, 0)
    earned = 0.0
    # as in the hub: each red or yellow answer also shrinks what was earned before it
    for colour, factor in _MULTIPLIER.items():
        for _ in range(counts.get(colour, 0)):
            earned = earned * factor + _WEIGHT[colour] * adjuster
    for colour in ("green", "unknown"):
        earned += counts.get(colour, 0) * _WEIGHT[colour] * adjuster
    return int(earned / (_WEIGHT["green"] * total) * 100)


def compare(atoms: DataFrame, weights: Mapping[str, float]) -> DataFrame:
    """Compare Konveyor's figures with readiness, before and after failing answers are hidden.

    Index service_id; ``risk, confidence`` [points 0-100], ``readiness_lo`` [points 0-100] and
    ``coverage`` [share 0-1]; and the same with ``_hidden``, once every red answer is taken away.
    Each check that applies is a question, green where it passes, yellow in part, red where it
    fails, unanswered where it is unknown.
    """
    fails = atoms["state"].eq("fail")
    hidden = atoms.assign(
        state=atoms["state"].mask(fails, "unknown"), value=atoms["value"].mask(fails)
    )
    return _figures(atoms, weights).join(_figures(hidden, weights).add_suffix("_hidden"))


def _figures(atoms: DataFrame, weights: Mapping[str, float]) -> DataFrame:
    asked = atoms[atoms["state"] != "na"]
    colour = asked["state"].map(COLOURS).fillna("unknown")
    table = pd.crosstab(asked["service_id"], colour)
    counts = table.to_dict("index").values()
    risks = [risk(answers) for answers in counts]
    confidences = [confidence(answers) for answers in counts]
    sums = readiness.weight_sums(atoms)
    scores = readiness.dimension_scores(sums)
    ready = readiness.overall(scores, readiness.dimension_weights(scores, weights))
    by_service = sums.groupby("service_id").sum()
    return DataFrame(
        {
            "risk": risks,
            "confidence": confidences,
            "readiness_lo": ready["readiness_lo"],
            "coverage": readiness.coverage(by_service["unknown"], by_service["total"]),
        },
        index=table.index,
    )
