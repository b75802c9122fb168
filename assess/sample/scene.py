"""The stage of the sample: a quarter, the services and hosts of one cell, and its dice."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from assess.errors import AssessError

Row = dict[str, Any]


@dataclass(frozen=True)
class Quarter:
    """A calendar quarter.

    Attributes
    ----------
    year, number : int
        Such as 2026 and 3.
    """

    year: int
    number: int

    @classmethod
    def parse(cls, label: str) -> Quarter:
        """Read a quarter such as ``2026Q3``.

        Parameters
        ----------
        label : str
            The text.

        Returns
        -------
        Quarter
            The quarter.

        Raises
        ------
        AssessError
            Where the text is no quarter.
        """
        found = re.fullmatch(r"(\d{4})Q([1-4])", label)
        if found is None:
            raise AssessError(f"{label!r} is not a quarter", hint="write it as 2026Q3")
        return cls(int(found[1]), int(found[2]))

    @property
    def label(self) -> str:
        """Such as ``2026Q3``."""
        return f"{self.year}Q{self.number}"

    @property
    def start(self) -> datetime:
        """First moment."""
        return datetime(self.year, 3 * self.number - 2, 1)

    @property
    def snapshot_at(self) -> datetime:
        """Midnight of the last day: the moment of the snapshot."""
        return self.after.start - timedelta(days=1)

    @property
    def after(self) -> Quarter:
        """The next quarter."""
        return Quarter(self.year + self.number // 4, self.number % 4 + 1)

    @property
    def before(self) -> Quarter:
        """The quarter before."""
        return Quarter(self.year - (self.number == 1), (self.number - 2) % 4 + 1)


def settle(row: Mapping[str, Any], *, changed: bool) -> Row:
    """Decide every "a>b" of a row.

    Parameters
    ----------
    row : mapping
        Values; those without ``>`` stay.
    changed : bool
        Whether the change has come.

    Returns
    -------
    dict
        The row as it is.
    """
    return {
        name: value.split(">")[changed] if isinstance(value, str) and ">" in value else value
        for name, value in row.items()
    }


def digest(text: str) -> str:
    """Make a digest that looks like an image's.

    Parameters
    ----------
    text : str
        What it stands for.

    Returns
    -------
    str
        ``sha256:…``.
    """
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Scene:
    """One cell of the fleet in one quarter.

    Attributes
    ----------
    quarter : Quarter
        The quarter that the snapshot ends.
    step : int
        Its place in the row of quarters.
    seed : int
        Seed of the dice.
    cell : int
        Number of the cell.
    world : dict
        `world.toml`, every "a>b" of its pools and teams decided.
    templates : list of dict
        Rows of `services.csv`, decided likewise.
    earlier : Scene, optional
        The same cell a quarter before.
    """

    quarter: Quarter
    step: int
    seed: int
    cell: int
    world: dict[str, Any]
    templates: list[Row]
    earlier: Scene | None = None

    @property
    def window(self) -> list[Scene]:
        """The two quarters that a source of events looks back on."""
        return [self.earlier, self] if self.earlier else [self]

    def dice(self, *what: object) -> random.Random:
        """Give dice of their own to something, so that nothing else moves them.

        Parameters
        ----------
        *what : object
            What they are for.

        Returns
        -------
        Random
            Only its ``random()`` is used.
        """
        return random.Random("/".join(map(str, (self.seed, self.cell, *what))))

    def name(self, plain: str) -> str:
        """Give the name that a service, group or pool has in this cell.

        Parameters
        ----------
        plain : str
            Name in the tables.

        Returns
        -------
        str
            The first cell keeps it; the others append their number.
        """
        return f"{plain}-{self.cell + 1}" if self.cell else plain

    @cached_property
    def ids(self) -> frozenset[str]:
        """Plain names of the services in this cell."""
        return frozenset(str(row["service_id"]) for row in self.templates)

    def names(self, plain: str) -> str:
        """Translate a list of services, and leave out those that are not in this cell.

        Parameters
        ----------
        plain : str
            Names joined by a semicolon.

        Returns
        -------
        str
            Likewise.
        """
        return ";".join(self.name(one) for one in plain.split(";") if one in self.ids)

    @cached_property
    def pools(self) -> dict[str, Row]:
        """Pools that services of this cell run on."""
        used = {row["pool"] for row in self.templates}
        return {name: pool for name, pool in self.world["pools"].items() if name in used}

    def hosts(self, pool: str) -> list[str]:
        """Give the hosts of a pool.

        Parameters
        ----------
        pool : str
            Its plain name.

        Returns
        -------
        list of str
            Host ids.
        """
        return [f"{self.name(pool)}-{k}" for k in range(1, int(self.pools[pool]["n"]) + 1)]

    @cached_property
    def placed(self) -> list[tuple[Row, Row, list[str]]]:
        """Services that run somewhere: template, pool, and a host per replica."""
        found = []
        for offset, row in enumerate(self.templates):
            if row["pool"]:
                hosts = self.hosts(row["pool"])
                where = [hosts[(offset + k) % len(hosts)] for k in range(int(row["replicas"]))]
                found.append((row, self.pools[row["pool"]], where))
        return found

    def told(self, frame: str) -> list[Row]:
        """Give the rows of this quarter that are told in full.

        Parameters
        ----------
        frame : str
            Name of the frame.

        Returns
        -------
        list of dict
            Rows of `world.toml` whose service is in this cell.
        """
        return [
            row
            for row in self.world["told"][frame]
            if row["step"] == self.step and row.get("service_id", "") in {*self.ids, ""}
        ]

    def day(self, days: float) -> datetime:
        """Give a moment, to the minute.

        Parameters
        ----------
        days : float
            Days after the quarter's start; below zero, before its snapshot.

        Returns
        -------
        datetime
            The moment. [UTC]
        """
        start = self.quarter.start if days >= 0 else self.quarter.snapshot_at
        return start + timedelta(minutes=round(days * 1440))
