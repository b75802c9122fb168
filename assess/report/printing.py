"""Print a page to PDF with the Chromium of this machine, with page numbers and contents."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
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
_PAGE = re.compile(rb"^(\d+) 0 obj\s*<</Type /Page\b", re.MULTILINE)


def browser() -> str:
    """Return the path of ``ASSESS_CHROMIUM``, else of the first Chromium that is installed."""
    named = os.environ.get("ASSESS_CHROMIUM")
    names = [named] if named else BROWSERS
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise AssessError(
            f"cannot write a PDF: {named or 'Chromium'} is not installed",
            hint="run apt-get install chromium, set ASSESS_CHROMIUM, or print the page from any browser",
        )
    return path


def pdf(write: Callable[[Mapping[str, int]], str], at: datetime) -> bytes:
    """Print a page twice: the first run finds the page number of each part.

    ``write`` returns the HTML for the page numbers by anchor; ``at`` replaces the printing time.
    """
    program = browser()
    with TemporaryDirectory(prefix="assess-") as place:
        once = _printed(program, write({}), Path(place))
        twice = _printed(program, write(starts(once)), Path(place))
    return _stamped(twice, at)


def on_one_page(pages: Iterable[str], at: datetime) -> bytes:
    """Print the first of several versions of a page that fits on one sheet, else the last one."""
    program = browser()
    printed = b""
    with TemporaryDirectory(prefix="assess-") as place:
        for html in pages:
            printed = _printed(program, html, Path(place))
            if len(_PAGE.findall(printed)) == 1:
                break
    return _stamped(printed, at)


def _stamped(printed: bytes, at: datetime) -> bytes:
    """Replace the printing time, so that the same input gives the same bytes."""
    stamp = f"{at:D:%Y%m%d%H%M%S}".encode()
    return re.sub(rb"(?<=Date \()D:\d{14}", stamp, printed)


def _printed(program: str, html: str, place: Path) -> bytes:
    page = place / "page.html"
    file = place / "page.pdf"
    page.write_text(html, encoding="utf-8")
    file.unlink(missing_ok=True)
    command = [
        program,
        *FLAGS,
        f"--user-data-dir={place / 'profile'}",
        f"--print-to-pdf={file}",
    ]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.append("--no-sandbox")  # Chromium refuses its sandbox to root
    try:
        ran = subprocess.run(
            [*command, page.as_uri()],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssessError(f"{program} failed to print: {error}", hint=_BY_HAND) from error
    if not file.is_file():
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise AssessError(f"{program} failed to print: {' '.join(last)}", hint=_BY_HAND)
    printed = file.read_bytes()
    if b"/BaseFont" not in printed:
        raise AssessError(f"{program} has no font: the pages would be blank", hint=_FONTS)
    return printed


_BY_HAND = "print the page from any browser"
_FONTS = f"install one, such as Debian's fonts-dejavu-core, or {_BY_HAND}"


def starts(printed: bytes) -> dict[str, int]:
    """Read the page number of each link target from a PDF of Chromium, counted from 1."""
    pages = _PAGE.findall(printed)
    numbers = {page: number for number, page in enumerate(pages, start=1)}
    targets = re.findall(rb"/([\w.-]+) \[(\d+) 0 R /XYZ", printed)
    return {name.decode(): numbers[page] for name, page in targets if page in numbers}
