"""The policy: what a user writes is checked whole, and every mistake is named at once."""

import contextlib
import tomllib

import pandas as pd
import pytest
from hypothesis import given, settings
from mutants import mutants, to_toml

from assess.config import data_path
from assess.errors import PolicyError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.policy.problems import VALUES
from assess.score.readiness import score_readiness

POLICY = load_policy()
CHECK = {
    "id": "team.drill",
    "question": "Was it drilled?",
    "table": "services",
    "rule": "runbook",
    "weight": 1,
    "needs": ["services.runbook"],
    "why": "w",
    "remedy": "r",
    "source": "s",
}
REASON = {
    "table": "services",
    "rule": "public",
    "says": "it is public",
    "fact": "whether it is",
}
GATE = {
    "id": "G11",
    "title": "Public",
    "label": "HOLD",
    "fails_when": "any",
    "clear": "not public",
    "remedy": "hide it",
    "reasons": [REASON],
}


def said(**tables):
    with pytest.raises(PolicyError) as error:
        POLICY.replace(**tables)
    return str(error.value)


def test_the_default_is_complete():
    assert len(POLICY["check"]) >= 30 and len(POLICY["gate"]) == 10
    assert sum(POLICY["dimensions"].values()) == pytest.approx(1)
    assert (
        repr(POLICY) == f"<Policy {POLICY.hash}: {len(POLICY['check'])} checks, 10 gates>"
    )


def test_an_own_file_goes_on_top_of_the_default(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(
        '[dimensions]\nteam = 0.2\n[[check]]\nid = "team.runbook"\nweight = 5\n'
    )
    own = load_policy(file)
    assert own["dimensions"]["team"] == 0.2 and own["dimensions"]["fit"] == 0.14
    checks = {check["id"]: check for check in own["check"]}
    assert checks["team.runbook"]["weight"] == 5
    assert checks["team.runbook"]["rule"] == "runbook"
    assert [c["id"] for c in own["check"]] == [c["id"] for c in POLICY["check"]]
    assert own.hash != POLICY.hash and own.origin == str(file)


def test_own_checks_and_gates_are_added():
    own = POLICY.replace(check=[CHECK], gate=[GATE])
    assert own["check"][-1]["id"] == "team.drill"
    assert own["gate"][-1]["id"] == "G11"


def test_the_hash_is_of_the_content(tmp_path):
    one, two = tmp_path / "a.toml", tmp_path / "b.toml"
    one.write_text("[churn]\nx0 = 2.0\n[simulation]\nseed = 7\n")
    two.write_text("simulation = { seed = 7 }  # said otherwise\n[churn]\nx0 = 2.0\n")
    assert load_policy(one).hash == load_policy(two).hash
    assert load_policy(one).seed == 7


def test_every_mistake_is_named_at_once():
    message = said(
        check=[
            {**CHECK, "rule": "runbok", "weight": -1},
            {**CHECK, "id": "teem.drill", "needs": ["services.runbok"]},
        ],
        gate=[{**GATE, "label": "MAYBE"}],
        dimensions={"team": -0.1},
    )
    for part in (
        "did you mean 'runbook'",
        "weight is a number >= 0",
        "the id is a dimension",
        "did you mean 'services.runbook'",
        "the label is one of NEVER",
        "dimensions.team is -0.1",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"wieght": 3}, "unknown key wieght, did you mean 'weight'?"),
        ({"table": "service"}, "unknown table service, did you mean 'services'?"),
        ({"rule": "tier"}, "yes-or-no"),
        ({"rule": ""}, "not an expression"),
        ({"rule": 3}, "rule is 3: text is expected"),
        ({"applies": "tier == 'one'"}, "applies: cannot compare"),
        ({"combine": "most"}, "combine is one of all, any, share"),
        ({"ttl_days": 3}, "ttl_days and dated_by go together"),
        ({"ttl_days": 3, "dated_by": "tier"}, "dated_by: days_since(tier) needs a time"),
        ({"weight": True}, "weight is True: a number is expected"),
        ({"weight": float("nan")}, "the weight is a number >= 0"),
        ({"needs": ["runbook"]}, "unknown column runbook"),
        ({"id": "team"}, "the id is a dimension, a dot and a word"),
    ],
)
def test_a_wrong_check_says_why(change, part):
    assert part in said(check=[{**CHECK, **change}])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"reasons": []}, "any or all of its reasons"),
        ({"fails_when": "most"}, "any or all of its reasons"),
        ({"reasons": [{**REASON, "rule": "publik"}]}, "did you mean 'public'"),
        ({"reasons": [{**REASON, "table": "servces"}]}, "unknown table servces"),
        (
            {"reasons": [{**REASON, "shows": ["tir"]}]},
            "unknown column tir, did you mean 'tier'?",
        ),
        ({"reasons": [{"table": "services"}]}, "a reason has no rule"),
        ({"unless": "image ="}, "unless"),
        ({"title": None}, "title is None: text is expected"),
    ],
)
def test_a_wrong_gate_says_why(change, part):
    assert part in said(gate=[{**GATE, **change}])


def test_what_a_check_lacks_is_named():
    assert "check team.drill has no question" in said(check=[{"id": "team.drill"}])
    assert "check ? has no id" in said(check=[{"weight": 1}])


@pytest.mark.parametrize(
    ("tables", "part"),
    [
        ({"dimension": {}}, "unknown key dimension, did you mean 'dimensions'?"),
        ({"simulation": {"sed": 1}}, "did you mean 'simulation.seed'?"),
        (
            {"simulation": {"draws": "many"}},
            "simulation.draws is 'many': a number is expected",
        ),
        ({"simulation": {"draws": 0}}, "simulation.draws has to be above 0"),
        ({"simulation": {"level": 1.5}}, "simulation.level is 1.5: at most 1"),
        ({"claims": {"level": 0}}, "claims.level has to be above 0"),
        ({"simulation": {"level": 0}}, "simulation.level has to be above 0"),
        ({"backtest": {"bins": 0}}, "backtest.bins has to be above 0"),
        ({"backtest": {"bins": 2.5}}, "backtest.bins has to be a whole number"),
        ({"what_next": {"months": 0}}, "what_next.months has to be above 0"),
        ({"schema_version": 2}, "schema_version is 2: at most 1"),
        (
            {"what_next": {"ready_points": 160}},
            "what_next.ready_points is 160: at most 100",
        ),
        (
            {"blast_radius": {"learned_edges": "maybe"}},
            "one of off, judge, use is expected",
        ),
        ({"edges": {"call": {"p": 2.0}}}, "edges.call: needs 0 <= lo <= p <= hi <= 1"),
        ({"edges": 3}, "edges is 3: a table is expected"),
        (
            {"criteria": dict.fromkeys(POLICY["criteria"], 0)},
            "the weights of criteria sum to 0",
        ),
        ({"churn": {"x0": float("inf")}}, "churn.x0 is inf"),
        ({"check": {"id": "x"}}, "a list is expected"),
    ],
)
def test_a_wrong_table_says_why(tables, part):
    assert part in said(**tables)


def test_a_policy_of_another_version_names_every_key_that_can_go(tmp_path):
    text = load_policy().to_toml()
    text = text.replace("\n[claims.bounds]", "\n[claims.bounds]\nC99 = 1.0", 1)
    text = text.replace("\n[backtest]", "\n[backtest]\nolder = 'x'", 1)
    text = text.replace("\n[[check]]\n", "\n[[check]]\nwas_known = 1\n", 1)
    file = tmp_path / "old.toml"
    file.write_text(f"{text}\n[[gone]]\nid = 'x'\n")
    with pytest.raises(PolicyError) as error:
        load_policy(file)
    for key in ("gone", "claims.bounds.C99", "backtest.older", "was_known"):
        assert f"unknown key {key}" in str(error.value)
    assert "can be deleted" in error.value.hint


def test_a_file_that_is_not_there_or_not_toml(tmp_path):
    with pytest.raises(PolicyError, match="there is no policy"):
        load_policy(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[churn\n")
    with pytest.raises(PolicyError, match="not a readable policy"):
        load_policy(broken)


def test_anybody_may_add_words_of_incidents():
    own = POLICY.replace(
        incidents={"severity": {"katastrophal": 1}, "cause": {"rechner": "host"}}
    )
    assert own["incidents"]["severity"]["katastrophal"] == 1
    assert own["incidents"]["severity"]["critical"] == 1
    assert own["incidents"]["cause"]["rechner"] == "host"


@pytest.mark.parametrize(
    ("incidents", "part"),
    [
        ({"severity": {"odd": 7}}, "incidents.severity.odd is 7: one of 1, 2, 3, 4, 5"),
        (
            {"severity": {"odd": "P1"}},
            "incidents.severity.odd is 'P1': a number is expected",
        ),
        (
            {"cause": {"gremlins": "gremlin"}},
            "incidents.cause.gremlins is 'gremlin': one of",
        ),
        ({"platform": {"x": "mainframe"}}, "one of host, docker"),
        ({"fault": {"gone": "vanished"}}, "incidents.fault.gone is 'vanished': one of"),
        ({"fault": {"gone": "vanished"}}, "incidents.fault.gone is 'vanished': one of"),
        ({"cause_text": {"(": "host"}}, "'(' is no regular expression"),
        ({"container_words": [3]}, "an item of incidents.container_words is 3: text"),
        ({"severities": {}}, "did you mean 'incidents.severity'?"),
    ],
)
def test_words_of_incidents_stand_for_something(incidents, part):
    assert part in said(incidents=incidents)


@pytest.mark.parametrize("name", VALUES["patterns"])
@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(", "a{9999}"])
def test_a_pattern_that_takes_no_linear_time_is_refused_by_name(name, pattern):
    table, _, key = name.partition(".")
    now = POLICY[table][key]
    wrong = pattern if isinstance(now, str) else [pattern]
    wrong = {pattern: "host"} if isinstance(now, dict) else wrong
    message = said(**{table: {key: wrong}})
    assert f"{name}: {pattern!r} is no regular expression: " in message


@pytest.mark.parametrize(
    ("board", "part"),
    [
        ({"order": ["readiness", "low_effort", "readiness"]}, "weigh more than itself"),
        (
            {"order": ["readyness"]},
            "unknown criterion readyness, did you mean 'readiness'?",
        ),
        ({"weights": {"readiness": 0}}, "weights: they sum to 0"),
        ({"weights": {"readiness": -1}}, "weights.readiness: a number >= 0 is expected"),
        (
            {"intervals": {"readiness": [0.7, 1], "low_effort": [0.6, 1]}},
            "1 has to lie between",
        ),
        (
            {"intervals": {"readiness": [0.9, 0.1]}},
            "needs [lo, hi] with 0 <= lo <= hi <= 1",
        ),
        ({"order": ["readiness"], "weights": {"readiness": 1}}, "has order and weights"),
        ({"ordr": []}, "unknown key ordr, did you mean 'order'?"),
    ],
)
def test_an_impossible_board_says_why(board, part):
    assert part in said(board=[{"id": "ours", **board}])


def test_problems_of_weights_are_told_with_everything_else():
    message = said(
        board=[{"id": "b", "weights": {"low_churn": 0}}],
        criteria=dict.fromkeys(POLICY["criteria"], 0),
        what_next={"kk": 1},
    )
    for part in (
        "board b, weights: they sum to 0",
        "the weights of criteria sum to 0",
        "did you mean 'what_next.k'?",
    ):
        assert part in message


def test_a_check_of_ones_own_file_is_asked_without_code(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        '[[check]]\nid = "team.busy"\nquestion = "Is it deployed daily?"\ntable = "services"\n'
        'rule = "deploys_per_month >= 20"\nweight = 5\nneeds = ["services.deploys_per_month"]\n'
        'why = "w"\nremedy = "r"\nsource = "s"\n'
    )
    table = pd.DataFrame(
        {"service_id": ["a", "b", "c"], "deploys_per_month": [30, 2, None]}
    )
    inventory = from_frames({"services": table}, snapshot_at="2026-09-30")
    atoms = score_readiness(inventory, load_policy(file)).details["atoms"]
    own = atoms[atoms["check"] == "team.busy"].set_index("service_id")["state"]
    assert own.to_dict() == {"a": "pass", "b": "fail", "c": "unknown"}


def test_a_row_that_is_there_twice_hides_no_other_problem(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        '[[target]]\nid = "own"\nplatform = "moon"\n'
        '[[target]]\nid = "own"\nplatform = "docker"\narch = "z80"\n'
    )
    with pytest.raises(PolicyError) as caught:
        load_policy(file)
    for problem in ("own is there 2 times", "'moon'", "'z80'"):
        assert problem in str(caught.value)


def default():
    return tomllib.loads(data_path("policy.toml").read_text())


@settings(max_examples=150)
@given(mutants(default))
def test_whatever_people_write_is_used_or_refused(tmp_path_factory, tree):
    file = tmp_path_factory.mktemp("any") / "policy.toml"
    file.write_text(to_toml(tree))
    with contextlib.suppress(PolicyError):
        assert load_policy(file).hash
