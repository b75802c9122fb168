"""Fuzz the readers for as long as you like.

``python tests/fuzz/fuzzing.py --inputs 1000000 [TARGET ...]`` prints a line for each target, and
for each kind of failure the seed that shows it again: ``--first SEED --inputs 1``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

from spoiling import spoil
from targets import SECONDS, Target, copy, targets

JOINED = 25  # of so many inputs one is joined into frames, which takes far longer than to read it


@dataclass
class Outcome:
    """What fuzzing a target found."""

    name: str
    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # [CPU s], of one input
    failures: Counter[str] = field(default_factory=Counter)  # by kind
    examples: dict[str, int] = field(default_factory=dict)  # kind -> seed


def fuzz(name: str, inputs: int, first: int = 0) -> Outcome:
    """Read spoilt copies of a target's files, one file spoilt at a time."""
    target = targets()[name]
    outcome = Outcome(name)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(directory)
        copy(target, place)
        for seed in range(first, first + inputs):
            _try(target, place, seed, outcome)
    outcome.seconds = time.monotonic() - start
    return outcome


def _try(target: Target, place: Path, seed: int, outcome: Outcome) -> None:
    """Read one spoilt copy, and write down what came of it."""
    random = Random(f"{target.name} {seed}")
    file = random.choice(target.seeds)
    original = (target.home / file).read_bytes()
    (place / file).write_bytes(spoil(file.name, original, random))
    before = time.process_time()  # a machine that others use makes nothing slow
    try:
        found = target.read(place)
        if seed % JOINED == 0:
            target.join(found)
    except Exception as error:
        kind = _kind(error)
        outcome.failures[kind] += 1
        outcome.examples.setdefault(kind, seed)
    seconds = time.process_time() - before
    if seconds > SECONDS:
        outcome.failures["slow"] += 1
        outcome.examples.setdefault("slow", seed)
    outcome.slowest = max(outcome.slowest, seconds)
    outcome.inputs += 1
    (place / file).write_bytes(original)


def _kind(error: Exception) -> str:
    """Name an error by its class and the line of the package that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/assess/" in frame.filename] or frames
    place = Path(ours[-1].filename)
    return f"{type(error).__name__} {place.parent.name}/{place.name}:{ours[-1].lineno}"


def main() -> int:
    """Fuzz the named targets, or all, on all cores; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=1000, help="a target")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    wanted = parser.parse_args()
    names = wanted.targets or list(targets())
    work = partial(fuzz, inputs=wanted.inputs, first=wanted.first)
    failed = False
    with ProcessPoolExecutor(wanted.workers) as pool:
        for found in pool.map(work, names):
            each = found.seconds / max(found.inputs, 1) * 1000
            print(
                f"{found.name:32} {found.inputs:>9} inputs {each:8.1f} ms each, "
                f"slowest {found.slowest:.1f} s, {found.failures.total()} failures",
                flush=True,
            )
            for kind, n in found.failures.most_common():
                print(f"    {n:6} x {kind}, as with seed {found.examples[kind]}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
