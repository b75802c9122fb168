"""The fleet as a graph: what weighs how much, what needs what, and what stands on what."""

from __future__ import annotations

import pandas as pd

from assess.policy import Policy


def criticality(services: pd.DataFrame, policy: Policy) -> pd.Series:
    """Weigh services.

    Parameters
    ----------
    services : DataFrame
        The frame ``services``: ``service_id, criticality, tier``.
    policy : Policy
        Its table ``criticality`` gives the weight by tier.

    Returns
    -------
    Series
        Index ``service_id``: the service's own criticality, else its tier's, else the policy's
        for a service of which neither is known. [the fleet's own unit, >= 0]
    """
    weights = policy["criticality"]
    by_tier = {int(key.removeprefix("tier_")): w for key, w in weights.items() if key != "unknown"}
    own = services["criticality"].astype("Float64")
    filled = own.fillna(services["tier"].map(by_tier).astype("Float64"))
    values = filled.fillna(weights["unknown"]).to_numpy("float64")
    index = pd.Index(services["service_id"], name="service_id")
    return pd.Series(values, index=index, name="criticality")
