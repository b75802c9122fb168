"""The ecr source: recorded payloads, moto's server, and written answers where moto has none."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pandas as pd
import pytest
import requests
from aws_server import ACCOUNT, CREDENTIALS, REGION, Script, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.collect.aws.ecr import PULLS, EcrSource
from assess.collect.aws.ecr_rows import Payloads, to_images, to_indexes
from assess.collect.base import Batch, Deadline
from assess.collect.merge import to_tables
from assess.collect.registry import homes

FIXTURES = Path(__file__).parents[1] / "fixtures/ecr"
HERE = f"{ACCOUNT}-{REGION}"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
SEEN = datetime(2026, 9, 30, 6, tzinfo=UTC)
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


NAMES = {
    digest(name): name
    for name in (
        "checkout-1.4", "checkout-1.4-amd64", "checkout-1.4-arm64", "checkout-1.4-attestation",
        "checkout-1.4-signature", "checkout-1.3", "checkout-1.3-notation", "checkout-lost",
        "checkout-0.9", "orders-2", "orders-1", "orders-x", "legacy-7",
    )
}  # fmt: skip


@pytest.fixture
def dumps(tmp_path) -> Path:
    found = Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))
    for file in found.iterdir():
        os.utime(file, (SEEN.timestamp(),) * 2)
    return found


def collect(dumps: Path, **options) -> Batch:
    return EcrSource().collect({"path": dumps.name, **options}, dumps.parent, Deadline(20))


def table(batch: Batch) -> pd.DataFrame:
    typed, problems = frames.conform("images", pd.DataFrame(batch.rows["images"]))
    assert problems.empty, problems
    return typed.assign(name=typed["digest"].map(NAMES)).set_index("name")


def told(images: pd.DataFrame, column: str) -> dict[str, object]:
    return images[column].dropna().to_dict()


def coverage(batch: Batch) -> dict[str, dict]:
    return {row["call"].removeprefix("ecr "): row for row in batch.coverage}


# -- recorded ------------------------------------------------------------------------------------


def test_it_is_a_source(dumps):
    assert homes()["ecr"].load() is EcrSource
    tables, notes = to_tables([("ecr", collect(dumps))], [])
    assert {name: len(found) for name, found in tables.items()} == {"images": 13}
    assert notes == []


def test_images(dumps):
    images = table(collect(dumps))
    assert list(images.index) == [*dict.fromkeys(images.index)]
    assert set(images.index) == set(NAMES.values())
    assert set(images["registry"]) == {REGISTRY}
    assert set(images["location"]) == {"registry"}
    assert set(images["host_id"]) == {""}
    assert images.loc["checkout-1.4", "tags"] == "1.4;release"
    assert images.loc["checkout-1.4-amd64", "size_bytes"] == 83520228
    assert images.loc["checkout-1.4", "last_pulled_at"] == pd.Timestamp("2026-09-30T02:10:05.123Z")
    assert images.loc["checkout-1.3", "pushed_at"] == pd.Timestamp("2026-06-02T06:30Z")
    assert pd.isna(images.loc["checkout-lost", "last_pulled_at"])  # nobody ever pulled it
    assert pd.isna(images.loc["orders-x", "pushed_at"])  # 1970 is no time of a push
    schemas = told(images, "schema")
    assert (schemas["orders-1"], schemas["orders-2"], schemas["checkout-1.4"]) == ("1", "2", "oci")
    assert [name for name, is_one in told(images, "is_index").items() if is_one] == ["checkout-1.4"]


def test_children_of_an_index_are_no_garbage(dumps):
    images = table(collect(dumps))
    dangling = [name for name, is_it in told(images, "dangling").items() if is_it]
    assert dangling == ["checkout-lost", "orders-x"]
    assert told(images, "arch") == {"checkout-1.4-amd64": "amd64", "checkout-1.4-arm64": "arm64"}


def test_of_an_index_its_notes_and_its_worst_image(dumps):
    row = table(collect(dumps)).loc["checkout-1.4"]
    assert row["base_name"] == "docker.io/library/node:22-bookworm-slim"
    assert row["base_digest"] == digest("node")
    assert pd.isna(row["created_at"])  # 1980: a build that can be repeated
    assert row[[f"vuln_{s}_n" for s in ("critical", "high", "medium", "low")]].tolist() == [
        1, 2, 7, 4,
    ]  # fmt: skip


def test_findings_of_scans(dumps):
    images = table(collect(dumps))
    assert told(images, "vuln_critical_n") == {
        "checkout-1.4-amd64": 0, "checkout-1.4-arm64": 1, "checkout-1.4": 1, "checkout-1.3": 0,
        "checkout-lost": 0, "orders-2": 0, "legacy-7": 12,
    }  # fmt: skip
    assert images.loc["orders-2", "vuln_high_n"] == 3  # of another call
    assert pd.isna(images.loc["orders-1", "vuln_high_n"])  # never scanned


def test_signatures(dumps):
    signed = told(table(collect(dumps)), "signed")
    assert {name for name, is_signed in signed.items() if is_signed} == {
        "checkout-1.4", "checkout-1.4-amd64", "checkout-1.4-arm64", "checkout-1.4-attestation",
        "checkout-1.3",
    }  # fmt: skip
    assert "checkout-1.4-signature" not in signed
    assert signed["orders-2"] is False


def test_tags_that_cannot_be_moved(dumps):
    immutable = told(table(collect(dumps)), "immutable_tags")
    assert immutable["checkout-1.4"] is True
    assert immutable["orders-1"] is True
    assert immutable["orders-2"] is False  # latest* is excepted
    assert immutable["legacy-7"] is False


def test_what_the_policies_would_expire(dumps):
    batch = collect(dumps)
    images = table(batch)
    policies = images.groupby("repository")["lifecycle_policy"].agg(set).to_dict()
    assert policies == {"shop/checkout": {True}, "shop/orders": {False}, "shop/legacy": {True}}
    expires = told(images, "would_expire")
    # untagged for more than 7 days, or anything for more than 90; 1.4 holds on to its children
    assert [name for name, is_it in expires.items() if is_it] == [
        "checkout-1.3", "checkout-1.3-notation", "checkout-lost",
    ]  # fmt: skip
    assert expires["checkout-0.9"] is False  # it is in the archive, which no rule is about
    assert expires["orders-1"] is False  # there is no policy
    assert "legacy-7" not in expires  # nobody knows what its policy means
    row = coverage(batch)["get-lifecycle-policy"]
    assert (row["status"], row["unmapped_n"], row["rows"]) == ("partial", 1, 4)


def test_the_moment_of_the_dump_counts_not_that_of_reading(dumps):
    for file in dumps.iterdir():
        moment = datetime(2026, 9, 25, tzinfo=UTC).timestamp()
        os.utime(file, (moment, moment))
    expires = told(table(collect(dumps)), "would_expire")
    assert expires["checkout-1.4-amd64"] is False
    for file in dumps.iterdir():
        moment = datetime(2026, 6, 5, tzinfo=UTC).timestamp()
        os.utime(file, (moment, moment))
    assert told(table(collect(dumps)), "would_expire")["checkout-1.3"] is False


@pytest.mark.parametrize("how", ["option", "missing"])
def test_indexes_that_nobody_read_leave_open_what_has_no_tag(dumps, how):
    options = {"manifests": False} if how == "option" else {}
    if how == "missing":
        (dumps / "batch-get-image-shop-checkout.json").unlink()
    batch = collect(dumps, **options)
    images = table(batch)
    assert told(images, "dangling") == {
        "checkout-1.4": False, "checkout-1.4-signature": False, "checkout-1.3": False,
        "checkout-1.3-notation": False, "checkout-0.9": False,
        "orders-2": False, "orders-1": False, "orders-x": True, "legacy-7": False,
    }  # fmt: skip
    expires = told(images, "would_expire")
    assert "checkout-lost" not in expires and "checkout-1.4-amd64" not in expires
    assert expires["checkout-1.3"] is True
    if how == "missing":
        assert coverage(batch)["batch-get-image"]["status"] == "not_configured"
    else:
        assert "batch-get-image" not in coverage(batch)


def test_policies_that_nobody_could_read_are_unknown_and_not_none(dumps):
    for file in dumps.glob("get-lifecycle-policy-*"):
        file.unlink()
    batch = collect(dumps)
    images = table(batch)
    assert images["lifecycle_policy"].isna().all()
    assert images["would_expire"].isna().all()
    assert coverage(batch)["get-lifecycle-policy"]["status"] == "not_configured"


def test_half_the_images_tell_nothing_of_what_would_expire(dumps):
    (dumps / "describe-images-shop-orders.json").write_text('{"imageDetails": [{"imageDigest"')
    images = table(collect(dumps))
    assert len(images) == 10
    assert not told(images, "signed").get("legacy-7", False)
    assert set(told(images, "would_expire").values()) <= {False}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "parse_error"),
        (b"\0", "parse_error"),
        (b"{}", "parse_error"),
        (b'{"repositories": "none"}', "empty"),
        (b'{"repositories": []}', "empty"),
    ],
)
def test_without_repositories_there_is_nothing(dumps, content, status):
    (dumps / "describe-repositories.json").write_bytes(content)
    batch = collect(dumps)
    assert coverage(batch)["describe-repositories"]["status"] == status
    assert batch.rows["images"] == []


def test_a_name_in_two_regions_are_two_repositories(dumps):
    other = Path(shutil.copytree(dumps, dumps.parent / f"{ACCOUNT}-us-east-1"))
    for file in other.iterdir():
        file.write_text(file.read_text().replace(REGION, "us-east-1"))
    batch = EcrSource().collect({"path": [HERE, other.name]}, dumps.parent, Deadline(20))
    keys = {(row["registry"], row["digest"]) for row in batch.rows["images"]}
    assert len(keys) == 26


def test_an_index_with_a_circle_or_without_a_list():
    def manifest(text):
        return {"repositoryName": "r", "imageId": {"imageDigest": "d"}, "imageManifest": text}

    for text in (None, "", "no json", "[]", "{}", '{"manifests": 3}', "[" * 100_000):
        assert to_indexes([manifest(text)]) == {}
    own = manifest(json.dumps({"manifests": [{"digest": "d"}, {"digest": 7}, 1]}))
    (index,) = to_indexes([own]).values()
    assert list(index.children) == ["d"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["r", "d", INDEX, OCI, "1628-01-01T00:00:00Z", "a\0", "ACTIVE", "COMPLETE"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["findingSeverityCounts", "HIGH", "status", "imageDigest", "filter"]), inner
    ),
    max_leaves=8,
)  # fmt: skip
ENTITY = st.dictionaries(
    st.sampled_from(
        ["repositoryUri", "imageTagMutability", "imageTagMutabilityExclusionFilters", "imageTags",
         "imageDigest", "imagePushedAt", "imageManifestMediaType", "artifactMediaType",
         "imageSizeInBytes", "imageScanStatus", "imageScanFindingsSummary", "lastRecordedPullTime",
         "imageStatus", "subjectManifestDigest", "lifecyclePolicyText", "imageId", "imageManifest",
         "imageScanFindings"]),
    JUNK,
)  # fmt: skip


@given(st.tuples(*[st.lists(ENTITY, max_size=3)] * 5))
@settings(max_examples=100, deadline=None)
def test_no_payload_crashes(parts):
    named = [
        [{"repositoryName": "r", "repositoryUri": "h/r", "imageDigest": f"d{n}"} | e
         for n, e in enumerate(part)]
        for part in parts
    ]  # fmt: skip
    to_images(Payloads(*named, seen_at=SEEN))


# -- live ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto():
    with pytest.MonkeyPatch.context() as patch, serving() as url:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield url


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
        repositoryName=repository, imageManifest=json.dumps(manifest),
        imageManifestMediaType=manifest["mediaType"], **tags,
    )  # fmt: skip
    return answer["image"]["imageId"]["imageDigest"]


def manifest_of(name: str) -> dict:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 7}
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1000}
    return {
        "schemaVersion": 2, "mediaType": OCI, "config": config | {"digest": digest(name)},
        "layers": [layer | {"digest": digest(f"layer of {name}")}],
    }  # fmt: skip


def test_live(moto, registry):
    for name in ("shop/cart", "shop/idle"):
        registry.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    parts = {arch: push(registry, "shop/cart", manifest_of(arch)) for arch in ("amd64", "arm64")}
    lost = push(registry, "shop/cart", manifest_of("lost"))
    entries = [
        {"mediaType": OCI, "digest": d, "size": 9, "platform": {"architecture": a, "os": "linux"}}
        for a, d in parts.items()
    ]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    whole = push(registry, "shop/cart", index, "1.4")
    rules = [{
        "rulePriority": 1, "action": {"type": "expire"},
        "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed",
                      "countUnit": "days", "countNumber": 1},
    }]  # fmt: skip
    text = json.dumps({"rules": rules})
    registry.put_lifecycle_policy(repositoryName="shop/cart", lifecyclePolicyText=text)
    registry.start_image_scan(repositoryName="shop/cart", imageId={"imageDigest": lost})
    batch = live(moto)
    rows = {row["digest"]: row for row in batch.rows["images"]}
    assert {d: row["dangling"] for d, row in rows.items()} == {
        parts["amd64"]: False, parts["arm64"]: False, lost: True, whole: False,
    }  # fmt: skip
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
    batch = EcrSource().probe({"endpoint_url": moto, "regions": REGION}, Path(), Deadline(60))
    assert not any(batch.rows.values())
    assert coverage(batch)["describe-repositories"]["status"] == "ok"


def test_a_probe_pulls_nothing():
    script = Script("ecr")
    index = details("index", imageManifestMediaType=INDEX)
    script.give("describe_repositories", {"repositories": [CART]})
    images = index + details("child")
    script.give("describe_images", {"imageDetails": images}, repositoryName="cart", filter=ANY)
    no_policy(script)
    kinds = ["application/vnd.docker.distribution.manifest.list.v2+json", INDEX]
    asked = {"repositoryName": "cart", "acceptedMediaTypes": kinds}
    nobody = {"imageDigest": f"sha256:{64 * '0'}"}
    missing = {"imageId": nobody, "failureCode": "ImageNotFound"}
    script.give(
        "batch_get_image", {"images": [], "failures": [missing]}, imageIds=[nobody], **asked
    )
    row = coverage(script.read(EcrSource(), is_probe=True).batch)["batch-get-image"]
    assert row["status"] == "empty" and "hint" not in row


def test_the_images_of_tasks_are_found_in_the_registry(dumps):
    from assess.collect.aws.ecs import EcsSource
    from assess.inventory import from_frames
    from assess.score.views import nullable

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
    assert EcrSource().check({"manifests": "no"}) == ["manifests is true or false"]
    assert EcrSource().check({"manifests": False, "regions": REGION}) == []


# -- written answers -----------------------------------------------------------------------------

CART = {"repositoryName": "cart", "repositoryUri": f"{REGISTRY}/cart", "registryId": ACCOUNT}
ANY = {"imageStatus": "ANY"}


def details(*names: str, **more) -> list[dict]:
    return [
        {"repositoryName": "cart", "imageDigest": digest(n), "imagePushedAt": SEEN,
         "imageManifestMediaType": OCI,
         "imageScanFindingsSummary": {"findingSeverityCounts": {}}, **more}
        for n in names
    ]  # fmt: skip


def no_policy(script: Script, name: str = "cart") -> None:
    script.refuse("get_lifecycle_policy", "LifecyclePolicyNotFoundException", 400)


def test_all_pages_and_archived_images_too():
    script = Script("ecr")
    other = CART | {"repositoryName": "other", "repositoryUri": f"{REGISTRY}/other"}
    script.give("describe_repositories", {"repositories": [CART], "nextToken": "t"})
    script.give("describe_repositories", {"repositories": [other]}, nextToken="t")
    asked = {"repositoryName": "cart", "filter": ANY}
    script.give("describe_images", {"imageDetails": details("a"), "nextToken": "u"}, **asked)
    script.give("describe_images", {"imageDetails": details("b")}, **asked, nextToken="u")
    script.give("describe_images", {"imageDetails": []}, repositoryName="other", filter=ANY)
    no_policy(script)
    no_policy(script)
    place = script.read(EcrSource())
    rows = coverage(place.batch)
    assert (rows["describe-repositories"]["rows"], rows["describe-images"]["rows"]) == (2, 2)
    assert rows["describe-images"]["requests"] == 3
    assert [row["would_expire"] for row in place.batch.rows["images"]] == [False, False]


def test_half_the_images_and_an_error_leave_open_what_would_expire():
    script = Script("ecr")
    script.give("describe_repositories", {"repositories": [CART]})
    asked = {"repositoryName": "cart", "filter": ANY}
    script.give("describe_images", {"imageDetails": details("a"), "nextToken": "u"}, **asked)
    script.refuse("describe_images", "ThrottlingException", 400, "Rate exceeded")
    rule = {"rulePriority": 1, "action": {"type": "expire"}}
    rule["selection"] = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}
    text = json.dumps({"rules": [rule]})
    answer = {"repositoryName": "cart", "lifecyclePolicyText": text}
    script.give("get_lifecycle_policy", answer, repositoryName="cart")
    place = script.read(EcrSource())
    (row,) = place.batch.rows["images"]
    assert (row["lifecycle_policy"], row["would_expire"], row["signed"]) == (True, None, None)
    told_row = coverage(place.batch)["describe-images"]
    assert (told_row["status"], told_row["error_class"]) == ("partial", "ThrottlingException")


def test_a_hundred_indexes_at_once_and_a_denial_leaves_them_unread():
    script = Script("ecr")
    indexes = details(*(f"i{n:03}" for n in range(101)), imageManifestMediaType=INDEX)
    for n, index in enumerate(indexes):
        index["imageTags"] = [f"v{n}"]
        index["imagePushedAt"] = datetime(2026, 9, 30, 5, 0, 0, 1000 - n, tzinfo=UTC)
    script.give("describe_repositories", {"repositories": [CART]})
    images = [*indexes, *details("child")]
    script.give("describe_images", {"imageDetails": images}, repositoryName="cart", filter=ANY)
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
    open_one[0]["imageScanStatus"], failed[0]["imageScanStatus"] = done, {"status": "FAILED"}
    script.give("describe_repositories", {"repositories": [CART]})
    images = told_one + open_one + failed
    script.give("describe_images", {"imageDetails": images}, repositoryName="cart", filter=ANY)
    no_policy(script)
    scan = {"repositoryName": "cart", "imageId": {"imageDigest": digest("open")}}
    findings = {"findingSeverityCounts": {"CRITICAL": 2, "UNTRIAGED": 5}}
    script.give(
        "describe_image_scan_findings",
        scan | {"imageScanStatus": done, "imageScanFindings": findings}, **scan, maxResults=1,
    )  # fmt: skip
    place = script.read(EcrSource())
    rows = {row["digest"]: row.get("vuln_critical_n") for row in place.batch.rows["images"]}
    assert rows == {digest("told"): 0, digest("open"): 2, digest("failed"): None}


def test_a_denial_is_not_empty():
    script = Script("ecr")
    script.refuse("describe_repositories")
    place = script.read(EcrSource())
    (row,) = place.batch.coverage
    assert (row["status"], row["rows"]) == ("denied", 0)
    assert "ecr:DescribeRepositories" in row["hint"]
