"""A run over the sources of a configuration, side by side, each within its deadline."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from assess import s3
from assess.config import Config, unknown_key
from assess.errors import ConfigError
from assess.execution import Cluster, Tell, current
from assess.sources.base import Batch, Batches, Row, Rows, Source, built_in, type_of
from assess.sources.catalogue import homes, make
from assess.sources.deadline import Deadline
from assess.sources.failure import hint_of, status_of
from assess.sources.joining.identity import Rules, read_map
from assess.sources.redact import mask_tables, scrub
from assess.sources.values import as_list

if TYPE_CHECKING:
    import pandas as pd

    from assess.inventory import Inventory

PARALLEL = 256  # sources asked at the same time
GRACE_S = 2.0  # for a source to hand over what it has, once its deadline has passed
WEEK_S = 7 * 86_400.0  # of a deadline: sockets and threads cannot wait for ever
INTERRUPTED_S = 0.5  # the same, once somebody presses Ctrl-C
_UNFINISHED = "interrupted before it had answered; run again"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One ``[[source]]`` table, checked."""

    label: str
    source: Source
    options: Row
    base: Path
    deadline: float

    @property
    def scope(self) -> str:
        """Scope for the coverage row of a source that wrote none."""
        asked = self.options.get(
            "path", self.options.get("endpoint", type_of(self.label))
        )
        return scrub(", ".join(map(str, as_list(asked))))


Work = Callable[[Task, Deadline], Batch]


def prepare(
    config: Config, sources: Iterable[str] | None, deadline: float
) -> tuple[list[Task], Rules]:
    """Check the whole configuration before any source is read."""
    types = homes()
    wanted = tuple(types) if sources is None else tuple(sources)
    problems = [_no_type(name, types) for name in wanted if name not in types]
    tasks = []
    used = Counter[str]()
    for number, table in enumerate(config.sources, start=1):
        where = f"[[source]] number {number} ({table.type}): "
        if table.type not in types:
            problems.append(where + _no_type(table.type, types))
            continue
        try:
            source = make(types[table.type])
        except ConfigError as error:
            problems.append(where + str(error))
            continue
        options = {"deadline": deadline, **table.options}
        problems += [where + text for text in _problems(source, options)]
        # counted also when not wanted: docker#2 is the same table in every run
        used[table.type] += 1
        if table.type in wanted:
            n = used[table.type]
            label = table.type if n == 1 else f"{table.type}#{n}"
            seconds = options.pop("deadline")
            tasks.append(Task(label, source, options, config.directory, seconds))
    rules, more = _identity(config)
    problems += more
    if not problems and not tasks:
        named = f" of type {', '.join(wanted)}" if sources is not None else ""
        problems.append(f"there is no [[source]]{named} to ask: remove the # before one")
    if problems:
        message = f"{config.origin}: " + "; ".join(problems)
        raise ConfigError(message, hint="see `assess sources`")
    return tasks, rules


def _no_type(name: str, known: Iterable[str]) -> str:
    return unknown_key(name, tuple(known)).replace("key", "source type", 1)


def _problems(source: Source, options: Row) -> list[str]:
    """List the problems of a table: of options that all sources share, and of the source's own."""
    known = (*source.options, "deadline", "allow_outside")
    problems = [unknown_key(key, known) for key in options if key not in known]
    seconds = options["deadline"]
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    # NaN is beyond both ends
    if not is_number or not 0 < seconds <= WEEK_S:
        problems.append(f"deadline {seconds!r} is no number of seconds within a week")
    if not isinstance(options.get("allow_outside", False), bool):
        problems.append("allow_outside is true or false")
    return problems or source.check(options)


def _identity(config: Config) -> tuple[Rules, list[str]]:
    unknown = [key for key in config.identity if key != "map"]
    problems = [f"[identity] {unknown_key(key, ('map',))}" for key in unknown]
    name = config.identity.get("map")
    try:
        return (read_map(config.directory / str(name)) if name else []), problems
    except ConfigError as error:
        return [], [*problems, str(error)]


class Interrupted(KeyboardInterrupt):
    """An interrupt of a collection, with what was found before it."""

    inventory: Inventory | None = None  # None where nothing was found

    def __init__(self, batches: Batches) -> None:
        super().__init__("interrupted")
        self.batches = batches


def side_by_side(tasks: list[Task], work: Work, progress: Tell | None = None) -> Batches:
    """Do the work of every task, side by side, and return the batches in the order of the tasks."""
    # A source that hangs is left behind on its thread, once its deadline has passed. An
    # interrupt ends all deadlines: sources hand over what they have, and `Interrupted`
    # carries it.
    threads = _TaskThreads(tasks, work, progress)
    try:
        while threads.waiting or threads.running:
            threads.start()
            threads.wait()
    except KeyboardInterrupt:
        threads.cut()
        raise Interrupted(threads.batches) from None
    return threads.batches


class _TaskThreads:
    """Running tasks, each on a daemon thread that can be abandoned."""

    def __init__(self, tasks: list[Task], work: Work, progress: Tell | None) -> None:
        self.waiting = list(reversed(tasks))
        self.running: dict[str, tuple[Task, Deadline]] = {}
        self._tasks = tasks
        self._work = work
        self._progress = progress
        self._ended: SimpleQueue[tuple[str, Batch | BaseException]] = SimpleQueue()
        self._batches: dict[str, Batch] = {}

    @property
    def batches(self) -> Batches:
        """Batches of the tasks that ended, in the order of all tasks."""
        labels = [task.label for task in self._tasks if task.label in self._batches]
        return [(label, self._batches[label]) for label in labels]

    def start(self) -> None:
        """Start waiting tasks, up to `PARALLEL` at a time."""
        while self.waiting and len(self.running) < PARALLEL:
            task = self.waiting.pop()
            self.running[task.label] = (task, Deadline(task.deadline))
            arguments = (self._work, *self.running[task.label], self._ended)
            run = copy_context().run  # a thread begins without the listener of `tell`
            work = partial(run, _run_task, *arguments)
            Thread(target=work, name=task.label, daemon=True).start()

    def wait(self) -> None:
        """Wait until a task ends, or until one has had all of its time."""
        first = min(deadline.left for _, deadline in self.running.values())
        try:
            self._take(*self._ended.get(timeout=first + GRACE_S))
        except Empty:
            late = [(t, limit) for t, limit in self.running.values() if not limit.left]
            for task, _ in late:
                error = TimeoutError(f"no answer within {task.deadline:g} s")
                self._take(task.label, error)

    def cut(self) -> None:
        """Collect what running tasks hand over at once, and cover each as unfinished."""
        interrupted = [task for task, _ in self.running.values()]
        for _, deadline in self.running.values():
            deadline.cut()
        end = Deadline(INTERRUPTED_S)
        with suppress(Empty):
            while self.running:
                self._take(*self._ended.get(timeout=end.left))
        for task in [*interrupted, *self.waiting]:
            batch = self._batches.setdefault(task.label, Batch())
            status = "partial" if any(batch.rows.values()) else "timeout"
            error = KeyboardInterrupt.__name__
            batch.cover(
                task.scope, "collect", status, error_class=error, hint=_UNFINISHED
            )

    def _take(self, label: str, outcome: Batch | BaseException) -> None:
        if label not in self.running:  # it was left behind before
            return
        task, _ = self.running.pop(label)
        self._batches[label] = _finished(task, outcome)
        if self._progress:
            self._progress(label, len(self._batches), len(self._tasks))


def _run_task(
    work: Work, task: Task, deadline: Deadline, ended: SimpleQueue[Any]
) -> None:
    try:
        batch = work(task, deadline)
        if type_of(task.label) not in built_in():
            # what cannot be joined is an error of this source, not of the whole collection
            join([(task.label, _finished(task, batch))], [])
        ended.put((task.label, batch))
    except BaseException as error:  # a plug-in may raise anything
        ended.put((task.label, error))


def _finished(task: Task, outcome: Batch | BaseException) -> Batch:
    """Return the batch of a task, with at least one coverage row and the source of each row."""
    if isinstance(outcome, BaseException):
        _log.debug("source %s failed", task.label, exc_info=outcome)
        status = status_of(outcome)
        kind = type(outcome).__name__
        hint = "; ".join(filter(None, [scrub(str(outcome)), hint_of(outcome, status)]))
        batch = Batch()
        batch.cover(task.scope, "collect", status, error_class=kind, hint=hint)
        return batch
    rows = [row for rows in outcome.rows.values() for row in rows]
    if not outcome.coverage:
        status = "ok" if rows else "empty"
        outcome.cover(task.scope, "collect", status, rows=len(rows))
    scopes = {row["scope"] for row in outcome.coverage}
    # with several scopes, only the source knows which row is from which
    if len(scopes) == 1:
        for row in rows:
            row.setdefault("source_ref", *scopes)
    return outcome


def local(task: Task) -> Task:
    """Return a task whose files are on this machine; files in S3 are copied."""
    # Copies keep their address without ``s3://`` as path, below a temporary directory.
    paths = task.options.get("path")
    listed = [str(path) for path in as_list(paths or "")]
    if not any(map(s3.is_s3, listed)):
        return task
    base = s3.scratch()
    copies = []
    for path in listed:
        if not s3.is_s3(path):
            copies.append(str(task.base / path))
            continue
        copy = path.removeprefix(s3.SCHEME)
        copies.append(copy)
        (base / copy).parent.mkdir(parents=True, exist_ok=True)
        (base / copy).symlink_to(s3.fetch(path))
    here = copies if isinstance(paths, list) else copies[0]
    return replace(task, base=base, options={**task.options, "path": here})


def collecting(task: Task, deadline: Deadline) -> Batch:
    """Collect everything that a source has; the workers of a cluster read files."""
    workers = current().workers
    # only files: the socket of an engine is another engine on another machine
    if isinstance(workers, Cluster) and task.options.get("path"):
        return workers.call(_collected, task, deadline.left)
    return _collected(task, deadline)


def _collected(task: Task, limit: Deadline | float) -> Batch:
    deadline = limit if isinstance(limit, Deadline) else Deadline(limit)
    task = local(task)
    return task.source.collect(task.options, task.base, deadline)


def probing(task: Task, deadline: Deadline) -> Batch:
    """Probe a source; only its coverage is used."""
    task = local(task)
    return task.source.probe(task.options, task.base, deadline)


def in_two_rounds(tasks: list[Task], progress: Tell | None) -> Batches:
    """Collect from all sources, then from those that look up what the others found."""
    first = [task for task in tasks if not task.source.follows]
    second = [task for task in tasks if task.source.follows]
    rows = Batch()
    batches: dict[str, Batch] = {}
    ended = count(1)

    def report(label: str, *_: int) -> None:
        if progress:
            progress(label, next(ended), len(tasks))

    def following(task: Task, deadline: Deadline) -> Batch:
        return task.source.follow(task.options, task.base, deadline, rows.rows)

    try:
        batches |= side_by_side(first, collecting, report)
        for batch in batches.values():
            rows.merge(batch)
        batches |= side_by_side(second, following, report)
    except Interrupted as interrupt:
        batches |= interrupt.batches
        waiting = [task for task in tasks if task.label not in batches]
        threads = _TaskThreads(waiting, collecting, None)
        threads.cut()
        raise Interrupted([*batches.items(), *threads.batches]) from None
    return [(task.label, batches[task.label]) for task in tasks]


def join(batches: Batches, rules: Rules) -> tuple[dict[str, pd.DataFrame], Rows, Rows]:
    """Join the batches to one table per frame, and all coverage; input rows are never changed."""
    from assess.sources.joining.findings import name_findings, settle_usage
    from assess.sources.joining.hosts import follow_addresses, join_replicas, settle_hosts
    from assess.sources.joining.merge import to_tables

    # hosts first: ids of workloads contain the host_id
    batches, of_hosts = settle_hosts(batches)
    batches, of_replicas = join_replicas(batches)
    batches = follow_addresses(name_findings(settle_usage(batches)))
    tables, of_names = to_tables(batches, rules)
    of_secrets = mask_tables(tables)
    notes = [*of_hosts, *of_replicas, *of_names, *of_secrets]
    return tables, coverage_rows(batches), notes


def coverage_rows(batches: Batches) -> Rows:
    """List the coverage rows of all batches, with the type of their source."""
    return [
        {"source": type_of(label), **row}
        for label, batch in batches
        for row in batch.coverage
    ]
