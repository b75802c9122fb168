"""The house: who may import whom, how large a room may be, what the manifests agree on."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "assess"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES = 500, 66

# what each room may import from assess, its own room aside
LAYERS = {
    "_version": set(),
    "errors": set(),
    "frames": {"errors"},
    "config": {"errors"},
    "execution": {"errors"},
    "policy": {"errors", "frames", "config"},
    "s3": {"errors"},
    "tables": set(),
    "inventory": {"errors", "frames", "image_ref", "s3", "tables"},
    "store": {"errors", "execution", "frames", "inventory", "s3"},
    "sample": {"errors", "frames", "inventory", "config", "store"},
    "reference": {"errors"},
    "image_ref": set(),
    "sources": {"errors", "frames", "image_ref", "inventory", "config", "s3", "policy"},
    "score": {
        "_version",
        "errors",
        "execution",
        "frames",
        "inventory",
        "policy",
        "reference",
        "config",
        "tables",
    },
    "figures": {"errors", "frames", "inventory", "score", "tables"},
    "report": {
        "_version",
        "errors",
        "execution",
        "frames",
        "inventory",
        "policy",
        "reference",
        "score",
        "figures",
    },
    "notebooks": {"errors", "config"},
    "cli": None,
    "__init__": None,
    "__main__": {"cli"},
}
# SDKs and libraries that only one room may know
ONLY_IN = {
    "docker": {"sources"},
    "boto3": {"sources", "s3"},
    "botocore": {"sources", "s3"},
    "requests": {"sources"},
    "matplotlib": {"figures"},
    "jinja2": {"report"},
    "nbformat": {"notebooks"},
    "nbclient": {"notebooks"},
    "nbconvert": {"notebooks"},
    "papermill": {"notebooks"},
    "distributed": {"execution"},
    "numba": {"score"},
}
ALLOWED = {("score", "figures")}  # Result.plot, a method for people, inside the function


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module.startswith("assess") else {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_knows_only_the_rooms_below(path):
    room = room_of(path)
    assert room in LAYERS, "a new room: say in LAYERS what it may know"
    allowed = LAYERS[room]
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "assess" and rest and allowed is not None:
            other = rest.split(".")[0]
            known = any(f"{rest}.".startswith(f"{below}.") for below in {room, *allowed})
            assert known or (room, other) in ALLOWED, f"{path.name} imports {name}"
        if top in ONLY_IN:
            assert room in ONLY_IN[top], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_importing_assess_costs_no_sdk():
    heavy = ["docker", "boto3", "matplotlib", "jinja2", "nbclient", "pandas", "scipy"]
    code = f"import assess, sys; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


def test_public_names_load():
    import assess

    assert all(getattr(assess, name) is not None for name in assess.__all__)
    with pytest.raises(AttributeError):
        _ = assess.nothing_of_that_name


def requirement(text: str) -> tuple[str, str]:
    name, floor = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*(.*)", text).groups()
    return name.lower().replace("_", "-"), floor.replace(" ", "")


CONDA_NAMES = {"docker-py": "docker", "playwright-python": "playwright"}
CONDA_ONLY = {"python", "paramiko"}  # paramiko comes with the SDK's ssh extra


def test_environment_and_pyproject_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))[
        "dependencies"
    ]
    by_pip = [
        text for entry in listed if isinstance(entry, dict) for text in entry["pip"]
    ]
    conda = dict(requirement(text) for text in listed if isinstance(text, str))
    conda |= dict(map(requirement, by_pip))
    names = {CONDA_NAMES.get(name, name): floor for name, floor in conda.items()}
    assert {k: v for k, v in names.items() if k not in CONDA_ONLY} == dict(
        map(requirement, wanted)
    )


def test_constraints_pin_every_dependency_with_a_hash_and_no_address():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert {requirement(text)[0] for text in wanted} <= set(pinned)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text


def test_top_level_holds_what_the_layout_says():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {Path(name).parts[0] for name in tracked}
    expected = {
        "notebooks",
        "assess",
        "data",
        "reports",
        "tests",
        "environment.yml",
        "README.md",
        "pyproject.toml",
        "constraints.txt",
        "LICENSE",
    }
    assert {name for name in top if not name.startswith(".")} <= expected
