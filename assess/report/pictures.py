"""The figures of a report; they are drawn while its tables are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from assess import figures
from assess.ahead import Helper
from assess.errors import AssessError
from assess.figures.style import warm_up
from assess.report.model import Picture
from assess.score.assessment import Assessment
from assess.score.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Drawn: TypeAlias = dict[str, tuple[str, str]]  # by name, the drawing and what it shows


class Pictures:
    """Every figure of a report, by its name.

    Parameters
    ----------
    scores : Assessment
        The scores of the quarter.
    helper : Helper
        Draws them.
    """

    def __init__(self, scores: Assessment, helper: Helper) -> None:
        """Start to draw the quarter."""
        self._helper = helper
        self._drawn = [helper.ahead(partial(_draw, _of_quarter, scores))]

    def compare(
        self,
        now: Result,
        before: Result | None,
        claims: Result,
        backtest: Result | AssessError,
    ) -> None:
        """Start to draw what it takes more than one quarter for.

        Parameters
        ----------
        now, before : Result
            Readiness of both quarters.
        claims : Result
            The claims, judged.
        backtest : Result or AssessError
            Drawn where it is a result.
        """
        told = {"claims": claims, "backtest": backtest}
        shown = {name: part for name, part in told.items() if isinstance(part, Result)}
        self._drawn.append(
            self._helper.ahead(partial(_draw, _of_quarters, now, before, shown))
        )

    def __call__(self, name: str, caption: str) -> Picture:
        """Give a figure to a section."""
        return Picture(name, caption, lambda: self._find(name))

    def _find(self, name: str) -> tuple[str, str]:
        return next(found for drawn in self._drawn if (found := drawn().get(name)))


def draughtsman() -> Helper:
    """Start a process for the drawings."""
    return Helper(get_ready)


def get_ready() -> None:
    """Load what draws, which takes as long as a score."""
    warm_up()


def kinds_shown(scores: Assessment) -> list[str]:
    """Name the kinds of element that the report shows: services have a figure of their own."""
    kinds = scores.blast_radius.frame.index.get_level_values("element_kind")
    return sorted(set(kinds.astype("str")) - {"service"})


def _draw(axes: Callable[..., Iterator[tuple[str, Axes]]], *of: Any) -> Drawn:
    return {name: (figures.svg(ax), figures.describe(ax)) for name, ax in axes(*of)}


def _of_quarter(scores: Assessment) -> Iterator[tuple[str, Axes]]:
    yield "what-next", figures.what_next(scores.what_next)
    yield "acceptability", figures.acceptability(scores.what_next)
    yield (
        "blast-elements",
        figures.blast_radius(scores.blast_radius, kinds=kinds_shown(scores)),
    )
    yield "blast-services", figures.blast_services(scores.blast_radius)
    yield "upgrade-churn", figures.upgrade_churn(scores.upgrade_churn)
    yield "clocks", figures.clocks(scores.upgrade_churn)
    yield "readiness", figures.readiness(scores.readiness)
    yield "coverage", figures.coverage(scores.inventory)


def _of_quarters(
    now: Result, before: Result | None, told: Mapping[str, Result]
) -> Iterator[tuple[str, Axes]]:
    if before is not None:
        yield "quarter-change", figures.quarter_change(now, before)
    for name, result in told.items():
        yield name, getattr(figures, name)(result)
