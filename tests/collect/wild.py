"""Payloads in which any part may be anything, for tests that nothing breaks a source."""

from __future__ import annotations

from random import Random

WILD = [
    None, True, -1, 0, 1.5, 1e400, 10**30, "", "\0", "a" * 300, "<b>", "9" * 400, "-5", "50%",
    "1628-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", [], {}, [[]],
    [None, 3, "x", {}], {"a": 1}, {"": {"": []}}, [{"name": []}], {"Slot": {}},
]  # fmt: skip


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
