"""The figures of a report, each drawn when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

from assess import figures
from assess.errors import AssessError
from assess.report.model import Picture
from assess.score.assessment import Assessment
from assess.score.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Axis: TypeAlias = "Callable[[], Axes]"


class Pictures:
    """The figures of a report, by name; those of one quarter are known from the start."""

    def __init__(self, scores: Assessment) -> None:
        kinds = kinds_shown(scores)
        self._axes: dict[str, Axis] = {
            "what-next": partial(figures.what_next, scores.what_next),
            "acceptability": partial(figures.acceptability, scores.what_next),
            "blast-elements": partial(
                figures.blast_radius, scores.blast_radius, kinds=kinds
            ),
            "blast-services": partial(figures.blast_services, scores.blast_radius),
            "upgrade-churn": partial(figures.upgrade_churn, scores.upgrade_churn),
            "clocks": partial(figures.clocks, scores.upgrade_churn),
            "readiness": partial(figures.readiness, scores.readiness),
            "coverage": partial(figures.coverage, scores.inventory),
        }

    def compare(
        self,
        now: Result,
        before: Result | None,
        claims: Result,
        backtest: Result | AssessError,
    ) -> None:
        """Add the figures that need more than the scores of one quarter."""
        if before is not None:
            self._axes["quarter-change"] = partial(figures.quarter_change, now, before)
        self._axes["claims"] = partial(figures.claims, claims)
        if isinstance(backtest, Result):
            self._axes["backtest"] = partial(figures.backtest, backtest)

    def __call__(self, name: str, caption: str) -> Picture:
        """Return a figure for a section."""
        return picture(name, caption, self._axes[name])


def picture(name: str, caption: str, axes: Axis) -> Picture:
    """Return a figure that is drawn once, when it is first asked for."""

    @cache
    def drawing() -> tuple[str, str]:
        ax = axes()
        description = figures.describe(ax)  # before `svg` closes the figure
        return figures.svg(ax), description

    return Picture(name, caption, drawing)


def kinds_shown(scores: Assessment) -> list[str]:
    """Name the kinds of element that the report shows: services have a figure of their own."""
    kinds = scores.blast_radius.frame.index.get_level_values("element_kind")
    return sorted(set(kinds.astype("str")) - {"service"})
