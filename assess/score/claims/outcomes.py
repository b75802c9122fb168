"""Claims C8 to C16: what runs where, how it fares, and what holds the rest back."""

from __future__ import annotations

import pandas as pd

from assess import reference
from assess.score.claims.data import ClaimData
from assess.score.claims.measure import (
    Measurement,
    amount,
    compared,
    seen,
    share,
    tally,
    widened,
)
from assess.score.incidents.exposure import CONTAINER, HOST
from assess.score.incidents.recovery import self_healing


def core_in_containers(data: ClaimData) -> Measurement:
    """C8: how much of the core runs in containers."""
    services = data.frame("services")
    core = services[services["tier"].eq(1).fillna(value=False)]
    side = core["service_id"].map(data.side)
    inside = side.eq(CONTAINER).astype("boolean").mask(side.isna())
    return share(tally(core["kind"], inside), level=data.level)


def stores_in_containers(data: ClaimData) -> Measurement:
    """C9: how much more often a store breaks in a container than on a host."""
    services = data.frame("services")
    kinds = data.settings["store_kinds"]
    declared = services.loc[services["kind"].isin(kinds), "service_id"]
    images = data.frame("workloads").dropna(subset=["repository"])
    is_store = images["repository"].map(reference.stateful_kind).isin(kinds)
    stores = set(declared) | set(images.loc[is_store, "service_id"])
    spells = data.spells[data.spells["service_id"].isin(stores)]
    return compared(spells, spells["side"].eq(CONTAINER), level=data.level)


def contained_incidents(data: ClaimData) -> Measurement:
    """C10: how many incidents in containers stayed within one service."""
    exposure = data.assessment.exposure
    table = exposure.incidents.dropna(subset=["service_id"])
    table = table[table["side"].eq(CONTAINER).fillna(value=False)]
    pairs = zip(table["service_id"], table["affected_services"], strict=True)
    touched = [
        None if pd.isna(names) else len({service, *_ids(names)}) <= 1
        for service, names in pairs
    ]
    alone = pd.Series(touched, table.index, dtype="boolean")
    measured = share(tally(table["platform"], alone), level=data.level)
    gap = "no incident in containers was seen so far: keep counting"
    looked = exposure.window is not None and len(data.contained) > 0
    return seen(measured, gap, looked=looked)


def replaced_in_time(data: ClaimData) -> Measurement:
    """C11: how many instances an auto-scaling group replaced in time."""
    seconds = float(data.settings["self_heal_seconds"])
    inventory = data.assessment.inventory
    healed = self_healing(inventory, data.assessment.policy, seconds=seconds)
    return share(healed, level=data.level)


def orchestrated(data: ClaimData) -> Measurement:
    """C12: how much more often a service breaks under an orchestrator than without one."""
    orchestrators = data.assessment.policy["evidence"]["orchestrators"]
    under = data.spells["platform"].isin(orchestrators)
    return compared(data.spells, under, level=data.level)


def many_at_once(data: ClaimData) -> Measurement:
    """C13: how many incidents to expect where many services moved at once."""
    spells = data.spells
    inside = spells["side"].eq(CONTAINER).fillna(value=False)
    vague = spells["side"].isna()
    sums = spells.rename(columns={"months": "service_months"})[inside | vague]
    platform = spells["platform"].mask(vague, "unknown")[inside | vague]
    whole = sums.groupby(platform)[["incidents", "service_months"]].sum().reset_index()
    # tiers are left aside: the budget, too, counts every service that moves alike
    known = spells["side"].where(inside)
    in_doubt = known.mask(vague, CONTAINER)
    level, spread = widened(spells.assign(tier=0), known, in_doubt, level=data.level)
    whole = whole.assign(**spread)
    months = data.assessment.policy["what_next"]["months"]
    return amount(
        whole[whole["platform"].ne("unknown")],
        whole,
        level=level,
        factor=float(data.settings["services_at_once"] * months),
        unknown_n=int(vague.sum()),
    )


def less_stable(data: ClaimData) -> Measurement:
    """C14: how much more often a service breaks in containers than on hosts."""
    return compared(data.spells, data.spells["side"].eq(CONTAINER), level=data.level)


def depends_on_who_asks(data: ClaimData) -> Measurement:
    """C15: for how many services the weighting decides whether they are ready."""
    bar = data.assessment.policy["what_next"]["ready_points"]
    groups = data.assessment.readiness.details["dimensions"].groupby("service_id")
    ends = groups[["lo", "hi"]].agg(["min", "max"])
    lows = ends["lo"]
    highs = ends["hi"]
    divided = (highs["min"] < bar) & (lows["max"] >= bar)
    agreed = (lows["min"] >= bar) | (highs["max"] < bar)
    answer = pd.Series(pd.NA, ends.index, dtype="boolean")
    answer = answer.mask(divided, True).mask(agreed, False)
    services = pd.Index(data.frame("services")["service_id"]).sort_values()
    side = data.side.reindex(services)
    return share(tally(side, answer.reindex(services)), level=data.level)


def held_back(data: ClaimData) -> Measurement:
    """C16: how many services outside of containers a gate holds back."""
    gates = data.assessment.readiness.details["gates"]
    outside = data.side.index[data.side.ne(CONTAINER).fillna(value=True)]
    stuck = gates["state"].eq("fail") & gates["label"].ne("NOT DECIDABLE")
    vague = gates["state"].eq("unknown") | (gates["state"].eq("fail") & ~stuck)
    stopped = set(gates.loc[stuck, "service_id"])
    unclear = set(gates.loc[vague, "service_id"])
    answer = pd.Series(outside.isin(stopped), outside, dtype="boolean")
    answer = answer.mask(outside.isin(unclear) & ~answer)
    tier = data.frame("services").set_index("service_id")["tier"].reindex(outside)
    on_host = data.side[outside].eq(HOST).fillna(value=False)
    group = "tier " + tier.astype("string")
    measured = share(tally(group, answer.where(on_host)), level=data.level)
    gap = "no service runs outside of containers: there is no transition left to measure"
    return seen(measured, gap, looked=len(data.contained) > 0)


def _ids(names: str) -> list[str]:
    return [name.strip() for name in str(names).split(";") if name.strip()]
