"""Write the report of a quarter."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assess.cli.command import (
    SNAPSHOT,
    Command,
    policy_option,
    previous_option,
    read_policy,
    target_option,
)
from assess.cli.messages import note

if TYPE_CHECKING:
    import pandas as pd

    from assess.inventory import Inventory
    from assess.policy.policy import Policy
    from assess.report import Appendix, Report
    from assess.score.upgrade_churn.history import History

SNAPSHOTS = Path("data/snapshots")
REPORTS = Path("reports")


@click.command(
    cls=Command,
    works=True,
    examples=[
        "assess report",
        "assess report data/snapshots/2026Q4 -o reports/2026Q4",
        "assess report data/sample/2026Q3 --previous data/sample/2026Q2 --target 29",
        "assess report --pdf --appendix results",
    ],
)
@click.argument("snapshot", type=SNAPSHOT, required=False)
@policy_option
@previous_option
@target_option
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to.  [default: reports/<quarter>]",
)
@click.option(
    "--pdf",
    "is_printed",
    is_flag=True,
    help="Write report.pdf too, with the Chromium of this machine.",
)
@click.option(
    "--appendix",
    type=click.Choice(["code", "results", "none"]),
    default="code",
    help="What the PDF shows of the notebooks, run on the snapshot.",
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

    Without SNAPSHOT it takes the newest in data/snapshots, and where there is none, the bundled
    sample. It compares with the newest snapshot of an earlier quarter in the same place; where the
    report of that quarter lies beside, it says what the policy and the facts changed since. All
    quarters in that place are told in history.html. How often engines and images move is read from
    all older snapshots in that place. It prints the paths of the pages.
    """
    import assess

    path = _chosen(snapshot)
    before = _chosen(previous) if previous else _before(path)
    note(f"snapshot {path}" + (f", compared with {before}" if before else ""))
    inventory = assess.load(path)
    place = directory or REPORTS / inventory.quarter
    earlier = assess.load(before) if before else None
    policy = read_policy(policy_file, target=target)
    history, since = _histories(path, before, policy)
    made = assess.build_report(
        inventory,
        policy,
        previous=earlier,
        history=history,
        since=since,
        told=_told(place.parent, earlier) if earlier else None,
    )
    made.save(place)
    click.echo(place / "index.html")
    past = _past(path, place.parent, made)
    if len(past) > 1:
        made.save_history(place, past)
    if is_printed:
        told = (
            []
            if appendix == "none"
            else _notebooks(
                place / "notebooks",
                path,
                before,
                policy_file,
                has_code=appendix == "code",
            )
        )
        file = place / "report.pdf"
        file.write_bytes(made.to_pdf(told))
        click.echo(file)


def _notebooks(
    place: Path,
    path: Path,
    before: Path | None,
    policy_file: Path | None,
    *,
    has_code: bool,
) -> list[Appendix]:
    """Run the notebooks on the snapshot, for the appendix."""
    from assess import notebooks
    from assess.report import Appendix
    from assess.report.printing import browser

    browser()  # no minute of work for a PDF that cannot be
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
    """Find the snapshot that was named, the newest of the project, or the sample."""
    from assess import store
    from assess.config import data_path

    if snapshot:
        return store.resolve(snapshot)
    if SNAPSHOTS.is_dir() and len(store.snapshots(SNAPSHOTS)):
        return store.latest(SNAPSHOTS)
    note(f"there is no snapshot in {SNAPSHOTS}: this is the bundled sample")
    return store.latest(data_path("sample"))


def _before(path: Path) -> Path | None:
    """Find the snapshot before this one, next to it; what else lies there does not matter."""
    from assess import store

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", store.BrokenSnapshotWarning)
        return store.previous(path)


def _histories(
    path: Path, before: Path | None, policy: Policy
) -> tuple[History, History]:
    """Read what the snapshots before the earlier one tell of upgrades, and those after it."""
    from assess import store
    from assess.score.upgrade_churn.history import upgrade_history

    older = store.earlier(path, *([before] if before else []))
    at = older.index(before) if before in older else len(older)
    return upgrade_history(older[:at], policy), upgrade_history(older[at + 1 :], policy)


def _past(path: Path, reports: Path, made: Report) -> dict[str, pd.DataFrame]:
    """Gather all quarters up to this one: as told by the same measures then, else scored now."""
    import assess
    from assess import store
    from assess.report.history import of_report, of_scores
    from assess.score.assessment import Assessment
    from assess.score.upgrade_churn.history import History, upgrade_history

    known = {s.provenance.quarter: s for s in (made.earlier, made.scores) if s}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", store.BrokenSnapshotWarning)
        listed = store.snapshots(path.resolve().parent)
    older = listed[listed["snapshot_at"] < made.scores.provenance.snapshot_at]
    past, policy = {}, made.scores.policy
    history, paths, done = History(), store.earlier(path.resolve()), 0
    newest = older.drop_duplicates("quarter", keep="last")
    for quarter, place in zip(newest["quarter"], newest["path"], strict=True):
        if quarter not in known:
            inventory = assess.load(place)
            told = of_report(_told(reports, inventory), made.scores)
            note(f"{quarter}: {'as told then' if told is not None else 'scored'}")
            if told is None:
                at = paths.index(place)
                history, done = history + upgrade_history(paths[done:at], policy), at
                told = of_scores(Assessment(inventory, policy, history))
            past[quarter] = told
    return {**past, **{quarter: of_scores(scores) for quarter, scores in known.items()}}


def _told(reports: Path, earlier: Inventory) -> dict[str, Any] | None:
    """Read the report of the earlier quarter as it was written then, where it lies beside."""
    file = reports / earlier.quarter / "report.json"
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    at = earlier.snapshot_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return told if isinstance(told, dict) and told.get("snapshot_at") == at else None
