"""Faults of the server that are visible in single replies are found by the checks."""

import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from faulty import MODEL
from scripted import CALL, CHAT_TOOL, COT, FLAT_TOOL, ScriptedEngine

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import MODES, Api, Condition
from harness.records.rollouts import Exchange, Request, Response, Rollout, StreamPart
from harness.rules import catalogue
from harness.rules.catalogue import SINGLE_CHECKS
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

SAID = "Héllo there, 札幌 is 🌧 & cold today; take good care, and an umbrella. It may stop by noon."
ANSWER = f"{COT}<|channel|>final<|message|>{SAID}<|return|>"
JSON_ANSWER = f'{COT}<|channel|>final<|message|>{{"city": "Rome"}}<|return|>'
SCHEMA = FLAT_TOOL["parameters"]
HYPHENS_CALL = CALL.replace("get_weather", "get-weather")
HYPHENS = json.loads(json.dumps(CHAT_TOOL).replace("get_weather", "get-weather"))
FLAT_HYPHENS = json.loads(json.dumps(FLAT_TOOL).replace("get_weather", "get-weather"))
PATHS: dict[Api, str] = {"chat": "chat/completions", "responses": "responses"}


@dataclass(frozen=True)
class ProbeRequest:
    """A request to both APIs, and what the model says."""

    said: str
    chat: dict[str, Any]
    responses: dict[str, Any]


# In addition to numerics: faults that show only with a model that does not stop or disobeys, with a
# clock, in a second turn, with logprobs, or in many replies whose usage counts are pooled.
UNSEEN_HERE = {
    "alternatives-without-text",
    "truncated-cot-split",
    "truncated-json-lost",
    "logprobs-shifted",
    "calls-of-streams-overcounted",
    "last-words-with-logprobs-lost",
    "word-lost",
    "empty-arguments-never-done",
    "call-not-a-stop",
    "return-not-a-stop",
    "builtin-advertised",
    "stream-compressed-without-flush",
    "content-encoding-of-plain-body",
    "accept-decides-streaming",
    "silent-before-finish",
    "open-after-finish",
    "call-ids-repeated",
    "reasoning-missing-after-result",
    "required-choice-ignored",
    "required-choice-ignored-in-streams",
    "none-choice-ignored",
    "none-choice-ignored-in-streams",
    "format-ignored",
    "format-ignored-in-streams",
    "format-ignored-beside-tools",
    "grammar-on-analysis",
    "tools-ignored-beside-format",
    "equal-results-dropped",
    "one-entry-lists-unwrapped",
    "property-named-items-crashes",
    "integer-enum-default-crashes",
    "undescribed-function-crashes",
    "thinking-with-calls-crashes",
    "parts-beside-calls-lost",
    "calls-lost-after-five-results",
    "cot-in-content-after-result",
    "arguments-in-content-after-result",
    "arguments-in-snake-case",
    "entities-in-arguments-decoded",
    "message-before-output-refused",
    "pattern-in-schema-refused",
    "other-efforts-crash",
    "rejection-locks-all",
    "temperature-zero-beside-tools",
    "large-limit-cuts-prompt",
    "other-ids-refused",
    "long-ids-refused",
    "question-after-result-dropped",
    "lines-split-at-separators",
    "two-system-messages-crash",
    "names-cut-at-40",
    "long-calls-fail",
    "backslashes-lost-in-arguments",
    "ends-of-arguments-trimmed",
    "structured-answers-in-ascii",
    "chat-reasoning-refused",
    "max-tokens-refused",
    "streams-by-default",
    "prompt-cut-at-the-front",
    "custom-calls-as-functions",
    "alternatives-named-as-sampled",
    "forced-calls-as-cut-cot",
    "rejected-drafts-counted",
    "cot-before-structured-answers",
    "budget-sentence-in-answers",
    "repeated-prompts-degenerate",
    "prompt-tokens-without-cached",
    *(name for name, fault in CATALOGUE.items() if fault.rate < 1),
}
FORMAT = {"type": "json_schema", "name": "place", "schema": SCHEMA}
ASKS = (
    ProbeRequest(ANSWER, {}, {}),
    ProbeRequest(CALL, {"tools": [CHAT_TOOL]}, {"tools": [FLAT_TOOL]}),
    ProbeRequest(HYPHENS_CALL, {"tools": [HYPHENS]}, {"tools": [FLAT_HYPHENS]}),
    ProbeRequest(ANSWER, {"tools": [CHAT_TOOL]}, {"tools": [FLAT_TOOL]}),
    ProbeRequest(CALL, {"tools": [CHAT_TOOL], "tool_choice": "required"},
        {"tools": [FLAT_TOOL], "tool_choice": "required"}),
    ProbeRequest(ANSWER, {"tools": [CHAT_TOOL], "tool_choice": "none"},
        {"tools": [FLAT_TOOL], "tool_choice": "none"}),
    ProbeRequest(CALL, {"tools": [CHAT_TOOL], "parallel_tool_calls": False},
        {"tools": [FLAT_TOOL], "parallel_tool_calls": False}),
    ProbeRequest(ANSWER, {"max_tokens": 16}, {"max_output_tokens": 16}),
    ProbeRequest(ANSWER, {"max_completion_tokens": 12}, {"max_output_tokens": 16}),
    ProbeRequest(CALL, {"tools": [CHAT_TOOL], "max_tokens": 12},
        {"tools": [FLAT_TOOL], "max_output_tokens": 16}),
    ProbeRequest(ANSWER, {"stop": ["umbrella"]}, {}),
    ProbeRequest(ANSWER, {"stop": ["think"]}, {}),
    ProbeRequest(ANSWER, {"logprobs": True}, {}),
    ProbeRequest(ANSWER, {"n": 2}, {}),
    ProbeRequest(ANSWER, {"stream_options": None}, {"background": True}),
    ProbeRequest(JSON_ANSWER, {"response_format": {"type": "json_schema", "json_schema": FORMAT}},
        {"text": {"format": FORMAT}}),
)  # fmt: skip


def prompted(api: Api, ask: ProbeRequest, *, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": MODEL, "stream": stream}
    if api == "responses":
        return {**body, "input": "Hi", **ask.responses}
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return {**body, "messages": [{"role": "user", "content": "Hi"}], **options, **ask.chat}


def recorded(reply: httpx.Response) -> Response:
    headers = dict(reply.headers)
    if "data: " not in reply.text:
        return Response(status=reply.status_code, headers=headers, body=reply.text)
    blocks = reply.text.replace("\r\n", "\n").split("\n\n")
    parts = tuple(StreamPart(0.1 * at, raw) for at, raw in enumerate(blocks, start=1) if raw)
    return Response(status=reply.status_code, headers=headers, parts=parts)


async def findings(fault: str, *asks: ProbeRequest) -> dict[str, str]:
    """Return the findings of all checks on a server with a fault: severities by id."""
    engine = ScriptedEngine()
    app = faulty_parts((fault,)).app(engine, AppSettings())
    found: dict[str, str] = {}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server/v1/") as client:
        for ask, api, stream in itertools.product(asks, PATHS, (True, False)):
            engine.script = lambda *_, said=ask.said: said
            body = prompted(api, ask, stream=stream)
            reply = await client.post(PATHS[api], json=body)
            seen = parse_rollout(rollout(api, body, recorded(reply)))
            found |= {finding.id: finding.severity for finding in catalogue.examine(seen)[1]}
    return found


def rollout(api: Api, body: dict[str, Any], response: Response) -> Rollout:
    request = Request(method="POST", url=PATHS[api], headers={}, body=body)
    now = datetime.now(UTC).isoformat()
    exchange = Exchange(request=request, response=response, started_at=now, elapsed=1.0)
    return Rollout(
        id="x",
        task="tool_calling",
        sample="x",
        condition=Condition(model=MODEL, api=api, mode=MODES[not body["stream"]]),
        attempt=1,
        end="answered",
        exchanges=(exchange,),
    )


def found_by_checks() -> list[str]:
    """Return the faults that checks of single rollouts must find."""
    return [
        name
        for name, fault in CATALOGUE.items()
        if fault.layer != "numerics"
        and fault.use != ("clients",)  # test_client_conversations.py
        and name not in UNSEEN_HERE
        and any(detector in SINGLE_CHECKS for detector in fault.detectors)
    ]


@pytest.mark.parametrize("name", found_by_checks())
async def test_a_fault_visible_in_single_replies_is_found(name):
    expected = {detector for detector in CATALOGUE[name].detectors if detector in SINGLE_CHECKS}
    found: dict[str, str] = {}
    for ask in ASKS:
        found |= await findings(name, ask)
        if expected & found.keys():
            return
    pytest.fail(f"expected one of {sorted(expected)}, found {found}")


@pytest.mark.parametrize("name", [name for name, fault in CATALOGUE.items() if fault.allowed])
async def test_an_allowed_variation_is_not_an_error(name):
    found = await findings(name, *ASKS[:2])
    assert "error" not in found.values(), found
