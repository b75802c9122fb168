"""A new machine gets the audited set: the README, CI, the manifests and constraints.txt agree."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
CONDA_NAMES = {"docker-py": "docker", "playwright-python": "playwright"}
CONDA_ONLY = {"python", "pip", "paramiko"}  # paramiko comes with the SDK's ssh extra
README_COMMAND = r"^(python3 -m pip install -q uv) && (uv run [a-z ]+?) *(?:#.*)?$"

# `uv run` names itself in UV, and has just written uv.lock; CI never skips
IS_SYNCED = "UV" in os.environ and (ROOT / "uv.lock").exists()
by_uv = pytest.mark.skipif(
    not IS_SYNCED and "CI" not in os.environ,
    reason="only `uv run` installs the audited set",
)


def pins(text: str) -> dict[Requirement, set[str]]:
    """The hashes of each pinned version."""
    found = {}
    for line in text.replace("\\\n", "").splitlines():
        pin, *hashes = re.split(r"\s+--hash=", line.strip())
        found[Requirement(pin)] = set(hashes)
    return found


def audited() -> dict[Requirement, set[str]]:
    return pins(CONSTRAINTS.read_text(encoding="utf-8"))


def versions(pinned) -> set[str]:
    return {f"{pin.name}{pin.specifier}" for pin in pinned}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def floors(requirements) -> dict[str, str]:
    """The bounds of each package, as `pyproject.toml` and `environment.yml` both write them."""
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(one.name): str(one.specifier) for one in parsed}


def wanted() -> dict[str, str]:
    return floors(
        [*project()["project"]["dependencies"], *project()["dependency-groups"]["dev"]]
    )


def test_constraints_pin_every_dependency_with_a_hash_and_no_address():
    assert wanted().keys() <= {pin.name for pin in audited()}
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pin in audited())
    assert all(audited().values())
    assert "://" not in CONSTRAINTS.read_text(encoding="utf-8")


@by_uv
def test_uv_resolves_the_audited_set():
    export = [
        "export",
        "-q",
        "--frozen",
        "--no-emit-project",
        "--no-annotate",
        "--no-header",
    ]
    done = subprocess.run(
        [os.environ["UV"], *export], cwd=ROOT, capture_output=True, text=True, check=True
    )
    resolved = pins(done.stdout)
    # without markers: releases of uv write the same condition in different words
    assert versions(resolved) == versions(audited())
    hashes = set().union(*audited().values())
    assert all(found <= hashes for found in resolved.values())


@by_uv
def test_what_is_installed_is_the_audited_set():
    here = [pin for pin in audited() if pin.marker is None or pin.marker.evaluate()]
    assert here
    installed = {pin.name: f"=={version(pin.name)}" for pin in here}
    assert installed == {pin.name: str(pin.specifier) for pin in here}


def test_ci_runs_the_commands_of_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(README_COMMAND, text, re.MULTILINE)
    assert [run for _, run in commands] == ["uv run assess report", "uv run pytest"]
    # line by line: where the first of `a && b` fails, `set -e` goes on
    lines = {
        line.strip()
        for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    }
    assert {command for pair in commands for command in pair} <= lines


def test_the_readme_puts_uv_into_a_clone_where_debian_refuses_to_install_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command = (
        r"^python3 -m pip install -q --target (\.\w+) uv && \1/bin/uv run assess report$"
    )
    (directory,) = re.findall(command, text, re.MULTILINE)
    assert f"{directory}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_environment_and_pyproject_agree():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))[
        "dependencies"
    ]
    by_conda = [text for text in listed if isinstance(text, str)]
    assert "pip" in by_conda  # micromamba installs no pip that is not listed
    by_pip = [
        text for entry in listed if isinstance(entry, dict) for text in entry["pip"]
    ]
    found = floors([*by_conda, *by_pip])
    names = {CONDA_NAMES.get(name, name): bound for name, bound in found.items()}
    assert {
        name: bound for name, bound in names.items() if name not in CONDA_ONLY
    } == wanted()


def weakness(ranges=(), *, name="Widget_Kit", ecosystem="PyPI", **more):
    """A record of the OSV schema; ranges as lists of events."""
    kinds = [{"type": "ECOSYSTEM", "events": events} for events in ranges]
    package = {"name": name, "ecosystem": ecosystem}
    versions = more.pop("versions", [])
    entry = {"package": package, "ranges": kinds, "versions": versions}
    return {"id": "GHSA-0", "summary": "it \x1b[31mlies", "affected": [entry], **more}


def audited_by(directory, advisories, pins="widget-kit==1.10\nother==2\n"):
    constraints = directory / "constraints.txt"
    constraints.write_text(pins)
    command = [sys.executable, ROOT / ".ci" / "audit.py", advisories, constraints]
    return subprocess.run(command, capture_output=True, text=True, check=False)


SINCE = {"introduced": "0"}
WEAK = {
    "from the first to before the mended": weakness([[SINCE, {"fixed": "1.10.1"}]]),
    "1.10 is later than 1.9": weakness([[{"introduced": "1.9"}]]),
    "up to the last, itself too": weakness([[SINCE, {"last_affected": "1.10.0"}]]),
    "mended, and touched anew": weakness(
        [[SINCE, {"fixed": "1.2"}, {"introduced": "1.10"}]]
    ),
    "touched anew in the version that mended": weakness(
        [[{"introduced": "1.10"}, SINCE, {"fixed": "1.10"}]]
    ),
    "in one range of two": weakness([[SINCE, {"fixed": "1.2"}], [{"introduced": "1.4"}]]),
    "listed": weakness(versions=["1.9", "1.10.0"]),
    "nothing says which": weakness(),
    "a version that is none": weakness([[SINCE, {"fixed": "the next"}]]),
}
SOUND = {
    "mended": weakness([[SINCE, {"fixed": "1.10"}]]),
    "later only": weakness([[{"introduced": "1.10.1"}]]),
    "up to the one before": weakness([[SINCE, {"last_affected": "1.9"}]]),
    "not listed": weakness(versions=["1.9"]),
    "withdrawn": weakness(withdrawn="2026-01-01T00:00:00Z"),
    "another package": weakness(name="widget"),
    "another registry": weakness(ecosystem="npm"),
}


def test_known_weaknesses_of_the_audited_set_are_read_from_a_file(tmp_path):
    records = [{**record, "id": name} for name, record in {**WEAK, **SOUND}.items()]
    (tmp_path / "all.json").write_text(json.dumps(records))
    done = audited_by(tmp_path, tmp_path / "all.json")
    assert (done.returncode, done.stderr) == (1, "")
    *found, last = done.stdout.splitlines()
    named = {line.partition(": ")[2].partition("; mended")[0] for line in found}
    assert named == set(WEAK)
    assert last == f"audit: 2 versions, {len(records)} records, {len(WEAK)} known"
    assert "\x1b" not in done.stdout


def test_weaknesses_are_read_from_an_archive_and_a_directory(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("GHSA-0.json", json.dumps(SOUND["mended"]))
    assert audited_by(tmp_path, tmp_path / "all.zip").returncode == 0
    (tmp_path / "records" / "deep").mkdir(parents=True)
    (tmp_path / "records" / "deep" / "one.json").write_text(json.dumps(WEAK["listed"]))
    done = audited_by(tmp_path, tmp_path / "records")
    assert done.returncode == 1
    assert done.stdout.startswith("widget-kit 1.10: GHSA-0; mended in no version; it")


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", '{"affected": []}', "\x00"])
def test_what_is_no_file_of_weaknesses_finds_nothing_sound(tmp_path, text):
    (tmp_path / "odd.json").write_text(text)
    done = audited_by(tmp_path, tmp_path / "odd.json")
    assert done.returncode == 2
    assert done.stderr.startswith("audit: ")
    assert done.stderr.count("\n") == 1
