"""JupyterLab as people use it: every notebook, opened in a browser and run from top to bottom."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from browsers import chromium
from nbconvert import HTMLExporter

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ARTEFACTS = ROOT / ".artefacts" / "jupyterlab"
READY_WITHIN_S = 120
SIZE = {"width": 1280, "height": 900}
TALLEST = 16_000  # of a screenshot [pixels]
KINDS = ("CONFIG", "DATA", "RUNTIME")
SETTINGS = {
    # cells out of sight are there, too
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
IDLE = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.kernelDisplayStatus === 'idle'"
RUN_AND_SAVE = """async () => {
  await jupyterapp.commands.execute("application:toggle-left-area");
  const done = await jupyterapp.commands.execute("notebook:run-all-cells");
  await jupyterapp.commands.execute("docmanager:save");
  await jupyterapp.shell.currentWidget.sessionContext.shutdown();
  return done;
}"""
HEIGHT = "() => document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollHeight"
TO_THE_TOP = """() => {
  document.querySelector(".jp-NotebookPanel .jp-WindowedPanel-outer").scrollTop = 0;
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def free_port():
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the notebooks, and of the data that they read."""
    place = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "data"):
        shutil.copytree(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    """JupyterLab on the loopback, with a token and directories of its own."""
    own = tmp_path_factory.mktemp("jupyter")
    for name, values in SETTINGS.items():
        file = own / f"config/lab/user-settings/@jupyterlab/{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    port, token = free_port(), secrets.token_hex(16)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={project}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    places = {f"JUPYTER_{kind}_DIR": str(own / kind.lower()) for kind in KINDS}
    with (own / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=project, env={**os.environ, **places}, stdout=log, stderr=log
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, own / "log")
        yield f"http://127.0.0.1:{port}/lab/tree/notebooks/{{}}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address, server, log):
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def page(lab):
    with chromium() as browser:
        opened = browser.new_page(viewport=SIZE)
        opened.set_default_timeout(READY_WITHIN_S * 1000)
        yield opened


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_jupyterlab(path, lab, page, project):
    page.set_viewport_size(SIZE)
    page.goto(lab.format(path.name))
    page.wait_for_function(IDLE)
    assert page.evaluate(RUN_AND_SAVE)
    keep(page, path.stem)
    run = nbformat.read(project / "notebooks" / path.name, as_version=4)
    outputs = [output for cell in run.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    figures = page.locator(".jp-RenderedImage img")
    widths = [image.evaluate("image => image.naturalWidth") for image in figures.all()]
    assert len(widths) == sum("ax = " in cell.source for cell in run.cells) > 0
    assert all(widths)


EXPLORER = """import sys
sys.path.insert(0, {fleets!r})
import assess, fleets
policy = assess.load_policy().replace(simulation={{"draws": 400}})
inventory = fleets.fleet(["web", "api", "<b>cache</b>"])
readiness = assess.score_readiness(inventory, policy)
blast = assess.score_blast_radius(inventory, policy)
nxt = assess.what_next(inventory, policy, readiness=readiness, blast=blast)
nxt.explore(readiness, blast)"""


def test_the_explorer_answers_in_jupyterlab_and_in_an_export(lab, page, project):
    cells = [
        nbformat.v4.new_code_cell(EXPLORER.format(fleets=str(ROOT / "tests" / "report"))),
        nbformat.v4.new_code_cell('blast.explore("host:h1")'),
    ]
    path = project / "notebooks" / "explorer.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(book, path)
    page.set_viewport_size(SIZE)
    page.goto(lab.format(path.name))
    page.wait_for_function(IDLE)
    assert page.evaluate(RUN_AND_SAVE)
    answers(page)
    keep(page, "explorer")
    exported, _ = HTMLExporter().from_filename(str(path))
    file = path.with_suffix(".html")
    file.write_text(exported, encoding="utf-8")
    page.goto(file.as_uri())
    answers(page)


def answers(page):
    """Turn a knob in the first explorer, and read the second."""
    first = page.frame_locator("iframe[title=Explore]").nth(0)
    first.get_by_label("My weights").check()
    first.locator("[data-criterion=low_effort]").fill("100")
    assert first.locator("tr[data-service]").count() == 3
    first.get_by_role("link", name="<b>cache</b>").click()
    first.get_by_role("heading", name="<b>cache</b>").wait_for()
    second = page.frame_locator("iframe[title=Explore]").nth(1)
    second.get_by_role("heading", name="When host h1 fails").wait_for()


def keep(page, name):
    """Take a picture of the whole notebook."""
    page.set_viewport_size({**SIZE, "height": min(page.evaluate(HEIGHT) + 120, TALLEST)})
    page.evaluate(TO_THE_TOP)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")
