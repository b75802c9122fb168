"""What Konveyor would say of the same answers: its risk and its confidence, as its hub has them.

The formulas are those of konveyor/tackle2-hub, ``assessment/assessment.go`` (``Risk`` and
``Confidence``, the latter "a reimplementation of the calculation done by Pathfinder"), kept as they
are: an unanswered question earns 70 of 100, and every red answer halves what all others earn.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from assess.score.readiness.readiness import dimension_scores, dimension_weights, overall

THRESHOLDS = {
    "red": 5,
    "yellow": 30,
    "unknown": 5,
}  # percent; of its questionnaire "Pathfinder"
_ADJUSTER = {"red": 0.5, "yellow": 0.98}
_MULTIPLIER = {"red": 0.6, "yellow": 0.95}
_WEIGHT = {"red": 1, "yellow": 80, "green": 100, "unknown": 70}
COLOURS = {"pass": "green", "partial": "yellow", "fail": "red"}


def risk(counts: Mapping[str, int], thresholds: Mapping[str, float] = THRESHOLDS) -> str:
    """Give the risk of an assessment.

    Parameters
    ----------
    counts : mapping of str to int
        Questions by colour; those without an answer are ``unknown``. [count]
    thresholds : mapping of str to float
        Share of the questions from which on a colour decides. [percent]

    Returns
    -------
    str
        The first of red, yellow and unknown that reaches its share, else green.
    """
    total = sum(counts.values())
    if total == 0:
        return "unknown"
    reached = (
        c for c, least in thresholds.items() if counts.get(c, 0) / total >= least / 100
    )
    return next(reached, "green")


def confidence(counts: Mapping[str, int]) -> int:
    """Give the confidence of an assessment.

    Parameters
    ----------
    counts : mapping of str to int
        As in `risk`.

    Returns
    -------
    int
        0 to 100; fractions are cut off.
    """
    total = sum(counts.values())
    if total == 0:
        return 0
    adjuster, earned = 1.0, 0.0
    for colour, factor in _ADJUSTER.items():
        adjuster *= factor ** counts.get(colour, 0)
    for colour, factor in _MULTIPLIER.items():
        for _ in range(counts.get(colour, 0)):
            earned = earned * factor + _WEIGHT[colour] * adjuster
    for colour in ("green", "unknown"):
        earned += counts.get(colour, 0) * _WEIGHT[colour] * adjuster
    return int(earned / (_WEIGHT["green"] * total) * 100)


def compare(atoms: pd.DataFrame, weights: Mapping[str, float]) -> pd.DataFrame:
    """Set Konveyor's figures beside readiness, with every failing answer told and then hidden.

    Parameters
    ----------
    atoms : DataFrame
        As `checks.decide` gives them: each check that applies is a question, green where it
        passes, yellow in part, red where it fails, and without an answer where it is unknown.
    weights : mapping of str to float
        Weight of every dimension of readiness.

    Returns
    -------
    DataFrame
        Index service_id; ``risk, confidence`` [points 0-100], ``readiness_lo`` [points 0-100] and
        ``coverage`` [share 0-1]; and the same with ``_hidden`` once all red answers are taken away.
    """
    fails = atoms["state"].eq("fail")
    hidden = atoms.assign(
        state=atoms["state"].mask(fails, "unknown"), value=atoms["value"].mask(fails)
    )
    return _figures(atoms, weights).join(_figures(hidden, weights).add_suffix("_hidden"))


def _figures(atoms: pd.DataFrame, weights: Mapping[str, float]) -> pd.DataFrame:
    asked = atoms[atoms["state"] != "na"]
    colour = asked["state"].map(COLOURS).fillna("unknown")
    table = pd.crosstab(asked["service_id"], colour)
    counts = table.to_dict("index")
    scores = dimension_scores(atoms)
    ready = overall(scores, dimension_weights(scores, weights))
    known = (
        asked["weight"]
        .where(asked["value"].notna(), 0.0)
        .groupby(asked["service_id"])
        .sum()
    )
    return pd.DataFrame(
        {
            "risk": [risk(own) for own in counts.values()],
            "confidence": [confidence(own) for own in counts.values()],
            "readiness_lo": ready["readiness_lo"].reindex(table.index),
            "coverage": known / asked["weight"].groupby(asked["service_id"]).sum(),
        },
        index=table.index,
    )
