"""Flips: against every set there is, on random services."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.config import data_path
from assess.execution import working
from assess.policy import load_policy
from assess.score import validation
from assess.score.assessment import Assessment
from assess.score.what_next import flips
from assess.score.what_next.flips import (
    MAX_FIXES,
    SHOWN,
    Counterfactual,
    smallest_flips,
    value_of_information,
)
from assess.score.what_next.labels import SEVERITY
from assess.score.what_next.ranking import CutOff, Option, ShortList
from assess.score.what_next.smaa import simplex_weights
from assess.snapshot import load

WEIGHTS = simplex_weights(400, 2, np.random.default_rng(5))
OTHERS = np.array([[0.5, 0.5], [0.9, 0.1], [0.6, 0.7]])
POLICY = load_policy().with_tables(dimensions={"a": 0.6, "b": 0.4})


def chances(ready=0.5, other=0.5):
    """What it takes to be the first of four; readiness is the first of two criteria."""
    own = np.array([ready, other])
    cut_off = CutOff.of(OTHERS, WEIGHTS, 1)
    return ShortList.of(own, WEIGHTS, cut_off, competes=False).chances(0)


def atom(check, value, weight=1.0, state=""):
    known = {1: "pass", 0: "fail", None: "unknown"}.get(value, "partial")
    return {
        "check": check,
        "dimension": check[0],
        "state": state or known,
        "value": value,
        "weight": weight,
    }


def why(
    gate, check="", *, label="HOLD", fails_when="any", state="holds", rule="x", fact="f"
):
    return {
        "gate": gate,
        "label": label,
        "fails_when": fails_when,
        "state": state,
        "rule": rule,
        "fact": fact,
        "check": check,
    }


def counterfactual(atoms, reasons=(), *, inside=False, against=None):
    return Counterfactual.of(
        atoms,
        reasons,
        POLICY,
        inside=inside,
        chances=None if inside else against or chances(),
        questions={a["check"]: f"ask {a['check']}" for a in atoms},
    )


SOUND = [atom("a.1", 1), atom("b.1", 1)]


def test_the_counterfactual_of_a_sound_service_is_its_readiness():
    atoms = [
        atom("a.1", 1, 3),
        atom("a.2", 0),
        atom("b.1", 0.5),
        atom("b.2", None),
        atom("b.3", 1),
        atom("b.4", None, state="na"),
    ]
    shop = counterfactual(atoms)
    assert shop.items == ("a.2", "b.1", "b.2") and shop.facts == ("", "", "ask b.2")
    nothing = np.zeros((1, 3), dtype=bool)
    assert shop.readiness(nothing) == pytest.approx(75**0.6 * 50**0.4)
    assert shop.readiness(~nothing) == pytest.approx(100)
    # each alone: a check in part earns only the rest of its weight
    each = shop.readiness(np.eye(3, dtype=bool))
    b = 200 / 3
    wanted = [100**0.6 * 50**0.4, 75**0.6 * b**0.4, 75**0.6 * (250 / 3) ** 0.4]
    assert each == pytest.approx(wanted)


def test_one_fix_that_opens_the_gate():
    shop = counterfactual(
        [*SOUND, atom("b.2", 0)], [why("G6", "b.2", label="PREPARE")], inside=True
    )
    assert smallest_flips(shop) == [(("b.2",), "KEEP")]


def test_all_reasons_of_the_hardest_gate_have_to_go():
    fails = [atom(f"a.{n}", 0, 0.1) for n in range(2, 6)]
    reasons = [
        why("G1", "a.2", label="NEVER"),
        why("G1", "a.3", label="NEVER"),
        why("G6", "a.4", label="PREPARE"),
    ]
    [(fixes, label)] = smallest_flips(counterfactual([*SOUND, *fails], reasons))
    assert (fixes, label) == (("a.2", "a.3"), "PREPARE")
    four = [why("G1", f"a.{n}", label="NEVER") for n in range(2, 6)]
    assert smallest_flips(counterfactual([*SOUND, *fails], four)) == []


def test_what_is_known_and_no_check_is_about_cannot_be_fixed():
    reasons = [why("G1", label="NEVER", fact="what it does (services.kind)")]
    shop = counterfactual(SOUND, reasons)
    assert shop.items == ("services.kind",) and shop.facts == ("",)
    assert smallest_flips(shop) == []
    asked = counterfactual(SOUND, [{**reasons[0], "state": "unknown"}], inside=True)
    assert smallest_flips(asked) == [(("services.kind",), "KEEP")]
    [fact] = value_of_information(asked, {})
    assert (fact.label_if, fact.label_else, fact.decides) == (
        "KEEP",
        "PULL BACK",
        True,
    )


def test_to_find_out_what_is_asked_lifts_a_gate_of_coverage():
    rule = "coverage < 0.6"
    atoms = [*SOUND, atom("a.2", None), atom("a.3", None), atom("b.2", None)]
    shop = counterfactual(
        atoms, [why("G8", label="NOT DECIDABLE", rule=rule)], inside=True
    )
    assert shop.items == ("a.2", "a.3", "b.2")  # it names no item of its own
    found = smallest_flips(shop)
    assert found and all(len(fixes) == 1 for fixes, _ in found)
    facts = value_of_information(shop, {"a.2": 0.25})
    assert [f.chance for f in facts] == [0.25, 0.5, 0.5]
    assert all(f.label_else != "NOT DECIDABLE" for f in facts)  # a bad answer is one, too


def test_services_that_are_alike_ask_a_rule_about_coverage_once(monkeypatch):
    asked = []
    evaluate = flips.rules.evaluate

    def counted(rule, table, *, at):
        asked.append(rule)
        return evaluate(rule, table, at=at)

    monkeypatch.setattr(flips.rules, "evaluate", counted)
    rule = "coverage < 0.61 or coverage_lowest < 0.1"
    reasons = [why("G8", label="NOT DECIDABLE", rule=rule)]
    atoms = [*SOUND, atom("a.2", None), atom("b.2", None)]
    first = smallest_flips(counterfactual(atoms, reasons))
    asked_n = len(asked)
    assert asked_n > 0
    assert smallest_flips(counterfactual(atoms, reasons)) == first
    assert len(asked) == asked_n
    fewer = counterfactual([*atoms, atom("b.3", None)], reasons)
    smallest_flips(fewer)
    assert len(asked) > asked_n  # another coverage is another question


def test_the_gain_of_a_fact_is_the_expected_change_of_the_chance():
    shop = counterfactual(
        [*SOUND, atom("a.2", None, 2), atom("b.2", 0)], against=chances(other=0.8)
    )
    now = shop.outcome(np.zeros((1, 2), dtype=bool))[1][0]
    good = shop.outcome(np.array([[True, False]]))[1][0]
    [fact] = value_of_information(shop, {"a.2": 0.8})
    assert 0 < now < good
    # a bad answer is what is assumed now
    assert fact.gain == pytest.approx(0.8 * (good - now))
    options = [Option("low_effort", "hours", 0.95, 0.5)]
    measured = value_of_information(shop, {}, options)[-1]
    assert measured.p_top_if == 0.95 and measured.gain == pytest.approx(0.5 - now)
    assert measured.decides == (measured.label_if != measured.label_else)


CHECKS = ["a.1", "a.2", "a.3", "b.1", "b.2", "b.3"]
values = st.sampled_from([0, 0, None, 0.5, 1])
gate_kinds = st.tuples(
    st.sampled_from(["NEVER", "HOLD", "PREPARE", "NOT DECIDABLE"]),
    st.sampled_from(["any", "all"]),
)


@st.composite
def services(draw):
    atoms = [atom(c, draw(values), draw(st.sampled_from([1.0, 3.0]))) for c in CHECKS]
    open_ = [a["check"] for a in atoms if a["value"] in (0, None)]
    states = {a["check"]: "unknown" if a["value"] is None else "holds" for a in atoms}
    reasons = []
    for n in range(draw(st.integers(0, 3)) if open_ else 0):
        label, fails_when = draw(gate_kinds)
        for check in draw(
            st.lists(st.sampled_from([*open_, ""]), min_size=1, max_size=3, unique=True)
        ):
            state = states.get(check) or draw(st.sampled_from(["holds", "unknown"]))
            reasons.append(
                why(
                    f"G{n}",
                    check,
                    label=label,
                    fails_when=fails_when,
                    state=state,
                    fact=f"t.g{n}",
                )
            )
    if draw(st.booleans()):
        reasons.append(
            why(
                "G8",
                label="NOT DECIDABLE",
                rule="coverage < 0.6",
            )
        )
    known = sum(a["weight"] for a in atoms if a["value"] is not None)
    if known / sum(a["weight"] for a in atoms) >= 0.6:
        reasons = [r for r in reasons if r["gate"] != "G8"]
    return counterfactual(
        atoms,
        reasons,
        inside=draw(st.booleans()),
        against=chances(other=draw(st.floats(0, 1))),
    )


@settings(max_examples=150)
@given(services())
def test_the_smallest_sets_are_those_of_a_search_through_all(shop):
    n = len(shop.items)
    fixable = [
        i
        for i in range(n)
        if shop.gains[i].any() or shop.unknowns[i].any() or shop.facts[i]
    ]

    def with_items(chosen):
        sets = np.zeros((1, n), dtype=bool)
        sets[0, list(chosen)] = True
        label, chance = shop.outcome(sets)
        return str(label[0]), chance[0]

    now = with_items(())[0]
    expected = []
    for size in range(1, MAX_FIXES + 1):
        for chosen in combinations(fixable, size):
            label, chance = with_items(chosen)
            # a fault that is fixed may leave a gate with what nobody knows: that is no way out
            if label != now and SEVERITY[label] <= SEVERITY[now]:
                expected.append((SEVERITY[label], -chance, chosen, label))
        if expected:
            break
    found = smallest_flips(shop)
    best = [
        (tuple(shop.items[i] for i in c), label)
        for _, _, c, label in sorted(expected)[:SHOWN]
    ]
    assert sorted(found) == sorted(best)


@settings(max_examples=60)
@given(services())
def test_to_learn_a_good_fact_never_harms(shop):
    now, chance = shop.outcome(np.zeros((1, len(shop.items)), dtype=bool))
    for fact in value_of_information(shop, {}):
        assert SEVERITY[fact.label_if] <= SEVERITY[str(now[0])]
        assert fact.p_top_if >= chance[0] - 1e-12
        assert fact.decides == ({fact.label_if, fact.label_else} != {str(now[0])})


def test_a_listener_hears_how_much_is_left():
    told = []
    assessment = Assessment(load(data_path("sample/2026Q3")), load_policy())
    with working(tell=lambda *part: told.append(part)):
        n = len(assessment.what_next.frame)
        assert len(assessment.what_next.details["flips"])
        assert len(assessment.blast_radius.details["calibration"])
    assert [part[1:] for part in told if part[0] == flips.WHAT] == [(0, n), (n, n)]
    checks = [part[1:] for part in told if part[0] == validation.WHAT]
    total = checks[0][1]
    assert checks == sorted(checks) and checks[-1] == (total, total)
