"""What is known of each service, and how a rule is asked of it.

Rows of several workloads add up in Kleene's logic: what the known rows do not settle is unknown. A
source that looked and found nothing is told apart from one that could not look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd

from assess.score import rules

How = Literal["all", "any", "share"]
Ids = Collection[str]


@dataclass(frozen=True, eq=False)
class View:
    """Rows of one frame by service.

    Attributes
    ----------
    table : DataFrame
        ``service_id`` and the columns of `rules.columns`; a row of NA stands for what could not be
        looked at.
    codes : ndarray of int
        Position of the service of each row.
    none : ndarray of bool
        By service: it was looked at, and has no such row.
    na : ndarray of bool
        By service: such rows say nothing about it.
    sure : ndarray of bool
        By row: it counts. Another stands on replicas that have ended, or of which nobody knows
        whether they have; it counts only perhaps.
    whole : ndarray of bool
        By service: every replica has a row here.
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
        """Lay rows out by service.

        Parameters
        ----------
        services : Index
            Every service.
        table : DataFrame
            The rows; without a column ``sure`` all of them count.
        none, na : collection of str, default ()
            Services, as in the attributes of that name.
        partly : collection of str, default ()
            Services of which some replica has no row here.

        Returns
        -------
        View
            The rows and where they belong.
        """
        codes = services.get_indexer(table["service_id"].astype("str"))
        none_there, not_asked, missed = (services.isin(list(ids)) for ids in (none, na, partly))
        every = np.ones(len(table), dtype=bool)
        sure = table["sure"].to_numpy(dtype=bool) if "sure" in table else every
        return cls(table, codes, none_there, not_asked, sure, ~missed)

    def certain(self, holds: pd.Series, rows: np.ndarray) -> pd.Series:
        """Leave open what hangs on rows that count only perhaps.

        Parameters
        ----------
        holds : Series
            Nullable booleans, one per chosen row.
        rows : ndarray of bool
            The rows that were chosen.

        Returns
        -------
        Series
            NA in rows that are not sure, but where all rows of the service say the same whichever
            of them count.
        """
        if self.sure.all():
            return holds
        n, codes, sure = len(self.none), self.codes[rows], self.sure[rows]
        true = holds.fillna(value=False).to_numpy(dtype=bool)
        false = ~holds.fillna(value=True).to_numpy(dtype=bool)
        yes, no, some, firm = (
            np.bincount(codes[mask], minlength=n) for mask in (true, false, slice(None), sure)
        )
        complete = self.whole & (some == np.bincount(self.codes, minlength=n))
        same = ((yes == some) | (no == some)) & ((firm > 0) | complete)
        return holds.mask(~sure & ~same[codes])


@dataclass(frozen=True, eq=False)
class Evidence:
    """The views of a fleet, and the moment that they show.

    Attributes
    ----------
    services : Index
        Every service, sorted.
    views : mapping of str to View
        By frame.
    at : Timestamp
        Moment of the snapshot. [UTC]
    """

    services: pd.Index
    views: Mapping[str, View]
    at: pd.Timestamp

    def ask(
        self, table: str, rule: str, *, applies: str = "", fresh: str = "", how: How = "all"
    ) -> pd.DataFrame:
        """Ask a rule of every service.

        Parameters
        ----------
        table : str
            Frame whose rows are asked.
        rule : str
            The rule.
        applies : str, default ""
            Rule for the rows that count; a row of which that is unknown is unknown.
        fresh : str, default ""
            Rule for the rows that are not out of date; what others say is unknown.
        how : {"all", "any", "share"}, default "all"
            How the rows of a service add up: 1 where all (any) of them hold, or the share of them.

        Returns
        -------
        DataFrame
            Index service; ``value`` (Float64, 0 to 1, NA where unknown) and ``na`` (bool).
        """
        view = self.views[table]
        holds, keep = rules.evaluate(rule, view.table, at=self.at), np.ones(len(view.table), bool)
        if fresh:
            is_fresh = rules.evaluate(fresh, view.table, at=self.at)
            holds = holds.where(is_fresh.fillna(value=False))
        if applies:
            counts = rules.evaluate(applies, view.table, at=self.at)
            holds = holds.where(counts.fillna(value=False))
            keep = counts.fillna(value=True).to_numpy(dtype=bool)
        n, codes = len(self.services), view.codes[keep]
        value = combine(codes, view.certain(holds[keep], keep), n=n, how=how)
        value[view.none] = 0.0 if how == "any" else 1.0
        left_out = (np.bincount(view.codes, minlength=n) > 0) & (
            np.bincount(codes, minlength=n) == 0
        )
        na = view.na | left_out
        value[na] = pd.NA
        return pd.DataFrame({"value": value, "na": na}, index=self.services)

    def exists(self, table: str, rule: str) -> pd.Series:
        """Ask whether any row of a service holds.

        Parameters
        ----------
        table : str
            Frame whose rows are asked.
        rule : str
            The rule.

        Returns
        -------
        Series
            Index service; nullable boolean, NA where no row holds and some are unknown.
        """
        answer = self.ask(table, rule, how="any")
        return (answer["value"] > 0).astype("boolean").mask(answer["na"], other=False)

    def with_columns(self, table: str, columns: pd.DataFrame) -> Evidence:
        """Put further columns into a view that has one row per service.

        Parameters
        ----------
        table : str
            The view.
        columns : DataFrame
            Index service.

        Returns
        -------
        Evidence
            The rest is shared with this one.
        """
        held = self.views[table].table
        added = columns.reindex(held["service_id"].astype("str")).set_axis(held.index)
        kinds = rules.columns(table)
        typed = {str(name): added[name].astype(rules.DTYPES[kinds[name]]) for name in added}
        view = View.of(self.services, held.assign(**typed))
        return Evidence(self.services, {**self.views, table: view}, self.at)


def combine(codes: np.ndarray, holds: pd.Series, *, n: int, how: How) -> pd.arrays.FloatingArray:
    """Add up the answers of rows by group, in Kleene's logic.

    Parameters
    ----------
    codes : ndarray of int
        Group of each row, 0 to n - 1.
    holds : Series
        Nullable booleans by row.
    n : int
        Groups. [count]
    how : {"all", "any", "share"}
        As in `Evidence.ask`.

    Returns
    -------
    FloatingArray
        0 to 1 by group; NA where the known rows do not settle it, and where there is no row.
    """
    known = holds.notna().to_numpy(dtype=bool)
    true = holds.fillna(value=False).to_numpy(dtype=bool)
    rows, unknown, yes = (
        np.bincount(codes[mask], minlength=n) for mask in (slice(None), ~known, true)
    )
    value = yes / np.maximum(rows, 1)
    undecided = unknown > 0
    if how == "all":
        undecided &= yes + unknown == rows
        value = np.floor(value)
    elif how == "any":
        undecided &= yes == 0
        value = np.ceil(value)
    return pd.arrays.FloatingArray(value, undecided | (rows == 0))


def found(*signs: pd.Series) -> pd.Series:
    """Say whether any source found something that is good to have.

    Parameters
    ----------
    *signs : Series
        Nullable booleans, one per source.

    Returns
    -------
    Series
        True where any source found it, False where those that looked did not, NA where none looked.
        Losing a source can only take something away.
    """
    seen = pd.concat([sign.astype("boolean") for sign in signs], axis=1)
    return seen.any(axis=1, skipna=True).astype("boolean").mask(seen.isna().all(axis=1))
