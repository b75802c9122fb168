"""Moves: against failing every element before and after, on random fleets; replicas laid out."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius import relocation
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.placement import needed
from assess.score.blast_radius.propagation import Scenarios, propagate
from assess.score.blast_radius.relocation import (
    LEFT,
    PAIR,
    Terms,
    element_changes,
    move_scenarios,
    spread_replicas,
)
from assess.score.blast_radius.topology import build_topology
from assess.score.blast_radius.uncertain import Sampling

POLICY = load_policy()


@given(
    st.integers(1, 12),
    st.floats(0, 100) | st.just(float("nan")),
    st.integers(1, 6),
    st.lists(st.sampled_from("abc"), max_size=3, unique=True),
)
def test_replicas_are_laid_in_turn(replicas, share, hosts_n, zones):
    hosts, lost = spread_replicas(replicas, share, hosts_n, zones)
    places = [i % hosts_n for i in range(replicas)]
    need = needed(np.array([float(replicas)]), np.array([share]))[0]

    def falls(gone):
        return sum(not gone(place) for place in places) < need

    assert hosts == sum(falls(lambda p, h=h: p == h) for h in set(places))
    held = {zones[p % len(zones)] for p in places} if zones else set()
    assert lost == sorted(
        z for z in held if falls(lambda p, z=z: zones[p % len(zones)] == z)
    )


def a_fleet(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 16))
    names = [f"s{i}" for i in range(n)]
    hosts = pd.DataFrame(
        {"host_id": ["h0", "h1", "h2"], "az": rng.choice(["za", "zb"], 3)}
    )
    engines = hosts[["host_id"]].assign(
        runtime="docker", version=rng.choice(["27.1", "28.0"], 3)
    )
    owner = np.repeat(np.arange(n), rng.integers(0, 4, n))
    workloads = pd.DataFrame(
        {
            "workload_id": [f"w{i}" for i in range(len(owner))],
            "service_id": [names[i] for i in owner],
            "host_id": rng.choice(hosts["host_id"], len(owner)),
            "state": "running",
            "cluster": rng.choice(["c1", "c2"], len(owner)),
        }
    )
    pairs = np.unique(rng.integers(0, n, (n, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    edges = pd.DataFrame(
        {
            "src_id": [names[a] for a in pairs[:, 0]],
            "dst_id": [names[b] for b in pairs[:, 1]],
            "kind": rng.choice(["call", "cache"], len(pairs)),
            "evidence": "traces",
        }
    )
    services = pd.DataFrame(
        {
            "service_id": names,
            "criticality": rng.integers(0, 9, n) * 1.0,
            "min_healthy_pct": rng.choice([0.0, 50.0, 100.0], n),
        }
    )
    frames = {
        "services": services,
        "hosts": hosts,
        "engines": engines,
        "workloads": workloads,
        "dependencies": edges,
    }
    return from_frames(
        {k: v for k, v in frames.items() if len(v)}, snapshot_at="2026-09-30"
    )


def one_by_one(fleet, changes, new_hosts, policy):
    """By service: every element that changes fails before the move, and after it."""
    graph, sampling = fleet.graphs["point"], Sampling.of(policy)

    def loss(names):
        node = fleet.nodes.get_indexer(pd.Index(sorted(names)))
        failing = Scenarios(np.zeros(len(node), int), node, 1)
        return propagate(graph, failing, sampling=sampling).loss[0] / (
            fleet.weight.sum() or 1
        )

    down = fleet.direct["point"].groupby(PAIR[:2])["service_id"].agg(set).to_dict()
    delta = {}
    for name, hosts in zip(fleet.services, new_hosts, strict=True):
        delta[name] = hosts * loss({name})
        for row in changes[changes["service_id"] == name].itertuples():
            others = down.get((row.element_kind, row.element), set()) - {name}
            delta[name] += row.sign * (loss(others | {name}) - loss(others))
    return delta


@settings(max_examples=4)
@given(st.integers(0, 2**31))
def test_a_move_adds_what_failing_one_by_one_says(seed):
    inventory = a_fleet(seed)
    result = score_blast_radius(inventory, POLICY)
    fleet = build_topology(inventory, POLICY)
    changes, counts = element_changes(inventory, fleet, POLICY["target"])
    want = one_by_one(fleet, changes, counts["hosts"], POLICY)
    for row in result.services.itertuples():
        assert row.delta_lo <= row.delta_hi
        if row.Index in fleet.placed:
            assert row.delta == pytest.approx(want[row.Index], abs=1e-9)
            assert row.delta_lo <= row.delta <= row.delta_hi
        else:
            assert pd.isna(row.delta)
    # in a large fleet a move is bounded by what the service reaches
    large = POLICY.replace(blast_radius={"moves_compared_most": 0})
    for row in score_blast_radius(inventory, large).services.itertuples():
        assert row.delta_lo - 0.02 <= want[row.Index] <= row.delta_hi + 0.02
        if not pd.isna(row.delta):
            assert row.delta == pytest.approx(want[row.Index], abs=1e-9)


@settings(max_examples=4)
@given(st.integers(0, 2**31))
def test_scenarios_fail_everything_but_the_service(seed):
    inventory = a_fleet(seed)
    fleet = build_topology(inventory, POLICY)
    changes, *_ = element_changes(inventory, fleet, POLICY["target"])
    assert set(changes["element_kind"]) <= set(LEFT)
    terms = Terms.of(fleet, changes)
    n = len(fleet.services)
    moves = move_scenarios(terms, np.ones(n, bool))
    failing = {}
    for scenario, node in zip(moves.scenario, moves.node, strict=True):
        failing.setdefault(scenario, []).append(node)
    assert all(max(Counter(nodes).values()) == 1 for nodes in failing.values())
    down = fleet.direct["point"].groupby(PAIR[:2])["service_id"].agg(set).to_dict()
    assert moves.n == n + 2 * len(changes)
    for term, row in enumerate(changes.itertuples()):
        assert fleet.services[terms.service[term]] == row.service_id
        others = down.get((row.element_kind, row.element), set()) - {row.service_id}
        for scenario, names in (
            (n + 2 * term, others | {row.service_id}),
            (n + 2 * term + 1, others),
        ):
            assert {fleet.nodes[node] for node in failing.get(scenario, [])} == names


def test_what_has_no_host_fails_beside_every_move():
    hosts = [{"host_id": f"h{n}"} for n in range(6)]
    names = [f"s{n}" for n in range(5)]
    replicas = [
        {
            "workload_id": name,
            "service_id": name,
            "source_kind": "process",
            "state": "running",
            "host_id": f"h{n}" if n < 3 else None,
        }
        for n, name in enumerate(names)
    ]
    services = {"service_id": names}
    tables = {"services": services, "hosts": hosts, "workloads": replicas}
    frames = {name: pd.DataFrame(table) for name, table in tables.items()}
    inventory = from_frames(frames, snapshot_at="2026-10-01")
    fleet = build_topology(inventory, POLICY)
    changes, _ = element_changes(inventory, fleet, POLICY["target"])
    terms = Terms.of(fleet, changes, "hi")
    everybody = np.ones(len(fleet.nodes), bool)
    left = changes["element_kind"].eq("host").to_numpy()
    # the service itself and the two of unknown place
    assert terms.count(everybody)[left].tolist() == [3, 3, 3]
    assert sum(map(len, terms.members)) == 3 + 2
    own, others = terms.initial_failures(0, len(changes))
    for term, row in enumerate(changes.itertuples()):
        failing = {fleet.nodes[node] for node, bits in others.items() if bits >> term & 1}
        if row.element_kind == "host":
            assert failing == {"s3", "s4"}
        assert own[fleet.nodes.get_loc(row.service_id)] >> term & 1


def test_what_is_not_drawn_has_no_point_and_a_wide_interval():
    inventory = a_fleet(3)
    few = POLICY.replace(blast_radius={"enumerate_up_to": 0})
    drawn = score_blast_radius(inventory, few).services
    fewer = few.replace(blast_radius={"drawn_most": 0})
    bounded = score_blast_radius(inventory, fewer).services
    lost = bounded["delta"].isna() & drawn["delta"].notna()
    assert lost.any()
    kept = bounded["delta"].notna()
    pd.testing.assert_series_equal(bounded.loc[kept, "delta"], drawn.loc[kept, "delta"])
    assert (bounded["delta_lo"] <= drawn["delta_lo"] + 0.05).all()
    assert (bounded["delta_hi"] >= drawn["delta_hi"] - 0.05).all()


def test_only_what_was_not_drawn_is_bounded_from_above(monkeypatch):
    seen = []

    def spy(graph, failing, *, sampling, most=False):
        impact = propagate(graph, failing, sampling=sampling, most=most)
        whole = propagate(graph, failing, sampling=sampling, most=True)
        seen.append((most, impact, whole.loss))
        return impact

    monkeypatch.setattr(relocation, "propagate", spy)
    few = POLICY.replace(blast_radius={"enumerate_up_to": 0, "drawn_most": 2})
    score_blast_radius(a_fleet(3), few)
    pairs = [(one, two) for one, two in pairwise(seen) if two[0]]
    assert pairs
    for (_, least, whole), (_, most, _) in pairs:
        is_open = np.isnan(least.se)
        assert is_open.sum() == len(most.loss) < len(is_open)
        np.testing.assert_array_equal(most.loss, whole[is_open])
        np.testing.assert_array_equal(least.loss[~is_open], whole[~is_open])


@pytest.mark.parametrize("p", [0.8, 1.0])
def test_moves_in_a_large_cycle_are_bounded_where_edges_are_uncertain(p):
    n = 40
    names = [f"s{i:02}" for i in range(n)]
    pairs = {"src_id": names, "dst_id": names[1:] + names[:1], "kind": "call"}
    replicas = {"workload_id": names, "service_id": names, "host_id": "h"}
    frames = {
        "services": pd.DataFrame({"service_id": names}),
        "hosts": pd.DataFrame({"host_id": ["h"], "az": "a"}),
        "workloads": pd.DataFrame(replicas).assign(state="running"),
        "dependencies": pd.DataFrame(pairs).assign(evidence="traces"),
    }
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    call = {"lo": p, "p": p, "hi": 1.0}
    policy = POLICY.replace(edges={"call": call}, blast_radius={"enumerate_up_to": 2})
    drawn = score_blast_radius(inventory, policy).services
    few = policy.replace(blast_radius={"drawn_pairs_max": n * n})
    bounded = score_blast_radius(inventory, few).services
    assert drawn["delta"].notna().all()
    # a point needs draws, but only where an edge is in doubt
    assert bounded["delta"].isna().all() == (p < 1)
    assert (bounded["delta_lo"] <= drawn["delta"] + 0.02).all()
    assert (drawn["delta"] - 0.02 <= bounded["delta_hi"]).all()


def test_terms_are_bounded_alike_in_blocks_of_any_size(monkeypatch):
    inventory = a_fleet(3)
    policy = POLICY.replace(blast_radius={"moves_compared_most": 0})
    whole = score_blast_radius(inventory, policy).services
    monkeypatch.setattr(relocation, "WIDTH", 5)
    parts = score_blast_radius(inventory, policy).services
    pd.testing.assert_frame_equal(parts, whole)


def test_a_service_of_unknown_place_may_gain_by_a_move():
    services = pd.DataFrame({"service_id": ["a", "b"]})
    inventory = from_frames({"services": services}, snapshot_at="2026-10-01")
    blast = score_blast_radius(inventory, POLICY)
    moved = blast.details["services"]
    assert moved["delta"].isna().all()
    assert (moved["delta_lo"] < 0).all()
    assert (moved["delta_hi"] > 0).all()


def test_a_replica_of_unknown_state_promises_no_gain():
    hosts = pd.DataFrame({"host_id": ["h0", "h1"], "az": ["za", "zb"]})
    workloads = pd.DataFrame({"workload_id": ["w0", "w1"], "service_id": "a"})
    frames = {
        "services": pd.DataFrame({"service_id": ["a"]}),
        "hosts": hosts,
        "engines": hosts[["host_id"]].assign(runtime="docker", version="28.0"),
    }
    ends = []
    for states in (["running", "running"], ["running", None]):
        rows = workloads.assign(host_id=hosts["host_id"], state=states)
        inventory = from_frames({**frames, "workloads": rows}, snapshot_at="2026-10-01")
        ends.append(score_blast_radius(inventory, POLICY).services.loc["a", "delta_hi"])
    known, hidden = ends
    assert hidden >= known


@pytest.mark.parametrize("provider", ["aws", "own", None])
@pytest.mark.parametrize("hidden", [["h0"], ["h0", "h1"], []])
def test_a_host_of_unknown_zone_promises_no_gain(hidden, provider):
    hosts = pd.DataFrame({"host_id": ["h0", "h1"], "az": ["za", "zb"]})
    hosts["provider"] = provider
    lost = hosts.assign(az=hosts["az"].mask(hosts["host_id"].isin(hidden)))
    workloads = pd.DataFrame({"workload_id": ["w0", "w1"], "service_id": "a"})
    frames = {
        "services": pd.DataFrame({"service_id": ["a"], "min_healthy_pct": 100}),
        "engines": hosts[["host_id"]].assign(runtime="docker", version="28.0"),
        "workloads": workloads.assign(host_id="h0", state="running"),
    }
    ends = []
    # without any name, the whole frame is hidden
    for each in ({"hosts": hosts}, {"hosts": lost} if hidden else {}):
        inventory = from_frames({**frames, **each}, snapshot_at="2026-10-01")
        ends.append(score_blast_radius(inventory, POLICY).services.loc["a", "delta_hi"])
    assert ends[1] >= ends[0]


def place_of(clusters=(), engines=("docker 26.1.4",)):
    elements = [("engine", name) for name in engines] + [("host", "docker 26.1.9")]
    placed = [("cluster", name) for name in clusters] + [("host", "h")] * 9
    columns = ["element_kind", "element"]
    return SimpleNamespace(
        elements=pd.MultiIndex.from_tuples(elements, names=columns),
        placement=pd.DataFrame(placed, columns=columns),
    )


def target_of(**more):
    return {**POLICY["target"], "runtime": "docker", "engine": "26.1", **more}


def test_a_move_lands_on_the_newest_engine_of_the_line():
    bare = target_of(base_image="", landing="host")
    several = place_of(
        engines=["docker 26.1.9", "docker 26.1.10", "docker 26.10.1", "podman 26.1.11"]
    )
    assert relocation.landing(several, bare) == {"engine": "docker 26.1.10"}
    none = place_of(engines=["docker 20.10.5"])
    assert relocation.landing(none, bare) == {"engine": "docker 26.1"}


@pytest.mark.parametrize(
    ("clusters", "named"),
    [
        ((), "new cluster"),
        (("b", "a", "b"), "b"),
        (("b", "a"), "a"),
        (("c", "b", "a", "c", "b"), "b"),
    ],
)
def test_a_move_lands_on_the_largest_cluster_the_first_by_name(clusters, named):
    there = target_of(base_image="debian 12", landing="cluster")
    found = relocation.landing(place_of(clusters), there)
    assert found == {
        "engine": "docker 26.1.4",
        "base_image": "debian 12",
        "cluster": named,
    }


PLACES = {
    "workloads": ["host_id", "cluster"],
    "engines": ["version"],
    "hosts": ["az", "provider"],
}


def delta_ends(inventory):
    """Return both ends of every move, the upper one negative: hiding may only lower them."""
    services = score_blast_radius(inventory, POLICY).services
    return pd.concat([services["delta_lo"], -services["delta_hi"]], keys=["lo", "hi"])


@pytest.mark.parametrize("seed", [3, 7])
def test_hiding_a_place_of_one_or_all_moves_no_end_of_any_move_inwards(seed):
    inventory = a_fleet(seed)
    services = inventory["services"].assign(platform="nomad")
    hosts = inventory["hosts"].assign(provider="aws")
    inventory = inventory.replace(services=services, hosts=hosts)
    known = delta_ends(inventory)
    for frame, names in PLACES.items():
        table = inventory[frame]
        for name in names:
            for rows in ([0], list(table.index)):
                cells = table[name].astype("object")
                lost = table.assign(**{name: cells.mask(table.index.isin(rows), None)})
                found = delta_ends(inventory.replace(**{frame: lost}))
                assert (found <= known + 1e-9).all(), (frame, name, rows)


@pytest.mark.parametrize("seed", [3, 7])
def test_hiding_which_replicas_run_moves_no_end_of_a_move_inwards(seed):
    inventory = a_fleet(seed)
    shares = pd.Series(100.0, inventory["services"].index)
    services = inventory["services"].assign(platform="nomad", min_healthy_pct=shares)
    inventory = inventory.replace(services=services)
    known = delta_ends(inventory)
    workloads = inventory["workloads"]
    for name, own in workloads.groupby("service_id"):
        for rows in (own.index[:1], own.index):
            states = workloads["state"].mask(workloads.index.isin(rows))
            found = delta_ends(
                inventory.replace(workloads=workloads.assign(state=states))
            )
            ends = [("lo", name), ("hi", name)]
            assert (found[ends] <= known[ends] + 1e-9).all(), (name, list(rows))
