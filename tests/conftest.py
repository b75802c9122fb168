"""What the tests have in common: which of them stay together on one worker."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ENGINES = "tests/engine/"


class ByFile(LoadScopeScheduling):
    """Keep a file's tests together, a notebook's cells too, and all that share real engines."""

    def _split_scope(self, nodeid: str) -> str:
        return ENGINES if nodeid.startswith(ENGINES) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Hand the tests out."""
    return ByFile(config, log)
