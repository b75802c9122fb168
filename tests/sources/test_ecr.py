"""The ecr source: recorded payloads, moto's server, and written answers where moto has none."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from aws_server import ACCOUNT, REGION
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.ecr import Answers, EcrSource, to_images, to_indexes
from assess.sources.joining.merge import to_tables

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
        "checkout-1.4",
        "checkout-1.4-amd64",
        "checkout-1.4-arm64",
        "checkout-1.4-attestation",
        "checkout-1.4-signature",
        "checkout-1.3",
        "checkout-1.3-notation",
        "checkout-lost",
        "checkout-0.9",
        "orders-2",
        "orders-1",
        "orders-x",
        "legacy-7",
    )
}


@pytest.fixture
def dumps(tmp_path) -> Path:
    found = Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))
    for file in found.iterdir():
        os.utime(file, (SEEN.timestamp(),) * 2)
    return found


def collect(dumps: Path, **options) -> Batch:
    return EcrSource().collect(
        {"path": dumps.name, **options}, dumps.parent, Deadline(20)
    )


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
    assert images.loc["checkout-1.4", "last_pulled_at"] == pd.Timestamp(
        "2026-09-30T02:10:05.123Z"
    )
    assert images.loc["checkout-1.3", "pushed_at"] == pd.Timestamp("2026-06-02T06:30Z")
    assert pd.isna(images.loc["checkout-lost", "last_pulled_at"])  # nobody ever pulled it
    assert pd.isna(images.loc["orders-x", "pushed_at"])  # 1970 is no time of a push
    schemas = told(images, "schema")
    assert (schemas["orders-1"], schemas["orders-2"], schemas["checkout-1.4"]) == (
        "1",
        "2",
        "oci",
    )
    assert [name for name, is_one in told(images, "is_index").items() if is_one] == [
        "checkout-1.4"
    ]


def test_children_of_an_index_are_no_garbage(dumps):
    images = table(collect(dumps))
    dangling = [name for name, is_it in told(images, "dangling").items() if is_it]
    assert dangling == ["checkout-lost", "orders-x"]
    assert told(images, "arch") == {
        "checkout-1.4-amd64": "amd64",
        "checkout-1.4-arm64": "arm64",
    }


def test_of_an_index_its_notes_and_its_worst_image(dumps):
    row = table(collect(dumps)).loc["checkout-1.4"]
    assert row["base_name"] == "docker.io/library/node:22-bookworm-slim"
    assert row["base_digest"] == digest("node")
    assert pd.isna(row["created_at"])  # 1980: a build that can be repeated
    assert row[
        [f"vuln_{s}_n" for s in ("critical", "high", "medium", "low")]
    ].tolist() == [
        1,
        2,
        7,
        4,
    ]


def test_findings_of_scans(dumps):
    images = table(collect(dumps))
    assert told(images, "vuln_critical_n") == {
        "checkout-1.4-amd64": 0,
        "checkout-1.4-arm64": 1,
        "checkout-1.4": 1,
        "checkout-1.3": 0,
        "checkout-lost": 0,
        "orders-2": 0,
        "legacy-7": 12,
    }
    assert images.loc["orders-2", "vuln_high_n"] == 3  # of another call
    assert pd.isna(images.loc["orders-1", "vuln_high_n"])  # never scanned


def test_signatures(dumps):
    signed = told(table(collect(dumps)), "signed")
    assert {name for name, is_signed in signed.items() if is_signed} == {
        "checkout-1.4",
        "checkout-1.4-amd64",
        "checkout-1.4-arm64",
        "checkout-1.4-attestation",
        "checkout-1.3",
    }
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
    assert policies == {
        "shop/checkout": {True},
        "shop/orders": {False},
        "shop/legacy": {True},
    }
    expires = told(images, "would_expire")
    # untagged for more than 7 days, or anything for more than 90; 1.4 holds on to its children
    assert [name for name, is_it in expires.items() if is_it] == [
        "checkout-1.3",
        "checkout-1.3-notation",
        "checkout-lost",
    ]
    # it is in the archive, which no rule is about
    assert expires["checkout-0.9"] is False
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
        "checkout-1.4": False,
        "checkout-1.4-signature": False,
        "checkout-1.3": False,
        "checkout-1.3-notation": False,
        "checkout-0.9": False,
        "orders-2": False,
        "orders-1": False,
        "orders-x": True,
        "legacy-7": False,
    }
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
    (dumps / "describe-images-shop-orders.json").write_text(
        '{"imageDetails": [{"imageDigest"'
    )
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


def test_images_of_a_repository_that_is_in_no_list_are_told(dumps):
    file = dumps / "describe-repositories.json"
    answer = json.loads(file.read_text())
    answer["repositories"] = answer["repositories"][1:]
    file.write_text(json.dumps(answer))
    row = coverage(collect(dumps))["describe-repositories"]
    assert row["status"] == "partial"
    assert "repositories that are in no list" in row["hint"]


def test_a_name_in_two_regions_are_two_repositories(dumps):
    other = Path(shutil.copytree(dumps, dumps.parent / f"{ACCOUNT}-us-east-1"))
    for file in other.iterdir():
        file.write_text(file.read_text().replace(REGION, "us-east-1"))
    batch = EcrSource().collect({"path": [HERE, other.name]}, dumps.parent, Deadline(20))
    keys = {(row["registry"], row["digest"]) for row in batch.rows["images"]}
    assert len(keys) == 26


def test_an_index_with_a_circle_or_without_a_list():
    def manifest(text):
        return {
            "repositoryName": "r",
            "imageId": {"imageDigest": "d"},
            "imageManifest": text,
        }

    for text in (None, "", "no json", "[]", "{}", '{"manifests": 3}', "[" * 100_000):
        assert to_indexes([manifest(text)]) == {}
    own = manifest(json.dumps({"manifests": [{"digest": "d"}, {"digest": 7}, 1]}))
    (index,) = to_indexes([own]).values()
    assert list(index.children) == ["d"]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        ["r", "d", INDEX, OCI, "1628-01-01T00:00:00Z", "a\0", "ACTIVE", "COMPLETE"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["findingSeverityCounts", "HIGH", "status", "imageDigest", "filter"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)
ENTITY = st.dictionaries(
    st.sampled_from(
        [
            "repositoryUri",
            "imageTagMutability",
            "imageTagMutabilityExclusionFilters",
            "imageTags",
            "imageDigest",
            "imagePushedAt",
            "imageManifestMediaType",
            "artifactMediaType",
            "imageSizeInBytes",
            "imageScanStatus",
            "imageScanFindingsSummary",
            "lastRecordedPullTime",
            "imageStatus",
            "subjectManifestDigest",
            "lifecyclePolicyText",
            "imageId",
            "imageManifest",
            "imageScanFindings",
        ]
    ),
    JUNK,
    max_size=6,
)


@given(st.tuples(*[st.lists(ENTITY, max_size=3)] * 5))
@settings(max_examples=100)
def test_no_payload_crashes(parts):
    named = [
        [
            {"repositoryName": "r", "repositoryUri": "h/r", "imageDigest": f"d{n}"} | e
            for n, e in enumerate(part)
        ]
        for part in parts
    ]
    to_images(Answers(*named, seen_at=SEEN))
