"""Gates: one hard no is enough, and what is unknown never passes."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from readiness_fleet import WORKLOAD, Fleet, together

from assess.errors import DataError
from assess.policy import load_policy
from assess.score.readiness import gates, score_readiness

POLICY = load_policy()


def many(fleets, policy=POLICY):
    """Gates (index gate) and row of the frame, of the shop of each fleet."""
    result = score_readiness(together(fleets), policy)
    table = result.details["gates"].set_index("gate")
    ids = [f"{number}/shop" for number in range(len(fleets))]
    return [(table[table["service_id"] == name], result.frame.loc[name]) for name in ids]


def judged(fleet, policy=POLICY):
    return many([fleet], policy)[0][0]


def shop(**services):
    return Fleet().change("services", **services)


def undeclared(**workloads):
    return shop(stateful=None).change("workloads", **workloads)


def quiet(health, logs):
    fleet = shop(health_checked=health, logs_exported=logs)
    return fleet.change("workloads", health=None, log_driver=None)


def volume(read_only, tested):
    return shop(restore_tested_at=tested).change(
        "mounts", type="volume", read_only=read_only
    )


def single(**services):
    fleet = shop(platform="docker", asg_min=None, **services)
    fleet.change("workloads", restart_policy="no").change("hosts", asg_name=None)
    fleet.rows["workloads"].pop()
    return fleet


def pulling(env, registry, mirrors):
    fleet = shop(env=env).change("workloads", registry=registry)
    return fleet.change("engines", mirrors_n=mirrors)


CASES = {
    "G1": [
        (shop(), "pass"),
        (Fleet().on_plain_host(), "pass"),
        (shop(kind="database"), "fail"),
        (shop(kind="object-store"), "fail"),
        (shop(kind="cache"), "pass"),
        (shop(kind=None), "unknown"),
        (shop(kind="unknown"), "unknown"),
        (shop(stateful=True), "fail"),
        (shop(stateful=None), "unknown"),
        (shop(stateful=None, kind="database"), "fail"),
        (Fleet().change("workloads", repository="library/postgres"), "fail"),
        (Fleet().change("workloads", repository="acme/user-db"), "fail"),
        (Fleet().change("workloads", repository=None, image_ref="mysql:8"), "fail"),
        (Fleet().change("workloads", repository=None, image_ref=None), "unknown"),
        (Fleet().change("workloads", repository="library/nginx"), "pass"),
        (Fleet().first("workloads", repository="library/mongo"), "fail"),
        (Fleet().change("mounts", data_like=True, read_only=False), "fail"),
        (Fleet().change("mounts", data_like=True, read_only=None), "unknown"),
        (Fleet().change("mounts", data_like=None, read_only=False), "unknown"),
        (Fleet().change("mounts", data_like=True, read_only=True), "pass"),
        (Fleet().change("mounts", data_like=False, read_only=False), "pass"),
        (Fleet().change("workloads", inspect_status="list"), "unknown"),
        (undeclared(ports="5432/tcp"), "fail"),
        (undeclared(ports="5432/tcp").change("services", stateful=False), "pass"),
        (undeclared(source_kind="StatefulSet"), "fail"),
        (
            undeclared(source_kind="StatefulSet").change("services", stateful=False),
            "pass",
        ),
        (Fleet().on_plain_host().change("services", kind="database"), "fail"),
        (Fleet().on_plain_host().change("services", stateful=None), "unknown"),
    ],
    "G2": [
        (shop(), "pass"),
        (Fleet().change("engines", version="1.12.6"), "fail"),
        (Fleet().first("engines", version="24.0.7"), "fail"),  # one replica is enough
        (Fleet().change("engines", version="29"), "pass"),
        (Fleet().change("engines", version="29.9.0"), "pass"),
        (Fleet().change("engines", version="99.1"), "unknown"),
        (Fleet().first("engines", version=None), "unknown"),
        (Fleet().change("engines", storage_driver="aufs"), "fail"),
        (Fleet().first("engines", storage_driver=None), "unknown"),
        (Fleet().change("hosts", kernel="2.6.32-754.el6.x86_64"), "fail"),
        (Fleet().first("hosts", kernel=None), "unknown"),
        (Fleet().change("hosts", os_version="16.04"), "fail"),
        (Fleet().first("hosts", os_name=None), "unknown"),
        (Fleet().first("workloads", host_id=None), "unknown"),
        (Fleet().on_plain_host(), "pass"),
        (Fleet().on_plain_host().change("hosts", os_version="14.04"), "fail"),
    ],
    "G3": [
        (shop(license_bound=True), "fail"),
        (shop(hardware_bound=True, license_bound=None), "fail"),
        (shop(license_bound=None), "unknown"),
        (shop(), "pass"),
    ],
    "G4": [
        (shop(tier=1), "unknown"),
        (shop(tier=2), "pass"),
        (shop(tier=None), "unknown"),
    ],
    "G5": [
        (quiet(False, False), "fail"),
        (quiet(True, False), "pass"),
        (quiet(False, True), "pass"),
        (quiet(None, True), "pass"),
        (quiet(False, None), "unknown"),
        (quiet(None, False), "unknown"),
        (quiet(None, None), "unknown"),
    ],
    "G6": [
        (shop(secrets_in_image=True), "fail"),
        (shop(secrets_in_image=False), "pass"),
        (shop(secrets_in_image=None), "unknown"),
    ],
    "G7": [
        (volume(read_only=False, tested="2026-03-01"), "fail"),
        (volume(read_only=False, tested="2026-09-01"), "pass"),
        (volume(read_only=False, tested=None), "unknown"),
        (volume(read_only=False, tested="2026-12-01"), "unknown"),  # after the snapshot
        (volume(read_only=True, tested="2026-03-01"), "pass"),
        (volume(read_only=True, tested=None), "pass"),
        (volume(read_only=None, tested="2026-03-01"), "unknown"),
    ],
    "G8": [
        (shop(team_container_months=None, runbook=None), "pass"),
        (shop(team_container_months=None, runbook=None, owner=None), "fail"),
    ],
    "G9": [
        (single(tier=2), "fail"),
        (single(tier=3), "pass"),
        (single(tier=None), "unknown"),
        (single(tier=2).change("workloads", restart_policy="always"), "pass"),
        (single(tier=2).change("hosts", asg_name="web"), "pass"),
        (
            single(tier=2).add("workloads", **{**WORKLOAD, "workload_id": "shop.2"}),
            "pass",
        ),
        (single(tier=2).change("workloads", state=None), "unknown"),
    ],
    "G10": [
        (pulling("prod", "docker.io", 0), "fail"),
        (pulling("prod", "docker.io", 1), "pass"),
        (pulling("stage", "docker.io", 0), "pass"),
        (pulling(None, "docker.io", 0), "unknown"),
        (pulling("prod", "docker.io", None), "unknown"),
        (pulling("prod", "registry.example.net", 0), "pass"),
        (pulling("prod", "quay.io", 1), "fail"),
    ],
}


@cache
def outcomes():
    """Score every case at once."""
    places = [(gate, i) for gate, cases in CASES.items() for i in range(len(cases))]
    return dict(zip(places, many([CASES[gate][i][0] for gate, i in places]), strict=True))


@pytest.mark.parametrize(
    ("gate", "case"),
    [(gate, i) for gate, cases in CASES.items() for i in range(len(cases))],
)
def test_state_of_a_gate(gate, case):
    expected = CASES[gate][case][1]
    table, row = outcomes()[gate, case]
    judged_gate = table.loc[gate]
    assert judged_gate["state"] == expected
    assert judged_gate["evidence"]
    if expected == "unknown":
        assert judged_gate["fact"]
        assert judged_gate["fact"] in judged_gate["evidence"]
        assert row["label_gates"] in ("NOT DECIDABLE", "NEVER")
    if expected == "fail":
        assert gates.HARDNESS[row["label_gates"]] >= gates.HARDNESS[judged_gate["label"]]


def test_a_sound_service_passes_every_gate_in_the_order_of_the_policy():
    for case in (("G1", 0), ("G1", 1)):
        table, row = outcomes()[case]
        assert table["state"].eq("pass").all()
        assert table.index.tolist() == [f"G{n}" for n in range(1, 11)]
        assert pd.isna(row["label_gates"])


def test_a_baked_secret_is_named():
    fleet = shop(secrets_in_image=True)
    named = fleet.change("workloads", secret_env_names="DB_PASSWORD; API_KEY")
    table, _ = many([named])[0]
    assert "DB_PASSWORD; API_KEY" in table.loc["G6", "evidence"]
    table, _ = many([shop(secrets_in_image=True)])[0]
    assert "(" not in table.loc["G6", "evidence"]


def test_evidence_shows_what_was_seen():
    seen = {
        "1.12.6": ("G2", 1),
        "aufs": ("G2", 7),
        "2.6.32-754.el6.x86_64": ("G2", 9),
        "ubuntu 16.04": ("G2", 11),
        "2026-03-01": ("G7", 0),
        "quay.io": ("G10", 6),
        "library/postgres": ("G1", 10),
        "/etc/shop": ("G1", 16),
    }
    for words, (gate, case) in seen.items():
        assert words in outcomes()[gate, case][0].loc[gate, "evidence"]
    lacking = outcomes()["G8", 1][0].loc["G8"]
    assert "services.owner" in lacking["fact"]
    # the rule speaks of percent, and so does the value
    least = "less than 40% of the evidence is known for one dimension (team 25.0%)"
    assert lacking["evidence"] == least


def with_months(opened, **services):
    """Let another service of a lower tier run in containers, watched since `opened`."""
    fleet = shop(**services).add("services", service_id="other", tier=3, platform="ecs")
    asked = {"run_id": "r", "source": "incidents", "scope": "all", "call": "read"}
    window = {"window_start": opened, "window_end": "2026-09-30T00:00:00Z"}
    return fleet.add("coverage", **asked, status="ok", **window)


@pytest.mark.parametrize(
    ("opened", "core", "unknown_tier"),
    [
        ("2026-06-30T00:00:00Z", "fail", "unknown"),
        ("2025-06-30T00:00:00Z", "pass", "pass"),
    ],
)
def test_g4_lets_the_core_wait_for_lower_tiers(opened, core, unknown_tier):
    fleet = with_months(opened, tier=1)
    for name, tier in (("lower", 2), ("some", None)):
        fleet.add("services", service_id=name, tier=tier, platform="host")
    table = score_readiness(fleet.inventory(), POLICY).details["gates"]
    states = table[table["gate"] == "G4"].set_index("service_id")["state"]
    assert states[["shop", "lower", "some"]].tolist() == [core, "pass", unknown_tier]


@pytest.mark.parametrize("frames", [("workloads", "mounts"), ("mounts",)])
def test_a_frame_that_is_gone_makes_the_store_question_unknown(frames):
    assert judged(Fleet().drop(*frames)).loc["G1", "state"] == "unknown"


def called(address, kind="data"):
    return shop().add(
        "dependencies", src_id="shop", dst_id=address, kind=kind, evidence="env"
    )


HARDENED = {
    "readonly_root": True,
    "user_root": False,
    "privileged": False,
    "caps_added_n": 0,
}
TMPFS = {
    "type": "tmpfs",
    "source_class": "tmpfs",
    "destination": "/tmp",
    "read_only": False,
}
FILE = {
    "type": "volume",
    "source_class": "named-volume",
    "read_only": False,
    "data_like": True,
}


@pytest.mark.parametrize(
    ("fleet", "state"),
    [
        (called("ext:orders.abc.eu-west-1.rds.amazonaws.com:5432"), "pass"),
        (called("ext:mysql.example.net"), "pass"),
        (Fleet().change("mounts", destination="/app/orders.sqlite3", **FILE), "fail"),
        (Fleet().change("workloads", repository="acme/user-db"), "fail"),
        (Fleet().change("workloads", repository="acme/user-db-exporter"), "pass"),
        (Fleet().change("workloads", **HARDENED).change("mounts", **TMPFS), "pass"),
        (
            Fleet().change(
                "mounts", destination="/etc/mysql/conf.d", source_class="config"
            ),
            "pass",
        ),
    ],
)
def test_g1_flags_what_keeps_data_and_nothing_that_only_speaks_to_it(fleet, state):
    table = score_readiness(fleet.inventory(), POLICY).details["gates"]
    # what lies outside the fleet is not judged
    assert set(table["service_id"]) == {"shop"}
    assert table.set_index("gate").loc["G1", "state"] == state


def test_a_gate_is_lifted_by_the_policy_for_one_engine():
    lifting = POLICY.replace(
        gate=[{"id": "G1", "unless": 'repository == "library/postgres"'}]
    )
    store = shop(kind="database").change("workloads", repository="library/postgres")
    other = shop(kind="database").change("workloads", repository="library/mysql")
    blind = shop(kind="database").change("workloads", repository=None, image_ref=None)
    lifted, *kept = (table.loc["G1"] for table, _ in many([store, other, blind], lifting))
    assert lifted["state"] == "pass"
    assert lifted["evidence"].startswith("lifted by the policy: it is a data store")
    assert [gate["state"] for gate in kept] == ["fail", "fail"]


def test_a_threshold_of_zero_lets_everything_through():
    reasons = [
        {
            "table": "services",
            "rule": "coverage < 0",
            "says": "too little",
            "fact": "anything",
        }
    ]
    open_ = POLICY.replace(gate=[{"id": "G8", "reasons": reasons}])
    sparse = Fleet().drop("workloads", "mounts")
    assert judged(sparse, open_).loc["G8", "state"] == "pass"
    strict = judged(sparse).loc["G8"]
    assert strict["state"] == "fail" and "less than 60%" in strict["evidence"]


NEVER, PREPARE, HOLD = (
    {"license_bound": True},
    {"secrets_in_image": True},
    {"os_version": "16.04"},
)
UNKNOWN = {"secrets_in_image": None}


def test_one_hard_no_wins_then_the_unknown_then_the_harder():
    fleets = {
        "NEVER": shop(**NEVER, **UNKNOWN).change("hosts", **HOLD),
        "NOT DECIDABLE": shop(**UNKNOWN).change("hosts", **HOLD),
        "HOLD": shop(**PREPARE).change("hosts", **HOLD),
        "PREPARE": shop(**PREPARE),
    }
    found = [row["label_gates"] for _, row in many(list(fleets.values()))]
    assert found == list(fleets)


def waived(
    secrets=True, granted="2026-07-01", expires="2026-12-01", owner="checkout", gate="G6"
):
    return shop(secrets_in_image=secrets).add(
        "waivers",
        service_id="shop",
        gate=gate,
        owner=owner,
        reason="a vault is on its way",
        granted_at=granted,
        expires_at=expires,
    )


def test_a_waiver_holds_for_at_most_180_days_and_never_for_an_unknown():
    cases = [
        (waived(), "waived"),
        (waived(expires="2026-12-28"), "waived"),  # 180 days
        (waived(expires="2026-12-29"), "fail"),  # too long
        (waived(granted="2026-03-01", expires="2026-08-01"), "fail"),  # over
        (waived(granted="2026-10-05"), "fail"),  # not yet granted
        (waived(owner=" "), "fail"),  # nobody answers for it
        (waived(secrets=None), "unknown"),  # find it out
        (waived(secrets=False), "pass"),
    ]
    found = many([fleet for fleet, _ in cases])
    assert [table.loc["G6", "state"] for table, _ in found] == [
        state for _, state in cases
    ]
    said = [
        table.loc["G6", "evidence"].partition("does not count: it ")[2]
        for table, _ in found
    ]
    assert said == [
        "",
        "",
        "is for more than 180 days",
        "has expired",
        "is not granted yet",
        "names no owner",
        "excuses a failed gate, not an unknown one",
        "",
    ]
    table, row = found[0]
    assert "waived by checkout until 2026-12-01" in table.loc["G6", "evidence"]
    assert pd.isna(row["label_gates"]) and row["label_before_waivers"] == "PREPARE"


def test_a_waiver_counts_from_the_moment_it_is_granted_to_the_moment_it_ends():
    now = "2026-09-30"  # the snapshot
    (begun, _), (ended, _) = many(
        [waived(granted=now), waived(granted="2026-08-01", expires=now)]
    )
    assert begun.loc["G6", "state"] == "waived"
    assert ended.loc["G6", "evidence"].endswith("does not count: it has expired")


def test_reasons_combine_as_three_valued_or_and_and():
    unknown = float("nan")
    holds = np.array(
        [[1, 1, 1, 0, 0, unknown], [0, 1, unknown, 0, unknown, unknown]], dtype=float
    )
    either = gates.fails(holds, "any")
    np.testing.assert_array_equal(either, [1, 1, 1, 0, unknown, unknown])
    both = gates.fails(holds, "all")
    np.testing.assert_array_equal(both, [0, 1, unknown, 0, 0, unknown])
    assert gates.hardness(either, gates.HARDNESS["HOLD"]).tolist() == [2, 2, 2, 0, 3, 3]


def test_the_evidence_shows_at_most_three_values_and_a_failed_gate_asks_nothing():
    fleets = []
    for places in ("abc", "abcd"):
        fleet = shop(owner=None)
        [mount] = fleet.rows["mounts"]
        data = {"data_like": True, "read_only": False, "type": "volume"}
        fleet.rows["mounts"] = [
            {**mount, **data, "destination": f"/{place}"} for place in places
        ]
        fleets.append(fleet)
    three, four = (table.loc["G1"] for table, _ in many(fleets))
    assert "(/a, /b, /c)" in three["evidence"]
    assert "(/a, /b, /c …)" in four["evidence"]
    assert three["state"] == "fail"
    assert three["fact"] == ""  # nothing that is missing would change it


def test_waivers_of_gates_that_the_policy_does_not_have_are_named_all_at_once():
    fleet = together([waived(gate="g6"), waived(gate="vault"), waived()])
    with pytest.warns(gates.UnknownGateWarning) as caught:
        table = score_readiness(fleet, POLICY).details["gates"]
    (told,) = caught
    assert str(told.message).endswith(
        "have no effect: g6 of 0/shop (did you mean G6?), vault of 1/shop"
    )
    assert told.filename == __file__
    states = table[table["gate"] == "G6"].set_index("service_id")["state"]
    assert states.to_dict() == {"0/shop": "fail", "1/shop": "fail", "2/shop": "waived"}


def test_a_waiver_without_owner_or_end_or_service_is_refused_with_its_row():
    for column in ("owner", "expires_at", "service_id"):
        fleet = waived()
        fleet.rows["waivers"][0][column] = None
        with pytest.raises(DataError, match=rf"waivers row 1 {column}=''"):
            fleet.inventory()
    fleet = waived().add(
        "answers", service_id="gone", question="team.runbook", source="board"
    )
    fleet.rows["waivers"][0]["service_id"] = "lost"
    with pytest.raises(DataError, match="2 problems") as caught:
        fleet.inventory()
    assert "answers row 1 service_id='gone'" in str(caught.value)
    assert "waivers row 1 service_id='lost'" in str(caught.value)


def test_labels_of_no_gates_at_all():
    assert gates.labels(pd.DataFrame(columns=list(gates.GATE_COLUMNS))).empty
