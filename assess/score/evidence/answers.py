"""Evidence by service, and how a rule is evaluated on it.

Rows of several workloads are combined in Kleene's logic: what the known rows do not settle is
unknown. A source that looked and found nothing differs from one that could not look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.policy import rules

How = Literal["all", "any", "share"]
Ids = Collection[str]
Floats = NDArray[np.float64]


class Answers(NamedTuple):
    """The combined answers of the rows of each service: ``value`` 0-1 (NaN if unknown or ``na``).

    ``na`` marks services to which the question does not apply.
    """

    value: Floats
    na: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class View:
    """Rows of one frame by service.

    ``table`` has ``service_id`` and the columns of `rules.columns`; a row of NA stands for what could
    not be looked at. ``codes`` is the position of the service of each row. By service, ``none``: was
    looked at and has no such row; ``na``: such rows do not apply; ``whole``: every replica has a row.
    By row, ``sure``: it counts; the others rest on replicas that have ended or may have.
    """

    table: pd.DataFrame
    codes: np.ndarray
    none: np.ndarray
    na: np.ndarray
    sure: np.ndarray
    whole: np.ndarray

    @classmethod
    def of(
        cls,
        services: pd.Index,
        table: pd.DataFrame,
        *,
        none: Ids = (),
        na: Ids = (),
        partly: Ids = (),
    ) -> Self:
        """Return rows by service; ``partly`` names services of which some replica has no row.

        Without a column ``sure`` all rows count.
        """
        codes = services.get_indexer(table["service_id"].astype("str"))
        none_there = services.isin(list(none))
        not_asked = services.isin(list(na))
        missed = services.isin(list(partly))
        every = np.ones(len(table), dtype=bool)
        sure = table["sure"].to_numpy(dtype=bool) if "sure" in table else every
        return cls(table, codes, none_there, not_asked, sure, ~missed)

    def certain(self, holds: Floats, rows: np.ndarray) -> Floats:
        """Mark answers unknown (NaN) where they depend on rows that are not sure.

        They stay where all rows of the service agree, whichever of them count.
        """
        if self.sure.all():
            return holds
        n = len(self.none)
        codes = self.codes[rows]
        sure = self.sure[rows]
        yes = np.bincount(codes[holds == 1], minlength=n)
        no = np.bincount(codes[holds == 0], minlength=n)
        some = np.bincount(codes, minlength=n)
        firm = np.bincount(codes[sure], minlength=n)
        complete = self.whole & (some == np.bincount(self.codes, minlength=n))
        same = ((yes == some) | (no == some)) & ((firm > 0) | complete)
        return np.where(sure | same[codes], holds, np.nan)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The views of a fleet by frame, its sorted services, and the moment of the snapshot [UTC]."""

    services: pd.Index
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

        Where ``applies`` (a rule) is unknown, so is the row; rows for which it is false do not count.
        Rows that are not ``fresh`` (a rule) are unknown. ``how`` combines the rows of a service: 1 where
        all or any of them hold, or their share.
        """
        view = self.views[table]
        holds = self._holds(rule, table)
        keep = np.ones(len(view.table), dtype=bool)
        if fresh:
            holds = np.where(self._holds(fresh, table) == 1, holds, np.nan)
        if applies:
            counts = self._holds(applies, table)
            holds = np.where(counts == 1, holds, np.nan)
            keep = counts != 0
        n = len(self.services)
        codes = view.codes[keep]
        value = combine(codes, view.certain(holds[keep], keep), n=n, how=how)
        value[view.none] = 0.0 if how == "any" else 1.0
        na = view.na.copy()
        if applies:
            asked = np.bincount(view.codes, minlength=n) > 0
            na |= asked & (np.bincount(codes, minlength=n) == 0)
        value[na] = np.nan
        return Answers(value, na)

    def exists(self, table: str, rule: str) -> list[bool | None]:
        """Return by service whether any row holds; None where none holds and some are unknown."""
        value, na = self.ask(table, rule, how="any")
        shares = np.where(na, 0.0, value).tolist()
        return [None if np.isnan(share) else share > 0 for share in shares]

    def _holds(self, rule: str, table: str) -> Floats:
        """Return 1 where a row holds, 0 where it does not, NaN where it is unknown."""
        holds = rules.evaluate(rule, self.views[table].table, at=self.at)
        return holds.to_numpy(dtype=float, na_value=np.nan)

    def with_columns(self, table: str, columns: pd.DataFrame) -> Evidence:
        """Return evidence with further columns (index service) in a view of one row per service."""
        rows = self.views[table].table
        added = columns.reindex(rows["service_id"].astype("str")).set_axis(rows.index)
        kinds = rules.columns(table)
        typed = {
            str(name): added[name].astype(rules.DTYPES[kinds[name]]) for name in added
        }
        view = View.of(self.services, rows.assign(**typed))
        return Evidence(self.services, {**self.views, table: view}, self.at)


def combine(codes: np.ndarray, holds: Floats, *, n: int, how: How) -> Floats:
    """Combine the answers of rows (1, 0, NaN) by group in Kleene's logic, 0 to 1.

    NaN where the known rows do not settle it, and where there is no row.
    """
    rows = np.bincount(codes, minlength=n)
    unknown = np.bincount(codes[np.isnan(holds)], minlength=n)
    yes = np.bincount(codes[holds == 1], minlength=n)
    value = yes / np.maximum(rows, 1)
    undecided = unknown > 0
    if how == "all":
        undecided &= yes + unknown == rows
        value = np.floor(value)
    elif how == "any":
        undecided &= yes == 0
        value = np.ceil(value)
    value[undecided | (rows == 0)] = np.nan
    return value


def found(*signs: pd.Series) -> pd.Series:
    """Return True where any source found a good sign, False where those that looked did not, else NA.

    Losing a source can only remove evidence, never add it.
    """
    seen = pd.concat([sign.astype("boolean") for sign in signs], axis=1)
    return seen.any(axis=1, skipna=True).astype("boolean").mask(seen.isna().all(axis=1))
