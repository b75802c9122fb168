"""Long work is told on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys

import pytest

COMMAND = """
from assess.cli import cli, messages
from assess.cli.command import Command
from assess.execution import each
import click, time

def slow(_, item):
    time.sleep(0.1)
    return item

@click.command(cls=Command, works=True)
def work():
    click.echo(sum(each(slow, None, range(30), what="blast radius")))

work(PARAMETERS)
"""


@pytest.fixture
def work(tmp_path):
    """Run a verb that works for long, with a terminal as its stderr."""

    def run(*arguments, terminal=True):
        above, below = pty.openpty()
        code = COMMAND.replace("PARAMETERS", repr(list(arguments)))
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            check=True,
            stderr=below if terminal else subprocess.PIPE,
        )
        is_told = select.select([above], [], [], 0)[0]
        told = os.read(above, 1 << 16).decode() if is_told else ""
        os.close(below)
        os.close(above)
        return done.stdout.decode().strip(), told if terminal else done.stderr.decode()

    return run


@pytest.mark.parametrize("how", ["", "[work]\nprocesses = 2\n"])
def test_a_terminal_sees_it_go_on(work, tmp_path, how):
    (tmp_path / "assess.toml").write_text(how)
    found, told = work()
    assert found == "435"
    steps = told.replace("\n", "").split("\r")
    assert "[####################] 30/30 blast radius" in told
    # not from the first moment
    assert len([step for step in steps if "blast radius" in step]) < 30


def test_a_file_and_the_quiet_see_nothing(work):
    assert work(terminal=False) == ("435", "")
    assert work("-q") == ("435", "")


def test_a_narrow_terminal_draws_one_line(work, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, told = work()
    assert max(map(len, told.splitlines()[-1].split("\r"))) < 40
    assert "30/30" in told
