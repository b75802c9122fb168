"""Files that people hand over: each is timed, and what there is no time for says so."""

import json

import pytest
from clocks import cpu_seconds

from assess.sources.base import Asked, Batch
from assess.sources.catalogue import homes, make
from assess.sources.deadline import Deadline
from assess.sources.dumps import decode_values, each_dump, read_documents


def test_a_file_that_comes_too_late_is_told_and_the_others_are_kept(tmp_path):
    for name in ("a.json", "b.yaml", "c.json"):
        (tmp_path / name).write_text('{"n": 1}')
    deadline, batch, found = Deadline(60), Batch(), []
    suffixes = (".json", ".yaml")
    asked = Asked({"path": "."}, tmp_path, deadline, batch)
    for file, call in each_dump(asked, suffixes, name="graph"):
        with call:
            found += read_documents(file, call.row)
        if file.name == "b.yaml":
            deadline.cut()
    assert found == [{"n": 1}] * 2
    assert [(row["scope"], row["call"], row["status"]) for row in batch.coverage] == [
        ("a.json", "graph", "empty"),
        ("b.yaml", "graph", "empty"),
        ("c.json", "graph", "timeout"),
    ]
    assert ["seconds" in row for row in batch.coverage] == [True, True, False]
    assert batch.coverage[-1]["hint"]


@pytest.mark.parametrize(
    "mark",
    [
        {"more": True},
        {"NextToken": "x"},
        {"metadata": {"continue": "x"}},
        {"pageInfo": {"nextCursor": "x"}},
        {"startAt": 50, "maxResults": 50, "total": 130},
        {"offset": 0, "limit": 25, "total": 26},
        {"paging": {"next": "https://api.example.com/incidents?offset=100"}},
    ],
)
def test_a_page_after_which_others_are_missing_is_partial(tmp_path, mark):
    last = dict.fromkeys(mark)
    for name, pages in {
        "cut.json": [mark],
        "whole.json": [last],
        "joined.json": [mark, last],
        "page-9.json": [mark],
        "page-10.json": [last],
        "part-9.json": [mark],
        "part-10.json": [mark],
        "2026-01.json": [mark],  # a month, not a page
        "2026-02.json": [last],
    }.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, pages)))
    asked = Asked({"path": "."}, tmp_path, Deadline(60))
    for file, call in each_dump(asked):
        with call:
            call.take(read_documents(file, call.row))
    partial = {r["scope"]: r["hint"] for r in asked.batch.coverage if r["status"] != "ok"}
    assert partial.keys() == {"cut.json", "part-10.json", "2026-01.json"}
    assert "more pages" in partial["cut.json"]


@pytest.mark.parametrize("type_", ["kubernetes", "answers", "deploys", "incidents"])
def test_a_page_of_an_unknown_form_is_not_read_in_part(tmp_path, type_):
    (tmp_path / "page.json").write_text('{"widgets": [{"a": 1}], "nextPageToken": "x"}')
    batch = make(homes()[type_]).collect({"path": "page.json"}, tmp_path, Deadline(60))
    assert [row["status"] for row in batch.coverage] == ["parse_error"]


def test_files_of_other_endings_are_told(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / ".git").mkdir()
    for name in ("pods.txt", "b.json.gz", ".git/config", "assess.toml", "README.md"):
        (tmp_path / name).write_text("x")
    asked = Asked({"path": "."}, tmp_path, Deadline(60))
    assert [file.name for file, _ in each_dump(asked)] == ["a.json"]
    rows = [row for row in asked.batch.coverage if row["call"] == "other files"]
    assert [(row["status"], row["expected"]) for row in rows] == [("not_configured", 2)]
    assert "b.json.gz" in rows[0]["hint"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a":\n{"b": 1}}\n{"a": 2} 3', [{"a": {"b": 1}}, {"a": 2}, 3]),
        ('{"a": 1}\n{"b": \n{"c": 3}\n{"d"', [{"a": 1}, {"c": 3}]),
        ('[{"a": 1},{"b": 2},{"c"', [{"a": 1}, {"b": 2}]),
        ('[\n{"a": [\n{},\n{}]},\n{"b": 2}', [{"a": [{}, {}]}, {"b": 2}]),
        ('{"a": 1} nothing\n{"b": 2}', [{"a": 1}]),
        ("", []),
    ],
)
def test_values_are_read_as_far_as_they_are_whole(text, values):
    assert decode_values(text)[0] == values


@pytest.mark.parametrize(
    "piece", ['\n{"a":[', '\n{"a":"', "\n{", '\n{"a":1,', "\n{}", "[{"]
)
def test_broken_json_takes_time_in_proportion_to_its_length(piece):
    def seconds(n):
        return cpu_seconds(decode_values, '{"a":[' + piece * n)

    seconds(1000)
    assert seconds(80_000) < max(4 * 3 * seconds(20_000), 0.5)
