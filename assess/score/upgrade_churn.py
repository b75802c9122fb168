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
from assess.score import graph
from assess.score.clocks import base_system, clocks
from assess.score.result import Explanation, Provenance, Result
from assess.score.upgrade_breaks import breaks
from assess.score.upgrade_pace import (
    DOCKER,
    ENDS,
    POOL,
    failure_chance,
    forced_rate,
    host_engines,
    own_rates,
    places,
    product_line,
    releases_per_year,
    upgrade_failures,
)

MEASURED, PROSPECTIVE, UNKNOWN = "measured on hosts", "prospective from target", "unknown"
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
    change on the way asks for and nobody knows]; ``hours_undivided`` [hours per year, the hosts not shared];
    ``events_today`` [per year]; ``basis``; ``hosts_n``; ``tenants_n`` [services on its fullest
    host]; images by origin.

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
    services = inventory["services"].sort_values("service_id").set_index("service_id")
    engines = host_engines(inventory)
    engines = engines.join(own_rates(inventory, policy, engines, previous))
    pairs = _pairs(inventory, policy, services, engines)
    bases = _bases(inventory, policy)
    failures = upgrade_failures(inventory, policy)
    paces = _paces(inventory, policy, pairs, engines, bases, failures, goal)
    on_engine = pairs[pairs["basis"] != PROSPECTIVE]
    hits, unseen = breaks(inventory, on_engine.dropna(subset="host_id"), engines, goal)
    times = clocks(inventory, pairs, engines, bases)
    frame = _per_service(paces, services.index, policy)
    frame = frame.join(_nearest(times)).join(_behind(pairs, engines, goal))
    frame = frame.join(_breaking(hits, unseen, pairs, services.index))
    frame = frame.join(_images(inventory, policy))
    frame = frame.fillna({"third_party_images_n": 0, "first_party_images_n": 0})
    details = {
        "breaking": hits,
        "breaking_unknown": unseen,
        "clocks": times,
        "paces": paces,
        "failures": failures.reset_index(),
    }
    origin = Provenance.of(inventory, policy)
    return UpgradeChurn(frame[FRAME_COLUMNS], _contributions(paces, policy), origin, details)


def _pairs(
    inventory: Inventory, policy: Policy, services: pd.DataFrame, engines: pd.DataFrame
) -> pd.DataFrame:
    """Say for every service and host whether an engine is beneath it; a host may be unknown."""
    pairs = places(inventory, policy)
    homeless = services.index.difference(pairs["service_id"], sort=False)
    pairs = pd.concat([pairs, pd.DataFrame({"service_id": homeless})], ignore_index=True)
    pairs = pairs.astype({"service_id": "str", "host_id": "str", "on_engine": "boolean"})
    product = pairs["host_id"].map(engines["product"])
    platform = pairs["service_id"].map(services["platform"].astype("str"))
    is_plain = product.eq("none") | ~pairs["on_engine"].fillna(value=True)
    is_plain |= product.isna() & platform.eq("host")
    is_plain = is_plain.astype(bool)
    pairs["basis"] = np.select([is_plain, product.isna()], [PROSPECTIVE, UNKNOWN], MEASURED)
    pairs["on_engine"] = ~is_plain
    tenants = pairs.groupby("host_id")["service_id"].nunique()
    pairs["tenants_n"] = pairs["host_id"].map(tenants).astype("Int64")
    return pairs.sort_values(["service_id", "host_id"], kind="stable", ignore_index=True)


def _bases(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """List base images by service."""
    stands = graph.standing(inventory, policy)
    stands = stands[stands["element_kind"] == "base_image"]
    bases = stands.rename(columns={"element": "base"})[["service_id", "base"]].drop_duplicates()
    return bases.sort_values(["service_id", "base"], ignore_index=True)


def _paces(  # noqa: PLR0913, PLR0917
    inventory: Inventory,
    policy: Policy,
    pairs: pd.DataFrame,
    engines: pd.DataFrame,
    bases: pd.DataFrame,
    failures: pd.DataFrame,
    goal: str,
) -> pd.DataFrame:
    """Events and failures per year of every pair of service and host."""
    since = str(policy["churn"]["forced_since"])
    table = pairs.join(engines[["product", "line", "own", "own_lo", "own_hi"]], on="host_id")
    is_measured = table["basis"].eq(MEASURED)
    runtime = str(policy["target"]["runtime"])
    aim = DOCKER if runtime == "docker" else runtime
    product = table["product"].where(is_measured, DOCKER)
    line = table["line"].where(is_measured)
    is_plain = table["basis"].eq(PROSPECTIVE)
    product, line = product.mask(is_plain, aim), line.mask(is_plain, product_line(aim, goal))
    history = table[["own", "own_lo", "own_hi"]].where(is_measured).set_axis(ENDS, axis=1)
    engine = _faster(_forced(product, line, since), history, line, since)
    system = _systems(inventory, table["host_id"], since)
    base = _base_rates(table, bases, since)
    host = _together(engine, system)
    pair = _together(host, base)
    chances = [failure_chance(failures, x, policy["simulation"]) for x in line.fillna(POOL)]
    chance = pd.DataFrame(chances, columns=list(ENDS), index=table.index)
    for name, part in (("host", host), ("events", pair), ("chance", chance)):
        table[[f"{name}{end}" for end in ENDS]] = part[list(ENDS)].to_numpy()
    today = system[""].fillna(system["_mid"])
    table["today"] = today.where(is_plain, table["events"])
    return table


def _forced(product: pd.Series, line: pd.Series, since: str) -> pd.DataFrame:
    lines = [None if pd.isna(x) else str(x) for x in line]
    rates = [forced_rate(str(p), x, since) for p, x in zip(product, lines, strict=True)]
    return pd.DataFrame(rates, columns=list(ENDS), index=product.index, dtype="float64")


def _faster(forced: pd.DataFrame, own: pd.DataFrame, line: pd.Series, since: str) -> pd.DataFrame:
    """Take the faster of the forced and the own pace; nobody upgrades more often than releases."""
    lines = [None if pd.isna(x) else str(x) for x in line]
    most = pd.Series([releases_per_year(x, since) for x in lines], index=forced.index, dtype=float)
    own_hi = np.maximum(np.minimum(own["_hi"].fillna(np.inf), most), own[""].fillna(0))
    return pd.DataFrame(
        {
            "": np.fmax(forced[""], own[""]),
            "_lo": np.fmax(forced["_lo"], own["_lo"]),
            "_hi": np.fmax(forced["_hi"], own_hi),
        }
    )


def _together(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Put two clocks together: one upgrade may serve both, or neither the other."""
    return pd.DataFrame(
        {
            "": np.fmax(first[""], second[""]),
            "_lo": np.fmax(first["_lo"], second["_lo"]),
            "_hi": first["_hi"] + second["_hi"],
        }
    )


def _system_rate(name: str | None, line: str | None, since: str) -> tuple[float, ...]:
    """Pace of an operating system; what is unknown has no point, and counts only above."""
    rate = forced_rate(name or "", line, since)
    is_known = rate.lo == rate.hi
    return (rate.point if is_known else np.nan, rate.lo if is_known else 0.0, rate.hi, rate.point)


def _systems(inventory: Inventory, host_ids: pd.Series, since: str) -> pd.DataFrame:
    hosts = inventory["hosts"]
    rates = {}
    columns = ["host_id", "os_name", "os_version"]
    for host, name, version in hosts[columns].itertuples(index=False):
        line = reference.os_support(name, version, inventory.snapshot_at).line
        rates[host] = _system_rate(reference.distro_of(name), line, since)
    unknown = _system_rate(None, None, since)
    rows = [rates.get(host, unknown) for host in host_ids]
    return pd.DataFrame(rows, columns=[*ENDS, "_mid"], index=host_ids.index, dtype="float64")


def _base_rates(table: pd.DataFrame, bases: pd.DataFrame, since: str) -> pd.DataFrame:
    """Pace of the base images of each service: the fastest."""
    rates: dict[str, tuple[float, ...]] = {}
    at = pd.Timestamp(0, tz="UTC")
    for service, base in bases[["service_id", "base"]].itertuples(index=False):
        name, version = base_system(base)
        line = reference.os_support(name, version, at).line
        rate = _system_rate(reference.distro_of(name), line, since)
        rates[service] = tuple(np.fmax(rate, rates.get(service, rate)))
    unknown = _system_rate(None, None, since)
    rows = [rates.get(service, unknown) for service in table["service_id"]]
    return pd.DataFrame(rows, columns=[*ENDS, "_mid"], index=table.index, dtype="float64")


def _per_service(paces: pd.DataFrame, index: pd.Index, policy: Policy) -> pd.DataFrame:
    """Mean pace over the hosts of a service, and the hours of all of them."""
    settings = policy["churn"]
    most = float(paces["tenants_n"].max()) if paces["tenants_n"].notna().any() else 1.0
    table = paces[["service_id", "host_id", "basis", "tenants_n", "today"]].copy()
    tenants = paces["tenants_n"].astype("float64")
    for end, unknown in zip(ENDS, (1.0, most, 1.0), strict=True):
        events, chance = paces[f"events{end}"], paces[f"chance{end}"]
        cost = settings["hours_upgrade"] + chance * settings["hours_fix"]
        own = events - paces[f"host{end}"]
        table[f"events_per_year{end}"] = events
        table[f"failures_per_year{end}"] = events * chance
        table[f"hours_per_year{end}"] = (paces[f"host{end}"] / tenants.fillna(unknown) + own) * cost
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


def _contributions(paces: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Hours of every host, by what they go into."""
    settings = policy["churn"]
    shared = paces["host"] / paces["tenants_n"].astype("float64").fillna(1)
    share = shared + paces["events"] - paces["host"]
    parts = {
        "upgrade": share * settings["hours_upgrade"],
        "failure": share * paces["chance"] * settings["hours_fix"],
    }
    key = paces[["service_id", "host_id"]]
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


def _behind(pairs: pd.DataFrame, engines: pd.DataFrame, goal: str) -> pd.DataFrame:
    """Count the lines from the oldest engine of a service to the target."""
    held = pairs[pairs["on_engine"]].join(engines[["product", "version"]], on="host_id")
    held = held[held["product"] == DOCKER]
    counts = [reference.versions_behind(version, goal) for version in held["version"]]
    held = held.assign(versions_behind=pd.Series(counts, index=held.index, dtype="Int64"))
    return held.groupby("service_id")[["versions_behind"]].max()


def _breaking(
    hits: pd.DataFrame, unseen: pd.DataFrame, pairs: pd.DataFrame, index: pd.Index
) -> pd.DataFrame:
    """Count the changes that hit; unknown where the engine of no host is known."""
    counts = hits.drop_duplicates(["service_id", "change_id", "why"])["service_id"].value_counts()
    facts = unseen.drop_duplicates(["service_id", "fact"])["service_id"].value_counts()
    frame = pd.DataFrame(index=index)
    frame["breaking_n"] = counts.reindex(index, fill_value=0).astype("Int64")
    frame["breaking_unknown_n"] = facts.reindex(index, fill_value=0).astype("Int64")
    blind = unseen[unseen["fact"] == "version"].groupby("service_id").size()
    placed = pairs.groupby("service_id")["host_id"].count()
    adrift = pairs[pairs["host_id"].isna() & pairs["basis"].ne(PROSPECTIVE)]["service_id"]
    is_blind = (blind.reindex(index, fill_value=0) >= placed.reindex(index, fill_value=0)) & (
        index.isin(blind.index) | index.isin(adrift)
    )
    frame.loc[is_blind, "breaking_n"] = pd.NA
    frame.loc[index.isin(adrift), "breaking_unknown_n"] = 1
    return frame


def _images(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Count the images of a service by who makes them: the third-party ones move by themselves."""
    settings = policy["churn"]
    images = inventory["workloads"][["service_id", "registry", "repository"]].drop_duplicates()
    images = images.dropna(subset=["registry", "repository"])
    space = images["repository"].str.partition("/")[0]
    is_third = images["registry"].isin(settings["public_registries"])
    is_third &= ~space.isin(settings["own_namespaces"])
    counts = pd.DataFrame({"third_party_images_n": is_third, "first_party_images_n": ~is_third})
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
        text.append(f"It is {row['versions_behind']} release lines behind the target.")
    if pd.isna(row["breaking_n"]):
        text.append("What the way to the target breaks cannot be said: its engine is unknown.")
    text += [f"The way to the target breaks: {sentence}." for sentence in why]
    if row["breaking_unknown_n"]:
        text.append(f"{row['breaking_unknown_n']} facts that could break are not known.")
    return text
