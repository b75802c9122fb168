"""What every replica stands on, and what a registry freezes."""

import pandas as pd
import pytest
from readiness_fleet import Fleet

from assess.figures import fall
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.placement import frozen, placement

POLICY = load_policy()


def on(fleet):
    """Elements by kind, of the first replica."""
    table = placement(fleet.inventory(), POLICY)
    own = table[table["workload_id"] == "shop.1"]
    return dict(zip(own["element_kind"], own["element"], strict=True))


def test_a_container_stands_on_host_zone_engine_and_image():
    found = on(
        Fleet().first("workloads", cluster="blue").first("images", base_name="debian:12")
    )
    assert found == {
        "host": "h1",
        "az": "a",
        "engine": "docker 29.7.2",
        "image": "acme/shop@sha256:aa",
        "base_image": "debian:12",
        "cluster": "blue",
    }


def test_an_unknown_place_may_be_any_and_a_unit_runs_beside_the_engine():
    found = on(Fleet().first("workloads", host_id=None))
    assert all(pd.isna(found[kind]) for kind in ("host", "az", "engine"))
    for kind in ("unit", "systemd"):
        beside = on(Fleet().first("workloads", source_kind=kind))
        assert beside.keys().isdisjoint({"engine"})


def test_what_may_be_no_container_runs_on_the_engine_of_its_host_but_for_certain():
    """Neither its kind nor its image is known."""
    unread = dict.fromkeys(("image_ref", "registry", "repository", "tag", "image_digest"))
    for fields, lowest in ((unread, 0.0), ({}, 1.0)):
        fleet = Fleet().first("workloads", source_kind=None, **fields)
        found = on(fleet)
        assert found["engine"] == "docker 29.7.2"
        # a known image is that of a container
        assert pd.isna(found["image"]) == bool(fields)
        frame = score_blast_radius(fleet.inventory(), POLICY, detail=False).frame
        ends = frame.loc[("engine", "docker 29.7.2"), ["impact_lo", "impact"]]
        assert ends.tolist() == [lowest, 1.0]


def test_a_container_on_a_host_whose_engine_nobody_saw_may_run_on_any():
    fleet = Fleet()
    engines = fleet.inventory()["engines"]
    unseen = fleet.inventory().replace(engines=engines[engines["host_id"] != "h1"])
    table = placement(unseen, POLICY).query("element_kind == 'engine'")
    own = table[table["workload_id"] == "shop.1"]
    assert own["element"].isna().tolist() == [True]
    none = fleet.inventory().replace(engines=engines.assign(runtime="none"))
    assert "engine" not in set(placement(none, POLICY)["element_kind"])


def test_a_container_of_unknown_image_may_run_any():
    unread = dict.fromkeys(("image_ref", "registry", "repository", "tag", "image_digest"))
    fleet = Fleet().change("workloads", source_kind="container")
    assert pd.isna(on(fleet.first("workloads", **unread))["image"])
    known = score_blast_radius(fleet.inventory(), POLICY).frame["impact_hi"]
    hidden = fleet.first("workloads", **unread).inventory()
    found = score_blast_radius(hidden, POLICY).frame["impact_hi"].reindex(known.index)
    assert found["image"].dropna().ge(known["image"].loc[found["image"].notna()]).all()
    assert "image" not in on(Fleet().first("workloads", source_kind="unit", **unread))


@pytest.mark.parametrize("hidden", ["hosts", "engines", "images"])
def test_hiding_what_a_service_stands_on_takes_no_danger_away(hidden):
    fleet = Fleet().change("images", base_name="debian:12")
    # both replicas are needed, and each is in a zone of its own: of hosts, zones, engine and images
    # each takes the service down
    fleet = fleet.change("services", min_healthy_pct=100)
    known = score_blast_radius(fleet.inventory(), POLICY).services.loc["shop"]
    found = score_blast_radius(fleet.drop(hidden).inventory(), POLICY).services.loc[
        "shop"
    ]
    assert found["exposure_hi"] >= known["exposure_hi"]


@pytest.mark.parametrize("platform", ["kubernetes", "ecs"])
def test_a_cluster_without_a_name_takes_down_what_it_runs(platform):
    fleet = Fleet().change("services", platform=platform)
    unnamed = fleet.inventory()
    named = fleet.change("workloads", cluster="blue").inventory()
    one = fleet.first("workloads", cluster=None).inventory()
    known, hidden, none = (
        score_blast_radius(each, POLICY) for each in (named, one, unnamed)
    )
    cluster = ("cluster", "blue")
    assert known.frame.loc[cluster, "impact_hi"] > 0
    assert hidden.frame.loc[cluster, "impact_hi"] == known.frame.loc[cluster, "impact_hi"]
    exposed = [each.services.loc["shop", "exposure_hi"] for each in (known, none)]
    assert exposed[1] >= exposed[0]


@pytest.mark.parametrize(
    ("registry", "mirrors", "expected"),
    [
        ("docker.io", 1, []),
        ("docker.io", 0, ["shop"]),
        ("docker.io", None, ["shop"]),
        ("quay.io", 1, ["shop"]),
    ],
)
def test_a_registry_freezes_what_no_mirror_serves(registry, mirrors, expected):
    fleet = (
        Fleet()
        .change("workloads", registry=registry)
        .change("engines", mirrors_n=mirrors)
    )
    table = frozen(fleet.inventory(), POLICY)
    assert table["service_id"].tolist() == expected
    assert set(table["element"]) <= {registry}


def test_what_no_source_looked_into_is_unknown_to_people_and_programs():
    hosts = [
        *({"host_id": "h1", "az": "a"}, {"host_id": "h2", "az": "a"}),
        {"host_id": "h3", "az": "b"},
    ]
    replica = {"workload_id": "w", "service_id": "s", "host_id": "h1"}
    tables = {"services": [{"service_id": "s"}], "hosts": hosts, "workloads": [replica]}
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    blast = score_blast_radius(from_frames(frames, snapshot_at="2026-09-30"), POLICY)
    blank = [("az", "b"), ("host", "h2"), ("host", "h3")]
    assert sorted(blast.shown.index[blast.shown["impact"].isna()]) == blank
    assert sorted(blast.how.index[blast.how == "unknown"]) == blank
    assert sorted(blast.summary().query("impact.isna()").index) == blank
    for row in blast.rows():
        is_blank = (row["element_kind"], row["element"]) in blank
        assert (row["impact"] is None) == (row["next_hi"] is None) == is_blank
    assert "unknown" in fall(blast, "host", "h2").get_xlabel()


@pytest.mark.parametrize("name", ["host_id", "cluster", "image_digest", "state"])
def test_hiding_where_a_replica_runs_never_narrows_the_next_failure(name):
    rows = [
        {
            "workload_id": f"{service}{host}",
            "service_id": service,
            "host_id": host,
            "cluster": f"c{host}",
            "repository": f"acme/{service}",
            "image_digest": f"sha256:{host}",
            "source_kind": "container",
            "state": "running",
        }
        for service, hosts in {"a": "12", "b": "1", "c": "23"}.items()
        for host in hosts
    ]
    calls = [
        {"src_id": src, "dst_id": dst, "kind": "call", "evidence": "traces"}
        for src, dst in ("ab", "bc")
    ]
    known = pd.DataFrame(rows)

    def ends(workloads):
        tables = {
            "services": pd.DataFrame({"service_id": [*"abc"], "platform": "kubernetes"}),
            "hosts": pd.DataFrame({"host_id": [*"123"]}),
            "workloads": workloads,
            "dependencies": pd.DataFrame(calls),
        }
        inventory = from_frames(tables, snapshot_at="2026-09-30")
        return score_blast_radius(inventory, POLICY).frame[["next_lo", "next_hi"]]

    before = ends(known)
    for place in known.index:
        after = ends(known.assign(**{name: known[name].drop(place)}))
        both = before.join(after.add_suffix("_hidden")).dropna()
        assert (both["next_lo_hidden"] <= both["next_lo"] + 1e-9).all()
        assert (both["next_hi_hidden"] >= both["next_hi"] - 1e-9).all()


def test_a_sidecar_is_no_replica():
    fleet = Fleet().first("workloads", container_role="sidecar")
    table = placement(fleet.inventory(), POLICY)
    assert "shop.1" not in set(table["workload_id"])
    assert "shop.2" in set(table["workload_id"])


@pytest.mark.parametrize(
    ("known", "may_be_it"),
    [
        ({"source_class": "named-volume"}, True),
        ({}, True),
        ({"source_class": "tmpfs"}, False),
        ({"source_class": "host-path", "host_path_class": "system"}, False),
    ],
)
def test_a_mount_of_unknown_volume_may_be_of_a_shared_one(known, may_be_it):
    mounts = [
        {"workload_id": name, "destination": "/data", "volume_id": "v"} for name in "ab"
    ]
    frames = {
        "services": [{"service_id": name, "criticality": 1.0} for name in "abc"],
        "workloads": [
            {"workload_id": name, "service_id": name, "state": "running"}
            for name in "abc"
        ],
        "mounts": [*mounts, {"workload_id": "c", "destination": "/data", **known}],
    }
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    inventory = from_frames(tables, snapshot_at="2026-09-30")
    row = score_blast_radius(inventory, POLICY, detail=False).frame.loc["volume"].loc["v"]
    assert row["impact"] == pytest.approx(2 / 3)
    seen = placement(inventory, POLICY).query("element_kind == 'volume'")
    assert ("c" in set(seen["service_id"])) == may_be_it
    # no volume that is known to be shared makes none that nobody named safe
    shown = score_blast_radius(inventory, POLICY, detail=False).services["exposure_hi"]
    loose = inventory.replace(mounts=tables["mounts"].drop(columns="volume_id"))
    hidden = score_blast_radius(loose, POLICY, detail=False).services["exposure_hi"]
    assert hidden.ge(shown).all()


def test_a_volume_of_several_services_takes_its_mounters_down():
    names = [f"{s}{i}" for s in "abc" for i in range(2)]
    frames = {
        "services": [{"service_id": s, "criticality": 1.0} for s in "abcd"],
        "workloads": [
            {"workload_id": w, "service_id": w[0], "state": "running"} for w in names
        ],
        "mounts": [
            {"workload_id": w, "destination": "/data", "volume_id": volume}
            for w, volume in zip(names, ["v", "v", "v", "w", "own", "own"], strict=True)
        ],
    }
    inventory = from_frames(
        {name: pd.DataFrame(rows) for name, rows in frames.items()},
        snapshot_at="2026-09-30",
    )
    result = score_blast_radius(inventory, load_policy(), detail=False)
    # v holds both replicas of a, and one of two of b; d may stand on it, too
    volumes = result.frame.loc["volume"]
    assert volumes.index.tolist() == ["v"]
    assert volumes.loc["v", "impact"] == 0.25
    assert result.details["affected"].query("element == 'v'")["service_id"].tolist() == [
        "a",
        "d",
    ]
