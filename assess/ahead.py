"""Work that goes on in a process of its own while the report is put together."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pickle import PicklingError
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from assess.execution import working

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
PATIENCE_SECONDS = 120.0


def ahead(work: Callable[[], T]) -> Callable[[], T]:
    """Start work now; the answer is there when it is called for.

    Parameters
    ----------
    work : callable
        What to do; its result has to be one that can be pickled.

    Returns
    -------
    callable
        Gives the result, and always the same one. Where a second process is not to be had, or
        comes to nothing, the work is done when it is called for: so its errors are raised there.
    """
    helper = Helper(work)

    @cache
    def result() -> T:
        try:
            return helper.answer(0, work)
        finally:
            helper.close()

    return result


class Helper:
    """A process of its own that does one piece of work after another, in that order.

    Parameters
    ----------
    work : callable
        What it does first, such as getting ready: answer 0.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        """Start the process, where one is to be had."""
        self._answers: list[Any] = []
        self._asked_n = 1
        self._pipe: Connection | None = None
        if _can_fork():
            context = multiprocessing.get_context("fork")
            self._pipe, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(work, theirs, self._pipe), daemon=True
            )
            process.start()
            theirs.close()
            self._end = weakref.finalize(self, _end, self._pipe, process)

    def ahead(self, work: Callable[[], T]) -> Callable[[], T]:
        """Hand over more work; the answer is there when it is called for.

        Parameters
        ----------
        work : callable
            What to do; it and its result have to be such that can be pickled.

        Returns
        -------
        callable
            Gives the result, as `ahead` does.
        """
        place, self._asked_n = self._asked_n, self._asked_n + 1
        if self._pipe is not None:
            try:
                self._pipe.send(work)
            except (OSError, PicklingError, TypeError, AttributeError):
                self.close()
        return cache(lambda: self.answer(place, work))

    def answer(self, place: int, work: Callable[[], T]) -> T:
        """Give an answer of the process; where it has none, do the work."""
        try:
            given: T = self._take(place)
        except (EOFError, OSError):
            self.close()
            return work()
        return given

    def _take(self, place: int) -> Any:
        while len(self._answers) <= place:
            if self._pipe is None or not self._pipe.poll(PATIENCE_SECONDS):
                raise EOFError
            self._answers.append(self._pipe.recv())
        return self._answers[place]

    def close(self) -> None:
        """End the process: what it has not answered is done when it is called for."""
        if self._pipe is not None:
            self._pipe = None
            self._end()


def _end(pipe: Connection, process: multiprocessing.process.BaseProcess) -> None:
    pipe.close()
    process.kill()
    process.join()


def _serve(work: Callable[[], object], pipe: Connection, other_end: Connection) -> None:
    """Send results; where there is none, end: whoever waits does the work himself."""
    other_end.close()
    works: SimpleQueue[Callable[[], object]] = SimpleQueue()
    # who hands over work does not wait until the last is done, nor until its result is read
    threading.Thread(target=_receive, args=(pipe, works), daemon=True).start()
    with suppress(Exception, KeyboardInterrupt), working():  # alone and silent
        while True:
            pipe.send(work())
            work = works.get()


def _receive(pipe: Connection, works: SimpleQueue[Callable[[], object]]) -> None:
    try:
        with suppress(Exception):
            while True:
                works.put(pipe.recv())
    finally:
        works.put(_stop)


def _stop() -> None:
    raise EOFError


def _can_fork() -> bool:
    """Whether a fork is safe (no other thread of Python's) and of use (another core)."""
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and not multiprocessing.current_process().daemon
        and len(os.sched_getaffinity(0)) > 1
    )
