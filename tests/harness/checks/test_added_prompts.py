"""Prompts of recordings that are longer than their messages."""

from typing import Any

import pytest
from healthy import json_response, rollout
from replies import Reply, chat_whole, responses_whole
from written import sent

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Api
from harness.records.rollouts import Recording
from harness.rules import catalogue

FIVE_WORDS = [{"role": "user", "content": "Name a river in Portugal."}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]


def found(api: Api, tokens: int, imported: bool = True, **body: Any) -> list[str]:
    whole = (chat_whole if api == "chat" else responses_whole)(Reply(text="The Douro."))
    name = "prompt_tokens" if api == "chat" else "input_tokens"
    whole["usage"] |= {name: tokens, "total_tokens": tokens + 20}
    made = sent(rollout([json_response(whole)], api=api), {"model": "gpt-oss-20b", **body})
    if imported:
        made = made.model_copy(update={"recording": Recording(source="a.jsonl, line 1")})
    _, findings = catalogue.examine(parse_rollout(made))
    return [each.message for each in findings if each.id == "prompt.added"]


def test_a_hidden_system_prompt_is_reported() -> None:
    (message,) = found("chat", 210, messages=FIVE_WORDS)
    assert message.startswith("The prompt has 1")
    assert found("responses", 210, input="Name a river in Portugal.")


@pytest.mark.parametrize(
    ("tokens", "body"),
    [
        (72, {"messages": FIVE_WORDS}),
        (90, {"messages": FIVE_WORDS}),  # a date, and headings of another template
        (210, {"messages": FIVE_WORDS, "tools": [TOOL]}),
        (210, {"messages": [{"role": "system", "content": "word " * 140}, *FIVE_WORDS]}),
        (210, {"messages": FIVE_WORDS, "response_format": {"type": "json_object"}}),
        (210, {"messages": IMAGE}),
        (210, {"messages": FIVE_WORDS, "imported": False}),  # The probe judges it.
    ],
)
def test_what_the_client_sent_is_not_hidden(tokens: int, body: dict[str, Any]) -> None:
    assert found("chat", tokens, **body) == []


def test_a_conversation_with_a_reasoning_item_has_more_than_texts() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    thought["content"] = [{"type": "reasoning_text", "text": "The longest one."}]
    answer = {"role": "assistant", "content": "The Tagus."}
    assert found("responses", 210, input=[*FIVE_WORDS, thought, answer, *FIVE_WORDS]) == []
