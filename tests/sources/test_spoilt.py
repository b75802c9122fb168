"""One bad value in a payload costs itself, and nothing vanishes in silence."""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from random import Random

import pytest

from assess.config import load_config
from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.joining.merge import coverage_table
from assess.sources.run import join

FIXTURES = Path(__file__).parents[1] / "fixtures"
TABLES = [
    (t.type, t.options) for t in load_config(FIXTURES / "every_source.toml").sources
]
IDS = [f"{kind}-{options.get('format', 'dump')}" for kind, options in TABLES]
every_dump = pytest.mark.parametrize(("kind", "options"), TABLES, ids=IDS)
HALF = "\ud800"  # of a surrogate pair, as JSON writes it
GONE = object()
WRONG = [None, True, 3, 10**30, float("nan"), "x", HALF, [], [["x"]], {}]
CHECKED = ("ansible", "osquery", "incidents", "backstage")
MOST = 60  # entries of one table that are spoilt


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


def entries_of(value: object, path: tuple = ()) -> Iterator[tuple]:
    """List the paths of all entries of lists and of Ansible's tables, at any depth."""
    pairs = dict(enumerate(value)) if isinstance(value, list) else value
    pairs = pairs if isinstance(pairs, dict) else {}
    if isinstance(value, list) or path[-1:] in (("services",), ("packages",)):
        yield from ((*path, key) for key in pairs)
    for key, inner in pairs.items():
        yield from entries_of(inner, (*path, key))


def with_entry(payload: object, path: tuple, entry: object) -> object:
    """Return a payload with another entry at a path; without it where the entry is `GONE`."""
    payload = copy.deepcopy(payload)
    parent = payload
    for key in path[:-1]:
        parent = parent[key]
    if entry is GONE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = entry
    return payload


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
    batch = collect(kind, options, tmp_path)
    tables = joined(kind, batch)
    for frame, table in tables.items():
        assert HALF not in table.astype(object).to_csv(), frame
    # samples of use are of containers that other sources list: alone they make no table
    assert batch.usage if kind == "usage" else len(tables) > 1


def rows_n(batch: Batch) -> Counter:
    return Counter({frame: len(rows) for frame, rows in batch.rows.items() if rows})


def hints(batch: Batch) -> set[str]:
    return {str(row.get("hint")) for row in batch.coverage}


def unmapped_n(batch: Batch) -> int:
    return sum(row.get("unmapped_n") or 0 for row in batch.coverage)


def positions(files: list[Path], random: Random) -> list[tuple[Path, tuple]]:
    """Choose entries of lists, of every list as many."""
    by_list: dict[tuple, list] = {}
    for file in files:
        for path in entries_of(json.loads(file.read_text(encoding="utf-8"))):
            shape = tuple(key for key in path if isinstance(key, str))
            by_list.setdefault((file.name, shape), []).append((file, path))
    for entries in by_list.values():
        random.shuffle(entries)
    rounds = zip_longest(*by_list.values())
    return [entry for each in rounds for entry in each if entry is not None][:MOST]


@pytest.mark.parametrize(
    ("kind", "options"),
    [(k, o) for k, o in TABLES if k in CHECKED],
    ids=[i for i, (k, _) in zip(IDS, TABLES, strict=True) if k in CHECKED],
)
def test_a_spoilt_entry_of_a_list_costs_itself_and_is_counted(kind, options, tmp_path):
    random = Random(13)
    files = copied(options, tmp_path)
    whole = collect(kind, options, tmp_path)
    for file, path in positions(files, random):
        text = file.read_text(encoding="utf-8")
        payload = json.loads(text)

        def spoilt(entry, file=file, path=path, payload=payload) -> Batch:
            file.write_text(json.dumps(with_entry(payload, path, entry)))
            return collect(kind, options, tmp_path)

        without = spoilt(GONE)
        for entry in random.sample(WRONG, 4):
            batch = spoilt(entry)
            where = (file.name, path, entry)
            assert not rows_n(without) - rows_n(batch), where  # it costs only itself
            if rows_n(whole) - rows_n(batch):
                assert unmapped_n(batch) > unmapped_n(without), where
                assert hints(batch) != hints(whole), where
        file.write_text(text)
