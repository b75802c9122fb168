"""Of each source that watches calls: what was known stays inside once some edges are hidden.

One small system is read as the source has it. Then edges are hidden, and with them that the
source would have seen every call.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_one_system as written

import assess
from assess.inventory import Inventory, from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius

POLICY = load_policy()
NEEDS = {
    "web": ["api", "search-index"],
    "api": ["postgres-main", "event-bus"],
    "worker": ["event-bus", "postgres-main"],
    "batch": ["api"],
}
NAMES = ["web", "api", "worker", "batch", "postgres-main", "event-bus", "search-index"]
CALLS = [(src, dst) for src, needs in NEEDS.items() for dst in needs]
MARCH = 1_772_323_200
HOURS = range(0, 169, 3)
SHARES = (0.4, 1.0)  # of the edges that are hidden
SEED = 7


def own(place: Path) -> None:
    """Write what another source knows: every service runs on a host of its own."""
    folder = place / "own"
    folder.mkdir()
    services = pd.DataFrame({"service_id": NAMES})
    hosts = pd.DataFrame({"host_id": [f"h-{name}" for name in NAMES]})
    hosts["addresses"] = [address(name) for name in NAMES]
    workloads = pd.DataFrame({"workload_id": [f"h-{name}/x" for name in NAMES]})
    workloads["service_id"] = NAMES
    workloads["host_id"] = hosts["host_id"]
    workloads["name"] = NAMES
    workloads["source_kind"] = "unit"
    workloads["state"] = "running"
    tables = {"services": services, "hosts": hosts, "workloads": workloads}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def address(name: str) -> str:
    return f"10.0.0.{NAMES.index(name) + 1}"


def jaeger(place: Path) -> dict:
    links = [{"parent": s, "child": d, "callCount": 9} for s, d in CALLS]
    (place / "graph.json").write_text(json.dumps({"data": links}))
    return {"type": "traces", "path": "graph.json", "window_hours": 200}


def flow_log(place: Path) -> dict:
    """Write a week of flows, as the interface of each service counted them."""
    lines = []
    for hour in HOURS:
        at = MARCH + hour * 3600
        for eni, name in enumerate(NAMES):
            ends = [(src, dst) for src, dst in CALLS if name in (src, dst)]
            for src, dst in ends:
                pair = f"{address(src)} {address(dst)} 40000 {port(dst)}"
                lines.append(f"2 1 eni-{eni} {pair} 6 9 99 {at} {at + 60} ACCEPT OK")
            outside = f"{address(name)} 203.0.113.9 40000 443"
            lines.append(f"2 1 eni-{eni} {outside} 6 9 99 {at} {at + 60} ACCEPT OK")
    (place / "flows.log").write_text("\n".join([*lines, ""]))
    return {"type": "connections", "path": "flows.log"}


def sockets(place: Path) -> dict:
    """Write a week of samples of `ss` on every host."""
    (place / "ss").mkdir()
    for name in NAMES:
        lines = [
            f'LISTEN 0 9 0.0.0.0:{port(name)} 0.0.0.0:* users:(("{name}",pid=1,fd=3))'
        ]
        for src, dst in CALLS:
            ends = {src: f"{address(src)}:40000", dst: f"{address(dst)}:{port(dst)}"}
            if name in ends:
                here = ends.pop(name)
                (there,) = ends.values()
                lines.append(f'ESTAB 0 0 {here} {there} users:(("{name}",pid=1,fd=4))')
        times = pd.to_datetime([MARCH + hour * 3600 for hour in range(169)], unit="s")
        sample = "\n".join([*lines, ""])
        text = "".join(f"# {at:%Y-%m-%dT%H:%M:%SZ}\n{sample}" for at in times)
        (place / "ss" / f"h-{name}.ss").write_text(text)
    return {"type": "connections", "path": "ss"}


def port(name: str) -> int:
    return written.STORES.get(name, ("", 8080))[1]


def collected(writer, place: Path) -> Inventory:
    """Collect what a source saw, beside what else is known."""
    own(place)
    text = ""
    for table in ({"type": "frames", "path": "own"}, writer(place)):
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        text += "\n".join(["[[source]]", *lines, ""])
    (place / "assess.toml").write_text(text)
    return assess.collect(str(place / "assess.toml"))


def hidden(inventory: Inventory, is_kept: np.ndarray) -> Inventory:
    """Hide edges, and that the sources of edges would have seen every call."""
    tables = {name: inventory[name] for name in ("services", "dependencies", "coverage")}
    edges = tables["dependencies"][is_kept]
    tables["dependencies"] = edges.drop(columns=["complete", "window_hours"])
    windows = ["window_start", "window_end"]
    tables["coverage"] = tables["coverage"].drop(columns=windows)
    return from_frames(tables, snapshot_at=inventory.snapshot_at)


def impacts(inventory: Inventory) -> pd.DataFrame:
    frame = score_blast_radius(inventory, POLICY, detail=False).frame.loc["service"]
    return frame.loc[NAMES, ["impact_lo", "impact", "impact_hi"]].astype(float)


@pytest.mark.parametrize("writer", [jaeger, flow_log, sockets], ids=lambda w: w.__name__)
def test_what_was_known_stays_inside_once_edges_are_hidden(tmp_path, writer):
    inventory = collected(writer, tmp_path)
    edges = inventory["dependencies"]
    assert set(CALLS) <= set(zip(edges["src_id"], edges["dst_id"], strict=True))
    full = impacts(inventory)
    assert full["impact_hi"].min() < 0.2  # else nothing is at stake
    random = np.random.default_rng(SEED)
    for share in SHARES:
        part = impacts(hidden(inventory, random.random(len(edges)) >= share))
        assert (part["impact_lo"] <= full["impact"] + 1e-9).all()
        assert (full["impact"] <= part["impact_hi"] + 1e-9).all()
        assert (full["impact_hi"] <= part["impact_hi"] + 1e-9).all()
        assert part["impact_hi"].min() > 0.9  # nobody claims a narrow blast radius
