"""The examples in public docstrings run, on the invented fleet, and give what they show."""

import doctest

import matplotlib
import pandas as pd
import pytest

import assess
from assess import figures

COMPOSE = "services:\n  cart:\n    image: shop/cart:1.4\n"
DOORS = ("load", "collect", "score_readiness", "what_next", "build_report")


def examples():
    finder = doctest.DocTestFinder(recurse=False)
    shown = [getattr(assess, name) for name in assess.__all__]
    shown += vars(figures).values()
    public = [item for item in shown if hasattr(item, "__name__")]  # data has none
    found = [test for item in public for test in finder.find(item) if test.examples]
    return {test.name: test for test in found}


EXAMPLES = examples()


@pytest.fixture(scope="module")
def names():
    """Return the names that the examples take for given; no example changes what they hold."""
    sample, policy = assess.load("sample"), assess.load_policy()
    given = {"assess": assess, "figures": figures, "pd": pd}
    return given | {"inventory": sample, "policy": policy}


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_gives_what_it_shows(name, names, tmp_path, monkeypatch):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "assess.toml").write_text(
        '[[source]]\ntype = "compose"\npath = "compose.yaml"\n'
    )
    test = EXAMPLES[name]
    test.globs = {**names}
    log = []
    outcome = doctest.DocTestRunner().run(test, out=log.append)
    assert outcome.attempted
    assert not outcome.failed, "".join(log)


def test_the_main_doors_have_one():
    assert {*DOORS} <= {*EXAMPLES}
