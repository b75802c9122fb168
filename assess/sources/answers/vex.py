"""VEX: statements of suppliers on findings that do not apply to an image.

CycloneDX, OpenVEX and CSAF. A statement counts where it names the finding, and the image or the
package; the latest one decides. What is not affected or fixed leaves the counts of the image.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from assess.image_ref import ImageRef, parse_image
from assess.sources.answers.images import image_of
from assess.sources.base import Batch, Batches, FrameRows, Row, belonging, rows_of
from assess.sources.csv_records import vocabulary
from assess.sources.values import dicts, dig, listed, moment, picked, table, text, texts

FRAME = "vex"  # of what is a statement, and no row of a frame
SEVERITIES = ("critical", "high", "medium", "low")
OVER = ("not_affected", "fixed")
_LINK = "urn:cdx:"  # into another document, by its serial number
_TRANSIENT = {"image", "findings", "serial"}  # of a row, until its image is found
_UNLISTED = "documents about images that no other source lists by digest"
_NEVER = datetime.min.replace(tzinfo=UTC)
_STATES = vocabulary("answers", "cyclonedx states")  # of CycloneDX
_CSAF = vocabulary("answers", "csaf states")


@dataclass(frozen=True)
class Finding:
    """A vulnerability of one package of an image."""

    ids: frozenset[str]
    package: str  # its name
    version: str
    purl: str  # its address; empty where the scanner has none
    severity: str
    ref: str = ""  # its name within its document


@dataclass(frozen=True)
class Statement:
    """A statement of a document on a vulnerability in a product, or in a part of it."""

    ids: frozenset[str]
    status: str
    # A package address, a digest, a reference, or the serial number of an SBOM.
    product: str
    part: str  # a package address in it; empty for all of it
    at: datetime

    def is_about(self, image: Row, finding: Finding) -> bool:
        """Return whether it speaks of a finding in an image."""
        if not self.ids & finding.ids:
            return False
        if self.part and not _is_package(self.part, finding):
            return False
        is_of_images = self.product.startswith(("pkg:oci/", "pkg:docker/"))
        if self.product.startswith("pkg:") and not is_of_images:
            return _is_package(self.product, finding)
        return _is_image(self.product, image)


def _is_package(address: str, finding: Finding) -> bool:
    """Return whether an address means the package of a finding; without a version, any version."""
    if not address.startswith("pkg:"):
        return address == finding.ref
    wanted, version = _parts(address)
    known = (finding.package, finding.version)
    if finding.purl:
        known = _parts(finding.purl)
    else:
        wanted = wanted.rpartition("/")[2]
    return wanted == known[0] and version in ("", known[1])


def _parts(address: str) -> tuple[str, str]:
    """Return the name of a package address without what qualifies it, and its version."""
    plain = address.partition("?")[0].partition("#")[0]
    name = plain
    version = ""
    if "@" in plain[4:]:
        name, _, version = plain.rpartition("@")
    return unquote(name), unquote(version)


def _is_image(product: str, image: Row) -> bool:
    """Return whether a product is an image: by its digest, else by its place and tag."""
    if product.startswith(_LINK):
        serial = text(image, "serial")
        plain = serial.removeprefix("urn:uuid:")
        return bool(plain) and plain in product
    named = image_of(product)
    if named.digest:
        return named.digest in (image.get("digest"), image.get("image_id"))
    ref = image.get("image") or ImageRef()
    place = (image.get("registry"), image.get("repository"))
    is_here = named.repository and (named.registry, named.repository) == place
    return bool(is_here) and named.tag in (None, ref.tag)


def _rows(statements: Iterable[Statement]) -> FrameRows:
    return [(FRAME, {"statement": statement}) for statement in statements]


def of_cyclonedx(report: Row, product: str) -> FrameRows:
    """Return the analyses of the vulnerabilities of a document, which is about a product."""
    at = moment(report, "metadata", "timestamp") or _NEVER
    root = text(report, "metadata", "component", "bom-ref")
    packages = _by_ref(report)
    found = []
    for entry in dicts(report, "vulnerabilities"):
        status = _STATES.get(text(entry, "analysis", "state"))
        for target in dicts(entry, "affects") if status else ():
            ref = text(target, "ref")
            about = (ref, "")  # an address of its own
            if ref.startswith(_LINK):
                link, _, part = ref.partition("#")
                about = (link, unquote(part))
            elif ref in packages:
                about = (product, text(packages[ref], "purl") or ref)
            elif ref == root:
                about = (product, "")
            found.append(Statement(_ids_of(entry), str(status), *about, at))
    return _rows(found)


def findings_of_cyclonedx(report: Row) -> list[Finding]:
    """List the vulnerabilities of the packages of a document; empty if none were looked for."""
    packages = _by_ref(report)
    found = []
    for entry in dicts(report, "vulnerabilities"):
        ratings = [text(rating, "severity").lower() for rating in dicts(entry, "ratings")]
        worst = next((word for word in SEVERITIES if word in ratings), "")
        found += [
            Finding(
                ids=_ids_of(entry),
                **picked(packages.get(ref), "cyclonedx component"),
                severity=worst,
                ref=ref,
            )
            for ref in (text(target, "ref") for target in dicts(entry, "affects"))
        ]
    return found


def _by_ref(report: Row) -> dict[str, Row]:
    return {text(c, "bom-ref"): c for c in dicts(report, "components")}


def _ids_of(entry: Row) -> frozenset[str]:
    others = [text(reference, "id") for reference in dicts(entry, "references")]
    return frozenset(filter(None, [text(entry, "id"), *others]))


def of_openvex(report: Row, images: Iterable[ImageRef] = ()) -> FrameRows:
    """Return the statements of OpenVEX; those without a product are about the images given."""
    context = report.get("@context")
    if "openvex" not in str(context) or not isinstance(context, str | list):
        return []
    written = picked(report, "openvex")["at"] or _NEVER
    found = []
    for entry in dicts(report, "statements"):
        at = picked(entry, "openvex")["at"] or written
        ids = _ids_of_openvex(entry.get("vulnerability"))
        parts = _addresses(entry.get("subcomponents"))
        products = list(_products(entry)) or [
            (str(image.digest), []) for image in images if image.digest
        ]
        for product, own in products:
            for part in own or parts or [""]:
                status = text(entry, "status")
                found.append(Statement(ids, status, product, part, at))
    return _rows(found)


def _products(entry: Row) -> Iterator[tuple[str, list[str]]]:
    for product in listed(entry, "products"):
        parts = _addresses(dig(product, "subcomponents"))
        for name in _addresses([product]):
            yield name, parts


def _addresses(values: Any) -> list[str]:
    """List the names of products: texts, or objects with addresses and digests."""
    names = texts(values)
    for value in dicts(values):
        identifiers = table(value, "identifiers")
        digest = text(value, "hashes", "sha-256")
        names += filter(None, [text(value, "@id"), text(identifiers, "purl"), digest])
    return list(dict.fromkeys(names))


def _ids_of_openvex(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset([value])
    names = [text(value, "name"), text(value, "@id").rpartition("/")[2]]
    return frozenset(filter(None, [*names, *texts(value, "aliases")]))


def of_csaf(report: Row) -> FrameRows:
    """Return the product states of a CSAF document, such as one of the category csaf_vex."""
    if not text(report, "document", "category").startswith("csaf"):
        return []
    at = moment(report, "document", "tracking", "current_release_date") or _NEVER
    products = _csaf_products(table(report, "product_tree"))
    found = []
    for entry in dicts(report, "vulnerabilities"):
        others = [text(other, "text") for other in dicts(entry, "ids")]
        ids = frozenset(filter(None, [text(entry, "cve"), *others]))
        for key, status in _CSAF.items():
            for product in texts(entry, "product_status", key):
                for name, part in products.get(product, ()):
                    found.append(Statement(ids, status, name, part, at))
    return _rows(found)


def _csaf_products(tree: Row) -> dict[str, list[tuple[str, str]]]:
    """Return the names and parts of the products of a tree, by id."""
    listed = dicts(tree, "full_product_names")
    waiting = dicts(tree, "branches")
    for branch in waiting:  # which grows: a branch holds branches
        listed.append(table(branch, "product"))
        waiting += dicts(branch, "branches")
    names = {}
    for product in listed:
        key = text(product, "product_id")
        names[key] = [(name, "") for name in _csaf_names(product)]
    for relation in dicts(tree, "relationships"):
        whole = names.get(text(relation, "relates_to_product_reference"), [])
        part = names.get(text(relation, "product_reference"), [])
        key = text(relation, "full_product_name", "product_id")
        names[key] = [(name, inner) for name, _ in whole for inner, _ in part]
    return names


def _csaf_names(product: Row) -> list[str]:
    helper = table(product, "product_identification_helper")
    digests = [
        text(entry, "value")
        for hashes in dicts(helper, "hashes")
        for entry in dicts(hashes, "file_hashes")
        if text(entry, "algorithm") == "sha256"
    ]
    names = [text(helper, "purl"), *texts(helper, "purls"), *digests]
    known = list(filter(None, names))
    named = text(product, "name")
    if not known and parse_image(named).repository:
        known.append(named)
    return known


def settle_images(batches: Batches) -> Batches:
    """Return batches in which rows about images have their key, and VEX is applied to findings."""
    # Images are found by digest, then by reference. A row that fits none is left out and
    # counted.
    statements: dict[str, list[Statement]] = defaultdict(list)
    for _, batch in batches:
        for statement in batch.statements:
            for identifier in statement.ids:
                statements[identifier].append(statement)
    is_any = any("image" in row for row in rows_of(batches, "images"))
    if not statements and not is_any:
        return batches
    index = _index_of(batches)
    return [(label, _settled(batch, index, statements)) for label, batch in batches]


Statements = dict[str, list[Statement]]  # by vulnerability
Place = tuple[str, str, str]  # registry, repository and digest
_Index = dict[Any, dict[Place, None]]


def _index_of(batches: Batches) -> _Index:
    """Index images by their digest, their id, and each of their references."""
    index: _Index = defaultdict(dict)
    for row in rows_of(batches, "workloads"):
        ref = parse_image(text(row, "image_ref"))
        digest = row.get("image_digest") or ref.digest
        place = (
            row.get("registry") or ref.registry,
            row.get("repository") or ref.repository,
        )
        tag = row.get("tag") or ref.tag
        _note(index, place, digest, [tag])
    for row in rows_of(batches, "images"):
        place = (row.get("registry"), row.get("repository"))
        if "image" not in row:
            tags = text(row, "tags").split(";")
            _note(index, place, row.get("digest"), tags, row.get("image_id"))
    return index


def _note(
    index: _Index,
    place: tuple[Any, Any],
    digest: Any,
    tags: list[Any],
    identifier: Any = None,
) -> None:
    if not digest or not place[1]:
        return
    key = (str(place[0]), str(place[1]), str(digest))
    for name in filter(None, (digest, identifier)):
        index[name][key] = None
    for tag in tags:
        index[(*place, tag or "latest")][key] = None


def _settled(batch: Batch, index: _Index, statements: Statements) -> Batch:
    rows = batch.rows.get("images", [])
    if not any(_TRANSIENT & row.keys() for row in rows):
        return batch
    settled = []
    lost_n = 0
    for row in rows:
        judged = _judged(row, statements)
        kept = {name: judged[name] for name in judged if name not in _TRANSIENT}
        if "image" not in row:
            settled.append(kept)
            continue
        places = _places(row, index)
        lost_n += not places
        for registry, repository, digest in places:
            where = {"registry": registry, "repository": repository, "digest": digest}
            settled.append(kept | where)
    named_n = sum("image" in row for row in rows)
    note = belonging("images", "belongs to", named_n - lost_n, named_n, _UNLISTED)
    return replace(
        batch,
        rows=defaultdict(list, batch.rows | {"images": settled}),
        coverage=[*batch.coverage, note] if named_n else batch.coverage,
    )


def _places(row: Row, index: _Index) -> list[Place]:
    """List the images of a row: by digest, else by reference if it has no digest."""
    image: ImageRef = row["image"]
    if image.digest:
        own = (str(row["registry"]), str(image.repository), image.digest)
        return list(index.get(image.digest) or ([own] if image.repository else ()))
    place = (image.registry, image.repository, image.tag or "latest")
    return list(index.get(place, ()))


def _judged(row: Row, statements: Statements) -> Row:
    """Return a row with the count of findings that no statement removes."""
    findings: list[Finding] | None = row.get("findings")
    if not findings:
        return row
    kept = {}
    was_judged = False
    for finding in findings:
        named = {s for name in finding.ids for s in statements.get(name, ())}
        about = [statement for statement in named if statement.is_about(row, finding)]
        # the latest one decides; of two of one moment the one that removes nothing
        latest = max(about, key=lambda s: (s.at, s.status not in OVER), default=None)
        status = latest.status if latest else ""
        was_judged |= bool(status)
        if status not in OVER:
            kept[finding.ids, finding.package, finding.version] = finding.severity
    counts = Counter(kept.values())
    counted: Row = {f"vuln_{word}_n": counts[word] for word in SEVERITIES}
    if was_judged:
        counted["vex"] = True
    return row | counted
