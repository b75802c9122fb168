"""Bills of materials and signatures of images, as evidence about the images that they name.

CycloneDX (JSON and XML), SPDX 2 and 3 (JSON), what ``cosign`` prints of a signature, and
attestations that wrap any of these. A row says by ``image`` which image it means.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

from assess.image_ref import DEFAULT_REGISTRY, ImageRef, parse_image
from assess.sources.answers import vex
from assess.sources.answers.forms import Context
from assess.sources.answers.images import ADDRESS, BASE, DIGEST, image_of, reference
from assess.sources.base import FrameRow, FrameRows, Row
from assess.sources.values import Texts, dicts, moment, table, text, texts, without_none

_DOCTYPE = b"<!DOCTYPE"
_PURPOSE = "primaryPackagePurpose"
_LISTS = (  # elements that hold a list
    *("components", "vulnerabilities", "properties", "hashes", "ratings", "references"),
    "affects",
)
_SYSTEM = ("operating-system", "operatingsystem")


def read_xml(data: bytes) -> Row:
    """Return a document of CycloneDX in the shape of its JSON; raise ValueError for any other."""
    # Types and entities of a document can grow without bound, and CycloneDX has none.
    if _DOCTYPE in data.upper():
        raise ValueError("an XML file with a document type is not read")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"this is no XML: {error}") from error
    if "cyclonedx.org" not in root.tag:
        raise ValueError("this is no XML of CycloneDX")
    document = table(_of_element(root))
    return document | {"bomFormat": "CycloneDX"}


def _of_element(element: ElementTree.Element) -> Any:
    """Return an element as its JSON twin writes it, with attributes as keys."""
    if _tag(element) in _LISTS:
        return [_of_element(child) for child in element]
    content = (element.text or "").strip()
    if not len(element) and not element.attrib:
        return content
    record: Row = {**element.attrib, "content": content, "value": content}
    for child in element:
        record[_tag(child)] = _of_element(child)
    return record


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _row(image: ImageRef, **values: Any) -> FrameRow:
    row: Row = {
        "image": image,
        "registry": image.registry or DEFAULT_REGISTRY,
        "repository": image.repository,
        "digest": image.digest,
        "host_id": "",
    }
    return "images", row | without_none(values)


def _system(name: str, version: str) -> str | None:
    """Name the base image of an operating system, such as ``debian:12``."""
    return f"{name}:{version}".lower() if name and version else None


def of_cyclonedx(report: Row, context: Context) -> FrameRows:
    """Return the image that a document of CycloneDX is about, and its statements."""
    if report.get("bomFormat") != "CycloneDX":
        return []
    component = table(report, "metadata", "component")
    image = _subject(component)
    rows = vex.of_cyclonedx(report, reference(image))
    if component.get("type") not in ("container", None) or not (
        image.repository or image.digest
    ):
        return rows
    notes = _properties([component, table(report, "metadata")])
    findings = vex.findings_of_cyclonedx(report)
    systems = (
        _system(text(component, "name"), text(component, "version"))
        for component in dicts(report, "components")
        if text(component, "type") in _SYSTEM
    )
    row = _row(
        image,
        sbom_format="cyclonedx" if dicts(report, "components") else None,
        serial=text(report, "serialNumber") or None,
        base_name=notes.get("name") or next(systems, None),
        base_digest=notes.get("digest"),
        created_at=moment(notes, "created"),
        findings=findings or None,
    )
    return [row, *rows]


def _subject(component: Row) -> ImageRef:
    hashes = [text(h, "content") for h in dicts(component, "hashes")]
    noted = [
        text(entry, "value")
        for entry in dicts(component, "properties")
        if text(entry, "name").endswith((":RepoDigest", ":RepoTag"))
    ]
    named = [text(component, key) for key in ("purl", "name", "bom-ref", "version")]
    tagged = ""
    if named[1] and named[3] and not DIGEST.fullmatch(named[3]):
        tagged = f"{named[1]}:{named[3]}"
    return image_of(*noted, named[0], tagged, *named[1:], *hashes)


def _properties(parts: Iterable[Row]) -> Texts:
    """Return what labels of the image say of its base, by the last part of their names."""
    return {
        text(entry, "name").rpartition(".")[2]: text(entry, "value")
        for part in parts
        for entry in dicts(part, "properties")
        if BASE in text(entry, "name") or text(entry, "name").endswith("image.created")
    }


def of_spdx(report: Row, context: Context) -> FrameRows:
    """Return the image that a document of SPDX describes."""
    if isinstance(report.get("@graph"), list):
        packages = [_of_spdx3(entry) for entry in dicts(report, "@graph")]
    elif text(report, "spdxVersion").startswith("SPDX-"):
        packages = dicts(report, "packages")
    else:
        return []
    base = None
    for package in packages:
        if text(package, _PURPOSE).replace("_", "-").lower() in _SYSTEM:
            base = _system(text(package, "name"), text(package, "versionInfo"))
    images = [*filter(None, map(_image_of_package, packages))]
    image = parse_image(text(report, "name"))
    if not images and image.repository is None:
        return []
    return [_row(*images[:1] or [image], sbom_format="spdx", base_name=base)]


def _image_of_package(package: Row) -> ImageRef | None:
    """Return the image that a package is; None for a package inside of one."""
    purls = [text(ref, "referenceLocator") for ref in dicts(package, "externalRefs")]
    purls = [purl for purl in purls if ADDRESS.fullmatch(purl)]
    if text(package, _PURPOSE).lower() != "container" and not purls:
        return None
    noted = [note.partition(": ")[2] for note in texts(package, "attributionTexts")]
    sums = [
        text(entry, "checksumValue")
        for entry in dicts(package, "checksums")
        if text(entry, "algorithm") == "SHA256"
    ]
    name = text(package, "name")
    version = text(package, "versionInfo")
    tagged = f"{name}:{version}" if name and version and ":" not in version else ""
    image = image_of(
        *purls, *(n for n in noted if "/" in n or "@" in n), tagged, name, version, *sums
    )
    return image if image.repository or image.digest else None


def _of_spdx3(entry: Row) -> Row:
    """Return an element of SPDX 3 in the words of SPDX 2."""
    if not text(entry, "type").endswith("Package"):
        return {}
    purl = text(entry, "software_packageUrl")
    return {
        "name": text(entry, "name"),
        "versionInfo": text(entry, "software_packageVersion"),
        _PURPOSE: text(entry, "software_primaryPurpose"),
        "externalRefs": [{"referenceLocator": purl}],
        "checksums": [
            {"algorithm": "SHA256", "checksumValue": text(entry_hash, "hashValue")}
            for entry_hash in dicts(entry, "verifiedUsing")
            if text(entry_hash, "algorithm") == "sha256"
        ],
    }


def of_signature(report: Row, context: Context) -> FrameRows:
    """Return a signed image, from ``cosign verify`` or from an attestation and its payload."""
    # Nobody verifies here: the row says that somebody signed, and not that the key is a
    # good one.
    digest = text(report, "critical", "image", "docker-manifest-digest")
    if DIGEST.fullmatch(digest):
        place = text(report, "critical", "identity", "docker-reference")
        return [_row(image_of(place, digest), signed=True)]
    if not dicts(report, "signatures"):
        return []
    statement = _payload(report)
    images = [
        image_of(text(subject, "name"), text(subject, "digest", "sha256"))
        for subject in dicts(statement, "subject")
    ]
    predicate = table(statement, "predicate")
    wrapped = [*of_cyclonedx(predicate, context), *of_spdx(predicate, context)]
    formats = [row.get("sbom_format") for _, row in wrapped]
    found: FrameRows = [
        _row(image, signed=True, sbom_format=next(filter(None, formats), None))
        for image in images
        if image.digest
    ]
    statements = [row for row in wrapped if row[0] == vex.FRAME]
    return [*found, *vex.of_openvex(predicate, images), *statements]


def _payload(envelope: Row) -> Row:
    """Return the statement of an envelope; empty where it cannot be decoded."""
    try:
        decoded = json.loads(base64.b64decode(text(envelope, "payload"), validate=True))
    except (ValueError, RecursionError):
        return {}
    return table(decoded)


def of_any(report: Row, context: Context) -> FrameRows:
    """Return the rows of a document of any of these formats, or of VEX."""
    for read in (of_cyclonedx, of_spdx, of_signature):
        if found := read(report, context):
            return found
    return [*vex.of_openvex(report), *vex.of_csaf(report)]
