"""Ranking: SMAA worked by hand on two and three services, and the knob of the meeting."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.policy import load_policy
from assess.score.what_next.ranking import CutOff, Ranking, ShortList
from assess.score.what_next.smaa import acceptability, on_grid, simplex_weights

POLICY = load_policy().replace(simulation={"draws": 20_000}, what_next={"k": 1})
CRITERIA = list(POLICY["criteria"])
EMPTY = dict.fromkeys(CRITERIA, 0.0)
SOME = 0.015  # four standard errors of a share at so many draws


def ranking(services, *, policy=POLICY, **columns):
    """A ranking of services with these values, or (lo, hi), by criterion; the rest is 0."""
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
    return Ranking.of(frame, pd.DataFrame(rows), policy)


TWO = {"a": {"readiness": 1.0}, "b": {"containment": 1.0}}
THREE = {**TWO, "c": {"low_churn": 0.5}}


def test_two_with_a_criterion_each_share_the_weightings():
    frame, details = ranking(TWO).all_weightings()
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
    frame, _ = ranking(THREE).all_weightings()
    assert frame["p_first"].to_list() == pytest.approx([5 / 12, 5 / 12, 1 / 6], abs=SOME)
    assert frame["rank_equal"].to_list() == [1, 1, 3]


def test_equals_share_one_weighting_and_little_memory():
    # a large cycle: many lose the same, so they are first alike
    few = POLICY.replace(simulation={"draws": 10})
    alike = [{"readiness": 1.0}, {"containment": 0.5}]
    some = ranking({f"s{i:04}": alike[i % 2] for i in range(2000)}, policy=few)
    ends = np.eye(len(CRITERIA))
    own = [ends[CRITERIA.index(name)] for name in ("readiness", "containment")]
    central = np.tile(own, (1000, 1))
    tracemalloc.start()
    shares = some._confidence(central)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (shares == 1).all()
    assert peak < 8 * 2000**2  # bytes: no table of each against each


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
    chances = ranking(TWO).under(board)
    assert chances["p_first"].to_list() == pytest.approx(first, abs=SOME)


def test_every_board_has_its_chances_and_its_labels():
    boards = [
        {"id": "one", "order": ["readiness"]},
        {"id": "two", "order": ["containment"]},
    ]
    table = ranking(TWO).under_each(boards).set_index(["board", "service_id"])["label"]
    assert table.to_dict() == {
        ("one", "a"): "MOVE NOW",
        ("one", "b"): "LATER",
        ("two", "a"): "LATER",
        ("two", "b"): "MOVE NOW",
    }
    assert ranking(TWO).under_each([]).empty


def test_only_candidates_with_clear_gates_compete_in_both_runs():
    gates = {"a": "NEVER", "b": "HOLD", "c": None}
    unsure = ranking(THREE, label_gates=gates.values(), platform=["host", "host", "host"])
    frame, _ = unsure.all_weightings()
    assert frame["p_first"].to_list() == [0, 0, 1]
    assert frame.loc["c", "confidence"] == 1  # nobody else competes, in no draw
    assert frame["p_top_neutral"].to_list() == [0, 0, 1]
    inside = ranking(THREE, platform=["host", "ecs", "host"]).all_weightings()[0]
    assert inside["p_first"].isna().to_list() == [False, True, False]


def test_the_unknown_counts_at_its_worst_and_the_neutral_run_shows_what_it_could_buy():
    frame, _ = ranking(
        {"a": {"readiness": 0.5}, "b": {"readiness": (0.0, 1.0)}}
    ).all_weightings()
    assert frame["p_top"].to_list() == [1, 0]
    assert frame["p_top_neutral"].to_list() == pytest.approx([0.5, 0.5], abs=SOME)
    assert frame.loc["a", "confidence"] == pytest.approx(0.5, abs=0.07)  # 1,000 draws


def test_a_list_longer_than_the_fleet_takes_everybody():
    longer = POLICY.replace(what_next={"k": 50})
    frame, _ = ranking(THREE, policy=longer).all_weightings()
    assert frame["p_top"].to_list() == [1, 1, 1]
    nobody, details = ranking(THREE, policy=longer, label_gates="HOLD").all_weightings()
    assert nobody["p_top"].to_list() == [0, 0, 0]
    assert details["acceptability"].empty


def test_what_a_measurement_is_worth_is_the_chance_with_it():
    unsure = ranking({"a": {"readiness": 0.6}, "b": {"low_effort": (0.2, 1.0)}})
    assert unsure.options(0) == []
    [(name, _, best, middle)] = unsure.options(1)
    # readiness at .6 against effort at 1 and halfway, at .6: P(w2 > .6 w1) = 1 / 1.6, P(w2 > w1)
    assert (name, best, middle) == (
        "low_effort",
        pytest.approx(1 / 1.6, abs=SOME),
        pytest.approx(1 / 2, abs=SOME),
    )


def test_the_same_seed_gives_the_same_numbers_in_any_order():
    one, two = ranking(THREE), ranking(dict(reversed(THREE.items())))
    pd.testing.assert_frame_equal(one.all_weightings()[0], two.all_weightings()[0])
    board = {"id": "x", "order": ["readiness"]}
    pd.testing.assert_frame_equal(one.under(board), two.under(board))


# ---- the cut-off: the chance read off it is the one counted draw by draw, ties and all ----

QUARTERS = st.integers(0, 4).map(lambda n: n / 4)  # their products are exact, ties many
WIDTH = 3  # criteria


def rows(least, most):
    row = st.lists(QUARTERS, min_size=WIDTH, max_size=WIDTH)
    return st.lists(row, min_size=least, max_size=most).map(np.array)


def simplex(most):
    """Weights that sum to one; some are zero."""
    cuts = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)
    draw = cuts.map(lambda cut: np.diff([0, *cut, 4]) / 4)
    return st.lists(draw, min_size=1, max_size=most).map(np.array)


def counted(own, others, weights, k):
    """Share of the draws in which it is among the first k; of a tie for the last place half."""
    share = 0.0
    for draw in weights:
        kth = sorted((float(draw @ other) for other in others), reverse=True)[k - 1 : k]
        gap = float(draw @ own) - (kth[0] if kth else -np.inf)
        share += 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0
    return share / len(weights)


@settings(max_examples=100)
@given(rows(1, 6), simplex(12), st.integers(0, 2), st.integers(1, 4), st.data())
def test_the_chance_is_that_of_the_draws(values, weights, readiness, k, data):
    competes = data.draw(st.booleans())
    at = data.draw(st.integers(0, len(values) - 1))
    others = np.delete(values, at, axis=0)
    field = values if competes else others
    cut_off = CutOff.of(field.reshape(-1, WIDTH), weights, k)
    short_list = ShortList.of(values[at], weights, cut_off, competes=competes)
    shares = np.array([0.0, 0.25, 0.5, 1.0])
    want = []
    for ready in shares:
        own = values[at].copy()
        own[readiness] = ready
        want.append(counted(own, others, weights, k))
    got = short_list.chances(readiness)(shares)
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert (np.diff(got) >= 0).all()  # more readiness never costs


def chance(short_list, value):
    """Chance of the short list by one value of the third criterion."""
    return short_list.chances(2)(np.array([value]))[0]


def test_the_chance_of_another_value_is_that_of_the_ranking_with_it():
    rng = np.random.default_rng(8)
    values = rng.random((12, 4))
    weights = on_grid(simplex_weights(2000, 4, rng))
    cut_off = CutOff.of(values, weights, 3)
    for i in range(12):
        other = values.copy()
        other[i, 2] = rng.random()
        truth = acceptability(other, other, weights, k=3, rng=rng, ranks=0).p_top[i]
        short_list = ShortList.of(values[i], weights, cut_off, competes=True)
        assert chance(short_list, other[i, 2]) == pytest.approx(truth, abs=1e-12)
    newcomer = rng.random(4)
    more = np.vstack([values, newcomer])
    truth = acceptability(more, more, weights, k=3, rng=rng, ranks=0).p_top[-1]
    short_list = ShortList.of(newcomer, weights, cut_off, competes=False)
    assert chance(short_list, newcomer[2]) == pytest.approx(truth, abs=1e-12)
    few = CutOff.of(values[:2], weights, 3)  # fewer compete than there are places
    alone = ShortList.of(newcomer, weights, few, competes=False)
    assert chance(alone, newcomer[2]) == 1


def test_the_chance_of_a_blocked_service_if_its_own_gates_were_clear():
    gates = {"a": None, "b": "HOLD", "c": "NEVER"}
    frame, _ = ranking(THREE, label_gates=pd.Series(gates)).all_weightings()
    assert frame["p_top"].to_list() == [1, 0, 0]
    # as good as the other of two; the third is first where its weight is twice that of the first
    assert frame["p_top_cleared"]["b"] == pytest.approx(1 / 2, abs=SOME)
    assert frame["p_top_cleared"]["c"] == pytest.approx(1 / 3, abs=SOME)
    assert frame["p_top_cleared"]["a"] == frame["p_top"]["a"]
    inside, _ = ranking(TWO, platform=["docker", "host"]).all_weightings()
    assert inside["p_top_cleared"].isna().to_list() == [True, False]


@pytest.mark.parametrize(("outside_n", "k"), [(1, 5), (50, 5), (51, 6), (400, 40)])
def test_the_short_list_grows_with_the_candidates_whatever_is_known_of_them(outside_n, k):
    services = {f"s{n}": {} for n in range(outside_n + 30)}
    platform = ["docker"] * 30 + ["host"] * outside_n
    gates = ["NOT DECIDABLE"] * len(services)
    for columns in ({}, {"label_gates": gates}):
        made = ranking(services, policy=load_policy(), platform=platform, **columns)
        assert made.k == k
