"""The report of a quarter, built from scores, and the decision record of a service."""

from collections.abc import Mapping
from typing import Any

from pandas import DataFrame

from assess.errors import AssessError
from assess.execution import beside, tell
from assess.inventory import Inventory
from assess.policy import Policy
from assess.report import background, cards, changes, sections
from assess.report.model import Appendix
from assess.report.record import decision_record
from assess.report.report import STEPS, WORK, Report
from assess.report.sections import headline
from assess.score.assessment import Assessment
from assess.score.backtest import Backtest
from assess.score.result import Result
from assess.score.upgrade_churn.history import History, joined
from assess.score.validation import CHECKS

__all__ = ["Appendix", "Report", "build_report", "decision_record"]


def build_report(  # noqa: PLR0913 - one for each period that it covers
    inventory: Inventory,
    policy: Policy,
    *,
    previous: Inventory | None = None,
    history: History | None = None,
    since: History | None = None,
    published: Mapping[str, Any] | None = None,
) -> Report:
    """Score a snapshot and build its report.

    Parameters
    ----------
    inventory : Inventory
        The fleet in this quarter.
    policy : Policy
        The policy. It also scores the earlier snapshot: both quarters use the same policy.
    previous : Inventory, optional
        The fleet in the quarter before.
    history : History, optional
        Upgrades shown by the snapshots before that one, as returned by `upgrade_history`.
    since : History, optional
        Upgrades shown by the snapshots between the two.
    published : mapping, optional
        The report of that quarter as published then, as returned by `Report.to_dict`. With it the
        report shows labels changed by the policy, the reference facts or the version.

    Returns
    -------
    Report
        The same inventory, policy and version give the same bytes.

    Examples
    --------
    >>> previous = assess.load("sample:2026Q2")
    >>> report = assess.build_report(inventory, policy, previous=previous)
    >>> report.save_html("index.html")
    """
    tell(WORK, 1, STEPS)
    earlier = None
    past = history
    if previous is not None:
        earlier = Assessment(previous, policy, history)
        past = earlier.upgrades
    scores = Assessment(inventory, policy, joined([past, since]), earlier)
    with beside(_before, scores) as before:
        first = headline(scores)  # by every score of a service
        was, tested = before()
    if earlier:
        earlier.take(was)
    if isinstance(tested, Backtest):
        scores.take({"backtest": tested})
    tell(WORK, 2, STEPS)
    with beside(_fleet_wide, scores) as fleet_wide:
        claims = scores.claims
        tell(WORK, 3, STEPS)
        decision = sections.decision(scores)
        changed = changes.changes(scores, published=published)
        churn = sections.upgrade_churn(scores)
        made, tables = fleet_wide()
        scores.take(made)
        for name, some in tables.items():
            details: Any = scores.score(name).details
            details.take(some)
    parts = (
        decision,
        changed,
        sections.ranking(scores),
        sections.blast_radius(scores),
        churn,
        sections.targets(scores),
        background.claims(scores),
        cards.cards(scores),
        background.unknowns(scores),
        background.coverage(scores),
        background.backtest(scores, tested),
        background.method(scores),
    )
    tell(WORK, 4, STEPS)
    return Report(scores, claims, tested, first, parts)


def _before(
    scores: Assessment,
) -> tuple[dict[str, Result], Backtest | AssessError]:
    """Return scores of the quarter before, by property, and how its forecasts did."""
    earlier = scores.earlier
    if earlier is None:
        return {}, _backtest(scores)
    was = {"readiness": earlier.readiness, "what_next": earlier.what_next}
    return was, _backtest(scores)


# tables of scores that take long, and that nothing before them reads
_LATER = {"blast_radius": CHECKS, "what_next": ("boards",)}


def _fleet_wide(
    scores: Assessment,
) -> tuple[dict[str, Result], dict[str, dict[str, DataFrame]]]:
    """Return scores by property, and tables of other scores by score and name."""
    tables = {
        score: {name: scores.score(score).details[name] for name in names}
        for score, names in _LATER.items()
    }
    return {"targets": scores.targets, "experiments": scores.experiments}, tables


def _backtest(scores: Assessment) -> Backtest | AssessError:
    """Return the back-test of the earlier quarter, or why there is none."""
    try:
        return scores.backtest
    except AssessError as error:
        return error
