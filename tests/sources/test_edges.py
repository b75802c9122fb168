"""Edges of invented systems in the shapes of public ones, against edges that a person marked.

Each file of the corpus lists its true edges under ``x-edges``: caller, callee, kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from assess.sources.base import Name
from assess.sources.compose import ComposeSource
from assess.sources.deadline import Deadline
from assess.sources.kubernetes import KubernetesSource

CORPUS = Path(__file__).parent.parent / "fixtures" / "edges"
# Rules were made with the first two parts, the third was written after them; the fourth has the
# shapes of twelve public systems that were read later, the fifth those of what was missed in
# seventy more.
PARTS = ("first", "second", "third", "fourth", "fifth")


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


def marked_in(file: Path) -> list[list[str]]:
    """List the edges that a file marks: at its top, or in its last config map."""
    *_, document = yaml.safe_load_all(file.read_text())
    text = document.get("x-edges") or document["data"]["edges"]
    return [line.split() for line in text.split("\n") if line.strip()]


def tally(file: Path) -> Tally:
    source = KubernetesSource() if ".k8s" in file.name else ComposeSource()
    batch = source.collect({"path": file.name}, file.parent, Deadline(20))
    found = {}
    for row in batch.rows["dependencies"]:
        dst = row["dst"]
        found[row["src"].name, dst.name if isinstance(dst, Name) else dst] = row["kind"]
    return Tally(found, {(src, dst): kind for src, dst, kind in marked_in(file)})


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
