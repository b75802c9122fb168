"""The graph of a fleet, by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius import topology
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.placement import frozen, image_names, needed
from assess.score.blast_radius.topology import (
    build_topology,
    criticality,
    edge_evidence,
    edges,
)

POLICY = load_policy()
AT = "2026-09-30"


def test_the_room_has_one_builder_of_adjacency():
    room = Path(topology.__file__).parent
    builders = {
        path.name: len(re.findall(r"\b(?:coo|csr|csc|lil)_(?:array|matrix)\(", text))
        for path in room.glob("*.py")
        if (text := path.read_text(encoding="utf-8"))
    }
    assert {name: n for name, n in builders.items() if n} == {"bitset.py": 1}
    positions = {
        path.name
        for path in room.glob("*.py")
        if re.search(r"get_indexer\(pd\.Index\(\w*\.?edges\[", path.read_text("utf-8"))
    }
    assert positions <= {"topology.py"}


def test_edges_are_one_set_of_arrays():
    inventory = fleet_of(
        services={"service_id": list("abc")},
        dependencies=[
            {"src_id": s, "dst_id": d, "kind": "call", "evidence": "e"}
            for s, d in [("a", "b"), ("b", "ext:x"), ("c", "b")]
        ],
    )
    fleet = build_topology(inventory, POLICY)
    graph = fleet.graphs["point"]
    arcs = [
        (fleet.nodes[t], fleet.nodes[h])
        for t, h in zip(graph.tail, graph.head, strict=True)
    ]
    assert arcs == [("b", "a"), ("ext:x", "b"), ("b", "c")]
    rows, columns = fleet.matrix().nonzero()
    cells = zip(fleet.nodes[rows], fleet.nodes[columns], strict=True)
    assert sorted(cells) == sorted(arcs)


def fleet_of(**tables):
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    return from_frames(frames, snapshot_at=AT)


def edges_of(*rows, policy=POLICY):
    names = ["src_id", "dst_id", "kind", "evidence", "p"]
    ids = sorted(
        {r[0] for r in rows} | {r[1] for r in rows if not r[1].startswith("ext:")}
    )
    inventory = fleet_of(
        services={"service_id": ids},
        dependencies=[dict(zip(names, r, strict=True)) for r in rows],
    )
    return edges(inventory["dependencies"], policy).set_index(["src", "dst"])


def test_criticality_is_its_own_then_its_tiers_then_the_policys():
    inventory = fleet_of(
        services={
            "service_id": list("abcd"),
            "tier": [1, 3, None, None],
            "criticality": [None, 7.5, None, 0.0],
        }
    )
    assert criticality(inventory["services"], POLICY).to_dict() == {
        "a": 8,
        "b": 7.5,
        "c": 2,
        "d": 0,
    }


ENDS = ["lo", "point", "hi"]


@pytest.mark.parametrize("unit", [1e308, 1e-320])
def test_the_unit_of_criticality_is_free(unit):
    services = pd.DataFrame({"service_id": ["a", "b"], "criticality": [unit, unit]})
    calls = pd.DataFrame(
        [{"src_id": "a", "dst_id": "b", "kind": "call", "evidence": "user"}]
    )
    tables = {"services": services, "dependencies": calls}
    inventory = from_frames(tables, snapshot_at="2026-09-30")
    frame = score_blast_radius(inventory, POLICY).frame
    assert frame.loc[("service", "b"), ["impact", "impact_hi"]].tolist() == pytest.approx(
        [0.9, 1]
    )


def test_kinds_have_the_policys_probabilities():
    kinds = ["call", "cache", "start_order", "telemetry", "unknown"]
    table = edges_of(*[("a", f"x{k}", k, "e", None) for k in kinds])
    p = 0.8 / 2**0.35  # it needs two: by a call, and by a kind that nobody knows
    assert table.loc[("a", "xcall"), ENDS].tolist() == pytest.approx([0.3, p, 1])
    assert table.loc[("a", "xunknown"), ENDS].tolist() == pytest.approx([0.1, p, 1])
    assert table.loc[("a", "xcache"), ENDS].tolist() == pytest.approx([0, 0.3, 1])
    assert table.loc[("a", "xstart_order"), ENDS].tolist() == pytest.approx([0, 0.3, 1])
    assert table.loc[("a", "xtelemetry"), ENDS].tolist() == pytest.approx([0, 0, 0.3])


def test_who_needs_many_leans_less_on_each():
    table = edges_of(*[("a", f"x{i:02}", "data", "e", None) for i in range(40)])
    p = 0.8 / 40**0.35
    assert p < 0.3  # the lower end never exceeds the point
    assert table[ENDS].to_numpy().tolist() == [pytest.approx([p, p, 1])] * 40


def test_a_pair_counts_once_among_what_a_caller_needs():
    table = edges_of(
        ("a", "b", "call", "e", None),
        ("a", "b", "data", "f", None),
        ("a", "c", "call", "e", 0.4),
        ("a", "d", "telemetry", "e", None),
    )
    p = 0.8 / 2**0.35
    assert table.loc[("a", "b"), "point"] == pytest.approx(1 - (1 - p) ** 2)
    assert table.loc[("a", "c"), ENDS].tolist() == pytest.approx([0.4] * 3)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certainty_that_somebody_gave_is_kept(p):
    table = edges_of(("a", "b", "call", "e", p), ("a", "c", "call", "e", None))
    assert table.loc[("a", "b"), ENDS].tolist() == [p] * 3
    sure = load_policy().replace(edges={"call": {"p": 1.0, "lo": 1.0}})
    rows = [("a", "b", "call", "e", None), ("a", "c", "call", "e", None)]
    table = edges_of(*rows, policy=sure)
    assert (table[ENDS] == 1).all(axis=None)


def test_an_order_of_starting_counts_where_nothing_else_is_known():
    alone = edges_of(("a", "b", "start_order", "e", None))
    assert alone.loc[("a", "b"), ENDS].tolist() == pytest.approx([0, 0.3, 1])
    soft = edges_of(
        ("a", "b", "start_order", "e", None), ("a", "b", "telemetry", "f", None)
    )
    assert soft.loc[("a", "b"), ENDS].tolist() == pytest.approx([0, 0, 0.3])
    assert soft.loc[("a", "b"), "kinds"] == "telemetry"
    hard = edges_of(("a", "b", "start_order", "e", None), ("a", "b", "call", "f", None))
    assert hard.loc[("a", "b"), "point"] == pytest.approx(0.8)


def test_several_edges_of_a_pair_act_together():
    table = edges_of(
        ("a", "b", "call", "e", 0.5),
        ("a", "b", "cache", "e", 0.2),
        ("a", "b", "data", "f", 0.5),
    )
    assert table.loc[("a", "b"), "point"] == pytest.approx(1 - 0.5 * 0.8 * 0.5)
    assert table.loc[("a", "b"), "kinds"] == "cache,call,data"


def test_what_two_sources_saw_is_one_edge():
    once = edges_of(("a", "b", "cache", "traces", None))
    twice = edges_of(
        ("a", "b", "cache", "traces", None), ("a", "b", "cache", "compose", None)
    )
    pd.testing.assert_frame_equal(once, twice)


def test_an_own_probability_overrides_the_policys():
    table = edges_of(
        ("a", "b", "call", "traces", None), ("a", "b", "call", "board", 0.25)
    )
    assert table.loc[("a", "b"), ["lo", "point", "hi"]].tolist() == [0.25] * 3


def test_a_service_does_not_fail_by_itself_through_itself():
    assert edges_of(("a", "a", "call", "e", None)).empty


def evidence_of(*rows, services=()):
    names = ["src_id", "dst_id", "kind", "evidence", "calls"]
    ids = (
        {r[0] for r in rows}
        | {r[1] for r in rows if not r[1].startswith("ext:")}
        | {*services}
    )
    return edge_evidence(
        fleet_of(
            services={"service_id": sorted(ids)},
            dependencies=[dict(zip(names, r, strict=True)) for r in rows],
        )
    )


def test_how_an_edge_is_known():
    table = evidence_of(
        ("a", "b", "call", "traces", 7),
        ("a", "b", "declared", "backstage", None),
        ("a", "c", "start_order", "compose-file", None),
        ("b", "ext:x", "data", "traces", None),
        ("c", "b", "call", "mesh", 3),
        services=["lonely"],
    ).set_index(["src_id", "dst_id"])
    known = table["known_by"].to_dict()
    assert known[("a", "b")] == "both"
    assert known[("a", "c")] == "declaration"
    assert known[("b", "ext:x")] == known[("c", "b")] == "traces"
    assert table.loc[("a", "b"), "evidence"] == "backstage,traces"
    assert table.loc[("a", "b"), "kinds"] == "call,declared"
    assert table.loc[("a", "b"), "calls"] == 7
    assert not table["conflict"].any()


def test_services_that_no_trace_names_are_listed():
    table = evidence_of(
        ("a", "b", "call", "traces", None), ("c", "a", "data", "compose", None)
    )
    unseen = table[table["known_by"] == "nobody"]
    assert unseen["src_id"].tolist() == ["c"]
    assert unseen[["dst_id", "kinds", "conflict"]].isna().all(axis=None)
    assert evidence_of(services=["a"])["src_id"].tolist() == ["a"]


def test_kinds_conflict_where_two_sources_agree_on_none():
    table = evidence_of(
        ("a", "b", "data", "traces", None),
        ("a", "b", "cache", "environment", None),
        ("a", "c", "call", "traces", None),
        ("a", "c", "queue", "traces", None),
        ("a", "d", "call", "traces", None),
        ("a", "d", "queue", "traces", None),
        ("a", "d", "call", "environment", None),
        ("a", "e", "call", "traces", None),
        ("a", "e", "declared", "backstage", None),
        ("a", "e", "start_order", "compose", None),
    ).set_index("dst_id")
    assert table["conflict"].dropna().to_dict() == {
        "b": True,
        "c": False,
        "d": False,
        "e": False,
    }


def test_evidence_of_edges_does_not_depend_on_the_order_of_rows():
    rows = [
        ("a", "b", "call", "traces", 1),
        ("a", "b", "data", "backstage", None),
        ("b", "c", "call", "traces", 2),
    ]
    pd.testing.assert_frame_equal(evidence_of(*rows), evidence_of(*reversed(rows)))


@pytest.mark.parametrize(
    ("n", "pct", "need"),
    [
        (3, np.nan, 1),
        (3, 0, 1),
        (3, 50, 2),
        (3, 67, 3),
        (20, 55, 11),
        (11, 100 * 2 / 11, 2),  # a binary fraction above 2
        (3, 100, 3),
        (0, 100, 1),
    ],
)
def test_replicas_needed(n, pct, need):
    assert needed(np.array([float(n)]), np.array([float(pct)])) == [need]


def test_images_are_named_by_digest_else_tag():
    rows = [
        ("r", "sha256:1", "1"),
        ("r", None, "2"),
        ("r", None, None),
        (None, None, "3"),
    ]
    table = pd.DataFrame(rows, columns=["repository", "image_digest", "tag"], dtype="str")
    assert image_names(table).tolist()[:3] == ["r@sha256:1", "r:2", "r"]
    assert image_names(table).isna().tolist() == [False, False, False, True]


REPLICAS = [
    {
        "workload_id": "a1",
        "service_id": "a",
        "host_id": "h1",
        "state": "running",
        "registry": "docker.io",
        "repository": "r",
        "image_digest": "sha256:1",
        "cluster": "c",
    },
    {
        "workload_id": "a2",
        "service_id": "a",
        "host_id": "h2",
        "state": "running",
        "registry": "docker.io",
        "repository": "r",
        "image_digest": "sha256:1",
        "cluster": "c",
    },
    {
        "workload_id": "b1",
        "service_id": "b",
        "host_id": "h1",
        "state": "exited",
        "registry": "quay.io",
        "repository": "q",
        "tag": "7",
    },
]
HOSTS = [
    {"host_id": "h1", "az": "z1"},
    {"host_id": "h2", "az": "z2"},
    {"host_id": "h3", "az": "z2"},
]


def small_fleet(engines, **share):
    return fleet_of(
        services=[{"service_id": s, "min_healthy_pct": share.get(s)} for s in "ab"],
        hosts=HOSTS,
        workloads=REPLICAS,
        engines=engines,
        images=[
            {
                "registry": "docker.io",
                "repository": "r",
                "digest": "sha256:1",
                "host_id": "",
                "base_name": "debian:12",
            }
        ],
    )


def engine(host, mirrors=None, version="29.1.0"):
    return {
        "host_id": host,
        "runtime": "docker",
        "version": version,
        "mirrors_n": mirrors,
    }


def test_what_takes_a_service_down_directly():
    fleet = build_topology(small_fleet([engine("h1"), engine("h2")]), POLICY)
    point = {
        (r.element_kind, r.element, r.service_id)
        for r in fleet.direct["point"].itertuples()
    }
    assert point == {
        ("engine", "docker 29.1.0", "a"),
        ("image", "r@sha256:1", "a"),
        ("base_image", "debian:12", "a"),
        ("cluster", "c", "a"),
    }
    at_worst = fleet.initially_down(list(fleet.elements), "hi")
    itself = fleet.elements[at_worst[:, fleet.services.get_loc("b")]]
    assert set(itself.get_level_values(0)) == {
        "service",
        "host",
        "az",
        "engine",
        "image",
        "base_image",
        "cluster",
    }
    assert ("image", "q:7") in fleet.elements
    assert ("registry", "quay.io") in fleet.elements


def test_a_service_that_needs_all_its_replicas_falls_with_each_host():
    fleet = build_topology(small_fleet([engine("h1"), engine("h2")], a=100.0), POLICY)
    point = fleet.direct["point"]
    hosts = point.loc[point["element_kind"] == "host", "element"]
    assert hosts.tolist() == ["h1", "h2"]


def test_an_engine_of_unknown_version_may_be_any():
    fleet = build_topology(
        small_fleet([engine("h1"), engine("h2", version=None)]), POLICY
    )
    engines = {
        level: down.query("element_kind == 'engine' and service_id == 'a'")[
            "element"
        ].tolist()
        for level, down in fleet.direct.items()
    }
    assert engines == {"lo": [], "point": [], "hi": ["docker 29.1.0"]}


def test_a_replica_of_unknown_state_may_live_or_not():
    maybe = [{**REPLICAS[0]}, {**REPLICAS[1], "state": None}]
    inventory = fleet_of(services={"service_id": ["a"]}, hosts=HOSTS, workloads=maybe)
    fleet = build_topology(inventory, POLICY)
    hosts = {
        k: d.query("element_kind == 'host'")["element"].tolist()
        for k, d in fleet.direct.items()
    }
    assert hosts == {"lo": [], "point": ["h1"], "hi": ["h1"]}


@pytest.mark.parametrize(
    ("mirrors", "ids"),
    [((1, 1), []), ((1, 0), ["a"]), ((1, None), ["a"]), ((None, None), ["a"])],
)
def test_a_registry_freezes_what_no_mirror_serves(mirrors, ids):
    engines = [engine("h1", mirrors[0]), engine("h2", mirrors[1])]
    table = frozen(small_fleet(engines), POLICY)
    assert table.loc[table["element"] == "docker.io", "service_id"].tolist() == ids
    assert table.loc[table["element"] == "quay.io", "service_id"].tolist() == ["b"]


def test_replicas_without_a_host_cost_one_pair_an_element():
    hosts = [{"host_id": f"h{n}"} for n in range(40)]
    names = [f"s{n:02}" for n in range(30)]
    replicas = [
        {"workload_id": f"{name}/{n}", "service_id": name, "source_kind": "process"}
        for name in names
        for n in range(2)
    ]
    replicas = [{**row, "state": "running"} for row in replicas]
    # one of them has a host, so its service does not fall with each of the others
    replicas[0]["host_id"] = "h3"
    services = {"service_id": names}
    fleet = build_topology(
        fleet_of(services=services, hosts=hosts, workloads=replicas), POLICY
    )
    on_hosts = fleet.direct["hi"].query("element_kind == 'host'")
    assert on_hosts["element"].dropna().tolist() == ["h3"]
    assert len(on_hosts) == 1 + 29  # the others fall with any host
    element, _ = fleet.initial_failures["hi"]
    assert len(element) == 30 + 40 + 1
    down = fleet.initially_down([("host", "h3"), ("host", "h7")], "hi")
    assert down.sum(axis=1).tolist() == [30, 29]
    at_the_point = fleet.initially_down([("host", "h3"), ("host", "h7")], "point")
    assert not at_the_point.any()


def test_what_may_be_anywhere_costs_one_pair_an_element():
    hosts = [{"host_id": f"h{n}"} for n in range(40)]
    services = {"service_id": [f"s{n:02}" for n in range(30)]}
    inventory = fleet_of(services=services, hosts=hosts)
    fleet = build_topology(inventory, POLICY)
    assert fleet.direct["hi"].empty
    element, _ = fleet.initial_failures["hi"]
    assert len(element) == 30 + 40  # each service itself, and one pair for each host
    down = fleet.initially_down([("host", "h7"), ("service", "s03")], "hi")
    assert down.sum(axis=1).tolist() == [30, 1]
    elements = [("host", "h7"), ("service", "s03")]
    asked = fleet.reaches(elements, np.array([0, 1, 1]), np.array([29, 3, 4]))
    assert asked.tolist() == [True, True, False]
