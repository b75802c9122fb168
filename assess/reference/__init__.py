"""Reference facts: what the world publishes about engines, kernels and registries."""

from __future__ import annotations


def compiled_on() -> str:
    """Give the date of the facts."""
    return "2026-11-23"
