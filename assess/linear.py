"""Regular expressions in time linear in the text, for untrusted patterns and texts.

Python's own engine tries one way after the other, which takes hours for some texts of a few
kilobytes, and nothing can stop it. RE2 knows no lookaround and no backreference for that reason.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import re2

from assess.untrusted import encodable

_REFERENCE = re.compile(r"\\(\d{1,2}|g<\w{1,40}>)")  # to a group, in a template
NO_TEXT = r"[^\s\S]"  # a pattern that fits none


class Linear:
    """An RE2 pattern, or a ValueError; its character classes match ASCII only."""

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        options = re2.Options()
        # RE2 would write its errors to stderr itself
        options.log_errors = False
        options.case_sensitive = not ignore_case
        self.pattern = pattern
        try:
            self._compiled = re2.compile(pattern, options)
        except re2.error as error:
            # RE2 may pass its message as bytes
            reason = error.args[0] if error.args else b""
            text = reason.decode() if isinstance(reason, bytes) else str(reason)
            raise ValueError(text) from error

    def search(self, text: str) -> Any:
        """Return the first match; None without one."""
        return self._compiled.search(encodable(text))

    def fullmatch(self, text: str) -> Any:
        """Return the match of the whole text; None without one."""
        return self._compiled.fullmatch(encodable(text))

    def sub(self, replace: str | Callable[[Any], str], text: str) -> str:
        """Replace every match by a text, as it is, or by what a function makes of the match."""
        # a function, because RE2 would expand ``\1`` in a replacement text
        make = replace if callable(replace) else lambda _: replace
        return self._compiled.sub(make, encodable(text))

    def check_template(self, template: str) -> None:
        r"""Raise ValueError where ``\1`` or ``\g<name>`` names a group that the pattern lacks."""
        groups = {*map(str, range(self._compiled.groups + 1)), *self._compiled.groupindex}
        for reference in _REFERENCE.findall(template):
            if _group_of(reference) not in groups:
                raise ValueError(f"it has no group {reference}")

    def expand(self, template: str, found: Any) -> str:
        """Replace the references in a template by the groups of a match."""

        def group(reference: re.Match[str]) -> str:
            name = _group_of(reference[1])
            return found[int(name) if name.isdigit() else name] or ""

        return _REFERENCE.sub(group, template)

    def split(self, text: str) -> list[str]:
        """Split a text at every match."""
        return self._compiled.split(encodable(text))

    def findall(self, text: str) -> list[Any]:
        """List all matches, as `re.findall` does."""
        return self._compiled.findall(encodable(text))


def any_of(patterns: Iterable[str], around: str = "") -> Linear:
    """Return a pattern for any of these, ignoring case; ``around`` is put at both ends."""
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    return Linear(f"{around}(?:{joined or NO_TEXT}){around}", ignore_case=True)


def _group_of(reference: str) -> str:
    return reference.removeprefix("g<").removesuffix(">")
