"""ECS on moto's server."""

import json
from pathlib import Path

import boto3
import pytest
import requests
from aws_server import REGION
from test_ecs import CANARY, coverage, services

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.ecs import EcsSource
from assess.sources.joining.merge import to_tables


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
    document = {
        "instanceId": machine["InstanceId"],
        "imageId": image,
        "instanceType": "t3.micro",
        "region": REGION,
        "accountId": "123456789012",
        "privateIp": "10.0.0.1",
        "availabilityZone": f"{REGION}a",
        "architecture": "x86_64",
    }
    ecs.register_container_instance(
        cluster="shop", instanceIdentityDocument=json.dumps(document)
    )
    ecs.register_task_definition(
        family="cart",
        containerDefinitions=[
            {
                "name": "cart",
                "image": "shop/cart:3",
                "memory": 64,
                "cpu": 16,
                "essential": True,
                "command": [f"--password={CANARY}"],
                "environment": [{"name": "DB_PASSWORD", "value": CANARY}],
            }
        ],
    )
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
    # though two services have it
    assert found["describe-task-definition"]["requests"] == 1
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
