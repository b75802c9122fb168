"""Files that are handed over: links, pipes and devices among them; what each may cost."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading

import pandas as pd
import pytest
from test_every_source import FIXTURES, IDS, TABLES, collect, paths, rows_n

from assess.config import Config, SourceConfig
from assess.errors import ConfigError
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.run import prepare

DIRECTORIES = [
    (kind, options)
    for kind, options in TABLES
    if any((FIXTURES / path).is_dir() for path in paths(options))
]
every_directory = pytest.mark.parametrize(
    ("kind", "options"),
    DIRECTORIES,
    ids=[f"{k}-{o.get('format')}" for k, o in DIRECTORIES],
)
every_table = pytest.mark.parametrize(("kind", "options"), TABLES, ids=IDS)


@pytest.fixture
def copied(tmp_path):
    """Copy what a table reads; gives the files that lie in a directory of it."""

    def copy(options):
        found = []
        for path in paths(options):
            place, own = FIXTURES / path, tmp_path / "in" / path
            own.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if place.is_dir() else shutil.copy)(place, own)
            found += [f for f in sorted(own.rglob("*")) if f.is_file()]
        return found

    return copy


def hints(batch):
    return [str(row.get("hint")) for row in batch.coverage]


# -- where they may be -----------------------------------------------------------------------


def link_files(files, elsewhere):
    for number, file in enumerate(files):
        target = elsewhere / str(number)
        shutil.move(file, target)
        file.symlink_to(target)


def link_directories(files, elsewhere):
    for number, directory in enumerate(sorted({file.parent for file in files})):
        for part in [p for p in directory.iterdir() if p.is_dir() and not p.is_symlink()]:
            target = elsewhere / f"{number}-{part.name}"
            shutil.move(part, target)
            part.symlink_to(target)


@every_directory
@pytest.mark.parametrize("link", [link_files, link_directories])
def test_links_that_lead_out_of_a_directory_are_refused_or_allowed(
    kind, options, link, copied, tmp_path
):
    files = copied(options)
    before = collect(kind, options, tmp_path / "in")
    (tmp_path / "out").mkdir()
    link(files, tmp_path / "out")
    if not any((tmp_path / "out").iterdir()):
        return  # there is no directory in it
    refused = collect(kind, options, tmp_path / "in")
    told = [row for row in refused.coverage if "allow_outside" in str(row.get("hint"))]
    assert told and all(row["status"] == "parse_error" for row in told)
    if link is link_files and all((tmp_path / "in" / p).is_dir() for p in paths(options)):
        assert rows_n(refused) == 0
    allowed = collect(kind, options | {"allow_outside": True}, tmp_path / "in")
    assert rows_n(allowed) == rows_n(before)
    assert not any("allow_outside" in hint for hint in hints(allowed))


@every_directory
def test_links_inside_a_directory_and_to_it_are_followed(kind, options, copied, tmp_path):
    files = copied(options)
    before = collect(kind, options, tmp_path / "in")
    for file in files:
        target = file.with_name(f".{file.name}.hidden")
        file.rename(target)
        file.symlink_to(target.name)
    shutil.move(tmp_path / "in", tmp_path / "real")
    (tmp_path / "in").symlink_to(tmp_path / "real")
    batch = collect(kind, options, tmp_path / "in")
    assert rows_n(batch) == rows_n(before)
    assert not any("allow_outside" in hint for hint in hints(batch))


def fifo(file):
    os.mkfifo(file)


def unix_socket(file):
    here = os.open(file.parent, os.O_RDONLY)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{file.name}")
    os.close(here)


def device(file):
    file.symlink_to("/dev/zero")


@every_directory
@pytest.mark.parametrize("special", [fifo, unix_socket, device])
def test_pipes_sockets_and_devices_are_refused(kind, options, special, copied, tmp_path):
    for file in copied(options):
        file.unlink()
        special(file)
    batch = in_time(kind, options | {"allow_outside": True}, tmp_path / "in")
    assert any("no regular file" in hint for hint in hints(batch))
    if all((tmp_path / "in" / p).is_dir() for p in paths(options)):
        assert rows_n(batch) == 0


@every_table
def test_a_path_that_is_a_device_is_refused(kind, options, tmp_path):
    suffix = {"compose": "", "docker": "info.json"}.get(kind, "zero.json")
    place = tmp_path / suffix if suffix else "/dev/zero"
    if suffix:
        place.symlink_to("/dev/zero")
    batch = in_time(kind, options | {"path": str(place)}, tmp_path)
    assert rows_n(batch) == 0
    assert not {row["status"] for row in batch.coverage} & {"ok"}
    assert all(hint != "None" for hint in hints(batch))


def in_time(kind, options, base):
    """Collect in a thread, which a pipe would hold for ever."""
    found = []
    thread = threading.Thread(
        target=lambda: found.append(collect(kind, options, base)), daemon=True
    )
    thread.start()
    thread.join(30)
    assert found, "it waits for ever, or failed"
    return found[0]


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in TABLES}))
def test_the_option_is_true_or_false(kind, tmp_path):
    for value, problem in ((True, None), ("yes", "allow_outside is true or false")):
        table = SourceConfig(kind, {"path": "x", "allow_outside": value})
        config = Config((table,), {}, tmp_path, "assess.toml")
        try:
            prepare(config, None, 1.0)
            found = ""
        except ConfigError as error:
            found = str(error)
        assert (problem in found) if problem else ("allow_outside" not in found)


# -- what they may cost ----------------------------------------------------------------------

CSV = {"format": "csv"}
MEMORY = 1 << 30
MB = 1 << 20


def filled(start, piece, megabytes, end=""):
    return lambda: start + piece * (megabytes * MB // len(piece)) + end


def numbered(start, piece, n, end=""):
    return lambda: start + "".join(piece.format(i) for i in range(n)) + end


INCIDENT = '{{"id":"{0}","created_at":"2026-07-01T00:00:00Z","service":{{"id":"a"}}}},'
QUESTIONS = ",".join(
    '{"text":"q","answers":[{"text":"a","selected":true}]}' for _ in range(500)
)
APPLICATIONS = ",".join(f'{{"id":{n},"name":"a{n}"}}' for n in range(2_000))
PAGERDUTY = {"format": "pagerduty"}
CHAOS = {"format": "chaostoolkit"}
HEAD = "id,service,opened\n"
ASKED = "service,question\n"
GAME_DAY = "id,element,started\n"
OPEN = '{"incidents":['
REFUSED = {  # kind, options, name of the file, its text
    "lists": ("traces", {}, "a.json", filled("[", "[],", 199, "[]]")),
    "objects": ("traces", {}, "a.json", filled("", '{"a":1,', 199)),
    "lines": ("kubernetes", {}, "a.jsonl", filled("", '{"a":1}\n', 199)),
    "numbers": ("docker", {}, "info.json", filled("[", "1,", 100, "1]")),
    "facts": ("ansible", {}, "a", filled("[", "{},", 100, "{}]")),
    "table": ("osquery", {}, "os_version.json", filled("[", "{},", 100, "{}]")),
    "wide": ("backstage", {}, "a.json", filled('["\U0001f600', "x" * 1024, 198, '"]')),
    "yaml": ("kubernetes", {}, "a.yaml", filled("", "- {}\n", 20)),
    "yaml-flow": ("kubernetes", {}, "a.yaml", filled("[", "a,", 31, "]")),
    "yaml-large": ("kubernetes", {}, "a.yaml", filled("a: ", "x" * 1024, 60)),
    "yaml-questions": ("answers", {}, "a.yaml", filled("[", "[],", 31, "]")),
    "incidents": (
        "incidents",
        {},
        "a.csv",
        numbered(HEAD, "{0},a,2026-01-01\n", 300_000),
    ),
    "short-rows": ("incidents", {}, "a.csv", filled(HEAD, "a\n", 60)),
    "long-header": (
        "incidents",
        {},
        "a.csv",
        lambda: "opened," + numbered("", "h{0},", 10_000)() + "\n" + "2026\n" * 90_000,
    ),
    "long-cell": (
        "incidents",
        {},
        "a.csv",
        filled(HEAD + '1,a,"', "\u20ac" * 512, 60, '"\n'),
    ),
    "empty-cells": (
        "experiments",
        {},
        "a.csv",
        filled("id,element\n", "," * 999 + "\n", 60),
    ),
    "answers": (
        "answers",
        {"format": "csv"},
        "a.csv",
        numbered(ASKED, "a,{0}\n", 200_000),
    ),
    "pagerduty": (
        "incidents",
        PAGERDUTY,
        "a.json",
        numbered(OPEN, INCIDENT, 200_000, "{}]}"),
    ),
    "journals": (
        "experiments",
        CHAOS,
        "a.json",
        numbered("[", '{{"run":[{0}]}},', 200_000, "{}]"),
    ),
    "archetype": (
        "answers",
        {},
        "a.json",
        lambda: (
            f'[{{"id":1,"name":"x","applications":[{APPLICATIONS}]}},'
            f'{{"archetype":{{"id":1}},"questionnaire":{{}},"sections":[{{"questions":[{QUESTIONS}]}}]}},{APPLICATIONS}]'
        ),
    ),
    "frame": ("frames", {}, "services.csv", numbered("service_id\n", "s{0}\n", 300_000)),
}
ACCEPTED = {  # what is nearly too much
    "keys": ("traces", {}, "a.json", numbered("{", '"k{0}":{0},', 4_500_000, '"k":1}')),
    "text": ("traces", {}, "a.json", filled('["', "x" * 1024, 199, '"]')),
    "yaml": ("kubernetes", {}, "a.yaml", numbered("", "k{0}: {0}\n", 390_000)),
    "incidents": (
        "incidents",
        {},
        "a.csv",
        numbered(HEAD, "{0},a,2026-07-01\n", 99_000),
    ),
    "experiments": (
        "experiments",
        {},
        "a.csv",
        numbered(GAME_DAY, "{0},a,2026-07-01\n", 99_000),
    ),
    "answers": (
        "answers",
        {"format": "csv"},
        "a.csv",
        numbered(ASKED, "a,{0}\n", 50_000),
    ),
    "pagerduty": (
        "incidents",
        PAGERDUTY,
        "a.json",
        numbered(OPEN, INCIDENT, 50_000, "{}]}"),
    ),
    "frame": ("frames", {}, "services.csv", numbered("service_id\n", "s{0}\n", 99_000)),
}
SCRIPT = """
import json, sys
from pathlib import Path
from assess.sources.deadline import Deadline
from assess.sources.catalogue import homes
source = homes()[sys.argv[1]].load()()
batch = source.collect(json.loads(sys.argv[2]), Path(sys.argv[3]), Deadline(120))
# ru_maxrss would be that of the process that started this one, where that is larger
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps([peak, [str(row.get("hint")) for row in batch.coverage]]))
"""


def cost_of(kind, options, name, text, base):
    (base / "dumps").mkdir()
    (base / "dumps" / name).write_text(text(), encoding="utf-8")
    options = json.dumps({"path": "dumps", **options})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, options, base],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 * MEMORY,) * 2),
    )
    shutil.rmtree(base / "dumps")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_would_cost_too_much_is_refused_with_its_limit(name, tmp_path):
    peak, told = cost_of(*REFUSED[name], tmp_path)
    assert any("limit" in hint for hint in told), told
    assert peak < MEMORY, f"{peak >> 20} MB"


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_file_that_nearly_costs_too_much_is_read(name, tmp_path):
    peak, told = cost_of(*ACCEPTED[name], tmp_path)
    assert not any("limit" in hint for hint in told), told
    assert peak < MEMORY, f"{peak >> 20} MB"


def test_a_parquet_file_that_promises_many_rows_is_refused(tmp_path):
    table = pd.DataFrame({"service_id": ["a"] * 2_000_000})
    table.to_parquet(tmp_path / "services.parquet")
    batch = homes()["frames"].load()().collect({"path": "."}, tmp_path, Deadline(60))
    assert any("limit" in hint for hint in hints(batch)) and rows_n(batch) == 0
