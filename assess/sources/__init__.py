"""Sources: one folder per system, and the run over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assess.config import CONFIG_NAME, Config, load_config
from assess.errors import CollectError
from assess.sources.base import Batch, Row
from assess.sources.catalogue import SourceType, permissions, source_types
from assess.sources.run import Progress, in_two_rounds, prepare, probing, side_by_side

if TYPE_CHECKING:
    import pandas as pd

    from assess.inventory import Inventory

__all__ = ["SourceType", "collect", "permissions", "probe", "source_types"]


def collect(  # noqa: PLR0913
    config: str | Path | Config = CONFIG_NAME,
    *,
    sources: Iterable[str] | None = None,
    deadline: float = 300,
    strict: bool = False,
    progress: Progress | None = None,
    previous: Inventory | None = None,
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
    previous : Inventory, optional
        An earlier snapshot: what it knows of scopes that nobody could see today is carried
        forward, as ``stale`` in ``coverage``.
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
    from assess.sources.joining.carry import carry_forward
    from assess.sources.joining.hosts import settle_hosts
    from assess.sources.joining.merge import coverage_table, to_tables
    from assess.sources.joining.replicas import join_replicas

    tasks, rules = prepare(_loaded(config), sources, deadline)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    batches = list(
        zip([t.label for t in tasks], in_two_rounds(tasks, progress), strict=True)
    )
    if previous is not None:
        batches += carry_forward(previous, batches, moment)
    joined = [*settle_hosts(batches), *join_replicas(batches)]
    tables, notes = to_tables(batches, rules)
    rows = coverage_rows(batches)
    _insist(rows, strict=strict, found=any(len(table) for table in tables.values()))
    tables["coverage"] = coverage_table(
        [*rows, *joined, *notes], f"{moment:%Y%m%dT%H%M%SZ}"
    )
    return from_frames(tables, snapshot_at=moment.isoformat())


def probe(
    config: str | Path | Config = CONFIG_NAME,
    *,
    sources: Iterable[str] | None = None,
    deadline: float = 30,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Tell before a run what each configured source can and cannot see, at a few calls each.

    Parameters
    ----------
    config : str, Path or Config, default "assess.toml"
        As for `collect`.
    sources : iterable of str, optional
        Only sources of these types.
    deadline : float, default 30
        Time that a source has. [s]
    progress : callable, optional
        As for `collect`.

    Returns
    -------
    DataFrame
        A coverage frame; nothing was collected.

    Raises
    ------
    ConfigError
        Where a table cannot be used; all problems are named, and nothing was asked.
    """
    from assess.sources.joining.merge import coverage_table

    tasks, _ = prepare(_loaded(config), sources, deadline)
    batches = zip(
        [t.label for t in tasks], side_by_side(tasks, probing, progress), strict=True
    )
    return coverage_table(coverage_rows(batches), "probe")


def _loaded(config: str | Path | Config) -> Config:
    if isinstance(config, Config):
        return config
    is_default = str(config) == CONFIG_NAME and not Path(config).exists()
    return load_config(None if is_default else config)


def coverage_rows(batches: Iterable[tuple[str, Batch]]) -> list[Row]:
    """Give the coverage rows of all batches, with the type of their source."""
    return [
        {"source": label.partition("#")[0], **r}
        for label, b in batches
        for r in b.coverage
    ]


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
