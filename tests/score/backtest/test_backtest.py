"""The back-test says of a score that knows that it does, and of noise that it is noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import assess
from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.backtest import (
    BOTH,
    NONE,
    ONE_KIND,
    TOO_FEW,
    backtest,
    delong,
    forecasts,
    reliability,
)

POLICY = load_policy()
CUT, END = "2026-07-01T00:00:00Z", "2026-10-01T00:00:00Z"
GOOD = {
    "stateful": False,
    "health_checked": True,
    "logs_exported": True,
    "config_external": True,
    "secrets_in_image": False,
    "runbook": True,
    "deploys_per_month": 9.0,
    "lead_time_days": 2.0,
    "license_bound": False,
    "hardware_bound": False,
    "team_container_months": 24,
}
POOR = {
    "stateful": True,
    "health_checked": False,
    "logs_exported": False,
    "config_external": False,
    "secrets_in_image": True,
    "runbook": False,
    "deploys_per_month": 0.1,
    "lead_time_days": 40.0,
    "license_bound": True,
    "hardware_bound": True,
    "team_container_months": 0,
}


def snapshots(services, hits, before=()):
    """Two snapshots; ``hits`` are days after the cut, ``before`` days before it, by service."""

    def incidents(rows):
        table = pd.DataFrame(
            [(f"i{k}", name, at) for k, (name, at) in enumerate(rows)],
            columns=["incident_id", "service_id", "opened_at"],
        )
        return table.assign(ttr_s=1800.0) if len(table) else table

    cut, end = pd.Timestamp(CUT), pd.Timestamp(END)
    past = [(name, cut - pd.Timedelta(days=days)) for name, days in before]
    later = [(name, cut + pd.Timedelta(days=days)) for name, days in hits]

    def watched(start, stop):
        return pd.DataFrame(
            {
                "run_id": ["r"],
                "source": ["incidents"],
                "scope": ["x"],
                "call": ["read"],
                "status": ["ok"],
                "window_start": [start],
                "window_end": [stop],
            }
        )

    half = pd.Timedelta(days=90)
    earlier = from_frames(
        {
            "services": services,
            "incidents": incidents(past),
            "coverage": watched(cut - half, cut),
        },
        snapshot_at=cut,
    )
    now = from_frames(
        {
            "services": services,
            "incidents": incidents([*past, *later]),
            "coverage": watched(cut - half, end),
        },
        snapshot_at=end,
    )
    return now, earlier


def simulated(n, *, informative, seed=7):
    """A fleet in which each fact is good or poor by chance, and rates follow it, or do not."""
    rng = np.random.default_rng(seed)
    quality = rng.random(n)
    names = [f"s{i:03}" for i in range(n)]
    good = rng.random((n, len(GOOD))) < quality[:, None]
    cells = {
        key: [GOOD[key] if good[i, k] else POOR[key] for i in range(n)]
        for k, key in enumerate(GOOD)
    }
    services = pd.DataFrame({"service_id": names, "tier": 3, **cells})
    lack = 1 - good.mean(axis=1)
    rates = np.exp(5 * (lack - lack.mean()) - 1) if informative else rng.gamma(1, 0.6, n)
    before = [
        (names[i], 90 * rng.random())
        for i in range(n)
        for _ in range(rng.poisson(rates[i]))
    ]
    rates = rates if informative else rng.permutation(rates)
    hits = [
        (names[i], 90 * rng.random())
        for i in range(n)
        for _ in range(rng.poisson(rates[i]))
    ]
    return snapshots(services, hits, before)


def test_a_score_that_knows_is_told_so():
    now, earlier = simulated(200, informative=True)
    found = backtest(now, POLICY, previous=earlier)
    auc = found.frame.loc["auc"]
    assert auc["verdict"] == BOTH
    assert auc["lo"] > 0.5
    assert auc["value"] > auc["baseline_history"]
    assert found.frame.loc["auc_gain", "lo"] > 0
    assert found.frame.loc["brier", "value"] < found.frame.loc["brier", "baseline_random"]
    assert found.frame.loc["auc_readiness", "verdict"] in (
        BOTH,
        "better than chance, not shown to be better than history alone",
    )
    assert "predicted which services would have incidents" in found.headline


def test_noise_is_told_so():
    now, earlier = simulated(200, informative=False)
    found = backtest(now, POLICY, previous=earlier)
    assert found.frame.loc["auc", "verdict"] == NONE
    assert found.frame.loc["auc", "lo"] <= 0.5 <= found.frame.loc["auc", "hi"]
    assert "has not yet shown that it predicts incidents on this fleet" in found.headline


def test_incidents_that_lost_their_service_show_no_predictive_value():
    """Without them their services count as spared, at best those of the worst forecasts."""
    policy = POLICY.replace(backtest={"bootstrap": 200})
    now, earlier = simulated(40, informative=True)
    known = backtest(now, policy, previous=earlier)
    hit = known.details["services"].query("incident").sort_values("foretold").index
    incidents = now["incidents"]
    lost = incidents["service_id"].isin(hit[:10])
    incidents = incidents.assign(service_id=incidents["service_id"].mask(lost))
    found = backtest(now.replace(incidents=incidents), policy, previous=earlier)
    assert found.frame.loc["auc", "value"] > known.frame.loc["auc", "value"]
    losses = ["brier", "log_loss"]  # of which more is worse
    assert found.frame.loc[losses, "hi"].ge(known.frame.loc[losses, "hi"]).all()
    assert found.frame["lo"].drop(losses).le(known.frame["lo"].drop(losses)).all()
    assert known.frame.loc["auc", "verdict"] == BOTH
    assert found.frame["verdict"].eq(NONE).all()
    assert "incidents of unknown services" in found.headline


@pytest.mark.parametrize("seed", range(4))
def test_noise_on_a_small_fleet_is_hardly_ever_praised(seed):
    now, earlier = simulated(40, informative=False, seed=seed)
    assert backtest(now, POLICY, previous=earlier).frame.loc["auc", "verdict"] != BOTH


def test_a_fleet_without_a_past_is_foretold_by_its_readiness():
    services = pd.DataFrame(
        [
            {"service_id": f"s{i:02}", "tier": 3, **(GOOD if i < 30 else POOR)}
            for i in range(60)
        ]
    )
    hits = [(f"s{i:02}", 10 + i / 2) for i in range(30, 52)]
    now, earlier = snapshots(services, hits)
    found = backtest(now, POLICY, previous=earlier)
    assert found.frame.loc["auc", "value"] > 0.8
    assert found.frame.loc["auc", "baseline_history"] == 0.5
    assert found.frame.loc["auc", "verdict"] == BOTH


def test_services_without_incidents_count_and_later_ones_do_not():
    services = pd.DataFrame([{"service_id": name, **GOOD} for name in "abcd"])
    now, earlier = snapshots(services, [("a", 5), ("a", 9), ("d", 3)])
    earlier = earlier.replace(services=services.head(3))
    found = backtest(now, POLICY, previous=earlier).details["services"]
    assert list(found.index) == ["a", "b", "c"]
    assert found["incident"].tolist() == [True, False, False]
    assert found["minutes"].tolist() == [60.0, 0.0, 0.0]


def test_only_incidents_after_the_cut_and_up_to_the_later_snapshot_count():
    services = pd.DataFrame([{"service_id": name, **GOOD} for name in "abc"])
    now, earlier = snapshots(services, [("a", 5), ("c", 400)], [("b", 5)])
    found = backtest(now, POLICY, previous=earlier).details["services"]
    assert found["incident"].tolist() == [True, False, False]
    assert found["incidents_before"].tolist() == [0, 1, 0]


def test_it_refuses_without_a_snapshot_from_before():
    services = pd.DataFrame([{"service_id": "a", **GOOD}])
    now, earlier = snapshots(services, [("a", 5)])
    with pytest.raises(AssessError, match="needs an earlier snapshot"):
        backtest(now, POLICY)
    with pytest.raises(AssessError, match="not dated before"):
        backtest(earlier, POLICY, previous=now)
    with pytest.raises(AssessError, match="not dated before"):
        backtest(now, POLICY, previous=now)
    blind = from_frames({"services": services}, snapshot_at=END)
    with pytest.raises(
        AssessError, match="nobody watched for incidents after 2026-07-01"
    ):
        backtest(blind, POLICY, previous=earlier)


@pytest.mark.parametrize(
    ("n", "hit", "want"), [(8, 3, TOO_FEW), (30, 0, ONE_KIND), (2, 2, ONE_KIND)]
)
def test_small_and_silent_fleets_are_not_judged(n, hit, want):
    services = pd.DataFrame([{"service_id": f"s{i:02}", **GOOD} for i in range(n)])
    now, earlier = snapshots(services, [(f"s{i:02}", 5) for i in range(hit)])
    found = backtest(now, POLICY, previous=earlier)
    assert found.frame["verdict"].eq(want).all()
    assert found.frame["lo"].isna().all()
    assert "cannot be judged" in found.headline


@pytest.mark.parametrize("missing", [0, 1])
def test_as_many_services_as_the_policy_asks_for_are_judged(missing):
    n = int(POLICY["backtest"]["services_min"]) - missing
    services = pd.DataFrame([{"service_id": f"s{i:02}", **GOOD} for i in range(n)])
    now, earlier = snapshots(services, [("s00", 5), ("s03", 5)])
    found = backtest(now, POLICY, previous=earlier)
    assert found.frame["verdict"].eq(TOO_FEW).all() == bool(missing)


def test_an_empty_fleet_is_not_judged():
    now, _ = snapshots(pd.DataFrame({"service_id": ["a"]}), [("a", 4)])
    none = from_frames({"services": pd.DataFrame({"service_id": []})}, snapshot_at=CUT)
    found = backtest(now, POLICY, previous=none)
    assert found.frame["verdict"].eq(TOO_FEW).all()
    assert found.details["reliability"].empty


def test_forecast_by_hand_where_all_are_alike():
    """Nobody differs in readiness or past: each has the fleet's rate."""
    services = pd.DataFrame([{"service_id": name, **GOOD} for name in "abcd"])
    _, earlier = snapshots(services, [], [(name, 5) for name in "abcd"])
    found = forecasts(earlier, POLICY, years=0.25)
    assert found["multiplier"].eq(1).all()
    assert found["rate"].eq(found["rate"].iloc[0]).all()
    assert found["rate"].iloc[0] == pytest.approx(365.25 / 90, rel=0.15)
    assert found["foretold"].to_numpy() == pytest.approx(1 - np.exp(-found["rate"] / 4))
    assert found["foretold"].equals(found["foretold_by_history"].rename("foretold"))


def test_reliability_counts_every_service_once():
    services = pd.DataFrame(
        {"foretold": np.linspace(0.1, 0.9, 13), "incident": [False, True] * 6 + [True]}
    )
    table = reliability(services, 5)
    assert table["n"].sum() == 13
    assert table["foretold"].is_monotonic_increasing
    assert (table["observed"] * table["n"]).sum() == pytest.approx(7)
    # incidents of unknown services may have hit some of each group
    loose = reliability(services, 5, loose_n=2)
    ends = ["observed_lo", "observed_hi"]
    assert loose.drop(columns=ends).equals(table.drop(columns=ends))
    assert loose["observed_lo"].equals(table["observed_lo"])
    assert loose["observed_hi"].gt(table["observed_hi"]).any()
    assert loose["observed_hi"].ge(table["observed_hi"]).all()


def test_the_same_bytes_twice_and_rows_in_any_order():
    now, earlier = simulated(40, informative=True)
    one = backtest(now, POLICY, previous=earlier)
    mixed = [
        inv.replace(
            services=inv["services"].sample(frac=1, random_state=1),
            incidents=inv["incidents"].sample(frac=1, random_state=2),
        )
        for inv in (now, earlier)
    ]
    two = backtest(mixed[0], POLICY, previous=mixed[1])
    pd.testing.assert_frame_equal(one.frame, two.frame)
    assert one.to_dict() == two.to_dict()
    assert one.explain("brier").text
    with pytest.raises(AssessError, match="no metric"):
        one.explain("auroc")


def test_the_sample_is_judged_with_both_baselines():
    now, earlier = (assess.load(f"data/sample/2026{q}") for q in ("Q3", "Q2"))
    found = assess.backtest(now, POLICY, previous=earlier)
    assert found.frame["verdict"].notna().all()
    assert found.frame.loc["auc", ["baseline_history", "baseline_random"]].notna().all()
    services = found.details["services"]
    assert len(services) == len(earlier["services"])
    gain = found.frame.loc["brier_gain", ["value", "baseline_random"]]
    brier = found.frame.loc["brier", ["value", "baseline_history", "baseline_random"]]
    own, history, share = brier
    assert gain.tolist() == pytest.approx([history - own, history - share])
    # below 100 services the interval is DeLong's
    assert found.frame.loc[["auc", "auc_readiness"], "baseline_random"].eq(0.5).all()
    hit = services["incident"].to_numpy(bool)
    for metric, score in (
        ("auc", services["foretold"]),
        ("auc_readiness", -services["readiness"]),
    ):
        ends = found.frame.loc[metric, ["lo", "hi"]].tolist()
        assert ends == pytest.approx(delong(score.to_numpy(float), hit))
