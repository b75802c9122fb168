"""Variables in Compose files: `.env` files and interpolation."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?P<how>:?[-?+])?)",
    re.ASCII,
)
_LINE = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*"
    r"(?:'(?P<literal>[^']*)'|\"(?P<quoted>(?:\\.|[^\"\\])*)\"|(?P<bare>[^\r\n]*))",
    re.MULTILINE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def interpolate(text: str, env: Mapping[str, str], unset: set[str]) -> str:
    """Put the values of variables into a text, as Compose does.

    Parameters
    ----------
    text : str
        With ``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``,
        ``${NAME:?message}``, ``${NAME:+other}``, nested at will, and ``$$`` for a dollar sign.
    env : mapping of str to str
        Values of the variables.
    unset : set of str
        Names that have neither value nor default are added to it; they count as empty.

    Returns
    -------
    str
        The text; what is no variable stays as it is.
    """
    parts, position = [], 0
    while found := _VARIABLE.search(text, position):
        parts.append(text[position : found.start()])
        position = found.end()
        if found["dollar"]:
            parts.append("$")
        elif found["name"]:
            parts.append(_value(found["name"], "", "", env, unset))
        else:
            end = _closing(text, position)
            how = found["how"] or ""
            if end is None or (not how and end != position):
                parts.append(found[0])
                continue
            parts.append(_value(found["braced"], how, text[position:end], env, unset))
            position = end + 1
    return "".join([*parts, text[position:]])


def _value(name: str, how: str, word: str, env: Mapping[str, str], unset: set[str]) -> str:
    value = env.get(name)
    is_there = bool(value) if how.startswith(":") else value is not None
    if how.endswith("+"):
        return interpolate(word, env, unset) if is_there else ""
    if is_there:
        return value or ""
    if how.endswith("-"):
        return interpolate(word, env, unset)
    if how or value is None:
        unset.add(name)
    return ""


def _closing(text: str, start: int) -> int | None:
    """Position of the brace that closes the one before ``start``."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return None


def read_env(text: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Read a `.env` file.

    Parameters
    ----------
    text : str
        Lines ``NAME=value``; with quotes, comments and ``export``.
    env : mapping of str to str, optional
        Values that its variables may refer to.

    Returns
    -------
    dict of str to str
        Values by name.
    """
    values: dict[str, str] = {}
    for line in _LINE.finditer(text):
        known = {**values, **(env or {})}
        if line["literal"] is not None:
            value = line["literal"]
        elif line["quoted"] is not None:
            plain = re.sub(r"\\(.)", _unescape, line["quoted"], flags=re.DOTALL)
            value = interpolate(plain, known, set())
        else:
            bare = re.split(r"(?:^|[ \t])#", line["bare"], maxsplit=1)[0]
            value = interpolate(bare.strip(), known, set())
        values[line["name"]] = value
    return values


def _unescape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[1], found[0])
