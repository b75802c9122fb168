"""Readiness, 0 to 100: the share of the needs for running in containers that a service meets.

Needs any of the frames; what is absent widens the interval. Checks and gates are data in the
policy. The score and the counterfactuals of what-next use one formula: `points`, `coverage` and
`geometric_mean`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from pandas import DataFrame, Series

from assess.errors import counted
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import Floats
from assess.score.evidence import AGAINST, Evidence, answer_checks, with_rows
from assess.score.evidence.tables import gather
from assess.score.readiness import gates
from assess.score.result import Explanation, Provenance, Result, plain_by, with_ends
from assess.words import Json, share

BOUNDS = {"readiness": "point", "readiness_lo": "lo", "readiness_hi": "hi"}
FLOOR = 1.0  # points; the geometric mean has no value for a dimension of 0
DIGITS = 9  # what floating point adds beyond is noise
EXPLAINED = 5  # facts in an explanation
NAMED = 3  # facts in the evidence of a gate


def points(earned: Any, total: Any) -> Any:
    """Return earned weight as a share of the weight that applies [points 0-100]."""
    return 100 / total * earned


def coverage(unknown: Any, total: Any) -> Any:
    """Return the known share of the weight that applies [0-1]."""
    return 1 - unknown / total


def geometric_mean(scores: Floats, weights: Floats) -> Floats:
    """Return ``prod max(x, 1)^w`` over the last axis [points 0-100]."""
    # A strong dimension cannot cover for a weak one, as it does in the arithmetic mean.
    # Weights sum to 1; a dimension that does not apply has the weight 0.
    logs = np.log(np.maximum(scores, FLOOR))
    mean: Floats = np.exp((logs * weights).sum(axis=-1))
    return np.minimum(mean, 100)


def priors(atoms: DataFrame) -> Series:
    """Estimate by check how likely an unknown passes: ``(k + 1) / (n + 2)``, after Laplace."""
    known = atoms.groupby("check", sort=False)["value"].agg(["sum", "count"])
    return (known["sum"] + 1) / (known["count"] + 2)


def weight_sums(atoms: DataFrame) -> DataFrame:
    """Sum weights by service and dimension: ``total, earned, likely`` (by priors), ``unknown``."""
    asked = atoms[atoms["state"] != "na"]
    weight = asked["weight"]
    value = asked["value"].astype("Float64")
    unknown = weight.where(value.isna(), 0.0)
    parts = DataFrame(
        {
            "service_id": asked["service_id"],
            "dimension": asked["dimension"],
            "total": weight,
            "earned": (weight * value).fillna(0.0).astype(float),
            "likely": unknown * asked["check"].map(priors(atoms)).astype(float),
            "unknown": unknown,
        }
    )
    return parts.groupby(["service_id", "dimension"]).sum()


def dimension_scores(sums: DataFrame) -> DataFrame:
    """Score by service and dimension: ``point, lo, hi`` [points], ``coverage`` [0-1].

    The unknown counts as failed in ``lo``, as passed in ``hi``, and as its prior in ``point``.
    """
    earned = sums["earned"]
    total = sums["total"]
    return DataFrame(
        {
            "point": points(earned + sums["likely"], total),
            "lo": points(earned, total),
            "hi": points(earned + sums["unknown"], total),
            "coverage": coverage(sums["unknown"], total),
        }
    )


def dimension_weights(scores: DataFrame, weights: Mapping[str, float]) -> Series:
    """Return weights by service and dimension; those of a service sum to 1."""
    # A dimension that is unknown applies; one whose checks are all na does not.
    names = scores.index.get_level_values("dimension")
    raw = Series([weights[name] for name in names], index=scores.index, dtype=float)
    return raw / raw.groupby("service_id").transform("sum")


def overall(scores: DataFrame, weights: Series) -> DataFrame:
    """Return ``readiness, readiness_lo, readiness_hi, arithmetic, compensation_gap`` [points].

    The gap is the distance of the arithmetic mean above the geometric one: how much strong
    dimensions cover for weak ones.
    """
    wide = weights.unstack("dimension", fill_value=0.0)
    frame = DataFrame(index=wide.index)
    for name, end in BOUNDS.items():
        # a dimension that does not apply has weight 0, so its filler does not count
        by_dimension = scores[end].unstack("dimension", fill_value=FLOOR)
        frame[name] = geometric_mean(by_dimension.to_numpy(), wide.to_numpy())
    frame["arithmetic"] = (scores["point"] * weights).groupby("service_id").sum()
    frame["compensation_gap"] = (frame["arithmetic"] - frame["readiness"]).clip(lower=0)
    return frame.round(DIGITS)


def contributions(scores: DataFrame, weights: Series) -> DataFrame:
    """Split ``ln(readiness / 100)`` into its dimensions: ``w ln(max(x, 1) / 100)``."""
    logs = np.log(scores["point"].clip(lower=FLOOR) / 100)
    parts = {"weight": weights, "point": scores["point"], "contribution": weights * logs}
    return DataFrame(parts).reset_index()


class Readiness(Result):
    """Readiness of each service, its gates, and its unknown facts."""

    name = "readiness"
    summary_columns = (
        *with_ends("readiness"),
        "coverage",
        "label_gates",
        "arithmetic",
        "compensation_gap",
    )

    def explain(self, service_id: str) -> Explanation:
        """Explain gates, interval, weakest dimension and unknown facts of a service."""
        row = self.row(service_id)
        shares = self.contributions.drop(columns="point")
        parts = self.details["dimensions"].merge(shares)
        table = parts[parts["service_id"] == service_id].drop(columns="service_id")
        sentences = [
            *_gate_sentences(self._of("gates", service_id)),
            *_score_sentences(row, table),
            *_fact_sentences(self._of("unknown", service_id)),
            *_failure_sentences(self._of("atoms", service_id)),
        ]
        return Explanation(
            f"{service_id}: readiness {row['readiness']:.0f} of 100",
            "\n".join(sentences),
            table.set_index("dimension").round(2),
        )

    def rows(self) -> list[Json]:
        """Return one dictionary per service, with its gates, dimensions, unknown and failed checks."""
        rows = super().rows()
        for row in rows:
            parts = row["dimensions"]
            row["dimensions"] = {part.pop("dimension"): part for part in parts}
        return rows

    def _lists(self) -> Json:
        """Return by service its gates, dimensions, unknown and failed checks."""
        atoms = self.details["atoms"]
        checks = ["service_id", "check", "state", "evidence"]
        failed = atoms.loc[atoms["state"].isin(AGAINST), checks]
        unknown = self.details["unknown"].groupby("service_id")["check"].agg(list)
        return {
            "gates": plain_by(self.details["gates"], "service_id"),
            "dimensions": plain_by(self.details["dimensions"], "service_id"),
            "unknown": unknown,
            "failed": plain_by(failed, "service_id"),
        }


def score_readiness(inventory: Inventory, policy: Policy) -> Readiness:
    """Score how ready every service is to run in containers.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        Dimensions, checks and gates.

    Returns
    -------
    Readiness
        ``frame`` by ``service_id``: ``readiness, readiness_lo, readiness_hi`` and
        ``arithmetic`` [points 0-100], ``compensation_gap`` (points that strong dimensions
        cover for weak ones), ``coverage`` [share 0-1], ``label_gates`` and
        ``label_before_waivers`` (NA where every gate passes), and ``could_move`` (yes, after
        fixes, no or unknown), which depends on the service alone. ``details``: ``atoms, gates,
        reasons, dimensions, unknown, priors``.

    Notes
    -----
    Gates, labels, bounds and coverage of a service depend on its own evidence alone; gate G4 also on
    what lower tiers have shown. The point fills the unknown with what the fleet's known answers make
    likely, so an added service moves it only where that service answers a check that is unknown here.

    Examples
    --------
    >>> readiness = assess.score_readiness(inventory, policy)
    >>> readiness.frame.loc["wiki", ["readiness_lo", "readiness_hi"]].round().tolist()
    [6.0, 52.0]
    >>> gates = readiness.details["gates"]
    >>> gates.query("service_id == 'auth' and state != 'pass'")["gate"].tolist()
    ['G6']
    """
    inventory = inventory.running
    return readiness_of(gather(inventory, policy), inventory, policy)


def readiness_of(evidence: Evidence, inventory: Inventory, policy: Policy) -> Readiness:
    """Score the readiness of every service from given evidence."""
    atoms = answer_checks(evidence, inventory, policy)
    atoms = with_rows(atoms, evidence, policy["check"])
    measured = measure(evidence, atoms, policy)
    frame = measured.frame
    scores = measured.scores
    judged, reasons = gates.judge(measured.evidence, inventory, policy)
    frame["label_gates"] = gates.labels(judged)
    # the report shows the label that no exception hides
    before_waivers = judged.replace({"state": {"waived": "fail"}})
    frame["label_before_waivers"] = gates.labels(before_waivers)
    frame["could_move"] = could_move(frame, policy["what_next"]["ready_points"])
    details = {
        "atoms": atoms.sort_values("service_id", kind="stable", ignore_index=True),
        "gates": judged,
        "reasons": reasons,
        "dimensions": scores.reset_index(),
        "unknown": measured.unknown,
        "priors": priors(atoms).rename("prior").reset_index(),
    }
    return Readiness(
        frame,
        contributions(scores, measured.weights),
        Provenance.of(inventory, policy),
        details,
    )


class Measured(NamedTuple):
    """Sums of the answers to checks, by service and dimension, and what gates need."""

    frame: DataFrame
    scores: DataFrame
    weights: Series
    unknown: DataFrame
    evidence: Evidence


def measure(evidence: Evidence, atoms: DataFrame, policy: Policy) -> Measured:
    """Return the sums of the answers to checks, before any gate is evaluated."""
    sums = weight_sums(atoms)
    scores = dimension_scores(sums)
    weights = dimension_weights(scores, policy["dimensions"])
    frame = overall(scores, weights)
    by_service = sums.groupby("service_id").sum()
    frame["coverage"] = coverage(by_service["unknown"], by_service["total"])
    frame = frame.reindex(evidence.services).rename_axis("service_id")
    unknown = _unknown_facts(atoms, policy)
    # gates ask for coverage, and name what is missing
    known = _least_known(scores).join(frame["coverage"]).join(_missing(unknown))
    evidence = evidence.with_columns(known)
    return Measured(frame, scores, weights, unknown, evidence)


def could_move(frame: DataFrame, ready_points: float) -> Series:
    """Return whether a service could move, independent of the other services.

    ``frame`` has ``label_gates`` and ``readiness_lo, readiness_hi`` [points]. NEVER is no, an unknown
    gate unknown, another open gate after fixes; with clear gates the lower bound of readiness has to
    reach ``ready_points``, and where only the upper one does, it is unknown.
    """
    label = frame["label_gates"]
    is_clear = label.isna()
    is_ready = frame["readiness_lo"].ge(ready_points)
    is_maybe = frame["readiness_hi"].ge(ready_points) & ~is_ready
    answer = Series("after fixes", frame.index, dtype="str")
    answer = answer.mask(is_clear & is_ready, "yes")
    answer = answer.mask((is_clear & is_maybe) | label.eq(gates.NOT_DECIDABLE), "unknown")
    return answer.mask(label.eq("NEVER"), "no")


def _least_known(scores: DataFrame) -> DataFrame:
    ranked = scores.reset_index().sort_values(["service_id", "coverage", "dimension"])
    first = ranked.groupby("service_id").first()
    names = {"coverage": "coverage_lowest", "dimension": "dimension_lowest"}
    return first[list(names)].rename(columns=names)


def _unknown_facts(atoms: DataFrame, policy: Policy) -> DataFrame:
    """List unknown facts, heaviest first: ``service_id, check, fact``."""
    texts = {}
    for check in policy["check"]:
        needs = ", ".join(check["needs"])
        texts[check["id"]] = f"{check['question']} ({needs})"
    unknown = atoms[atoms["state"].isin(["unknown", "conflict"])]
    share = unknown["dimension"].map(policy["dimensions"]).astype(float)
    fact = unknown["check"].map(texts).astype("str")
    conflict = unknown["state"].eq("conflict")
    fact = fact.mask(conflict, "sources contradict each other: " + fact)
    unknown = unknown.assign(worth=unknown["weight"] * share, fact=fact)
    ordered = unknown.sort_values(
        ["service_id", "worth", "check"], ascending=[True, False, True], ignore_index=True
    )
    return ordered[["service_id", "check", "fact"]]


def _missing(unknown: DataFrame) -> Series:
    first = unknown.groupby("service_id").head(NAMED)
    facts: dict[str, list[str]] = {}
    for service, fact in first[["service_id", "fact"]].astype(object).to_numpy():
        facts.setdefault(service, []).append(fact)
    texts = ["; ".join(listed) for listed in facts.values()]
    return Series(texts, list(facts), name="missing", dtype="str")


def _gate_sentences(table: DataFrame) -> list[str]:
    stops = table[table["state"] != "pass"]
    verbs = {"fail": "fails", "unknown": "is unknown", "waived": "is waived"}
    sentences = [
        f"Gate {g.gate} ({g.label}) {verbs[g.state]}: {g.evidence.removeprefix('not known: ')}."
        for g in stops.itertuples()
    ]
    return sentences or ["Every gate passes."]


def _score_sentences(row: Series, table: DataFrame) -> list[str]:
    point = f"{row['readiness']:.0f}"
    low = f"{row['readiness_lo']:.0f}"
    high = f"{row['readiness_hi']:.0f}"
    known = f"{share(row['coverage'])} of the evidence is known"
    if low == high:
        sentences = [f"Readiness is {point} of 100; {known}."]
    else:
        sentences = [
            f"Readiness is between {low} and {high} of 100; {known}. It is {point} if the "
            "unknown checks pass as often as in the rest of the fleet."
        ]
    weakest = table.loc[table["contribution"].idxmin()]
    if weakest["point"] < 100:
        sentences.append(f"Weakest: {weakest['dimension']} ({weakest['point']:.0f}).")
        if gap := round(row["compensation_gap"]):
            sentences[-1] += f" A plain average would hide {counted(gap, 'point')}."
    return sentences


def _fact_sentences(unknown: DataFrame) -> list[str]:
    facts = unknown["fact"].tolist()
    if not facts:
        return []
    more = f" and {len(facts) - EXPLAINED} more" if len(facts) > EXPLAINED else ""
    return ["To find out: " + "; ".join(facts[:EXPLAINED]) + more + "."]


def _failure_sentences(atoms: DataFrame) -> list[str]:
    failed = atoms[atoms["state"].eq("fail")]
    if failed.empty:
        return []
    named = [
        f"{atom.check} [{atom.evidence}]" if atom.evidence else atom.check
        for atom in failed.itertuples()
    ]
    return [f"It fails {counted(len(failed), 'check')}: {', '.join(named)}."]
