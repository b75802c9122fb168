"""Deploys: deployments of each service, from exports of delivery tools, by their documented shapes.

A record without an environment may be of production, and counts. One of a test environment does
not. A failed or an open deployment keeps its status.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
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
from assess.sources.values import as_list, dicts, dig, id_of, moment, number, picked, text

NAMED = 0.8  # confidence in a repository or project as the name of a service
_PROJECT = Linear(r"^/(.+?)/-/")  # of an address of GitLab
_VERSION_LENGTH = 12  # characters of a commit
_MINUTE = timedelta(minutes=1)
Deployments = Iterator[Row | None]  # None for a record that lacks what a row needs


def is_production(environment: str) -> bool:
    """Return whether an environment is not known to be one for tests."""
    words = {row["word"] for row in rows("deploys/environments")}
    return words.isdisjoint(re.split(r"[-_/\s]+", environment.lower()))


def status_of(word: str) -> str | None:
    """Return done, failed or open; None for a word that says none of them."""
    return lookup("deploys/statuses", "word", "meaning").get(word.strip().lower())


def leaf_of(address: str) -> str:
    """Return the last part of an address or path, which names a repository."""
    path = urlsplit(address).path.rstrip("/")
    name = path.rpartition("/")[2]
    return strip_credentials(name.removesuffix(".git"))


def _names(*candidates: str) -> Names:
    known = dict.fromkeys(name for name in candidates if name)
    return tuple(Name(name, "deployment", NAMED) for name in known)


def _deployment(place: str, key: str, names: Names, **values: Any) -> Row | None:
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


def of_github(record: Row, _: str, workflow: Linear) -> Deployments:
    """Return a deployment, or a finished run of a workflow that deploys."""
    if "environment" in record and "sha" in record:
        yield from _github_deployment(record)
    elif "head_sha" in record and _is_deploying(record, workflow):
        yield _github_run(record)


def _github_deployment(record: Row) -> Deployments:
    # `environment` moves with a deployment's statuses, and says where it is now
    of = picked(record, "github record")
    is_transient = record.get("transient_environment") is True
    if is_transient or not is_production(of["environment"]):
        return
    repository = leaf_of(of["address"].partition("/deployments/")[0])
    yield _deployment(
        f"github:{repository}/",
        id_of(record, "id"),
        _names(repository),
        status=status_of(of["state"]),
        **picked(record, "github deployment"),
    )


def _is_deploying(record: Row, workflow: Linear) -> bool:
    name = picked(record, "github record")["workflow"]
    is_checked = text(record, "event").startswith("pull_request")
    is_named = workflow.search(name) or workflow.search(text(record, "path"))
    return bool(is_named) and not is_checked and is_production(name)


def _github_run(record: Row) -> Row | None:
    of = picked(record, "github record")
    repository = of["repository"] or leaf_of(of["address"].partition("/actions/")[0])
    return _deployment(
        f"github:{repository}/run/",
        id_of(record, "id") or id_of(record, "database_id"),
        _names(repository),
        status=status_of(of["ended"]),
        **picked(record, "github run"),
    )


def of_gitlab(record: Row, stem: str, _: Linear) -> Deployments:
    """Return a deployment of a project; its address is that of its job, else the file names it."""
    environment = text(record, "environment", "name")
    if not is_production(environment):
        return
    job = record.get("deployable")
    address = text(job, "web_url") or text(job, "pipeline", "web_url")
    place = _PROJECT.search(urlsplit(address).path) if address else None
    project = leaf_of(place[1]) if place else stem
    yield _deployment(
        f"gitlab:{project}/",
        id_of(record, "id"),
        _names(project),
        status=status_of(text(record, "status")),
        **picked(record, "gitlab deployment"),
    )


def of_argocd(application: Row, _: str, __: Linear) -> Deployments:
    """Return the deployments that the history of an application keeps: ten by default."""
    name = text(application, "metadata", "name")
    namespace = text(application, "spec", "destination", "namespace")
    if not is_production(f"{name} {namespace}"):
        return
    sources = [dig(application, "spec", "source")]
    sources += dicts(application, "spec", "sources")
    repositories = [leaf_of(text(source, "repoURL")) for source in sources]
    paths = [leaf_of(text(source, "path")) for source in sources]
    for entry in dicts(application, "status", "history"):
        yield _deployment(
            f"argocd:{name}/",
            id_of(entry, "id"),
            _names(name, *paths, *repositories),
            status="done",
            **picked(entry, "argo cd sync"),
        )


def of_helm(record: Row, stem: str, _: Linear) -> Deployments:
    """Return the revisions of a release that Flux keeps, or one that ``helm history`` lists."""
    # the latter does not name its release: the file does
    name = text(record, "metadata", "name") or stem
    namespace = text(record, "metadata", "namespace")
    if not is_production(f"{name} {namespace}"):
        return
    for entry in dicts(record, "status", "history") or [record]:
        yield _deployment(
            f"helm:{namespace}/{name}/",
            id_of(entry, "version") or id_of(entry, "revision"),
            _names(name),
            status=status_of(text(entry, "status")),
            **picked(entry, "helm revision"),
        )


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
        cells.get("id", ""),
        _names(project, leaf_of(cells.get("repo_url", "")), cells.get("name", "")),
        status=status_of(cells.get("result") or cells.get("status", "")),
        **own,
    )


FORMATS: dict[str, Callable[[Row, str, Linear], Deployments]] = {
    "github": of_github,
    "gitlab": of_gitlab,
    "argocd": of_argocd,
    "helm": of_helm,
}


def records_in(values: Iterable[Any]) -> Rows:
    """List the records of pages: alone, in a list, or under the key of their list."""
    records: Rows = []
    for value in values:
        pages = [dig(value, key) for key in ("workflow_runs", "items", "deployments")]
        page = next((page for page in pages if isinstance(page, list)), value)
        # `gh run list` writes the keys of the API in its own way
        records += [
            {header_of(key): value for key, value in record.items()}
            if "headSha" in record
            else record
            for record in dicts(as_list(page))
        ]
    return records


def format_of(record: Row) -> str:
    """Return the format of a record; empty if unknown."""
    # `helm list` names each release, and has its last revision only: no rate follows from it
    is_revision = {
        "revision",
        "chart",
        "updated",
    } <= record.keys() and "name" not in record
    if is_revision or text(record, "kind") == "HelmRelease":
        return "helm"
    if isinstance(dig(record, "status", "history"), list):
        return "argocd"
    if isinstance(record.get("environment"), dict) or "deployable" in record:
        return "gitlab"
    if "head_sha" in record or {"environment", "sha"} <= record.keys():
        return "github"
    return "argocd" if text(record, "kind") == "Application" else ""


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
        if _pattern(options) is None:
            problems.append("workflow is no regular expression")
        days = [key for key in ("since", "until") if key in options]
        return problems + [f"{k} is not a date" for k in days if not moment(options[k])]

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
    workflow = _pattern(options) or Linear(_WORKFLOW)
    found: list[Row | None] = []
    unknown_n = sum(not isinstance(value, dict | list) for value in values)
    entries_n = unknown_n + len(records)
    for record in records:
        kind = options.get("format") or format_of(record)
        if kind not in FORMATS:
            unknown_n += 1
            continue
        found += FORMATS[kind](record, file.stem, workflow)
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


def _pattern(options: Row) -> Linear | None:
    try:
        return Linear(str(options.get("workflow", _WORKFLOW)), ignore_case=True)
    except ValueError:
        return None
