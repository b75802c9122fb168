"""The interval of one failure: cut where steps allow, and with what no edge explains."""

from __future__ import annotations

import numpy as np
import pytest
from failing_fleet import failing_fleet

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.failures import ids
from assess.score.blast_radius.learning import Besides
from assess.score.blast_radius.uncertain import POINTS, Unexplained, middle


def ends_of(losses, chance, level=0.9):
    lo, hi = middle(np.array([losses], float), np.array([chance], float), level)
    return lo.tolist(), hi.tolist()


def test_fine_steps_are_cut_like_quantiles():
    lo, hi = ends_of(range(100), np.full(100, 0.01))
    assert (lo, hi) == ([5.0], [94.0])


@pytest.mark.parametrize(
    ("losses", "chance", "held"),
    [
        ([1, 2, 3], [0.5, 0.4, 0.1], (1, 2)),  # nothing to cut below: all above
        ([1, 2, 3], [0.1, 0.4, 0.5], (2, 3)),  # and the other way round
        ([1, 2], [0.5, 0.5], (1, 2)),  # half of it would be far from nine tenths
        ([1, 2], [0.88, 0.12], (1, 1)),
        ([2, 1, 2, 1], [0.06, 0.44, 0.06, 0.44], (1, 1)),  # in any order, in parts
        # what is cut first leaves exactly a step for the other tail, and the other way round
        ([1, 2, 3, 4], [0.07, 0.875, 0.025, 0.03], (2, 3)),
        ([1, 2, 3, 4], [0.03, 0.025, 0.875, 0.07], (2, 3)),
        ([7], [1.0], (7, 7)),
    ],
)
def test_a_step_is_inside_or_outside_as_a_whole(losses, chance, held):
    lo, hi = ends_of(losses, chance)
    assert (lo[0], hi[0]) == held


def nearest(tails, wanted):
    return min(tails, key=lambda value: (abs(tails[value] - wanted), value))


def one_order(below, above, cut, *, starts_below):
    """Cut one tail as near to its half as steps allow, the other as near to the rest."""
    first, second = (below, above) if starts_below else (above, below)
    one = nearest(first, cut / 2)
    other = nearest(second, cut - first[one])
    lo, hi = (one, other) if starts_below else (other, one)
    return abs(below[lo] + above[hi] - cut), lo, hi


def by_steps(losses, chance, level):
    """The middle share of a few losses, value by value."""
    pairs = list(zip(losses, chance, strict=True))
    below = {v: sum(p for loss, p in pairs if loss < v) for v in sorted(losses)}
    above = {v: sum(p for loss, p in pairs if loss > v) for v in sorted(losses)}
    first = one_order(below, above, 1 - level, starts_below=True)
    other = one_order(below, above, 1 - level, starts_below=False)
    _, lo, hi = other if other[0] < first[0] - 1e-9 else first
    return lo, max(lo, hi)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_middle_is_cut_step_by_step(level):
    rng = np.random.default_rng(7)
    is_other = 0
    for _ in range(100):
        n = int(rng.integers(1, 9))
        losses = rng.integers(0, 7, n).astype(float)
        chance = rng.dirichlet(np.full(n, 0.7))
        lo, hi = ends_of(losses, chance, level)
        assert (lo[0], hi[0]) == by_steps(losses, chance, level)
        is_other += by_steps(losses, chance, level) != by_steps(-losses, chance, level)
    assert is_other > 10  # both orders are met


def test_what_falls_besides_widens_and_keeps_its_steps():
    floor = np.array([0.0, 0.4])
    besides = Unexplained.of(floor, np.array([3.0, 1.0]), seed=1)
    assert set(besides.losses) == {0.0, 1.0}
    assert np.mean(besides.losses) == pytest.approx(0.4, abs=0.05)
    lo, hi = besides.ends(np.array([0.0, 3.8]), 0.9)
    assert lo.tolist() == [0.0, 0.0]
    assert hi.tolist() == [1.0, 0.0]  # nearly all is reached: it is counted already
    once = besides.middle(np.array([[2.0]]), np.ones((1, 1)), np.zeros(1), 0.9)
    assert [end.tolist() for end in once] == [[2.0], [3.0]]


def test_losses_with_unequal_chances_are_joined_with_what_falls_besides():
    besides = Unexplained(np.repeat([0.0, 10.0], POINTS // 2), 100.0)
    lo, hi = besides.middle(
        np.array([[5.0, 1.0]]), np.array([[0.3, 0.7]]), np.zeros(1), 0.98
    )
    assert (lo[0], hi[0]) == (1.0, 15.0)


def test_what_falls_besides_depends_on_no_order():
    rng = np.random.default_rng(4)
    floor = rng.choice([0.01, 0.2, 0.5], 12)
    weight = rng.lognormal(0, 1, 12)
    order = rng.permutation(12)
    usual = Unexplained.of(floor, weight, seed=1)
    moved = Unexplained.of(floor[order], weight[order], seed=1)
    assert moved.losses == pytest.approx(usual.losses)


@pytest.mark.parametrize("seed", [0, 1])
def test_other_names_leave_what_is_enumerated_as_it_is(seed):
    inventory, _ = failing_fleet(seed, services=7, times=2)
    services = inventory["services"]["service_id"].astype("str")
    names = dict(zip(services, sorted(services, reverse=True), strict=True))
    edges = inventory["dependencies"].dropna(axis=1, how="all")
    tests = inventory["experiments"].dropna(axis=1, how="all")
    lists = {
        column: tests[column].map(lambda text: ";".join(map(names.get, ids(text))))
        for column in ("affected_services", "observed_services")
        if column in tests
    }
    other = from_frames(
        {
            "services": inventory["services"].assign(service_id=services.map(names)),
            "dependencies": edges.assign(
                src_id=edges["src_id"].map(names), dst_id=edges["dst_id"].map(names)
            ),
            "experiments": tests.assign(element=tests["element"].map(names), **lists),
        },
        snapshot_at=str(inventory.snapshot_at),
    )
    ends = [
        score_blast_radius(each, load_policy(), detail=False).frame.loc["service"]
        for each in (inventory, other)
    ]
    usual = ends[0][ends[0]["exact"]]
    moved = ends[1].loc[usual.index.map(names)]
    assert len(usual) > 4
    for column in ("impact", "next_lo", "next_hi"):
        assert moved[column].to_numpy() == pytest.approx(usual[column].to_numpy())


def test_what_is_hit_and_what_falls_anyway_are_independent():
    """Half the time 1 falls, half the time 10 besides: all four sums are equally likely."""
    besides = Unexplained(np.full(POINTS, 10.0), 100.0)
    half = np.array([50.0])
    losses, chance = np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])
    lo, hi = besides.middle(losses, chance, half, 0.4)
    assert (lo[0], hi[0]) == (1.0, 10.0)


def test_a_floor_is_counted_in_what_is_kept_alone():
    had = np.array([[True, True], [True, False], [True, True]])
    fell = np.array([[True, False], [True, False], [False, False]])
    besides = Besides(had, fell)
    kept = np.array([True, False, True])
    fleet = (1 + 0.5) / (4 + 1)  # one of four fell
    wanted = [(1 + 3 * fleet) / (2 + 3), (0 + 3 * fleet) / (2 + 3)]
    assert besides.floor(kept, 3.0).tolist() == pytest.approx(wanted)
    all_of = (2 + 0.5) / (5 + 1)
    assert besides.floor(~(kept & ~kept), 1.0).tolist() == pytest.approx(
        [(2 + all_of) / 4, all_of / 3]
    )
    assert besides.floor(kept & ~kept, 1.0).tolist() == [0.0, 0.0]  # nobody had data


def test_the_largest_impact_comes_first():
    inventory, _ = failing_fleet(3, services=7, times=2)
    frame = score_blast_radius(inventory, load_policy(), detail=False).frame
    assert frame["impact"].nunique() > 2
    assert frame["impact"].is_monotonic_decreasing
