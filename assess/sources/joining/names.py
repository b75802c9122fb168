"""Names of services: how they are spelled, mapped by hand, and compared."""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from assess.errors import ConfigError
from assess.sources.base import Name

SIMILAR = 0.85
_NEAREST = 3  # suggestions per name, at most
_ENV_WORDS = frozenset(
    ("prod", "prd", "production", "stg", "stage", "staging", "dev", "test", "qa", "uat")
)
_SUFFIXES = frozenset(["svc", "service", "srv"])

Rules = list[tuple[re.Pattern[str], str]]
Spelling = Callable[[str], str]


@cache
def slug(name: str) -> str:
    """Write a name in lower case, with dashes for all but letters and digits."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-") or name.lower()


@cache
def short(name: str) -> str:
    """Return the slug of a name without environment and without a suffix such as ``-svc``."""
    kept = [word for word in slug(name).split("-") if word not in _ENV_WORDS]
    while len(kept) > 1 and kept[-1] in _SUFFIXES:
        kept.pop()
    return "-".join(kept) or slug(name)


SPELLINGS: tuple[Spelling, ...] = (str, slug, short)  # from exact to loose


def leaf(name: Name) -> str:
    """Return a name without its namespace."""
    return name.name.rpartition("/")[2] or name.name


def space(name: Name) -> str:
    """Return the slug of a name's namespace; empty for none and for ``default``."""
    written = name.namespace or name.name.rpartition("/")[0]
    return "" if written in ("", "default") else slug(written)


def read_map(path: Path) -> Rules:
    """Read the CSV file in which people decided names: ``pattern`` (a regex), ``service_id``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"the identity map {path.name} cannot be read: {error}"
        ) from error
    rules, problems = [], []
    for line, row in enumerate(rows, start=2):
        pattern, service = (
            (row.get(column) or "").strip() for column in ("pattern", "service_id")
        )
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
    """Return the service of the first name that a rule matches in full, by its first rule."""
    for name in names:
        for text in (f"{name.namespace}/{name.name}", name.name):
            for pattern, service in rules:
                if found := pattern.fullmatch(text):
                    return Name(found.expand(service), "map", 1.0)
    return None


class Nearest:
    """Finds similar names; only those that share letter triples are compared."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_triple: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            for triple in _triples(slug(name)):
                self._by_triple[triple].append(name)

    def __call__(self, name: str) -> list[tuple[str, float]]:
        """List the most similar names and their similarity, `SIMILAR` to 1."""
        text = slug(name)
        shared = Counter(
            n for triple in _triples(text) for n in self._by_triple.get(triple, ())
        )
        likely = sorted(shared, key=lambda n: (-shared[n], n))[: 4 * _NEAREST]
        ratios = {n: difflib.SequenceMatcher(None, text, slug(n)).ratio() for n in likely}
        found = [(n, round(ratio, 2)) for n, ratio in ratios.items() if ratio >= SIMILAR]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:_NEAREST]


def _triples(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
