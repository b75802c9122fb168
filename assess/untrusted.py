"""Make text of the fleet safe to show: its names are untrusted and may hold anything.

Safe text cannot move a terminal's cursor, run in a spreadsheet or become a link in Markdown.
"""

import csv
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from types import SimpleNamespace

# the beginnings of a formula in Excel, LibreOffice and Google Sheets, full-width forms included
_FORMULA = r"[=+\-@\t\r\n＝＋－＠]"
# a reader may take a lone CR for the end of a row, so a cell could begin after it
_UNGUARDED = re.compile(rf"(\A|\r)(?='*{_FORMULA})")
_GUARDED = re.compile(rf"(\A|\r)'(?='*{_FORMULA})")
# an underscore within a word is no mark, and names are full of them
_MARKS = re.compile(r"[\\`*\[\]|#~$]|(?<!\w)_|_(?!\w)")
# what GitHub and markdown-it turn into a link without any mark: addresses, mail, mentions
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@(?=\w)|@(?=[\w-]+\.\w)")


def printable(text: str) -> str:
    """Replace control, direction and unpaired characters by spaces; line breaks stay."""
    # most text needs no look at each character
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        # category C: control, format (also right-to-left marks), surrogate, unassigned
        " " if unicodedata.category(char)[0] == "C" and char != "\n" else char
        for char in text
    )


def encodable(text: str) -> str:
    """Return a text with a question mark for each lone surrogate, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def clean(text: object) -> str:
    """Make any text safe to show, on one line.

    Parameters
    ----------
    text : object
        Any text.

    Returns
    -------
    str
        One line without control, direction or unpaired characters.
    """
    return " ".join(printable(str(text)).split())


def clean_lines(text: str) -> str:
    """Clean text line by line; line breaks stay."""
    return "\n".join(map(clean, text.splitlines()))


@lru_cache(maxsize=10_000, typed=True)
def markdown_text(text: object) -> str:
    """Escape any text for one line of Markdown, also within a table; nothing becomes a link."""
    escaped = html.escape(_MARKS.sub(r"\\\g<0>", clean(text)), quote=False)
    # a backslash does not stop GitHub from linking mail and mentions; an invisible joiner does
    return _ADDRESS.sub(r"\\", _MENTION.sub("@&#8288;", escaped))


def guarded(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula."""
    return _UNGUARDED.sub(r"\1'", text)


def unguarded(text: str) -> str:
    """Return what `guarded` was given."""
    return _GUARDED.sub(r"\1", text)


def csv_lines(header: Iterable[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield lines of CSV that read back as they are; the caller guards formulas."""
    lines: list[str] = []
    # the library quotes a lone CR only where lines end with one
    write = csv.writer(
        SimpleNamespace(write=lines.append), lineterminator="\r\n"
    ).writerow
    for row in chain([header], rows):
        write(row)
        yield f"{lines.pop()[:-2]}\n"
