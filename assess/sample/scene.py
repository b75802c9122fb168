"""One cell of the sample fleet in one quarter: its names and its random numbers."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pandas as pd

from assess.config import packaged, packaged_rows
from assess.frames import Row

CELL = 48  # services
_NAMES = ("service_id", "element", "host_id", "affected_services", "observed_services")


def world() -> dict[str, Any]:
    """Return the constants of every cell and quarter."""
    return packaged("sample/world.toml")


@cache
def _table(name: str, step: int, last: int) -> list[Row]:
    """Read a table; a cell "before>after" takes its second value once the row has changed."""
    return [
        {column: cell.split(">")[-(step > i % last)] for column, cell in row.items()}
        for i, row in enumerate(packaged_rows(f"sample/{name}.csv"))
    ]


def digest(text: str) -> str:
    """Return a digest in the form of an image digest."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Scene:
    """One cell of the fleet in a quarter, the `step` of `last`, and the cell a quarter `earlier`."""

    quarter: pd.Period
    step: int
    last: int
    seed: int
    cell: int
    size: int
    earlier: Scene | None

    @property
    def at(self) -> pd.Timestamp:
        """Moment of the snapshot: midnight of the quarter's last day."""
        return self.quarter.end_time.normalize()

    @property
    def history(self) -> list[Scene]:
        """The cell in all quarters so far, oldest first."""
        return [*(self.earlier.history if self.earlier else []), self]

    def day(self, days: float) -> pd.Timestamp:
        """Return the moment some days after the start of the quarter, or before its end if negative."""
        start = self.quarter.start_time if days >= 0 else self.at
        return start + pd.Timedelta(minutes=round(days * 1440))

    def dice(self, *what: object) -> random.Random:
        """Return a random generator of its own for a thing, independent of all others."""
        return random.Random("/".join(map(str, (self.seed, *what))))

    def name(self, plain: str) -> str:
        """Return the name of a thing in this cell; the first cell keeps the plain name."""
        return f"{plain}-{self.cell + 1}" if self.cell else plain

    def table(self, name: str) -> list[Row]:
        """Return the rows of a table in this quarter."""
        return [dict(row) for row in _table(name, self.step, self.last)]

    def written(self, name: str) -> list[Row]:
        """Return the events of this quarter and cell that the tables describe in full."""
        rows = []
        for row in self.table(name):
            subject = row.get("element", row.get("service_id"))
            if int(row["step"]) == self.step and (not subject or subject in self.plain):
                for column in row.keys() & _NAMES:
                    here = [one for one in row[column].split(";") if one in self.plain]
                    row[column] = ";".join(map(self.name, here))
                rows.append(row)
        return rows

    @cached_property
    def plain(self) -> set[str]:
        """Plain names of the services and hosts of this cell."""
        services = {row["service_id"] for row in self._rows}
        return services | {host for pool in self.pools.values() for host in _hosts(pool)}

    @property
    def _rows(self) -> list[Row]:
        return self.table("services")[: self.size]

    @cached_property
    def pools(self) -> dict[str, Row]:
        """Pools that services of this cell run on, with their hosts, and how sources see them."""
        used = {row["pool"] for row in self._rows}
        pools = {row["pool"]: row for row in self.table("pools") if row["pool"] in used}
        for name, pool in pools.items():
            pool["hosts"] = [self.name(host) for host in _hosts(pool)]
            pool["way"] = world()["ways"][pool["way"] or pool["platform"]]
            pool["asg_name"] = self.name(f"{name}-asg") if pool["replacements"] else ""
        return pools

    @property
    def hosts(self) -> list[tuple[str, Row, int]]:
        """Hosts of this cell, each with its pool and the number of replicas on it."""
        running = [host for row in self.services for host in row["hosts"]]
        return [
            (h, pool, running.count(h))
            for pool in self.pools.values()
            for h in pool["hosts"]
        ]

    @cached_property
    def services(self) -> list[Row]:
        """Services of this cell, each with its pool, team, image, and a host per replica."""
        teams = {team["owner"]: team for team in self.table("teams")}
        rows = self._rows
        for offset, row in enumerate(rows):
            row["name"] = row["service_id"].replace("-", " ").capitalize()
            row["service_id"] = self.name(row["service_id"])
            row["pool"] = self.pools.get(row["pool"]) or world()["nowhere"]
            row["team"] = teams.get(row["owner"], {})
            row["image"] = _image(row["image"])
            pool = row["pool"]["hosts"]
            places = range(offset, offset + int(row["replicas"] or 0))
            row["hosts"] = [pool[place % len(pool)] for place in places]
        return rows

    @property
    def placed(self) -> list[Row]:
        """Services that run somewhere."""
        return [row for row in self.services if row["hosts"]]


def _hosts(pool: Row) -> list[str]:
    return [f"{pool['pool']}-{k + 1}" for k in range(int(pool["n"]))]


def _image(text: str) -> Row:
    if not text:
        return {}
    alias, _, rest = text.partition("/")
    repository, _, tag = rest.partition(":")
    registry = world()["registries"][alias]
    image = {"registry": registry, "repository": repository, "tag": tag}
    return image | {"digest": digest(f"{registry}/{rest}")}
