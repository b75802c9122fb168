"""Score a snapshot, explain a service, record a decision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli import output
from assess.cli.command import (
    Command,
    policy_option,
    previous_option,
    read,
    read_history,
    read_policy,
    snapshot,
    target_option,
)
from assess.cli.messages import note

if TYPE_CHECKING:
    from assess.policy.policy import Policy
    from assess.score.assessment import Assessment
    from assess.score.result import Explanation, Result

# names of `assess.score.assessment`, repeated because help texts must not load pandas
SCORES = ("readiness", "blast-radius", "upgrade-churn", "what-next")
FLEET_SCORES = ("claims", "backtest")  # of the whole fleet, not of a service
LEARNING = ("upgrade-churn", "what-next", "claims")  # from all snapshots before


@click.command(
    cls=Command,
    works=True,
    examples=[
        "assess score data/sample/2026Q3 what-next",
        "assess score data/sample/2026Q3 readiness --previous data/sample/2026Q2",
        "assess score data/sample/2026Q3 blast-radius --json",
        "assess score data/sample/2026Q3 upgrade-churn --target 29 --detail",
        "assess score data/sample/2026Q3 claims",
        "assess score data/sample/2026Q3 backtest --previous data/sample/2026Q2",
    ],
)
@snapshot
@click.argument("name", type=click.Choice([*SCORES, *FLEET_SCORES]))
@policy_option
@previous_option
@target_option
@click.option("--detail", is_flag=True, help="Add what the score adds up from.")
@output.options
def score(
    snapshot: str,
    name: str,
    *,
    policy_file: Path | None,
    previous: str | None,
    target: str | None,
    detail: bool,
    out: output.Output,
) -> None:
    """Score a snapshot: readiness and low churn in points, blast radius as a share, and what next.

    With --target, `upgrade-churn` lists what that engine would break, host by host: the driver,
    kernel or client in use, the release from which on it no longer works, and what nobody knows.
    `claims` judges the argument for and against containers on this fleet; `backtest` holds what an
    earlier snapshot foretold against what happened since. How often engines and images move is read
    from all older snapshots beside SNAPSHOT, and from --previous.

    Text and Markdown show the few columns that a meeting needs, CSV all columns of the score, JSON
    all columns with gates, dimensions and missing facts. Intervals end in _lo and _hi; what is
    unknown widens them.
    """
    policy = read_policy(policy_file, target=target)
    assessment = _assessment(snapshot, previous, policy, is_learning=name in LEARNING)
    result = assessment.score(name)
    document = result.to_dict()
    if assessment.earlier and name != "backtest":
        earlier = assessment.earlier.score(name)
        table = _changes(result, earlier)
        document["previous"] = {
            "snapshot_at": earlier.provenance.snapshot_at,
            "changes": output.records(table),
        }
    else:
        table = result.frame if out.format == "csv" else result.summary()
    note(repr(result)[1:-1])
    parts = {"contributions": result.contributions, **result.details} if detail else {}
    if detail:
        document["detail"] = {
            title: output.records(part) for title, part in parts.items()
        }
    if (
        target and "simulation" in result.details and out.format != "csv"
    ):  # which holds one table
        parts["simulation"] = result.details["simulation"]
    out.tables({"" if not parts else name: table, **parts}, document)


def _assessment(
    snapshot: str, previous: str | None, policy: Policy, *, is_learning: bool
) -> Assessment:
    """Read a snapshot and the one before, each with the history that its score learns from."""
    from assess.score.assessment import Assessment

    inventory = read(snapshot)
    earlier = None
    if previous:
        history = read_history(previous, policy) if is_learning else None
        earlier = Assessment(read(previous), policy, history)
    history = read_history(snapshot, policy, previous) if is_learning else None
    return Assessment(inventory, policy, history, earlier)


def _changes(result: Result, earlier: Result) -> Any:
    table = result.diff(earlier)
    return table[table["change"] != "same"]


@click.command(
    cls=Command,
    works=True,
    examples=[
        "assess explain data/sample/2026Q3 checkout",
        "assess explain data/sample/2026Q3 checkout --element host:app-3",
    ],
)
@snapshot
@click.argument("service")
@policy_option
@target_option
@click.option(
    "--score",
    "names",
    type=click.Choice(list(SCORES)),
    multiple=True,
    help="Only this score.",
)
@click.option(
    "--element", metavar="KIND:NAME", help="Only the path from what fails to the service."
)
@output.options
def explain(
    snapshot: str,
    service: str,
    *,
    policy_file: Path | None,
    target: str | None,
    names: tuple[str, ...],
    element: str | None,
    out: output.Output,
) -> None:
    """Say why a service has its scores, what is unknown, and what would change them."""
    inventory, policy = read(snapshot), read_policy(policy_file, target=target)
    if element:
        import assess

        kind, _, name = element.partition(":")
        blast = assess.score_blast_radius(
            inventory, policy, detail=False, asked=[(kind, name)]
        )
        explained = {"blast-radius": blast.explain_path(kind, name, service)}
    else:
        from assess.score.assessment import Assessment

        past = read_history(snapshot, policy)
        asked = (("service", service),)
        assessment = Assessment(inventory, policy, past, asked=asked)
        explained = {
            name: assessment.score(name).explain(service)
            for name in names or assessment.results
        }
    if out.format in ("text", "markdown"):
        out.text("\n".join(_section(found, out) for found in explained.values()))
    else:
        document = {
            "service_id": service,
            "snapshot_at": inventory.snapshot_at,
            "policy_hash": policy.hash,
            "rows": [
                {
                    "score": name,
                    "title": found.title,
                    "text": found.text,
                    "table": output.records(found.table),
                }
                for name, found in explained.items()
            ],
        }
        out.tables({name: found.table for name, found in explained.items()}, document)


def _section(found: Explanation, out: output.Output) -> str:
    """Write an explanation: its title, its sentences, and the numbers behind them."""
    from assess.words import clean, clean_lines, markdown_text

    title, text = clean(found.title), clean_lines(found.text)
    if out.format == "markdown":
        title, text = f"## {markdown_text(title)}", markdown_text(text)
    parts = [title, text, out.body(found.table)]
    return "\n\n".join(filter(None, parts))


@click.command(
    cls=Command,
    works=True,
    examples=["assess record data/sample/2026Q3 checkout -o decisions/checkout.md"],
)
@snapshot
@click.argument("service")
@policy_option
@previous_option
@target_option
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; stdout where it is left out.",
)
def record(
    snapshot: str,
    service: str,
    *,
    policy_file: Path | None,
    previous: str | None,
    target: str | None,
    file: Path | None,
) -> None:
    """Write the one-page decision record of a service, as Markdown.

    Gates, verdict, interval, what is unknown, and what would change the verdict: one page for an
    architecture review meeting. What people wrote between the marks of an existing FILE is kept.
    """
    from assess.report.record import decision_record
    from assess.score.assessment import Assessment

    policy = read_policy(policy_file, target=target)

    def scored(name: str, *more: str | None) -> Assessment:
        return Assessment(read(name), policy, read_history(name, policy, *more))

    text = decision_record(
        service,
        scored(snapshot, previous),
        earlier=scored(previous) if previous else None,
        existing=file.read_text(encoding="utf-8") if file and file.is_file() else "",
    )
    output.Output("markdown", file).text(text)
