"""Evidence by service, rules evaluated on it, and answers to the checks of the policy.

Rows of several workloads are combined in Kleene's logic: what the known rows do not settle is
unknown. "Looked and found nothing" differs from "could not look".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series

from assess.execution import each
from assess.frames import surely
from assess.inventory import Inventory
from assess.policy import Policy, Table, rules
from assess.score import Booleans, Floats, frozen

How = Literal["all", "any", "share"]
Ids = Collection[str]
ATOM_COLUMNS = [
    "service_id",
    "check",
    "dimension",
    "state",
    "value",
    "weight",
    "source",
    "observed_at",
]
RISKS = {"green": 1.0, "yellow": 0.5, "red": 0.0}
BLOCK = 5000  # services that one worker judges at a time
PERHAPS = 0.5  # a good sign that may no longer hold
DISAGREEMENT = 0.5  # answers further apart than this contradict each other
SECONDS_A_DAY = 86400
MEASURED = "measured"  # source of an answer that says how a fact was measured
NAMED_BY = {  # the column that people know a row by
    "workloads": "workload_id",
    "mounts": "destination",
    "hosts": "host_id",
    "engines": "host_id",
    "images": "repository",
    "dependencies": "dst_id",
}
SHOWN_ROWS = 3
AGAINST = ("fail", "partial")


class Answers(NamedTuple):
    """By service: combined ``value`` [0-1; NaN if unknown or ``na``], and ``na``: does not apply."""

    value: Floats
    na: Booleans


@frozen
class View:
    """Rows of one frame by service.

    ``table`` has ``service_id`` and the columns of `rules.columns`; a row of NA stands for what could
    not be looked at. ``codes`` is the position of the service of each row. By service, ``none``: was
    looked at and has no such row; ``na``: such rows do not apply; ``whole``: every replica has a row.
    By row, ``sure``: it counts; the others rest on replicas that have ended or may have.
    ``answers``: what rules answered so far; checks, gates and their words ask the same.
    """

    table: DataFrame
    codes: np.ndarray
    none: np.ndarray
    na: np.ndarray
    sure: np.ndarray
    whole: np.ndarray
    answers: dict[str, Series] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        services: Index,
        table: DataFrame,
        *,
        none: Ids = (),
        na: Ids = (),
        partly: Ids = (),
    ) -> Self:
        """Return rows by service; ``partly`` names services with a replica that has no row.

        Without a column ``sure`` all rows count.
        """
        sure = table.get("sure", Series(True, table.index))
        return cls(
            table,
            codes=services.get_indexer(table["service_id"].astype("str")),
            none=services.isin(list(none)),
            na=services.isin(list(na)),
            sure=sure.to_numpy(bool),
            whole=~services.isin(list(partly)),
        )

    def part(self, first: int, end: int) -> View:
        """Return the rows of the services at these positions."""
        rows = (self.codes >= first) & (self.codes < end)
        return View(
            self.table[rows],
            codes=self.codes[rows] - first,
            none=self.none[first:end],
            na=self.na[first:end],
            sure=self.sure[rows],
            whole=self.whole[first:end],
        )

    def count(self, rows: Any) -> np.ndarray:
        """Count the chosen rows of each service."""
        return np.bincount(self.codes[rows], minlength=len(self.none))

    def certain(self, holds: Floats, kept: np.ndarray) -> Floats:
        """Return the answers of rows; NaN where they depend on rows that may not count."""
        # An answer stays if all kept rows of the service agree, whichever of them count.
        if self.sure.all():
            return holds
        rows = self.count(kept)
        all_hold = self.count(kept & (holds == 1)) == rows
        none_holds = self.count(kept & (holds == 0)) == rows
        is_complete = self.whole & (rows == self.count(slice(None)))
        is_based = (self.count(kept & self.sure) > 0) | is_complete
        settled = (all_hold | none_holds) & is_based
        return np.where(self.sure | settled[self.codes], holds, np.nan)


@frozen
class Evidence:
    """The views of a fleet by frame, its sorted services, and the moment of the snapshot [UTC]."""

    services: Index
    views: Mapping[str, View]
    at: pd.Timestamp

    def ask(
        self,
        table: str,
        rule: str,
        *,
        applies: str = "",
        fresh: str = "",
        how: How = "all",
    ) -> Answers:
        """Evaluate a rule for every service.

        Where ``applies`` (a rule) is unknown, so is the row; rows for which it is false do not
        count. Rows that are not ``fresh`` (a rule) are unknown. ``how`` combines the rows of a
        service: 1 where all or any of them hold, or their share.
        """
        view = self.views[table]
        holds = self._holds(rule, table)
        kept = np.ones(len(view.table), dtype=bool)
        na = view.na.copy()
        if fresh:
            is_fresh = self._holds(fresh, table) == 1
            holds = np.where(is_fresh, holds, np.nan)
        if applies:
            asked = self._holds(applies, table)
            # whether the row counts is unknown, so its answer is, too
            holds = np.where(asked == 1, holds, np.nan)
            kept = asked != 0
            na |= (view.count(kept) == 0) & (view.count(~kept) > 0)
        certain = view.certain(holds, kept)[kept]
        value = combine(view.codes[kept], certain, n=len(self.services), how=how)
        # of no rows at all, "any" is false and "all" is true; the source did look
        value[view.none] = 0.0 if how == "any" else 1.0
        value[na] = np.nan
        return Answers(value, na)

    def exists(self, table: str, rule: str) -> Floats:
        """Return by service 1 if any row holds, NaN if none holds and some are unknown, else 0."""
        value, na = self.ask(table, rule, how="any")
        return np.where(na, 0.0, value)

    def blocks(self) -> list[Evidence]:
        """Split into evidence of `BLOCK` services each; each row goes with its service."""
        n = len(self.services)
        if n <= BLOCK:
            return [self]
        return [self._part(first, first + BLOCK) for first in range(0, n, BLOCK)]

    def _part(self, first: int, end: int) -> Evidence:
        services = self.services[first:end]
        views = {name: view.part(first, end) for name, view in self.views.items()}
        return Evidence(services, views, self.at)

    def _holds(self, rule: str, table: str) -> Floats:
        """Return 1 where a row holds, 0 where it does not, NaN where it is unknown."""
        return self.evaluate(rule, table).to_numpy(float)

    def evaluate(self, rule: str, table: str) -> Series:
        """Return the answers of a rule, evaluated once, for each row of a table."""
        view = self.views[table]
        if rule not in view.answers:
            view.answers[rule] = rules.evaluate(rule, view.table, at=self.at)
        return view.answers[rule]

    def with_columns(self, columns: DataFrame) -> Evidence:
        """Return evidence with further columns (index service) of services; answers by default."""
        rows = self.views["services"].table
        kinds = rules.columns("services")
        dtypes = {name: rules.DTYPES[kinds.get(name, "boolean")] for name in columns}
        added = columns.reindex(rows["service_id"].astype("str")).set_axis(rows.index)
        view = View.of(self.services, rows.assign(**added.astype(dtypes)))
        return Evidence(self.services, {**self.views, "services": view}, self.at)


def combine(codes: np.ndarray, holds: Floats, *, n: int, how: How) -> Floats:
    """Combine answers of rows (1, 0, NaN) by group in Kleene's logic; NaN where they do not decide."""
    rows = np.bincount(codes, minlength=n)
    unknown = np.bincount(codes[np.isnan(holds)], minlength=n)
    yes = np.bincount(codes[holds == 1], minlength=n)
    value = yes / np.maximum(rows, 1)
    undecided = unknown > 0
    if how == "all":
        # one known no settles it, whatever the unknown rows are
        undecided &= yes + unknown == rows
        # "all": a share below 1 is a no
        value = np.floor(value)
    elif how == "any":
        undecided &= yes == 0
        # "any": a share above 0 is a yes
        value = np.ceil(value)
    value[undecided | (rows == 0)] = np.nan
    return value


def any_sign(*signs: Series) -> Series:
    """Return True if any source saw a good sign (1), False if all that looked did not (0), else NA.

    NA is a source that did not look, and `PERHAPS` a good sign that may no longer hold.
    """
    # Losing a source can only remove evidence, never add it.
    seen = pd.concat([sign.astype("Float64") for sign in signs], axis=1).max(axis=1)
    return seen.mask(seen == PERHAPS) > 0


def answer_checks(evidence: Evidence, inventory: Inventory, policy: Policy) -> DataFrame:
    """Answer every check for every service, by blocks of services, in the order of the policy.

    Columns ``service_id, check, dimension, state`` (pass, partial, fail, unknown, conflict, na),
    ``value`` (0-1, NA if unknown), ``weight, source, observed_at``.

    Answers of people are a second opinion. If they contradict a measurement, the state is
    ``conflict``. Without a measurement they count only for a check that is ``asked``: a lost
    measurement is not replaced by somebody's word.
    """
    work = (policy, opinions(inventory, policy))
    parts = each(_answer, work, evidence.blocks(), what="answers to checks")
    return pd.concat(parts, ignore_index=True)


def _answer(work: tuple[Policy, DataFrame], evidence: Evidence) -> DataFrame:
    """Answer every check for the services of a block."""
    policy, stated = work
    services = evidence.services
    checks = []
    answers = []
    observed = []
    for check in policy["check"]:
        dimension = check["id"].partition(".")[0]
        # a check without weight would only add unknown facts
        if check["weight"] * policy["dimensions"][dimension] == 0:
            continue
        fresh = ""
        if "dated_by" in check:
            fresh = f"days_since({check['dated_by']}) <= {check['ttl_days']}"
        applies = check.get("applies", "")
        how = check.get("combine", "all")
        asked = (check["table"], check["rule"])
        answers.append(evidence.ask(*asked, applies=applies, fresh=fresh, how=how))
        observed.append(_observed(check, evidence))
        checks.append({"asked": False, **check, "dimension": dimension})
    about = DataFrame(checks, columns=["id", "dimension", "weight", "table", "asked"])
    about = about.rename(columns={"id": "check", "table": "source"})
    atoms = about.loc[about.index.repeat(len(services))].reset_index(drop=True)
    atoms.insert(0, "service_id", np.tile(services, len(checks)))
    value = np.concatenate([answer.value for answer in answers])
    atoms["value"] = pd.arrays.FloatingArray(value, np.isnan(value))
    atoms["na"] = np.concatenate([answer.na for answer in answers])
    atoms["observed_at"] = pd.concat(observed, ignore_index=True)
    texts = ["service_id", "check", "dimension", "source"]
    # of an empty fleet too
    atoms = atoms.astype({**dict.fromkeys(texts, "str"), "weight": float})
    return _with_opinions(atoms.join(stated, on=["check", "service_id"]))


def opinions(inventory: Inventory, policy: Policy) -> DataFrame:
    """Return the answers of people to the checks: ``low, high`` [0-1] and ``said_at``, the oldest.

    Index check and service_id. Answers older than ``evidence.answer_ttl_days``, those without a
    date, and those about what was measured are left out.
    """
    table = inventory["answers"].rename(columns={"question": "check"})
    about = pd.MultiIndex.from_frame(table[["check", "service_id"]])
    measured = about[surely(table["source"].eq(MEASURED)).to_numpy()]
    table = table[~about.isin(measured)]
    age = inventory.snapshot_at - table["answered_at"]
    days = age.dt.total_seconds() / SECONDS_A_DAY
    value = table["risk"].astype(object).map(RISKS).astype("Float64")
    counts = days.between(0, policy["evidence"]["answer_ttl_days"]) & value.notna()
    grouped = table.assign(value=value)[counts].groupby(["check", "service_id"])
    return grouped.agg(
        low=("value", "min"), high=("value", "max"), said_at=("answered_at", "min")
    )


def _observed(check: Table, evidence: Evidence) -> Series:
    """Return by service when a check's rows were observed: the oldest date, else the snapshot."""
    if "dated_by" not in check:
        return Series(evidence.at, index=evidence.services)
    rows = evidence.views[check["table"]].table
    return rows.groupby("service_id")[check["dated_by"]].min().reindex(evidence.services)


def _with_opinions(atoms: DataFrame) -> DataFrame:
    """Compare the answers of people with what was measured; na stays na."""
    stated = atoms[["value", "low", "high"]]
    spread = (stated.max(axis=1) - stated.min(axis=1)).fillna(0.0)
    # answers count on questions for people, and where a measurement can be compared
    counts = ~atoms["na"] & (atoms["asked"] | atoms["value"].notna())
    conflict = counts & (spread > DISAGREEMENT)
    # of several answers within tolerance, the lowest stands in
    stands_in = counts & ~conflict & atoms["value"].isna() & atoms["low"].notna()
    value = atoms["value"].mask(stands_in, atoms["low"]).mask(conflict)
    number = value.to_numpy(float)
    conditions = [atoms["na"], conflict, np.isnan(number), number == 1, number == 0]
    words = ["na", "conflict", "unknown", "pass", "fail"]
    state = np.select(conditions, words, "partial")
    source = atoms["source"]
    with_answers = source.mask(stands_in, "answers").mask(conflict, source + "+answers")
    judged = atoms.assign(
        state=Series(state, atoms.index, dtype="str"),
        value=value,
        source=with_answers,
        observed_at=atoms["observed_at"].mask(stands_in, atoms["said_at"]),
    )
    return judged[ATOM_COLUMNS]


def with_rows(
    atoms: pd.DataFrame,
    evidence: Evidence,
    checks: list[Table],
) -> pd.DataFrame:
    """Return atoms with a column ``evidence``: the rows that made a check fail, else empty."""
    words: dict[tuple[str, str], str] = {}
    for found in each(_words, checks, evidence.blocks(), what="rows behind answers"):
        words |= found
    pairs = zip(atoms["check"].tolist(), atoms["service_id"].tolist(), strict=True)
    rows = [words.get(pair, "") for pair in pairs]
    texts = pd.Series(rows, atoms.index, dtype="str")
    return atoms.assign(evidence=texts.where(atoms["state"].isin(AGAINST), ""))


def _words(checks: list[Table], evidence: Evidence) -> dict[tuple[str, str], str]:
    """Return by check and service the rows against it, in words, for a block of services."""
    return {
        (check["id"], service): text
        for check in checks
        for service, text in _against(check, evidence).items()
    }


def _against(check: Table, evidence: Evidence) -> dict[str, str]:
    """Return by service the rows for which a check does not hold, in words."""
    name = check["table"]
    label = NAMED_BY.get(name, "")
    shown = check.get("shows", [])
    columns = [column for column in (label, *shown) if column]
    if not columns:
        return {}
    table = evidence.views[name].table
    is_against = ~evidence.evaluate(check["rule"], name)
    if "applies" in check:
        is_against &= evidence.evaluate(check["applies"], name)
    shown_rows = is_against.to_numpy(bool, na_value=False)
    if not shown_rows.any():
        return {}
    wanted = list(dict.fromkeys(["service_id", *columns]))
    cells = table.loc[shown_rows, wanted].sort_values(columns, kind="stable")
    found: dict[str, list[str]] = defaultdict(list)
    for row in cells.to_dict("records"):
        words = found[row["service_id"]]
        # one more than is shown, to see whether there are more
        if len(words) <= SHOWN_ROWS:
            words.append(_row(row, label, shown))
    return {
        service: "; ".join(dict.fromkeys(words[:SHOWN_ROWS]))
        + (" …" if len(words) > SHOWN_ROWS else "")
        for service, words in found.items()
    }


def _row(row: Table, label: str, shown: list[str]) -> str:
    values = [f"{name} {word(row[name])}" for name in shown if pd.notna(row[name])]
    inside = ", ".join(values)
    if not label or pd.isna(row[label]):
        return inside
    named = word(row[label])
    return f"{named} ({inside})" if inside else named


def word(value: object, column: str = "") -> str:
    """Return a value as a word of a sentence; a share of evidence as percent, as rules say it."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    form = ".1%" if column.startswith("coverage") else ".3g"
    return f"{value:{form}}" if isinstance(value, float) else str(value)
