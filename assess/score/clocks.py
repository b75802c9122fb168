"""When the support of what a service stands on ends."""

from __future__ import annotations

import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.reference import Support

KEY = ["service_id", "component", "name", "version"]
COLUMNS = [*KEY, "eol_date", "days_to_eol", "state", "basis"]
HOST_COLUMNS = ["host_id", *COLUMNS[1:]]
Row = tuple[object, ...]
ORCHESTRATORS = {"kubelet_version": "kubernetes", "ecs_agent_version": "ecs-agent"}


def clocks(
    inventory: Inventory, pairs: pd.DataFrame, engines: pd.DataFrame, bases: pd.DataFrame
) -> pd.DataFrame:
    """List the clocks of every service.

    Parameters
    ----------
    inventory : Inventory
        Frame ``hosts``; the moment of the snapshot.
    pairs : DataFrame
        ``service_id, host_id, on_engine``.
    engines : DataFrame
        Engines by host, of `upgrade_pace.host_engines`.
    bases : DataFrame
        ``service_id, base`` images.

    Returns
    -------
    DataFrame
        ``service_id, component`` (engine, containerd, os, kernel, orchestrator or base image),
        ``name, version, eol_date`` [UTC], ``days_to_eol`` [days; NA where no end is announced or
        known], ``state`` (supported, ended or unknown), ``basis``; once per service.
    """
    at = inventory.snapshot_at
    hosts = _typed([*_host_rows(inventory["hosts"], at)], HOST_COLUMNS)
    on_engine = _typed([*_engine_rows(engines, at)], HOST_COLUMNS)
    own = _typed([*_base_rows(bases, at)], COLUMNS)
    held = pairs[["service_id", "host_id"]]
    parts = [
        held.merge(hosts, on="host_id"),
        held[pairs["on_engine"]].merge(on_engine, on="host_id"),
        own,
    ]
    found = pd.concat([part[COLUMNS] for part in parts], ignore_index=True).drop_duplicates()
    return found.sort_values(KEY, kind="stable", ignore_index=True)


def _typed(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns)
    table["eol_date"] = pd.to_datetime(table["eol_date"], utc=True).dt.as_unit("us")
    table = table.astype({c: "str" for c in columns if c not in ("eol_date", "days_to_eol")})
    return table.astype({"days_to_eol": "Int64"})


def _row(owner: object, component: str, name: object, version: object, end: Support) -> Row:
    return (owner, component, name, version, end.eol_date, end.days_to_eol, end.state, end.basis)


def _host_rows(hosts: pd.DataFrame, at: pd.Timestamp) -> list[Row]:
    rows = []
    columns = ["host_id", "os_name", "os_version", "kernel"]
    for host, name, version, kernel in hosts[columns].itertuples(index=False):
        rows.append(_row(host, "os", name, version, reference.os_support(name, version, at)))
        if pd.notna(kernel):
            end = reference.kernel_support(kernel, at, os_name=name, os_version=version)
            rows.append(_row(host, "kernel", "linux", kernel, end))
    return rows


def _engine_rows(engines: pd.DataFrame, at: pd.Timestamp) -> list[Row]:
    rows = []
    for host, engine in engines[engines["product"] != "none"].iterrows():
        version = engine["version"]
        if engine["product"] == "engine":
            name, end = "docker", reference.engine_support(version, at)
        else:
            name, end = engine["product"], reference.runtime_support(engine["product"], version, at)
        rows.append(_row(host, "engine", name, version, end))
        beneath = engine["containerd_version"]
        if pd.notna(beneath):
            end = reference.runtime_support("containerd", beneath, at)
            rows.append(_row(host, "containerd", "containerd", beneath, end))
        for column, product in ORCHESTRATORS.items():
            if pd.notna(engine[column]):
                end = reference.orchestrator_support(product, engine[column], at)
                rows.append(_row(host, "orchestrator", product, engine[column], end))
    return rows


def _base_rows(bases: pd.DataFrame, at: pd.Timestamp) -> list[Row]:
    rows = []
    for service, base in zip(bases["service_id"], bases["base"], strict=True):
        name, version = base_system(base)
        end = reference.os_support(name, version, at)
        rows.append(_row(service, "base image", name or base, version, end))
    return rows


def base_system(base: str | None) -> tuple[str | None, str | None]:
    """Read the operating system out of the name of a base image.

    Parameters
    ----------
    base : str or None
        Such as ``docker.io/library/debian:12-slim``.

    Returns
    -------
    name, version : str or None
        Such as ``debian``, ``12-slim``; of an image that is not an operating system, what its tag
        says of one (``python:3.12-alpine3.20``, ``node:20-bookworm``), else None.
    """
    if not isinstance(base, str):
        return None, None
    path, _, tag = base.partition("@")[0].rpartition("/")[2].partition(":")
    if reference.distro_of(path):
        return path, tag.removesuffix("-slim") or None
    for part in tag.lower().split("-"):
        if part.startswith("alpine"):
            return "alpine", part.removeprefix("alpine") or None
        for name in ("debian", "ubuntu"):
            if reference.os_support(name, part, pd.Timestamp(0, tz="UTC")).line and part.isalpha():
                return name, part
    return None, None
