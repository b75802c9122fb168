"""Two ways to call the command line: inside this process, and as a process of its own."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from assess.cli import cli
from assess.sample import write_sample


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Two quarters of the sample fleet, in a store of their own."""
    directory = tmp_path_factory.mktemp("store")
    write_sample(directory, services=40)
    return directory


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    """Half of that fleet, for what does not depend on its size."""
    directory = tmp_path_factory.mktemp("few")
    write_sample(directory, services=24)
    return directory


@pytest.fixture(scope="session")
def dozen(tmp_path_factory):
    """A quarter of that fleet, for what reads no service at all."""
    directory = tmp_path_factory.mktemp("dozen")
    write_sample(directory, services=12)
    return directory


@pytest.fixture
def sample(store):
    return str(store / "2026Q3")


@pytest.fixture
def earlier(store):
    return str(store / "2026Q2")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call `assess` inside this process, from an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ASSESS_")]:
        monkeypatch.delenv(name)

    def called(*arguments, code=0, **environment):
        result = CliRunner().invoke(cli, arguments, prog_name="assess", env=environment)
        assert result.exit_code == code, result.output
        return result

    return called


@pytest.fixture
def process(tmp_path):
    """Start `assess` as a process of its own, in an empty directory."""

    def started(*arguments, shell=None, **environment):
        command = [sys.executable, "-m", "assess", *arguments]
        return subprocess.run(
            ["bash", "-c", f'"$@" {shell}', "bash", *command] if shell else command,
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return started
