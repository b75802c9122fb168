"""Sides, watched months and sound incidents: counted by hand, the same for every reader."""

from __future__ import annotations

import ast
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assess
from assess.config import data_path
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score import incidents as module
from assess.score.assessment import Assessment, judge_claims, what_next
from assess.score.claims.evidence import MEASURES, ClaimData
from assess.score.evidence.tables import gather
from assess.score.incidents import exposure, incident_rates
from assess.score.upgrade_churn.pace import places
from assess.score.validation import measures
from assess.score.what_next import budget
from assess.snapshot import load

POLICY = load_policy()
AT = "2026-10-01T00:00:00Z"
WATCHED = {
    "run_id": "r",
    "source": "incidents",
    "scope": "all",
    "call": "read",
    "status": "ok",
    "window_start": "2026-04-01T00:00:00Z",
    "window_end": "2026-10-01T00:00:00Z",
}
MONTHS = 183 / (365.25 / 12)


def fleet(services, incidents=(), at=AT, **frames):
    tables = {
        "services": services,
        "incidents": incidents,
        "coverage": [WATCHED],
        **frames,
    }
    made = {name: pd.DataFrame(list(rows)) for name, rows in tables.items() if len(rows)}
    if not incidents:
        made["incidents"] = pd.DataFrame({"incident_id": [], "opened_at": []})
    return from_frames(made, snapshot_at=at)


def service(name, platform=None, tier=2, **more):
    return {"service_id": name, "platform": platform, "tier": tier, **more}


def incident(number, name, day, **more):
    return {
        "incident_id": f"i{number}",
        "service_id": name,
        "opened_at": f"2026-{day}",
        **more,
    }


def test_incidents_and_months_by_service():
    inventory = fleet(
        [service("a", "docker"), service("b", "host", tier=1), service("c", "ecs")],
        [incident(1, "a", "05-01"), incident(2, "a", "06-01"), incident(3, "b", "06-01")],
    )
    record = exposure(inventory, POLICY).spells.set_index("service_id")
    assert record["incidents"].to_dict() == {"a": 2, "b": 1, "c": 0}
    assert record["side"].to_dict() == {"a": "container", "b": "host", "c": "container"}
    assert record["months"].tolist() == pytest.approx([MONTHS] * 3)
    assert exposure(inventory, POLICY).total(side="container") == (
        2,
        pytest.approx(2 * MONTHS),
    )
    assert exposure(inventory, POLICY).total() == (3, pytest.approx(3 * MONTHS))


def test_incidents_that_no_clock_can_have_seen_are_kept_and_left_out():
    inventory = fleet(
        [service("a", "docker")],
        [
            incident(1, "a", "05-01"),
            incident(2, "a", "05-02", resolved_at="2026-05-01"),
            incident(3, "a", "05-03", bad_time=True),
            {**incident(4, "a", "05-04"), "opened_at": "2027-01-01"},
            incident(5, "a", "05-05", duplicate_of="i1"),
            incident(6, "a", "02-05"),
        ],
    )
    assert len(inventory["incidents"]) == 6
    assert exposure(inventory, POLICY).spells["incidents"].tolist() == [1]


def test_who_moved_is_on_neither_side_until_an_earlier_snapshot_says_when():
    events = [
        incident(1, "a", "05-01", platform_at_time="host"),
        incident(2, "b", "05-01"),
    ]
    now = fleet([service("a", "docker"), service("b", "docker")], events)
    alone = exposure(now, POLICY).spells.set_index("service_id")
    assert pd.isna(alone.loc["a", "side"])
    assert alone.loc["b", "side"] == "container"
    was = fleet([service("a", "host"), service("b", "docker")], at="2026-07-01T00:00:00Z")
    both = exposure(now, POLICY, was).spells.set_index("service_id")
    assert both.loc["a", "side"] == "host"
    assert both.loc["a", "months"] == pytest.approx(91 / (365.25 / 12))
    assert both.loc["a", "incidents"] == 1


def test_platform_is_read_off_the_replicas_where_nobody_declared_it():
    replicas = [
        {"workload_id": "1", "service_id": "a", "source_kind": "container"},
        {"workload_id": "2", "service_id": "b", "source_kind": "unit"},
        {"workload_id": "3", "service_id": "c", "source_kind": "unit"},
        {"workload_id": "4", "service_id": "c", "source_kind": "container"},
    ]
    inventory = fleet([service(name) for name in "abcd"], workloads=replicas)
    found = exposure(inventory, POLICY).platform
    assert found.dropna().to_dict() == {"a": "docker", "b": "host", "c": "mixed"}
    sides = exposure(inventory, POLICY).side
    assert sides.dropna().to_dict() == {"a": "container", "b": "host"}


@pytest.mark.parametrize("declared", [None, "unknown", "nomad", "marathon"])
def test_what_an_orchestrator_runs_in_no_container_is_on_a_host(declared):
    replicas = [
        {"workload_id": "1", "service_id": "a", "source_kind": "process"},
        {"workload_id": "2", "service_id": "b", "source_kind": "allocation"},
    ]
    services = [service(name, declared) for name in "ab"]
    found = exposure(fleet(services, workloads=replicas), POLICY).side
    assert found.to_dict() == {"a": "host", "b": "container"}


def test_a_gap_between_two_windows_was_not_watched():
    days = [("01", "02"), ("08", "09")]
    watched = [
        {
            **WATCHED,
            "scope": first,
            "window_start": f"2026-{first}-01T00:00:00Z",
            "window_end": f"2026-{last}-01T00:00:00Z",
        }
        for first, last in days
    ]
    services = [service("a", "docker"), service("b", "docker")]
    opened = [incident(1, "a", "01-11"), incident(2, "a", "05-01")]
    inventory = fleet(services, opened, coverage=watched)
    found = exposure(inventory, POLICY)
    month = 365.25 / 12
    # one incident is in the gap: it does not count, and neither does the time around it
    assert found.total() == (1, pytest.approx(2 * (31 + 31) / month))
    clean = found.spells.set_index("service_id")["clean_months"]
    assert clean.tolist() == pytest.approx([(21 + 31) / month, (31 + 31) / month])
    assert found.window == (
        pd.Timestamp("2026-01-01", tz="UTC"),
        pd.Timestamp("2026-09-01", tz="UTC"),
    )
    rate = incident_rates(inventory, POLICY).loc["b"]
    whole = incident_rates(fleet(services, opened, coverage=[YEAR]), POLICY).loc["b"]
    assert rate["rate_per_year_hi"] > whole["rate_per_year_hi"]


@pytest.mark.parametrize(
    ("source", "call", "status", "months"),
    [
        ("incidents", "read", "ok", 183),
        ("Incidents", "read", "empty", 183),
        ("board", "List INCIDENTS", "ok", 183),
        ("docker", "containers", "ok", None),
        ("incidents", "read", "denied", None),
    ],
)
def test_only_who_looked_for_incidents_watched(source, call, status, months):
    other = {**WATCHED, "source": source, "call": call, "status": status}
    found = exposure(fleet([service("a", "host")], coverage=[other]), POLICY)
    assert found.is_covered is (months is not None)
    assert found.years == pytest.approx((months or 0) / 365.25)
    assert found.spells["months"].sum() == pytest.approx((months or 0) / (365.25 / 12))


@pytest.mark.parametrize("status", ["denied", "timeout", "parse_error", "throttled"])
def test_what_one_tracker_of_two_would_have_shown_is_not_nothing(status):
    """Its incidents are missing in the whole time that the other one watched."""
    services = [service("a", "docker"), service("b", "docker")]
    events = [incident(1, "a", "05-01")]

    def found(*others):
        return fleet(services, events, coverage=[WATCHED, *others])

    lost = {**WATCHED, "scope": "other", "status": status}
    lost |= {"window_start": None, "window_end": None}
    answered = {**lost, "call": "list", "status": "partial"}
    whole, part = found(), found(lost)
    assert exposure(whole, POLICY).is_covered
    assert exposure(found(lost, answered), POLICY).is_covered
    assert not exposure(part, POLICY).is_covered
    assert exposure(part, POLICY).clean_months(side="container", tiers=(2,)) is None
    rates = incident_rates(part, POLICY)
    assert rates["rate_per_year_hi"].isna().all()
    assert rates["rate_per_year_lo"].eq(0).all()
    assert budget(part, POLICY) <= budget(whole, POLICY)


def test_nobody_watched_is_no_record():
    inventory = from_frames(
        {"services": pd.DataFrame([service("a", "host")])}, snapshot_at=AT
    )
    assert exposure(inventory, POLICY).spells.empty


YEAR = {**WATCHED, "window_start": "2025-10-01T00:00:00Z"}
THREE = fleet(
    [service("a", "mixed"), service("b", "unknown"), service("c", "docker")],
    coverage=[YEAR],
    workloads=[
        {"workload_id": n, "service_id": n, "image_ref": "shop:1", "state": "running"}
        for n in "abc"
    ],
)


def test_every_reader_counts_the_same_services_in_containers():
    """Three services watched a year: mixed or unknown, with an image, and declared."""
    months = 3 * 365 / (365.25 / 12)
    known = exposure(THREE, POLICY)
    assert known.side.tolist() == ["container"] * 3
    assert known.total(side="container") == (0, pytest.approx(months))
    evidence = gather(THREE, POLICY).views
    assert evidence["services"].table["lower_tier_months"].tolist() == pytest.approx(
        [months] * 3
    )
    assert evidence["workloads"].table["contained"].tolist() == [True] * 3
    # .5 incidents a quarter: 35.98 months allow .5 / 3 * 35.98 / 1.92 = 3.1 services
    assert budget(THREE, POLICY) == 3
    ranking = what_next(THREE, POLICY)
    assert ranking.budget == 3
    assert ranking.frame["platform"].tolist() == ["mixed", "docker", "docker"]
    assert ranking.frame["p_top"].isna().all()  # none competes: all have moved already
    claims = judge_claims(THREE, POLICY)
    assert claims.details["platforms"]["service_months"].sum() == pytest.approx(months)
    assert claims.frame.loc["C13", "n"] == 35
    assert [place.basis for place in places(THREE, POLICY)] == ["unknown"] * 3


def test_a_mixed_service_without_replicas_is_of_neither_side_and_does_not_compete():
    inventory = fleet([service("a", "mixed"), service("b", "host")])
    known = exposure(inventory, POLICY)
    assert known.side.isna().tolist() == [True, False]
    assert known.total(side="container") == (0, 0.0)
    assert module.in_containers(known.platform).tolist() == [True, False]


def test_a_service_with_a_replica_of_unknown_kind_is_of_no_side():
    kinds = {"a": ("container", None), "b": ("unit", None), "c": ("unit", "container")}
    rows = [
        {"workload_id": f"{name}.{n}", "service_id": name, "source_kind": kind}
        for name, both in kinds.items()
        for n, kind in enumerate(both)
    ]
    inventory = fleet([service(name, None) for name in kinds], workloads=rows)
    found = exposure(inventory, POLICY).platform
    assert found.dropna().to_dict() == {"c": "mixed"}


def test_an_incident_counts_for_the_side_that_it_happened_on():
    at_time = [None, "unknown", "host", "ecs", None]
    names = ["a", "a", "b", "b", "b"]
    events = [
        incident(n, name, "05-01", platform_at_time=platform, affected_services=name)
        for n, (name, platform) in enumerate(zip(names, at_time, strict=True))
    ]
    inventory = fleet([service("a", "docker"), service("b", "host")], events)
    known = exposure(inventory, POLICY)
    assert known.incidents["side"].tolist() == [
        "container",
        "container",
        "host",
        "container",
        "host",
    ]
    # b ran in a container once, at an unknown time: its months count for neither side
    assert known.total(side="container") == (3, pytest.approx(MONTHS))
    assert known.total(side="host") == (2, 0.0)
    columns = ["observed", "predicted", "inside", "element_kind", "element"]
    none = pd.DataFrame(columns=columns, dtype="float64")
    touched = measures(known, none, seed=1, level=0.9).set_index("measure")["n"]
    assert touched.tolist() == [0, 0, 3, 2]


def test_clean_months_run_from_the_last_sound_incident_of_lower_tiers():
    events = [
        incident(1, "a", "08-01"),
        incident(2, "a", "09-01", duplicate_of="i1"),
        incident(3, "a", "09-02", bad_time=True),
    ]
    tiers = {"a": 2, "b": 3, "c": 1, "d": None}
    services = [service(name, "docker", tier=tier) for name, tier in tiers.items()]
    known = exposure(fleet(services, events), POLICY)
    wanted = (61 + 183) / (365.25 / 12)  # of a from August on, of b the whole window
    assert known.clean_months(side="container", tiers=(2, 3)) == pytest.approx(wanted)
    unwatched = from_frames({"services": pd.DataFrame(services)}, snapshot_at=AT)
    assert exposure(unwatched, POLICY).clean_months(side="host", tiers=(1,)) is None
    # two incidents of unknown services may have hit both of a and b
    loose = [incident(n, None, "09-20") for n in (4, 5)]
    for n, is_known in ((1, True), (2, False)):
        found = exposure(fleet(services, [*events, *loose[:n]]), POLICY)
        months = found.clean_months(side="container", tiers=(2, 3))
        assert (months is not None) == is_known


def test_hiding_who_watched_never_clears_the_core():
    names = [service("core", "host", 1), *(service(f"s{n}", "docker") for n in range(4))]
    core = fleet(names, [{**incident(1, "s0", "01-01T00:00"), "opened_at": "2024-01-01"}])
    watched = {**WATCHED, "window_start": "2026-09-01T00:00:00Z"}
    months = []
    for rows in ([watched], []):
        views = gather(core.replace(coverage=pd.DataFrame(rows)), POLICY).views
        months.append(views["services"].table["lower_tier_months"])
    assert months[0].tolist() == pytest.approx([4 * 30 / (365.25 / 12)] * 5)
    # an incident of two years ago does not say that anybody watched since
    assert months[1].isna().all()


@pytest.mark.parametrize(("months", "services"), [(12, 1), (60, 5), (120, 10)], ids=str)
def test_the_budget_reads_the_watched_window_though_no_incident_fell_into_it(
    months, services
):
    asked = {
        **WATCHED,
        "window_start": pd.Timestamp(AT) - 12 * pd.Timedelta(days=365.25 / 12),
        "window_end": AT,
    }
    names = [service(f"s{n}", "docker") for n in range(months // 12)]
    assert budget(fleet(names, coverage=[asked]), POLICY) == services


def test_the_sample_without_its_incidents_allows_eleven():
    sample = load(data_path("sample/2026Q3"))
    assert budget(sample, POLICY) == 1
    clean = sample.replace(incidents=sample["incidents"].iloc[:0])
    assert exposure(clean, POLICY).total(side="container") == (
        0,
        pytest.approx(137.53, abs=0.01),
    )
    assert budget(clean, POLICY) == 11
    # coverage says that the source was asked: that it found none is an answer
    tables = {n: clean[n] for n in clean.present - {"incidents"}}
    assert budget(from_frames(tables, snapshot_at=clean.snapshot_at), POLICY) == 11
    # where it found some, they were left out: nobody knows that the time was clean
    found = clean["coverage"].assign(rows=30)
    assert exposure(clean.replace(coverage=found), POLICY).window is None


platforms = st.sampled_from(["docker", "ecs", "host", "mixed", "unknown", None])
happened = st.tuples(
    st.sampled_from(["a", "b", "c", "d", None]),
    platforms,
    st.datetimes(pd.Timestamp("2024-01-01"), pd.Timestamp("2027-01-01")),
)


@settings(max_examples=60)
@given(
    st.lists(platforms, min_size=4, max_size=4),
    st.lists(happened, max_size=4),
    happened,
    st.booleans(),
)
def test_adding_an_incident_never_raises_the_budget(runs, before, another, is_covered):
    def room(events):
        rows = [
            {
                "incident_id": f"i{n}",
                "service_id": name,
                "platform_at_time": platform,
                "opened_at": pd.Timestamp(at, tz="UTC"),
            }
            for n, (name, platform, at) in enumerate(events)
        ]
        coverage = [{**WATCHED, "window_start": "2023-01-01T00:00:00Z"}] * is_covered
        services = [service(n, p) for n, p in zip("abcd", runs, strict=True)]
        return budget(fleet(services, rows, coverage=coverage), POLICY)

    assert room([*before, another]) <= room(before)


def test_the_window_ends_with_the_snapshot_and_starts_with_coverage_else_an_incident():
    late = {**WATCHED, "window_end": "2027-01-01T00:00:00Z"}
    asked = exposure(fleet([service("a")], coverage=[late]), POLICY)
    assert asked.window == tuple(pd.to_datetime(["2026-04-01", "2026-10-01"], utc=True))
    events = [
        incident(1, "a", "03-31"),
        incident(0, "a", "01-01", bad_time=True),
        incident(2, "a", "01-02", resolved_at="2025-12-31"),
    ]
    told = exposure(fleet([service("a")], events, coverage=()), POLICY)
    assert told.window == tuple(pd.to_datetime(["2026-03-31", "2026-10-01"], utc=True))
    assert asked.is_covered and not told.is_covered
    denied = {**WATCHED, "status": "denied"}
    assert exposure(fleet([service("a")], coverage=[denied]), POLICY).window is None


def test_repeats_bad_times_and_what_lies_outside_the_window_do_not_count():
    good = [
        incident(1, "a", "05-01"),
        incident(2, "a", "06-01"),
        incident(3, "b", "06-01"),
    ]
    noise = [
        incident(4, "b", "06-01", duplicate_of="i3"),
        incident(6, "b", "03-01"),
        incident(5, "b", "06-02", bad_time=True),
    ]
    services = [service("a"), service("b")]
    clean = incident_rates(fleet(services, good), POLICY)
    pd.testing.assert_frame_equal(
        clean, incident_rates(fleet(services, good + noise), POLICY)
    )
    assert clean["rate_per_year"]["a"] > clean["rate_per_year"]["b"] > 0
    unassigned = [incident(7, None, "06-02")]
    vague = incident_rates(fleet(services, good + noise + unassigned), POLICY)
    low = ["rate_per_year", "rate_per_year_lo"]
    pd.testing.assert_frame_equal(clean[low], vague[low])
    assert (vague["rate_per_year_hi"] > clean["rate_per_year_hi"]).all()


@pytest.mark.parametrize("hidden", [[0], [0, 1, 4], range(7)])
def test_an_incident_of_an_unknown_service_may_be_of_any(hidden):
    services = [service(name) for name in "abcdef"]
    events = [incident(n, name, f"05-{n + 1:02}") for n, name in enumerate("aaaabcc")]
    known = incident_rates(fleet(services, events), POLICY)
    vague = [
        row | {"service_id": None} if at in hidden else row
        for at, row in enumerate(events)
    ]
    found = incident_rates(fleet(services, vague), POLICY)
    assert (found["rate_per_year_hi"] >= known["rate_per_year_hi"]).all()
    own = sorted({events[at]["service_id"] for at in hidden})
    assert (found["rate_per_year_lo"] < known["rate_per_year_lo"]).loc[own].all()


def test_no_incident_bounds_a_rate_where_nobody_says_who_watched():
    services = [service("a"), service("b")]
    events = [incident(1, "a", "05-01"), incident(2, "a", "06-01")]
    old = {**incident(3, "b", "06-01"), "opened_at": "2009-06-01"}
    watched = incident_rates(fleet(services, [*events, old]), POLICY)
    assert watched["rate_per_year_lo"]["a"] > 0
    for seen in (events, [*events, old]):
        rates = incident_rates(fleet(services, seen, coverage=[]), POLICY)
        assert rates["rate_per_year"].gt(0).all()
        assert rates["rate_per_year_lo"].eq(0).all()
        assert rates["rate_per_year_hi"].isna().all()


def test_one_report_cleans_the_incidents_once(monkeypatch):
    inventory = fleet([service("a", "docker")], [incident(1, "a", "05-01")])
    calls = []
    spans = module.watched_spans
    monkeypatch.setattr(
        module, "watched_spans", lambda *args: calls.append(1) or spans(*args)
    )
    assess.score_readiness(inventory, POLICY)
    assess.score_blast_radius(inventory, POLICY)
    judge_claims(inventory, POLICY)
    assert len(calls) == 1


def test_the_ends_of_what_was_watched_and_of_what_can_be_true_count():
    """On its first and its last moment a window was watched; a moment beyond it was not."""
    a_moment = pd.Timedelta("1us")
    start, end = (pd.Timestamp(WATCHED[f"window_{at}"]) for at in ("start", "end"))
    opened = [start - a_moment, start, end, end + a_moment]
    rows = [incident(n, "a", "05-01") | {"opened_at": at} for n, at in enumerate(opened)]
    at_once = incident(9, "a", "05-01", resolved_at="2026-05-01")
    known = exposure(fleet([service("a", "docker")], [*rows, at_once]), POLICY)
    assert known.sound["incident_id"].tolist() == ["i0", "i1", "i2", "i9"]
    assert known.incidents["incident_id"].tolist() == ["i1", "i2", "i9"]
    (spell,) = known.spells.itertuples()
    assert (spell.incidents, spell.clean_months) == (3, 0)
    assert known.years == pytest.approx(183 / 365.25)


def test_what_opened_in_1900_may_be_true():
    days = ["1899-12-31T23:59:59Z", "1900-01-01T00:00:00Z"]
    rows = [incident(n, "a", "05-01") | {"opened_at": at} for n, at in enumerate(days)]
    found = module.sound_incidents(fleet([service("a")], rows))
    assert found["incident_id"].tolist() == ["i1"]


def test_a_window_without_length_was_not_watched():
    nothing = {**WATCHED, "window_end": WATCHED["window_start"]}
    rows = [incident(1, "a", "04-01")]
    inventory = fleet([service("a", "docker")], rows, coverage=[nothing])
    known = exposure(inventory, POLICY)
    assert known.is_covered and known.window is None
    assert known.years == 0 and known.incidents.empty
    assert known.total() == (0, 0.0)
    assert known.clean_months(side="container", tiers=(2,)) is None
    assert incident_rates(inventory, POLICY).isna().all(axis=None)


def test_who_moved_after_the_snapshot_before_counts_up_to_its_end():
    """A service on a new platform counts for the old one; one that stayed, for all the time."""
    now = fleet([service(name, "docker") for name in "abc"])
    earlier = [service("a", "host"), service("b", "docker"), service("c", "mixed")]
    was = fleet(earlier, at="2026-12-01T00:00:00Z")
    found = exposure(now, POLICY, was).spells.set_index("service_id")
    assert found["side"].tolist() == ["host", "container", "container"]
    # no spell outlasts the window, and of who ran where nobody knows counts what is known
    assert found["months"].tolist() == pytest.approx([MONTHS] * 3)


WORDS = {"host", "docker", "swarm", "ecs", "kubernetes", "nomad", "marathon", "mixed"}
PACKAGE = Path(assess.__file__).parent


def decides_by_platform(node: ast.AST) -> bool:
    """Whether code compares a platform with a word, or holds the words of several of them."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        words = {e.value for e in node.elts if isinstance(e, ast.Constant)}
        return len(words & WORDS) >= 4 and words & WORDS - {"host"} >= {"docker", "ecs"}
    is_test = isinstance(node, ast.Compare) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("eq", "ne", "isin")
    )
    if not is_test:
        return False
    text = ast.unparse(node)
    words = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)} & WORDS
    return "platform" in text and bool(words)


@pytest.mark.parametrize("room", ["score", "report", "figures", "cli"])
def test_only_exposure_compares_a_platform_with_the_words_for_containers(room):
    deciding = {
        path.parent.name
        for path in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if decides_by_platform(node)
    }
    assert deciding <= {"incidents"}


def test_a_platform_that_one_snapshot_alone_names_narrows_no_claim():
    """Containers without a name may have moved: the time between counts on either side."""
    events = [incident(1, "a", "07-01"), incident(2, "a", "09-01")]
    platforms = {"a": "ecs", "b": "ecs", "c": "docker", "d": "host"}
    kinds = {"a": "task", "b": "task", "c": "container", "d": "unit"}
    rows = [
        {"workload_id": name, "service_id": name, "source_kind": kind}
        for name, kind in kinds.items()
    ]

    def record(*, was_named, is_named):
        quarters = [(was_named, "2026-07-01T00:00:00Z"), (is_named, AT)]
        was, now = (
            fleet(
                [service(name, platforms[name] if has_names else None) for name in kinds],
                events,
                at=day,
                workloads=rows,
            )
            for has_names, day in quarters
        )
        data = ClaimData(Assessment(now, POLICY, earlier=Assessment(was, POLICY)))
        return data.spells, [MEASURES[n](data).interval for n in (12, 13)]

    _, known = record(was_named=True, is_named=True)
    for was_named in (True, False):
        spells, found = record(was_named=was_named, is_named=not was_named)
        assert spells["months"].sum() == pytest.approx(4 * MONTHS)
        # what happens at the end of a spell counts once
        assert spells["incidents"].sum() == len(events)
        assert spells.loc[spells["side"].isna(), "service_id"].tolist() == ["a", "b", "c"]
        for wide, narrow in zip(found, known, strict=True):
            assert wide.lo <= narrow.lo
            assert wide.hi >= narrow.hi
