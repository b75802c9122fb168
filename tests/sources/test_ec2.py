"""The ec2 source: recorded payloads, moto's server, and written answers where moto has none."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pandas as pd
import pytest
import requests
from aws_server import ACCOUNT, REGION, Answers
from wild import mutated, whatever_comes

from assess import frames, load_policy
from assess.inventory import from_frames
from assess.score.incidents.recovery import replacements
from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.ec2 import Ec2Source, cause_of
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parents[1] / "fixtures/ec2"
HERE = f"{ACCOUNT}-{REGION}"
CANARY = "hunter2"
SEEN = datetime(2026, 9, 30, 6, tzinfo=UTC)
CHECKOUT_1, CHECKOUT_2, BILLING_1, BILLING_2, NODE, GONE, BARE = (
    f"i-0c4e550000000000{n}" for n in range(1, 8)
)


@pytest.fixture
def dumps(tmp_path) -> Path:
    found = Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))
    for file in found.iterdir():
        os.utime(file, (SEEN.timestamp(),) * 2)
    return found


def collect(dumps: Path) -> Batch:
    return Ec2Source().collect({"path": dumps.name}, dumps.parent, Deadline(20))


def coverage(batch: Batch) -> dict[str, dict]:
    return {row["call"].rpartition(" ")[2]: row for row in batch.coverage}


def by(batch: Batch, frame: str, key: str) -> dict[str, dict]:
    return {row[key]: row for row in batch.rows[frame]}


def services(batch: Batch) -> dict[str, dict]:
    return {row["names"][0].name: row for row in batch.rows["services"]}


# -- recorded ------------------------------------------------------------------------------------


def test_every_frame_fits_the_data_dictionary(dumps):
    assert homes()["ec2"].load() is Ec2Source
    batch = collect(dumps)
    assert set(batch.rows) == set(Ec2Source.fills)
    tables, notes = to_tables([("ec2", batch)], [])
    assert not [note for note in notes if note["call"].startswith("check:")]
    assert set(tables["services"]["service_id"]) == {"checkout", "reports", "billing"}
    for frame in Ec2Source.fills:
        assert frames.check(frame, frames.conform(frame, tables[frame])[0]).empty, frame


def test_hosts_and_the_age_of_their_images(dumps):
    hosts = by(collect(dumps), "hosts", "host_id")
    # GONE is gone
    assert set(hosts) == {CHECKOUT_1, CHECKOUT_2, BILLING_1, BILLING_2, NODE, BARE}
    host = hosts[CHECKOUT_1]
    assert host["image_created_at"] == datetime(2024, 3, 1, 20, 15, 41, tzinfo=UTC)
    assert (host["launched_at"] - host["image_created_at"]).days == 884
    assert {
        c: host[c] for c in ("account", "region", "az", "provider", "asg_name", "state")
    } == {
        "account": ACCOUNT,
        "region": REGION,
        "az": f"{REGION}a",
        "provider": "aws",
        "asg_name": "checkout-asg",
        "state": "running",
    }
    assert {h: (row["os_name"], row["os_version"]) for h, row in hosts.items()} == {
        CHECKOUT_1: ("ubuntu", "22.04"),
        CHECKOUT_2: ("ubuntu", "22.04"),
        BILLING_1: ("debian", "12"),
        BILLING_2: ("debian", "12"),
        NODE: ("amazon-linux", "2"),
        BARE: ("rhel", None),
    }
    assert (host["vcpus"], host["memory_bytes"]) == (2, 8 * 2**30)
    assert (hosts[NODE]["vcpus"], hosts[NODE]["memory_bytes"]) == (4, 16 * 2**30)
    assert hosts[BARE]["image_created_at"] is None  # its image was deregistered
    assert hosts[BARE]["memory_bytes"] is None  # nobody described its type


def test_instances_of_a_service_are_replicas_and_nodes_of_a_cluster_are_not(dumps):
    replicas = by(collect(dumps), "workloads", "workload_id")
    told = {i: (row["name"], row["state"], row["health"]) for i, row in replicas.items()}
    assert told == {
        CHECKOUT_1: ("checkout", "running", "healthy"),
        CHECKOUT_2: ("checkout", "running", "unhealthy"),  # its target times out
        BILLING_1: ("billing", "running", "healthy"),
        BILLING_2: ("billing", "stopped", "unhealthy"),  # out of service
    }


def test_services_by_their_groups_and_what_is_before_them(dumps):
    found = services(collect(dumps))
    columns = ("env", "kind", "asg_min", "asg_max", "health_checked", "public")
    assert {name: tuple(row[c] for c in columns) for name, row in found.items()} == {
        # behind an application load balancer
        "checkout": ("prod", "web", 2, 6, True, True),
        # scaled to nothing, and still a service
        "reports": ("stage", None, 0, 3, None, None),
        # behind an internal classic one
        "billing": (None, None, None, None, True, False),
    }


@pytest.mark.parametrize(
    ("other", "named"), [("checkout", {"checkout"}), ("cart", {"g", "checkout", "cart"})]
)
def test_a_group_without_tags_is_the_service_that_all_its_instances_are_tagged_as(
    tmp_path, other, named
):
    instances = [
        {"InstanceId": f"i-{n}", "Tags": [{"Key": "service", "Value": name}]}
        for n, name in enumerate(["checkout", other])
    ]
    members = [{"InstanceId": instance["InstanceId"]} for instance in instances]
    group = {
        "AutoScalingGroupName": "g",
        "MinSize": 2,
        "MaxSize": 3,
        "Instances": members,
    }
    answers = {
        "describe-instances": {"Reservations": [{"Instances": instances}]},
        "describe-auto-scaling-groups": {"AutoScalingGroups": [group]},
    }
    for call, answer in answers.items():
        (tmp_path / f"{call}.json").write_text(json.dumps(answer))
    found = services(collect(tmp_path))
    assert set(found) == named
    owner = "checkout" if other == "checkout" else "g"
    assert (found[owner]["asg_min"], found[owner]["asg_max"]) == (2, 3)


def test_the_names_of_load_balancers_are_addresses_of_the_services_behind(dumps):
    file = dumps / "elbv2-describe-load-balancers.json"
    listed = json.loads(file.read_text())
    zone = {"LoadBalancerAddresses": [{"PrivateIPv4Address": "10.0.7.7"}]}
    for balancer in listed["LoadBalancers"]:
        balancer |= {"DNSName": "front.elb.example", "AvailabilityZones": [zone]}
    file.write_text(json.dumps(listed))
    found = services(collect(dumps))
    assert found["checkout"]["addresses"] == "front.elb.example;10.0.7.7"
    assert found["reports"]["addresses"] is None


@pytest.mark.parametrize(
    "lost", ["elbv2-describe-load-balancers", "elb-describe-load-balancers"]
)
def test_nothing_is_called_internal_while_some_load_balancers_are_unknown(dumps, lost):
    (dumps / f"{lost}.json").unlink()
    assert services(collect(dumps))["billing"]["public"] is None


def test_activities_of_groups(dumps):
    batch = collect(dumps)
    rows = [
        (r["kind"], r["status"], r["cause"], r["duration_s"] and round(r["duration_s"]))
        for r in batch.rows["activities"]
    ]
    assert rows == [
        ("terminate", "Successful", "health", 120),
        ("launch", "Failed", "health", 10),
        ("launch", "Successful", "health", 205),
        ("launch", "Successful", "scale", 180),
        ("terminate", "Successful", "manual", 60),
        ("terminate", "Successful", "spot", 60),
        ("terminate", "Successful", "refresh", 60),
        ("launch", "InProgress", "unknown", None),
    ]
    # out of standby
    assert coverage(batch)["describe-scaling-activities"]["unmapped_n"] == 1


def test_self_heal_pairs_a_termination_with_the_launch_that_succeeded(dumps):
    tables, _ = to_tables([("ec2", collect(dumps))], [])
    inventory = from_frames(tables, snapshot_at=SEEN.isoformat())
    (pair,) = replacements(inventory, load_policy()).itertuples()
    assert pair.place == "checkout-asg"
    # down at 10:00:00.123; the launch of 10:00:30 failed, that of 10:00:45 was up at 10:04:10
    assert (pair.healed_at - pair.ended_at).total_seconds() == pytest.approx(249.877)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "At 2026-07-01T10:00:00Z an instance was taken out of service in response to an EC2 "
            "instance status checks failure.",
            "health",
        ),
        (
            "an instance was launched in response to an unhealthy instance needing to be replaced.",
            "health",
        ),
        ("a user request update of AutoScalingGroup constraints to min: 0", "manual"),
        ("an instance rebalance recommendation", "spot"),
        ("instances were launched to balance instances in zones [eu-west-1b]", "scale"),
        ("a difference between desired and actual capacity", "unknown"),
        (None, "unknown"),
        (7, "unknown"),
        ("\0", "unknown"),
    ],
)
def test_why_an_instance_came_or_went(text, cause):
    assert cause_of(text) == cause


def test_the_canary_is_in_the_payloads_and_nowhere_in_the_rows(dumps):
    text = "".join(file.read_text() for file in dumps.iterdir())
    assert text.count(CANARY) > 3
    batch = collect(dumps)
    assert CANARY not in repr(batch)
    assert coverage(batch)["describe-instances"]["redacted_n"] == 4


def test_each_call_has_a_row_and_what_was_not_handed_over_is_told(dumps):
    rows = coverage(collect(dumps))
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["describe-instances"]["rows"] == 7
    assert rows["describe-images"]["rows"] == 3  # not those of ECR, of the same name
    age_hours = (datetime.now(UTC) - SEEN).total_seconds() / 3600
    assert [row["age_hours"] for row in rows.values()] == pytest.approx(
        [age_hours] * len(rows), abs=1
    )
    for file in dumps.glob("*describe-scaling*"):
        file.unlink()
    lost = coverage(collect(dumps))["describe-scaling-activities"]
    assert lost["status"] == "not_configured"
    assert "aws autoscaling describe-scaling-activities" in lost["hint"]


def test_a_file_that_no_call_is_known_by_is_told(dumps):
    (dumps / "describe-instances.json").rename(dumps / "machines.json")
    (dumps / "ecs-list-clusters.json").write_text("{}")  # of another source
    (dumps / "notes.json").write_text('{"a": 1}')
    # a call that no source makes
    (dumps / "rds-describe-db-instances.json").write_text('{"DBInstances": [{}]}')
    rows = {row["call"]: row for row in collect(dumps).coverage}
    assert rows["files"]["status"] == "not_configured"
    assert rows["files"]["expected"] == 2
    assert "such as notes.json" in rows["files"]["hint"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "parse_error"),
        (b"\0\0\0", "parse_error"),
        (b"{}", "parse_error"),
        (b'{"Reservations": []}', "empty"),
        (
            b'{"Reservations": [{"Instances": [{"InstanceId": "i-1"}]}]}{"Reserv',
            "partial",
        ),
        (b'{"Reservations": [{{ toJson .Values.hosts }}]}', "parse_error"),
    ],
)
def test_damaged_dumps(dumps, content, status):
    (dumps / "describe-instances.json").write_bytes(content)
    batch = collect(dumps)
    assert coverage(batch)["describe-instances"]["status"] == status
    assert len(batch.rows["hosts"]) == (status == "partial")
    assert len(batch.rows["activities"]) == 8  # the others are read as before


@whatever_comes
def test_no_payload_crashes_and_rows_fit_or_are_left_out(tmp_path_factory, seeds):
    place = tmp_path_factory.mktemp("wild")
    to_tables([("ec2", changed(place, seed)) for seed in seeds], [])


def changed(place, seed):
    for number, file in enumerate(sorted((FIXTURES / HERE).iterdir())):
        found = mutated(json.loads(file.read_text()), seed + number)
        (place / file.name).write_text(json.dumps(found))
    batch = collect(place)
    # where a failure that nobody thought of is noted
    assert "read" not in coverage(batch)
    return batch


# -- live ----------------------------------------------------------------------------------------


@pytest.fixture
def fleet(moto):
    """A group of two behind a load balancer, and one machine behind a classic one."""
    requests.post(f"{moto}/moto-api/reset", timeout=10)
    ec2, scaling, new, old = (
        boto3.client(name, REGION, endpoint_url=moto)
        for name in ("ec2", "autoscaling", "elbv2", "elb")
    )
    image = ec2.describe_images()["Images"][0]["ImageId"]
    subnets = ec2.describe_subnets()["Subnets"][:2]
    template = {"ImageId": image, "InstanceType": "m5.large"}
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=template)
    group = new.create_target_group(
        Name="web",
        Protocol="HTTP",
        Port=80,
        VpcId=subnets[0]["VpcId"],
        TargetType="instance",
    )["TargetGroups"][0]["TargetGroupArn"]
    balancer = new.create_load_balancer(
        Name="web", Subnets=[s["SubnetId"] for s in subnets], Scheme="internet-facing"
    )
    new.create_listener(
        LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="web-asg",
        LaunchTemplate={"LaunchTemplateName": "web"},
        MinSize=2,
        MaxSize=4,
        TargetGroupARNs=[group],
        HealthCheckType="ELB",
        VPCZoneIdentifier=subnets[0]["SubnetId"],
        Tags=[
            {"Key": k, "Value": v, "PropagateAtLaunch": True}
            for k, v in {"service": "web", "env": "prod"}.items()
        ],
    )
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "ledger-1"}]}]
    ledger = ec2.run_instances(
        ImageId=image,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=tags,
        UserData=f"export PASSWORD={CANARY}",
    )["Instances"][0]["InstanceId"]
    old.create_load_balancer(
        LoadBalancerName="ledger",
        AvailabilityZones=[f"{REGION}a"],
        Scheme="internal",
        Listeners=[{"Protocol": "tcp", "LoadBalancerPort": 9000, "InstancePort": 9000}],
    )
    old.register_instances_with_load_balancer(
        LoadBalancerName="ledger", Instances=[{"InstanceId": ledger}]
    )
    return ledger


def live(url: str, **options) -> Batch:
    asked = {"endpoint_url": url, "regions": REGION, **options}
    return Ec2Source().collect(asked, Path(), Deadline(60))


def test_live(moto, fleet):
    batch = live(moto)
    found, replicas = services(batch), by(batch, "workloads", "workload_id")
    assert set(found) == {"web", "ledger"}
    columns = ("env", "kind", "asg_min", "asg_max", "health_checked", "public")
    assert tuple(found["web"][c] for c in columns) == ("prod", "web", 2, 4, True, True)
    assert sorted((r["name"], r["health"]) for r in replicas.values()) == [
        ("ledger", "healthy"),
        ("web", "healthy"),
        ("web", "healthy"),
    ]
    hosts = by(batch, "hosts", "host_id")
    assert [h["asg_name"] for h in hosts.values()].count("web-asg") == 2
    assert {h["memory_bytes"] for h in hosts.values()} == {8 * 2**30, 2**30}
    assert all(h["last_seen_at"] for h in hosts.values())
    rows = coverage(batch)
    assert {row["status"] for row in rows.values()} <= {"ok", "empty"}
    watched = rows["describe-scaling-activities"]
    assert watched["window_end"] - watched["window_start"] == timedelta(weeks=6)
    assert CANARY not in repr(batch)
    assert not [
        n for n in to_tables([("ec2", batch)], [])[1] if n["call"].startswith("check:")
    ]


def test_a_stopped_instance_is_known_and_of_no_health(moto, fleet):
    boto3.client("ec2", REGION, endpoint_url=moto).stop_instances(InstanceIds=[fleet])
    batch = live(moto)
    assert by(batch, "hosts", "host_id")[fleet]["state"] == "stopped"
    assert by(batch, "hosts", "host_id")[fleet]["last_seen_at"] is None


def test_profiles_and_regions_side_by_side(moto, fleet, tmp_path, monkeypatch):
    keys = "aws_access_key_id = testing\naws_secret_access_key = testing\n"
    (tmp_path / "credentials").write_text(f"[shop]\n{keys}[lab]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    batch = live(moto, profile=["shop", "lab", "gone"], regions=[REGION, "us-east-1"])
    scopes = {
        row["scope"]: row["status"] for row in batch.coverage if row["call"] != "session"
    }
    assert set(scopes) == {
        f"{profile}/{region}"
        for profile in ("shop", "lab")
        for region in (REGION, "us-east-1")
    }
    (lost,) = (row for row in batch.coverage if row["call"] == "session")
    assert (lost["scope"], lost["status"]) == ("gone", "denied")


@pytest.mark.parametrize(
    "profile",
    [
        "credential_process = /no/such/program",
        "role_arn = arn:aws:iam::1:role/x\nsource_profile = gone",
        "role_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /no/such/token",
    ],
)
def test_a_profile_that_refers_to_nothing_is_no_unreachable_server(
    profile, tmp_path, monkeypatch
):
    (tmp_path / "config").write_text(f"[profile shop]\n{profile}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    batch = live("http://127.0.0.1:9", profile="shop")
    (row,) = batch.coverage
    assert row["status"] == "denied"
    assert "check the profile and what it refers to" in row["hint"]


def test_a_wrong_clock_is_named_beside_old_credentials():
    for code in ("RequestExpired", "SignatureDoesNotMatch"):
        answers = Answers()
        answers.give("DescribeInstances", code)
        row = coverage(read(answers))["describe-instances"]
        assert row["status"] == "denied"
        assert "clock of this machine" in row["hint"]


def test_a_probe_gives_coverage_and_no_rows(moto, fleet):
    batch = Ec2Source().probe(
        {"endpoint_url": moto, "regions": REGION}, Path(), Deadline(60)
    )
    assert not any(batch.rows.values())
    assert coverage(batch)["describe-target-health"]["status"] == "ok"


# -- written answers -----------------------------------------------------------------------------


def read(answers: Answers, **options):
    return answers.read(Ec2Source(), **options)


def test_all_pages(monkeypatch):
    def instances(*names):
        return {"Reservations": [{"Instances": [{"InstanceId": name} for name in names]}]}

    answers = Answers()
    answers.give(
        "DescribeInstances", instances("i-1") | {"NextToken": "t"}, instances("i-2")
    )
    activity = {
        "AutoScalingGroupName": "g",
        "Cause": "",
        "StartTime": SEEN,
        "StatusCode": "Successful",
        "Description": "Launching a new EC2 instance: i-0c4e5500000000001",
    }
    answers.give(
        "DescribeScalingActivities",
        {"Activities": [activity | {"ActivityId": "a"}], "NextToken": "t"},
        {"Activities": [activity | {"ActivityId": "b"}]},
    )
    batch = read(answers)
    assert {row["host_id"] for row in batch.rows["hosts"]} == {"i-1", "i-2"}
    assert [row["activity_id"] for row in batch.rows["activities"]] == ["a", "b"]
    assert coverage(batch)["describe-instances"]["requests"] == 2


def test_half_the_instances_then_an_error_are_partial():
    answers = Answers()
    first = {"Reservations": [{"Instances": [{"InstanceId": "i-1"}]}], "NextToken": "t"}
    answers.give("DescribeInstances", first, "RequestLimitExceeded")
    batch = read(answers)
    row = coverage(batch)["describe-instances"]
    assert (row["status"], row["error_class"]) == ("partial", "RequestLimitExceeded")
    assert len(batch.rows["hosts"]) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("UnauthorizedOperation", "denied"),
        ("AuthFailure", "denied"),
        ("ExpiredToken", "denied"),
        ("RequestLimitExceeded", "throttled"),
        ("Throttling", "throttled"),
        ("InternalError", "unreachable"),
    ],
)
@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("DescribeInstances", "describe-instances"),
        ("DescribeScalingActivities", "describe-scaling-activities"),
        ("DescribeTargetGroups", "describe-target-groups"),
    ],
)
def test_what_is_refused_is_told_and_costs_nothing_else(operation, call, code, status):
    answers = Answers()
    answers.give(operation, code)
    batch = read(answers)
    statuses = {name: row["status"] for name, row in coverage(batch).items()}
    assert statuses.pop(call) == status
    assert set(statuses.values()) <= {"ok", "empty"}
    assert CANARY not in repr(batch)  # the message of an error names who asked


def test_a_denial_by_the_organisation_is_told_apart():
    answers = Answers(message="explicit deny in a service control policy")
    answers.give("DescribeInstances", "UnauthorizedOperation")
    hint = coverage(read(answers))["describe-instances"]["hint"]
    assert "service control policy" in hint and "ec2:DescribeInstances" in hint


def test_each_image_and_type_is_asked_for_once_and_many_at_a_time():
    answers = Answers()
    instances = [
        {
            "InstanceId": f"i-{n}",
            "ImageId": f"ami-{n % 201}",
            "InstanceType": f"t{n % 101}.x",
        }
        for n in range(404)
    ]
    answers.give("DescribeInstances", {"Reservations": [{"Instances": instances}]})
    read(answers)
    images = [
        params["Filters"][0]["Values"] for params in answers.asked["DescribeImages"]
    ]
    types = [params["InstanceTypes"] for params in answers.asked["DescribeInstanceTypes"]]
    assert [len(values) for values in images] == [200, 1]
    assert [len(values) for values in types] == [100, 1]


def test_empty_is_empty():
    batch = read(Answers())
    assert {row["status"] for row in batch.coverage} == {"empty"}
    assert pd.DataFrame(batch.rows["hosts"]).empty
