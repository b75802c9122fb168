"""The claims: every shape by hand, the three verdicts, and nothing for lack of data."""

from __future__ import annotations

import csv
import math
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

import assess
from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.assessment import Assessment, judge_claims
from assess.score.claims import texts, world
from assess.score.claims.evidence import MEASURES as IN_ORDER
from assess.score.claims.evidence import (
    ClaimData,
    _is_run,
    depends_on_who_asks,
)
from assess.score.claims.measure import (
    added,
    amount,
    compared,
    mean,
    rates_by,
    ratio,
    ratio_of,
    share,
    verdict,
)
from assess.score.incidents.rates import (
    LEVEL_MAX,
    Interval,
    jeffreys_interval,
    jeffreys_rate,
)

POLICY = load_policy()
MEASURES = {f"C{n}": measure for n, measure in enumerate(IN_ORDER, start=1)}
AT = "2026-10-01T00:00:00Z"
ALL = [f"C{i}" for i in range(1, 17)]


def inventory(**frames):
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    return from_frames(tables, snapshot_at=AT)


def tally(yes, no, unknown=0):
    return pd.DataFrame(
        {"group": ["all"], "yes": [yes], "no": [no], "unknown": [unknown]}
    )


@pytest.mark.parametrize(
    ("ends", "above", "want"),
    [
        ((0.2, 0.4), True, "supported"),
        ((0.2, 0.4), False, "refuted"),
        ((0.01, 0.09), True, "refuted"),
        ((0.01, 0.09), False, "supported"),
        ((0.05, 0.2), True, "undecided"),
        ((0.1, 0.2), True, "undecided"),  # the bound itself is not excluded
        ((0.0, math.inf), True, "undecided"),
    ],
)
def test_only_an_interval_that_excludes_the_bound_decides(ends, above, want):
    assert verdict(Interval(0.15, *ends), 0.1, above=above) == want


def test_share_by_hand():
    found = share(tally(4, 13, 3), level=0.95)
    assert found.n == 17
    assert found.interval.point == pytest.approx(4 / 17)
    assert found.interval.lo == pytest.approx(stats.beta.ppf(0.025, 4.5, 16.5))
    assert found.interval.hi == pytest.approx(stats.beta.ppf(0.975, 7.5, 13.5))
    nothing = share(tally(0, 0, 5), level=0.95)
    assert nothing.n == 0
    assert nothing.interval[1:] == (0.0, 1.0)


def test_mean_by_hand():
    table = pd.DataFrame(
        {"n": [2, 1], "point": [1.0, 4.0], "lo": [1.0, 2.0], "hi": [1.0, 6.0]}
    )
    found = mean(table, level=0.95)
    t = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert found.interval.point == pytest.approx(2)
    assert found.interval.hi == pytest.approx(8 / 3 + t * np.std([1, 1, 6], ddof=1))
    assert found.interval.lo == max(0.0, 4 / 3 - t * np.std([1, 1, 2], ddof=1))
    assert found.unknown_n == 1


def test_who_hides_one_of_a_mean_moves_neither_end_inwards():
    known = pd.DataFrame({"n": [1, 1, 1], "point": [0.4, 0.5, 4.0]})
    known = known.assign(lo=known["point"], hi=known["point"])
    whole = mean(known, level=0.95).interval
    for one in range(3):
        hidden = known.copy()
        hidden.loc[one, ["point", "lo", "hi"]] = [1.0, 0.3, 5.0]
        found = mean(hidden, level=0.95).interval
        assert found.lo <= whole.lo
        assert found.hi >= whole.hi


# the same range of all has no spread of its own, and whoever hides all of them hides theirs
@pytest.mark.parametrize("hidden", [[0], [0, 1], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("points", [[0.4, 0.5, 4.0], [0.7, 0.7, 0.3], [5.0, 5.0, 1.0]])
def test_hiding_several_of_a_mean_moves_neither_end_inwards(points, hidden):
    known = pd.DataFrame({"n": 1, "point": points, "lo": points, "hi": points})
    whole = mean(known, level=0.95).interval
    some = known.copy()
    some.loc[hidden, ["point", "lo", "hi"]] = [0.8, 0.3, 8.7]
    found = mean(some, level=0.95).interval
    assert found.lo <= whole.lo
    assert found.hi >= whole.hi


def test_counts_are_added_row_by_row():
    table = pd.DataFrame({"yes": [3, 1], "no": [2, 0]})
    assert added(table, {"yes": "no"}).to_numpy().tolist() == [[5, 2], [1, 0]]


def test_amount_by_hand():
    table = pd.DataFrame({"incidents": [8], "service_months": [90.0]})
    found = amount(table, table, factor=36.0, level=0.95)
    assert found.interval.point == pytest.approx(36 * 8.5 / 90)
    assert found.interval.lo == pytest.approx(36 * stats.gamma.ppf(0.025, 8.5) / 90)
    assert found.interval.hi == pytest.approx(36 * stats.gamma.ppf(0.975, 8.5) / 90)


@pytest.mark.parametrize("yes", [1, 3, 8])
def test_so_many_more_decide_and_one_less_does_not(yes):
    found, bound = share(tally(yes, 12), level=0.95), 0.3
    more, n = found.more(bound), yes + 12
    chance = (yes + 0.5) / (n + 1)

    def decided(m):
        ahead = stats.beta(chance * (n + m) + 0.5, (1 - chance) * (n + m) + 0.5)
        return not ahead.ppf(0.025) <= bound <= ahead.ppf(0.975)

    assert decided(more)
    assert more == 1 or not decided(more - 1)


def test_what_lies_at_its_bound_is_not_decided_by_more_of_the_same():
    assert share(tally(10, 10), level=0.95).more(0.5) == math.inf


def test_a_ratio_with_one_side_only_compares_nothing():
    table = pd.DataFrame([(1, 0, 0.0, 7, 50.0)], columns=list("abcde"))
    found = ratio(table, level=0.95)
    assert found.n == 0
    assert math.isnan(found.interval.point)


@settings(max_examples=30)
@given(
    yes=st.integers(0, 30),
    no=st.integers(0, 30),
    unknown=st.integers(0, 10),
    hidden=st.integers(0, 5),
)
def test_hiding_evidence_of_a_share_never_narrows_its_interval(yes, no, unknown, hidden):
    hidden = min(hidden, yes)
    whole = share(tally(yes, no, unknown), level=0.95).interval
    less = share(tally(yes - hidden, no, unknown + hidden), level=0.95).interval
    assert less.lo <= whole.lo + 1e-12
    assert less.hi >= whole.hi - 1e-12


# ---- the sixteen ----


def test_every_claim_has_its_words_its_bound_and_its_function():
    assert list(MEASURES) == ALL == list(texts())
    assert len({measure.__name__ for measure in MEASURES.values()}) == 16
    bounds = {**POLICY["claims"]["bounds"], "C13": POLICY["what_next"]["appetite"]}
    assert set(bounds) == set(ALL)
    keys = {
        "text",
        "short",
        "article",
        "answer",
        "measured",
        "unit",
        "bound",
        "above",
        "more",
        "find",
        "connect",
        "world",
        "source",
        "family",
    }
    for claim, said in texts().items():
        assert keys <= set(said), claim
        filled = said["world"].format(**world("2019-01-01"))
        assert "{" not in filled
        assert "None" not in filled and "nan" not in filled, filled
        tables = assess.reference.tables().index
        assert all(name in tables for name in said["source"].split(", ") if name)


def test_the_world_is_counted_from_its_tables():
    home = resources.files("assess.reference")
    changes, stores = (
        list(csv.DictReader(home.joinpath(f"{name}.csv").read_text("utf-8").split("\n")))
        for name in ("engine_changes", "database_images")
    )
    recent = [row for row in changes if row["release_date"] >= "2019-01-01"]
    breaking = [row["area"] for row in recent if row["kind"] == "breaking"]
    said = world("2019-01-01")
    assert said["breaking_n"] == len(breaking)
    assert said["breaking_api_n"] == breaking.count("api")
    assert said["stores_official_n"] == [row["official"] for row in stores].count("True")


@pytest.mark.parametrize(
    "frames",
    [
        {},
        {"services": {"service_id": []}},
        {"services": {"service_id": ["only"]}},
        {"services": {"service_id": ["only"], "platform": ["docker"], "tier": [1]}},
        {
            "services": {"service_id": ["a", "b"], "platform": ["docker", "host"]},
            "incidents": {"incident_id": [], "opened_at": []},
        },
    ],
)
def test_nothing_is_decided_for_lack_of_data(frames):
    found = judge_claims(inventory(**frames), POLICY)
    assert list(found.frame.index) == ALL
    assert found.frame["verdict"].eq("undecided").all()
    assert found.frame["needs"].str.len().gt(10).all()
    for claim in ALL:
        told = found.explain(claim)
        assert "undecided" in told.title
        assert "What would decide it" in told.text


def test_what_was_looked_for_and_not_found_asks_for_no_source():
    found = judge_claims(
        inventory(
            services={"service_id": ["a"], "platform": ["docker"]},
            images={
                "registry": ["r"],
                "repository": ["a"],
                "digest": ["d"],
                "host_id": ["h"],
                "containers_n": [1],
            },
            incidents={
                "incident_id": ["i"],
                "opened_at": ["2026-06-01"],
                "platform_at_time": ["host"],
            },
            activities={
                "activity_id": ["x"],
                "kind": ["deploy"],
                "started_at": ["2026-06-01"],
            },
        ),
        POLICY,
    )
    needs = found.frame["needs"]
    assert needs["C3"].startswith("no upgrade was seen so far")
    assert needs["C4"].startswith("no image was seen")
    assert needs["C10"].startswith("no incident in containers")
    assert needs["C16"].startswith("no service runs outside")


def test_engines_that_nobody_knows_widen_and_never_decide():
    versions = ["20.10.24+dfsg1", "19.03.15-ce", "master", None, "99.0", "29"]
    hosts = [f"h{i}" for i in range(len(versions))]
    found = judge_claims(
        inventory(
            services={"service_id": ["a"]},
            engines={"host_id": hosts, "runtime": "docker", "version": versions},
        ),
        POLICY,
    )
    table = found.details["C1"].set_index("line")
    assert (
        set(table.index) == {"20.10", "19.03", "29", "unknown", "99"}
        or table["n"].sum() == 6
    )
    vague = table[table["lo"] < table["hi"]]
    assert vague["n"].sum() == 4
    assert found.frame.loc["C1", "unknown_n"] == 4


@pytest.mark.parametrize("claim", ["C1", "C5"])
@pytest.mark.parametrize("hidden", range(5))
def test_a_host_with_containers_has_an_engine_that_nobody_saw(claim, hidden):
    versions = ["19.03", "20.10", "28", "28", "28"]
    hosts = [f"h{i}" for i in range(len(versions))]
    engines = pd.DataFrame(
        {
            "host_id": hosts,
            "runtime": "docker",
            "version": versions,
            "storage_driver": ["aufs", *["overlay2"] * 4],
            "d_type": True,
        }
    )
    frames = {
        "services": {"service_id": ["a"]},
        "hosts": {"host_id": hosts, "kernel": "6.1.0"},
        "workloads": {
            "workload_id": hosts,
            "service_id": "a",
            "host_id": hosts,
            "source_kind": "container",
        },
    }
    known, fewer = (
        MEASURES[claim](ClaimData(Assessment(inventory(**frames, engines=rows), POLICY)))
        for rows in (engines, engines.drop(index=hidden))
    )
    assert fewer.unknown_n == known.unknown_n + 1
    assert fewer.interval.lo <= known.interval.lo
    assert fewer.interval.hi >= known.interval.hi


def test_a_host_that_a_provider_may_patch_does_not_narrow_forced_upgrades():
    versions = ["20.10", "29"]
    hosts = [f"h{i}" for i in range(len(versions) + 1)]
    frames = {
        "services": {"service_id": ["a"]},
        "workloads": {
            "workload_id": hosts,
            "service_id": "a",
            "host_id": hosts,
            "source_kind": "container",
        },
        "engines": {"host_id": hosts[:-1], "runtime": "docker", "version": versions},
    }
    known, hidden = (
        MEASURES["C1"](
            ClaimData(
                Assessment(
                    inventory(
                        **frames,
                        hosts={"host_id": hosts, "provider_version": [None, None, cell]},
                    ),
                    POLICY,
                )
            )
        ).interval
        for cell in ("fargate 1.4.0", None)
    )
    assert hidden.lo <= known.lo
    assert hidden.hi >= known.hi


def stores(side_of_one, incidents):
    names = ["db-a", "db-b", "db-c"]
    return inventory(
        services={
            "service_id": names,
            "kind": "database",
            "tier": 2,
            "platform": [side_of_one, "host", "host"],
        },
        incidents={
            "incident_id": [f"i{k}" for k in range(len(incidents))],
            "service_id": incidents,
            "opened_at": "2026-06-01",
        },
        coverage={
            "run_id": ["r"],
            "source": ["incidents"],
            "scope": ["x"],
            "call": ["read"],
            "status": ["ok"],
            "window_start": ["2026-04-01"],
            "window_end": [AT],
        },
    )


def test_stores_on_both_sides_are_compared_and_on_one_side_not():
    found = judge_claims(stores("docker", ["db-a"] * 9 + ["db-b"]), POLICY)
    row = found.frame.loc["C9"]
    assert row["value"] == pytest.approx(9 / (1 / 2))  # 9 in one window against 1 in two
    assert row["verdict"] == "supported"
    alone = judge_claims(stores("host", ["db-a"] * 9), POLICY).frame.loc["C9"]
    assert alone["verdict"] == "undecided"
    assert "connect" in alone["needs"]
    hidden = judge_claims(stores("unknown", ["db-a"] * 9 + ["db-b"]), POLICY).frame.loc[
        "C9"
    ]
    assert hidden["verdict"] == "undecided"


def test_who_hides_where_a_service_runs_does_not_improve_its_side():
    """Of four stores the last has most of the incidents; hidden, it may be on either side."""
    incidents = ["db-a", "db-b", "db-b", "db-c", "db-d", "db-d", "db-d"]
    found = {}
    for platform in ("docker", "host", "unknown"):
        services = stores("docker", [])["services"]
        last = services.iloc[[0]].assign(service_id="db-d", platform=platform)
        both = stores("docker", [])
        events = {
            "incident_id": [str(k) for k in range(7)],
            "service_id": incidents,
            "opened_at": "2026-06-01",
        }
        fleet = inventory(
            services=pd.concat([services, last]),
            incidents=events,
            coverage=both["coverage"],
        )
        found[platform] = judge_claims(fleet, POLICY).frame.loc["C9"]
    hidden = found.pop("unknown")
    assert hidden["unknown_n"] == 1
    assert hidden["lo"] <= min(row["lo"] for row in found.values())
    assert hidden["hi"] >= max(row["hi"] for row in found.values())


def test_who_hides_the_platform_of_containers_leaves_open_what_runs_them():
    """Images show containers, and not whether an orchestrator runs them."""
    both = stores("docker", ["db-a"] * 9 + ["db-b"])
    workloads = {
        "workload_id": ["1", "2", "3"],
        "service_id": ["db-a", "db-b", "db-c"],
        "state": "running",
        "image_ref": ["postgres:16", None, None],
    }
    found = {}
    for platform in ("kubernetes", "docker", "unknown", None):
        services = both["services"].assign(platform=[platform, "host", "host"])
        fleet = both.replace(services=services, workloads=pd.DataFrame(workloads))
        found[platform] = judge_claims(fleet, POLICY).frame.loc["C12"]
    assert found["kubernetes"]["verdict"] == "supported"
    assert not found["docker"]["unknown_n"]
    for hidden in ("unknown", None):
        assert found[hidden]["verdict"] == "undecided"
        assert found[hidden]["unknown_n"] == 1


def test_who_hides_what_a_service_is_decides_nothing_about_stores():
    fleet = stores("docker", ["db-a"] * 9 + ["db-b"])
    whole = judge_claims(fleet, POLICY).frame.loc["C9"]
    for hidden in (["db-a"], ["db-b"], ["db-c"], ["db-b", "db-c"], ["db-a", "db-b"]):
        services = fleet["services"]
        for kind in (None, "unknown"):
            kinds = services["kind"].mask(services["service_id"].isin(hidden), kind)
            less = fleet.replace(services=services.assign(kind=kinds))
            row = judge_claims(less, POLICY).frame.loc["C9"]
            assert row["lo"] <= whole["lo"]
            assert row["hi"] is pd.NA or row["hi"] >= whole["hi"]
            assert row["unknown_n"] == len(hidden)


@pytest.mark.parametrize("hidden", [["c", "d", "e"], ["f", "c"], list("abcdef")])
def test_hiding_one_more_kind_never_narrows_what_is_said_of_stores(hidden):
    """Any of the services of unknown kind may be stores; beyond five anything may be true."""
    platforms = ["docker", "host", "docker", "host", "docker", "host"]
    services = pd.DataFrame(
        {
            "service_id": list("abcdef"),
            "kind": "database",
            "tier": 2,
            "platform": platforms,
        }
    )
    opened = list("aaabbcdddeef")
    events = {
        "incident_id": [str(k) for k in range(len(opened))],
        "service_id": opened,
        "opened_at": "2026-06-01",
    }
    coverage = stores("docker", [])["coverage"]
    lo, hi = math.inf, 0.0
    for n in range(len(hidden) + 1):
        kinds = services["kind"].mask(services["service_id"].isin(hidden[:n]))
        fleet = inventory(
            services=services.assign(kind=kinds), incidents=events, coverage=coverage
        )
        row = judge_claims(fleet, POLICY).frame.loc["C9"]
        ends = row["lo"], math.inf if row["hi"] is pd.NA else row["hi"]
        assert ends[0] <= lo
        assert ends[1] >= hi
        lo, hi = ends
    assert len(hidden) < 6 or (lo, hi) == (0.0, math.inf)


def drawn_spells(seed):
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "service_id": list("abcdefghij"),
            "tier": pd.array(draw.integers(1, 4, 10), dtype="Int64"),
            "side": draw.choice(["container", "host"], 10),
            "months": draw.uniform(3, 12, 10),
            "incidents": draw.poisson(1.5, 10),
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_who_hides_sides_narrows_no_ratio_of_rates(seed):
    spells = drawn_spells(seed)
    inside = spells["side"].eq("container")
    whole = compared(spells, inside, level=0.95).interval
    draw = np.random.default_rng(seed)
    for _ in range(10):
        lost = draw.random(10) < 0.5
        sides = spells.assign(side=spells["side"].mask(lost))
        row = compared(sides, inside, level=0.95).interval
        assert row.lo <= whole.lo * (1 + 1e-9)
        assert row.hi >= whole.hi * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_who_hides_a_tier_narrows_no_ratio_of_rates(seed):
    spells = drawn_spells(seed)
    inside = spells["side"].eq("container")
    whole = compared(spells, inside, level=0.95).interval
    for service in range(10):
        hidden = spells.assign(tier=spells["tier"].mask(spells.index == service))
        row = compared(hidden, inside, level=0.95).interval
        assert row.lo <= whole.lo * (1 + 1e-9)
        assert row.hi >= whole.hi * (1 - 1e-9)


def test_incidents_of_unknown_services_may_have_been_on_any_side(sample, judged):
    events = sample["incidents"]
    for hidden in (events.index % 2 == 0, events.index >= 0):
        named = events["service_id"].mask(hidden)
        fleet = sample.replace(incidents=events.assign(service_id=named))
        rows = judge_claims(fleet, POLICY).frame
        for claim in ("C12", "C13", "C14"):
            row = rows.loc[claim]
            assert row["verdict"] in ("undecided", judged.frame.loc[claim, "verdict"])
            assert row["hi"] is pd.NA or row["hi"] >= judged.frame.loc[claim, "hi"]
            assert row["unknown_n"] or claim != "C13"


def test_incidents_of_unknown_services_may_all_be_of_one():
    days = [{"opened_at": f"2026-0{month}-01"} for month in range(1, 9)]
    events = [
        {"incident_id": str(n), "service_id": "abc"[n // 6], **day}
        for n, day in enumerate(days)
    ]
    year = {"window_start": "2025-09-30", "window_end": AT}

    def highest(incidents):
        made = inventory(
            services={"service_id": [*"abcdef"], "platform": "docker"},
            incidents=incidents,
            coverage=[{**WATCHED, **year, "source": "incidents"}],
        )
        return judge_claims(made, POLICY).frame.loc["C13", "hi"]

    hidden = [{**event, "service_id": None} for event in events]
    assert highest(hidden) >= highest(events) > 0


def test_an_older_incident_lowers_no_expectation_where_nobody_says_who_watched(sample):
    events = sample["incidents"]
    coverage = sample["coverage"]
    unsaid = coverage[~coverage["call"].str.contains("incident")]
    unsaid = unsaid[~unsaid["source"].str.contains("incident")]
    older = events.head(1).assign(
        incident_id="older", resolved_at=pd.NaT, acked_at=pd.NaT
    )
    older["opened_at"] = pd.Timestamp("2016-01-01", tz="UTC")
    for incidents in (events, pd.concat([events, older], ignore_index=True)):
        fleet = sample.replace(coverage=unsaid, incidents=incidents)
        row = judge_claims(fleet, POLICY).frame.loc["C13"]
        assert row["verdict"] == "undecided"
        assert pd.isna(row["hi"])
        assert "connect a source of incidents" in row["needs"]


def test_incidents_without_a_word_on_what_they_touched_are_unknown():
    incidents = {
        "incident_id": ["1", "2", "3", "4"],
        "service_id": "a",
        "opened_at": ["2026-05-01", "2026-06-01", "2026-07-01", "2026-08-01"],
        "affected_services": ["a", "a;b", None, "b"],
        "cause": ["package-repo", "unknown", "app", None],
    }
    found = judge_claims(
        inventory(
            services={"service_id": ["a", "b"], "platform": "docker"}, incidents=incidents
        ),
        POLICY,
    )
    counts = found.details["C10"][["yes", "no", "unknown"]].sum().tolist()
    assert counts == [1, 2, 1]
    assert found.details["C6"][["yes", "no", "unknown"]].sum().tolist() == [1, 1, 2]


@pytest.mark.parametrize("hides", ["all", "one"])
def test_incidents_that_nobody_counted_may_be_of_any_cause_and_reach(
    hides, judged, sample
):
    """A tracker that failed may hold any number of incidents: a share of all is not known."""
    coverage = sample["coverage"].copy()
    tracker = coverage[coverage["source"].eq("incidents")]
    if hides == "all":
        coverage.loc[tracker.index, "status"] = "denied"
    else:
        lost = tracker.assign(scope="other", status="timeout")
        coverage = pd.concat([coverage, lost], ignore_index=True)
    hidden = judge_claims(sample.replace(coverage=coverage), POLICY).frame
    for claim in ("C6", "C10"):
        assert tuple(hidden.loc[claim, ["lo", "hi"]]) == (0, 1)
        assert hidden.loc[claim, "verdict"] == "undecided"
        assert 0 < judged.frame.loc[claim, "hi"] - judged.frame.loc[claim, "lo"] < 1


def test_hiding_a_tier_or_a_place_never_decides_a_claim_about_the_core_or_containment():
    names = [f"s{i}" for i in range(12)]
    places = ["docker"] * 6 + ["host"] * 6
    services = {"service_id": names, "tier": 1, "platform": places}
    incidents = {
        "incident_id": names,
        "service_id": names,
        "opened_at": "2026-05-01",
        "affected_services": [f"{name};s0" for name in names],
    }

    def rows(hidden, column):
        tables = {
            "services": pd.DataFrame(services),
            "incidents": pd.DataFrame(incidents),
        }
        tables[column[0]].loc[list(hidden), column[1]] = None
        return judge_claims(from_frames(tables, snapshot_at=AT), POLICY).frame

    whole = rows([], ("services", "tier"))
    for column in (
        ("services", "tier"),
        ("services", "platform"),
        ("incidents", "service_id"),
    ):
        for hidden in (range(6), range(6, 12), range(4, 9), range(12)):
            found = rows(hidden, column)
            for claim in ("C8", "C10"):
                assert found.loc[claim, "lo"] <= whole.loc[claim, "lo"]
                assert found.loc[claim, "hi"] >= whole.loc[claim, "hi"]


def test_pulls_by_registry_and_those_without_a_status():
    rows = [("docker.io", "failed")] * 8 + [("docker.io", "ok")] * 32
    rows += [("1234.dkr.ecr.eu-west-1.amazonaws.com", "ok")] * 40 + [
        ("quay.io", "failed")
    ] * 9
    rows += [("1234.dkr.ecr.eu-west-1.amazonaws.com", "failed")]

    def pulls(rows):
        return {
            "activity_id": [f"p{i}" for i in range(len(rows))],
            "kind": "image_pull",
            "started_at": "2026-08-01",
            "registry": [r for r, _ in rows],
            "status": [s for _, s in rows],
        }

    found = judge_claims(
        inventory(services={"service_id": ["a"]}, activities=pulls(rows)), POLICY
    )
    assert found.details["C7"].iloc[0, 1:5].tolist() == [8, 40, 1, 41]
    assert not found.frame.loc["C7", "unknown_n"]
    row = found.frame.loc["C7"]
    assert row["value"] == pytest.approx((8 / 40) / (1 / 41))
    assert row["verdict"] == "supported"
    rows += [("1234.dkr.ecr.eu-west-1.amazonaws.com", None)] * 30
    vague = judge_claims(
        inventory(services={"service_id": ["a"]}, activities=pulls(rows)), POLICY
    )
    assert vague.frame.loc["C7", "verdict"] == "undecided"
    assert "(30)" in vague.frame.loc["C7", "needs"]


@pytest.mark.parametrize("column", ["registry", "kind"])
def test_who_hides_what_pulls_came_from_where_widens_the_comparison(column):
    hub, ecr = "docker.io", "1234.dkr.ecr.eu-west-1.amazonaws.com"
    pulls = [(hub, "failed")] * 8 + [(hub, "ok")] * 32
    pulls += [(ecr, "ok")] * 40 + [(ecr, "failed")]
    activities = pd.DataFrame(pulls, columns=["registry", "status"]).assign(
        activity_id=lambda t: t.index.astype(str),
        kind="image_pull",
        started_at="2026-08-01",
    )

    def judged(table):
        services = {"service_id": ["a"]}
        return judge_claims(
            inventory(services=services, activities=table), POLICY
        ).frame.loc["C7"]

    whole = judged(activities)
    for hidden in (slice(0, 3), slice(20, 30), slice(60, 81), slice(0, 81, 2)):
        table = activities.copy()
        table.loc[table.index[hidden], column] = None
        row = judged(table)
        assert row["lo"] <= whole["lo"]
        assert row["hi"] is pd.NA or row["hi"] >= whole["hi"]
        assert row["unknown_n"] == len(activities[hidden])


def test_images_that_nothing_uses_by_who_would_take_them():
    images = {
        "registry": "r",
        "repository": "app",
        "digest": [f"d{i}" for i in range(7)],
        "host_id": ["h", "h", "h", "h", "", "", ""],
        "containers_n": [0, 0, 2, None, None, None, None],
        "reclaimable": [True, False, False, True, None, None, None],
        "would_expire": [None, None, None, None, True, None, False],
    }
    run = {
        "workload_id": ["w"],
        "service_id": ["a"],
        "registry": ["r"],
        "repository": ["app"],
        "image_digest": ["d6"],
    }
    found = judge_claims(
        inventory(services={"service_id": ["a"]}, images=images, workloads=run), POLICY
    )
    table = found.details["C4"].set_index("group")
    assert table.loc["hosts (docker-gc)"].tolist() == [1, 1, 1]
    assert table.loc["registry (lifecycle policy)"].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "run",
    [
        None,
        {"workload_id": ["w"], "registry": ["r"], "repository": ["app"]},
        {"workload_id": ["w"], "source_kind": ["container"]},
    ],
)
def test_an_image_that_an_unread_workload_may_run_is_not_unused(run):
    images = {"registry": "r", "repository": "app", "digest": ["d1", "d2"]}
    images |= {"host_id": "", "would_expire": False}
    frames = {"services": {"service_id": ["a"]}, "images": images}
    if run:
        frames["workloads"] = run | {"service_id": ["a"]}
    row = judge_claims(inventory(**frames), POLICY).frame.loc["C4"]
    assert (row["verdict"], row["unknown_n"]) == ("undecided", 2)


@pytest.fixture(scope="module")
def sample():
    return assess.load("data/sample/2026Q3")


@pytest.fixture(scope="module")
def judged(sample):
    return judge_claims(sample, POLICY)


def test_the_sample_gives_each_verdict(judged):
    assert set(judged.frame["verdict"]) == {"supported", "refuted", "undecided"}
    decided = judged.frame["verdict"].ne("undecided")
    assert judged.frame["needs"].eq("").equals(decided)


def ratio_by_hand(a, t1, b, t0, tail):
    """Mantel and Haenszel's ratio, and Jeffreys' conditional interval, by other means."""
    both = (t1 > 0) & (t0 > 0) & (a + b > 0)
    a, t1, b, t0 = a[both], t1[both], b[both], t0[both]
    value = (a * t0 / (t1 + t0)).sum() / (b * t1 / (t1 + t0)).sum()
    logs = np.linspace(-45, 45, 400_001)
    odds = [logs + np.log(x / y) for x, y in zip(t1, t0, strict=True)]
    m = a + b
    likely = sum(
        k * special.log_expit(x) + (n - k) * special.log_expit(-x)
        for k, n, x in zip(a, m, odds, strict=True)
    )
    information = sum(
        n * special.expit(x) * special.expit(-x) for n, x in zip(m, odds, strict=True)
    )
    density = np.exp(likely - likely.max()) * np.sqrt(information)
    below = np.cumsum(density) / density.sum()
    outside = 2 * tail * 0.8 if not (a.sum() and b.sum()) else tail
    lo, hi = np.exp(np.interp([outside, 1 - outside], below, logs))
    return value, lo if a.sum() else 0.0, hi if b.sum() else math.inf


def share_by_hand(yes, no):
    """Jeffreys' interval; where one end is the bound, .8 of what is left out is at the other."""
    outside = 0.025 if yes and no else 0.04
    lo = stats.beta.ppf(outside, yes + 0.5, no + 0.5) if yes else 0.0
    return lo, stats.beta.ppf(1 - outside, yes + 0.5, no + 0.5) if no else 1.0


def by_hand(table):
    """Recompute a claim from the rows that it shows, as the notebook says."""
    spread, freedom = (
        table[["spread", "freedom"]].iloc[0] if "spread" in table else (1.0, 0)
    )
    z = stats.t.isf(0.025, freedom) if spread > 1 else stats.norm.isf(0.025)
    tail = max(stats.norm.sf(z * np.sqrt(spread)), (1 - LEVEL_MAX) / 2)
    if "yes" in table:
        yes, no, unknown = table[["yes", "no", "unknown"]].sum()
        lo, _ = share_by_hand(yes, no + unknown)
        _, hi = share_by_hand(yes + unknown, no)
        if "found" in table:  # of what breaks, the share that rules foretell
            hi = min(hi / table["found"].iloc[0], 1)
        return yes / (yes + no), lo, hi
    if "point" in table:
        each = table.loc[table.index.repeat(table["n"])]
        t = stats.t.ppf(0.975, len(each) - 1) / np.sqrt(len(each))
        cells = [each["point"]]
        # those whose middle is above a cut are high, the others low
        middle = (each["lo"] + each["hi"]) / 2
        for cut in {-1.0, *middle[each["lo"] < each["hi"]]}:
            alike = middle.eq(cut).to_numpy().nonzero()[0]
            for n in range(len(alike) + 1):
                is_high = middle.gt(cut)
                is_high.iloc[alike[:n]] = True
                cells.append(each["hi"].where(is_high, each["lo"]))
        lo = min(max(cell.mean() - t * cell.std(), 0) for cell in cells)
        hi = max(cell.mean() + t * cell.std() for cell in cells)
        return each["point"].mean(), lo, hi
    counts = ["incidents", "service_months"]
    if "platform" in table:
        known = ~table["platform"].isin(["unknown", "unassigned"])
        some = (known, table["platform"].ne("unassigned"), known.notna())
        sums = [table.loc[rows, counts].sum() for rows in some]
        ends = [
            [36 * stats.gamma.ppf(q, n + 0.5) / t for q in (tail, 1 - tail)]
            for n, t in sums
        ]
        value = 36 * (sums[0]["incidents"] + 0.5) / sums[0]["service_months"]
        return value, min(lo for lo, _ in ends), max(hi for _, hi in ends)
    a, t1, b, t0, *more = (
        table.drop(columns=["spread", "freedom"], errors="ignore")
        .iloc[:, 1:]
        .to_numpy(float)
        .T
    )
    if "tier" in table:
        cases = []
        guesses = table["tier"][table["tier"] > 0] if table["tier"].eq(0).any() else []
        for guess in (0, *guesses):  # those of unknown tier may be of any
            strata = table.iloc[:, 1:7].groupby(table["tier"].replace(0, guess))
            a, t1, b, t0, n, t = strata.sum().to_numpy(float).T
            cases += [(a, t1, b, t0), (a + n, t1 + t, b, t0), (a, t1, b + n, t0 + t)]
    else:
        u1, u0, failed, fine, unknown = more
        loose = failed + unknown
        cases = [(a, t1, b, t0)]
        for u, v, is_first in ((u1, u0, True), (u0, u1, False)):
            against, spare = u + loose, v + fine
            one = (a + against, t1 + against, b, t0 + spare)
            cases.append(one if is_first else (a, t1 + spare, b + against, t0 + against))
    found = [ratio_by_hand(*case, tail) for case in cases]
    return found[0][0], min(lo for _, lo, _ in found), max(hi for *_, hi in found)


def test_every_verdict_can_be_recomputed_from_the_rows_it_shows(judged):
    for claim, row in judged.frame.iterrows():
        found = by_hand(judged.details[claim])
        ends = [row[name] for name in ("value", "lo", "hi")]
        if claim == "C9":  # a service of unknown kind may be a store and is in no row
            assert ends[1] <= found[1] * 1.001
            assert ends[2] >= found[2] * 0.999
            continue
        assert ends == pytest.approx(list(found), rel=1e-3, abs=1e-9), claim
        made = verdict(Interval(*found), row["threshold"], above=row["above"])
        assert made == row["verdict"], claim


def test_a_ratio_names_the_events_that_it_counts(judged):
    ratios = judged.frame[judged.frame["sides"].ne("")]
    words = {"C7": "failed pulls", **dict.fromkeys(["C9", "C12", "C14"], "incidents")}
    assert ratios["counted"].to_dict() == words
    for claim, n in ratios["n"].items():
        _, events, exposure, others, theirs = (
            judged.details[claim].iloc[:, :5].T.to_numpy()
        )
        compared = (exposure > 0) & (theirs > 0)
        assert n == (events + others)[compared].sum()


def test_who_may_run_outside_of_containers_is_unknown_among_those_held_back():
    found = {}
    for platform in ("docker", "host", "unknown"):
        services = {
            "service_id": ["a", "b", "c"],
            "platform": ["docker", "host", platform],
            "license_bound": [False, False, True],
        }
        judged = judge_claims(inventory(services=services), POLICY)
        found[platform] = judged.frame.loc["C16"]
    hidden = found.pop("unknown")
    assert found["docker"]["unknown_n"] == 1  # b, of which no gate could be judged
    assert hidden["unknown_n"] == 2
    assert hidden["lo"] <= min(row["lo"] for row in found.values())
    assert hidden["hi"] >= max(row["hi"] for row in found.values())


def test_one_loud_service_widens_and_does_not_decide():
    """Nine incidents in three containers against none in three hosts: of one service, or of all."""
    names = ["a", "b", "c", "d", "e", "f"]
    found = {}
    for loud in (["a"] * 9, ["a", "b", "c"] * 3):
        made = inventory(
            services={
                "service_id": names,
                "tier": 2,
                "platform": ["docker"] * 3 + ["host"] * 3,
            },
            incidents={
                "incident_id": [str(k) for k in range(11)],
                "service_id": [*loud, "d", "e"],
                "opened_at": "2026-06-01",
            },
            coverage=stores("docker", [])["coverage"],
        )
        result = judge_claims(made, POLICY)
        found[len(set(loud))] = result.frame.loc["C14"]
        table = result.details["C14"]
        assert [found[len(set(loud))][n] for n in ("value", "lo", "hi")] == pytest.approx(
            list(by_hand(table)), rel=1e-2
        )
    assert found[1]["value"] == found[3]["value"]
    assert found[3]["verdict"] == "supported"
    assert found[1]["verdict"] == "undecided"


def test_order_of_rows_does_not_matter(sample, judged):
    shuffled = sample.replace(
        **{
            n: sample[n].sample(frac=1, random_state=3)
            for n in (
                "services",
                "incidents",
                "images",
                "activities",
                "engines",
                "workloads",
            )
        }
    )
    pd.testing.assert_frame_equal(judge_claims(shuffled, POLICY).frame, judged.frame)


def test_results_say_the_same_in_every_form(judged):
    rows = judged.to_dict()["rows"]
    assert [row["claim"] for row in rows] == ALL
    assert {
        "claim",
        "text",
        "value",
        "lo",
        "hi",
        "n",
        "threshold",
        "verdict",
        "needs",
    } <= set(rows[0])
    assert "0x" not in repr(judged)
    assert judged.explain("c4").title.startswith("C4")
    with pytest.raises(AssessError, match="no claim 'C17'"):
        judged.explain("C17")
    parts = judged.contributions
    assert list(parts.columns) == ["claim", "group", "part", "amount"]
    assert set(parts["claim"]) == set(ALL)


def test_results_at_hand_are_not_computed_again(sample, judged):
    readiness = assess.score_readiness(sample, POLICY)
    churn = assess.score_upgrade_churn(sample, POLICY)
    found = judge_claims(sample, POLICY, readiness=readiness, churn=churn)
    pd.testing.assert_frame_equal(found.frame, judged.frame)


WATCHED = {
    "run_id": "r",
    "source": "incidents",
    "scope": "all",
    "call": "read",
    "status": "ok",
    "window_start": "2026-04-01T00:00:00Z",
    "window_end": "2026-10-01T00:00:00Z",
}


def upgrades_of(known):
    return judge_claims(known, POLICY).details["around_upgrades"]


def upgrade(number, day, host):
    return {
        "activity_id": f"x{number}",
        "kind": "engine_upgrade",
        "started_at": f"2026-{day}",
        "ended_at": f"2026-{day}",
        "host_id": host,
        "to_version": "28.5.1",
    }


def on_host(number, day, host):
    return {
        "incident_id": f"i{number}",
        "service_id": "a",
        "opened_at": f"2026-{day}",
        "host_id": host,
    }


def test_days_before_an_upgrade_are_compared_with_the_days_after():
    hosts = [{"host_id": "h1"}, {"host_id": "h2"}]
    engines = [
        {"host_id": h["host_id"], "runtime": "docker", "version": "28.5.1"} for h in hosts
    ]
    upgrades = [upgrade(1, "06-10", "h1"), upgrade(2, "09-27", "h2")]
    events = [
        on_host(1, "06-12", "h1"),
        on_host(2, "06-13", "h1"),
        on_host(3, "06-08", "h1"),
        on_host(4, "06-12", "h2"),
    ]
    known = inventory(
        services=[{"service_id": "a", "platform": "docker"}],
        incidents=events,
        coverage=[WATCHED],
        hosts=hosts,
        engines=engines,
        activities=upgrades,
    )
    row = upgrades_of(known).iloc[0]
    assert row[["after", "before"]].tolist() == [2, 1]
    # the second window was cut by the snapshot
    assert row["days_after"] == pytest.approx(7 + 4)
    assert row["days_before"] == pytest.approx(14)
    ratio = ratio_of(upgrades_of(known), level=0.95)
    assert ratio.point == pytest.approx((2 / 11) / (1 / 14))


def test_no_upgrade_ever():
    row = upgrades_of(inventory(services=[{"service_id": "a"}], coverage=[WATCHED])).iloc[
        0
    ]
    assert row[["after", "before"]].tolist() == [0, 0]
    assert np.isnan(ratio_of(pd.DataFrame([row]), level=0.95).point)


def test_rates_of_spells_by_hand():
    spells = pd.DataFrame(
        {
            "service_id": ["a", "b", "c", "d", "e"],
            "side": ["host", "host", "container", "container", None],
            "incidents": [2, 0, 1, 3, 4],
            "months": [6.0, 6.0, 12.0, 24.0, 60.0],
            "sure": [True, True, True, False, True],
        }
    )
    table = rates_by(spells, "side", level=0.95, loose_n=5).set_index("side")
    row = table.loc["host"]
    assert row[["services", "incidents", "service_months"]].tolist() == [2, 2, 12]
    assert row["rate"] == pytest.approx(2.5)
    # d and e, and incidents of unknown services, may be of either side
    assert row["rate_lo"] == pytest.approx(jeffreys_rate(2, 1 + 7, level=0.95).lo)
    assert row["rate_hi"] == pytest.approx(jeffreys_rate(2 + 12, 1, level=0.95).hi)
    assert table.loc["container", "rate"] == pytest.approx(4.5 / 3)


def test_what_nobody_knows_of_platforms_widens_their_rates():
    """By hiding a cell, the rate of no platform may seem better known than it is."""
    services = [
        {"service_id": f"s{n}", "platform": "docker", "tier": 2} for n in range(4)
    ]
    services += [{"service_id": "h", "platform": "host", "tier": 2}]
    incidents = [
        {"incident_id": f"i{n}", "service_id": f"s{n}", "opened_at": "2026-08-01"}
        for n in range(3)
    ]
    rows = {"services": services, "incidents": incidents, "coverage": [WATCHED]}
    rates = platform_rates(inventory(**rows))
    hidden = [
        ("services", 0, "platform"),
        ("services", 4, "platform"),
        ("incidents", 0, "service_id"),
        ("coverage", 0, "status"),
    ]
    for frame, at, column in hidden:
        changed = [dict(row) for row in rows[frame]]
        changed[at][column] = "denied" if frame == "coverage" else None
        less = platform_rates(inventory(**{**rows, frame: changed}))
        less = less.reindex(rates.index)
        kept = less["rate"].notna()
        assert (less["rate_lo"] <= rates["rate_lo"] + 1e-9)[kept].all(), column
        assert (less["rate_hi"] >= rates["rate_hi"] - 1e-9)[kept].all(), column


def test_a_fleet_without_services_has_no_rates_of_platforms():
    assert platform_rates(inventory()).empty


def platform_rates(fleet):
    """Return the rates of platforms, by platform."""
    return judge_claims(fleet, POLICY).details["platforms"].set_index("platform")


def test_what_breaks_allows_for_the_breaks_that_no_rule_foretells():
    services = [
        {"service_id": f"s{n}", "platform": "docker", "tier": 2} for n in range(60)
    ]
    workloads = [
        {
            "workload_id": f"w{n}",
            "service_id": f"s{n}",
            "host_id": "h",
            "source_kind": "container",
            "state": "running",
        }
        for n in range(60)
    ]
    engine = {"host_id": "h", "runtime": "docker", "version": "28.5.1"}
    frames = {
        "services": services,
        "workloads": [row | {"docker_sock_mounted": False} for row in workloads],
        "hosts": [{"host_id": "h", "kernel": "6.8.0", "cgroup_version": "2"}],
        "engines": [engine | {"storage_driver": "overlay2"}],
    }
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    inventory = from_frames(tables, snapshot_at="2026-09-30")
    policy = load_policy()
    claims = judge_claims(inventory, policy)
    row = claims.frame.loc["C2"]
    high = jeffreys_interval(0, 60, level=0.95).hi
    assert row["value"] == 0
    assert row["hi"] == pytest.approx(high / policy["claims"]["breaks_found"])
    # a platform alone, and the rows of the fleet, allow for them as well
    alone = claims.details["by_platform"].set_index(["claim", "platform"])
    assert alone.loc[("C2", "docker"), "hi"] == row["hi"]
    assert claims.details["C2"]["found"].tolist() == [policy["claims"]["breaks_found"]]


def test_who_hides_where_a_broken_service_runs_leaves_open_whether_it_counts():
    rows = [{"workload_id": "w", "source_kind": "container", "host_id": "h"}]
    rows[0] |= {"image_ref": "traefik:v2.9", "docker_sock_mounted": True}
    rows += [{"workload_id": "u", "source_kind": "unit", "host_id": "i"}]
    frames = {
        "workloads": [row | {"service_id": "s", "state": "running"} for row in rows],
        "hosts": [{"host_id": "h"}, {"host_id": "i"}],
        "engines": [{"host_id": "h", "runtime": "docker", "version": "28.5.1"}],
    }
    counts = []
    for platform in ("docker", "host", None):
        services = [{"service_id": "s", "platform": platform}]
        table = judge_claims(inventory(services=services, **frames), POLICY).details["C2"]
        counts.append(table[["yes", "no", "unknown"]].sum().tolist())
    assert counts == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_who_hides_an_engine_leaves_open_whether_what_hits_lies_behind_it():
    names = ["a", "b", "c"]
    kind = "PodDisruptionBudget"
    old = {"kind": kind, "last_applied_api_version": "policy/v1beta1", "cluster": "c"}
    node = {"host_id": "h", "runtime": "containerd", "version": "1.7.2"}
    pod = {"source_kind": "pod", "state": "running", "host_id": "h", "cluster": "c"}
    ends = []
    for engines in ([node | {"kubelet_version": "1.27.3"}], []):
        claims = judge_claims(
            inventory(
                services=[{"service_id": s, "platform": "kubernetes"} for s in names],
                workloads=[pod | {"workload_id": s, "service_id": s} for s in names],
                objects=[old | {"object_id": s, "service_id": s} for s in names],
                engines=engines,
            ),
            POLICY,
        )
        ends.append(claims.frame.loc["C2", "lo"])
    assert ends == [0, 0]


@pytest.mark.parametrize(
    ("was", "image", "broke"),
    [
        ("28.5.1", "traefik:v2.9", 1),  # speaks an API that 29 refuses
        ("28.5.1", "traefik:v3.6.1", 0),
        ("29.0.0", "traefik:v2.9", 0),  # it was broken before this upgrade
        (None, "traefik:v2.9", 0),
    ],
)
def test_an_upgrade_that_broke_what_is_still_in_use_counts_without_an_incident(
    was, image, broke
):
    workload = {"workload_id": "w", "service_id": "s", "host_id": "h"}
    workload |= {"state": "running", "image_ref": image, "docker_sock_mounted": True}
    engine = {"host_id": "h", "runtime": "docker", "version": "29.0.1"}
    upgraded = {"activity_id": "a", "host_id": "h", "kind": "engine_upgrade"}
    upgraded |= {"started_at": "2026-08-01", "to_version": "29.0.1", "status": "ok"}
    frames = {
        "services": [{"service_id": "s", "platform": "docker"}],
        "hosts": [{"host_id": "h"}],
        "engines": [engine],
        "workloads": [workload],
        "activities": [upgraded | {"from_version": was}],
        "incidents": [{"incident_id": "i", "opened_at": "2026-02-01", "host_id": "x"}],
        "coverage": [WATCHED],
    }
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    known = from_frames(tables, snapshot_at="2026-09-30")
    measured = MEASURES["C3"](ClaimData(Assessment(known, POLICY)))
    assert measured.table["yes"].sum() == broke
    assert measured.table["no"].sum() == 1 - broke
    # and no rule knows every break
    assert measured.table["found"].tolist() == [POLICY["claims"]["breaks_found"]]
    high = jeffreys_interval(broke, 1, level=0.95).hi
    found = POLICY["claims"]["breaks_found"]
    assert measured.interval.hi == min(high / found, 1)


@pytest.mark.parametrize(
    ("driver", "d_type", "share"),
    [
        ("overlay2", False, 1.0),
        ("overlay2", True, 0.0),
        ("overlay2", None, None),
        ("zfs", None, 0.0),
    ],
)
def test_overlay_needs_a_file_system_that_shows_deleted_files(driver, d_type, share):
    engine = {"host_id": "h", "runtime": "docker", "version": "28.5.1"}
    frames = {
        "services": [{"service_id": "s"}],
        "hosts": [{"host_id": "h", "kernel": "6.8.0"}],
        "engines": [engine | {"storage_driver": driver, "d_type": d_type}],
    }
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    row = judge_claims(from_frames(tables, snapshot_at="2026-09-30"), POLICY).frame.loc[
        "C5"
    ]
    assert row["n"] == int(share is not None)
    assert pd.isna(row["value"]) if share is None else row["value"] == share


@pytest.mark.parametrize("claim", ["C1", "C2", "C3", "C5"])
def test_each_platform_alone_has_the_rows_that_name_it(judged, claim):
    alone = judged.details["by_platform"].set_index(["claim", "platform"]).loc[claim]
    rows = judged.details[claim]
    named = rows.iloc[:, 0].str.split().str[0]
    assert set(alone.index) == set(named)
    assert alone["n"].sum() == judged.frame.loc[claim, "n"]
    assert alone["threshold"].eq(judged.frame.loc[claim, "threshold"]).all()
    for platform, row in alone.iterrows():
        if {"yes", "no"} <= set(rows) and claim != "C2":
            own = rows[named == platform]
            share_of = own["yes"].sum() / (own["yes"].sum() + own["no"].sum())
            assert row["value"] == pytest.approx(share_of)
        # fewer rows never make the interval narrower than nothing, and the verdict follows from it
        if row["verdict"] != "undecided":
            assert not row["lo"] <= row["threshold"] <= row["hi"]


def test_an_orchestrator_alone_is_compared_with_what_runs_without_any(judged):
    alone = judged.details["by_platform"].set_index(["claim", "platform"]).loc["C12"]
    assert set(alone.index) <= set(POLICY["evidence"]["orchestrators"])
    assert alone["n"].le(judged.frame.loc["C12", "n"]).all()
    assert len(alone) >= 2


@pytest.mark.parametrize(
    ("ends", "answer"),
    [
        ([(10, 59), (60, 90)], "yes"),  # one surely below the bar, one surely not
        ([(10, 60), (60, 90)], "unknown"),
        ([(10, 59), (59, 90)], "unknown"),
        ([(60, 90), (60, 60)], "no"),
        ([(10, 59), (20, 59)], "no"),
        ([(10, 90)], "unknown"),
        ([(70, 90)], "no"),
    ],
)
def test_readiness_depends_on_who_asks_where_dimensions_are_on_both_sides(ends, answer):
    parts = pd.DataFrame(ends, columns=["lo", "hi"]).assign(service_id="a")
    details = {"dimensions": parts}
    bar = {"what_next": {"ready_points": 60}}
    data = SimpleNamespace(
        assessment=SimpleNamespace(readiness=SimpleNamespace(details=details)),
        policy=bar,
        side=pd.Series({"a": "host"}),
        level=0.9,
    )
    (row,) = depends_on_who_asks(data).table.to_dict("records")
    assert {name: row[name] for name in ("yes", "no", "unknown")} == {
        name: int(name == answer) for name in ("yes", "no", "unknown")
    }


@pytest.mark.parametrize("is_listed", [True, False])
def test_an_image_is_run_where_a_workload_says_so_and_may_be_where_one_is_vague(
    is_listed,
):
    place = {"registry": "docker.io", "repository": "acme/shop"}
    other = {"registry": "docker.io", "repository": "acme/cart"}
    images = pd.DataFrame(
        [place | {"digest": "a"}, place | {"digest": "b"}, other | {"digest": "a"}]
    )
    workloads = pd.DataFrame(
        [place | {"image_digest": "a"}, place | {"image_digest": None}]
    ).assign(source_kind="container", image_ref=pd.NA)
    inventory_of = SimpleNamespace(has=lambda _: is_listed)
    data = SimpleNamespace(
        inventory={"workloads": workloads},
        policy=POLICY,
        assessment=SimpleNamespace(inventory=inventory_of),
    )
    wanted = [True, pd.NA, False if is_listed else pd.NA]
    assert _is_run(images, data).tolist() == wanted
