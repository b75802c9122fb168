import errno
import os
import re

import pandas as pd
import pytest
from browsers import CHROMIUM
from fleets import HOSTILE, SCRIPT, fleet
from hypothesis import given
from hypothesis import strategies as st

import assess
from assess.errors import AssessError
from assess.report.record import (
    decision_record,
    keep,
    move_of,
    record_page,
    record_pdf,
    written_before,
)
from assess.score.assessment import Assessment

HEADINGS = [
    "Status",
    "Context",
    "Decision drivers",
    "Options",
    "Decision",
    "Consequences",
    "What is unknown",
    "What would change it",
    "Since 2026Q2",
    "Notes",
]


def test_a_record_has_the_usual_form(hostile):
    told = hostile.decision_record("web")
    assert [line[3:] for line in told.splitlines() if line.startswith("## ")] == HEADINGS
    assert told.startswith("# web: should it run in containers?\n")
    label = hostile.scores.what_next.frame.loc["web", "label"]
    assert f"**{label}**" in told
    assert hostile.scores.provenance.policy_hash in told


def test_a_record_names_every_gate_that_does_not_pass(hostile):
    gates = hostile.scores.readiness.details["gates"]
    own = gates[(gates["service_id"] == "web") & (gates["state"] != "pass")]
    told = hostile.decision_record("web")
    assert len(own)
    assert all(f"| {gate} | " in told for gate in own["gate"])


def test_a_record_shows_that_a_waiver_of_an_unknown_gate_does_not_count(policy):
    waiver = {
        "service_id": "web",
        "owner": "shop",
        "reason": "a restore is planned",
        "granted_at": "2026-09-01",
        "expires_at": "2026-12-01",
    }
    gates = assess.score_readiness(fleet(["web"]), policy).details["gates"]
    gate = gates.loc[gates["state"].eq("unknown"), "gate"].iloc[0]
    waived = fleet(["web"]).replace(waivers=pd.DataFrame([{**waiver, "gate": gate}]))
    told = assess.build_report(waived, policy).decision_record("web")
    [row] = [line for line in told.splitlines() if line.startswith(f"| {gate} | unknown")]
    assert "find out" in row
    assert "the waiver by shop until 2026-12-01 does not count" in row


@pytest.mark.parametrize("column", ["", "storage_driver", "version"])
def test_a_record_names_what_upgrades_may_break_where_a_fact_is_hidden(policy, column):
    whole = fleet(["web"])
    engine = {"runtime": "docker", "version": "20.10.24", "storage_driver": "aufs"}
    engines = pd.DataFrame([{"host_id": host, **engine} for host in ("h1", "h2")])
    containers = whole["workloads"].assign(source_kind="container")
    seen = whole.replace(engines=engines.drop(columns=column or []), workloads=containers)
    told = decision_record("web", Assessment(seen, policy))
    words = {"": "will break it: EC0282", "storage_driver": "may break it: EC0311"}
    assert words.get(column, "not known in full") in told
    assert ("not known in full" in told) == (column == "version")


def test_a_record_says_where_nobody_knows_what_upgrades_break(policy):
    told = decision_record("web", Assessment(fleet(["web"]), policy))
    assert "What upgrades break is not known in full" in told


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_in_a_record(hostile, name):
    told = hostile.decision_record(name)
    assert "<script" not in told
    assert "<img" not in told
    assert told.count("<!-- keep: notes -->") == 1
    assert told.splitlines()[0].endswith(": should it run in containers?")
    assert keep(told, told) == told


def test_a_new_service_is_said_to_be_new(hostile):
    assert "New in the inventory." in hostile.decision_record(SCRIPT)


def test_a_service_that_is_not_there_is_an_error_with_a_hint(hostile):
    with pytest.raises(assess.AssessError) as error:
        hostile.decision_record("webb")
    assert "web" in error.value.hint


def test_running_again_keeps_what_stands_between_the_marks():
    before = "old\n<!-- keep: notes -->\nMine | <b>\\1\n<!-- end: notes -->\n"
    after = "new\n<!-- keep: notes -->\n_hint_\n<!-- end: notes -->\nend\n"
    merged = keep(after, before)
    assert (
        merged == "new\n<!-- keep: notes -->\nMine | <b>\\1\n<!-- end: notes -->\nend\n"
    )
    assert keep(after, merged) == merged


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"), max_size=40
).filter(lambda words: "<!--" not in words)


@given(st.lists(st.tuples(st.sampled_from(["notes", "status", "votes"]), WORDS)))
def test_no_words_between_marks_are_lost(parts):
    blocks = [
        f"<!-- keep: {name} -->{words}<!-- end: {name} -->" for name, words in parts
    ]
    template = "# x\n<!-- keep: notes -->\nhint\n<!-- end: notes -->\nend\n"
    merged = keep(template, "\n".join(blocks))
    assert all(merged.count(block) >= blocks.count(block) for block in blocks)
    again = keep(template, merged)
    assert all(again.count(block) >= blocks.count(block) for block in blocks)


@pytest.mark.parametrize(
    "damaged",
    [
        "<!-- keep: notes -->\nMine\n",
        "Mine\n<!-- end: notes -->\n",
        "<!-- keep: notes -->\nMine\n<!-- end: note -->\n",
        "<!-- keep:notes -->\nMine\n<!-- end:notes -->\n",
        "<!-- Keep: notes -->\nMine\n<!-- end: notes -->\n",
    ],
)
def test_a_damaged_mark_is_refused_before_words_are_lost(damaged):
    with pytest.raises(assess.AssessError, match="keep mark"):
        keep("<!-- keep: notes -->\n_hint_\n<!-- end: notes -->\n", damaged)


@pytest.mark.parametrize("step", ["assess.writing.sync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_words_of_a_board(hostile, tmp_path, monkeypatch, step):
    place = tmp_path / "decisions"
    place.mkdir()
    file = place / "web.md"
    mine = "<!-- keep: notes -->\nMine\n<!-- end: notes -->\n"
    file.write_text(mine)

    def full(self, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(step, full)
    with pytest.raises(assess.AssessError, match="cannot be written"):
        hostile.save(tmp_path)
    assert file.read_text() == mine


def test_a_record_that_cannot_be_read_is_refused_and_left(tmp_path):
    record = tmp_path / "record.md"
    assert written_before(record) == ""
    record.write_bytes(b"Beschlu\xdf")
    with pytest.raises(assess.AssessError, match=r"record.md.*cannot be read"):
        written_before(record)


def test_a_hint_that_nobody_touched_is_replaced_by_the_one_of_today():
    block = "<!-- keep: notes -->\n{}\n<!-- end: notes -->"
    today = block.format("_Write here: anything else._")
    assert keep(today, block.format("_Write here: an older hint._")) == today
    written = block.format("_Write here: an older hint._\nwe decided")
    assert keep(today, written) == written


def test_a_record_names_what_nobody_measured_of_a_move():
    place = dict.fromkeys(["delta", "cost_per_month", "here_hours_per_year"], pd.NA)
    place |= {"verdict": "fits", "blockers": "", "hours_per_year": 9.0}
    told = move_of(place | {"effort_hours": pd.NA, "delta_lo": -0.1, "delta_hi": 0.2})
    assert "effort (services.move_effort_hours)" in told
    assert "cost (sizes, or prices in the policy)" in told
    assert "unknown hours of" not in told
    assert "blast radius −10 to +20 percentage points" in told
    assert "4 hours of work to move" in move_of(place | {"effort_hours": 4})


def test_a_part_without_a_place_is_not_lost():
    merged = keep("new\n", "<!-- keep: votes -->\n3 to 1\n<!-- end: votes -->\n")
    assert "3 to 1" in merged
    assert keep("new\n", merged) == merged


def test_a_record_says_everything_once_on_one_page(hostile):
    told = hostile.decision_record("web")
    lines = [line for line in told.splitlines() if line]
    assert len(lines) < 80
    assert not any(line != line.rstrip() for line in lines)
    own = [line for line in lines if not line.startswith(("<!--", "|"))]
    assert len(own) == len(set(own))
    passed = next(line for line in lines if "Gates that pass" in line)
    assert sum("Gates that pass" in line for line in lines) == 1
    assert passed.startswith("- ")
    head = lines.index("| Gate | State | Label | Evidence |")
    assert lines[head - 1] == "Gates that do not pass:"
    # else it is no table
    assert told.split("Gates that do not pass:")[1].startswith("\n\n|")


def of_one(policy, **answers):
    table = pd.DataFrame({"service_id": ["in"], **answers})
    inventory = assess.from_frames({"services": table}, snapshot_at="2026-09-30")
    return Assessment(inventory, policy)


def test_only_options_that_are_open_are_offered(policy):
    unknown = decision_record("in", of_one(policy, platform="docker"))
    assert "1. **Find out first.**" in unknown
    assert "2. **Keep it in containers as it is.**" in unknown
    assert "Pull it back" not in unknown and "Criteria of the ranking" not in unknown
    assert "of all candidates" not in unknown
    assert "Find out the facts that are missing for the gates above." in unknown

    store = of_one(policy, platform="docker", kind="database", stateful=True)
    told = decision_record("in", store)
    assert "PULL BACK" in told
    assert "1. **Pull it back to hosts.**" in told and "fix it" not in told

    host = decision_record("in", of_one(policy, platform="host", license_bound=True))
    assert "NEVER" in host
    assert "1. **Leave it where it is.**" in host and "Move it" not in host


def test_the_page_of_a_record_shows_what_people_wrote_in_the_markdown(policy):
    scores = of_one(policy, platform="docker")
    hint = "_Write here: accepted, rejected or superseded, by whom, and when._"
    mine = "Accepted by <b>the board</b>."
    existing = decision_record("in", scores).replace(hint, mine)
    page = record_page("in", scores, existing=existing)
    assert "Accepted by &lt;b&gt;the board&lt;/b&gt;." in page
    assert "Write here" not in page and "<script" not in page
    with pytest.raises(AssessError, match="keep mark"):
        record_page("in", scores, existing="<!-- keep: notes -->")


@pytest.mark.skipif(not CHROMIUM.exists(), reason="apt-get install -y chromium")
def test_a_record_is_printed_on_one_page_whatever_its_length(hostile):
    name = "n" * 300
    printed = record_pdf(name, hostile.scores)
    assert len(re.findall(rb"/Type /Page\b", printed)) == 1
    assert b"CreationDate (D:20260930000000" in printed
