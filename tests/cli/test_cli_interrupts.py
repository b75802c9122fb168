"""Ctrl-C at any moment: a command ends at once, with 130, and leaves nothing half."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest

import assess
from assess import store
from assess.cli import cli
from assess.writing import SUFFIX

CONFIG = """
[[source]]
type = "frames"
path = "store/2026Q3"
"""
# each with the seconds within which it is interrupted
COMMANDS = {
    "collect": (["collect", "-o", "out"], 0.3),
    "replace": (["collect", "--force", "-o", "store/2026Q3"], 0.3),
    "verify": (["store", "verify", "store"], 0.02),
    "prune": (["store", "prune", "store", "--older-than", "1", "--yes"], 0.02),
    "score": (["score", "store/2026Q3", "readiness", "-o", "scores.csv"], 0.2),
    "targets": (["score", "store/2026Q3", "targets", "-o", "scores.csv"], 0.4),
    "report": (["report", "store/2026Q3", "-o", "reports"], 0.8),
}
TIMES = 3
BEFORE = 99  # the code of a child that was interrupted before its command began


def run(arguments, place, ready):
    """Call the command line in a copy of this process, with the output in a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(place)
    with (place / "log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        sys.stdout = sys.stderr = log
        try:
            ready.set()
            cli(arguments, prog_name="assess")
        except KeyboardInterrupt as error:
            # what the command line itself lets through has a frame of it
            frames = traceback.extract_tb(error.__traceback__)
            os._exit(3 if any("assess/cli" in f.filename for f in frames) else BEFORE)


def interrupted(arguments, place, after):
    copies = multiprocessing.get_context("fork")
    ready = copies.Event()
    child = copies.Process(target=run, args=(arguments, place, ready))
    child.start()
    ready.wait(30)
    time.sleep(after)
    os.kill(child.pid, signal.SIGINT)
    start = time.monotonic()
    child.join(30)
    return child.exitcode, time.monotonic() - start


def whole(path):
    """Return whether a file of a result ends as it should."""
    text = path.read_text(errors="replace")
    if path.suffix == ".json":
        json.loads(text)
    return path.suffix != ".html" or text.rstrip().endswith("</html>")


def test_an_interrupt_ends_a_command_at_once_and_leaves_nothing_half(few, tmp_path):
    random.seed(18)
    for name, (arguments, within) in COMMANDS.items():
        codes = []
        for number in range(TIMES):
            place = tmp_path / f"{name}{number}"
            shutil.copytree(few, place / "store")
            (place / "assess.toml").write_text(CONFIG)
            code, _ = interrupted(arguments, place, random.uniform(0, within))
            codes.append(code)
            said = (place / "log").read_text()
            assert code in (0, 130, BEFORE), (name, code, said)
            assert code != 130 or said.strip().endswith("error: interrupted"), said
            left = [path for path in place.rglob("*") if path.is_file()]
            assert not list(place.rglob(f"*{SUFFIX}"))
            assert all(map(whole, left))
            listed = store.listing(place / "store")
            assert "2026Q3" in set(listed["snapshot"])
            assert not listed["problem"].any()
            if (place / "out").exists():
                assess.load(place / "out")
        assert 130 in codes, (name, codes)


def test_a_snapshot_that_cannot_be_replaced_is_still_there(few, tmp_path, monkeypatch):
    kept = tmp_path / "2026Q3"
    shutil.copytree(few / "2026Q3", kept)
    inventory = assess.load(kept)
    renames = []

    def rename(path, target):
        renames.append(path)
        if len(renames) == 2:
            raise KeyboardInterrupt
        return rename_really(path, target)

    rename_really = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        store.write_snapshot(inventory, kept, is_replacing=True)
    assert store.verify(kept) == []
    assert [path.name for path in tmp_path.iterdir()] == ["2026Q3"]
