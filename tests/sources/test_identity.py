from __future__ import annotations

import random

import pytest
from clocks import cpu_seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import ConfigError
from assess.sources.base import Name
from assess.sources.joining.identity import Identity, Nearest, read_map, short, slug


def compose(name, project="shop", *more):
    return (Name(name, "compose-service", 0.85, project), *more)


def known(name, confidence=0.9, rule="catalog", namespace=""):
    return (Name(name, rule, confidence, namespace),)


def ids(identity):
    return sorted(service.service_id for service in identity.services)


@pytest.mark.parametrize(
    ("name", "slugged", "shortened"),
    [
        ("Checkout Service", "checkout-service", "checkout"),
        ("prod-checkout_API", "prod-checkout-api", "checkout-api"),
        ("billing-svc", "billing-svc", "billing"),
        ("service", "service", "service"),
        ("prod", "prod", "prod"),
        ("product", "product", "product"),
        ("Müller.Ordnung", "müller-ordnung", "müller-ordnung"),
    ],
)
def test_spellings(name, slugged, shortened):
    assert slug(name) == slugged
    assert short(name) == shortened


def test_a_service_is_named_as_its_compose_service():
    identity = Identity([("compose", compose("Web_API"))])
    assert ids(identity) == ["Web_API"]


def test_sources_join_where_names_are_written_alike():
    identity = Identity(
        [("docker", compose("checkout-svc")), ("catalog", known("Checkout"))]
    )
    assert ids(identity) == ["Checkout"]
    assert identity.bearer("docker", compose("checkout-svc")).service_id == "Checkout"
    (alias,) = identity.aliases()
    assert (alias["alias"], alias["alias_source"]) == ("checkout-svc", "docker")
    assert alias["ambiguous"] is False


def test_what_one_source_holds_apart_is_never_joined():
    born = [
        ("docker", compose(n))
        for n in ("billing-prod", "billing-staging", "web_api", "web-api")
    ]
    assert ids(Identity(born)) == [
        "billing-prod",
        "billing-staging",
        "web-api",
        "web_api",
    ]
    assert len(Identity([*born, ("catalog", known("billing"))]).services) == 5


def test_two_projects_that_share_a_name_are_qualified():
    born = [("docker", compose("db", "shop")), ("docker", compose("db", "crm"))]
    identity = Identity([*born, ("docker", compose("web", "shop"))])
    assert ids(identity) == ["crm/db", "shop/db", "web"]
    assert identity.match(compose("db", "crm")).service_id == "crm/db"
    assert identity.match(known("shop/db")).service_id == "shop/db"
    unclear = identity.match(known("db"))
    assert (unclear.service_id, unclear.ambiguous) == (None, True)


def test_one_project_on_two_engines_is_one_project():
    born = [("docker", compose("db")), ("docker#2", compose("db"))]
    assert ids(Identity(born)) == ["db"]


def test_a_second_name_joins_services_of_other_sources():
    labelled = (Name("storefront", "label", 1.0, "shop"), *compose("web"))
    identity = Identity([("docker", labelled), ("compose", compose("web"))])
    assert ids(identity) == ["storefront"]
    assert identity.match(compose("web")).service_id == "storefront"


def test_a_second_name_that_two_services_have_joins_nothing():
    one = (Name("one", "label", 1.0), Name("web", "telemetry-env", 0.8))
    two = (Name("two", "label", 1.0), Name("web", "telemetry-env", 0.8))
    identity = Identity([("docker", one), ("docker", two), ("catalog", known("web"))])
    assert ids(identity) == ["one", "two", "web"]
    assert identity.match(known("web")).service_id == "web"


def test_units_and_host_names_never_join_sources_alone():
    unit = known("redis", 0.5, "unit")
    identity = Identity([("docker", compose("redis")), ("ansible", unit)])
    assert ids(identity) == ["ansible/redis", "redis"]
    (first, second) = identity.suggestions([])
    assert first["ambiguous"] is True
    assert {first["service_id"], second["service_id"]} == {"ansible/redis", "redis"}


def test_units_of_one_name_are_one_service():
    born = [("ansible", known("billing", 0.5, "unit"))] * 3
    assert ids(Identity(born)) == ["billing"]


def test_seven_hosts_called_localhost_are_no_service():
    names = known("localhost", 0.3, "hostname")
    identity = Identity([(f"docker#{n}", names) for n in range(7)])
    assert identity.services == []
    assert identity.bearer("docker#0", names).service_id is None
    sure = known("localhost", 0.9, "catalog")
    assert Identity([("catalog", sure)]).services == []
    assert identity.match(sure).service_id is None


def test_similar_names_are_only_suggested():
    identity = Identity([("docker", compose("checkout-frontend"))])
    name = Name("checkout-frontent", "incident", 0.9)
    assert identity.match((name,)).service_id is None
    (row,) = identity.suggestions([("incidents", name)])
    assert (row["service_id"], row["rule"]) == ("checkout-frontend", "similar")
    assert row["ambiguous"] is True
    assert 0.85 <= row["confidence"] < 1
    assert identity.suggestions([("incidents", Name("search", "incident", 0.9))]) == []


def test_people_decide_with_the_map(tmp_path):
    file = tmp_path / "map.csv"
    file.write_text("pattern,service_id\nlegacy-(.+)-\\d+,\\1\nshop/db,orders-db\n")
    identity = Identity(
        [("docker", compose("db")), ("ec2", known("legacy-billing-7", 0.3, "hostname"))],
        rules=read_map(file),
    )
    assert ids(identity) == ["billing", "orders-db"]
    match = identity.match(known("LEGACY-billing-12"))
    assert (match.service_id, match.confidence) == ("billing", 1.0)


def test_a_map_that_cannot_be_used_names_every_line(tmp_path):
    file = tmp_path / "map.csv"
    file.write_text("pattern,service_id\n(,web\n,web\nfine,\\3\n")
    with pytest.raises(ConfigError, match=r"line 2.*line 3.*line 4"):
        read_map(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_map(tmp_path / "absent.csv")


def test_confidence_of_a_match_is_that_of_its_weakest_link():
    identity = Identity([("docker", known("web", 0.6, "image-repository"))])
    assert identity.match(known("web", 0.9)).confidence == 0.6


def test_nearest_names():
    nearest = Nearest(["checkout", "checkout-api", "search"])
    assert nearest("checkuot-api")[0][0] == "checkout-api"
    assert nearest("zzz") == []
    assert nearest("") == []


FLEETS = {  # names of services that resemble each other
    "numbered": lambda n: (f"service-{n:05d}", ""),
    "words": lambda n: (
        "-".join(WORDS[n // k % len(WORDS)] for k in (1, 6, 36, 216)),
        "",
    ),
    "one name": lambda n: ("db", f"project-{n}"),
    "long": lambda n: (f"{'x' * 5_000}-{n}", ""),
}
WORDS = ("checkout", "billing", "search", "payment", "stock", "mail")


def identify(fleet, n):
    """Identify so many services, and suggest similar ones."""
    born = [
        (("docker", "compose")[k % 2], known(name, 0.85, "r", space))
        for k in range(n)
        for name, space in [FLEETS[fleet](k)]
    ]
    unresolved = [("traces", Name(f"{names[0].name}a", "r", 0.8)) for _, names in born]
    identity = Identity(born)
    suggested = identity.suggestions(unresolved)
    assert len(suggested) <= 2 * n * 3 * 6  # three names that six services may have


@pytest.mark.parametrize("fleet", FLEETS)
def test_twice_the_services_take_no_more_than_twice_the_time(fleet):
    identify(fleet, 100)  # caches
    once, twice = (cpu_seconds(identify, fleet, n, tries=4) for n in (500, 1000))
    assert twice < 3 * max(once, 0.05)


NAMES = st.tuples(
    st.sampled_from(["docker", "docker#2", "catalog", "ansible"]),
    st.sampled_from(
        ["web", "Web", "web-svc", "prod-web", "db", "shop/db", "localhost", "a", ""]
    ),
    st.sampled_from([0.3, 0.5, 0.6, 0.85, 1.0]),
    st.sampled_from(["", "shop", "crm", "default"]),
)


@settings(max_examples=150)
@given(st.lists(NAMES, max_size=12), st.randoms())
def test_ids_are_unique_and_do_not_depend_on_the_order_of_rows(found, rng: random.Random):
    born = [
        (source, known(name, trust, "r", space)) for source, name, trust, space in found
    ]
    born.sort(key=lambda claim: claim[0])
    identity = Identity(born)
    named = [service.service_id for service in identity.services]
    assert len(set(named)) == len(named)
    assert all(named)
    shuffled = born[:]
    rng.shuffle(shuffled)
    shuffled.sort(key=lambda claim: claim[0])
    again = Identity(shuffled)
    for source, names in born:
        assert identity.bearer(source, names) == again.bearer(source, names)


# a slash before or behind a name is no part of it, as engines write it
EXACT = st.text(min_size=1, max_size=6).filter(lambda name: name == name.strip("/"))


def test_a_source_that_writes_a_name_with_and_without_its_place_means_two():
    names = [known(name, 1.0, "frames") for name in ("web", "shop/web")]
    born = [("frames", each) for each in names]
    identity = Identity(born)
    ids = [identity.bearer("frames", each).service_id for each in names]
    assert ids == ["web", "shop/web"]
    # another source's bare name is still the only one that there is
    catalog = ("catalog", known("web", 1.0, "r"))
    alone = Identity([born[1], catalog])
    assert alone.bearer(*catalog).service_id == "shop/web"


@settings(max_examples=60)
@given(st.lists(EXACT, unique=True, max_size=8))
def test_one_source_with_exact_names_keeps_every_one(found):
    born = [("frames", known(name, 1.0, "frames")) for name in found]
    identity = Identity(born)
    for (_, names), name in zip(born, found, strict=True):
        match = identity.bearer("frames", names)
        assert match.service_id == name
