"""Sources at work: side by side on threads, each within its deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from assess.sources.base import HINTS, Batch, Deadline, Source, status_of
from assess.sources.redact import scrub

PARALLEL = 256
GRACE_S = 2.0  # time to hand over what was found until the deadline

_log = logging.getLogger(__name__)
Work = Callable[["Task", Deadline], Batch]
Running = dict[Future[Batch], "Task"]


@dataclass(frozen=True)
class Task:
    """One ``[[source]]`` table, checked."""

    label: str
    source: Source
    options: dict[str, Any]
    base: Path
    deadline: float

    @property
    def scope(self) -> str:
        """What it was asked about, for a source that cannot say it itself."""
        asked = self.options.get("path", self.options.get("endpoint", self.source.type))
        return scrub(
            ", ".join(map(str, asked)) if isinstance(asked, list) else str(asked)
        )


def start(tasks: list[Task], work: Work) -> Running:
    """Start all sources on threads that an interrupt can leave, as those of a pool cannot be."""
    running: Running = {Future(): task for task in tasks}
    waiting: SimpleQueue[tuple[Future[Batch], Task]] = SimpleQueue()
    for pair in running.items():
        waiting.put(pair)

    def take() -> None:
        with suppress(Empty):
            while True:
                future, task = waiting.get_nowait()
                try:
                    future.set_result(_guarded(task, work))
                except BaseException as error:
                    future.set_exception(error)

    for _ in range(min(PARALLEL, len(tasks))):
        Thread(target=take, daemon=True).start()
    return running


def _guarded(task: Task, work: Work) -> Batch:
    """Run a source; one that hangs is left behind when its deadline has passed."""
    outcome: list[Batch | BaseException] = []

    def take() -> None:
        try:
            outcome.append(work(task, Deadline(task.deadline)))
        except BaseException as error:  # the source is left, whatever it raised
            outcome.append(error)

    thread = Thread(target=take, name=f"assess-{task.label}", daemon=True)
    thread.start()
    thread.join(task.deadline + GRACE_S)
    found = (
        outcome[0] if outcome else TimeoutError(f"no answer within {task.deadline:g} s")
    )
    if isinstance(found, BaseException):
        return failed(task, found)
    rows = [row for rows in found.rows.values() for row in rows]
    if not found.coverage:
        found.cover(task.scope, "collect", "ok" if rows else "empty", rows=len(rows))
    if len(scopes := {row["scope"] for row in found.coverage}) == 1:
        for row in rows:
            row.setdefault("source_ref", *scopes)
    return found


def failed(task: Task, error: BaseException) -> Batch:
    """Return the coverage row of a source that returned nothing else."""
    _log.debug("source %s failed", task.label, exc_info=error)
    batch, status, kind = Batch(), status_of(error), type(error).__name__
    hint = "; ".join(filter(None, [scrub(str(error)) or kind, HINTS.get(status)]))
    batch.cover(task.scope, "collect", status, error_class=kind, hint=hint)
    return batch
