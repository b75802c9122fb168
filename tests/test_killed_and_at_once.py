"""Writers that are killed at any moment, and writers of one place at the same time."""

import os
import random
import signal
import time

import pandas as pd
import pytest

import assess
from assess import store
from assess.report.record import keep, written_before
from assess.writing import write_beside

KILLS = 40
DAY = "2026-09-30"
NAMES = range(12)
WORDS = "<!-- keep: notes -->\nMine: 3 to 1, on Tuesday\n<!-- end: notes -->\n"
END = "-- the end --\n"


def started(work):
    """Do work in a copy of this process, until it is done or killed."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(1)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_kill_while_a_record_is_rewritten_leaves_the_old_or_the_new(tmp_path):
    record = tmp_path / "web.md"
    write_beside(record, f"# start\n{WORDS}{END}")
    template = "<!-- keep: notes -->\n_hint_\n<!-- end: notes -->\n"

    def rewrite():
        while True:  # as `Report.save` does it
            filling = "filling\n" * random.randrange(100_000)
            made = f"# {time.monotonic()}\n{template}{filling}{END}"
            write_beside(record, keep(made, written_before(record)))

    random.seed(13)
    seen = set()
    kills = 0
    # on a busy machine few writers come to write before they are killed
    while kills < KILLS or len(seen) <= KILLS / 10:
        kills += 1
        assert kills < 20 * KILLS, "the writers did not write"
        child = started(rewrite)
        time.sleep(random.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        text = record.read_text()
        assert text.startswith("# ")
        assert text.endswith(END)
        assert WORDS in text
        seen.add(text.partition("\n")[0])
    write_beside(record, "next")
    assert names(tmp_path) == ["web.md"]


@pytest.mark.parametrize("writers_n", [2, 4])
def test_of_two_snapshots_of_one_name_one_is_written_whole(tmp_path, writers_n):
    """Each writer says by the exit code of its process whether all of its losses were errors."""

    def write(writer):
        rows = {"service_id": [f"s{n}" for n in range(50)], "owner": f"writer {writer}"}
        inventory = assess.from_frames({"services": pd.DataFrame(rows)}, snapshot_at=DAY)
        for name in NAMES:
            try:
                store.write_snapshot(inventory, tmp_path / f"s{name}")
            except assess.AssessError as error:
                losses.append(str(error))
        reasons = ("is there already", "Directory not empty")
        os._exit(0 if all(any(r in text for r in reasons) for text in losses) else 2)

    losses = []
    children = [started(lambda n=n: write(n)) for n in range(writers_n)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * writers_n
    assert names(tmp_path) == sorted(f"s{name}" for name in NAMES)
    for name in NAMES:
        path = tmp_path / f"s{name}"
        assert store.verify(path) == []
        services = assess.load(path)["services"]
        assert len(services) == 50
        assert len(services["owner"].unique()) == 1


def test_files_that_many_write_at_once_are_whole(tmp_path):
    file = tmp_path / "report.json"

    def write(writer):
        for _ in range(500):
            write_beside(file, f"{writer}" * 500)
        os._exit(0)

    children = [started(lambda n=n: write(n)) for n in range(8)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * 8
    assert file.read_text() in {f"{n}" * 500 for n in range(8)}
    assert names(tmp_path) == ["report.json"]
