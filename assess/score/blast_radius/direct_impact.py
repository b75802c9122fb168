"""What an element takes down directly, by taking away replicas: at best, as known, at worst."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assess.score.blast_radius.bitset import Floats

RUNNING = "running"
FELLED = ["element_kind", "element", "service_id"]


def needed(replicas: Floats, min_healthy_pct: Floats) -> Floats:
    """Give the replicas that a service needs.

    Parameters
    ----------
    replicas : ndarray
        Replicas that run. [count]
    min_healthy_pct : ndarray
        Share of them that it needs; NaN where unknown. [percent]

    Returns
    -------
    ndarray
        ``max(1, ceil(min_healthy_pct / 100 * replicas))``; 1 where the share is unknown. [count]
    """
    share = np.where(np.isnan(min_healthy_pct), 0.0, min_healthy_pct)
    return np.maximum(1.0, np.ceil(np.round(share * replicas / 100, 9)))


def is_running(replicas: pd.DataFrame) -> pd.Series:
    """Say which replicas run.

    Parameters
    ----------
    replicas : DataFrame
        With ``state``.

    Returns
    -------
    Series of bool
        False where the state is another or unknown.
    """
    return replicas["state"].eq(RUNNING).fillna(value=False).astype(bool)


def fallen(
    stands: pd.DataFrame, min_healthy_pct: pd.Series, elements: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """List which services each element takes down directly.

    Parameters
    ----------
    stands : DataFrame
        The rows of `standing`.
    min_healthy_pct : Series
        Index ``service_id``; see `needed`. [percent]
    elements : DataFrame
        All that replicas stand on: ``element_kind, element``.

    Returns
    -------
    dict of str to DataFrame
        By level (lo, point, hi), ``element_kind, element, service_id``, for services of which a
        replica runs: live replicas fewer than needed.

    Notes
    -----
    A replica of unknown state is not live at the point. At worst exactly those are live that stand
    on the element that fails: they raise the need, and are lost. At best exactly the others are. A
    replica that may stand on any element of a kind stands on the one that fails only at worst.
    """
    runs = is_running(stands)
    live = stands.assign(running=runs, perhaps=stands["state"].isna())[
        runs | stands["state"].isna()
    ]
    counted = ["running", "perhaps"]
    every = live.drop_duplicates("workload_id").groupby("service_id")[counted].sum()
    on = live.groupby(FELLED, dropna=False)[counted].sum().reset_index()
    known, astray = (
        on[on["element"].notna()],
        on[on["element"].isna()].drop(columns="element"),
    )
    wide = pd.concat([known, astray.merge(elements, on="element_kind")])
    wide = wide.groupby(FELLED)[counted].sum().reset_index()

    def down(table: pd.DataFrame, *, best: bool, worst: bool) -> pd.DataFrame:
        n, all_perhaps = (
            table["service_id"].map(every[name]).to_numpy() for name in counted
        )
        off = (all_perhaps - table["perhaps"].to_numpy()) * best
        share = (
            table["service_id"].map(min_healthy_pct).to_numpy("float64", na_value=np.nan)
        )
        need = needed(n + off + table["perhaps"].to_numpy() * worst, share)
        return table.loc[(n > 0) & (n + off - table["running"].to_numpy() < need), FELLED]

    return {
        "lo": down(known, best=True, worst=False),
        "point": down(known, best=False, worst=False),
        "hi": down(wide, best=False, worst=True),
    }
