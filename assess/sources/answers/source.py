"""Answers: questionnaires that people filled in, and reports of scanners, as evidence."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assess.sources.answers import forms, konveyor, scanners
from assess.sources.base import Batch, Call, Deadline, Row, Source, file_failure, paths_of
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
    read_json,
)
from assess.sources.http import open_web
from assess.sources.values import dicts

SCANNERS: dict[str, Callable[[Row, forms.Context], list[forms.FrameRow]]] = {
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
        kind = options.get("format", "konveyor")
        problems = []
        if kind not in FORMATS:
            problems.append(f"format {kind!r} is not one of {', '.join(FORMATS)}")
        if "endpoint" in options and ("path" in options or kind != "konveyor"):
            problems.append("endpoint is a Konveyor hub, in place of a path")
        if "endpoint" not in options and not paths_of(options):
            problems.append("path names no file and no directory")
        if options.get("answered_at") and forms.moment_of(options["answered_at"]) is None:
            problems.append("answered_at is no date such as 2026-09-01")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the answers of files, or of a hub."""
        batch = Batch()
        kind = options.get("format", "konveyor")
        path = base / options["map"] if options.get("map") else None
        try:
            table = forms.checks(kind, path)
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
            _read_scans(options, base, deadline, context, batch)
        return batch


def _read_konveyor(
    options: Row, base: Path, deadline: Deadline, context: forms.Context, batch: Batch
) -> None:
    """Read what the hub exports: any of its resources in any file, in JSON or YAML."""
    documents: list[Row] = []
    suffixes = JSON_SUFFIXES + YAML_SUFFIXES
    for file, call in each_dump(options, base, deadline, batch, suffixes):
        with call:
            resources = call.take(konveyor.resources(read_documents(file, call.row)))
            _settle(call, len(resources), "no assessment, application or archetype")
            documents += resources
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
    with web:
        for resource in RESOURCES:
            with batch.call(web.scope, resource, client=web) as call:
                documents += call.take(konveyor.resources([web.json(resource)]))
    _add_konveyor(documents, web.scope, context, batch)


def _add_konveyor(
    documents: list[Row], scope: str, context: forms.Context, batch: Batch
) -> None:
    """Add the answers in documents; questions without an answer show in their coverage."""
    if not documents:
        return
    hint = "no assessment of an application was answered"
    with batch.call(scope, "answers", empty=hint) as call:
        rows, questions_n = konveyor.to_answers(documents, context)
        batch.add("answers", *call.take(rows))
        ratio = round(len(rows) / questions_n, 4) if questions_n else 1.0
        call.note(expected=questions_n, ratio=ratio)
        context.count(call)
        if rows:
            call.status("ok")  # a questionnaire may be half filled in


def _read_csv(
    options: Row, base: Path, deadline: Deadline, context: forms.Context, batch: Batch
) -> None:
    """Read answers that people keep in a table."""
    for file, call in each_dump(options, base, deadline, batch, (".csv", ".tsv")):
        with call:
            rows, records_n = forms.of_csv(read_bytes(file, call.row), context)
            batch.add("answers", *call.take(rows))
            _settle(call, records_n, "it has no rows")
            context.count(call)
            if 0 < len(rows) < records_n:
                call.hint("some rows lack a service, a question or an answer")


def _read_scans(
    options: Row, base: Path, deadline: Deadline, context: forms.Context, batch: Batch
) -> None:
    """Read the reports of a scanner."""
    kind = options["format"]
    for file, call in each_dump(options, base, deadline, batch, name=kind):
        with call:
            context.file_time = forms.moment_of(file.stat().st_mtime)
            context.host_id = str(options.get("host_id") or file.stem)
            for document in dicts(read_json(file, call.row)):
                for frame, row in call.take(SCANNERS[kind](document, context)):
                    batch.add(frame, row | {"source_ref": call.row["scope"]})
            _settle(call, call.row["rows"], f"this is no report of {kind}")
            context.count(call)


def _settle(call: Call, expected: int, hint: str) -> None:
    """Compare the rows of a file with its records; a file without any is not what it should be."""
    call.note(expected=expected)
    if not call.row["rows"] and call.outcome == "timeout":
        call.status("empty" if expected == 0 else "parse_error", hint)
