"""An invented fleet of any size; two quarters of it come with assess.

The tables beside this file describe one cell of the fleet; a larger fleet has more cells. All
random numbers come from `random.random`, whose sequence Python keeps, so the bytes are the same
on every machine.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from assess import frames
from assess.errors import AssessError
from assess.inventory import Inventory, from_frames
from assess.sample import rows
from assess.sample.scene import CELL, Scene, world
from assess.store import write_snapshot


def write_sample(
    directory: str | Path,
    *,
    services: int = CELL,
    seed: int = 2026,
    quarters: tuple[str, ...] = ("2026Q2", "2026Q3"),
) -> list[Path]:
    """Write one snapshot of the invented fleet per quarter, for quarters in a row."""
    try:
        calendar = pd.period_range(quarters[0], periods=len(quarters), freq="Q")
    except (IndexError, ValueError):
        calendar = pd.PeriodIndex([], freq="Q")
    if services < 1 or calendar.empty or list(map(str, calendar)) != list(quarters):
        raise AssessError(
            f"there is no fleet of {services} services in the quarters {', '.join(quarters)}",
            hint="ask for one service or more, and quarters in a row, such as 2026Q2, 2026Q3",
        )
    last = max(len(calendar) - 1, 1)
    written = []
    cells: list[Scene | None] = [None] * -(-services // CELL)
    for step, quarter in enumerate([calendar[0] - 1, *calendar], start=-1):
        scenes = []
        for cell, earlier in enumerate(cells):
            size = min(services - cell * CELL, CELL)
            scenes.append(Scene(quarter, step, last, seed, cell, size, earlier))
        cells = [*scenes]
        if step >= 0:
            target = Path(directory) / str(quarter)
            fleet = _inventory(scenes)
            written.append(write_snapshot(fleet, target, format="csv"))
    return written


def _inventory(scenes: list[Scene]) -> Inventory:
    tables = {}
    for name in frames.names():
        make_rows = getattr(rows, name, None)
        if make_rows is None:  # the fleet has nothing of the kind
            continue
        always = world()["always"].get(name, {})
        made = [always | row for scene in scenes for row in make_rows(scene)]
        table = pd.DataFrame(made, columns=list(frames.columns(name)), dtype=object)
        table = table.fillna("").sort_values(frames.key(name), kind="stable")
        tables[name] = table.replace("", pd.NA)
    fleet = from_frames(tables, snapshot_at=scenes[0].at, quarter=str(scenes[0].quarter))
    return replace(fleet, is_invented=True)
