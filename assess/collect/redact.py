"""Redaction at the border: names and counts pass, values that may be secret do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

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
_ONLY_POINTS = re.compile(r"_(?:file|path|dir|url_file|name|ttl|expiry|algorithm)$", re.IGNORECASE)
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
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)

NAMING_ENV = ("OTEL_SERVICE_NAME", "DD_SERVICE", "SERVICE_NAME", "MARATHON_APP_ID")
_ADDRESS_ENV = re.compile(r"(?:^|_)(?:URLS?|URI|HOST|HOSTNAME|ADDR|ADDRESS|ENDPOINT|DSN)$")
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
    """Say whether a variable of this name usually holds a secret.

    Parameters
    ----------
    name : str
        Such as ``DB_PASSWORD``; ``DB_PASSWORD_FILE`` only points to one.

    Returns
    -------
    bool
        True for passwords, tokens, keys, credentials.
    """
    spaced = _WORD_START.sub("_", name)
    if name in ("PWD", "OLDPWD"):  # the working directory of a shell
        return False
    return bool(_SECRET_NAME.search(spaced.replace("_", "-"))) and not _ONLY_POINTS.search(spaced)


def is_secret(name: str, value: str) -> bool:
    """Say whether a variable holds a secret, by its name or by its value.

    Parameters
    ----------
    name : str
        Name of the variable.
    value : str
        Its value; an empty one holds nothing.

    Returns
    -------
    bool
        True as well for addresses with a password and for known forms of tokens.
    """
    if not value:
        return False
    has_password = re.search(r"://[^/\s@]*:[^/\s@]+@", value) is not None
    return is_secret_name(name) or has_password or _KNOWN_TOKEN.search(value) is not None


def strip_userinfo(url: str) -> str:
    """Remove user and password from an address.

    Parameters
    ----------
    url : str
        Any text with addresses in it.

    Returns
    -------
    str
        The text without ``user:password@``.
    """
    return _USERINFO.sub("", url) if "@" in url else url


def scrub(text: str) -> str:
    """Remove what may be secret from a message.

    Parameters
    ----------
    text : str
        Message of an exception, or any other free text.

    Returns
    -------
    str
        One line, at most `MAX_MESSAGE` characters.
    """
    text = strip_userinfo(" ".join(text.split()))
    text = _KNOWN_TOKEN.sub(REDACTED, text)
    text = _ASSIGNED.sub(rf"\g<name>{REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def keep_labels(labels: Mapping[str, Any] | None) -> tuple[dict[str, str], int]:
    """Keep the labels that name services; the values of all others may be secret.

    Parameters
    ----------
    labels : mapping or None
        Labels of a container, image or task.

    Returns
    -------
    kept : dict of str to str
        Labels whose names are on the list, without userinfo.
    dropped : int
        Labels left out. [count]
    """
    labels = labels if isinstance(labels, Mapping) else {}
    kept = {
        name: strip_userinfo(value)
        for name, value in labels.items()
        if isinstance(value, str) and _is_allowed(name)
    }
    return kept, len(labels) - len(kept)


@cache
def _is_allowed(name: str) -> bool:
    """Say whether the value of a label may pass."""
    if is_secret_name(name):
        return False
    compose = name.removeprefix("com.docker.compose.")
    if compose != name:
        return compose in _ALLOWED_COMPOSE
    return name.startswith(_ALLOWED_LABELS) and not name.startswith(_REFUSED_LABELS)


def keep_env(env: Iterable[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Keep of an environment what is no secret.

    Parameters
    ----------
    env : iterable of str, mapping or None
        ``NAME=value`` entries, or values by name.

    Returns
    -------
    dict
        ``names`` (sorted), ``secret_like`` [count of names whose value looks secret], ``naming``
        (values of `NAMING_ENV`, which name the service), ``hosts`` (``host`` or ``host:port`` by
        the names of variables that hold addresses).
    """
    pairs = list(_pairs(env))
    hosts = {n: host for n, v in pairs if _ADDRESS_ENV.search(n) and (host := host_of(v))}
    return {
        "names": sorted({name for name, _ in pairs}),
        "secret_like": sum(is_secret(name, value) for name, value in pairs),
        "naming": {n: v for n, v in pairs if n in NAMING_ENV and not is_secret("", v)},
        "hosts": hosts,
    }


def _pairs(env: Iterable[str] | Mapping[str, Any] | None) -> Iterable[tuple[str, str]]:
    if isinstance(env, Mapping):
        yield from ((str(name), "" if v is None else str(v)) for name, v in env.items())
    elif isinstance(env, list | tuple):
        for entry in env:
            name, _, value = str(entry).partition("=")
            yield name, value


def host_of(address: str) -> str | None:
    """Give host and port of an address, and nothing else of it.

    Parameters
    ----------
    address : str
        ``scheme://user:password@host:port/path?query``, ``host:port`` or ``host``.

    Returns
    -------
    str or None
        ``host`` or ``host:port``; None where the text is no address.
    """
    text = address.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", host):
        return None
    if "://" not in text and (parts.path or parts.query or "@" in text):
        return None
    return f"{host}:{port}" if port else host
