"""The claims of the argument, each measured on the fleet and compared with its bound.

Only an interval that excludes the bound decides: without data a claim is undecided and names what
to connect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series
from pandas.api.types import is_numeric_dtype

from assess import reference
from assess.config import packaged
from assess.errors import AssessError
from assess.frames import surely
from assess.policy import Policy
from assess.score.claims.evidence import BY_ROW, MEASURES, ClaimData, around_upgrades
from assess.score.claims.measure import UNDECIDED, Measurement, rates_by, verdict
from assess.score.incidents.recovery import time_to_heal
from assess.score.result import Explanation, Provenance, Result
from assess.words import UNKNOWN, share

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

Cells = dict[str, Any]  # of a claim, by column
NUMBERS = ["value", "lo", "hi", "threshold"]
ORCHESTRATED = "C12"
PLATFORM_COLUMNS = ["claim", "short", "platform", *NUMBERS, "n", "verdict", "needs"]


def texts() -> dict[str, Cells]:
    """Return the texts of each claim: the words of both sides, the measure, the bound."""
    return packaged("score/claims/claims.toml")


class Claims(Result):
    """The claims C1 to C16, measured on this fleet.

    ``frame`` (index ``claim``): ``text``, ``value, lo, hi`` [unit of the claim; NA where nothing is
    known, or where there is no upper end], ``n`` [what was counted], ``threshold`` [same unit],
    ``verdict`` (supported, refuted, undecided), ``needs`` (what would decide it; empty where it is
    decided), ``unit``, ``above`` (whether it is supported above its threshold, and not below),
    ``unknown_n``, ``family``, ``short`` (the text in few words), ``counted`` (what ``n`` counts)
    and ``sides`` (the two sides of a ratio).

    ``contributions``: ``claim, group, part, amount``, the numbers that it is computed from.
    ``details``: the same as tables by claim (``C1`` …), and ``platforms`` (incident rates),
    ``healing`` (time to heal), ``around_upgrades`` (incidents before and after),
    ``by_platform`` (the claims on upgrades, hosts and orchestrators, each platform alone).
    """

    name = "claims"
    summary_columns = ("text", "value", "lo", "hi", "n", "threshold", "verdict", "needs")

    def row(self, claim: str) -> Series:
        """Return the row of a claim; any case will do."""
        name = str(claim).strip().upper()
        if name not in self.frame.index:
            raise AssessError(f"there is no claim {claim!r}", hint="C1 to C16")
        return self.frame.loc[name]

    def explain(self, claim: str) -> Explanation:
        """Explain a claim: both sides, measure, verdict, what would decide it, published facts.

        Parameters
        ----------
        claim : str
            Such as ``C4``.

        Returns
        -------
        Explanation
            The table holds the rows that its numbers are computed from.
        """
        row = self.row(claim)
        text = texts()[row.name]
        policy = self.provenance.policy
        since = policy["claims"]["since"] if policy else "2019-01-01"
        facts = text["world"].format(**world(since))
        tables = f" (tables {text['source']}, of {self.provenance.reference_date})"
        side = "above" if row["above"] else "below"
        lines = [
            f"The article: {text['article']}",
            f"The answer: {text['answer']}",
            f"Measured: {text['measured']}",
            f"Here: {_in_words(row, policy)}",
            f"Bound: {row['threshold']:g}; {text['bound']}. Supported {side} it.",
            f"Verdict: {row['verdict']}.",
            f"What would decide it: {row['needs']}." if row["needs"] else "",
            f"The world: {facts}{tables if text['source'] else ''}",
        ]
        title = f"{row.name} · {text['text']}: {row['verdict']}"
        return Explanation(title, "\n".join(filter(None, lines)), self.details[row.name])


def _in_words(row: Series, policy: Policy | None) -> str:
    level = f"{share(policy['claims']['level'])} interval " if policy else ""
    value = UNKNOWN if pd.isna(row["value"]) else f"{row['value']:.3g}"
    hi = "no upper end" if pd.isna(row["hi"]) else f"{row['hi']:.3g}"
    unknown = f", {row['unknown_n']} not known" if row["unknown_n"] else ""
    return f"{value} ({row['unit']}); {level}{row['lo']:.3g} to {hi}; n = {row['n']}{unknown}."


def measure_claims(assessment: Assessment) -> Claims:
    """Judge every claim on an assessment."""
    data = ClaimData(assessment)
    policy = assessment.policy
    inventory = assessment.inventory.running
    measured = {f"C{n}": measure(data) for n, measure in enumerate(MEASURES, start=1)}
    rows = [_row(claim, measurement, policy) for claim, measurement in measured.items()]
    frame = _finite(DataFrame(rows).set_index("claim"))
    frame = frame.astype({"n": "Int64", "unknown_n": "Int64"})
    tables = {claim: measurement.table for claim, measurement in measured.items()}
    is_declared = surely(data.spells["service_id"].map(data.exposure.is_named))
    # without coverage, nobody knows how long a platform was watched
    spells = data.spells.assign(sure=is_declared & data.exposure.is_covered)
    alone = [
        {"platform": platform, **_row(claim, measurement, policy)}
        for claim, platform, measurement in _measured_alone(data, tables)
    ]
    details = {
        **tables,
        "platforms": rates_by(
            spells, "platform", level=data.level, loose_n=data.unassigned_n
        ),
        "healing": time_to_heal(inventory, policy),
        "around_upgrades": around_upgrades(data),
        "by_platform": _finite(DataFrame(alone, columns=PLATFORM_COLUMNS)),
    }
    parts = [_tidy(claim, table) for claim, table in tables.items()]
    contributions = pd.concat(parts, ignore_index=True)
    return Claims(frame, contributions, Provenance.of(inventory, policy), details)


def _measured_alone(
    data: ClaimData, tables: dict[str, DataFrame]
) -> Iterator[tuple[str, str, Measurement]]:
    """Yield claim, platform and the measurement over the rows of that platform."""
    for claim, measure in BY_ROW.items():
        table = tables[claim]
        whose = table.iloc[:, 0].astype("str").str.split().str[0]
        for platform, rows in table.groupby(whose, sort=True):
            yield claim, str(platform), measure(rows, level=data.level)
    yield from _orchestrators(data)


def _orchestrators(data: ClaimData) -> Iterator[tuple[str, str, Measurement]]:
    """Yield each orchestrator in use, compared with services without one."""
    spells = data.spells
    under = data.orchestrated
    for platform in sorted(set(spells.loc[surely(under), "platform"].astype("str"))):
        is_here = spells["platform"].eq(platform).mask(under.isna())
        kept = surely(is_here) | ~surely(under)
        yield ORCHESTRATED, platform, data.compared(spells[kept], is_here[kept])


def _finite(table: DataFrame) -> DataFrame:
    """Return a table with NA where a number has no end."""
    numbers = table[NUMBERS].astype(float)
    finite = numbers.replace([np.inf, -np.inf], np.nan)
    return table.assign(**finite.astype("Float64"))


def _tidy(claim: str, table: DataFrame) -> DataFrame:
    """Return the numbers of a table in long form, under the names of their rows."""
    words = [
        name for name in table if name == "tier" or not is_numeric_dtype(table[name])
    ]
    group = Series(dtype=str)
    if len(table):
        group = table[words].astype("str").agg(" ".join, axis=1)
    numbers = table.drop(columns=words).astype(float).assign(claim=claim, group=group)
    return numbers.melt(["claim", "group"], var_name="part", value_name="amount")


def _row(claim: str, measured: Measurement, policy: Policy) -> Cells:
    text = texts()[claim]
    # the appetite for incidents is set once, for the exposure budget and for C13
    bounds = {**policy["claims"]["bounds"], "C13": policy["what_next"]["appetite"]}
    bound = float(bounds[claim])
    above = bool(text["above"])
    # an interval of nothing but the unknown decides nothing
    decided = verdict(measured.interval, bound, above=above) if measured.n else UNDECIDED
    needs = _needs(text, measured, bound, above=above) if decided == UNDECIDED else ""
    return {
        "claim": claim,
        "text": text["text"],
        "value": measured.interval.point,
        "lo": measured.interval.lo,
        "hi": measured.interval.hi,
        "n": measured.n,
        "threshold": bound,
        "verdict": decided,
        "needs": needs,
        "unit": text["unit"],
        "above": above,
        "unknown_n": measured.unknown_n,
        "family": text["family"],
        "short": text["short"],
        "counted": text.get("counted", text["more"]),
        "sides": "; ".join(text.get("sides", ())),
    }


def _needs(
    text: Cells,
    measured: Measurement,
    bound: float,
    *,
    above: bool,
) -> str:
    """Return what would decide a claim: a source, facts to find out, or more observations."""
    find = ""
    if measured.unknown_n:
        find = f"find out about {text['find']} ({measured.unknown_n})"
    if measured.gap:
        return measured.gap
    if measured.n == 0:
        return "; ".join(filter(None, [text["connect"], find]))
    # with the unknown like the rest it would be decided: only facts are missing
    if verdict(measured.sampled, bound, above=above) != UNDECIDED:
        return find
    needed = measured.more(bound)
    number = math.ceil(needed) if math.isfinite(needed) else 0
    if number > 0:
        more = f"about {number:,} more {text['more']}, if the rate stays the same"
    else:
        more = f"no number of {text['more']} as so far: the value lies at its bound"
    return "; ".join(filter(None, [more, find]))


@cache
def world(since: str) -> Cells:
    """Return the numbers for the placeholders in `claims.toml`, counted from the day ``since``."""
    return {
        "since": since[:4],
        **_lines(since),
        **_changes(since),
        **_drivers(),
        **_services(),
    }


def _lines(since: str) -> Cells:
    windows = reference.support_windows(reference.ENGINE, since=since).dropna()
    newest = reference.target_engine({})
    orchestrators = reference.table("orchestrators").dropna(subset=["product"])
    retired = orchestrators["eol_basis"].str.contains("retired|archived", na=False)
    ended = retired | (orchestrators["eol_date"] < reference.compiled_on())
    gone = ended.groupby(orchestrators["product"]).all()
    return {
        "lines_n": len(windows),
        "window_median": f"{windows.median():.0f}",
        "window_min": f"{windows.min():.0f}",
        "window_max": f"{windows.max():.0f}",
        "system_median": f"{reference.support_windows(since=since).median():.0f}",
        "newest_line": newest,
        "api_floor": reference.api_range(newest)[0],
        "orchestrators_n": len(gone),
        "orchestrators_retired": int(gone.sum()),
        "orchestrators_gone": ", ".join(gone.index[gone]),
        "kubernetes_days": f"{reference.support_windows('kubernetes', since=since).median():.0f}",
    }


def _changes(since: str) -> Cells:
    changes = reference.table("engine_changes")
    recent = changes[changes["release_date"] >= since]
    breaking = recent[recent["kind"] == "breaking"]
    worse = recent[recent["kind"] == "regression"]
    grave = worse[worse["impact"] == "high"]
    days = pd.to_numeric(worse["days_to_fix"]).dropna()
    return {
        "breaking_n": len(breaking),
        "breaking_api_n": int((breaking["area"] == "api").sum()),
        "regressions_n": len(worse),
        "regressions_high_n": len(grave),
        "fix_days": f"{days.median():.0f}",
        "crashes_n": int(grave["area"].isin(["runtime", "storage", "network"]).sum()),
    }


def _drivers() -> Cells:
    gone = reference.drivers_gone(reference.target_engine({})).items()
    drivers = reference.table("storage_drivers").set_index("driver")["introduced_in"]
    return {f"{n}_removed": end for n, end in gone} | {
        "overlay2_introduced": drivers["overlay2"]
    }


def _services() -> Cells:
    package = reference.outages("package-repo")["duration_minutes"]
    hub = reference.outages("registry", service="docker-hub")["duration_minutes"]
    facts = reference.table("registries").set_index(["registry", "fact"])["value"]
    stores = reference.table("database_images")
    return {
        "package_outages_n": len(package),
        "package_outages_timed_n": int(package.count()),
        "hub_outages_n": len(hub),
        "hub_outages_timed_n": int(hub.count()),
        "hub_outage_hours": f"{hub.sum() / 60:.0f}",
        "ecr_pushed": facts["ecr-private", "push_timestamp_field"],
        "ecr_pulled": facts["ecr-private", "last_pull_field"],
        "ecr_retention": facts["ecr-private", "retention_feature"],
        "ecr_sla": facts["ecr-private", "uptime_sla"],
        "ecs_sla": facts["ecs", "uptime_sla_multi_az"],
        "stores_n": len(stores),
        "stores_official_n": int((stores["official"] == "True").sum()),
    }
