"""What assess stands on: the sample fleet, the policy in force, the reference facts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli import output
from assess.cli.command import Command, policy_option, target_option
from assess.cli.messages import note, say
from assess.errors import AssessError

if TYPE_CHECKING:
    import pandas as pd

UPDATE_SECONDS = 60.0  # that an update of the facts may take


@click.command(
    cls=Command,
    examples=["assess sample fleet", "assess sample fleet --services 200 --seed 7"],
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--services", type=click.IntRange(min=1), default=40, help="Size of the fleet."
)
@click.option("--seed", default=2026, help="Seed of all that is drawn.")
def sample(directory: Path, *, services: int, seed: int) -> None:
    """Write a fictional sample fleet of any size; the same seed gives the same bytes."""
    from assess.sample import write_sample

    for path in write_sample(directory, services=services, seed=seed):
        click.echo(path)


@click.command(
    cls=Command,
    examples=[
        "assess policy",
        "assess policy --json",
        "assess policy --check our-policy.toml",
    ],
)
@policy_option
@target_option
@click.option(
    "--check",
    "candidate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Say only whether this policy file can be used.",
)
@output.options
def policy(
    *,
    policy_file: Path | None,
    target: str | None,
    candidate: Path | None,
    out: output.Output,
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
        (
            key,
            value,
            "default" if key in default and default[key] == value else chosen.origin,
        )
        for key, value in _leaves(chosen.values)
    ]
    note(repr(chosen)[1:-1])
    table = pd.DataFrame(rows, columns=["key", "value", "origin"], dtype=object)
    document = {
        "policy_hash": chosen.hash,
        "origin": chosen.origin,
        "policy": chosen.values,  # noqa: PD011
    }
    out.table(table, document)


def _leaves(values: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value with its dotted key; tables in a list go by their id."""
    for key, value in values.items():
        name = f"{at}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif (
            isinstance(value, list)
            and value
            and all(isinstance(v, Mapping) for v in value)
        ):
            for number, row in enumerate(value):
                yield from _leaves(row, f"{name}.{row.get('id', number)}.")
        else:
            yield name, value


@click.command(
    cls=Command,
    examples=[
        "assess facts",
        "assess facts engine_releases --format markdown",
        "assess facts update",
        "assess facts update --from downloads/",
        "assess facts update --from https://mirror.example/api/v1/products",
    ],
)
@click.argument("table", metavar="[TABLE|update]", required=False)
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    help="With update: a mirror of endoflife.date, or files <product>.json, one or a directory.",
)
@output.options
def facts(table: str | None, *, place: str | None, out: output.Output) -> None:
    """List the reference facts and their age, give one TABLE of them, or update their dates.

    `update` takes over what endoflife.date publishes of support dates and new lines, and shows what
    changed. What cannot be fetched keeps its old facts. The newer tables are written into the
    directory ASSESS_FACTS, by default a directory of your own data, and are used from then on by
    every command; an empty ASSESS_FACTS uses only the facts that came along. Nothing else ever asks
    the network.
    """
    import datetime

    import pandas as pd

    from assess import reference

    if table == "update":
        out.table(_update_facts(place))
        return
    if place:
        raise click.UsageError("--from goes with update")
    if table:
        out.table(reference.table(table))
        return
    listed = reference.tables()
    today = pd.Timestamp(datetime.datetime.now(datetime.UTC).date())
    age = (today - pd.to_datetime(listed["compiled_on"])).dt.days
    listed.insert(listed.columns.get_loc("compiled_on") + 1, "age_days", age)
    out.table(listed)


def _update_facts(place: str | None) -> pd.DataFrame:
    """Ask for every product, keep what came, and write it; gives what changed."""
    import datetime

    from assess.reference import update
    from assess.reference.tables import newer
    from assess.sources.http import HttpError

    answers, lost, origin = {}, {}, place or update.ADDRESS
    for slug, payload in _published(list(update.products()), origin):
        try:
            answers[slug] = update.to_cycles(payload())
        except (AssessError, OSError, ValueError) as error:
            lost[slug] = str(error) or type(error).__name__
            is_answer = isinstance(error, HttpError) or not isinstance(error, OSError)
            if _is_address(origin) and not is_answer:
                break  # nobody answers there any more
    for slug, reason in lost.items():
        say("warning", f"{slug} keeps its old facts: {reason}")
    if not answers:
        raise AssessError(
            "nothing was updated",
            hint=f"save {update.ADDRESS}/<product> as <product>.json and name the directory with "
            "--from",
        )
    today = datetime.datetime.now(datetime.UTC).date()
    made, changes = update.refreshed(answers, today)
    update.write(newer(), made, today)
    note(f"{len(answers)} products, {len(changes)} changes, in {newer()}")
    return changes


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _published(slugs: list[str], place: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give for every product how to get its answer; files that are not there are left out."""
    from assess.sources.base import Deadline
    from assess.sources.http import Web

    if _is_address(place):
        web = Web(place, Deadline(UPDATE_SECONDS))
        for slug in slugs:
            yield slug, partial(web.json, slug)
        return
    path = Path(place)
    if not path.exists():
        raise click.UsageError(f"--from: there is no {place}")
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        if file.stem in slugs:
            yield file.stem, partial(_read_json, file)


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
