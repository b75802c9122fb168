"""`assess.toml`: found, read, and refused with a reason."""

import pytest

from assess.config import data_path, load_config, work_options
from assess.errors import ConfigError


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
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(file)


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
    for said in ("did you mean 'scheduler'", "has to be above 0"):
        assert said in str(error.value)
