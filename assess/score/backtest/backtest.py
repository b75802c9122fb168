"""Back-test: forecasts of incidents by an earlier snapshot, checked against what then happened.

Needs two snapshots and a source of incidents that watched the time between them. The population is
the services of the earlier one, those without any incident included: judged over the services that
had incidents alone, a good score looks like a bad one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.errors import AssessError
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.backtest import forecast_metrics as metrics
from assess.score.incidents.exposure import (
    DAY,
    YEAR,
    Window,
    counted_incidents,
    exposure,
)
from assess.score.incidents.rates import jeffreys_interval, shrunk_rates
from assess.score.readiness import score_readiness
from assess.score.result import Explanation, Provenance, Result

Floats = NDArray[np.float64]
SLOPES = np.linspace(-3, 3, 241)
TOO_FEW = "not enough services"
ONE_KIND = "every service had an incident, or none: nothing to tell apart"
NONE = "no predictive value shown yet"
CHANCE = "better than chance, not shown to be better than history alone"
BOTH = "better than chance and than history alone"
HEADLINES = {
    BOTH: "The score predicted which services would have incidents, better than history alone",
    CHANCE: "The score predicted better than chance, but it is not shown to be better than "
    "history alone",
    TOO_FEW: f"The score cannot be judged: {TOO_FEW}",
    NONE: "The score has not yet shown that it predicts incidents on this fleet",
}


@dataclass(frozen=True, eq=False, repr=False)
class Backtest(Result):
    """How well an earlier snapshot predicted which services had incidents.

    ``frame`` (index ``metric``: ``auc``, ``auc_gain`` over history, ``brier``, ``kendall_tau`` of
    the predicted rank against minutes of incidents, ``auc_readiness`` of readiness alone):
    ``value, lo, hi``, ``baseline_history``, ``baseline_random`` and ``verdict``.

    ``details``: ``reliability`` (``foretold, observed, observed_lo, observed_hi`` [share 0-1] and
    ``n`` by bin), ``services`` (index ``service_id``: ``readiness``, ``incidents_before``,
    ``foretold``, ``foretold_by_history`` [probability], ``incident``, ``minutes``), ``window``.
    """

    name: ClassVar[str] = "backtest"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "value",
        "lo",
        "hi",
        "baseline_history",
        "baseline_random",
        "verdict",
    )

    @property
    def headline(self) -> str:
        """Whether the score predicts incidents on this fleet, in a sentence."""
        auc, services = self.frame.loc["auc"], self.details["services"]
        days = self.details["window"]["days"].iloc[0]
        counted = (
            f"{len(services)} services of the earlier snapshot, of which "
            f"{int(services['incident'].sum())} had an incident within {days:.0f} days"
        )
        if pd.isna(auc["value"]):
            return f"The score cannot be judged: {auc['verdict']} ({counted})."
        interval = ""
        if pd.notna(auc["lo"]):
            interval = f" ({auc['lo']:.2f} to {auc['hi']:.2f})"
        history = f"history alone {auc['baseline_history']:.2f}, chance 0.50"
        summary = HEADLINES.get(auc["verdict"], HEADLINES[NONE])
        return f"{summary}: AUC {auc['value']:.2f}{interval}; {history}; {counted}."

    def row(self, metric: str) -> pd.Series:
        """Return the row of a metric."""
        if metric not in self.frame.index:
            names = ", ".join(self.frame.index)
            raise AssessError(f"there is no metric {metric!r}", hint=f"metrics: {names}")
        return self.frame.loc[metric]

    def explain(self, metric: str = "auc") -> Explanation:
        """Explain a metric; the table is that of reliability."""
        row = self.row(metric)
        text = f"{self.headline}\n{metric}: {row['verdict']}."
        return Explanation(f"Back-test: {metric}", text, self.details["reliability"])


def backtest(
    inventory: Inventory,
    policy: Policy,
    *,
    previous: Inventory | None = None,
    readiness: Result | None = None,
) -> Backtest:
    """Check the forecasts of an earlier snapshot against what happened until the later one.

    Parameters
    ----------
    inventory : Inventory
        The later snapshot: its incidents are what happened.
    policy : Policy
        ``[backtest]``.
    previous : Inventory
        The earlier snapshot: the forecasts use nothing that is later.
    readiness : Result, optional
        Readiness of the earlier snapshot, where it is at hand.

    Returns
    -------
    Backtest
        Metrics with intervals, baselines and a verdict.

    Raises
    ------
    AssessError
        Without an earlier snapshot, and where nobody watched for incidents after it.
    """
    before, start, end = _span(inventory, policy, previous)
    years = (end - start) / YEAR
    services = forecasts(before, policy, years=years, readiness=readiness)
    services = services.join(_happened(inventory, (start, end), services.index))
    frame = _judged(services, policy)
    spell = {"start": start, "end": end, "days": (end - start) / DAY}
    details = {
        "services": services,
        "reliability": reliability(services, int(policy["backtest"]["bins"])),
        "window": pd.DataFrame([spell]),
    }
    parts = services.reset_index()[["service_id", "multiplier", "rate", "foretold"]]
    return Backtest(frame, parts, Provenance.of(inventory, policy), details)


def _span(
    inventory: Inventory, policy: Policy, previous: Inventory | None
) -> tuple[Inventory, pd.Timestamp, pd.Timestamp]:
    """Return the earlier snapshot, and the time after it over which incidents were watched."""
    hint = "name one with --previous, dated before the time to be foretold"
    if previous is None:
        raise AssessError("a back-test needs an earlier snapshot", hint=hint)
    if previous.snapshot_at >= inventory.snapshot_at:
        at = f"{previous.snapshot_at:%Y-%m-%d}"
        raise AssessError(
            f"the earlier snapshot, of {at}, is not dated before the later one", hint=hint
        )
    window = exposure(inventory, policy).window
    if window is None or window[1] <= previous.snapshot_at:
        raise AssessError(
            f"nobody watched for incidents after {previous.snapshot_at:%Y-%m-%d}",
            hint="connect a source of incidents, and collect the later snapshot again",
        )
    return previous, max(window[0], previous.snapshot_at), window[1]


def forecasts(
    earlier: Inventory, policy: Policy, *, years: float, readiness: Result | None = None
) -> pd.DataFrame:
    """Predict incidents of each service from an earlier snapshot alone, some years ahead.

    Index ``service_id``: ``readiness`` [points], ``incidents_before`` [count], ``multiplier`` [of
    the fleet's rate], ``rate`` [per year], ``foretold`` and ``foretold_by_history`` [probability of
    an incident].

    Notes
    -----
    Rates are log-linear in readiness; the slope has a normal prior and is fitted to how the earlier
    incidents are spread over the services (multinomial, so that their number does not matter), with
    less weight where they crowd more than chance would have them. Each service's own past is then
    shrunk to what its readiness lets expect (`rates.shrunk_rates` over the exposure times the
    multiplier), and ``foretold = 1 - exp(-rate * years)``.
    """
    names = pd.Index(
        sorted(earlier["services"]["service_id"]), name="service_id", dtype="str"
    )
    known = exposure(earlier, policy)
    before = known.incidents["service_id"].value_counts()
    counts = before.reindex(names, fill_value=0).astype(float)
    watched = pd.Series(np.nan, index=names)
    if known.window is not None:
        watched[:] = (known.window[1] - known.window[0]) / YEAR
    ready = readiness or score_readiness(earlier, policy)
    points = ready.frame["readiness"].reindex(names).astype(float)
    lack = -((points - points.mean()) / (points.std(ddof=0) or 1.0)).fillna(0.0)
    slope = _slope(counts.to_numpy(), lack.to_numpy(), policy)
    multiplier = np.exp(slope * lack)
    # no incident history: assume probability 1/2
    unseen = np.log(2) / years if years else 0.0
    rate = multiplier * shrunk_rates(counts, watched * multiplier)["rate"].fillna(unseen)
    history = shrunk_rates(counts, watched)["rate"].fillna(unseen)
    return pd.DataFrame(
        {
            "readiness": points,
            "incidents_before": counts.astype("int64"),
            "multiplier": multiplier,
            "rate": rate,
            "foretold": 1 - np.exp(-rate * years),
            "foretold_by_history": 1 - np.exp(-history * years),
        }
    )


def _slope(counts: Floats, lack: Floats, policy: Policy) -> float:
    """Return the posterior mean of the slope of log rates over the lack of readiness."""
    settings = policy["backtest"]
    prior = -(((SLOPES - settings["slope"]) / max(settings["slope_sd"], 1e-6)) ** 2) / 2
    total = counts.sum()
    if not total or not len(counts):
        return float(settings["slope"])
    expected = total / len(counts)
    crowding = ((counts - expected) ** 2 / expected).sum() / max(len(counts) - 1, 1)
    spread = np.log(np.exp(np.multiply.outer(SLOPES, lack)).sum(axis=1))
    likelihood = (SLOPES * (counts @ lack) - total * spread) / max(crowding, 1.0)
    weights = np.exp(prior + likelihood - (prior + likelihood).max())
    return float(SLOPES @ weights / weights.sum())


def _happened(inventory: Inventory, span: Window, names: pd.Index) -> pd.DataFrame:
    """Return which services had an incident in a span, and for how many minutes in all."""
    table = counted_incidents(inventory)
    table = table[(table["opened_at"] > span[0]) & (table["opened_at"] <= span[1])]
    lasted = table["resolved_at"].fillna(inventory.snapshot_at) - table["opened_at"]
    minutes = table["ttr_s"].astype("float64") / 60
    minutes = minutes.fillna(lasted.dt.total_seconds() / 60)
    sums = minutes.groupby(table["service_id"]).sum().reindex(names)
    return pd.DataFrame(
        {"incident": sums.notna(), "minutes": sums.fillna(0.0)}, index=names
    )


def reliability(services: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Compare forecasts with what happened, by groups of similar forecasts of about one size.

    ``foretold`` (mean), ``observed, observed_lo, observed_hi`` [share 0-1; 95 % Jeffreys], ``n``
    [services].
    """
    order = services.sort_values("foretold", kind="stable")
    rows = []
    for places in np.array_split(np.arange(len(order)), max(min(bins, len(order)), 1)):
        group = order.iloc[places]
        n = len(group)
        if n:
            hit = int(group["incident"].sum())
            _, lo, hi = jeffreys_interval(hit, n, level=0.95)
            rows.append((group["foretold"].mean(), hit / n, lo, hi, n))
    columns = ["foretold", "observed", "observed_lo", "observed_hi", "n"]
    return pd.DataFrame(rows, columns=columns)


def _judged(services: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Judge the forecasts by each metric, beside both baselines."""
    settings = policy["backtest"]
    hit = services["incident"].to_numpy(dtype=bool)
    ours, theirs = (
        services[n].to_numpy(float) for n in ("foretold", "foretold_by_history")
    )
    lack = -services["readiness"].fillna(services["readiness"].mean()).to_numpy(float)
    names = ["auc", "auc_gain", "brier", "kendall_tau", "auc_readiness"]
    index = pd.Index(names, name="metric")
    columns = ["value", "lo", "hi", "baseline_history", "baseline_random"]
    frame = pd.DataFrame(np.nan, index=index, columns=columns)
    if hit.all() or not hit.any():
        return frame.astype("Float64").assign(verdict=ONE_KIND if len(hit) else TOO_FEW)
    minutes = services["minutes"].to_numpy(float)
    base = hit.mean()
    values = {
        "auc": (metrics.auc(ours, hit), metrics.auc(theirs, hit), 0.5),
        "auc_gain": (metrics.auc(ours, hit) - metrics.auc(theirs, hit), 0.0, np.nan),
        "brier": (
            metrics.brier(ours, hit),
            metrics.brier(theirs, hit),
            base * (1 - base),
        ),
        "kendall_tau": (metrics.tau(ours, minutes), metrics.tau(theirs, minutes), 0.0),
        "auc_readiness": (metrics.auc(lack, hit), metrics.auc(theirs, hit), 0.5),
    }
    for metric, row in values.items():
        frame.loc[metric, ["value", "baseline_history", "baseline_random"]] = row
    if len(hit) < settings["services_min"]:
        return frame.astype("Float64").assign(verdict=TOO_FEW)
    draws = metrics.resample(len(hit), int(settings["bootstrap"]), policy.seed)
    drawn = metrics.Drawn(ours, theirs, lack, hit, minutes, draws, base)
    ends = drawn.ends()
    if len(hit) < settings["bootstrap_from"]:
        ends["auc"] = metrics.delong(ours, hit)
        ends["auc_readiness"] = metrics.delong(lack, hit)
    frame[["lo", "hi"]] = [ends[metric] for metric in names]
    better = drawn.better()
    better |= {
        name: (ends[name][0] > 0.5, better[name][1]) for name in ("auc", "auc_readiness")
    }
    verdicts = [_verdict(*better[metric]) for metric in names]
    return frame.astype("Float64").assign(verdict=verdicts)


def _verdict(than_chance: bool, than_history: bool) -> str:
    if not than_chance:
        return NONE
    return BOTH if than_history else CHANCE
