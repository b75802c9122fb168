"""Hours of upgrade work per year at a target, depending on who patches."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.incidents.rates import Interval
from assess.score.targets.place import calendars, is_provided, system_of
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.history import History

ENDS = ("", "_lo", "_hi")
Row = Mapping[str, Any]


class Past(NamedTuple):
    """The fleet's own history: rate of engine upgrades, and chance that one fails."""

    own: Interval
    failure: Interval


def past_of(
    inventory: Inventory,
    policy: Policy,
    history: History,
) -> Past:
    """Return the history of a fleet; an unwatched engine may move as often as the fastest."""
    rates = pace.own_rates(inventory, policy, history)
    fastest = max((rate.hi for rate in rates.values()), default=np.inf)
    tallies = pace.upgrade_failures(history, policy)
    level = float(policy["simulation"]["level"])
    chance = pace.failure_chance(tallies.get(pace.POOL, (0, 0, 0)), level)
    return Past(Interval(0.0, 0.0, fastest), chance)


def host_rate(
    target: Row,
    policy: Policy,
    own: Interval,
) -> Interval:
    """Return our upgrades per year of the hosts of a target."""
    settings = policy["churn"]
    since = str(settings["forced_since"])
    most = float(settings["managed_per_year_max"])
    if is_provided(target):
        rates = [
            pace.managed_rate(product, reference.line_of(product, version), most)
            for product, version in calendars(target)
        ]
        return pace.fastest(*rates)
    rates = []
    for product, version in calendars(target):
        line = reference.line_of(product, version)
        rates.append(pace.engine_rate(product, line, own, since))
    rates.append(pace.system_rate(*system_of(target), since))
    whole = rates[0]
    for rate in rates[1:]:
        whole = pace.together(whole, rate)
    return whole


def upgrade_hours(
    target: Row,
    policy: Policy,
    bases: Mapping[str, list[str]],
    services: pd.Index,
    past: Past,
) -> pd.DataFrame:
    """Return ``hours_per_year`` with ends, by service [hours]."""
    # A service's base image moves along. A host is shared by nobody (point, ``hi``) or by
    # all (``lo``).
    settings = policy["churn"]
    since = str(settings["forced_since"])
    host = np.array(host_rate(target, policy, past.own)) * int(target["hosts_n"])
    cost = settings["hours_upgrade"] + np.array(past.failure) * settings["hours_fix"]
    by_system: dict[tuple[Any, ...], np.ndarray] = {}
    rows = []
    for service in services:
        systems = tuple(reference.base_system(base) for base in bases.get(service, ()))
        if systems not in by_system:
            known = systems or ((None, None),)
            rate = pace.fastest(*(pace.system_rate(*system, since) for system in known))
            by_system[systems] = np.array(rate)
        rows.append(by_system[systems])
    base = np.array(rows, dtype=float).reshape(-1, len(ENDS))
    # one upgrade may serve both clocks (point, lo), or one each (hi)
    events = np.maximum(base, host)
    events[:, 1] = np.maximum(base[:, 1], host[1] / max(len(services), 1))
    events[:, 2] = base[:, 2] + host[2]
    columns = [f"hours_per_year{end}" for end in ENDS]
    return pd.DataFrame(events * cost, services, columns, dtype="Float64")
