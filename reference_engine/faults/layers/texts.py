"""Faults that change what clients send or what the model writes, as gateways and filters do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace

from harmony.conversation import (
    Call,
    Conversation,
    ConversationItem,
    Developer,
    FunctionTool,
    Preamble,
    Reasoning,
    User,
)
from harmony.parse import Delta, Ended, Event, HarmonyParser
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import CONVERSATION, ITEM, PARSER, SCHEMA, TOOL, Schema
from reference_engine.faults.parsers import FilteredParser
from reference_engine.server.generation import GenerationRequest

group = FaultGroup("rendering")

_ADDRESS = re.compile(r"[\w.]+@[\w.]+|\d{9,}")
_PLACEHOLDER = re.compile(r"\$\{\w+\}|\{\{\w+\}\}")
_WITHOUT_WIDTH = re.compile(r"[\u200b-\u200f\ufeff]")
_TAG = re.compile(r"<[^<>]*>")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MESSAGES, _TOOLS, _DESCRIPTION, _INSTRUCTIONS, _THOUGHT = 8, 8, 1_000, 8_000, 4_000


def _snake(name: str) -> str:
    return _WORD_START.sub("_", name).lower()


def _of_user(item: ConversationItem, change: Callable[[str], str]) -> ConversationItem:
    return User(change(item.text)) if isinstance(item, User) else item


@group.fault(ITEM, "prompt.exact.user.marks", source="LiteLLM's PII masking, documented")
def addresses_masked(item: ConversationItem) -> ConversationItem:
    """E-mail addresses and long numbers of a user's text reach the prompt masked."""
    return _of_user(item, lambda text: _ADDRESS.sub("[REDACTED]", text))


@group.fault(ITEM, "prompt.exact.user.marks")
def placeholders_filled(item: ConversationItem) -> ConversationItem:
    """A user's text is taken for a template, whose placeholders are empty."""
    return _of_user(item, lambda text: _PLACEHOLDER.sub("", text))


@group.fault(ITEM, "prompt.exact.user.combining")
def characters_composed(item: ConversationItem) -> ConversationItem:
    """A user's text reaches the prompt in NFC and without characters that have no width."""
    return _of_user(item, lambda text: _WITHOUT_WIDTH.sub("", unicodedata.normalize("NFC", text)))


@group.fault(ITEM, "prompt.exact.user.ends")
def user_text_trimmed(item: ConversationItem) -> ConversationItem:
    """A user's text reaches the prompt without the white space around it."""
    return _of_user(item, str.strip)


@group.fault(ITEM, "echo.received")
def quotes_of_user_replaced(item: ConversationItem) -> ConversationItem:
    """Double quotes of a user's text reach the prompt as single ones."""
    return _of_user(item, lambda text: text.replace('"', "'"))


@group.fault(ITEM, "prompt.exact.cot")
def reasoning_on_one_line(item: ConversationItem) -> ConversationItem:
    """An earlier chain of thought reaches the prompt without line breaks and double spaces."""
    return Reasoning(" ".join(item.text.split())) if isinstance(item, Reasoning) else item


@group.fault(ITEM, "prompt.exact.preamble")
def preamble_on_one_line(item: ConversationItem) -> ConversationItem:
    """Text next to an earlier call reaches the prompt without line breaks and double spaces."""
    return Preamble(" ".join(item.text.split())) if isinstance(item, Preamble) else item


@group.fault(ITEM, "prompt.exact.call")
def earlier_arguments_sanitized(item: ConversationItem) -> ConversationItem:
    """The arguments of earlier calls reach the prompt without tags."""
    return replace(item, arguments=_TAG.sub("", item.arguments)) if isinstance(item, Call) else item


@group.fault(SCHEMA, "prompt.exact.schema")
def parameters_in_snake_case(schema: Schema) -> Schema:
    """The parameters of functions reach the prompt with names in snake case."""
    if isinstance(names := schema.get("properties"), dict):
        schema = schema | {"properties": {_snake(name): each for name, each in names.items()}}
    return schema


@group.fault(ITEM, "prompt.long.system")
def long_instructions_cut(item: ConversationItem) -> ConversationItem:
    """The prompt contains only the first 8,000 characters of the instructions."""
    return Developer(item.text[:_INSTRUCTIONS]) if isinstance(item, Developer) else item


@group.fault(ITEM, "prompt.long.cot")
def long_reasoning_cut(item: ConversationItem) -> ConversationItem:
    """The prompt contains only the first 4,000 characters of an earlier chain of thought."""
    return Reasoning(item.text[:_THOUGHT]) if isinstance(item, Reasoning) else item


@group.fault(
    CONVERSATION, "prompt.long.history", source="OpenRouter's message transforms, documented"
)
def old_messages_dropped(conversation: Conversation) -> Conversation:
    """Only the last eight items of a long conversation reach the prompt."""
    return replace(conversation, items=conversation.items[-_MESSAGES:])


@group.fault(CONVERSATION, "prompt.cot.kept.across_calls")
def reasoning_of_first_call_dropped(conversation: Conversation) -> Conversation:
    """Only the latest chain of thought reaches the prompt."""
    thoughts = [at for at, each in enumerate(conversation.items) if isinstance(each, Reasoning)]
    items = enumerate(conversation.items)
    return replace(conversation, items=tuple(each for at, each in items if at not in thoughts[:-1]))


@group.fault(CONVERSATION, "prompt.long.tools")
def eight_tools(conversation: Conversation) -> Conversation:
    """Only the first eight functions reach the prompt."""
    return replace(conversation, tools=conversation.tools[:_TOOLS])


@group.fault(TOOL, "prompt.long.description")
def long_description_cut(tool: FunctionTool) -> FunctionTool:
    """The prompt contains only the first 1,000 characters of the description of a function."""
    return replace(tool, description=(tool.description or "")[:_DESCRIPTION])


@group.fault(PARSER, "echo.returned", "echo.received", "usage.output.lost")
def markdown_of_answers_removed(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Answers come back without Markdown emphasis and blank lines."""
    held: list[str] = []

    def edit(event: Event) -> Iterable[Event]:
        match event:
            case Delta("answer", text):
                held.append(text)
                return
            case Ended("answer"):
                yield Delta("answer", re.sub(r"\n{2,}", "\n", re.sub(r"[*`]", "", "".join(held))))
                held.clear()
        yield event

    return FilteredParser(parser, edit)
