"""The committed report of the sample quarter is what this version writes."""

import pytest
from fleets import ROOT

import assess

COMMITTED = ROOT / "reports" / "2026Q3"
COMMAND = (
    "assess report data/sample/2026Q3 --previous data/sample/2026Q2 -o reports/2026Q3"
)


@pytest.fixture(scope="module")
def sample():
    before, now = (
        assess.load(ROOT / "data" / "sample" / q) for q in ("2026Q2", "2026Q3")
    )
    return assess.build_report(now, assess.load_policy(), previous=before)


@pytest.mark.parametrize(
    ("name", "tell"),
    [("index.html", "to_html"), ("report.md", "to_markdown")],
)
def test_the_committed_report_is_rebuilt_byte_for_byte(sample, name, tell):
    committed = (COMMITTED / name).read_bytes()
    is_same = getattr(sample, tell)().encode() == committed
    assert is_same, f"rebuild it: {COMMAND}"  # a diff of a megabyte takes minutes
