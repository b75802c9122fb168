"""AWS that refuses: a call that could not be made has the coverage row of the one it waits for."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Semaphore

import pytest
from aws_server import REGION, Answers

import assess.sources
from assess.sources.aws import LivePlace
from assess.sources.aws.place import action_of
from assess.sources.deadline import Deadline
from assess.sources.ec2 import Ec2Source
from assess.sources.ecr import EcrSource
from assess.sources.ecs import EcsSource
from assess.sources.ssm import SsmSource

POLICY = Path(assess.sources.__file__).parent / "permissions/aws.json"
ACTIONS = json.loads(POLICY.read_text(encoding="utf-8"))["Statement"][0]["Action"]
REGIONS = "ec2:DescribeRegions"  # asked before there is a place
PREFIXES = {
    Ec2Source: ("ec2", "autoscaling", "elasticloadbalancing"),
    EcsSource: ("ecs",),
    EcrSource: ("ecr",),
    SsmSource: ("ssm",),
}


def read(source, **refused):
    login = Answers(always=refused)
    place = LivePlace(f"shop/{REGION}", Deadline(20), login, REGION)
    place.forms = source.forms
    source._read(place, Semaphore())
    return {row["call"]: row for row in place.batch.coverage}


@pytest.mark.parametrize("kind", PREFIXES)
def test_every_action_of_the_policy_has_a_row_where_all_are_refused(kind):
    operations = [action.partition(":")[2] for action in ACTIONS]
    rows = read(kind(), **dict.fromkeys(operations, "UnauthorizedOperation"))
    own = ("sts", *PREFIXES[kind])
    wanted = {a for a in ACTIONS if a.partition(":")[0] in own} - {REGIONS}
    calls = [call.replace("-", "_").split() for call in rows]
    assert {action_of(*call) for call in calls} == wanted
    assert {row["status"] for row in rows.values()} == {"denied"}


def test_a_call_without_its_list_names_what_to_allow():
    rows = read(Ec2Source(), DescribeInstances="UnauthorizedOperation")
    images = rows["ec2 describe-images"]
    assert "ec2:DescribeInstances" in images["hint"]
    assert images["requests"] == 0


def test_an_empty_list_asks_for_nothing_more():
    rows = read(Ec2Source())
    assert rows["ec2 describe-instances"]["status"] == "empty"
    assert "ec2 describe-images" not in rows
