"""Every example of the help runs as written, in an empty project with a snapshot."""

import shlex
import shutil

import click
import pytest
from test_cli_group import commands

# what other tests run, since it serves, prints, runs notebooks, or asks engines and the network
ELSEWHERE = (
    "assess collect",
    "assess doctor",
    "assess facts update",
    "assess notebooks refresh",
    "assess notebooks run",
    "assess report",
    "assess serve",
)
SCORES = ("assess check", "assess explain", "assess record", "assess score")
LIMIT_BROKEN = 3
QUICK = "[simulation]\ndraws = 50\n"


def examples():
    for _, command in commands():
        if not isinstance(command, click.Group):
            yield from command.examples


@pytest.fixture(scope="module")
def scored():
    """Score a fleet once, however many examples ask."""
    from assess import store

    known = {}
    real = store.load

    def load(path):
        return known.setdefault(str(path), real(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", load)
        yield


@pytest.fixture
def project(tmp_path, store):
    place = tmp_path / "data" / "snapshots"
    place.mkdir(parents=True)
    shutil.copytree(store / "2026Q3", place / "2026Q4")
    (tmp_path / "our-policy.toml").write_text(QUICK)
    return tmp_path


def test_no_example_needs_the_repository():
    assert not [e for e in examples() if "data/sample" in e]


@pytest.mark.parametrize(
    "example", [e for e in examples() if not e.startswith(ELSEWHERE)]
)
def test_an_example_runs_as_written(call, project, scored, example):
    words = shlex.split(example.partition(" > ")[0])[1:]
    broken = LIMIT_BROKEN if words[0] == "check" else 0
    quick = {"ASSESS_POLICY": "our-policy.toml"} if example.startswith(SCORES) else {}
    try:
        made = call(*words, **quick)
    except AssertionError:
        made = call(*words, code=broken, **quick)
    assert "Traceback" not in made.output
