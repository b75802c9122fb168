"""Redaction at the border: names and counts pass, possibly secret values do not.

All patterns run in linear time, since anybody who names a container writes the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from assess.linear import Linear
from assess.sources.csv_records import rows
from assess.sources.values import Texts, joined

if TYPE_CHECKING:
    import pandas as pd

REDACTED = "***"
MAX_MESSAGE = 300
_CACHED = 10_000  # names of variables and labels; a fleet repeats few of them

_SECRET_WORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|secrets?|tokens?|api[_-]?keys?|auth[_-]?keys?"
    r"|private[_-]?keys?|access[_-]?keys?(?:[_-]id)?|encryption[_-]?keys?|signing[_-]?keys?"
    r"|secret[_-]?keys?|credentials?|creds?|dsn|bearer|jwt|basicauth|connection[_-]?strings?"
)
_WORD_START = Linear(r"[a-z0-9][A-Z]")
_SECRET_NAME = Linear(
    rf"(?:^|[^a-z0-9])(?:{_SECRET_WORDS})\d*(?:[^a-z0-9]|$)|passw|secret",
    ignore_case=True,
)
_ONLY_POINTS = Linear(
    r"_(?:[a-z]*file|path|dir|name|ttl|expiry|algorithm)$", ignore_case=True
)
_SWITCH = Linear(r"|0|1|true|false|yes|no|on|off|none|null", ignore_case=True)
_REFERENCE = Linear(r"\$\{[^{}]*\}|\$\([^()]*\)|\{\{[^{}]*\}\}")
_PASSWORD = Linear(r"://[^/\s@:]*:(?:[^/\s@]+|\d*[^\d/\s@][^\s@]*)@")
# A password may hold a slash; after a colon, digits and a slash are a port and a path.
_USERINFO = Linear(r"://(?:[^/\s'\"<>]*|[^/\s'\"<>@:]*:\d*[^\d/\s'\"<>@][^\s'\"<>@]*)@")
# The same without a scheme, as drivers take it; also as a query writes it.
_BARE_USERINFO = Linear(
    r"(^|[^\w.@+%~:-])([\w.+%~-]*:(?:[^/\s'\"<>@]+|\d*[^\d/\s'\"<>@)][^\s'\"<>@]*)"
    r"(?:@[^\s'\"<>@,;/]*)*)(@)(sha\d+:|\d{4,5}\b)?"
)
_QUOTED_USERINFO = Linear(
    r"(^|[^\w.@+~:-])([\w.+~-]*%(?:25)?3A"
    r"(?:%(?:25)?(?:2[0-9A-E]|[013-9A-F][0-9A-F])|[^\s'\"<>@/&=:%])[^\s'\"<>@/&=:]*)"
    r"(%(?:25)?40)()",
    ignore_case=True,
)
_NO_USER = Linear(
    r"(?:mailto|sips?|xmpp|acct|e-?mail|maintainer)(?::|%(?:25)?3A)[^:%]*"
    r"|(?:arn|urn|pkg|npm|github|gitlab):.*|jdbc:oracle:\w+:",
    ignore_case=True,
)
_PORT = Linear(r"[\w.-]*:\d{1,5}")
_ADDRESS = Linear(r"\w://[^\s'\"<>]*")
_IN_QUERY = Linear(
    rf"([?&;][\w.-]*(?:{_SECRET_WORDS}|sig|signature|auth|key|session)[\w.-]*=)[^&;\s'\"<>#]+",
    ignore_case=True,
)
# Shapes that vendors document for their tokens, so that scanners find them: tokens.csv.
_TOKENS = "|".join(row["pattern"] for row in rows("tokens"))
_KNOWN_TOKEN = Linear(rf"(^|[^A-Za-z0-9])(?:{_TOKENS})")
_PEM = Linear(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-----END [A-Z0-9 ]*-----)?"
)
_ASSIGNED = Linear(
    rf"([\w.-]*(?:{_SECRET_WORDS}|authorization)[\w.-]*[\"']?\s*(?:=|:|\s)\s*)"
    r"(?:(?:bearer|basic|token|digest|negotiate)\s+)?"
    r"(\"[^\"]*(?:\"|$)|'[^']*(?:'|$)|[^\s,;&\"']+)",
    ignore_case=True,
)
_KIND = Linear(r"\((?:ConfigMap|Secret)\)?")  # behind the name of an object
# An option, a parameter of an address or a part of a connection string whose last word means
# a secret, and a value that is no path and no variable.
_SECRET_OPTION = (
    r"[\w.-]*(?:passw(?:or)?d|pwd|passphrase|requirepass|masterauth|token|api[_-]?key"
    r"|(?:secret|access|private|account)[_-]?key|(?:client|app|jwt)[_-]?secret)"
)
_OPTION = Linear(
    rf"(?:^|[\s\"'?&;,])(?:--?{_SECRET_OPTION}(?:=|\s+)|{_SECRET_OPTION}(?:\s*=|\":)\s*)"
    r"[\"']?([^\s\"'/$<{;,&-][^\s\"';,&}]*)",
    ignore_case=True,
)
_SHELL_VARIABLE = Linear(r"\$\w+")
_BEARER = Linear(r"\b(bearer|basic)\s+([\w.~+/=-]{6,})", ignore_case=True)

_VARIABLE = Linear(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
_NAMED = 5  # variables that hold a secret
NAMING_ENV = ("OTEL_SERVICE_NAME", "DD_SERVICE", "SERVICE_NAME", "MARATHON_APP_ID")
# labels that may pass, by whole name or by how a name begins, and those that never may
_WHOLE, _BEGUN, _REFUSED = (
    tuple(row["label"] for row in rows("labels") if row["passes"] == passes)
    for passes in ("whole", "begun", "never")
)


@lru_cache(_CACHED)
def is_secret_name(name: str) -> bool:
    """Whether a variable of this name usually holds a secret; `X_FILE` only points to one."""
    if name in ("PWD", "OLDPWD"):  # the working directory of a shell
        return False
    spaced = _WORD_START.sub(lambda found: "_".join(found[0]), name)
    if _ONLY_POINTS.search(spaced):
        return False
    return _SECRET_NAME.search(spaced.replace("_", "-")) is not None


def is_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret, by its name or by its value."""
    # A switch is not a secret, such as `MYSQL_ALLOW_EMPTY_PASSWORD=true`; nor is a
    # reference.
    value = _REFERENCE.sub("", value)
    if _SWITCH.fullmatch(value):
        return False
    by_value = any(shape.search(value) for shape in (_PASSWORD, _KNOWN_TOKEN, _PEM))
    by_value |= not all(map(_SWITCH.fullmatch, _OPTION.findall(value)))
    # the path of an address may hold an at sign
    bare = _ADDRESS.sub("", value)
    return by_value or _mask_userinfo(bare) != bare or is_secret_name(name)


@lru_cache(_CACHED)
def tells_secret(command: str) -> bool:
    """Whether a command line holds a secret: behind an option, or by its shape."""
    plain = _SHELL_VARIABLE.sub("$", _REFERENCE.sub("$", command))
    return is_secret("", plain.replace(":$@", "@"))


def strip_credentials(url: str) -> str:
    """Remove ``user:password@`` and the tokens in queries from the addresses in a text."""
    if "@" in url:
        url = _USERINFO.sub("://", url)
    if "=" in url:
        url = _IN_QUERY.sub(lambda found: found[1] + REDACTED, url)
    return url


def _mask_userinfo(text: str) -> str:
    """Mask ``user:password@`` where no scheme says that an address follows."""
    if "@" in text:
        text = _BARE_USERINFO.sub(_without_user, text)
    if "%" in text:
        text = _QUOTED_USERINFO.sub(_without_user, text)
    return text


def _without_user(found: Any) -> str:
    # "image:tag@sha256:…" is a digest, and a node of Redis is "host:port@port"
    user = found[2]
    after = found[4] or ""
    is_node = after.isdigit() and _PORT.fullmatch(user)
    if after.startswith("sha") or is_node or _NO_USER.fullmatch(user):
        return found[0]
    return f"{found[1]}{REDACTED}{found[3]}{after}"


def mask(text: str) -> str:
    """Replace secrets of known shapes: tokens, keys, and passwords in addresses."""
    text = _PEM.sub(REDACTED, _mask_userinfo(strip_credentials(text)))
    return _KNOWN_TOKEN.sub(lambda found: found[1] + REDACTED, text)


def scrub(text: str) -> str:
    """Remove what may be secret from a message: one line, at most `MAX_MESSAGE` characters."""
    head = text[: 8 * MAX_MESSAGE]
    if len(head) < len(text):  # half a word may be half a secret, of no known shape
        head = head.rpartition(" ")[0] + " …"
    line = mask(" ".join(head.split()))
    # "shop/web-secret (Secret)" has no value
    line = _ASSIGNED.sub(
        lambda found: found[0] if _KIND.fullmatch(found[2]) else found[1] + REDACTED, line
    )
    line = _BEARER.sub(_without_credential, line)
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


def _without_credential(found: Any) -> str:
    # "basic" is a word too: what follows it is a credential where it looks like base64.
    scheme = found[1]
    is_word = scheme.lower() == "basic" and found[2].islower() and found[2].isalpha()
    return found[0] if is_word else f"{scheme} {REDACTED}"


def mask_tables(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Mask secrets of known shapes in all texts, and return a coverage row per column with one."""
    # This is a second net: what may be secret is not taken into a row in the first place.
    notes = []
    for frame, table in tables.items():
        for column in table.select_dtypes(["object", "string"]):
            texts = [text for text in table[column].unique() if isinstance(text, str)]
            # One search in all of them is a hundred times as fast as one in each.
            whole = "\n".join(texts)
            if mask(whole) == whole:
                continue
            masked = {text: mask(text) for text in texts if mask(text) != text}
            hits_n = int(table[column].isin(list(masked)).sum())
            table[column] = table[column].replace(masked)
            notes.append(
                {
                    "source": "redaction",
                    "scope": frame,
                    "call": column,
                    "status": "ok",
                    "redacted_n": hits_n,
                    "hint": "values of this column looked like secrets; they were masked",
                }
            )
    return notes


def keep_labels(labels: Mapping[str, Any] | None) -> tuple[Texts, int]:
    """Return the labels that name services, without secrets, and the number of others."""
    labels = labels if isinstance(labels, Mapping) else {}
    kept = {
        name: mask(value)
        for name, value in labels.items()
        if isinstance(value, str) and _is_allowed(name)
    }
    return kept, len(labels) - len(kept)


@lru_cache(_CACHED)
def _is_allowed(name: str) -> bool:
    is_begun = name.startswith(_BEGUN) and not name.startswith(_REFUSED)
    return (name in _WHOLE or is_begun) and not is_secret_name(name)


def secret_names(env: Iterable[tuple[str, str]]) -> str | None:
    """Return the first names of variables that hold a secret; possible values are left out."""
    names = sorted({name for name, value in env if is_secret(name, value)})
    shown = [n for n in names if _VARIABLE.fullmatch(n) and not is_secret("", n)]
    return joined(shown[:_NAMED])


def keep_env(env: Texts) -> dict[str, Any]:
    """Return the parts of an environment that are not secret.

    These are ``names`` (sorted), ``secret_like`` (how many hold a secret), ``secret_names`` (the
    first of these) and ``kept`` (variables whose values may reach a row).
    """
    return {
        "names": sorted(env),
        "secret_like": sum(is_secret(*pair) for pair in env.items()),
        "secret_names": secret_names(env.items()),
        "kept": kept_env(env),
    }


def kept_env(env: Texts) -> Texts:
    """Return the variables that name the service, or fix the API version of its client."""
    # facts need pandas, and to describe the sources needs neither
    from assess.reference.programs import api_variables

    named = [name for name in NAMING_ENV if name in env]
    naming = {name: env[name] for name in named if not is_secret("", env[name])}
    return naming | api_variables(env)
