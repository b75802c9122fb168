"""Upgrade churn per service: rate of upgrades, rate of failures, and hours of work for both.

The pace of a host is the faster of the pace forced by the ends of its lines and its own past pace.
A service has the mean pace of its hosts. A service without an engine has no pace of its own
yet: its figures are those of the target engine, prospective.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series

from assess import reference
from assess.frames import Frames, Row
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import Floats
from assess.score.blast_radius.placement import on_bases
from assess.score.result import ENDS, Explanation, Provenance, Result, Tables, with_ends
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.breaking import (
    BLIND,
    COLUMNS,
    MAY,
    NOTE,
    PRODUCTS,
    WILL,
    Goal,
    breaks,
    goal_of,
    goals_of,
    on_hosts,
)
from assess.score.upgrade_churn.calendar import by_remedy, calendar, clocks, nearest_end
from assess.score.upgrade_churn.history import NOWHERE, History, known_history
from assess.score.upgrade_churn.in_use import KUBERNETES, is_node
from assess.score.upgrade_churn.sights import (
    host_engines,
    images_by_maker,
    unplaced_replicas,
)
from assess.words import Json, records

BASES = {  # of a service on several hosts the first counts
    pace.MEASURED: "Measured on its hosts",
    pace.MANAGED: "Its provider patches hosts and runtime; what is left",
    pace.UNKNOWN: "Its hosts or their engine are unknown, so this is the whole range",
    pace.PROSPECTIVE: "It runs beside any engine today; on the target engine it would have",
}

# tables that no label needs
WORK = ("simulation", "remedies", "calendar", "notes")
PAST = ("image_changes", "moves", "pace")


class UpgradeChurn(Result):
    """Upgrade churn of every service.

    ``frame``: ``events_per_year, failures_per_year, hours_per_year`` [per year], ``score`` [points,
    0-100, high is bad], each with ``_lo, _hi``; ``hours_undivided`` [hours per year, the hosts not
    shared]; ``basis``; ``days_to_eol`` [days to the nearest end of support that is known, NA
    where an engine or system beneath it is unknown];
    ``versions_behind`` [lines]; ``breaking_n`` [changes that will break something in use; NA where
    the engine is unknown, or with a day the image], ``breaking_unknown_n`` [changes that may, since
    a fact is unknown]; images by who makes them, ``third_party_images_n`` and
    ``first_party_images_n``, how often they changed over the history, ``…_changes_n``, and
    ``…_changes_per_year`` with ``_lo, _hi`` [NA where no two snapshots that follow each other saw
    them].

    ``contributions``: ``service_id, host_id, part`` (upgrade or failure), ``hours`` [per year],
    which add up to ``hours_per_year``. ``details``: ``breaking`` (as `breaks` returns it; an object
    of a cluster, or a host, may be of no known service), ``simulation`` (the same by host, what is
    unknown included, as `on_hosts` returns it), ``remedies`` and ``calendar`` (as `by_remedy` and
    `calendar` return them), ``clocks``, ``blind`` (the services of which nobody knows all that
    breaks, as an engine, an image or the target is unknown; NA for hosts and objects of none); of
    the history ``image_changes``, ``moves`` and ``pace`` (`assess.score.upgrade_churn.pace`).
    """

    name = "upgrade_churn"
    summary_columns = (
        *("events_per_year", "failures_per_year", "hours_per_year", "score"),
        *("days_to_eol", "versions_behind", "breaking_n", "basis"),
    )

    def explain(self, service_id: str) -> Explanation:
        """Explain the churn of a service; the table holds its clocks."""
        row = self.row(service_id)
        times = self._of("clocks", service_id).drop(columns="service_id")
        hits = self._of("breaking", service_id)
        text = "\n".join(_sentences(row, times, hits))
        table = times.set_index("component")
        return Explanation(f"{service_id}: upgrade churn", text, table)

    def _lists(self) -> Json:
        """Return ``breaking`` by service: one entry per workload and change."""
        breaking: dict[str, list[Row]] = {}
        for hit in records(self.details["breaking"][COLUMNS]):
            # the key of the facts (`assess facts breaks`) under its own name, too
            row = hit | {"change_id": hit["change"]}
            breaking.setdefault(hit["service_id"], []).append(row)
        return {"breaking": breaking}

    def to_dict(self) -> Json:
        """Return plain JSON types, with breaking changes by host and remedy, and the calendar."""
        names = ("simulation", "remedies", "calendar")
        tables = {name: records(self.details[name]) for name in names}
        return {**super().to_dict(), **tables}


def score_upgrade_churn(  # noqa: PLR0913 - each is a question of its own
    inventory: Inventory,
    policy: Policy,
    *,
    target: str = "",
    by: str = "",
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
        What to go to, such as ``docker:29``, ``containerd:2.1``, ``kubernetes:1.35`` or, of an
        image, ``postgres:18``; a bare version is docker's. Without one, the policy's engine, and
        the newest line of every other runtime in use.
    by : str, default ""
        Day until which announced events of the world count, such as 2026-12-31; without a target
        only they do.
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
    RequestError
        If the target is not a version of a known product, or the day is not a date.

    Notes
    -----
    ``events = max(forced, own)``; ``failures = events * P_fail``; ``hours = events * hours_upgrade +
    failures * hours_fix``; ``score = 100 * (1 - exp(-failures / x0))``. Lower ends multiply with lower
    ends and upper with upper, so intervals are wide rather than narrow. Several clocks of one host
    (engine, system, base image) may be served by one upgrade (point, ``lo``) or by one each (``hi``).

    Examples
    --------
    >>> churn = assess.score_upgrade_churn(inventory, policy, target="docker:29")
    >>> breaks = churn.details["breaking"]
    >>> breaks.query("service_id == 'wiki' and certainty == 'will'")["change"].tolist()
    ['DOCKER-runc-copy', 'EC0282', 'EC0406', 'engine_kernel']
    """
    asked = goal_of(target) if target else None
    goal = reference.target_engine(policy["target"])
    docker = reference.target_docker(policy["target"])
    goals = goals_of(inventory, docker)
    if asked and asked.product == reference.ENGINE:
        goal = docker = asked.version
    if asked or by:
        goals = [asked] if asked else []
    beside = policy["blast_radius"]["off_engine"]
    found = breaks(inventory, goals, by, beside)
    everything = inventory  # builds included
    inventory = inventory.running
    engines = host_engines(inventory)
    placed = pace.places(inventory, policy, goal)
    bases = base_images(inventory)
    times = clocks(inventory, placed, engines, bases)
    broken = found[found["certainty"] != NOTE]
    hits = broken[broken["certainty"].isin([WILL, MAY])].reset_index(drop=True)
    past = known_history(inventory, policy, history=history, previous=previous)
    unplaced = unplaced_replicas(inventory, policy)
    paces = partial(pace.paces, inventory, policy, bases=bases, past=past)
    frame, parts = _paced(paces, placed, unplaced, policy["churn"])
    # a service that may have ended may run nowhere that is known
    unread = _unread(inventory, placed).union(unplaced.index)
    frame["days_to_eol"] = nearest_end(times, unread)
    frame["versions_behind"] = _versions_behind(placed, docker)
    blind = unread | _blind(found, inventory, goals)
    if by or (asked and asked.product not in PRODUCTS):
        blind |= _of_unknown_image(inventory["workloads"], placed)
    frame = frame.join(_breaking(broken, frame.index, blind))
    named = DataFrame({"service_id": list(blind)}, dtype="str").sort_values("service_id")
    frame = frame.join(images_by_maker(inventory, policy))
    frame = frame.join(pace.image_rates(past, frame.index, policy))
    ready = {"breaking": hits, "clocks": times, "blind": named}
    later = dict.fromkeys(WORK, partial(_work, everything, found, hits, times))
    later |= dict.fromkeys(PAST, partial(_past, past, policy))
    details = Tables(ready, later)
    return UpgradeChurn(frame, parts, Provenance.of(inventory, policy), details)


def _paced(
    paces: Callable[[list[pace.Place]], Any],
    placed: list[pace.Place],
    unplaced: Series,
    settings: Mapping[str, float],
) -> tuple[DataFrame, DataFrame]:
    """Return pace, work and score of every service, and the contributions to its hours."""
    host, events, chance = paces(placed)
    share = host / _tenants(placed, unplaced.index) + events - host
    rates = _per_place(placed, events, chance, share, settings)
    frame = _per_service(rates)
    if not unplaced.empty:
        there = [pace.ANYWHERE]
        _, often, fails = paces(there)
        _widen(frame, unplaced, _per_place(there, often, fails, often, settings))
    parts = _contributions(rates, share[:, 0], chance[:, 0], settings)
    return _scored(frame, rates, settings), parts


def _work(
    inventory: Inventory, found: DataFrame, hits: DataFrame, times: DataFrame
) -> Frames:
    """Return the tables of what is to do, `WORK`."""
    is_note = found["certainty"].eq(NOTE)
    return {
        "simulation": on_hosts(found[~is_note]),
        "remedies": by_remedy(hits, inventory["services"]),
        "calendar": calendar(inventory, times),
        "notes": on_hosts(found[is_note]),
    }


def _past(past: History, policy: Policy) -> Frames:
    """Return the tables of what changed, `PAST`."""
    return {
        "image_changes": pace.image_changes(past, policy),
        "moves": pace.moves(past, policy),
        "pace": pace.fleet_pace(past, policy),
    }


def _unread(inventory: Inventory, placed: list[pace.Place]) -> set[str]:
    """Return the services whose engine nobody knows at some place."""
    nodes = set(inventory["engines"].dropna(subset="kubelet_version")["host_id"])
    return {place.service_id for place in placed if _is_blind(place, nodes)}


def _blind(found: DataFrame, inventory: Inventory, goals: Sequence[Goal]) -> set[Any]:
    """Return the services, NA for none, whose breaking changes are not all known."""
    blind = set(found.loc[found["change"].eq(BLIND), "service_id"])
    is_asked = KUBERNETES in [goal.product for goal in goals] and is_node(inventory).any()
    # of a cluster whose objects nobody listed, any may break
    return blind if inventory.has("objects") or not is_asked else blind | {pd.NA}


def _is_blind(place: pace.Place, nodes: set[str]) -> bool:
    """Return whether nobody knows the engine of a place; the kubelet of ``nodes`` is known."""
    if place.basis in (pace.PROSPECTIVE, pace.MANAGED) or place.product == "none":
        return False
    if place.product == reference.ENGINE:
        return not reference.is_known(place.version)
    is_asked = place.product in PRODUCTS
    if reference.platform_kind(place.product) == "cluster":
        # a provider's cluster breaks what Kubernetes of its version breaks
        is_asked = place.host_id in nodes
    return not is_asked or reference.line_of(place.product, place.version) is None


def _of_unknown_image(workloads: DataFrame, placed: list[pace.Place]) -> set[str]:
    """Return the services in containers of unknown image, which any event may hit."""
    contained = {place.service_id for place in placed if place.basis != pace.PROSPECTIVE}
    unnamed = workloads[workloads["repository"].isna()]
    return contained.intersection(unnamed["service_id"])


def _breaking(broken: DataFrame, services: Index, blind: set[str]) -> DataFrame:
    """Count by service the breaking changes (NA if its engine is unknown) and the unknown ones."""
    will = broken[broken["certainty"] == WILL]
    others = broken[broken["certainty"] != WILL]
    counts = {
        "breaking_n": will.groupby("service_id")["change"].nunique(),
        "breaking_unknown_n": others.groupby("service_id")["change"].nunique(),
    }
    counted = DataFrame(counts).reindex(services).fillna(0).astype("Int64")
    # a known break stays a count: a lower bound is more than nothing
    may_hide_some = services.isin(blind) & counted["breaking_n"].eq(0)
    return counted.assign(breaking_n=counted["breaking_n"].mask(may_hide_some))


def _tenants(placed: list[pace.Place], unsure: Index) -> Floats:
    """Count the services on each host; an unknown host may have as many as the fullest one.

    A service that is ``unsure`` has a replica that may be anywhere, or one that may have ended.
    """
    counts = Counter(place.host_id for place in placed)
    sure = Counter(p.host_id for p in placed if p.service_id not in unsure)
    counts.pop(NOWHERE, None)
    # ends are crossed: the more tenants, the smaller the share of each
    tenants = {
        host: (n, n + len(unsure), max(sure[host], 1)) for host, n in counts.items()
    }
    fullest = max(counts.values(), default=0) + len(unsure)
    tenants[NOWHERE] = (1, max(fullest, 1), 1)
    rows = [tenants[place.host_id] for place in placed]
    return np.array(rows, float).reshape(-1, 3)


def _per_place(
    placed: list[pace.Place],
    events: Floats,
    chance: Floats,
    share: Floats,
    settings: Mapping[str, float],
) -> DataFrame:
    """Return the pace and the hours of every place; index ``service_id``."""
    cost = settings["hours_upgrade"] + chance * settings["hours_fix"]
    parts = {
        "events_per_year": events,
        "failures_per_year": events * chance,
        "hours_per_year": share * cost,
    }
    table = DataFrame(placed, columns=pace.Place._fields)
    for name, part in parts.items():
        table[with_ends(name)] = part
    table["hours_undivided"] = (events * cost)[:, 0]
    return table.astype({"service_id": "str"}).set_index("service_id")


def _per_service(rates: DataFrame) -> DataFrame:
    """Return the mean pace over the hosts of a service, and the sum of their hours."""
    grouped = rates.groupby(level=0)
    frame = grouped.mean(numeric_only=True)
    hours = [name for name in frame if name.startswith("hours")]
    frame[hours] = grouped[hours].sum()
    return frame


def _widen(frame: DataFrame, unplaced: Series, there: DataFrame) -> None:
    """Let every replica that may be anywhere, or gone, be the only service of ours on its host."""
    names = unplaced.index.intersection(frame.index)
    low = frame.filter(regex="_lo$").columns
    high = frame.filter(regex="_hi$").columns
    most = there[high].max()
    ends = frame.loc[names, high].clip(lower=most, axis=1)
    # hours add up: each replica may need a host of its own
    hours = "hours_per_year_hi"
    ends[hours] += most[hours] * unplaced[names]
    frame.loc[names, high] = ends
    frame.loc[names, low] = 0.0


def _scored(
    frame: DataFrame, rates: DataFrame, settings: Mapping[str, float]
) -> DataFrame:
    """Add the score, and the basis: of several the first in `BASES`."""
    for end in ENDS:
        failures = frame[f"failures_per_year{end}"]
        frame[f"score{end}"] = 100 * (1 - np.exp(-failures / settings["x0"]))
    order = pd.CategoricalDtype(list(BASES), ordered=True)
    basis = rates["basis"].astype(order).groupby(level=0).min()
    return frame.astype("Float64").assign(basis=basis.astype("str"))


def _versions_behind(placed: list[pace.Place], docker: str) -> Series:
    """Return by service the most lines that one of its engines is behind."""
    services = [place.service_id for place in placed]
    behind = Series([_lines_behind(place, docker) for place in placed], dtype="Int64")
    return behind.groupby(services).max()


def _lines_behind(place: pace.Place, goal: str) -> int | None:
    if place.basis == pace.PROSPECTIVE:
        return None
    if place.product != reference.ENGINE:
        return reference.lines_behind(place.product, place.version)
    return reference.versions_behind(place.version, goal)


def _contributions(
    rates: DataFrame, share: Floats, chance: Floats, settings: Mapping[str, float]
) -> DataFrame:
    hours = {
        "failure": share * chance * settings["hours_fix"],
        "upgrade": share * settings["hours_upgrade"],
    }
    key = ["service_id", "host_id"]
    table = rates["host_id"].replace(NOWHERE, pd.NA).reset_index().assign(**hours)
    rows = table.melt(key, var_name="part", value_name="hours")
    return rows.sort_values([*key, "part"], ignore_index=True)


def base_images(inventory: Inventory) -> dict[str, list[str]]:
    """Return the base images of every service, sorted; one that nobody knows is empty."""
    replicas = inventory["workloads"]
    known = on_bases(inventory, replicas)
    is_bare = ~replicas["workload_id"].isin(known["workload_id"])
    rows = pd.concat([known, replicas[is_bare].assign(element="")])
    groups = rows.groupby("service_id")["element"]
    return {str(service): sorted(set(bases)) for service, bases in groups}


def _sentences(row: Series, times: DataFrame, hits: DataFrame) -> list[str]:
    def interval(name: str, digits: int = 1) -> str:
        point, lo, hi = (f"{number:.{digits}f}" for number in row[with_ends(name)])
        return f"{point} ({lo} to {hi})"

    text = [
        f"{BASES[row['basis']]}: {interval('events_per_year')} upgrades a year, of which "
        f"{interval('failures_per_year', 2)} fail; {interval('hours_per_year')} hours of work a "
        f"year as its share, {row['hours_undivided']:.1f} if it had its hosts to itself."
    ]
    dated = times.dropna(subset="days_to_eol")
    if dated.empty:
        text.append(
            "No end of support is known of anything beneath it: unknown, not safe."
        )
    else:
        first = dated.loc[dated["days_to_eol"].idxmin()]
        days = first["days_to_eol"]
        when = f"ends in {days} days" if days >= 0 else f"ended {-days} days ago"
        named = " ".join(first[["component", "name", "version"]].dropna())
        text.append(f"Nearest end of support: {named} {when}.")
    if pd.notna(row["versions_behind"]):
        text.append(f"Release lines behind the target: {row['versions_behind']}.")
    if pd.isna(row["breaking_n"]):
        text.append(
            "What breaks on the way to the target, or until the day, cannot be said: its engine "
            "or an image is unknown."
        )
    sure = hits[hits["certainty"] == WILL].drop_duplicates(["change", "why"])
    for hit in sure.itertuples():
        text.append(
            f"{hit.change} breaks {hit.what} {hit.moment}: {hit.why}. {hit.remedy}."
        )
    if row["breaking_unknown_n"]:
        text.append(
            f"Changes that may break it, as a fact is unknown: {row['breaking_unknown_n']}."
        )
    return text
