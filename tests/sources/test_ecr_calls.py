"""ECR on moto's server, and by answers that are written down."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
import requests
from aws_server import ACCOUNT, REGION, Script
from test_ecr import FIXTURES, HERE, INDEX, OCI, REGISTRY, SEEN, collect, coverage, digest

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.ecr import PULLS, EcrSource
from assess.sources.joining.merge import to_tables


@pytest.fixture
def dumps(tmp_path) -> Path:
    found = Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))
    for file in found.iterdir():
        os.utime(file, (SEEN.timestamp(),) * 2)
    return found


@pytest.fixture
def registry(moto):
    """A client of an empty registry."""
    requests.post(f"{moto}/moto-api/reset", timeout=10)
    return boto3.client("ecr", REGION, endpoint_url=moto)


def live(url: str, **options) -> Batch:
    asked = {"endpoint_url": url, "regions": REGION, **options}
    return EcrSource().collect(asked, Path(), Deadline(60))


def push(client, repository: str, manifest: dict, tag: str | None = None) -> str:
    tags = {"imageTag": tag} if tag else {}
    answer = client.put_image(
        repositoryName=repository,
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=manifest["mediaType"],
        **tags,
    )
    return answer["image"]["imageId"]["imageDigest"]


def manifest_of(name: str) -> dict:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 7}
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1000}
    return {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": config | {"digest": digest(name)},
        "layers": [layer | {"digest": digest(f"layer of {name}")}],
    }


def test_live(moto, registry):
    for name in ("shop/cart", "shop/idle"):
        registry.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    parts = {
        arch: push(registry, "shop/cart", manifest_of(arch))
        for arch in ("amd64", "arm64")
    }
    lost = push(registry, "shop/cart", manifest_of("lost"))
    entries = [
        {
            "mediaType": OCI,
            "digest": d,
            "size": 9,
            "platform": {"architecture": a, "os": "linux"},
        }
        for a, d in parts.items()
    ]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    whole = push(registry, "shop/cart", index, "1.4")
    rules = [
        {
            "rulePriority": 1,
            "action": {"type": "expire"},
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 1,
            },
        }
    ]
    text = json.dumps({"rules": rules})
    registry.put_lifecycle_policy(repositoryName="shop/cart", lifecyclePolicyText=text)
    registry.start_image_scan(repositoryName="shop/cart", imageId={"imageDigest": lost})
    batch = live(moto)
    rows = {row["digest"]: row for row in batch.rows["images"]}
    assert {d: row["dangling"] for d, row in rows.items()} == {
        parts["amd64"]: False,
        parts["arm64"]: False,
        lost: True,
        whole: False,
    }
    assert rows[parts["arm64"]]["arch"] == "arm64"
    assert rows[whole]["is_index"] is True and rows[whole]["tags"] == "1.4"
    assert {row["would_expire"] for row in rows.values()} == {False}  # all are of today
    assert {row["lifecycle_policy"] for row in rows.values()} == {True}
    assert rows[lost]["vuln_high_n"] == 1 and "vuln_high_n" not in rows[parts["amd64"]]
    found = coverage(batch)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert found["get-lifecycle-policy"]["rows"] == 2  # that there is none is a result
    assert found["batch-get-image"]["hint"] == PULLS
    assert "batch-get-image" not in coverage(live(moto, manifests=False))


def test_a_registry_without_repositories_is_empty(moto, registry):
    batch = live(moto)
    assert coverage(batch)["describe-repositories"]["status"] == "empty"
    assert batch.rows["images"] == []


def test_an_index_is_not_pulled_where_nothing_hangs_on_it(moto, registry):
    registry.create_repository(repositoryName="shop/cart")
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    push(registry, "shop/cart", index, "1.4")
    assert "batch-get-image" not in coverage(live(moto))


def test_a_user_without_permission_is_denied_and_not_empty(moto, registry, monkeypatch):
    registry.create_repository(repositoryName="shop/cart")
    push(registry, "shop/cart", manifest_of("a"), "1")
    iam = boto3.client("iam", REGION, endpoint_url=moto)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    actions = ["sts:GetCallerIdentity", "ecr:DescribeRepositories", "ecr:DescribeImages"]
    allowed = {"Effect": "Allow", "Resource": "*", "Action": actions}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="some", PolicyDocument=document)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    requests.post(f"{moto}/moto-api/reset-auth", data="0", timeout=10)
    try:
        batch = live(moto)
    finally:
        requests.post(f"{moto}/moto-api/reset-auth", data="inf", timeout=10)
    found = coverage(batch)
    assert found["describe-images"]["status"] == "ok"
    assert found["get-lifecycle-policy"]["status"] == "denied"
    assert "ecr:GetLifecyclePolicy" in found["get-lifecycle-policy"]["hint"]
    (row,) = batch.rows["images"]
    assert row["lifecycle_policy"] is None and row["would_expire"] is None


def test_a_probe_gives_coverage_and_no_rows(moto, registry):
    registry.create_repository(repositoryName="shop/cart")
    batch = EcrSource().probe(
        {"endpoint_url": moto, "regions": REGION}, Path(), Deadline(60)
    )
    assert not any(batch.rows.values())
    assert coverage(batch)["describe-repositories"]["status"] == "ok"


def test_a_probe_pulls_nothing():
    script = Script("ecr")
    index = details("index", imageManifestMediaType=INDEX)
    script.give("describe_repositories", {"repositories": [CART]})
    images = index + details("child")
    script.give(
        "describe_images", {"imageDetails": images}, repositoryName="cart", filter=ANY
    )
    no_policy(script)
    kinds = ["application/vnd.docker.distribution.manifest.list.v2+json", INDEX]
    asked = {"repositoryName": "cart", "acceptedMediaTypes": kinds}
    nobody = {"imageDigest": f"sha256:{64 * '0'}"}
    missing = {"imageId": nobody, "failureCode": "ImageNotFound"}
    script.give(
        "batch_get_image",
        {"images": [], "failures": [missing]},
        imageIds=[nobody],
        **asked,
    )
    row = coverage(script.read(EcrSource(), is_probe=True).batch)["batch-get-image"]
    assert row["status"] == "empty" and "hint" not in row


def test_the_images_of_tasks_are_found_in_the_registry(dumps):
    from assess.inventory import from_frames
    from assess.score.evidence.tables import nullable
    from assess.sources.ecs import EcsSource

    tasks = EcsSource().collect({"path": HERE}, FIXTURES.parent / "ecs", Deadline(20))
    tables, _ = to_tables([("ecs", tasks), ("ecr", collect(dumps))], [])
    inventory = from_frames(tables, snapshot_at=SEEN.isoformat())
    images = nullable(inventory["images"], "images")
    used = inventory["workloads"].rename(columns={"image_digest": "digest"})
    key = ["registry", "repository", "digest"]
    found = used.merge(images, on=key, suffixes=("", "_of_image"))
    assert set(found["service_id"]) == {"checkout"}
    assert set(found["vuln_critical_n"]) == {1}
    assert set(found["would_expire"]) == {False}


def test_options():
    assert EcrSource().check({"manifests": "no"}) == ["manifests is not true or false"]
    assert EcrSource().check({"manifests": False, "regions": REGION}) == []


# -- written answers -----------------------------------------------------------------------------

CART = {
    "repositoryName": "cart",
    "repositoryUri": f"{REGISTRY}/cart",
    "registryId": ACCOUNT,
}
ANY = {"imageStatus": "ANY"}


def details(*names: str, **more) -> list[dict]:
    return [
        {
            "repositoryName": "cart",
            "imageDigest": digest(n),
            "imagePushedAt": SEEN,
            "imageManifestMediaType": OCI,
            "imageScanFindingsSummary": {"findingSeverityCounts": {}},
            **more,
        }
        for n in names
    ]


def no_policy(script: Script, name: str = "cart") -> None:
    script.refuse("get_lifecycle_policy", "LifecyclePolicyNotFoundException", 400)


def test_all_pages_and_archived_images_too():
    script = Script("ecr")
    other = CART | {"repositoryName": "other", "repositoryUri": f"{REGISTRY}/other"}
    script.give("describe_repositories", {"repositories": [CART], "nextToken": "t"})
    script.give("describe_repositories", {"repositories": [other]}, nextToken="t")
    asked = {"repositoryName": "cart", "filter": ANY}
    script.give(
        "describe_images", {"imageDetails": details("a"), "nextToken": "u"}, **asked
    )
    script.give("describe_images", {"imageDetails": details("b")}, **asked, nextToken="u")
    script.give(
        "describe_images", {"imageDetails": []}, repositoryName="other", filter=ANY
    )
    no_policy(script)
    no_policy(script)
    place = script.read(EcrSource())
    rows = coverage(place.batch)
    assert (rows["describe-repositories"]["rows"], rows["describe-images"]["rows"]) == (
        2,
        2,
    )
    assert rows["describe-images"]["requests"] == 3
    assert [row["would_expire"] for row in place.batch.rows["images"]] == [False, False]


def test_half_the_images_and_an_error_leave_open_what_would_expire():
    script = Script("ecr")
    script.give("describe_repositories", {"repositories": [CART]})
    asked = {"repositoryName": "cart", "filter": ANY}
    script.give(
        "describe_images", {"imageDetails": details("a"), "nextToken": "u"}, **asked
    )
    script.refuse("describe_images", "ThrottlingException", 400, "Rate exceeded")
    rule = {"rulePriority": 1, "action": {"type": "expire"}}
    rule["selection"] = {
        "tagStatus": "any",
        "countType": "imageCountMoreThan",
        "countNumber": 1,
    }
    text = json.dumps({"rules": [rule]})
    answer = {"repositoryName": "cart", "lifecyclePolicyText": text}
    script.give("get_lifecycle_policy", answer, repositoryName="cart")
    place = script.read(EcrSource())
    (row,) = place.batch.rows["images"]
    assert (row["lifecycle_policy"], row["would_expire"], row["signed"]) == (
        True,
        None,
        None,
    )
    told_row = coverage(place.batch)["describe-images"]
    assert (told_row["status"], told_row["error_class"]) == (
        "partial",
        "ThrottlingException",
    )


def test_a_hundred_indexes_at_once_and_a_denial_leaves_them_unread():
    script = Script("ecr")
    indexes = details(*(f"i{n:03}" for n in range(101)), imageManifestMediaType=INDEX)
    for n, index in enumerate(indexes):
        index["imageTags"] = [f"v{n}"]
        index["imagePushedAt"] = datetime(2026, 9, 30, 5, 0, 0, 1000 - n, tzinfo=UTC)
    script.give("describe_repositories", {"repositories": [CART]})
    images = [*indexes, *details("child")]
    script.give(
        "describe_images", {"imageDetails": images}, repositoryName="cart", filter=ANY
    )
    no_policy(script)
    ids = [{"imageDigest": index["imageDigest"]} for index in indexes]
    kinds = ["application/vnd.docker.distribution.manifest.list.v2+json", INDEX]
    asked = {"repositoryName": "cart", "acceptedMediaTypes": kinds}
    script.give("batch_get_image", {"images": []}, imageIds=ids[:100], **asked)
    script.refuse("batch_get_image")
    place = script.read(EcrSource())
    assert coverage(place.batch)["batch-get-image"]["status"] == "partial"
    (child,) = (r for r in place.batch.rows["images"] if r["digest"] == digest("child"))
    assert child["dangling"] is None


def test_only_scans_that_the_description_leaves_out_are_asked_for():
    script = Script("ecr")
    done = {"status": "ACTIVE"}
    told_one, open_one, failed = details("told"), details("open"), details("failed")
    for image in (*open_one, *failed):
        del image["imageScanFindingsSummary"]
    open_one[0]["imageScanStatus"], failed[0]["imageScanStatus"] = (
        done,
        {"status": "FAILED"},
    )
    script.give("describe_repositories", {"repositories": [CART]})
    images = told_one + open_one + failed
    script.give(
        "describe_images", {"imageDetails": images}, repositoryName="cart", filter=ANY
    )
    no_policy(script)
    scan = {"repositoryName": "cart", "imageId": {"imageDigest": digest("open")}}
    findings = {"findingSeverityCounts": {"CRITICAL": 2, "UNTRIAGED": 5}}
    script.give(
        "describe_image_scan_findings",
        scan | {"imageScanStatus": done, "imageScanFindings": findings},
        **scan,
        maxResults=1,
    )
    place = script.read(EcrSource())
    rows = {
        row["digest"]: row.get("vuln_critical_n") for row in place.batch.rows["images"]
    }
    assert rows == {digest("told"): 0, digest("open"): 2, digest("failed"): None}


def test_a_denial_is_not_empty():
    script = Script("ecr")
    script.refuse("describe_repositories")
    place = script.read(EcrSource())
    (row,) = place.batch.coverage
    assert (row["status"], row["rows"]) == ("denied", 0)
    assert "ecr:DescribeRepositories" in row["hint"]
