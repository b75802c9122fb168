"""What next: which services to containerise, by every weighting that a board could have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.incidents.exposure import CONTAINER, exposure
from assess.score.readiness.gates import NOT_DECIDABLE
from assess.score.result import Explanation, Provenance, Result, records_by
from assess.score.what_next.criteria import criteria_table
from assess.score.what_next.flips import what_ifs
from assess.score.what_next.labels import LABELS, labels, reason
from assess.score.what_next.preferences import Contest, over_boards
from assess.score.what_next.waves import cycle_groups, exposure_budget, waves

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

NAMED = 3
TOLD = 8  # facts and boards of a service in its row

COLUMNS = [
    "label",
    "p_first",
    "p_top",
    "p_top_neutral",
    "rank_expected",
    "wave",
    "group",
    "why",
    "readiness",
    "readiness_lo",
    "readiness_hi",
    "label_gates",
    "label_before_waivers",
    "confidence",
    "rank_equal",
    "owner",
    "platform",
]


@dataclass(frozen=True, eq=False, repr=False)
class WhatNext(Result):
    """Services, best candidate first, with the label that the evidence supports.

    Attributes
    ----------
    budget : int
        Services that may move at once, by the incidents of what runs in containers. [count]
    """

    budget: int = 0

    name: ClassVar[str] = "what_next"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "label",
        "p_first",
        "p_top",
        "p_top_neutral",
        "readiness",
        "readiness_lo",
        "readiness_hi",
        "owner",
    )

    @property
    def headline(self) -> str:
        """Say how often the first is first, in a sentence."""
        ranked = self.frame[self.frame["p_first"] > 0]
        if ranked.empty:
            candidates = self.frame[self.frame["p_top"].notna()]
            lacking = candidates["label"].eq(NOT_DECIDABLE)
            if len(candidates) and lacking.all():
                return (
                    "No service is ranked: of none is enough known. Every candidate waits for "
                    "facts, and the unknown is no reason to move or to stay."
                )
            return "No service can be ranked yet: every candidate stands behind a gate."
        first = ranked["p_first"].idxmax()
        share = ranked.loc[first, "p_first"]
        return f"{first} comes first in {share:.0%} of all weightings of the criteria."

    def explain(self, service_id: str) -> Explanation:
        """Say why a service has its label, and what is missing.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Explanation
            Text; the table holds its criteria with their intervals.
        """
        row = self.row(service_id)
        lines = [f"Label: {row['label']}. {row['why']}"]
        other = self._of("boards", service_id)
        other = other[other["label"] != row["label"]]
        lines += [f"For the board {b.board} it is {b.label}." for b in other.itertuples()]
        facts = self._of("information", service_id)
        deciding = facts[facts["decides"].astype(bool)].head(NAMED)
        if facts.empty:
            facts = self._of("missing", service_id)
        if len(facts):
            lines.append("To find out: " + "; ".join(facts["fact"].head(5)) + ".")
        lines += [
            f"{f.unknown} decides: {f.label_if} if it turns out well, else {f.label_else}."
            for f in deciding.itertuples()
        ]
        fixes = self._of("flips", service_id)
        if len(fixes):
            sets = [f"{' and '.join(f.checks)} ({f.label})" for f in fixes.itertuples()]
            lines.append("Would change it: " + "; or ".join(sets) + ".")
        table = self._of("criteria", service_id).set_index("criterion")[
            ["point", "lo", "hi"]
        ]
        return Explanation(f"{service_id}: what next", "\n".join(lines), table.round(2))

    def under(
        self,
        *,
        order: Sequence[str] = (),
        intervals: Mapping[str, tuple[float, float]] | None = None,
        weights: Mapping[str, float] | None = None,
        draws: int = 2000,
    ) -> pd.DataFrame:
        """Rank again for a board that weighs differently: a knob to turn in the meeting.

        Parameters
        ----------
        order : sequence of str, default ()
            Criteria, the weightiest first.
        intervals : mapping of str to tuple, optional
            Ends of the weights of some criteria. [share 0-1]
        weights : mapping of str to float, optional
            Fixed weights.
        draws : int, default 2000
            Draws; so many keep the standard error of a chance at 0.01, and a thousand services
            within a second. [count]

        Returns
        -------
        DataFrame
            Index ``service_id``, best first: ``label, p_first, p_top, p_top_neutral``.

        Raises
        ------
        PolicyError
            Where no weights fit.
        """
        assert self.provenance.policy is not None
        board = {
            "id": "of the meeting",
            "order": list(order),
            "intervals": dict(intervals or {}),
            "weights": dict(weights or {}),
        }
        contest = Contest.of(self.frame, self.details["criteria"], self.provenance.policy)
        table = contest.under(board, draws=draws)
        return table.loc[_order(table.join(self.frame["readiness_lo"]))]

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per service, best first.

        Returns
        -------
        list of dict
            Columns of the frame, ``missing``, ``flips``, ``information`` and ``boards``.
        """
        records = self.frame.reset_index().to_dict("records")
        missing = self.details["missing"].groupby("service_id")["fact"].agg(list)
        flips = self.details["flips"].groupby("service_id")["checks"].agg(list)
        lists = {
            name: records_by(
                self.details[name].groupby("service_id").head(TOLD), "service_id"
            )
            for name in ("information", "boards")
        }
        return [
            {
                **record,
                "missing": missing.get(record["service_id"], []),
                "flips": flips.get(record["service_id"], []),
                **{
                    name: own.get(record["service_id"], []) for name, own in lists.items()
                },
            }
            for record in records
        ]

    def _of(self, detail: str, service_id: str) -> pd.DataFrame:
        table = self.details[detail]
        return table[table["service_id"] == service_id]


def rank(assessment: Assessment) -> WhatNext:
    """Rank the candidates of an assessment, and label every service; see `assess.what_next`."""
    inventory = assessment.inventory
    policy = assessment.policy
    readiness = assessment.readiness
    blast = assessment.blast_radius
    churn = assessment.upgrade_churn
    services = inventory["services"].set_index("service_id").sort_index()
    criteria = criteria_table(services, readiness, blast, churn, policy)
    frame = readiness.frame.reindex(services.index)[
        [
            "readiness",
            "readiness_lo",
            "readiness_hi",
            "label_gates",
            "label_before_waivers",
        ]
    ]
    frame = frame.assign(owner=services["owner"], platform=_platform(inventory, policy))
    contest = Contest.of(frame, criteria, policy)
    ranked, details = contest.all_weightings()
    frame = frame.join(ranked)
    _put_labels(frame, readiness.details["gates"], contest.inside, policy["what_next"])
    frame["group"] = cycle_groups(frame.index, inventory["dependencies"])
    room = budget(inventory, policy)
    plan = _plan(
        frame.assign(hours=services["move_effort_hours"])[~contest.inside],
        inventory["dependencies"],
        room,
        policy["what_next"],
    )
    frame["wave"] = frame["group"].map(plan["wave"]).astype("Int64")
    frame["wave"] = frame["wave"].mask(contest.inside)
    details |= {
        "criteria": criteria,
        "boards": over_boards(contest, policy["board"]),
        "waves": plan.reset_index(),
        "missing": _missing(readiness),
        **what_ifs(contest, readiness, policy),
    }
    contributions = criteria.assign(
        contribution=criteria["point"] / criteria["criterion"].nunique()
    )
    return WhatNext(
        frame.loc[_order(frame), COLUMNS],
        contributions[["service_id", "criterion", "contribution"]],
        Provenance.of(inventory, policy),
        details,
        room,
    )


def _platform(inventory: Inventory, policy: Policy) -> pd.Series:
    """Return the platform of each service, in a word."""
    return exposure(inventory, policy).platform.astype("str").fillna("unknown")


def _put_labels(
    frame: pd.DataFrame, gates: pd.DataFrame, inside: pd.Series, settings: dict[str, Any]
) -> None:
    """Write ``label`` and ``why``; where a gate decides, its evidence is the reason."""
    given = gates["service_id"].map(frame["label_gates"])
    failed = gates["state"].eq("fail") & given.notna()
    undecided = gates["state"].eq("unknown") & given.eq(NOT_DECIDABLE)
    stops = gates[failed | undecided]
    said = (
        (stops["gate"] + ": " + stops["evidence"])
        .groupby(stops["service_id"])
        .agg("; ".join)
    )
    frame["label"] = labels(
        frame["label_gates"], frame["p_top"], frame["readiness_lo"], inside, settings
    )
    free = frame["label_gates"].isna()
    competing = int((free & ~inside).sum())
    reasons = [reason(row, settings, competing) for row in frame[free].itertuples()]
    frame["why"] = said.reindex(frame.index)
    frame.loc[free, "why"] = reasons


def _plan(
    frame: pd.DataFrame, dependencies: pd.DataFrame, room: int, settings: dict[str, Any]
) -> pd.DataFrame:
    """Plan the candidates in waves."""
    return waves(
        frame,
        dependencies,
        budget=room,
        capacity_hours=settings["capacity_hours"],
        hours_unknown=settings["effort_hours_max"],
        waves_max=int(settings["waves_max"]),
    )


def budget(inventory: Inventory, policy: Policy) -> int:
    """Return the number of services that may move at once, by the fleet's own incidents.

    It is 0 without experience with containers, and where no coverage says over what time
    incidents were watched: a window that starts at the first incident would grow with an older
    one.
    """
    known = exposure(inventory, policy)
    if not known.is_covered:
        return 0
    incidents, service_months = known.total(side=CONTAINER)
    settings = policy["what_next"]
    return exposure_budget(
        incidents,
        service_months,
        appetite=settings["appetite"],
        months=settings["months"],
    )


def _order(frame: pd.DataFrame) -> pd.Index:
    """Best first: by label, then chance, then readiness, then name."""
    label = frame["label"].map({name: i for i, name in enumerate(LABELS)})
    keys = pd.DataFrame(
        {"label": label, "p": -frame["p_top"].fillna(0), "r": -frame["readiness_lo"]}
    )
    return keys.assign(name=keys.index).sort_values(["label", "p", "r", "name"]).index


def _missing(readiness: Result) -> pd.DataFrame:
    """Facts to find out: those of the gates first."""
    gates = readiness.details["gates"]
    asked = gates.loc[gates["state"].eq("unknown"), ["service_id", "fact"]]
    both = pd.concat([asked, readiness.details["unknown"][["service_id", "fact"]]])
    return both.drop_duplicates(ignore_index=True)
