"""One entry of a list that is spoiled never costs a row in silence, in any recorded payload."""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay import replaying
from test_requests import ANSWERS

from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.values import spoiled

FIXTURES = Path(__file__).parents[1] / "fixtures"
SOURCES = ("kubernetes", "nomad", "marathon", "ecs", "ecr", "ec2", "ssm")
FREE_TEXTS = ("command", "args", "entryPoint")
SPOILS = (None, True, 3, 1e400, "x", "", "hunter2", ["x"], [["x"]], [None], {})


def collect(kind: str, base: Path) -> Batch:
    return homes()[kind].load()().collect({"path": kind}, base, Deadline(20))


def sizes(batch: Batch) -> Counter:
    return Counter({frame: len(rows) for frame, rows in batch.rows.items()})


def unmapped(batch: Batch) -> Counter:
    """Count what could not be read, by scope and call."""
    counts = Counter()
    for row in batch.coverage:
        counts[row["scope"], row["call"]] += row.get("unmapped_n") or 0
    return counts


def entries(value, path=()):
    """List the ways to all entries of lists."""
    pairs = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
        yield from ((*path, n) for n in range(len(value)))
    for step, inner in pairs:
        yield from entries(inner, (*path, step))


def replaced(document, path, entry):
    document = copy.deepcopy(document)
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = entry
    return document


@cache
def places(kind: str) -> list[tuple[Path, tuple]]:
    files = sorted((FIXTURES / kind).rglob("*.json"))
    found = []
    for file in files:
        ways = entries(json.loads(file.read_text()))
        found += [(file.relative_to(FIXTURES), way) for way in ways]
    return found


@cache
def sound(kind: str) -> Batch:
    return collect(kind, FIXTURES)


@pytest.mark.parametrize("kind", SOURCES)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_spoiled_entry_that_costs_a_row_is_counted(kind, data, tmp_path):
    file, way = data.draw(st.sampled_from(places(kind)))
    spoil = data.draw(st.sampled_from(SPOILS))
    if isinstance(spoil, str) and not {*FREE_TEXTS}.isdisjoint(way[-2:]):
        return  # another text is as sound there
    base = Path(
        shutil.copytree(FIXTURES / kind, tmp_path / kind, dirs_exist_ok=True)
    ).parent
    document = json.loads((FIXTURES / file).read_text())
    (base / file).write_text(json.dumps(replaced(document, way, spoil)))
    batch = collect(kind, base)
    lost = sizes(sound(kind)) - sizes(batch)
    counted = unmapped(batch) - unmapped(sound(kind))
    assert counted or not lost
    for scope, call in counted:
        rows = [r for r in batch.coverage if (r["scope"], r["call"]) == (scope, call)]
        assert rows[0]["hint"]
        assert "hunter2" not in rows[0]["hint"]


def test_a_spoiled_word_of_a_command_is_counted(tmp_path):
    base = Path(shutil.copytree(FIXTURES / "kubernetes", tmp_path / "kubernetes")).parent
    file = base / "kubernetes/kubeadm.json"
    document = json.loads(file.read_text())
    way = ("items", 1, "spec", "containers", 0, "command", 26)
    file.write_text(json.dumps(replaced(document, way, None)))
    counted = unmapped(collect("kubernetes", base)) - unmapped(sound("kubernetes"))
    assert sum(counted.values()) == 1


# -- from servers --------------------------------------------------------------------------------


def ask(kind: str, answer, base: Path) -> tuple[Batch, dict]:
    """Collect from a server, and keep what it answered."""
    answers = {}

    def recorded(path, query):
        found = answer(path, query)
        key = (path, json.dumps(query))
        answers[key] = found if isinstance(found, tuple) else (200, found, {})
        return found

    with replaying(recorded) as server:
        options = {"endpoint": server.url, "cluster": "c"}
        if kind == "marathon":
            options["mesos_endpoint"] = server.url
        batch = homes()[kind].load()().collect(options, base, Deadline(20))
    for row in batch.coverage:
        row["scope"] = ""  # another port each time
    return batch, answers


@cache
def answered(kind: str) -> tuple[Batch, list]:
    batch, answers = ask(kind, ANSWERS[kind], FIXTURES)
    ways = [(key, way) for key, (_, body, _) in answers.items() for way in entries(body)]
    return batch, ways


@pytest.mark.parametrize("kind", ANSWERS)
@settings(max_examples=15)
@given(data=st.data())
def test_a_spoiled_entry_of_an_answer_that_costs_a_row_is_counted(kind, data):
    before, ways = answered(kind)
    spoiled_key, way = data.draw(st.sampled_from(ways))
    spoil = data.draw(st.sampled_from(SPOILS))

    def answer(path, query):
        found = ANSWERS[kind](path, query)
        code, body, headers = found if isinstance(found, tuple) else (200, found, {})
        if (path, json.dumps(query)) == spoiled_key:
            body = replaced(body, way, spoil)
        return code, body, headers

    batch, _ = ask(kind, answer, FIXTURES)
    lost = sizes(before) - sizes(batch)
    assert not lost or unmapped(batch) - unmapped(before)


# -- forms ---------------------------------------------------------------------------------------


FORMS = {"containers": "", "volumes": r"[^:]+:.+"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (None, "containers[1] is null"),
        (False, "containers[1] is true or false"),
        (3, "containers[1] is a number"),
        ("hunter2", "containers[1] is another text"),
        (["x"], "containers[1] is a list"),
        ({}, "containers[1] is another object"),
    ],
)
def test_what_an_entry_is_instead(entry, words):
    payload = {"spec": [{"containers": [{"name": "a"}, entry]}]}
    assert spoiled(payload, FORMS) == [words]


def test_texts_have_the_form_of_their_list():
    payload = {"volumes": ["a:/b", "/b", None, {"a": 1}], "containers": None}
    assert len(spoiled(payload, FORMS)) == 3


def test_the_shallowest_entry_is_the_first():
    payload = {"a": {"containers": [{"volumes": [3]}, None]}}
    assert spoiled(payload, FORMS) == ["containers[1] is null", "volumes[0] is a number"]
