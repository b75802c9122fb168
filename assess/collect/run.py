"""A run over the sources of a configuration, side by side, each within its deadline."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from assess import s3
from assess.collect.base import (
    HINTS,
    Batch,
    Deadline,
    Source,
    status_of,
)
from assess.collect.names import Rules, read_map
from assess.collect.redact import scrub
from assess.collect.registry import homes
from assess.config import Config, unknown_key
from assess.errors import ConfigError

PARALLEL = 256
GRACE_S = 2.0  # time to hand over what was found until the deadline

_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]
Work = Callable[["Task", Deadline], Batch]


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
        return scrub(", ".join(map(str, asked)) if isinstance(asked, list) else str(asked))


def prepare(
    config: Config, sources: Iterable[str] | None, deadline: float
) -> tuple[list[Task], Rules]:
    """Check all of the configuration before any source is asked."""
    types = homes()
    known, used = tuple(types), Counter[str]()
    wanted = known if sources is None else tuple(sources)
    tasks: list[Task] = []
    problems = [_no_type(name, known) for name in wanted if name not in types]
    for number, table in enumerate(config.sources, start=1):
        where = f"[[source]] number {number} ({table.type}): "
        if table.type not in types:
            problems.append(where + _no_type(table.type, known))
            continue
        source: Source = types[table.type].load()()
        problems += [where + text for text in _option_problems(source, table.options)]
        used[table.type] += 1
        if table.type in wanted:
            label = f"{table.type}#{n}" if (n := used[table.type]) > 1 else table.type
            options = dict(table.options)
            seconds = options.pop("deadline", deadline)
            tasks.append(Task(label, source, options, config.directory, seconds))
    problems += [f"[identity] {unknown_key(k, ('map',))}" for k in config.identity if k != "map"]
    rules: Rules = []
    try:
        if name := config.identity.get("map"):
            rules = read_map(config.directory / str(name))
    except ConfigError as error:
        problems.append(str(error))
    if not problems and not tasks:
        problems.append("there is no [[source]] to ask")
    if problems:
        raise ConfigError(f"{config.origin}: " + "; ".join(problems), hint="see `assess sources`")
    return tasks, rules


def _no_type(name: str, known: tuple[str, ...]) -> str:
    return unknown_key(name, known).replace("key", "source type", 1)


def _option_problems(source: Source, options: dict[str, Any]) -> list[str]:
    known = (*source.options, "deadline")
    problems = [unknown_key(key, known) for key in options if key not in known]
    seconds = options.get("deadline", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        problems.append(f"deadline {seconds!r} is no number of seconds")
    check = getattr(source, "check", None)
    return problems + (list(check(options)) if check and not problems else [])


def side_by_side(tasks: list[Task], work: Work, progress: Progress | None = None) -> list[Batch]:
    """Do the work of every task, side by side, and give the batches in the order of the tasks."""
    running = _started(tasks, work)
    for done, future in enumerate(as_completed(running), start=1):
        if progress:
            progress(running[future].label, done, len(tasks))
    return [future.result() for future in running]


def local(task: Task) -> Task:
    """Give a task whose files are on this machine: those in S3 are copied.

    They go by their address without ``s3://``, below a directory of their own.
    """
    paths = task.options.get("path")
    listed = [str(path) for path in (paths if isinstance(paths, list) else [paths or ""])]
    if not any(map(s3.is_s3, listed)):
        return task
    base = Path(tempfile.mkdtemp(prefix="assess-s3-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    found = []
    for path in listed:
        found.append(path.removeprefix(s3.SCHEME) if s3.is_s3(path) else str(task.base / path))
        if s3.is_s3(path):
            (base / found[-1]).parent.mkdir(parents=True, exist_ok=True)
            (base / found[-1]).symlink_to(s3.fetch(path))
    own = found if isinstance(paths, list) else found[0]
    return replace(task, base=base, options={**task.options, "path": own})


def collecting(task: Task, deadline: Deadline) -> Batch:
    """Ask a source for all that it holds."""
    task = local(task)
    return task.source.collect(task.options, task.base, deadline)


def in_two_rounds(tasks: list[Task], progress: Progress | None = None) -> list[Batch]:
    """Collect from all sources, and then from those that follow what the others found."""
    first = [task for task in tasks if not hasattr(task.source, "follow")]
    second = [task for task in tasks if hasattr(task.source, "follow")]
    found, by_label = Batch(), dict[str, Batch]()

    def tell(label: str, done: int, _: int) -> None:
        if progress:
            progress(label, len(by_label) + done, len(tasks))

    def following(task: Task, deadline: Deadline) -> Batch:
        batch: Batch = task.source.follow(  # type: ignore[attr-defined]
            task.options, task.base, deadline, found.rows
        )
        return batch

    for part, work in ((first, collecting), (second, following)):
        batches = side_by_side(part, work, tell)
        by_label |= zip([task.label for task in part], batches, strict=True)
        for batch in batches:
            found.merge(batch)
    return [by_label[task.label] for task in tasks]


def probing(task: Task, deadline: Deadline) -> Batch:
    """Ask a source what it would see; one that has no way to tell is asked for everything."""
    task = local(task)
    ask = getattr(task.source, "probe", task.source.collect)
    return Batch(coverage=ask(task.options, task.base, deadline).coverage)


def _started(tasks: list[Task], work: Work) -> dict[Future[Batch], Task]:
    """Start all sources on threads that an interrupt can leave, as those of a pool cannot be."""
    running: dict[Future[Batch], Task] = {Future(): task for task in tasks}
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
    found = outcome[0] if outcome else TimeoutError(f"no answer within {task.deadline:g} s")
    if isinstance(found, BaseException):
        _log.debug("source %s failed", task.label, exc_info=found)
        batch, status, kind = Batch(), status_of(found), type(found).__name__
        hint = "; ".join(filter(None, [scrub(str(found)) or kind, HINTS.get(status)]))
        batch.cover(task.scope, "collect", status, error_class=kind, hint=hint)
        return batch
    rows = [row for rows in found.rows.values() for row in rows]
    if not found.coverage:
        found.cover(task.scope, "collect", "ok" if rows else "empty", rows=len(rows))
    if len(scopes := {row["scope"] for row in found.coverage}) == 1:
        for row in rows:
            row.setdefault("source_ref", *scopes)
    return found
