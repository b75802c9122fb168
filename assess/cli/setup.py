"""The sample fleet, the policy in effect, and the reference facts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli.command import (
    DIRECTORY,
    FILE,
    FORMATS,
    Output,
    command,
    output_in,
    output_options,
    policy_options,
    read_policy,
)
from assess.cli.messages import note, say
from assess.errors import AssessError

if TYPE_CHECKING:
    import pandas as pd

UPDATE_SECONDS = 60.0  # time limit of an update of the facts


@command("assess sample fleet", "assess sample large-fleet --services 200 --seed 7")
@click.argument("directory", type=DIRECTORY)
@click.option(
    "--services", type=click.IntRange(1, 10**6), default=48, help="Number of services."
)
@click.option("--seed", default=2026, help="Seed of the random generator.")
def sample(directory: Path, *, services: int, seed: int) -> None:
    """Write a fictional sample fleet; the same seed gives the same bytes."""
    from assess.sample import write_sample

    for path in write_sample(directory, services=services, seed=seed):
        click.echo(path)


@command(
    "assess policy",
    "assess policy --json",
    "assess policy --format toml -o policy.toml",
    "assess policy --check our-policy.toml",
)
@policy_options
@click.option(
    "--check",
    "candidate",
    type=FILE,
    help="Only check that this policy file is valid.",
)
@output_in(*FORMATS, "toml")
def policy(
    *,
    policy_file: Path | None,
    target: str | None,
    candidate: Path | None,
    out: Output,
) -> None:
    """Show the policy in effect: every value, and whether it is a default or your own.

    `--format toml` writes it whole, as a file for --policy; the built-in one keeps its comments.
    """
    import pandas as pd

    chosen = read_policy(candidate or policy_file, target=target)
    if candidate:
        note(f"{candidate} is valid: {repr(chosen)[1:-1]}")
        return
    if out.format == "toml":
        out.text(chosen.to_toml())
        return
    default = dict(_leaves(read_policy(None).values))
    rows = []
    for key, value in _leaves(chosen.values):
        is_default = key in default and default[key] == value
        rows.append((key, value, "default" if is_default else chosen.origin))
    note(repr(chosen)[1:-1])
    table = pd.DataFrame(rows, columns=["key", "value", "origin"], dtype=object)
    document = {
        "policy_hash": chosen.hash,
        "origin": chosen.origin,
        "policy": chosen.values,  # noqa: PD011
    }
    out.table(table, document)


def _leaves(values: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """List every value with its dotted key; tables in a list are named by their id."""
    for key, value in values.items():
        name = f"{at}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif value and isinstance(value, list) and isinstance(value[0], Mapping):
            for number, row in enumerate(value):
                yield from _leaves(row, f"{name}.{row.get('id', number)}.")
        else:
            yield name, value


@command(
    "assess facts",
    "assess facts engine_releases --format markdown",
    "assess facts update",
    "assess facts update --from downloads/",
    "assess facts update --from https://mirror.example/api/v1/products",
)
@click.argument("table", metavar="[TABLE|update]", required=False)
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    help="With update: a mirror of endoflife.date, a file <product>.json, or a directory of them.",
)
@output_options
def facts(table: str | None, *, place: str | None, out: Output) -> None:
    """List the reference facts and their age, show one TABLE, or update the dates.

    `asked` counts the rows that rules ask about. Markdown, CSV and JSON also show the key of each
    table and the day on which it was compiled.

    `update` downloads support dates and new release lines from endoflife.date, and shows what changed.
    A product that cannot be fetched keeps its old facts. The new tables are written to the directory
    ASSESS_FACTS (by default in your user data) and every command uses them from then on. An empty
    ASSESS_FACTS uses only the bundled facts. No other command uses the network for facts.
    """
    import pandas as pd

    from assess import reference

    if table == "update":
        out.table(_update_facts(place))
        return
    if place:
        raise click.UsageError("--from only works with update")
    if table:
        out.table(reference.table(table))
        return
    listed = reference.tables()
    today = pd.Timestamp(datetime.now(UTC).date())
    age = (today - pd.to_datetime(listed["compiled_on"])).dt.days
    listed.insert(listed.columns.get_loc("compiled_on") + 1, "age_days", age)
    listed["asked"] = [_asked(name) for name in listed.index]
    # a terminal of 80 columns has no room for these
    hidden = ["key", "compiled_on"] if out.format == "text" else []
    out.table(listed.drop(columns=hidden))


# tables that columns of rules are read from
_LOOKED_UP = (
    *("base_lists", "image_bases", "feature_gates", "package_archives"),
    *("cluster_clients", "csi_drivers", "engine_clients"),
)


def _asked(table: str) -> int:
    """Return how many rows of a table of facts are used by rules about things in use."""
    from assess import reference

    rules = reference.table("breaks")
    rows = reference.table(table)
    if table in {*rules["change_id"], *_LOOKED_UP}:
        return len(rows)
    return int(rows.iloc[:, 0].isin(rules["change_id"]).sum())


def _update_facts(place: str | None) -> pd.DataFrame:
    """Fetch every product, write the answers, and return what changed."""
    from assess.reference import update
    from assess.reference.tables import newer
    from assess.sources.http import HttpError

    answers = {}
    lost = {}
    origin = place or update.ADDRESS
    for slug, payload in _published(list(update.products()), origin):
        try:
            answers[slug] = update.to_cycles(payload())
        except (AssessError, OSError, ValueError) as error:
            lost[slug] = str(error) or type(error).__name__
            is_answer = isinstance(error, HttpError) or not isinstance(error, OSError)
            if _is_address(origin) and not is_answer:
                break  # the server is gone: do not wait for every product
    for slug, reason in lost.items():
        say("warning", f"{slug} keeps its old facts: {reason}")
    if not answers:
        raise AssessError(
            "nothing was updated",
            hint=f"save {update.ADDRESS}/<product> as <product>.json and pass the directory with --from",
        )
    today = datetime.now(UTC).date()
    made, changes = update.refreshed(answers, today)
    update.write(newer(), made, today)
    note(f"{len(answers)} products, {len(changes)} changes, in {newer()}")
    return changes


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _published(slugs: list[str], place: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """List for every product a function that fetches its answer; missing files are left out."""
    from assess.sources.deadline import Deadline
    from assess.sources.http import Web

    if _is_address(place):
        web = Web(place, Deadline(UPDATE_SECONDS))
        for slug in slugs:
            yield slug, partial(web.json, slug)
        return
    path = Path(place)
    if not path.exists():
        raise click.UsageError(f"--from: {place} does not exist")
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        if file.stem in slugs:
            yield file.stem, partial(_read_json, file)


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))
