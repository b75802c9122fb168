"""Images of the sample fleet: on its hosts and in its registries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from assess.sample.scene import Row, Scene, digest


def image_of(scene: Scene, row: Row) -> Row:
    """Take the image of a service apart.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.
    row : dict
        Its template.

    Returns
    -------
    dict
        ``registry, repository, tag, digest``; empty for a service without image.
    """
    if not row["image"]:
        return {}
    alias, _, rest = row["image"].partition("/")
    repository, _, tag = rest.partition(":")
    registry = scene.world["registries"][alias]
    return {
        "registry": registry,
        "repository": repository,
        "tag": tag,
        "digest": digest(f"{registry}/{rest}"),
    }


def images(scene: Scene) -> Iterator[Row]:
    """Give the images, as hosts hold them and as registries keep them.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for row, _, where in scene.placed:
        image = image_of(scene, row)
        if not image:
            continue
        about = _about_image(scene, row, image)
        for host in sorted(set(where)):
            yield about | {"host_id": host, "location": "host", "containers_n": where.count(host)}
            yield _leftover(scene, about, host)
        if image["registry"] == scene.world["registries"]["ecr"] and not scene.cell:
            yield from _in_registry(scene, about)


def _about_image(scene: Scene, row: Row, image: Row) -> Row:
    dice = scene.dice("image", image["digest"])
    old = "schema1" in row["traits"]
    base = scene.world["teams"][row["owner"]]["base"]
    about: Row = {
        "registry": image["registry"],
        "repository": image["repository"],
        "digest": image["digest"],
        "tags": image["tag"],
        "image_id": digest("id/" + image["digest"]),
        "schema": "1" if old else "2" if image["registry"] == "docker.io" else "oci",
        "is_index": False,
        "arch": "amd64",
        "size_bytes": round((60 + 500 * dice.random()) * 1e6),
        "created_at": scene.day(-1500 if old else -(15 + 60 * dice.random())),
        "layers_n": 5 + int(12 * dice.random()),
        "dangling": False,
    }
    if image["registry"] != "docker.io":
        about |= {"base_name": f"docker.io/{base}", "base_digest": digest(base)}
    return about


def _leftover(scene: Scene, about: Row, host: str) -> Row:
    """Tell of the image that an earlier deploy left on the host."""
    earlier: dict[str, Any] = {
        name: about[name] for name in ("registry", "repository", "schema", "arch", "size_bytes")
    }
    return earlier | {
        "digest": digest("before " + about["digest"]),
        "host_id": host,
        "location": "host",
        "created_at": about["created_at"] - timedelta(days=60),
        "containers_n": 0,
        "dangling": True,
        "reclaimable": True,
    }


def _in_registry(scene: Scene, about: Row) -> Iterator[Row]:
    """Give the image in its registry, and the two versions before it."""
    for age in range(3):
        dice = scene.dice("registry", about["digest"], age)
        pushed = about["created_at"] - timedelta(days=45 * age) + timedelta(minutes=20)
        pulled = scene.quarter.snapshot_at - timedelta(days=round(1 + 80 * age * dice.random()))
        yield about | {
            "digest": about["digest"] if age == 0 else digest(f"{about['digest']}/{age}"),
            "tags": about["tags"] if age == 0 else f"previous-{age}",
            "host_id": None,
            "location": "registry",
            "created_at": pushed - timedelta(minutes=20),
            "pushed_at": pushed,
            "last_pulled_at": max(pushed, pulled),
            "signed": age == 0,
            "immutable_tags": True,
            "lifecycle_policy": True if scene.step else None,
            "would_expire": age == 2 if scene.step else None,
            "vuln_critical_n": int((1.2 + 2 * age) * dice.random()),
            "vuln_high_n": int((1 + 4 * age) * dice.random()),
            "vuln_medium_n": int((4 + 5 * age) * dice.random()),
            "vuln_low_n": int((9 + 5 * age) * dice.random()),
            "source": "ecr",
        }
