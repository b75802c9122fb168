"""The software catalog: from its files and from its API."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay import replaying

from assess.config import Config, SourceConfig
from assess.sources import collect
from assess.sources.backstage import (
    BackstageSource,
    Kept,
    entities_in,
    to_dependencies,
    to_ref,
    to_service,
    to_tier,
)
from assess.sources.deadline import Deadline

FIXTURES = Path(__file__).parent.parent / "fixtures" / "backstage"
SECRET = "hunter2"


def read(path, base=FIXTURES, **options):
    table = {"path": path, **options}
    assert BackstageSource().check(table) == []
    return BackstageSource().collect(table, base, Deadline(10))


def services(batch):
    return {row["names"][0].name: row for row in batch.rows["services"]}


def edges(batch):
    return {(e["src"].name, e["dst"].name, e["kind"]) for e in batch.rows["dependencies"]}


@pytest.fixture
def batch():
    return read("files")


def test_components_that_run_are_services(batch):
    found = services(batch)
    assert set(found) == {"checkout", "payment", "ledger", "ledger-report"}
    checkout = found["checkout"]
    assert (checkout["owner"], checkout["lifecycle"], checkout["tier"]) == (
        "payments",
        "production",
        1,
    )
    assert "kind" not in checkout
    assert found["payment"]["kind"] == "worker"
    assert found["ledger"]["names"][0].namespace == "finance"


def test_titles_and_annotations_are_further_names(batch):
    names = services(batch)["checkout"]["names"]
    assert [n.name for n in names] == [
        "checkout",
        "Checkout Service",
        "checkout-web",
        "PCHECK1",
        "checkout-app",
    ]
    assert [n.confidence for n in names] == [0.95, 0.8, 0.8, 0.8, 0.8]


def test_people_and_texts_are_left_out(batch):
    assert SECRET not in repr(batch)
    assert "ada" not in repr(batch)
    found = services(batch)
    assert "owner" not in found["payment"]
    assert "owner" not in found["ledger"]
    assert batch.coverage[0]["redacted_n"] > 5


def test_declared_edges_have_the_kind_of_what_is_needed(batch):
    assert edges(batch) == {
        ("checkout", "orders-db", "data"),
        ("checkout", "mail-queue", "queue"),
        ("checkout", "payment", "declared"),
        ("checkout", "ghost", "declared"),
        ("checkout", "ledger", "call"),
        ("checkout", "bank-api", "call"),
        ("payment", "ledger", "declared"),
        ("payment", "orders-db", "data"),
        ("ledger", "ledger-report", "unknown"),
    }
    assert {e["evidence"] for e in batch.rows["dependencies"]} == {"backstage"}


def test_orphans_are_left_out_and_told(batch):
    (row,) = batch.coverage
    assert (row["status"], row["rows"]) == ("ok", 9)
    assert "1, such as component:default/gone" in row["hint"]


def test_relations_of_the_api_weigh_more_than_what_files_say():
    batch = read("entities.json")
    assert edges(batch) == {
        ("checkout", "payment", "declared"),
        ("checkout", "ledger", "call"),
    }
    checkout = services(batch)["checkout"]
    assert (checkout["tier"], checkout["kind"], checkout["owner"]) == (
        2,
        "web",
        "payments",
    )
    assert SECRET not in repr(batch)


def test_keys_of_tiers_are_the_organisations_own():
    found = services(read("files", tier_keys=["shop.example/tier"]))["checkout"]
    assert "tier" not in found
    batch = read(
        "files", tier_keys=["shop.example/tier", "tier"], criticality_keys=["tier"]
    )
    assert services(batch)["checkout"]["tier"] == 1
    assert services(batch)["checkout"]["criticality"] == 1.0
    assert read("files", tier_keys=["shop.example/tier"]).coverage[0]["unmapped_n"] == 1


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("1", 1),
        ("tier-2", 2),
        ("tier_3", 3),
        ("Tier 4", 4),
        ("T1", 1),
        ("0", 1),
        ("critical", 1),
        ("High", 2),
        ("low", 4),
        ("5", None),
        ("gold", None),
        ("", None),
        ("12", None),
    ],
)
def test_tiers(text, tier):
    assert to_tier(text) == tier


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("api", "component:shop/api"),
        ("API:ledger", "api:shop/ledger"),
        ("Other/Ledger", "component:other/ledger"),
        ("resource:a/b", "resource:a/b"),
        ("a:b:c", ""),
        ("", ""),
        (None, ""),
        ({"a": 1}, ""),
        ("https://a:b@c/d", ""),
        ("ada@shop.example", ""),
    ],
)
def test_references(text, ref):
    assert to_ref(text, "component", "shop") == ref


@pytest.mark.parametrize(
    ("name", "content", "status", "hint"),
    [
        (
            "x.yaml",
            "{{- if .Values.on }}\na: {{ .Values.b }}\n",
            "parse_error",
            "template",
        ),
        ("x.yaml", "a: [1\n", "parse_error", "no YAML"),
        (
            "x.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
            "empty",
            "no Component",
        ),
        ("x.json", "<html>Sign in</html>", "parse_error", "web page"),
        ("x.json", "[]", "empty", "no Component"),
        ("x.json", '{"items": []}', "empty", "no Component"),
        (
            "x.yaml",
            "apiVersion: backstage.io/v1\nkind: API\nmetadata: {name: [1]}\n",
            "parse_error",
            "no proper name",
        ),
    ],
)
def test_status_of_files(tmp_path, name, content, status, hint):
    (tmp_path / name).write_text(content)
    batch = read(name, tmp_path)
    (row,) = batch.coverage
    assert row["status"] == status
    assert hint in row.get("hint", "")
    assert batch.rows["services"] == []


def asked(answer, base, probe=False, **options):
    source = BackstageSource()
    with replaying(answer) as replay:
        call = source.probe if probe else source.collect
        batch = call({"endpoint": replay.url, **options}, base, Deadline(5))
    assert SECRET not in repr(batch)
    return batch, replay.asked


def component(number):
    return {
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": f"s{number}"},
        "spec": {"type": "service"},
    }


def catalog(total, page, link=True):
    """Answer as the catalog does; its links lack what it is mounted at."""

    def answer(path, query):
        assert path == "/api/catalog/entities"
        assert len(query["filter"]) == 4
        start = int(query.get("after", query.get("offset", 0)))
        end = min(start + min(page, int(query["limit"])), total)
        following = f'</entities?limit=500&after={end}>; rel="next"'
        headers = {"Link": following} if link and end < total else {}
        return 200, [component(n) for n in range(start, end)], headers

    return answer


@pytest.mark.parametrize(("page", "link", "requests"), [(200, True, 6), (500, False, 3)])
def test_all_pages_are_read(tmp_path, page, link, requests):
    (tmp_path / "token").write_text(SECRET)
    batch, calls = asked(catalog(1100, page, link), tmp_path, token_file="token")
    (row,) = batch.coverage
    assert (row["status"], row["rows"], row["requests"]) == ("ok", 1100, requests)
    assert len(batch.rows["services"]) == 1100
    assert calls[0][2]["Authorization"] == f"Bearer {SECRET}"


def test_a_catalog_that_repeats_its_page_ends(tmp_path):
    page = [component(n) for n in range(500)]
    batch, calls = asked(lambda *_: page, tmp_path)
    assert (len(calls), len(batch.rows["services"])) == (2, 500)


def test_half_a_catalog_then_an_error_is_partial(tmp_path):
    whole = catalog(1100, 500)

    def answer(path, query):
        return whole(path, query) if "after" not in query else (403, b"", {})

    batch, _ = asked(answer, tmp_path)
    assert (batch.coverage[0]["status"], len(batch.rows["services"])) == ("partial", 500)


@pytest.mark.parametrize(
    ("answer", "status", "hint"),
    [
        ((401, {"error": {"message": SECRET}}, {}), "denied", "expired"),
        ((404, b"", {}), "unsupported", "dumps"),
        ((429, b"", {"Retry-After": "60"}), "throttled", "later"),
        ((200, b"<!doctype html><title>Sign in</title>", {}), "parse_error", "web page"),
        ((200, {"message": SECRET}, {}), "parse_error", "no list of entities"),
    ],
)
def test_what_a_refusal_is(tmp_path, answer, status, hint):
    batch, _ = asked(lambda *_: answer, tmp_path)
    (row,) = batch.coverage
    assert row["status"] == status
    assert hint in row["hint"]
    assert batch.rows["services"] == []


def test_a_probe_asks_once(tmp_path):
    batch, calls = asked(catalog(1100, 500), tmp_path, probe=True)
    assert (len(calls), batch.coverage[0]["status"]) == (1, "ok")


def test_the_catalog_names_what_pages_people(tmp_path):
    sources = (
        SourceConfig("backstage", {"path": "backstage/files"}),
        SourceConfig(
            "incidents", {"path": "pagerduty/incidents.json", "format": "pagerduty"}
        ),
    )
    inventory = collect(Config(sources, {}, FIXTURES.parent, "assess.toml"))
    found = inventory["incidents"].set_index("incident_id")["service_id"]
    assert found["Q1PAGE0000001A"] == "checkout"
    assert found.isna().sum() == 2  # kept, and shown as nobody's
    edges = inventory["dependencies"]
    ghost = edges[edges["dst_id"] == "ext:ghost"]
    assert ghost["unresolved"].tolist() == [True]
    assert (
        SECRET
        not in inventory["services"].to_csv() + inventory["service_aliases"].to_csv()
    )


def test_options_are_checked():
    source = BackstageSource()
    assert source.check({"endpoint": "http://x", "tier_keys": ["a"]}) == []
    assert len(source.check({"tier_keys": "tier", "criticality_keys": [1]})) == 3


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "metadata",
                    "relations",
                    "type",
                    "target",
                    "targetRef",
                    "owner",
                    "dependsOn",
                    "annotations",
                    "labels",
                    "tier",
                    "name",
                    "kind",
                    "title",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=80)
@given(st.lists(ANY, max_size=4), st.sampled_from(["Component", "API", "Resource"]))
def test_any_entity_becomes_rows_or_nothing(values, kind):
    entities = [
        {**value, "kind": kind, "apiVersion": "backstage.io/v1"}
        for value in values
        if isinstance(value, dict)
    ]
    named = [{**e, "metadata": {"name": f"s{n}"}} for n, e in enumerate(entities)]
    found = {e.ref: e for e in entities_in([*entities, *named, *values])[0]}
    rows = [to_service(entity, Kept(("tier",), ("tier",))) for entity in found.values()]
    assert all(row["names"] for row in rows)
    to_dependencies(found)


def checkout(owner="group:default/payments", links=(), **annotations):
    return {
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "Component",
        "metadata": {
            "name": "checkout",
            "annotations": {k.replace("__", "/"): v for k, v in annotations.items()},
            "links": list(links),
        },
        "spec": {"type": "service", "owner": owner, "lifecycle": "production"},
    }


def service_of(tmp_path, entity):
    import json

    (tmp_path / "e.json").write_text(json.dumps([entity]))
    return read("e.json", tmp_path).rows["services"][0]


@pytest.mark.parametrize(
    ("entity", "has_runbook"),
    [
        (checkout(links=[{"url": "https://wiki.example/a", "type": "runbook"}]), True),
        (checkout(links=[{"url": "https://wiki.example/a", "title": "Run book"}]), True),
        (checkout(links=[{"url": "https://wiki.example/playbooks/checkout"}]), True),
        (checkout(**{"acme.example__runbook-url": "https://wiki.example/a"}), True),
        (
            checkout(**{"backstage.io__techdocs-ref": "url:https://x.example/runbook"}),
            True,
        ),
        # nobody says that there is none
        (checkout(**{"backstage.io__techdocs-ref": "dir:."}), None),
        (checkout(**{"acme.example__runbook-url": " "}), None),
        (
            checkout(links=[{"url": "https://grafana.example", "title": "Dashboard"}]),
            None,
        ),
        (checkout(links=[3, None, {"url": ["runbook"]}]), True),
        (checkout(), None),
    ],
)
def test_runbooks_of_links_and_annotations(tmp_path, entity, has_runbook):
    row = service_of(tmp_path, entity)
    assert row.get("runbook") is has_runbook
    assert "wiki" not in repr(row)


@pytest.mark.parametrize(
    ("entity", "owner"),
    [
        (checkout(), "payments"),
        (
            checkout(owner="user:ada", **{"opsgenie.com__team": "on-call-shop"}),
            "on-call-shop",
        ),
        (checkout(owner=None, **{"github.com__team-slug": "acme/web"}), "web"),
        (checkout(owner="user:ada"), None),
        (checkout(owner=None, **{"opsgenie.com__team": "Ada Lovelace"}), None),
    ],
)
def test_the_team_of_another_system_stands_in_for_an_owner(tmp_path, entity, owner):
    assert service_of(tmp_path, entity).get("owner") == owner
