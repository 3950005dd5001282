"""Conversation to harmony prompt tokens; stale chain of thought dropped by OpenAI's rule.

The rendering itself is openai-harmony's. Its automatic dropping of analysis is switched off,
because it only acts when the last assistant message is `final`, and only before the first one
(facts: openai/harmony `src/encoding.rs`); `drop_stale_reasoning` applies the rule of OpenAI's
"How to handle the raw chain of thought in gpt-oss" instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import openai_harmony as oh

from harmony.conversation import (
    Answer,
    AnswerFormat,
    Call,
    Conversation,
    ConversationItem,
    Developer,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.vocabulary import harmony_encoding

_EFFORT = {
    "low": oh.ReasoningEffort.LOW,
    "medium": oh.ReasoningEffort.MEDIUM,
    "high": oh.ReasoningEffort.HIGH,
}
_NOTHING = Developer("")
_AS_WRITTEN = oh.RenderConversationConfig(auto_drop_analysis=False)

_MARKS = 4  # Start, role, message, end.
_LONGEST_TOKEN = 128  # Bytes.

# The tokenizer's time grows with the square of a stretch of letters, of signs, or of white space.
_LONGEST_STRETCH = 20_000
_STRETCH = re.compile(
    rf"[^\W\d_]{{{_LONGEST_STRETCH}}}|[^\w\s]{{{_LONGEST_STRETCH}}}|\s{{{_LONGEST_STRETCH}}}"
)


class RenderError(ValueError):
    """The conversation cannot be written as harmony; the message says why."""


def drop_stale_reasoning(items: Sequence[ConversationItem]) -> tuple[ConversationItem, ...]:
    """Drop every chain of thought that a later final answer has concluded; keep the rest."""
    finals = [at for at, item in enumerate(items) if isinstance(item, Answer)]
    last_final = finals[-1] if finals else -1
    return tuple(
        item for at, item in enumerate(items) if at > last_final or not isinstance(item, Reasoning)
    )


def least_tokens(conversation: Conversation) -> int:
    """A lower bound of the prompt's length, had without rendering it."""
    items = drop_stale_reasoning(conversation.items)
    messages = sum(not isinstance(item, Developer) for item in items)
    texts = _texts(replace(conversation, items=items))
    return _MARKS * messages + sum(len(text) // _LONGEST_TOKEN for text in texts)


def render_prompt(conversation: Conversation) -> list[int]:
    """Token ids that end with `<|start|>assistant`, ready for the model to go on.

    Raises:
        RenderError: A tool's schema or a text is beyond what the tokenizer takes.
    """
    items = drop_stale_reasoning(conversation.items)
    return render_all(replace(conversation, items=items))


def render_all(conversation: Conversation) -> list[int]:
    """The same without dropping any chain of thought.

    Raises:
        RenderError: A tool's schema or a text is beyond what the tokenizer takes.
    """
    items = tuple(item for item in conversation.items if item != _NOTHING)
    conversation = replace(conversation, items=items)
    for text in _texts(conversation):
        if len(text) >= _LONGEST_STRETCH and _STRETCH.search(text):
            raise RenderError(
                f"A text holds {_LONGEST_STRETCH} letters, signs or spaces without a break, "
                "which cannot be tokenised in a reasonable time."
            )
    try:
        messages = [_system(conversation), *_leading_developer(conversation)]
        messages += [_message(item) for item in items[_leading(items) :]]
        tokens: list[int] = harmony_encoding().render_conversation_for_completion(
            oh.Conversation.from_messages(messages), oh.Role.ASSISTANT, config=_AS_WRITTEN
        )
    except (ValueError, TypeError, RecursionError, oh.HarmonyError) as error:
        reason = str(error).partition(" at line ")[0]
        raise RenderError(f"The conversation cannot be written as harmony: {reason}.") from error
    return tokens


def _texts(conversation: Conversation) -> Iterator[str]:
    for item in conversation.items:
        match item:
            case Call(name, text) | Result(name, text):
                yield from (name, text)
            case _:
                yield item.text
    for tool in conversation.tools:
        yield tool.description
        yield from _strings(tool.parameters)
    if conversation.answer_format:
        yield conversation.answer_format.description
        yield from _strings(conversation.answer_format.schema)


def _strings(schema: object) -> Iterator[str]:
    """All keys and texts of a JSON value, however deep it is."""
    waiting = [schema]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case Mapping() as fields:
                waiting += [*fields.keys(), *fields.values()]
            case list(values):
                waiting += values


def _leading(items: Sequence[ConversationItem]) -> int:
    """How many developer items stand before anything else."""
    return next(
        (at for at, item in enumerate(items) if not isinstance(item, Developer)), len(items)
    )


def _system(conversation: Conversation) -> oh.Message:
    content = oh.SystemContent.new().with_reasoning_effort(_EFFORT[conversation.effort])
    if conversation.current_date:
        content = content.with_conversation_start_date(conversation.current_date)
    return oh.Message.from_role_and_content(oh.Role.SYSTEM, content)


def _leading_developer(conversation: Conversation) -> list[oh.Message]:
    """All leading instructions joined by a blank line, then the tools, then the answer's format."""
    leading = conversation.items[: _leading(conversation.items)]
    text = "\n\n".join(item.text for item in leading if isinstance(item, Developer) and item.text)
    answer_format = conversation.answer_format
    if not text and not conversation.tools and not answer_format:
        return []
    content = oh.DeveloperContent.new()
    if text:
        content = content.with_instructions(text)
    if conversation.tools:
        content = content.with_function_tools(
            [
                oh.ToolDescription.new(
                    tool.name,
                    tool.description,
                    dict(tool.parameters) if tool.parameters is not None else None,
                )
                for tool in conversation.tools
            ]
        )
    parts: list[oh.Content] = [content]
    if answer_format:
        separator = "\n\n" if text or conversation.tools else ""
        parts.append(oh.TextContent(text=separator + _response_formats(answer_format)))
    return [oh.Message.from_role_and_contents(oh.Role.DEVELOPER, parts)]


def _response_formats(answer_format: AnswerFormat) -> str:
    """The section that ends a developer message, as in openai/harmony `docs/format.md`."""
    schema = json.dumps(dict(answer_format.schema), ensure_ascii=False, separators=(",", ":"))
    comment = f"// {answer_format.description}\n" if answer_format.description else ""
    return f"# Response Formats\n\n## {answer_format.name}\n\n{comment}{schema}"


def _message(item: ConversationItem) -> oh.Message:
    match item:
        case Developer(text):
            content = oh.DeveloperContent.new().with_instructions(text)
            return oh.Message.from_role_and_content(oh.Role.DEVELOPER, content)
        case User(text):
            return oh.Message.from_role_and_content(oh.Role.USER, text)
        case Reasoning(text):
            return _assistant(text, "analysis")
        case Preamble(text):
            return _assistant(text, "commentary")
        case Answer(text):
            return _assistant(text, "final")
        case Call(name, arguments):
            call = _assistant(arguments, "commentary").with_recipient(f"functions.{name}")
            return call.with_content_type("<|constrain|>json")
        case Result(name, output):
            author = oh.Author.new(oh.Role.TOOL, f"functions.{name}")
            result = oh.Message.from_author_and_content(author, output)
            return result.with_channel("commentary").with_recipient("assistant")


def _assistant(text: str, channel: str) -> oh.Message:
    return oh.Message.from_role_and_content(oh.Role.ASSISTANT, text).with_channel(channel)
