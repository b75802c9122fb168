"""Every example of the help works as written, in an empty project with a snapshot."""

import re
import shlex
import shutil

import click
import pytest
from test_cli_group import commands

from assess.cli import cli

# read only, since it serves, prints, asks engines or the network, or scores what other tests score
READ_ONLY = (
    "assess check",
    "assess collect",
    "assess doctor",
    "assess explain",
    "assess facts update",
    "assess notebooks check",
    "assess notebooks refresh",
    "assess notebooks run",
    "assess questions",
    "assess record",
    "assess report",
    "assess score",
    "assess serve",
)


def examples():
    for _, command in commands():
        if not isinstance(command, click.Group):
            yield from command.examples


def words_of(example):
    return shlex.split(re.sub(r" > \S+$", "", example))[1:]


@pytest.fixture
def project(tmp_path, store):
    place = tmp_path / "data" / "snapshots"
    place.mkdir(parents=True)
    shutil.copytree(store / "2026Q3", place / "2026Q4")
    (tmp_path / "reports" / "2026Q3").mkdir(parents=True)
    (tmp_path / "our-policy.toml").write_text("[simulation]\ndraws = 50\n")
    return tmp_path


def read(words):
    """Read the words of a command as its options and arguments, and run nothing."""
    command, context = cli, click.Context(cli, info_name="assess", **cli.context_settings)
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
        if isinstance(command, click.Group):
            context = click.Context(command, parent=context, info_name=name)
    return command.make_context(name, words, parent=context)


def test_no_example_needs_the_repository():
    assert not [example for example in examples() if "data/sample" in example]


def test_every_example_is_read(call, project):
    for example in examples():
        assert read(words_of(example)).params is not None, example


def test_the_quick_examples_run(call, project):
    for example in examples():
        if not example.startswith(READ_ONLY):
            call(*words_of(example))
