"""What is fuzzed: every source on its recorded payloads, snapshots, and the files a user writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import assess
from assess import image_ref
from assess.config import load_config
from assess.errors import AssessError
from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.joining.findings import name_findings
from assess.sources.joining.merge import to_tables

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
CANARY = "hunter2"  # the recorded payloads hold it wherever a real system puts a secret
SECONDS = 20.0  # that one input may take


@dataclass(frozen=True)
class Target:
    """A reader, and the files that it reads when nothing is spoilt."""

    name: str
    seeds: tuple[Path, ...]  # relative to ``home``
    home: Path
    read: Callable[[Path], Any]  # reads the copy of ``home``; raises for a defect
    join: Callable[[Any], None] = lambda _: None  # makes frames of what was read


def targets() -> dict[str, Target]:
    """Return all targets by name."""
    made = [*_sources(), _snapshot(), _policy(), _config(), _image_refs()]
    return {target.name: target for target in made}


def copy(target: Target, place: Path) -> None:
    """Copy the seeds of a target into a directory."""
    for seed in target.seeds:
        (place / seed).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(target.home / seed, place / seed)


def _below(home: Path, *names: str) -> tuple[Path, ...]:
    """List the files that names stand for, relative to ``home``."""
    files = []
    for name in names:
        place = home / name
        files += [place] if place.is_file() else sorted(place.rglob("*"))
    return tuple(file.relative_to(home) for file in files if file.is_file())


def _sources() -> list[Target]:
    found = []
    for number, table in enumerate(load_config(FIXTURES / "every_source.toml").sources):
        listed = table.options["path"]
        paths = listed if isinstance(listed, list) else [listed]
        name = f"{number:02}-{table.type}-{table.options.get('format', 'dump')}"
        # what a Compose file includes is read too
        names = [path.partition("/")[0] if "." in path else path for path in paths]
        seeds = _below(FIXTURES, *names)
        read = _reader(table.type, table.options)
        found.append(Target(name, seeds, FIXTURES, read, _joiner(table.type)))
    return found


def _reader(kind: str, options: dict) -> Callable[[Path], Batch]:
    def read(place: Path) -> Batch:
        batch = homes()[kind].load()().collect(options, place, Deadline(SECONDS))
        assert batch.coverage, "nothing says what was read"
        assert CANARY not in repr(batch.rows), "a secret reached a row"
        return batch

    return read


def _joiner(kind: str) -> Callable[[Batch], None]:
    def join(batch: Batch) -> None:
        tables, _ = to_tables(name_findings([(kind, batch)]), [])
        _quietly(lambda: assess.from_frames(tables, snapshot_at="2026-09-30"))

    return join


def _quietly(act: Callable[[], object]) -> None:
    """Do something for which a clear refusal is as good as success."""
    try:
        act()
    except AssessError as error:
        assert str(error), "an error without words"


def _snapshot() -> Target:
    def read(place: Path) -> None:
        _quietly(lambda: assess.score_readiness(assess.load(place), assess.load_policy()))

    home = ROOT / "data" / "sample" / "2026Q3"
    return Target("snapshot", _below(home, "."), home, read)


def _policy() -> Target:
    def read(place: Path) -> None:
        _quietly(lambda: assess.load_policy(place / "policy.toml"))

    return Target("policy", (Path("policy.toml"),), ROOT / "data", read)


def _config() -> Target:
    def read(place: Path) -> None:
        _quietly(lambda: load_config(place / "every_source.toml"))

    return Target("config", (Path("every_source.toml"),), FIXTURES, read)


def _image_refs() -> Target:
    def read(place: Path) -> None:
        for line in (place / "image_refs.txt").read_text(errors="replace").splitlines():
            image_ref.parse_image(line)

    home = Path(__file__).parent / "seeds"
    return Target("image_ref", (Path("image_refs.txt"),), home, read)
