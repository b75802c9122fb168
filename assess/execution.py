"""Execution of work: in a loop, by processes of this machine, or on a Dask cluster.

Work is a pure function of shared data and one item, so none of this changes a number. `working`
chooses the workers; `each` does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from assess.errors import AssessError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
PATIENCE = 10.0  # seconds for a scheduler to answer
Tell = Callable[[str, int, int], None]


class Hands(Protocol):
    """Something that does work item by item."""

    @property
    def n(self) -> int:
        """Items done at the same time [count]."""

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Yield the result of every item, in order."""


@dataclass(frozen=True)
class Loop:
    """A loop in this process."""

    n: int = 1

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Do each item when its result is asked for."""
        return (function(shared, item) for item in items)


@dataclass(frozen=True)
class Processes:
    """Processes of this machine; shared data is sent once to each."""

    n: int

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Start the processes, and end them after the last item."""
        with ProcessPoolExecutor(
            self.n, initializer=_take, initargs=(function, shared)
        ) as pool:
            yield from pool.map(_do, items)


_taken: tuple[
    Callable[[Any, Any], Any], Any
]  # of a process that works: what to do, with what


def _take(function: Callable[[S, T], R], shared: S) -> None:
    global _taken  # noqa: PLW0603
    _taken = function, shared


def _do(item: T) -> Any:
    function, shared = _taken
    return function(shared, item)


@dataclass(frozen=True)
class Cluster:
    """Workers of a Dask scheduler that have assess installed."""

    client: Any

    @property
    def n(self) -> int:
        """Threads of all workers [count]."""
        return max(sum(self.client.nthreads().values()), 1)

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Send shared data once, and each item to a free worker."""
        sent = self.client.scatter(shared, broadcast=True, hash=False)
        futures = self.client.map(function, [sent] * len(items), list(items), pure=False)
        for future in futures:
            yield future.result()


@dataclass(frozen=True)
class Means:
    """The workers, and the listener ``tell(what, done, total)``."""

    hands: Hands = Loop()
    tell: Tell | None = None


_BARE = Means()
_MEANS: ContextVar[Means] = ContextVar("means")


def means() -> Means:
    """Return the workers that `working` chose; a loop outside of it."""
    return _MEANS.get(_BARE)


@contextmanager
def working(
    *,
    processes: int = 1,
    scheduler: str = "",
    tell: Tell | None = None,
) -> Iterator[None]:
    """While it lasts, work is done so.

    Parameters
    ----------
    processes : int, default 1
        Processes of this machine. [count, >= 1]
    scheduler : str, default ""
        Address of a Dask scheduler, such as ``tcp://10.0.0.30:8786``, which takes their place.
    tell : callable, optional
        Told ``(what, done, total)`` whenever a part of long work is done.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    AssessError
        Where Dask is not there, or nobody answers at the address.

    Examples
    --------
    >>> with assess.working(processes=2):
    ...     result = assess.score_blast_radius(inventory, policy)
    """
    with ExitStack() as stack:
        hands: Hands = Processes(processes) if processes > 1 else Loop()
        if scheduler:
            hands = Cluster(stack.enter_context(_client(scheduler)))
        token = _MEANS.set(Means(hands, tell))
        stack.callback(_MEANS.reset, token)
        yield


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        hint = "pip install 'assess[distributed]'"
        raise AssessError(
            "there is no Dask to work on a cluster with", hint=hint
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
    if (listener := means().tell) is not None:
        listener(what, done, total)


def each(
    function: Callable[[S, T], R], shared: S, items: Sequence[T], *, what: str
) -> Iterator[R]:
    """Yield ``function(shared, item)`` of every item, in order, by the workers of `working`.

    The function is pure and of module level, and what is shared can be pickled. A single item is
    done here. ``what`` names the work for people.
    """
    hands = means().hands if len(items) > 1 else Loop()
    for done, result in enumerate(hands.map(function, shared, items), start=1):
        if len(items) > 1:
            tell(what, done, len(items))
        yield result
