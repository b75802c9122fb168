"""Newer dates over the facts that came along; what fails keeps the old."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from replay import replaying

from assess import reference
from assess.errors import AssessError
from assess.reference.update import products, refreshed, to_cycles, write

TODAY = date(2027, 1, 15)
DEBIAN = {
    "schema_version": "1.2.0",
    "result": {
        "name": "debian",
        "releases": [
            {
                "name": "14",
                "codename": "Forky",
                "releaseDate": "2027-01-10",
                "isLts": False,
                "eoasFrom": None,
                "eolFrom": "2030-06-30",
                "eoesFrom": "2032-06-30",
                "latest": {"name": "14.0", "date": "2027-01-10", "link": None},
            },
            {
                "name": "12",
                "codename": "Bookworm",
                "releaseDate": "2023-06-10",
                "eolFrom": "2026-09-01",
                "latest": {"name": "12.13", "date": "2026-05-16"},
            },
        ],
    },
}
ENGINE = [  # of the older API
    {
        "cycle": "30",
        "releaseDate": "2027-01-05",
        "eol": False,
        "latest": "30.0.1",
        "latestReleaseDate": "2027-01-12",
    },
    {"cycle": "29", "releaseDate": "2025-11-10", "eol": "2027-02-28", "latest": "29.9.0"},
    {"cycle": "18.09", "eol": "1999-01-01", "latest": "18.09.9"},
]


def test_a_published_product_stands_where_the_facts_have_it():
    for slug, (name, product) in products().items():
        facts = reference.table(name)
        column = {"distro_releases": "distro"}.get(name, "product")
        assert column not in facts or product in set(facts[column]), slug


def test_both_apis_are_read_and_anything_else_is_refused():
    first = to_cycles(DEBIAN)[0]
    assert first == {
        "line": "14",
        "release_date": "2027-01-10",
        "eoas_date": "",
        "eol_date": "2030-06-30",
        "extended_eol_date": "2032-06-30",
        "latest": "14.0",
        "latest_date": "2027-01-10",
        "codename": "Forky",
    }
    assert to_cycles(ENGINE)[0]["eol_date"] == ""
    for wrong in (
        {},
        [],
        None,
        "<html>",
        {"result": {"releases": [{"name": "sid"}]}},
        [1],
    ):
        with pytest.raises(AssessError, match="no answer"):
            to_cycles(wrong)


def test_dates_change_lines_come_and_nothing_is_lost():
    answers = {"debian": to_cycles(DEBIAN), "docker-engine": to_cycles(ENGINE)}
    made, changes = refreshed(answers, TODAY)
    assert set(made) == {"distro_releases", "engine_releases"}
    for name, facts in made.items():
        old = reference.table(name)
        assert list(facts.columns) == list(old.columns)
        assert len(facts) == len(old) + 1
        lost = old.notna() & facts.iloc[: len(old)].isna()
        assert not lost.any(axis=None)
    debian = made["distro_releases"].query("distro == 'debian'").set_index("version")
    assert debian.loc["14", ["codename", "eol_date"]].tolist() == ["Forky", "2030-06-30"]
    assert debian.loc["12", "eol_date"] == "2026-09-01"
    assert "endoflife.date: debian, 2027-01-15" in set(debian["source"])
    told = changes.query("line == '12' and column == 'eol_date'")
    assert told[["before", "after"]].to_numpy().tolist() == [["2026-07-11", "2026-09-01"]]
    engine = made["engine_releases"]
    newest = engine.set_index("version").loc["30.0.1"]
    assert newest[["release_line", "is_line_first"]].tolist() == ["30", "True"]
    assert set(engine.query("release_line == '29'")["line_eol_date"]) == {"2027-02-28"}
    # an end that a vendor stated is not overruled
    stated = engine.query("release_line == '18.09'")["line_eol_date"]
    assert "1999-01-01" not in set(stated)


def call(*arguments, facts):
    return subprocess.run(
        [sys.executable, "-m", "assess", *arguments],
        env={**os.environ, "ASSESS_FACTS": str(facts)},
        capture_output=True,
        text=True,
        check=False,
    )


def support(version, facts):
    code = (
        "import pandas as pd; from assess import reference;"
        f"print(reference.os_support('debian', {version!r}, pd.Timestamp('2027-02-01', tz='UTC')))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ASSESS_FACTS": str(facts)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_command_writes_what_came_and_says_what_did_not(tmp_path):
    place, facts = tmp_path / "downloads", tmp_path / "facts"
    place.mkdir()
    (place / "debian.json").write_text(json.dumps(DEBIAN))
    (place / "ubuntu.json").write_text("<html>sign in</html>")
    (place / "unrelated.json").write_text("{}")
    done = call("facts", "update", "--from", str(place), "--json", facts=facts)
    assert done.returncode == 0, done.stderr
    assert "ubuntu keeps its old facts" in done.stderr
    assert {row["product"] for row in json.loads(done.stdout)["rows"]} == {"debian"}
    rows = json.loads(call("facts", "--json", facts=facts).stdout)["rows"]
    assert {r["table"] for r in rows if r["origin"] == "updated"} == {"distro_releases"}
    assert "supported" in support("14", facts)
    assert "unknown" in support("14", "")


def test_a_failure_keeps_the_old(tmp_path):
    facts = tmp_path / "facts"
    write(facts, refreshed({"debian": to_cycles(DEBIAN)}, TODAY)[0], TODAY)
    before = {file.name: file.read_bytes() for file in facts.iterdir()}
    broken = tmp_path / "debian.json"
    broken.write_text("[")
    done = call("facts", "update", "--from", str(broken), facts=facts)
    assert done.returncode == 1
    assert "nothing was updated" in done.stderr
    assert {file.name: file.read_bytes() for file in facts.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def published(path, _query):
    """Answer as endoflife.date does, where all is well; and three ways in which it is not."""
    product = path.removeprefix("/api/v1/products/")
    return {
        "debian": DEBIAN,
        "docker-engine": ENGINE,
        "ubuntu": (200, b"<html>sign in</html>", {}),
        "fedora": (200, {"result": {"releases": []}}, {}),
    }.get(product, (404, b"{}", {}))


def test_the_network_is_asked_product_by_product(tmp_path):
    facts = tmp_path / "facts"
    with replaying(published) as server:
        place = f"{server.url}/api/v1/products"
        done = call("facts", "update", "--from", place, "--json", facts=facts)
    assert done.returncode == 0, done.stderr
    assert [path for path, *_ in server.asked] == [
        f"/api/v1/products/{slug}" for slug in products()
    ]
    for slug in ("ubuntu", "fedora", "nomad"):
        assert f"{slug} keeps its old facts" in done.stderr
    assert {row["product"] for row in json.loads(done.stdout)["rows"]} == {
        "debian",
        "docker",
    }
    assert "supported" in support("14", facts)
    before = {file.name: file.read_bytes() for file in facts.iterdir()}
    # the server is down by now
    gone = call("facts", "update", "--from", place, facts=facts)
    assert gone.returncode == 1
    assert "nothing was updated" in gone.stderr
    assert gone.stderr.count("keeps its old facts") == 1
    assert {file.name: file.read_bytes() for file in facts.iterdir()} == before


def test_a_new_line_of_the_engine_has_its_pace_and_its_end(tmp_path):
    facts = tmp_path / "facts"
    write(facts, refreshed({"docker-engine": to_cycles(ENGINE)}, TODAY)[0], TODAY)
    code = (
        "from assess import reference as r; print(r.target_engine({}), r.engine_line('30.0.1'),"
        "r.engine_lines().loc['30', 'releases_n'], r.support_windows('docker')['29'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ASSESS_FACTS": str(facts)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found.split() == ["30", "30", "1", "475.0"]


def test_where_the_new_cannot_take_its_place_the_old_stays(tmp_path, monkeypatch):
    facts = tmp_path / "facts"
    made = refreshed({"debian": to_cycles(DEBIAN)}, TODAY)[0]
    write(facts, made, TODAY)
    before = {file.name: file.read_bytes() for file in facts.iterdir()}

    def fail(self, target):
        raise OSError(28, "no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(AssessError, match="no space"):
        write(facts, made, date(2027, 2, 1))
    assert {file.name: file.read_bytes() for file in facts.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["facts"]


def test_tables_older_than_those_that_came_along_do_not_count(tmp_path):
    facts = tmp_path / "facts"
    old = date(2020, 1, 1)
    write(facts, refreshed({"debian": to_cycles(DEBIAN)}, old)[0], old)
    assert Path(facts / "distro_releases.csv").is_file()
    assert "unknown" in support("14", facts)


def test_lines_of_managed_clusters_and_node_systems_are_updated():
    line = {"name": "1.37", "releaseDate": "2027-01-02", "eolFrom": "2028-03-02"}
    cycles = {
        "amazon-eks": to_cycles([{**line, "eoesFrom": "2029-03-02"}]),
        "cos": to_cycles([{"name": "cos-133", "eolFrom": "2029-03-01"}]),
    }
    made, changes = refreshed(cycles, TODAY)
    managed = made["managed_lines"].set_index(["product", "line"])
    assert managed.loc[("amazon-eks", "1.37"), "extended_eol_date"] == "2029-03-02"
    assert "133" in set(made["distro_releases"].query("distro == 'cos'")["version"])
    assert set(changes["line"]) == {"1.37", "133"}
