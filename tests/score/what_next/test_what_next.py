"""What next: the labels of the sample, and the properties that must hold on any fleet."""

import copy
import json
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readiness_fleet import AT, Fleet, hide, some_fleet, together

from assess.config import data_path
from assess.errors import AssessError, PolicyError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.assessment import what_next
from assess.score.what_next import budget
from assess.score.what_next.labels import LABELS, SEVERITY
from assess.snapshot import load

POLICY = load_policy()
QUICK = POLICY.replace(
    simulation={"draws": 500}, blast_radius={"learned_edges": "off"}, what_next={"k": 3}
)
NONE = 1e-9


@pytest.fixture(scope="module")
def sample():
    return what_next(load(data_path("sample/2026Q3")), POLICY)


# ---- the sample: every label, each with its reason ----


def test_the_sample_has_every_label(sample):
    assert set(sample.frame["label"]) == set(LABELS)


def test_an_undecidable_service_names_the_gates_that_failed_already(sample):
    why = sample.frame["why"]
    failed = "; failed already, whatever is found out: "
    assert why["tax-calc"].endswith(f"{failed}G2, G9")
    assert why["ci-runner"].endswith(f"{failed}G2")
    # nothing but G8, which asks for evidence, failed
    assert failed not in why["ghost-exporter"]
    assert failed not in why["wiki"]  # NEVER: the failed gate decides


def test_every_label_can_be_argued_from_the_evidence_beside_it(sample):
    bars = POLICY["what_next"]
    for service, row in sample.frame.iterrows():
        explained = sample.explain(service)
        shown = explained.table.astype(float)
        pd.testing.assert_frame_equal(shown, shown.round(2))
        told = explained.text
        assert row["why"] in told
        label, gate, ready, p = row[["label", "label_gates", "readiness_lo", "p_top"]]
        if pd.notna(gate):
            assert row["why"].startswith("G"), service
            expected = {"NEVER": "PULL BACK", "NOT DECIDABLE": "NOT DECIDABLE"}.get(
                gate, "FIX"
            )
            assert label == (expected if pd.isna(p) else gate)
        elif pd.isna(p):
            assert label == ("KEEP" if ready >= bars["ready_points"] else "FIX")
        else:
            assert (label == "MOVE NOW") == (
                p >= bars["move_p"] and ready >= bars["ready_points"]
            )
            is_unlikely = p < bars["pilot_p"]
            is_ready = ready >= bars["ready_points"]
            assert (label == "LATER") == (is_unlikely and is_ready)
        if label == "NOT DECIDABLE":
            assert "To find out:" in told
        # what is worth most comes first; where nothing is worth anything, what is missing
        worth, missing = (
            table.loc[table["service_id"].eq(service), "fact"]
            for table in (sample.details["information"], sample.details["missing"])
        )
        asked = missing if worth.empty else worth
        assert ("To find out: " in told) == (len(asked) > 0)
        assert f"To find out: {'; '.join(asked.head(2))}" in told or asked.empty
        rows = sample.details["information"]
        deciding = rows[rows["service_id"].eq(service) & rows["decides"].astype(bool)]
        assert ("alone can change the label:\n" in told) == (len(deciding) > 0)
        for f in deciding.head(1).itertuples():
            ends = f"{f.label_if} if the answer is good, else {f.label_else}."
            assert f"\n{f.fact}: {ends}" in told


def test_the_headline_says_how_often_the_first_is_first(sample):
    first = sample.frame["p_first"].idxmax()
    assert sample.headline.startswith(f"{first} comes first in ")
    assert f"{sample.frame['p_first'].max():.0%}" in sample.headline


def test_waves_hold_no_more_than_the_budget_and_the_hours(sample):
    inventory = load(data_path("sample/2026Q3"))
    plan = sample.details["waves"].dropna(subset="wave").groupby("wave")
    assert (plan["services_n"].sum() <= budget(inventory, POLICY)).all()
    assert (plan["hours"].sum() <= POLICY["what_next"]["capacity_hours"]).all()
    in_waves = sample.frame.dropna(subset="wave")
    assert set(in_waves["label"]) <= {"MOVE NOW", "PILOT", "LATER"}


def test_a_knob_turned_in_the_meeting_gives_what_the_board_of_the_policy_gives(sample):
    board = next(b for b in POLICY["board"] if b["id"] == "reliability")
    turned = sample.under(order=board["order"])
    told = (
        sample.details["boards"].query("board == 'reliability'").set_index("service_id")
    )
    gap = (turned["p_top"] - told["p_top"].reindex(turned.index)).abs().fillna(0)
    assert (gap < 0.03).all()
    assert list(turned["label"].map(LABELS.index)) == sorted(
        turned["label"].map(LABELS.index)
    )
    with pytest.raises(PolicyError, match="did you mean 'readiness'"):
        sample.under(weights={"readyness": 1})
    with pytest.raises(PolicyError, match="sum to 0"):
        sample.under(weights={"readiness": 0})


def test_rows_have_the_keys_of_the_interface_and_an_unknown_service_its_neighbour(sample):
    row = sample.to_dict()["rows"][0]
    assert {
        "service_id",
        "label",
        "p_first",
        "p_top",
        "p_top_neutral",
        "rank_expected",
        "wave",
        "group",
        "why",
        "missing",
        "flips",
    } <= set(row)
    with pytest.raises(AssessError) as error:
        sample.explain("chekout")
    assert "checkout" in error.value.hint


# ---- any fleet ----


def fleets_of(draw, n=8):
    """Fleets of one service each, most of them on plain hosts, so that they compete."""
    fleets = [some_fleet(draw) for _ in range(n)]
    for fleet in fleets:
        if draw.random() < 0.6 and fleet.rows["engines"][0]["runtime"] == "docker":
            fleet.change("services", platform="host", kind="web")
        fleet.change("services", move_effort_hours=draw.choice([10, 200, None]))
    return fleets


def ranked(fleets):
    return what_next(together(fleets), QUICK)


def assert_not_better(after, before, service):
    was, now = before.frame.loc[service], after.frame.loc[service]
    assert now["readiness_lo"] <= was["readiness_lo"] + NONE
    assert SEVERITY[now["label"]] >= SEVERITY[was["label"]], (was["label"], now["label"])
    if pd.notna(was["p_top"]):
        assert now["p_top"] <= was["p_top"] + NONE
    boards = [
        r.details["boards"].set_index(["board", "service_id"]) for r in (after, before)
    ]
    for board in POLICY["board"]:
        now, was = (table.loc[(board["id"], service), "label"] for table in boards)
        assert SEVERITY[now] >= SEVERITY[was]


@settings(max_examples=2)
@given(st.integers(0, 2**32))
def test_hiding_own_evidence_never_improves_bound_label_or_chance(seed):
    draw = random.Random(seed)
    fleets = fleets_of(draw)
    before = ranked(fleets)
    for at in draw.sample(range(len(fleets)), 3):
        own = hide(fleets[at], draw)
        # where it runs stays known: labels inside containers answer another question
        own.change("services", platform=fleets[at].rows["services"][0]["platform"])
        after = ranked([*fleets[:at], own, *fleets[at + 1 :]])
        assert_not_better(after, before, f"{at}/shop")


FAILS = {
    "services": {
        "health_checked": False,
        "logs_exported": False,
        "config_external": False,
        "secrets_in_image": True,
        "runbook": False,
        "team_container_months": 0,
        "license_bound": True,
        "stateful": True,
        "deploys_per_month": 0.1,
    },
    "hosts": {"kernel": "2.6.32", "os_version": "14.04", "cgroup_version": "1"},
    "workloads": {
        "restart_policy": "no",
        "restarts_n": 99,
        "oom_killed": True,
        "health": "unhealthy",
        "secret_like_env_n": 9,
    },
}


@settings(max_examples=2)
@given(st.integers(0, 2**32))
def test_a_check_that_fails_where_it_passed_never_raises_a_score(seed):
    draw = random.Random(seed)
    fleets = fleets_of(draw)
    before = ranked(fleets)
    for at in draw.sample(range(len(fleets)), 2):
        broken = copy.deepcopy(fleets)
        frame = draw.choice(list(FAILS))
        column, bad = draw.choice(list(FAILS[frame].items()))
        for row in broken[at].rows[frame]:
            if row.get(column) is not None:
                row[column] = bad
        after = ranked(broken)
        was, now = (r.frame.loc[f"{at}/shop"] for r in (before, after))
        for end in ("readiness", "readiness_lo", "readiness_hi"):
            assert now[end] <= was[end] + NONE
        if was["label"] != "NOT DECIDABLE":  # a hard no is an answer, too
            assert_not_better(after, before, f"{at}/shop")


@settings(max_examples=2)
@given(st.integers(0, 2**32))
def test_a_failed_gate_never_moves_and_order_and_index_do_not_matter(seed):
    draw = random.Random(seed)
    fleets = fleets_of(draw)
    found = ranked(fleets)
    gated = found.frame["label_gates"].notna()
    assert not found.frame.loc[gated, "label"].isin(["MOVE NOW", "PILOT", "KEEP"]).any()
    assert (found.frame.loc[gated, "p_top"].fillna(0) == 0).all()
    inventory = together(fleets)
    mixed = {
        name: inventory[name]
        .sample(frac=1, random_state=3)
        .sample(frac=1, random_state=4, axis=1)
        for name in inventory.present
    }
    again = what_next(from_frames(mixed, snapshot_at=AT), QUICK)
    assert json.dumps(again.to_dict()) == json.dumps(found.to_dict())


def test_an_unrelated_service_and_an_na_check_leave_labels_of_gates_and_readiness():
    fleets = fleets_of(random.Random(3))
    before = ranked(fleets).frame
    kept = ["label_gates", "readiness_lo", "readiness_hi"]
    more = ranked([*fleets, Fleet()]).frame.loc[before.index]
    pd.testing.assert_frame_equal(more[kept], before[kept])
    check = {
        "id": "team.of_ponies",
        "question": "q",
        "table": "services",
        "rule": "runbook",
        "applies": 'kind == "job"',
        "weight": 9,
        "needs": ["services.runbook"],
        "why": "w",
        "remedy": "r",
        "source": "s",
    }
    webs = [fleet.change("services", kind="web") for fleet in fleets]
    plain, with_na = (
        what_next(together(webs), p).frame for p in (QUICK, QUICK.replace(check=[check]))
    )
    pd.testing.assert_frame_equal(with_na, plain)


# ---- what nobody should bring ----


def test_a_fleet_of_which_nothing_is_known_is_not_ranked():
    names = pd.DataFrame({"service_id": ["a", "b"]})
    found = what_next(from_frames({"services": names}, snapshot_at=AT), QUICK)
    assert found.headline.startswith("No service is ranked: too little is known")
    assert found.frame["label"].tolist() == ["NOT DECIDABLE"] * 2
    assert (found.frame["p_first"] == 0).all() and found.frame["wave"].isna().all()
    assert found.frame["rank_expected"].isna().all()


def test_no_service_at_all():
    found = what_next(from_frames({}, snapshot_at=AT), QUICK)
    assert found.frame.empty and found.rows() == []
    assert found.headline == "No service is ranked: the snapshot has no services."


def test_a_short_list_longer_than_the_fleet_is_said_to_be_the_fleet():
    fleets = [
        Fleet().change("services", platform="host", move_effort_hours=n) for n in (9, 99)
    ]
    found = what_next(together(fleets), QUICK.replace(what_next={"k": 40}))
    assert (found.frame["p_top"] == 1).all()
    assert found.frame["why"].str.contains("room for every candidate").all()


def test_answers_about_services_that_are_not_there_are_refused_by_name():
    fleet = Fleet().add(
        "answers",
        service_id="shopp",
        question="team.runbook",
        source="q",
        risk="green",
        answered_at="2026-09-01",
    )
    with pytest.raises(AssessError) as error:
        fleet.inventory()
    assert "shopp" in str(error.value)


def test_the_budget_comes_from_the_watched_window_and_an_older_incident_adds_nothing():
    fleet = Fleet()
    for n in range(10):
        fleet.add("services", service_id=f"s{n}", platform="docker", tier=3)
    fleet.add("services", service_id="h", platform="host")
    assert budget(fleet.inventory(), POLICY) == 0  # nobody watched
    event = {"service_id": "h", "platform_at_time": "host"}
    fleet.add("incidents", incident_id="1", opened_at="2025-09-30", **event)
    assert budget(fleet.inventory(), POLICY) == 0  # nobody says since when
    fleet.add(
        "coverage",
        run_id="r",
        source="incidents",
        scope="all",
        call="read",
        status="ok",
        window_start="2025-09-30",
        window_end="2026-09-30",
    )
    months = 11 * 12  # of 11 services in containers, clean
    assert months == 132 and budget(fleet.inventory(), POLICY) == 11  # .5 a quarter
    fleet.add("incidents", incident_id="2", opened_at="2020-01-01", **event)
    assert budget(fleet.inventory(), POLICY) == 11
    # whoever hides where an incident was gains nothing by it
    hidden, told = copy.deepcopy(fleet), fleet
    hidden.add("incidents", incident_id="3", opened_at="2026-01-01")
    told.add("incidents", incident_id="3", opened_at="2026-01-01", service_id="s0")
    assert budget(hidden.inventory(), POLICY) == budget(told.inventory(), POLICY) == 5


def test_containers_of_several_platforms_are_said_to_be_on_none_of_them():
    kinds = {"a": "task", "b": "task", "c": "unit"}
    tables = {
        "services": pd.DataFrame(
            {"service_id": [*kinds], "platform": ["mixed", None, "mixed"]}
        ),
        "workloads": pd.DataFrame(
            {
                "workload_id": [*kinds],
                "service_id": [*kinds],
                "source_kind": kinds.values(),
                "state": "running",
            }
        ),
    }
    frame = what_next(from_frames(tables, snapshot_at="2026-09-30"), QUICK).frame
    assert frame["platform"].to_dict() == {"a": "mixed", "b": "docker", "c": "host"}
