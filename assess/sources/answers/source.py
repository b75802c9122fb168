"""Answers: what people said in questionnaires, and what scanners found, as evidence of checks."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from assess.sources.answers import forms, konveyor, scanners
from assess.sources.base import (
    Batch,
    Deadline,
    Row,
    Source,
    failure,
    file_failure,
    paths_of,
    timed,
)
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    dicts,
    each_file,
    read_bytes,
    read_documents,
    read_json,
)
from assess.sources.http import open_web

SCANNERS: dict[str, Callable[[Row, forms.Context], list[forms.Found]]] = {
    "docker-bench": scanners.of_docker_bench,
    "trivy": scanners.of_trivy,
    "scorecard": scanners.of_scorecard,
    "xeol": scanners.of_xeol,
}
FORMATS = ("konveyor", "csv", *SCANNERS)
RESOURCES = ("applications", "archetypes", "assessments")  # of Konveyor's hub


class AnswersSource(Source):
    """Reads answers; totals and grades of other tools are never taken over."""

    type = "answers"
    options: tuple[str, ...] = (
        "path",
        "format",
        "map",
        "answered_at",
        "host_id",
        "endpoint",
        "token_file",
        "ca",
    )
    fills: tuple[str, ...] = ("answers", "services", "images", "engines")
    needs = (
        "read access to the files; of Konveyor's hub a token that may GET /applications, "
        "/archetypes and /assessments"
    )
    dump = (
        "curl $HUB/assessments > assessments.json (so applications, archetypes); trivy image "
        "--format json; docker-bench-security.sh -l $HOST; scorecard --format json; xeol -o json; "
        "or a CSV: service,question,answer,risk,answered_at,answered_by_role"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        kind, problems = options.get("format", "konveyor"), []
        if kind not in FORMATS:
            problems.append(f"format {kind!r} is not one of {', '.join(FORMATS)}")
        if "endpoint" in options and ("path" in options or kind != "konveyor"):
            problems.append(
                "endpoint is that of a Konveyor hub, and stands in place of a path"
            )
        if "endpoint" not in options and not paths_of(options):
            problems.append("path names no file and no directory")
        if options.get("answered_at") and forms.moment_of(options["answered_at"]) is None:
            problems.append("answered_at is no date such as 2026-09-01")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the answers of files, or of a hub."""
        batch, kind = Batch(), options.get("format", "konveyor")
        try:
            table = forms.checks(
                kind, base / options["map"] if options.get("map") else None
            )
        except (OSError, ValueError, csv.Error) as error:
            batch.cover(str(options["map"]), "map", **file_failure(error))
            return batch
        context = forms.Context(table, forms.moment_of(options.get("answered_at")))
        if "endpoint" in options:
            _ask(options, base, deadline, context, batch)
        elif kind == "csv":
            _read_csv(options, base, deadline, context, batch)
        elif kind == "konveyor":
            _read_konveyor(options, base, deadline, context, batch)
        else:
            _read_scans(kind, options, base, deadline, context, batch)
        return batch


def _read_konveyor(
    options: Row, base: Path, deadline: Deadline, context: forms.Context, batch: Batch
) -> None:
    """Read what the hub exports: any of its resources in any file, in JSON or YAML."""
    documents: list[Row] = []
    for _, file, row in each_file(
        options, base, deadline, batch, JSON_SUFFIXES + YAML_SUFFIXES
    ):
        found = konveyor.resources(read_documents(file, row))
        documents += found
        _count(
            row,
            len(found),
            len(found),
            "no assessment, application, archetype or questionnaire",
        )
    _add_konveyor(documents, ", ".join(paths_of(options)), context, batch)


def _ask(
    options: Row, base: Path, deadline: Deadline, context: forms.Context, batch: Batch
) -> None:
    """Ask a hub for its resources."""
    try:
        web = open_web(options, base, deadline)
    except (OSError, ValueError) as error:
        batch.cover("endpoint", "connect", **file_failure(error))
        return
    documents: list[Row] = []
    for resource in RESOURCES:
        row = batch.cover(web.scope, resource, "ok", requests=1)
        before, retried = web.requests_n, web.retries_n
        with timed(row):
            try:
                found = konveyor.resources([web.json(resource)])
            except Exception as error:
                row |= failure(error)
                found = []
        row |= {"requests": web.requests_n - before, "retries": web.retries_n - retried}
        documents += found
        if row["status"] == "ok":
            row |= {"rows": len(found), "status": "ok" if found else "empty"}
    web.close()
    _add_konveyor(documents, web.scope, context, batch)


def _add_konveyor(
    documents: list[Row], scope: str, context: forms.Context, batch: Batch
) -> None:
    rows, asked_n = konveyor.to_answers(documents, context)
    if documents:
        batch.add("answers", *rows)
        row = batch.cover(scope, "answers", "ok", rows=len(rows), expected=asked_n)
        row |= {"ratio": round(len(rows) / asked_n, 4) if asked_n else 1.0}
        row |= {"unmapped_n": context.unmapped, "redacted_n": context.redacted}
        if not rows:
            row |= {
                "status": "empty",
                "hint": "no assessment of an application was answered",
            }


def _read_csv(
    options: Row, base: Path, deadline: Deadline, context: forms.Context, batch: Batch
) -> None:
    """Read answers that people keep in a table."""
    for _, file, row in each_file(options, base, deadline, batch, (".csv", ".tsv")):
        try:
            rows, records_n = forms.of_csv(read_bytes(file, row), context)
        except (OSError, ValueError, csv.Error) as error:
            row.update(file_failure(error))
            continue
        batch.add("answers", *rows)
        _count(row, len(rows), records_n, "it has no rows")
        row["unmapped_n"] = context.unmapped
        if row["status"] == "partial":
            row["hint"] = "some rows lack a service, a question or an answer"
        context.unmapped = 0


def _read_scans(  # noqa: PLR0913, PLR0917
    kind: str,
    options: Row,
    base: Path,
    deadline: Deadline,
    context: forms.Context,
    batch: Batch,
) -> None:
    """Read the reports of a scanner."""
    for scope, file, row in each_file(options, base, deadline, batch, call=kind):
        context.file_time = _file_time(file)
        context.host_id = str(options.get("host_id") or file.stem)
        documents = dicts(read_json(file, row))
        found = [f for document in documents for f in SCANNERS[kind](document, context)]
        for frame, found_row in found:
            batch.add(frame, found_row | {"source_ref": scope})
        _count(row, len(found), len(found), f"this is no report of {kind}")
        row |= {"redacted_n": context.redacted, "unmapped_n": context.unmapped}
        context.redacted = context.unmapped = 0


def _file_time(file: Path) -> datetime | None:
    try:
        return forms.moment_of(file.stat().st_mtime)
    except OSError:
        return None


def _count(row: Row, rows_n: int, expected: int, hint: str) -> None:
    """Write how many rows there are, of how many, into the coverage row of a file."""
    row |= {"rows": rows_n, "expected": expected}
    if row["status"] != "ok":
        return
    if not rows_n:
        row |= {"status": "empty" if expected == 0 else "parse_error", "hint": hint}
    elif rows_n < expected:
        row |= {"status": "partial", "ratio": round(rows_n / expected, 4)}
