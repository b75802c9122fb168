"""References to images: registry, repository, tag and digest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from assess.reference.images import moves

DEFAULT_REGISTRY = "docker.io"
_HUB_NAMES = (
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
)
_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*(?::\d+(?=/))?(?:/[a-z0-9._-]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]{32,}))?",
    re.ASCII | re.IGNORECASE,
)
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")


@dataclass(frozen=True)
class ImageRef:
    """The parts of an image reference; None where it does not name them or cannot be parsed."""

    registry: str | None = None  # ``docker.io`` where none is named
    repository: str | None = None  # ``library/`` is written out for the official ones
    tag: str | None = None
    digest: str | None = None  # of the manifest

    @property
    def floating(self) -> bool | None:
        """Whether the tag moves, and no digest holds the image; None where nobody knows."""
        if self.repository is None:
            return None
        return False if self.digest else moves(self.tag, self.repository)

    @property
    def pinned(self) -> bool | None:
        """Whether a digest pins the image."""
        return None if self.repository is None else self.digest is not None

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
    """Parse ``host:5000/team/app:1.2`` as the engine does; empty where it is no reference."""
    text = ref.strip()
    match = _REFERENCE.fullmatch(text)
    if not match or _IMAGE_ID.fullmatch(text):
        return ImageRef()
    first, slash, rest = match["name"].partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = first.lower()
        repository = rest
    else:
        registry = DEFAULT_REGISTRY
        repository = match["name"]
    if ":" in repository:
        return ImageRef()
    if registry in _HUB_NAMES:
        registry = DEFAULT_REGISTRY
        repository = repository if "/" in repository else f"library/{repository}"
    return ImageRef(registry, repository, match["tag"], match["digest"])


def last_part(path: str | None) -> str:
    """Return the last part of a path, such as that of a repository; empty for none."""
    return (path or "").rstrip("/").rpartition("/")[2].removesuffix(".git")
