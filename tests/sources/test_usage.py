"""Observed use: every form of sample, whose container it is, and what it says over a window."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.sources import collect
from assess.sources.crictl import CrictlSource
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource
from assess.sources.joining.findings import settle_usage
from assess.sources.podman import PodmanSource
from assess.sources.usage import Sample, UsageSource, columns_of, of_documents

FIXTURES = Path(__file__).parents[1] / "fixtures"
WORKLOADS = """workload_id,service_id,host_id,namespace,name,container_role
app-01/0123456789ab,web,,,shop-web-1,
app-02/aaaaaaaaaaaa,batch,,,nightly,
k8s/shop/web-6d4-x2,front,,shop,web-6d4-x2,main
k8s/shop/web-6d4-x2/istio-proxy,front,,shop,istio-proxy,sidecar
k8s/shop/api-0,api,,shop,api-0,
"""
HOUR = 3600
ID = "4" * 64


@pytest.fixture
def used(tmp_path):
    """Collect a small fleet with samples; returns the workloads by id, and the coverage."""

    def run(**files):
        fleet = tmp_path / "fleet"
        fleet.mkdir()
        (fleet / "workloads.csv").write_text(WORKLOADS)
        ids = sorted({line.split(",")[1] for line in WORKLOADS.splitlines()[1:]})
        (fleet / "services.csv").write_text("\n".join(["service_id", *ids]) + "\n")
        (fleet / "snapshot.toml").write_text(
            'schema_version = 1\nsnapshot_at = 2026-09-01T10:00:00Z\nquarter = "2026Q3"\n'
        )
        place = tmp_path / "use"
        place.mkdir()
        for name, content in files.items():
            stem, _, ending = name.rpartition("_")
            text = content if isinstance(content, str) else json.dumps(content)
            (place / f"{stem.replace('_', '-')}.{ending}").write_text(text)
        config = tmp_path / "assess.toml"
        config.write_text(
            '[[source]]\ntype = "frames"\npath = "fleet"\n'
            '[[source]]\ntype = "usage"\npath = "use"\n'
        )
        inventory = collect(config)
        return inventory["workloads"].set_index("workload_id"), inventory["coverage"]

    return run


def told(row, *columns):
    return [None if pd.isna(row[column]) else row[column] for column in columns]


def matrix(labels, values):
    series = {"metric": labels, "values": values}
    return {"status": "success", "data": {"resultType": "matrix", "result": [series]}}


def vector(labels, value):
    series = {"metric": labels, "value": [1788600000, value]}
    return {"status": "success", "data": {"resultType": "vector", "result": [series]}}


def test_one_look_of_an_engine_is_a_window_of_nothing(used):
    content = (FIXTURES / "usage/stats.json").read_text()
    workloads, coverage = used(stats_json=content)
    row = workloads.loc["app-01/0123456789ab"]
    use = ("cpu_p95", "memory_p95_bytes", "cpu_peak", "usage_window_hours")
    assert told(row, *use) == [0.255, 50855936, 0.255, 0.0]
    assert told(workloads.loc["app-02/aaaaaaaaaaaa"], *use) == [None] * 4
    read = coverage[coverage["call"] == "read"].set_index("source").loc["usage"]
    # -- of one that starts, and 0B of one that never ran, are no numbers
    assert read["unmapped_n"] == 2
    rows = coverage[coverage["call"] == "resolve"].set_index("scope")
    assert rows.loc["workloads", "expected"] == len(workloads)  # each counts once


def test_what_docker_stats_prints_for_people(used):
    workloads, coverage = used(
        stats_txt="""
CONTAINER ID   NAME         CPU %     MEM USAGE / LIMIT     MEM %     PIDS
0123456789ab   shop-web-1   25.50%    48.5MiB / 7.637GiB    0.62%     5
"""
    )
    row = workloads.loc["app-01/0123456789ab"]
    assert told(row, "cpu_peak", "memory_peak_bytes") == [0.255, 50855936]
    read = coverage[coverage["call"] == "read"].set_index("source").loc["usage"]
    assert (read["status"], read["rows"]) == ("ok", 2)


def test_looks_of_a_week_make_percentile_peak_and_window(tmp_path):
    for number in range(40):
        entry = {"ID": "0123456789ab", "Name": "w", "CPUPerc": f"{number}%"}
        file = tmp_path / f"stats-{number}.json"
        file.write_text(json.dumps(entry | {"MemUsage": f"{number + 1}MB / 1GB"}))
        os.utime(file, (1788000000 + number * HOUR,) * 2)
    batch = UsageSource().collect({"path": "."}, tmp_path, Deadline(20))
    row = columns_of(batch.usage)
    assert row["cpu_p95"] == pytest.approx(0.38)  # of 0 to 0.39: the second largest
    assert row["cpu_peak"] == pytest.approx(0.39)
    assert row["memory_p95_bytes"] == 39_000_000
    assert row["memory_peak_bytes"] == 40_000_000
    assert row["usage_window_hours"] == 39


def test_the_metrics_of_a_cluster_reach_each_container(used):
    metrics = json.loads((FIXTURES / "usage/podmetrics.json").read_text())
    workloads, _ = used(pods_json=metrics)
    main = workloads.loc["k8s/shop/web-6d4-x2"]
    beside = workloads.loc["k8s/shop/web-6d4-x2/istio-proxy"]
    assert told(main, "cpu_p95", "memory_p95_bytes") == [0.1205, 200 << 20]
    assert told(beside, "cpu_p95", "memory_p95_bytes") == [0.004, 52 << 20]
    assert main["usage_window_hours"] == pytest.approx(30.2 / HOUR, abs=1e-4)


def test_what_kubectl_prints_for_people(used):
    workloads, _ = used(top_txt=(FIXTURES / "usage/top.txt").read_text())
    api = workloads.loc["k8s/shop/api-0"]
    assert told(api, "cpu_p95", "memory_p95_bytes") == [1.0, 1 << 30]
    main = workloads.loc["k8s/shop/web-6d4-x2"]
    assert told(main, "cpu_p95", "memory_p95_bytes") == [0.15, 210 << 20]


def test_the_whole_of_a_pod_with_several_containers_is_nobody_s(used):
    text = "NAME  CPU(cores)  MEMORY(bytes)\nweb-6d4-x2  150m  210Mi\napi-0  1m  1Mi\n"
    workloads, coverage = used(top_txt=text)
    assert workloads.loc["k8s/shop/web-6d4-x2":, "cpu_p95"].isna().all()
    assert workloads.loc["k8s/shop/api-0", "cpu_p95"] == 0.001
    row = coverage[coverage["call"] == "use belongs to"].iloc[0]
    assert told(row, "status", "rows", "unmapped_n") == ["partial", 1, 1]


def test_a_range_of_prometheus(used):
    answer = json.loads((FIXTURES / "usage/memory-7d.json").read_text())
    workloads, _ = used(memory_json=answer)
    api = workloads.loc["k8s/shop/api-0"]
    use = ("memory_p95_bytes", "memory_peak_bytes", "usage_window_hours", "cpu_p95")
    assert told(api, *use) == [300, 300, 168, None]  # not the 900 of the pod as a whole


def test_a_rate_has_no_name_so_the_file_says_what_it_is(used):
    labels = {"namespace": "shop", "pod": "api-0", "container": "api"}
    values = [[1788000000 + n * HOUR, str(n / 10)] for n in range(25)]
    workloads, coverage = used(
        cpu_json=matrix(labels, values), other_json=matrix(labels, values)
    )
    api = workloads.loc["k8s/shop/api-0"]
    assert told(api, "cpu_p95", "cpu_peak", "memory_p95_bytes") == [2.3, 2.4, None]
    assert api["usage_window_hours"] == 24
    other = coverage[coverage["scope"].str.endswith("other.json")].iloc[0]
    assert other["status"] == "parse_error" and "cpu-p95-7d.json" in other["hint"]


def test_a_counter_becomes_a_rate_and_processors_add_up(used):
    name = {"__name__": "container_cpu_usage_seconds_total", "name": "shop-web-1"}
    start = 1788000000
    answer = {"data": {"result": []}}
    for cpu in ("cpu00", "cpu01"):
        values = [[start, "100"], [start + 100, "150"], [start + 200, "10"]]
        series = {"metric": name | {"cpu": cpu}, "values": values}
        answer["data"]["result"].append(series)
    workloads, _ = used(range_json=answer)
    row = workloads.loc["app-01/0123456789ab"]
    assert told(row, "cpu_p95", "cpu_peak") == [1.0, 1.0]  # the restart is no rate


def test_summaries_that_prometheus_made_itself(used):
    labels = {"namespace": "shop", "pod": "api-0", "container": "api"}
    workloads, _ = used(
        cpu_p95_7d_json=vector(labels, "0.75"),
        cpu_peak_7d_json=vector(labels, "2"),
        memory_p95_30d_json=vector(labels, "4096"),
    )
    use = ("cpu_p95", "cpu_peak", "memory_p95_bytes", "usage_window_hours")
    api = told(workloads.loc["k8s/shop/api-0"], *use)
    assert api == [0.75, 2, 4096, 168]  # the shorter of the two windows


def test_the_id_in_a_cgroup_finds_the_container_of_an_engine(used):
    path = f"/system.slice/docker-0123456789ab{'0' * 52}.scope"
    labels = {"__name__": "container_memory_working_set_bytes", "id": path, "name": "?"}
    workloads, _ = used(query_json=vector(labels, "77"))
    assert workloads.loc["app-01/0123456789ab", "memory_p95_bytes"] == 77


def test_podman_and_crictl_print_other_words(used):
    podman = [
        {
            "id": "0123456789ab",
            "name": "shop-web-1",
            "cpu_percent": "150.00%",
            "mem_usage": "10MB / 8GB",
        }
    ]
    crictl = {
        "stats": [
            {
                "attributes": {"id": "a" * 64, "metadata": {"name": "nightly"}},
                "cpu": {"usageNanoCores": {"value": "250000000"}},
                "memory": {"workingSetBytes": {"value": "1234"}},
            }
        ]
    }
    workloads, _ = used(podman_json=podman, crictl_json=crictl)
    use = ("cpu_p95", "memory_p95_bytes")
    assert told(workloads.loc["app-01/0123456789ab"], *use) == [1.5, 10_000_000]
    assert told(workloads.loc["app-02/aaaaaaaaaaaa"], *use) == [0.25, 1234]


def test_a_name_that_two_containers_have_is_nobody_s(used):
    labels = {"__name__": "container_memory_working_set_bytes", "name": "nobody"}
    workloads, coverage = used(query_json=vector(labels, "77"))
    assert workloads["memory_p95_bytes"].isna().all()
    row = coverage[coverage["call"] == "use belongs to"].iloc[0]
    assert told(row, "rows", "expected", "status") == [0, 1, "partial"]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (DockerSource, "docker/cli"),
        (CrictlSource, "crictl/node-1"),
        (PodmanSource, "podman/forge-1"),
    ],
)
def test_a_file_beside_the_dumps_of_an_engine_is_read_on_request(source, place, tmp_path):
    shutil.copytree(FIXTURES / place, tmp_path / "host")
    before = source().collect({"path": "host"}, tmp_path, Deadline(20))
    assert "stats" not in {row["call"] for row in before.coverage}  # no gap without it
    row = before.rows["workloads"][0]
    identifier = row["workload_id"].rpartition("/")[2]
    entry = {"ID": identifier, "Name": "x", "CPUPerc": "5%", "MemUsage": "1MiB / 1GiB"}
    (tmp_path / "host/stats.json").write_text(json.dumps(entry))
    after = source().collect({"path": "host"}, tmp_path, Deadline(20))
    assert len(after.rows["workloads"]) == len(before.rows["workloads"])
    assert "stats" in {row["call"] for row in after.coverage}
    [(_, settled)] = settle_usage([(source.type, after)])
    added = settled.rows["workloads"][0]
    assert told(added, "cpu_p95", "memory_p95_bytes") == [0.05, 1 << 20]


WORDS = (
    "stats items data result metric values value containers usage cpu memory kind",
    "ID Name CPUPerc MemUsage metadata timestamp window __name__ pod",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=6) | st.just("1.5"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(" ".join(WORDS).split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=20)
@given(JSON)
def test_nothing_that_a_tool_prints_breaks_the_reader(value):
    found, _ = of_documents([value], "cpu", 1788000000.0)
    assert all(isinstance(sample, Sample) and sample.value >= 0 for sample in found)
    columns_of(found)
