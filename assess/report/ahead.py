"""Work that goes on in a process of its own while the report is put together."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

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
    if not _can_fork():
        return cache(work)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    helper = context.Process(target=_send, args=(work, theirs), daemon=True)
    helper.start()
    theirs.close()

    @cache
    def result() -> T:
        try:
            return ours.recv() if ours.poll(PATIENCE_SECONDS) else work()
        except EOFError:
            return work()
        finally:
            ours.close()
            helper.kill()
            helper.join()

    weakref.finalize(result, helper.kill)  # nobody may ever ask
    return result


def _send(work: Callable[[], T], connection: Connection) -> None:
    """Send the result; where there is none, say nothing: whoever waits does the work again."""
    try:
        connection.send(work())
    except (Exception, KeyboardInterrupt):
        connection.close()


def _can_fork() -> bool:
    """Whether a fork is safe (no other thread of Python's) and of use (another core)."""
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and not multiprocessing.current_process().daemon
        and len(os.sched_getaffinity(0)) > 1
    )
