"""Sources: one file per system, and the run over all of them.

`assess.collect` is this package and also the public function: the package can be called.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, as_completed
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assess.collect.base import HINTS, Batch, Deadline, Row, Source, status_of
from assess.collect.names import Rules, read_map
from assess.collect.redact import scrub
from assess.collect.registry import SourceType, homes, source_types
from assess.config import CONFIG_NAME, Config, load_config, unknown_key
from assess.errors import CollectError, ConfigError

if TYPE_CHECKING:
    from assess.inventory import Inventory

__all__ = ["SourceType", "collect", "source_types"]

PARALLEL = 32
GRACE_S = 2.0  # time to hand over what was found until the deadline

_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Task:
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


def collect(  # noqa: PLR0913
    config: str | Path | Config = CONFIG_NAME,
    *,
    sources: Iterable[str] | None = None,
    deadline: float = 300,
    strict: bool = False,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Inventory:
    """Collect the inventory of a fleet from all sources that `assess.toml` names.

    Parameters
    ----------
    config : str, Path or Config, default "assess.toml"
        The file; the default is also looked for upwards from here, and in ``ASSESS_CONFIG``.
    sources : iterable of str, optional
        Only sources of these types.
    deadline : float, default 300
        Time that a source has, unless its table names a ``deadline``. [s]
    strict : bool, default False
        Whether anything but a complete answer of every source is an error.
    progress : callable, optional
        Called with the label of a source that has ended, how many have, and how many there are.
    now : datetime, optional
        Moment of the snapshot; without one, the present. [UTC]

    Returns
    -------
    Inventory
        What the sources gave; ``coverage`` says what they could not.

    Raises
    ------
    ConfigError
        Where a table cannot be used; all problems are named, and nothing was asked.
    CollectError
        Where nothing was collected; with ``strict``, where anything is missing.
    """
    from assess.inventory import from_frames

    if not isinstance(config, Config):
        is_default = str(config) == CONFIG_NAME and not Path(config).exists()
        config = load_config(None if is_default else config)
    tasks, rules = _prepare(config, sources, deadline)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    running = _started(tasks)
    for done, future in enumerate(as_completed(running), start=1):
        if progress:
            progress(running[future].label, done, len(tasks))
    batches = [(task.label, future.result()) for future, task in running.items()]

    from assess.collect.docker_engine import tell_hosts_apart
    from assess.collect.merge import coverage_table, to_tables

    tell_hosts_apart(batch for label, batch in batches if label.partition("#")[0] == "docker")
    tables, notes = to_tables(batches, rules)
    rows = [{"source": t.source.type, **r} for t, (_, b) in zip(tasks, batches, strict=True)
            for r in b.coverage]  # fmt: skip
    _insist(rows, strict=strict, found=any(len(table) for table in tables.values()))
    tables["coverage"] = coverage_table([*rows, *notes], f"{moment:%Y%m%dT%H%M%SZ}")
    return from_frames(tables, snapshot_at=moment.isoformat())


def _prepare(
    config: Config, sources: Iterable[str] | None, deadline: float
) -> tuple[list[_Task], Rules]:
    """Check all of the configuration before any source is asked."""
    types = homes()
    known, used = tuple(types), Counter[str]()
    wanted = known if sources is None else tuple(sources)
    tasks: list[_Task] = []
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
            tasks.append(_Task(label, source, options, config.directory, seconds))
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


def _started(tasks: list[_Task]) -> dict[Future[Batch], _Task]:
    """Start all sources on threads that an interrupt can leave, as those of a pool cannot be."""
    running: dict[Future[Batch], _Task] = {Future(): task for task in tasks}
    waiting: SimpleQueue[tuple[Future[Batch], _Task]] = SimpleQueue()
    for pair in running.items():
        waiting.put(pair)

    def work() -> None:
        with suppress(Empty):
            while True:
                future, task = waiting.get_nowait()
                try:
                    future.set_result(_guarded(task))
                except BaseException as error:
                    future.set_exception(error)

    for _ in range(min(PARALLEL, len(tasks))):
        Thread(target=work, daemon=True).start()
    return running


def _guarded(task: _Task) -> Batch:
    """Run a source; one that hangs is left behind when its deadline has passed."""
    outcome: list[Batch | BaseException] = []

    def work() -> None:
        try:
            outcome.append(task.source.collect(task.options, task.base, Deadline(task.deadline)))
        except BaseException as error:  # the source is left, whatever it raised
            outcome.append(error)

    thread = Thread(target=work, name=f"assess-{task.label}", daemon=True)
    thread.start()
    thread.join(task.deadline + GRACE_S)
    found = outcome[0] if outcome else TimeoutError(f"no answer within {task.deadline:g} s")
    if isinstance(found, BaseException):
        _log.debug("source %s failed", task.label, exc_info=found)
        batch, status, kind = Batch(), status_of(found), type(found).__name__
        hint = "; ".join(filter(None, [scrub(str(found)) or kind, HINTS.get(status)]))
        batch.cover(task.scope, "collect", status, error_class=kind, hint=hint)
        return batch
    if not found.coverage:
        rows = sum(map(len, found.rows.values()))
        found.cover(task.scope, "collect", "ok" if rows else "empty", rows=rows)
    return found


def _insist(rows: list[Row], *, strict: bool, found: bool) -> None:
    """Stop where there is nothing, or, when strict, where anything is missing."""
    failed = [row for row in rows if row["status"] not in ("ok", "empty")]
    if found and not (strict and failed):
        return
    told = [
        f"  {row['source']} {row['scope']} {row['call']}: {row['status']}"
        + (f" ({row['hint']})" if row.get("hint") else "")
        for row in failed or rows
    ]
    what = "these sources are not complete" if found else "nothing was collected"
    hint = "run without strict to keep what there is" if found else "see `assess sources`"
    raise CollectError("\n".join([what + ":", *told]), hint=hint)


class _Callable(ModuleType):
    """The package, which is also the function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Inventory:
        return collect(*args, **kwargs)


_Callable.__call__.__doc__ = collect.__doc__
_Callable.__call__.__wrapped__ = collect  # type: ignore[attr-defined]
sys.modules[__name__].__class__ = _Callable
