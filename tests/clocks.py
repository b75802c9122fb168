"""How long a call takes, whatever else the machine and the garbage collector do."""

import gc
import time
from collections.abc import Callable
from typing import Any


def cpu_seconds(call: Callable[..., Any], *arguments: Any, tries: int = 3) -> float:
    """Return what the fastest of a few calls takes [CPU s of this thread].

    The collector rests: a full collection looks through whatever the other tests keep, which took
    a second inside a call of 0.08 s.
    """
    rested = gc.isenabled()
    gc.disable()
    try:
        return min(_once(call, arguments) for _ in range(tries))
    finally:
        if rested:
            gc.enable()


def _once(call: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    started = time.thread_time()
    call(*arguments)
    return time.thread_time() - started
