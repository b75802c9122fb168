"""Dumps of ECS that are not what they should be, and what is kept out of the rows."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aws_server import ACCOUNT, REGION
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ecs import CANARY, FIXTURES, HERE, collect, coverage, services

from assess import frames
from assess.sources.base import Batch
from assess.sources.ecs import EcsSource
from assess.sources.ecs.rows import Payloads, redacted_n, to_batch
from assess.sources.ecs.tasks import to_definition
from assess.sources.joining.merge import to_tables


@pytest.fixture(scope="module")
def recorded() -> Batch:
    return collect()


@pytest.fixture
def dumps(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))


def test_the_canary_is_everywhere_in_the_payloads_and_nowhere_in_the_rows(recorded):
    text = "".join(file.read_text() for file in (FIXTURES / HERE).iterdir())
    for place in (
        '"DB_PASSWORD"',
        '"command"',
        '"entryPoint"',
        '"environmentFiles"',
        '"valueFrom"',
        '"repositoryCredentials"',
        '"dockerLabels"',
        '"options"',
        '"healthCheck"',
        '"secretOptions"',
        '"overrides"',
        '"stoppedReason"',
        '"reason"',
        '"api_token"',
        '"message"',
    ):
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
        (
            {
                "logConfiguration": {
                    "logDriver": "splunk",
                    "options": {"splunk-token": CANARY},
                }
            },
            1,
        ),
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
    assert (
        found["describe-services"]["rows"],
        found["describe-services"]["expected"],
    ) == (3, 4)
    assert found["describe-container-instances"]["status"] == "not_configured"
    assert "mailer" in services(batch)  # its tasks tell of it
    hosts = {r["host_id"] for r in batch.rows["workloads"]} - {None}
    assert all(host.startswith("fargate:") for host in hosts)


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
    assert len(batch.rows["services"]) == 5  # one by its definition alone
    assert {w["state"] for w in batch.rows["workloads"]} == {"declared"}


def test_an_answer_is_known_by_its_key_where_its_name_tells_nothing(dumps):
    before = services(collect(dumps.parent))
    for number, file in enumerate(sorted(dumps.glob("describe-task-definition-*"))):
        file.rename(dumps / f"definition-{number}.json")
    assert services(collect(dumps.parent)) == before


def test_several_accounts_side_by_side(dumps):
    other = Path(shutil.copytree(dumps, dumps.parent / "123456789012-us-east-1"))
    for file in other.iterdir():
        text = (
            file.read_text().replace(ACCOUNT, "123456789012").replace(REGION, "us-east-1")
        )
        file.write_text(text.replace("i-0aaa", "i-0bbb"))
    batch = collect(dumps.parent, path=[HERE, other.name])
    assert {(r["account"], r["region"]) for r in batch.rows["hosts"]} == {
        (ACCOUNT, REGION),
        ("123456789012", "us-east-1"),
    }
    assert {r["scope"] for r in batch.coverage} == {HERE, other.name}


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        [
            "arn:aws:ecs:eu-west-1:1:service/c/s",
            "0001-01-01T00:00:00+01:00",
            "1628-02-03T00:00:00Z",
            "service:x",
            "a\0b",
            "1" * 400,
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "key",
                    "value",
                    "image",
                    "environment",
                    "containers",
                    "containerDefinitions",
                    "volumes",
                    "mountPoints",
                    "sourceVolume",
                    "containerPath",
                    "host",
                    "sourcePath",
                    "loadBalancers",
                    "targetGroupArn",
                    "deployments",
                    "id",
                    "createdAt",
                    "tags",
                    "healthCheck",
                    "command",
                    "portMappings",
                    "containerPort",
                    "dependsOn",
                    "links",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=30,
)
ENTITY = st.dictionaries(
    st.sampled_from(
        [
            "serviceArn",
            "serviceName",
            "clusterArn",
            "taskArn",
            "taskDefinitionArn",
            "group",
            "tags",
            "taskDefinition",
            "containers",
            "lastStatus",
            "stoppedAt",
            "createdAt",
            "startedAt",
            "deployments",
            "loadBalancers",
            "family",
            "revision",
            "containerDefinitions",
            "volumes",
            "containerInstanceArn",
            "ec2InstanceId",
            "versionInfo",
            "attributes",
            "registeredResources",
            "overrides",
            "memory",
            "cpu",
            "deploymentConfiguration",
        ]
    ),
    JUNK,
    max_size=8,
)


def junk(parts) -> Batch:
    keys = ("serviceArn", "taskArn", "containerInstanceArn", "taskDefinitionArn")
    named = [
        [{key: f"arn:aws:ecs:r:1:x/{n}", **e} for n, e in enumerate(part)]
        for key, part in zip(keys, parts, strict=True)
    ]
    return to_batch(Payloads(*named, since=datetime(2020, 1, 1, tzinfo=UTC)))


PARTS = st.tuples(*[st.lists(ENTITY, max_size=2)] * 4)


@given(PARTS)
@settings(max_examples=60)
def test_no_payload_crashes(parts):
    assert set(junk(parts).rows) <= set(EcsSource.fills)


@given(PARTS)
@settings(max_examples=8)
def test_whatever_comes_fits_the_frames_or_is_left_out(parts):
    tables, _ = to_tables([("ecs", junk(parts))], [])
    for frame, found in tables.items():
        assert frames.check(frame, found).empty
