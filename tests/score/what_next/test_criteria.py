"""Criteria: by hand, on one scale from 0 to 1, high means earlier."""

from types import SimpleNamespace

import pandas as pd
import pytest

from assess.policy import load_policy
from assess.score.what_next.ranking import NEEDS, criteria_table

# 600 minutes, 400 hours, 30 days and 10 points of containment are full
POLICY = load_policy()
BLAST = ["impact", "delta", "expected_minutes_per_year"]


def bounds(columns, *rows):
    """Frames of (point, lo, hi) for services named a, b …"""
    names = [c + end for c in columns for end in ("", "_lo", "_hi")]
    return pd.DataFrame(
        list(rows), columns=names, index=list("abc")[: len(rows)], dtype="Float64"
    )


def table(
    effort=(100.0,),
    lead=(15.0,),
    readiness=(80, 60, 90),
    churn=(30, 20, 40),
    blast=(0.2, 0.1, 0.3, -0.05, -0.1, 0.0, 300, 60, 900),
):
    services = pd.DataFrame(
        {"move_effort_hours": effort, "lead_time_days": lead},
        index=["a"],
        dtype="Float64",
    )
    scores = (
        SimpleNamespace(frame=bounds(["readiness"], readiness)),
        SimpleNamespace(details={"services": bounds(BLAST, blast)}),
        SimpleNamespace(frame=bounds(["score"], churn)),
    )
    found = criteria_table(services, *scores, POLICY)
    return {row.criterion: (row.point, row.lo, row.hi) for row in found.itertuples()}


def test_criteria_by_hand():
    found = table()
    assert list(found) == list(POLICY["criteria"])
    assert found["readiness"] == pytest.approx((0.8, 0.6, 0.9))
    assert found["containment"] == pytest.approx((0.75, 0.5, 1.0))  # half is no change
    assert found["low_blast_radius"] == pytest.approx((0.8, 0.7, 0.9))
    assert found["low_churn"] == pytest.approx((0.7, 0.6, 0.8))
    # 300 of 600, 15 of 30; mean
    assert found["pain_today"] == pytest.approx((0.5, 0.3, 0.75))
    assert found["low_effort"] == pytest.approx((0.75, 0.75, 0.75))


def test_what_is_unknown_spans_all_that_is_possible():
    found = table(
        effort=[pd.NA],
        lead=[pd.NA],
        readiness=[pd.NA] * 3,
        churn=[pd.NA] * 3,
        blast=[pd.NA] * 9,
    )
    assert set(found.values()) == {(0.5, 0.0, 1.0)}
    assert set(NEEDS) == set(POLICY["criteria"]) - {"readiness"}


def test_an_unknown_point_stays_between_known_ends():
    found = table(blast=(0.2, 0.1, 0.3, pd.NA, 0.05, 0.08, 300, 60, 900))
    assert found["containment"] == pytest.approx((0.25, 0.1, 0.25))


def test_one_end_alone_leaves_the_other_open():
    assert table(lead=[pd.NA])["pain_today"] == pytest.approx((0.5, 0.05, 1.0))
    halves = table(lead=[pd.NA], blast=(0.2, 0.1, 0.3, -0.05, -0.1, 0.0, 300, 60, 360))
    assert halves["pain_today"] == pytest.approx((0.5, 0.05, (0.6 + 1) / 2))


def test_what_is_beyond_the_scale_counts_as_its_end():
    found = table(
        effort=[4000.0], blast=(0.0, 0.0, 1.0, 0.5, -0.5, 0.9, 6000, 6000, 6000)
    )
    assert found["low_effort"] == (0, 0, 0)
    assert found["containment"] == (0, 0, 1)
    assert found["pain_today"][1] == pytest.approx(0.75)
