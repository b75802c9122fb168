from __future__ import annotations

import pandas as pd
import pytest

from assess import reference
from assess.errors import PolicyError


@pytest.mark.parametrize(
    ("driver", "last", "first_without"),
    [("aufs", "23.0", "24.0"), ("overlay", "23.0", "24.0"), ("devicemapper", "24.0", "25.0")],
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


def recounted():
    known = reference.table("engine_releases")
    known["day"] = pd.to_datetime(known["release_date"])
    public = known[(known["channel"] != "source_tag") & known["day"].notna()]
    lines = public.groupby("release_line", sort=False)
    first, last = lines["day"].min(), lines["day"].max()
    found = pd.DataFrame({"releases_public": lines.size(), "active_days": (last - first).dt.days})
    found["releases_all"] = known.groupby("release_line").size()
    for column, source in (("support", "line_eol_date"), ("policy", "policy_eol_date")):
        end = pd.to_datetime(known.groupby("release_line")[source].first())
        found[f"{column}_window_days"] = (end - first).dt.days
    pace = found["releases_public"] / (found["active_days"] / 365.25)
    found["releases_per_year"] = pace.where(found["active_days"] >= 60)
    changes = reference.table("engine_changes")
    kinds = pd.crosstab(changes["release_line"], changes["kind"])
    return found.join(kinds.rename(columns={"regression": "regressions"})).fillna(
        dict.fromkeys(["breaking", "removed", "deprecated", "regressions", "security"], 0)
    )


def test_lines_recounted_from_releases_and_changes():
    stated = reference.table("engine_line_stats").set_index("release_line")
    found = recounted().reindex(stated.index)
    counts = ["releases_public", "releases_all", "active_days", "support_window_days",
              "policy_window_days", "breaking", "removed", "deprecated", "regressions",
              "security"]  # fmt: skip
    expected = stated[counts].apply(pd.to_numeric).astype("Float64")
    pd.testing.assert_frame_equal(found[counts].astype("Float64"), expected, check_names=False)
    pace = pd.to_numeric(stated["releases_per_year"])
    assert found["releases_per_year"].isna().tolist() == pace.isna().tolist()
    assert (found["releases_per_year"] - pace).abs().max() < 0.051
