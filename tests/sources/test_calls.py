"""Calls: what each leaves in its coverage row."""

from __future__ import annotations

import csv
import http.client
import json
import re
import time

import pytest
from replay import replaying

from assess.errors import PolicyError
from assess.sources.base import Asked, Batch
from assess.sources.deadline import Deadline
from assess.sources.dumps import DumpError, each_dump, read_json
from assess.sources.failure import failure, status_of
from assess.sources.http import HttpError, open_web


def settled(work, **options):
    """Run the body of one call and return its coverage row."""
    batch = Batch()
    with batch.call("shop", "jobs", **options) as call:
        work(call)
    (row,) = batch.coverage
    assert row["seconds"] >= 0
    return row


def raising(error, rows=0):
    def work(call):
        call.take([None] * rows)
        raise error

    return work


def test_rows_are_counted_over_pages():
    def work(call):
        assert call.take(["a", "b"]) == ["a", "b"]
        call.take({"c": 1})

    row = settled(work)
    assert (row["scope"], row["call"]) == ("shop", "jobs")
    assert (row["status"], row["rows"]) == ("ok", 3)


def test_a_call_that_lists_nothing_has_no_rows_and_is_ok():
    row = settled(lambda call: None)
    assert row["status"] == "ok"
    assert "rows" not in row


def test_no_rows_are_empty_with_the_hint_of_the_source():
    row = settled(lambda call: call.take([]), empty="nobody calls anybody")
    assert (row["status"], row["rows"], row["hint"]) == (
        "empty",
        0,
        "nobody calls anybody",
    )


def test_where_nothing_could_be_read_the_answer_is_broken_and_not_empty():
    def work(call):
        call.take([])
        call.count(unmapped_n=2)

    row = settled(work)
    assert (row["status"], row["unmapped_n"]) == ("parse_error", 2)
    assert row["hint"]


@pytest.mark.parametrize(
    ("rows", "status", "ratio"),
    [(3, "partial", 0.75), (4, "ok", 1.0), (0, "partial", 0.0)],
)
def test_fewer_rows_than_expected_are_partial(rows, status, ratio):
    def work(call):
        call.note(expected=4)
        call.take([None] * rows)

    row = settled(work)
    assert (row["status"], row["ratio"]) == (status, ratio)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PermissionError(13, "Permission denied"), "denied"),
        (HttpError(403, {}), "denied"),
        (HttpError(429, {}), "throttled"),
        (HttpError(404, {}), "unsupported"),
        (TimeoutError("late"), "timeout"),
        (ConnectionRefusedError(111, "refused"), "unreachable"),
        (DumpError("it is cut off"), "parse_error"),
        (csv.Error("line contains NUL"), "parse_error"),
        (PolicyError("the policy has no tier"), "parse_error"),
        (json.JSONDecodeError("no", "x" * 500, 403), "parse_error"),
        (UnicodeDecodeError("utf-8", b"\xff", 401, 429, "invalid start"), "parse_error"),
        (KeyError("Id"), "parse_error"),
        (IndexError("list index out of range"), "parse_error"),
        (RuntimeError("what?"), "parse_error"),
        (http.client.BadStatusLine("x"), "unreachable"),
    ],
)
def test_an_error_ends_in_the_row_and_the_source_goes_on(error, status):
    row = settled(raising(error))
    assert (row["status"], row["error_class"]) == (status, type(error).__name__)
    assert row["hint"]


def nested(depth):
    return nested(depth + 1)


@pytest.mark.parametrize(
    "stumbles",
    [
        lambda: {}["connection timed out"],
        lambda: [].pop(403),
        lambda: None.permission,
        lambda: 1 / 0,
        lambda: nested(0),
    ],
)
def test_a_bug_of_a_reader_is_no_answer_of_a_system(stumbles):
    row = settled(lambda call: stumbles())
    assert row["status"] == "parse_error"
    assert re.search(r"code of this source, at sources/test_calls.py:\d+: ", row["hint"])


def test_a_bug_while_an_answer_is_read_is_not_that_answer():
    def work(call):
        try:
            raise HttpError(404, {})
        except HttpError:
            return {}["Id"]

    assert settled(work)["status"] == "parse_error"


def test_what_came_before_an_error_makes_it_partial():
    row = settled(raising(TimeoutError(), rows=2))
    assert (row["status"], row["rows"]) == ("partial", 2)
    assert row["error_class"] == "TimeoutError"


def test_after_the_deadline_every_error_is_a_timeout():
    row = settled(raising(ConnectionResetError(), 0), deadline=Deadline(0))
    assert (row["status"], row["error_class"]) == ("timeout", "TimeoutError")
    row = settled(raising(ConnectionResetError(), 0), deadline=Deadline(9))
    assert row["status"] == "unreachable"


@pytest.mark.parametrize("error", [AssertionError(), NameError("x"), KeyboardInterrupt()])
def test_bugs_and_interrupts_pass(error):
    batch = Batch()
    with pytest.raises(type(error)), batch.call("shop", "jobs"):
        raise error
    assert batch.coverage[0]["status"] == "timeout"  # it never ended


def test_an_answer_may_settle_the_call_itself():
    def work(call):
        call.take([1])
        call.status("unsupported", "name a manager")

    row = settled(work)
    assert (row["status"], row["hint"]) == ("unsupported", "name a manager")


def test_an_error_weighs_more_than_what_the_answer_said():
    def work(call):
        call.status("ok")
        raise HttpError(403, {})

    assert settled(work)["status"] == "denied"


def test_an_error_that_does_not_end_the_call():
    def work(call):
        assert call.fail(HttpError(403, {})) == "denied"
        call.take([1])

    assert settled(work)["status"] == "partial"


def test_a_source_may_classify_errors_itself():
    def classify(error):
        return {"status": "denied", "error_class": "AccessDenied", "hint": "allow it"}

    row = settled(raising(RuntimeError()), classify=classify)
    assert (row["status"], row["error_class"]) == ("denied", "AccessDenied")


def parts(*works):
    """Run the parts of one call, and return its row and what each part failed with."""
    batch = Batch()
    call = batch.call("shop", "job", empty="none")
    assert call.outcome == "timeout"
    failed = []
    for work in works:
        with call:
            assert call.outcome == "timeout"
            work(call)
        failed.append(call.failed)
    (row,) = batch.coverage
    return row, failed


def take(call):
    call.take([1])
    call.count(redacted_n=2)


def test_parts_add_up():
    row, failed = parts(take, take)
    assert (row["status"], row["rows"], row["redacted_n"]) == ("ok", 2, 4)
    assert failed == [None, None]


def test_the_first_failure_of_a_part_is_kept():
    row, failed = parts(
        raising(HttpError(403, {})), take, raising(HttpError(429, {})), take
    )
    assert (row["status"], row["rows"]) == ("partial", 2)
    assert row["hint"].startswith("grant")
    assert failed == ["denied", None, "throttled", None]


def test_parts_that_all_fail_are_the_first_failure():
    row, _ = parts(raising(HttpError(403, {})), raising(HttpError(429, {})))
    assert row["status"] == "denied"


def test_an_empty_part_is_sound():
    row, _ = parts(lambda call: call.take([]), raising(HttpError(403, {})))
    assert row["status"] == "partial"


def test_a_part_without_rows_leaves_no_hint_to_one_that_has_some():
    row, _ = parts(lambda call: call.take([]), take)
    assert row["status"] == "ok"
    assert "hint" not in row


def test_seconds_add_up():
    row, _ = parts(lambda call: time.sleep(0.01), lambda call: time.sleep(0.01))
    assert row["seconds"] >= 0.02


def test_requests_of_a_client_are_counted_for_each_call(tmp_path):
    batch = Batch()
    with replaying(lambda *_: {"a": 1}) as server:
        options = {"endpoint": server.url}
        with (
            batch.call("shop", "one") as call,
            open_web(Asked(options, tmp_path, Deadline(9)), call=call) as web,
        ):
            web.json("x")
            web.json("y")
            other = batch.call("shop", "two", client=web)
            for _ in range(3):
                with other:
                    web.json("z")
    assert [(row["requests"], row["retries"]) for row in batch.coverage] == [
        (5, 0),
        (3, 0),
    ]


def test_a_token_file_that_is_not_there_is_a_failure_of_the_call(tmp_path):
    batch = Batch()
    options = {"endpoint": "http://127.0.0.1:9", "token_file": "none"}
    with (
        batch.call("shop", "one") as call,
        open_web(Asked(options, tmp_path, Deadline(9)), call=call),
    ):
        raise AssertionError("it was opened")
    assert batch.coverage[0]["hint"] == "token_file: there is no such file"


def test_each_dump_has_a_call_and_a_broken_one_says_so(tmp_path):
    (tmp_path / "a.json").write_text('[{"x": 1}, {"x": 2}]')
    (tmp_path / "b.json").write_text('[{"x": 1}, {"x"')
    (tmp_path / "c.json").write_text("<html>")
    (tmp_path / "d.json").write_text("[]")
    batch = Batch()
    for file, call in each_dump(
        Asked({"path": "."}, tmp_path, Deadline(9), batch), empty="no"
    ):
        with call:
            call.take(read_json(file, call.row))
    assert [(row["scope"], row["status"], row["rows"]) for row in batch.coverage] == [
        ("a.json", "ok", 2),
        ("b.json", "partial", 1),
        ("c.json", "parse_error", 0),
        ("d.json", "empty", 0),
    ]
    assert "web page" in batch.coverage[2]["hint"]


def test_dumps_for_which_no_time_is_left_say_so(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    batch = Batch()
    assert list(each_dump(Asked({"path": "."}, tmp_path, Deadline(0), batch))) == []
    assert batch.coverage[0]["status"] == "timeout"
    assert batch.coverage[0]["hint"]


def test_files_that_cannot_be_read(tmp_path):
    assert failure(FileNotFoundError(2, "No such file", "x"))["hint"] == (
        "there is no such file"
    )
    denied = failure(PermissionError(13, "Permission denied", "x"))
    assert (denied["status"], denied["hint"]) == ("denied", "Permission denied")


def test_no_secret_passes_in_a_hint():
    assert "hunter2" not in failure(ValueError("password=hunter2 is wrong"))["hint"]


def test_the_code_of_an_answer_counts_more_than_the_words_of_its_causes():
    error = HttpError(429, {})
    error.__cause__ = TimeoutError()
    assert status_of(error) == "throttled"


def test_an_answer_that_refuses_says_whether_the_token_or_the_right_is_missing():
    hints = {code: failure(HttpError(code, {}))["hint"] for code in (401, 403, 410, 418)}
    assert "expired" in hints[401] and "permissions" in hints[403]
    assert "run again" in hints[410] and "address" in hints[418]
