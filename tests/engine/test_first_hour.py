"""The first hour: an empty directory, one real engine, and what each step says comes next.

`.ci/run` runs it on the wheel; here: ``uv run pytest tests/engine/test_first_hour.py``.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import assess

# the notebooks that run here; all of them have tests of their own on the sample
READ = ("01_inventory.ipynb", "03_upgrade_churn.ipynb")


def begin(place, endpoint):
    """Start commands as a user does, where nothing but the installed package is known."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ASSESS_")
    }
    installed = str(Path(assess.__file__).parents[1])
    environment |= {"DOCKER_HOST": endpoint, "PYTHONPATH": installed}

    def run(*words, codes=(0,)):
        done = subprocess.run(
            [sys.executable, "-m", "assess", *words],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        found = re.search(r"^next: (.*)$", done.stderr, re.MULTILINE)
        return done, found[1].split() if found else []

    return run


@pytest.fixture
def place(tmp_path):
    return tmp_path


def test_each_step_names_the_next_until_the_notebooks_run(engine, place, monkeypatch):
    run = begin(place, engine.endpoint)
    _, following = run("init")
    walked = []
    while following[0] == "assess":
        walked.append(following[1])
        # an engine of a laptop answers part of what is asked, which is exit code 4
        done, following = run(*following[1:], codes=(0, 4))
    assert walked == ["doctor", "collect", "coverage", "questions", "report"]
    assert following == ["jupyter", "lab", "notebooks"]
    (page,) = place.glob("reports/*/index.html")
    assert str(page.relative_to(place)) in done.stdout
    text = page.read_text("utf-8")
    assert "Invented sample" not in text and "postgres" in text
    assert (place / "questions.csv").is_file()

    monkeypatch.chdir(place / "notebooks")
    outputs = []
    for name in READ:
        book = nbformat.read(place / "notebooks" / name, as_version=4)
        NotebookClient(book, timeout=240).execute()
        outputs += [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "postgres" in str(outputs) and "storefront-web" not in str(outputs)


def test_the_report_after_a_failed_collection_is_no_sample(place):
    run = begin(place, "unix:///nonexistent.sock")
    run("init")
    run("collect", codes=(1,))
    done, _ = run("report", codes=(1,))
    assert "error:" in done.stderr and "hint:" in done.stderr
    assert not list(place.glob("reports/*/index.html"))
