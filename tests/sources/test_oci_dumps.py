"""The registry source without a registry: dumps, options, and what nothing may break."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_oci import CANARY, FIXTURES, collect, table

from assess import frames
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.registry import RegistrySource
from assess.sources.registry.rows import (
    INDEX_OCI,
    MANIFEST_2,
    SCHEMA_1,
    Repository,
    is_signed,
    keep_config,
    keep_manifest,
    to_dumped,
    to_images,
    used_refs,
)


def test_dumps(tmp_path):
    batch = collect(FIXTURES, path="dumps")
    images = table(batch).set_index("digest")
    assert {row["status"] for row in batch.coverage} == {"ok"}
    inspected = images[images["repository"] == "shop/web"].iloc[0]
    assert (inspected["registry"], inspected["schema"], inspected["arch"]) == (
        "registry.example.com",
        "oci",
        "amd64",
    )
    assert inspected["size_bytes"] == 3000 and inspected["layers_n"] == 2
    assert str(inspected["created_at"]) == "2026-03-01 10:00:00+00:00"
    # skopeo lists all tags, not the one that was asked for
    assert pd.isna(inspected["tags"])
    nested = images[images["repository"] == "library/redis"]
    assert sorted(nested["arch"]) == ["amd64", "arm64"] and not nested["dangling"].any()
    assert nested["schema"].tolist() == ["oci", "oci"]
    single = images[images["repository"] == "shop/api"].iloc[0]
    assert (single["tags"], single["schema"], single["layers_n"]) == ("2.0", "2", 1)
    assert CANARY not in repr(batch)
    (tmp_path / "x.json").write_text("<html>")
    (row,) = collect(tmp_path, path="x.json").coverage
    assert row["status"] == "parse_error"
    (row,) = RegistrySource().probe({"path": "none.json"}, tmp_path, Deadline(1)).coverage
    assert row["status"] == "unreachable"


def test_an_attestation_in_a_dump_is_no_image(tmp_path):
    index = json.loads((FIXTURES / "dumps" / "redis.json").read_text())
    attestation = json.loads(json.dumps(index[0]))
    attestation["Descriptor"] |= {
        "digest": "sha256:" + "9" * 64,
        "platform": {"architecture": "unknown", "os": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    (tmp_path / "redis.json").write_text(json.dumps([*index, attestation]))
    batch = collect(tmp_path, path="redis.json")
    assert len(batch.rows["images"]) == len(index)
    assert batch.coverage[0]["status"] == "ok"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": "x", "endpoint": "https://x"},
        {"endpoint": "registry.example.com"},
        {"endpoint": "https://x", "repositories": "shop/web"},
        {"endpoint": "https://x", "repositories": ["../etc"]},
        {"endpoint": "https://x", "tags": "some"},
        {"path": 3},
    ],
)
def test_options_are_checked(options):
    assert RegistrySource().check(options)


def test_what_the_fleet_names():
    image_id, digest = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    place = {"registry": "r.example.com", "repository": "a"}
    rows = {
        "images": [
            place | {"tags": "1;2", "digest": digest, "image_id": image_id},
            place | {"tags": "local", "digest": image_id, "image_id": image_id},
            place | {"tags": pd.NA, "digest": "<none>"},
        ],
        "workloads": [
            place | {"tag": "3"},
            {"registry": "docker.io", "repository": "b"},
            {"registry": "r.example.com", "repository": None},
        ],
    }
    assert used_refs(rows, "r.example.com") == {"a": {"1", "2", "3", "local", digest}}


DIGEST = "sha256:" + "a" * 64
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [INDEX_OCI, MANIFEST_2, SCHEMA_1[0], DIGEST, "1628-01-01T00:00:00Z"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "manifests",
                    "layers",
                    "config",
                    "digest",
                    "size",
                    "mediaType",
                    "platform",
                    "created",
                    "history",
                    "schemaVersion",
                    "fsLayers",
                    "annotations",
                    "architecture",
                    "os",
                    "Name",
                    "Digest",
                    "Descriptor",
                    "OCIManifest",
                    "Ref",
                    "LayersData",
                    "v1Compatibility",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(
    JSON,
    JSON,
    st.sampled_from([None, "", INDEX_OCI, MANIFEST_2, SCHEMA_1[0], "text/html"]),
)
def test_nothing_that_a_registry_says_breaks_it(manifest, config, kind):
    found = Repository("r.example.com", "a", ["1"], {"1": DIGEST})
    found.manifests["sha256:" + "a" * 64] = keep_manifest(manifest, kind)
    found.configs["sha256:" + "a" * 64], _ = keep_config(config)
    batch = Batch()
    batch.add("images", *to_images(found), *to_dumped(manifest))
    is_signed(manifest)
    frames.conform("images", pd.DataFrame(batch.rows["images"]))
