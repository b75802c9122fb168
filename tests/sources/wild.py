"""Payloads in which any part may be anything, for tests that nothing breaks a source."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.sources.base import Batch

WILD = [
    None,
    True,
    -1,
    0,
    1.5,
    1e400,
    10**30,
    "",
    "\0",
    "a" * 300,
    "<b>",
    "9" * 400,
    "-5",
    "50%",
    "1628-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    [],
    {},
    [[]],
    [None, 3, "x", {}],
    {"a": 1},
    {"": {"": []}},
    [{"name": []}],
    {"Slot": {}},
]


def mutated(value, seed):
    """Give a payload with some of its parts replaced, as a number decides."""
    random = Random(seed)
    share = random.choice([0.01, 0.05, 0.2])

    def change(part):
        if random.random() < share:
            return random.choice(WILD)
        if isinstance(part, dict):
            return {name: change(inner) for name, inner in part.items()}
        return [change(inner) for inner in part] if isinstance(part, list) else part

    return change(value)


# A hundred payloads, twenty at a time: to type the rows takes longer than to make them.
SEEDS = st.integers(0, 2**32).map(lambda first: range(first, first + 20_000, 1000))


def whatever_comes(test):
    """Run a test with seeds, for payloads that are changed at random."""
    return settings(max_examples=5)(given(SEEDS)(test))


def fit(batches: list[Batch]) -> None:
    """Type all rows; what cannot be read is left out, and nothing breaks."""
    rows = defaultdict(list)
    for batch in batches:
        for frame, found in batch.rows.items():
            rows[frame] += found
    for frame, found in rows.items():
        frames.conform(frame, pd.DataFrame(found))
