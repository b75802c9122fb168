"""What is known of each service, and how a rule is asked of it.

Rows of several workloads add up in Kleene's logic: what the known rows do not settle is unknown. A
source that looked and found nothing is told apart from one that could not look.
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
    """What the rows of each service add up to.

    Attributes
    ----------
    value : ndarray
        0 to 1; NaN where unknown, and where it is not asked. [share]
    na : ndarray of bool
        Where it is not asked.
    """

    value: Floats
    na: NDArray[np.bool_]


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
        none_there, not_asked, missed = (
            services.isin(list(ids)) for ids in (none, na, partly)
        )
        every = np.ones(len(table), dtype=bool)
        sure = table["sure"].to_numpy(dtype=bool) if "sure" in table else every
        return cls(table, codes, none_there, not_asked, sure, ~missed)

    def certain(self, holds: Floats, rows: np.ndarray) -> Floats:
        """Leave open what hangs on rows that count only perhaps.

        Parameters
        ----------
        holds : ndarray
            1, 0, or NaN where unknown, one per chosen row.
        rows : ndarray of bool
            The rows that were chosen.

        Returns
        -------
        ndarray
            NaN in rows that are not sure, but where all rows of the service say the same whichever
            of them count.
        """
        if self.sure.all():
            return holds
        n, codes, sure = len(self.none), self.codes[rows], self.sure[rows]
        yes, no, some, firm = (
            np.bincount(codes[mask], minlength=n)
            for mask in (holds == 1, holds == 0, slice(None), sure)
        )
        complete = self.whole & (some == np.bincount(self.codes, minlength=n))
        same = ((yes == some) | (no == some)) & ((firm > 0) | complete)
        return np.where(sure | same[codes], holds, np.nan)


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
        self,
        table: str,
        rule: str,
        *,
        applies: str = "",
        fresh: str = "",
        how: How = "all",
    ) -> Answers:
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
        Answers
            One per service.
        """
        view = self.views[table]
        holds, keep = self._holds(rule, table), np.ones(len(view.table), dtype=bool)
        if fresh:
            holds = np.where(self._holds(fresh, table) == 1, holds, np.nan)
        if applies:
            counts = self._holds(applies, table)
            holds, keep = np.where(counts == 1, holds, np.nan), counts != 0
        n, codes = len(self.services), view.codes[keep]
        value = combine(codes, view.certain(holds[keep], keep), n=n, how=how)
        value[view.none] = 0.0 if how == "any" else 1.0
        na = view.na.copy()
        if applies:
            asked = np.bincount(view.codes, minlength=n) > 0
            na |= asked & (np.bincount(codes, minlength=n) == 0)
        value[na] = np.nan
        return Answers(value, na)

    def exists(self, table: str, rule: str) -> list[bool | None]:
        """Ask whether any row of a service holds.

        Parameters
        ----------
        table : str
            Frame whose rows are asked.
        rule : str
            The rule.

        Returns
        -------
        list of bool or None
            By service; None where no row holds and some are unknown.
        """
        value, na = self.ask(table, rule, how="any")
        told = np.where(na, 0.0, value).tolist()
        return [None if np.isnan(share) else share > 0 for share in told]

    def _holds(self, rule: str, table: str) -> Floats:
        """1 where a row of a view holds, 0 where it does not, NaN where it does not tell."""
        told = rules.evaluate(rule, self.views[table].table, at=self.at)
        return told.to_numpy(dtype=float, na_value=np.nan)

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
        typed = {
            str(name): added[name].astype(rules.DTYPES[kinds[name]]) for name in added
        }
        view = View.of(self.services, held.assign(**typed))
        return Evidence(self.services, {**self.views, table: view}, self.at)


def combine(codes: np.ndarray, holds: Floats, *, n: int, how: How) -> Floats:
    """Add up the answers of rows by group, in Kleene's logic.

    Parameters
    ----------
    codes : ndarray of int
        Group of each row, 0 to n - 1.
    holds : ndarray
        1, 0, or NaN where unknown, by row.
    n : int
        Groups. [count]
    how : {"all", "any", "share"}
        As in `Evidence.ask`.

    Returns
    -------
    ndarray
        0 to 1 by group; NaN where the known rows do not settle it, and where there is no row.
    """
    rows, unknown, yes = (
        np.bincount(codes[mask], minlength=n)
        for mask in (slice(None), np.isnan(holds), holds == 1)
    )
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
