"""Exposure budget, move-together groups and waves."""

from itertools import combinations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.score.what_next.waves import cycle_groups, exposure_budget, waves


@pytest.mark.parametrize(("months", "services"), [(12, 1), (60, 5), (120, 10)])
def test_budget_of_clean_months(months, services):
    assert exposure_budget(0, months, appetite=0.5, months=3) == services


def test_incidents_shrink_the_budget():
    clean, soiled = (exposure_budget(n, 120, appetite=0.5, months=3) for n in (0, 6))
    assert soiled < clean


def test_no_experience_allows_nothing():
    assert exposure_budget(0, 0, appetite=0.5, months=3) == 0


def test_a_cycle_moves_together():
    edges = pd.DataFrame(
        {"src_id": ["b", "c", "d", "a"], "dst_id": ["c", "b", "b", "ext:outside"]},
        dtype="str",
    )
    groups = cycle_groups(pd.Index(list("abcd")), edges)
    assert groups.to_dict() == {"a": "a", "b": "b", "c": "b", "d": "d"}


def plan(rows, calls=(), **limits):
    frame = pd.DataFrame(rows, columns=["service_id", "label", "p_top", "group", "hours"])
    edges = pd.DataFrame(calls, columns=["src_id", "dst_id"], dtype="str")
    settings = {"capacity_hours": 100, "effort_hours_max": 60, "waves_max": 4, **limits}
    budget = limits.get("budget", 2)
    return waves(frame.set_index("service_id"), edges, settings, budget=budget)


FIVE = [
    ("a", "MOVE NOW", 0.9, "a", 10),
    ("b", "PILOT", 0.5, "b", 10),
    ("c", "PILOT", 0.4, "c", 10),
    ("d", "MOVE NOW", 0.8, "d", 10),
    ("e", "HOLD", 0.0, "d", 10),
]


def test_waves_respect_the_budget_and_leave_broken_groups_out():
    found = plan(FIVE)
    assert found["wave"].to_dict() == {"a": 1, "d": None, "b": 1, "c": 2}
    assert found.loc["d", "why"] == "moves together with a service that may not move"
    none = plan(FIVE, budget=0)
    assert none["wave"].isna().all()
    assert none.loc["a", "why"] == "infeasible: 1 at once, the exposure budget allows 0"


def test_hours_are_a_limit_and_what_nobody_estimated_counts_in_full():
    rows = [
        ("a", "PILOT", 0.9, "a", 50),
        ("b", "PILOT", 0.8, "b", None),
        ("c", "PILOT", 0.7, "c", 50),
        ("d", "PILOT", 0.6, "d", 101),
    ]
    found = plan(rows, budget=9)
    assert found["wave"].to_dict() == {"a": 1, "b": 2, "c": 1, "d": None}
    assert found.loc["d", "why"] == "infeasible: 101 hours, a quarter has 100"
    assert found.loc["b", "hours"] == 60


def test_half_an_hour_too_much_is_too_much():
    rows = [("a", "PILOT", 0.9, "a", 60), ("b", "PILOT", 0.8, "b", 40.5)]
    assert plan(rows, budget=9)["wave"].to_dict() == {"a": 1, "b": 2}
    exact = plan(rows, budget=9, capacity_hours=100.5)
    assert exact["wave"].to_dict() == {"a": 1, "b": 1}


def test_the_best_wave_is_no_greedy_one():
    rows = [
        ("a", "PILOT", 0.6, "a", 100),
        ("b", "PILOT", 0.5, "b", 50),
        ("c", "PILOT", 0.5, "c", 50),
    ]
    assert plan(rows)["wave"].to_dict() == {"a": 2, "b": 1, "c": 1}  # .5 + .5 beats .6


def test_what_is_called_moves_no_later_than_its_caller():
    rows = [
        ("a", "PILOT", 0.9, "a", 10),
        ("b", "PILOT", 0.3, "b", 10),
        ("c", "PILOT", 0.5, "c", 10),
    ]
    assert plan(rows, [("a", "b")], budget=1)["wave"].to_dict() == {
        "c": 1,
        "b": 2,
        "a": 3,
    }
    assert plan(rows, [("a", "b")], budget=2)["wave"].to_dict() == {
        "a": 1,
        "b": 1,
        "c": 2,
    }
    # what stays where it is can be called from anywhere
    rows[1] = ("b", "HOLD", 0.0, "b", 10)
    assert plan(rows, [("a", "b")], budget=1)["wave"].to_dict() == {"a": 1, "c": 2}


def test_a_group_moves_as_one_and_counts_as_all_of_its_services():
    rows = [
        ("a", "PILOT", 0.9, "a", 10),
        ("b", "PILOT", 0.2, "a", 10),
        ("c", "PILOT", 0.8, "c", 10),
    ]
    found = plan(rows, [("a", "b"), ("b", "a")])
    assert found["wave"].to_dict() == {"a": 1, "c": 2}
    assert found.loc["a", ["services_n", "hours"]].tolist() == [2, 20]
    assert "2 at once" in plan(rows, budget=1).loc["a", "why"]


def test_what_lies_beyond_the_plan_is_said():
    rows = [(name, "PILOT", 0.5, name, 10) for name in "abc"]
    found = plan(rows, budget=1, waves_max=2)
    assert found["wave"].to_dict() == {"a": 1, "b": 2, "c": None}  # equals by name
    assert found.loc["c", "why"] == "does not fit into the next 2 waves"
    assert plan([]).empty


cells = st.tuples(st.integers(0, 10), st.integers(1, 9), st.integers(0, 3))


@settings(max_examples=30)
@given(
    st.lists(cells, min_size=1, max_size=7),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=6),
    st.integers(1, 4),
    st.integers(3, 20),
    st.randoms(use_true_random=False),
)
def test_every_wave_is_the_best_that_fits(services, calls, budget, capacity, rng):
    """Against all subsets, and whatever the order of the rows."""
    rows = [
        (f"s{i}", "PILOT", p / 10, f"s{i}", float(hours))
        for i, (p, hours, _) in enumerate(services)
    ]
    n = len(rows)
    edges = [(f"s{a}", f"s{b}") for a, b in calls if a < b < n]
    limits = {"budget": budget, "capacity_hours": float(capacity), "waves_max": 3}
    found = plan(rows, edges, **limits)
    rng.shuffle(rows)
    rng.shuffle(edges)
    pd.testing.assert_frame_equal(plan(rows, edges, **limits), found)

    left = set(found.index[~found["why"].str.startswith("infeasible")])
    chance = {row[0]: row[2] for row in rows}
    hours = {row[0]: row[4] for row in rows}

    def fits(taken):
        waits = any(a in taken and b in left - taken for a, b in edges if b in left)
        return (
            len(taken) <= budget
            and sum(hours[s] for s in taken) <= capacity
            and not waits
        )

    def worth(taken):
        return sum(round(chance[s] * 1e4) + 1 for s in taken)

    for wave in (1, 2, 3):
        taken = set(found.index[found["wave"].eq(wave).fillna(False)])
        assert fits(taken)
        sets = (
            set(c)
            for size in range(len(left) + 1)
            for c in combinations(sorted(left), size)
        )
        assert worth(taken) == max(worth(other) for other in sets if fits(other))
        left -= taken
