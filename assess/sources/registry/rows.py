"""From the answers of a registry about one repository to rows of the images frame."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from assess.image_ref import parse_image
from assess.linear import Linear
from assess.sources.base import Keyed, Lists, Row, Rows
from assess.sources.values import (
    Texts,
    dicts,
    dig,
    first_known,
    int_of,
    joined,
    listed,
    moment,
    only,
    picked,
    text,
    texts,
    total,
    without_none,
)

DOCKER = "application/vnd.docker.distribution."
OCI = "application/vnd.oci.image."
MANIFEST_2 = f"{DOCKER}manifest.v2+json"
INDEX_2 = f"{DOCKER}manifest.list.v2+json"
MANIFEST_OCI = f"{OCI}manifest.v1+json"
INDEX_OCI = f"{OCI}index.v1+json"
SCHEMA_1 = (f"{DOCKER}manifest.v1+prettyjws", f"{DOCKER}manifest.v1+json")
INDEXES = (INDEX_2, INDEX_OCI)
# Without this a registry answers in schema 1, under a digest that no engine knows.
ACCEPT = ", ".join((MANIFEST_2, MANIFEST_OCI, *INDEXES, *SCHEMA_1))
ATTESTATION = "vnd.docker.reference.type"  # annotation of a child that is no image
_COLUMNS = ("arch", "size_bytes", "layers_n", "created_at", "base_name", "base_digest")
_CONFIGS = ("application/vnd.docker.container.image.v1+json", f"{OCI}config.v1+json")
_REF = re.compile(r"\w[\w.-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
# A tag of cosign: the digest that it belongs to, and what it is (.sig, .att, .sbom).
# tags of the signature or attestation of another image, and not of an image
BESIDE = re.compile(r"sha256-[0-9a-f]{64}(\.\w+)?")
_SIGNATURE = Linear(r"cosign.*\bsig\b|notary\.signature")
HUB_TIMES = ("pushed_at", "last_pulled_at")
_BUNDLE = "sigstore.bundle"
_PREDICATE = "dev.sigstore.bundle.predicateType"


@dataclass
class Repository:
    """Kept content of one repository."""

    registry: str  # as references to images name it
    name: str
    tags: list[str] | None = None  # all of them; None where they were not listed
    heads: Texts = field(default_factory=dict)  # digest by tag or digest
    types: Texts = field(default_factory=dict)  # media type by digest
    manifests: Keyed = field(default_factory=dict)  # by digest
    configs: Keyed = field(default_factory=dict)  # by digest of the manifest
    signed: dict[str, bool] = field(default_factory=dict)  # by digest, where known
    hub: Keyed = field(default_factory=dict)  # by tag, of Docker Hub's own API


def is_ref(name: Any) -> bool:
    """Return whether a name is a tag or a digest: nothing else becomes part of an address."""
    return isinstance(name, str) and _REF.fullmatch(name) is not None


def is_signed(referrers: Any) -> bool:
    """Return whether an index of referrers names a signature."""
    for entry in dicts(referrers, "manifests"):
        kind = text(entry, "artifactType")
        about = str(dig(entry, "annotations", _PREDICATE) or "/sign/")
        if _SIGNATURE.search(kind) or (_BUNDLE in kind and "/sign/" in about):
            return True
    return False


def type_of(media_type: str | None, manifest: Any) -> str:
    """Return the media type of a manifest: of the header, else as it says itself, else its form."""
    header = str(media_type or "").partition(";")[0].strip().lower()
    for named in (header, dig(manifest, "mediaType")):
        if isinstance(named, str) and named.startswith((DOCKER, OCI)):
            return named
    # OCI manifests may leave their type out, and some registries answer with text/plain.
    if dig(manifest, "schemaVersion") == 1:
        return SCHEMA_1[0]
    return INDEX_OCI if isinstance(dig(manifest, "manifests"), list) else MANIFEST_OCI


def keep_manifest(raw: Any, media_type: str | None = None) -> Row:
    """Keep what is wanted of a manifest."""
    kind = type_of(media_type, raw)
    if kind in SCHEMA_1:
        kept = _keep_schema_1(raw)
    elif kind in INDEXES:
        children = map(_child, dicts(raw, "manifests"))
        kept = {"children": list(filter(None, children))}
    else:
        kept = _keep_image(raw)
    return {"media_type": kind, **kept, **keep_base(dig(raw, "annotations"))}


def _keep_schema_1(raw: Any) -> Row:
    """Keep a date of a manifest of schema 1, whose history has whole commands in it."""
    try:
        latest = json.loads(str(dig(raw, "history", 0, "v1Compatibility")))
    except (ValueError, RecursionError):
        latest = None
    return {
        "layers_n": len(listed(raw, "fsLayers")) or None,
        "arch": _text(raw, "architecture"),
        "created_at": moment(text(latest, "created")),
    }


def _keep_image(raw: Any) -> Row:
    """Keep the configuration's digest and the sizes of the manifest of one image."""
    layers = dig(raw, "layers")
    config_bytes = _count(raw, "config", "size")
    kept: Row = {
        "config": _digest(raw, "config", "digest"),
        "config_bytes": config_bytes,
        "is_image": dig(raw, "config", "mediaType") in (*_CONFIGS, None),
    }
    if isinstance(layers, list):
        sizes = [config_bytes, *(_count(layer, "size") for layer in dicts(layers))]
        kept["layers_n"] = len(sizes) - 1
        kept["size_bytes"] = total(sizes)
    return kept


def _child(raw: Row) -> Row | None:
    """Keep the identity of an image in an entry of an index; None for anything else."""
    digest = _digest(raw, "digest")
    is_attestation = dig(raw, "annotations", ATTESTATION)
    if not digest or is_attestation or dig(raw, "platform", "os") == "unknown":
        return None
    return {"digest": digest, **picked(raw, "index entry")}


def keep_config(raw: Any) -> tuple[Row, int]:
    """Keep what is wanted of the configuration of an image, and count what is left out."""
    # Environment, arguments, labels and commands of the history may hold secrets.
    config = dig(raw, "config")
    withheld = [dig(config, key) for key in ("Env", "Cmd", "Entrypoint", "Labels")]
    withheld.append(dig(raw, "history"))
    kept = picked(raw, "image configuration") | keep_base(dig(config, "Labels"))
    return kept, sum(len(part) for part in withheld if isinstance(part, list | dict))


def keep_base(labels: Any) -> Row:
    """Keep the base image that annotations or labels name, if they do."""
    return without_none(picked(labels, "image base"))


def to_images(repository: Repository) -> Rows:
    """Return the rows of a repository: one per manifest, with those inside of indexes."""
    tags: dict[str, set[str]] = defaultdict(set)
    for ref, digest in repository.heads.items():
        tags[digest] |= {ref} - {digest}
    rows = {}
    for digest, names in tags.items():
        if dig(repository.manifests.get(digest), "is_image") is not False:
            rows[digest] = _to_image(repository, digest, sorted(names))
    digests = list(rows)
    children = {}
    for digest in digests:  # which grows: an index may hold indexes
        children[digest] = dig(repository.manifests.get(digest), "children") or []
        for child in children[digest]:
            if child["digest"] not in rows:
                rows[child["digest"]] = _to_image(repository, child["digest"], [])
                digests.append(child["digest"])
            row = rows[child["digest"]]
            row["dangling"] = False  # its index has the tag, and needs it
            row.setdefault("arch", child["arch"])
            row.setdefault("media_type", child["media_type"])
    for digest in reversed(digests):  # an index follows from what it holds
        row = rows[digest]
        row |= _to_index([rows[child["digest"]] for child in children[digest]])
        row |= of_type(row.get("media_type"))
    return list(rows.values())


def _to_image(repository: Repository, digest: str, tags: list[str]) -> Row:
    manifest = repository.manifests.get(digest, {})
    config = repository.configs.get(digest, {})
    # A digest without a tag is dangling only where all tags are known.
    is_known = bool(tags) or repository.tags is not None
    return _place(repository.registry, repository.name, digest) | _known(
        tags=joined(tags),
        media_type=manifest.get("media_type") or repository.types.get(digest),
        image_id=manifest.get("config"),
        signed=repository.signed.get(digest),
        dangling=not tags if is_known else None,
        **{c: first_known(manifest.get(c), config.get(c)) for c in _COLUMNS},
        **_of_hub(repository, digest, tags),
    )


def _to_index(children: Rows) -> Row:
    """Return the columns of an index where all its images have them."""
    # The index has the date of its latest and the size of its largest image.
    row = {}
    for column in ("arch", "size_bytes", "created_at"):
        values: list[Any] = [child.get(column) for child in children]
        if children and None not in values:
            row[column] = max(values)
    if "arch" in row:
        row["arch"] = ";".join(sorted({child["arch"] for child in children}))
    return row


def _of_hub(repository: Repository, digest: str, tags: list[str]) -> Row:
    listed = [repository.hub[tag] for tag in tags if tag in repository.hub]
    # A tag that moved between the calls has the times of another digest.
    same = [tag for tag in listed if tag.get("digest") in (digest, None)]
    row = {}
    for column in HUB_TIMES:
        if times := [tag[column] for tag in same if tag.get(column)]:
            row[column] = max(times)
    return row


def used_refs(rows: Lists, registry: str) -> dict[str, set[str]]:
    """List the tags and digests that the fleet uses of a registry, by repository."""
    used: dict[str, set[str]] = defaultdict(set)
    for row in (*rows.get("images", ()), *rows.get("workloads", ())):
        name = row.get("repository")
        if row.get("registry") != registry or not isinstance(name, str):
            continue
        refs: list[Any] = text(row, "tags").split(";")
        refs.append(row.get("tag"))
        digest = row.get("image_digest", row.get("digest"))
        # Built on the host and never pushed: no registry knows the id of an image.
        if not isinstance(digest, str) or digest != row.get("image_id"):
            refs.append(digest)
        used[name] |= set(filter(is_ref, refs))
    return dict(used)


def to_dumped(value: Any) -> Rows:
    """Read one document of ``skopeo inspect`` or ``docker manifest inspect --verbose``."""
    if isinstance(value, list):  # the images of an index
        rows = [row for part in value for row in to_dumped(part)]
        return [row | {"dangling": False, "tags": None} for row in rows]
    descriptor = dig(value, "Descriptor")
    if dig(descriptor, "annotations", ATTESTATION):
        return []
    if descriptor:
        manifest = value.get("SchemaV2Manifest") or value.get("OCIManifest")
        kept = keep_manifest(manifest, _text(descriptor, "mediaType"))
        kept["arch"] = _text(descriptor, "platform", "architecture")
        return _dumped(text(value, "Ref"), dig(descriptor, "digest"), kept)
    layers = dicts(value, "LayersData")
    kinds = {_schema(text(layer, "MIMEType")) for layer in layers}
    kept = {
        **picked(value, "skopeo image"),
        "layers_n": len(texts(value, "Layers")) or None,
        "size_bytes": total(_count(layer, "Size") for layer in layers),
        "schema": only(kinds),
        **keep_base(dig(value, "Labels")),
    }
    return _dumped(text(value, "Name"), dig(value, "Digest"), kept)


def _dumped(ref: str, digest: Any, kept: Row) -> Rows:
    """Return the row of a dumped manifest; none where it names no image."""
    named = parse_image(ref)
    if named.repository is None or not isinstance(digest, str):
        return []
    known = _known(
        tags=named.tag,
        dangling=False if named.tag else None,
        media_type=kept.get("media_type"),
        schema=kept.get("schema"),
        image_id=kept.get("config"),
        **{column: kept.get(column) for column in _COLUMNS},
    )
    place = _place(str(named.registry), named.repository, digest)
    return [place | known | of_type(kept.get("media_type"))]


def _place(registry: str, repository: str, digest: str) -> Row:
    """Return the columns that identify an image of a registry."""
    return {
        "registry": registry,
        "repository": repository,
        "digest": digest,
        "host_id": "",
        "location": "registry",
    }


def of_type(media_type: str | None) -> Row:
    """Return the columns that follow from the media type of a manifest."""
    if not media_type:
        return {}
    return _known(schema=_schema(media_type), is_index=media_type in INDEXES)


def _schema(media_type: str) -> str | None:
    if media_type in SCHEMA_1:
        return "1"
    if media_type.startswith("application/vnd.docker."):
        return "2"
    return "oci" if media_type.startswith("application/vnd.oci.") else None


def _known(**columns: Any) -> Row:
    return without_none(columns)


def _text(value: Any, *path: str) -> str | None:
    return text(value, *path) or None


def _digest(value: Any, *path: str) -> str | None:
    digest = text(value, *path)
    return digest if ":" in digest and is_ref(digest) else None


def _count(value: Any, *path: str) -> int | None:
    count = int_of(value, *path)
    return count if count is not None and 0 <= count < 1 << 60 else None


def documents_of(values: list[Any]) -> list[Any]:
    """List the documents of a dump; the images of one index, which are a list, stay together."""
    is_index = len(values) > 1 and all(dig(value, "Descriptor") for value in values)
    return [values] if is_index else values


def all_digests(manifests: Iterable[Row]) -> list[str]:
    """List the digests of the images inside of indexes, each once."""
    children = [child for manifest in manifests for child in manifest.get("children", ())]
    return list(dict.fromkeys(child["digest"] for child in children))
