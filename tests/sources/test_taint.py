"""A marker at every text of every recorded payload reaches only the columns that a table lists.

The table is ``tests/fixtures/taint.csv``: the source, the key of its payload (positions and names
of maps are ``*``), and the columns that its text reaches. Read each new row before you add it:
``ASSESS_WRITE_TAINT=1 pytest tests/sources/test_taint.py`` writes the table anew.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from assess.config import load_config
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline

FIXTURES = Path(__file__).parents[1] / "fixtures"
TABLE = FIXTURES / "taint.csv"
TABLES = load_config(FIXTURES / "every_source.toml").sources
IDS = [f"{table.type}-{table.options.get('format', 'dump')}" for table in TABLES]
GROUP = 8  # keys marked together; a marked discriminator hides what else is in its entry
ROUNDS = 3  # each key in other company each time
# NAME= of a variable stays before the marker
ASSIGNED = re.compile(r"(?:[A-Za-z_][\w.-]*=)?")
MARKER = re.compile(r"taint(\d{4})x")


def keys_of(value, key=""):
    """List the texts of a payload, each with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            is_map = not re.fullmatch(r"[A-Za-z][A-Za-z_:]*", name)
            yield from keys_of(inner, f"{key}.{'*' if is_map else name}")
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner, f"{key}.*")
    elif isinstance(value, str) and value:
        yield key


def marked(value, markers, key=""):
    """Replace the texts of some keys by the marker of their key."""
    if isinstance(value, dict):
        changed = {}
        for name, inner in value.items():
            is_map = not re.fullmatch(r"[A-Za-z][A-Za-z_:]*", name)
            changed[name] = marked(inner, markers, f"{key}.{'*' if is_map else name}")
        return changed
    if isinstance(value, list):
        return [marked(inner, markers, f"{key}.*") for inner in value]
    if isinstance(value, str) and key in markers:
        return ASSIGNED.match(value)[0] + markers[key]
    return value


def payloads(options):
    """Read the JSON payloads of a table by their place below the fixtures."""
    paths = options["path"] if isinstance(options["path"], list) else [options["path"]]
    places = [FIXTURES / path for path in paths]
    files = [f for p in places for f in ([p] if p.is_file() else sorted(p.rglob("*")))]
    read = {}
    for file in files:
        try:
            read[file] = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError):  # other formats, and payloads broken on purpose
            continue
    return files, read


def reached(kind, options, place):
    """Return the columns that the text of each key reaches, by key."""
    files, read = payloads(options)
    if not read:
        return {}
    for file in files:
        copy = place / file.relative_to(FIXTURES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            shutil.copy(file, copy)
    keys = sorted({key for payload in read.values() for key in keys_of(payload)})
    numbers = {key: n for n, key in enumerate(keys)}
    columns = defaultdict(set)
    for number in range(ROUNDS):
        order = Random(number).sample(keys, len(keys))
        for start in range(0, len(order), GROUP):
            group = order[start : start + GROUP]
            markers = {key: f"taint{numbers[key]:04}x" for key in group}
            for file, payload in read.items():
                text = json.dumps(marked(payload, markers))
                (place / file.relative_to(FIXTURES)).write_text(text, encoding="utf-8")
            batch = homes()[kind].load()().collect(options, place, Deadline(60))
            for name, key in found(batch):
                columns[keys[key]].add(name)
    return columns


def found(batch):
    """List the columns and the numbers of the markers in them."""
    listed = [(frame, row) for frame, rows in batch.rows.items() for row in rows]
    listed += [("coverage", row) for row in batch.coverage]
    for frame, row in listed:
        for column, value in row.items():
            for number in MARKER.findall(repr(value)):
                yield f"{frame}.{column}", int(number)


def table():
    """Read the table: by source the columns by key."""
    rows = defaultdict(dict)
    if TABLE.exists():
        with TABLE.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows[row["source"]]["." + row["key"] if row["key"] else ""] = set(
                    row["columns"].split()
                )
    return rows


@pytest.mark.parametrize("number", range(len(TABLES)), ids=IDS)
def test_a_text_reaches_only_the_columns_of_the_table(number, tmp_path):
    columns = reached(TABLES[number].type, TABLES[number].options, tmp_path)
    if os.environ.get("ASSESS_WRITE_TAINT"):
        write(IDS[number], columns)
    allowed = table()[IDS[number]]
    new = {key: sorted(c - allowed.get(key, set())) for key, c in columns.items()}
    assert {key: c for key, c in new.items() if c} == {}


def write(source, columns):
    """Write the rows of a source anew."""
    rows = {**table(), source: columns}
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["source", "key", "columns"])
        for name in IDS:
            for key, listed in sorted(rows.get(name, {}).items()):
                writer.writerow([name, key.lstrip("."), " ".join(sorted(listed))])


# of a variable that names the service, or holds an address, the name or the host may pass
FROM_VARIABLES = re.compile(
    r"[a-z]+\.names|workloads\.secret_env_names|dependencies\.(src|dst)"
)
# and of one that a secret fills, a hint may say the name
NAMES = re.compile(r"(.*\.)?env\.\*\.name coverage\.hint")
VARIABLES = re.compile(
    r"(?i)\.(env|environment|args|command|cmd|entrypoint|password|token|message)(\.|$)"
)


def test_of_texts_that_may_hold_a_secret_only_names_pass():
    columns = [
        column
        for rows in table().values()
        for key, listed in rows.items()
        if VARIABLES.search(f".{key}") and not key.endswith("Ref.name")  # of an object
        for column in listed
        if not NAMES.fullmatch(f"{key} {column}")
    ]
    assert [c for c in columns if not FROM_VARIABLES.fullmatch(c)] == []
