from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.sources.base import Name
from assess.sources.compose import ComposeSource
from assess.sources.compose.forms import Replaced, merged, mount, port_text
from assess.sources.compose.project import (
    MAX_LISTED,
    interpolate,
    read_env,
    read_project,
)
from assess.sources.deadline import Deadline

FIXTURES = Path(__file__).parent.parent / "fixtures" / "compose"


def read(path, base=FIXTURES, **options):
    return ComposeSource().collect({"path": path, **options}, base, Deadline(10))


def written(tmp_path, text, env="", **options):
    (tmp_path / "compose.yaml").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    if env:
        (tmp_path / ".env").write_text(env)
    return read("compose.yaml", tmp_path, **options)


def workloads(batch):
    return {row["name"]: row for row in batch.rows["workloads"]}


def edges(batch):
    def written_name(end):
        return end.name if isinstance(end, Name) else end

    return {
        (written_name(row["src"]), written_name(row["dst"]), row["kind"], row["evidence"])
        for row in batch.rows["dependencies"]
    }


@pytest.fixture(scope="module")
def shop():
    return read("shop/compose.yaml")


# ---- variables ----


def test_a_mount_from_a_variable_without_a_value_keeps_its_data_and_is_shared(tmp_path):
    text = """
services:
  db: {image: "mysql:8", volumes: ["${DATA}:/var/lib/mysql", "$OTHER:/x", "${SET:-}:/y"]}
  copy: {image: "mysql:8", volumes: ["${DATA}:/backup"], environment: ["A=${DATA}:/z"]}
"""
    batch = written(tmp_path, text)
    found = {
        row["destination"]: (row["type"], row["shared_with_n"], row["host_path_class"])
        for row in batch.rows["mounts"]
        if "host_path_class" in row
    }
    assert found == {
        "/var/lib/mysql": ("bind", 1, None),
        "/backup": ("bind", 1, None),
        "/x": ("bind", 0, None),
    }
    assert batch.coverage[0]["hint"] == "variables without a value: DATA, OTHER"


@pytest.mark.parametrize(
    ("text", "expected", "unset"),
    [
        ("$A-${A}", "1-1", set()),
        ("${NO:-d}${NO-d}${EMPTY:-d}[${EMPTY-d}]", "ddd[]", set()),
        ("${A:+yes}${NO:+yes}${EMPTY:+yes}${EMPTY+yes}", "yesyes", set()),
        ("${NO:?must be set}", "", {"NO"}),
        ("${EMPTY:?must be set}${EMPTY?}", "", {"EMPTY"}),
        ("${NO:-${ALSO:-${A}}}", "1", set()),
        ("${NO:-${ALSO}}", "", {"ALSO"}),
        ("${A:-${ALSO}}", "1", set()),
        ("$$A $${A}", "$A ${A}", set()),
        ('${NO:-{"x": 1}}', '{"x": 1}', set()),
        ("100$ $5 ${ ${} ${A", "100$ $5 ${ ${} ${A", set()),
        ("$NO.$A", ".1", {"NO"}),
    ],
)
def test_interpolation(text, expected, unset):
    found: set[str] = set()
    assert interpolate(text, {"A": "1", "EMPTY": ""}, found) == expected
    assert found == unset


@settings(max_examples=100)
@given(st.text())
def test_interpolation_leaves_text_alone(text):
    unset: set[str] = set()
    assert interpolate(text.replace("$", "$$"), {}, unset) == text
    assert not unset


@settings(max_examples=50)
@given(st.integers(1, 12), st.text("abc :?-+", max_size=5))
def test_nested_defaults_give_the_innermost(depth, innermost):
    text = innermost
    for number in range(depth):
        text = f"${{NAME_{number}:-{text}}}"
    assert interpolate(text, {}, set()) == innermost


@settings(max_examples=100)
@given(st.text("${}A:-?+ \n"), st.dictionaries(st.just("A"), st.text("${}A")))
def test_interpolation_never_fails_and_never_reads_values_again(text, env):
    unset: set[str] = set()
    interpolate(text, env, unset)
    assert unset <= {"A", "AA", "AAA", "AAAA"} or all(
        set(name) == {"A"} for name in unset
    )
    assert interpolate("${A}", env, set()) == env.get("A", "")


def test_labels_of_files_count_and_own_ones_win(tmp_path):
    (tmp_path / "labels.txt").write_text("assess.service=till\nproxied=no\n")
    (tmp_path / "compose.yaml").write_text(
        "services: {web: {image: acme/web, label_file: labels.txt, labels: [proxied=yes]}}"
    )
    project = read_project([tmp_path / "compose.yaml"])
    batch = ComposeSource().collect({"path": "compose.yaml"}, tmp_path, Deadline(10))
    assert batch.rows["services"][0]["names"][0].name == "till"
    assert project.services["web"]["labels"] == {"proxied": "yes"}
    (tmp_path / "labels.txt").unlink()
    batch = ComposeSource().collect({"path": "compose.yaml"}, tmp_path, Deadline(10))
    assert batch.coverage[0]["hint"] == "labels.txt cannot be read"


def test_env_file():
    text = (
        "# comment\nexport A=1\nB = two words # not this\nC='$A # ${x}'\nD=\"$A\\n${B}\"\n"
        'E=\nF=a#b\nG="multi\nline"\nnonsense\nH=$A'
    )
    assert read_env(text) == {
        "A": "1",
        "B": "two words",
        "C": "$A # ${x}",
        "D": "1\ntwo words",
        "E": "",
        "F": "a#b",
        "G": "multi\nline",
        "H": "1",
    }


# ---- short forms ----


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("3000", "3000/tcp"),
        ("8000:80", "8000->80/tcp"),
        ("22:22", "22->22/tcp"),
        ("9090-9091:8080-8081", "9090-9091->8080-8081/tcp"),
        ("127.0.0.1:8001:80/udp", "127.0.0.1:8001->80/udp"),
        ("0.0.0.0:1:2", "1->2/tcp"),
        ("[::1]:80:80", "::1:80->80/tcp"),
        ({"target": "80", "published": "8080", "protocol": "tcp"}, "8080->80/tcp"),
        ({"published": "80"}, ""),
    ],
)
def test_ports(port, expected):
    assert port_text(port) == expected


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ("data:/x", ("/x", "volume", "data", False)),
        ("data:/x:ro,z", ("/x", "volume", "data", True)),
        ("/x", ("/x", "volume", "", False)),
        ("./a:/x", ("/x", "bind", "./a", False)),
        ("C:\\a:/x:ro", ("/x", "bind", "C:\\a", True)),
        ({"type": "tmpfs", "target": "/x"}, ("/x", "tmpfs", "", False)),
    ],
)
def test_volumes(volume, expected):
    target, found = mount(volume)
    assert (target, found["type"], found["source"], found["read_only"]) == expected


VALUES = st.recursive(
    st.text("ab", max_size=2) | st.none(),
    lambda inner: (
        st.lists(st.text("ab", max_size=2), max_size=3)
        | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=3)


@settings(max_examples=100)
@given(MAPPINGS, MAPPINGS)
def test_merging_twice_changes_nothing(under, over):
    once = merged(under, over)
    assert merged(once, over) == once
    assert merged(once, {}) == once


def test_merging():
    under = {"a": {"x": "1", "y": "2"}, "l": ["1"], "s": "1", "gone": "1", "new": ["1"]}
    over = {
        "a": {"x": "3"},
        "l": ["1", "2"],
        "s": "2",
        "gone": Replaced(None),
        "new": Replaced(["9"]),
    }
    assert merged(under, over) == {
        "a": {"x": "3", "y": "2"},
        "l": ["1", "2"],
        "s": "2",
        "new": ["9"],
    }


# ---- a project ----


def test_services_and_replicas(shop):
    names = [row["workload_id"] for row in shop.rows["workloads"]]
    assert [n for n in names if "/api/" in n] == [
        f"compose:shop/api/{n}" for n in (1, 2, 3)
    ]
    assert set(workloads(shop)) == {
        "api",
        "bus",
        "cache",
        "db",
        "sidecar",
        "web",
        "worker",
    }
    assert {row["state"] for row in shop.rows["workloads"]} == {"declared"}
    assert {row["source_kind"] for row in shop.rows["workloads"]} == {"compose-service"}


def test_columns_of_workloads(shop):
    found = workloads(shop)
    api, web, sidecar, worker = (
        found[name] for name in ("api", "web", "sidecar", "worker")
    )
    assert (api["pinned"], api["tag_floating"], api["user_root"]) == (True, False, False)
    assert (api["memory_limit_bytes"], api["memory_unlimited"]) == (512 * 2**20, False)
    assert (api["cpu_limit"], api["stop_timeout_s"], api["readonly_root"]) == (
        0.5,
        90.0,
        True,
    )
    assert (web["registry"], web["repository"]) == (
        "registry.example.com:5000",
        "shop/web",
    )
    assert (web["tag"], web["ports"]) == ("2.0", "127.0.0.1:8080->80/tcp;22->22/tcp")
    assert (web["restart_policy"], web["log_driver"]) == ("unless-stopped", "json-file")
    assert web["user_root"] is None
    assert (sidecar["privileged"], sidecar["caps_added_n"]) == (True, 2)
    assert (sidecar["memory_unlimited"], sidecar["user_root"]) == (True, True)
    assert (worker["docker_sock_mounted"], worker["restart_policy"]) == (True, "no")
    assert (worker["tag_floating"], worker["memory_limit_bytes"]) == (True, 256 * 2**20)
    assert (web["env_names_n"], web["secret_like_env_n"]) == (5, 2)


@pytest.mark.parametrize(
    ("declared", "policy"),
    [
        ("restart: on-failure:3", "on-failure"),
        ("restart: always", "always"),
        ('restart: "no"', "no"),
        ("deploy: {restart_policy: {condition: any}}", "always"),
        ("deploy: {restart_policy: {condition: none}}", "no"),
        ("deploy: {restart_policy: {condition: on-failure}}", "on-failure"),
    ],
)
def test_a_restart_policy_is_a_word_of_the_dictionary(tmp_path, declared, policy):
    batch = written(tmp_path, f"services: {{a: {{image: x, {declared}}}}}")
    assert workloads(batch)["a"]["restart_policy"] == policy


def test_names(shop):
    (api, *_) = [row["names"] for row in shop.rows["services"] if row["name"] == "api"]
    assert api[0] == Name("storefront-api", "label", 1.0)
    assert api[1] == Name("api", "compose-service", 0.85, "shop")
    assert api[2] == Name("shop-api", "telemetry-env", 0.8, "shop")


def test_services_know_what_the_file_says_and_no_more(shop):
    found = {row["name"]: row for row in shop.rows["services"]}
    assert [found[n]["health_checked"] for n in ("api", "bus", "db")] == [
        True,
        False,
        False,  # an official image, which brings no check of its own
    ]
    assert [found[n]["stateful"] for n in ("db", "web")] == [True, False]
    assert [found[n]["secrets_in_image"] for n in ("web", "db")] == [True, False]
    assert not any("platform" in row for row in shop.rows["services"])
    kinds = [found[n]["kind"] for n in ("db", "web")]
    assert kinds == [None, "web" if workloads(shop)["web"]["ports"] else None]


@pytest.mark.parametrize(
    ("proxy", "told", "is_public"),
    [
        ("traefik:v3.1", "labels: [traefik.enable=true]", True),
        ("traefik", "labels: {traefik.http.routers.a.rule: Host(`a.example`)}", True),
        ("traefik:1.7", "labels: ['traefik.frontend.rule=Host:a.example']", True),
        ("traefik", "deploy: {labels: {traefik.tcp.routers.a.rule: H}}", True),
        ("lucaslorentz/caddy-docker-proxy:2", "labels: {caddy_1: a.example}", True),
        ("nginxproxy/nginx-proxy:1", "environment: [VIRTUAL_HOST=a.example]", True),
        (
            "traefik",
            "labels: [traefik.enable=false, traefik.http.routers.a.rule=x]",
            None,
        ),
        ("traefik", "labels: [traefik.docker.network=web]", None),
        ("nginx", "labels: [traefik.enable=true]", True),
    ],
)
def test_labels_tell_a_proxy_to_open_a_service(tmp_path, proxy, told, is_public):
    text = f"services: {{a: {{image: acme/a, {told}}}, edge: {{image: {proxy}}}}}"
    batch = written(tmp_path, text)
    rows = {row["name"]: row for row in batch.rows["services"]}
    assert rows["a"]["public"] is is_public
    called = {("edge", "a", "call", "compose-file")}
    assert edges(batch) == (called if is_public and proxy != "nginx" else set())


@pytest.mark.parametrize(
    ("address", "callee"),
    [
        ("http://host.docker.internal:9201", "search"),
        ("host.containers.internal:9201", "search"),
        ("http://gateway.docker.internal:9200", None),  # the port within
        ("http://host.docker.internal:80", None),  # nobody's
        ("http://host.docker.internal", None),
    ],
)
def test_behind_the_machine_of_the_containers_is_who_publishes_the_port(
    tmp_path, address, callee
):
    text = f"""
    services:
      web: {{image: acme/web, environment: {{A_HOST: '{address}'}}}}
      search: {{image: elasticsearch, ports: ['127.0.0.1:9201:9200']}}
    """
    found = edges(written(tmp_path, text))
    assert found == ({("web", callee, "data", "environment")} if callee else set())


@pytest.mark.parametrize("address", ["10.9.0.1", "host-gateway"])
def test_a_name_for_the_machine_of_the_containers_is_no_service(tmp_path, address):
    text = f"""
    services:
      web:
        image: acme/web
        environment: {{SEARCH_URL: 'http://host.docker.internal:9201'}}
        extra_hosts: ['host.docker.internal:{address}']
      search: {{image: elasticsearch, ports: ['9201:9200']}}
    """
    assert edges(written(tmp_path, text)) == {("web", "search", "data", "environment")}


def test_an_address_that_browsers_may_be_told_is_a_possible_call(tmp_path):
    text = """
    services:
      identity: {image: acme/identity, environment: {SpaClient: 'http://host.docker.internal:5104'}}
      spa: {image: acme/spa, ports: ['5104:80']}
    """
    (row,) = written(tmp_path, text).rows["dependencies"]
    assert (row["dst"].name, row["possible"]) == ("spa", True)


def test_a_store_that_upgrades_itself_calls_nothing_of_a_shared_environment(tmp_path):
    (tmp_path / "all.env").write_text("CACHE_URL=redis://cache\nDB_URL=postgres://db/x\n")
    text = """
    services:
      web: {image: acme/web, env_file: all.env}
      db: {image: 'pgautoupgrade/pgautoupgrade:17-alpine', env_file: all.env}
      cache: {image: redis}
    """
    found = {(src, dst) for src, dst, *_ in edges(written(tmp_path, text))}
    assert found == {("web", "db"), ("web", "cache")}


def test_mounts(shop):
    found = {(m["workload_id"], m["destination"]): m for m in shop.rows["mounts"]}
    data = found["compose:shop/db/1", "/var/lib/postgresql/data"]
    assert (data["volume_name"], data["source_class"], data["data_like"]) == (
        "dbdata",
        "named-volume",
        True,
    )
    uploads = found["compose:shop/worker/1", "/uploads"]
    assert (uploads["volume_name"], uploads["driver"]) == ("shop_uploads", "nfs")
    assert (uploads["read_only"], uploads["shared_with_n"]) == (True, 3)
    assert (
        found["compose:shop/db/1", "/tmp/scratch"]["source_class"] == "anonymous-volume"
    )
    assert found["compose:shop/db/1", "/run"]["type"] == "tmpfs"


def test_every_way_to_need_something(shop):
    assert edges(shop) == {
        ("web", "storefront-api", "call", "environment"),
        ("web", "cache", "data", "compose-file"),  # its only store
        ("web", "ext:pay.example.net", "call", "environment"),
        ("storefront-api", "db", "data", "environment"),
        ("storefront-api", "bus", "queue", "environment"),
        ("storefront-api", "ext:unleash.example.net", "flags", "environment"),
        ("storefront-api", "ext:consul.example.net", "discovery", "environment"),
        ("worker", "storefront-api", "call", "environment"),
        ("worker", "ext:legacy_billing_1", "call", "compose-file"),
        ("worker", "ext:metrics.example.net", "telemetry", "environment"),
        ("worker", "cache", "data", "environment"),
        ("worker", "db", "start_order", "compose-file"),  # by volumes_from
        ("sidecar", "worker", "declared", "compose-file"),
    }
    conditions = {
        (row["src"].name, getattr(row["dst"], "name", "")): row["condition"]
        for row in shop.rows["dependencies"]
        if row.get("condition")
    }
    assert conditions["web", "storefront-api"] == "service_healthy"
    assert conditions["storefront-api", "db"] == "service_started"


def test_secrets_stay_in_the_files(shop):
    assert "hunter2" not in repr(shop.rows) + repr(shop.coverage)
    assert "sha256" in repr(shop.rows)


def test_variables_without_a_value_are_named(shop):
    (row,) = shop.coverage
    assert (row["status"], row["rows"], row["unmapped_n"]) == ("partial", 7, 1)
    assert row["hint"] == (
        "variables without a value: DB_PASSWORD; left out, off by profile or run by no engine: console"
    )


def test_services_of_profiles_that_are_off_are_named_and_not_missed(tmp_path):
    text = """
    services:
      web: {image: acme/web:1, depends_on: [mail, ledger]}
      mail: {image: acme/mail:1, profiles: [extra]}
    """
    (row,) = written(tmp_path, text).coverage
    assert row["status"] == "partial"
    assert row["hint"] == (
        "services that are needed, but not declared: ledger; "
        "left out, off by profile or run by no engine: mail"
    )
    (row,) = written(tmp_path, text.replace(", ledger", "")).coverage
    assert (row["status"], row["rows"]) == ("ok", 1)
    assert row["hint"] == "left out, off by profile or run by no engine: mail"


def test_the_socket_that_a_service_asks_for_by_a_flag_is_mounted(tmp_path):
    text = """
    services:
      gateway: {image: acme/gateway:1, use_api_socket: true, gpus: all}
      web: {image: acme/web:1, use_api_socket: false}
    """
    batch = written(tmp_path, text)
    found = workloads(batch)
    assert {n: r["docker_sock_mounted"] for n, r in found.items()} == {
        "gateway": True,
        "web": False,
    }
    assert (found["gateway"]["devices_n"], found["web"]["devices_n"]) == (1, 0)
    (mount,) = batch.rows["mounts"]
    assert (mount["destination"], mount["source_class"]) == (
        "/var/run/docker.sock",
        "socket",
    )


def test_a_provider_is_no_container_and_a_model_is_a_need_that_was_not_read(tmp_path):
    text = """
    services:
      chat: {image: acme/chat:1, depends_on: [llm], models: [small]}
      helper: {image: acme/helper:1, models: {small: {endpoint_var: LLM_URL}}}
      llm: {provider: {type: model, options: {model: acme/small:1}}}
    models: {small: {model: acme/small:1}}
    """
    batch = written(tmp_path, text)
    assert {*workloads(batch)} == {"chat", "helper"}
    (row,) = batch.coverage
    assert (row["status"], row["rows"], row["unmapped_n"]) == ("partial", 2, 1)
    assert row["hint"] == (
        "not read, so the dependencies in it are unknown: model small; "
        "left out, off by profile or run by no engine: llm"
    )


def test_a_password_with_a_dollar_sign_is_no_variable_to_name(tmp_path):
    text = """
services:
  web:
    image: shop/web:$TAG
    labels: {traefik.http.middlewares.a.basicauth.users: "bob:$apr1$Rn4KnzsI$13JnTTkdItY3"}
    environment: {PASSWORD: "my$ecret", HASH: "$2y$10$zQp4TgVfWb"}
"""
    (row,) = written(tmp_path, text).coverage
    names = "TAG, 4 of small letters ($$ is a dollar sign)"
    assert row["hint"] == f"variables without a value: {names}"
    assert row["unmapped_n"] == 5


def test_files_are_merged_in_order():
    batch = read(["shop/compose.yaml", "shop/compose.prod.yaml"])
    found = workloads(batch)
    assert (found["web"]["tag"], found["web"]["ports"]) == ("2.1", "443->443/tcp")
    assert (found["bus"]["tag"], found["bus"]["ports"]) == ("3.13.7", "5672->5672/tcp")
    assert sum(row["name"] == "mailer" for row in batch.rows["workloads"]) == 2
    assert found["mailer"]["image_ref"] is None
    assert ("web", "bus", "queue", "compose-file") in edges(batch)
    assert ("web", "storefront-api", "start_order", "compose-file") in edges(batch)
    assert ("web", "storefront-api", "call", "environment") not in edges(batch)


def test_profiles():
    assert "console" in workloads(read("shop/compose.yaml", profiles=["debug"]))
    assert "cache" not in workloads(read("shop/compose.yaml", profiles=["debug"]))
    assert {"console", "cache"} <= workloads(
        read("shop/compose.yaml", profiles=["*"])
    ).keys()
    without = read("shop/compose.yaml", profiles=[])
    assert not any(dst == "cache" for src, dst, *_ in edges(without) if src == "web")


def test_a_directory_means_its_compose_file():
    assert set(workloads(read("shop"))) == set(workloads(read("shop/compose.yaml")))


def test_include_and_a_project_without_a_name(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.yaml").write_text(
        "services: {db: {image: 'postgres:${PG}', env_file: x.env}}\ninclude: [../compose.yaml]"
    )
    (tmp_path / "sub" / ".env").write_text("PG=15\nTAG=from-include")
    batch = written(
        tmp_path,
        "include:\n- sub/more.yaml\n- path: https://example.com/x.yaml\n"
        "services: {web: {image: 'a:${TAG}', depends_on: [db, gone]}}",
        env="TAG=mine\nCOMPOSE_PROJECT_NAME=My.Shop",
    )
    found = workloads(batch)
    assert (found["db"]["tag"], found["web"]["tag"]) == ("15", "mine")
    assert found["web"]["namespace"] == "myshop"
    hint = batch.coverage[0]["hint"]
    for note in (
        "includes itself",
        "remote",
        "x.env cannot be read",
        "not declared: gone",
    ):
        assert note in hint


def test_extending_in_circles_ends(tmp_path):
    batch = written(
        tmp_path,
        "services:\n a: {extends: b, image: x}\n b: {extends: {service: a}}\n c: {extends: none}",
    )
    assert set(workloads(batch)) == {"a", "b", "c"}
    assert batch.coverage[0]["status"] == "partial"


def test_files_of_the_first_version(tmp_path):
    batch = written(
        tmp_path, "web:\n  image: nginx\n  links: [db]\ndb:\n  image: mysql:5.7\n"
    )
    assert edges(batch) == {("web", "db", "data", "compose-file")}


def test_anchors_and_texts_that_yaml_would_change(tmp_path):
    batch = written(
        tmp_path,
        "x-a: &a {user: '0', privileged: yes}\nx-b: &b {user: '1'}\n"
        "services:\n web:\n  <<: [*b, *a]\n  image: app:1.10\n  ports: [2222:22]\n"
        "  environment: {A: no, B: 010, C: 1e3}\n",
    )
    web = workloads(batch)["web"]
    assert (web["tag"], web["ports"]) == ("1.10", "2222->22/tcp")
    assert (web["user_root"], web["privileged"]) == (False, True)
    assert batch.coverage[0]["status"] == "ok"


def test_networks_of_files_of_the_first_version(tmp_path):
    batch = written(
        tmp_path,
        "web: {image: 'app:1', net: 'container:db'}\n"
        "db: {image: 'postgres:9.4'}\n"
        "cache: {image: 'redis:2.8', net: host}\n",
    )
    found = {name: row["host_network"] for name, row in workloads(batch).items()}
    assert found == {"web": False, "db": False, "cache": True}
    assert ("web", "db", "declared", "compose-file") in edges(batch)


def test_merged_mappings_keep_what_they_override(tmp_path):
    batch = written(
        tmp_path,
        "x-base: &base {image: app:1, user: '0', privileged: yes}\n"
        "x-safe: &safe {<<: *base, user: '1', privileged: no}\n"
        "services:\n"
        "  web: {<<: *safe}\n"
        "  worker: {<<: [*safe, *base], image: app:2}\n"
        "  batch: {<<: *safe, <<: *base}\n",
    )
    found = workloads(batch)
    assert {name: row["tag"] for name, row in found.items()} == {
        "web": "1",
        "worker": "2",
        "batch": "1",
    }
    assert {row["user_root"] for row in found.values()} == {False}
    assert {row["privileged"] for row in found.values()} == {False}


@pytest.mark.parametrize(
    "content",
    [
        b"services:\n  web:\n    image: {{ .Values.image }}\n    {{- if .x }}\n",
        b"<!DOCTYPE html><html><body>Not found</body></html>",
        b"- a\n- b\n",
        b"kind: Deployment\napiVersion: apps/v1\n",
        b"services: [web, db]\n",
        b"services:\n  web: {image: a\x00b}\n",
        b"\xff\xfe\x00nonsense",
        b"a: &a [*a]\nservices: {web: {image: x, labels: *a}}\n",
        b"services: !!python/object:os.system {}\n",
        b"[" * 5000,
        "".join(
            f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n"
            for n in range(9)
        ).encode(),
    ],
    ids=[
        "helm",
        "html",
        "list",
        "kubernetes",
        "services-list",
        "nul",
        "bytes",
        "cycle",
        "python",
        "deep",
        "bomb",
    ],
)
def test_what_is_no_compose_file_is_said_so(tmp_path, content):
    batch = written(tmp_path, content)
    assert [row["status"] for row in batch.coverage] == ["parse_error"]
    assert batch.coverage[0]["hint"]
    assert not batch.rows.get("services")


def test_empty_and_missing_files(tmp_path):
    assert written(tmp_path, "").coverage[0]["status"] == "empty"
    row = read("absent.yaml", tmp_path).coverage[0]
    assert (row["status"], row["hint"]) == ("unreachable", "there is no such file")


def test_one_bad_file_of_several_does_not_lose_the_others(tmp_path):
    (tmp_path / "bad.yaml").write_text("- no")
    (tmp_path / "good.yaml").write_text("services: {web: {image: x}}")
    batch = read(["good.yaml", "bad.yaml"], tmp_path)
    assert {row["status"] for row in batch.coverage} == {"parse_error", "partial"}
    assert set(workloads(batch)) == {"web"}


def test_odd_values_are_unknown(tmp_path):
    batch = written(
        tmp_path,
        "services:\n a: {image: [x], mem_limit: lots, cpus: many, scale: 1e99, deploy: no,\n"
        "     environment: {TOKEN: '${TOKEN}'}}\n b:\n c: text\n",
    )
    a = workloads(batch)["a"]
    assert (a["memory_limit_bytes"], a["memory_unlimited"], a["cpu_limit"]) == (
        None,
        None,
        None,
    )
    assert len(batch.rows["workloads"]) == 1001
    assert {r["name"]: r["secrets_in_image"] for r in batch.rows["services"]} == {
        "a": None,
        "b": False,
    }
    assert "service c is no mapping" in batch.coverage[0]["hint"]


def test_reading_is_repeatable():
    files = [FIXTURES / "shop" / "compose.yaml"]
    assert read_project(files) == read_project(files)
    assert read_project(files).services == read_project(files * 2).services


def test_a_restart_that_nobody_declares_is_known_but_for_what_swarm_may_run(tmp_path):
    found = {
        name: (row["restart_policy"], row["cpu_request"], row["memory_request_bytes"])
        for name, row in workloads(
            written(
                tmp_path,
                """
services:
  plain: {image: x, mem_reservation: 64m}
  sized:
    image: x
    deploy: {resources: {reservations: {cpus: '0.25', memory: 128M}}}
  stack: {image: x, deploy: {update_config: {parallelism: 1}}}
  always: {image: x, deploy: {restart_policy: {condition: any}}}
""",
            )
        ).items()
    }
    assert found == {
        "plain": ("no", None, 64 * 2**20),
        "sized": (None, 0.25, 128 * 2**20),
        "stack": ("always", None, None),
        "always": ("always", None, None),
    }


def test_ports_that_others_reach_and_where_a_tmpfs_is(tmp_path):
    batch = written(
        tmp_path,
        """
services:
  open: {image: x, ports: ['8080:80'], tmpfs: '/run:size=64m,mode=1777'}
  near: {image: x, ports: ['127.0.0.1:8080:80', '[::1]:81:81'], expose: [90]}
""",
    )
    public = {r["name"]: r["public"] for r in batch.rows["services"]}
    assert public == {"open": True, "near": None}
    assert [m["destination"] for m in batch.rows["mounts"]] == ["/run"]


def test_official_images_bring_no_health_check_and_others_may(tmp_path):
    text = """services:
  db: {image: "postgres:16.1"}
  api: {image: "acme/api:1.2"}
  web: {image: "nginx:1.25", healthcheck: {test: curl localhost}}
  mirror: {image: "registry.example.com/library/nginx:1.25"}
"""
    batch = written(tmp_path, text)
    found = {row["name"]: row["health_checked"] for row in batch.rows["services"]}
    assert found == {"db": False, "api": None, "web": True, "mirror": None}


def test_secrets_in_command_lines_are_secrets_of_the_service(tmp_path):
    text = """services:
  cache: {image: "redis:7.2", command: "redis-server --requirepass ${P:-hunter2}"}
  safe: {image: "redis:7.2", command: "sh -c 'redis-server --requirepass $$REDIS_PASSWORD'"}
"""
    batch = written(tmp_path, text)
    found = {row["name"]: row["secrets_in_image"] for row in batch.rows["services"]}
    assert found == {"cache": True, "safe": False}
    assert "hunter2" not in str(batch.rows)


def test_files_of_a_mounted_directory_name_others_and_none_outside_is_read(tmp_path):
    shop = tmp_path / "shop"
    inner = shop / "conf.d"
    inner.mkdir(parents=True)
    (inner / "a.conf").write_text("location / { proxy_pass http://api:80; }")
    (inner / "b.conf").write_bytes(b"\xff\xfe")  # no text
    (tmp_path / "c.conf").write_text("location / { proxy_pass http://db:80; }")
    text = """services:
  web: {image: "nginx:1.25", volumes: ["./conf.d:/etc/nginx/conf.d", "..:/etc/nginx/outer.d"]}
  api: {image: "acme/api:1.2"}
  db: {image: "acme/db:1.2"}
"""
    batch = written(shop, text)
    assert [row["dst"].name for row in batch.rows["dependencies"]] == ["api"]


def test_configurations_among_data_are_read_where_a_service_names_them(tmp_path):
    for path, host in (
        ("data/main.yaml", "db"),
        ("data/state.yaml", "old"),  # no one names it
        ("login/conf.yml", "cache"),
        ("login/notes.txt", "old"),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"redis:\n  host: {host}\n")
    text = """services:
  chat: {image: "acme/chat:1", command: "run --config=/data/main.yaml", volumes: ["./data:/data"]}
  other: {image: "acme/other:1", environment: {CONF: /data/main.yaml}, volumes: ["./data:/data"]}
  plain: {image: "acme/plain:1", volumes: ["./data:/data"]}
  login: {image: "acme/login:1", volumes: ["./login:/config"]}
  db: {image: "acme/db:1.2"}
  cache: {image: "acme/cache:1.2"}
  old: {image: "acme/old:1.2"}
"""
    rows = written(tmp_path, text).rows["dependencies"]
    found = {(row["src"].name, row["dst"].name) for row in rows}
    assert found == {("chat", "db"), ("other", "db"), ("login", "cache")}


def test_configurations_below_a_mounted_directory_are_read(tmp_path):
    folder = tmp_path / "provisioning/datasources"
    folder.mkdir(parents=True)
    (folder / "all.yml").write_text("datasources:\n  - url: http://metrics:9090\n")
    text = """services:
  charts: {image: "grafana/grafana:11.1.0", volumes: ["./provisioning:/etc/grafana/provisioning"]}
  metrics: {image: "prom/prometheus:v2.53.0"}
"""
    batch = written(tmp_path, text)
    assert [row["dst"].name for row in batch.rows["dependencies"]] == ["metrics"]
    assert batch.coverage[-1]["status"] == "ok"


def test_of_a_directory_that_services_share_each_reads_the_file_that_it_names(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/reader.yaml").write_text("store: {host: db}\n")
    (tmp_path / "config/proxy.conf").write_text(
        "location / { proxy_pass http://reader:80; }"
    )
    text = """services:
  reader: {image: "acme/reader:1", command: "-c /etc/app/reader.yaml", volumes: ["./config:/etc/app/"]}
  proxy: {image: "nginx:1.27", command: "nginx -c /etc/app/proxy.conf", volumes: ["./config:/etc/app"]}
  db: {image: "acme/db:1"}
"""
    rows = written(tmp_path, text).rows["dependencies"]
    found = {(row["src"].name, row["dst"].name) for row in rows}
    assert found == {("reader", "db"), ("proxy", "reader")}


@pytest.mark.parametrize(
    ("file", "mount", "is_noted"),
    [
        ("data/sub/conf.yaml", "./data:/data", True),  # nobody names it
        ("data/table.csv", "./data:/data", False),
        ("data/ca.pem", "./data:/data", False),
        ("many", "./many:/etc/app", True),  # more files than are read
        ("binary.conf", "./binary.conf:/etc/app.conf", True),
        ("other", "./absent.conf:/etc/app.conf", True),
        ("other", "./absent:/config", True),
        ("other", "./absent.pem:/etc/nginx/server.pem", False),
        ("other", "/etc/localtime:/etc/localtime:ro", False),
    ],
)
def test_a_mounted_configuration_that_was_not_read_is_noted(
    tmp_path, file, mount, is_noted
):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if file == "many":
        path.mkdir()
        for number in range(MAX_LISTED + 1):
            (path / f"{number}.conf").write_text("url = http://db\n")
    else:
        path.write_bytes(b"\xff\xfe")
    text = f'services: {{web: {{image: "acme/web:1", volumes: ["{mount}"]}}}}\n'
    row = written(tmp_path, text).coverage[-1]
    assert ("not read" in str(row.get("hint"))) == is_noted
    assert (row["status"] == "partial") == is_noted


def test_the_file_of_a_service_is_read_wherever_it_names_it(tmp_path):
    (tmp_path / "nodes.data").write_text("{'admin_url': 'http://gateway:8001'}")
    text = """services:
  ui: {image: "acme/ui:1", environment: {NODES: /n.data}, volumes: ["./nodes.data:/n.data"]}
  gateway: {image: "kong:3.7"}
"""
    batch = written(tmp_path, text)
    assert [row["dst"].name for row in batch.rows["dependencies"]] == ["gateway"]


# ---- builds ----


def built(batch):
    """Image and package tools of what the builds of a project pull."""
    rows = [row for row in batch.rows["workloads"] if row["source_kind"] == "build"]
    return [(row["image_ref"], row.get("package_tools")) for row in rows]


def test_the_dockerfile_beside_a_project_is_read(tmp_path):
    (tmp_path / "api").mkdir()
    text = "ARG BASE=node:12\nFROM $BASE AS made\nRUN apt-get update\nFROM alpine:3.20\n"
    (tmp_path / "api/Dockerfile.prod").write_text(text)
    batch = written(
        tmp_path,
        """
        services:
          api:
            build: {context: ./api, dockerfile: Dockerfile.prod, args: {BASE: 'node:14-buster'}}
          web: {build: {dockerfile_inline: "FROM nginx:1.27"}}
          far: {build: 'https://example.com/far.git'}
          alone: {build: ./nowhere}
        """,
    )
    assert built(batch) == [
        ("node:14-buster", "apt"),
        ("alpine:3.20", "none"),
        ("nginx:1.27", "none"),
    ]
    (row,) = [r for r in batch.rows["workloads"] if r["image_ref"] == "nginx:1.27"]
    assert row["names"][0].name == "web" and row["state"] == "declared"
    assert batch.coverage[-1]["status"] == "ok"


@pytest.mark.parametrize("text", ["FROM", "FROM a\n" * 300, "\0" * 10])
def test_a_build_that_cannot_be_read_costs_itself(tmp_path, text):
    (tmp_path / "Dockerfile").write_text(text)
    batch = written(tmp_path, "services: {a: {image: 'acme/a:1', build: .}}")
    assert [row["image_ref"] for row in batch.rows["workloads"]] == ["acme/a:1"]


def test_a_build_outside_the_project_is_not_read(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM alpine:3.20")
    (tmp_path / "deploy").mkdir()
    text = "services: {a: {image: 'acme/a:1', build: ..}}"
    batch = written(tmp_path / "deploy", text)
    assert built(batch) == []
    assert batch.coverage[-1]["status"] == "partial"
    assert built(written(tmp_path / "deploy", text, allow_outside=True))


def test_a_proxy_that_is_built_here_is_told_by_the_socket_and_its_ports(tmp_path):
    text = """services:
  proxy: {build: ./proxy, ports: ["80:80"], volumes: ["/var/run/docker.sock:/tmp/docker.sock:ro"]}
  tool: {build: ./tool, volumes: ["/var/run/docker.sock:/tmp/docker.sock:ro"]}
  web: {image: "nginx:1.25", environment: [VIRTUAL_HOST=shop.example.com]}
"""
    batch = written(tmp_path, text)
    calls = [(r["src"].name, r["dst"].name) for r in batch.rows["dependencies"]]
    assert calls == [("proxy", "web")]


@pytest.mark.parametrize(
    ("network", "address", "callee"),
    [
        ("host", "http://localhost:9200", "search"),  # published
        ("host", "127.0.0.1:6380", "cache"),  # on the machine too
        ("host", "http://localhost:9300", None),  # nobody's
        ("host", "http://localhost:8080", None),  # its own
        ("bridge", "http://localhost:9200", None),  # that of the container
    ],
)
def test_the_own_host_is_the_machine_where_a_service_has_its_network(
    tmp_path, network, address, callee
):
    text = f"""
    services:
      web:
        image: acme/web
        network_mode: {network}
        expose: ['8080']
        environment: {{A_URL: '{address}'}}
      search: {{image: elasticsearch, ports: ['9200:9200']}}
      cache: {{image: redis, network_mode: host, expose: ['6380']}}
    """
    found = {dst for src, dst, *_ in edges(written(tmp_path, text)) if src == "web"}
    assert found == ({callee} if callee else set())
