"""From payloads of ECR to rows of the images frame."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assess.sources.base import Row
from assess.sources.docker.payload import Payload, moment, texts
from assess.sources.dumps import dicts, dig
from assess.sources.ecr.lifecycle import (
    ARCHIVE,
    STANDARD,
    Image,
    is_like,
    read_policy,
    would_expire,
)
from assess.sources.ecs.definition import count_of, text_of

SEVERITIES = ("critical", "high", "medium", "low")
SCANNED = ("COMPLETE", "ACTIVE")
INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_SCHEMAS = {
    "application/vnd.docker.distribution.manifest.v1": "1",
    "application/vnd.docker.distribution.manifest.v2": "2",
    "application/vnd.docker.distribution.manifest.list.v2": "2",
    "application/vnd.oci.": "oci",
}
_SIGNATURES = ("cosign", "notary.signature", "sigstore.bundle")
_STORAGE = {"ACTIVE": STANDARD, "ARCHIVED": ARCHIVE}
_OCI = "org.opencontainers.image."


@dataclass
class Payloads:
    """What ECR told of one place; None is what nobody could tell."""

    repositories: list[Payload] = field(default_factory=list)
    images: list[Payload] = field(default_factory=list)
    policies: list[Payload] | None = (
        None  # one without a text stands for a repository with none
    )
    manifests: list[Payload] = field(default_factory=list)
    scans: list[Payload] = field(default_factory=list)
    is_complete: bool = True  # whether all images are listed
    seen_at: datetime | None = None  # when it was asked


@dataclass
class Index:
    """An index that was read: what it refers to, and what it says of that."""

    annotations: Mapping[str, Any]
    children: dict[str, Payload]  # descriptors by digest


def is_index(image: Payload) -> bool:
    """Say whether an image is an index of others, by its media type."""
    return image.get("imageManifestMediaType") in INDEXES


def to_indexes(manifests: Iterable[Payload]) -> dict[tuple[str, str], Index]:
    """Read manifests of indexes, by repository and digest; what is none is left out."""
    found = {}
    for payload in manifests:
        try:
            manifest = json.loads(text_of(payload.get("imageManifest")))
        except (ValueError, RecursionError):
            continue
        entries = [
            d for d in dicts(dig(manifest, "manifests")) if text_of(d.get("digest"))
        ]
        digest = text_of(dig(payload, "imageId", "imageDigest"))
        if digest and isinstance(dig(manifest, "manifests"), list):
            notes = dig(manifest, "annotations")
            index = Index(
                notes if isinstance(notes, dict) else {},
                {d["digest"]: d for d in entries},
            )
            found[text_of(payload.get("repositoryName")), digest] = index
    return found


def to_images(payloads: Payloads) -> tuple[list[Row], int]:
    """Give the rows of the images frame, and how many policies have a form that is not known."""
    images: dict[str, dict[str, Payload]] = defaultdict(dict)
    for image in payloads.images:
        if digest := text_of(image.get("imageDigest")):
            images[text_of(image.get("repositoryName"))][digest] = image
    indexes, scans = to_indexes(payloads.manifests), _scans(payloads.scans)
    policies = {text_of(p.get("repositoryName")): p for p in payloads.policies or ()}
    rows: list[Row] = []
    unmapped = 0
    for repository in payloads.repositories:
        name, place = text_of(repository.get("repositoryName")), _place(repository)
        held = images.get(name, {})
        own = {d: index for (where, d), index in indexes.items() if where == name}
        children = {d: own.get(d) for d, image in held.items() if is_index(image)}
        policy = policies.get(name)
        fates, is_known = _fates(policy, held, children, payloads)
        unmapped += not is_known
        columns = {
            "registry": place,
            "repository": name,
            "host_id": "",
            "location": "registry",
            "lifecycle_policy": None
            if policy is None
            else "lifecyclePolicyText" in policy,
        }
        made = [
            columns
            | _to_image(image, scans.get((name, digest)))
            | _of_index(digest, image, children)
            | {"immutable_tags": _immutable(repository, image)}
            | {"would_expire": fates.get(digest)}
            for digest, image in held.items()
        ]
        _sign(made, held, children, is_complete=payloads.is_complete)
        _weigh(made, children)
        rows += made if place else []
    return rows, unmapped


def _place(repository: Payload) -> str:
    """Give the registry of a repository: the host of its address."""
    return text_of(repository.get("repositoryUri")).partition("/")[0].lower()


def _tags(image: Payload) -> tuple[str, ...]:
    return tuple(sorted(texts(image.get("imageTags"))))


def _to_image(image: Payload, scanned: Payload | None) -> Row:
    """Give the columns that the description of an image fills, and those of its scan."""
    media_type = text_of(image.get("imageManifestMediaType"))
    status = text_of(dig(image, "imageScanStatus", "status"))
    summary = dig(image, "imageScanFindingsSummary", "findingSeverityCounts")
    if not isinstance(summary, dict) and scanned is not None:
        status = text_of(dig(scanned, "imageScanStatus", "status")) or SCANNED[0]
        summary = dig(scanned, "imageScanFindings", "findingSeverityCounts")
    counts: Row = {}
    if isinstance(summary, dict) and (not status or status in SCANNED):
        counts = {f"vuln_{s}_n": count_of(summary.get(s.upper(), 0)) for s in SEVERITIES}
    schemas = (
        schema for start, schema in _SCHEMAS.items() if media_type.startswith(start)
    )
    return {
        "digest": image["imageDigest"],
        "tags": ";".join(_tags(image)) or None,
        "media_type": media_type or None,
        "schema": next(schemas, None),
        "is_index": media_type in INDEXES if media_type else None,
        "size_bytes": count_of(image.get("imageSizeInBytes")),
        "pushed_at": moment(image.get("imagePushedAt")),
        "last_pulled_at": moment(image.get("lastRecordedPullTime")),
        **counts,
    }


def _of_index(digest: str, image: Payload, children: Mapping[str, Index | None]) -> Row:
    """Give the columns that depend on indexes: their own notes, and whose children images are."""
    holders = {
        d: index for d, index in children.items() if index and digest in index.children
    }
    descriptor = next((i.children[digest] for i in holders.values()), {})
    own = children.get(digest)
    notes: Mapping[str, Any] = (
        own.annotations if own else dig(descriptor, "annotations") or {}
    )
    notes = notes if isinstance(notes, dict) else {}
    arch = text_of(dig(descriptor, "platform", "architecture"))
    is_held = (
        bool(holders) or bool(_tags(image)) or bool(image.get("subjectManifestDigest"))
    )
    # An index that nobody could read may hold any image that is none itself.
    is_open = None in children.values() and digest not in children
    return {
        "dangling": False if is_held else None if is_open else True,
        "arch": arch if arch not in ("", "unknown") else None,
        "created_at": moment(notes.get(_OCI + "created")),
        "base_name": text_of(notes.get(_OCI + "base.name")) or None,
        "base_digest": text_of(notes.get(_OCI + "base.digest")) or None,
    }


def _immutable(repository: Payload, image: Payload) -> bool | None:
    """Say whether the tags of an image cannot be moved; some repositories except patterns."""
    setting = text_of(repository.get("imageTagMutability"))
    if not setting.startswith(("IMMUTABLE", "MUTABLE")):
        return None
    is_immutable = setting.startswith("IMMUTABLE")
    if not setting.endswith("_WITH_EXCLUSION"):
        return is_immutable
    filters = dicts(repository.get("imageTagMutabilityExclusionFilters"))
    patterns = [text_of(f.get("filter")).split("*") for f in filters]
    tags = _tags(image)
    excepted = [any(is_like(tag, pattern) for pattern in patterns) for tag in tags]
    return not any(excepted) if is_immutable else bool(tags) and all(excepted)


def _fates(
    policy: Payload | None,
    held: Mapping[str, Payload],
    children: Mapping[str, Index | None],
    payloads: Payloads,
) -> tuple[Mapping[str, bool | None], bool]:
    """Say what the policy of a repository would expire, and whether its form is known."""
    if policy is None:
        return {}, True
    if "lifecyclePolicyText" not in policy:
        return dict.fromkeys(held, False), True
    rules = read_policy(policy["lifecyclePolicyText"])
    if rules is None:
        return {}, False
    if not payloads.is_complete or payloads.seen_at is None:
        return {}, True
    images = [to_lifecycle(image) for image in held.values()]
    digests = {d: frozenset(i.children) if i else None for d, i in children.items()}
    return would_expire(rules, images, digests, payloads.seen_at), True


def to_lifecycle(image: Payload) -> Image:
    """Give what a lifecycle policy looks at."""
    status = text_of(image.get("imageStatus")) or "ACTIVE"
    return Image(
        digest=image["imageDigest"],
        tags=_tags(image),
        pushed_at=moment(image.get("imagePushedAt")),
        pulled_at=moment(image.get("lastRecordedPullTime")),
        storage=_STORAGE.get(status),
        archived_at=moment(image.get("lastArchivedAt")),
        activated_at=moment(image.get("lastActivatedAt")),
        subject=text_of(image.get("subjectManifestDigest")) or None,
    )


def _sign(
    rows: list[Row],
    held: Mapping[str, Payload],
    children: Mapping[str, Index | None],
    *,
    is_complete: bool,
) -> None:
    """Say of every image whether a signature refers to it, or is tagged with its digest."""
    signed, signatures = set(), set()
    for digest, image in held.items():
        kind = text_of(image.get("artifactMediaType")) + text_of(
            image.get("imageManifestMediaType")
        )
        tagged = {
            tag.removesuffix(".sig").replace("-", ":", 1)
            for tag in _tags(image)
            if tag.endswith(".sig") and tag.startswith("sha256-")
        }
        if tagged or any(word in kind for word in _SIGNATURES):
            signatures.add(digest)
            signed |= tagged | {text_of(image.get("subjectManifestDigest"))}
    for digest, index in children.items():  # who signs an index signs what it refers to
        signed |= set(index.children) if index and digest in signed else set()
    for row in rows:
        is_signed = row["digest"] in signed or (False if is_complete else None)
        row["signed"] = None if row["digest"] in signatures else is_signed


def _weigh(rows: list[Row], children: Mapping[str, Index | None]) -> None:
    """Give an index the findings of its worst image, where all of its images were scanned."""
    by_digest = {row["digest"]: row for row in rows}
    for digest, index in children.items():
        parts = [
            by_digest.get(child, {})
            for child, descriptor in (index.children.items() if index else ())
            if dig(descriptor, "platform", "architecture") != "unknown"  # no attestation
        ]
        for severity in SEVERITIES:
            column = f"vuln_{severity}_n"
            counts = [n for part in parts if (n := part.get(column)) is not None]
            if counts and len(counts) == len(parts):
                by_digest[digest].setdefault(column, max(counts))


def _scans(scans: Iterable[Payload]) -> dict[tuple[str, str], Payload]:
    """Give the scans that are done, by repository and digest."""
    return {
        (text_of(s.get("repositoryName")), text_of(dig(s, "imageId", "imageDigest"))): s
        for s in scans
        if dig(s, "imageScanStatus", "status") in SCANNED
    }
