"""Answers: questionnaires that people filled in, and reports of scanners, as evidence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from assess.reading import MAX_TABLE_BYTES
from assess.sources.answers import forms, sbom, scanners, vex
from assess.sources.base import (
    Asked,
    Call,
    FrameRows,
    Row,
    Rows,
    Source,
)
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
)
from assess.sources.http import open_web
from assess.sources.values import Words, as_list, dicts

SCANNERS: dict[str, Callable[[Row, forms.Context], FrameRows]] = {
    "docker-bench": scanners.of_docker_bench,
    "trivy": scanners.of_trivy,
    "scorecard": scanners.of_scorecard,
    "grype": scanners.of_grype,
    "syft": scanners.of_syft,
    "xeol": scanners.of_xeol,
    "kantra": scanners.of_kantra,
    "scan": scanners.of_scan,
    **dict.fromkeys(
        ("sbom", "vex", "cyclonedx", "spdx", "openvex", "csaf", "cosign"), sbom.of_any
    ),
}
_TABLES = (".csv", ".tsv")
_ALL_SUFFIXES = (*JSON_SUFFIXES, *YAML_SUFFIXES, *_TABLES, ".xml")
_UNKNOWN = "no known form; if it is empty, name its format: `assess sources answers`"
FORMATS = ("konveyor", "csv", *SCANNERS)
_SUFFIXES: dict[Any, Words] = {  # by reader; JSON where it is not here
    sbom.of_any: (*JSON_SUFFIXES, ".xml"),
    scanners.of_kantra: (*YAML_SUFFIXES, *JSON_SUFFIXES),
}
RESOURCES = ("applications", "archetypes", "assessments")  # of Konveyor's hub


class AnswersSource(Source):
    """Reads answers; totals and grades of other tools are never taken over."""

    type = "answers"
    formats = FORMATS

    def check(self, options: Row) -> list[str]:
        """List what is wrong with the options."""
        problems = super().check(options)
        is_hub = options.get("format", "konveyor") == "konveyor" and "path" not in options
        if "endpoint" in options and not is_hub:
            problems.append("endpoint is a Konveyor hub, in place of a path")
        answered_at = options.get("answered_at")
        if answered_at and forms.moment_of(answered_at) is None:
            problems.append("answered_at is no date such as 2026-09-01")
        return problems

    def fill(self, asked: Asked) -> None:
        """Read the answers of files, each in the format that is named or shown, or of a hub."""
        if "format" in asked.options or "path" not in asked.options:
            _fill(asked)
            return
        files: dict[str, list[str]] = {}
        for file, call in each_dump(asked, _ALL_SUFFIXES):
            kind = ""
            with call:
                kind = _kind_of(file, call)
            if kind:
                asked.batch.coverage.remove(call.row)  # the reader of its kind covers it
                files.setdefault(kind, []).append(call.row["scope"])
        for kind, paths in files.items():
            options = asked.options | {"format": kind, "path": paths}
            _fill(replace(asked, options=options))


def _kind_of(file: Path, call: Call) -> str:
    """Return the format that a file shows; empty where it shows none, which its call says."""
    suffix = file.suffix.lower()
    if suffix == ".xml":
        return "sbom"
    if suffix in _TABLES:
        return "csv"
    values = read_documents(file, call.row)
    if forms.resources(values):
        return "konveyor"
    has_objects = any(dicts(as_list(value)) for value in values)
    for kind, read in SCANNERS.items() if has_objects else ():
        context = forms.Context(forms.checks(kind))
        documents = _documents(values, kind, file)
        if any(read(document, context) for document in documents):
            return kind
    if call.is_open:
        call.status("parse_error", _UNKNOWN)
    return ""


def _fill(asked: Asked) -> None:
    """Read the answers of files in one format, or of a hub."""
    options = asked.options
    kind = options.get("format", "konveyor")
    with asked.batch.call(str(options.get("map")), "map") as call:
        table = forms.checks(kind, asked.file("map"))
    if call.failed:
        return
    asked.batch.coverage.remove(call.row)  # only a map that fails is worth a row
    context = forms.Context(table, forms.moment_of(options, "answered_at"))
    readers = {"csv": _read_csv, "konveyor": _read_konveyor}
    read = _ask if "endpoint" in options else readers.get(kind, _read_scans)
    read(asked, context)


def _read_konveyor(asked: Asked, context: forms.Context) -> None:
    """Read what the hub exports: any of its resources in any file, in JSON or YAML."""
    documents = []
    suffixes = JSON_SUFFIXES + YAML_SUFFIXES
    for file, call in each_dump(asked, suffixes):
        with call:
            resources = call.take(forms.resources(read_documents(file, call.row)))
            _settle(call, len(resources), "no assessment, application or archetype")
            documents += resources
    _add_konveyor(documents, asked, context)


def _ask(asked: Asked, context: forms.Context) -> None:
    documents = []
    for resource in RESOURCES:
        with (
            asked.batch.call(asked.scope, resource) as call,
            open_web(asked, call=call) as web,
        ):
            documents += call.take(forms.resources([web.json(resource)]))
    _add_konveyor(documents, asked, context)


def _add_konveyor(documents: Rows, asked: Asked, context: forms.Context) -> None:
    """Add the answers in documents; questions without an answer show in their coverage."""
    if not documents:
        return
    hint = "no assessment of an application was answered"
    with asked.batch.call(asked.scope, "answers", empty=hint) as call:
        rows, questions_n = forms.to_answers(documents, context)
        asked.batch.add("answers", *call.take(rows))
        call.note(expected=questions_n)
        context.count(call)
        if rows:
            call.status("ok")  # a questionnaire may be half filled in


def _read_csv(asked: Asked, context: forms.Context) -> None:
    for file, call in each_dump(asked, _TABLES):
        with call:
            rows, records_n = forms.of_csv(
                read_bytes(file, call.row, MAX_TABLE_BYTES), context
            )
            for frame, row in map(forms.placed, call.take(rows)):
                asked.batch.add(frame, {"source_ref": call.row["scope"], **row})
            _settle(call, records_n, "no row has a service, a question and an answer")
            context.count(call)
            if 0 < len(rows) < records_n:
                call.hint("some rows lack a service, a question or an answer")


def _read_scans(asked: Asked, context: forms.Context) -> None:
    kind = asked.options["format"]
    batch = asked.batch
    suffixes = _SUFFIXES.get(SCANNERS[kind], JSON_SUFFIXES)
    for file, call in each_dump(asked, suffixes, name=kind):
        with call:
            context.file_time = forms.moment_of(file.stat().st_mtime)
            context.host_id = str(asked.options.get("host_id") or file.stem)
            documents = _read_documents(file, kind, call)
            for document in documents:
                for frame, row in call.take(SCANNERS[kind](document, context)):
                    if frame == vex.FRAME:
                        batch.statements.append(row["statement"])
                    else:
                        batch.add(frame, row | {"source_ref": call.row["scope"]})
            hint = f"this is no report of {kind}, or it names no image or service"
            _settle(call, call.row["rows"] or len(documents), hint)
            context.count(call)


def _read_documents(file: Path, kind: str, call: Call) -> Rows:
    """Return the objects of a file, also those of its lists; of an analysis, all as one."""
    if file.suffix.lower() == ".xml":
        return [sbom.read_xml(read_bytes(file, call.row))]
    values = read_documents(file, call.row)
    # what could not be read has its reason already
    is_told = not values and not call.is_open
    return [] if is_told else _documents(values, kind, file)


def _documents(values: list[Any], kind: str, file: Path) -> Rows:
    return scanners.analysis_in(values, file) if kind == "kantra" else dicts(values)


def _settle(call: Call, expected: int, hint: str) -> None:
    """Compare the rows of a file with its records; a file without records is of another kind."""
    call.note(expected=expected)
    if not call.row["rows"] and call.outcome == "timeout":
        call.status("empty" if expected == 0 else "parse_error", hint)
