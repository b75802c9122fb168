"""Addresses that one source declares lead to what another one knows, and never to a guess."""

from __future__ import annotations

import pytest

from assess.sources.base import Batch, Name
from assess.sources.compose import ComposeSource
from assess.sources.deadline import Deadline
from assess.sources.edges import Text, distinct, mentions, needs
from assess.sources.edges.address import Callee, Siblings
from assess.sources.run import join


def compose(tmp_path, text):
    (tmp_path / "compose.yaml").write_text(text)
    options = {"path": "compose.yaml"}
    return ComposeSource().collect(options, tmp_path, Deadline(10))


def dependencies(*batches):
    for n, batch in enumerate(batches):
        for rows in batch.rows.values():
            for row in rows:
                row.setdefault("source_ref", str(n))
    labels = ["compose", "ec2", "ansible"]
    tables, _, notes = join([*zip(labels, batches, strict=False)], [])
    return tables["dependencies"], notes


def machine(*services, **host):
    batch = Batch()
    batch.add("hosts", {"host_id": "i-1", **host})
    for name in services:
        names = (Name(name, "tag", 0.9),)
        batch.add("services", {"names": names})
        workload = {"workload_id": f"i-1/{name}", "names": names, "host_id": "i-1"}
        batch.add("workloads", workload)
    return batch


APP = "name: shop\nservices: {app: {image: acme/app, environment: {DB_HOST: '%s'}}}\n"


@pytest.mark.parametrize("address", ["ledger01.example.net", "10.1.2.3", "ledger01"])
def test_an_address_of_a_known_host_leads_to_its_only_service(tmp_path, address):
    host = machine("ledger", hostname="ledger01.example.net", addresses="10.1.2.3")
    table, _ = dependencies(compose(tmp_path, APP % address), host)
    (row,) = table.to_dict("records")
    assert (row["src_id"], row["dst_id"], row["unresolved"]) == ("app", "ledger", False)
    assert row["confidence"] == 0.7


def test_a_host_with_two_services_stays_an_address(tmp_path):
    host = machine("ledger", "mail", hostname="ledger01.example.net")
    table, _ = dependencies(compose(tmp_path, APP % "ledger01.example.net"), host)
    assert table["dst_id"].tolist() == ["ext:ledger01.example.net"]


def test_an_address_that_nobody_knows_is_listed_as_unresolved(tmp_path):
    table, notes = dependencies(compose(tmp_path, APP % "ledger"), Batch())
    (row,) = table.to_dict("records")
    assert (row["dst_id"], row["unresolved"]) == ("ext:ledger", True)
    (note,) = [n for n in notes if (n["scope"], n["call"]) == ("dependencies", "resolve")]
    assert (note["status"], note["unmapped_n"]) == ("partial", 1)


def test_a_managed_database_is_outside(tmp_path):
    host = "x.abc.eu-west-1.rds.amazonaws.com"
    table, _ = dependencies(compose(tmp_path, APP % host), Batch())
    (row,) = table.to_dict("records")
    assert (row["dst_id"], row["kind"], row["address_basis"]) == (
        f"ext:{host}",
        "data",
        "env",
    )


# ---- namespaces ----


def fleet():
    siblings = Siblings()
    for space in ("a", "b"):
        callee = Callee(Name("db", "service", 0.9, space), "postgres")
        siblings.add(callee, "db", space=space)
    return siblings


@pytest.mark.parametrize(
    ("home", "host", "space"),
    [
        ("a", "db", "a"),
        ("b", "db", "b"),
        ("c", "db.a", "a"),
        ("b", "db.a.svc", "a"),
        ("b", "db.a.svc.cluster.local", "a"),
        ("b", "db-0.db.a.svc.cluster.local", "a"),
        ("b", "db-0.db", "b"),
    ],
)
def test_a_name_in_two_namespaces_means_the_own_one_or_the_one_it_says(home, host, space):
    assert fleet().find(host, home).name.namespace == space


@pytest.mark.parametrize("host", ["db", "db.c", "db.c.svc", "db.a.example.com"])
def test_a_name_of_another_namespace_is_never_guessed(host):
    assert fleet().find(host, "c") is None


def test_two_services_behind_one_alias_are_ambiguous():
    siblings = Siblings()
    for name in ("one", "two"):
        callee = Callee(Name(name, "service", 0.9))
        siblings.add(callee, "pool", is_alias=True)
        siblings.add(callee, name)
    assert siblings.find("pool") is None
    assert siblings.find("one").name.name == "one"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("db.x.svc.cluster.local", Name("db", "address", 0.6, "x")),
        ("db.service.consul", Name("db", "address", 0.6, "-")),
        ("db", Name("db", "address", 0.6, "home")),
    ],
)
def test_what_is_not_in_the_material_keeps_its_namespace(host, name):
    found = mentions([Text(f"http://{host}:80", name="X")])
    caller = Callee(Name("app", "service", 0.9, "home"))
    (row,) = needs(caller, found, Siblings(), space="home")
    assert row["dst"] == name


# ---- certainty, order, stores ----


def rows_of(*texts, image="acme/app"):
    siblings = Siblings()
    for host, repository in (("db", "postgres"), ("cache", "redis"), ("api", "acme/api")):
        siblings.add(Callee(Name(host, "service", 0.9), repository), host)
    caller = Callee(Name("app", "service", 0.9), image)
    return distinct(needs(caller, mentions(texts), siblings))


def facts(rows):
    return {(r["dst"].name, r["kind"], r["address_basis"], r["possible"]) for r in rows}


def test_what_may_not_be_read_is_possible_until_another_text_says_it():
    possible = Text("db:5432", "config", "all.conf", is_possible=True)
    assert facts(rows_of(possible)) == {("db", "data", "config", True)}
    both = rows_of(possible, Text("db", "env", "DB_HOST"))
    assert facts(both) == {("db", "data", "env", False)}
    stranger = Text("http://elsewhere.example.net", "config", is_possible=True)
    assert rows_of(stranger) == []


def test_what_only_waits_is_a_start_order_but_for_stores():
    wait = Text(
        "until nc -z api 80 && nc -z db 5432; do :; done", "command", is_wait=True
    )
    kinds = {(name, kind) for name, kind, *_ in facts(rows_of(wait))}
    assert kinds == {("api", "start_order"), ("db", "data")}
    both = rows_of(wait, Text("http://api/v1", "env", "API"))
    assert ("api", "call", "env", False) in facts(both)


def test_redis_is_data_where_it_is_the_only_store():
    cache = Text("redis://cache:6379", "env", "CACHE")
    assert facts(rows_of(cache)) == {("cache", "data", "env", False)}
    kinds = {row["dst"].name: row["kind"] for row in rows_of(cache, Text("db:5432"))}
    assert kinds == {"cache": "cache", "db": "data"}


def test_who_watches_others_does_not_need_them():
    text = Text("targets: ['api:8080']", "config")
    (row,) = rows_of(text, image="prom/prometheus")
    assert row["kind"] == "telemetry"


@pytest.mark.parametrize("secret", ["hunter2", "p:ss/w@rd", "a,b;c", "s3cret@x"])
def test_no_secret_leaves_a_text(secret):
    texts = [
        Text(f"postgres://user:{secret}@db:5432/x", "env", "DATABASE_URL"),
        Text(f"Server=db;User=u;Password={secret};", "env", "CONNECTION_STRING"),
        Text(f"user:{secret}@tcp(db:3306)/x", "env", "DSN"),
        Text(secret, "env", "API_TOKEN"),
        Text(f"run --password {secret} --host db", "command"),
        Text(f"db:\n  host: db\n  password: {secret}\n", "config"),
    ]
    for text in texts:
        for row in rows_of(text):
            assert row["dst"].name == "db", (text, row)
