"""The README is part of the product: short, true, tried."""

import re
from pathlib import Path

import pytest

from assess import frames

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RECIPES = ROOT / ".github/RECIPES.md"
SOURCES = ROOT / ".github/SOURCES.md"
PAGES = [README, *sorted((ROOT / ".github").glob("*.md"))]
START, END = "<!-- frames -->\n", "<!-- /frames -->"


def dictionary() -> str:
    """The table of all frames, from the models."""
    lines = ["| frame | columns |", "|---|---|"]
    for name in frames.names():
        shown = [
            f"**{c.name}**" if c.is_key else f"{c.name}*" if c.is_required else c.name
            for c in frames.columns(name).values()
            if c.is_key or c.name not in frames.SHARED_COLUMNS
        ]
        lines.append(f"| {name} | {', '.join(shown)} |")
    return "\n".join(lines) + "\n"


def block(page: Path, language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)[
        1
    ]


def anchors(page: Path) -> set[str]:
    """The fragments by which the headings of a page are linked."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_it_is_short():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert len(text.encode()) <= 9_000


def test_the_data_dictionary_is_that_of_the_models():
    text = SOURCES.read_text(encoding="utf-8")
    assert text[text.index(START) + len(START) : text.index(END)] == dictionary()


def test_the_example_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    exec(compile(block(README, "python"), "README.md", "exec"), names)
    assert "store-locator" in names["nxt"].frame.index
    assert names["report"].to_dict()


def test_the_check_of_your_own_is_a_policy(tmp_path):
    from assess import load, load_policy, score_readiness

    file = tmp_path / "policy.toml"
    file.write_text(block(RECIPES, "toml"), encoding="utf-8")
    readiness = score_readiness(load(ROOT / "data/sample/2026Q3"), load_policy(file))
    assert "team.on_call" in set(readiness.details["atoms"]["check"])


def test_every_command_source_and_notebook_is_named():
    from assess.cli import VERBS
    from assess.sources import source_types

    text = README.read_text(encoding="utf-8")
    verbs = [row["verb"] for row in VERBS]
    missing = [verb for verb in verbs if not re.search(rf"\b{verb}\b", text)]
    sources = SOURCES.read_text(encoding="utf-8")
    missing += [kind for kind in source_types() if f"| `{kind}` |" not in sources]
    missing += [
        p.name for p in (ROOT / "notebooks").glob("*.ipynb") if p.name not in text
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


if __name__ == "__main__":  # python tests/test_readme.py writes the dictionary
    text = SOURCES.read_text(encoding="utf-8")
    head, tail = text[: text.index(START) + len(START)], text[text.index(END) :]
    SOURCES.write_text(head + dictionary() + tail, encoding="utf-8")
