"""The four scores of one snapshot, computed once and handed to every section."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.readiness.readiness import score_readiness
from assess.score.result import Provenance, Result, records_by
from assess.score.upgrade_churn.history import History
from assess.score.upgrade_churn.upgrade_churn import score_upgrade_churn
from assess.score.what_next.what_next import WhatNext, what_next

OPEN = ("fail", "conflict", "unknown", "partial")


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
    def of(
        cls, inventory: Inventory, policy: Policy, *, history: History | None = None
    ) -> Self:
        """Score an inventory.

        Parameters
        ----------
        inventory : Inventory
            The fleet.
        policy : Policy
            The policy in force.
        history : History, optional
            What earlier snapshots tell of upgrades.

        Returns
        -------
        Scores
            All four.
        """
        three = (
            score_readiness(inventory, policy),
            score_blast_radius(inventory, policy),
            score_upgrade_churn(inventory, policy, history=history),
        )
        readiness, blast, churn = three
        ranking = what_next(
            inventory, policy, readiness=readiness, blast=blast, churn=churn
        )
        return cls(inventory, policy, *three, ranking)

    @property
    def provenance(self) -> Provenance:
        """Origin of all of them."""
        return self.ranking.provenance

    @property
    def four(self) -> tuple[Result, Result, Result, WhatNext]:
        """The results alone, without the inventory."""
        return self.readiness, self.blast, self.churn, self.ranking

    @property
    def results(self) -> dict[str, Result]:
        """The results by name."""
        both = (self.ranking, self.readiness, self.blast, self.churn)
        return {result.name.replace("_", "-"): result for result in both}

    @cached_property
    def services(self) -> pd.DataFrame:
        """The ranking by ``service_id``, best first, with the other scores beside it."""
        frame = self.ranking.frame
        blast = self.blast.details["services"].add_prefix("blast_")
        churn = self.churn.frame.add_prefix("churn_")
        return frame.join(blast).join(churn).rename_axis("service_id")

    def own(self, table: str, service_id: str) -> list[dict[str, Any]]:
        """Give what a result holds of one service.

        Parameters
        ----------
        table : str
            Name of a detail of any of the results. Of ``atoms``, those that are open, worst first;
            ``dimensions`` have their ``weight`` and ``contribution``.
        service_id : str
            The service.

        Returns
        -------
        list of dict
            Its rows.
        """
        return self._rows[table].get(service_id, [])

    @cached_property
    def _rows(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Rows of each table by service."""
        tables: dict[str, pd.DataFrame] = {}
        for result in self.results.values():
            tables |= {
                n: t for n, t in result.details.items() if "service_id" in t.columns
            }
        shares = self.readiness.contributions.drop(columns="point")
        tables["dimensions"] = tables["dimensions"].merge(shares, how="left")
        atoms = tables["atoms"]
        order = atoms["state"].astype("str").map({name: i for i, name in enumerate(OPEN)})
        tables["atoms"] = (
            atoms.assign(order=order)
            .dropna(subset="order")
            .sort_values(["order", "check"], kind="stable")
        )
        return {name: records_by(table, "service_id") for name, table in tables.items()}
