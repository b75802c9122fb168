"""Edges against a count one pair after another, for rows in any order."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.topology import edges

POLICY = load_policy()
KINDS = list(POLICY["edges"])
LEVELS = ["lo", "point", "hi"]


def some_rows(seed):
    """Rows of few pairs, so that most pairs have several; a few probabilities of their own."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    names = np.array(["a", "b", "c", "d"])
    return pd.DataFrame(
        {
            "src_id": rng.choice(names, n),
            "dst_id": rng.choice(names, n),
            "kind": rng.choice(KINDS, n),
            "evidence": [f"e{i}" for i in range(n)],
            "p": rng.choice([0.2, 0.35, 1.0, np.nan, np.nan, np.nan, np.nan], n),
            "possible": rng.choice(np.array([True, False, False, None], object), n),
        }
    )


def frame_of(rows):
    frames = {
        "services": pd.DataFrame({"service_id": ["a", "b", "c", "d"]}),
        "dependencies": rows,
    }
    return from_frames(frames, snapshot_at="2026-09-30")["dependencies"]


def kept(rows):
    """The rows of a pair that no other row of it covers, as (kind, own p, is possible)."""
    sure = {kind for kind, _, possible in rows if not possible}
    rows = [row for row in rows if not (row[2] and row[0] in sure)]
    own = {kind for kind, p, _ in rows if p is not None}
    given = [row for row in rows if row[1] is not None]
    usual = {row[0]: row for row in reversed(rows) if row[0] not in own}
    says_how = any(
        kind not in ("start_order", "unknown") and not possible
        for kind, _, possible in [*given, *usual.values()]
    )
    if says_how:
        usual.pop("start_order", None)
    return given, list(usual.values())


def by_hand(dependencies):
    """The levels of every pair, row by row."""
    pairs = defaultdict(list)
    for row in dependencies.itertuples():
        if row.src_id != row.dst_id:
            p = None if pd.isna(row.p) else row.p
            pairs[row.src_id, row.dst_id].append(
                (row.kind, p, pd.notna(row.possible) and bool(row.possible))
            )
    parts = {pair: kept(rows) for pair, rows in pairs.items()}
    hard = defaultdict(set)
    for (src, dst), (given, usual) in parts.items():
        for kind, _, possible in [*given, *usual]:
            if POLICY["edges"][kind]["a"] > 0 and not possible:
                hard[src].add(dst)
    found = {}
    for (src, dst), (given, usual) in sorted(parts.items()):
        needs_n = max(len(hard[src]), 1)
        levels = [
            (0.0 if possible else p, 0.0 if possible else p, p)
            for _, p, possible in given
        ]
        for kind, _, possible in usual:
            words = POLICY["edges"][kind]
            point = words["p"] if words["p"] >= 1 else words["p"] / needs_n ** words["a"]
            lo = min(words["lo"], point)
            levels.append(
                (0.0, 0.0, words["hi"]) if possible else (lo, point, words["hi"])
            )
        names = sorted({kind for kind, _, _ in [*given, *usual]})
        joint = [1 - math.prod(1 - level[at] for level in levels) for at in range(3)]
        found[src, dst] = (",".join(names), joint)
    return found


def test_edges_are_what_a_count_pair_by_pair_says():
    for seed in range(20):
        rows = frame_of(some_rows(seed))
        table = edges(rows, POLICY)
        wanted = by_hand(rows)
        pairs = list(zip(table["src"], table["dst"], strict=True))
        assert pairs == list(wanted)
        assert table["kinds"].tolist() == [kinds for kinds, _ in wanted.values()]
        if wanted:
            levels = [joint for _, joint in wanted.values()]
            assert table[LEVELS].to_numpy() == pytest.approx(np.array(levels))


def test_no_order_of_rows_moves_a_bit():
    """A product is rounded in its order: what has one in any order is sorted first."""
    rng = np.random.default_rng(5)
    own = rng.uniform(0, 1, 24)
    rows = pd.DataFrame(
        {
            "src_id": "a",
            "dst_id": "b",
            "kind": "call",
            "evidence": [f"e{i}" for i in range(24)],
            "p": own,
        }
    )
    usual = edges(frame_of(rows), POLICY)
    for _ in range(3):
        mixed = frame_of(rows.sample(frac=1, random_state=int(rng.integers(99))))
        pd.testing.assert_frame_equal(edges(mixed, POLICY), usual, check_exact=True)
