"""Skill of rules that predict who goes down: proper scores, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.score import Booleans, Floats, Integers, frozen
from assess.score.result import with_ends

BASELINES = ("self", "direct callers", "all transitive callers")
# finds all that can be found: the others are compared at its recall
REACH = (BASELINES[-1], "")
RESAMPLES = 1000  # of the elements that failed, for intervals
SURE = 1e-3  # a chance of 0 or 1 counts as this far from it in a log-loss
BINS = np.array([0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
Rule = tuple[str, str]  # name, and what was left out
STEPS_MOST = 400  # thresholds of a resample; of more, these are close enough


@frozen
class Judged:
    """Predicted failures, by failure and service, with the prediction of each rule."""

    pair: Booleans
    down: Booleans
    itself: Booleans
    element: Integers
    rules: Mapping[Rule, Floats]
    taught: tuple[int, int] = (0, 0)

    def others(self) -> Judged:
        """Return the same without directly failed services, which need no prediction."""
        pair = self.pair & ~self.itself
        return Judged(pair, self.down & pair, self.itself, self.element, self.rules)

    @property
    def row(self) -> Integers:
        """By pair, the element that failed."""
        return self.element[np.nonzero(self.pair)[0]]

    def of(self, rule: Rule) -> tuple[Floats, Booleans]:
        """Return the prediction of a rule for each pair, and the outcome."""
        return self.rules[rule][self.pair], self.down[self.pair]


def named(rule: Rule) -> str:
    """Return the name of a rule with its left-out part."""
    return ", ".join(part for part in rule if part)


def average_precision(p: Floats, down: Booleans) -> float:
    """Return the mean precision over the thresholds at which recall rises; ties are one threshold.

    ``sum over k of (R_k - R_(k-1)) P_k``, over the distinct values of p from above.
    """
    if not down.any():
        return np.nan
    _, right, predicted = _found_from(p, down)
    recall = right / right[-1]
    return np.sum(np.diff(recall, prepend=0.0) * (right / predicted))


def _found_from(p: Floats, down: Booleans) -> tuple[Floats, Integers, Integers]:
    """Return the distinct thresholds, highest first, and correct and predicted pairs from each."""
    order = np.argsort(-p, kind="stable")
    right: Integers = np.cumsum(down[order], dtype=np.int64)
    # the last pair of each run of equal values: ties are cut together
    last = np.flatnonzero(np.diff(p[order], append=-np.inf) != 0)
    return p[order][last], right[last], last + 1


def losses(p: Floats, down: Booleans) -> tuple[Floats, Floats]:
    """Return by pair the squared error (Brier), and the surprise in nats (log-loss)."""
    inside = np.clip(p, SURE, 1 - SURE)
    surprise = -np.log(np.where(down, inside, 1 - inside))
    return (p - down) ** 2, surprise


def scores(judged: Judged) -> DataFrame:
    """Return ``average_precision, brier, log_loss`` by rule; ``_others``: without what failed."""
    rows = []
    for rule in judged.rules:
        row: dict[str, object] = {"rule": rule[0], "left_out": rule[1]}
        for suffix, part in (("", judged), ("_others", judged.others())):
            p, down = part.of(rule)
            brier, surprise = losses(p, down)
            row[f"average_precision{suffix}"] = average_precision(p, down)
            row[f"brier{suffix}"] = Series(brier).mean()
            row[f"log_loss{suffix}"] = Series(surprise).mean()
        rows.append(row)
    return DataFrame(rows)


def reliability(judged: Judged) -> DataFrame:
    """Return ``rule, left_out, lo, hi, predicted, observed, n`` by bin of the predictions."""
    parts = []
    for rule in judged.rules:
        p, down = judged.others().of(rule)
        at = np.searchsorted(BINS, p, side="right") - 1
        at = np.clip(at, 0, len(BINS) - 2)
        table = DataFrame({"bin": at, "predicted": p, "observed": down})
        means = table.groupby("bin").mean()
        edges = {"lo": BINS[means.index], "hi": BINS[means.index + 1]}
        named = {"rule": rule[0], "left_out": rule[1], **edges}
        parts.append(means.assign(n=table["bin"].value_counts(), **named))
    names = ["rule", "left_out", "lo", "hi", "predicted", "observed", "n"]
    return pd.concat(parts, ignore_index=True)[names]


@frozen
class _Counts:
    """Predicted and correct pairs at each threshold, from the highest, by resample."""

    predicted: Floats
    right: Floats

    @classmethod
    def of(cls, judged: Judged, rule: Rule, weights: Floats) -> _Counts:
        """Count by element, then weigh the elements of each resample."""
        p, down = judged.of(rule)
        steps = np.unique(np.append(p, 0.0))[::-1]
        if len(steps) > STEPS_MOST:
            steps = np.quantile(p, np.linspace(1, 0, STEPS_MOST))
        step = np.searchsorted(-steps, -p)
        n = weights.shape[1]
        shape = (n, len(steps))
        cell = judged.row * len(steps) + step
        predicted = np.bincount(cell, minlength=n * len(steps)).reshape(shape)
        right = np.bincount(cell, down, n * len(steps)).reshape(shape)
        both = (np.cumsum(weights @ part, axis=1) for part in (predicted, right))
        return cls(*both)

    def average_precision(self) -> Floats:
        """Return the average precision of each resample."""
        precision = self.right / np.maximum(self.predicted, 1)
        gained = np.diff(self.right, axis=1, prepend=0.0)
        every = np.maximum(self.right[:, -1], 1)
        return (precision * gained).sum(axis=1) / every

    def precision_at(self, goal: Floats) -> Floats:
        """Return the precision at the highest threshold that finds ``goal`` in each resample."""
        enough = self.right >= goal[:, None]
        is_found = enough.any(axis=1)
        first = np.where(is_found, enough.argmax(axis=1), -1)
        first = first[:, None]
        right = np.take_along_axis(self.right, first, axis=1)
        predicted = np.take_along_axis(self.predicted, first, axis=1)
        return np.asarray(right / np.maximum(predicted, 1))[:, 0]


def compare(
    judged: Judged,
    pairs: list[tuple[Rule, Rule]],
    *,
    seed: int,
    level: float,
) -> DataFrame:
    """Compare rules with others on the same failures, by a bootstrap over the elements.

    Columns ``rule, left_out, baseline, measure, gain, gain_lo, gain_hi``. Measures are
    ``average_precision``, ``precision`` at the recall of `REACH` with the threshold chosen anew in
    each resample, ``brier`` and ``log_loss``; a gain is good in each of them.
    """
    weights = _weights(judged, seed, level)
    goal = _Counts.of(judged, REACH, weights).right
    predicted = judged.rules[REACH][judged.pair] > 0
    found = goal[:, 0] if predicted.any() else np.zeros(len(weights))
    measured = {rule: _measures(judged, rule, weights, found) for rule in judged.rules}
    rows = []
    for rule, baseline in pairs:
        for measure in measured[rule]:
            gain = measured[rule][measure] - measured[baseline][measure]
            lo, hi = middle(gain[1:], level)
            name = named(baseline)
            rows.append((*rule, name, measure, gain[0], lo, hi))
    names = ["rule", "left_out", "baseline", "measure", *with_ends("gain")]
    return DataFrame(rows, columns=names)


def _weights(judged: Judged, seed: int, level: float) -> Floats:
    """Return the weight of each element by resample; the first row is the original sample."""
    n = judged.element.max(initial=-1) + 1
    original = np.ones((1, n))
    times = resamples(n, level)
    if not times:
        return original
    # elements are drawn, not pairs: pairs of one element are not independent
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), times)
    return np.vstack([original, drawn])


def resamples(elements_n: int, level: float) -> int:
    """Return how many resamples tell an interval; none where the elements are too few."""
    # so often all of them lie on one side of the middle by luck, and so does the interval
    return RESAMPLES if 2.0 ** (1 - elements_n) <= 1 - level else 0


def _measures(
    judged: Judged, rule: Rule, weights: Floats, goal: Floats
) -> dict[str, Floats]:
    """Return the measures of a rule by resample, with signs such that larger is better."""
    counts = _Counts.of(judged, rule, weights)
    n = weights.shape[1]
    whole = np.maximum(weights @ np.bincount(judged.row, minlength=n), 1)
    brier, surprise = (
        weights @ np.bincount(judged.row, part, n) for part in losses(*judged.of(rule))
    )
    return {
        "average_precision": counts.average_precision(),
        "precision": counts.precision_at(goal),
        "brier": -brier / whole,
        "log_loss": -surprise / whole,
    }


def precision(judged: Judged, *, seed: int, level: float) -> DataFrame:
    """Return precision and recall by rule, at one half and at the recall of `REACH`.

    Columns ``rule, threshold, precision, precision_lo, precision_hi, recall, said_n, fell_n``. The
    threshold of a rule that says yes or no is NA; the other is the highest one that finds as many.
    """
    weights = _weights(judged, seed, level)
    p, down = judged.of(REACH)
    goal = ((p > 0) & down).sum()
    found = partial(_found, judged, weights, level)
    rows = []
    for rule in judged.rules:
        p, down = judged.of(rule)
        name = named(rule)
        at_half = found(rule, 0.5)
        if rule[0] in BASELINES:
            rows.append((name, np.nan, *at_half))
            continue
        rows.append((name, 0.5, *at_half))
        ranked = np.sort(p[down])[::-1]
        threshold = ranked[goal - 1] if goal else 0.0
        if threshold > 0:  # else the rule finds fewer at any threshold
            same = f"{name}, at the recall of {named(REACH)}"
            rows.append((same, threshold, *found(rule, threshold)))
    names = ["rule", "threshold", *with_ends("precision")]
    return DataFrame(rows, columns=[*names, "recall", "said_n", "fell_n"])


def _found(
    judged: Judged, weights: Floats, level: float, rule: Rule, threshold: float
) -> tuple[float, ...]:
    """Return precision with its interval, recall, and the counts of both, at a threshold."""
    predicted = judged.pair & (judged.rules[rule] >= threshold)
    n = weights.shape[1]
    parts = (predicted & judged.down, predicted)
    right, every = (
        weights @ np.bincount(judged.element, part.sum(axis=1), n) for part in parts
    )
    shares = right / np.maximum(every, 1)
    fell_n = judged.down.sum()
    point = shares[0] if every[0] else np.nan
    lo, hi = middle(shares[1:], level)
    recall = right[0] / fell_n if fell_n else np.nan
    return point, lo, hi, recall, int(every[0]), fell_n


def curve(judged: Judged) -> DataFrame:
    """Return ``rule, threshold, precision, recall`` at every threshold, highest first."""
    parts = []
    for rule in judged.rules:
        p, down = judged.of(rule)
        threshold, right, predicted = _found_from(p, down)
        found = {
            "rule": named(rule),
            "threshold": threshold,
            "precision": right / predicted,
            "recall": right / max(down.sum(), 1),
        }
        parts.append(DataFrame(found)[threshold > 0])
    return pd.concat(parts)


def middle(values: Floats, level: float) -> Floats:
    """Return the ends of the central interval of values at ``level``."""
    if not len(values):
        return np.full(2, np.nan)
    tail = (1 - level) / 2
    return np.quantile(values, [tail, 1 - tail])
