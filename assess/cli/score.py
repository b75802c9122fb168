"""Score a snapshot, explain a service, write a decision record, check limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli.command import (
    FILE,
    Choice,
    Output,
    command,
    output_options,
    policy_options,
    previous_option,
    read,
    read_assessment,
    read_history,
    read_policy,
    records,
    snapshot,
)
from assess.cli.messages import note, say
from assess.errors import AssessError, counted
from assess.writing import write_beside

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from assess.inventory import Inventory
    from assess.score.assessment import Assessment
    from assess.score.result import Explanation

# names of `assess.score.assessment`, repeated because help texts must not load pandas
SCORES = ("readiness", "blast-radius", "upgrade-churn", "what-next")
# of the whole fleet, not of a service
FLEET_SCORES = ("claims", "backtest", "targets", "experiments")
LEARNING = ("upgrade-churn", "what-next", "claims")  # from all snapshots before
BROKEN = 3  # exit code of a broken limit
NO_BREAKS = "no-breaks"
NAMED = 5


@command(
    "assess score sample what-next",
    "assess score sample readiness --previous sample:2026Q2",
    "assess score sample blast-radius --json",
    "assess score sample upgrade-churn --target docker:29",
    "assess score sample upgrade-churn --by 2026-12-31 --json",
    "assess score sample claims",
    "assess score sample backtest --previous sample:2026Q2",
    "assess score sample experiments",
    works=True,
)
@snapshot
@click.argument("name", metavar="SCORE", type=Choice([*SCORES, *FLEET_SCORES]))
@policy_options
@previous_option
@click.option(
    "--by",
    metavar="DATE",
    help="With upgrade-churn: also what announced events of the world break until this day.",
)
@click.option(
    "--detail", is_flag=True, help="Add the contributions and details of the score."
)
@output_options
def score(
    snapshot: str,
    name: str,
    *,
    policy_file: Path | None,
    previous: str | None,
    target: str | None,
    by: str | None,
    detail: bool,
    out: Output,
) -> None:
    """Score a snapshot: readiness and low churn in points, blast radius as a share, and what next.

    SCORE is readiness, blast-radius, upgrade-churn, what-next, claims, backtest, targets or
    experiments.

    With --target, `upgrade-churn` lists what the upgrade of an engine, a cluster, an image or a
    system of hosts breaks: the workload, the change, whether it will or may, when, why, and what
    to do. With --by it lists what announced events of the world break until a day: namespaces and
    registries that move or close, archives of distributions.
    `claims` tests the argument for and against containers on this fleet. `backtest` compares the
    predictions of an earlier snapshot with what happened since. `experiments` names the failure to
    try next, what it would decide, what it can reach and where it is safest. All older snapshots in the
    directory of SNAPSHOT, and --previous, show how often engines and images were upgraded.

    Text and Markdown show the main columns, CSV all columns of the score, JSON all columns with
    gates, dimensions and missing facts. Interval bounds end in _lo and _hi; unknowns widen them.
    """
    policy = read_policy(policy_file, target=target)
    if by and name != "upgrade-churn":
        raise click.UsageError("--by only works with upgrade-churn")
    is_learning = name in LEARNING
    assessment = read_assessment(snapshot, policy, previous, is_learning=is_learning)
    if name == "upgrade-churn":
        assessment = assessment.heading(target or "", by or "")
    result = assessment.score(name)
    document = result.to_dict()
    if assessment.earlier and name != "backtest":
        earlier = assessment.earlier.score(name)
        table = result.diff(earlier)
        table = table[table["change"] != "same"]
        document["previous"] = {
            "snapshot_at": earlier.provenance.snapshot_at,
            "changes": records(table),
        }
    else:
        table = result.shown if out.format == "csv" else result.summary()
    note(repr(result)[1:-1])
    parts = {"contributions": result.contributions, **result.details} if detail else {}
    if detail:
        document["detail"] = {title: records(part) for title, part in parts.items()}
    # CSV holds one table
    if (target or by) and "simulation" in result.details and out.format != "csv":
        parts["simulation"] = result.details["simulation"]
    out.tables({name if parts else "": table, **parts}, document)


@command(
    "assess explain sample checkout",
    "assess explain sample checkout --element host:app-3",
    works=True,
)
@snapshot
@click.argument("service")
@policy_options
@click.option(
    "--score",
    "names",
    type=Choice(list(SCORES)),
    multiple=True,
    help="Only this score; repeatable.",
)
@click.option(
    "--element",
    metavar="KIND:NAME",
    help="Only the path from this failing element to the service.",
)
@output_options
def explain(
    snapshot: str,
    service: str,
    *,
    policy_file: Path | None,
    target: str | None,
    names: tuple[str, ...],
    element: str | None,
    out: Output,
) -> None:
    """Explain the scores of a service: the reasons, the unknowns, and what would change them."""
    inventory = read(snapshot)
    policy = read_policy(policy_file, target=target)
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
        assessment = Assessment(inventory, policy, past, asked=(("service", service),))
        assessment.readiness.row(service)  # an unknown name fails at once
        explained = {
            name: assessment.score(name).explain(service)
            for name in names or assessment.results
        }
    if out.format in ("text", "markdown"):
        out.text("\n".join(_section(one, out) for one in explained.values()))
    else:
        document = {
            "service_id": service,
            "snapshot_at": inventory.snapshot_at,
            "policy_hash": policy.hash,
            "rows": [
                {"score": name, **vars(one), "table": records(one.table)}
                for name, one in explained.items()
            ],
        }
        tables = {name: explanation.table for name, explanation in explained.items()}
        out.tables(tables, document)


def _section(explanation: Explanation, out: Output) -> str:
    """Write an explanation: title, sentences and numbers."""
    from assess.untrusted import clean, clean_lines, markdown_text

    title = clean(explanation.title)
    text = out.prose(clean_lines(explanation.text))
    if out.format == "markdown":
        title, text = f"## {markdown_text(title)}", markdown_text(text)
    parts = [title, text, out.body(explanation.table)]
    return "\n\n".join(filter(None, parts))


RECORD_SUFFIXES = (".md", ".html", ".pdf")


def check_record_file(
    context: click.Context, option: click.Parameter, file: Path | None
) -> Path | None:
    """Return the file of a record, None for stdout; another suffix is an error."""
    if file is None or file == Path("-"):
        return None
    if file.suffix.lower() not in RECORD_SUFFIXES:
        allowed = ", ".join(RECORD_SUFFIXES)
        raise click.BadParameter(f"{file}: a record ends in one of {allowed}.")
    return file


@command(
    "assess record sample checkout",
    "assess record sample checkout -o decisions/checkout.md",
    "assess record sample cart-api -o decisions/cart-api.html",
    "assess record sample checkout --previous sample:2026Q2 -o decisions/checkout.pdf",
    works=True,
)
@snapshot
@click.argument("service")
@policy_options
@previous_option
@click.option(
    "-o",
    "--output",
    "file",
    type=FILE,
    callback=check_record_file,
    help="File to write, .md, .html or .pdf; by default Markdown to stdout.",
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
    """Write the decision record of a service, on one page.

    For an architecture review: label, gates, options, unknowns, and what would change the label. A
    Markdown record has keep marks; what people write between them stays when it is written again,
    and is printed in the HTML and PDF of the same name.
    """
    from assess.report import record as one_page

    policy = read_policy(policy_file, target=target)
    write: dict[str, Callable[..., str | bytes]] = {
        ".html": one_page.record_page,
        ".pdf": one_page.record_pdf,
    }
    suffix = file.suffix.lower() if file else ""
    content = write.get(suffix, one_page.decision_record)(
        service,
        read_assessment(snapshot, policy, previous),
        existing=one_page.written_before(file.with_suffix(".md")) if file else "",
    )
    if file:
        write_beside(file, content)
        note(f"wrote {file}")
    else:
        Output("markdown", file).text(str(content))


@command(
    "assess check sample --min-readiness 40",
    "assess check data/snapshots@2026-09-30 --min-coverage .6 --max-open-gates 0",
    "assess check sample --service checkout --min-readiness 60",
    "assess check sample --no-breaks --target docker:29",
    works=True,
)
@snapshot
@click.option(
    "--min-readiness",
    type=click.FloatRange(0, 100),
    help="Lowest readiness of any service, at the lower end of its interval. [points]",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    help="Lowest coverage of any service. [share]",
)
@click.option(
    "--max-open-gates",
    type=click.IntRange(0),
    help="Most open gates in total. [count]",
)
@click.option(
    "--no-breaks",
    is_flag=True,
    help="Break the limit if the upgrade to --target, or an event, will or may break something.",
)
@click.option("--by", metavar="DATE", help="With --no-breaks: events until this day.")
@click.option(
    "--service", "services", multiple=True, help="Check only this service; repeatable."
)
@policy_options
@output_options
def check(
    snapshot: str,
    *,
    min_readiness: float | None,
    min_coverage: float | None,
    max_open_gates: int | None,
    no_breaks: bool,
    by: str | None,
    services: tuple[str, ...],
    policy_file: Path | None,
    target: str | None,
    out: Output,
) -> None:
    """List the services that break a limit, and exit with 3 if there are any.

    Unknown readiness counts as below the limit. A gate is open if it fails or if its state is
    unknown; a waived gate is closed. Without --service, a source that lists services and answered
    no call breaks every limit: nobody knows what runs there. One host of many is a warning.
    """
    from pandas import DataFrame

    from assess.words import sentence_list

    limits = {
        "min-readiness": min_readiness,
        "min-coverage": min_coverage,
        "max-open-gates": max_open_gates,
        NO_BREAKS: 0 if no_breaks else None,
    }
    if set(limits.values()) == {None}:
        raise click.UsageError(
            "no limit given; use --min-readiness, --min-coverage, --max-open-gates or --no-breaks"
        )
    policy = read_policy(policy_file, target=target)
    assessment = read_assessment(snapshot, policy, is_learning=False)
    assessment = assessment.heading(target or "", by or "")
    result = assessment.readiness
    for name in services:
        result.row(name)
    chosen = list(services) or list(result.frame.index)
    if not chosen:
        raise AssessError(
            "the snapshot has no services to check", hint="see `assess show SNAPSHOT`"
        )
    frame = result.frame.loc[chosen]
    gates = result.details["gates"]
    broken = [
        # The point rises when a failing check is hidden; the lower end never does.
        *_below(frame["readiness_lo"].rename("readiness"), min_readiness),
        *_below(frame["coverage"], min_coverage),
        *_open(gates[gates["service_id"].isin(chosen)], max_open_gates),
        *(_breaking(assessment, services or (*chosen, None)) if no_breaks else ()),
        *(() if services else _unlisted(assessment.inventory, limits)),
    ]
    names = ["limit", "wanted", "service_id", "found", "why"]
    exact = DataFrame(broken, columns=names, dtype=object)
    table = exact.astype({"wanted": "Float64", "found": "Float64"})
    document = {"passed": not broken, "services_n": len(chosen), "rows": records(exact)}
    passed = f"all limits hold for {counted(len(chosen), 'service')}"
    out.table(table, document, empty=passed)
    for (limit, wanted), rows in table.groupby(["limit", "wanted"], sort=False):
        named = rows["service_id"].fillna("what is of no service")
        number = "" if limit == NO_BREAKS else f" {wanted:g}"
        say("broken", f"--{limit}{number} by {sentence_list(named, most=NAMED)}")
    calls = _unheard(assessment.inventory)
    places = (calls["source"] + " " + calls["scope"]).unique()
    if len(places) and not services:
        named = sentence_list(places, most=NAMED)
        say("warning", f"no answer came from {named}: what runs there is not checked")
    if broken:
        click.get_current_context().exit(BROKEN)


def _unheard(inventory: Inventory) -> DataFrame:
    """Return the calls to places where a source that lists what runs got no answer."""
    from assess.sources.catalogue import source_types

    kinds = source_types().items()
    listing = [name for name, kind in kinds if {"services", "workloads"} <= {*kind.fills}]
    calls = inventory.unheard
    return calls[calls["source"].isin(listing)]


def _unlisted(
    inventory: Inventory, limits: Mapping[str, float | None]
) -> Iterator[tuple[Any, ...]]:
    """Yield every limit of a fleet where a source that lists what runs answered no call."""
    from assess.words import sentence_list

    unheard = sorted(inventory.silent.intersection(_unheard(inventory)["source"]))
    why = (
        f"no call was answered by {sentence_list(unheard)}: nobody knows what runs there"
    )
    for name, wanted in limits.items():
        if unheard and wanted is not None:
            yield name, wanted, None, None, why


def _breaking(
    assessment: Assessment, services: Sequence[str | None]
) -> Iterator[tuple[Any, ...]]:
    """Yield by service the breaking changes of an upgrade; an unknown engine counts as one.

    None stands for what is of no service: objects of a cluster, and hosts.
    """
    churn = assessment.upgrade_churn
    shown = ["service_id", "change", "what", "why"]
    hits = churn.details["breaking"].drop_duplicates(shown)
    blind = churn.details["blind"]["service_id"]
    for name in services:
        own = hits[hits["service_id"].eq(name) if name else hits["service_id"].isna()]
        why = [f"{hit.certainty} break {hit.what}: {hit.why}" for hit in own.itertuples()]
        if (blind.eq(name) if name else blind.isna()).any():
            why.append("nobody knows its engine, or what the target breaks")
        if why:
            yield NO_BREAKS, 0, name, len(why), "; ".join(why)


def _below(values: Series, wanted: float | None) -> Iterator[tuple[Any, ...]]:
    """List the services below a limit; an unknown value is below every limit."""
    if wanted is None:
        return
    is_reached = (values >= wanted).fillna(False)
    below = values[~is_reached].astype("Float64").round(4)
    why = below.isna().map({True: "unknown", False: "below the limit"})
    for service_id, value in below.items():
        yield f"min-{values.name}", wanted, service_id, value, why[service_id]


def _open(gates: DataFrame, wanted: int | None) -> Iterator[tuple[Any, ...]]:
    """List the open gates by service, if there are more than allowed."""
    from assess.score.readiness.gates import OPEN

    opened = gates[gates["state"].isin(OPEN)]
    if wanted is None or len(opened) <= wanted:
        return
    for service_id, rows in opened.groupby("service_id", sort=True):
        why = "; ".join(f"{row.gate} {row.state}" for row in rows.itertuples())
        yield "max-open-gates", wanted, service_id, float(len(rows)), why
