"""Reports of scanners as evidence for checks; their totals are never used.

What a finding is about is data, in `answer_checks.csv`. A finding about an image, or about a
container that the report only names, carries ``about``: whom it concerns, other sources tell.

Of Konveyor's static code analysis (kantra) only counts and the ids of rules are kept, never code.
Rules that failed to run leave the counts open: what they would have found is unknown.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from assess.image_ref import ImageRef, parse_image
from assess.sources.answers.forms import (
    Context,
    Rule,
    moment_of,
    words_of,
    worst,
)
from assess.sources.answers.vex import SEVERITIES, Finding
from assess.sources.base import FrameRows, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.values import (
    Words,
    as_list,
    cell,
    dicts,
    dig,
    number,
    picked,
    table,
    text,
    texts,
)

About = tuple[Words, ...]  # keys that workloads have, the surest first
_CYCLE = ("ProductName", "ReleaseCycle", "Eol")
_ID = re.compile(r"sha256:[0-9a-f]{64}")
_MANDATORY = "mandatory"  # category of violations
_STEMS = ("output", "analysis", "results")  # names of files that name no application
_SEVERITIES = vocabulary("answers", "severities")
_REPORT = "VulnerabilityReport"  # of Trivy's operator
_NAMED = 5  # rules in an answer


def _answer(rule: Rule, risk: str, about: About, answer: str | None) -> Row:
    return {"about": about, "question": rule.target, "risk": risk, "answer": answer}


def _kept(answers: Iterable[Row], **shared: Any) -> FrameRows:
    """Keep the riskiest answers, each with the columns that a report's answers share."""
    return [("answers", row) for row in worst(answer | shared for answer in answers)]


def of_docker_bench(report: Row, context: Context) -> FrameRows:
    """Return the findings of the benchmark of one host, on its engine and its containers."""
    # The report does not name its host: the file does, or ``host_id``.
    if "dockerbenchsecurity" not in report:
        return []
    engine = {}
    answers = []
    sections = dicts(report, "tests")
    for test in (test for section in sections for test in dicts(section, "results")):
        description = cell(test, "desc")
        rule = context.rule(description)
        result = cell(test, "result").upper()
        context.unmapped += rule is None
        if not rule or result not in rule.values:
            continue
        value = rule.values[result]
        frame, _, column = rule.target.partition(".")
        if frame in ("engines", "images", "services"):
            number_or_text = int(value) if value.isdigit() else value
            engine[column] = {"true": True, "false": False}.get(value, number_or_text)
            continue
        for item in map(str.strip, texts(test, "items")):
            about: About = (("container", context.host_id, item),)
            if image := re.fullmatch(r"\[(.+)\]", item):
                about = _image_keys(parse_image(image[1]))
            answers.append(_answer(rule, value, about, f"{result}: {description}"))
    when = moment_of(report, "end") or moment_of(report, "start")
    rows = _kept(answers, answered_at=when or context.file_time, source="docker-bench")
    if engine:
        where = {"host_id": context.host_id, "runtime": "docker"}
        rows.insert(0, ("engines", where | engine))
    return rows


def of_trivy(report: Row, context: Context) -> FrameRows:
    """Return the findings of a scan of one image, or of the images of a cluster."""
    scans = [report]
    listed = dicts(report, "items") or [report]
    reports = [entry for entry in listed if entry.get("kind") == _REPORT]
    if "ClusterName" in report:
        scans = [_of_cluster(entry) for entry in dicts(report, "Resources")]
    elif reports:
        scans = [_of_operator(entry) for entry in reports]
    context.unmapped += scans.count({})
    when = moment_of(report, "CreatedAt") or context.file_time
    return [row for scan in scans for row in _of_scan(scan, when, context)]


def _of_operator(resource: Row) -> Row:
    """Return a report that the operator of a cluster keeps as a scan; empty without an image."""
    report = table(resource, "report")
    artifact = table(report, "artifact")
    tag = text(artifact, "tag")
    digest = text(artifact, "digest")
    if not tag and not digest:
        return {}
    place = f"{text(report, 'registry', 'server')}/{text(artifact, 'repository')}"
    name = place.lstrip("/")
    tagged = f"{name}:{tag}" if tag else name
    return {
        "SchemaVersion": 2,
        "ArtifactName": tagged,
        "Metadata": {"RepoTags": [tagged], "RepoDigests": [f"{name}@{digest}"]},
        "Results": [{"Vulnerabilities": dicts(report, "vulnerabilities")}],
    }


def _of_cluster(resource: Row) -> Row:
    """Return the results of an object of a cluster as a scan of its image; empty without one."""
    # of an object with several images nothing tells which of them a package is in
    images = dicts(as_list(resource, "Metadata"))
    if len(images) != 1:
        return {}
    name = next(iter(texts(images[0], "RepoTags")), "")
    return {**resource, "SchemaVersion": 2, "ArtifactName": name, "Metadata": images[0]}


def _of_scan(report: Row, when: datetime | None, context: Context) -> FrameRows:
    name = report.get("ArtifactName")
    if "SchemaVersion" not in report or not isinstance(name, str):
        return []
    if report.get("ArtifactType") not in ("container_image", None):
        return []
    metadata = table(report, "Metadata")
    image = _image_of(texts(metadata, "RepoDigests"), texts(metadata, "RepoTags"))
    image = image if image.repository else parse_image(name)
    identifier = _id_of(metadata, "ImageID")
    results = dicts(report, "Results")
    rows = _image_rows(
        image,
        identifier,
        arch=cell(metadata, "ImageConfig", "architecture") or None,
        created_at=moment_of(metadata, "ImageConfig", "created"),
        **_vulnerabilities(results),
    )
    about = _image_keys(image, identifier)
    if any(dicts(result, "Secrets") for result in results):
        rows.append(("services", {"about": about, "secrets_in_image": True}))
    answers = [
        _answer(rule, risk, about, summary)
        for result in results
        for rule, risk, summary in _findings(result, context)
    ]
    return [*rows, *_kept(answers, answered_at=when, source="trivy")]


def _id_of(image: Row, key: str) -> str:
    """Return the id of an image; empty for any other text, which names no image."""
    found = _ID.fullmatch(text(image, key))
    return found[0] if found else ""


def _image_rows(image: ImageRef, identifier: str, **columns: Any) -> FrameRows:
    """Return the row of a scanned image; none where neither digest, id nor tag identifies it."""
    digest = image.digest or identifier
    if not image.repository or not (digest or image.tag):
        return []
    row = {
        "registry": image.registry,
        "repository": image.repository,
        "digest": digest,
        "host_id": "",
        "image_id": identifier or None,
        "image": ImageRef(image.registry, image.repository, image.tag, digest),
        **columns,
    }
    return [("images", row)]


def of_grype(report: Row, _: Context) -> FrameRows:
    """Return the vulnerabilities by severity that Grype found in one image."""
    matches = report.get("matches")
    target = table(report, "source", "target")
    if not isinstance(matches, list) or cell(report, "descriptor", "name") != "grype":
        return []
    return _image_rows(
        _image_of_target(target),
        _id_of(target, "imageID"),
        **picked(target, "scanned image"),
        **_counted(map(_match, dicts(matches))),
    )


def of_scan(report: Row, _: Context) -> FrameRows:
    """Return the vulnerabilities that Clair, GitLab, Prisma or Snyk found in images."""
    rows = []
    for scan in dicts(report, "results") or [report]:
        found = picked(scan, "scan")
        if isinstance(found["listed"], list):
            findings = map(_finding, dicts(found["listed"]))
            image = parse_image(found["image"])
            rows += _image_rows(image, _id_of(scan, "id"), **_counted(findings))
    return rows


def of_syft(report: Row, _: Context) -> FrameRows:
    """Return the image whose packages Syft listed in its own form."""
    if cell(report, "descriptor", "name") != "syft":
        return []
    source = table(report, "source")
    # the latter before 0.85
    target = table(source, "metadata") or table(source, "target")
    system = [cell(report, "distro", "id"), cell(report, "distro", "versionID")]
    return _image_rows(
        _image_of_target(target),
        _id_of(target, "imageID"),
        **picked(target, "scanned image"),
        sbom_format="syft",
        base_name=":".join(system) if all(system) else None,
    )


def _match(match: Row) -> Finding:
    """Return a match of Grype; an advisory of a distribution goes by its other names too."""
    entries = [table(match, "vulnerability"), *dicts(match, "relatedVulnerabilities")]
    return Finding(
        ids=frozenset(cell(entry, "id") for entry in entries),
        **picked(table(match, "artifact"), "cyclonedx component"),
        severity=cell(entries[0], "severity").lower(),
    )


def _vulnerabilities(results: Rows) -> Row:
    """Count vulnerabilities by severity; nothing where no packages were looked at."""
    if not any(
        str(result.get("Class")).endswith("-pkgs") or "Vulnerabilities" in result
        for result in results
    ):
        return {}
    row = _counted(_finding(v) for r in results for v in dicts(r, "Vulnerabilities"))
    if any(dicts(result, "ExperimentalModifiedFindings") for result in results):
        row["vex"] = True  # Trivy has applied a document by itself
    return row


def _counted(findings: Iterable[Finding]) -> Row:
    """Return findings with their number by severity; one in two places is one."""
    kept = list(dict.fromkeys(findings))
    counts = Counter(finding.severity for finding in kept)
    row: Row = {f"vuln_{severity}_n": counts[severity] for severity in SEVERITIES}
    return row | {"findings": kept}


def _finding(entry: Row) -> Finding:
    facts = picked(entry, "vulnerability")
    severity = facts.pop("severity").lower()
    return Finding(
        ids=frozenset([facts.pop("id")]),
        severity=_SEVERITIES.get(severity, severity),
        **facts,
    )


def _findings(result: Row, context: Context) -> Iterable[tuple[Rule, str, str]]:
    """Return the findings of checks; for secrets only their number, never place or text."""
    for finding in dicts(result, "Misconfigurations"):
        identifier = cell(finding, "ID") or cell(finding, "AVDID")
        rule = context.rule(identifier.removeprefix("AVD-"))
        status = cell(finding, "Status").upper()
        context.unmapped += rule is None
        if rule and status in rule.values:
            yield rule, rule.values[status], f"{status}: {identifier}"
    if secrets_n := len(dicts(result, "Secrets")):
        context.redacted += secrets_n
        if rule := context.rule("SECRET"):
            yield rule, rule.values.get("FAIL", "red"), f"{secrets_n} secrets found"


def of_scorecard(report: Row, context: Context) -> FrameRows:
    """Return the results of the checks of a repository; -1 is Scorecard's unknown."""
    name = cell(report, "repo", "name")
    if not name or not isinstance(report.get("checks"), list):
        return []
    about = (("name", name.rstrip("/").rpartition("/")[2].removesuffix(".git")),)
    answers = []
    for check in dicts(report, "checks"):
        title = cell(check, "name")
        rule = context.rule(title)
        score = check.get("score")
        if not rule or isinstance(score, bool) or not isinstance(score, int | float):
            context.unmapped += 1
            continue
        risk = rule.of_number(score) if score >= 0 else None
        answers.append(_answer(rule, risk or "unknown", about, f"{title}: {score} of 10"))
    when = moment_of(report, "date") or context.file_time
    return _kept(answers, answered_at=when, source="scorecard", source_ref=name)


def of_xeol(report: Row, context: Context) -> FrameRows:
    """Return whether an image has packages past their end of life."""
    target = dig(report, "source", "target")
    matches = report.get("matches")
    rule = context.rule("end of life")
    if not isinstance(matches, list) or not isinstance(target, dict) or rule is None:
        return []
    if cell(report, "descriptor", "name") not in ("xeol", ""):
        return []  # Grype writes the same shape
    about = _image_keys(_image_of_target(target), cell(target, "imageID"))
    ended = set()
    for match in dicts(matches):
        cycle = table(match, "Cycle")
        product, version, day = (cell(cycle, key) for key in _CYCLE)
        ended.add(f"{product} {version} ({day})")
    risk = rule.values.get("EOL" if ended else "NONE", "unknown")
    summary = words_of("; ".join(sorted(ended))) or "no package past its end of life"
    when = moment_of(report, "descriptor", "timestamp") or context.file_time
    return _kept([_answer(rule, risk, about, summary)], answered_at=when, source="xeol")


def _image_of_target(target: Row) -> ImageRef:
    """Return the image that Grype or xeol looked into."""
    tags = [cell(target, "userInput"), *texts(target, "tags")]
    return _image_of(texts(target, "repoDigests"), tags)


def _image_of(digests: list[str], tags: list[str]) -> ImageRef:
    """Return the image of a scan: its digest in a repository, with a tag of it."""
    tagged = [ref for ref in map(parse_image, tags) if ref.repository]
    for ref in map(parse_image, digests):
        if ref.digest:
            tag = next((t.tag for t in tagged if t.repository == ref.repository), None)
            return ImageRef(ref.registry, ref.repository, tag, ref.digest)
    return tagged[0] if tagged else ImageRef()


def _image_keys(image: ImageRef, identifier: str = "") -> About:
    place = (str(image.registry), str(image.repository))
    keys: list[Words] = [("digest", image.digest or ""), ("digest", identifier)]
    if image.repository:
        keys.append(("image", *place, image.tag or "latest"))
    return tuple(key for key in keys if key[1])


def analysis_in(values: list[Any], file: Path) -> Rows:
    """Return the analysis that a file holds, with the application that its path names."""
    rulesets = [entry for value in values for entry in dicts(as_list(value))]
    if not rulesets:
        raise ValueError("it holds no rulesets: name the output.yaml of kantra")
    stem = file.stem
    name = file.parent.name if stem in _STEMS else stem
    return [{"application": name, "rulesets": rulesets}]


def of_kantra(report: Row, context: Context) -> FrameRows:
    """Return the demanded changes, and the mandatory ones, by the ids of the rules."""
    rulesets = [entry for entry in dicts(report, "rulesets") if _is_ruleset(entry)]
    if not rulesets:
        return []
    found = [violation for ruleset in rulesets for violation in _violations(ruleset)]
    mandatory = {name: n for name, category, n, _ in found if category == _MANDATORY}
    mandatory_n = sum(mandatory.values())
    effort = sum(n * points for _, _, n, points in found)
    failed_n = sum(len(table(ruleset, "errors")) for ruleset in rulesets)
    context.unmapped += failed_n
    about = (("name", text(report, "application")),)
    service: Row = {"about": about}
    if mandatory_n or not failed_n:
        service["code_mandatory_n"] = mandatory_n
    if not failed_n:
        service["code_effort"] = float(effort)
    answer: Row = {
        "about": about,
        "question": "fit.code",
        "risk": "red" if mandatory_n else "unknown" if failed_n else "green",
        "answer": _summary(mandatory, len(found), effort, failed_n),
        "answered_at": context.file_time,
        "source": "kantra",
    }
    return [("services", service), ("answers", answer)]


def _is_ruleset(entry: Row) -> bool:
    """Return whether rules ran: a ruleset of tags alone says nothing of the code."""
    ran = ("violations", "unmatched", "errors")
    return isinstance(entry.get("name"), str) and any(entry.get(key) for key in ran)


def _violations(ruleset: Row) -> Iterator[tuple[str, str, int, float]]:
    for rule, violation in table(ruleset, "violations").items():
        places_n = max(len(dicts(violation, "incidents")), 1)
        category = text(violation, "category").lower()
        name = f"{text(ruleset, 'name')}/{rule}"
        yield name, category, places_n, number(violation, "effort") or 0.0


def _summary(
    mandatory: dict[str, int], rules_n: int, effort: float, failed_n: int
) -> str | None:
    named = ", ".join(sorted(mandatory)[:_NAMED])
    parts = [
        f"{sum(mandatory.values())} mandatory places",
        f"{rules_n} rules in all",
        f"effort {effort:g}",
        f"{failed_n} rules failed to run" * bool(failed_n),
        named,
    ]
    return words_of("; ".join(filter(None, parts)))
