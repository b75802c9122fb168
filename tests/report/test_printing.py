"""The report on paper: a real Chromium prints it, and its absence is told."""

import re

import pytest
from browsers import CHROMIUM
from fleets import ROOT

from assess.errors import AssessError
from assess.report import Appendix, render

ARTEFACTS = ROOT / ".artefacts" / "report"


@pytest.mark.skipif(not CHROMIUM.exists(), reason="apt-get install -y chromium")
def test_the_pdf_has_contents_with_the_pages_on_which_they_begin(hostile, monkeypatch):
    asked = []
    real = render._printed
    monkeypatch.setattr(
        render,
        "_printed",
        lambda program, html, place: asked.append(html) or real(program, html, place),
    )
    told = hostile.to_pdf([Appendix("notebook-01", "1 · A notebook", "<p>It ran.</p>")])
    assert told.startswith(b"%PDF-")
    begins = render.starts(told)
    wanted = [*(section.id for section in hostile.sections), "notebook-01"]
    numbers = [begins[anchor] for anchor in wanted]
    assert numbers == sorted(numbers)
    assert numbers[0] == 1 < numbers[-1]
    shown = [int(n) for n in re.findall(r'<span class="page">(\d+)</span>', asked[-1])]
    assert shown == numbers
    assert b"CreationDate (D:20260930000000" in told
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    (ARTEFACTS / "report.pdf").write_bytes(told)


def test_without_a_chromium_it_says_what_to_do(hostile, monkeypatch):
    monkeypatch.setenv("ASSESS_CHROMIUM", "no-such-browser")
    with pytest.raises(AssessError, match="no-such-browser is not installed") as caught:
        hostile.to_pdf()
    assert "ASSESS_CHROMIUM" in caught.value.hint


@pytest.mark.parametrize("program", ["true", "false"])
def test_a_browser_that_prints_nothing_is_an_error(hostile, monkeypatch, program):
    monkeypatch.setenv("ASSESS_CHROMIUM", program)
    with pytest.raises(AssessError, match="failed to print") as caught:
        hostile.to_pdf()
    assert caught.value.hint == "print the page from any browser"


@pytest.mark.skipif(not CHROMIUM.exists(), reason="apt-get install -y chromium")
def test_without_a_font_it_does_not_print_blank_pages(hostile, monkeypatch, tmp_path):
    none = tmp_path / "fonts.conf"
    none.write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(none))
    with pytest.raises(AssessError, match="has no font") as caught:
        hostile.to_pdf()
    assert "fonts-dejavu-core" in caught.value.hint


def test_a_pdf_that_cannot_be_read_has_no_page_numbers():
    assert render.starts(b"%PDF-2.0 written in another way") == {}
