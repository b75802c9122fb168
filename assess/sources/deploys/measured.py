"""Measures from deployments: deployments per year and lead time of commits, by service.

It is derived after a collection and not at the inventory's door: only a collection can tell what
was measured from what somebody said. Measured beats asked, and what was asked stays an answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from assess import frames
from assess.sources.base import Row, Rows
from assess.sources.deploys import status_of

CALL = "deploys"  # whose coverage says over which window deployments were listed
MEASURED = "measured"  # source of the answer that says how
STATED = "stated"  # source of the answer that keeps what somebody said
CHECKS = {"deploys_per_month": "team.deploys", "lead_time_days": "team.lead_time"}
_MONTH = timedelta(days=365.25 / 12)
_DAY = timedelta(days=1)
_SHORTEST = timedelta(days=7)  # a rate over less is a burst
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class _Rate:
    """Deployments of a service that one source listed over a time."""

    source: str
    n: int
    start: pd.Timestamp
    end: pd.Timestamp
    is_watched: bool  # coverage says over which window; else from the first one on

    @property
    def span(self) -> timedelta:
        return self.end - self.start

    @property
    def is_known(self) -> bool:
        # a source that keeps only the last deployment cannot tell how often there is one
        return self.span >= _SHORTEST and (self.is_watched or self.n > 0)

    @property
    def per_month(self) -> float:
        return self.n * (_MONTH / self.span)

    @property
    def basis(self) -> str:
        days = self.span / _DAY
        return (
            f"{self.per_month:.2g} a month: {self.n} in {days:.0f} days ({self.source})"
        )


def measure(tables: Tables, coverage: Rows, moment: datetime) -> Rows:
    """Write the measured columns of services, and return coverage rows about them."""
    if "activities" not in tables or "services" not in tables:
        return []
    deploys = _finished(tables["activities"], moment)
    if deploys.empty:
        return []
    rates = _rates(deploys, _windows(coverage), pd.Timestamp(moment))
    leads = _lead_times(deploys)
    answers = [
        *_write(tables, "deploys_per_month", {s: r.per_month for s, r in rates.items()}),
        *_write(tables, "lead_time_days", leads),
    ]
    answers += [
        _answer(s, "deploys_per_month", MEASURED, r.basis) for s, r in rates.items()
    ]
    answers += [
        _answer(service, "lead_time_days", MEASURED, f"median of {days:.2g} days")
        for service, days in leads.items()
    ]
    _add_answers(tables, answers, moment)
    return [_note(rates, deploys)]


def _finished(activities: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Return the deployments of known services up to now that neither failed nor are under way."""
    table = activities[activities["kind"].eq("deploy") & activities["service_id"].notna()]
    table = table[table["started_at"] <= moment]
    meaning = table["status"].fillna("").map(status_of)
    return table[~meaning.isin(["failed", "open"])]


def _windows(coverage: Rows) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    """Return the window over which each scope of a source listed deployments."""
    return {
        (row["source"], row["scope"]): (row["window_start"], row["window_end"])
        for row in coverage
        if row["call"] == CALL and row.get("window_start") and row.get("window_end")
    }


def _rates(
    deploys: pd.DataFrame,
    windows: dict[tuple[str, str], tuple[datetime, datetime]],
    moment: pd.Timestamp,
) -> dict[str, _Rate]:
    """Return the rate of each service: of a watched window before others, then of the longest."""
    # The deployment that opens a window is its start, and does not count within it.
    found: dict[str, list[_Rate]] = {}
    keys = ["service_id", "source", "source_ref"]
    for (service, source, scope), rows in deploys.groupby(keys, dropna=False):
        started = rows["started_at"]
        window = windows.get((source, scope))
        start, end = map(pd.Timestamp, window or (started.min(), moment))
        n = int(((started > start) & (started <= end)).sum())
        rate = _Rate(str(source), n, start, end, window is not None)
        if rate.is_known:
            found.setdefault(str(service), []).append(rate)
    return {
        service: max(rates, key=lambda rate: (rate.is_watched, rate.span))
        for service, rates in found.items()
    }


def _lead_times(deploys: pd.DataFrame) -> dict[str, float]:
    ended = deploys["ended_at"].fillna(deploys["started_at"])
    days = (ended - deploys["committed_at"]) / _DAY
    days = days[days >= 0]
    return days.groupby(deploys["service_id"]).median().to_dict()


def _write(tables: Tables, column: str, values: dict[str, float]) -> Rows:
    services = tables["services"]
    stated = services[column]
    measured = services["service_id"].map(values).astype(stated.dtype)
    replaced = services[measured.notna() & stated.notna() & (measured != stated)]
    tables["services"] = services.assign(**{column: measured.fillna(stated)})
    return [
        _answer(service, column, STATED, f"{value:g}")
        for service, value in zip(replaced["service_id"], replaced[column], strict=True)
    ]


def _answer(service: str, column: str, source: str, text: str) -> Row:
    """Return the row of an answer without a risk, since the column holds the value."""
    return frames.row(
        "answers",
        service_id=service,
        question=CHECKS[column],
        source=source,
        answer=text,
        risk="unknown",
    )


def _add_answers(tables: Tables, answers: Rows, moment: datetime) -> None:
    if not answers:
        return
    added = pd.DataFrame(answers).assign(answered_at=moment)
    rows, _ = frames.conform("answers", added)
    known = tables.get("answers", frames.empty("answers"))
    whole = pd.concat([known, rows], ignore_index=True).drop_duplicates(
        frames.key("answers"), keep="last"
    )
    tables["answers"] = whole.sort_values(frames.key("answers"), ignore_index=True)


def _note(rates: dict[str, _Rate], deploys: pd.DataFrame) -> Row:
    """Return the coverage row of the measurement, with its window and number of services."""
    services_n = deploys["service_id"].nunique()
    row: Row = {
        "source": MEASURED,
        "scope": "services",
        "call": "deploys_per_month",
        "status": "ok",
        "rows": len(rates),
        "expected": services_n,
        "ratio": round(len(rates) / services_n, 4),
    }
    if rates:
        row["window_start"] = min(rate.start for rate in rates.values())
        row["window_end"] = max(rate.end for rate in rates.values())
    if len(rates) < services_n:
        row["status"] = "partial" if rates else "empty"
        row["hint"] = "deployments over a week or more are needed: add a source deploys"
    return row
