"""The four scores of one snapshot, computed once and handed to every section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import pandas as pd

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.blast_radius import score_blast_radius
from assess.score.readiness import score_readiness
from assess.score.result import Provenance, Result
from assess.score.upgrade_churn import score_upgrade_churn
from assess.score.what_next import WhatNext, what_next


@dataclass(frozen=True, eq=False)
class Scores:
    """An inventory and all that is scored on it.

    Attributes
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        The policy in force.
    readiness, blast, churn : Result
        The three scores.
    ranking : WhatNext
        What they make of it.
    """

    inventory: Inventory
    policy: Policy
    readiness: Result
    blast: Result
    churn: Result
    ranking: WhatNext

    @classmethod
    def of(cls, inventory: Inventory, policy: Policy) -> Self:
        """Score an inventory.

        Parameters
        ----------
        inventory : Inventory
            The fleet.
        policy : Policy
            The policy in force.

        Returns
        -------
        Scores
            All four.
        """
        three = (
            score_readiness(inventory, policy),
            score_blast_radius(inventory, policy),
            score_upgrade_churn(inventory, policy),
        )
        readiness, blast, churn = three
        ranking = what_next(inventory, policy, readiness=readiness, blast=blast, churn=churn)
        return cls(inventory, policy, *three, ranking)

    @property
    def provenance(self) -> Provenance:
        """Origin of all of them."""
        return self.ranking.provenance

    @property
    def results(self) -> dict[str, Result]:
        """The results by name."""
        both = (self.ranking, self.readiness, self.blast, self.churn)
        return {result.name.replace("_", "-"): result for result in both}

    def services(self) -> pd.DataFrame:
        """Give one row per service: the ranking, and the point of every other score beside it.

        Returns
        -------
        DataFrame
            Index ``service_id``, best first.
        """
        frame = self.ranking.frame
        blast = self.blast.details["services"].add_prefix("blast_")
        churn = self.churn.frame.add_prefix("churn_")
        return frame.join(blast).join(churn).rename_axis("service_id")


def own(table: pd.DataFrame, service_id: str) -> pd.DataFrame:
    """Give the rows of one service.

    Parameters
    ----------
    table : DataFrame
        With a column ``service_id``.
    service_id : str
        The service.

    Returns
    -------
    DataFrame
        Its rows.
    """
    return table[(table["service_id"] == service_id).fillna(False)]
