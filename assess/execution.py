"""How work is done: in a loop, by processes of this machine, or on a Dask cluster.

Work is a pure function of what all of it shares and of one item, so that nothing of this changes a
number. `working` says how; `each` does it.
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
    """Those who do the work."""

    @property
    def n(self) -> int:
        """How many work at a time [count]."""

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Do every item, and give what comes of it in order."""


@dataclass(frozen=True)
class Loop:
    """One item after the other, in the process itself."""

    n: int = 1

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Do every item when it is asked for."""
        return (function(shared, item) for item in items)


@dataclass(frozen=True)
class Processes:
    """Processes of this machine; what is shared is sent once to each."""

    n: int

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Start the processes, and end them with the last item."""
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
    """The workers of a Dask scheduler, which have assess installed."""

    client: Any

    @property
    def n(self) -> int:
        """Threads of all workers [count]."""
        return max(sum(self.client.nthreads().values()), 1)

    def map(
        self, function: Callable[[S, T], R], shared: S, items: Sequence[T]
    ) -> Iterable[R]:
        """Send what is shared once, and every item to whoever is free."""
        sent = self.client.scatter(shared, broadcast=True, hash=False)
        futures = self.client.map(function, [sent] * len(items), list(items), pure=False)
        for future in futures:
            yield future.result()


@dataclass(frozen=True)
class Means:
    """With what work is done.

    Attributes
    ----------
    hands : Hands
        Who does it.
    tell : callable, optional
        Told ``(what, done, total)``.
    """

    hands: Hands = Loop()
    tell: Tell | None = None


_BARE = Means()
_MEANS: ContextVar[Means] = ContextVar("means")


def means() -> Means:
    """Give with what work is done here.

    Returns
    -------
    Means
        As `working` set it; a loop outside of it.
    """
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
    """Say how far long work is, to whom `working` names.

    Parameters
    ----------
    what : str
        What it is, for people.
    done, total : int
        Parts done, of how many. [count]
    """
    if (listener := means().tell) is not None:
        listener(what, done, total)


def each(
    function: Callable[[S, T], R], shared: S, items: Sequence[T], *, what: str
) -> Iterator[R]:
    """Do some work, item by item, as `working` says.

    Parameters
    ----------
    function : callable
        A pure function of the module level: ``function(shared, item)``.
    shared : object
        What all items need; it can be pickled.
    items : sequence
        What differs. A single one is done here.
    what : str
        What it is, for people.

    Yields
    ------
    object
        What the function gives, in the order of the items.
    """
    hands = means().hands if len(items) > 1 else Loop()
    for done, result in enumerate(hands.map(function, shared, items), start=1):
        if len(items) > 1:
            tell(what, done, len(items))
        yield result
