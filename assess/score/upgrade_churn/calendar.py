"""The calendar: announced events that affect a fleet, and the work, by team."""

from typing import Any

import pandas as pd
from pandas import DataFrame, Timestamp

from assess.inventory import Inventory
from assess.score.upgrade_churn.breaking import MAY, WILL, joined, of_world

DAYS = 365  # four quarters
END = "support ends"
EVENT = "announced event"
COLUMNS = [
    "quarter",
    "day",
    "kind",
    "what",
    "certainty",
    "services_n",
    "services",
    "remedy",
    "source",
]
_WORK = ["remedy", "certainty", "moment", "change", "what", "source"]


def calendar(inventory: Inventory, clocks: DataFrame) -> DataFrame:
    """List by day which support ends and what the world announced, for the next four quarters."""
    start = inventory.snapshot_at
    until = start + pd.Timedelta(days=DAYS)
    rows = pd.concat([_ends(clocks, start, until), _events(inventory, start, until)])
    key = [name for name in COLUMNS if not name.startswith(("services", "quarter"))]
    table = _grouped(rows, key)
    table = table.sort_values(["day", "kind", "what"], ignore_index=True)
    days = table["day"].dt.tz_localize(None)
    table["quarter"] = days.dt.to_period("Q").astype("str")
    table["day"] = days.dt.strftime("%Y-%m-%d").astype("str")
    return table[COLUMNS]


def by_remedy(breaks: DataFrame, services: DataFrame) -> DataFrame:
    """Group breaking changes by remedy, most workloads first, with counts, services and teams."""
    owners = services.set_index("service_id")["owner"]
    rows = breaks.assign(team=breaks["service_id"].map(owners))
    table = _grouped(
        rows,
        _WORK,
        workloads_n=("workload_id", "nunique"),
        hosts_n=("host_id", "nunique"),
        teams=("team", joined),
    )
    order = ["certainty", "workloads_n", *_WORK]
    # "will" comes before "may"
    ascending = [False, False, *[True] * len(_WORK)]
    return table.sort_values(order, ascending=ascending, ignore_index=True)


def _ends(clocks: DataFrame, start: Timestamp, until: Timestamp) -> DataFrame:
    found = clocks[clocks["eol_date"].gt(start) & clocks["eol_date"].le(until)]
    named = found["component"] + " " + found["name"] + " " + found["version"].fillna("")
    return found.assign(
        day=found["eol_date"],
        kind=END,
        what=named.str.strip(),
        certainty=WILL,
        remedy="move to a line that is still supported",
        source="support windows of the reference facts",
    )


def _events(inventory: Inventory, start: Timestamp, until: Timestamp) -> DataFrame:
    found = of_world(inventory, until, after=start)
    found = found[found["certainty"].isin([WILL, MAY])]
    columns = ["service_id", "day", "what", "certainty", "remedy", "source"]
    return found[columns].assign(kind=EVENT)


def _grouped(rows: DataFrame, key: list[str], **counts: Any) -> DataFrame:
    groups = rows.groupby(key, dropna=False, sort=True)
    table = groups.agg(
        services_n=("service_id", "nunique"), services=("service_id", joined), **counts
    )
    return table.reset_index()
