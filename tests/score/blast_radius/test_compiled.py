"""Compiled lanes against Python's own integers: the same bytes, cycles and all."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import AssessError
from assess.score.blast_radius import compiled
from assess.score.blast_radius import impact as falls
from assess.score.blast_radius.propagation import Graph, Sampling, Spread, spread
from assess.score.blast_radius.scenarios import Scenarios

PLAIN = Sampling(seed=1, draws=50, enumerate_up_to=2, block_mib=64, compiled=False)


@st.composite
def cases(draw):
    """A graph with cycles, some arcs uncertain, and scenarios of several nodes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    nodes, arcs, n = (
        draw(st.integers(1, 60)),
        draw(st.integers(0, 120)),
        draw(st.integers(1, 700)),
    )
    pairs = np.unique(rng.integers(0, nodes, (arcs, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    p = rng.choice(draw(st.sampled_from([(1.0,), (0.0, 0.5, 1.0)])), len(pairs))
    weight = rng.choice(
        draw(st.sampled_from([(0.0,), (0, 1, 8), (0.1, 2.5, 1e6)])), nodes
    )
    graph = Graph(
        nodes, *pairs.T, p, np.arange(len(pairs), dtype=np.uint64), weight * 1.0
    )
    seeds = np.unique(rng.integers(0, [n, nodes], (n + nodes, 2)), axis=0)
    return graph, Scenarios(
        *seeds.T, n, rng.random(n) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    )


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from([64, 1e-9]))
def test_compiled_lanes_give_the_same_bytes(case, block_mib):
    want = spread(*case, sampling=PLAIN)
    got = spread(*case, sampling=replace(PLAIN, compiled=True, block_mib=block_mib))
    for each in fields(Spread):
        assert getattr(want, each.name).tobytes() == getattr(got, each.name).tobytes(), (
            each.name
        )


def test_large_graphs_are_compiled_where_numba_is(monkeypatch):
    assert falls.chosen(falls.COMPILED_FROM + 1, compiled=None) is compiled.fall
    assert falls.chosen(falls.COMPILED_FROM, compiled=None) is falls.fall
    assert falls.chosen(falls.COMPILED_FROM + 1, compiled=False) is falls.fall
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert falls.chosen(falls.COMPILED_FROM + 1, compiled=None) is falls.fall
    with pytest.raises(AssessError) as caught:
        falls.chosen(1, compiled=True)
    assert "assess[fast]" in caught.value.hint
