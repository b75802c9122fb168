"""The tool that draws mutants: what it changes, what it believes, and when it looks anew."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import mutation

LABELS = "assess/score/what_next/labels.py"
MUTANT = mutation.Draw(LABELS, 76, 0, "Eq -> NotEq")


class Known:
    """What reaches a line, as the tool asks for it."""

    def __init__(self):
        self.seconds = {"a": 0.1, "b": 0.1, "c": 0.1}
        self.setup = {}
        self.broken = set()


def killed(monkeypatch, answers, tests="abc"):
    """The killer, where runs of some tests, on changed code or not, fail so."""
    asked = []

    def run(work, *_):
        _, _, names = work.args
        asked.append(("".join(names), work.keywords["is_changed"]))
        return answers[asked[-1]]

    monkeypatch.setattr(mutation, "in_child", run)
    known = Known()
    return mutation.kill(None, known, MUTANT, list(tests)), asked, known.broken


def test_who_fails_without_the_change_kills_nothing(monkeypatch):
    answers = {
        ("abc", True): ["a"],
        ("a", False): ["a"],
        ("bc", True): ["c"],
        ("c", False): [],
    }
    killer, asked, broken = killed(monkeypatch, answers)
    assert (killer, asked, broken) == ("c", list(answers), {"a"})
    none = {("a", True): ["a"], ("a", False): ["a"]}
    assert killed(monkeypatch, none, "a")[0] == ""
    assert killed(monkeypatch, {("abc", True): []})[0] == ""


def test_what_never_ends_is_believed_where_it_ends_without_the_change(monkeypatch):
    slow = {("ab", True): None, ("ab", False): []}
    assert killed(monkeypatch, slow, "ab")[0] == "no end"
    always = {("ab", True): None, ("ab", False): None}
    assert killed(monkeypatch, always, "ab")[0] == ""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small tree of code and a test, which is traced when somebody asks."""
    (tmp_path / "tests" / "score").mkdir(parents=True)
    (tmp_path / "tests" / "score" / "test_a.py").write_text("one")
    (tmp_path / "tests" / "conftest.py").write_text("shared")
    (tmp_path / "a.py").write_text("code")
    (tmp_path / "b.py").write_text("not reached")
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    traced = []

    def trace(*_, **__):
        traced.append(1)
        name = "tests/score/test_a.py::test"
        once = {"seconds": {name: 1.0}, "setup": {}, "failed": []}
        return {**once, "reached": {name: {"a.py": [3]}}}

    monkeypatch.setattr(mutation, "in_child", trace)

    def learn():
        mutation._hash.cache_clear()
        runs = SimpleNamespace(items={"tests/score/test_a.py::test": None})
        known = mutation.Reach(runs, tmp_path)
        known.learn(known.files)
        assert known.tests["a.py", 3] == set(runs.items)
        return len(traced)

    yield tmp_path, learn
    mutation._hash.cache_clear()


@pytest.mark.parametrize(
    ("file", "times"),
    [
        ("tests/score/test_a.py", 2),
        ("tests/conftest.py", 2),
        ("tests/score/helper.py", 2),
        ("a.py", 2),
        ("b.py", 1),
        ("tests/score/test_b.py", 1),
    ],
)
def test_a_trace_is_kept_for_just_the_code_that_it_is_of(tree, file, times):
    root, learn = tree
    assert (learn(), learn()) == (1, 1)
    (root / file).write_text("other")
    assert learn() == times


def test_every_change_changes_one_place_and_compiles():
    source = (mutation.ROOT / LABELS).read_text(encoding="utf-8")
    before = ast.dump(ast.parse(source))
    found = mutation.changes(ast.parse(source))
    assert len(found) > 20
    made = [mutation.mutate(mutation.ROOT / LABELS, i) for i in range(len(found))]
    dumps = {ast.dump(tree) for tree in made}
    assert before not in dumps
    assert len(dumps) == len(made)
    for tree in made:
        compile(tree, LABELS, "exec")


def test_functions_in_use_run_the_changed_code(tmp_path):
    path = tmp_path / "held.py"
    text = "def f(x):\n    def g(y):\n        return y + 1\n    return g(x)\nheld = [f]\n"
    path.write_text(text)
    names = {}
    exec(compile(text, str(path), "exec"), names)
    assert names["held"][0](3) == 4
    (add,) = [
        i
        for i, c in enumerate(mutation.changes(ast.parse(text)))
        if c.kind == "Add -> Sub"
    ]
    mutation.swap(str(path), mutation.mutate(path, add))
    assert names["held"][0](3) == 2
