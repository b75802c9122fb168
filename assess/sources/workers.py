"""Many sources on several processes, for one process keeps one processor busy.

A worker is a Python of its own: it reads its tasks from stdin and writes a batch for each to
stdout, redacted as any. It is no fork, which may inherit a lock from the caller's threads, and does
not run the caller's main module again, as those of `multiprocessing` do.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from threading import Thread

from assess.sources.base import Batch
from assess.sources.tasks import Running, Task, Work, failed, start

MANY = 48  # sources that are worth the start of a process
_MAIN = "from assess.sources.workers import serve; serve()"


def shares(tasks: list[Task], processes: int) -> tuple[list[Task], list[list[Task]]]:
    """Give the tasks of this process, and those of each worker.

    Sources of other packages stay here, where they were loaded.
    """
    many = min(processes, len(tasks) // MANY) if sys.executable else 1
    ours = [task for task in tasks if type(task.source).__module__.startswith("assess.")]
    others = [task for task in tasks if task not in ours]
    return [*others, *ours[:: max(many, 1)]], [ours[n::many] for n in range(1, many)]


@contextmanager
def worker(tasks: list[Task], work: Work) -> Iterator[Running]:
    """Start a process for tasks; it ends with the block."""
    command = [sys.executable, "-c", _MAIN]
    places = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running: Running = {Future(): task for task in tasks}
    with subprocess.Popen(  # a session of its own: an interrupt is the caller's
        command,
        env=places,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        Thread(
            target=_talk, args=(process, list(running), tasks, work), daemon=True
        ).start()
        try:
            yield running
        finally:
            process.kill()


def _talk(
    process: subprocess.Popen[bytes],
    futures: list[Future[Batch]],
    tasks: list[Task],
    work: Work,
) -> None:
    """Hand the tasks over and take the batches; a worker that dies has failed at the others."""
    assert process.stdin
    assert process.stdout
    try:
        pickle.dump((tasks, work), process.stdin)
        process.stdin.flush()
        for _ in tasks:
            number, batch = pickle.load(process.stdout)
            futures[number].set_result(batch)
    except Exception as error:
        for future, task in zip(futures, tasks, strict=True):
            if not future.done():
                future.set_result(failed(task, error))


def serve() -> None:
    """Do what is asked on stdin, as a worker."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    tasks, work = pickle.load(sys.stdin.buffer)
    Thread(target=_end_with_caller, daemon=True).start()
    running = start(tasks, work)
    numbers = {future: number for number, future in enumerate(running)}
    for future in as_completed(running):
        pickle.dump((numbers[future], future.result()), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
    os._exit(0)  # without waiting for sources that hang


def _end_with_caller() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
