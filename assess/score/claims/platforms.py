"""Claims by platform: what holds of one runtime, cluster or orchestrator alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pandas as pd

from assess.score.claims.evidence import ClaimData
from assess.score.claims.measure import Measurement, compared, mean, share

# claims whose rows begin with the platform that they are about, and what each row adds to
BY_ROW: dict[str, Callable[..., Measurement]] = {
    "C1": mean,
    "C2": share,
    "C3": share,
    "C5": share,
}
ORCHESTRATED = "C12"


def by_platform(
    data: ClaimData,
    tables: Mapping[str, pd.DataFrame],
) -> Iterator[tuple[str, str, Measurement]]:
    """Yield claim, platform and what the rows of that platform say of the claim."""
    for claim, measure in BY_ROW.items():
        table = tables[claim]
        whose = table.iloc[:, 0].astype("str").str.split().str[0]
        for platform, rows in table.groupby(whose, sort=True):
            yield claim, str(platform), measure(rows, level=data.level)
    for platform, measured in _orchestrators(data):
        yield ORCHESTRATED, platform, measured


def _orchestrators(data: ClaimData) -> Iterator[tuple[str, Measurement]]:
    """Yield each orchestrator in use, compared with what runs without any."""
    spells = data.spells
    names = data.assessment.policy["evidence"]["orchestrators"]
    under = spells["platform"].isin(names)
    compare = partial(compared, level=data.level)
    for platform in sorted(set(spells.loc[under, "platform"].astype("str"))):
        is_here = spells["platform"].eq(platform).fillna(value=False).astype(bool)
        kept = spells[is_here | ~under]
        yield platform, compare(kept, is_here[is_here | ~under])
