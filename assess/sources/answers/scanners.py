"""Reports of scanners as evidence of the checks that they are about; never their totals.

What a finding is about is data, in `answer_checks.csv`. A finding about an image, or about a
container that the report only names, carries ``about``: whom it concerns, other sources tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from assess.image_ref import ImageRef, parse_image
from assess.sources.answers.forms import (
    Context,
    FrameRow,
    Rule,
    moment_of,
    words_of,
    worst,
)
from assess.sources.base import Row
from assess.sources.hosts.rows import text_of
from assess.sources.values import dicts, dig, texts

About = tuple[tuple[str, ...], ...]  # keys that workloads have, the surest first
SEVERITIES = ("critical", "high", "medium", "low")
_ID = re.compile(r"sha256:[0-9a-f]{64}")


def _answer(rule: Rule, risk: str, about: About, **values: Any) -> Row:
    return {"about": about, "question": rule.target, "risk": risk, **values}


def _kept(answers: Iterable[Row]) -> list[FrameRow]:
    return [("answers", row) for row in worst(answers)]


# ---- docker-bench-security ----


def of_docker_bench(report: Row, context: Context) -> list[FrameRow]:
    """Return the findings of the benchmark of one host, on its engine and its containers.

    The report does not name its host: the file does, or ``host_id``.
    """
    if "dockerbenchsecurity" not in report:
        return []
    when = (
        moment_of(report.get("end"))
        or moment_of(report.get("start"))
        or context.file_time
    )
    engine: Row = {"host_id": context.host_id, "runtime": "docker"}
    answers: list[Row] = []
    for test in (
        t for section in dicts(report.get("tests")) for t in dicts(section.get("results"))
    ):
        rule = context.rule(text_of(test.get("desc")))
        result = text_of(test.get("result")).upper()
        if rule is None or result not in rule.values:
            context.unmapped += rule is None
            continue
        if rule.is_column:
            engine[rule.target.partition(".")[2]] = _cell(rule.values[result])
            continue
        for item in texts(test.get("items")):
            about = _about_item(item, context.host_id)
            details = {
                "answer": f"{result}: {text_of(test.get('desc'))}",
                "answered_at": when,
            }
            answers.append(
                _answer(
                    rule, rule.values[result], about, source="docker-bench", **details
                )
            )
    rows = _kept(answers)
    return [("engines", engine), *rows] if len(engine) > 2 else rows


def _about_item(item: str, host_id: str) -> About:
    """Return what an item names: an image in brackets, or a container."""
    if image := re.fullmatch(r"\[(.+)\]", item.strip()):
        return _image_keys(parse_image(image[1]))
    return (("container", host_id, item.strip()),)


def _cell(text: str) -> Any:
    return {"true": True, "false": False}.get(text, int(text) if text.isdigit() else text)


# ---- Trivy ----


def of_trivy(report: Row, context: Context) -> list[FrameRow]:
    """Return the findings of a scan of one image, and its vulnerabilities by severity."""
    if "SchemaVersion" not in report or not isinstance(report.get("ArtifactName"), str):
        return []
    if report.get("ArtifactType") not in ("container_image", None):
        return []
    metadata = report.get("Metadata") if isinstance(report.get("Metadata"), dict) else {}
    image = _image_of(
        texts(dig(metadata, "RepoDigests")), texts(dig(metadata, "RepoTags"))
    )
    image = image if image.repository else parse_image(report["ArtifactName"])
    identifier = dig(metadata, "ImageID")
    identifier = (
        identifier if isinstance(identifier, str) and _ID.fullmatch(identifier) else ""
    )
    digest = image.digest or identifier
    results = list(dicts(report.get("Results")))
    row: Row = {
        "registry": image.registry,
        "repository": image.repository,
        "digest": digest,
        "host_id": "",
        "image_id": identifier or None,
        "arch": text_of(dig(metadata, "ImageConfig", "architecture")) or None,
        "created_at": moment_of(dig(metadata, "ImageConfig", "created")),
        **_vulnerabilities(results),
    }
    found: list[FrameRow] = [("images", row)] if image.repository and digest else []
    about = _image_keys(image, identifier)
    when = moment_of(report.get("CreatedAt")) or context.file_time
    answers = [
        _answer(rule, risk, about, answer=summary, answered_at=when, source="trivy")
        for result in results
        for rule, risk, summary in _findings(result, context)
    ]
    if any(dicts(result.get("Secrets")) for result in results) and _secrets_n(results):
        found.append(("services", {"about": about, "secrets_in_image": True}))
    return [*found, *_kept(answers)]


def _vulnerabilities(results: list[Row]) -> Row:
    """Count vulnerabilities by severity; nothing where no packages were looked at."""
    looked = [
        r
        for r in results
        if str(r.get("Class")).endswith("-pkgs") or "Vulnerabilities" in r
    ]
    if not looked:
        return {}
    seen = {
        tuple(
            text_of(v.get(n)) for n in ("VulnerabilityID", "PkgName", "InstalledVersion")
        ): v
        for result in looked
        for v in dicts(result.get("Vulnerabilities"))
    }
    counts = Counter(text_of(v.get("Severity")).lower() for v in seen.values())
    return {f"vuln_{severity}_n": counts[severity] for severity in SEVERITIES}


def _findings(result: Row, context: Context) -> Iterable[tuple[Rule, str, str]]:
    """Return the findings of checks; of secrets only the number, never the place or text."""
    for finding in dicts(result.get("Misconfigurations")):
        identifier = text_of(finding.get("ID")) or text_of(finding.get("AVDID"))
        rule = context.rule(identifier.removeprefix("AVD-"))
        status = text_of(finding.get("Status")).upper()
        context.unmapped += rule is None
        if rule and status in rule.values:
            yield rule, rule.values[status], f"{status}: {identifier}"
    if secrets_n := _secrets_n([result]):
        context.redacted += secrets_n
        if rule := context.rule("SECRET"):
            yield rule, rule.values.get("FAIL", "red"), f"{secrets_n} secrets found"


def _secrets_n(results: list[Row]) -> int:
    return sum(1 for result in results for _ in dicts(result.get("Secrets")))


# ---- OpenSSF Scorecard ----


def of_scorecard(report: Row, context: Context) -> list[FrameRow]:
    """Return the results of the checks of a repository; -1 is Scorecard's unknown."""
    name = text_of(dig(report, "repo", "name"))
    if not name or not isinstance(report.get("checks"), list):
        return []
    about = (("name", name.rstrip("/").rpartition("/")[2].removesuffix(".git")),)
    when = moment_of(report.get("date")) or context.file_time
    answers = []
    for check in dicts(report.get("checks")):
        rule, score = context.rule(text_of(check.get("name"))), check.get("score")
        if rule is None or isinstance(score, bool) or not isinstance(score, int | float):
            context.unmapped += 1
            continue
        risk = rule.of_number(score) if score >= 0 else "unknown"
        summary = f"{text_of(check.get('name'))}: {score} of 10"
        details = {
            "answer": summary,
            "answered_at": when,
            "source": "scorecard",
            "source_ref": name,
        }
        answers.append(_answer(rule, risk or "unknown", about, **details))
    return _kept(answers)


# ---- xeol ----


def of_xeol(report: Row, context: Context) -> list[FrameRow]:
    """Return whether an image has packages past their end of life."""
    target = dig(report, "source", "target")
    rule = context.rule("end of life")
    if (
        not isinstance(report.get("matches"), list)
        or not isinstance(target, dict)
        or rule is None
    ):
        return []
    tags = [text_of(target.get("userInput")), *texts(target.get("tags"))]
    image = _image_of(texts(target.get("repoDigests")), tags)
    about = _image_keys(image, text_of(target.get("imageID")))
    cycles = [dig(match, "Cycle") for match in dicts(report.get("matches"))]
    details = [
        [text_of(dig(c, n)) for n in ("ProductName", "ReleaseCycle", "Eol")]
        for c in cycles
    ]
    ended = sorted({f"{product} {cycle} ({day})" for product, cycle, day in details})
    when = moment_of(dig(report, "descriptor", "timestamp")) or context.file_time
    summary = words_of("; ".join(ended)) if ended else "no package past its end of life"
    risk = rule.values.get("EOL" if ended else "NONE", "unknown")
    return _kept(
        [_answer(rule, risk, about, answer=summary, answered_at=when, source="xeol")]
    )


def _image_of(digests: list[str], tags: list[str]) -> ImageRef:
    """Return the image of a scan: its digest in a repository, with a tag of it."""
    refs = [ref for text in digests if (ref := parse_image(text)).digest]
    tagged = [ref for text in tags if (ref := parse_image(text)).repository]
    if not refs:
        return tagged[0] if tagged else ImageRef()
    tag = next((t.tag for t in tagged if t.repository == refs[0].repository), None)
    return ImageRef(refs[0].registry, refs[0].repository, tag, refs[0].digest)


def _image_keys(image: ImageRef, identifier: str = "") -> About:
    """List the keys by which workloads that run an image are found."""
    place = (str(image.registry), str(image.repository))
    keys = (
        ("digest", image.digest or ""),
        ("digest", identifier),
        ("image", *place, image.tag or "latest") if image.repository else ("image", ""),
    )
    return tuple(key for key in keys if key[1])
