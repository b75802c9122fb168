"""The ecs source: recorded payloads, moto's server, and written answers where moto has none."""

import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pandas as pd
import pytest
import requests
from aws_server import ACCOUNT, CREDENTIALS, REGION, Script, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assess import frames
from assess.collect.aws.ecs import EcsSource
from assess.collect.aws.ecs_definition import to_definition
from assess.collect.aws.ecs_rows import Payloads, redacted_n, to_batch, to_host
from assess.collect.base import Batch, Deadline, Name
from assess.collect.merge import to_tables
from assess.collect.registry import homes

FIXTURES = Path(__file__).parents[1] / "fixtures/ecs"
HERE = f"{ACCOUNT}-{REGION}"
CANARY = "hunter2"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
HOSTS = ("i-0aaa1111bbbb22221", "i-0aaa1111bbbb22222")


def collect(base: Path = FIXTURES, **options) -> Batch:
    return EcsSource().collect(options or {"path": HERE}, base, Deadline(20))


def coverage(batch: Batch) -> dict[str, dict]:
    return {row["call"].removeprefix("ecs "): row for row in batch.coverage}


def table(batch: Batch, name: str) -> pd.DataFrame:
    typed, problems = frames.conform(name, pd.DataFrame(batch.rows[name]))
    assert problems.empty, problems
    return typed


@pytest.fixture(scope="module")
def recorded() -> Batch:
    return collect()


@pytest.fixture
def dumps(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))


def services(batch: Batch) -> dict[str, dict]:
    return {row["names"][0].name: row for row in batch.rows["services"]}


def workloads(batch: Batch, state: str | None = None) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in batch.rows["workloads"]:
        if state in (None, row["state"]):
            found.setdefault(row["names"][0].name, []).append(row)
    return found


# -- recorded ------------------------------------------------------------------------------------


def test_it_is_a_source(recorded):
    assert homes()["ecs"].load() is EcsSource
    assert set(recorded.rows) == set(EcsSource.fills)
    for frame in ("hosts", "engines", "mounts"):
        table(recorded, frame)


def test_every_frame_fits_the_data_dictionary(recorded):
    tables, notes = to_tables([("ecs", recorded)], [])
    assert {frame: len(t) for frame, t in tables.items()} == {
        "services": 5, "service_aliases": 1, "workloads": 7, "mounts": 9, "hosts": 2,
        "engines": 2, "dependencies": 6, "activities": 13,
    }  # fmt: skip
    assert [n for n in notes if n["call"].startswith("check:")] == []
    assert set(tables["workloads"]["service_id"]) == {"checkout", "ledger-db", "mailer", "report"}


def test_services_also_without_tasks(recorded):
    found = services(recorded)
    assert set(found) == {"checkout", "orders", "ledger-db", "mailer", "report"}
    assert {row["platform"] for row in found.values()} == {"ecs"}
    assert "orders" not in workloads(recorded)
    assert found["orders"]["kind"] == "web"
    assert found["orders"]["stateful"] is False
    assert found["checkout"]["env"] == "prod"
    assert found["report"]["kind"] == "job"


def test_what_a_service_needs_to_be_up(recorded):
    found = {name: row.get("min_healthy_pct") for name, row in services(recorded).items()}
    # 100 is the default, and says only that a deployment takes nothing away
    assert found == {
        "checkout": 50, "orders": None, "ledger-db": 0, "mailer": None, "report": None,
    }  # fmt: skip


def test_health_logs_state_and_secrets_of_a_service(recorded):
    found = services(recorded)
    columns = ("health_checked", "logs_exported", "stateful", "secrets_in_image")
    told = {name: tuple(row.get(c) for c in columns) for name, row in found.items()}
    assert told["checkout"] == (True, True, None, True)
    assert told["ledger-db"] == (False, None, True, False)
    assert told["mailer"] == (False, True, False, False)


def test_names_of_services_best_first(recorded):
    names = services(recorded)["checkout"]["names"]
    assert names[0] == Name("checkout", "ecs-service", 0.98, "shop")
    assert [name.rule for name in names] == [
        "ecs-service", "ecs-family", "cloud-tag", "datadog-label", "telemetry-env",
        "image-repository", "container-name",
    ]  # fmt: skip
    assert names[4].name == "checkout-web"
    assert workloads(recorded)["checkout"][0]["names"] == names


def test_a_label_of_our_own_tops_all():
    service = {"serviceArn": "arn:aws:ecs:eu-west-1:1:service/shop/x1", "serviceName": "x1"}
    service["tags"] = [{"key": "assess.service", "value": "cart"}, {"key": "app", "value": "shop"}]
    (row,) = to_batch(Payloads(services=[service])).rows["services"]
    assert [name.name for name in row["names"]] == ["cart", "x1"]


def test_a_task_is_one_replica_seen_through_its_first_essential_container(recorded):
    first, second = workloads(recorded, "running")["checkout"]
    assert (first["name"], first["source_kind"], first["cluster"]) == ("web", "task", "shop")
    assert (first["registry"], first["repository"]) == (REGISTRY, "shop/checkout")
    assert first["image_digest"].startswith("sha256:3d660d7f")
    assert (first["host_id"], second["host_id"]) == HOSTS
    assert (first["ports"], second["ports"]) == ("32768->8080/tcp", "8080/tcp")
    assert (first["health"], first["oom_killed"], first["exit_code"]) == ("healthy", False, None)
    assert first["memory_limit_bytes"] == 512 * 2**20
    assert first["caps_added_n"] == 1  # of its side-car
    assert (first["user_root"], first["readonly_root"]) == (False, True)
    assert first["log_driver"] == "awsfirelens"
    # DB_PASSWORD, ORDERS_URL and LEDGER_DSN hold a secret; STRIPE_KEY is stored elsewhere
    assert (second["env_names_n"], second["secret_like_env_n"]) == (6, 3)
    assert first["env_names_n"] == 7


def test_a_task_without_a_limit_on_the_host_network_with_the_socket(recorded):
    (row,) = workloads(recorded)["ledger-db"]
    assert (row["memory_limit_bytes"], row["memory_unlimited"]) == (None, True)
    assert row["host_network"] is True
    assert row["docker_sock_mounted"] is True
    assert row["user_root"] is None
    assert row["cpu_limit"] is None


def test_a_task_on_fargate_has_no_host_of_ours(recorded):
    (row,) = workloads(recorded, "running")["mailer"]
    assert row["host_id"] is None
    assert (row["cpu_limit"], row["memory_limit_bytes"]) == (0.25, 512 * 2**20)
    assert row["pinned"] is True


def test_how_tasks_ended(recorded):
    stopped = workloads(recorded, "stopped")
    (killed,), (failed,), (done,) = (stopped[n] for n in ("checkout", "mailer", "report"))
    assert (killed["exit_code"], killed["oom_killed"]) == (137, True)
    assert (done["exit_code"], done["oom_killed"]) == (0, False)
    assert (failed["exit_code"], failed["oom_killed"]) == (None, None)
    assert failed["inspect_status"] == "list"  # nobody handed over its definition
    assert "privileged" not in failed
    assert killed["finished_at"] == datetime(2026, 9, 30, 6, 12, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("task", "container", "expected"),
    [
        ({"lastStatus": "STOPPED"}, {"exitCode": 137}, None),  # by whom is not said
        ({"lastStatus": "STOPPED"}, {"exitCode": 137, "reason": "OutOfMemoryError: Con"}, True),
        ({"lastStatus": "STOPPED", "stoppedReason": "OutOfMemory: x"}, {}, True),
        ({"lastStatus": "STOPPED"}, {"exitCode": 1}, False),
        ({"lastStatus": "STOPPED"}, {}, None),
        ({"lastStatus": "RUNNING"}, {}, False),
        ({"lastStatus": "PENDING"}, {}, None),
    ],
)
def test_only_a_reason_tells_that_memory_ran_out(task, container, expected):
    task = {
        "taskArn": "arn:aws:ecs:r:1:task/c/t",
        "containers": [{"name": "a", **container}],
        **task,
    }
    (row,) = to_batch(Payloads(tasks=[task])).rows["workloads"]
    assert row["oom_killed"] is expected


def test_hosts_and_engines(recorded):
    hosts = table(recorded, "hosts").set_index("host_id")
    assert list(hosts.index) == list(HOSTS)
    assert hosts["az"].tolist() == ["eu-west-1a", "eu-west-1b"]
    assert set(hosts["account"]) == {ACCOUNT}
    assert set(hosts["asg_name"]) == {"shop-ecs"}
    assert hosts["state"].fillna("?").tolist() == ["running", "?"]  # the other agent is gone
    engines = table(recorded, "engines")
    assert engines["version"].tolist() == ["20.10.25", "19.03.13-ce"]
    assert set(engines["ecs_agent_version"]) == {"1.79.2"}


def test_a_machine_outside_of_aws():
    arn = "arn:aws:ecs:eu-west-1:1:container-instance/shop/abc"
    host, engine = to_host({"containerInstanceArn": arn, "ec2InstanceId": "mi-0123"})
    assert (host["host_id"], host["provider"]) == ("mi-0123", None)
    assert engine["version"] is None
    assert to_host({"containerInstanceArn": arn})[0]["host_id"] == "abc"


def test_mounts(recorded):
    rows = table(recorded, "mounts")
    (database,) = workloads(recorded)["ledger-db"]
    mine = rows[rows["workload_id"] == database["workload_id"]].set_index("destination")
    assert mine["source_class"].to_dict() == {
        "/var/lib/postgresql/data": "host-path",
        "/backup": "named-volume",
        "/var/run/docker.sock": "socket",
    }
    assert mine["data_like"].tolist() == [True, True, False]
    assert mine.loc["/backup", ["volume_name", "driver"]].tolist() == ["fs-0a1b2c3d", "efs"]
    web = rows[rows["destination"] == "/etc/checkout"]
    assert sorted(web["shared_with_n"]) == [0, 1, 1]  # two tasks were on one host
    scratch = rows[rows["destination"] == "/tmp/work"]
    assert set(scratch["source_class"]) == {"anonymous-volume"}
    assert scratch["data_like"].isna().all()


@pytest.mark.parametrize(
    ("volume", "kind", "driver"),
    [
        ({"dockerVolumeConfiguration": {"scope": "shared", "driver": "rexray"}},
         "named-volume", "rexray"),
        ({"dockerVolumeConfiguration": {"scope": "task"}}, "anonymous-volume", None),
        ({"configuredAtLaunch": True}, "named-volume", "ebs"),
        ({"fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "fs-1"}},
         "named-volume", "fsx"),
        ({"host": {"sourcePath": "/data"}}, "host-path", None),
        ({}, "anonymous-volume", None),
    ],
)  # fmt: skip
def test_what_is_behind_a_volume(volume, kind, driver):
    point = {"sourceVolume": "v", "containerPath": "/x"}
    raw = {"containerDefinitions": [{"name": "a", "mountPoints": [point]}]}
    (mount,) = to_definition(raw | {"volumes": [{"name": "v", **volume}]}).mounts
    assert (mount["source_class"], mount["driver"]) == (kind, driver)


def test_dependencies(recorded):
    rows = {
        (getattr(r["dst"], "name", r["dst"]), r["kind"], r["evidence"]): r.get("condition")
        for r in recorded.rows["dependencies"]
    }
    assert {r["src"].name for r in recorded.rows["dependencies"]} == {"checkout"}
    assert rows == {
        ("ext:checkout/log-router", "start_order", "ecs-depends-on"): "START",
        ("ext:checkout/statsd", "start_order", "ecs-link"): None,
        ("orders", "call", "environment"): None,
        ("ledger-db", "data", "environment"): None,
        ("ext:sessions.abc123.0001.euw1.cache.amazonaws.com", "cache", "environment"): None,
        ("ext:elb/checkout-web", "discovery", "ecs-load-balancer"): None,
    }


def test_service_connect_names_are_hosts():
    arn = "arn:aws:ecs:eu-west-1:1:"

    def service(name, **more):
        return {"serviceArn": f"{arn}service/c/{name}", "serviceName": name,
                "clusterArn": f"{arn}cluster/c", "taskDefinition": f"{arn}task-definition/{name}:1",
                **more}  # fmt: skip

    connect = {"services": [{"discoveryName": "db", "clientAliases": [{"dnsName": "pg"}]}]}
    callee = service("store", deployments=[{"serviceConnectConfiguration": connect}])
    env = [{"name": "DB_HOST", "value": "pg"}]
    definition = {"taskDefinitionArn": f"{arn}task-definition/app:1", "family": "app",
                  "containerDefinitions": [{"name": "app", "environment": env}]}  # fmt: skip
    batch = to_batch(Payloads(services=[callee, service("app")], definitions=[definition]))
    (edge,) = batch.rows["dependencies"]
    assert (edge["src"].name, edge["dst"].name) == ("app", "store")


def test_activities(recorded):
    rows = [
        (r["names"][0].name, r["kind"], r.get("cause"), r.get("status"), r["duration_s"])
        for r in recorded.rows["activities"]
    ]
    assert rows == [
        ("checkout", "deploy", None, "completed", 390.0),
        ("orders", "deploy", None, "completed", 0.0),
        ("ledger-db", "deploy", None, "completed", 0.0),
        ("mailer", "deploy", None, "failed", None),
        ("mailer", "rollback", None, "in_progress", None),
        ("checkout", "image_pull", None, "successful", 30.5),
        ("checkout", "launch", None, "successful", 40.0),
        ("mailer", "launch", None, "successful", 40.0),
        ("checkout", "terminate", "health", None, 11.0),
        ("mailer", "image_pull", None, "failed", None),
        ("mailer", "terminate", "unknown", None, 15.0),
        ("report", "launch", None, "successful", 8.0),
        ("report", "terminate", "unknown", None, 12.0),
    ]
    back = next(r for r in recorded.rows["activities"] if r["kind"] == "rollback")
    assert (back["from_version"], back["to_version"]) == ("mailer:10", "mailer:9")


def test_the_window_of_stopped_tasks_is_recorded_and_kept_to(recorded):
    row = coverage(recorded)["describe-tasks"]
    assert row["window_start"] == datetime(2026, 9, 30, 5, 12, 11, tzinfo=UTC)
    assert row["window_end"] == datetime(2026, 9, 30, 6, 12, 11, tzinfo=UTC)
    happened = [r for r in recorded.rows["activities"] if r["kind"] not in ("deploy", "rollback")]
    assert min(r["started_at"] for r in happened) >= row["window_start"]


def test_the_scores_heal_a_service_by_its_own_tasks(recorded):
    from assess import load_policy
    from assess.inventory import from_frames
    from assess.score.healing import heal_times

    tables, _ = to_tables([("ecs", recorded)], [])
    inventory = from_frames(tables, snapshot_at="2026-09-30T06:30:00Z")
    times = heal_times(inventory, load_policy())
    # stopped at 06:12:00, its replacement was up at 06:12:45
    assert times.loc["checkout", "minutes"] == pytest.approx(0.75)
    assert times.loc["checkout", "minutes_basis"] == "activities"
    assert not times.drop("checkout")["minutes_basis"].eq("activities").any()


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        ("EssentialContainerExited", "Essential container in task exited", "health"),
        (
            "ServiceSchedulerInitiated",
            "Task failed ELB health checks in (target-group x)",
            "health",
        ),
        ("ServiceSchedulerInitiated", "Task failed container health checks", "health"),
        (
            "ServiceSchedulerInitiated",
            "Scaling activity initiated by (deployment ecs-svc/1)",
            "scale",
        ),
        ("UserInitiated", "Task stopped by user", "manual"),
        ("SpotInterruption", "Your Spot Task was interrupted.", "spot"),
        ("TaskFailedToStart", "CannotPullContainerError", "unknown"),
        ("SomethingNew", "", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_why_a_task_ended(code, reason, cause):
    stopped = datetime(2026, 9, 30, tzinfo=UTC)
    task = {"taskArn": "t", "group": "service:x", "stopCode": code, "stoppedReason": reason}
    batch = to_batch(Payloads(tasks=[task | {"stoppedAt": stopped}], since=stopped))
    assert [r["cause"] for r in batch.rows["activities"]] == [cause]


# -- secrets -------------------------------------------------------------------------------------


def test_the_canary_is_everywhere_in_the_payloads_and_nowhere_in_the_rows(recorded):
    text = "".join(file.read_text() for file in (FIXTURES / HERE).iterdir())
    for place in (
        '"DB_PASSWORD"', '"command"', '"entryPoint"', '"environmentFiles"', '"valueFrom"',
        '"repositoryCredentials"', '"dockerLabels"', '"options"', '"healthCheck"',
        '"secretOptions"', '"overrides"', '"stoppedReason"', '"reason"', '"api_token"', '"message"',
    ):  # fmt: skip
        assert any(CANARY in part[:900] for part in text.split(place)[1:]), place
    assert CANARY not in repr(recorded)
    assert coverage(recorded)["describe-task-definition"]["redacted_n"] > 0


@pytest.mark.parametrize(
    ("container", "withheld"),
    [
        ({"environment": [{"name": "A", "value": CANARY}]}, 1),
        ({"environment": [{"name": "DD_SERVICE", "value": "shop"}]}, 0),
        ({"command": ["run", CANARY], "entryPoint": [CANARY]}, 3),
        ({"secrets": [{"name": "A", "valueFrom": CANARY}]}, 1),
        ({"dockerLabels": {"x": CANARY, "assess.service": "y"}}, 1),
        ({"logConfiguration": {"logDriver": "splunk", "options": {"splunk-token": CANARY}}}, 1),
        ({"healthCheck": {"command": ["CMD", CANARY]}}, 1),
        ({"repositoryCredentials": {"credentialsParameter": CANARY}}, 1),
        ({"environmentFiles": [{"value": CANARY, "type": "s3"}]}, 1),
    ],
)
def test_what_is_left_out_is_counted(container, withheld):
    raw = {"taskDefinitionArn": "d", "containerDefinitions": [{"name": "a", **container}]}
    payloads = Payloads(definitions=[raw])
    assert redacted_n(payloads) == withheld
    assert CANARY not in repr(to_definition(raw))


# -- dumps that are not what they should be ------------------------------------------------------


def test_a_part_that_is_missing_is_told_by_what_the_clusters_count(dumps):
    (dumps / "describe-services-2.json").unlink()
    (dumps / "describe-container-instances.json").unlink()
    batch = collect(dumps.parent)
    found = coverage(batch)
    assert found["describe-services"]["status"] == "partial"
    assert (found["describe-services"]["rows"], found["describe-services"]["expected"]) == (3, 4)
    assert found["describe-container-instances"]["status"] == "not_configured"
    assert "mailer" in services(batch)  # its tasks tell of it
    assert {r["host_id"] for r in batch.rows["workloads"]} == {None}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<html><body>Sign in</body></html>", "parse_error"),
        (b"\0\0\0", "parse_error"),
        (b'{"tasks": [', "parse_error"),
        (b'{"tasks": null}', "empty"),
        (b'{"Images": []}', "parse_error"),
    ],
)
def test_a_damaged_dump_costs_only_itself(dumps, content, status):
    for file in dumps.glob("describe-tasks-*"):
        file.write_bytes(content)
    batch = collect(dumps.parent)
    assert coverage(batch)["describe-tasks"]["status"] == status
    assert len(batch.rows["services"]) == 4
    assert not batch.rows["workloads"]


def test_several_accounts_side_by_side(dumps):
    other = Path(shutil.copytree(dumps, dumps.parent / "123456789012-us-east-1"))
    for file in other.iterdir():
        text = file.read_text().replace(ACCOUNT, "123456789012").replace(REGION, "us-east-1")
        file.write_text(text.replace("i-0aaa", "i-0bbb"))
    batch = collect(dumps.parent, path=[HERE, other.name])
    assert {(r["account"], r["region"]) for r in batch.rows["hosts"]} == {
        (ACCOUNT, REGION), ("123456789012", "us-east-1"),
    }  # fmt: skip
    assert {r["scope"] for r in batch.coverage} == {HERE, other.name}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["arn:aws:ecs:eu-west-1:1:service/c/s", "0001-01-01T00:00:00+01:00",
                       "1628-02-03T00:00:00Z", "service:x", "a\0b", "1" * 400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(
            ["name", "key", "value", "image", "environment", "containers", "containerDefinitions",
             "volumes", "mountPoints", "sourceVolume", "containerPath", "host", "sourcePath",
             "loadBalancers", "targetGroupArn", "deployments", "id", "createdAt", "tags",
             "healthCheck", "command", "portMappings", "containerPort", "dependsOn", "links"]),
        inner, max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip
ENTITY = st.dictionaries(
    st.sampled_from(
        ["serviceArn", "serviceName", "clusterArn", "taskArn", "taskDefinitionArn", "group", "tags",
         "taskDefinition", "containers", "lastStatus", "stoppedAt", "createdAt", "startedAt",
         "deployments", "loadBalancers", "family", "revision", "containerDefinitions", "volumes",
         "containerInstanceArn", "ec2InstanceId", "versionInfo", "attributes",
         "registeredResources",         "overrides", "memory", "cpu", "deploymentConfiguration"]),
    JUNK,
)  # fmt: skip


def junk(parts) -> Batch:
    keys = ("serviceArn", "taskArn", "containerInstanceArn", "taskDefinitionArn")
    named = [
        [{key: f"arn:aws:ecs:r:1:x/{n}", **e} for n, e in enumerate(part)]
        for key, part in zip(keys, parts, strict=True)
    ]
    return to_batch(Payloads(*named, since=datetime(2020, 1, 1, tzinfo=UTC)))


PARTS = st.tuples(*[st.lists(ENTITY, max_size=2)] * 4)


@given(PARTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_payload_crashes(parts):
    assert set(junk(parts).rows) <= set(EcsSource.fills)


@given(PARTS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes_fits_the_frames_or_is_left_out(parts):
    tables, _ = to_tables([("ecs", junk(parts))], [])
    for frame, found in tables.items():
        assert frames.check(frame, found).empty


# -- live ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto():
    with pytest.MonkeyPatch.context() as patch, serving() as url:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield url


@pytest.fixture
def fleet(moto):
    """Two clusters, one instance, two services, one of them without tasks."""
    requests.post(f"{moto}/moto-api/reset", timeout=10)
    ecs = boto3.client("ecs", REGION, endpoint_url=moto)
    ec2 = boto3.client("ec2", REGION, endpoint_url=moto)
    ecs.create_cluster(clusterName="shop")
    ecs.create_cluster(clusterName="idle")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    machine = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    document = {"instanceId": machine["InstanceId"], "imageId": image, "instanceType": "t3.micro",
                "region": REGION, "accountId": "123456789012", "privateIp": "10.0.0.1",
                "availabilityZone": f"{REGION}a", "architecture": "x86_64"}  # fmt: skip
    ecs.register_container_instance(cluster="shop", instanceIdentityDocument=json.dumps(document))
    ecs.register_task_definition(
        family="cart",
        containerDefinitions=[
            {"name": "cart", "image": "shop/cart:3", "memory": 64, "cpu": 16, "essential": True,
             "command": [f"--password={CANARY}"],
             "environment": [{"name": "DB_PASSWORD", "value": CANARY}]}
        ],
    )  # fmt: skip
    for name, count in (("cart", 1), ("cart-canary", 0)):
        ecs.create_service(
            cluster="shop", serviceName=name, taskDefinition="cart", desiredCount=count
        )
    ecs.run_task(cluster="shop", taskDefinition="cart", count=1, startedBy="ecs-svc/1")
    return machine["InstanceId"]


def live(url: str, **options) -> Batch:
    return EcsSource().collect(
        {"endpoint_url": url, "regions": REGION, **options}, Path(), Deadline(60)
    )


def test_live(moto, fleet):
    batch = live(moto)
    assert set(services(batch)) == {"cart", "cart-canary"}
    assert [r["host_id"] for r in batch.rows["hosts"]] == [fleet]
    assert [r["version"] for r in batch.rows["engines"]] == ["1.5.0"]
    assert batch.rows["workloads"][0]["host_id"] == fleet
    assert CANARY not in repr(batch)
    found = coverage(batch)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert found["describe-task-definition"]["requests"] == 1  # though two services have it
    assert found["list-clusters"]["rows"] == 2
    window = found["list-tasks"]
    assert (window["window_end"] - window["window_start"]).total_seconds() >= 3600
    _, notes = to_tables([("ecs", batch)], [])
    assert not [n for n in notes if n["call"].startswith("check:")]


def test_an_account_without_clusters_is_empty(moto):
    requests.post(f"{moto}/moto-api/reset", timeout=10)
    batch = live(moto)
    assert coverage(batch)["list-clusters"]["status"] == "empty"
    assert not any(batch.rows.values())


def test_a_user_without_permission_is_denied_and_not_empty(moto, fleet, monkeypatch):
    iam = boto3.client("iam", REGION, endpoint_url=moto)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    actions = ["sts:GetCallerIdentity", "ecs:ListClusters", "ecs:ListServices"]
    allowed = {"Effect": "Allow", "Resource": "*", "Action": actions}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="some", PolicyDocument=document)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    requests.post(f"{moto}/moto-api/reset-auth", data="0", timeout=10)
    try:
        found = coverage(live(moto))
    finally:
        requests.post(f"{moto}/moto-api/reset-auth", data="inf", timeout=10)
    assert found["list-services"]["status"] == "ok"
    for call in ("describe-services", "list-tasks", "list-container-instances"):
        assert found[call]["status"] == "denied", call
        assert "ecs:" in found[call]["hint"]
    assert found["list-tasks"]["requests"] <= 2  # not one for every cluster
    assert "describe-tasks" not in found or found["describe-tasks"]["rows"] == 0


def test_a_probe_gives_coverage_and_no_rows(moto, fleet):
    options = {"endpoint_url": moto, "regions": REGION}
    batch = EcsSource().probe(options, Path(), Deadline(60))
    assert not any(batch.rows.values())
    assert {"list-clusters", "list-services", "describe-services"} <= set(coverage(batch))


def test_nothing_listens():
    batch = live("http://127.0.0.1:9", deadline=5)
    assert {row["status"] for row in batch.coverage} == {"unreachable"}


# -- written answers -----------------------------------------------------------------------------

ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:"
SHOP = f"{ARN}cluster/shop"


def services_of(*names: str) -> list[dict]:
    return [
        {"serviceArn": f"{ARN}service/shop/{n}", "serviceName": n, "clusterArn": SHOP,
         "status": "ACTIVE", "taskDefinition": f"{ARN}task-definition/one:1"}
        for n in names
    ]  # fmt: skip


def opened(script: Script) -> Script:
    script.give("list_clusters", {"clusterArns": [SHOP]})
    script.give("describe_clusters", {"clusters": [{"clusterArn": SHOP}]}, clusters=[SHOP])
    return script


def without_instances(script: Script) -> None:
    script.give("list_container_instances", {"containerInstanceArns": []}, cluster=SHOP)


def without_tasks(script: Script) -> None:
    for status in ("RUNNING", "STOPPED"):
        script.give("list_tasks", {"taskArns": []}, cluster=SHOP, desiredStatus=status)


def defined(script: Script, name: str = "one:1") -> None:
    definition = {"taskDefinitionArn": f"{ARN}task-definition/{name}", "family": "one"}
    script.give(
        "describe_task_definition", {"taskDefinition": definition},
        taskDefinition=definition["taskDefinitionArn"],
    )  # fmt: skip


@pytest.fixture
def script(monkeypatch) -> Script:
    return Script("ecs")


def test_all_pages_and_ten_services_at_once(script):
    found = services_of(*(f"s{n:02}" for n in range(11)))
    arns = [s["serviceArn"] for s in found]
    opened(script)
    script.give("list_services", {"serviceArns": arns[:6], "nextToken": "t"}, cluster=SHOP)
    script.give("list_services", {"serviceArns": arns[6:]}, cluster=SHOP, nextToken="t")
    for part in (slice(10), slice(10, None)):
        script.give(
            "describe_services", {"services": found[part], "failures": []},
            cluster=SHOP, services=arns[part], include=["TAGS"],
        )  # fmt: skip
    without_tasks(script)
    without_instances(script)
    defined(script)  # once for all eleven
    place = script.read(EcsSource())
    assert len(place.batch.rows["services"]) == 11
    rows = coverage(place.batch)
    assert (rows["list-services"]["rows"], rows["list-services"]["requests"]) == (11, 2)
    assert (rows["describe-services"]["rows"], rows["describe-services"]["requests"]) == (11, 2)
    assert rows["list-tasks"]["status"] == "empty"


def test_a_hundred_tasks_and_instances_at_once(script):
    tasks = [f"{ARN}task/shop/{n}" for n in range(101)]
    machines = [f"{ARN}container-instance/shop/{n}" for n in range(101)]
    opened(script)
    script.give("list_services", {"serviceArns": []}, cluster=SHOP)
    script.give("list_tasks", {"taskArns": tasks[:60]}, cluster=SHOP, desiredStatus="RUNNING")
    script.give("list_tasks", {"taskArns": tasks[60:]}, cluster=SHOP, desiredStatus="STOPPED")
    for part in (slice(100), slice(100, None)):
        rows = [{"taskArn": t, "lastStatus": "RUNNING"} for t in tasks[part]]
        script.give(
            "describe_tasks", {"tasks": rows}, cluster=SHOP, tasks=tasks[part], include=["TAGS"]
        )
    script.give("list_container_instances", {"containerInstanceArns": machines}, cluster=SHOP)
    for part in (slice(100), slice(100, None)):
        script.give(
            "describe_container_instances",
            {"containerInstances": [{"containerInstanceArn": m} for m in machines[part]]},
            cluster=SHOP, containerInstances=machines[part], include=["TAGS"],
        )  # fmt: skip
    place = script.read(EcsSource())
    assert len(place.batch.rows["workloads"]) == 101
    assert len(place.batch.rows["hosts"]) == 101


def test_tasks_that_vanish_in_between_are_told(script):
    tasks = [f"{ARN}task/shop/{n}" for n in range(3)]
    opened(script)
    script.give("list_services", {"serviceArns": []}, cluster=SHOP)
    script.give("list_tasks", {"taskArns": tasks}, cluster=SHOP, desiredStatus="RUNNING")
    script.give("list_tasks", {"taskArns": []}, cluster=SHOP, desiredStatus="STOPPED")
    missing = [{"arn": tasks[2], "reason": "MISSING"}]
    answer = {"tasks": [{"taskArn": t} for t in tasks[:2]], "failures": missing}
    script.give("describe_tasks", answer, cluster=SHOP, tasks=tasks, include=["TAGS"])
    without_instances(script)
    row = coverage(script.read(EcsSource()).batch)["describe-tasks"]
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 2, 3)


def test_half_a_list_and_an_error_is_half_a_list(script):
    found = services_of("a")
    opened(script)
    arns = [found[0]["serviceArn"]]
    script.give("list_services", {"serviceArns": arns, "nextToken": "t"}, cluster=SHOP)
    script.refuse("list_services", "ThrottlingException", 400, "Rate exceeded")
    script.give(
        "describe_services", {"services": found}, cluster=SHOP, services=arns, include=["TAGS"]
    )
    without_tasks(script)
    without_instances(script)
    defined(script)
    place = script.read(EcsSource())
    rows = coverage(place.batch)
    assert rows["list-services"]["status"] == "partial"
    assert rows["list-services"]["error_class"] == "ThrottlingException"
    assert len(place.batch.rows["services"]) == 1


@pytest.mark.parametrize(
    ("code", "http", "status"),
    [
        ("ThrottlingException", 400, "throttled"),
        ("AccessDeniedException", 400, "denied"),
        ("403", 403, "denied"),
        ("ExpiredTokenException", 400, "denied"),
        ("ServerException", 500, "unreachable"),
    ],
)
def test_why_the_first_call_failed(script, code, http, status):
    script.refuse("list_clusters", code, http, f"User: arn:aws:iam::1:user/{CANARY} is not allowed")
    place = script.read(EcsSource())
    (row,) = place.batch.coverage
    assert (row["call"], row["status"], row["error_class"]) == ("ecs list-clusters", status, code)
    assert CANARY not in repr(place.batch)


def test_definitions_that_are_denied_leave_services_and_tasks(script):
    found = services_of("a")
    arns = [found[0]["serviceArn"]]
    task = {"taskArn": f"{ARN}task/shop/1", "clusterArn": SHOP, "group": "service:a",
            "lastStatus": "RUNNING", "taskDefinitionArn": f"{ARN}task-definition/one:1",
            "containers": [{"name": "a", "image": "shop/a:1"}]}  # fmt: skip
    opened(script)
    script.give("list_services", {"serviceArns": arns}, cluster=SHOP)
    script.give(
        "describe_services", {"services": found}, cluster=SHOP, services=arns, include=["TAGS"]
    )
    script.give(
        "list_tasks", {"taskArns": [task["taskArn"]]}, cluster=SHOP, desiredStatus="RUNNING"
    )
    script.give("list_tasks", {"taskArns": []}, cluster=SHOP, desiredStatus="STOPPED")
    script.give(
        "describe_tasks", {"tasks": [task]},
        cluster=SHOP, tasks=[task["taskArn"]], include=["TAGS"],
    )  # fmt: skip
    without_instances(script)
    script.refuse("describe_task_definition")
    place = script.read(EcsSource())
    assert coverage(place.batch)["describe-task-definition"]["status"] == "denied"
    (service,), (workload,) = place.batch.rows["services"], place.batch.rows["workloads"]
    assert service.get("stateful") is None and service.get("health_checked") is None
    assert "privileged" not in workload and workload["repository"] == "shop/a"
    assert workload["health"] is None


def test_the_age_of_dumps_is_told(dumps):
    for file in dumps.iterdir():
        os.utime(file, (time.time() - 7200,) * 2)
    assert coverage(collect(dumps.parent))["describe-tasks"]["age_hours"] == pytest.approx(
        2, abs=0.1
    )
