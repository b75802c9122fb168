"""Back-test: forecasts of incidents from an earlier snapshot, checked against later incidents.

Needs two snapshots and a source of incidents that watched the time between them. The population is
the services of the earlier one, including those without incidents: judged only over services that
had incidents alone, a good score looks like a bad one.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series

from assess.errors import AssessError, no_such
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import Booleans, Floats
from assess.score.incidents import DAY, YEAR, Spans, clipped, days_in, exposure
from assess.score.incidents.rates import jeffreys_interval, shrunk_rates
from assess.score.incidents.recovery import incident_minutes
from assess.score.readiness import score_readiness
from assess.score.result import Explanation, Provenance, Result, with_ends
from assess.score.validation.skill import losses

Ends = tuple[float, float]
PROPER = ("brier", "log_loss")  # in the order of `losses`
METRICS = [
    *("auc", "auc_gain", "brier", "brier_gain", "log_loss", "log_loss_gain"),
    *("kendall_tau", "auc_readiness"),
]
COLUMNS = ["value", "lo", "hi", "baseline_history", "baseline_random"]
MEASURED = ["value", "baseline_history", "baseline_random"]
SLOPES = np.linspace(-3, 3, 241)
LEVEL = 0.95
Z = 1.959963984540054
TAU_MOST = 1000  # services; of more, so many are drawn for the interval of tau
TAU_DRAWS = 300
CHUNK = 4_000_000  # cells of a table of draws held at once
TOO_FEW = "not enough services"
ONE_KIND = "every service had an incident, or none: nothing to tell apart"
NONE = "no predictive value shown yet"
CHANCE = "better than chance, not shown to be better than history alone"
BOTH = "better than chance and than history alone"
VERDICTS = (TOO_FEW, ONE_KIND, NONE, CHANCE, BOTH)  # the worst first
HEADLINES = {
    BOTH: "The score predicted which services would have incidents, better than history alone",
    CHANCE: "The score predicted better than chance, but it is not shown to be better than "
    "history alone",
    TOO_FEW: f"The score cannot be judged: {TOO_FEW}",
    NONE: "The score has not yet shown that it predicts incidents on this fleet",
}


class Backtest(Result):
    """How well an earlier snapshot predicted which services had incidents.

    ``frame`` (index ``metric``: ``auc``, ``auc_gain`` over history, ``brier`` and ``log_loss`` with
    their ``_gain``, by how much history does worse on the same services, ``kendall_tau`` of the
    predicted rank against minutes of incidents, ``auc_readiness`` of readiness alone):
    ``value, lo, hi``, ``baseline_history``, ``baseline_random`` and ``verdict``.

    ``details``: ``reliability`` (``foretold, observed, observed_lo, observed_hi`` [share 0-1] and
    ``n`` by bin), ``services`` (index ``service_id``: ``readiness``, ``incidents_before``,
    ``foretold``, ``foretold_by_history`` [probability], ``incident``, ``minutes``), ``window``
    (``start, end, days``, and ``loose_n``, incidents of unknown services).
    """

    name = "backtest"
    summary_columns = (*COLUMNS, "verdict")

    @property
    def headline(self) -> str:
        """Whether the score predicts incidents on this fleet, in a sentence."""
        auc = self.frame.loc["auc"]
        services = self.details["services"]
        window = self.details["window"].iloc[0]
        counted = (
            f"{len(services)} services of the earlier snapshot, of which "
            f"{int(services['incident'].sum())} had an incident within {window['days']:.0f} days"
        )
        if window["loose_n"]:
            counted += (
                f"; incidents of unknown services, {window['loose_n']}, may have hit any"
            )
        if pd.isna(auc["value"]):
            return f"The score cannot be judged: {auc['verdict']} ({counted})."
        interval = ""
        if pd.notna(auc["lo"]):
            interval = f" ({auc['lo']:.2f} to {auc['hi']:.2f})"
        history = f"history alone {auc['baseline_history']:.2f}, chance 0.50"
        summary = HEADLINES.get(auc["verdict"], HEADLINES[NONE])
        return f"{summary}: AUC {auc['value']:.2f}{interval}; {history}; {counted}."

    def row(self, metric: str) -> Series:
        """Return the row of a metric."""
        if metric not in self.frame.index:
            raise no_such("metric", metric, self.frame.index)
        return self.frame.loc[metric]

    def explain(self, metric: str = "auc") -> Explanation:
        """Explain a metric; the table shows the reliability."""
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
    """Check the forecasts of an earlier snapshot against the incidents up to the later one.

    Parameters
    ----------
    inventory : Inventory
        The later snapshot: its incidents are what happened.
    policy : Policy
        ``[backtest]``.
    previous : Inventory
        The earlier snapshot: the forecasts use nothing that is later.
    readiness : Result, optional
        Readiness of the earlier snapshot, if already computed.

    Returns
    -------
    Backtest
        Metrics with intervals, baselines and a verdict.

    Raises
    ------
    AssessError
        Without an earlier snapshot, or without watched incidents after it.

    Examples
    --------
    >>> previous = assess.load("sample:2026Q2")
    >>> assess.backtest(inventory, policy, previous=previous).frame.loc["brier", "verdict"]
    'no predictive value shown yet'
    """
    hint = "name a snapshot with --previous, dated before the incidents to predict"
    if previous is None:
        raise AssessError("a back-test needs an earlier snapshot", hint=hint)
    if previous.snapshot_at >= inventory.snapshot_at:
        at = f"{previous.snapshot_at:%Y-%m-%d}"
        raise AssessError(
            f"the earlier snapshot, of {at}, is not dated before the later one", hint=hint
        )
    watched = _watched(inventory, policy, previous.snapshot_at)
    days = days_in(watched)
    years = days * DAY / YEAR
    services = forecasts(previous, policy, years=years, readiness=readiness)
    later = exposure(inventory, policy).incidents
    # an incident at the moment of the earlier snapshot was known to it
    later = later[later["opened_at"] > watched[0][0]]
    minutes = incident_minutes(inventory, policy).reindex(later.index)
    services = services.join(_outcomes(minutes, services.index))
    loose_n = int(later["service_id"].isna().sum())
    frame = _judged_at_worst(services, loose_n, policy)
    spell = {
        "start": watched[0][0],
        "end": watched[-1][1],
        "days": days,
        "loose_n": loose_n,
    }
    details = {
        "services": services,
        "reliability": reliability(services, int(policy["backtest"]["bins"]), loose_n),
        "window": DataFrame([spell]),
    }
    parts = services.reset_index()[["service_id", "multiplier", "rate", "foretold"]]
    return Backtest(frame, parts, Provenance.of(inventory, policy), details)


def _watched(inventory: Inventory, policy: Policy, after: pd.Timestamp) -> Spans:
    """Return the time after the earlier snapshot in which incidents were watched."""
    watched = clipped(exposure(inventory, policy).watched, after, inventory.snapshot_at)
    if not watched:
        raise AssessError(
            f"nobody watched for incidents after {after:%Y-%m-%d}",
            hint="connect a source of incidents, and collect the later snapshot again",
        )
    return watched


def forecasts(
    earlier: Inventory, policy: Policy, *, years: float, readiness: Result | None = None
) -> DataFrame:
    """Predict incidents of each service from an earlier snapshot alone, some years ahead.

    Index ``service_id``: ``readiness`` [points], ``incidents_before`` [count], ``multiplier`` [of
    the fleet's rate], ``rate`` [per year], ``foretold`` and ``foretold_by_history`` [probability of
    an incident].

    Rates are log-linear in readiness; the slope has a normal prior and is fitted to how the earlier
    incidents are spread over the services (multinomial, so that their number does not matter), with
    less weight where they crowd more than chance would have them. Each service's own past is then
    shrunk to the expectation from its readiness (`rates.shrunk_rates` over the exposure times the
    multiplier), and ``foretold = 1 - exp(-rate * years)``.
    """
    ids = sorted(earlier["services"]["service_id"])
    names = Index(ids, name="service_id", dtype="str")
    known = exposure(earlier, policy)
    before = known.incidents["service_id"].value_counts()
    counts = before.reindex(names, fill_value=0).astype(float)
    watched = Series(known.years if known.watched else np.nan, index=names)
    ready = readiness or score_readiness(earlier, policy)
    points = ready.frame["readiness"].reindex(names).astype(float)
    deviation = points.std(ddof=0) or 1.0
    lack = -((points - points.mean()) / deviation).fillna(0.0)
    slope = _slope(counts.to_numpy(), lack.to_numpy(), policy)
    multiplier = np.exp(slope * lack)
    # no incident history: assume probability 1/2
    unseen = np.log(2) / years if years else 0.0
    rate = multiplier * shrunk_rates(counts, watched * multiplier)["rate"].fillna(unseen)
    history = shrunk_rates(counts, watched)["rate"].fillna(unseen)
    return DataFrame(
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
    total = counts.sum()
    if not total:
        return float(settings["slope"])
    distance = (SLOPES - settings["slope"]) / max(settings["slope_sd"], 1e-6)
    prior = -(distance**2) / 2
    expected = total / len(counts)
    # overdispersion: incidents of a service come in clusters, and teach less each
    chi_square = ((counts - expected) ** 2 / expected).sum()
    crowding = chi_square / max(len(counts) - 1, 1)
    growth = np.exp(np.multiply.outer(SLOPES, lack))
    spread = np.log(growth.sum(axis=1))
    likelihood = (SLOPES * (counts @ lack) - total * spread) / max(crowding, 1.0)
    posterior = prior + likelihood
    weights = np.exp(posterior - posterior.max())
    return float(SLOPES @ weights / weights.sum())


def _outcomes(minutes: DataFrame, names: Index) -> DataFrame:
    """Return which services had an incident, and the total minutes."""
    sums = minutes.groupby("service_id")["minutes"].sum().reindex(names)
    return DataFrame({"incident": sums.notna(), "minutes": sums.fillna(0.0)})


def reliability(services: DataFrame, bins: int, loose_n: int = 0) -> DataFrame:
    """Compare forecasts with outcomes, in groups of similar forecasts and about equal size.

    ``foretold`` (mean), ``observed, observed_lo, observed_hi`` [share 0-1; 95% Jeffreys; at worst
    ``loose_n`` more had an incident], ``n`` [services].
    """
    order = services.sort_values("foretold", kind="stable")
    rows = []
    groups_n = max(min(bins, len(order)), 1)
    for places in np.array_split(np.arange(len(order)), groups_n):
        group = order.iloc[places]
        n = len(group)
        if n:
            hit = int(group["incident"].sum())
            lo = jeffreys_interval(hit, n, level=LEVEL)[1]
            hi = jeffreys_interval(min(hit + loose_n, n), n, level=LEVEL)[2]
            rows.append((group["foretold"].mean(), hit / n, lo, hi, n))
    columns = ["foretold", *with_ends("observed"), "n"]
    return DataFrame(rows, columns=columns)


class Forecast(NamedTuple):
    """Predictions and outcomes by service.

    ``score`` and ``history`` are probabilities by the score and by history alone, ``lack`` is the
    lack of readiness [points below 0], ``hit`` says whether it had an incident, ``minutes`` how long.
    """

    score: Floats
    history: Floats
    lack: Floats
    hit: Booleans
    minutes: Floats


def _judged_at_worst(services: DataFrame, loose_n: int, policy: Policy) -> DataFrame:
    """Judge the forecasts; ends and verdicts hold whichever services the loose incidents hit.

    ``loose_n`` incidents of unknown services may have hit those of which it was least expected: by
    the score, by its gain over history, or by readiness.
    """
    frame = _judged(services, policy)
    if not loose_n or frame["lo"].isna().any():
        return frame
    judged = [frame]
    gain = services["foretold"] - services["foretold_by_history"]
    for expected in (services["foretold"], gain, -services["readiness"]):
        spared = expected[~services["incident"]].sort_values(kind="stable").index
        # one service stays without an incident: if all had one, nothing could be told apart
        hit = services.index.isin(spared[:-1][:loose_n])
        minutes = services["minutes"].mask(hit, services["minutes"].max())
        worst = services.assign(incident=services["incident"] | hit, minutes=minutes)
        judged.append(_judged(worst, policy))
    by_metric = pd.concat(judged).groupby(level="metric")
    worst_of = partial(min, key=VERDICTS.index)
    ends = by_metric.agg({"lo": "min", "hi": "max", "verdict": worst_of})
    return frame.assign(**ends)


def _judged(services: DataFrame, policy: Policy) -> DataFrame:
    """Judge the forecasts by each metric, beside both baselines."""
    settings = policy["backtest"]
    readiness = services["readiness"].fillna(services["readiness"].mean())
    forecast = Forecast(
        score=services["foretold"].to_numpy(float),
        history=services["foretold_by_history"].to_numpy(float),
        lack=-readiness.to_numpy(float),
        hit=services["incident"].to_numpy(bool),
        minutes=services["minutes"].to_numpy(float),
    )
    hit = forecast.hit
    frame = DataFrame(np.nan, index=Index(METRICS, name="metric"), columns=COLUMNS)
    if hit.all() or not hit.any():
        return frame.astype("Float64").assign(verdict=ONE_KIND if len(hit) else TOO_FEW)
    once = _measured(forecast, np.ones((1, len(hit))))
    for metric, measured in once.items():
        frame.loc[metric, MEASURED] = [float(values[0]) for values in measured]
    frame.loc["auc_gain", "baseline_random"] = np.nan  # no gain over chance
    if len(hit) > TAU_MOST:
        taus = [tau(p, forecast.minutes) for p in (forecast.score, forecast.history)]
        frame.loc["kendall_tau", ["value", "baseline_history"]] = taus
    if len(hit) < settings["services_min"]:
        return frame.astype("Float64").assign(verdict=TOO_FEW)
    draws = resample(len(hit), int(settings["bootstrap"]), policy.seed)
    drawn = _measured(forecast, draws)
    ends = {metric: ends_of(drawn[metric][0]) for metric in METRICS}
    if len(hit) < settings["bootstrap_from"]:
        ends["auc"] = delong(forecast.score, hit)
        ends["auc_readiness"] = delong(forecast.lack, hit)
    frame[["lo", "hi"]] = list(ends.values())
    verdicts = [_verdict(metric, drawn[metric], lo) for metric, (lo, _) in ends.items()]
    return frame.astype("Float64").assign(verdict=verdicts)


def _verdict(metric: str, drawn: tuple[Floats, Floats, Floats], lo: float) -> str:
    """Return the verdict on a metric, by its draws and by the lower end of its interval."""
    value, by_history, by_chance = drawn
    sign = -1 if metric in PROPER else 1  # of a loss less is better
    beats_chance = ends_of(sign * (value - by_chance))[0] > 0
    if metric in ("auc", "auc_readiness"):  # whose interval may be DeLong's
        beats_chance = lo > 0.5
    is_better = ends_of(sign * (value - by_history))[0] > 0
    better = BOTH if is_better else CHANCE
    return better if beats_chance else NONE


def tau(score: Floats, outcome: Floats) -> float:
    """Return Kendall's tau-b of two rankings; 0 where one of them ranks nothing."""
    from scipy.stats import kendalltau

    return float(np.nan_to_num(kendalltau(score, outcome).statistic))


def resample(n: int, draws: int, seed: int) -> Floats:
    """Draw with replacement: return the count of each of ``n`` by draw, one draw per row."""
    rng = np.random.default_rng(seed)
    alike = np.full(n, 1 / n)
    return rng.multinomial(n, alike, size=draws).astype(np.float64)


def delong(score: Floats, hit: Booleans) -> Ends:
    """Return the interval of the AUC by DeLong's variance on the logit scale.

    Covers 95% from 20 on (DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595). Where the
    two kinds are told apart without a miss there is no variance: then each of the rarer kind counts
    as one success of Jeffreys' interval.
    """
    yes = score[hit]
    no = score[~hit]
    wins = np.sign(yes[:, None] - no[None, :]) / 2 + 0.5
    value = float(wins.mean())
    variance = _spread(wins.mean(axis=1)) + _spread(wins.mean(axis=0))
    if value in (0.0, 1.0) or variance == 0:
        n = min(wins.shape)
        return jeffreys_interval(value * n, n, level=LEVEL)[1:]
    middle = math.log(value / (1 - value))
    half = Z * math.sqrt(variance) / (value * (1 - value))
    lo = 1 / (1 + math.exp(half - middle))
    hi = 1 / (1 + math.exp(-half - middle))
    return lo, hi


def _spread(means: Floats) -> float:
    return float(means.var(ddof=1) / len(means)) if len(means) > 1 else 0.0


def _weighted_auc(score: Floats, hit: Booleans, draws: Floats) -> Floats:
    """Return the AUC of each draw; NaN if a draw has only hits or only misses."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    values = np.empty(len(draws))
    step = max(CHUNK // max(len(hit), 1), 1)
    for first in range(0, len(draws), step):
        rows = draws[first : first + step, order]
        yes = np.add.reduceat(rows * hit[order], starts, axis=1)
        no = np.add.reduceat(rows * ~hit[order], starts, axis=1)
        beaten = np.cumsum(no, axis=1) - no / 2
        wins = (yes * beaten).sum(axis=1)
        pairs = yes.sum(axis=1) * no.sum(axis=1)
        with np.errstate(invalid="ignore"):  # without a pair, 0 / 0 is NaN
            values[first : first + step] = wins / pairs
    return values


def _weighted_tau(score: Floats, outcome: Floats, draws: Floats) -> Floats:
    first = np.sign(np.subtract.outer(score, score))
    second = np.sign(np.subtract.outer(outcome, outcome))

    def total(table: Floats) -> Floats:
        return ((draws @ table) * draws).sum(axis=1)

    scale = np.sqrt(total(first**2) * total(second**2))
    zero = np.zeros(len(draws))
    return np.divide(total(first * second), scale, zero, where=scale > 0)


def ends_of(values: Floats) -> Ends:
    """Return the central 95% interval of the draws."""
    lo, hi = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lo), float(hi)


def _measured(
    forecast: Forecast, draws: Floats
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return by metric and draw its value, that by history alone, and that by chance."""
    score, history, lack, hit, minutes = forecast
    n = len(hit)
    # chance is the base rate: the same probability for every service
    rules = (score, history, np.full(n, hit.mean()))
    half = np.full(len(draws), 0.5)
    zero = np.zeros(len(draws))
    proper = {}
    for place, name in enumerate(PROPER):
        own, before, base = (_mean(losses(p, hit)[place], draws) for p in rules)
        proper[name] = (own, before, base)
        proper[f"{name}_gain"] = (before - own, zero, before - base)
    auc_score, auc_history, auc_lack = (
        _weighted_auc(values, hit, draws) for values in (score, history, lack)
    )
    # tau compares pairs: of a large fleet every k-th service and fewer draws are enough
    places = np.arange(n)[:: max(math.ceil(n / TAU_MOST), 1)]
    rows = draws[:TAU_DRAWS, places] if n > TAU_MOST else draws
    tau_score, tau_history = (
        _weighted_tau(values[places], minutes[places], rows)
        for values in (score, history)
    )
    return {
        "auc": (auc_score, auc_history, half),
        "auc_gain": (auc_score - auc_history, zero, half - auc_history),
        **proper,
        "kendall_tau": (tau_score, tau_history, np.zeros(len(rows))),
        "auc_readiness": (auc_lack, auc_history, half),
    }


def _mean(values: Floats, draws: Floats) -> Floats:
    """Return the mean of each draw; of a single one to the same bit on every machine."""
    if len(draws) == 1:
        return (draws * values).mean(axis=1)
    return draws @ values / len(values)
