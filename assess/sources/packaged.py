"""Vocabularies of the sources that are data, not code: CSV files beside this one."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from fnmatch import translate
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> list[dict[str, str]]:
    """Read the rows of a packaged vocabulary."""
    with (files("assess.sources") / f"{name}.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Make one expression of patterns as a shell has them: ``*`` stands for anything."""
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)
