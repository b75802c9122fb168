"""Upgrade churn: how often upgrades come, how often they fail, and what both cost, per service.

The pace of a host is the faster of what the end of its lines forces and what its own history shows.
A service has the mean pace of the hosts beneath it. One that runs beside any engine has none of
that yet: its figures are those of the target engine, prospective.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess import reference
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.placement import on_bases
from assess.score.incidents.rates import Interval
from assess.score.result import Explanation, Provenance, Result, records_by
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.breaking import breaks, on_hosts
from assess.score.upgrade_churn.change_rates import (
    fleet_pace,
    image_changes,
    image_rates,
    moves,
)
from assess.score.upgrade_churn.end_of_life import base_system, clocks
from assess.score.upgrade_churn.history import (
    NOWHERE,
    History,
    host_engines,
    known_history,
)
from assess.words import plain

ENDS = ("", "_lo", "_hi")
BASES = {  # of a service on several hosts the first counts
    pace.MEASURED: "Measured on its hosts",
    pace.UNKNOWN: "Its hosts or their engine are unknown, so this is the whole range",
    pace.PROSPECTIVE: "It runs beside any engine today; on the target engine it would have",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class UpgradeChurn(Result):
    """Upgrade churn of every service.

    ``frame``: ``events_per_year, failures_per_year, hours_per_year`` [per year], ``score`` [points,
    0-100, high is bad], each with ``_lo, _hi``; ``hours_undivided`` [hours per year, the hosts not
    shared]; ``basis``; ``days_to_eol`` [days to the nearest end of support]; ``versions_behind``
    [lines]; ``breaking_n`` [changes that hit something in use; NA where the engine is unknown],
    ``breaking_unknown_n`` [facts that a change on the way asks for and nobody knows]; images by
    who makes them, ``third_party_images_n`` and ``first_party_images_n``, how often they changed
    over the history, ``…_changes_n``, and ``…_changes_per_year`` with ``_lo, _hi`` [NA where no
    two snapshots that follow each other saw them].

    ``contributions``: ``service_id, host_id, part`` (upgrade or failure), ``hours`` [per year],
    which add up to ``hours_per_year``. ``details``: ``breaking`` (by service, as `breaks` returns
    it), ``simulation`` (the same by host, what is unknown and hosts without a known service
    included, as `on_hosts` returns it), ``clocks``; of the history ``image_changes``, ``moves`` and
    ``pace`` (`assess.score.upgrade_churn.change_rates`).
    """

    name: ClassVar[str] = "upgrade_churn"
    summary_columns: ClassVar[tuple[str, ...]] = (
        *("events_per_year", "failures_per_year", "hours_per_year", "score"),
        *("days_to_eol", "versions_behind", "breaking_n", "basis"),
    )

    def explain(self, service_id: str) -> Explanation:
        """Explain the churn of a service; the table holds its clocks."""
        row = self.row(service_id)
        times, hits = (
            table[table["service_id"] == service_id].drop(columns="service_id")
            for table in (self.details["clocks"], self.details["breaking"])
        )
        text = "\n".join(_sentences(row, times, hits))
        return Explanation(
            f"{service_id}: upgrade churn", text, times.set_index("component")
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per service, in it ``breaking``: ``change_id, version, why``."""
        hits = self.details["breaking"][["service_id", "change_id", "version", "why"]]
        own = records_by(hits.drop_duplicates(), "service_id")
        return [
            {**row, "breaking": own.get(row["service_id"], [])} for row in super().rows()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, in them ``simulation``: what breaks, host by host."""
        simulated = self.details["simulation"].to_dict("records")
        return {**super().to_dict(), "simulation": plain(simulated)}


def score_upgrade_churn(
    inventory: Inventory,
    policy: Policy,
    *,
    target: str = "",
    previous: Inventory | None = None,
    history: History | None = None,
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
        An earlier inventory, whose engines and images show what was upgraded since: a history of
        one snapshot.
    history : History, optional
        What earlier snapshots show, as `upgrade_history` returns it; it stands before ``previous``.

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
    registries, level = policy["registries"], float(policy["simulation"]["level"])
    goal = reference.target_engine({"engine": target} if target else policy["target"])
    engines = host_engines(inventory)
    placed = pace.places(inventory, policy, goal)
    bases = _base_images(inventory)
    times = clocks(inventory, placed, engines, bases)
    broken = breaks(inventory, placed, engines, goal)
    hits = broken.dropna(subset=["service_id", "change_id"])
    unseen = broken[broken["change_id"].isna()].dropna(subset="service_id")
    past = known_history(inventory, policy, history=history, previous=previous)
    host, events, chance = _paces(inventory, policy, placed, bases, past)
    share = host / _tenants(placed) + events - host
    frame = _per_service(placed, events, chance, share, policy["churn"])
    behind = [_lines_behind(place, goal) for place in placed]
    by_service = pd.Series(behind, [place.service_id for place in placed], dtype="Int64")
    frame["days_to_eol"] = times.groupby("service_id")["days_to_eol"].min()
    frame["versions_behind"] = by_service.groupby(level=0).max()
    frame = frame.join(_breaking(hits, unseen, frame.index))
    frame = frame.join(_images(inventory, registries))
    frame = frame.join(image_rates(past, frame.index, registries, level=level))
    parts = _contributions(placed, share, chance, policy["churn"])
    details = {
        "breaking": hits.reset_index(drop=True),
        "simulation": on_hosts(broken),
        "clocks": times,
        "image_changes": image_changes(past, registries),
        "moves": moves(past, registries),
        "pace": fleet_pace(past, registries, level=level),
    }
    return UpgradeChurn(frame, parts, Provenance.of(inventory, policy), details)


def _paces(
    inventory: Inventory,
    policy: Policy,
    placed: list[pace.Place],
    bases: dict[str, list[str]],
    past: History,
) -> Floats:
    """Return pace of the host, pace with the base image [per year], and chance of failure, by place."""
    since, level = (
        str(policy["churn"]["forced_since"]),
        float(policy["simulation"]["level"]),
    )
    own_rates = pace.own_rates(inventory, policy, past)
    # a host that nobody watched may be upgraded as often as any
    unwatched = Interval(
        0.0, 0.0, max((rate.hi for rate in own_rates.values()), default=np.inf)
    )
    tallies = pace.upgrade_failures(past, policy)
    columns = ["host_id", "os_name", "os_version"]
    systems = {
        host: system
        for host, *system in inventory["hosts"][columns].itertuples(index=False)
    }
    rows = []
    for service, host, basis, product, version in placed:
        line = reference.line_of(product, version)
        own_rate = own_rates.get(host, unwatched) if basis == pace.MEASURED else unwatched
        engine = pace.engine_rate(product, line, own_rate, since)
        system = pace.system_rate(*systems.get(host, (None, None)), since)
        images = [base_system(base) for base in bases.get(service, [])] or [(None, None)]
        base = pace.fastest(*(pace.system_rate(*image, since) for image in images))
        whole = pace.together(engine, system)
        tally = tallies.get(line or pace.POOL) or tallies.get(pace.POOL) or (0, 0, 0)
        rows.append(
            (whole, pace.together(whole, base), pace.failure_chance(tally, level))
        )
    return np.array(rows, dtype=float).reshape(-1, 3, 3).transpose(1, 0, 2)


def _breaking(
    hits: pd.DataFrame, unseen: pd.DataFrame, services: pd.Index
) -> pd.DataFrame:
    """Count by service what breaks (NA where its engine is unknown), and what nobody knows."""
    counts = {
        "breaking_n": hits.groupby("service_id")["change_id"].nunique(),
        "breaking_unknown_n": unseen.groupby("service_id")["fact"].nunique(),
    }
    counted = pd.DataFrame(counts).reindex(services).fillna(0).astype("Int64")
    is_blind = services.isin(unseen.loc[unseen["fact"].eq("version"), "service_id"])
    counted.loc[is_blind & counted["breaking_n"].eq(0), "breaking_n"] = pd.NA
    return counted


def _tenants(placed: list[pace.Place]) -> Floats:
    """Count the services that share a host; an unknown one may be shared by the most there are."""
    known = Counter(place.host_id for place in placed if place.host_id)
    unknown = (1, max(known.values(), default=1), 1)
    counts = [
        [known[place.host_id]] * 3 if place.host_id else unknown for place in placed
    ]
    return np.array(counts, dtype=float).reshape(-1, 3)


def _per_service(
    placed: list[pace.Place],
    events: Floats,
    chance: Floats,
    share: Floats,
    settings: Mapping[str, float],
) -> pd.DataFrame:
    """Mean pace over the hosts of a service, and the hours of all of them."""
    cost = settings["hours_upgrade"] + chance * settings["hours_fix"]
    parts = {
        "events_per_year": events,
        "failures_per_year": events * chance,
        "hours_per_year": share * cost,
    }
    cells = {
        f"{n}{end}": part[:, i] for n, part in parts.items() for i, end in enumerate(ENDS)
    }
    cells["hours_undivided"] = (events * cost)[:, 0]
    index = pd.Index(
        [place.service_id for place in placed], dtype="str", name="service_id"
    )
    grouped = pd.DataFrame(cells, index).groupby(level=0)
    hours = [name for name in cells if name.startswith("hours")]
    frame = grouped.mean().assign(**grouped[hours].sum())
    for end in ENDS:
        failures = frame[f"failures_per_year{end}"]
        frame[f"score{end}"] = 100 * (1 - np.exp(-failures / settings["x0"]))
    ranks = pd.Series(
        [list(BASES).index(place.basis) for place in placed], index, dtype=int
    )
    basis = ranks.groupby(level=0).min().map(dict(enumerate(BASES)))
    return frame.astype("Float64").assign(basis=basis.astype("str"))


def _lines_behind(place: pace.Place, goal: str) -> int | None:
    is_engine = place.product == reference.ENGINE and place.basis != pace.PROSPECTIVE
    return reference.versions_behind(place.version, goal) if is_engine else None


def _contributions(
    placed: list[pace.Place], share: Floats, chance: Floats, settings: Mapping[str, float]
) -> pd.DataFrame:
    """Hours of every host, by what they go into."""
    table = pd.DataFrame(
        [place[:2] for place in placed], columns=["service_id", "host_id"]
    )
    table["failure"] = (share * chance)[:, 0] * settings["hours_fix"]
    table["upgrade"] = share[:, 0] * settings["hours_upgrade"]
    key = ["service_id", "host_id"]
    table = (
        table.astype(dict.fromkeys(key, "str"))
        .replace(NOWHERE, pd.NA)
        .melt(key, var_name="part", value_name="hours")
    )
    return table.sort_values([*key, "part"], kind="stable", ignore_index=True)


def _base_images(inventory: Inventory) -> dict[str, list[str]]:
    groups = on_bases(inventory).groupby("service_id")["element"]
    return {str(service): sorted(set(bases)) for service, bases in groups}


def _images(inventory: Inventory, registries: Mapping[str, Any]) -> pd.DataFrame:
    """Count the images of a service by who makes them: the third-party ones move by themselves."""
    images = inventory["workloads"][
        ["service_id", "registry", "repository"]
    ].drop_duplicates()
    is_named = images[["registry", "repository"]].notna().all(axis=1)
    is_third = images["registry"].isin(registries["public"])
    space = images["repository"].str.replace("/.*", "", regex=True)
    is_third &= ~space.isin(registries["own_namespaces"])
    counts = {
        "third_party_images_n": is_named & is_third,
        "first_party_images_n": is_named & ~is_third,
    }
    return pd.DataFrame(counts).groupby(images["service_id"]).sum().astype("Int64")


def _sentences(row: pd.Series, times: pd.DataFrame, hits: pd.DataFrame) -> list[str]:
    def interval(name: str, digits: int = 1) -> str:
        point, lo, hi = (f"{row[f'{name}{end}']:.{digits}f}" for end in ENDS)
        return f"{point} ({lo} to {hi})"

    text = [
        f"{BASES[row['basis']]}: {interval('events_per_year')} upgrades a year, of which "
        f"{interval('failures_per_year', 2)} fail; {interval('hours_per_year')} hours of work a "
        f"year as its share, {row['hours_undivided']:.1f} if it had its hosts to itself."
    ]
    first = times.dropna(subset="days_to_eol").nsmallest(1, "days_to_eol")
    for days, *names in first[["days_to_eol", "component", "name", "version"]].itertuples(
        index=False
    ):
        when = f"ends in {days} days" if days >= 0 else f"ended {-days} days ago"
        named = " ".join(name for name in names if isinstance(name, str))
        text.append(f"Nearest end of support: {named} {when}.")
    if first.empty:
        text.append(
            "No end of support is known of anything beneath it: unknown, not safe."
        )
    if pd.notna(row["versions_behind"]):
        lines = "line" if row["versions_behind"] == 1 else "lines"
        text.append(f"It is {row['versions_behind']} release {lines} behind the target.")
    if pd.isna(row["breaking_n"]):
        text.append(
            "What the way to the target breaks cannot be said: its engine is unknown."
        )
    for version, why in (
        hits[["version", "why"]].drop_duplicates().itertuples(index=False)
    ):
        text.append(f"The way to the target breaks, from engine {version} on: {why}.")
    if row["breaking_unknown_n"]:
        text.append(f"{row['breaking_unknown_n']} facts that could break are not known.")
    return text
