"""Exposure budget, move-together groups and waves."""

import pandas as pd
import pytest

from assess.frames import conform
from assess.score.waves import container_experience, cycle_groups, exposure_budget, waves


@pytest.mark.parametrize(("months", "services"), [(12, 1), (60, 5), (120, 10)])
def test_budget_of_clean_months(months, services):
    assert exposure_budget(0, months, appetite=0.5, months=3) == services


def test_incidents_shrink_the_budget():
    clean, soiled = (exposure_budget(n, 120, appetite=0.5, months=3) for n in (0, 6))
    assert soiled < clean


def test_no_experience_allows_nothing():
    assert exposure_budget(0, 0, appetite=0.5, months=3) == 0


def test_experience_counts_what_was_in_a_container_at_that_time():
    services = pd.DataFrame({"service_id": ["a", "b"], "platform": ["docker", "host"]})
    incidents, _ = conform(
        "incidents",
        pd.DataFrame(
            {
                "incident_id": list("12345"),
                "service_id": ["a", "a", "b", "b", "a"],
                "platform_at_time": [None, "host", "ecs", None, "docker"],
                "bad_time": [None, "false", None, None, "true"],
                "opened_at": ["2026-07-01T00:00:00Z"] * 5,
            }
        ),
    )
    assert container_experience(services, incidents, window_months=6) == (2, 6)


def test_a_cycle_moves_together():
    edges = pd.DataFrame(
        {"src_id": ["b", "c", "d", "a"], "dst_id": ["c", "b", "b", "ext:outside"]}, dtype="str"
    )
    groups = cycle_groups(pd.Index(list("abcd")), edges)
    assert groups.to_dict() == {"a": "a", "b": "b", "c": "b", "d": "d"}


def test_waves_respect_the_budget_and_leave_broken_groups_out():
    frame = pd.DataFrame(
        {
            "label": ["MOVE NOW", "PILOT", "PILOT", "MOVE NOW", "HOLD"],
            "p_top": [0.9, 0.5, 0.4, 0.8, 0.0],
            "group": ["a", "b", "c", "d", "d"],
        },
        index=list("abcde"),
    )
    assert waves(frame, budget=2).to_list() == [1, 1, 2, pd.NA, pd.NA]
    assert waves(frame, budget=0).isna().all()
