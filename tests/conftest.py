"""What the tests have in common: which of them stay together on one worker, and their garbage."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# a busy machine is slow, which is no fault of what is tested
settings.register_profile(
    "assess", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("assess")

ENGINES = "tests/engine/"
# Few tests that take long: begun last, they would run alone while the other workers have nothing.
LONG = (
    ENGINES,
    "tests/cli/test_cli_score.py",
    "tests/report/test_report.py",
    "tests/score/upgrade_churn/test_replay.py",
    "tests/test_notebooks.py",
    "tests/score/test_hidden_evidence.py",
    "tests/test_examples.py",
    "tests/score/evidence/test_runtimes_alike.py",
    "tests/score/targets/test_targets.py",
    "tests/score/test_poor_inventories.py",
    "tests/test_figures_gallery.py",
)


class ByFile(LoadScopeScheduling):
    """Keep tests of a file together, cells of a notebook too, and all on real engines; `LONG` first."""

    def _split_scope(self, nodeid: str) -> str:
        return ENGINES if nodeid.startswith(ENGINES) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        waiting = [scope for scope in LONG if scope in self.workqueue]
        if waiting:
            self.workqueue.move_to_end(waiting[0], last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Hand the tests out."""
    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through ten thousand tests again and again.

    It took 26 of 176 seconds of `tests/cli/test_cli_score.py`, and takes 9 of 150 so.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
