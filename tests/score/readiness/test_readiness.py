"""Readiness: the formulas worked by hand, and the properties that must hold."""

import json
import math
import random
from functools import cache

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readiness_fleet import HOST, WORKLOAD, Fleet, hide, some_fleet, together

from assess import frames
from assess.config import data_path
from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score import readiness
from assess.score.readiness import could_move, score_readiness
from assess.snapshot import load

POLICY = load_policy()
# from good to bad; neither of the last two lets a service move
RANKS = {"": 0, "PREPARE": 1, "HOLD": 2, "NEVER": 3, "NOT DECIDABLE": 3}


def atoms(*rows):
    table = pd.DataFrame(
        rows, columns=["service_id", "check", "state", "value", "weight"]
    )
    table["dimension"] = table["check"].str.partition(".")[0]
    return table.astype({"value": "Float64", "weight": float})


BY_HAND = atoms(
    ("s", "a.one", "pass", 1, 3),
    ("s", "a.two", "unknown", None, 1),
    ("s", "a.three", "na", None, 9),
    ("s", "b.one", "fail", 0, 1),
    ("s", "b.two", "partial", 0.5, 1),
    ("t", "a.two", "pass", 1, 1),
    ("u", "a.two", "pass", 1, 1),
    ("v", "a.two", "fail", 0, 1),
)
SHARES = {"a": 0.6, "b": 0.4}


def test_prior_is_the_rule_of_succession():
    assert readiness.priors(BY_HAND)["a.two"] == pytest.approx((2 + 1) / (3 + 2))
    assert readiness.priors(BY_HAND)["a.three"] == pytest.approx(1 / 2)
    assert readiness.priors(BY_HAND)["b.two"] == pytest.approx(1.5 / 3)


def test_dimensions_by_hand():
    scores = readiness.dimension_scores(readiness.weight_sums(BY_HAND))
    assert scores.loc[("s", "a")].tolist() == pytest.approx([90, 75, 100, 0.75])
    assert scores.loc[("s", "b")].tolist() == pytest.approx([25, 25, 25, 1])


def test_overall_by_hand():
    scores = readiness.dimension_scores(readiness.weight_sums(BY_HAND))
    weights = readiness.dimension_weights(scores, SHARES)
    got = readiness.overall(scores, weights).loc["s"]
    assert got["readiness"] == pytest.approx(90**0.6 * 25**0.4)
    assert got["readiness_lo"] == pytest.approx(75**0.6 * 25**0.4)
    assert got["readiness_hi"] == pytest.approx(100**0.6 * 25**0.4)
    assert got["arithmetic"] == pytest.approx(0.6 * 90 + 0.4 * 25)
    assert got["compensation_gap"] == pytest.approx(64 - 90**0.6 * 25**0.4)
    parts = readiness.contributions(scores, weights).query("service_id == 's'")
    assert parts["contribution"].tolist() == pytest.approx(
        [0.6 * math.log(0.9), 0.4 * math.log(0.25)]
    )


def test_a_dimension_that_does_not_apply_gives_its_weight_to_the_others():
    scores = readiness.dimension_scores(readiness.weight_sums(BY_HAND))
    weights = readiness.dimension_weights(scores, SHARES)
    assert weights["t"].to_dict() == {"a": 1.0}
    row = readiness.overall(scores, weights).loc["v"]
    assert row[["readiness", "arithmetic"]].tolist() == [1.0, 0.0]  # the floor
    assert row["compensation_gap"] == 0  # never negative


VALUES = st.sampled_from([("pass", 1), ("fail", 0), ("partial", 0.5), ("unknown", None)])
TABLES = st.lists(
    st.tuples(
        st.sampled_from("st"), st.sampled_from(["a.1", "a.2", "b.1", "b.2"]), VALUES
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[:2],
)


def scored(table):
    scores = readiness.dimension_scores(readiness.weight_sums(table))
    weights = readiness.dimension_weights(scores, SHARES)
    return readiness.overall(scores, weights), readiness.contributions(scores, weights)


@settings(max_examples=40)
@given(rows=TABLES, data=st.data())
def test_bounds_contributions_failing_and_na(rows, data):
    table = atoms(*((s, check, *state, 1 + len(check)) for s, check, state in rows))
    frame, parts = scored(table)
    assert (frame["readiness_lo"] <= frame["readiness"] + 1e-9).all()
    assert (frame["readiness"] <= frame["readiness_hi"] + 1e-9).all()
    total = parts.groupby("service_id")["contribution"].sum()
    assert total.to_numpy() == pytest.approx(
        (frame["readiness"] / 100).map(math.log).to_numpy()
    )

    na = atoms(*((s, "b.9", "na", None, 5) for s in table["service_id"].unique()))
    pd.testing.assert_frame_equal(
        scored(pd.concat([table, na], ignore_index=True))[0], frame
    )

    fallen = data.draw(st.integers(0, len(table) - 1))
    worse = table.copy()
    worse.loc[fallen, ["state", "value"]] = ["fail", 0.0]
    columns = ["readiness", "readiness_lo", "readiness_hi", "arithmetic"]
    if table.loc[fallen, "state"] != "unknown":  # a known value falls: nobody rises
        assert (scored(worse)[0][columns] <= frame[columns] + 1e-9).all(axis=None)
    hidden = table.copy()
    hidden.loc[fallen, ["state", "value"]] = ["unknown", pd.NA]
    assert (scored(hidden)[0]["readiness_lo"] <= frame["readiness_lo"] + 1e-9).all()


def outcome(fleets):
    result = score_readiness(together(fleets), POLICY)
    frame = result.frame.loc[[f"{n}/shop" for n in range(len(fleets))]]
    return frame.assign(rank=frame["label_gates"].fillna("").map(RANKS))


def assert_not_better(after, before, fleets):
    for number, fleet in enumerate(fleets):
        was, now = before.iloc[number], after.iloc[number]
        assert now["readiness_lo"] <= was["readiness_lo"] + 1e-6, fleet.rows
        assert now["coverage"] <= was["coverage"] + 1e-9, fleet.rows
        assert now["rank"] >= was["rank"], fleet.rows


@settings(max_examples=4)
# a unit, and a container of which nobody knows whether it runs
@example(seed=4_294_967_295)
@given(seed=st.integers(0, 2**32))
def test_hiding_evidence_never_raises_bound_coverage_or_label(seed):
    draw = random.Random(seed)
    fleets = [some_fleet(draw) for _ in range(100)]
    after = outcome([hide(fleet, draw) for fleet in fleets])
    assert_not_better(after, outcome(fleets), fleets)


def with_an_ended_replica(**replica):
    """Two replicas run on a kernel that nobody knows; one has ended, on a kernel too old."""
    fleet = Fleet().change("hosts", kernel=None)
    fleet.add("hosts", **{**HOST, "host_id": "h3", "kernel": "2.6.32"})
    old = {**WORKLOAD, "workload_id": "shop.0", "host_id": "h3", "state": "exited"}
    return fleet.add("workloads", **{**old, **replica})


@pytest.mark.parametrize(
    "hidden", [["shop.0"], ["shop.1"], ["shop.1", "shop.2"], ["shop.0", "shop.1"]]
)
def test_where_a_replica_may_run_is_possible_and_not_sure(hidden):
    fleet = with_an_ended_replica()
    assert (
        score_readiness(fleet.inventory(), POLICY).frame["label_gates"]["shop"]
        == "NOT DECIDABLE"
    )
    for row in fleet.rows["workloads"]:
        row["state"] = None if row["workload_id"] in hidden else row["state"]
    found = score_readiness(fleet.inventory(), POLICY)
    assert found.frame["label_gates"]["shop"] == "NOT DECIDABLE"
    gates = found.details["gates"].set_index("gate")["state"]
    assert gates["G2"] == "unknown"


def test_what_every_replica_would_show_is_sure_though_no_state_is_known():
    fleet = with_an_ended_replica(state=None).change("hosts", kernel="2.6.32")
    fleet.change("workloads", state=None, health="none", log_driver="json-file")
    fleet.change("services", health_checked=None, logs_exported=None)
    gates = (
        score_readiness(fleet.inventory(), POLICY)
        .details["gates"]
        .set_index("gate")["state"]
    )
    assert gates["G2"] == "fail"


def test_what_only_an_ended_replica_lacks_says_nothing_while_others_may_run():
    fleet = with_an_ended_replica(health="none").change("hosts", kernel=HOST["kernel"])
    fleet.change("services", health_checked=None, logs_exported=None)
    for row in fleet.rows["workloads"][:2]:
        row.update(health=None, log_driver=None)
    fleet.rows["workloads"][2].update(log_driver="json-file")
    for states in (("running", "running"), (None, None)):
        for row, state in zip(fleet.rows["workloads"], states, strict=False):
            row["state"] = state
        gates = (
            score_readiness(fleet.inventory(), POLICY).details["gates"].set_index("gate")
        )
        assert gates["state"]["G5"] == "unknown"


@pytest.mark.parametrize(
    "lost",
    [
        ("workloads", "mounts"),
        ("hosts", "engines"),
        ("engines",),
        ("images",),
        ("mounts",),
        ("dependencies",),
        ("answers",),
    ],
)
def test_losing_a_frame_never_raises_bound_coverage_or_label(lost):
    draw = random.Random(str(lost))
    fleets = [some_fleet(draw) for _ in range(30)]
    before = outcome(fleets)
    assert_not_better(outcome([fleet.drop(*lost) for fleet in fleets]), before, fleets)


def test_losing_a_frame_of_the_sample_raises_nothing():
    """What people said cannot stand in for what was measured; only they can contradict."""
    inventory = load(data_path("sample/2026Q3"))
    before = score_readiness(inventory, POLICY).frame
    for lost in [
        ("mounts",),
        ("images",),
        ("engines",),
        ("hosts", "engines"),
        ("dependencies",),
    ]:
        left = {name: inventory[name] for name in inventory.present - set(lost)}
        after = score_readiness(
            from_frames(left, snapshot_at=inventory.snapshot_at), POLICY
        ).frame
        assert (after["readiness_lo"] <= before["readiness_lo"] + 1e-6).all(), lost
        ranks = [frame["label_gates"].fillna("").map(RANKS) for frame in (after, before)]
        assert (ranks[0] >= ranks[1]).all(), lost


@cache
def sample_score():
    return score_readiness(load(data_path("sample/2026Q3")), POLICY)


def columns_of(inventory):
    """Every column with a known cell that may be empty, keys apart: without one, rows are twins."""
    return [
        (name, column.name)
        # a contradiction by people ends where their answer does, so answers are left alone
        for name in sorted(inventory.present - {"answers"})
        for column in frames.columns(name).values()
        if not (column.is_required or column.is_key)
        and inventory[name][column.name].notna().any()
    ]


@settings(max_examples=3)
@given(data=st.data())
def test_losing_any_columns_of_the_sample_raises_nothing(data):
    inventory = load(data_path("sample/2026Q3"))
    columns = st.sampled_from(columns_of(inventory))
    lost = data.draw(st.lists(columns, min_size=1, max_size=60, unique=True))
    tables = {name: inventory[name].copy() for name in inventory.present}
    for name, column in lost:
        tables[name][column] = None
    left = from_frames(tables, snapshot_at=inventory.snapshot_at)
    before, after = sample_score(), score_readiness(left, POLICY)
    for column in ("readiness_lo", "coverage"):
        assert (after.frame[column] <= before.frame[column] + 1e-6).all(), column
    now, was = (r.frame["label_gates"].fillna("").map(RANKS) for r in (after, before))
    assert (now >= was).all()
    key = ["service_id", "gate"]
    now, was = (r.details["gates"].set_index(key)["state"] for r in (after, before))
    assert not (now.eq("pass") & was.isin(["fail", "unknown"])).any()


@pytest.fixture(scope="module")
def fleets():
    draw = random.Random(7)
    return [some_fleet(draw) for _ in range(12)]


@pytest.fixture(scope="module")
def result(fleets):
    return score_readiness(together(fleets), POLICY)


def test_order_of_rows_and_columns_and_the_index_do_not_matter(fleets, result):
    inventory = together(fleets)
    mixed = {
        name: inventory[name]
        .sample(frac=1, random_state=3, axis=0)
        .sample(frac=1, random_state=4, axis=1)
        for name in inventory.present
    }
    again = score_readiness(from_frames(mixed, snapshot_at=inventory.snapshot_at), POLICY)
    assert json.dumps(again.to_dict()) == json.dumps(result.to_dict())
    for name, table in result.details.items():
        pd.testing.assert_frame_equal(again.details[name], table)


def test_an_unrelated_service_leaves_the_others_as_they_are(fleets, result):
    blank = Fleet()
    blank.rows = {name: [] for name in fleets[0].rows}
    blank.add("services", service_id="shop")
    more = score_readiness(together([*fleets, blank]), POLICY).frame.loc[
        result.frame.index
    ]
    # nothing is known of it: not even the point
    pd.testing.assert_frame_equal(more, result.frame)
    known = score_readiness(together([*fleets, Fleet()]), POLICY).frame.loc[
        result.frame.index
    ]
    kept = ["readiness_lo", "readiness_hi", "coverage", "label_gates"]
    pd.testing.assert_frame_equal(known[kept], result.frame[kept])
    sure = result.frame["coverage"] == 1
    pd.testing.assert_frame_equal(known[sure], result.frame[sure])


def test_nothing_is_mutated(fleets):
    inventory = together(fleets)
    before = {name: inventory[name].copy() for name in inventory}
    score_readiness(inventory, POLICY)
    for name, table in before.items():
        pd.testing.assert_frame_equal(inventory[name], table)


def test_frame_details_and_contributions_hang_together(result):
    frame = result.frame
    assert frame.index.name == "service_id"
    points = frame[["readiness", "readiness_lo", "readiness_hi"]]
    assert ((points >= 1) & (points <= 100)).all(axis=None)
    assert (frame["compensation_gap"] >= 0).all()
    total = result.contributions.groupby("service_id")["contribution"].sum()
    assert total.to_numpy() == pytest.approx(
        (frame["readiness"] / 100).map(math.log).to_numpy()
    )
    unknown = result.details["atoms"].query("state in ['unknown', 'conflict']")
    assert len(unknown) == len(result.details["unknown"])
    assert set(result.details) == {
        "atoms",
        "gates",
        "reasons",
        "dimensions",
        "unknown",
        "priors",
    }
    assert list(result.details["gates"]) == [
        "service_id",
        "gate",
        "state",
        "label",
        "evidence",
        "fact",
    ]


def test_rows_have_the_keys_of_the_interface(result):
    row = result.to_dict()["rows"][0]
    assert {
        "service_id",
        "readiness",
        "readiness_lo",
        "readiness_hi",
        "coverage",
        "label_gates",
        "gates",
        "dimensions",
        "unknown",
    } <= set(row)
    assert len(row["gates"]) == 10
    assert {"gate", "state", "label", "evidence"} <= set(row["gates"][0])
    assert set(row["dimensions"]["fit"]) == {"point", "lo", "hi", "coverage"}
    assert all(isinstance(check, str) for check in row["unknown"])
    json.dumps(result.to_dict(), allow_nan=False)


def test_explanation_says_gates_interval_and_what_to_find_out():
    fleet = Fleet().change("services", secrets_in_image=True, runbook=None)
    fleet.add("services", service_id="calm", tier=4)
    result = score_readiness(fleet.inventory(), POLICY)
    told = result.explain("shop")
    assert told.title.startswith("shop: readiness ")
    assert "Gate G6 (PREPARE) fails: secrets are baked" in told.text
    assert "Is there a runbook? (services.runbook)" in told.text
    assert "It fails 1 check: config.no_secrets." in told.text
    assert told.table["weight"].sum() == pytest.approx(1)
    assert (
        "Every gate passes."
        in score_readiness(Fleet().inventory(), POLICY).explain("shop").text
    )
    with pytest.raises(AssessError, match="no service 'shp'"):
        result.explain("shp")


def test_fleets_of_nothing_and_of_one_name():
    at = "2026-09-30"
    assert score_readiness(from_frames({}, snapshot_at=at), POLICY).rows() == []
    services = {"services": pd.DataFrame({"service_id": ["a"]})}
    row = score_readiness(from_frames(services, snapshot_at=at), POLICY).rows()[0]
    assert (row["readiness_lo"], row["readiness_hi"], row["coverage"]) == (
        1.0,
        100.0,
        0.0,
    )
    assert row["readiness"] == 50.0 and row["label_gates"] == "NOT DECIDABLE"
    assert len(row["unknown"]) == len(POLICY["check"])


def test_facts_to_find_out_stand_by_their_weight_and_an_explanation_names_five():
    services = {"services": pd.DataFrame({"service_id": ["a"]})}
    result = score_readiness(from_frames(services, snapshot_at="2026-09-30"), POLICY)
    worth = {
        check["id"]: check["weight"] * POLICY["dimensions"][check["id"].split(".")[0]]
        for check in POLICY["check"]
    }
    order = sorted(worth, key=lambda check: (-worth[check], check))
    unknown = result.details["unknown"]
    assert unknown["check"].tolist() == order
    text = result.explain("a").text
    assert [fact in text for fact in unknown["fact"][:6]] == [True] * 5 + [False]
    assert f" and {len(order) - 5} more." in text
    blind = result.details["gates"].set_index("gate").loc["G8", "fact"]
    assert blind == "; ".join(unknown["fact"][:3])


def test_a_service_without_a_fault_has_no_weakest_dimension():
    sound = Fleet().change("services", restore_tested_at="2026-09-01")
    assert score_readiness(sound.inventory(), POLICY).explain("shop").text == (
        "Every gate passes.\nReadiness is 100 of 100; 100% of the evidence is known."
    )


def test_a_change_of_weights_moves_the_score_and_the_hash(fleets, result):
    heavy = POLICY.replace(dimensions={"state": 2.2})
    other = score_readiness(together(fleets), heavy)
    assert other.provenance.policy_hash != result.provenance.policy_hash
    assert not other.frame["readiness"].equals(result.frame["readiness"])
    assert other.frame["label_gates"].equals(result.frame["label_gates"])


def test_replicas_that_ended_long_ago_do_not_count():
    fleet = Fleet().add(
        "workloads",
        **{
            **WORKLOAD,
            "workload_id": "old",
            "state": "exited",
            "privileged": True,
            "oom_killed": True,
        },
    )
    assert (
        score_readiness(fleet.inventory(), POLICY).frame.loc["shop", "readiness"] == 100.0
    )


@pytest.mark.parametrize(
    ("gate", "lo", "hi", "answer"),
    [
        (None, 60, 90, "yes"),
        (None, 59, 90, "unknown"),
        (None, 40, 59, "after fixes"),
        ("PREPARE", 90, 90, "after fixes"),
        ("HOLD", 90, 90, "after fixes"),
        ("NOT DECIDABLE", 90, 90, "unknown"),
        ("NEVER", 90, 90, "no"),
    ],
)
def test_could_move_depends_on_the_service_alone(gate, lo, hi, answer):
    row = pd.DataFrame(
        {"label_gates": [gate], "readiness_lo": [lo], "readiness_hi": [hi]}
    )
    assert could_move(row, 60).tolist() == [answer]


def told_of(n):
    """What an explanation says of a service with so many unknown facts and failed checks."""
    facts = [f"fact {k}" for k in range(n)]
    unknown = pd.DataFrame({"fact": facts}, dtype="str")
    atoms = pd.DataFrame(
        [(f"c.{k}", "fail", "why" * (k % 2)) for k in range(n)]
        + [("c.p", "partial", "half"), ("c.u", "unknown", "")],
        columns=["check", "state", "evidence"],
    )
    return readiness._fact_sentences(unknown), readiness._failure_sentences(atoms)


def test_an_explanation_names_five_facts_and_counts_the_others():
    assert told_of(0) == ([], [])
    assert told_of(1) == (["To find out: fact 0."], ["It fails 1 check: c.0."])
    (five,), (failed,) = told_of(5)
    assert five == "To find out: fact 0; fact 1; fact 2; fact 3; fact 4."
    assert failed == "It fails 5 checks: c.0, c.1 [why], c.2, c.3 [why], c.4."
    (six,), _ = told_of(6)
    assert six == five.removesuffix(".") + " and 1 more."


def test_a_score_is_said_with_its_interval_its_coverage_and_its_weakest_part():
    table = pd.DataFrame(
        {
            "dimension": ["build", "state"],
            "point": [80.0, 40.0],
            "contribution": [-0.1, -0.6],
        }
    )
    row = pd.Series(
        {
            "readiness": 55.4,
            "readiness_lo": 30.0,
            "readiness_hi": 71.0,
            "coverage": 0.75,
            "compensation_gap": 4.6,
        }
    )
    assert readiness._score_sentences(row, table) == [
        "Readiness is between 30 and 71 of 100; 75% of the evidence is known. It is 55 if "
        "the unknown checks pass as often as in the rest of the fleet.",
        "Weakest: state (40). A plain average would hide 5 points.",
    ]
    # ends that read alike are one number
    close = row.replace({30.0: 55.0, 71.0: 55.4})
    assert readiness._score_sentences(close, table)[0] == (
        "Readiness is 55 of 100; 75% of the evidence is known."
    )
    sound = table.assign(point=100.0)
    assert len(readiness._score_sentences(row, sound)) == 1


def test_the_dimension_of_which_least_is_known_is_named_the_first_of_equals():
    places = [("s", "b", 0.5), ("s", "a", 0.5), ("s", "c", 0.9), ("t", "c", 0.2)]
    table = pd.DataFrame(places, columns=["service_id", "dimension", "coverage"])
    found = readiness._least_known(table.set_index(["service_id", "dimension"]))
    assert found["coverage_lowest"].to_dict() == {"s": 0.5, "t": 0.2}
    assert found["dimension_lowest"].to_dict() == {"s": "a", "t": "c"}


def test_gates_that_are_open_are_said_each_and_else_that_all_pass():
    rows = [
        ("G1", "fail", "NEVER", "a store"),
        ("G2", "unknown", "HOLD", "not known: the kernel"),
        ("G3", "waived", "PREPARE", "a secret"),
        ("G4", "pass", "HOLD", "fine"),
    ]
    table = pd.DataFrame(rows, columns=["gate", "state", "label", "evidence"])
    assert readiness._gate_sentences(table) == [
        "Gate G1 (NEVER) fails: a store.",
        "Gate G2 (HOLD) is unknown: the kernel.",
        "Gate G3 (PREPARE) is waived: a secret.",
    ]
    assert readiness._gate_sentences(table[3:]) == ["Every gate passes."]
