"""Upgrade churn: how often upgrades come, how often they fail, and what both cost, per service.

The pace of a host is the faster of what the end of its lines forces and what its own history shows.
A service has the mean pace of the hosts beneath it. One that runs beside any engine has none of
that yet: its figures are those of the target engine, prospective, with today's beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.clocks import clocks
from assess.score.result import Explanation, Provenance, Result
from assess.score.upgrade_breaks import breaks
from assess.score.upgrade_ground import MEASURED, PROSPECTIVE, UNKNOWN, Ground, ground_of, paces
from assess.score.upgrade_pace import DOCKER, ENDS, upgrade_failures

FRAME_COLUMNS = [
    *(f"{name}{end}" for name in ("events_per_year", "failures_per_year") for end in ENDS),
    *(f"{name}{end}" for name in ("hours_per_year", "score") for end in ENDS),
    *("days_to_eol", "clock", "versions_behind", "breaking_n", "breaking_unknown_n"),
    *("hours_undivided", "events_today", "basis", "hosts_n", "tenants_n"),
    *("third_party_images_n", "first_party_images_n"),
]


@dataclass(frozen=True, eq=False, repr=False)
class UpgradeChurn(Result):
    """Upgrade churn of every service.

    ``frame``: ``events_per_year, failures_per_year, hours_per_year`` [per year], ``score`` [points,
    0-100, high is bad], each with ``_lo, _hi``; ``days_to_eol`` [days to the nearest end of
    support] and the ``clock`` that shows it; ``versions_behind`` [lines]; ``breaking_n`` [changes
    that hit something in use; NA where the engine is unknown], ``breaking_unknown_n`` [facts that a
    change on the way asks for and nobody knows]; ``hours_undivided`` [hours per year, the hosts not
    shared]; ``events_today`` [per year]; ``basis``; ``hosts_n``; ``tenants_n`` [services on its
    fullest host]; images by origin.

    ``contributions``: ``service_id, host_id, part`` (upgrade or failure), ``hours`` [per year],
    which add up to ``hours_per_year``. ``details``: ``breaking``, ``breaking_unknown``, ``clocks``,
    ``paces`` per service and host, ``failures`` per line.
    """

    name: ClassVar[str] = "upgrade_churn"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "events_per_year",
        "failures_per_year",
        "hours_per_year",
        "score",
        "days_to_eol",
        "versions_behind",
        "breaking_n",
        "basis",
    )

    def explain(self, service_id: str) -> Explanation:
        """Say what makes a service's churn.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Explanation
            A few sentences; the table holds its clocks.

        Raises
        ------
        AssessError
            Where there is no such service.
        """
        row = self.row(service_id)
        table = self._own("clocks", service_id).set_index("component")
        why = self._own("breaking", service_id)["why"].drop_duplicates()
        text = "\n".join(_sentences(row, list(why)))
        return Explanation(f"{service_id}: upgrade churn", text, table)

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per service.

        Returns
        -------
        list of dict
            Columns of the frame, and ``breaking``: ``change_id, why`` once per change.
        """
        listed = self.details["breaking"][["service_id", "change_id", "why"]].drop_duplicates()
        own = {
            name: part[["change_id", "why"]].to_dict("records")
            for name, part in listed.groupby("service_id")
        }
        return [{**row, "breaking": own.get(row["service_id"], [])} for row in super().rows()]

    def _own(self, detail: str, service_id: str) -> pd.DataFrame:
        table = self.details[detail]
        return table[table["service_id"] == service_id].drop(columns="service_id")


def score_upgrade_churn(
    inventory: Inventory,
    policy: Policy,
    *,
    target: str = "",
    previous: Inventory | None = None,
) -> UpgradeChurn:
    """Score the upgrade churn of every service.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads, hosts, engines, images, activities, incidents``.
    policy : Policy
        ``[churn]``, ``[target]`` and ``[simulation]``.
    target : str, default ""
        Engine to go to; without one, the policy's.
    previous : Inventory, optional
        An earlier inventory, whose engine versions tell what was upgraded since.

    Returns
    -------
    UpgradeChurn
        One row per service, in order of ``service_id``.

    Raises
    ------
    PolicyError
        Where the target is not a version.

    Notes
    -----
    ``events = max(forced, own)``; ``failures = events * P_fail``;
    ``hours = events * hours_upgrade + failures * hours_fix``;
    ``score = 100 * (1 - exp(-failures / x0))``. Lower ends multiply with lower ends and upper with
    upper, so intervals are wide rather than narrow. Several clocks of one host (engine, system,
    base image) may be served by one upgrade (point, ``lo``) or by one each (``hi``).
    """
    goal = reference.target_engine({"engine": target} if target else policy["target"])
    index = pd.Index(sorted(inventory["services"]["service_id"]), name="service_id", dtype="str")
    ground = ground_of(inventory, policy, previous=previous)
    failures = upgrade_failures(inventory, policy)
    pace = paces(inventory, policy, ground, failures, goal)
    on_engine = ground.pairs[ground.pairs["on_engine"]]
    hits, unseen = breaks(inventory, on_engine, ground.engines, goal)
    times = clocks(inventory, ground.pairs, ground.engines, ground.bases)
    frame = _per_service(pace, index, policy).join(_nearest(times)).join(_behind(ground, goal))
    frame = frame.join(_breaking(hits, unseen, index)).join(_images(inventory, policy))
    details = {
        "breaking": hits,
        "breaking_unknown": unseen,
        "clocks": times,
        "paces": pace,
        "failures": failures.reset_index(),
    }
    origin = Provenance.of(inventory, policy)
    return UpgradeChurn(frame[FRAME_COLUMNS], _contributions(pace, policy), origin, details)


def _per_service(pace: pd.DataFrame, index: pd.Index, policy: Policy) -> pd.DataFrame:
    """Mean pace over the hosts of a service, and the hours of all of them."""
    settings = policy["churn"]
    most = float(pace["tenants_n"].max()) if pace["tenants_n"].notna().any() else 1.0
    table = pace[["service_id", "host_id", "basis", "tenants_n", "today"]].copy()
    tenants = pace["tenants_n"].astype("float64")
    for end, unknown in zip(ENDS, (1.0, most, 1.0), strict=True):
        events, chance = pace[f"events{end}"], pace[f"chance{end}"]
        cost = settings["hours_upgrade"] + chance * settings["hours_fix"]
        own = events - pace[f"host{end}"]
        table[f"events_per_year{end}"] = events
        table[f"failures_per_year{end}"] = events * chance
        table[f"hours_per_year{end}"] = (pace[f"host{end}"] / tenants.fillna(unknown) + own) * cost
        table[f"undivided{end}"] = events * cost
    grouped = table.groupby("service_id")
    rates = [f"{name}{end}" for name in ("events_per_year", "failures_per_year") for end in ENDS]
    frame = grouped[[*rates, "today"]].mean().rename(columns={"today": "events_today"})
    hours = [f"hours_per_year{end}" for end in ENDS]
    frame[[*hours, "hours_undivided"]] = grouped[[*hours, "undivided"]].sum()
    for end in ENDS:
        failures = frame[f"failures_per_year{end}"]
        frame[f"score{end}"] = 100 * (1 - np.exp(-failures / settings["x0"]))
    frame = frame.astype("Float64")
    frame["hosts_n"] = grouped["host_id"].count().astype("Int64")
    frame["tenants_n"] = grouped["tenants_n"].max()
    ranks = table["basis"].map({MEASURED: 0, UNKNOWN: 1, PROSPECTIVE: 2})
    order = pd.Series([MEASURED, UNKNOWN, PROSPECTIVE])
    frame["basis"] = ranks.groupby(table["service_id"]).min().map(order)
    return frame.reindex(index)


def _contributions(pace: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Hours of every host, by what they go into."""
    settings = policy["churn"]
    shared = pace["host"] / pace["tenants_n"].astype("float64").fillna(1)
    share = shared + pace["events"] - pace["host"]
    parts = {
        "upgrade": share * settings["hours_upgrade"],
        "failure": share * pace["chance"] * settings["hours_fix"],
    }
    key = pace[["service_id", "host_id"]]
    rows = [key.assign(part=part, hours=hours) for part, hours in parts.items()]
    table = pd.concat(rows, ignore_index=True)
    return table.sort_values(["service_id", "host_id", "part"], kind="stable", ignore_index=True)


def _nearest(times: pd.DataFrame) -> pd.DataFrame:
    """Find the clock of each service that runs out first."""
    known = times.dropna(subset="days_to_eol")
    first = known.sort_values("days_to_eol", kind="stable").drop_duplicates("service_id")
    named = first["component"] + " " + first["name"] + " " + first["version"].fillna("")
    first = first.assign(clock=named.str.strip()).set_index("service_id")
    return first[["days_to_eol", "clock"]]


def _behind(ground: Ground, goal: str) -> pd.DataFrame:
    """Count the lines from the oldest engine of a service to the target."""
    held = ground.pairs[ground.pairs["on_engine"]]
    held = held.join(ground.engines[["product", "version"]], on="host_id")
    held = held[held["product"] == DOCKER]
    counts = [reference.versions_behind(version, goal) for version in held["version"]]
    held = held.assign(versions_behind=pd.Series(counts, index=held.index, dtype="Int64"))
    return held.groupby("service_id")[["versions_behind"]].max()


def _breaking(hits: pd.DataFrame, unseen: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """Count the changes that hit; with an engine unknown and none seen to hit, that is unknown."""
    counts = hits.drop_duplicates(["service_id", "change_id", "why"])["service_id"].value_counts()
    facts = unseen.drop_duplicates(["service_id", "fact"])["service_id"].value_counts()
    frame = pd.DataFrame(index=index)
    frame["breaking_n"] = counts.reindex(index, fill_value=0).astype("Int64")
    frame["breaking_unknown_n"] = facts.reindex(index, fill_value=0).astype("Int64")
    is_blind = index.isin(unseen.loc[unseen["fact"] == "version", "service_id"])
    frame["breaking_n"] = frame["breaking_n"].mask(is_blind & frame["breaking_n"].eq(0))
    return frame


def _images(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Count the images of a service by who makes them: the third-party ones move by themselves."""
    settings = policy["churn"]
    images = inventory["workloads"][["service_id", "registry", "repository"]].drop_duplicates()
    is_named = images["repository"].notna() & images["registry"].notna()
    space = images["repository"].str.replace("/.*", "", regex=True)
    is_third = images["registry"].isin(settings["public_registries"])
    is_third &= ~space.isin(settings["own_namespaces"])
    counts = pd.DataFrame(
        {
            "third_party_images_n": is_named & is_third,
            "first_party_images_n": is_named & ~is_third,
        }
    )
    return counts.groupby(images["service_id"]).sum().astype("Int64")


def _sentences(row: pd.Series, why: list[str]) -> list[str]:
    def held(name: str, digits: int = 1) -> str:
        ends = [row[f"{name}{end}"] for end in ENDS]
        point, lo, hi = (f"{end:.{digits}f}" for end in ends)
        return f"{point} ({lo} to {hi})"

    said = {
        MEASURED: "Measured on its hosts",
        PROSPECTIVE: "It runs beside any engine today; on the target engine it would have",
        UNKNOWN: "Its hosts or their engine are unknown, so this is the whole range",
    }
    text = [
        f"{said[row['basis']]}: {held('events_per_year')} upgrades a year, of which "
        f"{held('failures_per_year', 2)} fail; {held('hours_per_year')} hours of work a year as "
        f"its share, {row['hours_undivided']:.1f} if it had its hosts to itself."
    ]
    if row["basis"] == PROSPECTIVE:
        text.append(f"Today its systems force {row['events_today']:.1f} upgrades a year.")
    if pd.notna(row["days_to_eol"]):
        days = int(row["days_to_eol"])
        when = f"ends in {days} days" if days >= 0 else f"ended {-days} days ago"
        text.append(f"Nearest end of support: {row['clock']} {when}.")
    else:
        text.append(
            "No end of support is known of anything beneath it, which is unknown, not safe."
        )
    if pd.notna(row["versions_behind"]):
        lines = "line" if row["versions_behind"] == 1 else "lines"
        text.append(f"It is {row['versions_behind']} release {lines} behind the target.")
    if pd.isna(row["breaking_n"]):
        text.append("What the way to the target breaks cannot be said: its engine is unknown.")
    text += [f"The way to the target breaks: {sentence}." for sentence in why]
    if row["breaking_unknown_n"]:
        text.append(f"{row['breaking_unknown_n']} facts that could break are not known.")
    return text
