"""The contributing guide's source of another package, installed and used as written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import assess

GUIDE = Path(__file__).parents[2] / ".github" / "CONTRIBUTING.md"


def run(*arguments, where):
    environment = {**os.environ, "PYTHONPATH": str(where / "site")}
    command = [sys.executable, "-m", "assess", *arguments]
    return subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, check=False
    )


def test_the_example_of_the_guide_works_as_written(tmp_path):
    section = GUIDE.read_text().partition("## A source in a package of its own")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    group, name, home = re.search(
        r'entry-points\."(.+?)"\]\n(\w+) = "(.+?)"', section
    ).groups()
    assert len(code.splitlines()) <= 25
    info = tmp_path / "site" / "acme_lines-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / f"{home.partition(':')[0]}.py").write_text(code)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-lines\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {home}\n")
    (tmp_path / "fleet.txt").write_text("web,h1\nweb,h2\nmail,h1\n")
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
    assert (
        done.returncode == 4
    )  # its exception is a row, and costs the other table nothing
    statuses = assess.load(tmp_path / "both")["coverage"].query("source == 'lines'")[
        "status"
    ]
    assert sorted(statuses) == ["ok", "unreachable"]
