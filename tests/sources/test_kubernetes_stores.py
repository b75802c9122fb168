"""Stores that operators make: a custom resource is a declared store, and its pods are the same."""

import json

import pytest
from test_kubernetes import collect

from assess.sources.csv_records import rows

STORES = rows("kubernetes/stores")
KINDS = {"postgres": "data", "kafka": "queue", "rabbitmq": "queue", "etcd": "discovery"}


def nested(path: str, value: object) -> dict:
    name, _, rest = path.partition(".")
    return {name: nested(rest, value) if rest else value} if name else {}


def store(facts: dict, spec: dict) -> dict:
    group = facts["group"].split()[0]
    return {
        "apiVersion": f"{group}/v1",
        "kind": facts["kind"],
        "metadata": {"name": "main", "namespace": "shop"},
        "spec": spec,
    }


def caller(host: str) -> dict:
    container = {
        "name": "web",
        "image": "acme/web:1.2.3",
        "env": [{"name": "SOME_HOST", "value": host}],
    }
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": template},
    }


def collected(place, *items: dict):
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    (place / "all.json").write_text(json.dumps(listed))
    return collect(path=str(place / "all.json"))


def row_of(kind: str, group: str) -> dict:
    return next(r for r in STORES if (r["kind"], r["group"].split()[0]) == (kind, group))


@pytest.mark.parametrize("facts", STORES, ids=lambda row: f"{row['kind']}-{row['group']}")
def test_a_custom_resource_is_a_store_that_is_called(tmp_path, facts):
    words = {"clusterName": "big", "datacenter": "dc1"}
    name = facts["services"].split()[-1].format("main", **words)
    path = next(reversed(facts["replicas"].split()), "").replace("2*", "")
    made = store(facts, {**nested(path.partition("*")[0], 2), "clusterName": "Big"})
    batch = collected(tmp_path, made, caller(f"{name}.shop.svc:{facts['port']}"))
    workloads = [w for w in batch.rows["workloads"] if w["name"] == "main"]
    factor = 2 if "2*" in facts["replicas"] else 1
    assert len(workloads) == (2 * factor if facts["replicas"] else 1)
    (service,) = [s for s in batch.rows["services"] if s["names"][0].name == "main"]
    assert service["stateful"] is True
    (edge,) = batch.rows["dependencies"]
    assert (edge["src"].name, edge["dst"].name) == ("web", "main")
    assert edge["kind"] in ("data", "queue", "discovery", "cache")
    assert edge["kind"] == KINDS.get(facts["store"], edge["kind"])


def test_what_the_resource_does_not_say_of_its_pods_is_unknown(tmp_path):
    (facts,) = [row for row in STORES if row["group"].startswith("postgresql.cnpg.io")]
    spec = {
        "instances": 3,
        "imageName": "ghcr.io/cloudnative-pg/postgresql:16.4",
        "resources": {"limits": {"memory": "1Gi"}},
    }
    batch = collected(tmp_path, store(facts, spec))
    row = batch.rows["workloads"][0]
    assert (row["tag"], row["memory_limit_bytes"], row["state"]) == (
        "16.4",
        1 << 30,
        "declared",
    )
    unknown = ("privileged", "host_network", "env_names_n", "memory_unlimited")
    assert {row[name] for name in unknown} == {None}
    (service,) = batch.rows["services"]
    assert service["secrets_in_image"] is None
    assert service["health_checked"] is None


@pytest.mark.parametrize(
    ("group", "spec"),
    [
        ("pingcap.com", {"tikv": {"replicas": 3, "limits": {"memory": "8Gi"}}}),
        (
            "kubedb.com",
            {
                "podTemplate": {
                    "spec": {"containers": [{"resources": {"limits": {"memory": "8Gi"}}}]}
                }
            },
        ),
        (
            "mysql.oracle.com",
            {"podSpec": {"containers": [{"resources": {"limits": {"memory": "8Gi"}}}]}},
        ),
    ],
)
def test_sizes_stand_where_the_definition_of_the_resource_has_them(tmp_path, group, spec):
    facts = next(row for row in STORES if row["group"] == group)
    batch = collected(tmp_path, store(facts, spec))
    assert {row["memory_limit_bytes"] for row in batch.rows["workloads"]} == {8 << 30}


@pytest.mark.parametrize(
    ("kind", "group", "spec", "replicas_n"),
    [
        (
            "ClickHouseInstallation",
            "clickhouse.altinity.com",
            {
                "configuration": {
                    "clusters": [
                        {"layout": {"shardsCount": 3, "replicasCount": 2}},
                        {"layout": {"shardsCount": 2}},
                    ]
                }
            },
            8,
        ),
        ("PostgresCluster", "postgres-operator.crunchydata.com", {"instances": [{}]}, 1),
        ("Kafka", "kubedb.com", {"topology": {"broker": {"replicas": 4}}}, 4),
        ("RedisCluster", "redis.redis.opstreelabs.in", {"clusterSize": 3}, 6),
        ("CouchbaseCluster", "couchbase.com", {"servers": [{"size": 3}, {"size": 2}]}, 5),
    ],
)
def test_replicas_are_shards_times_copies_over_all_pools(
    tmp_path, kind, group, spec, replicas_n
):
    batch = collected(tmp_path, store(row_of(kind, group), spec))
    assert len(batch.rows["workloads"]) == replicas_n


def test_pools_in_resources_of_their_own_are_replicas_of_the_store_that_they_name(
    tmp_path,
):
    kafka = store(row_of("Kafka", "kafka.strimzi.io"), {"kafka": {"version": "3.8.0"}})
    pools = []
    for name, count in (("broker", 3), ("controller", 2)):
        pool = store(row_of("KafkaNodePool", "kafka.strimzi.io"), {"replicas": count})
        labels = {"strimzi.io/cluster": "main"}
        pool["metadata"] = {"name": name, "namespace": "shop", "labels": labels}
        pools.append(pool)
    batch = collected(tmp_path, *pools, kafka)
    assert {row["name"] for row in batch.rows["workloads"]} == {"main"}
    assert len(batch.rows["workloads"]) == 5
    alone = collected(tmp_path, pools[0])
    assert [row["name"] for row in alone.rows["workloads"]] == ["broker"] * 3


@pytest.mark.parametrize(
    ("kind", "group", "spec", "has_volume"),
    [
        ("RedisFailover", "databases.spotahome.com", {"redis": {"replicas": 3}}, False),
        (
            "RedisFailover",
            "databases.spotahome.com",
            {"redis": {"storage": {"persistentVolumeClaim": {"spec": {}}}}},
            True,
        ),
        ("Postgres", "kubedb.com", {"storageType": "Ephemeral"}, False),
        ("Postgres", "kubedb.com", {}, True),
        (
            "Kafka",
            "kafka.strimzi.io",
            {"kafka": {"storage": {"type": "ephemeral"}}},
            False,
        ),
        ("Dragonfly", "dragonflydb.io", {"replicas": 2}, False),
        ("Cluster", "postgresql.cnpg.io", {"instances": 3}, True),
    ],
)
def test_a_store_without_lasting_storage_has_no_data_volume(
    tmp_path, kind, group, spec, has_volume
):
    batch = collected(tmp_path, store(row_of(kind, group), spec))
    assert bool(batch.rows["mounts"]) is has_volume


def test_repository_and_tag_in_two_fields_are_one_image(tmp_path):
    image = {"repository": "pravega/zookeeper", "tag": "0.2.15"}
    facts = row_of("ZookeeperCluster", "zookeeper.pravega.io")
    row = collected(tmp_path, store(facts, {"image": image})).rows["workloads"][0]
    assert (row["repository"], row["tag"]) == ("pravega/zookeeper", "0.2.15")
    row = collected(tmp_path, store(facts, {"image": {"tag": "1"}})).rows["workloads"][0]
    assert row["image_ref"] is None


def test_every_resource_names_the_file_that_defines_it():
    assert all(":" in row["reference"] and "/" in row["reference"] for row in STORES)


def test_pods_of_a_resource_that_is_listed_too_are_its_replicas(tmp_path):
    (facts,) = [row for row in STORES if row["group"].startswith("postgresql.cnpg.io")]
    owner = {"kind": "Cluster", "name": "main", "controller": True}
    container = {"name": "postgres", "image": "ghcr.io/cloudnative-pg/postgresql:16.4"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "main-1",
            "namespace": "shop",
            "ownerReferences": [owner],
        },
        "spec": {"containers": [container]},
        "status": {"phase": "Running"},
    }
    batch = collected(tmp_path, store(facts, {"instances": 3}), pod)
    (row,) = batch.rows["workloads"]
    assert row["name"] == "main-1"
    assert len(batch.rows["services"]) == 1


def test_a_stateful_set_of_the_same_name_stands_for_itself(tmp_path):
    (facts,) = [row for row in STORES if row["group"] == "acid.zalan.do"]
    made = caller("x") | {"kind": "StatefulSet"}
    made["metadata"] = {"name": "main", "namespace": "shop"}
    batch = collected(tmp_path, store(facts, {"numberOfInstances": 2}), made)
    assert [row["source_kind"] for row in batch.rows["workloads"]] == ["statefulset"]


def test_a_kind_of_another_group_is_no_store(tmp_path):
    facts = {"kind": "Cluster", "group": "cluster.x-k8s.io"}
    batch = collected(tmp_path, store(facts, {"instances": 3}))
    assert batch.rows["workloads"] == []
