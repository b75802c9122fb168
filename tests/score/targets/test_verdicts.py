"""Verdicts and costs from rows made by hand: what decides, at its bound and beside it."""

from __future__ import annotations

import pandas as pd
import pytest

from assess.policy import load_policy
from assess.score.incidents.rates import Interval
from assess.score.targets import wanted
from assess.score.targets.place import HOURS, Past, cost, host_rate, upgrade_hours
from assess.score.targets.refusals import _gate_blockers, _unready, verdicts

POLICY = load_policy()
LEAST = POLICY["what_next"]["pilot_points"]
NAMES = pd.Index(["a", "b", "c"], name="service_id")


def test_the_worst_blocker_decides_and_comes_first():
    found = [
        ("a", "after fixes", "one; two"),
        ("a", "no", "three"),
        ("a", "unknown", "four"),
        ("a", "no", "three"),
        ("b", "after fixes", "five"),
        ("b", "unknown", "six"),
    ]
    table = verdicts(found, NAMES)
    assert table["verdict"].tolist() == ["no", "unknown", "fits"]
    assert table["blockers"].tolist() == ["three; four; one, two", "six; five", ""]


@pytest.mark.parametrize(
    ("lo", "hi", "verdict"),
    [
        (LEAST, 100, None),
        (LEAST - 0.1, LEAST - 0.1, "after fixes"),
        (LEAST - 0.1, LEAST, "unknown"),
        (0, 100, "unknown"),
    ],
)
def test_readiness_is_in_the_way_where_it_is_surely_too_low(lo, hi, verdict):
    columns = {"readiness": [lo], "readiness_lo": [lo], "readiness_hi": [hi]}
    found = _unready(POLICY, pd.DataFrame(columns, index=["a"]))
    assert [row[:2] for row in found] == ([("a", verdict)] if verdict else [])


@pytest.mark.parametrize(
    ("label", "state", "verdict"),
    [
        ("NEVER", "fail", "no"),
        ("NEVER", "unknown", "unknown"),
        ("NOT DECIDABLE", "fail", "unknown"),
        ("HOLD", "fail", "after fixes"),
        ("HOLD", "unknown", "unknown"),
        ("HOLD", "waived", None),
        ("NEVER", "pass", None),
    ],
)
def test_an_open_gate_is_in_the_way_as_hard_as_its_label(label, state, verdict):
    row = {"service_id": "a", "gate": "G1", "label": label, "state": state}
    found = _gate_blockers(pd.DataFrame([{**row, "evidence": "why"}]))
    assert found == ([("a", verdict, "G1 why")] if verdict else [])


def priced(**prices):
    size = pd.DataFrame(
        {
            **{"cpu": [0.5, None], "cpu_lo": [0.25, None], "cpu_hi": [1.0, None]},
            **{"memory": [2.0, None], "memory_lo": [1.0, None], "memory_hi": [4.0, None]},
        },
        index=["a", "b"],
        dtype="Float64",
    )
    ends = {"replicas": 2.0, "replicas_lo": 1.0, "replicas_hi": 3.0}
    replicas = pd.DataFrame(ends, index=NAMES, dtype="Float64")
    return cost({"id": "t", "prices": prices}, size, replicas)


def test_a_month_costs_what_its_replicas_take_and_what_is_fixed():
    found = priced(vcpu_hour=0.04, gib_hour=0.005, service_month=3)
    each = [0.25 * 0.04 + 0.005, 0.5 * 0.04 + 0.01, 0.04 + 0.02]
    wanted = [each[0] * HOURS + 3, each[1] * 2 * HOURS + 3, each[2] * 3 * HOURS + 3]
    ends = ["cost_per_month_lo", "cost_per_month", "cost_per_month_hi"]
    assert found.frame.loc["a", ends].tolist() == [round(each, 2) for each in wanted]
    assert found.frame.loc["b"].isna().all()
    assert found.missing["a"] == ""
    assert found.missing["c"].count("; ") == 1
    assert found.missing["c"].startswith("its CPU")


def test_what_is_free_asks_for_no_size_and_no_price_is_no_cost():
    fixed = priced(vcpu_hour=0, gib_hour=0, service_month=7)
    assert (fixed.frame == 7).all(axis=None)
    assert (fixed.missing == "").all()
    memory = priced(vcpu_hour=0, gib_hour=0.01, service_month=0)
    assert memory.frame.loc["a", "cost_per_month"] == round(2 * 0.01 * HOURS * 2, 2)
    assert memory.missing["b"].startswith("its memory")
    # a price that is left out beside others is unknown as well, never 0
    partly = priced(vcpu_hour=0.04, service_month=7)
    assert partly.frame.isna().all(axis=None)
    assert set(partly.missing) == {
        "prices of the target (policy target.prices: gib_hour)"
    }
    nothing = priced()
    assert nothing.frame.isna().all(axis=None)
    assert nothing.missing["a"].endswith("vcpu_hour, gib_hour, service_month)")


def test_all_services_share_the_hosts_of_a_target_at_best_and_none_at_worst():
    past = Past(Interval(1.0, 1.0, 4.0), Interval(0.1, 0.0, 0.2))
    (docker,) = (row for row in wanted(POLICY) if row["id"] == "docker")
    alone = upgrade_hours(docker, POLICY, {}, pd.Index(["a"]), past).iloc[0]
    many = upgrade_hours(docker, POLICY, {}, pd.Index(list("abcd")), past)
    rate = host_rate(docker, POLICY, past.own)
    work = POLICY["churn"]["hours_upgrade"] * docker["hosts_n"]
    assert alone["hours_per_year_lo"] == pytest.approx(rate.lo * work)
    assert many["hours_per_year_lo"].tolist() == pytest.approx([rate.lo * work / 4] * 4)
    assert many["hours_per_year"].eq(alone["hours_per_year"]).all()
    assert many["hours_per_year_hi"].eq(alone["hours_per_year_hi"]).all()
