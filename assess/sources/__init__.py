"""Sources: one folder per system, and the run over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assess.config import CONFIG_NAME, Config, load_config
from assess.errors import CollectError
from assess.execution import Tell
from assess.sources.base import Rows
from assess.sources.catalogue import SourceType, permissions, source_types
from assess.sources.run import (
    Interrupted,
    coverage_rows,
    in_two_rounds,
    join,
    prepare,
    probing,
    side_by_side,
)

if TYPE_CHECKING:
    import pandas as pd

    from assess.inventory import Inventory

__all__ = ["Interrupted", "SourceType", "collect", "permissions", "probe", "source_types"]


def collect(  # noqa: PLR0913
    config: str | Path | Config = CONFIG_NAME,
    *,
    sources: Iterable[str] | None = None,
    deadline: float = 300,
    strict: bool = False,
    progress: Tell | None = None,
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
        An earlier snapshot: its rows of scopes that no source can see now are carried forward,
        as ``stale`` in ``coverage``.
    now : datetime, optional
        Moment of the snapshot; without one, the present. [UTC]

    Returns
    -------
    Inventory
        What the sources found; ``coverage`` lists what they could not see.

    Raises
    ------
    ConfigError
        Where a table cannot be used; all problems are named, and nothing was asked.
    CollectError
        Where nothing was collected; with ``strict``, where anything is missing.
    Interrupted
        A KeyboardInterrupt, whose ``inventory`` is what was found before it, if anything.

    Examples
    --------
    >>> inventory = assess.collect("assess.toml", sources=["compose"])
    >>> inventory["workloads"]["service_id"].tolist()
    ['cart']
    """
    from assess.inventory import from_frames
    from assess.sources.deploys.measured import measure
    from assess.sources.joining.carry import carry_forward
    from assess.sources.joining.merge import coverage_table

    tasks, rules = prepare(_loaded(config), sources, deadline)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    interrupt = None
    try:
        batches = in_two_rounds(tasks, progress)
    except Interrupted as error:
        interrupt = error
        batches = error.batches
    # after an interrupt, too: an unfinished scope keeps its earlier rows, marked stale
    if previous is not None:
        batches = [*batches, *carry_forward(previous, batches, moment)]
    tables, answers, notes = join(batches, rules)
    is_any = any(map(len, tables.values()))
    if interrupt and not is_any:
        raise interrupt
    _insist(answers, strict=strict and interrupt is None, is_any=is_any)
    notes += measure(tables, answers, moment)
    run_id = f"{moment:%Y%m%dT%H%M%SZ}"
    tables["coverage"] = coverage_table([*answers, *notes], run_id)
    inventory = from_frames(tables, snapshot_at=moment.isoformat())
    if interrupt:
        interrupt.inventory = inventory
        raise interrupt
    return inventory


def probe(
    config: str | Path | Config = CONFIG_NAME,
    *,
    sources: Iterable[str] | None = None,
    deadline: float = 30,
    progress: Tell | None = None,
) -> pd.DataFrame:
    """Return the coverage of what each configured source can see, at a few calls each."""
    from assess.sources.joining.merge import coverage_table

    tasks, _ = prepare(_loaded(config), sources, deadline)
    batches = side_by_side(tasks, probing, progress)
    return coverage_table(coverage_rows(batches), "probe")


def _loaded(config: str | Path | Config) -> Config:
    if isinstance(config, Config):
        return config
    is_default = str(config) == CONFIG_NAME and not Path(config).exists()
    return load_config(None if is_default else config)


def _insist(answers: Rows, *, strict: bool, is_any: bool) -> None:
    """Raise if nothing was collected or, if strict, if anything is missing."""
    failed = [row for row in answers if row["status"] not in ("ok", "empty")]
    if is_any and not (strict and failed):
        return
    what = "these sources are not complete" if is_any else "nothing was collected"
    outcomes = defaultdict(list)
    for row in failed or answers:
        hint = f" ({row['hint']})" if row.get("hint") else ""
        place = "{source} {scope}".format_map(row)
        outcomes[place, row["status"] + hint].append(row["call"])
    lines = [
        f"  {place} {', '.join(calls)}: {outcome}"
        for (place, outcome), calls in outcomes.items()
    ]
    hint = (
        "run without strict to keep what there is" if is_any else "see `assess sources`"
    )
    # also reads well where a terminal shows it on one line
    raise CollectError(f"{what}:\n" + ";\n".join(lines), hint=hint)
