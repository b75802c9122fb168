from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.sources.csv_records import read_records
from assess.sources.deadline import Deadline
from assess.sources.incidents import IncidentsSource
from assess.sources.incidents.reader import Reader
from assess.sources.incidents.times import read_time

FIXTURES = Path(__file__).parent.parent / "fixtures" / "incidents"


def read(path, base=FIXTURES, **options):
    return IncidentsSource().collect({"path": path, **options}, base, Deadline(10))


def written(tmp_path, text, name="x.csv"):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    return read(name, tmp_path)


@pytest.fixture
def incidents():
    return {row["incident_id"]: row for row in read("incidents.csv").rows["incidents"]}


def test_aliases_of_headers_and_words(incidents):
    first = incidents["1001"]
    assert first["service_raw"] == "Checkout Service"
    assert first["names"][0].name == "Checkout Service"
    assert first["opened_at"] == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert first["acked_at"] == datetime(2026, 7, 1, 10, 5, tzinfo=UTC)
    assert (first["severity"], first["cause"], first["cause_basis"]) == (
        1,
        "deploy",
        "root_cause",
    )
    assert first["change_related"] is True
    assert first["platform_at_time"] == "kubernetes"
    assert (first["ttr_s"], first["resolved_basis"]) == (5400.0, "resolved_at")
    assert [name.name for name in first["affected"]] == ["checkout", "billing"]


def test_resolved_before_opened_is_kept_and_marked(incidents):
    assert incidents["1002"]["bad_time"] is True
    assert incidents["1002"]["ttr_s"] is None
    assert incidents["1002"]["resolved_at"] < incidents["1002"]["opened_at"]


def test_what_has_no_mapping_is_unknown_and_counted(incidents):
    odd = incidents["1003"]
    assert (odd["severity"], odd["cause"], odd["cause_basis"]) == (None, None, None)
    assert "resolved_at" not in odd
    assert "bad_time" not in odd
    row = read("incidents.csv").coverage[0]
    assert row["unmapped_n"] == 3  # two words, and an incident without a time
    assert "the first is incident 1005" in row["hint"]


def test_evidence_of_containers(incidents):
    evidence = {key: row["container_evidence"] for key, row in incidents.items()}
    assert evidence["1001"] == "platform"
    assert evidence["1002"] == "keyword"
    assert evidence["1006"] == "label"
    assert evidence["1003"] is None


def test_an_incident_listed_once_per_service_is_one(incidents):
    assert [name.name for name in incidents["1007"]["affected"]] == [
        "checkout",
        "billing",
    ]
    assert incidents["1007"]["service_raw"] == "checkout"


def test_dates_that_could_mean_several_moments_are_counted(incidents):
    row = read("incidents.csv").coverage[0]
    assert "1005" not in incidents
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 6, 8)
    assert "1 resolved_at unreadable, 1 opened_at with two readings" in row["hint"]
    assert row["window_start"] == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert row["window_end"] == datetime(2026, 7, 7, 10, tzinfo=UTC)


def test_ids_that_are_missing_are_derived_from_the_record(incidents):
    (derived,) = [key for key in incidents if key.startswith("csv-")]
    again = {row["incident_id"] for row in read("incidents.csv").rows["incidents"]}
    assert derived in again


def test_derived_ids_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = ["a,2026-01-01T00:00:00Z", "b,2026-01-02T00:00:00Z", "b,2026-01-03T00:00:00Z"]
    one = written(tmp_path, "\n".join(["service,opened", *rows]))
    two = written(tmp_path, "\n".join(["service,opened", *reversed(rows)]))
    ids = [{r["incident_id"] for r in batch.rows["incidents"]} for batch in (one, two)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 3


def test_free_text_is_never_kept():
    batch = read(".")
    assert "hunter2" not in repr(batch)
    assert "Lovelace" not in repr(batch)
    assert "Müller" not in repr(batch)
    assert sum(row["redacted_n"] for row in batch.coverage) == 5


def test_a_repeated_header_gives_the_first_filled_cell_and_latin_text_is_read():
    header, records = read_records((FIXTURES / "jira.csv").read_bytes())
    assert header.count("component_s") == 2
    assert [record["component_s"] for record in records] == ["checkout", "billing"]
    assert records[0]["summary"] == "Müller is down"


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("P1", 1),
        ("p5", 5),
        ("SEV0", 1),
        ("SEV-2", 2),
        ("sev 3", 3),
        ("4", 4),
        ("1 - Critical", 1),
        ("critical", 1),
        ("Major", 2),
        ("minor", 3),
        ("Low", 4),
        ("none", 5),
        ("P9", None),
        ("weird", None),
        ("", None),
        ("2026-01-01", None),
    ],
)
def test_severities(text, severity):
    reader = Reader()
    row = reader.incident({"opened_at": "2026-01-01T00:00:00Z", "severity": text})
    assert row["severity"] == severity
    assert reader.unmapped == (severity is None and text != "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05 +02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05 UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045000", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("03/04/26", None),
        ("23/Nov/26 9:04 PM", None),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        ("9999-12-31T23:59:59-14:00", None),
    ],
)
def test_times(text, expected):
    assert read_time(text) == expected


def test_duration_without_a_time_of_resolution(tmp_path):
    text = "id,opened,duration_minutes\n1,2026-01-01T00:00:00Z,90\n"
    (row,) = written(tmp_path, text).rows["incidents"]
    assert row["ttr_s"] == 5400
    assert row["resolved_at"] == datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
    assert row["resolved_basis"] == "duration_minutes"


def test_nul_bytes_and_long_cells(tmp_path):
    text = (
        "id,opened,description\n1,2026-01-01T00:00:00Z,a\0b\n2,2026-01-01T00:00:00Z,"
        + "x" * 200_000
    )
    batch = written(tmp_path, text)
    assert len(batch.rows["incidents"]) == 2
    assert "\0" not in repr(batch.rows)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", "parse_error"),
        (b"service,severity\na,1\n", "parse_error"),
        (b"id,opened\n", "empty"),
        (b"id,opened\n1,someday\n", "parse_error"),
        ("\ufeffid\topened\n1\t2026-01-01\n".encode("utf-16"), "ok"),
    ],
)
def test_status_of_files(tmp_path, content, status):
    batch = written(tmp_path, content)
    assert [row["status"] for row in batch.coverage] == [status]


def test_missing_files(tmp_path):
    assert read("absent.csv", tmp_path).coverage[0]["status"] == "unreachable"
    row = read("x.json", tmp_path, format="pagerduty").coverage[0]
    assert (row["status"], row["hint"]) == ("unreachable", "there is no such file")
    (row,) = read(".", tmp_path, format="jira").coverage
    assert row["status"] == "unreachable"


def test_options_are_checked():
    source = IncidentsSource()
    assert source.check({"path": "x.csv", "format": "csv"}) == []
    assert len(source.check({"format": "xls"})) == 2
    live = {"endpoint": "https://api.pagerduty.com", "format": "pagerduty"}
    assert source.check(live | {"since": "2026-01-01", "until": date(2026, 2, 1)}) == []
    assert len(source.check({"endpoint": "https://x.example"})) == 1
    assert (
        len(source.check(live | {"path": "x.csv", "since": "soon", "timezone": "Mars"}))
        == 3
    )
    assert source.check(
        live | {"since": "2026-02-01", "until": "2026-01-01", "page": 3}
    ) == [
        "since is not before until",
        "page is not a text",
    ]


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "id",
                "service",
                "opened",
                "resolved",
                "severity",
                "cause",
                "ttr_s",
                "platform",
            ]
        ),
        st.text(max_size=12),
    )
)
def test_any_text_becomes_a_row_or_is_counted(cells):
    reader = Reader()
    row = reader.incident({name: text.strip() for name, text in cells.items()})
    assert row is not None or reader.bad_times.of("opened_at")
    if row and row.get("ttr_s") is not None:
        assert row["ttr_s"] >= 0


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("assess.sources.incidents.MAX_TABLE_BYTES", 10)
    (row,) = written(tmp_path, "id,opened\n1,2026-01-01T00:00:00Z\n").coverage
    assert (row["status"], "split it" in row["hint"]) == ("parse_error", True)


def test_the_age_of_a_file_is_told():
    assert read("incidents.csv").coverage[0]["age_hours"] >= 0


def test_what_an_incident_touched_is_unknown_where_it_does_not_say(incidents):
    assert incidents["1003"]["affected"] is None
