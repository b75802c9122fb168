"""Sections behind the decision: claims, unknowns, coverage, back-test, method."""

from collections.abc import Iterable
from functools import lru_cache

import pandas as pd
from pandas import DataFrame, MultiIndex, Series

from assess import reference
from assess.errors import AssessError, counted
from assess.figures import band_of
from assess.frames import Row, surely
from assess.inventory import LOOKED
from assess.reference import STALE_DAYS
from assess.report.cards import questions
from assess.report.model import (
    Card,
    Item,
    Part,
    Section,
    described,
    picture_of,
    table_of,
)
from assess.score.assessment import Assessment
from assess.score.backtest import Backtest
from assess.score.claims import Claims
from assess.words import UNKNOWN, sentence_list, share, word

NAMED = 4
VERDICTS = ("supported", "refuted", "undecided")
LIMITS = (
    "What can be reached is an upper bound: not every caller of a failed service fails with it.",
    "A share of weightings is not a probability of success.",
    "What no source saw is unknown. It widens intervals and never improves a rank.",
    "People set the weights and thresholds in a policy; every result carries its hash.",
)


def claims(scores: Assessment) -> Section:
    """Return the section on the claims: each claim, and whether this fleet supports it."""
    result = scores.claims
    frame = result.frame.reset_index()
    frame["measured"] = [_measured(row) for row in frame.to_dict("records")]
    frame["needs"] = frame["needs"].replace("", "–")
    counts = frame["verdict"].value_counts()
    supported, refuted, undecided = (counts.get(word, 0) for word in VERDICTS)
    text = (
        "One article called containers in production a history of failure; another replied point "
        f"by point. Of their {len(frame)} claims, this fleet supports {supported}, refutes "
        f"{refuted} and leaves {undecided} undecided. A claim is decided only if its whole "
        f"{share(result.policy['claims']['level'])} interval lies on one side of the bound. "
        "Without data it stays undecided."
    )
    rows = frame.to_dict("records")
    cards = [_card(result, row) for row in rows]
    return Section(
        "claims",
        "The argument, tested on this fleet",
        [text],
        [picture_of("claims", scores), table_of("claims-table", frame), *cards],
        deck=f"Both sides of {len(cards)} claims, and what is published",
    )


def _measured(row: Row) -> str:
    if pd.isna(row["value"]) and not row["lo"] > 0:
        return UNKNOWN
    # events on one side only have a lower end and no ratio
    point = UNKNOWN if pd.isna(row["value"]) else f"{row['value']:.2g}"
    hi = "no upper end" if pd.isna(row["hi"]) else f"{row['hi']:.2g}"
    return f"{point} ({row['lo']:.2g} to {hi}) {row['unit']}"


def _card(result: Claims, row: Row) -> Card:
    """Return the card of a claim: both sides, the measurement, and published facts."""
    claim = str(row["claim"])
    verdict = str(row["verdict"])
    lines = result.explain(claim).text.splitlines()
    items = [Item(line) for line in lines if not line.startswith("Verdict:")]
    name = f"{claim} {row['text']}"
    first = items[0].text
    return Card(f"claim-{claim}", name, verdict, band_of(verdict), [], {"": items}, first)


@lru_cache(maxsize=1)
def unknown_facts(scores: Assessment) -> DataFrame:
    """List the facts to find out before the meeting, the most decisive first."""
    missing = scores.what_next.details["missing"]
    frame = scores.what_next.frame
    undecidable = set(frame.index[frame["label"] == "NOT DECIDABLE"])
    owners = frame["owner"].dropna().to_dict()
    asked = missing.assign(
        owner=[owners.get(name, "owner unknown") for name in missing["service_id"]],
        decides=missing["service_id"].isin(undecidable),
    )
    pair = ["service_id", "fact"]
    gated = scores.readiness.details["gates"].query("state == 'unknown'")
    of_gates = MultiIndex.from_frame(gated[pair])
    asked["decides"] &= MultiIndex.from_frame(asked[pair]).isin(of_gates)
    grouped = asked.groupby("fact", sort=True)
    table = grouped.agg(
        services_n=("service_id", "nunique"),
        decides_n=("decides", "sum"),
        services=("service_id", _cell_list),
        owners=("owner", lambda names: _cell_list(set(names))),
    ).reset_index()
    # whose label the fact alone can change
    worth = scores.what_next.details["information"]
    turning = worth[worth["decides"].astype(bool)]
    turns_n = table["fact"].map(turning.groupby("fact")["service_id"].nunique())
    table["turns_n"] = turns_n.fillna(0).astype("Int64")
    return table.sort_values(
        ["decides_n", "turns_n", "services_n", "fact"],
        ascending=[False, False, False, True],
    )


def unknowns(scores: Assessment) -> Section:
    """Return the section with the facts to find out."""
    text = (
        "In this order: facts without which a service cannot be decided, facts that can change a "
        "label on their own, facts that most services lack. `assess questions -o questions.csv` "
        "writes them as a table to fill in, which the next collection reads."
    )
    title = "Unknowns: what to find out before the meeting"
    shown = table_of("unknown-facts", unknown_facts(scores))
    return Section("unknowns", title, [text], [shown])


def _cell_list(names: Iterable[str]) -> str:
    return sentence_list(sorted(names), most=NAMED, last=", ")


def coverage(scores: Assessment) -> Section:
    """Show the outcome of each call to a source, and the age of the answers."""
    gaps = incomplete(scores)
    # an answer with gaps in it is no answer in full, however many rows came
    is_full = gaps["ratio"].ge(1) & gaps["status"].eq("partial")
    gaps.loc[is_full, "ratio"] = None
    warnings = stale(scores)
    missing = unsupplied(scores)
    if missing:
        warnings.insert(0, f"Not supplied at all, and so unknown: {', '.join(missing)}.")
    parts: list[Part] = [picture_of("coverage", scores), table_of("gaps", gaps)]
    text = "A call that failed does not mean that there is nothing."
    return Section("coverage", "Coverage by source", [text], parts, warnings)


def incomplete(scores: Assessment) -> DataFrame:
    """Return the rows of coverage of calls that were not answered in full."""
    calls = scores.inventory["coverage"]
    gaps = calls[~calls["status"].isin(LOOKED)]
    return gaps.sort_values(["source", "scope", "call"])


def unsupplied(scores: Assessment) -> list[str]:
    """Name the frames that no source supplied."""
    inventory = scores.inventory
    return [name for name in inventory if name not in inventory.present]


def stale(scores: Assessment) -> list[str]:
    """List the facts that are too old to rely on."""
    at = scores.inventory.snapshot_at
    warnings = []
    if aged := reference.outdated(at):
        warnings.append(
            f"The reference facts date from {reference.compiled_on(*aged)}, more than "
            f"{STALE_DAYS} days before the snapshot. Newer facts are missing in "
            f"{'all tables' if len(aged) == len(reference.tables()) else ', '.join(aged)}."
        )
    hosts = scores.inventory["hosts"]
    old = hosts[surely(hosts["facts_age_hours"] > 24 * STALE_DAYS)]
    if len(old):
        what = f"The facts of {len(old)} of {len(hosts)} hosts"
        warnings.append(f"{what} are older than {STALE_DAYS} days.")
    atoms = scores.readiness.details["atoms"]
    age = at - atoms["observed_at"]
    n = surely(age.dt.days > STALE_DAYS).sum()
    if n:
        warnings.append(
            f"More than {STALE_DAYS} days old: {counted(n, 'answer')} to checks."
        )
    return warnings


def backtest(scores: Assessment, result: Backtest | AssessError) -> Section:
    """Return the section on the back-test, or the reason why there is none."""
    title = "Back-test: does the score predict anything here?"
    if isinstance(result, AssessError):
        lines = [f"There is no back-test: {result}."]
        if result.hint:
            lines.append(f"To run one: {result.hint}.")
        return Section("backtest", title, lines)
    frame = result.frame.reset_index()
    frame = frame.rename(columns={"lo": "value_lo", "hi": "value_hi"})
    metrics = (described("metrics.csv", name) for name in frame["metric"])
    frame["metric"] = [metric["title"] for (metric,) in metrics]
    parts: list[Part] = [
        picture_of("backtest", scores),
        table_of("backtest-table", frame),
    ]
    return Section("backtest", title, [result.headline], parts)


def method(scores: Assessment) -> Section:
    """Describe the method, the policy, the data, and their limits."""
    policy = scores.policy
    weights = Series(policy["dimensions"]).rename_axis("name")
    edges = DataFrame(policy["edges"]).T.rename_axis("kind")
    edges = edges.rename(columns={"lo": "p_lo", "hi": "p_hi"})
    gates = DataFrame(policy["gate"])
    data = scores.inventory.summary().reset_index()
    data["supplied"] = data["supplied"].map(word)
    text = [
        "Gates are checked before any score. Readiness is the weighted geometric mean of its "
        f"dimensions, from {len(questions(scores))} checks; its bounds count every unknown as "
        "failed and as passed. Blast radius fails one element at a time and follows the "
        "dependencies. Upgrade churn multiplies the upgrades per year by their cost in hours.",
        f"The ranking uses {policy.draws:,} weightings drawn uniformly (seed {policy.seed}).",
        *LIMITS,
    ]
    frames = {
        "weights": weights.reset_index(name="value"),
        "gates": gates,
        "edges": edges.reset_index(),
        "data": data,
    }
    parts = [table_of(name, frame) for name, frame in frames.items()]
    return Section("method", "Method, policy, data, limits", text, parts)
