"""What assess stands on: the sample fleet, the policy in force, the reference facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from assess.cli import output
from assess.cli.command import Command, policy_option, target_option
from assess.cli.messages import note


@click.command(
    cls=Command, examples=["assess sample fleet", "assess sample fleet --services 200 --seed 7"]
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--services", type=click.IntRange(min=1), default=40, help="Size of the fleet.")
@click.option("--seed", default=2026, help="Seed of all that is drawn.")
def sample(directory: Path, *, services: int, seed: int) -> None:
    """Write a fictional sample fleet of any size; the same seed gives the same bytes."""
    from assess.sample import write_sample

    for path in write_sample(directory, services=services, seed=seed):
        click.echo(path)


@click.command(
    cls=Command,
    examples=["assess policy", "assess policy --json", "assess policy --check our-policy.toml"],
)
@policy_option
@target_option
@click.option(
    "--check", "candidate", type=click.Path(dir_okay=False, path_type=Path),
    help="Say only whether this policy file can be used.",
)  # fmt: skip
@output.options
def policy(
    *, policy_file: Path | None, target: str | None, candidate: Path | None, out: output.Output
) -> None:
    """Give the policy in force: every value, and whether it is a default or your own."""
    import pandas as pd

    from assess.cli.command import read_policy

    chosen = read_policy(candidate or policy_file, target=target)
    if candidate:
        note(f"{candidate} is sound: {repr(chosen)[1:-1]}")
        return
    default = dict(_leaves(read_policy(None).values))
    rows = [
        (key, value, "default" if key in default and default[key] == value else chosen.origin)
        for key, value in _leaves(chosen.values)
    ]
    note(repr(chosen)[1:-1])
    table = pd.DataFrame(rows, columns=["key", "value", "origin"], dtype=object)
    document = {"policy_hash": chosen.hash, "origin": chosen.origin, "policy": chosen.values}  # noqa: PD011
    out.table(table, document)


def _leaves(values: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value with its dotted key; tables in a list go by their id."""
    for key, value in values.items():
        name = f"{at}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            for number, row in enumerate(value):
                yield from _leaves(row, f"{name}.{row.get('id', number)}.")
        else:
            yield name, value


@click.command(
    cls=Command, examples=["assess facts", "assess facts engine_releases --format markdown"]
)
@click.argument("table", required=False)
@output.options
def facts(table: str | None, *, out: output.Output) -> None:
    """List the reference facts and their age, or give one TABLE of them."""
    import datetime

    import pandas as pd

    from assess import reference

    if table:
        out.table(reference.table(table))
        return
    listed = reference.tables()
    today = pd.Timestamp(datetime.datetime.now(datetime.UTC).date())
    age = (today - pd.to_datetime(listed["compiled_on"])).dt.days
    listed.insert(listed.columns.get_loc("compiled_on") + 1, "age_days", age)
    out.table(listed)
