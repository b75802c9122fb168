"""Connections: the forms of dumps, who called whom, and which services the ends are."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assess.execution import working
from assess.sources.base import Batch, Name
from assess.sources.connections import ConnectionsSource, flows
from assess.sources.connections.flows import is_flow_log
from assess.sources.connections.observed import is_whole
from assess.sources.connections.sockets import Process, endpoint, read_text
from assess.sources.deadline import Deadline
from assess.sources.joining.merge import to_tables

ESTAB = "ESTAB 0 0 10.0.0.1:40000 10.0.0.2:5432 "
MARCH = datetime(2026, 3, 2, tzinfo=UTC)


def collect(place: Path, rows: dict | None = None, **options) -> Batch:
    source = ConnectionsSource()
    options = {"path": str(place), **options}
    assert source.check(options) == []
    return source.follow(options, place, Deadline(60), rows or {})


def edges(batch: Batch, rows: dict | None = None) -> dict:
    """Return the edges by caller and callee; with what other sources know."""
    known = Batch()
    known.rows |= rows or {}
    tables, _ = to_tables([("docker", known), ("connections", batch)], [])
    table = tables["dependencies"].set_index(["src_id", "dst_id"])
    return {key: row.dropna().to_dict() for key, row in table.iterrows()}


def written(place: Path, **dumps: str) -> Path:
    for name, text in dumps.items():
        (place / f"{name.replace('_', '-')}.txt").write_text(text)
    return place


def container(name: str, host: str, **columns) -> dict:
    return {
        "names": (Name(name, "container", 0.9),),
        "workload_id": f"{host}/{name}",
        "host_id": host,
        "name": name,
        "source_kind": "container",
        "state": "running",
    } | columns


# -- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "local", "peer", "process"),
    [
        (ESTAB + 'users:(("app",pid=7,fd=3))', 40000, 5432, ("app", 7)),
        (ESTAB + 'users:(("app",7,3))', 40000, 5432, ("app", 7)),
        (
            ESTAB + 'users:(("systemd",pid=1,fd=9),("a b",pid=7,fd=3))',
            40000,
            5432,
            ("a b", 7),
        ),
        (ESTAB, 40000, 5432, ("", 0)),
        ("0 0 10.0.0.1:40000 10.0.0.2:5432", 40000, 5432, ("", 0)),
        ("tcp ESTAB 0 0 10.0.0.1:40000 10.0.0.2:5432", 40000, 5432, ("", 0)),
        ("LISTEN 0 128 *:80 *:*", 80, None, ("", 0)),
        ("LISTEN 0 128 [::]:80 [::]:*", 80, None, ("", 0)),
        ("LISTEN 0 128 :::80 :::*", 80, None, ("", 0)),
        ("LISTEN 0 128 127.0.0.53%lo:53 0.0.0.0:*", 53, None, ("", 0)),
        (
            "tcp 0 0 10.0.0.1:40000 10.0.0.2:5432 ESTABLISHED 7/app: x y",
            40000,
            5432,
            ("app", 7),
        ),
        (
            "tcp 0 0 10.0.0.1:40000 10.0.0.2:5432 ESTABLISHED 0 12345 -",
            40000,
            5432,
            ("", 0),
        ),
        ("tcp6 0 0 :::80 :::* LISTEN 7/app", 80, None, ("app", 7)),
        ("  TCP    10.0.0.1:40000  10.0.0.2:5432  ESTABLISHED  7", 40000, 5432, ("", 7)),
        ("  TCP    0.0.0.0:80  0.0.0.0:0  ABHÖREN  7", 80, None, ("", 7)),
        ("  TCP    [::]:80  [::]:0  LISTENING  7", 80, None, ("", 7)),
        ("tcp4 0 0 10.0.0.1.40000 10.0.0.2.5432 ESTABLISHED", 40000, 5432, ("", 0)),
        (
            "app 7 root 6u IPv4 123 0t0 TCP 10.0.0.1:40000->10.0.0.2:5432 (ESTABLISHED)",
            40000,
            5432,
            ("app", 7),
        ),
        (r"a\x20b 7 root 6u IPv6 123 0t0 TCP *:80 (LISTEN)", 80, None, ("a b", 7)),
    ],
)
def test_a_line_of_every_tool_is_a_socket(line, local, peer, process):
    (sample,) = read_text(line, [])
    (socket,) = sample.sockets
    assert socket.local[1] == local
    assert (socket.peer and socket.peer[1]) == peer
    assert (socket.process.name, socket.process.pid) == process


def test_headings_other_families_and_half_open_sockets_are_left_out():
    lost = []
    text = (
        "Active Internet connections (w/o servers)\nProto Recv-Q Send-Q Local Address\n"
        "unix 2 [ ] DGRAM 123 /run/x\nSYN-SENT 0 1 10.0.0.1:40000 10.0.0.2:81\n"
        "tcp ESTAB 0 0 web:ssh db:5000\n"
    )
    (sample,) = read_text(text, lost)
    assert sample.sockets == [] and len(lost) == 1


@pytest.mark.parametrize(
    "line",
    [
        "java 7 app 20u IPv6 1 0t0 TCP 10.0.0.5:56123->10.0.0.9:postgresql (ESTABLISHED)",
        "resolver 7 app 20u IPv4 1 0t0 UDP 10.0.0.5:56123->10.0.0.2:domain",
        "ESTAB 0 0 10.0.0.5:56123 db:postgresql",
        "tcp 0 0 10.0.0.5:56123 db:postgresql TIME_WAIT",
    ],
)
def test_a_socket_whose_peer_is_named_does_not_listen(line):
    lost = []
    (sample,) = read_text(line, lost)
    assert sample.sockets == [] and len(lost) == 1


def test_lines_that_old_versions_break_are_joined():
    text = 'LISTEN 0 128 *:80 *:*\n\t users:(("nginx",3,6))\nLISTEN 0 1 *:81 *:*\n'
    (sample,) = read_text(text, [])
    assert [s.process.name for s in sample.sockets] == ["nginx", ""]


def test_a_control_group_names_unit_and_container():
    identifier = "ab" * 32
    text = (
        f'{ESTAB} users:(("app",pid=7,fd=3)) cgroup:/system.slice/shop.service <->\n'
        f'{ESTAB} users:(("app",pid=8,fd=3)) cgroup:/system.slice/docker-{identifier}.scope\n'
    )
    (sample,) = read_text(text, [])
    assert [s.process for s in sample.sockets] == [
        Process("app", 7, "shop.service"),
        Process("app", 8, "", identifier),
    ]


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("[::ffff:10.0.0.5]:80", "10.0.0.5"),
        ("::ffff:10.0.0.5:80", "10.0.0.5"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("0.0.0.0:80", "*"),
        ("10.0.0.1.80", "10.0.0.1"),
    ],
)
def test_an_address_has_one_form(word, address):
    assert endpoint(word) == (address, 80)


@pytest.mark.parametrize("word", ["10.0.0.1", "web:80", "10.0.0.1:http", "1:99999", "0"])
def test_what_is_no_address_is_none(word):
    assert endpoint(word) is None


# -- who calls whom ------------------------------------------------------------------------------

WEB = """LISTEN 0 9 *:443 *:* users:(("nginx",pid=2,fd=6),("nginx",pid=1,fd=6))
LISTEN 0 9 127.0.0.1:8080 *:* users:(("java",pid=30,fd=6))
LISTEN 0 9 *:22 *:* users:(("sshd",pid=9,fd=6))
ESTAB 0 0 127.0.0.1:40000 127.0.0.1:8080 users:(("nginx",pid=2,fd=9))
ESTAB 0 0 127.0.0.1:8080 127.0.0.1:40000 users:(("java",pid=30,fd=9))
ESTAB 0 0 10.0.0.1:50001 10.0.0.2:5432 users:(("java",pid=30,fd=9))
ESTAB 0 0 10.0.0.1:50002 10.0.0.2:5432 users:(("java",pid=30,fd=9))
ESTAB 0 0 10.0.0.1:50003 203.0.113.7:443 users:(("java",pid=30,fd=9))
ESTAB 0 0 10.0.0.1:50004 10.0.9.9:6379 users:(("java",pid=30,fd=9))
ESTAB 0 0 10.0.0.1:22 10.0.0.77:51000 users:(("sshd",pid=33,fd=9))
ESTAB 0 0 10.0.0.1:443 198.51.100.4:51000 users:(("nginx",pid=2,fd=9))
"""
DB = """LISTEN 0 9 *:5432 *:* users:(("postgres",pid=3,fd=6))
ESTAB 0 0 10.0.0.2:5432 10.0.0.1:50001 users:(("postgres",pid=30,fd=9))
ESTAB 0 0 10.0.0.2:5432 10.0.8.8:50001 users:(("postgres",pid=31,fd=9))
"""


def test_both_ends_of_a_socket_are_one_edge_between_processes(tmp_path):
    batch = collect(written(tmp_path, web_1=WEB, db_1=DB))
    found = edges(batch)
    assert set(found) == {
        ("nginx", "java-8080"),
        ("java-8080", "postgres"),
        ("java-8080", "ext:203.0.113.7"),
        ("java-8080", "ext:10.0.9.9"),
    }
    store = found["java-8080", "postgres"]
    assert (store["kind"], store["calls"], store["unresolved"]) == ("data", 2, False)
    assert (store["evidence"], store["address_basis"]) == ("connections", "socket")
    assert "complete" not in store and "possible" not in store
    assert found["java-8080", "ext:10.0.9.9"]["unresolved"] is True
    assert found["java-8080", "ext:10.0.9.9"]["kind"] == "cache"
    assert "unresolved" not in found["java-8080", "ext:203.0.113.7"]
    (row,) = (row for row in batch.coverage if row["call"] == "edges")
    assert row["status"] == "partial" and row["unmapped_example"] == "10.0.8.8"


def test_lists_of_listeners_apart_change_nothing(tmp_path):
    one = edges(collect(written(tmp_path, web_1=WEB, db_1=DB)))
    apart = tmp_path / "apart"
    for host, text in (("web-1", WEB), ("db-1", DB)):
        (apart / host).mkdir(parents=True)
        for name, is_listening in (("ss", False), ("zz_sockets", True)):
            lines = text.splitlines(keepends=True)
            chosen = [line for line in lines if line.startswith("LISTEN") == is_listening]
            (apart / host / f"{name}.txt").write_text("".join(chosen))
    for file in apart.rglob("zz_sockets.txt"):
        file.rename(file.with_name("listening_ports.txt"))
    assert set(edges(collect(apart))) == set(one)


def test_one_name_on_two_hosts_is_two_services(tmp_path):
    text = 'LISTEN 0 9 *:5432 *:* users:(("postgres",pid=3,fd=6))\n'
    batch = collect(written(tmp_path, orders_01=text, billing_01=text, billing_02=text))
    tables, _ = to_tables([("connections", batch)], [])
    assert set(tables["workloads"]["service_id"]) == {
        "orders/postgres",
        "billing/postgres",
    }


def test_a_high_port_that_listens_is_no_caller(tmp_path):
    app = 'LISTEN 0 9 *:50051 *:* users:(("grpcd",pid=3,fd=6))\n'
    ui = 'ESTAB 0 0 10.0.0.1:40000 10.0.0.2:50051 users:(("webui",pid=3,fd=6))\n'
    app += 'ESTAB 0 0 10.0.0.2:50051 10.0.0.1:40000 users:(("grpcd",pid=3,fd=7))\n'
    assert set(edges(collect(written(tmp_path, ui=ui, zz=app)))) == {("webui", "grpcd")}


def test_sockets_join_containers_units_ports_and_addresses(tmp_path):
    unit = {"source_kind": "unit", "workload_id": "web-1/shop.service"}
    rows = {
        "hosts": [
            {"host_id": "i-1", "hostname": "web-1.example.com", "addresses": "10.0.0.1"},
            {"host_id": "i-2", "hostname": "db-1", "addresses": "10.0.0.2;203.0.113.5"},
        ],
        "workloads": [
            container("shop", "i-1", **unit),
            container("pg", "i-2", ports="5432->5432/tcp", addresses="172.17.0.2"),
            container("search", "i-9", addresses="10.0.7.7", ports="9200/tcp"),
        ],
    }
    text = (
        'ESTAB 0 0 10.0.0.1:50001 10.0.0.2:5432 users:(("java",pid=3,fd=9))\n'
        'ESTAB 0 0 10.0.0.1:50002 10.0.7.7:9200 users:(("java",pid=3,fd=9))\n'
    )
    found = edges(collect(written(tmp_path, web_1=text), rows), rows)
    assert set(found) == {("shop", "pg"), ("shop", "search")}
    assert {row["kind"] for row in found.values()} == {"data"}
    assert not any(row["unresolved"] for row in found.values())


def test_behind_the_address_of_a_machine_each_container_is_only_possible(tmp_path):
    rows = {
        "hosts": [{"host_id": "app-1", "addresses": "10.0.0.1"}],
        "workloads": [container("a", "app-1"), container("b", "app-1")],
    }
    db = DB.replace("10.0.8.8", "10.0.0.1")
    found = edges(collect(written(tmp_path, db_1=db), rows), rows)
    assert {key: row["possible"] for key, row in found.items()} == {
        ("a", "postgres"): True,
        ("b", "postgres"): True,
    }
    rows["workloads"].pop()
    (row,) = edges(collect(tmp_path, rows), rows).values()
    assert "possible" not in row


def test_one_address_on_many_machines_is_that_of_the_own_machine(tmp_path):
    rows = {
        "hosts": [{"host_id": "one"}, {"host_id": "two"}],
        "workloads": [
            container("a", "one", addresses="172.17.0.2"),
            container("b", "two", addresses="172.17.0.2"),
        ],
    }
    text = 'ESTAB 0 0 172.17.0.1:50001 172.17.0.2:80 users:(("proxyd",pid=3,fd=9))\n'
    found = edges(collect(written(tmp_path, two=text), rows), rows)
    assert set(found) == {("proxyd", "b")}


# -- windows -------------------------------------------------------------------------------------


def week(hours: int, step: int = 1) -> str:
    times = (MARCH + timedelta(hours=h) for h in range(0, hours + 1, step))
    return "".join(f"# {at:%Y-%m-%dT%H:%M:%SZ}\n{{}}" for at in times)


@pytest.mark.parametrize(
    ("hours", "step", "complete"), [(168, 1, "both"), (160, 1, None), (168, 12, None)]
)
def test_a_week_of_samples_is_a_complete_source_and_less_is_none(
    tmp_path, hours, step, complete
):
    samples = week(hours, step)
    db = DB.replace("10.0.8.8", "10.0.0.1")
    written(tmp_path, web_1=samples.replace("{}", WEB), db_1=samples.replace("{}", db))
    row = edges(collect(tmp_path))["java-8080", "postgres"]
    assert row.get("complete") == complete
    assert row["window_hours"] == hours
    assert row["first_seen_at"] == MARCH


def test_a_caller_that_nobody_knows_leaves_the_callee_open(tmp_path):
    samples = week(168)
    written(tmp_path, web_1=samples.replace("{}", WEB), db_1=samples.replace("{}", DB))
    assert edges(collect(tmp_path))["java-8080", "postgres"]["complete"] == "src"


def test_samples_may_be_files_with_their_time_in_the_name(tmp_path):
    for hour in range(169):
        at = MARCH + timedelta(hours=hour)
        (tmp_path / f"web-1_{at:%Y%m%dT%H%M}.txt").write_text(WEB)
    batch = collect(tmp_path)
    assert [row["host_id"] for row in batch.rows["hosts"]] == ["web-1"]
    assert edges(batch)["java-8080", "ext:203.0.113.7"]["complete"] == "src"


def test_an_empty_file_is_no_look_at_the_sockets(tmp_path):
    # a command that fails leaves one: a week of these would vouch for every caller
    hours = [MARCH + timedelta(hours=n) for n in range(170)]
    for at in hours:
        (tmp_path / f"vm-1-{at:%Y%m%dT%H%M}.txt").write_text("")
    batch = collect(tmp_path)
    assert not batch.rows["hosts"]
    assert {(row["call"], row["status"]) for row in batch.coverage} == {
        ("read", "parse_error")
    }


def test_the_rule_of_completeness_needs_length_number_and_no_gap():
    hourly = [MARCH + timedelta(hours=h) for h in range(169)]
    assert is_whole("socket", hourly)
    assert not is_whole("socket", hourly[:-1])
    assert not is_whole("socket", hourly[:50] + hourly[60:] * 2)
    assert not is_whole("socket", [])


# -- flow logs -----------------------------------------------------------------------------------


def flow(a: str, b: str, ports: str, at: int = 1_772_400_000, eni: str = "eni-1") -> str:
    return f"2 1 {eni} {a} {b} {ports} 6 9 99 {at} {at + 60} ACCEPT OK\n"


ROWS = {
    "hosts": [
        {"host_id": "i-1", "addresses": "10.0.0.1"},
        {"host_id": "i-2", "addresses": "10.0.0.2"},
    ],
    "workloads": [container("shop", "i-1"), container("pg", "i-2")],
}
TWO_WAYS = flow("10.0.0.1", "10.0.0.2", "40000 5432") + flow(
    "10.0.0.2", "10.0.0.1", "5432 40000"
)


@pytest.mark.parametrize(
    "form", ["plain", "gzip", "parquet", "custom", "commas", "quoted"]
)
def test_a_flow_log_in_any_form_gives_the_same_edge(tmp_path, form):
    lines = TWO_WAYS + flow("10.0.0.1", "10.0.0.2", "40001 5432")
    lines += flow("10.0.0.3", "10.0.0.2", "40001 81").replace("ACCEPT", "REJECT")
    lines += "2 1 eni-1 - - - - - - - 1772400000 1772400060 - NODATA\n"
    names = (
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets "
        "bytes start end action log-status"
    )
    if form == "plain":
        (tmp_path / "flows.log").write_text(lines)
    elif form == "gzip":
        (tmp_path / "flows.log.gz").write_bytes(
            gzip.compress(f"{names}\n{lines}".encode())
        )
    elif form != "parquet":
        order = [3, 4, 5, 6, 12, 10]
        quote = '"' if form == "quoted" else ""
        between = " " if form == "custom" else f"{quote},{quote}"
        cells = [line.split() for line in f"{names}\n{lines}".splitlines()]
        kept = [between.join(row[n] for n in order) for row in cells]
        text = "\n".join(f"{quote}{line}{quote}" for line in kept)
        (tmp_path / "flows.log").write_text(text)
    else:
        import pandas as pd

        cells = [line.split() for line in lines.splitlines()]
        table = pd.DataFrame(cells, columns=names.replace("-", "_").split())
        table = table.replace("-", None).astype({"srcport": "Int64", "dstport": "Int64"})
        table.to_parquet(tmp_path / "flows.parquet")
    found = edges(collect(tmp_path, ROWS), ROWS)
    assert set(found) == {("shop", "pg")}
    row = found["shop", "pg"]
    assert (row["kind"], row["calls"], row["address_basis"]) == ("data", 2, "flow")
    assert "complete" not in row


def test_flags_tell_the_caller_where_ports_do_not(tmp_path):
    head = "srcaddr dstaddr srcport dstport tcp-flags\n"
    text = (
        head + "10.0.0.1 10.0.0.2 30000 31000 18\n10.0.0.2 10.0.0.1 31000 30000 2\n" * 3
    )
    (tmp_path / "flows.log").write_text(text)
    assert set(edges(collect(tmp_path, ROWS), ROWS)) == {("pg", "shop")}


def test_a_high_port_that_many_call_is_the_callees(tmp_path):
    lines = [
        flow("10.0.0.2", "10.0.0.1", f"{33_000 + n * 7} 50051")
        + flow("10.0.0.1", "10.0.0.2", f"50051 {33_000 + n * 7}")
        for n in range(200)
    ]
    (tmp_path / "flows.log").write_text("".join(lines))
    found = edges(collect(tmp_path, ROWS), ROWS)
    assert set(found) == {("pg", "shop")}
    assert found["pg", "shop"]["calls"] == 200


@pytest.mark.parametrize(("gap", "complete"), [("OK", "both"), ("SKIPDATA", None)])
def test_a_week_of_flows_is_complete_for_the_interfaces_in_it(tmp_path, gap, complete):
    lines = ""
    for hour in range(0, 169, 3):
        at = 1_772_400_000 + hour * 3600
        lines += flow("10.0.0.1", "10.0.0.2", "40000 5432", at, "eni-a")
        lines += flow("10.0.0.1", "10.0.0.2", "40000 5432", at, "eni-b")
        lines += flow("10.0.0.1", "203.0.113.9", "40000 443", at, "eni-a")
        lines += flow("198.51.100.7", "10.0.0.2", "40000 443", at, "eni-b")
        lines += flow("10.0.0.2", "203.0.113.9", "40000 443", at, "eni-b")
    if gap == "SKIPDATA":
        for eni in ("eni-a", "eni-b"):
            lines += f"2 1 {eni} - - - - - - - 1772400000 1772400060 - SKIPDATA\n"
    (tmp_path / "flows.log").write_text(lines)
    row = edges(collect(tmp_path, ROWS), ROWS)["shop", "pg"]
    assert row.get("complete") == complete


def test_a_line_that_is_broken_costs_that_line_only(tmp_path):
    text = TWO_WAYS + "2 1 eni-1 10.0.0.1 half\n" + flow("10.0.0.1", "10.0.0.2", "x 5432")
    (tmp_path / "flows.log").write_text(text)
    batch = collect(tmp_path, ROWS)
    assert set(edges(batch, ROWS)) == {("shop", "pg")}
    assert batch.coverage[0]["unmapped_n"] == 1


def test_a_format_without_ports_is_refused_with_the_field(tmp_path):
    (tmp_path / "flows.log").write_text("srcaddr dstaddr bytes\n10.0.0.1 10.0.0.2 4\n")
    batch = collect(tmp_path, ROWS)
    assert "srcport" in batch.coverage[0]["hint"]
    assert batch.coverage[0]["status"] == "parse_error"


def test_a_log_of_many_pairs_is_added_up_in_between(tmp_path, monkeypatch):
    names = [f"10.0.{n % 3}.{n}" for n in range(1, 101)]
    hosts = [{"host_id": name, "addresses": name} for name in names]
    workloads = [container(f"s{n}", at) for n, at in enumerate(names)]
    pairs = [(one, names[n // 10]) for n, one in enumerate(names[20:])]
    lines = [flow(*pair, f"{40_000 + n} 5432") for n in range(3) for pair in pairs]
    (tmp_path / "flows.log").write_text("".join(lines))
    rows = {"hosts": hosts, "workloads": workloads}
    at_once = edges(collect(tmp_path, rows), rows)
    monkeypatch.setattr(flows, "BLOCK", 2_000)
    monkeypatch.setattr(flows, "MAX_TALKS", 50)
    told = []
    with working(tell=lambda *work: told.append(work)):
        assert edges(collect(tmp_path, rows), rows) == at_once
    assert len(told) > 5
    assert {what for what, *_ in told} == {"MiB of flows.log"}
    assert {(row["calls"], row["kind"]) for row in at_once.values()} == {(3, "data")}
    assert len(at_once) == len(pairs)


def test_a_time_that_cannot_be_costs_that_time_only(tmp_path):
    lines = TWO_WAYS + flow("10.0.0.1", "10.0.0.2", "40001 5432", at=99_999_999_999_999)
    (tmp_path / "flows.log").write_text(lines)
    row = edges(collect(tmp_path, ROWS), ROWS)["shop", "pg"]
    assert row["calls"] == 2
    assert row["last_seen_at"].year == 2026


def test_an_address_in_two_spellings_is_one(tmp_path):
    lines = TWO_WAYS + flow("::ffff:10.0.0.1", "::ffff:10.0.0.2", "40001 5432")
    (tmp_path / "flows.log").write_text(lines)
    assert edges(collect(tmp_path, ROWS), ROWS)["shop", "pg"]["calls"] == 2


def test_other_files_are_no_flow_logs(tmp_path):
    (tmp_path / "a.txt").write_text(WEB)
    assert not is_flow_log(tmp_path / "a.txt")


# -- osquery, places, limits ---------------------------------------------------------------------


def test_the_log_of_osqueryd_names_host_and_time(tmp_path):
    columns = {
        "pid": "5",
        "name": "app",
        "family": "2",
        "protocol": "6",
        "local_address": "10.0.0.1",
        "local_port": "40000",
        "remote_address": "203.0.113.7",
        "remote_port": "443",
        "state": "ESTABLISHED",
    }
    line = {
        "hostIdentifier": "web-7",
        "unixTime": 1_772_400_000,
        "action": "added",
        "columns": columns,
    }
    gone = line | {"action": "removed"}
    (tmp_path / "osqueryd.results.log").write_text(
        f"{json.dumps(line)}\n{json.dumps(gone)}"
    )
    batch = collect(tmp_path)
    assert batch.rows["hosts"][0]["host_id"] == "web-7"
    (row,) = batch.rows["dependencies"]
    assert row["calls"] == 1 and row["first_seen_at"].year == 2026


def test_hidden_files_are_told_and_not_read(tmp_path):
    written(tmp_path, web_1=WEB)
    (tmp_path / ".web-2.txt").write_text(WEB)
    batch = collect(tmp_path)
    (row,) = (row for row in batch.coverage if row["call"] == "hidden files")
    assert (row["status"], row["expected"]) == ("partial", 1)
    assert ".web-2.txt" in row["hint"]
    assert len(batch.rows["hosts"]) == 1


def test_the_option_names_the_host_of_one_file(tmp_path):
    (tmp_path / "dump.txt").write_text(WEB)
    batch = collect(tmp_path / "dump.txt", host="web-9")
    assert batch.rows["hosts"][0]["host_id"] == "web-9"
