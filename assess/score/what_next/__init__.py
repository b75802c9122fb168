"""What next: services ranked for a move to containers, over all weightings of the criteria.

Needs the scores of readiness, blast radius and upgrade churn, and effort and lead time of
services; what is absent widens intervals. Steps: `criteria` to one scale, `ranking` over
`weights` (SMAA-2), `labels`, `waves` within the exposure budget, and `flips`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from pandas import DataFrame, Series

from assess.inventory import Inventory
from assess.policy import Policy, Table
from assess.score import frozen
from assess.score.incidents import MIXED, exposure, in_containers
from assess.score.readiness.gates import NOT_DECIDABLE
from assess.score.result import (
    Explanation,
    Provenance,
    Result,
    Tables,
    plain_by,
    with_ends,
)
from assess.score.targets.refusals import REFUSED
from assess.score.what_next.flips import WHAT_IFS, what_ifs
from assess.score.what_next.labels import LABELS, reason
from assess.score.what_next.ranking import Ranking, criteria_table
from assess.score.what_next.waves import cycle_groups, exposure_budget, waves
from assess.words import Json, share

if TYPE_CHECKING:
    from assess.report.explorer import Explorer
    from assess.score.assessment import Assessment

NAMED = 3  # deciding facts in an explanation
ASKED = 5  # facts to find out in an explanation
LISTED = 8  # facts and boards of a service in its row
MEETING = "of the meeting"  # name of the board that `under` makes
MEETING_DRAWS = 2000

READINESS = [
    *with_ends("readiness"),
    "label_gates",
    "label_before_waivers",
    "could_move",
]
COLUMNS = [
    "label",
    "p_first",
    "p_top",
    "p_top_neutral",
    "p_top_cleared",
    "rank_expected",
    "wave",
    "group",
    "why",
    *READINESS,
    "confidence",
    "rank_equal",
    "owner",
    "platform",
]


@frozen
class WhatNext(Result):
    """Services, best candidate first, with the label that the evidence supports.

    ``budget`` is the number of services that may move at once, by the incidents of services in
    containers; ``k`` is the length of the short list.
    """

    budget: int = 0
    k: int = 0

    name = "what_next"
    summary_columns = (
        "label",
        "p_first",
        "p_top",
        "p_top_neutral",
        *with_ends("readiness"),
        "owner",
    )

    @property
    def headline(self) -> str:
        """The first service and how often it is first, in a sentence."""
        ranked = self.frame[self.frame["p_first"] > 0]
        if not ranked.empty:
            first = ranked["p_first"].idxmax()
            chance = share(ranked.loc[first, "p_first"])
            return f"{first} comes first in {chance} of all weightings of the criteria."
        movable = self.frame[~in_containers(self.frame["platform"])]
        is_refused = movable["why"].str.contains(REFUSED)
        is_refused &= movable["label"].ne(NOT_DECIDABLE)
        if len(movable) and is_refused.all():
            target = self.policy["target"]["id"]
            return f"No service is ranked: {target} takes none of the candidates."
        candidates = self.frame.loc[self.frame["p_top"].notna(), "label"]
        if len(candidates) and candidates.eq(NOT_DECIDABLE).all():
            return (
                "No service is ranked: too little is known about every candidate. Missing "
                "facts are a reason neither to move nor to stay."
            )
        if self.frame.empty:
            return "No service is ranked: the snapshot has no services."
        if candidates.empty:
            return "No service is ranked: every service runs in containers."
        return "No service is ranked yet: no candidate passes its gates."

    def explain(self, service_id: str) -> Explanation:
        """Explain the label of a service and its missing facts; the table holds its criteria."""
        row = self.row(service_id)
        lines = [f"Label: {row['label']}. {row['why']}"]
        boards = self._of("boards", service_id)
        differing = boards[boards["label"] != row["label"]]
        lines += [
            f"Label for the board {b.board}: {b.label}." for b in differing.itertuples()
        ]
        facts = self._of("information", service_id)
        deciding = facts[facts["decides"].astype(bool)].head(NAMED)
        if facts.empty:
            facts = self._of("missing", service_id)
        if len(facts):
            lines.append("To find out: " + "; ".join(facts["fact"].head(ASKED)) + ".")
        if len(deciding):
            lines.append("One of these answers alone can change the label:")
        lines += [
            f"{f.fact}: {f.label_if} if the answer is good, else {f.label_else}."
            for f in deciding.itertuples()
        ]
        flips = self._of("flips", service_id)
        if len(flips):
            sets = [f"{' and '.join(f.checks)} ({f.label})" for f in flips.itertuples()]
            lines.append("Smallest changes to another label: " + "; or ".join(sets) + ".")
        criteria = self._of("criteria", service_id).set_index("criterion")
        table = criteria[["point", "lo", "hi"]].round(2)
        return Explanation(f"{service_id}: what next", "\n".join(lines), table)

    def under(
        self,
        *,
        order: Sequence[str] = (),
        intervals: Mapping[str, tuple[float, float]] | None = None,
        weights: Mapping[str, float] | None = None,
        draws: int = MEETING_DRAWS,
    ) -> DataFrame:
        """Rank again by other preferences, fast enough for a meeting.

        Parameters
        ----------
        order : sequence of str, default ()
            Criteria, the weightiest first.
        intervals : mapping of str to tuple, optional
            Ends of the weights of some criteria. [share 0-1]
        weights : mapping of str to float, optional
            Fixed weights.
        draws : int, default 2000
            Draws; 2000 keep the standard error of a chance at 0.01, and take less than a
            second for a thousand services. [count]

        Returns
        -------
        DataFrame
            Index ``service_id``, best first: ``label, p_first, p_top, p_top_neutral``.

        Raises
        ------
        PolicyError
            Where no weights fit the preferences.
        """
        preferences = {
            "id": MEETING,
            "order": list(order),
            "intervals": dict(intervals or {}),
            "weights": dict(weights or {}),
        }
        ranking = Ranking.of(self.frame, self.details["criteria"], self.policy)
        table = ranking.under(preferences, draws=draws)
        return table.loc[_order(table.join(self.frame["readiness_lo"]))]

    def explore(self, *others: Result) -> Explorer:
        """Return the explorer: rank by anybody's preferences, without a kernel.

        Parameters
        ----------
        *others : Result
            Readiness, blast radius and targets of the same snapshot, for their views. With
            readiness, checks can be marked as fixed and facts as found out.

        Returns
        -------
        Explorer
            Shows itself in a notebook, also in one that was exported; ``save_html`` writes it.
        """
        return self._explorer(others, "ranking")

    def _lists(self) -> Json:
        """Return by service missing facts, flips, information and boards."""
        names = ("missing", "flips", "information", "boards")
        groups = {name: self.details[name].groupby("service_id") for name in names}
        return {
            "missing": groups["missing"]["fact"].agg(list),
            "flips": groups["flips"]["checks"].agg(list),
            "information": plain_by(groups["information"].head(LISTED), "service_id"),
            "boards": plain_by(groups["boards"].head(LISTED), "service_id"),
        }


def rank(assessment: Assessment) -> WhatNext:
    """Rank the candidates of an assessment, and label every service; see `assess.what_next`."""
    inventory = assessment.inventory.running
    policy = assessment.policy
    readiness = assessment.readiness
    blast = assessment.blast_radius
    churn = assessment.upgrade_churn
    settings = policy["what_next"]
    services = inventory.by_service.sort_index()
    criteria = criteria_table(services, readiness, blast, churn, policy)
    frame = readiness.frame.reindex(services.index)[READINESS]
    platform = exposure(inventory, policy).platform.astype("str").fillna("unknown")
    # containers of several platforms are on none of them alone
    is_mixed = in_containers(platform) & services["platform"].isin([MIXED])
    platform = platform.mask(is_mixed, MIXED)
    frame = frame.assign(owner=services["owner"], platform=platform)
    ranking = Ranking.of(frame, criteria, policy)
    ranked, details = ranking.all_weightings()
    frame = frame.join(ranked)
    frame["label"] = ranking.labels(frame["p_top"])
    frame["why"] = _why(frame, readiness.details["gates"], ranking, settings)
    frame["group"] = cycle_groups(frame.index, inventory["dependencies"])
    room = budget(inventory, policy)
    # what runs in containers already needs no wave
    movers = frame.assign(hours=services["move_effort_hours"])[~ranking.inside]
    plan = waves(movers, inventory["dependencies"], settings, budget=room)
    wave = frame["group"].map(plan["wave"]).astype("Int64")
    frame["wave"] = wave.mask(ranking.inside)
    details |= {
        "criteria": criteria,
        "waves": plan.reset_index(),
        "missing": _missing(readiness),
    }
    # of an earlier quarter nobody asks what would change a label, or who sees it otherwise
    later = dict.fromkeys(WHAT_IFS, partial(what_ifs, ranking, readiness, policy))
    later["boards"] = partial(_boards, ranking)
    alike = criteria["point"] / criteria["criterion"].nunique()
    contributions = criteria.assign(contribution=alike)
    return WhatNext(
        frame.loc[_order(frame), COLUMNS],
        contributions[["service_id", "criterion", "contribution"]],
        Provenance.of(inventory, policy),
        Tables(details, later),
        room,
        ranking.k,
    )


def _boards(ranking: Ranking) -> dict[str, DataFrame]:
    return {"boards": ranking.under_each(ranking.policy["board"])}


def _why(
    frame: DataFrame,
    gates: DataFrame,
    ranking: Ranking,
    settings: Table,
) -> Series:
    """Return the reason for each label: the evidence of the gates, or a sentence."""
    label = gates["service_id"].map(frame["label_gates"])
    failed = gates["state"].eq("fail") & label.notna()
    # an unknown gate is the reason only where no failed gate decides instead
    undecided = gates["state"].eq("unknown") & label.eq(NOT_DECIDABLE)
    stops = gates[failed | undecided]
    texts = stops["gate"] + ": " + stops["evidence"]
    why = texts.groupby(stops["service_id"]).agg("; ".join).reindex(frame.index)
    # beside an unknown gate, a failed one of another label stands already
    certain = gates[failed & label.eq(NOT_DECIDABLE) & gates["label"].ne(NOT_DECIDABLE)]
    failed_too = certain.groupby("service_id")["gate"].agg(", ".join).astype("str")
    failed_too = "; failed already, whatever is found out: " + failed_too
    why += failed_too.reindex(why.index).fillna("")
    clear = frame["label_gates"].isna()
    competing_n = int(ranking.competing.sum())
    # a clear gate has no evidence to quote: the reason is a sentence
    why[clear] = [
        reason(row, settings, ranking.k, competing_n) for row in frame[clear].itertuples()
    ]
    return why


def budget(inventory: Inventory, policy: Policy) -> int:
    """Return the number of services that may move at once, by the fleet's own incidents."""
    # The budget is 0 without experience with containers, or where nobody says who watched.
    watched = exposure(inventory, policy)
    if not watched.is_covered:
        return 0
    settings = policy["what_next"]
    return exposure_budget(
        *watched.in_containers, appetite=settings["appetite"], months=settings["months"]
    )


def _order(frame: DataFrame) -> pd.Index:
    """Sort services, best first: by label, then chance, then readiness, then name."""
    keys = {
        "label": frame["label"].map(LABELS.index),
        "chance": -frame["p_top"].fillna(0),
        "readiness": -frame["readiness_lo"],
        "name": frame.index,
    }
    return DataFrame(keys).sort_values(list(keys)).index


def _missing(readiness: Result) -> DataFrame:
    """List the facts to find out; facts for gates come first."""
    gates = readiness.details["gates"]
    asked = gates.loc[gates["state"].eq("unknown"), ["service_id", "fact"]]
    both = pd.concat([asked, readiness.details["unknown"][["service_id", "fact"]]])
    return both.drop_duplicates(ignore_index=True)
