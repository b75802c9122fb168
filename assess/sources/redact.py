"""Redaction at the border: names and counts pass, values that may be secret do not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

REDACTED = "***"
MAX_MESSAGE = 300

_SECRET_WORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|secrets?|tokens?|api[_-]?keys?|auth[_-]?keys?"
    r"|private[_-]?keys?|access[_-]?keys?(?:[_-]id)?|encryption[_-]?keys?|signing[_-]?keys?"
    r"|secret[_-]?keys?|credentials?|creds?|dsn|bearer|jwt|basicauth|connection[_-]?strings?"
)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAME = re.compile(
    rf"(?:^|[^a-z0-9])(?:{_SECRET_WORDS})\d*(?:[^a-z0-9]|$)|passw|secret", re.IGNORECASE
)
_ONLY_POINTS = re.compile(
    r"_(?:file|path|dir|url_file|name|ttl|expiry|algorithm)$", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/\s'\"<>]*@")
_KNOWN_TOKEN = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|sk_live_\w{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|AIza[\w-]{30,})|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*"
)
_ASSIGNED = re.compile(
    rf"(?P<name>[\w.-]*(?:{_SECRET_WORDS}|authorization)[\w.-]*[\"']?\s*(?:=|:|\s)\s*)"
    r"(?:(?P<scheme>bearer|basic)\s+)?(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)",
    re.IGNORECASE,
)
# "basic" is a word too: what follows it is a credential where it looks like base64
_BEARER = re.compile(
    r"\b((?i:bearer)(?=\s)|(?i:basic)(?=\s+\S*[0-9A-Z=]))\s+[\w.~+/=-]{6,}"
)

NAMING_ENV = ("OTEL_SERVICE_NAME", "DD_SERVICE", "SERVICE_NAME", "MARATHON_APP_ID")
_ALLOWED_LABELS = (
    "assess.",
    "com.amazonaws.ecs.",
    "com.docker.stack.namespace",
    "com.docker.swarm.",
    "com.hashicorp.nomad.",
    "io.kubernetes.",
    "app.kubernetes.io/",
    "tags.datadoghq.com/service",
    "org.opencontainers.image.title",
    "org.opencontainers.image.source",
    "org.opencontainers.image.base.",
)
_ALLOWED_COMPOSE = ("service", "project", "container-number", "oneoff", "depends_on")
_REFUSED_LABELS = ("io.kubernetes.container.hash", "io.kubernetes.config")


@cache
def is_secret_name(name: str) -> bool:
    """Whether a variable of this name usually holds a secret; `X_FILE` only points to one."""
    spaced = _WORD_START.sub("_", name)
    if name in ("PWD", "OLDPWD"):  # the working directory of a shell
        return False
    return bool(
        _SECRET_NAME.search(spaced.replace("_", "-"))
    ) and not _ONLY_POINTS.search(spaced)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret, by its name or by its value."""
    if not value:
        return False
    has_password = re.search(r"://[^/\s@]*:[^/\s@]+@", value) is not None
    return is_secret_name(name) or has_password or _KNOWN_TOKEN.search(value) is not None


def strip_userinfo(url: str) -> str:
    """Remove ``user:password@`` from the addresses in a text."""
    return _USERINFO.sub("", url) if "@" in url else url


def scrub(text: str) -> str:
    """Remove what may be secret from a message: one line, at most `MAX_MESSAGE` characters."""
    text = strip_userinfo(" ".join(text.split()))
    text = _KNOWN_TOKEN.sub(REDACTED, text)
    text = _ASSIGNED.sub(rf"\g<name>{REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def keep_labels(labels: Mapping[str, Any] | None) -> tuple[dict[str, str], int]:
    """Return the labels that name services, without userinfo, and the number of others."""
    labels = labels if isinstance(labels, Mapping) else {}
    kept = {
        name: strip_userinfo(value)
        for name, value in labels.items()
        if isinstance(value, str) and _is_allowed(name)
    }
    return kept, len(labels) - len(kept)


@cache
def _is_allowed(name: str) -> bool:
    """Whether the value of a label may enter a frame."""
    if is_secret_name(name):
        return False
    compose = name.removeprefix("com.docker.compose.")
    if compose != name:
        return compose in _ALLOWED_COMPOSE
    return name.startswith(_ALLOWED_LABELS) and not name.startswith(_REFUSED_LABELS)


def keep_env(env: Mapping[str, str]) -> dict[str, Any]:
    """Keep of an environment what is no secret.

    These are ``names`` (sorted), ``secret_like`` (how many hold a secret) and ``naming`` (values
    of the variables that name the service).
    """
    return {
        "names": sorted(env),
        "secret_like": sum(is_secret(name, value) for name, value in env.items()),
        "naming": {
            n: env[n] for n in NAMING_ENV if n in env and not is_secret("", env[n])
        },
    }
