"""A fleet that does not exist, at any size: two quarters of it come with assess.

`services.csv` is one cell of the fleet, a service per row; `world.toml` holds its hosts, teams,
rates and the events that are told in full. A larger fleet is more cells. Everything drawn comes
from `random.random`, whose sequence Python promises to keep, so the bytes are the same everywhere.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from assess import frames
from assess.errors import AssessError
from assess.inventory import Inventory, from_frames
from assess.sample import events, images, things
from assess.sample.scene import Quarter, Row, Scene, settle
from assess.store import write_snapshot

TABLES = {
    "services": things.services,
    "service_aliases": things.service_aliases,
    "hosts": things.hosts,
    "engines": things.engines,
    "images": images.images,
    "workloads": things.workloads,
    "mounts": things.mounts,
    "dependencies": things.dependencies,
    "incidents": events.incidents,
    "experiments": events.experiments,
    "activities": events.activities,
    "answers": events.answers,
    "waivers": events.waivers,
    "coverage": events.coverage,
}
NOTE = "An invented fleet: no real company, person or product is described here."


def write_sample(
    directory: str | Path,
    *,
    services: int = 40,
    seed: int = 2026,
    quarters: tuple[str, ...] = ("2026Q2", "2026Q3"),
) -> list[Path]:
    """Write the fictional sample fleet.

    Parameters
    ----------
    directory : str or Path
        Where the snapshot directories go, one per quarter.
    services : int, default 40
        Size of the fleet. [count, at least 1]
    seed : int, default 2026
        Seed of everything drawn.
    quarters : tuple of str, default ("2026Q2", "2026Q3")
        Calendar quarters in a row, oldest first; the fleet changes from one to the next.

    Returns
    -------
    list of Path
        The snapshot directories.

    Raises
    ------
    AssessError
        Where a snapshot is there already, the size is below 1, there is no quarter, or the
        quarters do not follow each other.
    """
    if services < 1 or not quarters:
        raise AssessError(
            f"a fleet of {services} services in {len(quarters)} quarters",
            hint="ask for one service and one quarter, or more",
        )
    calendar = [Quarter.parse(label) for label in quarters]
    if any(later != early.after for early, later in pairwise(calendar)):
        raise AssessError(f"{', '.join(quarters)} do not follow each other", hint="leave none out")
    written = []
    scenes: list[Scene] = []
    for step, quarter in enumerate([calendar[0].before, *calendar], start=-1):
        cells = enumerate(_cells(services, step, max(len(calendar) - 1, 1)))
        scenes = [
            Scene(quarter, step, seed, number, *cell, earlier=scenes[number] if scenes else None)
            for number, cell in cells
        ]
        if step >= 0:
            target = Path(directory) / quarter.label
            fleet = _inventory(quarter, scenes)
            written.append(write_snapshot(fleet, target, format="csv", note=NOTE))
    return written


def _cells(services: int, step: int, last: int) -> Iterator[tuple[dict[str, Any], list[Row]]]:
    """World and services of each cell, as they are at a step."""
    world, templates = _world(), _templates()
    pools = {
        name: settle(pool, changed=step > i % last)
        for i, (name, pool) in enumerate(world["pools"].items())
    }
    teams = {name: settle(team, changed=step > 0) for name, team in world["teams"].items()}
    now = [settle(row, changed=step > i % last) for i, row in enumerate(templates)]
    for start in range(0, services, len(now)):
        yield {**world, "pools": pools, "teams": teams}, now[: services - start]


@cache
def _world() -> dict[str, Any]:
    return tomllib.loads((files("assess.sample") / "world.toml").read_text(encoding="utf-8"))


@cache
def _templates() -> list[Row]:
    with (files("assess.sample") / "services.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _inventory(quarter: Quarter, scenes: list[Scene]) -> Inventory:
    tables = {}
    for name, tell in TABLES.items():
        rows = pd.DataFrame([row for scene in scenes for row in tell(scene)], dtype=object)
        rows = rows.reindex(columns=rows.columns.union(frames.key(name), sort=False))
        tables[name] = (
            rows.fillna("").sort_values(frames.key(name), kind="stable").replace("", pd.NA)
        )
    return from_frames(tables, snapshot_at=pd.Timestamp(quarter.snapshot_at), quarter=quarter.label)
