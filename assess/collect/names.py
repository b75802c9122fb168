"""Names of services: how they are spelled, mapped by hand, and compared."""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from assess.collect.base import Name
from assess.errors import ConfigError

SIMILAR = 0.85
_NEAREST = 3  # suggestions per name, at most
_ENV_WORDS = frozenset(
    ("prod", "prd", "production", "stg", "stage", "staging", "dev", "test", "qa", "uat")
)
_SUFFIXES = frozenset(["svc", "service", "srv"])
_NO_SPACE = frozenset(("", "default"))

Rules = list[tuple[re.Pattern[str], str]]


@cache
def slug(name: str) -> str:
    """Write a name in the one way that all sources share.

    Parameters
    ----------
    name : str
        Any name.

    Returns
    -------
    str
        Lower case; all but letters and digits become a dash, unless there is nothing else.
    """
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-") or name.lower()


@cache
def short(name: str) -> str:
    """Leave out of a name what only says where it runs, or that it is a service.

    Parameters
    ----------
    name : str
        Any name.

    Returns
    -------
    str
        Its slug without environment, and without ``-svc``, ``-service`` or ``-srv`` at its end.
    """
    kept = [word for word in slug(name).split("-") if word not in _ENV_WORDS]
    while len(kept) > 1 and kept[-1] in _SUFFIXES:
        kept.pop()
    return "-".join(kept) or slug(name)


def same(name: str) -> str:
    """Leave a name as it is written.

    Parameters
    ----------
    name : str
        Any name.

    Returns
    -------
    str
        The same.
    """
    return name


Spelling = Callable[[str], str]
SPELLINGS: tuple[Spelling, ...] = (same, slug, short)  # from exact to loose


def leaf(name: Name) -> str:
    """Give a name without its namespace.

    Parameters
    ----------
    name : Name
        ``name`` or ``namespace/name``.

    Returns
    -------
    str
        The last part.
    """
    return name.name.rpartition("/")[2] or name.name


def space(name: Name) -> str:
    """Give the namespace of a name.

    Parameters
    ----------
    name : Name
        With a namespace of its own, or written ``namespace/name``.

    Returns
    -------
    str
        Slug of the namespace; empty for none and for ``default``.
    """
    written = name.namespace or name.name.rpartition("/")[0]
    return "" if written in _NO_SPACE else slug(written)


def read_map(path: Path) -> Rules:
    """Read the names that people decided: regular expressions and the services that they mean.

    Parameters
    ----------
    path : Path
        CSV file with the columns ``pattern`` and ``service_id``.

    Returns
    -------
    list of tuple
        Pattern, to be matched in full with ``name`` or ``namespace/name``, and service.

    Raises
    ------
    ConfigError
        Where it cannot be read or used; every bad line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"the identity map {path.name} cannot be read: {error}") from error
    rules, problems = [], []
    for line, row in enumerate(rows, start=2):
        pattern, service = ((row.get(column) or "").strip() for column in ("pattern", "service_id"))
        if not pattern or not service:
            problems.append(f"line {line} needs a pattern and a service_id")
            continue
        try:
            rule = re.compile(pattern, re.IGNORECASE)
            rule.sub(service, "")  # refuses a reference to a group that is not there
            rules.append((rule, service))
        except (re.error, IndexError) as error:
            problems.append(f"line {line}: {pattern!r} is no regular expression: {error}")
    if problems:
        message = f"the identity map {path.name}: " + "; ".join(problems)
        raise ConfigError(message, hint="its columns are pattern,service_id")
    return rules


def mapped(names: Iterable[Name], rules: Rules) -> Name | None:
    """Give the name that people decided.

    Parameters
    ----------
    names : iterable of Name
        Names that a source has, best first.
    rules : list of (Pattern, str)
        From `read_map`.

    Returns
    -------
    Name or None
        Of the first rule that fits the first name that any rule fits.
    """
    for name in names:
        for text in (f"{name.namespace}/{name.name}", name.name):
            for pattern, service in rules:
                if found := pattern.fullmatch(text):
                    return Name(found.expand(service), "map", 1.0)
    return None


class Nearest:
    """Finds similar names; only those that share letter triples are compared.

    Parameters
    ----------
    names : iterable of str
        Names to find.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_triple: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            for triple in _triples(slug(name)):
                self._by_triple[triple].append(name)

    def __call__(self, name: str) -> list[tuple[str, float]]:
        """Find the names most similar to one.

        Parameters
        ----------
        name : str
            Any name.

        Returns
        -------
        list of (str, float)
            Names and their similarity, at least `SIMILAR`. [share, 0-1]
        """
        text = slug(name)
        shared = Counter(n for triple in _triples(text) for n in self._by_triple.get(triple, ()))
        likely = sorted(shared, key=lambda n: (-shared[n], n))[: 4 * _NEAREST]
        ratios = {n: difflib.SequenceMatcher(None, text, slug(n)).ratio() for n in likely}
        found = [(n, round(ratio, 2)) for n, ratio in ratios.items() if ratio >= SIMILAR]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:_NEAREST]


def _triples(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
