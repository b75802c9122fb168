"""The engine against brute force: every outcome of every uncertain arc, one after the other."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assess.score.blast_radius import propagation
from assess.score.blast_radius.bitset import (
    Weights,
    bits_of,
    condense,
    flow_depth,
    sweep,
    to_words,
)
from assess.score.blast_radius.propagation import Impact, Scenarios, propagate
from assess.score.blast_radius.topology import Graph, arc_key
from assess.score.blast_radius.uncertain import Sampling, decide
from assess.score.blast_radius.undecided import Undecided

EXACT = Sampling(seed=1, draws=4000, enumerate_up_to=12, block_mib=64)
DRAWN = Sampling(seed=1, draws=4000, enumerate_up_to=0, block_mib=64)


def graph_of(nodes, arcs, weight=None):
    tail, head, p = (
        zip(*[(t, h, p) for (t, h), p in arcs.items()], strict=True) if arcs else [()] * 3
    )
    keys = [arc_key(str(t), str(h)) for t, h in zip(tail, head, strict=True)]
    weight = np.ones(nodes) if weight is None else np.array(weight, float)
    return Graph(
        nodes,
        np.array(tail, int),
        np.array(head, int),
        np.array(p, float),
        np.array(keys, np.uint64),
        weight,
    )


def from_each(graph, sampling):
    every = np.arange(graph.nodes)
    return propagate(graph, Scenarios(every, every, graph.nodes), sampling=sampling)


def reached(arcs, start):
    down, before = set(start), None
    while down != before:
        before = set(down)
        down |= {h for t, h in arcs if t in down}
    return down


def brute_force(nodes, arcs, start):
    """Probability of each node, over all outcomes."""
    p = np.zeros(nodes)
    for outcome in itertools.product([False, True], repeat=len(arcs)):
        chance = np.prod(
            [q if hit else 1 - q for hit, q in zip(outcome, arcs.values(), strict=True)]
        )
        live = [arc for arc, hit in zip(arcs, outcome, strict=True) if hit]
        p[list(reached(live, start))] += chance
    return p


@st.composite
def graphs(draw, p=(0.0, 0.25, 0.5, 1.0), most=7, sizes=(1, 5)):
    nodes = draw(st.integers(*sizes))
    pairs = [(t, h) for t in range(nodes) for h in range(nodes) if t != h]
    chosen = (
        draw(st.lists(st.sampled_from(pairs), max_size=most, unique=True))
        if pairs
        else []
    )
    return nodes, {arc: draw(st.sampled_from(p)) for arc in chosen}


def matrix(result, nodes):
    p = np.zeros((len(result.loss), nodes))
    p[result.scenario, result.node] = result.p
    return p


@settings(max_examples=60)
@given(graphs())
def test_few_uncertain_arcs_are_exact(case):
    nodes, arcs = case
    result = from_each(graph_of(nodes, arcs), EXACT)
    want = np.array([brute_force(nodes, arcs, [start]) for start in range(nodes)])
    np.testing.assert_allclose(matrix(result, nodes), want, atol=1e-12)
    np.testing.assert_allclose(result.loss, want.sum(axis=1), atol=1e-12)
    assert result.exact.all()
    assert (result.se == 0).all()


@settings(max_examples=25)
@given(graphs(p=(0.3, 0.5, 1.0)))
def test_draws_stay_within_their_error(case):
    nodes, arcs = case
    result = from_each(graph_of(nodes, arcs), DRAWN)
    want = np.array([brute_force(nodes, arcs, [start]).sum() for start in range(nodes)])
    assert (np.abs(result.loss - want) <= 5 * result.se + 1e-9).all()
    assert (result.exact == (result.se == 0)).all() or (
        result.se[~result.exact] >= 0
    ).all()


def test_a_diamond_of_halves_is_seven_sixteenths():
    arcs = dict.fromkeys([(0, 1), (0, 2), (1, 3), (2, 3)], 0.5)
    result = from_each(graph_of(4, arcs), EXACT)
    assert matrix(result, 4)[0, 3] == 0.4375
    drawn = from_each(graph_of(4, arcs), DRAWN)
    assert not drawn.exact[0]
    assert drawn.exact[3]
    assert abs(matrix(drawn, 4)[0, 3] - 0.4375) < 0.03


def test_a_higher_probability_never_saves_a_node_in_any_draw():
    rng = np.random.default_rng(3)
    arcs = {(int(t), int(h)): 0.4 for t, h in rng.integers(0, 12, (40, 2)) if t != h}
    low = matrix(from_each(graph_of(12, arcs), DRAWN), 12)
    high = matrix(from_each(graph_of(12, dict.fromkeys(arcs, 0.45)), DRAWN), 12)
    assert (high >= low).all()
    assert (high > low).any()


@settings(max_examples=25)
@given(graphs(sizes=(9, 40), most=60), st.sampled_from([0, 2, 12]))
def test_memory_changes_nothing(case, few):
    graph = graph_of(*case)
    whole = from_each(graph, Sampling(1, 100, few, 64))
    blocks = from_each(graph, Sampling(1, 100, few, 1e-9))  # of eight scenarios
    for each in fields(Impact):
        assert getattr(whole, each.name).tobytes() == getattr(blocks, each.name).tobytes()


def test_several_nodes_can_fail_in_one_scenario():
    graph = graph_of(4, {(0, 2): 0.5, (1, 2): 0.5, (2, 3): 1.0})
    result = propagate(
        graph, Scenarios(np.zeros(2, int), np.arange(2), 1), sampling=EXACT
    )
    assert result.loss[0] == pytest.approx(2 + 0.75 + 0.75)


@settings(max_examples=60)
@given(graphs(p=(1.0,), most=12))
def test_sweep_is_reachability(case):
    nodes, arcs = case
    own = [1 << node for node in range(nodes)]
    tail, head = (np.array([arc[end] for arc in arcs], int) for end in (0, 1))
    want = [
        sum(1 << s for s in range(nodes) if n in reached(arcs, [s])) for n in range(nodes)
    ]
    parts = condense(nodes, tail, head)
    seeds = {}
    for node, bits in enumerate(own):
        seeds[parts.part[node]] = seeds.get(parts.part[node], 0) | bits
    down = dict(sweep(parts, seeds))
    assert [down[part] for part in parts.part] == want


@settings(max_examples=60)
@given(
    st.integers(1, 1200),  # more than a tile
    st.lists(
        st.tuples(
            st.integers(0, 2**70 - 1), st.sampled_from([0, 1, 2, 3, 8, 1000, 2**30])
        )
    ),
    st.sampled_from([1.0, 0.1]),
)
def test_weighing_adds_up(width, rows, unit):
    flags = np.array([[row >> bit % 70 & 1 for bit in range(width)] for row, _ in rows])
    flags = flags.reshape(len(rows), width) > 0
    weights = np.array([weight * unit for _, weight in rows], float)
    node = np.arange(len(rows))
    words = to_words(flags)
    found = Weights.of(weights).totals(node, words, width)
    np.testing.assert_allclose(found, weights @ flags, rtol=1e-9, atol=1e-3 * unit)
    both = Weights.of(np.array([weights, np.ones(len(rows))])).totals(node, words, width)
    np.testing.assert_allclose(both[0], found)
    np.testing.assert_array_equal(both[1], flags.sum(axis=0))


def test_sums_of_whole_numbers_are_exact_beyond_single_precision():
    weights = np.array([2.0**24, 1.0, 1.0])
    flags = np.ones((3, 1), bool)
    found = Weights.of(weights).totals(np.arange(3), to_words(flags), 1)
    assert found.tolist() == [2.0**24 + 2]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_words_keep_bits(flags):
    assert (
        bits_of(to_words(np.array([flags])), len(flags))[0].astype(bool).tolist() == flags
    )


@settings(max_examples=25)
@given(graphs(p=(0.0, 0.3, 1.0)))
def test_counts_are_those_of_the_list(case):
    nodes, arcs = case
    result = from_each(graph_of(nodes, arcs), EXACT)
    p = matrix(result, nodes)
    assert result.reached_n.tolist() == (p > 0).sum(axis=1).tolist()
    assert result.exposure_n.tolist() == (p >= 0.5).sum(axis=0).tolist()
    every, listed = np.arange(nodes), np.arange(nodes) % 2 == 0
    some = propagate(
        graph_of(nodes, arcs), Scenarios(every, every, nodes, listed), sampling=EXACT
    )
    np.testing.assert_array_equal(matrix(some, nodes), p * listed[:, None])
    for name in ("loss", "reached_n", "exposure_n"):
        np.testing.assert_array_equal(getattr(some, name), getattr(result, name))


@settings(max_examples=40)
@given(graphs(p=(0.0, 0.3, 0.5, 1.0), most=9), st.data())
def test_what_is_not_drawn_is_bounded_from_both_sides(case, data):
    nodes, arcs = case
    graph, every = graph_of(nodes, arcs, np.arange(1.0, nodes + 1)), np.arange(nodes)
    drawn = np.array(data.draw(st.lists(st.booleans(), min_size=nodes, max_size=nodes)))
    failing = Scenarios(every, every, nodes, drawn=drawn)
    few = Sampling(seed=1, draws=50, enumerate_up_to=1, block_mib=64)
    least, most = (propagate(graph, failing, sampling=few, most=m) for m in (False, True))
    want = np.array([brute_force(nodes, arcs, [start]) for start in range(nodes)])
    bounded = np.isnan(least.se)
    assert not (bounded & drawn).any()
    assert not least.exact[bounded].any()
    low, high = matrix(least, nodes), matrix(most, nodes)
    assert (low[bounded] <= want[bounded] + 1e-12).all()
    assert (high[bounded] >= want[bounded] - 1e-12).all()
    assert ((low[bounded] > 0) == (want[bounded] > 0)).all()
    np.testing.assert_allclose(
        low[bounded] @ graph.weight, least.loss[bounded], atol=1e-9
    )
    assert (least.loss[bounded] <= want[bounded] @ graph.weight + 1e-9).all()
    assert (most.loss[bounded] >= want[bounded] @ graph.weight - 1e-9).all()
    for name in ("loss", "p"):
        left = getattr(least, name), getattr(most, name)
        where = ~bounded if name == "loss" else ~bounded[least.scenario]
        np.testing.assert_array_equal(left[0][where], left[1][where])


def test_the_bound_is_the_most_probable_way():
    arcs = {(0, 1): 0.5, (1, 2): 0.5, (0, 2): 0.2, (2, 0): 0.9, (2, 3): 1.0}
    graph, every = graph_of(4, arcs), np.arange(4)
    failing = Scenarios(every, every, 4, drawn=np.zeros(4, bool))
    found = propagate(graph, failing, sampling=Sampling(1, 50, 0, 64))
    assert matrix(found, 4)[0].tolist() == [1.0, 0.5, 0.25, 0.25]
    assert found.loss[0] == 2.0
    assert found.exposure_n.tolist() == [2, 2, 2, 3]


@settings(max_examples=30)
@given(graphs(p=(0.0, 0.3, 0.5, 1.0), most=9), st.booleans())
@example((4, {(0, 1): 0.5, (1, 2): 0.5, (2, 3): 0.3, (0, 3): 0.5}), True)
@example((4, {(0, 1): 0.5, (1, 2): 0.5, (2, 3): 0.3, (0, 3): 0.5}), False)
def test_long_ways_are_followed_to_the_same_end(case, is_drawn):
    nodes, arcs = case
    graph = graph_of(nodes, arcs, np.arange(1.0, nodes + 1))
    every = np.arange(nodes)
    failing = Scenarios(every, every, nodes, drawn=np.full(nodes, is_drawn))
    few = Sampling(seed=1, draws=100, enumerate_up_to=1, block_mib=64)
    by_level = propagate(graph, failing, sampling=few)
    room = "assess.score.blast_radius.undecided."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{room}DEEP", -1)
        by_step = propagate(graph, failing, sampling=few)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{room}WAYS_AN_ARC", 0)
        patch.setattr(f"{room}SHARE", 0.0)
        side_by_side = propagate(graph, failing, sampling=few)
    for each in fields(Impact):
        found = getattr(by_level, each.name).tobytes()
        assert getattr(by_step, each.name).tobytes() == found
        assert getattr(side_by_side, each.name).tobytes() == found


@pytest.mark.parametrize("arcs", [{(0, 1): 0.0}, {(0, 1): 0.0, (0, 2): 0.5}])
@pytest.mark.parametrize("names", [{"DEEP": -1}, {"WAYS_AN_ARC": 0, "SHARE": 0.0}])
def test_what_only_closed_ways_lead_to_stays_up_by_every_way_of_counting(arcs, names):
    nodes = 1 + max(map(max, arcs))
    graph = graph_of(nodes, arcs)
    certain = np.arange(nodes)[None] == 0
    undecided = Undecided.of(graph, certain, np.ones((1, nodes), bool))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setattr(f"assess.score.blast_radius.undecided.{name}", value)
        found = decide(undecided, EXACT)
    assert found.p.tolist() == [arcs.get((0, node), 0.0) for node in range(1, nodes)]


def test_what_is_not_among_the_given_nodes_leads_nowhere():
    graph = graph_of(3, {(2, 0): 0.3, (1, 0): 0.3})
    chosen = np.array([0, 1])
    possible = np.ones((1, 2), bool)
    found = Undecided.of(graph, ~possible, possible, chosen)
    (way,) = found.arc
    assert graph.tail[way] == 1
    assert found.node[found.tail].tolist() == [1]


@settings(max_examples=30)
@given(graphs(p=(0.0, 0.3, 1.0), most=6), st.data())
def test_where_some_nodes_are_given_nothing_else_can_fail(case, data):
    nodes, arcs = case
    graph = graph_of(nodes, arcs)
    some = data.draw(st.lists(st.integers(0, nodes - 1), unique=True)) if nodes else []
    chosen = np.sort(np.array(some, dtype=int))
    cells = st.lists(st.booleans(), min_size=2 * nodes, max_size=2 * nodes)
    possible = np.array(data.draw(cells), dtype=bool).reshape(2, nodes)
    possible[:, ~np.isin(np.arange(nodes), chosen)] = False
    certain = possible & np.array(data.draw(cells), dtype=bool).reshape(2, nodes)
    whole = Undecided.of(graph, certain, possible)
    part = Undecided.of(graph, certain[:, chosen], possible[:, chosen], chosen)
    for each in fields(Undecided):
        np.testing.assert_array_equal(getattr(part, each.name), getattr(whole, each.name))
    # by hand: a way leads to a cell from what can fail in its scenario, else from no cell
    ways = {
        (s, arc)
        for s in range(2)
        for arc, (tail, head) in enumerate(zip(graph.tail, graph.head, strict=True))
        if graph.p[arc] > 0 and possible[s, tail] and possible[s, head]
        if not certain[s, head]
    }
    assert set(zip(whole.scenario[whole.head], whole.arc, strict=True)) == ways
    at_once = certain[whole.scenario[whole.head], graph.tail[whole.arc]]
    np.testing.assert_array_equal(whole.tail < 0, at_once)


@settings(max_examples=30)
@given(graphs(p=(0.0, 0.3, 0.5, 1.0), most=9))
def test_many_open_nodes_are_bounded_without_their_ways(case):
    nodes, arcs = case
    graph = graph_of(nodes, arcs, np.arange(1.0, nodes + 1))
    every = np.arange(nodes)
    none = np.zeros(nodes, bool)
    failing = Scenarios(every, every, nodes, listed=none, drawn=none)
    wide = Sampling(seed=1, draws=50, enumerate_up_to=1, block_mib=64, ways_most=0)
    least = propagate(graph, failing, sampling=wide)
    most = propagate(graph, failing, sampling=wide, most=True)
    want = [brute_force(nodes, arcs, [start]) @ graph.weight for start in every]
    assert (least.loss <= np.array(want) + 1e-9).all()
    assert (most.loss >= np.array(want) - 1e-9).all()
    assert (least.next_hi >= most.loss).all()
    np.testing.assert_array_equal(np.isnan(least.se), least.loss < most.loss)
    can = {arc for arc, p in arcs.items() if p > 0}
    reach = [[end in reached(can, [start]) for end in every] for start in every]
    np.testing.assert_array_equal(most.reached_n, np.sum(reach, axis=1))
    np.testing.assert_array_equal(most.exposure_n, np.sum(reach, axis=0))


@settings(max_examples=30)
@given(graphs(p=(0.3, 0.5, 1.0), most=9), st.sampled_from([EXACT, DRAWN]))
def test_scenarios_computed_together_are_those_computed_alone(case, sampling):
    """Cycles included: what one scenario still has to settle changes no other."""
    nodes, arcs = case
    graph = graph_of(nodes, arcs, np.arange(1.0, nodes + 1))
    together = from_each(graph, sampling)
    for node in range(nodes):
        one = np.zeros(1, int)
        alone = propagate(graph, Scenarios(one, one + node, 1), sampling=sampling)
        for name in ("loss", "se", "exact", "reached_n", "next_lo", "next_hi"):
            assert getattr(alone, name)[0] == getattr(together, name)[node]
        assert matrix(alone, nodes)[0].tolist() == matrix(together, nodes)[node].tolist()


def test_draws_are_one_in_each_stratum():
    """Of 4,000 draws of an edge of 0.4, 1,600 fail: a Latin hypercube has no noise of its own."""
    found = from_each(graph_of(2, {(0, 1): 0.4}), DRAWN)
    assert matrix(found, 2)[0, 1] == 0.4
    assert found.loss[0] == 1.4
    # the variance of one draw is 0.4 * 0.6
    assert found.se[0] == pytest.approx(np.sqrt(0.24 / 3999))


@pytest.mark.parametrize(("most", "exact"), [(4, True), (3, False)])
def test_as_many_uncertain_arcs_as_are_enumerated_need_no_draw(most, exact):
    arcs = dict.fromkeys([(0, 1), (0, 2), (1, 3), (2, 3)], 0.5)
    failing = Scenarios(np.zeros(1, int), np.zeros(1, int), 1, drawn=np.zeros(1, bool))
    found = propagate(graph_of(4, arcs), failing, sampling=Sampling(1, 50, most, 64))
    assert found.exact.tolist() == [exact]
    assert matrix(found, 4)[0, 3] == (0.4375 if exact else 0.25)  # else the best path


def test_scenarios_of_one_cycle_count_as_often_as_they_are():
    arcs = {(0, 1): 1.0, (1, 2): 1.0, (2, 0): 1.0, (2, 3): 0.5, (2, 4): 0.4}
    found = from_each(graph_of(5, arcs), EXACT)
    assert found.exposure_n.tolist() == [3, 3, 3, 4, 1]
    pair = from_each(graph_of(3, {(0, 1): 1.0, (1, 0): 1.0, (1, 2): 0.5}), EXACT)
    assert pair.exposure_n.tolist() == [2, 2, 3]


@given(st.integers(1, 9), st.data())
def test_depth_is_the_longest_way_whatever_the_nodes_are_called(nodes, data):
    places = data.draw(st.permutations(range(nodes)))
    pairs = list(itertools.combinations(range(nodes), 2))
    arcs = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    want = [0] * nodes
    for tail, head in sorted(arcs):
        want[head] = max(want[head], want[tail] + 1)
    named = np.array([(places[t], places[h]) for t, h in arcs], int).reshape(-1, 2)
    found = flow_depth(nodes, named[:, 0], named[:, 1])
    assert found[places].tolist() == want


@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 64), st.data())
def test_a_block_is_cut_until_each_part_fits_or_is_a_byte(nodes, size, most, data):
    row = st.binary(min_size=size, max_size=size)
    can = np.frombuffer(b"".join(data.draw(row) for _ in range(nodes)), np.uint8)
    can = can.reshape(nodes, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagation, "UNCERTAIN_CELLS", most)
        parts = list(propagation._spans(can, 0, 8 * size))
    starts = [first for first, _, _ in parts]
    ends = [first + width for first, width, _ in parts]
    assert [*starts, 8 * size] == [0, *ends]
    for first, width, inside in parts:
        assert len(inside) * width <= most or width <= 8
        assert (
            inside.tolist()
            == np.flatnonzero(
                can[:, first // 8 : -(-(first + width) // 8)].any(axis=1)
            ).tolist()
        )
    # nothing is cut for nothing
    assert len(parts) == 1 or 8 * size * can.any(axis=1).sum() > most
