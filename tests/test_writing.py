"""Files appear whole or not at all, whatever stops the writer."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import writing
from assess.errors import AssessError
from assess.writing import sibling, write_beside, write_together

CONTENTS = st.one_of(st.text(), st.binary())


@settings(max_examples=60)
@given(
    old=st.none() | CONTENTS, new=CONTENTS, name=st.text("aé.x", min_size=1, max_size=120)
)
def test_what_is_written_is_what_was_given(tmp_path_factory, old, new, name):
    directory = tmp_path_factory.mktemp("any")
    file = directory / f"f{name}"
    if old is not None:
        write_beside(file, old)
    write_beside(file, new)
    assert file.read_bytes() == (new if isinstance(new, bytes) else new.encode())
    assert list(directory.iterdir()) == [file]


def test_parts_are_written_as_they_come_and_a_failure_leaves_the_old_file(tmp_path):
    file = tmp_path / "parts"
    write_beside(file, iter(["a", "é", "\udcff"]))
    assert file.read_text() == "aé?"

    def broken():
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_beside(file, broken())
    assert file.read_text() == "aé?"
    assert list(tmp_path.iterdir()) == [file]


FULL = """
import resource, sys
from assess.writing import write_beside
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
write_beside(sys.argv[1], b"n" * 5000)
"""


@pytest.mark.parametrize("room", [0, 1, 4096, 4999])
@pytest.mark.parametrize("old", [b"old", None])
def test_without_room_the_old_file_stays(tmp_path, room, old):
    file = tmp_path / "record.json"
    if old:
        file.write_bytes(old)
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(file), str(room)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "AssessError" in ran.stderr
    assert str(file) in ran.stderr
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([old] if old else [])


STOPPED = """
import os, sys, time
from pathlib import Path
from assess.writing import sibling
with sibling(Path(sys.argv[1]), is_directory=sys.argv[2] == "directory") as partial:
    if partial.is_dir():
        (partial / "half").write_text("half")
    print(partial, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path, kind):
    file = tmp_path / "table.csv"
    command = [sys.executable, "-c", STOPPED, str(file), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        partial = Path(writer.stdout.readline().strip())
        write_beside(file, "beside a writer that lives")
        assert partial.exists()
        writer.send_signal(signal.SIGKILL)
    stranger = tmp_path / ".film.partial"
    stranger.write_text("of another program")
    write_beside(tmp_path / "other.csv", "another file")
    assert not partial.exists()
    assert stranger.exists()
    write_beside(file, "after it was killed")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"table.csv", "other.csv", stranger.name}


def test_many_files_list_their_directory_once(tmp_path, monkeypatch):
    listed = []
    names = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listed.append(path) or names(path))
    for at in range(20):
        write_beside(tmp_path / f"{at}.md", "record")
    assert listed == [tmp_path]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_permissions(tmp_path, mask):
    old = tmp_path / "old"
    old.write_text("mine")
    old.chmod(0o640)
    before = os.umask(mask)
    try:
        write_beside(old, "new")
        with sibling(tmp_path / "d", is_directory=True) as partial:
            assert stat.S_IMODE(partial.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_links_stay_links_and_devices_are_written_to(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    write_beside(tmp_path / "link", "through the link")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "through the link"
    write_beside("/dev/null", "nothing")
    assert Path("/dev/null").is_char_device()


def test_what_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("a file")
    for path in (tmp_path, tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(AssessError, match="cannot be written") as caught:
            write_beside(path, "text")
        assert caught.value.hint


def test_many_files_are_written_at_once_and_one_that_fails_is_named(
    tmp_path, monkeypatch
):
    files = [tmp_path / f"{n:03}" for n in range(100)]
    listed = []
    walk = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: listed.append(self) or walk(self))
    write_together((file, "old") for file in files)
    assert len(listed) == 1  # the directory, for what a killed writer left
    sync = writing.sync

    def break_at_five(path):
        if path.name.startswith(".005"):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(writing, "sync", break_at_five)
    with pytest.raises(AssessError, match="/005 cannot be written: No space left"):
        write_together((file, "new") for file in files)
    texts = [file.read_text() for file in files]
    assert texts[5] == "old"
    assert texts[:5] == ["new"] * 5
    assert {*texts} == {"old", "new"}
    assert sorted(walk(tmp_path)) == files
