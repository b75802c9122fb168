"""Tools that people are paged by, asked over HTTP: windows, pages, limits, refusals."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from replay import replaying

from assess.sources.deadline import Deadline
from assess.sources.incidents import IncidentsSource
from assess.sources.incidents.tools import months

FIXTURES = Path(__file__).parent.parent / "fixtures"
WINDOW = {"since": "2026-06-01", "until": "2026-08-01"}
SECRET = "hunter2"


@pytest.fixture
def asking(tmp_path):
    """Ask a server that answers so; gives the batch and what the server was asked."""

    def ask(kind, answer, *, token=SECRET, probe=False, seconds=20, **options):
        (tmp_path / "token").write_text(token + "\n")
        source = IncidentsSource()
        with replaying(answer) as replay:
            table = {
                "endpoint": replay.url,
                "format": kind,
                "token_file": "token",
                **options,
            }
            assert source.check(table) == []
            call = source.probe if probe else source.collect
            batch = call(table, tmp_path, Deadline(seconds))
        assert SECRET not in repr(batch)
        return batch, replay.asked

    return ask


def recorded(name):
    return json.loads((FIXTURES / name).read_text())


def numbered(n, at, **more):
    return {
        "id": f"Q{n}",
        "incident_number": n,
        "created_at": at,
        "status": "triggered",
        "service": {"id": "P1", "summary": "Checkout"},
        "urgency": "low",
        **more,
    }


def pagerduty(rows):
    """Answer as PagerDuty does: limits of page, window and offset included."""

    def answer(path, query):
        assert path == "/incidents"
        since, until = (datetime.fromisoformat(query[k]) for k in ("since", "until"))
        offset, limit = int(query["offset"]), min(int(query["limit"]), 100)
        if until - since > timedelta(days=180) or offset + limit > 10_000:
            return 400, {"error": {"message": "Invalid Input Provided", "code": 2001}}, {}
        inside = [
            r for r in rows if since <= datetime.fromisoformat(r["created_at"]) < until
        ]
        page = inside[offset : offset + limit]
        more = offset + limit < len(inside)
        return {"incidents": page, "total": len(inside), "more": more, "offset": offset}

    return answer


def test_pagerduty_is_asked_month_by_month_and_page_by_page(asking):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [numbered(n, (start + timedelta(days=n)).isoformat()) for n in range(300)]
    rows += [numbered(1000 + n, "2026-03-05T00:00:00+00:00") for n in range(230)]
    batch, asked = asking(
        "pagerduty", pagerduty(rows), since="2026-01-01", until="2026-10-28"
    )
    (row,) = batch.coverage
    assert len(batch.rows["incidents"]) == 530
    assert (row["status"], row["rows"], row["expected"]) == ("ok", 530, 530)
    assert row["requests"] == len(asked) == 12
    assert row["window_start"] == start
    assert row["window_end"] == datetime(2026, 10, 28, tzinfo=UTC)
    assert all(
        headers["Authorization"] == f"Token token={SECRET}" for *_, headers in asked
    )
    assert all(
        query["time_zone"] == "UTC" and query["total"] == "true" for _, query, _ in asked
    )


def test_a_month_with_more_than_the_offset_reaches_is_halved(asking):
    start = datetime(2026, 6, 1, tzinfo=UTC)
    rows = [
        numbered(n, (start + timedelta(minutes=2 * n)).isoformat()) for n in range(12_000)
    ]
    batch, _ = asking(
        "pagerduty", pagerduty(rows), since="2026-06-01", until="2026-06-20"
    )
    assert batch.coverage[0]["status"] == "ok"
    assert len(batch.rows["incidents"]) == 12_000


def test_without_a_window_half_a_year_is_asked_for(asking):
    batch, asked = asking("pagerduty", pagerduty([]))
    (row,) = batch.coverage
    assert row["status"] == "empty"
    assert row["window_end"] - row["window_start"] == timedelta(days=180)
    assert abs(datetime.now(UTC) - row["window_end"]) < timedelta(minutes=1)
    assert len(asked) == 6


def test_half_a_page_then_an_error_is_partial(asking):
    rows = [numbered(n, "2026-06-05T00:00:00+00:00") for n in range(150)]
    whole = pagerduty(rows)

    def answer(path, query):
        return whole(path, query) if query["offset"] == "0" else (401, b"no", {})

    batch, _ = asking("pagerduty", answer, **WINDOW)
    (row,) = batch.coverage
    assert len(batch.rows["incidents"]) == 100
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 100, 150)
    assert row["error_class"] == "HttpError"


@pytest.mark.parametrize(
    ("answer", "status", "hint"),
    [
        ((401, {"error": {"message": SECRET}}, {}), "denied", "expired"),
        ((403, {"error": {"message": SECRET}}, {}), "denied", "grant"),
        ((404, b"no such page", {}), "unsupported", "dumps"),
        ((429, b"", {"Retry-After": "120"}), "throttled", "later"),
        ((500, b"", {}), "unreachable", "address"),
        ((200, b"<!doctype html><title>Sign in</title>", {}), "parse_error", "web page"),
        ((200, {"message": SECRET}, {}), "parse_error", "another shape"),
        ((200, b'{"incidents": [{"id"', {}), "parse_error", ""),
    ],
)
@pytest.mark.parametrize(
    "kind", ["pagerduty", "opsgenie", "jira", "servicenow", "statuspage"]
)
def test_what_a_refusal_is(asking, kind, answer, status, hint):
    batch, _ = asking(kind, lambda *_: answer, **WINDOW, seconds=5)
    assert batch.rows["incidents"] == []
    row = batch.coverage[-1]
    assert (row["call"], row["status"]) == ("incidents", status)
    assert hint in row["hint"]


def test_throttled_once_is_asked_again(asking):
    busy = iter([(429, b"", {"Retry-After": "0"})])
    whole = pagerduty([numbered(1, "2026-06-05T00:00:00+00:00")])
    batch, _ = asking("pagerduty", lambda *a: next(busy, None) or whole(*a), **WINDOW)
    assert (batch.coverage[0]["status"], batch.coverage[0]["retries"]) == ("ok", 1)


def test_opsgenie(asking):
    def answer(path, query):
        if path == "/v1/services":
            return recorded("opsgenie/services.json")
        return recorded("opsgenie/incidents.json")

    batch, asked = asking("opsgenie", answer, since="2026-07-01", until="2026-07-30")
    assert [row["status"] for row in batch.coverage] == ["ok", "ok"]
    assert batch.rows["incidents"][0]["service_raw"] == "Payment"
    assert asked[0][2]["Authorization"] == f"GenieKey {SECRET}"
    assert (
        asked[1][1]["query"] == "createdAt >= 1782864000000 AND createdAt < 1785369600000"
    )


def test_opsgenie_without_access_to_services_keeps_the_incidents(asking):
    def answer(path, query):
        denied = (403, b"", {})
        return denied if path == "/v1/services" else recorded("opsgenie/incidents.json")

    batch, _ = asking("opsgenie", answer, since="2026-07-01", until="2026-07-30")
    assert [row["status"] for row in batch.coverage] == ["denied", "ok"]
    assert len(batch.rows["incidents"]) == 2


def test_jira_follows_its_token(asking):
    first, second = recorded("jira/issues.json")["issues"]

    def answer(path, query):
        assert path == "/rest/api/3/search/jql"
        if query.get("nextPageToken") == "more":
            return {"issues": [second], "isLast": True}
        return {"issues": [first], "nextPageToken": "more", "isLast": False}

    batch, asked = asking(
        "jira", answer, token=f"ada@shop.example:{SECRET}", jql="project = OPS", **WINDOW
    )
    assert len(batch.rows["incidents"]) == len(asked) == 2
    assert asked[0][1]["jql"].startswith(
        '(project = OPS) AND created >= "2026-05-31" AND'
    )
    basic = base64.b64encode(f"ada@shop.example:{SECRET}".encode()).decode()
    assert asked[0][2]["Authorization"] == f"Basic {basic}"
    assert "shop.example" not in repr(batch)


def test_jira_that_repeats_its_token_ends(asking):
    page = recorded("jira/issues.json") | {"isLast": False, "nextPageToken": "same"}
    batch, asked = asking("jira", lambda *_: page, **WINDOW)
    assert (len(batch.rows["incidents"]), len(asked)) == (2, 2)


def test_servicenow_pages_by_its_count(asking):
    row = recorded("servicenow/incident.json")["result"][0]

    def answer(path, query):
        assert path == "/api/now/table/incident"
        start = int(query["sysparm_offset"])
        page = [
            row | {"number": f"INC{n}"} for n in range(start, min(start + 1000, 2300))
        ]
        return 200, {"result": page}, {"X-Total-Count": "2300"}

    batch, asked = asking("servicenow", answer, **WINDOW)
    assert (len(batch.rows["incidents"]), len(asked)) == (2300, 3)
    assert batch.coverage[0]["status"] == "ok"
    assert asked[0][1]["sysparm_display_value"] == "all"
    assert asked[0][1]["sysparm_query"].startswith("opened_at>=2026-05-31 00:00:00^")


def test_servicenow_whose_rows_are_hidden_is_partial(asking):
    page = recorded("servicenow/incident.json")
    batch, _ = asking(
        "servicenow", lambda *_: (200, page, {"X-Total-Count": "9"}), **WINDOW
    )
    (row,) = batch.coverage
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 2, 9)
    assert "cannot read" in row["hint"]


def test_statuspage_ends_at_the_window(asking):
    first = recorded("statuspage/incidents.json")[0]

    def answer(path, query):
        assert path == "/v1/pages/kctb/incidents.json"
        month = 8 - int(query["page"])
        at = f"2026-{month:02}-01T00:00:00Z"
        return [
            first | {"id": f"{month}-{n}", "created_at": at, "started_at": at}
            for n in range(100)
        ]

    batch, asked = asking("statuspage", answer, page="kctb", **WINDOW)
    assert (len(batch.rows["incidents"]), len(asked)) == (200, 3)
    assert asked[0][2]["Authorization"] == f"OAuth {SECRET}"


def test_the_public_status_page_shows_only_the_newest(asking):
    rows = [recorded("statuspage/incidents.json")[0] | {"id": str(n)} for n in range(50)]
    batch, _ = asking("statuspage", lambda *_: {"page": {}, "incidents": rows}, **WINDOW)
    (row,) = batch.coverage
    assert (row["status"], row["rows"]) == ("partial", 50)
    assert "page" in row["hint"]


def test_a_probe_asks_once(asking):
    rows = [numbered(n, "2026-06-05T00:00:00+00:00") for n in range(150)]
    batch, asked = asking("pagerduty", pagerduty(rows), probe=True, **WINDOW)
    assert len(asked) == 1
    assert [row["status"] for row in batch.coverage] == ["ok"]
    batch, _ = asking("opsgenie", lambda *_: (403, b"", {}), probe=True)
    assert [row["status"] for row in batch.coverage] == ["denied"]


@pytest.mark.parametrize("token", [f"one\n{SECRET}", f"one {SECRET}", f"\x01{SECRET}"])
def test_a_broken_token_file_is_not_told(asking, token):
    batch, asked = asking("pagerduty", pagerduty([]), token=token)
    assert asked == []
    assert "more than a token" in batch.coverage[0]["hint"]


def test_a_token_file_that_is_not_there(tmp_path):
    table = {"endpoint": "http://127.0.0.1:1", "format": "jira", "token_file": "none"}
    (row,) = IncidentsSource().collect(table, tmp_path, Deadline(5)).coverage
    assert (row["status"], row["hint"]) == (
        "unreachable",
        "token_file: there is no such file",
    )


def test_a_user_in_the_address_is_not_told(tmp_path):
    table = {"endpoint": f"http://ada:{SECRET}@127.0.0.1:1", "format": "pagerduty"}
    batch = IncidentsSource().collect(table, tmp_path, Deadline(5))
    assert batch.coverage[0]["status"] == "unreachable"
    assert SECRET not in repr(batch)


def test_a_window_is_cut_into_months():
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC)
    pieces = list(months(start, end))
    assert (pieces[0][0], pieces[-1][1], len(pieces)) == (start, end, 3)
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
