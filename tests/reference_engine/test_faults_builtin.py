"""The faults of the built-in tools, in a loop of search, page, program and answer."""

from collections.abc import Callable

import pytest
from faulty import Result, names_of, respond, send
from researching import CODE, RUN, WEB, research, server_tools
from scripted import ANSWER, COT

from reference_engine.server.settings import AppSettings


def _runs_forever(prompt: str, _: object) -> str:
    return ANSWER if prompt.endswith("final<|message|>") else COT + RUN


TOOLS = {"tools": [WEB, CODE]}
LOOP = respond("How deep?", research, **TOOLS)
STREAM = respond("How deep?", research, stream=True, **TOOLS)
ENDLESS = respond("Count.", _runs_forever, max_tool_calls=1, max_output_tokens=200, **TOOLS)


def _kinds(seen: Result) -> list[str]:
    return [item["type"] for item in seen.output]


ROWS: dict[str, list[tuple[object, Callable[[Result], bool]]]] = {
    "builtin-undeclared": [(LOOP, lambda seen: "# Tools" not in seen.prompts[0])],
    "builtin-reasoning-dropped": [(LOOP, lambda seen: "I think." not in seen.prompt)],
    "citations-unmapped": [
        (LOOP, lambda seen: not seen.output[-1]["content"][0]["annotations"]),
        (STREAM, lambda seen: '"url_citation"' not in seen.text),
    ],
    "program-hidden": [
        (LOOP, lambda seen: "code_interpreter_call" not in _kinds(seen)),
        (STREAM, lambda seen: "code_interpreter_call" not in seen.text),
    ],
    "builtin-calls-unlimited": [(ENDLESS, lambda seen: len(seen.prompts) > 3)],
}


def test_every_fault_has_a_row() -> None:
    assert ROWS.keys() == names_of("built-in tools")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> AppSettings:
    return AppSettings(tools=server_tools(tmp_path_factory.mktemp("pages")))


@pytest.mark.parametrize(("name", "row"), [(n, row) for n, rows in ROWS.items() for row in rows])
async def test_the_fault_shows_and_a_healthy_server_does_not(name, row, settings) -> None:
    ask, shows = row
    assert not shows(await send(ask, settings=settings))
    assert shows(await send(ask, name, settings=settings))
