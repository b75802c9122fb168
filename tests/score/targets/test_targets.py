"""Targets: every service on every target of the policy, and what decides between them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

import assess
from assess.cli import cli
from assess.errors import AssessError, PolicyError
from assess.sample import write_sample
from assess.score.evidence.tables import gather
from assess.score.targets import CRITERIA, dominated
from assess.score.targets.place import Place, at_place

ROW = [
    *("service_id", "target", "verdict", "blockers"),
    *("readiness_lo", "readiness", "readiness_hi"),
    *("hours_per_year", "hours_per_year_lo", "hours_per_year_hi"),
    *("delta", "delta_lo", "delta_hi"),
    *("cost_per_month", "cost_per_month_lo", "cost_per_month_hi"),
    *("effort_hours", "dominated", "why"),
]
AT = pd.Timestamp("2026-09-30", tz="UTC")
GIB = 2**30
EUR = {"currency": "EUR", "vcpu_hour": 0.04, "gib_hour": 0.01, "service_month": 0}


@pytest.fixture(scope="module")
def policy():
    return assess.load_policy()


@pytest.fixture(scope="module")
def sample(policy):
    return assess.score_targets(assess.load("data/sample/2026Q3"), policy)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a few services of the sample, where what they are does not matter."""
    directory = tmp_path_factory.mktemp("small")
    return write_sample(directory, services=12)[-1]


@pytest.fixture(scope="module")
def labelled(policy, small):
    """Return the small fleet with its labels."""
    fleet = assess.load(small)
    return fleet, assess.what_next(fleet, policy).frame["label"]


HIDDEN = ("privileged", "host_network", "docker_sock_mounted", "inspect_status")
ROOMY = {"memory_bytes": 512 * GIB, "vcpus": 64}
OBSERVED = {
    "memory_p95_bytes": GIB,
    "memory_peak_bytes": GIB,
    "cpu_p95": 1,
    "cpu_peak": 2,
}
REFUSED = [  # of a container, with the verdict on fargate; docker takes every one
    ("plain", {}, "fits"),
    ("privileged", {"privileged": True}, "no"),
    ("on-network", {"host_network": True}, "after fixes"),
    ("with-socket", {"docker_sock_mounted": True}, "no"),
    ("hidden-privileged", {"privileged": None}, "unknown"),
    ("with-memory", {"host_ipc": True}, "after fixes"),
    ("with-rights", {"caps_added_n": 1, "caps_added": "NET_ADMIN"}, "after fixes"),
    ("tracing", {"caps_added_n": 1, "caps_added": "SYS_PTRACE"}, "fits"),
    ("binding", {"caps_added_n": 1, "caps_added": "NET_BIND_SERVICE"}, "fits"),
    ("hidden-rights", {"caps_added_n": None, "caps_added": None}, "unknown"),
    ("with-device", {"devices_n": 1}, "after fixes"),
    ("agent", {"source_kind": "daemonset"}, "no"),
    ("large", {"memory_limit_bytes": 200 * GIB, **ROOMY}, "no"),
    ("large-asks", {"memory_request_bytes": 200 * GIB, **ROOMY}, "no"),
    ("without-limit", ROOMY, "unknown"),
    ("no-size", {"memory_bytes": None, "vcpus": None}, "unknown"),
    ("limited", {"memory_limit_bytes": GIB, "cpu_limit": 2.0, **ROOMY}, "fits"),
    # a request of CPU is enough; one of memory is no upper end
    ("asks", {"memory_limit_bytes": GIB, "cpu_request": 2.0, **ROOMY}, "fits"),
    (
        "asks-memory",
        {"memory_request_bytes": GIB, "cpu_request": 2.0, **ROOMY},
        "unknown",
    ),
    ("observed", {**OBSERVED, "usage_window_hours": 168.0, **ROOMY}, "fits"),
    ("glimpsed", {**OBSERVED, "usage_window_hours": 1.0, **ROOMY}, "unknown"),
]
SIZED = {"cpu_request": 0.5, "memory_request_bytes": GIB, "memory_limit_bytes": 2 * GIB}
CORE = {"cpu_request": 1.0, "memory_request_bytes": GIB}
BAD = {"privileged": True, "host_pid": True, "cpu_request": 1.0}


def case(name, *, service=None, workload=None, replicas=2):
    """Return the tables of a service of the lowest tier of which all is known to be good."""
    hosts = [f"{name}-{n}" for n in range(replicas)]
    service = {
        "service_id": name,
        **{"env": "prod", "tier": 4, "kind": "web", "stateful": False, "public": False},
        **{"platform": "docker", "license_bound": False, "hardware_bound": False},
        **{"health_checked": True, "logs_exported": True, "config_external": True},
        **{"secrets_in_image": False, "min_healthy_pct": 50.0, "move_effort_hours": 8.0},
        **{"owner": "team", "runbook": True, "team_container_months": 60},
        **{"deploys_per_month": 8.0, "lead_time_days": 1.0},
        **(service or {}),
    }
    workload = {
        **{"source_kind": "container", "state": "running", "inspect_status": "ok"},
        **{"registry": "registry.example", "repository": name, "tag": "1.2.3"},
        **{"privileged": False, "host_network": False, "host_pid": False},
        **{"docker_sock_mounted": False, "ports": "8080/tcp", "readonly_root": True},
        **{"host_ipc": False, "caps_added_n": 0, "caps_added": "none", "devices_n": 0},
        **{"secret_like_env_n": 0, "user_root": False, "service_id": name},
        **(workload or {}),
    }
    system = {"os_name": "debian", "os_version": "13", "kernel": "6.12.48"}
    sizes = {"memory_bytes": 8 * GIB, "vcpus": 2}
    system |= {column: workload.pop(column, size) for column, size in sizes.items()}
    engine = {"runtime": "docker", "version": "29.1.0", "storage_driver": "overlay2"}
    return {
        "services": [service],
        "workloads": [{**workload, "workload_id": h, "host_id": h} for h in hosts],
        "hosts": [{"host_id": h, **system} for h in hosts],
        "engines": [{"host_id": h, **engine, "d_type": True} for h in hosts],
    }


@pytest.fixture(scope="module")
def cases():
    """Return one fleet of a service for each case, on hosts of its own."""
    told = [
        *(case(name, workload=workload) for name, workload, _ in REFUSED),
        *(case(f"hides-{column}", workload={column: None}) for column in HIDDEN),
        case("bound", service={"license_bound": True}),
        case("bad", workload=BAD),
        case("sized", workload=SIZED),
        case("one", workload=CORE, replicas=1),
        case("five", workload=CORE, replicas=5),
    ]
    tables = {
        name: pd.DataFrame([row for each in told for row in each[name]])
        for name in told[0]
    }
    tables["mounts"] = pd.DataFrame(columns=["workload_id", "destination"])
    return assess.from_frames(tables, snapshot_at=AT)


@pytest.fixture(scope="module")
def judged(cases, policy):
    return assess.score_targets(cases, policy)


@pytest.fixture(scope="module")
def own(cases, policy):
    """Return the cases on targets of a reader's own."""
    every = [row["id"] for row in policy["refusal"]]
    targets = [
        {"id": "docker", "version": "20.10"},
        {"id": "later", "platform": "docker", "version": "99.1"},
        {"id": "newer", "platform": "docker", "os": "debian", "os_version": "99.9"},
        {"id": "bsd", "platform": "docker", "os": "FreeBSD", "os_version": "14"},
        {"id": "strict", "platform": "fargate", "refuses": every, "cpu_max": 0.001},
        {"id": "fargate", "prices": EUR},
        {"id": "nomad", "compared": False},
    ]
    return assess.score_targets(cases, policy.replace(target=targets))


def verdicts(result, name="plain"):
    return result.frame["verdict"].xs(name, level="service_id").to_dict()


def test_the_rows_are_those_of_the_contract(sample):
    assert list(sample.rows()[0]) == ROW
    per_service = sample.frame.groupby("service_id").size()
    assert per_service.eq(per_service.iloc[0]).all()
    assert per_service.iloc[0] >= 9
    assert {"stay", "fargate"} <= set(sample.frame.index.get_level_values("target"))
    assert set(sample.frame["verdict"]) <= {"fits", "after fixes", "no", "unknown"}
    assert isinstance(sample.rows()[0]["blockers"], list)


def test_bounds_hold_and_staying_changes_nothing(sample):
    frame = sample.frame
    for name in ("readiness", "hours_per_year", "delta", "cost_per_month"):
        known = frame[[f"{name}_lo", name, f"{name}_hi"]].astype(float).dropna()
        assert (known[f"{name}_lo"] <= known[name] + 1e-6).all()
        assert (known[name] <= known[f"{name}_hi"] + 1e-6).all()
    stay = frame.xs("stay", level="target")
    assert stay[["delta", "effort_hours"]].eq(0).all(axis=None)


def test_targets_differ_where_they_should_on_the_sample(sample):
    verdict = sample.frame["verdict"].unstack("target")
    shipper = verdict.loc["log-shipper"]
    assert shipper["ecs-ec2"] == "fits"
    assert shipper[["fargate", "cloud-run", "podman"]].eq("no").all()
    why = sample.frame.loc[("log-shipper", "fargate"), "why"]
    assert "socket of the engine" in why
    hours = sample.frame["hours_per_year"].unstack("target").mean()
    assert hours["fargate"] < hours["own-kubernetes"]
    assert hours["cloud-run"] < hours["docker"]


def test_an_explanation_tells_each_blocker_and_missing_price_once(sample):
    told = sample.explain("log-shipper").text
    assert told.count("prices of the target (policy target.prices: ") == 1
    assert told.count("socket of the engine") == 1
    places = "podman, fargate, managed-kubernetes, own-kubernetes, cloud-run"
    assert f"Blockers at {places}: engine-socket: " in told
    assert told.startswith("stay: after fixes; we patch, ")
    assert "\ndocker: fits: nothing is in the way; we patch, " in told


def test_prices_are_never_guessed(sample):
    assert sample.frame["cost_per_month"].isna().all()
    assert sample.frame["why"].str.contains("no cost without prices of").all()


@pytest.mark.parametrize(("name", "_", "fargate"), REFUSED)
def test_what_a_target_refuses(judged, name, _, fargate):
    found = verdicts(judged, name)
    assert (found["fargate"], found["docker"]) == (fargate, "fits")


def test_what_never_may_move_fits_nowhere_else(judged):
    found = verdicts(judged, "bound")
    assert {verdict for name, verdict in found.items() if name != "stay"} == {"no"}


@pytest.mark.parametrize("is_mirrored", [True, False])
def test_facts_of_a_place_are_known_for_sure_and_those_it_leaves_stay(
    policy, is_mirrored
):
    tables = case("plain", workload={"registry": "docker.io"})
    tables["engines"] = [
        {**e, "rootless": True, "mirrors_n": 0} for e in tables["engines"]
    ]
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    now = gather(assess.from_frames(frames, snapshot_at=AT), policy)
    asked = [
        ("workloads", "rootless"),
        ("workloads", "public_unmirrored"),
        ("engines", "engine_supported"),
        ("hosts", "not os_supported"),
    ]
    engine, host = (("engine_supported", False),), (("os_supported", False),)
    then = at_place(now, Place(engine, host, 2, 2, 2, True, is_mirrored))
    assert [now.ask(*rule).value[0] for rule in asked] == [1, 1, 1, 0]
    assert [then.ask(*rule).value[0] for rule in asked] == [0, not is_mirrored, 0, 1]


def test_a_target_past_its_end_holds(own):
    assert verdicts(own)["docker"] == "after fixes"
    assert "docker 20.10" in own.frame.loc[("plain", "docker"), "blockers"]
    assert verdicts(own)["later"] == "unknown"


def test_the_system_of_a_target_is_named_where_it_decides(own):
    assert verdicts(own)["newer"] == "unknown"
    assert "debian 99.9" in own.frame.loc[("plain", "newer"), "blockers"]
    kernel = "does not run on its kernel"
    assert kernel in own.frame.loc[("plain", "bsd"), "blockers"]
    assert "FreeBSD runs no Linux containers" in own.frame.loc[("plain", "bsd"), "why"]
    assert set(own.frame["verdict"].xs("bsd", level="target")) == {"no"}


def test_a_target_that_refuses_everything_takes_nobody(own):
    assert verdicts(own, "bad")["strict"] == "no"


def test_cost_from_sizes_and_the_readers_own_prices(own):
    row = own.frame.loc[("sized", "fargate")]
    # two replicas: 730.5 h of half a core at .04 and of 1 to 2 GiB at .01
    assert row["cost_per_month"] == pytest.approx(
        2 * 730.5 * (0.5 * 0.04 + 0.01), abs=0.01
    )
    assert row["cost_per_month_hi"] == pytest.approx(2 * 730.5 * (0.02 + 0.02), abs=0.01)
    unsized = own.frame.loc[("plain", "fargate")]
    assert pd.isna(unsized["cost_per_month"])
    assert "workloads.cpu_request" in unsized["why"]


def test_more_replicas_than_the_target_asks_for_are_paid(own):
    five, one = (
        own.frame.loc[(name, "fargate"), "cost_per_month"] for name in ("five", "one")
    )
    assert five == pytest.approx(one * 5 / 2, rel=1e-3)


def test_hiding_evidence_never_improves_a_verdict(judged):
    order = ["no", "unknown", "after fixes", "fits"]
    whole = verdicts(judged)
    for column in HIDDEN:
        for name, verdict in verdicts(judged, f"hides-{column}").items():
            assert order.index(verdict) <= order.index(whole[name]), (column, name)


def test_dominated_by_hand():
    index = pd.MultiIndex.from_product(
        [["a"], ["x", "y", "z"]], names=["service_id", "target"]
    )
    frame = pd.DataFrame(
        {
            "verdict": ["fits", "fits", "no"],
            "readiness_lo": [80.0, 80.0, 90.0],
            "hours_per_year_hi": [5.0, 6.0, 1.0],
            "delta_hi": [0.0, 0.0, -1.0],
            "cost_per_month_hi": [None, None, None],  # unknown for both: no difference
            "effort_hours": [3.0, 3.0, 0.0],
        },
        index,
    )
    # what does not fit beats nobody
    assert dominated(frame).tolist() == [False, True, False]
    frame["cost_per_month_hi"] = [None, 10.0, None]  # unknown is worse than any cost
    assert dominated(frame).tolist() == [False, False, False]


def test_the_last_bit_of_a_sum_makes_no_target_better():
    rows = pd.MultiIndex.from_product([["a"], ["x", "y"]], names=["service_id", "target"])
    frame = pd.DataFrame(0.0, rows, list(CRITERIA)).assign(verdict="fits")
    frame["delta_hi"] = [0.1 + 0.2, 0.3]
    assert not dominated(frame).any()
    # the one that also takes less work beats the other, however its change was summed up
    frame["effort_hours"] = [1.0, 2.0]
    assert dominated(frame).tolist() == [False, True]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ([{"id": "x", "platform": "banana"}], "platform is 'banana'"),
        ([{"id": "x", "platform": "fargat"}], "did you mean 'fargate'"),
        ([{"platform": "docker"}], "has no id"),
        ([{"id": "x"}], "has no platform"),
        ([{"id": "docker", "refuses": ["banana"]}], "refuses is 'banana'"),
        ([{"id": "docker", "replica": 2}], "did you mean"),
        ([{"id": "docker", "patched_by": "them"}], "patched_by is 'them'"),
        ([{"id": "docker", "replicas": 0}], "replicas is 0"),
        ([{"id": "docker", "os": "debain"}], "os is 'debain': did you mean 'debian'"),
        (
            [
                {"id": "docker", "prices": {"currency": "EUR"}},
                {"id": "nomad", "prices": {"currency": "USD"}},
            ],
            "EUR and USD",
        ),
        ({"orchestrator": "banana"}, "target.orchestrator is 'banana'"),
        ({"runtime": "containerdd"}, "did you mean 'containerd'"),
        ({"id": "fargat"}, "did you mean 'fargate'"),
    ],
)
def test_a_word_that_nobody_knows_is_an_error(policy, target, says):
    with pytest.raises(PolicyError, match=says):
        policy.replace(target=target)


def test_the_default_target_can_be_named_in_every_way(policy, tmp_path):
    assert policy["target"]["id"] == "ecs-ec2"
    file = tmp_path / "policy.toml"
    file.write_text('[target]\nid = "fargate"\nreplicas = 3\n')
    chosen = assess.load_policy(file)["target"]
    assert (chosen["runtime"], chosen["replicas"]) == ("aws-fargate", 3)
    file.write_text('[[target]]\nid = "own"\nplatform = "aks"\ndefault = true\n')
    own = assess.load_policy(file)
    assert own["target"]["runtime"] == "azure-kubernetes-service"
    assert len(own["targets"]) == len(policy["targets"]) + 1
    file.write_text(policy.to_toml())  # what the command writes is a policy again
    assert assess.load_policy(file).hash == policy.hash


def test_moves_of_the_blast_radius_land_on_the_default_target(small, policy):
    inventory = assess.load(small)
    services = [
        assess.score_blast_radius(inventory, chosen).details["services"]["delta_hi"]
        for chosen in (policy, policy.replace(target={"id": "fargate"}))
    ]
    assert not services[0].equals(services[1])


def test_a_target_left_out_is_not_compared(judged, own):
    assert "nomad" in verdicts(judged)
    assert "nomad" not in verdicts(own)


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "text"])
def test_on_the_command_line(small, form):
    arguments = ["score", str(small), "targets", "--format", form]
    out = CliRunner().invoke(cli, arguments, prog_name="assess")
    assert out.exit_code == 0, out.output
    if form == "json":
        document = json.loads(out.stdout)
        assert document["score"] == "targets"
        assert set(ROW) <= set(document["rows"][0])
    assert "fargate" in out.stdout


def test_the_figure_tells_verdicts_apart_without_colour(sample):
    from assess import figures

    data = figures.targets_data(sample)
    assert len(data) == len(sample.frame)
    axes = sample.plot()
    shapes = {c.get_paths()[0].vertices.shape for c in axes.collections}
    assert len(shapes) > 2
    assert "fargate" in {text.get_text() for text in axes.get_xticklabels()}
    assert {"G1", "system", "engine-\nsocket"} <= {t.get_text() for t in axes.texts}
    # each mark stands on the line of its target
    at = {x for marks in axes.collections for x, _ in marks.get_offsets()}
    assert at == set(axes.get_xticks())


def test_services_with_the_same_marks_share_a_row_where_there_are_many(sample):
    from assess import figures

    services = sample.frame.index.unique("service_id")
    labels = [text.get_text() for text in sample.plot().get_yticklabels()]
    counted = [re.search(r" and (\d+) more$", label) for label in labels]
    assert len(labels) < len(services)
    assert sum(int(n[1]) + 1 if n else 1 for n in counted) == len(services)
    assert labels[0].startswith("log-shipper")  # for which the targets differ
    # a blocker of its own for each leaves no two alike: what has no row is counted
    own = sample.frame.index.get_level_values("service_id") + ": it differs"
    apart = figures.targets(replace(sample, frame=sample.frame.assign(blockers=own)))
    *rows, last = [text.get_text() for text in apart.get_yticklabels()]
    assert last == f"and {len(services) - len(rows)} more"
    few = sample.frame.loc[services[:20].tolist()]
    alone = figures.targets(replace(sample, frame=few))
    assert len(alone.get_yticklabels()) == 20


def test_the_decision_record_offers_the_targets(policy):
    from assess.report.record import decision_record
    from assess.score.assessment import Assessment

    scores = Assessment(assess.load("data/sample/2026Q3"), policy)
    text = decision_record("legacy-admin", scores)
    assert "Move it to" in text
    assert "hours of upgrades" in text
    assert "Not known: cost (sizes, or prices in the policy)" in text


def test_an_empty_fleet_has_no_rows(policy):
    empty = assess.from_frames({}, snapshot_at=AT)
    result = assess.score_targets(empty, policy)
    assert result.rows() == []
    assert "0 of 0 services" in result.headline
    assert result.plot() is not None
    hosts = pd.DataFrame([{"host_id": "h"}])
    assert (
        len(
            assess.score_targets(
                assess.from_frames({"hosts": hosts}, snapshot_at=AT), policy
            ).frame
        )
        == 0
    )


def test_what_next_for_one_target(policy):
    inventory = assess.load("data/sample/2026Q3")
    there = assess.what_next(inventory, policy, target="fargate").frame["label"]
    today = assess.what_next(inventory, policy).frame["label"]
    # its system has ended where it is, and a provider patches the one it would move to
    assert today["legacy-admin"] == "HOLD"
    assert there["legacy-admin"] != "HOLD"
    with pytest.raises(AssessError, match="there is no target 'fargat'"):
        assess.what_next(inventory, policy, target="fargat")


@pytest.mark.parametrize(
    ("version", "outcome"),
    [("20.10", ("HOLD", "after fixes")), ("99", ("NOT DECIDABLE", "unknown"))],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda default, version: {"targets": [{"id": default, "version": version}]},
        lambda _, version: {"target": {"engine": version}},
    ],
)
def test_no_service_moves_to_a_line_past_its_end_or_unknown(
    policy, labelled, change, version, outcome
):
    label, verdict = outcome
    fleet, before = labelled
    default = policy["target"]["id"]
    there = policy.replace(**change(default, version))
    movable = before.index[before.isin(["MOVE NOW", "PILOT", "LATER"])]
    assert len(movable)
    assert set(assess.what_next(fleet, there).frame["label"][movable]) == {label}
    found = assess.score_targets(fleet, there).frame.xs(default, level="target")
    assert set(found["verdict"][movable]) == {verdict}
