"""Files that people hand over: each is timed, and what there is no time for says so."""

from assess.sources.base import Batch, Deadline
from assess.sources.dumps import each_dump, read_documents


def test_a_file_that_comes_too_late_is_told_and_the_others_are_kept(tmp_path):
    for name in ("a.json", "b.yaml", "c.json"):
        (tmp_path / name).write_text('{"n": 1}')
    deadline, batch, found = Deadline(60), Batch(), []
    suffixes = (".json", ".yaml")
    for file, call in each_dump(
        {"path": "."}, tmp_path, deadline, batch, suffixes, name="graph"
    ):
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
