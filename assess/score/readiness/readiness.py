"""Readiness, 0 to 100: how much of what a service needs to run in containers is there.

Needs: any of the frames; what is absent widens the interval. The formulas are in `dimension_scores`
and `overall`; the checks and gates are data in the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.evidence import checks
from assess.score.evidence.tables import gather
from assess.score.readiness import gates
from assess.score.result import Explanation, Provenance, Result, records_by
from assess.words import share

BOUNDS = ("point", "lo", "hi")
FLOOR = 1.0  # points; the least that a dimension gives to the geometric mean
DIGITS = 9  # what floating point adds beyond is noise
EXPLAINED = 5
NAMED = 3


@dataclass(frozen=True, eq=False, repr=False)
class Readiness(Result):
    """How ready each service is, behind which gates, and what is unknown of it."""

    name: ClassVar[str] = "readiness"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "readiness",
        "readiness_lo",
        "readiness_hi",
        "coverage",
        "label_gates",
        "arithmetic",
        "compensation_gap",
    )

    def explain(self, service_id: str) -> Explanation:
        """Say why a service has its score.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Explanation
            Gates, interval, weakest dimension and what is unknown; the table holds its dimensions.

        Raises
        ------
        AssessError
            Where there is no such service.
        """
        row = self.row(service_id)
        own = {
            name: table[table["service_id"] == service_id]
            for name, table in self.details.items()
            if "service_id" in table
        }
        parts = self.contributions[self.contributions["service_id"] == service_id]
        columns = ["dimension", "point", "lo", "hi", "coverage"]
        table = own["dimensions"][columns].merge(
            parts[["dimension", "weight", "contribution"]], on="dimension"
        )
        sentences = [
            *_gate_sentences(own["gates"]),
            *_score_sentences(row, table),
            *_unknown(own),
        ]
        failed = own["atoms"].loc[own["atoms"]["state"].eq("fail"), "check"].tolist()
        if failed:
            noun = "check" if len(failed) == 1 else "checks"
            sentences.append(f"It fails {len(failed)} {noun}: {', '.join(failed)}.")
        return Explanation(
            f"{service_id}: readiness {row['readiness']:.0f} of 100",
            "\n".join(sentences),
            table.set_index("dimension").round(2),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per service, as `to_dict` holds them.

        Returns
        -------
        list of dict
            Columns of the frame, and ``gates``, ``dimensions`` and ``unknown``.
        """
        listed = records_by(self.details["gates"], "service_id")
        dimensions = records_by(self.details["dimensions"], "service_id")
        unknown = self.details["unknown"].groupby("service_id")["check"].agg(list)
        return [
            {
                **row,
                "gates": listed.get(row["service_id"], []),
                "dimensions": {
                    part.pop("dimension"): part
                    for part in dimensions.get(row["service_id"], [])
                },
                "unknown": unknown.get(row["service_id"], []),
            }
            for row in super().rows()
        ]


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
        ``frame`` by ``service_id``: ``readiness, readiness_lo, readiness_hi`` and ``arithmetic``
        [points 0-100], ``compensation_gap`` (how many points a strong dimension covers for a weak
        one), ``coverage`` [share 0-1], ``label_gates`` and ``label_before_waivers`` (NA where every
        gate passes). ``details``: ``atoms, gates, reasons, dimensions, unknown,
        priors``.

    Notes
    -----
    Gates, labels, bounds and coverage of a service depend on its own evidence alone; gate G4 also
    on what lower tiers have shown. The point fills what is unknown with what the fleet's known
    answers make likely, so an added service moves it only where it answers a check that is unknown
    here.
    """
    evidence = gather(inventory, policy)
    atoms = checks.decide(evidence, inventory, policy)
    scores = dimension_scores(atoms)
    weights = dimension_weights(scores, policy["dimensions"])
    frame = overall(scores, weights).reindex(evidence.services)
    frame["coverage"] = _coverage(atoms, ["service_id"]).reindex(frame.index)
    unknown = _facts(atoms, policy)
    known = _lowest(scores).join(frame[["coverage"]]).join(_missing(unknown))
    evidence = evidence.with_columns("services", known)
    judged, reasons = gates.judge(evidence, inventory, policy)
    frame["label_gates"] = gates.labels(judged)
    frame["label_before_waivers"] = gates.labels(
        judged.replace({"state": {"waived": "fail"}})
    )
    frame.index.name = "service_id"
    details = {
        "atoms": atoms.sort_values("service_id", kind="stable", ignore_index=True),
        "gates": judged,
        "reasons": reasons,
        "dimensions": scores.reset_index(),
        "unknown": unknown,
        "priors": priors(atoms).rename("prior").reset_index(),
    }
    return Readiness(
        frame, contributions(scores, weights), Provenance.of(inventory, policy), details
    )


def priors(atoms: pd.DataFrame) -> pd.Series:
    """Estimate how likely each check passes where it is unknown.

    Parameters
    ----------
    atoms : DataFrame
        As `checks.decide` gives them.

    Returns
    -------
    Series
        Index check; ``(k + 1) / (n + 2)`` with k the sum of the fleet's n known values (Laplace's
        rule of succession).
    """
    known = atoms.groupby("check", sort=False)["value"].agg(["sum", "count"])
    return (known["sum"] + 1) / (known["count"] + 2)


def dimension_scores(atoms: pd.DataFrame) -> pd.DataFrame:
    """Score every dimension of every service.

    Parameters
    ----------
    atoms : DataFrame
        As `checks.decide` gives them.

    Returns
    -------
    DataFrame
        Index service_id and dimension, those without any applicable check left out; ``point, lo,
        hi`` [points 0-100] and ``coverage`` [share 0-1]. With A the weight of what applies:
        ``lo = 100 sum(w v) / A`` counts unknown as failed, ``hi = 100 (sum(w v) + sum(w unknown)) /
        A`` as passed, ``point`` as its prior.
    """
    held = atoms[atoms["state"] != "na"]
    weight, value = held["weight"], held["value"].astype("Float64")
    unknown = weight.where(value.isna(), 0.0)
    parts = pd.DataFrame(
        {
            "service_id": held["service_id"],
            "dimension": held["dimension"],
            "all": weight,
            "earned": (weight * value).fillna(0.0).astype(float),
            "likely": unknown * held["check"].map(priors(atoms)).astype(float),
            "unknown": unknown,
        }
    )
    total = parts.groupby(["service_id", "dimension"]).sum()
    points = 100 / total["all"]
    return pd.DataFrame(
        {
            "point": points * (total["earned"] + total["likely"]),
            "lo": points * total["earned"],
            "hi": points * (total["earned"] + total["unknown"]),
            "coverage": 1 - total["unknown"] / total["all"],
        }
    )


def dimension_weights(scores: pd.DataFrame, weights: Mapping[str, float]) -> pd.Series:
    """Weigh the dimensions that apply to each service.

    Parameters
    ----------
    scores : DataFrame
        As `dimension_scores` gives them.
    weights : mapping of str to float
        Weight of every dimension.

    Returns
    -------
    Series
        Index service_id and dimension; sums to 1 per service. Only a dimension of which every check
        is na is missing, never one that is unknown.
    """
    own = [weights[name] for name in scores.index.get_level_values("dimension")]
    raw = pd.Series(own, index=scores.index, dtype=float)
    return raw / raw.groupby("service_id").transform("sum")


def overall(scores: pd.DataFrame, weights: pd.Series) -> pd.DataFrame:
    """Add the dimensions up.

    Parameters
    ----------
    scores : DataFrame
        As `dimension_scores` gives them.
    weights : Series
        As `dimension_weights` gives them.

    Returns
    -------
    DataFrame
        Index service_id; ``readiness, readiness_lo, readiness_hi``: the weighted geometric mean
        ``prod max(x, 1)^w`` of the points, of the lower and of the upper bounds; ``arithmetic`` and
        ``compensation_gap``, its distance above the geometric mean. [points]
    """
    logs = np.log(scores[list(BOUNDS)].clip(lower=FLOOR)).mul(weights, axis=0)
    frame = np.exp(logs.groupby("service_id").sum()).clip(upper=100)
    frame.columns = ["readiness", "readiness_lo", "readiness_hi"]
    frame["arithmetic"] = (scores["point"] * weights).groupby("service_id").sum()
    frame["compensation_gap"] = (frame["arithmetic"] - frame["readiness"]).clip(lower=0)
    return frame.round(DIGITS)


def contributions(scores: pd.DataFrame, weights: pd.Series) -> pd.DataFrame:
    """Split readiness into its dimensions.

    Parameters
    ----------
    scores : DataFrame
        As `dimension_scores` gives them.
    weights : Series
        As `dimension_weights` gives them.

    Returns
    -------
    DataFrame
        ``service_id, dimension, weight, point, contribution``; ``w ln(max(x, 1) / 100)`` adds up to
        ``ln(readiness / 100)``.
    """
    logs = np.log(scores["point"].clip(lower=FLOOR) / 100)
    parts = {"weight": weights, "point": scores["point"], "contribution": weights * logs}
    return pd.DataFrame(parts).reset_index()


def _coverage(atoms: pd.DataFrame, by: list[str]) -> pd.Series:
    """Share of the weight of what applies that is known."""
    held = atoms[atoms["state"] != "na"]
    known = held["weight"].where(held["value"].notna(), 0.0)
    sums = (
        pd.DataFrame({"known": known, "all": held["weight"]})
        .groupby([held[c] for c in by])
        .sum()
    )
    return (sums["known"] / sums["all"]).fillna(0.0)


def _lowest(scores: pd.DataFrame) -> pd.DataFrame:
    """Give the dimension of which least is known, by service."""
    ranked = scores.reset_index().sort_values(["service_id", "coverage", "dimension"])
    first = ranked.groupby("service_id").first()
    names = {"coverage": "coverage_lowest", "dimension": "dimension_lowest"}
    return first[list(names)].rename(columns=names)


def _facts(atoms: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """List what to find out, the weightiest first."""
    shares = policy["dimensions"]
    texts = {check["id"]: _fact(check) for check in policy["check"]}
    held = atoms[atoms["state"].isin(["unknown", "conflict"])]
    worth = held["weight"] * held["dimension"].map(shares).astype(float)
    held = held.assign(worth=worth, fact=held["check"].map(texts).astype("str"))
    clash = held["state"].eq("conflict")
    held["fact"] = held["fact"].mask(
        clash, "sources contradict each other: " + held["fact"]
    )
    ordered = held.sort_values(
        ["service_id", "worth", "check"], ascending=[True, False, True]
    )
    return ordered[["service_id", "check", "fact"]].reset_index(drop=True)


def _missing(unknown: pd.DataFrame) -> pd.Series:
    """Name the weightiest facts to find out, by service."""
    first = unknown.groupby("service_id").head(NAMED)
    return first.groupby("service_id")["fact"].agg("; ".join).rename("missing")


def _fact(check: Mapping[str, Any]) -> str:
    return f"{check['question']} ({', '.join(check['needs'])})"


def _gate_sentences(own: pd.DataFrame) -> list[str]:
    """Word the gates that do not pass."""
    stops = own[own["state"] != "pass"]
    words = {"fail": "is closed", "unknown": "is undecided", "waived": "is waived"}
    return [
        f"Gate {g.gate} ({g.label}) {words[g.state]}: {g.evidence}."
        for g in stops.itertuples()
    ] or ["Every gate passes."]


def _score_sentences(row: pd.Series, table: pd.DataFrame) -> list[str]:
    """Word the interval, and what weighs it down."""
    point, low, high = (
        f"{row[c]:.0f}" for c in ("readiness", "readiness_lo", "readiness_hi")
    )
    if low == high:
        sentences = [
            f"Readiness is {point} of 100; {share(row['coverage'])} of the evidence is there."
        ]
    else:
        sentences = [
            f"Readiness lies between {low} and {high} of 100, at {point} if what is unknown turns "
            f"out as in the rest of the fleet; {share(row['coverage'])} of the evidence is there."
        ]
    weakest = table.loc[table["contribution"].idxmin()]
    if weakest["point"] < 100:
        sentences.append(
            f"{weakest['dimension']} ({weakest['point']:.0f} points) weighs it down most; in the "
            f"plain average, strong dimensions would cover {row['compensation_gap']:.0f} points."
        )
    return sentences


def _unknown(own: Mapping[str, pd.DataFrame]) -> list[str]:
    """Name the facts that are worth most to find out."""
    facts = own["unknown"]["fact"].tolist()
    if not facts:
        return []
    more = f" and {len(facts) - EXPLAINED} more" if len(facts) > EXPLAINED else ""
    return ["To find out: " + "; ".join(facts[:EXPLAINED]) + more + "."]
