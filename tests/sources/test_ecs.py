"""The ecs source: recorded payloads, moto's server, and written answers where moto has none."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from aws_server import ACCOUNT, REGION
from batches import table

from assess.sources.base import Batch, Name
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.ecs import EcsSource
from assess.sources.ecs.rows import Payloads, to_batch, to_host
from assess.sources.ecs.tasks import to_definition
from assess.sources.joining.merge import to_tables
from assess.sources.unit import mount_rows, share, source_class

FIXTURES = Path(__file__).parents[1] / "fixtures/ecs"
HERE = f"{ACCOUNT}-{REGION}"
CANARY = "hunter2"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
HOSTS = ("i-0aaa1111bbbb22221", "i-0aaa1111bbbb22222")


def collect(base: Path = FIXTURES, **options) -> Batch:
    return EcsSource().collect(options or {"path": HERE}, base, Deadline(20))


def coverage(batch: Batch) -> dict[str, dict]:
    return {row["call"].removeprefix("ecs "): row for row in batch.coverage}


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
        is_replica = row.get("container_role") in (None, "main")
        if state in (None, row["state"]) and is_replica:
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
        "services": 5,
        "service_aliases": 1,
        "workloads": 13,  # with the containers beside the main ones
        "mounts": 9,
        "hosts": 3,  # one of them is that of a task on Fargate
        "engines": 2,
        "dependencies": 6,
        "activities": 13,
    }
    assert [n for n in notes if n["call"].startswith("check:")] == []
    assert set(tables["workloads"]["service_id"]) == {
        "checkout",
        "ledger-db",
        "mailer",
        "report",
    }


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
        "checkout": 50,
        "orders": None,
        "ledger-db": 0,
        "mailer": None,
        "report": None,
    }


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
        "ecs-service",
        "ecs-family",
        "cloud-tag",
        "datadog-label",
        "telemetry-env",
        "image-repository",
        "container-name",
    ]
    assert names[4].name == "checkout-web"
    assert workloads(recorded)["checkout"][0]["names"] == names


def test_a_label_of_our_own_tops_all():
    service = {
        "serviceArn": "arn:aws:ecs:eu-west-1:1:service/shop/x1",
        "serviceName": "x1",
    }
    service["tags"] = [
        {"key": "assess.service", "value": "cart"},
        {"key": "app", "value": "shop"},
    ]
    (row,) = to_batch(Payloads(services=[service])).rows["services"]
    assert [name.name for name in row["names"]] == ["cart", "x1"]


def test_a_task_is_one_replica_seen_through_its_first_essential_container(recorded):
    first, second = workloads(recorded, "running")["checkout"]
    assert (first["name"], first["source_kind"], first["cluster"]) == (
        "web",
        "task",
        "shop",
    )
    assert (first["registry"], first["repository"]) == (REGISTRY, "shop/checkout")
    assert first["image_digest"].startswith("sha256:3d660d7f")
    assert (first["host_id"], second["host_id"]) == HOSTS
    assert (first["ports"], second["ports"]) == ("32768->8080/tcp", "8080/tcp")
    assert (first["health"], first["oom_killed"], first["exit_code"]) == (
        "healthy",
        False,
        None,
    )
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


def test_a_task_on_fargate_is_on_a_host_of_the_provider(recorded):
    (row,) = workloads(recorded, "running")["mailer"]
    host = table(recorded, "hosts").set_index("host_id").loc[row["host_id"]]
    assert row["host_id"].startswith("fargate:shop/") and host["managed_by"] == "provider"
    assert (host["az"], host["provider_version"]) == ("eu-west-1a", "fargate 1.4.0")
    assert pd.isna(host["vcpus"]) and host["os_family"] == "linux"  # a part of one
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
        (
            {"lastStatus": "STOPPED"},
            {"exitCode": 137, "reason": "OutOfMemoryError: Con"},
            True,
        ),
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
    hosts = hosts[hosts["managed_by"].isna()]
    assert list(hosts.index) == list(HOSTS)
    assert hosts["az"].tolist() == ["eu-west-1a", "eu-west-1b"]
    assert set(hosts["account"]) == {ACCOUNT}
    assert set(hosts["asg_name"]) == {"shop-ecs"}
    # the other agent is gone
    assert hosts["state"].fillna("?").tolist() == ["running", "?"]
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
    assert mine.loc["/backup", ["volume_name", "driver"]].tolist() == [
        "fs-0a1b2c3d",
        "efs",
    ]
    web = rows[rows["destination"] == "/etc/checkout"]
    assert sorted(web["shared_with_n"]) == [0, 1, 1]  # two tasks were on one host
    scratch = rows[rows["destination"] == "/tmp/work"]
    assert set(scratch["source_class"]) == {"anonymous-volume"}
    assert scratch["data_like"].isna().all()


@pytest.mark.parametrize(
    ("volume", "kind", "driver"),
    [
        (
            {"dockerVolumeConfiguration": {"scope": "shared", "driver": "rexray"}},
            "named-volume",
            "rexray",
        ),
        ({"dockerVolumeConfiguration": {"scope": "task"}}, "anonymous-volume", None),
        ({"configuredAtLaunch": True}, "named-volume", "ebs"),
        (
            {"fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "fs-1"}},
            "named-volume",
            "fsx",
        ),
        ({"host": {"sourcePath": "/data"}}, "host-path", None),
        ({}, "anonymous-volume", None),
    ],
)
def test_what_is_behind_a_volume(volume, kind, driver):
    point = {"sourceVolume": "v", "containerPath": "/x"}
    raw = {"containerDefinitions": [{"name": "a", "mountPoints": [point]}]}
    definition = to_definition(raw | {"volumes": [{"name": "v", **volume}]})
    (mount,) = definition.unit.mounts
    assert (source_class(mount), mount.driver) == (kind, driver)


def test_a_volume_that_each_task_gets_at_its_launch_is_shared_with_none():
    point = {"sourceVolume": "v", "containerPath": "/data"}
    raw = {
        "containerDefinitions": [{"name": "a", "mountPoints": [point]}],
        "volumes": [{"name": "v", "configuredAtLaunch": True}],
    }
    mounts = to_definition(raw).unit.mounts
    rows = [row for key in "ab" for row in mount_rows(mounts, key, "host")]
    share(rows)
    assert [row["shared_with_n"] for row in rows] == [0, 0]
    assert {row["volume_id"] for row in rows} == {None}


def test_dependencies(recorded):
    rows = {
        (getattr(r["dst"], "name", r["dst"]), r["kind"], r["evidence"]): r.get(
            "condition"
        )
        for r in recorded.rows["dependencies"]
    }
    assert {r["src"].name for r in recorded.rows["dependencies"]} == {"checkout"}
    assert rows == {
        ("ext:checkout/log-router", "start_order", "ecs-depends-on"): "START",
        ("ext:checkout/statsd", "start_order", "ecs-link"): None,
        ("orders", "call", "environment"): None,
        ("ledger-db", "data", "environment"): None,
        (
            "ext:sessions.abc123.0001.euw1.cache.amazonaws.com",
            "cache",
            "environment",
        ): None,
        ("ext:elb/checkout-web", "discovery", "ecs-load-balancer"): None,
    }


def test_service_connect_names_are_hosts():
    arn = "arn:aws:ecs:eu-west-1:1:"

    def service(name, **more):
        return {
            "serviceArn": f"{arn}service/c/{name}",
            "serviceName": name,
            "clusterArn": f"{arn}cluster/c",
            "taskDefinition": f"{arn}task-definition/{name}:1",
            **more,
        }

    connect = {
        "services": [{"discoveryName": "db", "clientAliases": [{"dnsName": "pg"}]}]
    }
    callee = service("store", deployments=[{"serviceConnectConfiguration": connect}])
    env = [{"name": "DB_HOST", "value": "pg"}]
    definition = {
        "taskDefinitionArn": f"{arn}task-definition/app:1",
        "family": "app",
        "containerDefinitions": [{"name": "app", "environment": env}],
    }
    batch = to_batch(
        Payloads(services=[callee, service("app")], definitions=[definition])
    )
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
    happened = [
        r for r in recorded.rows["activities"] if r["kind"] not in ("deploy", "rollback")
    ]
    assert min(r["started_at"] for r in happened) >= row["window_start"]


def test_the_scores_heal_a_service_by_its_own_tasks(recorded):
    from assess import load_policy
    from assess.inventory import from_frames
    from assess.score.incidents.recovery import heal_times

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
    task = {
        "taskArn": "t",
        "group": "service:x",
        "stopCode": code,
        "stoppedReason": reason,
    }
    batch = to_batch(Payloads(tasks=[task | {"stoppedAt": stopped}], since=stopped))
    assert [r["cause"] for r in batch.rows["activities"]] == [cause]


# -- declared ------------------------------------------------------------------------------------

TASK = {
    "family": "shop",
    "cpu": "512",
    "memory": "1024",
    "requiresCompatibilities": ["FARGATE"],
    "containerDefinitions": [
        {
            "name": "app",
            "image": "shop/app:1.4.2",
            "memory": 512,
            "dependsOn": [{"containerName": "migrate", "condition": "SUCCESS"}],
        },
        {"name": "migrate", "image": "shop/migrate", "essential": False},
        {
            "name": "agent",
            "image": "vector:latest",
            "essential": False,
            "privileged": True,
            "cpu": 64,
            "memory": 128,
            "memoryReservation": 64,
            "environment": [{"name": "API_TOKEN", "value": CANARY}],
        },
    ],
}
WANTED = {
    "serviceArn": "arn:aws:ecs:eu-west-1:1:service/prod/shop",
    "serviceName": "shop",
    "clusterArn": "arn:aws:ecs:eu-west-1:1:cluster/prod",
    "status": "ACTIVE",
    "desiredCount": 2,
    "launchType": "FARGATE",
    "platformVersion": "LATEST",
    "taskDefinition": "arn:aws:ecs:eu-west-1:1:task-definition/shop:7",
}


def definition(revision, **more):
    arn = f"arn:aws:ecs:eu-west-1:1:task-definition/shop:{revision}"
    return TASK | {"taskDefinitionArn": arn, "revision": revision, **more}


def test_a_task_of_no_service_needs_what_its_definition_names_once():
    arn = "arn:aws:ecs:eu-west-1:1:"
    container = {
        "name": "report",
        "image": "acme/report:1",
        "environment": [{"name": "DB_URL", "value": "postgres://db.example.net/shop"}],
    }
    task = {
        "clusterArn": f"{arn}cluster/c",
        "taskDefinitionArn": f"{arn}task-definition/report:1",
        "containers": [{"name": "report", "lastStatus": "RUNNING"}],
        "lastStatus": "RUNNING",
        "startedBy": "events-rule/nightly",
    }
    payloads = Payloads(
        tasks=[task | {"taskArn": f"{arn}task/c/{n}"} for n in (1, 2)],
        definitions=[
            {
                "taskDefinitionArn": f"{arn}task-definition/report:1",
                "family": "report",
                "revision": 1,
                "containerDefinitions": [container],
            }
        ],
    )
    (row,) = to_batch(payloads).rows["dependencies"]
    assert (row["src"].name, row["dst"], row["kind"]) == (
        "report",
        "ext:db.example.net",
        "data",
    )


def test_a_container_that_ended_before_the_others_of_its_task_does_not_run():
    needed = [{"containerName": "migrate", "condition": "SUCCESS"}]
    containers = [
        {"name": "web", "image": "acme/web:1", "dependsOn": needed},
        {"name": "migrate", "image": "acme/web:1", "essential": False},
    ]
    arn = "arn:aws:ecs:eu-west-1:1:task-definition/shop:1"
    task = {
        "taskArn": "arn:aws:ecs:eu-west-1:1:task/c/1",
        "taskDefinitionArn": arn,
        "lastStatus": "RUNNING",
        "containers": [
            {"name": "web", "lastStatus": "RUNNING"},
            {"name": "migrate", "lastStatus": "STOPPED", "exitCode": 0},
        ],
    }
    whole = {"taskDefinitionArn": arn, "family": "shop", "revision": 1}
    definitions = [whole | {"containerDefinitions": containers}]
    rows = to_batch(Payloads(tasks=[task], definitions=definitions)).rows["workloads"]
    found = {row["name"]: (row["state"], row.get("exit_code")) for row in rows}
    assert found == {"web": ("running", None), "migrate": ("stopped", 0)}


def test_a_service_without_tasks_declares_what_it_wants():
    payloads = Payloads(services=[WANTED], definitions=[definition(7)])
    batch = to_batch(payloads)
    rows = table(batch, "workloads").set_index("workload_id")
    assert set(rows["state"]) == set(rows["inspect_status"]) == {"declared"}
    assert rows["container_role"].eq("main").sum() == 2
    one = rows[rows.index.str.startswith("ecs:prod/service/shop/1")]
    assert one["container_role"].tolist() == ["main", "init", "sidecar"]
    assert one["tag_floating"].tolist() == [False, True, True]
    assert one["privileged"].tolist() == [True, False, True]  # the first is the replica
    assert one["secret_like_env_n"].tolist() == [0, 0, 1]
    assert CANARY not in repr(batch)
    (host,) = {h["host_id"]: h for h in batch.rows["hosts"]}.values()
    assert (host["managed_by"], host["provider_version"]) == ("provider", "fargate")
    assert set(rows["host_id"]) == {host["host_id"]}
    (service,) = batch.rows["services"]
    assert service["secrets_in_image"] is True


def test_the_size_of_a_task_is_that_of_the_replica_and_shares_are_requests():
    sizes = ["cpu_request", "cpu_limit", "memory_request_bytes", "memory_limit_bytes"]
    rows = table(to_batch(Payloads(definitions=[definition(7)])), "workloads")
    app, migrate, agent = rows[sizes].to_dict("records")
    # what the others reserve is a part of the size of the task
    assert list(app.values()) == [
        0.5 - 64 / 1024,
        0.5,
        (1024 - 64) * 2**20,
        512 * 2**20,
    ]
    assert (migrate["cpu_request"], migrate["memory_request_bytes"]) == (0, 0)
    assert pd.isna([migrate["cpu_limit"], migrate["memory_limit_bytes"]]).all()
    assert agent["cpu_request"] == 64 / 1024
    assert agent["memory_request_bytes"] == 64 * 2**20
    assert agent["memory_limit_bytes"] == 128 * 2**20
    alone = definition(7)
    alone = {k: v for k, v in alone.items() if k not in ("cpu", "memory")}
    rows = table(to_batch(Payloads(definitions=[alone])), "workloads")
    assert rows["cpu_request"].tolist() == [pd.NA, pd.NA, 64 / 1024]
    assert rows["memory_unlimited"].tolist() == [False, True, False]


def test_of_definitions_that_nothing_uses_the_newest_is_declared_once():
    old = definition(9, status="INACTIVE")
    batch = to_batch(Payloads(definitions=[definition(8), old, definition(7)]))
    rows = table(batch, "workloads")
    assert len(batch.rows["services"]) == 1
    assert rows["container_role"].tolist() == ["main", "init", "sidecar"]
    used = to_batch(
        Payloads(services=[WANTED], definitions=[definition(7), definition(8)])
    )
    assert len(used.rows["services"]) == 1


def test_values_that_are_elsewhere_may_be_addresses(recorded):
    (note,) = [row for row in recorded.coverage if row["call"] == "references"]
    assert (note["status"], note["scope"]) == ("partial", HERE)
    assert note["hint"].endswith("environment files, variable STRIPE_KEY")
