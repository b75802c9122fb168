"""The tools of the protocol: the same answers as the library, errors for people, nothing else."""

from __future__ import annotations

import asyncio
import json
import sys

import mcp
import pytest
from mcp.client.stdio import StdioServerParameters

import assess
from assess.mcp_server import server
from assess.score.assessment import Assessment


@pytest.fixture(scope="module")
def assessment():
    return Assessment(assess.load("sample"), assess.load_policy())


@pytest.fixture(scope="module")
def ask(assessment):
    made = server(assessment)

    def asking(tool, **arguments):
        async def call():
            async with mcp.Client(made) as client:
                return await client.call_tool(tool, arguments)

        return asyncio.run(call())

    return asking


def answer(result):
    assert not result.is_error, result.content
    return result.structured_content


def test_every_tool_says_what_it_does_and_that_it_only_reads(assessment):
    async def listed():
        async with mcp.Client(server(assessment)) as client:
            return (await client.list_tools()).tools

    tools = asyncio.run(listed())
    assert {tool.name for tool in tools} == {
        "labels",
        "explain",
        "what_would_change",
        "who_falls",
        "what_breaks",
        "what_to_find_out",
    }
    assert all(tool.description and tool.annotations.read_only_hint for tool in tools)


def test_labels_are_those_of_what_next(ask, assessment):
    found = answer(ask("labels"))
    ranking = assessment.what_next.frame
    assert [row["service_id"] for row in found["rows"]] == list(ranking.index)
    assert [row["label"] for row in found["rows"]] == ranking["label"].tolist()
    assert found["is_invented"] is True
    one = ranking["label"].iloc[0]
    some = answer(ask("labels", label=one))
    assert {row["label"] for row in some["rows"]} == {one}
    assert some["rows_n"] == (ranking["label"] == one).sum()


def test_a_service_is_explained_and_what_would_change_it_named(ask, assessment):
    name = assessment.what_next.details["flips"]["service_id"].iloc[0]
    explained = answer(ask("explain", service=name))
    assert assessment.what_next.explain(name).text in explained["what_next"]
    changing = answer(ask("what_would_change", service=name))
    assert changing["label"] == assessment.what_next.row(name)["label"]
    assert changing["flips"]


def test_who_falls_with_an_element(ask, assessment):
    affected = assessment.blast_radius.details["affected"]
    kind, name = affected.iloc[0][["element_kind", "element"]]
    found = answer(ask("who_falls", kind=kind, name=name))
    is_own = (affected["element_kind"] == kind) & (affected["element"] == name)
    assert {row["service_id"] for row in found["rows"]} == set(
        affected.loc[is_own, "service_id"]
    )
    chances = [row["p_down"] for row in found["rows"]]
    assert chances == sorted(chances, reverse=True)


def test_what_breaks_names_the_source(ask):
    found = answer(ask("what_breaks", target="docker:29"))
    assert found["rows"]
    assert all(row["source"] and row["remedy"] for row in found["rows"])


def test_what_to_find_out_is_for_one_service_or_all(ask):
    rows = answer(ask("what_to_find_out"))["rows"]
    name = rows[0]["service"]
    own = answer(ask("what_to_find_out", service=name))["rows"]
    assert own == [row for row in rows if row["service"] == name]


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("explain", {"service": "chekout"}, "checkout"),
        ("labels", {"label": "PILOTS"}, "did you mean 'PILOT'"),
        ("who_falls", {"kind": "host", "name": "none"}, "there is no element"),
        ("what_breaks", {}, "name a target"),
        ("what_breaks", {"target": "docker:nonsense"}, "nonsense"),
    ],
)
def test_an_error_tells_what_is_wrong(ask, tool, arguments, told):
    result = ask(tool, **arguments)
    assert result.is_error
    assert told in result.content[0].text


def test_the_command_answers_over_stdin_and_stdout():
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "assess", "mcp", "sample"]
    )

    async def call():
        async with mcp.Client(command) as client:
            return await client.call_tool("labels", {})

    result = asyncio.run(call())
    assert json.loads(result.content[0].text)["rows_n"] == len(
        assess.load("sample")["services"]
    )
