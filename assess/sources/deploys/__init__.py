"""Deploys: deployments of each service, from exports of delivery tools, by their documented shapes.

A record without an environment may be of production, and counts. One of a test environment does
not. A failed or an open deployment keeps its status.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from assess import frames
from assess.linear import Linear
from assess.reading import MAX_TABLE_BYTES, refuse_many
from assess.sources.base import (
    Asked,
    Batch,
    Call,
    Name,
    Names,
    Row,
    Rows,
    Source,
)
from assess.sources.csv_records import Cells, header_of, lookup, read_records, rows
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
)
from assess.sources.redact import strip_credentials
from assess.sources.values import as_list, dicts, dig, moment, number, picked, text

NAMED = 0.8  # confidence in a repository or project as the name of a service
# in an address, behind its repository
_INNER = re.compile("/(?:deployments|actions|jobs|pipelines|-)/")
_PAGES = tuple(lookup("deploys/pages", "key", "key"))  # of the lists in answers
_NAMES = ("name", "path", "repository")  # columns of a record, the surest first
_VERSION_LENGTH = 12  # characters of a commit
_MINUTE = timedelta(minutes=1)
Deployments = Iterator[Row | None]  # None for a record that lacks what a row needs


def is_production(environment: str) -> bool:
    """Return whether an environment is not known to be one for tests."""
    words = {row["word"] for row in rows("deploys/environments")}
    return words.isdisjoint(re.split(r"[-_/\s]+", environment.lower()))


def status_of(word: str) -> str | None:
    """Return done, failed, open, or listed as another one; None for a word that says none of them."""
    return lookup("deploys/statuses", "word", "meaning").get(word.strip().lower())


def leaf_of(address: str) -> str:
    """Return the last part of an address or path, which names a repository."""
    path = urlsplit(address).path.rstrip("/")
    name = path.rpartition("/")[2]
    return strip_credentials(name.removesuffix(".git"))


def _names(*candidates: str) -> Names:
    known = dict.fromkeys(name for name in candidates if name)
    return tuple(Name(name, "deployment", NAMED) for name in known)


def _deployment(place: str, names: Names, key: Any, **values: Any) -> Row | None:
    """Return the row of a deployment; None without an id, a service or a time."""
    if values["started_at"] is None or not names or not key:
        return None
    ended_at = values.get("ended_at")
    if ended_at and ended_at < values["started_at"]:
        values["ended_at"] = None  # GitLab lists jobs that ended before their deployment
    version = values.pop("version", "")
    row = frames.row(
        "activities",
        activity_id=f"{place}{key}",
        kind="deploy",
        to_version=version[:_VERSION_LENGTH] or None,
        **values,
    )
    return row | {"names": names}


def deployments_of(record: Row, form: Cells, stem: str, workflow: Linear) -> Deployments:
    """Return the deployments to production that a record holds, by the columns of its form."""
    of = picked(record, f"{form['form']} record")
    project = leaf_of(_INNER.split(of.get("address") or "")[0])
    listed = _names(*(leaf_of(of.get(key) or "") for key in _NAMES))
    names = listed or _names(project or (form["stem"] and stem))
    place = {"name": names[0].name if names else "", "environment": of["environment"]}
    where = form["where"].format(**place)
    if of.get("is_transient") is True or not is_production(where):
        return
    runs = of.get("workflow")  # of the runs of a workflow, those that deploy
    is_other = runs is not None and not workflow.search(f"{runs} {of.get('file')}")
    if is_other or (of.get("event") or "").startswith("pull_request"):
        return
    for path in form["inner"].split(";"):
        for entry in as_list(record, *path.split()):
            own = picked(entry, f"{form['form']} deployment")
            word = own.pop("status", "") or form["status"]
            own["status"] = status_of(f"{form['form']} {word}") or status_of(word)
            if own["status"] != "listed":
                yield _deployment(form["place"].format(**place), names, **own)


def of_devlake(tables: Iterable[Cells]) -> Deployments:
    """Return the deployments of DevLake's tables; changes give the time since their first commit.

    ``cicd_deployments``, ``cicd_deployment_commits``, ``project_pr_metrics``, ``project_mapping``.
    """
    deployments = []
    cycles: dict[str, list[float]] = defaultdict(list)  # minutes, by deployment
    projects = {}  # by scope
    of_change = {}  # projects by deployment
    for cells in tables:
        if "pr_cycle_time" in cells:
            key = cells.get("deployment_commit_id", "")
            minutes = number(cells, "pr_cycle_time")
            if key and minutes is not None:
                cycles[key].append(minutes)
                of_change[key] = cells.get("project_name", "")
        elif "row_id" in cells:
            projects[cells["row_id"]] = cells.get("project_name", "")
        else:
            deployments.append(cells)
    with_commits = {cells.get("cicd_deployment_id") for cells in deployments}
    for cells in deployments:
        key = cells.get("id", "")
        if key in with_commits or not is_production(cells.get("environment", "")):
            continue
        project = projects.get(cells.get("cicd_scope_id", "")) or of_change.get(key, "")
        yield _devlake_row(cells, project, cycles.get(key, []))


def _devlake_row(cells: Cells, project: str, cycles: list[float]) -> Row | None:
    own = picked(cells, "devlake deployment")
    if own["ended_at"] and cycles:
        own["committed_at"] = own["ended_at"] - median(cycles) * _MINUTE
    return _deployment(
        "devlake:",
        _names(project, leaf_of(cells.get("repo_url", "")), cells.get("name", "")),
        cells.get("id", ""),
        status=status_of(cells.get("result") or cells.get("status", "")),
        **own,
    )


FORMS = rows("deploys/forms")  # of records, the first that fits
FORMATS = tuple(dict.fromkeys(row["format"] for row in FORMS if row["format"]))


def records_in(values: Iterable[Any]) -> Rows:
    """List the records of pages: alone, in a list, or under the key of their list."""
    records: Rows = []
    for value in values:
        pages = [dig(value, key) for key in _PAGES]
        page = next((page for page in pages if isinstance(page, list | dict)), value)
        # `gh run list` writes the keys of the API in its own way
        records += [
            {header_of(key): value for key, value in record.items()}
            if "headSha" in record
            else record
            for record in dicts(as_list(page))
        ]
    return records


def form_of(record: Row, kind: str | None) -> Cells | None:
    """Return the form of a record, of one format if that is named; None if unknown."""
    for form in FORMS:
        keys = (dig(record, *key.split(".")) for key in form["keys"].split())
        is_kind = form["kind"] in ("", text(record, "kind"))
        if is_kind and None not in keys:
            return form if form["format"] and kind in (None, form["format"]) else None
    return None


_WORKFLOW = r"deploy|release|rollout|publish"
_TABLES = (".csv", ".tsv")
_NO_ROWS = "some records have no id, no name or no time"


class DeploysSource(Source):
    """Reads deployments to production, and when their first commit was made."""

    type = "deploys"
    formats = ("devlake", *FORMATS)

    def check(self, options: Row) -> list[str]:
        """List the problems of the options."""
        problems = super().check(options)
        try:
            _pattern(options)
        except ValueError:
            problems.append("workflow is no regular expression")
        days = sorted({"since", "until"} & options.keys())
        return problems + [f"{k} is not a date" for k in days if not moment(options, k)]

    def fill(self, asked: Asked) -> None:
        """Read the deployments of all files; tables of DevLake belong together."""
        options = asked.options
        batch = asked.batch
        tables = []
        suffixes = (*_TABLES, *JSON_SUFFIXES, *YAML_SUFFIXES)
        for file, call in each_dump(asked, suffixes, name="deploys"):
            with call:
                if file.suffix.lower() in _TABLES:
                    tables += _read_table(file, call)
                else:
                    _add(batch, call, _of_json(file, call, options), options)
        if tables:
            with batch.call(asked.scope, "deploys") as call:
                _add(batch, call, list(of_devlake(tables)), options)


def _read_table(file: Path, call: Call) -> list[Cells]:
    header, records = read_records(read_bytes(file, call.row, MAX_TABLE_BYTES))
    if not {"id", "row_id"} & set(header):
        raise ValueError("this is no table of DevLake: it has no column id")
    return call.take(records)


def _of_json(file: Path, call: Call, options: Row) -> list[Row | None]:
    """Return the deployments of one file; None for each record that lacks what a row needs."""
    values = read_documents(file, call.row)
    records = records_in(values)
    refuse_many(len(records))
    workflow = _pattern(options)
    found: list[Row | None] = []
    unknown_n = sum(not isinstance(value, dict | list) for value in values)
    entries_n = unknown_n + len(records)
    for record in records:
        form = form_of(record, options.get("format"))
        if form is None:
            unknown_n += 1
            continue
        found += deployments_of(record, form, file.stem, workflow)
    call.count(unmapped_n=unknown_n)
    if entries_n and unknown_n == entries_n:
        call.status("parse_error", "no known deployments: see `assess sources deploys`")
    return found


def _add(batch: Batch, call: Call, found: list[Row | None], options: Row) -> None:
    known = [row for row in found if row]
    times = [row["started_at"] for row in known]
    start = moment(options, "since") or min(times, default=None)
    end = moment(options, "until") or max(times, default=None)
    listed = [row for row in known if start <= row["started_at"] <= end]
    scope = call.row["scope"]
    batch.add("activities", *(row | {"source_ref": scope} for row in call.take(listed)))
    call.note(window_start=start, window_end=end)
    lost_n = len(found) - len(known)
    call.count(unmapped_n=lost_n)
    if lost_n and call.is_open:
        call.status("partial", _NO_ROWS)


def _pattern(options: Row) -> Linear:
    return Linear(str(options.get("workflow", _WORKFLOW)), ignore_case=True)
