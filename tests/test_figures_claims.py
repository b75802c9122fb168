"""Figures of the claims and of the back-test: what is drawn is what the frame says."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from assess import figures, from_frames, load, load_policy
from assess.figures.style import INK
from assess.score.assessment import judge_claims
from assess.score.backtest import backtest

POLICY = load_policy()
ALL = [f"C{i}" for i in range(1, 17)]


@pytest.fixture(scope="module")
def judged():
    return judge_claims(load("data/sample/2026Q3"), POLICY)


@pytest.fixture(scope="module")
def tested():
    now, earlier = (load(f"data/sample/2026{quarter}") for quarter in ("Q3", "Q2"))
    return backtest(now, POLICY, previous=earlier)


@pytest.fixture(scope="module")
def empty():
    services = pd.DataFrame({"service_id": ["only"]})
    return judge_claims(
        from_frames({"services": services}, snapshot_at="2026-09-30"), POLICY
    )


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(ax):
    """Read back the points: row label -> x."""
    labels = {
        tick: text.get_text()
        for tick, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    }
    return {
        labels[y]: x
        for marks in ax.collections
        if str(marks.get_gid() or "").startswith("points")
        for x, y in np.asarray(marks.get_offsets())
    }


def test_the_overview_draws_every_claim_on_its_side(judged):
    table = figures.claims_data(judged)
    ax = figures.claims(judged)
    points = drawn(ax)
    # in the ink of the style, which turns light on a dark page
    assert [t.get_color() for t in ax.texts if t.get_text() == "bound"] == [INK]
    assert points == pytest.approx(dict(zip(table["label"], table["point"], strict=True)))
    for row in table.itertuples():
        if row.note == "supported":
            assert row.lo > 0
        elif row.note == "refuted":
            assert row.hi < 0
        else:
            assert row.lo <= 0 <= row.hi
    # twice its bound is one doubling; where the claim is supported below, it lies to the left
    row = judged.frame.loc["C5"]
    assert table.loc[4, "point"] == pytest.approx(
        np.log2(row["value"] / row["threshold"])
    )
    row = judged.frame.loc["C2"]
    assert table.loc[1, "point"] == pytest.approx(
        -np.log2(row["value"] / row["threshold"])
    )


def test_an_arrow_marks_every_interval_that_goes_on_beyond_the_axis(judged):
    table = figures.claims_data(judged)
    drawn = figures.claims(judged).collections[-2:]
    for arrows, end, edge in zip(drawn, ("lo", "hi"), (-4, 4), strict=True):
        beyond = [(edge, y) for y in np.flatnonzero(table[end] == edge)]
        assert beyond
        assert [tuple(place) for place in arrows.get_offsets()] == beyond


@pytest.mark.parametrize("claim", ALL)
def test_the_evidence_of_each_claim_is_drawn_with_its_verdict(judged, claim):
    ax = figures.claim(judged, claim)
    table = figures.claim_data(judged, claim)
    known = table.dropna(subset=["point"])
    assert drawn(ax) == pytest.approx(
        dict(zip(known["label"], known["point"], strict=True))
    )
    assert judged.frame.loc[claim, "verdict"] in ax.get_title(loc="left")
    assert f"n = {judged.frame.loc[claim, 'n']}" in ax.get_xlabel()
    assert figures.describe(ax).startswith(claim)
    bounded = table.dropna()
    assert (bounded["lo"] <= bounded["point"] + 1e-9).all()
    assert (bounded["point"] <= bounded["hi"] + 1e-9).all()


@pytest.mark.parametrize("claim", ALL)
def test_a_claim_without_data_says_what_to_connect(empty, claim):
    ax = figures.claim(empty, claim)
    assert "Undecided" in ax.texts[0].get_text()
    assert ax.texts[0].get_window_extent().width < ax.figure.bbox.width


def test_an_overview_without_data_is_unknown_and_not_zero(empty):
    table = figures.claims_data(empty)
    assert table[["point", "lo", "hi"]].isna().all(axis=None)
    ax = figures.claims(empty)
    assert sum(text.get_text() == "unknown" for text in ax.texts) == 16


def test_a_ratio_of_events_on_one_side_only_is_drawn_from_its_lower_end(judged):
    frame = judged.frame.copy()
    frame.loc["C14", ["value", "lo", "hi"]] = [
        pd.NA,
        2 * frame.loc["C14", "threshold"],
        pd.NA,
    ]
    row = figures.claims_data(replace(judged, frame=frame)).loc[13]
    assert (row["label"][:3], row["lo"], row["hi"]) == ("C14", 1, 4)
    assert np.isnan(row["point"])


def test_reliability_is_drawn_as_it_was_counted(tested):
    ax = figures.backtest(tested)
    table = tested.details["reliability"]
    marks = next(m for m in ax.collections if m.get_gid() == "points observed")
    np.testing.assert_allclose(marks.get_offsets(), 100 * table[["foretold", "observed"]])
    assert "%" in ax.get_xlabel()
    assert "%" in ax.get_ylabel()
    frame = tested.frame.copy()
    frame[["value", "lo", "hi", "baseline_history"]] = np.nan
    # a label without a second line has no empty one
    assert figures.backtest(replace(tested, frame=frame)).get_xlabel().endswith("groups")


@pytest.mark.parametrize("draw", ["claims", "claim", "backtest"])
def test_figures_draw_where_they_are_told(judged, tested, draw):
    figure, given = plt.subplots()
    made = {
        "claims": lambda: figures.claims(judged, ax=given),
        "claim": lambda: figures.claim(judged, "C4", ax=given),
        "backtest": lambda: figures.backtest(tested, ax=given),
    }[draw]()
    assert made is given
    assert plt.get_fignums() == [figure.number]
    assert figures.svg(made).startswith("<?xml")
