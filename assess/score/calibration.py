"""What incidents and experiments took down, against what the blast radius said they would."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from assess.inventory import Inventory
from assess.score.healing import counted_incidents

HOST_CAUSES = ("host", "kernel", "storage", "disk-full", "engine")
COLUMNS = ["event", "event_id", "element_kind", "element", "observed", "predicted", "predicted_lo",
           "predicted_hi", "services_n"]  # fmt: skip


def events(inventory: Inventory) -> pd.DataFrame:
    """List failures of which it is known what they took down.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, experiments``.

    Returns
    -------
    DataFrame
        Columns ``event, event_id, element_kind, element, affected_services, observed_services``. An
        incident by a cause of its host is a failure of that host where the host is named, else one
        of its service, which is affected itself.
    """
    incidents = counted_incidents(inventory).dropna(subset=["affected_services"])
    on_host = incidents["cause"].isin(HOST_CAUSES) & incidents["host_id"].notna()
    listed = incidents["affected_services"] + ";" + incidents["service_id"]
    first = pd.DataFrame(
        {
            "event": "incident",
            "event_id": incidents["incident_id"],
            "element_kind": on_host.map({True: "host", False: "service"}).astype("str"),
            "element": incidents["host_id"].where(on_host, incidents["service_id"]),
            "affected_services": listed,
            "observed_services": pd.NA,
        }
    )
    experiments = inventory["experiments"].dropna(subset=["affected_services"])
    second = experiments.rename(columns={"experiment_id": "event_id"}).assign(event="experiment")
    table = pd.concat([first, second[first.columns]], ignore_index=True).astype("object")
    return table.sort_values(["event", "event_id"], ignore_index=True)


def calibrate(inventory: Inventory, affected: pd.DataFrame, weight: pd.Series) -> pd.DataFrame:
    """Compare what failures took down with what was predicted for the element that failed.

    Parameters
    ----------
    inventory : Inventory
        Frames ``incidents, experiments``.
    affected : DataFrame
        ``element_kind, element, service_id, p_down, p_lo, p_hi``.
    weight : Series
        Index ``service_id``: criticality.

    Returns
    -------
    DataFrame
        One row per event whose element is in the fleet: ``event, event_id, element_kind, element``,
        ``observed``, ``predicted``, ``predicted_lo``, ``predicted_hi`` [share of the criticality of
        the services that had data], ``services_n`` [count of those].
    """
    failed = events(inventory)
    said = _predictions(affected[affected["element"].isin(failed["element"])], weight.index)
    values, found = weight.to_numpy(), []
    for event in failed.itertuples():
        predicted = said.get((event.element_kind, event.element))
        seen = np.ones(len(values), dtype=bool)
        if not pd.isna(event.observed_services):
            seen = weight.index.isin(_ids(event.observed_services))
        total = values[seen].sum()
        if predicted is None or not total:
            continue
        hit = values[seen & weight.index.isin(_ids(event.affected_services))].sum()
        shares = (values[seen] * predicted[:, seen]).sum(axis=1) / total
        found.append((event.event, event.event_id, event.element_kind, event.element, hit / total,
                      *shares, int(seen.sum())))  # fmt: skip
    return pd.DataFrame(found, columns=COLUMNS)


def _predictions(
    affected: pd.DataFrame, services: pd.Index
) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """Chances of every service to be down (point, lo, hi), by the element that fails."""
    codes = services.get_indexer(pd.Index(affected["service_id"]))
    chances = affected[["p_down", "p_lo", "p_hi"]].to_numpy("float64")
    found = {}
    keys = [affected["element_kind"].astype("str"), affected["element"].astype("str")]
    for (kind, element), rows in affected.groupby(keys).indices.items():
        table = np.zeros((3, len(services)))
        table[:, codes[rows]] = chances[rows].T
        found[str(kind), str(element)] = table
    return found


def _ids(joined: str) -> list[str]:
    return [name.strip() for name in str(joined).split(";") if name.strip()]
