"""Hold a snapshot to limits, for a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli import output
from assess.cli.command import (
    Command,
    policy_option,
    read,
    read_policy,
    snapshot,
    target_option,
)
from assess.cli.messages import say
from assess.errors import AssessError

if TYPE_CHECKING:
    import pandas as pd

BROKEN = 3
NAMED = 5


@dataclass(frozen=True)
class Breach:
    """A limit that does not hold.

    Attributes
    ----------
    limit : str
        Name of the limit.
    wanted : float
        Value that was asked for.
    service_id : str
        Service that breaks it.
    found : float or None
        Value that was found; None where it is unknown.
    why : str
        What it comes from.
    """

    limit: str
    wanted: float
    service_id: str
    found: float | None
    why: str


@click.command(
    cls=Command,
    works=True,
    examples=[
        "assess check data/sample/2026Q3 --min-readiness 40",
        "assess check data/snapshots@2026-09-30 --min-coverage .6 --max-open-gates 0",
        "assess check data/sample/2026Q3 --service billing --min-readiness 60",
    ],
)
@snapshot
@click.option(
    "--min-readiness", type=float, help="Least readiness of a service. [points 0-100]"
)
@click.option(
    "--min-coverage", type=float, help="Least coverage of a service. [share 0-1]"
)
@click.option("--max-open-gates", type=int, help="Most open gates, in all. [count]")
@click.option(
    "--service", "services", multiple=True, help="Only this service; may be repeated."
)
@policy_option
@target_option
@output.options
def check(
    snapshot: str,
    *,
    min_readiness: float | None,
    min_coverage: float | None,
    max_open_gates: int | None,
    services: tuple[str, ...],
    policy_file: Path | None,
    target: str | None,
    out: output.Output,
) -> None:
    """Exit with 3 where a limit is broken, and list what breaks it.

    An unknown readiness keeps no limit. A gate is open where it fails, and where nobody knows
    whether it does; a waived one is closed.
    """
    from assess.score.assessment import Assessment

    if min_readiness is None and min_coverage is None and max_open_gates is None:
        raise click.UsageError(
            "name a limit: --min-readiness, --min-coverage or --max-open-gates"
        )
    policy = read_policy(policy_file, target=target)
    result = Assessment(read(snapshot), policy).readiness
    for name in services:
        result.row(name)
    chosen = list(services) or list(result.frame.index)
    if not chosen:
        raise AssessError(
            "there is no service to check", hint="see `assess show SNAPSHOT`"
        )
    frame, gates = result.frame.loc[chosen], result.details["gates"]
    breaches = [
        *_below(frame["readiness"], "min-readiness", min_readiness),
        *_below(frame["coverage"], "min-coverage", min_coverage),
        *_open(gates[gates["service_id"].isin(chosen)], max_open_gates),
    ]
    _report(breaches, len(chosen), out)


def _below(values: pd.Series, limit: str, wanted: float | None) -> Iterator[Breach]:
    """Find the services under a limit; what is unknown is under every limit."""
    import pandas as pd

    if wanted is None:
        return
    for service_id, value in values.items():
        if pd.isna(value):
            yield Breach(limit, wanted, str(service_id), None, "unknown")
        elif value < wanted:
            yield Breach(
                limit, wanted, str(service_id), round(float(value), 4), "below the limit"
            )


def _open(gates: pd.DataFrame, wanted: int | None) -> Iterator[Breach]:
    """Find the open gates, where there are more than wanted."""
    opened = gates[gates["state"].isin(["fail", "unknown"])]
    if wanted is None or len(opened) <= wanted:
        return
    for service_id, rows in opened.groupby("service_id", sort=True):
        why = "; ".join(f"{row.gate} {row.state}" for row in rows.itertuples())
        yield Breach("max-open-gates", wanted, str(service_id), float(len(rows)), why)


def _report(breaches: list[Breach], services_n: int, out: output.Output) -> None:
    import pandas as pd

    rows: list[dict[str, Any]] = [asdict(breach) for breach in breaches]
    table = pd.DataFrame(rows, columns=list(Breach.__dataclass_fields__)).astype(
        {"wanted": "Float64", "found": "Float64"}
    )
    document = {"passed": not breaches, "services_n": services_n, "rows": rows}
    out.table(table, document, empty=f"all limits hold for {services_n} services")
    if not breaches:
        return
    for limit in dict.fromkeys(breach.limit for breach in breaches):
        found = [breach for breach in breaches if breach.limit == limit]
        names = ", ".join(breach.service_id for breach in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        say("broken", f"--{limit} {found[0].wanted:g} by {names}{more}")
    click.get_current_context().exit(BROKEN)
