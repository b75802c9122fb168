"""Blast radius against an oracle that goes through every outcome of every edge, from the frames.

The oracle knows nothing of the package: it counts replicas and follows edges one by one. Dozens of
small fleets stand side by side in one inventory, as islands, so that thousands are checked.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import DataError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius

POLICY = load_policy()
LEVELS = ("lo", "p", "hi")
ENDS = ["impact_lo", "impact", "impact_hi"]
INFRASTRUCTURE = ("host", "az", "engine", "image", "base_image", "cluster")
LOOKED = [
    {
        "run_id": "r",
        "source": "traces",
        "scope": "all",
        "call": "dependencies",
        "status": "ok",
        "window_start": "2026-09-01",
        "window_end": "2026-09-30",
    }
]


def island(seed):
    """A fleet of up to five services, as tables; every name ends with the seed."""
    rng = np.random.default_rng(seed)

    def named(word, n):
        return f"{word}{rng.integers(n)}-{seed}"

    names = [f"s{i}-{seed}" for i in range(rng.integers(1, 6))]
    hosts = [{"host_id": f"h{i}-{seed}", "az": named("z", 2)} for i in range(3)]
    versions = [f"2{rng.integers(2)}-{seed}" for _ in hosts]
    engines = [
        {"host_id": h["host_id"], "runtime": "docker", "version": version}
        for h, version in zip(hosts, versions, strict=True)
    ]
    shares = [None, 0, 34, 50, 67, 100]
    services = [
        {
            "service_id": s,
            "criticality": float(rng.choice([0, 1, 2.5, 8])),
            "min_healthy_pct": rng.choice(shares),
        }
        for s in names
    ]
    workloads = [
        {
            "workload_id": f"{s}/{i}",
            "service_id": s,
            "host_id": named("h", 3),
            "state": rng.choice(["running", "running", "running", "exited", None]),
            "registry": f"reg-{seed}",
            "repository": named("r", 2),
            "image_digest": "sha256:1",
            "cluster": named("c", 2),
        }
        for s in names
        for i in range(rng.integers(0, 5))
    ]
    images = [
        {
            "registry": f"reg-{seed}",
            "repository": f"r{i}-{seed}",
            "digest": "sha256:1",
            "host_id": "",
            "base_name": named("b", 2),
        }
        for i in range(2)
    ]
    edges = [
        {
            "src_id": str(rng.choice(names)),
            "dst_id": str(rng.choice([*names, f"ext:x-{seed}"])),
            "kind": str(rng.choice(list(POLICY["edges"]))),
            "evidence": str(rng.choice(["e", "f"])),
            "p": rng.choice([None, None, 0.0, 0.25, 0.5, 1.0]),
        }
        for _ in range(rng.integers(0, 8))
    ]
    unique = {(e["src_id"], e["dst_id"], e["kind"], e["evidence"]): e for e in edges}
    return {
        "services": services,
        "hosts": hosts,
        "engines": engines,
        "workloads": workloads,
        "images": images,
        "dependencies": list(unique.values()),
    }


def pairs_of(rows):
    """By pair the probability at each level, self-loops left out."""
    rows = [row for row in rows if row["src_id"] != row["dst_id"]]
    own, kinds, needs = {}, {}, {}
    for row in rows:
        pair, kind = (row["src_id"], row["dst_id"]), row["kind"]
        group = own.setdefault((*pair, kind), [])
        group += [row["p"]] if row["p"] is not None else []
        kinds.setdefault(pair, set()).add(kind)
        if POLICY["edges"][kind]["a"]:
            needs.setdefault(row["src_id"], set()).add(row["dst_id"])
    joint = {}
    for (src, dst, kind), own_p in own.items():
        others = kinds[src, dst] - {"start_order", "unknown"}
        if kind == "start_order" and others and not own_p:
            continue
        edge = POLICY["edges"][kind]
        p = edge["p"] / len(needs.get(src, [0])) ** edge["a"]
        each = [[p] * 3 for p in own_p] or [[min(edge["lo"], p), p, edge["hi"]]]
        survive = joint.setdefault((src, dst), [1.0, 1.0, 1.0])
        for ps in each:
            for at, p in enumerate(ps):
                survive[at] *= 1 - p
    return {pair: [1 - s for s in survive] for pair, survive in joint.items()}


def stands_on(tables, kind, element):
    """Replicas that stand on an element, whatever their state."""
    az = {h["host_id"]: h["az"] for h in tables["hosts"]}
    engine = {e["host_id"]: f"docker {e['version']}" for e in tables["engines"]}
    base = {i["repository"]: i["base_name"] for i in tables["images"]}
    place = {
        "host": lambda w: w["host_id"],
        "az": lambda w: az[w["host_id"]],
        "engine": lambda w: engine[w["host_id"]],
        "cluster": lambda w: w["cluster"],
        "image": lambda w: f"{w['repository']}@{w['image_digest']}",
        "base_image": lambda w: base[w["repository"]],
    }[kind]
    return {w["workload_id"] for w in tables["workloads"] if place(w) == element}


def falls_itself(tables, kind, element):
    """Services that an element takes down directly: at best, as known, at worst.

    A replica of unknown state may be live or not, each by itself.
    """
    if kind in ("service", "ext"):
        return {element}, {element}, {element}
    best, known, worst = set(), set(), set()
    if kind not in INFRASTRUCTURE:
        return best, known, worst
    gone = stands_on(tables, kind, element)
    for service in tables["services"]:
        name, share = service["service_id"], service["min_healthy_pct"] or 0
        own = [w for w in tables["workloads"] if w["service_id"] == name]
        running = {w["workload_id"] for w in own if w["state"] == "running"}
        perhaps = [w["workload_id"] for w in own if w["state"] is None]
        # the first is that of those that are known to run
        falls = [
            len(live - gone) < max(1, math.ceil(share * len(live) / 100))
            for n in range(len(perhaps) + 1)
            for some in itertools.combinations(perhaps, n)
            if (live := running | set(some))
        ]
        if not running:
            worst.add(name)
            continue
        known |= {name} if falls[0] else set()
        best |= {name} if all(falls) else set()
        worst |= {name} if any(falls) else set()
    return best, known, worst


def oracle(tables, elements, *, unseen=False):
    """Weight lost by element: lo, point, hi; with every call that nobody would have seen."""
    pairs = pairs_of(tables["dependencies"])
    weight = {s["service_id"]: s["criticality"] for s in tables["services"]}
    lost = {element: [0.0, 0.0, 0.0] for element in elements}
    sets = {element: falls_itself(tables, *element) for element in elements}
    names = [*weight, *(dst for _, dst in pairs if dst.startswith("ext:"))]
    for at in range(3):
        chance_of = {pair: ps[at] for pair, ps in pairs.items()}
        if at == 2 and unseen:
            chance_of = {(i, j): 1.0 for i in weight for j in names if i != j}
        doubtful = [pair for pair, p in chance_of.items() if 0 < p < 1]
        sure = [pair for pair, p in chance_of.items() if p == 1]
        for outcome in itertools.product([False, True], repeat=len(doubtful)):
            hits = list(zip(doubtful, outcome, strict=True))
            live = sure + [pair for pair, hit in hits if hit]
            chance = math.prod(
                chance_of[pair] if hit else 1 - chance_of[pair] for pair, hit in hits
            )
            for element, levels in sets.items():
                fallen = reached(levels[at], live)
                lost[element][at] += chance * sum(weight.get(s, 0) for s in fallen)
    return lost


def reached(start, live):
    """What goes down with some services along edges that are live."""
    fallen, before = set(start), -1
    while len(fallen) != before:
        before = len(fallen)
        fallen |= {src for src, dst in live if dst in fallen}
    return fallen


def joined(islands):
    names = islands[0]
    return {name: [row for tables in islands for row in tables[name]] for name in names}


@settings(max_examples=15)
@given(st.lists(st.integers(1, 2**31), min_size=60, max_size=150, unique=True))
def test_every_kind_of_element_loses_what_the_oracle_says(seeds):
    islands = [island(seed) for seed in seeds]
    frames = {n: pd.DataFrame(rows) for n, rows in joined(islands).items() if rows}
    inventory = from_frames(
        {**frames, "coverage": pd.DataFrame(LOOKED)}, snapshot_at="2026-09-30"
    )
    frame = score_blast_radius(inventory, POLICY, detail=False).frame
    assert frame["exact"].all()
    total = inventory["services"]["criticality"].sum() or 1
    got = dict(zip(frame.index, frame[ENDS].to_numpy() * total, strict=True))
    own = {}
    for element in got:
        own.setdefault(element[1].split("@")[0].rpartition("-")[2], []).append(element)
    for tables, seed in zip(islands, seeds, strict=True):
        for element, want in oracle(tables, own.pop(str(seed))).items():
            # hi holds what other islands place
            upper = 2 if element[0] in INFRASTRUCTURE else 3
            assert np.abs(got[element][:upper] - want[:upper]).max() < 1e-6, (
                element,
                want,
            )
    assert not own


@settings(max_examples=20)
@given(st.integers(1, 2**31), st.booleans())
def test_the_upper_end_holds_what_nobody_knows(seed, looked):
    tables = island(seed)
    frames = {n: pd.DataFrame(rows) for n, rows in tables.items() if rows}
    coverage = {"coverage": pd.DataFrame(LOOKED)} if looked else {}
    inventory = from_frames({**frames, **coverage}, snapshot_at="2026-09-30")
    frame = score_blast_radius(inventory, POLICY, detail=False).frame
    total = inventory["services"]["criticality"].sum() or 1
    lost = oracle(tables, list(frame.index), unseen=not looked)
    got = frame[ENDS]
    assert {e: got.loc[e].tolist() for e in lost} == {
        e: pytest.approx([w / total for w in each], abs=1e-9) for e, each in lost.items()
    }


# --- bad input ---


def scored(**tables):
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    return score_blast_radius(from_frames(frames, snapshot_at="2026-09-30"), POLICY)


def edge(src, dst, p=None, kind="call", evidence="e"):
    return {"src_id": src, "dst_id": dst, "kind": kind, "evidence": evidence, "p": p}


SERVICES = [{"service_id": s, "criticality": 1.0} for s in "abc"]


def test_a_self_loop_changes_nothing():
    plain = scored(services=SERVICES, dependencies=[edge("a", "b")])
    looped = scored(
        services=SERVICES, dependencies=[edge("a", "b"), edge("a", "a"), edge("b", "b")]
    )
    pd.testing.assert_frame_equal(plain.frame, looped.frame)


def test_an_edge_that_is_there_twice_is_a_problem_with_its_row():
    with pytest.raises(DataError) as told:
        scored(services=SERVICES, dependencies=[edge("a", "b"), edge("a", "b")])
    assert told.value.problems["table"].eq("dependencies").all()


def test_a_dangling_id_is_a_problem_with_its_row():
    with pytest.raises(DataError, match="nobody") as told:
        scored(
            services=SERVICES,
            dependencies=[edge("a", "nobody"), edge("a", "ext:somebody")],
        )
    assert told.value.problems["column"].tolist() == ["dst_id"]


@pytest.mark.parametrize("p", [-0.1, 1.1, math.inf])
def test_a_probability_outside_its_range_is_a_problem_with_its_row(p):
    with pytest.raises(DataError) as told:
        scored(services=SERVICES, dependencies=[edge("a", "b", p)])
    assert told.value.problems["column"].tolist() == ["p"]


def test_a_share_of_replicas_above_all_is_a_problem():
    with pytest.raises(DataError) as told:
        scored(services=[{**SERVICES[0], "min_healthy_pct": 101.0}])
    assert told.value.problems["column"].tolist() == ["min_healthy_pct"]


def test_no_criticality_anywhere_is_no_loss_and_no_error():
    rows = [{"service_id": s, "criticality": 0.0} for s in "abc"]
    result = scored(services=rows, dependencies=[edge("a", "b", 0.5), edge("b", "c")])
    assert (result.frame[["impact_lo", "impact", "impact_hi", "se"]] == 0).all(axis=None)
    assert result.frame.loc[("service", "c"), "services_down_n"] == 3
    assert (result.services["delta"].dropna() == 0).all()


def test_a_cycle_of_everything_with_doubt_is_the_closed_form():
    names = [f"s{i:02}" for i in range(9)]
    ring = [edge(a, b, 0.5) for a, b in itertools.pairwise([*names, names[0]])]
    result = scored(
        services=[{"service_id": s, "criticality": 1.0} for s in names], dependencies=ring
    )
    want = sum(0.5**k for k in range(9)) / 9  # each step further round halves the chance
    assert result.services["impact"].tolist() == pytest.approx([want] * 9)
    assert result.frame["exact"].all()
