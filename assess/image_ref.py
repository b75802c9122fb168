"""References to images: registry, repository, tag and digest."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from assess.reference.images import moves

DEFAULT_REGISTRY = "docker.io"
_HUB = re.compile(r"((index|registry-1)\.)?docker\.io(:443)?|registry\.hub\.docker\.com")
_REFERENCE = re.compile(
    r"(?:[a-z-]{2,20}://)?"  # how it is fetched: docker://, https://
    r"(?P<name>[a-z0-9][a-z0-9._-]*(?::\d+(?=/))?(?:/[a-z0-9._-]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]{32,}))?",
    re.ASCII | re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$\{[^{}]*\}|\$\([^()]*\)|\$\w+|\{\{[^{}]*\}\}")
_OPEN = "\0"  # in place of a variable
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")


@dataclass(frozen=True)
class ImageRef:
    """The parts of an image reference; None where it does not name them or cannot be parsed."""

    registry: str | None = None  # ``docker.io`` where none is named
    repository: str | None = None  # ``library/`` is written out for the official ones
    tag: str | None = None
    digest: str | None = None  # of the manifest
    is_open: bool = False  # whether a variable stands for the tag

    @property
    def floating(self) -> bool | None:
        """Whether the tag moves and no digest pins the image; None if unknown."""
        if self.repository is None or self.is_open:
            return None
        return False if self.digest else moves(self.tag, self.repository)

    @property
    def is_official(self) -> bool:
        """Whether it is one of Docker's official images (``library/`` on Docker Hub)."""
        name = f"{self.registry}/{self.repository}"
        return name.startswith(f"{DEFAULT_REGISTRY}/library/")

    @property
    def pinned(self) -> bool | None:
        """Whether a digest pins the image."""
        is_unknown = self.repository is None or self.is_open
        return None if is_unknown else self.digest is not None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the workloads frame that follow from a reference."""
        return {
            "registry": self.registry,
            "repository": self.repository,
            "tag": self.tag,
            "image_digest": self.digest,
            "tag_floating": self.floating,
            "pinned": self.pinned,
        }


@lru_cache(4096)  # replicas share their images
def parse_image(ref: str) -> ImageRef:
    """Parse ``host:5000/team/app:1.2`` as the engine does; without parts if it is not a reference.

    For ``${HOST}/team/app:${TAG}``, only the repository is known.
    """
    text = _VARIABLE.sub(_OPEN, ref.strip())
    name, colon, tag = text.rpartition(":")
    # a colon before a slash is that of a port; "app:" is what an unset variable leaves
    is_open = bool(colon) and "/" not in tag and (not tag or _OPEN in tag)
    if is_open and "@" not in tag and name.count(":") < 2:
        return replace(parse_image(name), tag=None, is_open=True)
    host, slash, rest = text.partition("/")
    if slash and _OPEN in host and _OPEN not in rest:
        inner = parse_image(rest)
        # `library/` holds for Docker Hub only, and the host is unknown
        repository = (inner.repository or "").removeprefix("library/")
        return replace(inner, registry=None, repository=repository or None)
    match = _REFERENCE.fullmatch(text)
    # engines also show an image by its id, which looks like a name
    if not match or _IMAGE_ID.fullmatch(text):
        return ImageRef()
    registry = DEFAULT_REGISTRY
    repository = match["name"]
    first, slash, rest = repository.partition("/")
    # the engine's own rule: a first part without "." or ":" is a namespace
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = first.lower()
        repository = rest
    if ":" in repository:
        return ImageRef()
    if _HUB.fullmatch(registry):
        registry = DEFAULT_REGISTRY
        repository = repository if "/" in repository else f"library/{repository}"
    return ImageRef(registry, repository, match["tag"], match["digest"])


def as_declared(text: str | None) -> str | None:
    """Return the text of an image reference; None if it is none, which white space shows."""
    # A file whose line ends were lost carries its next settings, secrets too, behind the image.
    bare = _VARIABLE.sub("", text or "").strip()
    return None if not text or re.search(r"\s", bare) else text


def last_part(path: str | None) -> str:
    """Return the last part of a path, such as a repository's; empty without a path."""
    return (path or "").rstrip("/").rpartition("/")[2].removesuffix(".git")
