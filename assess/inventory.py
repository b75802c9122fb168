"""An inventory: named frames and the moment that they describe."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from pandas import DataFrame, Series, Timestamp

from assess import frames
from assess.errors import AssessError, DataError, RequestError, no_such
from assess.image_ref import parse_image
from assess.reference import moves, os_family
from assess.words import to_html

MANIFEST = "snapshot.toml"
NEEDED_TIME = 'write snapshot_at = "2026-09-30T00:00:00Z" into it'
BUILD = "build"  # kind of a workload that is only built
BESIDE = ("sidecar", "init")  # roles of containers that are part of a replica
# classes of sources of mounts that hold no data of record
NO_DATA = ("tmpfs", "socket", "config", "empty-dir", "alloc-dir")
LASTING = ("named-volume", "host-path")  # classes of those that outlive a container
# states of a workload that does not run any more; one that is being removed still may
ENDED = ("exited", "stopped", "terminated", "failed", "dead")
LOOKED = ("ok", "empty")  # statuses of a call that could look: "found none" is an answer
ANSWERED = (*LOOKED, "partial")
DIFFERENCE = ["frame", "key", "change", "column", "before", "after"]


class UnknownColumnWarning(UserWarning):
    """A snapshot holds columns that the data dictionary does not know."""


@dataclass(frozen=True, eq=False)
class Inventory:
    """Frames of one fleet at one moment.

    Build one with `from_frames` or `load`; every frame and every column is always there, and what
    nobody supplied is NA.

    Attributes
    ----------
    tables : mapping of str to DataFrame
        Every frame of the data dictionary, typed; also as ``inventory["hosts"]``.
    snapshot_at : Timestamp
        Moment that the frames describe. [UTC]
    quarter : str
        Calendar quarter, such as ``2026Q3``.
    present : frozenset of str
        Frames that were supplied; the others are unknown, not empty.
    extras : mapping of str to DataFrame
        Columns that the data dictionary does not know, kept aside by frame.
    is_invented : bool
        Whether this is the sample, which no page may show as a fleet of somebody.
    """

    tables: frames.Frames
    snapshot_at: Timestamp
    quarter: str
    present: frozenset[str]
    extras: frames.Frames = field(default_factory=dict)
    is_invented: bool = False

    @cached_property
    def running(self) -> Inventory:
        """The inventory without workloads that are only built, which are not replicas."""
        workloads = self.tables["workloads"]
        is_build = workloads["source_kind"].eq(BUILD)
        if not is_build.any():
            return self
        kept = workloads[~is_build].reset_index(drop=True)
        return replace(self, tables={**self.tables, "workloads": kept})

    @cached_property
    def unheard(self) -> DataFrame:
        """Calls to what was asked and answered none of them, such as one host of many."""
        calls = self["coverage"]
        status = calls["status"]
        is_heard = status.isin(ANSWERED).groupby([calls["source"], calls["scope"]])
        # what was carried forward to this snapshot had been answered
        is_carried = status.eq("stale").groupby(calls["source"])
        is_closed = is_heard.transform("any") | is_carried.transform("any")
        return calls[status.ne("not_configured") & ~is_closed]

    @cached_property
    def silent(self) -> frozenset[str]:
        """Sources that were asked and answered no call: what they do not list is unknown."""
        calls = self["coverage"]
        answered = calls["source"][calls["status"].isin(ANSWERED)]
        return frozenset(self.unheard["source"]).difference(answered)

    @property
    def by_service(self) -> DataFrame:
        """The services, index ``service_id``."""
        return self.tables["services"].set_index("service_id")

    def __getitem__(self, name: str) -> DataFrame:
        try:
            return self.tables[name]
        except KeyError:
            raise no_such("frame", name, frames.names(), RequestError) from None

    def _ipython_key_completions_(self) -> list[str]:
        """Return the names that a notebook offers after ``inventory["``."""
        return list(self)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def has(self, *names: str) -> bool:
        """Return whether all of these frames were supplied.

        Parameters
        ----------
        *names : str
            Names of frames.

        Returns
        -------
        bool
            False if any of them is unknown.
        """
        return self.present.issuperset(names)

    def replace(self, **tables: DataFrame) -> Inventory:
        """Return an inventory with other tables for some frames.

        Parameters
        ----------
        **tables : DataFrame
            New frames by name.

        Returns
        -------
        Inventory
            Shares the other frames with this one.
        """
        kept = {name: self.tables[name] for name in self.present}
        return from_frames(
            {**kept, **tables}, snapshot_at=self.snapshot_at, quarter=self.quarter
        )

    def summary(self) -> DataFrame:
        """Count what is known.

        Returns
        -------
        DataFrame
            Index ``frame``; ``rows`` [count], ``known_share`` of the cells beyond the key
            [share 0-1, NA where the frame has no rows], ``supplied``.
        """
        rows = []
        for name, table in self.tables.items():
            cells = table.drop(
                columns=[*frames.key(name), *frames.SHARED_COLUMNS], errors="ignore"
            )
            known = cells.notna().to_numpy().mean() if cells.size else None
            rows.append((name, len(table), known, name in self.present))
        table = DataFrame(rows, columns=["frame", "rows", "known_share", "supplied"])
        return table.astype({"known_share": "Float64"}).set_index("frame")

    def diff(self, earlier: Inventory) -> DataFrame:
        """Compare with an earlier inventory by key.

        Parameters
        ----------
        earlier : Inventory
            The inventory before.

        Returns
        -------
        DataFrame
            Columns ``frame, key, change, column, before, after``; ``change`` is added, removed or
            changed. Only frames that both supplied are compared.
        """
        # coverage differs in every run: its rows are calls, not facts of the fleet
        both = self.present & earlier.present - {"coverage"}
        parts = [_diff(name, earlier[name], self[name]) for name in self if name in both]
        none = DataFrame(columns=DIFFERENCE, dtype=object)
        return pd.concat([none, *parts], ignore_index=True)

    def __repr__(self) -> str:
        """Return a line without address or clock."""
        counts = ", ".join(
            f"{len(self[n])} {n}" for n in ("services", "hosts", "workloads", "incidents")
        )
        return f"<Inventory {self.quarter}: {counts}; snapshot of {self.snapshot_at:%Y-%m-%d}>"

    def _repr_html_(self) -> str:
        when = f"{self.snapshot_at:%Y-%m-%d}"
        return f"<p><b>Inventory {self.quarter}</b>, snapshot of {when}</p>{to_html(self.summary())}"


def _diff(name: str, before: DataFrame, after: DataFrame) -> DataFrame:
    key = frames.key(name)
    old = _by_key(before, key)
    new = _by_key(after, key)
    parts = [
        DataFrame({"key": new.index.difference(old.index), "change": "added"}),
        DataFrame({"key": old.index.difference(new.index), "change": "removed"}),
    ]
    shared = old.index.intersection(new.index)
    # another source for the same fact is not a change
    names = new.columns.difference(list(frames.SHARED_COLUMNS), sort=False)
    was = frames.objects(old.loc[shared, names])
    now = frames.objects(new.loc[shared, names])
    # transposed, so that changes come out column by column
    column, row = np.nonzero((was != now).T)
    about = {"key": shared[row], "change": "changed", "column": names[column]}
    values = {"before": was[row, column], "after": now[row, column]}
    parts.append(DataFrame(about | values, dtype=object))
    table = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return table.assign(frame=name).reindex(columns=DIFFERENCE)


def _by_key(table: DataFrame, key: list[str]) -> DataFrame:
    """Return a table sorted by its key, with the key as text in the index."""
    indexed = table.set_index(key).sort_index()
    keys = (one if isinstance(one, tuple) else (one,) for one in indexed.index)
    names = ["/".join(map(str, one)) for one in keys]
    return indexed.set_axis(pd.Index(names, dtype=str))


def from_frames(
    tables: frames.Frames, *, snapshot_at: str | Timestamp, quarter: str = ""
) -> Inventory:
    """Make an inventory from tables and check it.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Any of the frames, with any of their columns, typed or as text.
    snapshot_at : str or Timestamp
        Moment that the frames describe. [UTC where it names no offset]
    quarter : str, default ""
        Calendar quarter; derived from ``snapshot_at`` when empty.

    Returns
    -------
    Inventory
        With every frame; those not supplied are empty and not ``present``.

    Raises
    ------
    DataError
        Where the tables break the data dictionary; it lists every problem.

    Examples
    --------
    >>> workloads = pd.DataFrame(
    ...     {"workload_id": ["cart.1"], "service_id": ["cart"], "image_ref": ["shop/cart:1.4"]}
    ... )
    >>> inventory = assess.from_frames({"workloads": workloads}, snapshot_at="2026-09-30")
    >>> inventory["workloads"].loc[0, "tag"]
    '1.4'
    """
    inventory, problems = build(tables, snapshot_at, quarter)
    if len(problems):
        raise DataError("the frames do not fit the data dictionary", problems)
    return inventory


def build(
    tables: frames.Frames,
    snapshot_at: str | Timestamp | None,
    quarter: str,
    place: str = "",
) -> tuple[Inventory, DataFrame]:
    """Type and check tables; without ``snapshot_at``, the newest time in them is used."""
    typed, extras, problems = _typed(tables, place)
    # a report's directory has this name
    if not re.fullmatch(r"(\w[\w .-]*)?", quarter):
        problems.append(frames.problem(MANIFEST, quarter, "a name such as 2026Q3"))
    when = _newest_time(typed) if snapshot_at is None else utc(snapshot_at)
    if when is None:
        # listed beside the other problems: who mends them one by one runs it many times
        why = "nothing in the snapshot says when it was taken"
        problems.append(frames.problem(MANIFEST, "", NEEDED_TIME, why))
        when = Timestamp(0, tz="UTC")
    # frames that name none leave the services unknown
    if "services" not in typed and len(named := _named_services(typed)):
        typed["services"] = named
    problems.append(frames.check_references(typed))
    whole = {name: typed.get(name, frames.empty(name)) for name in frames.names()}
    inventory = Inventory(
        whole, when, quarter or quarter_of(when), frozenset(typed), extras
    )
    found = frames.join_problems(problems)
    # a required cell that could not be read is listed once, as unreadable
    again = found.duplicated(["table", "row", "column"]) & found["row"].notna()
    return inventory, found[~again]


def _typed(
    tables: frames.Frames, place: str
) -> tuple[dict[str, DataFrame], dict[str, DataFrame], list[DataFrame]]:
    """Return the frames, what nobody knows and is kept aside, and the problems of each."""
    typed: dict[str, DataFrame] = {}
    extras: dict[str, DataFrame] = {}
    problems = []
    for name, given in tables.items():
        where = f"{place}{name}"
        # a frame of one's own may have numbers for names, or a name twice
        named = given.set_axis(given.columns.map(str), axis=1)
        is_twice = named.columns.duplicated()
        raw = named.loc[:, ~is_twice]
        unknown = frames.unknown_columns(name, raw.columns)
        if name not in frames.names():
            if unknown["hint"].item() or tables.keys().isdisjoint(frames.names()):
                problems.append(unknown)
                continue
            extras[name] = raw.reset_index(drop=True)
            message = f"{where}: a frame that nobody knows is kept aside"
            warnings.warn(message, UnknownColumnWarning, stacklevel=5)
            continue
        for column in named.columns[is_twice]:
            rule = "a column occurs once"
            problems.append(frames.problem(name, "", rule, column=column))
        table, unreadable = frames.conform(name, raw)
        typed[name] = derived(name, table)
        if len(unknown):
            extras[name] = raw[unknown["column"]].reset_index(drop=True)
            listed = "; ".join(
                f"{row.column!r}, {row.hint}".rstrip(", ") for row in unknown.itertuples()
            )
            message = f"{where}: unknown columns are kept aside: {listed}"
            warnings.warn(message, UnknownColumnWarning, stacklevel=5)
        problems += [unreadable, frames.check(name, typed[name], raw)]
    return typed, extras, problems


def derived(frame: str, table: DataFrame) -> DataFrame:
    """Fill unknown cells from other cells of the same row; known cells stay."""
    if frame == "hosts":
        # from the name of the system, or else from the kernel
        pairs = frames.objects(table[["os_name", "kernel"]])
        families = [os_family(*pair) for pair in pairs]
        return _filled(table, DataFrame({"os_family": families}, table.index))
    if frame != "workloads":
        return table
    refs = table["image_ref"].dropna()
    known = refs.unique()
    parts = DataFrame([parse_image(ref).columns() for ref in known], index=known)
    table = _filled(table, parts.reindex(refs).set_axis(refs.index))
    tagged = table.dropna(subset=["repository", "tag"])
    is_pinned = frames.surely(tagged["pinned"])
    rows = zip(tagged["tag"], tagged["repository"], is_pinned, strict=True)
    # `moves` may be None: `None and …` keeps an unknown tag unknown
    floating = [moves(*names) and not is_fixed for *names, is_fixed in rows]
    tags = Series(floating, tagged.index, dtype="boolean")
    return _filled(table, tags.to_frame("tag_floating"))


def _filled(table: DataFrame, parts: DataFrame) -> DataFrame:
    """Fill the unknown cells of a table from another with the same rows."""
    filled = {
        name: table[name].fillna(cells.astype(table[name].dtype))
        for name, cells in parts.items()
    }
    return table.assign(**filled)


def images_by_tag(images: DataFrame) -> DataFrame:
    """Return a row of images for each of their tags: ``tag``, as references have it."""
    rows = images.assign(tag=images["tags"].str.split(";")).explode("tag")
    # some list their tags with the repository before the colon
    bare = rows["tag"].astype("str").str.extract(r"([^:\s]+)\s*$")[0]
    return rows.assign(tag=bare).dropna(subset="tag")


def utc(moment: str | Timestamp) -> Timestamp:
    """Return a moment in UTC; one without an offset is UTC."""
    try:
        # pandas would read a number as nanoseconds since 1970
        when = pd.NaT if isinstance(moment, int | float) else Timestamp(moment)
    except (ValueError, TypeError):
        when = pd.NaT
    if pd.isna(when):
        raise AssessError(
            f"{moment!r} is no time", hint='write it as "2026-09-30T00:00:00Z"'
        )
    return when.tz_localize("UTC") if when.tzinfo is None else when.tz_convert("UTC")


def quarter_of(when: Timestamp) -> str:
    """Return the calendar quarter of a moment."""
    return f"{when.year}Q{when.quarter}"


def _named_services(tables: frames.Frames) -> DataFrame:
    """Return the services that other frames name, for a snapshot without a services frame."""
    named = [
        table[name]
        for frame, table in tables.items()
        for name, column in frames.columns(frame).items()
        if column.reference == ("services", "service_id")
    ]
    ids = pd.concat([Series(dtype="str"), *named])
    known = ids.replace("", pd.NA).dropna().unique()
    inside = sorted(name for name in known if not str(name).startswith(frames.EXTERNAL))
    return frames.conform("services", DataFrame({"service_id": inside}))[0]


def _newest_time(tables: frames.Frames) -> Timestamp | None:
    """Return the newest time that a source recorded; ``expires_at`` lies in the future."""
    times = [
        cells.max()
        for table in tables.values()
        for column, cells in table.select_dtypes("datetimetz").items()
        if column != "expires_at"
    ]
    return max(filter(pd.notna, times), default=None)
