"""Tools that people are paged by: their payloads, from files."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import collect, edge_evidence, validate
from assess.sources.deadline import Deadline
from assess.sources.incidents import IncidentsSource
from assess.sources.incidents.reader import Reader
from assess.sources.incidents.tools import TOOLS, incidents_in, names_in
from assess.store import write_snapshot

FIXTURES = Path(__file__).parent.parent / "fixtures"


def read(kind, path=None, base=FIXTURES, **options):
    table = {"path": path or kind, "format": kind, **options}
    assert IncidentsSource().check(table) == []
    return IncidentsSource().collect(table, base, Deadline(10))


def incidents(batch):
    return {row["incident_id"]: row for row in batch.rows["incidents"]}


def utc(day, hour, minute=0):
    return datetime(2026, 7, day, hour, minute, tzinfo=UTC)


def test_pagerduty():
    found = incidents(read("pagerduty", "pagerduty/incidents.json"))
    first, second, third, fourth = found.values()
    assert (first["incident_id"], first["service_raw"]) == ("Q1PAGE0000001A", "Checkout")
    assert [name.name for name in first["names"]] == ["PCHECK1", "Checkout"]
    assert (first["opened_at"], first["resolved_at"]) == (utc(1, 10), utc(1, 11, 30))
    assert (first["severity"], first["ttr_s"]) == (1, 5400)
    assert first["resolved_basis"] == "resolved_at"
    assert (first["cause"], first["cause_basis"]) == ("disk-full", "words of the title")
    assert (second["resolved_basis"], second["ttr_s"]) == ("last_status_change_at", 1200)
    assert (second["severity"], second["duplicate_of"]) == (4, "Q1PAGE0000001A")
    assert "resolved_at" not in third
    assert (third["severity"], third["container_evidence"]) == (1, "keyword")
    assert (fourth["bad_time"], fourth["ttr_s"]) == (True, None)


def test_pagerdutys_other_payloads_give_edges_and_deployments():
    batch = read("pagerduty")
    edges = {
        (e["src"].name, e["dst"].name): e["kind"] for e in batch.rows["dependencies"]
    }
    assert edges == {
        ("Checkout", "Billing"): "declared",
        ("Checkout", "PNOBODY"): "declared",
    }
    changes = batch.rows["activities"]
    assert [(c["kind"], c["started_at"], c["names"][0].name) for c in changes] == [
        ("deploy", utc(1, 9, 55), "Checkout"),
        ("deploy", utc(1, 9, 55), "Billing"),
    ]
    assert len({c["activity_id"] for c in changes}) == 2
    status = {Path(row["scope"]).name: row["status"] for row in batch.coverage}
    assert set(status.values()) == {"ok"}
    assert len(status) == 4


def test_pagerdutys_csv_says_the_same_as_its_json():
    (one,) = read("pagerduty", "pagerduty/incidents.csv").rows["incidents"]
    other = incidents(read("pagerduty", "pagerduty/incidents.json"))["Q1PAGE0000001A"]
    same = ("incident_id", "names", "opened_at", "resolved_at", "ttr_s", "severity")
    assert {key: one[key] for key in same} == {key: other[key] for key in same}
    assert one["acked_at"] == utc(1, 10, 2)


def test_analytics_of_pagerduty(tmp_path):
    row = {
        "id": "Q1",
        "created_at": "2026-07-01T10:00:00",
        "seconds_to_resolve": 600,
        "seconds_to_first_ack": 60,
        "service_id": "P1",
        "service_name": "Checkout",
        "priority_name": "P2",
        "urgency": "low",
        "incident_number": 1,
    }
    (tmp_path / "raw.json").write_text(json.dumps({"data": [row], "more": False}))
    (found,) = read("pagerduty", "raw.json", tmp_path).rows["incidents"]
    assert (found["severity"], found["ttr_s"], found["acked_at"]) == (
        2,
        600,
        utc(1, 10, 1),
    )
    assert found["resolved_basis"] == "seconds_to_resolve"


def test_opsgenie_names_services_by_their_list():
    first, second = incidents(read("opsgenie")).values()
    assert first["service_raw"] == "Payment"
    assert [name.name for name in first["affected"]] == ["Payment", "Checkout"]
    assert (first["opened_at"], first["resolved_at"]) == (utc(1, 10), utc(1, 11))
    assert (first["severity"], first["container_evidence"]) == (2, "label")
    assert (second["severity"], second["service_raw"], second["names"]) == (
        None,
        None,
        (),
    )
    assert "resolved_at" not in second  # a note that somebody adds moves `updatedAt`
    alone = incidents(read("opsgenie", "opsgenie/incidents.json"))
    assert next(iter(alone.values()))["service_raw"].startswith("5a4aa2f0")


def test_jira():
    first, second = incidents(read("jira", "jira/issues.json")).values()
    assert (first["opened_at"], first["ttr_s"]) == (utc(1, 10), 3600)
    assert (first["severity"], first["duplicate_of"]) == (1, "OPS-0")
    assert [name.name for name in first["affected"]] == ["checkout", "billing"]
    assert (first["cause"], first["container_evidence"]) == ("engine", "label")
    assert (second["severity"], second["names"]) == (None, ())
    assert second["resolved_basis"] == "statuscategorychangedate"


def test_jiras_csv_needs_the_time_zone_of_who_exported_it():
    batch = read("jira", "jira/issues.csv")
    (row,) = batch.coverage
    assert list(incidents(batch)) == ["OPS-2"]
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 1, 2)
    assert "timezone = " in row["hint"]
    batch = read("jira", "jira/issues.csv", timezone="Europe/Berlin")
    first, second = incidents(batch).values()
    assert (first["opened_at"], first["resolved_at"]) == (utc(23, 19, 4), utc(23, 20, 4))
    assert first["service_raw"] == "billing"
    assert [name.name for name in first["affected"]] == ["billing", "checkout"]
    assert first["container_evidence"] == "label"  # of its second label
    assert second["opened_at"] == utc(9, 8)  # its offset weighs more
    assert batch.coverage[0]["status"] == "ok"


def test_what_may_be_two_days_is_left_out_in_any_time_zone():
    cells = {"id": "1", "opened": "03/04/26 9:04 PM"}
    from zoneinfo import ZoneInfo

    reader = Reader(zone=ZoneInfo("Europe/Berlin"))
    assert reader.incident(cells) is None
    assert reader.bad_times == {("with two readings", "opened_at"): 1}


def test_servicenow_by_value():
    batch = read("servicenow")
    first, second = incidents(batch).values()
    assert (first["opened_at"], first["resolved_at"]) == (utc(1, 10), utc(1, 11))
    assert (first["service_raw"], first["severity"], first["cause"]) == (
        "Checkout",
        2,
        "host",
    )
    assert first["change_related"] is True
    assert (second["service_raw"], second["severity"], second["cause"]) == (
        "search",
        5,
        None,
    )
    assert second["resolved_basis"] == "closed_at"
    assert second["change_related"] is None
    assert batch.coverage[0]["unmapped_n"] == 1
    assert "46d44a5d" not in repr(batch)


def test_statuspage():
    first, second = incidents(read("statuspage")).values()
    assert (first["opened_at"], first["ttr_s"], first["severity"]) == (
        utc(1, 10),
        3600,
        1,
    )
    assert first["customer_facing"] is True
    assert [name.name for name in first["affected"]] == ["Payment", "Checkout"]
    assert (second["severity"], second["service_raw"], second["names"]) == (5, None, ())


@pytest.mark.parametrize("kind", TOOLS)
def test_what_people_wrote_is_never_kept(kind):
    batch = read(kind, timezone="UTC")
    assert batch.rows["incidents"]
    assert "hunter2" not in repr(batch)
    assert "Ada" not in repr(batch)
    assert sum(row.get("redacted_n", 0) for row in batch.coverage) > 0


def test_a_window_leaves_out_and_is_told():
    batch = read(
        "pagerduty",
        "pagerduty/incidents.json",
        since=date(2026, 7, 2),
        until="2026-07-04T00:00:00Z",
    )
    assert len(incidents(batch)) == 2
    row = batch.coverage[0]
    assert (row["window_start"], row["window_end"]) == (utc(2, 0), utc(4, 0))
    assert (row["status"], row["rows"], row["expected"]) == ("ok", 2, 2)
    later = read("pagerduty", "pagerduty/incidents.json", since="2027-01-01")
    assert (later.coverage[0]["status"], later.coverage[0]["rows"]) == ("empty", 0)


def test_the_policy_says_what_words_mean(tmp_path):
    (tmp_path / "own.toml").write_text(
        '[incidents]\ncontainer_words = ["kiste"]\n[incidents.severity]\nkatastrophal = 1\n'
        '[incidents.cause]\nrechner = "host"\n'
    )
    (tmp_path / "x.csv").write_text(
        "id,opened,severity,cause,title\n"
        "1,2026-07-01T00:00:00Z,katastrophal,Rechner,Kiste weg\n"
        "2,2026-07-01T00:00:00Z,high,bug,docker weg\n"
    )
    first, second = read("csv", "x.csv", tmp_path, policy="own.toml").rows["incidents"]
    assert (first["severity"], first["cause"], first["container_evidence"]) == (
        1,
        "host",
        "keyword",
    )
    assert (second["severity"], second["cause"], second["container_evidence"]) == (
        2,
        "app",
        "none",
    )
    default = read("csv", "x.csv", tmp_path)
    assert default.rows["incidents"][0]["severity"] is None
    assert default.coverage[0]["unmapped_n"] == 2
    row = read("csv", "x.csv", tmp_path, policy="none.toml").coverage[0]
    assert (row["status"], "no policy" in row["hint"]) == ("parse_error", True)


@pytest.mark.parametrize(
    ("content", "status", "hint"),
    [
        ("<!doctype html><title>Sign in</title>", "parse_error", "web page"),
        (
            '{"incidents": [{"id": "Q1", "created_at": "2026-07-01T00:00:00Z"}',
            "parse_error",
            "",
        ),
        ('{"incidents": []}', "empty", ""),
        ('{"something": "else"}', "parse_error", "no incidents as pagerduty"),
        (
            '{"incidents": [{"id": "Q1", "created_at": "1628-01-01T00:00:00Z"}]}',
            "parse_error",
            "",
        ),
        (
            '{"incidents": [null, 3, {"id": {"a": 1}, "created_at": ["x"]}]}',
            "parse_error",
            "",
        ),
        ("", "parse_error", ""),
    ],
)
def test_status_of_files(tmp_path, content, status, hint):
    (tmp_path / "x.json").write_text(content)
    (row,) = read("pagerduty", "x.json", tmp_path).coverage
    assert row["status"] == status
    assert hint in row.get("hint", "")


def test_a_user_in_the_name_of_a_service_is_left_out(tmp_path):
    row = {
        "id": "Q1",
        "incident_number": 1,
        "created_at": "2026-07-01T00:00:00Z",
        "service": {"id": "P\0", "summary": "https://ada:hunter2@shop.example"},
    }
    (tmp_path / "x.json").write_text(json.dumps([row]))
    batch = read("pagerduty", "x.json", tmp_path)
    assert "hunter2" not in repr(batch)
    assert "\\x00" not in repr(batch)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "fields",
                    "service",
                    "created_at",
                    "data",
                    "message",
                    "components",
                    "impactedServices",
                    "number",
                    "impact",
                    "summary",
                    "name",
                    "value",
                    "priority",
                    "issuelinks",
                    "display_value",
                    "tags",
                    "resolved_at",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=80)
@given(st.sampled_from(sorted(TOOLS)), st.lists(ANY, max_size=4))
def test_any_payload_becomes_rows_or_nothing(kind, values):
    names, reader = names_in(values), Reader()
    for raw in incidents_in(TOOLS[kind], values):
        if (record := TOOLS[kind].to_record(raw, names)) is not None:
            reader.incident(*record)


def test_all_tools_traces_and_catalog_together_give_a_sound_snapshot(tmp_path):
    tables = [
        f'[[source]]\ntype = "incidents"\nformat = "{kind}"\npath = "{kind}"\n'
        'timezone = "Europe/Berlin"\n'
        for kind in TOOLS
    ]
    tables += [
        f'[[source]]\ntype = "{kind}"\npath = "{kind}"\n'
        for kind in ("traces", "backstage")
    ]
    for kind in (*TOOLS, "traces", "backstage"):
        (tmp_path / kind).symlink_to(FIXTURES / kind)
    (tmp_path / "assess.toml").write_text("\n".join(tables))
    inventory = collect(tmp_path / "assess.toml")
    write_snapshot(inventory, tmp_path / "out", format="csv")
    assert validate(tmp_path / "out").empty
    incidents = inventory["incidents"].set_index("incident_id")
    assert incidents.loc["Q1PAGE0000001A", "service_id"] == "checkout"
    nobodys = incidents[incidents["service_id"].isna()]
    assert "Billing" in set(nobodys["service_raw"])
    edges = edge_evidence(inventory).set_index(["src_id", "dst_id"])
    assert edges.loc[("checkout", "payment"), "known_by"] == "both"
    assert edges.loc[("checkout", "ext:orders-db"), "kinds"] == "call,data"
    assert {"declaration", "traces", "both", "nobody"} == set(edges["known_by"])
    statuses = inventory["coverage"].query(
        "source in ['traces', 'backstage', 'incidents']"
    )
    assert set(statuses["status"]) == {"ok"}
    files = [file.read_bytes() for file in (tmp_path / "out").iterdir()]
    assert len(files) > 5
    assert not any(b"hunter2" in data for data in files)


@pytest.mark.parametrize("kind", TOOLS)
def test_a_tool_need_not_be_named(kind):
    named = read(kind)
    table = {"path": kind}
    found = IncidentsSource().collect(table, FIXTURES, Deadline(10))
    assert found.rows == named.rows
    assert [row["status"] for row in found.coverage] == [
        row["status"] for row in named.coverage
    ]


def test_objects_of_a_tool_that_nobody_knows_are_read_as_a_table(tmp_path):
    issues = [
        {
            "number": 12,
            "title": "Pods of the till restart",
            "labels": [{"id": 1, "name": "incident"}, {"name": "kubernetes"}],
            "assignee": {"login": "ada"},
            "severity": {"name": "SEV2"},
            "createdAt": "2026-07-01T08:00:00Z",
            "closedAt": "2026-07-01T09:30:00Z",
            "body": "token hunter2",
        },
        {"number": 13, "title": "Slow", "createdAt": "2026-07-02T08:00:00Z"},
    ]
    (tmp_path / "issues.json").write_text(json.dumps(issues))
    (tmp_path / "page.json").write_text(json.dumps({"total": 2, "issues_found": issues}))
    for name in ("issues.json", "page.json"):
        batch = IncidentsSource().collect({"path": name}, tmp_path, Deadline(10))
        first, second = batch.rows["incidents"]
        assert (first["incident_id"], first["severity"]) == ("12", 2)
        assert (first["opened_at"], first["resolved_at"]) == (utc(1, 8), utc(1, 9, 30))
        assert first["container_evidence"] == "label"
        assert "resolved_at" not in second
        assert "hunter2" not in str(batch.rows)
        assert batch.coverage[0]["status"] == "ok"


def issue(number, *labels, **more):
    times = {"created_at": "2026-03-01T08:00:00Z", "closed_at": "2026-03-01T09:00:00Z"}
    named = [{"name": label, "color": "ededed"} for label in labels]
    return {"number": number, "title": "x", "labels": named, **times, **more}


ISSUES = [
    issue(1, "incident", "service:till"),
    issue(2, "feature"),
    issue(3),
    issue(4, "incident", pull_request={"url": "x"}),
]
TYPED = [
    {"iid": 1, "issue_type": "incident", "labels": ["service::till"]},
    {"iid": 2, "issue_type": "issue", "labels": []},
]


@pytest.mark.parametrize(
    ("issues", "found", "hint"),
    [
        (ISSUES, {"1"}, "left out 2: cancelled, a drill, or of another type"),
        (ISSUES[1:3], {"2", "3"}, None),  # nobody labels incidents there: any may be one
        ([issue(row["iid"]) | row for row in TYPED], {"1"}, "left out 1: "),
        (
            [issue(5, state="open"), issue(6, state="cancelled")],
            {"5"},
            "left out 1: ",
        ),
    ],
)
def test_what_an_issue_tracker_calls_no_incident_is_none(tmp_path, issues, found, hint):
    (tmp_path / "issues.json").write_text(json.dumps(issues))
    batch = IncidentsSource().collect({"path": "issues.json"}, tmp_path, Deadline(10))
    assert {row["incident_id"] for row in batch.rows["incidents"]} == found
    (row,) = batch.coverage
    assert str(row.get("hint")).startswith(str(hint))
    assert (row["status"], row["rows"], row["expected"]) == ("ok", *[len(found)] * 2)


def test_a_number_alone_does_not_make_it_pagerdutys(tmp_path):
    """Other paging tools number their incidents too."""
    own = {
        "incident_number": 12,
        "creation_date": "2026-07-19T12:00:00Z",
        "resolved_date": "2026-07-19T12:30:00Z",
        "service_object": {"name": "till"},
    }
    (tmp_path / "incidents.json").write_text(json.dumps([own]))
    batch = IncidentsSource().collect({"path": "incidents.json"}, tmp_path, Deadline(10))
    (row,) = batch.rows["incidents"]
    assert (row["service_raw"], row["opened_at"]) == ("till", utc(19, 12))


def test_json_of_nothing_known_says_so(tmp_path):
    (tmp_path / "x.json").write_text('{"hosts": [{"name": "a"}], "n": 3}')
    batch = IncidentsSource().collect({"path": "x.json"}, tmp_path, Deadline(10))
    assert batch.coverage[0]["status"] == "parse_error"
    assert "name it one of opened_at" in batch.coverage[0]["hint"]


def test_an_alert_of_opsgenie_ends_where_its_report_says(tmp_path):
    alert = {
        "tinyId": "7",
        "message": "CPU",
        "status": "closed",
        "createdAt": "2026-07-01T10:00:00Z",
        "updatedAt": "2026-07-09T10:00:00Z",
    }
    report = {"ackTime": 60_000, "closeTime": 1_800_000}  # milliseconds
    closed = alert | {"tinyId": "8", "report": report}
    (tmp_path / "alerts.json").write_text(json.dumps({"data": [alert, closed]}))
    found = incidents(read("opsgenie", "alerts.json", tmp_path))
    assert "resolved_at" not in found["7"]
    assert (found["8"]["resolved_at"], found["8"]["ttr_s"]) == (utc(1, 10, 30), 1800)
    assert found["8"]["acked_at"] == utc(1, 10, 1)


def test_a_table_of_issues_of_devlake_has_the_time_when_it_was_written_beside_it(
    tmp_path,
):
    table = (
        "id,created_at,issue_key,type,status,created_date,resolution_date,priority,component\n"
        "x:1,2026-09-15T18:51:48.360,A-1,INCIDENT,DONE,2026-09-05T18:20:28.003+00:00,"
        "2026-09-05T18:21:28.003+00:00,P2,till\n"
    )
    (tmp_path / "issues.csv").write_text(table)
    options = {"path": "issues.csv"}
    batch = IncidentsSource().collect(options, tmp_path, Deadline(20))
    (row,) = batch.rows["incidents"]
    assert row["opened_at"] == datetime(2026, 9, 5, 18, 20, 28, 3000, tzinfo=UTC)
    assert row["ttr_s"] == 60


def test_a_raw_table_of_devlake_holds_the_answers_of_its_tool(tmp_path):
    incident = {
        "id": "P1",
        "incident_number": 4,
        "incident_key": "x",
        "created_at": "2026-07-01T06:23:06Z",
        "last_status_change_at": "2026-07-01T07:02:36Z",
        "status": "resolved",
        "service": {"id": "S1", "summary": "Checkout"},
    }
    texts = [json.dumps(incident), json.dumps(incident)[:40]]  # one is cut off
    with (tmp_path / "raw.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "params", "data", "url", "input", "created_at"])
        for text in texts:
            table.writerow([1, "{}", text, "", "null", "2026-09-15 18:23:59"])
    batch = IncidentsSource().collect({"path": "raw.csv"}, tmp_path, Deadline(10))
    ((key, row),) = incidents(batch).items()
    assert (key, row["service_raw"]) == ("P1", "Checkout")
    assert (row["opened_at"].hour, row["resolved_at"].hour) == (6, 7)
    assert batch.coverage[0]["status"] == "partial"


def alert(number, state, ended):
    return {
        "fingerprint": str(number),
        "labels": {"alertname": "Down", "service": "till", "severity": "critical"},
        "startsAt": "2026-07-01T10:00:00.5Z",
        "endsAt": ended,
        "status": state,
    }


@pytest.mark.parametrize(
    ("payload", "minutes"),
    [
        (
            {
                "status": "firing",
                "alerts": [
                    alert(1, "firing", "0001-01-01T00:00:00Z"),
                    alert(2, "resolved", "2026-07-01T10:30:00.5Z"),
                ],
            },
            {"1": None, "2": 1800},
        ),
        # an end that is expected, should nobody tell of the alert again
        ([alert(1, {"state": "active"}, "2026-07-01T10:15:00Z")], {"1": None}),
    ],
)
def test_alerts_of_alertmanager(tmp_path, payload, minutes):
    (tmp_path / "alerts.json").write_text(json.dumps(payload))
    batch = IncidentsSource().collect({"path": "alerts.json"}, tmp_path, Deadline(10))
    found = incidents(batch)
    told = {key.partition(" ")[0]: row.get("ttr_s") for key, row in found.items()}
    assert told == minutes
    facts = {(row["service_raw"], row["severity"]) for row in found.values()}
    assert facts == {("till", 1)}


def test_an_incident_that_is_open_has_no_end(tmp_path):
    (tmp_path / "tickets.csv").write_text(
        "id,opened,resolved,state\n"
        "1,2026-07-01T10:00:00Z,2026-07-01T11:00:00Z,Reopened\n"
        "2,2026-07-01T10:00:00Z,2026-07-01T11:00:00Z,Closed\n"
    )
    found = incidents(read("csv", "tickets.csv", tmp_path))
    assert {key: row.get("ttr_s") for key, row in found.items()} == {"1": None, "2": 3600}


def test_an_alert_that_comes_again_is_another_incident(tmp_path):
    first = alert(1, "resolved", "2026-07-01T10:30:00.5Z")
    again = first | {
        "startsAt": "2026-07-02T10:00:00Z",
        "endsAt": "2026-07-02T11:00:00Z",
    }
    told = [first | {"status": "firing", "endsAt": "0001-01-01T00:00:00Z"}, first, again]
    (tmp_path / "alerts.json").write_text(json.dumps(told))
    batch = IncidentsSource().collect({"path": "alerts.json"}, tmp_path, Deadline(10))
    assert [row["ttr_s"] for row in batch.rows["incidents"]] == [1800, 3600]
