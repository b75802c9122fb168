"""Regular expressions whose time is linear in the text: for text that strangers wrote.

Python's own engine tries one way after the other, which takes hours for some texts of a few
kilobytes, and nothing can stop it. RE2 knows no lookaround and no backreference for that reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import re2


class Linear:
    """A pattern of RE2, whose classes of characters know ASCII only.

    Raises ValueError for what RE2 refuses.
    """

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = not ignore_case
        self.pattern = pattern
        try:
            self._compiled = re2.compile(pattern, options)
        except re2.error as error:
            reason = error.args[0] if error.args else b""
            text = reason.decode() if isinstance(reason, bytes) else str(reason)
            raise ValueError(text) from error

    def search(self, text: str) -> Any:
        """Return the first match; None without one."""
        return self._compiled.search(_encodable(text))

    def fullmatch(self, text: str) -> Any:
        """Return the match of the whole text; None without one."""
        return self._compiled.fullmatch(_encodable(text))

    def sub(self, replace: str | Callable[[Any], str], text: str) -> str:
        """Replace every match by a text, as it is, or by what a function makes of the match."""
        make = replace if callable(replace) else lambda _: replace
        return self._compiled.sub(make, _encodable(text))

    def split(self, text: str) -> list[str]:
        """Split a text at every match."""
        return self._compiled.split(_encodable(text))

    def findall(self, text: str) -> list[Any]:
        """List all matches, as `re.findall` does."""
        return self._compiled.findall(_encodable(text))


def _encodable(text: str) -> str:
    """Return a text with a question mark for each lone surrogate, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
