"""The report: which snapshot it takes, what it compares with, what it writes."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from assess import config, from_frames
from assess.store import write_snapshot


@pytest.fixture
def fewer(tmp_path):
    """A policy with fewer draws: these tests are about files."""
    (tmp_path / "own.toml").write_text("[simulation]\ndraws = 200\n")
    return "own.toml"


def test_it_writes_everything_and_prints_the_page(call, dozen, tmp_path, fewer):
    result = call("report", f"{dozen}/2026Q3", "--policy", fewer, "-o", "out")
    assert result.stdout == "out/index.html\n"
    written = {path.name for path in (tmp_path / "out").iterdir()}
    twins = {"index.html", "report.md", "summary.md", "report.json"}
    assert {*twins, "tables", "decisions", "figures"} <= written
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (document["quarter"], document["previous_quarter"]) == ("2026Q3", "2026Q2")
    assert f"compared with {dozen}/2026Q2" in result.stderr
    assert "2026Q2 to 2026Q3" in (tmp_path / "out" / "history.html").read_text()


def test_the_oldest_quarter_has_no_previous_one_whatever_else_lies_beside_it(
    call, dozen, tmp_path, fewer
):
    shutil.copytree(dozen, tmp_path / "mine")
    (tmp_path / "mine" / "src").mkdir()
    (tmp_path / "mine" / "src" / "notes.csv").write_text("a,b\n1,2\n")
    result = call("report", "mine/2026Q2", "--policy", fewer)
    assert "compared" not in result.stderr
    assert "warning" not in result.stderr
    document = json.loads((tmp_path / "reports" / "2026Q2" / "report.json").read_text())
    assert document["previous_quarter"] is None
    assert not (tmp_path / "reports" / "2026Q2" / "history.html").exists()


def test_history_is_read_from_all_that_is_older_in_the_same_place(call, fewer):
    days = "2026-03-31", "2026-05-15", "2026-06-30", "2026-08-15", "2026-09-30"
    for day, version in zip(days, range(5, 10), strict=True):
        rows = {
            "services": [{"service_id": "shop", "platform": "docker"}],
            "hosts": [{"host_id": "h"}],
            "engines": [
                {"host_id": "h", "runtime": "docker", "version": f"20.10.{version}"}
            ],
            "workloads": [
                {
                    "workload_id": "w",
                    "service_id": "shop",
                    "host_id": "h",
                    "registry": "docker.io",
                    "repository": "library/redis",
                    "tag": f"7.{version}",
                    "state": "running",
                }
            ],
        }
        tables = {name: pd.DataFrame(table) for name, table in rows.items()}
        write_snapshot(from_frames(tables, snapshot_at=day), Path("kept") / day)
    asked = ("score", "kept@2026-09-30", "upgrade-churn", "--policy", fewer, "--json")
    (row,) = json.loads(call(*asked).stdout)["rows"]
    assert row["third_party_changes_n"] == 4
    assert row["events_per_year"] == pytest.approx(4 / (183 / 365.25))
    asked = "report", "kept/2026-09-30", "--policy", fewer, "-o", "out"
    assert "with kept/2026-05-15" in call(*asked, "--previous", "kept/2026-05-15").stderr
    assert json.loads(Path("out/report.json").read_text())["scores"]["upgrade-churn"] == [
        row
    ]


def test_where_nobody_has_begun_it_shows_the_invented_sample_and_says_so(call, tmp_path):
    result = call("report")
    assert result.stdout == "reports/2026Q3/index.html\n"
    assert result.stderr.splitlines()[0].startswith("invented sample")
    place = tmp_path / "reports/2026Q3"
    for name in ("report.md", "summary.md", "decisions/reviews.md"):
        assert "Invented sample" in (place / name).read_text().splitlines()[0]
    page = (place / "index.html").read_text()
    header = page[page.index("<header") : page.index("</header")]
    assert header.index("Invented sample") < header.index("<h1")
    assert json.loads((place / "report.json").read_text())["is_invented"] is True


def test_an_empty_store_shows_the_invented_sample_and_the_page_needs_no_chromium(
    call, dozen, tmp_path, fewer, monkeypatch
):
    shipped = config.data_path
    monkeypatch.setattr(
        config, "data_path", lambda name: dozen if name == "sample" else shipped(name)
    )
    (tmp_path / "data" / "snapshots").mkdir(parents=True)
    asked = ("report", "--policy", fewer, "--pdf")
    result = call(*asked, code=1, ASSESS_CHROMIUM="no-such-browser")
    assert result.stdout == "reports/2026Q3/index.html\n"
    assert result.stderr.startswith("invented sample")
    assert f"snapshot {dozen}/2026Q3" in result.stderr
    home = tmp_path / "reports" / "2026Q3"
    assert (home / "index.html").stat().st_size > 10_000
    assert not (home / "report.pdf").exists()
    assert "error: cannot write a PDF: no-such-browser is not installed" in result.stderr
    assert "hint: run apt-get install chromium" in result.stderr


def test_the_newest_of_the_project_is_compared_with_the_report_of_the_quarter_before(
    call, dozen, tmp_path
):
    shutil.copytree(dozen, tmp_path / "data" / "snapshots")
    (tmp_path / "data" / "snapshots" / ".hidden").mkdir()
    policy = tmp_path / "own.toml"
    policy.write_text("[simulation]\ndraws = 200\n")
    call("report", "data/snapshots/2026Q2", "--policy", policy.name)
    policy.write_text("[simulation]\ndraws = 150\n")
    result = call("report", "--policy", policy.name)
    assert result.stdout == "reports/2026Q3/index.html\n"
    assert result.stderr.startswith(
        "snapshot data/snapshots/2026Q3, compared with data/snapshots/2026Q2"
    )
    page = tmp_path / "reports" / "2026Q3" / "index.html"
    assert "Since the report of 2026Q2, the policy changed" in page.read_text()
    (tmp_path / "reports" / "2026Q2" / "report.json").write_text("{")
    call("report", "--policy", policy.name)
    assert "Since the report of" not in page.read_text()
