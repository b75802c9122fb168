"""ECR: repositories, their images, indexes, lifecycle policies and findings of scans."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from assess.sources.aws import AwsSource, DumpPlace, Place
from assess.sources.base import Batch, Lists, Row, Rows
from assess.sources.ecr.images import SCANNED, Answers, is_index, to_images
from assess.sources.registry.rows import INDEXES
from assess.sources.values import dig, moment, text

NO_POLICY = "LifecyclePolicyNotFoundException"
NO_SCAN = "ScanNotFoundException"
MANIFESTS_AT_ONCE = 100  # that AWS takes in one call
# A description does not mention scans of every kind. So the newest images of a repository are
# asked for one all the same; a few, as each is a request.
UNMENTIONED_SCANS = 5
PULLS = "reading indexes counts as a pull of them for ECR; manifests = false leaves them unread"
_ONE_PAGE = {"MaxItems": 1, "PageSize": 1}  # the counts are in each page
_NO_DIGEST = "sha256:" + 64 * "0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    images = place.ask_each("ecr", "describe_images", "imageDetails", *each, **params)
    images = images or []
    described = place.call("ecr", "describe_images").row
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
