"""Bills of materials, VEX and signatures: matched to images, and what they take from its counts."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wild import fit, mutated, whatever_comes

import assess
from assess.sources.answers import AnswersSource
from assess.sources.answers.forms import Context
from assess.sources.answers.images import image_of, reference
from assess.sources.answers.sbom import of_any, read_xml
from assess.sources.answers.vex import settle_images
from assess.sources.deadline import Deadline

NOW = datetime(2026, 9, 30, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
PLACE = "registry.example.net/shop/cart"
PURL = f"pkg:oci/cart@{DIGEST.replace(':', '%3A')}?repository_url={PLACE}"
OPENSSL = "pkg:deb/debian/openssl@3.0.11?arch=amd64"
ZLIB = "pkg:deb/debian/zlib1g@1.2?arch=amd64"


def finding(identifier, severity, package="openssl", version="3.0.11", purl=OPENSSL):
    return {
        "VulnerabilityID": identifier,
        "PkgName": package,
        "InstalledVersion": version,
        "PkgIdentifier": {"PURL": purl},
        "Severity": severity,
    }


TRIVY = {
    "SchemaVersion": 2,
    "ArtifactName": f"{PLACE}:2.4",
    "ArtifactType": "container_image",
    "Metadata": {"RepoTags": [f"{PLACE}:2.4"], "RepoDigests": [f"{PLACE}@{DIGEST}"]},
    "Results": [
        {
            "Class": "os-pkgs",
            "Vulnerabilities": [
                finding("CVE-2026-1", "CRITICAL"),
                finding("CVE-2026-2", "CRITICAL"),
                finding("CVE-2026-3", "HIGH"),
                finding("CVE-2026-3", "HIGH", "zlib1g", "1.2", ZLIB),
            ],
        }
    ],
}
CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    "metadata": {
        "timestamp": "2026-09-01T00:00:00Z",
        "component": {
            "type": "container",
            "bom-ref": "root",
            "name": f"{PLACE}:2.4",
            "purl": PURL,
        },
    },
    "components": [
        {
            "type": "operating-system",
            "bom-ref": "os",
            "name": "debian",
            "version": "12.5",
        },
        {"bom-ref": "a", "name": "openssl", "version": "3.0.11", "purl": OPENSSL},
    ],
}
SPDX = {
    "spdxVersion": "SPDX-2.3",
    "name": PLACE,
    "packages": [
        {
            "name": PLACE,
            "versionInfo": "2.4",
            "primaryPackagePurpose": "CONTAINER",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": PURL}],
        },
        {
            "name": "alpine",
            "versionInfo": "3.20",
            "primaryPackagePurpose": "OPERATING-SYSTEM",
        },
    ],
}


def openvex(*statements):
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://vex.example/1",
        "timestamp": "2026-09-10T00:00:00Z",
        "statements": [
            {
                "vulnerability": {"name": identifier},
                "products": [product],
                "status": status,
                **more,
            }
            for identifier, product, status, more in statements
        ],
    }


def csaf(product, status, identifier="CVE-2026-1"):
    return {
        "document": {
            "category": "csaf_vex",
            "tracking": {"current_release_date": "2026-09-10T00:00:00Z"},
        },
        "product_tree": {
            "branches": [
                {
                    "category": "vendor",
                    "branches": [
                        {
                            "category": "product_version",
                            "product": {
                                "product_id": "image",
                                "product_identification_helper": {"purl": PURL},
                            },
                        },
                        {
                            "category": "product_version",
                            "product": {
                                "product_id": "openssl",
                                "product_identification_helper": {"purl": OPENSSL},
                            },
                        },
                    ],
                }
            ],
            "relationships": [
                {
                    "category": "default_component_of",
                    "product_reference": "openssl",
                    "relates_to_product_reference": "image",
                    "full_product_name": {"product_id": "image:openssl"},
                }
            ],
        },
        "vulnerabilities": [{"cve": identifier, "product_status": {status: [product]}}],
    }


def analysis(identifier, ref, state):
    return {"id": identifier, "affects": [{"ref": ref}], "analysis": {"state": state}}


def images(tmp_path, *documents, workload=f"{PLACE}:2.4@{DIGEST}"):
    """Collect documents, each as a table of its own, and return the images frame."""
    text = ""
    for number, (kind, document) in enumerate(documents):
        name = f"{number}.json"
        (tmp_path / name).write_text(json.dumps(document))
        text += f'[[source]]\ntype = "answers"\nformat = "{kind}"\npath = "{name}"\n'
    if workload:
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / "services.csv").write_text("service_id\ncart\n")
        rows = f"workload_id,service_id,image_ref,state\nw,cart,{workload},running\n"
        (tmp_path / "own" / "workloads.csv").write_text(rows)
        text += '[[source]]\ntype = "frames"\npath = "own"\n'
    (tmp_path / "assess.toml").write_text(text)
    return assess.collect(tmp_path / "assess.toml", now=NOW)["images"]


def counts(tmp_path, *documents):
    (row,) = images(tmp_path, ("trivy", TRIVY), *documents).to_dict("records")
    return row["vuln_critical_n"], row["vuln_high_n"], row["vex"] is True


# ---- which image ----


@pytest.mark.parametrize(
    ("kind", "document", "form", "base"),
    [
        ("cyclonedx", CYCLONEDX, "cyclonedx", "debian:12.5"),
        ("sbom", SPDX, "spdx", "alpine:3.20"),
        (
            "spdx",
            {
                "@graph": [
                    {
                        "type": "software_Package",
                        "name": "cart",
                        "software_primaryPurpose": "container",
                        "software_packageUrl": PURL,
                    }
                ]
            },
            "spdx",
            None,
        ),
    ],
)
def test_a_bill_of_materials_is_of_the_image_with_its_digest(
    tmp_path, kind, document, form, base
):
    (row,) = images(tmp_path, (kind, document)).to_dict("records")
    assert (row["registry"], row["repository"]) == ("registry.example.net", "shop/cart")
    assert (row["digest"], row["sbom_format"]) == (DIGEST, form)
    assert (row["base_name"] if base else None) == base
    assert row["vuln_critical_n"] is None  # nobody looked


def test_a_mirror_is_found_by_digest_and_a_tag_by_reference(tmp_path):
    mirror = f"mirror.example.net/x/cart:2.4@{DIGEST}"
    (row,) = images(tmp_path, ("cyclonedx", CYCLONEDX), workload=mirror).to_dict(
        "records"
    )
    assert (row["registry"], row["repository"]) == ("mirror.example.net", "x/cart")
    plain = json.loads(json.dumps(CYCLONEDX))
    plain["metadata"]["component"] = {
        "type": "container",
        "name": PLACE,
        "version": "2.4",
    }
    (row,) = images(tmp_path, ("cyclonedx", plain)).to_dict("records")
    assert row["digest"] == DIGEST
    moved = f"{PLACE}:2.5@{DIGEST}"
    assert images(tmp_path, ("cyclonedx", plain), workload=moved).empty
    # the tag has moved on since: the bill is of the image that it names
    (row,) = images(
        tmp_path, ("cyclonedx", CYCLONEDX), workload=f"{PLACE}:2.4@{OTHER}"
    ).to_dict("records")
    assert row["digest"] == DIGEST


def test_what_fits_no_image_is_counted(tmp_path):
    plain = {**CYCLONEDX, "metadata": {"component": {"type": "container", "name": "x/y"}}}
    (tmp_path / "a.json").write_text(json.dumps(plain))
    options = {"path": "a.json", "format": "cyclonedx"}
    batch = AnswersSource().collect(options, tmp_path, Deadline(9))
    ((_, settled),) = settle_images([("answers", batch)])
    assert settled.rows["images"] == []
    row = settled.coverage[-1]
    assert (row["call"], row["status"], row["unmapped_n"]) == ("belongs to", "partial", 1)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (["nginx:1.25"], "docker.io/library/nginx:1.25"),
        (["nginx", DIGEST], f"docker.io/library/nginx@{DIGEST}"),
        ([PURL], f"{PLACE}@{DIGEST}"),
        (
            [
                "pkg:oci/cart@sha256:"
                + "ab" * 32
                + "?repository_url=registry.example.net/shop"
            ],
            f"{PLACE}@{DIGEST}",
        ),
        (["pkg:docker/library/nginx@1.25"], "docker.io/library/nginx:1.25"),
        (["ab" * 32], DIGEST),
        (["", "pkg:npm/left-pad@1"], ""),
    ],
)
def test_images_of_texts(candidates, expected):
    assert reference(image_of(*candidates)) == expected


def test_xml_of_cyclonedx_says_the_same(tmp_path):
    xml = f"""<?xml version="1.0"?>
    <bom xmlns="http://cyclonedx.org/schema/bom/1.5" serialNumber="urn:uuid:1" version="1">
      <metadata><timestamp>2026-09-01T00:00:00Z</timestamp>
        <component type="container" bom-ref="root"><name>{PLACE}:2.4</name>
          <purl>{PURL}</purl><hashes><hash alg="SHA-256">{"ab" * 32}</hash></hashes>
        </component></metadata>
      <components>
        <component type="operating-system" bom-ref="os"><name>debian</name><version>12.5</version>
        </component>
        <component type="library" bom-ref="a"><name>openssl</name><purl>{OPENSSL}</purl></component>
      </components>
      <vulnerabilities><vulnerability bom-ref="v"><id>CVE-2026-1</id>
        <ratings><rating><severity>critical</severity></rating></ratings>
        <analysis><state>in_triage</state></analysis>
        <affects><target><ref>a</ref></target></affects>
      </vulnerability></vulnerabilities>
    </bom>"""
    (tmp_path / "x.xml").write_text(xml)
    options = {"path": "x.xml", "format": "cyclonedx"}
    batch = AnswersSource().collect(options, tmp_path, Deadline(9))
    ((_, settled),) = settle_images([("answers", batch)])
    (row,) = settled.rows["images"]
    assert (row["digest"], row["base_name"]) == (DIGEST, "debian:12.5")
    assert (row["vuln_critical_n"], row["vex"]) == (1, True)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE bom [<!ENTITY a 'aaaa'>]><bom xmlns='http://cyclonedx.org/schema/bom/1.5'/>",
        b"<html/>",
        b"<bom",
    ],
)
def test_other_xml_is_refused(data):
    with pytest.raises(ValueError, match="XML"):
        read_xml(data)


# ---- VEX ----


def test_without_vex_every_finding_counts(tmp_path):
    assert counts(tmp_path) == (2, 2, False)


PRODUCTS = [
    PURL,
    {"@id": PURL},
    {"@id": "cart", "hashes": {"sha-256": "ab" * 32}},
    f"{PLACE}@{DIGEST}",
    f"{PLACE}:2.4",
    PLACE,
]


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("status", ["not_affected", "fixed"])
def test_what_is_not_affected_or_fixed_is_removed(tmp_path, product, status):
    document = openvex(("CVE-2026-1", product, status, {}))
    assert counts(tmp_path, ("openvex", document)) == (1, 2, True)


@pytest.mark.parametrize(
    ("product", "status"),
    [
        (PURL, "affected"),
        (PURL, "under_investigation"),
    ],
)
def test_what_is_affected_or_open_stays(tmp_path, product, status):
    document = openvex(("CVE-2026-1", product, status, {}))
    assert counts(tmp_path, ("vex", document)) == (2, 2, True)


@pytest.mark.parametrize(
    "product",
    [
        f"{PLACE}@{OTHER}",
        f"{PLACE}:2.3",
        "registry.example.net/shop/other:2.4",
        "pkg:deb/debian/zlib1g@1.2",
        "pkg:deb/debian/openssl@3.0.12",
        "https://product.example/cart",
    ],
)
def test_a_statement_about_something_else_removes_nothing(tmp_path, product):
    document = openvex(("CVE-2026-1", product, "not_affected", {}))
    assert counts(tmp_path, ("openvex", document)) == (2, 2, False)


def test_a_part_of_a_product_is_that_part_alone(tmp_path):
    part = {"@id": PURL, "subcomponents": [{"@id": "pkg:deb/debian/zlib1g"}]}
    document = openvex(("CVE-2026-3", part, "not_affected", {}))
    assert counts(tmp_path, ("openvex", document)) == (2, 1, True)


def test_the_latest_statement_decides_and_of_two_at_once_the_one_that_removes_nothing(
    tmp_path,
):
    early = {"timestamp": "2026-09-01T00:00:00Z"}
    late = {"timestamp": "2026-09-20T00:00:00Z"}
    fixed = ("CVE-2026-1", PURL, "fixed")
    affected = ("CVE-2026-1", PURL, "affected")
    for statements, expected in [
        ([(*fixed, late), (*affected, early)], 1),
        ([(*affected, late), (*fixed, early)], 2),
        ([(*fixed, late), (*affected, late)], 2),
    ]:
        document = ("openvex", openvex(*statements))
        assert counts(tmp_path, document)[0] == expected


@pytest.mark.parametrize(
    ("product", "status", "critical_n"),
    [
        ("image", "known_not_affected", 1),
        ("image:openssl", "fixed", 1),
        ("image", "known_affected", 2),
        ("openssl", "known_not_affected", 1),
        ("nothing", "fixed", 2),
    ],
)
def test_csaf(tmp_path, product, status, critical_n):
    assert counts(tmp_path, ("csaf", csaf(product, status)))[0] == critical_n


@pytest.mark.parametrize(
    ("ref", "state", "critical_n"),
    [
        ("a", "not_affected", 1),
        ("root", "resolved", 1),
        (PURL, "false_positive", 1),
        ("a", "exploitable", 2),
        ("elsewhere", "not_affected", 2),
    ],
)
def test_analyses_of_cyclonedx(tmp_path, ref, state, critical_n):
    document = CYCLONEDX | {"vulnerabilities": [analysis("CVE-2026-1", ref, state)]}
    assert counts(tmp_path, ("cyclonedx", document))[0] == critical_n


def test_a_link_into_a_bill_of_materials(tmp_path):
    rated = {"ratings": [{"severity": "high"}, {"severity": "critical"}]}
    bill = CYCLONEDX | {
        "vulnerabilities": [{**analysis("CVE-2026-9", "a", "in_triage"), **rated}]
    }
    link = "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#"
    for target, critical_n in [("a", 0), ("b", 1)]:
        document = {
            "bomFormat": "CycloneDX",
            "metadata": {"timestamp": "2026-09-20T00:00:00Z"},
            "vulnerabilities": [analysis("CVE-2026-9", link + target, "not_affected")],
        }
        (row,) = images(tmp_path, ("sbom", bill), ("vex", document)).to_dict("records")
        assert (row["vuln_critical_n"], row["sbom_format"]) == (critical_n, "cyclonedx")


def test_an_empty_list_of_vulnerabilities_is_no_scan(tmp_path):
    (row,) = images(tmp_path, ("cyclonedx", CYCLONEDX | {"vulnerabilities": []})).to_dict(
        "records"
    )
    assert row["vuln_critical_n"] is None


# ---- signatures ----


def test_what_cosign_prints_of_a_signature(tmp_path):
    printed = [
        {
            "critical": {
                "identity": {"docker-reference": PLACE},
                "image": {"docker-manifest-digest": DIGEST},
                "type": "cosign container image signature",
            },
            "optional": {"Subject": "hunter2@acme.example"},
        }
    ]
    (row,) = images(tmp_path, ("cosign", printed)).to_dict("records")
    assert (row["digest"], row["signed"]) == (DIGEST, True)


@pytest.mark.parametrize(
    ("predicate", "form", "critical_n"),
    [
        (CYCLONEDX, "cyclonedx", 2),
        (SPDX, "spdx", 2),
        (openvex(("CVE-2026-1", PURL, "fixed", {})), None, 1),
        ({}, None, 2),
    ],
)
def test_attestations_are_signed_and_wrap_documents(
    tmp_path, predicate, form, critical_n
):
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"name": PLACE, "digest": {"sha256": "ab" * 32}}],
        "predicate": predicate,
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    envelope = {"payload": payload, "signatures": [{"sig": "x"}]}
    documents = [("trivy", TRIVY), ("cosign", envelope)]
    (row,) = images(tmp_path, *documents).to_dict("records")
    assert (row["signed"], row["vuln_critical_n"]) == (True, critical_n)
    assert (row["sbom_format"] if form else None) == form
    assert of_any({**envelope, "signatures": []}, Context([])) == []
    assert of_any({**envelope, "payload": "?"}, Context([])) == []


# ---- whatever comes ----


EVERY = [CYCLONEDX | {"vulnerabilities": [analysis("CVE-1", "a", "fixed")]}, SPDX]
EVERY += [
    openvex(("CVE-2026-1", PRODUCTS[1], "fixed", {})),
    csaf("image", "fixed"),
    TRIVY,
]


@whatever_comes
def test_mutants_raise_nothing(seeds):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:
        for seed in seeds:
            file = Path(directory) / f"{seed}.json"
            file.write_text(json.dumps(mutated(EVERY, seed)))
        options = {"path": ".", "format": "sbom"}
        batch = AnswersSource().collect(options, Path(directory), Deadline(60))
    assert not {row.get("error_class") for row in batch.coverage} - {None}
    fit([batch for _, batch in settle_images([("answers", batch)])])


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([f"CVE-2026-{n}" for n in range(1, 5)]),
            st.sampled_from([*PRODUCTS, OPENSSL, ZLIB, f"{PLACE}:2.3"]),
            st.sampled_from(["not_affected", "fixed", "affected", "under_investigation"]),
            st.sampled_from([{}, {"timestamp": "2026-09-20T00:00:00Z"}]),
        ),
        max_size=6,
    )
)
def test_statements_never_add_a_finding_and_their_order_is_irrelevant(statements):
    def counted(statements):
        context = Context([])
        from assess.sources.answers.scanners import of_trivy
        from assess.sources.base import Batch

        batch = Batch()
        documents = [*of_trivy(TRIVY, context), *of_any(openvex(*statements), context)]
        for frame, row in documents:
            if frame == "vex":
                batch.statements.append(row["statement"])
            else:
                batch.add(frame, row)
        ((_, settled),) = settle_images([("answers", batch)])
        (row,) = settled.rows["images"]
        return row["vuln_critical_n"], row["vuln_high_n"]

    critical, high = counted(statements)
    assert critical <= 2 and high <= 2
    assert counted(statements[::-1]) == (critical, high)
