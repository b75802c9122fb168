"""A fleet with strange names, and one without any service, through everything that shows them."""

import base64
import json
import unicodedata
import zlib
from urllib.parse import quote

import pandas as pd
import pytest
from browsers import chromium
from click.testing import CliRunner
from fleets import HOSTILE, fleet
from test_report import Page

import assess
from assess.cli import cli
from assess.report.model import slug
from assess.store import write_snapshot
from assess.untrusted import clean

NARROW = 40
NOTHING = pd.DataFrame({"service_id": []})
STRANGE = [
    *HOSTILE,
    "NaN",
    "nan",
    "None",
    "null",
    "<NA>",
    "unknown",
    "</script>",
    "'single' and \"double\"",
    "😀👩‍👩‍👧 été",
    "مرحبا بالعالم",
    "名前" * 20,
    "=1+1",
    "-",
    "1e5",
    "constructor",
    "a/b?c#d%20e",
]
FLEETS = {
    "strange names": lambda: fleet(STRANGE),
    "no service": lambda: assess.from_frames(
        {"services": NOTHING}, snapshot_at="2026-09-30"
    ),
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(params=FLEETS)
def stored(request, tmp_path):
    """A snapshot, its names, and a policy with few draws."""
    inventory = FLEETS[request.param]()
    path = write_snapshot(inventory, tmp_path / "2026Q3", format="csv")
    names = [*inventory["services"]["service_id"]]
    assert [*assess.load(path)["services"]["service_id"]] == names
    policy = tmp_path / "policy.toml"
    policy.write_text("[simulation]\ndraws = 50\n")
    return path, names, policy


def columns_of(line):
    """Return how many columns of a terminal a line takes."""
    return len(line) + sum(unicodedata.east_asian_width(x) in "WF" for x in line)


def test_report_explorer_and_terminal_show_every_name(
    stored, browser, tmp_path, monkeypatch
):
    path, names, policy = stored
    shown = [clean(name) for name in names]
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)

    def call(*arguments):
        run = CliRunner().invoke(
            cli, [*map(str, arguments)], prog_name="assess", env={"COLUMNS": str(NARROW)}
        )
        assert run.exit_code == 0, run.output
        return run.stdout

    lines = [
        call("show", path, "services"),
        call("score", path, "what-next", "--policy", policy),
        call("coverage", path),
    ]
    for text in lines:
        assert max(map(columns_of, text.splitlines()), default=0) <= NARROW
        joined = "".join(text.split())
        assert [n for n in shown if "".join(n.split()) not in joined] == []

    call("report", path, "--policy", policy, "-o", tmp_path / "out")
    written = {file.name for file in (tmp_path / "out" / "decisions").glob("*.md")}
    assert written == {f"{slug(name)}.md" for name in names}
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert sorted(row["service_id"] for row in told["scores"]["what-next"]) == sorted(
        names
    )
    file = tmp_path / "out" / "index.html"
    (place,) = [a for _, a in Page(file.read_text()).elements if "data-packed" in a]
    packed = zlib.decompress(base64.b64decode(place["data-packed"]))
    assert sorted(json.loads(packed)["names"]) == sorted(shown)

    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    for name in shown:
        address = f"{file.as_uri()}#explore/service/{quote(name, safe='')}"
        page.goto(address)
        heading = page.locator("#explore h3").first.inner_text()
        assert heading.startswith(name[:70].strip()), (name, heading)
    width = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(width) <= 0
    assert complaints == []
    page.close()
