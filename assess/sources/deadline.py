"""Deadlines that hold whatever a server does; work runs on threads that can be abandoned."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")
_POLL_S = 0.1  # how soon waiting ends after a deadline was cut


class Deadline:
    """Seconds that a source has, from now."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.when_cut: list[Callable[[], None]] = []  # what wakes those who wait

    @property
    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise TimeoutError where no time is left."""
        if self.left <= 0:
            raise TimeoutError("the deadline of the source has passed")

    def cut(self) -> None:
        """Leave no time, as after an interrupt."""
        self._end = time.monotonic()
        for wake in list(self.when_cut):
            wake()

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; at the deadline, abandon it on its thread and raise."""
        # Timeouts of sockets do not end a DNS lookup, a proxy or a TLS handshake that
        # takes for ever.
        self.check()
        future = Future[T]()
        thread = Thread(target=_settle, args=(future, work), daemon=True)
        thread.start()
        self.join(thread)
        if not future.done():
            self.check()
        return future.result()

    def join(self, thread: Thread, grace: float = 0.0) -> None:
        """Wait for a thread, but not longer than ``grace`` seconds after the end."""
        while thread.is_alive() and time.monotonic() < self._end + grace:
            # in short steps, because `cut` may move the end while this waits
            thread.join(min(_POLL_S, self.left + grace))


def in_threads(function: Callable[[A], T], items: Iterable[A], threads: int) -> list[T]:
    """Return the results of a function in the order of the items."""
    # Not `ThreadPoolExecutor`: its threads keep the process alive while one of them
    # hangs.
    waiting = [(Future[T](), item) for item in items]
    futures = [future for future, _ in waiting]
    # `pop` takes from the end, so that the first item is started first
    waiting.reverse()

    def take() -> None:
        with suppress(IndexError):
            while True:
                future, item = waiting.pop()
                _settle(future, partial(function, item))

    for _ in range(min(threads, len(futures))):
        Thread(target=take, daemon=True).start()
    return [future.result() for future in futures]


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # a plug-in may raise anything
        future.set_exception(error)
