"""The criteria of a move, each on a scale from 0 to 1; high means earlier.

Needs the three scores, and effort and lead time of services. What is unknown spans 0 to 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from assess.policy.policy import Policy
from assess.score.result import Result

# what to find out where a measurement is not known; readiness names its own facts
NEEDS = {
    "containment": "what moves, and with what it falls (workloads.host_id, dependencies.dst_id)",
    "low_blast_radius": "who calls it (dependencies.src_id)",
    "low_churn": "what its upgrades cost (engines.version, activities.kind)",
    "pain_today": "how often it breaks and how long a commit takes (incidents.service_id, "
    "services.lead_time_days)",
    "low_effort": "how many hours a move takes (services.move_effort_hours)",
}


def criteria_table(
    services: pd.DataFrame,
    readiness: Result,
    blast: Result,
    churn: Result,
    policy: Policy,
) -> pd.DataFrame:
    """Return ``service_id, criterion, point, lo, hi`` [share 0-1].

    ``services`` has the index service_id and columns ``move_effort_hours`` [h] and
    ``lead_time_days`` [days]. ``[what_next]`` of the policy says what counts as full pain,
    effort and containment.
    """
    settings = policy["what_next"]
    radius = blast.details["services"].reindex(services.index)
    effort = _share(services["move_effort_hours"], settings["effort_hours_max"])
    lead = _share(services["lead_time_days"], settings["lead_time_days_max"])
    pain = {}
    # each half that is unknown counts as 0 at least, as 1 at most
    for end, suffix, unknown in (
        ("point", "", 0.5),
        ("lo", "_lo", 0.0),
        ("hi", "_hi", 1.0),
    ):
        minutes = radius[f"expected_minutes_per_year{suffix}"]
        share = _share(minutes, settings["pain_minutes_max"])
        pain[end] = (share.fillna(unknown) + lead.fillna(unknown)) / 2
    # a move may also lose containment: no change is in the middle of the scale
    scale = 2 * settings["containment_scale"]
    bounds = {
        "readiness": _bounds(readiness.frame.reindex(services.index), "readiness", 100),
        "containment": _flip(_bounds(radius, "delta", scale), around=0.5),
        "low_blast_radius": _flip(_bounds(radius, "impact", 1)),
        "low_churn": _flip(_bounds(churn.frame.reindex(services.index), "score", 100)),
        "pain_today": pd.DataFrame(pain),
        "low_effort": pd.DataFrame(dict.fromkeys(("point", "lo", "hi"), 1 - effort)),
    }
    typed = {name: table.astype("Float64") for name, table in bounds.items()}
    table = pd.concat(typed, names=["criterion", "service_id"])
    table = table.fillna({"point": 0.5, "lo": 0.0, "hi": 1.0}).clip(0, 1).astype(float)
    # service by service, each with its criteria in the order of `bounds`
    order = np.arange(len(table)).reshape(len(bounds), -1).T.ravel()
    table = table.reset_index().iloc[order].reset_index(drop=True)
    return table[["service_id", "criterion", "point", "lo", "hi"]]


def _bounds(frame: pd.DataFrame, column: str, scale: float) -> pd.DataFrame:
    ends = {"point": column, "lo": f"{column}_lo", "hi": f"{column}_hi"}
    return pd.DataFrame({end: frame[name] / scale for end, name in ends.items()})


def _flip(bounds: pd.DataFrame, around: float = 1.0) -> pd.DataFrame:
    """Turn low-is-good into high-is-good: the ends change places."""
    return pd.DataFrame(
        {
            "point": around - bounds["point"],
            "lo": around - bounds["hi"],
            "hi": around - bounds["lo"],
        }
    )


def _share(values: pd.Series, most: float) -> pd.Series:
    return (values.astype("Float64") / most).clip(0, 1)
