"""Images that documents name: by references, package addresses and digests."""

from urllib.parse import parse_qs, unquote

from assess.image_ref import ImageRef, parse_image
from assess.linear import Linear
from assess.sources.values import text

BASE = "org.opencontainers.image.base."  # annotations and labels that name the base image
DIGEST = Linear(r"(?:sha256:)?[0-9a-f]{64}")
ADDRESS = Linear(r"pkg:(?:oci|docker)/([^@?#]+)(?:@([^?#]+))?(?:\?([^#]*))?")


def image_of(*candidates: str) -> ImageRef:
    """Return the image that several texts name: references, package addresses and digests."""
    parts = [_image_in(candidate) for candidate in candidates if candidate]
    repository = next((part for part in parts if part.repository), ImageRef())
    digest = next((part.digest for part in parts if part.digest), None)
    tag = next(
        (p.tag for p in parts if p.tag and p.repository == repository.repository), None
    )
    return ImageRef(repository.registry, repository.repository, tag, digest)


def _image_in(candidate: str) -> ImageRef:
    """Return the image of a package address, of a bare digest, or of a reference."""
    if match := ADDRESS.fullmatch(candidate):
        return _image_of_purl(*match.groups())
    if DIGEST.fullmatch(candidate):
        return ImageRef(digest=f"sha256:{candidate.removeprefix('sha256:')}")
    return parse_image(candidate)


def _image_of_purl(name: str, version: str | None, query: str | None) -> ImageRef:
    known = parse_qs(query or "")
    place = text(known, "repository_url", 0)
    leaf = unquote(name).rpartition("/")[2]
    if place and place.rstrip("/").rpartition("/")[2] != leaf:
        place = f"{place.rstrip('/')}/{leaf}"
    image = parse_image(place or unquote(name))
    version = unquote(version or "")
    tag = text(known, "tag", 0) or None
    if DIGEST.fullmatch(version):
        return ImageRef(image.registry, image.repository, tag, version)
    return ImageRef(image.registry, image.repository, tag or version or None)


def reference(image: ImageRef) -> str:
    """Write an image in full; empty where neither its place nor its digest is known."""
    if image.repository is None:
        return image.digest or ""
    written = f"{image.registry}/{image.repository}"
    written += f":{image.tag}" if image.tag else ""
    return written + (f"@{image.digest}" if image.digest else "")
