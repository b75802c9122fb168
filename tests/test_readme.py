"""The README is part of the product: short, true, tried."""

import re
from pathlib import Path

import pytest

from assess import frames

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
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


def block(language: str) -> str:
    return re.search(
        rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.S
    )[1]


def test_it_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


def test_the_data_dictionary_is_that_of_the_models():
    text = README.read_text(encoding="utf-8")
    assert text[text.index(START) + len(START) : text.index(END)] == dictionary()


def test_the_example_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    exec(compile(block("python"), "README.md", "exec"), names)
    assert "store-locator" in names["nxt"].frame.index
    assert names["report"].to_dict()


def test_the_check_of_your_own_is_a_policy(tmp_path):
    from assess import load, load_policy, score_readiness

    file = tmp_path / "policy.toml"
    file.write_text(block("toml"), encoding="utf-8")
    readiness = score_readiness(load(ROOT / "data/sample/2026Q3"), load_policy(file))
    assert "team.on_call" in set(readiness.details["atoms"]["check"])


def test_every_command_source_and_notebook_is_named():
    from assess.cli import VERBS
    from assess.sources import source_types

    text = README.read_text(encoding="utf-8")
    missing = [
        verb
        for verbs in VERBS.values()
        for verb in verbs
        if not re.search(rf"\b{verb}\b", text)
    ]
    missing += [kind for kind in source_types() if f"| `{kind}` |" not in text]
    missing += [
        p.name for p in (ROOT / "notebooks").glob("*.ipynb") if p.name not in text
    ]
    assert missing == []


@pytest.mark.parametrize(
    "link", re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
)
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


if __name__ == "__main__":  # python tests/test_readme.py writes the dictionary
    text = README.read_text(encoding="utf-8")
    head, tail = text[: text.index(START) + len(START)], text[text.index(END) :]
    README.write_text(head + dictionary() + tail, encoding="utf-8")
