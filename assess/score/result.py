"""The result of a score: a frame, its contributions and its provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from html import escape
from itertools import chain, groupby
from pathlib import Path
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pandas import DataFrame, Series, Timestamp

from assess import reference
from assess._version import __version__
from assess.errors import AssessError, counted, did_you_mean
from assess.frames import Frames, Row, objects
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import frozen
from assess.untrusted import printable
from assess.words import Json, paragraphs, plain, plain_cells, records, to_html
from assess.writing import write_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.report.explorer import Explorer

JSON_VERSION = 1
ENDS = ("", "_lo", "_hi")  # in names of columns: a number, and the ends of its interval


@dataclass(frozen=True)
class Provenance:
    """The origin of a result: the same values give the same bytes."""

    snapshot_at: Timestamp
    quarter: str
    policy_hash: str
    reference_date: str
    version: str
    seed: int
    policy: Policy | None = field(default=None, repr=False, compare=False)
    is_invented: bool = False

    @classmethod
    def of(cls, inventory: Inventory, policy: Policy) -> Self:
        """Return the origin of a score of this inventory by this policy."""
        return cls(
            inventory.snapshot_at,
            inventory.quarter,
            policy.hash,
            reference.compiled_on(),
            __version__,
            policy.seed,
            policy,
            inventory.is_invented,
        )

    def since(self, earlier: Self) -> list[str]:
        """Name an earlier origin and this one: by quarter, or by day within one quarter."""
        both = (earlier, self)
        if earlier.quarter != self.quarter:
            return [origin.quarter for origin in both]
        return [f"{origin.snapshot_at:%Y-%m-%d}" for origin in both]

    def to_dict(self) -> Json:
        """Return the origin as plain JSON types, without the policy itself."""
        names = [f.name for f in fields(self) if f.name != "policy"]
        return {name: plain(getattr(self, name)) for name in names}


@frozen
class Explanation:
    """The reasons for a score of one service: a title, a few sentences, and a table of numbers."""

    title: str
    text: str
    table: DataFrame

    def __repr__(self) -> str:
        """Return title, text and table as plain text."""
        return printable(f"{self.title}\n\n{self.text}\n\n{self.table.to_string()}")

    def _repr_html_(self) -> str:
        title = escape(printable(self.title))
        return f"<p><b>{title}</b></p>{paragraphs(self.text)}{to_html(self.table)}"


@frozen
class Result:
    """A score of every service, or of every element.

    ``frame`` has one row per service (index ``service_id``) or element; ``contributions`` are tidy
    parts that add up to the score; ``details`` are further tidy frames, by name.
    """

    frame: DataFrame
    contributions: DataFrame
    provenance: Provenance
    details: Frames = field(default_factory=dict)

    name: ClassVar[str] = ""
    summary_columns: ClassVar[tuple[str, ...]] = ()
    _joined: ClassVar[tuple[str, ...]] = ()  # columns that are lists in `rows`

    @property
    def policy(self) -> Policy:
        """The policy of the score."""
        policy = self.provenance.policy
        assert policy is not None, "every score has a policy"
        return policy

    @property
    def shown(self) -> DataFrame:
        """The frame as people and other programs read it."""
        return self.frame

    @property
    def headline(self) -> str:
        """The result in one sentence; empty where it has none."""
        return ""

    def summary(self) -> DataFrame:
        """Return the few columns that a meeting needs.

        Returns
        -------
        DataFrame
            At most eight columns, rounded, in the order of the result.
        """
        return self.shown[list(self.summary_columns)].round(2)

    def explain(self, service_id: str) -> Explanation:
        """Explain the score of a service.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Explanation
            Text and table.

        Raises
        ------
        AssessError
            If there is no such service.
        """
        table = self.row(service_id).dropna().to_frame("value")
        return Explanation(f"{service_id}: {self.name}", "", table)

    def row(self, service_id: str) -> Series:
        """Return the row of a service; AssessError names the nearest if it is unknown."""
        known = self.frame.index.get_level_values(0)
        if service_id not in known:
            near = did_you_mean(service_id, map(str, known.unique()))
            raise AssessError(
                f"there is no service {service_id!r} in this result",
                hint=near or "`assess show SNAPSHOT services` lists them",
            )
        return self.frame.loc[service_id]

    def _of(self, detail: str, service_id: str) -> DataFrame:
        table = self.details[detail]
        return table[table["service_id"] == service_id]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the result.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; without one, a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        # the only import of figures by a score: a method for people
        from assess import figures

        return getattr(figures, self.name)(self, ax=ax)

    def _explorer(self, others: Sequence[Result], *steps: str) -> Explorer:
        # by its public name: a score imports no room above it
        import assess

        return assess.Explorer((self, *others), steps)

    def diff(self, earlier: Result) -> DataFrame:
        """Compare with an earlier result.

        Parameters
        ----------
        earlier : Result
            The same score of an earlier snapshot.

        Returns
        -------
        DataFrame
            Index of both; for each summary column that changed, ``<column>_before`` and
            ``<column>``; ``change`` is added, removed, changed or same.
        """
        columns = list(self.summary_columns)
        before = earlier.shown[columns]
        after = self.shown[columns]
        joined = after.join(before.add_suffix("_before"), how="outer")
        was = objects(joined[[f"{column}_before" for column in columns]])
        now = objects(joined[columns])
        change = np.where((was == now).all(axis=1), "same", "changed")
        is_added = ~joined.index.isin(before.index)
        is_removed = ~joined.index.isin(after.index)
        joined["change"] = np.select([is_added, is_removed], ["added", "removed"], change)
        order = [name for column in columns for name in (f"{column}_before", column)]
        return joined[["change", *order]].sort_index()

    def rows(self) -> list[Row]:
        """Return one dictionary per row, of plain JSON types: the index and the columns by name."""
        lists = self._lists()
        rows = records(self.shown.reset_index())
        for row in rows:
            for name, by_service in lists.items():
                row[name] = by_service.get(row["service_id"], [])
            for name in self._joined:
                row[name] = list(filter(None, row[name].split("; ")))
        return rows

    def _lists(self) -> Json:
        """Return lists by service, by the name that they have in `rows`."""
        return {}

    def to_dict(self) -> Json:
        """Return the result as plain JSON types, in which NA is None.

        Returns
        -------
        dict
            ``schema_version, score, snapshot_at, policy_hash, rows``.
        """
        return {
            "schema_version": JSON_VERSION,
            "score": self.name.replace("_", "-"),
            **self.provenance.to_dict(),
            "rows": self.rows(),
        }

    def save_json(self, path: str | Path) -> None:
        """Write the result as JSON.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        write_beside(path, chain(encoded(self.to_dict()), "\n"))

    def __repr__(self) -> str:
        """Return a line without address or clock."""
        title = self.name.replace("_", " ").capitalize()
        p = self.provenance
        return f"<{title}: {counted(len(self.frame), 'row')}, {p.quarter}, policy {p.policy_hash}>"

    def _repr_html_(self) -> str:
        title = f"<p><b>{escape(repr(self)[1:-1])}</b></p>"
        return title + paragraphs(self.headline) + to_html(self.summary())


class Tables(Mapping[str, DataFrame]):
    """Tables by name; those of ``later`` are made, with others, when one is first read."""

    def __init__(
        self,
        ready: Frames,
        later: Mapping[str, Callable[[], Frames]],
    ) -> None:
        self._names = (*ready, *later)
        self._tables = dict(ready)
        self._later = later

    def __getitem__(self, name: str) -> DataFrame:
        if name in self._names and name not in self._tables:
            self._tables |= self._later[name]()
        return self._tables[name]

    def take(self, tables: Frames) -> None:
        """Keep tables that another process made."""
        self._tables |= tables

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a table, without making it."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def records_by(
    table: DataFrame,
    key: str | list[str],
    cells: Callable[[Series], list[Any]] = Series.tolist,
) -> dict[Any, list[Row]]:
    """Return the rows of a table as dictionaries, by one key column or several, in order."""
    # Not with ``groupby``: that costs a thousand times as much per group.
    names = table[key]
    if isinstance(key, list):
        names = zip(*(table[name] for name in key), strict=True)
    by_key: dict[Any, list[Row]] = {}
    rows = records(table.drop(columns=key), cells)
    for name, record in zip(names, rows, strict=True):
        by_key.setdefault(name, []).append(record)
    return by_key


plain_by = partial(records_by, cells=plain_cells)


def with_ends(name: str) -> list[str]:
    """Return the names of the columns of a number and of the ends of its interval."""
    return [f"{name}{end}" for end in ENDS]


def encoded(value: Any, margin: str = "\n") -> Iterator[str]:
    """Yield JSON part by part: a line for each entry, down to what holds no list or mapping.

    ``value`` is of plain JSON types; a number that is not finite is a ValueError.
    A generator is written as the list of what it yields.
    """
    if not isinstance(value, GeneratorType) and _is_flat(value):
        yield _lines(", ").encode(value)
        return
    inside = f"{margin} "
    comma = ""
    if not isinstance(value, dict):
        yield "["
        for item in value:
            yield f"{comma}{inside}"
            yield from encoded(item, inside)
            comma = ","
        yield f"{margin}]"
        return
    yield "{"
    for is_nested, items in groupby(value.items(), lambda item: type(item[1]) in _NESTED):
        if not is_nested:
            # all in one part, by the encoder in C
            yield f"{comma}{inside}{_lines(f',{inside}').encode(dict(items))[1:-1]}"
            comma = ","
            continue
        for name, item in items:
            yield f"{comma}{inside}{_lines(', ').encode(str(name))}: "
            yield from encoded(item, inside)
            comma = ","
    yield f"{margin}}}"


@cache
def _lines(comma: str) -> json.JSONEncoder:
    """Return an encoder; without an indent it is the one in C."""
    ends = (comma, ": ")
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=ends)


_NESTED = frozenset({dict, list, GeneratorType})


def _is_flat(value: Any) -> bool:
    """Return whether a value holds no list and no mapping."""
    items = value.values() if isinstance(value, dict) else value
    return type(value) not in _NESTED or _NESTED.isdisjoint(map(type, items))
