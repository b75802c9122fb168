"""The committed report of the sample quarter is what this version writes."""

import re
import threading
from shutil import copy

import pytest
from fleets import ROOT

import assess
from assess import execution

COMMITTED = ROOT / "reports" / "2026Q3"
SMALL_PAGE = 1_125_000  # of the 1.2 MB that it may have [bytes]
COMMAND = (
    "assess report data/sample/2026Q3 --previous data/sample/2026Q2 -o reports/2026Q3"
)


@pytest.fixture(scope="module")
def two_processes():
    """Let a copy of this process do its part, as on the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "active_count", lambda: 1)
        patch.setattr(execution, "processors", lambda: 2)
        yield


@pytest.fixture(scope="module")
def made(two_processes):
    before, now = (
        assess.load(ROOT / "data" / "sample" / q) for q in ("2026Q2", "2026Q3")
    )
    return assess.build_report(now, assess.load_policy(), previous=before)


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    """The folder of the sample's report, whose page links to the files beside it."""
    home = tmp_path_factory.mktemp("reports")
    copy(COMMITTED / "history.html", home)  # another command writes it
    made.save(home)
    return home


def test_scores_of_a_second_process_make_the_tables_that_are_asked_for_later(made):
    was, now = (s.what_next.details["boards"] for s in (made.scores.earlier, made.scores))
    assert list(was) == list(now)
    assert len(was)


def test_an_experiment_removes_as_much_in_its_cell_as_in_its_sentence(made):
    table = next(table for table in made.tables() if table.id == "experiments")
    for cells in table.rows():
        texts = [cell.text for cell in cells]
        assert f"It removes {texts[1]} of the uncertainty" in texts[-1]


def test_the_short_list_has_every_candidate_that_is_ready_or_can_be_prepared(made):
    (decision, *_) = made.sections
    (listed, *_) = decision.parts
    labels = made.scores.what_next.frame["label"]
    wanted = ["MOVE NOW", "PILOT", "LATER", "PREPARE"]
    assert list(listed.frame["service_id"]) == list(labels.index[labels.isin(wanted)])
    assert {*listed.frame["label"]} == {*wanted}


@pytest.mark.parametrize("name", ["index.html", "report.md"])
def test_the_committed_report_is_rebuilt_byte_for_byte(written, name):
    is_same = (written / name).read_bytes() == (COMMITTED / name).read_bytes()
    assert is_same, f"rebuild it: {COMMAND}"  # a diff of a megabyte takes minutes


def test_the_page_of_200_services_stays_small(written):
    page = (written / "index.html").read_text()
    cards = re.findall(
        r'<details class="card" id="service-.*?</details>', page, re.DOTALL
    )
    (ranking,) = re.findall(r'id="ranking-table">.*?</table>', page, re.DOTALL)
    (packed,) = re.findall(r'data-packed="[^"]*"', page)
    growing = sum(len(part.encode()) for part in (*cards, ranking, packed))
    rest = len(page.encode()) - growing
    # a page of 200 services is 3 to 5 % smaller: names and evidence repeat
    assert rest + growing * 200 / len(cards) < SMALL_PAGE
