"""Scores, explanations and decision records, as the library has them."""

import csv
import io
import json
import shutil

import pytest

import assess

KEYS = {
    "readiness": {
        "service_id",
        "readiness",
        "readiness_lo",
        "readiness_hi",
        "coverage",
        "label_gates",
        "gates",
        "dimensions",
        "unknown",
    },
    "blast-radius": {
        "element_kind",
        "element",
        "impact",
        "impact_lo",
        "impact_hi",
        "se",
        "exact",
        "services_down_n",
        "frozen",
        "affected",
    },
    "upgrade-churn": {
        "service_id",
        "events_per_year",
        "events_per_year_lo",
        "events_per_year_hi",
        "failures_per_year",
        "hours_per_year",
        "score",
        "days_to_eol",
        "breaking_n",
        "breaking",
    },
    "what-next": {
        "service_id",
        "label",
        "p_first",
        "p_top",
        "p_top_neutral",
        "rank_expected",
        "wave",
        "group",
        "why",
        "missing",
        "flips",
    },
    "claims": {
        "claim",
        "text",
        "value",
        "lo",
        "hi",
        "n",
        "threshold",
        "verdict",
        "needs",
    },
}
SERVICES = set(KEYS) - {"claims"}  # scores that a service has


@pytest.fixture
def sample(few):
    return str(few / "2026Q3")


@pytest.fixture
def earlier(few):
    return str(few / "2026Q2")


@pytest.fixture(scope="module")
def results(few):
    inventory, policy = assess.load(few / "2026Q3"), assess.load_policy()
    history = assess.upgrade_history(assess.earlier(few / "2026Q3"), policy)
    return {
        "readiness": assess.score_readiness(inventory, policy),
        "blast-radius": assess.score_blast_radius(inventory, policy),
        "upgrade-churn": assess.score_upgrade_churn(inventory, policy, history=history),
        "what-next": assess.what_next(inventory, policy, history=history),
        "claims": assess.judge_claims(inventory, policy, history=history),
    }


@pytest.mark.parametrize("name", KEYS)
def test_json_is_that_of_the_result_with_the_keys_of_the_contract(
    call, sample, results, name
):
    document = json.loads(call("score", sample, name, "--json").stdout)
    assert document == json.loads(json.dumps(results[name].to_dict()))
    assert document["score"] == name
    assert document["snapshot_at"] == "2026-09-30T00:00:00Z"
    assert document["schema_version"] == 1
    assert document["rows"]
    for row in document["rows"]:
        assert KEYS[name] <= set(row)


@pytest.mark.parametrize("name", KEYS)
def test_csv_has_every_column_of_the_frame_and_every_row(call, sample, results, name):
    text = call("score", sample, name, "--format", "csv").stdout
    rows = list(csv.reader(io.StringIO(text)))
    frame = results[name].frame.reset_index()
    assert rows[0] == list(frame.columns)
    assert [row[0] for row in rows[1:]] == list(frame.iloc[:, 0])


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("written", ["text", "markdown"])
def test_text_and_markdown_have_the_columns_of_a_meeting(
    call, sample, results, name, written
):
    result = call("score", sample, name, "--format", written)
    summary = results[name].summary()
    header = result.stdout.splitlines()[0].replace("|", " ").split()
    assert header == [*summary.index.names, *summary.columns]
    assert len(result.stdout.splitlines()) == len(summary) + (
        1 if written == "text" else 2
    )
    assert "policy" in result.stderr


def test_a_clear_gate_is_not_called_unknown(call, sample, results):
    shown = call("score", sample, "readiness").stdout.splitlines()
    clear = results["readiness"].frame["label_gates"].isna()
    assert clear.any()
    for service_id in clear.index[clear]:
        line = next(line for line in shown if line.split()[0] == service_id)
        assert "clear" in line.split()


def test_previous_shows_what_changed(call, sample, earlier, results):
    policy = assess.load_policy()
    before = assess.score_readiness(assess.load(earlier), policy)
    changes = results["readiness"].diff(before)
    expected = changes.index[changes["change"] != "same"]
    args = ("score", sample, "readiness", "--previous", earlier)
    document = json.loads(call(*args, "--json").stdout)
    assert [r["service_id"] for r in document["previous"]["changes"]] == list(expected)
    assert document["previous"]["snapshot_at"] == "2026-06-30T00:00:00Z"
    assert len(document["rows"]) == len(results["readiness"].frame)
    assert len(call(*args).stdout.splitlines()) == len(expected) + 1
    same = call("score", sample, "readiness", "--previous", sample)
    assert len(same.stdout.splitlines()) == 1
    assert "warning: --previous is the same snapshot" in same.stderr
    assert "the same snapshot" not in call(*args).stderr


def test_a_target_lists_what_it_breaks_in_every_form(call, store):
    asked = ("score", str(store / "2026Q3"), "upgrade-churn", "--target", "29")
    rows = json.loads(call(*asked, "--json").stdout)["simulation"]
    broken = {(row["host_id"], row["change"]): row for row in rows}
    aufs = broken["dock-attic-1", "EC0282"]
    assert (aufs["certainty"], aufs["moment"]) == ("will", "at upgrade")
    assert aufs["workloads_n"] == 2
    assert {row["change"] for row in rows} >= {"EC0282", "EC0311", "EC0406"}
    assert all(row["remedy"] and row["what"] for row in rows)
    text, page = (call(*asked, "--format", form).stdout for form in ("text", "markdown"))
    for row in rows:
        assert row["why"] in text
        assert row["why"] in page
    assert "simulation" not in call(*asked[:3]).stdout


def test_history_is_found_beside_the_snapshot_or_named(call, sample, earlier, tmp_path):
    alone = tmp_path / "2026Q3"
    shutil.copytree(sample, alone)
    beside, none, named = (
        json.loads(call("score", path, "upgrade-churn", *more, "--json").stdout)["rows"]
        for path, *more in (
            (sample,),
            (str(alone),),
            (str(alone), "--previous", earlier),
        )
    )
    assert beside == named
    assert all(row["first_party_changes_n"] is None for row in none)
    changed = {row["service_id"] for row in beside if row["first_party_changes_n"]}
    assert {"cart-api", "search-api"} <= changed
    (row,) = (row for row in beside if row["service_id"] == "cart-api")
    assert row["first_party_changes_per_year"] == pytest.approx(365.25 / 92)


def test_target_is_the_engine_of_the_policy(call, sample):
    policy = assess.load_policy().replace(target={"engine": "24"})
    history = assess.upgrade_history(assess.earlier(sample), policy)
    inventory = assess.load(sample)
    expected = assess.score_upgrade_churn(inventory, policy, history=history).to_dict()
    document = json.loads(
        call("score", sample, "upgrade-churn", "--target", "24", "--json").stdout
    )
    assert document == json.loads(json.dumps(expected))
    assert document["policy_hash"] != assess.load_policy().hash


def test_a_policy_file_is_used_from_the_option_or_the_environment(call, sample, tmp_path):
    (tmp_path / "own.toml").write_text("[dimensions]\nteam = 0.5\n")
    own = assess.load_policy(tmp_path / "own.toml").hash
    args = ("score", sample, "readiness", "--json")
    assert json.loads(call(*args, "--policy", "own.toml").stdout)["policy_hash"] == own
    assert json.loads(call(*args, ASSESS_POLICY="own.toml").stdout)["policy_hash"] == own
    (tmp_path / "own.toml").write_text("[dimension]\nteam = 0.5\n")
    assert (
        "did you mean 'dimensions'?" in call(*args, "--policy", "own.toml", code=1).stderr
    )


def test_detail_adds_what_the_score_adds_up_from(call, sample, results):
    args = ("score", sample, "readiness", "--detail")
    document = json.loads(call(*args, "--json").stdout)
    result = results["readiness"]
    assert set(document["detail"]) == {"contributions", *result.details}
    assert len(document["detail"]["contributions"]) == len(result.contributions)
    text = call(*args).stdout
    assert text.startswith("readiness\n\nservice_id")
    assert "\ncontributions\n\n" in text
    assert "\ngates\n\n" in text
    assert "one table" in call(*args, "--format", "csv", code=2).stderr


def test_explain_tells_of_every_score(call, sample, results):
    explained = {name: results[name].explain("reviews") for name in SERVICES}
    shown = call("explain", sample, "reviews").stdout
    document = json.loads(call("explain", sample, "reviews", "--json").stdout)
    markdown = call("explain", sample, "reviews", "--format", "markdown").stdout
    assert {row["score"] for row in document["rows"]} == SERVICES
    for row in document["rows"]:
        expected = explained[row["score"]]
        assert (row["title"], row["text"]) == (expected.title, expected.text)
        assert len(row["table"]) == len(expected.table)
        assert expected.title in shown
        assert expected.text in shown
    assert markdown.count("## ") == len(SERVICES)


def test_explain_gives_the_path_from_an_element(call, sample, results):
    blast = results["blast-radius"]
    kind, element = "service", "postgres-main"
    steps = blast.paths(kind, element, "checkout")
    shown = call("explain", sample, "checkout", "--element", f"{kind}:{element}").stdout
    assert " -> ".join([element, *steps["service_id"]]) in shown
    told = call("explain", sample, element, "--element", "service:checkout").stdout
    assert "No path" in told
    wrong = call(
        "explain", sample, "checkout", "--element", "host:nowhere", code=1
    ).stderr
    assert "hint: write KIND:NAME, such as host:" in wrong


def test_explain_can_tell_of_one_score(call, sample, results):
    args = ("explain", sample, "reviews", "--score", "readiness")
    assert call(*args).stdout.startswith(results["readiness"].explain("reviews").title)
    assert len(json.loads(call(*args, "--json").stdout)["rows"]) == 1
    rows = list(csv.reader(io.StringIO(call(*args, "--format", "csv").stdout)))
    assert len(rows) == len(results["readiness"].explain("reviews").table) + 1


def test_an_unknown_service_names_the_nearest(call, sample):
    for verb in ("explain", "record"):
        result = call(verb, sample, "reveiws", code=1)
        assert "no service 'reveiws'" in result.stderr
        assert "did you mean 'reviews'" in result.stderr


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("score", ("upgrade-churn", "--target", "dokcer:29"), "did you mean 'docker'?"),
        ("score", ("upgrade-churn", "--target", "docker:new"), "names no version"),
        ("score", ("upgrade-churn", "--by", "soon"), "'soon' is no day"),
        ("check", ("--no-breaks", "--by", "2026-13-01"), "'2026-13-01' is no day"),
        ("explain", ("reviews", "--target", "podmann:5"), "did you mean 'podman'?"),
    ],
)
def test_a_value_of_an_option_that_cannot_be_read_is_a_usage_error(
    call, few, verb, arguments, message
):
    result = call(verb, str(few / "2026Q3"), *arguments, code=2)
    assert message in result.stderr
    assert "hint: " in result.stderr


def test_record_is_one_page_that_keeps_what_people_wrote(call, sample, earlier, tmp_path):
    args = ("record", sample, "reviews", "--previous", earlier)
    told = call(*args).stdout
    assert told.startswith("# Invented sample: reviews")
    result = call(*args, "-o", "decisions/reviews.md")
    file = tmp_path / "decisions" / "reviews.md"
    assert result.stdout == ""
    assert file.read_text() == told
    start = told.index("<!-- keep: status -->\n") + len("<!-- keep: status -->\n")
    end = told.index("<!-- end: status -->")
    file.write_text(f"{told[:start]}Accepted by the board.\n{told[end:]}")
    call(*args, "-o", "decisions/reviews.md")
    assert "Accepted by the board.\n" in file.read_text()


def test_a_back_test_has_the_keys_of_the_contract(call, sample, earlier):
    document = json.loads(
        call("score", sample, "backtest", "--previous", earlier, "--json").stdout
    )
    assert document["score"] == "backtest"
    keys = {
        "metric",
        "value",
        "lo",
        "hi",
        "baseline_history",
        "baseline_random",
        "verdict",
    }
    assert all(keys <= set(row) for row in document["rows"])
    assert {"auc", "brier", "kendall_tau"} <= {row["metric"] for row in document["rows"]}


def test_a_back_test_without_an_earlier_snapshot_is_refused(call, sample):
    alone = call("score", sample, "backtest", code=1)
    assert "needs an earlier snapshot" in alone.stderr
    assert "--previous" in alone.stderr
    same = call("score", sample, "backtest", "--previous", sample, code=1)
    assert "not dated before" in same.stderr


def test_claims_show_what_changed_since_an_earlier_snapshot(call, store):
    told = call(
        "score",
        str(store / "2026Q3"),
        "claims",
        "--previous",
        str(store / "2026Q2"),
        "--json",
    ).stdout
    changes = {row["claim"]: row for row in json.loads(told)["previous"]["changes"]}
    # five hosts went to a line without an end
    assert changes["C1"]["change"] == "changed"
