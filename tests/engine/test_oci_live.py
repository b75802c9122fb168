"""The registry source on a real registry, which holds images of every kind."""

from __future__ import annotations

from pathlib import Path

import docker
import pandas as pd
import pytest
import registries

from assess import frames
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource
from assess.sources.registry import RegistrySource
from assess.sources.registry.rows import ATTESTATION

CANARY = "hunter2"
REPOSITORIES = ["shop/web", "shop/old", "shop/epoch"]


def collect(base=Path("/"), rows=None, seconds=60.0, **options) -> Batch:
    assert RegistrySource().check(options) == []
    return RegistrySource().follow(options, base, Deadline(seconds), rows or {})


def table(batch: Batch) -> pd.DataFrame:
    raw = pd.DataFrame(batch.rows["images"])
    typed, problems = frames.conform("images", raw)
    assert problems.empty, problems
    assert set(raw) <= set(frames.columns("images"))
    return typed


def statuses(batch: Batch) -> dict[tuple[str, str], str]:
    return {
        (row["scope"].partition("://")[2].partition("/")[2], row["call"]): row["status"]
        for row in batch.coverage
    }


@pytest.fixture(scope="module")
def batch(registry) -> Batch:
    return collect(endpoint=registry.endpoint, repositories=REPOSITORIES)


@pytest.fixture(scope="module")
def by_tag(batch) -> dict[str, pd.Series]:
    images = table(batch)
    tagged = images[images["tags"].notna()]
    return {
        f"{r.repository}:{tag}": images.loc[r.Index]
        for r in tagged.itertuples()
        for tag in r.tags.split(";")
    }


def test_every_form_of_image_is_told_apart(by_tag):
    shown = {
        name: (row["schema"], row["is_index"], row["layers_n"])
        for name, row in by_tag.items()
    }
    assert {n: v for n, v in shown.items() if n != "shop/web:1.5"} == {
        "shop/web:1.4": ("oci", False, 2),
        "shop/web:latest": ("oci", False, 2),
        "shop/web:1.3": ("2", False, 2),
        "shop/old:0.9": ("1", False, 2),
        "shop/epoch:1": ("oci", False, 2),
    }
    assert (
        by_tag["shop/web:1.5"]["schema"] == "oci" and by_tag["shop/web:1.5"]["is_index"]
    )
    assert by_tag["shop/web:1.4"]["tags"] == "1.4;latest"
    types = {name: row["media_type"].rpartition(".")[2] for name, row in by_tag.items()}
    assert types["shop/web:1.3"] == "v2+json" and types["shop/old:0.9"] == "v1+prettyjws"


def test_the_images_of_an_index_are_no_garbage(batch, by_tag):
    images = table(batch)
    web = images[images["repository"] == "shop/web"]
    assert len(web) == 4  # the index, its two images, one of which is 1.4 too, and 1.3
    arm = web[web["arch"] == "arm64"].iloc[0]
    assert pd.isna(arm["tags"]) and not arm["dangling"] and not arm["is_index"]
    assert not images["dangling"].any()
    index = by_tag["shop/web:1.5"]
    assert index["arch"] == "amd64;arm64"
    assert str(index["created_at"]) == "2026-02-03 05:00:00+00:00"
    assert (
        index["size_bytes"] == web[web["digest"] != index["digest"]]["size_bytes"].max()
    )


def test_what_an_image_says_of_itself(by_tag, registry):
    plain = by_tag["shop/web:1.4"]
    assert (plain["registry"], plain["host_id"], plain["location"]) == (
        registry.host,
        "",
        "registry",
    )
    assert plain["base_name"] == registries.BASE_NAME and plain["arch"] == "amd64"
    assert by_tag["shop/old:0.9"]["arch"] == "amd64"
    assert by_tag["shop/old:0.9"]["created_at"] == plain["created_at"]
    assert pd.isna(by_tag["shop/old:0.9"]["size_bytes"])  # schema 1 does not tell sizes
    # 1970 is what reproducible builds write
    assert pd.isna(by_tag["shop/epoch:1"]["created_at"])
    # 2.8.2 has no referrers API: a signature without a cosign tag is unknown, not absent
    assert all(pd.isna(row["signed"]) for row in by_tag.values())


def test_coverage_and_secrets(batch):
    seen = statuses(batch)
    assert {
        seen[name, call] for name in REPOSITORIES for call in ("tags", "manifests")
    } == {"ok"}
    assert {seen[name, "signatures"] for name in REPOSITORIES} == {"unsupported"}
    manifests = next(r for r in batch.coverage if r["call"] == "manifests")
    assert manifests["rows"] == manifests["expected"] == 4 and manifests["redacted_n"] > 0
    assert CANARY not in repr(batch)


def test_a_cosign_tag_is_a_signature_and_no_image(registry, by_tag, tmp_path):
    digest = by_tag["shop/epoch:1"]["digest"]
    registries.write_layout(
        tmp_path / "sig", {"sig": [registries.Image(layers=(b"signature",))]}
    )
    tag = digest.replace(":", "-") + ".sig"
    registries.push(tmp_path / "sig", "sig", f"{registry.host}/shop/signed:{tag}")
    registries.write_layout(
        tmp_path / "e", {"e": [registries.Image("1970-01-01T00:00:00Z")]}
    )
    registries.push(tmp_path / "e", "e", f"{registry.host}/shop/signed:1", "oci")
    images = table(collect(endpoint=registry.endpoint, repositories=["shop/signed"]))
    assert images["signed"].tolist() == [True] and images["tags"].tolist() == ["1"]
    used = {
        "images": [{"registry": registry.host, "repository": "shop/signed", "tags": "1"}]
    }
    images = table(collect(endpoint=registry.endpoint, tags="used", rows=used))
    assert images["signed"].tolist() == [True]


def test_the_papers_inside_of_an_index_are_no_image(registry, tmp_path, monkeypatch):
    write = registries._write_image

    def with_papers(directory, image):
        entry = write(directory, image)
        if image.arch == "papers":
            entry["annotations"] = {ATTESTATION: "attestation-manifest"}
            entry["platform"] = {"architecture": "unknown", "os": "unknown"}
        return entry

    monkeypatch.setattr(registries, "_write_image", with_papers)
    images = [registries.Image(), registries.Image(arch="papers", layers=(b"sbom",))]
    registries.write_layout(tmp_path / "p", {"p": images})
    registries.push(tmp_path / "p", "p", f"{registry.host}/shop/papers:1")
    found = table(collect(endpoint=registry.endpoint, repositories=["shop/papers"]))
    assert found["arch"].tolist() == ["amd64", "amd64"] and found["is_index"].sum() == 1


def test_the_fleet_names_the_repositories(registry):
    rows = {
        "workloads": [
            {"registry": registry.host, "repository": "shop/web", "tag": "1.3"},
            {"registry": registry.host, "repository": "shop/web", "image_digest": None},
            {"registry": "docker.io", "repository": "library/redis", "tag": "7"},
            {"registry": registry.host, "repository": "../../_catalog", "tag": "x"},
        ],
    }
    batch = collect(endpoint=registry.endpoint, rows=rows)
    assert {row["repository"] for row in batch.rows["images"]} == {"shop/web"}
    assert len(batch.rows["images"]) == 4
    batch = collect(endpoint=registry.endpoint, rows=rows, tags="used")
    assert [row["tags"] for row in batch.rows["images"]] == ["1.3"]
    (row,) = collect(endpoint=registry.endpoint).coverage
    assert row["status"] == "not_configured"


def test_what_runs_but_is_no_longer_there(registry, by_tag):
    gone = "sha256:" + "0" * 64
    rows = {
        "images": [
            {"registry": registry.host, "repository": "shop/epoch", "digest": gone},
            {
                "registry": registry.host,
                "repository": "shop/epoch",
                "digest": by_tag["shop/epoch:1"]["digest"],
            },
        ]
    }
    batch = collect(endpoint=registry.endpoint, rows=rows)
    (row,) = [r for r in batch.coverage if r["call"] == "manifests"]
    assert row["status"] == "ok" and "1 of the images asked" in row["hint"]
    assert [r["tags"] for r in batch.rows["images"]] == ["1"]


def test_what_is_not_there_is_empty_and_a_probe_says_so(registry):
    batch = collect(endpoint=registry.endpoint, repositories=["shop/nothing"])
    assert (
        statuses(batch) == {("shop/nothing", "tags"): "empty"}
        and not batch.rows["images"]
    )
    probed = RegistrySource().probe(
        {"endpoint": registry.endpoint, "repositories": ["shop/web", "shop/nothing"]},
        Path("/"),
        Deadline(10),
    )
    assert statuses(probed) == {
        ("shop/web", "tags"): "ok",
        ("shop/nothing", "tags"): "empty",
    }
    assert not probed.rows
    (row,) = (
        RegistrySource()
        .probe({"endpoint": registry.endpoint}, Path("/"), Deadline(10))
        .coverage
    )
    assert (row["call"], row["status"]) == ("ping", "ok")


def test_a_registry_that_wants_a_password(tmp_path, registry):
    layout = tmp_path / "shop"
    with registries.running(tmp_path / "registry", auth=f"reader:{CANARY}") as closed:
        registries.fill(closed, layout, f"reader:{CANARY}")
        batch = collect(endpoint=closed.endpoint, repositories=["shop/web"])
        assert statuses(batch) == {("shop/web", "tags"): "denied"}
        assert "token_file" in batch.coverage[0]["hint"] and not batch.rows["images"]
        (tmp_path / "wrong").write_text("reader:other\n")
        options = {"endpoint": closed.endpoint, "repositories": ["shop/web"]}
        batch = collect(tmp_path, token_file="wrong", **options)
        assert statuses(batch) == {("shop/web", "tags"): "denied"}
        (tmp_path / "right").write_text(f"reader:{CANARY}\n")
        batch = collect(tmp_path, token_file="right", **options)
        assert len(batch.rows["images"]) == 4 and CANARY not in repr(batch)
        address = closed.endpoint.replace("://", f"://reader:{CANARY}@")
        batch = collect(endpoint=address, repositories=["shop/web"])
        assert len(batch.rows["images"]) == 4 and CANARY not in repr(batch)
        assert {row["registry"] for row in batch.rows["images"]} == {closed.host}
        batch = collect(tmp_path, token_file="nowhere", **options)
        assert batch.coverage[0]["hint"] == "token_file: there is no such file"


@pytest.mark.engine
def test_digests_join_with_those_of_a_real_engine(engine, registry, batch, by_tag):
    tags = ("1.5", "1.4", "1.3")
    api = docker.APIClient(base_url=engine.endpoint)
    for tag in tags:
        api.pull(f"{registry.host}/shop/web", tag=tag)
    options = {"endpoint": engine.endpoint, "host_id": "h", "inspect": "none"}
    held = DockerSource().collect(options, Path("/"), Deadline(30)).rows["images"]
    held = [row for row in held if row["registry"] == registry.host]
    for image in {row["image_id"] for row in held}:
        api.remove_image(image, force=True)
    api.close()
    # one configuration under three manifests: the index, the OCI image in it, and schema 2
    assert {row["digest"] for row in held} == {
        by_tag[f"shop/web:{t}"]["digest"] for t in tags
    }
    seen = {row["digest"]: row for row in batch.rows["images"]}
    images = {seen[row["digest"]].get("image_id", row["image_id"]) for row in held}
    assert images == {row["image_id"] for row in held} and len(images) == 1


@pytest.mark.engine
def test_a_run_asks_for_what_the_other_sources_found(engine, registry, tmp_path):
    from assess.sources import collect as collect_all

    api = docker.APIClient(base_url=engine.endpoint)
    api.pull(f"{registry.host}/shop/web", tag="1.4")
    config = tmp_path / "assess.toml"
    config.write_text(
        f'[[source]]\ntype = "registry"\nendpoint = "{registry.endpoint}"\n'
        f'[[source]]\ntype = "docker"\nendpoint = "{engine.endpoint}"\n'
    )
    told = []
    inventory = collect_all(config, progress=lambda *state: told.append(state))
    api.remove_image(f"{registry.host}/shop/web:1.4")
    api.close()
    assert told == [("docker", 1, 2), ("registry", 2, 2)]
    images = inventory["images"]
    images = images[images["registry"] == registry.host]
    held, there = (images[images["location"] == place] for place in ("host", "registry"))
    assert (
        len(held) == 1 and len(there) == 4 and set(held["digest"]) < set(there["digest"])
    )
    assert there["host_id"].isna().all() or there["host_id"].eq("").all()
    seen = inventory["coverage"].query("source == 'registry'")
    assert set(seen["scope"]) == {f"{registry.endpoint}/shop/web"}
