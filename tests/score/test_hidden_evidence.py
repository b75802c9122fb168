"""Hiding cells of the sample, or whole frames of a small fleet, never improves a service.

A hundred cells are hidden at once, since services hardly share them.
"""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

import assess
from assess.frames import columns
from assess.sample import write_sample
from assess.score.assessment import Assessment

# a few draws do: nothing that is compared here is drawn
POLICY = assess.load_policy().replace(simulation={"draws": 50})
FRAMES = ("services", "workloads", "hosts", "engines", "images", "mounts")
WHOLE = (
    *("hosts", "engines", "images", "mounts", "incidents"),
    *("dependencies", "activities", "coverage", "answers"),
)
# of a frame that is gone, what may move inwards
FREE = {
    "dependencies": "target delta_lo",  # calls that nobody saw count in upper ends alone
    "incidents": "expected_minutes_per_year_hi",  # a call that found none leaves no frame
}
CELLS = 100
NEITHER = {
    *("tier", "criticality", "min_healthy_pct"),  # have a value where they are unknown
    "launched_at",  # a host of unknown age was watched as long as the others
    *("provider_version", "kubelet_version"),  # else a provider's node looks like our own
    *("source", "source_ref"),  # of the row, not of the fleet
}
# paces are shrunk to those of the fleet, so each host moves those of the others a little
POOLED = 0.02
BAD = {"pass": 0, "na": 0, "waived": 0, "fail": 1, "unknown": 1, "conflict": 1}
VERDICTS = {"fits": 0, "after fixes": 1, "unknown": 2, "no": 2}
MOVES = {"yes": 0, "after fixes": 1, "unknown": 2, "no": 2}


def hidden(inventory, seed):
    """Return the inventory without some cells, as many of each column as of any other."""
    draw = random.Random(seed)
    tables = {name: inventory[name].copy() for name in FRAMES}
    named = [
        (frame, name)
        for frame, table in tables.items()
        for name, column in columns(frame).items()
        if not (column.is_key or column.is_required or name in NEITHER)
        and table[name].notna().any()
    ]
    for frame, name in draw.choices(named, k=CELLS):
        table = tables[frame]
        known = table.index[table[name].notna()]
        if len(known):
            text = str(table[name].dtype) == "str"
            table.loc[draw.choice(list(known)), name] = None if text else pd.NA
    return inventory.replace(**tables)


def at_worst(inventory):
    """Return numbers that hiding may only raise, by name; the unknown is the worst of all.

    Labels are left out: one rises where what is hidden of a rival lets that rival fall.
    """
    whole = Assessment(inventory, POLICY)
    readiness = whole.readiness
    gates = readiness.details["gates"].set_index(["service_id", "gate"])["state"]
    found = {
        "readiness": -readiness.frame["readiness_lo"],
        "coverage": -readiness.frame["coverage"],
        "could_move": readiness.frame["could_move"].astype("object").map(MOVES),
        "gate": gates.astype("object").map(BAD),
        "verdict": whole.targets.frame["verdict"].astype("object").map(VERDICTS),
    }
    for name in ("readiness_lo", "cost_per_month_hi", "delta_hi", "effort_hours"):
        sign = -1 if name == "readiness_lo" else 1
        found[f"target {name}"] = sign * whole.targets.frame[name]
    found["target delta_lo"] = -whole.targets.frame["delta_lo"]
    for name in ("events_per_year_hi", "failures_per_year_hi", "hours_per_year_hi"):
        found[name] = whole.upgrade_churn.frame[name]
    blast = whole.blast_radius.services
    for name in ("exposure_hi", "expected_minutes_per_year_hi"):
        found[name] = blast[name]
    return {name: cells.astype("Float64").fillna(np.inf) for name, cells in found.items()}


def improved(known, found):
    """List what is better than it was: name, key, before and after."""
    better = []
    for name, cells in known.items():
        slack = POOLED * cells.abs() if "per_year" in name else 1e-9
        now = found[name].reindex(cells.index)
        is_better = now.lt(cells - slack) & now.notna()
        better += [(name, key, cells[key], now[key]) for key in cells.index[is_better]]
    return better


@pytest.fixture(scope="module")
def sample():
    inventory = assess.load("sample")
    return inventory, at_worst(inventory)


@pytest.mark.parametrize("seed", [1, 6, 18])
def test_hiding_cells_never_improves_a_service(sample, seed):
    inventory, known = sample
    assert improved(known, at_worst(hidden(inventory, seed))) == []


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Return a small fleet: of what is gone as a whole, every service has none."""
    inventory = assess.load(write_sample(tmp_path_factory.mktemp("few"), services=20)[-1])
    return inventory, at_worst(inventory)


@pytest.mark.parametrize("frame", WHOLE)
def test_hiding_a_frame_never_improves_a_service(few, frame):
    inventory, known = few
    assert len(inventory[frame])
    kept = {name: inventory[name] for name in inventory.present - {frame}}
    rest = assess.from_frames(kept, snapshot_at=inventory.snapshot_at)
    compared = {name: known[name] for name in known if name != FREE.get(frame)}
    assert improved(compared, at_worst(rest)) == []


@pytest.mark.parametrize(
    ("frame", "column"),
    [
        ("workloads", "cluster"),
        ("hosts", "az"),
        ("engines", "version"),
        ("incidents", "service_id"),
    ],
)
def test_hiding_a_column_never_improves_a_service(few, frame, column):
    inventory, known = few
    table = inventory[frame].assign(**{column: None})
    assert inventory[frame][column].notna().any()
    assert improved(known, at_worst(inventory.replace(**{frame: table}))) == []


@pytest.mark.parametrize("frame", ["workloads", "mounts"])
def test_a_row_without_facts_never_improves_a_service(few, frame):
    inventory, known = few
    owner = {"workloads": "services", "mounts": "workloads"}[frame]
    key = f"{owner.removesuffix('s')}_id"
    more = inventory[owner][[key]].assign(destination="/nobody/knows")
    more["workload_id"] = more.get("workload_id", "new-" + more[key])
    rows = more[[name for name in more if name in inventory[frame]]]
    table = pd.concat([inventory[frame], rows], ignore_index=True)
    assert improved(known, at_worst(inventory.replace(**{frame: table}))) == []
