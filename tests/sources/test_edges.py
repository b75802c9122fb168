"""Edges of invented systems in the shapes of public ones, against edges that a person marked.

Each file of the corpus lists its true edges under ``x-edges``: caller, callee, kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from assess.sources.base import Name
from assess.sources.compose.source import ComposeSource
from assess.sources.deadline import Deadline

CORPUS = Path(__file__).parent.parent / "fixtures" / "edges"
# The second part was written after the rules, and no rule was made for it.
PARTS = ("first", "second")


@dataclass
class Tally:
    found: dict[tuple[str, str], str]
    marked: dict[tuple[str, str], str]

    @property
    def both(self) -> list[tuple[str, str]]:
        return [pair for pair in self.marked if pair in self.found]

    @property
    def recall(self) -> float:
        return len(self.both) / len(self.marked)

    @property
    def precision(self) -> float:
        return len(self.both) / len(self.found)

    @property
    def kinds(self) -> float:
        return sum(self.found[p] == self.marked[p] for p in self.both) / len(self.both)


def tally(file: Path) -> Tally:
    batch = ComposeSource().collect({"path": file.name}, file.parent, Deadline(20))
    found = {}
    for row in batch.rows["dependencies"]:
        dst = row["dst"]
        found[row["src"].name, dst.name if isinstance(dst, Name) else dst] = row["kind"]
    lines = yaml.safe_load(file.read_text())["x-edges"].split("\n")
    marked = [line.split() for line in lines if line.strip()]
    return Tally(found, {(src, dst): kind for src, dst, kind in marked})


def joined(part: str) -> Tally:
    whole = Tally({}, {})
    for file in sorted((CORPUS / part).glob("*.yaml")):
        one = tally(file)
        whole.found |= {(file.stem + s, d): k for (s, d), k in one.found.items()}
        whole.marked |= {(file.stem + s, d): k for (s, d), k in one.marked.items()}
    return whole


@pytest.mark.parametrize("part", PARTS)
def test_edges_of_a_corpus(part):
    whole = joined(part)
    figures = f"{len(whole.marked)} edges: recall {whole.recall:.3f}, precision"
    print(f"{part}: {figures} {whole.precision:.3f}, kinds {whole.kinds:.3f}")  # noqa: T201
    assert whole.recall >= 0.97
    assert whole.precision >= 0.97
    assert whole.kinds >= 0.9
