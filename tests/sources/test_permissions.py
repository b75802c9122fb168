"""The least permissions that `assess sources SYSTEM --policy` prints, against what is asked."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
import requests
import yaml
from aws_server import ACCOUNT, REGION, Answers
from click.testing import CliRunner

from assess import s3
from assess.cli import cli
from assess.config import Config, SourceConfig
from assess.sources import aws as aws_sources
from assess.sources import collect, permissions
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline

AWS = ("ec2", "ecs", "ecr", "ssm")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
ANSWERS = {  # so much of everything that each call leads to the next
    "GetCallerIdentity": {"Account": ACCOUNT},
    "DescribeRegions": {"Regions": [{"RegionName": REGION}]},
    "DescribeInstances": {
        "Reservations": [
            {
                "Instances": [
                    {"InstanceId": "i-1", "ImageId": "ami-1", "InstanceType": "t3.nano"}
                ]
            }
        ]
    },
    "DescribeTargetGroups": {"TargetGroups": [{"TargetGroupArn": "arn:tg"}]},
    "DescribeLoadBalancers": {
        "LoadBalancers": [],
        "LoadBalancerDescriptions": [{"LoadBalancerName": "b"}],
    },
    "ListClusters": {"clusterArns": [f"{ARN}:cluster/c"]},
    "ListServices": {"serviceArns": [f"{ARN}:service/c/s"]},
    "ListTasks": {"taskArns": [f"{ARN}:task/c/t"]},
    "ListContainerInstances": {
        "containerInstanceArns": [f"{ARN}:container-instance/c/i"]
    },
    "DescribeServices": {"services": [{"taskDefinition": f"{ARN}:task-definition/d:1"}]},
    "DescribeRepositories": {"repositories": [{"repositoryName": "web"}]},
    "DescribeImages": {
        "Images": [],
        "imageDetails": [
            {
                "repositoryName": "web",
                "imageDigest": f"sha256:{n}",
                "imageManifestMediaType": kind,
            }
            for n, kind in enumerate((MANIFEST, INDEX))
        ],
    },
}


def actions(name: str) -> set[str]:
    document = json.loads(permissions(name))
    return {
        action for statement in document["Statement"] for action in statement["Action"]
    }


@pytest.fixture(scope="module")
def asked():
    """Actions that the requests of all sources need."""
    answers = Answers(always=ANSWERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws_sources, "Login", lambda *_: answers)
        for kind in AWS:
            source = homes()[kind].load()()
            batch = source.collect({"regions": "all"}, Path(), Deadline(30))
            assert {row["status"] for row in batch.coverage} <= {
                "ok",
                "empty",
                "partial",
            }, kind
    return answers.actions


def test_the_policy_of_aws_allows_every_call_and_nothing_else(asked):
    assert actions("aws") == asked
    assert all(
        re.fullmatch(r"\w+:(Describe|List|Get|BatchGet)\w+", action) for action in asked
    )


def test_no_call_is_written_in_the_code_that_was_not_seen(asked):
    operations = {
        name
        for kind in (*AWS, "sts", "elb", "elbv2", "autoscaling")
        for name in boto3.client(kind, REGION).meta.method_to_api_mapping
    }
    code = "".join(
        f.read_text() for f in Path(aws_sources.__file__).parents[1].glob("*/*.py")
    )
    written = set(re.findall(r'"([a-z]+_[a-z_]+)"', code)) & operations
    seen = {re.sub(r"(?<!^)(?=[A-Z])", "_", a.partition(":")[2]).lower() for a in asked}
    assert len(written) > 20
    assert written <= seen


@pytest.fixture(scope="module")
def moto(moto):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", moto)
        yield moto


@pytest.fixture
def as_reader(moto, monkeypatch):
    """Become a user who may do what some statements allow."""

    def become(*statements):
        iam = boto3.client("iam", REGION, endpoint_url=moto)
        # on a busy machine it was seen to be there already; why is not known
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_user(UserName="reader")
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(
            UserName="reader", PolicyName="assess", PolicyDocument=document
        )
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        requests.post(f"{moto}/moto-api/reset-auth", data="0", timeout=10)

    yield become
    requests.post(f"{moto}/moto-api/reset-auth", data="inf", timeout=10)
    requests.post(f"{moto}/moto-api/reset", timeout=10)


def fill(url: str) -> None:
    def client(name):
        return boto3.client(name, REGION, endpoint_url=url)

    image = client("ec2").describe_images()["Images"][0]["ImageId"]
    client("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1)
    client("ecr").create_repository(repositoryName="shop/web")
    client("ecs").create_cluster(clusterName="shop")
    client("autoscaling").create_launch_configuration(
        LaunchConfigurationName="c", ImageId=image, InstanceType="t3.nano"
    )
    client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="shop",
        LaunchConfigurationName="c",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=[f"{REGION}a"],
        Tags=[{"Key": "service", "Value": "shop", "PropagateAtLaunch": False}],
    )


@pytest.mark.parametrize("lost", ["", "ecr:DescribeImages", "ec2:DescribeInstances"])
def test_a_user_with_the_policy_is_denied_nothing_and_without_an_action_just_that(
    moto, as_reader, lost
):
    fill(moto)
    (statement,) = json.loads(permissions("aws"))["Statement"]
    statement["Action"].remove(lost) if lost else None
    as_reader(statement)
    options = {"endpoint_url": moto, "regions": [REGION]}
    config = Config(
        tuple(SourceConfig(kind, options) for kind in AWS[:3]), {}, Path(), "test"
    )
    coverage = collect(config)["coverage"].set_index("call")
    denied = coverage[coverage["status"] == "denied"]
    asked = denied[denied["requests"] > 0]  # the others need its list
    assert len(asked) == bool(lost)
    assert all(lost in hint for hint in denied["hint"])


def test_the_policy_of_s3_lets_read_and_write_snapshots(
    moto, as_reader, tmp_path, quarter
):
    boto3.client("s3", REGION, endpoint_url=moto).create_bucket(
        Bucket="fleet", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    document = json.loads(permissions("s3").replace("BUCKET", "fleet"))
    as_reader(*document["Statement"])
    s3.push(quarter, "s3://fleet/2026Q3")
    assert (s3.fetch("s3://fleet/2026Q3") / s3.MANIFEST).is_file()


def test_a_user_who_may_not_write_is_told_what_to_allow(moto, as_reader, quarter):
    document = json.loads(permissions("s3").replace("BUCKET", "fleet"))
    boto3.client("s3", REGION, endpoint_url=moto).create_bucket(
        Bucket="fleet", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    as_reader(document["Statement"][0])
    with pytest.raises(s3.AssessError, match="cannot be written: AccessDenied") as caught:
        s3.push(quarter, "s3://fleet/other")
    assert "s3:PutObject" in caught.value.hint


@pytest.fixture
def quarter(tmp_path):
    made = tmp_path / "2026Q3"
    made.mkdir()
    (made / "hosts.csv").write_text("host_id\nh1\n")
    (made / s3.MANIFEST).write_text(
        f"snapshot_at = {datetime(2026, 9, 30, tzinfo=UTC)}\n"
    )
    return made


@pytest.mark.parametrize(
    ("name", "excerpt"),
    [
        ("aws", '"ec2:DescribeInstances"'),
        ("ecs", '"ec2:DescribeInstances"'),
        ("s3", '"s3:GetObject"'),
        ("kubernetes", "kind: ClusterRole"),
        ("nomad", "read-job"),
        ("docker", "proxy_pass http://unix:"),
    ],
)
def test_the_command_prints_the_policy_alone(name, excerpt):
    done = CliRunner().invoke(cli, ["sources", name, "--policy"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert excerpt in done.stdout
    if name in ("aws", "s3"):
        assert json.loads(done.stdout)["Version"] == "2012-10-17"
    elif name == "kubernetes":
        assert len(list(yaml.safe_load_all(done.stdout))) == 6


@pytest.mark.parametrize("name", ["marathon", "nowhere", None])
def test_without_a_policy_the_command_says_for_what_there_is_one(name):
    done = CliRunner().invoke(cli, ["sources", *filter(None, [name]), "--policy"])
    assert done.exit_code in (1, 2)
    assert "aws, docker, kubernetes, nomad, s3" in done.stderr
