"""Figures: one function per figure returns its Axes; ``<name>_data`` is the frame behind it."""

from __future__ import annotations

from assess.figures.claims import backtest, claim, claim_data, claims, claims_data
from assess.figures.impact import fall, fall_data, moves, moves_data
from assess.figures.ranks import acceptability, acceptability_data
from assess.figures.risk import (
    blast_radius,
    blast_radius_data,
    blast_services,
    blast_services_data,
    clocks,
    clocks_data,
    coverage,
    coverage_data,
    exposure,
    exposure_data,
    upgrade_churn,
    upgrade_churn_data,
)
from assess.figures.services import (
    history,
    history_data,
    quarter_change,
    quarter_change_data,
    readiness,
    readiness_data,
    what_next,
    what_next_data,
)
from assess.figures.style import (
    BANDS,
    LABELS,
    Band,
    band_of,
    describe,
    notebook_style,
    short,
    style,
    svg,
)
from assess.words import clean

__all__ = [
    "BANDS",
    "LABELS",
    "Band",
    "acceptability",
    "acceptability_data",
    "backtest",
    "band_of",
    "blast_radius",
    "blast_radius_data",
    "blast_services",
    "blast_services_data",
    "claim",
    "claim_data",
    "claims",
    "claims_data",
    "clean",
    "clocks",
    "clocks_data",
    "coverage",
    "coverage_data",
    "describe",
    "exposure",
    "exposure_data",
    "fall",
    "fall_data",
    "history",
    "history_data",
    "moves",
    "moves_data",
    "notebook_style",
    "quarter_change",
    "quarter_change_data",
    "readiness",
    "readiness_data",
    "short",
    "style",
    "svg",
    "upgrade_churn",
    "upgrade_churn_data",
    "what_next",
    "what_next_data",
]
