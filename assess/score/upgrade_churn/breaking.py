"""Breaking changes: rows of `breaks` up to a target, or a day, that affect something in use."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from string import Formatter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Series, Timestamp
from pandas.arrays import BooleanArray

from assess import reference
from assess.errors import RequestError, with_nearest
from assess.execution import each
from assess.frames import Frames, surely
from assess.inventory import Inventory
from assess.policy.rules import evaluate
from assess.score.upgrade_churn.entries import IDS
from assess.score.upgrade_churn.history import Move
from assess.score.upgrade_churn.in_use import (
    IDLE,
    KUBERNETES,
    WORLD,
    bases_of,
    flags_of,
    images_of,
    is_node,
    mounts_of,
    number_of,
    objects_of,
    on_bases,
    packages_of,
    systems_of,
    workloads_on,
)

COLUMNS = [*IDS, "change", "certainty", "moment", "what", "why", "remedy", "source"]
RUNTIMES = (reference.ENGINE, "containerd", "cri-o", "podman")
PRODUCTS = (*RUNTIMES, KUBERNETES)  # beside those of images
SYSTEM = "system"  # whose rules hold for each system of hosts
ANY_IMAGE = "image"  # whose rules hold for each image that has none of its own
WILL = "will"
MAY = "may"
NOTE = "note"
BLOCK = 20_000  # rows of a table that one worker looks at
_AT_ONCE = ("at upgrade", "next start")  # an upgrade starts what it stopped
BLIND = "version"  # the change of a row whose engine, or whose target, nobody knows
_CERTAINTY = {WILL: 0, MAY: 1, NOTE: 2, BLIND: 3}  # the gravest first
_TEXTS = ("what", "why", "subject")  # are templates, with columns in braces
_FACTS = [*COLUMNS[len(IDS) :], "subject", "by", "until"]
_TYPES = {**dict.fromkeys([*IDS, *_FACTS], "str"), "order": "float64"}
_NOTHING = DataFrame(columns=list(_TYPES)).astype(_TYPES)


class Goal(NamedTuple):
    """The goal of an upgrade: a product, or the path of another image, and its version.

    ``platform`` is the provider's cluster that was named, such as amazon-eks; empty for any.
    """

    product: str
    version: str
    platform: str = ""


def goal_of(text: str) -> Goal:
    """Read a target such as ``kubernetes:1.35``; a bare version is docker's."""
    meant = reference.lookup("other_targets", "target", "means").get(text, text)
    name, _, version = meant.rpartition(":")
    system = reference.distro_of(name)
    product = system or reference.product_of(name) or reference.ENGINE
    is_known = product in products() and not reference.distro_of(product)
    if name in products() or ("/" in name and not is_known):
        product = name  # an image without rules, or of a system, goes by its path
    elif product not in products():
        message = f"{product!r} is no product to upgrade"
        raise RequestError(
            with_nearest(message, product, products()),
            hint=f"{', '.join(PRODUCTS)}, a system of hosts, or an image; such as kubernetes:1.35, "
            "debian:13, kernel:6.18, postgres:18, acme/app:2",
        )
    if reference.parse_version(version) is None:
        raise RequestError(
            f"{text!r} names no version", hint="a version or a line, such as docker:29"
        )
    word = text.partition(":")[0]
    platforms = reference.lookup("platforms", "word", "product")
    return Goal(product, version.strip(), platforms.get(word, ""))


def goals_of(inventory: Inventory, engine: str) -> list[Goal]:
    """Return the default goal of every product of a fleet: its newest line."""
    # The engine of the policy's target stands for docker.
    used = {reference.ENGINE, *inventory["engines"]["runtime"].dropna()}
    if is_node(inventory).any() or len(inventory["objects"]):
        used.add(KUBERNETES)
    newest = {name: reference.newest_line(name) for name in PRODUCTS if name in used}
    newest[reference.ENGINE] = engine
    return [Goal(name, version) for name, version in newest.items() if version]


def breaks(
    inventory: Inventory,
    goals: Sequence[Goal],
    by: str = "",
    beside: Collection[str] = (),
) -> DataFrame:
    """List breaking changes up to targets and a day: one row per workload, subject and last change.

    Kinds of workloads that run ``beside`` the engine of their host go on without it.
    """
    # ``workload_id`` is NA on a host without known workloads, ``change`` is `BLIND` where
    # the engine or the target is unknown.
    parts = [_NOTHING]
    for goal in goals:
        product, version, _ = goal
        of_product = systems_of if reference.distro_of(product) else images_of
        if product in PRODUCTS:
            of_product = partial(workloads_on, beside=beside)
        everywhere = of_product(inventory, product, version)
        workloads = _in_clusters(everywhere, goal)
        ahead = _Ahead(goal)
        asked = [change for change in changes(product) if ahead.reaches(change)]
        makers = {
            "workloads": workloads.copy,
            "objects": partial(_objects, inventory, everywhere, goal),
            "flags": partial(flags_of, workloads, product, version),
            "mounts": partial(mounts_of, inventory, workloads),
            "bases": partial(bases_of, inventory, product, version),
        }
        needed = {change["table"] for change in asked}
        tables = {name: makers[name]() for name in needed}
        rows_n = max(map(len, tables.values()), default=0)
        items = [
            {name: table[first : first + BLOCK] for name, table in tables.items()}
            for first in range(0, rows_n, BLOCK)
        ]
        work = (asked, inventory.snapshot_at, ahead)
        parts += each(_broken_in, work, items, what=f"changes of {product}")
        parts.append(_blind(workloads, goal))
    if by:
        parts.append(of_world(inventory, _day(by)))
    table = pd.concat(parts, ignore_index=True)
    table["certainty_order"] = table["certainty"].map(_CERTAINTY)
    table = table.sort_values(["certainty_order", "order", "change", "workload_id"])
    # sorted by weight: of each subject, the gravest and latest change stays
    table = table.drop_duplicates(["workload_id", "host_id", "service_id", "subject"])
    table = table.replace({"workload_id": IDLE}, pd.NA)
    by_place = ["service_id", "host_id", "workload_id", "change"]
    return table.sort_values(by_place, ignore_index=True)[COLUMNS]


def _in_clusters(table: DataFrame, goal: Goal) -> DataFrame:
    """Return the rows in clusters of the provider that a goal names, if any are there."""
    product = table["cluster_product"]
    is_there = surely(product.eq(goal.platform))
    # the provider of others may be unknown
    return table[is_there | product.isna()] if is_there.any() else table


def _objects(inventory: Inventory, workloads: DataFrame, goal: Goal) -> DataFrame:
    return _in_clusters(objects_of(inventory, workloads), goal)


def of_world(inventory: Inventory, until: Timestamp) -> DataFrame:
    """List the announced events up to a day that affect something in use, each with its ``day``."""
    found = _world_hits(inventory)
    return found[found["day"].le(until) & ~found["end"].le(until)]


def broken_by(inventory: Inventory, upgrades: Iterable[Move]) -> set[Move]:
    """Return the upgrades of the past that broke something that is still in use."""
    by_goal = defaultdict(list)
    for move in upgrades:
        if move.step.was and move.step.now:
            by_goal[Goal(move.step.product, move.step.now)].append(move)
    engines = inventory["engines"]
    broken = set()
    for goal, moves in by_goal.items():
        # what is in use now, asked on the engine of before
        earlier = {move.host_id: move.step.was for move in moves}
        versions = engines["host_id"].map(earlier).astype("str")
        then = engines.assign(version=versions)
        is_moved = then["version"].notna() & then["runtime"].eq(goal.product)
        # the frames fit already: only a version became that of before
        tables = {**inventory.tables, "engines": then[is_moved]}
        found = breaks(replace(inventory, tables=tables), [goal])
        is_hit = found["certainty"].eq(WILL) & found["moment"].isin(_AT_ONCE)
        hosts = set(found.loc[is_hit, "host_id"])
        broken |= {move for move in moves if move.host_id in hosts}
    return broken


@lru_cache(maxsize=1)  # asked for a day, and for the calendar
def _world_hits(inventory: Inventory) -> DataFrame:
    """List what the events of the world affect, each from its ``day`` until its ``end``."""
    workloads = workloads_on(inventory, WORLD, "")
    built = workloads[surely(workloads["is_build"])]
    tables = {
        "workloads": workloads,
        "packages": packages_of(built),
        "mounts": mounts_of(inventory, workloads),
        "bases": on_bases(flags_of(built, WORLD, "")),
    }
    hits = _Hits(tables, inventory.snapshot_at)
    for change in changes(WORLD):
        rows_n = len(tables[change["table"]])
        # few fleets have builds: hundreds of rules ask their packages
        if rows_n:
            hits.add(change, pd.array([True] * rows_n, dtype="boolean"))
    # what a system changes is changed for the tags that moved to it
    for move in () if built.empty else reference.rows("moved_bases"):
        goal = Goal(*move["system"].split())
        moved = surely(evaluate(move["tags"], tables["bases"], at=hits.at)).array
        for change in filter(_Ahead(goal).reaches, changes(goal.product)):
            if change["table"] == "bases" and change["version"]:
                hits.add(change | move, moved)
    found = hits.joined()
    return found.assign(day=_days(found["by"]), end=_days(found["until"]))


@cache
def changes(product: str) -> list[dict[str, str]]:
    """Return the changes of a product that have a rule, oldest first, with version and source."""
    known = {row["change_id"]: row for row in reference.rows("engine_changes")}
    is_known = product == WORLD or product in products()
    asked = [product if is_known else ANY_IMAGE]
    if reference.distro_of(product):
        asked.append(SYSTEM)
    listed = []
    for row in reference.rows("breaks"):
        if row["product"] not in asked:
            continue
        recorded = known.get(row["change_id"], {})
        own = {
            name: row[name] or recorded.get(name, "") for name in ("version", "source")
        }
        listed.append(row | own | {"change": row["change_id"]})
    return sorted(
        listed, key=lambda row: (reference.numbers_of(row["version"]), row["by"])
    )


@cache
def products() -> list[str]:
    """Return what can be upgraded: products of hosts, and those of images that have a rule."""
    named = {row["product"] for row in reference.rows("breaks")}
    named |= {*reference.lookup("os_names", "name", "distro").values()}
    return sorted(named - {WORLD, ANY_IMAGE, SYSTEM})


class _Ahead:
    """The changes between the running version and a target."""

    def __init__(self, goal: Goal) -> None:
        self._is_engine = goal.product == reference.ENGINE
        # a line of the engine means its newest release
        self._read = reference.release_of if self._is_engine else reference.parse_version
        self._line = self._read(goal.version) or ()
        # a line of another product, such as 1.35, holds all its patches
        is_line = len(self._line) < 3 and not self._is_engine
        self._target = (*self._line, 10**6) if is_line else self._line

    def reaches(self, change: Mapping[str, str]) -> bool:
        """Return whether a change is in the target: introduced by then, and not withdrawn."""
        has_come = reference.numbers_of(change["version"]) <= self._target
        until = reference.numbers_of(change["until"])
        return has_come and not (0,) < until <= self._target

    def of(self, versions: pd.Categorical, change: Mapping[str, str]) -> BooleanArray:
        """Return which versions are older than a change; NA where a version is unknown."""
        # a table that is asked as a whole has no version: the target decides
        comes = reference.parse_version(change["version"]) or self._line
        known = [self._is_below(text, comes) for text in versions.categories]
        # the code of a missing version is -1, the last
        return pd.array([*known, None], dtype="boolean").take(versions.codes)

    def _is_below(self, text: str, comes: tuple[int, ...]) -> bool | None:
        if self._is_engine and not reference.is_known(text):
            return None
        parsed = self._read(text)
        return None if parsed is None else parsed < comes


def _broken_in(
    work: tuple[list[dict[str, str]], Timestamp, _Ahead],
    tables: Frames,
) -> DataFrame:
    """List what changes break in a block of each table."""
    asked, at, ahead = work
    hits = _Hits(tables, at)
    versions = {name: pd.Categorical(table["version"]) for name, table in tables.items()}
    known: dict[tuple[str, str], BooleanArray] = {}
    for change in asked:
        name = change["table"]
        key = (name, change["version"])
        # many changes came with one version
        if key not in known:
            known[key] = ahead.of(versions[name], change)
        # most changes lie behind all that runs
        if known[key].to_numpy(bool, na_value=True).any():
            hits.add(change, known[key])
    return hits.joined()


class _Hits:
    """The rows of tables that changes break, with their texts."""

    def __init__(self, tables: Frames, at: Timestamp) -> None:
        self._tables = tables
        self.at = at
        self._texts: list[dict[str, str]] = []
        # by table: positions of rows, and of the text of each
        self._found: defaultdict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(
            list
        )

    def add(self, change: Mapping[str, str], ahead: BooleanArray) -> None:
        """Add the rows that a change breaks, of those whose version is older."""
        table = self._tables[change["table"]]
        # Where the running version is unknown, only what is known to be in use counts: it
        # breaks anyway.
        holds = evaluate(change["condition"], table, at=self.at).array
        is_hit = holds.to_numpy(bool, na_value=False)
        is_hit &= ahead.to_numpy(bool, na_value=True)
        is_open = holds.isna() & ahead.to_numpy(bool, na_value=False)
        is_open &= change["when_unknown"] == MAY
        rows = np.flatnonzero(is_hit | is_open)
        if not len(rows):
            return
        columns = _columns_in(" ".join(change[name] for name in _TEXTS))
        cells = [map(_shown, table[name].array.take(rows)) for name in columns]
        keys = list(zip(is_open[rows], *cells, strict=True))
        # equal cells make equal texts: few texts serve many rows
        numbers = {key: len(self._texts) + n for n, key in enumerate(dict.fromkeys(keys))}
        for is_unknown, *known in numbers:
            named = dict(zip(columns, known, strict=True))
            self._texts.append(_told(change, named, is_unknown))
        texts = np.array([numbers[key] for key in keys])
        self._found[change["table"]].append((rows, texts))

    def joined(self) -> DataFrame:
        """Return the rows with their texts, joined once: a frame for each change takes far longer."""
        if not self._texts:
            return _NOTHING
        facts = DataFrame(self._texts, columns=_FACTS)
        facts = facts.assign(order=list(map(_order, self._texts)))
        parts = []
        for name, pairs in self._found.items():
            rows, texts = map(np.concatenate, zip(*pairs, strict=True))
            parts.append(self._tables[name][IDS].take(rows).assign(text=texts))
        found = pd.concat(parts, ignore_index=True)
        return found[IDS].join(facts.take(found["text"]).reset_index(drop=True))


@cache
def _columns_in(template: str) -> list[str]:
    """Return the columns that a template names."""
    return sorted({name for _, name, _, _ in Formatter().parse(template) if name})


def _told(
    change: Mapping[str, str], cells: Mapping[str, str], is_unknown: bool
) -> dict[str, str]:
    """Return a change with the cells of a row in its templates."""
    texts = {name: change[name].format(**cells) for name in _TEXTS}
    named = texts["subject"].replace("_", " ")
    if is_unknown:
        texts |= {"what": named, "why": f"nobody knows its {named}: it may break"}
    return {**change, **texts, "certainty": MAY if is_unknown else change["when_true"]}


def _order(change: Mapping[str, str]) -> float:
    """Return a sort key that is smaller for a later change."""
    return -number_of(change["version"])  # that of none is NaN, which comes last


def _shown(cell: object) -> str:
    """Return the text of a cell; an unknown one becomes a question mark."""
    if pd.isna(cell):
        return "?"
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def _blind(workloads: DataFrame, goal: Goal) -> DataFrame:
    is_engine = goal.product == reference.ENGINE
    read = reference.is_known if is_engine else reference.parse_version
    versions = workloads["version"].dropna().unique()
    known = set(filter(read, versions))
    is_image = goal.product not in PRODUCTS
    # the newest rule of an image says where its rules end
    is_released = is_image or reference.lines_behind(*goal[:2]) is not None
    is_known = workloads["version"].isin(known) & is_released
    rows = workloads[~is_known & (workloads["runtime"].notna() | is_image)]
    if not is_released:
        rows = rows.assign(version=goal.version)
    named = goal.product + " " + rows["version"].astype("string")
    why = ("the facts do not know " + named).fillna("nobody knows its version")
    return rows[IDS].assign(
        change=BLIND,
        certainty=BLIND,
        moment="at upgrade",
        what=named.fillna(goal.product),
        why=why,
        remedy="find out the version",
        source="",
        subject=BLIND,
        order=0.0,
    )


def _days(texts: Series) -> Series:
    """Return days as times; NaT where a text is empty."""
    return pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)


def _day(text: str) -> Timestamp:
    (day,) = _days(Series([text]))
    if pd.isna(day):
        raise RequestError(f"{text!r} is no day", hint="write it as 2026-12-31")
    return day


def on_hosts(table: DataFrame) -> DataFrame:
    """Group breaking changes by host and change, with the affected services and workloads."""
    key = [name for name in COLUMNS if name not in ("service_id", "workload_id")]
    return grouped(table, key, workloads_n=("workload_id", "nunique")).drop(
        columns="services_n"
    )


def grouped(rows: DataFrame, key: list[str], **counts: Any) -> DataFrame:
    """Group rows by a key, with the number and the names of their services, and other counts."""
    groups = rows.groupby(key, dropna=False, sort=True)
    table = groups.agg(
        services_n=("service_id", "nunique"), services=("service_id", joined), **counts
    )
    return table.reset_index()


def joined(names: Series) -> str:
    """Return the distinct names in order, joined by semicolons."""
    return "; ".join(sorted(set(names.dropna())))
