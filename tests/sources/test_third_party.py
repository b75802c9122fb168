"""The contributing guide's source of another package, installed and used as written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import assess

GUIDE = Path(__file__).parents[2] / ".github" / "CONTRIBUTING.md"


def run(*arguments, where):
    tested = Path(assess.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{where / 'site'}{os.pathsep}{tested}"}
    command = [sys.executable, "-m", "assess", *arguments]
    return subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, check=False
    )


def example():
    """Return the code of the guide, and its entry point: group, name and place."""
    section = GUIDE.read_text().partition("## A source in a package of its own")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    entry = re.search(r'entry-points\."(.+?)"\]\n(\w+) = "(.+?)"', section).groups()
    return code, entry


def install(code, entry, where):
    """Put the code into a package that registers the source."""
    group, name, home = entry
    info = where / "site" / "acme_lines-1.0.dist-info"
    info.mkdir(parents=True)
    (where / "site" / f"{home.partition(':')[0]}.py").write_text(code)
    metadata = "Metadata-Version: 2.1\nName: acme-lines\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {home}\n")
    (where / "fleet.txt").write_text("web,h1\nweb,h2\nmail,h1\n")
    return name


def test_the_example_of_the_guide_works_as_written(tmp_path):
    code, entry = example()
    assert len(code.splitlines()) <= 25
    name = install(code, entry, tmp_path)
    tables = [
        f'[[source]]\ntype = "{name}"\npath = "{path}"\n'
        for path in ("fleet.txt", "gone")
    ]

    (tmp_path / "assess.toml").write_text(tables[0])
    assert "acme-lines" in run("sources", where=tmp_path).stdout
    done = run("collect", "-o", "out", where=tmp_path)
    assert done.returncode == 0, done.stderr
    inventory = assess.load(tmp_path / "out")
    assert set(inventory["services"]["service_id"]) == {"web", "mail"}
    assert len(inventory["workloads"]) == 3

    (tmp_path / "assess.toml").write_text("".join(tables))
    done = run("collect", "-o", "both", where=tmp_path)
    # its exception is a row, and costs the other table nothing
    assert done.returncode == 4
    statuses = assess.load(tmp_path / "both")["coverage"].query("source == 'lines'")[
        "status"
    ]
    assert sorted(statuses) == ["ok", "unreachable"]


def test_a_misspelt_column_is_named_with_the_nearest(tmp_path):
    code, entry = example()
    wrong = code.replace('"host_id": host, "names"', '"hots_id": host, "names"')
    assert wrong != code
    name = install(wrong, entry, tmp_path)
    table = f'[[source]]\ntype = "{name}"\npath = "fleet.txt"\n'
    (tmp_path / "assess.toml").write_text(table)
    run("collect", "-o", "out", where=tmp_path)
    inventory = assess.load(tmp_path / "out")
    assert inventory["workloads"]["host_id"].isna().all()
    notes = inventory["coverage"].query("call == 'check:hots_id'")
    (note,) = notes.to_dict("records")
    assert (note["source"], note["scope"]) == (name, "workloads")
    assert (note["status"], note["unmapped_n"]) == ("partial", 3)
    assert "hots_id" in note["hint"]
    assert "host_id" in note["hint"].replace("hots_id", "")


def test_a_class_without_our_base_takes_its_defaults(tmp_path):
    code, entry = example()
    name = install(code.replace("Lines(Source)", "Lines"), entry, tmp_path)
    table = f'[[source]]\ntype = "{name}"\npath = "fleet.txt"\n'
    (tmp_path / "assess.toml").write_text(table)
    assert run("doctor", where=tmp_path).returncode == 0
    done = run("collect", "-o", "out", where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(assess.load(tmp_path / "out")["workloads"]) == 3


RESULTS = [
    *("42", "None", "exit()", "bytes(10**18)"),
    "Batch(rows={'hosts': 5})",
    "Batch(rows={'hosts': ['a host']})",
    "Batch(rows={'services': [{'names': 'web'}]})",
    "Batch(coverage=[{'call': 'read'}])",
]


@pytest.mark.parametrize("result", RESULTS)
def test_what_cannot_be_joined_costs_the_other_sources_nothing(tmp_path, result):
    code = f"""
from assess.sources.base import Batch
class Lines:
    def collect(self, options, base, deadline):
        return {result}
"""
    name = install(code, example()[1], tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "services.csv").write_text("service_id\nweb\n")
    manifest = 'snapshot_at = "2026-09-30T00:00:00Z"\n'
    (tmp_path / "data" / "snapshot.toml").write_text(manifest)
    tables = f'[[source]]\ntype = "{name}"\n[[source]]\ntype = "frames"\npath = "data"\n'
    (tmp_path / "assess.toml").write_text(tables)
    done = run("collect", "-o", "out", where=tmp_path)
    assert "Traceback" not in done.stderr
    inventory = assess.load(tmp_path / "out")
    assert inventory["services"]["service_id"].tolist() == ["web"]
    (lost,) = inventory["coverage"].query("source == 'lines'").itertuples()
    assert (lost.scope, lost.status) == ("lines", "parse_error")
    assert "report it" in lost.hint
