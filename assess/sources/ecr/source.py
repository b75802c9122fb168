"""ECR: repositories, their images, indexes, lifecycle policies and findings of scans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from assess.sources.aws.source import OPTIONS, AwsSource, DumpPlace, Place
from assess.sources.base import Row
from assess.sources.docker.payload import Payload, moment
from assess.sources.dumps import dig
from assess.sources.ecr.rows import INDEXES, SCANNED, Payloads, is_index, to_images
from assess.sources.ecs.definition import text_of

NO_POLICY = "LifecyclePolicyNotFoundException"
NO_SCAN = "ScanNotFoundException"
MANIFESTS_AT_ONCE = 100
SCANS_UNTOLD = (
    5  # newest images of a repository that are asked for a scan nobody mentioned
)
PULLS = "reading indexes counts as a pull of them for ECR; manifests = false leaves them unread"
_NOBODY = "sha256:" + 64 * "0"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class EcrSource(AwsSource):
    """Reads what the private registries of ECR hold."""

    type = "ecr"
    options = (*OPTIONS, "manifests")
    fills = ("images",)
    dump = (
        "aws ecr describe-repositories > describe-repositories.json; for every repository R "
        "describe-images --filter imageStatus=ANY > describe-images-R.json and get-lifecycle-policy"
        """ > get-lifecycle-policy-R.json || echo '{"repositoryName": "R"}' in its place"""
    )

    def check(self, options: Row) -> list[str]:
        """List what is wrong with the options."""
        is_flag = isinstance(options.get("manifests", True), bool)
        return super().check(options) + (
            [] if is_flag else ["manifests is true or false"]
        )

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        payloads = Payloads()
        payloads.repositories = (
            place.ask("ecr", "describe_repositories", "repositories") or []
        )
        names = [
            n for r in payloads.repositories if (n := text_of(r.get("repositoryName")))
        ]
        if not names:
            return
        payloads.images = (
            place.ask_each(
                "ecr",
                "describe_images",
                "imageDetails",
                "repositoryName",
                names,
                filter={"imageStatus": "ANY"},
            )
            or []
        )
        described = place.row("ecr", "describe_images")
        payloads.is_complete = described["status"] in ("ok", "empty")
        payloads.policies = place.ask_each(
            "ecr", "get_lifecycle_policy", "", "repositoryName", names, absent=NO_POLICY
        )
        payloads.seen_at = datetime.now(UTC) - timedelta(
            hours=described.get("age_hours", 0)
        )
        if place.options.get("manifests", True):
            payloads.manifests = list(_manifests(place, payloads.images))
        payloads.scans = list(_scans(place, payloads.images))
        rows, unmapped = to_images(payloads)
        if unmapped:
            hint = "policies of a form that nobody knows: what they expire is left open"
            row = place.row("ecr", "get_lifecycle_policy")
            row |= {"status": "partial", "unmapped_n": unmapped, "hint": hint}
        place.add("images", *rows)


def _by_repository(images: Iterable[Payload]) -> dict[str, list[Payload]]:
    """Give the images of every repository, newest first."""
    found: dict[str, list[Payload]] = defaultdict(list)
    for image in images:
        if text_of(image.get("imageDigest")) and text_of(image.get("repositoryName")):
            found[image["repositoryName"]].append(image)
    for held in found.values():
        held.sort(
            key=lambda image: moment(image.get("imagePushedAt")) or _EVER, reverse=True
        )
    return found


def _manifests(place: Place, images: list[Payload]) -> Iterator[Payload]:
    """Read the indexes of repositories that hold images without a tag, to tell whose they are.

    Elsewhere nothing hangs on them, and for ECR to read one is to pull it.
    """
    if isinstance(place, DumpPlace):
        if any(map(is_index, images)) and any(map(_may_be_child, images)):
            yield from place.ask("ecr", "batch_get_image", "images") or ()
        return
    for name, held in _by_repository(images).items():
        digests = [image["imageDigest"] for image in held if is_index(image)]
        if not digests or not any(_may_be_child(image) for image in held):
            continue
        if place.is_probe:  # a permission shows as well by asking for what is not there
            digests = [_NOBODY]
        else:
            place.row("ecr", "batch_get_image")["hint"] = PULLS
        for start in range(0, len(digests), MANIFESTS_AT_ONCE):
            answer = place.ask(
                "ecr",
                "batch_get_image",
                "images",
                repositoryName=name,
                imageIds=[
                    {"imageDigest": d} for d in digests[start : start + MANIFESTS_AT_ONCE]
                ],
                acceptedMediaTypes=list(INDEXES),
            )
            if answer is None:
                return
            yield from answer
        if place.is_probe:
            return


def _may_be_child(image: Payload) -> bool:
    """Say whether only an index can tell if an image is used."""
    held = image.get("imageTags") or image.get("subjectManifestDigest") or is_index(image)
    return not held


def _scans(place: Place, images: list[Payload]) -> Iterator[Payload]:
    """Ask for the findings of scans that the description of an image leaves out."""
    if isinstance(place, DumpPlace):
        if all(dig(image, "imageScanFindingsSummary") for image in images):
            return
        yield from place.ask("ecr", "describe_image_scan_findings", "") or ()
        return
    for name, held in _by_repository(images).items():
        untold = 0
        for image in held:
            status = text_of(dig(image, "imageScanStatus", "status"))
            is_told = isinstance(dig(image, "imageScanFindingsSummary"), dict)
            untold += not status and not is_told
            if is_told or (status or SCANNED[0]) not in SCANNED:
                continue
            if not status and (untold > SCANS_UNTOLD or is_index(image)):
                continue
            answer = place.ask_each(
                "ecr",
                "describe_image_scan_findings",
                "",
                "repositoryName",
                [name],
                absent=NO_SCAN,
                imageId={"imageDigest": image["imageDigest"]},
                PaginationConfig={"MaxItems": 1, "PageSize": 1},
            )
            if answer is None or place.is_probe:
                return
            yield from answer
