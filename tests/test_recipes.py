"""The page of recipes: its programs run, its files are read by what they are for."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest
import yaml

import assess
from assess import store
from assess.cli import cli
from assess.config import data_path

PAGE = (Path(__file__).parents[1] / ".github/RECIPES.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The stored report and a snapshot, where the recipes look for them."""
    monkeypatch.chdir(tmp_path)
    (stored,) = (Path(__file__).parents[1] / "reports").glob("*/report.json")
    (tmp_path / "reports").mkdir()
    shutil.copytree(stored.parent, tmp_path / "reports/now")
    inventory = assess.load(data_path("sample") / "2026Q3")
    store.write_snapshot(inventory, tmp_path / "data/snapshots/now")
    return tmp_path


def run(text):
    found = {}
    exec(compile(text, "recipe", "exec"), found)
    return found


def test_every_command_of_the_page_is_one():
    page = re.sub(r"\$\([^)]*\)", "today", PAGE)
    found = re.findall(r"(?:^|run: |exec |`)(assess [a-z]+ [^'`\n]+)", page, re.MULTILINE)
    commands = [shlex.split(one) for one in found]
    assert len(commands) >= 5
    for _, verb, *arguments in commands:
        command = cli.get_command(click.Context(cli), verb)
        if isinstance(command, click.Group):
            command = command.commands[arguments.pop(0)]
        command.make_context(verb, [*arguments], resilient_parsing=False)


def test_the_message_arrives(project, monkeypatch):
    received = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(
                json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("CHAT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/")
        run(next(text for text in blocks("python") if "CHAT_WEBHOOK" in text))
    summary = (project / "reports/now/summary.md").read_text(encoding="utf-8")
    assert received == [{"text": summary[:3000]}]


def test_backstage_gets_a_fact_for_every_service(project):
    run(next(text for text in blocks("python") if "entity" in text))
    facts = json.loads((project / "facts.json").read_text(encoding="utf-8"))
    report = json.loads((project / "reports/now/report.json").read_text(encoding="utf-8"))
    labels = {row["entity"]["name"]: row["facts"]["containerLabel"] for row in facts}
    assert len(labels) == sum(report["labels"].values())
    assert set(labels.values()) <= report["labels"].keys()


def test_a_frame_is_read_by_other_tools(project):
    hosts = run(next(text for text in blocks("python") if "pyarrow" in text))["hosts"]
    assert hosts.num_rows == len(assess.load(project / "data/snapshots/now")["hosts"])
    if importlib.util.find_spec("polars"):
        others = run(next(text for text in blocks("python") if "polars" in text))["hosts"]
        assert len(others) == hosts.num_rows


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_reads_the_units(tmp_path):
    for text in blocks("ini"):
        name = text.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(text.replace("User=assess", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in done.stderr.splitlines() if "assess." in line]
    assert done.returncode == 0, done.stderr
    assert not own


def test_the_other_files_can_be_read():
    (workflow,) = blocks("yaml")
    assert yaml.safe_load(workflow)["jobs"]["assess"]["steps"]
    (client,) = blocks("json")
    assert json.loads(client)["mcpServers"]["assess"]["args"][0] in cli.list_commands(
        None
    )
