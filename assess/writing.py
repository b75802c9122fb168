"""Write files and directories so that they appear complete or not at all.

Content goes to a hidden sibling, is synced to disk and is renamed in one step, so a full disk or a
killed process leaves the old file. The next write in the directory removes what such a process left.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from assess.errors import AssessError

SUFFIX = ".partial"
PREFIX_LENGTH = 40  # the sibling of a long name must not exceed the limit of 255 bytes
_LEFT = re.compile(r"\..{0,40}\.[0-9a-f]{8}\.partial", re.DOTALL)  # the name of a sibling
# directories by the time at which this process was the last to change them: to list the names
# before each of ten thousand files would take minutes
_TIDY: dict[Path, int] = {}
_NAMES = Lock()  # held while names in a directory change
TOGETHER = 32  # files written at the same time


def write_beside(path: str | Path, data: str | bytes | Iterable[str]) -> None:
    """Replace a file by text (UTF-8) or bytes; raise AssessError and keep the old one on failure.

    Parts of a text are written as they come.
    A new file has the usual permissions, a replaced one keeps its own. Devices and pipes are
    written to directly.
    """
    file = Path(path)
    try:
        if file.is_relative_to("/dev") or (file.exists() and not file.is_file()):
            _fill(file, data)
            return
        file = file.resolve()  # a link stays a link
        file.parent.mkdir(parents=True, exist_ok=True)
        with sibling(file) as partial:
            if file.exists():
                file.open("ab").close()  # a rename would replace a read-only file, too
                shutil.copymode(file, partial)
            _fill(partial, data)
            sync(partial)
            with _NAMES:
                partial.replace(file)
                _TIDY[file.parent] = file.parent.stat().st_mtime_ns
    except OSError as error:
        raise not_written(path, error) from error


def write_together(files: Iterable[tuple[Path, str | Iterable[str]]]) -> None:
    """Replace files as `write_beside` does; a disk syncs many in about the time of one."""
    with ThreadPoolExecutor(TOGETHER) as pool:
        waiting: deque[Future[None]] = deque()
        for path, data in files:
            if len(waiting) == TOGETHER:
                waiting.popleft().result()
            # the next text is made while the disk syncs this one
            waiting.append(pool.submit(write_beside, path, data))
        for one in waiting:
            one.result()


def _fill(file: Path, data: str | bytes | Iterable[str]) -> None:
    parts = [data] if isinstance(data, str | bytes) else data
    with file.open("wb") as stream:
        for part in parts:
            content = part.encode(errors="replace") if isinstance(part, str) else part
            stream.write(content)


def not_written(path: str | Path, error: OSError) -> AssessError:
    """Return the error for a path that cannot be written."""
    reason = error.strerror or type(error).__name__
    return AssessError(
        f"{path} cannot be written: {reason}",
        hint="make room, or name another place",
    )


@contextmanager
def sibling(target: Path, *, is_directory: bool = False) -> Iterator[Path]:
    """Yield a new hidden file, or private directory, beside a path; afterwards it is gone."""
    # The sibling is locked while in use: unlocked ones were left by processes that were
    # killed.
    home = target.parent
    start = home / f".{target.name[:PREFIX_LENGTH]}."
    with _NAMES:
        if _TIDY.get(home) != home.stat().st_mtime_ns:
            for path in home.iterdir():
                if _LEFT.fullmatch(path.name):
                    _remove_unlocked(path)
        partial, handle = _locked(start, is_directory)
        _TIDY[home] = home.stat().st_mtime_ns
    try:
        yield partial
    finally:
        os.close(handle)
        with _NAMES, suppress(OSError):
            _remove(partial)
            _TIDY[home] = home.stat().st_mtime_ns


def _locked(start: Path, is_directory: bool) -> tuple[Path, int]:
    """Make and lock a file or directory; try again if another writer removes it in between."""
    while True:
        partial = start.with_name(f"{start.name}{secrets.token_hex(4)}{SUFFIX}")
        flags = os.O_RDONLY
        if is_directory:
            partial.mkdir()
        else:
            flags |= os.O_CREAT | os.O_EXCL  # open whatever the umask
        with suppress(FileNotFoundError):
            if is_directory:
                partial.chmod(0o700)  # whatever the umask
            handle = os.open(partial, flags, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX)
            # another writer may have removed it between its creation and the lock
            if partial.exists():
                return partial, handle
            os.close(handle)


def _remove_unlocked(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # gone meanwhile, or of another user
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # in use
        return
    else:
        _remove(path)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
