"""From what a registry says of one repository to rows of the images frame."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assess.image_ref import parse_image
from assess.sources.base import Row
from assess.sources.docker.payload import moment, texts
from assess.sources.dumps import dicts, dig

DOCKER, OCI = "application/vnd.docker.distribution.", "application/vnd.oci.image."
MANIFEST_2, INDEX_2 = f"{DOCKER}manifest.v2+json", f"{DOCKER}manifest.list.v2+json"
MANIFEST_OCI, INDEX_OCI = f"{OCI}manifest.v1+json", f"{OCI}index.v1+json"
SCHEMA_1 = (f"{DOCKER}manifest.v1+prettyjws", f"{DOCKER}manifest.v1+json")
INDEXES = (INDEX_2, INDEX_OCI)
# Without this a registry answers in schema 1, under a digest that no engine knows.
ACCEPT = ", ".join((MANIFEST_2, MANIFEST_OCI, *INDEXES, *SCHEMA_1))
BASE = "org.opencontainers.image.base."
ATTESTATION = "vnd.docker.reference.type"  # annotation of a child that is no image
_CONFIGS = ("application/vnd.docker.container.image.v1+json", f"{OCI}config.v1+json")
_REF = re.compile(r"\w[\w.-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
_BESIDE = re.compile(
    r"sha256-[0-9a-f]{64}(\.\w+)?"
)  # a tag that points to another digest
_SIGNATURE = re.compile(r"cosign.*\bsig\b|notary\.signature")
_BUNDLE, _PREDICATE = "sigstore.bundle", "dev.sigstore.bundle.predicateType"


@dataclass
class Repository:
    """What one repository holds, as far as it was asked; only what is kept of the payloads."""

    registry: str  # as references to images name it
    name: str
    tags: list[str] | None = None  # all of them; None where they were not listed
    heads: dict[str, str] = field(
        default_factory=dict
    )  # digest by tag, or by digest asked for
    types: dict[str, str] = field(default_factory=dict)  # media type by digest
    manifests: dict[str, Row] = field(default_factory=dict)  # by digest
    configs: dict[str, Row] = field(default_factory=dict)  # by digest of the manifest
    signed: dict[str, bool] = field(
        default_factory=dict
    )  # by digest, where it can be told
    hub: dict[str, Row] = field(default_factory=dict)  # by tag, as Docker Hub knows it


def is_ref(text: Any) -> bool:
    """Say whether a text is a tag or a digest: nothing else becomes part of an address."""
    return isinstance(text, str) and _REF.fullmatch(text) is not None


def is_image_tag(tag: str) -> bool:
    """Say whether a tag is one of an image, not of the signature or the papers of another."""
    return not _BESIDE.fullmatch(tag)


def signature_tag(digest: str) -> str:
    """Give the tag under which cosign keeps the signature of an image."""
    return digest.replace(":", "-") + ".sig"


def is_signed(referrers: Any) -> bool:
    """Say whether an index of referrers names a signature."""
    for entry in dicts(dig(referrers, "manifests")):
        kind = str(entry.get("artifactType") or "")
        about = str(dig(entry, "annotations", _PREDICATE) or "/sign/")
        if _SIGNATURE.search(kind) or (_BUNDLE in kind and "/sign/" in about):
            return True
    return False


def type_of(media_type: str | None, manifest: Any) -> str:
    """Give the media type of a manifest: as the server says it, else by its own words or form."""
    said = str(media_type or "").partition(";")[0].strip().lower()
    if said.startswith((DOCKER, OCI)):
        return said
    if isinstance(own := dig(manifest, "mediaType"), str) and own.startswith(
        (DOCKER, OCI)
    ):
        return own
    if dig(manifest, "schemaVersion") == 1:
        return SCHEMA_1[0]
    return INDEX_OCI if isinstance(dig(manifest, "manifests"), list) else MANIFEST_OCI


def keep_manifest(raw: Any, media_type: str | None = None) -> Row:
    """Keep what is wanted of a manifest; of schema 1, whose history has whole commands, a date."""
    kind = type_of(media_type, raw)
    kept: Row = {"media_type": kind}
    if kind in SCHEMA_1:
        try:
            latest = json.loads(str(dig(raw, "history", 0, "v1Compatibility")))
        except (ValueError, RecursionError):
            latest = None
        layers = dig(raw, "fsLayers")
        kept["layers_n"] = len(layers) if isinstance(layers, list) else None
        kept["arch"] = _text(dig(raw, "architecture"))
        kept["created_at"] = _date(dig(latest, "created"))
    elif kind in INDEXES:
        kept["children"] = [
            child for c in dicts(dig(raw, "manifests")) if (child := _child(c))
        ]
    else:
        layers = dig(raw, "layers")
        layers = [*dicts(layers)] if isinstance(layers, list) else None
        kept["config"] = _digest(dig(raw, "config", "digest"))
        kept["config_bytes"] = _count(dig(raw, "config", "size"))
        kept["is_image"] = dig(raw, "config", "mediaType") in (*_CONFIGS, None)
        if layers is not None:
            sizes = [
                kept["config_bytes"],
                *(_count(layer.get("size")) for layer in layers),
            ]
            kept["layers_n"] = len(layers)
            kept["size_bytes"] = None if None in sizes else sum(s for s in sizes if s)
    return kept | keep_base(dig(raw, "annotations"))


def _child(raw: Row) -> Row | None:
    """Keep of an entry of an index what tells an image; None for what is no image."""
    digest, papers = _digest(raw.get("digest")), dig(raw, "annotations", ATTESTATION)
    if not digest or papers or dig(raw, "platform", "os") == "unknown":
        return None
    arch = _text(dig(raw, "platform", "architecture"))
    return {"digest": digest, "arch": arch, "media_type": _text(raw.get("mediaType"))}


def keep_config(raw: Any) -> tuple[Row, int]:
    """Keep what is wanted of the configuration of an image, and count what is left out.

    Its environment, arguments, labels and the commands of its history may hold secrets.
    """
    config = dig(raw, "config")
    withheld = [
        dig(config, "Env"),
        dig(config, "Cmd"),
        dig(config, "Entrypoint"),
        dig(config, "Labels"),
        dig(raw, "history"),
    ]
    kept = {
        "arch": _text(dig(raw, "architecture")),
        "created_at": _date(dig(raw, "created")),
    }
    kept |= keep_base(dig(config, "Labels"))
    return kept, sum(len(part) for part in withheld if isinstance(part, list | dict))


def keep_base(labels: Any) -> Row:
    """Keep the base image that annotations or labels name, if they do."""
    named = {
        f"base_{part}": _text(dig(labels, BASE + part)) for part in ("name", "digest")
    }
    return {column: value for column, value in named.items() if value}


def to_images(found: Repository) -> list[Row]:
    """Give the rows of a repository: one per manifest, those inside of indexes too."""
    tags: dict[str, set[str]] = defaultdict(set)
    for ref, digest in found.heads.items():
        tags[digest] |= {ref} - {digest}
    rows = {d: _to_image(found, d, sorted(tags[d])) for d in tags if _is_image(found, d)}
    for digest in tuple(rows):
        for child in dig(found.manifests.get(digest), "children") or ():
            own = child["digest"]
            row = rows.setdefault(own, _to_image(found, own, []))
            row["dangling"] = False  # its index has the tag, and needs it
            row.setdefault("arch", child["arch"])
            row.setdefault("media_type", child["media_type"])
    for digest, row in rows.items():
        children = dig(found.manifests.get(digest), "children")
        if children is not None:
            row.update(_to_index([rows[child["digest"]] for child in children]))
        kind = str(row.get("media_type") or "")
        row.update(
            _known(schema=_schema(kind), is_index=kind in INDEXES if kind else None)
        )
    return list(rows.values())


def _is_image(found: Repository, digest: str) -> bool:
    return dig(found.manifests.get(digest), "is_image") is not False


def _to_image(found: Repository, digest: str, tags: list[str]) -> Row:
    """Give the row of one manifest, as far as it was read."""
    manifest, config = found.manifests.get(digest, {}), found.configs.get(digest, {})
    row = {
        "registry": found.registry,
        "repository": found.name,
        "digest": digest,
        "host_id": "",
    }
    columns = ("arch", "size_bytes", "layers_n", "created_at", "base_name", "base_digest")
    return row | _known(
        tags=";".join(tags) or None,
        location="registry",
        media_type=manifest.get("media_type") or found.types.get(digest),
        image_id=manifest.get("config"),
        signed=found.signed.get(digest),
        dangling=False if tags else True if found.tags is not None else None,
        **(
            _known(**{c: config.get(c) for c in columns})
            | _known(**{c: manifest.get(c) for c in columns})
        ),
        **_of_hub(found, digest, tags),
    )


def _to_index(children: list[Row]) -> Row:
    """Say of an index what its images say: the latest build, and the largest, which a host pulls.

    All of them have to say it.
    """
    values: dict[str, list[Any]] = {
        c: [r.get(c) for r in children] for c in ("arch", "size_bytes", "created_at")
    }
    if not children:
        return {}
    arch = ";".join(sorted({str(a) for a in values["arch"]}))
    most = {c: max(v) for c, v in values.items() if c != "arch" and None not in v}
    return most | ({} if None in values["arch"] else {"arch": arch})


def _of_hub(found: Repository, digest: str, tags: list[str]) -> Row:
    """Give what Docker Hub says of a digest by its tags: times, and a size where it has one."""
    said = [found.hub[tag] for tag in tags if tag in found.hub]
    said = [s for s in said if s.get("digest") in (digest, None)]
    times = {column: [s[column] for s in said if s.get(column)] for column in HUB_TIMES}
    return {column: max(values) for column, values in times.items() if values}


HUB_TIMES = {"pushed_at": "tag_last_pushed", "last_pulled_at": "tag_last_pulled"}


def keep_hub_tag(raw: Row) -> Row:
    """Keep of a tag, as Docker Hub describes it, what dates it; not who pushed it."""
    times = {column: _date(raw.get(name)) for column, name in HUB_TIMES.items()}
    times["pushed_at"] = times["pushed_at"] or _date(raw.get("last_updated"))
    return times | {"digest": _text(raw.get("digest"))}


def used_refs(rows: dict[str, list[Row]], registry: str) -> dict[str, set[str]]:
    """Find what the fleet names of a registry: tags and digests by repository."""
    used: dict[str, set[str]] = defaultdict(set)
    for row in (*rows.get("images", ()), *rows.get("workloads", ())):
        name = row.get("repository")
        if row.get("registry") != registry or not isinstance(name, str):
            continue
        digest = row.get("image_digest", row.get("digest"))
        if isinstance(digest, str) and digest == row.get(
            "image_id"
        ):  # built there and never pushed: no registry knows it
            digest = None
        refs = [row.get("tag"), *str(row.get("tags")).split(";"), digest]
        used[name] |= {
            ref for ref in refs if isinstance(ref, str) and _REF.fullmatch(ref)
        } - {"None"}
    return dict(used)


def to_dumped(value: Any) -> list[Row]:
    """Read one document of ``skopeo inspect`` or ``docker manifest inspect --verbose``."""
    if isinstance(value, list):  # the images of an index
        rows = [row for part in value for row in to_dumped(part)]
        return [row | {"dangling": False, "tags": None} for row in rows]
    if isinstance(dig(value, "Descriptor"), dict):
        ref, own = str(value.get("Ref") or ""), value["Descriptor"]
        manifest = value.get("SchemaV2Manifest") or value.get("OCIManifest")
        kept = keep_manifest(manifest, _text(own.get("mediaType")))
        arch = {"arch": _text(dig(own, "platform", "architecture"))}
        return _dumped(ref, own.get("digest"), kept | arch)
    layers = [*dicts(dig(value, "LayersData"))]
    sizes = [_count(layer.get("Size")) for layer in layers]
    named = texts(dig(value, "Layers"))
    kinds = {_schema(str(layer.get("MIMEType") or "")) for layer in layers}
    kept = {
        "arch": _text(dig(value, "Architecture")),
        "created_at": _date(dig(value, "Created")),
        "layers_n": len(named) or None,
        "size_bytes": sum(s for s in sizes if s) if sizes and None not in sizes else None,
        "schema": kinds.pop() if len(kinds) == 1 else None,
        **keep_base(dig(value, "Labels")),
    }
    return _dumped(str(dig(value, "Name") or ""), dig(value, "Digest"), kept)


def _dumped(ref: str, digest: Any, kept: Row) -> list[Row]:
    named = parse_image(ref)
    if named.repository is None or not isinstance(digest, str):
        return []
    kind = str(kept.get("media_type") or "")
    columns = ("arch", "size_bytes", "layers_n", "created_at", "base_name", "base_digest")
    return [
        {
            "registry": named.registry,
            "repository": named.repository,
            "digest": digest,
            "host_id": "",
            "location": "registry",
        }
        | _known(
            tags=named.tag,
            dangling=False if named.tag else None,
            media_type=kind or None,
            schema=_schema(kind) or kept.get("schema"),
            is_index=kind in INDEXES if kind else None,
            image_id=kept.get("config"),
            **{c: kept.get(c) for c in columns},
        )
    ]


def _schema(media_type: str) -> str | None:
    if media_type in SCHEMA_1:
        return "1"
    if media_type.startswith("application/vnd.docker."):
        return "2"
    return "oci" if media_type.startswith("application/vnd.oci.") else None


def _known(**columns: Any) -> Row:
    return {name: value for name, value in columns.items() if value is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _digest(value: Any) -> str | None:
    return value if is_ref(value) and ":" in value else None


def _count(value: Any) -> int | None:
    is_count = (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60
    )
    return value if is_count else None


def _date(value: Any) -> datetime | None:
    """Read a date; reproducible builds write 1970 or 1980, which tell nothing."""
    return moment(value) if isinstance(value, str) else None


def documents_of(values: list[Any]) -> list[Any]:
    """Give the documents of a dump; the images of one index, which are a list, stay together."""
    is_index = len(values) > 1 and all(dig(value, "Descriptor") for value in values)
    return [values] if is_index else values


def all_digests(manifests: Iterable[Row]) -> list[str]:
    """Give the digests of the images inside of indexes, each once."""
    return list(
        dict.fromkeys(c["digest"] for m in manifests for c in m.get("children", ()))
    )
