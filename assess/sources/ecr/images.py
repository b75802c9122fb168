"""From payloads of ECR to rows of the images frame."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assess.sources.base import Row
from assess.sources.ecr.lifecycle import (
    ARCHIVE,
    STANDARD,
    Image,
    is_like,
    read_policy,
    would_expire,
)
from assess.sources.values import dicts, dig, integer, moment, text, texts

SEVERITIES = ("critical", "high", "medium", "low")
SCANNED = ("COMPLETE", "ACTIVE")  # ACTIVE: of the enhanced scan, which goes on
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
class Index:
    """An index that was read: its annotations, and the descriptors of its children by digest."""

    annotations: Mapping[str, Any]
    children: dict[str, Row]


@dataclass
class Answers:
    """Objects that the calls of one place list; None where nobody may know."""

    repositories: list[Row] = field(default_factory=list)
    images: list[Row] = field(default_factory=list)
    policies: list[Row] | None = None  # without a text where a repository has none
    manifests: list[Row] = field(default_factory=list)
    scans: list[Row] = field(default_factory=list)
    is_complete: bool = True  # whether all images are listed
    seen_at: datetime | None = None  # when it was asked


@dataclass
class Repository:
    """What is known of one repository, by digest."""

    raw: Row
    images: dict[str, Row]
    indexes: dict[str, Index | None]  # None for an index that nobody read
    scans: dict[str, Row]
    policy: Row | None

    def holders(self, digest: str) -> list[Index]:
        """List the indexes that refer to an image."""
        return [
            index for index in self.indexes.values() if index and digest in index.children
        ]


def is_index(image: Row) -> bool:
    """Return whether an image is an index of others, by its media type."""
    return image.get("imageManifestMediaType") in INDEXES


def to_indexes(manifests: Iterable[Row]) -> dict[tuple[str, str], Index]:
    """Read the manifests of indexes, by repository and digest; others are left out."""
    indexes = {}
    for payload in manifests:
        try:
            manifest = json.loads(text(payload.get("imageManifest")))
        except (ValueError, RecursionError):
            continue
        digest = text(dig(payload, "imageId", "imageDigest"))
        # A media type alone is no proof: some tools call the manifest of one image an index.
        if not digest or not isinstance(dig(manifest, "manifests"), list):
            continue
        annotations = dig(manifest, "annotations")
        children = {
            child["digest"]: child
            for child in dicts(manifest["manifests"])
            if text(child.get("digest"))
        }
        index = Index(annotations if isinstance(annotations, dict) else {}, children)
        indexes[text(payload.get("repositoryName")), digest] = index
    return indexes


def to_images(answers: Answers) -> tuple[list[Row], int]:
    """Return rows of the images frame, and the number of policies of an unknown form."""
    rows: list[Row] = []
    unmapped_n = 0
    for repository in to_repositories(answers):
        fates, is_known = _fates(repository, answers)
        unmapped_n += not is_known
        # The host of the address is the registry: the account and the region are in it.
        registry = text(repository.raw.get("repositoryUri")).partition("/")[0].lower()
        if not registry:
            continue
        policy = repository.policy
        common = {
            "registry": registry,
            "repository": text(repository.raw.get("repositoryName")),
            "host_id": "",
            "location": "registry",
            "lifecycle_policy": None
            if policy is None
            else "lifecyclePolicyText" in policy,
        }
        made = {
            digest: common
            | _to_image(repository, digest)
            | {"would_expire": fates.get(digest)}
            for digest in repository.images
        }
        _mark_signed(made, repository, is_complete=answers.is_complete)
        _add_findings_of_indexes(made, repository)
        rows += made.values()
    return rows, unmapped_n


def to_repositories(answers: Answers) -> Iterator[Repository]:
    """Group what was listed by repository."""
    images: dict[str, dict[str, Row]] = defaultdict(dict)
    for image in answers.images:
        if digest := text(image.get("imageDigest")):
            images[text(image.get("repositoryName"))][digest] = image
    scans: dict[str, dict[str, Row]] = defaultdict(dict)
    for scan in answers.scans:
        if dig(scan, "imageScanStatus", "status") in SCANNED:
            digest = text(dig(scan, "imageId", "imageDigest"))
            scans[text(scan.get("repositoryName"))][digest] = scan
    indexes = to_indexes(answers.manifests)
    policies = {text(p.get("repositoryName")): p for p in answers.policies or ()}
    for raw in answers.repositories:
        name = text(raw.get("repositoryName"))
        own = images.get(name, {})
        read = {d: indexes.get((name, d)) for d, image in own.items() if is_index(image)}
        yield Repository(raw, own, read, scans.get(name, {}), policies.get(name))


def _to_image(repository: Repository, digest: str) -> Row:
    """Return the row of one image, without what depends on the other images."""
    image = repository.images[digest]
    media_type = text(image.get("imageManifestMediaType"))
    schemas = (
        schema for start, schema in _SCHEMAS.items() if media_type.startswith(start)
    )
    return {
        "digest": digest,
        "tags": ";".join(_tags(image)) or None,
        "media_type": media_type or None,
        "schema": next(schemas, None),
        "is_index": media_type in INDEXES if media_type else None,
        "size_bytes": integer(image.get("imageSizeInBytes")),
        "pushed_at": moment(image.get("imagePushedAt")),
        "last_pulled_at": moment(image.get("lastRecordedPullTime")),
        "immutable_tags": _is_immutable(repository.raw, image),
        "dangling": _is_dangling(repository, digest),
        **_findings(image, repository.scans.get(digest)),
        **_annotated(repository, digest),
    }


def _tags(image: Row) -> tuple[str, ...]:
    return tuple(sorted(texts(image.get("imageTags"))))


def _findings(image: Row, scan: Row | None) -> Row:
    """Return the findings of the scan of an image; nothing where it was not scanned."""
    status = text(dig(image, "imageScanStatus", "status"))
    counts = dig(image, "imageScanFindingsSummary", "findingSeverityCounts")
    if not isinstance(counts, dict) and scan is not None:
        status = text(dig(scan, "imageScanStatus", "status"))
        counts = dig(scan, "imageScanFindings", "findingSeverityCounts")
    # A failed scan keeps the counts of an older one.
    if not isinstance(counts, dict) or (status and status not in SCANNED):
        return {}
    return {f"vuln_{s}_n": integer(counts.get(s.upper(), 0)) for s in SEVERITIES}


def _annotated(repository: Repository, digest: str) -> Row:
    """Return the columns that an index tells: of itself, or in its descriptor of a child."""
    holders = repository.holders(digest)
    descriptor = holders[0].children[digest] if holders else {}
    own = repository.indexes.get(digest)
    notes = own.annotations if own else dig(descriptor, "annotations")
    arch = text(dig(descriptor, "platform", "architecture"))
    return {
        "arch": arch if arch not in ("", "unknown") else None,  # unknown: an attestation
        "created_at": moment(dig(notes, _OCI + "created")),
        "base_name": text(dig(notes, _OCI + "base.name")) or None,
        "base_digest": text(dig(notes, _OCI + "base.digest")) or None,
    }


def _is_dangling(repository: Repository, digest: str) -> bool | None:
    """Return whether neither a tag nor an index nor a subject keeps an image; None where open."""
    image = repository.images[digest]
    if repository.holders(digest) or _tags(image) or image.get("subjectManifestDigest"):
        return False
    # An index that nobody read may refer to any image that is no index itself.
    is_open = None in repository.indexes.values() and digest not in repository.indexes
    return None if is_open else True


def _is_immutable(repository: Row, image: Row) -> bool | None:
    """Return whether the tags of an image cannot be moved; some repositories except patterns."""
    setting = text(repository.get("imageTagMutability"))
    if not setting.startswith(("IMMUTABLE", "MUTABLE")):
        return None
    is_immutable = setting.startswith("IMMUTABLE")
    if not setting.endswith("_WITH_EXCLUSION"):
        return is_immutable
    filters = dicts(repository.get("imageTagMutabilityExclusionFilters"))
    patterns = [text(f.get("filter")).split("*") for f in filters]
    tags = _tags(image)
    excepted = [any(is_like(tag, pattern) for pattern in patterns) for tag in tags]
    return not any(excepted) if is_immutable else bool(tags) and all(excepted)


def _fates(
    repository: Repository, answers: Answers
) -> tuple[Mapping[str, bool | None], bool]:
    """Return what the policy would expire, by digest, and whether its form is known."""
    if repository.policy is None:
        return {}, True
    if "lifecyclePolicyText" not in repository.policy:
        return dict.fromkeys(repository.images, False), True
    rules = read_policy(repository.policy["lifecyclePolicyText"])
    if rules is None:
        return {}, False
    # A count rule needs all images, and an age rule a time.
    if not answers.is_complete or answers.seen_at is None:
        return {}, True
    images = [to_lifecycle(digest, image) for digest, image in repository.images.items()]
    children = {
        digest: frozenset(index.children) if index else None
        for digest, index in repository.indexes.items()
    }
    return would_expire(rules, images, children, answers.seen_at), True


def to_lifecycle(digest: str, image: Row) -> Image:
    """Return what a lifecycle policy reads of an image."""
    status = text(image.get("imageStatus")) or "ACTIVE"
    return Image(
        digest=digest,
        tags=_tags(image),
        pushed_at=moment(image.get("imagePushedAt")),
        pulled_at=moment(image.get("lastRecordedPullTime")),
        storage=_STORAGE.get(status),
        archived_at=moment(image.get("lastArchivedAt")),
        activated_at=moment(image.get("lastActivatedAt")),
        subject=text(image.get("subjectManifestDigest")) or None,
    )


def _mark_signed(
    rows: dict[str, Row], repository: Repository, *, is_complete: bool
) -> None:
    """Write whether a signature refers to an image; a signature itself has no answer."""
    signed: set[str] = set()
    signatures: set[str] = set()
    for digest, image in repository.images.items():
        kinds = text(image.get("artifactMediaType"))
        kinds += text(image.get("imageManifestMediaType"))
        # cosign's older way: the tag of a signature is the digest that it signs
        tagged = {
            tag.removesuffix(".sig").replace("-", ":", 1)
            for tag in _tags(image)
            if tag.endswith(".sig") and tag.startswith("sha256-")
        }
        if tagged or any(word in kinds for word in _SIGNATURES):
            signatures.add(digest)
            signed |= tagged | {text(image.get("subjectManifestDigest"))}
    for digest, index in repository.indexes.items():
        if index and digest in signed:  # who signs an index signs what it refers to
            signed |= set(index.children)
    for digest, row in rows.items():
        if digest in signatures:
            row["signed"] = None
        elif digest in signed:
            row["signed"] = True
        else:  # an image that is not listed may be its signature
            row["signed"] = False if is_complete else None


def _add_findings_of_indexes(rows: dict[str, Row], repository: Repository) -> None:
    """Write for an index the findings of its worst image, where all its images were scanned."""
    for digest, index in repository.indexes.items():
        parts = [
            rows.get(child, {})
            for child, descriptor in (index.children.items() if index else ())
            if dig(descriptor, "platform", "architecture") != "unknown"  # an attestation
        ]
        for severity in SEVERITIES:
            column = f"vuln_{severity}_n"
            counts = [n for part in parts if (n := part.get(column)) is not None]
            if counts and len(counts) == len(parts):
                rows[digest].setdefault(column, max(counts))
