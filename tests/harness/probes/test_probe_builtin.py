"""Probes of built-in tools on the reference server, on its faults, and on servers without them."""

import asyncio
import hashlib  # noqa: F401 - for the programs of the scripted model
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from healthy import json_response, rollout, stream_response
from probing import Provider, judged, refusal, statuses
from replies import Reply
from researching import SEARCH, server_tools
from scripted import COT, ScriptedEngine
from written import sent

from harness.api import DIALECTS
from harness.api.items import RequestSettings
from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Response
from harness.rules import catalogue
from harness.rules.builtin.probes import GROUP
from harness.rules.probe import ProbeRequest
from harness.run.attempts import Attempt
from reference_engine.builtin.python import PythonSandbox
from reference_engine.builtin.tools import ServerTools
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

Edit = Callable[[dict[str, Any]], None]
PROGRAM = "<|channel|>analysis to=python code<|message|>print({})<|call|>"
ASKED = re.compile(r"compute (.*?) and answer with")
PRINTED = re.compile(
    r"<\|channel\|>analysis<\|message\|>I think\.<\|end\|><\|start\|>assistant<\|channel\|>analysis"
    r" to=python code<\|message\|>[^<]*<\|call\|>"
    r"<\|start\|>python to=assistant<\|channel\|>analysis<\|message\|>(.*?)\n<\|end\|>"
)


class Calculator(PythonSandbox):
    """Evaluates the programs of this test in the test process."""

    async def run(self, code: str) -> str:
        return f"{eval(code.removeprefix('print'))}\n"


def model(prompt: str, _: object) -> str:
    """Use the declared tools; without a result that it recognizes, the model invents one."""
    asked = prompt.partition("<|start|>user")[2]
    if prompt.endswith("final<|message|>"):
        return "I stop here.<|return|>"
    if "Search the web" in asked and "## browser" in prompt:
        done = "【0†L3】" if "<|call|>" in asked else ""
        return COT + (f"<|channel|>final<|message|>Many{done}.<|return|>" if done else SEARCH)
    if "## python" not in prompt:
        return COT + "<|channel|>final<|message|>I cannot.<|return|>"
    wanted = ASKED.search(asked)
    if wanted is None:
        return COT + PROGRAM.format("17 ** 9")
    if "<|call|>" not in asked:
        return COT + PROGRAM.format(wanted[1])
    printed = PRINTED.search(asked)
    made_up = "0123456789ab" if "hashlib" in wanted[1] else "123,456,789,012"
    return COT + f"<|channel|>final<|message|>It is {printed[1] if printed else made_up}.<|return|>"


@cache
def tools() -> ServerTools:
    """The built-in tools of all servers here."""
    with TemporaryDirectory() as pages:
        return replace(server_tools(Path(pages)), python=Calculator())


def served(*faults: str, edit: Edit | None = None) -> Provider:
    """The reference server with these faults, after editing its replies."""

    def provider(_: ProbeRequest, attempt: Attempt) -> Response:
        body = DIALECTS["responses"].first_request(
            attempt.sample.turns,
            instructions=None,
            tools=(),
            streaming=attempt.condition.streaming,
            settings=attempt.settings,
        )
        return asyncio.run(_reply(_app(faults), body, edit))

    return provider


def _app(faults: Sequence[str] = ()) -> Any:
    settings = AppSettings(model_names=("gpt-oss-mock",), tools=tools())
    return faulty_parts(faults).app(ScriptedEngine(model), settings)


async def _reply(app: Any, body: dict[str, Any], edit: Edit | None = None) -> Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server/v1/") as client:
        reply = await client.post("responses", content=json.dumps(body))
    if body.get("stream"):
        return stream_response([f"{block}\n\n" for block in reply.text.split("\n\n")[:-1]])
    whole = reply.json()
    if edit:
        edit(whole)
    return json_response(whole, reply.status_code)


@pytest.mark.parametrize("streaming", [False, True])
def test_replies_of_a_healthy_server_have_no_findings(streaming) -> None:
    for request in GROUP.requests("responses"):
        settings = request.settings(RequestSettings("gpt-oss-mock"))
        body = DIALECTS["responses"].first_request(
            request.turns, instructions=None, tools=(), streaming=streaming, settings=settings
        )
        reply = asyncio.run(_reply(_app(), body))
        parsed = parse_rollout(sent(rollout([reply], api="responses", streaming=streaming), body))
        assert catalogue.examine(parsed, except_for={"reply.created"})[1] == ()


def test_citations_of_another_part_of_the_text_are_found() -> None:
    def misplace(reply: dict[str, Any]) -> None:
        for part in reply["output"][-1].get("content", ()):
            for note in part.get("annotations", ()):
                note["end_index"] += 100

    found = judged(GROUP, served(edit=misplace), ("responses",))
    assert found["builtin.citations"].status == "warned"


@pytest.mark.parametrize(
    "reply", [refusal(), Reply(text="I cannot run programs.", reasoning="No tool.")]
)
def test_a_provider_without_the_tools_does_not_fail(reply) -> None:
    results = statuses(judged(GROUP, lambda request, _: reply, ("responses",)))
    assert set(results.values()) <= {"not_verifiable", "passed", "warned"}
    assert results["builtin.results"] == results["builtin.shown"] == "not_verifiable"
