"""ECR: repositories, their images, indexes, lifecycle policies and findings of scans."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from assess import frames
from assess.sources.answers.vex import SEVERITIES
from assess.sources.aws import AwsSource, DumpPlace, Place
from assess.sources.base import Batch, Keyed, Lists, Row, Rows
from assess.sources.ecr.lifecycle import (
    ARCHIVE,
    STANDARD,
    Image,
    is_like,
    read_policy,
    would_expire,
)
from assess.sources.registry.rows import INDEXES, of_type
from assess.sources.values import (
    Words,
    by_name,
    dicts,
    dig,
    integer,
    joined,
    moment,
    picked,
    table,
    text,
    texts,
)

SCANNED = ("COMPLETE", "ACTIVE")  # ACTIVE: of the enhanced scan, which goes on
_SIGNATURES = ("cosign", "notary.signature", "sigstore.bundle")
_SIGNATURE_TAG = re.compile(r"sha256-(.*)\.sig")
_ATTESTATION = "unknown"  # the architecture that an index gives it
_STORAGE = {"ACTIVE": STANDARD, "ARCHIVED": ARCHIVE}
NO_POLICY = "LifecyclePolicyNotFoundException"
NO_SCAN = "ScanNotFoundException"
MANIFESTS_AT_ONCE = 100  # that AWS takes in one call
# A description does not mention scans of every kind. So the newest images of a repository are
# asked for one all the same; a few, as each is a request.
UNMENTIONED_SCANS = 5
PULLS = "reading indexes counts as a pull of them for ECR; manifests = false leaves them unread"
_ONE_PAGE = {"MaxItems": 1, "PageSize": 1}  # the counts are in each page
_UNLISTED = "images of repositories that are in no list are left out: list them all"
_NO_DIGEST = "sha256:" + 64 * "0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Index:
    """An index that was read: its annotations, and the descriptors of its children by digest."""

    annotations: Mapping[str, Any]
    children: Keyed


@dataclass
class Answers:
    """Objects from the calls of one place; None for calls without an answer."""

    repositories: Rows = field(default_factory=list)
    images: Rows = field(default_factory=list)
    policies: Rows | None = None  # without a text where a repository has none
    manifests: Rows = field(default_factory=list)
    scans: Rows = field(default_factory=list)
    is_complete: bool = True  # whether all images are listed
    seen_at: datetime | None = None  # when it was asked


@dataclass
class Repository:
    """What is known of one repository, by digest."""

    raw: Row
    images: Keyed
    indexes: dict[str, Index | None]  # None for an index that nobody read
    scans: Keyed
    policy: Row | None

    def __post_init__(self) -> None:
        self.name = text(self.raw, "repositoryName")
        # The host of the address is the registry: the account and the region are in it.
        self.registry = text(self.raw, "repositoryUri").partition("/")[0].lower()
        self.has_policy: bool | None = None
        if self.policy is not None:
            self.has_policy = "lifecyclePolicyText" in self.policy
        self.descriptors: Keyed = {}  # by child, of the first index that has it
        for index in self.indexes.values():
            self.descriptors = (index.children if index else {}) | self.descriptors


def is_index(image: Row) -> bool:
    """Return whether an image is an index of others, by its media type."""
    return image.get("imageManifestMediaType") in INDEXES


def to_indexes(manifests: Iterable[Row]) -> dict[tuple[str, str], Index]:
    """Read the manifests of indexes, by repository and digest; others are left out."""
    indexes = {}
    for payload in manifests:
        try:
            manifest = json.loads(text(payload, "imageManifest"))
        except (ValueError, RecursionError):
            continue
        digest = text(payload, "imageId", "imageDigest")
        # A media type alone is no proof: some tools call the manifest of one image an index.
        if not digest or not isinstance(dig(manifest, "manifests"), list):
            continue
        children = by_name(manifest, "manifests", key="digest")
        index = Index(table(manifest, "annotations"), children)
        indexes[text(payload, "repositoryName"), digest] = index
    return indexes


def to_images(answers: Answers) -> tuple[Rows, int]:
    """Return rows of the images frame, and the number of policies of an unknown form."""
    rows: Rows = []
    unmapped_n = 0
    for repository in to_repositories(answers):
        fates = _fates(repository, answers)
        unmapped_n += fates is None
        if not repository.registry:
            continue
        of_digest = {
            digest: _to_image(repository, digest) for digest in repository.images
        }
        for digest, row in of_digest.items():
            row["would_expire"] = (fates or {}).get(digest)
        _mark_signed(of_digest, repository, is_complete=answers.is_complete)
        _add_findings_of_indexes(of_digest, repository)
        rows += of_digest.values()
    return rows, unmapped_n


def to_repositories(answers: Answers) -> Iterator[Repository]:
    """Group what was listed by repository."""
    images: dict[str, Keyed] = defaultdict(dict)
    scans: dict[str, Keyed] = defaultdict(dict)
    for image in answers.images:
        if digest := text(image, "imageDigest"):
            images[text(image, "repositoryName")][digest] = image
    for scan in answers.scans:
        if dig(scan, "imageScanStatus", "status") in SCANNED:
            digest = text(scan, "imageId", "imageDigest")
            scans[text(scan, "repositoryName")][digest] = scan
    indexes = to_indexes(answers.manifests)
    policies = {text(p, "repositoryName"): p for p in answers.policies or ()}
    for raw in answers.repositories:
        name = text(raw, "repositoryName")
        named = images[name]
        read = {
            d: indexes.get((name, d)) for d, image in named.items() if is_index(image)
        }
        yield Repository(raw, named, read, scans[name], policies.get(name))


def _to_image(repository: Repository, digest: str) -> Row:
    """Return the row of one image, without what depends on the other images."""
    image = repository.images[digest]
    own = picked(image, "ecr image")
    return frames.row(
        "images",
        registry=repository.registry,
        repository=repository.name,
        host_id="",
        location="registry",
        lifecycle_policy=repository.has_policy,
        tags=joined(_tags(image)),
        **own,
        **of_type(own["media_type"]),
        immutable_tags=_is_immutable(repository.raw, image),
        dangling=_is_dangling(repository, digest),
        **_findings(image, repository.scans.get(digest)),
        **_annotated(repository, digest),
    )


def _tags(image: Row) -> Words:
    return tuple(sorted(texts(image, "imageTags")))


def _findings(image: Row, scan: Row | None) -> Row:
    """Return the findings of the scan of an image; nothing where it was not scanned."""
    status = text(image, "imageScanStatus", "status")
    counts = dig(image, "imageScanFindingsSummary", "findingSeverityCounts")
    if not isinstance(counts, dict) and scan:
        status = text(scan, "imageScanStatus", "status")
        counts = dig(scan, "imageScanFindings", "findingSeverityCounts")
    # A failed scan keeps the counts of an older one.
    if not isinstance(counts, dict) or (status and status not in SCANNED):
        return {}
    return {f"vuln_{s}_n": integer(counts.get(s.upper(), 0)) for s in SEVERITIES}


def _annotated(repository: Repository, digest: str) -> Row:
    """Return the columns in the annotations of an index, or in its descriptor of a child."""
    descriptor = repository.descriptors.get(digest, {})
    index = repository.indexes.get(digest)
    notes = index.annotations if index else descriptor.get("annotations")
    arch = text(descriptor, "platform", "architecture")
    return {
        "arch": arch if arch not in ("", _ATTESTATION) else None,
        "created_at": moment(notes, "org.opencontainers.image.created"),
        **picked(notes, "image base"),
    }


def _is_dangling(repository: Repository, digest: str) -> bool | None:
    """Return whether neither a tag nor an index nor a subject keeps an image; None where open."""
    image = repository.images[digest]
    is_child = digest in repository.descriptors
    if is_child or _tags(image) or image.get("subjectManifestDigest"):
        return False
    # An index that nobody read may refer to any image that is no index itself.
    is_open = None in repository.indexes.values() and digest not in repository.indexes
    return None if is_open else True


def _is_immutable(repository: Row, image: Row) -> bool | None:
    """Return whether the tags of an image cannot be moved; some repositories except patterns."""
    setting = text(repository, "imageTagMutability")
    if not setting.startswith(("IMMUTABLE", "MUTABLE")):
        return None
    is_immutable = setting.startswith("IMMUTABLE")
    if not setting.endswith("_WITH_EXCLUSION"):
        return is_immutable
    filters = dicts(repository, "imageTagMutabilityExclusionFilters")
    patterns = [text(f, "filter").split("*") for f in filters]
    tags = _tags(image)
    excepted = [any(is_like(tag, pattern) for pattern in patterns) for tag in tags]
    return not any(excepted) if is_immutable else bool(tags) and all(excepted)


def _fates(repository: Repository, answers: Answers) -> Mapping[str, bool | None] | None:
    """Return by digest whether the policy would expire an image; None if its form is unknown."""
    if repository.policy is None:
        return {}
    if not repository.has_policy:
        return dict.fromkeys(repository.images, False)
    rules = read_policy(repository.policy["lifecyclePolicyText"])
    if rules is None:
        return None
    # A count rule needs all images, and an age rule a time.
    if not answers.is_complete or answers.seen_at is None:
        return {}
    images = [
        Image(
            digest=digest,
            tags=_tags(image),
            storage=_STORAGE.get(text(image, "imageStatus") or "ACTIVE"),
            **picked(image, "ecr lifecycle"),
        )
        for digest, image in repository.images.items()
    ]
    children = {
        digest: frozenset(index.children) if index else None
        for digest, index in repository.indexes.items()
    }
    return would_expire(rules, images, children, answers.seen_at)


def _mark_signed(rows: Keyed, repository: Repository, *, is_complete: bool) -> None:
    """Write whether a signature refers to an image; a signature itself has no answer."""
    signed: set[str] = set()
    signatures: set[str] = set()
    for digest, image in repository.images.items():
        kinds = text(image, "artifactMediaType")
        kinds += text(image, "imageManifestMediaType")
        # cosign's older way: the tag of a signature is the digest that it signs
        matches = (_SIGNATURE_TAG.fullmatch(tag) for tag in _tags(image))
        tagged = {f"sha256:{match[1]}" for match in matches if match}
        if tagged or any(word in kinds for word in _SIGNATURES):
            signatures.add(digest)
            signed |= tagged | {text(image, "subjectManifestDigest")}
    for digest, index in repository.indexes.items():
        if index and digest in signed:  # who signs an index signs what it refers to
            signed |= set(index.children)
    for digest, row in rows.items():
        # An image that is not listed may be the signature of another one.
        row["signed"] = False if is_complete else None
        if digest in signed:
            row["signed"] = True
        if digest in signatures:
            row["signed"] = None


def _add_findings_of_indexes(rows: Keyed, repository: Repository) -> None:
    """Write for an index the findings of its worst image, where all its images were scanned."""
    for digest, index in repository.indexes.items():
        parts = [
            rows.get(child, {})
            for child, descriptor in (index.children.items() if index else ())
            if dig(descriptor, "platform", "architecture") != _ATTESTATION
        ]
        for severity in SEVERITIES:
            column = f"vuln_{severity}_n"
            counts: list[Any] = [part.get(column) for part in parts]
            if counts and None not in counts:
                rows[digest].setdefault(column, max(counts))


class EcrSource(AwsSource):
    """Reads what the private registries of ECR hold."""

    type = "ecr"

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        rows, unmapped_n = to_images(get_all(place))
        batch = Batch()
        batch.add("images", *rows)
        place.add(batch)
        if unmapped_n:
            call = place.call("ecr", "get_lifecycle_policy")
            call.count(unmapped_n=unmapped_n)
            hint = "policies of a form that nobody knows: what they expire is left open"
            call.status("partial", hint)


def get_all(place: Place) -> Answers:
    """Ask for all that a registry holds; without a repository, for nothing else."""
    repositories = place.ask("ecr", "describe_repositories", "repositories") or []
    names = [name for r in repositories if (name := text(r, "repositoryName"))]
    if not names and not isinstance(place, DumpPlace):
        return Answers()
    each = ("repositoryName", names)
    # ECR leaves archived images out by default.
    params: Row = {"filter": {"imageStatus": "ANY"}}
    listing = ("ecr", "describe_images", "imageDetails")
    images = place.ask_each(*listing, *each, **params) or []
    described = place.call("ecr", "describe_images").row
    if names and {text(image, "repositoryName") for image in images} - {*names}:
        place.call("ecr", "describe_repositories").status("partial", _UNLISTED)
    # Policies go by age: in a dump, the age at the time of the dump.
    age = timedelta(hours=described.get("age_hours", 0))
    is_read = place.options.get("manifests", True)
    return Answers(
        repositories=repositories,
        images=images,
        policies=place.ask_each(
            "ecr", "get_lifecycle_policy", "", *each, absent=NO_POLICY
        ),
        manifests=list(get_manifests(place, images)) if is_read else [],
        scans=list(get_scans(place, images)),
        is_complete=described["status"] in ("ok", "empty"),
        seen_at=datetime.now(UTC) - age,
    )


def get_manifests(place: Place, images: Rows) -> Iterator[Row]:
    """Read the indexes of repositories with untagged images: only they tell what those are for."""
    # Elsewhere no answer depends on them, and for ECR to read one is to pull it, which
    # its policies may count.
    if isinstance(place, DumpPlace):
        if any(map(is_index, images)) and any(map(_may_be_child, images)):
            yield from place.ask("ecr", "batch_get_image", "images") or ()
        return
    for name, newest_first in _by_repository(images).items():
        digests = [image["imageDigest"] for image in newest_first if is_index(image)]
        if not digests or not any(map(_may_be_child, newest_first)):
            continue
        if place.is_probe:
            # Asking for what does not exist shows the permission without a pull.
            digests = [_NO_DIGEST]
        else:
            place.call("ecr", "batch_get_image").hint(PULLS)
        for start in range(0, len(digests), MANIFESTS_AT_ONCE):
            chunk = digests[start : start + MANIFESTS_AT_ONCE]
            params: Row = {
                "repositoryName": name,
                "imageIds": [{"imageDigest": digest} for digest in chunk],
                "acceptedMediaTypes": list(INDEXES),
            }
            manifests = place.ask("ecr", "batch_get_image", "images", **params)
            if manifests is None:
                return
            yield from manifests
        if place.is_probe:
            return


def _may_be_child(image: Row) -> bool:
    """Return whether only an index can tell if an image is used."""
    is_tagged = bool(image.get("imageTags"))
    return not (is_tagged or image.get("subjectManifestDigest") or is_index(image))


def get_scans(place: Place, images: Rows) -> Iterator[Row]:
    """Ask for the findings of scans that the description of an image leaves out."""
    if isinstance(place, DumpPlace):
        if not all(dig(image, "imageScanFindingsSummary") for image in images):
            yield from place.ask("ecr", "describe_image_scan_findings", "") or ()
        return
    call = ("ecr", "describe_image_scan_findings", "", "repositoryName")
    for name, newest_first in _by_repository(images).items():
        for image in _of_scans_left_out(newest_first):
            params: Row = {
                "imageId": {"imageDigest": image["imageDigest"]},
                "PaginationConfig": _ONE_PAGE,
            }
            findings = place.ask_each(*call, [name], absent=NO_SCAN, **params)
            if findings is None or place.is_probe:
                return
            yield from findings


def _of_scans_left_out(images: Iterable[Row]) -> Iterator[Row]:
    """List the images of a repository, newest first, that have a scan without a summary here."""
    unmentioned_n = 0
    for image in images:
        if isinstance(dig(image, "imageScanFindingsSummary"), dict):
            continue
        status = text(image, "imageScanStatus", "status")
        if status in SCANNED:
            yield image
        elif not status:
            unmentioned_n += 1
            if unmentioned_n <= UNMENTIONED_SCANS and not is_index(image):
                yield image


def _by_repository(images: Iterable[Row]) -> Lists:
    groups: Lists = defaultdict(list)
    for image in images:
        if text(image, "imageDigest") and text(image, "repositoryName"):
            groups[image["repositoryName"]].append(image)
    for group in groups.values():
        group.sort(key=lambda i: moment(i, "imagePushedAt") or _EPOCH, reverse=True)
    return groups
