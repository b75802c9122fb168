"""What a source handed over, as tests ask for it."""

from __future__ import annotations

import pandas as pd

from assess import frames
from assess.sources.base import Batch


def table(batch: Batch, name: str) -> pd.DataFrame:
    """Return the typed rows of a frame, of which every cell can be read and every column is known."""
    raw = pd.DataFrame(batch.rows[name])
    typed, problems = frames.conform(name, raw)
    assert problems.empty, problems
    assert set(raw) - {"names", "src", "dst"} <= set(frames.columns(name))
    return typed


def coverage(batch: Batch) -> dict[str, dict]:
    """Return the coverage rows by call."""
    return {row["call"]: row for row in batch.coverage}
