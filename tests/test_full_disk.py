"""A full disk and a read-only one, mounted for the test, under everything that writes a file."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

import assess
from assess import notebooks, store
from assess.cli import cli
from assess.notebooks import files
from assess.report.changes import of_scores
from assess.report.record import written_before
from assess.sample import write_sample
from assess.writing import write_beside

OLD = "<!-- keep: notes -->\nMine\n<!-- end: notes -->\n"


@contextmanager
def mounted(place):
    """A file system of 1 MiB of its own."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    """Leave no byte."""
    with (place / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(512))


def refuse(place):
    """Allow no write, not even to root."""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A snapshot, what scores say of it, and its report."""
    directory = tmp_path_factory.mktemp("fleet")
    (path,) = write_sample(directory, services=6, quarters=("2026Q3",))
    inventory = assess.load(path)
    policy = assess.load_policy().replace(simulation={"draws": 50})
    return path, inventory, assess.build_report(inventory, policy)


WRITES = {
    "snapshot": lambda path, inventory, report, to: store.write_snapshot(inventory, to),
    "snapshot as CSV": lambda path, inventory, report, to: store.write_snapshot(
        inventory, to, format="csv"
    ),
    "report": lambda path, inventory, report, to: report.save(to),
    "tables": lambda path, inventory, report, to: report.save_csv(to),
    "history": lambda path, inventory, report, to: report.save_history(
        to, {inventory.quarter: of_scores(report.scores)}
    ),
    "page": lambda path, inventory, report, to: report.save_html(to),
    "markdown": lambda path, inventory, report, to: report.save_markdown(to),
    "JSON": lambda path, inventory, report, to: report.save_json(to),
    "summary": lambda path, inventory, report, to: report.save_summary(to),
    "score": lambda path, inventory, report, to: report.results[0].save_json(to),
    "sample": lambda path, inventory, report, to: write_sample(to, services=6),
}


VERBS = {
    "show": lambda path, disk: ("show", path, "services", "-o", disk / "old.json"),
    "score": lambda path, disk: ("score", path, "readiness", "-o", disk / "old.json"),
    "report": lambda path, disk: ("report", path, "--policy", few(path), "-o", disk),
    "notebooks": lambda path, disk: ("notebooks", "run", short(path), "-o", disk / "n"),
}


READERS = [
    "report SNAPSHOT",
    "score SNAPSHOT readiness",
    "score SNAPSHOT targets -o new.json",
    "explain SNAPSHOT a",
    "record SNAPSHOT a -o new.md",
    "questions SNAPSHOT -o new.csv",
    "mcp SNAPSHOT",
    "check SNAPSHOT --min-readiness 40",
    "show SNAPSHOT",
    "validate SNAPSHOT",
    "coverage SNAPSHOT",
    "diff SNAPSHOT SNAPSHOT",
]


def few(path):
    """A policy with fewer draws."""
    write_beside(path.parent / "own.toml", "[simulation]\ndraws = 50\n")
    return path.parent / "own.toml"


def short(path):
    """A notebook of text only."""
    node = files.read(notebooks.find(["01"])[0])
    node.cells = node.cells[:1]
    write_beside(path.parent / "01_short.ipynb", files.nbformat.writes(node))
    return path.parent / "01_short.ipynb"


@pytest.fixture(params=[fill, refuse])
def disk(request, fleet, tmp_path):
    """A disk with a board's words and an older table, on which nothing more can be written."""
    with mounted(tmp_path / "disk") as place:
        records = [
            place / "decisions" / f"{name}.md"
            for name in fleet[2].scores.what_next.frame.index
        ]
        old = [*records, place / "old.json", place / "n" / "01_short.ipynb"]
        for file in old:
            write_beside(file, OLD)
        request.param(place)
        yield place
        assert [written_before(file) for file in old] == [OLD] * len(old)
        listed = [file for file in place.rglob("*") if file.is_file()]
        assert {*listed} - {place / "filler"} == {*old}


def test_every_writer_says_that_it_could_not(fleet, disk, subtests):
    for name, write in WRITES.items():
        with subtests.test(name):
            with pytest.raises(assess.AssessError, match="cannot be written") as error:
                write(*fleet, disk / f"new {name}")
            assert error.value.hint


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_fails_without_a_traceback(fleet, disk, verb):
    arguments = [str(argument) for argument in VERBS[verb](fleet[0], disk)]
    run = CliRunner().invoke(cli, arguments, prog_name="assess")
    assert run.exit_code == 1, run.output
    assert "cannot be written" in run.stderr
    assert "Traceback" not in run.output


def test_an_interrupt_while_a_file_is_written_leaves_nothing_half(
    fleet, tmp_path, monkeypatch, subtests
):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("assess.writing.sync", interrupt)
    monkeypatch.setattr("assess.store.sync", interrupt)
    # a copy would be interrupted twice: here, and when this process ends it while it cleans up
    monkeypatch.setattr("assess.execution.processors", lambda: 1)
    for name, write in WRITES.items():
        with subtests.test(name):
            with pytest.raises(KeyboardInterrupt):
                write(*fleet, tmp_path / name / "new")
            assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_an_interrupt_ends_every_command_that_reads_a_snapshot(
    fleet, tmp_path, monkeypatch, subtests
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("assess.snapshot._read", interrupt)
    for verb in READERS:
        with subtests.test(verb):
            arguments = verb.replace("SNAPSHOT", str(fleet[0])).split()
            run = CliRunner().invoke(cli, arguments, prog_name="assess")
            assert (run.exit_code, run.stdout) == (130, "")
            assert run.stderr.splitlines()[-1] == "error: interrupted"
    assert list(tmp_path.iterdir()) == []
