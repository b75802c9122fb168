"""Paths from what fails to a service: by hand, and against every simple path."""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.result import most_probable_path, path_text
from assess.score.blast_radius.topology import build_topology

POLICY = load_policy()


def inventory_of(ids, arcs, **tables):
    rows = [
        {"src_id": s, "dst_id": d, "kind": "call", "evidence": "e", "p": p}
        for s, d, p in arcs
    ]
    frames = {
        "services": [{"service_id": s, "criticality": 1.0} for s in ids],
        "dependencies": rows,
        **tables,
    }
    frames = {name: pd.DataFrame(rows) for name, rows in frames.items() if rows}
    return from_frames(frames, snapshot_at="2026-09-30")


ARCS = [("b", "a", 0.5), ("c", "b", 0.5), ("c", "a", 0.2), ("d", "c", 1.0)]


def test_the_most_probable_chain_wins():
    steps = most_probable_path(
        build_topology(inventory_of("abcde", ARCS), POLICY), ("service", "a"), "d"
    )
    assert steps["service_id"].tolist() == ["b", "c", "d"]
    assert steps["p"].tolist() == [0.5, 0.5, 1.0]  # .25, and .2 by the short cut
    assert path_text(steps) == "a -> b -> c -> d"


def test_a_chain_from_outside_begins_with_its_name_alone():
    fleet = build_topology(inventory_of("a", [("a", "ext:mail.example", 0.5)]), POLICY)
    steps = most_probable_path(fleet, ("ext", "ext:mail.example"), "a")
    assert path_text(steps) == "mail.example -> a"


def test_of_equal_chains_the_shortest():
    arcs = [("b", "a", 1.0), ("c", "b", 1.0), ("c", "a", 1.0)]
    steps = most_probable_path(
        build_topology(inventory_of("abc", arcs), POLICY), ("service", "a"), "c"
    )
    assert path_text(steps) == "a -> c"


def test_no_chain_is_empty():
    fleet = build_topology(inventory_of("abcde", ARCS), POLICY)
    assert most_probable_path(fleet, ("service", "a"), "e").empty
    assert most_probable_path(fleet, ("service", "d"), "a").empty
    assert path_text(most_probable_path(fleet, ("service", "a"), "e")) == ""


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(list(itertools.permutations("abcd", 2))),
        st.sampled_from([0.1, 0.5, 0.9, 1.0]),
        min_size=1,
        max_size=8,
    )
)
def test_no_simple_path_is_more_probable(p):
    fleet = build_topology(
        inventory_of("abcd", [(s, d, q) for (s, d), q in p.items()]), POLICY
    )
    paths = [
        ("a", *mid, "d") for n in range(3) for mid in itertools.permutations("bc", n)
    ]
    best = max(
        math.prod(p.get((src, dst), 0) for dst, src in itertools.pairwise(path))
        for path in paths
    )
    steps = most_probable_path(fleet, ("service", "a"), "d")
    assert (steps["p"].prod() if len(steps) else 0) == pytest.approx(best)


def dijkstra_by_hand(p, start):
    """Probability of the most probable chain to each node, one node after the other."""
    best, queue = {start: 1.0}, [(-1.0, start)]
    while queue:
        chance, node = heapq.heappop(queue)
        for (src, dst), own in p.items():
            if dst == node and -chance * own > best.get(src, 0.0):
                best[src] = -chance * own
                heapq.heappush(queue, (-best[src], src))
    return best


def test_all_pairs_of_twenty_services_are_those_of_dijkstra_by_hand():
    rng = np.random.default_rng(7)
    names = [f"s{i:02}" for i in range(20)]
    pairs = [pair for pair in itertools.permutations(names, 2) if rng.random() < 0.15]
    p = {pair: float(rng.uniform(0.05, 1)) for pair in pairs}
    fleet = build_topology(
        inventory_of(names, [(*pair, q) for pair, q in p.items()]), POLICY
    )
    for start in names:
        best = dijkstra_by_hand(p, start)
        for end in set(names) - {start}:
            steps = most_probable_path(fleet, ("service", start), end)
            want = best.get(end, 0.0)
            assert (steps["p"].prod() if len(steps) else 0.0) == pytest.approx(want)


def test_a_pair_is_explained_in_words():
    places = {"a": "h", "d": "i"}
    placed = [
        {"workload_id": s, "service_id": s, "host_id": h, "state": "running"}
        for s, h in places.items()
    ]
    inventory = inventory_of(
        "ad",
        [("d", "a", 0.5)],
        workloads=placed,
        hosts=[{"host_id": "h"}, {"host_id": "i"}],
    )
    blast = score_blast_radius(inventory, POLICY, detail=False)
    said = blast.explain_path("host", "h", "d")
    assert said.title == "host h and d"
    assert said.text == (
        "d goes down with probability 0.50 (0.50 to 0.50); the likeliest path: "
        "host h -> a -> d."
    )
    assert said.table["p"].tolist() == [1.0, 0.5]
    assert blast.explain_path("host", "i", "a").text == (
        "No path: a stays up, by all that is known."
    )
    assert "it is what fails" in blast.explain_path("service", "a", "a").text
    with pytest.raises(AssessError, match="host:hh") as told:
        blast.explain_path("host", "hh", "d")
    assert "host:h" in told.value.hint
    with pytest.raises(AssessError, match="nobody"):
        blast.explain_path("host", "h", "nobody")


def test_what_takes_a_service_down_is_named_as_people_say_it():
    inventory = inventory_of("a", [("a", "ext:mail.example", 1.0)])
    text = score_blast_radius(inventory, POLICY, detail=False).explain("a").text
    assert "Each of these can take it down alone: outside mail.example." in text
