"""A run over the sources of a configuration, side by side, each within its deadline."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import as_completed
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from assess import s3
from assess.config import Config, unknown_key
from assess.errors import ConfigError
from assess.sources.base import Batch, Deadline, Source
from assess.sources.catalogue import homes
from assess.sources.joining.names import Rules, read_map
from assess.sources.tasks import Task, Work, start
from assess.sources.workers import shares, worker

Progress = Callable[[str, int, int], None]


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
    problems += [
        f"[identity] {unknown_key(k, ('map',))}" for k in config.identity if k != "map"
    ]
    rules: Rules = []
    try:
        if name := config.identity.get("map"):
            rules = read_map(config.directory / str(name))
    except ConfigError as error:
        problems.append(str(error))
    if not problems and not tasks:
        problems.append("there is no [[source]] to ask")
    if problems:
        raise ConfigError(
            f"{config.origin}: " + "; ".join(problems), hint="see `assess sources`"
        )
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


def side_by_side(
    tasks: list[Task],
    work: Work,
    progress: Progress | None = None,
    processes: int | None = None,
) -> list[Batch]:
    """Do the work of every task, side by side, and give the batches in the order of the tasks.

    Many tasks are spread over processes, as many as there are processors where none are named;
    work for them is a function of a module.
    """
    here, elsewhere = shares(tasks, processes or os.cpu_count() or 1)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(part, work)) for part in elsewhere]
        running = start(here, work) | dict(
            chain.from_iterable(w.items() for w in workers)
        )
        for done, future in enumerate(as_completed(running), start=1):
            if progress:
                progress(running[future].label, done, len(tasks))
    batches = {task.label: future.result() for future, task in running.items()}
    return [batches[task.label] for task in tasks]


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
        found.append(
            path.removeprefix(s3.SCHEME) if s3.is_s3(path) else str(task.base / path)
        )
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

    for part, work, processes in ((first, collecting, None), (second, following, 1)):
        batches = side_by_side(part, work, tell, processes)
        by_label |= zip([task.label for task in part], batches, strict=True)
        for batch in batches:
            found.merge(batch)
    return [by_label[task.label] for task in tasks]


def probing(task: Task, deadline: Deadline) -> Batch:
    """Ask a source what it would see; one that has no way to tell is asked for everything."""
    task = local(task)
    ask = getattr(task.source, "probe", task.source.collect)
    return Batch(coverage=ask(task.options, task.base, deadline).coverage)
