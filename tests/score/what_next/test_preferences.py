"""Boards: SMAA worked by hand on two and three services, and the knob of the meeting."""

import numpy as np
import pandas as pd
import pytest

from assess.policy.policy import load_policy
from assess.score.what_next.preferences import Contest, over_boards

POLICY = load_policy().replace(simulation={"draws": 20_000}, what_next={"k": 1})
CRITERIA = list(POLICY["criteria"])
EMPTY = dict.fromkeys(CRITERIA, 0.0)
SOME = 0.015  # four standard errors of a share at so many draws


def contest(services, *, policy=POLICY, **columns):
    """A contest of services with these values, or (lo, hi), by criterion; the rest is 0."""
    rows = [
        {
            "service_id": name,
            "criterion": c,
            **dict(zip(("lo", "hi"), np.broadcast_to(v, 2), strict=True)),
        }
        for name, values in services.items()
        for c, v in {**EMPTY, **values}.items()
    ]
    frame = pd.DataFrame(
        {"label_gates": None, "readiness_lo": 90.0, "platform": "host", **columns},
        index=pd.Index(list(services), name="service_id"),
    )
    return Contest.of(frame, pd.DataFrame(rows), policy)


TWO = {"a": {"readiness": 1.0}, "b": {"containment": 1.0}}
THREE = {**TWO, "c": {"low_churn": 0.5}}


def test_two_with_a_criterion_each_share_the_weightings():
    frame, details = contest(TWO).all_weightings()
    assert frame["p_first"].to_list() == pytest.approx([0.5, 0.5], abs=SOME)
    assert frame["rank_expected"].to_list() == pytest.approx([1.5, 1.5], abs=0.02)
    # of the two weights the larger one, on average over the simplex of six: (1/2 + 1) / 6
    weights = details["central_weights"].pivot_table("weight", "service_id", "criterion")
    assert weights.loc["a", "readiness"] == pytest.approx(1.5 / 6, abs=SOME)
    assert weights.loc["a", "containment"] == pytest.approx(0.5 / 6, abs=SOME)
    ranks = details["acceptability"].groupby("service_id")["probability"].sum()
    assert ranks.to_list() == pytest.approx([1, 1])


def test_the_third_is_first_where_its_weight_is_twice_both_others():
    # exponential weights: P(w3 / 2 > max(w1, w2)) = 1 - 2 * (2/3) + 1/2 = 1/6
    frame, _ = contest(THREE).all_weightings()
    assert frame["p_first"].to_list() == pytest.approx([5 / 12, 5 / 12, 1 / 6], abs=SOME)
    assert frame["rank_equal"].to_list() == [1, 1, 3]


@pytest.mark.parametrize(
    ("board", "first"),
    [
        ({"order": ["readiness", "containment"]}, [1, 0]),
        ({"order": ["containment"]}, [0, 1]),
        ({"intervals": {"readiness": [0, 0.1], "containment": [0.2, 1]}}, [0, 1]),
        ({"weights": {"readiness": 2, "containment": 1}}, [1, 0]),
        ({"weights": {"readiness": 1, "containment": 1}}, [0.5, 0.5]),
        ({}, [0.5, 0.5]),
    ],
)
def test_a_board_by_order_by_intervals_and_by_weights(board, first):
    found = contest(TWO).under(board)
    assert found["p_first"].to_list() == pytest.approx(first, abs=SOME)


def test_every_board_has_its_chances_and_its_labels():
    boards = [
        {"id": "one", "order": ["readiness"]},
        {"id": "two", "order": ["containment"]},
    ]
    table = over_boards(contest(TWO), boards).set_index(["board", "service_id"])["label"]
    assert table.to_dict() == {
        ("one", "a"): "MOVE NOW",
        ("one", "b"): "HOLD",
        ("two", "a"): "HOLD",
        ("two", "b"): "MOVE NOW",
    }
    assert over_boards(contest(TWO), []).empty


def test_only_candidates_with_clear_gates_compete_and_hope_stops_at_never():
    gates = {"a": "NEVER", "b": "HOLD", "c": None}
    held = contest(THREE, label_gates=gates.values(), platform=["host", "host", "host"])
    frame, _ = held.all_weightings()
    assert frame["p_first"].to_list() == [0, 0, 1]
    assert frame["p_top_neutral"].to_list() == pytest.approx([0, 2 / 3, 1 / 3], abs=SOME)
    inside = contest(THREE, platform=["host", "ecs", "host"]).all_weightings()[0]
    assert inside["p_first"].isna().to_list() == [False, True, False]


def test_the_unknown_counts_at_its_worst_and_the_neutral_run_shows_what_it_could_buy():
    frame, _ = contest(
        {"a": {"readiness": 0.5}, "b": {"readiness": (0.0, 1.0)}}
    ).all_weightings()
    assert frame["p_top"].to_list() == [1, 0]
    assert frame["p_top_neutral"].to_list() == pytest.approx([0.5, 0.5], abs=SOME)
    assert frame.loc["a", "confidence"] == pytest.approx(0.5, abs=0.07)  # 1,000 draws


def test_a_list_longer_than_the_fleet_takes_everybody():
    longer = POLICY.replace(what_next={"k": 50})
    frame, _ = contest(THREE, policy=longer).all_weightings()
    assert frame["p_top"].to_list() == [1, 1, 1]
    nobody, details = contest(THREE, policy=longer, label_gates="HOLD").all_weightings()
    assert nobody["p_top"].to_list() == [0, 0, 0]
    assert details["acceptability"].empty


def test_what_a_measurement_is_worth_is_the_chance_with_it():
    held = contest({"a": {"readiness": 0.6}, "b": {"low_effort": (0.0, 1.0)}})
    assert held.options(0) == []
    [(name, _, best, middle)] = held.options(1)
    # readiness at .6 against effort at 1 and at a half: P(w2 > .6 w1) = 1 / 1.6, P(.5 w2 > .6 w1)
    assert (name, best, middle) == (
        "low_effort",
        pytest.approx(1 / 1.6, abs=SOME),
        pytest.approx(0.5 / 1.1, abs=SOME),
    )


def test_the_same_seed_gives_the_same_numbers_in_any_order():
    one, two = contest(THREE), contest(dict(reversed(THREE.items())))
    pd.testing.assert_frame_equal(one.all_weightings()[0], two.all_weightings()[0])
    board = {"id": "x", "order": ["readiness"]}
    pd.testing.assert_frame_equal(one.under(board), two.under(board))
