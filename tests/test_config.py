"""`assess.toml`: found, read, and refused with a reason."""

import contextlib
import dataclasses
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from mutants import mutants, to_toml

from assess.config import data_path, load_config, work_options
from assess.errors import ConfigError, PolicyError
from assess.policy import load_policy
from assess.sources.run import prepare


def test_sources_keep_order_and_options(tmp_path):
    file = tmp_path / "assess.toml"
    file.write_text(
        '[[source]]\ntype = "docker"\nendpoint = "unix:///run/docker.sock"\n'
        '[[source]]\ntype = "compose"\npath = ["a.yml", "b.yml"]\n[identity]\nmap = "names.csv"\n'
    )
    config = load_config(file)
    assert [source.type for source in config.sources] == ["docker", "compose"]
    assert config.sources[1].options == {"path": ["a.yml", "b.yml"]}
    assert config.identity == {"map": "names.csv"}
    assert config.directory == tmp_path


def test_every_problem_is_named_at_once(tmp_path):
    file = tmp_path / "assess.toml"
    file.write_text('sources = 1\n[[source]]\npath = "x"\n')
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert "did you mean 'source'" in str(error.value)
    assert "number 1 has no type" in str(error.value)


@pytest.mark.parametrize("content", [b"[[source\n", b"\xff\xfe\x00"])
def test_what_is_not_toml_is_refused(tmp_path, content):
    file = tmp_path / "assess.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is not TOML") as error:
        load_config(file)
    assert error.value.hint


def test_it_is_found_upwards_or_by_the_environment(tmp_path, monkeypatch):
    (tmp_path / "assess.toml").write_text("")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.delenv("ASSESS_CONFIG", raising=False)
    assert load_config().directory == tmp_path
    monkeypatch.setenv("ASSESS_CONFIG", str(tmp_path / "other.toml"))
    with pytest.raises(ConfigError, match=r"other\.toml"):
        load_config()


def test_data_comes_with_the_package():
    assert data_path("policy.toml").is_file()


def test_how_work_is_done_is_read_and_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSESS_CONFIG", raising=False)
    assert work_options() == {}
    file = tmp_path / "assess.toml"
    file.write_text('[work]\nprocesses = 2\nscheduler = "tcp://127.0.0.1:1"\n')
    assert work_options() == {"processes": 2, "scheduler": "tcp://127.0.0.1:1"}
    file.write_text('[work]\nprocesses = 0\nschedular = "x"\n')
    with pytest.raises(ConfigError) as error:
        work_options()
    for said in ("did you mean 'scheduler'", "has to be from 1 to"):
        assert said in str(error.value)


@pytest.mark.parametrize(
    ("owner", "is_read"), [("self", True), ("root", True), ("another", False)]
)
@pytest.mark.parametrize("place", ["here", "above"])
def test_a_file_above_counts_if_it_is_ones_own(
    tmp_path, monkeypatch, owner, is_read, place
):
    file = tmp_path / "assess.toml"
    file.write_text("[work]\nprocesses = 2\n")
    below = tmp_path / "a"
    below.mkdir()
    monkeypatch.chdir(tmp_path if place == "here" else below)
    monkeypatch.delenv("ASSESS_CONFIG", raising=False)
    user = file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: user if owner == "self" else user + 1)
    if owner == "another" and user == 0:
        os.chown(file, 12345, -1)
    if owner == "root" and user != 0:
        pytest.skip("only root can make a file of root")
    is_expected = is_read or place == "here"
    assert work_options() == ({"processes": 2} if is_expected else {})


EVERY_SOURCE = Path(__file__).parent / "fixtures" / "every_source.toml"


def every_source():
    tree = tomllib.loads(EVERY_SOURCE.read_text())
    work = {"processes": 2, "scheduler": ""}
    return {**tree, "identity": {"map": ""}, "work": work}


@settings(max_examples=150)
@given(mutants(every_source))
def test_whatever_people_write_is_used_or_refused(tmp_path_factory, tree):
    file = tmp_path_factory.mktemp("any") / "assess.toml"
    file.write_text(to_toml(tree))
    with contextlib.suppress(ConfigError):
        config = load_config(file)
        prepare(dataclasses.replace(config, directory=EVERY_SOURCE.parent), None, 30)


@pytest.mark.parametrize(
    "content", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a = \x00"]
)
def test_what_would_exhaust_a_parser_is_refused(tmp_path, content):
    file = tmp_path / "assess.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(file)
    with pytest.raises(PolicyError, match="not a readable policy"):
        load_policy(file)
