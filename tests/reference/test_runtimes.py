from __future__ import annotations

import csv
from importlib.resources import files

import pandas as pd
import pytest

from assess import reference
from assess.errors import PolicyError


@pytest.mark.parametrize(
    ("driver", "last", "first_without"),
    [
        ("aufs", "23.0", "24.0"),
        ("overlay", "23.0", "24.0"),
        ("devicemapper", "24.0", "25.0"),
    ],
)
def test_drivers_that_stop_working(driver, last, first_without):
    assert reference.driver_runs(driver, "1.12.6")
    assert reference.driver_runs(driver, last)
    assert reference.driver_runs(driver, first_without) is False
    assert reference.driver_runs(driver, "29") is False
    assert reference.driver_runs(driver, "99.0.0") is False  # what is gone stays gone


def test_drivers_that_stay():
    assert reference.driver_runs("overlay2", "29")
    assert reference.driver_runs("overlay2", "1.11.2") is False
    assert reference.driver_runs("overlay2", "99.0.0") is None
    assert reference.driver_runs("novel", "29") is None
    assert reference.driver_runs(None, "29") is None
    assert reference.driver_runs("overlay2", None) is None


@pytest.mark.parametrize(
    ("kernel", "engine", "runs"),
    [
        ("3.8.0", "1.11.2", True),  # a warning only
        ("3.8.0", "1.12.6", False),
        ("3.10.0-327.el7.x86_64", "20.10.24", True),
        ("3.10.0-327.el7.x86_64", "29", False),
        ("3.10.0-1160.el7.x86_64", "29", True),  # the feature was back-ported
        ("3.13.0-24-generic", "24.0", True),  # devicemapper
        ("3.13.0-24-generic", "25.0", False),
        ("6.1.0-21-amd64", "29.9.0", True),
        ("6.1.0-21-amd64", "99.0.0", None),
        ("3.13.0-24-generic", "99", False),  # no later engine carries an older kernel
        ("6.1.0-21-amd64", "0.5", None),
        ("unknown", "29", None),
        (None, "29", None),
    ],
)
def test_kernels(kernel, engine, runs):
    assert reference.kernel_runs(kernel, engine) is runs


@pytest.mark.parametrize(
    ("version", "span"),
    [
        ("20.10.24+dfsg1", ("1.12", "1.41")),
        ("26.1.5", ("1.24", "1.45")),
        ("28.5.2", ("1.24", "1.51")),
        ("29.0.0", ("1.44", "1.52")),
        ("29", ("1.40", "1.55")),
        ("1.6.2", (None, "1.18")),
        ("99.0.0", (None, None)),
        ("master", (None, None)),
    ],
)
def test_api_ranges(version, span):
    assert reference.api_range(version) == span


def test_the_target_is_the_policys_or_the_newest_line():
    assert reference.target_engine({"runtime": "docker", "engine": ""}) == "29"
    assert reference.target_engine({"engine": "26.1.5"}) == "26.1.5"
    with pytest.raises(PolicyError):
        reference.target_engine({"engine": "newest"})


@pytest.mark.parametrize(
    ("engine", "floor"),
    [
        ("1.11.2", ""),  # warns, and starts
        ("20.10.24", "3.10.0"),
        ("24.0", ""),  # devicemapper asks for none
        ("29", "4.0"),
        ("99.0.0", None),
        ("", None),
    ],
)
def test_kernel_floors(engine, floor):
    assert reference.kernel_floor(engine) == floor


def test_drivers_that_a_target_no_longer_has():
    assert reference.drivers_gone("19.03") == {}
    assert reference.drivers_gone("24.0").keys() == {"aufs", "overlay", "lcow"}
    assert reference.drivers_gone("29")["devicemapper"] == "25.0.0"
    assert reference.drivers_gone("master") == {}


def stored(name):
    """Read a table as it is on disk, past the package."""
    with (files("assess.reference") / f"{name}.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("row", stored("engine_releases"), ids=lambda row: row["version"])
def test_ends_of_life_and_api_ranges_of_every_release_are_those_of_the_tables(row):
    at = pd.Timestamp("2026-09-30", tz="UTC")
    found = reference.product_support("docker", row["version"], at)
    end = row["policy_eol_date"] or row["line_eol_date"]
    assert found.line == row["release_line"]
    assert (found.eol_date and f"{found.eol_date:%Y-%m-%d}") == (end or None)
    assert (found.state == "ended") == (end != "" and end < "2026-09-30")
    if row["api_version_max"]:
        span = (row["api_version_min"] or None, row["api_version_max"])
        assert reference.api_range(row["version"]) == span


def test_lines_are_counted_as_the_world_counts_them():
    stated = pd.DataFrame(stored("engine_line_stats")).set_index("release_line")
    found = reference.engine_lines().reindex(stated.index)
    ours = {
        "releases_n": "releases_public",
        "active_days": "active_days",
        "support_days": "support_window_days",
        "stated_days": "policy_window_days",
        "breaking": "breaking",
        "removed": "removed",
        "deprecated": "deprecated",
        "regression": "regressions",
        "security": "security",
    }
    for name, theirs in ours.items():
        expected = pd.to_numeric(stated[theirs]).astype("Float64")
        made = found[name].astype("Float64")
        pd.testing.assert_series_equal(made, expected, check_names=False, obj=name)
    pace = pd.to_numeric(stated["releases_per_year"])
    assert found["releases_per_year"].isna().tolist() == pace.isna().tolist()
    assert (
        found["releases_per_year"] - pace
    ).abs().max() < 0.051  # rounded to a tenth there
    windows = reference.support_windows(reference.ENGINE).reindex(stated.index)
    assert windows.equals(
        found["stated_days"].fillna(found["support_days"]).astype("Float64")
    )


def test_years_are_counted_from_the_same_tables():
    stated = (
        pd.DataFrame(stored("engine_year_stats")).set_index("year").drop(columns="source")
    )
    lines = reference.engine_lines()
    releases, changes = (
        reference.table(name) for name in ("engine_releases", "engine_changes")
    )
    year = releases["release_date"].str[:4]
    kinds = pd.crosstab(changes["release_date"].str[:4], changes["kind"])
    found = kinds.assign(
        releases_all=year.value_counts(),
        releases_public=year[releases["channel"].ne("source_tag")].value_counts(),
        new_lines=lines["first_release"].dt.year.astype(str).value_counts(),
    )
    made = found.reindex(index=stated.index, columns=stated.columns).fillna(0).astype(int)
    pd.testing.assert_frame_equal(made, stated.astype(int), check_names=False)


def test_outages_by_kind_and_service():
    everything = reference.outages()
    assert len(everything) == len(stored("outages"))
    assert everything["duration_minutes"].count() == 12
    hub = reference.outages("registry", service="docker-hub")
    assert set(hub["kind"]) | set(hub["service"]) == {"registry", "docker-hub"}
    assert reference.outages("blimp").empty
