"""Files that people edit, with any value in any place."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

VALUES = [
    "", "x", "(", "a.b", "2026-13-45", -1, 0, 1, 3, 0.5, 10**30, 1e308, float("inf"), float("nan"),
    True, False, [], [1], ["x"], ["("], [[]], [{}], [{"id": 1}], [{"id": ["x"]}], {}, {"a": 1},
    {"id": "x"}, datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), datetime.time(1),
]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the path of every value of a tree."""
    if not isinstance(tree, dict | list):
        return []
    found = []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def mutants(draw: st.DrawFn, make_tree: Callable[[], Any]) -> dict[str, Any]:
    """Draw a tree in which one or two values are replaced, removed or added."""
    mutant = make_tree()
    for _ in range(draw(st.integers(1, 2))):
        *above, key = draw(st.sampled_from(places(mutant)))
        part = mutant
        for step in above:
            part = part[step]
        value = copy.deepcopy(draw(st.sampled_from(VALUES)))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])):
            case "replace":
                part[key] = value
            case "remove":
                del part[key]
            case "add" if isinstance(part, list):
                part.append(value)
            case "add":
                part[draw(st.sampled_from(["x", "id", "C17", "tier_9"]))] = value
        if not places(mutant):
            break
    return mutant


def to_toml(value: Any, *, is_top: bool = True) -> str:
    """Write a tree as TOML, in one line a key of the top."""
    if isinstance(value, dict):
        pairs = [
            f"{json.dumps(k)} = {to_toml(v, is_top=False)}" for k, v in value.items()
        ]
        return "\n".join(pairs) if is_top else f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(to_toml(item, is_top=False) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
