"""Execution of work: in a loop, by processes of this machine, or on a Dask cluster.

Work is a pure function of shared data and one item, so none of this changes a number. `working`
chooses the workers; `each` does the work.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from assess.errors import AssessError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
PATIENCE = 10.0  # seconds for a scheduler to answer
Tell = Callable[[str, int, int], None]


class Workers(Protocol):
    """Something that does work item by item, ``n`` items at the same time."""

    @property
    def n(self) -> int: ...  # noqa: D102

    def map(  # noqa: D102
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]: ...


@dataclass(frozen=True)
class Processes:
    """Processes of this machine; shared data is sent once to each. One process means this one."""

    n: int = 1

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Yield the result of every item, in order of the items."""
        if self.n == 1:
            yield from (function(shared, item) for item in items)
            return
        with ProcessPoolExecutor(
            self.n, initializer=_set_job, initargs=(function, shared)
        ) as pool:
            yield from pool.map(_do, items)


# function and shared data of this worker process; sent once, not with every item
_job: tuple[Callable[[Any, Any], Any], Any]


def _set_job(function: Callable[[S, T], R], shared: S) -> None:
    global _job  # noqa: PLW0603
    _job = (function, shared)


def _do(item: T) -> Any:
    function, shared = _job
    return function(shared, item)


@dataclass(frozen=True)
class Cluster:
    """Workers of a Dask scheduler that have assess installed."""

    client: Any

    @property
    def n(self) -> int:
        """Threads of all workers."""
        return max(sum(self.client.nthreads().values()), 1)

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Yield the result of every item, in order; shared data is sent once."""
        # a key of its own: data of an equal hash may be released by another call
        sent = self.client.scatter(shared, broadcast=True, hash=False)
        futures = self.client.map(function, [sent] * len(items), list(items), pure=False)
        for future in futures:
            yield future.result()

    def call(self, function: Callable[..., R], *arguments: Any) -> R:
        """Return what the function returns to one of the workers."""
        result: R = self.client.submit(function, *arguments, pure=False).result()
        return result


@dataclass(frozen=True)
class Execution:
    """The workers, and the listener ``tell(what, done, total)``."""

    workers: Workers = Processes()
    tell: Tell | None = None


_EXECUTION: ContextVar[Execution] = ContextVar("execution")


def current() -> Execution:
    """Return what `working` chose; outside of it, this process without a listener."""
    return _EXECUTION.get(Execution())


@contextmanager
def working(
    *,
    processes: int = 1,
    scheduler: str = "",
    tell: Tell | None = None,
) -> Iterator[None]:
    """Choose the workers for long work within the ``with`` block.

    Parameters
    ----------
    processes : int, default 1
        Processes of this machine. [count, >= 1]
    scheduler : str, default ""
        Address of a Dask scheduler, such as ``tcp://10.0.0.30:8786``, used instead of processes.
    tell : callable, optional
        Called with ``(what, done, total)`` whenever a part of long work is done.

    Yields
    ------
    None
        The block runs with these workers.

    Raises
    ------
    AssessError
        If Dask is not installed, or no scheduler answers at the address.

    Examples
    --------
    >>> with assess.working(processes=2):
    ...     result = assess.score_blast_radius(inventory, policy)
    """
    with ExitStack() as stack:
        workers: Workers = Processes(max(processes, 1))
        if scheduler:
            workers = Cluster(stack.enter_context(_client(scheduler)))
        token = _EXECUTION.set(Execution(workers, tell))
        stack.callback(_EXECUTION.reset, token)
        yield


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        hint = "pip install 'assess[distributed]'"
        raise AssessError(
            "a cluster needs Dask, which is not installed", hint=hint
        ) from error
    try:
        return Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        hint = "`scheduler` of [work] in assess.toml is the address that `dask scheduler` prints"
        raise AssessError(
            f"no Dask scheduler answers at {scheduler}", hint=hint
        ) from error


def tell(what: str, done: int, total: int) -> None:
    """Report progress of long work to the listener of `working`, if there is one."""
    listener = current().tell
    if listener is not None:
        listener(what, done, total)


def each(
    function: Callable[[S, T], R], shared: S, items: Sequence[T], *, what: str
) -> Iterator[R]:
    """Yield ``function(shared, item)`` of every item, in order, by the workers of `working`.

    The function is pure and at module level, and ``shared`` can be pickled. A single item is
    done here. ``what`` names the work for people.
    """
    # starting workers for one item costs more than the item
    workers = current().workers if len(items) > 1 else Processes()
    for done, result in enumerate(workers.map(function, shared, items), start=1):
        if len(items) > 1:
            tell(what, done, len(items))
        yield result


@contextmanager
def beside(function: Callable[[S], R], shared: S) -> Iterator[Callable[[], R]]:
    """Do work in a copy of this process within the block; yields what waits for its result.

    The result can be pickled. Without a second processor the work is done here, when asked for.
    """
    # a lock that another thread holds would stay locked in a copy
    if threading.active_count() > 1 or processors() == 1:
        yield partial(function, shared)
        return
    copies = multiprocessing.get_context("fork")
    ours, theirs = copies.Pipe(duplex=False)
    copy = copies.Process(target=_answer, args=(theirs, function, shared), daemon=True)
    copy.start()
    theirs.close()
    try:
        yield partial(_answered, ours, function, shared)
    finally:
        copy.terminate()
        copy.join()
        ours.close()


def processors() -> int:
    """Return how many processors this process may use; 1 where copies are not safe."""
    # only Linux can tell; the libraries of macOS do not survive a copy
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return 1


def _answer(pipe: Connection, function: Callable[[S], R], shared: S) -> None:
    """Send the result of work; nothing if it fails or is interrupted."""
    # an interrupt reaches both processes: the other one ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(Exception, KeyboardInterrupt), working():
            pipe.send(function(shared))
    finally:  # also where the other process has its result, and ends this one
        os._exit(0)


def _answered(pipe: Connection, function: Callable[[S], R], shared: S) -> R:
    """Return the result of a copy; what failed there is done here, where its error is seen."""
    try:
        result: R = pipe.recv()
    except EOFError:
        return function(shared)
    return result
