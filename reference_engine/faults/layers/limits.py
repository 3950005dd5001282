"""Faults in token limits, stop strings and long prompts."""

from collections.abc import Iterable

from harmony.conversation import User
from harmony.parse import Delta, Ended, Event, HarmonyParser
from reference_engine.faults import hooks
from reference_engine.faults.http import (
    BODY,
    ClientRequest,
    Json,
    chat_messages,
    choices,
    response_of,
)
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.visible_text import StopStrings

_LONGEST_PROMPT, _KEPT_AT_START = 1024, 256
_LONGEST_CONTEXT = 4000
_LONGEST_REPLY = 2048
_LONGEST_LIMIT = 100_000
_NOTICE = "The reply was cut because it reached the token limit. Please send a shorter request."

hooks.LIMIT.faults(
    {
        "limit-ignored": lambda _: None,
        "limit-hidden": lambda limit: limit or 16,
        "limit-hidden-of-512": lambda limit: limit or 512,
        "limit-hidden-of-long-replies": lambda limit: limit or _LONGEST_REPLY,
        "limit-lowered-of-long-replies": lambda limit: min(limit or _LONGEST_REPLY, _LONGEST_REPLY),
    },
)
hooks.PROMPT.faults(
    {
        "prompt-cut-in-the-middle": lambda tokens, _: (
            tokens[:_KEPT_AT_START] + tokens[_KEPT_AT_START - _LONGEST_PROMPT :]
            if len(tokens) > _LONGEST_PROMPT
            else tokens
        ),
        "prompt-cut-at-the-front": lambda tokens, _: tokens[-_LONGEST_CONTEXT:],
    },
)


def _limit_of_request() -> int:
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    return max(int(BODY.get().get(name) or 0) for name in names)


hooks.PROMPT.when(lambda *_: _limit_of_request() >= _LONGEST_LIMIT).faults(
    {"large-limit-cuts-prompt": lambda tokens, _: tokens[len(tokens) // 4 :]}
)
hooks.item_text(User).faults({"overflow-cut-silently": lambda text: text[:12_000]})
hooks.REQUEST.when(hooks.of_streams).faults(
    {"stop-ignored-in-streams": lambda body, _: body.update(stop=None)}
)


def _truncated(data: Json) -> bool:
    finished = [choice.get("finish_reason") for choice in choices(data)]
    return "length" in finished or response_of(data).get("status") == "incomplete"


@hooks.PAYLOAD("truncation-as-completed")
def truncation_as_completed(data: Json, _: ClientRequest) -> None:
    for choice in choices(data):
        if choice.get("finish_reason") == "length":
            choice["finish_reason"] = "stop"
    response = response_of(data)
    if response.get("status") == "incomplete":
        response |= {"status": "completed", "incomplete_details": None}
    if data.get("type") == "response.incomplete":
        data["type"] = "response.completed"


@hooks.PAYLOAD("truncated-text-lost")
def truncated_text_lost(data: Json, _: ClientRequest) -> None:
    if data.get("object") in ("chat.completion", "response") and _truncated(data):
        for message in chat_messages(data):
            message |= {"content": None, "reasoning": None}
        data |= {"output": []} if "output" in data else {}


CUT_MESSAGE = hooks.CHAT_MESSAGE.when(
    lambda data, _: data.get("object") == "chat.completion" and _truncated(data)
)
"""Each message of a whole Chat reply that the token limit cut."""
CUT_MESSAGE.when(lambda _, request: request.body.get("response_format")).faults(
    {"truncated-json-lost": lambda message, _: message.update(content=None)}
)


@CUT_MESSAGE("truncated-cot-as-answer")
def truncated_cot_as_answer(message: Json, _: ClientRequest) -> None:
    if not message.get("content"):
        message |= {"content": message.get("reasoning"), "reasoning": None}


@CUT_MESSAGE("truncated-cot-split")
def truncated_cot_split(message: Json, _: ClientRequest) -> None:
    cot = message.get("reasoning") or ""
    if cot and not (message.get("content") or message.get("tool_calls")):
        half = cot.find(" ", len(cot) // 2)
        message |= {"reasoning": cot[:half], "content": cot[half:]}


@CUT_MESSAGE("truncated-notice")
def truncated_notice(message: Json, _: ClientRequest) -> None:
    if not (message.get("content") or message.get("tool_calls")):
        message["content"] = _NOTICE


@hooks.OUTPUT_ITEM("cut-item-completed")
def cut_item_completed(item: Json, _: ClientRequest) -> None:
    if item.get("status") == "incomplete":
        item["status"] = "completed"


@hooks.RESPONSE("incomplete-details-missing")
def incomplete_details_missing(response: Json, _: ClientRequest) -> None:
    if response.get("status") == "incomplete":
        response["incomplete_details"] = None


@hooks.PARSER("stop-acts-on-reasoning")
def stop_acts_on_reasoning(parser: HarmonyParser, request: GenerationRequest) -> HarmonyParser:
    stops = StopStrings(request.stop)

    def change(event: Event) -> Iterable[Event]:
        match event:
            case _ if stops.hit:
                return
            case Delta("reasoning", text):
                if shown := stops.feed(text):
                    yield Delta("reasoning", shown)
                if stops.hit:
                    yield Ended("reasoning")
            case Ended("reasoning"):
                if held := stops.flush():
                    yield Delta("reasoning", held)
                yield event
            case _:
                yield event

    return hooks.FilteredParser(parser, change)
