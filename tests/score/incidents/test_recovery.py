"""Time to heal, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy.policy import load_policy
from assess.score.incidents.recovery import heal_quantiles, incident_rates, watched

POLICY = load_policy()


@pytest.mark.parametrize(
    ("minutes", "closed", "want"),
    [
        ([10, 20, 30, 40], [1, 1, 1, 1], (20, 40)),
        ([10, 20, 30, 40], [1, 0, 1, 1], (30, 40)),
        ([10, 20, 30, 40], [0, 1, 0, 1], (40, 40)),  # dropping the open ones would say 20
        (
            [40, 10, 20, 30],
            [0, 0, 1, 0],
            (40, 40),
        ),  # two thirds still open after 20 minutes
        ([5], [1], (5, 5)),
    ],
)
def test_open_incidents_are_censored(minutes, closed, want):
    assert heal_quantiles(np.array(minutes, float), np.array(closed, bool)) == want


def test_what_is_still_open_does_not_shorten_the_median():
    """Exponential times, a third of them cut short: the truth is ln 2 times the mean of 60."""
    rng = np.random.default_rng(4)
    kept, dropped = [], []
    for _ in range(400):
        minutes, cut = rng.exponential(60, 60), rng.exponential(120, 60)
        closed = minutes <= cut
        kept.append(heal_quantiles(np.minimum(minutes, cut), closed)[0])
        dropped.append(np.median(minutes[closed]))
    truth = 60 * np.log(2)
    assert np.mean(kept) == pytest.approx(truth, rel=0.05)
    assert np.mean(dropped) < 0.8 * truth


def inventory_of(incidents, coverage=()):
    tables = {"services": [{"service_id": s} for s in "ab"], "incidents": incidents}
    tables |= {"coverage": coverage} if coverage else {}
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    return from_frames(frames, snapshot_at="2026-09-30T00:00:00Z")


def incident(name, service, day, **more):
    return {
        "incident_id": name,
        "service_id": service,
        "opened_at": f"2026-{day}",
        **more,
    }


def test_the_window_is_what_sources_were_asked_for_else_since_the_first_incident():
    rows = [
        incident("1", "a", "03-31"),
        incident("0", "a", "01-01", bad_time=True),
        incident("2", "a", "01-02", resolved_at="2025-12-31"),
    ]
    assert watched(inventory_of(rows), POLICY)[0] == pd.Timestamp("2026-03-31", tz="UTC")
    asked = {
        "run_id": "r",
        "source": "incidents",
        "scope": "x",
        "call": "read",
        "status": "ok",
        "window_start": "2026-01-01",
        "window_end": "2026-07-01",
    }
    found = watched(inventory_of(rows, [asked]), POLICY)
    assert found == tuple(pd.to_datetime(["2026-01-01", "2026-07-01"], utc=True))


def test_repeats_bad_times_and_what_lies_outside_the_window_do_not_count():
    good = [
        incident("1", "a", "02-01"),
        incident("2", "a", "03-01"),
        incident("3", "b", "03-01"),
    ]
    noise = [
        incident("4", "b", "03-01", duplicate_of="3"),
        incident("6", "b", "08-01"),
        incident("5", "b", "03-02", bad_time=True),
        incident("7", None, "03-02"),
    ]
    asked = {
        "run_id": "r",
        "source": "incidents",
        "scope": "x",
        "call": "read",
        "status": "ok",
        "window_start": "2026-01-01",
        "window_end": "2026-07-01",
    }
    clean = incident_rates(inventory_of(good, [asked]), POLICY)
    noisy = incident_rates(inventory_of(good + noise, [asked]), POLICY)
    pd.testing.assert_frame_equal(clean, noisy)
    assert clean["rate_per_year"]["a"] > clean["rate_per_year"]["b"] > 0
