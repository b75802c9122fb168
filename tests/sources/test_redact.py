"""Redaction: what is a secret, and what may pass."""

import re
from urllib.parse import quote

import pandas as pd
import pytest
from clocks import cpu_seconds
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from assess.sources import redact

CANARY = "hunter2"


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "PGPASSWORD",
        "dbPassword",
        "API_KEY",
        "apiKey",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "GITHUB_TOKEN",
        "SECRET_KEY_BASE",
        "MYSQL_PWD",
        "SENTRY_DSN",
        "traefik.http.middlewares.auth.basicauth.users",
        "splunk-token",
        "TOKEN2",
    ],
)
def test_names_of_secrets(name):
    assert redact.is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "PWD",
        "MONKEY",
        "KEYBOARD",
        "COMPASS",
        "BYPASS_CACHE",
        "AUTHOR",
        "TOKENIZER",
        "POSTGRES_PASSWORD_FILE",
        "VPN_PRIVATE_KEY_SECRETFILE",
        "TLS_KEYFILE",
        "DATABASE_URL",
        "com.docker.compose.service",
    ],
)
def test_names_of_other_things(name):
    assert not redact.is_secret_name(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Server=db;Database=shop;User Id=sa;Password=hunter2", True),
        ("Server=db; Pwd = hunter2", True),
        ("jdbc:mysql://db/shop?user=ada&password=hunter2", True),
        ("db:6379,password=hunter2,ssl=True", True),
        ("AccountName=shop;AccountKey=aHVudGVyMg==", True),
        ('{"user": "ada", "password": "hunter2"}', True),
        ("Server=db;User Id=sa;Password=${DB_PASSWORD};", False),
        ("jdbc:mysql://db/shop?user=ada&password=$(PW)&ssl=1", False),
        ("jdbc:mysql://db/shop?passwordCharacterEncoding=utf8", False),
        ("Server=db;Password=;Integrated Security=true", False),
        ('{"token": null}', False),
    ],
)
def test_a_password_within_a_value_is_a_secret(value, expected):
    assert redact.is_secret("DB", value) is expected


def test_a_secret_is_told_by_its_value_too():
    assert redact.is_secret("DATABASE_URL", "postgres://shop:hunter2@db:5432/shop")
    assert not redact.is_secret("DATABASE_URL", "postgres://db:5432/shop")
    assert redact.is_secret("X", "ghp_" + "a" * 36)
    assert not redact.is_secret("DB_PASSWORD", "")


@pytest.mark.parametrize(
    "text",
    [
        "GET ssh://root:hunter2@host:22/x failed",
        "password=hunter2",
        "--password hunter2 --x",
        '{"token": "hunter2"}',
        "Authorization: Bearer hunter2hunter2",
        "api_key: 'hunter2'",
        "secret = hunter2, next",
        "cannot mount: username=u,password=hunter2",
    ],
)
def test_messages_lose_their_secrets(text):
    scrubbed = redact.scrub(text)
    assert CANARY not in scrubbed and scrubbed


def test_messages_keep_their_sense_and_end():
    assert redact.scrub("permission denied\n while  connecting") == (
        "permission denied while connecting"
    )
    assert len(redact.scrub("word " * 1000)) == redact.MAX_MESSAGE


@given(secret=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=20))
@settings(max_examples=50)
def test_no_password_of_an_address_survives(secret):
    text = f"cannot reach https://user:{secret}@registry.example.com/v2/ at all"
    assert (
        redact.strip_credentials(text)
        == "cannot reach https://registry.example.com/v2/ at all"
    )
    assert f":{secret}" not in redact.scrub(text)


@given(
    secret=st.from_regex(r"[a-z0-9/:]{0,9}[a-z][a-z0-9/:+%=]{8,20}", fullmatch=True),
    user=st.sampled_from(["", "user"]),
)
@settings(max_examples=200)
def test_no_password_with_a_slash_survives(secret, user):
    assume(not re.match(r"\d*/", secret))  # as a port and a path look
    address = f"amqp://{user}:{secret}@broker:5672/vhost"
    assert redact.strip_credentials(address) == "amqp://broker:5672/vhost"
    assert redact.is_secret("URL", address)


@pytest.mark.parametrize(
    "address",
    ["http://web:8080/mail@example", "http://web/a:b@c", "https://x/?to=a@b.example"],
)
def test_an_at_sign_in_a_path_is_no_password(address):
    assert redact.strip_credentials(address) == address
    assert not redact.is_secret("URL", address)


def test_only_listed_labels_pass():
    kept, dropped = redact.keep_labels(
        {
            "com.docker.compose.service": "api",
            "com.docker.compose.project.environment_file": CANARY,
            "org.opencontainers.image.source": f"https://u:{CANARY}@git.example.com/team/api",
            "assess.service": "billing",
            "maintainer": CANARY,
        }
    )
    assert kept == {
        "com.docker.compose.service": "api",
        "org.opencontainers.image.source": "https://git.example.com/team/api",
        "assess.service": "billing",
    }
    assert dropped == 2
    assert redact.keep_labels(None) == ({}, 0)


def test_of_an_environment_names_pass():
    env = {
        "PATH": "/bin",
        "OTEL_SERVICE_NAME": "checkout",
        "API_KEY": CANARY,
        "DATABASE_URL": f"postgres://shop:{CANARY}@db:5432/shop?sslpassword={CANARY}",
        "REDIS_HOST": "cache",
    }
    kept = redact.keep_env(env)
    assert kept == {
        "names": ["API_KEY", "DATABASE_URL", "OTEL_SERVICE_NAME", "PATH", "REDIS_HOST"],
        "secret_like": 2,
        "secret_names": "API_KEY;DATABASE_URL",
        "kept": {"OTEL_SERVICE_NAME": "checkout"},
    }
    assert redact.keep_env({})["names"] == []


def test_names_of_secrets_are_few_and_no_values():
    token = "ghp_" + "a1B2" * 9
    env = {f"API_KEY_{n}": CANARY for n in range(9)}
    env |= {token: CANARY, "PASSWORD hunter2 is": CANARY, "PATH": "/bin"}
    shown = redact.secret_names(env.items())
    assert shown == ";".join(f"API_KEY_{n}" for n in range(5))
    assert redact.secret_names({token: CANARY}.items()) is None
    assert redact.secret_names({"PATH": "/bin"}.items()) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shop/web-secret (Secret), a", "shop/web-secret (Secret), a"),
        ("web-secret (Secret, too many", "web-secret (Secret, too many"),
        ("calls (Secret, too many", "calls (Secret, too many"),
        ("db-credentials (ConfigMap)", "db-credentials (ConfigMap)"),
        ("web-secret (Secret)hunter2", "web-secret ***"),
        ("web-secret (hunter2)", "web-secret ***"),
        ("password: Secret", "password: ***"),
    ],
)
def test_the_kind_of_an_object_is_no_value(text, shown):
    assert redact.scrub(text) == shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Basic dXNlcjpodW50ZXIy", False),
        ("bearer onlylowercase", False),
        ("BASIC aHVudGVyMg==", False),
        ("Basic application health requires scripting", True),
    ],
)
def test_basic_is_a_word_too(text, kept):
    assert (redact.scrub(text) == text) is kept


# Made of the vendors' own examples and forms; none was ever valid.
TOKENS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "11AAAAAAA0" * 4,
    "glpat-" + "x7-y_Z" * 4,
    "dckr_pat_" + "aB3-x_" * 4,
    "dckr_oat_" + "aB3-x_" * 4,
    "npm_" + "a1B2c3" * 6,
    "pypi-AgE" + "IcHlwaS5vcmc" * 3,
    "hvs." + "CAESIJ1a2b3c4d5e6f7g8h9i",
    "xoxb-" + "123456789012-abcdef",
    "xapp-" + "1-A0123456-789",
    "sk_live_" + "a1B2c3d4e5f6",
    "sk-ant-" + "api03-a1B2c3d4e5f6g7",
    "SG." + "a1B2c3d4e5f6g7h8" + "." + "a1B2c3d4e5f6g7h8",
    "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p",
    "glsa_" + "a1B2c3d4e5f6g7h8i9j0k1",
    "hf_" + "a1B2c3" * 6,
    "eyJhbGciOiJIUzI1NiJ9" + "." + "eyJzdWIiOiIxMjM0In0" + "." + "dozjgNryP4J3jVmN",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAbC/+=\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:9])
@pytest.mark.parametrize("form", ["{}", "x {} y", "key_{}", "https://h/p/{}?x=1", "({})"])
def test_a_token_of_a_known_shape_survives_nowhere(token, form):
    text = form.format(token)
    secret = token[10:].replace("\n", " ")[:12]
    for shown in (redact.scrub(text), redact.mask(text)):
        assert secret not in shown.replace("\n", " ")
        assert redact.REDACTED in shown
    assert redact.is_secret("X", text)
    kept, _ = redact.keep_labels({"assess.service": text})
    assert secret not in kept["assess.service"]


# where a user and a password stand without a scheme, and what may be around them
AROUND = [
    "{}",
    "/{}",
    "dial {}: refused",
    "dsn={}",
    "mysql://{}",
    "--db {} --mail bob@example.com",
    '{{"url": "{}"}}',
    "['{}']",
    "({})",
    "a:first@h0,{}",
    "{},b:last@h2",
    "registry:5000/app:1@sha256:0a0b {}",
]
WORD = "aZ09_.~!$%&*+=?|^-"
PLACES = ["db", "db:3306/shop", "10.0.0.7:6379", "tcp(db:3306)/x", "unix(/run/x.sock)"]


@given(
    user=st.text("aZ09_.+-", max_size=9),
    # an at sign before a separator looks like the end, and so like a list
    password=st.one_of(
        st.text(WORD + ":@", max_size=9), st.text(WORD + ",/;:", max_size=9)
    ),
    place=st.sampled_from(PLACES),
    around=st.sampled_from(AROUND),
    times=st.integers(0, 2),
)
@example("app", "@b:c@", "db", "{}", 0)
@example("app", ",b;", "db", "/{}", 0)
@example("", "%2Fx%40", "db", "dsn={}", 1)
@settings(max_examples=200)
def test_no_password_without_a_scheme_survives(user, password, place, around, times):
    address = f"{user}:Zq7{password}jX5@{place}"
    for _ in range(times):
        address = quote(address, safe="")
    text = around.format(address)
    for shown in (redact.mask(text), redact.scrub(text)):
        assert "Zq7" not in shown and "jX5" not in shown
        assert "first" not in shown and "last" not in shown
        assert "bob@example.com" in shown or "bob" not in text
        assert "app:1@sha256:0a0b" in shown or "sha256" not in text
    masked = redact.mask(text)
    assert times or place.partition(":")[0] in masked
    assert redact.mask(masked) == masked
    if "://" not in text:
        assert redact.is_secret("X", address)


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.com",
        "Bob <bob@example.com>, ann@example.com",
        "mailto:bob@example.com",
        "mailto%3Abob%40example.com",
        "email:bob@example.com",
        "registry:5000/team/app@sha256:" + "0a" * 32,
        "registry.example.com:5000/team/app:1.2@sha256:" + "0a" * 32,
        "git@github.com:acme/app.git",
        "git@github.com:acme/app.git@main",
        "ssh://deploy@bastion:22",
        "ssh -L 8080:localhost:80 deploy@bastion",
        "rabbit@mq-1,rabbit@mq-2",
        "10.0.0.1:6379@16379 myself,master",
        "jdbc:oracle:thin:@db.example.com:1521:orders",
        "pkg:npm/%40acme/app@1.2.3",
        "arn:aws:sts::123456789012:assumed-role/Reader/bob@example.com",
        "http://web:8080/mail@example",
        "web:8080/mail@example",
        "unix:@/containerd-shim/a",
        "2026-11-29T10:15:00 bob@example.com",
        '{"owner":"bob@example.com"}',
        "svc:a @b",
    ],
)
def test_an_at_sign_alone_is_no_password(text):
    assert redact.mask(text) == text.replace("deploy@bastion:22", "bastion:22")
    assert not redact.is_secret("X", text)


@pytest.mark.parametrize(
    "name",
    [
        "sk-payment-service-production",
        "hvb.customer-portal-production",
        "pypi-mirror-production-cluster",
        "glance-registry-of-images-2024",
        "registry.example.com/team/app@sha256:" + "0a" * 32,
        "npm_mirror",
        "https://example.com/a?page=2&sort=name",
        "org.example.tokenizer",
    ],
)
def test_names_that_look_alike_are_kept(name):
    assert redact.mask(name) == name


@pytest.mark.parametrize(
    "address",
    [
        "https://git.example.com/x?token=CANARY7x",
        "https://git.example.com/x?a=1&private_token=CANARY7x&b=2",
        "https://u:CANARY7x@git.example.com/x",
        "https://CANARY7x@git.example.com/x",
        "https://s3.example.com/x?X-Amz-Signature=CANARY7x",
        "https://blob.example.com/x?sv=2020&sig=CANARY7x",
        "jdbc:postgresql://db/x?user=u;password=CANARY7x",
        "see https://a.example.com/?access_token=CANARY7x, then https://u:CANARY7x@b/",
    ],
)
def test_no_secret_of_an_address_survives(address):
    for text in (redact.strip_credentials(address), redact.scrub(address)):
        assert "CANARY7x" not in text
        assert "example.com" in text or "db" in text


def test_a_message_that_is_cut_shows_no_half_of_a_secret():
    long = "word " * 480
    for secret in ("ghp_" + "a" * 36, "https://user:" + "hunter2" * 400 + "@host"):
        for n in range(0, 40, 3):
            assert "ghp_" not in redact.scrub(long[n:] + secret)
            assert "hunter2" not in redact.scrub("x" * n + " " + secret)


@pytest.mark.parametrize(
    "function", ["scrub", "mask", "strip_credentials", "secret", "name"]
)
@pytest.mark.parametrize(
    ("start", "pump"),
    [
        ("", "-"),
        ("", "password"),
        ("://", ":"),
        ("", "://:"),
        ("", "://a:b@"),
        ("?", "token="),
        ("", "?token=a"),
        ("eyJ", "-"),
        ("", "eyJaaaaaaaa."),
        ("", "basic "),
        ("", "-----BEGIN PRIVATE KEY-----"),
        ("", "aB"),
        ("", " "),
        ("", "password '"),
        ("", "\ud800"),
        ("", "a:b@"),
        ("", ",a:b@c"),
        ("", "a%3Ab%40"),
        ("a:b", "@"),
    ],
)
def test_time_is_in_proportion_to_length(function, start, pump):
    functions = {
        "scrub": redact.scrub,
        "mask": redact.mask,
        "strip_credentials": redact.strip_credentials,
        "secret": lambda text: redact.is_secret("X", text),
        "name": redact.is_secret_name.__wrapped__,
    }

    def seconds(n):
        return cpu_seconds(functions[function], start + pump * n, tries=1)  # cached

    seconds(100)
    assert seconds(20_000) < max(2 * 3 * seconds(10_000), 0.05)


def test_what_passed_the_border_is_masked_with_its_column_named():
    secret = "glpat-" + "x7-y_Z" * 4
    hosts = pd.DataFrame({"host_id": ["a", "b"], "os": [f"linux {secret}", None]})
    tables = {"hosts": hosts, "services": pd.DataFrame({"vcpus": [1.0]})}
    (note,) = redact.mask_tables(tables)
    assert tables["hosts"]["os"].tolist()[0] == "linux ***"
    assert (note["scope"], note["call"], note["redacted_n"]) == ("hosts", "os", 1)
    assert redact.mask_tables(tables) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "true"),
        ("MYSQL_RANDOM_ROOT_PASSWORD", "Yes"),
        ("SENTRY_DSN", "0"),
        ("SENTRY_DSN", ""),
        ("DB_PASSWORD", "${DB_PASSWORD}"),
        ("DATABASE_URL", "postgres://shop:$(DB_PASSWORD)@db/shop"),
        ("API_TOKEN", '{{ with secret "kv/api" }}'),
    ],
)
def test_a_switch_and_a_reference_are_no_secrets(name, value):
    assert not redact.is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "true-love"),
        ("DB_PASSWORD", "123456"),
        ("DB_PASSWORD", "${PREFIX}hunter2"),
        ("DATABASE_URL", "postgres://${USER}:hunter2@db/shop"),
    ],
)
def test_what_only_looks_like_one_is_a_secret(name, value):
    assert redact.is_secret(name, value)


@pytest.mark.parametrize(
    ("command", "is_told"),
    [
        ("redis-server --requirepass hunter2", True),
        ("app --db.password=hunter2 --port 80", True),
        ("sh -c 'PGPASSWORD=hunter2 psql -h db'", True),
        ("migrate -database postgres://u:hunter2@db:5432/x up", True),
        ("curl -H x https://ghp_0123456789abcdefghijABCDEFGHIJ012345", True),
        ('redis-server --requirepass "$REDIS_PASSWORD"', False),
        ("app --db.password=${DB_PASSWORD} --token $(cat /run/token)", False),
        ("migrate -database postgres://$USER:$PASS@db/x up", False),
        ("app --password-file=/run/secrets/db --token-ttl=3600", False),
        ("sh -c 'kubectl create token web; echo password changed'", False),
        ("app --token /var/run/token --enable-token=true", False),
        ("app --tls-private-key=/certs/tls.key --secret-name=web", False),
    ],
)
def test_command_lines_tell_secrets(command, is_told):
    assert redact.tells_secret(command) == is_told
