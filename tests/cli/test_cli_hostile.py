"""A fleet whose names are hostile, through every command that shows them and every format."""

import csv
import io
import json
import unicodedata

import pandas as pd
import pytest

import assess

PARTS = [
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "\rerror: forged",
    "\nerror: forged",
    "\u2028forged",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "x\r=1+1",
    '"quoted", and | piped',
    "https://evil.test www.evil.test me@evil.test",
    "![x](http://evil.test/x.png) <script>alert(1)</script>",
]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COMMANDS = [
    ("show", ".", "services"),
    ("show", ".", "coverage"),
    ("coverage", "."),
    ("validate", "."),
    ("score", ".", "readiness"),
    ("check", ".", "--min-readiness", "100"),
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile") / "snapshot"
    services = pd.DataFrame({"service_id": PARTS, "owner": PARTS, "name": PARTS})
    coverage = pd.DataFrame({"run_id": "r", "source": "docker", "scope": PARTS})
    coverage = coverage.assign(call=PARTS, status="denied", hint=PARTS)
    tables = {"services": services, "coverage": coverage}
    inventory = assess.from_frames(tables, snapshot_at="2026-09-30")
    return assess.store.write_snapshot(inventory, place, format="csv")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("form", ["text", "markdown", "csv", "json"])
def test_no_format_of_any_command_does_harm(call, hostile, monkeypatch, command, form):
    monkeypatch.chdir(hostile)
    code = 3 if command[0] == "check" else 0
    result = call(*command, "--format", form, code=code)
    assert controls(result.stderr) == set()
    assert "\nerror: forged" not in result.stderr
    if form == "json":
        json.loads(result.stdout)
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(result.stdout, newline=""), strict=True))
        assert {len(row) for row in rows} <= {len(rows[0])}
        cells = [cell for row in rows for cell in row if not is_number(cell)]
        assert not any(part.startswith(FORMULA) for c in cells for part in c.split("\r"))
    else:
        assert controls(result.stdout) == set()
    if form == "markdown":
        for link in ("://", "www.", "@evil", " ![", "<script"):
            assert link not in result.stdout


def controls(text):
    return {c for c in text if unicodedata.category(c)[0] == "C"} - {"\n"}


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", PARTS)
def test_an_explanation_of_a_hostile_name_is_harmless(call, hostile, monkeypatch, name):
    monkeypatch.chdir(hostile)
    result = call("explain", "--score", "readiness", ".", "--", name)
    assert controls(result.stdout + result.stderr) == set()


def test_an_error_about_a_hostile_name_is_harmless(call, hostile, monkeypatch):
    monkeypatch.chdir(hostile)
    result = call("explain", ".", "\x1b[2J\u202enobody", code=1)
    assert controls(result.stderr) == set()
    with pytest.raises(assess.AssessError) as error:
        assess.load(hostile / "\x1b[2J\u202enowhere")
    assert controls(str(error.value) + error.value.hint) == set()


def test_a_hostile_snapshot_loads_as_it_was_written(hostile):
    assert list(assess.load(hostile)["services"]["owner"]) == PARTS
