"""Redaction: what is a secret, and what may pass."""

import pytest
from hypothesis import given, settings
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
        "DATABASE_URL",
        "com.docker.compose.service",
    ],
)
def test_names_of_other_things(name):
    assert not redact.is_secret_name(name)


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
        redact.strip_userinfo(text)
        == "cannot reach https://registry.example.com/v2/ at all"
    )
    assert f":{secret}" not in redact.scrub(text)


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
        "naming": {"OTEL_SERVICE_NAME": "checkout"},
    }
    assert redact.keep_env({})["names"] == []


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
