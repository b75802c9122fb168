"""Evidence: looked and found none is not the same as could not look."""

import numpy as np
import pandas as pd
import pytest
from readiness_fleet import AT, WORKLOAD, Fleet

from assess.inventory import from_frames
from assess.policy import load_policy, rules
from assess.score.evidence import PERHAPS, any_sign, combine
from assess.score.evidence.facts import nodes
from assess.score.evidence.tables import gather

POLICY = load_policy()


def look(fleet):
    return gather(fleet.inventory(), POLICY)


def row(fleet, table="services"):
    return look(fleet).views[table].table.iloc[0]


def value(fleet, table, rule, **options):
    evidence = look(fleet)
    answers, at = evidence.ask(table, rule, **options), evidence.services.get_loc("shop")
    share = float(answers.value[at])
    return "na" if answers.na[at] else None if np.isnan(share) else share


@pytest.mark.parametrize(
    ("holds", "every", "some", "share"),
    [
        ([True, True], 1, 1, 1),
        ([True, False], 0, 1, 0.5),
        ([False, False], 0, 0, 0),
        ([True, None], None, 1, None),
        ([False, None], 0, None, None),
        ([None], None, None, None),
        ([], None, None, None),
    ],
)
def test_rows_add_up_in_three_values(holds, every, some, share):
    codes, cells = np.zeros(len(holds), dtype=int), np.array(holds, dtype=float)
    for how, expected in (("all", every), ("any", some), ("share", share)):
        got = combine(codes, cells, n=1, how=how)[0]
        assert np.isnan(got) if expected is None else got == expected


def test_found_is_what_any_source_saw():
    one = pd.Series([True, False, None, None, False], dtype="boolean")
    other = pd.Series([None, False, None, True, True], dtype="boolean")
    assert any_sign(one, other).tolist() == [True, False, pd.NA, True, True]
    perhaps = pd.Series([PERHAPS] * 5)
    assert any_sign(one, perhaps).tolist() == [True, *[pd.NA] * 4]


def test_every_view_has_the_columns_and_kinds_that_rules_may_name():
    for fleet in (Fleet(), Fleet().on_plain_host()):
        views = look(fleet).views
        assert set(views) == set(rules.TABLES)
        # from the score
        late = {"coverage", "coverage_lowest", "dimension_lowest", "missing"}
        for name, view in views.items():
            for column, kind in rules.columns(name).items():
                if column not in late:
                    assert rules._kind(view.table[column]) == kind, (name, column)
    empty = gather(from_frames({}, snapshot_at=AT), POLICY)
    assert len(empty.services) == 0
    assert empty.ask("workloads", "pinned").value.shape == (0,)


def test_the_word_unknown_is_unknown():
    assert pd.isna(row(Fleet().change("services", kind="unknown"))["kind"])
    assert (
        value(Fleet().change("services", env="unknown"), "services", 'env != "prod"')
        is None
    )


def test_looked_and_found_none_is_told_apart_from_could_not_look():
    rule = "not data_like"
    none = Fleet()
    none.rows["mounts"] = none.rows["mounts"][:0]
    none.add("mounts", workload_id="shop.1", destination="/a", data_like=False)
    assert value(none, "mounts", rule) == 1.0
    empty = Fleet()
    empty.rows["mounts"] = []
    assert value(empty, "mounts", rule) == 1.0
    assert (
        value(empty.change("workloads", inspect_status="denied"), "mounts", rule) is None
    )
    assert value(Fleet().drop("mounts"), "mounts", rule) is None
    one_blind = Fleet()
    one_blind.rows["workloads"][1]["inspect_status"] = "list"
    assert value(one_blind, "mounts", rule) is None


@pytest.mark.parametrize("frame", ["workloads", "engines", "images", "hosts"])
def test_a_frame_that_nobody_supplied_is_unknown(frame):
    rule = {
        "workloads": "pinned",
        "engines": "engine_supported",
        "images": "vuln_critical_n == 0",
        "hosts": "os_supported",
    }[frame]
    assert value(Fleet(), frame, rule) == 1.0
    blind_to = {"workloads": ["mounts"], "hosts": ["engines"]}.get(frame, [])
    assert value(Fleet().drop(frame, *blind_to), frame, rule) is None


def test_containers_say_nothing_of_a_plain_host():
    fleet = Fleet().on_plain_host()
    assert value(fleet, "images", "vuln_critical_n == 0") == "na"
    assert value(fleet, "engines", "engine_supported") == "na"
    assert value(fleet, "hosts", "kernel_runs_on_target") == 1.0
    assert value(fleet, "workloads", "pinned", applies="contained") == "na"
    bare = Fleet().change("services", platform="host")
    bare.rows["workloads"], bare.rows["mounts"] = [], []
    assert value(bare, "workloads", "pinned", applies="contained") == "na"
    # a unit of it runs somewhere: nobody looked at that
    assert value(bare, "workloads", "restarts_n <= 5") is None
    assert value(bare, "mounts", "read_only") is None
    assert value(bare, "hosts", "os_supported") is None


def test_rows_that_do_not_apply_are_left_out_and_unknown_ones_are_not():
    fleet = Fleet().first("workloads", health="none").first("workloads", restarts_n=9)
    assert value(fleet, "workloads", "restarts_n <= 5", applies='health != "none"') == 1.0
    fleet = Fleet().first("workloads", health=None)
    assert (
        value(fleet, "workloads", "restarts_n <= 5", applies='health != "none"') is None
    )


def test_rows_out_of_date_are_unknown():
    fresh = "days_since(last_seen_at) <= 90"
    new, old = "2026-09-01T00:00:00Z", "2026-01-01T00:00:00Z"
    seen = Fleet().change("hosts", last_seen_at=new)
    assert value(seen, "hosts", "os_supported", fresh=fresh) == 1.0
    assert (
        value(seen.first("hosts", last_seen_at=old), "hosts", "os_supported", fresh=fresh)
        is None
    )
    # no date is no proof
    assert value(Fleet(), "hosts", "os_supported", fresh=fresh) is None


def test_what_ended_counts_only_where_nothing_runs():
    fleet = Fleet().add(
        "workloads", **{**WORKLOAD, "workload_id": "shop.0", "state": "exited"}
    )
    assert row(fleet)["replicas_n"] == 2
    assert (
        value(fleet.change("workloads", state="exited"), "services", "replicas_n == 0")
        == 1.0
    )


def test_replicas_are_counted_only_where_certain():
    assert row(Fleet())[["replicas_n", "hosts_n", "azs_n"]].tolist() == [2, 2, 2]
    blind = row(Fleet().first("workloads", state=None))
    assert pd.isna(blind["replicas_n"]) and pd.isna(blind["hosts_n"])
    lost = row(Fleet().first("workloads", host_id=None))
    assert lost["replicas_n"] == 2 and pd.isna(lost["hosts_n"])
    assert pd.isna(row(Fleet().first("hosts", az=None))["azs_n"])


def test_two_replicas_are_shown_by_either_source():
    assert row(Fleet().change("services", asg_min=None))["redundant"]
    single = Fleet().change("services", asg_min=None)
    single.rows["workloads"].pop()
    assert not row(single)["redundant"]
    assert row(single.change("services", asg_min=2))["redundant"]


@pytest.mark.parametrize(
    ("services", "workloads", "hosts", "expected"),
    [
        ({"platform": "ecs"}, {"restart_policy": "no"}, {"asg_name": None}, True),
        ({"platform": "docker"}, {"restart_policy": "no"}, {"asg_name": None}, False),
        ({"platform": "docker"}, {"restart_policy": "always"}, {"asg_name": None}, True),
        ({"platform": "docker"}, {"restart_policy": None}, {"asg_name": "web"}, True),
        ({"platform": "docker"}, {"restart_policy": None}, {"asg_name": None}, None),
        ({"platform": None}, {"restart_policy": None}, {"asg_name": None}, None),
    ],
)
def test_what_heals(services, workloads, hosts, expected):
    fleet = Fleet().change("services", asg_min=None, **services)
    healed = row(fleet.change("workloads", **workloads).change("hosts", **hosts))[
        "heals_itself"
    ]
    assert pd.isna(healed) if expected is None else healed == expected


def test_health_and_logs_are_found_by_any_source():
    fleet = Fleet().change("services", health_checked=None, logs_exported=None)
    assert row(fleet)[["health_found", "logs_found"]].tolist() == [True, True]
    quiet = row(fleet.change("workloads", health="none", log_driver="json-file"))
    # an agent may ship the file
    assert not quiet["health_found"] and pd.isna(quiet["logs_found"])
    declared = row(fleet.change("services", logs_exported=False))
    assert not declared["logs_found"]


def test_a_good_sign_counts_only_from_what_surely_runs():
    fleet = (
        Fleet()
        .change("services", logs_exported=False)
        .change("workloads", log_driver="none")
    )
    fleet.add("workloads", **{**WORKLOAD, "workload_id": "shop.0", "state": "exited"})
    assert not row(fleet)["logs_found"]
    for workload in fleet.rows["workloads"][:2]:
        workload["state"] = None
    # if both have ended, the third one shows what the service does
    assert pd.isna(row(fleet)["logs_found"])


@pytest.mark.parametrize(
    ("answer", "lost"),
    [("redundant", {"asg_min": 1}), ("health_found", {"health_checked": False})],
)
def test_a_sign_that_may_no_longer_hold_is_no_sign_against(answer, lost):
    fleet = Fleet().change("services", **lost)
    assert row(fleet)[answer]
    assert pd.isna(row(fleet.change("workloads", state=None))[answer])


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("postgres:16", "database"),
        ("docker.io/library/mysql@sha256:" + "ab" * 32, "database"),
        ("registry.example.net:5000/acme/user-db:1", "database"),
        ("acme/orders-mongodb", "database"),
        ("rabbitmq", "queue"),
        ("redis:7", "cache"),
        ("nginx:1.27", "none"),
        ("acme/db-migrate:1", "none"),
        ("acme/postgres-exporter", "none"),
        ("acme/zipkin-mysql", "database"),
        ("acme/postgres-orders", None),  # a store for orders, or what speaks to one
        (None, None),
    ],
)
def test_kind_of_an_image(image, kind):
    fleet = Fleet().change("workloads", image_ref=image, repository=None, registry=None)
    found_kind = row(fleet, "workloads")["image_kind"]
    assert pd.isna(found_kind) if kind is None else found_kind == kind


@pytest.mark.parametrize(
    ("image", "registry", "repository"),
    [
        ("postgres:16", "docker.io", "library/postgres"),
        ("acme/shop", "docker.io", "acme/shop"),
        ("localhost/shop", "localhost", "shop"),
        ("r.example.net:5000/a/b/c:1@sha256:" + "ab" * 32, "r.example.net:5000", "a/b/c"),
    ],
)
def test_an_image_as_declared_names_registry_and_repository(image, registry, repository):
    fleet = Fleet().change("workloads", image_ref=image, repository=None, registry=None)
    workload = row(fleet, "workloads")
    assert (workload["registry"], workload["repository"]) == (registry, repository)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("5432/tcp", True),
        ("15432->5432/tcp;80/tcp", True),
        ("127.0.0.1:5432->5432/tcp", True),
        ("5432", True),
        ("5432->80/tcp", False),
        ("8080/tcp", False),
        ("15432/tcp", False),
    ],
)
def test_port_of_a_store(ports, expected):
    fleet = Fleet().change("services", stateful=None).change("workloads", ports=ports)
    assert row(fleet, "workloads")["store_port"] == expected
    declared = fleet.change("services", stateful=False)
    assert not row(declared, "workloads")["store_port"]


@pytest.mark.parametrize(
    ("registry", "mirrors", "expected"),
    [
        ("docker.io", 0, True),
        ("docker.io", 1, False),
        ("docker.io", None, None),
        ("quay.io", 1, True),  # an engine's mirrors serve one registry only
        ("registry.example.net", 0, False),
        (None, 0, None),
    ],
)
def test_public_image_without_a_mirror(registry, mirrors, expected):
    fleet = Fleet().change("workloads", registry=registry, image_ref=None)
    got = row(fleet.change("engines", mirrors_n=mirrors), "workloads")[
        "public_unmirrored"
    ]
    assert pd.isna(got) if expected is None else got == expected


def test_an_engine_is_judged_by_the_facts():
    old = row(
        Fleet().change("engines", version="19.03.15", storage_driver="aufs"), "engines"
    )
    assert not old["engine_supported"] and not old["driver_runs_on_target"]
    odd = row(
        Fleet().change("engines", version="99.1", storage_driver="quilt"), "engines"
    )
    assert pd.isna(odd["engine_supported"]) and pd.isna(odd["driver_runs_on_target"])
    two = Fleet().add("engines", host_id="h1", runtime="containerd", version="1.7.2")
    assert look(two).views["engines"].table["runtime"].tolist() == ["docker", "docker"]


def test_months_of_lower_tiers_are_clean_since_their_last_incident():
    fleet = Fleet()
    assert pd.isna(row(fleet)["lower_tier_months"])
    fleet.add(
        "incidents", incident_id="i", service_id="shop", opened_at="2026-03-31T00:00:00Z"
    )
    fleet.add("services", service_id="other", tier=3, platform="ecs")
    # nobody says who watched since
    assert pd.isna(row(fleet)["lower_tier_months"])
    asked = {"run_id": "r", "source": "incidents", "scope": "all", "call": "read"}
    window = {"window_start": "2026-03-31T00:00:00Z", "window_end": AT}
    fleet.add("coverage", **asked, status="ok", **window)
    # shop is clean since its incident, other for the whole window: 183 days each
    assert row(fleet)["lower_tier_months"] == pytest.approx(2 * 183 / (365.25 / 12))


def test_a_sidecar_is_no_replica_and_what_is_only_declared_is_not_none():
    assert row(Fleet().first("workloads", container_role="sidecar"))["replicas_n"] == 1
    assert row(Fleet().change("workloads", container_role="main"))["replicas_n"] == 2
    declared = row(Fleet().change("workloads", state="declared"))
    assert pd.isna(declared["replicas_n"]) and pd.isna(declared["hosts_n"])
    assert row(Fleet().first("workloads", state="declared"))["replicas_n"] == 1


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"repository": "library/postgres"}, True),
        ({"repository": "acme/postgres-exporter"}, False),
        ({"repository": "library/postgres", "container_role": "init"}, False),
    ],
)
def test_what_only_speaks_to_a_store_may_listen_on_its_port(cells, expected):
    fleet = Fleet().change("services", stateful=None)
    fleet = fleet.change("workloads", image_ref=None, ports="5432/tcp", **cells)
    found = row(fleet, "workloads")
    assert found["store_port"] == expected
    assert (found["image_kind"] == "database") == expected


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("orders-db", True),
        ("shop/zipkin-mysql", True),
        ("postgres-exporter", False),
        ("vault", False),  # of photos, as well as of secrets
        ("redis", False),  # perhaps a cache
        ("shop", False),
    ],
)
def test_the_name_of_a_service_tells_a_store(service, expected):
    fleet = Fleet().drop("dependencies").change("services", stateful=None)
    for rows in fleet.rows.values():
        for cells in rows:
            cells.update({"service_id": service} if "service_id" in cells else {})
    assert row(fleet, "workloads")["store_name"] == expected
    declared = fleet.change("services", stateful=False)
    assert not row(declared, "workloads")["store_name"]


@pytest.mark.parametrize(
    ("cells", "runs"),
    [
        ({"os_name": "openbsd", "os_version": "7.4", "kernel": "7.4"}, False),
        ({"os_name": "windows", "kernel": "10.0.20348"}, False),
        ({"os_name": "sunos", "kernel": "5.11"}, False),
        ({"os_name": None, "kernel": "Darwin 22.6.0"}, False),
        ({"os_name": "ubuntu", "kernel": None}, None),
        ({"os_name": None, "kernel": None}, None),
        ({"os_name": "ubuntu", "kernel": "6.8.0-40-generic"}, True),
    ],
)
def test_only_a_linux_kernel_runs_the_target_engine(cells, runs):
    found = row(Fleet().change("hosts", **cells), "hosts")["kernel_runs_on_target"]
    assert pd.isna(found) if runs is None else found == runs


@pytest.mark.parametrize(
    ("kubelet", "runtimes"), [(None, ["docker"]), ("1.30.2", ["containerd", "docker"])]
)
def test_what_docker_runs_on_is_no_runtime_of_its_own_but_that_of_a_kubelet_is(
    kubelet, runtimes
):
    rows = [
        {"host_id": "h1", "runtime": "docker", "version": "29.1.0"},
        {"host_id": "h1", "runtime": "containerd", "kubelet_version": kubelet},
    ]
    frames = {"hosts": pd.DataFrame([{"host_id": "h1"}]), "engines": pd.DataFrame(rows)}
    found = nodes(from_frames(frames, snapshot_at=AT))
    assert sorted(node.runtime for node in found["h1"]) == runtimes


def test_a_provided_host_has_a_runtime_that_nobody_sees_and_ones_own_has_none():
    provided = {"provider_version": "fargate 1.4.0", "managed_by": "provider"}
    hosts = [{"host_id": "own"}, {"host_id": "bare"}, {"host_id": "provided", **provided}]
    engines = [{"host_id": "own", "runtime": "podman"}]
    frames = {"hosts": pd.DataFrame(hosts), "engines": pd.DataFrame(engines)}
    found = nodes(from_frames(frames, snapshot_at=AT))
    runtimes = {host: [node.runtime for node in each] for host, each in found.items()}
    assert runtimes == {"own": ["podman"], "provided": [None]}
