"""What the claims are measured on: an inventory and what several of them share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.claims.measure import Finding, added, compare, ratio
from assess.score.incidents.exposure import CONTAINER, Exposure, exposure
from assess.score.incidents.rates import dispersion, wider_level
from assess.score.result import Result
from assess.score.upgrade_churn.history import History, known_history


@dataclass(frozen=True, eq=False)
class Fleet:
    """An inventory, the policy, and results on it, each computed when a claim first asks for it.

    Attributes
    ----------
    inventory : Inventory
        What is judged.
    policy : Policy
        Its ``[claims]`` hold bounds and words.
    previous : Inventory or None
        An earlier inventory, which tells what moved and what was upgraded since.
    history : History or None
        What the snapshots before tell of upgrades.
    given : mapping
        Results that are there already, by name.
    """

    inventory: Inventory
    policy: Policy
    previous: Inventory | None
    history: History | None
    given: dict[str, Result | None]

    @property
    def words(self) -> dict[str, Any]:
        """The policy's own section."""
        words: dict[str, Any] = self.policy["claims"]
        return words

    @property
    def level(self) -> float:
        """Coverage of the intervals."""
        return float(self.words["level"])

    @cached_property
    def readiness(self) -> Result:
        """Readiness of every service."""
        from assess.score.readiness.readiness import score_readiness

        return self.given.get("readiness") or score_readiness(self.inventory, self.policy)

    @cached_property
    def churn(self) -> Result:
        """Upgrade churn of every service."""
        from assess.score.upgrade_churn.upgrade_churn import score_upgrade_churn

        known = self.given.get("churn")
        return known or score_upgrade_churn(
            self.inventory, self.policy, history=self.past
        )

    @cached_property
    def past(self) -> History:
        """What the snapshots up to this one tell of upgrades."""
        return known_history(
            self.inventory, self.policy, history=self.history, previous=self.previous
        )

    @cached_property
    def exposure(self) -> Exposure:
        """Where services run, and what was watched of them."""
        return exposure(self.inventory, self.policy, self.previous)

    @cached_property
    def contained(self) -> list[str]:
        """Services that are known to run in containers."""
        sides = self.exposure.side
        return list(sides.index[sides.eq(CONTAINER).fillna(value=False)])

    def compared(self, record: pd.DataFrame, ours: pd.Series) -> Finding:
        """Compare two groups of a track record; what is on neither side may be on either.

        Parameters
        ----------
        record : DataFrame
            Rows of `record`.
        ours : Series of bool
            Whether each is of the one group.

        Returns
        -------
        Finding
            The ratio of their rates, in an interval that is wider where services of one side and
            tier differ by more than chance (``spread``, ``freedom``).
        """
        ours = ours.astype("boolean").mask(record["side"].isna())
        level, spread = self.widened(record, ours, ours.fillna(True), ours.fillna(False))
        table = compare(record, ours).assign(**spread)
        either = [
            added(
                table,
                {f"{side}{name}": f"unplaced_{name}" for name in ("incidents", "months")},
            )
            for side in ("", "other_")
        ]
        unplaced = int(record.loc[ours.isna(), "service_id"].nunique())
        return ratio(table, *either, level=level, unknown_n=unplaced)

    def widened(
        self, record: pd.DataFrame, *sides: pd.Series
    ) -> tuple[float, dict[str, float]]:
        """Give the level that makes up for services of one side and tier that differ much.

        Parameters
        ----------
        record : DataFrame
            Rows of `record`.
        *sides : Series
            Side of each, where there is a doubt in every way it may be; those without are left out.

        Returns
        -------
        tuple of float and dict
            The widest level of them, and its ``spread`` and ``freedom`` (`rates.dispersion`).
        """
        tier = record["tier"].astype("string").fillna("unknown") + " "
        counts = record["incidents"], record["months"]
        found = [dispersion(*counts, tier + side.astype("string")) for side in sides]
        level, widest = max((wider_level(self.level, spread), spread) for spread in found)
        return level, widest._asdict()


def tally(group: pd.Series, yes: pd.Series) -> pd.DataFrame:
    """Count yes, no and unknown by group.

    Parameters
    ----------
    group : Series
        What each row belongs to; NA is "unknown".
    yes : Series
        True, False or NA, on the same index.

    Returns
    -------
    DataFrame
        ``group, yes, no, unknown`` [count], by name of the group.
    """
    answer = yes.astype("boolean")
    rows = pd.DataFrame(
        {
            "group": group.astype("object").where(group.notna(), "unknown").astype("str"),
            "yes": answer.fillna(False).astype(int),
            "no": (~answer).fillna(False).astype(int),
            "unknown": answer.isna().astype(int),
        }
    )
    return rows.groupby("group", sort=True).sum().reset_index()
