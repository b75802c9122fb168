"""The figures of a report; they are drawn while its tables are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from assess import figures
from assess.errors import AssessError
from assess.figures.style import warm_up
from assess.report.ahead import Helper
from assess.report.model import Picture
from assess.report.scores import Scores
from assess.score.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Pictures:
    """Every figure of a report, by its name.

    Parameters
    ----------
    scores : Scores
        The scores of the quarter.
    earlier : Scores or None
        Those of the quarter before.
    claims : Result
        The claims, judged.
    backtest : Result or AssessError
        Drawn where it is a result.
    helper : Helper
        Draws them.
    """

    def __init__(
        self,
        scores: Scores,
        earlier: Scores | None,
        claims: Result,
        backtest: Result | AssessError,
        helper: Helper,
    ) -> None:
        """Start to draw."""
        told = {name: part for name, part in (("claims", claims), ("backtest", backtest))
                if isinstance(part, Result)}  # fmt: skip
        self._drawn = helper.ahead(partial(_draw, scores, earlier, told))

    def __call__(self, name: str, caption: str) -> Picture:
        """Give a figure to a section."""
        return Picture(name, caption, lambda: self._drawn()[name])


def draughtsman() -> Helper:
    """Start a process for the drawings: to load what draws takes as long as a score."""
    return Helper(warm_up)


def kinds_shown(scores: Scores) -> list[str]:
    """Name the kinds of element that the report shows: services have a figure of their own."""
    kinds = scores.blast.frame.index.get_level_values("element_kind")
    return sorted(set(kinds.astype("str")) - {"service"})


def _draw(
    scores: Scores, earlier: Scores | None, told: Mapping[str, Result]
) -> dict[str, tuple[str, str]]:
    return {
        name: (figures.svg(ax), figures.describe(ax)) for name, ax in _axes(scores, earlier, told)
    }


def _axes(
    scores: Scores, earlier: Scores | None, told: Mapping[str, Result]
) -> Iterator[tuple[str, Axes]]:
    if earlier is not None:
        yield "quarter-change", figures.quarter_change(scores.readiness, earlier.readiness)
    yield "what-next", figures.what_next(scores.ranking)
    yield "acceptability", figures.acceptability(scores.ranking)
    yield "blast-elements", figures.blast_radius(scores.blast, kinds=kinds_shown(scores))
    yield "blast-services", figures.blast_services(scores.blast)
    yield "upgrade-churn", figures.upgrade_churn(scores.churn)
    yield "clocks", figures.clocks(scores.churn)
    yield "readiness", figures.readiness(scores.readiness)
    yield "coverage", figures.coverage(scores.inventory)
    for name, result in told.items():
        yield name, getattr(figures, name)(result)
