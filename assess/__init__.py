"""Measures the risk of adopting containers, service by service, on your own fleet."""

import ast
import importlib
import logging
from pathlib import Path
from typing import Any

from assess._version import __version__ as __version__

# type checkers and this file read the public names in one place, and nothing imports them yet
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOMES = {
    alias.name: str(node.module)
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = list(_HOMES)

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __dir__() -> list[str]:
    """List the public names, also those that nobody has used yet."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used: `import assess` costs no SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module 'assess' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
