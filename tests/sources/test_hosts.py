"""One machine under several names, and several machines under one."""

import copy

import pytest

from assess.sources.base import Batch
from assess.sources.joining.hosts import settle_hosts, tell_hosts_apart


def hosts(label, *rows, **others):
    batch = Batch()
    batch.add("hosts", *({"source_ref": label} | row for row in rows))
    for frame, row in others.items():
        batch.add(frame, {"source_ref": label} | row)
    return label, batch


def ids(batches, frame="hosts"):
    return [[row["host_id"] for row in batch.rows[frame]] for _, batch in batches]


def joined_n(batches):
    settled, notes = settle_hosts(batches)
    assert settled == batches or notes
    return len(notes)


def test_hosts_of_one_name_are_told_apart():
    def batch(scope: str, container: str) -> Batch:
        made = Batch()
        made.add("hosts", {"host_id": "vm", "source_ref": scope})
        made.add("engines", {"host_id": "vm", "runtime": "docker", "source_ref": scope})
        made.add(
            "workloads",
            {"workload_id": f"vm/{container}", "host_id": "vm", "source_ref": scope},
        )
        made.add("mounts", {"workload_id": f"vm/{container}", "source_ref": scope})
        return made

    one, other = batch("unix:///a/sock", "c1"), batch("tcp://10.0.0.2:2376", "c2")
    (_, one), (_, other) = tell_hosts_apart([("docker", one), ("docker#2", other)])
    assert one.rows["hosts"][0]["host_id"] == "vm@/a/sock"
    assert other.rows["mounts"][0]["workload_id"] == "vm@10.0.0.2:2376/c2"
    same = [batch("unix:///a/sock", "c1"), batch("tcp://10.0.0.1:2376", "c1")]
    same = tell_hosts_apart([("docker", each) for each in same])
    assert ids(same, "engines") == [["vm"], ["vm"]]


def test_one_machine_under_the_names_of_four_sources():
    cloud = {"host_id": "i-0a1", "hostname": "ip-10-0-0-4.ec2.internal", "arch": "x86_64"}
    batches = [
        hosts(
            "docker",
            {"host_id": "ip-10-0-0-4", "arch": "amd64"},
            workloads={"workload_id": "w", "host_id": "ip-10-0-0-4"},
        ),
        hosts("ec2", cloud),
        hosts("ansible", {"host_id": "shop-1", "hostname": "ip-10-0-0-4"}),
        hosts("incidents", incidents={"host_id": "SHOP-1"}),
    ]
    batches[3][1].rows.pop("hosts")
    before = copy.deepcopy(batches)
    settled, notes = settle_hosts(batches)
    assert batches == before  # what the sources found stays as it was
    batches = settled
    assert ids(batches[:3]) == [["i-0a1"], ["i-0a1"], ["i-0a1"]]
    assert ids(batches[:1], "workloads") == [["i-0a1"]]
    assert notes[0]["rows"] == 2


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", "127.0.0.1"])
def test_a_name_that_every_machine_has_joins_nothing(name):
    batches = [
        hosts("ec2", {"host_id": "i-1", "hostname": name}),
        hosts("ansible", {"host_id": f"{name}@a", "hostname": name}),
    ]
    assert settle_hosts(batches) == (batches, [])


def test_what_contradicts_or_is_ambiguous_is_left_apart():
    arm = {"host_id": "web", "arch": "aarch64"}
    intel = {"host_id": "i-1", "hostname": "web", "arch": "x86_64"}
    assert joined_n([hosts("docker", arm), hosts("ec2", intel)]) == 0
    two = [{"host_id": "i-1", "hostname": "web"}, {"host_id": "i-2", "hostname": "web"}]
    assert joined_n([hosts("docker", {"host_id": "web"}), hosts("ec2", *two)]) == 0
    domains = [
        hosts("ansible", {"host_id": "web.one.example"}, {"host_id": "web.two.example"}),
        hosts("docker", {"host_id": "web"}),
    ]
    assert joined_n(domains) == 0
    instances = [
        hosts("ec2", {"host_id": "i-1", "hostname": "a"}),
        hosts("ssm", {"host_id": "i-2", "hostname": "a"}),
    ]
    assert joined_n(instances) == 0


def test_the_order_of_sources_does_not_decide_who_is_joined():
    def fleet():
        return [
            hosts("ssm", {"host_id": "i-9", "hostname": "db-1.shop.example"}),
            hosts("kubernetes", {"host_id": "db-1"}),
            hosts("docker", {"host_id": "db-1.shop.example"}),
        ]

    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        batches = [fleet()[n] for n in order]
        settled, _ = settle_hosts(batches)
        assert {i for found in ids(settled) for i in found} == {"i-9"}
