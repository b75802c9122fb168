"""Take an inventory of the fleet; say what each source needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assess.cli import output
from assess.cli.command import Command
from assess.cli.messages import note, say

if TYPE_CHECKING:
    import pandas as pd

LOW_COVERAGE = 4
SEEN = ("ok", "empty")
"""Statuses of a call that saw all there was to see."""


@click.command(cls=Command, examples=["assess sources", "assess sources ecs --json"])
@click.argument("type_", metavar="[TYPE]", required=False)
@output.options
def sources(type_: str | None, *, out: output.Output) -> None:
    """Say what each source needs: options, permissions, the frames that it fills, dump commands."""
    import pandas as pd

    from assess.collect import source_types

    known = source_types()
    if type_ and type_ not in known:
        raise click.UsageError(f"there is no source {type_!r}; sources: {', '.join(known)}")
    chosen = {type_: known[type_]} if type_ else known
    rows = [
        (name, ", ".join(s.options), ", ".join(s.fills), s.needs, s.dump)
        for name, s in sorted(chosen.items())
    ]
    out.table(pd.DataFrame(rows, columns=["type", "options", "fills", "needs", "dump"]))
