"""What the claims are measured on: an assessment, and what several of them share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from assess.score.incidents.exposure import CONTAINER

if TYPE_CHECKING:
    from assess.score.assessment import Assessment


@dataclass(frozen=True, eq=False)
class ClaimData:
    """An assessment, as the claims read it."""

    assessment: Assessment

    @property
    def settings(self) -> dict[str, Any]:
        """The policy's section on claims."""
        settings: dict[str, Any] = self.assessment.policy["claims"]
        return settings

    @property
    def level(self) -> float:
        """Coverage of the intervals, a share."""
        return float(self.settings["level"])

    def frame(self, name: str) -> pd.DataFrame:
        """Return a frame of the inventory."""
        return self.assessment.inventory[name]

    @property
    def spells(self) -> pd.DataFrame:
        """Incidents and months of every service; see `Exposure.spells`."""
        return self.assessment.exposure.spells

    @property
    def side(self) -> pd.Series:
        """Side of every service, index ``service_id``."""
        return self.assessment.exposure.side

    @cached_property
    def contained(self) -> list[str]:
        """Services that are known to run in containers."""
        return list(self.side.index[self.side.eq(CONTAINER).fillna(value=False)])
