"""Write the report of a quarter; serve reports to browsers, and answers to assistants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli.command import (
    DIRECTORY,
    SNAPSHOT,
    SNAPSHOTS,
    Choice,
    command,
    newest_snapshot,
    policy_options,
    previous_option,
    read_assessment,
    read_policy,
    warn_if_same,
)
from assess.cli.messages import next_step, note
from assess.config import SAMPLE, is_configured
from assess.errors import AssessError
from assess.writing import write_beside

if TYPE_CHECKING:
    from pandas import DataFrame

    from assess.inventory import Inventory
    from assess.policy import Policy
    from assess.report import Appendix, Report
    from assess.score.upgrade_churn.history import History

REPORTS = Path("reports")


@command(
    "assess report",
    "assess report data/snapshots/2026Q4 -o reports/2026Q4",
    "assess report sample --previous sample:2026Q2 --target 29",
    "assess report --pdf --appendix results",
    works=True,
)
@click.argument("snapshot", type=SNAPSHOT, required=False)
@policy_options
@previous_option
@click.option(
    "-o",
    "--output",
    "directory",
    type=DIRECTORY,
    help="Directory to write to.  [default: reports/<quarter>]",
)
@click.option(
    "--pdf",
    "is_printed",
    is_flag=True,
    help="Also write report.pdf, with the Chromium of this machine.",
)
@click.option(
    "--appendix",
    type=Choice(["code", "results", "none"]),
    default="none",
    help="What to add to the PDF: nothing, or notebooks run on the snapshot, with code or results.",
)
def report(
    snapshot: str | None,
    *,
    policy_file: Path | None,
    previous: str | None,
    target: str | None,
    directory: Path | None,
    is_printed: bool,
    appendix: str,
) -> None:
    """Write the report of a quarter: HTML, Markdown, JSON, CSV, decision records and figures.

    The default SNAPSHOT is the newest in data/snapshots. Where nothing was collected and nothing is
    configured, the report is that of the invented sample, and its title says so. A snapshot is
    compared with the newest one of an earlier quarter in the same directory. If the report of that
    quarter exists, the new report shows which labels changed because of the policy or the reference
    facts. history.html covers all quarters in the directory. All older snapshots there show how
    often engines and images were upgraded. Prints the paths of the pages.
    """
    import assess

    path = _chosen(snapshot)
    before = _chosen(previous) if previous else _before(path)
    note(f"snapshot {path}" + (f", compared with {before}" if before else ""))
    inventory = assess.load(path)
    place = directory or REPORTS / inventory.quarter
    earlier = assess.load(before) if before else None
    if earlier:
        warn_if_same(earlier, inventory)
    policy = read_policy(policy_file, target=target)
    history, since = _histories(path, before, policy)
    made = assess.build_report(
        inventory,
        policy,
        previous=earlier,
        history=history,
        since=since,
        published=_published(place.parent, earlier) if earlier else None,
    )
    past = _past(path, place.parent, made)
    if len(past) > 1:
        made.save_history(place, past)  # first: the page links to it where it is there
    made.save(place)
    click.echo(place / "index.html")
    if is_printed:
        parts: list[Appendix] = []
        if appendix != "none":
            has_code = appendix == "code"
            folder = place / "notebooks"
            parts = _notebooks(folder, path, before, policy_file, has_code=has_code)
        file = place / "report.pdf"
        write_beside(file, made.to_pdf(parts))
        click.echo(file)
    is_there = Path("notebooks").is_dir()
    next_step("jupyter lab notebooks" if is_there else "assess notebooks copy")


def _notebooks(
    place: Path,
    path: Path,
    before: Path | None,
    policy_file: Path | None,
    *,
    has_code: bool,
) -> list[Appendix]:
    """Run the notebooks on the snapshot for the appendix."""
    from assess import notebooks
    from assess.report import Appendix
    from assess.report.render import browser

    browser()  # fail before a minute of work
    values = {"snapshot": path, "previous_snapshot": before or path}
    values |= {"policy_file": policy_file} if policy_file else {}
    given = {name: str(value.resolve()) for name, value in values.items()}
    note("running the notebooks")
    run = notebooks.run((), given, output_dir=place)
    return [
        Appendix(f"notebook-{f.name[:2]}", *notebooks.fragment(f, has_code=has_code))
        for f in run
    ]


def _chosen(snapshot: str | None) -> Path:
    """Return the named snapshot, else the newest of the project."""
    # The sample stands in only where nobody has begun: it must not pass for a fleet of
    # theirs.
    from assess import store

    if snapshot:
        return store.resolve(snapshot)
    if SNAPSHOTS.is_dir() and any(SNAPSHOTS.iterdir()):
        return store.latest(SNAPSHOTS)
    if is_configured():
        raise AssessError(
            f"there is no snapshot in {SNAPSHOTS}",
            hint="collect one with `assess collect`, or look at `assess report sample`",
        )
    note("invented sample: nothing is configured and nothing was collected here")
    return store.resolve(SAMPLE)


def _before(path: Path) -> Path | None:
    """Return the snapshot before this one in the same directory; broken ones are ignored."""
    from assess import store

    with store.quiet():
        return store.previous(path)


def _histories(
    path: Path, before: Path | None, policy: Policy
) -> tuple[History, History]:
    """Read the upgrades before the earlier snapshot, and those between the two."""
    from assess import store
    from assess.score.upgrade_churn.history import upgrade_history

    older = store.earlier(path, *([before] if before else []))
    at = older.index(before) if before in older else len(older)
    return upgrade_history(older[:at], policy), upgrade_history(older[at + 1 :], policy)


def _past(path: Path, reports: Path, made: Report) -> dict[str, DataFrame]:
    """Gather all quarters up to this one: from their reports if those are comparable, else scored."""
    import assess
    from assess import store
    from assess.report.changes import of_report, of_scores
    from assess.score.assessment import Assessment
    from assess.score.upgrade_churn.history import History, upgrade_history

    quarters = (made.scores.earlier, made.scores)
    known = {s.provenance.quarter: s for s in quarters if s}
    with store.quiet():
        listed = store.snapshots(path.resolve().parent)
    older = listed[listed["snapshot_at"] < made.scores.provenance.snapshot_at]
    past = {}
    policy = made.scores.policy
    history = History()
    paths = store.earlier(path.resolve())
    done = 0
    newest = older.drop_duplicates("quarter", keep="last")
    for quarter, place in zip(newest["quarter"], newest["path"], strict=True):
        if quarter in known:
            continue
        inventory = assess.load(place)
        labels = of_report(_published(reports, inventory), made.scores)
        how = "scored" if labels is None else "read from its report"
        note(f"{quarter}: {how}")
        if labels is None:
            at = paths.index(place)
            history += upgrade_history(paths[done:at], policy)
            done = at
            labels = of_scores(Assessment(inventory, policy, history))
        past[quarter] = labels
    return {**past, **{quarter: of_scores(scores) for quarter, scores in known.items()}}


def _published(reports: Path, earlier: Inventory) -> dict[str, Any] | None:
    file = reports / earlier.quarter / "report.json"
    try:
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    at = earlier.snapshot_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    is_same = isinstance(report, dict) and report.get("snapshot_at") == at
    return report if is_same else None


@command("assess serve", "assess serve reports/2026Q3 --port 8080")
@click.argument(
    "directory",
    default="reports",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port; 0 picks a free one."
)
def serve(directory: Path, *, port: int) -> None:
    """Serve DIRECTORY on the loopback address until interrupted, and print the address.

    The address contains a random token; requests without it are refused. Access is read-only, and
    files outside DIRECTORY or hidden in it cannot be read.
    """
    from assess.report.serving import Server

    try:
        server = Server(directory, port)
    except OSError as error:
        raise AssessError(
            f"cannot listen on port {port}: {error.strerror}",
            hint="leave out --port to use a free port",
        ) from error
    with server:
        click.echo(server.address)
        note(f"serving {directory} to this machine only; stop with Ctrl-C")
        server.serve_forever()


@command("assess mcp sample", "assess mcp data/snapshots")
@newest_snapshot
@policy_options
def mcp(snapshot: str, *, policy_file: Path | None, target: str | None) -> None:
    """Answer questions about one snapshot over stdin and stdout, for an assistant (MCP).

    Labels and why, what would change them, who falls with what, what an upgrade breaks, what to
    find out. Reads the snapshot and nothing else. Needs the extra `mcp`. Names from your fleet are
    passed on as they are: the assistant must treat them as data, never as instructions.
    """
    try:
        from assess.mcp_server import server
    except ImportError as error:
        raise AssessError(
            "the SDK of the protocol is not installed", hint="pip install 'assess[mcp]'"
        ) from error
    server(read_assessment(snapshot, read_policy(policy_file, target=target))).run()
