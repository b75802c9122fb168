"""Checks: what is measured, what people say of it, and where the two contradict each other."""

import pandas as pd
import pytest
from readiness_fleet import AT, Fleet, together

from assess import frames
from assess.policy import load_policy
from assess.score.evidence import answer_checks
from assess.score.evidence.tables import gather

POLICY = load_policy()


def atoms(fleet, policy=POLICY):
    return many([fleet], policy)[0]


def many(fleets, policy=POLICY):
    """Atoms of the shop of each fleet, index check."""
    inventory = together(fleets)
    table = answer_checks(gather(inventory, policy), inventory, policy).set_index("check")
    return [
        table[table["service_id"] == f"{number}/shop"] for number in range(len(fleets))
    ]


def answer(fleet, check, risk, *, source="survey", at="2026-09-01T00:00:00Z"):
    row = {"service_id": "shop", "question": check, "source": source, "risk": risk}
    return fleet.add("answers", **row, answered_at=at)


def test_a_service_of_which_all_is_well_passes_every_check():
    states = atoms(Fleet())["state"]
    # it keeps no state, is no store, and has another storage driver
    other = ["state.restore_tested", "state.data_volume", "fit.no_loopback"]
    assert states.drop(other).eq("pass").all()
    assert states[other].eq("na").all()


def test_there_are_checks_in_every_dimension_and_each_is_explained():
    declared = pd.DataFrame(POLICY["check"])
    assert len(declared) >= 30
    assert set(declared["id"].str.partition(".")[0]) == set(POLICY["dimensions"])
    assert declared["question"].str.endswith("?").all()
    assert declared[["why", "remedy", "source"]].map(len).gt(3).all(axis=None)


FAULTS = [
    (
        "services",
        {"stateful": True, "restore_tested_at": "2026-09-01"},
        {"state.stateless"},
    ),
    ("mounts", {"read_only": False, "type": "volume"}, {"state.no_local_data"}),
    ("workloads", {"repository": "library/redis"}, {"state.no_store_image"}),
    ("workloads", {"readonly_root": False}, {"state.readonly_root"}),
    ("engines", {"version": "19.03.15"}, {"fit.engine_supported"}),
    ("engines", {"storage_driver": "aufs"}, {"fit.driver"}),
    ("hosts", {"kernel": "2.6.32-754.el6.x86_64"}, {"fit.kernel"}),
    ("hosts", {"os_version": "14.04"}, {"fit.os"}),
    ("hosts", {"cgroup_version": "1"}, {"fit.cgroup"}),
    ("engines", {"d_type": False}, {"fit.d_type"}),
    ("services", {"license_bound": True}, {"fit.not_bound"}),
    ("services", {"hardware_bound": True}, {"fit.not_bound"}),
    ("services", {"config_external": False}, {"config.external"}),
    ("services", {"secrets_in_image": True}, {"config.no_secrets"}),
    ("workloads", {"secret_like_env_n": 2}, {"config.no_secret_env"}),
    (
        "workloads",
        {"tag_floating": True, "pinned": False},
        {"build.tag_fixed", "build.pinned"},
    ),
    ("images", {"created_at": "2025-09-01"}, {"build.fresh"}),
    ("images", {"vuln_critical_n": 1}, {"build.no_critical"}),
    ("images", {"schema": "1"}, {"build.schema_current"}),
    ("workloads", {"user_root": True}, {"build.not_root"}),
    ("workloads", {"health": "unhealthy"}, {"observability.healthy"}),
    ("workloads", {"restarts_n": 6}, {"observability.few_restarts"}),
    ("services", {"min_healthy_pct": 51}, {"self_healing.spare"}),
    ("hosts", {"az": "a"}, {"self_healing.zones"}),
    ("workloads", {"memory_unlimited": True}, {"self_healing.memory_limit"}),
    ("workloads", {"oom_killed": True}, {"self_healing.no_oom"}),
    ("mounts", {"read_only": False, "shared_with_n": 1}, {"coupling.no_shared_volume"}),
    ("workloads", {"host_network": True}, {"coupling.own_network"}),
    ("workloads", {"docker_sock_mounted": True}, {"coupling.no_socket"}),
    ("workloads", {"privileged": True}, {"coupling.unprivileged"}),
    ("workloads", {"host_pid": True}, {"coupling.unprivileged"}),
    ("workloads", {"host_ipc": True}, {"coupling.no_capabilities"}),
    ("workloads", {"devices_n": 2}, {"coupling.no_capabilities"}),
    ("workloads", {"caps_added": "CHOWN;NET_ADMIN"}, {"coupling.no_capabilities"}),
    ("workloads", {"caps_added": "ALL"}, {"coupling.no_capabilities"}),
    ("mounts", {"host_path_class": "system"}, {"coupling.no_host_path"}),
    ("mounts", {"host_path_class": "root"}, {"coupling.no_host_path"}),
    ("engines", {"stopped_n": 3}, {"fit.tidy"}),
    (
        "engines",
        {"storage_driver": "devicemapper", "loopback": True, "d_type": None},
        {"fit.driver", "fit.no_loopback"},
    ),
    ("images", {"arch": "arm64"}, {"fit.arch"}),
    ("images", {"signed": False}, {"build.signed"}),
    ("images", {"immutable_tags": False}, {"build.immutable"}),
    ("services", {"runbook": False}, {"team.runbook"}),
    ("services", {"team_container_months": 5}, {"team.experience"}),
    ("services", {"deploys_per_month": 0.2}, {"team.deploys"}),
    ("services", {"lead_time_days": 30}, {"team.lead_time"}),
    ("services", {"code_mandatory_n": 3}, {"fit.code"}),
    ("services", {"code_effort": 100}, {"fit.code_effort"}),
]


def test_each_fault_fails_its_own_check():
    found = many([Fleet().change(frame, **columns) for frame, columns, _ in FAULTS])
    for (frame, columns, failed), own in zip(FAULTS, found, strict=True):
        assert set(own.index[own["state"].eq("fail")]) == failed, (frame, columns)


def state_of(fleet, check):
    return atoms(fleet).loc[check, "state"]


STORE = {"image_ref": None, "repository": "acme/orders-postgres"}
DATA = {"destination": "/var/lib/postgresql/data"}
VOLUME = {**DATA, "type": "volume", "source_class": "named-volume", "data_like": True}


@pytest.mark.parametrize(
    ("mount", "state"),
    [
        (VOLUME | {"read_only": False}, "pass"),
        (VOLUME | {"read_only": True}, "fail"),
        (VOLUME | {"read_only": False, "source_class": "anonymous-volume"}, "fail"),
        (DATA | {"source_class": "anonymous-volume", "read_only": False}, "fail"),
        (DATA | {"source_class": "tmpfs", "read_only": False}, "fail"),
        (DATA | {"source_class": "host-path", "read_only": False}, "pass"),
        (
            {
                "source_class": "host-path",
                "read_only": False,
                "destination": "/docker-entrypoint-initdb.d",
            },
            "fail",
        ),
        (DATA | {"source_class": None, "read_only": False}, "unknown"),
        (DATA | {"source_class": "named-volume", "read_only": None}, "unknown"),
    ],
)
def test_a_store_needs_a_volume_that_outlives_it(mount, state):
    fleet = Fleet().change("workloads", **STORE).change("mounts", **mount)
    fleet.rows["workloads"].pop()
    assert state_of(fleet, "state.data_volume") == state


def test_a_store_that_mounts_nothing_fails_only_where_somebody_looked():
    for status, state in (("ok", "fail"), ("declared", "fail"), ("list", "unknown")):
        fleet = Fleet().change("workloads", **STORE, inspect_status=status)
        fleet.change("mounts", workload_id="shop.2")
        fleet.rows["workloads"] = fleet.rows["workloads"][:1]
        fleet.rows["mounts"] = []
        assert state_of(fleet, "state.data_volume") == state
    blind = Fleet().change("workloads", **STORE).drop("mounts")
    assert state_of(blind, "state.data_volume") == "unknown"


VERSIONS = [
    (("1.4.2", "running"), ("1.4.2", "declared"), "pass"),
    (("1.4.2", "running"), ("1.5.0", "declared"), "fail"),
    (("1.4.2", "running"), ("1.5.0", "exited"), "pass"),
    (("1.4.2", "running"), ("1", "declared"), "unknown"),  # it may lead there
    (("1.4.2", "running"), ("2", "declared"), "fail"),
    (("1.4.2", "running"), ("latest", "running"), "unknown"),
    (("1.4.2", "running"), (None, "running"), "unknown"),
    (("1.4.2", "running"), ("1.4.2-alpine", "declared"), "pass"),
    (("1.4.2", "exited"), ("1.4.2", "exited"), "unknown"),
    (("1.4.2", None), ("1.4.2", "exited"), "unknown"),
]


@pytest.mark.parametrize(("one", "other", "state"), VERSIONS)
def test_a_service_is_of_one_version_in_all_sources(one, other, state):
    fleet = Fleet().change("workloads", image_ref=None, image_digest=None)
    for row, (tag, runs) in zip(fleet.rows["workloads"], (one, other), strict=True):
        row.update(tag=tag, state=runs)
    assert state_of(fleet, "build.one_version") == state


def calls(*rows):
    fleet = Fleet()
    fleet.rows["dependencies"] = [
        {"src_id": "shop", "dst_id": dst, "kind": kind, "evidence": evidence}
        for dst, kind, evidence in rows
    ]
    return fleet


DECLARED = ("ext:a", "call", "environment")


@pytest.mark.parametrize(
    ("fleet", "state"),
    [
        (calls(DECLARED, ("ext:a", "call", "traces")), "pass"),
        (calls(DECLARED, ("ext:b", "call", "traces")), "fail"),
        (calls(DECLARED, ("ext:b", "telemetry", "traces")), "unknown"),
        (calls(DECLARED), "unknown"),  # nobody watched
        (calls(("ext:b", "call", "traces")), "unknown"),  # nothing that declares was read
        (
            calls(("ext:b", "call", "traces")).change(
                "workloads", inspect_status="declared"
            ),
            "fail",
        ),
    ],
)
def test_what_was_seen_and_never_declared(fleet, state):
    assert state_of(fleet, "coupling.declared") == state


@pytest.mark.parametrize(
    ("image", "host", "target", "state"),
    [
        ("amd64", "x86_64", "", "pass"),
        ("386", "x86_64", "", "pass"),
        ("386", "aarch64", "", "fail"),
        ("amd64", "x86_64", "arm64", "fail"),
        ("amd64;arm64", "x86_64", "arm64", "pass"),
        (None, "x86_64", "arm64", "unknown"),
        ("amd64", None, "", "unknown"),
        ("amd64", "vax", "", "unknown"),
    ],
)
def test_an_image_needs_the_processor_of_its_target(image, host, target, state):
    fleet = Fleet().change("images", arch=image).change("hosts", arch=host)
    found = atoms(fleet, POLICY.replace(target={"arch": target}))
    assert found.loc["fit.arch", "state"] == state


def test_faults_of_the_whole():
    fleet = Fleet().change(
        "services", health_checked=False, logs_exported=False, asg_min=None
    )
    fleet.change("workloads", health="none", log_driver="json-file", restart_policy="no")
    fleet.change("hosts", asg_name=None)
    fleet.rows["workloads"].pop()
    for name in "abcdef":
        fleet.add(
            "dependencies", src_id="shop", dst_id=f"ext:{name}", kind="call", evidence="t"
        )
    states = atoms(fleet)["state"]
    assert set(states.index[states.eq("fail")]) == {
        "observability.health",
        "observability.logs",
        "self_healing.replicas",
        "self_healing.spread",
        "self_healing.zones",
        "self_healing.heals",
        "self_healing.spare",
        "coupling.fan_out",
    }
    # nothing checks it, so nothing can be unwell
    assert states["observability.healthy"] == "na"


def without_group():
    return Fleet().change("services", asg_min=None).change("hosts", asg_name=None)


def test_a_check_is_unknown_without_what_it_needs():
    """Hide all that a check names: it may not pass any more."""
    fleets = []
    for check in POLICY["check"]:
        fleet = without_group()
        for need in check["needs"]:
            table, _, column = need.partition(".")
            if column not in frames.key(table):
                fleet.change(table, **{column: None})
            else:
                fleet.rows[table] = []
        fleets.append(fleet)
    for check, own in zip(POLICY["check"], many(fleets), strict=True):
        assert own.loc[check["id"], "state"] in ("unknown", "na"), check["id"]
    shown = many([without_group()])[0]
    assert shown["state"].isin(["pass", "na"]).all()


def test_an_answer_stands_in_where_nothing_was_measured_and_the_check_is_asked():
    cases = {"green": ("pass", 1), "yellow": ("partial", 0.5), "red": ("fail", 0)}
    silent = Fleet().change("services", runbook=None)
    told = [
        answer(Fleet().change("services", runbook=None), "team.runbook", r) for r in cases
    ]
    unknown, *heard = (own.loc["team.runbook"] for own in many([silent, *told]))
    assert unknown["state"] == "unknown"
    for (state, value), atom in zip(cases.values(), heard, strict=True):
        assert (atom["state"], atom["value"], atom["source"]) == (state, value, "answers")
        assert atom["observed_at"] == pd.Timestamp("2026-09-01", tz="UTC")


def test_no_word_replaces_a_measurement_that_is_gone():
    fleet = Fleet().change("workloads", privileged=None)
    assert (
        atoms(answer(fleet, "coupling.unprivileged", "green")).loc[
            "coupling.unprivileged", "state"
        ]
        == "unknown"
    )


OPINIONS = [
    (True, "red", "conflict"),
    (False, "green", "conflict"),
    (True, "green", "pass"),
    (False, "red", "fail"),
    (True, "yellow", "pass"),
    (True, "unknown", "pass"),
]


def test_contradicting_sources_are_a_conflict():
    fleets = [
        answer(Fleet().change("services", runbook=runbook), "team.runbook", risk)
        for runbook, risk, _ in OPINIONS
    ]
    for (_, _, state), own in zip(OPINIONS, many(fleets), strict=True):
        atom = own.loc["team.runbook"]
        assert atom["state"] == state
        assert pd.isna(atom["value"]) == (state == "conflict")
        assert ("answers" in atom["source"]) == (state == "conflict")


def test_people_who_contradict_each_other_are_a_conflict():
    fleet = answer(Fleet().change("services", runbook=None), "team.runbook", "green")
    answer(fleet, "team.runbook", "red", source="interview")
    assert atoms(fleet).loc["team.runbook", "state"] == "conflict"


def test_an_answer_out_of_date_or_without_date_counts_as_none():
    dates = ["2025-09-01T00:00:00Z", "2026-10-05T00:00:00Z", None]
    fleets = [
        answer(Fleet().change("services", runbook=None), "team.runbook", "green", at=at)
        for at in dates
    ]
    assert all(own.loc["team.runbook", "state"] == "unknown" for own in many(fleets))


def test_expired_rows_make_a_check_unknown():
    dated = POLICY.replace(
        check=[{"id": "fit.os", "dated_by": "last_seen_at", "ttl_days": 90}]
    )
    seen = Fleet().change("hosts", last_seen_at="2026-09-01T00:00:00Z")
    atom = atoms(seen, dated).loc["fit.os"]
    assert (atom["state"], atom["observed_at"]) == (
        "pass",
        pd.Timestamp("2026-09-01", tz="UTC"),
    )
    old = seen.first("hosts", last_seen_at="2026-03-01T00:00:00Z")
    assert atoms(old, dated).loc["fit.os", "state"] == "unknown"
    assert atoms(old).loc["fit.os", "state"] == "pass"
    assert atoms(old).loc["fit.os", "observed_at"] == AT


def test_a_share_of_replicas_is_partial():
    share = POLICY.replace(check=[{"id": "build.pinned", "combine": "share"}])
    atom = atoms(Fleet().first("workloads", pinned=False), share).loc["build.pinned"]
    assert (atom["state"], atom["value"]) == ("partial", 0.5)


def test_weight_zero_switches_a_check_off():
    off = POLICY.replace(
        check=[{"id": "build.pinned", "weight": 0}], dimensions={"team": 0}
    )
    left = atoms(Fleet(), off)
    assert "build.pinned" not in left.index
    assert "team" not in set(left["dimension"])
