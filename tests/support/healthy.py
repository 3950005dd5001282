"""Rollouts of a healthy provider, and a handler for `MockProvider` that knows the cases."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mock_provider import Handler, Received, write_reply
from replies import MODEL, Reply, blocks, whole

from harness.api import DIALECTS
from harness.api.items import Message, RequestSettings
from harness.records.conditions import Api, Condition, Mode
from harness.records.rollouts import Exchange, LoopEnd, Request, Response, Rollout, StreamPart
from harness.run.cases import Case, load_suite

SUITE = load_suite()
STARTED = "2026-01-02T03:04:05+00:00"
_numbers = itertools.count(1)


# --- As records


def json_response(body: object, status: int = 200) -> Response:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return Response(status=status, headers={"content-type": "application/json"}, body=text)


def stream_response(blocks: Sequence[str]) -> Response:
    parts = tuple(StreamPart(at=0.1 * (i + 1), raw=raw) for i, raw in enumerate(blocks))
    return Response(status=200, headers={"content-type": "text/event-stream"}, parts=parts)


def response(api: Api, streaming: bool, reply: Reply) -> Response:
    if streaming:
        return stream_response(blocks(reply, chat=api == "chat"))
    return json_response(whole(reply, chat=api == "chat"))


def exchange(api: Api, streaming: bool, answer: Response | None, **more: Any) -> Exchange:
    dialect = DIALECTS[api]
    body = dialect.first_request(
        [Message("user", "What is the weather in Lisbon?")],
        instructions=None,
        tools=SUITE.tools,
        streaming=streaming,
        settings=RequestSettings(MODEL),
    )
    request = Request(method="POST", url=f"http://test/v1{dialect.path}", headers={}, body=body)
    fields: dict[str, Any] = {"started_at": STARTED, "elapsed": 2.0, **more}
    return Exchange(request=request, response=answer, **fields)


def rollout(
    answers: Sequence[Reply | Response | Exchange],
    *,
    api: Api = "chat",
    streaming: bool = False,
    sample: str = "weather-lisbon",
    attempt: int = 1,
    end: LoopEnd = "answered",
    task: str = "tool_calling",
    effort: str | None = None,
) -> Rollout:
    """A recorded rollout with these responses; a `Reply` becomes a healthy one."""

    mode: Mode = "streaming" if streaming else "non-streaming"

    def recorded(number: int, answer: Reply | Response | Exchange) -> Exchange:
        if isinstance(answer, Exchange):
            return answer
        if isinstance(answer, Reply):
            mark = f"{sample}-{mode}-{attempt}-{number}"
            call_id = f"{answer.call_id}-{sample}-{mode}-{attempt}"
            answer = response(api, streaming, replace(answer, mark=mark, call_id=call_id))
        return exchange(api, streaming, answer)

    return Rollout(
        id=f"{sample}/{api}/{mode}/{attempt}",
        task=task,
        sample=sample,
        condition=Condition(model=MODEL, effort=effort, api=api, mode=mode),
        attempt=attempt,
        end=end,
        exchanges=tuple(recorded(number, each) for number, each in enumerate(answers, start=1)),
    )


# --- Over a socket


Script = Callable[[Case], list[Reply]]


def correct(case: Case) -> list[Reply]:
    """The replies of a model that does what the case asks."""
    arguments = json.dumps(case.expected_arguments, ensure_ascii=False)
    return [Reply(call=(case.tool_name, arguments)), Reply(text="All done.")]


def polluted_name(case: Case) -> list[Reply]:
    """The replies of a server that leaves a piece of the header in the name of the tool."""
    call, answer = correct(case)
    assert call.call is not None
    name, arguments = call.call
    return [replace(call, call=(f"{name}<|channel|>commentary", arguments)), answer]


def without_call(_case: Case) -> list[Reply]:
    """An answer without the expected call."""
    return [Reply(text="I cannot do that.")]


def provider_of(script: Script = correct) -> Handler:
    """A handler that answers each shipped case as `script` says."""
    by_prompt = {case.prompt: case for case in SUITE.cases}

    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        body = request.body or {}
        turns = body["messages"] if request.is_chat else body["input"]
        prompt = next(str(turn["content"]) for turn in turns if turn.get("role") == "user")
        results = [
            turn
            for turn in turns
            if turn.get("role") == "tool" or turn.get("type") == "function_call_output"
        ]
        case = by_prompt.get(prompt)
        replies = script(case) if case else [Reply(text="Hello.")]
        reply = replies[min(len(results), len(replies) - 1)]
        number = str(next(_numbers))
        unique = {"call_id": f"call_{number}", "mark": number, "created": int(time.time())}
        write_reply(request, writer, replace(reply, **unique))

    return handle
