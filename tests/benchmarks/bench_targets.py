"""Every target of the policy for every service, beside the scores that it builds on.

``python tests/benchmarks/bench_targets.py [SERVICES …]`` prints CPU seconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import assess
from assess.sample import write_sample


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main(sizes: list[int]) -> None:
    """Print a row per size."""
    policy = assess.load_policy()
    sys.stdout.write("services | targets | readiness [s] | targets [s]\n")
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            write_sample(Path(place), services=size)
            fleet = assess.load(sorted(Path(place).iterdir())[-1])
        took, ready = seconds(lambda fleet=fleet: assess.score_readiness(fleet, policy))
        given = {
            "readiness": ready,
            "blast": assess.score_blast_radius(fleet, policy, detail=False),
            "churn": assess.score_upgrade_churn(fleet, policy),
        }
        whole, found = seconds(
            lambda fleet=fleet, given=given: assess.score_targets(fleet, policy, **given)
        )
        targets_n = found.frame.index.get_level_values("target").nunique()
        sys.stdout.write(f"{size} | {targets_n} | {took:.2f} | {whole:.2f}\n")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1000])
