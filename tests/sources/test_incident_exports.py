"""Incidents as tools export them: orders of dates, logs of changes, closings by a timer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assess
from assess.sources.deadline import Deadline
from assess.sources.incidents import IncidentsSource
from assess.sources.incidents.reader import Reader, read_duration
from assess.sources.incidents.times import order_of, parse_time, read_time

ORDERS = ("dmy", "mdy", "ymd")  # of day, month and year

LOG = """\
number,incident_state,sys_mod_count,sys_updated_at,opened_at,cmdb_ci,priority,category,resolved_at,closed_at
INC1,New,0,29/2/2016 01:23,29/2/2016 01:16,?,4 - Low,Network,?,?
INC1,Resolved,2,29/2/2016 08:53,29/2/2016 01:16,billing,2 - High,Network,29/2/2016 11:29,?
INC1,Active,1,29/2/2016 08:05,29/2/2016 01:16,?,3 - Moderate,Network,?,?
INC1,Closed,3,5/3/2016 12:00,29/2/2016 01:16,billing,2 - High,Network,29/2/2016 11:29,5/3/2016 12:00
INC2,New,0,1/3/2016 10:00,1/3/2016 10:00,cart,1 - Critical,?,?,?
INC2,Resolved,1,1/3/2016 11:00,1/3/2016 10:00,cart,1 - Critical,?,1/3/2016 11:00,?
INC2,Active,2,2/3/2016 09:00,1/3/2016 10:00,cart,1 - Critical,?,?,?
"""


def read(tmp_path, text, **options):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    options = {"path": "x.csv", **options}
    assert IncidentsSource().check(options) == []
    batch = IncidentsSource().collect(options, tmp_path, Deadline(20))
    return {row["incident_id"]: row for row in batch.rows["incidents"]}, batch.coverage[0]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line", ["", "sep={}\r\n", "\ufeffSEP={}\n"])
def test_any_separator_is_found_also_where_excel_is_told_of_it(tmp_path, separator, line):
    rows = ("id", "opened_at", "note"), ("I-1", "2026-02-03T14:05:00Z", "down")
    table = "\n".join(separator.join(row) for row in rows)
    incidents, row = read(tmp_path, line.format(separator) + table)
    assert [*incidents] == ["I-1"] and row["status"] == "ok"


@pytest.mark.parametrize(
    ("header", "cell", "is_change"),
    [
        ("Caused by Change", "CHG0030001", True),
        ("Caused by Change", "no", False),
        ("RFC", "nein", False),
        ("Change Request", "ja", True),
        ("Change Request", "", None),
        ("Change related", "CHG0030001", None),  # no word for yes or no
    ],
)
def test_a_change_that_is_named_is_one(tmp_path, header, cell, is_change):
    table = f"id,opened_at,{header}\nI-1,2026-02-03T14:05:00Z,{cell}\n"
    incidents, row = read(tmp_path, table)
    assert incidents["I-1"]["change_related"] is is_change
    assert bool(row.get("unmapped_n")) is (header == "Change related")


def written(day: datetime, order: str, separator: str) -> str:
    parts = {"d": f"{day.day}", "m": f"{day.month:02}", "y": f"{day.year}"}
    return separator.join(parts[part] for part in order)


DAYS = st.datetimes(datetime(1995, 1, 1), datetime(2099, 12, 31))


@settings(max_examples=200)
@given(
    st.lists(DAYS, min_size=1, max_size=6),
    st.sampled_from(ORDERS),
    st.sampled_from("/.-"),
)
def test_a_column_is_read_as_it_was_written_or_not_at_all(days, order, separator):
    cells = [written(day, order, separator) for day in days]
    detected = order_of(cells)
    is_certain = any(day.day > 12 for day in days)
    if order != "ymd":
        assert detected == order or not is_certain
        assert detected != {"dmy": "mdy", "mdy": "dmy"}[order]
    for day, cell in zip(days, cells, strict=True):
        truth = datetime(day.year, day.month, day.day, tzinfo=UTC)
        assert parse_time(cell, order=order) == truth
        assert parse_time(cell, order=detected) in (truth, None)
        if is_certain or order == "ymd" or day.day == day.month:
            assert parse_time(cell, order=detected) == truth


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["03/04/2026", "25/04/2026"], "dmy"),
        (["03/04/2026", "04/25/2026"], "mdy"),
        (["25/04/2026", "04/25/2026"], None),  # they contradict each other
        (["03/04/2026", "05/06/2026"], None),
        (["03.04.26 10:00", "25.04.26 11:00"], "dmy"),
        (["2026/04/03"], None),  # needs none
        (["", "?", "soon", "31/31/2026", "25/04.2026"], None),
    ],
)
def test_the_order_of_a_column(cells, order):
    assert order_of(cells) == order


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("29/2/2016 01:23", datetime(2016, 2, 29, 0, 23, tzinfo=UTC)),
        ("13.04.2026, 9.05 PM", datetime(2026, 4, 13, 19, 5, tzinfo=UTC)),
        ("4/13/26 12:05:30 AM", datetime(2026, 4, 12, 22, 5, 30, tzinfo=UTC)),
        ("2026/04/03 10:00 +0000", datetime(2026, 4, 3, 10, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 09:04:00 +0200", datetime(2026, 11, 23, 7, 4, tzinfo=UTC)),
        ("23. März 2026 10:00", datetime(2026, 3, 23, 9, tzinfo=UTC)),
        ("23 déc. 2026 10:00", datetime(2026, 12, 23, 9, tzinfo=UTC)),
        ("Dec 23rd, 2026 10:00", datetime(2026, 12, 23, 9, tzinfo=UTC)),
        ("46003.5", datetime(2025, 12, 12, 11, tzinfo=UTC)),
        ("25/04/2026 25:00", None),
        ("25/04/2026 13:00 PM", None),
        ("23 Brumaire 2026", None),
        ("31/02/2026", None),
    ],
)
def test_forms_of_times_in_a_zone(text, moment):
    assert read_time(text, ZoneInfo("Europe/Berlin")) == moment


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text):
    for order in (None, *ORDERS):
        assert parse_time(text, UTC, order) is None or parse_time(text, UTC, order).tzinfo


def test_the_order_of_dates_is_an_option_or_a_certainty(tmp_path):
    text = "id,opened,resolved\n1,03/04/2026 10:00,03/04/2026 11:00\n"
    rows, coverage = read(tmp_path, text)
    assert rows == {}
    assert (coverage["status"], coverage["unmapped_n"]) == ("parse_error", 1)
    assert "date_order" in coverage["hint"]
    rows, coverage = read(tmp_path, text, date_order="dmy")
    assert rows["1"]["opened_at"] == datetime(2026, 4, 3, 10, tzinfo=UTC)
    assert (rows["1"]["ttr_s"], coverage["status"]) == (3600, "ok")
    rows, _ = read(tmp_path, text, date_order="mdy")
    assert rows["1"]["opened_at"] == datetime(2026, 3, 4, 10, tzinfo=UTC)
    text += "2,28/04/2026 10:00,28/04/2026 12:00\n"
    rows, coverage = read(tmp_path, text)
    assert rows["1"]["opened_at"] == datetime(2026, 4, 3, 10, tzinfo=UTC)
    assert coverage["status"] == "ok"
    assert IncidentsSource().check({"path": "x.csv", "date_order": "ydm"}) == [
        "date_order is not one of dmy, mdy, ymd"
    ]


HEADS = """\
Störungsnummer;Betroffener Dienst;Beginn;Ende;Schweregrad;Ursache;Dauer (min)
7;Ledger;2026-09-01 08:15;;2 - hoch;Infrastructure - Storage;90
"""
NESTED = [
    {  # incident.io: times and fields that people name
        "reference": "INC-7",
        "created_at": "2026-09-01T08:40:00Z",
        "severity": {"name": "Major", "rank": 2},
        "incident_timestamp_values": [
            {
                "incident_timestamp": {"name": "Impact started"},
                "value": {"value": "2026-09-01T08:15:00Z"},
            },
            {
                "incident_timestamp": {"name": "Fixed at"},
                "value": {"value": "2026-09-01T09:45:00Z"},
            },
        ],
        "custom_field_entries": [
            {
                "custom_field": {"name": "Affected services"},
                "values": [{"value_catalog_entry": {"name": "Ledger"}}],
            }
        ],
    },
    {  # JSON:API, as Datadog, Rootly and Better Stack have it
        "type": "incidents",
        "attributes": {
            "started_at": "2026-09-01T08:15:00Z",
            "resolved": "2026-09-01T09:45:00Z",
            "severity": {"data": {"attributes": {"name": "SEV2"}}},
            "fields": {"services": {"type": "autocomplete", "value": ["Ledger"]}},
        },
    },
    {  # FireHydrant
        "severity": "SEV2",
        "created_at": "2026-09-01T08:40:00Z",
        "started_at": "2026-09-01T08:15:00Z",
        "services": [{"name": "Ledger"}],
        "milestones": [{"type": "resolved", "occurred_at": "2026-09-01T09:45:00Z"}],
    },
    {  # VictorOps
        "startTime": "2026-09-01T08:15:00Z",
        "service": "Ledger",
        "severityLabel": "Major",
        "transitions": [{"name": "RESOLVED", "at": "2026-09-01T09:45:00Z"}],
    },
    {  # GitHub, with labels
        "created_at": "2026-09-01T08:15:00Z",
        "closed_at": "2026-09-01T09:45:00Z",
        "labels": [{"name": "severity/2"}, {"name": "service: Ledger"}],
    },
]


@pytest.mark.parametrize("payload", [HEADS, *NESTED])
def test_tools_that_have_no_reader_of_their_own(tmp_path, payload):
    is_table = isinstance(payload, str)
    name = "x.csv" if is_table else "x.json"
    text = payload if is_table else json.dumps({"data": [payload]})
    (tmp_path / name).write_text(text)
    batch = IncidentsSource().collect({"path": name}, tmp_path, Deadline(20))
    [row] = batch.rows["incidents"]
    assert row["opened_at"] == datetime(2026, 9, 1, 8, 15, tzinfo=UTC)
    assert (row["ttr_s"], row["severity"]) == (5400, 2)
    assert row["service_raw"] == "Ledger"
    assert row["cause"] == ("storage" if is_table else None)
    assert batch.coverage[0]["unmapped_n"] == 0


def test_a_column_that_shows_its_order_says_nothing_of_another(tmp_path):
    text = "id,opened,resolved\n1,28/04/2026 10:00,03/05/2026 11:00\n"
    rows, coverage = read(tmp_path, text)
    assert "resolved_at" not in rows["1"]
    assert "1 resolved_at with two readings" in coverage["hint"]


def test_a_log_of_changes_is_folded_to_the_last_state(tmp_path):
    rows, coverage = read(tmp_path, LOG)
    assert list(rows) == ["INC1", "INC2"]
    first, second = rows.values()
    assert first["opened_at"] == datetime(2016, 2, 29, 1, 16, tzinfo=UTC)
    assert first["resolved_at"] == datetime(2016, 2, 29, 11, 29, tzinfo=UTC)
    assert (first["severity"], first["service_raw"]) == (2, "billing")
    assert (first["cause"], first["fault"]) == ("network", "network")
    assert first["affected"] is None
    assert "resolved_at" not in second  # it was opened again
    assert (coverage["rows"], coverage["expected"], coverage["status"]) == (2, 2, "ok")


def test_requests_and_cancelled_tickets_are_no_incidents(tmp_path):
    text = """Issue key,Issue Type,Status,Created,Outward issue link (Duplicate)
OPS-1,[System] Incident,Done,2026-04-01 10:00,
OPS-2,Service Request,Done,2026-04-02 10:00,
OPS-3,Incident,Canceled,2026-04-03 10:00,
OPS-4,Incident,Done,2026-04-04 10:00,OPS-1
"""
    rows, coverage = read(tmp_path, text)
    assert set(rows) == {"OPS-1", "OPS-4"}
    assert rows["OPS-4"]["duplicate_of"] == "OPS-1"
    assert coverage["hint"] == "left out 2: cancelled, a drill, or of another type"


def test_what_was_declined_or_merged_into_another_is_no_incident(tmp_path):
    text = "id,created_at,incident_status\n" + "".join(
        f"{word},2026-05-19T12:37:01Z,{word}\n"
        for word in ("Closed", "Declined", "Merged", "Canceled")
    )
    rows, _ = read(tmp_path, text)
    assert set(rows) == {"Closed"}


@pytest.mark.parametrize(
    ("header", "real", "drill"),
    [
        ("mode", ["standard", "retrospective"], ["test", "Tutorial"]),
        ("kind", ["normal", "backfilled"], ["test", "test_sub", "example", "scheduled"]),
        # the notices of a cloud are beside the failures of its services
        ("eventTypeCategory", ["issue"], ["accountNotification", "scheduledChange"]),
    ],
)
def test_a_drill_is_no_incident(tmp_path, header, real, drill):
    text = f"id,created_at,incident_status,{header}\n" + "".join(
        f"{word},2026-05-19T12:37:01Z,Closed,{word}\n" for word in (*real, *drill)
    )
    rows, coverage = read(tmp_path, text)
    assert set(rows) == set(real)
    assert f"left out {len(drill)}" in coverage["hint"]


def test_the_priority_of_pagerduty_comes_before_its_urgency(tmp_path):
    text = "id,created_on,urgency,priority_name\n1,2026-05-19T12:37:01Z,high,P1\n"
    rows, _ = read(tmp_path, text)
    assert rows["1"]["severity"] == 1


def test_when_it_began_comes_before_when_it_was_written_down(tmp_path):
    text = "id,created,begin\n1,2026-04-01T10:20:00Z,2026-04-01T10:00:00Z\n"
    rows, _ = read(tmp_path, text)
    assert rows["1"]["opened_at"] == datetime(2026, 4, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("seconds", ["1e12", "9" * 400, "-5", "inf"])
def test_an_acknowledgement_after_ages_is_unknown(tmp_path, seconds):
    text = f"id,opened_at,seconds_to_first_ack\n1,2026-04-01T10:00:00Z,{seconds}\n"
    rows, _ = read(tmp_path, text)
    assert rows["1"]["acked_at"] is None


def test_the_order_of_rows_of_a_log_changes_nothing(tmp_path):
    head, *lines = LOG.splitlines()
    there, _ = read(tmp_path, LOG)
    back, _ = read(tmp_path, "\n".join([head, *reversed(lines)]))
    assert there == back


def test_a_log_without_times_of_its_incidents(tmp_path):
    text = (
        "incident,new_state,timestamp,severity\n"
        "A,open,2026-07-01T10:00:00Z,P3\nA,in progress,2026-07-01T10:10:00Z,P1\n"
        "A,resolved,2026-07-01T11:00:00Z,P1\nA,closed,2026-07-06T11:00:00Z,P1\n"
    )
    (row,) = read(tmp_path, text)[0].values()
    assert (row["severity"], row["ttr_s"], row["resolved_basis"]) == (1, 3600, "state")


def test_rows_of_one_incident_for_several_services_are_no_log(tmp_path):
    text = (
        "id,service,opened,updated_at\n1,cart,2026-07-01T10:00:00Z,2026-07-02T10:00:00Z\n"
        "1,billing,2026-07-01T10:00:00Z,2026-07-02T10:00:00Z\n"
    )
    (row,) = read(tmp_path, text)[0].values()
    assert [name.name for name in row["affected"]] == ["cart", "billing"]


@pytest.mark.parametrize(
    "text", ["?", "-", "n/a", "N/A", "null", "none", "unknown", " -- ", ""]
)
def test_words_for_missing_are_missing_and_not_unreadable(tmp_path, text):
    cells = (
        f"id,service,opened,resolved,cause\n1,{text},2026-07-01T10:00:00Z,{text},{text}"
    )
    rows, coverage = read(tmp_path, cells)
    assert rows["1"]["service_raw"] is None
    assert rows["1"]["names"] == ()
    assert "resolved_at" not in rows["1"]
    assert (coverage["status"], coverage["unmapped_n"]) == ("ok", 0)


def test_the_hint_counts_empty_cells_apart_from_unreadable_ones(tmp_path):
    text = "id,opened\n1,\n2,?\n3,someday\n4,2026-07-01T10:00:00Z\n5,03/04/2026\n"
    coverage = read(tmp_path, text)[1]
    assert "2 opened_at empty, 1 opened_at unreadable" in coverage["hint"]
    assert "1 opened_at with two readings" in coverage["hint"]
    assert (coverage["unmapped_n"], coverage["status"]) == (4, "partial")


def closings(lags, more=""):
    start = datetime(2026, 7, 1, 10, tzinfo=UTC)
    lines = ["id,opened,resolved,closed_at"]
    for n, lag in enumerate(lags):
        end = start + timedelta(hours=1)
        closed = end + timedelta(days=lag)
        lines.append(f"{n},{start:%FT%TZ},{end:%FT%TZ},{closed:%FT%TZ}")
    return "\n".join([*lines, more])


ONLY_CLOSED = "x,2026-07-01T10:00:00Z,,2026-07-06T11:00:00Z"


def test_a_closing_by_a_timer_is_no_time_to_repair(tmp_path):
    rows, _ = read(tmp_path, closings([5, 5.01, 5, 5.02, 0.5], ONLY_CLOSED))
    assert rows["0"]["ttr_s"] == 3600
    assert (rows["0"]["resolved_basis"], rows["x"]["ttr_s"]) == ("resolved", None)
    assert rows["x"]["resolved_basis"] == "closed_at by timer"
    rows, _ = read(tmp_path, closings([0.1, 2, 0.3, 9, 4], ONLY_CLOSED))
    assert (rows["x"]["resolved_basis"], rows["x"]["ttr_s"]) == ("closed_at", 435600)


def test_years_that_cannot_be_are_kept_as_bad_times(tmp_path):
    text = (
        "id,opened,resolved\n1,1628-01-01T00:00:00Z,2026-07-01T11:00:00Z\n"
        "2,2026-07-01T10:00:00Z,9998-12-31T00:00:00Z\n3,2026-07-01T10:00:00Z,\n"
    )
    rows, coverage = read(tmp_path, text)
    assert [row.get("bad_time") for row in rows.values()] == [True, True, None]
    assert [row.get("ttr_s") for row in rows.values()] == [None, None, None]
    assert "1 opened_at in an impossible year" in coverage["hint"]
    assert coverage["window_start"] == coverage["window_end"]  # of the third alone
    (tmp_path / "assess.toml").write_text(
        '[[source]]\ntype = "incidents"\npath = "x.csv"\n'
    )
    table = assess.collect(tmp_path / "assess.toml")["incidents"]
    assert table["bad_time"].fillna(value=False).tolist() == [True, True, False]
    assert table["opened_at"].dt.year.tolist() == [1628, 2026, 2026]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ({"fault_type": "Packet loss"}, "network"),
        ({"fault": "memory"}, "memory"),
        ({"title": "Checkout is slow", "cause": "host"}, "latency"),
        ({"title": "worker OOM-killed"}, "memory"),
        ({"cause": "disk space"}, "data"),
        ({"cause": "bad hardware"}, None),
        ({"cause": "hardware"}, "crash"),
        ({"cause": "human error"}, None),
        ({}, None),
    ],
)
def test_faults(cells, fault):
    row = Reader().incident({"opened_at": "2026-01-01T00:00:00Z", **cells})
    assert row["fault"] == fault


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h 30m", 5400),
        ("01:30:00", 5400),
        ("PT1H30M", 5400),
        ("2 Days 3 Hours", 183600),
        ("90", None),  # of which unit?
        ("soon", None),
        ("NaT", None),
        ("a" * 10_000, None),
    ],
)
def test_durations_that_say_their_units(text, seconds):
    assert read_duration(text) == seconds
