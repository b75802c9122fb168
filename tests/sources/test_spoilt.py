"""One bad value in a payload costs itself, and nothing vanishes in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import pytest

from assess.config import load_config
from assess.sources.base import Batch, Deadline
from assess.sources.catalogue import homes
from assess.sources.joining.merge import coverage_table
from assess.sources.run import join

FIXTURES = Path(__file__).parents[1] / "fixtures"
TABLES = [
    (t.type, t.options) for t in load_config(FIXTURES / "every_source.toml").sources
]
IDS = [f"{kind}-{options.get('format', 'dump')}" for kind, options in TABLES]
every_dump = pytest.mark.parametrize(("kind", "options"), TABLES, ids=IDS)
HALF = "\ud800"  # of a surrogate pair, as JSON writes it


def collect(kind: str, options: dict, base: Path) -> Batch:
    return homes()[kind].load()().collect(options, base, Deadline(30))


def joined(kind: str, batch: Batch) -> dict:
    tables, answers, notes = join([(kind, batch)], [])
    return tables | {"coverage": coverage_table([*answers, *notes], "run")}


def copied(options: dict, base: Path) -> list[Path]:
    """Copy what a table reads, and list its files of JSON."""
    paths = options["path"] if isinstance(options["path"], list) else [options["path"]]
    files: list[Path] = []
    for path in paths:
        target = base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        is_directory = (FIXTURES / path).is_dir()
        (shutil.copytree if is_directory else shutil.copy)(FIXTURES / path, target)
        files += target.rglob("*") if is_directory else [target]
    return [file for file in files if file.is_file() and is_json(file)]


def is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def with_halves(value: object, random: Random) -> object:
    """Append half of a surrogate pair to one text in twelve."""
    if isinstance(value, dict):
        return {key: with_halves(inner, random) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_halves(inner, random) for inner in value]
    is_spoilt = isinstance(value, str) and random.random() < 1 / 12
    return f"{value}{HALF}" if is_spoilt else value


@every_dump
def test_halves_of_surrogate_pairs_lose_no_collection(kind, options, tmp_path):
    random = Random(13)
    files = copied(options, tmp_path)
    for file in files:
        payload = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(with_halves(payload, random)), encoding="utf-8")
    tables = joined(kind, collect(kind, options, tmp_path))
    for frame, table in tables.items():
        assert HALF not in table.astype(object).to_csv(), frame
    assert len(tables) > 1
