"""The tool that draws mutants: the same for one seed, each compiles, and each differs."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import mutation


def test_every_change_of_a_file_compiles_and_differs():
    path = mutation.SCORE / "incidents" / "recovery.py"
    before = ast.dump(ast.parse(path.read_text()))
    found = mutation.changes(ast.parse(path.read_text()))
    for index in range(len(found)):
        mutant = mutation.mutate(path, index)
        compile(mutant, path, "exec")
        assert ast.dump(mutant) != before, found[index].kind


def test_a_seed_draws_the_same_lines_once_each():
    drawn = mutation.draw(7, 50, "incidents")
    assert drawn == mutation.draw(7, 50, "incidents")
    assert drawn != mutation.draw(8, 50, "incidents")
    assert len({(one.path, one.line) for one in drawn}) == 50


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        ("a < b", ["Lt -> LtE", "Lt -> GtE"]),
        ("a + 1", ["Add -> Sub", "1 -> 2"]),
        ("'a' + b", []),  # texts
        ("f'{a:>3}'", []),
        ("x: Literal[1] = a", []),
        ("if a and not b: c()", ["negate", "-> Or", "drop Not", "drop statement"]),
        ("a.b = True", ["drop statement", "True -> False"]),
        ("[a for a in b if c(a)]", ["drop condition"]),
        ("if TYPE_CHECKING: a = 1", []),
    ],
)
def test_what_is_changed(code, kinds):
    found = [change.kind for change in mutation.changes(ast.parse(code))]
    assert sorted(found) == sorted(kinds)
