"""Patterns of a linear engine, and what they refuse."""

import pytest
from clocks import cpu_seconds

from assess.errors import ConfigError
from assess.linear import Linear, any_of
from assess.sources.base import Name
from assess.sources.joining.identity import mapped, read_map


def test_groups_go_where_a_template_names_them():
    pattern = Linear(r"(?P<team>\w+)-svc-(\d+)?", ignore_case=True)
    template = r"\g<team>/\2é"
    pattern.check_template(template)
    assert pattern.expand(template, pattern.fullmatch("Shop-SVC-7")) == "Shop/7é"
    assert pattern.expand(template, pattern.fullmatch("shop-svc-")) == "shop/é"
    for wrong in (r"\3", r"\g<tea>"):
        with pytest.raises(ValueError, match="no group"):
            pattern.check_template(wrong)


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(?<!a)b", r"(a)\1", "(", "a{2000}"])
def test_what_needs_another_engine_is_refused(pattern, capfd):
    with pytest.raises(ValueError, match=r"."):
        Linear(pattern)
    assert capfd.readouterr().err == ""


def test_a_lone_surrogate_is_a_character_like_others():
    pattern = Linear("b+")
    assert pattern.search("a\ud800b").span() == (2, 3)
    assert pattern.sub("x", "\udc80b") == "?x"
    assert pattern.split("a\ud800b") == ["a?", ""]
    assert pattern.findall("b\ud800b") == ["b", "b"]
    assert pattern.fullmatch("\ud800") is None


def test_a_pattern_of_the_identity_map_cannot_hold_a_run(tmp_path):
    file = tmp_path / "map.csv"
    file.write_text("pattern,service_id\n(a+)+$,shop\n([a-z]+)-svc,\\1\n")
    rules = read_map(file)
    name = Name("a" * 100_000 + "!", "label", 1.0)
    assert mapped([name], rules) is None
    assert cpu_seconds(mapped, [name], rules) < 1
    assert mapped([Name("cart-svc", "label", 1.0)], rules).name == "cart"
    for wrong in (r"(?!a)b,shop", r"(a)\1,shop", r"a,\2"):
        file.write_text(f"pattern,service_id\n{wrong}\n")
        with pytest.raises(ConfigError, match="line 2"):
            read_map(file)


def test_any_of_no_pattern_is_in_no_text():
    assert any_of([]).search("anything") is None
    assert any_of(["a", "b+"], around=r"\b").search("x BB")
    assert any_of(["a", "b+"], around=r"\b").search("xbb") is None
