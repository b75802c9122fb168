"""Who called whom: Jaeger, Zipkin and service-graph counters, from files and over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay import replaying
from wild import mutated

from assess.config import Config, SourceConfig
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import seen_sides, watched
from assess.score.blast_radius.topology import build_topology
from assess.sources import collect
from assess.sources.deadline import Deadline
from assess.sources.traces import (
    FAILED,
    TOTAL,
    TracesSource,
    calls_of,
    spans_in,
    to_dependencies,
    to_links,
)

FIXTURES = Path(__file__).parent.parent / "fixtures" / "traces"
SECRET = "hunter2"


def read(path, base=FIXTURES, **options):
    table = {"path": path, **options}
    assert TracesSource().check(table) == []
    return TracesSource().collect(table, base, Deadline(10))


def asked(answer, base, probe=False, **options):
    source = TracesSource()
    with replaying(answer) as replay:
        call = source.probe if probe else source.collect
        batch = call({"endpoint": replay.url, **options}, base, Deadline(5))
    assert SECRET not in repr(batch)
    return batch, replay.asked


def edges(batch):
    return {
        (
            e["src"].name,
            e["dst"] if isinstance(e["dst"], str) else e["dst"].name,
            e["kind"],
        ): e
        for e in batch.rows["dependencies"]
    }


def recorded(name):
    return json.loads((FIXTURES / name).read_text())


def test_jaeger():
    batch = read("jaeger.json")
    found = edges(batch)
    assert set(found) == {
        ("checkout", "payment", "call"),
        ("checkout", "orders-db", "call"),
        ("search", "search", "call"),
    }
    edge = found["checkout", "payment", "call"]
    assert (edge["calls"], edge["evidence"]) == (1200, "traces")
    assert "error_rate" not in edge
    assert edge["window_hours"] is None
    assert [(row["status"], row["rows"]) for row in batch.coverage] == [("ok", 3)]
    assert SECRET not in repr(batch)


def test_zipkin_counts_errors_and_leaves_out_none():
    found = edges(read("zipkin.json", window_hours=168))
    assert found["checkout", "payment", "call"]["error_rate"] == 0.025
    assert found["payment", "ledger", "call"]["error_rate"] == 0.0
    assert found["payment", "ledger", "call"]["window_hours"] == 168.0


def test_service_graph():
    batch = read(["servicegraph_total.json", "servicegraph_failed.json"])
    found = edges(batch)
    assert set(found) == {
        ("checkout", "payment", "call"),
        ("checkout", "orders-db", "data"),
        ("checkout", "mailer", "queue"),
        ("payment", "ext:api.bank.example", "call"),
        ("payment", "ext:unknown", "call"),
        ("search", "index", "call"),
    }
    edge = found["checkout", "payment", "call"]
    assert (edge["calls"], edge["error_rate"]) == (1200, 0.01)
    assert found["checkout", "mailer", "queue"]["error_rate"] == 0.0
    assert found["search", "index", "call"]["calls"] is None
    # a client that is no service
    assert [row["unmapped_n"] for row in batch.coverage] == [1, 0]


def test_without_the_counter_of_failures_no_rate_is_told():
    found = edges(read("servicegraph_total.json"))
    assert not any("error_rate" in edge for edge in found.values())


@pytest.mark.parametrize(
    ("content", "status", "hint"),
    [
        ('{"data": [], "errors": null}', "empty", "nothing of the services"),
        ('{"data": null, "errors": null}', "empty", "nothing of the services"),
        ("[]", "empty", "nothing of the services"),
        (
            '{"status":"success","data":{"resultType":"vector","result":[]}}',
            "empty",
            "nothing",
        ),
        (
            '{"data": null, "errors": [{"code": 500, "msg": "hunter2"}]}',
            "parse_error",
            "failed",
        ),
        ('{"something": "else"}', "parse_error", "no graph"),
        ('{"data": {"something": "else"}}', "parse_error", "no graph"),
        ("<html>Sign in</html>", "parse_error", "web page"),
        ('{"data": [{"parent": "a", "child": "b", "callCount": 1}', "parse_error", ""),
        ('[{"parent": "a", "child": "b", "callCount": 1}, {"par', "partial", "cut off"),
    ],
)
def test_status_of_files(tmp_path, content, status, hint):
    (tmp_path / "x.json").write_text(content)
    batch = read("x.json", tmp_path)
    (row,) = batch.coverage
    assert row["status"] == status
    assert hint in row.get("hint", "")
    assert SECRET not in repr(batch)
    assert len(batch.rows["dependencies"]) == (status == "partial")


def test_files_that_are_not_there(tmp_path):
    assert read("none.json", tmp_path).coverage[0]["status"] == "unreachable"
    assert read(".", tmp_path).coverage[0]["status"] == "unreachable"


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("source_canonical_service", "destination_canonical_service"),
        ("source_app", "destination_service_name"),
        ("deployment", "dst_deployment"),
    ],
)
def test_counters_of_meshes_name_the_ends_in_their_own_words(client, server):
    metric = {client: "shop", server: "till", "response_code": "200"}
    answer = {"data": {"result": [{"metric": metric, "value": [1772400000, "7"]}]}}
    [link], unmapped_n = to_links([answer])
    assert (link["src"], link["dst"], link["calls"]) == ("shop", "till", 7)
    assert unmapped_n == 0


def jaeger_span(identifier, parent, process, **tags):
    listed = [{"key": key.replace("_", "."), "value": tags[key]} for key in tags]
    references = [{"refType": "CHILD_OF", "traceID": "t1", "spanID": parent}]
    return {
        "traceID": "t1",
        "spanID": identifier,
        "references": references if parent else [],
        "processID": process,
        "tags": listed,
    }


JAEGER_SPANS = {
    "data": [
        {
            "traceID": "t1",
            "processes": {
                "p1": {"serviceName": "shop"},
                "p2": {"serviceName": "till"},
            },
            "spans": [
                jaeger_span("a", "", "p1", span_kind="server"),
                jaeger_span("b", "a", "p1", span_kind="client"),
                jaeger_span("c", "b", "p2", span_kind="server", error=True),
                jaeger_span(
                    "d",
                    "c",
                    "p2",
                    span_kind="client",
                    db_system="redis",
                    peer_service="cache",
                ),
            ],
        }
    ]
}


def zipkin_span(identifier, parent, kind, service, **more):
    endpoint = {"serviceName": service}
    ids = {"traceId": "t1", "id": identifier, "parentId": parent, "kind": kind}
    return {**ids, "localEndpoint": endpoint, **more}


PEER = {"remoteEndpoint": {"serviceName": "cache"}, "tags": {"db.system": "redis"}}
ZIPKIN_SPANS = [
    [
        zipkin_span("a", "", "SERVER", "shop"),
        zipkin_span("b", "a", "CLIENT", "shop"),
        zipkin_span("b", "a", "SERVER", "till", shared=True, tags={"error": "503"}),
        zipkin_span("d", "b", "CLIENT", "till", **PEER),
    ]
]


def otlp_span(identifier, parent, kind, *attributes, status=0):
    ids = {"traceId": "t1", "spanId": identifier, "parentSpanId": parent, "kind": kind}
    listed = [{"key": k, "value": {"stringValue": v}} for k, v in attributes]
    return {**ids, "attributes": listed, "status": {"code": status}}


def otlp_batch(service, scopes, *spans):
    name = {"key": "service.name", "value": {"stringValue": service}}
    return {"resource": {"attributes": [name]}, scopes: [{"spans": list(spans)}]}


PEERS = (("db.system", "redis"), ("server.address", "cache"))
OTLP_SPANS = {
    "resourceSpans": [
        otlp_batch("shop", "scopeSpans", otlp_span("a", "", 2), otlp_span("b", "a", 3)),
        otlp_batch(
            "till",
            "instrumentationLibrarySpans",
            otlp_span("c", "b", "SPAN_KIND_SERVER", status="STATUS_CODE_ERROR"),
            otlp_span("d", "c", "SPAN_KIND_CLIENT", *PEERS),
        ),
    ]
}


TEMPO_SPANS = {"trace": OTLP_SPANS}
JAEGER_3_SPANS = {"result": OTLP_SPANS}


@pytest.mark.parametrize(
    "spans", [JAEGER_SPANS, JAEGER_3_SPANS, ZIPKIN_SPANS, OTLP_SPANS, TEMPO_SPANS]
)
def test_spans_are_added_up_to_edges(tmp_path, spans):
    (tmp_path / "spans.json").write_text(json.dumps(spans))
    batch = read("spans.json", tmp_path)
    rows = {(e["src"].name, e["dst"].name): e for e in batch.rows["dependencies"]}
    assert set(rows) == {("shop", "till"), ("till", "cache")}
    call, query = rows["shop", "till"], rows["till", "cache"]
    assert (call["kind"], call["calls"], call["error_rate"]) == ("call", 1, 1.0)
    assert (query["kind"], query["calls"], query["error_rate"]) == ("data", 1, 0.0)
    # who has spans of its own is a service, and a peer is only named
    assert (call["dst"].rule, query["dst"].rule) == ("trace", "trace-peer")
    (row,) = batch.coverage
    assert (row["status"], row["rows"]) == ("ok", 4)


@pytest.mark.parametrize(
    ("callee", "kind"),
    [
        ("redis", "cache"),
        ("orders-mysql", "data"),
        ("kafka", "queue"),
        ("user-cache", "call"),  # may be a service that is called so
        ("redis-exporter", "call"),
    ],
)
def test_a_callee_with_the_name_of_a_product_is_of_its_kind(callee, kind, tmp_path):
    links, _ = to_links([{"data": [{"parent": "shop", "child": callee, "callCount": 1}]}])
    assert [link["kind"] for link in links] == [kind]
    spans = [otlp_span("a", "", 3, ("server.address", callee))]
    (tmp_path / "spans.json").write_text(json.dumps(resource_spans("shop", spans)))
    assert set(edges(read("spans.json", tmp_path))) == {("shop", callee, kind)}


def resource_spans(service, spans):
    return [{"resourceSpans": [otlp_batch(service, "scopeSpans", *spans)]}]


@pytest.mark.parametrize("address", [[("server.address", "kafka")], []])
def test_who_sends_and_who_receives_need_the_broker_between_them(tmp_path, address):
    # clients that find brokers themselves name the system alone
    broker = [("messaging.system", "kafka"), *address]
    both = [
        *resource_spans("shop", [otlp_span("a", "", 4, *broker)]),
        *resource_spans("mailer", [otlp_span("b", "a", 5, *broker)]),
    ]
    (tmp_path / "spans.json").write_text(json.dumps(both))
    assert set(edges(read("spans.json", tmp_path))) == {
        ("shop", "mailer", "queue"),
        ("shop", "kafka", "queue"),
        ("mailer", "kafka", "queue"),
    }


def test_a_call_to_the_own_host_names_nobody(tmp_path):
    attributes = (("server.address", "localhost"),)
    span = otlp_span("a", "", 3, *attributes)
    batch = otlp_batch("shop", "scopeSpans", span)
    (tmp_path / "spans.json").write_text(json.dumps({"resourceSpans": [batch]}))
    found = read("spans.json", tmp_path)
    assert found.rows["dependencies"] == []
    assert found.coverage[0]["status"] == "ok"


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("spans", [JAEGER_SPANS, ZIPKIN_SPANS, OTLP_SPANS])
def test_whatever_comes_as_spans_is_read_or_left_out(spans, seed):
    for caller, callee in calls_of(spans_in([mutated(spans, seed)])):
        assert caller.service
        assert (callee or caller).key[0]


def test_spans_of_one_trace_may_be_in_several_files(tmp_path):
    for number, batch in enumerate(OTLP_SPANS["resourceSpans"]):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps({"resourceSpans": [batch]}))
    found = read(".", tmp_path).rows["dependencies"]
    assert {(e["src"].name, e["dst"].name) for e in found} == {
        ("shop", "till"),
        ("till", "cache"),
    }


def test_jaeger_is_asked_for_a_window(tmp_path):
    (tmp_path / "token").write_text(SECRET)
    batch, calls = asked(lambda *_: recorded("jaeger.json"), tmp_path, token_file="token")
    (path, query, headers) = calls[0]
    assert path == "/api/dependencies"
    assert query["lookback"] == str(30 * 24 * 3_600_000)
    assert abs(int(query["endTs"]) / 1000 - datetime.now(UTC).timestamp()) < 60
    assert headers["Authorization"] == f"Bearer {SECRET}"
    (row,) = batch.coverage
    assert (row["status"], row["rows"], row["requests"]) == ("ok", 3, 1)
    assert row["window_end"] - row["window_start"] == timedelta(days=30)
    assert edges(batch)["checkout", "payment", "call"]["window_hours"] == 720


def test_zipkin_is_found_by_its_path(tmp_path):
    def answer(path, query):
        is_there = path == "/api/v2/dependencies"
        return recorded("zipkin.json") if is_there else (404, b"<html>no</html>", {})

    batch, calls = asked(answer, tmp_path)
    assert [path for path, *_ in calls] == ["/api/dependencies", "/api/v2/dependencies"]
    assert (batch.coverage[0]["status"], len(edges(batch))) == ("ok", 2)


def prometheus(path, query):
    if path != "/api/v1/query":
        return 404, b"404 page not found", {}
    name = "failed" if FAILED in query["query"] else "total"
    assert TOTAL in query["query"] or name == "failed"
    return recorded(f"servicegraph_{name}.json")


def test_prometheus_is_found_and_asked_for_both_counters(tmp_path):
    batch, calls = asked(prometheus, tmp_path, window_hours=168)
    assert [c[1].get("query") for c in calls[2:]] == [
        f"sum by (client,server,connection_type)(increase({counter}[10080m]))"
        for counter in (TOTAL, FAILED)
    ]
    assert edges(batch)["checkout", "payment", "call"]["error_rate"] == 0.01
    assert edges(batch)["checkout", "payment", "call"]["window_hours"] == 168
    assert batch.coverage[0]["status"] == "ok"


def test_failures_that_cannot_be_asked_for_are_the_lesser_loss(tmp_path):
    def answer(path, query):
        return (403, b"", {}) if FAILED in query["query"] else prometheus(path, query)

    batch, _ = asked(answer, tmp_path, format="servicegraph")
    (row,) = batch.coverage
    assert (row["status"], len(edges(batch))) == ("partial", 6)
    assert "error rates are unknown" in row["hint"]


@pytest.mark.parametrize(
    ("answer", "status", "hint"),
    [
        ((401, b"", {}), "denied", "expired"),
        ((403, b"", {}), "denied", "grant"),
        ((404, b"", {}), "unsupported", "dumps"),
        ((429, b"", {"Retry-After": "60"}), "throttled", "later"),
        ((200, b"<!doctype html><title>Sign in</title>", {}), "parse_error", "web page"),
        ((200, {"data": None, "errors": [{"msg": SECRET}]}, {}), "parse_error", "failed"),
        ((200, [], {}), "empty", "nothing of the services"),
    ],
)
@pytest.mark.parametrize("kind", ["jaeger", "zipkin", "servicegraph", None])
def test_what_a_refusal_is(tmp_path, kind, answer, status, hint):
    if kind in ("jaeger", "servicegraph", None) and answer[1] == []:
        answer = (200, {"data": []}, {})
    options = {"format": kind} if kind else {}
    batch, _ = asked(lambda *_: answer, tmp_path, **options)
    (row,) = batch.coverage
    assert row["status"] == status
    assert hint in row["hint"]
    assert batch.rows["dependencies"] == []


def test_a_probe_asks_for_an_hour(tmp_path):
    batch, calls = asked(lambda *_: recorded("jaeger.json"), tmp_path, probe=True)
    assert (len(calls), calls[0][1]["lookback"]) == (1, "3600000")
    assert batch.coverage[0]["status"] == "ok"


def fleet(tmp_path, graph):
    (tmp_path / "own").mkdir(exist_ok=True)
    (tmp_path / "own" / "services.csv").write_text(
        "service_id\ncheckout\npayment\nlonely\n"
    )
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    sources = (
        SourceConfig("frames", {"path": "own"}),
        SourceConfig("traces", {"path": "graph.json"}),
    )
    return collect(Config(sources, {}, tmp_path, "assess.toml"))


def observed(inventory):
    policy = load_policy()
    topology = build_topology(inventory, policy)
    seen = seen_sides(inventory, policy, topology.nodes)
    found = watched(inventory, policy, topology, seen)["dependencies_observed"]
    return found.to_dict()


def test_an_empty_graph_says_nothing_of_any_service(tmp_path):
    inventory = fleet(tmp_path, {"data": []})
    assert observed(inventory) == {"checkout": False, "payment": False, "lonely": False}
    table = inventory["coverage"].query("source == 'traces'")
    assert table["status"].tolist() == ["empty"]


def test_a_graph_says_nothing_of_services_that_are_not_in_it(tmp_path):
    inventory = fleet(tmp_path, recorded("jaeger.json"))
    found = observed(inventory)
    assert (found["checkout"], found["payment"], found["lonely"]) == (True, False, False)
    pairs = set(
        inventory["dependencies"][["src_id", "dst_id"]].itertuples(index=False, name=None)
    )
    assert ("checkout", "payment") in pairs
    assert ("checkout", "ext:orders-db") in pairs


def graph_series(server, connection):
    metric = {"client": "a", "server": server, "connection_type": connection}
    return {"metric": metric, "value": [1790000000, "5"]}


@pytest.mark.parametrize(
    ("graph", "inside", "outside"),
    [
        (
            {
                "data": [
                    {"parent": "a", "child": "leaf", "callCount": 5},
                    {"parent": "a", "child": "mysql://u@peer/x", "callCount": 5},
                ]
            },
            "leaf",
            "peer",
        ),
        (
            [
                {"parent": "a", "child": "leaf", "callCount": 5},
                {"parent": "leaf", "child": "peer", "callCount": 5},
            ],
            "leaf",
            "peer",
        ),
        (
            {
                "data": {
                    "result": [graph_series("leaf", ""), graph_series("peer", "database")]
                }
            },
            "leaf",
            "peer",
        ),
        (
            {
                "data": {
                    "result": [
                        graph_series("leaf", "messaging_system"),
                        graph_series("peer", "virtual_node"),
                    ]
                }
            },
            "leaf",
            "peer",
        ),
    ],
    ids=["jaeger", "zipkin", "servicegraph", "virtual-node"],
)
def test_who_has_spans_of_its_own_is_a_service_and_a_peer_that_never_reports_is_not(
    tmp_path, graph, inside, outside
):
    inventory = fleet(tmp_path, graph)
    assert inside in set(inventory["services"]["service_id"])
    callees = set(inventory["dependencies"]["dst_id"])
    assert {inside, f"ext:{outside}"} <= callees


def test_options_are_checked():
    source = TracesSource()
    assert (
        source.check({"endpoint": "http://x", "format": "zipkin", "window_hours": 24})
        == []
    )
    assert len(source.check({"format": "tempo", "window_hours": -1})) == 3
    assert len(source.check({"path": "x", "endpoint": 3, "window_hours": True})) == 3


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "result",
                    "parent",
                    "child",
                    "callCount",
                    "errorCount",
                    "metric",
                    "client",
                    "server",
                    "connection_type",
                    "value",
                    "status",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=80)
@given(st.lists(ANY, max_size=4), st.booleans())
def test_any_payload_becomes_edges_or_nothing(values, is_failed):
    calls, unmapped = to_links(values, is_failed=is_failed)
    for edge in to_dependencies(calls, 1.0):
        assert edge["calls"] is None or edge["calls"] >= 0
        assert 0 <= edge.get("error_rate", 0) <= 1
    assert unmapped >= 0


def test_more_edges_than_a_fleet_can_have_are_refused_with_the_limit_named(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("assess.sources.traces.MAX_EDGES", 3)
    links = [{"parent": "a", "child": f"s{n}", "callCount": n} for n in range(5)]
    (tmp_path / "graph.json").write_text(json.dumps({"data": links}))
    batch = TracesSource().collect({"path": "graph.json"}, tmp_path, Deadline(10))
    assert [row["calls"] for row in batch.rows["dependencies"]] == [4, 3, 2]
    row = batch.coverage[-1]
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 3, 5)
    assert "the 3 edges" in row["hint"]


def end(name):
    return {"workloads": [{"name": name}], "pod_name": f"{name}-1"}


def flow(src, dst, **more):
    known = {"verdict": "FORWARDED", "is_reply": False} | more
    return {"flow": {"source": end(src), "destination": end(dst)} | known}


def kiali(*edges):
    nodes = [
        {"data": {"id": "1", "workload": "till-v1", "app": "till"}},
        {"data": {"id": "2", "service": "stock"}},
        {"data": {"id": "3", "workload": "unknown", "app": "unknown"}},
    ]
    drawn = [{"data": {"source": src, "target": dst}} for src, dst in edges]
    return {"elements": {"nodes": nodes, "edges": drawn}}


XRAY = {
    "Services": [
        {
            "ReferenceId": 0,
            "Name": "till",
            "Edges": [
                {
                    "ReferenceId": 1,
                    "SummaryStatistics": {
                        "TotalCount": 8,
                        "FaultStatistics": {"TotalCount": 2},
                    },
                }
            ],
        },
        {"ReferenceId": 1, "Name": "stock", "Edges": []},
    ]
}


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (kiali(("1", "2"), ("3", "1"), ("1", "9")), (None, None)),
        (XRAY, (8, 0.25)),
        (flow("till", "stock"), (None, None)),
        (
            [
                flow("till", "stock"),
                flow("stock", "till", is_reply=True),
                flow("stock", "till", is_reply=None),
                flow("till", "vault", verdict="DROPPED"),
            ],
            (None, None),
        ),
        ([{"src": "till", "dst": "stock", "client_id": "till.shop"}], (None, None)),
    ],
)
def test_graphs_and_flows_of_meshes(tmp_path, graph, told):
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    found = edges(read("graph.json", tmp_path))
    assert set(found) == {("till", "stock", "call")}
    edge = found["till", "stock", "call"]
    assert (edge["calls"], edge.get("error_rate")) == told


def test_a_service_may_be_called_user_but_for_graphs_of_traffic(tmp_path):
    """Tempo calls whoever has no spans so; a mesh calls addresses that it does not know."""
    spans = [
        zipkin_span("1", None, "SERVER", "user"),
        zipkin_span("2", "1", "SERVER", "stock"),
    ]
    (tmp_path / "spans.json").write_text(json.dumps(spans))
    assert ("user", "stock", "call") in edges(read("spans.json", tmp_path))
    series = [
        {"metric": {"client": "user", "server": "till"}, "value": [0, "1"]},
        {"metric": {"client": "till", "server": "PassthroughCluster"}, "value": [0, "1"]},
    ]
    (tmp_path / "series.json").write_text(json.dumps({"data": {"result": series}}))
    found = edges(read("series.json", tmp_path))
    assert set(found) == {("till", "ext:PassthroughCluster", "call")}


def test_a_shared_span_without_an_id_costs_no_other(tmp_path):
    nameless = zipkin_span(None, "1", "SERVER", "stock", shared=True)
    spans = [zipkin_span("1", "", "CLIENT", "till"), nameless, *ZIPKIN_SPANS[0]]
    (tmp_path / "spans.json").write_text(json.dumps(spans))
    assert ("shop", "till", "call") in edges(read("spans.json", tmp_path))
