"""Notebooks: run them with other parameters, refresh their outputs, check their conventions."""

from assess.notebooks.conventions import Deviation, check
from assess.notebooks.files import KERNELSPEC, LANGUAGE_INFO, find, fragment, tidy
from assess.notebooks.running import copy, refresh, run

__all__ = [
    "KERNELSPEC",
    "LANGUAGE_INFO",
    "Deviation",
    "check",
    "copy",
    "find",
    "fragment",
    "refresh",
    "run",
    "tidy",
]
