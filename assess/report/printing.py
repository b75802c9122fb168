"""Print a page to PDF with the Chromium of this machine, page numbers and contents included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from assess.errors import AssessError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)
PATIENCE_SECONDS = 300


def browser() -> str:
    """Find a Chromium.

    Returns
    -------
    str
        Its path: that of ``ASSESS_CHROMIUM``, else the first that is installed.

    Raises
    ------
    AssessError
        Where there is none.
    """
    named = os.environ.get("ASSESS_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if found is None:
        raise AssessError(
            f"there is no {named or 'Chromium'} here, so no PDF can be written",
            hint="apt-get install chromium, set ASSESS_CHROMIUM to one, or print the page from any"
            " browser",
        )
    return found


def pdf(tell: Callable[[Mapping[str, int]], str], at: datetime) -> bytes:
    """Print a page twice: the first time to learn on which pages its parts begin.

    Parameters
    ----------
    tell : callable
        Gives the page as HTML, for the pages on which the targets of its links begin. [count]
    at : datetime
        The moment that the PDF names as its own, in place of the time of printing.

    Returns
    -------
    bytes
        The PDF.

    Raises
    ------
    AssessError
        Where there is no Chromium, or it fails.
    """
    program = browser()
    with TemporaryDirectory(prefix="assess-") as place:
        once = _printed(program, tell({}), Path(place))
        twice = _printed(program, tell(starts(once)), Path(place))
    stamp = f"{at:D:%Y%m%d%H%M%S}".encode()
    return re.sub(rb"(?<=Date \()D:\d{14}", stamp, twice)


def _printed(program: str, html: str, place: Path) -> bytes:
    page, file = place / "page.html", place / "page.pdf"
    page.write_text(html, encoding="utf-8")
    file.unlink(missing_ok=True)
    command = [
        program,
        *FLAGS,
        f"--user-data-dir={place / 'profile'}",
        f"--print-to-pdf={file}",
    ]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.append("--no-sandbox")  # which root cannot have
    try:
        ran = subprocess.run(
            [*command, page.as_uri()],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssessError(f"{program} printed nothing: {error}", hint=_BY_HAND) from error
    if not file.is_file():
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise AssessError(f"{program} printed nothing: {' '.join(last)}", hint=_BY_HAND)
    told = file.read_bytes()
    if b"/BaseFont" not in told:
        raise AssessError(
            f"{program} found no font: the pages would be blank", hint=_FONTS
        )
    return told


_BY_HAND = "print the page from any browser"
_FONTS = f"install one, such as Debian's fonts-dejavu-core, or {_BY_HAND}"


def starts(printed: bytes) -> dict[str, int]:
    """Read from a PDF of Chromium on which page each target of a link begins.

    Parameters
    ----------
    printed : bytes
        The PDF.

    Returns
    -------
    dict of str to int
        By anchor, from 1; what cannot be read is left out.
    """
    pages = re.findall(rb"^(\d+) 0 obj\s*<</Type /Page\b", printed, re.MULTILINE)
    numbers = {page: number for number, page in enumerate(pages, start=1)}
    targets = re.findall(rb"/([\w.-]+) \[(\d+) 0 R /XYZ", printed)
    return {name.decode(): numbers[page] for name, page in targets if page in numbers}
