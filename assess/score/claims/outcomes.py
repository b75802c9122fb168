"""Claims C8 to C16: what runs where, how it fares, and what holds the rest back."""

from __future__ import annotations

import pandas as pd

from assess import reference
from assess.score.claims.fleet import Fleet, tally
from assess.score.claims.measure import Finding, amount, seen, share
from assess.score.incidents.exposure import CONTAINER, HOST
from assess.score.incidents.recovery import self_healing


def core_in_containers(fleet: Fleet) -> Finding:
    """C8: how much of the core runs in containers."""
    services = fleet.inventory["services"]
    core = services[services["tier"].eq(1).fillna(False)]
    side = core["service_id"].map(fleet.exposure.side)
    inside = side.eq(CONTAINER).astype("boolean").mask(side.isna())
    return share(tally(core["kind"], inside), level=fleet.level)


def stores_in_containers(fleet: Fleet) -> Finding:
    """C9: how much more often a store breaks in a container than on a host."""
    services, workloads = fleet.inventory["services"], fleet.inventory["workloads"]
    kinds = fleet.words["store_kinds"]
    declared = services.loc[services["kind"].isin(kinds), "service_id"]
    images = workloads.dropna(subset=["repository"])
    is_store = images["repository"].map(reference.stateful_kind).isin(kinds)
    stores = set(declared) | set(images.loc[is_store, "service_id"])
    record = fleet.exposure.spells[fleet.exposure.spells["service_id"].isin(stores)]
    return fleet.compared(record, record["side"].eq(CONTAINER))


def contained_incidents(fleet: Fleet) -> Finding:
    """C10: how many incidents in containers stayed within one service."""
    table = fleet.exposure.incidents.dropna(subset=["service_id"])
    table = table[table["side"].eq(CONTAINER).fillna(value=False)]
    touched = [
        None if pd.isna(names) else len({service, *_ids(names)}) <= 1
        for service, names in table[["service_id", "affected_services"]].itertuples(
            index=False
        )
    ]
    alone = pd.Series(touched, table.index, dtype="boolean")
    found = share(tally(table["platform"], alone), level=fleet.level)
    looked = fleet.exposure.window is not None and len(fleet.contained) > 0
    return seen(
        found, "no incident in containers was seen so far: keep counting", looked=looked
    )


def replaced_in_time(fleet: Fleet) -> Finding:
    """C11: how many instances an auto-scaling group replaced in time."""
    seconds = float(fleet.words["self_heal_seconds"])
    return share(
        self_healing(fleet.inventory, fleet.policy, seconds=seconds), level=fleet.level
    )


def orchestrated(fleet: Fleet) -> Finding:
    """C12: how much more often a service breaks under an orchestrator than without one."""
    under = fleet.exposure.spells["platform"].isin(
        fleet.policy["evidence"]["orchestrators"]
    )
    return fleet.compared(fleet.exposure.spells, under)


def many_at_once(fleet: Fleet) -> Finding:
    """C13: how many incidents to expect where many services moved at once."""
    record = fleet.exposure.spells.rename(columns={"months": "service_months"})
    inside, vague = record["side"].eq(CONTAINER).fillna(False), record["side"].isna()
    place = record["platform"].mask(vague, "unknown")[inside | vague]
    whole = (
        record[inside | vague]
        .groupby(place)[["incidents", "service_months"]]
        .sum()
        .reset_index()
    )
    known = record["side"].where(inside)
    level, spread = fleet.widened(
        fleet.exposure.spells.assign(tier=0), known, known.mask(vague, CONTAINER)
    )
    whole = whole.assign(**spread)
    return amount(
        whole[whole["platform"].ne("unknown")],
        whole,
        level=level,
        factor=float(
            fleet.words["services_at_once"] * fleet.policy["what_next"]["months"]
        ),
        unknown_n=int(vague.sum()),
    )


def less_stable(fleet: Fleet) -> Finding:
    """C14: how much more often a service breaks in containers than on hosts."""
    return fleet.compared(
        fleet.exposure.spells, fleet.exposure.spells["side"].eq(CONTAINER)
    )


def depends_on_who_asks(fleet: Fleet) -> Finding:
    """C15: for how many services the weighting decides whether they are ready."""
    bar = fleet.policy["what_next"]["ready_points"]
    groups = fleet.readiness.details["dimensions"].groupby("service_id")
    ends = groups[["lo", "hi"]].agg(["min", "max"])
    lows, highs = ends["lo"], ends["hi"]
    divided = (highs["min"] < bar) & (lows["max"] >= bar)
    agreed = (lows["min"] >= bar) | (highs["max"] < bar)
    answer = (
        pd.Series(pd.NA, ends.index, dtype="boolean")
        .mask(divided, True)
        .mask(agreed, False)
    )
    services = fleet.inventory["services"].set_index("service_id").index.sort_values()
    side = fleet.exposure.side.reindex(services)
    return share(tally(side, answer.reindex(services)), level=fleet.level)


def held_back(fleet: Fleet) -> Finding:
    """C16: how many services outside of containers a gate holds back."""
    gates = fleet.readiness.details["gates"]
    outside = fleet.exposure.side.index[fleet.exposure.side.ne(CONTAINER).fillna(True)]
    stuck = gates["state"].eq("fail") & gates["label"].ne("NOT DECIDABLE")
    vague = gates["state"].eq("unknown") | (gates["state"].eq("fail") & ~stuck)
    stopped, unclear = (set(gates.loc[rows, "service_id"]) for rows in (stuck, vague))
    answer = pd.Series(outside.isin(stopped), outside, dtype="boolean")
    answer = answer.mask(outside.isin(unclear) & ~answer)
    tier = fleet.inventory["services"].set_index("service_id")["tier"].reindex(outside)
    known = fleet.exposure.side[outside].eq(HOST).fillna(False)
    found = share(
        tally("tier " + tier.astype("string"), answer.where(known)), level=fleet.level
    )
    gap = "no service runs outside of containers: there is no transition left to measure"
    return seen(found, gap, looked=len(fleet.contained) > 0)


def _ids(names: str) -> list[str]:
    return [name.strip() for name in str(names).split(";") if name.strip()]
