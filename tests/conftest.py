"""What the tests have in common: which of them stay together on one worker."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, a notebook's cells too, and all that share real engines."""
    for item in items:
        is_shared = (HERE / "engine") in item.path.parents
        item.add_marker(pytest.mark.xdist_group("engine" if is_shared else str(item.path)))
