"""Figures: one function per figure returns its Axes; ``<name>_data`` is the frame behind it."""

from assess.figures.claims import backtest, claim, claim_data, claims, claims_data
from assess.figures.fleet import (
    clocks,
    clocks_data,
    coverage,
    coverage_data,
    history,
    history_data,
    upgrade_churn,
    upgrade_churn_data,
)
from assess.figures.impact import (
    blast_radius,
    blast_radius_data,
    blast_services,
    blast_services_data,
    experiments,
    experiments_data,
    exposure,
    exposure_data,
    fall,
    fall_data,
    moves,
    moves_data,
)
from assess.figures.services import (
    acceptability,
    acceptability_data,
    quarter_change,
    quarter_change_data,
    readiness,
    readiness_data,
    targets,
    targets_data,
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
